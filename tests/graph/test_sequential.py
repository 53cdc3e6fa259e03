"""Sequential: the chain rule as a loop, for nested, shared and thousands of layers."""

from __future__ import annotations

import copy
import sys
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
from attrs import define
from hypothesis import given, settings

from chainrule import storage
from chainrule.core.errors import (
    BackwardBeforeForwardError,
    BuildError,
    ChainruleError,
    ConfigurationError,
    DefinitionError,
    ShapeError,
)
from chainrule.core.layer import Layer
from chainrule.graph.sequential import Sequential
from chainrule.layers.activation import Activation
from chainrule.layers.dense import Dense
from chainrule.layers.functions import LeakyRelu
from chainrule.layers.softmax import Softmax
from laws.unusual_layers import Dropout, Halves, Product, TwoPaths

DEEP = 5000


def built(model, *shapes, **how):
    model.build(*(shapes or ((3,),)), **{"rng": 0, **how})
    return model


def batch(rows=5, width=3, seed=0):
    return np.random.default_rng(seed).normal(size=(rows, width))


def network():
    return Sequential([Dense(4), Activation("tanh"), Dense(2), Activation("sigmoid")])


# ------------------------------------------------------------------------------- what it computes


def test_the_passes_are_those_of_the_layers_in_sequence():
    """Two dense layers with tanh and σ, by the formulas of the lecture."""
    model = built(network())
    w1, b1, w2, b2 = (parameter.value for parameter in model.parameters)
    x, delta = batch(), batch(width=2, seed=1)
    h = np.tanh(x @ w1 + b1)
    y = 1 / (1 + np.exp(-(h @ w2 + b2)))
    delta_2 = delta * y * (1 - y)
    delta_1 = delta_2 @ w2.T * (1 - h**2)
    close = {"rtol": 1e-13, "atol": 1e-15}
    np.testing.assert_allclose(model.forward(x), y, **close)
    np.testing.assert_allclose(model(x), y, **close)
    np.testing.assert_allclose(model.backward(delta), delta_1 @ w1.T, **close)
    gradients = [x.T @ delta_1, delta_1.sum(axis=0), h.T @ delta_2, delta_2.sum(axis=0)]
    np.testing.assert_allclose(
        model.parameters.grad, np.concatenate([g.ravel() for g in gradients]), **close
    )


layers = st.one_of(
    st.builds(Dense, st.integers(1, 4), use_bias=st.booleans()),
    st.sampled_from(["tanh", "gelu", "identity", "softplus"]).map(Activation),
    st.builds(Softmax),
)


def nested(data, flat):
    """The same layers, nested at random."""
    if len(flat) < 2 or data.draw(st.booleans()):
        return flat
    cut = data.draw(st.integers(1, len(flat) - 1))
    left, right = nested(data, flat[:cut]), nested(data, flat[cut:])
    return [Sequential(left), *right] if data.draw(st.booleans()) else [*left, Sequential(right)]


@given(st.data(), st.lists(layers, min_size=1, max_size=6), st.integers(0, 99))
def test_brackets_change_nothing_to_the_last_bit(data, flat, seed):
    one = built(Sequential(flat), rng=seed)
    other = built(
        Sequential(nested(data, copy.deepcopy([part.unbuilt() for part in flat]))), rng=seed
    )
    x = batch(seed=seed)
    np.testing.assert_array_equal(other.parameters.value, one.parameters.value)
    y = one.forward(x)
    np.testing.assert_array_equal(other.forward(x), y)
    np.testing.assert_array_equal(other(x), one(x))
    delta = np.random.default_rng(seed).normal(size=y.shape)
    np.testing.assert_array_equal(other.backward(delta), one.backward(delta))
    np.testing.assert_array_equal(other.parameters.grad, one.parameters.grad)
    assert (other.input_shape, other.output_shape) == (one.input_shape, one.output_shape)


