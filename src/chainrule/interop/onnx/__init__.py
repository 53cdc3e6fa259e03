"""ONNX: models for every program that reads it, with their gradients; and models from elsewhere.

    interop.onnx.save(model, "model.onnx")                          values
    interop.onnx.save(model, "model.onnx", gradients="inputs")      and the gradients of the inputs
    interop.onnx.save(model, "model.onnx", loss=losses.MeanSquaredError())    a training step

ONNX is a format for graphs of arrays: nodes such as MatMul and Add, and the numbers of the
parameters. A model is written by a tracer that flows through its two methods, as dual numbers and
symbols do, so a layer of your own needs no code for it. Read in this order:

    traced        the array that writes down what is computed
    sizes         the length of an axis that the file leaves open
    elementwise, moving, indexing, products, spectra    which nodes compute a function of NumPy
    operations    layers that are a node of their own, such as a convolution
    recurrent     loops over time
    writer        nodes, names, the file
    saving        all of it for one model
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from chainrule.core.extras import required
from chainrule.core.hints import missing_name

required("onnx", "interop.onnx needs")

if TYPE_CHECKING:
    from chainrule.interop.onnx.saving import save as save

_PLACES = {"save": "saving"}

__all__ = ["save"]


if not TYPE_CHECKING:  # with a __getattr__, type checkers would accept any name

    def __getattr__(name: str) -> Any:
        if name not in _PLACES:
            raise missing_name(__name__, name)
        return getattr(importlib.import_module(f"{__name__}.{_PLACES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
