"""What happens when Python reaches the end of ``class Scale(Layer):``, once for each class.

The class becomes an attrs class: its annotated fields are its configuration, and the arguments of
its ``__init__``. Its methods are wrapped (see `chainrule.core.method_wrapping`), and its attributes
are set through `Layer.__setattr__`.

An explicit ``@define`` above the class is allowed. It runs after `define`, so `define` leaves the
class as attrs expects it:

* The definitions of the fields stay in the class, where only attrs sees them.
* The class contains nothing that attrs would mistake for the author's, except an ``__init__``,
  ``__repr__`` or ``__eq__`` that the author wrote in this class or in one that it inherits from.

attrs calls `finish` after `define`, and again after an explicit ``@define``.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import attrs

from chainrule.core.elsewhere import ATTRIBUTES
from chainrule.core.errors import DefinitionError, shortened
from chainrule.core.hints import hinted, missing_attribute, unhinted
from chainrule.core.layer_state import BOOKKEEPING, field_names
from chainrule.core.messages import plain_array, short_repr
from chainrule.core.method_wrapping import unwrap_methods, wrap_methods
from chainrule.core.parameter import Parameter

if TYPE_CHECKING:
    from chainrule.core.layer import Layer


def define(cls: type[Layer], options: dict[str, Any]) -> None:
    """Turn a new class into a layer class; ``options`` are those of `attrs.define`."""
    if "_handwritten" in vars(cls):
        # An explicit @define creates a second class, with slots, from the first. It then corrects
        # super() in the author's functions, so it must find them unwrapped.
        unwrap_methods(cls)
        cls.__init__ = unhinted(vars(cls)["__init__"])  # type: ignore[method-assign]
        return
    _require_options(cls, options)
    _require_no_parameter_fields(cls)
    _require_free_names(cls)
    before = dict(vars(cls))
    found = {name: _handwritten(cls, name) for name in ("__init__", "__repr__", "__eq__")}
    handwritten = {name: method for name, method in found.items() if method is not None}
    for name, method in handwritten.items():
        setattr(cls, name, method)
    unwanted = [name for name in ("repr", "eq") if options.pop(name, None) is False]
    attrs.define(slots=False, init=False, repr=False, eq=False, **options)(cls)
    cls._handwritten = handwritten
    _without(cls, unwanted)
    for name in before.keys() - vars(cls).keys():
        setattr(cls, name, _FieldDefinition(before[name]))


OPTIONS = frozenset(
    {
        "auto_attribs", "auto_detect", "collect_by_mro", "eq", "field_transformer", "force_kw_only",
        "frozen", "kw_only", "on_setattr", "repr", "these", "unsafe_hash", "weakref_slot",
    }
)  # fmt: skip
"""The options of `attrs.define` that can follow the base class."""


def _require_options(cls: type[Layer], options: dict[str, Any]) -> None:
    for name in options:
        if name not in OPTIONS:
            raise DefinitionError(
                f"the class {cls.__name__} has an invalid option: {name}",
                expected="options of attrs.define such as kw_only=True, repr=False or eq=False",
                received=f"class {cls.__name__}(…, {name}={shortened(options[name], 40)})",
                hint="put a base class that takes the option before Layer, or remove the option",
            )


def _require_no_parameter_fields(cls: type[Layer]) -> None:
    """A field that is annotated as a parameter would be an argument of ``__init__``."""
    for name, annotation in vars(cls).get("__annotations__", {}).items():
        if annotation in (Parameter, "Parameter"):
            raise DefinitionError(
                f"the class {cls.__name__} declares the parameter {name!r} as a field",
                expected="fields for the configuration; parameters are created in build",
                received=f"{name}: Parameter in the body of the class",
                hint=f'remove it, and write self.{name} = self.parameter("{name}", …) in build',
            )


def _reserved(cls: type[Layer]) -> dict[str, Any]:
    """The methods and properties of `Layer`, and the attributes in which it keeps its state."""
    root = next(kind for kind in reversed(cls.__mro__) if "_handwritten" in vars(kind))
    return _reserved_by(root)


@functools.cache
def _reserved_by(root: type[Layer]) -> dict[str, Any]:
    return {
        name: value
        for kind in reversed(root.__mro__[:-1])
        for name, value in vars(kind).items()
        if not name.startswith("__")
        and (name in BOOKKEEPING or callable(value) or isinstance(value, property | classmethod))
    }


def _require_free_names(cls: type[Layer]) -> None:
    """A field or class attribute that hides a method or property of `Layer` would break it."""
    annotations = vars(cls).get("__annotations__", {})
    for name, hidden in _reserved(cls).items():
        is_field = name in annotations and "ClassVar" not in str(annotations[name])
        value = vars(cls).get(name, hidden)
        is_plain = value is not hidden and not hasattr(type(value), "__get__")
        if is_field or is_plain:
            raise DefinitionError(
                f"the class {cls.__name__} uses the name {name!r} of {_described(name, hidden)}",
                expected="names that Layer does not use itself",
                received=f"{name} in the body of the class",
                hint=f"another name, such as {cls.__name__.lower()}_{name.lstrip('_')}",
            )


def _described(name: str, hidden: Any) -> str:
    if name in BOOKKEEPING:
        return "an attribute in which Layer keeps its state"
    return f"a {'property' if isinstance(hidden, property) else 'method'} of Layer"


def finish(cls: type[Layer]) -> None:
    """Complete a class that attrs has made, in `define` or by an explicit ``@define``."""
    is_explicit = "_handwritten" in vars(cls)  # which `define` sets at its end
    setter = vars(cls).get("__setattr__")
    if getattr(setter, "__name__", "") == "_frozen_setattrs":
        raise DefinitionError(
            f"the class {cls.__name__} is frozen, but a layer must be able to set attributes",
            expected=f"`class {cls.__name__}(Layer):`, with or without @define above it",
            received="@frozen, or define(frozen=True)",
            hint="remove @frozen; annotated fields are the configuration in any case",
        )
    if "_store" in vars(cls):
        del cls._store
    if setter is object.__setattr__ or vars(cls).get("__attrs_own_setattr__"):
        # attrs wrote it, for converters and validators, or to replace that of a base class.
        cls._store = setter  # type: ignore[assignment]
        del cls.__setattr__
    init = unhinted(vars(cls).get("__init__"))
    if init is None or init.__name__ == "__attrs_init__":
        cls.__attrs_init__.__qualname__ = f"{cls.__qualname__}.__init__"  # type: ignore[attr-defined]
        init = cls.__attrs_init__  # type: ignore[attr-defined]
    cls.__init__ = hinted(init)  # type: ignore[method-assign]
    if is_explicit:
        _without(cls, [name for name in ("repr", "eq") if f"__{name}__" not in vars(cls)])
    wrap_methods(cls)
    cls._field_names = frozenset(field.name for field in attrs.fields(cls))
    cls._guarded = _guarded(cls)


def set_guarded(layer: Layer, name: str, value: Any) -> None:
    """Set a parameter, or an attribute that needs more than an entry in the ``__dict__``."""
    if name in layer._parameters and not isinstance(value, Parameter):
        raise plain_array(layer, name, value)
    if name in _reserved(type(layer)) and not _is_settable(type(layer), name):
        kind = type(layer).__name__
        raise DefinitionError(
            f"{kind}: self.{name} cannot be set, because it would hide "
            f"{_described(name, _reserved(type(layer))[name])}",
            expected="an attribute with another name",
            received=f"self.{name} = …, of type {type(value).__name__}",
            hint=f"self.{kind.lower()}_{name.lstrip('_')} = …",
        )
    if _exists_elsewhere(layer, name):
        raise missing_attribute(layer, name, "")
    layer._store(name, value)


def _exists_elsewhere(layer: Layer, name: str) -> bool:
    """Whether a layer of chainrule has no such attribute, but those of other libraries do."""
    if name not in ATTRIBUTES["Layer"] or not type(layer).__module__.startswith("chainrule."):
        return False  # a user's class may have such attributes
    own = name in field_names(type(layer)) or name in layer._parameters
    return not own and not hasattr(type(layer), name)


def _is_settable(cls: type[Layer], name: str) -> bool:
    """Whether an author has made a name of `Layer` an attribute that can be set."""
    present = inspect.getattr_static(cls, name)
    return getattr(present, "fset", None) is not None and name not in BOOKKEEPING


def _guarded(cls: type[Layer]) -> frozenset[str]:
    """Properties, slots and names of `Layer`; all fields if attrs converts or validates one."""
    names = {
        name
        for kind in cls.__mro__
        for name, value in vars(kind).items()
        if hasattr(type(value), "__set__")
    }
    is_plain = cls._store is object.__setattr__
    names.update(_reserved(cls))
    if cls.__module__.startswith("chainrule."):
        names.update(ATTRIBUTES["Layer"])
    return frozenset(names if is_plain else names | field_names(cls))


def _handwritten(cls: type[Layer], name: str) -> Callable[..., Any] | None:
    """The method that an author wrote for a class or that it inherits, as in plain Python."""
    for kind in cls.__mro__:
        if name in vars(kind):
            method: Callable[..., Any] = unhinted(vars(kind)[name])
            if kind is cls:
                return method
            if "_handwritten" in vars(kind):
                return method if vars(kind)["_handwritten"].get(name) is method else None
            if name != "__init__":  # a mixin's; one that attrs wrote knows only the mixin's fields
                root = next(base for base in reversed(cls.__mro__) if "_handwritten" in vars(base))
                return vars(root)[name] if "__attrs_attrs__" in vars(kind) else method
    return None


def _without(cls: type[Layer], unwanted: list[str]) -> None:
    """Apply ``repr=False`` and ``eq=False``."""
    if "repr" in unwanted:
        cls.__repr__ = short_repr  # type: ignore[method-assign]
        cls._handwritten = {**cls._handwritten, "__repr__": short_repr}
    if "eq" in unwanted:  # then only the same object is equal
        cls.__eq__ = object.__eq__  # type: ignore[method-assign]
        cls.__hash__ = object.__hash__  # type: ignore[method-assign, assignment]


class _FieldDefinition:
    """The definition of a field, kept in the class where only attrs finds it.

    attrs reads the ``__dict__`` of the class and the ``__class__`` of each entry. To all other code
    the attribute does not exist, as in every attrs class.
    """

    def __init__(self, assigned: Any) -> None:
        is_field = type(assigned) is type(attrs.field())
        self._definition = assigned if is_field else attrs.field(default=assigned)

    @property  # type: ignore[misc]
    def __class__(self) -> type:
        return type(self._definition)

    def __getattr__(self, name: str) -> Any:
        return getattr(object.__getattribute__(self, "_definition"), name)

    def __get__(self, layer: Any, owner: type) -> Any:
        raise AttributeError(
            f"{owner.__name__} has a field of this name; its value is set on each layer"
        )

    def __reduce__(self) -> tuple[Any, ...]:
        return _FieldDefinition, (self._definition,)
