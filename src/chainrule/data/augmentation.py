"""Augmentation: more images from those that you have, by changes that keep their meaning.

A digit that is moved by a pixel or turned by a few degrees is still the same digit. A network has
to learn this from examples. So each image is changed in a new way whenever it is used:

    x′(p) = x(F R⁻¹ (p − s)) + σ ε

Here p is a pixel, counted from the centre; s is a random shift, R a random rotation, F flips the
image or leaves it, and ε is normal noise. Targets and weights stay as they are.

    trainer.fit(data.augmented(x, t, shift=2, rotation=10), epochs=20)

An epoch draws one number from the generator of the trainer: the seed of its changes. Batch number n
takes its random numbers from ``default_rng([seed, n])``. So a seed of the trainer reproduces them,
and a resumed run continues with the same ones in the middle of an epoch.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from attrs import field, frozen
from attrs.validators import optional

from chainrule.core.errors import ConfigurationError, ShapeError
from chainrule.core.hints import hinted
from chainrule.core.messages import batch_of
from chainrule.core.types import Array, Shape
from chainrule.core.validators import as_float, as_plain_tuple, complain, is_integer, one_of


@hinted
def augmented(
    x: Any,
    t: Any = None,
    *,
    shift: int | tuple[int, int] = 0,
    flip: str | None = None,
    rotation: float = 0.0,
    noise: float = 0.0,
    fill: float = 0.0,
) -> Augmented:
    """Data for `Trainer.fit`, of which each sample is changed at random whenever it is used.

    Parameters
    ----------
    x, t
        Inputs and targets, or other data that `Trainer.fit` accepts. A sample is an image, (height,
        width, channels); for noise alone, a row of any shape. Your arrays never change.
    shift
        By how many pixels an image is moved at most, up or down and to the left or right: a number,
        or a pair (vertical, horizontal). All shifts are equally likely.
    flip
        ``"horizontal"``: left and right are exchanged with probability ½; ``"vertical"``: top and
        bottom; ``"both"``: each of them.
    rotation
        By how many degrees an image is turned about its centre at most, to either side. All angles
        are equally likely. Values between pixels are interpolated linearly.
    noise
        The standard deviation of the noise that is added to each number.
    fill
        The value of pixels from outside of the image.

    Raises
    ------
    ConfigurationError
        An argument is invalid. `Trainer.fit` raises an error if the samples are not images.

    Examples
    --------
    >>> x, t = np.ones((20, 8, 8, 1)), np.arange(20) % 2
    >>> model = Sequential([Flatten(), Dense(2)])
    >>> trainer = Trainer(model, losses.SoftmaxCrossEntropy(), optimizers.Adam(0.01), rng=0)
    >>> history = trainer.fit(data.augmented(x, t, shift=1, flip="horizontal"), epochs=2)
    >>> trainer.steps
    2
    """
    return Augmented(x, t, shift, flip, rotation, noise, fill)


def _as_pair(shift: Any) -> Any:
    return (int(shift),) * 2 if is_integer(shift) else as_plain_tuple(shift)


def _a_shift(owner: Any, attribute: Any, value: Any) -> None:
    is_pair = isinstance(value, tuple) and len(value) == 2
    if not is_pair or not all(is_integer(n) and n >= 0 for n in value):
        expected = "a number of pixels, 0 or more, or a pair (vertical, horizontal)"
        complain(owner, "shift", expected, value, "shift=2")


def _finite(owner: Any, attribute: Any, value: Any) -> None:
    least = -math.inf if attribute.name == "fill" else 0.0
    if not isinstance(value, float) or not math.isfinite(value) or value < least:
        expected = "a finite number" + (", 0 or more" if least == 0 else "")
        usual = {"rotation": "10", "noise": "0.1", "fill": "0"}[attribute.name]
        complain(owner, attribute.name, expected, value, f"{attribute.name}={usual}")


@frozen(eq=False)
class Augmented:
    """What `augmented` returns: the data, and how they are changed."""

    x: Any = field(repr=False)
    t: Any = field(repr=False)
    shift: tuple[int, int] = field(converter=_as_pair, validator=_a_shift)
    flip: str | None = field(validator=optional(one_of("horizontal", "vertical", "both")))
    rotation: float = field(converter=as_float, validator=_finite)
    noise: float = field(converter=as_float, validator=_finite)
    fill: float = field(converter=as_float, validator=_finite)

    @property
    def moves_pixels(self) -> bool:
        """Whether it does more than to add noise."""
        return any(self.shift) or self.flip is not None or self.rotation > 0

    def require_images(self, rows: tuple[Shape, ...]) -> None:
        """Raise an error unless these are the shapes of rows that can be changed."""
        if len(rows) != 1:
            raise ConfigurationError(
                "augmented changes the only input of a model",
                expected="one array x",
                received=f"{len(rows)} inputs",
                hint="change the inputs in a function: fit(make_batch, steps_per_epoch=…)",
            )
        if self.moves_pixels and len(rows[0]) != 3:
            raise ShapeError(
                "augmented: the samples are not images",
                expected="(batch, height, width, channels)",
                received=batch_of(rows[0]),
                hint="x[..., np.newaxis] gives grey images their channel"
                if len(rows[0]) == 2
                else "x.reshape(-1, height, width, 1); Flatten() makes them vectors again",
            )

    def changed(
        self,
        x: Array,
        rng: np.random.Generator,
        batch: int | None = None,
        rows: slice = slice(None),
    ) -> Array:
        """The rows of a batch, each changed in its own way.

        Parameters
        ----------
        x
            The whole batch, or some rows of it.
        rng
            The generator of the changes of the whole batch.
        batch, rows
            The number of rows of the whole batch, and which of them x has.
        """
        batch = len(x) if batch is None else batch
        if self.moves_pixels:
            x = self._moved(x, rng, batch, rows)
        if self.noise:
            x = x + self.noise * rng.standard_normal((batch, *x.shape[1:]), x.dtype)[rows]
        return x

    def _moved(self, x: Array, rng: np.random.Generator, batch: int, rows: slice) -> Array:
        _, height, width, _ = x.shape
        shifts = rng.integers(-np.array(self.shift), self.shift, (batch, 2), endpoint=True)[rows]
        signs = np.where(rng.random((batch, 2)) < 0.5, -1, 1)[rows]
        angles = np.radians(rng.uniform(-self.rotation, self.rotation, (batch, 1, 1)))[rows]
        # Where each pixel of the result comes from: (batch, height, 1) and (batch, 1, width), or
        # both (batch, height, width), counted from the centre.
        down = np.arange(height)[:, np.newaxis] - (height - 1) / 2 - shifts[:, :1, np.newaxis]
        right = np.arange(width) - (width - 1) / 2 - shifts[:, 1:, np.newaxis]
        if self.rotation:
            cosine, sine = np.cos(angles), np.sin(angles)
            down, right = cosine * down + sine * right, cosine * right - sine * down
        if self.flip in ("vertical", "both"):
            down = signs[:, :1, np.newaxis] * down
        if self.flip in ("horizontal", "both"):
            right = signs[:, 1:, np.newaxis] * right
        return _interpolated(x, down + (height - 1) / 2, right + (width - 1) / 2, self.fill)


def _interpolated(x: Array, rows: Array, columns: Array, fill: float) -> Array:
    """The values of images at some places, linear between the pixels and constant outside."""
    batch, height, width, channels = x.shape
    framed = np.full((batch, height + 2, width + 2, channels), fill, x.dtype)
    framed[:, 1:-1, 1:-1] = x
    rows, columns = np.clip(rows, -1, height) + 1, np.clip(columns, -1, width) + 1
    top, left = np.floor(rows).astype(int), np.floor(columns).astype(int)
    image = np.arange(batch)[:, np.newaxis, np.newaxis]
    a, b = ((p - q)[..., np.newaxis].astype(x.dtype) for p, q in ((rows, top), (columns, left)))
    if not a.any() and not b.any():  # no rotation: every place is a pixel
        return framed[image, top, left]
    bottom, right = np.minimum(top + 1, height + 1), np.minimum(left + 1, width + 1)
    above = (1 - b) * framed[image, top, left] + b * framed[image, top, right]
    below = (1 - b) * framed[image, bottom, left] + b * framed[image, bottom, right]
    return (1 - a) * above + a * below
