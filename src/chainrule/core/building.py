"""How a layer is built: its parameters made, its shapes found out, all or nothing.

Shapes and type are checked and a generator is made; then comes the author's build; then an empty
batch goes through forward, which tells the shape of the output without any arithmetic. When the
outermost layer is done, all parameters move into one flat vector. Where anything fails on the way,
every layer is put back to what it was.
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
from chainrule.core.layer_state import BOOKKEEPING, field_names
from chainrule.core.messages import plain_array
from chainrule.core.parameter import Parameter, ParameterVector
from chainrule.core.types import Shape

if TYPE_CHECKING:
    from chainrule.core.layer import Layer


def construct(
    layer: Layer, method: Callable[..., Any], input_shapes: Any, rng: Any, dtype: Any
) -> None:
    """Build a layer and all below it, or leave all of them as they were."""
    name = type(layer).__name__
    if layer.is_built:
        raise BuildError(
            f"{name}: the layer is built already, and its parameters would be lost",
            received=f"built for {layer._input_shapes}, {layer._dtype}",
            hint="build a copy that has no parameters yet: layer.unbuilt()",
        )
    shapes = tuple(_shape(name, shape) for shape in input_shapes or layer.known_input_shapes or ())
    inside = layer._rng is not None  # of a container that is being built
    before = [(part, part.is_built, part.attributes()) for _, part in layer.walk()]
    given = rng.bit_generator.state if isinstance(rng, np.random.Generator) else None
    try:
        _prepare_family(layer, _generator(layer, rng), _dtype(layer, dtype))
        layer._initial = frozenset(layer.__dict__) - BOOKKEEPING
        _call_build(layer, method, shapes)
        _prepare_family(layer, layer.rng, layer._dtype)  # of the layers that build has made
        _note_what_build_made(layer)
        if layer._begins_frozen:
            _freeze_what_build_made(layer, {id(part) for part, *_ in before})
        layer._input_shapes = shapes
        layer._output_shapes = _shapes_of_an_empty_batch(layer)
    except BaseException:
        for part, _, attributes in before:
            _put_back(part, attributes)
        if given is not None:
            rng.bit_generator.state = given
        raise
    if not inside:
        for _, part in layer.walk():
            part.__dict__.pop("_rng", None)
        layer.forget()
        for part, was_built, attributes in before:
            if was_built:  # it stands elsewhere, too, and has its memory there
                _put_back(part, attributes)
        _ = layer.parameters.value, layer.buffers.value  # now every array has its final place
        _keep_freed_memory()


def _keep_freed_memory() -> None:
    """Let the allocator of the C library learn that arrays of some megabytes come and go.

    A pass through a network makes the same arrays again and again. Without this, glibc gives their
    memory back to the system after each pass, and the next has to fetch it page by page. It goes
    by the largest block that was ever freed, up to 32 MB; one is freed here, unused.
    """
    np.empty(2**25 - 2**16, np.uint8)


_LIMIT: ContextVar[Callable[[Layer, str, Shape], None] | None] = ContextVar("limit", default=None)


@contextmanager
def limited_by(check: Callable[[Layer, str, Shape], None]) -> Iterator[None]:
    """Let ``check`` see each array that a layer creates in this context, and refuse it.

    A file may describe a model that is too large for memory: see `chainrule.storage.budget`.
    """
    token = _LIMIT.set(check)
    try:
        yield
    finally:
        _LIMIT.reset(token)


def create(layer: Layer, name: str, shape: Any, initializer: Initializer) -> Parameter:
    """A new parameter or buffer, set on the layer under its name."""
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
    """``layer.state``: the buffers, and the call that created one, as before version 0.2."""

    def __init__(self, layer: Layer) -> None:
        super().__init__(layer._collected("_buffers"), layer._dtype or np.float64)
        self._layer = layer

    def __call__(
        self, name: str, shape: Shape, initializer: str | float | Initializer = "zeros"
    ) -> Parameter:
        """Create a buffer: see `Layer.buffer`."""
        return self._layer.buffer(name, shape, initializer)


def refuse_name(layer: Layer, name: Any) -> None:
    """See that a new parameter, buffer or generator takes the place of nothing."""
    taken = BOOKKEEPING.union(
        field_names(type(layer)), layer._parameters, layer._buffers, layer._generators
    )
    if (
        not isinstance(name, str)
        or not name.isidentifier()
        or name in taken
        or hasattr(type(layer), name)
    ):
        raise DefinitionError(
            f"{type(layer).__name__}: {name!r} cannot be the name of a parameter",
            expected="an identifier such as 'weights', which nothing else in the layer has",
            received=repr(name),
        )


def _prepare_family(layer: Layer, rng: Any, dtype: Any) -> None:
    for _, part in layer.walk():
        part._rng = rng  # of those that are built already, too: it says that this is a rehearsal
        if not part.is_built:
            part._dtype = dtype


def rehearse(layer: Layer, method: Callable[..., Any], inputs: tuple[Any, ...]) -> Any:
    """What `forward` gives while building. It changes no buffer and no generator.

    The mean of an empty batch is not a number, and would stay in a running mean for ever.
    """
    buffers = [(buffer, buffer.value.copy()) for buffer in layer._buffers.values()]
    places = [(g.bit_generator, g.bit_generator.state) for g in layer._generators.values()]
    try:
        return method(layer, *inputs)
    finally:
        for buffer, value in buffers:
            buffer.value = value
        for bits, place in places:
            bits.state = place


def _put_back(layer: Layer, attributes: dict[str, Any]) -> None:
    layer.__dict__.clear()
    for name, value in attributes.items():
        object.__setattr__(layer, name, value)


def _without_options(signature: inspect.Signature) -> inspect.Signature:
    parameters = signature.parameters.values()
    return signature.replace(parameters=[p for p in parameters if p.kind is not p.VAR_KEYWORD])


def _call_build(layer: Layer, method: Callable[..., Any], shapes: tuple[Shape, ...]) -> None:
    name = type(layer).__name__
    try:
        inspect.signature(method).bind(layer, *shapes)
    except TypeError as error:
        raise BuildError(
            f"{name}: its build does not take {len(shapes)} input shape(s)",
            expected=f"build{_without_options(inspect.signature(method))}",
            received=f"build{shapes}" if len(shapes) != 1 else f"build({shapes[0]})",
            hint="give one shape for each input of forward",
        ) from error
    try:
        method(layer, *shapes)
    except ChainruleError:
        raise
    except Exception as error:
        raise BuildError(
            f"{name}: its build fails with {type(error).__name__}: {error}",
            received=f"input shapes {', '.join(map(str, shapes))}",
            hint="the lines above show where in build",
        ) from error


def _note_what_build_made(layer: Layer) -> None:
    fields = field_names(type(layer))
    made = {k: v for k, v in layer.__dict__.items() if k not in fields and k not in BOOKKEEPING}
    for name, value in made.items():
        for array in _arrays_in(value):
            if array.dtype.kind == "f":
                raise plain_array(layer, name, array)
        known = {id(p) for p in (*layer._parameters.values(), *layer._buffers.values())}
        if isinstance(value, Parameter) and id(value) not in known:
            layer._parameters = {**layer._parameters, name: value}
        if isinstance(value, np.random.Generator) and name not in layer._generators:
            layer._generators = {**layer._generators, name: value}
    layer._lasting = frozenset(made)


def _freeze_what_build_made(layer: Layer, were_there: set[int]) -> None:
    """Freeze the parameters of a layer that was frozen before, and the new layers in it."""
    for parameter in layer._parameters.values():
        parameter.trainable = False
    for child in layer.children().values():
        if id(child) not in were_there:
            child.freeze()


def _arrays_in(value: Any) -> list[npt.NDArray[Any]]:
    """An array, or the arrays in a list, tuple or dictionary of some."""
    if isinstance(value, dict):
        value = list(value.values())
    parts = value if isinstance(value, list | tuple) else [value]
    return [part for part in parts if isinstance(part, np.ndarray)]


def _shapes_of_an_empty_batch(layer: Layer) -> tuple[Shape, ...]:
    name = type(layer).__name__
    inputs = [np.zeros((0, *shape), layer._dtype) for shape in layer._input_shapes or ()]
    described = ", ".join(str(x.shape) for x in inputs)
    try:
        with np.errstate(all="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # the mean of nothing, and such
            outputs = layer.forward(*inputs)
    except ChainruleError:
        raise
    except Exception as error:
        raise BuildError(
            f"{name}: forward fails on an empty batch with {type(error).__name__}: {error}",
            received=f"inputs of shape {described}, which hold no row",
            hint=_hint_for_no_rows(error),
        ) from error
    results = outputs if isinstance(outputs, tuple) else (outputs,)
    if isinstance(outputs, tuple) and len(outputs) == 1:
        raise BuildError(
            f"{name}: forward returns a tuple of one array",
            expected="the array itself; a tuple where there are several",
            received="a tuple of 1",
            hint="is there a comma behind the return?",
        )
    if not results or any(getattr(y, "shape", ())[:1] != (0,) for y in results):
        raise BuildError(
            f"{name}: forward does not return one row for each row of the batch",
            expected="arrays of shape (0, …) for an empty batch",
            received=", ".join(str(getattr(y, "shape", type(y).__name__)) for y in results),
            hint="keep axis 0, the batch, as it is; several outputs are a tuple of arrays",
        )
    return tuple(y.shape[1:] for y in results)


def _hint_for_no_rows(error: Exception) -> str:
    if "reshape" in str(error):
        return (
            "a −1 cannot be worked out where there are no rows: name the width, "
            "x.reshape(len(x), math.prod(self.input_shape))"
        )
    return "if the shapes are what you meant, write forward so that it works for no rows"


def _shape(name: str, shape: Any) -> Shape:
    try:
        axes = tuple(operator.index(n) for n in shape)
    except TypeError:
        axes = (-1,)
    if any(n < 0 for n in axes) or isinstance(shape, str):
        raise ShapeError(
            f"{name}: this is no shape",
            expected="a tuple of whole numbers, without the batch axis, such as (64,)",
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
        found = np.dtype(object)  # not None: NumPy takes that for float64
    for known in DTYPES:
        if found == known:
            return known
    raise DtypeError(
        f"{type(layer).__name__}: a layer cannot be built for this type of numbers",
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
            expected="a whole number >= 0, a numpy.random.Generator, or None",
            received=repr(rng),
        ) from error
