"""Resize: more or fewer entries along each axis of space.

The nearest entry is one entry of the row: an `Upsample` if each is repeated equally often, else a
`Take`. Everything else is linear: y = A x along each axis, with a matrix that is computed once.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from chainrule.interop.onnx.reading.conversion import Outputs, Site
from chainrule.interop.onnx.reading.folding import integers
from chainrule.interop.onnx.reading.layers import Mix
from chainrule.interop.onnx.reading.moving import refuse_large, take_along
from chainrule.interop.onnx.reading.values import RefusedError, Size, Value, axis_of, refuse_batch
from chainrule.layers.resize import Upsample

ROUND = {
    "floor": np.floor,
    "ceil": np.ceil,
    "round_prefer_floor": lambda x: np.ceil(x - 0.5),
    "round_prefer_ceil": lambda x: np.floor(x + 0.5),
}
"""Which entry is the nearest."""

LARGEST = 2**13
"""The largest number of entries of a resized axis."""


def upsample(site: Site) -> Outputs:
    """The old operator Upsample, from before Resize."""
    value = site.value()
    scales = site.attributes.get("scales") or site.array(1, "scales").tolist()
    return _resized(site, value, dict(enumerate(map(float, scales))), {}, "asymmetric", "floor")


def resize(site: Site) -> Outputs:
    """`Upsample`, a `Take` or a `Mix` along each axis."""
    value = site.value()
    if site.version < 11:
        scales = dict(enumerate(map(float, site.array(1, "scales").tolist())))
        return _resized(site, value, scales, {}, "asymmetric", "floor")
    axes = [axis_of(int(n), value.rank) for n in site.attributes.get("axes") or range(value.rank)]
    scale_list = _given(site, 2, "scales")
    sizes = (
        None if site.constant(3, "sizes") is None else integers(site.constant(3, "sizes"), "sizes")
    )
    if site.attributes.get("keep_aspect_ratio_policy", "stretch") != "stretch":
        raise RefusedError("keep_aspect_ratio_policy")
    if sizes is not None and len(sizes) == len(axes):
        goal = dict(zip(axes, sizes, strict=True))
        scales = {n: size / _known(value, n) for n, size in goal.items() if n != value.batch}
    elif scale_list is not None and len(scale_list) == len(axes):
        scales, goal = dict(zip(axes, scale_list, strict=True)), {}
    else:
        raise RefusedError("it has neither a scale nor a size for each axis")
    if value.batch in goal:
        del goal[value.batch]
    return _resized(
        site,
        value,
        scales,
        goal,
        site.attributes.get("coordinate_transformation_mode", "half_pixel"),
        site.attributes.get("nearest_mode", "round_prefer_floor"),
    )


def _given(site: Site, number: int, what: str) -> list[float] | None:
    found = site.optional_array(number, what)
    return None if found is None or not found.size else [float(n) for n in np.ravel(found)]


def _known(value: Value, axis: int) -> int:
    found = value.sizes[axis]
    if isinstance(found, Size):
        raise RefusedError(
            f"it resizes axis {axis}, whose size is not known when the model is read"
        )
    return found


def _resized(
    site: Site,
    value: Value,
    scales: dict[int, float],
    goal: dict[int, int],
    transformation: str,
    nearest: str,
) -> Value:
    changed = {
        n: scale
        for n, scale in scales.items()
        if scale != 1 or (n in goal and goal[n] != value.sizes[n])
    }
    refuse_batch(value, list(changed), "resizes")
    mode = site.attributes.get("mode", "nearest")
    whole = _upsampled(site, value, changed, mode, transformation, nearest)
    if whole is not None:
        return whole
    for axis, scale in changed.items():
        size = _known(value, axis)
        if not 0 < scale < LARGEST:
            raise RefusedError(f"a scale of {scale}")
        wanted = goal.get(axis, math.floor(size * scale))
        if not 0 < wanted <= LARGEST:
            raise RefusedError(f"an axis of {wanted:,} entries")
        if mode != "nearest":
            refuse_large(size * wanted, 2**24)
        places = _coordinates(size, wanted, scale, transformation)
        if mode == "nearest":
            if nearest not in ROUND:
                raise RefusedError(f"nearest_mode={nearest!r}")
            numbers = np.clip(ROUND[nearest](places), 0, size - 1).astype(int)  # type: ignore[operator]
            value = take_along(site, value, axis, numbers.tolist())
        else:
            matrix = _matrix(site, size, places, scale, mode, transformation)
            place = value.axes[axis]
            if place is None:
                raise RefusedError("it interpolates along an axis of size 1")
            node = site.call(Mix(wanted, size, place), value.node, matrix=matrix)
            value = Value(node, value.axes, value.dtype)
    return value


def _upsampled(
    site: Site,
    value: Value,
    changed: dict[int, float],
    mode: str,
    transformation: str,
    nearest: str,
) -> Value | None:
    """With an `Upsample`, if it is the same."""
    is_same = (mode == "nearest" and transformation == "asymmetric" and nearest == "floor") or (
        mode == "linear" and transformation == "half_pixel"
    )
    is_image = value.batch == 0 and 3 <= value.rank <= 5 and 1 not in changed
    factors = [changed.get(n, 1.0) for n in value.order if n != 1]
    is_whole = all(factor >= 1 and factor == int(factor) < LARGEST for factor in factors)
    if not (changed and is_same and is_image and is_whole and len(value.order) == value.rank - 1):
        return None
    if site.attributes.get("exclude_outside", 0) or site.attributes.get("antialias", 0):
        return None
    order = [*(n for n in value.order if n != 1), 1]
    node = site.call(Upsample(tuple(map(int, factors)), mode), site.rows(value, order))
    axes: list[int | None] = [0] * value.rank
    for place, n in enumerate(order, 1):
        axes[n] = place
    return Value(node, tuple(axes), value.dtype)


def _coordinates(size: int, wanted: int, scale: float, transformation: str) -> npt.NDArray[Any]:
    """Where each new entry is among the old ones."""
    at = np.arange(wanted, dtype=float)
    length = scale * size
    if transformation == "half_pixel":
        return (at + 0.5) / scale - 0.5
    if transformation == "half_pixel_symmetric":
        adjustment = wanted / length
        centre = size / 2
        return centre * (1 - adjustment) + (at + 0.5) / scale - 0.5
    if transformation == "pytorch_half_pixel":
        return (at + 0.5) / scale - 0.5 if length > 1 else np.zeros(wanted)
    if transformation == "align_corners":
        return at * (size - 1) / (length - 1) if length > 1 else np.zeros(wanted)
    if transformation == "asymmetric":
        return at / scale
    raise RefusedError(f"coordinate_transformation_mode={transformation!r}")


def _matrix(
    site: Site,
    size: int,
    places: npt.NDArray[Any],
    scale: float,
    mode: str,
    transformation: str,
) -> npt.NDArray[Any]:
    """The matrix A of an interpolation."""
    excludes = bool(site.attributes.get("exclude_outside", 0))
    smooth = min(scale, 1.0) if site.attributes.get("antialias", 0) else 1.0
    kernel, radius = _kernel(mode, float(site.attributes.get("cubic_coeff_a", -0.75)))
    matrix = np.zeros((len(places), size))
    for row, place in enumerate(places):
        first = math.floor(place - radius / smooth) + 1
        last = math.ceil(place + radius / smooth) - 1
        if smooth == 1.0:
            first = math.floor(place) - math.ceil(radius) + 1
            last = first + 2 * math.ceil(radius) - 1
        numbers = np.arange(first, last + 1)
        weights = kernel(np.abs(numbers - place) * smooth)
        outside = (numbers < 0) | (numbers >= size)
        if excludes:
            weights = np.where(outside, 0, weights)
        total = weights.sum()
        if excludes or smooth != 1.0:
            weights = weights / total
        np.add.at(matrix[row], np.clip(numbers, 0, size - 1), weights)
    return matrix


def _kernel(mode: str, a: float) -> tuple[Any, int]:
    """The weight of an entry by its distance, and how far it reaches."""

    def linear(x: npt.NDArray[Any]) -> npt.NDArray[Any]:
        found: npt.NDArray[Any] = np.maximum(1 - x, 0)
        return found

    def cubic(x: npt.NDArray[Any]) -> npt.NDArray[Any]:
        near = ((a + 2) * x - (a + 3)) * x * x + 1
        far = ((a * x - 5 * a) * x + 8 * a) * x - 4 * a
        return np.where(x <= 1, near, np.where(x < 2, far, 0))

    if mode == "linear":
        return linear, 1
    if mode == "cubic":
        return cubic, 2
    raise RefusedError(f"mode={mode!r}")
