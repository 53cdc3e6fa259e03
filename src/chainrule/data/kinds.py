"""Kinds of data: what an object gives, an array of samples, single samples, or batches.

    dataset[i]                   one sample, (x_i, t_i) or (x_i, t_i, w_i)
    for x, t in loader           batches
    [(x_1, t_1), (x_2, t_2)]     a list of batches

The kind depends on what an object can do, never on the library that it comes from.
"""

from __future__ import annotations

from collections.abc import Set
from typing import Any

import numpy as np

from chainrule.core.errors import ConfigurationError
from chainrule.core.validators import is_number
from chainrule.data.sources import has_shape, is_stored


def gives_batches(x: Any) -> bool:
    """Whether x is an iterable of batches, each a pair of arrays.

    Raises
    ------
    ConfigurationError
        x is a list of pairs of single samples.
    """
    if isinstance(x, list | tuple):
        return _are_batches(x)
    is_iterable = hasattr(x, "__iter__") or hasattr(x, "__next__")
    if isinstance(x, Set):  # without an order
        return False
    return is_iterable and not has_shape(x) and not hasattr(x, "__getitem__")


def is_list_of_batches(items: Any, inputs: int) -> bool:
    """Whether it is a list of batches for a model with so many inputs, and not the pair (x, t).

    ``[(x_1, t_1), (x_2, t_2)]`` are two batches if the model has one input; if it has two, they are
    its inputs and its two targets.
    """
    if not isinstance(items, list | tuple) or not items or not all(map(_is_pair, items)):
        return False
    if isinstance(items, tuple) and not all(isinstance(item, tuple) for item in items):
        return False
    for x, t, *_ in items:
        shapes = [np.shape(array) for array in (*_each(x), *_each(t))]
        if len(_each(x)) != inputs or len({shape[:1] for shape in shapes}) != 1:
            return False
        if any(len(np.shape(array)) < 2 for array in _each(x)):
            return False
    return True


def gives_pairs(x: Any) -> bool:
    """Whether x is a dataset: ``x[i]`` is the pair of one sample."""
    return is_stored(x) and not has_shape(x)


def _are_batches(items: list[Any] | tuple[Any, ...]) -> bool:
    """Whether the items are pairs of arrays of equal lengths, not rows of one array."""
    if not items or not all(map(_is_pair, items)):
        return False
    for number, (x, t, *_) in enumerate(items):
        shapes = [np.shape(array) for array in (*_each(x), *_each(t))]
        counts = {shape[:1] for shape in shapes}
        if len(counts) != 1 or any(len(np.shape(array)) < 2 for array in _each(x)):
            raise _not_a_batch(number, shapes, len(_each(x)))
    return True


def _is_pair(item: Any) -> bool:
    """Whether an item is (x, t) or (x, t, weights), made of arrays and not of lists of numbers."""
    if not isinstance(item, tuple | list) or len(item) not in (2, 3):
        return False
    x, t = _each(item[0]), _each(item[1])
    return bool(x) and all(map(has_shape, x)) and all(has_shape(n) or is_number(n) for n in t)


def _each(arrays: Any) -> tuple[Any, ...]:
    """The arrays in a tuple, or the only one; None, in place of a target, is none."""
    each = arrays if isinstance(arrays, tuple) else (arrays,)
    return tuple([array for array in each if array is not None])


def _not_a_batch(number: int, shapes: list[Any], inputs: int) -> ConfigurationError:
    x, t = (" and ".join(map(str, some)) for some in (shapes[:inputs], shapes[inputs:]))
    return ConfigurationError(
        "a list of pairs is a list of batches, and this pair is not a batch",
        place=f"x[{number}]",
        expected="(x, t) of a batch, both with one row for each sample",
        received=f"x of shape {x}, t of shape {t}",
        hint="if these are single samples: x, t = map(np.stack, zip(*pairs)), then fit(x, t)",
    )
