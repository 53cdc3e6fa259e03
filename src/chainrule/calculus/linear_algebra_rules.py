"""The table of tangent rules for `numpy.linalg`.

The rule of a factorisation follows from its equation. A V = V diag(λ) becomes, with A + ε Ȧ,

    λ̇_i = P_ii,   V̇ = V Ω,   Ω_ij = P_ij / (λ_j − λ_i),   where P = V⁻¹ Ȧ V.

The rules hold for real and complex matrices and for stacks of them; Aᴴ is the conjugate transpose.

Where two eigenvalues or singular values are equal, to rounding, their vectors are not unique. They
have no derivative unless the tangent leaves them equal, and the error says so. The values alone
(``eigvalsh``, ``svdvals``, the norms) have a derivative in the sense that matters for functions
symmetric in them: each of the equal values gets the mean of their tangents. A singular value 0 and
the norm of a zero vector have a kink there, as the absolute value does; their tangent is 0, the
mean of both sides.

Where complex eigenvectors and singular vectors have a free phase, ``eigh`` and ``svd`` choose the
tangents with the smallest change of the vectors; ``eig`` keeps NumPy's normalisation.

Sources: M. B. Giles, *An extended collection of matrix derivative results for forward and reverse
mode algorithmic differentiation* (2008); G. H. Golub, V. Pereyra, *SIAM J. Numer. Anal.* 10 (1973)
413, for the pseudo-inverse.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from chainrule.calculus.array_rules import merged
from chainrule.calculus.messages import no_derivative, no_rule
from chainrule.calculus.rules import (
    TangentRule,
    composition,
    formula,
    linear,
    multilinear,
    parts,
    vanishes,
)
from chainrule.core.errors import NoTangentRuleError

Function = Callable[..., Any]


# ---- what the rules share


def transposed(a: Any) -> Any:
    """Aᵀ, of each matrix in a stack."""
    return np.matrix_transpose(a)


def adjoint(a: Any) -> Any:
    """Aᴴ, of each matrix in a stack."""
    return np.conjugate(transposed(a))


def from_triangle(a: Any, lower: bool) -> Any:
    """The Hermitian matrix of which NumPy reads one triangle only."""
    half = np.tril(a, -1) if lower else np.triu(a, 1)
    return half + adjoint(half) + np.where(diagonal_of(a), np.real(a), 0)


def diagonal_of(a: Any) -> Any:
    """Where the diagonal of a matrix is."""
    return np.eye(a.shape[-2], a.shape[-1], dtype=bool)


def diagonal(a: Any) -> Any:
    """The diagonal of each matrix in a stack."""
    return np.diagonal(a, axis1=-2, axis2=-1)


def tiny(part: Any, axes: int, *wholes: Any) -> Any:
    """Where an array is no more than rounding, compared with the arrays it was computed from.

    Their last ``axes`` axes are one matrix, or one spectrum.
    """
    last = tuple(range(-axes, 0))
    plain = [x for whole in wholes for x in parts(whole)]
    size = sum(np.max(np.abs(x), axis=last, keepdims=True, initial=0) for x in plain)
    longest = max(max(x.shape[-axes:]) for x in plain)
    limit = 10 * math.sqrt(longest) * np.finfo(plain[0].dtype).eps * size
    return np.logical_and.reduce([np.abs(x) <= limit for x in parts(part)])


def ratio(a: Any, b: Any, is_zero: Any, da: Any, error: NoTangentRuleError) -> Any:
    """The ratio a / b, and 0 where both are zero. Raises the error where only b is.

    ``is_zero`` says where b is zero to rounding; a was computed from the tangent da.
    """
    if np.any(is_zero) and np.any(is_zero & ~tiny(a, 2, da, a)):
        raise error
    return np.where(is_zero, 0, a / np.where(is_zero, 1, b))


def gaps(spectrum: Any) -> tuple[Any, Any]:
    """λ_j − λ_i for all pairs, and where it is zero to rounding."""
    gap, plain = spectrum[..., None, :] - spectrum[..., :, None], parts(spectrum)[0]
    return gap, tiny(parts(gap)[0], 2, plain[..., None])


def rotation(generator: Any, spectrum: Any, da: Any, error: NoTangentRuleError) -> Any:
    """Ω_ij = P_ij / (λ_j − λ_i), with zeros on the diagonal, for the generator P."""
    gap, equal = gaps(spectrum)
    apart = diagonal(generator)[..., None, :] - diagonal(generator)[..., :, None]
    ratio(apart, gap, equal, da, error)  # equal values that the tangent separates
    off_diagonal = np.where(np.eye(gap.shape[-1], dtype=bool), 0, generator)
    return ratio(off_diagonal, gap, equal, da, error)


def shared(spectrum: Any, change: Any) -> Any:
    """The tangents of eigenvalues or singular values; equal ones share theirs."""
    _, equal = gaps(spectrum)
    if np.sum(equal) == np.size(change):  # each is equal to itself alone
        return change
    return np.sum(np.where(equal, change[..., None, :], 0), axis=-1) / np.sum(equal, axis=-1)


# ---- determinants and equations


def det(y: Any, a: Any, da: Any) -> Any:
    """The determinant is linear in each column; this holds for singular matrices too."""
    columns = np.arange(a.shape[-1])
    return sum(np.linalg.det(np.where(columns == j, da, a)) for j in columns)


def slogdet(y: Any, a: Any, da: Any) -> Any:
    """Jacobi's formula, d ln det a = tr(a⁻¹ da): the real part is that of ln|det a|."""
    sign, _ = y
    singular = (parts(sign)[0] == 0)[..., None, None]
    if np.any(singular & ~vanishes(da)):
        raise no_derivative("numpy.linalg.slogdet", "a singular matrix", "use np.linalg.det")
    regular = np.where(singular, np.eye(a.shape[-1], dtype=a.dtype), a)
    change = np.trace(np.linalg.solve(regular, da), axis1=-2, axis2=-1)
    turn = 1j * np.imag(change) if np.iscomplexobj(sign) else 0
    return turn * sign, np.real(change)


