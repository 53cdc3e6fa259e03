"""Recurrent layers: steps by hand, masks, carried states, files, derivatives, and PyTorch."""

from __future__ import annotations

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

from chainrule import (
    GRU,
    LSTM,
    Activation,
    Dense,
    Graph,
    Input,
    Sequential,
    SimpleRNN,
    Trainer,
    callbacks,
    check_layer,
    derivatives,
    explain,
    load,
    losses,
    optimizers,
)
from chainrule.calculus.dual import Dual
from chainrule.core.errors import ConfigurationError, NonFiniteError, ShapeError
from chainrule.display.notation import evaluate

KINDS = [SimpleRNN, LSTM, GRU]
every_kind = pytest.mark.parametrize("kind", KINDS)
RNG = np.random.default_rng(0)
CLOSE = {"rtol": 1e-12, "atol": 1e-12}


def built(layer, *shapes, seed=0, **how):
    """With parameters of which none is zero, such as a bias."""
    layer.build(*shapes, rng=seed, **how)
    rng = np.random.default_rng(seed)
    layer.parameters.value = rng.normal(size=layer.parameters.size) / 2
    return layer


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def passes(layer, *inputs, delta=None):
    """The output, the deltas of the inputs and all gradients."""
    layer.parameters.zero_grad()
    y = layer.forward(*inputs)
    delta = np.random.default_rng(1).normal(size=y.shape) if delta is None else delta
    dx = layer.backward(delta)
    return [
        y,
        *(dx if isinstance(dx, tuple) else (dx,)),
        *(p.grad.copy() for p in layer.parameters),
    ]


# ------------------------------------------------------------------------------- numbers


def test_two_steps_of_the_simplest_layer_by_hand():
    """h_1 = tanh(½), h_2 = tanh(½ − 2 h_1), and back: δ_t = Δ_t (1 − h_t²)."""
    layer = built(SimpleRNN(1, return_sequences=True), (2, 1))
    layer.weights.value, layer.recurrent_weights.value, layer.biases.value = [[0.5]], [[-2]], [0.25]
    h1 = np.tanh(0.5 * 1 + 0.25)
    h2 = np.tanh(0.5 * 3 - 2 * h1 + 0.25)
    y = layer.forward(np.array([[[1.0], [3.0]]]))
    np.testing.assert_allclose(y, [[[h1], [h2]]], rtol=1e-15)
    dx = layer.backward(np.array([[[10.0], [1.0]]]))
    d2 = 1 * (1 - h2**2)
    d1 = (10 - 2 * d2) * (1 - h1**2)
    np.testing.assert_allclose(dx, [[[0.5 * d1], [0.5 * d2]]], rtol=1e-14)
    np.testing.assert_allclose(layer.weights.grad, [[1 * d1 + 3 * d2]], rtol=1e-14)
    np.testing.assert_allclose(layer.recurrent_weights.grad, [[h1 * d2]], rtol=1e-14)
    np.testing.assert_allclose(layer.biases.grad, [d1 + d2], rtol=1e-14)


