"""What stands around a layer's methods: building, and refusing what does not fit.

An author writes the mathematics, and nothing else. When the first instance of a class is made,
`prepare` puts the author's methods inside these:

    build     see `chainrule.core.building`: all or nothing
    forward   an unbuilt layer is built for what comes; what comes is compared with what the
              layer was built for (`chainrule.core.input_checks`); the output's shape is noted
    backward  the delta is compared with that shape: ∂C/∂y has the shape of y
    apply     as forward, with nothing noted
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from chainrule.core.building import construct, rehearse
from chainrule.core.errors import DefinitionError
from chainrule.core.input_checks import admit, fits_output, shapes_of, unfitting_delta
from chainrule.core.ownership import BY_ITSELF, used_by_itself

if TYPE_CHECKING:
    from chainrule.core.layer import Layer


def prepare(cls: type[Layer], layer: type[Layer]) -> None:
    """See that a class keeps to the contract, and put its methods inside those of this module."""
    if cls.__dict__.get("_is_prepared"):
        return
    if "__attrs_attrs__" not in cls.__dict__:
        raise DefinitionError(
            f"the class {cls.__name__} is a layer, but it is not decorated",
            expected=f"@define above `class {cls.__name__}(Layer):`",
            received="a plain class, whose fields nobody would see",
            hint="from attrs import define, and write @define in the line above the class",
        )
    if cls.__setattr__.__name__ == "_frozen_setattrs":
        raise DefinitionError(
            f"the class {cls.__name__} is frozen, and a layer has to remember things on self",
            expected=f"@define above `class {cls.__name__}(Layer):`",
            received="@frozen, or define(frozen=True)",
            hint="the fields of a layer are its configuration, and nobody changes them anyway",
        )
    for kind in reversed(cls.__mro__):
        if issubclass(kind, layer) and not kind.__dict__.get("_is_prepared"):
            for name, surround in SURROUND.items():
                owner = next(cls for cls in kind.__mro__ if name in cls.__dict__)
                if owner is kind or not issubclass(owner, layer):  # a mixin's method is inherited
                    setattr(kind, name, surround(name, owner.__dict__[name]))
            _follow(kind, layer)
            kind._is_prepared = True  # type: ignore[attr-defined]


def _follow(kind: type[Layer], layer: type[Layer]) -> None:
    """Let a short cut give way where a subclass has a new method of which it is the short cut.

    A class that changes `forward` and inherits the `apply` of another layer would otherwise go on
    to apply what that layer computes; and likewise `backward` and `backward_parameters`.
    """
    for name, short_cut in (("forward", "apply"), ("backward", "backward_parameters")):
        if name in kind.__dict__ and short_cut not in kind.__dict__:
            setattr(kind, short_cut, getattr(layer, short_cut))


def _around_forward(name: str, method: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(method)
    def forward(self: Layer, *inputs: Any) -> Any:
        if type(self).forward is not forward:  # called by a subclass, through super()
            return method(self, *inputs)
        admit(self, inputs)
        if self._rng is None:
            outputs = method(self, *inputs)
            if self._place is not BY_ITSELF:
                used_by_itself(self)
        else:
            outputs = rehearse(self, method, inputs)
        is_one = type(outputs) is np.ndarray
        self.__dict__["_delta_shape"] = outputs.shape if is_one else shapes_of(outputs)
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
    shapes = [p for p in own.parameters.values() if p.kind is not inspect.Parameter.VAR_KEYWORD]
    build.__signature__ = own.replace(parameters=[*shapes, *extra])  # type: ignore[attr-defined]
    return build


def bare(layer: Layer, name: str) -> Callable[..., Any]:
    """The author's own method, without what stands around it."""
    method: Callable[..., Any] = getattr(type(layer), name).__wrapped__.__get__(layer)
    return method


SURROUND = {
    "build": _around_build,
    "forward": _around_forward,
    "apply": _around_apply,
    "backward": _around_backward,
    "backward_parameters": _around_backward,
}
