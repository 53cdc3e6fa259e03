"""Constants: what an ONNX graph computes from its weights and shapes alone, before any data come.

    Shape(x) → Gather(0) → Concat(·, 12)        the shape of a Reshape, as PyTorch writes it

Such nodes are evaluated when the model is read, by the lines of one table. The size of the batch is
not known then, so arrays of sizes may contain the object `BATCH` in place of a number: it can be
moved, but not calculated with. A file can ask for an array of any size in a few bytes, so results
are measured before they are made.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from chainrule.interop.onnx.reading.values import BATCH, OPEN, Constant, RefusedError, Size, axis_of

LIMIT = 2**26
"""The largest number of elements of a computed constant, unless a weight is larger itself."""

AnyArray: TypeAlias = npt.NDArray[Any]


def fold(
    operator: str,
    given: Sequence[Constant | None],
    attributes: dict[str, Any],
    uses: Mapping[str, int],
) -> Any:
    """The outputs of a node all of whose inputs are constants; None if there is no rule for it.

    Parameters
    ----------
    operator, given, attributes
        The node.
    uses
        How often each weight is used.

    Raises
    ------
    RefusedError
        The result would be too large, depends on a size that is not known, or cannot be computed.
    """
    rule = RULES.get(operator)
    if rule is None:
        return None
    arrays = [None if one is None else one.array for one in given]
    if operator == "Range" and any(one is not None and one.dtype == object for one in arrays):
        return None  # as many as an axis has: `moving.positions`
    known = [one for one in given if one is not None]
    origin: frozenset[str] = frozenset().union(*(one.origin for one in known))
    # What is computed from weights is a weight itself, unless these are used elsewhere, too.
    is_own = operator in MOVING or all(uses[name] < 2 for name in origin)
    is_learned = is_own and any(one.is_learned for one in known)
    repeated = _repeated(operator, known, attributes)
    is_open = any(one.is_open for one in known)
    if is_open and operator not in KEEP_OPEN:
        raise RefusedError("it calculates with an array that is as long as an open axis")
    if operator == "Shape" and repeated:
        wide: list[int | Size] = list(known[0].array.shape)
        wide[repeated] = BATCH
        return [Constant(shape_part(wide, attributes))]
    with np.errstate(all="ignore"):
        try:
            found = rule(arrays, attributes)
        except (TypeError, ValueError, LookupError, AttributeError, ArithmeticError) as error:
            raise RefusedError(f"its constants do not fit together: {error!s:.100}") from error
    outputs = found if isinstance(found, list) else [found]
    if operator in ("Expand", "ConstantOfShape"):
        given_sizes = list(np.ravel(_array(arrays[-1])))
        is_open |= OPEN in given_sizes
        if BATCH in given_sizes:
            repeated = given_sizes.index(BATCH) - len(given_sizes)
    if repeated and any(np.shape(one)[repeated:][:1] != (1,) for one in outputs):
        raise RefusedError("it takes entries of an array that is as long as the batch")
    return [
        Constant(
            _plain(np.asarray(one)), is_learned and np.size(one) > 1, repeated, origin, is_open
        )
        for one in outputs
    ]


def _repeated(operator: str, known: Sequence[Constant], attributes: dict[str, Any]) -> int:
    """The axis of the result that has the size of the batch, as that of the constants; or 0."""
    found = {one.repeated for one in known} - {0}
    if not found or operator == "Shape":
        return max(found, default=0)
    first, last = known[0], known[-1]
    sums = operator == "MatMul" and (
        min(first.array.ndim, last.array.ndim) < 2 or first.repeated == -1 or last.repeated == -2
    )
    axis = attributes.get("axis", 0)
    takes = operator == "Gather" and (axis if axis < 0 else axis - first.array.ndim) >= max(found)
    if len(found) > 1 or operator not in KEEP_REPEATED or sums or takes:
        raise RefusedError("it calculates with an array that is as long as the batch")
    return found.pop()


def _plain(array: AnyArray) -> AnyArray:
    """An array of objects, none of which is a size that is not known, as integers."""
    if array.dtype != object or any(isinstance(n, Size) for n in np.ravel(array).tolist()):
        return array
    return array.astype(np.int64)


def integers(constant: Constant | None, what: str) -> list[int]:
    """The numbers of a constant as Python integers."""
    found = sizes(constant, what)
    if any(isinstance(n, Size) for n in found):
        raise RefusedError(f"its {what} depend on the size of the batch, or of an open axis")
    return [int(n) for n in found]  # type: ignore[arg-type]


def sizes(constant: Constant | None, what: str) -> list[int | Size]:
    """The numbers of a constant, of which some may be sizes that are not known."""
    if constant is None:
        raise RefusedError(f"it has no {what}")
    if constant.array.size > 2**16 or constant.array.dtype.kind not in "iuOb":
        raise RefusedError(f"its {what} are not a few integers")
    return [n if isinstance(n, Size) else int(n) for n in np.ravel(constant.array).tolist()]


# ------------------------------------------------------------------------------- rules


def _array(given: AnyArray | None) -> AnyArray:
    if given is None:
        raise RefusedError("a required input is missing")
    return given


def _bounded(shape: Sequence[int]) -> None:
    if math.prod(shape) > LIMIT:
        raise RefusedError(f"it would make an array of shape {tuple(shape)}, which is too large")


def _binary(function: Callable[..., Any]) -> Callable[..., Any]:
    def rule(arrays: Sequence[AnyArray | None], attributes: dict[str, Any]) -> Any:
        a, b = map(_array, arrays)
        _bounded(np.broadcast_shapes(a.shape, b.shape))
        return np.asarray(function(a, b))

    return rule


def _several(function: Callable[..., Any]) -> Callable[..., Any]:
    def rule(arrays: Sequence[AnyArray | None], attributes: dict[str, Any]) -> Any:
        given = list(map(_array, arrays))
        _bounded(np.broadcast_shapes(*(a.shape for a in given)))
        return functools.reduce(function, given)

    return rule


def _matmul(arrays: Sequence[AnyArray | None], attributes: dict[str, Any]) -> Any:
    a, b = map(_array, arrays)
    _bounded([a.size // max(a.shape[-1], 1), b.size // max(b.shape[-2 if b.ndim > 1 else -1], 1)])
    return np.matmul(a, b)


def _unary(function: Callable[..., Any]) -> Callable[..., Any]:
    def rule(arrays: Sequence[AnyArray | None], attributes: dict[str, Any]) -> Any:
        return function(_array(arrays[0]))

    return rule


def _axes(arrays: Sequence[AnyArray | None], attributes: dict[str, Any]) -> list[int] | None:
    """The axes of a reduction or of Squeeze: an input or, in old versions, an attribute."""
    if len(arrays) > 1 and arrays[1] is not None:
        return [int(n) for n in np.ravel(arrays[1])]
    axes = attributes.get("axes")
    return None if axes is None else [int(n) for n in axes]


def _cast(arrays: Sequence[AnyArray | None], attributes: dict[str, Any]) -> Any:
    a = _array(arrays[0])
    to = dtype_of(int(attributes["to"]))
    return a if a.dtype == object and to.kind in "iu" else a.astype(to)


def dtype_of(number: int) -> np.dtype[Any]:
    """The dtype of an ONNX element type."""
    import onnx

    known = onnx.TensorProto
    kinds: dict[int, str] = {
        known.FLOAT: "f4", known.DOUBLE: "f8", known.FLOAT16: "f2", known.BOOL: "?",
        known.INT8: "i1", known.INT16: "i2", known.INT32: "i4", known.INT64: "i8",
        known.UINT8: "u1", known.UINT16: "u2", known.UINT32: "u4", known.UINT64: "u8",
    }  # fmt: skip
    if number not in kinds:
        names = {value: name for name, value in known.DataType.items()}
        raise RefusedError(f"its numbers are of the element type {names.get(number, number)}")
    return np.dtype(kinds[number])


def _reshape(arrays: Sequence[AnyArray | None], attributes: dict[str, Any]) -> Any:
    a, shape = map(_array, arrays)
    keep = not attributes.get("allowzero", 0)
    to = [a.shape[n] if size == 0 and keep else int(size) for n, size in enumerate(shape)]
    return np.reshape(a, to)


def _squeeze(arrays: Sequence[AnyArray | None], attributes: dict[str, Any]) -> Any:
    axes = _axes(arrays, attributes)
    return np.squeeze(_array(arrays[0]), None if axes is None else tuple(axes))


def _unsqueeze(arrays: Sequence[AnyArray | None], attributes: dict[str, Any]) -> Any:
    return np.expand_dims(_array(arrays[0]), tuple(_axes(arrays, attributes) or ()))


def _concat(arrays: Sequence[AnyArray | None], attributes: dict[str, Any]) -> Any:
    parts = list(map(_array, arrays))
    if any(part.dtype == object for part in parts):
        parts = [part.astype(object) for part in parts]
    _bounded([sum(part.size for part in parts)])
    return np.concatenate(parts, axis=int(attributes["axis"]))


def _gather(arrays: Sequence[AnyArray | None], attributes: dict[str, Any]) -> Any:
    a, numbers = map(_array, arrays)
    axis = axis_of(int(attributes.get("axis", 0)), a.ndim)
    _bounded([a.size // max(a.shape[axis], 1), numbers.size])
    return np.take(a, numbers.astype(np.int64), axis=axis)


def _slice(arrays: Sequence[AnyArray | None], attributes: dict[str, Any]) -> Any:
    a = _array(arrays[0])
    given = [None if one is None else np.ravel(one).tolist() for one in arrays[1:]]
    given += [None] * (4 - len(given))
    starts = given[0] if given[0] is not None else list(attributes["starts"])
    ends = given[1] if given[1] is not None else list(attributes["ends"])
    axes = given[2] if given[2] is not None else attributes.get("axes") or range(len(starts))
    steps = given[3] or [1] * len(starts)
    index: list[Any] = [slice(None)] * a.ndim
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        place = axis_of(int(axis), a.ndim)
        index[place] = python_slice(int(start), int(end), int(step), a.shape[place])
    return a[tuple(index)]


def python_slice(start: int, end: int, step: int, size: int) -> slice:
    """What ONNX's bounds, which may lie far outside, are in Python."""
    if step == 0:
        raise RefusedError("its step is 0")
    start, end = (n + size if n < 0 else n for n in (start, end))
    if step > 0:
        return slice(min(max(start, 0), size), min(max(end, 0), size), step)
    start, end = min(max(start, 0), size - 1), min(max(end, -1), size - 1)
    return slice(start, None if end < 0 else end, step)


