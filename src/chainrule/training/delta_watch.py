"""The delta watch: warns if deltas vanish or explode before they reach the first layers.

Every layer multiplies the delta by its transposed Jacobian, Δ_{n−1} = J_nᵀ Δ_n. If the J are small,
the deltas **vanish**, and the first layers stay at their initial values; if they are large, the
deltas **explode**, and a learning rate that suits the last layers is far too large for the first.
Neither produces a NaN or an infinity, so the training fails silently.

So in the first step of epochs 1, 4, 16, 64, … the deltas are measured as they pass, and each layer
that learns is compared with the last such layer before the outputs. With |a| the root mean square,
there is a warning if

    |Δ| < 10⁻⁶ |Δ_last|     and     |∂C/∂θ| < 10⁻⁶ |∂C/∂θ_last|        the deltas vanish
    |Δ| > 10⁶ |Δ_last|      and     |∂C/∂θ| > 10⁶ |∂C/∂θ_last|         they explode

Ten layers of sigmoids are below the first bound and no longer learn; thirty of tanh or relu with
suitable weights stay within a factor of twenty. The gradients count too, because the deltas alone
do not say what a layer learns: a layer that is used in many places sums the contributions of all of
them. (Before the first step, the gradients do not count for deltas that explode: no learning rate
can be the cause, and values that grow in the forward pass make all gradients equally large.) And if
an activation has f′ = 0 for all its inputs, such as a relu whose inputs are all negative, no delta
passes it at all: it is **dead**.

Sources: S. Hochreiter, *Untersuchungen zu dynamischen neuronalen Netzen*, diploma thesis, TU
München 1991; X. Glorot and Y. Bengio, *Understanding the difficulty of training deep feedforward
neural networks*, AISTATS 2010, section 4.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from attrs import define, field

from chainrule.core.caller import warn_caller
from chainrule.core.errors import ChainruleError
from chainrule.core.input_checks import as_tuple
from chainrule.core.layer import Layer
from chainrule.core.messages import label
from chainrule.core.terminal import printable
from chainrule.core.types import Array
from chainrule.graph.plan import Plan
from chainrule.graph.unrolling import PlanStep, is_inlined_container
from chainrule.layers.activation import Activation

BOUND = 1e6
"""By which factor deltas and gradients may be smaller or larger than at the last layer."""
ENOUGH_ROWS = 16
"""In how many rows an activation must be flat for a warning: in a few, that happens by chance.
The rows of successive checks are added up."""
SINGLE_LAYER = 1e-3
"""A layer that shrinks the delta by this factor is the cause on its own."""


class DeltasWarning(UserWarning):
    """The deltas do not reach the first layers, or are far too large there.

    Parameters
    ----------
    problem, place, expected, received, hint
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

    @printable
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
    """The deltas vanish in the backward pass: some layers receive almost no gradient."""


class ExplodingDeltasWarning(DeltasWarning):
    """The deltas explode in the backward pass: no learning rate suits all layers."""


class DeadActivationWarning(DeltasWarning):
    """An activation has slope 0 for all its inputs, so no delta passes through it."""


