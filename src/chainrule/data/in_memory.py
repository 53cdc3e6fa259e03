"""In memory: all samples of a dataset, or of a loader, read once.

Data that are only evaluated, such as validation data, are used after every epoch. So they are read
once and kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from attrs import evolve

from chainrule.core.errors import ChainruleError, DataError
from chainrule.core.types import Array
from chainrule.data.batches import data_from_pair, require_same_row_shapes
from chainrule.data.batches_of import gives_pairs, length_of
from chainrule.data.pair_batches import PairBatches
from chainrule.data.samples import Data


def read_all(given: Any, outputs: int, *, named: str, place: str) -> Data:
    """The samples of a dataset of pairs, or of a finite iterable of batches.

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
    try:
        data = _of_pairs(given, outputs) if gives_pairs(given) else _of_batches(given, outputs)
    except ChainruleError as error:
        error.place = f"{place}, {error.place}" if error.place else place
        raise
    return evolve(data, named=named, rows=None)


def _of_pairs(dataset: Any, outputs: int) -> Data:
    # In order, so no random numbers are drawn.
    pairs = PairBatches(
        dataset, 1, False, np.random.default_rng(0), outputs=outputs, prefetch=False
    )
    return pairs.read(np.arange(len(dataset)))


def _of_batches(loader: Any, outputs: int) -> Data:
    batches: list[Data] = []
    for number, item in enumerate(loader, start=1):
        data = data_from_pair(
            item,
            number,
            outputs,
            maker="the iterable",
            hint="make the iterable give pairs of arrays, the x and t of one batch",
            may_weigh=True,
        )
        batches.append(data)
        require_same_row_shapes(data, batches[0], number)
    _require_length(loader, len(batches))
    inputs = _joined([data.inputs for data in batches])
    targets = _joined([data.targets for data in batches])
    is_weighted = any(data.sample_weights is not None for data in batches)
    weights = np.concatenate([_weights_of(data) for data in batches]) if is_weighted else None
    return Data(inputs, targets, weights)


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


def _weights_of(data: Data) -> Array:
    return np.ones(len(data)) if data.sample_weights is None else data.sample_weights
