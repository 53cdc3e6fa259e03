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

    Δx = a Δ + Σ_i a_i Δ_i + Σ_ij a_ij Δ_ij
    Δx_i = a Δ_i + Σ_j a_j (Δ_ij + Δ_ji)        Δx_ij = a Δ_ij

where Δ_ij is 0 for a pair that is not carried. With this product the same ``backward`` computes the
gradients of a cost that contains derivatives. A parameter w is constant along all ε, so ∂C/∂w is
the first part of its delta.

Views (a slice, a transpose, a reshape) are views of all parts. Whether a reshape is a view depends
on the order of the axes in memory, so every part has the one that NumPy gives the value alone.

Each derivative of f comes from the table of `Dual`, f″ by sending a jet through the formula for f′.
Theory: A. Griewank, A. Walther, *Evaluating Derivatives*, 2nd ed., SIAM 2008, chapter 13.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NoReturn

import numpy as np

from chainrule.calculus.array_rules import CREATING, REDUCTIONS
from chainrule.calculus.dual import CONSTANT, RULES, Dual, rule_of
from chainrule.calculus.elementwise_rules import CURVATURES, DERIVATIVES, STEEP
from chainrule.calculus.jet_memory import (
    Parts,
    in_order,
    innermost,
    ordered,
    read_only,
    room_for,
    stacked,
    with_zeros,
)
from chainrule.calculus.messages import lost, lost_in_conversion, name_of, no_method, no_rule
from chainrule.calculus.rules import Call, Evaluation, TangentRule
from chainrule.core.arrays import has_values
from chainrule.core.errors import NoTangentRuleError, ShapeError

Pairs = tuple[tuple[int, int], ...]


def in_place(ufunc: np.ufunc) -> Callable[[Any, Any], Any]:
    """An operator such as ``*=``, which rebinds the name of a number, as NumPy does."""

    def call(self: Jet, other: Any) -> Any:
        if not self.ndim:
            return _number_in_place(ufunc, self, other)
        return ufunc(self, other, out=(self,))

    return call


def _number_in_place(ufunc: np.ufunc, number: Jet, other: Any) -> Any:
    if not innermost(number.parts).flags.writeable:
        raise NoTangentRuleError(
            "a view of a single number of a Jet cannot be changed",
            expected="an assignment by index, such as x[0] += a",
            received="a view without axes, such as x[0, ...] or x.reshape(())",
        )
    return ufunc(number, other)


