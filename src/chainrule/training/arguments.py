"""The arguments of `Trainer` and `fit`, checked before anything runs.

A mistake in a call is cheap before the first step and expensive after the thousandth. So every
argument is checked first; an error says what was expected, what was received, and what was probably
meant.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from chainrule import files, losses, optimizers
from chainrule.callbacks import Callback
from chainrule.core.caller import warn_caller
from chainrule.core.errors import (
    ConfigurationError,
    DefinitionError,
    ShapeError,
    described,
    shortened,
)
from chainrule.core.hints import hint_for_layer, nearest
from chainrule.core.layer import Layer
from chainrule.core.messages import batch_of
from chainrule.core.types import Shape, SuggestsUse
from chainrule.core.validators import is_integer
from chainrule.data.kinds import gives_batches, gives_pairs, is_list_of_batches
from chainrule.data.samples import Data
from chainrule.graph.plan import Plan
from chainrule.losses import Loss
from chainrule.optimizers import Optimizer
from chainrule.training.history_columns import output_names
from chainrule.training.ranks import Ranks

if TYPE_CHECKING:
    from pathlib import Path

    from chainrule.data.batches import Batches

ORDER = "the order is Trainer(model, loss, optimizer)"
"""The hint for arguments that are swapped."""


def require_model(trainer: object, attribute: Any, given: Any) -> None:
    """Raise an error unless it is a layer; an attrs validator, like `require_optimizer`."""
    if isinstance(given, Layer):
        return
    raise DefinitionError(
        "Trainer: the model is not a layer",
        expected="a Layer, such as Sequential([Dense(30), Activation('tanh'), Dense(10)])",
        received=described(given),
        hint=ORDER if isinstance(given, Loss | Optimizer) else hint_for_layer(given),
    )


def as_loss(given: Loss | Sequence[Loss], caller: str = "Trainer") -> Loss:
    """The loss, or the weighted sum of a list with one loss per output.

    Anything else is an error that suggests the closest name.
    """
    if isinstance(given, list | tuple):
        for number, loss in enumerate(given):
            _require(loss, Loss, losses, "losses.HalfSquaredError()", f"loss[{number}]", caller)
        return given[0] if len(given) == 1 else losses.PerOutput(given)
    _require(given, Loss, losses, "losses.HalfSquaredError()", caller=caller)
    return given  # type: ignore[return-value]


def weighted(loss: Loss, weights: Any) -> Loss:
    """The losses of several outputs, with ``loss_weights`` if given."""
    if weights is None:
        return loss
    if not isinstance(loss, losses.PerOutput) or set(loss.weights) != {1.0}:
        raise ConfigurationError(
            "loss_weights needs a list of losses, one per output",
            expected="Trainer(model, [loss_1, loss_2], optimizer, loss_weights=[…, …])",
            received=f"loss_weights={shortened(weights)} with the loss {shortened(loss, 80)}",
            hint="omit loss_weights"
            + ("; these losses already have weights" if isinstance(loss, losses.PerOutput) else ""),
        )
    return losses.PerOutput(loss.losses, weights)


def require_a_loss_for_each(outputs: Sequence[Shape], loss: Loss) -> None:
    """Raise an error unless there are as many losses as outputs."""
    count = len(loss.for_each_output)
    if count == len(outputs):
        return
    names = ", ".join(f"loss_{n + 1}" for n in range(len(outputs)))
    has = "one output" if len(outputs) == 1 else f"{len(outputs)} outputs"
    raise ShapeError(
        "the model has several outputs but there is only one loss"
        if count == 1
        else f"the model has {has} but there are {count} losses",
        expected="a model with one output" if count == 1 else f"a model with {count} outputs",
        received=", ".join(map(batch_of, outputs)),
        hint="pass one loss, not a list: Trainer(model, loss, …)"
        if len(outputs) == 1
        else f"pass one loss per output, in order: Trainer(model, [{names}], …); if all have the "
        f"same, as in an Ensemble: [loss] * {len(outputs)}",
    )


def require_optimizer(trainer: object, attribute: Any, given: Any) -> None:
    """Raise an error unless it is an optimizer; for a string, suggest the closest name."""
    _require(given, Optimizer, optimizers, "optimizers.Adam(1e-3)")


def as_generator(rng: Any) -> np.random.Generator:
    """The generator itself, or a new one from a seed."""
    try:
        if isinstance(rng, bool):
            raise TypeError
        return np.random.default_rng(rng)
    except (TypeError, ValueError) as error:
        raise ConfigurationError(
            "Trainer: rng is neither a seed nor a generator",
            expected="an integer >= 0, a numpy.random.Generator, or None",
            received=f"rng={shortened(rng)}",
        ) from error


def counts(**given: Any) -> list[int]:
    """The counts as Python integers; anything but 1, 2, 3, … is an error."""
    return [_count(name, value) for name, value in given.items()]


def optional_counts(**given: Any) -> list[int | None]:
    """The same for optional counts, which may be None."""
    return [None if value is None else _count(name, value) for name, value in given.items()]


def _count(name: str, given: Any) -> int:
    if is_integer(given) and given >= 1:
        return int(given)
    is_integral_float = isinstance(given, float) and given >= 1 and given.is_integer()
    raise ConfigurationError(
        f"{name} must be an integer of at least 1",
        expected="1, 2, 3, …",
        received=f"{name}={shortened(given)}",
        hint=f"{name}={int(given)}" if is_integral_float else None,
    )


def as_callbacks(given: Any) -> list[Callback]:
    """The callbacks as a list of `Callback` objects; anything else is an error."""
    if isinstance(given, Callback | str) or not isinstance(given, Iterable):
        raise ConfigurationError(
            "callbacks must be a list",
            expected="callbacks=[…], a list of callbacks",
            received=described(given),
            hint="put brackets around it" if isinstance(given, Callback) else _callback_from(given),
        )
    callbacks = list(given)
    for number, callback in enumerate(callbacks):
        if not isinstance(callback, Callback):
            raise ConfigurationError(
                "an item in the list of callbacks is not a callback",
                place=f"callbacks[{number}]",
                expected="an instance of a subclass of chainrule.callbacks.Callback",
                received=described(callback),
                hint=_callback_from(callback),
            )
    return callbacks


def _callback_from(given: Any) -> str:
    """The hint: how to make a callback from it."""
    if isinstance(given, type) and issubclass(given, Callback):
        return f"create an instance: {given.__name__}(…)"
    if isinstance(given, SuggestsUse):
        return given.suggested_use
    if callable(given):
        return "callbacks.FromFunctions(on_epoch_end=…), or on_step_end, or another event"
    return "define a class: class Mine(Callback), for example with an on_epoch_end"


def as_validation(given: Any, outputs: int, inputs: int = 1) -> list[Data]:
    """The validation data from (x, t), (x, t, weights), a dataset or finitely many batches.

    One part, or the batches if their rows differ in shape; nothing from None.
    """
    if given is None:
        return []
    from chainrule.data.in_memory import read_all

    if is_list_of_batches(given, inputs):
        return read_all(given, outputs, named="validation {}", place="validation_data")
    if isinstance(given, tuple | list) and len(given) in (2, 3):
        x, t, *weights = given
        weight = weights[0] if weights else None
        return [Data.of(x, t, weight, named="validation {}", outputs=outputs)]
    if not isinstance(given, tuple | list) and _is_finite_dataset(given):
        return read_all(given, outputs, named="validation {}", place="validation_data")
    length = f" of {len(given)}" if hasattr(given, "__len__") else ""
    raise ConfigurationError(
        "validation_data is neither a pair nor a dataset",
        expected="validation_data=(x, t), or (x, t, sample_weights), a dataset of pairs, or an "
        "iterable of batches with a length",
        received=f"{type(given).__name__}{length}",
        hint=_validation_from(given),
    )


def _is_finite_dataset(given: Any) -> bool:
    """Whether it is a dataset, or an iterable of batches that ends."""
    return gives_pairs(given) or (gives_batches(given) and hasattr(given, "__len__"))


def _validation_from(given: Any) -> str:
    """The hint: how to make validation data from it."""
    if callable(given):
        return "call it once: validation_data=make_batch(np.random.default_rng(1))"
    if hasattr(given, "shape"):
        return "pass the targets with the inputs: validation_data=(x, t)"
    if hasattr(given, "__next__"):
        return "make a list of its batches: validation_data=list(batches)"
    return "pass arrays: validation_data=(x, t)"


def as_parts(x: Any, t: Any, sample_weights: Any, outputs: int, size: int) -> Iterable[Data]:
    """The samples to evaluate: all together, or part by part where they are read."""
    if t is None and (gives_batches(x) or gives_pairs(x)):
        from chainrule.data.batches_of import require_no_weights_beside
        from chainrule.data.in_memory import read_parts

        require_no_weights_beside(sample_weights)
        return read_parts(x, outputs, place="x", size=size)
    if callable(x):
        raise ConfigurationError(
            "a function cannot be evaluated",
            expected="evaluate(x, t), a dataset of pairs, or batches that end",
            received=described(x),
            hint="evaluate(*make_batch(np.random.default_rng(1)))",
        )
    return [Data.of(x, t, sample_weights, outputs=outputs)]


def warn_of_softmax(model: Layer, loss: Loss) -> None:
    """Warn if an output is a softmax or a sigmoid, and its loss applies one to it."""
    from chainrule.layers.activation import Activation
    from chainrule.layers.functions import Sigmoid
    from chainrule.layers.reshape import Flatten, Reshape
    from chainrule.layers.softmax import Softmax
    from chainrule.losses import SigmoidCrossEntropy, SoftmaxCrossEntropy

    plan = Plan.of(model)
    makers = {slot: step for step in plan.steps for slot in step.makes}
    for slot, own_loss in zip(plan.outputs, loss.for_each_output, strict=True):
        step = makers.get(slot)
        while step is not None and isinstance(step.layer, Flatten | Reshape):
            step = makers.get(step.takes[0])
        layer = step.layer if step is not None else None
        is_softmax = isinstance(layer, Softmax)
        is_sigmoid = isinstance(layer, Activation) and isinstance(layer.function, Sigmoid)
        applied = "a softmax" if isinstance(own_loss, SoftmaxCrossEntropy) else "a sigmoid"
        takes_logits = isinstance(own_loss, SoftmaxCrossEntropy | SigmoidCrossEntropy)
        if step is None or not takes_logits or not (is_softmax or is_sigmoid):
            continue
        what = "a softmax" if is_softmax else "a sigmoid"
        warn_caller(
            UserWarning(
                f"{type(own_loss).__name__} takes logits and applies {applied} itself, and the "
                f"model ends with {'one' if what == applied else what}, "
                f"{step.path or type(layer).__name__}: remove it, or the network learns slowly"
            )
        )


def require_in_memory(batches: Batches, then: Any) -> None:
    """Raise an error unless all samples of the batches are arrays in memory."""
    from chainrule.data.batches import ArrayBatches

    if not isinstance(batches, ArrayBatches):
        raise ConfigurationError(
            "then needs all samples in memory, for the cost of all of them together",
            expected="fit(x, t, then=…), with arrays",
            received=f"then={then!r:.60} and data that come batch by batch",
            hint="leave out then, or read the data first: np.asarray(x)",
        )


def require_one_rank(ranks: Ranks, then: Any) -> None:
    """Raise an error for a second phase on several ranks."""
    if then is not None and ranks.is_divided:
        raise ConfigurationError(
            "then is not possible on several ranks",
            expected="fit without then, or a trainer without ranks",
            received=f"then={then!r:.60}",
            hint="after fit, on one rank: fitting.minimize(model, loss, x, t)",
        )


def class_weights_by_number(given: Any, model: Layer, outputs: int) -> Any:
    """Class weights for several outputs, by the number of the output instead of its name."""
    if outputs == 1 or not isinstance(given, Mapping) or not any(isinstance(k, str) for k in given):
        return given
    names = output_names(model)
    numbers = {name: number for number, name in enumerate(names)}
    unknown = [name for name in given if isinstance(name, str) and name not in numbers]
    if unknown:
        closest = nearest(unknown[0], names)
        raise ConfigurationError(
            f"class_weights names the output {unknown[0]!r}, which the model does not have",
            expected=f"one of {', '.join(names)}, or a number from 0 to {outputs - 1}",
            received=repr(unknown[0]),
            hint=f"did you mean {closest!r}?" if closest else None,
        )
    return {numbers.get(output, output): own for output, own in given.items()}


def as_path(name: str, given: Any) -> Path | None:
    """The path with ``~`` expanded, or None if None."""
    if given is None:
        return None
    try:
        return files.expanded(given)
    except TypeError as error:
        raise ConfigurationError(
            f"{name} is not a path",
            expected=f"a path such as {name}='runs/first'",
            received=described(given),
        ) from error


def require_progress(given: object) -> None:
    """Raise an error unless it is a bool or a rich Console."""
    if not isinstance(given, bool) and not hasattr(given, "is_terminal"):
        raise ConfigurationError(
            "progress is neither a bool nor a rich Console",
            expected="True, False, or a rich Console to show the progress on",
            received=f"progress={shortened(given)}",
        )


def _require(
    given: object,
    kind: type,
    module: Any,
    example: str,
    place: str | None = None,
    caller: str = "Trainer",
) -> None:
    if isinstance(given, kind):
        return
    what, where = kind.__name__.lower(), module.__name__.rpartition(".")[2]
    names = [name for name in module.__all__ if name != kind.__name__]
    hint = None
    if isinstance(given, type) and issubclass(given, kind):
        hint = f"create an instance: {where}.{given.__name__}(…)"
    elif isinstance(given, str):
        # Initials such as "mse" match MeanSquaredError, as does "mean_squared_eror".
        spellings = {name.lower(): name for name in names}
        spellings |= {"".join(filter(str.isupper, name)).lower(): name for name in names}
        asked = given.lower().replace("_", "").replace(" ", "")
        closest = nearest(asked, spellings, alike=0.5)
        hint = f"did you mean {where}.{spellings[closest]}(…)?" if closest else example
    elif isinstance(given, Layer | Loss | Optimizer):
        hint = ORDER
    raise ConfigurationError(
        f"{caller}: the {what} is not one of chainrule.{where}",
        place=place,
        expected=f"an object such as {example}; available are {', '.join(names)}",
        received=described(given),
        hint=hint,
    )
