"""Normalization: numbers by hand, every law, PyTorch, and what a batch of one row means."""

from __future__ import annotations

from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

from chainrule import (
    BatchNorm,
    Dense,
    Dual,
    GroupNorm,
    LayerNorm,
    RMSNorm,
    Sequential,
    Trainer,
    check_layer,
    derivatives,
    load,
    losses,
    optimizers,
)
from chainrule.core.errors import ConfigurationError, ShapeError

ALL = [BatchNorm(), LayerNorm(), GroupNorm(2), RMSNorm()]
each_layer = pytest.mark.parametrize("layer", ALL, ids=repr)
rows_of_4 = st.lists(st.integers(1, 4), max_size=2).map(lambda space: (*space, 4))
seeds = st.integers(0, 2**32 - 1)


def built(layer: Any, shape: tuple[int, ...], seed: int = 0, dtype: Any = "float64") -> Any:
    """A copy with parameters and buffers that are not the initial ones."""
    layer = layer.unbuilt()
    layer.build(shape, rng=0, dtype=dtype)
    rng = np.random.default_rng(seed)
    layer.parameters.value = rng.uniform(0.5, 1.5, layer.parameters.size)
    if layer.buffers.size:
        layer.buffers.value = rng.uniform(0.5, 1.5, layer.buffers.size)
    return layer


# ------------------------------------------------------------------------------- by hand


def test_a_batch_by_hand():
    layer = BatchNorm(epsilon=1.0)
    layer.build((2,))
    layer.scale.value, layer.shift.value = [2, 1], [0, 10]
    x = np.array([[0.0, 5], [2 * 3**0.5, 5]])  # means √3 and 5, variances 3 and 0
    half = 3**0.5 / 2
    np.testing.assert_allclose(layer.forward(x), [[-2 * half, 10], [2 * half, 10]], atol=1e-15)
    np.testing.assert_allclose(layer.running_mean.value, [0.1 * 3**0.5, 0.5])
    np.testing.assert_allclose(layer.running_variance.value, [0.9 + 0.1 * 3, 0.9])
    delta = layer.backward(np.array([[1.0, 1], [0, 0]]))
    # scale (Δ − ⟨Δ⟩ − n ⟨n Δ⟩) / √(σ² + ε), with n = ∓√3/2 and ⟨n Δ⟩ = −√3/4
    np.testing.assert_allclose(delta, [[0.5 - 0.375, 0.5], [-0.5 + 0.375, -0.5]])
    np.testing.assert_allclose(layer.scale.grad, [-half, 0], atol=1e-15)
    np.testing.assert_array_equal(layer.shift.grad, [1, 1])


def test_a_vector_by_hand():
    x = np.array([[1.0, 3.0]])
    np.testing.assert_allclose(LayerNorm(epsilon=3.0)(x), [[-0.5, 0.5]])
    np.testing.assert_allclose(RMSNorm(epsilon=4.0)(x), [[1 / 3, 1]])
    np.testing.assert_allclose(
        GroupNorm(2, epsilon=3.0)(np.array([[[1.0, 3.0, 0.0, 0.0], [3.0, 1.0, 4.0, 4.0]]])),
        [[[-0.5, 0.5, -2 / 7**0.5, -2 / 7**0.5], [0.5, -0.5, 2 / 7**0.5, 2 / 7**0.5]]],
    )


