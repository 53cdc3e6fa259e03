"""The checks of inputs and deltas, before anything is computed.

Inputs must be arrays of the dtype that the layer was built for, with rows of the shape that it was
built for or of another one that it accepts (`chainrule.core.open_axes`). The first batch decides
both unless `build` was called. Integers are converted. A delta must have the shape of the last
output.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from chainrule.core.arrays import as_array, hint_to_convert, is_array, look_alike, read_only
from chainrule.core.errors import (
    BackwardBeforeForwardError,
    ChainruleError,
    DefinitionError,
    DtypeError,
    ShapeError,
    described,
)
from chainrule.core.messages import batch_of, label
from chainrule.core.open_axes import fits, is_opening, merged
from chainrule.core.ownership import BUILDING, Builder
from chainrule.core.types import RowPattern, Shape

if TYPE_CHECKING:
    from chainrule.core.layer import Layer

DTYPES = (np.dtype(np.float32), np.dtype(np.float64))
SEVERAL = "several inputs belong together: model(a, b), model.predict((a, b)), fit((a, b), t)"


def admit(layer: Layer, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    """Check the inputs against what the layer was built for; if it is not built, build it.

    Returns the inputs, with numbers of the layer's dtype in place of integers.
    """
    shapes = layer._input_shapes
    if shapes is None:
        with Builder.here():
            return _build_for(layer, inputs)
    if layer._rng is not None:
        Builder.wait()  # another thread may be building it, and may fail
        if layer._input_shapes is None:
            return admit(layer, inputs)
    if len(inputs) == len(shapes):
        dtype = layer._dtype
        for number, shape in enumerate(shapes):
            x = inputs[number]
            try:
                is_plain = type(x) is np.ndarray or is_array(x)
                if x.dtype is dtype and x.shape[1:] == shape and x.shape and is_plain:
                    continue
            except AttributeError:
                pass
            break
        else:
            if len(inputs) > 1 and len({len(x) for x in inputs}) > 1:
                raise _unequal_batches(layer, inputs)
            return inputs
    return _admit_others(layer, inputs)


def as_inputs(layer: Layer, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    """The inputs as arrays of the layer's dtype, from anything that contains real numbers."""
    return tuple(_as_input(layer, x) for x in inputs)


def _as_input(layer: Layer, x: Any) -> Any:
    is_list = isinstance(x, list | tuple) and len(x) > 0
    first = x[0] if is_list else x
    if is_list and hasattr(first, "extended_by"):
        raise DefinitionError(
            f"{label(layer)}: the nodes are in a list",
            expected="each node as an argument of its own",
            received=described(x),
            hint=f"{label(layer)}(a, b)",
        )
    if hasattr(first, "walk") and hasattr(first, "forward"):  # a layer instead of a node
        raise DtypeError(
            f"{label(layer)} is called on a layer",
            expected="an array, or a node of a graph such as Input((64,))",
            received=described(x),
            hint="in sequence: Sequential([first, second]), or second(first(x))",
        )
    is_plain = type(x) is np.ndarray and x.dtype.kind in "fiub" and x.dtype.isnative
    if not is_plain and (isinstance(x, np.ndarray) or not is_array(x)):
        try:
            x = as_array(f"{label(layer)}: the input", x)
        except ShapeError as error:  # rows of unequal length
            raise DtypeError(
                f"{label(layer)}: the input cannot be converted to an array",
                expected="an array of real numbers",
                received=error.received,
                hint=SEVERAL if hasattr(x[0], "dtype") else "are the rows of unequal length?",
            ) from error
    _refuse_kind(layer, x, kinds="fiub")
    dtype = _known_dtype(layer) or (x.dtype if x.dtype in DTYPES else np.dtype(np.float64))
    return read_only(x) if x.dtype is dtype else x.astype(dtype)


