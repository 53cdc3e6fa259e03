"""Orders: every row once, drawn as documented, and entered at any batch."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chainrule.core.errors import ConfigurationError
from chainrule.data.orders import ByBlocks, Orders, cut_batches, draw_order, row_indices
from data.stored import small

SIZES = st.integers(1, 80)
WAYS = st.sampled_from([False, "rows", "blocks"])


def rows_of(order: Any, size: int, start: int = 0) -> Any:
    """The row indices of each batch."""
    return [
        np.arange(part.start, part.stop) if isinstance(part, slice) else part
        for part in order.rows(size, start)
    ]


@given(SIZES, SIZES, st.integers(1, 20), st.integers(1, 30), WAYS, st.integers(0, 2**32 - 1))
def test_every_row_is_in_one_batch(
    samples: int, size: int, block: int, window: int, way: Any, seed: int
) -> None:
    with small(window_bytes=window):
        order = draw_order(way, samples, block, 1, np.random.default_rng(seed))
        parts = rows_of(order, size)
    assert [len(part) for part in parts[:-1]] == [size] * (len(parts) - 1)
    np.testing.assert_array_equal(np.sort(np.concatenate(parts)), np.arange(samples))


@given(SIZES, st.integers(1, 20), st.integers(1, 20), st.integers(1, 30), WAYS, st.data())
def test_an_order_can_be_entered_after_any_batch(
    samples: int, size: int, block: int, window: int, way: Any, data: st.DataObject
) -> None:
    with small(window_bytes=window):
        order = draw_order(way, samples, block, 1, np.random.default_rng(0))
    parts = rows_of(order, size)
    done = data.draw(st.integers(0, len(parts)))
    rest = rows_of(order, size, done * size)
    assert len(rest) == len(parts) - done
    for one, other in zip(rest, parts[done:], strict=True):
        np.testing.assert_array_equal(one, other)


@given(SIZES, st.integers(1, 20), st.integers(1, 60), st.integers(0, 2**32 - 1))
def test_blocks_are_drawn_as_documented(samples: int, block: int, window: int, seed: int) -> None:
    with small(window_bytes=window):
        order = draw_order("blocks", samples, block, 1, np.random.default_rng(seed))
    same = np.random.default_rng(seed)
    count = -(-samples // block)
    blocks, w_seed = same.permutation(count), same.integers(2**63)
    together = max(1, window // block)
    expected = []
    for number, first in enumerate(range(0, count, together)):
        chosen = sorted(blocks[first : first + together])
        rows = [row for b in chosen for row in range(samples) if row // block == b]
        mixed = np.random.default_rng([w_seed, number]).permutation(len(rows))
        expected += [rows[place] for place in mixed]
    assert isinstance(order, ByBlocks)
    assert np.concatenate(rows_of(order, 7)).tolist() == expected


def test_the_blocks_of_a_window_are_read_in_file_order() -> None:
    with small(window_bytes=12):
        order = draw_order("blocks", 40, 3, 1, np.random.default_rng(0))
    assert isinstance(order, ByBlocks)
    windows = [runs for runs, _ in order.windows()]
    assert [len(runs) for runs in windows] == [4, 4, 4, 2]
    assert all(list(runs) == sorted(runs) for runs in windows)


def test_data_that_fit_into_one_window_are_mixed_completely() -> None:
    places = np.concatenate(
        rows_of(draw_order("blocks", 1000, 10, 8, np.random.default_rng(0)), 32)
    )
    moved = np.abs(places - np.arange(1000))
    # The mean distance of two of n places chosen at random is n/3, and its spread n/√(18 n).
    assert abs(moved.mean() - 1000 / 3) < 5 * 1000 / np.sqrt(18 * 1000)


def test_blocks_in_order_keep_their_boundaries_when_entered_within_one() -> None:
    order = draw_order(False, 20, 8, 1, np.random.default_rng(0))
    assert [runs for runs, _ in order.windows(5)] == [[(5, 8)], [(8, 16)], [(16, 20)]]  # type: ignore[union-attr]


@given(
    st.lists(st.tuples(st.integers(1, 9), st.booleans()), min_size=1, max_size=6),
    st.integers(1, 12),
)
def test_cut_batches_gives_the_rows_of_all_windows_in_order(
    windows: list[tuple[int, bool]], size: int
) -> None:
    rng, given_out, expected, begin = np.random.default_rng(0), [], [], 0
    for length, mixed in windows:
        rows = np.arange(begin, begin + length)
        places = rng.permutation(length) if mixed else None
        given_out.append(([rows, 2 * rows[:, np.newaxis]], places))
        expected.append(rows if places is None else rows[places])
        begin += length
    parts = list(cut_batches(iter(given_out), size))
    np.testing.assert_array_equal(np.concatenate([p[0] for p in parts]), np.concatenate(expected))
    assert all((double[:, 0] == 2 * rows).all() for rows, double in parts)
    assert [len(p[0]) for p in parts[:-1]] == [size] * (len(parts) - 1)


def test_row_indices_of_some_runs() -> None:
    np.testing.assert_array_equal(row_indices([(3, 5), (0, 2)]), [3, 4, 0, 1])


# ------------------------------------------------------------------------------- going on


@pytest.mark.parametrize("bits", [np.random.PCG64, np.random.MT19937, np.random.Philox])
@pytest.mark.parametrize("way", [False, "rows", "blocks"])
def test_a_position_restores_the_same_orders_in_a_new_process(way: Any, bits: Any) -> None:
    def orders(seed: int) -> Orders:
        return Orders(way, 30, 4, 5, 1, np.random.Generator(bits(seed)))

    with small(window_bytes=12):
        one, other = orders(1), orders(2)
        one.for_epoch(0)
        running = one.for_epoch(0)
        one.rng.normal()  # a callback may draw, too
        other.go_to(json.loads(json.dumps(one.position())))
        assert other.position() == one.position()
        for done in (3, 8):
            again = np.concatenate(rows_of(other.for_epoch(done), 4))
            np.testing.assert_array_equal(again, np.concatenate(rows_of(running, 4)))
        np.testing.assert_array_equal(
            *[np.concatenate(rows_of(each.for_epoch(0), 4)) for each in (one, other)]
        )
    assert one.rng.normal() == other.rng.normal()


@pytest.mark.parametrize(
    "change", [{"samples": 31}, {"batch_size": 5}, {"shuffle": "rows"}, {"block": 6}]
)
def test_a_position_of_other_data_is_rejected_and_nothing_changes(change: Any) -> None:
    of_one = {"shuffle": "blocks", "samples": 30, "batch_size": 4, "block": 5, "row_bytes": 1}
    one = Orders(**of_one, rng=np.random.default_rng(1))
    other = Orders(**of_one | change, rng=np.random.default_rng(2))
    one.for_epoch(0)
    before = other.position()
    with pytest.raises(ConfigurationError, match="not those of the run") as caught:
        other.go_to(one.position())
    assert other.position() == before
    for name, value in change.items():
        assert f"{name} {value}" in str(caught.value.received)
        assert f"{name} {of_one[name]}" in str(caught.value.expected)
