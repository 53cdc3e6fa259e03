"""The activation layer: one function, applied to every element.

    y = f(z)        the second half of the lecture's step from layer to layer

Each y depends only on its own z, so the Jacobian is diagonal and its product with Δ is f′(z) Δ,
element by element. The functions f and their derivatives f′ are in `chainrule.layers.functions`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
from attrs import field

from chainrule.core.equations import Equations
from chainrule.core.errors import ConfigurationError
from chainrule.core.layer import Layer
from chainrule.core.types import Array
from chainrule.layers import functions
from chainrule.layers.functions import Function, Pair


class Activation(Layer):
    """y = f(z), element by element, for rows of any shape.

    Forward  y = f(z)
    Backward  ∂C/∂z = f′(z) Δ,  with Δ = ∂C/∂y

    Parameters
    ----------
    function
        A name such as ``"tanh"``, a `Function` such as ``LeakyRelu(0.2)``, or any function of
        arrays, together with its ``derivative``.
    derivative
        f′ as a function of z; needed only if ``function`` is not one of chainrule's own.

    Raises
    ------
    ConfigurationError
        If the name is unknown (the closest one is suggested), or f′ is missing.

    Examples
    --------
    >>> Activation("sigmoid")(np.array([[0.0]]))
    array([[0.5]])
    >>> Activation(np.sin, np.cos).derivative(np.array([0.0]))
    array([1.])
    """

    accepts_any_shape: ClassVar[bool] = True

    function: Any
    _derivative: Any = field(default=None, eq=False, alias="derivative")

    def __attrs_post_init__(self) -> None:
        if self._derivative is not None and not isinstance(self.function, Function):
            self.function = Pair(self.function, self._derivative)
        elif callable(self.function) and not isinstance(self.function, Function):
            raise ConfigurationError(
                "Activation: the backward pass needs the derivative of the function",
                expected="Activation(function, derivative), or the name of a known function",
                received=f"Activation({getattr(self.function, '__name__', self.function)})",
                hint="pass f′ as a function of z: Activation(np.sin, np.cos)",
            )
        self.function = functions.get(self.function)
        self._derivative = None  # self.function holds it now

    @property
    def derivative(self) -> Callable[[Array], Array]:
        """f′, as a function of z."""
        slope: Callable[[Array], Array] = self.function.derivative
        return slope

    def forward(self, inputs: Array) -> Array:
        function = self.function
        outputs = function.value(inputs)
        # If f′ can be computed from y = f(z) alone, z need not be kept.
        self.remembered = inputs if function.derivative_from_value is None else outputs
        return outputs

    def backward(self, delta: Array) -> Array:
        function = self.function
        slope = (function.derivative_from_value or function.derivative)(self.remembered)
        if type(slope) is not np.ndarray or type(delta) is not np.ndarray:
            return slope * delta  # one Dual may have no room for the tangents of the other
        if isinstance(function, Pair):
            return slope * delta
        slope *= delta  # a Function returns a new array, so this overwrites no other data
        return slope

    def apply(self, inputs: Array) -> Array:
        return self.function.value(inputs)

    def equations(self) -> Equations:
        return Equations("f(x)", "delta * df(x)", function=self.function)

    def __repr__(self) -> str:
        name = self.function.name
        has_name = name in functions.KNOWN and functions.KNOWN[name]() == self.function
        if isinstance(self.function, Pair):
            return f"Activation{str(self.function).removeprefix('Pair')}"
        return f"Activation({name!r})" if has_name else f"Activation({self.function!r})"
