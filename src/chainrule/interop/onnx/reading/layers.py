"""Small layers for what ONNX has and chainrule otherwise does not: each is an ordinary layer.

They reduce an axis, take entries by number, multiply two matrices of data, bring in an array of
weights. All obey the laws of `check_layer`, so a model that contains them is trained, saved and
differentiated as any other.

Axes are counted with the batch, as in `chainrule.layers.reshape`.
"""

from __future__ import annotations

import math
from typing import Any, ClassVar

import numpy as np
from attrs import field
from attrs.converters import optional

from chainrule.core.arrays import places
from chainrule.core.errors import ConfigurationError, ShapeError
from chainrule.core.layer import Layer
from chainrule.core.messages import batch_of
from chainrule.core.types import Array, Shape
from chainrule.layers.functions import Sigmoid
from chainrule.layers.merge import Broadcasting, fit_together, summed_to
from chainrule.layers.pooling import AveragePool, MaxPool
from chainrule.layers.reshape import plain
from chainrule.layers.windows import Windows, amounts_of, per_axis, reach, spatial_axes, windows_on

# ------------------------------------------------------------------------------- arrays


class Weights(Layer, repr=False):
    """An array of weights, the same for every row: y = w.

    Forward  y_n = w for every row n of x
    Backward  ∂C/∂w = Σ_n Δ_n,  ∂C/∂x = 0,  with Δ = ∂C/∂y

    Parameters
    ----------
    shape
        The shape of w.
    learned
        Whether w is a parameter; otherwise it is a buffer.

    Attributes
    ----------
    weights : Parameter
        w.
    """

    accepts_any_shape: ClassVar[bool] = True

    shape: tuple[int, ...] = field(converter=plain)
    learned: bool = True

    def build(self, input_shape: Shape, **options: Any) -> None:
        create = self.parameter if self.learned else self.buffer
        self.weights = create("weights", self.shape)

    def forward(self, inputs: Array) -> Array:
        self.inputs = inputs
        return self.apply(inputs)

    def backward(self, delta: Array) -> Array:
        if self.learned:
            self.weights.accumulate(np.sum(delta, axis=0))
        return _none(self.inputs, delta)

    def apply(self, inputs: Array) -> Array:
        w = self.weights.value
        return np.zeros_like(inputs, shape=(len(inputs), *self.shape)) + w


class Scale(Layer, repr=False):
    """A factor for each entry, w, whose axes of size 1 are repeated: y = x w.

    Forward  y = x w
    Backward  ∂C/∂x = Δ w,  ∂C/∂w = Σ x Δ over the rows and what was repeated,  with Δ = ∂C/∂y

    Parameters
    ----------
    shape
        The shape of w, with as many axes as the rows have.
    learned
        Whether w is a parameter; otherwise it is a buffer.
    """

    shape: tuple[int, ...] = field(converter=plain)
    learned: bool = True

    def build(self, input_shape: Shape, **options: Any) -> None:
        _require_repeated(self, self.shape, input_shape)
        create = self.parameter if self.learned else self.buffer
        self.weights = create("weights", self.shape, "ones")

    @property
    def accepted_shapes(self) -> tuple[Any, ...]:
        return (tuple(None if n == 1 else n for n in self.shape),)

    def forward(self, inputs: Array) -> Array:
        self.inputs = inputs
        return inputs * self.weights.value

    def backward(self, delta: Array) -> Array:
        if self.learned:
            self.weights.accumulate(_summed(self.inputs * delta, self.shape))
        return delta * self.weights.value

    def apply(self, inputs: Array) -> Array:
        return inputs * self.weights.value


class Shift(Scale, repr=False):
    """A term for each entry, w, whose axes of size 1 are repeated: y = x + w.

    Forward  y = x + w
    Backward  ∂C/∂x = Δ,  ∂C/∂w = Σ Δ over the rows and what was repeated,  with Δ = ∂C/∂y

    Parameters
    ----------
    shape, learned
        As of `Scale`.
    """

    def build(self, input_shape: Shape, **options: Any) -> None:
        _require_repeated(self, self.shape, input_shape)
        create = self.parameter if self.learned else self.buffer
        self.weights = create("weights", self.shape)

    def forward(self, inputs: Array) -> Array:
        return inputs + self.weights.value

    def backward(self, delta: Array) -> Array:
        if self.learned:
            self.weights.accumulate(_summed(delta, self.shape))
        return +delta

    def apply(self, inputs: Array) -> Array:
        return inputs + self.weights.value


