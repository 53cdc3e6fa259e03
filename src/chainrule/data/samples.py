"""Samples: what a network learns from, checked once before training.

A dataset is N samples, each a row x_s of the inputs with its target t_s (or several, one for each
output of the model) and, if some count more than others, a weight w_s. A single number in it that
is not finite spoils everything: the cost

    C = (1/N) Σ_s w_s c_s(y_s, t_s)

is then not finite either, nor is its gradient, and one step later no parameter is. So all data
are checked before the first step, and errors name the array, row and column.

Accepted data are converted to the dtype of the model once, not batch by batch: integers and
float64 become float32 for a float32 model. Integers that are labels stay integers.

Inputs that are not in memory, such as a `numpy.memmap`, are the exception: they are checked
and converted when they are read, some rows at a time (see `chainrule.data.sources`).
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from attrs import field, frozen

from chainrule.core.arrays import read_only
from chainrule.core.errors import ChainruleError, ShapeError
from chainrule.core.input_checks import as_tuple
from chainrule.core.layer import Layer
from chainrule.core.messages import batch_of
from chainrule.core.types import Array, Shape
from chainrule.data.sources import DataSource, as_source, is_stored
from chainrule.data.validation import (
    as_numbers,
    as_targets,
    as_weights,
    converted,
    fitted_target,
    missing,
    require_equal_lengths,
    require_finite,
)
from chainrule.losses import Loss
from chainrule.losses.loss import NOTHING


def _all_read_only(arrays: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(map(read_only, arrays))


def _weights_read_only(weights: Any) -> Any:
    return each_array(read_only, weights)


@frozen(eq=False, repr=False)
class Data:
    """Samples: their inputs, their targets and, if given, their weights.

    The arrays are read-only views, so no layer, loss or metric can change those of the user.

    Attributes
    ----------
    inputs
        One array for each input of the model, (samples, …), or `StoredRows`.
    targets
        One array for each output of the model, (samples, …); (samples, 0) where there is none.
    sample_weights
        (samples,), or (samples, …) with weights for parts of a sample; None if all count the same.
        Weights that differ from output to output are a tuple, with None for an output without.
    named
        The names of the arrays in error messages: ``"{}"``, ``"validation {}"`` or such, with x or
        t in place of the braces.
    rows
        If the samples are a selection: their row numbers in the full data.
    """

    inputs: tuple[Any, ...] = field(converter=_all_read_only)
    targets: tuple[Array, ...] = field(converter=_all_read_only)
    sample_weights: Any = field(default=None, converter=_weights_read_only)
    named: str = "{}"
    rows: Array | None = None

    @classmethod
    def of(
        cls,
        x: Any,
        t: Any,
        sample_weights: Any = None,
        named: str = "{}",
        outputs: int = 1,
        rows: Array | None = None,
    ) -> Data:
        """Samples from arrays, if they are finite numbers and of equal length; else a named error.

        Parameters
        ----------
        x
            Anything that NumPy converts to an array of real numbers, or that can be read row by row
            from where it is stored; a tuple of these for a model with several inputs.
        t
            Likewise, but read completely; a tuple of these for several outputs. None for outputs
            whose loss takes no target.
        sample_weights
            Likewise, numbers for each sample; a tuple of these, or None, for several outputs.
        named, rows
            Names and row numbers for error messages, as in the attributes.
        outputs
            The number of outputs, each with a target.

        Raises
        ------
        DtypeError
            An array does not hold real numbers.
        ShapeError
            An array has no axis for samples, or rows of unequal shape, or the number of targets is
            wrong.
        DataError
            A number is not finite, the lengths differ, or there are no samples.
        """
        given = x if isinstance(x, tuple) else (x,)
        names = names_of(named, "x", len(given))
        inputs = tuple(map(_as_rows, names, given))
        names_of_targets = names_of(named, "t", outputs)
        given = as_targets(named.format("t"), t, outputs, len(inputs[0]))
        targets = tuple(map(as_numbers, names_of_targets, given))
        arrays = dict(zip([*names, *names_of_targets], [*inputs, *targets], strict=True))
        weights = as_weights(named.format("sample_weights"), sample_weights, outputs, rows)
        arrays |= weights_by_name(named, weights)
        require_equal_lengths(arrays)
        for name, array in arrays.items():
            if not isinstance(array, StoredRows):
                require_finite(name, array, rows)
        return cls(inputs, targets, None if weights is None else one_or_all(weights), named, rows)

    def __len__(self) -> int:
        return len(self.inputs[0])

    @property
    def target(self) -> Any:
        """The targets in the form that a loss expects: an array, or a tuple for several outputs."""
        return one_or_all(self.targets)

    @property
    def names(self) -> list[str]:
        """The names of the inputs: x, or x[0], x[1] and so on."""
        return names_of(self.named, "x", len(self.inputs))

    @property
    def names_of_targets(self) -> list[str]:
        """The names of the targets: t, or t[0], t[1] and so on."""
        return names_of(self.named, "t", len(self.targets))

    @property
    def described(self) -> str:
        """``x of shape (100, 2)``."""
        pairs = zip(self.names, self.inputs, strict=True)
        return " and ".join(f"{name} of shape {x.shape}" for name, x in pairs)

    @property
    def row_shapes(self) -> tuple[Shape, ...]:
        """The shape of a row of each input."""
        return tuple(x.shape[1:] for x in self.inputs)

    @property
    def dtype(self) -> np.dtype[Any]:
        """The dtype of a model that is built for these data: float32 only if all x are."""
        is_single = all(x.dtype == np.float32 for x in self.inputs)
        return np.dtype(np.float32 if is_single else np.float64)

    def rows_of_outputs(self, model: Layer) -> tuple[Shape, ...]:
        """The shape of a row of each output that a model computes from these data.

        Raises
        ------
        ShapeError
            The model does not accept rows of this shape.
        """
        if self.row_shapes == model.input_shapes:
            return model.output_shapes
        # Only the layers know whether they accept other shapes.
        return self._output_rows_of_empty_batch(model)

    def fitted(self, loss: Loss, rows_of_outputs: tuple[Shape, ...], dtype: np.dtype[Any]) -> Data:
        """The same data, converted to what a loss and a model expect, or a named error.

        Parameters
        ----------
        loss
            The loss that compares the targets with the outputs of the model.
        rows_of_outputs
            The shape of a row of each output.
        dtype
            The dtype of the model.

        Raises
        ------
        ShapeError, DtypeError, DataError
            The loss rejects the targets, such as labels that are out of range, or a number is too
            large for the dtype of the model.
        """
        calls = zip(
            self.names_of_targets, self.targets, loss.for_each_output, rows_of_outputs, strict=True
        )
        targets = tuple([fitted_target(*call, dtype, self.rows) for call in calls])
        weights = self._fitted_weights(loss, rows_of_outputs, dtype)
        inputs = tuple(
            x.as_type(dtype) if isinstance(x, StoredRows) else converted(name, x, dtype, self.rows)
            for name, x in zip(self.names, self.inputs, strict=True)
        )
        return Data(inputs, targets, weights, self.named, self.rows)

    def require_targets(self, loss: Loss) -> None:
        """Raise an error if a target is missing that a loss needs; `fitted` does so, too."""
        given = zip(self.names_of_targets, self.targets, loss.for_each_output, strict=True)
        for name, target, own_loss in given:
            if own_loss.takes_targets and target.shape[1:] == NOTHING:
                raise missing(name, own_loss)

    def _fitted_weights(
        self, loss: Loss, rows_of_outputs: tuple[Shape, ...], dtype: np.dtype[Any]
    ) -> Any:
        """The weights in the dtype of the model, if the loss of each output takes them."""
        name = self.named.format("sample_weights")
        pairs = zip(loss.for_each_output, rows_of_outputs, strict=True)
        for number, (own_loss, row) in enumerate(pairs):
            weights = of_output(self.sample_weights, number)
            if weights is None:
                continue
            try:
                own_loss.validate_weights((len(self), *row), weights)
            except ChainruleError as error:
                error.place = f"{name}, {error.place}"
                raise
        return each_array(
            lambda array: converted(name, array, dtype, self.rows), self.sample_weights
        )

    @property
    def has_stored(self) -> bool:
        """Whether some inputs are stored, and not in memory."""
        return any(isinstance(x, StoredRows) for x in self.inputs)

    def copied(self) -> Data:
        """The same data in memory of their own; what is stored is read."""
        inputs, targets = (tuple(map(_copy, some)) for some in (self.inputs, self.targets))
        weights = each_array(_copy, self.sample_weights)
        return Data(inputs, targets, weights, self.named, self.rows)

    def parts(self, size: int, rows: slice | None = None) -> Iterator[tuple[Array, ...]]:
        """The inputs in slices of ``size`` rows, in order; the last may be smaller.

        Parameters
        ----------
        size
            The number of rows.
        rows
            Which rows; all if not given. Of no rows there is one empty slice.

        Raises
        ------
        DataError
            A stored number is not finite, or too large for the dtype of the model.
        """
        first, last = (0, len(self)) if rows is None else (rows.start, rows.stop)
        for start in range(first, max(last, first + 1), size):
            yield tuple([x[start : min(start + size, last)] for x in self.inputs])

    def _output_rows_of_empty_batch(self, model: Layer) -> tuple[Shape, ...]:
        empty = [np.zeros((0, *shape), model.dtype) for shape in self.row_shapes]
        try:
            with np.errstate(all="ignore"), warnings.catch_warnings():
                # Some layers warn about the mean of an empty slice.
                warnings.simplefilter("ignore", RuntimeWarning)
                outputs = model.apply(*empty)
        except ShapeError as error:
            described = self.described
            if str(error.received) not in map(batch_of, self.row_shapes):
                described = f"{error.received}, from {described}"
            raise ShapeError(
                f"{self.named.format('x')} does not fit the model: {error.problem}",
                place=error.place,
                expected=error.expected,
                received=described,
                hint=error.hint,
            ) from error
        return tuple(y.shape[1:] for y in (outputs if isinstance(outputs, tuple) else (outputs,)))


@frozen(eq=False, repr=False)
class StoredRows:
    """Inputs that are read, checked and converted when some rows are requested.

    Attributes
    ----------
    source
        The source that they are read from.
    dtype
        The dtype that they are converted to.
    """

    source: DataSource
    dtype: np.dtype[Any]

    @property
    def shape(self) -> Shape:
        """The shape of all rows together."""
        return self.source.shape

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, rows: slice) -> Array:
        start, stop, _ = rows.indices(len(self))
        array, indices = self.source.read([(start, max(start, stop))]), np.arange(start, stop)
        require_finite(self.source.name, array, indices)
        return converted(self.source.name, array, self.dtype, indices)

    def as_type(self, dtype: np.dtype[Any]) -> StoredRows:
        """The same rows, converted to another dtype."""
        return StoredRows(self.source, dtype)


def one_or_all(arrays: tuple[Array, ...]) -> Any:
    """A single array by itself, several as a tuple."""
    return arrays if len(arrays) != 1 else arrays[0]


def each_array(function: Callable[[Array], Array], weights: Any) -> Any:
    """Sample weights changed by a function: one array, or each array in a tuple."""
    if isinstance(weights, tuple):
        return tuple([None if own is None else function(own) for own in weights])
    return None if weights is None else function(weights)


def of_output(weights: Any, number: int) -> Any:
    """The sample weights of an output: its own, or those for all outputs."""
    return weights[number] if isinstance(weights, tuple) else weights


def weights_by_name(named: str, weights: Any) -> dict[str, Array]:
    """The arrays of sample weights by name: sample_weights, or sample_weights[0] and so on."""
    each = as_tuple(weights)
    names = names_of(named, "sample_weights", len(each))
    return {name: own for name, own in zip(names, each, strict=True) if own is not None}


def arrays_by_name(inputs: tuple[Array, ...], target: Any, weights: Any) -> dict[str, Array]:
    """The arrays of a batch by name: x, t and sample_weights."""
    targets = as_tuple(target)
    names = [*names_of("{}", "x", len(inputs)), *names_of("{}", "t", len(targets))]
    found = dict(zip(names, (*inputs, *targets), strict=True))
    return found | weights_by_name("{}", weights)


def names_of(named: str, letter: str, count: int) -> list[str]:
    """The names of some arrays: x, or x[0], x[1] and so on."""
    return [named.format(f"{letter}[{n}]" if count != 1 else letter) for n in range(count)]


def _copy(array: Any) -> Any:
    if isinstance(array, StoredRows):
        return array[:]
    copy = array.copy(order="K")
    copy.flags.writeable = False
    return copy


def _as_rows(name: str, given: Any) -> Any:
    if is_stored(given):
        source = as_source(name, given)
        return StoredRows(source, source.dtype)
    return as_numbers(name, given)
