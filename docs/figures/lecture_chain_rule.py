"""Figures of the lecture's second page: one chain, and a small network forward and backward."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction

import numpy as np
import small_network as net
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from neurons import (
    BLUE,
    GREY,
    PALE_GREY,
    PALE_VERMILION,
    VERMILION,
    Place,
    canvas,
    connection,
    neuron,
)
from small_network import as_fraction

INPUTS: list[Place] = [(0.65, 3.1), (0.65, 1.3)]
HIDDEN: list[Place] = [(3.1, 3.1), (3.1, 1.3)]
OUTPUT: Place = (5.5, 2.2)
RADIUS = 0.4


def chain() -> Figure:
    """Draw how a change of w becomes a change of C, step by step."""
    figure, axes = canvas(6.6, 2.2)
    places = [(0.55, 1.25), (2.35, 1.25), (4.15, 1.25), (5.95, 1.25)]
    for place, text in zip(places, ("$w$", "$z$", "$y$", "$C$"), strict=True):
        face, edge = (PALE_GREY, GREY) if text == "$w$" else (None, None)
        colours = {"face": face, "edge": edge} if face else {}
        neuron(axes, place, text, radius=0.36, size=14, **colours)
    above = (r"$z = w\,y_{\mathrm{in}} + b$", "$y = f(z)$", r"$C = \frac{1}{2}(y - F)^2$")
    below = (r"$y_{\mathrm{in}}$", "$f'(z)$", "$y - F$")
    for start, end, forward, slope in zip(places, places[1:], above, below, strict=False):
        connection(axes, start, end, radius=0.36)
        middle = (start[0] + end[0]) / 2
        axes.text(middle, 2.0, forward, ha="center", va="center", size=10.5)
        axes.text(middle, 0.72, slope, ha="center", va="center", size=12.5, color=VERMILION)
    note = "factor by which the change is multiplied"
    axes.text(3.25, 0.18, note, ha="center", va="center", size=9.5, color=VERMILION)
    return figure


def forward() -> Figure:
    """Draw the page's network with its weights, its biases, every z and every y."""
    figure, axes = canvas(6.6, 4.4)
    _inputs(axes)
    for place, value in zip([*HIDDEN, OUTPUT], _in_order(net.VALUES[1:]), strict=True):
        neuron(axes, place, f"${as_fraction(value)}$", radius=RADIUS, size=10.5)
    _connections(axes, [_plain(row) for row in net.WEIGHTS[0]], _plain(net.WEIGHTS[1]))
    biases = [r"\ln 3", *(f"{b:g}" for b in _in_order(net.BIASES)[1:])]
    sums = [_logarithm(y) for y in _in_order(net.VALUES[1:])]
    places = [(3.1, 4.1, 3.72), (3.1, 0.28, 0.67), (5.5, 3.2, 2.82)]
    for (x, y_bias, y_sum), b, z in zip(places, biases, sums, strict=True):
        axes.text(x, y_bias, f"$b = {b}$", ha="center", va="center", size=11)
        axes.text(x, y_sum, f"$z = {z}$", ha="center", va="center", size=11, color=BLUE)
    axes.text(5.5, 1.5, f"$F = {net.TARGET.item():g}$", ha="center", va="center", size=11)
    cost = as_fraction(net.cost(net.VALUES[2]).item())
    axes.text(5.5, 1.05, f"$C = {cost}$", ha="center", va="center", size=10.5)
    return figure


def backward() -> Figure:
    """Draw Δ and f′ of every neuron, and on every connection the derivative by its weight."""
    figure, axes = canvas(6.6, 4.4)
    _inputs(axes)
    deltas = _in_order([net.DELTA_HIDDEN, net.DELTA_OUT])
    for place, value in zip([*HIDDEN, OUTPUT], deltas, strict=True):
        text = f"${as_fraction(value)}$"
        colours = {"face": PALE_VERMILION, "edge": VERMILION}
        neuron(axes, place, text, radius=RADIUS, size=10.5, **colours)
    first, second = net.WEIGHT_GRADIENTS
    _connections(axes, [_fractions(row) for row in first], _fractions(second), back=True)
    places = [(3.1, 3.78), (3.1, 0.62), (5.5, 2.9)]
    for place, slope in zip(places, _in_order(net.SLOPES), strict=True):
        text = f"$f' = {as_fraction(slope)}$"
        axes.text(*place, text, ha="center", va="center", size=10, color=BLUE)
    off = as_fraction((net.VALUES[2] - net.TARGET).item())
    axes.text(5.45, 1.38, f"$y - F = {off}$", ha="center", va="center", size=10)
    return figure


def _inputs(axes: Axes) -> None:
    for place, value in zip(INPUTS, net.INPUT[0], strict=True):
        neuron(axes, place, f"{value:g}", face=PALE_GREY, edge=GREY, radius=RADIUS)


def _in_order(arrays: Iterable[np.ndarray]) -> list[float]:
    """List the numbers of the hidden neurons, then those of the output."""
    return [float(value) for array in arrays for value in array.ravel()]


def _logarithm(y: float) -> str:
    """Write the z that gives y: z = ln(y / (1 − y))."""
    odds = Fraction(y / (1 - y)).limit_denominator(20)
    return "0" if odds == 1 else rf"\ln {odds}"


def _plain(values: np.ndarray) -> tuple[str, ...]:
    return tuple(f"{value:g}".replace("-", "\N{MINUS SIGN}") for value in values.ravel())


def _fractions(values: np.ndarray) -> tuple[str, ...]:
    return tuple(f"${as_fraction(value)}$" for value in values.ravel())


def _connections(
    axes: Axes, first: list[tuple[str, ...]], second: tuple[str, ...], *, back: bool = False
) -> None:
    """Draw all six; `first[k][j]` labels the first layer's connection from k to j."""
    how = {"radius": RADIUS, "size": 9.5 if back else 11, "gap": 0.28}
    if back:
        how |= {"colour": VERMILION, "ink": VERMILION}
    for start, texts in zip(INPUTS, first, strict=True):
        for end, text in zip(HIDDEN, texts, strict=True):
            straight = start[1] == end[1]
            at = 0.5 if straight else 0.27
            pair = (end, start, text) if back else (start, end, text)
            connection(axes, *pair, at=1 - at if back else at, **how)
    for start, text in zip(HIDDEN, second, strict=True):
        pair = (OUTPUT, start, text) if back else (start, OUTPUT, text)
        connection(axes, *pair, at=0.5, **how)