def _require_repeated(layer: Layer, shape: Shape, row: Shape) -> None:
    fits = len(shape) == len(row) and all(n in (1, m) for n, m in zip(shape, row, strict=True))
    if not fits:
        raise ShapeError(
            f"{layer!r}: the weights do not fit the rows",
            expected=f"rows with the sizes {shape}, of which each 1 may be any size",
            received=batch_of(row),
        )


def _summed(delta: Array, shape: Shape) -> Array:
    """The sum over all rows, and over the axes along which an array of this shape is repeated."""
    (total,) = summed_to(np.sum(delta, axis=0, keepdims=True), shape)
    return total


class Mix(Layer, repr=False):
    """A fixed matrix A along one axis: y_i = Σ_j A_ij x_j.

    Forward  y_i = Σ_j A_ij x_j
    Backward  ∂C/∂x_j = Σ_i A_ij Δ_i,  with Δ = ∂C/∂y

    Parameters
    ----------
    rows, columns
        The shape of A: the size of the axis of y, and that of x.
    axis
        The axis.

    Attributes
    ----------
    matrix : Parameter
        A, a buffer.
    """

    rows: int
    columns: int
    axis: int

    def build(self, input_shape: Shape, **options: Any) -> None:
        if not 0 < self.axis <= len(input_shape) or input_shape[self.axis - 1] != self.columns:
            raise ShapeError(
                f"{self!r}: the matrix does not fit the rows",
                expected=f"{self.columns} entries along axis {self.axis}",
                received=batch_of(input_shape),
            )
        self.matrix = self.buffer("matrix", (self.rows, self.columns))

    @property
    def accepted_shapes(self) -> tuple[Any, ...]:
        row = self.input_shape
        return (tuple(n if place == self.axis else None for place, n in enumerate(row, 1)),)

    def forward(self, inputs: Array) -> Array:
        return self._along(inputs, self.matrix.value.T)

    def backward(self, delta: Array) -> Array:
        return self._along(delta, self.matrix.value)

    apply = forward

    def _along(self, x: Array, matrix: Array) -> Array:
        return np.swapaxes(np.matmul(np.swapaxes(x, self.axis, -1), matrix), self.axis, -1)


# ------------------------------------------------------------------------------- moving


class Unsqueeze(Layer, repr=False):
    """Axes of size 1 put in: the inverse of taking entry 0 along each.

    Forward  y has the numbers of x in the same order
    Backward  ∂C/∂x has the numbers of Δ = ∂C/∂y, in the same order

    Parameters
    ----------
    axes
        The axes of y that are new.
    """

    accepts_any_shape: ClassVar[bool] = True

    axes: tuple[int, ...] = field(converter=plain)

    def forward(self, inputs: Array) -> Array:
        return np.expand_dims(inputs, self.axes)

    def backward(self, delta: Array) -> Array:
        return np.squeeze(delta, axis=self.axes)

    apply = forward


def _none(inputs: Array, delta: Array) -> Array:
    """The delta of inputs whose values do not matter, of the kind that the delta is."""
    return np.zeros_like(inputs) + np.zeros_like(delta, shape=(1,) * inputs.ndim)


class Positions(Layer, repr=False):
    """The numbers of the entries along an axis: y = (0, 1, 2, …), the same for every row.

    Forward  y_i = i
    Backward  ∂C/∂x = 0

    Parameters
    ----------
    axis
        The axis.
    """

    accepts_any_shape: ClassVar[bool] = True

    axis: int

    def build(self, input_shape: Shape, **options: Any) -> None:
        if not 0 < self.axis <= len(input_shape):
            raise ShapeError(
                f"{self!r}: the rows have no such axis",
                expected=f"rows with at least {self.axis} axes",
                received=batch_of(input_shape),
            )

    def forward(self, inputs: Array) -> Array:
        self.inputs = inputs
        return self.apply(inputs)

    def backward(self, delta: Array) -> Array:
        return _none(self.inputs, delta)

    def apply(self, inputs: Array) -> Array:
        size = inputs.shape[self.axis]
        numbers = places(size, inputs).astype(inputs.dtype)
        return np.zeros_like(inputs, shape=(len(inputs), size)) + numbers


