"""Layers with several inputs: numbers by hand, NumPy's formulas, the laws, errors, and PyTorch."""

from __future__ import annotations

import copy
import functools
import itertools
import pickle

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

from chainrule import Dense, Sequential, check_layer, load
from chainrule.calculus.dual import Dual
from chainrule.core.errors import BuildError, ConfigurationError, ShapeError
from chainrule.layers.merge import Add, Average, Concatenate, Dot, Maximum, Multiply, Subtract
from chainrule.layers.reshape import Flatten, Reshape

shapes = st.lists(st.integers(1, 4), max_size=3).map(tuple)
seeds = st.integers(0, 2**32 - 1)
close = {"rtol": 1e-13, "atol": 1e-13}

ELEMENTWISE = [Add, Subtract, Multiply, Average, Maximum]
FORMULAS = {
    Add: lambda *a: np.sum(np.broadcast_arrays(*a), axis=0),
    Subtract: lambda a, b: a - b,
    Multiply: lambda *a: np.prod(np.broadcast_arrays(*a), axis=0),
    Average: lambda *a: np.mean(np.broadcast_arrays(*a), axis=0),
    Maximum: lambda *a: np.max(np.broadcast_arrays(*a), axis=0),
}
each_elementwise = pytest.mark.parametrize("kind", ELEMENTWISE)


def count_for(kind):
    return st.integers(2, 2 if kind is Subtract else 4)


@st.composite
def shapes_that_broadcast(draw, kind):
    """Rows of several shapes that NumPy's rule makes one of: sizes of 1, and axes left out."""
    whole = draw(shapes)
    found = []
    for _ in range(draw(count_for(kind))):
        kept = whole[draw(st.integers(0, len(whole))) :]
        found.append(tuple(draw(st.sampled_from([1, size])) for size in kept))
    return tuple(found)


@st.composite
def shapes_that_join(draw):
    """A Concatenate, and rows that differ along its axis only."""
    shape = list(draw(shapes.filter(len)))
    axis = draw(st.integers(0, len(shape) - 1))
    sizes = draw(st.lists(st.integers(1, 4), min_size=2, max_size=4))
    rows = tuple((*shape[:axis], size, *shape[axis + 1 :]) for size in sizes)
    return Concatenate(draw(st.sampled_from([axis + 1, axis - len(shape)]))), rows


def normal(seed, rows, row_shapes):
    rng = np.random.default_rng(seed)
    return [rng.normal(size=(rows, *shape)) for shape in row_shapes]


def aligned(arrays):
    """With axes of 1 behind the batch: NumPy's rule for the row, and none for the batch."""
    axes = max(x.ndim for x in arrays)
    return [x.reshape(len(x), *(1,) * (axes - x.ndim), *x.shape[1:]) for x in arrays]


# ------------------------------------------------------------------------------- by hand

A, B = np.array([[1.0, 2, 3]]), np.array([[4.0, -5, 3]])
DELTA = np.array([[10.0, 20, 30]])


@pytest.mark.parametrize(
    ("layer", "y", "deltas"),
    [
        (Add(), [[5, -3, 6]], ([[10, 20, 30]], [[10, 20, 30]])),
        (Subtract(), [[-3, 7, 0]], ([[10, 20, 30]], [[-10, -20, -30]])),
        (Multiply(), [[4, -10, 9]], ([[40, -100, 90]], [[10, 40, 90]])),
        (Average(), [[2.5, -1.5, 3]], ([[5, 10, 15]], [[5, 10, 15]])),
        (Maximum(), [[4, 2, 3]], ([[0, 20, 15]], [[10, 0, 15]])),
    ],
    ids=repr,
)
def test_two_vectors_by_hand(layer, y, deltas):
    np.testing.assert_array_equal(layer.forward(A, B), y)
    np.testing.assert_array_equal(layer(A, B), y)
    returned = layer.backward(DELTA)
    assert isinstance(returned, tuple) and len(returned) == 2
    for one, other in zip(returned, deltas, strict=True):
        np.testing.assert_array_equal(one, other)


