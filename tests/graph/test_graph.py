"""Graph: any acyclic architecture, weight sharing, and errors that name places in the graph."""

from __future__ import annotations

import copy
import pickle
import sys
import weakref
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from attrs import define

from chainrule import (
    Activation,
    Add,
    Branches,
    Concatenate,
    Dense,
    Dot,
    Graph,
    Input,
    Layer,
    Multiply,
    Residual,
    Sequential,
    check_layer,
    storage,
)
from chainrule.core.errors import (
    BackwardBeforeForwardError,
    BuildError,
    ConfigurationError,
    DefinitionError,
    DtypeError,
    ShapeError,
)
from chainrule.graph.composite import ALL, Composite
from laws.unusual_layers import Dropout, Halves

MANY = 10_000


def batch(rows=5, width=3, seed=0):
    return np.random.default_rng(seed).normal(size=(rows, width))


def built(model, *shapes, **how):
    model.build(*shapes, **{"rng": 0, **how})
    return model


# ------------------------------------------------------------------------------- what it computes


def test_a_value_that_takes_two_paths_gets_the_sum_of_both_deltas():
    """y = x w + x v: worked by hand."""
    x = Input((2,))
    model = built(
        Graph(x, Add()(Dense(1, False, initializer=2.0)(x), Dense(1, False, initializer=5.0)(x)))
    )
    y = model.forward(np.array([[1.0, 3.0]]))
    np.testing.assert_array_equal(y, [[28.0]])
    np.testing.assert_array_equal(model.backward(np.array([[10.0]])), [[70.0, 70.0]])
    np.testing.assert_array_equal(model.parameters.grad, [10.0, 30.0, 10.0, 30.0])


def test_a_layer_in_two_places_adds_up_the_gradients_of_both():
    """y = tanh(tanh(x w) w), by the chain rule on paper."""
    shared, x = Dense(2, use_bias=False), Input((2,))
    model = built(Graph(x, Activation("tanh")(shared(Activation("tanh")(shared(x))))))
    w, a, delta = shared.weights.value, batch(4, 2), batch(4, 2, 1)
    h = np.tanh(a @ w)
    y = np.tanh(h @ w)
    above = delta * (1 - y**2)
    below = above @ w.T * (1 - h**2)
    np.testing.assert_allclose(model.forward(a), y, rtol=1e-14)
    np.testing.assert_allclose(model.backward(delta), below @ w.T, rtol=1e-13)
    assert model.parameters.size == 4
    np.testing.assert_allclose(shared.weights.grad, h.T @ above + a.T @ below, rtol=1e-13)


def test_several_inputs_and_outputs_are_tuples():
    x, z = Input((3,)), Input((2,))
    h = Dense(2)(x)
    model = built(Graph([x, z], [Multiply()(h, z), h, z]))
    a, b = batch(), batch(5, 2, 1)
    product, first, second = model.forward(a, b)
    np.testing.assert_array_equal(product, first * second)
    np.testing.assert_array_equal(second, b)
    deltas = tuple(batch(5, 2, n) for n in (2, 3, 4))
    dx, dz = model.backward(deltas)
    w = h.layer.weights.value
    np.testing.assert_allclose(dx, (deltas[0] * b + deltas[1]) @ w.T, rtol=1e-13)
    np.testing.assert_allclose(dz, deltas[0] * first + deltas[2], rtol=1e-13)


def test_one_output_in_a_list_is_still_an_array():
    x = Input((3,))
    assert isinstance(built(Graph([x], [Dense(2)(x)])).forward(batch()), np.ndarray)


def test_the_sum_at_a_fan_out_changes_no_array_in_place():
    sent = []

    @define
    class Keeps(Layer):
        """Returns a delta to which there is another reference."""

        def forward(self, x):
            return x * 1.0

        def backward(self, delta):
            sent.append(np.ones_like(delta))
            return sent[-1]

    x = Input((2,))
    keeps = [Keeps() for _ in range(3)]
    model = built(Graph(x, Add()(*(k(x) for k in keeps))))
    model.forward(batch(4, 2))
    np.testing.assert_array_equal(model.backward(batch(4, 2)), np.full((4, 2), 3.0))
    assert len(sent) == 3
    for array in sent:
        np.testing.assert_array_equal(array, np.ones((4, 2)))


