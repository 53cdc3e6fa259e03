"""Parameters and their flat vector: two views of one memory, in whatever order they are used."""

from __future__ import annotations

import copy
import math
import pickle
from xml.etree import ElementTree

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given
from hypothesis.extra.numpy import array_shapes, arrays

from chainrule import Dual
from chainrule.core.errors import DtypeError, NoTangentRuleError, ShapeError
from chainrule.core.parameter import Parameter, ParameterVector

shapes = array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4)
seeds = st.integers(0, 2**32 - 1)


def drawn(shape, seed=0, dtype=np.float64):
    return np.asarray(np.random.default_rng(seed).normal(size=shape), dtype)


def parameters_of(shapes, dtype=np.float64):
    return [Parameter(f"p{n}", drawn(shape, n, dtype)) for n, shape in enumerate(shapes)]


def vector_of(parameters, names=None):
    names = names or [parameter.path for parameter in parameters]
    return ParameterVector(dict(zip(names, parameters, strict=True)))


# ------------------------------------------------------------------------------- one parameter


def test_a_new_parameter_holds_its_array_and_a_gradient_of_zeros():
    array = drawn((2, 3), dtype=np.float32)
    parameter = Parameter("weights", array)
    assert parameter.value is array
    assert (parameter.path, parameter.shape, parameter.size) == ("weights", (2, 3), 6)
    assert parameter.dtype == parameter.grad.dtype == np.float32
    np.testing.assert_array_equal(parameter.grad, np.zeros((2, 3)))
    assert repr(parameter) == "Parameter('weights', shape=(2, 3), dtype=float32)"


@given(shapes, seeds)
def test_assigning_to_the_value_copies_the_numbers_in_place(shape, seed):
    parameter = Parameter("p", np.zeros(shape))
    held, new = parameter.value, drawn(shape, seed)
    parameter.value = new
    assert parameter.value is held
    np.testing.assert_array_equal(held, new)
    assert not np.shares_memory(held, new)


@pytest.mark.parametrize("new", [5.0, np.ones(3), np.ones((1, 3)), np.ones((3, 2)), [[1.0]]])
def test_a_value_of_the_wrong_shape_is_rejected_even_if_it_could_be_broadcast(new):
    parameter = Parameter("dense_1.weights", drawn((2, 3)))
    before = parameter.value.copy()
    with pytest.raises(ShapeError) as caught:
        parameter.value = new
    np.testing.assert_array_equal(parameter.value, before)
    assert caught.value.place == "dense_1.weights"
    assert (caught.value.expected, caught.value.received) == ((2, 3), np.shape(new))


@pytest.mark.parametrize("new", [np.ones(2) * 1j, np.array(["1", "2"]), np.array([1, None])])
def test_a_value_that_is_not_real_is_rejected(new):
    parameter = Parameter("p", np.zeros(2))
    with pytest.raises(DtypeError):
        parameter.value = new
    with pytest.raises(DtypeError):
        vector_of([parameter]).value = new
    np.testing.assert_array_equal(parameter.value, np.zeros(2))


@given(shapes, st.lists(seeds, max_size=4))
def test_contributions_to_the_gradient_add_up(shape, seeds):
    parameter = Parameter("p", np.zeros(shape))
    for seed in seeds:
        parameter.accumulate(drawn(shape, seed))
    exact = [[drawn(shape, seed).flat[n] for seed in seeds] for n in range(parameter.size)]
    np.testing.assert_allclose(
        parameter.grad.ravel(), [math.fsum(terms) for terms in exact], rtol=0, atol=1e-14
    )


def test_contributions_are_never_changed_and_never_kept():
    parameter = Parameter("p", np.zeros(3))
    parameter.zero_grad()
    first, second = drawn(3, 1), drawn(3, 2)
    copies = first.copy(), second.copy()
    parameter.accumulate(first)
    parameter.accumulate(second)
    np.testing.assert_array_equal(first, copies[0])
    np.testing.assert_array_equal(second, copies[1])
    assert not np.shares_memory(parameter.grad, first)


@pytest.mark.parametrize("is_zero", [False, True])
@pytest.mark.parametrize("gradient", [np.ones(3), np.ones((3, 2)), np.ones((1, 3)), 1.0, [1, 2]])
def test_a_contribution_of_the_wrong_shape_is_rejected_and_adds_nothing(gradient, is_zero):
    parameter = Parameter("dense_1.weights", np.zeros((2, 3)))
    if is_zero:
        parameter.zero_grad()
    with pytest.raises(ShapeError, match=r"dense_1\.weights") as caught:
        parameter.accumulate(gradient)
    assert (caught.value.expected, caught.value.received) == ((2, 3), np.shape(gradient))
    np.testing.assert_array_equal(parameter.grad, np.zeros((2, 3)))


