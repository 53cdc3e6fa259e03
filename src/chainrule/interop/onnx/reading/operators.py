"""The operators of ONNX that have a counterpart here, each with its rule and what it becomes.

An operator that is missing, but that ONNX itself defines as a function of others, is written out
with them. What is computed from weights and shapes alone is not in this table: see `folding`.
"""

from __future__ import annotations

from attrs import frozen

from chainrule.interop.onnx.reading import (
    elementwise,
    moving,
    products,
    recurrences,
    reductions,
    resizing,
    sums,
)
from chainrule.interop.onnx.reading.conversion import Rule


@frozen
class Operator:
    """An operator of ONNX.

    Attributes
    ----------
    rule
        What makes layers of a node.
    becomes
        The layer that it usually becomes, for the table in the documentation.
    takes_integers
        Whether it only moves numbers, so that they may be integers.
    calculates_integers
        Whether it gives the same with small integers as with the floats that stand for them.
    """

    rule: Rule
    becomes: str
    takes_integers: bool = False
    calculates_integers: bool = False


def _calculates(rule: Rule, becomes: str) -> Operator:
    return Operator(rule, becomes, calculates_integers=True)


def _comparison() -> Operator:
    return _calculates(elementwise.comparison, "Binary, whose slope is 0")


def _activation(name: str) -> Operator:
    return Operator(elementwise.function(name), f'Activation("{name}")')


def _function(*attributes: tuple[str, float]) -> Operator:
    return Operator(elementwise.elementwise(*attributes), "Activation, of a function of ONNX")


def _moves(rule: Rule, becomes: str) -> Operator:
    return Operator(rule, becomes, takes_integers=True)


def _reduction(name: str) -> Operator:
    is_exact = name in ("Max", "Min", "Sum")
    becomes = f'Reduce("{name}")'
    return Operator(reductions.reduction(name), becomes, calculates_integers=is_exact)


