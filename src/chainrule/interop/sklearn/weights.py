"""Weights of samples and of classes, as one number for each sample.

    w_s = sample_weight_s · Π_outputs class_weight        divided by the mean of all w_s

A loss averages over the samples, C = (1/N) Σ_s w_s c_s. With the weights divided by their mean, a
weight of 2 is the same as the sample twice, if all samples are in one batch, and a weight of 0 the
same as the data without it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from sklearn.utils.validation import check_array, check_consistent_length

from chainrule.core.errors import ConfigurationError, DataError, ShapeError, shortened
from chainrule.core.types import Array
from chainrule.core.validators import is_number


def sample_weights(given: Any, x: Array) -> Array | None:
    """The weights of the samples as scikit-learn gives them, checked; None if not given.

    Parameters
    ----------
    given
        One number for each sample, 0 or more; a single number for all; or None.
    x
        The inputs.

    Raises
    ------
    ShapeError, DataError
        There is not one weight for each sample, or one is negative, or all are zero.
    """
    if given is None:
        return None
    if is_number(given):
        given = np.full(len(x), given)
    weights = check_array(given, ensure_2d=False, dtype=np.float64, input_name="sample_weight")
    if weights.ndim != 1:
        raise ShapeError(
            "Sample weights must be 1D: one for each sample",
            expected=f"({len(x)},)",
            received=weights.shape,
        )
    check_consistent_length(x, weights)
    if (weights < 0).any():
        raise DataError(
            "a sample weight is negative",
            expected="sample weights of at least 0",
            received=f"{weights.min()}",
        )
    if not weights.any():
        raise _all_zero(len(weights))
    return np.asarray(weights)


def class_weights(
    given: Any, labels: Array, classes: Sequence[Array], weights: Array | None, place: str
) -> Array | None:
    """The weights of the samples, multiplied by those of their classes.

    Parameters
    ----------
    given
        A dictionary by class, ``"balanced"``, or None; for several outputs a list with one of these
        for each, or ``"balanced"``. A class that a dictionary does not have has weight 1.
    labels
        The number of each sample's class, (samples, outputs).
    classes
        The classes of each output.
    weights
        The weights of the samples, or None.
    place
        The estimator, for errors.

    Raises
    ------
    ConfigurationError
        ``given`` is something else, or has a weight for a class that does not exist.
    """
    if given is None:
        return weights
    each = [given] * len(classes) if isinstance(given, str) else given
    if isinstance(given, Mapping) and len(classes) == 1:
        each = [given]
    if not isinstance(each, list | tuple) or len(each) != len(classes):
        raise _invalid(given, len(classes), place)
    total = np.ones(len(labels)) if weights is None else weights
    product = total
    for own, column, kinds in zip(each, labels.T, classes, strict=True):
        if isinstance(own, str) and own == "balanced":
            sums = np.bincount(column, total, len(kinds))
            occur = sums > 0
            of_class = np.ones(len(kinds))
            of_class[occur] = sums.sum() / (occur.sum() * sums[occur])
        elif own is None or isinstance(own, Mapping):
            of_class = _by_class(own or {}, kinds, place)
        else:
            raise _invalid(given, len(classes), place)
        product = product * of_class[column]
    if not product.any():
        raise _all_zero(len(product))
    return product


def normalised(weights: Array | None) -> Array | None:
    """The weights divided by their mean; None if all are equal."""
    if weights is None or (weights == weights[0]).all():
        return None
    return np.asarray(weights / weights.mean())


def _by_class(given: Mapping[Any, Any], classes: Array, place: str) -> Array:
    numbers = {label: number for number, label in enumerate(classes.tolist())}
    weights = np.ones(len(classes))
    for label, weight in given.items():
        if label not in numbers:
            raise ConfigurationError(
                f"{place}: class_weight has a weight for a class that is not in y",
                expected=f"one of {shortened(list(numbers))}",
                received=shortened(label),
            )
        if not np.isscalar(weight) or not 0 <= float(weight) < np.inf:  # type: ignore[arg-type]
            raise ConfigurationError(
                f"{place}: the weight of class {label!r} is not a finite number, 0 or more",
                received=shortened(weight),
            )
        weights[numbers[label]] = weight
    return weights


def _all_zero(count: int) -> DataError:
    return DataError(
        "all weights are zero, so there is nothing to learn from",
        expected="a weight above 0",
        received=f"{count} times 0",
    )


def _invalid(given: Any, outputs: int, place: str) -> ConfigurationError:
    several = f", or a list of {outputs} of these" if outputs > 1 else ""
    return ConfigurationError(
        f"{place}: class_weight is invalid",
        expected=f"a dictionary from a class to its weight, 'balanced' or None{several}",
        received=f"class_weight={shortened(given)}",
    )
