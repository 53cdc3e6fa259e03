"""Weights alone: all arrays come back, or none does and the paths that differ are listed."""

from __future__ import annotations

import numpy as np
import pytest
from safetensors.numpy import load_file

from chainrule import Activation, Dense, Sequential, storage
from chainrule.core.errors import BuildError, StorageError
from chainrule.core.layer_state import state_of
from chainrule.storage import sealed_file, weights
from laws.unusual_layers import BatchNorm, Dropout, Shuffled


@pytest.fixture
def path(tmp_path):
    return tmp_path / "weights.safetensors"


def network(*widths, rng=0, dtype="float64"):
    layers = [part for n in widths for part in (Dense(n), Activation("tanh"))]
    model = Sequential([*layers, BatchNorm(), Shuffled(), Dropout()])
    model.build((3,), rng=rng, dtype=dtype)
    return model


def everything(model):
    """All that must not change where weights are refused."""
    generators = {path: state_of(g) for path, g in model.generators.items()}
    tables = model[-2].order.tolist()
    return model.parameters.value.tobytes(), model.buffers.value.tobytes(), tables, generators


def refused(model, path):
    before = everything(model)
    with pytest.raises(StorageError) as caught:
        model.load_weights(path)
    assert everything(model) == before
    assert caught.value.place.startswith(str(path))
    return caught.value


def test_weights_come_into_another_model_bit_for_bit(path):
    one, other = network(4, 2, rng=1), network(4, 2, rng=2)
    one.forward(np.linspace(-1, 1, 12).reshape(4, 3))  # which moves the state
    one.save_weights(path)
    other.load_weights(path)
    assert everything(one)[:3] == everything(other)[:3]
    assert everything(other)[3] == everything(network(4, 2, rng=2))[3]  # generators stay


def test_the_file_is_read_by_safetensors_alone(path):
    model = network(2, dtype="float32")
    model.save_weights(path)
    found = load_file(path)
    assert set(found) == {
        *(f"parameters/{p}" for p in model.parameters.paths),
        *(f"state/{p}" for p in model.buffers.paths),
        "table/shuffled_1.order",
    }
    np.testing.assert_array_equal(
        found["parameters/dense_1.weights"], model["dense_1"].weights.value
    )


def test_the_weights_of_a_whole_model_can_be_taken_too(path):
    one, other = network(4, rng=1), network(4, rng=2)
    one.save(path)
    other.load_weights(path)
    assert everything(one)[:3] == everything(other)[:3]


def test_a_file_of_weights_is_no_model(path):
    network(4).save_weights(path)
    with pytest.raises(StorageError, match="of a different kind") as caught:
        storage.load(path)
    assert "load_weights" in caught.value.hint


def test_float32_becomes_float64_exactly_and_the_other_way_is_refused(path):
    narrow, wide = network(4, rng=1, dtype="float32"), network(4, rng=2)
    narrow.save_weights(path)
    wide.load_weights(path)
    assert wide.parameters.value.dtype == np.float64
    np.testing.assert_array_equal(wide.parameters.value, narrow.parameters.value.astype("f8"))
    wide.save_weights(path)
    error = refused(narrow, path)
    assert "rounded" in error.hint and "(3, 4) float64" in error.received


def changed(model, path, change):
    """The weights of a model after a change of its arrays."""
    model.save_weights(path)
    arrays = dict(load_file(path))
    change(arrays)
    path.write_bytes(sealed_file.pack(arrays, {"format": weights.FORMAT}))


def test_what_is_missing_too_much_or_of_another_shape_or_type_is_listed(path):
    def change(arrays):
        arrays["parameters/other"] = arrays.pop("parameters/dense_1.biases")
        arrays["parameters/dense_1.weights"] = np.ones((3, 5))
        arrays["table/shuffled_1.order"] = arrays["table/shuffled_1.order"].astype("i4")

    model = network(4)
    changed(model, path, change)
    error = refused(model, path)
    lines = [" ".join(line.split()) for line in error.received.splitlines()[2:]]
    assert lines == [
        "parameters/dense_1.weights (3, 4) float64 (3, 5) float64",
        "parameters/dense_1.biases (4,) float64 —",
        "table/shuffled_1.order (4,) int64 (4,) int32",
        "parameters/other — (4,) float64",
    ]


def test_a_path_that_was_renamed_is_suggested(path):
    def change(arrays):
        arrays["parameters/output.biases"] = arrays.pop("parameters/dense_2.biases")

    model = network(4, 2)
    changed(model, path, change)
    error = refused(model, path)
    assert "'parameters/output.biases'" in error.hint
    assert "'parameters/dense_2.biases'" in error.hint


def test_of_many_differences_ten_are_listed(path):
    network(*[4] * 20).save_weights(path)
    error = refused(network(*[5] * 20), path)
    assert "… and 35 more" in error.received  # of 40 weights and biases, 4 of the norm, 1 order
    assert len(error.received.splitlines()) == 1 + 1 + 10 + 1


def test_every_damaged_file_leaves_the_model_as_it_was(path):
    model = network(2)
    network(2, rng=5).save_weights(path)
    content = path.read_bytes()
    for number in range(0, len(content), 7):
        path.write_bytes(content[:number] + bytes([content[number] ^ 4]) + content[number + 1 :])
        refused(model, path)
        path.write_bytes(content[:number])
        refused(model, path)


def test_a_model_that_is_not_built_is_refused(path):
    for action in (Dense(2).save_weights, Dense(2).load_weights):
        with pytest.raises(BuildError, match="not built yet"):
            action(path)
    assert not path.exists()


def test_a_write_that_fails_leaves_the_old_file(path, monkeypatch):
    network(2).save_weights(path)
    before = path.read_bytes()

    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(StorageError, match="the weights could not be written"):
        network(3).save_weights(path)
    assert path.read_bytes() == before
