"""What is no model, no loss, no optimizer and no generator is refused with what was likely meant.

What `fit` is given besides is in `test_data.py`, with the data.
"""

from __future__ import annotations

from typing import Any

import pytest

from chainrule import Dense, Trainer, losses, optimizers
from chainrule.core.errors import ConfigurationError, DefinitionError


@pytest.mark.parametrize(
    ("model", "loss", "optimizer", "kind", "words"),
    [
        ([Dense(1)], None, None, DefinitionError, "Sequential([…])"),
        (Dense, None, None, DefinitionError, "Dense(…)"),
        (None, "mse", None, ConfigurationError, "losses.MeanSquaredError(…)"),
        (None, "softmax_cross_entropy", None, ConfigurationError, "losses.SoftmaxCrossEntropy(…)"),
        (None, losses.Huber, None, ConfigurationError, "losses.Huber(…)"),
        (None, optimizers.SGD(1.0), None, ConfigurationError, "losses.HalfSquaredError()"),
        (None, None, "adam", ConfigurationError, "optimizers.Adam(…)"),
        (None, None, optimizers.SGD, ConfigurationError, "optimizers.SGD(…)"),
        (None, None, 0.1, ConfigurationError, "0.1, of type float"),
    ],
)
def test_what_is_no_model_no_loss_or_no_optimizer_is_refused(
    model: Any, loss: Any, optimizer: Any, kind: type[Exception], words: str
) -> None:
    with pytest.raises(kind) as caught:
        Trainer(model or Dense(1), loss or losses.Huber(), optimizer or optimizers.SGD(0.1))
    assert words in str(caught.value)


@pytest.mark.parametrize("rng", ["x", -1, True, 1.5])
def test_what_makes_no_generator_is_refused(rng: Any) -> None:
    with pytest.raises(ConfigurationError, match="rng") as caught:
        Trainer(Dense(1), losses.Huber(), optimizers.SGD(0.1), rng=rng)
    assert repr(rng) in str(caught.value)
