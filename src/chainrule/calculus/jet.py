"""Jets: arrays that carry several derivatives along, first and second.

A `Jet` is a value x with its derivatives along k directions, and second derivatives for some pairs
of them, x_i = ∂x/∂ε_i and x_ij = ∂²x/∂ε_i∂ε_j. Everything computed from it carries its own,

    y = f(x)    y_i = f′ x_i    y_ij = f′ x_ij + f″ x_i x_j

all in one array whose first axis counts the parts, so that a product with a matrix is still one
product. NumPy dispatches its functions to a `Jet` as it does to a `Dual`, so a layer's ``forward``
computes the derivatives of its output when a `Jet` flows in.

What flows backward is a `JetDelta`, the derivatives of the cost with respect to each part,
(∂C/∂y, ∂C/∂y_i, ∂C/∂y_ij). The `backward` of a layer multiplies it with arrays that the forward
pass has remembered, jets now. From y = a x, so y_i = a x_i + a_i x and so on, the chain rule gives

    Δx = a Δ + Σ_i a_i Δ_i + Σ_ij a_ij Δ_ij    Δx_i = a Δ_i + Σ_j a_j Δ_ij    Δx_ij = a Δ_ij

and with this product the same ``backward`` computes the gradients of a cost that contains
derivatives. A parameter w is constant along all ε, so ∂C/∂w is the first part of its delta.

Each derivative of f comes from the table of `Dual`, f″ by sending a jet through the formula for f′.
Theory: A. Griewank, A. Walther, *Evaluating Derivatives*, 2nd ed., SIAM 2008, chapter 13.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from chainrule.calculus.array_methods import ArrayMethods
from chainrule.calculus.array_rules import CREATING, REDUCTIONS
from chainrule.calculus.dual import CONSTANT, RULES, Dual
from chainrule.calculus.elementwise_rules import CURVATURES, STEEP
from chainrule.calculus.messages import lost, lost_in_conversion, name_of, no_method, no_rule
from chainrule.calculus.rules import Call
from chainrule.core.errors import NoTangentRuleError, ShapeError

Pairs = tuple[tuple[int, int], ...]


class Jet(ArrayMethods):
    """An array with derivatives along several directions; flows through NumPy like an array.

    Parameters
    ----------
    parts
        (1 + k + len(pairs), *shape): the value, the k first derivatives, and the second ones.
    pairs
        Which second derivatives there are: (i, j) with i ≤ j < k for each. Products of other pairs
        of directions are not computed.
    level
        As for a `Dual`: arrays of lower levels are constants. One more than what the parts contain
        if not given.

    Raises
    ------
    ShapeError
        If there are fewer parts than pairs demand.
    NoTangentRuleError
        If an operation would lose derivatives.

    Examples
    --------
    x² at x = 3, with its first and second derivative:

    >>> x = Jet(np.array([3.0, 1.0, 0.0]), pairs=((0, 0),))
    >>> (x**2).parts
    array([9., 6., 2.])
    """

    __slots__ = ("level", "pairs", "parts")
    __array_priority__ = 1500.0

    parts: Any
    pairs: Pairs
    level: int

    def __init__(self, parts: Any, pairs: Pairs = (), level: int | None = None) -> None:
        inner = level_in(parts)
        self.parts, self.pairs = parts, pairs
        self.level = inner + 1 if level is None else level
        least = 1 + len(pairs) + 1 + max((j for _, j in pairs), default=-1)
        if not parts.shape or len(parts) < least:
            raise ShapeError(
                "a Jet has too few parts",
                expected=f"at least {least}: a value, first derivatives, {len(pairs)} second",
                received=parts.shape,
            )
        if self.level <= inner:
            raise NoTangentRuleError(
                "the level of a Jet must be higher than the levels of its parts",
                expected=f"a level above {inner}",
                received=f"level {level}",
            )

    # ---- the parts

    @property
    def value(self) -> Any:
        """The value: part 0."""
        return self.parts[0]

    @property
    def first(self) -> Any:
        """The first derivatives, (k, *shape)."""
        return self.parts[1 : len(self.parts) - len(self.pairs)]

    @property
    def second(self) -> Any:
        """The second derivatives, one for each of the pairs: (len(pairs), *shape)."""
        return self.parts[len(self.parts) - len(self.pairs) :]

    def made(self, parts: Any) -> Any:
        """One of the same kind, with other parts."""
        new = object.__new__(type(self))
        new.parts, new.pairs, new.level = parts, self.pairs, self.level
        return new

    # ---- attributes of an array

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of every part."""
        return self.parts.shape[1:]  # type: ignore[no-any-return]

    @property
    def dtype(self) -> np.dtype[Any]:
        """The dtype of every part."""
        return self.parts.dtype  # type: ignore[no-any-return]

    @property
    def T(self) -> Any:  # noqa: N802  (NumPy's name)
        """The axes in reverse order."""
        return np.transpose(self)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.parts!r}, pairs={self.pairs})"

    def __getattr__(self, name: str) -> Any:
        if not name.startswith("_") and hasattr(np.ndarray, name):
            raise no_method(name)
        raise AttributeError(f"a {type(self).__name__} has no attribute {name!r}")

    def __bool__(self) -> bool:
        return bool(self.value)

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        raise lost_in_conversion("np.asarray(x), or assigning x into a plain array,")

    def __float__(self) -> float:
        raise lost_in_conversion("float(x), or assigning x into a plain array,")

    # ---- NumPy's protocols

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **options: Any) -> Any:
        """NumPy calls this instead of a ufunc (NEP 13)."""
        out = options.pop("out", None)
        (out,) = out if isinstance(out, tuple) and len(out) == 1 else (out,)
        result = _of_ufunc(_highest([*inputs, out]), ufunc, method, inputs, options, out)
        return result if out is None else _write(result, out)

    def __array_function__(
        self,
        function: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
    ) -> Any:
        """NumPy calls this instead of any other function (NEP 18, and NEP 35 for ``like=``)."""
        call = Call(function, args, kwargs)
        out = call.arguments.get("out")
        if out is not None:
            call.arguments["out"] = None
        like = self if function in CREATING else None
        result = _of_function(_highest([*call.arguments.values(), out, like]), call, out)
        return result if out is None else _write(result, out)

    # ---- parts of the array

    def __getitem__(self, index: Any) -> Any:
        index = index if isinstance(index, tuple) else (index,)
        if _lists_in(index) > 1:  # NumPy may move their axis to the front
            return self.made(np.stack([part[index] for part in self.parts]))
        return self.made(self.parts[(slice(None), *index)])

    def __setitem__(self, index: Any, item: Any) -> None:
        index = index if isinstance(index, tuple) else (index,)
        if _lists_in(index) > 1:
            for n, part in enumerate(self.parts):
                part[index] = _part(item, n, self.level)
            return
        room = (slice(None), *index)
        if isinstance(item, Jet) and item.level == self.level:
            if type(item) is not type(self) and _is_zero(self):
                self.__class__ = type(item)  # zeros are both
            self.parts[room] = _aligned(item.parts, self.parts[room].ndim - 1)
        else:
            if isinstance(item, Jet) and item.level > self.level:
                raise lost("assigning a Jet of a higher level into one of a lower level")
            self.parts[room] = 0.0
            self.parts[(0, *index)] = item

    def __iadd__(self, other: Any) -> Any:
        if np.ndim(other) <= self.ndim and not isinstance(other, Jet):
            self.parts[0] += other
            return self
        return np.add(self, other, out=(self,))

    def __pow__(self, exponent: Any) -> Any:
        """``x**a``, as accurate as the operator of arrays."""
        return _elementwise(self, np.power, (self, exponent), lambda x, a: x**a)

    def astype(self, dtype: Any, **options: Any) -> Any:
        """Convert to another floating-point dtype; integers and booleans give a plain array."""
        if np.dtype(dtype).kind in "bui":
            return self.value.astype(dtype, **options)
        return self.made(self.parts.astype(dtype, **options))


