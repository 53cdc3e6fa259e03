"""Flatten, Reshape, Permute and Slice: numbers by hand, index by index, the laws, and PyTorch."""

from __future__ import annotations

import copy
import itertools
import math
import pickle

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

from chainrule import Dense, Sequential, check_layer, load
from chainrule.calculus.dual import Dual
from chainrule.core.errors import ConfigurationError, ShapeError
from chainrule.layers.reshape import Flatten, Permute, Reshape, Slice

shapes = st.lists(st.integers(1, 4), max_size=3).map(tuple)
seeds = st.integers(0, 2**32 - 1)


@st.composite
def shapes_and_permutes(draw):
    shape = draw(shapes)
    return shape, Permute(tuple(draw(st.permutations(range(1, len(shape) + 1)))))


@st.composite
def shapes_and_slices(draw):
    """A row, a slice that leaves something of it, and along which axis of the row."""
    shape = draw(shapes.filter(len))
    axis = draw(st.integers(0, len(shape) - 1))
    size = shape[axis]
    ends = st.none() | st.integers(-size - 1, size + 1)
    start, stop, step = draw(
        st.tuples(ends, ends, st.sampled_from([-3, -2, -1, 1, 2, 3])).filter(
            lambda taken: len(range(size)[slice(*taken)]) > 0
        )
    )
    in_arrays = draw(st.sampled_from([axis + 1, axis - len(shape)]))
    return shape, Slice(start, stop, step, axis=in_arrays), axis


@st.composite
def shapes_and_reshapes(draw):
    """A row, and a factorization of its count, in which one size may be left open."""
    sizes = draw(st.lists(st.integers(1, 4), min_size=1, max_size=4))
    into = list(draw(st.permutations(sizes)))
    cut = draw(st.integers(0, len(into)))
    into = [math.prod(into[:cut]), *into[cut:]]
    if draw(st.booleans()):
        into[draw(st.integers(0, len(into) - 1))] = -1
    return tuple(sizes), Reshape(tuple(into))


# ------------------------------------------------------------------------------- by hand


def test_flatten_lays_a_matrix_out_line_by_line():
    layer = Flatten()
    x = np.array([[[1.0, 2, 3], [4, 5, 6]], [[7, 8, 9], [10, 11, 12]]])
    np.testing.assert_array_equal(layer.forward(x), [[1, 2, 3, 4, 5, 6], [7, 8, 9, 10, 11, 12]])
    np.testing.assert_array_equal(layer.backward(layer.forward(x) + 20), x + 20)
    assert layer.output_shape == (6,)


def test_flatten_makes_a_vector_of_one_of_each_single_number():
    layer = Flatten()
    np.testing.assert_array_equal(layer.forward(np.array([1.0, 2])), [[1], [2]])
    np.testing.assert_array_equal(layer.backward(np.array([[3.0], [4]])), [3, 4])


def test_reshape_works_out_the_open_size_in_build():
    layer = Reshape((3, -1))
    layer.build((2, 6))
    assert layer.output_shape == (3, 4)
    x = np.arange(24.0).reshape(2, 2, 6)
    y = layer.forward(x)
    np.testing.assert_array_equal(y[1], [[12, 13, 14, 15], [16, 17, 18, 19], [20, 21, 22, 23]])
    np.testing.assert_array_equal(layer.backward(2 * y), 2 * x)


def test_permute_transposes_each_row_and_leaves_the_batch_in_front():
    x = np.array([[[1.0, 2, 3], [4, 5, 6]]])
    for layer in (Permute((2, 1)), Permute((0, 2, 1))):
        np.testing.assert_array_equal(layer.forward(x), [[[1, 4], [2, 5], [3, 6]]])
        delta = np.array([[[10.0, 40], [20, 50], [30, 60]]])
        np.testing.assert_array_equal(layer.backward(delta), [[[10, 20, 30], [40, 50, 60]]])
    assert Permute((0, 2, 1)) == Permute((2, 1))


def test_permute_goes_back_by_the_inverse_where_it_is_another_permutation():
    layer = Permute((3, 1, 2))
    x = np.arange(48.0).reshape(2, 2, 3, 4)
    y = layer.forward(x)
    assert y.shape == (2, 4, 2, 3) and y[1, 3, 0, 2] == x[1, 0, 2, 3]
    np.testing.assert_array_equal(layer.backward(y), x)