def test_a_graph_is_a_layer_that_nests_in_graphs_and_sequences():
    x = Input((3,))
    inner = Graph(x, Add()(x, Dense(3)(x)))
    z = Input((3,))
    outer = Graph(z, Sequential([inner, Activation("tanh"), inner])(z))
    model = Sequential([Sequential([outer]), Dense(2)])
    assert check_layer(model, (3,)).ok
    built(model, (3,))
    w, b, v, c = (p.value for p in model.parameters)
    a = batch()
    h = a + a @ w + b
    h = np.tanh(h)
    np.testing.assert_allclose(model(a), (h + h @ w + b) @ v + c, rtol=1e-13)


def test_a_graph_that_is_called_again_shares_its_weights():
    x, one, two = Input((3,)), Input((3,), name="left"), Input((3,), name="right")
    tower = Graph(x, Activation("tanh")(Dense(4)(x)))
    model = built(Graph([one, two], Dot()(tower(one), tower(two))))
    assert model.parameters.size == 16
    a, b = batch(), batch(seed=1)
    np.testing.assert_allclose(model(a, b), np.sum(tower(a) * tower(b), axis=1, keepdims=True))
    np.testing.assert_allclose(model(a, b), model(b, a))
    assert check_layer(model, ((3,), (3,))).ok


def test_a_graph_may_begin_at_any_node_and_shares_the_layers_of_the_larger_one():
    x = Input((6,), name="image")
    code = Dense(2)(Activation("tanh")(Dense(4)(x)))
    picture = Dense(6)(Activation("tanh")(Dense(4)(code)))
    whole = built(Graph(x, picture))
    encoder, decoder = Graph(x, code), Graph(code, picture)
    a = batch(5, 6)
    np.testing.assert_array_equal(decoder(encoder(a)), whole(a))
    whole.parameters.value += 0.25
    np.testing.assert_array_equal(decoder(encoder(a)), whole(a))
    # After the smaller graph is built, the vector of the larger one still moves both.
    value = whole.parameters.value
    value -= 0.5
    np.testing.assert_array_equal(decoder(encoder(a)), whole(a))


def test_several_outputs_of_a_layer_are_used_separately_or_together():
    x = Input((4,))
    first, second = Halves()(x)
    apart = Graph(x, Concatenate()(second, first))
    together = Graph(x, Concatenate()(Halves()(x)))
    a = batch(5, 4)
    np.testing.assert_array_equal(built(apart)(a), a[:, [2, 3, 0, 1]])
    np.testing.assert_array_equal(built(together)(a), a)
    for model in (apart, together):
        assert check_layer(model, (4,)).ok


def test_an_unused_output_gets_a_delta_of_zeros():
    x = Input((4,))
    model = built(Graph(x, Halves()(x)[1]))
    model.forward(batch(3, 4))
    delta = batch(3, 2)
    np.testing.assert_array_equal(model.backward(delta), np.hstack([np.zeros((3, 2)), delta]))
    assert check_layer(model, (4,)).ok


def test_unused_outputs_of_an_inner_graph_are_not_computed():
    a, x = Input((3,)), Input((3,))
    heads = Graph(a, [Dense(2)(a), Dense(1)(a)])
    for number, width in ((0, 2), (1, 1)):
        model = built(Graph(x, heads.unbuilt()(x)[number]))
        assert check_layer(model, (3,)).ok
        model.forward(batch())
        model.parameters.zero_grad()
        model.backward_parameters(np.ones((5, width)))
        grad = {p.path.rpartition("/")[2]: p.grad for p in model.parameters}
        assert np.any(grad[f"dense_{number + 1}.weights"])
        assert not np.any(grad[f"dense_{2 - number}.weights"])


