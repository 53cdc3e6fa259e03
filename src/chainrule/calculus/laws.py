"""The nine laws of a layer, one function for each.

Every law is tried on a `Subject`: a layer, built, with inputs and a delta drawn at random. It
returns what it found, as a relative error where there is a number to give, or raises `Broken`.
The first two, which are about derivatives, are in `chainrule.calculus.derivative_laws`.
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
from chainrule.calculus.subject import (
    EXACT,
    Broken,
    Finding,
    Gradients,
    Subject,
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
from chainrule.core import admission
from chainrule.core.errors import BackwardBeforeForwardError, StorageError
from chainrule.core.layer import Layer


def accumulate(subject: Subject) -> Finding:
    """Two backward passes add up; `zero_grad` starts afresh."""
    u = subject.like(subject.forward())
    replica = Replica(subject.layer)

    def grads() -> list[npt.NDArray[Any]]:
        return [p.grad.copy() for p in replica.parameters]

    def both_passes() -> None:
        reset_generators(subject.layer, replica.layer)
        replica.layer.forward(*copied(subject.inputs))
        replica.layer.backward(copied(u))

    both_passes()
    once = grads()
    both_passes()
    twice = grads()
    _backward_twice(subject, u)
    _parameters_alone(subject, u)
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
            raise Broken(
                f"two backward passes do not add up in the gradient of {p.path}. {pattern}\n"
                "add with parameter.accumulate(…), do not assign to grad",
                error,
            )
        if not np.array_equal(one, again):
            raise Broken(f"after zero_grad the gradient of {p.path} is not what it was at first")
    return Finding(worst, EXACT)


def _parameters_alone(subject: Subject, u: Any) -> None:
    """`backward_parameters`, which training calls in the first layer, adds what backward adds."""
    whole, alone = Replica(subject.layer), Replica(subject.layer)
    for replica in (whole, alone):
        replica.layer.forward(*copied(subject.inputs))
    whole.layer.backward(copied(u))
    alone.layer.backward_parameters(copied(u))
    for one, other in zip(whole.parameters, alone.parameters, strict=True):
        error = norm(one.grad - other.grad) / (norm(one.grad) + np.finfo(float).tiny)
        if not error <= EXACT:
            raise Broken(
                f"backward_parameters gives another gradient of {one.path} than backward", error
            )


def _backward_twice(subject: Subject, u: Any) -> None:
    """After one forward pass, a second backward pass gives what the first gave."""
    replica = Replica(subject.layer)
    replica.layer.forward(*copied(subject.inputs))
    deltas = [copied(replica.layer.backward(copied(u))) for _ in range(2)]
    if not are_identical(*deltas):
        raise Broken(
            "after one forward, a second backward gives another delta than the first: backward "
            "changes what forward has remembered"
        )


def purity(subject: Subject) -> Finding:
    """Inputs and deltas are never changed; no later call changes an array that was returned."""
    replica = Replica(subject.layer)
    inputs = tuple(x.copy() for x in subject.inputs)
    values = [p.value.copy() for p in replica.parameters]
    y = replica.layer.forward(*inputs)
    u = subject.like(y)
    given_u, returned_y = copied(u), copied(y)
    delta_in = replica.layer.backward(u)
    returned_delta = copied(delta_in)
    applied = replica.layer.apply(*inputs)
    returned_applied = copied(applied)
    later = replica.layer.forward(*(x.copy() for x in subject.others))
    replica.layer.backward(subject.like(later))
    for what, now, before, who in (
        ("the input", inputs, subject.inputs, "forward, backward or apply writes into it"),
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
            "only an optimizer may move it",
        ),
    ):
        if not are_identical(now, before):
            raise Broken(f"{what} has changed: {who}")
    return Finding()


def repeatable(subject: Subject) -> Finding:
    """The same input and generator give the same output, and the same seed the same layer."""
    u = subject.like(subject.forward())
    one, two = subject.passes(u), subject.passes(u)
    pairs = [(one.output, two.output), *((a, two.arrays[name]) for name, a in one.arrays.items())]
    if not all(are_identical(a, b) for a, b in pairs):
        raise Broken(
            "the same input gives another result the second time: take randomness from "
            'self.generator("…"), made in build, and start from nothing in forward'
        )
    shapes = subject.layer.input_shapes
    built = [subject.layer.unbuilt() for _ in range(2)]
    for layer in built:
        layer.build(*shapes, rng=5, dtype=subject.layer.dtype)
    if not np.array_equal(built[0].parameters.value, built[1].parameters.value):
        raise Broken("two layers built with one seed differ: draw from self.rng in build")
    return Finding()


def batch(subject: Subject) -> Finding:
    """Rows do not see each other; a batch of one and an empty batch work."""
    y = subject.forward()
    u = subject.like(y)
    whole = subject.passes(u)
    for rows in (0, 1):
        part = subject.rows(slice(0, rows)).passes(rows_of(u, slice(0, rows)))
        for what, small, full in (
            ("the output", part.output, whole.output),
            *((gradient_of(n), part.arrays[n], a) for n, a in whole.arrays.items()),
        ):
            per_row = what == "the output" or "input" in what
            expected = shapes_of(rows_of(full, slice(0, rows))) if per_row else shapes_of(full)
            if shapes_of(small) != expected:
                raise Broken(
                    f"with a batch of {rows} row(s) {what} has the shape {shapes_of(small)}, "
                    f"and should have {expected}"
                )
    if subject.layer.couples_batch or any(p.couples_batch for _, p in subject.layer.walk()):
        return Finding(remarks=["rows see each other, as the layer says (couples_batch)"])
    _rows_are_alone(subject, u, whole)
    if subject.layer.generators:
        return Finding()
    return _rows_add_up(subject, u, whole)


def _rows_are_alone(subject: Subject, u: Any, whole: Gradients) -> None:
    """Other rows may become anything, and the first stays what it is."""
    mixed = evolve(
        subject,
        inputs=tuple(
            np.concatenate([x[:1], other[1:]])
            for x, other in zip(subject.inputs, subject.others, strict=True)
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
            raise Broken(
                f"{what} of one row changes with the other rows of the batch: rows see each "
                "other. If that is meant, say couples_batch: ClassVar[bool] = True in the class",
                error,
            )


def _rows_add_up(subject: Subject, u: Any, whole: Gradients) -> Finding:
    """What the rows give one by one is what the batch gives."""
    singles = [
        subject.rows(slice(n, n + 1)).passes(rows_of(u, slice(n, n + 1)))
        for n in range(subject.batch)
    ]
    worst = 0.0
    for name, array in whole.arrays.items():
        parts = [single.arrays[name] for single in singles]
        joined = np.concatenate(parts) if is_input(name) else sum(parts)
        error = norm(joined - array) / (norm(array) + np.finfo(float).tiny)
        worst = max(worst, error)
        if not error <= EXACT:
            pattern = diagnosis.factor(array, np.asarray(joined), {"the batch size": subject.batch})
            raise Broken(
                f"{gradient_of(name)} of a batch is not what its rows give one by one. "
                f"{pattern or ''}",
                error,
            )
    return Finding(worst, EXACT)


def dtype(subject: Subject) -> Finding:
    """float32 in, float32 out, in every array; float64 likewise."""
    shapes = subject.layer.input_shapes
    for kind in admission.DTYPES:
        layer = subject.layer.unbuilt()
        layer.build(*shapes, rng=0, dtype=kind)
        at = evolve(subject, layer=layer, inputs=tuple(x.astype(kind) for x in subject.inputs))
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
                raise Broken(
                    f"{kind} goes in, and {what} is {array.dtype}: create arrays with like= or "
                    "zeros_like, and multiply by plain numbers, not by arrays of another type"
                )


def memory(subject: Subject) -> Finding:
    """`apply` leaves no trace; `backward` before `forward` is a named error."""
    u = subject.like(subject.forward())
    replica = Replica(subject.layer)
    try:
        replica.layer.backward(u)
    except BackwardBeforeForwardError:
        pass
    else:
        raise Broken("backward before forward is not refused")
    plain = subject.passes(u)
    replica = Replica(subject.layer)
    y = replica.layer.forward(*copied(subject.inputs))
    states = [s.value.copy() for s in replica.layer.state]
    replica.layer.apply(*copied(subject.others))
    if not all(map(np.array_equal, states, [s.value for s in replica.layer.state])):
        raise Broken("apply changes a state: only forward may")
    after = Gradients.of(y, replica.layer.backward(copied(u)), replica)
    for name, array in plain.arrays.items():
        if not are_identical(array, after.arrays[name]):
            raise Broken(
                f"{gradient_of(name)} changes when apply is called between forward and backward: "
                "apply writes into the memory of forward"
            )
    if _forward_is_inference(subject.layer):
        applied = Replica(subject.layer).layer.apply(*copied(subject.inputs))
        apart = norm(flat(applied) - flat(plain.output))
        error = apart / (norm(plain.output) + np.finfo(float).tiny)
        if not error <= EXACT:
            raise Broken("apply and forward compute different outputs", error)
    return Finding()


def _forward_is_inference(layer: Layer) -> bool:
    """Whether nothing random, kept or shared between rows could make the two differ."""
    return not (
        layer.generators or len(layer.state) or any(p.couples_batch for _, p in layer.walk())
    )


def returns(subject: Subject) -> Finding:
    """The configuration survives saving and loading, and the copy computes the same."""
    from chainrule import storage  # a floor below this one, and the subject of this law alone

    classes = {type(part) for _, part in subject.layer.walk()}
    try:
        copy = storage.loads(storage.dumps(subject.layer), layers=classes)
    except StorageError as error:
        raise Broken(f"it cannot be saved and loaded: {error}") from error
    if repr(copy.unbuilt()) != repr(subject.layer.unbuilt()):
        raise Broken(f"the configuration has become {copy!r}, and was {subject.layer!r}")
    if not are_identical(evolve(subject, layer=copy).forward(), subject.forward()):
        raise Broken("the copy that was saved and loaded computes something else")
    return Finding()


LAWS: dict[str, Callable[[Subject], Finding]] = {
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
"""The laws in their order, by name."""