class Jet(Parts):
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

    __slots__ = ("__weakref__", "level", "pairs", "parts", "views")
    __array_priority__ = 1500.0

    parts: Any
    pairs: Pairs
    level: int
    views: list[weakref.ref[Jet]] | None
    """All views of an array of zeros, with itself: they become deltas together."""

    def __init__(self, parts: Any, pairs: Pairs = (), level: int | None = None) -> None:
        inner = level_in(parts)
        self.parts, self.pairs, self.views = parts, pairs, None
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
        new.parts, new.pairs, new.level, new.views = parts, self.pairs, self.level, None
        return new

    def zeros(self, value: Any) -> Any:
        """A new array with this value alone; if that is zero, it may become a jet or a delta."""
        new = self.made(with_zeros(value, len(self.parts)))
        new.views = [weakref.ref(new)]
        return new

    def viewed(self, parts: Any) -> Any:
        """A view of this array."""
        new = self.made(parts if parts.ndim > 1 else read_only(parts))
        if self.views is not None:
            new.views = self.views
            new.views.append(weakref.ref(new))
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
    def strides(self) -> tuple[int, ...]:
        """Steps through memory, in bytes, the same for every part."""
        return self.parts.strides[1:]  # type: ignore[no-any-return]

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
        if not options and method == "__call__":
            direct = DIRECT.get(ufunc)
            if direct is not None:
                return in_order(direct(_higher(*inputs), ufunc, *inputs), inputs)
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
        from chainrule.calculus.jet_functions import of_function

        call = Call(function, args, kwargs)
        out = call.arguments.get("out")
        if out is not None:
            call.arguments["out"] = None
        like = self if function in CREATING else None
        result = of_function(_highest([*call.arguments.values(), out, like]), call, out)
        return result if out is None else _write(result, out)

    # ---- parts of the array

    def __getitem__(self, index: Any) -> Any:
        index = index if isinstance(index, tuple) else (index,)
        lists = _lists_in(index)
        if lists > 1:  # NumPy may move their axis to the front
            return self.made(stacked([part[index] for part in self.parts]))
        parts = self.parts[(slice(None), *index)]
        if lists:  # a copy, whose order in memory NumPy decides
            return self.made(ordered(parts, self.parts[0][index]))
        if parts.ndim == 1 and Ellipsis not in index:
            return self.made(np.copy(parts))  # a number is no view
        return self.viewed(parts)

    def __setitem__(self, index: Any, item: Any) -> None:
        index = index if isinstance(index, tuple) else (index,)
        if _lists_in(index) > 1:
            for n, part in enumerate(self.parts):
                part[index] = part_in(item, n, self.level)
            return
        room = (slice(None), *index)
        if isinstance(item, Jet) and item.level == self.level:
            self.take_kind_of(item)
            self.parts[room] = aligned(item.parts, self.parts[room].ndim - 1)
        else:
            if isinstance(item, Jet) and item.level > self.level:
                raise lost("assigning a Jet of a higher level into one of a lower level")
            self.parts[room] = 0.0
            self.parts[(0, *index)] = item

    def take_kind_of(self, item: Any) -> None:
        """Be a delta if one is written into zeros, which are both; with all views of them."""
        if not isinstance(item, Jet) or type(item) is type(self):
            return
        found = [view() for view in self.views or ()]
        together = [jet for jet in found if jet is not None] or [self]
        if all(map(_is_zero, together)):
            for jet in together:
                jet.__class__ = type(item)
        elif not _is_zero(item):
            raise NoTangentRuleError(
                "a delta is written into an array that is not zero",
                expected="an array of zeros, created for the delta",
                received="one with the numbers of the forward pass, or the other way round",
                hint="in a backward, create the array with np.zeros_like(delta)",
            )

    def __iadd__(self, other: Any) -> Any:
        if not self.ndim:  # as for NumPy's scalars, += rebinds the name
            return _number_in_place(np.add, self, other)
        if _ndim(other) <= self.ndim and not isinstance(other, Jet):
            self.parts[0] += other
            return self
        return np.add(self, other, out=(self,))  # type: ignore[arg-type]

    __isub__ = in_place(np.subtract)
    __imul__ = in_place(np.multiply)
    __itruediv__ = in_place(np.divide)
    __ipow__ = in_place(np.power)

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
    if method != "at":
        inputs = tuple(np.asarray(x) if isinstance(x, list | tuple) else x for x in inputs)
    if (ufunc, method) in REDUCTIONS:
        return REDUCTIONS[ufunc, method](*inputs, **{"axis": 0, **options})
    if method == "outer":
        a, b = inputs
        return ufunc(np.reshape(a, _shape(a) + (1,) * _ndim(b)), b)
    if method == "at" and ufunc is np.add:
        into, index, added = inputs
        if not isinstance(into, Jet) or into.level < at.level:
            raise lost("np.add.at on a plain array")
        into.take_kind_of(added)
        for n, part in enumerate(into.parts):
            np.add.at(part, index, part_in(added, n, at.level))
        return None
    if method != "__call__" or options.pop("where", True) is not True:
        raise no_rule(f"{name_of(ufunc)}.{method}")
    if ufunc in CONSTANT:
        return ufunc(*[part_in(x, 0, at.level) for x in inputs], **options)
    if ufunc in DIRECT and not options:
        return DIRECT[ufunc](at, ufunc, *inputs)
    if ufunc is np.matmul:
        return contraction(at, np.matmul, inputs[0], inputs[1], out)
    rule = rule_of(ufunc)
    if rule is None:
        raise no_rule(name_of(ufunc))
    if rule.partials:
        return _elementwise(at, ufunc, inputs, ufunc, options, rule)
    if rule.degree == 2:
        return contraction(at, ufunc, inputs[0], inputs[1], out)
    if any(isinstance(x, JetDelta) for x in inputs):
        raise not_linear(ufunc)
    return by_rule(at, rule, lambda arrays: ufunc(*arrays, **options), inputs)