def test_three_factors_of_which_two_are_zero_by_hand():
    layer = Multiply()
    a, b, c = np.array([[0.0, 2]]), np.array([[5.0, 0]]), np.array([[7.0, 0]])
    np.testing.assert_array_equal(layer.forward(a, b, c), [[0, 0]])
    da, db, dc = layer.backward(np.array([[1.0, 1]]))
    np.testing.assert_array_equal(da, [[35, 0]])
    np.testing.assert_array_equal(db, [[0, 0]])
    np.testing.assert_array_equal(dc, [[0, 0]])


def test_the_largest_share_a_delta_equally_whoever_comes_first():
    layer = Maximum()
    inputs = np.array([[3.0, 1, 2, 6]]), np.array([[3.0, 2, 2, 5]]), np.array([[3.0, 2, 1, 4]])
    shares = [[4, 0, 6, 12]], [[4, 6, 6, 0]], [[4, 6, 0, 0]]
    for order in itertools.permutations(range(3)):
        np.testing.assert_array_equal(layer.forward(*(inputs[n] for n in order)), [[3, 2, 2, 6]])
        deltas = layer.backward(np.full((1, 4), 12.0))
        for n, delta in zip(order, deltas, strict=True):
            np.testing.assert_array_equal(delta, shares[n])


def test_nan_is_the_largest_and_the_backward_pass_gives_no_warning():
    layer = Maximum()
    y = layer.forward(np.array([[np.nan, 1, -np.inf]]), np.array([[1.0, 2, -np.inf]]))
    np.testing.assert_array_equal(y, [[np.nan, 2, -np.inf]])
    for delta, expected in zip(layer.backward(np.ones((1, 3))), ([0, 0.5], [1, 0.5]), strict=True):
        np.testing.assert_array_equal(delta[0, 1:], expected)


def test_concatenate_puts_side_by_side_and_takes_apart():
    layer = Concatenate()
    a, b, c = np.array([[1.0, 2], [3, 4]]), np.array([[5.0], [6]]), np.zeros((2, 0))
    y = layer.forward(a, b, c, a)
    np.testing.assert_array_equal(y, [[1, 2, 5, 1, 2], [3, 4, 6, 3, 4]])
    deltas = layer.backward(10 * y)
    for delta, x in zip(deltas, (a, b, c, a), strict=True):
        np.testing.assert_array_equal(delta, 10 * x)


def test_concatenate_counts_axes_in_the_arrays_that_flow():
    a, b = np.ones((2, 3, 4)), np.zeros((2, 1, 4))
    np.testing.assert_array_equal(Concatenate(1)(a, b), np.concatenate([a, b], axis=1))
    np.testing.assert_array_equal(Concatenate(-2)(a, b), np.concatenate([a, b], axis=-2))
    assert Concatenate(2)(a, a).shape == (2, 3, 8)


def test_dot_is_the_inner_product_of_each_pair_of_rows():
    layer = Dot()
    y = layer.forward(np.array([[1.0, 2], [3, 4]]), np.array([[5.0, 6], [7, 8]]))
    np.testing.assert_array_equal(y, [[17], [53]])
    da, db = layer.backward(np.array([[10.0], [100]]))
    np.testing.assert_array_equal(da, [[50, 60], [700, 800]])
    np.testing.assert_array_equal(db, [[10, 20], [300, 400]])


def test_what_was_repeated_gets_the_sum_of_the_deltas_of_all_places():
    layer = Add(broadcast=True)
    matrix, line, number = np.zeros((1, 2, 3)), np.array([[1.0, 2, 3]]), np.array([100.0])
    y = layer.forward(matrix, line, number)
    np.testing.assert_array_equal(y, [[[101, 102, 103], [101, 102, 103]]])
    delta = np.array([[[1.0, 2, 3], [40, 50, 60]]])
    d_matrix, d_line, d_number = layer.backward(delta)
    np.testing.assert_array_equal(d_matrix, delta)
    np.testing.assert_array_equal(d_line, [[41, 52, 63]])
    np.testing.assert_array_equal(d_number, [156])


def test_broadcasting_never_takes_an_axis_of_a_row_for_the_batch():
    """Rows (2,) and (3, 2) in a batch of 3: NumPy alone would add (3, 2) along the wrong axis."""
    vectors, matrices = np.arange(6.0).reshape(3, 2), np.arange(18.0).reshape(3, 3, 2)
    layer = Add(broadcast=True)
    y = layer.forward(vectors, matrices)
    for n in range(3):
        np.testing.assert_array_equal(y[n], vectors[n] + matrices[n])
    np.testing.assert_array_equal(layer.backward(matrices)[0], matrices.sum(axis=1))


