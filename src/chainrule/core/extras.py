"""Optional libraries: imported when they are needed, with a named error if one is missing.

chainrule itself needs NumPy, attrs and rich. Everything else is an extra of the package,

    pip install 'chainrule[scipy]'

and is imported by the function that needs it, so `import chainrule` stays fast.
"""

from __future__ import annotations

import importlib
from typing import Any

from chainrule.core.errors import MissingExtraError

EXTRAS = {
    "matplotlib": ("plot", "3.9"),
    "scipy": ("scipy", "1.13"),
    "tensorboardX": ("tensorboard", "2.6"),
    "pandas": ("pandas", "2.2.2"),
    "numba": ("fast", "0.61"),
    "sklearn": ("sklearn", "1.6"),
    "onnx": ("onnx", "1.17"),
    "mpi4py": ("mpi", "4.1"),
}
"""The extra that installs a library, and the oldest version that works."""

PACKAGES = {"sklearn": "scikit-learn"}
"""The name under which a library is installed, if it is not that of the module."""


def required(module: str, need: str, *, otherwise: str = "") -> Any:
    """An optional module, such as ``scipy.optimize``.

    Parameters
    ----------
    module
        Its name.
    need
        What needs it, with a verb: ``"fitting needs"``.
    otherwise
        What works without it.

    Raises
    ------
    MissingExtraError
        The library is not installed. The error gives the line that installs it.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise missing_extra(module.partition(".")[0], need, error, otherwise) from error


def missing_extra(
    library: str, need: str, error: ImportError, otherwise: str = ""
) -> MissingExtraError:
    """The error for a library that is not installed; ``otherwise`` says what works without it."""
    extra, version = EXTRAS[library]
    library = PACKAGES.get(library, library)
    return MissingExtraError(
        f"{need} {library}, which is not installed",
        expected=f"{library} {version} or newer, which the extra `{extra}` installs",
        received=str(error),
        hint=f"pip install 'chainrule[{extra}]'" + (f", or {otherwise}" if otherwise else ""),
    )
