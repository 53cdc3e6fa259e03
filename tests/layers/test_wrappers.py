"""Layers around a layer: along a sequence, in each of its steps, in both directions."""

from __future__ import annotations

import hypothesis.strategies as st
import numpy as np
import pytest
from attrs import field
from hypothesis import given, settings

from chainrule import (
    GRU,
    LSTM,
    Activation,
    Add,
    Bidirectional,
    Concatenate,
    Dense,
    Flatten,
    Graph,
    Input,
    Layer,
    Multiply,
    Scan,
    Sequential,
    SimpleRNN,
    TimeDistributed,
    check_layer,
    derivatives,
    load,
)
from chainrule.core.errors import BuildError, ConfigurationError, DefinitionError, ShapeError

RNG = np.random.default_rng(0)
CLOSE = {"rtol": 1e-12, "atol": 1e-12}


class Cell(Layer):
    """tanh(x w + h u + b), as a user writes it."""

    units: int
    slope: float = 1.0

    def build(self, x, h):
        self.parameter("weights", (x[0], self.units), "glorot_uniform")
        self.parameter("recurrent_weights", (h[0], self.units), "orthogonal")
        self.parameter("biases", (self.units,))

    def forward(self, x, h):
        self.x, self.h = x, h
        z = x @ self.weights.value + h @ self.recurrent_weights.value + self.biases.value
        self.y = np.tanh(self.slope * z)
        return self.y

    def backward(self, delta):
        dz = self.slope * delta * (1 - self.y**2)
        self.weights.accumulate_product(self.x.T, dz)
        self.recurrent_weights.accumulate_product(self.h.T, dz)
        self.biases.accumulate(dz.sum(axis=0))
        return dz @ self.weights.value.T, dz @ self.recurrent_weights.value.T


class Leaky(Layer):
    """h_t = x_t + ½ h_{t−1}, for rows of any shape."""

    def forward(self, x, h):
        return x + 0.5 * h

    def backward(self, delta):
        return delta, 0.5 * delta


def a_graph():
    x, h = Input((2,)), Input((3,))
    return Graph([x, h], Activation("tanh")(Add()(Dense(3)(x), Dense(3, use_bias=False)(h))))


def built(layer, *shapes, seed=0, **how):
    layer.build(*shapes, rng=seed, **how)
    rng = np.random.default_rng(seed)
    layer.parameters.value = rng.normal(size=layer.parameters.size) / 2
    return layer


def passes(layer, *inputs, delta=None):
    """The output, the deltas of the inputs and all gradients."""
    layer.parameters.zero_grad()
    y = layer.forward(*inputs)
    dx = layer.backward(np.random.default_rng(1).normal(size=y.shape) if delta is None else delta)
    return [
        y,
        *(dx if isinstance(dx, tuple) else (dx,)),
        *(p.grad.copy() for p in layer.parameters),
    ]


def with_mask(shape):
    return RNG.normal(size=shape) if len(shape) == 3 else RNG.integers(0, 2, shape)


# ------------------------------------------------------------------------------- Scan


def test_a_leaky_sum_by_hand():
    layer = Scan(Leaky(), return_sequences=True)
    x = np.array([[[1.0], [2.0], [4.0]]])
    np.testing.assert_array_equal(layer.forward(x)[0, :, 0], [1, 2.5, 5.25])
    np.testing.assert_array_equal(layer.backward(np.ones_like(x))[0, :, 0], [1.75, 1.5, 1])
    last = Scan(Leaky())
    np.testing.assert_array_equal(last.forward(x), [[5.25]])
    np.testing.assert_array_equal(last.backward(np.ones((1, 1)))[0, :, 0], [0.25, 0.5, 1])


@pytest.mark.parametrize("return_sequences", [True, False])
@pytest.mark.parametrize("masked", [True, False])
@given(seed=st.integers(0, 99), steps=st.integers(0, 4))
@settings(max_examples=5)
def test_a_cell_like_that_of_simple_rnn_gives_the_same(return_sequences, masked, seed, steps):
    rng = np.random.default_rng(seed)
    shapes = [(3, 2), (3,)][: 1 + masked]
    ours = built(Scan(Cell(4), return_sequences), *shapes, seed=seed)
    theirs = built(SimpleRNN(4, return_sequences), *shapes, seed=seed)
    inputs = rng.normal(size=(5, steps, 2)), rng.integers(0, 2, (5, steps))
    for one, two in zip(
        passes(ours, *inputs[: 1 + masked]), passes(theirs, *inputs[: 1 + masked]), strict=True
    ):
        np.testing.assert_allclose(one, two, **CLOSE)
    np.testing.assert_allclose(ours(*inputs[: 1 + masked]), theirs(*inputs[: 1 + masked]), **CLOSE)