# ------------------------------------------------------------------------------- NumPy's formulas


@each_elementwise
@given(data=st.data(), rows=st.integers(0, 3), seed=seeds)
@settings(max_examples=40)
def test_forward_is_the_formula_of_numpy(kind, data, rows, seed):
    row_shapes = data.draw(shapes_that_broadcast(kind))
    arrays = normal(seed, rows, row_shapes)
    layer = kind(broadcast=True)
    y = layer.forward(*arrays)
    assert y.shape == (rows, *np.broadcast_shapes(*row_shapes))
    np.testing.assert_allclose(y, FORMULAS[kind](*aligned(arrays)), **close)
    np.testing.assert_array_equal(layer(*arrays), y)
    deltas = layer.backward(np.ones_like(y))
    assert [delta.shape for delta in deltas] == [x.shape for x in arrays]


@each_elementwise
@given(data=st.data(), seed=seeds)
@settings(max_examples=15)
def test_broadcasting_goes_back_like_repeating_in_front_of_the_layer(kind, data, seed):
    """Repeated by hand, every copy gets a delta of its own; what was repeated gets their sum."""
    row_shapes = data.draw(shapes_that_broadcast(kind))
    arrays = normal(seed, 3, row_shapes)
    whole = np.broadcast_shapes(*row_shapes)
    layer, plain = kind(broadcast=True), kind()
    delta = np.random.default_rng(seed).normal(size=(3, *whole))
    layer.forward(*arrays)
    plain.forward(*np.broadcast_arrays(*aligned([*arrays, delta]))[:-1])
    for one, full, shape in zip(
        layer.backward(delta), plain.backward(delta), row_shapes, strict=True
    ):
        padded = (1,) * (len(whole) - len(shape)) + shape
        expected = np.zeros((3, *padded))
        for place in itertools.product(*map(range, whole)):
            at = tuple(n if size > 1 else 0 for n, size in zip(place, padded, strict=True))
            expected[(slice(None), *at)] += full[(slice(None), *place)]
        np.testing.assert_allclose(one, expected.reshape(3, *shape), **close)


@given(drawn=shapes_that_join(), rows=st.integers(0, 3), seed=seeds)
def test_concatenate_is_that_of_numpy_and_its_own_inverse_backward(drawn, rows, seed):
    layer, row_shapes = drawn
    arrays = normal(seed, rows, row_shapes)
    y = layer.forward(*arrays)
    np.testing.assert_array_equal(y, np.concatenate(arrays, axis=layer.axis))
    for delta, x in zip(layer.backward(y), arrays, strict=True):
        np.testing.assert_array_equal(delta, x)


@given(shape=shapes.filter(len), rows=st.integers(0, 3), seed=seeds)
def test_dot_is_the_sum_of_products_over_the_last_axis(shape, rows, seed):
    a, b, delta = normal(seed, rows, [shape, shape, (*shape[:-1], 1)])
    layer = Dot()
    y = layer.forward(a, b)
    np.testing.assert_allclose(y[..., 0], np.einsum("...i,...i->...", a, b), **close)
    assert y.shape == delta.shape
    da, db = layer.backward(delta)
    np.testing.assert_array_equal(da, delta * b)
    np.testing.assert_array_equal(db, delta * a)


# ------------------------------------------------------------------------------- the laws


@each_elementwise
@given(data=st.data(), shape=shapes, rng=seeds)
@settings(max_examples=6)
def test_elementwise_layers_keep_every_law(kind, data, shape, rng):
    assert check_layer(kind(), (shape,) * data.draw(count_for(kind)), rng=rng).ok


@each_elementwise
@given(data=st.data(), rng=seeds)
@settings(max_examples=6)
def test_elementwise_layers_that_broadcast_keep_every_law(kind, data, rng):
    row_shapes = data.draw(shapes_that_broadcast(kind))
    assert check_layer(kind(broadcast=True), row_shapes, rng=rng).ok


@given(drawn=shapes_that_join(), rng=seeds)
@settings(max_examples=8)
def test_concatenate_keeps_every_law(drawn, rng):
    layer, row_shapes = drawn
    assert check_layer(layer, row_shapes, rng=rng).ok