def test_an_input_that_is_an_output_gets_the_delta_of_the_output():
    x = Input((3,))
    model = built(Graph(x, x))
    delta = batch()
    model.forward(batch())
    np.testing.assert_array_equal(model.backward(delta), delta)
    assert check_layer(Graph(x, [x, x]), (3,)).ok


def test_an_input_of_unused_nodes_gets_a_delta_of_zeros():
    a, b, p, q = (Input((3,)) for _ in range(4))
    inner = Graph([a, b], [a, Dense(3)(b)])
    model = built(Graph([p, q], inner(p, q)[1]))
    model.forward(batch(), batch())
    one, two = model.backward(batch())
    np.testing.assert_array_equal(one, np.zeros((5, 3)))
    assert np.any(two)
    assert check_layer(Graph([p, q], inner.unbuilt()(p, q)[1]), ((3,), (3,))).ok


def test_branches_that_no_output_needs_are_not_in_the_graph():
    x = Input((3,))
    h = Dense(2)(x)
    Dense(7)(h)
    assert [repr(layer) for layer in Graph(x, h)] == ["Dense(2)"]


# ------------------------------------------------------------------------------- how it is built


def test_inputs_with_a_shape_need_none_to_build():
    x = Input((3,))
    model = Graph(x, Dense(2)(x))
    model.build(rng=0, dtype="float32")
    assert (model.input_shape, model.output_shape, model.dtype) == ((3,), (2,), np.float32)


def test_inputs_without_a_shape_are_built_by_the_first_batch():
    x = Input()
    model = Graph(x, Dense(2)(x))
    assert model.forward(batch(5, 7).astype(np.float32)).dtype == np.float32
    assert model.input_shape == (7,)


def test_a_graph_of_elementwise_layers_takes_rows_of_any_shape_unless_its_input_says_one():
    free, bound = Input(), Input((3,))
    model = built(Graph(free, Activation("tanh")(free)), (3,))
    assert model(np.zeros((2, 5, 5))).shape == (2, 5, 5)
    with pytest.raises(ShapeError):
        built(Graph(bound, Activation("tanh")(bound)))(np.zeros((2, 4)))


def test_if_building_fails_the_generator_is_unchanged():
    x, rng = Input((3,)), np.random.default_rng(0)
    with pytest.raises(ShapeError):
        Graph(x, Add()(Dense(3)(x), Dense(4)(x))).build(rng=rng)
    assert rng.bit_generator.state == np.random.default_rng(0).bit_generator.state


def test_a_forward_that_returns_a_tuple_of_one_is_rejected():
    @define
    class One(Layer):
        def forward(self, x):
            return (2 * x,)

        def backward(self, delta):
            return 2 * delta

    x = Input((3,))
    refused(BuildError, lambda: Graph(x, Dense(2)(One()(x))).build(), "after the returned value")


def test_if_building_fails_every_layer_is_unchanged():
    x = Input((3,))
    first, last = Dense(4), Dense(2)
    model = Graph(x, last(Add()(first(x), x)))
    with pytest.raises(ShapeError):
        model.build()
    assert not any(layer.is_built for _, layer in model.walk())
    assert set(first.__dict__) == set(Dense(4).__dict__)


