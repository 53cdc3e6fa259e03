"""Operations that are a node of their own: convolutions, pools, softmax, activation functions.

    correlation(x, weights, windows)        Transpose, Conv, Transpose

Traced like any other code, a convolution would be a heap of slices and products: right, but no
reader would recognize it, and no program would run it fast. So chainrule asks a `Traced` first,
by `chainrule.core.arrays.as_operation`, and this table answers. Channels are the last axis here
and the first in ONNX; a transpose that undoes the one before is left out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from chainrule.interop.onnx.writing.moving import padded_by, reduced, transposed
from chainrule.interop.onnx.writing.sizes import Size
from chainrule.interop.onnx.writing.spectra import complex_of
from chainrule.interop.onnx.writing.traced import Trace, Traced, as_traced, converted, new, refused
from chainrule.layers import correlation, functions, pooling, softmax, spectral, windows
from chainrule.layers.normalization import BatchNorm, GroupNorm, LayerNorm
from chainrule.layers.resize import Upsample
from chainrule.layers.windows import Windows, folded, padded, reach

FLOAT32 = np.dtype(np.float32)


# ------------------------------------------------------------------------------- layouts


def channels_first(x: Traced) -> Traced:
    """(batch, *sizes, C) as (batch, C, *sizes)."""
    return transposed(x, (0, x.ndim - 1, *range(1, x.ndim - 1)))


def channels_last(x: Traced) -> Traced:
    """(batch, C, *sizes) as (batch, *sizes, C)."""
    return transposed(x, (0, *range(2, x.ndim), 1))


def filters_first(weights: Traced) -> Traced:
    """(*kernel, C/G, F) as (F, C/G, *kernel)."""
    last = weights.ndim - 1
    return transposed(weights, (last, last - 1, *range(last - 1)))


def _pads(amounts: Sequence[tuple[int, int]]) -> list[int]:
    return [int(before) for before, _ in amounts] + [int(after) for _, after in amounts]


def _edges(trace: Trace, w: Windows, *, dilates: bool = True) -> dict[str, Any]:
    """The attributes for what is added at the edges, which may depend on open sizes."""
    if not _depends_on_sizes(w):
        return {"pads": _pads(w.amounts)} if any(map(any, w.amounts)) else {}
    if w.padding == "same" and (not dilates or set(w.dilations) == {1}):
        return {"auto_pad": "SAME_UPPER"}
    raise refused(
        trace,
        f"padding={w.padding!r} with a stride depends on the size of an open axis",
        "build the model for rows of a fixed size, or use padding='valid' or a number",
        "padding that is the same for all sizes",
    )


def _depends_on_sizes(w: Windows) -> bool:
    is_open = any(isinstance(n, Size) for n in w.sizes)
    named = isinstance(w.padding, str) and w.padding in ("same", "periodic", "reflect")
    return is_open and named and set(w.strides) != {1}


def _without_copies(x: Traced, w: Windows) -> tuple[Traced, Windows]:
    """The rows with what is copied at the edges, and the windows on these."""
    if w.padding not in ("periodic", "reflect"):
        return x, w
    sizes, nothing = w.padded_sizes, ((0, 0),) * len(w.sizes)
    return padded(x, w.amounts, w.padding), Windows(
        sizes, w.kernel, w.strides, w.dilations, nothing
    )


def _outputs(w: Windows) -> tuple[int, ...]:
    if _depends_on_sizes(w):
        return tuple(-(-n // s) for n, s in zip(w.sizes, w.strides, strict=True))
    return w.outputs


# ------------------------------------------------------------------------------- convolutions


def _correlation(
    trace: Trace, x: Any, weights: Any, windows: Windows, groups: int = 1, biases: Any = None
) -> Any:
    if _depends_on_sizes(windows):
        _edges(trace, windows)
    x, w = _without_copies(x, windows)
    weights = as_traced(trace, weights)
    inputs = [channels_first(as_traced(trace, x)), filters_first(weights)]
    if biases is not None:
        inputs.append(as_traced(trace, biases))
    shape = (x.shape[0], weights.shape[-1], *_outputs(w))
    options = _edges(trace, w)
    if set(w.strides) != {1}:
        options["strides"] = list(map(int, w.strides))
    if set(w.dilations) != {1}:
        options["dilations"] = list(map(int, w.dilations))
    if groups > 1:
        options["group"] = groups
    kernel = list(map(int, w.kernel))
    y = new(trace, "Conv", inputs, shape, x.dtype, kernel_shape=kernel, **options)
    return channels_last(y)


def _spread(trace: Trace, delta: Any, weights: Any, windows: Windows, groups: int = 1) -> Any:
    """The adjoint: a transposed convolution, whose edges are cut off or added to others."""
    is_copied = windows.padding in ("periodic", "reflect")
    sizes = windows.padded_sizes if is_copied else windows.sizes
    amounts = ((0, 0),) * len(sizes) if is_copied else windows.amounts
    if any(isinstance(n, Size) for before, after in windows.amounts for n in (before, after)):
        raise refused(
            trace,
            "the edges of this convolution depend on the size of an open axis",
            "build the model for rows of a fixed size, or use stride=1 or padding='valid'",
        )
    weights = as_traced(trace, weights)
    rest = [
        n + before + after - (s * (m - 1) + reach(k, d))
        for n, (before, after), s, m, k, d in zip(
            sizes, amounts, windows.strides, windows.outputs, windows.kernel, windows.dilations,
            strict=True,
        )
    ]  # fmt: skip
    if any(isinstance(n, Size) for n in rest):
        raise refused(
            trace,
            "how many entries a stride leaves over depends on the size of an open axis",
            "build the model for rows of a fixed size",
        )
    channels = weights.shape[-2] * groups
    inputs: list[Any] = [channels_first(as_traced(trace, delta)), filters_first(weights)]
    options: dict[str, Any] = {"kernel_shape": list(map(int, windows.kernel))}
    if any(rest):
        # The file's output_padding must be smaller than the stride, and is: rest is a remainder.
        options["output_padding"] = list(map(int, rest))
    if any(map(any, amounts)):
        options["pads"] = _pads(amounts)
    if set(windows.strides) != {1}:
        options["strides"] = list(map(int, windows.strides))
    if set(windows.dilations) != {1}:
        options["dilations"] = list(map(int, windows.dilations))
    shape = (delta.shape[0], channels // groups, *sizes)
    each: list[Any] = [inputs]
    if groups > 1:  # onnx.reference knows no groups
        rows, kernels = (np.split(x, groups, axis=n) for n, x in ((1, inputs[0]), (0, inputs[1])))
        each = list(zip(rows, kernels, strict=True))
    outputs: list[Any] = [
        new(trace, "ConvTranspose", pair, shape, weights.dtype, **options) for pair in each
    ]
    joined: Any = outputs[0] if groups == 1 else np.concatenate(outputs, axis=1)
    y = channels_last(joined)
    return folded(y, windows.amounts, windows.padding) if is_copied else y


def _products(trace: Trace, x: Any, delta: Any, windows: Windows, groups: int = 1) -> Any:
    """The gradient of the weights: a convolution in which batch and channels change places.

    Δ is the kernel, with the stride as the distance of its entries; the result is a window of the
    weights' kernel, with the dilation as its stride.
    """
    x, w = _without_copies(as_traced(trace, x), windows)
    delta = as_traced(trace, delta)
    rank = x.ndim - 1
    channels, filters = x.shape[-1] // groups, delta.shape[-1] // groups
    parts = []
    for g in range(groups):
        of_x = x if groups == 1 else x[..., g * channels : (g + 1) * channels]
        of_delta = delta if groups == 1 else delta[..., g * filters : (g + 1) * filters]
        inputs = [transposed(of_x, (rank, 0, *range(1, rank)))]  # (C, batch, *sizes)
        inputs.append(transposed(of_delta, (rank, 0, *range(1, rank))))  # (F, batch, *outputs)
        options = _edges(trace, w)
        if set(w.dilations) != {1}:
            options["strides"] = list(map(int, w.dilations))
        if set(w.strides) != {1}:
            options["dilations"] = list(map(int, w.strides))
        seen = [
            (n + before + after - reach(m, s)) // d + 1
            for n, (before, after), m, s, d in zip(
                w.sizes, w.amounts, w.outputs, w.strides, w.dilations, strict=True
            )
        ]
        y = new(trace, "Conv", inputs, (channels, filters, *seen), x.dtype, **options)
        y = y[(slice(None), slice(None), *(slice(0, k) for k in w.kernel))]
        parts.append(transposed(y, (*range(2, y.ndim), 0, 1)))  # (*kernel, C, F)
    return parts[0] if groups == 1 else np.concatenate(parts, axis=-1)


def _both(trace: Trace, x: Any, weights: Any, delta: Any, w: Windows, groups: int = 1) -> Any:
    return _correlation(trace, x, weights, w, groups), _products(trace, x, delta, w, groups)


def _gradients(trace: Trace, x: Any, weights: Any, delta: Any, w: Windows, groups: int = 1) -> Any:
    return _spread(trace, delta, weights, w, groups), _products(trace, x, delta, w, groups)


def _padded(trace: Trace, x: Any, amounts: Any, mode: Any = "zeros", fill: float = 0.0) -> Any:
    if not any(map(any, amounts)):
        return x
    if any(isinstance(n, Size) for pair in amounts for n in pair):
        raise refused(
            trace,
            "how much is added at the edges depends on the size of an open axis",
            "build the model for rows of a fixed size",
        )
    kinds = {"periodic": "wrap", "reflect": "reflect"}
    x = as_traced(trace, x)
    pairs = [(0, 0), *((int(a), int(b)) for a, b in amounts), (0, 0)]
    pairs += [(0, 0)] * (x.ndim - len(pairs))
    if mode == "periodic" and any(
        max(pair) > n for pair, n in zip(amounts, x.shape[1:-1], strict=True)
    ):
        return NotImplemented  # a copy of a copy, which the file's Pad does not make
    return padded_by(x, pairs, kinds.get(mode, "constant"), fill)


# ------------------------------------------------------------------------------- pools


def _pool(trace: Trace, kind: str, x: Traced, w: Windows, **options: Any) -> Traced:
    options |= _edges(trace, w, dilates=False)
    if set(w.strides) != {1}:
        options["strides"] = list(map(int, w.strides))
    shape = (x.shape[0], x.shape[-1], *_outputs(w))
    kernel = list(map(int, w.kernel))
    first = channels_first(x)
    return channels_last(new(trace, kind, [first], shape, x.dtype, kernel_shape=kernel, **options))


def _largest(trace: Trace, x: Any, windows: Windows) -> Any:
    return _pool(trace, "MaxPool", x, windows)


def _averaged(trace: Trace, x: Any, windows: Windows) -> Any:
    return _pool(trace, "AveragePool", x, windows, count_include_pad=0)


def _upsampled(trace: Trace, layer: Any, inputs: Any) -> Any:
    """`Upsample`."""
    x, factors = channels_first(as_traced(trace, inputs)), layer._factors(inputs.shape[1:])
    shape = (*x.shape[:2], *(f * n for f, n in zip(factors, x.shape[2:], strict=True)))
    scales = as_traced(trace, np.array([1, 1, *factors], np.float32))
    of = {"nearest": ("asymmetric", "floor"), "linear": ("half_pixel", None)}
    mode, nearest = of[layer.method]
    return channels_last(
        new(
            trace, "Resize", [x, "", scales], shape, x.dtype, mode=layer.method,
            coordinate_transformation_mode=mode, nearest_mode=nearest,
        )
    )  # fmt: skip


# ------------------------------------------------------------------------------- elementwise


def _softmax(trace: Trace, inputs: Any) -> Any:
    if inputs.ndim < 2:
        return NotImplemented
    return new(trace, "Softmax", [inputs], inputs.shape, inputs.dtype, axis=-1)


def _function(kind: str, *, of_double: bool = False, **names: str) -> Callable[..., Any]:
    """A node for an activation function; in float64 its formula, if few programs have the node.

    ``names`` are attributes of the node, with those of the function that they come from.
    """

    def rule(trace: Trace, function: Any, z: Any) -> Any:
        if z.dtype != FLOAT32 and not of_double:
            return NotImplemented
        options = {name: float(getattr(function, own)) for name, own in names.items()}
        return new(trace, kind, [z], z.shape, z.dtype, **options)

    return rule


def _hard_sigmoid(trace: Trace, function: Any, z: Any) -> Any:
    if z.dtype != FLOAT32:
        return NotImplemented
    return new(trace, "HardSigmoid", [z], z.shape, z.dtype, alpha=1 / 6, beta=0.5)


# ------------------------------------------------------------------------------- normalisations


def _batch_normalized(trace: Trace, layer: Any, inputs: Any) -> Any:
    """`BatchNorm.apply`; the node has ε in float32."""
    if type(layer) is not BatchNorm or inputs.dtype != FLOAT32:
        return NotImplemented
    parts = (layer.scale, layer.shift, layer.running_mean, layer.running_variance)
    x = channels_first(as_traced(trace, inputs))
    given = [x, *(part.value for part in parts)]
    options = {"epsilon": layer.epsilon, "momentum": layer.momentum}
    return channels_last(new(trace, "BatchNormalization", given, x.shape, x.dtype, **options))


def _group_normalized(trace: Trace, layer: Any, inputs: Any) -> Any:
    """`GroupNorm.apply`, in few nodes, for axes of any size."""
    x = np.reshape(inputs, (*inputs.shape[:-1], layer.groups, layer._width))
    n = np.reshape(_standardized(layer, x, (*range(1, x.ndim - 2), x.ndim - 1)), inputs.shape)
    return n * layer.scale.value + layer.shift.value


def _vectors_normalized(trace: Trace, layer: Any, inputs: Any) -> Any:
    """`LayerNorm.apply` and `RMSNorm.apply`; the node of the first has ε in float32."""
    if type(layer) is not LayerNorm or inputs.dtype != FLOAT32:
        n = _standardized(layer, inputs, -1) * layer.scale.value
        return n + layer.shift.value if layer.is_centered else n
    given = [inputs, layer.scale.value, layer.shift.value]
    options = {"axis": -1, "epsilon": layer.epsilon}
    return new(trace, "LayerNormalization", given, inputs.shape, inputs.dtype, **options)


def _standardized(layer: Any, x: Any, axes: Any) -> Any:
    """(x − μ) / √(σ² + ε)."""
    if layer.is_centered:
        x = x - np.mean(x, axis=axes, keepdims=True)
    return x / np.sqrt(np.mean(x * x, axis=axes, keepdims=True) + layer.epsilon)


OPERATIONS: dict[Any, Callable[..., Any]] = {
    correlation.correlation: _correlation,
    correlation.spread: _spread,
    correlation.products: _products,
    correlation.both: _both,
    correlation.gradients: _gradients,
    windows.padded: _padded,
    pooling.largest: _largest,
    pooling.averaged: _averaged,
    pooling.mean: lambda trace, entries: reduced("ReduceMean", entries, 1),
    Upsample._upsampled: _upsampled,
    softmax.softmax: _softmax,
    spectral.as_complex: complex_of,
    BatchNorm._applied: _batch_normalized,
    GroupNorm._applied: _group_normalized,
    LayerNorm._applied: _vectors_normalized,
    functions.Relu.value: _function("Relu", of_double=True),
    functions.Sigmoid.value: _function("Sigmoid", of_double=True),
    functions.LeakyRelu.value: _function("LeakyRelu", alpha="slope"),
    functions.Elu.value: _function("Elu", alpha="alpha"),
    functions.Selu.value: _function("Selu", alpha="alpha", gamma="scale"),
    functions.Softplus.value: _function("Softplus"),
    functions.Softsign.value: _function("Softsign"),
    functions.Mish.value: _function("Mish"),
    functions.Gelu.value: _function("Gelu"),
    functions.HardSigmoid.value: _hard_sigmoid,
}
"""The rule of each operation, by the function that is decorated with `as_operation`."""

__all__ = ["OPERATIONS", "channels_first", "channels_last", "converted"]
