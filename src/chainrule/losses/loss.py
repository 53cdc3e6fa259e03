"""A loss: the cost of each sample, and the average over all of them.

    C = Σ_s share_s c_s        Δ_s = share_s ∂c_s/∂y_s        share_s = w_s/N

A loss defines c_s and its slope. This module applies the shares, and with them the average over the
batch, which is taken nowhere else in training.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, ClassVar, NoReturn

import numpy as np
from attrs import define

from chainrule.core.arrays import (
    has_values,
    hint_to_convert,
    is_array,
    look_alike,
    read_only,
    refuse_write,
)
from chainrule.core.equations import Equations
from chainrule.core.errors import DefinitionError, DtypeError, ShapeError
from chainrule.core.hints import Hinted
from chainrule.core.types import Array, Shape
from chainrule.losses.messages import (
    description_of,
    name_of,
    require_each,
    require_no_target,
    require_numbers,
    require_output,
    wrong_shape,
)

AT_ONCE = 2**16
"""How many numbers are converted to float64 at a time, so that a large array needs no copy."""

NOTHING: Shape = (0,)
"""The shape of the target of a sample that has none; (samples, 0) stands for no targets."""

FLOAT32_MAX = float(np.finfo(np.float32).max)


@define
class Loss(Hinted):
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
    have the shape of y, also write `target_shape`; if C and Δ share work, override
    `value_and_delta`.

    A cost of the output alone, such as an energy or the residual of a differential equation, has
    ``takes_targets = False``, and its methods are ``costs(self, y)`` and ``slopes(self, y)``. It is
    called as ``loss(y)`` and ``loss.delta(y)``, and trained with ``fit(x)``:

        @define
        class Energy(Loss):
            takes_targets = False

            def costs(self, y):
                return np.sum(y**4 - y**2, axis=1)

            def slopes(self, y):
                return 4 * y**3 - 2 * y

    The batch is the first axis. All results have the dtype of y; targets and weights are rounded
    to it.
    """

    def __call__(
        self, y: Array, target: Array | None = None, sample_weights: Array | None = None
    ) -> Array:
        """C = (1/N) Σ_s w_s c_s, a scalar with the dtype of y; zero for an empty batch.

        Parameters
        ----------
        y
            The output of the model, (batch, …), float32 or float64.
        target
            The desired output, with the shape of y unless `target_shape` says otherwise. None for a
            loss without targets.
        sample_weights
            w_s, shape (batch,), finite. C is linear in them, so they may be negative, as in a
            policy gradient. Default: 1 for each sample. A loss whose cost is a sum over positions
            or outputs also takes one weight for each of them: w has the shape of the first axes of
            y, such as (batch, positions), and multiplies all that belongs to each of its entries.

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
        share = shares_of(self, y, sample_weights, y.shape[:1])
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
        return sum_of(costs * share)

    def delta(
        self, y: Array, target: Array | None = None, sample_weights: Array | None = None
    ) -> Array:
        """Δ = ∂C/∂y = (w_s/N) ∂c_s/∂y_s, with the shape and dtype of y. Arguments as for C."""
        target = self.accept(y, target)
        share = shares_of(self, y, sample_weights, y.shape[:1])
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
        self, y: Array, target: Array | None = None, sample_weights: Array | None = None
    ) -> tuple[Array, Array]:
        """C and Δ together; faster than separately where they share work."""
        return self(y, target, sample_weights), self.delta(y, target, sample_weights)

    # For type checkers, any signature overrides (*arguments: Any, **options: Any), so an author's
    # methods can take (self, y, target), or (self, y) without targets.

    def costs(self, *arguments: Any, **options: Any) -> Array:
        """c_s, the cost of each sample before weighting and averaging: shape (batch,)."""
        self._is_missing("costs")

    def slopes(self, *arguments: Any, **options: Any) -> Array:
        """∂c_s/∂y_s, the gradient of each sample's cost with respect to its outputs: shape of y."""
        self._is_missing("slopes")

    takes_targets: ClassVar[bool] = True
    """False declares that the cost depends on the output alone."""
    takes_labels: ClassVar[bool] = False
    """Whether the targets may be labels, integers that number the classes."""

    def target_shape(self, output_shape: Shape) -> Shape:
        """The shape of the target of one sample, for this shape of its output.

        It is the shape of the output. Override it if the two differ: for a network with 2n outputs,
        mean and variance of each of n numbers, it is (n,). The checks of `accept` and
        `validate_targets` follow it.

        Parameters
        ----------
        output_shape
            The shape of a row of the output, without the batch axis.
        """
        return output_shape if self.takes_targets else NOTHING

    def equations(self) -> Equations:
        """C and Δ as NumPy expressions of y and t, for `chainrule.program`.

        ``Equations(forward="np.mean((y - t) ** 2)", backward="2 * (y - t) / y.size")``; with
        ``definitions`` for parts of them. If the loss takes labels, t contains their one-hot rows.
        """
        self._is_missing("equations")

    def accept(self, y: Array, target: Any) -> Any:
        """Return the target in the form and dtype that the formulas use, or raise a named error.

        Every call passes through here, so it has to be fast; `validate_targets` does the slower
        checks, once for all data.
        """
        try:
            dtype = y.dtype
            fits = y.shape == target.shape and dtype == target.dtype and dtype.kind == "f"
            are_plain = type(y) is type(target) is np.ndarray
            is_usual = type(self).target_shape is Loss.target_shape and self.takes_targets
            if fits and y.ndim and (are_plain or (is_array(y) and is_array(target))) and is_usual:
                return target
        except AttributeError:
            pass  # not an array: the checks below raise the full error
        require_output(self, y)
        if not self.takes_targets:
            require_no_target(self, target)
            return None
        require_numbers(self, target)
        if target.shape != self._shape_of_targets(y.shape):
            wrong_shape(self, y.shape, target)
        return target.astype(y.dtype, copy=False)

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
        if not self.takes_targets:
            require_no_target(self, target)
            return
        require_numbers(self, target)
        if target.shape != self._shape_of_targets(tuple(y_shape)):
            wrong_shape(self, tuple(y_shape), target)
        require_each(self, target, np.isfinite(target), "a finite number")

    def validate_weights(self, y_shape: tuple[int, ...], sample_weights: Array) -> None:
        """Raise a named error for sample weights that do not fit an output of this shape.

        Raises
        ------
        ShapeError
            They are not one number for each sample; or, if the loss has a cost for each position or
            output, not one for each of those.
        DtypeError
            They are not an array of numbers.
        """
        require_weights(self, sample_weights, self._terms_shape(tuple(y_shape)))

    def counted(
        self, y_shape: tuple[int, ...], target: Any, sample_weights: Array | None = None
    ) -> float:
        """How much the average C is over: the rows, or the labels that are not ignored.

        The costs of several batches, averaged with these weights, give the cost of all their rows
        together. With sample weights it is the sum of their weights.
        """
        weight = 1.0 if sample_weights is None else float(np.mean(sample_weights, dtype=float))
        return y_shape[0] * weight

    @property
    def ignores(self) -> bool:
        """Whether some labels do not count, so that `counted` depends on the targets."""
        return getattr(self, "ignore", None) is not None

    def _shape_of_targets(self, y_shape: Shape) -> Shape:
        """The shape of all targets, for outputs of this shape; both with the batch axis."""
        return (*y_shape[:1], *self.target_shape(y_shape[1:]))

    def _terms_shape(self, y_shape: Shape) -> Shape:
        """The shape of the terms that C is a sum of, the first axes of y: one for each sample."""
        return y_shape[:1]

    @property
    def for_each_output(self) -> tuple[Loss, ...]:
        """The loss of each output of the model: for a single output, this loss."""
        return (self,)

    def total(self, costs: Sequence[Any]) -> Any:
        """C, computed from the cost of each output: for a single output, its cost."""
        (cost,) = costs
        return cost

    def _own(self, method: str, y: Array, target: Array | None) -> Any:
        """What a method of the author returns, which must not change its arguments."""
        arguments = (y, target) if self.takes_targets else (y,)
        try:
            return getattr(self, method)(*map(read_only, arguments))
        except ValueError as error:
            refuse_write(error, f"{name_of(self)}.{method}")
            raise

    def _is_missing(self, method: str) -> NoReturn:
        is_formula = method == "equations"
        raise DefinitionError(
            f"a loss needs a method named {method}" + (" to be written out" if is_formula else ""),
            place=name_of(self),
            expected='Equations(forward="np.mean((y - t) ** 2)", backward="2 * (y - t) / y.size")'
            if is_formula
            else "costs(self, y, target) and slopes(self, y, target)"
            if self.takes_targets
            else "costs(self, y) and slopes(self, y)",
            received=f"a class without {method}",
            hint=f"write {method}, or use one of the losses in chainrule.losses",
        )


