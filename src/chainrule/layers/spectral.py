"""Convolution on a ring by its spectrum: the layer of Fourier neural operators.

    y = Σ_k Y_k e^(ik·x)        Y_k = X_k W_k        X_k = (1/N) Σ_x x(x) e^(−ik·x)

A convolution multiplies each frequency k of a signal by a number. This layer learns these numbers,
a matrix W_k between the channels, for the lowest frequencies, and drops all others. The weights
belong to frequencies, not to grid points, so the same layer works on a grid of any size: it has
learned an operator between functions.
"""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np
import numpy.typing as npt
from attrs import field

from chainrule.core.arrays import as_operation, has_values, places
from chainrule.core.equations import Equations
from chainrule.core.errors import ShapeError
from chainrule.core.initializers import Normal
from chainrule.core.layer import Layer
from chainrule.core.messages import batch_of
from chainrule.core.types import Array, RowPattern, Shape
from chainrule.core.validators import as_int, at_least_one
from chainrule.layers.windows import any_size, as_sizes, per_axis, sizes_from, spatial_axes

FEW = 64
"""Up to so many modes along the last axis, products with small matrices are faster than an FFT."""


_a_count = at_least_one("SpectralConvolution(32, modes=12)", "the number of channels, at least 1")


class SpectralConvolution(Layer, repr=False):
    """y = F⁻¹(W · F x) on the lowest frequencies, for rows with one to three axes of space.

    Forward  X = F x,  Y_kd = Σ_c X_kc W_kcd,  y = F⁻¹ Y
    Backward  with D = F Δ:  ∂C/∂x = F⁻¹(D W̄ᵀ),  ∂C/∂W_kcd = (m_k/N) Σ_rows X̄_kc D_kd,
    with Δ = ∂C/∂y

    Rows (n_1, …, C_in) become (n_1, …, filters). F is `numpy.fft.rfftn` over the axes of space, N
    is the number of grid points, and W̄ the complex conjugate. m_k counts how often a mode occurs in
    a real signal: 2, or 1 for the frequencies 0 and n/2 of the last axis. ∂C/∂W stands for both
    derivatives, ∂C/∂Re W + i ∂C/∂Im W.

    Along the last axis of space the modes are the frequencies 0, 1, …, m − 1; the negative ones are
    their complex conjugates, because the signal is real. Along the others they are the m lowest of
    both signs, in the order of `numpy.fft.fftfreq`: 0, 1, …, ⌈m/2⌉ − 1, −⌊m/2⌋, …, −1. So the
    spectrum that is kept is that of a grid with m points. (Li et al. count the two signs apart, in
    two blocks of weights: their ``modes1`` is m/2.)

    The sizes of the axes of space may differ from batch to batch. A function without higher
    frequencies than the grid resolves gives the same values on a finer grid.

    Source: Z. Li et al., *Fourier Neural Operator for Parametric Partial Differential Equations*,
    ICLR 2021, section 4.

    Parameters
    ----------
    filters
        The number of channels of the output.
    modes
        The number of modes that are kept, for all axes of space or one for each.

    Attributes
    ----------
    weights : Parameter
        W, of shape (*modes, C_in, filters, 2): the real and the imaginary part.

    Raises
    ------
    ConfigurationError
        If ``filters`` or ``modes`` is not an integer of at least 1.
    ShapeError
        If the rows do not have one to three axes of space, or there are more modes than the grid
        has: n // 2 + 1 along the last axis of space, n along the others.

    Examples
    --------
    A constant passes through the mode 0, and a fast wave through none:

    >>> layer = SpectralConvolution(1, modes=3)
    >>> layer.build((16, 1))
    >>> layer.weights.value[..., 0], layer.weights.value[..., 1] = 1, 0
    >>> t = 2 * np.pi * np.arange(16) / 16
    >>> x = 2 + np.cos(5 * t)
    >>> layer(x[np.newaxis, :, np.newaxis])[0, :3, 0]
    array([2., 2., 2.])
    """

    filters: int = field(converter=as_int, validator=_a_count)
    modes: Any = field(converter=as_sizes, validator=sizes_from(1, example="12"))

    def build(self, input_shape: Shape, **options: Any) -> None:
        modes = per_axis(self, "modes", self.modes, spatial_axes(self, input_shape))
        _refuse_small_grid(self, input_shape, modes)
        channels = input_shape[-1]
        # Each part has half the variance of Glorot's weights.
        spread = Normal(standard_deviation=math.sqrt(1 / max(1, channels + self.filters)))
        shape = (*modes, channels, self.filters, 2)
        self.weights = self.parameter("weights", shape, spread)

    def forward(self, inputs: Array) -> Array:
        self.sizes, self.spectrum = inputs.shape[1:-1], self._spectrum(inputs)
        return self._signal(np.matmul(self.spectrum, self._matrices()), self.sizes)

    def backward(self, delta: Array) -> Array:
        adjoint = np.conjugate(np.swapaxes(self._matrices(), 1, 2))
        return self._signal(np.matmul(self._accumulated(delta), adjoint), self.sizes)

    def backward_parameters(self, delta: Array) -> None:
        self._accumulated(delta)

    def apply(self, inputs: Array) -> Array:
        mixed = np.matmul(self._spectrum(inputs), self._matrices())
        return self._signal(mixed, inputs.shape[1:-1])

    @property
    def accepted_shapes(self) -> tuple[RowPattern, ...]:
        return (any_size(self.input_shape),)

    def equations(self) -> Equations:
        modes = self.weights.shape[:-3]
        axes = range(1, len(modes) + 1)
        waves = {f"F_{axis}": _waves_on_paper(m, axis, axis == axes[-1])
                 for axis, m in zip(axes, modes, strict=True)}  # fmt: skip
        last, m = axes[-1], modes[-1]
        grid = " * ".join(f"x.shape[{axis}]" for axis in axes)
        k = f"np.arange({m})"
        # k = 0 and k = n/2 occur once in a real signal, the others twice.
        is_single = f"np.where({k} * (2 * {k} - x.shape[{last}]) == 0, 1, 2)"
        space, spectrum = "abc"[:last], "klm"[:last]
        pairs = [f"{one}{other}" for one, other in zip(spectrum, space, strict=True)]
        names = ", ".join(waves)
        there = f"np.einsum('{','.join(pairs)},n{space}q->n{spectrum}q', {names}, {{}})".format
        once_each = f"n{spectrum}q,{spectrum[-1]}"
        back = (
            f"np.real(np.einsum('{','.join(pairs)},{once_each}->n{space}q', "
            f"{', '.join(f'np.conjugate({name})' for name in waves)}, {{}}, share))"
        ).format
        mixed = f"np.einsum('n{spectrum}c,{spectrum}c{{}}->n{spectrum}{{}}', {{}}, {{}})".format
        products = (
            f"np.einsum('n{spectrum}c,n{spectrum}d,{spectrum[-1]}->{spectrum}cd', {{}})".format
        )
        return Equations(
            back("Y"),
            back("E"),
            {"weights": "np.stack((np.real(G), np.imag(G)), axis=-1)"},
            definitions={
                **waves,
                "share": f"{is_single} / ({grid})",
                "X": there("x"),
                "W": "weights[..., 0] + 1j * weights[..., 1]",
                "Y": mixed("d", "d", "X", "W"),
            },
            backward_definitions={
                "D": there("delta"),
                "E": mixed("d", "d", "D", "np.conjugate(W).swapaxes(-1, -2)"),
                "G": products("np.conjugate(X), D, share"),
            },
            signs={
                **{name: (f"F_{name[-1]}^{{(<n>)}}", f"F<n>,{name[-1]}") for name in waves},
                **{name: (f"{name}^{{(<n>)}}", f"{name}<n>") for name in "XWYDEG"},
                "share": ("s^{(<n>)}", "s<n>"),
            },
        )

    def _accumulated(self, delta: Array) -> Array:
        """Add to the gradient of W; returns F Δ."""
        spectrum = self._spectrum(delta)
        if self.weights.trainable:
            gradient = np.matmul(np.conjugate(np.swapaxes(self.spectrum, 1, 2)), spectrum)
            parts = np.stack([np.real(gradient), np.imag(gradient)], axis=-1)
            shape = self.weights.shape
            counts = _counts(self.sizes[-1], shape[-4], delta) / math.prod(self.sizes)
            self.weights.accumulate(np.reshape(parts, shape) * counts[:, None, None, None])
        return spectrum

    def _matrices(self) -> Array:
        """W as one complex matrix (C_in, filters) for each mode."""
        pairs = np.reshape(self.weights.value, (-1, *self.weights.shape[-3:]))
        return as_complex(pairs[..., 0], pairs[..., 1])

    def _spectrum(self, signal: Array) -> Array:
        """F x on the modes, one matrix (batch, channels) for each."""
        *leading, last = self.weights.shape[:-3]
        axes = len(leading)
        spectrum = _real_transform(signal, axes + 1, last)
        for axis, count in enumerate(leading, start=1):
            spectrum = _transform(spectrum, axis, count)
        flat = np.reshape(spectrum, (len(signal), math.prod((*leading, last)), signal.shape[-1]))
        return np.swapaxes(flat, 0, 1)

    def _signal(self, spectrum: Array, sizes: Shape) -> Array:
        """F⁻¹ of such a spectrum, on a grid of these sizes."""
        modes = self.weights.shape[:-3]
        rows = np.swapaxes(spectrum, 0, 1)
        signal = np.reshape(rows, (rows.shape[0], *modes, rows.shape[2]))
        for axis, size in enumerate(sizes[:-1], start=1):
            signal = _back(signal, axis, size)
        return _real_back(signal, len(sizes), sizes[-1])


