"""Terminals that cannot show every sign: ASCII in place of what an encoding lacks.

    Δ → delta    × → x    ‖v‖² → ||v||^2    ├──╮ → +--+

Tables, histories, diagrams, explanations, traces, reports and errors become text when they are
printed, by ``str`` and ``repr``. The text then has only signs that standard output and standard
error can both encode. With UTF-8, which is usual, nothing is replaced; with
``PYTHONIOENCODING=cp1252`` or ``LANG=C``, signs such as Δ are.
"""

from __future__ import annotations

import codecs
import io
import re
import reprlib
import sys
import unicodedata
from collections.abc import Callable
from typing import Any, ParamSpec

import numpy as np

P = ParamSpec("P")

ERRORS = "chainrule.ascii"
"""The name of the way to handle such signs, for ``stream.reconfigure(errors=ERRORS)``."""


def for_terminal(text: str) -> str:
    """The text in signs that standard output and standard error can encode."""
    for stream in (sys.stdout, sys.stderr):
        text = encodable(text, getattr(stream, "encoding", None))
    return text


def is_terminal() -> bool:
    """Whether standard output is a terminal."""
    try:
        return sys.stdout.isatty()
    except (AttributeError, ValueError):  # not a stream, or a closed one
        return False


def printable(function: Callable[P, str]) -> Callable[P, str]:
    """Make a function, such as ``__str__``, return its text `for_terminal`."""

    def __str__(*args: P.args, **kwargs: P.kwargs) -> str:  # noqa: N807
        return for_terminal(function(*args, **kwargs))

    __str__.__name__, __str__.__doc__ = function.__name__, function.__doc__
    __str__.__qualname__ = function.__qualname__
    return __str__


def encodable(text: str, encoding: str | None) -> str:
    """The text with ASCII in place of every sign that the encoding lacks.

    Columns stay in line where the spaces between them allow it.

    Parameters
    ----------
    text
        Any text.
    encoding
        Such as ``"cp1252"``; None for an encoding that has all signs.
    """
    if encoding is None or text.isascii():
        return text
    try:
        text.encode(encoding)
    except LookupError:
        return text
    except UnicodeEncodeError:
        return "\n".join(_encodable_line(line, encoding) for line in text.split("\n"))
    return text


def _encodable_line(line: str, encoding: str) -> str:
    pieces: list[str] = []
    surplus = 0  # how many columns the replacements take more than the signs
    for piece in PIECES.findall(line):
        if piece.isspace():
            kept = max(len(piece) - surplus, min(len(piece), 1))
            surplus -= len(piece) - kept
            pieces.append(piece[:kept])
            continue
        try:
            piece.encode(encoding)
            pieces.append(piece)
        except UnicodeEncodeError:
            replaced = _in_ascii(piece, encoding)
            surplus = max(surplus + len(replaced) - len(piece), 0)
            pieces.append(replaced)
    return "".join(pieces)


PIECES = re.compile(r" {2,}|[⁰¹²³⁴-⁹⁺⁻ᵀᵏⁿ⁽⁾]+|[₀-₉ᵢⱼₖₙₛ₊₋]+|.", re.DOTALL)
"""Spaces between columns, exponents, indices, and all other signs one by one."""


def _in_ascii(piece: str, encoding: str) -> str:
    if piece[0] in EXPONENTS:
        return "^" + "".join(EXPONENTS.get(sign, sign) for sign in piece)
    if piece[0] in INDICES:
        return "_" + "".join(INDICES.get(sign, sign) for sign in piece)
    if piece in SIGNS:
        return SIGNS[piece]
    plain = unicodedata.normalize("NFKD", piece).encode("ascii", "ignore").decode()
    if plain or unicodedata.combining(piece):
        return plain
    return piece.encode(encoding, "backslashreplace").decode(encoding)


