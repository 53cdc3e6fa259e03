"""Improvement: whether a figure is better than the best so far.

A callback that waits until a network stops improving checks one condition in each epoch. With the
best figure so far, f*, and the new one, f,

    f < f* − threshold            or, relative,            f < f* − threshold · |f*|

For ``mode="max"`` the same applies to −f and −f*. NaN is never better.
"""

from __future__ import annotations

import math
from typing import Any, Protocol

from chainrule.core.validators import complain


class Criterion(Protocol):
    """Anything with a threshold and a mode, such as a callback that monitors a column."""

    @property
    def threshold(self) -> float: ...  # noqa: D102

    @property
    def relative(self) -> bool: ...  # noqa: D102

    @property
    def mode(self) -> str: ...  # noqa: D102


def is_better(figure: float, best: float | None, criterion: Criterion) -> bool:
    """Whether a figure is better than the best so far, by the condition above.

    Parameters
    ----------
    figure, best
        f and f*. If there was no figure before, f* is None; then every figure is better, except
        NaN and infinity in the bad direction. NaN counts as None.
    criterion
        The threshold, relative and mode to use.
    """
    sign = -1 if criterion.mode == "max" else 1
    limit = math.inf if best is None or math.isnan(best) else sign * best
    if math.isfinite(limit):
        limit -= criterion.threshold * (abs(limit) if criterion.relative else 1)
    return sign * figure < limit


def threshold_is_valid(owner: Any, attribute: Any, value: Any) -> None:
    """An attrs validator for a threshold: a number of at least 0, and below 1 if it is relative."""
    limit = 1.0 if owner.relative is True else math.inf
    if not isinstance(value, float) or not 0 <= value < limit:
        expected = "a number, 0 or more" + (", below 1" if limit == 1 else "")
        hint = "1e-4 is usual; for an absolute threshold use relative=False"
        complain(owner, "threshold", expected, value, hint)