def _elementwise(
    at: Jet,
    ufunc: np.ufunc,
    inputs: tuple[Any, ...],
    evaluate: Callable[..., Any],
    options: Mapping[str, Any] | None = None,
    rule: TangentRule | None = None,
) -> Any:
    """f(x, …), with y_i = Σ f′ x_i and y_ij = Σ f′ x_ij + Σ f″ x_i x_j, from the formulas of f′."""
    values = [part_in(x, 0, at.level) for x in inputs]
    y = evaluate(*values, **(options or {}))
    moving = [n for n, x in enumerate(inputs) if isinstance(x, Jet) and x.level == at.level]
    if any(isinstance(inputs[n], JetDelta) for n in moving):
        raise not_linear(ufunc)
    parts = [aligned(inputs[n].parts, y.ndim) for n in moving]
    partials = [(rule or RULES[ufunc]).partials[n] for n in moving]
    slopes = [partial(y, *values) for partial in partials]
    result = room_for(y, len(at.parts))
    result[0] = y
    for number, (slope, p) in enumerate(zip(slopes, parts, strict=True)):
        if number == 0:
            result[1:] = _times(ufunc, slope, p[1:])
        else:
            result[1:] += _times(ufunc, slope, p[1:])
    if at.pairs:
        start = len(at.parts) - len(at.pairs)
        for p, q, bent in _curvatures(at, ufunc, y, values, partials, moving, slopes, parts):
            for n, (i, j) in enumerate(at.pairs, start):
                term = p[1 + i] * q[1 + j]
                result[n] += _times(ufunc, bent, term)
    return at.made(result)


