"""The names of the columns of a history: ``loss``, and ``validation_loss`` for validation data."""

from __future__ import annotations

from collections.abc import Sequence

from chainrule.core.hints import nearest

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
    close = nearest(column.removeprefix(VALIDATION), bare)
    return nearest(column, columns, alike=0.8) if close is None else bare[close]