def test_slice_takes_what_python_takes_and_puts_zeros_beside_the_delta():
    x = np.array([[0.0, 1, 2, 3, 4], [5, 6, 7, 8, 9]])
    for layer, y, delta_in in (
        (Slice(3), [[3, 4], [8, 9]], [[0, 0, 0, 1, 2], [0, 0, 0, 3, 4]]),
        (Slice(0, 2), [[0, 1], [5, 6]], [[1, 2, 0, 0, 0], [3, 4, 0, 0, 0]]),
        (Slice(1, None, 3), [[1, 4], [6, 9]], [[0, 1, 0, 0, 2], [0, 3, 0, 0, 4]]),
        (Slice(-2, -4, -1), [[3, 2], [8, 7]], [[0, 0, 2, 1, 0], [0, 0, 4, 3, 0]]),
    ):
        np.testing.assert_array_equal(layer.forward(x), y)
        np.testing.assert_array_equal(layer.backward(np.array([[1.0, 2], [3, 4]])), delta_in)


def test_slice_cuts_along_the_axis_that_is_named():
    x = np.arange(24.0).reshape(2, 3, 4)
    np.testing.assert_array_equal(Slice(1, axis=1)(x), x[:, 1:])
    np.testing.assert_array_equal(Slice(1, axis=-2)(x), x[:, 1:])
    np.testing.assert_array_equal(Slice(1, axis=2)(x), x[:, :, 1:])
    np.testing.assert_array_equal(Slice(1)(x), x[:, :, 1:])


# ------------------------------------------------------------------------------- index by index


@given(shape=shapes, rows=st.integers(0, 3), seed=seeds)
def test_flatten_and_reshape_keep_the_order_of_the_numbers(shape, rows, seed):
    x = np.random.default_rng(seed).normal(size=(rows, *shape))
    flat = Flatten().forward(x)
    assert flat.shape == (rows, math.prod(shape))
    for row, vector in zip(x, flat, strict=True):
        places = itertools.product(*map(range, shape))
        assert [row[place] for place in places] == list(vector)
    back = Reshape(shape)
    np.testing.assert_array_equal(back.forward(flat), x)
    np.testing.assert_array_equal(back.backward(x), flat)


@given(drawn=shapes_and_permutes(), rows=st.integers(0, 3), seed=seeds)
def test_permute_puts_every_number_where_its_index_says(drawn, rows, seed):
    shape, layer = drawn
    x = np.random.default_rng(seed).normal(size=(rows, *shape))
    y = layer.forward(x)
    for place in itertools.product(range(rows), *map(range, shape)):
        assert y[(place[0], *(place[axis] for axis in layer.axes))] == x[place]
    np.testing.assert_array_equal(layer.backward(y), x)


@given(drawn=shapes_and_slices(), rows=st.integers(0, 3), seed=seeds)
def test_slice_takes_the_entries_of_pythons_range_and_sends_deltas_back_to_them(drawn, rows, seed):
    shape, layer, axis = drawn
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(rows, *shape))
    taken = list(range(shape[axis]))[slice(layer.start, layer.stop, layer.step)]
    y = layer.forward(x)
    np.testing.assert_array_equal(y, np.take(x, taken, axis=axis + 1))
    delta = rng.normal(size=y.shape)
    delta_in = np.moveaxis(layer.backward(delta), axis + 1, 0)
    for n, entry in enumerate(delta_in):
        expected = np.take(delta, taken.index(n), axis + 1) if n in taken else 0 * entry
        np.testing.assert_array_equal(entry, expected)


# ------------------------------------------------------------------------------- the laws


@given(shape=shapes, rng=seeds)
@settings(max_examples=8)
def test_flatten_keeps_every_law(shape, rng):
    assert check_layer(Flatten(), shape, rng=rng).ok


@given(drawn=shapes_and_reshapes(), rng=seeds)
@settings(max_examples=8)
def test_reshape_keeps_every_law(drawn, rng):
    shape, layer = drawn
    assert check_layer(layer, shape, rng=rng).ok


@given(drawn=shapes_and_permutes(), rng=seeds)
@settings(max_examples=8)
def test_permute_keeps_every_law(drawn, rng):
    shape, layer = drawn
    assert check_layer(layer, shape, rng=rng).ok


