"""The tracer: an array without numbers, whose every operation becomes a node of an ONNX graph.

    x is the input "input"        np.tanh(x @ w + b)  adds  MatMul, Add, Tanh

A layer's ``forward``, ``backward`` and ``apply`` are written for arrays. NumPy dispatches its
functions to a `Traced` (NEP 13 for ufuncs, NEP 18 for all others, NEP 35 for ``like=``), so the
same methods write down what they compute when a `Traced` flows in, those of a user's own layer too.

A node computes a new value and never changes one. Code that writes into an array, ``y += b`` or
``y[0] = x``, therefore gives the array another value. A view, such as ``y[0]`` or ``y.T``, knows
how its value follows from that of the array behind it, and how to write into it.
"""

from __future__ import annotations

import itertools
import linecache
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn

import numpy as np
from attrs import frozen as frozen_class

from chainrule.calculus.array_methods import ArrayMethods
from chainrule.calculus.array_rules import CREATING
from chainrule.calculus.messages import converting_call, name_of
from chainrule.core.errors import ExportError
from chainrule.core.layer import Layer
from chainrule.core.tree import snake_case
from chainrule.core.types import Array, Shape
from chainrule.interop.onnx.writing.sizes import Size, SizeFloat, same
from chainrule.interop.onnx.writing.writer import Writer, element_type


@frozen_class
class Rules:
    """How functions and indices become nodes: see `chainrule.interop.onnx.writing.rules`."""

    functions: Mapping[Any, Callable[..., Any]]
    operations: Mapping[Any, Callable[..., Any]]
    call_ufunc: Callable[..., Any]
    create: Callable[..., Any]
    fitted: Callable[..., Any]
    taken: Callable[..., Any]
    put: Callable[..., Any]
    gather: Callable[..., Any]
    add_at: Callable[..., Any]
    matmul: Callable[..., Any]
    vecdot: Callable[..., Any]
    call_complex: Callable[..., Any]
    concatenate_complex: Callable[..., Any]