def solve(y: Any, a: Any, b: Any, da: Any, db: Any) -> Any:
    """The derivative of a y = b gives a dy = db − da y."""
    if np.ndim(b) > 1:
        return np.linalg.solve(a, db - da @ y)
    return np.linalg.solve(a, (db - (da @ y[..., None])[..., 0])[..., None])[..., 0]


def tensorsolve(y: Any, a: Any, b: Any, da: Any, db: Any, axes: Any = None) -> Any:
    """As `solve`, with several indices in place of one; ``axes`` are moved to the end first."""
    if axes is not None:
        a, da = (np.moveaxis(x, axes, range(-len(axes), 0)) for x in (a, da))
    return np.linalg.tensorsolve(a, db - np.reshape(np.tensordot(da, y, np.ndim(y)), np.shape(b)))


def tensorinv(y: Any, a: Any, da: Any, ind: int = 2) -> Any:
    """As for the inverse, dy = −y da y."""
    return -np.tensordot(np.tensordot(y, da, ind), y, a.ndim - ind)


def multi_dot(y: Any, a: Any, da: Any) -> Any:
    """The product rule for a list of factors."""
    return sum(np.linalg.multi_dot([*a[:i], da[i], *a[i + 1 :]]) for i in range(len(a)))


def matrix_power(y: Any, a: Any, da: Any, n: int) -> Any:
    """(a + ε da)ⁿ, where [[a, da], [0, a]] stands for a + ε da."""
    size = a.shape[-1]
    power = np.linalg.matrix_power(np.block([[a, da], [np.zeros_like(a), a]]), n)
    return power[..., :size, size:]


# ---- factorisations


def cholesky(y: Any, a: Any, da: Any, upper: bool = False) -> Any:
    """With L⁻¹ da L⁻ᴴ = X, dL = L (strict lower triangle of X + half of its diagonal)."""
    factor = adjoint(y) if upper else y
    half = np.linalg.solve(factor, from_triangle(da, not upper))
    x = np.linalg.solve(factor, adjoint(half))
    change = factor @ (np.tril(x, -1) + np.where(diagonal_of(x), x / 2, 0))
    return adjoint(change) if upper else change


