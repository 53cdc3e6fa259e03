"""One loss for each output of a model, and their weighted sum.

C = Σ_i λ_i C_i        Δ_i = λ_i ∂C_i/∂y_i
"""

from __future__ import annotations

import functools
import math
import operator
from collections.abc import Sequence
from typing import Any

import numpy as np
from attrs import Factory, define, field

from chainrule.core.errors import ChainruleError, ConfigurationError, ShapeError, shortened
from chainrule.core.types import Array
from chainrule.core.validators import as_float, as_plain_tuple
from chainrule.losses.loss import Loss
from chainrule.losses.messages import description_of, name_of


def _losses_of_outputs(given: Any) -> tuple[Loss, ...]:
    series = as_plain_tuple(given)
    losses = series if isinstance(series, tuple) else (given,)
    for number, loss in enumerate(losses):
        is_class = isinstance(loss, type) and issubclass(loss, Loss)
        if not isinstance(loss, Loss) or isinstance(loss, PerOutput):
            raise ConfigurationError(
                "PerOutput takes one loss for each output",
                place=f"losses[{number}]",
                expected="a loss such as HalfSquaredError()",
                received=shortened(loss, 80),
                hint=f"make an instance: {losses[number].__name__}(…)" if is_class else None,
            )
    if len(losses) < 2:
        raise ConfigurationError(
            "PerOutput needs several outputs, with one loss for each",
            place="losses",
            expected="a list of at least two losses",
            received=shortened(given, 80),
            hint="if the model has one output, give the loss itself",
        )
    return losses


def _weights_of_outputs(given: Any) -> tuple[float, ...]:
    series = as_plain_tuple(given)
    weights = tuple(map(as_float, series if isinstance(series, tuple) else (given,)))
    for number, weight in enumerate(weights):
        if not isinstance(weight, float) or not 0 <= weight < math.inf:
            raise ConfigurationError(
                "the weight of a loss must be a finite number, 0 or more",
                place=f"weights[{number}]",
                expected="0 ≤ weight < ∞",
                received=shortened(weight),
                hint="a weight of 0 silences an output: its cost is measured, but not trained on",
            )
    return weights


