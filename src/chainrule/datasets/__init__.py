"""Real datasets, small enough to be part of the package.

Each dataset is a function that returns arrays of samples (x, t), batch first, and needs no
internet connection. A file next to the data gives its source and licence.

    digits   handwritten digits of 8 × 8 pixels

A new dataset is a new module, with its data and their licence beside it.
"""

from __future__ import annotations

from chainrule.datasets.digits import Digits, digits

__all__ = ["Digits", "digits"]
