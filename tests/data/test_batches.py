"""Batches: each sample is in one of them, with its own target and weight."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from chainrule.data.batches import ArrayBatches, FreshBatches
from chainrule.data.samples import Data
from chainrule.losses import HalfSquaredError, PerOutput, SoftmaxCrossEntropy


def numbered(count: int) -> Data:
    """Samples whose arrays all contain the row number."""
    n = np.arange(float(count))
    return Data.of((n[:, np.newaxis], n), n[:, np.newaxis], n)


@given(st.integers(1, 60), st.integers(1, 70), st.booleans(), st.integers(0, 2**32 - 1))
def test_an_epoch_is_a_partition_of_the_samples(
    count: int, size: int, shuffle: bool, seed: int
) -> None:
    batches = ArrayBatches(numbered(count), size, shuffle, np.random.default_rng(seed))
    for _ in range(2):
        parts = list(batches.epoch())
        assert len(parts) == batches.steps == -(-count // size)
        assert [len(t) for _, t, _ in parts[:-1]] == [size] * (len(parts) - 1)
        for (left, right), t, w in parts:
            np.testing.assert_array_equal(left, t)
            np.testing.assert_array_equal(right, t[:, 0])
            np.testing.assert_array_equal(w, t[:, 0])
        order = np.concatenate([w for _, _, w in parts])
        np.testing.assert_array_equal(np.sort(order) if shuffle else order, np.arange(count))


def test_shuffling_draws_one_permutation_per_epoch_and_nothing_else() -> None:
    rng, same = np.random.default_rng(3), np.random.default_rng(3)
    batches = ArrayBatches(numbered(10), 4, True, rng)
    for _ in range(3):
        order = np.concatenate([t[:, 0] for _, t, _ in batches.epoch()])
        np.testing.assert_array_equal(order, same.permutation(10))
    assert rng.bit_generator.state == same.bit_generator.state
    list(ArrayBatches(numbered(10), 4, False, rng).epoch())
    assert rng.bit_generator.state == same.bit_generator.state


def test_batches_share_no_memory() -> None:
    batches = ArrayBatches(numbered(9), 3, True, np.random.default_rng(0))
    arrays = [array for (left, right), t, w in batches.epoch() for array in (left, right, t, w)]
    for number, one in enumerate(arrays):
        assert not any(np.shares_memory(one, other) for other in arrays[:number])


def test_make_batch_is_called_once_per_step_and_the_first_batch_is_used() -> None:
    calls: list[int] = []

    def make_batch(rng: np.random.Generator) -> Any:
        calls.append(len(calls))
        return [[calls[-1]]], [[2 * calls[-1]]]

    batches = FreshBatches(make_batch, 3, np.random.default_rng(0))
    assert calls == [0]
    batches.fit_to(HalfSquaredError(), lambda data: ((1,),), np.dtype("float32"))
    for epoch in range(2):
        given_out = [(x.item(), t.item()) for (x,), t, _ in batches.epoch()]
        assert given_out == [(n, 2 * n) for n in range(3 * epoch, 3 * epoch + 3)]
    assert calls == list(range(6))


def test_fresh_batches_may_differ_in_length_and_are_converted_to_the_dtype_of_the_model() -> None:
    batches = FreshBatches(
        lambda rng: (rng.normal(size=(n := int(rng.integers(1, 9)), 2)), np.ones((n, 1), int)),
        20,
        np.random.default_rng(0),
    )
    batches.fit_to(HalfSquaredError(), lambda data: ((1,),), np.dtype("float32"))
    sizes = set()
    for (x,), t, w in batches.epoch():
        assert (x.dtype, t.dtype, w, len(x)) == ("float32", "float32", None, len(t))
        sizes.add(len(x))
    assert len(sizes) > 1


@given(st.integers(1, 30), st.integers(1, 35), st.booleans())
def test_several_targets_are_a_tuple_with_the_rows_of_the_same_samples(
    count: int, size: int, shuffle: bool
) -> None:
    n = np.arange(float(count))
    data = Data.of(n[:, np.newaxis], (n, np.stack([n, 2 * n], axis=1)), n, outputs=2)
    for (x,), (first, second), w in ArrayBatches(
        data, size, shuffle, np.random.default_rng(0)
    ).epoch():
        np.testing.assert_array_equal(first, x[:, 0])
        np.testing.assert_array_equal(second, x * [1.0, 2.0])
        np.testing.assert_array_equal(w, x[:, 0])


def test_fresh_batches_of_several_targets_are_fitted_to_their_losses() -> None:
    batches = FreshBatches(
        lambda rng: (np.ones((3, 2)), (np.ones((3, 1)), np.array([0, 1, 1]))),
        2,
        np.random.default_rng(0),
        outputs=2,
    )
    loss = PerOutput([HalfSquaredError(), SoftmaxCrossEntropy()])
    batches.fit_to(loss, lambda data: ((1,), (2,)), np.dtype("float32"))
    for _, (numbers, labels), w in batches.epoch():
        assert (numbers.dtype, labels.dtype, w) == ("float32", "int64", None)