class JetDelta(Jet):
    """∂C/∂(the parts of a `Jet`); what a `backward` computes is linear in it."""

    __slots__ = ()

    @property
    def constant_part(self) -> Any:
        """∂C/∂w for an array w that is constant along all directions."""
        return self.parts[0]


# ---- ufuncs


def _of_ufunc(
    at: Jet,
    ufunc: np.ufunc,
    method: str,
    inputs: tuple[Any, ...],
    options: dict[str, Any],
    out: Any,
) -> Any:
    inputs = tuple(np.asarray(x) if isinstance(x, list | tuple) else x for x in inputs)
    if (ufunc, method) in REDUCTIONS:
        return REDUCTIONS[ufunc, method](*inputs, **{"axis": 0, **options})
    if method == "outer":
        a, b = inputs
        return ufunc(np.reshape(a, np.shape(a) + (1,) * np.ndim(b)), b)
    if method == "at" and ufunc is np.add:
        into, index, added = inputs
        if not isinstance(into, Jet) or into.level < at.level:
            raise lost("np.add.at on a plain array")
        for n, part in enumerate(into.parts):
            np.add.at(part, index, _part(added, n, at.level))
        return None
    if method != "__call__" or options.pop("where", True) is not True:
        raise no_rule(f"{name_of(ufunc)}.{method}")
    if ufunc in CONSTANT:
        return ufunc(*[_part(x, 0, at.level) for x in inputs], **options)
    if ufunc in (np.add, np.subtract):
        return _sum(at, ufunc, *inputs)
    if ufunc is np.negative or ufunc is np.positive:
        return inputs[0].made(ufunc(inputs[0].parts))
    if ufunc is np.multiply:
        return _product(at, *inputs)
    if ufunc is np.square:
        return _product(at, *inputs, *inputs)
    if ufunc is np.matmul:
        return _contraction(at, np.matmul, *inputs, out)
    if ufunc is np.divide and isinstance(inputs[0], JetDelta):
        return _product(at, inputs[0], 1 / inputs[1])
    if ufunc is np.absolute and not isinstance(inputs[0], JetDelta):
        return _product(at, np.sign(inputs[0].value), inputs[0])
    rule = RULES.get(ufunc)
    if rule is None:
        raise no_rule(name_of(ufunc))
    if rule.partials:
        return _elementwise(at, ufunc, inputs, ufunc, options)
    if rule.degree == 2:
        return _contraction(at, ufunc, *inputs, out)
    if any(isinstance(x, JetDelta) for x in inputs):
        raise _not_linear(ufunc)
    return _by_duals(at, lambda number: ufunc(*[_replaced(x, number, at.level) for x in inputs]))


