"""Callbacks: what else shall happen while a network is trained.

`Trainer.fit` calls the methods of each callback, in the order of the list, at four moments:

    on_fit_begin
      for each epoch:
        for each step:    batch → forward → cost → backward → optimizer
          on_step_end
        validation, the epoch's figures enter the history
        on_epoch_end
    on_fit_end            always, also where training ended with an error or with Ctrl-C

A callback may look at everything that the trainer holds, and change what belongs to a run, such
as ``trainer.optimizer.learning_rate``. One of one's own overrides only what it needs:

    class HalveTheRate(Callback):
        def on_epoch_end(self, trainer, epoch, figures):
            trainer.optimizer.learning_rate /= 2
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from chainrule.training.trainer import Trainer

__all__ = ["Callback"]


class Callback:
    """Something that `Trainer.fit` calls while it trains; a subclass overrides what it needs.

    A method that is not overridden costs nothing.
    """

    def on_fit_begin(self, trainer: Trainer) -> None:
        """Before the first step: all data are checked, the model is built, the history is empty.

        Parameters
        ----------
        trainer
            With its ``model``, ``loss``, ``optimizer``, ``metrics``, ``rng`` and ``history``.
        """

    def on_step_end(self, trainer: Trainer, epoch: int, step: int, cost: float) -> None:
        """After each step.

        Parameters
        ----------
        trainer
            As in `on_fit_begin`; the parameters have moved.
        epoch, step
            Which epoch, and which step of it, both counted from 1.
        cost
            C of this step's batch, from the parameters before they moved.
        """

    def on_epoch_end(self, trainer: Trainer, epoch: int, figures: Mapping[str, float]) -> None:
        """After each epoch and its validation.

        Parameters
        ----------
        trainer
            As in `on_fit_begin`; the epoch stands in ``trainer.history`` already.
        epoch
            Which epoch, counted from 1.
        figures
            What the epoch adds to the history, such as ``{"loss": 0.1, "validation_loss": 0.2}``.
        """

    def on_fit_end(self, trainer: Trainer) -> None:
        """At the end, however it came about: the place to close a file."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"
