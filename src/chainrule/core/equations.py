"""What a layer computes, on paper: one expression for each of its ways.

    y = f(x),    ∂C/∂x = J_fᵀ Δ,    ∂C/∂θ = (∂y/∂θ)ᵀ Δ        with Δ = ∂C/∂y

A layer that wants to be read says these three in NumPy's own words, from which
`chainrule.explain` makes the formulas of a whole model:

    def equations(self):                                       # of a Dense
        return Equations(
            forward="x @ weights + biases",
            backward="delta @ weights.T",
            gradients={"weights": "x.T @ delta", "biases": "delta.sum(axis=0)"},
        )

The names in them are x (or x_1, x_2, ...), y and delta (or y_1, delta_1, ..., where there are
several outputs), those of the layer's parameters and states, and np.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from attrs import field, frozen

if TYPE_CHECKING:
    from chainrule.core.layer import Layer


def _as_tuple(given: str | Iterable[str]) -> tuple[str, ...]:
    return (given,) if isinstance(given, str) else tuple(given)


@frozen
class Equations:
    """The equations of a layer, as NumPy expressions.

    Attributes
    ----------
    forward
        An expression for y; where there are several outputs, a tuple of them.
    backward
        An expression for ∂C/∂x; where there are several inputs, a tuple of them.
    gradients
        For each parameter, by name, an expression for what this layer adds to ∂C/∂θ. Of one that
        is not named, all that is said is (∂y/∂θ)ᵀ Δ.
    function
        What ``f(x)`` and ``df(x)`` stand for in the expressions: a
        `chainrule.layers.functions.Function`, or anything with ``value`` and ``derivative``.
    letter
        What the output is called on paper: ``"y"``, or ``"z"`` for the input of an activation.
    is_evaluable
        Whether the expressions can be computed. If not, they hold f and J, of which is known only
        that they are there.
    """

    forward: tuple[str, ...] = field(converter=_as_tuple)
    backward: tuple[str, ...] = field(converter=_as_tuple)
    gradients: Mapping[str, str] = field(factory=dict)
    function: Any = None
    letter: str = "y"
    is_evaluable: bool = True


def equations_of(layer: Layer) -> Equations:
    """The equations that hold for a built layer.

    A class that has a new `forward` or `backward` and inherits the equations of another one is not
    taken at that word.
    """
    if is_said_by(type(layer), "equations", ("forward", "backward")):
        return layer.equations()
    return unknown(layer)


def is_said_by(kind: type, name: str, about: Iterable[str]) -> bool:
    """Whether a class has an attribute that is not older than the methods which it is about."""
    ages = [_age(kind, other) for other in about]
    return _age(kind, name) <= min(ages)


def unknown(layer: Layer) -> Equations:
    """What can be said of any layer: y = f(x) and ∂C/∂x = Jᵀ Δ."""
    inputs = numbered("x", len(layer.input_shapes))
    outputs = len(layer.output_shapes)
    call = f"f({', '.join(inputs)})"
    delta = "delta" if outputs == 1 else f"({', '.join(numbered('delta', outputs))})"
    # For the parameters, nothing: what is not said of them is (∂y/∂θ)ᵀ Δ.
    return Equations(
        forward=[call] if outputs == 1 else [f"{call}[{n}]" for n in range(outputs)],
        backward=[f"{name}.T @ {delta}" for name in numbered("J", len(inputs))],
        is_evaluable=False,
    )


def numbered(name: str, count: int) -> list[str]:
    """``x``; of several ``x_1``, ``x_2`` and so on."""
    return [name] if count == 1 else [f"{name}_{n + 1}" for n in range(count)]


def total(terms: Iterable[str], sign: str = "+") -> str:
    """The sum of some terms: ``a + b + c``.

    Very long ones get parentheses such that they can be read without going deep.
    """
    parts = list(terms)
    while len(parts) > 50:
        blocks = [f" {sign} ".join(parts[n : n + 50]) for n in range(0, len(parts), 50)]
        parts = [f"({block})" for block in blocks]
    return f" {sign} ".join(parts)


def _age(kind: type, name: str) -> int:
    """How far up the line of its ancestors the class stands that defines this."""
    line = kind.__mro__
    return next((n for n, cls in enumerate(line) if name in cls.__dict__), len(line))
