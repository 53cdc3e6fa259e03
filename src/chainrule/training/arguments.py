"""Arguments: what a `Trainer` and its `fit` are given, refused by name where it makes no sense.

A mistake in a call is cheap to see before the first step, and dear after the thousandth. So all of
it is looked at first, and an error says what came, what was expected, and what was likely meant.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from chainrule import losses, optimizers
from chainrule.callbacks import Callback
from chainrule.core.errors import ConfigurationError, DefinitionError, ShapeError
from chainrule.core.layer import Layer
from chainrule.core.messages import batch_of
from chainrule.core.types import Shape, SuggestsUse
from chainrule.core.validators import is_integer
from chainrule.data.batches_of import gives_batches, gives_pairs
from chainrule.data.in_memory import read_all
from chainrule.data.samples import Data
from chainrule.losses import Loss, PerOutput
from chainrule.optimizers import Optimizer


def require_model(trainer: object, attribute: Any, given: Any) -> None:
    """Refuse what is no layer; a validator of attrs, as `require_optimizer` is."""
    if isinstance(given, Layer):
        return
    hint = None
    if isinstance(given, type) and issubclass(given, Layer):
        hint = f"make an instance of it: {given.__name__}(…)"
    elif isinstance(given, list | tuple):
        hint = "Sequential([…]) makes one layer of a list"
    raise DefinitionError(
        "Trainer: the model is no layer",
        expected="a Layer, such as Sequential([Dense(30), Activation('tanh'), Dense(10)])",
        received=_described(given),
        hint=hint,
    )


def as_loss(given: Loss | Sequence[Loss]) -> Loss:
    """The loss; of a list of them, one for each output, their sum. Else suggest the nearest."""
    if isinstance(given, list | tuple):
        for number, loss in enumerate(given):
            _require(loss, Loss, losses, "losses.HalfSquaredError()", f"loss[{number}]")
        return given[0] if len(given) == 1 else PerOutput(given)
    _require(given, Loss, losses, "losses.HalfSquaredError()")
    return given  # type: ignore[return-value]


def weighted(loss: Loss, weights: Any) -> Loss:
    """The losses of several outputs with weights, where there are some."""
    if weights is None:
        return loss
    if not isinstance(loss, PerOutput) or set(loss.weights) != {1.0}:
        raise ConfigurationError(
            "loss_weights are for a list of losses, one for each output",
            expected="Trainer(model, [loss_1, loss_2], optimizer, loss_weights=[…, …])",
            received=f"loss_weights={weights!r:.60}, and the loss {loss!r:.80}",
            hint="leave loss_weights out"
            + ("; these losses have their own" if isinstance(loss, PerOutput) else ""),
        )
    return PerOutput(loss.losses, weights)


def require_a_loss_for_each(outputs: Sequence[Shape], loss: Loss) -> None:
    """Refuse a loss, or losses, for another number of outputs than the model has."""
    count = len(loss.for_each_output)
    if count == len(outputs):
        return
    names = ", ".join(f"loss_{n + 1}" for n in range(len(outputs)))
    has = "one output" if len(outputs) == 1 else f"{len(outputs)} outputs"
    raise ShapeError(
        "the model has several outputs, and there is one loss"
        if count == 1
        else f"the model has {has}, and there are {count} losses",
        expected="a model with one output" if count == 1 else f"a model with {count} outputs",
        received=", ".join(map(batch_of, outputs)),
        hint="give one loss and no list: Trainer(model, loss, …)"
        if len(outputs) == 1
        else f"a loss for each output, in their order: Trainer(model, [{names}], …)",
    )


def require_optimizer(trainer: object, attribute: Any, given: Any) -> None:
    """Refuse what is no optimizer; suggest the nearest for a name."""
    _require(given, Optimizer, optimizers, "optimizers.Adam(1e-3)")


def as_generator(rng: Any) -> np.random.Generator:
    """The generator that a seed makes, or the one that was given."""
    try:
        if isinstance(rng, bool):
            raise TypeError
        return np.random.default_rng(rng)
    except (TypeError, ValueError) as error:
        raise ConfigurationError(
            "Trainer: rng is neither a seed nor a generator",
            expected="a whole number >= 0, a numpy.random.Generator, or None",
            received=f"rng={rng!r:.60}",
        ) from error


def counts(**given: Any) -> list[int]:
    """The counts, as Python's own whole numbers; what is not 1, 2, 3, … is refused."""
    return [_count(name, value) for name, value in given.items()]


def optional_counts(**given: Any) -> list[int | None]:
    """The same, where None says that nothing was given."""
    return [None if value is None else _count(name, value) for name, value in given.items()]


def _count(name: str, given: Any) -> int:
    if is_integer(given) and given >= 1:
        return int(given)
    is_almost_whole = isinstance(given, float) and given >= 1 and given.is_integer()
    raise ConfigurationError(
        f"{name} is a whole number of at least 1",
        expected="1, 2, 3, …",
        received=f"{name}={given!r:.60}",
        hint=f"{name}={int(given)}" if is_almost_whole else None,
    )


