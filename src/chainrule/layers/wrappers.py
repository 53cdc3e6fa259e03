"""Layers around a layer: in every step of a sequence, along it, or along it in both directions.

    TimeDistributed(f)    y_t = f(x_t)                            each step alone
    Scan(f)               h_t = f(x_t, h_{t−1}),  h_0 = 0         a recurrent layer of your own
    Bidirectional(f)      y = (f(x_1, …, x_T), g(x_T, …, x_1))    with g another f

The parameters are those of the layer inside, the same in every step.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from attrs import field

from chainrule.core import building, layer_state
from chainrule.core.arrays import as_operation
from chainrule.core.errors import (
    BuildError,
    ChainruleError,
    ConfigurationError,
    DefinitionError,
    ShapeError,
    described,
)
from chainrule.core.hints import hint_for_layer
from chainrule.core.input_checks import as_tuple, one_or_tuple
from chainrule.core.layer import Layer
from chainrule.core.messages import batch_of
from chainrule.core.types import Array, RowPattern, Shape
from chainrule.core.validators import complain, is_integer, yes_or_no
from chainrule.layers.recurrent import require_sequences
from chainrule.layers.reshape import plain


def a_layer(owner: Any, attribute: Any, value: Any) -> None:
    """Accept only layers."""
    if not isinstance(value, Layer):
        raise DefinitionError(
            f"{type(owner).__name__} is defined around a layer",
            expected=f"{type(owner).__name__}(layer)",
            received=described(value),
            hint=hint_for_layer(value),
        )


def is_shape(owner: object, attribute: Any, value: Any) -> None:
    """Accept only None and shapes of rows."""
    is_tuple = isinstance(value, tuple) and all(is_integer(n) and n >= 0 for n in value)
    if value is not None and not is_tuple:
        hint = "state_shape=(32,) for a state of 32 numbers"
        complain(owner, attribute.name, "the shape of a row, or None", value, hint)


class TimeDistributed(Layer, repr=False):
    """The same layer in every step of a sequence: y_t = f(x_t).

    Forward  y_nt = f(x_nt), with all steps t of all rows n as one batch
    Backward  ∂C/∂x_nt = J_fᵀ Δ_nt

    `Dense`, `Activation` and the normalizations of vectors do this by themselves. It is for layers
    that need rows of one rank, such as a `Convolution` on each image of a film.

    Parameters
    ----------
    layer
        The layer f, with any number of inputs and outputs.

    Raises
    ------
    DefinitionError
        If ``layer`` is not a layer.
    ShapeError
        If the rows have no axis of time.

    Examples
    --------
    >>> layer = TimeDistributed(Flatten())
    >>> layer(np.zeros((7, 5, 2, 3))).shape
    (7, 5, 6)
    """

    layer: Layer = field(validator=a_layer)

    def build(self, *input_shapes: Shape, **options: Any) -> None:
        if not input_shapes or not all(input_shapes):
            raise ShapeError(
                f"{self!r}: the rows of the input have no axis of time",
                expected="(batch, time, …)",
                received=", ".join(map(batch_of, input_shapes)),
                hint="a series of numbers has one feature: x[..., np.newaxis]",
            )
        if len({shape[0] for shape in input_shapes}) > 1:
            raise ShapeError(
                f"{self!r}: the inputs have different numbers of steps",
                expected="(batch, time, …) with one time for all inputs",
                received=", ".join(map(batch_of, input_shapes)),
            )
        if not self.layer.is_built:
            self.layer.build(*(shape[1:] for shape in input_shapes))

    @property
    def accepted_shapes(self) -> tuple[RowPattern, ...]:
        return tuple((None, *pattern) for pattern in self.layer.accepted_shapes)

    def forward(self, *inputs: Array) -> Any:
        self.axes = inputs[0].shape[:2]
        return _unfolded(self.layer.forward(*map(_folded, inputs)), self.axes)

    def backward(self, delta: Any) -> Any:
        folded = one_or_tuple([_folded(d) for d in as_tuple(delta)])
        return _unfolded(self.layer.backward(folded), self.axes)

    def backward_parameters(self, delta: Any) -> None:
        self.layer.backward_parameters(one_or_tuple([_folded(d) for d in as_tuple(delta)]))

    def apply(self, *inputs: Array) -> Any:
        return _unfolded(self.layer.apply(*map(_folded, inputs)), inputs[0].shape[:2])


def _folded(x: Array) -> Array:
    """The steps of all rows as the rows of one batch."""
    batch, steps, *rest = x.shape
    return np.reshape(x, (batch * steps, *rest))


def _unfolded(y: Any, axes: tuple[int, ...]) -> Any:
    return one_or_tuple([np.reshape(each, (*axes, *each.shape[1:])) for each in as_tuple(y)])


class Scan(Layer, repr=False):
    """A recurrent layer from a cell of your own: h_t = f(x_t, h_{t−1}).

    Forward  h_t = f(x_t, h_{t−1}),  h_0 = 0
    Backward  (∂C/∂x_t, γ_{t−1}) = J_fᵀ Δ_t,  Δ_t = ∂C/∂y_t + γ_t,  from the last step to the first;
    each step adds to the gradients of the cell

    The input is (batch, T, …), with any length T. The output is the last h, or all of them. A
    second input is a mask, (batch, T), that is nonzero where a step is used: at others, h stays.
    Every step is a twin of the cell, with the same parameters and its own memory.

    Parameters
    ----------
    cell
        The layer f. It has two inputs, x_t and h, and returns the next h, of the same shape. Any
        layer or `Graph` will do.
    return_sequences
        Whether to return h of all steps.
    state_shape
        The shape of a row of h. By default it is found: it is what the cell returns.

    Raises
    ------
    DefinitionError
        If ``cell`` is not a layer.
    ShapeError
        If the rows are not sequences, the mask does not fit them, or the cell returns another
        shape than that of h.
    BuildError
        If the shape of h cannot be found.

    Examples
    --------
    A sum over time that forgets, h_t = x_t + ½ h_{t−1}:

    >>> class Leaky(Layer):
    ...     def forward(self, x, h):
    ...         return x + 0.5 * h
    ...     def backward(self, delta):
    ...         return delta, 0.5 * delta
    >>> layer = Scan(Leaky(), return_sequences=True)
    >>> layer(np.array([[[1.0], [0.0], [0.0]]]))[0, :, 0]
    array([1.  , 0.5 , 0.25])
    """

    cell: Layer = field(validator=a_layer)
    return_sequences: bool = field(default=False, validator=yes_or_no)
    state_shape: tuple[int, ...] | None = field(
        default=None, converter=plain, validator=is_shape, kw_only=True
    )

    def build(self, *input_shapes: Shape, **options: Any) -> None:
        require_sequences(self, input_shapes, "…")
        entry = input_shapes[0][1:]
        self.hidden_shape = self.state_shape or shape_of_state(self, self.cell, entry)
        if not self.cell.is_built:
            self.cell.build(entry, self.hidden_shape)
        if self.cell.output_shapes != (self.hidden_shape,):
            raise ShapeError(
                f"{self!r}: the cell does not return a state like the one that it takes",
                expected=f"{batch_of(self.hidden_shape)}, the shape of h",
                received=", ".join(map(batch_of, self.cell.output_shapes)),
                hint="Scan(cell, state_shape=…) sets the shape of h",
            )

    @property
    def accepted_shapes(self) -> tuple[RowPattern, ...]:
        entry = self.cell.accepted_shapes[0]
        return ((None, *entry), (None,))[: len(self.input_shapes)]

    def forward(self, *inputs: Array) -> Array:
        count = inputs[0].shape[1]
        fields, twins = current_twins(self.cell, self.__dict__.get("twins"))
        self.twins = fields, [*twins, *(self.cell.twin() for _ in range(count - len(twins)))]
        self.steps = self.twins[1][:count]
        self.mask = inputs[1] if len(inputs) > 1 else None
        return self._through_time(*inputs, calls=[cell.forward for cell in self.steps])

    def backward(self, delta: Array) -> Any:
        batch, mask = len(delta), self.mask
        dh = np.zeros_like(delta, shape=(batch, *self.hidden_shape))
        dh = dh if self.return_sequences else dh + delta
        of_inputs: list[Array] = []
        for t, is_used in reversed(list(enumerate(self._used(mask, len(self.steps))))):
            if self.return_sequences:
                dh = dh + delta[:, t]
            stayed = 0.0 if is_used is None else np.where(is_used, 0, dh)
            dx, dh = self.steps[t].backward(dh if is_used is None else np.where(is_used, dh, 0))
            dh = dh + stayed
            of_inputs.append(dx)
        nothing = np.zeros_like(delta, shape=(batch, 0, *self.input_shapes[0][1:]))
        dx = np.stack(of_inputs[::-1], axis=1) if of_inputs else nothing
        return dx if mask is None else (dx, np.zeros_like(mask))

    def apply(self, *inputs: Array) -> Array:
        return self._through_time(*inputs)

    @as_operation
    def _through_time(
        self,
        x: Array,
        mask: Array | None = None,
        *,
        calls: Iterable[Callable[..., Array]] | None = None,
    ) -> Array:
        """The output; ``calls`` are those of the steps, by default all those of the cell."""
        batch, steps, *rest = x.shape
        if calls is None:
            calls = itertools.repeat(self.cell.apply, steps)
        if mask is not None:  # padding may be anything
            x = np.where(np.reshape(mask != 0, (batch, steps, *[1] * len(rest))), x, 0)
        h = np.zeros((batch, *self.hidden_shape), x.dtype, like=x)
        hidden = []
        used = self._used(mask, steps)
        for call, x_t, is_used in zip(calls, np.swapaxes(x, 0, 1), used, strict=True):
            new = call(x_t, h)
            h = new if is_used is None else np.where(is_used, new, h)
            hidden.append(h)
        if not self.return_sequences:
            return h
        return (
            np.stack(hidden, axis=1) if hidden else np.reshape(h[:, :0], (batch, 0, *h.shape[1:]))
        )

    def _used(self, mask: Array | None, steps: int) -> Any:
        """For each step which rows use it, (batch, 1, …); None for all."""
        if mask is None:
            return [None] * steps
        ones = [1] * len(self.hidden_shape)
        return np.reshape(np.swapaxes(mask != 0, 0, 1), (steps, len(mask), *ones))


def current_twins(
    layer: Layer, known: tuple[list[Any], list[Any]] | None
) -> tuple[list[Any], list[Any]]:
    """The twins that an earlier pass has made, with the fields that they were made for.

    There are none if there was no earlier pass, or a field has changed since.
    """
    fields = layer_state.field_values(layer)
    before, twins = known or ([], [])
    return fields, (twins if layer_state.are_same(fields, before) else [])


def shape_of_state(owner: Layer, cell: Layer, entry: Shape) -> Shape:
    """The shape of a row of the state that a cell takes as its second input and returns."""
    known = cell.input_shapes if cell.is_built else cell.known_input_shapes
    if known is not None and len(known) == 2:
        return known[1]
    units: Any = getattr(cell, "units", None)
    name = type(owner).__name__
    guess: Shape = (units,) if is_integer(units) else entry
    problem: Exception | None = None
    for _ in range(3):
        trial = cell.unbuilt()
        try:
            with building.initialized_by(np.zeros):
                trial.build(entry, guess, rng=0, dtype=owner.dtype)
        except ChainruleError as error:
            problem = error
            break
        if trial.output_shapes == (guess,):
            return guess
        guess = trial.output_shapes[0]
    raise BuildError(
        f"{name}: the shape of the state of {cell!r} cannot be found",
        expected="a cell of two inputs, x and the state, that returns the next state",
        received=f"{problem}" if problem else f"another shape in each of three trials: {guess}",
        hint="check_layer(cell, (x_shape, h_shape)) checks the cell; "
        f"{name}(cell, state_shape=…) sets the shape",
    ) from problem


class Bidirectional(Layer, repr=False):
    """A recurrent layer and a second one that reads the sequence backwards, side by side.

    Forward  y = (f(x_1, …, x_T), g(x_T, …, x_1)), joined along the last axis
    Backward  ∂C/∂x = J_fᵀ Δ_f + P J_gᵀ Δ_g,  where P reverses the time

    With sequences as output, both parts of y_t belong to the same time: the first has seen
    x_1, …, x_t, the second x_T, …, x_t. A mask is passed on.

    Parameters
    ----------
    layer
        The layer f, such as ``LSTM(32)``. The layer g is a copy with its own parameters.

    Attributes
    ----------
    reverse : Layer
        The layer g.

    Raises
    ------
    DefinitionError
        If ``layer`` is not a layer.
    ConfigurationError
        If the layer carries its state from batch to batch: backwards, that would come from the
        future.
    ShapeError
        If the rows are not sequences, or the mask does not fit them.

    Examples
    --------
    >>> layer = Bidirectional(GRU(3, return_sequences=True))
    >>> layer(np.zeros((7, 5, 2))).shape
    (7, 5, 6)
    """

    layer: Layer = field(validator=a_layer)

    def build(self, *input_shapes: Shape, **options: Any) -> None:
        if any(getattr(member, "stateful", False) for _, member in self.layer.walk()):
            raise ConfigurationError(
                f"{self!r}: a state cannot be carried backwards from batch to batch",
                expected="a layer with stateful=False",
                received=repr(self.layer),
            )
        require_sequences(self, input_shapes, "…")
        self.reverse = self.layer.unbuilt()
        for layer in (self.layer, self.reverse):
            if not layer.is_built:
                layer.build(*input_shapes)

    @property
    def accepted_shapes(self) -> tuple[RowPattern, ...]:
        return self.layer.accepted_shapes

    def forward(self, *inputs: Array) -> Array:
        return self._joined(self.layer.forward, self.reverse.forward, inputs)

    def backward(self, delta: Array) -> Any:
        width = self.layer.output_shape[-1]
        there = as_tuple(self.layer.backward(delta[..., :width]))
        back = as_tuple(self.reverse.backward(self._in_time(delta[..., width:])))
        return one_or_tuple([f + _reversed(g) for f, g in zip(there, back, strict=True)])

    def backward_parameters(self, delta: Array) -> None:
        width = self.layer.output_shape[-1]
        self.layer.backward_parameters(delta[..., :width])
        self.reverse.backward_parameters(self._in_time(delta[..., width:]))

    def apply(self, *inputs: Array) -> Array:
        return self._joined(self.layer.apply, self.reverse.apply, inputs)

    def _joined(self, there: Any, back: Any, inputs: tuple[Array, ...]) -> Array:
        outputs = there(*inputs), self._in_time(back(*map(_reversed, inputs)))
        return np.concatenate(outputs, axis=-1)

    def _in_time(self, y: Array) -> Array:
        """An output of g with time in order, if it is a sequence.

        A layer that does not say so, such as a `Sequential`, returns one if its rows have two axes.
        """
        has_axes = len(self.layer.output_shape) > 1
        return _reversed(y) if getattr(self.layer, "return_sequences", has_axes) else y


def _reversed(x: Array) -> Array:
    return x[:, ::-1]
