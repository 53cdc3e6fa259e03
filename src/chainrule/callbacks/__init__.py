"""Callbacks: your code, called while a network is trained.

    from chainrule import callbacks

    trainer.fit(
        x, t, epochs=200, validation_data=(x_val, t_val),
        callbacks=[callbacks.EarlyStopping(patience=10), callbacks.CSVLogger("run.csv")],
    )

Read in this order:

    callback        the base class, and when its methods are called; start here to write your own
    from_functions  a callback made from plain functions
    column_names    validation_loss and val_loss: the names of columns, and the nearest one
    monitoring      the column of the history that a callback monitors
    improvement     when one figure is better than another
    early_stopping, checkpoint, csv_logger, tensorboard    one callback each
    csv_table       the CSV format that `CSVLogger` and `History.to_csv` write

A new callback needs a new module and a line in the table below; nothing else changes.
`LearningRate` is defined in `chainrule.schedules` and listed here because it is a callback. Each
callback is imported on first use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from chainrule.callbacks.callback import Callback
from chainrule.core.deprecation import moved
from chainrule.core.hints import loaded, missing_name

if TYPE_CHECKING:
    from chainrule.callbacks.checkpoint import Checkpoint
    from chainrule.callbacks.csv_logger import CSVLogger
    from chainrule.callbacks.early_stopping import EarlyStopping
    from chainrule.callbacks.from_functions import FromFunctions
    from chainrule.callbacks.tensorboard import TensorBoard
    from chainrule.schedules.learning_rate import LearningRate

_MODULES = {
    "Checkpoint": "chainrule.callbacks.checkpoint",
    "CSVLogger": "chainrule.callbacks.csv_logger",
    "EarlyStopping": "chainrule.callbacks.early_stopping",
    "FromFunctions": "chainrule.callbacks.from_functions",
    "LearningRate": "chainrule.schedules.learning_rate",
    "TensorBoard": "chainrule.callbacks.tensorboard",
}

_RENAMED = {"Functions": "chainrule.callbacks.FromFunctions"}

__all__ = [
    "CSVLogger",
    "Callback",
    "Checkpoint",
    "EarlyStopping",
    "FromFunctions",
    "LearningRate",
    "TensorBoard",
]


if not TYPE_CHECKING:  # with a __getattr__, type checkers would accept any name

    def __getattr__(name: str) -> Any:
        if name in _RENAMED:
            return moved(__name__, name, _RENAMED, removed_in="0.3")
        if name not in _MODULES:
            raise missing_name(__name__, name)
        return loaded(__name__, name, _MODULES)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