def _elementwise(
    at: Jet,
    ufunc: np.ufunc,
    inputs: tuple[Any, ...],
    evaluate: Callable[..., Any],
    options: Mapping[str, Any] | None = None,
) -> Any:
    """f(x, …), with y_i = Σ f′ x_i and y_ij = Σ f′ x_ij + Σ f″ x_i x_j, from the formulas of f′."""
    values = [_part(x, 0, at.level) for x in inputs]
    y = evaluate(*values, **(options or {}))
    moving = [n for n, x in enumerate(inputs) if isinstance(x, Jet) and x.level == at.level]
    if any(isinstance(inputs[n], JetDelta) for n in moving):
        raise _not_linear(ufunc)
    parts = [_aligned(inputs[n].parts, y.ndim) for n in moving]
    partials = [RULES[ufunc].partials[n] for n in moving]
    slopes = [partial(y, *values) for partial in partials]
    result = np.empty((len(at.parts), *y.shape), y.dtype, **_like(y))
    result[0] = y
    for number, (slope, p) in enumerate(zip(slopes, parts, strict=True)):
        if number == 0:
            result[1:] = _times(ufunc, slope, p[1:])
        else:
            result[1:] += _times(ufunc, slope, p[1:])
    if at.pairs:
        start = len(at.parts) - len(at.pairs)
        for p, q, bent in _curvatures(at, ufunc, y, values, moving, slopes, parts):
            for n, (i, j) in enumerate(at.pairs, start):
                term = p[1 + i] * q[1 + j]
                result[n] += _times(ufunc, bent, term)
    return at.made(result)


