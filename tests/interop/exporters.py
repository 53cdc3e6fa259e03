"""Models that PyTorch and Keras export, and the files in `data`, which this program writes.

    PYTHONPATH=src:tests python tests/interop/exporters.py

Each file has beside it an input, and what the model that was exported makes of it; for the MLP of
PyTorch also the gradients of ½ Σ y² that PyTorch computes.
"""

from __future__ import annotations

import contextlib
import io
import os
from pathlib import Path
from typing import Any

import numpy as np

DATA = Path(__file__).parent / "data"

TORCH = ("mlp", "cnn", "lstm", "residual", "gru", "upsampling", "signal", "transformer")
"""The models of PyTorch, of which those in `FILES` are stored."""
KERAS = ("mlp", "cnn", "lstm", "tokens")
"""The models of Keras, all of which are stored."""
FILES = [f"torch_{name}_{way}" for name in ("mlp", "cnn", "lstm") for way in ("dynamo", "script")]
FILES += ["torch_transformer_dynamo"]
FILES += [f"keras_{name}" for name in KERAS]


def torch_model(name: str) -> tuple[Any, Any]:
    """A model of PyTorch, ready for inference, and a batch of five inputs."""
    import torch
    from torch import nn

    class Recurrent(nn.Module):
        def __init__(self, layer: Any, units: int, last: bool) -> None:
            super().__init__()
            self.layer, self.dense, self.last = layer, nn.Linear(units, 2), last

        def forward(self, x: Any) -> Any:
            steps, _ = self.layer(x)
            return self.dense(steps[:, -1] if self.last else steps)

    class Residual(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = nn.Conv2d(3, 4, 3, stride=2, padding=1, bias=False)
            self.norm, self.pool = nn.BatchNorm2d(4), nn.MaxPool2d(3, 2, 1)
            self.second, self.mean = nn.Conv2d(4, 4, 3, padding=1), nn.AdaptiveAvgPool2d(1)
            self.dense = nn.Linear(4, 2)

        def forward(self, x: Any) -> Any:
            x = self.pool(torch.relu(self.norm(self.first(x))))
            x = x + torch.relu(self.second(x))
            return self.dense(torch.flatten(self.mean(x), 1))

    class Tokens(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table = nn.Embedding(10, 8)
            self.encoder = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
            self.dense = nn.Linear(8, 2)

        def forward(self, x: Any) -> Any:
            return self.dense(self.encoder(self.table(x)).mean(1))

    torch.manual_seed(0)
    model: Any
    match name:
        case "mlp":
            model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 3))
            shape: tuple[int, ...] = (4,)
        case "cnn":
            model = nn.Sequential(
                nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2),
                nn.Conv2d(4, 6, 3), nn.ReLU(), nn.Flatten(), nn.Linear(24, 3),
            )  # fmt: skip
            shape = (1, 8, 8)
        case "lstm":
            model = Recurrent(nn.LSTM(3, 5, batch_first=True), 5, last=True)
            shape = (7, 3)
        case "gru":
            layer = nn.GRU(3, 5, num_layers=2, batch_first=True, bidirectional=True)
            model, shape = Recurrent(layer, 10, last=False), (7, 3)
        case "residual":
            model, shape = Residual(), (3, 16, 16)
        case "transformer":
            return Tokens().eval(), torch.randint(0, 10, (5, 6))
        case "upsampling":
            model = nn.Sequential(
                nn.Conv2d(1, 2, 3, padding=1), nn.Upsample(scale_factor=2, mode="bilinear"),
                nn.ConvTranspose2d(2, 4, 4, 2, 1), nn.GroupNorm(2, 4), nn.SiLU(),
                nn.PixelShuffle(2), nn.PReLU(),
            )  # fmt: skip
            shape = (1, 4, 4)
        case _:
            model = nn.Sequential(
                nn.Conv1d(2, 4, 3, padding=1), nn.GELU(), nn.LayerNorm(9), nn.AvgPool1d(2),
                nn.Flatten(), nn.Linear(16, 2), nn.Softplus(),
            )  # fmt: skip
            shape = (2, 9)
    for one in model.modules():
        if isinstance(one, nn.BatchNorm2d):  # statistics as after some training
            one.running_mean.normal_(0, 0.3)
            one.running_var.uniform_(0.5, 2.0)
    return model.eval(), torch.randn(5, *shape)


