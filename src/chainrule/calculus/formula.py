"""The formula: a layer of which you write `forward` alone.

A law of physics has a few parameters, and you know it as a formula. Its derivatives follow from it:
jets compute y = f(x; θ) and, exactly, how y moves with each input and each parameter,

    ∂C/∂x_j = Σ_i Δ_i ∂y_i/∂x_j        ∂C/∂θ_k = Σ_i Δ_i ∂y_i/∂θ_k        Δ = ∂C/∂y

    class Decay(Formula):
        def build(self, input_shape):
            self.rate = self.parameter("rate", (), 1.0)

        def forward(self, time):
            return np.exp(-self.rate.value * time)

`backward` costs one evaluation for each number of a row and each parameter: right for a formula
with a few parameters, wasteful for a network with thousands. The two go together in one graph.

Theory: A. Griewank, A. Walther, *Evaluating Derivatives*, 2nd ed., SIAM 2008, chapter 3.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from chainrule.calculus.jet import Jet, level_in
from chainrule.calculus.jet_memory import like
from chainrule.calculus.tape import Tape
from chainrule.core.errors import DefinitionError
from chainrule.core.input_checks import as_tuple, one_or_tuple
from chainrule.core.layer import Layer
from chainrule.core.layer_state import BOOKKEEPING, copied_parameter
from chainrule.core.method_wrapping import own_forward
from chainrule.core.parameter import Parameter
from chainrule.core.tree import fields_of

MEMORY = frozenset({"formula_inputs", "formula_derivatives"})
"""What `forward` and `backward` remember."""
PLAIN = frozenset({bool, int, float, str, np.ndarray, np.float64})
"""Types that contain neither layers nor parameters."""
AT_ONCE = 64
"""The number of directions that move at once: more would only need more memory."""


class Formula(Layer):
    """A layer whose `backward` follows from its `forward`, exactly.

    Forward  y = f(x; θ), which a subclass writes, with ``np.*`` and the values of its parameters
    Backward  ∂C/∂x = (∂y/∂x)ᵀ Δ,  ∂C/∂θ = (∂y/∂θ)ᵀ Δ,  with Δ = ∂C/∂y and ∂y/∂x, ∂y/∂θ from jets

    It may have several inputs and outputs, parameters of any shape, and other layers inside. In
    all other respects it is a `Layer`: it trains, saves and goes into a graph beside `Dense`. The
    derivative of a frozen parameter is not computed. If the rows of a batch affect each other,
    declare ``couples_batch = True``.

    Raises
    ------
    NoTangentRuleError
        `forward` calls a NumPy function that has no tangent rule, or converts its inputs.
    DefinitionError
        `forward` draws random numbers: a formula is evaluated again in `backward`.

    Examples
    --------
    >>> class Line(Formula):
    ...     def build(self, input_shape):
    ...         self.slope = self.parameter("slope", (), 2.0)
    ...         self.offset = self.parameter("offset", (), 1.0)
    ...
    ...     def forward(self, x):
    ...         return self.slope.value * x + self.offset.value
    >>> line = Line()
    >>> line.forward(np.array([0.0, 1.0, 3.0]))
    array([1., 3., 7.])
    >>> line.backward(np.array([1.0, 0.0, 1.0]))
    array([2., 0., 2.])
    >>> line.parameters.grad
    array([3., 2.])
    """

    def __init_subclass__(cls, **options: Any) -> None:
        if cls.forward is not Layer.forward and not hasattr(cls.forward, "_remembers_inputs"):
            cls.forward = _remembering(cls.forward)  # type: ignore[method-assign]
            if "apply" not in vars(cls):
                cls.apply = Formula.apply  # type: ignore[method-assign]
        super().__init_subclass__(**options)

    def apply(self, *inputs: Any) -> Any:
        if self._applies or _has_more_inside(self):  # layers inside have an apply of their own
            return Layer.apply.__wrapped__(self, *inputs)  # type: ignore[attr-defined]
        parameters = list(self._parameters.values())
        return _written(self)(
            _with_values(self, parameters, [p.value for p in parameters]), *inputs
        )

    def backward(self, delta: Any) -> Any:
        return self._backward(delta, True)

    def backward_parameters(self, delta: Any) -> None:
        self._backward(delta, False)

    def _backward(self, delta: Any, with_inputs: bool) -> Any:
        inputs: tuple[Any, ...] = self.formula_inputs  # type: ignore[attr-defined]
        parameters = _parameters_of(self)
        moves = tuple([p.trainable for p in parameters])
        remembered = self.__dict__.get("formula_derivatives", {})
        tangents = remembered.get((with_inputs, moves))  # from another delta, after one forward
        if tangents is None:
            tangents = _derivatives(self, inputs, parameters, (with_inputs, moves))
            self.formula_derivatives = {(with_inputs, moves): tangents}
        deltas = as_tuple(delta)
        for parameter, tangent in zip(parameters, tangents[len(inputs) :], strict=True):
            _accumulate(parameter, tangent, deltas)
        if not with_inputs:
            return None
        pairs = zip(inputs, tangents, strict=False)
        return one_or_tuple([_product(x, t, deltas, self.couples_batch) for x, t in pairs])


def _derivatives(
    layer: Formula, inputs: Sequence[Any], parameters: Sequence[Parameter], moves: Any
) -> list[list[Any]]:
    """∂y/∂x and ∂y/∂θ, as `derivatives_of` returns them."""
    if layer._generators or (_has_more_inside(layer) and layer.generators):
        raise _draws(layer)
    count = len(inputs)
    moving = [Moving(x, moves[0], not layer.couples_batch) for x in inputs]
    moving += [Moving(p.value, moved) for p, moved in zip(parameters, moves[1], strict=True)]
    has_layers = _has_more_inside(layer)

    def evaluate(arrays: Sequence[Any]) -> tuple[Any, ...]:
        moved = _with_values(layer, parameters, arrays[count:])
        return as_tuple(_written(layer)(moved, *arrays[:count]))

    return derivatives_of(evaluate, moving, all_move=has_layers)


class Moving(NamedTuple):
    """An array with respect to which a formula is differentiated."""

    array: Any
    moves: bool
    by_row: bool = False
    """Whether all rows move at once, as they do not affect each other."""

    @property
    def directions(self) -> int:
        """The number of directions: one for each entry, or for each entry of a row."""
        shape = self.array.shape[1:] if self.by_row else self.array.shape
        return math.prod(shape) if self.moves else 0

    def jet(self, first: int, last: int, start: int, level: int) -> Jet:
        """The array with its derivatives along directions first to last; its own begin at start."""
        array, by_row = self.array, self.by_row
        parts = np.zeros((1 + last - first, *array.shape), array.dtype, **like(array))
        parts[0] = array
        begin, end = max(first, start), min(last, start + self.directions)
        if begin < end:
            own = array.shape[1:] if by_row else array.shape
            units = np.eye(self.directions, dtype=array.dtype).reshape(self.directions, *own)
            units = units[begin - start : end - start]
            parts[1 + begin - first : 1 + end - first] = units[:, None] if by_row else units
        return Jet(parts, (), level)


def derivatives_of(
    evaluate: Callable[[Sequence[Any]], tuple[Any, ...]],
    moving: Sequence[Moving],
    *,
    all_move: bool,
) -> list[list[Any]]:
    """∂y/∂a for each array a that moves and each output y: (entries of a, *shape of y).

    ``all_move`` also makes jets of the arrays that do not move, as layers inside expect.
    """
    level = 1 + level_in([each.array for each in moving])
    ends = np.cumsum([each.directions for each in moving]).tolist()
    starts = [0, *ends[:-1]]
    pieces = []
    for first in range(0, ends[-1], AT_ONCE):
        last = min(first + AT_ONCE, ends[-1])
        arrays = [
            each.jet(first, last, start, level) if each.moves or all_move else each.array
            for each, start in zip(moving, starts, strict=True)
        ]
        pieces.append([_first_parts(y, last - first, level) for y in evaluate(arrays)])
    whole = [
        np.concatenate(parts) if len(parts) > 1 else parts[0] for parts in zip(*pieces, strict=True)
    ]
    return [[y[start:end] for y in whole] for start, end in zip(starts, ends, strict=True)]


def _first_parts(y: Any, count: int, level: int) -> Any:
    """The derivatives of an output, which are zero if it does not depend on what moves."""
    if level_in(y) == level:
        return y.first
    return np.zeros((count, *y.shape), y.dtype, **like(y))


def _product(x: Any, tangents: Sequence[Any], deltas: Sequence[Any], coupled: bool) -> Any:
    """∂C/∂x = (∂y/∂x)ᵀ Δ, summed over the outputs."""
    if not x.size:
        return np.zeros_like(x)
    total: Any = 0
    for tangent, delta in zip(tangents, deltas, strict=True):
        if delta is not None:
            first = 1 if coupled else 2
            products = tangent * delta
            total = total + products.sum(axis=tuple(range(first, products.ndim)))
    return (total if coupled else total.T).reshape(x.shape)


def _accumulate(parameter: Parameter, tangents: Sequence[Any], deltas: Sequence[Any]) -> None:
    """Add ∂C/∂θ = (∂y/∂θ)ᵀ Δ, as a product that sums over the rows."""
    if not tangents or not len(tangents[0]):  # it is frozen
        return
    for tangent, delta in zip(tangents, deltas, strict=True):
        if delta is not None:  # accumulate_product can keep the rows apart
            columns = tangent.reshape(*parameter.shape, delta.size)
            parameter.accumulate_product(columns, delta.reshape(-1))


def recorded(layer: Formula, inputs: Sequence[Any], start: Any) -> Tape | None:
    """The tape of a formula with scalar parameters for these inputs; None if it has none.

    Only the parameters that are free move; the frozen ones keep their values. A tape that does not
    compute what the formula computes at ``start``, a number for each free one, does not count.
    """
    parameters = list(layer._parameters.values())
    is_plain = layer.dtype == np.float64 and not any(p.shape for p in parameters)
    if not is_plain or layer._buffers or layer._generators or _has_more_inside(layer):
        return None

    def function(*numbers: Any) -> Any:
        free = iter(numbers)
        values = [next(free) if p.trainable else p.value for p in parameters]
        return _written(layer)(_shallow_copy(layer, parameters, values), *inputs)

    try:
        tape = Tape(function, len(start))
        expected, found = function(*map(np.array, start)), tape.value(start)
        if np.shape(expected) != np.shape(found):
            return None
        is_same = np.all(found == expected)  # rounding may differ between a number and an array
        is_right = is_same or np.all(np.abs(found - expected) <= 1e-9 * np.abs(expected))
        return tape if is_right else None
    except Exception:  # whatever the formula does with numbers that have no value
        return None


def _remembering(forward: Callable[..., Any]) -> Callable[..., Any]:
    """`forward` as written, which then remembers its inputs for `backward`."""

    @functools.wraps(forward)
    def remember(self: Formula, *inputs: Any) -> Any:
        outputs = forward(self, *inputs)
        self.__dict__.pop("formula_derivatives", None)
        self.formula_inputs = inputs  # last: a forward that this one calls has had other inputs
        return outputs

    remember._remembers_inputs = True  # type: ignore[attr-defined]
    return remember


def _written(layer: Formula) -> Callable[..., Any]:
    """`forward` as its author wrote it."""
    method: Callable[..., Any] = own_forward(layer).__func__.__wrapped__  # type: ignore[attr-defined]
    return method


def _parameters_of(layer: Formula) -> list[Parameter]:
    inside = _has_more_inside(layer)
    return list(layer.parameters if inside else layer._parameters.values())


def _has_more_inside(layer: Formula) -> bool:
    """Whether parameters may be elsewhere than in attributes of their own name."""
    return any(
        _holds_any(value) or (isinstance(value, Parameter) and name not in layer._parameters)
        for name, value in layer.attributes().items()
        if name not in BOOKKEEPING and name not in MEMORY
    )


def _holds_any(value: Any, kinds: Any = Layer) -> bool:
    """Whether a value is a layer, or a container with a layer or a parameter somewhere in it."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list | tuple | set):
        parts = [part for part in value if type(part) not in PLAIN]
        return any(_holds_any(part, Layer | Parameter) for part in parts)
    return isinstance(value, kinds)