def test_ten_thousand_nodes_in_a_line_are_built_and_trained():
    x = node = Input((2,))
    for _ in range(MANY // 2):
        node = Activation("tanh")(Dense(2, initializer="orthogonal")(node))
    model = built(Graph(x, node))
    a, limit = batch(3, 2), sys.getrecursionlimit()
    model.forward(a)
    model.backward_parameters(np.ones((3, 2)))
    assert model.parameters.size == MANY // 2 * 6
    assert np.isfinite(model.parameters.grad).all()
    model.parameters.value -= 0.01 * model.parameters.grad
    twin = storage.loads(storage.dumps(model))
    np.testing.assert_array_equal(twin(a), model(a))
    assert twin == model and len(repr(model).splitlines()) == MANY + 2
    assert sys.getrecursionlimit() == limit


def test_a_value_may_go_to_ten_thousand_nodes():
    x = Input((1,))
    shared = Dense(1, initializer="ones")
    model = built(Graph(x, Add()(*(shared(x) for _ in range(MANY)))))
    model.forward(np.ones((1, 1)))
    np.testing.assert_allclose(model.backward(np.ones((1, 1))), [[MANY]])
    np.testing.assert_allclose(shared.weights.grad, [[MANY]])


# ------------------------------------------------------------------------------- as a value


def example():
    x, z = Input((3,), name="image"), Input((2,))
    h = Activation("tanh")(Dense(2)(x))
    return Graph([x, z], [Add()(h, z), Residual(Dense(2))(h)])


def test_the_repr_shows_each_call_and_its_inputs():
    assert repr(example()).splitlines() == [
        "Graph: image, input → add_1, residual_1",
        "    image         Input((3,), name='image')",
        "    input         Input((2,))",
        "    dense_1       Dense(2)(image)",
        "    activation_1  Activation('tanh')(dense_1)",
        "    add_1         Add()(activation_1, input)",
        "    residual_1    Residual(…)(activation_1)",
    ]
    assert "Dense(2)(image)              # (3,) → (2,), 8 parameters" in repr(built(example()))


def test_outputs_may_have_names_which_print_and_come_back():
    x = Input((3,))
    model = built(Graph(x, {"class_of_it": Dense(2)(x), "size": Dense(1)(x)}))
    assert model.output_names == ("class_of_it", "size")
    assert repr(model).startswith("Graph: input → class_of_it = dense_1, size = dense_2\n")
    assert storage.loads(storage.dumps(model)).output_names == ("class_of_it", "size")
    assert [y.shape for y in model(batch())] == [(5, 2), (5, 1)]
    refused(ConfigurationError, lambda: Graph(x, {"a b": Dense(2)(x)}), "'a b'")
    refused(ConfigurationError, lambda: Graph(x, {}), "no outputs")


def test_layers_are_found_by_name_and_in_order():
    model = example()
    assert model["dense_1"] == Dense(2) and len(model) == 4
    assert [type(layer).__name__ for layer in model] == ["Dense", "Activation", "Add", "Residual"]
    with pytest.raises(KeyError, match="dense_1, activation_1, add_1, residual_1"):
        model["dense_7"]


def test_graphs_are_equal_if_layers_and_wires_are():
    assert example() == example()
    x = Input((3,))
    h = Dense(2)
    assert Graph(x, h(x)) != Graph(x, [h(x), h(x)])
    assert Graph(x, Add()(x, h(x))) != Graph(x, Add()(h(x), x))
    assert Graph(x, h(x)) != Sequential([h])
    assert Sequential([h, h]) != Sequential([Dense(2), Dense(2)])
    assert Graph(x, Add()(h(x), h(x))) != Graph(x, Add()(h(x), Dense(2)(x)))


def test_custom_containers_are_compared_by_their_fields_too():
    @define(repr=False, eq=False)
    class Scaled(Composite):
        inner: Layer
        times: int = 2

        def calls(self, size):
            return [((0, ALL),)]

    assert Scaled(Dense(3), 2) == Scaled(Dense(3), 2)
    assert Scaled(Dense(3), 2) != Scaled(Dense(3), 5)
    assert Scaled(Dense(3), 2) != Scaled(Dense(4), 2)


def test_a_subclass_takes_what_a_graph_takes_and_prints_like_one():
    @define
    class Named(Graph):
        note: str = "x"

    x = Input((3,))
    assert repr(Named(x, Dense(2)(x))).startswith("Named: input → dense_1\n")
    assert Named(x, Dense(2)(x)) == Named(x, Dense(2)(x))


def test_the_repr_marks_a_repeated_layer():
    x, shared, bend = Input((4,)), Dense(4), Activation("tanh")
    model = built(Graph(x, [shared(shared(x)), bend(x), bend(Dense(3)(x))]))
    text = repr(model)
    assert "# the same as dense_1" in text and "# the same as activation_1" in text
    assert text.count("parameters") == 2


def test_inputs_and_layers_have_different_names():
    one, two = Input((3,), name="dense_1"), Input((3,), name="dense_1")
    refused(ConfigurationError, lambda: Graph([one, two], Add()(one, two)), "'dense_1'")
    refused(ConfigurationError, lambda: Graph(one, Dense(3)(one)), "dense_1_in")
    named, unnamed = Input((3,), name="input"), Input((3,))
    model = Graph([named, unnamed], Add()(named, unnamed))
    assert model.input_names(2) == ["input", "input_1"]


@pytest.mark.parametrize(
    "way",
    [
        copy.deepcopy,
        lambda model: pickle.loads(pickle.dumps(model)),
        lambda model: storage.loads(storage.dumps(model)),
        lambda model: model.twin(),
    ],
    ids=["deepcopy", "pickle", "file", "twin"],
)
def test_a_copy_computes_the_same_and_has_its_own_memory(way):
    model = built(example())
    inputs = (batch(), batch(5, 2, 1))
    model.forward(*inputs)
    other = way(model)
    for one, two in zip(model(*inputs), other(*inputs), strict=True):
        np.testing.assert_array_equal(one, two)
    with pytest.raises(BackwardBeforeForwardError):
        other.backward(tuple(batch(5, 2) for _ in range(2)))


def test_two_models_that_share_a_layer_do_not_share_its_memory():
    shared, x = Dense(3), Input((3,))
    one, two = built(Graph(x, shared(x))), Graph(x, Activation("sin")(shared(x)))
    built(two)
    a, b, delta = batch(), batch(seed=1), batch(seed=2)
    one.forward(a)
    two.forward(b)
    shared.weights.zero_grad()
    one.backward(delta)
    np.testing.assert_allclose(shared.weights.grad, a.T @ delta, rtol=1e-13)


def test_each_step_has_its_own_memory_and_the_layer_has_that_of_the_first():
    x = Input((3,))
    layer = Dense(2)
    model = built(Graph(x, [layer(x), layer(Activation("tanh")(x))]))
    a = batch()
    model.forward(a)
    assert layer.inputs is a
    one, two = (step.layer for step in model.plan.steps if type(step.layer) is Dense)
    assert one is layer and two is not layer
    np.testing.assert_array_equal(two.inputs, np.tanh(a))
    assert one.weights is two.weights
    model.forget()
    assert not hasattr(layer, "inputs")


def test_a_layer_that_is_used_alone_has_a_twin_in_the_graph():
    layer, x = Dense(1), Input((4,))
    layer.build((4,), rng=0)
    model = built(Graph(x, Activation("tanh")(layer(x))))
    own, others = batch(5, 4), batch(5, 4, 1)
    layer.forward(own)
    model.forward(others)
    layer.weights.zero_grad()
    layer.backward(np.ones((5, 1)))
    np.testing.assert_allclose(layer.weights.grad, own.sum(axis=0)[:, np.newaxis], rtol=1e-13)


def test_a_random_layer_in_two_places_draws_for_each():
    x, drop = Input((50,)), Dropout(0.5)
    model = built(Graph(x, [drop(x), drop(x)]))
    one, two = model.forward(np.ones((4, 50)))
    assert not np.array_equal(one, two)
    back = model.backward((np.ones((4, 50)), np.zeros((4, 50))))
    np.testing.assert_array_equal(back, one)


def test_values_are_released_after_their_last_use():
    held, alive = [], []

    @define
    class Watches(Layer):
        """Computes without remembering, and records its outputs."""

        def forward(self, x):
            alive.append(sum(ref() is not None for ref in held))
            y = x + 1.0
            held.append(weakref.ref(y))
            return y

        def backward(self, delta):
            return delta

    x = Input((2,))
    a = Watches()(x)
    b = Add()(Watches()(a), a)
    node = b
    for _ in range(5):
        node = Watches()(node)
    model = built(Graph(x, node))
    held.clear()
    model.forward(batch(3, 2))
    assert alive[-1] <= 2


def test_inference_from_many_threads_gives_what_one_gives():
    model = built(example())
    inputs = [(batch(seed=n), batch(5, 2, n + 100)) for n in range(64)]
    expected = [model(*pair) for pair in inputs]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda pair: model(*pair), inputs))
    for one, two in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one[0], two[0])
        np.testing.assert_array_equal(one[1], two[1])


