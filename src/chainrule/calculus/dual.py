"""Dual numbers: arrays that carry their derivative along.

A `Dual` is a value x and a tangent ẋ, the velocity at which x changes. Think of x + εẋ with ε² = 0:
then f(x + εẋ) = f(x) + ε f′(x) ẋ, and whatever is computed from x carries its own velocity,

    y = f(x),   ẏ = J ẋ   with the Jacobian matrix J = ∂f/∂x,

exact to rounding, without a step size. Nobody needs to know in advance: NumPy hands its functions
over to a `Dual` that it meets (NEP 13 for ufuncs, NEP 18 for all others, NEP 35 for ``like=``), so
a layer's ``forward``, written for arrays, gives Jacobian-vector products when a `Dual` flows in.
Let one flow through ``backward`` too and the gradient carries its own velocity: that is the
Hessian-vector product.

>>> import numpy as np
>>> x = Dual(np.array([1.0, 2.0]), np.array([1.0, 0.0]))
>>> np.sum(x**2)
Dual(5.0, tangent=2.0)

What every function does to a tangent stands in two tables, `elementwise_rules` and `array_rules`,
with the choices that are made at kinks. `tangent_rule` adds to them.

The theory: A. Griewank, A. Walther, *Evaluating Derivatives*, 2nd ed., SIAM 2008, chapters 3 and 13.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, ClassVar, NoReturn

import numpy as np

from chainrule.calculus import array_rules
from chainrule.calculus.array_rules import ARRAY_RULES, FORMULAS, REDUCTIONS, WRITING_RULES
from chainrule.calculus.elementwise_rules import CONSTANT_UFUNCS, ELEMENTWISE_RULES
from chainrule.calculus.rules import Call, Evaluation, Rule, formula, name_of, no_rule
from chainrule.core.errors import DtypeError, NoTangentRuleError, ShapeError

RULES: dict[Callable[..., Any], Rule] = {
    **ELEMENTWISE_RULES,
    **ARRAY_RULES,
    **WRITING_RULES,
    **FORMULAS,
}
CONSTANT = CONSTANT_UFUNCS | array_rules.CONSTANT_FUNCTIONS


def method(function: Callable[..., Any]) -> Callable[..., Any]:
    """A NumPy function as a method of the array that is its first argument."""

    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        return function(self, *args, **kwargs)

    call.__doc__ = f"``numpy.{function.__name__}`` of this array."
    return call


def in_place(ufunc: np.ufunc) -> Callable[[Any, Any], Any]:
    """The operator ``+=`` and its kin: writes into both parts, as an array writes into itself."""

    def call(self: Dual, other: Any) -> Any:
        if isinstance(self.value, np.generic):  # NumPy's scalars never change; the name does
            return ufunc(self, other)
        return ufunc(self, other, out=(self,))

    return call


class Dual(np.lib.mixins.NDArrayOperatorsMixin):
    """An array and its tangent; flows through NumPy's functions in place of an array.

    Everything that an author of a layer writes with arrays works: operators, indexing and
    assignment, methods, ``np.*``. Views (a slice, a transpose, a reshape) are views of both parts.
    Comparisons give plain boolean arrays. What would lose the tangent (``float(x)``,
    ``np.asarray(x)``, assignment into a plain array, a function without a rule) is refused.

    Parameters
    ----------
    value
        A real floating-point array, or a number. It is not copied, unless its memory has gaps.
    tangent
        The derivative of ``value``: of the same shape, or one that broadcasts to it. It is copied,
        in the type of ``value``.
    level
        Which derivative this one is, when derivatives are taken within derivatives. A `Dual` of a
        higher level sees one of a lower level as a constant; two of the same level belong to the
        same derivative. By default one more than the level of ``value`` and ``tangent``, where
        arrays have level 0; so ``Dual(Dual(x, dx), ddx)`` gives second derivatives. Only who
        differentiates with respect to a plain array inside of a function that is itself being
        differentiated must give a level, higher than that of all else in there.

    Attributes
    ----------
    value, tangent
        Arrays of the same shape, type and memory layout; NumPy scalars where NumPy gives a scalar,
        as for a sum over all.
    level
        As above.

    Raises
    ------
    DtypeError
        The value does not consist of real floating-point numbers.
    ShapeError
        The tangent does not have the value's shape.
    NoTangentRuleError
        Later, by whatever would lose a tangent.
    """

    __slots__ = ("level", "tangent", "value")
    __hash__: ClassVar[None]  # type: ignore[assignment]
    __array_priority__ = 1000.0

    value: Any
    tangent: Any
    level: int

    def __init__(self, value: Any, tangent: Any, level: int | None = None) -> None:
        inner = max(level_of(value), level_of(tangent))
        self.level = inner + 1 if level is None else level
        if self.level <= inner:
            raise NoTangentRuleError(
                "a Dual of another derivative stands inside of this one",
                expected=f"a level higher than {inner}",
                received=f"level {level}",
                mend="leave the level out: it is then one more than that of the parts",
            )
        if not isinstance(value, Dual):
            value = np.asarray(value)
        tangent = tangent if isinstance(tangent, Dual) else np.asarray(tangent)
        for part, name in ((value, "value"), (tangent, "tangent")):
            if part.dtype.kind != "f" and (name == "value" or part.dtype.kind not in "bui"):
                raise DtypeError(
                    f"a Dual's {name} consists of real floating-point numbers",
                    expected="float64 or float32",
                    received=part.dtype,
                    mend="convert it with .astype(float), if it is one that can change",
                )
        try:
            broadcasts = np.broadcast_shapes(tangent.shape, value.shape) == value.shape
        except ValueError:
            broadcasts = False
        if not broadcasts:
            raise ShapeError(
                "a tangent has the shape of its value",
                expected=value.shape,
                received=tangent.shape,
                mend="give one number for each entry of the value",
            )
        if not same_layout(value, np.empty_like(value)):
            value = value.copy()
        self.value, self.tangent = value, np.array(tangent, like=tangent)
        self.value, self.tangent = alike(self.value, self.tangent, fresh=True)

    # ---- NumPy's protocols ---------------------------------------------------------------------

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **options: Any) -> Any:
        """What NumPy calls in place of ``ufunc`` (NEP 13)."""
        if not all(map(is_array_or_number, inputs)):
            return NotImplemented
        inputs = tuple(np.asarray(x) if isinstance(x, list | tuple) else x for x in inputs)
        out = options.pop("out", None)
        if isinstance(out, tuple) and len(out) == 1:
            (out,) = out
        if method != "__call__" or ufunc in CONSTANT:
            return call_method(ufunc, method, inputs, out, options)
        if ufunc not in RULES:
            raise no_rule(name_of(ufunc))
        if options.get("where", True) is not True:
            return call_where(ufunc, inputs, out, **options)
        if options.get("dtype") is not None:
            inputs = tuple(x.astype(options["dtype"]) if np.ndim(x) else x for x in inputs)

        def evaluate(arrays: Sequence[Any]) -> Any:
            return ufunc(*arrays, **options)

        return push_forward(name_of(ufunc), RULES[ufunc], evaluate, inputs, options, out)

    def __array_function__(
        self,
        function: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
    ) -> Any:
        """What NumPy calls in place of any function that is not a ufunc (NEP 18, NEP 35)."""
        if not all(issubclass(kind, Dual | np.ndarray) for kind in types):
            return NotImplemented
        level = max(self.level, highest_level(args), highest_level(kwargs))
        if function in CONSTANT:
            return call_constant(function, args, kwargs, level)
        rule = RULES.get(function)
        if rule is None:
            raise no_rule(name_of(function))
        call = Call(function, args, kwargs)
        ...
