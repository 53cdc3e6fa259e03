"""Convolution and its transpose: numbers by hand, the sums, the matrix of the map, and PyTorch."""

from __future__ import annotations

import itertools
import math

import hypothesis.strategies as st
import numpy as np
import pytest
from attrs import define
from hypothesis import assume, given, settings

from chainrule import (
    Activation,
    Add,
    Convolution,
    Dense,
    Flatten,
    Graph,
    Input,
    Sequential,
    TransposedConvolution,
    check_layer,
    derivatives,
    explain,
    load,
    losses,
)
from chainrule.core.errors import BuildError, ConfigurationError, ShapeError
from chainrule.core.initializers import Constant, Orthogonal
from chainrule.layers import correlation
from display.test_equations import Passes

CLOSE = {"rtol": 1e-12, "atol": 1e-12}

# ------------------------------------------------------------------------------- by hand


def test_a_signal_by_hand():
    """Weights 1, 10, 100 for the entries before, at and after each place."""
    layer = Convolution(1, 3)
    layer.build((4, 1), rng=0)
    layer.weights.value = np.reshape([1, 10, 100], (3, 1, 1))
    layer.biases.value = [1000]
    z = layer.forward(np.reshape([1.0, 2, 3, 4], (1, 4, 1)))
    np.testing.assert_array_equal(z.ravel(), [1210, 1321, 1432, 1043])
    delta_in = layer.backward(np.reshape([1.0, 0, 0, 2], (1, 4, 1)))
    np.testing.assert_array_equal(delta_in.ravel(), [10, 100, 2, 20])
    np.testing.assert_array_equal(layer.weights.grad.ravel(), [2 * 3, 1 + 2 * 4, 2])
    np.testing.assert_array_equal(layer.biases.grad, [3])


def test_the_transpose_by_hand():
    """Each entry writes the kernel, two places further than the one before."""
    layer = TransposedConvolution(1, 3, stride=2, padding="valid", use_bias=False)
    layer.build((2, 1), rng=0)
    layer.weights.value = np.reshape([1, 10, 100], (3, 1, 1))
    z = layer.forward(np.reshape([1.0, 2], (1, 2, 1)))
    np.testing.assert_array_equal(z.ravel(), [1, 10, 102, 20, 200])
    delta_in = layer.backward(np.reshape([1.0, 2, 3, 4, 5], (1, 5, 1)))
    np.testing.assert_array_equal(delta_in.ravel(), [321, 543])
    np.testing.assert_array_equal(layer.weights.grad.ravel(), [1 + 6, 2 + 8, 3 + 10])


def test_an_image_of_two_channels_by_hand():
    """The filter takes the right neighbour of channel 0 and the lower one of channel 1."""
    layer = Convolution(1, 2, use_bias=False)
    layer.build((2, 2, 2), rng=0)
    weights = np.zeros((2, 2, 2, 1))
    weights[0, 1, 0], weights[1, 0, 1] = 1, 1
    layer.weights.value = weights
    x = np.stack([[[1.0, 2], [3, 4]], [[10, 20], [30, 40]]], axis=-1)[np.newaxis]
    np.testing.assert_array_equal(layer(x)[0, :, :, 0], [[2 + 30, 40], [4, 0]])


@pytest.mark.parametrize(
    ("padding", "row"),
    [
        ("periodic", [10 * 4 + 1 + 100 * 2, 123 * 0 + 10 + 2 + 300, 20 + 3 + 400, 30 + 4 + 100]),
        ("reflect", [20 + 1 + 200, 10 + 2 + 300, 20 + 3 + 400, 30 + 4 + 300]),
        (((1, 0),), [1 * 0 + 1 + 200, 10 + 2 + 300, 20 + 3 + 400]),
    ],
)
def test_edges_by_hand(padding, row):
    layer = Convolution(1, 3, padding=padding)
    layer.build((4, 1), rng=0)
    layer.weights.value = np.reshape([10, 1, 100], (3, 1, 1))
    np.testing.assert_array_equal(layer(np.reshape([1.0, 2, 3, 4], (1, 4, 1))).ravel(), row)


