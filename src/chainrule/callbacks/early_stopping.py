"""A callback that stops training when a network no longer improves, and restores the best one.

The validation loss falls at first, and rises again when the network begins to memorise the training
samples. The best network is the one at the lowest point:

    θ ← θ(e*),    e* = the epoch with the best figure        once e − e* ≥ patience
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from attrs import define, field

from chainrule.callbacks.callback import Callback, require_state
from chainrule.callbacks.improvement import is_better, threshold_is_valid
from chainrule.callbacks.monitoring import figure_of, require_column
from chainrule.core.errors import ConfigurationError, StorageError
from chainrule.core.types import Array
from chainrule.core.validators import (
    FIXED_IN_A_RUN,
    as_float,
    as_int,
    counted,
    one_of,
    text,
    yes_or_no,
)

if TYPE_CHECKING:
    from chainrule.training.trainer import Trainer


@define(eq=False)
class EarlyStopping(Callback):
    """Stops training when a figure has not improved for a while, and restores the best model.

    A figure f is better than the best so far, f₀, if f < f₀ − threshold, or, with ``relative``, if
    f < f₀ − threshold · |f₀|; for ``mode="max"`` the same applies to −f and −f₀. NaN is never
    better.

    Parameters
    ----------
    monitor
        The column of the history to monitor, at the end of each epoch.
    patience
        Training stops after this number of epochs in a row without improvement.
    threshold
        The improvement that counts, 0 or more; if it is relative, below 1.
    relative
        Whether the threshold is a fraction of the best figure, or an absolute difference.
    mode
        ``"min"`` for a figure such as a loss, ``"max"`` for one such as an accuracy.
    restore_best
        Whether to restore the parameters and the buffers (such as running statistics) of the best
        epoch. This happens no matter how training ends: early, after its last epoch, with Ctrl-C,
        or with an error.

    Attributes
    ----------
    best : float or None
        f₀; None before the first figure that counts (NaN, for example, does not).
    best_epoch : int or None
        Its epoch, counted from 1.
    stopped_epoch : int or None
        The epoch after which training was stopped early; None if it was not.

    Raises
    ------
    ConfigurationError
        An argument is invalid; or the history will have no column ``monitor``. The latter is
        noticed before the first step, or, with custom callbacks that add columns, after the first
        epoch.

    Notes
    -----
    Each `Trainer.fit` starts over. A resumed run continues with the best model of the interrupted
    run, and with the patience, the threshold and the flags that were changed during it; if it was
    stopped early and the patience is larger now, it continues until the new patience is used up.
    The memory of the optimizer stays that of the last step. A `Checkpoint`
    also contains the model of the last step, so that the run can continue from there.

    `ReduceOnPlateau` uses the same criterion, but tolerates ``patience`` epochs and acts after one
    more. To stop later than the rate is reduced, give `EarlyStopping` the larger patience.

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

    changes_rate_alone: ClassVar[bool] = True

    monitor: str = field(default="validation_loss", validator=text, on_setattr=FIXED_IN_A_RUN)
    patience: int = field(default=10, converter=as_int, validator=counted)
    threshold: float = field(
        default=0.0, converter=as_float, validator=threshold_is_valid, kw_only=True
    )
    relative: bool = field(default=False, validator=yes_or_no, kw_only=True)
    mode: str = field(
        default="min",
        validator=one_of("min", "max"),
        kw_only=True,
        on_setattr=FIXED_IN_A_RUN,
    )
    restore_best: bool = field(default=True, validator=yes_or_no, kw_only=True)
    best: float | None = field(default=None, init=False, repr=False)
    best_epoch: int | None = field(default=None, init=False, repr=False)
    stopped_epoch: int | None = field(default=None, init=False, repr=False)
    _parameters: Array | None = field(default=None, init=False, repr=False)
    _buffers: Array | None = field(default=None, init=False, repr=False)
    # Until the run begins:
    _restored: Mapping[str, Any] | None = field(default=None, init=False, repr=False)
    _is_running: bool = field(default=False, init=False, repr=False)

    # ---------------------------------------------------------------- called by the trainer

    def check(self, trainer: Trainer) -> None:
        """Raise an error if the column will not exist, or differs from that of a resumed run."""
        require_column(self, self.monitor, trainer)
        restored = self._restored if self._restored is not None and trainer.is_resumed else {}
        for name in ("monitor", "mode"):
            if restored and restored[name] != getattr(self, name):
                raise ConfigurationError(
                    f"the resumed run used a different {name}",
                    place="EarlyStopping",
                    expected=f"{name}={restored[name]!r}",
                    received=f"{name}={getattr(self, name)!r}",
                    hint=f"EarlyStopping(…, {name}={restored[name]!r}), or start a new run",
                )
        model = trainer.run.model if trainer.run is not None else None
        if restored and model is not None:
            _require_same_kind(model.parameters.value, restored["parameters"])
            _require_same_kind(model.buffers.fixed.value, restored["states"])

    def on_fit_begin(self, trainer: Trainer) -> None:
        """Start over, or continue a resumed run."""
        restored, self._restored = self._restored, None
        self.best = self.best_epoch = self.stopped_epoch = None
        self._parameters = self._buffers = None
        self._is_running = True
        if restored is not None and trainer.is_resumed:
            self.best, self.best_epoch = restored["best"], restored["best_epoch"]
            self._parameters, self._buffers = restored["parameters"], restored["states"]
            self._stop_if_patience_over(trainer, trainer.history.epochs)  # it may have stopped here

    def on_epoch_end(self, trainer: Trainer, epoch: int, figures: Mapping[str, float]) -> None:
        """Keep the model if it is the best so far; stop if the patience is used up."""
        figure = figure_of(self, self.monitor, trainer, figures)
        if is_better(figure, self.best, self):
            self.best, self.best_epoch = figure, epoch
            if self.restore_best:
                self._parameters = trainer.model.parameters.value.copy()
                self._buffers = trainer.model.buffers.fixed.value.copy()
        else:
            self._stop_if_patience_over(trainer, epoch)

    def on_fit_end(self, trainer: Trainer) -> None:
        """Restore the best model."""
        if not self._is_running:  # another callback has raised an error in on_fit_begin
            return
        self._is_running = False
        if self._parameters is not None and self._buffers is not None:
            np.copyto(trainer.model.parameters.value, self._parameters)
            np.copyto(trainer.model.buffers.fixed.value, self._buffers)
        self._parameters = self._buffers = None

    def state(self) -> dict[str, Any]:
        """The best figure, its epoch and its model."""
        return {
            "monitor": self.monitor,
            "mode": self.mode,
            "best": self.best,
            "best_epoch": self.best_epoch,
            "stopped_epoch": self.stopped_epoch,
            "parameters": self._parameters,
            "states": self._buffers,
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Continue from an earlier `state` when the run begins."""
        none = type(None)
        kinds: dict[str, Any] = {"monitor": (str,), "mode": (str,), "best": (float, none)}
        kinds |= dict.fromkeys(("best_epoch", "stopped_epoch"), (int, none))
        kinds |= dict.fromkeys(("parameters", "states"), (np.ndarray, none))
        require_state(self, state, kinds)
        self._restored = dict(state)

    # ---------------------------------------------------------------- stopping

    def _stop_if_patience_over(self, trainer: Trainer, epoch: int) -> None:
        """End the run if the last ``patience`` epochs, up to this one, brought no improvement."""
        waited = epoch - (self.best_epoch or 0)
        if waited < self.patience:
            return
        self.stopped_epoch = epoch
        epochs = f"{waited} epoch{'s' if waited > 1 else ''}"
        if self.best is None:
            reason = f"{self.monitor} was not finite for {epochs}"
        else:
            reason = (
                f"{self.monitor} did not improve for {epochs};"
                f" the best was {self.best:#.4g}, in epoch {self.best_epoch}"
            )
        trainer.stop(reason)


def _require_same_kind(vector: Array, kept: Array | None) -> None:
    """Raise an error unless the saved copy of a vector of the model has its size and dtype."""
    if kept is not None and (kept.shape != vector.shape or kept.dtype != vector.dtype):
        raise StorageError(
            "the best model in the checkpoint does not have the size of this model",
            place="EarlyStopping",
            expected=f"{vector.shape}, {vector.dtype}",
            received=f"{kept.shape}, {kept.dtype}",
        )
