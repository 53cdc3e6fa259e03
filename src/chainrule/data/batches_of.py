"""Kinds: what may be given to `fit`, and which batches are made of it.

    fit(x, t)                                arrays: NumPy's, and what it takes for one
    fit(x, t)                                what is read where it lies: np.memmap, h5py, zarr, ...
    fit(dataset)                             dataset[i] is the pair of one sample
    fit(loader)                              an iterable of batches, each a pair; also a list
    fit(make_batch, steps_per_epoch=100)     a function of a generator that returns a pair

They are told apart by what they can do, never by the library that they come from.
"""

from __future__ import annotations

import difflib
from typing import Any

import numpy as np

from chainrule.core.errors import ConfigurationError
from chainrule.core.validators import is_number
from chainrule.data.batches import ArrayBatches, Batches, FreshBatches
from chainrule.data.class_weights import BALANCED, ClassWeights
from chainrule.data.iterated_batches import IteratedBatches
from chainrule.data.pair_batches import PairBatches
from chainrule.data.samples import Data
from chainrule.data.sources import has_shape, is_stored
from chainrule.data.stored_batches import StoredBatches

BATCH_SIZE = 32
"""How many samples make a step, where it is not said."""


def batches_of(
    x: Any,
    t: Any = None,
    *,
    batch_size: int | None = None,
    steps_per_epoch: int | None = None,
    sample_weights: Any = None,
    class_weights: Any = None,
    shuffle: bool | str = True,
    prefetch: bool | None = None,
    rng: np.random.Generator,
    outputs: int = 1,
) -> Batches:
    """The batches of what was given.

    Parameters
    ----------
    x, t
        Inputs and targets; or, without t, a data set, an iterable or a function of the pairs. A
        list or a tuple of pairs of arrays is an iterable of batches, not a data set of samples.
    batch_size
        How many samples make a batch, where they come one by one; 32 if not given.
    steps_per_epoch
        After how many batches an epoch ends, where that is not known.
    sample_weights
        (samples,): how much each sample counts.
    class_weights
        How much each class counts: a dictionary by label, a sequence, or ``"balanced"``.
    shuffle
        Whether the order of the samples is drawn anew for each epoch: True for the way that fits
        where they lie, ``"rows"`` or ``"blocks"`` (see `chainrule.data.orders`), or False.
    prefetch
        Whether the next batch is made ready in a thread while the current one is learned from. None
        decides: yes for what is read, or comes from a data set or an iterable; no for arrays
        in memory, and for functions, which may not be made for it.
    rng
        The generator from which everything random comes.
    outputs
        How many outputs there are targets for.

    Raises
    ------
    ConfigurationError
        The arguments do not go together.
    DtypeError, ShapeError, DataError
        Data that cannot be learned from.
    """
    _require_shuffle(shuffle)
    _require_prefetch(prefetch)
    shuffle = shuffle if isinstance(shuffle, str) else bool(shuffle)
    of_classes = ClassWeights.of(class_weights, outputs)
    given = {"t": t, "batch_size": batch_size, "sample_weights": sample_weights}
    options: dict[str, Any] = {"rng": rng, "class_weights": of_classes}
    if callable(x):
        _require_nothing_else("a function", "make_batch", shuffle, given)
        steps = _steps(x, steps_per_epoch, "make_batch", "fresh batches never end")
        _require_unbalanced(class_weights, "a function")
        return FreshBatches(x, steps, outputs=outputs, prefetch=bool(prefetch), **options)
    options["prefetch"] = prefetch is not False
    if t is None and gives_batches(x):
        options["prefetch"] = (
            bool(prefetch) if isinstance(x, list | tuple) else prefetch is not False
        )
        length = _length_of(x) if steps_per_epoch is None else None
        _require_nothing_else("an iterable", "iterable", shuffle, given)
        _require_unbalanced(class_weights, "an iterable")
        if length is not None:
            return IteratedBatches(x, length, outputs=outputs, by_passes=True, **options)
        steps = _steps(x, steps_per_epoch, "iterable", "this iterable has no length")
        return IteratedBatches(x, steps, outputs=outputs, **options)
    _require_no_steps(steps_per_epoch)
    options |= {"batch_size": batch_size or BATCH_SIZE, "shuffle": shuffle}
    if t is None and gives_pairs(x):
        _require_no_weights_beside(sample_weights)
        _require_no_blocks(shuffle)
        _require_unbalanced(class_weights, "a data set")
        return PairBatches(x, outputs=outputs, **options)
    if any(map(is_stored, (*_parts(x), *_parts(t)))):
        return StoredBatches.of(x, t, sample_weights, outputs=outputs, **options)
    options["prefetch"] = bool(prefetch)
    return ArrayBatches(Data.of(x, t, sample_weights, outputs=outputs), **options)


def _parts(given: Any) -> tuple[Any, ...]:
    return given if isinstance(given, tuple) else (given,)


def gives_batches(x: Any) -> bool:
    """Whether it can be gone through, and gives batches: pairs of arrays.

    Raises
    ------
    ConfigurationError
        It is a list of pairs, and these are single samples.
    """
    if isinstance(x, list | tuple):
        return _are_batches(x)
    can_go_on = hasattr(x, "__iter__") or hasattr(x, "__next__")
    return can_go_on and not has_shape(x) and not hasattr(x, "__getitem__")


def gives_pairs(x: Any) -> bool:
    """Whether ``x[i]`` is the pair of one sample."""
    return is_stored(x) and not has_shape(x)