def _curvatures(
    at: Jet,
    ufunc: np.ufunc,
    y: Any,
    values: list[Any],
    moving: list[int],
    slopes: list[Any],
    parts: list[Any],
) -> Iterator[tuple[Any, Any, Any]]:
    """(p, q, ∂²f/∂p∂q) for all pairs of arguments that move, if it is not zero."""
    if ufunc in CURVATURES:
        yield parts[0], parts[0], CURVATURES[ufunc](y, slopes[0])
        return
    jets, unit = list(values), np.eye(len(moving), dtype=y.dtype)
    for n, row in zip(moving, unit, strict=True):
        steps = row.reshape(-1, *(1,) * np.ndim(values[n]))
        steps = np.broadcast_to(steps, (len(row), *np.shape(values[n])))
        jets[n] = Jet(np.concatenate([values[n][None], steps]), (), at.level)
    here = Jet(np.stack([y, *(np.broadcast_to(s, y.shape) for s in slopes)]), (), at.level)
    for n, p in zip(moving, parts, strict=True):
        slope = RULES[ufunc].partials[n](here, *jets)
        if isinstance(slope, Jet):  # otherwise it is constant
            for q, bent in zip(parts, slope.parts[1:], strict=True):
                yield p, q, bent


def _times(ufunc: np.ufunc, slope: Any, dx: Any) -> Any:
    """Slope · ẋ, which is 0 where ẋ is, also if the slope is infinite."""
    if ufunc in STEEP and not np.all(np.isfinite(slope)):
        with np.errstate(invalid="ignore"):
            return np.where(dx == 0, 0, slope * dx)
    return slope * dx


def _sum(at: Jet, ufunc: np.ufunc, a: Any, b: Any) -> Any:
    """A + b or a − b, part by part; a plain array has a value alone."""
    moving = [x for x in (a, b) if isinstance(x, Jet) and x.level == at.level]
    if len({type(x) for x in moving}) > 1:
        if not all(isinstance(x, JetDelta) or _is_zero(x) for x in moving):
            raise _not_linear(ufunc)
        a, b = (x if isinstance(x, JetDelta) else x.value for x in moving)
        moving = [x for x in (a, b) if isinstance(x, JetDelta)]
    ndim = max(np.ndim(a), np.ndim(b))
    if len(moving) == 2:
        return at.made(ufunc(_aligned(a.parts, ndim), _aligned(b.parts, ndim)))
    (x,) = moving
    parts = _aligned(x.parts, ndim)
    parts = -parts if x is b and ufunc is np.subtract else np.copy(parts)
    shape = np.broadcast_shapes(np.shape(a), np.shape(b))
    if parts.shape[1:] != shape:
        parts = np.copy(np.broadcast_to(parts, (len(parts), *shape)))
    if x is b:
        parts[0] += a
    else:
        parts[0] = ufunc(parts[0], b)
    return x.made(parts)


def _product(at: Jet, a: Any, b: Any) -> Any:
    """A b: the rule of Leibniz, or its adjoint if one of them is a delta."""
    if not isinstance(b, Jet) or b.level < at.level:
        a, b = b, a  # now b moves
    ndim = max(np.ndim(a), np.ndim(b))
    right = _aligned(b.parts, ndim)
    if not isinstance(a, Jet) or a.level < at.level:
        return b.made(a * right)
    left = _aligned(a.parts, ndim)
    if isinstance(a, JetDelta):
        a, b, left, right = b, a, right, left
    if isinstance(a, JetDelta):
        raise _not_linear(np.multiply)
    start = len(left) - len(at.pairs)
    if a is b:
        result = (2 * left[0]) * right
        result[0] = left[0] * right[0]
        for n, (i, j) in enumerate(at.pairs, start):
            result[n] += (2 * left[1 + i]) * right[1 + j]
        return a.made(result)
    result = left[0] * right
    if isinstance(b, JetDelta):
        result[0] = np.einsum("k...,k...->...", left, right)
        for n, (i, j) in enumerate(at.pairs, start):
            result[1 + i] += (2 if i == j else 1) * left[1 + j] * right[n]
            if i != j:
                result[1 + j] += left[1 + i] * right[n]
        return b.made(result)
    result[1:] += left[1:] * right[0]
    for n, (i, j) in enumerate(at.pairs, start):
        result[n] += left[1 + i] * right[1 + j]
        result[n] += left[1 + j] * right[1 + i]
    return a.made(result)


