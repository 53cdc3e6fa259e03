"""Loops of layers: gates of an LSTM give NumPy's bits, convolutions by one product its numbers."""

from __future__ import annotations

from inspect import isfunction
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

from chainrule import LSTM, Convolution, TransposedConvolution, derivatives, use_fast
from chainrule.core import acceleration
from chainrule.layers import kernels
from core.acceleration_by_hand import interpreted_loops, same_bits

TYPES = ["float32", "float64"]


def passes(layer: Any, x: Any, *masks: Any, seed: int = 0) -> list[Any]:
    """What a layer computes, forwards and backwards."""
    y = layer.forward(x, *masks)
    delta = np.random.default_rng(seed).normal(size=y.shape).astype(y.dtype)
    layer.parameters.zero_grad()
    back = layer.backward(delta)
    back = back[0] if isinstance(back, tuple) else back
    found = [y, back, layer.parameters.grad.copy()]
    layer.parameters.zero_grad()
    layer.backward_parameters(delta)
    return [*found, layer.parameters.grad.copy(), layer(x, *masks)]


def lstm_passes(dtype: str, has_mask: bool, **options: Any) -> list[Any]:
    rng = np.random.default_rng(3)
    layer = LSTM(5, **options)
    x = rng.normal(size=(4, 6, 3)).astype(dtype)
    masks = [rng.random((4, 6)) < 0.7] if has_mask else []
    layer.build(*(each.shape[1:] for each in (x, *masks)), rng=0, dtype=dtype)
    return [*passes(layer, x, *masks), *passes(layer, x[:, :3], *(m[:, :3] for m in masks))]


LSTMS = [
    {"has_mask": has_mask, "return_sequences": returns, "stateful": is_stateful}
    for has_mask in (False, True)
    for returns in (False, True)
    for is_stateful in (False, True)
]
each_lstm = pytest.mark.parametrize("how", LSTMS, ids=str)
each_type = pytest.mark.parametrize("dtype", TYPES)


@st.composite
def convolutions(draw: Any) -> tuple[Any, Any]:
    """A convolution, or its transpose, of signals or images; and a batch for it."""
    axes = draw(st.integers(1, 2))
    each = lambda low, high: st.tuples(*[st.integers(low, high)] * axes)  # noqa: E731
    kernel, stride, dilation = draw(each(1, 3)), draw(each(1, 3)), draw(each(1, 2))
    if draw(st.booleans()):
        dilation = (1,) * axes
    padding = draw(st.sampled_from(["same", "valid", "periodic", "reflect", 1]))
    kind = draw(st.sampled_from([Convolution, TransposedConvolution]))
    layer = kind(draw(st.integers(1, 3)), kernel, stride=stride, dilation=dilation, padding=padding)
    shape = (*draw(each(7, 9)), draw(st.integers(1, 3)))
    dtype, rng = draw(st.sampled_from(TYPES)), np.random.default_rng(draw(st.integers(0, 99)))
    layer.build(shape, rng=0, dtype=dtype)
    return layer, rng.normal(size=(draw(st.integers(1, 4)), *shape)).astype(dtype)


def assert_close(found: list[Any], expected: list[Any]) -> None:
    for one, other in zip(found, expected, strict=True):
        assert one.dtype == other.dtype
        tolerance = 500 * np.finfo(one.dtype).eps * max(np.abs(other).max(initial=0), 1e-3)
        np.testing.assert_allclose(one, other, rtol=0, atol=tolerance)


# ------------------------------------------------------------------------------- as Python


@each_type
@each_lstm
def test_the_gates_of_an_lstm_give_the_bits_of_numpy(how, dtype):
    with use_fast(False):
        expected = lstm_passes(dtype, **how)
    with interpreted_loops():
        acceleration.IN_USE.compiles, acceleration.IN_USE.dot = True, np.dot
        found = lstm_passes(dtype, **how)
    assert all(map(same_bits, found, expected))


def test_every_loop_is_of_use():
    run: set[str] = set()
    layer = Convolution(3, 3)
    layer.build((5, 5, 2), rng=0)
    with interpreted_loops(run):
        lstm_passes("float64", False)
        passes(layer, np.ones((2, 5, 5, 2)))
    own = {
        n for n, f in vars(kernels).items() if isfunction(f) and f.__module__ == kernels.__name__
    }
    assert run == own - {"columns_of"}  # which `correlate` calls


@settings(max_examples=150)
@given(convolutions(), st.sampled_from([2**20, 500, 100]))
def test_a_convolution_by_one_product_gives_the_same(given_, size):
    layer, x = given_
    with use_fast(False):
        expected = passes(layer, x)
    with interpreted_loops(cached=size):
        found = passes(layer, x)
    assert_close(found, expected)


@pytest.mark.parametrize("layer", [Convolution(2, 3, groups=2), Convolution(2, (2, 2, 2))])
def test_groups_and_volumes_stay_with_numpy(layer):
    shape = (4, 4, 2) if layer.groups == 2 else (3, 4, 3, 2)
    layer.build(shape, rng=0)
    run: set[str] = set()
    x = np.random.default_rng(0).normal(size=(2, *shape))
    with use_fast(False):
        expected = passes(layer, x)
    with interpreted_loops(run):
        assert_close(passes(layer, x), expected)
    assert not run


def test_dual_numbers_go_through_numpy():
    for layer, shape in [(LSTM(3), (4, 2)), (Convolution(2, 3), (4, 4, 1))]:
        layer.build(shape, rng=0)
        x, v = np.random.default_rng(0).normal(size=(2, 3, *shape))
        with use_fast(False):
            expected = derivatives.jvp(layer, x, v)
        with interpreted_loops():
            assert_close(list(derivatives.jvp(layer, x, v)), list(expected))


# ------------------------------------------------------------------------------- compiled


@pytest.fixture
def fast(monkeypatch):
    monkeypatch.setattr(acceleration, "require_one_thread", lambda: None)
    monkeypatch.setattr(acceleration, "processor", lambda: "sapphirerapids")
    with use_fast():
        assert acceleration.IN_USE.loaded().gemm is not None, acceleration.IN_USE.reason
        yield


@pytest.mark.peers
@each_type
@each_lstm
def test_the_compiled_gates_of_an_lstm_give_the_bits_of_numpy(fast, how, dtype):
    with use_fast(False):
        expected = lstm_passes(dtype, **how)
    acceleration.IN_USE.compiles, acceleration.IN_USE.dot = True, np.dot
    assert all(map(same_bits, lstm_passes(dtype, **how), expected))


@pytest.mark.peers
def test_compiled_convolutions_give_the_same(fast):
    @settings(max_examples=150)
    @given(convolutions())
    def holds(given_: Any) -> None:
        layer, x = given_
        with use_fast(False):
            expected = passes(layer, x)
        assert_close(passes(layer, x), expected)

    holds()


@pytest.mark.peers
@pytest.mark.parametrize("shape", [(5, 28, 28, 16), (2, 200, 64, 24), (3, 3000, 32)])
def test_images_that_need_several_pieces_give_the_same(fast, shape):
    layer = Convolution(8, 3)
    layer.build(shape[1:], rng=0, dtype="float32")
    x = np.random.default_rng(0).normal(size=shape).astype("float32")
    with use_fast(False):
        expected = passes(layer, x)
    assert_close(passes(layer, x), expected)