@given(drawn=shapes_and_slices(), rng=seeds)
@settings(max_examples=8)
def test_slice_keeps_every_law(drawn, rng):
    shape, layer, _ = drawn
    assert check_layer(layer, shape, rng=rng).ok


EVERY = [
    (Flatten(), (2, 3)),
    (Reshape((3, -1)), (2, 6)),
    (Permute((3, 1, 2)), (2, 3, 4)),
    (Slice(1, None, 2, axis=1), (4, 2)),
    (Slice(None, step=-1), (4,)),
]
each_layer = pytest.mark.parametrize(("layer", "shape"), EVERY, ids=repr)


@each_layer
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("rows", [0, 1, 3])
def test_every_array_has_its_type_and_shape_in_a_batch_of_any_size(layer, shape, dtype, rows):
    layer = layer.unbuilt()
    x = np.ones((rows, *shape), dtype)
    y = layer.forward(x)
    delta_in = layer.backward(y)
    assert y.shape == (rows, *layer.output_shape) and delta_in.shape == x.shape
    assert {y.dtype, delta_in.dtype, layer(x).dtype} == {np.dtype(dtype)}


@each_layer
def test_tangents_go_the_way_of_the_values_forward_and_backward(layer, shape):
    """All of them are linear: ẏ = P ẋ, and ∂Ċ/∂x = Pᵀ Δ̇, also where only the delta moves."""
    rng, layer = np.random.default_rng(0), layer.unbuilt()
    x, dx = rng.normal(size=(2, 3, *shape))
    y, dy = layer.forward(x), layer.forward(dx)
    u, du = rng.normal(size=(2, *y.shape))
    back, dback = layer.backward(u), layer.backward(du)
    for given_x in (Dual(x, dx), x):
        layer.forward(given_x)
        delta_in = layer.backward(Dual(u, du))
        np.testing.assert_array_equal(delta_in.value, back)
        np.testing.assert_array_equal(delta_in.tangent, dback)
    moving = layer.forward(Dual(x, dx))
    np.testing.assert_array_equal(moving.value, y)
    np.testing.assert_array_equal(moving.tangent, dy)


@each_layer
def test_nothing_that_comes_in_is_changed(layer, shape):
    layer = layer.unbuilt()
    x = np.arange(float(2 * math.prod(shape))).reshape(2, *shape)
    kept = x.copy()
    delta = layer.forward(x) + 1
    kept_delta = delta.copy()
    layer.backward(delta)
    np.testing.assert_array_equal(x, kept)
    np.testing.assert_array_equal(delta, kept_delta)


@each_layer
def test_copies_compute_the_same_and_a_file_gives_the_layer_back(layer, shape, tmp_path):
    layer = layer.unbuilt()
    x = np.random.default_rng(0).normal(size=(2, *shape))
    y = layer.forward(x)
    layer.save(tmp_path / "layer.safetensors")
    for other in (
        layer.twin(),
        copy.deepcopy(layer),
        pickle.loads(pickle.dumps(layer)),
        load(tmp_path / "layer.safetensors"),
    ):
        assert other == layer and repr(other) == repr(layer)
        np.testing.assert_array_equal(other.forward(x), y)


def test_rows_without_numbers_stay_without():
    assert Flatten()(np.ones((3, 2, 0))).shape == (3, 0)
    assert Reshape((0, 5))(np.ones((3, 0))).shape == (3, 0, 5)
    assert Reshape((-1, 5))(np.ones((3, 0))).shape == (3, 0, 5)
    assert Permute((2, 1))(np.ones((3, 2, 0))).shape == (3, 0, 2)


def test_a_subclass_that_changes_forward_is_applied_as_it_is_trained():
    from attrs import define

    @define
    class Doubled(Flatten):
        def forward(self, inputs):
            return 2 * super().forward(inputs)

    x = np.ones((1, 2, 2))
    np.testing.assert_array_equal(Doubled()(x), Doubled().forward(x))


def test_images_go_through_a_sequence_that_flattens_them():
    model = Sequential([Permute((2, 1)), Slice(1), Flatten(), Dense(4), Reshape((2, 2))])
    model.build((3, 5), rng=0)
    assert model.output_shape == (2, 2)
    assert check_layer(model, (3, 5)).ok


# ------------------------------------------------------------------------------- configuration


