"""Layers apply to rows of other shapes than those that they were built for, where they can."""

import copy
import pickle

import numpy as np
import pytest

from chainrule import (
    Activation,
    Add,
    Branches,
    Concatenate,
    Convolution,
    Dense,
    Flatten,
    Graph,
    Input,
    MaxPool,
    Multiply,
    Permute,
    Reshape,
    Residual,
    Sequential,
    Slice,
    check_layer,
    diagram,
    explain,
    load,
    summary,
    trace,
)
from chainrule.core import open_axes
from chainrule.core.errors import ConfigurationError, ShapeError
from chainrule.core.input_checks import as_tuple
from chainrule.core.layer import Layer
from chainrule.losses import HalfSquaredError

RNG = np.random.default_rng(0)


class Blur(Layer):
    """A convolution along the first axis of a row, (T, F) → (T, G), with a kernel of three."""

    units: int

    def build(self, input_shape):
        self.weights = self.parameter("weights", (3, input_shape[-1], self.units), "glorot_uniform")

    @property
    def accepted_shapes(self):
        return ((None, self.input_shape[-1]),)

    def forward(self, x):
        self.padded = np.pad(x, ((0, 0), (1, 1), (0, 0)))
        return sum(self.padded[:, i : i + x.shape[1]] @ w for i, w in enumerate(self.weights.value))

    def backward(self, delta):
        steps, spread = delta.shape[1], np.zeros_like(self.padded)
        terms = []
        for i, w in enumerate(self.weights.value):
            taken = self.padded[:, i : i + steps]
            terms.append(np.tensordot(taken, delta, ((0, 1), (0, 1))))
            spread[:, i : i + steps] += delta @ w.T
        self.weights.accumulate(np.stack(terms))
        return spread[:, 1:-1]


class MeanOverTime(Layer):
    accepts_any_shape = True

    def forward(self, x):
        self.steps = x.shape[1]
        return x.mean(axis=1)

    def backward(self, delta):
        return np.repeat(delta[:, np.newaxis], self.steps, axis=1) / self.steps


class Fixed(Layer):
    """Says nothing about its rows, so it fixes all axes."""

    def forward(self, x):
        return +x

    def backward(self, delta):
        return +delta


def network():
    return Sequential([Blur(4), Activation("tanh"), Residual(Dense(4)), MeanOverTime(), Dense(2)])


def series(steps, batch=3, features=2):
    return np.random.default_rng(steps).normal(size=(batch, steps, features))


def expected(model, x):
    """What the network computes, written out for one row after the other."""
    w = {path: model.parameters[path].value for path in model.parameters.paths}
    rows = []
    for row in x:
        padded = np.vstack([0 * row[:1], row, 0 * row[:1]])
        h = [sum(padded[t + i] @ w["blur_1.weights"][i] for i in range(3)) for t in range(len(row))]
        h = np.tanh(h)
        h = h + h @ w["residual_1/dense_1.weights"] + w["residual_1/dense_1.biases"]
        rows.append(h.mean(axis=0) @ w["dense_1.weights"] + w["dense_1.biases"])
    return np.array(rows)


@pytest.mark.parametrize(
    ("shape", "pattern", "does_fit"),
    [
        ((64,), (64,), True),
        ((63,), (64,), False),
        ((5, 3), (None, 3), True),
        ((5, 4), (None, 3), False),
        ((3,), (None, 3), False),
        ((3,), (..., 3), True),
        ((7, 5, 3), (..., 3), True),
        ((), (..., 3), False),
        ((), (...,), True),
        ((2, 9, 9, 3), (2, ..., 3), True),
        ((2,), (2, ..., 2), False),
        ((2, 3), (2, ..., None), True),
        ((5, 3), (5, None, 3), False),
    ],
)
def test_a_shape_fits_a_pattern(shape, pattern, does_fit):
    assert open_axes.fits(shape, pattern) is does_fit


@pytest.mark.parametrize("shape", [(5, 2), (None, 2)])
@pytest.mark.parametrize("steps", [1, 5, 7, 200])
def test_a_network_applies_to_series_of_any_length(shape, steps):
    model = network()
    model.build(shape, rng=0)
    x, delta = series(steps), np.ones((3, 2))
    np.testing.assert_allclose(model(x), expected(model, x), rtol=1e-12, atol=1e-14)
    np.testing.assert_array_equal(model.forward(x), model(x))
    assert model.backward(delta).shape == x.shape


