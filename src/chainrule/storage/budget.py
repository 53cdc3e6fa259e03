"""How much may be made for a file: about as much as the file holds.

Five characters in a file, ``10**12``, can ask for terabytes. But a parameter of n numbers takes n
numbers of the file as well, so its length is a bound for all that is made from it:

    Σ n  over the parameters and states  =  the numbers in the file
    Σ 1                                  =  the arrays in the file

Every one of them is made by `chainrule.core.building.create`, which asks the generator that it
draws from. To build the model of a file, it is given one that counts.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from chainrule.core.errors import StorageError
from chainrule.core.types import Shape
from chainrule.storage.messages import cut

SPARE = 2**16
"""Numbers that may always be made: a `build` may try something out and let it go again."""


SPARE_ARRAYS = 2**8
"""Arrays that may always be made, likewise."""


class Budget(np.random.Generator):
    """A generator to build with that allows only so many arrays and numbers to be created.

    Parameters
    ----------
    bits
        Where the random numbers come from.
    numbers
        How many numbers the file holds.
    arrays
        In how many arrays.
    """

    def __init__(self, bits: np.random.BitGenerator, numbers: int, arrays: int) -> None:
        super().__init__(bits)
        self._numbers, self._arrays = numbers, arrays
        self._left, self._arrays_left = 2 * numbers + SPARE, 2 * arrays + SPARE_ARRAYS

    def allow(self, layer: Any, name: str, shape: Shape) -> None:
        """Count an array that a layer is about to create.

        Raises
        ------
        StorageError
            It would be more than the file has room for.
        """
        self._left -= math.prod(shape)
        self._arrays_left -= 1
        if self._left < 0 or self._arrays_left < 0:
            raise StorageError(
                "the file describes a larger model than its arrays could fill",
                expected=f"a model for the {self._numbers:,} numbers in the {self._arrays:,} "
                f"array{'s' * (self._arrays != 1)} of the file",
                received=f"{type(layer).__name__}.{name} of shape {cut(str(shape), 80)}",
            )

    def spawn(self, n_children: int) -> list[np.random.Generator]:
        """Generators for layers to keep, which are ordinary ones."""
        return [np.random.Generator(bits) for bits in self.bit_generator.spawn(n_children)]