def _contraction(at: Jet, product: Callable[..., Any], a: Any, b: Any, out: Any = None) -> Any:
    """A product that sums over axes: matmul, dot, einsum, …; linear in each of the two arrays.

    If it is written into a plain array, as the gradient of a parameter is, only the first part of a
    delta is computed.
    """
    left, right = (x.parts if isinstance(x, Jet) and x.level == at.level else None for x in (a, b))
    if left is None and right is None:
        return product(a, b)
    if left is None or right is None:
        x, parts = (a, left) if right is None else (b, right)
        if isinstance(x, JetDelta) and out is not None and level_in(out) < at.level:
            return product(a, b[...].parts[0]) if right is not None else product(parts[0], b)
        if product in (np.matmul, np.dot) and parts.ndim == 3 and np.ndim(a) == np.ndim(b) == 2:
            if right is not None:
                return x.made(np.matmul(a, parts))
            rows = np.dot(parts.reshape(-1, parts.shape[2]), b)
            return x.made(rows.reshape(*parts.shape[:2], b.shape[1]))
        each = [product(a, p) if right is not None else product(p, b) for p in parts]
        return x.made(np.stack(each))
    if isinstance(a, JetDelta) and isinstance(b, JetDelta):
        raise _not_linear(product)
    has_delta = isinstance(a, JetDelta) or isinstance(b, JetDelta)
    if has_delta and out is not None and level_in(out) < at.level:
        return _for_constant(product, left, right)
    return _bilinear(at, product, a, b)


def _for_constant(product: Callable[..., Any], left: Any, right: Any) -> Any:
    """Σ_p left_p right_p, the first part of the product of a jet and a delta."""
    if left.ndim == right.ndim == 3 and product in (np.matmul, np.dot):
        rows = np.transpose(left, (1, 0, 2)).reshape(left.shape[1], -1)
        return np.dot(rows, right.reshape(-1, right.shape[2]))
    return sum(product(p, q) for p, q in zip(left, right, strict=True))


def _bilinear(at: Jet, product: Callable[..., Any], a: Any, b: Any) -> Any:
    """The rule of Leibniz for any product B(a, b), or its adjoint if one of them is a delta.

    Part p of the result is a sum of B(a_q, b_r). So in the adjoint, B(a_q, Δ_p) is added to part r.
    """
    parts: dict[int, Any] = {}
    for p, q, r in _leibniz(len(at.parts), at.pairs):
        if isinstance(a, JetDelta):
            p, q, r = q, p, r
        elif isinstance(b, JetDelta):
            p, q, r = r, q, p
        term = product(a.parts[q], b.parts[r])
        parts[p] = parts[p] + term if p in parts else term
    kind = a if isinstance(a, JetDelta) else b
    return kind.made(np.stack([parts[p] for p in range(len(at.parts))]))


def _leibniz(count: int, pairs: Pairs) -> Iterator[tuple[int, int, int]]:
    """(p, q, r) for each term a_q b_r of part p of a product a b."""
    for p in range(count):
        yield p, 0, p
        if p:
            yield p, p, 0
    for p, (i, j) in enumerate(pairs, count - len(pairs)):
        yield p, 1 + i, 1 + j
        yield p, 1 + j, 1 + i


# ---- other functions


