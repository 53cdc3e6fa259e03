"""Callbacks: what else shall happen while a network is trained.

    from chainrule import callbacks

    trainer.fit(
        x, t, epochs=200, validation_data=(x_val, t_val),
        callbacks=[callbacks.EarlyStopping(patience=10), callbacks.CSVLogger("run.csv")],
    )

What a callback is, and when it is called, stands in `chainrule.callbacks.callback`, where
one learns how to write one's own. Here are those that come along; each is loaded when it is first
used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from chainrule.callbacks.callback import Callback

if TYPE_CHECKING:
    from chainrule.callbacks.checkpoint import Checkpoint
    from chainrule.callbacks.csv_logger import CSVLogger
    from chainrule.callbacks.early_stopping import EarlyStopping
    from chainrule.callbacks.from_functions import FromFunctions
    from chainrule.callbacks.tensorboard import TensorBoard
    from chainrule.schedules.learning_rate import LearningRate

_PLACES = {
    "Checkpoint": "chainrule.callbacks.checkpoint",
    "CSVLogger": "chainrule.callbacks.csv_logger",
    "EarlyStopping": "chainrule.callbacks.early_stopping",
    "Functions": "chainrule.callbacks.from_functions",
    "LearningRate": "chainrule.schedules.learning_rate",
    "TensorBoard": "chainrule.callbacks.tensorboard",
}

__all__ = [
    "CSVLogger",
    "Callback",
    "Checkpoint",
    "EarlyStopping",
    "Functions",
    "LearningRate",
    "TensorBoard",
]


if not TYPE_CHECKING:  # with a __getattr__, type checkers would accept any name

    def __getattr__(name: str) -> Any:
        if name not in _PLACES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        found = getattr(importlib.import_module(_PLACES[name]), name)
        globals()[name] = found
        return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
