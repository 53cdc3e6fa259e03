"""Attention: numbers by hand, the formula entry by entry, masks, the laws, and PyTorch."""

from __future__ import annotations

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

from chainrule import (
    Dense,
    Graph,
    Input,
    MultiHeadAttention,
    PositionalEncoding,
    Sequential,
    check_layer,
    derivatives,
    explain,
    load,
    losses,
)
from chainrule.core.errors import BuildError, ConfigurationError, ShapeError
from chainrule.layers import attention as module

small = st.integers(1, 4)
CLOSE = {"rtol": 1e-12, "atol": 1e-12}


def built(layer, *shapes, rng=0, dtype=None):
    layer.build(*shapes, rng=rng, dtype=dtype)
    noise = np.random.default_rng(7)
    for parameter in layer.parameters:  # the biases too
        parameter.value = noise.normal(size=parameter.shape) / np.sqrt(parameter.shape[-1])
    return layer


def one_head(width=2, **how):
    """One head that passes everything on: all weights are the identity."""
    layer = MultiHeadAttention(1, **how)
    layer.build((3, width), rng=0)
    for role in ("query", "key", "value", "output"):
        getattr(layer, f"{role}_weights").value = np.eye(width)
    return layer


def entry_by_entry(layer, query, keys, mask):
    """The formula of the docstring, one query and one head at a time."""
    p = {path: parameter.value for path, parameter in layer.parameters._named.items()}
    result = np.zeros((len(query), query.shape[1], p["output_weights"].shape[1]))
    width = p["query_weights"].shape[1] // layer.heads
    for row in range(len(query)):
        q, k, v = (
            x[row] @ p[f"{role}_weights"] + p[f"{role}_biases"]
            for role, x in (("query", query), ("key", keys), ("value", keys))
        )
        for i in range(len(q)):
            used = [
                j
                for j in range(len(k))
                if (not layer.causal or j <= i)
                and (mask is None or (mask[row, j] if mask.ndim == 2 else mask[row, i, j]))
            ]
            if not used:
                continue
            heads = []
            for h in range(layer.heads):
                part = slice(h * width, (h + 1) * width)
                weight = [np.exp(q[i, part] @ k[j, part] / np.sqrt(width)) for j in used]
                mean = sum(w * v[j, part] for w, j in zip(weight, used, strict=True))
                heads.append(mean / sum(weight))
            result[row, i] = np.concatenate(heads) @ p["output_weights"] + p["output_biases"]
    return result


@st.composite
def cases(draw):
    """A layer, and inputs for it: self- or cross-attention, causal or not, every kind of mask."""
    heads, width, batch = draw(small), draw(small), draw(small)
    units = draw(st.none() | small.map(lambda n: n * heads))
    width = width if units else width * heads
    queries, keys, other = draw(small), draw(small), draw(small)
    rng = np.random.default_rng(draw(st.integers(0, 999)))
    inputs = [rng.normal(size=(batch, queries, width))]
    kind = draw(st.sampled_from(["self", "cross", "keys", "pairs"]))
    if kind != "self":
        inputs.append(rng.normal(size=(batch, keys, other)))
    if kind == "keys":
        inputs.append(rng.integers(0, 2, (batch, keys)))
    if kind == "pairs":
        inputs.append(rng.integers(0, 2, (batch, queries, keys)).astype(bool))
    layer = MultiHeadAttention(heads, units, draw(st.booleans()))
    return built(layer, *(x.shape[1:] for x in inputs)), inputs


# ------------------------------------------------------------------------------- by hand