def _curvatures(
    at: Jet,
    ufunc: np.ufunc,
    y: Any,
    values: list[Any],
    partials: list[Any],
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
        steps = row.reshape(-1, *(1,) * _ndim(values[n]))
        steps = np.broadcast_to(steps, (len(row), *_shape(values[n])))
        jets[n] = Jet(np.concatenate([values[n][None], steps]), (), at.level)
    here = Jet(np.stack([y, *(np.broadcast_to(s, y.shape) for s in slopes)]), (), at.level)
    for partial, p in zip(partials, parts, strict=True):
        slope = partial(here, *jets)
        if isinstance(slope, Jet):  # otherwise it is constant
            for q, bent in zip(parts, slope.parts[1:], strict=True):
                yield p, q, bent


def _times(ufunc: np.ufunc, slope: Any, dx: Any) -> Any:
    """Slope · ẋ, which is 0 where ẋ is, also if the slope is infinite."""
    if ufunc in STEEP and not (has_values(slope) and np.all(np.isfinite(slope))):
        with np.errstate(invalid="ignore"):
            return np.where(dx == 0, 0, slope * dx)
    return slope * dx


def _sum(at: Jet, ufunc: np.ufunc, a: Any, b: Any) -> Any:
    """The sum or difference, part by part; a plain array has a value alone."""
    if isinstance(a, Jet) and isinstance(b, Jet) and a.level == b.level:
        if type(a) is not type(b):
            return _sum_with_zeros(at, ufunc, a, b)
        if a.parts.ndim == b.parts.ndim:
            return a.made(ufunc(a.parts, b.parts))
        ndim = max(a.ndim, b.ndim)
        return a.made(ufunc(aligned(a.parts, ndim), aligned(b.parts, ndim)))
    x, other = (a, b) if at is a else (b, a)
    parts, shape = x.parts, _shape(other)
    if shape != () and shape != x.shape:
        shape = np.broadcast_shapes(shape, x.shape)
        parts = np.broadcast_to(aligned(parts, len(shape)), (len(parts), *shape))
    parts = -parts if x is b and ufunc is np.subtract else np.copy(parts)
    if np.iscomplexobj(other):
        parts = parts + 0j
    if x is b:
        parts[0] += other
    else:
        parts[0] = ufunc(parts[0], other)
    return x.made(parts)


def _sum_with_zeros(at: Jet, ufunc: np.ufunc, a: Jet, b: Jet) -> Any:
    """The sum of a delta and a jet, which must be zeros, as in a new array."""
    if not all(isinstance(x, JetDelta) or _is_zero(x) for x in (a, b)):
        raise not_linear(ufunc)
    delta = a if isinstance(a, JetDelta) else b
    return _sum(delta, ufunc, *(x if isinstance(x, JetDelta) else x.value for x in (a, b)))


def _product(at: Jet, ufunc: np.ufunc, a: Any, b: Any) -> Any:
    """The product: the rule of Leibniz, or its adjoint if one of them is a delta."""
    if not isinstance(b, Jet) or b.level < at.level:
        a, b = b, a  # now b moves
    left = a.parts if isinstance(a, Jet) and a.level == at.level else None
    right = b.parts
    if left is None:
        return b.made(a * aligned(right, _ndim(a)))
    if left.ndim != right.ndim:
        ndim = max(left.ndim, right.ndim) - 1
        left, right = aligned(left, ndim), aligned(right, ndim)
    if isinstance(a, JetDelta):
        a, b, left, right = b, a, right, left
    if isinstance(a, JetDelta):
        raise not_linear(ufunc)
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


def _signed(at: Jet, ufunc: np.ufunc, x: Jet) -> Jet:
    """−x, +x or 2 x."""
    return x.made(ufunc(x.parts))  # type: ignore[no-any-return]


def _absolute(at: Jet, ufunc: np.ufunc, x: Jet) -> Any:
    """|x| = x · sign x."""
    if isinstance(x, JetDelta):
        raise not_linear(ufunc)
    if x.dtype.kind == "c":
        return by_rule(at, RULES[ufunc], lambda arrays: ufunc(*arrays), [x])
    return _product(at, np.multiply, np.sign(x.value), x)


def _square(at: Jet, ufunc: np.ufunc, x: Jet) -> Any:
    return _product(at, ufunc, x, x)


def _quotient(at: Jet, ufunc: np.ufunc, a: Any, b: Any) -> Any:
    """The quotient q, from a = q b: q_i = (a_i − q b_i)/b, and so on."""
    left, right = _parts_of(a, at.level), _parts_of(b, at.level)
    if isinstance(b, JetDelta):
        raise not_linear(ufunc)
    if right is None:
        return a.made(aligned(left, _ndim(b)) / b)
    if isinstance(a, JetDelta):
        return _product(at, np.multiply, a, 1 / b)
    if left is None or not np.all(right[0]):  # 0/0 has a rule of its own
        return _elementwise(at, ufunc, (a, b), ufunc)
    ndim = max(left.ndim, right.ndim) - 1
    left, right = aligned(left, ndim), aligned(right, ndim)
    q = left[0] / right[0]
    result = left - q * right
    result[0] = q
    result[1:] /= right[0]
    for n, (i, j) in enumerate(at.pairs, len(left) - len(at.pairs)):
        bent = result[1 + i] * right[1 + j] + result[1 + j] * right[1 + i]
        result[n] -= bent / right[0]
    return a.made(result)


def _function(at: Jet, ufunc: np.ufunc, x: Jet) -> Any:
    """A function of one argument without infinite slopes."""
    if at.pairs or isinstance(x, JetDelta):
        return _elementwise(at, ufunc, (x,), ufunc)
    parts = x.parts
    y = ufunc(parts[0])
    result = RULES[ufunc].partials[0](y, parts[0]) * parts
    result[0] = y
    return x.made(result)


DIRECT: dict[np.ufunc, Callable[..., Any]] = {
    **{f: _function for f, given in DERIVATIVES.items() if len(given) == 1 and f not in STEEP},
    np.add: _sum,
    np.subtract: _sum,
    np.multiply: _product,
    np.divide: _quotient,
    np.negative: _signed,
    np.positive: _signed,
    np.square: _square,
    np.absolute: _absolute,
}
"""The functions that jets meet most often."""


def contraction(at: Jet, product: Any, a: Any, b: Any, out: Any = None) -> Any:
    """A product that sums over axes: matmul, dot, einsum, …; linear in each of the two arrays.

    If it is written into a plain array, as the gradient of a parameter is, only the first part of a
    delta is computed.
    """
    left, right = _parts_of(a, at.level), _parts_of(b, at.level)
    if left is None and right is None:
        return product(a, b)
    if left is None or right is None:
        x, parts = (a, left) if right is None else (b, right)
        if isinstance(x, JetDelta) and out is not None and level_in(out) < at.level:
            return product(a, parts[0]) if x is b else product(parts[0], b)
        if product in (np.matmul, np.dot) and parts.ndim == 3 and _ndim(a) == _ndim(b) == 2:
            if x is b:
                return x.made(np.matmul(a, parts))
            rows = np.dot(parts.reshape(-1, parts.shape[2]), b)
            return x.made(rows.reshape(*parts.shape[:2], b.shape[1]))
        return x.made(stacked([product(a, p) if x is b else product(p, b) for p in parts]))
    if isinstance(a, JetDelta) and isinstance(b, JetDelta):
        raise not_linear(product)
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
    return kind.made(stacked([parts[p] for p in range(len(at.parts))]))


def _leibniz(count: int, pairs: Pairs) -> Iterator[tuple[int, int, int]]:
    """(p, q, r) for each term a_q b_r of part p of a product a b."""
    for p in range(count):
        yield p, 0, p
        if p:
            yield p, p, 0
    for p, (i, j) in enumerate(pairs, count - len(pairs)):
        yield p, 1 + i, 1 + j
        yield p, 1 + j, 1 + i


def by_rule(
    at: Jet,
    rule: TangentRule,
    evaluate: Callable[[Sequence[Any]], Any],
    arrays: Sequence[Any],
    options: Mapping[str, Any] | None = None,
) -> Any:
    """Any function with a tangent rule, one direction after the other.

    The rule gives y_i = R(y, x; x_i). It is a program of NumPy itself, so y_ij is what comes out of
    it when y, x and x_i are jets along direction j.
    """
    level, start, options = at.level, len(at.parts) - len(at.pairs), options or {}
    moves = [level_in(x) == level for x in arrays]

    def through(function: Callable[..., Any]) -> NoReturn:
        raise _WrittenOutError(function(*arrays))

    def tangent(value: Any, result: Any, moved: Any) -> Any:
        x = [replaced(a, value, level) for a in arrays]
        dx = [replaced(a, moved, level) if m else None for a, m in zip(arrays, moves, strict=True)]
        return rule.tangent(Evaluation(evaluate, result, x, dx, options, through))

    y = evaluate([replaced(a, lambda x: x.value, level) for a in arrays])
    try:
        parts = [y]
        for n in range(1, start):
            parts.append(tangent(_part(0), y, _part(n)))
        for n, (i, j) in enumerate(at.pairs, start):
            here, moved = _along(level, 0, 1 + j), _along(level, 1 + i, n)
            parts.append(tangent(here, _jets_of(y, parts[1 + j], level), moved))
    except _WrittenOutError as written:
        (whole,) = written.args
        return whole if isinstance(whole, list | tuple) else np.reshape(whole, np.shape(y))
    return _assembled(at, parts, start)


class _WrittenOutError(Exception):
    """The result of a function that is written with others: it needs no rule of its own."""


def _part(n: int) -> Callable[[Jet], Any]:
    return lambda x: x.parts[n]


def _along(level: int, one: int, other: int) -> Callable[[Jet], Jet]:
    """Two of the parts as a jet along one direction."""
    return lambda x: Jet(np.stack([x.parts[one], x.parts[other]]), (), level)


def _jets_of(y: Any, dy: Any, level: int) -> Any:
    """A result and its derivative, or several of them, as jets along one direction."""
    if isinstance(y, list | tuple):
        each = [_jets_of(*pair, level) for pair in zip(y, dy, strict=True)]
        return type(y)(*each) if hasattr(y, "_fields") else type(y)(each)
    return y if dy is None else Jet(np.stack([y, np.reshape(dy, y.shape)]), (), level)


def _assembled(at: Jet, parts: list[Any], start: int) -> Any:
    """One jet of the parts, or of each of several results."""
    y = parts[0]
    if isinstance(y, list | tuple):
        each = [_assembled(at, list(own), start) for own in zip(*parts, strict=True)]
        return type(y)(*each) if hasattr(y, "_fields") else type(y)(each)
    if y.dtype.kind not in "fc":
        return y
    result = with_zeros(y, len(parts))
    for n, part in enumerate(parts[1:], 1):
        if n >= start:  # the derivative of the tangent, if it has one
            part = part.first[0] if level_in(part) == at.level else None
        if part is not None:
            result[n] = np.reshape(part, y.shape)
    return at.made(result)


# ---- from a Jet to its parts, and back


def level_in(x: Any) -> int:
    """The highest level of a Jet or Dual in x, also in lists; 0 if there is none."""
    if isinstance(x, Jet | Dual):
        return x.level
    return max(map(level_in, x), default=0) if isinstance(x, list | tuple) else 0


def _highest(given: Any) -> Jet:
    """The Jet of the highest level in lists of arguments."""
    found = list(jets_in(list(given), None))
    return max(found, key=lambda x: x.level)


def _higher(a: Any, b: Any = None) -> Jet:
    """The one of two operands that is a Jet of the higher level."""
    if isinstance(a, Jet) and not (isinstance(b, Jet) and b.level > a.level):
        return a
    return b  # type: ignore[no-any-return]


def _parts_of(x: Any, level: int) -> Any:
    """The parts of a Jet of this level; None for a constant."""
    return x.parts if isinstance(x, Jet) and x.level == level else None


def _ndim(x: Any) -> int:
    return x.ndim if hasattr(x, "ndim") else np.ndim(x)


def _shape(x: Any) -> tuple[int, ...]:
    return x.shape if hasattr(x, "shape") else np.shape(x)


def jets_in(x: Any, level: int | None) -> Iterator[Jet]:
    """The jets of this level, or of any, in x, also in lists."""
    if isinstance(x, Jet):
        if level is None or x.level == level:
            yield x
    elif isinstance(x, list | tuple):
        for each in x:
            yield from jets_in(each, level)


def replaced(x: Any, number: Callable[[Any], Any], level: int) -> Any:
    """The same as x, with each Jet of this level in it replaced."""
    if isinstance(x, Jet):
        return number(x) if x.level == level else x
    if isinstance(x, list | tuple) and level_in(x) >= level:
        return type(x)(replaced(each, number, level) for each in x)
    return x


def part_in(x: Any, n: int, level: int, constant: bool = False) -> Any:
    """Part n of x, also in lists; of a plain array the value, and zeros for n > 0."""
    if isinstance(x, Jet):
        return x.parts[n] if x.level == level else (x if n == 0 else np.zeros_like(x))
    if isinstance(x, list | tuple) and level_in(x) >= level:
        return type(x)(part_in(each, n, level) for each in x)
    if n == 0 or constant or x is None or isinstance(x, str):
        return x
    if isinstance(x, list | tuple):
        return type(x)(part_in(each, n, level) for each in x)
    return np.zeros_like(x)


def aligned(parts: Any, ndim: int) -> Any:
    """The parts with axes of length 1 inserted, so that they broadcast to arrays of this rank."""
    missing = ndim - (parts.ndim - 1)
    if missing <= 0:
        return parts
    return parts.reshape(parts.shape[0], *(1,) * missing, *parts.shape[1:])


def _is_zero(jet: Jet) -> bool:
    """Whether all parts are zeros, as in a new array: jet and delta at the same time."""
    return not np.any(jet.parts)


def _lists_in(index: tuple[Any, ...]) -> int:
    """How many arrays or lists an index contains; beside one, a number is one, too."""
    lists = sum(isinstance(i, np.ndarray | list | tuple) for i in index)
    return lists + sum(isinstance(i, int | np.integer) for i in index) if lists else 0


def _write(result: Any, out: Any) -> Any:
    """Write a result into the array that the caller provided as ``out``."""
    if level_in(result) > level_in(out):
        if not isinstance(result, JetDelta):
            raise lost("writing a result into a plain array")
        result = result.constant_part
    out[...] = result
    return out


def not_linear(function: Any) -> NoTangentRuleError:
    """The error for a `backward` that is not linear in its delta."""
    return NoTangentRuleError(
        f"{name_of(function)} of a delta is not linear in it",
        expected="a backward that multiplies the delta with what forward has remembered, and adds",
        received=name_of(function),
        hint="Jᵀ delta is linear in delta: see check_layer",
    )
