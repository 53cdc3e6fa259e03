"""How a layer is built: completely, or not at all.

    1. The shapes, the dtype and the seed are checked.
    2. The author's `build` creates the parameters.
    3. An empty batch goes through `forward`: the result shows the shape of the output, without any
       arithmetic.
    4. Once the outermost layer is built, all its parameters move into one flat vector.

If any step fails, every layer is restored to what it was before.
"""

from __future__ import annotations

import inspect
import operator
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from chainrule.core.errors import (
    BuildError,
    ChainruleError,
    ConfigurationError,
    DefinitionError,
    DtypeError,
    ShapeError,
)
from chainrule.core.initializers import Initializer
from chainrule.core.input_checks import DTYPES
from chainrule.core.layer_state import BOOKKEEPING, bookmark, field_names
from chainrule.core.messages import plain_array
from chainrule.core.parameter import Parameter, ParameterVector
from chainrule.core.types import Shape

if TYPE_CHECKING:
    from chainrule.core.layer import Layer


def construct(
    layer: Layer, method: Callable[..., Any], input_shapes: Any, rng: Any, dtype: Any
) -> None:
    """Build a layer and all inside it, or leave all of them unchanged."""
    name = type(layer).__name__
    if layer.is_built:
        raise BuildError(
            f"{name}: the layer is already built, and building it again would lose its parameters",
            received=f"built for {layer._input_shapes}, {layer._dtype}",
            hint="build a copy without parameters: layer.unbuilt()",
        )
    shapes = tuple(_shape(name, shape) for shape in input_shapes or layer.known_input_shapes or ())
    is_inner = layer._rng is not None  # inside a container that is being built
    before = [(member, member.is_built, member.attributes()) for _, member in layer.walk()]
    put_back = bookmark(rng) if isinstance(rng, np.random.Generator) else None
    try:
        _begin_building(layer, _generator(layer, rng), _dtype(layer, dtype))
        layer._initial = frozenset(layer.__dict__) - BOOKKEEPING
        _call_build(layer, method, shapes)
        _begin_building(layer, layer.rng, layer._dtype)  # now also the layers that build created
        _register_what_build_set(layer)
        if layer._begins_frozen:
            _freeze_what_build_set(layer, {id(member) for member, *_ in before})
        layer._input_shapes = shapes
        layer._output_shapes = _shapes_of_an_empty_batch(layer)
    except BaseException:
        for member, _, attributes in before:
            _restore(member, attributes)
        if put_back is not None:
            put_back()
        raise
    if not is_inner:
        for _, member in layer.walk():
            member.__dict__.pop("_rng", None)
        layer.forget()
        for member, was_built, attributes in before:
            if was_built:  # it is also in another model, and has its memory there
                _restore(member, attributes)
        _ = layer.parameters.value, layer.buffers.value  # moves every array to its final memory
        _keep_freed_memory()


def _keep_freed_memory() -> None:
    """Make the allocator of the C library keep freed arrays of several megabytes.

    Each pass through a network allocates the same arrays. By default glibc returns their memory to
    the system after a pass, and the next pass has to fetch it page by page. glibc keeps blocks up
    to the size of the largest that was ever freed, at most 32 MB; so this frees one, unused.
    """
    np.empty(2**25 - 2**16, np.uint8)


_LIMIT: ContextVar[Callable[[Layer, str, Shape], None] | None] = ContextVar("limit", default=None)


@contextmanager
def limited_by(check: Callable[[Layer, str, Shape], None]) -> Iterator[None]:
    """Call ``check`` before a layer creates an array in this context; it can raise an error.

    A file can describe a model that is too large for memory: see `chainrule.storage.budget`.
    """
    token = _LIMIT.set(check)
    try:
        yield
    finally:
        _LIMIT.reset(token)


def create(layer: Layer, name: str, shape: Any, initializer: Initializer) -> Parameter:
    """Create a parameter or buffer and set it on the layer under its name."""
    rng = layer.rng
    refuse_name(layer, name)
    axes = _shape(type(layer).__name__, shape)
    limit = _LIMIT.get()
    if limit is not None:
        limit(layer, name, axes)
    array = initializer(axes, rng, layer._dtype or np.float64)
    created = Parameter(name, array)
    setattr(layer, name, created)
    return created


