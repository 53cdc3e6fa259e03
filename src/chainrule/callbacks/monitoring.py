"""The column of the history that a callback monitors: it has to exist.

Which columns there will be is known before the first step, except for those that a user's own
callbacks add: their `figures` is called for the first time when the first epoch is over.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from chainrule.core.errors import ConfigurationError

if TYPE_CHECKING:
    from chainrule.training.trainer import Trainer

VALIDATION = "validation_"
SHORT = "val_"
"""What others write for it."""


def require_column(owner: object, column: str, trainer: Trainer) -> None:
    """Refuse, before the first step, to monitor a column that the history will not have.

    Where a callback of the run adds columns of its own, any name may turn out to be one of them,
    and `figure_of` refuses it when the first epoch is over.

    Parameters
    ----------
    owner
        The callback that monitors it.
    column
        Its name.
    trainer
        Whose run is to begin.

    Raises
    ------
    ConfigurationError
        It is none of them. The error suggests the nearest, or validation data where they lack.
    """
    columns, may_be_more = list(trainer.columns), False
    for callback in trainer.callbacks:
        added = callback.added_columns()
        columns += added or []
        may_be_more |= added is None
    is_a_slip = column.startswith(SHORT) and _in_full(column) in columns
    if column not in columns and (is_a_slip or not may_be_more):
        raise _no_such_column(owner, column, columns)


def figure_of(owner: object, column: str, trainer: Trainer, figures: Mapping[str, float]) -> float:
    """What the epoch that is over has in the column that is monitored.

    NaN where other epochs have a figure in it, and this one has none.

    Raises
    ------
    ConfigurationError
        The history has no such column, now that callbacks have added theirs.
    """
    if column not in figures and column not in trainer.history:
        raise _no_such_column(owner, column, list(figures))
    return figures.get(column, math.nan)


def _in_full(column: str) -> str:
    """``val_loss`` → ``validation_loss``."""
    is_short = column.startswith(SHORT)
    return VALIDATION + column.removeprefix(SHORT) if is_short else column


def _no_such_column(owner: object, column: str, columns: Sequence[str]) -> ConfigurationError:
    meant = _in_full(column)
    nearest = meant if meant in columns else _nearest(meant, columns)
    has_validation = any(name.startswith(VALIDATION) for name in columns)
    if meant.startswith(VALIDATION) and not has_validation:
        bare = meant.removeprefix(VALIDATION)
        hint = "give validation_data to fit, "
        hint += "" if meant == column else f"and monitor={meant!r}; "
        hint += f"or monitor={bare if bare in columns else 'loss'!r}"
    elif nearest is not None:
        hint = f"did you mean monitor={nearest!r}?"
    else:
        hint = f"one of these: monitor={VALIDATION + 'loss' if has_validation else 'loss'!r}"
    return ConfigurationError(
        "the history has no such column to monitor",
        place=type(owner).__name__,
        expected=f"a column {column!r}",
        received=", ".join(columns),
        hint=hint,
    )


def _nearest(column: str, columns: Sequence[str]) -> str | None:
    """The name that was likely meant, of training or validation data as the one that was given."""
    of_validation = column.startswith(VALIDATION)
    alike = [name for name in columns if name.startswith(VALIDATION) == of_validation]
    bare = {name.removeprefix(VALIDATION): name for name in alike}
    close = difflib.get_close_matches(column.removeprefix(VALIDATION), bare, n=1)
    close = [bare[name] for name in close]
    close += difflib.get_close_matches(column, columns, n=1, cutoff=0.8)
    return close[0] if close else None
