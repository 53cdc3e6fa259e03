"""How a layer is built: completely, or not at all.

    1. The shapes, the dtype and the seed are checked.
    2. The author's `build` creates the parameters.
    3. An empty batch goes through `forward`: the result shows the shape of the output, without any
       arithmetic. A layer of your own also gets a batch of two rows, because no numbers fit any
       shape. If axes are open, a second empty batch with other sizes shows which of them stay so.
    4. Once the outermost layer is built, all its parameters move into one flat vector.

A layer that `build` itself builds, by a call of its `build` or of the layer, has the dtype and the
generator of the layer around it, whatever the dtype of the arrays that it is called on.

If any step fails, every layer is restored to what it was before.
"""

from __future__ import annotations

import inspect
import operator
import re
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

import numpy as np

from chainrule.core import initializers
from chainrule.core.errors import (
    BuildError,
    ChainruleError,
    ConfigurationError,
    DefinitionError,
    DtypeError,
    ShapeError,
    StorageError,
)
from chainrule.core.initializers import Initializer
from chainrule.core.input_checks import DTYPES, as_tuple
from chainrule.core.layer_state import (
    BOOKKEEPING,
    bookmark,
    copied_generator,
    copied_parameter,
    field_names,
    twin,
)
from chainrule.core.messages import batch_of, label, made_in_forward, plain_array
from chainrule.core.open_axes import (
    PROBES,
    is_open,
    is_opening,
    opening,
    record_open_axes,
    with_sizes,
)
from chainrule.core.ownership import BUILDING, Builder
from chainrule.core.parameter import Parameter, ParameterVector
from chainrule.core.types import Array, Shape

if TYPE_CHECKING:
    import numpy.typing as npt

    from chainrule.core.layer import Layer


def construct(
    layer: Layer, method: Callable[..., Any], input_shapes: Any, rng: Any, dtype: Any
) -> None:
    """Build a layer and all inside it, or leave all of them unchanged; one thread at a time."""
    with Builder.here():
        _construct(layer, method, input_shapes, rng, dtype)


def _construct(
    layer: Layer, method: Callable[..., Any], input_shapes: Any, rng: Any, dtype: Any
) -> None:
    name = type(layer).__name__
    if layer.is_built:
        raise BuildError(
            f"{name}: the layer is already built, and building it again would lose its parameters",
            received=f"built for {layer._input_shapes}, {layer._dtype}",
            hint="build a copy without parameters: layer.unbuilt()",
        )
    shapes = tuple(
        _shape(name, shape, may_be_open=True)
        for shape in input_shapes or layer.known_input_shapes or ()
    )
    if not shapes and not _takes_any_number(method):
        raise BuildError(
            f"{name}: build needs the shape of a row",
            expected=f"build{_arguments_of(method)}",
            received="build()",
            hint="model.build((64,)) for rows of 64 numbers",
        )
    is_inner = layer._rng is not None  # inside a container that is being built
    is_stray = not is_inner and REHEARSING.get() and BUILDING.get() is None
    before = [(member, member.is_built, member.attributes()) for _, member in layer.walk()]
    put_back = bookmark(rng) if isinstance(rng, np.random.Generator) else None
    is_first_try = True  # with the first of the sizes that open axes have
    try:
        _begin_building(layer, _generator(layer, rng), _dtype(layer, dtype))
        layer.__dict__["_initial"] = frozenset(layer.__dict__) - BOOKKEEPING
        sized = with_sizes(shapes, PROBES[0])
        _call_build(layer, method, sized)
        _begin_building(layer, layer.rng, layer._dtype)  # now also the layers that build created
        _register_what_build_set(layer)
        if layer._begins_frozen:
            _freeze_what_build_set(layer, {id(member) for member, *_ in before})
        layer.__dict__["_input_shapes"] = sized
        layer.__dict__["_output_shapes"] = _shapes_of_an_empty_batch(layer, sized)
        if _VALUES.get() is None and not _is_shipped(layer):
            _try_two_rows(twin(layer), sized)
        if is_stray and _VALUES.get() is None and layer._collected("_parameters"):
            raise made_in_forward(layer)
        if is_open(shapes):
            is_first_try = False
            with opening():
                _shapes_of_an_empty_batch(layer, with_sizes(shapes, PROBES[1]))
    except BaseException as error:
        for member, _, attributes in before:
            _restore(member, attributes)
        if put_back is not None:
            put_back()
        if isinstance(error, ShapeError) and is_open(shapes) and is_first_try:
            tried = f"None was tried as {PROBES[0]}; build for larger rows, others fit later, too"
            error.hint = f"{error.hint}. {tried}" if error.hint else tried
        raise
    if not is_inner:
        layer.forget()
        for member, was_built, attributes in before:
            if was_built:  # it is also in another model, and has its memory there
                _restore(member, attributes)
        if _VALUES.get() is None:
            for vector in (layer.parameters, layer.buffers):
                vector.assign_paths()
                _ = vector.value  # moves each array to its final memory
            _keep_freed_memory()
        for _, member in layer.walk():  # last: now other threads may use the layer
            member.__dict__.pop("_rng", None)


