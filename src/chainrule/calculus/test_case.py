"""The test case of a law: a built layer with random inputs, and the results of its passes.

Outputs and deltas are arrays, or tuples of arrays for a layer with several; the functions at the
end of this file accept either.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from attrs import define, evolve, field

from chainrule.calculus.derivatives import Replica
from chainrule.core import layer_state
from chainrule.core.layer import Layer
from chainrule.core.parameter import Parameter
from chainrule.core.types import Shape

EXACT = 1e-12
"""The tolerance between two computations of the same float64 number, relative to its terms."""
BY_DIFFERENCES = 1e-6
"""The tolerance if one of them is a difference quotient."""


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


@define
class Case:
    """A built layer and the numbers to check it with."""

    layer: Layer
    inputs: tuple[npt.NDArray[Any], ...]
    others: tuple[npt.NDArray[Any], ...]  # more inputs of the same shapes
    rng: np.random.Generator

    @classmethod
    def of(
        cls,
        layer: Layer,
        shapes: tuple[Shape, ...],
        rng: np.random.Generator,
        batch: int,
        draw: Any,
    ) -> Case:
        """Draw inputs for a layer with ``draw(shape)``."""
        inputs = tuple(draw((batch, *shape)) for shape in shapes)
        others = tuple(draw((batch, *shape)) for shape in shapes)
        return cls(layer, inputs, others, rng)

    @property
    def batch(self) -> int:
        """The number of rows."""
        return len(self.inputs[0])

    def scaled(self, scale: float) -> Case:
        """The same layer with larger inputs."""
        return evolve(self, inputs=tuple(x * scale for x in self.inputs))

    def rows(self, rows: slice | list[int]) -> Case:
        """The same layer with some of the rows."""
        return evolve(self, inputs=tuple(x[rows] for x in self.inputs))

    def like(self, y: Any) -> Any:
        """Random numbers with the shape and dtype of an output, to serve as a delta."""
        if isinstance(y, tuple):
            return tuple(self.like(part) for part in y)
        return self.rng.normal(size=np.shape(y)).astype(y.dtype)

    def forward(self) -> Any:
        """The output of a new replica; it gets copies, because a layer might write into them."""
        with np.errstate(all="ignore"):
            return Replica(self.layer).layer.forward(*copied(self.inputs))

    def passes(self, delta: Any) -> Gradients:
        """Forward and backward pass of a new replica, also on copies."""
        replica = Replica(self.layer)
        with np.errstate(all="ignore"):
            y = replica.layer.forward(*copied(self.inputs))
            return Gradients.of(y, replica.layer.backward(copied(delta)), replica)


@define
class Gradients:
    """The results of one forward and one backward pass."""

    output: Any
    arrays: dict[str, npt.NDArray[Any]]  # "input" or "input 1", …, and each parameter's path

    @classmethod
    def of(cls, output: Any, delta_in: Any, replica: Replica) -> Gradients:
        """Collect the results by name."""
        deltas = as_tuple(delta_in)
        if any(not hasattr(delta, "dtype") for delta in deltas):
            what = "None: is the return missing?" if delta_in is None else type(delta_in).__name__
            raise LawViolation(
                f"backward returns {what}\nIt should return ∂C/∂x: one array, or a tuple with one "
                "array per input."
            )
        names = ["input"] if len(deltas) == 1 else [f"input {n + 1}" for n in range(len(deltas))]
        arrays = dict(zip(names, deltas, strict=True))
        return cls(output, arrays | {p.path: p.grad for p in replica.parameters})


# ------------------------------------------------------------------------------- by name


def parameters_of(at: Case) -> list[Parameter]:
    """The parameters of the layer."""
    return list(at.layer.parameters)


def input_name(number: int, count: int) -> str:
    """``input``, or ``input 2`` if there are several."""
    return "input" if count == 1 else f"input {number + 1}"


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


def names_of(at: Case) -> list[str]:
    """The names of all inputs and parameters."""
    inputs = [input_name(n, len(at.inputs)) for n in range(len(at.inputs))]
    return inputs + [p.path for p in parameters_of(at)]


def array_of(at: Case, name: str) -> npt.NDArray[Any]:
    """The input or parameter of that name."""
    for number, x in enumerate(at.inputs):
        if name == input_name(number, len(at.inputs)):
            return x
    found: npt.NDArray[Any] = at.layer.parameters[name].value
    return found


def moved(at: Case, name: str, step: npt.NDArray[Any]) -> Case:
    """The same test case with one input or parameter shifted by ``step``."""
    if is_input(name):
        inputs = tuple(
            x + step if input_name(n, len(at.inputs)) == name else x
            for n, x in enumerate(at.inputs)
        )
        return evolve(at, inputs=inputs)
    parts: dict[int, Any] = {}
    for p in parameters_of(at):
        value = p.value + step if p.path == name else p.value.copy()
        parts[id(p)] = Parameter(p.path, value)
    parts |= {id(s): Parameter(s.path, s.value.copy()) for s in at.layer.buffers}
    for generator in at.layer.generators.values():
        parts[id(generator)] = layer_state.copied_generator(generator)
    return evolve(at, layer=at.layer.replica(parts))


def reset_generators(source: Layer, replica: Layer) -> None:
    """Set the random generators of a replica to the states of those of its source."""
    for path, generator in source.generators.items():
        layer_state.set_state(replica.generators[path], layer_state.state_of(generator))


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
    return float(np.linalg.norm(flat(a)))


def is_finite(y: Any) -> bool:
    """Whether every number is finite."""
    return all(bool(np.all(np.isfinite(part))) for part in as_tuple(y))


def copied(y: Any) -> Any:
    """A copy of one array or several."""
    return tuple(np.array(part) for part in y) if isinstance(y, tuple) else np.array(y)


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