class Regroup(Layer, repr=False):
    """The first axes of a row as they are, whatever their sizes, the others in another shape.

    Forward  y has the numbers of x in the same order
    Backward  ∂C/∂x has the numbers of Δ = ∂C/∂y, in the same order

    Parameters
    ----------
    kept
        How many axes of a row stay.
    shape
        The sizes after them, of which one may be −1.
    """

    accepts_any_shape: ClassVar[bool] = True

    kept: int
    shape: tuple[int, ...] = field(converter=plain)

    def build(self, input_shape: Shape, **options: Any) -> None:
        rest = input_shape[self.kept :]
        have, wanted = math.prod(rest), math.prod(n for n in self.shape if n != -1)
        if -1 in self.shape and wanted:
            wanted = have if have % wanted == 0 else -1
        if len(input_shape) < self.kept or have != wanted:
            raise ShapeError(
                f"{self!r}: the numbers of the rows do not fill the shape",
                expected=f"{self.kept} axes, and others that fill {self.shape}",
                received=batch_of(input_shape),
            )

    def forward(self, inputs: Array) -> Array:
        self.row = inputs.shape[1:]
        return self.apply(inputs)

    def backward(self, delta: Array) -> Array:
        return np.reshape(delta, (len(delta), *self.row))

    def apply(self, inputs: Array) -> Array:
        first, rest = inputs.shape[: self.kept + 1], math.prod(inputs.shape[self.kept + 1 :])
        open_size = rest // math.prod(n for n in self.shape if n != -1)
        return np.reshape(inputs, (*first, *(open_size if n == -1 else n for n in self.shape)))


class Take(Layer, repr=False):
    """Entries along one axis by their numbers: y_i = x_(n_i).

    Forward  y_i = x_(n_i);  with a single number n, y = x_n without the axis
    Backward  ∂C/∂x_j = Σ Δ_i over all i with n_i = j,  with Δ = ∂C/∂y

    Parameters
    ----------
    numbers
        One number, or several; negative ones count from the end.
    axis
        The axis.
    """

    accepts_any_shape: ClassVar[bool] = True

    numbers: int | tuple[int, ...] = field(converter=plain)
    axis: int

    def build(self, input_shape: Shape, **options: Any) -> None:
        several = self.numbers if isinstance(self.numbers, tuple) else (self.numbers,)
        size = input_shape[self.axis - 1] if 0 < self.axis <= len(input_shape) else 0
        if not several or not -size <= min(several) <= max(several) < size:
            raise ShapeError(
                f"{self!r}: an entry is not in the rows",
                expected=f"rows with these entries along axis {self.axis}",
                received=batch_of(input_shape),
            )

    def forward(self, inputs: Array) -> Array:
        self.row = inputs.shape[1:]
        return self.apply(inputs)

    def backward(self, delta: Array) -> Array:
        total = np.zeros_like(delta, shape=(len(delta), *self.row))
        before: tuple[Any, ...] = (slice(None),) * self.axis
        if isinstance(self.numbers, int):
            total[(*before, self.numbers)] = delta
            return total
        for place, number in enumerate(self.numbers):  # an entry may have been taken repeatedly
            total[(*before, number)] += delta[(*before, place)]
        return total

    def apply(self, inputs: Array) -> Array:
        numbers = self.numbers if isinstance(self.numbers, int) else list(self.numbers)
        return np.take(inputs, numbers, axis=self.axis)


class Expand(Layer, repr=False):
    """Axes of size 1 repeated: rows broadcast to a shape.

    Forward  y is x, repeated along the axes where x has size 1
    Backward  ∂C/∂x = Σ Δ over the repetitions,  with Δ = ∂C/∂y

    Parameters
    ----------
    shape
        The shape of a row of y, with as many axes as a row of x.
    """

    accepts_any_shape: ClassVar[bool] = True

    shape: tuple[int, ...] = field(converter=plain)

    def build(self, input_shape: Shape, **options: Any) -> None:
        _require_repeated(self, input_shape, self.shape)

    def forward(self, inputs: Array) -> Array:
        self.row = inputs.shape[1:]
        return self.apply(inputs)

    def backward(self, delta: Array) -> Array:
        return summed_to(delta, self.row)

    def apply(self, inputs: Array) -> Array:
        return inputs + np.zeros_like(inputs, shape=(1, *self.shape))


