"""The equations of a layer: expressions for its output and its derivatives.

    y = f(x),    ∂C/∂x = J_fᵀ Δ,    ∂C/∂θ = (∂y/∂θ)ᵀ Δ        with Δ = ∂C/∂y

A layer can give these three as NumPy expressions, from which `chainrule.explain` derives the
formulas of a whole model:

    def equations(self):                                       # of a Dense
        return Equations(
            forward="x @ weights + biases",
            backward="delta @ weights.T",
            gradients={"weights": "x.T @ delta", "biases": "delta.sum(axis=0)"},
        )

The expressions may use x (or x_1, x_2, ...), y and delta (or y_1, delta_1, ... for several
outputs), the names of the layer's parameters and buffers, and np.
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
        An expression for y; for several outputs, a tuple of expressions.
    backward
        An expression for ∂C/∂x; for several inputs, a tuple of expressions.
    gradients
        For each parameter, by name, an expression for this layer's contribution to ∂C/∂θ. For a
        parameter without one, the formula is (∂y/∂θ)ᵀ Δ.
    function
        The meaning of ``f(x)`` and ``df(x)`` in the expressions: a
        `chainrule.layers.functions.Function`, or anything with ``value`` and ``derivative``.
    letter
        The symbol of the output: ``"y"``, or ``"z"`` for the input of an activation.
    is_evaluable
        Whether the expressions can be computed. If not, they contain an unspecified f and J.
    """

    forward: tuple[str, ...] = field(converter=_as_tuple)
    backward: tuple[str, ...] = field(converter=_as_tuple)
    gradients: Mapping[str, str] = field(factory=dict)
    function: Any = None
    letter: str = "y"
    is_evaluable: bool = True


def equations_of(layer: Layer) -> Equations:
    """The equations of a built layer.

    If a class overrides `forward` or `backward`, inherited equations may no longer hold and are
    ignored.
    """
    if is_said_by(type(layer), "equations", ("forward", "backward")):
        return layer.equations()
    return unknown(layer)


def is_said_by(kind: type, name: str, methods: Iterable[str]) -> bool:
    """Whether no class below the one that defines the attribute overrides the methods."""
    depths = [_depth(kind, other) for other in methods]
    return _depth(kind, name) <= min(depths)


def unknown(layer: Layer) -> Equations:
    """The equations that hold for any layer: y = f(x) and ∂C/∂x = Jᵀ Δ."""
    inputs = numbered("x", len(layer.input_shapes))
    outputs = len(layer.output_shapes)
    call = f"f({', '.join(inputs)})"
    delta = "delta" if outputs == 1 else f"({', '.join(numbered('delta', outputs))})"
    # No gradients: for a parameter without an expression the formula is (∂y/∂θ)ᵀ Δ.
    return Equations(
        forward=[call] if outputs == 1 else [f"{call}[{n}]" for n in range(outputs)],
        backward=[f"{name}.T @ {delta}" for name in numbered("J", len(inputs))],
        is_evaluable=False,
    )


def numbered(name: str, count: int) -> list[str]:
    """``x``; or ``x_1``, ``x_2`` and so on if there are several."""
    return [name] if count == 1 else [f"{name}_{n + 1}" for n in range(count)]


def total(terms: Iterable[str], sign: str = "+") -> str:
    """The sum of some terms: ``a + b + c``.

    Very long sums get parentheses, so that parsing them needs no deep recursion.
    """
    summands = list(terms)
    while len(summands) > 50:
        blocks = [f" {sign} ".join(summands[n : n + 50]) for n in range(0, len(summands), 50)]
        summands = [f"({block})" for block in blocks]
    return f" {sign} ".join(summands)


def _depth(kind: type, name: str) -> int:
    """The position in the class's MRO of the class that defines this attribute."""
    mro = kind.__mro__
    return next((n for n, cls in enumerate(mro) if name in cls.__dict__), len(mro))
