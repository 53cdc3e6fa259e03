"""What stands around a layer's methods: building, and refusing what does not fit.

An author writes the mathematics, and nothing else. When the first instance of a class is made,
`prepare` puts the author's methods inside these:

    build     shapes and type are checked, a generator is made; then the author's build; then an
              empty batch through forward, which tells the output's shape; all or nothing
    forward   an unbuilt layer is built for what comes; what comes is compared with what the
              layer was built for; the shape of the output is noted
    backward  the delta is compared with that shape: ∂C/∂y has the shape of y
    apply     as forward, with nothing noted
"""

from __future__ import annotations

import functools
import inspect
import numbers
import operator
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import attrs
import numpy as np

from chainrule.core.errors import (
    BackwardBeforeForwardError,
    BuildError,
    ChainruleError,
    ConfigurationError,
    DefinitionError,
    DtypeError,
    ShapeError,
)
from chainrule.core.initializers import Initializer, Shape, get
from chainrule.core.parameter import Parameter, ParameterVector
from chainrule.core.tree import fields_of

if TYPE_CHECKING:
    from chainrule.core.layer import Layer

RECORD = frozenset(
    {
        "_dtype", "_rng", "_input_shapes", "_output_shapes", "_delta_shape", "_initial", "_lasting",
        "_parameters", "_states", "_generators",
    }
)  # fmt: skip
"""The names under which a layer notes what it knows of itself."""

DTYPES = (np.dtype(np.float32), np.dtype(np.float64))


# ------------------------------------------------------------------------------- the class


def prepare(cls: type[Layer], layer: type[Layer]) -> None:
    """See that a class keeps to the contract, and put its methods inside those of this module."""
    if cls.__dict__.get("_is_prepared"):
        return
    if "__attrs_attrs__" not in cls.__dict__:
        raise DefinitionError(
            f"the class {cls.__name__} is a layer, but it is not decorated",
            expected=f"@define above `class {cls.__name__}(Layer):`",
            received="a plain class, whose fields nobody would see",
            mend="from attrs import define, and write @define in the line above the class",
        )
    for kind in reversed(cls.__mro__):
        if issubclass(kind, layer) and not kind.__dict__.get("_is_prepared"):
            for name, surround in SURROUND.items():
                owner = next(cls for cls in kind.__mro__ if name in cls.__dict__)
                if owner is kind or not issubclass(owner, layer):  # a mixin's method is inherited
                    setattr(kind, name, surround(name, owner.__dict__[name]))
            kind._is_prepared = True  # type: ignore[attr-defined]


