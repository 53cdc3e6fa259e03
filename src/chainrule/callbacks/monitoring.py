"""The column of the history that a callback monitors: it has to exist.

The columns are known before the first step, except those that custom callbacks add: their `figures`
is first called after the first epoch.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from chainrule.callbacks.column_names import SHORT, VALIDATION, in_full, nearest_column
from chainrule.core.errors import ConfigurationError

if TYPE_CHECKING:
    from chainrule.training.trainer import Trainer


def require_column(owner: object, column: str, trainer: Trainer) -> None:
    """Raise an error, before the first step, if the history will not have the column.

    If a callback of the run adds columns that are not known yet, any name is allowed here, and
    `figure_of` checks it after the first epoch.

    Parameters
    ----------
    owner
        The callback that monitors the column.
    column
        The name of the column.
    trainer
        The trainer whose run is about to begin.

    Raises
    ------
    ConfigurationError
        There will be no such column. The error suggests the closest name, or validation data if
        there are none.
    """
    columns, may_gain_others = list(trainer.columns), False
    for callback in trainer.callbacks:
        added = callback.added_columns()
        columns += added or []
        may_gain_others |= added is None
    is_short_form = column.startswith(SHORT) and in_full(column) in columns
    if column not in columns and (is_short_form or not may_gain_others):
        raise _no_such_column(owner, column, columns)


def figure_of(owner: object, column: str, trainer: Trainer, figures: Mapping[str, float]) -> float:
    """The figure of the last epoch in the monitored column.

    NaN if this epoch has no figure there, but other epochs do.

    Raises
    ------
    ConfigurationError
        The history has no such column, even after callbacks have added theirs.
    """
    if column not in figures and column not in trainer.history:
        raise _no_such_column(owner, column, list(figures))
    return figures.get(column, math.nan)


def _no_such_column(owner: object, column: str, columns: Sequence[str]) -> ConfigurationError:
    meant = in_full(column)
    nearest = nearest_column(column, columns)
    has_validation = any(name.startswith(VALIDATION) for name in columns)
    if meant.startswith(VALIDATION) and not has_validation:
        bare = meant.removeprefix(VALIDATION)
        hint = "give validation_data to fit, "
        hint += "" if meant == column else f"and monitor={meant!r}; "
        hint += f"or monitor={bare if bare in columns else 'loss'!r}"
    elif nearest is not None:
        hint = f"did you mean monitor={nearest!r}?"
    else:
        hint = f"for example, monitor={VALIDATION + 'loss' if has_validation else 'loss'!r}"
    return ConfigurationError(
        "the history has no such column to monitor",
        place=type(owner).__name__,
        expected=f"a column {column!r}",
        received=", ".join(columns),
        hint=hint,
    )
