"""Operators that work on each number by itself, on one value or on several.

A function of one number becomes an `Activation`. Arithmetic of two values becomes `Add`,
`Multiply` and so on; arithmetic with a constant becomes a `Scale` or a `Shift` whose weights are
learned, or a function, if the constant is a single number. The order of the axes of the array does
not matter to any of them, so it is kept.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import attrs
import numpy as np
import numpy.typing as npt

from chainrule.core.layer import Layer
from chainrule.graph.node import Node
from chainrule.interop.onnx.reading.conversion import Outputs, Rule, Site
from chainrule.interop.onnx.reading.folding import dtype_of
from chainrule.interop.onnx.reading.functions import Elementwise, numbers_of
from chainrule.interop.onnx.reading.layers import Binary, Scale, Shift, Where
from chainrule.interop.onnx.reading.moving import placed
from chainrule.interop.onnx.reading.values import Constant, Operand, RefusedError, Value
from chainrule.layers import functions
from chainrule.layers.activation import Activation, PReLU
from chainrule.layers.convolution import Convolution, TransposedConvolution
from chainrule.layers.dense import Dense
from chainrule.layers.functions import Function
from chainrule.layers.merge import Add, Average, Multiply, Subtract
from chainrule.layers.random import Dropout

INTEGERS = (np.dtype(np.int32), np.dtype(np.int64))
"""The integers with which a model may calculate, as floats."""

# ------------------------------------------------------------------------------- of one value


def function(name: str) -> Rule:
    """The rule for an operator that is one of chainrule's activation functions."""
    return lambda site: activated(site, functions.KNOWN[name]())


def elementwise(*attributes: tuple[str, float]) -> Rule:
    """The rule for an operator of `reading.functions`, with its attributes."""

    def rule(site: Site) -> Outputs:
        numbers = numbers_of(*(site.attributes.get(name, value) for name, value in attributes))
        return activated(site, Elementwise(site.operator, numbers))

    return rule


def activated(site: Site, of: Function, value: Value | None = None) -> Value:
    """A function of each number."""
    value = value or site.value()
    return value.mapped(lambda node: site.call(Activation(of), node))


def elu(site: Site) -> Outputs:
    """`Elu`."""
    return activated(site, functions.Elu(site.attributes.get("alpha", 1.0)))


def leaky_relu(site: Site) -> Outputs:
    """`LeakyRelu`."""
    return activated(site, functions.LeakyRelu(site.attributes.get("alpha", 0.01)))


def selu(site: Site) -> Outputs:
    """`Selu`, or with other numbers an `Elu` and a factor."""
    alpha = site.attributes.get("alpha", 1.67326319217681884765625)
    gamma = site.attributes.get("gamma", 1.05070102214813232421875)
    known = functions.Selu
    if math.isclose(alpha, known.alpha, rel_tol=1e-6) and math.isclose(
        gamma, known.scale, rel_tol=1e-6
    ):
        return activated(site, functions.Selu())
    value = activated(site, functions.Elu(alpha))
    return activated(site, Elementwise("Times", (float(gamma),)), value)


def gelu(site: Site) -> Outputs:
    """`Gelu`, exact or with a tanh."""
    is_exact = site.attributes.get("approximate", "none") == "none"
    return activated(site, functions.Gelu() if is_exact else Elementwise("GeluTanh"))


def clip(site: Site) -> Outputs:
    """min(max(z, low), high), or `relu`."""
    if site.version >= 11:
        low, high = site.number(1, "lower bound"), site.number(2, "upper bound")
    else:
        low, high = (site.attributes.get(name) for name in ("min", "max"))
    if low == 0 and high is None:
        return activated(site, functions.Relu())
    low = -math.inf if low is None else low
    high = math.inf if high is None else high
    return activated(site, Elementwise("Clip", (float(low), float(high))))


def dropout(site: Site) -> Outputs:
    """`Dropout`, which drops only in training."""
    site.refuse_outputs(1)
    mode = site.constant(2, "training mode")
    if mode is not None and np.any(mode.array):
        raise RefusedError("it drops at inference: training_mode is true")
    given = site.number(1, "ratio") if site.version >= 12 else site.attributes.get("ratio", 0.5)
    rate = 0.5 if given is None else float(given)
    if not rate or site.attributes.get("is_test", 0):
        return site.value()
    return site.value().mapped(lambda node: site.call(Dropout(rate), node))


