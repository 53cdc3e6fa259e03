"""Deprecations: an old public name keeps working for one release, with a warning.

    @renamed_keywords(removed_in="0.3", ahead="prefetch")      # fit(ahead=) → fit(prefetch=)
    def fit(self, x, t, *, prefetch=None): ...

    state = renamed_attribute("buffers", removed_in="0.3")     # model.state → model.buffers

    return moved(__name__, name, MOVED, removed_in="0.3")      # in a module's __getattr__

Each warning is a DeprecationWarning that names the old name, the new one and the release in which
the old one will be removed. It points to the first line outside chainrule, which is the line to
change. By default Python shows it only if this line is in the main program or in a test.
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable, Mapping
from typing import Any, ParamSpec, TypeVar

from chainrule.core.caller import warn_caller

P = ParamSpec("P")
R = TypeVar("R")


def warn_deprecated(old: str, new: str, *, removed_in: str) -> None:
    """Warn that ``old`` will be removed in that release and that ``new`` replaces it."""
    text = f"{old} is deprecated and will be removed in chainrule {removed_in}; use {new}"
    warn_caller(DeprecationWarning(text))


def renamed_keywords(
    *, removed_in: str, **names: str
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Make a function accept keywords by their old names: ``old="new"``.

    Type checkers and `help` show only the new names.

    Raises
    ------
    TypeError
        The function is called with both the old and the new name of an argument.
    """

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        @functools.wraps(function)
        def renamed(*args: P.args, **kwargs: P.kwargs) -> R:
            for old in names.keys() & kwargs:
                new = names[old]
                if new in kwargs:
                    called = f"{function.__qualname__}()"
                    raise TypeError(f"{called} got {old!r}, the old name of {new!r}, and {new!r}")
                warn_deprecated(f"{old}=", f"{new}=", removed_in=removed_in)
                kwargs[new] = kwargs.pop(old)
            return function(*args, **kwargs)

        return renamed

    return decorate


class renamed_attribute:  # noqa: N801 - used like property
    """The old name of an attribute, which reads the new one with a warning.

    It can be overwritten on an instance, so that the old name is free for other uses.

    Parameters
    ----------
    new
        The attribute's new name.
    advice
        What the warning suggests, if that is not just the new name.
    removed_in
        The release in which the old name will be removed.
    """

    def __init__(self, new: str, *, removed_in: str, advice: str | None = None) -> None:
        self._new, self._advice, self._removed_in = new, advice, removed_in

    def __set_name__(self, owner: type, name: str) -> None:
        self._old = name

    def __get__(self, instance: Any, owner: type) -> Any:
        if instance is None:
            return self
        self._warn(instance)
        return getattr(instance, self._new)

    def _warn(self, instance: Any) -> None:
        name = type(instance).__name__
        advice = self._advice or f"{name}.{self._new}"
        warn_deprecated(f"{name}.{self._old}", advice, removed_in=self._removed_in)


class renamed_settable_attribute(renamed_attribute):  # noqa: N801
    """The same for an attribute that can be set: setting the old name sets the new one."""

    def __set__(self, instance: Any, value: Any) -> None:
        self._warn(instance)
        setattr(instance, self._new, value)


def moved(module: str, name: str, places: Mapping[str, str], *, removed_in: str) -> Any:
    """The object that an old name in a module refers to, for the module's ``__getattr__``.

    Parameters
    ----------
    module, name
        The module's ``__name__``, and the name to look up.
    places
        The full new name for each old one: a module, ``"chainrule.losses"``, or an object in
        a module, ``"chainrule.callbacks.FromFunctions"``.

    Raises
    ------
    AttributeError
        The name is not one of the old names.
    """
    if name not in places:
        raise AttributeError(f"module {module!r} has no attribute {name!r}")
    new = places[name]
    try:
        found: Any = importlib.import_module(new)
    except ModuleNotFoundError as error:
        holder, _, attribute = new.rpartition(".")
        if error.name != new:
            raise
        found = getattr(importlib.import_module(holder), attribute)
    warn_deprecated(f"{module}.{name}", new, removed_in=removed_in)
    return found
