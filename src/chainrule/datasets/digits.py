"""The 1,797 handwritten digits of the UCI repository, images of 8 × 8 pixels.

Thirteen people wrote the digits into forms. Each digit was scanned as 32 × 32 black or white
pixels, and the black ones were counted in blocks of 4 × 4, so a pixel is one of 0, 1, …, 16. Here

    x = pixel / 16 ∈ [0, 1],    t ∈ {0, 1, …, 9}.
"""

from __future__ import annotations

import hashlib
import io
from importlib import resources
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import DTypeLike, NDArray

from chainrule.core.errors import ConfigurationError, DataError

_FILE = "digits.npz"
_SHA256 = "089d33176bf6819a5c6ebd6746c5293713f4e81c2c8fc52b672e6e15faa78f41"


class Digits(NamedTuple):
    """The result of `digits`: ``x_train, t_train, x_test, t_test``, by name or by position.

    Parameters
    ----------
    x_train, x_test
        Images, shape (samples, 64), the 8 rows of 8 pixels one after the other, from 0 (white) to 1
        (black). ``x_train.reshape(-1, 8, 8)`` gives 2-D images.
    t_train, t_test
        The digits in the images, shape (samples,), integers from 0 to 9.
    """

    x_train: NDArray[np.floating[Any]]
    t_train: NDArray[np.int64]
    x_test: NDArray[np.floating[Any]]
    t_test: NDArray[np.int64]

    def __repr__(self) -> str:
        parts = (f"{name}={part.shape} {part.dtype}" for name, part in self._asdict().items())
        return f"Digits({', '.join(parts)})"


def digits(dtype: DTypeLike = "float64") -> Digits:
    """Return 1,437 handwritten digits for training and 360 for testing.

    The split is fixed. Sort the images by digit, keeping the order of the source within each digit;
    every fifth image, starting with the first, is a test image. So each digit has the same share
    of both parts, to within one image. Within each part the images are in the order of the source.
    All thirteen writers occur in both parts, so the test shows how well a network reads new images,
    not images by new writers.

    Parameters
    ----------
    dtype
        The dtype of the pixels, ``"float64"`` or ``"float32"``. It determines the dtype of a model
        that is built from them.

    Returns
    -------
    Digits
        ``x_train`` (1437, 64), ``t_train`` (1437,), ``x_test`` (360, 64) and ``t_test`` (360,).
        Each call returns new arrays, which you may change.

    Raises
    ------
    ConfigurationError
        If `dtype` is another dtype.
    DataError
        If the file in the package is missing or damaged.

    References
    ----------
    E. Alpaydin and C. Kaynak (1998). Optical Recognition of Handwritten Digits. UCI Machine
    Learning Repository, https://doi.org/10.24432/C50P49. Licence: CC BY 4.0.

    Examples
    --------
    >>> x_train, t_train, x_test, t_test = digits()
    >>> x_train.shape, x_test.shape
    ((1437, 64), (360, 64))
    >>> (16 * x_test[0]).astype(int).reshape(8, 8)  # a zero
    array([[ 0,  0,  5, 13,  9,  1,  0,  0],
           [ 0,  0, 13, 15, 10, 15,  5,  0],
           [ 0,  3, 15,  2,  0, 11,  8,  0],
           [ 0,  4, 12,  0,  0,  8,  8,  0],
           [ 0,  5,  8,  0,  0,  9,  8,  0],
           [ 0,  4, 11,  0,  1, 12,  7,  0],
           [ 0,  2, 14,  5, 10, 12,  0,  0],
           [ 0,  0,  6, 13, 10,  0,  0,  0]])
    """
    pixel_type = _pixel_type(dtype)
    pixels, labels = _read()
    x = pixels.astype(pixel_type) / 16
    t = labels.astype(np.int64)
    is_test = np.zeros(len(t), bool)
    is_test[np.argsort(t, kind="stable")[::5]] = True
    return Digits(x[~is_test], t[~is_test], x[is_test], t[is_test])


def _pixel_type(dtype: DTypeLike) -> np.dtype[Any]:
    try:
        pixel_type = None if dtype is None else np.dtype(dtype)
    except TypeError:
        pixel_type = None
    if pixel_type is None or pixel_type not in (np.dtype("float64"), np.dtype("float32")):
        raise ConfigurationError(
            "digits: this dtype is not supported for pixels",
            place="datasets.digits",
            expected="dtype 'float64' or 'float32'",
            received=repr(dtype),
            hint="omit dtype for float64; for any other dtype, convert the arrays afterwards",
        )
    return pixel_type


def _read() -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """The stored pixels (1797, 64) and labels (1797,), after verifying the file's checksum."""
    hint = "reinstall chainrule: the data are part of the package"
    path = resources.files("chainrule.datasets") / _FILE
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(
            f"digits: the data cannot be read ({error.strerror})",
            place="datasets.digits",
            expected=f"the file {path}",
            received=type(error).__name__,
            hint=hint,
        ) from error
    checksum = hashlib.sha256(content).hexdigest()
    if checksum != _SHA256:
        raise DataError(
            f"digits: the file {path} is damaged",
            place="datasets.digits",
            expected=f"SHA-256 {_SHA256}",
            received=f"SHA-256 {checksum}, from {len(content):,} bytes",
            hint=hint,
        )
    with np.load(io.BytesIO(content)) as stored:
        return stored["pixels"], stored["labels"]