def cast(site: Site) -> Outputs:
    """The same numbers: a model has one type for all that it computes."""
    return converted(site, dtype_of(int(site.attributes["to"])))


def cast_like(site: Site) -> Outputs:
    """The same numbers, in the type of another value."""
    first, second = _two(site)
    to = second.dtype if isinstance(second, Value) else second.array.dtype
    if isinstance(first, Constant):
        return [first.as_array(first.array.astype(to))]
    return converted(site, to)


def converted(site: Site, to: np.dtype[Any]) -> Outputs:
    """The value as numbers of a type, if that changes none of them."""
    value = site.value()
    if to == value.dtype:
        return value
    is_wider = to.kind in "iu" and value.dtype.kind in "iub" and to.itemsize >= value.dtype.itemsize
    if is_wider or (value.dtype.kind in "iub" and to == site.dtype):
        return Value(value.node, value.axes, to, value.flat)
    is_condition = to == np.dtype(bool) and value.dtype in INTEGERS
    if is_condition or (value.dtype == site.dtype and to in (*INTEGERS, np.dtype(bool))):
        of = Elementwise("NonZero" if to == np.dtype(bool) else "Trunc")
        return value.mapped(lambda node: site.call(Activation(of), node), to)
    raise RefusedError(f"it converts {value.dtype} to {to}; the model computes in {site.dtype}")


def prelu(site: Site) -> Outputs:
    """`PReLU` if there is a slope for each channel, else a function of two values."""
    value = site.value()
    if isinstance(site.inputs[1], Value):
        return _of_two(site, lambda: Binary("PRelu"), _two(site))
    slope = site.array(1, "slope")
    wide = _padded(slope, value.rank)
    if value.order and wide.size == wide.shape[value.order[-1]] and wide.size > 1:
        return Value(site.call(PReLU(), value.node, slope=np.ravel(wide)), value.axes, value.dtype)
    if slope.size == 1:
        return activated(site, functions.LeakyRelu(float(np.ravel(slope)[0])))
    return _of_two(site, lambda: Binary("PRelu"), _two(site))


# ------------------------------------------------------------------------------- of several


def add(site: Site) -> Outputs:
    """`Add`, a `Shift`, a number, or the biases of the product before."""
    return _folded(site, _plus)


def multiply(site: Site) -> Outputs:
    """`Multiply`, a `Scale` or a number."""
    return _folded(site, _times)


def _folded(site: Site, pair: Callable[[Site, Operand, Operand], Operand]) -> Outputs:
    given = [one for one in site.inputs if one is not None]
    if len(given) == 1:
        return site.value()
    found = functools.reduce(functools.partial(pair, site), given)
    return [found]


def _plus(site: Site, a: Operand, b: Operand) -> Operand:
    if isinstance(a, Constant):
        a, b = b, a
    if isinstance(a, Constant):
        raise RefusedError("it adds two constants first")
    if isinstance(b, Constant):
        return with_biases(site, a, b) or _with_constant(site, a, b, Shift, "Plus") or _of_two(
            site, lambda: Add(broadcast=True), [a, b]
        )  # fmt: skip
    return _of_two(site, Add, [a, b])


def _times(site: Site, a: Operand, b: Operand) -> Operand:
    if isinstance(a, Constant):
        a, b = b, a
    if isinstance(a, Constant):
        raise RefusedError("it multiplies two constants first")
    if isinstance(b, Constant):
        return _with_constant(site, a, b, Scale, "Times") or _of_two(
            site, lambda: Multiply(broadcast=True), [a, b]
        )
    return _of_two(site, Multiply, [a, b])


def subtract(site: Site) -> Outputs:
    """`Subtract`, or a number."""
    a, b = _two(site)
    if isinstance(b, Constant) and isinstance(a, Value):
        found = _with_constant(site, a, b.as_array(-_floats(site, b)), Shift, "Plus")
        if found is not None:
            return found
    if isinstance(a, Constant) and a.array.size == 1 and isinstance(b, Value):
        minus = activated(site, Elementwise("Neg"), b)
        found = _with_constant(site, minus, a, Shift, "Plus")
        if found is not None:
            return found
    return _of_two(site, lambda: Subtract(broadcast=True), [a, b])