@given(shape=shapes.filter(len), rng=seeds)
@settings(max_examples=8)
def test_dot_keeps_every_law(shape, rng):
    assert check_layer(Dot(), (shape, shape), rng=rng).ok


EVERY = [
    (Add(), ((3,), (3,), (3,))),
    (Add(broadcast=True), ((3,), (2, 1), ())),
    (Subtract(), ((2, 3), (2, 3))),
    (Subtract(broadcast=True), ((3,), (2, 3))),
    (Multiply(), ((3,), (3,), (3,))),
    (Multiply(broadcast=True), ((1,), (2, 3))),
    (Average(), ((3,), (3,), (3,))),
    (Average(broadcast=True), ((1,), (3,), (3,))),
    (Maximum(), ((3,), (3,), (3,))),
    (Maximum(broadcast=True), ((3,), (2, 3), ())),
    (Concatenate(), ((3,), (1,), (2,))),
    (Concatenate(1), ((3, 2), (1, 2))),
    (Dot(), ((2, 3), (2, 3))),
]
each_layer = pytest.mark.parametrize(("layer", "row_shapes"), EVERY, ids=repr)


@each_layer
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("rows", [0, 1, 3])
def test_every_array_has_its_type_and_shape_in_a_batch_of_any_size(layer, row_shapes, dtype, rows):
    layer = layer.unbuilt()
    inputs = [np.ones((rows, *shape), dtype) for shape in row_shapes]
    y = layer.forward(*inputs)
    deltas = layer.backward(y)
    assert y.shape == (rows, *layer.output_shape)
    assert [delta.shape for delta in deltas] == [x.shape for x in inputs]
    assert {array.dtype for array in (y, *deltas, layer(*inputs))} == {np.dtype(dtype)}


def test_rows_without_numbers_stay_without():
    for kind in ELEMENTWISE:
        layer = kind(broadcast=True)
        y = layer.forward(np.ones((2, 3, 0)), np.ones((2, 1)))
        assert y.shape == (2, 3, 0)
        np.testing.assert_array_equal(layer.backward(y)[1], np.zeros((2, 1)))
    np.testing.assert_array_equal(Dot()(np.ones((2, 0)), np.ones((2, 0))), np.zeros((2, 1)))


@each_layer
@pytest.mark.parametrize("moving", ["everything", "first input", "last input", "delta"])
def test_tangents_flow_forward_and_backward(layer, row_shapes, moving):
    """Of y and of every delta, against central differences of both passes."""
    layer, count = layer.unbuilt(), len(row_shapes)
    inputs, steps = normal(0, 4, row_shapes), normal(1, 4, row_shapes)
    (u, du) = np.random.default_rng(2).normal(size=(2, *layer.forward(*inputs).shape))
    moves = {
        "everything": [True] * (count + 1),
        "first input": [n == 0 for n in range(count + 1)],
        "last input": [n == count - 1 for n in range(count + 1)],
        "delta": [n == count for n in range(count + 1)],
    }[moving]

    def passes(change):
        arrays = zip((*inputs, u), (*steps, du), moves, strict=True)
        *x, delta = (change(a, da) if moves else a for a, da, moves in arrays)
        return (layer.forward(*x), *layer.backward(delta))

    h = 1e-5
    for one, value, prefetch, behind in zip(
        passes(Dual),
        passes(lambda a, da: a),
        passes(lambda a, da: a + h * da),
        passes(lambda a, da: a - h * da),
        strict=True,
    ):
        tangent = one.tangent if isinstance(one, Dual) else np.zeros_like(one)
        np.testing.assert_array_equal(getattr(one, "value", one), value)
        np.testing.assert_allclose(tangent, (prefetch - behind) / (2 * h), rtol=1e-6, atol=1e-8)


@each_layer
def test_nothing_that_comes_in_is_changed_and_the_output_is_a_new_array(layer, row_shapes):
    layer = layer.unbuilt()
    inputs = normal(0, 2, row_shapes)
    kept = [x.copy() for x in inputs]
    y = layer.forward(*inputs)
    assert not any(np.shares_memory(y, x) for x in inputs)
    delta = y + 1
    kept_delta = delta.copy()
    layer.backward(delta)
    layer.backward(delta)
    np.testing.assert_array_equal(delta, kept_delta)
    for x, before in zip(inputs, kept, strict=True):
        np.testing.assert_array_equal(x, before)


