"""Compares printed text with the text that a page shows.

Without a tolerance, the lines must be equal, except for spaces at the end. With a tolerance, only
the numbers may differ. A printed number p agrees with a shown number s if

    |p − s| ≤ tolerance · max(|p|, |s|)      or      |p − s| ≤ absolute

A different number may change the width of its column, so several spaces then count as one.
"""

from __future__ import annotations

import difflib
import math
import re

from attrs import frozen

NUMBER = re.compile(
    r"(?<![\w.])[-+−]?(?:\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d+\.?\d*|\.\d+)(?:[eE][-+−]?\d+)?(?![\w])"
    r"|(?<![\w.])[-+]?(?:nan|inf)(?![\w])"
)


@frozen
class Tolerance:
    """The largest difference between a printed number and the shown one.

    Attributes
    ----------
    relative, absolute
        One of them is enough. If both are zero, the text must be the same.
    """

    relative: float = 0.0
    absolute: float = 0.0

    def __bool__(self) -> bool:
        return self.relative > 0 or self.absolute > 0


def difference(printed: str, shown: str, tolerance: Tolerance) -> str | None:
    """The differences as readable lines, or None if the texts agree."""
    here, there = _lines(printed), _lines(shown)
    if here == there:
        return None
    if tolerance and len(here) == len(there):
        apart = [
            problem
            for p, s in zip(here, there, strict=True)
            if (problem := _line_difference(p, s, tolerance))
        ]
        return "\n".join(apart) or None
    diff = list(difflib.unified_diff(there, here, lineterm="", n=1))[2:]
    return "\n".join(["- the page shows, + was printed", *diff])


def _lines(text: str) -> list[str]:
    return [line.rstrip() for line in text.strip("\n").splitlines()]


def _line_difference(printed: str, shown: str, tolerance: Tolerance) -> str | None:
    if _words(printed) != _words(shown):
        return f"- {shown}\n+ {printed}"
    pairs = zip(NUMBER.findall(printed), NUMBER.findall(shown), strict=True)
    apart = [f"{s} became {p}" for p, s in pairs if not _is_close(p, s, tolerance)]
    if not apart:
        return None
    allowed = " or ".join(
        f"{name} {size:g}"
        for name, size in (("relative", tolerance.relative), ("absolute", tolerance.absolute))
        if size
    )
    return f"{', '.join(apart)} (allowed: {allowed})\n- {shown}\n+ {printed}"


def _words(line: str) -> list[str]:
    """The line without its numbers, and with every run of spaces replaced by one.

    In brackets, as in `[ 0.1 -0.2]`, a number without a sign may have a space before it.
    """
    rest = re.sub(r"\s+", " ", NUMBER.sub(" 0 ", line))
    return rest.split(" ")


def _is_close(printed: str, shown: str, tolerance: Tolerance) -> bool:
    p, s = (float(text.replace("−", "-").replace(",", "")) for text in (printed, shown))
    if math.isnan(p) or math.isnan(s):
        return math.isnan(p) and math.isnan(s)
    if math.isinf(p) or math.isinf(s):
        return p == s
    return math.isclose(p, s, rel_tol=tolerance.relative, abs_tol=tolerance.absolute)