def total_of(terms: Array, share: Array, y: Array) -> Array:
    """Σ share·terms; if y is finite, at most the largest finite number."""
    total = sum_of(terms * share)
    if not has_values(total):
        return total
    if abs(total) < math.inf or not np.all(np.abs(y) < math.inf):
        return total
    largest = float(np.finfo(y.dtype).max)
    bounded = np.sum(np.minimum(terms, largest) * share)
    return np.maximum(np.minimum(bounded, largest), -largest)


def sum_of(terms: Array) -> Array:
    """Σ terms. For float32 the sum is accumulated in float64.

    Otherwise the sum of ten million numbers would have only three or four correct digits.
    """
    if not _is_plain_float32(terms):
        return terms.sum()
    return _as_float32(terms.sum(dtype=np.float64))


def dot_of(one: Array, other: Array) -> Array:
    """Σ one·other, accumulated like `sum_of`."""
    if type(one) is not np.ndarray or one.dtype != np.float32 or type(other) is not np.ndarray:
        return np.vdot(one, other)
    if one.size <= AT_ONCE:
        wide = one.astype(np.float64)
        return _as_float32(float(np.vdot(wide, wide if other is one else other.astype(np.float64))))
    one, other = one.reshape(-1), other.reshape(-1)
    total = 0.0
    for start in range(0, one.size, AT_ONCE):
        part = slice(start, start + AT_ONCE)
        total += np.vdot(one[part].astype(np.float64), other[part].astype(np.float64))
    return _as_float32(total)


