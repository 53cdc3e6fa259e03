"""In memory: all samples of a dataset, or of a loader, read once.

Data that are only evaluated, such as validation data, are used after every epoch. So they are read
once and kept.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
from attrs import evolve

from chainrule.core.errors import ChainruleError, DataError
from chainrule.core.types import Array
from chainrule.data.batches import data_from_pair
from chainrule.data.batches_of import length_of
from chainrule.data.kinds import gives_pairs
from chainrule.data.pair_batches import PairBatches
from chainrule.data.samples import Data, of_output


def read_all(given: Any, outputs: int, *, named: str, place: str) -> list[Data]:
    """The samples of a dataset of pairs, or of a finite iterable of batches: see `joined`.

    Parameters
    ----------
    given
        The dataset or the iterable.
    outputs
        The number of outputs, each with a target.
    named
        The names of the arrays in error messages, such as ``"validation {}"``.
    place
        The name of ``given`` there.

    Raises
    ------
    DtypeError, ShapeError, DataError
        The samples or batches cannot be learned from.
    """
    parts = joined(read_parts(given, outputs, place=place))
    return [evolve(part, named=named, rows=None) for part in parts]


def read_parts(given: Any, outputs: int, *, place: str, size: int | None = None) -> Iterator[Data]:
    """The same in parts: ``size`` samples of a dataset at a time, or the batches of an iterable."""
    try:
        yield from (
            _of_pairs(given, outputs, size) if gives_pairs(given) else _of_batches(given, outputs)
        )
    except ChainruleError as error:
        error.place = f"{place}, {error.place}" if error.place else place
        raise


def joined(given: Iterable[Data]) -> list[Data]:
    """All samples of some parts in one part. A part without weights counts as if all were 1.

    Rows of different shapes, such as sequences of different lengths, cannot be joined: the parts
    are then returned as they are.
    """
    parts = list(given)
    if len({tuple([a.shape[1:] for a in (*d.inputs, *d.targets)]) for d in parts}) > 1:
        return parts
    (first, *_), outputs = parts, len(parts[0].targets)
    if len(parts) == 1:
        return parts
    inputs = _joined([data.inputs for data in parts])
    targets = _joined([data.targets for data in parts])
    return [Data(inputs, targets, _joined_weights(parts, outputs), first.named)]


def _of_pairs(dataset: Any, outputs: int, size: int | None) -> Iterator[Data]:
    # In order, so no random numbers are drawn.
    pairs = PairBatches(
        dataset, 1, False, np.random.default_rng(0), outputs=outputs, prefetch=False
    )
    size = size or len(dataset)
    for start in range(0, len(dataset), size):
        yield pairs.read(np.arange(start, min(start + size, len(dataset))))


def _of_batches(loader: Any, outputs: int) -> Iterator[Data]:
    found = 0
    for found, item in enumerate(loader, start=1):
        yield data_from_pair(
            item,
            found,
            outputs,
            maker="the iterable",
            hint="make the iterable give pairs of arrays, the x and t of one batch",
        )
    _require_length(loader, found)


def _joined_weights(batches: Sequence[Data], outputs: int) -> Any:
    """The weights of all batches; a batch without any counts as if all were 1."""
    given = [data.sample_weights for data in batches]
    if all(weights is None for weights in given):
        return None
    if not any(isinstance(weights, tuple) for weights in given):
        return _joined_arrays(given, batches)
    columns = [[of_output(weights, number) for weights in given] for number in range(outputs)]
    return tuple([_joined_arrays(column, batches) for column in columns])


def _joined_arrays(given: Sequence[Array | None], batches: Sequence[Data]) -> Array | None:
    shapes = [weights.shape[1:] for weights in given if weights is not None]
    if not shapes:
        return None
    return np.concatenate(
        [
            np.ones((len(data), *shapes[0])) if weights is None else weights
            for weights, data in zip(given, batches, strict=True)
        ]
    )


def _require_length(loader: Any, found: int) -> None:
    length, name = length_of(loader), type(loader).__name__
    if not found:
        raise DataError(
            "there are no batches in the iterable", expected="at least one batch", received=name
        )
    if length not in (None, found):
        raise DataError(
            "the number of batches is not the length of the iterable",
            expected=f"{length:,} batches, the length of {name}",
            received=f"{found:,} batches",
            hint=f"make the __len__ of {name} count its batches",
        )


def _joined(batches: Sequence[tuple[Array, ...]]) -> tuple[Array, ...]:
    return tuple(np.concatenate(arrays) for arrays in zip(*batches, strict=True))
