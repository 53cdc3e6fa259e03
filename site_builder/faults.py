"""What is wrong with a page, told as `docs/page.md:12: what and how to mend it`.

Faults are collected and told together: who has changed a name in the source wants to see every
page that uses it, not the first.
"""

from __future__ import annotations

from attrs import frozen


@frozen(order=True)
class Fault:
    """One thing that is wrong.

    Attributes
    ----------
    page
        The file, as seen from the root of the repository.
    line
        The line in it, from 1; 0 where it is the whole page.
    problem
        What is wrong and, where that can be said, how to mend it.
    """

    page: str
    line: int
    problem: str

    def __str__(self) -> str:
        place = f"{self.page}:{self.line}" if self.line else self.page
        first, *more = self.problem.splitlines() or [""]
        return "\n".join([f"{place}: {first}", *(f"    {line}" for line in more)])


class PageError(Exception):
    """A fault found while a block was read or worked on; its line is that of the page."""

    def __init__(self, line: int, problem: str) -> None:
        super().__init__(problem)
        self.line, self.problem = line, problem