def test_an_inner_sequence_knows_its_shapes_and_works_alone():
    inner = Sequential([Dense(4), Activation("tanh")])
    model = built(Sequential([inner, Dense(2)]))
    x = batch()
    assert (inner.input_shape, inner.output_shape, inner.dtype) == ((3,), (4,), np.float64)
    np.testing.assert_array_equal(model[1](inner(x)), model(x))
    y = inner.forward(x)
    inner.backward(np.ones_like(y))
    assert inner.parameters.value.base is model.parameters.value.base
    assert (inner.parameters.paths, model.parameters.paths[0]) == (
        ["dense_1.weights", "dense_1.biases"],
        "sequential_1/dense_1.weights",
    )
    # and it has not changed the memory of the outer sequence
    model.forward(x)
    inner.forward(2 * x)
    assert model.backward(np.ones((5, 2))).shape == (5, 3)


def test_the_first_layer_takes_several_inputs_and_the_last_gives_several_outputs():
    model = built(Sequential([Product(), Dense(5), Halves()]), (3,), (3,))
    assert (model.input_shapes, model.output_shapes) == (((3,), (3,)), ((2,), (3,)))
    a, b = batch(seed=1), batch(seed=2)
    left, right = model.forward(a, b)
    w, bias = (p.value for p in model.parameters)
    z = (a * b) @ w + bias
    np.testing.assert_array_equal(np.concatenate([left, right], axis=1), z)
    for one, other in zip(model(a, b), (left, right), strict=True):
        np.testing.assert_array_equal(one, other)
    delta = batch(width=5, seed=3)
    delta_a, delta_b = model.backward((delta[:, :2], delta[:, 2:]))
    np.testing.assert_allclose(delta_a, (delta @ w.T) * b, rtol=1e-14)
    np.testing.assert_allclose(delta_b, (delta @ w.T) * a, rtol=1e-14)


def test_several_outputs_go_into_a_layer_of_several_inputs():
    model = built(Sequential([Halves(), Product()]), (4,))
    x, delta = batch(width=4), batch(width=2, seed=1)
    np.testing.assert_array_equal(model.forward(x), x[:, :2] * x[:, 2:])
    np.testing.assert_array_equal(
        model.backward(delta), np.concatenate([delta * x[:, 2:], delta * x[:, :2]], axis=1)
    )


# ------------------------------------------------------------------------------- a layer twice


def test_a_layer_in_two_places_has_one_set_of_weights_whose_gradients_add_up():
    """y = tanh(x w) w: ∂C/∂w = hᵀ Δ + xᵀ ((Δ wᵀ) (1 − h²)), and likewise for a twin in brackets."""
    for bracket in (list, lambda inner: [Sequential(inner)]):
        shared = Dense(3, use_bias=False)
        model = built(Sequential([shared, *bracket([Activation("tanh"), shared])]))
        assert model.parameters.size == 9 and model.parameters.paths == ["dense_1.weights"]
        w, x, delta = shared.weights.value, batch(), batch(seed=1)
        h = np.tanh(x @ w)
        np.testing.assert_allclose(model.forward(x), h @ w, rtol=1e-14)
        inner = (delta @ w.T) * (1 - h**2)
        np.testing.assert_allclose(model.backward(delta), inner @ w.T, rtol=1e-13)
        np.testing.assert_allclose(
            shared.weights.grad, h.T @ delta + x.T @ inner, rtol=1e-13, atol=1e-14
        )
        assert model.layers.count(shared) >= 1


def test_layers_shared_through_containers_have_a_memory_for_each_use():
    """Alone and inside a container: the two uses must not overwrite each other's memory."""
    shared = Dense(3, use_bias=False)
    other = Dense(3, use_bias=False)
    model = built(Sequential([shared, TwoPaths(shared, other), TwoPaths(other, shared)]))
    assert model.parameters.size == 18
    w, v, x, delta = shared.weights.value, other.weights.value, batch(), batch(seed=1)
    a = x @ w
    b = a @ (w + v)
    np.testing.assert_allclose(model.forward(x), b @ (v + w), rtol=1e-13)
    delta_b = delta @ (v + w).T
    delta_a = delta_b @ (w + v).T
    np.testing.assert_allclose(model.backward(delta), delta_a @ w.T, rtol=1e-13)
    close = {"rtol": 1e-13, "atol": 1e-13}
    twice = b.T @ delta + a.T @ delta_b
    np.testing.assert_allclose(other.weights.grad, twice, **close)
    np.testing.assert_allclose(shared.weights.grad, twice + x.T @ delta_a, **close)