def own_outputs(outputs: Any) -> Any:
    """The outputs of a layer; a copy of those that are views of the caller's input."""
    if type(outputs) is tuple:
        return tuple([own_outputs(y) for y in outputs])
    is_view = type(outputs) is np.ndarray and not outputs.flags.writeable
    return outputs.copy() if is_view else outputs


def _build_for(layer: Layer, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    if layer.is_built:  # by another thread, meanwhile
        return admit(layer, inputs)
    for x in inputs:
        _refuse_kind(layer, x, kinds="fiub", floats=DTYPES)
    dtypes = [x.dtype for x in inputs if x.dtype.kind == "f"]
    dtype = _known_dtype(layer) or (dtypes[0] if dtypes else np.dtype(np.float64))
    inputs = tuple(_as_float(x, dtype) for x in inputs)
    for x in inputs:
        if not x.shape:
            raise ShapeError(
                f"{type(layer).__name__}: a single number is not a batch",
                expected="an array whose axis 0 is the batch",
                received="an array of shape ()",
            )
        _refuse_dtype(layer, x, dtype)
    layer.build(*(x.shape[1:] for x in inputs), dtype=dtype if inputs else None)
    return admit(layer, inputs)


def _known_dtype(layer: Layer) -> np.dtype[Any] | None:
    """The dtype that the layer has or, if another layer's `build` calls it, will have."""
    outer = BUILDING.get()
    return layer._dtype or (None if outer is None else outer._dtype)


def _as_float(x: Any, dtype: np.dtype[Any] | None) -> Any:
    return x.astype(dtype) if x.dtype.kind in "iub" else x


def _admit_others(layer: Layer, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    """The inputs, if the layer accepts them although it was built for others."""
    name = label(layer)
    shapes = layer.input_shapes
    if len(inputs) != len(shapes):
        raise ShapeError(
            f"{name}: wrong number of inputs",
            expected=f"{len(shapes)} array(s), with rows of shape {', '.join(map(str, shapes))}",
            received=f"{len(inputs)} array(s)",
            hint=SEVERAL
            if len(inputs) < len(shapes)
            else f"build a copy for {len(inputs)} inputs: layer.unbuilt()",
        )
    for x in inputs:
        _refuse_kind(layer, x, kinds="fiub", floats=DTYPES)
    rows = tuple(x.shape[1:] for x in inputs)
    if not all(x.shape for x in inputs):
        raise _unfitting_input(layer, inputs, shapes)
    if rows != shapes and rows not in layer._fitting:
        if not all(map(fits, rows, layer.accepted_shapes)):
            raise _unfitting_input(layer, inputs, layer.accepted_shapes)
        try:
            layer._require_fit(rows)
        except ShapeError as error:
            if len(inputs) == 1 and len(inputs[0]):
                described, given = (
                    f"{s}, produced by" for s in (batch_of(rows[0]), inputs[0].shape)
                )
                error.received = str(error.received).replace(described, given)
                error.hint = (
                    _hint_to_move_channels(inputs[0].shape, shapes[0], shapes[0])
                    or _hint_rearranged(inputs[0].shape, shapes[0])
                    or error.hint
                )
            raise
        layer.__dict__["_fitting"] = frozenset([*itertools.islice(layer._fitting, 255), rows])
    numbers = tuple(_as_float(x, layer._dtype) for x in inputs)
    for x in numbers:
        _refuse_dtype(layer, x, layer._dtype)
    if len({len(x) for x in numbers}) > 1:
        raise _unequal_batches(layer, numbers)
    return numbers


def _unfitting_input(
    layer: Layer, inputs: tuple[Any, ...], patterns: tuple[RowPattern, ...]
) -> ShapeError:
    """The error for the first input whose rows do not fit what the layer accepts."""
    pairs = zip(inputs, patterns, layer.input_shapes, strict=True)
    x, pattern, shape = next(
        (x, pattern, shape)
        for x, pattern, shape in pairs
        if not x.shape or not fits(x.shape[1:], pattern)
    )
    received = x.shape if x.shape[:1] != (0,) else batch_of(x.shape[1:])
    if is_opening():
        return ShapeError(
            f"{label(layer)}: the layer needs a fixed size where the rows have an open axis",
            expected="rows without None",
            received=batch_of(merged(x.shape[1:], shape)),
            hint="give the axis a size in build or Input; a layer of your own can declare the "
            "rows that it accepts: accepted_shapes",
        )
    return ShapeError(
        f"{label(layer)}: the input has the wrong {_what_differs(x.shape[1:], pattern)}",
        expected=batch_of(pattern),
        received=received,
        hint=_hint_to_move_channels(x.shape, shape, pattern) or _hint_input(x.shape, shape),
    )


def _unequal_batches(layer: Layer, inputs: tuple[Any, ...]) -> ShapeError:
    return ShapeError(
        f"{label(layer)}: the inputs have different batch sizes",
        expected="the same number of rows in each",
        received=", ".join(str(x.shape) for x in inputs),
        hint="axis 0 is the batch; pass the same samples to each input",
    )


def _refuse_dtype(layer: Layer, x: Any, dtype: Any) -> None:
    if x.dtype != dtype:
        raise DtypeError(
            f"{label(layer)}: the input does not have the dtype of the parameters",
            expected=dtype,
            received=x.dtype,
            hint=f"x.astype({str(dtype)!r}), or build the model for {x.dtype}",
        )


def _refuse_kind(layer: Layer, x: Any, kinds: str, floats: Any = None) -> None:
    if not is_array(x):
        hint_to = hint_to_convert(x, "x")
        is_converted = hint_to.startswith("np.asarray")
        raise DtypeError(
            f"{label(layer)}: the input is not an array",
            expected="an array of real numbers",
            received=look_alike(x) or type(x).__name__,
            hint=hint_to + ", or layer(x), which converts its inputs" * is_converted,
        )
    if x.dtype.kind not in kinds or (x.dtype.kind == "f" and floats and x.dtype not in floats):
        what = {"O": "Python objects", "U": "strings", "S": "bytes", "c": "complex numbers"}
        what |= {"V": "records", "M": "dates", "m": "time differences"}
        content = what.get(x.dtype.kind, f"{x.dtype} numbers")
        hint = {
            "O": "are the rows of unequal length? make them one array of numbers",
            "c": "pass the real and imaginary parts as two columns",
            "f": "x.astype('float64'), or layer(x), which converts its inputs",
        }
        raise DtypeError(
            f"{label(layer)}: the input contains {content}",
            expected="float32, float64 or integers" if floats else "real numbers",
            received=f"an array of {x.dtype}, shape {x.shape}",
            hint=hint.get(x.dtype.kind),
        )


def _what_differs(received: Shape, expected: RowPattern) -> str:
    if ... in expected:
        return "width" if received else "number of axes"
    if len(received) != len(expected):
        return "number of axes"
    return "width" if len(expected) == 1 else "shape"


def _hint_input(received: Shape, expected: Shape) -> str:
    if None in expected:
        return f"pass rows of shape {expected}, where None is any size"
    return (
        _hint_rearranged(received, expected)
        or f"pass rows of shape {expected}, or build a copy for this input: layer.unbuilt()"
    )


def _hint_to_move_channels(received: Shape, expected: Shape, pattern: RowPattern) -> str | None:
    """How rows with their channels first, as in PyTorch, become rows that fit a pattern."""
    row = received[1:]
    if len(row) == len(expected) > 1 and row[0] > 1 and fits((*row[1:], row[0]), pattern):
        return "the channels are the last axis: np.moveaxis(x, 1, -1)"
    return None


def _hint_rearranged(received: Shape, expected: Shape) -> str | None:
    """How the same numbers become rows of the expected shape, if they can."""
    if received == expected:
        return "make it a batch of one row: x[np.newaxis]"
    if None not in expected and math.prod(received[1:]) == math.prod(expected) and received[1:]:
        return f"x.reshape({', '.join(['len(x)', *map(str, expected)])})"
    return None


def unfitting_delta(layer: Layer, delta: Any) -> ChainruleError:
    """The error for a delta that does not fit the last output, or for which there is none."""
    shape = shapes_of(delta)
    if layer._delta_shape is None:
        return BackwardBeforeForwardError(
            f"{label(layer)}: backward was called before forward",
            expected="forward(x) first; it remembers what backward needs",
            received=f"a delta of shape {shape}"
            if all(map(is_array, as_tuple(delta)))
            else described(delta),
            hint="call model.forward(x); model(x) and apply remember nothing",
        )
    expected = layer._delta_shape
    wrong = [d for d in as_tuple(delta) if not is_array(d)]
    if wrong:
        return DtypeError(
            f"{label(layer)}: the delta is not an array",
            expected=f"an array of shape {expected}",
            received=look_alike(wrong[0]) or type(wrong[0]).__name__,
            hint="pass several deltas as a tuple: backward((d_1, d_2))"
            if shape is list
            else hint_to_convert(wrong[0], "delta"),
        )
    if shape == expected:
        types = ", ".join(str(d.dtype) for d in as_tuple(delta))
        return DtypeError(
            f"{label(layer)}: the delta does not have the dtype of the parameters",
            expected=layer._dtype,
            received=types,
            hint=f"delta.astype({str(layer._dtype)!r})",
        )
    is_several = bool(expected) and isinstance(expected[0], tuple)
    return ShapeError(
        f"{label(layer)}: the delta does not have the shape of the last output",
        expected=expected,
        received=shape,
        hint=f"a tuple of {len(expected)} deltas, ∂C/∂y of each output"
        if is_several
        else "the delta is ∂C/∂y, with the shape of what forward returned: loss.delta(y, target)",
    )


def record_output_shape(memory: dict[str, Any], outputs: Any) -> None:
    """Record the shape that the next delta must have in ``memory``, a layer's ``__dict__``."""
    try:
        memory["_delta_shape"] = outputs.shape
    except AttributeError:
        memory["_delta_shape"] = shapes_of(outputs)


def fits_output(layer: Layer, delta: Any) -> bool:
    """Whether a delta has the shape of the layer's last output and the type it was built for."""
    if not has_recorded_shape(layer.__dict__, delta):
        return False
    dtype = layer._dtype
    if type(delta) is tuple:
        return all(is_array(d) and d.dtype == dtype for d in delta)
    if type(delta) is not np.ndarray and not is_array(delta):
        return False
    return delta.dtype is dtype or bool(delta.dtype == dtype)


def shapes_of(arrays: Any) -> Any:
    """The shape of an array or the shapes of a tuple of arrays; for anything else its type."""
    try:
        return arrays.shape
    except AttributeError:
        if type(arrays) is not tuple:
            return type(arrays)
        return tuple([getattr(array, "shape", type(array)) for array in arrays])


def has_recorded_shape(memory: dict[str, Any], delta: Any) -> bool:
    """Whether a delta has the shape that `record_output_shape` recorded last."""
    try:
        fits: bool = delta.shape == memory["_delta_shape"]
    except (AttributeError, KeyError):  # several deltas, no array, or no forward yet
        fits = shapes_of(delta) == memory.get("_delta_shape")
    return fits


def one_or_tuple(arrays: Sequence[Any]) -> Any:
    """A single array itself, several arrays as a tuple."""
    return arrays[0] if len(arrays) == 1 else tuple(arrays)


def as_tuple(arrays: Any) -> tuple[Any, ...]:
    """A tuple of arrays unchanged, a single array as a tuple of one."""
    return arrays if isinstance(arrays, tuple) else (arrays,)