def test_two_entries_by_hand():
    """Scores (√2 ln 2, 0) / √2 = (ln 2, 0) weigh the two values 2 : 1."""
    layer = one_head()
    u = np.sqrt(np.sqrt(2) * np.log(2))
    x = np.array([[[u, 0.0], [0.0, 0.0]]])
    y = layer.forward(x)
    np.testing.assert_allclose(layer.attention[0, 0], [[2 / 3, 1 / 3], [1 / 2, 1 / 2]], **CLOSE)
    np.testing.assert_allclose(y, [[[2 * u / 3, 0], [u / 2, 0]]], **CLOSE)
    # Only Δ = (3, 0) for the first entry. Of its share of the values 2 and 1; by the scores,
    # S = a (Δ·v − mean) = (2/3 · u, −1/3 · 2 u) and both q and k get u S / √2.
    layer.backward(np.array([[[3.0, 0.0], [0.0, 0.0]]]))
    np.testing.assert_allclose(layer.output_biases.grad, [3, 0], **CLOSE)
    np.testing.assert_allclose(layer.value_biases.grad, [3, 0], **CLOSE)
    np.testing.assert_allclose(layer.key_biases.grad, [0, 0], **CLOSE)
    slope = 2 / 3 * (3 * u - 2 * u)
    np.testing.assert_allclose(layer.query_biases.grad, [slope * u / np.sqrt(2), 0], **CLOSE)


def test_equal_keys_give_the_mean_of_the_values():
    layer = one_head()
    layer.key_weights.value = np.zeros((2, 2))
    x = np.arange(6.0).reshape(1, 3, 2)
    np.testing.assert_allclose(layer(x)[0], [x[0].mean(0)] * 3, **CLOSE)


def test_a_causal_entry_sees_only_itself_and_those_before():
    layer = one_head(causal=True)
    layer.key_weights.value = np.zeros((2, 2))
    x = np.arange(6.0).reshape(1, 3, 2)
    np.testing.assert_allclose(layer(x)[0], [[0, 1], [1, 2], [2, 3]], **CLOSE)
    layer.forward(x)
    np.testing.assert_array_equal(np.triu(layer.attention[0, 0], 1), np.zeros((3, 3)))


# ------------------------------------------------------------------------------- the formula


@given(case=cases())
@settings(max_examples=80)
def test_forward_is_the_formula_entry_by_entry(case):
    layer, inputs = case
    mask = inputs[2] if len(inputs) == 3 else None
    expected = entry_by_entry(layer, inputs[0], inputs[:2][-1], mask)
    np.testing.assert_allclose(layer.forward(*inputs), expected, **CLOSE)
    np.testing.assert_array_equal(layer.apply(*inputs), layer.forward(*inputs))


@given(case=cases(), seed=st.integers(0, 99))
@settings(max_examples=40)
def test_backward_is_the_transpose_of_what_dual_numbers_compute(case, seed):
    layer, inputs = case
    rng = np.random.default_rng(seed)
    moves = [rng.normal(size=x.shape) for x in inputs[:2]]
    zeros = [np.zeros(mask.shape) for mask in inputs[2:]]
    given_inputs = tuple(np.asarray(x, float) for x in inputs)
    along = rng.normal(size=layer.parameters.size)
    several = len(inputs) > 1
    y, jv = derivatives.jvp(
        layer,
        given_inputs if several else given_inputs[0],
        (*moves, *zeros) if several else moves[0],
        along,
    )
    delta = rng.normal(size=y.shape)
    layer.parameters.zero_grad()
    layer.forward(*inputs)
    deltas = layer.backward(delta)
    deltas = deltas if several else (deltas,)
    back = sum((d * move).sum() for d, move in zip(deltas, moves, strict=False))
    back += layer.parameters.grad @ along
    np.testing.assert_allclose((delta * jv).sum(), back, rtol=1e-11, atol=1e-11)
    assert all((d == 0).all() and d.dtype == np.float64 for d in deltas[2:])


def test_scores_of_any_size_are_safe():
    layer = one_head()
    for size in (1e-3, 1.0, 10.0, 1e3, 1e80):
        x = size * np.random.default_rng(0).normal(size=(2, 4, 2))
        y = layer.forward(x)
        assert np.isfinite(y).all() and np.isfinite(layer.backward(np.ones_like(y))).all()
        np.testing.assert_allclose(layer.attention.sum(-1), np.ones((2, 1, 4)), rtol=1e-14)