def test_models_that_share_layers_see_each_others_steps():
    encoder, decoder = Dense(2), Dense(3)
    whole = built(Sequential([encoder, Activation("tanh"), decoder]))
    turned = built(Sequential([decoder, encoder]), (2,))
    x = batch()
    for model in (whole, turned, whole, turned):
        before = encoder.weights.value.copy()
        theta = model.parameters.value
        theta += 1
        np.testing.assert_array_equal(encoder.weights.value, before + 1)
    flat = np.concatenate([encoder.weights.value.ravel(), encoder.biases.value])
    np.testing.assert_array_equal(whole.parameters.value[:8], flat)
    np.testing.assert_array_equal(turned.parameters.value[9:], flat)
    np.testing.assert_array_equal(
        whole(x),
        np.tanh(x @ encoder.weights.value + encoder.biases.value) @ decoder.weights.value
        + decoder.biases.value,
    )


def test_layers_that_are_built_already_keep_weights_and_memory_in_a_new_sequence():
    first, x = built(Dense(4)), batch()
    before = first.weights.value.copy()
    first.forward(x)
    model = built(Sequential([first, Dense(2)]))
    np.testing.assert_array_equal(model[0].weights.value, before)
    delta = batch(width=4, seed=1)
    np.testing.assert_array_equal(first.backward(delta), delta @ before.T)
    np.testing.assert_array_equal(first.weights.grad, x.T @ delta)
    with pytest.raises(ShapeError, match="wrong width"):
        Sequential([Dense(2), first]).build((3,))
    with pytest.raises(ChainruleError, match="does not have the dtype"):
        Sequential([first, Dense(2)]).build((3,), dtype="float32")


# ------------------------------------------------------------------------------- the first layer


class Counted(np.ndarray):
    """An array that counts the matrix products which it and its descendants go through."""

    products = 0

    def __array_ufunc__(self, ufunc, method, *inputs, out=None, **how):
        Counted.products += ufunc is np.matmul
        plain = [x.view(np.ndarray) if isinstance(x, Counted) else x for x in inputs]
        result = getattr(ufunc, method)(*plain, out=out, **how)
        return result.view(Counted) if isinstance(result, np.ndarray) and out is None else result

    def __array_function__(self, function, types, arguments, how):
        Counted.products += function is np.dot
        plain = [x.view(np.ndarray) if isinstance(x, Counted) else x for x in arguments]
        result = function(*plain, **how)
        return result if how.get("out") is not None else np.asarray(result).view(Counted)


def products(call, delta):
    Counted.products = 0
    call(delta.view(Counted))
    return Counted.products


def plain(units):
    """A dense layer whose only matrix products are those with w: one or two in backward."""
    return Dense(units, use_bias=False)


@pytest.mark.parametrize(
    ("layers", "needed"),
    [
        ([plain(2)], 1),
        ([plain(4), Activation("tanh"), plain(2)], 3),
        ([Activation("tanh"), plain(4), plain(2)], 3),
        ([Sequential([Activation("tanh"), Sequential([plain(4)])]), plain(2)], 3),
    ],
)
def test_the_first_layer_with_parameters_does_not_compute_the_delta_of_the_data(layers, needed):
    model = built(Sequential(layers))
    delta = batch(width=2)
    model.forward(batch(seed=1))
    model.parameters.zero_grad()
    everything = products(model.backward, delta)
    gradient = model.parameters.grad.copy()
    model.parameters.zero_grad()
    assert products(model.backward_parameters, delta) == needed
    assert everything == needed + 1
    np.testing.assert_array_equal(model.parameters.grad, gradient)


def test_training_runs_no_backward_before_the_first_parameters():
    @define
    class OneWay(Layer):
        def forward(self, x):
            return +x

        def backward(self, delta):
            raise AssertionError("this must not be computed")

    model = built(Sequential([OneWay(), Dense(2)]))
    model.forward(batch())
    assert model.backward_parameters(np.ones((5, 2))) is None
    without = built(Sequential([OneWay()]))
    without.forward(batch())
    without.backward_parameters(np.ones((5, 3)))


# ------------------------------------------------------------------------------- many layers


@pytest.fixture(scope="module")
def in_each_other():
    """A network in five thousand nested sequences."""
    model = network()
    for _ in range(DEEP):
        model = Sequential([model])
    return built(model)


