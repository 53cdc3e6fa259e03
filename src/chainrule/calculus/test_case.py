"""The test case of a law: a built layer with random inputs, and the results of its passes.

Outputs and deltas are arrays, or tuples of arrays for a layer with several; the functions at the
end of this file accept either. Inputs and parameters are called by name: ``input``, ``input 2``,
``dense_1.weights``. A direction assigns an array to some of the names; the others do not move.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from attrs import define, evolve, field

from chainrule.calculus.replicas import Replica
from chainrule.core import layer_state
from chainrule.core.errors import ShapeError
from chainrule.core.layer import Layer
from chainrule.core.parameter import Parameter
from chainrule.core.types import Shape

EXACT = 1e-12
"""The tolerance between two computations of the same float64 number, relative to its terms."""
BY_DIFFERENCES = 1e-6
"""The tolerance if one of them is a difference quotient."""
SMALLEST = 1e-3
"""A gradient smaller than this fraction of the largest is compared relative to this fraction.

The gradient of a parameter may be exactly zero, such as that of the key biases of attention. What
is computed is then rounding, which has no relative accuracy."""
TINY = float(np.finfo(float).tiny)
UNDEFINED = (ArithmeticError, np.linalg.LinAlgError)
"""What forward raises for numbers for which it is not defined, such as a singular matrix."""

Direction: TypeAlias = Mapping[str, npt.NDArray[Any]]


class LawViolation(Exception):  # noqa: N818 - a finding about a layer, not an error of the program
    """A law does not hold: the sentence says why, the figure is the relative error."""

    def __init__(self, sentence: str, figure: float | None = None) -> None:
        super().__init__(sentence)
        self.figure = figure


@define
class Finding:
    """A law holds: the largest relative error that occurred, and remarks."""

    figure: float | None = None
    tolerance: float | None = None
    remarks: list[str] = field(factory=list)


def as_drawn(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """The usual layout in memory: the array itself."""
    return array


@define
class Case:
    """A built layer and the numbers to check it with.

    Attributes
    ----------
    layer
        The layer, built.
    inputs, others
        A batch, and another one of the same shapes.
    rng
        The source of all random numbers of the check.
    draw
        Draws an input of a given shape.
    seed
        What the layer was built with.
    is_given
        Whether the caller draws the inputs; they are then taken as they are.
    still
        The numbers of the inputs that cannot move: those that contain integers.
    lay_inputs, lay_delta
        Put an array into the layout in memory in which the layer receives it.
    """

    layer: Layer
    inputs: tuple[npt.NDArray[Any], ...]
    others: tuple[npt.NDArray[Any], ...]
    rng: np.random.Generator
    draw: Callable[[Shape], npt.NDArray[Any]]
    seed: int = 0
    is_given: bool = False
    still: frozenset[int] = frozenset()
    lay_inputs: Callable[[npt.NDArray[Any]], npt.NDArray[Any]] = as_drawn
    lay_delta: Callable[[npt.NDArray[Any]], npt.NDArray[Any]] = as_drawn
    is_replica: bool = False  # whether its layer belongs to this case alone
    _known: tuple[Layer, list[Parameter]] | None = None  # a layer and its parameters

    @property
    def parameters(self) -> list[Parameter]:
        """The parameters of the layer."""
        if self._known is None or self._known[0] is not self.layer:
            self._known = self.layer, list(self.layer.parameters)
        return self._known[1]

    @property
    def theta(self) -> npt.NDArray[Any]:
        """The values of all parameters, as one flat vector."""
        return np.concatenate([np.zeros(0), *(p.value.ravel() for p in self.parameters)])

    @classmethod
    def of(
        cls,
        layer: Layer,
        rng: np.random.Generator,
        batch: int,
        given: Callable[[Shape], Any] | None = None,
        seed: int = 0,
    ) -> Case:
        """Draw inputs for a layer, with ``given(shape)`` if the caller passes a function."""

        def ordinary(shape: Shape) -> npt.NDArray[Any]:
            return rng.normal(size=shape)

        draw = _checked(given) if given else ordinary
        none: tuple[npt.NDArray[Any], ...] = ()
        bare = cls(layer, none, none, rng, draw, seed, given is not None)
        drawn = bare.of_size(batch)
        if given:
            drawn.of_size(2)  # a function that ignores the shape is reported at once
        still = [n for n, x in enumerate(drawn.inputs) if x.dtype.kind != "f"]
        return evolve(drawn, still=frozenset(still))

    def of_size(self, batch: int) -> Case:
        """The same layer with another batch of so many rows."""
        shapes = [(batch, *shape) for shape in self.layer.input_shapes]
        if batch == 0 and self.inputs:
            return self.rows(slice(0, 0))
        inputs, others = (tuple(map(self.draw, shapes)) for _ in range(2))
        return evolve(self, inputs=inputs, others=others)

    @property
    def batch(self) -> int:
        """The number of rows."""
        return len(self.inputs[0])

    def rows(self, rows: slice | list[int]) -> Case:
        """The same layer with some of the rows."""
        inputs, others = (tuple(x[rows] for x in xs) for xs in (self.inputs, self.others))
        return evolve(self, inputs=inputs, others=others)

    def like(self, y: Any) -> Any:
        """Random numbers with the shape and dtype of an output, to serve as a delta."""
        if isinstance(y, tuple):
            return tuple(self.like(part) for part in y)
        return self.rng.normal(size=np.shape(y)).astype(y.dtype)

    def delta(self, draw: Callable[[Shape], npt.NDArray[Any]] | None = None) -> Any:
        """Random numbers with the shape that the output should have, to serve as a delta."""
        draw = draw or (lambda shape: self.rng.normal(size=shape))
        deltas = [
            draw((self.batch, *shape)).astype(self.layer.dtype)
            for shape in self.layer.output_shapes
        ]
        return deltas[0] if len(deltas) == 1 else tuple(deltas)

    def with_parameters(self, value: npt.NDArray[Any]) -> Case:
        """The same case with other values of the parameters, given as one flat vector."""
        parts: dict[int, Any] = {}
        start = 0
        for p in self.parameters:
            window = value[start : start + p.size].reshape(p.shape).astype(p.dtype)
            parts[id(p)] = Parameter(p.path, window)
            start += p.size
        parts |= {id(s): layer_state.copied_parameter(s) for s in self.layer.buffers}
        for generator in self.layer.generators.values():
            parts[id(generator)] = layer_state.copied_generator(generator)
        return evolve(self, layer=self.layer.replica(parts), is_replica=True)

    def moved(self, direction: Direction, step: float) -> Case:
        """The same case, moved by ``step`` along a direction."""
        names = input_names(len(self.inputs))
        inputs = tuple(
            x + step * direction[name] if name in direction else x
            for name, x in zip(names, self.inputs, strict=True)
        )
        at = evolve(self, inputs=inputs)
        if all(map(is_input, direction)):
            return at
        return at.with_parameters(self.theta + step * vector(self, direction))

    def forward(self) -> Any:
        """The output of a new replica; it gets copies, because a layer might write into them."""
        return Bench(self.layer).forward(self)

    def forward_once(self) -> Any:
        """The same for a case that `with_parameters` has made: its layer is a replica already."""
        if self.is_replica:
            with np.errstate(all="ignore"):
                return self.layer.forward(*copied(self.inputs))
        return self.forward()

    def passes(self, delta: Any) -> Gradients:
        """Forward and backward pass of a new replica, also on copies."""
        return Bench(self.layer).passes(self, delta)


def _checked(given: Callable[[Shape], Any]) -> Callable[[Shape], npt.NDArray[Any]]:
    def draw(shape: Shape) -> npt.NDArray[Any]:
        drawn = np.asarray(given(shape))
        if drawn.shape != shape:
            raise ShapeError(
                "check_layer: inputs returns an array of the wrong shape",
                expected=shape,
                received=drawn.shape,
                hint="inputs=lambda shape: rng.uniform(1, 2, shape)",
            )
        return drawn.astype(float) if drawn.dtype.kind == "f" else drawn

    return draw


@define
class Gradients:
    """The results of one forward and one backward pass."""

    output: Any
    arrays: dict[str, npt.NDArray[Any]]  # "input" or "input 1", …, and each parameter's path

    def norms(self) -> dict[str, float]:
        """The norm of each gradient, at least `SMALLEST` times the largest."""
        found = {name: norm(array) for name, array in self.arrays.items()}
        least = SMALLEST * max((n for n in found.values() if np.isfinite(n)), default=0.0)
        return {name: max(n, least) for name, n in found.items()}


class Bench:
    """A replica of a layer on which one case after another runs, as batches do in training.

    Buffers and generators start each pass as they are in the layer, so that the results of a pass
    depend on nothing but its case. What `forward` remembers stays.

    Parameters
    ----------
    layer
        A built layer, which does not change.
    tangent
        A direction for its parameters, as one flat vector, if its passes are to compute J v.
    """

    def __init__(self, layer: Layer, tangent: npt.NDArray[Any] | None = None) -> None:
        replica = Replica(layer, tangent)
        self.layer = replica.layer
        self._applying: Layer | None = None
        self.parameters: list[Parameter] = replica.parameters
        self.buffers: Sequence[Parameter] = replica.buffers
        self._buffers = list(zip(layer.buffers, replica.buffers, strict=True))
        self._generators = list(zip(layer.generators.values(), replica.generators, strict=True))

    @property
    def applying(self) -> Layer:
        """A twin whose `forward` is that of the layer, but in which the layers inside apply."""
        if self._applying is None:
            self._applying = layer_state.applying(self.layer)
        return self._applying

    def reset(self, *, zero_grad: bool = True) -> None:
        """Set buffers and generators to what they are in the layer, and gradients to zero."""
        for source, own in self._buffers:
            own.value = source.value
        for generator, copy in self._generators:
            layer_state.set_state(copy, layer_state.state_of(generator))
        for p in self.parameters if zero_grad else ():
            p.zero_grad()

    def advance_generators(self) -> None:
        """Use the generators, so that they would give other numbers next."""
        for _, copy in self._generators:
            copy.random(7)

    def has_changed_buffers(self) -> bool:
        """Whether a buffer is no longer as it is in the layer."""
        return not all(np.array_equal(a.value, b.value, equal_nan=True) for a, b in self._buffers)

    def has_changed_generators(self) -> bool:
        """Whether a generator has been used."""
        return any(layer_state.state_of(a) != layer_state.state_of(b) for a, b in self._generators)

    def forward(self, at: Case, *, zero_grad: bool = True) -> Any:
        """The output of `forward` for copies of the inputs."""
        self.reset(zero_grad=zero_grad)
        with np.errstate(all="ignore"):
            return self.layer.forward(*laid(at.inputs, at.lay_inputs))

    def apply(self, at: Case) -> Any:
        """The output of `apply` for copies of the inputs."""
        self.reset()
        with np.errstate(all="ignore"):
            return self.layer.apply(*laid(at.inputs, at.lay_inputs))

    def backward(self, at: Case, delta: Any) -> tuple[npt.NDArray[Any], ...]:
        """The deltas of the inputs, for a copy of the delta."""
        with np.errstate(all="ignore"):
            found = self.layer.backward(laid(delta, at.lay_delta))
        deltas = as_tuple(found)
        if any(not hasattr(d, "dtype") for d in deltas) or len(deltas) != len(at.inputs):
            what = {type(None): "None: is the return missing?", tuple: f"{len(deltas)} arrays"}
            raise LawViolation(
                f"backward returns {what.get(type(found), type(found).__name__)}\nIt should return "
                "∂C/∂x: one array, or a tuple with one array per input."
            )
        return deltas

    def gradients(self) -> dict[str, npt.NDArray[Any]]:
        """Copies of the gradients of all parameters."""
        return {p.path: p.grad.copy() for p in self.parameters}

    def passes(self, at: Case, delta: Any) -> Gradients:
        """A forward and a backward pass."""
        y = self.forward(at)
        deltas = self.backward(at, delta)
        arrays = dict(zip(input_names(len(at.inputs)), deltas, strict=True))
        return Gradients(y, arrays | self.gradients())


# ------------------------------------------------------------------------------- by name


def input_names(count: int) -> list[str]:
    """``input``, or ``input 1`` and ``input 2`` if there are several."""
    return ["input"] if count == 1 else [f"input {n + 1}" for n in range(count)]


def is_input(name: str) -> bool:
    """Whether this is the name of an input, not of a parameter."""
    return name == "input" or name.startswith("input ")


def gradient_of(name: str) -> str:
    """A phrase for the result of backward for this input or parameter."""
    return (
        f"the delta of {'the ' * (name == 'input')}{name}"
        if is_input(name)
        else f"the gradient of {name}"
    )


def shapes_by_name(at: Case) -> dict[str, Shape]:
    """The shapes of all inputs and parameters that can move."""
    inputs = zip(input_names(len(at.inputs)), at.inputs, strict=True)
    moving = {name: x.shape for n, (name, x) in enumerate(inputs) if n not in at.still}
    return moving | {p.path: p.shape for p in at.parameters}


def vector(at: Case, direction: Direction) -> npt.NDArray[Any]:
    """The part of a direction that belongs to the parameters, as one flat vector."""
    windows = [
        direction[p.path].ravel() if p.path in direction else np.zeros(p.size)
        for p in at.parameters
    ]
    return np.concatenate([np.zeros(0), *windows])


def writes_into_read_only(error: ValueError) -> bool:
    """Whether NumPy has raised an error because code writes into a read-only array."""
    return "read-only" in str(error)


def as_tuple(y: Any) -> tuple[Any, ...]:
    """One array or several, as a tuple."""
    return y if isinstance(y, tuple) else (y,)


def flat(y: Any) -> npt.NDArray[Any]:
    """All numbers of one array or several, as one vector."""
    return np.concatenate([np.asarray(part, dtype=float).ravel() for part in as_tuple(y)])


def inner(a: Any, b: Any) -> float:
    """⟨a, b⟩."""
    return float(np.dot(flat(a), flat(b)))


def norm(a: Any) -> float:
    """√⟨a, a⟩."""
    entries = a.ravel() if type(a) is np.ndarray and a.dtype == np.float64 else flat(a)
    return math.sqrt(np.dot(entries, entries))


def is_finite(y: Any) -> bool:
    """Whether every number is finite."""
    return all(bool(np.all(np.isfinite(part))) for part in as_tuple(y))


def copied(y: Any) -> Any:
    """A copy of one array or several."""
    return tuple(np.array(part) for part in y) if isinstance(y, tuple) else np.array(y)


def laid(y: Any, lay: Callable[[npt.NDArray[Any]], npt.NDArray[Any]]) -> Any:
    """Copies of one array or several, in a layout."""
    if isinstance(y, tuple):
        return tuple(lay(np.array(part, order="C")) for part in y)
    return lay(np.array(y, order="C"))


def are_identical(a: Any, b: Any) -> bool:
    """Whether all numbers are bit-identical, except for the sign of zero."""
    pairs = zip(as_tuple(a), as_tuple(b), strict=True)
    return all(np.array_equal(x, y, equal_nan=True) for x, y in pairs)


def rows_of(y: Any, rows: slice) -> Any:
    """Some of the rows of one array or several."""
    return tuple(part[rows] for part in y) if isinstance(y, tuple) else y[rows]


def shapes_of(y: Any) -> Any:
    """The shape, or the shapes."""
    return tuple(np.shape(part) for part in y) if isinstance(y, tuple) else np.shape(y)
