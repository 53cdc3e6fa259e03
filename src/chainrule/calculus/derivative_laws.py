"""The first two laws: that `backward` is the adjoint of `forward`, and that J itself is right.

    ⟨u, J v⟩ = ⟨Jᵀ u, v⟩        for any direction v of the input and any delta u

J v comes from dual numbers sent through `forward`, Jᵀ u from `backward`. The two are computed in
different ways and must agree to rounding; no step size is involved. If they don't, the correct
Jᵀ u is computed entry by entry for a diagnosis.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from attrs import evolve

from chainrule.calculus import diagnosis
from chainrule.calculus.derivatives import Replica
from chainrule.calculus.products import (
    difference_quotient,
    jacobian_vector,
    mismatch,
    transposed_product,
    unit_directions,
)
from chainrule.calculus.test_case import (
    BY_DIFFERENCES,
    EXACT,
    Case,
    Finding,
    Gradients,
    LawViolation,
    array_of,
    copied,
    flat,
    gradient_of,
    inner,
    is_finite,
    is_input,
    moved,
    names_of,
    norm,
    reset_generators,
)

SCALES = (1.0, 1e-3, 10.0, 100.0, 1000.0)
"""The sizes of the inputs at which derivatives are checked: from the middle to the tails."""


def adjoint(case: Case) -> Finding:
    """⟨u, J v⟩ = ⟨Jᵀ u, v⟩, for every input and every parameter."""
    finding = Finding(0.0, EXACT)
    for scale in SCALES:
        at = case.scaled(scale)
        y = at.forward()
        if not is_finite(y):
            if scale == 1.0:
                raise LawViolation(
                    "forward returns numbers that are not finite for ordinary inputs. If the layer "
                    "is not defined for all real numbers, pass a function that draws valid inputs: "
                    "check_layer(…, inputs=lambda shape: …)"
                )
            finding.remarks.append(f"forward is not finite for inputs of about {scale:g}")
            break
        _adjoint_at(at, y, scale, finding)
    _adjoint_at_zero(case, finding)
    return finding


def _adjoint_at(at: Case, y: Any, scale: float, finding: Finding) -> None:
    u = at.like(y)
    after_another = _passes_after_another(at, u)
    for name, received in after_another.arrays.items():
        where = f"inputs of about {scale:g}"
        original = array_of(at, name)
        if np.shape(received) != original.shape:
            raise LawViolation(
                f"{gradient_of(name)} has the shape {np.shape(received)}, "
                f"but should have {original.shape}"
            )
        if not is_finite(received):
            n = int(np.sum(~np.isfinite(received)))
            raise LawViolation(
                f"{gradient_of(name)} is not finite in {n} of {received.size} entries, although "
                f"forward is ({where}): does it overflow in the tails?"
            )
        v = at.rng.normal(size=original.shape)
        product = jacobian_vector(at, name, v, finding)
        error = mismatch(u, product, received, v)
        if not error <= product.tolerance:
            raise LawViolation(_diagnosed(at, name, u, received, scale), error)
        if not product.is_exact:
            finding.tolerance = BY_DIFFERENCES
        finding.figure = max(finding.figure or 0.0, error)


def _passes_after_another(at: Case, u: Any) -> Gradients:
    """Both passes of a replica after another batch, to detect stale memory."""
    replica = Replica(at.layer)
    with np.errstate(all="ignore"):
        replica.layer.forward(*copied(at.others))
        reset_generators(at.layer, replica.layer)
        y = replica.layer.forward(*copied(at.inputs))
        return Gradients.of(y, replica.layer.backward(copied(u)), replica)


def _adjoint_at_zero(case: Case, finding: Finding) -> None:
    """At an input of zeros, where many functions have a kink.

    The slopes from the right and from the left may differ there, and backward may choose any
    value between the two. The check uses one row, and one entry at a time, so that two errors
    cannot cancel. If several functions have kinks at the same point and each makes its own choice,
    the result may lie outside this range; it must then be what dual numbers through forward give.
    """
    at = case.rows(slice(0, 1)).scaled(0.0)
    y = at.forward()
    if not is_finite(y):
        finding.remarks.append("forward is not finite for an input of zeros")
        return
    u = at.like(y)
    found = at.passes(u)
    step = 1e-6
    for name in (n for n in names_of(at) if is_input(n)):
        received = flat(found.arrays[name])
        for entry, direction in unit_directions(array_of(at, name).shape, most=64):
            above, below = (moved(at, name, sign * step * direction).forward() for sign in (1, -1))
            right = flat(u) * (flat(above) - flat(y)) / step
            left = flat(u) * (flat(y) - flat(below)) / step
            if not (is_finite(right) and is_finite(left)):
                continue
            low, high = np.minimum(right, left).sum(), np.maximum(right, left).sum()
            margin = 1e-4 * (np.abs(right).sum() + np.abs(left).sum() + norm(u))
            chosen = jacobian_vector(at, name, direction, Finding())
            if chosen.is_exact and abs(inner(u, chosen.value) - received[entry]) <= margin:
                continue
            if not low - margin <= received[entry] <= high + margin:
                low, high = _slopes_nearby(at, name, direction, u, low, high)
            if not low - margin <= received[entry] <= high + margin:
                raise LawViolation(
                    f"{gradient_of(name)} is wrong at a kink. For an input of zeros the slope for "
                    f"entry {entry} lies between {low:.6g} and {high:.6g}, but backward gives "
                    f"{received[entry]:.6g}",
                    float(abs(received[entry] - (low + high) / 2)),
                )


def _slopes_nearby(
    at: Case, name: str, direction: npt.NDArray[Any], u: Any, low: float, high: float
) -> tuple[float, float]:
    """The range of slopes at points near zero; backward may also choose any of these.

    If entries tie, as in a sort, the slope at the tie depends on their order; the slope for any
    order nearby is right.
    """
    for _ in range(64):
        near = evolve(at, inputs=tuple(1e-3 * at.rng.normal(size=x.shape) for x in at.inputs))
        slope = inner(u, jacobian_vector(near, name, direction, Finding()).value)
        low, high = min(low, slope), max(high, slope)
    return low, high


def tangent(case: Case) -> Finding:
    """J v from dual numbers agrees with central differences."""
    finding = Finding(0.0, BY_DIFFERENCES)
    for scale in SCALES[:2]:
        at = case.scaled(scale)
        if not is_finite(at.forward()):
            break
        for name in names_of(at):
            v = at.rng.normal(size=array_of(at, name).shape)
            product = jacobian_vector(at, name, v, finding)
            if not product.is_exact:
                continue
            differences = difference_quotient(at, name, v)
            size = norm(product.value) + norm(v) + np.finfo(float).tiny
            apart = norm(flat(product.value) - differences.value)
            error = apart / size
            if not max(0.0, apart - 2 * differences.uncertainty) <= BY_DIFFERENCES * size:
                raise LawViolation(
                    f"J v for {name} differs between dual numbers and central differences: "
                    "does forward use something that dual numbers do not flow through?",
                    error,
                )
            finding.figure = max(finding.figure or 0.0, error)
    return finding


def _diagnosed(at: Case, name: str, u: Any, received: Any, scale: float) -> str:
    """The diagnosis of a wrong gradient of one input or parameter."""
    fresh = at.passes(u).arrays[name]
    expected = transposed_product(at, name, u)
    return diagnosis.sentence(
        diagnosis.Case(
            gradient=gradient_of(name),
            name=name,
            received=np.asarray(received),
            expected=expected,
            fresh=np.asarray(fresh),
            sizes=_sizes(at),
            scale=scale,
            is_first_scale=scale == SCALES[0],
            others_are_right=_others_are_right(at, name, u),
            at_output=_product_at_the_output(at, name, u),
            forwards=_forward_product(at, name, u),
        )
    )


def _others_are_right(at: Case, name: str, u: Any) -> bool:
    found = at.passes(u).arrays
    for other in found:
        if other == name:
            continue
        v = at.rng.normal(size=array_of(at, other).shape)
        product = jacobian_vector(at, other, v, Finding())
        if not mismatch(u, product, found[other], v) <= product.tolerance:
            return False
    return len(found) > 1


def _product_at_the_output(at: Case, name: str, u: Any) -> npt.NDArray[Any] | None:
    """Jᵀ u with J taken at y = f(x) instead of x, for a layer where that makes sense."""
    y = at.forward()
    if len(at.inputs) != 1 or not is_input(name) or np.shape(y) != at.inputs[0].shape:
        return None
    return transposed_product(evolve(at, inputs=(y.astype(at.inputs[0].dtype),)), name, u)


def _forward_product(at: Case, name: str, u: Any) -> npt.NDArray[Any] | None:
    """J u instead of Jᵀ u, if u has the shape for it."""
    if isinstance(u, tuple) or np.shape(u) != array_of(at, name).shape:
        return None
    product = jacobian_vector(at, name, u, Finding()).value
    return np.reshape(product, np.shape(u))


def _sizes(at: Case) -> dict[str, int]:
    """The sizes that a wrong factor may be equal to."""
    sizes = {"the batch size": at.batch}
    for shape in at.layer.output_shapes:
        sizes["the number of outputs"] = int(np.prod(shape))
    for shape in at.layer.input_shapes:
        sizes["the number of inputs"] = int(np.prod(shape))
    return sizes
