"""The report of a proof: its parts, the regions it covers, and what it does not say."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator

from attrs import define, field

from chainrule.core.html_table import Html, escaped, html_table, pale
from chainrule.core.terminal import printable
from chainrule.symbolic.counterexample import Counterexample

PROVEN, REFUTED, UNDECIDED = "proven", "refuted", "undecided"
SIGNS = {PROVEN: "✓", REFUTED: "✗", UNDECIDED: "?"}

LONGEST = 60
"""A longer condition is only counted."""
WIDTH = 84
"""The width of the lines of an explanation."""


@define
class Part:
    """One statement about a layer.

    Attributes
    ----------
    name, statement
        Its name, and what it says.
    status
        "proven", "refuted" or "undecided".
    reason
        Why it is not proven.
    counterexample
        Values for which it is wrong.
    """

    name: str
    statement: str
    status: str = PROVEN
    reason: str = ""
    counterexample: Counterexample | None = None

    def worsen(self, status: str, reason: str) -> None:
        """Note that it does not hold, or that this is not known."""
        if self.status == PROVEN or (self.status == UNDECIDED and status == REFUTED):
            self.status, self.reason = status, reason

    @printable
    def __str__(self) -> str:
        lines = [f"  {SIGNS[self.status]} {self.name:<11} {self.statement}"]
        details = _wrapped(self.reason)
        if self.counterexample is not None:
            details += _wrapped(self.counterexample.diagnosis) + self.counterexample.lines()
        return "\n".join([*lines, *(" " * 16 + line for line in details)])


@define
class Proof:
    """The result of `prove_layer`. ``proof["backward"]`` is one of its parts.

    Attributes
    ----------
    subject
        What was looked at: the layer, the shape of its rows, the size of the batch.
    parts
        One `Part` for each statement.
    regions
        In each region, the signs of what the program has compared: a tuple of texts, which are
        empty if a formula is too long to be read.
    not_reached
        Conditions of which one side was not seen.
    not_visited
        How many combinations of sides next to the regions were not visited.
    domain
        What must hold for the formulas to be defined.
    readings
        The numbers that were read as the simple numbers that they stand for.
    gap
        If the code is proven by its formula: the largest difference between the two, relative to
        the largest number.
    seconds
        How long it took.
    """

    subject: str
    parts: list[Part]
    regions: list[tuple[str, ...]] = field(factory=list)
    not_reached: list[str] = field(factory=list)
    not_visited: int = 0
    domain: list[str] = field(factory=list)
    readings: str = ""
    gap: float | None = None
    seconds: float = 0.0

    @property
    def status(self) -> str:
        """It is "proven" if every part is; "refuted" if any part is; otherwise "undecided"."""
        found = {part.status for part in self.parts}
        return REFUTED if REFUTED in found else UNDECIDED if UNDECIDED in found else PROVEN

    def __getitem__(self, name: str) -> Part:
        for part in self.parts:
            if part.name == name:
                return part
        raise KeyError(
            f"there is no part {name!r}; there are {', '.join(p.name for p in self.parts)}"
        )

    def __iter__(self) -> Iterator[Part]:
        return iter(self.parts)

    def __bool__(self) -> bool:
        return self.status == PROVEN

    @printable
    def __str__(self) -> str:
        lines = [f"{self.subject}: {self.status} in {self.seconds:.2g} s", *map(str, self.parts)]
        if self.status != REFUTED and PROVEN in {part.status for part in self.parts}:
            count = len(self.regions)
            where = "for all values" + (f" in {count} regions" if count > 1 else "")
            lines.append(f"  Scope: this layer at this shape, {where}, over the real numbers;")
            lines.append("  overflow and rounding are what check_layer is for.")
            if self.not_visited:
                more = f"{self.not_visited} other combinations of their conditions"
                lines.append(f"  Not visited: at least {more}.")
        if self.domain:
            lines.append(f"  Where defined: {_shortened(self.domain)}")
        if self.gap is not None:
            lines.append(
                f"  Proven by its formula; the code differs from it by up to {self.gap:.1g}."
            )
        if self.readings:
            lines.append(f"  Reading {self.readings}.")
        if self.not_reached and self.status != REFUTED:  # then the search has stopped
            lines.append(f"  Sides not reached: {_shortened(self.not_reached)}")
        return "\n".join(lines)

    __repr__ = __str__

    def _repr_html_(self) -> str:
        head, *others = str(self).splitlines()
        rows: list[list[str]] = []
        for part in self.parts:
            _, *details = str(part).splitlines()
            text = pale("\n".join(line.strip() for line in details))
            says = Html(f"{escaped(part.statement)}<br/>{text}") if details else part.statement
            rows.append([f"{SIGNS[part.status]}\u00a0{part.name}", part.status, says])
        count = sum(len(str(part).splitlines()) for part in self.parts)
        notes = [line.strip() for line in others[count:]]
        refuted = [number for number, part in enumerate(self.parts) if part.status == REFUTED]
        titles = ("part", "status", "statement")
        return html_table(titles, rows, "lll", title=head, notes=notes, strong=refuted)


def _shortened(texts: list[str]) -> str:
    shown = [text for text in texts if text and len(text) <= LONGEST][:4]
    more = len(texts) - len(shown)
    return ", ".join(shown) + (f"{', and ' if shown else ''}{more} more" if more else "")


def _wrapped(text: str) -> list[str]:
    return [line for part in text.splitlines() for line in textwrap.wrap(part, WIDTH)]
