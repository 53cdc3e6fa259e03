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
`chainrule.training.data.sources`).
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from typing import Any, NoReturn

import numpy as np
from attrs import frozen

from chainrule.core.admission import as_tuple
from chainrule.core.errors import DataError, DtypeError, ShapeError
from chainrule.core.initializers import Shape
from chainrule.core.layer import Layer
from chainrule.core.parameter import Array
from chainrule.core.wording import batch_of
from chainrule.training.data.sources import Source, as_source, is_stored
from chainrule.training.losses import Loss

LOOKED_AT_ONCE = 2**20
"""How many numbers are looked at together, so that a large array needs no second one beside it."""


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
                mend=error.mend,
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

    source: Source
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


def require_finite(name: str, array: Array, rows: Array | None = None) -> None:
    """Raise a `DataError` that says where, if a number in the array is NaN or infinite.

    Parameters
    ----------
    name
        What the array is called.
    array
        All of it is looked at.
    rows
        The numbers that its rows have where they come from, if that is elsewhere.
    """
    if array.dtype.kind != "f":
        return
    at_once = max(1, LOOKED_AT_ONCE // max(1, array[:1].size))
    for start in range(0, len(array), at_once):
        if not np.isfinite(array[start : start + at_once]).all():
            refuse_entries(
                name,
                array,
                np.argwhere(~np.isfinite(array)),
                rows,
                problem="is not finite",
                expected="finite numbers only",
                mend="leave such rows out, or put numbers in them; np.isfinite finds them all",
            )


# ------------------------------------------------------------------------------- what comes


def _as_rows(name: str, given: Any) -> Any:
    if is_stored(given):
        source = as_source(name, given)
        return StoredRows(source, source.dtype)
    return as_numbers(name, given)


def as_numbers(name: str, given: Any) -> Array:
    """The array of real numbers that NumPy takes it for, with an axis for the rows.

    Raises
    ------
    DtypeError, ShapeError, DataError
        As `Data.of`.
    """
    if given is None:
        raise missing(name)
    if is_stored(given):
        return as_source(name, given).whole()
    if hasattr(given, "toarray") and hasattr(given, "nnz"):
        _refuse_kind(name, f"a sparse matrix of shape {given.shape}", "its .toarray()")
    if isinstance(given, np.ma.MaskedArray) and np.ma.is_masked(given):
        raise DataError(
            f"{name} is a masked array, and what is masked in it would be learned from too",
            expected="numbers that all count",
            received=f"{int(np.ma.getmaskarray(given).sum()):,} of {given.size:,} numbers masked",
            mend="leave those rows out, or put numbers there with .filled(…)",
        )
    try:
        array = np.asarray(given)
    except Exception as error:
        if isinstance(given, list | tuple):
            raise ShapeError(
                f"the rows of {name} are not all of the same shape",
                expected="as many numbers in each row",
                received=f"{type(given).__name__} of {len(given):,} rows of different shapes",
            ) from error
        raise DtypeError(
            f"{name} cannot be made an array",
            expected="an array of real numbers",
            received=f"{type(given).__name__}; {type(error).__name__}: {error}",
        ) from error
    if array.dtype.kind not in "fiub":
        described = f"{type(given).__name__} of dtype {array.dtype}, shape {array.shape}"
        mends = {
            "O": "np.asarray(…, dtype=float), if there are only numbers in it",
            "c": "give real and imaginary part as two columns",
            "U": "names become labels by: names, labels = np.unique(…, return_inverse=True)",
        }
        _refuse_kind(name, described, mends.get(array.dtype.kind))
    if not array.ndim:
        raise ShapeError(
            f"{name} is a single number, and no array of samples",
            expected="an array whose axis 0 counts the samples",
            received=f"{given!r:.60}",
        )
    return array


def as_targets(name: str, given: Any, outputs: int, samples: int) -> tuple[Any, ...]:
    """What was given for each of the outputs, if it is a tuple of as many."""
    if outputs == 1:
        _refuse_several(name, given, samples)
        return (given,)
    if given is None:
        raise missing(name)
    if isinstance(given, tuple) and len(given) == outputs:
        return given
    arrays = f"({', '.join(f't_{n + 1}' for n in range(outputs))})"
    received = type(given).__name__
    if hasattr(given, "shape"):
        received = f"one array of shape {given.shape}"
    elif hasattr(given, "__len__"):
        received = f"a {received} of {len(given):,}"
    raise ShapeError(
        f"{name} is not one target for each of {outputs} outputs",
        expected=f"{arrays}, a tuple of {outputs} arrays",
        received=received,
        mend=f"put the targets in a tuple, in the order of the outputs: {arrays}",
    )


def _refuse_several(name: str, given: Any, samples: int) -> None:
    """Refuse a tuple of targets, where it cannot be a tuple of the rows of one."""
    if not isinstance(given, tuple) or len(given) in (1, samples):
        return
    if given and all(hasattr(part, "__len__") for part in given):
        raise ShapeError(
            f"{name} is a tuple of targets, and there is a loss for one output",
            expected=f"one array of {samples:,} rows",
            received=f"a tuple of {len(given):,}",
            mend="one target for one output; for several, also a loss for each: "
            "Trainer(model, [loss_1, loss_2], …)",
        )


def fitted_target(
    name: str,
    target: Array,
    loss: Loss,
    row: Shape,
    dtype: np.dtype[Any],
    rows: Array | None = None,
) -> Array:
    """A target as the loss of its output takes it."""
    y_shape = (len(target), *row)
    try:
        loss.validate_targets(y_shape, target)
    except (ShapeError, DtypeError, DataError) as error:
        error.place = f"{name}, {_among(rows, error.place)}"
        raise
    if target.dtype.kind == "f" or target.shape == y_shape:  # else they are labels
        return converted(name, target, dtype, rows)
    return target


def _among(rows: Array | None, place: str | None) -> str | None:
    """The place of a row in a batch, with the number that it has among all rows."""
    if rows is None or place is None:
        return place
    return re.sub(r"\b(row|index) (\d+)", lambda m: f"{m[1]} {rows[int(m[2])]}", place, count=1)


def missing(name: str) -> DataError:
    """The error for data of which there are none."""
    return DataError(
        f"{name} is missing",
        expected="inputs x and targets t",
        received=f"no {name}",
        mend="fit(x, t); where the targets are the inputs themselves: fit(x, x)",
    )


def _refuse_kind(name: str, received: str, mend: str | None) -> NoReturn:
    raise DtypeError(
        f"{name} holds no real numbers",
        expected="an array of real numbers",
        received=received,
        mend=mend,
    )


def as_weights(name: str, given: Any, rows: Array | None = None) -> Array:
    """Sample weights: finite, and 0 or more."""
    weights = as_numbers(name, given)
    if weights.ndim != 1:
        raise ShapeError(
            f"{name} has one number for each sample",
            expected=(len(weights),),
            received=weights.shape,
            mend="its .ravel()" if weights.size == len(weights) else None,
        )
    require_finite(name, weights, rows)
    if (weights < 0).any():
        refuse_entries(
            name,
            weights,
            np.argwhere(weights < 0),
            rows,
            problem="is negative",
            expected="weights of 0 or more",
            mend="a weight of 0 leaves a sample out",
        )
    return weights


def require_equal_lengths(arrays: dict[str, Any]) -> None:
    """Refuse arrays that do not have a row each for the same samples, or have none."""
    lengths = {name: len(array) for name, array in arrays.items()}
    if len(set(lengths.values())) > 1:
        raise DataError(
            f"{' and '.join(lengths)} are not of the same length",
            expected="one row in each of them for each sample",
            received=", ".join(f"{name} with {length:,} rows" for name, length in lengths.items()),
            mend="samples are counted by axis 0; is one of the arrays transposed, or cut short?",
        )
    if not next(iter(lengths.values())):
        raise DataError(
            f"there are no samples in {' and '.join(lengths)}",
            expected="one row at least",
            received=", ".join(f"{name} of shape {array.shape}" for name, array in arrays.items()),
        )


def converted(name: str, array: Array, dtype: np.dtype[Any], rows: Array | None = None) -> Array:
    """The array in the model's type of numbers, if that can hold them all."""
    if array.dtype == dtype:
        return array
    with np.errstate(over="ignore"):
        result = array.astype(dtype)
    if np.can_cast(array.dtype, dtype) or np.isfinite(result).all():
        return result
    refuse_entries(
        name,
        array,
        np.argwhere(~np.isfinite(result)),
        rows,
        problem=f"is too large for the model, which computes in {dtype}",
        expected=f"numbers between ±{np.finfo(dtype).max:.3g}",
        mend="scale the column, or build the model with dtype='float64'",
    )


def refuse_entries(
    name: str,
    array: Array,
    bad: Array,
    rows: Array | None = None,
    *,
    problem: str,
    expected: str,
    mend: str | None,
) -> NoReturn:
    """Say which numbers they are: the first by its place, and how many in how many rows."""
    if rows is not None:
        bad = bad[np.argsort(rows[bad[:, 0]], kind="stable")]
    first = tuple(int(index) for index in bad[0])
    places = [f"row {first[0] if rows is None else rows[first[0]]}"]
    if array.ndim == 2:
        places.append(f"column {first[1]}")
    elif array.ndim > 2:
        places.append(f"index {first[1:]}")
    count, in_rows = len(bad), len(set(bad[:, 0].tolist()))
    total = f"{count:,} such numbers in {in_rows:,} rows of" if count > 1 else "the only one in"
    those = "" if rows is None else " that were read together"
    raise DataError(
        f"a number in {name} {problem}",
        place=", ".join([name, *places]),
        expected=expected,
        received=f"{array[first]}; {total} {len(array):,}{those}",
        mend=mend,
    )