# ------------------------------------------------------------------------------- the definition


@define
class Case:
    """A configuration, and rows for it."""

    kind: type
    filters: int
    kernel: tuple
    stride: tuple
    padding: object
    dilation: tuple
    groups: int
    row: tuple
    batch: int
    seed: int

    def layer(self, **more):
        return self.kind(
            self.filters, self.kernel, self.stride, self.padding, self.dilation, self.groups, **more
        )

    def built(self, **more):
        layer = self.layer(bias_initializer="normal")
        try:
            layer.build(self.row, **{"rng": self.seed, **more})
        except ShapeError:  # too small for the kernel
            assume(False)
        return layer

    def batches(self, layer):
        rng = np.random.default_rng(self.seed)
        x = rng.normal(size=(self.batch, *self.row))
        return x, rng.normal(size=(self.batch, *layer.output_shape))


@st.composite
def cases(draw, kinds=(Convolution, TransposedConvolution), edges=("periodic", "reflect")):
    axes, groups = draw(st.integers(1, 3)), draw(st.sampled_from([1, 1, 2, 3]))

    def sizes(most):
        return tuple(draw(st.integers(1, most)) for _ in range(axes))

    pairs = st.tuples(*(st.tuples(st.integers(0, 2), st.integers(0, 2)) for _ in range(axes)))
    return Case(
        kind=draw(st.sampled_from(kinds)),
        filters=groups * draw(st.integers(1, 2)),
        kernel=sizes(4),
        stride=sizes(3),
        padding=draw(st.sampled_from(["same", "valid", 1, *edges]) | pairs),
        dilation=sizes(2),
        groups=groups,
        row=(*sizes(6 if axes < 3 else 4), groups * draw(st.integers(1, 2))),
        batch=draw(st.integers(1, 3)),
        seed=draw(st.integers(0, 99)),
    )


def by_the_sums(x, weights, windows, groups):
    """y_i = Σ_k x_(s i + d k) w_k, place by place, offset by offset, group by group."""
    modes = {"periodic": "wrap", "reflect": "reflect"}
    added = ((0, 0), *windows.amounts, (0, 0))
    x = np.pad(x, added, mode=modes.get(windows.padding, "constant"))
    *kernel, channels, filters = weights.shape
    y = np.zeros((len(x), *windows.outputs, filters))
    per_group = filters // groups
    for i in itertools.product(*map(range, windows.outputs)):
        for k in itertools.product(*map(range, kernel)):
            place = [s * a + d * b for s, a, d, b in
                     zip(windows.strides, i, windows.dilations, k, strict=True)]  # fmt: skip
            seen = x[(slice(None), *place)]
            for g in range(groups):
                of_group = slice(g * per_group, (g + 1) * per_group)
                y[(slice(None), *i, of_group)] += (
                    seen[:, g * channels : (g + 1) * channels]
                    @ weights[(*k, slice(None), of_group)]
                )
    return y


def the_map(layer):
    """The matrix of the convolution, from each entry of a row to each output, by the sums."""
    windows = layer._windows(layer.input_shape)
    weights = layer.weights.value
    channels = layer.input_shape[-1]
    if isinstance(layer, TransposedConvolution):
        weights, channels = np.swapaxes(weights, -1, -2), layer.filters
    row = (*windows.sizes, channels)
    units = np.eye(math.prod(row)).reshape(-1, *row)
    outputs = by_the_sums(units, weights, windows, layer.groups)
    return outputs.reshape(len(units), -1)


@given(case=cases())
@settings(max_examples=100)
def test_both_passes_are_the_sums_and_their_transpose(case):
    """Forward by the matrix of the map, back by its transpose; and the reverse for a transpose."""
    layer = case.built()
    x, delta = case.batches(layer)
    matrix = the_map(layer)
    if case.kind is TransposedConvolution:
        matrix = matrix.T
    expected = (x.reshape(len(x), -1) @ matrix).reshape(delta.shape) + layer.biases.value
    np.testing.assert_allclose(layer.forward(x), expected, **CLOSE)
    np.testing.assert_allclose(layer(x), expected, **CLOSE)
    back = (delta.reshape(len(x), -1) @ matrix.T).reshape(x.shape)
    np.testing.assert_allclose(layer.backward(delta), back, **CLOSE)
    assert layer.output_shape == expected.shape[1:]