@pytest.mark.parametrize("cell", [Cell(3), a_graph(), Sequential([Multiply(), Dense(2)]), Leaky()])
@pytest.mark.parametrize("return_sequences", [True, False])
def test_every_law_holds_for_any_cell(cell, return_sequences):
    assert check_layer(Scan(cell, return_sequences), (3, 2), rng=1).ok


def test_every_law_holds_with_a_mask():
    assert check_layer(Scan(Cell(2), True), ((3, 2), (3,)), inputs=with_mask).ok


def test_states_of_any_shape():
    layer = Scan(Leaky(), return_sequences=True)
    assert layer(np.ones((2, 5, 3, 4))).shape == (2, 5, 3, 4)
    masked = Scan(Leaky(), return_sequences=True)
    y = masked(np.ones((2, 5, 3, 4)), np.zeros((2, 5)))
    np.testing.assert_array_equal(y, np.zeros((2, 5, 3, 4)))


def test_the_shape_of_the_state_is_found():
    for cell, shape in ((Cell(7), (7,)), (a_graph(), (3,)), (Leaky(), (2,))):
        layer = Scan(cell)
        layer.build((4, 2), rng=0)
        assert layer.hidden_shape == layer.output_shape == shape
    already = built(Cell(3), (2,), (3,))
    assert Scan(already)(np.ones((5, 4, 2))).shape == (5, 3)


class Needy(Layer):
    """Works for states of 5 numbers, and does not say so."""

    def build(self, x, h):
        self.parameter("weights", (x[0], 5), "glorot_uniform")

    def forward(self, x, h):
        self.x = x
        return h + x @ self.weights.value

    def backward(self, delta):
        self.weights.accumulate(self.x.T @ delta)
        return delta @ self.weights.value.T, delta


def test_a_state_that_cannot_be_found_can_be_given():
    with pytest.raises(BuildError, match="the shape of the state of") as caught:
        Scan(Needy()).build((4, 2))
    assert "state_shape" in caught.value.hint and isinstance(caught.value.__cause__, BuildError)
    layer = Scan(Needy(), state_shape=[np.int64(5)])
    assert layer.state_shape == (5,) and check_layer(layer, (4, 2)).ok
    for wrong in (5, (-1,), ("a",), (2.0,)):
        with pytest.raises(ConfigurationError, match="state_shape"):
            Scan(Needy(), state_shape=wrong)


def test_a_cell_that_returns_another_shape_is_refused():
    with pytest.raises(ShapeError, match="does not return a state like the one") as caught:
        Scan(Cell(3), state_shape=(4,)).build((5, 2))
    assert caught.value.received == "(batch, 3)"
    with pytest.raises(BuildError, match="cannot be found"):
        Scan(Concatenate()).build((5, 2))  # longer and longer
    with pytest.raises(BuildError):
        Scan(Dense(3)).build((5, 2))  # one input


def test_the_twins_of_the_cell_are_made_once():
    layer = built(Scan(Cell(3)), (4, 2))
    layer.forward(np.ones((5, 4, 2)))
    first = layer.steps
    layer.forward(np.ones((5, 6, 2)))
    assert [id(step) for step in layer.steps[:4]] == [id(step) for step in first]
    layer.forward(np.ones((5, 2, 2)))
    assert len(layer.steps) == 2 and layer.steps[1] is first[1]
    assert list(layer.children()) == ["cell"] and len(layer.parameters) == 3


def test_a_field_of_the_cell_that_changes_counts_at_once():
    layer = built(Scan(Cell(3)), (4, 2))
    x = RNG.normal(size=(5, 4, 2))
    before = layer.forward(x)
    layer.cell.slope = 0.5
    assert np.any(layer.forward(x) != before)
    np.testing.assert_array_equal(layer.forward(x), layer(x))


def test_what_is_in_the_padding_does_not_matter():
    layer = built(Scan(Cell(3), True), (4, 2), (4,))
    x, mask = RNG.normal(size=(5, 4, 2)), RNG.integers(0, 2, (5, 4))
    padded = np.where(mask[:, :, np.newaxis], x, np.nan)
    for one, two in zip(passes(layer, x, mask), passes(layer, padded, mask), strict=True):
        np.testing.assert_array_equal(one, two)