def _replace(error: UnicodeError) -> tuple[str, int]:
    """Replace what a stream cannot encode, for `codecs.register_error`."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return _encodable_line(error.object[error.start : error.end], "ascii"), error.end


codecs.register_error(ERRORS, _replace)


def shortened(thing: object, limit: int = 60) -> str:
    """The repr of an object for an error: on one line, and cut between words, with "…".

    An array is described by its dtype and its shape.

    Parameters
    ----------
    thing
        What was received.
    limit
        The largest number of characters.
    """
    if isinstance(thing, np.ndarray):
        return f"{thing.dtype} array of shape {thing.shape}"
    is_long = isinstance(thing, list | tuple | dict | set | str) and len(thing) > limit
    text = " ".join((reprlib.repr if is_long else repr)(thing).split()).replace("...", "…")
    if len(text) <= limit:
        return text
    cut = text[: limit - 1]
    words = re.match(r".*[\s,;:(\[{](?=.)", cut)
    return (words[0].rstrip() if words and len(words[0]) > limit // 2 else cut) + "…"


def described(thing: object) -> str:
    """What was received instead of an object of another type, for an error."""
    if isinstance(thing, type):
        return f"the class {thing.__name__}"
    return f"{shortened(thing)}, of type {type(thing).__name__}"


def printed(
    thing: Any, *, width: int | None = None, least: Callable[[int], int] | None = None
) -> str:
    """What rich prints of an object, as text without colours.

    Parameters
    ----------
    thing
        An object that rich can print.
    width
        The number of columns; that of the terminal if not given.
    least
        The number of columns that the object needs in a terminal of a given width.
    """
    from rich.console import Console

    text = io.StringIO()
    console = Console(
        file=text, width=width, color_system=None, force_terminal=False, force_jupyter=False
    )
    if least is not None:
        console.width = max(console.width, least(console.width))
    console.print(thing)
    return "\n".join(line.rstrip() for line in text.getvalue().splitlines())


EXPONENTS = dict(zip("⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻ᵀᵏⁿ⁽⁾", "0123456789+-Tkn()", strict=True))
INDICES = dict(zip("₀₁₂₃₄₅₆₇₈₉ᵢⱼₖₙₛ₊₋", "0123456789ijkns+-", strict=True))
SIGNS = {
    **dict(zip("αβγδεζηθικλμνξπρστφχψω", (
        "alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta", "iota", "kappa",
        "lambda", "mu", "nu", "xi", "pi", "rho", "sigma", "tau", "phi", "chi", "psi", "omega",
    ), strict=True)),
    **dict(zip("─━═╸╺╌│┃║┌┐└┘├┤┬┴┼╭╮╰╯", "------|||" + "+" * 13, strict=True)),
    **dict(zip("▁▂▃▄▅▆▇█▀▌▐░▒▓", "_.-.=+*#'||.:#", strict=True)),
    **dict(zip("●○•★▶▸◀▲▼⋮′‘’“”−–—·⊙∗×∘∂ℝ", "*o**>><^v:'''\"\"---***xodR", strict=True)),
    "Δ": "delta", "Σ": "sum", "Π": "prod", "Ω": "Omega", "Φ": "Phi", "Γ": "Gamma", "Θ": "Theta",
    "Λ": "Lambda", "Ψ": "Psi", "∇": "grad", "∞": "inf", "√": "sqrt", "∑": "sum", "∏": "prod",
    "∫": "int", "∈": "in", "→": "->", "←": "<-", "↔": "<->", "↦": "|->", "↑": "^", "↓": "v",
    "∋": "has",
    "≤": "<=", "≥": ">=", "≠": "!=", "≈": "~", "≪": "<<", "≫": ">>", "∝": "~", "±": "+-",
    "½": "1/2", "¼": "1/4", "¾": "3/4", "‖": "||", "⟨": "<", "⟩": ">", "⌈": "ceil(", "⌉": ")",
    "⌊": "floor(", "⌋": ")", "…": "...", "″": "''", "✓": "ok", "✗": "!!", "°": " deg", "µ": "u",
    "§": "section ",
}  # fmt: skip
"""The ASCII text for each sign."""
