"""Dual numbers: arrays that carry their derivative along.

A `Dual` is a value x and a tangent ẋ, the velocity at which x changes. Think of x + εẋ with ε² = 0:
then f(x + εẋ) = f(x) + ε f′(x) ẋ, and everything computed from x carries its own velocity,

    y = f(x),   ẏ = J ẋ   with the Jacobian matrix J = ∂f/∂x,

exact to rounding, without a step size. The code that computes f need not know about it: NumPy
dispatches its functions to a `Dual` (NEP 13 for ufuncs, NEP 18 for all others, NEP 35 for
``like=``), so a layer's ``forward``, written for arrays, returns Jacobian-vector products when a
`Dual` flows in. If a `Dual` flows through ``backward`` as well, the gradient carries its velocity,
too: this is the Hessian-vector product.

>>> import numpy as np
>>> x = Dual(np.array([1.0, 2.0]), np.array([1.0, 0.0]))
>>> np.sum(x**2)
Dual(5., tangent=2.)

Three tables, `elementwise_rules`, `array_rules` and `linear_algebra_rules`, give the tangent rule
of every function and the choices at kinks. `tangent_rule` adds to them.

Theory: A. Griewank, A. Walther, *Evaluating Derivatives*, 2nd ed., SIAM 2008, chapter 3.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from itertools import accumulate
from typing import Any, NoReturn

import numpy as np

from chainrule.calculus.array_methods import ArrayMethods
from chainrule.calculus.array_rules import (
    ARRAY_RULES,
    COMPOSITIONS,
    CONSTANT_FUNCTIONS,
    CREATING,
    FORMULAS,
    REDUCTIONS,
    WRITING_RULES,
    merged,
)
from chainrule.calculus.elementwise_rules import (
    CONSTANT_UFUNCS,
    DERIVATIVES,
    ELEMENTWISE_RULES,
    partials_of,
)
from chainrule.calculus.linear_algebra_rules import LINEAR_ALGEBRA_RULES
from chainrule.calculus.messages import (
    lost,
    lost_in_conversion,
    lost_in_plain_array,
    name_of,
    no_method,
    no_rule,
)
from chainrule.calculus.rules import (
    Call,
    Evaluation,
    TangentRule,
    composition,
    derivatives,
    formula,
    linear,
)
from chainrule.core.arrays import has_values
from chainrule.core.errors import DtypeError, NoTangentRuleError, ShapeError

RULES: dict[Callable[..., Any], TangentRule] = {
    **ELEMENTWISE_RULES,
    **ARRAY_RULES,
    **WRITING_RULES,
    **FORMULAS,
    **COMPOSITIONS,
    **LINEAR_ALGEBRA_RULES,
}


def rule_of(function: Callable[..., Any]) -> TangentRule | None:
    """The tangent rule of a function, in the tables or of `scipy.special`; None if it has none."""
    rule = RULES.get(function)
    if rule is None and (partials := partials_of(function)):
        rule = derivatives(*partials)
    return rule


ARITHMETIC = frozenset((*DERIVATIVES, np.matmul))
"""The ufuncs with one result whose rule needs no options."""
CONSTANT: frozenset[Callable[..., Any]] = frozenset((*CONSTANT_UFUNCS, *CONSTANT_FUNCTIONS))


def operator_of(ufunc: np.ufunc, inherited: Callable[..., Any], *, swap: bool = False) -> Any:
    """An operator such as ``+``, which usually needs no dispatch by NumPy."""

    def call(self: Dual, other: Any) -> Any:
        found = call_directly(ufunc, ufunc, (other, self) if swap else (self, other))
        return inherited(self, other) if found is None else found

    return call


PLAIN = frozenset(
    (np.ndarray, float, int, bool, complex, np.float64, np.float32, np.complex128, np.complex64)
)
"""The types of arrays and numbers without a tangent that need no further look."""


def in_place(ufunc: np.ufunc) -> Callable[[Any, Any], Any]:
    """An operator such as ``+=``, which writes into value and tangent."""

    def call(self: Dual, other: Any) -> Any:
        if _is_scalar(self):  # as for NumPy's scalars, += rebinds the name
            return ufunc(self, other)  # and leaves the old object unchanged
        if type(other) is Dual or type(other) in PLAIN:
            return write(ufunc(self, other), self, name_of(ufunc))
        return ufunc(self, other, out=(self,))

    return call


def _is_scalar(x: Any) -> bool:
    """Whether it is a number of NumPy, with its tangents, and not an array without axes."""
    while type(x) is Dual:
        x = x.value
    return isinstance(x, np.generic)


def refuse(what: str) -> Callable[..., NoReturn]:
    """A method that would lose the tangent."""

    def call(self: Dual, *args: Any, **kwargs: Any) -> NoReturn:
        raise lost(what)

    return call


def refuse_conversion(what: str) -> Callable[..., NoReturn]:
    """A method with which a function converts a Dual into a plain array or number."""

    def call(self: Dual, *args: Any, **kwargs: Any) -> NoReturn:
        raise lost_in_conversion(what)

    return call


class Dual(ArrayMethods):
    """An array and its tangent; flows through NumPy's functions like an array.

    Everything that the author of a layer writes with arrays works: operators, indexing and
    assignment, methods, ``np.*``. Views (a slice, a transpose, a reshape) are views of value and
    tangent. Comparisons give plain boolean arrays. An operation that would lose the tangent
    (``float(x)``, ``np.asarray(x)``, assignment into a plain array, a function without a rule)
    raises an error.

    Parameters
    ----------
    value
        A floating-point array, real or complex, or a number. It is not copied, unless its memory
        has gaps.
    tangent
        The derivative of ``value`` with respect to a real number ε, with the same shape or one that
        broadcasts to it. It is copied, with the dtype of ``value``; if that is real, so is the
        tangent.
    level
        Distinguishes nested derivatives. A `Dual` of a higher level treats one of a lower level
        as a constant; two of the same level belong to the same derivative. The default is one
        more than the level of ``value`` and ``tangent``, where arrays have level 0, so
        ``Dual(Dual(x, dx), ddx)`` gives second derivatives. You only need to pass a level in code
        that differentiates with respect to a plain array inside a function that is itself being
        differentiated: choose one higher than all others there.

    Attributes
    ----------
    value, tangent
        Arrays with the same shape, dtype and memory layout; NumPy scalars where NumPy returns a
        scalar, for example for the sum of all entries.
    level
        As above.

    Raises
    ------
    DtypeError
        If the value does not consist of floating-point numbers, or the tangent of a real value is
        complex.
    ShapeError
        If the tangent does not have the shape of the value.
    NoTangentRuleError
        If an operation would lose a tangent.
    """

    __slots__ = ("level", "tangent", "value")
    __array_priority__ = 1000.0

    value: Any
    tangent: Any
    level: int

    def __init__(self, value: Any, tangent: Any, level: int | None = None) -> None:
        inner = max(level_of(value), level_of(tangent))
        self.level = inner + 1 if level is None else level
        if self.level <= inner:
            raise NoTangentRuleError(
                "the level of a Dual must be higher than the levels of its parts",
                expected=f"a level above {inner}",
                received=f"level {level}",
                hint="omit the level: the default is one more than that of the parts",
            )
        value, tangent = (x if isinstance(x, Dual) else np.asarray(x) for x in (value, tangent))
        kinds = {"f": "fbui", "c": "cfbui"}.get(value.dtype.kind)
        if kinds is None or tangent.dtype.kind not in kinds:
            raise DtypeError(
                "a Dual must consist of floating-point numbers, both parts real or complex",
                expected="float64 or float32; complex128 or complex64 for complex numbers",
                received=value.dtype if kinds is None else f"a tangent of type {tangent.dtype}",
                hint="convert it with .astype(float), or keep constants as plain arrays",
            )
        if not broadcasts_to(tangent, value):
            raise ShapeError(
                "the tangent and the value have different shapes",
                expected=value.shape,
                received=tangent.shape,
                hint="pass one number for each entry of the value",
            )
        self.value, self.tangent = alike(value, np.copy(tangent))

    def __getattr__(self, name: str) -> Any:
        if not name.startswith("_") and hasattr(np.ndarray, name):
            raise no_method(name)
        raise AttributeError(f"a Dual has no attribute {name!r}")

    # ---- NumPy's protocols

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **options: Any) -> Any:
        """NumPy calls this instead of a ufunc (NEP 13)."""
        if not options and method == "__call__" and ufunc in ARITHMETIC:
            found = call_directly(ufunc, ufunc, inputs)
            if found is not None:
                return found
        if not all(map(is_understood, inputs)):
            return NotImplemented
        out = options.pop("out", None)
        if isinstance(out, tuple) and len(out) == 1:
            (out,) = out
        if method != "__call__":
            return call_method(ufunc, method, inputs, out, options)
        inputs = tuple(np.asarray(x) if isinstance(x, list | tuple) else x for x in inputs)
        if options.get("where", True) is not True and ufunc.signature is None:
            return call_where(ufunc, inputs, out, **options)
        return call_ufunc(ufunc, inputs, out, options)

    def __array_function__(
        self,
        function: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
    ) -> Any:
        """NumPy calls this instead of any other function (NEP 18, and NEP 35 for ``like=``)."""
        if not all(issubclass(kind, Dual | np.ndarray) for kind in types):
            return NotImplemented
        call = Call(function, args, kwargs)
        level = max(self.level, level_of(list(call.arguments.values())))
        if function in CREATING:
            call.arguments.update(like(self if self.level < level else self.value))
        return call_function(call, level)

    __array__ = refuse_conversion("np.asarray(x), or assigning x into a plain array,")
    __float__ = refuse_conversion("float(x), or assigning x into a plain array,")
    __int__ = refuse_conversion("int(x)")
    __complex__ = refuse_conversion("complex(x), or assigning x into a plain array,")
    item = refuse("x.item()")
    tolist = refuse("x.tolist()")
    tobytes = refuse("x.tobytes()")

    # ---- attributes of an array

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of value and tangent."""
        return self.value.shape  # type: ignore[no-any-return]

    @property
    def dtype(self) -> np.dtype[Any]:
        """The dtype of value and tangent."""
        return self.value.dtype  # type: ignore[no-any-return]

    @property
    def strides(self) -> tuple[int, ...]:
        """Steps through memory, in bytes, the same for value and tangent."""
        return self.value.strides  # type: ignore[no-any-return]

    @property
    def T(self) -> Any:  # noqa: N802  (NumPy's name)
        """The axes in reverse order."""
        return dual(self.value.T, self.tangent.T, self.level)

    def __len__(self) -> int:
        return len(self.value)

    def __bool__(self) -> bool:
        return bool(self.value)

    def __repr__(self) -> str:
        value, tangent = (
            repr(part)
            if isinstance(part, Dual)
            else np.array2string(part, separator=", ", prefix=prefix)
            for part, prefix in ((self.value, "Dual("), (self.tangent, "     tangent="))
        )
        separator = ",\n     " if "\n" in value or len(value) + len(tangent) > 70 else ", "
        plain = self.dtype in (np.float64, np.complex128)
        dtype = "" if plain else f", dtype={self.dtype}"
        level = "" if self.level == 1 else f", level={self.level}"
        return f"Dual({value}{separator}tangent={tangent}{dtype}{level})"

    def __format__(self, specification: str) -> str:
        return format(self.value, specification) if specification else repr(self)

    # ---- parts

    def __getitem__(self, index: Any) -> Any:
        return dual(self.value[index], self.tangent[index], self.level)

    def __setitem__(self, index: Any, item: Any) -> None:
        if level_of(item) > self.level:
            raise lost("assigning a Dual of a higher level into one of a lower level")
        if isinstance(item, list | tuple):
            item = np.asarray(item, **like(self))
        tangent = tangent_of(item, self.level)
        self.value[index] = value_of(item, self.level)
        self.tangent[index] = 0.0 if tangent is None else tangent

    # ---- operators that NumPy's mixin does slowly, or does not get right

    __add__ = operator_of(np.add, ArrayMethods.__add__)
    __radd__ = operator_of(np.add, ArrayMethods.__radd__, swap=True)
    __sub__ = operator_of(np.subtract, ArrayMethods.__sub__)
    __rsub__ = operator_of(np.subtract, ArrayMethods.__rsub__, swap=True)
    __mul__ = operator_of(np.multiply, ArrayMethods.__mul__)
    __rmul__ = operator_of(np.multiply, ArrayMethods.__rmul__, swap=True)
    __truediv__ = operator_of(np.divide, ArrayMethods.__truediv__)
    __rtruediv__ = operator_of(np.divide, ArrayMethods.__rtruediv__, swap=True)
    __matmul__ = operator_of(np.matmul, ArrayMethods.__matmul__)
    __rmatmul__ = operator_of(np.matmul, ArrayMethods.__rmatmul__, swap=True)

    def __pow__(self, exponent: Any) -> Any:
        """``x**a``: for some exponents NumPy's operator is more accurate than `numpy.power`."""
        found = call_directly(operator.pow, np.power, (self, exponent))
        if found is not None:
            return found
        if not is_understood(exponent):
            return NotImplemented
        arrays = (self, np.asarray(exponent) if isinstance(exponent, list) else exponent)
        return push_forward("numpy.power", RULES[np.power], lambda v: v[0] ** v[1], arrays)

    def __ipow__(self, exponent: Any) -> Any:
        power = self**exponent
        return power if _is_scalar(self) else write(power, self, "x **= a")

    __iadd__ = in_place(np.add)
    __isub__ = in_place(np.subtract)
    __imul__ = in_place(np.multiply)
    __itruediv__ = in_place(np.divide)
    __ifloordiv__ = in_place(np.floor_divide)
    __imod__ = in_place(np.remainder)
    __imatmul__ = in_place(np.matmul)

    def astype(self, dtype: Any, **options: Any) -> Any:
        """Convert to another floating-point dtype; integers and booleans give a plain array."""
        value, kind = self.value.astype(dtype, **options), np.dtype(dtype).kind
        if kind in "bui":
            return value
        if kind not in "fc":
            raise lost(f"x.astype({np.dtype(dtype)})")
        return dual(value, self.tangent.astype(dtype, **options), self.level)