@define(eq=False)
class DeltaWatch:
    """Measures the deltas of some steps of a training run, and warns once.

    Nothing is computed twice: the step is the one that the training takes in any case, and the
    deltas are measured as they pass. If a step accumulates several batches, those of the first one
    are measured, whose deltas are multiplied by its number of rows.

    Parameters
    ----------
    model
        The built model that is trained.

    Attributes
    ----------
    has_warned
        Whether it has warned; after that it is never due again.
    """

    model: Layer
    has_warned: bool = field(default=False, init=False)
    _signals: dict[int, _Signal] = field(factory=dict, init=False, repr=False)  # of each step
    _largest: dict[int, float] = field(factory=dict, init=False, repr=False)  # of each activation
    _sent: tuple[Any, float | None] = field(default=(None, None), init=False, repr=False)
    _flat_rows: dict[str, int] = field(factory=dict, init=False, repr=False)

    def is_due(self, epoch: int) -> bool:
        """Whether to measure the first step of this epoch: 1, 4, 16, 64 and so on."""
        return not self.has_warned and epoch.bit_count() == 1 and epoch.bit_length() % 2 == 1

    def measuring(self) -> contextlib.AbstractContextManager[None]:
        """Within the context, the training step is measured."""
        self._signals, self._largest = {}, {}
        if not is_inlined_container(self.model):
            return contextlib.nullcontext()  # a single step, which has nothing to be compared with
        plan: Plan = self.model.plan  # type: ignore[attr-defined]
        return plan.observed(self._see_forward, self._see_backward)

    def warn(self, epoch: int, step: int) -> None:
        """Warn if a layer's deltas were wrong in the step that was measured.

        Parameters
        ----------
        epoch, step
            Which step, for the message.

        Warns
        -----
        VanishingDeltasWarning, ExplodingDeltasWarning, DeadActivationWarning
            At most one, once in the life of a watch.
        """
        signals, self._sent = list(self._signals.values()), (None, None)
        sizes = [one.size for one in signals]
        are_close = not sizes or max(sizes) < BOUND * min(sizes)
        if are_close and not any(one.is_flat for one in signals):
            self._flat_rows = {}
            return  # whatever the gradients are
        with np.errstate(all="ignore"):
            for one in signals:  # only now: a shared parameter's gradient sums over all its uses
                one.gradient = _gradient(one.step.layer)
        warning = (
            self._dead_activation(signals, epoch)
            or _vanishing(signals, epoch)
            or _exploding(signals, epoch)
        )
        if warning is None:
            return
        self.has_warned = True
        warning.place = f"{warning.place}, epoch {epoch}, step {step}"
        warn_caller(warning)

    def _see_forward(self, step: PlanStep, method: Callable[[Any], Any], given: Any) -> Any:
        if isinstance(step.layer, Activation) and given.size:
            self._largest[id(step)] = float(max(given.max(), -given.min()))
        return method(given)

    def _see_backward(self, step: PlanStep, method: Callable[[Any], Any], given: Any) -> Any:
        sent = method(given)
        if id(step) not in self._signals:  # of several batches of a step, the first is measured
            with contextlib.suppress(Exception), np.errstate(all="ignore"):
                # What is no array is an error of the training, not of the watch.
                self._signals[id(step)] = self._measured(step, method, given, sent)
        return sent

    def _measured(
        self, step: PlanStep, method: Callable[[Any], Any], given: Any, sent: Any
    ) -> _Signal:
        array, size = self._sent  # what the step above sent is what this one takes, in a line
        if given is not array or size is None:
            size = _size(as_tuple(given))
        sent_size = None if sent is None else _size(as_tuple(sent))
        self._sent = sent, sent_size
        largest = self._largest.get(id(step), 0.0)
        is_flat = (
            sent_size == 0
            and isinstance(step.layer, Activation)
            and math.isfinite(largest)
            and not np.any(method(np.ones_like(given)))
        )
        return _Signal(
            step=step,
            place=self.model.plan.place(step),  # type: ignore[attr-defined]
            size=size,
            rows=_rows(given) if is_flat else 0,
            sent=sent_size,
            largest=largest,
            is_flat=is_flat,
        )

    def _dead_activation(self, signals: list[_Signal], epoch: int) -> DeltasWarning | None:
        """The warning for an activation that is flat for all inputs of all checks so far."""
        before, self._flat_rows = self._flat_rows, {}
        for first, lowest, blocked in _blocked_by_flat(signals):
            rows = before.get(lowest.place, 0) + first.rows
            self._flat_rows[lowest.place] = rows
            if rows >= ENOUGH_ROWS:
                return _dead(lowest, blocked, rows, is_new=epoch == 1)
        return None


# ------------------------------------------------------------------------------- one step


@define(eq=False)
class _Signal:
    """What a step received and returned in the backward pass.

    Attributes
    ----------
    step, place
        The step and its path in the model.
    size
        |Δ| that it received.
    rows
        In how many rows Δ is not zero, for a flat activation.
    sent
        |Jᵀ Δ| that it returned; None if nothing needed it.
    largest
        The largest |z| of its inputs, for an activation.
    is_flat
        Whether it is an activation with f′ = 0 for all inputs.
    gradient
        |∂C/∂θ| of its parameter for which that is largest; None if it learns nothing.
    """

    step: PlanStep
    place: str
    size: float
    rows: int
    sent: float | None
    largest: float
    is_flat: bool
    gradient: float | None = None