def _of_function(at: Jet, call: Call, out: Any) -> Any:
    function, arguments = call.function, call.arguments
    moving = [n for n, x in arguments.items() if level_in(x) == at.level]
    if function in CREATING:
        arguments.update(_like(at.value))
        if not moving:
            return at.made(_with_zeros(call.evaluate({}), len(at.parts)))
    if function in CONSTANT:
        result = call.evaluate({n: _values(x, at.level) for n, x in arguments.items()})
        if getattr(getattr(result, "dtype", None), "kind", "") != "f":
            return result
        return at.made(_with_zeros(result, len(at.parts)))
    if function is np.copyto:
        arguments["dst"][...] = arguments["src"]
        return None
    rule = RULES.get(function)
    if rule is None:
        raise no_rule(name_of(function))
    lists = [x for n in moving for x in _jets_in(arguments[n], at.level)]
    kind = next((x for x in lists if isinstance(x, JetDelta)), lists[0])
    if function in MOVED and len(moving) == 1:
        moved = MOVED[function](call, arguments[moving[0]])
        if moved is not None:
            return kind.made(moved)
    if rule.degree == 2 and len(lists) == 2 and len(moving) == 2:

        def product(a: Any, b: Any) -> Any:
            return call.evaluate(dict(zip(moving, (a, b), strict=True)))

        return _contraction(at, function if function is np.dot else product, *lists, out)
    if rule.degree == 2 and len(lists) == 1:
        (name,) = moving

        def image(part: Any) -> Any:
            return call.evaluate({name: part})

        if function is np.dot:
            return _contraction(at, np.dot, arguments["a"], arguments["b"], out)
        return kind.made(np.stack([image(part) for part in lists[0].parts]))
    if rule.degree == 1:
        return _linear(at, call, kind)
    if isinstance(kind, JetDelta):
        raise _not_linear(function)
    return _by_duals(
        at,
        lambda number: call.evaluate(
            {name: _replaced(x, number, at.level) for name, x in arguments.items()}
        ),
    )


def _linear(at: Jet, call: Call, kind: Jet) -> Any:
    """A function that is linear in all its arrays: part by part."""
    rule = RULES[call.function]
    arrays = call.arrays_of(rule)

    def image(n: int) -> Any:
        return call.evaluate(
            {
                name: _part(x, n, at.level, constant=name not in arrays)
                for name, x in call.arguments.items()
            }
        )

    images = [image(n) for n in range(len(at.parts))]
    if isinstance(images[0], list | tuple):
        return type(images[0])(kind.made(np.stack(each)) for each in zip(*images, strict=True))
    return kind.made(np.stack(images))


def _by_duals(at: Jet, evaluated: Callable[[Callable[[Jet], Any]], Any]) -> Any:
    """Any function with a rule: for each direction, and each pair, once with dual numbers.

    ``evaluated(number)`` calls the function with ``number(jet)`` in place of each jet.
    """
    level = at.level

    def tangent(x: Any, of: int) -> Any:
        return x.tangent if isinstance(x, Dual) and x.level == of else np.zeros_like(x)

    start = len(at.parts) - len(at.pairs)
    parts = [evaluated(lambda x: x.value)]
    for n in range(1, start):
        parts.append(tangent(evaluated(lambda x, n=n: Dual(x.parts[0], x.parts[n], level)), level))
    for n, (i, j) in enumerate(at.pairs, start):

        def pair(x: Any, n: int = n, i: int = i, j: int = j) -> Any:
            here = Dual(x.parts[0], x.parts[1 + i], level)
            return Dual(here, Dual(x.parts[1 + j], x.parts[n], level), level + 1)

        parts.append(tangent(tangent(evaluated(pair), level + 1), level))
    return at.made(np.stack(parts))


# ---- functions that only move or add entries: once for all parts, with their axes one further


def _reshaped(call: Call, x: Jet) -> Any:
    given = call.arguments
    shape = given.get("shape", given.get("newshape"))
    if given.get("order", "C") != "C":
        return None
    shape = (shape,) if isinstance(shape, int | np.integer) else tuple(shape)
    return np.reshape(x.parts, (len(x.parts), *shape))


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
    shape = (shape,) if isinstance(shape, int | np.integer) else tuple(shape)
    return np.broadcast_to(_aligned(x.parts, len(shape)), (len(x.parts), *shape))


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