def _is_plain_float32(array: Array) -> bool:
    return type(array) is np.ndarray and array.dtype == np.float32


def _as_float32(total: float) -> Array:
    # Where it overflows, NumPy would warn.
    return np.float32(total if -FLOAT32_MAX <= total <= FLOAT32_MAX else total * math.inf)


def sum_of_each_sample(terms: Array) -> Array:
    """One number for each sample: the sum of its terms, one term for each output."""
    if terms.ndim == 1:
        return terms
    terms = terms.reshape(terms.shape[0], math.prod(terms.shape[1:]))
    if not _is_plain_float32(terms):
        return np.sum(terms, axis=1)
    with np.errstate(over="ignore"):
        return np.sum(terms, axis=1, dtype=np.float64).astype(np.float32)


def shares_of(
    loss: Loss, y: Array, sample_weights: Array | None, terms: Shape, count: int | None = None
) -> Any:
    """The weight of a term in C: 1/count, or w/count with the shape of the weights.

    Parameters
    ----------
    terms
        The shape of the terms: some of the first axes of y.
    count
        How many of them the average is over; all if not given.
    """
    if count is None:
        count = math.prod(terms)
    count = max(count, 1) if has_values(count) else np.maximum(count, 1)
    if sample_weights is None:
        return 1 / count  # a float: int first, for sizes that are open
    require_weights(loss, sample_weights, terms)
    with np.errstate(over="ignore"):
        weights = sample_weights.astype(y.dtype)
    if not np.isfinite(weights).all():
        hint = "a weight of 0 silences a sample"
        require_each(loss, sample_weights, np.isfinite(weights), f"a finite {y.dtype} number", hint)
    return weights / count


def require_weights(loss: Loss, sample_weights: Any, terms: Shape) -> None:
    """Raise an error unless these are weights for the samples, or for parts of them."""
    samples = terms[0]
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
    shape = sample_weights.shape
    if not shape or shape != terms[: len(shape)]:
        allowed = [str(terms[:axes]) for axes in range(1, len(terms) + 1)]
        raise ShapeError(
            "there must be one weight for each sample"
            + (", or for each part of a sample" if len(terms) > 1 else ""),
            place=name_of(loss),
            expected=" or ".join(allowed),
            received=shape,
            hint="use its .ravel()"
            if math.prod(shape) == samples
            else "give exactly one weight for each row of y",
        )


def column_of(share: Array, y: Array) -> Array:
    """Reshape weights so that each multiplies all numbers of y that belong to it."""
    return share.reshape(*share.shape, *[1] * (y.ndim - share.ndim))