def test_small_and_large_scores_give_the_same(monkeypatch):
    """Without the largest score subtracted, where that is safe, and with it."""
    x = np.random.default_rng(0).normal(size=(2, 5, 4))
    layer = built(MultiHeadAttention(2), (5, 4))
    fast = layer(x)
    monkeypatch.setattr(module, "SAFE", 0.0)
    np.testing.assert_allclose(layer(x), fast, **CLOSE)


# ------------------------------------------------------------------------------- masks


@pytest.mark.parametrize("causal", [False, True])
def test_a_query_without_keys_gets_zeros_and_sends_no_delta(causal):
    layer = built(MultiHeadAttention(2, causal=causal), (3, 4), (3, 4), (3, 3))
    rng = np.random.default_rng(0)
    x, u, delta = (rng.normal(size=(2, 3, 4)) for _ in range(3))
    mask = np.ones((2, 3, 3), bool)
    mask[0, 1] = False
    mask[1] = False
    y = layer.forward(x, u, mask)
    np.testing.assert_array_equal(y[0, 1], np.zeros(4))
    np.testing.assert_array_equal(y[1], np.zeros((3, 4)))
    assert (y[0, ::2] != 0).all()
    alone = np.zeros_like(delta)
    alone[0, 1], alone[1] = delta[0, 1], delta[1]
    for d in layer.backward(alone):
        np.testing.assert_array_equal(d, np.zeros_like(d))
    np.testing.assert_array_equal(layer.parameters.grad, np.zeros(layer.parameters.size))
    of_query, of_keys, of_mask = layer.backward(delta)
    np.testing.assert_array_equal(of_query[0, 1], np.zeros(4))
    np.testing.assert_array_equal(of_keys[1], np.zeros((3, 4)))
    assert of_mask.dtype == np.float64 and not of_mask.any()


def test_keys_that_are_masked_change_nothing():
    layer = built(MultiHeadAttention(2), (5, 4), (5, 4), (5,))
    rng = np.random.default_rng(0)
    x, u = rng.normal(size=(2, 5, 4)), rng.normal(size=(2, 5, 4))
    mask = np.array([[1, 1, 0, 1, 0], [0, 1, 1, 1, 1]])
    y = layer(x, u, mask)
    other = np.where(mask[..., np.newaxis], u, 1e3 * rng.normal(size=u.shape))
    np.testing.assert_allclose(layer(x, other, mask), y, **CLOSE)
    few = [layer(x[:1], u[:1, mask[0] > 0], np.ones((1, 3))), y[:1]]
    np.testing.assert_allclose(*few, **CLOSE)
    for kind in (bool, np.int8, np.float32, np.float64):
        np.testing.assert_array_equal(layer(x, u, mask.astype(kind)), y)
    np.testing.assert_array_equal(layer(x, u, -2.5 * mask), y)  # nonzero means use


def test_a_mask_of_keys_is_the_same_for_every_query():
    layer = built(MultiHeadAttention(2), (3, 4), (5, 2), (5,))
    rng = np.random.default_rng(0)
    x, u = rng.normal(size=(2, 3, 4)), rng.normal(size=(2, 5, 2))
    mask = rng.integers(0, 2, (2, 5))
    np.testing.assert_array_equal(
        layer(x, u, mask), layer(x, u, np.repeat(mask[:, np.newaxis], 3, axis=1))
    )