@given(case=cases())
@settings(max_examples=40)
def test_the_gradients_are_linear_in_each_weight(case):
    """z is linear in w and b, so ∂C/∂θ_n = ⟨Δ, z(θ + e_n) − z(θ)⟩ without any error of a step."""
    layer = case.built()
    x, delta = case.batches(layer)
    z = layer.forward(x)
    layer.backward(delta)
    gradient = layer.parameters.grad.copy()
    layer.parameters.zero_grad()
    layer.forward(x)
    layer.backward_parameters(delta)
    np.testing.assert_allclose(layer.parameters.grad, gradient, **CLOSE)
    rng = np.random.default_rng(0)
    for n in rng.choice(len(gradient), size=min(5, len(gradient)), replace=False):
        start = layer.parameters.value.copy()
        layer.parameters.value[n] += 1
        assert np.sum(delta * (layer(x) - z)) == pytest.approx(gradient[n], abs=1e-11)
        layer.parameters.value = start


@given(case=cases(kinds=(Convolution,)))
@settings(max_examples=40)
def test_a_transpose_undoes_the_shape_of_the_convolution_with_the_same_arguments(case):
    """⟨u, A x⟩ = ⟨Aᵀ u, x⟩, with one array of weights for both layers."""
    there = case.layer(use_bias=False)
    # Rows that the transpose can make: n s, or as many as the windows cover.
    small = case.row
    back = TransposedConvolution(
        case.row[-1], case.kernel, case.stride, case.padding, case.dilation, case.groups, False
    )
    try:
        back.build((*small[:-1], case.filters), rng=0)
        there.build(back.output_shape, rng=0)
    except ShapeError:
        assume(False)
    assert there.output_shape == back.input_shape
    there.weights.value = np.swapaxes(back.weights.value, -1, -2)
    rng = np.random.default_rng(case.seed)
    x, u = rng.normal(size=(2, *there.input_shape)), rng.normal(size=(2, *there.output_shape))
    assert np.sum(u * there(x)) == pytest.approx(np.sum(back(u) * x), abs=1e-10)


@given(case=cases())
@settings(max_examples=8)
def test_every_law_holds(case):
    try:
        case.layer().build(case.row)
    except ShapeError:
        assume(False)
    assert check_layer(case.layer(use_bias=bool(case.seed % 2)), case.row, rng=case.seed).ok


@pytest.mark.parametrize(
    ("padding", "dilation", "size"),
    [("same", 1, 12), ("periodic", 2, 12), ("valid", 1, 12), ("valid", 2, 14), (1, 1, 10)],
)
def test_the_sizes_that_a_transpose_makes(padding, dilation, size):
    """n s; (n − 1) s + d (k − 1) + 1; and less what is cut off."""
    layer = TransposedConvolution(1, 3, stride=3, dilation=dilation, padding=padding)
    layer.build((4, 1))
    assert layer.output_shape == (size, 1)


# ------------------------------------------------------------------------------- PyTorch


@pytest.mark.peers
@given(case=cases(kinds=(Convolution,)))
@settings(max_examples=150)
def test_a_convolution_is_that_of_pytorch(torch, case):
    layer = case.built()
    windows = layer._windows(case.row)
    modes = {"periodic": "circular", "reflect": "reflect"}
    mode = modes.get(case.padding, "constant")
    # PyTorch does not go round a ring twice.
    assume(mode != "circular" or all(
        max(p) <= n for p, n in zip(windows.amounts, case.row, strict=False)))  # fmt: skip
    added = [p for pair in reversed(windows.amounts) for p in pair]
    convolve = (torch.conv1d, torch.conv2d, torch.conv3d)[len(windows.sizes) - 1]

    def theirs(x, weights, biases):
        x = torch.nn.functional.pad(x, added, mode=mode) if any(added) else x
        return convolve(x, weights, biases, stride=case.stride, dilation=case.dilation,
                        groups=case.groups)  # fmt: skip

    compare(torch, case, layer, theirs)