@pytest.fixture(scope="module")
def in_a_line():
    """Five thousand layers, a tenth of them dense, whose values neither die out nor blow up."""
    dense = Dense(3, initializer="orthogonal", use_bias=False)
    parts = [dense, *[Activation("identity")] * 9]
    return built(Sequential([parts[n % 10].unbuilt() for n in range(DEEP)]))


def test_five_thousand_nested_sequences_are_no_problem(in_each_other):
    flat, x = built(network()), batch()
    np.testing.assert_array_equal(in_each_other.parameters.value, flat.parameters.value)
    np.testing.assert_array_equal(in_each_other.forward(x), flat.forward(x))
    np.testing.assert_array_equal(in_each_other(x), flat(x))
    delta = np.ones((5, 2))
    np.testing.assert_array_equal(in_each_other.backward(delta), flat.backward(delta))
    np.testing.assert_array_equal(in_each_other.parameters.grad, flat.parameters.grad)


def test_five_thousand_layers_in_sequence_run_forward_and_backward(in_a_line):
    x = batch()
    y = in_a_line.forward(x)
    np.testing.assert_array_equal(in_a_line(x), y)
    # A product of orthogonal matrices is one: it keeps lengths, and so does its transpose.
    np.testing.assert_allclose(np.linalg.norm(y, axis=1), np.linalg.norm(x, axis=1), rtol=1e-11)
    back = in_a_line.backward(y)
    np.testing.assert_allclose(back, x, rtol=0, atol=1e-11)
    assert len(in_a_line.parameters) == DEEP // 10


@pytest.mark.parametrize("name", ["in_each_other", "in_a_line"])
def test_five_thousand_layers_are_printed_compared_copied_and_stored(name, request, tmp_path):
    model, x = request.getfixturevalue(name), batch()
    assert sys.getrecursionlimit() < DEEP
    y = model(x)
    copied = copy.deepcopy(model)
    assert copied == model
    np.testing.assert_array_equal(copied(x), y)
    assert len(copied.parameters) == len(model.parameters)
    text = repr(model)
    assert text.count("Sequential([") == sum(isinstance(p, Sequential) for _, p in model.walk())
    model.save(tmp_path / "model.safetensors")
    loaded = storage.load(tmp_path / "model.safetensors")
    assert loaded == model
    np.testing.assert_array_equal(loaded(x), y)


def test_an_error_in_five_thousand_nested_sequences_has_its_place(in_each_other):
    with pytest.raises(ShapeError, match="wrong width"):
        in_each_other.forward(np.ones((2, 4)))
    with pytest.raises(ShapeError) as caught:
        in_each_other.unbuilt().build(())
    assert caught.value.place.endswith("/sequential_1/dense_1")


# ------------------------------------------------------------------------------- as a container


def test_layers_are_reached_by_number_name_and_slice():
    model = built(network())
    assert len(model) == 4 and list(model) == list(model.layers)
    assert model[0] is model["dense_1"] is model.layers[0] and model[-1] is model["activation_2"]
    part = model[1:3]
    assert type(part) is Sequential and part.layers == model.layers[1:3]
    assert part[1].weights is model[2].weights
    model.forward(batch())
    x = batch(width=4)
    np.testing.assert_array_equal(part(x), model[2](np.tanh(x)))
    assert model.backward(np.ones((5, 2))).shape == (5, 3)  # the part is used, nothing is lost
    assert part.parameters.value.base is model.parameters.value.base
    with pytest.raises(KeyError, match=r"no layer 'dense_3'.*dense_1"):
        model["dense_3"]
    with pytest.raises(IndexError):
        model[4]
    with pytest.raises(ConfigurationError, match="contains no layers"):
        model[4:]


def test_any_iterable_of_layers_will_do():
    expected = Sequential([Dense(2), Softmax()])
    assert Sequential((Dense(2), Softmax())) == expected
    assert Sequential(layer for layer in expected) == expected
    assert Sequential(expected.layers) == expected


def test_sequences_are_equal_if_their_layers_are():
    assert network() == network() == built(network())
    assert network() != Sequential(network().layers[:-1])
    assert Sequential([network()]) == Sequential([network()]) != network()
    for other in (5, None, "Sequential", [Dense(2)], Dense(2), object()):
        assert Sequential([Dense(2)]) != other
        assert not Sequential([Dense(2)]) == other  # noqa: SIM201 - it is == that is tested
    assert Dense(2) != Sequential([Dense(2)])
    with pytest.raises(TypeError, match="unhashable"):
        hash(network())