class Border(Layer, repr=False):
    """Entries with one fixed value around each row.

    Forward  y is x, with entries of this value before and after it along each axis
    Backward  ∂C/∂x = Δ without them,  with Δ = ∂C/∂y

    Parameters
    ----------
    amounts
        For each axis of a row, how many entries before and after it.
    value
        Their value.
    """

    accepts_any_shape: ClassVar[bool] = True

    amounts: tuple[tuple[int, int], ...] = field(converter=plain)
    value: float = 0.0

    def build(self, input_shape: Shape, **options: Any) -> None:
        if len(input_shape) != len(self.amounts):
            raise ShapeError(
                f"{self!r}: the rows have a different number of axes",
                expected=f"rows with {len(self.amounts)} axes",
                received=batch_of(input_shape),
            )

    def forward(self, inputs: Array) -> Array:
        row = [n + sum(more) for n, more in zip(inputs.shape[1:], self.amounts, strict=True)]
        larger = np.full_like(inputs, self.value, shape=(len(inputs), *row))
        larger[self._inside(inputs.shape)] = inputs
        return larger

    def backward(self, delta: Array) -> Array:
        row = [n - sum(more) for n, more in zip(delta.shape[1:], self.amounts, strict=True)]
        return delta[self._inside((len(delta), *row))]

    apply = forward

    def _inside(self, shape: Shape) -> tuple[slice, ...]:
        starts = [before for before, _ in self.amounts]
        inner = [slice(a, a + n) for a, n in zip(starts, shape[1:], strict=True)]
        return (slice(None), *inner)


# ------------------------------------------------------------------------------- arithmetic


def _in_table(layer: Layer, attribute: Any, operator: Any) -> None:
    known = BINARY if isinstance(layer, Binary) else REDUCTIONS
    if operator not in known:
        raise ConfigurationError(
            f"{type(layer).__name__}: unknown operator",
            expected=", ".join(known),
            received=repr(operator),
        )


class Binary(Broadcasting, repr=False):
    """A function of two inputs, element by element, with rows that may broadcast.

    Forward  y = f(a, b)
    Backward  ∂C/∂a = Δ ∂f/∂a,  ∂C/∂b = Δ ∂f/∂b, summed where broadcast,  with Δ = ∂C/∂y

    Parameters
    ----------
    operator
        ``"Div"``, ``"Min"``, ``"Max"``, ``"Pow"`` or ``"PRelu"``; or a comparison such as
        ``"Less"``, which gives 1 or 0. At a tie, the smaller and the larger of two are b.
    """

    operator: str = field(validator=_in_table)

    def build(self, *input_shapes: Shape, **options: Any) -> None:
        _require_fitting(self, input_shapes, 2)

    def forward(self, *inputs: Array) -> Array:
        self._remember_rows(inputs)
        self.pair = self._aligned(inputs)
        return BINARY[self.operator][0](*self.pair)

    def backward(self, delta: Array) -> tuple[Array, ...]:
        slopes = BINARY[self.operator][1](*self.pair)
        return self._summed(slope * delta for slope in slopes)

    def apply(self, *inputs: Array) -> Array:
        return BINARY[self.operator][0](*self._aligned(inputs))


def _require_fitting(layer: Layer, shapes: tuple[Shape, ...], count: int) -> None:
    if len(shapes) != count or not fit_together(shapes):
        raise ShapeError(
            f"{layer!r}: the rows of the inputs do not fit together",
            expected=f"{count} inputs whose sizes are equal or 1, compared from the last axis",
            received=", ".join(map(batch_of, shapes)),
        )


def _chosen(condition: Array, a: Array, b: Array) -> tuple[Array, Array]:
    is_first = condition.astype(a.dtype)
    return is_first + np.zeros_like(b), 1 - is_first + np.zeros_like(a)


def _nowhere(a: Array, b: Array) -> tuple[Array, Array]:
    """The slopes of a comparison: 0."""
    zeros = np.zeros_like(a) + np.zeros_like(b)
    return zeros, zeros


def _as_numbers(compare: Any) -> Any:
    return lambda a, b: compare(a, b).astype(a.dtype), _nowhere


BINARY: dict[str, Any] = {
    "And": _as_numbers(lambda a, b: (a != 0) & (b != 0)),
    "Equal": _as_numbers(lambda a, b: a == b),
    "Greater": _as_numbers(lambda a, b: a > b),
    "GreaterOrEqual": _as_numbers(lambda a, b: a >= b),
    "Less": _as_numbers(lambda a, b: a < b),
    "LessOrEqual": _as_numbers(lambda a, b: a <= b),
    "Or": _as_numbers(lambda a, b: (a != 0) | (b != 0)),
    "Xor": _as_numbers(lambda a, b: (a != 0) ^ (b != 0)),
    "Div": (
        lambda a, b: a / b,
        lambda a, b: (1 / b + np.zeros_like(a), -a / (b * b)),
    ),
    "Min": (
        np.minimum,
        lambda a, b: _chosen(a < b, a, b),
    ),
    "Max": (
        np.maximum,
        lambda a, b: _chosen(a > b, a, b),
    ),
    "Pow": (
        lambda a, b: a**b,
        lambda a, b: (b * a ** (b - 1), np.log(a) * a**b),
    ),
    "PRelu": (
        lambda z, a: np.where(z > 0, z, a * z),
        lambda z, a: (np.where(z > 0, np.ones_like(a), a), np.where(z > 0, 0 * z, z + 0 * a)),
    ),
}
"""For each operator, f and its two slopes."""


