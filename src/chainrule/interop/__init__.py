"""The edges: use chainrule in other libraries, and exchange models with other programs.

    sklearn    Classifier and Regressor, for scikit-learn's pipelines and searches
    onnx       save and load, for every program that reads or writes ONNX

Each is an optional extra, and its library is imported only when you use it:

    from chainrule import interop

    classifier = interop.sklearn.Classifier()
    interop.onnx.save(model, "model.onnx")

Training on several machines needs no module here: `Trainer(…, ranks=MPI.COMM_WORLD)`.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from chainrule.core.extras import required
from chainrule.core.hints import missing_name

if TYPE_CHECKING:
    from chainrule.interop import onnx as onnx
    from chainrule.interop import sklearn as sklearn

__all__ = ["onnx", "sklearn"]


if not TYPE_CHECKING:  # with a __getattr__, type checkers would accept any name

    def __getattr__(name: str) -> Any:
        if name not in __all__:
            raise missing_name(__name__, name)
        if name == "onnx":  # its layers work without the library
            required("onnx", "interop.onnx needs")
        return importlib.import_module(f"{__name__}.{name}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