@pytest.mark.peers
@given(case=cases(kinds=(TransposedConvolution,), edges=()))
@settings(max_examples=150)
def test_a_transposed_convolution_is_that_of_pytorch(torch, case):
    layer = case.built()
    windows = layer._windows(case.row)
    convolve = getattr(torch, f"conv_transpose{len(windows.sizes)}d")

    def theirs(x, weights, biases):
        """Without padding, then what the padding cuts off; beyond the windows there are zeros."""
        whole = convolve(x, weights, None, case.stride, 0, 0, case.groups, case.dilation)
        ends = [before + n for n, (before, _) in zip(windows.sizes, windows.amounts, strict=True)]
        missing = [max(end - n, 0) for end, n in zip(ends, whole.shape[2:], strict=True)]
        whole = torch.nn.functional.pad(whole, [n for m in reversed(missing) for n in (0, m)])
        inner = [slice(p, end) for end, (p, _) in zip(ends, windows.amounts, strict=True)]
        return whole[(slice(None), slice(None), *inner)] + biases.reshape(-1, *[1] * len(ends))

    compare(torch, case, layer, theirs)


def compare(torch, case, layer, theirs):
    def first(array):  # channels first; for weights filters and channels, in PyTorch's order
        return np.moveaxis(array, -1, 1)

    def of_weights(array):
        axes = (-2, -1) if case.kind is TransposedConvolution else (-1, -2)
        return np.moveaxis(array, axes, (0, 1))

    x, delta = case.batches(layer)
    inputs, weights, biases = (
        torch.tensor(np.ascontiguousarray(a), requires_grad=True)
        for a in (first(x), of_weights(layer.weights.value), layer.biases.value)
    )
    outputs = theirs(inputs, weights, biases)
    outputs.backward(torch.tensor(np.ascontiguousarray(first(delta))))
    np.testing.assert_allclose(first(layer.forward(x)), outputs.detach().numpy(), **CLOSE)
    np.testing.assert_allclose(first(layer.backward(delta)), inputs.grad.numpy(), **CLOSE)
    np.testing.assert_allclose(of_weights(layer.weights.grad), weights.grad.numpy(), **CLOSE)
    np.testing.assert_allclose(layer.biases.grad, biases.grad.numpy(), **CLOSE)


# ------------------------------------------------------------------------------- how it is computed


def _is_dense(windows):
    return windows.strides[-1] == windows.dilations[-1] == 1


@given(
    case=cases(),
    kilobytes=st.sampled_from([0, 1]),
    small=st.sampled_from([1, 10**9]),
    in_place=st.booleans(),
)
@settings(max_examples=60)
def test_the_pieces_of_a_batch_do_not_matter(case, kilobytes, small, in_place):
    """Nor in which blocks BLAS gets them, nor whether it gets copies of the columns or views."""
    layer = case.built()
    x, delta = case.batches(layer)
    expected = layer.forward(x), layer.backward(delta), layer.parameters.grad.copy()
    layer.parameters.zero_grad()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(correlation, "CACHED", 1000 * kilobytes)
        patch.setattr(correlation, "SMALL", small)
        patch.setattr(correlation, "_can_stay", lambda w: in_place and _is_dense(w))
        correlation._parts.cache_clear()
        found = layer.forward(x), layer.backward(delta), layer.parameters.grad
    correlation._parts.cache_clear()
    for array, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(array, other, **CLOSE)


