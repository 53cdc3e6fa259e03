"""The lecture's network in plain functions: reference for the tests, baseline of the benchmarks.

A network computes, layer by layer, y⁽ⁿ⁾ = f(z⁽ⁿ⁾) with z⁽ⁿ⁾ = y⁽ⁿ⁻¹⁾ w⁽ⁿ⁾ + b⁽ⁿ⁾. Its cost is

    C(w) = ½ ⟨‖F_w(yⁱⁿ) − F(yⁱⁿ)‖²⟩,    ⟨…⟩ the average over the samples of the batch,

and backpropagation carries the deviation Δ from the last layer back to the first:

    Δ⁽ᴺ⁾ = (y⁽ᴺ⁾ − F) f′(z⁽ᴺ⁾),          Δ⁽ⁿ⁻¹⁾ = (Δ⁽ⁿ⁾ w⁽ⁿ⁾ᵀ) f′(z⁽ⁿ⁻¹⁾),
    ∂C/∂w⁽ⁿ⁾ = ⟨y⁽ⁿ⁻¹⁾ Δ⁽ⁿ⁾⟩,            ∂C/∂b⁽ⁿ⁾ = ⟨Δ⁽ⁿ⁾⟩.

Arrays have the batch first: y is (batch, neurons), w is (neurons below, neurons), b is (neurons,).
`weights` and `biases` are lists with one array per layer, starting with the first layer after the
input. `f_df` is the activation: a function of z that returns f(z) and f′(z), or a list with one
such function per layer. All computation stays in the dtype of the arrays, float32 or float64.

The names are those of the lecture. The lecture keeps its network in global variables; here
everything is an argument or a result. This module imports nothing else from chainrule, so the rest
can be compared with it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Array: TypeAlias = NDArray[np.floating[Any]]
ValueAndDerivative: TypeAlias = Callable[[Array], tuple[Array, Array]]


def net_f_df(z: Array) -> tuple[Array, Array]:
    """The sigmoid f(z) = 1/(1 + e⁻ᶻ) and its derivative f′(z) = e⁻ᶻ/(1 + e⁻ᶻ)²."""
    decay = np.exp(-np.abs(z))  # the same formulas in e^−|z|, which never overflows
    norm = 1 + decay
    return np.where(z < 0, decay, 1) / norm, decay / norm**2


def forward_step(
    y: Array, w: Array, b: Array, f_df: ValueAndDerivative = net_f_df
) -> tuple[Array, Array]:
    """The values f(z) of the next layer, and f′(z), with z = y w + b."""
    return f_df(np.dot(y, w) + b)


def apply_net(
    y_in: Array,
    weights: Sequence[Array],
    biases: Sequence[Array],
    f_df: ValueAndDerivative | Sequence[ValueAndDerivative] = net_f_df,
) -> tuple[list[Array], list[Array]]:
    """Send a batch through the network and return what `backprop` needs.

    Returns
    -------
    y_layer
        The values of every layer, from the input to the output.
    df_layer
        f′(z) of every layer after the input.
    """
    y_layer, df_layer = [y_in], []
    for w, b, layer_f_df in zip(weights, biases, _one_for_each(weights, f_df), strict=True):
        y, df = forward_step(y_layer[-1], w, b, layer_f_df)
        y_layer.append(y)
        df_layer.append(df)
    return y_layer, df_layer


def apply_net_simple(
    y_in: Array,
    weights: Sequence[Array],
    biases: Sequence[Array],
    f_df: ValueAndDerivative | Sequence[ValueAndDerivative] = net_f_df,
) -> Array:
    """Send a batch through the network and return only the values of the last layer."""
    y = y_in
    for w, b, layer_f_df in zip(weights, biases, _one_for_each(weights, f_df), strict=True):
        y, _ = forward_step(y, w, b, layer_f_df)
    return y


def backward_step(delta: Array, w: Array, df: Array) -> Array:
    """Δ of the previous layer: (Δ wᵀ) f′, with Δ and w of this layer and f′ of the previous one."""
    below: Array = np.dot(delta, w.T) * df
    return below


def backprop(
    y_target: Array,
    y_layer: Sequence[Array],
    df_layer: Sequence[Array],
    weights: Sequence[Array],
) -> tuple[list[Array], list[Array]]:
    """The derivatives of C: `dw_layer` for the weights and `db_layer` for the biases.

    `y_target` is the desired output, shape (batch, neurons of the last layer); `y_layer` and
    `df_layer` are the results of `apply_net`.
    """
    batchsize = len(y_target)
    dw_layer: list[Array] = []
    db_layer: list[Array] = []
    delta: Array = (y_layer[-1] - y_target) * df_layer[-1]
    for n in reversed(range(len(weights))):
        dw_layer.insert(0, np.dot(y_layer[n].T, delta) / batchsize)
        db_layer.insert(0, delta.sum(axis=0) / batchsize)
        if n > 0:
            delta = backward_step(delta, weights[n], df_layer[n - 1])
    return dw_layer, db_layer


def gradient_step(
    eta: float,
    weights: Sequence[Array],
    biases: Sequence[Array],
    dw_layer: Sequence[Array],
    db_layer: Sequence[Array],
) -> None:
    """Change weights and biases in place: w ↦ w − η ∂C/∂w, b ↦ b − η ∂C/∂b."""
    for w, dw in zip(weights, dw_layer, strict=True):
        w -= eta * dw
    for b, db in zip(biases, db_layer, strict=True):
        b -= eta * db


def train_net(
    y_in: Array,
    y_target: Array,
    eta: float,
    weights: Sequence[Array],
    biases: Sequence[Array],
    f_df: ValueAndDerivative | Sequence[ValueAndDerivative] = net_f_df,
) -> float:
    """One step of gradient descent on one batch; returns C before the step."""
    y_layer, df_layer = apply_net(y_in, weights, biases, f_df)
    dw_layer, db_layer = backprop(y_target, y_layer, df_layer, weights)
    gradient_step(eta, weights, biases, dw_layer, db_layer)
    return float(((y_layer[-1] - y_target) ** 2).sum() / (2 * len(y_target)))


def _one_for_each(
    weights: Sequence[Array], f_df: ValueAndDerivative | Sequence[ValueAndDerivative]
) -> Sequence[ValueAndDerivative]:
    return [f_df] * len(weights) if callable(f_df) else f_df