class Where(Broadcasting, repr=False):
    """One of two inputs, element by element, with rows that may broadcast: y = a where c, else b.

    Forward  y = a where c is not 0, else b
    Backward  ∂C/∂a = Δ where c is not 0,  ∂C/∂b = Δ elsewhere, summed where broadcast,  ∂C/∂c = 0,
    with Δ = ∂C/∂y
    """

    def build(self, *input_shapes: Shape, **options: Any) -> None:
        _require_fitting(self, input_shapes, 3)

    def forward(self, *inputs: Array) -> Array:
        self._remember_rows(inputs)
        condition, a, b = self._aligned(inputs)
        self.condition = condition != 0
        return np.where(self.condition, a, b)

    def backward(self, delta: Array) -> tuple[Array, ...]:
        zeros = np.zeros_like(delta)
        of_a, of_b = np.where(self.condition, delta, zeros), np.where(self.condition, zeros, delta)
        return self._summed((zeros, of_a, of_b))

    def apply(self, *inputs: Array) -> Array:
        condition, a, b = self._aligned(inputs)
        return np.where(condition != 0, a, b)


class MatrixProduct(Broadcasting, repr=False):
    """The product of two matrices that both depend on the data: y = a b.

    Forward  y_ik = Σ_j a_ij b_jk, for all matrices along the axes before
    Backward  ∂C/∂a = Δ bᵀ,  ∂C/∂b = aᵀ Δ, summed where broadcast,  with Δ = ∂C/∂y
    """

    def build(self, *input_shapes: Shape, **options: Any) -> None:
        a, b = input_shapes
        if min(len(a), len(b)) < 2 or a[-1] != b[-2] or not fit_together((a[:-2], b[:-2])):
            raise ShapeError(
                f"{self!r}: the rows are not matrices that can be multiplied",
                expected="(batch, …, m, n) and (batch, …, n, k)",
                received=", ".join(map(batch_of, input_shapes)),
            )

    def forward(self, *inputs: Array) -> Array:
        self._remember_rows(inputs)
        self.pair = self._aligned(inputs)
        return np.matmul(*self.pair)

    def backward(self, delta: Array) -> tuple[Array, ...]:
        a, b = self.pair
        of_a, of_b = np.swapaxes(b, -1, -2), np.swapaxes(a, -1, -2)
        return self._summed((np.matmul(delta, of_a), np.matmul(of_b, delta)))

    def apply(self, *inputs: Array) -> Array:
        return np.matmul(*self._aligned(inputs))