# ------------------------------------------------------------------------- along one axis


def _real_transform(signal: Array, axis: int, modes: int) -> Array:
    """The first modes of `numpy.fft.rfft`."""
    size = signal.shape[axis]
    if modes > FEW:
        return np.take(np.fft.rfft(signal, axis=axis), np.arange(modes), axis=axis)
    waves = _real_waves(size, modes, signal)
    real, imaginary = np.split(_along(waves, signal, axis), 2, axis=axis)
    return as_complex(real, imaginary)


@as_operation
def as_complex(real: Array, imaginary: Array) -> Array:
    """Complex numbers from their two parts."""
    return real + 1j * imaginary


def _real_back(spectrum: Array, axis: int, size: int) -> Array:
    """`numpy.fft.irfft` of a spectrum with only these modes."""
    modes = spectrum.shape[axis]
    if modes > FEW:
        return np.fft.irfft(spectrum, size, axis=axis)
    parts = np.concatenate([np.real(spectrum), np.imag(spectrum)], axis=axis)
    waves = _real_waves(size, modes, parts).T
    counts = np.tile(_counts(size, modes, parts), 2) / size
    return _along(waves * counts, parts, axis)


def _transform(signal: Array, axis: int, modes: int) -> Array:
    """The lowest frequencies of `numpy.fft.fft`."""
    size = signal.shape[axis]
    if modes > FEW:
        return np.take(np.fft.fft(signal, axis=axis), _lowest(size, modes), axis=axis)
    return _along(_waves(size, modes, signal), signal, axis)


