"""The first two laws: that `backward` is the adjoint of `forward`, and that J itself is right.

    ⟨u, J v⟩ = ⟨Jᵀ u, v⟩        for any direction v of inputs and parameters and any delta u

J v comes from dual numbers sent through `forward`, Jᵀ u from `backward`. The two are computed in
different ways and must agree to rounding; no step size is involved. One random direction moves all
inputs and parameters at once, so the cost does not grow with their number. If the two sides differ,
the direction is halved until it moves only one input or parameter whose gradient is wrong, and the
correct Jᵀ u is computed entry by entry for a diagnosis.

How large rounding is, only the layer decides: attention with inputs of about 1000 amplifies it
a million times. So when the sides differ by more than usual but agree to six digits, the point is
perturbed in its last digits. If this changes J v as much, the difference is rounding.

For unusual inputs or parameters it is also rounding if they agree to nine digits and differ by
another part of their size at every point nearby, as where a softmax is almost 1 and its rounding is
all that is left. A wrong formula is wrong by the same part everywhere.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
from attrs import define, evolve, field

from chainrule.calculus import diagnosis
from chainrule.calculus.products import (
    JacobianProduct,
    difference_quotient,
    jacobian_vector,
    transposed_product,
)
from chainrule.calculus.situations import DELTAS, Situation, all_layouts, all_situations
from chainrule.calculus.test_case import (
    BY_DIFFERENCES,
    EXACT,
    TINY,
    UNDEFINED,
    Bench,
    Case,
    Direction,
    Finding,
    Gradients,
    LawViolation,
    flat,
    gradient_of,
    inner,
    input_names,
    is_finite,
    is_input,
    norm,
    shapes_by_name,
    vector,
    writes_into_read_only,
)

RESCUED = 1e-6
"""Only sides that agree to this relative accuracy may differ by amplified rounding."""
NEGLIGIBLE = 1e-9
"""Only up to this relative accuracy may `backward` have rounded differently from J v."""
PERTURBATIONS = 8
"""How many nearby points show how much rounding is amplified."""


def adjoint(case: Case) -> Finding:
    """⟨u, J v⟩ = ⟨Jᵀ u, v⟩, for every input and every parameter."""
    comparison = _Comparison(case)
    for situation in all_situations(case):
        comparison.check(situation)
    comparison.check_layouts()
    return comparison.report()


@define
class _Comparison:
    """The two sides of the first law, in one situation after another.

    All situations run on one bench, so that memory of an earlier batch is found, too. The
    parameters move along one direction, scaled so that each contributes about equally.
    """

    case: Case
    finding: Finding = field(factory=lambda: Finding(0.0, EXACT))
    bench: Bench = field(init=False)
    tangents: Bench = field(init=False)
    direction: dict[str, npt.NDArray[Any]] = field(init=False)
    gains: dict[str, float] = field(init=False)  # the norm of each gradient for a delta of norm 1
    ordinary: Gradients = field(init=False)
    delta: Any = field(init=False)
    not_finite: list[str] = field(factory=list)

    def __attrs_post_init__(self) -> None:
        case = self.case
        self.bench = Bench(case.layer)
        self.bench.forward(evolve(case, inputs=case.others))
        self.delta = case.delta()
        self.ordinary = self.bench.passes(case, self.delta)
        self._require_shapes(case, self.ordinary)
        length = norm(self.delta) or 1.0
        self.gains = {name: n / length for name, n in self.ordinary.norms().items()}
        if not all(map(np.isfinite, self.gains.values())) or not any(self.gains.values()):
            self.gains = dict.fromkeys(self.gains, 1.0)
        self.direction = self._drawn(case)
        self.tangents = Bench(case.layer, vector(case, self.direction))

    def _drawn(self, at: Case) -> dict[str, npt.NDArray[Any]]:
        most = max(self.gains.values())
        return {
            name: at.rng.normal(size=shape) * (most / self.gains[name])
            for name, shape in shapes_by_name(at).items()
        }

    def check(self, situation: Situation) -> None:
        """Compare the sides in one situation; for the ordinary one with every kind of delta."""
        at, is_ordinary = situation.at, not situation.phrase
        if is_ordinary:
            bench, tangents, u = self.bench, self.tangents, self.delta
            received = self.ordinary
        else:
            has_own_parameters = at.layer is not self.case.layer
            bench = Bench(at.layer) if has_own_parameters else self.bench
            tangents = (
                Bench(at.layer, vector(at, self.direction)) if has_own_parameters else self.tangents
            )
            u = at.delta()
            if not _is_defined(bench, at):
                self.not_finite.append(situation.phrase)
                return
            with located(situation.phrase):
                received = bench.passes(at, u)
        if not is_finite(received.output):
            if is_ordinary:
                raise LawViolation(
                    "forward returns numbers that are not finite for ordinary inputs. If the layer "
                    "is not defined for all real numbers, pass a function that draws valid inputs: "
                    "check_layer(…, inputs=lambda shape: …)"
                )
            self.not_finite.append(situation.phrase)
            return
        v = {**self.direction, **self._input_directions(at)}
        with located(situation.phrase):
            product = jacobian_vector(at, v, self.finding, tangents)
        self._compare(situation, u, received, product, v)
        if is_ordinary:
            self._check_deltas(product, v)

    def _input_directions(self, at: Case) -> dict[str, npt.NDArray[Any]]:
        most = max(self.gains.values())
        return {
            name: at.rng.normal(size=x.shape) * (most / self.gains[name])
            for n, (name, x) in enumerate(zip(input_names(len(at.inputs)), at.inputs, strict=True))
            if n not in at.still
        }

    def _check_deltas(self, product: JacobianProduct, v: Direction) -> None:
        at = self.case
        for phrase, draw in DELTAS.items():
            u = at.delta(lambda shape, draw=draw: draw(at.rng, shape))  # type: ignore[misc]
            with located(phrase):
                received = self.bench.passes(at, u)
            self._compare(Situation(phrase, at), u, received, product, v)

    def check_layouts(self) -> None:
        """Compare the gradients for other layouts in memory with those for the usual one."""
        spread = Spread(self.case, self.delta, self.ordinary)
        for situation in all_layouts(self.case):
            try:
                with located(situation.phrase):
                    received = self.bench.passes(situation.at, self.delta)
            except ValueError as failure:
                if writes_into_read_only(failure):
                    continue  # the fourth law says so
                raise
            self._require_shapes(situation.at, received)
            norms = self.ordinary.norms()
            for name, expected in self.ordinary.arrays.items():
                error = _ratio(norm(received.arrays[name] - expected), norms[name])
                if not error <= EXACT and not error * norms[name] <= 16 * spread[name]:
                    raise LawViolation(
                        f"{gradient_of(name)} is wrong {situation.phrase}, but right for ordinary "
                        "inputs: backward must not depend on how arrays lie in memory.\n"
                        + diagnosis.worst_entry(np.asarray(received.arrays[name]), expected),
                        error,
                    )

    # ---------------------------------------------------------------- one comparison

    def _compare(
        self,
        situation: Situation,
        u: Any,
        received: Gradients,
        product: JacobianProduct,
        v: Direction,
    ) -> None:
        at = situation.at
        self._require_shapes(at, received)
        self._require_zeros_for_integers(at, received)
        has_kinks = bool(situation.phrase)
        for name, gradient in received.arrays.items():
            if not is_finite(gradient) and not (
                has_kinks and self._has_no_slope(at, name, gradient)
            ):
                n = int(np.sum(~np.isfinite(gradient)))
                where = f" {situation.phrase}," if has_kinks else ","
                raise LawViolation(
                    f"{gradient_of(name)} is not finite in {n} of {gradient.size} entries{where} "
                    "although forward is: does it overflow in the tails?"
                )
        if not all(map(is_finite, received.arrays.values())):
            return
        if not product.is_exact:
            self.finding.tolerance = BY_DIFFERENCES
        error = self._mismatch(at, u, product, received, v)
        if error <= product.tolerance:
            self.finding.figure = max(self.finding.figure or 0.0, error)
            return
        self._find_fault(situation, u, received, set(v))

    def _require_shapes(self, at: Case, received: Gradients) -> None:
        shapes = shapes_by_name(at)
        for number in at.still:
            shapes[input_names(len(at.inputs))[number]] = at.inputs[number].shape
        for name, gradient in received.arrays.items():
            if np.shape(gradient) != shapes[name]:
                raise LawViolation(
                    f"{gradient_of(name)} has the shape {np.shape(gradient)}, "
                    f"but should have {shapes[name]}"
                )

    def _require_zeros_for_integers(self, at: Case, received: Gradients) -> None:
        for number, name in enumerate(input_names(len(at.inputs))):
            if number in at.still and np.any(received.arrays[name]):
                raise LawViolation(
                    f"{gradient_of(name)} is not zero, but this input contains integers: return "
                    "zeros of the layer's dtype"
                )

    def _mismatch(
        self, at: Case, u: Any, product: JacobianProduct, received: Gradients, v: Direction
    ) -> float:
        """|⟨u, J v⟩ − ⟨Jᵀ u, v⟩| relative to the terms, beyond what rounding and the step allow."""
        left, right = inner(u, product.value), _inner(received, v)
        size, rest = self._size(u, product, received, v)
        # What is rounded in forward may be multiplied by a large input in backward.
        rest *= max(1.0, _largest(at) / (_largest(self.case) or 1.0))
        if at is self.case:  # a small delta may be rounded like the output that it belongs to
            rest *= max(1.0, norm(received.output) / (norm(u) or 1.0))
        excess = max(0.0, abs(left - right) - 2 * norm(u) * product.uncertainty)
        # As 64 units in the last place of what is ordinary, or `EXACT` times the terms here.
        return _ratio(excess, size + rest * (64 * _EPSILON / EXACT if product.is_exact else 1))

    def _size(
        self, u: Any, product: JacobianProduct, received: Gradients, v: Direction
    ) -> tuple[float, float]:
        """The size of the terms here, and the size that they ordinarily have.

        Terms of random sign add up like a random walk, and so does their rounding: the size of
        a sum is the root of the sum of squares.
        """
        here = norm(flat(u) * flat(product.value))
        here += _root(norm(received.arrays[name] * part) for name, part in v.items())
        ordinary = norm(u) * _root(
            self.gains[name] * norm(part) / np.sqrt(max(part.size, 1)) for name, part in v.items()
        )
        return here, ordinary

    # ---------------------------------------------------------------- when the sides differ

    def _find_fault(
        self, situation: Situation, u: Any, received: Gradients, names: set[str]
    ) -> None:
        """Raise the violation, unless the difference is amplified rounding, or a kink."""
        at = situation.at
        order = [name for name in received.arrays if name in names]
        while (name := self._first_wrong(at, u, received, order)) is not None:
            if not self._is_at_kinks(situation, name, u, received):
                others = [other for other in received.arrays if other != name and other in names]
                alone = bool(others) and self._first_wrong(at, u, received, others) is None
                raise self._violation(situation, name, u, received, alone)
            order = [other for other in order if other != name]

    def _first_wrong(self, at: Case, u: Any, received: Gradients, names: list[str]) -> str | None:
        """The first name whose gradient is wrong, found by halving; None if all are right."""
        if not names or not self._differ(at, u, received, names):
            return None
        while len(names) > 1:
            half = names[: len(names) // 2]
            names = half if self._differ(at, u, received, half) else names[len(names) // 2 :]
        return names[0]

    def _differ(self, at: Case, u: Any, received: Gradients, names: Iterable[str]) -> bool:
        """Whether the sides differ for a random direction of these inputs and parameters."""
        v = {name: part for name, part in self._drawn(at).items() if name in set(names)}
        product = jacobian_vector(at, v, Finding())
        error = self._mismatch(at, u, product, received, v)
        if error <= product.tolerance:
            return False
        left, right = inner(u, product.value), _inner(received, v)
        size, rest = self._size(u, product, received, v)
        if not abs(left - right) <= RESCUED * (size + rest):
            return True
        # The change of J v alone: a backward that loses digits by itself is not excused.
        sides = [inner(u, jacobian_vector(near, v, Finding()).value) for near in nearby(at)]
        if abs(left - right) <= 16 * max(abs(side - left) for side in sides):
            return False
        if at is self.case or not abs(left - right) <= NEGLIGIBLE * (size + rest):
            return True
        both = [
            (inner(u, jacobian_vector(near, v, Finding()).value), _inner(near.passes(u), v))
            for near in nearby(at, 1e-3)
        ]
        gap, *gaps = (_ratio(a - b, abs(a) + abs(b)) for a, b in [(left, right), *both])
        return not abs(gap) <= 4 * max(abs(other - np.mean(gaps)) for other in gaps)

    def _has_no_slope(self, at: Case, name: str, gradient: npt.NDArray[Any]) -> bool:
        """Whether forward has no finite slope where the gradient is not finite."""
        for entry in np.flatnonzero(~np.isfinite(gradient.ravel()))[:64]:
            direction = _unit(gradient.shape, int(entry))
            here = flat(at.forward())
            above, below = (flat(at.moved({name: direction}, h).forward()) for h in (1e-6, -1e-6))
            if is_finite(above) and is_finite(below) and is_finite(here):
                return False
        return True

    def _is_at_kinks(self, situation: Situation, name: str, u: Any, received: Gradients) -> bool:
        """Whether all wrong entries are at a kink, and within the slopes on both sides.

        The slopes from the right and from the left may differ at such a point, and backward may
        choose any value between the two. If several functions have kinks at the same point, each
        chooses its own slope; the result may be outside this range, but not outside that of the
        slopes at nearby points.
        """
        at = situation.at
        if not situation.phrase or norm(u) == 0.0:
            return False
        gradient = np.asarray(received.arrays[name], dtype=float)
        expected = transposed_product(at, name, u)
        largest = max(float(np.max(np.abs(expected), initial=0.0)), TINY)
        rounding = 64 * _EPSILON * self.gains[name] * norm(u)
        rounding *= max(1.0, _largest(at) / (_largest(self.case) or 1.0))
        wrong = np.flatnonzero(~(np.abs(gradient - expected) <= 1e-9 * largest + rounding))
        y = flat(at.forward())
        for entry in wrong[:64]:
            direction = _unit(gradient.shape, int(entry))
            received_slope = float(gradient.ravel()[entry])
            step = 1e-6 * max(1.0, float(np.max(np.abs(_array_of(at, name)), initial=0.0)))
            above, below = (flat(at.moved({name: direction}, h).forward()) for h in (step, -step))
            right, left = flat(u) * (above - y) / step, flat(u) * (y - below) / step
            if not (is_finite(right) and is_finite(left)):
                continue
            low, high = np.minimum(right, left).sum(), np.maximum(right, left).sum()
            margin = 1e-4 * (np.abs(right).sum() + np.abs(left).sum())
            by_rule = float(expected.ravel()[entry])
            if low - margin <= received_slope <= high + margin and (
                # The second: forward is smooth, but a part of it has a kink, as in exp(−|z|).
                high - low > margin or not low - margin <= by_rule <= high + margin
            ):
                continue
            low, high = _slopes_nearby(at, name, direction, u, low, high)
            margin = 1e-4 * max(abs(low), abs(high))
            if high - low <= margin:
                return False
            if not low - margin <= received_slope <= high + margin:
                raise LawViolation(
                    f"{gradient_of(name)} is wrong at a kink, {situation.phrase}. The slope for "
                    f"entry {entry} lies between {low:.6g} and {high:.6g}, but backward gives "
                    f"{received_slope:.6g}",
                    float(abs(received_slope - (low + high) / 2)),
                )
        return True

    def _violation(
        self, situation: Situation, name: str, u: Any, received: Gradients, alone: bool
    ) -> LawViolation:
        """The diagnosis of a wrong gradient of one input or parameter."""
        at = situation.at
        product = transposed_product(at, name, u)
        sentence = diagnosis.sentence(
            diagnosis.Case(
                gradient=gradient_of(name),
                name=name,
                received=np.asarray(received.arrays[name]),
                expected=product,
                fresh=np.asarray(at.passes(u).arrays[name]),
                sizes=_sizes(at),
                situation=situation.phrase,
                others_are_right=alone,
                at_output=_product_at_the_output(at, name, u),
                forwards=_forward_product(at, name, u),
            )
        )
        difference = norm(np.nan_to_num(received.arrays[name] - product))
        return LawViolation(sentence, _ratio(difference, norm(np.nan_to_num(product))))

    def report(self) -> Finding:
        """The finding, with a remark on situations in which forward is not finite."""
        if self.not_finite:
            self.finding.remarks.append("forward is not finite " + "; ".join(self.not_finite))
        return self.finding


_EPSILON = float(np.finfo(float).eps)


class located:  # noqa: N801 - reads as a function
    """Add to an exception that a layer raises the situation in which it did."""

    def __init__(self, phrase: str) -> None:
        self._phrase = phrase

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if isinstance(error, LawViolation):
            return
        if error is not None and self._phrase:
            error.add_note(f"This happens {self._phrase}.")


def nearby(at: Case, epsilon: float | None = None) -> Iterator[Case]:
    """The same case, with inputs and parameters perturbed, by default in their last digits."""
    epsilon = 4 * float(np.finfo(at.layer.dtype).eps) if epsilon is None else epsilon

    def perturbed(x: npt.NDArray[Any]) -> npt.NDArray[Any]:
        return (x * (1 + epsilon * at.rng.uniform(-1, 1, x.shape))).astype(x.dtype)

    for _ in range(PERTURBATIONS):
        inputs = tuple(
            x if number in at.still else perturbed(x) for number, x in enumerate(at.inputs)
        )
        near = evolve(at, inputs=inputs)
        yield near.with_parameters(perturbed(at.theta))


class Spread:
    """How far output and gradients change when the point is perturbed in its last digits.

    It is computed once, for all gradients, when it is first needed. The output has the name "".
    """

    def __init__(self, at: Case, u: Any, gradients: Gradients) -> None:
        self._at, self._u, self._gradients = at, u, gradients
        self._found: dict[str, float] | None = None

    def __getitem__(self, name: str) -> float:
        if self._found is None:
            here = {"": flat(self._gradients.output), **self._gradients.arrays}
            self._found = dict.fromkeys(here, 0.0)
            for near in nearby(self._at):
                passed = near.passes(self._u)
                there = {"": flat(passed.output), **passed.arrays}
                for key, array in there.items():
                    self._found[key] = max(self._found[key], norm(array - here[key]))
        return self._found[name]


def tangent(case: Case) -> Finding:
    """J v from dual numbers agrees with central differences."""
    finding = Finding(0.0, BY_DIFFERENCES)
    cases = [case, case.of_size(2)]
    if not case.is_given:
        cases.append(evolve(case, inputs=tuple(1e-3 * x for x in case.inputs)))
    for at in cases:
        shapes = shapes_by_name(at)
        if not shapes or not is_finite(at.forward()):
            continue
        names = list(shapes)
        errors = _tangent_errors(at, names, finding)
        if errors is None:
            continue
        error, excess = errors
        if not excess <= BY_DIFFERENCES:
            while len(names) > 1:
                half = names[: len(names) // 2]
                found = _tangent_errors(at, half, Finding())
                is_there = found is not None and not found[1] <= BY_DIFFERENCES
                names = half if is_there else names[len(names) // 2 :]
            raise LawViolation(
                f"J v for {names[0]} differs between dual numbers and central differences: "
                "does forward use something that dual numbers do not flow through?",
                error,
            )
        finding.figure = max(finding.figure or 0.0, error)
    return finding


def _tangent_errors(at: Case, names: list[str], finding: Finding) -> tuple[float, float] | None:
    """How far the two ways to compute J v differ, and how much of it the step does not explain.

    Both are relative; None if dual numbers do not flow through, so that there is only one way.
    """
    shapes = shapes_by_name(at)
    scale = 1 / np.sqrt(len(shapes))
    v = {name: scale * at.rng.normal(size=shapes[name]) for name in names}
    product = jacobian_vector(at, v, finding)
    if not product.is_exact:
        return None
    differences = difference_quotient(at, v)
    size = norm(product.value) + scale * max(map(norm, v.values())) + TINY
    apart = norm(flat(product.value) - differences.value)
    return apart / size, max(0.0, apart - 2 * differences.uncertainty) / size


def _slopes_nearby(
    at: Case, name: str, direction: npt.NDArray[Any], u: Any, low: float, high: float
) -> tuple[float, float]:
    """The range of slopes at nearby points; backward may also choose any of these.

    If entries tie, as in a sort, the slope at the tie depends on their order; the slope for any
    order nearby is right.
    """
    value = at.theta
    for _ in range(64):
        inputs = tuple(
            x
            if number in at.still
            else x + 1e-6 * at.rng.normal(size=x.shape) * max(float(np.max(np.abs(x))), 1.0)
            for number, x in enumerate(at.inputs)
        )
        near = evolve(at, inputs=inputs)
        if value.size:
            near = near.with_parameters(value + 1e-6 * at.rng.normal(size=value.shape))
        slope = inner(u, jacobian_vector(near, {name: direction}, Finding()).value)
        low, high = min(low, slope), max(high, slope)
    return low, high


def _is_defined(bench: Bench, at: Case) -> bool:
    """Whether `forward` accepts the numbers of a case."""
    try:
        bench.forward(at)
    except UNDEFINED:
        return False
    except Exception:
        return True  # the passes that follow raise it again, with the situation
    return True


def _product_at_the_output(at: Case, name: str, u: Any) -> npt.NDArray[Any] | None:
    """Jᵀ u with J taken at y = f(x) instead of x, for a layer where that makes sense."""
    y = at.forward()
    if len(at.inputs) != 1 or not is_input(name) or np.shape(y) != at.inputs[0].shape:
        return None
    return transposed_product(evolve(at, inputs=(y.astype(at.inputs[0].dtype),)), name, u)


def _forward_product(at: Case, name: str, u: Any) -> npt.NDArray[Any] | None:
    """J u instead of Jᵀ u, if u has the shape for it."""
    if isinstance(u, tuple) or np.shape(u) != shapes_by_name(at)[name]:
        return None
    product = jacobian_vector(at, {name: u}, Finding()).value
    return np.reshape(product, np.shape(u)) if np.size(product) == np.size(u) else None


def _sizes(at: Case) -> dict[str, int]:
    """The sizes that a wrong factor may be equal to."""
    sizes = {"the batch size": at.batch}
    for shape in at.layer.output_shapes:
        sizes["the number of outputs"] = int(np.prod(shape))
    for shape in at.layer.input_shapes:
        sizes["the number of inputs"] = int(np.prod(shape))
    return sizes


def _array_of(at: Case, name: str) -> npt.NDArray[Any]:
    if is_input(name):
        return at.inputs[input_names(len(at.inputs)).index(name)]
    return next(p.value for p in at.parameters if p.path == name)


def _unit(shape: tuple[int, ...], entry: int) -> npt.NDArray[Any]:
    direction = np.zeros(int(np.prod(shape)))
    direction[entry] = 1.0
    return direction.reshape(shape)


def _inner(received: Gradients, v: Direction) -> float:
    return sum(float(np.vdot(received.arrays[name], part)) for name, part in v.items())


def _root(parts: Iterable[float]) -> float:
    return float(np.sqrt(sum(part**2 for part in parts)))


def _largest(at: Case) -> float:
    return max(float(np.max(np.abs(x), initial=0.0)) for x in at.inputs)


def _ratio(part: float, whole: float) -> float:
    return part / max(whole, TINY)