def qr(y: Any, a: Any, da: Any, mode: str = "reduced") -> Any:
    """The derivative of A = QR: dQ = QΩ + (1 − QQᴴ) X, dR = Qᴴ dA − ΩR, where X = dA R⁻¹.

    Ω is anti-Hermitian, with the strict lower triangle of QᴴX. Of a wide matrix, Q and Ω depend on
    the first columns only.
    """
    rows, columns = a.shape[-2:]
    if mode not in ("reduced", "r", "complete"):
        raise no_rule(f"numpy.linalg.qr with mode={mode!r}")
    if mode == "complete" and rows > columns:
        raise no_derivative(
            "numpy.linalg.qr", "additional columns of Q, which are not unique", "use mode='reduced'"
        )
    q, r = np.linalg.qr(a) if mode == "r" else y
    count = min(rows, columns)
    of_square = parts(r)[0][..., :count]
    vanishing = tiny(diagonal(of_square)[..., None], 1, transposed(of_square))  # in its column
    dependent = np.any(vanishing, axis=(-2, -1), keepdims=True)
    if np.any(dependent & ~np.all(vanishes(da), axis=(-2, -1), keepdims=True)):
        raise no_derivative(
            "numpy.linalg.qr",
            f"linearly dependent vectors among the first {count} columns",
            "change the matrix so that they are independent, for example by small random numbers",
        )
    square = np.where(dependent, np.eye(count, dtype=a.dtype), r[..., :count])
    x = transposed(np.linalg.solve(transposed(square), transposed(da[..., :count])))
    p = adjoint(q) @ x
    turn = np.tril(p, -1) - adjoint(np.tril(p, -1))
    if np.iscomplexobj(p):
        turn = turn + np.where(diagonal_of(p), 1j * np.imag(p), 0)
    dr = np.triu(adjoint(q) @ da - turn @ r)
    return dr if mode == "r" else (q @ (turn - p) + x, dr)


def eigh(y: Any, a: Any, da: Any, UPLO: Any = "L") -> Any:  # noqa: N803  (NumPy's name)
    """V is unitary: P = Vᴴ da V, and Ω is anti-Hermitian."""
    values, vectors = y
    p = adjoint(vectors) @ from_triangle(da, UPLO.upper() == "L") @ vectors
    turn = rotation(p, values, da, equal_values("eigh", "eigenvalues", "eigvalsh"))
    return shared(values, np.real(diagonal(p))), vectors @ turn


def eigvalsh(y: Any, a: Any, da: Any, UPLO: Any = "L") -> Any:  # noqa: N803  (NumPy's name)
    """The eigenvalues alone, which may be equal."""
    _, vectors = np.linalg.eigh(a, UPLO)
    p = adjoint(vectors) @ from_triangle(da, UPLO.upper() == "L") @ vectors
    return shared(y, np.real(diagonal(p)))


def generator_of(vectors: Any, da: Any) -> Any:
    """V⁻¹ da V; eigenvectors that are not independent raise an error."""
    spread = np.linalg.svd(parts(vectors)[0], compute_uv=False)
    if np.any(tiny(spread, 1, spread)):
        raise no_derivative(
            "an eigenvalue decomposition",
            "a defective matrix, with fewer independent eigenvectors than rows",
            "its eigenvalues split at infinite speed; change the matrix slightly",
        )
    return np.linalg.solve(vectors, da @ vectors)


def eig(y: Any, a: Any, da: Any) -> Any:
    """Each vector keeps its norm 1, and its greatest entry, which LAPACK makes real, stays real."""
    values, vectors = y
    p = generator_of(vectors, da)
    error = equal_values("eig", "eigenvalues", "eigvals")
    change = vectors @ rotation(p, values, da, error)
    stretch = np.sum(np.real(np.conjugate(vectors) * change), axis=-2, keepdims=True)
    change = change - vectors * stretch
    if np.iscomplexobj(vectors):
        at = np.argmax(np.abs(vectors), axis=-2, keepdims=True)
        greatest, moved = (np.take_along_axis(x, at, axis=-2) for x in (vectors, change))
        change = change - vectors * (1j * np.imag(moved / greatest))
    return shared(values, diagonal(p)), change


def eigvals(y: Any, a: Any, da: Any) -> Any:
    """The eigenvalues alone, in the order of the result."""
    values, vectors = np.linalg.eig(a)
    change = shared(values, diagonal(generator_of(vectors, da)))
    at = np.argmin(np.abs(y[..., :, None] - values[..., None, :]), axis=-1)
    return np.take_along_axis(change, at, axis=-1)