def test_the_repr_makes_an_equal_layer_and_numpy_integers_become_python_integers():
    layers = {
        "Flatten()": Flatten(),
        "Reshape((3, -1))": Reshape([np.int64(3), -1]),
        "Reshape((2, 3))": Reshape(np.array([2, 3])),
        "Permute((2, 1))": Permute(np.array([0, 2, 1])),
        "Slice(1)": Slice(np.int64(1)),
        "Slice(None, step=-1)": Slice(None, step=-1),
        "Slice(1, stop=5, step=2, axis=1)": Slice(1, np.int32(5), np.int8(2), np.int64(1)),
    }
    for text, layer in layers.items():
        assert repr(layer) == text
        assert eval(text) == layer
    assert type(Slice(np.int64(1)).start) is int
    assert Reshape((2, 3)) != Reshape((3, 2)) and Slice(1) != Slice(2)


@pytest.mark.parametrize(
    ("shape", "hint"),
    [
        (12, "Reshape((12,))"),
        (np.int64(12), "Reshape((12,))"),
        ((2.0, 3), None),
        ((True, 3), None),
        ((-2, 3), None),
        (None, None),
        ("23", None),
        ([[2], [3, 4]], None),
    ],
)
def test_what_is_no_shape_is_refused(shape, hint):
    with pytest.raises(ConfigurationError, match="must be the shape of a row") as caught:
        Reshape(shape)
    assert caught.value.hint == hint
    assert "such as (3, 4)" in caught.value.expected


@pytest.mark.parametrize("shape", [(-1, -1), (-1, 2, -1), (0, -1)])
def test_an_open_size_that_cannot_be_worked_out_is_refused(shape):
    with pytest.raises(ConfigurationError, match="cannot be determined") as caught:
        Reshape(shape)
    assert caught.value.received == f"shape={shape}" and caught.value.hint == "write out all sizes"


@pytest.mark.parametrize(
    ("shape", "row", "expected", "hint"),
    [
        ((3, 4), (15,), "rows of 12 numbers", "Reshape((3, 5))"),
        ((3, 4), (5, 4), "rows of 12 numbers", "Reshape((5, 4))"),
        ((3, 4), (7,), "rows of 12 numbers", "Flatten() makes each row a vector of 7 numbers"),
        (
            (3, -1),
            (10,),
            "rows whose size is a multiple of 3",
            "Flatten() makes each row a vector of 10 numbers",
        ),
        ((), (2,), "rows of 1 numbers", "Flatten() makes each row a vector of 2 numbers"),
    ],
)
def test_rows_that_do_not_fill_a_shape_are_refused_in_build(shape, row, expected, hint):
    layer = Reshape(shape)
    with pytest.raises(ShapeError, match="does not have the number of elements") as caught:
        layer.build(row)
    count = math.prod(row)
    batch = f"(batch, {', '.join(map(str, row))})"
    assert caught.value.received == f"{batch}, rows of {count}"
    assert (caught.value.expected, caught.value.hint) == (expected, hint)
    assert not layer.is_built
    if hint.startswith("Reshape"):
        eval(hint).build(row)


@pytest.mark.parametrize(
    ("axes", "hint"),
    [
        ((1, 0), "count the batch as axis 0: Permute((2, 1))"),
        ((2, 0, 1), "count the batch as axis 0: Permute((3, 1, 2))"),
        ((1, 1), None),
        ((1, 3), None),
        ((-1, 1), None),
        ((0, 0, 1), None),
        ((2.0, 1), None),
        (1, "Permute((1,))"),
        (None, None),
        ("21", None),
    ],
)
def test_axes_that_move_the_batch_or_are_no_permutation_are_refused(axes, hint):
    with pytest.raises(ConfigurationError, match="0 is the batch") as caught:
        Permute(axes)
    assert caught.value.received == f"axes={axes!r}"
    assert caught.value.hint == hint
    assert "each of 1, 2, … once" in caught.value.expected


def test_rows_with_another_number_of_axes_than_are_permuted_are_refused():
    for row, hint in (
        ((2, 3, 4), "list every axis of a row: Permute((2, 1, 3))"),
        ((2,), "list only the axes that a row has, or add axes with Reshape"),
    ):
        with pytest.raises(ShapeError, match="a different number of axes") as caught:
            Permute((2, 1)).build(row)
        assert caught.value.expected == "rows with 2 axes"
        assert caught.value.received == f"(batch, {', '.join(map(str, row))})"
        assert caught.value.hint == hint


