"""The rows of a batch that each of several processes computes: all of them, each once."""

from __future__ import annotations

import numpy as np
import pytest

from chainrule.data.part import WHOLE, Part


@pytest.mark.parametrize("size", [1, 2, 3, 5])
def test_the_parts_of_an_epoch_are_those_of_its_batches(size: int) -> None:
    for samples, batch_size in ((41, 10), (23, 10), (19, 10), (7, 2), (8, 4), (3, 7)):
        rows = np.arange(samples)
        batches = [rows[n : n + batch_size] for n in range(0, samples, batch_size)]
        for part in (Part(rank, size) for rank in range(size)):
            wanted = np.concatenate([batch[part.of(len(batch))] for batch in batches])
            for first, count in ((0, samples), (samples // 3, samples // 2)):
                taken = rows[first : first + count]
                found = taken[part.own(first, count, batch_size, samples)]
                assert found.tolist() == [row for row in wanted if row in taken]


def test_the_parts_of_a_batch_are_equal_but_for_one_row() -> None:
    assert [Part(rank, 3).of(8) for rank in range(3)] == [slice(0, 3), slice(3, 6), slice(6, 8)]
    assert [Part(rank, 3).of(2) for rank in range(3)] == [slice(0, 1), slice(1, 2), slice(2, 2)]
    assert WHOLE.is_whole and WHOLE.of(5) == slice(0, 5) and not Part(0, 2).is_whole
