"""Loading draws nothing, and needs the memory of the model and no more."""

from __future__ import annotations

import copy
import subprocess
import sys
import tracemalloc

import numpy as np
import pytest

import chainrule
from chainrule import Activation, Dense, Layer, Sequential, Trainer, losses, optimizers
from chainrule.callbacks import Checkpoint
from chainrule.core.errors import StorageError
from chainrule.core.initializers import KNOWN, Initializer
from chainrule.storage import sealed_file
from chainrule.storage.classes import class_of, known_classes
from laws.unusual_layers import BatchNorm, Dropout, Shuffled


def network():
    initializers = [kind for kind in KNOWN if kind != "zeros"]
    dense = [Dense(6, initializer=kind, bias_initializer=0.3) for kind in initializers]
    return Sequential([*dense, BatchNorm(), Activation("tanh"), Dropout(0.5), Shuffled()])


@pytest.fixture
def no_draws(monkeypatch):
    """From the time it is called, drawing an initial value is an error."""

    def refuse(self, shape, rng, dtype):
        raise AssertionError(f"{self!r} is asked for initial values")

    return lambda: monkeypatch.setattr(Initializer, "__call__", refuse)


def test_loading_a_model_or_weights_or_copying_draws_no_initial_values(tmp_path, no_draws):
    model, other = network(), network()
    model.build((6,), rng=0)
    other.build((6,), rng=1)
    path = tmp_path / "model.safetensors"
    model.save(path)
    x = np.random.default_rng(0).normal(size=(5, 6))
    no_draws()
    loaded = chainrule.load(path)
    other.load_weights(path)
    for again in (loaded, other, copy.deepcopy(model), model.twin()):
        np.testing.assert_array_equal(again.parameters.value, model.parameters.value)
        np.testing.assert_array_equal(again.buffers.value, model.buffers.value)
        np.testing.assert_array_equal(again(x), model(x))
    assert loaded.parameters.value.flags.writeable
    np.testing.assert_array_equal(loaded.forward(x), model.forward(x))  # the generators, too


@pytest.mark.parametrize("seed", [0, None])
def test_resuming_draws_no_initial_values(tmp_path, no_draws, seed):
    x, t = np.ones((8, 3)), np.zeros((8, 2))

    def fit(epochs):
        model = Sequential([Dense(4, initializer="orthogonal"), Dense(2)])
        trainer = Trainer(model, losses.HalfSquaredError(), optimizers.Adam(0.01), rng=seed)
        saves = [Checkpoint(tmp_path, every_steps=1)]
        trainer.fit(x, t, epochs=epochs, callbacks=saves, resume_from=tmp_path, progress=False)
        return model

    before = fit(2).parameters.value.copy()
    no_draws()
    np.testing.assert_array_equal(fit(2).parameters.value, before)
    assert not np.array_equal(fit(3).parameters.value, before)


class InverseMatrix(Layer):
    """y = x w⁻¹: it cannot be built with zeros."""

    def build(self, input_shape):
        self.weights = self.parameter("weights", (*input_shape, *input_shape), "orthogonal")
        self.steps = self.buffer("steps", ())
        self.steps.value = np.array(3.0)

    def forward(self, inputs):
        return inputs @ np.linalg.inv(self.weights.value)

    def backward(self, delta):
        return delta @ np.linalg.inv(self.weights.value).T


class Assigned(Layer):
    """Its build assigns what it has created."""

    def build(self, input_shape):
        self.scale = self.parameter("scale", input_shape, "ones")
        self.scale.value = np.arange(input_shape[0], dtype=float)
        self.scale.value[...] *= 2

    def forward(self, inputs):
        return inputs * self.scale.value

    def backward(self, delta):
        return delta * self.scale.value


@pytest.mark.parametrize(
    "layer", [InverseMatrix(), Assigned(), Sequential([InverseMatrix(), Assigned()])]
)
def test_a_layer_whose_build_uses_its_values_comes_back(tmp_path, layer):
    layer.build((3,), rng=0)
    layer.save(tmp_path / "model.safetensors")
    loaded = chainrule.load(tmp_path / "model.safetensors")
    x = np.random.default_rng(0).normal(size=(4, 3))
    np.testing.assert_array_equal(loaded(x), layer(x))
    np.testing.assert_array_equal(loaded.buffers.value, layer.buffers.value)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_loading_takes_the_memory_of_the_file_and_little_more(tmp_path, dtype):
    model = Sequential([Dense(2500), Activation("tanh"), Dense(2000), Dense(700)])
    model.build((1500,), rng=0, dtype=dtype)
    path = tmp_path / "model.safetensors"
    model.save(path)
    size = path.stat().st_size
    assert size > 40e6
    chainrule.load(path)  # imports what it needs
    tracemalloc.start()
    try:
        loaded = chainrule.load(path)
        peak = tracemalloc.get_traced_memory()[1]
        assert peak < 1.3 * size
        tracemalloc.reset_peak()
        before = tracemalloc.get_traced_memory()[0]
        loaded.load_weights(path)
        assert tracemalloc.get_traced_memory()[1] - before < 1.3 * size
    finally:
        tracemalloc.stop()
    np.testing.assert_array_equal(loaded.parameters.value, model.parameters.value)
    assert not loaded.parameters[0].has_grad  # no gradient until one is needed
    delta = np.ones((2, 700), dtype)
    for each in (loaded, model):
        each.forward(np.ones((2, 1500), dtype))
        each.backward(delta)
    np.testing.assert_array_equal(loaded.parameters.grad, model.parameters.grad)