def _gradient(layer: Layer) -> float | None:
    sizes = [
        _size((parameter.grad,))
        for _, member in layer.walk()
        for parameter in member._parameters.values()
        if parameter.trainable and parameter.size
    ]
    return max(sizes, default=None)


def _rows(delta: Array) -> int:
    return int(np.count_nonzero(np.any(delta.reshape(len(delta), -1), axis=1)))


def _size(arrays: tuple[Array, ...]) -> float:
    """√(Σ aᵢ²/n) over all numbers; zero if there are none."""
    squares, count = 0.0, 0
    flat = [array.ravel() for array in arrays]
    for each in flat:
        squares += float(each.dot(each))
        count += each.size
    if SAFE < squares < 1 / SAFE:
        return math.sqrt(squares / count)
    return _size_of_extremes(np.concatenate(flat).astype(np.float64))


SAFE = 1e-30
"""A sum of squares between this and its inverse has neither overflowed nor underflowed."""


def _size_of_extremes(flat: Array) -> float:
    largest = float(np.max(np.abs(flat), initial=0.0))
    if largest == 0 or not np.isfinite(largest):
        return largest
    # Divided by the largest number, the squares neither overflow nor underflow.
    return largest * math.sqrt(np.mean((flat / largest) ** 2))


# ------------------------------------------------------------------------------- comparison


def _compared(signals: list[_Signal]) -> Iterator[tuple[_Signal, _Signal]]:
    """Each step that learns, after the last such step above it; of several, the largest signal.

    The reference is the last layer that learns and not the loss: for a good fit of probabilities,
    ∂C/∂y = −1/y is large, and the softmax below rightly returns almost nothing.
    """
    last: dict[int, _Signal] = {}  # by slot: the reference for the steps below
    for one in signals:
        above = [last[slot] for slot in one.step.makes if slot in last]
        if not above and one.gradient is None:
            continue
        reference = max(above, key=lambda top: top.size, default=one)
        if one.gradient is not None:
            yield reference, one
        for slot in one.step.takes:
            if slot not in last or last[slot].size < reference.size:
                last[slot] = reference


def _blocked_by_flat(signals: list[_Signal]) -> Iterator[tuple[_Signal, _Signal, _Signal]]:
    """A flat activation, the lowest flat one below it, and the first layer below that is blocked.

    If a relu is dead, the relus above it may be flat as a consequence: their inputs are zero.
    """
    flat: dict[int, tuple[_Signal, _Signal]] = {}  # by slot: the first flat one, and the lowest
    has_learned: set[int] = set()  # slots above which a layer learns
    found: dict[str, tuple[_Signal, _Signal, _Signal]] = {}
    for one in signals:
        is_last = has_learned.isdisjoint(one.step.makes)
        above = None
        if one.size == 0:
            above = next((flat[slot] for slot in one.step.makes if slot in flat), None)
        if one.is_flat and above is not None:
            above = above[0], one
        elif one.is_flat and one.size > 0 and (not is_last or _name(one) == "relu"):
            # A sigmoid at the output may also have slope zero, when its answers are right.
            above = one, one
        elif above is not None and one.gradient == 0:
            first, lowest = above
            if found.get(first.place, (None, None))[1] is not lowest:
                found[first.place] = first, lowest, one
        if above is not None:
            flat.update(dict.fromkeys(one.step.takes, above))
        if not is_last or one.gradient is not None:
            has_learned.update(one.step.takes)
    yield from found.values()


def _name(one: _Signal) -> str | None:
    """The name of an activation's function; None for other layers."""
    return one.step.layer.function.name if isinstance(one.step.layer, Activation) else None


# ------------------------------------------------------------------------------- messages

SEE = "print(chainrule.trace(model, x, t, loss)), for a batch x, t: |Δ| and |∂C/∂θ| of every layer"
SKIP_CONNECTIONS = "skip connections, Residual(…) around every few layers"
INITIALIZERS = 'initializer="glorot_uniform", or "he_normal" before a relu'
SLOWER = "start over with a smaller learning rate"


