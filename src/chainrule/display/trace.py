"""The trace of one pass: every value of the forward pass and every delta of the backward pass.

In a network of layers in sequence, each layer multiplies the delta by its Jacobian. So the size of
the delta changes from layer to layer:

    Δ_{n−1} = J_nᵀ Δ_n        |Δ_0| ≤ ‖J_1‖ ‖J_2‖ … ‖J_N‖ |Δ_N|

If the J are a little smaller than one, as those of sigmoids with f′ ≤ ¼, the deltas vanish: the
first layers receive no signal from the cost and do not learn. If they are a little larger, the
deltas explode. A skip connection around a layer makes its Jacobian 1 + J, and the part that flows
through the 1 does not vanish.

``print(trace(model, x, target, loss))`` shows this in numbers, ``.plot()`` in a figure, and
``["dense_1"]`` contains the arrays themselves. Sizes |a| are root mean squares, √(Σ aᵢ²/n): the
size of a typical number, which does not grow with the width of a layer.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from copy import deepcopy
from typing import Any

import numpy as np
import numpy.typing as npt
from attrs import define

from chainrule.core import input_checks
from chainrule.core.errors import ChainruleError, DefinitionError, NonFiniteError, described
from chainrule.core.hints import hint_for_layer, hinted
from chainrule.core.layer import Layer
from chainrule.core.messages import require_built
from chainrule.core.parameter import Parameter
from chainrule.core.terminal import encodable, printable, printed
from chainrule.core.types import Array
from chainrule.display import trace_table
from chainrule.display.trace_table import Arrays, size_of
from chainrule.graph.plan import Plan
from chainrule.layers.activation import Activation
from chainrule.training.arguments import as_loss


@hinted
def trace(model: Layer, x: Any, target: Any, loss: Any, sample_weights: Any = None) -> Trace:
    """Run one forward and backward pass; keep all values, slopes, deltas and gradients by name.

    This is the pass of training: y = f(x; θ), then C and Δ = ∂C/∂y, then Jᵀ Δ from layer to layer,
    with bit-identical arithmetic; in addition, the delta of the data is computed. It uses a copy,
    so the gradients, buffers, random generators and memory of the model do not change. A Dropout
    drops the same numbers here as in the next `forward` of the model.

    Numbers that are not finite raise no error or warning: `Trace.first_non_finite` says where the
    first of them occurred.

    Parameters
    ----------
    model
        A built layer or container.
    x
        A batch of inputs, (batch, …); a tuple for several inputs.
    target
        The target for the loss; usually a tuple for several outputs.
    loss
        A loss, or any object with a method ``value_and_delta(y, target, sample_weights)`` that
        returns C and ∂C/∂y. For several outputs a list with one loss each, as for `Trainer`.
    sample_weights
        One weight for each row; by default all rows count equally.

    Raises
    ------
    DefinitionError
        If the model is not a layer.
    BuildError
        If it is not built yet.
    ShapeError, DtypeError, DataError
        If x does not fit the model, or the target or weights do not fit the loss.

    Examples
    --------
    >>> model = Sequential([Dense(1, initializer="ones"), Activation("tanh")])
    >>> model.build((2,))
    >>> found = trace(model, np.array([[1.0, -1.0]]), np.array([[0.5]]), losses.HalfSquaredError())
    >>> found.cost
    0.125
    >>> found["activation_1"].slope  # f′(0)
    array([[1.]])
    >>> found["dense_1"].gradients["weights"]  # yᵀ Δ
    array([[-0.5],
           [ 0.5]])
    """
    if not isinstance(model, Layer):
        raise DefinitionError(
            "trace needs a layer",
            expected="a built Layer such as Sequential([Dense(30), Dense(10)])",
            received=described(model),
            hint="trace(trainer.model, …)" if hasattr(model, "model") else hint_for_layer(model),
        )
    if isinstance(loss, list | tuple):
        loss = as_loss(loss, "trace")
    inputs = input_checks.as_inputs(require_built(model), input_checks.as_tuple(x))
    inputs = tuple(np.array(value) for value in inputs)
    input_checks.admit(model, inputs)
    copy = deepcopy(model)
    copy.parameters.zero_grad()
    with np.errstate(all="ignore"):
        return _Pass(copy).traced(inputs, target, loss, sample_weights)


@define(frozen=True, eq=False, repr=False)
class TracedStep:
    """The values and deltas of one use of a layer. Its arrays are read-only.

    Attributes
    ----------
    place
        Its path, such as ``dense_1`` or ``residual_1/dense_2``; each call has its own path.
    layer
        Its configuration, such as ``Dense(30)``.
    takes
        For each input the place of the layer that produces it, or the name of an input of the
        model. ``fork_1[0]`` is the first of several outputs.
    output
        The output y of `forward`; a tuple if there are several.
    slope
        f′(z), by which `backward` multiplies Δ, if the layer is an `Activation`; else None.
    delta
        Δ = ∂C/∂y, the argument of `backward`; if several steps use y, the sum of their deltas.
        None if there was no backward pass, because the loss raised an error.
    returned_delta
        The result Jᵀ Δ of `backward`, which is ∂C/∂(input); a tuple for several inputs, or None.
    parameters, gradients
        The value θ and the gradient ∂C/∂θ of each parameter, by name. A shared parameter has one
        gradient, the sum over all its uses. Without a backward pass there are no gradients.
    shares_with
        The place of an earlier step with which it shares parameters, if there is one.
    """

    place: str
    layer: str
    takes: tuple[str, ...]
    output: Arrays
    slope: npt.NDArray[Any] | None
    delta: Arrays | None
    returned_delta: Arrays | None
    parameters: Mapping[str, npt.NDArray[Any]]
    gradients: Mapping[str, npt.NDArray[Any]]
    shares_with: str | None

    @property
    def output_shapes(self) -> tuple[tuple[int, ...], ...]:
        """The shape of each output and its delta, with the batch axis."""
        return tuple(value.shape for value in input_checks.as_tuple(self.output))

    @property
    def output_size(self) -> float:
        """|y|, the root mean square of all outputs."""
        return size_of(self.output)

    @property
    def slope_mean(self) -> float | None:
        """The mean of f′(z): the factor by which an activation shrinks its deltas."""
        if self.slope is None:
            return None
        with np.errstate(all="ignore"):
            return float(np.mean(self.slope, dtype=np.float64)) if self.slope.size else 0.0

    @property
    def delta_size(self) -> float | None:
        """|Δ|, the root mean square of the delta passed to `backward`."""
        return None if self.delta is None else size_of(self.delta)

    @property
    def returned_delta_size(self) -> float | None:
        """|Jᵀ Δ|, the root mean square of the delta returned by `backward`."""
        return None if self.returned_delta is None else size_of(self.returned_delta)

    @property
    def gradient_sizes(self) -> dict[str, float]:
        """|∂C/∂θ|, the root mean square of the gradient of each parameter, by name."""
        return {name: size_of(gradient) for name, gradient in self.gradients.items()}

    @printable
    def __repr__(self) -> str:
        sizes = {"|output|": self.output_size, "|Δ|": self.delta_size}
        parts = [f"{name} {value:.3g}" for name, value in sizes.items() if value is not None]
        return f"TracedStep({self.place}: {self.layer}, {', '.join(parts)})"


@define(frozen=True)
class NonFinite:
    """The first numbers of a pass that are NaN or infinite.

    Attributes
    ----------
    place
        The place of a step, the name of an input, ``target``, or the class of the loss.
    quantity
        ``value`` (of an input or the target), the name of a parameter (for its value),
        ``output``, ``cost``, ``delta`` (of the loss, or of a step if a sum of deltas overflows),
        ``slope``, ``returned delta``, or ``gradient of weights``.
    nans, infinite, size
        The number of NaNs, of infinities, and of all numbers. If the loss raises an error instead
        of returning a cost that is not finite, the first two are zero.
    """

    place: str
    quantity: str
    nans: int
    infinite: int
    size: int

    @printable
    def __str__(self) -> str:
        counts = [f"{n:,} {what}" for n, what in ((self.nans, "NaN"), (self.infinite, "infinite"))]
        counts = [text for text in counts if not text.startswith("0 ")]
        of_all = f" of {self.size:,} number{'' if self.size == 1 else 's'}"
        said = " and ".join(counts) + of_all if counts else "rejected by the loss"
        return f"{self.quantity} of {self.place}: {said}"


@define(frozen=True, eq=False, repr=False)
class Trace:
    """The result of `trace`: prints as a table, and ``trace["dense_1"]`` is a `TracedStep`.

    Attributes
    ----------
    name
        The class of the model.
    loss
        A short form of the loss.
    steps
        A `TracedStep` for each use of a layer, in the order of computation.
    cost
        C; None if the loss raised an error because of numbers that are not finite.
    input_names
        The names of the inputs.
    inputs, outputs
        The inputs and outputs of the model: an array, or a tuple of several.
    input_deltas
        ∂C/∂x: an array, or a tuple of several; None if there was no backward pass.
    first_non_finite
        The first numbers in the order of computation that are not finite, or None. The order is:
        inputs, parameters and output of each step, (target,) cost, its delta, backward pass.
    error
        The error that the loss raised instead of returning a cost, or None.
    """

    name: str
    loss: str
    steps: tuple[TracedStep, ...]
    cost: float | None
    input_names: tuple[str, ...]
    inputs: Arrays
    outputs: Arrays
    input_deltas: Arrays | None
    first_non_finite: NonFinite | None
    error: ChainruleError | None

    def __getitem__(self, place: str) -> TracedStep:
        """The step at a place such as ``"dense_1"`` or ``"residual_1/dense_2"``."""
        found = {step.place: step for step in self.steps}
        if place not in found:
            near = difflib.get_close_matches(str(place), found, n=3, cutoff=0.5)
            names = near if near and len(found) > 9 else list(found)
            more = "" if len(names) <= 9 else f" … {names[-1]}"
            raise KeyError(f"no step {place!r}; there are {', '.join(names[:9])}{more}")
        return found[place]

    def __iter__(self) -> Iterator[TracedStep]:
        return iter(self.steps)

    def __len__(self) -> int:
        return len(self.steps)

    def to_dict(self) -> dict[str, npt.NDArray[Any]]:
        """Copies of all arrays under flat names, for example for `numpy.savez`.

        The names are ``"input.value"`` and ``"input.delta"``, ``"cost"``, and for each step names
        such as ``"dense_1.output"``, ``"dense_1.delta"``, ``"dense_1.returned_delta"``,
        ``"dense_1.weights.value"``, ``"dense_1.weights.grad"`` and ``"activation_1.slope"``.
        Several arrays are numbered: ``"fork_1.output[0]"``. Missing quantities are omitted.
        """
        found: dict[str, Any] = {}
        deltas = (None,) * len(self.input_names)
        if self.input_deltas is not None:
            deltas = input_checks.as_tuple(self.input_deltas)
        for name, value, delta in zip(
            self.input_names, input_checks.as_tuple(self.inputs), deltas, strict=True
        ):
            found |= {f"{name}.value": value, f"{name}.delta": delta}
        for step in self.steps:
            for quantity in ("output", "slope", "delta", "returned_delta"):
                found |= _numbered(f"{step.place}.{quantity}", getattr(step, quantity))
            for name, value in step.parameters.items():
                path = f"{step.place}{'/' if '.' in name else '.'}{name}"
                found |= {f"{path}.value": value, f"{path}.grad": step.gradients.get(name)}
        found["cost"] = self.cost
        return {name: np.array(value) for name, value in found.items() if value is not None}

    def plot(self, into: Any = None) -> Any:
        """Draw the sizes of outputs, deltas and gradients along the depth, on logarithmic scales.

        Parameters
        ----------
        into
            A figure or subfigure to draw into; by default a new figure.

        Returns
        -------
        matplotlib.figure.Figure

        Raises
        ------
        MissingExtraError
            If matplotlib is not installed.
        """
        from chainrule.display.trace_plot import plot_trace

        return plot_trace(self, into)

    @printable
    def __str__(self) -> str:
        # As wide as the terminal. In a narrow one, lines are wrapped, but never truncated.
        return printed(self, least=lambda width: trace_table.least_width(self, width))

    __repr__ = __str__

    def __rich_console__(self, console: Any, options: Any) -> Any:
        from rich.text import Text

        if options.ascii_only:  # or any other encoding without our signs
            yield Text(encodable(printed(self, width=options.max_width), options.encoding))
            return
        yield trace_table.table(self, options.max_width)
        for note, style in trace_table.notes(self):
            yield Text(note, style=style)

    def _repr_html_(self) -> str:
        return trace_table.html(self)


# ------------------------------------------------------------------------------- the pass


class _Pass:
    """One forward and backward pass through a private copy of a model."""

    def __init__(self, model: Layer) -> None:
        self.model = model
        self.plan = Plan.of(model)
        self.places = [step.path or self.plan.name for step in self.plan.steps]
        self.names = list(self.plan.names)
        self.parameters = [_parameters(step.layer) for step in self.plan.steps]
        self.first: NonFinite | None = None

    def look(self, place: str, quantity: str, *arrays: Array) -> None:
        """Record numbers that are not finite, if they are the first."""
        if self.first is None and not _are_finite(arrays):
            nans, infinite = (
                sum(int(np.count_nonzero(what(array))) for array in arrays)
                for what in (np.isnan, np.isinf)
            )
            self.first = NonFinite(place, quantity, nans, infinite, sum(map(np.size, arrays)))

    def traced(self, inputs: tuple[Array, ...], target: Any, loss: Any, weights: Any) -> Trace:
        values = tuple(map(_kept, inputs))
        for name, value in zip(self.names, values, strict=False):
            self.look(name, "value", value)
        outputs, slopes, y = self.forward(inputs)
        ends = _all_kept(y)
        cost, delta, error = self.costs(loss, _one_or_all(y), target, weights)
        deltas, sent, at_inputs = self.backward(delta, slopes) if error is None else ({}, {}, None)
        steps: list[TracedStep] = []
        holders: dict[int, str] = {}  # by id, the first place of a parameter
        for number, step in enumerate(self.plan.steps):
            place, held = self.places[number], self.parameters[number]
            shared = next((holders[id(p)] for p in held.values() if id(p) in holders), None)
            holders.update({id(p): holders.get(id(p), place) for p in held.values()})
            steps.append(
                TracedStep(
                    place=place,
                    layer=_configuration(step.layer),
                    takes=tuple(self.names[slot] for slot in step.takes),
                    output=outputs[number],
                    slope=slopes.get(number),
                    delta=deltas.get(number),
                    returned_delta=sent.get(number),
                    parameters={name: _kept(p.value) for name, p in held.items()},
                    gradients={} if error else {name: _kept(p.grad) for name, p in held.items()},
                    shares_with=shared,
                )
            )
        return Trace(
            name=type(self.model).__name__,
            loss=_shortened(loss),
            steps=tuple(steps),
            cost=cost,
            input_names=tuple(self.names[: len(inputs)]),
            inputs=_one_or_all(values),
            outputs=ends,
            input_deltas=at_inputs,
            first_non_finite=self.first,
            error=error,
        )

    def forward(
        self, inputs: tuple[Array, ...]
    ) -> tuple[list[Arrays], dict[int, npt.NDArray[Any]], list[Array]]:
        """The outputs of all steps, the slopes of activations by step number, and y."""
        values: dict[int, Any] = dict(zip(self.plan.inputs, inputs, strict=True))
        outputs: list[Arrays] = []
        slopes: dict[int, npt.NDArray[Any]] = {}
        for number, (step, taken, made) in enumerate(self.plan.steps_forward(inputs)):
            values.update(zip(step.makes, made, strict=True))
            outputs.append(_all_kept(made))
            for name, parameter in self.parameters[number].items():
                self.look(self.places[number], name, parameter.value)
            self.look(self.places[number], "output", *made)
            if isinstance(step.layer, Activation):
                slopes[number] = _slope(step.layer, *taken)
        return outputs, slopes, [values[slot] for slot in self.plan.outputs]

    def costs(
        self, loss: Any, y: Any, target: Any, weights: Any
    ) -> tuple[float | None, Any, ChainruleError | None]:
        """C and Δ, or the error that the loss raises for numbers that are not finite."""
        name = type(loss).__name__
        try:
            cost, delta = loss.value_and_delta(y, target, weights)
        except ChainruleError as error:
            if not isinstance(error, NonFiniteError) and _are_finite(input_checks.as_tuple(y)):
                raise  # the error has another cause
            if self.first is None:
                self.first = NonFinite(name, "cost", 0, 0, 1)
            return None, None, error
        self.model.__dict__["_delta_shape"] = input_checks.shapes_of(y)
        if not input_checks.fits_output(self.model, delta):
            raise input_checks.unfitting_delta(self.model, delta)
        made = (np.asarray(cost), *input_checks.as_tuple(delta))
        if not _are_finite(made):  # else the non-finite part of a target has no effect
            self.look("target", "value", *map(np.asarray, input_checks.as_tuple(target)))
        self.look(name, "cost", made[0])
        self.look(name, "delta", *made[1:])
        return float(cost), delta, None

    def backward(
        self, delta: Any, slopes: dict[int, Any]
    ) -> tuple[dict[int, Arrays], dict[int, Arrays], Arrays]:
        """The deltas that steps receive and return, by step number, and those of the inputs."""
        deltas: dict[int, Arrays] = {}
        sent: dict[int, Arrays] = {}
        ends: dict[int, Any] = {}
        for slot, part in zip(self.plan.outputs, input_checks.as_tuple(delta), strict=True):
            _add(ends, slot, part)
        numbers = {step.path: number for number, step in enumerate(self.plan.steps)}
        for step, given, back in self.plan.steps_backward(delta):
            number = numbers[step.path]
            deltas[number], sent[number] = _all_kept(given), _all_kept(back)
            self.look_back(number, given, slopes.get(number), back)
            for slot, part in zip(step.takes, back, strict=True):
                _add(ends, slot, part)
        return deltas, sent, _all_kept([ends[slot] for slot in self.plan.inputs])

    def look_back(
        self, number: int, given: tuple[Array, ...], slope: Any, back: tuple[Array, ...]
    ) -> None:
        place = self.places[number]
        self.look(place, "delta", *given)
        if slope is not None:
            self.look(place, "slope", slope)
        self.look(place, "returned delta", *back)
        for name, parameter in self.parameters[number].items():
            self.look(place, f"gradient of {name}", parameter.grad)


def _parameters(layer: Layer) -> dict[str, Parameter]:
    return {
        f"{path}.{name}" if path else name: parameter
        for path, part in layer.walk()
        for name, parameter in part._parameters.items()
    }


def _slope(layer: Activation, z: Array) -> npt.NDArray[Any]:
    """f′ as in `Activation.backward`."""
    _, memory = layer.function.value_and_memory(z.copy())
    return _kept(np.broadcast_to(layer.function.derivative_from_memory(memory), z.shape))


def _add(deltas: dict[int, Any], slot: int, delta: Array) -> None:
    deltas[slot] = deltas[slot] + delta if slot in deltas else delta


def _are_finite(arrays: tuple[Array, ...]) -> bool:
    numbers = (array for array in arrays if np.asarray(array).dtype.kind in "fc")
    return all(bool(np.isfinite(array).all()) for array in numbers)


def _kept(array: Array) -> npt.NDArray[Any]:
    """A read-only copy."""
    copy: npt.NDArray[Any] = np.array(array)
    copy.flags.writeable = False
    return copy


def _all_kept(arrays: Any) -> Arrays:
    kept: Arrays = _one_or_all(list(map(_kept, arrays)))
    return kept


def _one_or_all(arrays: Any) -> Any:
    return arrays[0] if len(arrays) == 1 else tuple(arrays)


def _numbered(name: str, arrays: Arrays | None) -> dict[str, Any]:
    if not isinstance(arrays, tuple):
        return {name: arrays}
    return {f"{name}[{number}]": array for number, array in enumerate(arrays)}


def _configuration(layer: Layer) -> str:
    """The layer's repr if it is short, else its class; for a container only its class."""
    return type(layer).__name__ if layer.children() else _shortened(layer)


def _shortened(thing: Any) -> str:
    text = repr(thing)
    name = type(thing).__name__
    if text.startswith("<"):  # the default repr
        return name
    return text if len(text) <= 40 and "\n" not in text else f"{name}(…)"
