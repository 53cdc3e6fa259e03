"""A loss: the cost of each sample, and the average over all of them.

    C = Σ_s share_s c_s        Δ_s = share_s ∂c_s/∂y_s        share_s = w_s/N

A loss says c_s and its slope; the shares, and with them the one average over the batch that there
is in all of training, are taken here.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NoReturn

import numpy as np
from attrs import define

from chainrule.core.errors import DefinitionError, DtypeError, ShapeError
from chainrule.core.types import Array
from chainrule.losses.refusals import (
    description_of,
    name_of,
    require_each,
    require_numbers,
    require_output,
    wrong_shape,
)


@define
class Loss:
    """What every loss is: a cost C, and the delta ∂C/∂y.

    Subclass it, decorate the subclass with `attrs.define`, and write two methods:

    * ``costs(self, y, target)``: c_s, one number for each sample, shape (batch,);
    * ``slopes(self, y, target)``: ∂c_s/∂y_s, of the shape of y.

    The average over the batch, the sample weights, the empty batch and the checks are then done
    here. A loss of one's own is

        @define
        class LogCosh(Loss):
            def costs(self, y, target):
                return np.sum(np.log(np.cosh(y - target)), axis=1)

            def slopes(self, y, target):
                return np.tanh(y - target)

    As in a layer: call ``np.*`` on what you are given and write into none of it, so that `Dual`
    numbers can flow through and give exact second derivatives. A loss whose targets do not have
    the shape of y also overrides `accept` and `validate_targets`; one whose two results share work
    overrides `value_and_delta`.

    Arrays are batch first. Everything has the dtype of y, to which the target and the weights are
    rounded.
    """

    def __call__(self, y: Array, target: Array, sample_weights: Array | None = None) -> Array:
        """C = (1/N) Σ_s w_s c_s, a scalar of the dtype of y; of an empty batch, zero.

        Parameters
        ----------
        y
            What the model returned, (batch, …), float32 or float64.
        target
            What it should have returned, of the shape of y unless the loss says otherwise.
        sample_weights
            w_s, shape (batch,), finite and not negative. Default: one for each sample.

        Raises
        ------
        ShapeError
            The target or the weights have another shape; nothing is ever broadcast.
        DtypeError
            y is not an array of floating-point numbers, or the target holds no numbers.
        DataError
            The weights, or the labels, have values that make no sense.
        """
        target = self.accept(y, target)
        share = shares_of(self, y, sample_weights)
        costs = self.costs(y, target)
        if np.shape(costs) != y.shape[:1]:
            raise DefinitionError(
                "costs returns one number for each sample",
                place=name_of(self),
                expected=y.shape[:1],
                received=np.shape(costs),
                hint="sum over a sample's outputs, and leave the average over the batch to Loss",
            )
        if sample_weights is not None:
            costs = np.where(share == 0, 0.0, costs)
        return np.sum(costs * share)

    def delta(self, y: Array, target: Array, sample_weights: Array | None = None) -> Array:
        """Δ = ∂C/∂y = (w_s/N) ∂c_s/∂y_s, of the shape and dtype of y. Arguments as for C."""
        target = self.accept(y, target)
        share = shares_of(self, y, sample_weights)
        slopes = self.slopes(y, target)
        if np.shape(slopes) != y.shape:
            raise DefinitionError(
                "slopes returns one number for each output",
                place=name_of(self),
                expected=y.shape,
                received=np.shape(slopes),
                hint="return ∂c_s/∂y_s, and leave the average over the batch to Loss",
            )
        if sample_weights is not None:
            share = column_of(share, y)
            slopes = np.where(share == 0, 0.0, slopes)
        return slopes * share

    def value_and_delta(
        self, y: Array, target: Array, sample_weights: Array | None = None
    ) -> tuple[Array, Array]:
        """C and Δ together, for less than the two cost apart where they share work."""
        return self(y, target, sample_weights), self.delta(y, target, sample_weights)

    def costs(self, y: Array, target: Array) -> Array:
        """c_s, the cost of each sample before weights and average: shape (batch,)."""
        self._is_missing("costs")

    def slopes(self, y: Array, target: Array) -> Array:
        """∂c_s/∂y_s, the derivative of each sample's cost for its outputs: the shape of y."""
        self._is_missing("slopes")

    def accept(self, y: Array, target: Array) -> Array:
        """Return the target as the formulas take it, in the dtype of y, or raise a named error.

        Every call passes through here, so it is quick; what is worth a slower look is checked by
        `validate_targets`, once for all data.
        """
        try:
            dtype = y.dtype
            if y.shape == target.shape and dtype == target.dtype and dtype.kind == "f" and y.ndim:
                return target
        except AttributeError:
            pass  # no array at all: said in full below
        require_output(self, y)
        require_numbers(self, target)
        if target.shape != y.shape:
            wrong_shape(self, y.shape, target)
        return target.astype(y.dtype)

    def validate_targets(self, y_shape: tuple[int, ...], target: Array) -> None:
        """Raise a named error for targets that nothing can be learned from.

        The thorough look that is taken once, at all targets of a data set, before training.

        Parameters
        ----------
        y_shape
            The shape that the model's output has for all these samples, (samples, …).
        target
            All targets.

        Raises
        ------
        ShapeError, DtypeError
            As when the loss is called.
        DataError
            A target is not finite, or no value that this loss can compare with. It says which.
        """
        require_numbers(self, target)
        if target.shape != tuple(y_shape):
            wrong_shape(self, tuple(y_shape), target)
        require_each(self, target, np.isfinite(target), "a finite number")

    @property
    def for_each_output(self) -> tuple[Loss, ...]:
        """The loss of each output of the model: where there is one output, this one."""
        return (self,)

    def total(self, costs: Sequence[Any]) -> Any:
        """C, from the cost of each output: where there is one output, its cost."""
        (cost,) = costs
        return cost

    def _is_missing(self, method: str) -> NoReturn:
        raise DefinitionError(
            f"a loss needs a method {method}",
            place=name_of(self),
            expected="costs(self, y, target) and slopes(self, y, target)",
            received=f"a class without {method}",
            hint=f"write {method}, or use one of the losses of chainrule.losses",
        )