def test_rows_and_hessian_products_go_through_a_scan():
    from chainrule import losses

    model = built(Sequential([Scan(Cell(3)), Dense(1)]), (4, 2))
    x, delta = RNG.normal(size=(5, 4, 2)), RNG.normal(size=(5, 1))
    model.parameters.zero_grad()
    model.forward(x)
    model.backward(delta)
    rows = derivatives.row_gradients(model, x, delta)
    np.testing.assert_allclose(rows.sum(axis=0), model.parameters.grad, **CLOSE)
    v, w = RNG.normal(size=(2, model.parameters.size))
    target = np.zeros((5, 1))
    products = [derivatives.hvp(model, losses.HalfSquaredError(), x, target, d) for d in (v, w)]
    np.testing.assert_allclose(products[0] @ w, products[1] @ v, rtol=1e-10)


def test_rows_that_are_no_sequences_are_refused():
    for layer in (Scan(Cell(3)), Bidirectional(GRU(3))):
        with pytest.raises(ShapeError, match="not sequences"):
            layer.build((5,))
        with pytest.raises(ShapeError, match="mask does not fit"):
            layer.build((5, 2), (4,))


# ------------------------------------------------------------------------------- both directions


def test_both_directions_are_two_layers_with_their_own_parameters():
    layer = built(Bidirectional(GRU(3, True)), (4, 2))
    assert layer.parameters.paths[0] == "layer.weights"
    assert layer.parameters.paths[-1] == "reverse.recurrent_biases"
    assert np.any(layer.layer.weights.value != layer.reverse.weights.value)
    x, delta = RNG.normal(size=(5, 4, 2)), RNG.normal(size=(5, 4, 6))
    there, back = layer.layer.unbuilt(), layer.layer.unbuilt()
    for one, other in ((there, layer.layer), (back, layer.reverse)):
        one.build((4, 2))
        one.parameters.value = other.parameters.value
    y, dx, *_ = passes(layer, x, delta=delta)
    y1, dx1, *_ = passes(there, x, delta=delta[..., :3])
    y2, dx2, *_ = passes(back, x[:, ::-1], delta=delta[:, ::-1, 3:])
    np.testing.assert_allclose(y, np.concatenate([y1, y2[:, ::-1]], axis=-1), **CLOSE)
    np.testing.assert_allclose(dx, dx1 + dx2[:, ::-1], **CLOSE)
    np.testing.assert_allclose(layer.layer.parameters.grad, there.parameters.grad, **CLOSE)
    np.testing.assert_allclose(layer.reverse.parameters.grad, back.parameters.grad, **CLOSE)
    np.testing.assert_allclose(layer(x), y, **CLOSE)
    layer.parameters.zero_grad()
    layer.backward_parameters(delta)
    np.testing.assert_allclose(layer.reverse.parameters.grad, back.parameters.grad, **CLOSE)


@pytest.mark.parametrize("inner", [LSTM(2), GRU(2, True), Scan(Cell(2)), Scan(a_graph(), True)])
def test_every_law_holds_in_both_directions(inner):
    assert check_layer(Bidirectional(inner), (3, 2)).ok
    assert check_layer(Bidirectional(inner.unbuilt()), ((3, 2), (3,)), inputs=with_mask).ok


def test_the_padding_of_short_sequences_does_not_matter_backwards_either():
    layer = built(Bidirectional(LSTM(3)), (5, 2), (5,))
    x, mask = RNG.normal(size=(2, 5, 2)), np.array([[1, 1, 1, 1, 1], [1, 1, 0, 0, 0]])
    np.testing.assert_allclose(layer(x, mask)[1:], layer(x[1:, :2], mask[1:, :2]), **CLOSE)


def test_a_carried_state_cannot_go_backwards():
    carries = LSTM(3, stateful=True)
    for layer in (carries, Sequential([Dense(2), carries])):
        with pytest.raises(ConfigurationError, match="carried backwards"):
            Bidirectional(layer).build((4, 2))


def test_a_last_state_with_several_axes_is_no_sequence():
    x = RNG.normal(size=(2, 4, 3, 2))
    there, back = Scan(Leaky()), Scan(Leaky())
    both = np.concatenate([there(x), back(x[:, ::-1])], axis=-1)
    np.testing.assert_array_equal(Bidirectional(Scan(Leaky()))(x), both)
    assert check_layer(Bidirectional(Scan(Leaky())), (4, 3, 2)).ok


# ------------------------------------------------------------------------------- each step


