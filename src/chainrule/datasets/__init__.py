"""Real data, small enough to come with the package: a network {(x, t)} ↦ F is learned from it.

Each data set is a function that returns arrays of samples, the batch first, and needs no network
connection. Its source and its licence stand in a file beside the data.
"""

from __future__ import annotations

from chainrule.datasets.digits import Digits, digits

__all__ = ["Digits", "digits"]