def divide(site: Site) -> Outputs:
    """The quotient of two values, or of a value and a number."""
    a, b = _two(site)
    if isinstance(a, Value) and isinstance(b, Constant) and b.array.size == 1:
        divisor = float(_floats(site, b).ravel()[0])
        found = _as_number(site, a, b, Elementwise("Divide", (divisor,)))
        if found is not None:
            return found
    if isinstance(b, Value) and isinstance(a, Constant) and a.array.size == 1:
        numerator = float(_floats(site, a).ravel()[0])
        found = _as_number(site, b, a, Elementwise("Over", (numerator,)))
        if found is not None:
            return found
    return _of_two(site, lambda: Binary("Div"), [a, b])


def power(site: Site) -> Outputs:
    """A power of two values, or of a value and a number."""
    a, b = _two(site)
    for of, other, name in ((a, b, "Power"), (b, a, "PowerOf")):
        if isinstance(of, Value) and isinstance(other, Constant) and other.array.size == 1:
            exponent = float(np.ravel(other.array)[0])
            if name == "PowerOf" and exponent <= 0:
                continue
            found = _as_number(site, of, other, Elementwise(name, (exponent,)))
            if found is not None:
                return found
    return _of_two(site, lambda: Binary("Pow"), [a, b])


def extremum(name: str) -> Rule:
    """The rule for Max and Min of any number of values."""

    def pair(site: Site, a: Operand, b: Operand) -> Operand:
        if isinstance(a, Value) and isinstance(b, Constant) and b.array.size == 1:
            bound = float(_floats(site, b).ravel()[0])
            found = _as_number(site, a, b, Elementwise(f"{name}imum", (bound,)))
            if found is not None:
                return found
        return _of_two(site, lambda: Binary(name), [a, b])

    def rule(site: Site) -> Outputs:
        given = sorted(
            (one for one in site.inputs if one is not None),
            key=lambda one: isinstance(one, Constant),
        )
        if len(given) == 1:
            return site.value()
        return [functools.reduce(functools.partial(pair, site), given)]

    return rule


def comparison(site: Site) -> Outputs:
    """1 where two values compare as asked, else 0."""
    found = _of_two(site, lambda: Binary(site.operator), _two(site))
    return Value(found.node, found.axes, np.dtype(bool))


def negation(site: Site) -> Outputs:
    """1 where a condition does not hold."""
    return activated(site, Elementwise("Not"))


def where(site: Site) -> Outputs:
    """`Where`: one value where a condition holds, else another."""
    given = [one for one in site.inputs if one is not None]
    chosen = [one for one in given[1:] if isinstance(one, Value)]
    found = _of_two(site, Where, given)
    dtype = chosen[0].dtype if chosen else given[1].array.dtype  # type: ignore[union-attr]
    return Value(found.node, found.axes, dtype)


def mean(site: Site) -> Outputs:
    """`Average` of any number of values."""
    given = [one for one in site.inputs if one is not None]
    if len(given) == 1:
        return site.value()
    return _of_two(site, lambda: Average(broadcast=True), given)


def _two(site: Site) -> tuple[Operand, Operand]:
    a, b = site.inputs
    if a is None or b is None:
        raise RefusedError("one of its two inputs is missing")
    return a, b


def _floats(site: Site, one: Constant) -> npt.NDArray[Any]:
    if one.array.dtype == object:
        raise RefusedError("it calculates with the size of the batch")
    found: npt.NDArray[Any] = one.array.astype(site.dtype)
    return found


def _padded(array: npt.NDArray[Any], rank: int) -> npt.NDArray[Any]:
    return np.reshape(array, (*(1,) * (rank - array.ndim), *array.shape))


def _as_number(site: Site, value: Value, one: Constant, of: Function) -> Value | None:
    """A function with a constant, if that is one number and adds no axes."""
    if one.array.ndim > value.rank:
        return None
    return activated(site, of, value)


def _with_constant(
    site: Site, value: Value, one: Constant, kind: type[Scale], name: str
) -> Value | None:
    """A value with a constant that is not larger than a row; None if the constant is larger."""
    array = _floats(site, one)
    if array.ndim > value.rank:
        return None
    if array.size == 1:
        return activated(site, Elementwise(name, (float(array.ravel()[0]),)), value)
    array = _padded(array, value.rank)
    row = _row_of(array, value)
    virtual = [n for n, place in enumerate(value.axes) if place is None]
    sizes = value.row
    if any(array.shape[n] != 1 for n in virtual) or any(
        n not in (1, have) for n, have in zip(row.shape, sizes, strict=True)
    ):
        return None
    if not one.is_learned and np.all(row == (1.0 if kind is Scale else 0.0)):
        return value  # x + 0, or 1 x
    layer = kind(row.shape, one.is_learned)
    return Value(site.call(layer, value.node, weights=row), value.axes, value.dtype)