def total_of(terms: Array, share: Array, y: Array) -> Array:
    """Σ share·terms, at most the largest finite number where y is finite."""
    total = (terms * share).sum()
    if total < math.inf or not np.all(np.abs(y) < math.inf):
        return total
    largest = float(np.finfo(y.dtype).max)
    return np.minimum(np.sum(np.minimum(terms, largest) * share), largest)


def sum_of_each_sample(terms: Array) -> Array:
    """One number for each sample, of terms that are as many as the model has outputs."""
    if terms.ndim == 1:
        return terms
    return np.sum(terms.reshape(terms.shape[0], math.prod(terms.shape[1:])), axis=1)


def shares_of(loss: Loss, y: Array, sample_weights: Array | None, terms: int = 1) -> Array:
    """Weight of a term in C: 1/(N terms), or w_s/(N terms) for each sample, (batch,)."""
    samples = y.shape[0]
    count = (samples or 1) * terms
    if sample_weights is None:
        return 1.0 / count
    if not hasattr(sample_weights, "dtype") or sample_weights.dtype.kind not in "fiub":
        raise DtypeError(
            "sample weights are an array of numbers",
            place=name_of(loss),
            expected=f"an array of {samples} numbers",
            received=description_of(sample_weights),
            hint="np.asarray(sample_weights, dtype=float)",
        )
    if sample_weights.shape != (samples,):
        raise ShapeError(
            "there is one weight for each sample",
            place=name_of(loss),
            expected=(samples,),
            received=sample_weights.shape,
            hint="give a weight for every row of y, and one only",
        )
    with np.errstate(over="ignore"):
        weights = sample_weights.astype(y.dtype)
    if samples and not (weights.min() >= 0 and weights.max() < math.inf):
        good = (weights >= 0) & (weights < math.inf)
        hint = "a weight of 0 silences a sample"
        require_each(loss, sample_weights, good, f"a finite {y.dtype} number, 0 or more", hint)
    return weights / count


def column_of(share: Array, y: Array) -> Array:
    """One number for each sample, shaped so that it multiplies all of the sample's row in y."""
    return share.reshape(-1, *[1] * (y.ndim - 1))
