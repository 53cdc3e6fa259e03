"""Two common small graphs: a skip connection around layers, and parallel branches.

    Residual    y = x + F(x)                        Δ_x = Δ + J_Fᵀ Δ
    Branches    y = merge(F_1(x), …, F_n(x))        Δ_x = Σ_i J_iᵀ Δ_i

The skip connection passes Δ around F unchanged, so it reaches the first layers of a deep network
however small J_F is. This is why residual networks train at depths where others do not.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from attrs import field

from chainrule.core.errors import (
    ConfigurationError,
    DefinitionError,
    ShapeError,
    described,
    shortened,
)
from chainrule.core.hints import hint_for_layer
from chainrule.core.layer import Layer
from chainrule.graph.composite import ALL, Composite, Layers, NodeOutput, refuse_change
from chainrule.layers.merge import Add


class Residual(Composite, on_setattr=refuse_change):
    """y = P(x) + F(x), with F(x) = f_N(… f_1(x) …), and P(x) = x without a projection.

    Forward  y = P(x) + F(x)
    Backward  ∂C/∂x = J_Pᵀ Δ + J_Fᵀ Δ,  with Δ = ∂C/∂y

    Source: K. He, X. Zhang, S. Ren and J. Sun, *Deep Residual Learning for Image Recognition*,
    CVPR 2016, eqs. 1 and 2.

    Parameters
    ----------
    *layers
        The layers of F, in order.
    projection
        A layer P in the skip connection, such as ``Dense(32, use_bias=False)``, needed if F changes
        the width.

    Raises
    ------
    DefinitionError
        If something is not a layer.
    ConfigurationError
        If there is no layer.
    ShapeError
        When it is built, if the two terms of the sum have different shapes.

    Examples
    --------
    >>> block = Residual(Dense(3, initializer="zeros"))
    >>> block(np.array([[1.0, 2.0, 3.0]]))
    array([[1., 2., 3.]])

    In a graph you call it like any layer; with a projection it can change the width.

    >>> x = Input((3,))
    >>> wider = Graph(x, Residual(Dense(5), Activation("relu"), projection=Dense(5))(x))
    >>> wider(np.zeros((2, 3))).shape
    (2, 5)
    """

    is_inlined: ClassVar[bool] = True

    layers: tuple[Layer, ...]
    projection: Layer | None = None
    add: Layer = field(factory=Add, init=False)

    def __init__(self, *layers: Layer, projection: Layer | None = None) -> None:
        _require_layers("Residual", layers, "Residual(Dense(30), Activation('tanh'))")
        if projection is not None:
            _require_layers("Residual, projection", (projection,), "projection=Dense(30)")
        self.__attrs_init__(Layers(layers), projection)

    def calls(self, size: int) -> Sequence[Sequence[NodeOutput]]:
        last = len(self.layers)
        chain = [((number, ALL),) for number in range(last)]
        if self.projection is None:
            return [*chain, ((0, ALL), (last, ALL))]
        return [*chain, ((0, ALL),), ((last + 1, ALL), (last, ALL))]

    def explained(self, error: Exception, name: str) -> Exception:
        if name == "add" and isinstance(error, ShapeError) and not self.add.is_built:
            error.hint = (
                "projection=Dense(n, use_bias=False) gives the skip connection the width n"
                if self.projection is None
                else "make the projection and the last layer return rows of the same shape"
            )
        return error

    def as_python(self) -> tuple[str, list[tuple[str, Layer]], str]:
        layers = [("", layer) for layer in self.layers]
        if self.projection is not None:
            layers.append(("projection=", self.projection))
        return f"{type(self).__name__}(", layers, ")"


def _as_branches(given: Any) -> Any:
    if isinstance(given, Layer) or not isinstance(given, list | tuple):
        raise DefinitionError(
            "Branches takes its layers in one list",
            expected="Branches([Dense(3), Dense(4)], merge=Add())",
            received=shortened(given),
            hint="put brackets around the layers",
        )
    return tuple(given)


class Branches(Composite, on_setattr=refuse_change):
    """Parallel layers that all receive x, and a layer that merges their outputs.

    Forward  y = merge(F_1(x), …, F_n(x)); without merge, the tuple of all F_i(x)
    Backward  ∂C/∂x = Σ_i J_iᵀ Δ_i,  with Δ_i = ∂C/∂F_i

    Parameters
    ----------
    branches
        The layers F_i; a branch of several layers is a `Sequential`.
    merge
        A layer with several inputs, such as ``Concatenate()``. Without it, each branch is an output
        of the layer.

    Raises
    ------
    DefinitionError
        If something is not a layer.
    ConfigurationError
        If there is no branch.

    Examples
    --------
    >>> Branches([Dense(3), Dense(4)], merge=Concatenate())
    Branches([Dense(3), Dense(4)], merge=Concatenate())
    """

    is_inlined: ClassVar[bool] = True

    # A tuple, once converted; mypy ignores the converters of a dataclass_transform.
    branches: Sequence[Layer] = field(converter=_as_branches)
    merge: Layer | None = None

    def __attrs_post_init__(self) -> None:
        _require_layers("Branches", self.branches, "Branches([Dense(3), Dense(4)], merge=Add())")
        if self.merge is not None:
            _require_layers("Branches, merge", (self.merge,), "merge=Concatenate()")

    def calls(self, size: int) -> Sequence[Sequence[NodeOutput]]:
        parallel: list[Sequence[NodeOutput]] = [((0, ALL),) for _ in self.branches]
        return parallel if self.merge is None else [*parallel, self._results()]

    def ends(self, size: int) -> Sequence[NodeOutput]:
        return self._results() if self.merge is None else ((size, ALL),)

    def _results(self) -> Sequence[NodeOutput]:
        return tuple((number, ALL) for number in range(1, len(self.branches) + 1))

    def as_python(self) -> tuple[str, list[tuple[str, Layer]], str]:
        merge = "" if self.merge is None else f", merge={self.merge!r}"
        branches = [("", branch) for branch in self.branches]
        return f"{type(self).__name__}([", branches, f"]{merge})"


def _require_layers(name: str, layers: Sequence[Any], expected: str) -> None:
    for number, layer in enumerate(layers):
        if not isinstance(layer, Layer):
            raise DefinitionError(
                f"{name}: argument {number} is not a layer",
                expected=expected,
                received=described(layer),
                hint=hint_for_layer(layer),
            )
    if not layers:
        raise ConfigurationError(f"{name}: no layers given", expected=expected, received="none")
