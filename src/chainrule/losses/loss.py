"""A loss: the cost of each sample, and the average over all of them.

    C = Σ_s share_s c_s        Δ_s = share_s ∂c_s/∂y_s        share_s = w_s/N

A loss defines c_s and its slope. This module applies the shares, and with them the average over the
batch, which is taken nowhere else in training.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NoReturn

import numpy as np
from attrs import define

from chainrule.core.arrays import hint_to_convert, is_array, look_alike, read_only, refuse_write
from chainrule.core.errors import DefinitionError, DtypeError, ShapeError
from chainrule.core.types import Array
from chainrule.losses.messages import (
    description_of,
    name_of,
    require_each,
    require_numbers,
    require_output,
    wrong_shape,
)


@define
class Loss:
    """The base class of all losses: a cost C, and the delta ∂C/∂y.

    For a custom loss, subclass it, decorate the subclass with `attrs.define`, and write two
    methods:

    * ``costs(self, y, target)``: c_s, one number for each sample, shape (batch,);
    * ``slopes(self, y, target)``: ∂c_s/∂y_s, with the shape of y.

    This class does the rest: the average over the batch, the sample weights, the empty batch and
    the checks. For example:

        @define
        class LogCosh(Loss):
            def costs(self, y, target):
                return np.sum(np.log(np.cosh(y - target)), axis=1)

            def slopes(self, y, target):
                return np.tanh(y - target)

    As in a layer, call ``np.*`` on the arguments and never write into them (they are read-only):
    then `Dual` numbers can flow through and give exact second derivatives. If the targets do not
    have the shape of y, also override `accept` and `validate_targets`; if C and Δ share work,
    override `value_and_delta`.

    The batch is the first axis. All results have the dtype of y; targets and weights are rounded
    to it.
    """

    def __call__(self, y: Array, target: Array, sample_weights: Array | None = None) -> Array:
        """C = (1/N) Σ_s w_s c_s, a scalar with the dtype of y; zero for an empty batch.

        Parameters
        ----------
        y
            The output of the model, (batch, …), float32 or float64.
        target
            The desired output, with the shape of y unless the loss says otherwise.
        sample_weights
            w_s, shape (batch,), finite and not negative. Default: 1 for each sample.

        Raises
        ------
        ShapeError
            The target or the weights have the wrong shape; nothing is ever broadcast.
        DtypeError
            y is not an array of floating-point numbers, or the target is not an array of numbers.
        DataError
            The weights or the labels have invalid values.
        """
        target = self.accept(y, target)
        share = shares_of(self, y, sample_weights)
        costs = self._own("costs", y, target)
        if np.shape(costs) != y.shape[:1]:
            raise DefinitionError(
                "costs must return one number for each sample",
                place=name_of(self),
                expected=y.shape[:1],
                received=np.shape(costs),
                hint="sum over each sample's outputs; Loss averages over the batch",
            )
        if sample_weights is not None:
            costs = np.where(share == 0, 0.0, costs)
        return np.sum(costs * share)

    def delta(self, y: Array, target: Array, sample_weights: Array | None = None) -> Array:
        """Δ = ∂C/∂y = (w_s/N) ∂c_s/∂y_s, with the shape and dtype of y. Arguments as for C."""
        target = self.accept(y, target)
        share = shares_of(self, y, sample_weights)
        slopes = self._own("slopes", y, target)
        if np.shape(slopes) != y.shape:
            raise DefinitionError(
                "slopes must return one number for each output",
                place=name_of(self),
                expected=y.shape,
                received=np.shape(slopes),
                hint="return ∂c_s/∂y_s; Loss averages over the batch",
            )
        if sample_weights is not None:
            share = column_of(share, y)
            slopes = np.where(share == 0, 0.0, slopes)
        return slopes * share

    def value_and_delta(
        self, y: Array, target: Array, sample_weights: Array | None = None
    ) -> tuple[Array, Array]:
        """C and Δ together; faster than separately where they share work."""
        return self(y, target, sample_weights), self.delta(y, target, sample_weights)

    def costs(self, y: Array, target: Array, /) -> Array:
        """c_s, the cost of each sample before weighting and averaging: shape (batch,)."""
        self._is_missing("costs")

    def slopes(self, y: Array, target: Array, /) -> Array:
        """∂c_s/∂y_s, the gradient of each sample's cost with respect to its outputs: shape of y."""
        self._is_missing("slopes")

    def accept(self, y: Array, target: Array) -> Array:
        """Return the target in the form and dtype that the formulas use, or raise a named error.

        Every call passes through here, so it has to be fast; `validate_targets` does the slower
        checks, once for all data.
        """
        try:
            dtype = y.dtype
            fits = y.shape == target.shape and dtype == target.dtype and dtype.kind == "f"
            are_plain = type(y) is type(target) is np.ndarray
            if fits and y.ndim and (are_plain or (is_array(y) and is_array(target))):
                return target
        except AttributeError:
            pass  # not an array: the checks below raise the full error
        require_output(self, y)
        require_numbers(self, target)
        if target.shape != y.shape:
            wrong_shape(self, y.shape, target)
        return target.astype(y.dtype)

    def validate_targets(self, y_shape: tuple[int, ...], target: Array) -> None:
        """Raise a named error for targets that a network cannot learn from.

        This is the thorough check of all targets of a dataset, made once, before training.

        Parameters
        ----------
        y_shape
            The shape of the model's output for all these samples, (samples, …).
        target
            All targets.

        Raises
        ------
        ShapeError, DtypeError
            As when the loss is called.
        DataError
            A target is not finite, or not a value that this loss accepts. The error names the
            first.
        """
        require_numbers(self, target)
        if target.shape != tuple(y_shape):
            wrong_shape(self, tuple(y_shape), target)
        require_each(self, target, np.isfinite(target), "a finite number")

    @property
    def for_each_output(self) -> tuple[Loss, ...]:
        """The loss of each output of the model: for a single output, this loss."""
        return (self,)

    def total(self, costs: Sequence[Any]) -> Any:
        """C, computed from the cost of each output: for a single output, its cost."""
        (cost,) = costs
        return cost

    def _own(self, method: str, y: Array, target: Array) -> Any:
        """What a method of the author returns, which must not change its arguments."""
        try:
            return getattr(self, method)(read_only(y), read_only(target))
        except ValueError as error:
            refuse_write(error, f"{name_of(self)}.{method}")
            raise

    def _is_missing(self, method: str) -> NoReturn:
        raise DefinitionError(
            f"a loss needs a method named {method}",
            place=name_of(self),
            expected="costs(self, y, target) and slopes(self, y, target)",
            received=f"a class without {method}",
            hint=f"write {method}, or use one of the losses in chainrule.losses",
        )