@pytest.mark.parametrize("kind", [Convolution, TransposedConvolution])
def test_images_that_are_computed_in_many_pieces(kind):
    """Large enough for several pieces and several blocks each."""
    rng = np.random.default_rng(0)
    layer = kind(16, 3)
    layer.build((32, 32, 16), rng=0, dtype="float32")
    x = rng.normal(size=(12, 32, 32, 16)).astype("float32")
    whole, back = layer.forward(x), layer.backward(x)
    gradient = layer.weights.grad.copy()
    layer.parameters.zero_grad()
    for n in range(len(x)):
        np.testing.assert_allclose(layer.forward(x[n : n + 1])[0], whole[n], atol=1e-4)
        np.testing.assert_allclose(layer.backward(x[n : n + 1])[0], back[n], atol=1e-4)
    np.testing.assert_allclose(layer.weights.grad, gradient, atol=2e-2)


@pytest.mark.parametrize("padding", ["same", "valid", "periodic", "reflect", 2, ((1, 0), (0, 2))])
@pytest.mark.parametrize("kind", [Convolution, TransposedConvolution])
def test_long_lines_are_not_copied_and_give_the_same(monkeypatch, kind, padding):
    layer = kind(3, 3, padding=padding)
    layer.build((5, 12, 2), rng=0)
    rng = np.random.default_rng(0)
    x = rng.normal(size=(4, 5, 12, 2))
    delta = rng.normal(size=(4, *layer.output_shape))
    seen = []

    def noted(x, windows):
        seen.append(windows)
        return views(x, windows)

    views = correlation._views
    monkeypatch.setattr(correlation, "_is_fast", lambda *given: False)  # with MKL, all are copied
    monkeypatch.setattr(correlation, "_views", noted)
    found = layer.forward(x), layer.backward(delta), layer.weights.grad.copy()
    assert seen
    layer.parameters.zero_grad()
    monkeypatch.setattr(correlation, "_can_stay", lambda windows: False)
    copied = layer.forward(x), layer.backward(delta), layer.weights.grad
    for array, other in zip(found, copied, strict=True):
        np.testing.assert_allclose(array, other, **CLOSE)


def test_a_depthwise_convolution_has_a_filter_for_each_channel():
    layer = Convolution(6, 3, groups=3, use_bias=False)
    layer.build((5, 5, 3), rng=0)
    assert layer.weights.shape == (3, 3, 1, 6)
    x = np.random.default_rng(0).normal(size=(2, 5, 5, 3))
    whole = layer(x)
    for c in range(3):
        single = Convolution(2, 3, use_bias=False)
        single.build((5, 5, 1), rng=0)
        single.weights.value = layer.weights.value[..., 2 * c : 2 * c + 2]
        np.testing.assert_allclose(
            single(x[..., c : c + 1]), whole[..., 2 * c : 2 * c + 2], **CLOSE
        )


def test_a_kernel_of_one_entry_is_a_dense_layer_at_every_place():
    layer, dense = Convolution(4, 1), Dense(4)
    layer.build((5, 6, 3), rng=0)
    dense.build((5, 6, 3), rng=0)
    dense.weights.value = layer.weights.value[0, 0]
    x = np.random.default_rng(0).normal(size=(2, 5, 6, 3))
    np.testing.assert_allclose(layer(x), dense(x), **CLOSE)


def test_a_stride_larger_than_the_kernel_leaves_entries_out():
    layer = Convolution(1, 2, stride=4, padding="valid", initializer="ones")
    layer.build((9, 1), rng=0)
    layer.forward(np.ones((1, 9, 1)))
    delta_in = layer.backward(np.reshape([1.0, 2.0], (1, 2, 1)))
    np.testing.assert_array_equal(delta_in.ravel(), [1, 1, 0, 0, 2, 2, 0, 0, 0])


# ------------------------------------------------------------------------------- as a layer


@pytest.mark.parametrize("kind", [Convolution, TransposedConvolution])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_every_array_is_of_the_type_that_it_was_built_for(kind, dtype):
    for padding, stride in itertools.product(["same", "periodic", "reflect", 2], [1, 2]):
        layer = kind(4, 3, stride, padding, groups=2)
        layer.build((6, 5, 2), dtype=dtype)
        x = np.ones((3, 6, 5, 2), dtype)
        z = layer.forward(x)
        arrays = [z, layer(x), layer.backward(np.ones_like(z))]
        arrays += [parameter.grad for parameter in layer.parameters]
        assert {array.dtype for array in arrays} == {np.dtype(dtype)}