# ------------------------------------------------------------------------------- what is refused


def refused(kind, make, *words):
    with pytest.raises(kind) as caught:
        make()
    for word in words:
        assert word in str(caught.value)
    return caught.value


def test_the_error_for_unequal_shapes_has_the_place_both_shapes_and_their_producers():
    x = Input((64,))
    block = Residual(Dense(32), Activation("relu"), Dense(31))
    h = Residual(Dense(32))(Dense(32)(x))
    error = refused(ShapeError, lambda: Graph(x, block(h)).build(), "projection=Dense")
    assert error.place == "graph/residual_2/add"
    assert error.received == (
        "(batch, 32) produced by residual_1/add, (batch, 31) produced by residual_2/dense_2"
    )
    y = Add()(Dense(4)(x), Dense(5)(x))
    error = refused(ShapeError, lambda: Graph(x, y).build((64,)), "Concatenate()")
    assert error.place == "graph/add_1"
    assert "(batch, 5) produced by dense_2" in error.received


def test_the_error_for_a_wrong_input_names_the_layer_before():
    x = Input(())
    error = refused(ShapeError, lambda: Graph(x, Dense(3)(Activation("tanh")(x))).build())
    assert error.place == "graph/dense_1"
    assert "produced by activation_1" in str(error.received)


