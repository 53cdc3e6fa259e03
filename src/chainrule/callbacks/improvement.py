"""When one figure is better than another.

A callback that waits until a network stops improving asks one question in each epoch. With the best
figure so far, f*, and the new one, f,

    f < f* − threshold            or, relative,            f < f* − threshold · |f*|

and for ``mode="max"`` the same of −f and −f*. A figure that is NaN is never better.
"""

from __future__ import annotations

import math
from typing import Any, Protocol

from chainrule.core.validators import complain


class Criterion(Protocol):
    """Anything with a threshold and a mode, such as a callback that monitors."""

    @property
    def threshold(self) -> float: ...  # noqa: D102

    @property
    def relative(self) -> bool: ...  # noqa: D102

    @property
    def mode(self) -> str: ...  # noqa: D102


def is_better(figure: float, best: float | None, criterion: Criterion) -> bool:
    """Whether a figure is better than the best so far, by the rule above.

    Parameters
    ----------
    figure, best
        f, and f*, or None where there was no figure before: then any is better that is not
        infinite in the bad direction.
    criterion
        threshold, relative and mode.
    """
    sign = -1 if criterion.mode == "max" else 1
    limit = math.inf if best is None else sign * best
    if math.isfinite(limit):
        limit -= criterion.threshold * (abs(limit) if criterion.relative else 1)
    return sign * figure < limit


def threshold_is_valid(owner: Any, attribute: Any, value: Any) -> None:
    """Refuse a threshold that is no number from 0 on, or a relative one from 1 on."""
    below = 1.0 if owner.relative else math.inf
    if not isinstance(value, float) or not 0 <= value < below:
        expected = "a number, 0 or more" + (", below 1" if below == 1 else "")
        hint = "1e-4 is usual; relative=False for one that is taken from the figure as it is"
        complain(owner, "threshold", expected, value, hint)
