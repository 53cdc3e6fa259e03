"""Data: what a network can learn from, looked at once before it does.

A data set is N samples, each a row x_s of the inputs with its target t_s (or several, one for each
output of the model) and, where some count for more than others, a weight w_s. One number in it
that is not finite is enough to spoil everything: the cost

    C = (1/N) Σ_s w_s c_s(y_s, t_s)

is then not finite either, nor is its gradient, and one step later no parameter is. So all data
are looked at before the first step, and what is refused is named by its array, row and column.

What passes is brought into the model's own type of numbers once, not batch by batch: integers and
float64 become float32 for a float32 model. Whole numbers that are labels stay whole numbers.

Inputs that do not lie in memory, such as a `numpy.memmap`, are the exception: they are looked at
and brought into the model's type when they are read, a part at a time (see
`chainrule.data.sources`).
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
from attrs import frozen

from chainrule.core.errors import ShapeError
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
    require_equal_lengths,
    require_finite,
)
from chainrule.losses import Loss


@frozen(eq=False)
class Data:
    """Samples: their inputs, their targets and, where given, their weights.

    Attributes
    ----------
    inputs
        One array for each input of the model, (samples, …), or `StoredRows`.
    targets
        One array for each output of the model, (samples, …).
    sample_weights
        (samples,), or None where all count the same.
    named
        What an array is called in error messages: its name where the braces are in ``"{}"``,
        ``"validation {}"`` or such.
    rows
        Where the samples are some of many: the numbers that they have among those.
    """

    inputs: tuple[Any, ...]
    targets: tuple[Array, ...]
    sample_weights: Array | None = None
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
        """Data in arrays, if they are finite numbers and as many of each; else a named error.

        Parameters
        ----------
        x
            Anything that NumPy takes for an array of real numbers, or that can be read row by row
            from where it is stored; a tuple of such for a model with several inputs.
        t
            Likewise, and read whole; a tuple of such where there are several outputs.
        sample_weights
            Likewise, one number for each sample.
        named, rows
            What error messages call them, as in the attributes.
        outputs
            How many outputs there are targets for.

        Raises
        ------
        DtypeError
            An array holds something else than real numbers.
        ShapeError
            An array has no rows, or rows of unequal length, or there is another number of targets.
        DataError
            A number is not finite, the lengths differ, or there is no sample at all.
        """
        given = x if isinstance(x, tuple) else (x,)
        names = names_of(named, "x", len(given))
        inputs = tuple(map(_as_rows, names, given))
        names_of_targets = names_of(named, "t", outputs)
        given = as_targets(named.format("t"), t, outputs, len(inputs[0]))
        targets = tuple(map(as_numbers, names_of_targets, given))
        arrays = dict(zip([*names, *names_of_targets], [*inputs, *targets], strict=True))
        if sample_weights is not None:
            name = named.format("sample_weights")
            sample_weights = as_weights(name, sample_weights, rows)
            arrays[name] = sample_weights
        require_equal_lengths(arrays)
        for name, array in arrays.items():
            if not isinstance(array, StoredRows):
                require_finite(name, array, rows)
        return cls(inputs, targets, sample_weights, named, rows)

    def __len__(self) -> int:
        return len(self.inputs[0])

    @property
    def target(self) -> Any:
        """The targets as a loss takes them: an array, or a tuple of arrays for several outputs."""
        return one_or_all(self.targets)

    @property
    def names(self) -> list[str]:
        """What the inputs are called: x, or x[0], x[1] and so on."""
        return names_of(self.named, "x", len(self.inputs))

    @property
    def names_of_targets(self) -> list[str]:
        """What the targets are called: t, or t[0], t[1] and so on."""
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
        """What a model that is built for these data computes in: float32 only if all x are."""
        is_single = all(x.dtype == np.float32 for x in self.inputs)
        return np.dtype(np.float32 if is_single else np.float64)

    def rows_of_outputs(self, model: Layer) -> tuple[Shape, ...]:
        """The shape of a row of each output that a model makes of these data, if it takes them.

        Raises
        ------
        ShapeError
            The rows of x are not those that the model takes.
        """
        if self.row_shapes == model.input_shapes:
            return model.output_shapes
        return self._sent_through_empty(model)  # whether they take others, only the layers know

    def fitted(self, loss: Loss, rows_of_outputs: tuple[Shape, ...], dtype: np.dtype[Any]) -> Data:
        """The same data as a loss and a model take them, or a named error.

        Parameters
        ----------
        loss
            What compares the targets with the model's outputs.
        rows_of_outputs
            The shape of a row of each of those outputs.
        dtype
            What the model computes in.

        Raises
        ------
        ShapeError, DtypeError, DataError
            The loss refuses the targets, such as labels that are out of range, or a number is too
            large for the model's type.
        """
        of_each = zip(
            self.names_of_targets, self.targets, loss.for_each_output, rows_of_outputs, strict=True
        )
        targets = tuple([fitted_target(*of_one, dtype, self.rows) for of_one in of_each])
        weights = self.sample_weights
        if weights is not None:
            name = self.named.format("sample_weights")
            weights = converted(name, weights, dtype, self.rows)
        inputs = tuple(
            x.as_type(dtype) if isinstance(x, StoredRows) else converted(name, x, dtype, self.rows)
            for name, x in zip(self.names, self.inputs, strict=True)
        )
        return Data(inputs, targets, weights, self.named, self.rows)

    def parts(self, size: int) -> Iterator[tuple[Array, ...]]:
        """The inputs in pieces of some rows each, in order; the last may be smaller.

        Raises
        ------
        DataError
            A number that was stored is not finite, or too large for the model's type.
        """
        for start in range(0, len(self), size):
            yield tuple([x[start : start + size] for x in self.inputs])

    def _sent_through_empty(self, model: Layer) -> tuple[Shape, ...]:
        empty = [np.zeros((0, *shape), model.dtype) for shape in self.row_shapes]
        try:
            with np.errstate(all="ignore"), warnings.catch_warnings():
                warnings.simplefilter("ignore", RuntimeWarning)  # the mean of nothing, and such
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


@frozen(eq=False)
class StoredRows:
    """Inputs that are read, looked at and converted when a part of them is asked for.

    Attributes
    ----------
    source
        Where they are read from.
    dtype
        What they become.
    """

    source: DataSource
    dtype: np.dtype[Any]

    @property
    def shape(self) -> Shape:
        """Of all of them."""
        return self.source.shape

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, part: slice) -> Array:
        start, stop, _ = part.indices(len(self))
        array, rows = self.source.read([(start, max(start, stop))]), np.arange(start, stop)
        require_finite(self.source.name, array, rows)
        return converted(self.source.name, array, self.dtype, rows)

    def as_type(self, dtype: np.dtype[Any]) -> StoredRows:
        """The same, to become numbers of another type."""
        return StoredRows(self.source, dtype)


def one_or_all(arrays: tuple[Array, ...]) -> Any:
    """A single array as it is, several in their tuple."""
    return arrays if len(arrays) != 1 else arrays[0]


def arrays_by_name(inputs: tuple[Array, ...], target: Any, weights: Any) -> dict[str, Array]:
    """The arrays of a batch by what they are called: x, t and sample_weights."""
    targets = as_tuple(target)
    names = [*names_of("{}", "x", len(inputs)), *names_of("{}", "t", len(targets))]
    found = dict(zip(names, (*inputs, *targets), strict=True))
    return found if weights is None else found | {"sample_weights": weights}


def names_of(named: str, letter: str, count: int) -> list[str]:
    """What some arrays are called: x, or x[0], x[1] and so on."""
    return [named.format(f"{letter}[{n}]" if count != 1 else letter) for n in range(count)]


def _as_rows(name: str, given: Any) -> Any:
    if is_stored(given):
        source = as_source(name, given)
        return StoredRows(source, source.dtype)
    return as_numbers(name, given)
