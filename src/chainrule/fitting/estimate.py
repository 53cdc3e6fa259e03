"""One fitted parameter: a value and its standard error, and how both are written.

0.5022 ± 0.0048        the error with two digits, the value with as many decimals
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from attrs import frozen

from chainrule.core.hints import Hinted
from chainrule.core.terminal import printable


@frozen(eq=False, repr=False)
class Estimate(Hinted):
    """A fitted parameter.

    Attributes
    ----------
    path : str
        Its path in the model.
    value, standard_error : float or ndarray
        Numbers, or arrays with the shape of the parameter.
    """

    path: str
    _value: Any
    _standard_error: Any

    @property
    def value(self) -> Any:
        """The best value."""
        return self._value if self._value.shape else float(self._value)

    @property
    def standard_error(self) -> Any:
        """Its standard deviation; infinite if the data do not determine it."""
        return self._standard_error if self._standard_error.shape else float(self._standard_error)

    @printable
    def __repr__(self) -> str:
        pairs = zip(np.ravel(self._value), np.ravel(self._standard_error), strict=True)
        texts = [" ± ".join(written(value, error)) for value, error in pairs]
        return texts[0] if not self._value.shape else "[" + ", ".join(texts) + "]"


def written(value: float, error: float) -> tuple[str, str]:
    """A value and its error as text: the error with two digits, the value with as many decimals."""
    if not math.isfinite(error) or error == 0 or not math.isfinite(value):
        return f"{value:.6g}", "0" if error == 0 else f"{error:g}".replace("inf", "∞")
    place = math.floor(math.log10(float(f"{error:.1e}"))) - 1  # of the second digit
    largest = max(abs(value), error)
    exponent = math.floor(math.log10(largest))
    if -4 <= exponent < 6 and place <= 0:
        return f"{value:.{-place}f}", f"{error:.{-place}f}"
    scale = 10.0**exponent
    decimals = max(exponent - place, 0)
    power = f"e{exponent:+03d}"
    return f"{value / scale:.{decimals}f}{power}", f"{error / scale:.{decimals}f}{power}"
