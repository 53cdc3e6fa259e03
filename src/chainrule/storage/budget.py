"""A memory budget for building the model of a file: about as much as the file contains.

Six characters in a file, ``10**12``, can request terabytes. But a parameter of n numbers needs n
numbers in the file as well, so the length of the file limits everything that is built from it:

    Σ n  over the parameters and buffers  =  the numbers in the file
    Σ 1                                   =  the arrays in the file

`chainrule.core.building.create` creates all of them, and asks `Budget.allow` before each while the
model of a file is built.
"""

from __future__ import annotations

import math
from typing import Any

from chainrule.core.errors import StorageError
from chainrule.core.types import Shape
from chainrule.storage.messages import cut

SPARE = 2**16
"""Numbers that are always allowed, because `build` may create temporary ones."""


SPARE_ARRAYS = 2**8
"""Arrays that are always allowed, for the same reason."""


class Budget:
    """How many arrays and numbers the layers of a file may still create.

    Parameters
    ----------
    numbers
        The number of numbers in the file.
    arrays
        The number of arrays in the file.
    """

    def __init__(self, numbers: int, arrays: int) -> None:
        self._numbers, self._arrays = numbers, arrays
        self._left, self._arrays_left = 2 * numbers + SPARE, 2 * arrays + SPARE_ARRAYS

    def allow(self, layer: Any, name: str, shape: Shape) -> None:
        """Count an array that a layer is about to create.

        Raises
        ------
        StorageError
            If the total would exceed what the file contains.
        """
        self._left -= math.prod(shape)
        self._arrays_left -= 1
        if self._left < 0 or self._arrays_left < 0:
            raise StorageError(
                "the file describes a larger model than its arrays can fill",
                expected=f"a model for the {self._numbers:,} numbers in the {self._arrays:,} "
                f"array{'s' * (self._arrays != 1)} of the file",
                received=f"{type(layer).__name__}.{name} of shape {cut(str(shape), 80)}",
            )