def total_of(terms: Array, share: Array, y: Array) -> Array:
    """Σ share·terms; if y is finite, at most the largest finite number."""
    total = (terms * share).sum()
    if total < math.inf or not np.all(np.abs(y) < math.inf):
        return total
    largest = float(np.finfo(y.dtype).max)
    return np.minimum(np.sum(np.minimum(terms, largest) * share), largest)


def sum_of_each_sample(terms: Array) -> Array:
    """One number for each sample: the sum of its terms, one term for each output."""
    if terms.ndim == 1:
        return terms
    return np.sum(terms.reshape(terms.shape[0], math.prod(terms.shape[1:])), axis=1)


def shares_of(loss: Loss, y: Array, sample_weights: Array | None, terms: int = 1) -> Array:
    """The weight of a term in C: 1/(N terms), or w_s/(N terms) for each sample, (batch,)."""
    samples = y.shape[0]
    count = (samples or 1) * terms
    if sample_weights is None:
        return 1.0 / count
    if not is_array(sample_weights) or sample_weights.dtype.kind not in "fiub":
        raise DtypeError(
            "sample weights must be an array of numbers",
            place=name_of(loss),
            expected=f"an array of {samples} numbers",
            received=description_of(sample_weights),
            hint=hint_to_convert(sample_weights, "sample_weights")
            if look_alike(sample_weights)
            else "np.asarray(sample_weights, dtype=float)",
        )
    if sample_weights.shape != (samples,):
        raise ShapeError(
            "there must be one weight for each sample",
            place=name_of(loss),
            expected=(samples,),
            received=sample_weights.shape,
            hint="give exactly one weight for each row of y",
        )
    with np.errstate(over="ignore"):
        weights = sample_weights.astype(y.dtype)
    if samples and not (weights.min() >= 0 and weights.max() < math.inf):
        good = (weights >= 0) & (weights < math.inf)
        hint = "a weight of 0 silences a sample"
        require_each(loss, sample_weights, good, f"a finite {y.dtype} number, 0 or more", hint)
    return weights / count


def column_of(share: Array, y: Array) -> Array:
    """Reshape one number for each sample so that it multiplies the sample's whole row of y."""
    return share.reshape(-1, *[1] * (y.ndim - 1))
