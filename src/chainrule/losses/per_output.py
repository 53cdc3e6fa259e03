"""A loss for each output of a model, and their weighted sum.

C = Σ_i λ_i C_i        Δ_i = λ_i ∂C_i/∂y_i
"""

from __future__ import annotations

import functools
import numbers
import operator
import sys
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from attrs import Factory, define, field

from chainrule.core.errors import ChainruleError, ConfigurationError, ShapeError
from chainrule.core.types import Array
from chainrule.losses.loss import Loss
from chainrule.losses.refusals import description_of, name_of


def _losses_of_outputs(given: Any) -> tuple[Loss, ...]:
    is_series = isinstance(given, Iterable) and not isinstance(given, str)
    losses = tuple(given) if is_series else (given,)
    for number, loss in enumerate(losses):
        is_class = isinstance(loss, type) and issubclass(loss, Loss)
        if not isinstance(loss, Loss) or isinstance(loss, PerOutput):
            raise ConfigurationError(
                "PerOutput takes losses, each of them for one output",
                place=f"losses[{number}]",
                expected="a loss such as HalfSquaredError()",
                received=f"{loss!r:.80}",
                hint=f"make an instance of it: {losses[number].__name__}(…)" if is_class else None,
            )
    if len(losses) < 2:
        raise ConfigurationError(
            "PerOutput is for several outputs, with a loss for each",
            place="losses",
            expected="a list of two losses at least",
            received=f"{given!r:.80}",
            hint="where the model has one output, give the loss itself",
        )
    return losses


def _weights_of_outputs(given: Any) -> tuple[float, ...]:
    is_series = isinstance(given, Iterable) and not isinstance(given, str)
    weights = tuple(given) if is_series else (given,)
    for number, weight in enumerate(weights):
        is_number = isinstance(weight, numbers.Real) and not isinstance(weight, bool)
        if not is_number or not 0 <= weight <= sys.float_info.max:
            raise ConfigurationError(
                "the weight of a loss is a finite number, 0 or more",
                place=f"weights[{number}]",
                expected="0 ≤ weight < ∞",
                received=f"{weight!r:.60}",
                hint="a weight of 0 silences an output: its cost is measured, and not learned from",
            )
    return tuple(map(float, weights))