@each_layer
def test_copies_compute_the_same_and_a_file_gives_the_layer_back(layer, row_shapes, tmp_path):
    layer = layer.unbuilt()
    inputs = normal(0, 2, row_shapes)
    y = layer.forward(*inputs)
    layer.save(tmp_path / "layer.safetensors")
    for other in (
        layer.twin(),
        copy.deepcopy(layer),
        pickle.loads(pickle.dumps(layer)),
        load(tmp_path / "layer.safetensors"),
    ):
        assert other == layer and repr(other) == repr(layer)
        np.testing.assert_array_equal(other.forward(*inputs), y)


def test_the_same_array_may_be_several_inputs():
    x = np.array([[3.0]])
    square = Multiply()
    np.testing.assert_array_equal(square.forward(x, x), [[9]])
    assert [float(delta[0, 0]) for delta in square.backward(np.ones((1, 1)))] == [3, 3]


# ------------------------------------------------------------------------------- configuration


def test_the_repr_makes_an_equal_layer():
    layers = {
        "Add()": Add(),
        "Add(broadcast=True)": Add(broadcast=True),
        "Subtract()": Subtract(),
        "Multiply(broadcast=True)": Multiply(broadcast=True),
        "Average()": Average(),
        "Maximum()": Maximum(),
        "Concatenate()": Concatenate(),
        "Concatenate(axis=1)": Concatenate(np.int64(1)),
        "Dot()": Dot(),
    }
    for text, layer in layers.items():
        assert repr(layer) == text
        assert eval(text) == layer
    assert type(Concatenate(np.int64(1)).axis) is int
    assert Add() != Add(broadcast=True) and Add() != Average()


@each_elementwise
@pytest.mark.parametrize("broadcast", [1, None, "yes", np.True_])
def test_broadcast_that_is_neither_true_nor_false_is_refused(kind, broadcast):
    with pytest.raises(ConfigurationError, match="sizes of 1 may be repeated") as caught:
        kind(broadcast=broadcast)
    assert caught.value.problem.startswith(f"{kind.__name__}:")
    assert caught.value.expected == "True or False"
    assert caught.value.received == f"broadcast={broadcast!r}"


@pytest.mark.parametrize("axis", [0, np.int64(0), 1.0, True, None, "1"])
def test_an_axis_that_is_the_batch_or_none_is_refused(axis):
    with pytest.raises(ConfigurationError, match=r"Concatenate: .* axis 0 is the batch") as caught:
        Concatenate(axis)
    assert "-1 the last" in caught.value.expected
    assert caught.value.hint == (
        "axis=1" if isinstance(axis, int | np.integer) and not axis else None
    )


# ------------------------------------------------------------------------------- misfits


@pytest.mark.parametrize(
    "layer", [*(kind() for kind in ELEMENTWISE), Concatenate(), Dot()], ids=repr
)
def test_a_single_input_is_refused(layer):
    for call in (lambda: layer.build((3,)), lambda: layer.forward(A), lambda: layer(A)):
        with pytest.raises(BuildError, match="it takes two") as caught:
            call()
        assert caught.value.problem.startswith(f"{layer!r}: ")
        assert caught.value.expected.startswith(f"{type(layer).__name__}()(a, b)")
        assert caught.value.received == "1 input(s): (batch, 3)"
        assert caught.value.hint.startswith("in a Sequential every layer has one input")
    assert not layer.is_built
    with pytest.raises(BuildError) as caught:
        layer.build()
    assert caught.value.received == "no input"


def test_a_sequence_cannot_feed_a_layer_of_two_inputs():
    with pytest.raises(BuildError, match=r"Add\(\): it takes two or more inputs"):
        Sequential([Dense(3), Add()]).build((4,))


@pytest.mark.parametrize("layer", [Subtract(), Dot()], ids=repr)
def test_a_third_input_is_refused_where_there_is_no_place_for_it(layer):
    with pytest.raises(BuildError, match="it takes two inputs") as caught:
        layer.forward(A, A, A)
    assert caught.value.received == "3 input(s): (batch, 3), (batch, 3), (batch, 3)"
    assert caught.value.hint == "apply it to two of them, then apply another one to the result"


