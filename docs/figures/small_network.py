"""The lecture pages' network for pencil and paper: two inputs, two neurons, one output.

Its numbers are chosen so that every z is 0 or ln 3, so every y, f′, Δ and derivative is a
fraction. This module computes what the figures show, with the lecture's functions.
"""

from __future__ import annotations

from fractions import Fraction

import numpy as np

from chainrule import lecture

WEIGHTS = [np.array([[0.5, 1.0], [-1.0, 0.5]]), np.array([[2.0], [-1.0]])]
BIASES = [np.array([np.log(3), -2.5]), np.array([-1.0])]
INPUT, TARGET = np.array([[2.0, 1.0]]), np.array([[1.0]])

VALUES, SLOPES = lecture.apply_net(INPUT, WEIGHTS, BIASES)
DELTA_OUT = (VALUES[2] - TARGET) * SLOPES[1]
DELTA_HIDDEN = lecture.backward_step(DELTA_OUT, WEIGHTS[1], SLOPES[0])
WEIGHT_GRADIENTS, _ = lecture.backprop(TARGET, VALUES, SLOPES, WEIGHTS)


def cost(y: np.ndarray) -> np.ndarray:
    """Compute the cost of each output, given as the only number of its row."""
    return 0.5 * (y[..., 0] - TARGET.item()) ** 2


def as_fraction(value: float) -> str:
    """Write a number as a fraction in matplotlib's math notation, without the dollar signs."""
    fraction = Fraction(float(value)).limit_denominator(200)
    if abs(fraction - Fraction(float(value))) > 1e-9:
        raise ValueError(f"{value} is not a simple fraction")
    if fraction.denominator == 1:
        return str(fraction).replace("-", "−")
    sign = "-" if fraction < 0 else ""
    return rf"{sign}\dfrac{{{abs(fraction.numerator)}}}{{{fraction.denominator}}}"