def test_causal_is_aligned_at_the_first_entry():
    layer = built(MultiHeadAttention(1, causal=True), (2, 3), (4, 3))
    rng = np.random.default_rng(0)
    x, u = rng.normal(size=(1, 2, 3)), rng.normal(size=(1, 4, 3))
    layer.forward(x, u)
    used = layer.attention[0, 0] > 0
    np.testing.assert_array_equal(used, [[1, 0, 0, 0], [1, 1, 0, 0]])


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("mask", [(), (np.ones((2, 0)),), (np.ones((2, 3, 0)),)])
def test_a_sequence_without_keys_is_like_one_whose_keys_are_all_masked(causal, mask):
    layer = built(MultiHeadAttention(2, causal=causal), (3, 4), (5, 4), *[(5,) for _ in mask])
    layer.output_biases.value = np.ones(4)
    y = layer.forward(np.ones((2, 3, 4)), np.ones((2, 0, 4)), *mask)
    np.testing.assert_array_equal(y, np.zeros((2, 3, 4)))
    assert layer.backward(np.ones_like(y))[1].shape == (2, 0, 4)
    assert not layer.parameters.grad.any()


# ------------------------------------------------------------------------------- the laws


def masks(shape):
    """Integers where a mask is expected, of two axes with the batch."""
    rng = np.random.default_rng(3)
    return rng.integers(0, 2, shape) if len(shape) == 2 else rng.normal(size=shape)


@given(
    heads=st.integers(1, 3),
    units=st.integers(1, 2),
    steps=st.tuples(small, small),
    kind=st.sampled_from(["self", "cross", "mask"]),
    causal=st.booleans(),
    rng=st.integers(0, 2**32 - 1),
)
@settings(max_examples=5)
def test_attention_keeps_every_law(heads, units, steps, kind, causal, rng):
    query, keys = (steps[0], 2), (steps[1], 3)
    shapes = {"self": query, "cross": (query, keys), "mask": (query, keys, (steps[1],))}[kind]
    layer = MultiHeadAttention(heads, heads * units, causal)
    result = check_layer(layer, shapes, rng=rng, inputs=masks if kind == "mask" else None)
    assert result.ok, result


@given(steps=st.integers(0, 5), width=st.integers(0, 5))
@settings(max_examples=5)
def test_positions_keep_every_law(steps, width):
    assert check_layer(PositionalEncoding(), (steps, width)).ok


@pytest.mark.parametrize("shapes", [((5, 4),), ((5, 4), (3, 2)), ((5, 4), (3, 2), (3,))])
def test_float32_stays_float32(shapes):
    layer = built(MultiHeadAttention(2, causal=True), *shapes, dtype="float32")
    inputs = [np.ones((2, *shape), np.float32) for shape in shapes]
    y = layer.forward(*inputs)
    deltas = layer.backward(np.ones_like(y))
    found = [y, layer.attention, *(deltas if len(shapes) > 1 else (deltas,)), layer(*inputs)]
    assert {a.dtype for a in found} == {np.dtype(np.float32)}
    positions = PositionalEncoding()
    assert positions(inputs[0]).dtype == np.float32


def test_time_is_open_for_queries_and_keys_alone():
    layer = built(MultiHeadAttention(2), (5, 4), (3, 2), (3,))
    for queries, keys in ((1, 7), (5, 7), (0, 3)):
        x, u = np.ones((2, queries, 4)), np.ones((2, keys, 2))
        assert layer(x, u, np.ones((2, keys))).shape == (2, queries, 4)
        assert layer.forward(x, u, np.ones((2, queries, keys))).shape == (2, queries, 4)
        assert layer.backward(np.ones((2, queries, 4)))[1].shape == (2, keys, 2)
    one = MultiHeadAttention(2)
    one.build((None, 4), rng=0)
    assert one.input_shape == (None, 4) and one.output_shape == (None, 4)
    assert Sequential([one])(np.ones((2, 9, 4))).shape == (2, 9, 4)


# ------------------------------------------------------------------------------- as a layer