SIDE_BY_SIDE = "Concatenate() joins them side by side"
MISFITS = [
    (((32,), (16,)), f"Dense(32) brings the narrower one to width 32; {SIDE_BY_SIDE}"),
    (((16,), (32,)), f"Dense(32) brings the narrower one to width 32; {SIDE_BY_SIDE}"),
    (((32,), (1,)), f"set broadcast=True if you mean to broadcast; {SIDE_BY_SIDE}"),
    (((3,), (2, 3)), "set broadcast=True if you mean to broadcast"),
    (((4,), (2, 2)), "Reshape((4,)) gives the same numbers that shape"),
    (((2, 3), (2, 4)), SIDE_BY_SIDE),
    (((2, 3), (4, 3)), "Concatenate(axis=1) joins them side by side"),
    (((2, 3), (4, 5)), "Flatten() and Dense bring both to the same width"),
]


@each_elementwise
@pytest.mark.parametrize(("row_shapes", "hint"), MISFITS)
def test_rows_of_different_shapes_are_refused_before_any_arithmetic(kind, row_shapes, hint):
    layer = kind()
    rows = ", ".join(f"(batch, {', '.join(map(str, shape))})" for shape in row_shapes)
    arrays = [np.ones((2, *shape)) for shape in row_shapes]
    for call in (lambda: layer.build(*row_shapes), lambda: layer.forward(*arrays)):
        with pytest.raises(ShapeError, match="do not fit together") as caught:
            call()
        assert caught.value.problem.startswith(f"{kind.__name__}(): ")
        assert caught.value.expected == "the same shape for every input"
        assert caught.value.received == rows
        assert caught.value.hint == hint
    assert not layer.is_built


def test_the_hint_for_a_mismatch_fixes_it():
    wide, narrow = np.ones((2, 32)), np.ones((2, 16))
    Add().forward(wide, Dense(32)(narrow))
    Concatenate().forward(wide, narrow)
    Add(broadcast=True).forward(wide, np.ones((2, 1)))
    Concatenate(axis=1).forward(np.ones((2, 2, 3)), np.ones((2, 4, 3)))
    Add().forward(np.ones((2, 4)), Reshape((4,))(np.ones((2, 2, 2))))
    assert Concatenate()(Flatten()(np.ones((2, 2, 3))), narrow).shape == (2, 22)


def test_several_narrow_inputs_are_spoken_of_as_the_others():
    with pytest.raises(ShapeError) as caught:
        Add().build((3,), (5,), (3,))
    assert caught.value.hint == f"Dense(5) brings the others to width 5; {SIDE_BY_SIDE}"


@each_elementwise
def test_rows_that_do_not_broadcast_either_are_refused(kind):
    layer = kind(broadcast=True)
    with pytest.raises(ShapeError, match="do not fit together") as caught:
        layer.build((3,), (4,))
    assert caught.value.expected == "sizes that are equal or 1, compared from the last axis"
    assert caught.value.received == "(batch, 3), (batch, 4)"
    assert caught.value.hint.startswith("Dense(4) brings the narrower one")


@pytest.mark.parametrize(
    ("axis", "row_shapes", "hint"),
    [
        (-1, ((2, 3), (4, 3)), "Concatenate(axis=1) joins them side by side"),
        (1, ((2, 3), (2, 4)), SIDE_BY_SIDE),
        (-1, ((2, 3), (4, 5)), "put Flatten() before each input: vectors always fit"),
        (-1, ((3,), (2, 3)), "put Flatten() before each input: vectors always fit"),
        (-1, ((3,), ()), "put Flatten() before each input: vectors always fit"),
    ],
)
def test_rows_that_differ_along_another_axis_are_not_joined(axis, row_shapes, hint):
    layer = Concatenate(axis)
    with pytest.raises(ShapeError, match="differ along an axis other than") as caught:
        layer.build(*row_shapes)
    assert caught.value.expected == f"the same shape for every input, except along axis {axis}"
    assert caught.value.received.startswith(f"(batch, {', '.join(map(str, row_shapes[0]))}), ")
    assert caught.value.hint == hint
    assert not layer.is_built


def test_an_axis_that_the_rows_do_not_have_is_refused():
    with pytest.raises(ShapeError, match="axis -2 is the batch"):
        Concatenate(-2).build((3,), (3,))
    with pytest.raises(ShapeError, match="no axis 2"):
        Concatenate(2).build((3,), (3,))
    with pytest.raises(ShapeError, match="axis -1 is the batch") as caught:
        Concatenate().build((), ())
    assert caught.value.hint == "Reshape((1,)) makes each number a vector"


