"""What runs around a layer's methods: building it, and checking inputs and deltas.

An author writes only the mathematics. When a class is defined, `wrap_methods` wraps its methods:

    build     builds the layer completely, or leaves it unchanged (`chainrule.core.building`)
    forward   builds an unbuilt layer for its first batch; checks that the inputs are as the layer
              was built for, and converts integers (`chainrule.core.input_checks`); records the
              shape of the output. Inside a layer that applies, it is `apply`
    backward  checks that the delta has this shape: ∂C/∂y has the shape of y
    apply     as forward, but records nothing

Only the outermost wrapper of a layer does this. Called through ``super()``, a wrapper just calls
the author's method. So a class that is already wrapped, such as one that cloudpickle has brought to
another process, needs no second wrapping.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from chainrule.core import ownership
from chainrule.core.building import construct, rehearse
from chainrule.core.hints import require_known
from chainrule.core.input_checks import admit, fits_output, record_output_shape, unfitting_delta

if TYPE_CHECKING:
    from chainrule.core.layer import Layer


def wrap_methods(cls: type[Layer]) -> None:
    """Wrap the methods that a new class defines, itself or through a mixin."""
    for name, wrap in WRAPPERS.items():
        definer = next(kind for kind in cls.__mro__ if name in vars(kind))
        method = vars(definer)[name]
        if (definer is cls or "_handwritten" not in vars(definer)) and not _is_wrapper(
            name, method
        ):
            wrapper = wrap(name, method)
            setattr(wrapper, _MARK.format(name), wrapper)
            setattr(cls, name, wrapper)
    _reset_derived_methods(cls)


def unwrap_methods(cls: type[Layer]) -> None:
    """Put the author's own methods back into a class."""
    for name in WRAPPERS:
        method = vars(cls).get(name)
        if _is_wrapper(name, method):
            setattr(cls, name, method.__wrapped__)  # type: ignore[union-attr]


_MARK = "_wraps_{}"
"""The attribute that identifies a wrapper: it is the wrapper itself, which is false for a copy."""


def _is_wrapper(name: str, method: Any) -> bool:
    return method is not None and getattr(method, _MARK.format(name), None) is method


def _reset_derived_methods(cls: type[Layer]) -> None:
    """Use the default `apply` and `backward_parameters` again where an override made them wrong.

    A class that overrides `forward` and inherits the `apply` of another layer would otherwise still
    apply what that layer computes; likewise `backward` and `backward_parameters`.
    """
    root = next(kind for kind in reversed(cls.__mro__) if "forward" in vars(kind))
    for overridden, derived in (("forward", "apply"), ("backward", "backward_parameters")):
        if overridden in vars(cls) and derived not in vars(cls):
            setattr(cls, derived, vars(root)[derived])


def _around_forward(name: str, method: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(method)
    def forward(self: Layer, *inputs: Any, **named: Any) -> Any:
        if named:
            inputs = _by_position(forward, self, inputs, named)
        if type(self).forward is not forward:  # called by a subclass, through super()
            return method(self, *inputs)
        if self._applies:
            return self.apply(*inputs)
        inputs = admit(self, inputs)
        if self._rng is None or not ownership.Builder.is_here():
            outputs = method(self, *inputs)
            if self._owner is not ownership.USED_ALONE:
                ownership.note_used_alone(self)
        else:
            outputs = rehearse(self, method, inputs)
        record_output_shape(self.__dict__, outputs)
        return outputs

    return forward


def _around_apply(name: str, method: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(method)
    def apply(self: Layer, *inputs: Any, **named: Any) -> Any:
        if named:
            inputs = _by_position(apply, self, inputs, named)
        if type(self).apply is apply:
            inputs = admit(self, inputs)
        return method(self, *inputs)

    return apply


def _around_backward(name: str, method: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(method)
    def backward(self: Layer, *deltas: Any, **named: Any) -> Any:
        if named or len(deltas) != 1:
            deltas = _by_position(backward, self, deltas, named)
        (delta,) = deltas
        if getattr(type(self), name) is backward and not fits_output(self, delta):
            raise unfitting_delta(self, delta)
        return method(self, delta)

    return backward


def _by_position(
    method: Callable[..., Any], layer: Layer, given: tuple[Any, ...], named: dict[str, Any]
) -> tuple[Any, ...]:
    """The arguments of a call without their names; the error for one that the author has not."""
    kinds = [p.kind for p in inspect.signature(method).parameters.values()]
    if inspect.Parameter.VAR_KEYWORD in kinds:  # the default `apply` has the inputs of `forward`
        method = type(layer).forward
    require_known(method, layer, *given, **named)
    return inspect.signature(method).bind(layer, *given, **named).args[1:]


def _around_build(name: str, method: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(method)
    def build(
        self: Layer, *input_shapes: Any, rng: Any = None, dtype: Any = None, **named: Any
    ) -> None:
        if "input_shape" in named and not input_shapes:
            input_shapes = (named.pop("input_shape"),)
        if named:
            require_known(build, self, *input_shapes, **named)
        if type(self).build is not build:
            method(self, *input_shapes)
        else:
            construct(self, method, input_shapes, rng, dtype)

    signature = inspect.signature(method)
    options = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None)
        for name in ("rng", "dtype")
    ]
    shapes = [
        p
        for p in signature.parameters.values()
        if p.kind is not inspect.Parameter.VAR_KEYWORD and p.name not in ("rng", "dtype")
    ]
    build.__signature__ = signature.replace(parameters=[*shapes, *options])  # type: ignore[attr-defined]
    return build


def bare(layer: Layer, name: str) -> Callable[..., Any]:
    """The author's own method, without its wrapper; `apply` for the `forward` inside `apply`."""
    if name == "forward" and layer._applies:
        name = "apply"
    method: Callable[..., Any] = getattr(type(layer), name).__wrapped__.__get__(layer)
    return method


def own_forward(layer: Layer) -> Callable[..., Any]:
    """The author's own `forward`, without its wrapper."""
    method: Callable[..., Any] = type(layer).forward.__wrapped__.__get__(layer)  # type: ignore[attr-defined]
    return method


WRAPPERS = {
    "build": _around_build,
    "forward": _around_forward,
    "apply": _around_apply,
    "backward": _around_backward,
    "backward_parameters": _around_backward,
}
