"""What `save` writes, `load` reads: equal numbers, gradients and parameters, or a named error."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from chainrule import BatchNorm, Dense, Sequential, Trainer, derivatives, losses, optimizers
from chainrule.core.errors import StorageError
from chainrule.layers.normalization import GroupNorm, LayerNorm, RMSNorm

pytestmark = pytest.mark.edges

from chainrule.interop import onnx  # noqa: E402
from interop.onnx_files import model_proto  # noqa: E402
from interop.test_onnx_save import CASES, OPEN, built, refused  # noqa: E402

LIMITS = {"float32": 1e-5, "float64": 1e-11}

WRITTEN = [case for case in CASES if refused(case.layer) is None]

NOT_READ = {
    "LargestOfPairs": "ArgMax, GatherElements",
    "NoLearning": "not computed from its data",
    "Scan": "counterpart: Scan",
    "Sorted": "GatherElements, TopK",
}
"""Layers whose files are refused, and what the error names."""

OPEN_NOT_READ = {
    **dict.fromkeys((5, 6, 7, 8, 9), "counterpart: Scan"),  # masks, and `Scan`
    15: "converts int64 to float64",  # the positions of `PositionalEncoding`, in float32
    19: "the size of axis 1 is not known",  # copies of entries at the edges
    25: "counterpart: Cast, Equal, Mod",  # Fourier transforms of any length
    26: "counterpart: Cast, Equal, Mod",
}
"""The same for open axes, by the number of the case."""

OTHER_PARAMETERS = {
    # Single numbers stay as they are.
    *("Around", "Decay", "Faster", "PReLU", "Several", "Temperature"),
    # Weights that are used in two ways, as W and as Wᵀ, become two arrays, or none.
    *("Autoencoder", "Hamiltonian", "Tied", "WeightNormalized"),
    "Derivatives",  # the last biases have no influence
}
"""Layers that have more or fewer parameters after they were read."""


def assert_close(found, wanted, limit):
    pairs = [x if isinstance(x, tuple) else (x,) for x in (found, wanted)]
    for one, other in zip(*pairs, strict=True):
        assert one.shape == other.shape
        assert one.dtype == other.dtype
        assert np.abs(one - other).max(initial=0) <= limit * max(np.abs(other).max(initial=0), 1)


def assert_is_the_same(again, layer, inputs, limit):
    """Outputs, and the gradient of the inputs, for layers that compute the same in training."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        wanted = layer(*inputs)
    assert_close(again(*inputs), wanted, limit)
    if layer.generators or layer.buffers:
        return
    rng = np.random.default_rng(2)
    several = wanted if isinstance(wanted, tuple) else (wanted,)
    deltas = tuple(rng.normal(size=y.shape).astype(y.dtype) for y in several)
    delta, x = (one if len(one) > 1 else one[0] for one in (deltas, inputs))
    _, expected, _ = derivatives.vjp(layer, x, delta)
    _, found, _ = derivatives.vjp(again, x, delta)
    assert_close(found, expected, 10 * limit)


@pytest.mark.parametrize("case", WRITTEN, ids=lambda case: case.name)
def test_every_layer_that_save_writes_is_read_or_refused_by_name(case):
    number = int(case.name.split()[0])
    dtype = ("float32", "float64")[number % 2]
    layer, inputs = built(case, dtype, batch=2)
    kind = type(layer).__name__
    proto = model_proto(layer)
    if kind in NOT_READ:
        with pytest.raises(StorageError, match=NOT_READ[kind]):
            onnx.load(proto)
        return
    again = onnx.load(proto)
    assert_is_the_same(again, layer, inputs, LIMITS[dtype])
    if kind not in OTHER_PARAMETERS:
        assert again.parameters.size == layer.parameters.size


@pytest.mark.parametrize("make", [BatchNorm, LayerNorm, RMSNorm, lambda: GroupNorm(2)])
@pytest.mark.parametrize("dtype", LIMITS)
def test_normalisations_are_read_in_both_types(make, dtype):
    layer, x = make(), np.random.default_rng(1).normal(size=(2, 3, 4)).astype(dtype)
    layer.build((3, 4), dtype=dtype)
    again = onnx.load(model_proto(layer))
    assert_is_the_same(again, layer, (x,), LIMITS[dtype])
    assert again.parameters.size == layer.parameters.size


@pytest.mark.parametrize("number", range(len(OPEN)))
def test_open_axes_stay_open_or_are_refused_by_name(number):
    make, shapes = OPEN[number]
    layer, rng = make(), np.random.default_rng(0)
    layer.build(*shapes, rng=0, dtype="float32")
    proto = model_proto(layer)
    if number in OPEN_NOT_READ:
        with pytest.raises(StorageError, match=OPEN_NOT_READ[number]):
            onnx.load(proto)
        return
    again = onnx.load(proto)
    assert again.input_shapes == layer.input_shapes
    for size, batch in ((12, 3), (7, 1)):
        rows = [tuple(size if n is None else n for n in row) for row in shapes]
        inputs = [rng.normal(size=(batch, *row)).astype("float32") for row in rows]
        if len(shapes) > 1 and shapes[-1] == (None,):  # a mask
            inputs[-1] = (inputs[-1] > -0.5).astype("float32")
        assert_is_the_same(again, layer, tuple(inputs), LIMITS["float32"])


def test_a_model_that_was_saved_and_read_is_trained_as_the_original():
    def trained(model):
        trainer = Trainer(model, losses.MeanSquaredError(), optimizers.SGD(0.1), rng=0)
        trainer.fit(x, t, epochs=2, batch_size=8, progress=False)
        return model(x)

    rng = np.random.default_rng(0)
    x, t = (rng.normal(size=(32, n)).astype("float32") for n in (4, 1))
    model = Sequential([Dense(6), BatchNorm(), Dense(6), LayerNorm(), GroupNorm(2), Dense(1)])
    model.build((4,), rng=0, dtype="float32")
    again = onnx.load(model_proto(model))
    assert_close(trained(again), trained(model), 1e-4)