def test_a_file_that_is_cut_while_it_is_read_leaves_the_model_unchanged(tmp_path, monkeypatch):
    model = Sequential([Dense(40), Dense(3)])
    model.build((30,), rng=0)
    path = tmp_path / "model.safetensors"
    model.save(path)
    before = model.parameters.value.copy()
    checked = sealed_file._require_digest

    def cut_after(file, begin, text, digest):
        checked(file, begin, text, digest)
        with open(path, "r+b") as other:
            other.truncate(2000)

    monkeypatch.setattr(sealed_file, "_require_digest", cut_after)
    model.parameters.value += 1
    with pytest.raises(StorageError, match="damaged"):
        model.load_weights(path)
    np.testing.assert_array_equal(model.parameters.value, before + 1)
    model.parameters.value -= 1
    model.save(path)
    with pytest.raises(StorageError, match="damaged"):
        chainrule.load(path)


def test_the_repr_of_a_hostile_nest_takes_little_memory():
    """A layer where a number belongs, which the error shows: three thousand nested containers."""
    import json

    from chainrule import storage

    def held(number):
        return {"class": "Sequential", "fields": {"layers": {"tuple": [{"layer": number}]}}}

    last = {"class": "Dense", "fields": {"units": 3}}
    records = [{"class": "Dense", "fields": {"units": {"layer": 1}}}]
    records += [held(n) for n in range(2, 3002)] + [last]
    content = sealed_file.pack(
        {},
        {
            "format": "chainrule-2",
            "architecture": json.dumps(records),
            "dtype": "float64",
            "input_shapes": "[[4]]",
            "generators": "{}",
        },
    )
    tracemalloc.start()
    try:
        with pytest.raises(StorageError) as caught:
            storage.loads(content)
        assert tracemalloc.get_traced_memory()[1] < 40e6
    finally:
        tracemalloc.stop()
    assert len(str(caught.value)) < 1000


# ------------------------------------------------------------------------------- from ONNX


def test_a_model_that_came_from_onnx_loads_in_a_program_without_onnx(tmp_path):
    from chainrule.interop.onnx.reading import functions, layers

    class Scale(Layer):  # a name that one of those layers has, too
        def forward(self, inputs):
            return 2 * inputs

        def backward(self, delta):
            return 2 * delta

    square = Activation(functions.Elementwise("Square"))
    model = Sequential([Scale(), layers.Scale((2, 3)), square, layers.Reduce("Sum", (1,))])
    model.build((2, 3), rng=0)
    model.save(tmp_path / "model.chainrule")
    x = np.random.default_rng(0).normal(size=(4, 2, 3))
    code = (
        "import sys\n"
        "sys.modules['onnx'] = None\n"
        "import numpy as np, chainrule\n"
        "class Scale(chainrule.Layer):\n"
        "    def forward(self, inputs): return 2 * inputs\n"
        "model = chainrule.load(sys.argv[1])\n"
        "np.save(sys.argv[2], model(np.random.default_rng(0).normal(size=(4, 2, 3))))\n"
    )
    names = [str(tmp_path / name) for name in ("model.chainrule", "y.npy")]
    subprocess.run([sys.executable, "-c", code, *names], check=True)
    assert np.array_equal(np.load(names[1]), model(x))


@pytest.mark.parametrize(
    "name",
    [
        "chainrule.interop.onnx.reading.layers.np",
        "chainrule.interop.onnx.reading.layers.Layer",
        "chainrule.interop.onnx.reading.layers.Nothing",
        "chainrule.interop.onnx.reading.load._Reader",
        "this.Layer",
        "this.layers.Nothing",
    ],
)
def test_a_name_in_a_file_imports_no_other_module(name):
    before = set(sys.modules)
    with pytest.raises(StorageError, match="which this program does not have"):
        class_of(name, "class", known_classes(()))
    assert all(new.startswith("chainrule.") for new in set(sys.modules) - before)
