"""A watch on the deltas: whether they reach the first layers, and how large they are there.

Every layer multiplies the delta by its transposed Jacobian, Δ_{n−1} = J_nᵀ Δ_n. Where the J are
small, the deltas **vanish**, and the first layers stay as they were drawn; where they are large,
the deltas **explode**, and a learning rate that suits the last layers is far too large for the
first. Neither makes a number that is not finite. A training that goes wrong in this way just goes
on, and what it lacks is somebody who looks.

So before the first step of the epochs 1, 4, 16, 64, … a batch is sent through a copy of the model,
and each layer that learns is compared with the one nearest to the outputs. With |a| the root mean
square, it is told where

    |Δ| < 10⁻⁶ |Δ_last|     and     |∂C/∂θ| < 10⁻⁶ |∂C/∂θ_last|        the deltas vanish
    |Δ| > 10⁶ |Δ_last|      and     |∂C/∂θ| > 10⁶ |∂C/∂θ_last|         they explode

Ten layers of sigmoids are below that, and no longer learn; thirty of tanh or relu with weights
that suit them keep within a factor of twenty. The gradients are asked, too, because the deltas
alone do not say what a layer learns: one that is used in many places adds up what it hears in all
of them. (Not of deltas that explode before the first step, for which no learning rate can be to
blame: values that grow on the way up make all gradients equally large.) And where an activation
has f′ = 0 for all its inputs, as a relu for which all are negative, no delta comes back at all: it
has **died**.

Sources: S. Hochreiter, *Untersuchungen zu dynamischen neuronalen Netzen*, diploma thesis, TU
München 1991; X. Glorot and Y. Bengio, *Understanding the difficulty of training deep feedforward
neural networks*, AISTATS 2010, section 4.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from attrs import define, field, frozen

from chainrule.core.caller import warn_caller
from chainrule.core.errors import ChainruleError
from chainrule.core.layer import Layer
from chainrule.core.messages import label
from chainrule.core.types import Array
from chainrule.graph.plan import Plan
from chainrule.graph.unrolling import PlanStep
from chainrule.layers.activation import Activation
from chainrule.losses import Loss

BOUND = 1e6
"""How many times smaller or larger than at the last layer deltas and gradients may become."""
ROWS = 256
"""How many rows of a batch are looked at."""
ENOUGH_ROWS = 16
"""In so many rows an activation must be flat before it is told: in a few, that happens by chance.
Those of several looks count together."""
AT_ONCE = 1e-3
"""A layer that makes the delta so much smaller at once is to blame by itself."""


class DeltasWarning(UserWarning):
    """What is told of deltas that do not do what they are there for.

    Parameters
    ----------
    problem, place, expected, received, mend
        As in a `ChainruleError`.
    """

    def __init__(
        self, problem: str, *, place: str, expected: str, received: str, hint: str
    ) -> None:
        super().__init__(problem)
        self.problem = problem
        self.place = place
        self.expected = expected
        self.received = received
        self.hint = hint

    def __str__(self) -> str:
        lines = ChainruleError(
            self.problem,
            place=self.place,
            expected=self.expected,
            received=self.received,
            hint=self.hint,
        )
        return f"{lines}\n  {'see':<8}  {SEE}"


class VanishingDeltasWarning(DeltasWarning):
    """The deltas vanish on their way back: some layers hear next to nothing of the cost."""


class ExplodingDeltasWarning(DeltasWarning):
    """The deltas explode on their way back: no learning rate suits all layers."""


class DeadActivationWarning(DeltasWarning):
    """An activation has the slope 0 for all its inputs, so that no delta comes back through it."""


@define(eq=False)
class DeltaWatch:
    """Looks at the deltas of a training from time to time, and warns once.

    Parameters
    ----------
    model
        What is trained; it is built. It is never changed: all is done with a copy.
    loss
        What gives the first delta.

    Attributes
    ----------
    has_warned
        Whether it has warned. Then it is never due again.
    """

    model: Layer
    loss: Loss
    has_warned: bool = field(default=False, init=False)
    _flat_rows: dict[str, int] = field(factory=dict, init=False, repr=False)

    def is_due(self, epoch: int) -> bool:
        """Whether to look before the first step of this epoch: 1, 4, 16, 64 and so on."""
        return not self.has_warned and epoch.bit_count() == 1 and epoch.bit_length() % 2 == 1

    def look(
        self, inputs: tuple[Array, ...], target: Any, sample_weights: Any, epoch: int, step: int
    ) -> None:
        """Send a batch through a copy of the model, and warn where a layer hears too little.

        What fails in this, such as a layer's `backward`, is left for the training to tell.

        Parameters
        ----------
        inputs, target, sample_weights
            The batch of a step, as the model and the loss take it; 256 rows of it are enough.
        epoch, step
            Which step, for the message.

        Warns
        -----
        VanishingDeltasWarning, ExplodingDeltasWarning, DeadActivationWarning
            Once in the life of a watch.
        """
        try:
            batch = _first_rows(inputs, target, sample_weights)
            with np.errstate(all="ignore"), draws_taken_back(self.model):
                heard = _heard(self.model, self.loss, *batch)
        except Exception:
            return
        warning = self._died(heard, epoch) or _vanish(heard, epoch) or _explode(heard, epoch)
        if warning is None:
            return
        self.has_warned = True
        warning.place = f"{warning.place}, epoch {epoch}, step {step}"
        warn_caller(warning)

    def _died(self, heard: list[_Heard], epoch: int) -> DeltasWarning | None:
        """The warning for an activation that is flat for all inputs of all looks so far."""
        before, self._flat_rows = self._flat_rows, {}
        for began, lowest, deaf in _behind_what_is_flat(heard):
            rows = before.get(lowest.place, 0) + began.rows
            self._flat_rows[lowest.place] = rows
            if rows >= ENOUGH_ROWS:
                return _died(lowest, deaf, rows, is_new=epoch == 1)
        return None


# ------------------------------------------------------------------------------- a look


@frozen(eq=False)
class _Heard:
    """What a step heard on the way back.

    Attributes
    ----------
    step, place
        The step, and where it stands.
    size
        |Δ| of what it was given.
    rows
        In how many rows that was not zero.
    sent
        |Jᵀ Δ|, of what it sent back; None where nobody asked for it.
    gradient
        |∂C/∂θ| of that of its parameters for which it is largest; None where it learns nothing.
    largest
        Of an activation, the largest |z| that it was given.
    is_flat
        Whether it is an activation with f′ = 0 for all of them.
    """

    step: PlanStep
    place: str
    size: float
    rows: int
    sent: float | None
    gradient: float | None
    largest: float
    is_flat: bool


def _heard(
    model: Layer, loss: Loss, inputs: tuple[Array, ...], target: Any, weights: Any
) -> list[_Heard]:
    """One pass forward and back through a copy: what each step hears, the outputs first."""
    model = copy.deepcopy(model)
    model.parameters.zero_grad()
    plan = Plan.of(model)
    values: dict[int, Array] = dict(zip(plan.inputs, inputs, strict=True))
    largest: dict[int, float] = {}
    for step, taken, made in plan.steps_forward(inputs):
        values.update(zip(step.makes, made, strict=True))
        if isinstance(step.layer, Activation):
            largest[id(step)] = float(np.max(np.abs(taken[0]), initial=0))
    y = tuple(values[slot] for slot in plan.outputs)
    _, delta = loss.value_and_delta(y[0] if len(y) == 1 else y, target, weights)
    noted = []
    for step, given, sent in plan.steps_backward(delta, parameters_only=True):
        size, back = _size(*given), _size(*sent) if sent else None
        is_flat = back == 0 and np.isfinite(largest.get(id(step), np.inf))
        is_flat = is_flat and _is_flat(step.layer, given)
        noted.append((step, size, _rows(given[0]), back, is_flat))
    return [  # last, for a parameter's gradient is the sum over all places where it is used
        _Heard(step, plan.place(step), size, rows, back, _gradient(step.layer),
               largest.get(id(step), 0.0), is_flat)
        for step, size, rows, back, is_flat in noted
    ]  # fmt: skip


def _is_flat(layer: Layer, given: tuple[Array, ...]) -> bool:
    """Whether an activation's slope, Jᵀ · 1, is zero everywhere."""
    return isinstance(layer, Activation) and not np.any(layer.backward(np.ones_like(given[0])))


