"""ONNX, the format in which programs exchange networks.

onnx.save(model, "model.onnx")                        values, for every program that reads it
onnx.save(model, "model.onnx", gradients="inputs")    and the gradients of the inputs
onnx.save(model, "model.onnx", loss=losses.MeanSquaredError())    a training step
onnx.load("model.onnx")         a model that PyTorch, Keras or others wrote, to train on

writing    a tracer flows through a model, and writes down what is computed
reading    each operator becomes a layer
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from chainrule.core.extras import required
from chainrule.core.hints import missing_name

required("onnx", "interop.onnx needs")

if TYPE_CHECKING:
    from chainrule.interop.onnx.reading.load import load as load
    from chainrule.interop.onnx.writing.save import save as save

_PLACES = {"load": "reading.load", "save": "writing.save"}

__all__ = ["load", "save"]


if not TYPE_CHECKING:  # with a __getattr__, type checkers would accept any name

    def __getattr__(name: str) -> Any:
        if name not in _PLACES:
            raise missing_name(__name__, name)
        return getattr(importlib.import_module(f"{__name__}.{_PLACES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
