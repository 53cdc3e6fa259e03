"""Graphs drawn at random keep every law, and give the gradients of PyTorch's autograd."""

from __future__ import annotations

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

from chainrule import Dual, Graph, Input, Sequential, check_layer, derivatives, storage
from chainrule.graph.plan import Plan
from laws.random_graphs import as_graph, drawings, in_torch, own_parameters, random_inputs
from laws.test_every_layer import layers

seeds = st.integers(0, 2**32 - 1)


def built(drawing, seed=0):
    model = as_graph(drawing)
    model.build(*[(drawing.width,)] * drawing.inputs, rng=seed)
    model.parameters.value += np.random.default_rng(seed).normal(size=model.parameters.size) / 3
    return model


def as_tuple(y):
    return y if isinstance(y, tuple) else (y,)


def deltas_like(y, seed):
    rng = np.random.default_rng(seed)
    found = tuple(rng.normal(size=part.shape) for part in as_tuple(y))
    return found if isinstance(y, tuple) else found[0]


@given(drawing=drawings(), rng=seeds)
@settings(max_examples=25)
def test_a_random_graph_keeps_every_law(drawing, rng):
    shapes = tuple((drawing.width,) for _ in range(drawing.inputs))
    assert check_layer(as_graph(drawing), shapes, rng=rng).ok


@pytest.mark.peers
@given(drawing=drawings(), seed=seeds)
@settings(max_examples=150)
def test_gradients_are_those_of_pytorch(torch, drawing, seed):
    model = built(drawing, seed)
    places = own_parameters(drawing, model)
    x = random_inputs(drawing, 3, seed)
    y = model.forward(*x)
    delta = deltas_like(y, seed)
    model.parameters.zero_grad()
    dx = model.backward(delta)

    def theirs(x):
        """The outputs, the deltas of the inputs and all gradients, in PyTorch."""
        tensors = {}

        def parameters(key, rows, columns):
            if key not in tensors:
                if key in places:
                    pair = (places[key].weights.value, places[key].biases.value)
                else:  # of a call that no output needs
                    pair = (np.zeros((rows, columns)), np.zeros(columns))
                tensors[key] = [torch.tensor(np.array(p), requires_grad=True) for p in pair]
            return tensors[key]

        inputs = [torch.tensor(a, requires_grad=True) for a in x]
        outputs = in_torch(torch, drawing, inputs, parameters)
        torch.autograd.backward(outputs, [torch.tensor(d) for d in as_tuple(delta)])
        learned = [tensor for key in places for tensor in tensors[key]]
        return [
            *(output.detach().numpy() for output in outputs),
            *(np.zeros(t.shape) if t.grad is None else t.grad.numpy() for t in (*inputs, *learned)),
        ]

    learned = [p for layer in places.values() for p in (layer.weights, layer.biases)]
    ours = [*as_tuple(y), *as_tuple(dx), *(p.grad for p in learned)]
    # Some graphs amplify rounding, and each processor rounds in its own way: so much that PyTorch
    # departs from itself when the inputs differ in the last digits.
    expected, rng = theirs(x), np.random.default_rng(seed)
    near = [theirs([a * (1 + 1e-15 * rng.uniform(-1, 1, a.shape)) for a in x]) for _ in range(2)]
    for number, (one, other) in enumerate(zip(ours, expected, strict=True)):
        spread = max((np.max(np.abs(n[number] - other), initial=0) for n in near), default=0)
        np.testing.assert_allclose(one, other, rtol=1e-10, atol=1e-12 + 100 * spread)
    assert sum(p.size for p in learned) == model.parameters.size


@given(drawing=drawings(), seed=seeds)
@settings(max_examples=25)
def test_jvp_and_hvp_are_differences(drawing, seed):
    model = built(drawing, seed)
    rng = np.random.default_rng(seed)
    x = random_inputs(drawing, 2, seed)
    size = model.parameters.size
    v = rng.normal(size=size)
    dx = tuple(rng.normal(size=a.shape) for a in x)
    y, dy = derivatives.jvp(model, x, dx, v)
    h = 1e-6

    def at(step):
        moved = model.unbuilt()
        moved.build(*model.input_shapes, rng=0)
        moved.parameters.value = model.parameters.value + step * v
        return moved, tuple(a + step * b for a, b in zip(x, dx, strict=True))

    prefetch, behind = (m.apply(*a) for m, a in (at(h), at(-h)))
    for own, up, down in zip(as_tuple(dy), as_tuple(prefetch), as_tuple(behind), strict=True):
        difference = (up - down) / (2 * h)
        np.testing.assert_allclose(own, difference, rtol=1e-6, atol=1e-7 * (1 + abs(up).max()))

    class Linear:
        """C = ⟨u, y⟩ + ½ ⟨y, y⟩, of all outputs."""

        def delta(self, y, t, sample_weights=None):
            found = tuple(u + part for u, part in zip(as_tuple(t), as_tuple(y), strict=True))
            return found if isinstance(y, tuple) else found[0]

    u = deltas_like(y, seed + 1)
    product = derivatives.hvp(model, Linear(), x, u, v)
    gradients = []
    for step in (h, -h):
        moved, _ = at(step)
        moved.forward(*x)
        moved.parameters.zero_grad()
        moved.backward(Linear().delta(moved.apply(*x), u))
        gradients.append(moved.parameters.grad.copy())
    difference = (gradients[0] - gradients[1]) / (2 * h)
    size = 1 + abs(gradients[0]).max(initial=0)
    np.testing.assert_allclose(product, difference, rtol=1e-5, atol=1e-6 * size)


