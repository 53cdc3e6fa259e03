"""The errors: every one says where, what was expected, what came, and how to mend it.

A message is laid out like this, and each line is also an attribute of the error::

    Dense: the input has another width than the one it was built for
      at        sequential/dense_2
      expected  (batch, 30)
      received  (batch, 31), produced by activation_1
      hint      build the model again, or give it rows of 30 numbers

A container that sees an error pass adds its own name in front of the place (`within`), so the
layer that raises it needs to know nothing of where it stands.
"""

from __future__ import annotations

from typing import Any, Self

from chainrule.core.deprecation import renamed_attribute, renamed_keywords


class ChainruleError(Exception):
    """What every error of chainrule is.

    Parameters
    ----------
    problem
        What is wrong, in a sentence without a full stop.
    place
        Where it is wrong: a path of names such as ``sequential/dense_2``.
    expected, received
        What was expected there, and what came instead.
    hint
        What the reader most likely wants to do about it.
    """

    mend = renamed_attribute("hint", removed_in="0.3")

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
        """The same error, seen from the container it happened in."""
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
    """A layer's class, or what stands where a layer belongs, does not keep to the contract."""


class ConfigurationError(ChainruleError, ValueError):
    """An argument that configures a layer, a loss, an optimizer or a run makes no sense."""


class BuildError(ChainruleError, RuntimeError):
    """A layer could not be built, or was used as if it had been."""


class ShapeError(ChainruleError, ValueError):
    """An array has another shape than the one that fits."""


class DtypeError(ChainruleError, TypeError):
    """An array holds another kind of numbers than the one that fits."""


class BackwardBeforeForwardError(ChainruleError, AttributeError, RuntimeError):
    """``backward`` was called, but there is no ``forward`` for it to go back along."""


class DataError(ChainruleError, ValueError):
    """Data or targets that nothing can be learned from: not finite, of unequal length, empty.

    ``batch`` is the inputs, the target and the weights that came, where they came as one batch.
    """

    batch: Any = None


class NonFiniteError(ChainruleError, ArithmeticError):
    """Training produced a number that is not finite."""


class NoTangentRuleError(ChainruleError, NotImplementedError, TypeError):
    """A NumPy function met a `Dual` number and has no tangent rule."""


class MissingExtraError(ChainruleError, ImportError):
    """Something was asked for that needs a library which is not installed."""


class LayerCheckError(ChainruleError, AssertionError):
    """A layer breaks a law of the contract. ``report`` lists every law with its figure."""

    report: Any = None


class StorageError(ChainruleError, ValueError):
    """A model cannot be written to a file, or a file does not hold one.

    ``is_newer`` says that the file is one of a newer chainrule: whole, but not for this one.
    """

    is_newer: bool = False
