"""What is monitored: a column of the history, and when one of its figures is better than another.

A callback that waits for a network to get no better asks one question in each epoch. With the best
figure so far, f*, and the new one, f,

    f < f* − threshold            or, relative,            f < f* − threshold · |f*|

and for ``mode="max"`` the same of −f and −f*. A figure that is NaN is never better.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Sequence
from typing import Any, Protocol

from chainrule.core.errors import ConfigurationError
from chainrule.training.checked import complain

VALIDATION = "validation_"


class Rule(Protocol):
    """What has a threshold, and a mode: a callback that monitors."""

    @property
    def threshold(self) -> float: ...  # noqa: D102

    @property
    def relative(self) -> bool: ...  # noqa: D102

    @property
    def mode(self) -> str: ...  # noqa: D102


def is_better(figure: float, best: float | None, rule: Rule) -> bool:
    """Whether a figure is better than the best so far, by the rule above.

    Parameters
    ----------
    figure, best
        f, and f*, or None where there was no figure before: then any is better that is not
        infinite in the bad direction.
    rule
        threshold, relative and mode.
    """
    sign = -1 if rule.mode == "max" else 1
    limit = math.inf if best is None else sign * best
    if math.isfinite(limit):
        limit -= rule.threshold * (abs(limit) if rule.relative else 1)
    return sign * figure < limit


def threshold_makes_sense(owner: Any, attribute: Any, value: Any) -> None:
    """Refuse a threshold that is no number from 0 on, or a relative one from 1 on."""
    below = 1.0 if owner.relative else math.inf
    if not isinstance(value, float) or not 0 <= value < below:
        expected = "a number, 0 or more" + (", below 1" if below == 1 else "")
        mend = "1e-4 is usual; relative=False for one that is taken from the figure as it is"
        complain(owner, "threshold", expected, value, mend)


def require_column(owner: object, column: str, columns: Sequence[str]) -> None:
    """Refuse to monitor a column that the history does not have.

    Parameters
    ----------
    owner
        The callback that monitors it.
    column
        Its name.
    columns
        The names that there are.

    Raises
    ------
    ConfigurationError
        It is none of them. The error suggests the nearest, or validation data where they lack.
    """
    if column in columns:
        return
    nearest = _nearest(column, columns)
    has_validation = any(name.startswith(VALIDATION) for name in columns)
    if column.startswith(VALIDATION) and not has_validation:
        bare = column.removeprefix(VALIDATION)
        mend = f"give validation_data to fit, or monitor={bare if bare in columns else 'loss'!r}"
    elif nearest is not None:
        mend = f"did you mean monitor={nearest!r}?"
    else:
        mend = f"one of these: monitor={VALIDATION + 'loss' if has_validation else 'loss'!r}"
    raise ConfigurationError(
        "the history has no such column to monitor",
        place=type(owner).__name__,
        expected=f"a column {column!r}",
        received=", ".join(columns),
        mend=mend,
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
