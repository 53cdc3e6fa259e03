"""Complex numbers inside a layer: the tangent is the derivative with respect to a real number."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import mpmath
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from calculus.complex_step import assert_close, check, flat, tangent
from chainrule import Dense, Layer, Sequential, check_layer, derivatives, losses
from chainrule.calculus.dual import Dual
from chainrule.core.errors import BuildError, DtypeError, NoTangentRuleError

# ---- elementwise functions, against mpmath at points away from their branch cuts

ANALYTIC: dict[Any, Any] = {
    np.add: lambda a, b: a + b,
    np.subtract: lambda a, b: a - b,
    np.multiply: lambda a, b: a * b,
    np.divide: lambda a, b: a / b,
    np.power: lambda a, b: a**b,
    np.float_power: lambda a, b: a**b,
    operator.pow: lambda a, b: a**b,
    np.negative: lambda z: -z,
    np.positive: lambda z: z,
    np.reciprocal: lambda z: 1 / z,
    np.square: lambda z: z * z,
    np.sqrt: mpmath.sqrt,
    np.exp: mpmath.exp,
    np.exp2: lambda z: mpmath.mpf(2) ** z,
    np.expm1: mpmath.expm1,
    np.log: mpmath.log,
    np.log2: lambda z: mpmath.log(z, 2),
    np.log10: lambda z: mpmath.log(z, 10),
    np.log1p: lambda z: mpmath.log(1 + z),
    np.sin: mpmath.sin,
    np.cos: mpmath.cos,
    np.tan: mpmath.tan,
    np.arcsin: mpmath.asin,
    np.arccos: mpmath.acos,
    np.arctan: mpmath.atan,
    np.sinh: mpmath.sinh,
    np.cosh: mpmath.cosh,
    np.tanh: mpmath.tanh,
    np.arcsinh: mpmath.asinh,
    np.arccosh: mpmath.acosh,
    np.arctanh: mpmath.atanh,
    np.sinc: mpmath.sincpi,
    # not analytic: functions of two real numbers
    np.conjugate: mpmath.conj,
    np.real: lambda z: mpmath.mpc(z.real),
    np.imag: lambda z: mpmath.mpc(z.imag),
    np.absolute: lambda z: mpmath.mpc(abs(z)),
    np.angle: lambda z: mpmath.mpc(mpmath.arg(z)),
    np.sign: lambda z: z / abs(z),
}
PARTS = st.floats(0.1, 2).flatmap(lambda x: st.sampled_from([x, -x]))
NUMBERS = st.builds(complex, PARTS, PARTS)


@pytest.mark.parametrize("function", ANALYTIC, ids=lambda f: f.__name__)
@given(data=st.data())
@settings(max_examples=20)
def test_derivatives_at_complex_points_are_those_of_mpmath(function: Any, data: Any) -> None:
    formula = ANALYTIC[function]
    count = 2 if formula.__code__.co_argcount == 2 and formula.__name__ == "<lambda>" else 1
    points = [data.draw(NUMBERS) for _ in range(count)]
    directions = [data.draw(NUMBERS) for _ in range(count)]

    def along(t: Any) -> Any:
        moved = (mpmath.mpc(z) + t * mpmath.mpc(v) for z, v in zip(points, directions, strict=True))
        return formula(*moved)

    with mpmath.workdps(40):
        exact = complex(mpmath.diff(along, 0))
    received = function(*map(Dual, map(np.asarray, points), directions))
    assert_close(received.tangent, exact, 1e-13)
    assert_close(received.value, complex(along(0)), 1e-13)
    small = function(*(Dual(np.complex64(z), v) for z, v in zip(points, directions, strict=True)))
    assert small.tangent.dtype == small.dtype == function(*map(np.complex64, points)).dtype


# ---- arrays


def filtered(x: Any, y: Any) -> Any:
    """Low frequencies, multiplied by complex weights."""
    spectrum = np.fft.rfft(x, axis=-1)
    out = np.zeros_like(spectrum + y[:, :3])
    out[:, :2] = spectrum[:, :2] * (y[:, :2] + 1j * y[:, 2:])
    return np.fft.irfft(out, n=4, axis=-1)


def filtered_by_sums(x: Any, y: Any) -> Any:
    angle = 2 * np.pi / 4 * np.outer(np.arange(4), np.arange(2))
    re, im = x @ np.cos(angle), -x @ np.sin(angle)
    out_re = re * y[:, :2] - im * y[:, 2:]
    out_im = re * y[:, 2:] + im * y[:, :2]
    out_im = out_im * [0.0, 1.0]  # irfft leaves out the imaginary part at frequency 0
    weights = np.array([1.0, 2.0]) / 4
    return (out_re * weights) @ np.cos(angle).T - (out_im * weights) @ np.sin(angle).T


def written_in_parts(x: Any, y: Any) -> Any:
    z = np.zeros(x.shape, np.result_type(x, np.complex64), like=x + y)
    z.real = x
    z.imag = 2 * y
    z.imag[0] *= x[0]
    z *= 1j
    z += x
    z[1] = x[1] * y[1]
    z[:, 0] = 1 - 2j
    z.conj().T[0] = 7.0  # a copy
    return [z.real, z.imag, np.abs(z[0, 1:]) ** 2, z.real.T]


def written_in_parts_as_pairs(x: Any, y: Any) -> Any:
    re, im = x + 0 * y, 2 * y + 0 * x
    im[0] = im[0] * x[0]
    re, im = x - im, re
    re[1], im[1] = x[1] * y[1], 0
    re[:, 0], im[:, 0] = 1, -2
    return [re, im, re[0, 1:] ** 2 + im[0, 1:] ** 2, re.T]


def products(x: Any, y: Any) -> Any:
    z = x + 1j * y
    return [
        np.real(z @ z.T),
        np.imag(np.einsum("ij,kj->ik", z, z.conj())),
        np.vdot(z, z).real,
        np.linalg.norm(z, axis=1),
        np.real(np.prod(z, axis=0)),
        np.imag(np.cumprod(z, axis=1)),
        np.var(z, axis=0),
        np.real(np.sum(z**2, axis=1)),
        np.real(np.where(x > 0, z, 1j)),
        np.imag(np.mean(z * z)),
        np.real(np.convolve(z[0], z[1])),
        np.real(np.exp(1j * x) * y),
    ]


def products_of_pairs(x: Any, y: Any) -> Any:
    def cumulative(a: Any, b: Any) -> Any:
        re, im = a[:, :1], b[:, :1]
        for k in range(1, a.shape[1]):
            last, other = re[:, -1:], im[:, -1:]
            re = np.concatenate([re, last * a[:, k : k + 1] - other * b[:, k : k + 1]], axis=1)
            im = np.concatenate([im, last * b[:, k : k + 1] + other * a[:, k : k + 1]], axis=1)
        return re, im

    centred = [a - np.mean(a, axis=0) for a in (x, y)]
    return [
        x @ x.T - y @ y.T,
        y @ x.T - x @ y.T,
        np.sum(x * x + y * y),
        np.sqrt(np.sum(x * x + y * y, axis=1)),
        cumulative(x.T, y.T)[0][:, -1],
        cumulative(x, y)[1],
        np.mean(centred[0] ** 2 + centred[1] ** 2, axis=0),
        np.sum(x * x - y * y, axis=1),
        np.where(x > 0, x, 0),
        np.mean(2 * x * y),
        np.convolve(x[0], x[1]) - np.convolve(y[0], y[1]),
        np.cos(x) * y,
    ]


PROGRAMS = [
    (filtered, filtered_by_sums),
    (written_in_parts, written_in_parts_as_pairs),
    (products, products_of_pairs),
]


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda p: p[0].__name__)
@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=4)
def test_programs_with_complex_numbers_inside_run_on_duals(program: Any, seed: int) -> None:
    check(program, seed)


SECOND: list[Callable[[Any], Any]] = [
    lambda x: np.abs(np.fft.rfft(x)) ** 3,
    lambda x: np.fft.irfft(np.fft.rfft(x) ** 2 * (1 + 2j), n=4),
    lambda x: np.angle(np.fft.fft2(x)),
    lambda x: np.sign(x + 1j * x**2).imag,
    lambda x: np.quantile(x**2, [0.2, 0.7], axis=0),
    lambda x: np.nanstd(np.where(x > -9, x**2, np.nan), axis=1),
    lambda x: np.polyval(x[0] ** 2, x),
    lambda x: np.i0(x),
    lambda x: np.i0(0 * x + x**2),
    lambda x: np.logaddexp.reduce(x**2, axis=1),
    lambda x: np.hypot(x, x**2),
    lambda x: np.partition(x**3, 1),
    lambda x: np.corrcoef(x**2),
    lambda x: np.emath.sqrt(-(x**2) - 1).imag,
    lambda x: np.nancumprod(x**2, axis=1),
    lambda x: np.piecewise(x, [x > 0], [np.exp, lambda z: z**3]),
    lambda x: np.apply_along_axis(np.prod, 1, x**2),
    lambda x: np.logspace(x[0] ** 2, x[1], 3),
    lambda x: np.modf(x**3)[0],
    lambda x: np.ldexp(x**3, 2),
]


@pytest.mark.parametrize("function", SECOND)
def test_second_derivatives_are_differences_of_first(function: Any) -> None:
    x = np.array([[0.7, -1.2, 0.4, 0.2], [1.5, 0.3, -0.6, -0.9], [0.9, 1.1, 2.0, 0.1]])
    v, w, h = np.cos(x), np.sin(3 * x), 1e-5
    second = function(Dual(Dual(x, v), w)).tangent.tangent
    first = [function(Dual(x + s * h * w, v)).tangent for s in (1, -1)]
    assert_close(second, (first[0] - first[1]) / (2 * h), 1e-7)


# ---- the object itself


def test_a_complex_dual_has_parts_methods_and_a_representation() -> None:
    z = Dual(np.array([1 + 2j, 3.0]), [1j, 2.0])
    assert z.real.tangent.tolist() == [0.0, 2.0]
    assert z.imag.tangent.tolist() == [1.0, 0.0]
    assert z.conj().tangent.tolist() == z.conjugate().tangent.tolist() == [-1j, 2.0]
    assert np.iscomplexobj(z) and np.iscomplex(z).tolist() == [True, False]
    assert z.dtype == complex and z.nbytes == 32
    assert repr(z[0]) == "Dual(1.+2.j, tangent=0.+1.j)"
    assert "dtype=complex64" in repr(z.astype(np.complex64))
    z.real[0] = Dual(5.0, 6.0)
    assert z.value[0] == 5 + 2j and z.tangent[0] == 6 + 1j
    x = Dual(np.ones(2, np.float32), 1.0)
    assert (x * 1j).dtype == np.fft.rfft(x).dtype == np.complex64
    assert np.abs(x * 1j).dtype == np.fft.irfft(np.fft.rfft(x)).dtype == np.float32
    assert x.real.tangent.tolist() == [1.0, 1.0] and not np.any(x.imag.tangent)
    assert x.astype(complex).tangent.tolist() == [1.0, 1.0]
    assert np.zeros(3, complex, like=x).tangent.dtype == complex
    assert f"{z[1]:.1f}" == "3.0+0.0j" and f"{z[0]}" == repr(z[0])
    assert round(Dual(np.float64(2.345), 1.0), 1).tangent == 0.0


def test_a_real_value_has_a_real_tangent() -> None:
    with pytest.raises(DtypeError, match="both parts real or complex"):
        Dual(np.ones(3), 1j)
    assert Dual(np.ones(3, complex), 1.0).tangent.dtype == complex
    x = Dual(np.ones(2), 1.0)
    with pytest.raises(TypeError, match="complex"):
        x += 1j
    with pytest.raises(NoTangentRuleError, match="complex"):
        complex(x[0])


def test_ufuncs_are_folded_along_an_axis_one_entry_after_the_other() -> None:
    cases: list[Any] = [
        lambda x, y: np.subtract.reduce(x, axis=1),
        lambda x, y: np.divide.reduce(x + y, axis=0, keepdims=True),
        lambda x, y: np.multiply.accumulate(x, axis=1),
        lambda x, y: np.divide.accumulate(x, axis=1),
        (
            lambda x, y: np.maximum.accumulate(x, axis=1),
            lambda x, y: np.take_along_axis(
                x,
                np.maximum.accumulate((x.real == np.maximum.accumulate(x.real, 1)) * range(4), 1),
                1,
            ),
        ),
        (
            lambda x, y: np.logaddexp.reduce(x, axis=1),
            lambda x, y: np.log(np.sum(np.exp(x), axis=1)),
        ),
        (
            lambda x, y: np.logaddexp.accumulate(x * y),
            lambda x, y: np.log(np.cumsum(np.exp(x * y), axis=0)),
        ),
        (lambda x, y: np.hypot.reduce(x), lambda x, y: np.sqrt(np.sum(x * x, axis=0))),
    ]
    for seed, case in enumerate(cases):
        check(case, seed)
    empty = np.logaddexp.reduce(Dual(np.zeros((2, 0)), 0.0), axis=1)
    assert empty.tangent.tolist() == [0.0, 0.0]


# ---- layers as a user writes them


class Spectral(Layer):
    """The lowest frequencies times complex weights, as in a Fourier neural operator."""

    modes: int = 3

    def build(self, shape: Any) -> None:
        self.parameter("weights", (self.modes, 2), "glorot_uniform")

    def forward(self, x: Any) -> Any:
        weights = self.weights.value
        self.spectrum = np.fft.rfft(x, axis=-1)[..., : self.modes]
        self.length = x.shape[-1]
        y = np.zeros((*x.shape[:-1], self.length // 2 + 1), self.spectrum.dtype, like=self.spectrum)
        y[..., : self.modes] = self.spectrum * (weights[:, 0] + 1j * weights[:, 1])
        return np.fft.irfft(y, n=self.length, axis=-1)

    def backward(self, delta: Any) -> Any:
        weights = self.weights.value
        n = self.length
        doubled = np.where(np.arange(self.modes) == 0, 1.0, 2.0).astype(delta.dtype)
        # The adjoint of irfft: rfft / n, with each frequency but the first counted twice.
        back = np.fft.rfft(delta, axis=-1)[..., : self.modes] * doubled / n
        product = np.conj(self.spectrum) * back
        self.weights.grad += np.stack([np.sum(product.real, 0), np.sum(product.imag, 0)], axis=-1)
        back = back * (weights[:, 0] - 1j * weights[:, 1])
        out = np.zeros((*delta.shape[:-1], n // 2 + 1), back.dtype, like=back)
        out[..., : self.modes] = back / doubled
        return np.fft.irfft(out, n=n, axis=-1) * n


class Whitening(Layer):
    """Rows decorrelated by a Cholesky factor, y = L⁻¹ x, of the covariance L Lᵀ = 1 + W Wᵀ."""

    def build(self, shape: Any) -> None:
        self.parameter("weights", (shape[0], shape[0]), "glorot_uniform")

    def forward(self, x: Any) -> Any:
        w = self.weights.value
        self.factor = np.linalg.cholesky(np.eye(len(w), dtype=w.dtype) + w @ w.T)
        self.y = np.linalg.solve(self.factor, x.T).T
        return self.y

    def backward(self, delta: Any) -> Any:
        w, factor = self.weights.value, self.factor
        dx = np.linalg.solve(factor.T, delta.T).T
        outer = -np.tril(dx.T @ self.y)  # with respect to L
        half = np.tril(factor.T @ outer)
        half = half - 0.5 * np.diag(np.diag(half))
        inner = np.linalg.solve(factor.T, np.linalg.solve(factor.T, half.T).T)
        self.weights.grad += (inner + inner.T) @ w
        return dx


class Normalised(Layer):
    """x / (1 + ‖x‖), whose Jacobian at zero is the unit matrix."""

    def forward(self, x: Any) -> Any:
        self.x = x
        self.size = np.linalg.norm(x, axis=-1, keepdims=True)
        return x / (1 + self.size)

    def backward(self, delta: Any) -> Any:
        size, total = self.size, 1 + self.size
        along = np.sum(self.x * delta, axis=-1, keepdims=True) / np.where(size == 0, 1, size)
        return delta / total - self.x * along / total**2


@pytest.mark.parametrize("layer", [Spectral, Whitening, Normalised])
@pytest.mark.parametrize("width", [7, 8])
def test_a_users_layer_is_checked_by_dual_numbers(layer: type[Layer], width: int) -> None:
    for seed in range(3):
        report = check_layer(layer(), (width,), rng=seed)
        assert report.ok
        assert not any(result.remarks for result in report)


def test_a_layer_with_a_norm_is_checked_at_zero() -> None:
    def with_zeros(shape: tuple[int, ...]) -> Any:
        return np.random.default_rng(0).normal(size=shape) * (np.arange(shape[0])[:, None] % 2)

    report = check_layer(Normalised(), (3,), inputs=with_zeros)
    assert report.ok
    assert not any(result.remarks for result in report)
    layer = Normalised()
    layer.build((3,))
    v = np.array([[1.0, 2.0, 3.0], [1.0, 0.0, 0.0]])
    x = np.array([[0.0, 0.0, 0.0], [1.0, 2.0, -2.0]])
    assert_close(derivatives.jvp(layer, x, v)[1][0], v[0])


def test_a_spectral_layer_has_hessian_products_and_keeps_float32() -> None:
    for dtype in (np.float64, np.float32):
        layer = Spectral()
        layer.build((8,), rng=0, dtype=dtype)
        rng = np.random.default_rng(1)
        x, t = rng.normal(size=(2, 5, 8)).astype(dtype)
        v = rng.normal(size=6).astype(dtype)
        loss = losses.HalfSquaredError()
        product = derivatives.hvp(layer, loss, x, t, v)
        assert product.dtype == dtype
        start = layer.parameters.value.copy()
        gradients = []
        for sign in (1, -1):  # the gradient is linear in the parameters, so the step may be long
            layer.parameters.value[...] = start + sign * v
            gradients.append(derivatives.value_and_gradient(layer, loss, x, t)[1])
        accuracy = 1e-12 if dtype == np.float64 else 1e-5
        assert_close(product, (gradients[0] - gradients[1]) / 2, accuracy)


def test_a_layer_that_returns_complex_numbers_is_refused_when_it_is_built() -> None:
    class Spectrum(Layer):
        def forward(self, x: Any) -> Any:
            return np.fft.rfft(x)

        def backward(self, delta: Any) -> Any:
            return np.fft.irfft(delta)

    for model in (Spectrum(), Sequential([Dense(4), Spectrum()])):
        with pytest.raises(BuildError, match="forward returns complex numbers") as caught:
            model.build((4,))
        assert "np.stack([y.real, y.imag], axis=-1)" in str(caught.value.hint)


def test_a_layer_with_a_conversion_is_checked_by_differences_and_the_report_names_it() -> None:
    class Reversed(Layer):
        def forward(self, x: Any) -> Any:
            return np.ascontiguousarray(x[:, ::-1])

        def backward(self, delta: Any) -> Any:
            return delta[:, ::-1]

    report = check_layer(Reversed(), (4,))
    assert report.ok
    assert "np.ascontiguousarray(x) would lose the tangent" in " ".join(report["adjoint"].remarks)


def test_every_result_of_a_function_with_several_has_a_tangent() -> None:
    x = Dual(np.array([[2.0, 1.0], [1.0, 3.0], [0.0, 1.0]]), 1.0)
    assert len(flat(np.linalg.svd(x, full_matrices=False), tangent)) == 3
    assert np.linalg.eigh(x[:2]).eigenvalues.tangent.shape == (2,)
    assert np.linalg.qr(x).R.tangent.shape == (2, 2)
    solution, residuals, rank, s = np.linalg.lstsq(x, np.ones(3), rcond=None)
    assert isinstance(rank, np.integer | int)
    assert solution.tangent.shape == s.tangent.shape == (2,) and residuals.tangent.shape == (1,)


@pytest.mark.peers
@pytest.mark.filterwarnings("ignore:.*torch.jit.script:DeprecationWarning")  # of PyTorch by itself
@pytest.mark.parametrize(
    "name", ["fft", "ifft", "rfft", "irfft", "hfft", "ihfft", "fft2", "ifft2", "rfft2", "irfftn"]
)
@pytest.mark.parametrize("norm", [None, "ortho", "forward"])
def test_tangents_of_fourier_transforms_are_those_of_pytorch(
    torch: Any, name: str, norm: Any
) -> None:
    rng = np.random.default_rng(7)
    is_real = name in ("rfft", "rfft2", "ihfft")
    x, v = (z.real if is_real else z for z in rng.normal(size=(2, 4, 5, 2)).view(complex)[..., 0])

    def power(fft: Any, absolute: Any, z: Any) -> Any:
        y = getattr(fft, name)(z, norm=norm)
        return absolute(y) ** 2 * y

    expected = torch.func.jvp(
        lambda z: power(torch.fft, torch.abs, z),
        (torch.from_numpy(x.copy()),),
        (torch.from_numpy(v.copy()),),
    )[1]
    assert_close(power(np.fft, np.abs, Dual(x, v)).tangent, expected.resolve_conj().numpy(), 1e-11)