@pytest.mark.parametrize("is_zero", [False, True])
@pytest.mark.parametrize(
    ("own", "other"), [("f4", "f8"), ("f8", "f4"), ("f8", "i8"), ("f8", "c16")]
)
def test_a_contribution_of_the_wrong_dtype_is_rejected_and_adds_nothing(own, other, is_zero):
    parameter = Parameter("p", np.zeros((2, 2), own))
    if is_zero:
        parameter.zero_grad()
    with pytest.raises(DtypeError) as caught:
        parameter.accumulate(np.ones((2, 2), other))
    assert (caught.value.expected, caught.value.received) == (np.dtype(own), np.dtype(other))
    with pytest.raises(DtypeError):  # the product is no way around it
        parameter.accumulate_product(np.ones((2, 3), other), np.ones((3, 2), other))
    np.testing.assert_array_equal(parameter.grad, np.zeros((2, 2)))


def test_a_parameter_without_axes_takes_plain_numbers():
    parameter = Parameter("scale", np.zeros((), np.float32))
    for number in (1, 2.5, np.float32(3), np.array(4, np.float32)):
        parameter.accumulate(number)
    assert parameter.grad == 10.5
    assert parameter.grad.shape == () and parameter.grad.dtype == np.float32


sizes = st.integers(0, 4)


@given(rows=sizes, between=sizes, columns=sizes, is_zero=st.booleans(), seed=seeds)
def test_accumulating_a_product_is_accumulating_what_matmul_gives(
    rows, between, columns, is_zero, seed
):
    left, right = drawn((between, rows), seed).T, drawn((between, columns), seed + 1)
    plain, fast = (Parameter("p", np.zeros((rows, columns))) for _ in range(2))
    for parameter in (plain, fast):
        parameter.accumulate(drawn((rows, columns), seed + 2))
        if is_zero:
            parameter.zero_grad()
    for _ in range(2):
        plain.accumulate(left @ right)
        fast.accumulate_product(left, right)
        np.testing.assert_array_equal(fast.grad, plain.grad)


@given(
    left=st.sampled_from([(3,), (2, 3), (4, 2, 3), (3, 2)]),
    right=st.sampled_from([(3,), (3, 2), (2, 2), (4, 3, 2), (3, 4, 2), (2, 3, 2)]),
    shape=st.sampled_from([(), (2,), (2, 2), (4, 2, 2), (2, 4, 2), (2, 3, 2), (3, 4, 2)]),
    is_zero=st.booleans(),
)
def test_a_product_is_rejected_where_accumulate_rejects_it(left, right, shape, is_zero):
    x, y = drawn(left, 1), drawn(right, 2)
    plain, fast = (Parameter("p", np.zeros(shape)) for _ in range(2))
    if is_zero:
        plain.zero_grad()
        fast.zero_grad()
    try:
        plain.accumulate(x @ y)
    except ValueError:
        with pytest.raises(ValueError):
            fast.accumulate_product(x, y)
    else:
        fast.accumulate_product(x, y)
    np.testing.assert_array_equal(fast.grad, plain.grad)


@pytest.mark.parametrize("shape", [(3, 40, 50), (40, 51), (50,)])
def test_a_large_product_is_not_broadcast_over_a_parameter_of_another_shape(shape):
    parameter = Parameter("p", np.zeros((3, *shape)))
    for clear in (parameter.zero_grad, lambda: None):
        clear()
        with pytest.raises(ShapeError):
            parameter.accumulate_product(np.ones((40, 7)), np.ones((7, 50)))
        np.testing.assert_array_equal(parameter.grad, 0)


def test_the_first_product_after_zero_grad_is_written_into_the_flat_vector():
    parameters = parameters_of([(3,), (2, 2), (1,)])
    vector = vector_of(parameters)
    flat = vector.grad
    flat[:] = np.nan  # would show if a product were added to what was there
    vector.zero_grad()
    left, right = drawn((2, 5), 1), drawn((5, 2), 2)
    parameters[1].accumulate_product(left, right)
    np.testing.assert_array_equal(flat[3:7].reshape(2, 2), left @ right)
    assert np.shares_memory(parameters[1].grad, flat)
    np.testing.assert_array_equal(vector.grad[[0, 1, 2, 7]], np.zeros(4))