class Einsum(Broadcasting, repr=False):
    """A sum of products of the inputs, and of an array of weights, in Einstein's notation.

    Forward  y_out = Σ a_in b_in … over all letters that are not in out, with w as the last factor
    Backward  ∂C/∂a_in = Σ Δ_out b_in … over all letters that are not in those of a,
    with Δ = ∂C/∂y; the weights likewise

    Parameters
    ----------
    equation
        The letters, such as ``"nij,jk->nik"``. The inputs and the output begin with that of the
        batch; the weights do not have it.
    shape
        The shape of w; None if there is none.
    learned
        Whether w is a parameter; otherwise it is a buffer.
    """

    equation: str
    shape: tuple[int, ...] | None = field(default=None, converter=optional(plain))
    learned: bool = True

    def build(self, *input_shapes: Shape, **options: Any) -> None:
        self._require_sizes(input_shapes)
        if self.shape is not None:
            create = self.parameter if self.learned else self.buffer
            self.weights = create("weights", self.shape)

    def forward(self, *inputs: Array) -> Array:
        self.factors = self._with_weights(inputs)
        return np.einsum(self.equation, *self.factors)

    def backward(self, delta: Array) -> tuple[Array, ...] | Array:
        deltas = [self._of(number, delta) for number in range(len(self.factors))]
        if self.shape is not None:
            of_weights = deltas.pop()
            if self.learned:
                self.weights.accumulate(of_weights)
        return deltas[0] if len(deltas) == 1 else tuple(deltas)

    def apply(self, *inputs: Array) -> Array:
        return np.einsum(self.equation, *self._with_weights(inputs))

    def _with_weights(self, inputs: tuple[Array, ...]) -> list[Array]:
        return [*inputs, *([] if self.shape is None else [self.weights.value])]

    def _of(self, number: int, delta: Array) -> Array:
        """The delta of a factor, from those of the others and of the output."""
        letters, output = self._letters
        own, others = letters[number], [*letters[:number], *letters[number + 1 :]]
        found = "".join(c for c in own if c in output or any(c in one for one in others))
        factors = [*self.factors[:number], *self.factors[number + 1 :], delta]
        total = np.einsum(f"{','.join([*others, output])}->{found}", *factors)
        if found == own:
            return total
        repeated = tuple(axis for axis, c in enumerate(own) if c not in found)
        return np.expand_dims(total, repeated) + np.zeros_like(self.factors[number])

    @property
    def _letters(self) -> tuple[list[str], str]:
        inputs, output = self.equation.split("->")
        return inputs.split(","), output

    def _require_sizes(self, rows: tuple[Shape, ...]) -> None:
        letters, output = self._letters
        given = [("n", *row) for row in rows] + ([] if self.shape is None else [self.shape])
        sizes: dict[str, Any] = {}
        fits = len(letters) == len(given) and len({*output}) == len(output)
        for own, shape in zip(letters, given, strict=False):
            fits &= len(own) == len(shape) == len({*own})
            fits &= all(sizes.setdefault(c, n) == n for c, n in zip(own, shape, strict=False))
        if not fits or not {*output} <= {*sizes}:
            raise ShapeError(
                f"{self!r}: the rows do not fit the letters",
                expected=f"inputs with the axes {self.equation.partition('->')[0]}, each letter "
                "with one size",
                received=", ".join(map(batch_of, rows)),
            )


class LogSoftmax(Layer, repr=False):
    """The logarithm of the softmax along the last axis: y_k = z_k − ln Σ_l exp z_l.

    Forward  y_k = z_k − ln Σ_l exp z_l
    Backward  ∂C/∂z_l = Δ_l − p_l Σ_k Δ_k,  with p = exp y and Δ = ∂C/∂y
    """

    accepts_any_shape: ClassVar[bool] = True

    def forward(self, inputs: Array) -> Array:
        self.outputs = self.apply(inputs)
        return self.outputs

    def backward(self, delta: Array) -> Array:
        return delta - np.exp(self.outputs) * np.sum(delta, axis=-1, keepdims=True)

    def apply(self, inputs: Array) -> Array:
        z = inputs - np.max(inputs, axis=-1, keepdims=True)
        return z - np.log(np.sum(np.exp(z), axis=-1, keepdims=True))


class ResetFirst(Layer, repr=False):
    """A step of a gated recurrent unit that resets before the product: a cell for `Scan`.

    Forward  r = σ(a_r + h u_r),  z = σ(a_z + h u_z),  with a = x w + b,
    n = tanh(a_n + (r ⊙ h) u_n),  h' = (1 − z) ⊙ n + z ⊙ h
    Backward  δ_n = Δ ⊙ (1 − z) ⊙ (1 − n²),  δ_z = Δ ⊙ (h − n) ⊙ z ⊙ (1 − z),  s = δ_n u_nᵀ,
    δ_r = s ⊙ h ⊙ r ⊙ (1 − r),  ∂C/∂x = δ wᵀ,  ∂C/∂w = xᵀ δ,  ∂C/∂b = Σ_rows δ,
    ∂C/∂h = Δ ⊙ z + s ⊙ r + δ_r u_rᵀ + δ_z u_zᵀ,  ∂C/∂u = (hᵀ δ_r, hᵀ δ_z, (r ⊙ h)ᵀ δ_n)

    `GRU` resets after the product, as cuDNN, PyTorch and Keras do; this is the older form of Cho et
    al. 2014, and the default of ONNX.

    Parameters
    ----------
    units
        The length of h.
    """

    units: int

    def build(self, *input_shapes: Shape, **options: Any) -> None:
        width = 3 * self.units
        x_shape, _ = input_shapes
        self.weights = self.parameter("weights", (*x_shape, width), "glorot_uniform")
        self.recurrent_weights = self.parameter(
            "recurrent_weights", (self.units, width), "glorot_uniform"
        )
        self.biases = self.parameter("biases", (width,))

    def forward(self, *inputs: Array) -> Array:
        x, h = inputs
        two, u = 2 * self.units, self.recurrent_weights.value
        a = x @ self.weights.value + self.biases.value
        gates = Sigmoid().value(a[:, :two] + h @ u[:, :two])
        r, z = gates[:, : self.units], gates[:, self.units :]
        n = np.tanh(a[:, two:] + (r * h) @ u[:, two:])
        self.passed = (x, h, r, z, n)
        return n + z * (h - n)

    def backward(self, delta: Array) -> tuple[Array, ...]:
        (x, h, r, z, n), u, units = self.passed, self.recurrent_weights.value, self.units
        dn = delta * (1 - z) * (1 - n * n)
        dz = delta * (h - n) * z * (1 - z)
        s = dn @ u[:, 2 * units :].T
        dr = s * h * r * (1 - r)
        both, gates = np.concatenate([dr, dz, dn], axis=1), np.concatenate([dr, dz], axis=1)
        self.weights.accumulate(x.T @ both)
        self.biases.accumulate(np.sum(both, axis=0))
        self.recurrent_weights.accumulate(np.concatenate([h.T @ gates, (r * h).T @ dn], axis=1))
        return both @ self.weights.value.T, delta * z + s * r + gates @ u[:, : 2 * units].T