@pytest.mark.parametrize(
    ("row_shapes", "received", "hint"),
    [
        (((3,), (4,)), "(batch, 3), (batch, 4)", "Dense(4) brings the narrower one to width 4"),
        (((3,), (1,)), "(batch, 3), (batch, 1)", "Dense(3) brings the narrower one to width 3"),
        (
            ((2, 3), (3, 2)),
            "(batch, 2, 3), (batch, 3, 2)",
            "Reshape((2, 3)) gives the same numbers that shape",
        ),
        (((3,), ()), "(batch, 3), (batch,)", "Flatten() and Dense bring both to the same width"),
        (((), ()), "(batch,), (batch,)", "for single numbers, use Multiply()"),
    ],
)
def test_rows_without_an_inner_product_are_refused(row_shapes, received, hint):
    with pytest.raises(ShapeError, match="no inner product") as caught:
        Dot().build(*row_shapes)
    assert caught.value.expected == "(batch, …, n) for both inputs"
    assert (caught.value.received, caught.value.hint) == (received, hint)


@pytest.mark.parametrize(
    "layer", [*(kind() for kind in ELEMENTWISE), Concatenate(), Dot()], ids=repr
)
@pytest.mark.parametrize("rows", [(1, 3), (3, 1), (2, 0), (2, 3)])
def test_inputs_with_different_numbers_of_rows_are_refused_and_one_row_is_not_repeated(layer, rows):
    arrays = [np.ones((n, 4)) for n in rows]
    layer = layer.unbuilt()
    for call in (layer, layer.forward):
        with pytest.raises(ShapeError, match="different batch sizes") as caught:
            call(*arrays)
        assert caught.value.received == f"({rows[0]}, 4), ({rows[1]}, 4)"


# ------------------------------------------------------------------------------- side by side


def assert_same(torch, layer, theirs, arrays, seed):
    inputs = [torch.tensor(x, requires_grad=True) for x in arrays]
    outputs = theirs(*inputs)
    y = layer.forward(*arrays)
    delta = np.random.default_rng(seed).normal(size=y.shape)
    outputs.backward(torch.tensor(delta))
    np.testing.assert_allclose(y, outputs.detach().numpy(), rtol=1e-12, atol=1e-12)
    for ours, x in zip(layer.backward(delta), inputs, strict=True):
        np.testing.assert_allclose(ours, x.grad.numpy(), rtol=1e-12, atol=1e-12)


@pytest.mark.peers
@each_elementwise
@given(data=st.data(), seed=seeds)
@settings(max_examples=20)
def test_elementwise_values_and_deltas_are_those_of_pytorch(torch, kind, data, seed):
    row_shapes = data.draw(shapes_that_broadcast(kind))
    axes = max(map(len, row_shapes))

    def theirs(*inputs):
        rows = [x.reshape(3, *(1,) * (axes + 1 - x.ndim), *x.shape[1:]) for x in inputs]
        return {
            Add: lambda: sum(rows),
            Subtract: lambda: rows[0] - rows[-1],
            Multiply: lambda: functools.reduce(torch.mul, rows),
            Average: lambda: torch.stack(torch.broadcast_tensors(*rows)).mean(0),
            Maximum: lambda: torch.stack(torch.broadcast_tensors(*rows)).amax(0),
        }[kind]()

    # Halves, so that some are equal: amax gives each of the largest the same share, too.
    arrays = [np.round(2 * x) / 2 for x in normal(seed, 3, row_shapes)]
    assert_same(torch, kind(broadcast=True), theirs, arrays, seed)


@pytest.mark.peers
@given(drawn=shapes_that_join(), shape=shapes.filter(len), seed=seeds)
@settings(max_examples=20)
def test_joined_and_inner_products_are_those_of_pytorch(torch, drawn, shape, seed):
    layer, row_shapes = drawn
    arrays = normal(seed, 3, row_shapes)
    assert_same(torch, layer, lambda *x: torch.cat(x, dim=layer.axis), arrays, seed)
    pair = normal(seed, 3, (shape, shape))
    assert_same(torch, Dot(), lambda a, b: (a * b).sum(-1, keepdim=True), pair, seed)
