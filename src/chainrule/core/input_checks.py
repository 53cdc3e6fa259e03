"""The checks of inputs and deltas, before anything is computed.

Inputs must be arrays of the shape and dtype that the layer was built for, which its first batch
decides unless `build` was called. A delta must have the shape of the last output.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from chainrule.core.errors import (
    BackwardBeforeForwardError,
    ChainruleError,
    DefinitionError,
    DtypeError,
    ShapeError,
    described,
)
from chainrule.core.messages import batch_of, label
from chainrule.core.types import Shape

if TYPE_CHECKING:
    from chainrule.core.layer import Layer

DTYPES = (np.dtype(np.float32), np.dtype(np.float64))


def admit(layer: Layer, inputs: tuple[Any, ...]) -> None:
    """Check the inputs against what the layer was built for; if it is not built, build it."""
    shapes = layer._input_shapes
    if shapes is None:
        _build_for(layer, inputs)
        return
    if len(inputs) == len(shapes):
        dtype = layer._dtype
        for number, shape in enumerate(shapes):
            x = inputs[number]
            try:
                fits = x.shape[1:] == shape or layer.accepts_any_shape
                if x.dtype is dtype and fits and x.shape:
                    continue
            except AttributeError:
                pass
            break
        else:
            if len(inputs) > 1 and len({len(x) for x in inputs}) > 1:
                raise _unequal_batches(layer, inputs)
            return
    _raise_if_unfit(layer, inputs)


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
    if not _has_dtype(x):
        try:
            x = np.asarray(x)
        except ValueError as error:  # rows of unequal length
            raise DtypeError(
                f"{label(layer)}: the input cannot be converted to an array",
                expected="an array of real numbers",
                received=f"{type(x).__name__}: {error}",
                hint="pass several inputs as several arguments: model(a, b)"
                if isinstance(x, list | tuple) and x and hasattr(x[0], "dtype")
                else "are the rows of unequal length?",
            ) from error
    _refuse_kind(layer, x, kinds="fiub")
    dtype = layer._dtype or (x.dtype if x.dtype in DTYPES else np.dtype(np.float64))
    return x if x.dtype is dtype else x.astype(dtype)


def _build_for(layer: Layer, inputs: tuple[Any, ...]) -> None:
    for x in inputs:
        _refuse_kind(layer, x, kinds="f")
        if not x.shape:
            raise ShapeError(
                f"{type(layer).__name__}: a single number is not a batch",
                expected="an array whose axis 0 is the batch",
                received="an array of shape ()",
            )
        _refuse_dtype(layer, x, layer._dtype or inputs[0].dtype)
    dtype = inputs[0].dtype if inputs and layer._dtype is None else None
    layer.build(*(x.shape[1:] for x in inputs), dtype=dtype)
    admit(layer, inputs)


def _raise_if_unfit(layer: Layer, inputs: tuple[Any, ...]) -> None:
    """Raise the error that says what is wrong with the inputs, if anything is."""
    name = label(layer)
    shapes = layer.input_shapes
    if len(inputs) != len(shapes):
        raise ShapeError(
            f"{name}: wrong number of inputs",
            expected=f"{len(shapes)} array(s), with rows of shape {', '.join(map(str, shapes))}",
            received=f"{len(inputs)} array(s)",
            hint="pass several inputs as several arguments: model(a, b)",
        )
    for x, shape in zip(inputs, shapes, strict=True):
        _refuse_kind(layer, x, kinds="f")
        if not x.shape or (x.shape[1:] != shape and not layer.accepts_any_shape):
            what = _what_differs(x.shape[1:], shape)
            raise ShapeError(
                f"{name}: the input has the wrong {what}",
                expected=batch_of(shape),
                received=x.shape if x.shape[:1] != (0,) else batch_of(x.shape[1:]),
                hint=_hint_input(x.shape, shape),
            )
        _refuse_dtype(layer, x, layer._dtype)


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


def _has_dtype(x: Any) -> bool:
    return isinstance(getattr(x, "dtype", None), np.dtype)


def _refuse_kind(layer: Layer, x: Any, kinds: str) -> None:
    if not _has_dtype(x):
        raise DtypeError(
            f"{label(layer)}: the input is not an array",
            expected="an array of real numbers",
            received=type(x).__name__,
            hint="np.array(…), or layer(x), which converts its inputs",
        )
    if x.dtype.kind not in kinds or (
        x.dtype.kind == "f" and kinds == "f" and x.dtype not in DTYPES
    ):
        what = {"O": "Python objects", "U": "strings", "S": "bytes", "c": "complex numbers"}
        content = what.get(x.dtype.kind, f"{x.dtype} numbers")
        hint = {
            "O": "are the rows of unequal length? make them one array of numbers",
            "c": "pass the real and imaginary parts as two columns",
            "i": "x.astype('float64'), or layer(x), which converts its inputs",
        }
        raise DtypeError(
            f"{label(layer)}: the input contains {content}",
            expected="float32 or float64" if kinds == "f" else "real numbers",
            received=f"an array of {x.dtype}, shape {x.shape}",
            hint=hint.get(x.dtype.kind, hint["i"] if x.dtype.kind in "ubf" else None),
        )


def _what_differs(received: Shape, expected: Shape) -> str:
    if len(received) != len(expected):
        return "number of axes"
    return "width" if len(expected) == 1 else "shape"


def _hint_input(received: Shape, expected: Shape) -> str:
    if received == expected:
        return "make it a batch of one row: x[np.newaxis]"
    if int(np.prod(received[1:])) == int(np.prod(expected)) and len(received) > 1:
        return f"x.reshape({', '.join(['len(x)', *map(str, expected)])})"
    return f"pass rows of shape {expected}, or build a copy for this input: layer.unbuilt()"


def unfitting_delta(layer: Layer, delta: Any) -> ChainruleError:
    """The error for a delta that does not fit the last output, or for which there is none."""
    shape = shapes_of(delta)
    if layer._delta_shape is None:
        return BackwardBeforeForwardError(
            f"{label(layer)}: backward was called before forward",
            expected="forward(x) first; it remembers what backward needs",
            received=f"a delta of shape {shape}",
            hint="call model.forward(x); model(x) and apply remember nothing",
        )
    expected = layer._delta_shape
    if isinstance(shape, type):
        return DtypeError(
            f"{label(layer)}: the delta is not an array",
            expected=f"an array of shape {expected}",
            received=shape.__name__,
            hint="pass several deltas as a tuple: backward((d_1, d_2))" if shape is list else None,
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
        return all(d.dtype == dtype for d in delta)
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
