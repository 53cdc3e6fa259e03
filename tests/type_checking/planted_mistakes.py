"""A user's mistakes: in strict mode, pyright and mypy must report each marked line and no other."""

# pyright: strict

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from attrs import define

import chainrule
from chainrule import Add, Dense, Input, Layer, Sequential, Trainer, callbacks, losses, optimizers

Array = npt.NDArray[np.floating[Any]]


@define
class Scale(Layer):
    factor: float = 1.0

    def build(self, input_shape: tuple[int, ...]) -> None:
        self.scale = self.parameter("scale", input_shape)
        self.parameter("shift", input_shape, initialiser="ones")  # mistake

    def forward(self, x: Array) -> Array:
        self.x = x
        return x * self.scale  # mistake

    def backward(self, delta: Array) -> Array:
        self.scale.acumulate(delta * self.x)  # mistake
        return delta * self.scales.value  # mistake


class Watch(callbacks.Callback):
    def on_epoch_end(self, trainer: Trainer) -> None:  # mistake
        print(trainer.history)

    def on_step_end(self, trainer: Trainer, epoch: int, step: int, cost: float) -> None:
        trainer.stopp("enough")  # mistake


model = Sequential([Dense(3), Dense("2")])  # mistake
Scale(factr=2.0)  # mistake
Dense(3, initializer=np.ones(3), use_biases=True)  # mistake
print(model.paramters)  # mistake
print(model.parameters.values)  # mistake
print(model(np.ones((1, 2))).maximum())  # mistake
print(model(Input((2,))).shape)  # mistake

a, b = Input((2,)), Input((2,))
print(a + b)  # mistake
print(np.ones((1, 2)) @ model.parameters["dense_1.weights"])  # mistake
c: Array = Add()(a, b)  # mistake

trainer = Trainer(model, losses.HalfSquaredError(), losses.HalfSquaredError())  # mistake
trainer.fit(np.ones((1, 2)), np.ones((1, 2)), epoch=3)  # mistake
print(trainer.fit(np.ones((1, 2)), np.ones((1, 2)), epochs=3).losses)  # mistake
print(losses.MeanSquaredErrors(), optimizers.Adam(rate=0.1))  # mistake
print(chainrule.loss)  # mistake


def show(figures: Mapping[str, float]) -> None:
    print(figures)


callbacks.FromFunctions(on_epoch_end=show)  # mistake


def misspelt() -> None:
    from chainrule import Dens  # mistake # noqa: F401
