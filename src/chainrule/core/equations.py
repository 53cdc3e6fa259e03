"""Equations: what a layer computes, as expressions for its output and its gradients.

    y = f(x),    ∂C/∂x = J_fᵀ Δ,    ∂C/∂θ = (∂y/∂θ)ᵀ Δ        with Δ = ∂C/∂y

A layer that should be explained states these three as NumPy expressions, from which
`chainrule.explain` makes the formulas of a whole model:

    def equations(self):                                       # of a Dense
        return Equations(
            forward="x @ weights + biases",
            backward="delta @ weights.T",
            gradients={"weights": "x.T @ delta", "biases": "delta.sum(axis=0)"},
        )

The names in them are x (or x_1, x_2, ...), y and delta (or y_1, delta_1, ..., if there are
several outputs), the parameters and buffers of the layer, and np.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from attrs import field, frozen

from chainrule.core.tree import full_repr

if TYPE_CHECKING:
    from chainrule.core.layer import Layer


def _as_tuple(given: str | Iterable[str]) -> tuple[str, ...]:
    return (given,) if isinstance(given, str) else tuple(given)


@frozen(repr=False)
class Equations:
    """The equations of a layer, as NumPy expressions.

    Attributes
    ----------
    forward
        An expression for y; a tuple of them if there are several outputs.
    backward
        An expression for ∂C/∂x; a tuple of them if there are several inputs.
    gradients
        For each parameter, by name, an expression for the contribution of this layer to ∂C/∂θ. A
        parameter that is missing is shown as (∂y/∂θ)ᵀ Δ.
    function
        The function written as ``f(x)`` and ``df(x)`` in the expressions: a
        `chainrule.layers.functions.Function`, or any object with ``value`` and ``derivative``.
    letter
        The name of the output in formulas: ``"y"``, or ``"z"`` for the input of an activation.
    is_evaluable
        Whether the expressions can be evaluated. If not, they contain an unspecified function f and
        its Jacobian J, or names of their own.
    definitions, backward_definitions
        Lines before those of the forward and the backward pass, for a formula with parts such as
        gates: the name of each part with its expression.
    apply
        An expression for y at inference, if it differs from the forward pass; a tuple of them if
        there are several outputs.
    updates
        For each buffer that a forward pass changes, by name, an expression for its new value.
    signs
        How its own names are written, in LaTeX and in a terminal: ``{"x_t": ("<x>_t", "<x>ₜ")}``.
        In them <x>, <y>, <delta> and <n> are the notation of the first input, of the first output
        and of its delta, and the number of the layer.
    """

    forward: tuple[str, ...] = field(converter=_as_tuple)
    backward: tuple[str, ...] = field(converter=_as_tuple)
    gradients: Mapping[str, str] = field(factory=dict)
    function: Any = None
    letter: str = "y"
    is_evaluable: bool = True
    definitions: Mapping[str, str] = field(factory=dict)
    backward_definitions: Mapping[str, str] = field(factory=dict)
    apply: tuple[str, ...] = field(default=(), converter=_as_tuple)
    updates: Mapping[str, str] = field(factory=dict)
    signs: Mapping[str, tuple[str, str]] = field(factory=dict)

    __repr__ = full_repr


def equations_of(layer: Layer) -> Equations:
    """The equations of a built layer.

    A class that overrides `forward` or `backward` but inherits the equations is shown as an unknown
    function: the inherited equations may be wrong for it.
    """
    if is_said_by(type(layer), "equations", ("forward", "backward")):
        return layer.equations()
    return unknown(layer)


def is_said_by(kind: type, name: str, about: Iterable[str]) -> bool:
    """Whether an attribute is defined by the class of the methods it is about, or a subclass."""
    positions = [_mro_position(kind, other) for other in about]
    return _mro_position(kind, name) <= min(positions)


def unknown(layer: Layer) -> Equations:
    """The equations of any layer: y = f(x) and ∂C/∂x = Jᵀ Δ."""
    inputs = numbered("x", len(layer.input_shapes))
    outputs = len(layer.output_shapes)
    call = f"f({', '.join(inputs)})"
    delta = "delta" if outputs == 1 else f"({', '.join(numbered('delta', outputs))})"
    # No gradients: a parameter without an expression is shown as (∂y/∂θ)ᵀ Δ.
    return Equations(
        forward=[call] if outputs == 1 else [f"{call}[{n}]" for n in range(outputs)],
        backward=[f"{name}.T @ {delta}" for name in numbered("J", len(inputs))],
        is_evaluable=False,
    )


def numbered(name: str, count: int) -> list[str]:
    """``x``; for several, ``x_1``, ``x_2`` and so on."""
    return [name] if count == 1 else [f"{name}_{n + 1}" for n in range(count)]


def total(terms: Iterable[str], sign: str = "+") -> str:
    """The sum of some terms: ``a + b + c``.

    Parentheses split very long sums, so that parsing them needs no deep recursion.
    """
    summands = list(terms)
    while len(summands) > 50:
        blocks = [f" {sign} ".join(summands[n : n + 50]) for n in range(0, len(summands), 50)]
        summands = [f"({block})" for block in blocks]
    return f" {sign} ".join(summands)


def _mro_position(kind: type, name: str) -> int:
    """The position in the MRO of the class that defines an attribute."""
    mro = kind.__mro__
    return next((n for n, cls in enumerate(mro) if name in cls.__dict__), len(mro))
