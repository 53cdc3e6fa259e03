"""Callbacks: called in the documented order, at the documented moments."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from chainrule import Dense, Sequential, Trainer, losses, optimizers
from chainrule.callbacks import Callback


def network(dtype: str | None = "float64") -> Sequential:
    model = Sequential([Dense(2)])
    if dtype is not None:
        model.build((3,), rng=0, dtype=dtype)
    return model


def samples(count: int) -> tuple[Any, Any]:
    rng = np.random.default_rng(1)
    return rng.normal(size=(count, 3)), rng.normal(size=(count, 2))


def trainer_of(model: Sequential) -> Trainer:
    return Trainer(model, losses.HalfSquaredError(), optimizers.SGD(0.1), rng=0)


class Diary(Callback):
    """Records its calls."""

    def __init__(self, name: str, entries: list[Any], fails_at: str = "") -> None:
        self.name, self.entries, self.fails_at = name, entries, fails_at

    def write(self, moment: str, *told: Any) -> None:
        self.entries.append((self.name, moment, *told))
        if moment == self.fails_at:
            raise KeyboardInterrupt

    def on_fit_begin(self, trainer: Any) -> None:
        self.write("begin", trainer.model.is_built, trainer.history.epochs)

    def on_step_end(self, trainer: Any, epoch: int, step: int, cost: float) -> None:
        self.write("step", epoch, step)

    def on_epoch_end(self, trainer: Any, epoch: int, figures: Any) -> None:
        self.write("epoch", epoch, trainer.history["loss"][-1] == figures["loss"])

    def on_fit_end(self, trainer: Any) -> None:
        self.write("end", trainer.history.epochs)


def test_callbacks_are_called_in_the_order_of_the_list_at_the_documented_moments() -> None:
    entries: list[Any] = []
    callbacks = [Diary("a", entries), Callback(), Diary("b", entries)]
    trainer_of(network(None)).fit(*samples(3), epochs=2, batch_size=2, callbacks=callbacks)
    moments = [
        ("begin", True, 0),
        *[("step", 1, 1), ("step", 1, 2), ("epoch", 1, True)],
        *[("step", 2, 1), ("step", 2, 2), ("epoch", 2, True)],
        ("end", 2),
    ]
    # on_fit_end is called in reverse order: the first to begin is the last to end.
    expected = [(name, *moment) for moment in moments[:-1] for name in "ab"]
    assert entries == [*expected, ("b", *moments[-1]), ("a", *moments[-1])]


@pytest.mark.parametrize(("moment", "epochs"), [("begin", 0), ("step", 0), ("epoch", 1)])
def test_the_end_comes_also_after_an_interruption_and_the_history_so_far_is_kept(
    moment: str, epochs: int
) -> None:
    entries: list[Any] = []
    trainer = trainer_of(network())
    callbacks = [Diary("a", entries, fails_at=moment), Diary("b", entries)]
    with pytest.raises(KeyboardInterrupt):
        trainer.fit(*samples(3), epochs=2, callbacks=callbacks)
    assert entries[-2:] == [("b", "end", epochs), ("a", "end", epochs)]
    assert trainer.history.epochs == epochs


def test_a_callback_can_change_the_learning_rate() -> None:
    class Stops(Callback):
        def on_epoch_end(self, trainer: Any, epoch: int, figures: Any) -> None:
            trainer.optimizer.learning_rate = 1e-300

    x, t = samples(6)
    one, two = network(), network()
    trainer_of(one).fit(x, t, epochs=1)
    trainer_of(two).fit(x, t, epochs=4, callbacks=[Stops()])
    np.testing.assert_array_equal(one.parameters.value, two.parameters.value)
