"""What stands around a layer's methods: building, and refusing what does not fit.

An author writes the mathematics, and nothing else. When a class is defined, `prepare` wraps the
author's methods:

    build     see `chainrule.core.building`: all or nothing
    forward   an unbuilt layer is built for what comes; what comes is compared with what the
              layer was built for (`chainrule.core.input_checks`); the output's shape is noted
    backward  the delta is compared with that shape: ∂C/∂y has the shape of y
    apply     as forward, with nothing noted

A wrapper does its work where it is the outermost of its layer. Called through ``super()``, it is
the author's method and nothing else. So a class that is wrapped already, as one that cloudpickle
has brought to another process, stays as it is.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from chainrule.core import ownership
from chainrule.core.building import construct, rehearse
from chainrule.core.input_checks import admit, fits_output, record_output_shape, unfitting_delta

if TYPE_CHECKING:
    from chainrule.core.layer import Layer


def prepare(cls: type[Layer]) -> None:
    """Wrap the methods that a new class brings along, itself or from a mixin."""
    for name, wrap in WRAPPERS.items():
        owner = next(kind for kind in cls.__mro__ if name in vars(kind))
        method = vars(owner)[name]
        if (owner is cls or "_handwritten" not in vars(owner)) and not _is_wrapper(name, method):
            wrapper = wrap(name, method)
            setattr(wrapper, _MARK.format(name), wrapper)
            setattr(cls, name, wrapper)
    _follow(cls)


def unprepare(cls: type[Layer]) -> None:
    """Give a class the author's own methods back."""
    for name in WRAPPERS:
        method = vars(cls).get(name)
        if _is_wrapper(name, method):
            setattr(cls, name, method.__wrapped__)  # type: ignore[union-attr]


_MARK = "_wraps_{}"
"""What a wrapper is told by: an attribute that is the wrapper itself, which no copy is."""


def _is_wrapper(name: str, method: Any) -> bool:
    return method is not None and getattr(method, _MARK.format(name), None) is method


def _follow(cls: type[Layer]) -> None:
    """Let a short cut give way where a subclass has a new method of which it is the short cut.

    A class that changes `forward` and inherits the `apply` of another layer would otherwise go on
    to apply what that layer computes; and likewise `backward` and `backward_parameters`.
    """
    root = next(kind for kind in reversed(cls.__mro__) if "forward" in vars(kind))
    for name, short_cut in (("forward", "apply"), ("backward", "backward_parameters")):
        if name in vars(cls) and short_cut not in vars(cls):
            setattr(cls, short_cut, vars(root)[short_cut])


def _around_forward(name: str, method: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(method)
    def forward(self: Layer, *inputs: Any) -> Any:
        if type(self).forward is not forward:  # called by a subclass, through super()
            return method(self, *inputs)
        admit(self, inputs)
        if self._rng is None:
            outputs = method(self, *inputs)
            if self._place is not ownership.BY_ITSELF:
                ownership.used_by_itself(self)
        else:
            outputs = rehearse(self, method, inputs)
        record_output_shape(self.__dict__, outputs)
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
        if getattr(type(self), name) is backward and not fits_output(self, delta):
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
    shapes = [
        p
        for p in own.parameters.values()
        if p.kind is not inspect.Parameter.VAR_KEYWORD and p.name not in ("rng", "dtype")
    ]
    build.__signature__ = own.replace(parameters=[*shapes, *extra])  # type: ignore[attr-defined]
    return build


def bare(layer: Layer, name: str) -> Callable[..., Any]:
    """The author's own method, without what stands around it."""
    method: Callable[..., Any] = getattr(type(layer), name).__wrapped__.__get__(layer)
    return method


WRAPPERS = {
    "build": _around_build,
    "forward": _around_forward,
    "apply": _around_apply,
    "backward": _around_backward,
    "backward_parameters": _around_backward,
}
