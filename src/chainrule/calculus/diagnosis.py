"""From a wrong gradient to what is wrong with it.

The checker has the right gradient E (entry by entry, from J) and the one that `backward` gave, R.
Many faults leave a pattern in the pair: R = 7 E with 7 the batch size is an average forgotten,
R = −E a sign, R = Eᵀ a transposition. What matches a pattern is said in its words; what matches
none is said by its worst entry.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from attrs import define

CLOSE = 1e-6
"""How well a pattern must fit to be named, relative to the numbers."""


@define
class Case:
    """What the checker knows of a gradient that is wrong."""

    gradient: str  # "the gradient of weights", "the delta of the input"
    name: str
    received: npt.NDArray[Any]  # R, from a layer that had seen another batch before
    expected: npt.NDArray[Any]  # E
    fresh: npt.NDArray[Any]  # R, from a layer that had seen none
    sizes: Mapping[str, int]
    scale: float
    is_first_scale: bool
    others_are_right: bool
    at_output: npt.NDArray[Any] | None  # E with the slope taken at the output
    forwards: npt.NDArray[Any] | None  # J u in place of Jᵀ u


def sentence(case: Case) -> str:
    """What is wrong, and what that looks like."""
    said = f"{case.gradient} is wrong"
    if not case.is_first_scale:
        where = "in the tails" if case.scale > 1 else "near zero"
        said += f" {where}, for inputs of about {case.scale:g}, and right in the middle"
    if case.others_are_right:
        said += f". Only {case.name} is wrong: everything else that backward gives is right"
    return f"{said}.\n{_pattern(case)}\n{worst_entry(case.received, case.expected)}"


def factor(
    received: npt.NDArray[Any], expected: npt.NDArray[Any], sizes: Mapping[str, int]
) -> str | None:
    """The words for R = c E with one number c, if it is so."""
    length = float(np.vdot(expected, expected))
    if received.shape != expected.shape or length == 0.0 or not np.all(np.isfinite(received)):
        return None
    c = float(np.vdot(expected, received)) / length
    if abs(c) < CLOSE or not _close(received, c * expected):
        return None
    if abs(c - 1) < CLOSE:
        return "It is right, but to a few digits only: is it worked out by differences?"
    if abs(c + 1) < CLOSE:
        return "It has the wrong sign: −1 times what it should be."
    for what, size in sizes.items():
        if size > 1 and abs(abs(c) - size) < CLOSE * size:
            return f"It is {c:.6g} times too large, and {size} is {what}: {_average(what)}"
        if size > 1 and abs(abs(c) * size - 1) < CLOSE:
            return f"It is {1 / c:.6g} times too small, and {size} is {what}: {_average(what)}"
    digits = 6 if abs(abs(c) - 1) > 1e-4 else 12  # else it would read "1 times what it should be"
    times = f"{c:.{digits}g} times"
    return f"It is {times} what it should be, in every entry: a factor too many or too few?"


def worst_entry(received: npt.NDArray[Any], expected: npt.NDArray[Any]) -> str:
    """The entry that is farthest off, with both numbers."""
    if received.shape != expected.shape or not received.size:
        return f"It has the shape {received.shape}, and should have {expected.shape}."
    difference = np.abs(received - expected)
    worst = np.unravel_index(int(np.argmax(np.nan_to_num(difference, nan=np.inf))), received.shape)
    wrong = int(
        np.sum(~(difference <= CLOSE * (np.abs(expected) + np.max(np.abs(expected)) + 1e-300)))
    )
    index = ", ".join(str(int(n)) for n in worst)
    return (
        f"Entry [{index}] is {received[worst]:.9g} and should be {expected[worst]:.9g}; "
        f"{wrong} of {received.size} entries are wrong."
    )


def _pattern(case: Case) -> str:
    received, expected = case.received, case.expected
    if not np.all(np.isfinite(expected)):
        return "Compare backward with the formula of forward."
    if not np.any(received) and np.any(expected):
        return f"It is zero everywhere: is {case.name} forgotten in backward?"
    if _close(case.fresh, expected) and not _close(received, expected):
        return (
            "It is right for the first batch that the layer sees and wrong for the next: stale "
            "memory, backward uses what an earlier forward remembered."
        )
    words = factor(received, expected, case.sizes)
    if words:
        return words
    if received.ndim == 2 and _close(received, expected.T):
        return "It is transposed."
    if received.ndim == 2 and len(set(received.shape)) == 1:
        words = factor(received, expected.T, case.sizes)
        if words:
            return f"It is transposed, and besides: {words}"
    if case.forwards is not None and _close(received, case.forwards):
        return "It is transposed: backward multiplies by J where Jᵀ belongs, such as w for w.T."
    if case.at_output is not None and _close(received, case.at_output):
        return (
            "It is what one gets with the slope taken at the output y = f(z) in place of the input "
            "z: the derivative of the wrong argument."
        )
    if not case.is_first_scale and case.scale > 1:
        return "Does a function overflow, cancel or get cut off there?"
    if not case.is_first_scale:
        return "Is there a kink, or a case that begins at another place than in forward?"
    if received.ndim and len(received) == case.sizes["the batch size"] > 1:
        rows = [_close(r, e) for r, e in zip(received, expected, strict=True)]
        if rows[0] and not any(rows[1:]):
            return "Only the first row of the batch is right: does backward work for one row alone?"
    right = np.abs(received - expected) <= CLOSE * (np.abs(expected) + np.max(np.abs(expected)))
    if np.any(right) and not np.all(right):
        with np.errstate(all="ignore"):
            ratios = (received / expected)[~right & (expected != 0)]
        if ratios.size and np.ptp(ratios) < CLOSE * np.max(np.abs(ratios)):
            return f"The wrong entries are all {ratios[0]:.6g} times what they should be."
        return (
            "Some entries are right and some wrong: is there a case that backward treats wrongly?"
        )
    return "No simple factor, sign or transposition: compare backward with the formula of forward."


def _average(what: str) -> str:
    if what == "the batch size":
        return "is there an average too many or too few? The average belongs to the cost."
    return "is there an average or a sum too many or too few?"


def _close(a: npt.NDArray[Any], b: npt.NDArray[Any]) -> bool:
    if a.shape != b.shape:
        return False
    size = float(np.max(np.abs(b), initial=0.0))
    return bool(np.all(np.abs(a - b) <= CLOSE * max(size, 1e-300)))