def test_self_attention_is_attention_to_itself():
    one = built(MultiHeadAttention(2), (5, 4))
    two = built(MultiHeadAttention(2), (5, 4), (5, 4), (5,))
    two.parameters.value = one.parameters.value
    x, delta = np.random.default_rng(0).normal(size=(2, 3, 5, 4))
    np.testing.assert_array_equal(two.forward(x, x, np.ones((3, 5))), one.forward(x))
    of_query, of_keys, _ = two.backward(delta)
    np.testing.assert_allclose(one.backward(delta), of_query + of_keys, **CLOSE)
    np.testing.assert_allclose(one.parameters.grad, two.parameters.grad, **CLOSE)


def test_parameters_have_the_names_shapes_and_starting_values_of_the_docstring():
    layer = MultiHeadAttention(2, units=6)
    layer.build((5, 4), (3, 2), rng=0)
    assert {p.path: p.shape for p in layer.parameters} == {
        "query_weights": (4, 6), "query_biases": (6,), "key_weights": (2, 6), "key_biases": (6,),
        "value_weights": (2, 6), "value_biases": (6,), "output_weights": (6, 4),
        "output_biases": (4,),
    }  # fmt: skip
    assert not any(p.value.any() for p in layer.parameters if "biases" in p.path)
    limit = np.sqrt(6 / (4 + 6))
    assert 0.5 * limit < np.abs(layer.query_weights.value).max() <= limit


def test_the_repr_is_python_and_units_belong_to_the_configuration():
    for layer in (
        MultiHeadAttention(2),
        MultiHeadAttention(4, 8),
        MultiHeadAttention(1, None, True),
    ):
        assert eval(repr(layer)) == layer
    assert repr(MultiHeadAttention(4, units=8, causal=True)) == (
        "MultiHeadAttention(4, units=8, causal=True)"
    )
    assert MultiHeadAttention(np.int64(4)).heads == 4 and PositionalEncoding() == eval(
        repr(PositionalEncoding())
    )


def test_a_graph_with_masks_is_saved_and_computes_the_same(tmp_path):
    x, u, mask = Input((None, 4)), Input((None, 2)), Input((None,), name="mask")
    inner = PositionalEncoding()(Dense(4)(x))
    shared = MultiHeadAttention(2)
    h = shared(inner, u, mask)
    model = Graph([x, u, mask], Dense(3)(shared(h, u, mask)))
    model.build(rng=0)
    rng = np.random.default_rng(0)
    data = rng.normal(size=(2, 5, 4)), rng.normal(size=(2, 3, 2)), rng.integers(0, 2, (2, 3))
    model.save(tmp_path / "model")
    again = load(tmp_path / "model")
    np.testing.assert_array_equal(again(*data), model(*data))
    assert again == model
    y = model.forward(*data)
    deltas = model.backward(np.ones_like(y))
    assert [d.shape for d in deltas] == [d.shape for d in data] and not deltas[2].any()


def test_a_frozen_layer_passes_its_delta_on_and_learns_nothing():
    layer, free = (built(MultiHeadAttention(2), (5, 4)) for _ in range(2))
    layer.freeze()
    x, delta = np.random.default_rng(0).normal(size=(2, 3, 5, 4))
    np.testing.assert_array_equal(layer.forward(x), free.forward(x))
    np.testing.assert_array_equal(layer.backward(delta), free.backward(delta))
    assert not layer.parameters.grad.any()
    free.parameters.zero_grad()
    free.backward_parameters(delta)
    assert free.parameters.grad.any()


def test_a_twin_has_its_own_memory():
    layer = built(MultiHeadAttention(2), (5, 4))
    x, other, delta = np.random.default_rng(0).normal(size=(3, 3, 5, 4))
    layer.forward(x)
    expected = layer.backward(delta)
    layer.forward(x)
    layer.twin().forward(other)
    np.testing.assert_array_equal(layer.backward(delta), expected)


