"""Trials: the passes of a layer at one point, with numbers of many digits and, if wanted, formulas.

What moves are the inputs, the parameters and the buffers of the layer, and the delta at its output.
All are named, x[0, 1] or weights[2, 0], and have exact values: fractions that are doubles, too, so
that the same point can be sent through the layer as ordinary arrays.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any, ClassVar

import numpy as np
from attrs import define, field

from chainrule.core import layer_state
from chainrule.core.equations import numbered
from chainrule.core.errors import DefinitionError, ShapeError, UndecidedError
from chainrule.core.layer import Layer
from chainrule.core.parameter import Parameter
from chainrule.core.types import Shape
from chainrule.symbolic.array import Symbolic, symbols
from chainrule.symbolic.entries import DIGITS, Entry, Point
from chainrule.symbolic.forms import Form, number

Values = dict[str, Any]
"""For each name an array of fractions."""

DIVISOR = 2**11


@define
class Passes:
    """The results of the passes of one trial."""

    point: Point
    outputs: tuple[Any, ...]
    deltas: dict[str, Any]
    """What `backward` returned, by the name of the input."""
    gradients: dict[str, Any]
    variables: dict[str, Any]
    """The variables themselves, by name."""
    sent: tuple[Any, ...] = ()
    """What was sent to `backward`."""

    def pairs(self) -> list[tuple[Form, Form]]:
        """The forms of all y that are no constants, each with its delta."""
        return [
            (y.form, form_of(delta))
            for output, deltas in zip(self.outputs, self.sent, strict=True)
            for y, delta in zip(flat(output), flat(deltas), strict=True)
            if isinstance(y, Entry) and y.form is not None
        ]

    def received(self) -> dict[str, Any]:
        """What `backward` has found for every input and parameter."""
        return {**self.deltas, **self.gradients}


@define
class Subject:
    """What is proven: a built layer, and the sizes of its batch.

    Attributes
    ----------
    layer
        A layer, built for small rows in float64. It never changes.
    batch
        The number of rows.
    inputs
        Draws the inputs of a shape, if not any numbers will do; they may be integers, which do not
        move.
    """

    layer: Layer
    batch: int
    inputs: Callable[[tuple[int, ...]], Any] | None = None
    still: frozenset[str] = frozenset()
    rng: np.random.Generator = field(factory=lambda: np.random.default_rng(0))

    @property
    def input_names(self) -> list[str]:
        """x, or x_1, x_2, ..."""
        return numbered("x", len(self.layer.input_shapes))

    @property
    def delta_names(self) -> list[str]:
        """delta, or delta_1, delta_2, ..."""
        return numbered("delta", len(self.layer.output_shapes))

    @property
    def by_row(self) -> set[str]:
        """The names of what has one entry for each row."""
        return {*self.input_names, *self.delta_names}

    @property
    def moving(self) -> list[str]:
        """The inputs and parameters that have a gradient."""
        names = [name for name in self.input_names if name not in self.still]
        return [*names, *map(self.name_of, self.layer.parameters)]

    def name_of(self, part: Parameter) -> str:
        """The path of a parameter or buffer, which may be called like an input."""
        is_taken = part.path in self.by_row
        return f"self.{part.path}" if is_taken else part.path

    @property
    def sizes(self) -> dict[str, int]:
        """The sizes that a wrong factor may be, by what they are."""
        outputs = sum(int(np.prod(shape)) for shape in self.layer.output_shapes)
        inputs = sum(int(np.prod(shape)) for shape in self.layer.input_shapes)
        return {
            "the batch size": self.batch,
            "the number of outputs": outputs,
            "the number of inputs": inputs,
        }

    def draw(self) -> Values:
        """Random values for everything, once."""
        values: Values = {}
        for name, shape in zip(self.input_names, self.layer.input_shapes, strict=True):
            full = (self.batch, *shape)
            if self.inputs is None:
                values[name] = self._fractions(full)
            else:
                values[name] = exact(np.asarray(self.inputs(full)))
        for part in (*self.layer.parameters, *self.layer.buffers):
            drawn = self._fractions(part.shape)
            is_above = np.all(part.value > 0)  # as a width or a variance is
            above = np.asarray(abs(drawn) + Fraction(1, 4), dtype=object)
            values[self.name_of(part)] = above if is_above else drawn
        for name, shape in zip(self.delta_names, self.layer.output_shapes, strict=True):
            values[name] = self._fractions((self.batch, *shape))
        return values

    def _fractions(self, shape: tuple[int, ...]) -> Any:
        drawn = 2 * self.rng.integers(-DIVISOR, DIVISOR, size=shape) + 1
        return exact(drawn / DIVISOR)

    def _earlier(self, array: Any) -> Any:
        """Other numbers for an input, as an ordinary array; the same if any will not do."""
        return array.astype(float) * (0.875 if self.inputs is None else 1.0)

    # ---------------------------------------------------------------- the passes

    def run(
        self,
        values: Values,
        *,
        digits: int = DIGITS,
        has_forms: bool = True,
        is_same: Callable[[Form], bool] | None = None,
        passes: str = "fb",
        applies: bool = False,
        first_row: int = 0,
    ) -> Passes:
        """A forward and a backward pass, or others, with symbolic arrays.

        ``passes`` says which: f for `forward`, b for `backward`, p for `backward_parameters`.
        ``first_row`` is the number of the first row in the names of the variables.
        """
        point = Point(digits, has_forms=has_forms, is_same=is_same)
        earlier = [self._earlier(values[name]) for name in self.input_names]

        def variable(name: str) -> Any:
            if name in self.still:
                return values[name].astype(float)
            return symbols(point, name, values[name], first_row if name in self.by_row else 0)

        # A batch before, of which nothing may be left.
        before = [] if applies or self.remembers else earlier
        return self._passes(point, variable, _copy, passes, applies, before)

    @property
    def remembers(self) -> bool:
        """Whether a forward pass changes the next one: by its buffers and generators."""
        return bool(list(self.layer.buffers) or self.layer.generators)

    def run_in_doubles(self, values: Values, *, applies: bool = False) -> Passes:
        """The same with ordinary arrays."""
        return self._passes(
            Point(), lambda name: values[name].astype(float), np.copy, "fb", applies
        )

    def _passes(
        self,
        point: Point,
        variable: Callable[[str], Any],
        copy: Callable[[Any], Any],
        passes: str,
        applies: bool,
        earlier: Sequence[Any] = (),
    ) -> Passes:
        parts: dict[int, Any] = {}
        variables = {name: variable(name) for name in self.input_names}
        for source in (self.layer.parameters, self.layer.buffers):
            for part in source:
                name = self.name_of(part)
                variables[name] = variable(name)
                parts[id(part)] = Parameter(part.path, copy(variables[name]), part.open_shape)
        for generator in self.layer.generators.values():
            parts[id(generator)] = layer_state.copied_generator(generator)
        layer = self.layer.replica(parts)
        given = [copy(variables[name]) for name in self.input_names]
        with np.errstate(all="ignore"):
            if earlier:
                layer.forward(*earlier)
                point.conditions.clear()  # they are about other inputs
            outputs: tuple[Any, ...] = as_tuple(layer.apply(*given)) if applies else ()
            deltas: dict[str, Any] = {}
            gradients: dict[str, Any] = {}
            if not applies:
                variables |= {name: variable(name) for name in self.delta_names}
                for one in passes:
                    if one == "f":
                        outputs = as_tuple(layer.forward(*given))
                        continue
                    passed = [copy(variables[name]) for name in self.delta_names]
                    delta = passed[0] if len(passed) == 1 else tuple(passed)
                    if one == "p":
                        layer.backward_parameters(delta)
                    else:
                        found = layer.backward(delta)
                        deltas = _by_name("backward", found, variables, self.input_names)
                    _require_unchanged(variables, self.input_names, given)
                    _require_unchanged(variables, self.delta_names, passed)
                gradients = {self.name_of(p): parts[id(p)].grad for p in self.layer.parameters}
        sent = tuple(variables[name] for name in self.delta_names if name in variables)
        return Passes(point, outputs, deltas, gradients, variables, sent)


def _require_unchanged(variables: dict[str, Any], names: list[str], given: list[Any]) -> None:
    for name, array in zip(names, given, strict=True):
        if isinstance(array, Symbolic) and any(
            a is not b for a, b in zip(flat(array), flat(variables[name]), strict=True)
        ):
            raise UndecidedError(
                f"the layer changes {name}, an array of its caller",
                hint="work on a copy: y = x.copy()",
            )


@define
class FunctionSubject:
    """A function of arrays and its gradient, as the subject of a proof.

    The function's value is the output, and its gradient is what `backward` returns.

    Attributes
    ----------
    function, gradient
        Functions of the arrays; the gradient returns one array for each name in ``moving``.
    values
        The arrays, by name, as fractions.
    moving
        The names of those with a gradient.
    constants
        Those that are no formulas, but the arrays that they are.
    """

    function: Callable[..., Any]
    gradient: Callable[..., Any]
    values: Values
    moving: list[str]
    constants: dict[str, Any] = field(factory=dict)
    batch: int = 1
    by_row: ClassVar[frozenset[str]] = frozenset()
    remembers: ClassVar[bool] = False

    @property
    def still(self) -> frozenset[str]:
        """The names of the constants."""
        return frozenset(self.constants)

    @property
    def input_names(self) -> list[str]:
        """The names of the arrays."""
        return self.moving

    @property
    def sizes(self) -> dict[str, int]:
        """The sizes that a wrong factor may be."""
        return {"the batch size": self.batch}

    def draw(self) -> Values:
        """The arrays."""
        return {name: array.copy() for name, array in self.values.items()}

    def run(
        self, values: Values, is_same: Callable[[Form], bool] | None = None, **options: Any
    ) -> Passes:
        """Value and gradient, with symbolic arrays."""
        point = Point(is_same=is_same)
        variables = {
            name: self.constants.get(name) if name in self.still else symbols(point, name, array)
            for name, array in values.items()
        }
        return self._passes(point, variables)

    def run_in_doubles(self, values: Values, **options: Any) -> Passes:
        """The same with ordinary arrays."""
        arrays = {name: array.astype(float) for name, array in values.items()}
        return self._passes(Point(), {**arrays, **self.constants})

    def _passes(self, point: Point, variables: dict[str, Any]) -> Passes:
        with np.errstate(all="ignore"):
            value = self.function(*map(_copy, variables.values()))
            found = self.gradient(*map(_copy, variables.values()))
        if np.shape(value) != ():
            raise ShapeError(
                "the function returns an array; its gradient is that of one number",
                expected=(),
                received=np.shape(value),
                hint="np.sum or np.mean of it",
            )
        deltas = _by_name("the gradient", found, variables, self.moving)
        return Passes(point, (value,), deltas, {}, variables, (np.ones(()),))


def with_few_digits(array: Any, rng: np.random.Generator) -> Any:
    """Numbers near those of an array, as short fractions that are no integers.

    Equal numbers become different: where all are 1, x y² has the value of x² y.
    """
    array = np.asarray(array)
    offsets = 2 * rng.integers(0, 2**6, size=array.shape) + 1
    return exact(np.rint(array * 2**10) / 2**10 + offsets / 2**13)


def above(low: float, shape: Shape) -> Any:
    """Different numbers between low and low + 1."""
    places = np.random.default_rng(0).permutation(int(np.prod(shape))).reshape(shape)
    return low + (2 * places + 1) / 2 ** (2 * places.size).bit_length()


def _by_name(what: str, found: Any, given: dict[str, Any], names: Sequence[str]) -> dict[str, Any]:
    """The arrays that have been returned, by the names of those with respect to which they are."""
    arrays = as_tuple(found)
    if len(arrays) != len(names) or any(array is None for array in arrays):
        received = {type(None): "None: is the return missing?", tuple: f"{len(arrays)} arrays"}
        raise DefinitionError(
            f"{what} does not return one array for each of {', '.join(names)}",
            expected="one array" if len(names) == 1 else f"a tuple of {len(names)} arrays",
            received=received.get(type(found), type(found).__name__),
        )
    for name, array in zip(names, arrays, strict=True):
        if np.shape(array) != np.shape(given[name]):
            raise ShapeError(
                f"{what} returns an array of the wrong shape for {name}",
                expected=np.shape(given[name]),
                received=np.shape(array),
                hint="it has the shape of what it is the derivative with respect to",
            )
    return dict(zip(names, arrays, strict=True))


def _copy(x: Any) -> Any:
    """A copy, which a layer may destroy."""
    return Symbolic(x.entries.copy()) if isinstance(x, Symbolic) else x.copy()


def exact(array: Any) -> Any:
    """The fractions that the numbers of an array are."""
    fractions = np.empty(array.shape, dtype=object)
    for index in np.ndindex(array.shape):
        fractions[index] = Fraction(array[index].item())
    return fractions


def as_tuple(y: Any) -> tuple[Any, ...]:
    """One array or several, as a tuple."""
    return tuple(y) if isinstance(y, tuple | list) else (y,)


def flat(array: Any) -> list[Any]:
    """All entries of a symbolic or a plain array."""
    entries = array.entries if isinstance(array, Symbolic) else np.asarray(array).astype(object)
    return list(entries.ravel())


def form_of(entry: Any) -> Form:
    """The form of an entry; that of a number if it is a constant."""
    return entry.form if isinstance(entry, Entry) and entry.form else number(entry)


def value_of(entry: Any, point: Point) -> Any:
    """The value of an entry, with all digits."""
    return entry.value if isinstance(entry, Entry) else point.number(entry)