def _gradient(layer: Layer) -> float | None:
    sizes = [_size(p.grad) for p in layer.parameters if p.trainable and p.size]
    return max(sizes, default=None)


def _rows(delta: Array) -> int:
    return int(np.count_nonzero(np.any(delta.reshape(len(delta), -1), axis=1)))


def _size(*arrays: Array) -> float:
    """√(Σ aᵢ²/n) over all numbers, in float64; of none, zero."""
    flat = np.concatenate([np.ravel(array) for array in arrays]).astype(np.float64)
    largest = float(np.max(np.abs(flat), initial=0.0))
    if largest == 0 or not np.isfinite(largest):
        return largest
    # Squares of what is divided by the largest neither overflow nor vanish.
    return largest * float(np.sqrt(np.mean((flat / largest) ** 2)))


def _first_rows(inputs: tuple[Array, ...], target: Any, weights: Any) -> tuple[Any, Any, Any]:
    if len(inputs[0]) <= ROWS:
        return inputs, target, weights
    part = slice(ROWS)
    several = isinstance(target, tuple)
    return (
        tuple(x[part] for x in inputs),
        tuple(t[part] for t in target) if several else target[part],
        None if weights is None else weights[part],
    )


@contextmanager
def draws_taken_back(model: Layer) -> Iterator[None]:
    """Put generators back that a layer was given, which its copy shares with it."""
    held = [
        value
        for _, layer in model.walk()
        for value in layer.attributes().values()
        if isinstance(value, np.random.Generator)
    ]
    states = [generator.bit_generator.state for generator in held]
    try:
        yield
    finally:
        for generator, state in zip(held, states, strict=True):
            generator.bit_generator.state = state


