"""Gradients in ONNX files, against PyTorch."""

from __future__ import annotations

import numpy as np
import pytest

from chainrule import Activation, Dense, Sequential, losses

pytestmark = pytest.mark.peers

each_dtype = pytest.mark.parametrize("dtype", ["float32", "float64"])


def energy_network(dtype="float64"):
    model = Sequential([Dense(16), Activation("tanh"), Dense(16), Activation("silu"), Dense(1)])
    model.build((6,), rng=0, dtype=dtype)
    return model


def as_torch(model, dtype, torch):
    """The same network in PyTorch."""
    parts = []
    for layer in model.layers:
        if isinstance(layer, Dense):
            linear = torch.nn.Linear(*layer.weights.shape, dtype=getattr(torch, dtype))
            linear.weight.data = torch.from_numpy(layer.weights.value.T.copy())
            linear.bias.data = torch.from_numpy(layer.biases.value.copy())
            parts.append(linear)
        else:
            parts.append({"tanh": torch.nn.Tanh, "silu": torch.nn.SiLU}[layer.function.name]())
    return torch.nn.Sequential(*parts)


@each_dtype
def test_forces_are_those_of_pytorch(dtype, torch):
    model = energy_network(dtype)
    from interop.onnx_files import assert_computes, model_proto

    proto = model_proto(model, gradients="inputs")
    x = np.random.default_rng(0).normal(size=(7, 6)).astype(dtype)
    places = torch.from_numpy(x.copy()).requires_grad_()
    energy = as_torch(model, dtype, torch)(places)
    energy.sum().backward()
    assert_computes(proto, (x,), (energy.detach().numpy(), places.grad.numpy()))


@each_dtype
def test_a_training_step_is_that_of_pytorch(dtype, torch):
    model = energy_network(dtype)
    from interop.onnx_files import assert_computes, model_proto

    proto = model_proto(model, loss=losses.MeanSquaredError())
    rng = np.random.default_rng(0)
    x, t = rng.normal(size=(7, 6)).astype(dtype), rng.normal(size=(7, 1)).astype(dtype)
    network = as_torch(model, dtype, torch)
    y = network(torch.from_numpy(x))
    cost = torch.nn.functional.mse_loss(y, torch.from_numpy(t))
    cost.backward()
    wanted = [y.detach().numpy(), cost.detach().numpy()]
    for parameter in network.parameters():
        gradient = parameter.grad.numpy()
        wanted.append(gradient.T if gradient.ndim == 2 else gradient)
    assert [each.name for each in proto.graph.input] == ["input", "target"]
    assert [each.name for each in proto.graph.output] == [
        *("output", "loss", "gradient_of_dense_1.weights", "gradient_of_dense_1.biases"),
        *("gradient_of_dense_2.weights", "gradient_of_dense_2.biases"),
        *("gradient_of_dense_3.weights", "gradient_of_dense_3.biases"),
    ]
    assert_computes(proto, (x, t), wanted)