# ------------------------------------------------------------------------------- reductions


class Reduce(Layer, repr=False):
    """One number from all entries along some axes, which then are gone.

    Forward  y = f(x_1, x_2, …)
    Backward  ∂C/∂x_i = Δ ∂f/∂x_i,  with Δ = ∂C/∂y

    Parameters
    ----------
    operator
        ``"Sum"``, ``"Mean"``, ``"Max"``, ``"Min"``, ``"Prod"``, ``"L1"``, ``"L2"``,
        ``"SumSquare"``, ``"LogSum"`` or ``"LogSumExp"``. Of several largest entries, each gets an
        equal share of the Δ.
    axes
        The axes.
    """

    accepts_any_shape: ClassVar[bool] = True

    operator: str = field(validator=_in_table)
    axes: tuple[int, ...] = field(converter=plain)

    def build(self, input_shape: Shape, **options: Any) -> None:
        if not all(0 < axis <= len(input_shape) and input_shape[axis - 1] for axis in self.axes):
            raise ShapeError(
                f"{self!r}: the rows have no such axes, or no entries along them",
                expected=f"rows with at least one entry along the axes {self.axes}",
                received=batch_of(input_shape),
            )

    def forward(self, inputs: Array) -> Array:
        self.inputs, self.outputs = inputs, REDUCTIONS[self.operator][0](inputs, self.axes)
        return np.squeeze(self.outputs, axis=self.axes)

    def backward(self, delta: Array) -> Array:
        slope = REDUCTIONS[self.operator][1](self.inputs, self.outputs, self.axes)
        return slope * np.expand_dims(delta, self.axes)

    def apply(self, inputs: Array) -> Array:
        return np.squeeze(REDUCTIONS[self.operator][0](inputs, self.axes), axis=self.axes)


def _sum(x: Array, axes: tuple[int, ...]) -> Array:
    return np.sum(x, axis=axes, keepdims=True)


def _shares(x: Array, y: Array, axes: tuple[int, ...]) -> Array:
    is_largest = (x == y).astype(x.dtype)
    return is_largest / np.maximum(_sum(is_largest, axes), 1)


def _product(x: Array, axes: tuple[int, ...]) -> Array:
    for axis in axes:
        parts = [np.take(x, [n], axis=axis) for n in range(x.shape[axis])]
        x = math.prod(parts[1:], start=parts[0])
    return x


def _product_slope(x: Array, y: Array, axes: tuple[int, ...]) -> Array:
    """For each entry the product of all others, without a division, as entries may be 0."""
    rest = [axis for axis in range(x.ndim) if axis not in axes]
    moved = np.transpose(x, (*rest, *axes))
    flat = np.reshape(moved, (*(x.shape[axis] for axis in rest), -1)) if x.size else moved
    count = math.prod(x.shape[axis] for axis in axes)
    columns = [flat[..., n] for n in range(count)] if x.size else []
    if not columns:
        return np.zeros_like(x)
    before, after = [np.ones_like(columns[0])], [np.ones_like(columns[0])]
    for n in range(1, count):
        before.append(before[-1] * columns[n - 1])
        after.append(after[-1] * columns[count - n])
    others = np.stack([b * a for b, a in zip(before, reversed(after), strict=True)], axis=-1)
    back = np.argsort((*rest, *axes))
    return np.transpose(np.reshape(others, moved.shape), back)


