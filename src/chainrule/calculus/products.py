"""Products with a layer's Jacobian J = ∂y/∂x or ∂y/∂θ, computed without `backward`.

    J v      from dual numbers, x + ε v, sent through forward; if these fail,
             from differences, (f(x + h v) − f(x − h v)) / 2h
    Jᵀ u     entry by entry, ⟨u, J e_i⟩: slow but reliable

The laws compare these products with the results of `backward`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
from attrs import define

from chainrule.calculus.derivatives import Replica
from chainrule.calculus.dual import Dual
from chainrule.calculus.test_case import (
    BY_DIFFERENCES,
    EXACT,
    Case,
    Finding,
    array_of,
    as_tuple,
    flat,
    inner,
    input_name,
    is_finite,
    moved,
    norm,
    parameters_of,
)
from chainrule.core.errors import NoTangentRuleError
from chainrule.core.types import Shape


@define
class JacobianProduct:
    """J v, and how it was computed."""

    value: Any
    uncertainty: float = 0.0
    is_exact: bool = True

    @property
    def tolerance(self) -> float:
        """The relative error that rounding and the step allow."""
        return EXACT if self.is_exact else BY_DIFFERENCES


def jacobian_vector(at: Case, name: str, v: npt.NDArray[Any], finding: Finding) -> JacobianProduct:
    """J v for one input or parameter: from dual numbers if possible, else by differences."""
    try:
        result = _by_dual_numbers(at, name, v)
        if is_finite(result):
            return JacobianProduct(result)
    except (NoTangentRuleError, ValueError) as error:
        # When a number is written into an array, NumPy raises its own error from ours.
        cause = error if isinstance(error, NoTangentRuleError) else error.__cause__
        if not isinstance(cause, NoTangentRuleError):
            raise
        remark = f"by central differences: {cause.problem}"
        if remark not in finding.remarks:
            finding.remarks.append(remark)
    return difference_quotient(at, name, v)


def _by_dual_numbers(at: Case, name: str, v: npt.NDArray[Any]) -> Any:
    names = [input_name(n, len(at.inputs)) for n in range(len(at.inputs))]
    direction = np.concatenate(
        [
            np.zeros(0),
            *((v if p.path == name else np.zeros(p.shape)).ravel() for p in parameters_of(at)),
        ]
    )
    replica = Replica(at.layer, direction)
    inputs = [
        Dual(x, v if own == name else np.zeros_like(x))
        for own, x in zip(names, at.inputs, strict=True)
    ]
    with np.errstate(all="ignore"):
        y = replica.layer.forward(*inputs)
    parts = tuple(p.tangent if isinstance(p, Dual) else np.zeros_like(p) for p in as_tuple(y))
    return parts if isinstance(y, tuple) else parts[0]


def difference_quotient(at: Case, name: str, v: npt.NDArray[Any]) -> JacobianProduct:
    """(f(x + h v) − f(x − h v)) / 2h, with an estimate of its error as uncertainty.

    The uncertainty is the difference between the results for two steps h. Entries with a kink
    within the shorter step add the difference of the slopes on both sides: each of these is right,
    and the quotient equals neither.
    """
    here = flat(at.forward())
    quotients = []
    for step in (1e-5, 1e-6):
        above, below = (flat(moved(at, name, sign * step * v).forward()) for sign in (1, -1))
        quotients.append((above - below) / (2 * step))
    right, left = (above - here) / step, (here - below) / step
    bent = np.abs(right - left) > 1e-2 * (1 + np.abs(right) + np.abs(left))
    apart = norm(quotients[0] - quotients[1])
    # If a step crosses a kink the two quotients differ; the shorter step crosses fewer kinks.
    best = quotients[0] if apart < 1e-5 else quotients[1]
    return JacobianProduct(best, apart + norm((right - left)[bent]), is_exact=False)


def transposed_product(at: Case, name: str, u: Any) -> npt.NDArray[Any]:
    """Jᵀ u entry by entry, from J along each axis: slow but reliable."""
    original = array_of(at, name)
    result = np.full(original.size, np.nan)  # entries beyond the limit of unit_directions stay nan
    finding = Finding()
    for entry, direction in unit_directions(original.shape):
        result[entry] = inner(u, jacobian_vector(at, name, direction, finding).value)
    return result.reshape(original.shape)


def unit_directions(shape: Shape, most: int = 4096) -> Iterator[tuple[int, npt.NDArray[Any]]]:
    """Yield i and the unit vector e_i for each entry of an array, at most ``most`` of them."""
    for entry in range(min(most, int(np.prod(shape)))):
        direction = np.zeros(int(np.prod(shape)))
        direction[entry] = 1.0
        yield entry, direction.reshape(shape)


def mismatch(u: Any, product: JacobianProduct, received: Any, v: Any) -> float:
    """|⟨u, J v⟩ − ⟨Jᵀ u, v⟩|, relative to the norms of the vectors."""
    left, right = inner(u, product.value), float(np.vdot(received, v))
    size = norm(u) * norm(product.value) + norm(received) * norm(v) + norm(u) * norm(v)
    doubt = 2 * norm(u) * product.uncertainty
    return max(0.0, abs(left - right) - doubt) / max(size, np.finfo(float).tiny)