def _vanishing(signals: list[_Signal], epoch: int) -> DeltasWarning | None:
    pairs = [
        (last, one)
        for last, one in _compared(signals)
        if 0 < one.size * BOUND < last.size < np.inf
        and (one.gradient or 0) * BOUND < (last.gradient or 0) < np.inf
    ]
    if not pairs:
        return None
    last, one = pairs[0]
    passed = signals[signals.index(last) : signals.index(one)]
    if epoch == 1 and any(above.gradient and _shrinks_delta(above) for above in passed):
        return None  # weights that start at zero, or all equal, will grow: wait for the next check
    return VanishingDeltasWarning(
        f"the deltas vanish in the backward pass: {_with_more(one, pairs)} almost nothing",
        place=one.place,
        expected=_expected(last),
        received=f"|Δ| = {one.size:.1e} here, {_times(last.size / one.size)} smaller; "
        "its gradients likewise",
        hint=_hint_for_vanishing(passed, is_new=epoch == 1),
    )


def _exploding(signals: list[_Signal], epoch: int) -> DeltasWarning | None:
    pairs = [
        (last, one)
        for last, one in _compared(signals)
        if 0 < last.size * BOUND < one.size < np.inf
        and (epoch == 1 or 0 < (last.gradient or 0) * BOUND < (one.gradient or 0) < np.inf)
    ]
    if not pairs:
        return None
    last, one = pairs[0]
    return ExplodingDeltasWarning(
        f"the deltas explode in the backward pass: {_with_more(one, pairs)} far too fast",
        place=one.place,
        expected=_expected(last),
        received=f"|Δ| = {one.size:.1e} here, {_times(one.size / last.size)} larger",
        hint=f"smaller initial weights, {INITIALIZERS}; or clip_norm=1.0 in the optimizer, which "
        "limits its steps",
    )


def _dead(flat: _Signal, blocked: _Signal, rows: int, is_new: bool) -> DeltasWarning:
    if _name(flat) == "relu":
        received = f"y = 0 and f′ = 0 everywhere: no input is above 0 in {rows:,} rows"
        otherwise = 'Activation("leaky_relu"), whose slope is never 0'
        first = "initial biases above 0, bias_initializer=0.1" if is_new else SLOWER
    else:
        received = f"f′ = 0 everywhere, for inputs of up to ±{flat.largest:.3g} in {rows:,} rows"
        otherwise = "scale the data to about 1 in size"
        first = "smaller initial weights" if is_new else SLOWER
    return DeadActivationWarning(
        f"{label(flat.step.layer)} is dead: no delta passes through it, "
        f"and {blocked.place} learns nothing",
        place=flat.place,
        expected="f′ ≠ 0 for some of its inputs",
        received=received,
        hint=f"{first}; or {otherwise}",
    )


def _hint_for_vanishing(passed: list[_Signal], is_new: bool) -> str:
    """The hint, by the layers that the deltas have passed."""
    names = {_name(one) for one in passed}
    for one in passed:
        if _name(one) is not None and _shrinks_delta(one):
            otherwise = "use smaller initial weights" if is_new else SLOWER
            return (
                f"{one.place} is saturated, with inputs of up to ±{one.largest:.3g}: "
                f"scale the data to about 1 in size, or {otherwise}"
            )
    if "sigmoid" in names:
        return (
            'Activation("tanh"), since the slope of a sigmoid is at most 1/4; '
            f"or {SKIP_CONNECTIONS}"
        )
    if "relu" in names:
        return (
            'initializer="he_normal", which compensates for the half that is 0; '
            f"or {SKIP_CONNECTIONS}"
        )
    return f"larger initial weights, {INITIALIZERS}; or {SKIP_CONNECTIONS}"


def _shrinks_delta(one: _Signal) -> bool:
    return one.sent is not None and one.sent < SINGLE_LAYER * one.size


def _expected(last: _Signal) -> str:
    return f"about |Δ| = {last.size:.1e}, as in {last.place}, the last layer that learns"


def _with_more(one: _Signal, pairs: list[tuple[_Signal, _Signal]]) -> str:
    """``sequential/dense_8 and 7 more layers before it learn``."""
    more = len(pairs) - 1
    if not more:
        return f"{one.place} learns"
    return f"{one.place} and {more} more layer{'s' if more > 1 else ''} before it learn"


def _times(factor: float) -> str:
    return f"{factor:.1e} times"
