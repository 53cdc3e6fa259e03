"""Errors: each says where, what was expected, what was received, and how to fix it.

A message looks like this, and each line is also an attribute of the error::

    Dense: the input has another width than the one it was built for
      at        sequential/dense_2
      expected  (batch, 30)
      received  (batch, 31), produced by activation_1
      hint      build the model again, or give it rows of 30 numbers

A container that an error passes through puts its own name in front of the place (`within`), so the
layer that raises it need not know where in the model it is.
"""

from __future__ import annotations

from typing import Any, Self


class ChainruleError(Exception):
    """The base class of all errors of chainrule.

    Parameters
    ----------
    problem
        What is wrong, in a short sentence without a full stop.
    place
        Where: a path of names such as ``sequential/dense_2``.
    expected, received
        What was expected there, and what was received instead.
    hint
        The most likely fix.
    """

    def __init__(
        self,
        problem: str,
        *,
        place: str | None = None,
        expected: object = None,
        received: object = None,
        hint: str | None = None,
    ) -> None:
        super().__init__(problem)
        self.problem = problem
        self.place = place
        self.expected = expected
        self.received = received
        self.hint = hint

    def within(self, container: str) -> Self:
        """The same error, with the name of the container in front of its place."""
        self.place = f"{container}/{self.place}" if self.place else container
        return self

    def __str__(self) -> str:
        details = {
            "at": self.place,
            "expected": self.expected,
            "received": self.received,
            "hint": self.hint,
        }
        return "\n".join(
            [
                self.problem,
                *(f"  {label:<8}  {text}" for label, text in details.items() if text is not None),
            ]
        )

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.problem,), self.__dict__


class DefinitionError(ChainruleError, TypeError):
    """A layer's class, or an object used in place of a layer, violates the contract of a layer."""


class ConfigurationError(ChainruleError, ValueError):
    """An argument of a layer, a loss, an optimizer or a run is invalid."""


class BuildError(ChainruleError, RuntimeError):
    """A layer could not be built, or was used before it was built."""


class ShapeError(ChainruleError, ValueError):
    """An array has the wrong shape."""


class DtypeError(ChainruleError, TypeError):
    """An array has the wrong type of numbers."""


class BackwardBeforeForwardError(ChainruleError, AttributeError, RuntimeError):
    """``backward`` was called without a ``forward`` before it."""


class DataError(ChainruleError, ValueError):
    """Data or targets are unusable: not finite, of unequal length, or empty.

    If they came as one batch, ``batch`` holds its inputs, target and weights.
    """

    batch: Any = None


class NonFiniteError(ChainruleError, ArithmeticError):
    """Training produced a number that is not finite."""


class NoTangentRuleError(ChainruleError, NotImplementedError, TypeError):
    """A NumPy function without a tangent rule was called with a `Dual` number."""


class MissingExtraError(ChainruleError, ImportError):
    """A feature needs a library that is not installed."""


class LayerCheckError(ChainruleError, AssertionError):
    """A layer violates a law of the contract. ``report`` lists every law with its deviation."""

    report: Any = None


class StorageError(ChainruleError, ValueError):
    """A file could not be written, or does not hold what it should.

    ``is_newer`` is True if a newer chainrule wrote the file: it is intact, but this version cannot
    read it.
    """

    is_newer: bool = False
