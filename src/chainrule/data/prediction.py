"""Prediction: the outputs for any number of samples, in batches, so that memory is bounded.

    y_s = F_θ(x_s)        for all samples s, some at a time

A layer keeps all its intermediate values of a batch until the next layer is done; for a whole
dataset they may not fit in memory. Here only the outputs are as long as the data.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from chainrule.core.arrays import as_array, is_array
from chainrule.core.errors import ConfigurationError, DataError, ShapeError, shortened
from chainrule.core.types import Array, Shape
from chainrule.core.validators import is_integer
from chainrule.data.kinds import gives_batches, gives_pairs, is_list_of_batches
from chainrule.data.sources import Stack, as_source, has_shape, is_stored


def predict(
    model: Callable[..., Any],
    x: Any,
    batch_size: int,
    inputs: int | None,
    nothing: Sequence[Array],
) -> Any:
    """The outputs of a model for all samples; see `Layer.predict`.

    Parameters
    ----------
    model
        What computes the outputs of a batch, from one argument for each input.
    x
        Arrays, stored arrays, a dataset or batches.
    batch_size
        The number of samples in a batch.
    inputs
        The number of inputs; None if the model does not know yet.
    nothing
        The outputs for no samples; none if the model is not built.
    """
    if not is_integer(batch_size) or batch_size < 1:
        raise ConfigurationError(
            "batch_size must be an integer of at least 1",
            expected="1, 2, 3, …",
            received=f"batch_size={shortened(batch_size)}",
            hint="several inputs are a tuple: model.predict((a, b))"
            if hasattr(batch_size, "__array__")
            else None,
        )
    if callable(x):
        raise ConfigurationError(
            "a function is no data to predict from",
            expected="arrays, a dataset, or an iterable of batches",
            received=shortened(x),
            hint="call it: predict(make_batch(np.random.default_rng(1))[0])",
        )
    total: int | None = None
    if _gives_batches(x, inputs):
        batches = _of_batches(x, inputs)
    elif gives_pairs(x):
        total, batches = len(x), _of_samples(x, batch_size, inputs)
    elif _is_single(x):
        return model(*_each(x))  # its error says what is wrong
    else:
        try:
            total, batches = _of_arrays(_each(x), batch_size)
        except ShapeError as error:
            if isinstance(x, list) and all(hasattr(item, "dtype") for item in x):
                error.hint = "several inputs are a tuple: model.predict((a, b))"
            raise
    return _joined(model, batches, total, nothing)


def _joined(
    model: Callable[..., Any],
    batches: Iterator[tuple[Any, ...]],
    total: int | None,
    nothing: Sequence[Array],
) -> Any:
    """The outputs of all batches, one array for each output of the model."""
    parts: list[list[Array]] = []
    whole: list[Array] = []
    done, several = 0, len(nothing) > 1
    for number, batch in enumerate(batches, start=1):
        y = model(*batch)
        several = isinstance(y, tuple)
        outputs = [np.asarray(part) for part in _each(y)]
        size = _rows_in(batch[0])
        for part, first in zip(outputs, whole or (parts[0] if parts else outputs), strict=True):
            _require_rows(part, (size, *first.shape[1:]), number)
        if total is None:
            parts.append([part.copy() for part in outputs])
            continue
        if not whole:
            whole = [np.empty((total, *part.shape[1:]), part.dtype) for part in outputs]
        for array, part in zip(whole, outputs, strict=True):
            array[done : done + size] = part
        done += size
    if parts:
        whole = [np.concatenate(arrays) for arrays in zip(*parts, strict=True)]
    whole = whole or list(nothing)
    if not whole:
        raise DataError(
            "there are no samples, and the model is not built",
            expected="at least one sample, from which the model is built",
            received="none",
            hint="model.build(input_shape) first",
        )
    return tuple(whole) if several else whole[0]


def _require_rows(part: Array, expected: Shape, number: int) -> None:
    if part.shape != expected:
        raise ShapeError(
            f"the output of batch {number} cannot be joined with the others",
            expected=expected,
            received=part.shape,
            hint="one by one: [model(x) for x in batches]"
            if part.shape[:1] == expected[:1]
            else "each layer must return one row for each sample",
        )


# ------------------------------------------------------------------------------- the batches


def _of_arrays(arrays: tuple[Any, ...], size: int) -> tuple[int, Iterator[tuple[Any, ...]]]:
    """The number of samples, and the batches of some arrays, of which stored ones are read."""
    sources = [as_source("x", array) if is_stored(array) else _whole(array) for array in arrays]
    lengths = {_rows_in(array) for array in sources}
    if len(lengths) > 1:
        raise DataError(
            "the inputs do not have the same length",
            expected="one row in each of them for each sample",
            received=", ".join(f"{_rows_in(array):,} rows" for array in sources),
        )
    (total,) = lengths

    def batches() -> Iterator[tuple[Any, ...]]:
        if not total and not all(map(has_shape, sources)):
            return  # an empty list does not know the shape of its rows
        for start in range(0, max(total, 1), size):
            stop = min(start + size, total)
            yield tuple([_slice(source, start, stop) for source in sources])

    return total, batches()


def _whole(array: Any) -> Any:
    """What is in memory as an array: an error is about all of it, not about a batch."""
    is_empty_list = isinstance(array, list) and not array
    return array if is_array(array) or is_empty_list else as_array("x", array)


def _slice(source: Any, start: int, stop: int) -> Any:
    return source.read([(start, stop)]) if hasattr(source, "read") else source[start:stop]


def _of_samples(dataset: Any, size: int, inputs: int | None) -> Iterator[tuple[Array, ...]]:
    """The batches of a dataset, with the inputs of its samples stacked."""
    for start in range(0, len(dataset), size):
        indices = range(start, min(start + size, len(dataset)))
        stacks: list[Stack] = []
        for index in indices:
            row = _row(dataset, index, inputs)
            stacks = stacks or [Stack("x", len(indices)) for _ in row]
            for stack, part in zip(stacks, row, strict=True):
                stack.add(index, part)
        yield tuple([stack.array for stack in stacks])


def _row(dataset: Any, index: int, inputs: int | None) -> tuple[Any, ...]:
    try:
        return _inputs_of(dataset[index], inputs)
    except Exception as error:
        error.add_note(f"while reading sample {index:,} of the dataset")
        raise


def _of_batches(loader: Any, inputs: int | None) -> Iterator[tuple[Any, ...]]:
    for item in loader:
        yield _inputs_of(item, inputs)


def _inputs_of(item: Any, inputs: int | None) -> tuple[Any, ...]:
    """The inputs in a sample or a batch, which may have targets and weights, too."""
    is_pair = isinstance(item, tuple) or (
        isinstance(item, list) and bool(item) and all(map(has_shape, item))
    )
    if not is_pair or not item:
        return (item,)
    if inputs is not None and inputs > 1 and len(_each(item[0])) != inputs == len(item):
        return tuple(item)  # the inputs alone
    return _each(item[0])


# ------------------------------------------------------------------------------- what is given


def _gives_batches(x: Any, inputs: int | None) -> bool:
    if isinstance(x, list | tuple):
        return is_list_of_batches(x, 1 if inputs is None else inputs)
    return gives_batches(x)


def _is_single(x: Any) -> bool:
    """Whether it has no rows to count: a number, or nothing that can be indexed."""
    for array in _each(x):
        try:
            _rows_in(array), array[0:0]
        except Exception:
            return not is_stored(array) and not hasattr(array, "iloc")
    return not _each(x)


def _rows_in(array: Any) -> int:
    return int(array.shape[0]) if has_shape(array) else len(array)


def _each(arrays: Any) -> tuple[Any, ...]:
    return arrays if isinstance(arrays, tuple) else (arrays,)