def _takes_any_number(build: Callable[..., Any]) -> bool:
    """Whether an author's own `build` takes any number of shapes, and says itself what it needs."""
    kinds = [p.kind for p in inspect.signature(build).parameters.values()]
    return inspect.Parameter.VAR_POSITIONAL in kinds and build.__qualname__ != "Layer.build"


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


_VALUES: ContextVar[Callable[[Shape, Any], Array] | None] = ContextVar("values", default=None)


@contextmanager
def initialized_by(values: Callable[[Shape, Any], Array]) -> Iterator[None]:
    """Take initial values from a function of shape and dtype in this context, and draw none.

    The arrays stay where they are: they are not moved into one flat vector.
    """
    token = _VALUES.set(values)
    try:
        yield
    finally:
        _VALUES.reset(token)


def build_for_stored_values(
    layer: Layer,
    *input_shapes: Shape,
    rng: Any,
    dtype: Any,
    limit: Callable[[], Callable[[Layer, str, Shape], None]] | None = None,
) -> None:
    """Build a layer whose parameters and buffers are about to be read from a file.

    No initial values are drawn: every number is zero, in memory that is not touched yet. A layer
    that cannot be built with zeros, such as one that inverts a matrix, gets initial values.

    Parameters
    ----------
    limit
        Returns the check for `limited_by`, if there is one; it is called for each attempt.
    """

    def build() -> None:
        with limited_by(limit()) if limit is not None else nullcontext():
            layer.build(*input_shapes, rng=rng, dtype=dtype)

    _keep_freed_memory()  # first, so that its memory does not add to that of the model
    try:
        with initialized_by(np.zeros):
            build()
    except StorageError:  # the limit
        raise
    except ChainruleError:
        build()
        return
    for vector in (layer.parameters, layer.buffers):
        vector.assign_paths()
        vector.allocate()


@contextmanager
def unbuilt_on_error(layer: Layer) -> Iterator[None]:
    """If anything is raised inside, a layer that was not built before is not built after it."""
    before = [] if layer.is_built else [(each, each.attributes()) for _, each in layer.walk()]
    try:
        yield
    except BaseException:
        for member, attributes in before:
            _restore(member, attributes)
        raise


def require_fit(layer: Layer, shapes: tuple[Shape, ...]) -> None:
    """Raise an error unless a layer works on rows of these shapes, which it accepts.

    Its `build` must create the same parameters for them, and its `forward` take two rows.
    """
    other = layer.unbuilt()
    with initialized_by(np.zeros):  # which occupies memory only when it is used
        other.build(*shapes, rng=0, dtype=layer._dtype)
    for kind in ("_parameters", "_buffers"):
        needed, present = (
            {path: p.open_shape or p.shape for path, p in each._collected(kind).items()}
            for each in (other, layer)
        )
        if needed != present:
            path = next(iter(dict(needed.items() ^ present.items())))
            raise ShapeError(
                f"{label(layer)}: rows of this shape need other parameters",
                expected=f"{path} of shape {present.get(path)}, as for rows "
                + ", ".join(map(batch_of, layer.input_shapes)),
                received=f"{path} of shape {needed.get(path)} for rows "
                + ", ".join(map(batch_of, shapes)),
                hint="build a copy for these rows: layer.unbuilt()",
            )
    if not _is_shipped(layer):
        with Builder.here():
            _try_two_rows(_copy_for_trial(layer, shapes), shapes)


def send_empty_batch(container: Layer, shapes: tuple[Shape, ...]) -> None:
    """Send an empty batch of such rows through a copy; raises the error of a layer that refuses."""
    with Builder.here():
        _forward_of(_copy_for_trial(container, shapes), 0, shapes)


