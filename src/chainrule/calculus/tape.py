"""A tape: the elementwise operations of a formula, recorded once and repeated for other parameters.

A fit evaluates the same formula for the same x again and again. Its numbers change, its operations
do not. The tape holds them in order, y_i = f_i(y_j, …), and runs backward for the derivatives:

    ȳ_j = Σ_i ȳ_i ∂f_i/∂y_j        from ȳ = 1 at the output to ∂y/∂θ of each parameter

Each operation acts on every row alone, so these are the derivatives of each row, for all parameters
at once, in about as many operations as a person would write. What depends on x alone is computed
when it is recorded. The formulas ∂f/∂y are those of `Dual`: `elementwise_rules`.

Not every formula can be recorded: with an `if` on a parameter, a sum over an axis, or a function
without an entry in the table, there is no tape, and jets do the work.

Theory: A. Griewank, A. Walther, *Evaluating Derivatives*, 2nd ed., SIAM 2008, chapter 3.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from chainrule.calculus.elementwise_rules import minus_one, one, partials_of
from chainrule.core.errors import NoTangentRuleError

UNIT = 1.0
"""∂y/∂y. A product with this very object is left out."""
CONSTANTS = (int, float, np.generic, np.ndarray)
"""The types of constants in a formula."""


class Step(NamedTuple):
    """One operation of one or two arguments; those without a second have None there."""

    target: int
    """The position of its result."""
    evaluate: Callable[..., Any]
    first: int
    second: int | None
    partials: tuple[tuple[int, Callable[..., Any]], ...]
    """(position, ∂f/∂argument) for each argument that depends on a parameter."""


class Tape:
    """The operations of one formula for given x.

    Parameters
    ----------
    function
        Computes the output from numbers, with operators and elementwise functions of NumPy.
    count
        How many numbers it takes.

    Raises
    ------
    NoTangentRuleError
        If the function does anything else with the numbers, such as a sum or a comparison.
    TypeError, AttributeError
        If it takes the numbers for something that they are not, as in ``a[0]`` or ``a.sum()``.

    Examples
    --------
    >>> x = np.array([0.0, 1.0])
    >>> tape = Tape(lambda a, b: a * np.exp(b * x), 2)
    >>> tape.value([2.0, 0.0])
    array([2., 2.])
    >>> tape.jacobian([2.0, 0.0])
    array([[1., 0.],
           [1., 2.]])
    """

    def __init__(self, function: Callable[..., Any], count: int) -> None:
        self._count = count
        self._numbers: list[Any] = [None] * count
        """The constants, each at its position."""
        self._steps: list[Step] = []
        output = function(*(_Recorded(self, n) for n in range(count)))
        if not isinstance(output, _Recorded):
            raise _not_recordable("an output that does not depend on the parameters")
        self._output = output.position
        self._at: bytes | None = None
        self._values: list[Any] = []

    def value(self, numbers: Any) -> Any:
        """The output for these numbers."""
        given = np.array(numbers, float)
        at = given.tobytes()
        if at != self._at:
            values = [*given, *self._numbers[self._count :]]
            for target, evaluate, first, second, _ in self._steps:
                x = values[first]
                values[target] = evaluate(x) if second is None else evaluate(x, values[second])
            self._values, self._at = values, at
        return self._values[self._output]

    def jacobian(self, numbers: Any) -> Any:
        """∂y/∂numbers, (entries of the output, count)."""
        y = self.value(numbers)
        values = self._values
        adjoints: list[Any] = [None] * len(values)
        adjoints[self._output] = UNIT
        for target, evaluate, first, second, partials in reversed(self._steps):
            adjoint = adjoints[target]
            if adjoint is None:
                continue
            given = [values[target], values[first]]
            if second is not None:
                given.append(values[second])
            is_quotient = evaluate is np.divide and len(partials) == 2
            ratio = adjoint / given[2] if is_quotient else None
            for number, (position, partial) in enumerate(partials):
                if ratio is not None:  # one division for both
                    term = given[0] * -ratio if number else ratio
                elif partial is one or partial is minus_one:
                    term = adjoint if partial is one else -adjoint
                else:
                    term = partial(*given)
                    if adjoint is not UNIT:
                        term = term * adjoint
                before = adjoints[position]
                adjoints[position] = term if before is None else before + term
        found = np.zeros((self._count, *np.shape(y)))
        for n in range(self._count):
            if adjoints[n] is not None:
                found[n] = adjoints[n]
        return found.reshape(self._count, -1).T

    def record(
        self, evaluate: Callable[..., Any], inputs: Sequence[Any], partials: Sequence[Any]
    ) -> _Recorded:
        """Append one operation."""
        arguments: list[int] = []
        moving = []
        for x, partial in zip(inputs, partials, strict=True):
            if isinstance(x, _Recorded):
                moving.append((x.position, partial))
            arguments.append(x.position if isinstance(x, _Recorded) else self._constant(x))
        first, second = arguments if len(arguments) == 2 else (arguments[0], None)
        self._numbers.append(None)
        target = len(self._numbers) - 1
        self._steps.append(Step(target, evaluate, first, second, tuple(moving)))
        return _Recorded(self, target)

    def _constant(self, x: Any) -> int:
        """The position of something that depends on no parameter."""
        if not isinstance(x, CONSTANTS):
            raise _not_recordable(type(x).__name__)
        # The formula may go on to write into the array.
        self._numbers.append(x.copy() if isinstance(x, np.ndarray) else x)
        return len(self._numbers) - 1


class _Recorded(np.lib.mixins.NDArrayOperatorsMixin):
    """A number or an array while a tape is recorded: it has a position and no value."""

    def __init__(self, tape: Tape, position: int) -> None:
        self.tape, self.position = tape, position

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **options: Any) -> Any:
        partials = partials_of(ufunc)
        if method != "__call__" or options or not partials:
            raise _not_recordable(ufunc.__name__)
        return self.tape.record(ufunc, inputs, partials)

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        raise _not_recordable(function.__name__)

    def __pow__(self, exponent: Any) -> Any:
        partials = partials_of(np.power)
        if isinstance(exponent, int | float) and exponent != 0:
            square, power = (lambda y, x, a: 2 * x), (lambda y, x, a: a * x ** (a - 1))
            partials = (square if exponent == 2 else power, partials[1])
        return self.tape.record(operator.pow, (self, exponent), partials)

    def __bool__(self) -> bool:
        raise _not_recordable("a condition")

    def __float__(self) -> float:
        raise _not_recordable("a conversion")

    def __array__(self, *given: Any, **named: Any) -> Any:
        raise _not_recordable("a conversion")


def _not_recordable(what: str) -> NoTangentRuleError:
    return NoTangentRuleError(
        f"{what} cannot be recorded", expected="operators and elementwise functions of NumPy"
    )