@define
class PerOutput(Loss):
    """A loss for each of a model's outputs, and what is made small is their weighted sum.

    C = Σ_i λ_i C_i(y_i, t_i)        Δ_i = ∂C/∂y_i = λ_i ∂C_i/∂y_i

    Where other losses take an array y and an array t, this one takes a tuple of them, with one
    array for each output, and gives a tuple of deltas. The sample weights are those of all outputs.

    Parameters
    ----------
    losses
        The losses C_i, in the order of the outputs: two at least.
    weights
        λ_i, finite and not negative. Default: one for each. A weight of zero silences an output,
        whatever stands in it: its C_i is computed, and neither C nor any Δ knows of it.

    Raises
    ------
    ConfigurationError
        Something is no loss of one output, or no such weight, or there are not as many of both.
    ShapeError
        When it is called: y or t is no tuple, or has not as many arrays as there are losses.

    Notes
    -----
    What an array is refused for, its own loss says; the error's place begins with ``y[i]``.

    Source: the weighted sum of R. Caruana, *Multitask Learning*, Machine Learning 28 (1997) 41.

    Examples
    --------
    >>> each = [losses.HalfSquaredError(), losses.MeanAbsoluteError()]
    >>> loss = PerOutput(each, weights=[1.0, 0.5])
    >>> y = np.array([[3.0]]), np.array([[1.0, 2.0]])
    >>> t = np.array([[1.0]]), np.array([[1.0, 6.0]])
    >>> loss(y, t)  # ½ 2² + ½ (0 + 4)/2
    np.float64(3.0)
    >>> loss.delta(y, t)
    (array([[2.]]), array([[ 0.  , -0.25]]))
    """

    losses: tuple[Loss, ...] = field(converter=_losses_of_outputs)
    weights: tuple[float, ...] = field(
        default=Factory(lambda self: (1.0,) * len(self.losses), takes_self=True),
        converter=_weights_of_outputs,
    )

    @weights.validator
    def _require_one_for_each(self, attribute: Any, weights: tuple[float, ...]) -> None:
        if len(weights) != len(self.losses):
            raise ConfigurationError(
                "PerOutput: there is one weight for each loss",
                expected=f"{len(self.losses)} weights",
                received=f"{len(weights)}: {', '.join(map(str, weights))}",
            )

    def __call__(self, y: Any, target: Any, sample_weights: Array | None = None) -> Array:
        """C = Σ_i λ_i C_i, a scalar; arguments as in `Loss`, y and the target in tuples."""
        return self.total(self._each("__call__", y, target, sample_weights))

    def delta(self, y: Any, target: Any, sample_weights: Array | None = None) -> tuple[Array, ...]:
        """The tuple of the Δ_i = λ_i ∂C_i/∂y_i. Arguments as for C."""
        return self._weighted(self._each("delta", y, target, sample_weights))

    def value_and_delta(
        self, y: Any, target: Any, sample_weights: Array | None = None
    ) -> tuple[Array, tuple[Array, ...]]:
        """C and the tuple of the Δ_i."""
        costs, deltas = self.costs_and_deltas(y, target, sample_weights)
        return self.total(costs), deltas

    def costs_and_deltas(
        self, y: Any, target: Any, sample_weights: Array | None = None
    ) -> tuple[tuple[Array, ...], tuple[Array, ...]]:
        """The C_i without their weights, of which `total` makes C; and the Δ_i, which have them."""
        pairs = self._each("value_and_delta", y, target, sample_weights)
        return tuple([c for c, _ in pairs]), self._weighted([delta for _, delta in pairs])

    def costs(self, y: Any, target: Any) -> Array:
        """c_s = Σ_i λ_i c_is, the cost of each sample in all of its outputs: shape (batch,)."""
        return self.total(self._each("costs", y, target))

    def slopes(self, y: Any, target: Any) -> tuple[Array, ...]:
        """The tuple of the λ_i ∂c_is/∂y_is."""
        return self._weighted(self._each("slopes", y, target))

    def accept(self, y: Any, target: Any) -> tuple[Array, ...]:
        """Return the tuple of the targets as their losses take them, or raise a named error."""
        return tuple(self._each("accept", y, target))

    def validate_targets(self, y_shape: Any, target: Any) -> None:
        """As in `Loss`, with a tuple of shapes and a tuple of targets."""
        self._each("validate_targets", tuple(y_shape), target)

    @property
    def for_each_output(self) -> tuple[Loss, ...]:
        """The losses, in the order of the outputs."""
        return self.losses

    def total(self, costs: Sequence[Any]) -> Any:
        """C = Σ_i λ_i C_i, from the C_i."""
        return functools.reduce(operator.add, self._weighted(costs))

    def _weighted(self, arrays: Sequence[Array]) -> tuple[Array, ...]:
        return tuple([_times(w, array) for w, array in zip(self.weights, arrays, strict=True)])

    def _each(self, method: str, y: Any, target: Any, *more: Any) -> list[Any]:
        """What a method of each loss gives for its own output and target."""
        self._require_tuple("y", "output", y)
        self._require_tuple("t", "target", target)
        found = []
        for number, (loss, *given) in enumerate(zip(self.losses, y, target, strict=True)):
            try:
                found.append(getattr(loss, method)(*given, *more))
            except ChainruleError as error:
                error.place = ", ".join(filter(None, [f"y[{number}]", error.place]))
                raise
            except Exception as error:
                error.add_note(f"in {name_of(loss)}, the loss of y[{number}]")
                raise
        return found

    def _require_tuple(self, name: str, what: str, given: Any) -> None:
        count = len(self.losses)
        if type(given) is tuple and len(given) == count:
            return
        arrays = ", ".join(f"{name}_{n + 1}" for n in range(count))
        is_series = isinstance(given, tuple | list)
        raise ShapeError(
            f"there is one {what} for each of {count} losses, and this is another number of them"
            if is_series and len(given) != count
            else f"the {what}s of {count} losses are a tuple, and this is none",
            place=f"PerOutput, {name}",
            expected=f"({arrays}), a tuple of arrays",
            received=f"a {type(given).__name__} of {len(given)}: "
            + ", ".join(map(description_of, given))
            if is_series
            else description_of(given),
            hint="a model with one output takes one loss, such as HalfSquaredError()"
            if name == "y" and not is_series
            else f"one {what} for each loss, in their order: ({arrays})",
        )


def _times(weight: float, array: Any) -> Any:
    """λ times an array; zeros where λ is zero, whatever stands in it."""
    if weight == 1.0:
        return array
    return weight * array if weight else np.zeros_like(array)