def _copy_for_trial(container: Layer, shapes: tuple[Shape, ...]) -> Layer:
    """A copy whose passes check each layer, and change no buffer and no generator."""
    buffers = {id(b): copied_parameter(b) for b in container.buffers}
    generators = {id(g): copied_generator(g) for g in container.generators.values()}
    copied = twin(container, {**buffers, **generators})
    _begin_building(copied, np.random.default_rng(0), container._dtype)  # so it checks each layer
    copied.__dict__["_fitting"] = frozenset([shapes])
    return copied


def initial_values(
    layer: Layer, shape: Any, initializer: str | float | Initializer
) -> tuple[Any, Initializer]:
    """The shape and the initializer of a buffer, for which an array can be given, too."""
    if not isinstance(shape, np.ndarray):
        return shape, initializers.get(initializer)
    if shape.dtype.kind not in "fiub":
        raise DtypeError(
            f"{type(layer).__name__}: a buffer must contain real numbers",
            expected="an array of real numbers",
            received=f"an array of {shape.dtype}, shape {shape.shape}",
            hint="make two buffers, of the real and the imaginary part"
            if shape.dtype.kind == "c"
            else None,
        )
    return shape.shape, _Given(shape)


class _Given(Initializer):
    """The values of an array that a layer's author computed."""

    def __init__(self, values: Array) -> None:
        self._values = values

    def draw(self, shape: Shape, rng: np.random.Generator) -> Array:
        return self._values


def create(
    layer: Layer, name: str, shape: Any, initializer: Initializer, *, may_be_open: bool = False
) -> Parameter:
    """Create a parameter or buffer and set it on the layer under its name."""
    rng = layer.rng
    refuse_name(layer, name)
    axes = _shape(type(layer).__name__, shape, may_be_open=may_be_open)
    open_shape, axes = (axes if None in axes else None), tuple(n or 0 for n in axes)
    limit = _LIMIT.get()
    if limit is not None:
        limit(layer, name, axes)
    dtype, values = layer._dtype or np.dtype(np.float64), _VALUES.get()
    array = initializer(axes, rng, dtype) if values is None else values(axes, dtype)
    created = Parameter(name, array, open_shape)
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
        # Also if it is already built: its `forward` is then a rehearsal.
        member.__dict__["_rng"] = rng
        if not member.is_built:
            member.__dict__["_dtype"] = dtype


REHEARSING: ContextVar[bool] = ContextVar("rehearsing", default=False)
"""Whether a `forward` runs during building."""


def rehearse(layer: Layer, method: Callable[..., Any], inputs: tuple[Any, ...]) -> Any:
    """The output of `forward` during building, which changes no buffer and no generator.

    The mean of an empty batch is not a number, and a running mean would keep it forever.
    """
    buffers = [(buffer, buffer.value.copy()) for buffer in layer._buffers.values()]
    bookmarks = [bookmark(generator) for generator in layer._generators.values()]
    token = REHEARSING.set(True)
    try:
        outputs = method(layer, *inputs)
        if is_opening():
            shapes = [[y.shape[1:] for y in as_tuple(some)] for some in (inputs, outputs)]
            record_open_axes(layer, *shapes)
        return outputs
    finally:
        REHEARSING.reset(token)
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
    token = BUILDING.set(layer)
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
    finally:
        BUILDING.reset(token)


def _register_what_build_set(layer: Layer) -> None:
    fields = field_names(type(layer))
    new = {k: v for k, v in layer.__dict__.items() if k not in fields and k not in BOOKKEEPING}
    for name, value in new.items():
        for array in _arrays_in(value):
            if array.dtype.kind == "f":
                raise plain_array(layer, name, array)
        known = {id(p) for p in (*layer._parameters.values(), *layer._buffers.values())}
        if isinstance(value, Parameter) and id(value) not in known:
            layer.__dict__["_parameters"] = {**layer._parameters, name: value}
        if isinstance(value, np.random.Generator) and name not in layer._generators:
            layer.__dict__["_generators"] = {**layer._generators, name: value}
    layer.__dict__["_lasting"] = frozenset(new)


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


def _forward_of(layer: Layer, rows: int, shapes: tuple[Shape, ...]) -> Any:
    inputs = [np.zeros((rows, *shape), layer._dtype) for shape in shapes]
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # such as for the mean of no rows
        # NumPy before 2.2 takes an `if` on no rows for False, and fails later on several.
        warnings.filterwarnings("error", "The truth value of an empty", DeprecationWarning)
        return layer.forward(*inputs)


