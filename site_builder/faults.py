"""A fault of a page, reported as `docs/page.md:12: the problem and how to fix it`.

Faults are collected and reported together: after renaming something in the source, you want to see
every page that uses it, not only the first.
"""

from __future__ import annotations

from attrs import frozen


@frozen(order=True)
class Fault:
    """One fault.

    Attributes
    ----------
    page
        The file, relative to the root of the repository.
    line
        The line, from 1; 0 for the page as a whole.
    problem
        The problem and, where possible, how to fix it.
    """

    page: str
    line: int
    problem: str

    def __str__(self) -> str:
        place = f"{self.page}:{self.line}" if self.line else self.page
        first, *more = self.problem.splitlines() or [""]
        return "\n".join([f"{place}: {first}", *(f"    {line}" for line in more)])


class PageError(Exception):
    """A fault found while a block was parsed or processed; its line is that of the page."""

    def __init__(self, line: int, problem: str) -> None:
        super().__init__(problem)
        self.line, self.problem = line, problem