def _back(spectrum: Array, axis: int, size: int) -> Array:
    """`numpy.fft.ifft` of a spectrum with only these modes."""
    modes = spectrum.shape[axis]
    if modes > FEW:
        between = (*spectrum.shape[:axis], size - modes, *spectrum.shape[axis + 1 :])
        low, negative = np.split(spectrum, [(modes + 1) // 2], axis=axis)
        zeros = np.zeros_like(spectrum, shape=between)
        return np.fft.ifft(np.concatenate([low, zeros, negative], axis=axis), axis=axis)
    return _along(np.conjugate(_waves(size, modes, spectrum)).T / size, spectrum, axis)


def _along(matrix: Array, array: Array, axis: int) -> Array:
    """The product of a matrix with each vector along an axis."""
    before, after = array.shape[:axis], array.shape[axis + 1 :]
    columns = np.reshape(array, (math.prod(before), array.shape[axis], math.prod(after)))
    return np.reshape(np.matmul(matrix, columns), (*before, matrix.shape[0], *after))


def _lowest(size: int, modes: int) -> npt.NDArray[Any]:
    """Where the lowest frequencies of both signs are among all: 0, 1, …, −2, −1."""
    return np.concatenate([np.arange((modes + 1) // 2), np.arange(-(modes // 2), 0)]) % size


def _waves_on_paper(modes: int, axis: int, is_real: bool) -> str:
    """The matrix of `_transform` along an axis of x, or of `_real_transform`, as an expression."""
    frequencies = f"np.arange({modes})"
    if not is_real:
        ends = f"np.arange({(modes + 1) // 2}), np.arange(-{modes // 2}, 0)"
        frequencies = f"np.concatenate(({ends}))"
    n = f"x.shape[{axis}]"
    return f"np.exp(-2j * np.pi * np.outer({frequencies}, np.arange({n})) / {n})"


def _waves(size: int, modes: int, model: Array) -> Array:
    """exp(−2πi k x / n), a row for each mode: the matrix of `_transform`."""
    if has_values(model):
        return _known_waves(size, modes, model.dtype)
    return _waves_at(places(size, model), size, modes).astype(model.dtype)


def _waves_at(x: Array, size: int, modes: int) -> Array:
    lowest = np.concatenate([np.arange((modes + 1) // 2), np.arange(-(modes // 2), 0)])
    turns = np.outer(lowest, x) % size / size
    return np.exp(-2j * np.pi * turns)


@functools.lru_cache(maxsize=16)
def _known_waves(size: int, modes: int, dtype: np.dtype[Any]) -> npt.NDArray[Any]:
    return _kept(_waves_at(np.arange(size), size, modes).astype(dtype))


def _real_waves(size: int, modes: int, model: Array) -> Array:
    """Cosines and negative sines, a row for each mode: the matrix of `_real_transform`."""
    if has_values(model):
        return _known_real_waves(size, modes, model.dtype)
    return _real_waves_at(places(size, model), size, modes).astype(model.dtype)


def _real_waves_at(x: Array, size: int, modes: int) -> Array:
    angles = 2 * np.pi * (np.outer(np.arange(modes), x) % size) / size
    return np.concatenate([np.cos(angles), -np.sin(angles)])


@functools.lru_cache(maxsize=16)
def _known_real_waves(size: int, modes: int, dtype: np.dtype[Any]) -> npt.NDArray[Any]:
    return _kept(_real_waves_at(np.arange(size), size, modes).astype(dtype))


def _counts(size: int, modes: int, model: Array) -> Array:
    """How often a real signal contains each mode of the last axis: 1 if it is its own mirror."""
    if has_values(model):
        return _known_counts(size, modes, model.dtype)
    return _counts_at(places(size, model)[:modes], size).astype(model.dtype)


def _counts_at(k: Array, size: int) -> Array:
    return np.where((k == 0) | (2 * k == size), 1, 2)


@functools.lru_cache(maxsize=16)
def _known_counts(size: int, modes: int, dtype: np.dtype[Any]) -> npt.NDArray[Any]:
    return _kept(_counts_at(np.arange(modes), size).astype(dtype))


def _kept(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    array.flags.writeable = False
    return array


# ------------------------------------------------------------------------------- errors


def _refuse_small_grid(layer: SpectralConvolution, shape: Shape, modes: tuple[int, ...]) -> None:
    """Raise an error if a grid of these sizes has fewer modes."""
    *leading, last = shape[:-1]
    present = (*leading, last // 2 + 1 if last else 0)
    if any(m > n for m, n in zip(modes, present, strict=True)):
        raise ShapeError(
            f"{layer!r}: there are more modes than the grid has",
            expected=f"at most modes={present[0] if len(present) == 1 else present}, "
            "n // 2 + 1 along the last axis of space and n along the others",
            received=f"modes={modes[0] if len(modes) == 1 else modes} on {batch_of(shape)}",
            hint="fewer modes, or a finer grid",
        )