@define(repr=False, eq=False)
class Perceptron(Sequential):
    """A sequence with another name."""


def test_a_subclass_compares_prints_and_computes_like_a_sequence():
    parts = [Dense(4), Activation("tanh"), Dense(2)]
    model = Perceptron([part.unbuilt() for part in parts])
    assert repr(model) == "Perceptron([Dense(4), Activation('tanh'), Dense(2)])"
    assert model == Perceptron(parts) != Sequential(parts)
    x = batch()
    inside = Sequential([model, Softmax()])
    assert inside == Sequential([Perceptron(parts), Softmax()]) and "Perceptron([" in repr(inside)
    expected = built(Sequential([*parts, Softmax()]))
    np.testing.assert_array_equal(built(inside)(x), expected(x))
    delta = np.ones((5, 2))
    expected.forward(x)
    inside.forward(x)
    np.testing.assert_array_equal(inside.backward(delta), expected.backward(delta))
    np.testing.assert_array_equal(inside.parameters.grad, expected.parameters.grad)


sequences = st.recursive(
    layers | st.just(Activation(LeakyRelu(0.2))),
    lambda inner: st.lists(inner, min_size=1, max_size=4).map(Sequential),
    max_leaves=10,
).map(lambda layer: layer if isinstance(layer, Sequential) else Sequential([layer]))


@given(sequences, st.booleans())
@settings(max_examples=50)
def test_the_repr_is_the_python_that_makes_the_model(model, is_built):
    if is_built:
        built(model)
    assert eval(repr(model)) == model
    assert str(model) == repr(model)


def test_the_repr_of_a_built_model_shows_shapes_and_parameters():
    model = Sequential([Dense(30), Sequential([Activation("tanh"), Dense(10)])])
    assert repr(model) == "Sequential([Dense(30), Sequential([Activation('tanh'), Dense(10)])])"
    assert repr(built(model, (64,))).splitlines() == [
        "Sequential([",
        "    Dense(30),               # (64,) → (30,), 1,950 parameters",
        "    Sequential([",
        "        Activation('tanh'),  # (30,) → (30,)",
        "        Dense(10),           # (30,) → (10,), 310 parameters",
        "    ]),",
        "])",
    ]


# ------------------------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    ("item", "hint"),
    [
        (Dense, "create an instance: Dense(…)"),
        ("tanh", "Activation('tanh')"),
        ([Dense(2)], "make the list a layer: Sequential([…])"),
        (
            np.tanh,
            "Activation(function, derivative), or your own layer: class Model(Formula) needs only "
            "its forward",
        ),
        (30, None),
        (None, None),
    ],
)
def test_something_that_is_not_a_layer_is_rejected_with_its_number(item, hint):
    with pytest.raises(DefinitionError, match="item 1 of the list is not a layer") as caught:
        Sequential([Dense(3), item])
    assert caught.value.place == "sequential[1]" and caught.value.hint == hint


@pytest.mark.parametrize("layers", [Dense(3), 3, None])
def test_layers_without_brackets_are_rejected(layers):
    with pytest.raises(DefinitionError, match="in one list"):
        Sequential(layers)


def test_an_empty_list_is_rejected():
    with pytest.raises(ConfigurationError, match="contains no layers"):
        Sequential([])


@define
class Widens(Layer):
    """Has a row for each row, but not of the width that it had for two rows or none."""

    def forward(self, x):
        return np.ones_like(x, shape=(len(x), 3 + (len(x) > 2)))

    def backward(self, delta):
        return delta[:, :3]


def test_a_wrong_shape_between_layers_has_its_place_and_its_producer():
    model = Sequential([Dense(3), Sequential([Activation("tanh"), Dense(4)]), Product()])
    with pytest.raises(BuildError) as caught:
        model.build((3,))
    assert caught.value.place == "sequential/product_1"
    model = built(Sequential([Dense(3), Sequential([Widens(), Dense(2)])]))
    for call in (model.forward, model.apply):
        with pytest.raises(ShapeError) as caught:
            call(batch())
        assert caught.value.place == "sequential/sequential_1/dense_1"
        assert caught.value.expected == "(batch, …, 3)"
        assert caught.value.received == "(5, 4), produced by sequential_1/widens_1"