class Trace:
    """One pass of tracers through a model: its graph, and where in the model it is.

    Parameters
    ----------
    rules
        How functions and indices become nodes.
    batch
        The number of rows for now: a prime number, so that it is recognized in ``len(x)``.

    Attributes
    ----------
    transposes, squeezes, joined, whole
        What was made by these nodes, or from integers, and from what: a node that undoes another is
        left out.
    """

    def __init__(self, rules: Rules, batch: int) -> None:
        self.writer = Writer()
        self.rules = rules
        self.batch = Size.named("batch", batch)
        self.paths: dict[int, str] = {}
        self._twins: list[Layer] = []
        self.some: Any = None
        self.transposes: dict[str, tuple[str, list[int]]] = {}
        self.squeezes: dict[str, tuple[str, str, tuple[int, ...]]] = {}
        self.whole: dict[str, str] = {}
        self.joined: dict[str, tuple[int, list[tuple[int, str]]]] = {}

    def input(self, name: str, row: Shape, dtype: Any) -> Traced:
        """A new input of the graph, with the batch in front of the axes of its rows."""
        self.writer.axes.setdefault("batch", (name, 0))
        self.some = Traced(self, self.writer.reserved(name), (self.batch, *row), dtype)
        return self.some  # type: ignore[no-any-return]

    def size_of(self, n: Any) -> int:
        """An integer as a size: what the batch divides is a multiple of the batch."""
        if isinstance(n, Size):
            return n
        number = int(n)
        if number > 0 and number % int(self.batch) == 0:
            return self.batch * (number // int(self.batch))  # type: ignore[no-any-return]
        return number

    def place(self) -> str:
        """The path of the layer at work; found on Python's stack."""
        layers = _layers_at_work()
        if not layers:
            return ""
        for inner, outer in itertools.pairwise(layers):
            if id(outer) in self.paths and id(inner) not in self.paths:
                self._note_twin(inner, outer)
        return self.path_of(layers[0])

    def _note_twin(self, inner: Layer, outer: Layer) -> None:
        """Note the paths of a copy that a layer has made of itself, as the default `apply` does."""
        if type(inner) is type(outer):
            self._twins.append(inner)  # while it lives, no other object has its id
            for (_, twin), (_, original) in zip(inner.walk(), outer.walk(), strict=False):
                self.paths.setdefault(id(twin), self.paths.get(id(original), ""))

    def path_of(self, layer: Layer) -> str:
        """The path of a layer, or, for a copy of which no path is known, what its numbers have."""
        path = self.paths.get(id(layer))
        if not path:
            of_parameters = [p.path.rpartition(".")[0] for p in layer._parameters.values()]
            path = of_parameters[0] if of_parameters else ""
        return path or snake_case(type(layer).__name__)

    def add(self, kind: str, inputs: Sequence[str], count: int = 1, **attributes: Any) -> Any:
        """Add a node in the name of the layer at work."""
        self.writer.place, self.writer.line = self.place(), _place_at_work()
        return self.writer.add(kind, inputs, count, **attributes)


def _layers_at_work() -> list[Layer]:
    """The layers whose methods are on the stack, the innermost first."""
    frame: Any = sys._getframe(1)
    found: list[Layer] = []
    while frame is not None:
        if frame.f_code.co_varnames[:1] == ("self",):
            owner = frame.f_locals.get("self")
            if isinstance(owner, Layer) and (not found or found[-1] is not owner):
                found.append(owner)
        frame = frame.f_back
    return found


# ------------------------------------------------------------------------------- errors


def refused(trace: Trace, what: str, hint: str, expected: str | None = None) -> ExportError:
    """The error for what ONNX cannot express, with the layer and its line."""
    error = ExportError(
        what,
        expected=expected or "functions of NumPy that have a counterpart in ONNX",
        received=_line_at_work(),
        hint=hint,
    )
    error.layer = trace.place() or None
    return error


QUIET = ("numpy", "chainrule.interop", "chainrule.calculus.array_methods", "chainrule.core")


def _line_at_work() -> str:
    """The line of the layer's code that is being executed, with its file and number."""
    return line_of(_place_at_work())


def _place_at_work() -> tuple[str, int] | None:
    """The file and the number of that line."""
    frame: Any = sys._getframe(1)
    while frame is not None:
        if not (frame.f_globals.get("__name__") or "").startswith(QUIET):
            return frame.f_code.co_filename, frame.f_lineno
        frame = frame.f_back
    return None


def line_of(place: tuple[str, int] | None) -> str:
    """A line of code as text, with its file and number."""
    if place is None:
        return "unknown code"
    name, line = place
    source = linecache.getline(name, line).strip()
    where = f"line {line} of {os.path.basename(name)}"
    return f"{where}: {source}" if source else where


def _refuse_value(what: str) -> Callable[..., NoReturn]:
    """A method that asks for the numbers of an array, which has none."""

    def call(self: Traced, *args: Any, **options: Any) -> NoReturn:
        raise refused(
            self.graph,
            f"{what} needs numbers, and an ONNX file is written before there are any",
            "np.where(condition, a, b) chooses for each entry",
            "code that computes the same for all numbers",
        )

    return call


def _in_place(ufunc: np.ufunc) -> Callable[[Any, Any], Any]:
    def call(self: Traced, other: Any) -> Any:
        if self.is_number:  # as for NumPy's scalars, += rebinds the name
            return ufunc(self, other)
        self.assign(ufunc(self, other))
        return self

    return call


# ------------------------------------------------------------------------------- the array


class Traced(ArrayMethods):
    """An array that a node of the graph will compute.

    Parameters
    ----------
    graph
        What it belongs to.
    name
        The name of its value in the graph.
    shape, dtype
        As of an array; a `Size` is the length of an axis that the file leaves open.

    Attributes
    ----------
    is_number : bool
        Whether it stands for a number of NumPy, not for an array without axes.
    """

    __slots__ = (
        "_base",
        "_base_name",
        "_dtype",
        "_name",
        "_read",
        "_shape",
        "_write",
        "graph",
        "is_number",
    )
    __array_priority__ = 3000.0
    has_values = False
    """There are no numbers to look at: see `chainrule.core.arrays.has_values`."""

    def __init__(self, trace: Trace, name: str, shape: Sequence[int], dtype: Any) -> None:
        self.graph = trace
        self._name = name
        self._shape = tuple(shape)
        self._dtype = np.dtype(dtype)
        self._base: Traced | None = None
        self._base_name = ""
        self._read: Any = None
        self._write: Any = None
        self.is_number = False

    @property
    def name(self) -> str:
        """The name of the value that it has now."""
        if self._base is not None and self._base.name != self._base_name:
            self._base_name = self._base.name  # the array behind this view was written into
            self._name = self._read(self._base)._name
        return self._name

    def as_view_of(self, base: Traced, read: Any, write: Any) -> Traced:
        """Itself, as a view: ``read(base)`` is its value, ``write(base, value)`` the base's."""
        self._base, self._base_name, self._read, self._write = base, base.name, read, write
        return self

    @property
    def owner(self) -> Traced:
        """The array whose view it is, or itself."""
        return self if self._base is None else self._base.owner

    def assign(self, value: Any) -> None:
        """Write numbers into all entries; a number for each, or what broadcasts to them."""
        new = self.graph.rules.fitted(self.graph, value, self._shape, self._dtype)
        if self._base is not None:
            self._base.assign(self._write(self._base, new))
            self._base_name = self._base.name
        self._name = new.name

    @property
    def shape(self) -> Shape:
        """The length of every axis."""
        return self._shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """The type of the numbers."""
        dtype: np.dtype[Any] = self._dtype
        return dtype

    @property
    def size(self) -> int:
        """The number of entries."""
        total: Any = 1
        for n in self._shape:
            total = n * total
        return total  # type: ignore[no-any-return]

    @property
    def flags(self) -> Any:
        """How an array would lie in memory: it is its own, row after row."""
        return np.empty(0).flags

    @property
    def T(self) -> Any:  # noqa: N802  (NumPy's name)
        """The axes in reverse order."""
        return np.transpose(self)

    def __len__(self) -> int:
        if not self._shape:
            raise TypeError("len() of unsized object")
        return int(self._shape[0])

    def __iter__(self) -> Any:
        if isinstance(self._shape[0], Size):
            raise refused(
                self.graph,
                f"a loop over an axis whose length is not known: {self._shape[0]}",
                "build the model for rows of a fixed size, or use a recurrent layer or Scan, "
                "which become loops in the file",
                "an axis of fixed length",
            )
        return (self[i] for i in range(len(self)))

    def __repr__(self) -> str:
        return f"Traced({self._name!r}, shape={self._shape}, dtype={self._dtype})"

    # ---- NumPy's protocols

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **options: Any) -> Any:
        """NumPy calls this instead of a ufunc (NEP 13)."""
        if not all(map(is_understood, inputs)):
            return NotImplemented
        return self.graph.rules.call_ufunc(self.graph, ufunc, method, inputs, options)

    def __array_function__(
        self,
        function: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
    ) -> Any:
        """NumPy calls this instead of any other function (NEP 18, and NEP 35 for ``like=``)."""
        if not all(issubclass(kind, Traced | np.ndarray) for kind in types):
            return NotImplemented
        if function in CREATING:
            return self.graph.rules.create(self.graph, function, args, dict(kwargs))
        rule = self.graph.rules.functions.get(function)
        if rule is None:
            raise no_counterpart(self.graph, name_of(function))
        return bound(self.graph, function, rule, args, dict(kwargs))

    def __layer_function__(
        self, function: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> Any:
        """A layer calls this instead of an operation that may be a node of its own."""
        rule = self.graph.rules.operations.get(function)
        return NotImplemented if rule is None else rule(self.graph, *args, **kwargs)

    def __array__(self, *args: Any, **options: Any) -> NoReturn:
        call, alternative = converting_call("np.asarray(x), or assigning x into a plain array,")
        raise refused(
            self.graph,
            f"{call.rstrip(',')} needs numbers, and an ONNX file is written before there are any",
            alternative or "call np.* on the arrays that are given, and create others with like=x",
        )

    __bool__ = _refuse_value("a branch on data")
    __float__ = _refuse_value("float(x)")
    __int__ = _refuse_value("int(x)")
    __index__ = _refuse_value("an index from x")
    __complex__ = _refuse_value("complex(x)")
    item = _refuse_value("x.item()")
    tolist = _refuse_value("x.tolist()")
    tobytes = _refuse_value("x.tobytes()")

    def __getattr__(self, name: str) -> NoReturn:
        if not name.startswith("_") and hasattr(np.ndarray, name):
            hint = f"np.{name}(x)" if hasattr(np, name) else "indexing and NumPy's functions"
            raise refused(self.graph, f"x.{name} has no counterpart in ONNX", hint)
        raise AttributeError(f"a Traced has no attribute {name!r}")

    # ---- parts

    def __getitem__(self, index: Any) -> Any:
        return self.graph.rules.taken(self, index)

    def __setitem__(self, index: Any, item: Any) -> None:
        self.graph.rules.put(self, index, item)

    __iadd__ = _in_place(np.add)
    __isub__ = _in_place(np.subtract)
    __imul__ = _in_place(np.multiply)
    __itruediv__ = _in_place(np.divide)
    __ipow__ = _in_place(np.power)
    __ifloordiv__ = _in_place(np.floor_divide)
    __imod__ = _in_place(np.remainder)
    __iand__ = _in_place(np.bitwise_and)
    __ior__ = _in_place(np.bitwise_or)

    def astype(self, dtype: Any, **options: Any) -> Any:
        """The numbers in another dtype."""
        return converted(self, dtype)


def is_understood(x: Any) -> bool:
    """Whether a tracer can compute with it."""
    return isinstance(x, Traced | np.ndarray | np.generic | int | float | complex | list | tuple)


def no_counterpart(trace: Trace, name: str) -> ExportError:
    """The error for a function that ONNX does not have."""
    return refused(
        trace,
        f"{name} has no counterpart in ONNX",
        "write it with other functions; the page on ONNX lists those that work",
    )


def bound(
    trace: Trace,
    function: Callable[..., Any],
    rule: Callable[..., Any],
    args: Sequence[Any],
    kwargs: dict[str, Any],
) -> Any:
    """The result of a rule, written into ``out`` if the caller has given it."""
    out = kwargs.pop("out", None)
    try:
        result = rule(trace, *args, **kwargs)
    except TypeError as error:
        if "argument" not in str(error) or isinstance(error, ExportError):
            raise
        raise refused(
            trace,
            f"{name_of(function)} with these arguments has no counterpart in ONNX ({error})",
            "leave them out, or name them",
        ) from error
    return result if out is None else written_into(trace, result, out)


def written_into(trace: Trace, result: Any, out: Any) -> Any:
    """A result, written into what the caller has provided for it."""
    (out,) = out if isinstance(out, tuple) else (out,)
    if not isinstance(out, Traced):
        raise refused(
            trace,
            "an array of numbers, into which the result would be written",
            "np.empty_like(x), or np.zeros(shape, like=x), makes one for any kind of x",
            "out= with an array that was made from the inputs",
        )
    out.assign(result)
    return out


def new(
    trace: Trace,
    kind: str,
    inputs: Sequence[Any],
    shape: Sequence[int],
    dtype: Any,
    **attributes: Any,
) -> Traced:
    """The output of a new node. Inputs are arrays, or names of values."""
    names = [x.name if isinstance(x, Traced) else x for x in inputs]
    made = Traced(trace, trace.add(kind, names, **attributes), shape, dtype)
    made.is_number = not made.shape  # NumPy's functions return numbers, not arrays without axes
    return made


def converted(x: Traced, dtype: Any) -> Traced:
    """An array in another dtype; another object, without a node if the dtype stays."""
    dtype = np.dtype(dtype)
    if dtype == x.dtype:
        same_numbers = Traced(x.graph, x.name, x.shape, dtype)
        same_numbers.is_number = x.is_number
        return same_numbers
    if dtype.kind not in "fiub":
        raise refused(x.graph, f"x.astype({dtype}) has no counterpart in ONNX", "real numbers")
    if dtype.kind == "i" and x.name in x.graph.whole:
        return converted(Traced(x.graph, x.graph.whole[x.name], x.shape, np.int64), dtype)
    result = new(x.graph, "Cast", [x], x.shape, dtype, to=element_type(dtype))
    if x.dtype == np.int64 and dtype.kind == "f":
        x.graph.whole[result.name] = x.name
    return result


def as_traced(trace: Trace, x: Any, dtype: Any = None, shape: Shape | None = None) -> Traced:
    """Numbers as a constant of the graph; an array of the graph itself, in this dtype.

    Parameters
    ----------
    shape
        What the array meets. Where an axis is open, numbers that are equal along it count as one,
        since the array was made for rows of the size that the axis has for now.
    """
    if isinstance(x, Traced):
        return x if dtype is None or x.dtype == dtype else converted(x, dtype)
    if isinstance(x, Size | SizeFloat):
        dtype = np.dtype(dtype or (np.int64 if isinstance(x, Size) else np.float64))
        trace.writer.place = trace.place()
        return Traced(trace, trace.writer.scalar(x, dtype), (), dtype)
    if isinstance(x, list | tuple) and any(isinstance(part, Traced) for part in x):
        stacked: Traced = np.stack([as_traced(trace, part, dtype) for part in x])  # type: ignore
        return stacked
    array = np.asarray(x, dtype)
    if array.dtype.kind not in "fiub":
        raise refused(trace, f"numbers of type {array.dtype} are not in ONNX", "real numbers")
    if shape is not None:
        array = collapsed(trace, array, shape)
    open_axes = [axis for axis, n in enumerate(array.shape) if isinstance(trace.size_of(n), Size)]
    wide = [trace.size_of(n) for n in array.shape]
    for axis in open_axes:  # there are numbers for each row of the batch
        array = first_of(trace, array, axis, wide[axis])
    constant = Traced(trace, trace.writer.constant(array), array.shape, array.dtype)
    return trace.rules.fitted(trace, constant, tuple(wide), array.dtype) if open_axes else constant


def collapsed(trace: Trace, array: Array, shape: Shape) -> Array:
    """An array with one entry along each axis that is open in the shape it broadcasts to."""
    for axis in range(1, min(array.ndim, len(shape)) + 1):
        n = shape[-axis]
        if isinstance(n, Size) and array.shape[-axis] > 1:
            array = first_of(trace, array, -axis, n)
    return array


def first_of(trace: Trace, array: Array, axis: int, n: int) -> Array:
    """The first entry along an axis with as many as an open one has now, if all are equal."""
    first = np.take(array, [0], axis=axis)
    if array.shape[axis] != int(n) or not np.array_equal(
        array, np.broadcast_to(first, array.shape)
    ):
        raise frozen(trace, n)
    return first


def frozen(trace: Trace, n: Any) -> ExportError:
    """The error for numbers that were computed for one size of an open axis."""
    return refused(
        trace,
        f"numbers that belong to one size of the open axis {n} would be frozen into the file",
        "compute them with np.* from the inputs, such as np.arange(n, like=x) with n from x.shape; "
        "or build the model for rows of a fixed size",
        "code that computes with the sizes of its inputs",
    )


def broadcast(*shapes: Shape) -> Shape:
    """The shape to which several broadcast; an open axis stays open."""
    rank = max(map(len, shapes), default=0)
    result: list[int] = []
    for axis in range(rank):
        sizes = [s[axis - rank + len(s)] for s in shapes if axis - rank + len(s) >= 0]
        others = [n for n in sizes if isinstance(n, Size) or n != 1]
        if any(int(n) != int(others[0]) for n in others):
            np.broadcast_shapes(*(tuple(map(int, s)) for s in shapes))  # NumPy's error
        result.append(next((n for n in others if isinstance(n, Size)), others[0] if others else 1))
    return tuple(result)


def equal_shapes(one: Shape, two: Shape) -> bool:
    """Whether two shapes are equal for all batches."""
    return len(one) == len(two) and all(map(same, one, two))