class StateByOldName(ParameterVector):
    """``layer.state`` of version 0.1: the buffers, and the call that creates one."""

    def __init__(self, layer: Layer) -> None:
        super().__init__(layer._collected("_buffers"), layer._dtype or np.float64)
        self._layer = layer

    def __call__(
        self, name: str, shape: Shape, initializer: str | float | Initializer = "zeros"
    ) -> Parameter:
        """Create a buffer: see `Layer.buffer`."""
        return self._layer.buffer(name, shape, initializer)


def refuse_name(layer: Layer, name: Any) -> None:
    """Raise an error if a new parameter, buffer or generator cannot have this name."""
    reason = None
    if not isinstance(name, str) or not name.isidentifier():
        reason = "it is not an identifier"
    elif name in field_names(type(layer)):
        reason = "it is a field of the class"
    elif name in {*layer._parameters, *layer._buffers, *layer._generators}:
        reason = "the layer has created it already"
    elif name in BOOKKEEPING or hasattr(type(layer), name):
        reason = f"{type(layer).__name__} has a method or attribute of this name"
    if reason is not None:
        raise DefinitionError(
            f"{type(layer).__name__}: {name!r} cannot be the name of a parameter: {reason}",
            expected="an identifier such as 'weights' that the layer does not use yet",
            received=repr(name),
        )


def _begin_building(layer: Layer, rng: Any, dtype: Any) -> None:
    for _, member in layer.walk():
        member._rng = rng  # also if it is already built: its `forward` is then a rehearsal
        if not member.is_built:
            member._dtype = dtype


def rehearse(layer: Layer, method: Callable[..., Any], inputs: tuple[Any, ...]) -> Any:
    """The output of `forward` during building, which changes no buffer and no generator.

    The mean of an empty batch is not a number, and a running mean would keep it forever.
    """
    buffers = [(buffer, buffer.value.copy()) for buffer in layer._buffers.values()]
    bookmarks = [bookmark(generator) for generator in layer._generators.values()]
    try:
        return method(layer, *inputs)
    finally:
        for buffer, value in buffers:
            buffer.value = value
        for put_back in bookmarks:
            put_back()


def _restore(layer: Layer, attributes: dict[str, Any]) -> None:
    layer.__dict__.clear()
    for name, value in attributes.items():
        object.__setattr__(layer, name, value)


def _arguments_of(method: Callable[..., Any]) -> inspect.Signature:
    """The arguments of a method without self, options and annotations: ``(input_shape)``."""
    arguments = list(inspect.signature(method).parameters.values())[1:]
    shapes = [p.replace(annotation=p.empty) for p in arguments if p.kind is not p.VAR_KEYWORD]
    return inspect.Signature(shapes)


def _call_build(layer: Layer, method: Callable[..., Any], shapes: tuple[Shape, ...]) -> None:
    name = type(layer).__name__
    try:
        inspect.signature(method).bind(layer, *shapes)
    except TypeError as error:
        raise BuildError(
            f"{name}: build does not accept {len(shapes)} input shape(s)",
            expected=f"build{_arguments_of(method)}",
            received=f"build{shapes}" if len(shapes) != 1 else f"build({shapes[0]})",
            hint="pass one shape for each input of forward",
        ) from error
    try:
        method(layer, *shapes)
    except ChainruleError:
        raise
    except Exception as error:
        raise BuildError(
            f"{name}: build fails with {type(error).__name__}: {error}",
            received=f"input shapes {', '.join(map(str, shapes))}",
            hint="the traceback above shows the line in build",
        ) from error


def _register_what_build_set(layer: Layer) -> None:
    fields = field_names(type(layer))
    new = {k: v for k, v in layer.__dict__.items() if k not in fields and k not in BOOKKEEPING}
    for name, value in new.items():
        for array in _arrays_in(value):
            if array.dtype.kind == "f":
                raise plain_array(layer, name, array)
        known = {id(p) for p in (*layer._parameters.values(), *layer._buffers.values())}
        if isinstance(value, Parameter) and id(value) not in known:
            layer._parameters = {**layer._parameters, name: value}
        if isinstance(value, np.random.Generator) and name not in layer._generators:
            layer._generators = {**layer._generators, name: value}
    layer._lasting = frozenset(new)


