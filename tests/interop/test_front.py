"""The edges are loaded when they are asked for: the core works without them."""

from __future__ import annotations

import subprocess
import sys

import pytest

EDGES = (
    "sklearn",
    "onnx",
    "onnxruntime",
    "mpi4py",
    "dask",
    "optuna",
    "polars",
    "xarray",
    "IPython",
)


def test_the_core_imports_no_library_of_an_edge():
    code = (
        "import sys, chainrule\n"
        "for name in chainrule.__all__: getattr(chainrule, name)\n"
        f"print([name for name in {EDGES!r} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(("edge", "package"), [("sklearn", "scikit-learn"), ("onnx", "onnx")])
def test_a_missing_library_is_a_named_error_with_the_line_that_installs_it(edge, package):
    code = (
        f"import sys\nsys.modules[{edge!r}] = None\n"
        "from chainrule import errors, interop\n"
        f"try: interop.{edge}\nexcept errors.MissingExtraError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert f"needs {package}, which is not installed" in done.stdout
    assert f"pip install 'chainrule[{edge}]'" in done.stdout
