"""A callback that stops where a network gets no better, and gives back the best one.

The loss of validation data falls, and rises again when the network begins to learn its samples by
heart. The network one wants is that of the lowest point:

    θ ← θ(e*),    e* = the epoch with the best figure        once e − e* ≥ patience
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from attrs import define, field

from chainrule.callbacks.callback import Callback
from chainrule.callbacks.improvement import is_better, threshold_is_valid
from chainrule.callbacks.monitoring import figure_of, require_column
from chainrule.core.errors import ConfigurationError, StorageError
from chainrule.core.types import Array
from chainrule.core.validators import as_float, as_int, counted, one_of, text, yes_or_no

if TYPE_CHECKING:
    from chainrule.training.trainer import Trainer


@define(eq=False)
class EarlyStopping(Callback):
    """Ends a training when a figure has not become better for a while; gives the best model back.

    A figure f is better than the best so far, f₀, where f < f₀ − threshold, or, ``relative``,
    where f < f₀ − threshold · |f₀|; for ``mode="max"`` the same holds of −f and −f₀. NaN is never
    better.

    Parameters
    ----------
    monitor
        The column of the history that is looked at, at the end of each epoch.
    patience
        After how many epochs in a row that were not better the training ends.
    threshold
        How much better counts, 0 or more; where it is relative, below 1.
    relative
        Whether the threshold is a part of the best figure, or a number to be taken from it.
    mode
        ``"min"`` for a figure such as a loss, ``"max"`` for one such as an accuracy.
    restore_best
        Whether the model gets the parameters and the states (such as running statistics) of the
        best epoch back. It does however the training ends: early, with its last epoch, with Ctrl-C,
        or with an error.

    Attributes
    ----------
    best : float or None
        f₀; None where no figure was better than nothing.
    best_epoch : int or None
        Its epoch, counted from 1.
    stopped_epoch : int or None
        The epoch after which the training was ended early; None if it was not.

    Raises
    ------
    ConfigurationError
        An argument makes no sense; or the history will have no column ``monitor``: before the
        first step, or after the first epoch where callbacks of one's own add columns.

    Notes
    -----
    Each `Trainer.fit` begins afresh, but one that is resumed goes on, with the best model of the
    run that was left; where that had been ended early and has more patience now, it goes on until
    that is used up, too. What the optimizer remembers stays that of the last step. A `Checkpoint`
    holds the model as it was at the last step, too, so that the run can go on from there.

    `ReduceOnPlateau` asks in the same way; it allows ``patience`` epochs and acts after one more.
    To stop later than the rate is reduced, give `EarlyStopping` the larger patience.

    Source: L. Prechelt, *Early stopping — but when?*, in Neural Networks: Tricks of the Trade,
    LNCS 1524 (1998) 55, criterion UP with strips of one epoch, counted from the best.

    Examples
    --------
    >>> x, t = np.array([[0.0], [1.0]]), np.array([[1.0], [3.0]])
    >>> stopping = callbacks.EarlyStopping("loss", patience=3, threshold=0.1)
    >>> trainer = Trainer(Sequential([Dense(1)]), losses.HalfSquaredError(), optimizers.SGD(0.5))
    >>> history = trainer.fit(x, t, epochs=100, callbacks=[stopping])
    >>> history.epochs == stopping.stopped_epoch == stopping.best_epoch + 3
    True
    """

    monitor: str = field(default="validation_loss", validator=text)
    patience: int = field(default=10, converter=as_int, validator=counted)
    threshold: float = field(
        default=0.0, converter=as_float, validator=threshold_is_valid, kw_only=True
    )
    relative: bool = field(default=False, validator=yes_or_no, kw_only=True)
    mode: str = field(default="min", validator=one_of("min", "max"), kw_only=True)
    restore_best: bool = field(default=True, validator=yes_or_no, kw_only=True)
    best: float | None = field(default=None, init=False, repr=False)
    best_epoch: int | None = field(default=None, init=False, repr=False)
    stopped_epoch: int | None = field(default=None, init=False, repr=False)
    _parameters: Array | None = field(default=None, init=False, repr=False)
    _states: Array | None = field(default=None, init=False, repr=False)
    _left: Mapping[str, Any] | None = field(default=None, init=False, repr=False)  # until it begins
    _is_running: bool = field(default=False, init=False, repr=False)

    # ---------------------------------------------------------------- what a trainer calls

    def check(self, trainer: Trainer) -> None:
        """Refuse a column that there will not be; or another than in the run that is resumed."""
        require_column(self, self.monitor, trainer)
        left = self._left if self._left is not None and trainer.is_resumed else {}
        for name in ("monitor", "mode"):
            if left and left[name] != getattr(self, name):
                raise ConfigurationError(
                    f"the run that is resumed looked for the best with another {name}",
                    place="EarlyStopping",
                    expected=f"{name}={left[name]!r}",
                    received=f"{name}={getattr(self, name)!r}",
                    hint=f"EarlyStopping(…, {name}={left[name]!r}), or begin a new run",
                )

    def on_fit_begin(self, trainer: Trainer) -> None:
        """Begin afresh, or go on in a run that is resumed."""
        left, self._left = self._left, None
        self.best = self.best_epoch = self.stopped_epoch = None
        self._parameters = self._states = None
        self._is_running = True
        if left is not None and trainer.is_resumed:
            self.best, self.best_epoch = left["best"], left["best_epoch"]
            self._parameters = _of_the_size(trainer.model.parameters.value, left["parameters"])
            self._states = _of_the_size(trainer.model.state.value, left["states"])
            self._stop_if_waited(trainer, trainer.history.epochs)  # it may have just been ended

    def on_epoch_end(self, trainer: Trainer, epoch: int, figures: Mapping[str, float]) -> None:
        """Keep the model if it is the best, or stop if none was for too long."""
        figure = figure_of(self, self.monitor, trainer, figures)
        if is_better(figure, self.best, self):
            self.best, self.best_epoch = figure, epoch
            if self.restore_best:
                self._parameters = trainer.model.parameters.value.copy()
                self._states = trainer.model.state.value.copy()
        else:
            self._stop_if_waited(trainer, epoch)

    def on_fit_end(self, trainer: Trainer) -> None:
        """Give the best model back."""
        if not self._is_running:  # another callback has refused to begin
            return
        self._is_running = False
        if self._parameters is not None and self._states is not None:
            np.copyto(trainer.model.parameters.value, self._parameters)
            np.copyto(trainer.model.state.value, self._states)
        self._parameters = self._states = None

    def state(self) -> dict[str, Any]:
        """The best figure, its epoch, and the model of it."""
        return {
            "monitor": self.monitor,
            "mode": self.mode,
            "best": self.best,
            "best_epoch": self.best_epoch,
            "stopped_epoch": self.stopped_epoch,
            "parameters": self._parameters,
            "states": self._states,
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state` gave, when the run begins."""
        self._left = dict(state)

    # ---------------------------------------------------------------- what it does

    def _stop_if_waited(self, trainer: Trainer, epoch: int) -> None:
        """End the run where this epoch, and as many before as is patience, were no better."""
        waited = epoch - (self.best_epoch or 0)
        if waited < self.patience:
            return
        self.stopped_epoch = epoch
        epochs = f"{waited} epoch{'s' if waited > 1 else ''}"
        if self.best is None:
            reason = f"{self.monitor} was not finite for {epochs}"
        else:
            reason = (
                f"{self.monitor} was not better than {self.best:#.4g}, of epoch {self.best_epoch},"
                f" for {epochs}"
            )
        trainer.stop(reason)


def _of_the_size(vector: Array, kept: Array | None) -> Array | None:
    """What was kept of a vector of the model, if it is as long: nothing is broadcast."""
    if kept is not None and np.shape(kept) != vector.shape:
        raise StorageError(
            "the best model in the checkpoint is not as large as that of the run",
            place="EarlyStopping",
            expected=f"{vector.shape}",
            received=f"{np.shape(kept)}",
        )
    return kept
