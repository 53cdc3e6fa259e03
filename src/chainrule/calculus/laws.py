"""The nine laws of a layer, one function for each.

Every law is tried on a `Subject`: a layer, built, with inputs and a delta drawn at random. It
returns what it found, as a relative error where there is a number to give, or raises `Broken`.

The first law is the heart of it. With J the Jacobian of `forward`, v any direction of the input
and u any delta,

    ⟨u, J v⟩ = ⟨Jᵀ u, v⟩

J v comes from dual numbers sent through `forward`, Jᵀ u from `backward`. The two are computed on
different ways and must agree to rounding. No step size is involved.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
from attrs import define, evolve, field

from chainrule.calculus import diagnosis
from chainrule.calculus.derivatives import Replica
from chainrule.calculus.dual import Dual
from chainrule.core import contract
from chainrule.core.errors import BackwardBeforeForwardError, NoTangentRuleError, StorageError
from chainrule.core.initializers import Shape
from chainrule.core.layer import Layer
from chainrule.core.parameter import Parameter

EXACT = 1e-12
"""How far two ways of computing the same float64 number may be apart, relative to its terms."""
BY_DIFFERENCES = 1e-6
"""The same where one of the ways is a difference quotient."""
SCALES = (1.0, 10.0, 100.0, 1000.0)
"""How large the inputs are with which the derivatives are tried: from the middle to the tails."""


class Broken(Exception):  # noqa: N818 - it is not an error of the program, but a finding
    """A law does not hold: the sentence says in what way, the figure by how much."""

    def __init__(self, sentence: str, figure: float | None = None) -> None:
        super().__init__(sentence)
        self.figure = figure


@define
class Finding:
    """That a law holds: the largest relative error that was seen, and what is to be said."""

    figure: float | None = None
    tolerance: float | None = None
    remarks: list[str] = field(factory=list)


@define
class Subject:
    """A built layer and the numbers that it is tried with."""

    layer: Layer
    inputs: tuple[npt.NDArray[Any], ...]
    others: tuple[npt.NDArray[Any], ...]  # more inputs of the same shapes
    rng: np.random.Generator

    @classmethod
    def of(
        cls,
        layer: Layer,
        shapes: tuple[Shape, ...],
        rng: np.random.Generator,
        batch: int,
        draw: Any,
    ) -> Subject:
        """Inputs for a layer, drawn by ``draw(shape)``."""
        inputs = tuple(draw((batch, *shape)) for shape in shapes)
        others = tuple(draw((batch, *shape)) for shape in shapes)
        return cls(layer, inputs, others, rng)

    @property
    def batch(self) -> int:
        """The number of rows."""
        return len(self.inputs[0])

    def scaled(self, scale: float) -> Subject:
        """The same with larger inputs."""
        return evolve(self, inputs=tuple(x * scale for x in self.inputs))

    def rows(self, rows: slice | list[int]) -> Subject:
        """The same with some of the rows."""
        return evolve(self, inputs=tuple(x[rows] for x in self.inputs))

    def like(self, y: Any) -> Any:
        """Random numbers of the shape and type of some output: a delta."""
        if isinstance(y, tuple):
            return tuple(self.like(part) for part in y)
        return self.rng.normal(size=np.shape(y)).astype(y.dtype)

    def forward(self) -> Any:
        """The output of a fresh replica, which is given copies: a layer may write into them."""
        with np.errstate(all="ignore"):
            return Replica(self.layer).layer.forward(*_copied(self.inputs))

    def passes(self, delta: Any) -> Gradients:
        """Forward and backward pass of a fresh replica, likewise."""
        replica = Replica(self.layer)
        with np.errstate(all="ignore"):
            y = replica.layer.forward(*_copied(self.inputs))
            return Gradients.of(y, replica.layer.backward(_copied(delta)), replica)


@define
class Product:
    """J v, and how it was come by."""

    value: Any
    uncertainty: float = 0.0
    is_exact: bool = True

    @property
    def tolerance(self) -> float:
        """The relative error that rounding and the step allow."""
        return EXACT if self.is_exact else BY_DIFFERENCES


@define
class Gradients:
    """What one forward and one backward pass give."""

    output: Any
    arrays: dict[str, npt.NDArray[Any]]  # "input" or "input 1", …, and each parameter's path

    @classmethod
    def of(cls, output: Any, delta_in: Any, replica: Replica) -> Gradients:
        """Under their names."""
        deltas = _tuple(delta_in)
        names = ["input"] if len(deltas) == 1 else [f"input {n + 1}" for n in range(len(deltas))]
        arrays = dict(zip(names, deltas, strict=True))
        return cls(output, arrays | {p.path: p.grad for p in replica.parameters})


# ------------------------------------------------------------------------------- 1 adjoint


def adjoint(subject: Subject) -> Finding:
    """⟨u, J v⟩ = ⟨Jᵀ u, v⟩, for every input and every parameter."""
    finding = Finding(0.0, EXACT)
    for scale in SCALES:
        at = subject.scaled(scale)
        y = at.forward()
        if not _finite(y):
            if scale == 1.0:
                raise Broken("forward gives numbers that are not finite, for ordinary inputs")
            finding.remarks.append(f"forward is not finite for inputs of about {scale:g}")
            break
        _adjoint_at(at, y, scale, finding)
    _adjoint_at_zero(subject, finding)
    return finding


def _adjoint_at(at: Subject, y: Any, scale: float, finding: Finding) -> None:
    u = at.like(y)
    after_another = _passes_after_another(at, u)
    for name, received in after_another.arrays.items():
        where = f"inputs of about {scale:g}"
        original = _original(at, name)
        if np.shape(received) != original.shape:
            raise Broken(
                f"{_gradient_of(name)} has the shape {np.shape(received)}, "
                f"and what it belongs to has {original.shape}"
            )
        if not _finite(received):
            n = int(np.sum(~np.isfinite(received)))
            raise Broken(
                f"{_gradient_of(name)} is not finite in {n} of {received.size} entries, where "
                f"forward is ({where}): does it overflow in the tails?"
            )
        v = at.rng.normal(size=original.shape)
        product = jacobian_vector(at, name, v, finding)
        error = _mismatch(u, product, received, v)
        if not error <= product.tolerance:
            raise Broken(_diagnosed(at, name, u, received, scale), error)
        if not product.is_exact:
            finding.tolerance = BY_DIFFERENCES
        finding.figure = max(finding.figure or 0.0, error)


def _mismatch(u: Any, product: Product, received: Any, v: Any) -> float:
    """|⟨u, J v⟩ − ⟨Jᵀ u, v⟩|, relative to the vectors that are multiplied."""
    left, right = _inner(u, product.value), float(np.vdot(received, v))
    size = _norm(u) * _norm(product.value) + _norm(received) * _norm(v) + _norm(u) * _norm(v)
    doubt = 2 * _norm(u) * product.uncertainty
    return max(0.0, abs(left - right) - doubt) / max(size, np.finfo(float).tiny)


def _passes_after_another(at: Subject, u: Any) -> Gradients:
    """Both passes of a replica that has seen another batch before: its memory must be new."""
    replica = Replica(at.layer)
    with np.errstate(all="ignore"):
        replica.layer.forward(*_copied(at.others))
        _reset_generators(at.layer, replica.layer)
        y = replica.layer.forward(*_copied(at.inputs))
        return Gradients.of(y, replica.layer.backward(_copied(u)), replica)


def _adjoint_at_zero(subject: Subject, finding: Finding) -> None:
    """At an input of zeros, where many functions have a kink.

    There the slope from the right and that from the left may differ, and backward may choose any
    between the two. One row, and one number of it at a time, so that no two can make up for each
    other.
    """
    at = subject.rows(slice(0, 1)).scaled(0.0)
    y = at.forward()
    if not _finite(y):
        finding.remarks.append("forward is not finite for an input of zeros")
        return
    u = at.like(y)
    found = at.passes(u)
    step = 1e-6
    for name in (n for n in _names(at) if _is_input(n)):
        received = _flat(found.arrays[name])
        for entry, direction in _unit_directions(_original(at, name).shape, most=64):
            ahead, behind = (
                _moved(at, name, sign * step * direction).forward() for sign in (1, -1)
            )
            right = _flat(u) * (_flat(ahead) - _flat(y)) / step
            left = _flat(u) * (_flat(y) - _flat(behind)) / step
            if not (_finite(right) and _finite(left)):
                continue
            low, high = np.minimum(right, left).sum(), np.maximum(right, left).sum()
            margin = 1e-4 * (np.abs(right).sum() + np.abs(left).sum() + _norm(u))
            if not low - margin <= received[entry] <= high + margin:
                raise Broken(
                    f"{_gradient_of(name)} is wrong at a kink. For an input of zeros the slope for "
                    f"entry {entry} lies between {low:.6g} and {high:.6g}, and backward gives "
                    f"{received[entry]:.6g}",
                    float(abs(received[entry] - (low + high) / 2)),
                )


# ------------------------------------------------------------------------------- 2 tangent


def tangent(subject: Subject) -> Finding:
    """J v from dual numbers agrees with central differences."""
    finding = Finding(0.0, BY_DIFFERENCES)
    for scale in SCALES[:2]:
        at = subject.scaled(scale)
        if not _finite(at.forward()):
            break
        for name in _names(at):
            v = at.rng.normal(size=_original(at, name).shape)
            product = jacobian_vector(at, name, v, finding)
            if not product.is_exact:
                continue
            differences = _difference_quotient(at, name, v)
            size = _norm(product.value) + _norm(v) + np.finfo(float).tiny
            apart = _norm(_flat(product.value) - differences.value)
            error = apart / size
            if not max(0.0, apart - 2 * differences.uncertainty) <= BY_DIFFERENCES * size:
                raise Broken(
                    f"J v for the {name} by dual numbers and by central differences are apart: "
                    "does forward compute with something that numbers do not flow through?",
                    error,
                )
            finding.figure = max(finding.figure or 0.0, error)
    return finding


def jacobian_vector(at: Subject, name: str, v: npt.NDArray[Any], finding: Finding) -> Product:
    """J v for one input or parameter: from dual numbers if these can, else by differences."""
    try:
        result = _by_dual_numbers(at, name, v)
        if _finite(result):
            return Product(result)
    except NoTangentRuleError as error:
        remark = f"by central differences: {error.problem}"
        if remark not in finding.remarks:
            finding.remarks.append(remark)
    return _difference_quotient(at, name, v)


def _by_dual_numbers(at: Subject, name: str, v: npt.NDArray[Any]) -> Any:
    names = [_input_name(n, len(at.inputs)) for n in range(len(at.inputs))]
    direction = np.concatenate(
        [
            np.zeros(0),
            *((v if p.path == name else np.zeros(p.shape)).ravel() for p in _parameters(at)),
        ]
    )
    replica = Replica(at.layer, direction)
    inputs = [
        Dual(x, v if own == name else np.zeros_like(x))
        for own, x in zip(names, at.inputs, strict=True)
    ]
    with np.errstate(all="ignore"):
        y = replica.layer.forward(*inputs)
    parts = tuple(p.tangent if isinstance(p, Dual) else np.zeros_like(p) for p in _tuple(y))
    return parts if isinstance(y, tuple) else parts[0]


def _difference_quotient(at: Subject, name: str, v: npt.NDArray[Any]) -> Product:
    """(f(x + h v) − f(x − h v)) / 2h, with how far two steps h are apart as its uncertainty."""
    quotients = []
    for step in (1e-5, 1e-6):
        ahead, behind = (_moved(at, name, sign * step * v).forward() for sign in (1, -1))
        quotients.append((_flat(ahead) - _flat(behind)) / (2 * step))
    apart = _norm(quotients[0] - quotients[1])
    # Where a step leaps over a kink the two differ; the shorter leaps over fewer.
    return Product(quotients[0] if apart < 1e-5 else quotients[1], apart, is_exact=False)


# ------------------------------------------------------------------------------- 3 to 9


def accumulate(subject: Subject) -> Finding:
    """Two backward passes add up; `zero_grad` starts afresh."""
    u = subject.like(subject.forward())
    replica = Replica(subject.layer)

    def grads() -> list[npt.NDArray[Any]]:
        return [p.grad.copy() for p in replica.parameters]

    def both_passes() -> None:
        _reset_generators(subject.layer, replica.layer)
        replica.layer.forward(*_copied(subject.inputs))
        replica.layer.backward(_copied(u))

    both_passes()
    once = grads()
    both_passes()
    twice = grads()
    for p in replica.parameters:
        p.zero_grad()
    both_passes()
    afresh = grads()
    worst = 0.0
    for p, one, two, again in zip(replica.parameters, once, twice, afresh, strict=True):
        error = _norm(two - 2 * one) / (_norm(one) + np.finfo(float).tiny)
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


def purity(subject: Subject) -> Finding:
    """Inputs and deltas are never changed; no later call changes an array that was returned."""
    replica = Replica(subject.layer)
    inputs = tuple(x.copy() for x in subject.inputs)
    values = [p.value.copy() for p in replica.parameters]
    y = replica.layer.forward(*inputs)
    u = subject.like(y)
    given_u, returned_y = _copied(u), _copied(y)
    delta_in = replica.layer.backward(u)
    returned_delta = _copied(delta_in)
    applied = replica.layer.apply(*inputs)
    returned_applied = _copied(applied)
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
        if not _identical(now, before):
            raise Broken(f"{what} has changed: {who}")
    return Finding()


def repeatable(subject: Subject) -> Finding:
    """The same input and generator give the same output, and the same seed the same layer."""
    u = subject.like(subject.forward())
    one, two = subject.passes(u), subject.passes(u)
    pairs = [(one.output, two.output), *((a, two.arrays[name]) for name, a in one.arrays.items())]
    if not all(_identical(a, b) for a, b in pairs):
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
        part = subject.rows(slice(0, rows)).passes(_rows(u, slice(0, rows)))
        for what, small, full in (
            ("output", part.output, whole.output),
            *((_gradient_of(n), part.arrays[n], a) for n, a in whole.arrays.items()),
        ):
            per_row = what == "output" or "input" in what
            expected = _shapes(_rows(full, slice(0, rows))) if per_row else _shapes(full)
            if _shapes(small) != expected:
                raise Broken(
                    f"with a batch of {rows} row(s) the {what} has the shape {_shapes(small)}, "
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
    compared = [("output", after.output, whole.output)]
    compared += [
        (_gradient_of(n), a, whole.arrays[n]) for n, a in after.arrays.items() if _is_input(n)
    ]
    for what, one, two in compared:
        first, before = _flat(_rows(one, slice(0, 1))), _flat(_rows(two, slice(0, 1)))
        error = _norm(first - before) / (_norm(before) + np.finfo(float).tiny)
        if not error <= EXACT:
            raise Broken(
                f"the {what} of one row changes with the other rows of the batch: rows see each "
                "other. If that is meant, say couples_batch: ClassVar[bool] = True in the class",
                error,
            )


def _rows_add_up(subject: Subject, u: Any, whole: Gradients) -> Finding:
    """What the rows give one by one is what the batch gives."""
    singles = [
        subject.rows(slice(n, n + 1)).passes(_rows(u, slice(n, n + 1)))
        for n in range(subject.batch)
    ]
    worst = 0.0
    for name, array in whole.arrays.items():
        parts = [single.arrays[name] for single in singles]
        joined = np.concatenate(parts) if _is_input(name) else sum(parts)
        error = _norm(joined - array) / (_norm(array) + np.finfo(float).tiny)
        worst = max(worst, error)
        if not error <= EXACT:
            pattern = diagnosis.factor(array, np.asarray(joined), {"the batch size": subject.batch})
            raise Broken(
                f"{_gradient_of(name)} of a batch is not what its rows give one by one. "
                f"{pattern or ''}",
                error,
            )
    return Finding(worst, EXACT)


def dtype(subject: Subject) -> Finding:
    """float32 in, float32 out, in every array; float64 likewise."""
    shapes = subject.layer.input_shapes
    for kind in contract.DTYPES:
        layer = subject.layer.unbuilt()
        layer.build(*shapes, rng=0, dtype=kind)
        at = evolve(subject, layer=layer, inputs=tuple(x.astype(kind) for x in subject.inputs))
        y = at.forward()
        found = {
            "the output of forward": y,
            "the output of apply": layer.apply(*_copied(at.inputs)),
        }
        _refuse_other_types(found, kind)
        passed = at.passes(at.like(y))
        _refuse_other_types({_gradient_of(n): a for n, a in passed.arrays.items()}, kind)
    return Finding()


def _refuse_other_types(found: dict[str, Any], kind: np.dtype[Any]) -> None:
    for what, arrays in found.items():
        for array in _tuple(arrays):
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
    y = replica.layer.forward(*_copied(subject.inputs))
    states = [s.value.copy() for s in replica.layer.state]
    replica.layer.apply(*_copied(subject.others))
    if not all(map(np.array_equal, states, [s.value for s in replica.layer.state])):
        raise Broken("apply changes a state: only forward may")
    after = Gradients.of(y, replica.layer.backward(_copied(u)), replica)
    for name, array in plain.arrays.items():
        if not _identical(array, after.arrays[name]):
            raise Broken(
                f"{_gradient_of(name)} changes when apply is called between forward and backward: "
                "apply writes into the memory of forward"
            )
    if _forward_is_inference(subject.layer):
        applied = Replica(subject.layer).layer.apply(*_copied(subject.inputs))
        apart = _norm(_flat(applied) - _flat(plain.output))
        error = apart / (_norm(plain.output) + np.finfo(float).tiny)
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
    if not _identical(evolve(subject, layer=copy).forward(), subject.forward()):
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


# ------------------------------------------------------------------------------- diagnosis


def _diagnosed(at: Subject, name: str, u: Any, received: Any, scale: float) -> str:
    """In what way the gradient of one input or parameter is wrong."""
    fresh = at.passes(u).arrays[name]
    expected = transposed_product(at, name, u)
    return diagnosis.sentence(
        diagnosis.Case(
            gradient=_gradient_of(name),
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


def transposed_product(at: Subject, name: str, u: Any) -> npt.NDArray[Any]:
    """Jᵀ u entry by entry, from J along each axis: slow, and right."""
    original = _original(at, name)
    result = np.full(original.size, np.nan)  # of what is too much to work out
    finding = Finding()
    for entry, direction in _unit_directions(original.shape):
        result[entry] = _inner(u, jacobian_vector(at, name, direction, finding).value)
    return result.reshape(original.shape)


def _unit_directions(shape: Shape, most: int = 4096) -> Iterator[tuple[int, npt.NDArray[Any]]]:
    for entry in range(min(most, int(np.prod(shape)))):
        direction = np.zeros(int(np.prod(shape)))
        direction[entry] = 1.0
        yield entry, direction.reshape(shape)


def _others_are_right(at: Subject, name: str, u: Any) -> bool:
    found = at.passes(u).arrays
    for other in found:
        if other == name:
            continue
        v = at.rng.normal(size=_original(at, other).shape)
        product = jacobian_vector(at, other, v, Finding())
        if not _mismatch(u, product, found[other], v) <= product.tolerance:
            return False
    return len(found) > 1


def _product_at_the_output(at: Subject, name: str, u: Any) -> npt.NDArray[Any] | None:
    """Jᵀ u with J taken at y = f(x) in place of x, for a layer where that makes sense."""
    y = at.forward()
    if len(at.inputs) != 1 or not _is_input(name) or np.shape(y) != at.inputs[0].shape:
        return None
    return transposed_product(evolve(at, inputs=(y.astype(at.inputs[0].dtype),)), name, u)


def _forward_product(at: Subject, name: str, u: Any) -> npt.NDArray[Any] | None:
    """J u in place of Jᵀ u, where u has the shape for it."""
    if isinstance(u, tuple) or np.shape(u) != _original(at, name).shape:
        return None
    product = jacobian_vector(at, name, u, Finding()).value
    return np.reshape(product, np.shape(u))


def _sizes(at: Subject) -> dict[str, int]:
    """The numbers that a wrong factor may be."""
    sizes = {"the batch size": at.batch}
    for shape in at.layer.output_shapes:
        sizes["the number of outputs"] = int(np.prod(shape))
    for shape in at.layer.input_shapes:
        sizes["the number of inputs"] = int(np.prod(shape))
    return sizes


# ------------------------------------------------------------------------------- small things


def _parameters(at: Subject) -> list[Parameter]:
    return list(at.layer.parameters)


def _input_name(number: int, count: int) -> str:
    return "input" if count == 1 else f"input {number + 1}"


def _is_input(name: str) -> bool:
    return name == "input" or name.startswith("input ")


def _gradient_of(name: str) -> str:
    return (
        f"the delta of {'the ' * (name == 'input')}{name}"
        if _is_input(name)
        else f"the gradient of {name}"
    )


def _names(at: Subject) -> list[str]:
    inputs = [_input_name(n, len(at.inputs)) for n in range(len(at.inputs))]
    return inputs + [p.path for p in _parameters(at)]


def _original(at: Subject, name: str) -> npt.NDArray[Any]:
    for number, x in enumerate(at.inputs):
        if name == _input_name(number, len(at.inputs)):
            return x
    found: npt.NDArray[Any] = at.layer.parameters[name].value
    return found


def _moved(at: Subject, name: str, step: npt.NDArray[Any]) -> Subject:
    """The subject with one input or parameter moved."""
    if _is_input(name):
        inputs = tuple(
            x + step if _input_name(n, len(at.inputs)) == name else x
            for n, x in enumerate(at.inputs)
        )
        return evolve(at, inputs=inputs)
    parts: dict[int, Any] = {}
    for p in _parameters(at):
        value = p.value + step if p.path == name else p.value.copy()
        parts[id(p)] = Parameter(p.path, value)
    parts |= {id(s): Parameter(s.path, s.value.copy()) for s in at.layer.state}
    for generator in at.layer.generators.values():
        parts[id(generator)] = contract.copied_generator(generator)
    return evolve(at, layer=at.layer.replica(parts))


def _reset_generators(source: Layer, replica: Layer) -> None:
    for path, generator in source.generators.items():
        replica.generators[path].bit_generator.state = generator.bit_generator.state


def _tuple(y: Any) -> tuple[Any, ...]:
    return y if isinstance(y, tuple) else (y,)


def _flat(y: Any) -> npt.NDArray[Any]:
    return np.concatenate([np.asarray(part, dtype=float).ravel() for part in _tuple(y)])


def _inner(a: Any, b: Any) -> float:
    return float(np.dot(_flat(a), _flat(b)))


def _norm(a: Any) -> float:
    return float(np.linalg.norm(_flat(a)))


def _finite(y: Any) -> bool:
    return all(bool(np.all(np.isfinite(part))) for part in _tuple(y))


def _copied(y: Any) -> Any:
    return tuple(np.array(part) for part in y) if isinstance(y, tuple) else np.array(y)


def _identical(a: Any, b: Any) -> bool:
    pairs = zip(_tuple(a), _tuple(b), strict=True)
    return all(np.array_equal(x, y, equal_nan=True) for x, y in pairs)


def _rows(y: Any, rows: slice) -> Any:
    return tuple(part[rows] for part in y) if isinstance(y, tuple) else y[rows]


def _shapes(y: Any) -> Any:
    return tuple(np.shape(part) for part in y) if isinstance(y, tuple) else np.shape(y)