@pytest.mark.parametrize("kind", [Convolution, TransposedConvolution])
def test_images_of_any_size_and_only_those(kind):
    layer = kind(2, 3, stride=2)
    layer.build((None, None, 3))
    assert layer.input_shape == (None, None, 3)
    assert layer.output_shape == (None, None, 2)
    for rows in [(8, 8, 3), (5, 11, 3)]:
        z = layer.forward(np.ones((2, *rows)))
        factor = 2 if kind is TransposedConvolution else 0.5
        assert z.shape == (2, *(math.ceil(n * factor) for n in rows[:-1]), 2)
        assert layer.backward(np.ones_like(z)).shape == (2, *rows)
    shown = str(explain(layer))
    assert "does not provide" not in shown
    ways = ["Σₖ({wide}[s i + d k − p] w₁[k]{t})", "Σ[s i + d k − p = j]({narrow}[i] w₁[k]{t})"]
    wide, narrow = ("y₀", "Δ₁") if kind is Convolution else ("Δ₁", "y₀")
    forward, backward = ways if kind is Convolution else reversed(ways)
    assert "z₁ = " + forward.format(wide=wide, narrow=narrow, t="") + " + b₁" in shown
    assert "Δ₀ = " + backward.format(wide=wide, narrow=narrow, t="ᵀ") in shown
    with pytest.raises(ShapeError):
        layer(np.ones((2, 8, 8, 4)))
    with pytest.raises(ShapeError):
        layer(np.ones((2, 8, 3)))


def test_rows_that_become_too_small_are_refused_with_their_place():
    model = Sequential([Convolution(2, 5, padding="valid"), Activation("relu")])
    model.build((9, 9, 1))
    with pytest.raises(ShapeError, match="larger than the rows") as caught:
        model(np.ones((1, 4, 9, 1)))
    assert "convolution_1" in caught.value.place


def test_it_is_saved_with_its_configuration_and_weights(tmp_path):
    model = Sequential(
        [
            Convolution(4, (3, 2), (2, 1), ((1, 0), 2), 2, groups=2, initializer="he_normal"),
            TransposedConvolution(2, 3, padding="periodic", use_bias=False),
        ]
    )
    x = np.random.default_rng(0).normal(size=(2, 7, 6, 2))
    model.build((7, 6, 2), rng=0)
    y = model(x)
    model.save(tmp_path / "model")
    copy = load(tmp_path / "model")
    assert copy == model
    np.testing.assert_array_equal(copy(x), y)


@pytest.mark.parametrize("kind", [Convolution, TransposedConvolution])
def test_frozen_weights_get_no_gradient_and_the_delta_is_the_same(kind):
    layer = kind(2, 3)
    layer.build((5, 4, 2), rng=0)
    rng = np.random.default_rng(0)
    x, delta = rng.normal(size=(2, 2, 5, 4, 2))
    layer.forward(x)
    delta_in = layer.backward(delta)
    layer.parameters.zero_grad()
    layer.freeze()
    layer.forward(x)
    np.testing.assert_allclose(layer.backward(delta), delta_in, **CLOSE)
    layer.backward_parameters(delta)
    assert not layer.parameters.grad.any()


def test_a_shared_convolution_gets_the_sum_of_the_gradients_of_its_places():
    x, y = Input((6, 2)), Input((5, 2))
    shared = Convolution(2, 3)
    head = Dense(1)
    model = Graph(
        [x, y], Add()(head(Flatten()(Dense(2)(shared(x)))), Dense(1)(Flatten()(shared(y))))
    )
    assert check_layer(model, ((6, 2), (5, 2))).ok
    assert len([path for path in model_paths(model) if path.startswith("convolution")]) == 2