# ------------------------------------------------------------------------------- what is compared


def _compared(heard: list[_Heard]) -> Iterator[tuple[_Heard, _Heard]]:
    """Each step that learns, with the last such step above it: of several, the loudest.

    With the last that learns, and not with the loss: of a good fit by probabilities, ∂C/∂y is
    −1/y, and the softmax below makes next to nothing of it, as it should.
    """
    last: dict[int, _Heard] = {}  # by slot, what has heard more of the same
    for one in heard:
        above = [last[slot] for slot in one.step.makes if slot in last]
        if not above and one.gradient is None:
            continue
        loudest = max(above, key=lambda top: top.size, default=one)
        if one.gradient is not None:
            yield loudest, one
        for slot in one.step.takes:
            if slot not in last or last[slot].size < loudest.size:
                last[slot] = loudest


def _behind_what_is_flat(heard: list[_Heard]) -> Iterator[tuple[_Heard, _Heard, _Heard]]:
    """What is flat, the lowest that is flat behind it, and the first behind that to learn nothing.

    Where a relu has died, the relus above it may be flat because of it: their inputs are zero.
    """
    flat: dict[int, tuple[_Heard, _Heard]] = {}  # by slot: where it began, and the lowest
    has_learned: set[int] = set()  # slots above which something learns
    found: dict[str, tuple[_Heard, _Heard, _Heard]] = {}
    for one in heard:
        is_last = has_learned.isdisjoint(one.step.makes)
        above = None
        if one.size == 0:
            above = next((flat[slot] for slot in one.step.makes if slot in flat), None)
        if one.is_flat and above is not None:
            above = above[0], one
        elif one.is_flat and one.size > 0 and (not is_last or _name(one) == "relu"):
            # The slope of a sigmoid at the very end is zero, too, where it has become right.
            above = one, one
        elif above is not None and one.gradient == 0:
            began, lowest = above
            if found.get(began.place, (None, None))[1] is not lowest:
                found[began.place] = began, lowest, one
        if above is not None:
            flat.update(dict.fromkeys(one.step.takes, above))
        if not is_last or one.gradient is not None:
            has_learned.update(one.step.takes)
    yield from found.values()


def _name(one: _Heard) -> str | None:
    """The name of an activation's function."""
    return one.step.layer.function.name if isinstance(one.step.layer, Activation) else None


# ------------------------------------------------------------------------------- what is said

SEE = "print(chainrule.trace(model, x, t, loss)), for a batch x, t: |Δ| and |∂C/∂θ| of every layer"
SHORT_CUTS = "short cuts, Residual(…) around every few layers"
BEGIN = 'initializer="glorot_uniform", or "he_normal" before a relu'