def test_training_passes_may_alternate_between_lengths():
    model = network()
    model.build((5, 2), rng=0)
    for steps in (5, 9, 5, 3):
        fresh = network()
        fresh.build((steps, 2), rng=0)
        x, delta = series(steps), np.ones((3, 2))
        model.parameters.zero_grad()
        model.forward(x)
        fresh.forward(x)
        np.testing.assert_array_equal(model.backward(delta), fresh.backward(delta))
        np.testing.assert_array_equal(model.parameters.grad, fresh.parameters.grad)


def test_a_wrong_width_is_reported_before_any_arithmetic(monkeypatch):
    model = network()
    model.build((5, 2), rng=0)
    monkeypatch.setattr(np, "pad", None)  # any arithmetic would fail
    for call in (model, model.forward, model.apply):
        with pytest.raises(ShapeError, match="wrong shape") as caught:
            call(series(7, features=3))
        assert caught.value.place == "sequential/blur_1"
        assert caught.value.expected == "(batch, any, 2)"
        assert "(3, 7, 3)" in caught.value.received


@pytest.mark.parametrize("sizes", [(8, 8), (6, 5)])
@pytest.mark.parametrize("in_container", [False, True])
def test_images_with_channels_first_are_not_to_be_reshaped(sizes, in_container):
    model = Sequential([Convolution(2, 3)]) if in_container else Convolution(2, 3)
    model.build((8, 8, 3))
    x = np.zeros((5, 3, *sizes))
    with pytest.raises(ShapeError) as caught:
        model(x)
    assert caught.value.hint == "the channels are the last axis: np.moveaxis(x, 1, -1)"
    assert model(np.moveaxis(x, 1, -1)).shape == (5, *sizes, 2)
    with pytest.raises(ShapeError) as caught:
        model(np.zeros((5, 192)))
    assert caught.value.hint == "x.reshape(len(x), 8, 8, 3)"


def test_a_misfit_inside_a_container_has_its_place():
    model = Sequential([Dense(4), Residual(Fixed()), Dense(2)])
    model.build((5, 3), rng=0)
    with pytest.raises(ShapeError) as caught:
        model(np.ones((2, 6, 3)))
    assert caught.value.place == "sequential/residual_1/fixed_1"
    assert caught.value.received == "(batch, 6, 4), produced by dense_1"
    flat = Sequential([Flatten(), Dense(2)])
    flat.build((5, 3), rng=0)
    with pytest.raises(ShapeError) as caught:
        flat(np.ones((2, 6, 3)))
    assert caught.value.place == "sequential/dense_1"
    assert (caught.value.expected, caught.value.received) == (
        "(batch, …, 15)",
        "(batch, 18), produced by flatten_1",
    )


def test_a_refused_shape_changes_nothing():
    model = Sequential([Dense(4), Fixed()])
    model.build((5, 3), rng=0)
    model.forward(np.ones((2, 5, 3)))
    before = model.backward(np.ones((2, 5, 4)))
    with pytest.raises(ShapeError):
        model(np.ones((2, 6, 3)))
    np.testing.assert_array_equal(model.backward(np.ones((2, 5, 4))), before)


def test_a_trial_of_a_new_shape_changes_no_buffer_and_no_generator():
    class Noisy(Layer):
        accepts_any_shape = True

        def build(self, input_shape):
            self.buffer("mean", ())
            self.generator("draws")

        def forward(self, x):
            self.mean.value = x.mean()
            return x + self.draws.normal(size=x.shape)

        def backward(self, delta):
            return delta

        def apply(self, x):
            return x - self.mean.value

    model = Sequential([Noisy()])
    model.build((3,), rng=0)
    model.forward(np.ones((2, 3)))
    state = model.generators["noisy_1.draws"].bit_generator.state
    assert model(np.ones((2, 4))).tolist() == [[0.0] * 4] * 2
    assert model.buffers.value == [1.0]
    assert model.generators["noisy_1.draws"].bit_generator.state == state