def model_paths(model):
    copy = model.unbuilt()
    copy.build((6, 2), (5, 2))
    return copy.parameters.paths


@pytest.mark.parametrize("kind", [Convolution, TransposedConvolution])
def test_the_gradients_of_the_rows_add_up_and_tangents_go_through(kind):
    layer = kind(2, 2, stride=2, padding="periodic")
    layer.build((4, 4, 1), rng=0)
    rng = np.random.default_rng(1)
    x, v = rng.normal(size=(2, 3, 4, 4, 1))
    delta = rng.normal(size=(3, *layer.output_shape))
    layer.forward(x)
    layer.backward(delta)
    rows = derivatives.row_gradients(layer, x, delta)
    np.testing.assert_allclose(rows.sum(axis=0), layer.parameters.grad, **CLOSE)
    tangent = derivatives.jvp(layer, x, v)[1]
    np.testing.assert_allclose(tangent, layer(v) - layer(np.zeros_like(v)), **CLOSE)


def test_second_derivatives_go_through_both_passes():
    """⟨u, H v⟩ = ⟨v, H u⟩, and H v is how the gradient changes along v."""
    model = Sequential(
        [
            Convolution(4, 3, stride=2, padding="reflect", groups=2),
            Activation("tanh"),
            TransposedConvolution(2, 3, stride=2),
        ]
    )
    model.build((6, 5, 2), rng=0)
    rng, loss = np.random.default_rng(0), losses.HalfSquaredError()
    x = rng.normal(size=(3, 6, 5, 2))
    t = rng.normal(size=(3, *model.output_shape))
    u, v = rng.normal(size=(2, model.parameters.size))
    hv = derivatives.hvp(model, loss, x, t, v)
    assert u @ hv == pytest.approx(v @ derivatives.hvp(model, loss, x, t, u), rel=1e-11)

    def gradient(theta):
        model.parameters.value = theta
        return derivatives.value_and_gradient(model, loss, x, t)[1]

    theta, step = model.parameters.value.copy(), 1e-5
    change = (gradient(theta + step * v) - gradient(theta - step * v)) / (2 * step)
    np.testing.assert_allclose(hv, change, atol=1e-7)


# ------------------------------------------------------------------------------- initial values


def test_the_variance_counts_the_kernel_and_the_channels_of_a_group():
    def spread(layer, channels):
        layer.build((16, 16, channels), rng=0)
        return np.abs(layer.weights.value).max()

    for layer, n_in, n_out in [
        (Convolution(64, 3), 9 * 32, 9 * 64),
        (Convolution(64, (3, 5), groups=4), 15 * 8, 15 * 16),
        (TransposedConvolution(64, 3), 9 * 32, 9 * 64),
        (TransposedConvolution(64, 3, groups=4), 9 * 8, 9 * 16),
    ]:
        limit = math.sqrt(6 / (n_in + n_out))
        assert 0.99 * limit < spread(layer, 32) <= limit
    layer = Convolution(64, 3, groups=2, initializer="he_normal", use_bias=False)
    layer.build((8, 8, 64), rng=0)
    assert np.std(layer.weights.value) == pytest.approx(math.sqrt(2 / (9 * 32)), rel=0.02)


def test_each_group_starts_with_weights_of_its_own():
    layer = Convolution(4, 3, groups=2, initializer=Orthogonal())
    layer.build((8, 2), rng=0)
    for group in np.split(layer.weights.value, 2, axis=-1):
        matrix = group.reshape(-1, 2)
        np.testing.assert_allclose(matrix.T @ matrix, np.eye(2), **CLOSE)


# ------------------------------------------------------------------------------- on paper


def test_the_formula_is_a_sum_over_the_offsets_of_the_kernel():
    layer = Convolution(3, 3, padding="valid")
    layer.build((6, 5, 2), rng=0)
    forward = next(r for r in explain(layer).records if r.kind == "forward")
    assert forward.text == "z₁ = Σ[i < 3, j < 3] y₀[:, i:i + 4, j:j + 3] w₁[i, j] + b₁"
    assert forward.latex.startswith(r"z^{(1)} = \sum_{i < 3, j < 3} y^{(0)}_{[:, i:i + 4")