def _are_batches(items: list[Any] | tuple[Any, ...]) -> bool:
    """Whether these are pairs of arrays with equally many rows, and not the rows of an array."""
    if not items or not all(map(_is_pair, items)):
        return False
    for number, (x, t, *_) in enumerate(items):
        shapes = [np.shape(part) for part in (*_parts(x), *_parts(t))]
        counts = {shape[:1] for shape in shapes}
        if len(counts) != 1 or any(len(np.shape(part)) < 2 for part in _parts(x)):
            raise _no_batch(number, shapes, len(_parts(x)))
    return True


def _is_pair(item: Any) -> bool:
    """Whether it is (x, t) or (x, t, weights), with arrays in it and no lists of numbers."""
    if not isinstance(item, tuple | list) or len(item) not in (2, 3):
        return False
    x, t = _parts(item[0]), _parts(item[1])
    return bool(x and t) and all(map(has_shape, x)) and all(has_shape(n) or is_number(n) for n in t)


def _length_of(x: Any) -> int | None:
    try:
        return len(x)
    except TypeError:  # some loaders have a __len__, and know only then that they have no length
        return None


# ------------------------------------------------------------------- what does not go together


def _no_batch(number: int, shapes: list[Any], inputs: int) -> ConfigurationError:
    x, t = (" and ".join(map(str, part)) for part in (shapes[:inputs], shapes[inputs:]))
    return ConfigurationError(
        "a list of pairs is a list of batches, and this pair is none",
        place=f"x[{number}]",
        expected="(x, t) of a batch: in both a row for each of its samples",
        received=f"x of shape {x}, t of shape {t}",
        hint="if these are single samples: x, t = map(np.stack, zip(*pairs)), then fit(x, t)",
    )


def _require_shuffle(given: Any) -> None:
    if isinstance(given, bool | np.bool_) or (isinstance(given, str) and given in WAYS):
        return
    nearest = difflib.get_close_matches(str(given), WAYS, n=1, cutoff=0.5)
    raise ConfigurationError(
        "shuffle says whether the order of the samples is drawn anew, and how",
        expected="True, False, 'rows' or 'blocks'",
        received=f"shuffle={given!r:.60}",
        hint=f"did you mean shuffle={nearest[0]!r}?" if nearest else None,
    )


WAYS = ("rows", "blocks")


def _require_prefetch(given: Any) -> None:
    if given is not None and not isinstance(given, bool | np.bool_):
        raise ConfigurationError(
            "prefetch says whether the next batch is made ready in a thread",
            expected="True, False, or None for where it pays",
            received=f"prefetch={given!r:.60}",
        )


def _require_nothing_else(what: str, name: str, shuffle: Any, given: dict[str, Any]) -> None:
    too_many = [argument for argument, value in given.items() if value is not None]
    too_many += [f"shuffle={shuffle!r}"] * isinstance(shuffle, str)
    if not too_many:
        return
    makes, returns = (
        ("a function makes the batches, it", "make_batch(rng) returns the pair (x, t) of one step")
        if name == "make_batch"
        else ("an iterable gives the batches, it", "it gives pairs (x, t) or (x, t, weights)")
    )
    raise ConfigurationError(
        f"where {makes} decides what is in them",
        expected=f"fit({name}, epochs=…, steps_per_epoch=…)",
        received=f"{what}, and also {', '.join(too_many)}",
        hint=f"leave that out; {returns}",
    )


def _steps(x: Any, steps: int | None, name: str, why: str) -> int:
    if steps is None:
        what = "a function" if callable(x) else f"{type(x).__name__} without a length"
        raise ConfigurationError(
            f"{why}, so it has to be said after how many of them an epoch does"
            if name == "make_batch"
            else f"{why}, so it has to be said after how many batches an epoch ends",
            expected=f"fit({name}, epochs=…, steps_per_epoch=…)",
            received=f"{what}, and no steps_per_epoch",
            hint="steps_per_epoch=100",
        )
    return steps


def _require_no_steps(steps_per_epoch: Any) -> None:
    if steps_per_epoch is not None:
        raise ConfigurationError(
            "steps_per_epoch is for batches that a function makes, or an iterable gives",
            expected="fit(x, t, batch_size=…), or fit(make_batch, steps_per_epoch=…)",
            received=f"steps_per_epoch={steps_per_epoch!r}, and an x that is neither",
            hint="leave it out: an epoch goes once through all samples",
        )


def _require_unbalanced(class_weights: Any, what: str) -> None:
    if isinstance(class_weights, str) and class_weights == BALANCED:
        raise ConfigurationError(
            "class_weights='balanced' needs all targets, to count the classes",
            expected="targets in memory, fit(x, t)",
            received=f"{what}, which gives them one after another",
            hint="give the weights by label: class_weights={0: …, 1: …}",
        )


def _require_no_weights_beside(sample_weights: Any) -> None:
    if sample_weights is not None:
        raise ConfigurationError(
            "the weights of a data set's samples come with them",
            expected="a data set whose samples are (x_i, t_i, weight)",
            received="a data set of pairs, and also sample_weights",
        )


def _require_no_blocks(shuffle: Any) -> None:
    if shuffle == "blocks":
        raise ConfigurationError(
            "a data set of pairs gives its samples one by one, and has no blocks",
            expected="shuffle=True, 'rows' or False",
            received="shuffle='blocks'",
            hint="shuffle=True draws one permutation of all samples",
        )