def test_after_zero_grad_every_gradient_reads_as_zeros():
    parameters = parameters_of([(2,), (3,)])
    vector = vector_of(parameters)
    for parameter in parameters:
        parameter.accumulate(np.full(parameter.shape, np.nan))
    vector.zero_grad()
    np.testing.assert_array_equal(parameters[0].grad, np.zeros(2))
    np.testing.assert_array_equal(vector.grad, np.zeros(5))
    parameters[1].accumulate(np.full(3, np.inf))
    parameters[1].zero_grad()
    parameters[1].accumulate(np.ones(3))
    np.testing.assert_array_equal(vector.grad, [0, 0, 1, 1, 1])


def test_a_pickled_parameter_keeps_value_and_gradient():
    parameter = Parameter("p", drawn((2, 3), dtype=np.float32))
    parameter.accumulate(drawn((2, 3), 1, np.float32))
    for again in (pickle.loads(pickle.dumps(parameter)), copy.deepcopy(parameter)):
        np.testing.assert_array_equal(again.value, parameter.value)
        np.testing.assert_array_equal(again.grad, parameter.grad)
        assert again.path == "p"
        again.accumulate(np.ones((2, 3), np.float32))  # an array that was pickled has a new dtype
        assert not np.shares_memory(again.value, parameter.value)
        assert not np.array_equal(again.grad, parameter.grad)


# ------------------------------------------------------------------------------- the vector


@given(st.lists(shapes, max_size=5), st.sampled_from([np.float32, np.float64]))
def test_the_vector_is_all_parameters_in_sequence(shapes, dtype):
    parameters = parameters_of(shapes, dtype)
    expected = [number for p in parameters for number in p.value.ravel()]
    vector = ParameterVector({p.path: p for p in parameters}, dtype)
    for flat in (vector.value, vector.grad):
        assert flat.ndim == 1 and flat.flags.c_contiguous and flat.dtype == dtype
        assert len(flat) == vector.size == sum(map(math.prod, shapes))
    np.testing.assert_array_equal(vector.value, np.array(expected, dtype))
    assert list(vector) == parameters and len(vector) == len(shapes)
    assert vector.paths == [p.path for p in parameters]
    assert [p.shape for p in vector] == shapes


@given(st.lists(shapes, min_size=1, max_size=4))
def test_parameters_are_windows_of_the_vector_both_ways(shapes):
    parameters = parameters_of(shapes)
    vector = vector_of(parameters)
    vector.value[:] = range(vector.size)
    vector.grad[:] = range(vector.size)
    start = 0
    for p in parameters:
        numbers = np.arange(start, start + p.size).reshape(p.shape)
        np.testing.assert_array_equal(p.value, numbers)
        np.testing.assert_array_equal(p.grad, numbers)
        p.value = -p.value
        p.accumulate(p.grad)
        start += p.size
    np.testing.assert_array_equal(vector.value, -np.arange(vector.size))
    np.testing.assert_array_equal(vector.grad, 2 * np.arange(vector.size))


def test_assigning_to_the_vector_copies_in_place_and_rejects_other_lengths():
    parameters = parameters_of([(2, 2), (3,)])
    vector = vector_of(parameters)
    flat = vector.value
    vector.value = range(7)
    assert vector.value.base is flat.base
    np.testing.assert_array_equal(parameters[1].value, [4, 5, 6])
    for wrong in (np.zeros(6), np.zeros((7, 1)), 0.0):
        with pytest.raises(ShapeError, match="wrong length"):
            vector.value = wrong
    np.testing.assert_array_equal(flat, range(7))


def test_a_parameter_is_found_by_number_and_by_path():
    a, b = parameters_of([(2,), (3,)])
    vector = vector_of([a, b], ["dense_1.weights", "dense_1.biases"])
    assert vector["dense_1.weights"] is vector[0] is a and vector[-1] is b
    assert "dense_1.biases" in vector and b in vector and "biases" not in vector
    with pytest.raises(KeyError, match=r"no parameter 'biases'.*dense_1\.weights"):
        vector["biases"]
    assert repr(vector).splitlines() == [
        "ParameterVector of 5 numbers",
        "  dense_1.weights  (2,)",
        "  dense_1.biases  (3,)",
    ]


def test_a_parameter_with_several_paths_counts_once():
    a, b = parameters_of([(2,), (3,)])
    vector = ParameterVector({"first.w": a, "b": b, "second.w": a})
    assert (len(vector), vector.size) == (2, 5)
    assert vector["second.w"] is a
    assert vector.paths == ["first.w", "b"]


