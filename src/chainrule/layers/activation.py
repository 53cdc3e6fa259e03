"""The activation layer: one function, applied to every element.

    y = f(z)        the second half of the lecture's step from layer to layer

Each y depends only on its own z, so the Jacobian is diagonal and its product with Δ is f′(z) Δ,
element by element. The functions f and their derivatives f′ are in `chainrule.layers.functions`. A
function that has parameters to learn is a layer of its own, such as `PReLU`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
from attrs import field

from chainrule.core.equations import Equations
from chainrule.core.errors import ConfigurationError, shortened
from chainrule.core.layer import Layer
from chainrule.core.types import Array, RowPattern, Shape
from chainrule.layers import functions
from chainrule.layers.dense import ones, vectors
from chainrule.layers.functions import Function, Pair


def _function_of(function: Any, derivative: Any) -> Function:
    """A function of chainrule by name or as it is, or any other with its derivative."""
    is_own = callable(function) and not isinstance(function, Function | type)
    if derivative is not None:
        if not is_own:
            raise ConfigurationError(
                "Activation: a derivative is given for a function that has its own",
                expected="Activation(function, derivative) with a function of arrays, such as "
                "Activation(np.sin, np.cos)",
                received=f"Activation({shortened(function)}, {shortened(derivative)})",
                hint="omit it; a parameter belongs to the function, as in LeakyRelu(0.2)",
            )
        return Pair(function, derivative)
    if is_own:
        name = getattr(function, "__name__", function)
        raise ConfigurationError(
            "Activation: the backward pass needs the derivative of the function",
            expected="Activation(function, derivative), or the name of a known function",
            received=f"Activation({name})",
            hint=f"Activation({name!r})"
            if name in functions.KNOWN
            else "pass f′ as a function of z: Activation(np.sin, np.cos)",
        )
    return functions.get(function)


def _function_set(layer: Activation, attribute: Any, function: Any) -> Function:
    return _function_of(function, None)


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

    function: Any = field(on_setattr=_function_set)
    _derivative: Any = field(default=None, eq=False, alias="derivative")

    def __attrs_post_init__(self) -> None:
        function = _function_of(self.function, self._derivative)
        object.__setattr__(self, "function", function)
        self._derivative = None  # self.function holds it now

    @property
    def derivative(self) -> Callable[[Array], Array]:
        """f′, as a function of z."""
        slope: Callable[[Array], Array] = self.function.derivative
        return slope

    def forward(self, inputs: Array) -> Array:
        outputs, self.remembered = self.function.value_and_memory(inputs)
        return outputs

    def backward(self, delta: Array) -> Array:
        function = self.function
        slope = function.derivative_from_memory(self.remembered)
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


class PReLU(Layer, repr=False):
    """The leaky rectifier with a learned slope a_c for the negative numbers of each channel.

    Forward  y_c = max(z_c, 0) + a_c min(z_c, 0)
    Backward  ∂C/∂z_c = Δ_c where z_c > 0, else a_c Δ_c;  ∂C/∂a_c = Σ_rows min(z_c, 0) Δ_c,  with
    Δ = ∂C/∂y

    The channels are the last axis; the other axes may differ from batch to batch. He, Zhang, Ren
    and Sun 2015.

    Attributes
    ----------
    slope : Parameter
        a, of shape (channels,); initially 0.25.

    Examples
    --------
    >>> PReLU()(np.array([[-2.0, 2.0]]))
    array([[-0.5,  2. ]])
    """

    def build(self, input_shape: Shape, **options: Any) -> None:
        self.slope = self.parameter("slope", input_shape[-1:], 0.25)

    def forward(self, inputs: Array) -> Array:
        self.inputs = inputs
        return self._bent(inputs, inputs)

    def backward(self, delta: Array) -> Array:
        self.backward_parameters(delta)
        return self._bent(self.inputs, delta)

    def backward_parameters(self, delta: Array) -> None:
        products = delta * np.clip(self.inputs, None, 0)
        if products.ndim > 1:
            products = vectors(products)
        self.slope.accumulate_product(ones(len(products), products.dtype), products)

    def apply(self, inputs: Array) -> Array:
        return self._bent(inputs, inputs)

    def _bent(self, z: Array, factor: Array) -> Array:
        """The factor where z > 0, else slope times the factor."""
        return np.where(z > 0, factor, self.slope.value * factor)

    @property
    def accepted_shapes(self) -> tuple[RowPattern, ...]:
        channels = self.slope.shape
        return ((..., *channels),) if channels else ((),)

    def equations(self) -> Equations:
        axes = tuple(range(max(len(self.input_shape), 1)))
        return Equations(
            "np.where(x > 0, x, slope * x)",
            "np.where(x > 0, delta, slope * delta)",
            {"slope": f"(delta * np.minimum(x, 0)).sum(axis={axes if axes[1:] else 0})"},
        )