def test_rows_without_the_shape_of_the_input_are_rejected():
    x, z = Input((3,), name="image"), Input((2,), name="tag")
    model = Graph([x, z], Concatenate()(x, z))
    error = refused(ShapeError, lambda: model.build((3,), (4,)), "(batch, 2)", "(batch, 4)")
    assert error.place == "graph/tag"
    refused(ShapeError, lambda: model.build((3,)), "image, tag")
    outer = Input((9,))
    inner = Graph(x, Dense(2)(x))
    error = refused(ShapeError, lambda: Graph(outer, inner(Dense(5)(outer))).build())
    assert error.place == "graph/graph_1/image"


def test_an_input_that_no_output_needs_is_rejected():
    x, z = Input((3,)), Input((2,), name="unused")
    error = refused(DefinitionError, lambda: Graph([x, z], Dense(2)(x)), "name='unused'")
    assert error.place == "inputs[1]"


def test_an_output_that_depends_on_no_input_is_rejected_with_the_path():
    x, z = Input((3,)), Input((2,), name="other")
    error = refused(
        DefinitionError, lambda: Graph(x, Dense(2)(Activation("tanh")(z))), "none of the inputs"
    )
    assert error.place == "Input((2,), name='other') → Activation('tanh') → Dense(2)"


def test_a_node_of_another_graph_is_rejected_with_the_path():
    x, z = Input((3,)), Input((3,), name="other")
    error = refused(DefinitionError, lambda: Graph(x, Add()(Dense(3)(x), z)), "of another graph")
    assert error.place == "Input((3,), name='other') → Add()"


def test_a_cycle_is_rejected_with_the_path():
    x = Input((3,))
    first = Dense(3)(x)
    last = Activation("tanh")(Add()(first, x))
    object.__setattr__(first, "sources", (last,))
    error = refused(DefinitionError, lambda: Graph(x, Dense(2)(last)), "depends on its own output")
    assert "Dense(3) → Add() → Activation('tanh')" in error.place


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda x: Graph(x, Dense(3)), "call the layer"),
        (lambda x: Graph(np.ones(3), Dense(3)(x)), "inputs must be nodes"),
        (lambda x: Graph([x, x], Dense(3)(x)), "twice"),
        (lambda x: Graph(x, [Dense(3)(x), 7]), "outputs[1]"),
    ],
)
def test_what_is_not_a_node_is_rejected(make, words):
    refused(DefinitionError, lambda: make(Input((3,))), words)