def test_second_derivatives_and_gradients_of_rows():
    model = Sequential([PositionalEncoding(), built(MultiHeadAttention(2, causal=True), (5, 4))])
    model.build((5, 4), rng=0)
    rng = np.random.default_rng(0)
    x, t = rng.normal(size=(2, 3, 5, 4))
    along, loss = rng.normal(size=model.parameters.size), losses.HalfSquaredError()

    def gradient(step):
        moved = model.unbuilt()
        moved.build((5, 4), rng=0)
        moved.parameters.value = model.parameters.value + step * along
        return derivatives.value_and_gradient(moved, loss, x, t)[1]

    product = derivatives.hvp(model, loss, x, t, along)
    by_differences = (gradient(1e-5) - gradient(-1e-5)) / 2e-5
    np.testing.assert_allclose(product, by_differences, rtol=1e-5, atol=1e-7)
    rows = derivatives.row_gradients(model, x, t)
    for number in range(3):
        model.parameters.zero_grad()
        model.forward(x[number : number + 1])
        model.backward(t[number : number + 1])
        np.testing.assert_allclose(rows[number], model.parameters.grad, **CLOSE)


def test_explain_writes_the_formula():
    layer = MultiHeadAttention(2)
    layer.build((3, 4))
    shown = str(explain(layer))
    for line in (
        "a₁ = e₁ / Σₖ e₁",
        "e₁ = exp(q₁ k₁ᵀ / √2)",
        "δs₁ = a₁ ⊙ (δa₁ − Σₖ (a₁ ⊙ δa₁)) / √2",
    ):
        assert line in shown
    assert "does not provide" not in shown
    positions = PositionalEncoding()
    positions.build((3, 4))
    assert "y₁ = y₀ + where(arange(4) = j, sin(φ₁), cos(φ₁))" in str(explain(positions))


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("mask", [None, (5,), (3, 5)])
def test_the_equations_are_what_the_layer_computes(causal, mask):
    layer, rng = MultiHeadAttention(2, units=6, causal=causal), np.random.default_rng(0)
    shapes = [(3, 4), (5, 2), *([mask] if mask else [])]
    layer.build(*shapes, rng=0)
    layer.parameters.value = rng.normal(size=layer.parameters.size)
    inputs = [rng.normal(size=(7, *shape)) for shape in shapes]
    if mask:
        inputs[2] = rng.integers(0, 2, size=(7, *mask)).astype(float)
        inputs[2][0] = 0  # no query of the first row has a key
    y = layer.forward(*inputs)
    delta = rng.normal(size=y.shape)
    deltas = layer.backward(delta)
    names = {r.place: r.left for r in explain(layer).records if r.kind == "symbol"}
    arrays = {names[path]: layer.parameters[path].value for path in layer.parameters.paths}
    arrays |= {f"y_0_{n}": x for n, x in enumerate(inputs, 1)} | {"Delta_1": delta}
    found = explain(layer).evaluate(arrays)
    np.testing.assert_allclose(found["y_1"], y, atol=1e-12)
    for n, expected in enumerate(deltas, 1):
        np.testing.assert_allclose(found[f"Delta_0_{n}"], expected, atol=1e-12)
    for path in layer.parameters.paths:
        expected = layer.parameters[path].grad
        np.testing.assert_allclose(found[f"dC_d{names[path]}"], expected, atol=1e-12)


# ------------------------------------------------------------------------------- positions


