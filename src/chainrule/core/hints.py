"""Hints: what a name that does not exist here most likely means.

    Dense(10, activation="relu")      an argument           `hinted`
    optimizer.zero_grad()             an attribute          `Hinted`, `missing_attribute`
    losses.MSE                        a name in a module    `missing_name`

The tables are in `chainrule.core.elsewhere`; for a misspelled name, the closest one is suggested.
All of this runs only after Python has refused the name, so a correct call pays a ``try`` at most.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import opcode
import re
import reprlib
import sys
from collections.abc import Callable, Iterable, Mapping
from types import FrameType
from typing import Any, ParamSpec, TypeVar

import attrs

from chainrule.core.elsewhere import ARGUMENTS, ATTRIBUTES, FUNCTIONS, NAMES, NOT_HERE
from chainrule.core.errors import ArgumentError, shortened
from chainrule.core.terminal import for_terminal
from chainrule.core.tree import full_repr

P = ParamSpec("P")
R = TypeVar("R")


class Hinted:
    """A base class whose subclasses have hints for unknown arguments and attributes.

    The ``__init__`` that attrs writes for a subclass is `hinted`. The attributes of other libraries
    are in the class, and raise an AttributeError. A ``__getattr__`` would make each access to any
    attribute slower.

    Its attrs classes share one ``__repr__``, which prints what that of attrs would print: compiling
    one for each of them takes a third of the time in which they are made.
    """

    __slots__ = ()

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if cls.__repr__ is Hinted.__repr__:  # attrs keeps what is in the class itself
            cls.__repr__ = Hinted.__repr__  # type: ignore[method-assign]
        for name, hint in ATTRIBUTES.get(cls.__name__, {}).items():
            if not hasattr(cls, name):
                setattr(cls, name, _Elsewhere(name, hint))

    @classmethod
    def __attrs_init_subclass__(cls) -> None:
        if "__init__" in vars(cls):
            cls.__init__ = hinted(vars(cls)["__init__"])  # type: ignore[method-assign]

    @reprlib.recursive_repr()
    def __repr__(self) -> str:
        return full_repr(self) if attrs.has(type(self)) else super().__repr__()

    def __dir__(self) -> list[str]:
        names = super().__dir__()
        return [n for n in names if type(inspect.getattr_static(self, n, None)) is not _Elsewhere]


class _Elsewhere:
    """An attribute that objects of a class have in other libraries."""

    def __init__(self, name: str, hint: str) -> None:
        self._name, self._hint = name, hint

    def __get__(self, thing: object, owner: type) -> Any:
        own = getattr(thing, "__dict__", {})  # in a user's class without slots
        if self._name in own:
            return own[self._name]
        text = f"{owner.__name__} has no attribute {self._name!r}: that is {self._hint}"
        raise AttributeError(for_terminal(text), name=self._name)

    def __set__(self, thing: object, value: object) -> None:
        if not hasattr(thing, "__dict__"):
            self.__get__(thing, type(thing))
        vars(thing)[self._name] = value


# ------------------------------------------------------------------------------- arguments


def hinted(function: Callable[P, R]) -> Callable[P, R]:
    """Make a function raise an `ArgumentError` for a call that Python refuses.

    Python refuses a call if an argument is unknown, missing, given twice or one too many. The error
    is a TypeError, as Python's own. Signature, `help` and type checkers show the function itself,
    and an error from inside the function stays as it is.
    """

    @functools.wraps(function)
    def called(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return function(*args, **kwargs)
        except TypeError as error:
            is_refused = error.__traceback__ is not None and error.__traceback__.tb_next is None
            refusal = _refused_call(called, args, kwargs) if is_refused else None
            if refusal is None:
                raise
            raise refusal from None

    called._hints = called  # type: ignore[attr-defined]
    return called


def require_known(called: Any, *args: Any, **kwargs: Any) -> None:
    """Raise the error for arguments that a function collected, but does not have."""
    refusal = _refused_call(called, args, kwargs)
    if refusal is not None:
        raise refusal


def unhinted(function: Any) -> Any:
    """The author's function, without what `hinted` added."""
    is_hinted = callable(function) and getattr(function, "_hints", None) is function
    return function.__wrapped__ if is_hinted else function


