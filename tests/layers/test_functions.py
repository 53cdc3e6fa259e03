"""The functions f and f′, held against mpmath in fifty digits, in both types, tails included."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import mpmath as mp
import numpy as np
import pytest
from attrs import frozen
from hypothesis import given, settings
from hypothesis import strategies as st

from chainrule.core.errors import ConfigurationError
from chainrule.layers import functions
from chainrule.layers.activation import Activation
from chainrule.layers.functions import (
    Elu,
    Function,
    Gaussian,
    Gelu,
    HardSigmoid,
    HardTanh,
    Identity,
    LeakyRelu,
    LogSigmoid,
    Mish,
    Pair,
    Relu,
    Selu,
    Sigmoid,
    Silu,
    Sin,
    Softplus,
    Softsign,
    Step,
    Tanh,
)

ULPS = 8


@pytest.fixture(scope="module", autouse=True)
def fifty_digits() -> Iterator[None]:
    with mp.workdps(50):
        yield


# ------------------------------------------------------------------------------- the truth


@dataclass
class Truth:
    """f and f′ as mpmath has them, and how large f′ gets where that is more than one."""

    value: Callable[[Any], Any]
    derivative: Callable[[Any], Any]
    largest_slope: float = 1.0


def logistic(z: Any) -> Any:
    return 1 / (1 + mp.exp(-z))


def logistic_slope(z: Any) -> Any:
    return mp.exp(-z) / (1 + mp.exp(-z)) ** 2


def normal(z: Any) -> Any:
    return mp.erfc(-z / mp.sqrt(2)) / 2


def density(z: Any) -> Any:
    return mp.exp(-z * z / 2) / mp.sqrt(2 * mp.pi)


def leaky(slope: float) -> Truth:
    return Truth(
        lambda z: z if z > 0 else slope * z,
        lambda z: mp.mpf(1 if z > 0 else slope),
        max(1, abs(slope)),
    )


def exponential(alpha: float) -> Truth:
    return Truth(
        lambda z: z if z > 0 else alpha * mp.expm1(z),
        lambda z: mp.mpf(1) if z > 0 else alpha * mp.exp(z),
        max(1, abs(alpha)),
    )


def scaled_exponential(z: Any) -> Any:
    return Selu.scale * exponential(Selu.alpha).value(z)


def scaled_exponential_slope(z: Any) -> Any:
    return mp.mpf(Selu.scale) * exponential(Selu.alpha).derivative(z)


def mish_slope(z: Any) -> Any:
    s = mp.log1p(mp.exp(z))
    return mp.tanh(s) + z * mp.sech(s) ** 2 * logistic(z)


TRUTHS: dict[Function, Truth] = {
    Identity(): Truth(lambda z: z, lambda z: mp.mpf(1)),
    Sigmoid(): Truth(logistic, logistic_slope),
    Tanh(): Truth(mp.tanh, lambda z: mp.sech(z) ** 2),
    Relu(): Truth(lambda z: max(z, mp.mpf(0)), lambda z: mp.mpf(z > 0)),
    LeakyRelu(): leaky(0.01),
    LeakyRelu(0.3): leaky(0.3),
    LeakyRelu(-2.5): leaky(-2.5),
    LeakyRelu(0): leaky(0),
    Elu(): exponential(1),
    Elu(1.7): exponential(1.7),
    Elu(-0.6): exponential(-0.6),
    Selu(): Truth(scaled_exponential, scaled_exponential_slope, 1.8),
    Softplus(): Truth(lambda z: mp.log1p(mp.exp(z)), logistic),
    LogSigmoid(): Truth(lambda z: -mp.log1p(mp.exp(-z)), lambda z: logistic(-z)),
    Softsign(): Truth(lambda z: z / (1 + abs(z)), lambda z: 1 / (1 + abs(z)) ** 2),
    Mish(): Truth(lambda z: z * mp.tanh(mp.log1p(mp.exp(z))), mish_slope),
    Step(): Truth(lambda z: mp.mpf(z > 0), lambda z: mp.mpf(0)),
    HardTanh(): Truth(lambda z: max(min(z, mp.mpf(1)), mp.mpf(-1)), lambda z: mp.mpf(abs(z) < 1)),
    HardSigmoid(): Truth(
        lambda z: max(min((z + 3) / 6, mp.mpf(1)), mp.mpf(0)), lambda z: mp.mpf(abs(z) < 3) / 6
    ),
    Silu(): Truth(lambda z: z * logistic(z), lambda z: logistic(z) + z * logistic_slope(z)),
    Gelu(): Truth(lambda z: z * normal(z), lambda z: normal(z) + z * density(z)),
    Sin(): Truth(mp.sin, mp.cos),
    Gaussian(): Truth(lambda z: mp.exp(-z * z / 2), lambda z: -z * mp.exp(-z * z / 2)),
}

each_function = pytest.mark.parametrize("f", TRUTHS, ids=repr)
each_dtype = pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["float32", "float64"])


# ------------------------------------------------------------------------------- where to look


def grid(dtype: Any) -> Any:
    """Numbers from −760 to 760: dense about zero, the seams of the formulas, and the tails."""
    rng = np.random.default_rng(0)
    information = np.finfo(dtype)
    seams = [0.5, 1, 4, 14.4, 16.6, 38.6, 40, 64, 87.3, 88, 103.3, 103.97, 708.4, 709.8, 745.13]
    positive = np.concatenate(
        [
            [0, information.smallest_subnormal, information.smallest_normal / 3],
            [information.smallest_normal, information.eps, math.sqrt(information.eps)],
            10.0 ** rng.uniform(-7, 0, 25),
            rng.uniform(0, 3, 40),
            rng.uniform(3, 40, 60),
            rng.uniform(40, 120, 40),
            rng.uniform(120, 700, 60),
            rng.uniform(700, 760, 30),
            seams,
            np.nextafter(dtype(seams), dtype(0)),
            np.nextafter(dtype(seams), dtype(np.inf)),
            np.pi * rng.integers(1, 222, 30) / 2,  # zeros of sine and cosine
        ]
    ).astype(dtype)
    return np.concatenate([-positive[::-1], positive])


def extremes(dtype: Any) -> Any:
    """The largest and smallest finite numbers, and zero of either sign."""
    information = np.finfo(dtype)
    largest = information.max
    positive = [0, information.smallest_subnormal, information.smallest_normal, 1, 1e4, 1e9]
    positive += [float(largest) ** 0.5, largest / 4, np.nextafter(largest, dtype(0)), largest]
    return np.array([sign * z for sign in (-1.0, 1.0) for z in positive], dtype)


def numbers(low: float, high: float) -> Any:
    """Arrays of a few numbers drawn by hypothesis, in either type."""

    def of(dtype: Any) -> Any:
        width = 8 * np.dtype(dtype).itemsize
        one = st.floats(float(dtype(low)), float(dtype(high)), width=width)
        return st.lists(one, min_size=1, max_size=6).map(lambda zs: np.array(zs, dtype))

    return st.sampled_from([np.float32, np.float64]).flatmap(of)


def every_finite_number() -> Any:
    def of(dtype: Any) -> Any:
        width = 8 * np.dtype(dtype).itemsize
        one = st.floats(allow_nan=False, allow_infinity=False, width=width)
        return st.lists(one, min_size=1, max_size=6).map(lambda zs: np.array(zs, dtype))

    return st.sampled_from([np.float32, np.float64]).flatmap(of)


# ------------------------------------------------------------------------------- how to compare


def worst_ulps(got: Any, z: Any, exact: Callable[[Any], Any]) -> tuple[float, float]:
    """The largest error in units of the spacing at the exact result, and the z it is found at."""
    dtype = got.dtype.type
    worst = (0.0, 0.0)
    for y, at in zip(got.tolist(), z.tolist(), strict=True):
        truth = exact(mp.mpf(at))
        spacing = np.spacing(dtype(abs(float(truth))))
        worst = max(worst, (float(abs(mp.mpf(y) - truth) / mp.mpf(float(spacing))), at))
    return worst


def assert_value_is_exact(f: Function, z: Any) -> None:
    error, at = worst_ulps(f.value(z), z, TRUTHS[f].value)
    assert error <= ULPS, f"{f} is {error:.3g} ulp off at z = {at!r}"


def assert_derivative_is_exact(f: Function, z: Any) -> None:
    """f′ is correct to 8 ulp where it is a normal number, and below the smallest of them to that.

    The terms of the slopes of silu, mish and gelu cancel near z = −1: there, 8 ulp of the terms.
    """
    smallest = float(np.finfo(z.dtype).smallest_normal)
    for slope in (f.derivative(z), slope_in_training(f, z)):
        for got, at in zip(slope.tolist(), z.tolist(), strict=True):
            truth = TRUTHS[f].derivative(mp.mpf(at))
            cancels = isinstance(f, Silu | Gelu | Mish) and -2 < at < -0.5
            size = max(abs(float(truth)), 0.25 if cancels else smallest)
            allowed = ULPS * mp.mpf(float(np.spacing(z.dtype.type(size))))
            if abs(truth) < smallest:
                allowed = mp.mpf(smallest)
            assert abs(mp.mpf(got) - truth) <= allowed, f"{f}: f′({at!r}) is {got!r}, not {truth}"


def slope_in_training(f: Function, z: Any) -> Any:
    """f′ as `Activation.backward` computes it after `forward`."""
    return f.derivative_from_memory(f.value_and_memory(z)[1])


def strictly() -> Any:
    """Overflow, division by zero or an invalid operation is an error here; underflow is none."""
    return np.errstate(over="raise", divide="raise", invalid="raise")


# ------------------------------------------------------------------------------- exactness


@each_function
@each_dtype
def test_f_is_correct_to_8_ulp_in_the_middle_and_in_the_tails(f: Function, dtype: Any) -> None:
    assert_value_is_exact(f, grid(dtype))


@each_function
@each_dtype
def test_f_prime_is_correct_to_8_ulp_in_the_tails_too(f: Function, dtype: Any) -> None:
    dense = np.linspace(-46, 46, 1201) if dtype == np.float32 else np.linspace(-380, 380, 1201)
    with strictly():
        assert_derivative_is_exact(f, np.concatenate([grid(dtype), dense.astype(dtype)]))


@each_dtype
@pytest.mark.parametrize(
    ("f", "z", "slope"),
    [
        (Elu(), -40, "4.248354255291589e-18"),
        (Elu(), -20, "2.061153622438558e-9"),
        (Sigmoid(), 40, "4.248354255291589e-18"),
        (Tanh(), 20, "1.699341702116636e-17"),
        (Tanh(), -40, "7.219405551381661e-35"),
    ],
)
def test_the_slope_does_not_vanish_where_the_value_is_rounded_to_its_limit(
    f: Function, z: float, slope: str, dtype: Any
) -> None:
    layer = Activation(f)
    layer.forward(np.array([[z]], dtype))
    delta = layer.backward(np.ones((1, 1), dtype))
    np.testing.assert_allclose(delta, [[float(slope)]], rtol=ULPS * np.finfo(dtype).eps)


@each_function
@settings(max_examples=25)
@given(z=numbers(-700, 700))
def test_f_and_f_prime_are_exact_wherever_one_looks(f: Function, z: Any) -> None:
    with strictly():
        assert_value_is_exact(f, z)
        assert_derivative_is_exact(f, z)


# ------------------------------------------------------------------------------- finiteness


@each_function
@each_dtype
def test_every_finite_number_gives_finite_ones_without_a_warning(f: Function, dtype: Any) -> None:
    assert_is_finite(f, extremes(dtype))


@each_function
@settings(max_examples=25)
@given(z=every_finite_number())
def test_any_finite_number_gives_finite_ones_without_a_warning(f: Function, z: Any) -> None:
    assert_is_finite(f, z)


def assert_is_finite(f: Function, z: Any) -> None:
    if f in (LeakyRelu(-2.5), Selu()):
        z = z / 4  # its values themselves are beyond the largest number otherwise
    with strictly():
        y, slope = f.value(z), f.derivative(z)
        again = slope_in_training(f, z)
    for result in (y, slope, again):
        assert np.isfinite(result).all(), f"{f} at {z[~np.isfinite(result)]}"


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("alone", [True, False])
def test_one_number_in_the_far_tail_does_not_disturb_the_others(dtype: Any, alone: bool) -> None:
    z = np.linspace(-20, 20, 101, dtype=dtype)
    far = np.array([-1000, 1000, -200, -100] if not alone else [-100], dtype)
    for f in TRUTHS:
        together = f.value(np.concatenate([z, far]))
        np.testing.assert_array_equal(together[:101], f.value(z), err_msg=repr(f))


@each_dtype
def test_the_limits_at_infinity(dtype: Any) -> None:
    infinities = np.array([-np.inf, np.inf], dtype)
    limits: dict[Function, tuple[list[float], list[float]]] = {
        Identity(): ([-np.inf, np.inf], [1, 1]),
        Sigmoid(): ([0, 1], [0, 0]),
        Tanh(): ([-1, 1], [0, 0]),
        Relu(): ([0, np.inf], [0, 1]),
        LeakyRelu(0.5): ([-np.inf, np.inf], [0.5, 1]),
        Elu(2): ([-2, np.inf], [0, 1]),
        Selu(): ([-Selu.scale * Selu.alpha, np.inf], [0, Selu.scale]),
        Softplus(): ([0, np.inf], [0, 1]),
        LogSigmoid(): ([-np.inf, 0], [1, 0]),
        Mish(): ([0, np.inf], [0, 1]),
        Step(): ([0, 1], [0, 0]),
        HardTanh(): ([-1, 1], [0, 0]),
        HardSigmoid(): ([0, 1], [0, 0]),
        Silu(): ([0, np.inf], [0, 1]),
        Gelu(): ([0, np.inf], [0, 1]),
        Gaussian(): ([0, 0], [0, 0]),
    }
    for f, (values, slopes) in limits.items():
        with strictly():
            np.testing.assert_array_equal(f.value(infinities), dtype(values), err_msg=repr(f))
            np.testing.assert_array_equal(f.derivative(infinities), dtype(slopes), err_msg=repr(f))
            trained = slope_in_training(f, infinities)
        np.testing.assert_array_equal(trained, dtype(slopes), err_msg=repr(f))


@each_function
@each_dtype
def test_what_is_not_a_number_stays_so_and_harms_no_neighbour(f: Function, dtype: Any) -> None:
    z = np.array([np.nan, 1.0, -1000.0, 1000.0], dtype)
    with strictly():
        y = f.value(z)
    assert np.isnan(y[0])
    np.testing.assert_array_equal(y[1:], f.value(z[1:]))


# ------------------------------------------------------------------------------- arrays


@each_function
@each_dtype
@pytest.mark.parametrize("reach", [1, 500], ids=["near", "far"])
def test_shape_and_type_are_kept(f: Function, dtype: Any, reach: float) -> None:
    for shape in [(), (0,), (3, 0), (1,), (7,), (5, 3), (2, 3, 4)]:
        z = np.array(reach * np.random.default_rng(1).normal(size=shape), dtype)
        before = z.copy()
        y = f.value(z)
        results = [y, f.derivative(z), slope_in_training(f, z)]
        for result in results:
            assert result.shape == shape
            assert result.dtype == dtype
            assert not np.shares_memory(result, z)
        np.testing.assert_array_equal(z, before)


@each_function
def test_it_does_not_matter_how_an_array_lies_in_memory(f: Function) -> None:
    z = np.random.default_rng(2).normal(size=(6, 8)) * 60
    for view in (z.T, z[::2, 1::3], z[:, ::-1]):
        np.testing.assert_array_equal(f.value(view), f.value(view.copy()))
        np.testing.assert_array_equal(f.derivative(view), f.derivative(view.copy()))


@each_function
def test_y_and_the_memory_are_never_changed_when_the_slope_is_taken(f: Function) -> None:
    z = np.linspace(-3, 3, 13)
    y, memory = f.value_and_memory(z)
    np.testing.assert_array_equal(y, f.value(z))
    first = f.derivative_from_memory(memory)
    kept = first.copy()
    first *= 2  # as the layer does
    np.testing.assert_array_equal(f.derivative_from_memory(memory), kept)
    np.testing.assert_array_equal(y, f.value(z))


@each_function
def test_a_function_can_be_called_with_numbers_and_lists(f: Function) -> None:
    z = [-2.0, 0.0, 3.0]
    np.testing.assert_array_equal(f(z), f.value(np.array(z)))
    np.testing.assert_array_equal(f([-2, 0, 3]), f.value(np.array(z)))
    np.testing.assert_array_equal(f(np.array([-2, 0, 3])), f.value(np.array(z)))
    assert f(3) == f.value(np.array([3.0]))[0]
    assert f(np.float32([3])).dtype == np.float32


# ------------------------------------------------------------------------------- plain and fast


@each_dtype
def test_the_sigmoid_is_the_plain_formula_wherever_that_one_holds(dtype: Any) -> None:
    z = np.linspace(-88, 700, 2001).astype(dtype)
    np.testing.assert_array_max_ulp(Sigmoid().value(z), 1 / (1 + np.exp(-z)), maxulp=8)
    np.testing.assert_array_equal(Silu().value(z), z / (1 + np.exp(-z)))


def test_the_slopes_of_training_are_those_from_z() -> None:
    z = np.linspace(-30, 30, 1201)
    for f in TRUTHS:
        np.testing.assert_allclose(slope_in_training(f, z), f.derivative(z), rtol=2e-15, atol=0)


def test_gelu_is_z_times_the_normal_distribution() -> None:
    z = np.linspace(-6, 6, 601)
    plain = [x * (1 + math.erf(x / math.sqrt(2))) / 2 for x in z]
    np.testing.assert_allclose(Gelu().value(z), plain, rtol=0, atol=1e-15)


def test_the_bell_is_the_exponential_of_half_the_square() -> None:
    z = np.linspace(-3, 3, 601)
    np.testing.assert_allclose(Gaussian().value(z), np.exp(-z * z / 2), rtol=2e-15)


def test_the_polynomial_in_gelu_is_the_interpolant_that_its_comment_says() -> None:
    count = len(functions.NORMAL_TAIL)
    with mp.workdps(60):
        last = mp.mpf(40 - 6) / (40 + 6)  # x at t = 40; at t = 0 it is −1
        powers, right = mp.matrix(count, count), mp.matrix(count, 1)
        for i in range(count):
            x = (last - 1) / 2 + (last + 1) / 2 * mp.cos(mp.pi * (2 * i + 1) / (2 * count))
            t = 6 * (1 + x) / (1 - x)
            right[i] = (t + mp.mpf(5) / 4) * scaled_tail(t)
            for j in range(count):
                powers[i, j] = x ** (count - 1 - j)
        coefficients = mp.lu_solve(powers, right)
    assert tuple(map(float, coefficients)) == functions.NORMAL_TAIL


def test_the_polynomial_in_gelu_gives_the_normal_tail_to_the_last_digits() -> None:
    t = np.concatenate([np.linspace(0, 40, 501), 10.0 ** -np.arange(1, 17)])
    error, at = worst_ulps(functions._scaled_normal_tail(t), t, scaled_tail)
    assert error <= 4, f"{error:.3g} ulp at {at}"


def scaled_tail(t: Any) -> Any:
    return mp.exp(t * t / 2) * mp.erfc(t / mp.sqrt(2)) / 2


# ------------------------------------------------------------------------------- kinks


@each_dtype
def test_the_slope_at_a_kink_is_the_left_one(dtype: Any) -> None:
    zeros = np.array([0.0, -0.0], dtype)
    for f, slope in [
        (Relu(), 0), (LeakyRelu(), 0.01), (LeakyRelu(-2.5), -2.5), (Elu(), 1), (Elu(1.7), 1.7),
        (Selu(), Selu.scale * Selu.alpha),
    ]:  # fmt: skip
        np.testing.assert_array_equal(f.derivative(zeros), np.full(2, slope, dtype))
        np.testing.assert_array_equal(slope_in_training(f, zeros), np.full(2, slope, dtype))


@pytest.mark.peers
def test_values_and_slopes_are_those_of_pytorch(torch: Any) -> None:
    nn = torch.nn.functional
    peers: dict[Function, Callable[[Any], Any]] = {
        Sigmoid(): torch.sigmoid,
        Tanh(): torch.tanh,
        Relu(): torch.relu,
        LeakyRelu(): nn.leaky_relu,
        LeakyRelu(0.3): lambda z: nn.leaky_relu(z, 0.3),
        Elu(): nn.elu,
        Elu(1.7): lambda z: nn.elu(z, alpha=1.7),
        Selu(): nn.selu,
        Softplus(): lambda z: nn.softplus(z, threshold=1000),
        LogSigmoid(): nn.logsigmoid,
        Softsign(): nn.softsign,
        Mish(): nn.mish,
        HardTanh(): nn.hardtanh,
        HardSigmoid(): lambda z: nn.relu6(z + 3) / 6,  # nn.hardsigmoid has 1/6 in float32
        Silu(): nn.silu,
        Gelu(): nn.gelu,
        Sin(): torch.sin,
    }
    grid_with_kinks = np.concatenate([np.linspace(-30, 30, 601), [0.0, -0.0]])
    for f, peer in peers.items():
        z = torch.tensor(grid_with_kinks, requires_grad=True)
        y = peer(z)
        (slope,) = torch.autograd.grad(y.sum(), z)
        np.testing.assert_allclose(
            f.value(grid_with_kinks), y.detach().numpy(), rtol=1e-14, atol=1e-15, err_msg=repr(f)
        )
        np.testing.assert_allclose(
            f.derivative(grid_with_kinks), slope.numpy(), rtol=0, atol=4e-15, err_msg=repr(f)
        )


# ------------------------------------------------------------------------------- tangents


@each_function
def test_a_dual_through_f_has_the_tangent_f_prime(f: Function) -> None:
    from chainrule.calculus.dual import Dual

    z = grid(np.float64)
    tangent = np.random.default_rng(3).normal(size=z.shape)
    with strictly():
        y = f.value(Dual(z, tangent))
    np.testing.assert_array_equal(y.value, f.value(z))
    assert_tangent(y.tangent, tangent, [TRUTHS[f].derivative(mp.mpf(x)) for x in z.tolist()])


@each_function
@each_dtype
def test_a_tangent_stays_finite_at_every_finite_number(f: Function, dtype: Any) -> None:
    from chainrule.calculus.dual import Dual

    z = extremes(dtype) / dtype(4)
    with strictly():
        tangent = f.value(Dual(z, np.ones_like(z))).tangent
    assert tangent.dtype == dtype
    scale = TRUTHS[f].largest_slope
    np.testing.assert_allclose(
        tangent, f.derivative(z), rtol=0, atol=scale * ULPS * np.finfo(dtype).eps
    )


@each_function
def test_a_dual_through_f_prime_has_the_tangent_f_second(f: Function) -> None:
    from chainrule.calculus.dual import Dual

    z = grid(np.float64)[::3]
    if isinstance(f, Relu | LeakyRelu | Elu | Selu | Softsign):
        z = z[np.abs(z) > 1e-20]  # at the kink there is none, and mpmath's step would cross it
    second = [mp.diff(TRUTHS[f].derivative, mp.mpf(x)) for x in z.tolist()]
    tangent = np.random.default_rng(4).normal(size=z.shape)
    through = Dual(z, tangent)
    with strictly():
        slopes = [f.derivative(through), slope_in_training(f, through)]
    for slope in slopes:
        assert_tangent(getattr(slope, "tangent", np.zeros_like(z)), tangent, second)


def assert_tangent(got: Any, tangent: Any, slopes: list[Any]) -> None:
    slope = np.array([float(s) for s in slopes])
    scale = np.maximum(1, np.abs(slope)) * np.maximum(1, np.abs(tangent))
    np.testing.assert_array_less(np.abs(got - slope * tangent) / scale, 1e-12)


# ------------------------------------------------------------------------------- names and errors


def test_every_name_gives_its_function() -> None:
    names = [
        "identity", "sigmoid", "tanh", "relu", "leaky_relu", "elu", "selu", "softplus",
        "log_sigmoid", "softsign", "silu", "mish", "gelu", "step", "hard_tanh", "hard_sigmoid",
        "sin", "gaussian",
    ]  # fmt: skip
    assert list(functions.KNOWN) == names
    for name in names:
        assert functions.get(name).name == name
        assert functions.get(name) == functions.get(name)
    assert functions.get("leaky_relu") == LeakyRelu(slope=0.01)


def test_a_function_is_passed_through() -> None:
    for f in (LeakyRelu(0.2), Pair(np.sin, np.cos)):
        assert functions.get(f) is f


@pytest.mark.parametrize(
    ("given", "nearest"),
    [("sigmod", "sigmoid"), ("ReLU", "relu"), ("leakyrelu", "leaky_relu"), ("gauss", "gaussian")],
)
def test_an_unknown_name_is_refused_with_the_nearest_one(given: str, nearest: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        functions.get(given)
    assert caught.value.hint == f"did you mean {nearest!r}?"
    for name in functions.KNOWN:
        assert name in caught.value.expected


@pytest.mark.parametrize(
    ("given", "hint"),
    [
        ("quux", None),
        (None, "omit the layer, or Activation('identity')"),
        (3.0, None),
        (Sigmoid, "create an instance: Sigmoid()"),
        (np.sin, "add its derivative: Pair(np.sin, np.cos)"),
    ],
)
def test_what_is_no_function_is_refused(given: Any, hint: str | None) -> None:
    with pytest.raises(ConfigurationError) as caught:
        functions.get(given)
    assert caught.value.received == repr(given)
    assert caught.value.hint == hint


@pytest.mark.parametrize("kind", [LeakyRelu, Elu])
@pytest.mark.parametrize("given", [np.nan, np.inf, -np.inf, "0.1", None, True, 1j, [0.1], 10**400])
def test_a_slope_that_is_no_finite_number_is_refused(kind: Any, given: Any) -> None:
    with pytest.raises(ConfigurationError, match="must be a finite number") as caught:
        kind(given)
    assert caught.value.received == repr(given)


@pytest.mark.parametrize("given", [1, np.float64(0.5), np.float32(0.5), np.int64(2)])
def test_any_kind_of_number_becomes_a_plain_one_that_does_not_widen_float32(given: Any) -> None:
    for f in (LeakyRelu(given), Elu(given)):
        number = f.slope if isinstance(f, LeakyRelu) else f.alpha
        assert type(number) is float
        assert number == given
        assert f.value(np.ones(3, np.float32)).dtype == np.float32
        assert f.derivative(np.ones(3, np.float32)).dtype == np.float32


def test_functions_print_as_they_are_written() -> None:
    assert repr(Sigmoid()) == "Sigmoid()"
    assert repr(LeakyRelu(0.2)) == "LeakyRelu(slope=0.2)"
    assert repr(Elu()) == "Elu(alpha=1.0)"
    assert repr(Pair(np.sin, np.cos)) == "Pair(sin, cos)"


def test_functions_are_equal_where_their_numbers_are() -> None:
    assert LeakyRelu(0.2) == LeakyRelu(0.2) != LeakyRelu(0.3)
    assert Sigmoid() == Sigmoid() != Tanh()
    assert len({Sigmoid(), Sigmoid(), Elu(1), Elu(1.0), Elu(2)}) == 3
    with pytest.raises(AttributeError):
        LeakyRelu().slope = 0.5  # type: ignore[misc]


def test_the_slope_can_be_had_from_the_value_where_that_is_exact() -> None:
    can = {f for f in TRUTHS if f.derivative_from_value is not None}
    rectifiers = {Relu(), LeakyRelu(), LeakyRelu(0.3), LeakyRelu(0)}
    assert can == {Identity(), *rectifiers, Step(), HardTanh()}


def test_a_function_that_overrides_f_or_f_prime_does_not_inherit_what_was_made_of_them() -> None:
    @frozen
    class Doubled(Sigmoid):
        def value(self, z: Any) -> Any:
            return 2 * super().value(z)

        def derivative(self, z: Any) -> Any:
            return 2 * super().derivative(z)

    @frozen
    class Mirrored(Relu):
        def value(self, z: Any) -> Any:
            return np.minimum(z, 0)

        def derivative(self, z: Any) -> Any:
            return (z < 0).astype(z.dtype)

    z = np.linspace(-3, 3, 13)
    for f in (Doubled(), Mirrored()):
        assert f.derivative_from_value is None
        y, memory = f.value_and_memory(z)
        np.testing.assert_array_equal(y, f.value(z))
        np.testing.assert_array_equal(f.derivative_from_memory(memory), f.derivative(z))


def test_a_pair_of_plain_functions_is_a_function() -> None:
    f = Pair(np.sin, np.cos)
    z = np.linspace(-3, 3, 7, dtype=np.float32)
    np.testing.assert_array_equal(f.value(z), np.sin(z))
    np.testing.assert_array_equal(f.derivative(z), np.cos(z))
    assert f.derivative_from_value is None
    assert f(z).dtype == np.float32


@pytest.mark.parametrize(
    ("pair", "place"), [((np.sin, 2.0), "slope"), ((None, np.cos), "function")]
)
def test_a_pair_of_which_one_cannot_be_called_is_refused(pair: Any, place: str) -> None:
    with pytest.raises(ConfigurationError, match=f"{place} is not callable"):
        Pair(*pair)


def test_a_function_of_the_users_own_is_a_subclass_of_a_few_lines() -> None:
    @frozen
    class Softsign(Function):
        steepness: float = 1.0

        def value(self, z: Any) -> Any:
            return self.steepness * z / (1 + np.abs(self.steepness * z))

        def derivative(self, z: Any) -> Any:
            return self.steepness / (1 + np.abs(self.steepness * z)) ** 2

        def derivative_from_value(self, y: Any) -> Any:
            return self.steepness * (1 - np.abs(y)) ** 2

    f = functions.get(Softsign(2.0))
    z = np.linspace(-3, 3, 13)
    np.testing.assert_allclose(f.derivative_from_value(f(z)), f.derivative(z), rtol=1e-14)
    assert repr(f).endswith("Softsign(steepness=2.0)")


def test_a_function_without_formulas_says_so() -> None:
    for method in (Function().value, Function().derivative):
        with pytest.raises(NotImplementedError):
            method(np.zeros(3))
