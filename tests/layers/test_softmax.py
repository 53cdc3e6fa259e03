"""Softmax: probabilities by hand, its full Jacobian, the edges of floating point, and PyTorch."""

from __future__ import annotations

import hypothesis.strategies as st
import mpmath as mp
import numpy as np
import pytest
from hypothesis import given, settings

from chainrule.core.errors import ShapeError
from chainrule.layers.softmax import Softmax

scores = st.lists(st.floats(-700, 700), min_size=1, max_size=6)


def test_three_scores_by_hand():
    """e^ln 1 : e^ln 2 : e^ln 5 = 1 : 2 : 5."""
    layer = Softmax()
    p = layer.forward(np.log([[1.0, 2.0, 5.0]]))
    np.testing.assert_allclose(p, [[1 / 8, 2 / 8, 5 / 8]], rtol=1e-15)
    # p_l (Δ_l − Σ_k Δ_k p_k) with Δ = (8, 0, 0), whose mean is 1
    np.testing.assert_allclose(
        layer.backward(np.array([[8.0, 0, 0]])), [[7 / 8, -2 / 8, -5 / 8]], rtol=1e-15
    )


@given(scores)
def test_probabilities_are_those_of_mpmath(z):
    with mp.workdps(40):
        powers = [mp.exp(mp.mpf(score)) for score in z]
        expected = [float(power / mp.fsum(powers)) for power in powers]
    # exp magnifies the rounding of z − max, of up to 1400, which is all that is lost
    bound = 4 * (1 + np.ptp(z)) * np.finfo(float).eps
    tiny = np.finfo(float).smallest_normal
    np.testing.assert_allclose(Softmax()(np.array([z]))[0], expected, rtol=bound, atol=tiny)


@given(scores, st.integers(0, 99))
def test_backward_is_the_product_with_the_full_jacobian(z, seed):
    """∂p_k/∂z_l = p_k (δ_kl − p_l), written out as a matrix."""
    layer = Softmax()
    delta = np.random.default_rng(seed).normal(size=(1, len(z)))
    (p,) = layer.forward(np.array([z]))
    jacobian = np.diag(p) - np.outer(p, p)
    np.testing.assert_allclose(layer.backward(delta)[0], delta[0] @ jacobian, rtol=0, atol=1e-14)


@given(
    shape=st.lists(st.integers(1, 4), min_size=1, max_size=3).map(tuple),
    rows=st.integers(0, 3),
    shift=st.floats(-1e3, 1e3),
)
def test_rows_are_positive_sum_to_one_and_know_no_common_shift(shape, rows, shift):
    z = np.random.default_rng(0).normal(size=(rows, *shape))
    p = Softmax()(z)
    assert p.shape == z.shape and (p > 0).all()
    np.testing.assert_allclose(p.sum(axis=-1), np.ones(z.shape[:-1]), rtol=1e-14)
    np.testing.assert_allclose(Softmax()(z + shift), p, rtol=1e-12)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_largest_numbers_there_are_overflow_nothing(dtype):
    largest, tiny = np.finfo(dtype).max, np.finfo(dtype).smallest_subnormal
    z = np.array(
        [
            [largest, largest, -largest],
            [-largest, -largest, -largest],
            [largest, 0, -largest],
            [tiny, 0, -tiny],
        ],
        dtype,
    )
    layer = Softmax()
    p = layer.forward(z)
    assert p.dtype == dtype
    third = dtype(1) / dtype(3)
    expected = [[0.5, 0.5, 0], [third, third, third], [1, 0, 0], [third, third, third]]
    np.testing.assert_array_equal(p, np.array(expected, dtype))
    assert np.isfinite(layer.backward(np.ones_like(z))).all()


def test_a_class_that_is_ruled_out_has_no_probability_and_no_delta():
    layer = Softmax()
    p = layer.forward(np.array([[0.0, -np.inf, 0.0]]))
    np.testing.assert_array_equal(p, [[0.5, 0, 0.5]])
    np.testing.assert_array_equal(layer.backward(np.array([[1.0, 5.0, 0.0]])), [[0.25, 0, -0.25]])


def test_no_rows_and_no_classes_give_nothing():
    assert Softmax()(np.ones((0, 3))).shape == (0, 3)
    assert Softmax()(np.ones((3, 0))).shape == (3, 0)


def test_a_row_that_is_a_single_number_is_refused_for_it_has_no_classes():
    layer = Softmax()
    for call in (layer, layer.forward, lambda z: layer.build(())):
        with pytest.raises(ShapeError, match="Softmax"):
            call(np.array([1.0, 2.0, 3.0]))
    assert not layer.is_built
    layer.forward(np.ones((2, 4)))
    with pytest.raises(ShapeError, match="Softmax") as caught:
        layer.forward(np.ones(4))
    assert caught.value.hint.endswith("x[np.newaxis]")
    assert layer.backward(np.ones((2, 4))).shape == (2, 4)  # of the last whole forward pass


def test_nothing_that_comes_in_is_changed():
    z, delta = np.arange(6.0).reshape(2, 3), np.eye(3)[:2]
    layer = Softmax()
    layer.forward(z)
    layer.backward(delta)
    np.testing.assert_array_equal(z, np.arange(6.0).reshape(2, 3))
    np.testing.assert_array_equal(delta, np.eye(3)[:2])
    assert (repr(layer), layer == Softmax()) == ("Softmax()", True)


@pytest.mark.peers
@given(
    shape=st.lists(st.integers(1, 5), min_size=2, max_size=3).map(tuple), seed=st.integers(0, 999)
)
@settings(max_examples=30)
def test_values_and_deltas_are_those_of_pytorch(shape, seed):
    import torch

    rng = np.random.default_rng(seed)
    z, delta = 5 * rng.normal(size=shape), rng.normal(size=shape)
    inputs = torch.tensor(z, requires_grad=True)
    outputs = torch.softmax(inputs, dim=-1)
    outputs.backward(torch.tensor(delta))
    layer = Softmax()
    np.testing.assert_allclose(layer.forward(z), outputs.detach().numpy(), rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(layer.backward(delta), inputs.grad.numpy(), rtol=1e-12, atol=1e-12)
