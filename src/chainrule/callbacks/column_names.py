"""The names of the columns of a history: ``loss``, and ``validation_loss`` for validation data."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

VALIDATION = "validation_"
SHORT = "val_"
"""The short form of this prefix in other libraries."""


def in_full(column: str) -> str:
    """``val_loss`` → ``validation_loss``."""
    is_short = column.startswith(SHORT)
    return VALIDATION + column.removeprefix(SHORT) if is_short else column


def nearest_column(column: str, columns: Sequence[str]) -> str | None:
    """The name that was likely meant, for training or validation data like the given one."""
    column = in_full(column)
    if column in columns:
        return column
    of_validation = column.startswith(VALIDATION)
    same_data = [name for name in columns if name.startswith(VALIDATION) == of_validation]
    bare = {name.removeprefix(VALIDATION): name for name in same_data}
    close = difflib.get_close_matches(column.removeprefix(VALIDATION), bare, n=1)
    close = [bare[name] for name in close]
    close += difflib.get_close_matches(column, columns, n=1, cutoff=0.8)
    return close[0] if close else None
