"""ONNX, a file format for exchanging networks between programs.

    onnx.save(model, "model.onnx")                        outputs, for any program that reads ONNX
    onnx.save(model, "model.onnx", gradients="inputs")    also the gradients of the inputs
    onnx.save(model, "step.onnx", loss=losses.MeanSquaredError())    a training step
    onnx.load("model.onnx")    a model written by PyTorch, Keras or others, to train further

To write, a tracer flows through a model and records what is computed (`writing`). To read, each
operator becomes a layer (`reading`). These layers do not need the library onnx, so a model of them
that was saved loads without it.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from chainrule.core.extras import required
from chainrule.core.hints import missing_name

if TYPE_CHECKING:
    from chainrule.interop.onnx.reading.load import load as load
    from chainrule.interop.onnx.writing.save import save as save

_PLACES = {"load": "reading.load", "save": "writing.save"}

__all__ = ["load", "save"]


if not TYPE_CHECKING:  # with a __getattr__, type checkers would accept any name

    def __getattr__(name: str) -> Any:
        if name not in _PLACES:
            raise missing_name(__name__, name)
        required("onnx", "interop.onnx needs")
        return getattr(importlib.import_module(f"{__name__}.{_PLACES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