def _refused_call(
    called: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> ArgumentError | None:
    """The error for a call that does not fit the signature; None if it fits."""
    parameters = list(inspect.signature(called).parameters.values())
    owner, keys = _owner(called, args)
    if keys:  # a method: without self
        parameters, args = parameters[1:], args[1:]
    kinds = {parameter.kind for parameter in parameters}
    by_position = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    by_name = [p.name for p in parameters if p.kind in (p.KEYWORD_ONLY, p.POSITIONAL_OR_KEYWORD)]
    given = {*(p.name for p in by_position[: len(args)]), *kwargs}
    required = [p for p in parameters if p.default is p.empty and p.kind <= p.KEYWORD_ONLY]
    unknown = [name for name in kwargs if name not in by_name]
    twice = [p.name for p in by_position[: len(args)] if p.name in kwargs]
    missing = [p.name for p in required if p.kind is not p.VAR_POSITIONAL and p.name not in given]
    hints: list[str | None] = []
    if unknown and inspect.Parameter.VAR_KEYWORD not in kinds:
        problem = f"there is no argument {' and no '.join(map(repr, unknown))}"
        hints = [_hint_for_argument(name, kwargs[name], owner, keys, by_name) for name in unknown]
    elif len(args) > len(by_position) and inspect.Parameter.VAR_POSITIONAL not in kinds:
        most = f"{len(by_position)} argument{'s' * (len(by_position) != 1)}"
        problem = f"at most {most} may come without a name, not {len(args)}"
        inputs = [given for given in args if hasattr(given, "extended_by")]
        inputs += [item for given in args if isinstance(given, list | tuple) for item in given]
        if inputs and all(hasattr(each, "extended_by") for each in inputs):
            hints = [f"first the layer, then its inputs: {owner}()(a, b)"]
        elif [p.name for p in by_position] in (["shape"], ["axes"]):
            hints = [f"{owner}({args})"]
        elif "input_shape" in ARGUMENTS.get(owner, {}) and isinstance(
            args[len(by_position)], tuple
        ):
            shape = args[len(by_position)]
            hints = [_hint_for_argument("input_shape", shape, owner, keys, by_name)]
        elif len(by_name) > len(by_position):
            hints = [f"give the others by name, such as {by_name[len(by_position)]}=…"]
    elif twice:
        problem = f"{' and '.join(map(repr, twice))} is given twice"
    elif missing:
        problem = f"{' and '.join(map(repr, missing))} must be given"
        tables = [ARGUMENTS.get(key, {}) for key in keys]
        hints = [table.get(name) for name in missing for table in tables]
    else:
        return None
    values = [*map(shortened, args), *(f"{k}={shortened(v)}" for k, v in kwargs.items())]
    return ArgumentError(
        f"{owner}: {problem}",
        expected=f"{owner}({', '.join(_accepted(parameters))})",
        received=f"{owner}({', '.join(values)})",
        hint="; ".join(filter(None, dict.fromkeys(hints))) or None,
    )


def _owner(called: Any, args: tuple[Any, ...]) -> tuple[str, list[str]]:
    """What the errors call a function, and where the table has it; nothing if it has no self."""
    before, _, name = called.__qualname__.rpartition(".")
    if not before or before.endswith("<locals>"):
        return name, []
    classes = [kind.__name__ for kind in type(args[0]).__mro__] if args else []
    if name not in ("__init__", "__attrs_init__"):
        return f"{classes[0] if classes else before}.{name}", [f"{k}.{name}" for k in classes]
    is_outermost = bool(args) and type(args[0]).__init__ is called
    return classes[0] if is_outermost else before.rpartition(".")[2], classes


def _hint_for_argument(
    name: str, value: Any, owner: str, keys: list[str], accepted: list[str]
) -> str | None:
    for key in keys or [owner]:
        hint = ARGUMENTS.get(key, {}).get(name, "")
        starts_with = re.match(r"(\w+)(=|$)", hint)
        if starts_with and starts_with[1] not in accepted:
            continue
        if hint.isidentifier():
            hint = f"{hint}={{value}}"
        if hint:
            text = "…" if hasattr(value, "__array__") else shortened(value, 40)
            return hint.format(name=name, value=text, owner=owner)
    meant = name.lower() if name.lower() in accepted else _nearest(name, accepted)
    return f"did you mean {meant}=…?" if meant else None


def _accepted(parameters: list[inspect.Parameter]) -> list[str]:
    """The parameters as in a ``def``, with "…" for each default."""
    kinds, texts = [p.kind for p in parameters], []
    for number, p in enumerate(parameters):
        if p.kind is p.KEYWORD_ONLY and {p.KEYWORD_ONLY, p.VAR_POSITIONAL}.isdisjoint(
            kinds[:number]
        ):
            texts.append("*")
        stars = "*" * ((p.kind is p.VAR_POSITIONAL) + 2 * (p.kind is p.VAR_KEYWORD))
        texts.append(f"{stars}{p.name}" + ("" if p.default is p.empty else "=…"))
    return texts


# ------------------------------------------------------------------------------- attributes


def missing_attribute(layer: object, name: str, otherwise: str) -> AttributeError:
    """The error for an attribute that a layer does not have.

    Parameters
    ----------
    layer, name
        The layer, and the attribute.
    otherwise
        What to say if neither the table nor a similar name helps.
    """
    text = f"{type(layer).__name__} has no attribute {name!r}"
    if name in ATTRIBUTES["Layer"]:
        text += f": that is {ATTRIBUTES['Layer'][name]}"
        return AttributeError(for_terminal(text), name=name)
    meant = _nearest(name, [*dir(type(layer)), *vars(layer)])
    if meant:
        # Without obj: Python would add the same suggestion, but only in some tracebacks.
        return AttributeError(f"{text}: did you mean {meant!r}?", name=name)
    return AttributeError(text + otherwise, name=name, obj=layer)


def hint_for_layer(given: object) -> str | None:
    """What was meant by something that is not a layer, where one belongs."""
    if isinstance(given, type) and hasattr(given, "backward"):
        return f"create an instance: {given.__name__}(…)"
    if isinstance(given, str):
        return activation_named(given)
    if isinstance(given, list | tuple):
        return "make the list a layer: Sequential([…])"
    if hasattr(given, "extended_by"):
        return "make the nodes a layer: Graph(inputs, outputs)"
    if callable(given) and type(given).__module__ in ("builtins", "numpy"):
        return (
            "Activation(function, derivative), or your own layer: class Model(Formula) needs only "
            "its forward"
        )
    return None


def activation_named(word: str) -> str | None:
    """What to write for an activation function of this name, here or elsewhere; None if none has.

    Examples
    --------
    >>> activation_named("swish"), activation_named("ReLU"), activation_named("no")
    ("Activation('silu')", "Activation('relu')", None)
    """
    known = importlib.import_module("chainrule.layers.functions").KNOWN
    here = {_plain(name): name for name in known}
    meant = here.get(_plain(word)) or _nearest(word.lower(), known)
    return value_elsewhere(FUNCTIONS, word) or (f"Activation({meant!r})" if meant else None)


# ------------------------------------------------------------------------------- names in modules


def loaded(module: str, name: str, places: Mapping[str, str]) -> Any:
    """A name of a package, imported from its module when it is first used."""
    found = getattr(importlib.import_module(places[name]), name)
    setattr(sys.modules[module], name, found)
    return found


def missing_name(module: str, name: str) -> AttributeError | ImportError:
    """The error for a name that a module does not have, for the module's ``__getattr__``."""
    caller = sys._getframe(2)
    is_submodule = caller.f_globals.get("__name__") == "importlib._bootstrap"  # perhaps
    hint = None if name.startswith("_") or is_submodule else _hint_for_name(module, name)
    added = for_terminal(f": {hint}") if hint else ""
    if _is_import(caller):
        return ImportError(f"cannot import name {name!r} from {module!r}{added}", name=module)
    return AttributeError(f"module {module!r} has no attribute {name!r}{added}", name=name)


def _is_import(frame: FrameType) -> bool:
    """Whether a frame runs ``from module import name``, which replaces an AttributeError."""
    code = frame.f_code.co_code
    return 0 <= frame.f_lasti < len(code) and code[frame.f_lasti] == opcode.opmap["IMPORT_FROM"]


def _hint_for_name(module: str, name: str) -> str | None:
    own = getattr(importlib.import_module(module), "__all__", ())
    plain = _plain(name)
    here = {_plain(known): known for known in own}
    target = _known_elsewhere().get(plain)
    if plain in here:
        return f"did you mean {here[plain]}?"
    if target is not None and exists(target):
        return f"that is {target}"
    front = importlib.import_module("chainrule")
    for place in ("chainrule", *MODULES):
        for known in (front if place == "chainrule" else getattr(front, place)).__all__:
            if _plain(known) == plain:
                return f"that is {place}.{known}"
    meant = _nearest(name, own)
    if meant:
        return f"did you mean {meant}?"
    return NOT_HERE.get(module.rpartition(".")[2]) if target is not None else None


MODULES = (
    "losses", "optimizers", "callbacks", "schedules", "initializers", "metrics", "fitting",
    "physics",
)  # fmt: skip
"""The public modules whose names are found from each other."""


def exists(target: str) -> bool:
    """Whether the name that a hint begins with exists; words that are no name always do."""
    places = re.match(r"[\w.]+", target)
    *before, name = places[0].split(".") if places else [""]
    found: Any = importlib.import_module("chainrule")
    if before and before[0] in found.__all__:
        found = getattr(found, before[0])
    return name in found.__all__ or not name[:1].isupper()


def _known_elsewhere() -> dict[str, str]:
    return {_plain(known): target for known, target in NAMES.items()}


def value_elsewhere(table: Mapping[str, str], name: str) -> str | None:
    """The hint for a name of a function or an initializer, given as a string."""
    return {_plain(known): hint for known, hint in table.items()}.get(_plain(name))


def _plain(name: str) -> str:
    return name.lower().replace("_", "")


def nearest(word: str, known: Iterable[str], alike: float = 0.6) -> str | None:
    """The word that is most similar to the given one, if any is at least so much alike.

    Examples
    --------
    >>> nearest("sofmax", ["relu", "softmax", "softplus"]), nearest("no", ["relu"])
    ('softmax', None)
    """
    import difflib  # only an error needs it

    return next(iter(difflib.get_close_matches(word, list(known), n=1, cutoff=alike)), None)


def _nearest(name: str, known: Iterable[str]) -> str | None:
    return nearest(name, [each for each in known if not each.startswith("_")], 0.75)
