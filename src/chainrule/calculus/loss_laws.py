"""The nine laws of a loss: the laws of a layer, for a cost C with its delta ∂C/∂y.

    ⟨Δ, v⟩ = dC(y; v)        the first law: the delta is the gradient of the cost

The right side comes from dual numbers sent through the cost, the left from ``loss.delta``.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import attrs
import numpy as np
import numpy.typing as npt
from attrs import define, evolve

from chainrule.calculus.diagnosis import factor, worst_entry
from chainrule.calculus.dual import Dual
from chainrule.calculus.test_case import BY_DIFFERENCES, EXACT, Finding, LawViolation
from chainrule.core import input_checks
from chainrule.core.errors import ChainruleError, DefinitionError, NoTangentRuleError

TINY = np.finfo(float).tiny


@define
class LossCase:
    """A loss, and a batch to check it with."""

    loss: Any
    y: npt.NDArray[Any]
    target: npt.NDArray[Any]
    weights: npt.NDArray[Any]
    rng: np.random.Generator

    def cost(self, y: Any = None) -> Any:
        """C for copies of the arrays, with the sample weights."""
        y = self.y.copy() if y is None else y
        return self.loss(y, self.target.copy(), self.weights.copy())

    def delta(self) -> npt.NDArray[Any]:
        """∂C/∂y, also for copies."""
        found = self.loss.delta(self.y.copy(), self.target.copy(), self.weights.copy())
        return np.asarray(found)

    def counted(self) -> float:
        """How many rows or labels the average C is over."""
        counted = getattr(self.loss, "counted", None)
        return len(self.y) if counted is None else float(counted(self.y.shape, self.target))

    def rows(self, rows: slice) -> LossCase:
        """The same loss with some of the rows."""
        return evolve(self, y=self.y[rows], target=self.target[rows], weights=self.weights[rows])


def candidates(
    loss: Any, shape: tuple[int, ...], rng: np.random.Generator, outputs: Any, targets: Any
) -> list[LossCase]:
    """Batches that the loss accepts, from the usual kinds of outputs and targets."""
    full = (7, *shape)
    classes = shape[-1] if shape else 1
    wanted = full if not hasattr(loss, "target_shape") else (7, *loss.target_shape(shape))
    powers = np.exp(rng.normal(size=full))
    ys = [rng.normal(size=full), powers / powers.sum(axis=-1, keepdims=True)]
    labels = rng.integers(0, max(classes, 2) if shape else 2, size=full[:-1])
    kinds = [
        rng.normal(size=wanted),
        rng.uniform(size=wanted),
        labels,
        np.eye(max(classes, 2))[labels][..., :classes],
    ]
    if not getattr(loss, "takes_targets", True):
        kinds = [np.zeros((7, 0))]
    if outputs is not None:
        ys = [outputs(full)]
    ignored = getattr(loss, "ignore", None)
    if ignored is not None:  # every third label does not count
        kinds.append(np.where(np.arange(labels.size).reshape(labels.shape) % 3, labels, ignored))
    if targets is not None:
        kinds = [targets(wanted)]
    weights = rng.uniform(0.5, 2.0, size=7)
    found: dict[int, LossCase] = {}
    for y in ys:
        for number, target in enumerate(kinds):
            case = LossCase(loss, y, target, weights, rng)
            if number not in found and _accepts(case):
                found[number] = case
    return list(found.values())


def _accepts(case: LossCase) -> bool:
    try:
        with np.errstate(all="ignore"):
            return bool(np.isfinite(case.cost()) and np.all(np.isfinite(case.delta())))
    except DefinitionError:
        raise  # the loss itself is faulty, and the error says why
    except (ChainruleError, ValueError, TypeError, IndexError):
        return False  # the loss does not accept such targets


def adjoint(case: LossCase) -> Finding:
    """⟨Δ, v⟩ = dC(y; v): the delta is the gradient of the cost."""
    delta, v = case.delta(), case.rng.normal(size=case.y.shape)
    if delta.shape != case.y.shape:
        raise LawViolation(f"delta has the shape {delta.shape}, but the output has {case.y.shape}")
    slope, tolerance, remarks = _slope(case, v)
    along = delta * v
    error = abs(along.sum() - slope) / (np.abs(along).sum() + abs(slope) + TINY)
    if not error <= tolerance:
        raise LawViolation(_diagnosed(case, delta), float(error))
    return Finding(float(error), tolerance, remarks)


def tangent(case: LossCase) -> Finding:
    """dC(y; v) from dual numbers agrees with central differences."""
    v = case.rng.normal(size=case.y.shape)
    slope, tolerance, remarks = _slope(case, v)
    differences, uncertainty = _differences(case, v)
    error = abs(slope - differences) / (abs(slope) + 1.0)
    if tolerance == EXACT and not error - uncertainty <= BY_DIFFERENCES:
        raise LawViolation("dual numbers and central differences disagree", float(error))
    return Finding(float(error), BY_DIFFERENCES, remarks)


def accumulate(case: LossCase) -> Finding:
    """The cost of a batch is the average of the costs of its parts, weighted by what they count."""
    parts = [case.rows(slice(0, 3)), case.rows(slice(3, None))]
    total = sum(float(part.cost()) * part.counted() for part in parts) / max(case.counted(), 1)
    cost = float(case.cost())
    error = abs(total - cost) / (abs(cost) + TINY)
    if not error <= EXACT:
        raise LawViolation(
            "the costs of 3 and 4 rows do not average to the cost of all 7: is the cost an average "
            "over the rows?",
            error,
        )
    return Finding(error, EXACT)


def purity(case: LossCase) -> Finding:
    """Outputs, targets and weights are never changed, nor are arrays that were returned."""
    given = {"the output": case.y, "the target": case.target, "the weights": case.weights}
    copies = {what: array.copy() for what, array in given.items()}
    arguments = tuple(copies.values())
    case.loss(*arguments)
    delta = case.loss.delta(*arguments)
    before = np.array(delta)
    case.loss.value_and_delta(*arguments)
    case.loss.delta(_other_output(case), *arguments[1:])
    for what, array in given.items():
        if not np.array_equal(array, copies[what]):
            raise LawViolation(f"{what} has changed: the loss writes into it")
    if not np.array_equal(before, delta):
        raise LawViolation("the delta that was returned has changed: a later call writes into it")
    return Finding()


def _other_output(case: LossCase) -> Any:
    """Another output that the loss accepts: the same rows in another order."""
    return np.roll(case.y, 1, axis=0)


def repeatable(case: LossCase) -> Finding:
    """The same output and target give the same cost and delta."""
    if case.cost() != case.cost() or not np.array_equal(case.delta(), case.delta()):
        raise LawViolation("a second call gives a different result")
    return Finding()


def batch(case: LossCase) -> Finding:
    """Rows do not influence each other; weight zero excludes a row; an empty batch costs 0."""
    none = case.rows(slice(0, 0))
    if float(none.cost()) != 0.0 or none.delta().shape != none.y.shape:
        raise LawViolation("an empty batch should cost 0 and have an empty delta")
    whole, worst = case.delta(), 0.0
    for n in range(len(case.y)):
        row = case.rows(slice(n, n + 1))
        alone = row.delta()[0] * row.counted() / max(case.counted(), 1)
        error = float(np.linalg.norm(alone - whole[n]) / (np.linalg.norm(alone) + TINY))
        worst = max(worst, error)
        if not error <= EXACT:
            words = factor(whole[n], alone, {"the batch size": len(case.y)}) or ""
            raise LawViolation(
                f"the delta of row {n} in a batch is not 1/batch times its delta alone. {words}",
                error,
            )
    silent = evolve(case, weights=np.where(np.arange(len(whole)) == 0, 0.0, case.weights))
    if np.any(silent.delta()[0]):
        raise LawViolation("a row with weight zero has a nonzero delta")
    return Finding(worst, EXACT)


def dtype(case: LossCase) -> Finding:
    """float32 in, float32 out; float64 likewise."""
    for kind in input_checks.DTYPES:
        at = evolve(case, y=case.y.astype(kind))
        for what, found in (("the cost", at.cost()), ("the delta", at.delta())):
            if found.dtype != kind:
                raise LawViolation(f"the input is {kind}, but {what} is {found.dtype}")
    return Finding()


def memory(case: LossCase) -> Finding:
    """The loss has no memory: `value_and_delta` always gives the cost and its delta."""
    cost, delta = case.cost(), case.delta()
    case.loss.value_and_delta(_other_output(case), case.target, case.weights)
    both = case.loss.value_and_delta(case.y, case.target, case.weights)
    errors = [
        abs(float(both[0]) - float(cost)) / (abs(float(cost)) + TINY),
        float(np.linalg.norm(both[1] - delta) / (np.linalg.norm(delta) + TINY)),
    ]
    if not max(errors) <= EXACT:
        raise LawViolation("value_and_delta disagrees with the loss and its delta", max(errors))
    return Finding(max(errors), EXACT)


def returns(case: LossCase) -> Finding:
    """The configuration survives conversion to JSON; the copy computes the same."""
    loss = case.loss
    if not attrs.has(type(loss)):
        raise LawViolation("the class is not decorated with @define, so it has no configuration")
    fields = {f.name: getattr(loss, f.name) for f in attrs.fields(type(loss)) if f.init}
    try:
        copy = type(loss)(**json.loads(json.dumps(fields)))
    except (TypeError, ValueError) as error:
        raise LawViolation(f"the configuration cannot be written as JSON: {error}") from error
    if copy != loss or evolve(case, loss=copy).cost() != case.cost():
        raise LawViolation(f"the configuration {loss!r} was read back as {copy!r}")
    return Finding()


LOSS_LAWS: dict[str, Callable[[LossCase], Finding]] = {
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


def _slope(case: LossCase, v: npt.NDArray[Any]) -> tuple[float, float, list[str]]:
    """dC(y; v), the tolerance of the method used, and remarks on it."""
    try:
        cost = case.cost(Dual(case.y.copy(), v))
        if isinstance(cost, Dual) and np.isfinite(cost.tangent):
            return float(cost.tangent), EXACT, []
        remark = "by central differences: the cost loses its tangent"
    except NoTangentRuleError as error:
        remark = f"by central differences: {error.problem}"
    slope, uncertainty = _differences(case, v)
    return slope, BY_DIFFERENCES + 2 * uncertainty, [remark]


def _differences(case: LossCase, v: npt.NDArray[Any]) -> tuple[float, float]:
    quotients = [
        float(case.cost(case.y + h * v) - case.cost(case.y - h * v)) / (2 * h) for h in (1e-5, 1e-6)
    ]
    return quotients[0], abs(quotients[0] - quotients[1])


def _diagnosed(case: LossCase, delta: npt.NDArray[Any]) -> str:
    expected = np.zeros(delta.size)
    for entry in range(delta.size):
        direction = np.zeros(delta.size)
        direction[entry] = 1.0
        expected[entry] = _slope(case, direction.reshape(delta.shape))[0]
    right = expected.reshape(delta.shape)
    sizes = {"the batch size": len(delta), "the number of outputs": int(np.prod(delta.shape[1:]))}
    words = factor(delta, right, sizes) or "No simple factor or sign."
    return f"the delta is not the gradient of the cost.\n{words}\n{worst_entry(delta, right)}"
