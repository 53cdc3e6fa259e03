"""The errors for what a `Dual` cannot do.

NumPy asks a `Dual` before it calls most of its functions, but not before `numpy.ascontiguousarray`
or ``as_strided``: these convert it into a plain array, which would lose the tangent. The conversion
itself does not say who asked for it, so the line of the program that made the call is read.
"""

from __future__ import annotations

import ast
import inspect
import linecache
import sys
import textwrap
from functools import lru_cache
from types import FrameType
from typing import Any

import numpy as np

from chainrule.core.errors import NoTangentRuleError


@lru_cache(maxsize=256)
def name_of(function: Any) -> str:
    """The full name of a function, such as ``numpy.linalg.svd``."""
    module = getattr(function, "__module__", None) or (
        "numpy" if getattr(np, function.__name__, None) is function else ""
    )
    return f"{module}.{function.__name__}".lstrip(".")


def no_rule(name: str) -> NoTangentRuleError:
    """The error for a function without a tangent rule."""
    return NoTangentRuleError(
        f"{name} has no tangent rule",
        expected="a function that Dual numbers can flow through",
        received=name,
        hint="write it with functions that have a rule, or add a rule with "
        "chainrule.calculus.dual.tangent_rule; check_layer falls back to central differences",
    )


def no_derivative(name: str, received: str, hint: str) -> NoTangentRuleError:
    """The error for a function at a point where it has no derivative."""
    return NoTangentRuleError(
        f"{name} has no derivative here",
        expected="a point at which the result changes smoothly along the tangent",
        received=received,
        hint=hint,
    )


def lost(what: str, hint: str | None = None) -> NoTangentRuleError:
    """The error for an operation that would silently drop a tangent."""
    return NoTangentRuleError(
        f"{what} would lose the tangent of a Dual",
        hint=hint
        or "call np.* on the inputs and create arrays with np.zeros_like(x) or like=x; "
        "never convert an input with np.asarray or float",
    )


def lost_in_plain_array(what: str) -> NoTangentRuleError:
    """The error for writing into an array that cannot hold a tangent."""
    return NoTangentRuleError(
        f"{what} would lose the tangent of a Dual",
        expected="a Dual to write into",
        received="a plain array, or a Dual of a lower level",
        hint="create the array from the input, with np.zeros_like(x) or np.zeros(shape, like=x), "
        "so that it can carry a tangent",
    )


def lost_in_conversion(what: str) -> NoTangentRuleError:
    """The error for a conversion into a plain array or number, with the call that needs it.

    ``what`` describes the conversion, for a program whose source is not available.
    """
    call, alternative = converting_call(what, sys._getframe(2))
    return lost(call, alternative and f"use {alternative}")


def converting_call(what: str, frame: FrameType | None = None) -> tuple[str, str | None]:
    """The call that makes a plain array of another, such as ``np.asarray(x)``, and a better way.

    ``what`` describes the conversion, for a program whose source is not available.
    """
    call, library = _converting_call(frame or sys._getframe(2))
    if call is None:
        return what, None
    name = call.rpartition(".")[2]
    alternative = ALTERNATIVES.get(name) or ALTERNATIVES.get(library)
    if alternative is None and call.startswith("math."):
        alternative = f"np.{name}(x)"
    return f"{call}(x)", alternative


def no_method(name: str) -> NoTangentRuleError:
    """The error for an attribute that an array has and a Dual has not."""
    alternative = ALTERNATIVES.get(f".{name}") or (f"np.{name}(x)" if hasattr(np, name) else None)
    return NoTangentRuleError(
        f"ndarray.{name} has no tangent rule",
        expected="an operation that Dual supports: arithmetic, indexing, NumPy's functions",
        received=f".{name} of a Dual",
        hint=f"use {alternative}" if alternative else "write it with NumPy's functions",
    )


def _like(name: str) -> str:
    return f"np.{name}(x, like=x), or leave it out"


# What to write instead of a function that converts its argument into a plain array.
ALTERNATIVES: dict[str, str] = {
    **{
        name: _like(name)
        for name in ("asarray", "asanyarray", "ascontiguousarray", "asfortranarray", "require")
    },
    "array": "np.copy(x), np.stack([a, b]) or np.array([a, b], like=x)",
    "asarray_chkfinite": "np.isfinite(x), and then x itself",
    "as_strided": "np.lib.stride_tricks.sliding_window_view(x, window), or slices such as x[i:j]",
    "dot": "np.dot(a, x) or a @ x",
    "vectorize": "np.apply_along_axis, or np.* on whole arrays",
    "polyval": "np.polyval(coefficients, x), with the highest power first",
    "r_": "np.concatenate([a, b])",
    "c_": "np.stack([a, b], axis=-1)",
    ".flat": "np.ravel(x)",
    ".view": "x.real and x.imag, which are views, or x.astype(dtype)",
}


def _converting_call(frame: FrameType | None) -> tuple[str | None, str]:
    """The call that converts a Dual, such as ``np.ascontiguousarray``, and what it entered.

    The first frame outside of NumPy and SciPy is that of the caller. A function written in C has no
    frame, so its name is read from the source of the instruction that is being executed.
    """
    entered = ""
    while frame is not None and _is_numerical_library(frame):
        entered, frame = frame.f_code.co_qualname.partition(".")[0], frame.f_back
    called = _function_in_source(frame) if frame is not None else None
    return called or entered or None, entered


def _is_numerical_library(frame: FrameType) -> bool:
    return str(frame.f_globals.get("__name__")).partition(".")[0] in ("numpy", "scipy")


def _function_in_source(frame: FrameType) -> str | None:
    place = inspect.getframeinfo(frame, context=0).positions
    if place is None or None in (place.lineno, place.end_lineno, place.col_offset):
        return None
    lines = [
        linecache.getline(frame.f_code.co_filename, number, frame.f_globals).encode()
        for number in range(place.lineno or 0, (place.end_lineno or 0) + 1)
    ]
    lines[-1] = lines[-1][: place.end_col_offset]
    lines[0] = lines[0][place.col_offset :]
    source = textwrap.dedent(b"".join(lines).decode())
    try:
        call = ast.parse(f"({source})", mode="eval").body
    except SyntaxError:
        return None
    if isinstance(call, ast.Call):
        name = ast.unparse(call.func)
    elif isinstance(call, ast.Subscript) and isinstance(call.value, ast.Attribute):  # np.r_[...]
        name = ast.unparse(call.value)
    else:
        return None
    return name if len(name) < 50 else name.rpartition(".")[2][:50]