@pytest.mark.parametrize(
    ("make", "built_for", "given", "y_shape"),
    [
        (Flatten, [(2, 3)], [(4, 5)], (20,)),
        (lambda: Reshape((-1, 2)), [(4,)], [(3, 2)], (3, 2)),
        (lambda: Reshape((6,)), [(2, 3)], [(3, 2)], (6,)),
        (lambda: Permute((2, 1)), [(2, 3)], [(4, 5)], (5, 4)),
        (lambda: Slice(1, 3), [(4,)], [(2, 7)], (2, 2)),
        (lambda: Slice(None, None, 2, axis=1), [(4, 2)], [(7, 3)], (4, 3)),
        (lambda: Activation("relu"), [(4,)], [(2, 2)], (2, 2)),
        (Add, [(3,), (3,)], [(2, 4), (2, 4)], (2, 4)),
        (lambda: Multiply(broadcast=True), [(3,), (3,)], [(2, 4), (1, 4)], (2, 4)),
        (Concatenate, [(3,), (2,)], [(5, 1), (5, 6)], (5, 7)),
        (lambda: Residual(Dense(3)), [(3,)], [(4, 3)], (4, 3)),
        (lambda: Branches([Dense(2), Dense(3)], merge=Concatenate()), [(3,)], [(4, 3)], (4, 5)),
    ],
)
def test_other_rows_give_what_a_layer_built_for_them_gives(make, built_for, given, y_shape):
    layer, fresh = make(), make()
    layer.build(*built_for, rng=0)
    fresh.build(*given, rng=0)
    x = [RNG.normal(size=(3, *shape)) for shape in given]
    y = layer.forward(*x)
    assert y.shape == (3, *y_shape)
    np.testing.assert_array_equal(y, fresh.forward(*x))
    np.testing.assert_array_equal(y, layer(*x))
    delta = RNG.normal(size=y.shape)
    pairs = zip(as_tuple(layer.backward(delta)), as_tuple(fresh.backward(delta)), strict=True)
    for one, two in pairs:
        np.testing.assert_array_equal(one, two)
    np.testing.assert_array_equal(layer.parameters.grad, fresh.parameters.grad)


@pytest.mark.parametrize(
    ("layer", "built_for", "given", "text"),
    [
        (Add(), [(3,), (3,)], [(1,), (4,)], "do not fit together"),
        (Concatenate(), [(5, 3), (5, 2)], [(5, 3), (4, 2)], "differ along an axis"),
        (Slice(3), [(5,)], [(3,)], "would be empty"),
        (Reshape((-1, 2)), [(4,)], [(5,)], "number of elements"),
        (Permute((2, 1)), [(2, 3)], [(2, 3, 4)], "number of axes"),
        (Dense(2), [(4,)], [()], "number of axes"),
    ],
)
def test_rows_that_build_would_refuse_are_refused_later_with_the_same_words(
    layer, built_for, given, text
):
    layer = layer.unbuilt()
    layer.build(*built_for, rng=0)
    with pytest.raises(ShapeError, match=text):
        layer(*[np.ones((2, *shape)) for shape in given])


def test_a_layer_that_would_need_other_parameters_refuses_and_names_them():
    class Positions(Layer):
        accepts_any_shape = True

        def build(self, input_shape):
            self.offsets = self.parameter("offsets", input_shape)

        def forward(self, x):
            return x + self.offsets.value

        def backward(self, delta):
            self.offsets.accumulate(delta.sum(axis=0))
            return delta

    layer = Positions()
    layer.build((5, 2))
    with pytest.raises(ShapeError, match="need other parameters") as caught:
        layer(np.ones((3, 6, 2)))
    assert caught.value.received == "offsets of shape (6, 2) for rows (batch, 6, 2)"


# ---------------------------------------------------------------- None in build and Input


def test_a_model_that_is_built_with_open_axes_knows_which_of_its_axes_are_open():
    model = network()
    model.build((None, 2), rng=0)
    assert model.input_shape == (None, 2) and model.output_shape == (2,)
    assert [layer.input_shape for layer in model] == [
        (None, 2),
        (None, 4),
        (None, 4),
        (None, 4),
        (4,),
    ]
    assert model[2].output_shape == (None, 4) and model[3].output_shape == (4,)
    sized = network()
    sized.build((5, 2), rng=0)
    np.testing.assert_array_equal(model.parameters.value, sized.parameters.value)


def test_a_graph_of_several_open_inputs_and_outputs():
    a, b = Input((None, 2)), Input((None, 3), name="other")
    h = Dense(3)(a)
    model = Graph([a, b], {"joined": Concatenate()(h, b), "mean": MeanOverTime()(Dense(2)(b))})
    model.build(rng=0)
    assert model.input_shapes == ((None, 2), (None, 3))
    assert model.output_shapes == ((None, 6), (2,))
    for steps in (4, 9):
        joined, mean = model(np.ones((2, steps, 2)), np.ones((2, steps, 3)))
        assert joined.shape == (2, steps, 6) and mean.shape == (2, 2)
    with pytest.raises(ShapeError, match="differ along an axis") as caught:
        model(np.ones((2, 4, 2)), np.ones((2, 5, 3)))
    assert caught.value.place == "graph/concatenate_1"
    with pytest.raises(ShapeError) as caught:
        model(np.ones((2, 4, 2)), np.ones((2, 4, 4)))
    assert caught.value.place == "graph/other" and caught.value.expected == "(batch, any, 3)"