@given(steps=st.integers(0, 60), width=st.integers(1, 9))
def test_positions_are_sines_and_cosines_in_turn(steps, width):
    y = PositionalEncoding()(np.ones((2, steps, width)))
    for t in range(steps):
        for j in range(width):
            angle = t / 10000 ** (2 * (j // 2) / width)
            wave = np.cos(angle) if j % 2 else np.sin(angle)
            np.testing.assert_allclose(y[:, t, j], 1 + wave, rtol=1e-13)


def test_a_step_in_time_is_a_rotation():
    waves = PositionalEncoding()(np.zeros((1, 50, 6)))[0]
    rates = 10000 ** (-np.arange(0, 6, 2) / 6)
    for a, rate in zip((0, 2, 4), rates, strict=True):
        c, s = np.cos(3 * rate), np.sin(3 * rate)
        np.testing.assert_allclose(waves[3:, a], c * waves[:-3, a] + s * waves[:-3, a + 1], **CLOSE)


def test_the_delta_passes_and_what_is_added_is_never_written_into():
    layer = PositionalEncoding()
    layer.build((3, 2))
    delta = np.arange(6.0).reshape(1, 3, 2)
    y = layer.forward(np.zeros((1, 3, 2)))
    kept = y.copy()
    y += 1
    np.testing.assert_array_equal(layer(np.zeros((1, 3, 2))), kept)
    np.testing.assert_array_equal(layer.backward(delta), delta)


# ------------------------------------------------------------------------------- errors


def refused(kind, make, **parts):
    with pytest.raises(kind) as caught:
        make()
    for part, words in parts.items():
        assert words in str(getattr(caught.value, part)), (part, str(caught.value))
    return str(caught.value)


@pytest.mark.parametrize("value", [0, -1, 1.5, True, "2", None])
def test_numbers_of_heads_and_units_are_checked(value):
    refused(ConfigurationError, lambda: MultiHeadAttention(value), expected="at least 1")
    if value is not None:
        refused(ConfigurationError, lambda: MultiHeadAttention(1, value), expected="at least 1")
    refused(ConfigurationError, lambda: MultiHeadAttention(1, causal=2), expected="True or False")


def test_heads_must_divide_the_units():
    text = refused(
        ConfigurationError,
        lambda: MultiHeadAttention(4, units=10),
        expected="heads=4",
        received="units=10",
        hint="units=8",
    )
    assert "the heads do not divide the units" in text
    layer = MultiHeadAttention(3)
    refused(
        ShapeError,
        lambda: layer.build((5, 4)),
        expected="heads=3",
        received="(batch, 5, 4)",
        hint="units=3",
    )
    assert not layer.is_built
    refused(ShapeError, lambda: MultiHeadAttention(3)(np.ones((2, 5, 0))), hint="units=3")


def test_rows_must_be_sequences():
    refused(ShapeError, lambda: MultiHeadAttention(1)(np.ones((2, 5))), received="(batch, 5)")
    both = np.ones((2, 5, 4)), np.ones((2, 5))
    refused(ShapeError, lambda: MultiHeadAttention(1)(*both), received="(batch, 5)")
    refused(ShapeError, lambda: PositionalEncoding()(np.ones((2, 5))), expected="(batch, T, F)")
    refused(BuildError, lambda: MultiHeadAttention(1).build(), received="0 inputs")
    four = [np.ones((2, 5, 4))] * 4
    refused(BuildError, lambda: MultiHeadAttention(1)(*four), received="4 inputs")


@pytest.mark.parametrize("mask", [(4,), (5, 3), (3, 4), (3, 5, 1), (), (1,)])
def test_a_mask_of_the_wrong_shape_is_refused_before_any_arithmetic(mask):
    layer = MultiHeadAttention(2)
    words = {"expected": "(batch, 5)", "hint": "nonzero means use"}
    refused(ShapeError, lambda: layer.build((3, 4), (5, 4), mask), **words)
    layer.build((3, 4), (5, 4), (5,))
    inputs = np.ones((2, 3, 4)), np.ones((2, 5, 4)), np.ones((2, *mask))
    refused(ShapeError, lambda: layer.forward(*inputs), **words)
    refused(ShapeError, lambda: layer(*inputs), **words)


def test_queries_and_keys_of_different_batches_are_refused():
    layer = built(MultiHeadAttention(2), (3, 4), (5, 4), (5,))
    x, u, mask = np.ones((2, 3, 4)), np.ones((2, 5, 4)), np.ones((2, 5))
    for inputs in ((x[:1], u, mask), (x, u[:1], mask), (x, u, mask[:1])):
        with pytest.raises(ShapeError, match="different batch sizes"):
            layer.forward(*inputs)
    with pytest.raises(ShapeError, match="wrong shape"):
        layer.forward(x[..., :3], u, mask)


# ------------------------------------------------------------------------------- PyTorch


@pytest.mark.peers
@given(case=cases(), seed=st.integers(0, 99))
@settings(max_examples=60)
def test_values_and_gradients_are_those_of_pytorch(torch, case, seed):
    layer, inputs = case
    if layer.query_biases.size != inputs[0].shape[-1]:  # PyTorch has no units
        layer = built(MultiHeadAttention(1, None, layer.causal), *(x.shape[1:] for x in inputs))
    query, keys = inputs[0], inputs[:2][-1]
    width = query.shape[-1]
    theirs = torch.nn.MultiheadAttention(
        width, layer.heads, batch_first=True, kdim=keys.shape[-1], vdim=keys.shape[-1],
        dtype=torch.float64,
    )  # fmt: skip
    weights = [getattr(layer, f"{r}_weights").value.T for r in ("query", "key", "value", "output")]
    biases = [getattr(layer, f"{r}_biases").value for r in ("query", "key", "value", "output")]
    joined = theirs.in_proj_weight is not None
    with torch.no_grad():
        if joined:
            theirs.in_proj_weight.copy_(torch.tensor(np.concatenate(weights[:3])))
        else:
            for name, w in zip("qkv", weights[:3], strict=True):
                getattr(theirs, f"{name}_proj_weight").copy_(torch.tensor(w))
        theirs.in_proj_bias.copy_(torch.tensor(np.concatenate(biases[:3])))
        theirs.out_proj.weight.copy_(torch.tensor(weights[3]))
        theirs.out_proj.bias.copy_(torch.tensor(biases[3]))
    used = np.ones((len(query), query.shape[1], keys.shape[1]), bool)
    if layer.causal:
        used &= np.tri(*used.shape[1:], dtype=bool)
    if len(inputs) == 3:
        mask = inputs[2] != 0
        used &= mask if mask.ndim == 3 else mask[:, np.newaxis]
    seen = used.any(-1)  # rows without a key are NaN there, so they get one, and no delta
    delta = np.random.default_rng(seed).normal(size=query.shape)
    x = torch.tensor(query, requires_grad=True)
    u = x if len(inputs) == 1 else torch.tensor(keys, requires_grad=True)
    hidden = torch.tensor(~(used | ~seen[..., np.newaxis])).repeat_interleave(layer.heads, 0)
    y, _ = theirs(x, u, u, attn_mask=hidden, need_weights=False)
    y.backward(torch.tensor(delta * seen[..., np.newaxis]))
    ours = layer.forward(*inputs)
    np.testing.assert_allclose(ours, y.detach().numpy() * seen[..., np.newaxis], **CLOSE)
    layer.parameters.zero_grad()
    deltas = layer.backward(delta)
    deltas = (deltas,) if len(inputs) == 1 else deltas
    for ours, expected in zip(deltas, (x, u), strict=False):
        np.testing.assert_allclose(ours, expected.grad.numpy(), **CLOSE)
    if joined:
        gradients = np.split(theirs.in_proj_weight.grad.numpy(), 3)
    else:
        gradients = [getattr(theirs, f"{name}_proj_weight").grad.numpy() for name in "qkv"]
    gradients = [g.T for g in (*gradients, theirs.out_proj.weight.grad.numpy())]
    shifts = [*np.split(theirs.in_proj_bias.grad.numpy(), 3), theirs.out_proj.bias.grad.numpy()]
    for role, g, b in zip(("query", "key", "value", "output"), gradients, shifts, strict=True):
        np.testing.assert_allclose(getattr(layer, f"{role}_weights").grad, g, **CLOSE)
        np.testing.assert_allclose(getattr(layer, f"{role}_biases").grad, b, **CLOSE)
