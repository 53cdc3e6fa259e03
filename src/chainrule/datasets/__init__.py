"""Real data, small enough to come with the package: a network {(x, t)} ↦ F is learned from it.

Each data set is a function that returns arrays of samples, the batch first, and needs no network
connection.

    digits   handwritten digits of 8 × 8 pixels

A new data set is a new module, with its data and their licence beside it.
"""

from __future__ import annotations

from chainrule.datasets.digits import Digits, digits

__all__ = ["Digits", "digits"]
