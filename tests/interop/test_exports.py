"""Models that PyTorch and Keras export here and now: the same numbers, the same training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from chainrule import Trainer, losses, optimizers
from interop.exporters import (
    KERAS,
    TORCH,
    keras_export,
    keras_model,
    torch_export,
    torch_gradients,
    torch_model,
)

pytestmark = [pytest.mark.peers, pytest.mark.filterwarnings("ignore")]  # those of the exporters


@pytest.fixture(scope="module", autouse=True)
def keras_on_torch() -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KERAS_BACKEND", "torch")
        yield


def relative(found: Any, expected: Any) -> float:
    return float(np.abs(found - expected).max() / np.abs(expected).max())


@pytest.mark.parametrize("dynamo", [True, False])
@pytest.mark.parametrize("name", TORCH)
def test_a_model_of_pytorch_loads_with_its_numbers(
    torch: Any, name: str, dynamo: bool, tmp_path: Path
) -> None:
    from chainrule.interop import onnx

    model, x = torch_model(name)
    torch_export(model, x, tmp_path / "model.onnx", dynamo=dynamo)
    graph = onnx.load(tmp_path / "model.onnx")
    assert relative(graph(x.numpy()), model(x).detach().numpy()) < 1e-6
    assert graph(x.numpy()[:3]).shape[0] == 3  # any number of rows
    if name == "mlp":
        graph.backward(graph.forward(x.numpy()))
        first, second = graph["dense_1"], graph["dense_2"]
        ours = [first.weights.grad.T, first.biases.grad, second.weights.grad.T, second.biases.grad]
        for gradient, theirs in zip(ours, torch_gradients(model, x), strict=True):
            assert relative(gradient, theirs) < 1e-6


@pytest.mark.parametrize("name", ["mlp", "lstm"])
def test_training_continues_as_it_would_in_pytorch(torch: Any, name: str, tmp_path: Path) -> None:
    from chainrule.interop import onnx

    model, x = torch_model(name)
    torch_export(model, x, tmp_path / "model.onnx", dynamo=True)
    graph = onnx.load(tmp_path / "model.onnx")
    target = np.roll(graph(x.numpy()), 1, axis=0)
    trainer = Trainer(graph, losses.MeanSquaredError(), optimizers.SGD(0.1), rng=0)
    trainer.fit(x.numpy(), target, epochs=20, batch_size=len(x), progress=False)
    # PyTorch has two biases where their sum is all that counts, and would learn twice as fast.
    learned = [one for path, one in model.named_parameters() if "bias_hh" not in path]
    descent = torch.optim.SGD(learned, lr=0.1)
    for _ in range(20):
        descent.zero_grad()
        torch.nn.functional.mse_loss(model(x), torch.tensor(target)).backward()
        descent.step()
    assert relative(graph(x.numpy()), model(x).detach().numpy()) < 1e-5


@pytest.mark.parametrize("name", KERAS)
def test_a_model_of_keras_loads_with_its_numbers(torch: Any, name: str, tmp_path: Path) -> None:
    import keras

    from chainrule.interop import onnx

    model, x = keras_model(name)
    keras_export(model, tmp_path / "model.onnx")
    graph = onnx.load(tmp_path / "model.onnx")
    assert relative(graph(x), keras.ops.convert_to_numpy(model(x))) < 1e-6
    target = np.roll(graph(x), 1, axis=0)
    trainer = Trainer(graph, losses.MeanSquaredError(), optimizers.Adam(0.01), rng=0)
    history = trainer.fit(x, target, epochs=30, progress=False)
    assert history["loss"][-1] < 0.7 * history["loss"][0]