@given(case=cases())
@settings(max_examples=40)
def test_the_formulas_compute_what_the_layer_does(case):
    Passes(case.built()).check()


# ------------------------------------------------------------------------------- errors


def test_the_repr_shows_what_is_not_default_and_makes_an_equal_layer():
    layers = {
        "Convolution(16, 3)": Convolution(16, 3),
        "Convolution(16, (3, 5), stride=2)": Convolution(16, [3, 5], stride=np.int64(2)),
        "TransposedConvolution(4, 2, padding=((1, 0), 2), groups=2)": TransposedConvolution(
            4, 2, padding=[[1, 0], 2], groups=2
        ),
        "Convolution(16, 3, initializer=Constant(value=0.5))": Convolution(16, 3, initializer=0.5),
    }
    names = {
        "Convolution": Convolution,
        "TransposedConvolution": TransposedConvolution,
        "Constant": Constant,
    }
    for text, layer in layers.items():
        assert repr(layer).replace("kernel=", "").replace("filters=", "") == text
        assert eval(repr(layer), names) == layer


@pytest.mark.parametrize(
    ("arguments", "problem", "hint"),
    [
        ({"filters": 0}, "filters has an invalid value", "filters=16"),
        ({"filters": 2.0}, "filters has an invalid value", "filters=16"),
        ({"kernel": 0}, "kernel has an invalid value", "kernel=3"),
        ({"stride": 0}, "stride has an invalid value", "stride=1"),
        ({"dilation": "2"}, "dilation has an invalid value", "dilation=1"),
        ({"padding": "full"}, "padding has an invalid value", "padding='same'"),
        ({"groups": 0}, "groups has an invalid value", "groups=1"),
        ({"groups": 3}, "groups has an invalid value", "filters=6"),
        ({"use_bias": "relu"}, "use_bias has an invalid value", "use_bias=True"),
        ({"initializer": "he_norml"}, "there is no initializer", "did you mean 'he_normal'?"),
    ],
)
def test_arguments_that_make_no_convolution_are_refused(arguments, problem, hint):
    for kind in (Convolution, TransposedConvolution):
        with pytest.raises(ConfigurationError, match=problem) as caught:
            kind(**{"filters": 4, "kernel": 3, **arguments})
        assert hint in caught.value.hint


def test_groups_that_do_not_divide_the_channels_are_refused():
    for kind in (Convolution, TransposedConvolution):
        with pytest.raises(ShapeError, match="groups do not divide the channels") as caught:
            kind(4, 3, groups=2).build((8, 8, 3))
        assert caught.value.expected == "a multiple of 2 channels"
        assert caught.value.received == "(batch, 8, 8, 3)"


def test_rows_that_do_not_fit_are_refused_before_any_parameter_is_created():
    for layer, row, problem in [
        (Convolution(2, 5, padding="valid"), (4, 4, 1), "larger than the rows"),
        (Convolution(2, 5, padding="reflect"), (2, 1), "mirrored"),
        (Convolution(2, (3, 3)), (8, 1), "kernel does not fit the rows"),
        (Convolution(2, 3, stride=(1, 1, 1)), (8, 8, 1), "stride does not fit"),
        (Convolution(2, 3), (8,), "one to three axes of space"),
        (TransposedConvolution(2, 1, padding=1), (1, 1), "cuts off"),
        (TransposedConvolution(2, (3, 3)), (8, 1), "kernel does not fit the rows"),
        (TransposedConvolution(2, 9, padding="reflect"), (2, 1), "mirrored"),
    ]:
        with pytest.raises(ShapeError, match=problem):
            layer.build(row)
        assert not layer.is_built


def test_a_second_input_is_refused():
    with pytest.raises(BuildError, match="does not accept 2 input shape"):
        Convolution(2, 3).build((8, 1), (8, 1))