@define
class PerOutput(Loss):
    """One loss for each output of a model; training minimises their weighted sum.

    C = Σ_i λ_i C_i(y_i, t_i)        Δ_i = ∂C/∂y_i = λ_i ∂C_i/∂y_i

    Where other losses take an array y and an array t, this one takes two tuples with one array for
    each output, and returns a tuple of deltas. The sample weights apply to all outputs, or are a
    tuple with the weights of each, None for an output without.

    Parameters
    ----------
    losses
        The losses C_i, in the order of the outputs; at least two.
    weights
        λ_i, finite and not negative. Default: 1 for each. A weight of zero silences an output,
        whatever it contains: its C_i is computed, but does not enter C or any Δ.

    Raises
    ------
    ConfigurationError
        An item is not a loss of one output, a weight is invalid, or the numbers of losses and
        weights differ.
    ShapeError
        In a call: y or t is not a tuple with one array for each loss.

    Notes
    -----
    Each loss checks its own array; the place of such an error begins with ``y[i]``. A loss without
    targets has None in the tuple of targets.

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
                "PerOutput: there must be one weight for each loss",
                expected=f"{len(self.losses)} weights",
                received=f"{len(weights)}: {', '.join(map(str, weights))}",
            )

    def __call__(self, y: Any, target: Any = None, sample_weights: Any = None) -> Array:
        """C = Σ_i λ_i C_i, a scalar; arguments as in `Loss`, with y and the target as tuples."""
        return self.total(self._each("__call__", y, target, sample_weights))

    def delta(self, y: Any, target: Any = None, sample_weights: Any = None) -> tuple[Array, ...]:
        """The tuple of the Δ_i = λ_i ∂C_i/∂y_i. Arguments as for C."""
        return self._weighted(self._each("delta", y, target, sample_weights))

    def value_and_delta(
        self, y: Any, target: Any = None, sample_weights: Any = None
    ) -> tuple[Array, tuple[Array, ...]]:
        """C and the tuple of the Δ_i."""
        costs, deltas = self.costs_and_deltas(y, target, sample_weights)
        return self.total(costs), deltas

    def costs_and_deltas(
        self, y: Any, target: Any, sample_weights: Any = None
    ) -> tuple[tuple[Array, ...], tuple[Array, ...]]:
        """The C_i without their weights, from which `total` computes C; and the weighted Δ_i."""
        pairs = self._each("value_and_delta", y, target, sample_weights)
        return tuple([c for c, _ in pairs]), self._weighted([delta for _, delta in pairs])

    def costs(self, y: Any, target: Any = None) -> Array:
        """c_s = Σ_i λ_i c_is, the cost of each sample over all its outputs: shape (batch,)."""
        return self.total(self._each("costs", y, target))

    def slopes(self, y: Any, target: Any = None) -> tuple[Array, ...]:
        """The tuple of the λ_i ∂c_is/∂y_is."""
        return self._weighted(self._each("slopes", y, target))

    def accept(self, y: Any, target: Any) -> tuple[Array, ...]:
        """Return the tuple of the targets in the form their losses use, or raise a named error."""
        return tuple(self._each("accept", y, target))

    def validate_targets(self, y_shape: Any, target: Any) -> None:
        """As in `Loss`, with a tuple of shapes and a tuple of targets."""
        self._each("validate_targets", tuple(y_shape), target)

    def validate_weights(self, y_shape: Any, sample_weights: Any) -> None:
        """As in `Loss`, with a tuple of shapes; one array for all outputs, or a tuple of them."""
        for loss, shape, weights in zip(
            self.losses, y_shape, self._split(sample_weights), strict=True
        ):
            if weights is not None:
                loss.validate_weights(shape, weights)

    def counted(self, y_shape: Any, target: Any, sample_weights: Any = None) -> float:
        """The rows; each loss counts what counts in its own output."""
        return float(y_shape[0][0])

    def target_shape(self, output_shape: Any) -> Any:
        """As in `Loss`, with tuples of shapes."""
        pairs = zip(self.losses, output_shape, strict=True)
        return tuple([loss.target_shape(shape) for loss, shape in pairs])

    @property
    def takes_targets(self) -> bool:  # type: ignore[override]
        """Whether any of the losses takes a target."""
        return any(loss.takes_targets for loss in self.losses)

    @property
    def ignores(self) -> bool:
        """Whether some labels of an output do not count."""
        return any(loss.ignores for loss in self.losses)

    @property
    def for_each_output(self) -> tuple[Loss, ...]:
        """The losses, in the order of the outputs."""
        return self.losses

    def total(self, costs: Sequence[Any]) -> Any:
        """C = Σ_i λ_i C_i, computed from the C_i."""
        return functools.reduce(operator.add, self._weighted(costs))

    def _weighted(self, arrays: Sequence[Array]) -> tuple[Array, ...]:
        return tuple([_times(w, array) for w, array in zip(self.weights, arrays, strict=True)])

    def _each(self, method: str, y: Any, target: Any, sample_weights: Any = None) -> list[Any]:
        """Call a method of each loss with what belongs to its output; return the results."""
        self._require_tuple("y", "output", y)
        if target is None and not self.takes_targets:
            target = (None,) * len(self.losses)
        self._require_tuple("t", "target", target)
        weights = self._split(sample_weights)
        results = []
        for number, (loss, *given) in enumerate(zip(self.losses, y, target, weights, strict=True)):
            if given[2] is None:
                del given[2]
            try:
                results.append(getattr(loss, method)(*given))
            except ChainruleError as error:
                error.place = ", ".join(filter(None, [f"y[{number}]", error.place]))
                raise
            except Exception as error:
                error.add_note(f"in {name_of(loss)}, the loss of y[{number}]")
                raise
        return results

    def _split(self, sample_weights: Any) -> tuple[Any, ...]:
        """The weights of each output."""
        if not isinstance(sample_weights, tuple):
            return (sample_weights,) * len(self.losses)
        if len(sample_weights) != len(self.losses):
            self._require_tuple("sample_weights", "array of weights", sample_weights)
        return sample_weights

    def _require_tuple(self, name: str, what: str, given: Any) -> None:
        count = len(self.losses)
        if type(given) is tuple and len(given) == count:
            return
        arrays = ", ".join(f"{name}_{n + 1}" for n in range(count))
        is_series = isinstance(given, tuple | list)
        raise ShapeError(
            f"there must be one {what} for each of the {count} losses"
            if is_series and len(given) != count
            else f"the {what}s for {count} losses must be a tuple",
            place=f"PerOutput, {name}",
            expected=f"({arrays}), a tuple of arrays",
            received=f"a {type(given).__name__} of {len(given)}: "
            + ", ".join(map(description_of, given))
            if is_series
            else description_of(given),
            hint="for a model with one output, use one loss, such as HalfSquaredError()"
            if name == "y" and not is_series
            else f"give one {what} for each loss, in the same order: ({arrays})",
        )


def _times(weight: float, array: Any) -> Any:
    """λ times an array; if λ is zero, zeros, whatever the array contains."""
    if weight == 1.0:
        return array
    return weight * array if weight else np.zeros_like(array)
