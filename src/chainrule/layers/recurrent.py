"""Recurrent layers: the same step at each time, with a state that it passes on to the next.

    h_t = f(x_t, h_{t−1}),    h_0 = 0

Unrolled in time this is a deep network, with one layer for each step and the same weights in all of
them. Backpropagation through time goes from the last step to the first. The cost depends on h_t
through the output, and through the next step:

    Δ_t = ∂C/∂y_t + J_{t+1}ᵀ Δ_{t+1},    with J_{t+1} = ∂h_{t+1}/∂h_t

In a simple step each J contains the same matrix, so Δ vanishes or explodes with the number of
steps. The gates of `LSTM` and `GRU`, learned sigmoids, can pass a state on unchanged.

Inside, arrays have the shape (features, batch), so that each gate is one piece of memory, and one
call of tanh computes all gates: σ(z) = ½ + ½ tanh(z/2).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, TypeAlias

import numpy as np
from attrs import field

from chainrule.core.acceleration import IN_USE
from chainrule.core.arrays import as_operation
from chainrule.core.equations import Equations
from chainrule.core.errors import ShapeError
from chainrule.core.initializers import Blocks, GlorotUniform, Orthogonal
from chainrule.core.layer import Layer
from chainrule.core.messages import batch_of
from chainrule.core.types import Array, RowPattern, Shape
from chainrule.core.validators import as_float, as_int, at_least_one, complain, yes_or_no
from chainrule.layers import kernels
from chainrule.layers.dense import ones

States: TypeAlias = tuple[Array, ...]
"""What a step passes on to the next: arrays of shape (units, batch)."""


_is_width = at_least_one(
    "{kind}(32); first the layer, then its input: {kind}(32)(x)",
    "the number of outputs, at least 1",
)


def _is_finite(owner: object, attribute: Any, value: Any) -> None:
    if not isinstance(value, float) or not math.isfinite(value):
        complain(owner, attribute.name, "a finite number", value, "1.0: at first, little is lost")


def _signs(letters: Mapping[str, tuple[str, str]]) -> dict[str, tuple[str, str]]:
    """The notation of what belongs to a time t, to the one before or after, or to the last."""
    times = {
        "": ("t", "ₜ"),
        "_before": ("t-1", "ₜ₋₁"),
        "_after": ("t+1", "ₜ₊₁"),
        "_last": ("T", "_T"),
    }
    return {
        name + ending: (f"{{{latex}}}_{{{below}}}", text + lowered)
        for name, (latex, text) in letters.items()
        for ending, (below, lowered) in times.items()
    }


SIGNS = {
    **_signs({letter: (f"{letter}^{{(<n>)}}", f"{letter}<n>") for letter in "hzaiogcrnqD"}),
    **_signs({"x": ("<x>", "<x>"), "delta": ("<delta>", "<delta>")}),
    **_signs({"forget": ("f^{(<n>)}", "f<n>"), "gamma": (r"\gamma^{(<n>)}", "γ<n>")}),
    **_signs({"d": (r"\delta^{(<n>)}", "δ<n>"), "e": (r"\epsilon^{(<n>)}", "ε<n>")}),
    **{
        f"{name}_{gate}": (f"{latex}_{{t,{gate}}}^{{(<n>)}}", f"{text}<n>ₜ[{gate}]")
        for name, latex, text in [*zip("zaq", "zaq", "zaq", strict=True), ("d", r"\delta", "δ")]
        for gate in "ifgorzn"
    },
    "sigmoid": (r"\sigma", "σ"),
    "over_time": (r"\sum_t", "Σₜ"),
}
"""How `equations` writes the quantities of a recurrent layer."""


def require_sequences(layer: Layer, shapes: Sequence[Shape], entries: str) -> None:
    """Raise an error unless the rows are sequences, and a mask has a number for each step."""
    first = shapes[0] if shapes else ()
    if len(first) < 2 or (entries == "features" and len(first) > 2):
        raise ShapeError(
            f"{layer!r}: the rows of the input are not sequences",
            expected=f"(batch, time, {entries})",
            received=batch_of(first),
            hint="a series of numbers has one feature: x[..., np.newaxis]"
            if len(first) < 2
            else "TimeDistributed(Flatten()) makes a vector of each step",
        )
    if len(shapes) > 1 and tuple(shapes[1:]) != (first[:1],):
        raise ShapeError(
            f"{layer!r}: the mask does not fit the input",
            expected=f"{batch_of(first[:1])}: for each step, whether it is used",
            received=", ".join(map(batch_of, shapes[1:])),
            hint=f"{type(layer).__name__}(…)(x, mask)",
        )


class Recurrent(Layer, repr=False):
    """Time, mask and carried state: what the recurrent layers have in common.

    A subclass writes one step, its slopes and its backward pass: `_step`, `_slopes`, `_step_back`.
    """

    states: ClassVar[tuple[str, ...]] = ("hidden",)
    """The names of the states; the first one is the output."""
    scales: ClassVar[tuple[float, ...]] = (1.0,)
    """For each gate, s in tanh(s z): ½ for a sigmoid."""
    slope_count: ClassVar[int] = 1
    has_two_sums: ClassVar[bool] = False
    """Whether x_t w and h_{t−1} u enter a gate in different ways."""

    gates: ClassVar[str] = ""
    """The letters of the gates in the formulas, in the order of the weights."""
    formulas: ClassVar[Mapping[str, str]] = {}
    """A step, line by line, for `equations`."""
    formulas_back: ClassVar[Mapping[str, str]] = {}
    """Its backward pass."""

    units: int = field(converter=as_int, validator=_is_width)
    return_sequences: bool = field(default=False, validator=yes_or_no)
    stateful: bool = field(default=False, validator=yes_or_no, kw_only=True)

    def build(self, *input_shapes: Shape, **options: Any) -> None:
        require_sequences(self, input_shapes, "features")
        gates, width = len(self.scales), len(self.scales) * self.units
        glorot, orthogonal = Blocks(GlorotUniform(), gates), Blocks(Orthogonal(), gates)
        self.weights = self.parameter("weights", (input_shapes[0][1], width), glorot)
        self.recurrent_weights = self.parameter(
            "recurrent_weights", (self.units, width), orthogonal
        )
        self.biases = self.parameter("biases", (width,))
        for name in self.states if self.stateful else ():
            self.buffer(name, (None, self.units))

    @property
    def accepted_shapes(self) -> tuple[RowPattern, ...]:
        return ((None, self.input_shapes[0][1]), (None,))[: len(self.input_shapes)]

    def equations(self) -> Equations:
        of_hidden = "e" if "e" in self.formulas_back else "d"
        back, signs = dict(self.formulas_back), dict(SIGNS)
        if not self.return_sequences:  # then the cost depends on the last h alone
            back = {"D_last": "delta", **back, "D": back["D"].removeprefix("delta + ")}
            del signs["delta"]
        gradients = {
            "weights": "over_time(x.T @ d)",
            "recurrent_weights": f"over_time(h_before.T @ {of_hidden})",
            "biases": "over_time(d.sum(axis=0))",
            "recurrent_biases": "over_time(e.sum(axis=0))",
        }
        return Equations(
            "h" if self.return_sequences else "h_last",
            ["d @ weights.T", "np.zeros_like(x_2)"][: len(self.input_shapes)],
            {name: text for name, text in gradients.items() if name in self._parameters},
            is_evaluable=False,
            definitions=self.formulas,
            backward_definitions=back,
            signs=signs,
        )

    # ---------------------------------------------------------------- one step, by a subclass

    def _step(self, z: Array, states: States, u: Array) -> tuple[States, States]:
        """The new states, and what `_slopes` needs; z is the part that depends on x_t."""
        raise NotImplementedError

    def _slopes(self, slopes: Array, *parts: Array) -> None:
        """Write what the backward pass multiplies deltas by, (slope_count, units, batch)."""
        raise NotImplementedError

    def _step_back(self, deltas: States, slopes: Array, room: Array) -> Sequence[Any]:
        """Write ∂C/∂z and, if it differs, ∂C/∂(h_{t−1} u) into room, (2, gates, units, batch).

        Returns ∂C/∂(the states before); for h, what it does not get through u, or None.
        """
        raise NotImplementedError

    # ---------------------------------------------------------------- all steps

    def forward(self, *inputs: Array) -> Array:
        outputs, states, self.passed = self._through_time(*inputs, remembers=True)
        if self.stateful and len(outputs):
            for name, state in zip(self.states, states, strict=True):
                self._buffers[name].value = state.T
        return outputs

    def backward(self, delta: Array) -> Any:
        x, mask = self.passed[:2]
        rows = self._back_through_time(delta)
        by_time = np.reshape(IN_USE.dot(rows, self.weights.value.T), np.swapaxes(x, 0, 1).shape)
        dx = np.swapaxes(by_time, 0, 1)
        return dx if mask is None else (dx, np.zeros_like(mask))

    def backward_parameters(self, delta: Array) -> None:
        self._back_through_time(delta)

    def apply(self, *inputs: Array) -> Array:
        return self._through_time(*inputs)[0]

    @as_operation
    def _through_time(
        self, x: Array, mask: Array | None = None, *, remembers: bool = False
    ) -> tuple[Array, States, Any]:
        """The outputs, the last states, and what the backward pass needs."""
        batch, steps, _ = x.shape
        used: Any = [None] * steps
        if mask is not None:
            x = np.where((mask != 0)[:, :, np.newaxis], x, 0)  # padding may be anything
            used = np.swapaxes(mask != 0, 0, 1)[:, np.newaxis]  # (T, 1, batch)
        scale = np.repeat(np.array(self.scales, x.dtype), self.units)
        w = np.concatenate([self.weights.value, self._input_biases()[np.newaxis]]) * scale
        u = (self.recurrent_weights.value * scale).T
        states = self._first_states(x)
        one = np.ones((steps, 1, batch), x.dtype, like=states[0])  # times b
        by_time = np.concatenate([np.transpose(x, (1, 2, 0)), one], axis=1)
        hidden, slopes = [states[0]], None
        for x_t, is_used in zip(by_time, used, strict=True):
            new, parts = self._step(IN_USE.dot(w.T, x_t), states, u)
            if is_used is not None:
                new = tuple(np.where(is_used, *pair) for pair in zip(new, states, strict=True))
            states = new
            hidden.append(states[0])
            if remembers:
                if slopes is None:  # in one piece: arrays of the size of a gate come and go slowly
                    shape = (steps, self.slope_count, *new[0].shape)
                    slopes = np.empty_like(new[0], shape=shape)
                self._slopes(slopes[len(hidden) - 2], *parts)
        rows = np.concatenate([h.T for h in hidden])  # those of all times, one after the other
        outputs = np.copy(states[0].T, order="C")
        if self.return_sequences:
            outputs = np.swapaxes(np.reshape(rows[batch:], (steps, batch, self.units)), 0, 1)
        return outputs, states, (x, mask, used, slopes, rows)

    def _back_through_time(self, delta: Array) -> Array:
        """∂C/∂z of all times as rows; adds to the gradients."""
        x, _, used, slopes, rows = self.passed
        batch, steps, features = x.shape
        nothing = np.zeros_like(delta, shape=(self.units, batch))
        deltas: States = (nothing,) * len(self.states)
        from_cost: Any = [nothing] * steps
        if self.return_sequences:
            from_cost = np.copy(np.transpose(delta, (1, 2, 0)), order="C")
        else:
            deltas = (delta.T, *deltas[1:])
        if not steps:
            return np.zeros_like(delta, shape=(0, self.biases.size))
        both = slopes[0, 0, :0] + nothing[:0]  # dual numbers, if one of them is
        room = np.empty_like(both, shape=(2, len(self.scales), self.units, batch))
        dz, dq = np.reshape(room, (2, self.biases.size, batch))  # the same memory
        of_z = of_q = np.empty_like(both, shape=(steps * batch, self.biases.size))
        dq, of_q = (dq, np.empty_like(of_z)) if self.has_two_sums else (dz, of_z)
        recurrent = self.recurrent_weights.value
        for t in reversed(range(steps)):
            deltas = (deltas[0] + from_cost[t], *deltas[1:])
            stayed: Any = deltas
            if used[t] is not None:
                stayed = [np.where(used[t], 0, d) for d in deltas]
                deltas = tuple(np.where(used[t], d, 0) for d in deltas)
            direct, *others = self._step_back(deltas, slopes[t], room)
            through = IN_USE.dot(recurrent, dq)
            deltas = (through if direct is None else through + direct, *others)
            if used[t] is not None:
                deltas = tuple(map(np.add, deltas, stayed))
            at = slice(t * batch, (t + 1) * batch)
            of_z[at] = dz.T
            if self.has_two_sums:
                of_q[at] = dq.T
        inputs = np.reshape(np.swapaxes(x, 0, 1), (steps * batch, features))
        self.weights.accumulate_product(inputs.T, of_z)
        self.recurrent_weights.accumulate_product(rows[: steps * batch].T, of_q)
        self._accumulate_biases(of_z, of_q)
        return of_z

    def _accumulate_biases(self, of_z: Array, of_q: Array) -> None:
        self.biases.accumulate_product(ones(len(of_z), of_z.dtype), of_z)

    def _input_biases(self) -> Array:
        return self.biases.value

    def _first_states(self, x: Array) -> States:
        """Zeros, or the states that the last batch has left."""
        batch = len(x)
        zeros = np.zeros((self.units, batch), x.dtype, like=x)
        carried = [self._buffers[name].value for name in self.states if self.stateful]
        if not carried or not len(carried[0]) or not batch:
            return (zeros,) * len(self.states)
        if len(carried[0]) != batch:
            raise ShapeError(
                f"{self!r}: the batch does not continue the carried state, which has another size",
                expected=f"{len(carried[0])} rows, as in the batch before",
                received=f"{batch} rows",
                hint="begin new sequences with reset(), or pass batches of one size",
            )
        return tuple(zeros + np.transpose(state) for state in carried)


def _make_sigmoids(of_half: Array) -> None:
    """Turn tanh(z/2) into σ(z), in place."""
    of_half *= 0.5
    of_half += 0.5


class SimpleRNN(Recurrent, repr=False):
    """The simplest recurrent layer: h_t = tanh(x_t w + h_{t−1} u + b).

    Forward  h_t = tanh(x_t w + h_{t−1} u + b),  h_0 = 0
    Backward  δ_t = Δ_t ⊙ (1 − h_t²),  Δ_{t−1} = ∂C/∂y_{t−1} + δ_t uᵀ,  ∂C/∂x_t = δ_t wᵀ,
    ∂C/∂w = Σ_t x_tᵀ δ_t,  ∂C/∂u = Σ_t h_{t−1}ᵀ δ_t,  ∂C/∂b = Σ_t Σ_rows δ_t

    Shapes, mask, carried state and errors are those of `LSTM`.

    Parameters
    ----------
    units, return_sequences, stateful
        As of `LSTM`.

    Attributes
    ----------
    weights, recurrent_weights, biases : Parameter
        w of shape (F, units), u of shape (units, units), b of shape (units,).

    Source: J. L. Elman, *Finding Structure in Time*, Cognitive Science 14 (1990).

    Examples
    --------
    >>> layer = SimpleRNN(2, return_sequences=True)
    >>> layer.build((5, 1), rng=0)
    >>> layer(np.ones((7, 5, 1))).shape
    (7, 5, 2)
    """

    formulas: ClassVar[Mapping[str, str]] = {
        "h": "np.tanh(x @ weights + h_before @ recurrent_weights + biases)"
    }
    formulas_back: ClassVar[Mapping[str, str]] = {
        "D": "delta + d_after @ recurrent_weights.T",
        "d": "D * (1 - h**2)",
    }

    def _step(self, z: Array, states: States, u: Array) -> tuple[States, States]:
        h = np.tanh(z + IN_USE.dot(u, states[0]))
        return (h,), (h,)

    def _slopes(self, slopes: Array, *parts: Array) -> None:
        (h,) = parts
        np.subtract(1, h * h, out=slopes[0])

    def _step_back(self, deltas: States, slopes: Array, room: Array) -> Sequence[Any]:
        np.multiply(deltas[0], slopes[0], out=room[0, 0])
        return (None,)


class LSTM(Recurrent, repr=False):
    """Long short-term memory: gates write into a cell c, keep what it holds, and read it.

    Forward  i = σ(z_i), f = σ(z_f), g = tanh(z_g), o = σ(z_o),  with z = x_t w + h_{t−1} u + b,
    c_t = f ⊙ c_{t−1} + i ⊙ g,  h_t = o ⊙ tanh(c_t),  h_0 = c_0 = 0
    Backward  γ_t = γ_{t+1} ⊙ f_{t+1} + Δ_t ⊙ o ⊙ (1 − tanh²(c_t)),
    δ_i = γ_t ⊙ g ⊙ i ⊙ (1 − i),  δ_f = γ_t ⊙ c_{t−1} ⊙ f ⊙ (1 − f),  δ_g = γ_t ⊙ i ⊙ (1 − g²),
    δ_o = Δ_t ⊙ tanh(c_t) ⊙ o ⊙ (1 − o),  Δ_{t−1} = ∂C/∂y_{t−1} + δ uᵀ,  ∂C/∂x_t = δ wᵀ,
    ∂C/∂w = Σ_t x_tᵀ δ,  ∂C/∂u = Σ_t h_{t−1}ᵀ δ,  ∂C/∂b = Σ_t Σ_rows δ

    Here γ = ∂C/∂c. From step to step it is multiplied by f alone, which the initial bias of 1
    brings near 1: so it reaches the first of many steps.

    The rows of the input are sequences, (batch, T, F), of any length T. The output is the last h,
    (batch, units), or all of them, (batch, T, units). A second input is a mask, (batch, T), that is
    nonzero where a step is used. The states stay as they are at the others, so the output is that
    of the last step that is used.

    Parameters
    ----------
    units
        The number of outputs.
    return_sequences
        Whether to return h of all steps.
    stateful
        Whether each batch begins with the states in which the one before ended, until `reset`. Then
        row n of all batches is one long sequence. Both `forward` and ``layer(x)`` begin with the
        carried states, but only `forward` replaces them, as inference leaves no trace: to generate
        a text step by step, call ``forward``. Gradients end where the batch begins. All batches
        must have as many rows, also the last of an epoch, and those of validation and `predict`,
        unless `reset` comes before them.
    forget_bias
        The initial bias of f.

    Attributes
    ----------
    weights, recurrent_weights, biases : Parameter
        w of shape (F, 4 units), u of shape (units, 4 units), b of shape (4 units,); next to each
        other the gates i, f, g, o: input, forget, cell, output.
    hidden, cell : Parameter
        With ``stateful``, the buffers of the carried states, (batch, units). They have no rows
        until the first batch, and after `reset`. Files and checkpoints contain them.

    Raises
    ------
    ConfigurationError
        If ``units`` is not an integer of at least 1, a flag not a bool, or ``forget_bias`` not a
        finite number.
    ShapeError
        If the rows are not sequences, the mask does not fit them, or a batch has another size than
        the carried states.

    Source: S. Hochreiter and J. Schmidhuber, *Long Short-Term Memory*, Neural Computation 9 (1997);
    F. A. Gers, J. Schmidhuber and F. Cummins, *Learning to Forget* (2000), for f.

    Examples
    --------
    The mask ends the second sequence after one step:

    >>> layer = LSTM(4)
    >>> x, mask = np.ones((2, 3, 1)), np.array([[1, 1, 1], [1, 0, 0]])
    >>> np.array_equal(layer(x, mask)[1:], layer(x[1:, :1], mask[1:, :1]))
    True
    """

    states: ClassVar[tuple[str, ...]] = ("hidden", "cell")
    scales: ClassVar[tuple[float, ...]] = (0.5, 0.5, 1.0, 0.5)
    slope_count: ClassVar[int] = 6

    gates: ClassVar[str] = "ifgo"
    formulas: ClassVar[Mapping[str, str]] = {
        "z": "x @ weights + h_before @ recurrent_weights + biases",
        "i": "sigmoid(z_i)",
        "forget": "sigmoid(z_f)",
        "g": "np.tanh(z_g)",
        "o": "sigmoid(z_o)",
        "c": "forget * c_before + i * g",
        "h": "o * np.tanh(c)",
    }
    formulas_back: ClassVar[Mapping[str, str]] = {
        "D": "delta + d_after @ recurrent_weights.T",
        "gamma": "gamma_after * forget_after + D * o * (1 - np.tanh(c) ** 2)",
        "d_i": "gamma * g * i * (1 - i)",
        "d_f": "gamma * c_before * forget * (1 - forget)",
        "d_g": "gamma * i * (1 - g**2)",
        "d_o": "D * np.tanh(c) * o * (1 - o)",
    }

    forget_bias: float = field(default=1.0, converter=as_float, validator=_is_finite, kw_only=True)

    def build(self, *input_shapes: Shape, **options: Any) -> None:
        super().build(*input_shapes)
        self.biases.value[self.units : 2 * self.units] = self.forget_bias

    def _step(self, z: Array, states: States, u: Array) -> tuple[States, States]:
        (h, c), units = states, self.units
        z += IN_USE.dot(u, h)
        gates = np.tanh(z)
        written, kept, c = self._cells(gates, c)
        read = np.tanh(c)
        h = gates[3 * units :] * read
        return (h, c), (gates, written, kept, read, h)

    def _cells(self, gates: Array, c: Array) -> Array:
        """Products i g and f c, and their sum, the new c; i, f and o become sigmoids."""
        cells = np.empty_like(gates, shape=(3, *c.shape))
        if not kernels.lstm_cells(gates, c, cells):
            _make_sigmoids(gates[: 2 * self.units])
            _make_sigmoids(gates[3 * self.units :])
            i, f, g, _ = gates.reshape(4, *c.shape)
            np.multiply(i, g, out=cells[0])
            np.multiply(f, c, out=cells[1])
            np.add(cells[0], cells[1], out=cells[2])
        return cells

    def _slopes(self, slopes: Array, *parts: Array) -> None:
        if kernels.lstm_slopes(slopes, *parts):
            return
        gates, written, kept, read, h = parts
        i, f, g, o = gates.reshape(4, *h.shape)
        np.subtract(written, written * i, out=slopes[0])
        np.subtract(kept, kept * f, out=slopes[1])
        np.subtract(i, written * g, out=slopes[2])
        np.subtract(h, h * o, out=slopes[3])
        np.subtract(o, h * read, out=slopes[4])
        slopes[5] = f

    def _step_back(self, deltas: States, slopes: Array, room: Array) -> Sequence[Any]:
        dh, dc = deltas
        before = np.empty_like(room, shape=dh.shape)
        if not kernels.lstm_back(room, dh, dc, slopes, before):
            np.add(dc, dh * slopes[4], out=before)
            np.multiply(before, slopes[:3], out=room[0, :3])
            np.multiply(dh, slopes[3], out=room[0, 3])
            before *= slopes[5]
        return None, before


class GRU(Recurrent, repr=False):
    """Gated recurrent unit: a gate z keeps the state, a gate r decides what of it is used.

    Forward  r = σ(x_t w_r + b_r + q_r),  z = σ(x_t w_z + b_z + q_z),  with q = h_{t−1} u + b',
    n = tanh(x_t w_n + b_n + r ⊙ q_n),  h_t = (1 − z) ⊙ n + z ⊙ h_{t−1},  h_0 = 0
    Backward  δ_n = Δ_t ⊙ (1 − z) ⊙ (1 − n²),  δ_z = Δ_t ⊙ (h_{t−1} − n) ⊙ z ⊙ (1 − z),
    δ_r = δ_n ⊙ q_n ⊙ r ⊙ (1 − r),  and for q: δ' = (δ_r, δ_z, δ_n ⊙ r),
    Δ_{t−1} = ∂C/∂y_{t−1} + Δ_t ⊙ z + δ' uᵀ,  ∂C/∂x_t = δ wᵀ,
    ∂C/∂w = Σ_t x_tᵀ δ,  ∂C/∂u = Σ_t h_{t−1}ᵀ δ',  ∂C/∂b = Σ_t Σ_rows δ,  ∂C/∂b' = Σ_t Σ_rows δ'

    The reset gate r acts after the product with u, as in cuDNN and PyTorch. Shapes, mask, carried
    state and errors are those of `LSTM`.

    Parameters
    ----------
    units, return_sequences, stateful
        As of `LSTM`.

    Attributes
    ----------
    weights, recurrent_weights, biases, recurrent_biases : Parameter
        w of shape (F, 3 units), u of shape (units, 3 units), b and b' of shape (3 units,); next to
        each other the gates r and z and the candidate n: reset, update, candidate.
    hidden : Parameter
        With ``stateful``, the buffer of the carried state: see `LSTM`.

    Source: K. Cho et al., *Learning Phrase Representations using RNN Encoder-Decoder for
    Statistical Machine Translation*, EMNLP 2014, with r after the product.

    Examples
    --------
    >>> layer = GRU(3)
    >>> layer(np.ones((2, 5, 1))).shape, layer.recurrent_weights.shape
    ((2, 3), (3, 9))
    """

    scales: ClassVar[tuple[float, ...]] = (0.5, 0.5, 1.0)
    slope_count: ClassVar[int] = 5
    has_two_sums: ClassVar[bool] = True

    gates: ClassVar[str] = "rzn"
    formulas: ClassVar[Mapping[str, str]] = {
        "a": "x @ weights + biases",
        "q": "h_before @ recurrent_weights + recurrent_biases",
        "r": "sigmoid(a_r + q_r)",
        "z": "sigmoid(a_z + q_z)",
        "n": "np.tanh(a_n + r * q_n)",
        "h": "(1 - z) * n + z * h_before",
    }
    formulas_back: ClassVar[Mapping[str, str]] = {
        "D": "delta + D_after * z_after + e_after @ recurrent_weights.T",
        "d_n": "D * (1 - z) * (1 - n**2)",
        "d_z": "D * (h_before - n) * z * (1 - z)",
        "d_r": "d_n * q_n * r * (1 - r)",
        "e": "(d_r, d_z, d_n * r)",
    }

    def build(self, *input_shapes: Shape, **options: Any) -> None:
        super().build(*input_shapes)
        self.recurrent_biases = self.parameter("recurrent_biases", (3 * self.units,))

    def _step(self, z: Array, states: States, u: Array) -> tuple[States, States]:
        (h,), two = states, 2 * self.units
        q = IN_USE.dot(u, h)
        gates = np.tanh(z[:two] + q[:two])
        _make_sigmoids(gates)
        r, keep = gates.reshape(2, *h.shape)
        q_n = q[two:] + self.recurrent_biases.value[two:, np.newaxis]
        reset = r * q_n
        n = np.tanh(z[two:] + reset)
        moved = keep * (h - n)
        return (n + moved,), (r, keep, n, reset, moved)

    def _slopes(self, slopes: Array, *parts: Array) -> None:
        r, keep, n, reset, moved = parts
        np.multiply(1 - keep, 1 - n * n, out=slopes[2])
        np.multiply(slopes[2], reset - reset * r, out=slopes[0])
        np.subtract(moved, moved * keep, out=slopes[1])
        np.multiply(slopes[2], r, out=slopes[3])
        slopes[4] = keep

    def _step_back(self, deltas: States, slopes: Array, room: Array) -> Sequence[Any]:
        (dh,), (of_z, of_q) = deltas, room
        np.multiply(dh, slopes[:3], out=of_z)
        of_q[:2] = of_z[:2]
        np.multiply(dh, slopes[3], out=of_q[2])
        return (dh * slopes[4],)

    def _input_biases(self) -> Array:
        """b, with b' of the gates: only for the candidate it makes a difference where it is."""
        two = 2 * self.units
        inner, zeros = self.recurrent_biases.value[:two], np.zeros(self.units, self.dtype)
        return self.biases.value + np.concatenate([inner, zeros])

    def _accumulate_biases(self, of_z: Array, of_q: Array) -> None:
        super()._accumulate_biases(of_z, of_q)
        self.recurrent_biases.accumulate_product(ones(len(of_q), of_q.dtype), of_q)