@given(drawing=drawings(), seed=seeds)
@settings(max_examples=25)
def test_jacobians_give_the_products(drawing, seed):
    model = built(drawing, seed)
    rng = np.random.default_rng(seed)
    x = random_inputs(drawing, 3, seed)
    dx = tuple(rng.normal(size=a.shape) for a in x)
    v = rng.normal(size=model.parameters.size)
    dy = as_tuple(derivatives.jvp(model, x, dx, v)[1])
    by_input = derivatives.jacobian(model, x)
    by_input = by_input if len(dy) > 1 else (by_input,)
    by_parameters = as_tuple(derivatives.jacobian(model, x, with_respect_to="parameters"))
    for own, one, two in zip(dy, map(as_tuple, by_input), by_parameters, strict=True):
        pairs = list(zip(one, dx, strict=True))
        moved = two @ v + sum(np.einsum("sij,sj->si", j, d) for j, d in pairs)
        size = abs(two) @ abs(v) + sum(np.einsum("sij,sj->si", abs(j), abs(d)) for j, d in pairs)
        np.testing.assert_array_less(abs(own - moved), 1e-12 * (size + 1))


@given(drawing=drawings(), seed=seeds)
@settings(max_examples=25)
def test_gradients_of_derivatives_are_second_derivatives_of_forward(drawing, seed):
    model = built(drawing, seed)
    rng = np.random.default_rng(seed)
    x = random_inputs(drawing, 2, seed)
    v, w = (tuple(rng.normal(size=a.shape) for a in x) for _ in range(2))
    w_theta = rng.normal(size=model.parameters.size)
    moving = tuple(Dual(a, b) for a, b in zip(x, v, strict=True))
    y, dy = derivatives.jvp(model, moving, w, w_theta)
    delta = deltas_like(y, seed + 1)
    _, back, gradient = derivatives.vjp(model, moving, delta)
    terms = [part * d.tangent for part, d in zip(as_tuple(delta), as_tuple(dy), strict=True)]
    terms += [-part * d.tangent for part, d in zip(w, as_tuple(back), strict=True)]
    terms.append(-w_theta * gradient.tangent)
    total = sum(term.sum() for term in terms)
    assert abs(total) <= 1e-12 * (1 + sum(abs(term).sum() for term in terms))


@given(drawing=drawings(), seed=seeds)
@settings(max_examples=40)
def test_what_training_asks_for_is_what_backward_gives(drawing, seed):
    model = built(drawing, seed)
    x = random_inputs(drawing, 3, seed)
    delta = deltas_like(model.forward(*x), seed)
    gradients = []
    for way in (model.backward, model.backward_parameters):
        model.parameters.zero_grad()
        way(delta)
        gradients.append(model.parameters.grad.copy())
    np.testing.assert_allclose(*gradients, rtol=1e-12, atol=1e-14)


@given(drawing=drawings(), seed=seeds)
@settings(max_examples=25)
def test_apply_and_one_step_at_a_time_give_what_forward_and_backward_give(drawing, seed):
    model = built(drawing, seed)
    x = random_inputs(drawing, 3, seed)
    y = model.forward(*x)
    delta = deltas_like(y, seed)
    model.parameters.zero_grad()
    dx = as_tuple(model.backward(delta))
    gradient = model.parameters.grad.copy()
    for one, two in zip(as_tuple(model.apply(*x)), as_tuple(y), strict=True):
        np.testing.assert_array_equal(one, two)
    plan = Plan.of(model)
    values = dict(zip(plan.inputs, x, strict=True))
    for step, _, made in plan.steps_forward(x):
        values.update(zip(step.makes, made, strict=True))
    for slot, part in zip(plan.outputs, as_tuple(y), strict=True):
        np.testing.assert_array_equal(values[slot], part)
    model.parameters.zero_grad()
    for _ in plan.steps_backward(delta):
        pass
    np.testing.assert_array_equal(model.parameters.grad, gradient)
    assert len(dx) == drawing.inputs


@given(drawing=drawings(depth=2), seed=seeds)
@settings(max_examples=25)
def test_a_graph_comes_back_from_its_file(drawing, seed):
    model = built(drawing, seed)
    copy = storage.loads(storage.dumps(model))
    assert copy == model
    assert repr(copy) == repr(model)
    x = random_inputs(drawing, 3, seed)
    for one, two in zip(as_tuple(copy(*x)), as_tuple(model(*x)), strict=True):
        np.testing.assert_array_equal(one, two)


@given(parts=st.lists(layers, min_size=1, max_size=5), width=st.integers(1, 5), seed=seeds)
@settings(max_examples=40)
def test_the_graph_of_a_chain_is_the_sequence_bit_for_bit(parts, width, seed):
    node = x = Input((width,))
    for layer in parts:
        node = layer(node)
    graph, sequence = Graph(x, node), Sequential(parts).unbuilt()
    for model in (graph, sequence):
        model.build((width,), rng=seed)
    batch = np.random.default_rng(seed).normal(size=(4, width))
    y = graph.forward(batch)
    np.testing.assert_array_equal(y, sequence.forward(batch))
    delta = deltas_like(y, seed)
    np.testing.assert_array_equal(graph.backward(delta), sequence.backward(delta))
    np.testing.assert_array_equal(graph.parameters.grad, sequence.parameters.grad)
    assert graph.parameters.paths == sequence.parameters.paths
