"""Windows: their number, what they see, and padding as a linear map with its adjoint."""

from __future__ import annotations

import hypothesis.strategies as st
import numpy as np
import pytest
from attrs import field
from hypothesis import assume, given

from chainrule import Dual, Layer
from chainrule.core.errors import ConfigurationError, ShapeError
from chainrule.layers.windows import (
    Windows,
    a_padding,
    amounts_of,
    any_size,
    as_sizes,
    folded,
    padded,
    per_axis,
    sizes_from,
    spatial_axes,
    windows_on,
)


class Seeing(Layer):
    """A layer that only has windows."""

    kernel: object = field(default=3, converter=as_sizes, validator=sizes_from(1, example="3"))
    padding: object = field(default="same", converter=as_sizes, validator=a_padding)

    def forward(self, x):
        return x

    def backward(self, delta):
        return delta


def on(shape, kernel=3, stride=1, padding="same", dilation=1):
    return windows_on(
        Seeing(), shape, kernel=kernel, stride=stride, padding=padding, dilation=dilation
    )


small = st.integers(1, 4)
paddings = st.sampled_from(["same", "valid", "periodic", "reflect", 0, 2, ((1, 2),)])


@given(n=st.integers(1, 9), kernel=small, stride=small, dilation=small, padding=paddings)
def test_windows_are_all_that_fit_into_the_padded_row(n, kernel, stride, dilation, padding):
    """Counted one by one: a window begins every `stride` entries, as long as it fits."""
    try:
        windows = on((n, 1), kernel, stride, padding, dilation)
    except ShapeError:
        assume(False)
    ((before, after),) = windows.amounts
    reach = dilation * (kernel - 1) + 1
    begins = [i for i in range(0, n + before + after, stride) if i + reach <= n + before + after]
    assert windows.outputs == (len(begins),)
    row = np.arange(n + before + after)[np.newaxis, :, np.newaxis]
    for offset in windows.offsets():
        expected = [i + offset[0] * dilation for i in begins]
        np.testing.assert_array_equal(row[windows.seen_at(offset)].ravel(), expected)


@given(n=st.integers(1, 9), kernel=small, stride=small, dilation=small)
def test_same_gives_the_size_divided_by_the_stride_with_the_odd_entry_at_the_end(
    n, kernel, stride, dilation
):
    windows = on((n, 1), kernel, stride, "same", dilation)
    ((before, after),) = windows.amounts
    assert windows.outputs == (-(-n // stride),)
    assert after - before in (0, 1)
    # No less would do, unless nothing is added.
    short = Windows((n,), (kernel,), (stride,), (dilation,), ((before, max(after - 1, 0)),))
    assert before + after == 0 or short.outputs < windows.outputs
    for name in ("periodic", "reflect"):
        reaches = (dilation * (kernel - 1) + 1,)
        assert amounts_of(Seeing(), name, (n,), reaches, (stride,)) == windows.amounts


def test_numbers_are_added_at_both_ends_and_pairs_before_and_after():
    assert on((5, 6, 1), padding=2).amounts == ((2, 2), (2, 2))
    assert on((5, 6, 1), padding=(0, 2)).amounts == ((0, 0), (2, 2))
    assert on((5, 6, 1), padding=((1, 2), 0)).amounts == ((1, 2), (0, 0))
    assert on((5, 6, 1), padding="valid").amounts == ((0, 0), (0, 0))


X = np.arange(1.0, 5)[np.newaxis, :, np.newaxis]


@pytest.mark.parametrize(
    ("mode", "row"),
    [
        ("zeros", [0, 0, 1, 2, 3, 4, 0]),
        ("periodic", [3, 4, 1, 2, 3, 4, 1]),
        ("reflect", [3, 2, 1, 2, 3, 4, 3]),
    ],
)
def test_the_entries_that_are_added(mode, row):
    np.testing.assert_array_equal(padded(X, ((2, 1),), mode).ravel(), row)


def test_a_ring_can_be_shorter_than_what_is_added():
    row = padded(X[:, :2], ((3, 5),), "periodic").ravel()
    np.testing.assert_array_equal(row, [2, 1, 2, 1, 2, 1, 2, 1, 2, 1])


def test_another_number_than_zero_can_be_added():
    np.testing.assert_array_equal(padded(X, ((0, 2),), fill=-1.0).ravel(), [1, 2, 3, 4, -1, -1])


def test_nothing_added_is_the_batch_itself():
    assert padded(X, ((0, 0),), "reflect") is X
    assert folded(X, ((0, 0),), "reflect") is X


@given(
    sizes=st.lists(st.integers(3, 5), min_size=1, max_size=3),
    added=st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), min_size=3, max_size=3),
    mode=st.sampled_from(["zeros", "periodic", "reflect"]),
    seed=st.integers(0, 9),
)
def test_padding_is_that_of_numpy_and_folding_its_adjoint(sizes, added, mode, seed):
    """⟨u, P x⟩ = ⟨Pᵀ u, x⟩."""
    rng = np.random.default_rng(seed)
    amounts = tuple(added[: len(sizes)])
    x = rng.normal(size=(2, *sizes, 2))
    how = {"zeros": "constant", "periodic": "wrap", "reflect": "reflect"}[mode]
    expected = np.pad(x, ((0, 0), *amounts, (0, 0)), mode=how)
    kept = x.copy()
    larger = padded(x, amounts, mode)
    np.testing.assert_array_equal(larger, expected)
    u = rng.normal(size=larger.shape)
    back = folded(u, amounts, mode)
    assert back.shape == x.shape
    assert np.sum(u * larger) == pytest.approx(np.sum(back * x), abs=1e-12)
    np.testing.assert_array_equal(x, kept)