@pytest.mark.parametrize(
    ("inner", "shape"),
    [
        (Sequential([Dense(3), Activation("tanh")]), (4, 2)),
        (Flatten(), (3, 2, 2)),
        (Multiply(), ((3, 2), (3, 2))),
        (GRU(2), (2, 3, 2)),
        (Activation("tanh"), (3,)),
    ],
)
def test_every_law_holds_in_each_step(inner, shape):
    assert check_layer(TimeDistributed(inner), shape).ok


class Halves(Layer):
    """Two outputs."""

    def forward(self, x):
        return x[:, :1], x[:, 1:]

    def backward(self, delta):
        return np.concatenate(delta, axis=1)


def test_each_step_is_a_row_of_the_layer_inside():
    dense = Dense(3)
    layer = built(TimeDistributed(dense), (4, 2))
    x = RNG.normal(size=(5, 7, 2))
    np.testing.assert_allclose(layer(x), dense(x), **CLOSE)
    y, dx, *gradients = passes(layer, x)
    for one, two in zip([y, dx, *gradients], passes(dense, x), strict=True):
        np.testing.assert_allclose(one, two, **CLOSE)
    assert layer(x[:, :0]).shape == (5, 0, 3) and layer(x[:0]).shape == (0, 7, 3)
    halves = TimeDistributed(Halves())
    left, right = halves.forward(x)
    np.testing.assert_array_equal(np.concatenate([left, right], axis=-1), x)
    np.testing.assert_array_equal(halves.backward((left, right)), x)


def test_what_has_no_axis_of_time_is_refused():
    with pytest.raises(ShapeError, match="no axis of time"):
        TimeDistributed(Activation("tanh")).build(())
    with pytest.raises(ShapeError, match="different numbers of steps"):
        TimeDistributed(Multiply()).build((3, 2), (4, 2))


# ------------------------------------------------------------------------------- all of them

WRAPPED = [Scan(Cell(3), True), Bidirectional(LSTM(3, True)), TimeDistributed(Dense(3))]
each = pytest.mark.parametrize("layer", WRAPPED, ids=lambda layer: type(layer).__name__)


@each
def test_time_is_open_and_files_return_the_same(layer, tmp_path):
    model = Sequential([layer.unbuilt(), TimeDistributed(Dense(1))])
    model.build((None, 2), rng=0)
    assert model.output_shapes == ((None, 1),)
    x = RNG.normal(size=(5, 9, 2))
    assert model(x).shape == (5, 9, 1)
    model.save(tmp_path / "model.safetensors")
    loaded = load(tmp_path / "model.safetensors", layers=[Cell])
    assert loaded == model
    np.testing.assert_array_equal(loaded(x), model(x))


@each
def test_float32_and_frozen(layer):
    layer = layer.unbuilt().freeze()
    layer.build((4, 2), rng=0, dtype="float32")
    parts = passes(
        layer, np.ones((5, 4, 2), "f4"), delta=np.ones((5, 4, layer.output_shape[-1]), "f4")
    )
    assert {part.dtype for part in parts} == {np.dtype("f4")}
    assert not layer.parameters.grad.any()


@pytest.mark.parametrize("kind", [Scan, Bidirectional, TimeDistributed])
@pytest.mark.parametrize("wrong", [3, "lstm", None, LSTM, [Dense(3)]])
def test_only_a_layer_can_be_inside(kind, wrong):
    with pytest.raises(DefinitionError, match="is defined around a layer") as caught:
        kind(wrong)
    assert caught.value.expected == f"{kind.__name__}(layer)"


class Noisy(Layer):
    """Draws in training, for each step and row anew."""

    rate: float = field(default=0.5)

    def build(self, *shapes):
        self.generator("coin")

    def forward(self, x, *h):
        self.kept = (self.coin.random(x.shape) >= self.rate) / (1 - self.rate)
        return x * self.kept if not h else x * self.kept + h[0]

    def backward(self, delta):
        return delta * self.kept

    def apply(self, x, *h):
        return x + h[0] if h else +x


def test_a_layer_that_draws_inside_draws_in_training_alone():
    x = np.ones((50, 4, 2))
    for layer in (TimeDistributed(Noisy()), Scan(Noisy(), True)):
        layer.build((4, 2), rng=0)
        np.testing.assert_array_equal(layer(x)[:, 0], x[:, 0])
        y = layer.forward(x)
        assert np.any(y[:, 0] != y[:, 1] - (y[:, 0] if isinstance(layer, Scan) else 0))
        assert set(np.unique(y[:, 0])) == {0, 2}
