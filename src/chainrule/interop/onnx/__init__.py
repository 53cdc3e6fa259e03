"""ONNX, the format in which programs exchange networks.

    onnx.load(path)     a model that PyTorch, Keras or others wrote, as a `Graph` to train on

Read in this order:

    load           from the file to the graph
    operators      which operator becomes which layer
    values         where the axes of a value are
    conversion     what a rule for an operator works with
    elementwise, moving, products, reductions, resizing, recurrences     the rules
    grouped        values that join the batch with another axis
    folding        what is computed from constants alone
    reading        the bytes, and the bounds on what a file may ask for
    layers, functions     what ONNX has and chainrule otherwise does not
"""

from __future__ import annotations

from chainrule.core.extras import required

required("onnx", "interop.onnx needs")

from chainrule.interop.onnx.load import load  # noqa: E402 - the library that is missing is named first

__all__ = ["load"]
