"""Callbacks: what else shall happen while a network is trained.

`Trainer.fit` calls the methods of each callback at these moments:

    check                 of all of them, before anything is changed
    on_fit_begin
      for each epoch:
        for each step:    batch → forward → cost → backward → optimizer
          on_step_end
        validation
        figures           what callbacks add to the epoch's figures, which then enter the history
        on_epoch_end
    on_fit_end            always, also where training ended with an error or with Ctrl-C

in the order of the list, those that say `comes_last` after the others; `on_fit_end` in the reverse
order, so that what began first ends last.

A callback may look at everything that the trainer holds, and change what belongs to a run, such
as ``trainer.optimizer.learning_rate``. ``trainer.steps`` counts the steps of the run, and
``trainer.stop("the reason")`` ends it after the step, or the epoch, that is going on. One of one's
own overrides only what it needs:

    class HalveTheRate(Callback):
        def on_epoch_end(self, trainer, epoch, figures):
            trainer.optimizer.learning_rate /= 2

What a callback remembers from step to step belongs into a checkpoint: `state` gives it, and
`restore` takes it back. A run that is resumed calls `on_fit_begin` when everything is restored;
``trainer.history`` and ``trainer.steps`` then say how far it had come.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from chainrule.training.trainer import Trainer

__all__ = ["Callback"]


class Callback:
    """Something that `Trainer.fit` calls while it trains; a subclass overrides what it needs.

    A method that is not overridden costs nothing.
    """

    comes_last: ClassVar[bool] = False
    """True says that it is called after those that do not say so, wherever it stands in the list:
    a checkpoint has to hold what the others have come to."""

    def check(self, trainer: Trainer) -> None:
        """Refuse a run that cannot go well, by raising an error; nothing may be changed here.

        It is called when all data have been looked at, and before any callback begins. So what is
        refused costs nothing: no file is emptied, no model is built. ``trainer.columns`` has the
        columns that will be measured. In a run that is resumed, `restore` was called before.

        Parameters
        ----------
        trainer
            The model may not be built yet.
        """

    def on_fit_begin(self, trainer: Trainer) -> None:
        """Before the first step: the model is built, and the history is empty or that resumed.

        Parameters
        ----------
        trainer
            With its ``model``, ``loss``, ``optimizer``, ``metrics``, ``rng`` and ``history``;
            ``trainer.is_resumed`` says whether it goes on from a checkpoint.
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

    def figures(self, trainer: Trainer, epoch: int) -> Mapping[str, float]:
        """What this callback adds to the history, by column: the same columns in every epoch."""
        return {}

    def added_columns(self) -> Sequence[str] | None:
        """The columns that `figures` adds, or None if only the first epoch can tell.

        A callback that knows them before the first step says so here. Then a misspelled name in
        another callback's ``monitor=`` is refused before anything is trained.
        """
        return () if type(self).figures is Callback.figures else None

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

    def state(self) -> dict[str, Any]:
        """What a checkpoint has to keep: numbers, strings, None, arrays, lists and dicts of them.

        Nothing if it is not overridden.
        """
        return {}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state` gave in the run that is resumed."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"