def as_callbacks(given: Any) -> list[Callback]:
    """The callbacks in a list, if that is what it is."""
    if isinstance(given, Callback | str) or not isinstance(given, Iterable):
        raise ConfigurationError(
            "callbacks is a list",
            expected="callbacks=[…], a list of callbacks",
            received=_described(given),
            hint="put brackets around it" if isinstance(given, Callback) else None,
        )
    found = list(given)
    for number, callback in enumerate(found):
        if not isinstance(callback, Callback):
            raise ConfigurationError(
                "something in the list of callbacks is no callback",
                place=f"callbacks[{number}]",
                expected="an instance of a subclass of chainrule.callbacks.Callback",
                received=_described(callback),
                hint=_callback_from(callback),
            )
    return found


def _callback_from(given: Any) -> str:
    """What makes a callback of what is none."""
    if isinstance(given, type) and issubclass(given, Callback):
        return f"make an instance of it: {given.__name__}(…)"
    if isinstance(given, SuggestsUse):
        return given.suggested_use
    if callable(given):
        return "callbacks.Functions(on_epoch_end=…), or on_step_end, or another moment"
    return "a class of your own: class Mine(Callback), with an on_epoch_end, say"


def as_validation(given: Any, outputs: int) -> Data | None:
    """The validation data, where there are some, from a pair (x, t) or whatever has all of them."""
    if given is None:
        return None
    if isinstance(given, tuple | list) and len(given) == 2:
        return Data.of(given[0], given[1], named="validation {}", outputs=outputs)
    if not isinstance(given, tuple | list) and _is_finite_dataset(given):
        return read_all(given, outputs, named="validation {}", place="validation_data")
    length = f" of {len(given)}" if hasattr(given, "__len__") else ""
    raise ConfigurationError(
        "validation_data is neither a pair nor a data set",
        expected="validation_data=(x, t), a data set of pairs, or an iterable of batches with a "
        "length",
        received=f"{type(given).__name__}{length}",
        hint=_validation_from(given),
    )


def _is_finite_dataset(given: Any) -> bool:
    """Whether it is a data set, or an iterable of batches that comes to an end."""
    return gives_pairs(given) or (gives_batches(given) and hasattr(given, "__len__"))


def _validation_from(given: Any) -> str:
    """What makes validation data of what is none."""
    if callable(given):
        return "call it once: validation_data=make_batch(np.random.default_rng(1))"
    if hasattr(given, "shape"):
        return "give the targets along with the inputs: validation_data=(x, t)"
    if isinstance(given, tuple) and len(given) == 3:
        return "leave the weights out, for each sample counts the same: validation_data=(x, t)"
    if hasattr(given, "__next__") or isinstance(given, list | tuple):
        return "put the batches together: validation_data=tuple(map(np.concatenate, zip(*batches)))"
    return "give arrays: validation_data=(x, t)"


def as_path(name: str, given: Any) -> Path | None:
    """A path, where one is given."""
    if given is None:
        return None
    try:
        return Path(given)
    except TypeError as error:
        raise ConfigurationError(
            f"{name} is no path",
            expected=f"{name}='runs/first', say",
            received=_described(given),
        ) from error


def require_progress(given: object) -> None:
    """Refuse what says neither yes nor no and is no rich Console."""
    if not isinstance(given, bool) and not hasattr(given, "is_terminal"):
        raise ConfigurationError(
            "progress says whether to show how far the training is",
            expected="True, False, or a rich Console to show it on",
            received=f"progress={given!r:.60}",
        )


def _require(
    given: object, kind: type, module: Any, example: str, place: str | None = None
) -> None:
    if isinstance(given, kind):
        return
    what, where = kind.__name__.lower(), module.__name__.rpartition(".")[2]
    names = [name for name in module.__all__ if name != kind.__name__]
    hint = None
    if isinstance(given, type) and issubclass(given, kind):
        hint = f"make an instance of it: {where}.{given.__name__}(…)"
    elif isinstance(given, str):
        # "mse" is as near to MeanSquaredError as "mean_squared_eror" is.
        ways = {name.lower(): name for name in names}
        ways |= {"".join(filter(str.isupper, name)).lower(): name for name in names}
        asked = given.lower().replace("_", "").replace(" ", "")
        nearest = difflib.get_close_matches(asked, ways, n=1, cutoff=0.5)
        hint = f"did you mean {where}.{ways[nearest[0]]}(…)?" if nearest else example
    raise ConfigurationError(
        f"Trainer: the {what} is none of chainrule.{where}",
        place=place,
        expected=f"an object such as {example}; there are {', '.join(names)}",
        received=_described(given),
        hint=hint,
    )


def _described(thing: object) -> str:
    if isinstance(thing, type):
        return f"the class {thing.__name__}"
    return f"{thing!r:.80}, of type {type(thing).__name__}"