def tangent_rule(
    function: Callable[..., Any], *arrays: str
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Register the tangent rule of a function, or replace an existing rule.

    The rule is called as ``rule(result, *values, *tangents, **options)`` with the result of the
    function, the values of its arrays, their tangents (zeros for a constant), and its other
    arguments under NumPy's names. It returns the tangent of the result, ẏ = J ẋ. The rule receives
    plain arrays, calls ``np.*`` on them and must not change them.

    Parameters
    ----------
    function
        A NumPy function, or a ufunc from any library, such as those of `scipy.special`.
    arrays
        Names of the arguments that may carry a tangent; by default the first one, or all inputs
        of a ufunc.

    Examples
    --------
    The different numbers in an array, in ascending order:

    >>> @tangent_rule(np.unique)
    ... def unique(y, a, da):
    ...     return da.ravel()[np.unique(a, return_index=True)[1]]
    >>> np.unique(Dual([3.0, 1.0, 3.0], [5.0, 2.0, 5.0]))
    Dual([1., 3.], tangent=[2., 5.])
    """

    def register(rule: Callable[..., Any]) -> Callable[..., Any]:
        RULES[function] = formula(rule, *arrays)
        return rule

    return register


# ---- the push-forward: values and tangents through one call


def push_forward(
    name: str,
    rule: TangentRule,
    evaluate: Callable[[Sequence[Any]], Any],
    arrays: Sequence[Any],
    options: Mapping[str, Any] | None = None,
    out: Any = None,
    level: int = 0,
) -> Any:
    """Evaluate a function on the values, and its rule on the tangents.

    ``evaluate(arrays)`` calls the function. Only tangents of the highest level are handled here; a
    `Dual` of a lower level is a constant, and ``evaluate`` dispatches on it again.
    """
    level = max(level, level_of(arrays), level_of(out))
    values = [value_of(array, level) for array in arrays]
    tangents = [tangent_of(array, level) for array in arrays]
    result = evaluate(values)
    tangent = None

    def through(function: Callable[..., Any]) -> Any:
        return tangent_of(function(*arrays), level)

    if any(dx is not None for dx in tangents):
        at = Evaluation(evaluate, result, values, tangents, options or {}, through)
        tangent = rule.tangent(at)
    result = duals(result, tangent, level, name)
    return result if out is None else write(result, out, name)


def call_directly(function: Callable[..., Any], ufunc: np.ufunc, inputs: tuple[Any, ...]) -> Any:
    """What `push_forward` computes for arrays and numbers, without options; None for other inputs.

    Small arrays take most of their time outside of arithmetic, so this does only what is necessary.
    The function is the ufunc, or an operator that equals it.
    """
    level, values, tangents = 0, [], []
    for x in inputs:
        kind = type(x)
        if kind is Dual:
            if level != x.level:
                if level:
                    return None  # one of the two is a constant for the other
                level = x.level
            values.append(x.value)
            tangents.append(x.tangent)
        elif kind in PLAIN:
            values.append(x)
            tangents.append(None)
        else:
            return None
    rule, result = RULES[ufunc], function(*values)
    if rule.direct is not None:
        tangent = rule.direct(result, values, tangents)
    else:
        again, through = starting(function), lambda f: tangent_of(f(*inputs), level)
        tangent = rule.tangent(Evaluation(again, result, values, tangents, {}, through))
    kind = type(result)
    if (
        kind is np.ndarray is type(tangent)
        and result.shape == tangent.shape
        and result.strides == tangent.strides
        and result.dtype == tangent.dtype
    ):
        made = object.__new__(Dual)
        made.value, made.tangent, made.level = result, tangent, level
        return made
    return dual(result, tangent, level, name_of(ufunc))


def starting(function: Callable[..., Any]) -> Callable[[Sequence[Any]], Any]:
    """The function of a sequence of arguments."""
    return lambda arguments: function(*arguments)


def call_ufunc(ufunc: np.ufunc, inputs: tuple[Any, ...], out: Any, options: dict[str, Any]) -> Any:
    """Elementwise functions, ``matmul`` and similar functions."""
    if ufunc in CONSTANT:
        return call_constant(name_of(ufunc), ufunc, inputs, options, out)
    rule = rule_of(ufunc)
    if rule is None:
        raise no_rule(name_of(ufunc))
    if options.get("dtype") is not None:
        inputs = tuple(x.astype(options["dtype"]) if np.ndim(x) else x for x in inputs)
    return push_forward(
        name_of(ufunc), rule, lambda arrays: ufunc(*arrays, **options), inputs, {}, out
    )


def call_where(
    ufunc: np.ufunc, inputs: tuple[Any, ...], out: Any, where: Any, **options: Any
) -> Any:
    """A ufunc at the entries where a condition holds: gather, compute, scatter."""
    if ufunc.nout > 1:
        raise no_rule(f"{name_of(ufunc)} with the argument 'where'")
    shape = np.broadcast_shapes(*map(np.shape, (where, *inputs, *([] if out is None else [out]))))
    here = np.broadcast_to(where, shape)
    gathered = (np.broadcast_to(x, shape)[here] if np.ndim(x) else x for x in inputs)
    computed = ufunc(*gathered, **options)
    if out is None:  # NumPy leaves the other entries uninitialised; here they are zero
        out = np.zeros(shape, computed.dtype, **like(computed))
    if level_of(computed) > level_of(out):
        raise lost_in_plain_array(f"writing the result of {name_of(ufunc)} into a plain array")
    out[here] = computed
    return out


def call_method(
    ufunc: np.ufunc, method: str, inputs: tuple[Any, ...], out: Any, options: dict[str, Any]
) -> Any:
    """``np.add.reduce`` and other methods of ufuncs."""
    name, bound = f"{name_of(ufunc)}.{method}", getattr(ufunc, method)
    if ufunc in CONSTANT:
        return call_constant(name, bound, inputs, options, out)
    if method == "outer":
        a, b = inputs
        return call_ufunc(ufunc, (np.reshape(a, np.shape(a) + (1,) * np.ndim(b)), b), out, options)
    if method == "at" and ufunc in (np.add, np.subtract):
        into, index, *others = inputs
        if not isinstance(into, Dual) or into.level < level_of(others):
            raise lost_in_plain_array(f"{name} on a plain array")
        rule = linear()
        return push_forward(name, rule, lambda v: bound(v[0], index, *v[1:]), [into, *others])
    if method == "reduceat" and ufunc is np.add:
        (a, index) = inputs
        return push_forward(name, linear(), lambda v: bound(v[0], index, **options), [a], {}, out)
    if (ufunc, method) in REDUCTIONS:
        if out is not None:
            options["out"] = out
        return REDUCTIONS[ufunc, method](*inputs, **{"axis": 0, **options})
    if method not in ("reduce", "accumulate") or ufunc not in RULES:
        raise no_rule(name)
    rule = one_by_one(ufunc, method == "accumulate")
    refuse_options(name, rule, options)
    return push_forward(name, rule, lambda v: bound(v[0], **options), inputs, options, out)


def one_by_one(ufunc: np.ufunc, keep_all: bool) -> TangentRule:
    """The rule of a ufunc that takes the entries along an axis one after the other."""

    def fold(a: Any, axis: Any = 0, keepdims: bool = False) -> Any:
        results = list(accumulate(np.moveaxis(merged(a, axis), -1, 0), ufunc))
        if not results:
            return None  # the constant that NumPy returns for no entries
        return np.moveaxis(np.stack(results), 0, axis) if keep_all else results[-1]

    return composition(fold)


def call_function(call: Call, level: int) -> Any:
    """A function that is not a ufunc."""
    name, rule = name_of(call.function), RULES.get(call.function)
    out = call.arguments.get("out")
    if out is not None:
        call.arguments["out"] = None
    if call.function in CONSTANT:
        names = tuple(call.arguments)

        def evaluate_all(*arguments: Any) -> Any:
            return call.evaluate(dict(zip(names, arguments, strict=True)))

        return call_constant(name, evaluate_all, tuple(call.arguments.values()), {}, out, level)
    if rule is None:
        raise no_rule(name)

    if rule.condition in call.arguments:
        condition = call.arguments[rule.condition]
        call.arguments[rule.condition] = value_of(condition, level)
    arrays = call.arrays_of(rule)
    options = call.options(rule)
    for key, option in options.items():
        if level_of(option) == level:
            raise lost(
                f"the argument {key!r} of {name}, for which the rule has no derivative,",
                f"pass {key} as a plain array or number, or replace the rule with "
                "chainrule.calculus.dual.tangent_rule",
            )
    refuse_options(name, rule, options)
    given = [call.arguments.get(key) for key in arrays]
    if call.function in WRITING_RULES and level_of(given[0]) < level:
        raise lost_in_plain_array(f"{name} into a plain array")

    def evaluate(changed: Sequence[Any]) -> Any:
        return call.evaluate(dict(zip(arrays, changed, strict=True)))

    return push_forward(name, rule, evaluate, given, options, out, level)


def refuse_options(name: str, rule: TangentRule, options: Mapping[str, Any]) -> None:
    """Raise an error for an option that a rule does not support."""
    for key in options:
        if rule.accepted is not None and key not in rule.accepted:
            raise no_rule(f"{name} with the argument {key!r}")


def call_constant(
    name: str,
    function: Callable[..., Any],
    args: tuple[Any, ...],
    options: dict[str, Any],
    out: Any,
    level: int = 0,
) -> Any:
    """A function whose derivative is zero: it only receives values."""
    level = max(level, level_of(args), level_of(out))
    result = function(*(value_of(x, level) for x in args), **options)
    if level_of(result) < level:  # or a function among the arguments used a Dual
        result = duals(result, None, level, name)
    return result if out is None else write(result, out, name)


def write(result: Any, out: Any, name: str) -> Any:
    """Write a result into the array that the caller provided as ``out``."""
    if level_of(result) > level_of(out):
        raise lost_in_plain_array(f"writing the result of {name} into a plain array")
    if type(result) is type(out) is Dual and (result.level, result.shape) == (out.level, out.shape):
        np.copyto(out.value, result.value, casting="same_kind")
        np.copyto(out.tangent, result.tangent, casting="same_kind")
        return out
    if not broadcasts_to(result, out):
        raise ValueError(
            f"non-broadcastable output operand with shape {out.shape} doesn't match the "
            f"broadcast shape {np.shape(result)}"
        )
    np.copyto(out, result, casting="same_kind")
    return out


# ---- from a Dual to its parts, and back


def level_of(x: Any) -> int:
    """The highest level of any Dual in x; 0 if there is none."""
    if isinstance(x, Dual):
        return x.level
    return max(map(level_of, x), default=0) if isinstance(x, (list, tuple)) else 0


def value_of(x: Any, level: int) -> Any:
    """The value of a Dual of this level, also within lists; anything else unchanged."""
    if isinstance(x, Dual):
        return x.value if x.level == level else x
    if isinstance(x, (list, tuple)) and level_of(x) == level:
        return type(x)(value_of(part, level) for part in x)
    return x


def tangent_of(x: Any, level: int) -> Any:
    """The tangent of a Dual of this level, also within lists; None if there is none."""
    if isinstance(x, Dual):
        return x.tangent if x.level == level else None
    if isinstance(x, (list, tuple)) and level_of(x) == level:
        return [tangent_of(part, level) for part in x]
    return None


def duals(value: Any, tangent: Any, level: int, name: str) -> Any:
    """The results of a function, one array or several, as Duals."""
    if not isinstance(value, (list, tuple)):
        return dual(value, tangent, level, name)
    tangents = [None] * len(value) if tangent is None else tangent
    parts = [duals(v, t, level, name) for v, t in zip(value, tangents, strict=True)]
    return type(value)(*parts) if hasattr(value, "_fields") else type(value)(parts)


def dual(value: Any, tangent: Any, level: int, name: str = "") -> Any:
    """A Dual that owns its parts; a result that cannot carry a tangent and has none stays plain."""
    kind = getattr(getattr(value, "dtype", None), "kind", None)
    if kind is None or kind not in "fc":
        if tangent is None:
            return value
        raise lost(f"{name}, whose result is of type {value.dtype} here,")
    made = object.__new__(Dual)
    made.level = level
    made.value, made.tangent = alike(value, tangent)
    return made


def alike(value: Any, tangent: Any) -> tuple[Any, Any]:
    """Value and tangent, the tangent with the shape, dtype and memory layout of the value.

    The layout matters: it decides whether a reshape is a view or a copy. This must be the same
    for both, or writing into a reshaped Dual would change only one of them.
    """
    if isinstance(value, np.generic):
        if type(tangent) is type(value):
            return value, tangent
        return value, value.dtype.type(0 if tangent is None else np.reshape(tangent, ()))
    if isinstance(tangent, Dual) and not isinstance(value, Dual):
        value = np.asarray(value, **like(tangent))
    if (
        isinstance(tangent, type(value))
        and tangent.shape == value.shape
        and tangent.dtype == value.dtype
        and same_layout(tangent, value)
    ):
        return value, tangent
    room = np.empty_like(value)
    if not same_layout(value, room):
        value = np.copy(value)
    np.copyto(room, 0 if tangent is None else tangent, casting="same_kind")
    return value, room


def same_layout(a: Any, b: Any) -> bool:
    """Whether both arrays have the same strides along every axis longer than 1."""
    if a.strides == b.strides:
        return True
    return all(n < 2 or s == t for n, s, t in zip(a.shape, a.strides, b.strides, strict=True))


def broadcasts_to(a: Any, b: Any) -> bool:
    """Whether a has, or broadcasts to, the shape of b."""
    try:
        return bool(np.broadcast_shapes(np.shape(a), np.shape(b)) == np.shape(b))
    except ValueError:
        return False


def like(array: Any) -> dict[str, Any]:
    """The argument that makes NumPy create an array of this kind."""
    return {"like": array} if isinstance(array, Dual) or not has_values(array) else {}


def is_understood(x: Any) -> bool:
    """Whether an operand is an array or a number, and not an array of another library."""
    return isinstance(x, Dual | np.ndarray | np.generic) or not hasattr(x, "__array_ufunc__")
