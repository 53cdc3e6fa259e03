"""The range test: finds usable learning rates in one short run.

The rate rises by the same factor in each step, and the cost of every step is recorded:

    η_k = η₀ (η₁/η₀)^(k/(K−1)),        k = 0, …, K − 1

Plotted against log η, the cost looks alike for nearly every network. At first the steps are too
short to change it; then it falls; then the steps jump across the valley, and it rises or diverges.
For a parabola ½ λ w² the threshold is known: a step multiplies w by 1 − η λ, so the cost grows as
soon as η > 2/λ.

Batch costs are noisy, so they are averaged over neighbouring steps, C̄_k = Σ_j g_jk C_j/Σ_j g_jk
with a Gaussian g_jk = e^−(j−k)²/2s². (The commonly used exponential average lags: at K = 100 over
six decades, with its usual 0.9, the rates it gives are four times too large.) Where C̄ falls
most steeply, a step gains most; where C̄ is lowest, gains and losses cancel, and a larger rate is
too large. The suggestion lies between the two,

    η* = max(η_steepest, η_least/10),      η_steepest = argmin dC̄/d(log η)  up to η_least

η_steepest alone is too cautious if the network has learned everything before the rates become
large: then C̄ stops falling although the rate is not too large.

Source: L. N. Smith, *Cyclical learning rates for training neural networks*, WACV 2017,
arXiv:1506.01186, section 3.3.
"""

from __future__ import annotations

import copy
import math
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from attrs import frozen

from chainrule.callbacks.callback import Callback
from chainrule.core.deprecation import renamed_keywords
from chainrule.core.errors import ConfigurationError, NonFiniteError, shortened
from chainrule.core.hints import hinted
from chainrule.core.layer import Layer
from chainrule.core.layer_state import bookmark
from chainrule.core.terminal import printable
from chainrule.core.validators import is_integer, is_number
from chainrule.figure_style import (
    figure_without_window,
    ink,
    points,
    tidy,
    training,
    validation,
)
from chainrule.training.delta_watch import DeltasWarning

if TYPE_CHECKING:
    from chainrule.training.trainer import Trainer

LEAST_STEPS = 10
"""Fewer steps show no curve."""
DIVERGED = 4.0
"""The cost has diverged if it is this many times the cost at the beginning."""


@renamed_keywords(removed_in="0.3", ahead="prefetch")
@hinted
def range_test(
    trainer: Trainer,
    x: Any,
    t: Any = None,
    *,
    lowest: float = 1e-6,
    highest: float = 10.0,
    steps: int = 140,
    smoothing: float = 4.0,
    batch_size: int | None = None,
    accumulate: int = 1,
    **how: Any,
) -> RangeTest:
    """Train a copy with a learning rate that rises in each step, and see where the cost falls.

    The test works on copies: the trainer, its model, the state of its optimizer and its generator
    do not change, whether the model is built or not. The test ends when the cost diverges.

    Parameters
    ----------
    trainer
        What you want to train, best in its initial state: a trained network tolerates other rates.
    x, t
        The data, as for `Trainer.fit`; also a function ``make_batch``.
    lowest, highest
        The rates of the first and the last step, above 0.
    steps
        The number of steps, at least 10; 20 per factor of ten are a good choice.
    smoothing
        s, about how many steps on each side the costs are averaged over; 0 for no smoothing.
    batch_size, accumulate
        As for `Trainer.fit`. Use the values of the training: a larger batch tolerates a larger
        rate.
    **how
        Other arguments of `Trainer.fit` that define the batches: ``sample_weights``,
        ``class_weights``, ``shuffle``, ``prefetch``.

    Returns
    -------
    RangeTest
        Printed, it says what the test found; ``.suggestion`` is a rate and ``.plot()`` a figure.

    Raises
    ------
    ConfigurationError
        An argument is invalid, or the data are an iterator, which the test would exhaust.
    NonFiniteError
        The very first cost is infinite or NaN, so the rate is not the cause.
    DtypeError, ShapeError, DataError
        As in `Trainer.fit`, about the data.
    KeyboardInterrupt
        Ctrl-C was pressed during the test: it stops after the current step.

    Examples
    --------
    >>> x = np.linspace(-1, 1, 64).reshape(-1, 1)
    >>> trainer = Trainer(Sequential([Dense(1)]), losses.HalfSquaredError(), optimizers.SGD(0.1))
    >>> found = range_test(trainer, x, 3 * x + 1, batch_size=64)
    >>> 0.05 < found.suggestion < 1
    True
    >>> trainer.model.is_built
    False
    """
    _require_a_trainer(trainer)
    rates = _rates(lowest, highest, steps)
    _require_smoothing(smoothing)
    _require_batch_options(how)
    _require_repeatable(x)
    sweep, trainer_copy = _Sweep(rates), _copy_of(trainer)
    with _generators_restored(trainer.model), warnings.catch_warnings():
        # In such a short run over all kinds of rates they say nothing about the training.
        warnings.simplefilter("ignore", DeltasWarning)
        try:
            trainer_copy.fit(
                x,
                t,
                epochs=steps,  # enough, however many steps an epoch has
                steps_per_epoch=steps if callable(x) else None,
                batch_size=batch_size,
                accumulate=accumulate,
                callbacks=[sweep],
                progress=False,
                **how,
            )
        except NonFiniteError:
            if not sweep.costs:
                raise
            sweep.has_diverged = sweep.is_over = True
    if not sweep.is_over:
        # fit() returns normally after Ctrl-C, but half a curve must not pass for a complete one.
        reason = trainer_copy.run.reason if trainer_copy.run is not None else None
        raise KeyboardInterrupt(
            f"the range test was stopped after {len(sweep.costs)} of {steps} steps: {reason}"
        )
    return RangeTest.of(rates[: len(sweep.costs)], sweep.costs, smoothing, sweep.has_diverged)


