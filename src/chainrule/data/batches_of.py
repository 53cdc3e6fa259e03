"""What `fit` accepts as data, and which kind of batches is made from it.

    fit(x, t)                                NumPy arrays, or anything NumPy converts to one
    fit(x, t)                                arrays in files: np.memmap, h5py, zarr, ...
    fit(dataset)                             dataset[i] is the pair of one sample
    fit(loader)                              an iterable, or a list, of batches; each is a pair
    fit(make_batch, steps_per_epoch=100)     a function of a generator that returns a pair
    fit(augmented(x, t, shift=2))            any of these, with inputs that are changed at random

The kind depends on what an object can do, never on the library that it comes from.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from chainrule.core.errors import ConfigurationError, shortened
from chainrule.core.hints import nearest
from chainrule.core.input_checks import as_tuple
from chainrule.data.augmentation import Augmented
from chainrule.data.batches import ArrayBatches, Batches, FreshBatches
from chainrule.data.class_weights import BALANCED, ClassWeights
from chainrule.data.kinds import gives_batches, gives_pairs
from chainrule.data.samples import Data
from chainrule.data.sources import is_read_here, is_stored

BATCH_SIZE = 32
"""The default number of samples in a batch."""


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
    """The batches that `fit` trains on, made from its arguments.

    Parameters
    ----------
    x, t
        Inputs and targets; or, without t, a dataset of pairs, an iterable of batches or a function
        that makes batches. A list or a tuple of pairs of arrays is an iterable of batches, not a
        dataset of samples.
    batch_size
        The number of samples in a batch, for data that are not in batches yet; 32 if not given.
    steps_per_epoch
        The number of batches in an epoch, if the data do not determine it.
    sample_weights
        (samples,): how much each sample counts.
    class_weights
        How much each class counts: a dictionary by label, a sequence, or ``"balanced"``.
    shuffle
        Whether to draw a new order of the samples for each epoch: True for the way that suits where
        they are stored, ``"rows"`` or ``"blocks"`` (see `chainrule.data.orders`), or False.
    prefetch
        Whether to prepare the next batch in a thread while the network learns from the current one.
        None decides: yes where chainrule itself reads from a file (a memory map, h5py, zarr); no
        for arrays in memory, and for everything that runs code of the user, which stays in the
        thread of the caller and in order.
    rng
        The generator from which all random numbers are drawn.
    outputs
        The number of outputs, each with a target.

    Raises
    ------
    ConfigurationError
        The arguments contradict each other.
    DtypeError, ShapeError, DataError
        The data cannot be learned from.
    """
    # A program that needs one kind of batches does not load the others.
    if isinstance(x, Augmented):
        from chainrule.data.augmented_batches import AugmentedBatches

        changed = batches_of(
            x.x,
            _only(x.t, t),
            batch_size=batch_size,
            steps_per_epoch=steps_per_epoch,
            sample_weights=sample_weights,
            class_weights=class_weights,
            shuffle=shuffle,
            prefetch=prefetch,
            rng=rng,
            outputs=outputs,
        )
        return AugmentedBatches(changed, x, rng)
    _require_shuffle(shuffle)
    _require_prefetch(prefetch)
    shuffle = shuffle if isinstance(shuffle, str) else bool(shuffle)
    of_classes = ClassWeights.of(class_weights, outputs)
    given = {"t": t, "batch_size": batch_size, "sample_weights": sample_weights}
    options: dict[str, Any] = {
        "rng": rng,
        "class_weights": of_classes,
        "prefetch": bool(prefetch),
    }
    if callable(x):
        _require_no_others("a function", "make_batch", shuffle, given)
        steps = _steps(x, steps_per_epoch, "make_batch", "fresh batches never end")
        _require_unbalanced(class_weights, "a function")
        return FreshBatches(x, steps, outputs=outputs, **options)
    if t is None and gives_batches(x):
        from chainrule.data.iterated_batches import IteratedBatches

        length = length_of(x) if steps_per_epoch is None else None
        _require_no_others("an iterable", "iterable", shuffle, given)
        _require_unbalanced(class_weights, "an iterable")
        if length is not None:
            return IteratedBatches(x, length, outputs=outputs, by_passes=True, **options)
        steps = _steps(x, steps_per_epoch, "iterable", "this iterable has no length")
        return IteratedBatches(x, steps, outputs=outputs, **options)
    _require_no_steps(steps_per_epoch)
    options |= {"batch_size": batch_size or BATCH_SIZE, "shuffle": shuffle}
    if t is None and gives_pairs(x):
        from chainrule.data.pair_batches import PairBatches

        require_no_weights_beside(sample_weights)
        _require_no_blocks(shuffle)
        _require_unbalanced(class_weights, "a dataset")
        return PairBatches(x, outputs=outputs, **options)
    stored = list(filter(is_stored, (*as_tuple(x), *as_tuple(t))))
    if stored:
        from chainrule.data.stored_batches import StoredBatches

        if prefetch is None:
            options["prefetch"] = all(map(is_read_here, stored))
        return StoredBatches.of(x, t, sample_weights, outputs=outputs, **options)
    return ArrayBatches(Data.of(x, t, sample_weights, outputs=outputs), **options)


def length_of(x: Any) -> int | None:
    """The length of an iterable, or None if it has none."""
    try:
        return len(x)
    except TypeError:  # the __len__ of some loaders raises it: they have no length
        return None


# --------------------------------------------------------------------- arguments that conflict


def _only(t: Any, other: Any) -> Any:
    """The targets given to `augmented`, or to `fit`."""
    if t is not None and other is not None:
        raise ConfigurationError(
            "the targets are given twice",
            expected="fit(augmented(x, t, …), epochs=…)",
            received="augmented(x, t, …), and also t",
        )
    return other if t is None else t


def _require_shuffle(given: Any) -> None:
    if isinstance(given, bool | np.bool_) or (isinstance(given, str) and given in SHUFFLES):
        return
    meant = nearest(str(given), SHUFFLES, alike=0.5)
    raise ConfigurationError(
        "shuffle has an invalid value",
        expected="True, False, 'rows' or 'blocks'",
        received=f"shuffle={shortened(given)}",
        hint=f"did you mean shuffle={meant!r}?" if meant else None,
    )


SHUFFLES = ("rows", "blocks")


def _require_prefetch(given: Any) -> None:
    if given is not None and not isinstance(given, bool | np.bool_):
        raise ConfigurationError(
            "prefetch has an invalid value",
            expected="True to prepare batches in a thread, False, or None to decide by the data",
            received=f"prefetch={shortened(given)}",
        )


def _require_no_others(what: str, name: str, shuffle: Any, given: dict[str, Any]) -> None:
    others = [argument for argument, value in given.items() if value is not None]
    others += [f"shuffle={shuffle!r}"] * isinstance(shuffle, str)
    if not others:
        return
    returns = (
        "make_batch(rng) returns the pair (x, t) of one step"
        if name == "make_batch"
        else "the iterable gives pairs (x, t) or (x, t, weights)"
    )
    raise ConfigurationError(
        f"{what} decides by itself what is in each batch",
        expected=f"fit({name}, epochs=…, steps_per_epoch=…)",
        received=f"{what}, and also {', '.join(others)}",
        hint=f"leave out {' and '.join(others)}; {returns}",
    )


def _steps(x: Any, steps: int | None, name: str, why: str) -> int:
    if steps is None:
        what = "a function" if callable(x) else f"{type(x).__name__} without a length"
        raise ConfigurationError(
            f"{why}, so steps_per_epoch has to set the length of an epoch",
            expected=f"fit({name}, epochs=…, steps_per_epoch=…)",
            received=f"{what}, and no steps_per_epoch",
            hint="steps_per_epoch=100",
        )
    return steps


def _require_no_steps(steps_per_epoch: Any) -> None:
    if steps_per_epoch is not None:
        raise ConfigurationError(
            "steps_per_epoch is only for a function that makes batches, or an iterable of batches",
            expected="fit(x, t, batch_size=…), or fit(make_batch, steps_per_epoch=…)",
            received=f"steps_per_epoch={steps_per_epoch!r}, and an x that is neither",
            hint="leave out steps_per_epoch: an epoch uses every sample once",
        )


def _require_unbalanced(class_weights: Any, what: str) -> None:
    if isinstance(class_weights, str) and class_weights == BALANCED:
        raise ConfigurationError(
            "class_weights='balanced' needs all targets, to count the classes",
            expected="targets in memory, fit(x, t)",
            received=f"{what}, which gives one batch after another",
            hint="give the weights by label: class_weights={0: …, 1: …}",
        )


def require_no_weights_beside(sample_weights: Any) -> None:
    """Raise an error for sample weights in addition to those that the samples may contain."""
    if sample_weights is not None:
        raise ConfigurationError(
            "a dataset of pairs gives the weights of its samples itself",
            expected="a dataset whose samples are (x_i, t_i, weight)",
            received="a dataset of pairs, and also sample_weights",
        )


def _require_no_blocks(shuffle: Any) -> None:
    if shuffle == "blocks":
        raise ConfigurationError(
            "a dataset of pairs gives its samples one by one, so it has no blocks",
            expected="shuffle=True, 'rows' or False",
            received="shuffle='blocks'",
            hint="shuffle=True draws one permutation of all samples",
        )