def _around_forward(name: str, method: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(method)
    def forward(self: Layer, *inputs: Any) -> Any:
        if type(self).forward is not forward:  # called by a subclass, through super()
            return method(self, *inputs)
        admit(self, inputs)
        outputs = method(self, *inputs) if self._rng is None else _rehearse(self, method, inputs)
        self.__dict__["_delta_shape"] = shapes_of(outputs)
        return outputs

    return forward


def _around_apply(name: str, method: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(method)
    def apply(self: Layer, *inputs: Any) -> Any:
        if type(self).apply is apply:
            admit(self, inputs)
        return method(self, *inputs)

    return apply


def _around_backward(name: str, method: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(method)
    def backward(self: Layer, delta: Any) -> Any:
        if getattr(type(self), name) is backward and shapes_of(delta) != self._delta_shape:
            raise unfitting_delta(self, delta)
        return method(self, delta)

    return backward


def _around_build(name: str, method: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(method)
    def build(self: Layer, *input_shapes: Any, rng: Any = None, dtype: Any = None) -> None:
        if type(self).build is not build:
            method(self, *input_shapes)
        else:
            construct(self, method, input_shapes, rng, dtype)

    own = inspect.signature(method)
    extra = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None)
        for name in ("rng", "dtype")
    ]
    shapes = [p for p in own.parameters.values() if p.kind is not inspect.Parameter.VAR_KEYWORD]
    build.__signature__ = own.replace(parameters=[*shapes, *extra])  # type: ignore[attr-defined]
    return build


def _guard_parameters(cls: type[Layer]) -> None:
    """From the first parameter of a class on, see that nothing takes a parameter's place."""
    method = cls.__setattr__
    if hasattr(method, "__wrapped__"):
        return

    @functools.wraps(method)
    def __setattr__(self: Layer, name: str, value: Any) -> None:  # noqa: N807
        if name in self._parameters and not isinstance(value, Parameter):
            raise plain_array(self, name, value)
        method(self, name, value)

    cls.__setattr__ = __setattr__  # type: ignore[method-assign, assignment]


def shapes_of(arrays: Any) -> Any:
    """The shape of an array, or the shapes of a tuple of them; the type of what is no array."""
    try:
        return arrays.shape
    except AttributeError:
        if type(arrays) is not tuple:
            return type(arrays)
        return tuple([getattr(array, "shape", type(array)) for array in arrays])


def bare(layer: Layer, name: str) -> Callable[..., Any]:
    """The author's own method, without what stands around it."""
    method: Callable[..., Any] = getattr(type(layer), name).__wrapped__.__get__(layer)
    return method


def as_tuple(arrays: Any) -> tuple[Any, ...]:
    """Several arrays as they are, one as a tuple of one."""
    return arrays if isinstance(arrays, tuple) else (arrays,)


SURROUND = {
    "build": _around_build,
    "forward": _around_forward,
    "apply": _around_apply,
    "backward": _around_backward,
    "backward_parameters": _around_backward,
}


# ------------------------------------------------------------------------------- building


def construct(
    layer: Layer, method: Callable[..., Any], input_shapes: Any, rng: Any, dtype: Any
) -> None:
    """Build a layer and all below it, or leave all of them as they were."""
    name = type(layer).__name__
    if layer.is_built:
        raise BuildError(
            f"{name}: the layer is built already, and its parameters would be lost",
            received=f"built for {layer._input_shapes}, {layer._dtype}",
            mend="build a copy that has no parameters yet: layer.unbuilt()",
        )
    shapes = tuple(_shape(name, shape) for shape in input_shapes)
    inside = layer._rng is not None  # of a container that is being built
    before = [(part, part.is_built, part.attributes()) for _, part in layer.walk()]
    try:
        _prepare_family(layer, _generator(layer, rng), _dtype(layer, dtype))
        layer._initial = frozenset(layer.__dict__) - RECORD
        _call_build(layer, method, shapes)
        _prepare_family(layer, layer.rng, layer._dtype)  # of the layers that build has made
        _note_what_build_made(layer)
        layer._input_shapes = shapes
        layer._output_shapes = _shapes_of_an_empty_batch(layer)
    except BaseException:
        for part, _, attributes in before:
            _put_back(part, attributes)
        raise
    if not inside:
        for _, part in layer.walk():
            part.__dict__.pop("_rng", None)
        layer.forget()
        for part, was_built, attributes in before:
            if was_built:  # it stands elsewhere, too, and has its memory there
                _put_back(part, attributes)
        _ = layer.parameters.value, layer.state.value  # now every array has its final place
        _keep_freed_memory()


def _keep_freed_memory() -> None:
    """Let the allocator of the C library learn that arrays of some megabytes come and go.

    A pass through a network makes the same arrays again and again. Without this, glibc gives their
    memory back to the system after each pass, and the next has to fetch it page by page. It goes
    by the largest block that was ever freed, up to 32 MB; one is freed here, unused.
    """
    np.empty(2**25 - 2**16, np.uint8)


def create(layer: Layer, name: str, shape: Any, initializer: Initializer) -> Parameter:
    """A new parameter or state, set on the layer under its name."""
    rng = layer.rng
    refuse_name(layer, name)
    array = initializer(_shape(type(layer).__name__, shape), rng, layer._dtype or np.float64)
    created = Parameter(name, array)
    _guard_parameters(type(layer))
    setattr(layer, name, created)
    return created


class State(ParameterVector):
    """What a layer keeps but does not learn: a vector, and the call that adds to it."""

    def __init__(self, layer: Layer) -> None:
        super().__init__(layer._collected("_states"), layer._dtype or np.float64)
        self._layer = layer

    def __call__(
        self, name: str, shape: Shape, initializer: str | float | Initializer = "zeros"
    ) -> Parameter:
        """Create an array that is kept but not learned; from then on it is ``layer.<name>``."""
        created = create(self._layer, name, shape, get(initializer))
        self._layer._states = {**self._layer._states, name: created}
        return created


def refuse_name(layer: Layer, name: Any) -> None:
    """See that a new parameter, state or generator takes the place of nothing."""
    taken = RECORD.union(
        field_names(type(layer)), layer._parameters, layer._states, layer._generators
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


def _rehearse(layer: Layer, method: Callable[..., Any], inputs: tuple[Any, ...]) -> Any:
    """What `forward` gives while building. It moves no state and no generator.

    The mean of an empty batch is not a number, and would stay in a running mean for ever.
    """
    states = [(state, state.value.copy()) for state in layer._states.values()]
    places = [(g.bit_generator, g.bit_generator.state) for g in layer._generators.values()]
    try:
        return method(layer, *inputs)
    finally:
        for state, value in states:
            state.value = value
        for bits, place in places:
            bits.state = place


def _put_back(layer: Layer, attributes: dict[str, Any]) -> None:
    layer.__dict__.clear()
    for name, value in attributes.items():
        object.__setattr__(layer, name, value)


def _call_build(layer: Layer, method: Callable[..., Any], shapes: tuple[Shape, ...]) -> None:
    name = type(layer).__name__
    try:
        inspect.signature(method).bind(layer, *shapes)
    except TypeError as error:
        raise BuildError(
            f"{name}: its build does not take {len(shapes)} input shape(s)",
            expected=f"build{inspect.signature(method)}",
            received=f"build{shapes}" if len(shapes) != 1 else f"build({shapes[0]})",
            mend="give one shape for each input of forward",
        ) from error
    try:
        method(layer, *shapes)
    except ChainruleError:
        raise
    except Exception as error:
        raise BuildError(
            f"{name}: its build fails with {type(error).__name__}: {error}",
            received=f"input shapes {', '.join(map(str, shapes))}",
            mend="the lines above show where in build",
        ) from error


def _note_what_build_made(layer: Layer) -> None:
    fields = field_names(type(layer))
    made = {k: v for k, v in layer.__dict__.items() if k not in fields and k not in RECORD}
    for name, value in made.items():
        if isinstance(value, np.ndarray) and value.dtype.kind == "f":
            raise plain_array(layer, name, value)
        known = {id(p) for p in (*layer._parameters.values(), *layer._states.values())}
        if isinstance(value, Parameter) and id(value) not in known:
            layer._parameters = {**layer._parameters, name: value}
        if isinstance(value, np.random.Generator) and name not in layer._generators:
            layer._generators = {**layer._generators, name: value}
    layer._lasting = frozenset(made)


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
            mend="if the shapes are what you meant, write forward so that it works for no rows",
        ) from error
    results = outputs if isinstance(outputs, tuple) else (outputs,)
    if not results or any(getattr(y, "shape", ())[:1] != (0,) for y in results):
        raise BuildError(
            f"{name}: forward does not return one row for each row of the batch",
            expected="arrays of shape (0, …) for an empty batch",
            received=", ".join(str(getattr(y, "shape", type(y).__name__)) for y in results),
            mend="keep axis 0, the batch, as it is; several outputs are a tuple of arrays",
        )
    return tuple(y.shape[1:] for y in results)


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
            mend=f"({shape},)" if isinstance(shape, int) else None,
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


# ------------------------------------------------------------------------------- what comes in


def admit(layer: Layer, inputs: tuple[Any, ...]) -> None:
    """Compare what comes with what the layer was built for; build it if it isn't yet."""
    shapes = layer._input_shapes
    if shapes is None:
        _build_for(layer, inputs)
        return
    if len(inputs) == len(shapes):
        dtype = layer._dtype
        for x, shape in zip(inputs, shapes, strict=True):
            try:
                fits = x.shape[1:] == shape or layer.accepts_any_shape
                if x.dtype is dtype and fits and x.shape:
                    continue
            except AttributeError:
                pass
            break
        else:
            return
    _refuse(layer, inputs)


def as_inputs(layer: Layer, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    """Arrays of the layer's own type, from anything that holds real numbers."""
    return tuple(_as_input(layer, x) for x in inputs)


def _as_input(layer: Layer, x: Any) -> Any:
    if not _has_dtype(x):
        try:
            x = np.asarray(x)
        except ValueError as error:  # rows of unequal length
            raise DtypeError(
                f"{who(layer)}: no array can be made of the input",
                expected="an array of real numbers",
                received=f"{type(x).__name__}: {error}",
                mend="are the rows of unequal length?",
            ) from error
    _refuse_kind(layer, x, kinds="fiub")
    dtype = layer._dtype or (x.dtype if x.dtype in DTYPES else np.dtype(np.float64))
    return x if x.dtype is dtype else x.astype(dtype)


def _build_for(layer: Layer, inputs: tuple[Any, ...]) -> None:
    for x in inputs:
        _refuse_kind(layer, x, kinds="f")
        if not x.shape:
            raise ShapeError(
                f"{type(layer).__name__}: a single number is no batch",
                expected="an array whose axis 0 counts the rows",
                received="an array of shape ()",
            )
        _refuse_dtype(layer, x, layer._dtype or inputs[0].dtype)
    dtype = inputs[0].dtype if inputs and layer._dtype is None else None
    layer.build(*(x.shape[1:] for x in inputs), dtype=dtype)
    admit(layer, inputs)


def _refuse(layer: Layer, inputs: tuple[Any, ...]) -> None:
    """Say what is wrong with the inputs, if anything is."""
    name = who(layer)
    shapes = layer.input_shapes
    if len(inputs) != len(shapes):
        raise ShapeError(
            f"{name}: another number of inputs than it was built for",
            expected=f"{len(shapes)} array(s), with rows of shape {', '.join(map(str, shapes))}",
            received=f"{len(inputs)} array(s)",
        )
    for x, shape in zip(inputs, shapes, strict=True):
        _refuse_kind(layer, x, kinds="f")
        if not x.shape or (x.shape[1:] != shape and not layer.accepts_any_shape):
            what = _misfit(x.shape[1:], shape)
            raise ShapeError(
                f"{name}: the input has another {what} than it was built for",
                expected=batch_of(shape),
                received=x.shape if x.shape[:1] != (0,) else batch_of(x.shape[1:]),
                mend=_mend_input(x.shape, shape),
            )
        _refuse_dtype(layer, x, layer._dtype)


def _refuse_dtype(layer: Layer, x: Any, dtype: Any) -> None:
    if x.dtype != dtype:
        raise DtypeError(
            f"{who(layer)}: the input is of another type than the parameters",
            expected=dtype,
            received=x.dtype,
            mend=f"x.astype({str(dtype)!r}), or build the model for {x.dtype}",
        )


def _has_dtype(x: Any) -> bool:
    return isinstance(getattr(x, "dtype", None), np.dtype)


def _refuse_kind(layer: Layer, x: Any, kinds: str) -> None:
    if not _has_dtype(x):
        raise DtypeError(
            f"{who(layer)}: the input is not an array",
            expected="an array of real numbers",
            received=type(x).__name__,
            mend="np.array(…), or call the layer itself: layer(x) converts what it is given",
        )
    if x.dtype.kind not in kinds or (
        x.dtype.kind == "f" and kinds == "f" and x.dtype not in DTYPES
    ):
        what = {"O": "Python objects", "U": "strings", "S": "bytes", "c": "complex numbers"}
        mend = {
            "O": "are the rows of unequal length? make one array of numbers of them",
            "c": "give real and imaginary part as two columns",
            "i": "x.astype('float64'), or call the layer itself: layer(x) converts",
        }
        raise DtypeError(
            f"{who(layer)}: the input holds {what.get(x.dtype.kind, str(x.dtype) + ' numbers')}",
            expected="float32 or float64" if kinds == "f" else "real numbers",
            received=f"an array of {x.dtype}, shape {x.shape}",
            mend=mend.get(x.dtype.kind, mend["i"] if x.dtype.kind in "ubf" else None),
        )


def _misfit(received: Shape, expected: Shape) -> str:
    if len(received) != len(expected):
        return "number of axes"
    return "width" if len(expected) == 1 else "shape"


def _mend_input(received: Shape, expected: Shape) -> str:
    if received == expected:
        return "one row is a batch too: x[np.newaxis]"
    if int(np.prod(received[1:])) == int(np.prod(expected)) and len(received) > 1:
        return f"x.reshape({', '.join(['len(x)', *map(str, expected)])})"
    return "give it such rows, or build a new one for these: layer.unbuilt()"


def batch_of(shape: Shape) -> str:
    """``(64,)`` → ``(batch, 64)``."""
    return f"({', '.join(['batch', *map(str, shape)])})" if shape else "(batch,)"


def unfitting_delta(layer: Layer, delta: Any) -> ChainruleError:
    shape = shapes_of(delta)
    if layer._delta_shape is None:
        return BackwardBeforeForwardError(
            f"{who(layer)}: backward was called before forward",
            expected="forward(x) first; it remembers what backward needs",
            received=f"a delta of shape {shape}",
            mend="call model.forward(x); model(x) and apply remember nothing",
        )
    expected = layer._delta_shape
    if isinstance(shape, type):
        return DtypeError(
            f"{who(layer)}: the delta is not an array",
            expected=f"an array of shape {expected}",
            received=shape.__name__,
        )
    return ShapeError(
        f"{who(layer)}: the delta does not have the shape of the last output",
        expected=expected,
        received=shape,
        mend="delta is ∂C/∂y, one number for each that forward returned: loss.delta(y, target)",
    )


# ------------------------------------------------------------------------------- what is said


def who(layer: Layer) -> str:
    """The layer in an error message: its repr where that is short, else its class."""
    text = repr(layer)
    return text if len(text) <= 60 and "\n" not in text else type(layer).__name__


def built(layer: Layer) -> Layer:
    """The layer, if it is built."""
    if layer._input_shapes is None:
        raise BuildError(
            f"{who(layer)} is not built yet, so it has no shapes and no parameters",
            mend="layer.build(input_shape), or send a first batch through it",
        )
    return layer


def not_building(layer: Layer) -> BuildError:
    """The error for a parameter that is created where none can be."""
    return BuildError(
        f"{who(layer)}: parameters and generators are created while the layer is being built",
        mend="move the line into build(self, input_shape)",
    )


def only(layer: Layer, what: str, shapes: tuple[Shape, ...]) -> Shape:
    """The one shape of a layer that has but one."""
    if len(shapes) != 1:
        raise ShapeError(
            f"{who(layer)} has {len(shapes)} {what}s, not one",
            received=shapes,
            mend=f"ask for {what}_shapes",
        )
    return shapes[0]


def plain_array(layer: Layer, name: str, value: Any) -> DefinitionError:
    """The error for an array that stands where a parameter belongs."""
    kind, shape = type(value).__name__, np.shape(value)
    if name in layer._parameters:
        return DefinitionError(
            f"{who(layer)}: self.{name} is a parameter, and a plain {kind} would take its place",
            expected=f"a Parameter of shape {layer._parameters[name].shape}",
            received=f"{kind} of shape {shape}",
            mend=f"assign to its value: self.{name}.value = …",
        )
    return DefinitionError(
        f"{who(layer)}: build sets self.{name} to a plain array, which would never be learned",
        expected="a Parameter, or a state",
        received=f"{kind} of shape {shape}, {value.dtype}",
        mend=f'self.parameter("{name}", {shape}, "glorot_uniform") if it is learned, '
        f'self.state("{name}", {shape}) if it is kept',
    )


def missing(layer: Layer, name: str) -> AttributeError:
    """The error for an attribute that is not there."""
    if name.startswith("__") or name in RECORD:
        return AttributeError(name)
    text = f"{type(layer).__name__} has no attribute {name!r}"
    if not layer.is_built:
        text += ": it is not built yet, and parameters come with build(input_shape)"
    elif layer._delta_shape is None:
        text += ": does forward set it? nothing is remembered before the first forward"
    return AttributeError(text, name=name, obj=layer)


def short_repr(layer: Layer) -> str:
    """``Dense(30, use_bias=False)``: the fields that have no default, and what is not default."""
    parts = []
    for field in fields_of(type(layer)):
        value = getattr(layer, field.name)
        if field.default is attrs.NOTHING:
            parts.append(repr(value))
        elif field.repr and value != _default(field):
            parts.append(f"{field.name}={value!r}")
    return f"{type(layer).__name__}({', '.join(parts)})"


def _default(field: Any) -> Any:
    default = field.default.factory() if isinstance(field.default, attrs.Factory) else field.default  # type: ignore[arg-type]
    return field.converter(default) if callable(field.converter) else default


# ------------------------------------------------------------------------------- copies


def field_names(cls: type) -> frozenset[str]:
    """The names of a layer's attrs fields, which are its configuration."""
    return frozenset(field.name for field in fields_of(cls))


def lasting(layer: Layer) -> frozenset[str]:
    """The attributes, besides fields and record, that are no memory of a forward pass."""
    return layer._lasting if layer.is_built else initial(layer)


def initial(layer: Layer) -> frozenset[str]:
    """Those that were there before `build`, such as ``__attrs_post_init__`` may have set."""
    return layer._initial if layer.is_built else frozenset(layer.__dict__) - RECORD


def copied_parts(layer: Layer, known: dict[int, Any]) -> dict[int, Any]:
    """Copies of all parameters, states and generators, by the ``id`` of the originals.

    Those that are in ``known`` already, by ``id``, are taken from there.
    """
    parts: dict[int, Any] = {}
    for _, part in layer.walk():
        for original in (*part._parameters.values(), *part._states.values()):
            parts[id(original)] = known.get(id(original)) or copied_parameter(original)
        for generator in part._generators.values():
            parts[id(generator)] = known.get(id(generator)) or copied_generator(generator)
    return parts


def copied_parameter(parameter: Parameter) -> Parameter:
    """A parameter of the same value and gradient, with memory of its own."""
    copy = Parameter(parameter.path, parameter.value.copy())
    copy.accumulate(parameter.grad)
    return copy


def copied_generator(generator: np.random.Generator) -> np.random.Generator:
    """A generator that goes on as the original would."""
    bits = type(generator.bit_generator)()
    bits.state = generator.bit_generator.state
    return np.random.Generator(bits)


def restored(cls: type[Layer], parts: dict[str, Any]) -> Layer:
    """A layer from its class and its attributes, as pickle calls it."""
    layer = cls.__new__(cls)
    for name, value in parts.items():
        object.__setattr__(layer, name, value)
    if layer._dtype is not None:
        # Pickle makes a new object of it; `admit` is fast for the one that NumPy's arrays have.
        layer._dtype = np.dtype(layer._dtype.name)
    return layer


def is_whole(value: Any) -> bool:
    """Whether a value is a whole number; True and False are none."""
    return isinstance(value, numbers.Integral) and not isinstance(value, bool)
