"""Running ONNX files: by onnxruntime, and by the reference of the format."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx.reference import ReferenceEvaluator
from onnxruntime.capi.onnxruntime_pybind11_state import NotImplemented as NotImplemented_

from chainrule.interop.onnx.writing.save import model_proto

WITHOUT_DOUBLE = {
    *("Conv", "ConvTranspose", "AveragePool", "LSTM", "GRU", "RNN", "Det", "Resize"),
    *("Tan", "Atan", "Sinh", "Cosh", "Asinh", "Acosh", "Atanh"),
}
"""The nodes in our files that onnxruntime 1.32 does not compute in float64."""

IS_OLD = tuple(map(int, onnxruntime.__version__.split(".")[:2])) < (1, 32)
"""Whether onnxruntime may lack more nodes in float64; then the reference alone checks them."""

LIMITS = {"float32": 1e-6, "float64": 1e-12}


def kinds(proto: Any) -> list[str]:
    """The kinds of the nodes, in order."""
    return [node.op_type for node in proto.graph.node]


def runs_double(proto: Any) -> bool:
    """Whether onnxruntime has all nodes in float64."""
    return WITHOUT_DOUBLE.isdisjoint(kinds(proto))


def _fed(proto: Any, inputs: Any) -> dict[str, Any]:
    """The inputs by name; tokens as the integers that a file takes."""
    fed = {}
    for each, x in zip(proto.graph.input, inputs, strict=True):
        is_whole = each.type.tensor_type.elem_type == onnx.TensorProto.INT64
        fed[each.name] = x.astype(np.int64) if is_whole else x
    return fed


def run(proto: Any, *inputs: Any) -> list[Any]:
    """The outputs by onnxruntime."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    content = proto if isinstance(proto, bytes) else proto.SerializeToString()
    session = onnxruntime.InferenceSession(content, options, ["CPUExecutionProvider"])
    return session.run(None, _fed(onnx.load_from_string(content), inputs))


def reference(proto: Any, *inputs: Any) -> list[Any]:
    """The outputs by `onnx.reference`."""
    evaluator = ReferenceEvaluator(proto)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return evaluator.run(None, _fed(proto, inputs))


def assert_close(made: list[Any], wanted: Any, limit: float) -> None:
    """Equal shapes and dtypes, and numbers to a part of the largest one."""
    for name, (one, other) in enumerate(zip(made, wanted, strict=True)):
        assert one.shape == other.shape, name
        assert one.dtype == other.dtype, name
        largest = max(float(np.max(np.abs(other), initial=0)), 1e-3)
        assert float(np.max(np.abs(one - other), initial=0)) <= limit * largest, name


def assert_computes(proto: Any, inputs: Any, wanted: Any) -> None:
    """The file computes these outputs, by all that run it."""
    dtype = str(wanted[0].dtype)
    if dtype == "float64":
        assert_close(reference(proto, *inputs), wanted, LIMITS[dtype])
    if dtype == "float32" or runs_double(proto):
        try:
            made = run(proto, *inputs)
        except NotImplemented_:
            assert dtype == "float64" and IS_OLD
        else:
            assert_close(made, wanted, LIMITS[dtype])


__all__ = ["assert_close", "assert_computes", "kinds", "model_proto", "reference", "run"]