def average(layer: Any, x: Any) -> Any:
    """The mean over all numbers that share it, in the plain way."""
    if isinstance(layer, BatchNorm):
        return x.mean(axis=tuple(range(x.ndim - 1)))
    if isinstance(layer, GroupNorm):
        *_, channels = x.shape
        grouped = x.reshape(len(x), -1, layer.groups, channels // layer.groups)
        means = np.repeat(grouped.mean(axis=(1, 3)), grouped.shape[3], axis=1)
        return means.reshape(len(x), *[1] * (x.ndim - 2), channels)
    return x.mean(axis=-1, keepdims=True)


def the_formula(layer: Any, x: Any, delta: Any) -> tuple[Any, Any, Any]:
    """y, ∂C/∂x and ∂C/∂scale as the module's docstring has them."""
    centered = x if isinstance(layer, RMSNorm) else x - average(layer, x)
    deviation = np.sqrt(average(layer, centered**2) + layer.epsilon)
    n, h = centered / deviation, delta * layer.scale.value
    first = 0 if isinstance(layer, RMSNorm) else average(layer, h)
    dx = (h - first - n * average(layer, h * n)) / deviation
    shift = 0 if isinstance(layer, RMSNorm) else layer.shift.value
    rows = tuple(range(x.ndim - 1))
    return n * layer.scale.value + shift, dx, (delta * n).sum(axis=rows)


@each_layer
@given(batch=st.integers(1, 5), shape=rows_of_4, seed=seeds)
@settings(max_examples=20)
def test_both_passes_are_the_plain_formulas(layer: Any, batch: int, shape: Any, seed: int) -> None:
    layer = built(layer, shape, seed)
    x, delta = np.random.default_rng(seed).normal(3, 1, size=(2, batch, *shape))
    y, dx, dscale = the_formula(layer, x, delta)
    close = {"rtol": 1e-9, "atol": 1e-10}
    np.testing.assert_allclose(layer.forward(x), y, **close)
    np.testing.assert_allclose(layer.backward(delta), dx, **close)
    np.testing.assert_allclose(layer.scale.grad, dscale, **close)


@pytest.mark.parametrize("layer", [BatchNorm(), GroupNorm(4)], ids=repr)
@pytest.mark.parametrize(("batch", "shape"), [(32, (28, 28, 8)), (3, (50, 40, 4)), (500, (7, 4))])
def test_large_batches_are_summed_as_small_ones(layer: Any, batch: int, shape: Any) -> None:
    layer = built(layer, shape)
    rng = np.random.default_rng(1)
    x, delta = rng.normal(1, 2, (2, batch, *shape))
    y, result, scale = the_formula(layer, x, delta)
    close = {"rtol": 1e-9, "atol": 1e-10}
    np.testing.assert_allclose(layer.forward(x), y, **close)
    np.testing.assert_allclose(layer.backward(delta), result, **close)
    np.testing.assert_allclose(layer.scale.grad, scale, **close)
    single = built(layer, shape, dtype="float32")
    single.parameters.value = layer.parameters.value
    np.testing.assert_allclose(single.forward(x.astype("f4")), y, rtol=0, atol=1e-5)
    np.testing.assert_allclose(single.backward(delta.astype("f4")), result, rtol=0, atol=1e-5)
    np.testing.assert_allclose(single.scale.grad, scale, rtol=1e-4, atol=1e-2)


@each_layer
def test_float32_keeps_its_digits_for_a_mean_far_from_zero(layer: Any) -> None:
    x = np.random.default_rng(0).normal(300, 1, (300, 10, 4))
    y = layer.unbuilt().forward(x.astype("f4"))
    expected = layer.unbuilt().forward(x.astype("f4").astype("f8"))
    np.testing.assert_allclose(y, expected, rtol=0, atol=1e-3 if y.std() > 0.5 else 1e-5)


# ------------------------------------------------------------------------------- the laws


@pytest.mark.parametrize("kind", [BatchNorm, LayerNorm, GroupNorm, RMSNorm])
@given(
    space=st.lists(st.integers(1, 3), max_size=2).map(tuple),
    width=st.integers(1, 3),
    groups=st.integers(1, 3),
    rng=seeds,
)
@settings(max_examples=6)
def test_every_law_holds(kind: Any, space: Any, width: int, groups: int, rng: int) -> None:
    layer = kind(groups) if kind is GroupNorm else kind()
    assert check_layer(layer, (*space, width * groups), rng=rng).ok


@each_layer
def test_only_the_last_axis_is_fixed(layer: Any) -> None:
    layer = built(layer, (3, 4))
    for shape in [(4,), (7, 4), (2, 2, 4), (0, 4)]:
        for batch in (2, 0):
            x = np.random.default_rng(0).normal(size=(batch, *shape))
            y = layer.forward(x)
            assert y.shape == layer(x).shape == layer.backward(y).shape == x.shape
            assert np.isfinite(y).all()
    with pytest.raises(ShapeError, match="wrong width") as caught:
        layer.forward(np.ones((2, 5)))
    assert caught.value.expected == "(batch, …, 4)"


@each_layer
def test_rows_that_are_single_numbers_are_refused(layer: Any) -> None:
    with pytest.raises(ShapeError, match="no channels") as caught:
        layer.unbuilt().build(())
    assert "x[:, np.newaxis]" in str(caught.value.hint)


@each_layer
def test_a_saved_layer_normalizes_as_before(layer: Any, tmp_path: Any) -> None:
    layer = built(layer, (2, 4))
    x = np.random.default_rng(0).normal(size=(3, 2, 4))
    layer.forward(x)
    layer.save(tmp_path / "layer")
    loaded = load(tmp_path / "layer")
    assert loaded == layer and repr(loaded) == repr(layer)
    np.testing.assert_array_equal(loaded(x), layer(x))
    np.testing.assert_array_equal(loaded.buffers.value, layer.buffers.value)


@each_layer
def test_frozen_parameters_get_no_gradient_and_twins_share_them(layer: Any) -> None:
    layer = built(layer, (4,)).freeze()
    x = np.random.default_rng(0).normal(size=(5, 4))
    y = layer.forward(x)
    dx = layer.backward(y)
    assert not layer.parameters.grad.any()
    twin = layer.twin().unfreeze()
    twin.forward(x)
    np.testing.assert_array_equal(twin.backward(y), dx)
    assert layer.parameters.grad.any()


@each_layer
def test_second_derivatives_are_those_of_differences(layer: Any) -> None:
    model = Sequential([Dense(4), layer.unbuilt(), Dense(1)])
    model.build((3,), rng=0)
    rng = np.random.default_rng(1)
    x, t, v = (
        rng.normal(size=(6, 3)),
        rng.normal(size=(6, 1)),
        rng.normal(size=model.parameters.size),
    )
    loss, value = losses.HalfSquaredError(), model.parameters.value.copy()
    product = derivatives.hvp(model, loss, x, t, v)
    gradients = []
    for step in (1e-5, -1e-5):
        model.parameters.value = value + step * v
        gradients.append(derivatives.value_and_gradient(model, loss, x, t)[1])
    np.testing.assert_allclose(product, (gradients[0] - gradients[1]) / 2e-5, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("layer", [LayerNorm(), GroupNorm(2), RMSNorm()], ids=repr)
@pytest.mark.parametrize("shape", [(4,), (3, 4)])
def test_the_gradients_of_the_rows_add_up(layer: Any, shape: Any) -> None:
    layer = built(layer, shape)
    x, delta = np.random.default_rng(2).normal(size=(2, 5, *shape))
    rows = derivatives.row_gradients(layer, x, delta)
    for n in range(5):
        alone = derivatives.vjp(layer, x[n : n + 1], delta[n : n + 1])[2]
        np.testing.assert_allclose(rows[n], alone, rtol=1e-12, atol=1e-12)


# ------------------------------------------------------------------------------- batches


def test_in_use_the_running_statistics_are_taken():
    layer = built(BatchNorm(momentum=0.5), (2,))
    x = np.array([[1.0, 2], [3, 6]])
    mean, variance = layer.running_mean.value.copy(), layer.running_variance.value.copy()
    layer.forward(x)
    np.testing.assert_allclose(layer.running_mean.value, np.add(mean, [2, 4]) / 2)
    np.testing.assert_allclose(layer.running_variance.value, np.add(variance, [1, 4]) / 2)
    before = layer.buffers.value.copy()
    deviation = np.sqrt(layer.running_variance.value + 1e-5)
    expected = (x - layer.running_mean.value) / deviation * layer.scale.value + layer.shift.value
    np.testing.assert_allclose(layer(x), expected)
    np.testing.assert_array_equal(layer.buffers.value, before)


def test_one_vector_has_no_variance_so_it_becomes_the_shift():
    layer = built(BatchNorm(), (3,))
    y = layer.forward(np.array([[1.0, -2, 5]]))
    np.testing.assert_array_equal(y, [layer.shift.value])
    np.testing.assert_array_equal(layer.backward(np.ones((1, 3))), np.zeros((1, 3)))


def test_an_empty_batch_changes_no_statistics():
    layer = built(BatchNorm(), (2, 3))
    before = layer.buffers.value.copy()
    assert layer.forward(np.zeros((0, 2, 3))).shape == (0, 2, 3)
    assert layer.backward(np.zeros((0, 2, 3))).shape == (0, 2, 3)
    np.testing.assert_array_equal(layer.buffers.value, before)
    assert not layer.parameters.grad.any()


def test_a_network_with_batch_norm_learns_what_it_applies():
    rng = np.random.default_rng(0)
    x = rng.normal(5, 3, (400, 3))
    t = np.sin(x[:, :1]) + x[:, 1:2]
    model = Sequential([BatchNorm(), Dense(20), BatchNorm(), Dense(1)])
    trainer = Trainer(model, losses.HalfSquaredError(), optimizers.Adam(0.02))
    trainer.fit(x, t, epochs=30, batch_size=50)
    trained, applied = (np.mean((y - t) ** 2) for y in (model.forward(x), model(x)))
    assert applied < 1.2 * trained + 0.1


# ------------------------------------------------------------------------------- errors


@pytest.mark.parametrize("kind", [BatchNorm, LayerNorm, RMSNorm, lambda **how: GroupNorm(2, **how)])
@pytest.mark.parametrize("given", [0, -1e-5, float("nan"), float("inf"), "1e-5", None, True])
def test_an_epsilon_that_is_no_positive_number_is_refused(kind: Any, given: Any) -> None:
    with pytest.raises(ConfigurationError, match="epsilon has an invalid value"):
        kind(epsilon=given)


@pytest.mark.parametrize("kind", [LayerNorm, RMSNorm])
def test_a_width_as_in_pytorch_is_not_taken_for_epsilon(kind):
    with pytest.raises(ConfigurationError) as caught:
        kind(64)
    assert caught.value.hint == (
        f"{kind.__name__}(): the first batch sets the width; 64.0 if you mean ε"
    )
    assert kind(64.0).epsilon == 64.0 and kind(1).epsilon == 1.0


@pytest.mark.parametrize("given", [1, 1.5, -0.1, "0.9", None])
def test_a_momentum_that_is_no_share_is_refused(given: Any) -> None:
    with pytest.raises(ConfigurationError, match="momentum has an invalid value"):
        BatchNorm(momentum=given)


@pytest.mark.parametrize("given", [0, -1, 2.5, "2", None, True])
def test_groups_that_are_no_number_of_groups_are_refused(given: Any) -> None:
    with pytest.raises(ConfigurationError, match="groups has an invalid value"):
        GroupNorm(given)


def test_groups_that_do_not_divide_the_channels_are_refused():
    with pytest.raises(ShapeError, match="do not divide the channels") as caught:
        GroupNorm(4).build((2, 6))
    assert caught.value.expected == "a number of groups that divides 6"
    assert caught.value.received == "4 groups, rows (batch, 2, 6)"
    assert caught.value.hint == "groups: 1, 2, 3, 6"


def test_layers_print_as_they_are_written():
    for layer in (*ALL, BatchNorm(momentum=0.5), LayerNorm(epsilon=0.1)):
        assert eval(repr(layer), globals()) == layer
    assert repr(BatchNorm()) == "BatchNorm()"
    assert repr(GroupNorm(4)) == "GroupNorm(4)"


def test_running_statistics_are_the_same_for_dual_numbers():
    x, dx = np.random.default_rng(0).normal(size=(2, 5, 3))
    plain, dual, twice = (BatchNorm() for _ in range(3))
    y = plain.forward(x)
    both = dual.forward(Dual(x, dx))
    twice.forward(Dual(Dual(x, dx), Dual(dx, x)))
    np.testing.assert_array_equal(both.value, y)
    above, below = (BatchNorm().forward(x + step * dx) for step in (1e-6, -1e-6))
    slope = (above - below) / 2e-6
    np.testing.assert_allclose(both.tangent, slope, atol=1e-8)
    for other in (dual, twice):
        np.testing.assert_array_equal(other.buffers.value, plain.buffers.value)


# ------------------------------------------------------------------------------- PyTorch


@pytest.mark.peers
@pytest.mark.parametrize("kind", ["batch", "layer", "group", "rms"])
@given(
    batch=st.integers(2, 5),
    space=st.lists(st.integers(1, 4), max_size=3).map(tuple),
    width=st.integers(1, 4),
    groups=st.integers(1, 3),
    epsilon=st.sampled_from([1e-5, 1e-2]),
    seed=seeds,
)
@settings(max_examples=50)
def test_values_and_gradients_are_those_of_pytorch(
    kind: str, batch: int, space: Any, width: int, groups: int, epsilon: float, seed: int
) -> None:
    import torch

    channels = width * groups
    layer, theirs = {
        "batch": lambda: (
            BatchNorm(epsilon=epsilon),
            getattr(torch.nn, f"BatchNorm{max(len(space), 1)}d")(
                channels, eps=epsilon, dtype=torch.float64
            ),
        ),
        "layer": lambda: (
            LayerNorm(epsilon), torch.nn.LayerNorm(channels, eps=epsilon, dtype=torch.float64)
        ),
        "group": lambda: (
            GroupNorm(groups, epsilon),
            torch.nn.GroupNorm(groups, channels, eps=epsilon, dtype=torch.float64),
        ),
        "rms": lambda: (
            RMSNorm(epsilon), torch.nn.RMSNorm(channels, eps=epsilon, dtype=torch.float64)
        ),
    }[kind]()  # fmt: skip
    layer = built(layer, (*space, channels), seed)
    x, delta = np.random.default_rng(seed).normal(1, 2, size=(2, batch, *space, channels))

    def arranged(array: Any) -> Any:  # channels first
        return torch.tensor(np.moveaxis(array, -1, 1) if kind in ("batch", "group") else array)

    def back(tensor: Any) -> Any:
        array = tensor.detach().numpy()
        return np.moveaxis(array, 1, -1) if kind in ("batch", "group") else array

    with torch.no_grad():
        theirs.weight.copy_(torch.tensor(layer.scale.value))
        if kind != "rms":
            theirs.bias.copy_(torch.tensor(layer.shift.value))
        if kind == "batch":
            theirs.running_mean.copy_(torch.tensor(layer.running_mean.value))
            theirs.running_var.copy_(torch.tensor(layer.running_variance.value))
    inputs = arranged(x).requires_grad_()
    outputs = theirs(inputs)
    outputs.backward(arranged(delta))
    close = {"rtol": 1e-11, "atol": 1e-12}
    variance = layer.running_variance.value.copy() if kind == "batch" else None
    np.testing.assert_allclose(layer.forward(x), back(outputs), **close)
    np.testing.assert_allclose(layer.backward(delta), back(inputs.grad), **close)
    np.testing.assert_allclose(layer.scale.grad, theirs.weight.grad.numpy(), **close)
    if kind != "rms":
        np.testing.assert_allclose(layer.shift.grad, theirs.bias.grad.numpy(), **close)
    if kind == "batch":
        np.testing.assert_allclose(layer.running_mean.value, theirs.running_mean.numpy(), **close)
        n = batch * int(np.prod(space))  # PyTorch divides by n − 1
        change = layer.running_variance.value - 0.9 * variance
        theirs_change = theirs.running_var.numpy() - 0.9 * variance
        np.testing.assert_allclose(change * n, theirs_change * (n - 1), rtol=1e-9, atol=1e-11)
        theirs.eval()
        with torch.no_grad():
            theirs.running_var.copy_(torch.tensor(layer.running_variance.value))
        np.testing.assert_allclose(layer(x), back(theirs(inputs)), **close)