def test_a_nested_graph_with_open_inputs():
    x, u = Input((None, 2)), Input((None, 4))
    inner = Graph(u, Residual(Dense(4))(u))
    model = Sequential([Graph(x, inner(Dense(4)(x))), MeanOverTime()])
    model.build((None, 2), rng=0)
    assert model(series(3)).shape == (3, 4) and model(series(11)).shape == (3, 4)
    with pytest.raises(ShapeError):
        Sequential([Dense(5), inner.unbuilt()]).build((None, 2))


def test_an_input_of_one_size_keeps_to_it_and_the_hint_says_how_to_open_it():
    x = Input((5, 2))
    model = Graph(x, Dense(3)(x))
    with pytest.raises(ShapeError) as caught:
        model(np.ones((1, 7, 2)))
    assert caught.value.hint.startswith("Input((None, 2)) leaves the axis open")


@pytest.mark.parametrize(
    ("make", "place"),
    [
        (lambda: Sequential([Fixed()]), "sequential/fixed_1"),
        (lambda: Sequential([Flatten(), Dense(3)]), "sequential/dense_1"),
        (lambda: Residual(Dense(3), Fixed()), "residual/fixed_1"),
        (Fixed, None),
    ],
)
def test_a_layer_that_fixes_an_open_axis_is_reported_at_build(make, place):
    model = make()
    with pytest.raises(ShapeError, match="needs a fixed size") as caught:
        model.build((None, 3), rng=0)
    assert caught.value.place == place and "any" in caught.value.received
    assert not model.is_built


def halvings(count):
    return [Convolution(2, 3, stride=2) for _ in range(count)]


def test_an_axis_stays_open_after_many_strides():
    model = Sequential(halvings(6))
    model.build((None, None, 3))
    assert model.output_shape == (None, None, 2)
    with pytest.raises(ShapeError, match="needs a fixed size"):
        Sequential([*halvings(6), Flatten(), Dense(3)]).build((None, None, 3))


def test_layers_that_need_long_rows_say_that_an_open_axis_was_tried_with_few_entries():
    layers = [MaxPool(10), MaxPool(10)]
    with pytest.raises(ShapeError, match="window is larger") as caught:
        Sequential(layers).build((None, 1))
    assert caught.value.hint.endswith(
        "None was tried as 96; build for larger rows, others fit later, too"
    )
    model = Sequential([layer.unbuilt() for layer in layers])
    model.build((200, 1))
    assert model(np.ones((2, 300, 1))).shape == (2, 3, 1)


@pytest.mark.parametrize("shape", [(None, -1), (None, "a"), "None"])
def test_an_invalid_open_shape_is_rejected(shape):
    with pytest.raises(ShapeError, match="invalid shape"):
        Dense(3).build(shape)
    with pytest.raises(ConfigurationError, match="invalid shape"):
        Input(shape)


@pytest.mark.parametrize("shape", [(5, 2), (None, 2)])
def test_open_axes_survive_files_and_copies(shape, tmp_path):
    model = network()
    model.build(shape, rng=0)
    model.save(tmp_path / "model.safetensors")
    copies = [
        load(tmp_path / "model.safetensors", layers=[Blur, MeanOverTime]),
        pickle.loads(pickle.dumps(model)),
        copy.deepcopy(model),
        model.twin(),
    ]
    for copied in copies:
        assert copied.input_shapes == model.input_shapes
        assert [m.input_shapes for _, m in copied.walk()] == [
            m.input_shapes for _, m in model.walk()
        ]
        np.testing.assert_array_equal(copied(series(8)), model(series(8)))


def test_a_model_with_open_axes_is_shown_and_checked():
    x = Input((None, 2))
    model = Graph(x, MeanOverTime()(Reshape((-1, 4))(Add()(Dense(2)(x), Slice(0, 2)(x)))))
    model.build(rng=0)
    assert "(batch, any, 2)" in str(summary(model)) or "(n, any, 2)" in str(summary(model))
    assert "any×2" in str(diagram(model))
    assert "ℝ^(N×any×2)" in str(explain(model))
    assert "dense_1" in str(trace(model, series(4), np.ones((3, 4)), HalfSquaredError()))
    assert check_layer(model, (6, 2)).ok