MOVED: dict[Callable[..., Any], Callable[[Call, Any], Any]] = {
    np.reshape: _reshaped,
    np.transpose: _transposed,
    np.sum: _summed,
    np.mean: _summed,
    np.broadcast_to: _broadcast,
    np.concatenate: _joined,
    np.stack: _joined,
    np.copy: lambda call, x: np.copy(x.parts),
    np.ravel: lambda call, x: x.parts.reshape(len(x.parts), -1) if x.size else None,
}


# ---- from a Jet to its parts, and back


def level_in(x: Any) -> int:
    """The highest level of a Jet or Dual in x, also in lists; 0 if there is none."""
    if isinstance(x, Jet | Dual):
        return x.level
    return max(map(level_in, x), default=0) if isinstance(x, list | tuple) else 0


def _highest(given: Any) -> Jet:
    """The Jet of the highest level in lists of arguments."""
    found = list(_jets_in(list(given), None))
    return max(found, key=lambda x: x.level)


def _jets_in(x: Any, level: int | None) -> Iterator[Jet]:
    if isinstance(x, Jet):
        if level is None or x.level == level:
            yield x
    elif isinstance(x, list | tuple):
        for each in x:
            yield from _jets_in(each, level)


def _replaced(x: Any, number: Callable[[Any], Any], level: int) -> Any:
    """X with each Jet of this level in it replaced."""
    if isinstance(x, Jet):
        return number(x) if x.level == level else x
    if isinstance(x, list | tuple) and level_in(x) >= level:
        return type(x)(_replaced(each, number, level) for each in x)
    return x


def _values(x: Any, level: int) -> Any:
    return _replaced(x, lambda jet: jet.value, level)


def _part(x: Any, n: int, level: int, constant: bool = False) -> Any:
    """Part n of x, also in lists; of a plain array the value, and zeros for n > 0."""
    if isinstance(x, Jet):
        return x.parts[n] if x.level == level else (x if n == 0 else np.zeros_like(x))
    if isinstance(x, list | tuple) and level_in(x) >= level:
        return type(x)(_part(each, n, level) for each in x)
    if n == 0 or constant or x is None or isinstance(x, str):
        return x
    if isinstance(x, list | tuple):
        return type(x)(_part(each, n, level) for each in x)
    return np.zeros_like(x)


def _aligned(parts: Any, ndim: int) -> Any:
    """The parts with axes of length 1 inserted, so that they broadcast to arrays of this rank."""
    missing = ndim - (parts.ndim - 1)
    if missing <= 0:
        return parts
    return parts.reshape(parts.shape[0], *(1,) * missing, *parts.shape[1:])


def _with_zeros(value: Any, count: int) -> Any:
    parts = np.zeros((count, *value.shape), value.dtype, **_like(value))
    parts[0] = value
    return parts


def _is_zero(jet: Jet) -> bool:
    """Whether all parts are zeros, as in a new array: jet and delta at the same time."""
    return not np.any(jet.parts)


def _lists_in(index: tuple[Any, ...]) -> int:
    """How many arrays or lists an index contains."""
    return sum(isinstance(i, np.ndarray | list) for i in index)


def _write(result: Any, out: Any) -> Any:
    """Write a result into the array that the caller provided as ``out``."""
    if level_in(result) > level_in(out):
        if not isinstance(result, JetDelta):
            raise lost("writing a result into a plain array")
        result = result.constant_part
    out[...] = result
    return out


def _like(x: Any) -> dict[str, Any]:
    return {"like": x} if isinstance(x, Jet | Dual) else {}


def _not_linear(function: Any) -> NoTangentRuleError:
    return NoTangentRuleError(
        f"{name_of(function)} of a delta is not linear in it",
        expected="a backward that multiplies the delta with what forward has remembered, and adds",
        received=name_of(function),
        hint="Jᵀ delta is linear in delta: see check_layer",
    )
