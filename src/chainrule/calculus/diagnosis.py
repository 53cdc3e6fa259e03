"""Diagnose a wrong gradient: name the mistake that probably caused it.

The check has the correct gradient E (entry by entry, from J) and the gradient R that `backward`
returned. Many mistakes leave a pattern: R = 7 E, if 7 is the batch size, is a forgotten average;
R = −E a wrong sign; R = Eᵀ a transposition. The diagnosis names the pattern that fits, and the
worst entry.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from attrs import define

CLOSE = 1e-6
"""The relative accuracy with which a pattern must fit to be named."""


@define
class Case:
    """What the check knows about a wrong gradient."""

    gradient: str  # "the gradient of weights", "the delta of the input"
    name: str
    received: npt.NDArray[Any]  # R, from a layer that has processed another batch before
    expected: npt.NDArray[Any]  # E
    fresh: npt.NDArray[Any]  # R, from a layer that has not
    sizes: Mapping[str, int]
    situation: str  # "for a batch of 2 rows", or nothing for an ordinary batch
    others_are_right: bool
    at_output: npt.NDArray[Any] | None  # E with the slope taken at the output
    forwards: npt.NDArray[Any] | None  # J u instead of Jᵀ u


def sentence(case: Case) -> str:
    """The diagnosis: what is wrong, the pattern, and the worst entry."""
    said = f"{case.gradient} is wrong"
    if case.situation:
        said += f" {case.situation}, but right for an ordinary batch"
    if case.others_are_right:
        said += f". Only {case.name} is wrong: all other results of backward are right"
    return f"{said}.\n{_pattern(case)}\n{worst_entry(case.received, case.expected)}"


def factor(
    received: npt.NDArray[Any], expected: npt.NDArray[Any], sizes: Mapping[str, int]
) -> str | None:
    """The diagnosis for R = c E with a number c, if that fits."""
    length = float(np.vdot(expected, expected))
    if received.shape != expected.shape or length == 0.0 or not np.all(np.isfinite(received)):
        return None
    c = float(np.vdot(expected, received)) / length
    if abs(c) < CLOSE or not _close(received, c * expected):
        return None
    if abs(c - 1) < CLOSE:
        return "It is right, but only to a few digits: is it computed by finite differences?"
    if abs(c + 1) < CLOSE:
        return "It has the wrong sign: −1 times what it should be."
    for what, size in sizes.items():
        if size > 1 and abs(abs(c) - size) < CLOSE * size:
            return f"It is {c:.6g} times too large, and {size} is {what}: {_average(what)}"
        if size > 1 and abs(abs(c) * size - 1) < CLOSE:
            return f"It is {1 / c:.6g} times too small, and {size} is {what}: {_average(what)}"
    digits = 6 if abs(abs(c) - 1) > 1e-4 else 12  # else it would read "1 times what it should be"
    times = f"{c:.{digits}g} times"
    return f"Every entry is {times} what it should be: is there a factor too many or too few?"


def worst_entry(received: npt.NDArray[Any], expected: npt.NDArray[Any]) -> str:
    """The entry with the largest error, with both values."""
    if received.shape != expected.shape or not received.size:
        return f"It has the shape {received.shape}, but should have {expected.shape}."
    difference = np.abs(received - expected)
    worst = np.unravel_index(int(np.argmax(np.nan_to_num(difference, nan=np.inf))), received.shape)
    wrong = int(
        np.sum(~(difference <= CLOSE * (np.abs(expected) + np.max(np.abs(expected)) + 1e-300)))
    )
    index = ", ".join(str(int(n)) for n in worst)
    return (
        f"Entry [{index}] is {received[worst]:.9g}, but should be {expected[worst]:.9g}; "
        f"{wrong} of {received.size} entries are wrong."
    )


def _pattern(case: Case) -> str:
    received, expected = case.received, case.expected
    if not np.all(np.isfinite(expected)):
        return "Compare backward with the formula of forward."
    if not np.any(received) and np.any(expected):
        return f"It is zero everywhere: does backward omit {case.name}?"
    if _close(case.fresh, expected) and not _close(received, expected):
        return (
            "It is right for the layer's first batch and wrong for the next: backward uses stale "
            "memory of an earlier forward."
        )
    words = factor(received, expected, case.sizes)
    if words:
        return words
    if received.ndim == 2 and _close(received, expected.T):
        return "It is transposed."
    if received.ndim == 2 and len(set(received.shape)) == 1:
        words = factor(received, expected.T, case.sizes)
        if words:
            return f"It is transposed. In addition: {words}"
    if case.forwards is not None and _close(received, case.forwards):
        return "It is transposed: backward multiplies by J instead of Jᵀ, such as w instead of w.T."
    if case.at_output is not None and _close(received, case.at_output):
        return (
            "It uses the slope at the output y = f(z) instead of the input z: the derivative has "
            "the wrong argument."
        )
    if case.situation.startswith("in the tails"):
        return "Does a function overflow, lose digits by cancellation, or get clipped there?"
    if case.situation.startswith("near zero"):
        return "Is there a kink, or a case that starts at a different value than in forward?"
    if received.ndim and len(received) == case.sizes["the batch size"] > 1:
        rows = [_close(r, e) for r, e in zip(received, expected, strict=True)]
        if rows[0] and not any(rows[1:]):
            return "Only the first row of the batch is right: does backward handle just one row?"
    right = np.abs(received - expected) <= CLOSE * (np.abs(expected) + np.max(np.abs(expected)))
    if np.any(right) and not np.all(right):
        with np.errstate(all="ignore"):
            ratios = (received / expected)[~right & (expected != 0)]
        if ratios.size and np.ptp(ratios) < CLOSE * np.max(np.abs(ratios)):
            return f"The wrong entries are all {ratios[0]:.6g} times what they should be."
        return "Some entries are right and some wrong: does backward get one of the cases wrong?"
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
