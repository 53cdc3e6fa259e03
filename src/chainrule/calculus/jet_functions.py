"""NumPy's functions of a `Jet`, other than ufuncs.

Most of them move or add entries: they act on each part alone, and those that are met most often on
all parts at once, with their axes one further. A product follows the rule of Leibniz. Anything
else, such as ``np.sort``, follows its tangent rule, one direction after the other.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from chainrule.calculus.array_rules import CREATING, WRITING_RULES
from chainrule.calculus.dual import CONSTANT, RULES, refuse_options
from chainrule.calculus.jet import (
    Jet,
    JetDelta,
    aligned,
    by_rule,
    contraction,
    jets_in,
    level_in,
    not_linear,
    part_in,
    replaced,
)
from chainrule.calculus.jet_memory import innermost, is_contiguous, lifted, like, ordered, stacked
from chainrule.calculus.messages import lost, name_of, no_rule
from chainrule.calculus.rules import Call


def of_function(at: Jet, call: Call, out: Any) -> Any:
    """The result of a call with jets among its arguments, of which ``at`` has the highest level."""
    function, arguments = call.function, call.arguments
    moving = [n for n, x in arguments.items() if level_in(x) == at.level]
    if function in CREATING:
        arguments.update(like(at.value))
        if not moving:
            value = call.evaluate({})
            if function is np.empty:
                value[...] = 0  # zeros can become a jet or a delta
            return at.zeros(value)
    if function in CONSTANT:
        result = call.evaluate({n: _values(x, at.level) for n, x in arguments.items()})
        if getattr(getattr(result, "dtype", None), "kind", "") not in ("f", "c"):
            return result
        if function is np.empty_like:
            result[...] = 0
        return at.zeros(result)
    if function is np.copyto:
        _copied(at, arguments["dst"], arguments["src"], arguments.get("where", True))
        return None
    rule = RULES.get(function)
    if rule is None:
        raise no_rule(name_of(function))
    lists = [x for n in moving for x in jets_in(arguments[n], at.level)]
    kind = next((x for x in lists if isinstance(x, JetDelta)), lists[0])
    if function in VIEWS and len(moving) == 1:
        moved = VIEWS[function](call, arguments[moving[0]])
        if moved is not None:
            return kind.viewed(moved)
    if function in COPIES and len(moving) == 1:
        moved = COPIES[function](call, arguments[moving[0]])
        if moved is not None and not all(map(is_contiguous, lists)):
            moved = ordered(
                moved, call.evaluate({moving[0]: _values(arguments[moving[0]], at.level)})
            )
        if moved is not None:
            return kind.made(moved)
    if rule.degree == 2 and len(lists) == 2 and len(moving) == 2:

        def product(a: Any, b: Any) -> Any:
            return call.evaluate(dict(zip(moving, (a, b), strict=True)))

        return contraction(at, function if function is np.dot else product, lists[0], lists[1], out)
    if rule.degree == 2 and len(lists) == 1:
        (name,) = moving

        def image(part: Any) -> Any:
            return call.evaluate({name: part})

        if function is np.dot:
            return contraction(at, np.dot, arguments["a"], arguments["b"], out)
        return _of_each(lists, kind, [image(part) for part in lists[0].parts])
    if rule.degree == 1:
        return _linear(at, call, kind)
    if isinstance(kind, JetDelta):
        raise not_linear(function)
    arrays, options = call.arrays_of(rule), call.options(rule)
    refuse_options(name_of(function), rule, options)
    if level_in(list(options.values())) == at.level:
        raise lost(f"an argument of {name_of(function)} for which the rule has no derivative")

    def evaluate(changed: Sequence[Any]) -> Any:
        return call.evaluate(dict(zip(arrays, changed, strict=True)))

    return by_rule(at, rule, evaluate, [arguments.get(name) for name in arrays], options)


def _copied(at: Jet, into: Any, source: Any, where: Any) -> None:
    _receives(at, into, source, "np.copyto, or np.full_like,")
    for n, part in enumerate(into.parts):
        np.copyto(part, part_in(source, n, at.level), where=where)


def _receives(at: Jet, into: Any, source: Any, name: str) -> None:
    """Prepare an array for what is written into it."""
    if not isinstance(into, Jet) or into.level < at.level:
        raise lost(f"{name} into a plain array")
    into.take_kind_of(source)


def _linear(at: Jet, call: Call, kind: Jet) -> Any:
    """A function that is linear in all its arrays: part by part."""
    rule = RULES[call.function]
    arrays = call.arrays_of(rule)
    if call.function in WRITING_RULES:
        into, source = (call.arguments.get(name) for name in arrays)
        _receives(at, into, source, name_of(call.function))

    def image(n: int) -> Any:
        return call.evaluate(
            {
                name: part_in(x, n, at.level, constant=name not in arrays)
                for name, x in call.arguments.items()
            }
        )

    images: list[Any] = [image(n) for n in range(len(at.parts))]
    lists = list(jets_in(list(call.arguments.values()), at.level))
    series = type(images[0])
    if images[0] is None:  # it has written into its first array
        return None
    if series in (list, tuple):
        groups: Any = zip(*images, strict=True)
        return series(_of_each(lists, kind, each) for each in groups)
    return _of_each(lists, kind, images)


def _of_each(given: Sequence[Jet], kind: Jet, images: Sequence[Any]) -> Any:
    """The jet whose parts are these images; a view if the first is a view of a first part."""
    for x in given:
        if np.may_share_memory(innermost(images[0]), innermost(x)):
            return x.viewed(lifted(images[0], x.parts))
    return kind.made(stacked(images))


# ---- functions that only move or add entries: once for all parts, with their axes one further


def _reshaped(call: Call, x: Jet) -> Any:
    given = call.arguments
    shape = given.get("shape", given.get("newshape"))
    if not given.keys() <= {"a", "shape", "newshape"}:
        return None
    shape = (shape,) if isinstance(shape, int | np.integer) else tuple(shape or ())
    return np.reshape(x.parts, (len(x.parts), *shape))


def _flattened(call: Call, x: Jet) -> Any:
    is_view = len(call.arguments) == 1 and is_contiguous(x)  # NumPy copies anything else
    return np.reshape(x.parts, (len(x.parts), x.size)) if is_view else None


def _copy(call: Call, x: Jet) -> Any:
    return np.copy(x.parts) if call.arguments.get("order", "K") != "F" else None


def _transposed(call: Call, x: Jet) -> Any:
    axes = call.arguments.get("axes")
    axes = range(x.ndim)[::-1] if axes is None else [a % x.ndim for a in axes]
    return np.transpose(x.parts, (0, *(a + 1 for a in axes)))


def _summed(call: Call, x: Jet) -> Any:
    given = dict(call.arguments)
    if not given.keys() <= {"a", "axis", "keepdims"}:
        return None
    axis, keep = given.get("axis"), given.get("keepdims", False)
    axes = range(x.ndim) if axis is None else axis if isinstance(axis, tuple) else (axis,)
    shifted = tuple(a % max(x.ndim, 1) + 1 for a in axes)
    return call.function(x.parts, axis=shifted, keepdims=bool(keep))


def _broadcast(call: Call, x: Jet) -> Any:
    shape = call.arguments["shape"]
    shape = (shape,) if isinstance(shape, int | np.integer) else tuple(shape or ())
    return np.broadcast_to(aligned(x.parts, len(shape)), (len(x.parts), *shape))


def _joined(call: Call, x: Any) -> Any:
    """np.concatenate or np.stack of jets alone."""
    given = call.arguments
    name = next(n for n in given if given[n] is x)
    if not isinstance(x, list | tuple) or not all(isinstance(part, Jet) for part in x):
        return None
    axis = given.get("axis", 0)
    levels = {part.level for part in x}
    if axis is None or len(levels) > 1 or not given.keys() <= {name, "axis", "out"}:
        return None
    return call.function([part.parts for part in x], axis=axis + 1 if axis >= 0 else axis)


def _shifted(*names: str) -> Callable[[Call, Any], Any]:
    """A function whose axes are these arguments, which must be given."""

    def moved(call: Call, x: Any) -> Any:
        changes: dict[str, Any] = {name: call.arguments.get(name) for name in names}
        for name, axis in changes.items():
            if axis is None or not isinstance(x, Jet):
                return None
            axes = axis if isinstance(axis, list | tuple) else (axis,)
            axes = tuple(n + 1 if n >= 0 else n for n in axes)
            changes[name] = axes if isinstance(axis, list | tuple) else axes[0]
        array = next(name for name, given in call.arguments.items() if given is x)
        return call.evaluate({**changes, array: x.parts})

    return moved


VIEWS: dict[Callable[..., Any], Callable[[Call, Any], Any]] = {
    np.reshape: _reshaped,
    np.ravel: _flattened,
    np.transpose: _transposed,
    np.broadcast_to: _broadcast,
    np.moveaxis: _shifted("source", "destination"),
    np.swapaxes: _shifted("axis1", "axis2"),
    **dict.fromkeys((np.expand_dims, np.squeeze, np.flip), _shifted("axis")),
}
COPIES: dict[Callable[..., Any], Callable[[Call, Any], Any]] = {
    np.sum: _summed,
    np.mean: _summed,
    np.concatenate: _joined,
    np.stack: _joined,
    **dict.fromkeys((np.cumsum, np.roll, np.take), _shifted("axis")),
    np.copy: _copy,
}


def _values(x: Any, level: int) -> Any:
    return replaced(x, lambda jet: jet.value, level)