@pytest.mark.parametrize(
    ("arguments", "problem", "received"),
    [
        ({"start": 1.0}, "start must be the index of an entry", "start=1.0"),
        ({"start": True}, "start must be the index of an entry", "start=True"),
        ({"start": 0, "stop": "3"}, "stop must be the index of an entry", "stop='3'"),
        ({"start": 0, "step": 0}, "step must be the distance from one entry to the next", "step=0"),
        (
            {"start": 0, "step": None},
            "step must be the distance from one entry to the next",
            "step=None",
        ),
        ({"start": 0, "axis": 0}, "axis 0 is the batch", "axis=0"),
        ({"start": 0, "axis": 1.0}, "axis 0 is the batch", "axis=1.0"),
        ({"start": 0, "axis": None}, "axis 0 is the batch", "axis=None"),
    ],
)
def test_what_slices_nothing_is_refused(arguments, problem, received):
    with pytest.raises(ConfigurationError, match=problem) as caught:
        Slice(**arguments)
    assert caught.value.received == received


@pytest.mark.parametrize(
    ("layer", "row"), [(Slice(5), (5,)), (Slice(3, 3), (5,)), (Slice(1, 4, -1), (5,))], ids=repr
)
def test_a_slice_that_leaves_nothing_is_refused_in_build(layer, row):
    with pytest.raises(ShapeError, match="the result would be empty") as caught:
        layer.build(row)
    assert caught.value.expected == "at least one of the 5 entries along axis -1"
    assert caught.value.received == "none of (batch, 5)"
    assert caught.value.hint.startswith("indices run from 0 to 4")
    assert not layer.is_built


def test_a_slice_of_an_axis_without_entries_is_refused():
    with pytest.raises(ShapeError, match="the result would be empty") as caught:
        Slice(0).build((3, 0))
    assert caught.value.hint == "the axis is empty: check the previous layer"


@pytest.mark.parametrize(
    ("axis", "row", "problem", "expected", "hint"),
    [
        (2, (3,), "no axis 2", "an axis from 1 to 1, or from -1 to -1", "axis=-1 is the last"),
        (-2, (3,), "axis -2 is the batch", "an axis from 1 to 1, or from -1 to -1", "axis=-1"),
        (-4, (3, 2), "no axis -4", "an axis from 1 to 2, or from -2 to -1", "axis=-1 is the last"),
        (-1, (), "axis -1 is the batch", "rows with at least one axis", "Reshape((1,)) makes"),
    ],
)
def test_an_axis_that_a_row_does_not_have_is_refused(axis, row, problem, expected, hint):
    with pytest.raises(ShapeError, match=problem) as caught:
        Slice(0, axis=axis).build(row)
    assert caught.value.expected == expected
    assert caught.value.hint.startswith(hint)


# ------------------------------------------------------------------------------- side by side


@pytest.mark.peers
@given(shape=st.lists(st.integers(1, 4), min_size=2, max_size=3).map(tuple), seed=seeds)
@settings(max_examples=20)
def test_values_and_deltas_are_those_of_pytorch(torch, shape, seed):
    rng = np.random.default_rng(seed)
    axes = tuple(int(axis) for axis in 1 + rng.permutation(len(shape)))
    width = math.prod(shape)
    for layer, theirs in (
        (Flatten(), lambda x: torch.flatten(x, 1)),
        (Reshape((shape[-1], -1)), lambda x: x.reshape(len(x), shape[-1], width // shape[-1])),
        (Permute(axes), lambda x: x.permute(0, *axes)),
        (Slice(0, 2, axis=1), lambda x: x[:, 0:2]),
        (Slice(-1), lambda x: x[..., -1:]),
        (Slice(0, None, 2), lambda x: x[..., ::2]),
        (Slice(None, None, -1), lambda x: torch.flip(x, (-1,))),
    ):
        x = rng.normal(size=(3, *shape))
        inputs = torch.tensor(x, requires_grad=True)
        outputs = theirs(inputs)
        y = layer.forward(x)
        delta = rng.normal(size=y.shape)
        outputs.backward(torch.tensor(delta))
        np.testing.assert_allclose(y, outputs.detach().numpy(), rtol=1e-12)
        np.testing.assert_allclose(layer.backward(delta), inputs.grad.numpy(), rtol=1e-12)
