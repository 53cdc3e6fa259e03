"""The errors: each says where it happened, what was expected, what was received and how to fix it.

A message has this layout, and each line is also an attribute of the error::

    Dense(30): the input has the wrong width
      at        sequential/dense_2
      expected  (batch, 30)
      received  (batch, 31), produced by activation_1
      hint      pass rows of shape (30,), or build a copy for this input: layer.unbuilt()

A container that an error passes through adds its own name to the front of the place (`within`), so
the layer that raises it needs no knowledge of its position.
"""

from __future__ import annotations

from typing import Any, Self

from chainrule.core.deprecation import renamed_keywords, renamed_settable_attribute
from chainrule.core.terminal import described as described
from chainrule.core.terminal import printable
from chainrule.core.terminal import shortened as shortened


class ChainruleError(Exception):
    """The base class of all errors of chainrule.

    Parameters
    ----------
    problem
        What is wrong, in a short sentence without a full stop.
    place
        Where: a path of names such as ``sequential/dense_2``.
    expected, received
        What was expected there, and what was received.
    hint
        How the reader can most likely fix it.
    """

    is_located: bool = False
    """Whether the place is complete: another process has raised the error."""

    mend = renamed_settable_attribute("hint", removed_in="0.3")

    @renamed_keywords(removed_in="0.3", mend="hint")
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
        """The same error, with a container added to the front of its place."""
        if not self.is_located:
            self.place = f"{container}/{self.place}" if self.place else container
        return self

    @printable
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
    """A layer class, or an object used as a layer, violates the contract of a layer."""


class ConfigurationError(ChainruleError, ValueError):
    """An argument of a layer, a loss, an optimizer or a run is invalid."""


class ArgumentError(ConfigurationError, TypeError):
    """A call has an argument that does not exist, lacks one that it needs, or has one too many."""


class BuildError(ChainruleError, RuntimeError):
    """A layer could not be built, or was used before it was built."""


class ShapeError(ChainruleError, ValueError):
    """An array has the wrong shape."""


class DtypeError(ChainruleError, TypeError):
    """An array has the wrong dtype."""


class BackwardBeforeForwardError(ChainruleError, AttributeError, RuntimeError):
    """``backward`` was called without a preceding ``forward``."""


class DataError(ChainruleError, ValueError):
    """Data that cannot be learned from: not finite, of unequal length or empty.

    ``batch`` holds the inputs, the target and the weights, if they came as one batch.
    """

    batch: Any = None


class NonFiniteError(ChainruleError, ArithmeticError):
    """Training produced a number that is not finite."""


class RankError(ChainruleError, RuntimeError):
    """Another process of a divided training failed, or the processes do not agree."""


class ConvergenceError(ChainruleError, ArithmeticError):
    """A solver did not find what it was looking for."""


class SingularMatrixError(ChainruleError, ArithmeticError):
    """A system of linear equations has no unique solution."""


class NoTangentRuleError(ChainruleError, NotImplementedError, TypeError):
    """A NumPy function without a tangent rule was called with a `Dual` number."""


class UndecidedError(ChainruleError, NotImplementedError, TypeError):
    """A program asks formulas for something that only numbers can answer."""


class ExportError(ChainruleError, NotImplementedError, TypeError):
    """A model computes something that the file of another program cannot express.

    Attributes
    ----------
    layer : str or None
        The path of the layer that computes it.
    """

    layer: str | None = None


class MissingExtraError(ChainruleError, ImportError):
    """A feature needs a library that is not installed."""


class LayerCheckError(ChainruleError, AssertionError):
    """A layer violates a law of the contract. ``report`` lists each law with its measured error."""

    report: Any = None


class StorageError(ChainruleError, ValueError):
    """A model cannot be written to a file, or a file does not hold a model.

    ``is_newer`` means that the file is intact, but was written by a newer chainrule.
    """

    is_newer: bool = False
