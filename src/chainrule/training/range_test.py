"""The range test: which learning rates a training bears, found in one short run.

The rate rises from step to step, by the same factor each time, and the cost of every step is noted:

    η_k = η₀ (η₁/η₀)^(k/(K−1)),        k = 0, …, K − 1

Drawn over log η, the cost of nearly every network looks alike. At first the steps are too short to
change it; then it falls; then the steps jump across the valley, and it rises, or runs away. Of a
parabola ½ λ w² it is known where: a step multiplies w by 1 − η λ, so the cost grows from the step
on for which η > 2/λ.

Costs of batches are noisy, so they are averaged over the steps around, C̄_k = Σ_j g_jk C_j/Σ_j g_jk
with a Gaussian g_jk = e^−(j−k)²/2s². (The exponential average that is often taken lags behind: at
K = 100 over six decades, and with its usual 0.9, the rates that it gives are four times too large.)
Where C̄ falls most steeply a step does most; where it is least, what is gained and what is lost by a
step are equal, and more is too much. What is suggested lies between the two,

    η* = max(η_steepest, η_least/10),      η_steepest = argmin dC̄/d(log η)  up to η_least

The first alone is too careful where a network learns all there is to learn on the way: then C̄ falls
no more though the rate is none too large.

Source: L. N. Smith, *Cyclical learning rates for training neural networks*, WACV 2017,
arXiv:1506.01186, section 3.3.
"""

from __future__ import annotations

import copy
import math
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from attrs import frozen

from chainrule.callbacks.callback import Callback
from chainrule.core.errors import ConfigurationError, NonFiniteError
from chainrule.core.validators import is_integer, is_number
from chainrule.figure_style import INK, TRAINING, VALIDATION, missing_matplotlib, tidy
from chainrule.training.delta_watch import DeltasWarning, generators_restored

if TYPE_CHECKING:
    from chainrule.training.trainer import Trainer

LEAST_STEPS = 10
"""Of fewer steps no curve can be seen."""
TOO_FAR = 4.0
"""The cost has diverged where it is so many times that of the beginning."""


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
    """Train a copy with a rate that rises from step to step, and see where the cost falls.

    All is done with copies: the trainer, its model, what its optimizer remembers, and its generator
    are afterwards what they were, built or not. The test ends where the cost diverges.

    Parameters
    ----------
    trainer
        What is to be trained. It is best tested as it will begin, for a network that has learned
        bears other rates.
    x, t
        The data, as for `Trainer.fit`; also a function ``make_batch``.
    lowest, highest
        The rates of the first and the last step, above 0.
    steps
        How many steps to take, 10 at least; 20 for each factor of ten are good.
    smoothing
        s, over about how many steps the costs are averaged on both sides; 0 for not at all.
    batch_size, accumulate
        As for `Trainer.fit`: a larger batch bears a larger rate, so give those of the training.
    **how
        Further arguments of `Trainer.fit` that say what a batch is: ``sample_weights``,
        ``class_weights``, ``shuffle``.

    Returns
    -------
    RangeTest
        It prints as what to take from it; ``.suggestion`` is a rate, and ``.plot()`` a figure.

    Raises
    ------
    ConfigurationError
        An argument makes no sense, or the data are an iterator, which the test would use up.
    NonFiniteError
        The very first cost is infinite or NaN, so the rate is not to blame.
    DtypeError, ShapeError, DataError
        What `Trainer.fit` says of the data.
    KeyboardInterrupt
        Ctrl-C was pressed before the test was over: it stops after the step that is going on.

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
    _refuse_what_is_no_batch(how)
    _refuse_iterator(x)
    rise, twin = _Rise(rates), _copied(trainer)
    with generators_restored(trainer.model), warnings.catch_warnings():
        # In so short a run with all kinds of rates they say nothing of a training.
        warnings.simplefilter("ignore", DeltasWarning)
        try:
            twin.fit(
                x,
                t,
                epochs=steps,  # enough, however many steps an epoch has
                steps_per_epoch=steps if callable(x) else None,
                batch_size=batch_size,
                accumulate=accumulate,
                callbacks=[rise],
                progress=False,
                **how,
            )
        except NonFiniteError:
            if not rise.costs:
                raise
            rise.has_diverged = rise.is_over = True
    if not rise.is_over:
        # fit() returns after Ctrl-C, and half of a curve would be taken for the whole.
        reason = twin.run.reason if twin.run is not None else None
        raise KeyboardInterrupt(
            f"the range test was stopped after {len(rise.costs)} of {steps} steps: {reason}"
        )
    return RangeTest.of(rates[: len(rise.costs)], rise.costs, smoothing, rise.has_diverged)


@frozen
class RangeTest:
    """What `range_test` has found.

    Attributes
    ----------
    rates, costs
        η of each step, and the cost before it.
    smoothed
        The costs, averaged over the steps around; any that is above all of the first tenth counts
        as the highest of those.
    suggestion
        A rate to train with, the larger one of ``steepest_at`` and a tenth of ``least_at``.
    steepest_at, least_at
        The rates at which the smoothed cost falls most steeply, and is least. All three are None
        where it does not fall.
    diverged_at
        The last rate, where the test ended there because the cost ran away; else None.
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
        """What is to be taken from costs that were measured at these rates, from low to high."""
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
        """Draw the cost over the rate with matplotlib: ``pip install 'chainrule[plot]'``.

        Parameters
        ----------
        ax
            The axes to draw into; those of a new figure if not given.

        Returns
        -------
        matplotlib.figure.Figure
            Dots are the costs of single batches, the line is their average.

        Raises
        ------
        MissingExtraError
            matplotlib is not installed.
        """
        return _draw(self, ax)

    def __str__(self) -> str:
        lowest, highest = self.rates[0], self.rates[-1]
        first = f"{len(self.rates)} steps with learning rates from {lowest:.2g} to {highest:.2g}"
        if self.suggestion is None:
            reason = (
                f"begin lower: lowest={lowest / 1000:.1g}"
                if self.diverged_at is not None
                else f"go higher, highest={100 * highest:.1g}, or look at a trace: does it learn?"
            )
            return f"{first}: the cost falls at none of them.\nNo suggestion; {reason}"
        if self._still_falls:
            last = f"is still falling at the end: go higher, highest={100 * highest:.1g}"
        else:
            last = f"is least at {self.least_at:.2g}; beyond that it rises"
        if self.diverged_at is not None:
            last += f", and at {self.diverged_at:.2g} it has run away"
        return (
            f"{first}.\nThe cost falls most steeply at {self.steepest_at:.2g}, and {last}.\n"
            f"Suggestion: {self.suggestion:.2g}; a few times less or more is worth a try."
        )

    def __repr__(self) -> str:
        suggestion = None if self.suggestion is None else float(f"{self.suggestion:.3g}")
        return f"RangeTest({len(self.rates)} steps, suggestion={suggestion})"