OPERATORS: dict[str, Operator] = {
    "Abs": _function(),
    "Acos": _function(),
    "Acosh": _function(),
    "Add": _calculates(elementwise.add, "Add, or the biases of a Dense"),
    "And": _comparison(),
    "Asin": _function(),
    "Asinh": _function(),
    "Atan": _function(),
    "Atanh": _function(),
    "AveragePool": Operator(reductions.average_pool, "AveragePool"),
    "BatchNormalization": Operator(products.batch_norm, "BatchNorm"),
    "Cast": _moves(elementwise.cast, "nothing: a model has one type"),
    "CastLike": _moves(elementwise.cast_like, "nothing: a model has one type"),
    "Ceil": _function(),
    "Celu": _function(("alpha", 1.0)),
    "Clip": Operator(elementwise.clip, "Activation"),
    "Concat": _moves(moving.concat, "Concatenate"),
    "Conv": Operator(products.conv, "Convolution"),
    "ConvTranspose": Operator(products.conv_transpose, "TransposedConvolution"),
    "Cos": _function(),
    "Cosh": _function(),
    "CumSum": Operator(reductions.running_sum, "Mix"),
    "DepthToSpace": _moves(moving.depth_to_space, "Reshape, Permute"),
    "Div": Operator(elementwise.divide, "Binary"),
    "Dropout": Operator(elementwise.dropout, "Dropout"),
    "Einsum": Operator(sums.einsum, "Einsum"),
    "Elu": Operator(elementwise.elu, 'Activation("elu")'),
    "Equal": _comparison(),
    "Erf": _function(),
    "Exp": _function(),
    "Expand": _moves(moving.expand, "Expand"),
    "Flatten": _moves(moving.flatten, "Flatten"),
    "Floor": _function(),
    "GRU": Operator(recurrences.recurrent, "GRU, or Scan of a cell that resets first"),
    "Gather": _moves(moving.gather, "Embedding for a table, else Take"),
    "Gelu": Operator(elementwise.gelu, 'Activation("gelu")'),
    "Gemm": Operator(products.gemm, "Dense"),
    "GlobalAveragePool": Operator(reductions.global_average_pool, "GlobalAveragePool"),
    "GlobalMaxPool": Operator(reductions.global_max_pool, "GlobalMaxPool"),
    "Greater": _comparison(),
    "GreaterOrEqual": _comparison(),
    "GroupNormalization": Operator(products.group_norm, "GroupNorm"),
    "HardSigmoid": _function(("alpha", 0.2), ("beta", 0.5)),
    "HardSwish": _function(),
    "Identity": _moves(moving.identity, "nothing"),
    "InstanceNormalization": Operator(products.instance_norm, "GroupNorm"),
    "LSTM": Operator(recurrences.recurrent, "LSTM"),
    "LayerNormalization": Operator(products.layer_norm, "LayerNorm"),
    "LeakyRelu": Operator(elementwise.leaky_relu, 'Activation("leaky_relu")'),
    "Less": _comparison(),
    "LessOrEqual": _comparison(),
    "Log": _function(),
    "LogSoftmax": Operator(products.log_softmax, "LogSoftmax"),
    "LpNormalization": Operator(products.lp_normalization, "Reduce, Multiply"),
    "MatMul": Operator(products.matmul, "Dense; MatrixProduct of two values"),
    "Max": Operator(elementwise.extremum("Max"), "Binary"),
    "MaxPool": Operator(reductions.max_pool, "MaxPool"),
    "Mean": Operator(elementwise.mean, "Average"),
    "Min": Operator(elementwise.extremum("Min"), "Binary"),
    "Mish": _activation("mish"),
    "Mul": _calculates(elementwise.multiply, "Multiply, or Scale"),
    "Neg": _function(),
    "Not": _calculates(elementwise.negation, "Activation, whose slope is 0"),
    "Or": _comparison(),
    "PRelu": Operator(elementwise.prelu, "PReLU"),
    "Pad": _moves(moving.pad, "Pad, or Border"),
    "Pow": Operator(elementwise.power, "Activation, or Binary"),
    "Range": Operator(moving.positions, "Positions, for an open axis"),
    "RMSNormalization": Operator(products.rms_norm, "RMSNorm"),
    "RNN": Operator(recurrences.recurrent, "SimpleRNN"),
    "Reciprocal": _function(),
    "ReduceL1": _reduction("L1"),
    "ReduceL2": _reduction("L2"),
    "ReduceLogSum": _reduction("LogSum"),
    "ReduceLogSumExp": _reduction("LogSumExp"),
    "ReduceMax": _reduction("Max"),
    "ReduceMean": _reduction("Mean"),
    "ReduceMin": _reduction("Min"),
    "ReduceProd": _reduction("Prod"),
    "ReduceSum": _reduction("Sum"),
    "ReduceSumSquare": _reduction("SumSquare"),
    "Relu": _activation("relu"),
    "Reshape": _moves(moving.reshape, "Reshape, or Flatten"),
    "Resize": Operator(resizing.resize, "Upsample, Take or Mix"),
    "Round": _function(),
    "Selu": Operator(elementwise.selu, 'Activation("selu")'),
    "Shape": _moves(moving.shape, "nothing: it is known"),
    "Shrink": _function(("lambd", 0.5), ("bias", 0.0)),
    "Sigmoid": _activation("sigmoid"),
    "Sign": _function(),
    "Sin": _activation("sin"),
    "Sinh": _function(),
    "Size": _moves(moving.size, "nothing: it is known"),
    "Slice": _moves(moving.slices, "Slice"),
    "Softmax": Operator(products.softmax, "Softmax"),
    "Softplus": _activation("softplus"),
    "Softsign": _activation("softsign"),
    "SpaceToDepth": _moves(moving.space_to_depth, "Reshape, Permute"),
    "Split": _moves(moving.split, "Slice"),
    "Sqrt": _function(),
    "Squeeze": _moves(moving.squeeze, "nothing: the axes are noted"),
    "Sub": _calculates(elementwise.subtract, "Subtract"),
    "Sum": Operator(elementwise.add, "Add"),
    "Swish": _function(("alpha", 1.0)),
    "Tan": _function(),
    "Tanh": _activation("tanh"),
    "ThresholdedRelu": _function(("alpha", 1.0)),
    "Tile": _moves(moving.tile, "Take"),
    "Transpose": _moves(moving.transpose, "nothing: the axes are noted"),
    "Unsqueeze": _moves(moving.unsqueeze, "nothing: the axes are noted"),
    "Upsample": Operator(resizing.upsample, "Upsample"),
    "Where": _calculates(elementwise.where, "Where"),
    "Xor": _comparison(),
}
"""By name, in alphabetical order."""
