"""One run at a time: whatever else would train the model meanwhile is refused by name."""

from __future__ import annotations

import os
import threading
from typing import Any

import numpy as np
import pytest

from chainrule import Activation, Dense, Sequential, Trainer, callbacks, losses, optimizers
from chainrule.core.errors import ConfigurationError

X, T = np.random.default_rng(0).normal(size=(2, 8, 3))


def network() -> Sequential:
    return Sequential([Dense(4), Activation("tanh"), Dense(3)])


def trainer_of(model: Any = None) -> Trainer:
    return Trainer(model or network(), losses.HalfSquaredError(), optimizers.Adam(), rng=0)


def fit(trainer: Trainer, *given: Any) -> Trainer:
    trainer.fit(X, T, epochs=3, batch_size=4, callbacks=given, progress=False)
    return trainer


def at_first_step(action: Any) -> Any:
    def on_step_end(trainer: Any, epoch: int, step: int, cost: float) -> None:
        if trainer.steps == 1:
            action(trainer)

    return callbacks.FromFunctions(on_step_end=on_step_end)


def in_a_thread(action: Any) -> None:
    """Run an action in another thread, and raise its error here."""
    caught: list[BaseException] = []

    def run() -> None:
        try:
            action()
        except BaseException as error:
            caught.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if caught:
        raise caught[0]


def part_of(model: Sequential) -> Sequential:
    return Sequential([model[0], Dense(3)])


OTHERS: dict[str, tuple[Any, str]] = {
    "fit in a callback": (lambda trainer: fit(trainer), "this trainer is already training"),
    "another trainer": (
        lambda trainer: fit(trainer_of(trainer.model)),
        "another trainer is training this model",
    ),
    "another trainer with a twin": (
        lambda trainer: fit(trainer_of(trainer.model.twin())),
        "another trainer is training this model",
    ),
    "another trainer with a part": (
        lambda trainer: fit(trainer_of(part_of(trainer.model))),
        "another trainer is training this model",
    ),
    "the same trainer in a thread": (
        lambda trainer: in_a_thread(lambda: fit(trainer)),
        "this trainer is already training",
    ),
    "another trainer in a thread": (
        lambda trainer: in_a_thread(lambda: fit(trainer_of(trainer.model))),
        "another trainer is training this model",
    ),
    "a step in a thread": (
        lambda trainer: in_a_thread(lambda: trainer.step(X, T)),
        "this trainer is already training",
    ),
    "a step of another trainer in a thread": (
        lambda trainer: in_a_thread(lambda: trainer_of(trainer.model).step(X, T)),
        "another trainer is training this model",
    ),
}


@pytest.mark.parametrize("name", OTHERS)
@pytest.mark.parametrize("is_built", [False, True])
def test_a_second_run_is_refused_and_the_first_is_not_disturbed(name, is_built):
    other, told = OTHERS[name]
    trainer, met = trainer_of(), []
    undisturbed = trainer_of()
    for each in (trainer, undisturbed):
        if is_built:
            each.model.build((3,), rng=1)
    fit(undisturbed)

    def second(trainer: Any) -> None:
        with pytest.raises(ConfigurationError, match=told) as caught:
            other(trainer)
        met.append(caught.value)

    fit(trainer, at_first_step(second))
    assert met and trainer.steps == 6
    np.testing.assert_array_equal(
        trainer.model.parameters.value, undisturbed.model.parameters.value
    )
    assert trainer.history.to_dict() == undisturbed.history.to_dict()
    fit(trainer)  # the reservation has ended


def test_copies_and_frozen_parts_can_be_trained_at_the_same_time():
    import copy

    backbone = Dense(4)
    backbone.build((3,), rng=0, dtype="float64")
    backbone.freeze()
    done = []

    def second(trainer: Any) -> None:
        done.append(fit(trainer_of(Sequential([backbone, Dense(3)]))))
        done.append(fit(copy.deepcopy(trainer)))
        in_a_thread(lambda: done.append(fit(copy.deepcopy(trainer))))

    fit(trainer_of(Sequential([backbone, Dense(3)])), at_first_step(second))
    assert [trainer.steps for trainer in done] == [6, 6, 6]


def test_a_callback_can_take_steps_with_its_own_trainer_and_with_another():
    """As in adversarial training, one step after another in one thread."""
    model = network()
    other = trainer_of(model)

    def steps(trainer: Any) -> None:
        trainer.step(X, T)
        other.step(X, T)

    assert fit(trainer_of(model), at_first_step(steps)).history.epochs == 3


def test_a_run_that_ends_with_an_error_frees_the_model():
    def fails(trainer: Any) -> None:
        raise RuntimeError("mine")

    trainer = trainer_of()
    with pytest.raises(RuntimeError, match="mine"):
        fit(trainer, at_first_step(fails))
    fit(trainer)
    fit(trainer_of(trainer.model))


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_child_can_train_what_its_parent_trains():
    codes = []

    def forks(trainer: Any) -> None:
        child = os.fork()
        if not child:
            try:
                fit(trainer_of(trainer.model))
            except BaseException:
                os._exit(1)
            os._exit(0)
        codes.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))

    fit(trainer_of(), at_first_step(forks))
    assert codes == [0]


@pytest.mark.parametrize("trainers", [1, 2])
def test_of_many_threads_that_begin_at_once_one_trains_and_the_others_are_refused(trainers):
    model = network()
    each = [trainer_of(model) for _ in range(trainers)]
    begin, results = threading.Barrier(8), []

    def run(number: int) -> None:
        begin.wait()
        try:
            each[number % trainers].fit(X, T, epochs=200, progress=False)
        except ConfigurationError as error:
            results.append(str(error))
        else:
            results.append("trained")

    threads = [threading.Thread(target=run, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results.count("trained") >= 1 and len(results) == 8
    assert all("training" in text or text == "trained" for text in results)
    assert np.isfinite(model.parameters.value).all()