def _vanish(heard: list[_Heard], epoch: int) -> DeltasWarning | None:
    deaf = [
        (last, one)
        for last, one in _compared(heard)
        if 0 < one.size * BOUND < last.size < np.inf
        and (one.gradient or 0) * BOUND < (last.gradient or 0) < np.inf
    ]
    if not deaf:
        return None
    last, one = deaf[0]
    passed = heard[heard.index(last) : heard.index(one)]
    if epoch == 1 and any(above.gradient and _shrinks_at_once(above) for above in passed):
        return None  # weights that begin as all zero, or all the same, grow: see in epoch 2
    return VanishingDeltasWarning(
        f"the deltas vanish on their way back: {_with_more(one, deaf)} next to nothing",
        place=one.place,
        expected=_expected(last),
        received=f"|Δ| = {one.size:.1e} here, {_times(last.size / one.size)} smaller; "
        "its gradients likewise",
        hint=_mend_of_vanishing(passed, is_new=epoch == 1),
    )


def _explode(heard: list[_Heard], epoch: int) -> DeltasWarning | None:
    loud = [
        (last, one)
        for last, one in _compared(heard)
        if 0 < last.size * BOUND < one.size < np.inf
        and (epoch == 1 or 0 < (last.gradient or 0) * BOUND < (one.gradient or 0) < np.inf)
    ]
    if not loud:
        return None
    last, one = loud[0]
    return ExplodingDeltasWarning(
        f"the deltas explode on their way back: {_with_more(one, loud)} far too fast",
        place=one.place,
        expected=_expected(last),
        received=f"|Δ| = {one.size:.1e} here, {_times(one.size / last.size)} larger",
        hint=f"smaller weights to begin with, {BEGIN}; clip_norm=1.0 of the optimizer keeps "
        "its steps short",
    )


def _died(flat: _Heard, deaf: _Heard, rows: int, is_new: bool) -> DeltasWarning:
    if _name(flat) == "relu":
        received = f"y = 0 and f′ = 0 throughout: no input is above 0, in {rows:,} rows"
        otherwise = 'Activation("leaky_relu"), whose slope is never 0'
        first = "first biases above 0, bias_initializer=0.1" if is_new else SLOWER
    else:
        received = f"f′ = 0 throughout, for inputs of up to ±{flat.largest:.3g}, in {rows:,} rows"
        otherwise = "data of about 1 in size"
        first = "smaller weights to begin with" if is_new else SLOWER
    return DeadActivationWarning(
        f"{label(flat.step.layer)} has died: no delta comes back through it, "
        f"and {deaf.place} learns nothing",
        place=flat.place,
        expected="f′ ≠ 0 for some of its inputs",
        received=received,
        hint=f"{first}; or {otherwise}",
    )


SLOWER = "train anew with a smaller learning rate"


def _mend_of_vanishing(passed: list[_Heard], is_new: bool) -> str:
    """What to do, by what the deltas have passed through."""
    names = {_name(one) for one in passed}
    for one in passed:
        if _name(one) is not None and _shrinks_at_once(one):
            first = "begin with smaller weights" if is_new else SLOWER
            return (
                f"{one.place} is saturated, with inputs of up to ±{one.largest:.3g}: "
                f"scale the data to about 1 in size, or {first}"
            )
    if "sigmoid" in names:
        return f'Activation("tanh"), for the slope of a sigmoid is at most 1/4; or {SHORT_CUTS}'
    if "relu" in names:
        return f'initializer="he_normal", which makes up for the half that is 0; or {SHORT_CUTS}'
    return f"larger weights to begin with, {BEGIN}; or {SHORT_CUTS}"


def _shrinks_at_once(one: _Heard) -> bool:
    return one.sent is not None and one.sent < AT_ONCE * one.size


def _expected(last: _Heard) -> str:
    return f"about |Δ| = {last.size:.1e}, as in {last.place}, the last layer that learns"


def _with_more(one: _Heard, told: list[tuple[_Heard, _Heard]]) -> str:
    """``sequential/dense_8 and 7 layers before it learn``."""
    more = len(told) - 1
    if not more:
        return f"{one.place} learns"
    return f"{one.place} and {more} more layer{'s' if more > 1 else ''} before it learn"


def _times(factor: float) -> str:
    return f"{factor:.1e} times"