def test_empty_lists_are_rejected():
    x = Input((3,))
    refused(ConfigurationError, lambda: Graph([], Dense(3)(x)), "no inputs")
    refused(ConfigurationError, lambda: Graph(x, []), "no outputs")


def test_different_batch_sizes_are_rejected_before_any_arithmetic():
    x, z = Input((3,)), Input((2,))
    model = built(Graph([x, z], [Dense(2)(x), Dense(2)(z)]))
    refused(ShapeError, lambda: model.forward(batch(5, 3), batch(4, 2)), "(5, 3), (4, 2)")


def test_deltas_that_do_not_fit_the_outputs_are_rejected():
    x = Input((3,))
    model = built(Graph(x, [Dense(2)(x), Dense(1)(x)]))
    model.forward(batch())
    refused(ShapeError, lambda: model.backward(np.ones((5, 2))), "a tuple of 2 deltas")
    refused(ShapeError, lambda: model.backward((np.ones((5, 2)),)), "a tuple of 2 deltas")
    wrong = (np.ones((5, 2), np.float32), np.ones((5, 1), np.float32))
    refused(DtypeError, lambda: model.backward(wrong), "float64")


def test_a_second_build_is_rejected():
    refused(BuildError, lambda: built(example()).build(), "unbuilt")


def test_a_backward_that_forgets_an_input_is_named():
    @define
    class ForgetsOne(Layer):
        def forward(self, a, b):
            return a + b

        def backward(self, delta):
            return delta

    x = Input((3,))
    model = built(Graph(x, ForgetsOne()(x, Dense(3)(x))))
    model.forward(batch())
    error = refused(DefinitionError, lambda: model.backward(batch()), "a tuple of 2 arrays")
    assert error.place == "graph/forgets_one_1"


@pytest.mark.parametrize(
    ("sent", "words"),
    [(lambda d: None, "None: is the return missing?"), (lambda d: 2 * d[:, :1], "(5, 1)")],
)
@pytest.mark.parametrize("is_first", [True, False])
def test_a_backward_that_returns_nothing_or_too_little_is_named_at_a_fan_out(sent, words, is_first):
    @define
    class Wrong(Layer):
        def forward(self, x):
            return 2 * x

        def backward(self, delta):
            return sent(delta)

    x = Input((3,))
    h = Dense(3)(x)
    parts = [Wrong()(h), Activation("tanh")(h)]
    model = built(Graph(x, Add()(*(parts if is_first else parts[::-1]))))
    model.forward(batch())
    error = refused(ShapeError, lambda: model.backward(batch()), "Jᵀ Δ", words)
    assert error.place == "graph/wrong_1"


def test_an_error_inside_a_layer_says_in_which_place_and_for_what():
    @define
    class Fails(Layer):
        def forward(self, x):
            if len(x) == 3:
                raise ZeroDivisionError("three")
            return x

        def backward(self, delta):
            return delta

    x = Input((2,))
    model = built(Graph(x, Residual(Fails())(x)))
    with pytest.raises(ZeroDivisionError) as caught:
        model.forward(batch(3, 2))
    assert caught.value.__notes__ == [
        "in graph/residual_1/fails_1.forward, for inputs of shape (3, 2)"
    ]


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda: Graph(x := Input((3,)), Dense(2)(x)), "layers"),
        (lambda: Graph(x := Input((3,)), Dense(2)(x)), "wires"),
        (lambda: Residual(Dense(3)), "layers"),
        (lambda: Residual(Dense(3)), "projection"),
        (lambda: Branches([Dense(3)]), "merge"),
        (lambda: Sequential([Dense(3)]), "layers"),
    ],
)
def test_the_fields_of_a_container_cannot_be_changed(make, name):
    model = make()
    before = getattr(model, name)
    refused(ConfigurationError, lambda: setattr(model, name, ()), "make a new sequence or graph")
    assert getattr(model, name) is before