def test_the_vector_of_nothing_is_empty_and_has_a_type():
    vector = ParameterVector({}, np.float32)
    for flat in (vector.value, vector.grad):
        assert flat.shape == (0,) and flat.dtype == np.float32
    vector.zero_grad()
    assert (len(vector), vector.size, list(vector)) == (0, 0, [])
    vector.value = []


def test_the_vector_of_a_part_is_a_slice_of_the_whole_ones():
    parameters = parameters_of([(2,), (2, 2), (3,), (1,)])
    whole, part = vector_of(parameters), vector_of(parameters[1:3])
    flat = whole.value
    assert part.value.base is flat.base and part.grad.base is whole.grad.base
    part.value[:] = 7
    np.testing.assert_array_equal(whole.value[2:9], np.full(7, 7.0))
    assert whole.value.base is flat.base  # nothing has moved


def test_each_vector_has_the_paths_from_its_own_model():
    a, b = parameters_of([(2,), (2,)])
    inner = vector_of([b], ["weights"])
    outer = vector_of([a, b], ["first.weights", "second.weights"])
    for vector in (inner, outer, inner):
        assert vector.value.size
    assert (inner.paths, outer.paths) == (["weights"], ["first.weights", "second.weights"])


@given(st.data())
def test_vectors_that_share_parameters_in_any_order_all_stay_right(data):
    """Against a dictionary of plain arrays: every view shows what any other has written."""
    shapes = [(2,), (1, 2), (3,), ()]
    parameters = parameters_of(shapes)
    value = {n: p.value.copy() for n, p in enumerate(parameters)}
    grad = {n: np.zeros(shape) for n, shape in enumerate(shapes)}
    members = data.draw(
        st.lists(
            st.lists(st.sampled_from(range(4)), unique=True, min_size=1), min_size=2, max_size=3
        )
    )
    vectors = [vector_of([parameters[n] for n in numbers]) for numbers in members]
    for step in range(data.draw(st.integers(1, 8))):
        which = data.draw(st.integers(0, len(vectors) - 1))
        vector, numbers = vectors[which], members[which]
        match data.draw(st.sampled_from(["write", "grad", "zero", "accumulate", "pack"])):
            case "write":
                vector.value = vector.value * 2 + step
                value |= {n: value[n] * 2 + step for n in numbers}
            case "grad":
                vector.grad[:] += step
                grad |= {n: grad[n] + step for n in numbers}
            case "zero":
                vector.zero_grad()
                grad |= {n: np.zeros(shapes[n]) for n in numbers}
            case "accumulate":
                parameters[numbers[0]].accumulate(np.full(shapes[numbers[0]], 1.5))
                grad[numbers[0]] = grad[numbers[0]] + 1.5
            case "pack":
                assert vector.value.flags.c_contiguous
        for n, p in enumerate(parameters):
            np.testing.assert_array_equal(p.value, value[n])
            np.testing.assert_array_equal(p.grad, grad[n])
    for vector, numbers in zip(vectors, members, strict=True):
        flat = np.concatenate([value[n].ravel() for n in numbers])
        np.testing.assert_array_equal(vector.value, flat)
        np.testing.assert_array_equal(
            vector.grad, np.concatenate([grad[n].ravel() for n in numbers])
        )
        assert vector.value.flags.c_contiguous and vector.grad.flags.c_contiguous


@pytest.mark.parametrize("again", [copy.deepcopy, lambda v: pickle.loads(pickle.dumps(v))])
def test_a_copy_of_a_vector_is_the_memory_of_the_copied_parameters(again):
    vector = vector_of(parameters_of([(2, 2), (3,)]))
    vector.grad[:] = 5
    original = vector.value.copy()
    copied = again(vector)
    np.testing.assert_array_equal(copied.value, original)
    np.testing.assert_array_equal(copied.grad, np.full(7, 5.0))
    copied.value[:] = 1
    np.testing.assert_array_equal(copied[0].value, np.ones((2, 2)))
    np.testing.assert_array_equal(vector.value, original)


@given(arrays(np.float64, 7, elements=st.floats(-1e6, 1e6)))
def test_one_step_on_the_vector_moves_every_parameter(gradient):
    vector = vector_of(parameters_of([(2, 2), (3,)]))
    before = [p.value.copy() for p in vector]
    vector.grad[:] = gradient
    flat = vector.value
    flat -= 0.5 * vector.grad
    pieces = gradient[:4].reshape(2, 2), gradient[4:]
    for p, w, g in zip(vector, before, pieces, strict=True):
        np.testing.assert_array_equal(p.value, w - 0.5 * g)