def _split(arrays: Sequence[AnyArray | None], attributes: dict[str, Any]) -> Any:
    a = _array(arrays[0])
    axis = axis_of(int(attributes.get("axis", 0)), a.ndim)
    given = arrays[1] if len(arrays) > 1 else attributes.get("split")
    count = int(attributes["num_outputs"]) if "num_outputs" in attributes else attributes["count"]
    lengths = parts_of(a.shape[axis], None if given is None else np.ravel(given).tolist(), count)
    return np.split(a, np.cumsum(lengths)[:-1], axis=axis)


def parts_of(size: int, given: Sequence[int] | None, count: int) -> list[int]:
    """The lengths of the parts that Split makes of an axis."""
    if given is not None:
        lengths = [int(n) for n in given]
    elif not 0 < count <= size:
        raise RefusedError(f"it divides {size} entries into {count} parts")
    else:
        each = -(-size // count)
        lengths = [min(each, max(size - n * each, 0)) for n in range(count)]
    if sum(lengths) != size or min(lengths, default=-1) < 0:
        raise RefusedError(f"its parts {lengths} do not add up to {size}")
    return lengths


def _range(arrays: Sequence[AnyArray | None], attributes: dict[str, Any]) -> Any:
    start, limit, delta = map(_array, arrays)
    count = max(math.ceil((float(limit) - float(start)) / float(delta)), 0)
    _bounded([count])
    return (start + np.arange(count) * delta).astype(start.dtype)


def _constant_of_shape(arrays: Sequence[AnyArray | None], attributes: dict[str, Any]) -> Any:
    shape = [1 if isinstance(n, Size) else int(n) for n in np.ravel(_array(arrays[0])).tolist()]
    _bounded(shape)
    value = attributes.get("value")
    filled = np.zeros(1, np.float32) if value is None else np.ravel(value)
    return np.full(shape, filled[0], filled.dtype)


def _expand(arrays: Sequence[AnyArray | None], attributes: dict[str, Any]) -> Any:
    a, shape = map(_array, arrays)
    to = [1 if isinstance(n, Size) else int(n) for n in np.ravel(shape).tolist()]
    _bounded(np.broadcast_shapes(a.shape, to))
    return np.array(np.broadcast_to(a, np.broadcast_shapes(a.shape, to)))


def _tile(arrays: Sequence[AnyArray | None], attributes: dict[str, Any]) -> Any:
    a, repeats = map(_array, arrays)
    _bounded([a.size, *(int(n) for n in repeats)])
    return np.tile(a, [int(n) for n in repeats])


def _reduction(function: Callable[..., Any]) -> Callable[..., Any]:
    def rule(arrays: Sequence[AnyArray | None], attributes: dict[str, Any]) -> Any:
        axes = _axes(arrays, attributes)
        a = _array(arrays[0])
        if axes is None or (not axes and not attributes.get("noop_with_empty_axes", 0)):
            axes = list(range(a.ndim))
        return function(a, axis=tuple(axes), keepdims=bool(attributes.get("keepdims", 1)))

    return rule


def _where(arrays: Sequence[AnyArray | None], attributes: dict[str, Any]) -> Any:
    given = list(map(_array, arrays))
    _bounded(np.broadcast_shapes(*(a.shape for a in given)))
    return np.where(*given)


def _equal(a: AnyArray, b: AnyArray) -> Any:
    if object not in (a.dtype, b.dtype):
        return a == b
    # A size that is not known is none of the numbers that programs compare sizes with: 0, 1, -1.
    return np.asarray(a == b, bool)


def _divide(a: AnyArray, b: AnyArray) -> Any:
    if a.dtype.kind in "iu" and b.dtype.kind in "iu":
        return (a // b) if (b > 0).all() and (a >= 0).all() else np.trunc(a / b).astype(a.dtype)
    return np.divide(a, b)


def _modulo(arrays: Sequence[AnyArray | None], attributes: dict[str, Any]) -> Any:
    """The rest of a division, with the sign of the divisor, or for fmod=1 of the dividend."""
    return _binary(np.fmod if attributes.get("fmod", 0) else np.mod)(arrays, attributes)


def _power(a: AnyArray, b: AnyArray) -> Any:
    return np.power(a, b).astype(a.dtype)


def _mean(a: AnyArray, **options: Any) -> Any:
    return np.mean(a, **options).astype(a.dtype)


def _diagonal(arrays: Sequence[AnyArray | None], attributes: dict[str, Any]) -> Any:
    k = 0 if len(arrays) < 2 or arrays[1] is None else int(arrays[1])
    a = _array(arrays[0])
    return np.triu(a, k) if attributes.get("upper", 1) else np.tril(a, k)


RULES: dict[str, Callable[..., Any]] = {
    "Abs": _unary(np.abs),
    "Add": _binary(np.add),
    "And": _binary(np.logical_and),
    "Cast": _cast,
    "CastLike": lambda arrays, attributes: _array(arrays[0]).astype(_array(arrays[1]).dtype),
    "Ceil": _unary(np.ceil),
    "Concat": _concat,
    "ConstantOfShape": _constant_of_shape,
    "Cos": _unary(np.cos),
    "Div": _binary(_divide),
    "Equal": _binary(_equal),
    "Exp": _unary(np.exp),
    "Expand": _expand,
    "Floor": _unary(np.floor),
    "Gather": _gather,
    "Greater": _binary(np.greater),
    "GreaterOrEqual": _binary(np.greater_equal),
    "Identity": _unary(np.asarray),
    "Less": _binary(np.less),
    "LessOrEqual": _binary(np.less_equal),
    "Log": _unary(np.log),
    "MatMul": _matmul,
    "Max": _several(np.maximum),
    "Min": _several(np.minimum),
    "Mod": _modulo,
    "Mul": _binary(np.multiply),
    "Neg": _unary(np.negative),
    "Not": _unary(np.logical_not),
    "Or": _binary(np.logical_or),
    "Pow": _binary(_power),
    "Range": _range,
    "Reciprocal": _unary(np.reciprocal),
    "ReduceMax": _reduction(np.max),
    "ReduceMean": _reduction(_mean),
    "ReduceMin": _reduction(np.min),
    "ReduceProd": _reduction(np.prod),
    "ReduceSum": _reduction(np.sum),
    "Reshape": _reshape,
    "Shape": lambda arrays, attributes: shape_part(_array(arrays[0]).shape, attributes),
    "Sin": _unary(np.sin),
    "Size": _unary(lambda a: np.asarray(a.size, np.int64)),
    "Slice": _slice,
    "Split": _split,
    "Sqrt": _unary(np.sqrt),
    "Squeeze": _squeeze,
    "Sub": _binary(np.subtract),
    "Tanh": _unary(np.tanh),
    "Tile": _tile,
    "Transpose": lambda arrays, attributes: np.transpose(_array(arrays[0]), attributes.get("perm")),
    "Trilu": _diagonal,
    "Unsqueeze": _unsqueeze,
    "Where": _where,
}
"""How each operator is evaluated on arrays; the others are not needed for weights and shapes."""

MOVING = (
    "Cast", "CastLike", "Expand", "Gather", "Identity", "Reshape", "Slice", "Split", "Squeeze",
    "Tile", "Transpose", "Unsqueeze",
)  # fmt: skip
"""What moves numbers without changing them."""

KEEP_OPEN = ("Add", "Cast", "CastLike", "Div", "Exp", "Identity", "Mul", "Neg", "Sub", "Tanh")
"""What may be done to an array that has size 1 in place of that of an open axis."""

KEEP_REPEATED = (*KEEP_OPEN, "Gather", "MatMul", "Slice", "Split")
"""What may be done to an array that has size 1 in place of that of the batch."""


def shape_part(shape: Sequence[int | Size], attributes: dict[str, Any]) -> AnyArray:
    """What the operator Shape gives for a value of this shape."""
    taken = list(shape)[attributes.get("start", 0) : attributes.get("end", len(shape))]
    if any(isinstance(n, Size) for n in taken):
        array = np.empty(len(taken), object)
        array[:] = taken
        return array
    return np.asarray(taken, np.int64)