def svd(
    y: Any,
    a: Any,
    da: Any,
    full_matrices: bool = True,
    compute_uv: bool = True,
    hermitian: bool = False,
) -> Any:
    """With G = Uᴴ dA V, ds_i = Re G_ii, dU = U (Ω + Ψ) and dV = V (Ω − Ψ).

        Ω_ij = ½ (G + Gᴴ)_ij / (s_j − s_i),   Ψ_ij = ½ (G − Gᴴ)_ij / (s_j + s_i)

    The longer of U and V also leaves its own space, dU = ... + (dA V − U G) diag(1/s).
    """
    if hermitian:
        a, da = from_triangle(a, True), from_triangle(da, True)
    if not compute_uv:
        return svdvals(y, a, da)
    rows, columns = a.shape[-2:]
    if full_matrices and rows != columns:
        raise no_derivative(
            "numpy.linalg.svd: the result",
            "additional singular vectors, which are not unique",
            "pass full_matrices=False",
        )
    u, s, v = y[0], y[1], adjoint(y[2])
    g = adjoint(u) @ da @ v
    deficient = no_derivative(
        "numpy.linalg.svd: the result",
        "a singular value 0",
        "use np.linalg.svdvals if the singular values are enough",
    )
    plain = parts(s)[0]
    zero, size = tiny(plain[..., None, :], 2, plain[..., None]), s[..., None, :] + s[..., :, None]
    both_zero = zero & transposed(zero)
    ratio(np.where(diagonal_of(g), g, 0), size, both_zero, da, deficient)
    same = equal_values("svd", "singular values", "svdvals")
    stretch = rotation((g + adjoint(g)) / 2, s, da, same)
    turn = ratio((g - adjoint(g)) / 2, size, both_zero, da, deficient)
    du, dv = u @ (stretch + turn), v @ (stretch - turn)
    if rows > columns:
        du = du + ratio(da @ v - u @ g, s[..., None, :], zero, da, deficient)
    if columns > rows:
        dv = dv + ratio(adjoint(da) @ u - v @ adjoint(g), s[..., None, :], zero, da, deficient)
    return du, singular_change(s, g), adjoint(dv)


def svdvals(y: Any, a: Any, da: Any) -> Any:
    """The singular values alone, which may be equal or zero."""
    u, _, vh = np.linalg.svd(a, full_matrices=False)
    return singular_change(y, adjoint(u) @ da @ adjoint(vh))


def singular_change(s: Any, g: Any) -> Any:
    """ds_i = Re G_ii, and 0 where s_i is 0."""
    plain = parts(s)[0]
    return shared(s, np.where(tiny(plain, 1, plain), 0, np.real(diagonal(g))))


def equal_values(function: str, what: str, values_alone: str) -> NoTangentRuleError:
    """The error for vectors that belong to equal values."""
    return no_derivative(
        f"numpy.linalg.{function}: the result",
        f"equal {what}, which the tangent separates: their vectors are not unique",
        f"use np.linalg.{values_alone} if the {what} are enough",
    )


# ---- the pseudo-inverse


def outside(y: Any, a: Any, da: Any) -> tuple[Any, Any]:
    """1 − a y and 1 − y a, the projections on what a does not reach; y is the pseudo-inverse of a.

    A tangent that raises the rank of a is an error: the pseudo-inverse jumps there.
    """
    left = np.eye(a.shape[-2], dtype=a.dtype) - a @ y
    right = np.eye(a.shape[-1], dtype=a.dtype) - y @ a
    rank = np.round(np.real(np.trace(parts(y @ a)[0], axis1=-2, axis2=-1)))
    growth = left @ da @ right
    condition = np.max(np.abs(parts(a)[0]), initial=1) * np.max(np.abs(parts(y)[0]), initial=1)
    grows = ~tiny(growth, 2, da * condition) & (rank < min(a.shape[-2:]))[..., None, None]
    if np.any(grows):
        raise no_derivative(
            "the pseudo-inverse",
            "a matrix of lower rank, which the tangent raises",
            "the pseudo-inverse jumps there; add a multiple of the unit matrix to aᵀ a, and solve",
        )
    return left, right


def pinv(
    y: Any, a: Any, da: Any, rcond: Any = None, hermitian: bool = False, rtol: Any = None
) -> Any:
    """Of constant rank, dy = −y da y + y yᴴ daᴴ (1 − a y) + (1 − y a) daᴴ yᴴ y."""
    if hermitian:
        a, da = from_triangle(a, True), from_triangle(da, True)
    left, right = outside(y, a, da)
    back = adjoint(y)
    return -y @ da @ y + y @ back @ adjoint(da) @ left + right @ adjoint(da) @ back @ y


def lstsq(y: Any, a: Any, b: Any, da: Any, db: Any, rcond: Any = None) -> Any:
    """The solution x = a⁺ b has the tangent of the product; the residual is r = b − a x."""
    solution, residuals, _, s = y
    precision = float(np.finfo(s.dtype).eps)
    cutoff = precision * max(a.shape) if rcond is None else precision if rcond == -1 else rcond
    inverse = np.linalg.pinv(a, cutoff)
    _, right = outside(inverse, a, da)
    x, dx_from_b = (z if z.ndim > 1 else z[:, None] for z in (solution, db))
    r = (b if b.ndim > 1 else b[:, None]) - a @ x
    moved = dx_from_b - da @ x
    back = adjoint(inverse)
    change = (
        inverse @ moved + inverse @ back @ adjoint(da) @ r + right @ adjoint(da) @ back @ x
    ).reshape(solution.shape)
    squares = 2 * np.sum(np.real(np.conjugate(r) * moved), axis=0)
    return change, squares[: residuals.size], None, svdvals(s, a, da)