def test_a_vector_that_is_accumulated_reaches_every_parameter_that_is_not_frozen():
    parameters = parameters_of([(2, 3), (), (4,)])
    vector, gradient = vector_of(parameters), drawn((11,))
    parameters[2].trainable = False
    vector.accumulate(gradient)
    vector.accumulate(gradient)
    np.testing.assert_array_equal(parameters[0].grad, 2 * gradient[:6].reshape(2, 3))
    np.testing.assert_array_equal(parameters[1].grad, 2 * gradient[6])
    np.testing.assert_array_equal(vector.grad, np.concatenate([2 * gradient[:7], np.zeros(4)]))


def test_a_vector_that_does_not_fit_is_not_accumulated():
    vector = vector_of(parameters_of([(2, 3), (4,)]))
    with pytest.raises(ShapeError, match=r"expected  \(10,\)"):
        vector.accumulate(np.ones(9))
    with pytest.raises(ShapeError, match=r"expected  \(10,\)"):
        vector.accumulate(np.ones((10, 1)))
    with pytest.raises(DtypeError, match="float32"):
        vector.accumulate(np.ones(10, np.float32))
    np.testing.assert_array_equal(vector.grad, np.zeros(10))


# ------------------------------------------------------------------------------- open axes


def test_an_array_with_an_open_axis_takes_the_shape_of_its_value_and_the_vector_follows():
    fixed, carried = (
        Parameter("fixed", np.ones(2)),
        Parameter("carried", np.zeros((0, 3)), (None, 3)),
    )
    vector = vector_of([carried, fixed])
    assert vector.size == 2 and vector.fixed.paths == [vector.paths[1]]
    carried.value = drawn((4, 3))
    assert carried.shape == (4, 3) and vector.size == len(vector.value) == len(vector.grad) == 14
    np.testing.assert_array_equal(vector.value[12:], np.ones(2))
    vector.value[:12] = 7
    np.testing.assert_array_equal(carried.value, np.full((4, 3), 7))
    for wrong in (np.ones((4, 2)), np.ones(3), np.ones((1, 4, 3))):
        with pytest.raises(ShapeError, match="wrong shape"):
            carried.value = wrong
    with pytest.raises(ShapeError, match="wrong shape"):
        fixed.value = np.ones(3)
    for again in (copy.deepcopy, lambda p: pickle.loads(pickle.dumps(p))):
        other = again(carried)
        other.value = np.ones((1, 3))
        assert carried.shape == (4, 3)
    carried.reset()
    fixed.reset()
    assert carried.shape == (0, 3) and vector.size == 2
    np.testing.assert_array_equal(vector.value, np.ones(2))
    assert vector_of([fixed]).fixed.size == 2


def test_a_plain_array_holds_no_tangent_and_the_error_names_it():
    parameter = Parameter("state", np.zeros(2))
    with pytest.raises(NoTangentRuleError, match="'state' is a plain array") as caught:
        parameter.value = Dual(np.ones(2), np.ones(2))
    assert caught.value.place == "state" and "derivatives.jvp" in caught.value.hint


# ------------------------------------------------------------------------------- in a notebook


def cells_of(html):
    return [
        ["".join(cell.itertext()) for cell in row]
        for row in ElementTree.fromstring(html).iter("tr")
    ]


def test_a_notebook_shows_the_range_and_the_size_of_each_parameter():
    a = Parameter("a", np.array([3.0, -4.0, 0.0, 0.0]))
    b = Parameter("b", np.zeros((0, 2)))
    a.accumulate(np.full(4, 2.0))
    b.trainable = False
    head, *rows = cells_of(vector_of([a, b])._repr_html_())
    assert rows[0] == ["a", "(4,)", "4", "-4.00", "3.00", "2.50", "2.00"]
    assert rows[1] == ["b  (frozen)", "(0, 2)", "0", "–", "–", "–", "–"]
    assert cells_of(a._repr_html_()) == [head, rows[0]]


def test_showing_a_parameter_creates_no_gradient():
    parameter = Parameter("a", np.ones(3))
    assert cells_of(parameter._repr_html_())[1][-1] == "–"
    assert not parameter.has_grad


def test_a_parameter_of_other_numbers_is_shown_without_them():
    (_, row) = cells_of(Parameter("a", Dual(np.ones(2), np.ones(2)))._repr_html_())
    assert row == ["a", "(2,)", "2", "–", "–", "–", "–"]


def test_a_long_vector_is_shown_without_its_middle():
    rows = cells_of(vector_of(parameters_of([(1,)] * 100))._repr_html_())
    assert len(rows) == 62 and rows[31] == ["… 40 more …"] and rows[-1][0] == "p99"