def torch_export(model: Any, x: Any, path: Path, *, dynamo: bool) -> None:
    """Export a model of PyTorch with either of its two exporters, for batches of any size."""
    import torch

    with contextlib.redirect_stdout(io.StringIO()):
        if dynamo:
            rows = ({0: torch.export.Dim("batch")},)
            torch.onnx.export(model, (x,), path, dynamo=True, dynamic_shapes=rows,
                              verbose=False, external_data=False)  # fmt: skip
        else:
            torch.onnx.export(model, (x,), path, dynamo=False, input_names=["x"],
                              dynamic_axes={"x": {0: "batch"}})  # fmt: skip


def torch_gradients(model: Any, x: Any) -> list[np.ndarray]:
    """The gradients of ½ Σ y² that PyTorch computes, in the order of its parameters."""
    model.zero_grad()
    (0.5 * (model(x) ** 2).sum()).backward()
    return [parameter.grad.numpy() for parameter in model.parameters()]


def keras_model(name: str) -> tuple[Any, np.ndarray]:
    """A model of Keras on PyTorch, and a batch of five inputs."""
    import keras

    keras.utils.set_random_seed(0)
    layers, rng = keras.layers, np.random.default_rng(0)
    match name:
        case "mlp":
            shape: tuple[int, ...] = (4,)
            inner = [layers.Dense(8, activation="relu"), layers.Dense(3)]
        case "cnn":
            shape = (8, 8, 1)
            inner = [
                layers.Conv2D(4, 3, padding="same", activation="relu"),
                layers.BatchNormalization(), layers.MaxPooling2D(), layers.Conv2D(6, 3),
                layers.Flatten(), layers.Dense(3, activation="softmax"),
            ]  # fmt: skip
        case "lstm":
            shape, inner = (4, 3), [layers.LSTM(5), layers.Dense(2)]
        case _:
            shape, inner = (4,), [layers.Embedding(10, 4), layers.GRU(5), layers.Dense(2)]
    model = keras.Sequential([keras.Input(shape), *inner])
    x = rng.normal(size=(5, *shape)) if name != "tokens" else rng.integers(0, 10, (5, *shape))
    x = x.astype(np.float32)
    model(x)  # without this, Keras cannot export it
    return model, x


def keras_export(model: Any, path: Path) -> None:
    """Export a model of Keras."""
    with contextlib.redirect_stdout(io.StringIO()):
        model.export(str(path), format="onnx", verbose=False)


def strip(path: Path) -> None:
    """Take out what exporters note about the program: stack traces and names of files."""
    import onnx

    model = onnx.load(path)
    for one in (model, model.graph, *model.graph.node, *model.graph.value_info):
        one.doc_string = ""
        del one.metadata_props[:]
    for one in (*model.graph.input, *model.graph.output, *model.graph.initializer):
        one.doc_string = ""
        del one.metadata_props[:]
    onnx.save(model, path)


def main() -> None:
    """Write the files."""
    os.environ["KERAS_BACKEND"] = "torch"
    DATA.mkdir(exist_ok=True)
    for name in FILES:
        path = DATA / f"{name}.onnx"
        library, kind, *way = name.split("_")
        more = {}
        if library == "torch":
            model, x = torch_model(kind)
            torch_export(model, x, path, dynamo=way == ["dynamo"])
            if kind == "mlp":
                more = {f"gradient_{n}": g for n, g in enumerate(torch_gradients(model, x))}
            x, y = x.numpy(), model(x).detach().numpy()
        else:
            import keras

            model, x = keras_model(kind)
            keras_export(model, path)
            y = keras.ops.convert_to_numpy(model(x))
        strip(path)
        np.savez_compressed(DATA / f"{name}.npz", x=x, y=y, **more)


if __name__ == "__main__":
    main()