# ------------------------------------------------------------------------------- the test


class _Rise(Callback):
    """Sets the rate of each step, notes its cost, and ends the run where that is enough."""

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
        """Whether the last costs are far above all of the beginning, and not a single one."""
        beginning = _beginning(len(self.rates))
        if len(self.costs) <= beginning + 3:
            return False
        highest = max(self.costs[:beginning])
        return min(self.costs[-3:]) > highest + (TOO_FAR - 1) * abs(highest)


def _beginning(steps: int) -> int:
    """How many of the first steps are short ones."""
    return max(5, steps // 10)


def _copied(trainer: Trainer) -> Trainer:
    """A trainer that goes on as this one would, and shares nothing with it that changes."""
    twin = type(trainer)(
        copy.deepcopy(trainer.model),
        trainer.loss,
        copy.deepcopy(trainer.optimizer),
        rng=copy.deepcopy(trainer.rng),  # with the seeds of those that are spawned from it
    )
    twin._for_building = copy.deepcopy(trainer._for_building)
    return twin


# ------------------------------------------------------------------------------- what is seen


def _smoothed(costs: Sequence[float], width: float) -> npt.NDArray[np.float64]:
    """The average over the steps around, weighted by a Gaussian."""
    noisy: npt.NDArray[np.float64] = np.asarray(costs, np.float64)
    # Else those that run away would drown what the steps before them did.
    noisy = np.clip(noisy, None, noisy[: _beginning(len(noisy))].max())
    if width == 0:
        return noisy
    number = np.arange(len(noisy))
    shares = np.exp(-0.5 * ((number[:, None] - number) / width) ** 2)
    smoothed: npt.NDArray[np.float64] = shares @ noisy / shares.sum(axis=1)
    return smoothed


def _falls(costs: Sequence[float], smoothed: npt.NDArray[np.float64]) -> bool:
    """Whether the cost falls by more than by chance, and by one part in a hundred."""
    beginning = _beginning(len(costs))
    if len(costs) <= beginning:
        return False
    # From one step to the next: a fall from the beginning on must not be taken for noise.
    noise = float(np.std(np.diff(costs[:beginning]))) / math.sqrt(2)
    fall = float(smoothed[0] - smoothed.min())
    return fall > max(noise, 0.01 * abs(float(smoothed[0])))


# ------------------------------------------------------------------------------- the figure


def _draw(found: RangeTest, ax: Any) -> Any:
    if ax is None:
        try:
            from matplotlib.figure import Figure
        except ImportError as error:
            raise missing_matplotlib(error) from error
        ax = Figure(figsize=(6.0, 3.6), layout="constrained").subplots()
    tidy(ax)
    ax.set_xscale("log")
    ax.plot(found.rates, found.costs, "o", ms=3, mec="none", color=TRAINING, alpha=0.4)
    ax.plot(found.rates, found.smoothed, color=TRAINING, lw=1.8)
    ax.set_xlabel("learning rate η", color=INK)
    ax.set_title("cost", loc="left", color=INK, fontsize=11)
    _frame(ax, found)
    if found.suggestion is not None:
        height = np.interp(math.log(found.suggestion), np.log(found.rates), found.smoothed)
        ax.axvline(found.suggestion, color=VALIDATION, lw=1.2, ls="--")
        ax.plot([found.suggestion], [height], "o", ms=9, mfc="none", mec=VALIDATION, mew=1.4)
    said = "falls nowhere" if found.suggestion is None else f"suggestion η = {found.suggestion:.2g}"
    ax.set_title(said, loc="right", color=VALIDATION, fontsize=9)
    return ax.figure


def _frame(ax: Any, found: RangeTest) -> None:
    """As much of the costs as matters: where they run away, they leave the figure."""
    beginning = found.costs[: _beginning(len(found.costs))]
    low, high = min(*found.costs, *found.smoothed), max(beginning)
    margin = 0.08 * (high - low) or 0.1 * abs(high) or 1.0
    ax.set_ylim(low - margin, high + 2 * margin)


# ------------------------------------------------------------------------------- what is refused

PLACE = "range_test"
SAYING_BATCHES = ("sample_weights", "class_weights", "shuffle", "prefetch")


def _require_a_trainer(trainer: object) -> None:
    from chainrule.training.trainer import Trainer

    if not isinstance(trainer, Trainer):
        raise ConfigurationError(
            "what is tested is a trainer: a model, a loss and an optimizer",
            place=PLACE,
            expected="range_test(trainer, x, t)",
            received=f"{type(trainer).__name__}",
            hint="range_test(Trainer(model, loss, optimizer), x, t)",
        )


def _rates(lowest: Any, highest: Any, steps: Any) -> tuple[float, ...]:
    from chainrule.schedules.decays import Exponential  # whose package holds this module

    for name, rate in (("lowest", lowest), ("highest", highest)):
        if not is_number(rate) or not 0 < rate < math.inf:
            raise ConfigurationError(
                f"{name} is a learning rate above 0",
                place=PLACE,
                expected="a finite number above 0",
                received=f"{name}={rate!r:.60}",
                hint="lowest=1e-6, highest=10.0 are far apart enough for most networks",
            )
    if lowest >= highest or not is_integer(steps) or steps < LEAST_STEPS:
        raise ConfigurationError(
            "the rates have to rise, in ten steps or more",
            place=PLACE,
            expected=f"lowest < highest, and {LEAST_STEPS} steps or more",
            received=f"lowest={lowest!r}, highest={highest!r}, steps={steps!r}",
            hint="lowest=1e-6, highest=10.0, steps=140",
        )
    rise = Exponential.between(float(lowest), float(highest), int(steps) - 1)
    return (*[rise(k) for k in range(steps - 1)], float(highest))


def _require_smoothing(smoothing: Any) -> None:
    if not is_number(smoothing) or not 0 <= smoothing < math.inf:
        raise ConfigurationError(
            "smoothing says over how many steps the costs are averaged",
            place=PLACE,
            expected="a finite number, 0 or more",
            received=f"smoothing={smoothing!r:.60}",
            hint="4.0 is a usual one; 0 leaves the costs as they are",
        )


def _refuse_what_is_no_batch(how: dict[str, Any]) -> None:
    unknown = sorted(set(how) - set(SAYING_BATCHES))
    if unknown:
        raise ConfigurationError(
            f"a range test takes no {unknown[0]}",
            place=PLACE,
            expected=f"lowest, highest, steps, smoothing, batch_size, accumulate, "
            f"{', '.join(SAYING_BATCHES)}",
            received=", ".join(f"{name}=…" for name in unknown),
            hint="leave it out: how long the test is, is said by steps",
        )


def _refuse_iterator(x: Any) -> None:
    if hasattr(x, "__next__"):
        raise ConfigurationError(
            "the batches come from an iterator, which a range test would use up",
            place=PLACE,
            expected="arrays, something to be gone through again, or a function make_batch(rng)",
            received=f"{type(x).__name__}",
            hint="give what the iterator is made of, such as the list itself or a DataLoader",
        )
