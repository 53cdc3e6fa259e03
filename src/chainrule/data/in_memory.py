"""Whole: all samples of a data set, or of a loader, together in memory.

What is only measured on, such as validation data, is gone through after every epoch. So it is read
once, and kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from attrs import evolve

from chainrule.core.errors import ChainruleError
from chainrule.core.types import Array
from chainrule.data.batches import batch_in, require_alike
from chainrule.data.batches_of import gives_pairs
from chainrule.data.pair_batches import PairBatches
from chainrule.data.samples import Data


def read_all(given: Any, outputs: int, *, named: str, place: str) -> Data:
    """The samples of a data set of pairs, or of an iterable of batches that ends.

    Parameters
    ----------
    given
        What has them.
    outputs
        How many outputs there are targets for.
    named
        What the arrays are called in error messages, such as ``"validation {}"``.
    place
        What ``given`` is called there.

    Raises
    ------
    DtypeError, ShapeError, DataError
        Samples, or batches, that cannot be learned from.
    """
    try:
        data = _of_pairs(given, outputs) if gives_pairs(given) else _of_batches(given, outputs)
    except ChainruleError as error:
        error.place = f"{place}, {error.place}" if error.place else place
        raise
    return evolve(data, named=named, rows=None)


def _of_pairs(dataset: Any, outputs: int) -> Data:
    # In order, and batch after batch nothing is asked for: no number is drawn.
    pairs = PairBatches(
        dataset, 1, False, np.random.default_rng(0), outputs=outputs, prefetch=False
    )
    return pairs.read(np.arange(len(dataset)))


def _of_batches(loader: Any, outputs: int) -> Data:
    found: list[Data] = []
    for number, item in enumerate(loader, start=1):
        data = batch_in(
            item,
            number,
            outputs,
            what="what the iterable gave is",
            hint="let it give pairs of arrays, x and t of one batch each",
            may_weigh=True,
        )
        found.append(data)
        require_alike(data, found[0], number)
    inputs = _joined([data.inputs for data in found])
    targets = _joined([data.targets for data in found])
    weighs = any(data.sample_weights is not None for data in found)
    weights = np.concatenate([_weights_of(data) for data in found]) if weighs else None
    return Data(inputs, targets, weights)


def _joined(parts: Sequence[tuple[Array, ...]]) -> tuple[Array, ...]:
    return tuple(np.concatenate(arrays) for arrays in zip(*parts, strict=True))


def _weights_of(data: Data) -> Array:
    return np.ones(len(data)) if data.sample_weights is None else data.sample_weights