def _freeze_what_build_set(layer: Layer, existing: set[int]) -> None:
    """Freeze the parameters of a layer that was frozen before it was built, and its new layers."""
    for parameter in layer._parameters.values():
        parameter.trainable = False
    for child in layer.children().values():
        if id(child) not in existing:
            child.freeze()


def _arrays_in(value: Any) -> list[npt.NDArray[Any]]:
    """The value itself if it is an array, or the arrays in a list, tuple or dictionary."""
    if isinstance(value, dict):
        value = list(value.values())
    items = value if isinstance(value, list | tuple) else [value]
    return [item for item in items if isinstance(item, np.ndarray)]


def _shapes_of_an_empty_batch(layer: Layer) -> tuple[Shape, ...]:
    name = type(layer).__name__
    inputs = [np.zeros((0, *shape), layer._dtype) for shape in layer._input_shapes or ()]
    described = ", ".join(str(x.shape) for x in inputs)
    try:
        with np.errstate(all="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # such as for the mean of no rows
            outputs = layer.forward(*inputs)
    except ChainruleError:
        raise
    except Exception as error:
        raise BuildError(
            f"{name}: forward fails on an empty batch with {type(error).__name__}: {error}",
            received=f"inputs of shape {described}, without rows",
            hint=_hint_for_empty_batch(error),
        ) from error
    results = outputs if isinstance(outputs, tuple) else (outputs,)
    if isinstance(outputs, tuple) and len(outputs) == 1:
        raise BuildError(
            f"{name}: forward returns a tuple of one array",
            expected="the array itself; a tuple only for several outputs",
            received="a tuple of 1",
            hint="is there a comma after the returned value?",
        )
    if not results or any(getattr(y, "shape", ())[:1] != (0,) for y in results):
        raise BuildError(
            f"{name}: forward does not return one row for each row of the batch",
            expected="arrays of shape (0, …) for an empty batch",
            received=", ".join(str(getattr(y, "shape", type(y).__name__)) for y in results),
            hint="keep axis 0, the batch; return several outputs as a tuple of arrays",
        )
    return tuple(y.shape[1:] for y in results)


def _hint_for_empty_batch(error: Exception) -> str:
    if "reshape" in str(error):
        return (
            "reshape cannot infer −1 without rows; give the width: "
            "x.reshape(len(x), math.prod(self.input_shape))"
        )
    return "if the shapes are right, make forward work for a batch without rows"


def _shape(name: str, shape: Any) -> Shape:
    try:
        axes = tuple(operator.index(n) for n in shape)
    except TypeError:
        axes = (-1,)
    if any(n < 0 for n in axes) or isinstance(shape, str):
        raise ShapeError(
            f"{name}: invalid shape",
            expected="a tuple of integers, without the batch axis, such as (64,)",
            received=repr(shape),
            hint=f"({shape},)" if isinstance(shape, int) else None,
        )
    return axes


def _dtype(layer: Layer, dtype: Any) -> np.dtype[Any]:
    if dtype is None:
        return layer._dtype or np.dtype(np.float64)
    try:
        found = np.dtype(dtype)
    except TypeError:
        found = np.dtype(object)  # not None, which NumPy takes for float64
    for known in DTYPES:
        if found == known:
            return known
    raise DtypeError(
        f"{type(layer).__name__}: a layer cannot be built for this dtype",
        expected="'float32' or 'float64'",
        received=repr(dtype),
    )


def _generator(layer: Layer, rng: Any) -> np.random.Generator:
    if rng is None and layer._rng is not None:
        return layer._rng
    try:
        if isinstance(rng, bool):
            raise TypeError
        return np.random.default_rng(rng)
    except (TypeError, ValueError) as error:
        raise ConfigurationError(
            f"{type(layer).__name__}: rng is neither a seed nor a generator",
            expected="an integer >= 0, a numpy.random.Generator, or None",
            received=repr(rng),
        ) from error