def _row_of(array: npt.NDArray[Any], value: Value) -> npt.NDArray[Any]:
    """The part of a constant that belongs to a row, with its axes in the order of the array."""
    if value.batch is not None and array.shape[value.batch] != 1:
        raise RefusedError("a constant is different for each row of the batch")
    rest = [n for n in range(value.rank) if n not in value.order]
    moved = np.transpose(array, [*value.order, *rest])
    return np.reshape(moved, moved.shape[: len(value.order)]) if _are_ones(moved, value) else moved


def _are_ones(moved: npt.NDArray[Any], value: Value) -> bool:
    return all(n == 1 for n in moved.shape[len(value.order) :])


def with_biases(site: Site, value: Value, one: Constant) -> Value | None:
    """The biases of a layer that was just made without, if this is what the constant is."""
    layer = value.node.layer
    names = [name for name, given in zip(site.names, site.inputs, strict=True) if given is value]
    is_only_use = len(names) == 1 and site.model.uses[names[0]] == 1
    array = _floats(site, one)
    kinds = Dense | Convolution | TransposedConvolution
    if not isinstance(layer, kinds) or layer.use_bias or not is_only_use:
        return None
    if not value.order or array.ndim > value.rank:
        return None
    wide = _padded(array, value.rank)
    if wide.size != wide.shape[value.order[-1]] or wide.size != value.sizes[value.order[-1]]:
        return None
    origin = site.model.origins.get(id(layer), frozenset()) | one.origin
    before: Any = layer.unbuilt()
    node = site.model.call(
        attrs.evolve(before, use_bias=True),
        *value.node.sources,
        origin=origin,
        weights=layer.weights.value,
        biases=np.ravel(wide),
    )
    return Value(node, value.axes, value.dtype)


def _of_two(site: Site, make: Callable[[], Layer], given: Sequence[Operand]) -> Value:
    """A layer on values that broadcast as ONNX says, all in the order of the largest."""
    values = [one for one in given if isinstance(one, Value)]
    rank = max(one.rank for one in given)
    wide = [one.with_axes([None] * (rank - one.rank) + list(one.axes)) for one in values]
    batches = {one.batch for one in wide if one.batch is not None}
    if len(batches) > 1:
        raise RefusedError("the batch is not the same axis of all inputs")
    batch = next(iter(batches), None)
    if batch is not None and any(one.batch is None and one.sizes[batch] != 1 for one in wide):
        raise RefusedError("one of its inputs has another axis in place of the batch")
    main = max(wide, key=lambda one: len(one.order))
    real = {n for one in wide for n in one.order}
    for one in given:
        if isinstance(one, Constant):
            array = _padded(one.array, rank)
            if batch is not None and array.shape[batch] != 1:
                raise RefusedError("a constant is different for each row of the batch")
            real |= {n for n, count in enumerate(array.shape) if count != 1 and n != batch}
    order = [n for n in range(rank) if n in real and n not in main.order] + main.order
    rest = iter(wide)
    nodes: list[Node] = []
    for one in given:
        if isinstance(one, Value):
            nodes.append(_rows_in(site, next(rest), order))
            continue
        array = _padded(_floats(site, one), rank)
        others = [n for n in range(rank) if n not in order]
        moved = np.transpose(array, [*order, *others])
        row = np.reshape(moved, moved.shape[: len(order)])
        nodes.append(site.model.weights(one.as_array(row), row.shape, main.node))
    layer: Any = make()
    shapes = {one.row if one.order == order else None for one in wide}
    if type(layer) in (Add, Multiply) and (len(shapes) > 1 or len(wide) < len(given)):
        layer = type(layer)(broadcast=True)
    return Value(site.call(layer, *nodes), placed(rank, order, batch), main.dtype)


def _rows_in(site: Site, value: Value, order: Sequence[int]) -> Node:
    """The rows of a value with these axes; leading ones that it lacks are left to broadcasting."""
    own = list(order)
    while own and value.axes[own[0]] is None:
        own.pop(0)
    return site.rows(value, own)