def _with_values(layer: Formula, parameters: Sequence[Parameter], values: Sequence[Any]) -> Any:
    """A copy of the layer in which the parameters have other values, and its own buffers."""
    if not layer._buffers and not _has_more_inside(layer):
        return _shallow_copy(layer, parameters, values)
    moved = [Parameter(p.path, value) for p, value in zip(parameters, values, strict=True)]
    parts: dict[int, Any] = dict(zip(map(id, parameters), moved, strict=True))
    return layer.replica(parts | {id(b): copied_parameter(b) for b in layer.buffers})


def _shallow_copy(layer: Formula, parameters: Sequence[Parameter], values: Sequence[Any]) -> Any:
    """The same for a layer with nothing but parameters, ten times faster."""
    moved = [Parameter(p.path, value) for p, value in zip(parameters, values, strict=True)]
    copied = object.__new__(type(layer))
    own = dict(zip(layer._parameters, moved, strict=True))
    for field in fields_of(type(layer)):
        object.__setattr__(copied, field.name, getattr(layer, field.name))  # it may have a slot
    copied.__dict__.update({**layer.__dict__, **own, "_parameters": own})
    return copied


def _draws(layer: Formula) -> DefinitionError:
    return DefinitionError(
        f"{type(layer).__name__}: a formula cannot draw random numbers",
        expected="the same outputs when backward evaluates forward again",
        received=", ".join(layer.generators),
        hint="put the layer that draws before or after the formula, or derive the class from Layer",
    )