# ---- norms, in terms of other functions


def vector_norm(x: Any, axis: Any = None, keepdims: bool = False, ord: Any = 2) -> Any:
    """‖x‖ = (Σ|xᵢ|ᵖ)^(1/p), and its limits."""
    entries = np.abs(merged(x, axis))
    if ord == 0:
        return np.sum(entries != 0, axis=-1).astype(entries.dtype)
    if ord == 1:
        return np.sum(entries, axis=-1)
    if math.isinf(ord):
        return np.max(entries, axis=-1) if ord > 0 else np.min(entries, axis=-1)
    powers = np.sum(entries**ord, axis=-1)
    return np.sqrt(powers) if ord == 2 else powers ** (1 / ord)


def matrix_norm(x: Any, keepdims: bool = False, ord: Any = "fro") -> Any:
    """Frobenius, nuclear and spectral norms, and greatest or least sums over columns or rows."""
    if ord == "fro":
        return vector_norm(x, (-2, -1))
    if ord == "nuc":
        return np.sum(np.linalg.svdvals(x), axis=-1)
    extremum = np.max if ord > 0 else np.min
    if abs(ord) == 2:
        return extremum(np.linalg.svdvals(x), axis=-1)
    return extremum(np.sum(np.abs(x), axis=-2 if abs(ord) == 1 else -1), axis=-1)


def norm(x: Any, ord: Any = None, axis: Any = None, keepdims: bool = False) -> Any:
    """Of a vector or a matrix, as the number of axes says."""
    axes = tuple(range(x.ndim)) if axis is None else tuple(np.ravel(axis))
    if ord is None or len(axes) == 1:
        return vector_norm(x, axes, ord=2 if ord is None else ord)
    return matrix_norm(np.moveaxis(x, axes, (-2, -1)), ord=ord)


def cond(x: Any, p: Any = None) -> Any:
    """‖x‖ ‖x⁻¹‖; by default the ratio of the greatest and the least singular value."""
    if p is None or (not isinstance(p, str) and abs(p) == 2):
        s = np.linalg.svdvals(x)
        return s[..., -1] / s[..., 0] if p == -2 else s[..., 0] / s[..., -1]
    return matrix_norm(x, ord=p) * matrix_norm(np.linalg.inv(x), ord=p)


LINEAR_ALGEBRA_RULES: dict[Function, TangentRule] = {
    np.linalg.matrix_transpose: linear(),
    np.linalg.diagonal: linear(),
    np.linalg.trace: linear(),
    # products
    np.linalg.cross: multilinear("x1", "x2"),
    np.linalg.matmul: multilinear("x1", "x2"),
    np.linalg.outer: multilinear("x1", "x2"),
    np.linalg.tensordot: multilinear("x1", "x2"),
    np.linalg.vecdot: multilinear("x1", "x2"),
    np.linalg.multi_dot: formula(multi_dot, "arrays"),
    np.linalg.matrix_power: formula(matrix_power, "a"),
    # determinants and equations
    np.linalg.det: formula(det, "a"),
    np.linalg.slogdet: formula(slogdet, "a"),
    np.linalg.inv: formula(lambda y, a, da: -y @ da @ y, "a"),
    np.linalg.solve: formula(solve, "a", "b"),
    np.linalg.tensorinv: formula(tensorinv, "a"),
    np.linalg.tensorsolve: formula(tensorsolve, "a", "b"),
    np.linalg.pinv: formula(pinv, "a"),
    np.linalg.lstsq: formula(lstsq, "a", "b"),
    # factorisations
    np.linalg.cholesky: formula(cholesky, "a"),
    np.linalg.qr: formula(qr, "a"),
    np.linalg.eigh: formula(eigh, "a"),
    np.linalg.eigvalsh: formula(eigvalsh, "a"),
    np.linalg.eig: formula(eig, "a"),
    np.linalg.eigvals: formula(eigvals, "a"),
    np.linalg.svd: formula(svd, "a"),
    np.linalg.svdvals: formula(svdvals, "x"),
    # norms
    np.linalg.norm: composition(norm, "x"),
    np.linalg.vector_norm: composition(vector_norm, "x"),
    np.linalg.matrix_norm: composition(matrix_norm, "x"),
    np.linalg.cond: composition(cond, "x"),
}
