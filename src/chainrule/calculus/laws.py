"""The nine laws of a layer, one function for each.

Every law is checked on a `Case`: a built layer with random inputs and deltas. It returns a
`Finding`, with the largest relative error if the law is about numbers, or raises `LawViolation`.
The
first line of a law's docstring is its statement in the report. The first two laws, which are about
derivatives, are in `chainrule.calculus.derivative_laws`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from attrs import evolve

from chainrule.calculus import diagnosis
from chainrule.calculus.derivative_laws import adjoint, tangent
from chainrule.calculus.derivatives import Replica
from chainrule.calculus.test_case import (
    EXACT,
    Case,
    Finding,
    Gradients,
    LawViolation,
    are_identical,
    as_tuple,
    copied,
    flat,
    gradient_of,
    is_input,
    norm,
    reset_generators,
    rows_of,
    shapes_of,
)
from chainrule.core import input_checks
from chainrule.core.errors import BackwardBeforeForwardError, StorageError
from chainrule.core.layer import Layer


def accumulate(case: Case) -> Finding:
    """Two backward passes add up; `zero_grad` resets the gradients."""
    u = case.like(case.forward())
    replica = Replica(case.layer)

    def grads() -> list[npt.NDArray[Any]]:
        return [p.grad.copy() for p in replica.parameters]

    def both_passes() -> None:
        reset_generators(case.layer, replica.layer)
        replica.layer.forward(*copied(case.inputs))
        replica.layer.backward(copied(u))

    both_passes()
    once = grads()
    both_passes()
    twice = grads()
    _backward_twice(case, u)
    _parameters_alone(case, u)
    for p in replica.parameters:
        p.zero_grad()
    both_passes()
    afresh = grads()
    worst = 0.0
    for p, one, two, again in zip(replica.parameters, once, twice, afresh, strict=True):
        error = norm(two - 2 * one) / (norm(one) + np.finfo(float).tiny)
        worst = max(worst, error)
        if not error <= EXACT:
            pattern = "the second replaces the first" if np.array_equal(one, two) else ""
            raise LawViolation(
                f"two backward passes do not add up in the gradient of {p.path}. {pattern}\n"
                "add with parameter.accumulate(…) instead of assigning to grad",
                error,
            )
        if not np.array_equal(one, again):
            raise LawViolation(
                f"after zero_grad the gradient of {p.path} differs from the first one"
            )
    return Finding(worst, EXACT)


def _parameters_alone(case: Case, u: Any) -> None:
    """`backward_parameters`, which training calls on the first layer, agrees with `backward`."""
    whole, alone = Replica(case.layer), Replica(case.layer)
    for replica in (whole, alone):
        replica.layer.forward(*copied(case.inputs))
    whole.layer.backward(copied(u))
    alone.layer.backward_parameters(copied(u))
    for one, other in zip(whole.parameters, alone.parameters, strict=True):
        error = norm(one.grad - other.grad) / (norm(one.grad) + np.finfo(float).tiny)
        if not error <= EXACT:
            raise LawViolation(
                f"backward_parameters and backward give different gradients of {one.path}", error
            )


def _backward_twice(case: Case, u: Any) -> None:
    """After one forward pass, a second backward pass gives the same result as the first."""
    replica = Replica(case.layer)
    replica.layer.forward(*copied(case.inputs))
    deltas = [copied(replica.layer.backward(copied(u))) for _ in range(2)]
    if not are_identical(*deltas):
        raise LawViolation(
            "after one forward, a second backward gives a different delta: backward changes what "
            "forward remembered"
        )


def purity(case: Case) -> Finding:
    """Inputs and deltas are never changed; no later call changes an array that was returned."""
    replica = Replica(case.layer)
    inputs = tuple(x.copy() for x in case.inputs)
    values = [p.value.copy() for p in replica.parameters]
    y = replica.layer.forward(*inputs)
    u = case.like(y)
    given_u, returned_y = copied(u), copied(y)
    delta_in = replica.layer.backward(u)
    returned_delta = copied(delta_in)
    applied = replica.layer.apply(*inputs)
    returned_applied = copied(applied)
    later = replica.layer.forward(*(x.copy() for x in case.others))
    replica.layer.backward(case.like(later))
    for what, now, before, cause in (
        ("the input", inputs, case.inputs, "forward, backward or apply writes into it"),
        ("the delta", u, given_u, "backward writes into it"),
        ("the output of forward", y, returned_y, "a later call writes into it"),
        (
            "the delta that backward returned",
            delta_in,
            returned_delta,
            "a later call writes into it",
        ),
        ("the output of apply", applied, returned_applied, "a later call writes into it"),
        (
            "the value of a parameter",
            tuple(p.value for p in replica.parameters),
            tuple(values),
            "only an optimizer may change it",
        ),
    ):
        if not are_identical(now, before):
            raise LawViolation(f"{what} has changed: {cause}")
    return Finding()


def repeatable(case: Case) -> Finding:
    """The same input and generator give the same output; the same seed gives the same layer."""
    u = case.like(case.forward())
    one, two = case.passes(u), case.passes(u)
    pairs = [(one.output, two.output), *((a, two.arrays[name]) for name, a in one.arrays.items())]
    if not all(are_identical(a, b) for a, b in pairs):
        raise LawViolation(
            "the same input gives a different result the second time: take randomness from "
            'self.generator("…"), created in build, and do not keep results between forward passes'
        )
    shapes = case.layer.input_shapes
    built = [case.layer.unbuilt() for _ in range(2)]
    for layer in built:
        layer.build(*shapes, rng=5, dtype=case.layer.dtype)
    if not np.array_equal(built[0].parameters.value, built[1].parameters.value):
        raise LawViolation(
            "two layers built with the same seed differ: draw from self.rng in build"
        )
    return Finding()


def batch(case: Case) -> Finding:
    """Rows do not influence each other; a batch of one and an empty batch work."""
    y = case.forward()
    u = case.like(y)
    whole = case.passes(u)
    for rows in (0, 1):
        part = case.rows(slice(0, rows)).passes(rows_of(u, slice(0, rows)))
        for what, small, full in (
            ("the output", part.output, whole.output),
            *((gradient_of(n), part.arrays[n], a) for n, a in whole.arrays.items()),
        ):
            per_row = what == "the output" or "input" in what
            expected = shapes_of(rows_of(full, slice(0, rows))) if per_row else shapes_of(full)
            if shapes_of(small) != expected:
                raise LawViolation(
                    f"with a batch of {rows} row(s) {what} has the shape {shapes_of(small)}, "
                    f"but should have {expected}"
                )
    if case.layer.couples_batch or any(p.couples_batch for _, p in case.layer.walk()):
        return Finding(remarks=["rows influence each other, as the layer declares (couples_batch)"])
    _rows_are_alone(case, u, whole)
    if case.layer.generators:
        return Finding()
    return _rows_add_up(case, u, whole)


def _rows_are_alone(case: Case, u: Any, whole: Gradients) -> None:
    """Changing the other rows does not change the results of the first."""
    mixed = evolve(
        case,
        inputs=tuple(
            np.concatenate([x[:1], other[1:]])
            for x, other in zip(case.inputs, case.others, strict=True)
        ),
    )
    after = mixed.passes(u)
    compared = [("the output", after.output, whole.output)]
    compared += [
        (gradient_of(n), a, whole.arrays[n]) for n, a in after.arrays.items() if is_input(n)
    ]
    for what, one, two in compared:
        first, before = flat(rows_of(one, slice(0, 1))), flat(rows_of(two, slice(0, 1)))
        error = norm(first - before) / (norm(before) + np.finfo(float).tiny)
        if not error <= EXACT:
            raise LawViolation(
                f"{what} of one row changes with the other rows of the batch: rows influence each "
                "other. If this is intended, set couples_batch: ClassVar[bool] = True in the class",
                error,
            )


def _rows_add_up(case: Case, u: Any, whole: Gradients) -> Finding:
    """The results of single rows add up to the result of the batch."""
    singles = [
        case.rows(slice(n, n + 1)).passes(rows_of(u, slice(n, n + 1))) for n in range(case.batch)
    ]
    worst = 0.0
    for name, array in whole.arrays.items():
        parts = [single.arrays[name] for single in singles]
        joined = np.concatenate(parts) if is_input(name) else sum(parts)
        error = norm(joined - array) / (norm(array) + np.finfo(float).tiny)
        worst = max(worst, error)
        if not error <= EXACT:
            pattern = diagnosis.factor(array, np.asarray(joined), {"the batch size": case.batch})
            raise LawViolation(
                f"{gradient_of(name)} of a batch differs from that of its rows one by one. "
                f"{pattern or ''}",
                error,
            )
    return Finding(worst, EXACT)


def dtype(case: Case) -> Finding:
    """float32 in, float32 out, in every array; float64 likewise."""
    shapes = case.layer.input_shapes
    for kind in input_checks.DTYPES:
        layer = case.layer.unbuilt()
        layer.build(*shapes, rng=0, dtype=kind)
        at = evolve(case, layer=layer, inputs=tuple(x.astype(kind) for x in case.inputs))
        y = at.forward()
        found = {
            "the output of forward": y,
            "the output of apply": layer.apply(*copied(at.inputs)),
        }
        _refuse_other_types(found, kind)
        passed = at.passes(at.like(y))
        _refuse_other_types({gradient_of(n): a for n, a in passed.arrays.items()}, kind)
    return Finding()


def _refuse_other_types(found: dict[str, Any], kind: np.dtype[Any]) -> None:
    for what, arrays in found.items():
        for array in as_tuple(arrays):
            if array.dtype != kind:
                raise LawViolation(
                    f"the input is {kind}, but {what} is {array.dtype}: create arrays with like= "
                    "or zeros_like, and multiply by plain numbers, not by arrays of another dtype"
                )


def memory(case: Case) -> Finding:
    """`apply` changes nothing; `backward` before `forward` raises a named error."""
    u = case.like(case.forward())
    replica = Replica(case.layer)
    try:
        replica.layer.backward(u)
    except BackwardBeforeForwardError:
        pass
    else:
        raise LawViolation("backward before forward does not raise BackwardBeforeForwardError")
    plain = case.passes(u)
    replica = Replica(case.layer)
    y = replica.layer.forward(*copied(case.inputs))
    states = [s.value.copy() for s in replica.layer.buffers]
    replica.layer.apply(*copied(case.others))
    if not all(map(np.array_equal, states, [s.value for s in replica.layer.buffers])):
        raise LawViolation("apply changes a buffer: only forward may do so")
    after = Gradients.of(y, replica.layer.backward(copied(u)), replica)
    for name, array in plain.arrays.items():
        if not are_identical(array, after.arrays[name]):
            raise LawViolation(
                f"{gradient_of(name)} changes when apply is called between forward and backward: "
                "apply writes into the memory of forward"
            )
    if _forward_is_inference(case.layer):
        applied = Replica(case.layer).layer.apply(*copied(case.inputs))
        apart = norm(flat(applied) - flat(plain.output))
        error = apart / (norm(plain.output) + np.finfo(float).tiny)
        if not error <= EXACT:
            raise LawViolation("apply and forward compute different outputs", error)
    return Finding()


def _forward_is_inference(layer: Layer) -> bool:
    """Whether apply must equal forward: no generators, no buffers, no coupled rows."""
    return not (
        layer.generators or len(layer.buffers) or any(p.couples_batch for _, p in layer.walk())
    )


def returns(case: Case) -> Finding:
    """The configuration survives saving and loading; the copy computes the same."""
    from chainrule import storage  # a later package, needed only for this law

    classes = {type(part) for _, part in case.layer.walk()}
    try:
        copy = storage.loads(storage.dumps(case.layer), layers=classes)
    except StorageError as error:
        raise LawViolation(f"the layer cannot be saved and loaded: {error}") from error
    if repr(copy.unbuilt()) != repr(case.layer.unbuilt()):
        raise LawViolation(f"the configuration {case.layer!r} was loaded as {copy!r}")
    if not are_identical(evolve(case, layer=copy).forward(), case.forward()):
        raise LawViolation("the saved and loaded copy computes different outputs")
    return Finding()


LAWS: dict[str, Callable[[Case], Finding]] = {
    "adjoint": adjoint,
    "tangent": tangent,
    "accumulate": accumulate,
    "purity": purity,
    "repeatable": repeatable,
    "batch": batch,
    "type": dtype,
    "memory": memory,
    "return": returns,
}
"""The laws by name, in order."""