@pytest.mark.parametrize("mode", ["zeros", "periodic", "reflect"])
def test_types_empty_batches_and_tangents_survive(mode):
    amounts = ((2, 1), (0, 1))
    for x in (np.ones((2, 4, 3, 2), "float32"), np.ones((0, 4, 3, 2), "float32")):
        larger = padded(x, amounts, mode)
        assert larger.dtype == folded(larger, amounts, mode).dtype == np.float32
        assert folded(larger, amounts, mode).shape == x.shape
    rng = np.random.default_rng(0)
    for linear, shape in ((padded, (2, 4, 3, 1)), (folded, (2, 7, 4, 1))):
        x, dx = rng.normal(size=(2, *shape))
        y = linear(Dual(x, dx), amounts, mode)
        np.testing.assert_array_equal(y.tangent, linear(dx, amounts, mode))


@pytest.mark.parametrize(
    ("given_", "taken"),
    [(3, 3), (np.int64(3), 3), ([3, 2], (3, 2)), (np.array([3, 2]), (3, 2)), ("same", "same")],
)
def test_sizes_become_python_integers_and_tuples(given_, taken):
    assert as_sizes(given_) == taken
    assert type(as_sizes(given_)) is type(taken)


@pytest.mark.parametrize("kernel", [0, -1, 2.0, True, None, "3", (), (3, 0), (1, 1, 1, 1)])
def test_a_size_that_is_none_is_refused(kernel):
    with pytest.raises(ConfigurationError, match="kernel has an invalid value") as caught:
        Seeing(kernel)
    assert caught.value.hint == "kernel=3"
    assert "an integer of at least 1" in caught.value.expected


@pytest.mark.parametrize("padding", ["SAME", -1, 1.5, None, (), ((1, 2, 3),), (1, "same"), (1, -1)])
def test_a_padding_that_is_none_is_refused(padding):
    with pytest.raises(ConfigurationError, match="padding has an invalid value") as caught:
        Seeing(3, padding)
    assert "'same', 'valid', 'periodic', 'reflect'" in caught.value.expected


def test_a_tuple_of_the_wrong_length_is_refused_with_what_fits():
    with pytest.raises(ShapeError, match="which have 2 axes of space") as caught:
        on((5, 5, 1), kernel=(3, 3, 3))
    assert caught.value.received == "kernel=(3, 3, 3)"
    assert caught.value.hint == "kernel=3 uses the same for every axis"
    with pytest.raises(ShapeError, match="padding does not fit") as caught:
        on((5, 5, 1), padding=((1, 2),))
    assert caught.value.hint is None
    assert per_axis(Seeing(), "kernel", 3, 2) == per_axis(Seeing(), "kernel", (3, 3), 2)


@pytest.mark.parametrize("shape", [(), (5,), (2, 2, 2, 2, 3)])
def test_rows_without_one_to_three_axes_of_space_are_refused(shape):
    with pytest.raises(ShapeError, match="one to three axes of space") as caught:
        spatial_axes(Seeing(), shape)
    assert (caught.value.hint is not None) == (len(shape) == 1)
    if len(shape) == 1:
        assert "Reshape((5, 1))" in caught.value.hint


def test_rows_smaller_than_a_window_are_refused_with_the_least_size():
    with pytest.raises(ShapeError, match="larger than the rows") as caught:
        on((4, 9, 2), kernel=(3, 4), dilation=(2, 1), padding=(0, 1))
    assert caught.value.expected == "rows of at least 5 × 2 entries"
    assert caught.value.received == "(batch, 4, 9, 2)"
    with pytest.raises(ShapeError, match="larger than the rows"):
        on((0, 2))  # an image without pixels has no windows
    with pytest.raises(ShapeError, match="mirrored") as caught:
        on((2, 1), kernel=5, padding="reflect")
    assert caught.value.expected == "at least 3 entries along each axis of space"


def test_any_size_fixes_the_number_of_axes_and_the_channels():
    assert any_size((5, 4, 3)) == (None, None, 3)