def _log_sum_exp(x: Array, axes: tuple[int, ...]) -> Array:
    largest = np.max(x, axis=axes, keepdims=True)
    shift = np.where(np.isfinite(largest), largest, np.zeros_like(largest))  # ∞ − ∞ is NaN
    return shift + np.log(_sum(np.exp(x - shift), axes))


REDUCTIONS: dict[str, Any] = {
    "Sum": (_sum, lambda x, y, axes: np.ones_like(x)),
    "Mean": (
        lambda x, axes: _sum(x, axes) / math.prod(x.shape[axis] for axis in axes),
        lambda x, y, axes: np.ones_like(x) / math.prod(x.shape[axis] for axis in axes),
    ),
    "Max": (lambda x, axes: np.max(x, axis=axes, keepdims=True), _shares),
    "Min": (lambda x, axes: np.min(x, axis=axes, keepdims=True), _shares),
    "Prod": (_product, _product_slope),
    "L1": (lambda x, axes: _sum(np.abs(x), axes), lambda x, y, axes: np.sign(x)),
    "L2": (
        lambda x, axes: np.sqrt(_sum(x * x, axes)),
        lambda x, y, axes: x / np.where(y > 0, y, 1 + 0 * y),
    ),
    "SumSquare": (lambda x, axes: _sum(x * x, axes), lambda x, y, axes: 2 * x),
    "LogSum": (
        lambda x, axes: np.log(_sum(x, axes)),
        lambda x, y, axes: np.ones_like(x) / _sum(x, axes),
    ),
    "LogSumExp": (_log_sum_exp, lambda x, y, axes: np.exp(x - y)),
}
"""For each operator, y from x, with the axes kept, and ∂y/∂x from x and y."""


# ------------------------------------------------------------------------------- pools


def _windows(layer: Any, row: Shape) -> Windows:
    """The windows as ONNX counts them: with a dilation, and at the end perhaps one more."""
    axes = spatial_axes(layer, row)
    size, stride, dilation = (
        per_axis(layer, name, getattr(layer, name), axes) for name in ("size", "stride", "dilation")
    )
    amounts = list(amounts_of(layer, layer.amounts, row[:-1], size, stride))
    for axis, has_more in enumerate(per_axis(layer, "ceil", layer.ceil, axes)):
        if has_more:
            (before, after), n, s = amounts[axis], row[axis], stride[axis]
            full, left = divmod(n + before + after - reach(size[axis], dilation[axis]), s)
            if left and (full + 1) * s < n + before:  # a window that starts beyond the row is none
                amounts[axis] = (before, after + s - left)
    return windows_on(
        layer, row, kernel=size, stride=stride, padding=tuple(amounts), dilation=dilation
    )


class WideMaxPool(MaxPool, repr=False):
    """`MaxPool` with any padding, with a dilation, and with a last window that is not full.

    Parameters
    ----------
    size, stride
        As of `MaxPool`.
    amounts
        For each axis, how many entries are added before and after; they never win.
    dilation
        The distance of the entries of a window.
    ceil
        Whether a last window may reach beyond the padding, for all axes or for each.
    """

    amounts: tuple[Any, ...] = field(default=(), converter=plain, kw_only=True)
    dilation: int | tuple[int, ...] = field(default=1, converter=plain, kw_only=True)
    ceil: bool | tuple[bool, ...] = field(default=False, kw_only=True)

    def _windows_on(self, row: Shape) -> Windows:
        return _windows(self, row)

    def _tiles(self) -> None:
        return None


class WideAveragePool(AveragePool, repr=False):
    """`AveragePool` with any padding, with a dilation, and with a last window that is not full.

    Parameters
    ----------
    size, stride
        As of `AveragePool`.
    amounts, dilation, ceil
        As of `WideMaxPool`; what is added does not count.
    """

    amounts: tuple[Any, ...] = field(default=(), converter=plain, kw_only=True)
    dilation: int | tuple[int, ...] = field(default=1, converter=plain, kw_only=True)
    ceil: bool | tuple[bool, ...] = field(default=False, kw_only=True)

    def _windows_on(self, row: Shape) -> Windows:
        return _windows(self, row)

    def _tiles(self) -> None:
        return None
