"""The rules of `numpy.linalg` against truths that know nothing of them.

Real matrices: an analytic formula with a complex step, for example Gram and Schmidt's method for
`qr`. Complex matrices: differences of high order, h⁸, and PyTorch. Singular and degenerate
matrices: numbers worked out by hand.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from calculus.complex_step import assert_close, check, flat, tangent
from chainrule.calculus.dual import Dual
from chainrule.calculus.linear_algebra_rules import LINEAR_ALGEBRA_RULES
from chainrule.core.errors import NoTangentRuleError

SEEDS = st.integers(0, 2**32 - 1)

# ---- analytic truths: x and y are 3×4


def square(x: Any) -> Any:
    return x[:, :3] + 4 * np.eye(3)


def symmetric(x: Any) -> Any:
    """A symmetric positive definite matrix with different eigenvalues."""
    return 0.1 * (x[:, :3] + x[:, :3].T) + np.diag([2.0, 3.0, 5.0])


def tall(x: Any) -> Any:
    return x[:, :2] + np.array([[4.0, 0.0], [0.0, 3.0], [1.0, 1.0]])


def wide(x: Any) -> Any:
    return x[:2] + np.array([[4.0, 0.0, 0.0, 1.0], [0.0, 3.0, 1.0, 0.0]])


def root_of_squares(x: Any, **options: Any) -> Any:
    return np.sqrt(np.sum(x * x, **options))


def sign_of(x: Any) -> Any:
    return np.sign(x.real)


def cholesky(a: Any) -> Any:
    """Row by row, as on paper."""
    n = len(a)
    factor = 0 * a
    for i in range(n):
        for j in range(i + 1):
            rest = a[i, j] - np.sum(factor[i, :j] * factor[j, :j])
            factor[i, j] = np.sqrt(rest) if i == j else rest / factor[j, j]
    return factor


def gram_schmidt(a: Any) -> Any:
    """Q and R, with the signs that NumPy chooses."""
    count = min(a.shape)
    q = 0 * a[:, :count]
    for j in range(count):
        rest = a[:, j] - q[:, :j] @ (q[:, :j].T @ a[:, j])
        rest = rest - q[:, :j] @ (q[:, :j].T @ rest)  # again, for the digits
        q[:, j] = rest / root_of_squares(rest)
    q = q * np.sign(np.diag(np.linalg.qr(a.real)[1]))
    return q, np.triu(q.T @ a)


def eigen(a: Any, like: Any) -> Any:
    """Eigenvalues and vectors by inverse iteration, from those of the real part."""
    values, vectors = like
    pairs = []
    for value, vector in zip(values, vectors.T, strict=True):
        w, v = value + 0j, vector + 0j
        for _ in range(4):  # Newton's method for A v = w v with the norm of v fixed
            equations = np.block(
                [[a - w * np.eye(len(a)), -v[:, None]], [vector[None], np.zeros((1, 1))]]
            )
            step = np.linalg.solve(equations, np.concatenate([w * v - a @ v, [1 - vector @ v]]))
            v, w = v + step[:-1], w + step[-1]
        pairs.append((w, v / root_of_squares(v)))
    return np.array([w for w, _ in pairs]), np.stack([v for _, v in pairs], axis=-1)


def eigh(a: Any, triangle: str = "L") -> Any:
    return eigen(a, np.linalg.eigh(a.real, triangle))


def singular(a: Any, **options: Any) -> Any:
    """U and V are eigenvectors of A Aᵀ and Aᵀ A."""
    u, s, vh = np.linalg.svd(a.real, full_matrices=False, **options)
    squares, left = eigen(a @ a.T, (s**2, u))
    _, right = eigen(a.T @ a, (s**2, vh.T))
    return left, np.sqrt(squares), right.T


def pseudo_inverse(a: Any) -> Any:
    """Of a matrix of full rank."""
    rows, columns = a.shape
    inverse = np.linalg.inv
    return inverse(a.T @ a) @ a.T if rows >= columns else a.T @ inverse(a @ a.T)


def least_squares(a: Any, b: Any) -> Any:
    solution = pseudo_inverse(a) @ b
    return solution, np.sum((b - a @ solution) ** 2, axis=0), singular(a)[1]


def without_rank(result: Any) -> Any:
    solution, residuals, rank, values = result
    assert rank == 2
    return solution, residuals, values


def low_rank(x: Any, y: Any) -> Any:
    return tall(x) @ wide(y)


def positive_roots(x: Any) -> Any:
    return x * sign_of(x)


CASES: dict[Any, list[Any]] = {
    np.linalg.matmul: [lambda x, y: np.linalg.matmul(x, y.T)],
    np.linalg.outer: [lambda x, y: np.linalg.outer(x[0], y[0])],
    np.linalg.cross: [lambda x, y: np.linalg.cross(x[:, :3], y[:, :3])],
    np.linalg.tensordot: [lambda x, y: np.linalg.tensordot(x, y, axes=2)],
    np.linalg.vecdot: [(lambda x, y: np.linalg.vecdot(x, y), lambda x, y: np.sum(x * y, axis=-1))],
    np.linalg.multi_dot: [lambda x, y: np.linalg.multi_dot([x, y.T, x])],
    np.linalg.matrix_transpose: [lambda x, y: np.linalg.matrix_transpose(x)],
    np.linalg.diagonal: [lambda x, y: np.linalg.diagonal(x)],
    np.linalg.trace: [lambda x, y: np.linalg.trace(x[None])],
    np.linalg.inv: [
        lambda x, y: np.linalg.inv(square(x)),
        lambda x, y: np.linalg.inv(np.stack([square(x), square(y)])),
    ],
    np.linalg.solve: [
        lambda x, y: np.linalg.solve(square(x), y),
        lambda x, y: np.linalg.solve(square(x), y[:, 0]),
        lambda x, y: np.linalg.solve(np.stack([square(x), square(y)]), y[:, 0]),
    ],
    np.linalg.det: [
        lambda x, y: np.linalg.det(square(x)),
        lambda x, y: np.linalg.det(np.stack([square(x), square(y)])),
    ],
    np.linalg.slogdet: [
        (
            lambda x, y: np.linalg.slogdet(square(x)),
            lambda x, y: (1.0, np.log(np.linalg.det(square(x)))),
        )
    ],
    np.linalg.norm: [
        (lambda x, y: np.linalg.norm(x), lambda x, y: root_of_squares(x)),
        (
            lambda x, y: np.linalg.norm(x, "fro", keepdims=True),
            lambda x, y: root_of_squares(x, keepdims=True),
        ),
        (lambda x, y: np.linalg.norm(x, axis=1), lambda x, y: root_of_squares(x, axis=1)),
        (lambda x, y: np.linalg.norm(x[0], 2), lambda x, y: root_of_squares(x[0])),
        (
            lambda x, y: np.linalg.norm(x, 1, axis=1),
            lambda x, y: np.sum(x * np.sign(x.real), axis=1),
        ),
        (
            lambda x, y: np.linalg.norm(x, np.inf, axis=1),
            lambda x, y: np.max(x * np.sign(x.real), axis=1),
        ),
        (
            lambda x, y: np.linalg.norm(x, 3, axis=0),
            lambda x, y: np.sum((x * np.sign(x.real)) ** 3, 0) ** (1 / 3),
        ),
        (
            lambda x, y: np.linalg.norm(symmetric(x), 2),
            lambda x, y: np.max(eigh(symmetric(x))[0]),
        ),
        (
            lambda x, y: np.linalg.norm(symmetric(x), -2),
            lambda x, y: np.min(eigh(symmetric(x))[0]),
        ),
        (
            lambda x, y: np.linalg.norm(tall(0.1 * x), "nuc"),
            lambda x, y: np.sum(singular(tall(0.1 * x))[1]),
        ),
        (
            lambda x, y: np.linalg.norm(x[None] * y[0], 1, axis=(2, 1)),
            lambda x, y: np.max(np.sum(positive_roots(x * y[0]), axis=1))[None],
        ),
        (
            lambda x, y: np.linalg.norm(x, -np.inf),
            lambda x, y: np.min(np.sum(positive_roots(x), axis=1)),
        ),
    ],
    np.linalg.matrix_power: [
        lambda x, y: np.linalg.matrix_power(square(x), 3),
        lambda x, y: np.linalg.matrix_power(square(x), 0),
        lambda x, y: np.linalg.matrix_power(np.stack([square(x), square(y)]), -2),
    ],
    np.linalg.tensorinv: [
        lambda x, y: np.linalg.tensorinv(
            (np.kron(square(x)[:2, :2], np.eye(2))).reshape(2, 2, 4), 2
        )
    ],
    np.linalg.tensorsolve: [
        lambda x, y: np.linalg.tensorsolve(
            np.kron(square(x)[:2, :2], square(y)[:2, :2]).reshape(2, 2, 4), y[:2, :2]
        ),
        lambda x, y: np.linalg.tensorsolve(
            np.kron(square(x)[:2, :2], square(y)[:2, :2]).reshape(4, 2, 2),
            y[0] + 0 * x[0],
            axes=None,
        ),
        lambda x, y: np.linalg.tensorsolve(
            np.kron(square(x)[:2, :2], square(y)[:2, :2]).reshape(2, 4, 2), y[0], axes=(0,)
        ),
    ],
    np.linalg.pinv: [
        (lambda x, y: np.linalg.pinv(tall(x)), lambda x, y: pseudo_inverse(tall(x))),
        (lambda x, y: np.linalg.pinv(wide(x)), lambda x, y: pseudo_inverse(wide(x))),
        (lambda x, y: np.linalg.pinv(square(x)), lambda x, y: np.linalg.inv(square(x))),
        (
            lambda x, y: np.linalg.pinv(low_rank(x, y), 1e-10),
            lambda x, y: pseudo_inverse(wide(y)) @ pseudo_inverse(tall(x)),
        ),
        (
            lambda x, y: np.linalg.pinv(symmetric(x), hermitian=True),
            lambda x, y: np.linalg.inv(symmetric(x)),
        ),
    ],
    np.linalg.lstsq: [
        (
            lambda x, y: without_rank(np.linalg.lstsq(tall(x), y, rcond=None)),
            lambda x, y: least_squares(tall(x), y),
        ),
        (
            lambda x, y: without_rank(np.linalg.lstsq(tall(x), y[:, 0], rcond=-1)),
            lambda x, y: (
                least_squares(tall(x), y[:, :1])[0][:, 0],
                *least_squares(tall(x), y[:, :1])[1:],
            ),
        ),
        (
            lambda x, y: np.linalg.lstsq(wide(x), y[:2], rcond=None)[0],
            lambda x, y: pseudo_inverse(wide(x)) @ y[:2],
        ),
        (
            lambda x, y: np.linalg.lstsq(low_rank(x, y), y, rcond=1e-10)[0],
            lambda x, y: pseudo_inverse(wide(y)) @ pseudo_inverse(tall(x)) @ y,
        ),
    ],
    np.linalg.cholesky: [
        (lambda x, y: np.linalg.cholesky(symmetric(x)), lambda x, y: cholesky(symmetric(x))),
        (
            lambda x, y: np.linalg.cholesky(np.stack([symmetric(x), symmetric(y)])),
            lambda x, y: np.stack([cholesky(symmetric(x)), cholesky(symmetric(y))]),
        ),
        (
            lambda x, y: np.linalg.cholesky(0.3 * x[:, :3] + np.diag([3.0, 4.0, 5.0]), upper=True),
            lambda x, y: cholesky((0.3 * x[:, :3] + np.diag([3.0, 4.0, 5.0])).T).T,
        ),
    ],
    np.linalg.qr: [
        (lambda x, y: np.linalg.qr(square(x)), lambda x, y: gram_schmidt(square(x))),
        (lambda x, y: np.linalg.qr(tall(x)), lambda x, y: gram_schmidt(tall(x))),
        (lambda x, y: np.linalg.qr(wide(x)), lambda x, y: gram_schmidt(wide(x))),
        (lambda x, y: np.linalg.qr(wide(x), "complete"), lambda x, y: gram_schmidt(wide(x))),
        (lambda x, y: np.linalg.qr(tall(x), mode="r"), lambda x, y: gram_schmidt(tall(x))[1]),
    ],
    np.linalg.eigh: [
        (lambda x, y: np.linalg.eigh(symmetric(x)), lambda x, y: eigh(symmetric(x))),
        (
            lambda x, y: np.linalg.eigh(np.tril(symmetric(x)) + np.triu(y[:, :3], 1)),
            lambda x, y: eigh(symmetric(x)),
        ),
        (
            lambda x, y: np.linalg.eigh(np.triu(symmetric(x)), "U"),
            lambda x, y: eigh(symmetric(x), "U"),
        ),
    ],
    np.linalg.eigvalsh: [
        (lambda x, y: np.linalg.eigvalsh(symmetric(x)), lambda x, y: eigh(symmetric(x))[0]),
    ],
    np.linalg.eig: [
        (
            lambda x, y: np.linalg.eig(symmetric(x) + 0.1 * np.tri(3)),
            lambda x, y: eigen(
                symmetric(x) + 0.1 * np.tri(3), np.linalg.eig(symmetric(x.real) + 0.1 * np.tri(3))
            ),
        ),
    ],
    np.linalg.eigvals: [
        (
            lambda x, y: np.linalg.eigvals(symmetric(x) + 0.1 * np.tri(3)),
            lambda x, y: eigen(
                symmetric(x) + 0.1 * np.tri(3), np.linalg.eig(symmetric(x.real) + 0.1 * np.tri(3))
            )[0],
        ),
    ],
    np.linalg.svd: [
        (lambda x, y: np.linalg.svd(symmetric(x)), lambda x, y: singular(symmetric(x))),
        (
            lambda x, y: np.linalg.svd(tall(0.1 * x), full_matrices=False),
            lambda x, y: singular(tall(0.1 * x)),
        ),
        (
            lambda x, y: np.linalg.svd(wide(0.1 * x), full_matrices=False),
            lambda x, y: singular(wide(0.1 * x)),
        ),
        (
            lambda x, y: np.linalg.svd(tall(0.1 * x), compute_uv=False),
            lambda x, y: singular(tall(0.1 * x))[1],
        ),
        (
            lambda x, y: np.linalg.svd(symmetric(x), hermitian=True),
            lambda x, y: singular(symmetric(x), hermitian=True),
        ),
    ],
    np.linalg.svdvals: [
        (lambda x, y: np.linalg.svdvals(wide(0.1 * x)), lambda x, y: singular(wide(0.1 * x))[1]),
    ],
    np.linalg.vector_norm: [
        (lambda x, y: np.linalg.vector_norm(x), lambda x, y: root_of_squares(x)),
        (
            lambda x, y: np.linalg.vector_norm(x[None] * y, axis=(0, 2), ord=1, keepdims=True),
            lambda x, y: np.sum(positive_roots(x * y), axis=1)[None, :, None],
        ),
        (lambda x, y: np.linalg.vector_norm(x, axis=0, ord=0), lambda x, y: 3 + 0 * x[0]),
    ],
    np.linalg.matrix_norm: [
        (lambda x, y: np.linalg.matrix_norm(x[None]), lambda x, y: root_of_squares(x)[None]),
        (
            lambda x, y: np.linalg.matrix_norm(x, ord=1, keepdims=True),
            lambda x, y: np.max(np.sum(positive_roots(x), axis=0)).reshape(1, 1),
        ),
    ],
    np.linalg.cond: [
        (
            lambda x, y: np.linalg.cond(tall(0.1 * x)),
            lambda x, y: singular(tall(0.1 * x))[1][0] / singular(tall(0.1 * x))[1][1],
        ),
        (
            lambda x, y: np.linalg.cond(symmetric(x), "fro"),
            lambda x, y: (
                root_of_squares(symmetric(x)) * root_of_squares(np.linalg.inv(symmetric(x)))
            ),
        ),
        (
            lambda x, y: np.linalg.cond(tall(0.1 * x), -2),
            lambda x, y: singular(tall(0.1 * x))[1][1] / singular(tall(0.1 * x))[1][0],
        ),
    ],
}


def test_every_rule_is_tested() -> None:
    assert CASES.keys() == LINEAR_ALGEBRA_RULES.keys()


@pytest.mark.parametrize("function", CASES, ids=lambda f: f.__name__)
@given(seed=SEEDS)
@settings(max_examples=4)
def test_rules_for_matrices_are_exact_linear_and_pure(function: Any, seed: int) -> None:
    for case in CASES[function]:
        check(case, seed)


# ---- complex matrices, against differences of the order h⁸


def derivative(function: Callable[[float], Any], h: float = 0.02) -> Any:
    """The central difference with eight points, exact to about 1e-12 for smooth functions."""
    weights = {1: 4 / 5, 2: -1 / 5, 3: 4 / 105, 4: -1 / 280}
    return sum(w * (function(n * h) - function(-n * h)) / h for n, w in weights.items())


def hermitian(z: Any) -> Any:
    return z @ np.conjugate(z).mT + np.diag([1.0, 2.0, 4.0]).astype(z.dtype)


def rebuilt_from_eigh(z: Any) -> Any:
    """A function of V that does not depend on the phases of the eigenvectors."""
    values, vectors = np.linalg.eigh(hermitian(z))
    return [values, vectors @ np.diag(np.exp(-values)) @ np.conjugate(vectors).mT]


def rebuilt_from_svd(z: Any, **options: Any) -> Any:
    u, s, vh = np.linalg.svd(z, full_matrices=False, **options)
    return [s, u @ vh, (u * np.exp(-s)) @ vh, (u / s) @ np.conjugate(u.mT)]


def projection(z: Any) -> Any:
    """The solution of least squares, by a matrix of rank 2."""
    return np.linalg.lstsq(z[:, :2] @ z[:2], z, rcond=1e-10)[0]


COMPLEX: list[Callable[[Any], Any]] = [
    np.linalg.inv,
    np.linalg.det,
    np.linalg.slogdet,
    np.linalg.qr,
    np.linalg.eig,
    np.linalg.eigvals,
    rebuilt_from_eigh,
    rebuilt_from_svd,
    projection,
    lambda z: np.linalg.qr(z[:, :2]),
    lambda z: np.linalg.qr(z[:2]),
    lambda z: rebuilt_from_svd(z[:, :2]),
    lambda z: rebuilt_from_svd(z[:2]),
    lambda z: np.linalg.cholesky(hermitian(z)),
    lambda z: np.linalg.cholesky(hermitian(z), upper=True),
    lambda z: np.linalg.eigvalsh(hermitian(z), UPLO="U"),
    lambda z: np.linalg.solve(z, z[0] ** 2),
    lambda z: np.linalg.pinv(z[:2]),
    lambda z: np.linalg.pinv(hermitian(z), hermitian=True),
    lambda z: np.linalg.pinv(z[:, :2] @ z[:2], 1e-10),
    lambda z: [part for part in np.linalg.lstsq(z[:, :2], z, rcond=None) if np.ndim(part)],
    lambda z: np.linalg.matrix_power(z, -2),
    lambda z: [np.linalg.norm(z, ord) for ord in ("fro", "nuc", 2, -2, 1, -1, np.inf, -np.inf)],
    lambda z: [np.linalg.norm(z[0], ord) for ord in (None, 1, 2, 3, np.inf)],
    lambda z: np.linalg.cond(z),
    lambda z: np.linalg.svd(hermitian(z), compute_uv=False, hermitian=True),
    lambda z: rebuilt_from_svd(hermitian(z), hermitian=True),
    lambda z: np.linalg.eig(np.stack([z.real, z.real + z.real.T]))[0],
    lambda z: np.linalg.pinv(np.stack([z, z[:, :1] @ z[:1]]), 1e-10),
    lambda z: [np.var(z), np.std(z, axis=0), np.cov(z), np.vdot(z, z**2), np.linalg.vecdot(z, z)],
    lambda z: np.real(np.linalg.eig(z.real).eigenvectors),
    lambda z: np.stack([np.linalg.eigvals(z), np.linalg.eigvals(2 * z.real)]),
]


@pytest.mark.parametrize("function", COMPLEX)
def test_rules_for_complex_matrices_are_differences(function: Any) -> None:
    rng = np.random.default_rng(5)
    z, v = rng.normal(size=(2, 3, 3, 2)).view(complex)[..., 0]
    z += np.diag([3.0, 5.0, 8.0])
    received = flat(function(Dual(z, v)), tangent)
    for n, dy in enumerate(received):
        expected = derivative(lambda t, n=n: flat(function(z + t * v), np.asarray)[n])
        assert_close(dy, expected, 1e-9)
    small = z.astype(np.complex64)
    plain = flat(function(small), np.asarray)
    for y, same in zip(flat(function(Dual(small, v)), lambda y: y), plain, strict=True):
        assert y.tangent.dtype == y.dtype == same.dtype


@pytest.mark.parametrize("function", COMPLEX)
def test_second_derivatives_are_differences_of_first(function: Any) -> None:
    rng = np.random.default_rng(6)
    z, v, w = rng.normal(size=(3, 3, 3, 2)).view(complex)[..., 0]
    z += np.diag([3.0, 8.0, 15.0])
    received = flat(function(Dual(Dual(z, v), w)), lambda y: tangent(y).tangent)
    for n, second in enumerate(received):
        expected = derivative(lambda t, n=n: flat(function(Dual(z + t * w, v)), tangent)[n])
        assert_close(second, expected, 1e-8)


# ---- where a derivative does not exist, or barely


ONE = np.eye(3)
SPLITTING = np.diag([1.0, 2.0, 3.0])
MIXING = np.array([[0.0, 1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 0.0]])
SINGULAR = np.outer([1.0, 2.0, 3.0], [1.0, 0.0, 2.0])

UNDEFINED: list[tuple[Callable[[], Any], str]] = [
    (lambda: np.linalg.eigh(Dual(ONE, MIXING)), "equal eigenvalues"),
    (lambda: np.linalg.eigh(Dual(ONE, SPLITTING)), "np.linalg.eigvalsh"),
    (lambda: np.linalg.eigh(Dual(np.stack([SPLITTING, ONE]), np.stack([ONE, MIXING]))), "equal"),
    (lambda: np.linalg.eig(Dual(ONE, MIXING)), "np.linalg.eigvals"),
    (lambda: np.linalg.eig(Dual(np.eye(3, k=1), ONE)), "defective"),
    (lambda: np.linalg.eigvals(Dual(np.eye(3, k=1), MIXING)), "defective"),
    (lambda: np.linalg.svd(Dual(ONE, SPLITTING)), "equal singular values"),
    (lambda: np.linalg.svd(Dual(SINGULAR, ONE)), "singular value"),
    (lambda: np.linalg.svd(Dual(SINGULAR[:, :2] * 1e5, ONE[:, :2]), False), "a singular value 0"),
    (lambda: np.linalg.svd(Dual(ONE[:2], ONE[:2])), "full_matrices=False"),
    (lambda: np.linalg.qr(Dual(SINGULAR, ONE)), "linearly dependent"),
    (lambda: np.linalg.qr(Dual(np.zeros((3, 2)), 1.0)), "linearly dependent"),
    (lambda: np.linalg.qr(Dual(ONE[:, :2], 1.0), "complete"), "mode='reduced'"),
    (lambda: np.linalg.qr(Dual(ONE, 1.0), "raw"), "mode='raw'"),
    (lambda: np.linalg.pinv(Dual(SINGULAR, ONE)), "lower rank"),
    (lambda: np.linalg.pinv(Dual(np.zeros((2, 3)), 1.0)), "jumps"),
    (lambda: np.linalg.lstsq(Dual(SINGULAR, ONE), ONE, rcond=None), "lower rank"),
    (lambda: np.linalg.slogdet(Dual(np.zeros((2, 2)), 1.0)), "a singular matrix"),
    (lambda: np.roots(Dual([1.0, -2.0, 1.0], [0.0, 0.0, 1.0])), "a multiple root"),
    (lambda: np.linalg.eigh(Dual(Dual(ONE, 0.0), Dual(0.0 * ONE, MIXING))), "equal eigenvalues"),
]


@pytest.mark.parametrize(("undefined", "named"), UNDEFINED)
def test_where_there_is_no_derivative_the_error_says_so(undefined: Any, named: str) -> None:
    with pytest.raises(NoTangentRuleError) as caught:
        undefined()
    assert named in str(caught.value)
    assert caught.value.hint is not None


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("n", [2, 8, 40])
def test_equal_values_are_recognised_although_rounding_separates_them(dtype: Any, n: int) -> None:
    rng = np.random.default_rng(n)
    (left, _), (right, _) = (np.linalg.qr(rng.normal(size=(n, n))) for _ in range(2))
    values = np.linspace(1, 3, n)
    equal, zero = (np.concatenate([[first], values[1:]]) for first in (values[1], 0.0))
    v = rng.normal(size=(n, n)).astype(dtype)

    def matrix(spectrum: Any, other: Any = left) -> Any:
        return ((left * spectrum) @ other.T).astype(dtype)

    undefined: list[Any] = [
        (np.linalg.eigh, Dual(matrix(equal), v)),
        (np.linalg.svd, Dual(matrix(equal, right), v)),
        (np.linalg.svd, Dual(matrix(zero, right), v)),
        (lambda a: np.linalg.pinv(a, 1e-4), Dual(matrix(zero, right), v)),
        (np.linalg.qr, Dual(matrix(equal)[:, [*range(n - 1), 0]], v)),
    ]
    for function, at in undefined:
        with pytest.raises(NoTangentRuleError):
            function(at)
    smooth: list[Any] = [
        (np.linalg.eigh, Dual(matrix(np.full(n, 2.0)), matrix(np.full(n, 3.0)))),
        (np.linalg.eigh, Dual(matrix(values), v)),
        (np.linalg.svd, Dual(matrix(np.full(n, 2.0), right), matrix(np.full(n, 3.0), right))),
        (np.linalg.svd, Dual(matrix(values, right), v)),
        (np.linalg.qr, Dual(matrix(values, right), v)),
        (lambda a: np.linalg.pinv(a, 1e-4), Dual(matrix(zero), matrix(zero) @ v)),
    ]
    for function, at in smooth:
        for dy in flat(function(at), tangent):
            assert np.max(np.abs(dy)) < 1e4


def test_equal_eigenvalues_that_stay_equal_have_a_derivative() -> None:
    values, vectors = np.linalg.eigh(Dual(2 * ONE, 3 * ONE))
    assert_close(values.tangent, [3.0, 3.0, 3.0])
    assert_close(vectors.tangent, np.zeros((3, 3)))
    u, s, vh = np.linalg.svd(Dual(2 * ONE, 3 * ONE))
    assert_close(s.tangent, [3.0, 3.0, 3.0])
    assert_close((u @ vh).tangent, np.zeros((3, 3)))
    values, vectors = np.linalg.eig(Dual(2 * ONE, 3 * ONE))
    assert_close(values.tangent, [3.0, 3.0, 3.0])
    assert_close(vectors.tangent, np.zeros((3, 3)))


def test_a_rotation_of_equal_singular_values_moves_the_polar_factor() -> None:
    """A = exp(tK) with KᵀK ∝ 1 is orthogonal: the singular values stay 1 and U Vᵀ = A."""
    k = np.array([[0.0, 1.0, -2.0], [-1.0, 0.0, 0.5], [2.0, -0.5, 0.0]])
    u, s, vh = np.linalg.svd(Dual(ONE, k))
    assert_close(s.tangent, np.zeros(3))
    assert_close((u @ vh).tangent, k)


@pytest.mark.parametrize("direction", [MIXING, SPLITTING, ONE, np.arange(9.0).reshape(3, 3)])
def test_functions_symmetric_in_equal_values_have_their_true_tangent(direction: Any) -> None:
    q, _ = np.linalg.qr(np.arange(9.0).reshape(3, 3) ** 2 + ONE)
    a, da = q @ np.diag([2.0, 2.0, 5.0]) @ q.T, direction + direction.T
    values = np.linalg.eigvalsh(Dual(a, da))
    assert_close(np.sum(values).tangent, np.trace(da))
    assert_close(np.sum(values**3).tangent, 3 * np.trace(a @ a @ da))
    assert_close(np.sum(np.linalg.svdvals(Dual(a, da)) ** 2).tangent, 2 * np.trace(a @ da))
    assert_close(np.sum(np.linalg.eigvals(Dual(a, da)) ** 3).tangent, 3 * np.trace(a @ a @ da))
    assert_close(values.tangent[0], values.tangent[1])


def test_a_singular_value_of_zero_has_the_mean_slope_of_both_sides() -> None:
    a, v = np.diag([3.0, 0.0]), np.array([[1.0, 2.0], [3.0, 4.0]])
    received = np.linalg.svdvals(Dual(a, v)).tangent
    expected = [np.linalg.svdvals(a + t * v) for t in (1e-6, -1e-6)]
    assert_close(received, (expected[0] - expected[1]) / 2e-6, 1e-5)
    assert np.linalg.svdvals(Dual([[0.0]], [[1.0]])).tangent.tolist() == [0.0]
    assert np.linalg.norm(Dual(np.zeros((2, 2)), ONE[:2, :2]), "nuc").tangent == 0.0


def test_the_determinant_of_a_singular_matrix_has_a_derivative() -> None:
    a = np.array([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0], [7.0, 8.0, 9.0]])
    cofactors = np.array([[-3.0, 6.0, -3.0], [6.0, -12.0, 6.0], [-3.0, 6.0, -3.0]])
    for v in (ONE, MIXING, a**2):
        assert_close(np.linalg.det(Dual(a, v)).tangent, np.sum(cofactors * v))
    assert np.linalg.det(Dual(np.zeros((2, 2)), 1.0)).tangent == 0.0


def test_what_does_not_move_has_no_tangent_even_where_no_derivative_exists() -> None:
    for function in (
        *(np.linalg.eigh, np.linalg.eigvalsh, np.linalg.svd, np.linalg.svdvals, np.linalg.qr),
        *(np.linalg.pinv, np.linalg.eig, np.linalg.norm, np.linalg.det),
        lambda a: np.linalg.lstsq(a, ONE, rcond=None)[0],
    ):
        for matrix in (np.zeros((3, 3)), ONE, np.diag([1.0, 1.0, 0.0])):
            for dy in flat(function(Dual(matrix, 0.0)), tangent):
                assert np.array_equal(dy, np.zeros(dy.shape))


def test_a_degenerate_matrix_in_a_stack_leaves_the_others_alone() -> None:
    stack, v = np.stack([np.zeros((3, 3)), SPLITTING]), np.stack([np.zeros((3, 3)), MIXING])
    for function in (np.linalg.eigh, np.linalg.svd, np.linalg.qr, np.linalg.pinv, np.linalg.eig):
        together = flat(function(Dual(stack, v)), tangent)
        alone = flat(function(Dual(SPLITTING, MIXING)), tangent)
        for one, other in zip(together, alone, strict=True):
            assert_close(one[1], other)


def test_columns_of_very_different_size_are_not_dependent() -> None:
    a, v = np.random.default_rng(4).normal(size=(2, 4, 3))
    scale = np.array([1.0, 1e-20, 1e20])
    q, r = np.linalg.qr(Dual(a * scale, v * scale))
    plain = np.linalg.qr(Dual(a, v))
    assert_close(q.tangent, plain.Q.tangent)
    assert_close(r.tangent / scale, plain.R.tangent)


def test_an_ill_conditioned_matrix_of_full_rank_is_no_error() -> None:
    a = np.vander(np.linspace(0, 1, 6), 5)  # condition 7e3
    received = np.linalg.pinv(Dual(a, np.cos(a))).tangent
    t = 1e-6
    difference = np.linalg.pinv(a + t * np.cos(a)) - np.linalg.pinv(a - t * np.cos(a))
    assert_close(received, difference / (2 * t), 1e-5)


def test_an_empty_stack_and_an_empty_matrix_flow_through() -> None:
    for function in LINEAR_ALGEBRA_RULES:
        if function.__name__ in ("eigh", "svd", "qr", "eig", "cholesky", "inv", "det", "eigvalsh"):
            for dy in flat(function(Dual(np.zeros((0, 3, 3)), 0.0)), tangent):
                assert dy.shape[0] == 0
    assert np.linalg.det(Dual(np.zeros((0, 0)), 0.0)).tangent == 0.0


# ---- PyTorch


@pytest.mark.peers
@pytest.mark.filterwarnings("ignore:.*torch.jit.script:DeprecationWarning")  # of PyTorch by itself
@pytest.mark.parametrize(
    "name",
    ["cholesky", "inv", "det", "slogdet", "qr", "eigvalsh", "svdvals", "pinv", "matrix_norm"],
)
def test_tangents_are_those_of_pytorch(torch: Any, name: str) -> None:
    rng = np.random.default_rng(2)
    a, v = rng.normal(size=(2, 4, 4))
    a = a @ a.T + np.diag([1.0, 2.0, 3.0, 4.0])
    v = v + v.T
    expected = torch.func.jvp(
        getattr(torch.linalg, name), (torch.from_numpy(a),), (torch.from_numpy(v),)
    )[1]
    received = flat(getattr(np.linalg, name)(Dual(a, v)), tangent)
    expected = expected if isinstance(expected, tuple) else [expected]
    for one, other in zip(received, expected, strict=True):
        assert_close(one, other.numpy(force=True), 1e-11)


@pytest.mark.peers
@pytest.mark.filterwarnings("ignore:.*torch.jit.script:DeprecationWarning")  # of PyTorch by itself
@pytest.mark.parametrize("rows", [2, 3, 5])
def test_vectors_are_those_of_pytorch(torch: Any, rows: int) -> None:
    """Up to signs, which do not matter here: the library and NumPy may choose different ones."""
    rng = np.random.default_rng(3)
    a, v = rng.normal(size=(2, rows, 3))

    def polar(linalg: Any, x: Any) -> Any:
        u, s, vh = linalg.svd(x, full_matrices=False)
        return (u / s) @ vh

    def exponential(linalg: Any, x: Any) -> Any:
        values, vectors = linalg.eigh(x.mT @ x)
        return (vectors / values**2) @ vectors.mT

    for function in (polar, exponential) if rows >= 3 else (polar,):
        expected = torch.func.jvp(
            lambda x, f=function: f(torch.linalg, x), (torch.from_numpy(a),), (torch.from_numpy(v),)
        )[1]
        assert_close(function(np.linalg, Dual(a, v)).tangent, expected.numpy(), 1e-9)