def test_a_wrong_shape_in_the_backward_pass_has_its_place_and_its_producer():
    @define
    class Narrows(Layer):
        def forward(self, x):
            return +x

        def backward(self, delta):
            return delta[:, 1:]

    model = built(Sequential([Dense(3), Narrows()]))
    model.forward(batch())
    with pytest.raises(ShapeError) as caught:
        model.backward(batch())
    assert caught.value.place == "sequential/narrows_1"
    assert (caught.value.expected, caught.value.received) == ((5, 3), "an array of shape (5, 2)")


def test_backward_names_a_layer_that_was_used_or_has_forgotten_since_forward():
    model, delta = built(network()), np.ones((5, 2))
    model.forward(batch())
    model[0].forget()
    with pytest.raises(BackwardBeforeForwardError) as caught:
        model.backward(delta)
    assert caught.value.place == "sequential/dense_1"
    for other in (batch(2, 4), batch(5, 4)):  # a batch of the same size would go unseen
        model.forward(batch())
        model[1].forward(other)
        for way in (model.backward, model.backward_parameters):
            with pytest.raises(BackwardBeforeForwardError, match=r"layer\.twin\(\)") as caught:
                way(delta)
            assert caught.value.place == "sequential/activation_1"
    model.forward(batch())
    model[1].twin().forward(batch(2, 4))
    model(batch(3))
    model.backward(delta)


def test_a_place_is_listed_from_the_outside_in():
    @define
    class Block(Layer):
        body: Any

        def forward(self, x):
            return self.body.forward(x)

        def backward(self, delta):
            return self.body.backward(delta)

    model = Sequential([Dense(3), Block(Sequential([Activation("tanh"), Fails()]))])
    with pytest.raises(ShapeError) as caught:
        model.build((3,))
    assert caught.value.place == "sequential/block_1/sequential/fails_1"


@define
class Fails(Layer):
    def forward(self, x):
        raise ShapeError("no")


def test_random_layers_in_a_sequence_draw_from_their_own_generators():
    model = built(Sequential([Dropout(), Sequential([Dropout()])]))
    x = np.ones((50, 3))
    model.forward(x)
    one, two = (step.layer for step in model.plan.steps)
    assert not np.array_equal(one.mask, two.mask)
    np.testing.assert_array_equal(model(x), x)


@pytest.mark.peers
@given(
    widths=st.lists(st.integers(1, 6), min_size=1, max_size=4),
    names=st.lists(st.sampled_from(["tanh", "sigmoid", "relu"]), min_size=4, max_size=4),
    use_bias=st.booleans(),
    rows=st.integers(1, 6),
    seed=st.integers(0, 999),
)
@settings(max_examples=50)
def test_networks_give_the_values_and_gradients_of_pytorch(widths, names, use_bias, rows, seed):
    import torch

    ours, theirs = [], []
    n_in = 3
    for width, name in zip(widths, names, strict=False):
        ours += [Dense(width, use_bias=use_bias, bias_initializer="normal"), Activation(name)]
        linear = torch.nn.Linear(n_in, width, bias=use_bias, dtype=torch.float64)
        theirs += [
            linear,
            {"tanh": torch.nn.Tanh, "sigmoid": torch.nn.Sigmoid}.get(name, torch.nn.ReLU)(),
        ]
        n_in = width
    model = built(Sequential([*ours, Softmax()]), rng=seed)
    peer = torch.nn.Sequential(*theirs, torch.nn.Softmax(dim=-1))
    with torch.no_grad():
        for mine, their in zip(model.parameters, peer.parameters(), strict=True):
            their.copy_(torch.tensor(mine.value.T))
    x, delta = batch(rows, seed=seed), batch(rows, n_in, seed + 1)
    inputs = torch.tensor(x, requires_grad=True)
    outputs = peer(inputs)
    outputs.backward(torch.tensor(delta))
    close = {"rtol": 1e-12, "atol": 1e-12}
    np.testing.assert_allclose(model.forward(x), outputs.detach().numpy(), **close)
    np.testing.assert_allclose(model.backward(delta), inputs.grad.numpy(), **close)
    for mine, their in zip(model.parameters, peer.parameters(), strict=True):
        np.testing.assert_allclose(mine.grad.T, their.grad.numpy(), **close)