@contextmanager
def _generators_restored(model: Layer) -> Iterator[None]:
    """Restore generators that were passed to a layer, which its copy shares."""
    bookmarks = [
        bookmark(value)
        for _, layer in model.walk()
        for value in layer.attributes().values()
        if isinstance(value, np.random.Generator)
    ]
    try:
        yield
    finally:
        for put_back in bookmarks:
            put_back()


@frozen
class RangeTest:
    """The result of `range_test`.

    Attributes
    ----------
    rates, costs
        η of each step, and the cost before it.
    smoothed
        The costs, averaged over neighbouring steps; before that, costs above the highest of the
        first tenth are lowered to it.
    suggestion
        A rate to train with, the larger of ``steepest_at`` and a tenth of ``least_at``.
    steepest_at, least_at
        The rates at which the smoothed cost falls most steeply and at which it is lowest. All three
        are None if it does not fall.
    diverged_at
        The last rate, if the test ended because the cost diverged; otherwise None.
    """

    rates: tuple[float, ...]
    costs: tuple[float, ...]
    smoothed: tuple[float, ...]
    suggestion: float | None
    steepest_at: float | None
    least_at: float | None
    diverged_at: float | None

    @classmethod
    def of(
        cls,
        rates: Sequence[float],
        costs: Sequence[float],
        smoothing: float = 4.0,
        has_diverged: bool = False,
    ) -> RangeTest:
        """The result for costs that were measured at these rates, from low to high.

        A cost that is NaN or infinite counts as diverged: it is never the lowest.
        """
        smoothed = _smoothed(costs, smoothing)
        suggestion = steepest_at = least_at = None
        if _falls(costs, smoothed):
            least = int(np.argmin(smoothed))
            slopes = np.gradient(smoothed, np.log(rates))
            steepest_at = float(rates[int(np.argmin(slopes[: least + 1]))])
            least_at = float(rates[least])
            suggestion = max(steepest_at, least_at / 10)
        return cls(
            tuple(map(float, rates)),
            tuple(map(float, costs)),
            tuple(map(float, smoothed)),
            suggestion,
            steepest_at,
            least_at,
            float(rates[-1]) if has_diverged else None,
        )

    @property
    def _still_falls(self) -> bool:
        return self.diverged_at is None and self.least_at == self.rates[-1]

    def plot(self, ax: Any = None) -> Any:
        """Plot the cost against the rate with matplotlib: ``pip install 'chainrule[plot]'``.

        Parameters
        ----------
        ax
            The axes to draw into; those of a new figure if not given.

        Returns
        -------
        matplotlib.figure.Figure
            The dots are the costs of single batches, the line is their average.

        Raises
        ------
        MissingExtraError
            matplotlib is not installed.
        """
        return _draw(self, ax)

    @printable
    def __str__(self) -> str:
        lowest, highest = self.rates[0], self.rates[-1]
        first = f"{len(self.rates)} steps with learning rates from {lowest:.2g} to {highest:.2g}"
        if self.suggestion is None:
            advice = (
                f"start lower: lowest={lowest / 1000:.1g}"
                if self.diverged_at is not None
                else f"go higher, highest={100 * highest:.1g}, or look at a trace: does it learn?"
            )
            return f"{first}: the cost falls at none of them.\nNo suggestion; {advice}"
        if self._still_falls:
            last = f"is still falling at the end: go higher, highest={100 * highest:.1g}"
        else:
            last = f"is lowest at {self.least_at:.2g}; beyond that it rises"
        if self.diverged_at is not None:
            last += f", and at {self.diverged_at:.2g} it has diverged"
        return (
            f"{first}.\nThe cost falls most steeply at {self.steepest_at:.2g}, and {last}.\n"
            f"Suggestion: {self.suggestion:.2g}; also try rates a few times smaller or larger."
        )

    def __repr__(self) -> str:
        suggestion = None if self.suggestion is None else float(f"{self.suggestion:.3g}")
        return f"RangeTest({len(self.rates)} steps, suggestion={suggestion})"