def _shapes_of_an_empty_batch(layer: Layer, shapes: tuple[Shape, ...]) -> tuple[Shape, ...]:
    name = type(layer).__name__
    described = ", ".join(str((0, *shape)) for shape in shapes)
    try:
        outputs = _forward_of(layer, 0, shapes)
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
    if any(y.dtype.kind == "c" for y in results):
        raise BuildError(
            f"{name}: forward returns complex numbers",
            expected="real numbers between layers; complex ones only inside a layer",
            received=", ".join(str(y.dtype) for y in results),
            hint="return np.abs(y), or both parts: np.stack([y.real, y.imag], axis=-1)",
        )
    return tuple(y.shape[1:] for y in results)


def _is_shipped(layer: Layer) -> bool:
    """Whether a layer is one of chainrule's own, whose shapes the tests check."""
    return type(layer).__module__.partition(".")[0] == "chainrule"


def _try_two_rows(layer: Layer, shapes: tuple[Shape, ...]) -> None:
    """Raise an error if two rows do not fit a copy of an author's layer that took an empty batch.

    An error about the values is none about the shapes: the rows are zeros, not the user's data.
    """
    name = type(layer).__name__
    described = ", ".join(str((2, *shape)) for shape in shapes)
    try:
        outputs = _forward_of(layer, 2, shapes)
    except Exception as error:
        is_about_shapes = isinstance(error, ValueError | IndexError) and _ABOUT_SHAPES.search(
            str(error)
        )
        if isinstance(error, ChainruleError) or not is_about_shapes:
            return
        raise BuildError(
            f"{name}: forward fails on a batch of two rows with {type(error).__name__}: {error}",
            received=f"inputs of shape {described}",
            hint="check that the sizes fit these rows; the traceback above shows the line",
        ) from error
    found = [getattr(y, "shape", None) for y in as_tuple(outputs)]
    expected = [(2, *shape) for shape in layer._output_shapes]
    if found != expected and shapes == layer._input_shapes:
        raise BuildError(
            f"{name}: for two rows, forward does not return the shape that an empty batch showed",
            expected=", ".join(map(str, expected)),
            received=", ".join(map(str, found)),
            hint="return one row for each row of the batch, of the same shape for any batch",
        )


_ABOUT_SHAPES = re.compile(r"shape|broadcast|dimension|aligned|axis|axes|size")
"""What NumPy's messages about shapes contain."""


def _hint_for_empty_batch(error: Exception) -> str:
    if isinstance(error, RecursionError):
        return (
            "the layers are nested too deep, or forward calls itself; Sequential, Residual and "
            "Graph nest without limit, and sys.setrecursionlimit(10_000) allows more"
        )
    if "reshape" in str(error):
        return (
            "reshape cannot infer −1 without rows; give the width: "
            "x.reshape(len(x), math.prod(self.input_shape))"
        )
    if isinstance(error, IndexError):
        return "axis 0 is the batch: the columns of x are x[:, 0], x[:, 1], …, not x[0], x[1]"
    if "truth value" in str(error):
        return "x is an array: np.where(x > 0, a, b) chooses for each number, not if"
    if "converted to Python scalars" in str(error):
        return "x is an array: call np.exp(x), not math.exp(x), and never float(x)"
    return "if the shapes are right, make forward work for a batch without rows"


def _shape(name: str, shape: Any, *, may_be_open: bool = False) -> Shape:
    try:
        axes: Any = tuple(n if n is None and may_be_open else operator.index(n) for n in shape)
    except TypeError:
        axes = (-1,)
    if any(n is not None and n < 0 for n in axes) or isinstance(shape, str):
        raise ShapeError(
            f"{name}: invalid shape",
            expected="a tuple of integers, without the batch axis, such as (64,)"
            + (", or with None for an axis of any size" if may_be_open else ""),
            received=repr(shape),
            hint=f"({shape},)"
            if isinstance(shape, int)
            else f"the shape comes before the value: (), {shape}"
            if isinstance(shape, float)
            else None,
        )
    found: Shape = axes
    return found


def _dtype(layer: Layer, dtype: Any) -> np.dtype[Any]:
    if dtype is None:
        builder: Layer | None = BUILDING.get()
        inherited = builder._dtype if builder is not None else None
        return layer._dtype or inherited or np.dtype(np.float64)
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
    builder: Layer | None = BUILDING.get()
    if rng is None and builder is not None and builder._rng is not None:
        return builder._rng
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
