"""The delta watch: warns if deltas vanish or explode before they reach the first layers.

Every layer multiplies the delta by its transposed Jacobian, Δ_{n−1} = J_nᵀ Δ_n. If the J are small,
the deltas **vanish**, and the first layers stay at their initial values; if they are large, the
deltas **explode**, and a learning rate that suits the last layers is far too large for the first.
Neither produces a NaN or an infinity, so the training fails silently.

So before the first step of epochs 1, 4, 16, 64, … a batch is sent through a copy of the model, and
each layer that learns is compared with the last such layer before the outputs. With |a| the root
mean square, there is a warning if

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

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from attrs import define, field, frozen

from chainrule.core import layer_state
from chainrule.core.caller import warn_caller
from chainrule.core.errors import ChainruleError
from chainrule.core.layer import Layer
from chainrule.core.messages import label
from chainrule.core.terminal import printable
from chainrule.core.types import Array
from chainrule.data.samples import each_array
from chainrule.graph.plan import Plan
from chainrule.graph.unrolling import PlanStep
from chainrule.layers.activation import Activation
from chainrule.losses import Loss

BOUND = 1e6
"""By which factor deltas and gradients may be smaller or larger than at the last layer."""
ROWS = 256
"""How many rows of a batch are used."""
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
    """Checks the deltas of a training run from time to time, and warns once.

    Parameters
    ----------
    model
        The built model that is trained. It never changes: the check uses a copy.
    loss
        The loss, which gives the first delta.

    Attributes
    ----------
    has_warned
        Whether it has warned; after that it is never due again.
    """

    model: Layer
    loss: Loss
    has_warned: bool = field(default=False, init=False)
    _flat_rows: dict[str, int] = field(factory=dict, init=False, repr=False)

    def is_due(self, epoch: int) -> bool:
        """Whether to check before the first step of this epoch: 1, 4, 16, 64 and so on."""
        return not self.has_warned and epoch.bit_count() == 1 and epoch.bit_length() % 2 == 1

    def look(
        self, inputs: tuple[Array, ...], target: Any, sample_weights: Any, epoch: int, step: int
    ) -> None:
        """Send a batch through a copy of the model, and warn if a layer's deltas are wrong.

        Exceptions, for example from a layer's `backward`, are ignored here: the training step will
        raise them.

        Parameters
        ----------
        inputs, target, sample_weights
            The batch of a step, as the model and the loss take it; its first 256 rows are used.
        epoch, step
            Which step, for the message.

        Warns
        -----
        VanishingDeltasWarning, ExplodingDeltasWarning, DeadActivationWarning
            At most one, once in the life of a watch.
        """
        try:
            batch = _first_rows(inputs, target, sample_weights)
            with np.errstate(all="ignore"), generators_restored(self.model):
                signals = _backward_signals(self.model, self.loss, *batch)
        except Exception:
            return
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

    def _dead_activation(self, signals: list[_Signal], epoch: int) -> DeltasWarning | None:
        """The warning for an activation that is flat for all inputs of all checks so far."""
        before, self._flat_rows = self._flat_rows, {}
        for first, lowest, blocked in _blocked_by_flat(signals):
            rows = before.get(lowest.place, 0) + first.rows
            self._flat_rows[lowest.place] = rows
            if rows >= ENOUGH_ROWS:
                return _dead(lowest, blocked, rows, is_new=epoch == 1)
        return None


# ------------------------------------------------------------------------------- one check


@frozen(eq=False)
class _Signal:
    """What a step received and returned in the backward pass.

    Attributes
    ----------
    step, place
        The step and its path in the model.
    size
        |Δ| that it received.
    rows
        In how many rows Δ is not zero.
    sent
        |Jᵀ Δ| that it returned; None if nothing needed it.
    gradient
        |∂C/∂θ| of its parameter for which that is largest; None if it learns nothing.
    largest
        The largest |z| of its inputs, for an activation.
    is_flat
        Whether it is an activation with f′ = 0 for all inputs.
    """

    step: PlanStep
    place: str
    size: float
    rows: int
    sent: float | None
    gradient: float | None
    largest: float
    is_flat: bool


def _backward_signals(
    model: Layer, loss: Loss, inputs: tuple[Array, ...], target: Any, weights: Any
) -> list[_Signal]:
    """The signals of one forward and backward pass through a copy, from the outputs down."""
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
    measured = []
    for step, given, sent in plan.steps_backward(delta, parameters_only=True):
        size, sent_size = _size(*given), _size(*sent) if sent else None
        is_flat = sent_size == 0 and np.isfinite(largest.get(id(step), np.inf))
        is_flat = is_flat and _is_flat(step.layer, given)
        measured.append((step, size, _rows(given[0]), sent_size, is_flat))
    return [  # after the loop: a shared parameter's gradient is the sum over all its uses
        _Signal(step, plan.place(step), size, rows, sent_size, _gradient(step.layer),
                largest.get(id(step), 0.0), is_flat)
        for step, size, rows, sent_size, is_flat in measured
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
    """√(Σ aᵢ²/n) over all numbers, in float64; zero if there are none."""
    flat = np.concatenate([np.ravel(array) for array in arrays]).astype(np.float64)
    largest = float(np.max(np.abs(flat), initial=0.0))
    if largest == 0 or not np.isfinite(largest):
        return largest
    # Divided by the largest number, the squares neither overflow nor underflow.
    return largest * float(np.sqrt(np.mean((flat / largest) ** 2)))


def _first_rows(inputs: tuple[Array, ...], target: Any, weights: Any) -> tuple[Any, Any, Any]:
    if len(inputs[0]) <= ROWS:
        return inputs, target, weights
    first = slice(ROWS)
    several = isinstance(target, tuple)
    return (
        tuple(x[first] for x in inputs),
        tuple(t[first] for t in target) if several else target[first],
        each_array(lambda array: array[first], weights),
    )


@contextmanager
def generators_restored(model: Layer) -> Iterator[None]:
    """Restore generators that were passed to a layer, which its copy shares."""
    bookmarks = [
        layer_state.bookmark(value)
        for _, layer in model.walk()
        for value in layer.attributes().values()
        if isinstance(value, np.random.Generator)
    ]
    try:
        yield
    finally:
        for put_back in bookmarks:
            put_back()


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