def gates_of(layer, x, h):
    z = x @ layer.weights.value + layer.biases.value
    return np.split(z, z.shape[1] // layer.units, axis=1), h @ layer.recurrent_weights.value


def simple_step(layer, x, h):
    ((z,), q) = gates_of(layer, x, h)
    return (np.tanh(z + q),)


def lstm_step(layer, x, h, c):
    (i, f, g, o), q = gates_of(layer, x, h)
    qi, qf, qg, qo = np.split(q, 4, axis=1)
    c = sigmoid(f + qf) * c + sigmoid(i + qi) * np.tanh(g + qg)
    return sigmoid(o + qo) * np.tanh(c), c


def gru_step(layer, x, h):
    (r, z, n), q = gates_of(layer, x, h)
    qr, qz, qn = np.split(q + layer.recurrent_biases.value, 3, axis=1)
    r, z = sigmoid(r + qr), sigmoid(z + qz)
    n = np.tanh(n + r * qn)
    return ((1 - z) * n + z * h,)


STEPS = {SimpleRNN: simple_step, LSTM: lstm_step, GRU: gru_step}


def in_formulas(layer, x, mask=None, states=None):
    """All h, and the last states, as the formulas of the docstrings say, step by step."""
    zeros = np.zeros((len(x), layer.units))
    states = states or (zeros,) * (2 if isinstance(layer, LSTM) else 1)
    found = []
    for t in range(x.shape[1]):
        new = STEPS[type(layer)](layer, x[:, t], *states)
        used = np.ones((len(x), 1)) if mask is None else mask[:, t, np.newaxis] != 0
        states = tuple(np.where(used, n, s) for n, s in zip(new, states, strict=True))
        found.append(states[0])
    return np.stack(found, axis=1), states


@every_kind
@given(seed=st.integers(0, 99), steps=st.integers(1, 4), batch=st.integers(1, 3))
@settings(max_examples=10)
def test_values_are_those_of_the_formulas(kind, seed, steps, batch):
    rng = np.random.default_rng(seed)
    layer, last = (built(kind(3, flag), (steps, 2), seed=seed) for flag in (True, False))
    x = rng.normal(size=(batch, steps, 2))
    expected, _ = in_formulas(layer, x)
    for y in (layer.forward(x), layer(x), layer.apply(x)):
        np.testing.assert_allclose(y, expected, **CLOSE)
    np.testing.assert_allclose(last.forward(x), expected[:, -1], **CLOSE)
    np.testing.assert_allclose(last(x), expected[:, -1], **CLOSE)


@every_kind
def test_large_sums_do_not_overflow(kind):
    layer = built(kind(2), (3, 1))
    for part in passes(layer, np.full((1, 3, 1), 1e6)):
        assert np.isfinite(part).all()


def test_layouts_and_initial_values():
    lstm, gru = LSTM(50), GRU(50)
    lstm.build((7, 30), rng=0)
    gru.build((7, 30), rng=0)
    assert [p.shape for p in lstm.parameters] == [(30, 200), (50, 200), (200,)]
    assert [p.shape for p in gru.parameters] == [(30, 150), (50, 150), (150,), (150,)]
    assert lstm.parameters.paths == ["weights", "recurrent_weights", "biases"]
    limit = np.sqrt(6 / (30 + 50))  # the fan-out of a gate is its own width
    for layer, count in ((lstm, 4), (gru, 3)):
        assert 0.99 * limit < np.abs(layer.weights.value).max() <= limit
        for gate in np.split(layer.recurrent_weights.value, count, axis=1):
            np.testing.assert_allclose(gate @ gate.T, np.eye(50), atol=1e-13)
    np.testing.assert_array_equal(lstm.biases.value.reshape(4, 50)[:, 0], [0, 1, 0, 0])
    np.testing.assert_array_equal(gru.parameters["biases"].value, np.zeros(150))
    other = LSTM(2, forget_bias=-0.5)
    other.build((7, 3))
    np.testing.assert_array_equal(other.biases.value, [0, 0, -0.5, -0.5, 0, 0, 0, 0])


def test_a_cell_whose_gates_are_open_keeps_its_delta_over_many_steps():
    """γ_{t−1} = γ_t f: with f = 1 the cell is a memory, in both directions of time."""
    layer = LSTM(1)
    layer.build((200, 1), rng=0)
    layer.weights.value, layer.recurrent_weights.value = [[9, 0, 1, 0]], np.zeros((1, 4))
    layer.biases.value = [-4, 100, 0, 100]
    x = np.zeros((1, 200, 1))
    x[0, 0] = 1
    layer.forward(x)
    dx = layer.backward(np.ones((1, 1)))
    assert abs(dx[0, 0, 0]) > 0.1


# ------------------------------------------------------------------------------- masks


@every_kind
@pytest.mark.parametrize("return_sequences", [True, False])
@given(seed=st.integers(0, 99))
@settings(max_examples=8)
def test_at_masked_steps_the_state_stays(kind, return_sequences, seed):
    rng = np.random.default_rng(seed)
    layer = built(kind(3, return_sequences), (5, 2), (5,), seed=seed)
    x, mask = rng.normal(size=(6, 5, 2)), rng.integers(0, 2, (6, 5))
    mask[0] = 0
    expected, _ = in_formulas(layer, x, mask)
    expected = expected if return_sequences else expected[:, -1]
    for given_mask in (mask, mask.astype(bool), 7.0 * mask):
        np.testing.assert_allclose(layer.forward(x, given_mask), expected, **CLOSE)
        np.testing.assert_allclose(layer(x, given_mask), expected, **CLOSE)
    y, dx, dmask, *gradients = passes(layer, x, mask)
    np.testing.assert_array_equal(y[0], np.zeros_like(y[0]))  # a fully masked row
    np.testing.assert_array_equal(dx[mask == 0], 0)
    np.testing.assert_array_equal(dmask, np.zeros(mask.shape))
    assert dmask.dtype == layer.dtype
    # Whatever is in the padding, it changes nothing.
    padded = np.where(mask[:, :, np.newaxis], x, np.nan)
    for one, two in zip(passes(layer, padded, mask), [y, dx, dmask, *gradients], strict=True):
        np.testing.assert_array_equal(one, two)


@every_kind
def test_padded_sequences_give_what_they_give_alone(kind):
    layer = built(kind(3), (5, 2), (5,))
    lengths, x = [5, 2, 4, 1], RNG.normal(size=(4, 5, 2))
    mask = np.arange(5) < np.array(lengths)[:, np.newaxis]
    y = layer(x, mask)
    alone = built(kind(3), (5, 2))
    for row, length in enumerate(lengths):
        np.testing.assert_allclose(y[row], alone(x[row : row + 1, :length])[0], **CLOSE)


@every_kind
def test_a_mask_of_another_shape_is_refused(kind):
    for shape in [(4,), (5, 2), ()]:
        with pytest.raises(ShapeError, match="the mask does not fit the input") as caught:
            kind(3).build((5, 2), shape)
        assert caught.value.expected == "(batch, 5): for each step, whether it is used"
    layer = built(kind(3), (5, 2), (5,))
    with pytest.raises(ShapeError, match="mask does not fit"):
        layer.forward(np.ones((2, 7, 2)), np.ones((2, 6)))
    with pytest.raises(ShapeError, match="wrong number of inputs"):
        layer.forward(np.ones((2, 5, 2)))
    with pytest.raises(ShapeError):
        layer.forward(np.ones((2, 5, 2)), np.ones((3, 5)))
    with pytest.raises(ShapeError, match="wrong number of inputs") as caught:
        built(kind(3), (5, 2)).forward(np.ones((2, 5, 2)), np.ones((2, 5)))
    assert caught.value.hint == "build a copy for 2 inputs: layer.unbuilt()"


# ------------------------------------------------------------------------------- time


@every_kind
def test_time_is_open(kind):
    layer = built(kind(3, True), (5, 2))
    x = RNG.normal(size=(4, 9, 2))
    np.testing.assert_allclose(layer(x)[:, :5], layer(x[:, :5]), **CLOSE)
    model = Sequential([kind(3, True), kind(2), Dense(1)])
    model.build((None, 2), rng=0)
    assert model.output_shapes == ((1,),) and model[0].output_shape == (None, 3)
    assert model(x).shape == model(x[:, :2]).shape == (4, 1)
    with pytest.raises(ShapeError):
        layer(np.ones((4, 5, 3)))


@every_kind
def test_a_sequence_without_steps_leaves_the_states_where_they_are(kind):
    for flag, shape in ((True, (4, 0, 3)), (False, (4, 3))):
        layer = built(kind(3, flag), (5, 2))
        y, dx, *gradients = passes(layer, np.ones((4, 0, 2)))
        np.testing.assert_array_equal(y, np.zeros(shape))
        assert dx.shape == (4, 0, 2)
        assert not any(map(np.any, gradients))


@every_kind
@pytest.mark.parametrize("shape", [(), (5,), (5, 2, 2)])
def test_rows_that_are_no_sequences_are_refused(kind, shape):
    with pytest.raises(ShapeError, match="the rows of the input are not sequences") as caught:
        kind(3).build(shape)
    assert caught.value.expected == "(batch, time, features)" and caught.value.hint


# ------------------------------------------------------------------------------- carried states


@every_kind
def test_batches_one_after_the_other_are_one_long_sequence(kind):
    layer, whole = built(kind(3, True, stateful=True), (4, 2)), built(kind(3, True), (4, 2))
    x = RNG.normal(size=(5, 12, 2))
    expected = whole(x)
    for _ in range(2):
        for start in (0, 4, 8):
            part = x[:, start : start + 4]
            for _ in range(2):  # inference begins with the carried states, and leaves no trace
                np.testing.assert_allclose(layer(part), expected[:, start : start + 4], **CLOSE)
            y = layer.forward(part)
            np.testing.assert_allclose(y, expected[:, start : start + 4], **CLOSE)
        layer.reset()


@every_kind
def test_gradients_end_where_the_batch_begins(kind):
    layer, other = built(kind(3, stateful=True), (4, 2)), built(kind(3), (4, 2))
    x, delta = RNG.normal(size=(5, 8, 2)), RNG.normal(size=(5, 3))
    layer.forward(x[:, :4])
    y, *_ = passes(layer, x[:, 4:], delta=delta)
    _, states = in_formulas(other, x[:, :4])
    expected, _ = in_formulas(other, x[:, 4:], states=states)
    np.testing.assert_allclose(y, expected[:, -1], **CLOSE)
    # By central differences with the states of the first half fixed.
    numbers, step = layer.parameters.value.copy(), 1e-6
    gradient = layer.parameters.grad.copy()
    for n in range(0, numbers.size, 5):
        sides = []
        for sign in (1, -1):
            other.parameters.value = numbers + sign * step * np.eye(numbers.size)[n]
            sides.append((in_formulas(other, x[:, 4:], states=states)[0][:, -1] * delta).sum())
        assert abs((sides[0] - sides[1]) / (2 * step) - gradient[n]) < 1e-7


@every_kind
def test_another_batch_size_needs_a_reset(kind):
    model = Sequential([kind(3, stateful=True), Dense(1)])
    x = RNG.normal(size=(5, 4, 2))
    model.forward(x)
    for call in (model.forward, model):
        with pytest.raises(ShapeError, match="does not continue the carried state") as caught:
            call(x[:3])
        assert str(caught.value.received).startswith("3 rows") and "reset()" in caught.value.hint
    assert model(x[:0]).shape == model.forward(x[:0]).shape == (0, 1)  # changes nothing
    assert len(model[0].hidden.value) == 5
    model.reset()
    assert model[0].hidden.shape == (0, 3)
    assert model.forward(x[:3]).shape == (3, 1)


def test_reset_leaves_everything_else():
    model = Sequential([LSTM(3, True, stateful=True), Dense(2), LSTM(2, stateful=True)])
    model.build((4, 2), rng=0)
    before = model.parameters.value.copy()
    assert model.buffers.paths == ["lstm_1.hidden", "lstm_1.cell", "lstm_2.hidden", "lstm_2.cell"]
    model.forward(np.ones((5, 4, 2)))
    assert model.buffers.size == 2 * 5 * (3 + 2) and model.buffers.fixed.size == 0
    model.reset()
    assert model.buffers.size == 0
    np.testing.assert_array_equal(model.parameters.value, before)
    Dense(3).reset()  # any layer can


@every_kind
def test_twins_carry_on_together_and_copies_alone(kind):
    import copy

    layer = built(kind(3, stateful=True), (4, 2))
    x = RNG.normal(size=(5, 4, 2))
    layer.forward(x)
    twin, copied = layer.twin(), copy.deepcopy(layer)
    expected = layer(x)
    for each in (twin, copied):
        np.testing.assert_array_equal(each(x), expected)
    twin.forward(x)
    assert np.any(layer(x) != expected)
    np.testing.assert_array_equal(copied(x), expected)


@every_kind
def test_files_hold_the_carried_states(kind, tmp_path):
    model = Sequential([kind(3, stateful=True), Dense(1)])
    x = RNG.normal(size=(5, 4, 2))
    model.forward(x)
    model.save(tmp_path / "model.safetensors")
    model.save_weights(tmp_path / "weights.safetensors")
    loaded = load(tmp_path / "model.safetensors")
    fresh = model.unbuilt()
    fresh.build((4, 2))
    fresh.load_weights(tmp_path / "weights.safetensors")
    for other in (loaded, fresh):
        assert other == model
        np.testing.assert_array_equal(other(x), model(x))
        np.testing.assert_array_equal(other.forward(x[:, :2]), model.twin().apply(x[:, :2]))
        other.reset()
        assert other(x[:2]).shape == (2, 1)


def a_run(folder, epochs, **how):
    model = Sequential([LSTM(3, stateful=True), Dense(1)])
    trainer = Trainer(model, losses.HalfSquaredError(), optimizers.Adam(0.1), rng=3)
    rng = np.random.default_rng(0)
    x, t = rng.normal(size=(40, 4, 2)), rng.normal(size=(40, 1))
    trainer.fit(
        x, t, epochs=epochs, batch_size=8, callbacks=[callbacks.Checkpoint(folder)],
        **how,
    )  # fmt: skip
    return model


def test_a_resumed_run_has_the_carried_states_of_one_that_went_through(tmp_path):
    whole = a_run(tmp_path / "whole", 3)
    a_run(tmp_path / "parts", 2)
    resumed = a_run(tmp_path / "parts", 3, resume_from=tmp_path / "parts")
    assert whole.buffers.size == 8 * 6
    np.testing.assert_array_equal(resumed.parameters.value, whole.parameters.value)
    np.testing.assert_array_equal(resumed.buffers.value, whole.buffers.value)


def test_a_step_that_fails_puts_the_carried_states_back():
    model = Sequential([GRU(3, stateful=True), Dense(1)])
    trainer = Trainer(model, losses.HalfSquaredError(), optimizers.SGD(0.1), rng=0)
    x, t = RNG.normal(size=(8, 4, 2)), RNG.normal(size=(8, 1))
    trainer.step(x, t)
    before = model.buffers.value.copy()
    with pytest.raises(NonFiniteError):
        trainer.step(np.where(x > 0, np.inf, x), t)
    np.testing.assert_array_equal(model.buffers.value, before)


def test_the_best_model_is_restored_without_its_carried_states():
    model = Sequential([GRU(3, stateful=True), Dense(1)])
    trainer = Trainer(model, losses.HalfSquaredError(), optimizers.Adam(0.5), rng=0)
    x, t = RNG.normal(size=(16, 4, 2)), RNG.normal(size=(16, 1))
    stop = callbacks.EarlyStopping(monitor="loss", patience=1)
    trainer.fit(x, t, epochs=30, batch_size=8, callbacks=[stop])
    assert len(model[0].hidden.value) == 8


# ------------------------------------------------------------------------------- laws


@every_kind
@given(
    units=st.integers(1, 3),
    return_sequences=st.booleans(),
    stateful=st.booleans(),
    shape=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    rng=st.integers(0, 2**32 - 1),
)
@settings(max_examples=2)
def test_every_law_holds(kind, units, return_sequences, stateful, shape, rng):
    assert check_layer(kind(units, return_sequences, stateful=stateful), shape, rng=rng).ok


@every_kind
def test_every_law_holds_with_a_mask(kind):
    rng = np.random.default_rng(0)

    def inputs(shape):
        return rng.normal(size=shape) if len(shape) == 3 else rng.integers(0, 2, shape)

    assert check_layer(kind(2, True), ((3, 2), (3,)), inputs=inputs).ok


@every_kind
def test_gradients_of_derivatives(kind):
    """Rows, Jacobian and Hessian products, through a network with a mask and through time."""
    x, mask = Input((4, 2)), Input((4,))
    model = built(Graph([x, mask], Dense(1)(kind(3)(x, mask))), (4, 2), (4,))
    rng = np.random.default_rng(2)
    inputs = rng.normal(size=(5, 4, 2)), np.array([[1, 1, 0, 1]] * 5)
    delta, v = rng.normal(size=(5, 1)), rng.normal(size=model.parameters.size)
    model.parameters.zero_grad()
    model.forward(*inputs)
    model.backward(delta)
    rows = derivatives.row_gradients(model, inputs, delta)
    np.testing.assert_allclose(rows.sum(axis=0), model.parameters.grad, **CLOSE)
    target, loss = rng.normal(size=(5, 1)), losses.HalfSquaredError()
    hv = derivatives.hvp(model, loss, inputs, target, v)
    start, step, sides = model.parameters.value.copy(), 1e-5, []
    for sign in (1, -1):
        model.parameters.value = start + sign * step * v
        model.parameters.zero_grad()
        model.backward(loss.delta(model.forward(*inputs), target))
        sides.append(model.parameters.grad.copy())
    np.testing.assert_allclose(hv, (sides[0] - sides[1]) / (2 * step), rtol=1e-6, atol=1e-8)


@every_kind
def test_a_dual_delta_alone_and_a_dual_carried_state(kind):
    layer = built(kind(3, stateful=True), (4, 2))
    x, u, v = (RNG.normal(size=shape) for shape in [(5, 4, 2), (5, 3), (5, 3)])
    layer.forward(x)
    replica = derivatives.Replica(layer)
    replica.forward(x)
    dx = replica.backward(Dual(u, v))
    other = derivatives.Replica(layer)
    other.forward(x)
    np.testing.assert_allclose(dx.tangent, other.backward(v), **CLOSE)
    moved = derivatives.Replica(layer)
    moved.forward(Dual(x, np.ones_like(x)))
    y = moved.forward(x)  # begins with states that move
    assert np.any(y.tangent != 0)


@every_kind
def test_float32_throughout(kind):
    layer = built(kind(3, stateful=True), (4, 2), (4,), dtype="float32")
    x, mask = RNG.normal(size=(5, 4, 2)).astype("f4"), np.ones((5, 4), "f4")
    parts = passes(layer, x, mask, delta=np.ones((5, 3), "f4"))
    assert {part.dtype for part in [*parts, layer(x, mask), layer.hidden.value]} == {np.dtype("f4")}


@every_kind
def test_frozen_and_nested(kind):
    model = Sequential([kind(3, True).freeze(), Sequential([kind(2), Activation("tanh")])])
    x = RNG.normal(size=(5, 4, 2))
    model.forward(x)
    model.backward(np.ones((5, 2)))
    assert not model[0].parameters.grad.any() and model[1].parameters.grad.any()
    model.parameters.zero_grad()
    model.backward_parameters(np.ones((5, 2)))
    assert not model[0].parameters.grad.any() and model[1].parameters.grad.any()


@every_kind
def test_the_same_layer_twice_shares_its_parameters(kind):
    x = Input((4, 3))
    layer = kind(3, True)
    model = built(Graph(x, layer(layer(x))), (4, 3))
    assert len(model.parameters) == len(layer.parameters)
    assert check_layer(model.unbuilt(), (4, 3)).ok


# ------------------------------------------------------------------------------- formulas


def in_parts(names, sums, gates):
    """The columns of a sum that belong to each gate: ``z_i``, ``z_f`` and so on."""
    parts = np.split(names[sums], len(gates), axis=1)
    names |= {f"{sums}_{gate}": part for gate, part in zip(gates, parts, strict=True)}


@every_kind
def test_what_explain_shows_is_what_the_layer_computes(kind):
    """Its lines, evaluated one step after the other, and back from the last to the first."""
    layer = built(kind(3, True), (4, 2))
    x, delta = RNG.normal(size=(5, 4, 2)), RNG.normal(size=(5, 4, 3))
    y, dx, *gradients = passes(layer, x, delta=delta)
    said, gates = layer.equations(), {LSTM: "ifgo", GRU: "rzn"}.get(kind, "")
    zeros = np.zeros((5, 3))
    fixed = {p.path: p.value for p in layer.parameters} | {"sigmoid": sigmoid}
    steps, before = [], {"h": zeros, "c": zeros}
    for t in range(4):
        names = fixed | {"x": x[:, t]} | {f"{name}_before": before[name] for name in "hc"}
        for name, text in said.definitions.items():
            names[name] = evaluate(text, names)
            if gates and name in "zaq" and names[name].shape[1] == 3 * len(gates):
                in_parts(names, name, gates)
        before = {name: names.get(name, zeros) for name in "hc"}
        steps.append(names)
    np.testing.assert_allclose(np.stack([names["h"] for names in steps], axis=1), y, **CLOSE)
    wide, found = np.zeros((5, layer.biases.size)), {}
    after = dict.fromkeys(["D", "gamma", "forget", "z"], zeros) | {"d": wide, "e": wide}
    for t in reversed(range(4)):
        names = steps[t] | {"delta": delta[:, t]}
        names |= {f"{name}_after": value for name, value in after.items()}
        for name, text in said.backward_definitions.items():
            names[name] = evaluate(text, names)
        if gates:
            names["d"] = np.concatenate([names[f"d_{gate}"] for gate in gates], axis=1)
        if "e" in names:
            names["e"] = np.concatenate(names["e"], axis=1)
        np.testing.assert_allclose(evaluate(said.backward[0], names), dx[:, t], **CLOSE)
        after = {name: names.get(name, zeros) for name in after}
        for name, text in said.gradients.items():
            part = evaluate(text, names | {"over_time": lambda term: term})
            found[name] = found.get(name, 0) + part
    for parameter, gradient in zip(layer.parameters, gradients, strict=True):
        np.testing.assert_allclose(found[parameter.path], gradient, **CLOSE)


def test_explain_shows_the_gates():
    model = Sequential([LSTM(3, True), GRU(2), Dense(1)])
    model.build((None, 4), rng=0)
    found = explain(model)
    text = str(found)
    for line in (
        "c₁ₜ = f₁ₜ ⊙ c₁ₜ₋₁ + i₁ₜ ⊙ g₁ₜ",
        "y₂ = h₂_T",
        "D₂_T = Δ₂",
        "D₂ₜ = D₂ₜ₊₁ ⊙ z₂ₜ₊₁ + ε₂ₜ₊₁ u₂ᵀ",
        "∂C/∂w₁ = Σₜ(y₀ₜᵀ δ₁ₜ)",
    ):
        assert line in text
    assert "c^{(1)}" in found.to_markdown()
    assert {record.kind for record in found.records if not record.is_evaluable} >= {"definition"}
    with_mask = SimpleRNN(2)
    with_mask.build((4, 2), (4,))
    assert "Δ₀₂ = 0" in str(explain(with_mask))


# ------------------------------------------------------------------------------- arguments


@every_kind
@pytest.mark.parametrize("units", [0, -1, 2.5, True, "3", None, np.ones(3)])
def test_units_that_are_no_number_of_outputs_are_refused(kind, units):
    with pytest.raises(ConfigurationError, match="units has an invalid value") as caught:
        kind(units)
    assert caught.value.place == kind.__name__ and f"{kind.__name__}(32)(x)" in caught.value.hint


def test_other_arguments_are_checked_too():
    for wrong in ({"return_sequences": 1}, {"stateful": None}, {"forget_bias": float("inf")}):
        with pytest.raises(ConfigurationError, match=next(iter(wrong))):
            LSTM(3, **wrong)
    assert repr(LSTM(np.int64(3), True, forget_bias=2)) == (
        "LSTM(3, return_sequences=True, forget_bias=2.0)"
    )


# ------------------------------------------------------------------------------- PyTorch

THEIRS = {SimpleRNN: "RNN", LSTM: "LSTM", GRU: "GRU"}
NAMES = {"weights": "weight_ih_l0", "recurrent_weights": "weight_hh_l0", "biases": "bias_ih_l0"}


@pytest.mark.peers
@every_kind
@given(
    sizes=st.tuples(*[st.integers(1, 5)] * 4),
    return_sequences=st.booleans(),
    with_lengths=st.booleans(),
    seed=st.integers(0, 999),
)
@settings(max_examples=40)
def test_values_and_gradients_are_those_of_pytorch(
    kind, sizes, return_sequences, with_lengths, seed
):
    import torch
    from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

    batch, steps, features, units = sizes
    rng = np.random.default_rng(seed)
    shapes = [(steps, features), (steps,)][: 1 + with_lengths]
    layer = built(kind(units, return_sequences), *shapes, seed=seed)
    theirs = getattr(torch.nn, THEIRS[kind])(features, units, batch_first=True, dtype=torch.float64)
    names = NAMES | ({"recurrent_biases": "bias_hh_l0"} if kind is GRU else {})
    with torch.no_grad():
        theirs.bias_hh_l0.zero_()
        for ours, name in names.items():
            getattr(theirs, name).copy_(torch.tensor(layer.parameters[ours].value.T))
    x = rng.normal(size=(batch, steps, features))
    lengths = rng.integers(1, steps + 1, batch) if with_lengths else np.full(batch, steps)
    lengths[rng.integers(batch)] = steps
    mask = np.arange(steps) < lengths[:, np.newaxis]
    inputs = torch.tensor(x, requires_grad=True)
    packed = pack_padded_sequence(inputs, lengths, batch_first=True, enforce_sorted=False)
    all_h, _ = pad_packed_sequence(theirs(packed)[0], batch_first=True)
    last = all_h[torch.arange(batch), torch.tensor(lengths) - 1]
    y, dx, *_ = passes(layer, x, *[mask][:with_lengths], delta=None)
    delta = torch.tensor(np.random.default_rng(1).normal(size=y.shape))
    if return_sequences:  # after the end of a sequence, ours repeats the last h, theirs is zero
        repeated = torch.where(torch.tensor(mask)[:, :, None], all_h, last[:, None])
        repeated.backward(delta)
        np.testing.assert_allclose(y, repeated.detach().numpy(), **CLOSE)
    else:
        last.backward(delta)
        np.testing.assert_allclose(y, last.detach().numpy(), **CLOSE)
    np.testing.assert_allclose(dx, inputs.grad.numpy(), **CLOSE)
    for ours, name in names.items():
        expected = getattr(theirs, name).grad.numpy().T
        np.testing.assert_allclose(layer.parameters[ours].grad, expected, **CLOSE)