# ------------------------------------------------------------------------------- the test


class _Sweep(Callback):
    """Sets the rate of each step, records its cost, and ends the run when the test is over."""

    def __init__(self, rates: Sequence[float]) -> None:
        self.rates = rates
        self.costs: list[float] = []
        self.has_diverged = self.is_over = False

    def on_fit_begin(self, trainer: Trainer) -> None:
        trainer.optimizer.learning_rate = self.rates[0]

    def on_step_end(self, trainer: Trainer, epoch: int, step: int, cost: float) -> None:
        self.costs.append(cost)
        done = len(self.costs)
        self.has_diverged = self._diverges()
        if done == len(self.rates) or self.has_diverged:
            self.is_over = True
            trainer.stop("the range test is over")
        else:
            trainer.optimizer.learning_rate = self.rates[done]

    def _diverges(self) -> bool:
        """Whether the last three costs are all far above every cost at the beginning."""
        first = _first_steps(len(self.rates))
        if len(self.costs) <= first + 3:
            return False
        highest = max(self.costs[:first])
        return min(self.costs[-3:]) > highest + (DIVERGED - 1) * abs(highest)


def _first_steps(steps: int) -> int:
    """How many steps count as the beginning, where the rates are low."""
    return max(5, steps // 10)


def _copy_of(trainer: Trainer) -> Trainer:
    """A trainer in the same state that shares nothing mutable with this one."""
    copied = type(trainer)(
        copy.deepcopy(trainer.model),
        trainer.loss,
        copy.deepcopy(trainer.optimizer),
        rng=copy.deepcopy(trainer.rng),  # including the seeds of generators spawned from it
    )
    copied._for_building = copy.deepcopy(trainer._for_building)
    return copied


# ------------------------------------------------------------------------------- the analysis


def _smoothed(costs: Sequence[float], width: float) -> npt.NDArray[np.float64]:
    """The average over neighbouring steps, weighted by a Gaussian."""
    noisy: npt.NDArray[np.float64] = np.asarray(costs, np.float64)
    first = noisy[: _first_steps(len(noisy))]
    highest = np.max(first, initial=-np.inf, where=np.isfinite(first))
    if not math.isfinite(highest):
        return noisy
    # Otherwise diverging costs would dominate the averages of the steps before them. NaN counts as
    # diverging, not as low.
    noisy = np.where(np.isfinite(noisy) & (noisy < highest), noisy, highest)
    if width == 0:
        return noisy
    number = np.arange(len(noisy))
    gaussians = np.exp(-0.5 * ((number[:, None] - number) / width) ** 2)
    smoothed: npt.NDArray[np.float64] = gaussians @ noisy / gaussians.sum(axis=1)
    return smoothed


def _falls(costs: Sequence[float], smoothed: npt.NDArray[np.float64]) -> bool:
    """Whether the cost falls by more than the noise, and by more than 1 %."""
    first = _first_steps(len(costs))
    if len(costs) <= first:
        return False
    # From differences of successive costs, so that a steady fall does not count as noise.
    beginning = np.asarray(costs[:first], np.float64)
    beginning = beginning[np.isfinite(beginning)]
    if len(beginning) < 2:
        return False
    noise = float(np.std(np.diff(beginning))) / math.sqrt(2)
    fall = float(smoothed[0] - smoothed.min())
    return fall > max(noise, 0.01 * abs(float(smoothed[0])))


# ------------------------------------------------------------------------------- the figure


def _draw(found: RangeTest, ax: Any) -> Any:
    if ax is None:
        ax = figure_without_window(figsize=(6.0, 3.6), layout="constrained").subplots()
    tidy(ax)
    ax.set_xscale("log")
    ax.plot(found.rates, found.costs, "o", ms=3, mec="none", color=training(), alpha=0.4)
    ax.plot(found.rates, found.smoothed, color=training(), lw=1.8)
    ax.set_xlabel("learning rate η", color=ink("axes.labelcolor"))
    ax.set_title("cost", loc="left", color=ink(), fontsize=points(11))
    _frame(ax, found)
    if found.suggestion is not None:
        height = np.interp(math.log(found.suggestion), np.log(found.rates), found.smoothed)
        ax.axvline(found.suggestion, color=validation(), lw=1.2, ls="--")
        ax.plot([found.suggestion], [height], "o", ms=9, mfc="none", mec=validation(), mew=1.4)
    title = (
        "does not fall" if found.suggestion is None else f"suggestion η = {found.suggestion:.2g}"
    )
    ax.set_title(title, loc="right", color=validation(), fontsize=points(9))
    return ax.figure


def _frame(ax: Any, found: RangeTest) -> None:
    """Limit the axis to the costs that matter; diverging ones leave the figure."""
    beginning = found.costs[: _first_steps(len(found.costs))]
    finite = [cost for cost in (*found.costs, *found.smoothed) if math.isfinite(cost)] or [0.0]
    low, high = min(finite), max([c for c in beginning if math.isfinite(c)] or finite)
    margin = 0.08 * (high - low) or 0.1 * abs(high) or 1.0
    ax.set_ylim(low - margin, high + 2 * margin)


# ------------------------------------------------------------------------------- the arguments

PLACE = "range_test"
BATCH_OPTIONS = ("sample_weights", "class_weights", "shuffle", "prefetch")


def _require_a_trainer(trainer: object) -> None:
    from chainrule.training.trainer import Trainer

    if not isinstance(trainer, Trainer):
        raise ConfigurationError(
            "range_test needs a trainer: a model, a loss and an optimizer",
            place=PLACE,
            expected="range_test(trainer, x, t)",
            received=f"{type(trainer).__name__}",
            hint="range_test(Trainer(model, loss, optimizer), x, t)",
        )


def _rates(lowest: Any, highest: Any, steps: Any) -> tuple[float, ...]:
    from chainrule.schedules.decays import (
        Exponential,
    )  # exports this module

    for name, rate in (("lowest", lowest), ("highest", highest)):
        if not is_number(rate) or not 0 < rate < math.inf:
            raise ConfigurationError(
                f"{name} must be a learning rate above 0",
                place=PLACE,
                expected="a finite number above 0",
                received=f"{name}={shortened(rate)}",
                hint="lowest=1e-6, highest=10.0 covers most networks",
            )
    if lowest >= highest or not is_integer(steps) or steps < LEAST_STEPS:
        raise ConfigurationError(
            "the rates must rise, in at least ten steps",
            place=PLACE,
            expected=f"lowest < highest, and {LEAST_STEPS} steps or more",
            received=f"lowest={lowest!r}, highest={highest!r}, steps={steps!r}",
            hint="lowest=1e-6, highest=10.0, steps=140",
        )
    schedule = Exponential.between(float(lowest), float(highest), int(steps) - 1)
    return (*[schedule(k) for k in range(steps - 1)], float(highest))


def _require_smoothing(smoothing: Any) -> None:
    if not is_number(smoothing) or not 0 <= smoothing < math.inf:
        raise ConfigurationError(
            "smoothing must be a number of steps, 0 or more",
            place=PLACE,
            expected="a finite number, 0 or more",
            received=f"smoothing={shortened(smoothing)}",
            hint="4.0 is typical; 0 turns smoothing off",
        )


def _require_batch_options(how: dict[str, Any]) -> None:
    unknown = sorted(set(how) - set(BATCH_OPTIONS))
    if unknown:
        raise ConfigurationError(
            f"a range test takes no {unknown[0]}",
            place=PLACE,
            expected=f"lowest, highest, steps, smoothing, batch_size, accumulate, "
            f"{', '.join(BATCH_OPTIONS)}",
            received=", ".join(f"{name}=…" for name in unknown),
            hint="omit it; steps sets the length of the test",
        )


def _require_repeatable(x: Any) -> None:
    if hasattr(x, "__next__"):
        raise ConfigurationError(
            "the batches come from an iterator, which a range test would exhaust",
            place=PLACE,
            expected="arrays, a repeatable iterable, or a function make_batch(rng)",
            received=f"{type(x).__name__}",
            hint="pass what the iterator was made from, such as the list itself or a DataLoader",
        )
