"""The base class of all callbacks: your code, called while a network is trained.

`Trainer.fit` calls the methods of each callback at these moments:

    check                 for all callbacks, before anything is changed
    on_fit_begin
      for each epoch:
        for each step:    batch → forward → cost → backward → optimizer
          on_step_end
        validation
        figures           adds columns to the figures of the epoch, which then enter the history
        on_epoch_end
    on_fit_end            always, even if training ended with an error or with Ctrl-C

Callbacks are called in the order of the list, those with `comes_last` after the others;
`on_fit_end` is called in reverse order, so the first to begin is the last to end.

A callback can read everything in the trainer, and change the settings of a run: fields of the
optimizer, the loss, the layers and the callbacks, such as ``trainer.optimizer.learning_rate``, and
what is frozen. Checkpoints contain these changes. The objects themselves cannot be replaced during
a run, and neither can what a callback was started with, such as the path of a file.
``trainer.steps`` counts the steps of the run, and ``trainer.stop("the reason")`` ends it after the
current step or epoch. A custom callback overrides only the methods it needs:

    class HalveTheRate(Callback):
        def on_epoch_end(self, trainer, epoch, figures):
            trainer.optimizer.learning_rate /= 2

If several processes train together (``Trainer(…, ranks=…)``), rank 0 alone calls its callbacks, and
what they change there holds on all ranks.

What a callback remembers from step to step belongs in a checkpoint: `state` returns it, and
`restore` receives it. A resumed run calls `on_fit_begin` after everything is restored;
``trainer.history`` and ``trainer.steps`` then show how far the run had got.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from chainrule import files
from chainrule.core.errors import ConfigurationError, StorageError, shortened
from chainrule.core.hints import Hinted

if TYPE_CHECKING:
    from chainrule.training.trainer import Trainer

__all__ = ["Callback"]


class Callback(Hinted):
    """Code that `Trainer.fit` calls while it trains; a subclass overrides the methods it needs.

    Methods that are not overridden cost nothing.
    """

    comes_last: ClassVar[bool] = False
    """If True, this callback is called after all others, wherever it is in the list: a checkpoint,
    for example, has to contain the final state of the others."""

    writes_checkpoints: ClassVar[bool] = False
    """If True, it has a folder that `lock` reserves for one run."""

    changes_rate_alone: ClassVar[bool] = False
    """True, set in the class itself, declares that until the run ends the callback changes nothing
    but the learning rate, and when it stops: a training on several ranks then compares nothing
    else after each step."""

    _is_in_a_run: bool = False  # see chainrule.core.validators.FIXED_IN_A_RUN

    def lock(self) -> None:
        """Reserve what the callback writes, before anything else of a run begins."""

    def unlock(self, *, undo: bool = False) -> None:
        """Release it; with ``undo``, as if there had been no run."""

    def check(self, trainer: Trainer, /) -> None:
        """Raise an error for a run that cannot succeed; do not change anything here.

        It is called after all data are checked, and before any callback begins. So an error here
        does no harm: no file is emptied, and no model is built. ``trainer.columns`` has the columns
        that will be measured. In a resumed run, `restore` is called before.

        Parameters
        ----------
        trainer
            The trainer; its model may not be built yet.
        """

    def on_fit_begin(self, trainer: Trainer, /) -> None:
        """Before the first step: the model is built; the history is empty, or the resumed one.

        Parameters
        ----------
        trainer
            The trainer, with its ``model``, ``loss``, ``optimizer``, ``metrics``, ``rng`` and
            ``history``; ``trainer.is_resumed`` says whether it continues from a checkpoint.
        """

    def on_step_end(self, trainer: Trainer, epoch: int, step: int, cost: float, /) -> None:
        """After each step.

        Parameters
        ----------
        trainer
            As in `on_fit_begin`; the parameters have moved.
        epoch, step
            The number of the epoch, and of the step in it, both counted from 1.
        cost
            C of this step's batch, with the parameters from before they moved.
        """

    def figures(self, trainer: Trainer, epoch: int, /) -> Mapping[str, float]:
        """The figures that this callback adds to the history, with the same columns every epoch."""
        return {}

    def added_columns(self) -> Sequence[str] | None:
        """The columns that `figures` adds, or None if they are unknown before the first epoch.

        If a callback names its columns here, a misspelled name in another callback's ``monitor=``
        raises an error before training.
        """
        return () if type(self).figures is Callback.figures else None

    def on_epoch_end(self, trainer: Trainer, epoch: int, figures: Mapping[str, float], /) -> None:
        """After each epoch and its validation.

        Parameters
        ----------
        trainer
            As in `on_fit_begin`; ``trainer.history`` already contains the epoch.
        epoch
            The number of the epoch, counted from 1.
        figures
            The row that the epoch adds to the history, such as
            ``{"loss": 0.1, "validation_loss": 0.2}``.
        """

    def on_fit_end(self, trainer: Trainer, /) -> None:
        """At the end of the run, however it ended: the place to close a file."""

    def state(self) -> dict[str, Any]:
        """The state for a checkpoint: numbers, strings, None, arrays, and lists and dicts of them.

        The default is an empty state.
        """
        return {}

    def restore(self, state: Mapping[str, Any], /) -> None:
        """Continue from the `state` of the run that is resumed."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"


def require_own_place(
    callback: Callback, kind: type[Callback], name: str, trainer: Trainer
) -> None:
    """Raise an error if another callback of a run writes to the same file or folder.

    Parameters
    ----------
    callback, trainer
        The callback, and the trainer of the run.
    kind, name
        The class of such callbacks, and the field with the path.

    Raises
    ------
    ConfigurationError
        There is another one, or the callback is in the list twice.
    """
    own = os.path.realpath(files.resolved(getattr(callback, name)))
    same = [
        each
        for each in trainer.callbacks
        if isinstance(each, kind) and os.path.realpath(files.resolved(getattr(each, name))) == own
    ]
    if len(same) > 1:
        raise ConfigurationError(
            f"{len(same)} callbacks write to the same {name}",
            place=kind.__name__,
            expected=f"another {name} for each",
            received=", ".join(shortened(getattr(each, name)) for each in same),
            hint=f"leave one out, or give it a {name} of its own",
        )


def require_state(
    callback: Callback, state: Mapping[str, Any], kinds: Mapping[str, tuple[type, ...]]
) -> None:
    """Raise an error unless a stored state has these entries, each of one of these types.

    Numbers must not be negative: all that the callbacks of this package count begins at 0.

    Raises
    ------
    StorageError
        An entry is missing or invalid.
    """
    for name, types in kinds.items():
        value = state.get(name, ...)
        is_negative = type(value) is int and value < 0
        if type(value) not in types or is_negative:
            raise StorageError(
                "the stored state of a callback is invalid",
                place=type(callback).__name__,
                expected=f"{name}: {' or '.join(kind.__name__ for kind in types)}",
                received="none" if value is ... else f"{value!r:.60}",
            )
