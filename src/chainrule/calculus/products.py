"""Products with a layer's Jacobian J = ∂y/∂(x, θ), computed without `backward`.

    J v      from dual numbers, x + ε v, sent through forward; if these fail,
             from differences, (f(x + h v) − f(x − h v)) / 2h
    Jᵀ u     entry by entry, ⟨u, J e_i⟩: slow but reliable

One direction v moves any number of inputs and parameters at once. The laws compare these products
with the results of `backward`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
from attrs import define, evolve

from chainrule.calculus.dual import Dual
from chainrule.calculus.test_case import (
    BY_DIFFERENCES,
    EXACT,
    Bench,
    Case,
    Direction,
    Finding,
    as_tuple,
    copied,
    flat,
    inner,
    input_names,
    is_finite,
    norm,
    shapes_by_name,
    vector,
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


def jacobian_vector(
    at: Case, v: Direction, finding: Finding, bench: Bench | None = None
) -> JacobianProduct:
    """J v for one direction: from dual numbers if possible, else by differences.

    ``bench`` is a bench whose parameters carry their part of ``v`` already.
    """
    try:
        result = _by_dual_numbers(at, v, bench)
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
    return difference_quotient(at, v)


def _by_dual_numbers(at: Case, v: Direction, bench: Bench | None) -> Any:
    bench = bench or Bench(at.layer, vector(at, v).astype(at.layer.dtype))
    bench.reset()
    names = input_names(len(at.inputs))
    inputs = [
        copied(x)
        if number in at.still
        else Dual(copied(x), v[name].astype(x.dtype) if name in v else np.zeros_like(x))
        for number, (name, x) in enumerate(zip(names, at.inputs, strict=True))
    ]
    with np.errstate(all="ignore"):
        y = bench.layer.forward(*inputs)
    parts = tuple(p.tangent if isinstance(p, Dual) else np.zeros_like(p) for p in as_tuple(y))
    return parts if isinstance(y, tuple) else parts[0]


def difference_quotient(at: Case, v: Direction) -> JacobianProduct:
    """(f(x + h v) − f(x − h v)) / 2h, with an estimate of its error as uncertainty.

    The uncertainty is the difference between the results for two steps h. Entries with a kink
    within the shorter step add the difference of the slopes on both sides: each of these is right,
    and the quotient equals neither.
    """
    here = flat(at.forward())
    length = _length(v)
    quotients = []
    for step in (1e-5 / length, 1e-6 / length):
        above, below = (flat(at.moved(v, sign * step).forward_once()) for sign in (1, -1))
        quotients.append((above - below) / (2 * step))
    right, left = (above - here) / step, (here - below) / step
    bent = np.abs(right - left) > 1e-2 * (length + np.abs(right) + np.abs(left))
    apart = norm(quotients[0] - quotients[1])
    # If a step crosses a kink the two quotients differ; the shorter step crosses fewer kinks.
    best = quotients[0] if apart < 1e-5 * length else quotients[1]
    return JacobianProduct(best, apart + norm((right - left)[bent]), is_exact=False)


def _length(v: Direction) -> float:
    """The root mean square of the entries of a direction."""
    entries = np.concatenate([np.zeros(0), *(part.ravel() for part in v.values())])
    return float(np.sqrt(np.mean(entries**2))) if np.any(entries) else 1.0


def transposed_product(at: Case, name: str, u: Any) -> npt.NDArray[Any]:
    """Jᵀ u entry by entry, from J along each axis: slow but reliable."""
    shape = shapes_by_name(at)[name]
    result = np.full(int(np.prod(shape)), np.nan)  # entries beyond the limit stay nan
    finding = Finding()
    for entry, direction in unit_directions(shape):
        result[entry] = inner(u, jacobian_vector(at, {name: direction}, finding).value)
    return result.reshape(shape)


def unit_directions(shape: Shape, most: int = 4096) -> Iterator[tuple[int, npt.NDArray[Any]]]:
    """Yield i and the unit vector e_i for each entry of an array, at most ``most`` of them."""
    for entry in range(min(most, int(np.prod(shape)))):
        direction = np.zeros(int(np.prod(shape)))
        direction[entry] = 1.0
        yield entry, direction.reshape(shape)


def with_indices(case: Case) -> Case:
    """The case with inputs that cannot move: integers given as floats, and used as integers.

    A layer such as an embedding converts them, and dual numbers do not survive that.
    """
    still = set(case.still)
    for number, (name, x) in enumerate(
        zip(input_names(len(case.inputs)), case.inputs, strict=True)
    ):
        if number not in still and np.array_equal(x, np.rint(x)):
            try:
                _by_dual_numbers(case, {name: np.ones_like(x)}, None)
            except NoTangentRuleError:
                still.add(number)
    return evolve(case, still=frozenset(still))
