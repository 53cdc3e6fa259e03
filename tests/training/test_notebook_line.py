"""The progress line of a notebook, with a kernel that records what it is sent."""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

from chainrule import Dense, Trainer, callbacks, fitting, losses, optimizers
from chainrule.training import progress
from chainrule.training.notebook_line import COMPLETE, FAILED, RUNNING, NotebookLine
from chainrule.training.progress import Position, Progress

Sent = list[dict[str, str]]
X = np.linspace(-1, 1, 40)[:, np.newaxis]


@pytest.fixture
def outputs(monkeypatch: pytest.MonkeyPatch) -> dict[str, Sent]:
    """The states of each output of the cell, by its identity."""
    states: dict[str, Sent] = {}

    def display(bundle: dict[str, str], *, raw: bool, display_id: str) -> None:
        assert raw and display_id not in states
        states[display_id] = [bundle]

    def update(bundle: dict[str, str], *, raw: bool, display_id: str) -> None:
        states[display_id].append(bundle)

    shell = SimpleNamespace(kernel=object())
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: shell))
    monkeypatch.setitem(
        sys.modules, "IPython.display", SimpleNamespace(display=display, update_display=update)
    )
    return states


def trainer() -> Trainer:
    return Trainer(Dense(1), losses.HalfSquaredError(), optimizers.SGD(0.1), rng=0)


def last(outputs: dict[str, Sent]) -> dict[str, str]:
    (states,) = outputs.values()
    return states[-1]


def test_a_run_is_one_output_that_ends_complete(
    outputs: dict[str, Sent], capsys: pytest.CaptureFixture[str]
) -> None:
    history = trainer().fit(X, 2 * X, epochs=12, validation_data=(X, 2 * X))
    state = last(outputs)
    assert set(state) == {"text/html", "text/plain"}
    assert state["text/plain"].startswith("epoch 12/12  100 %  in 0:00:0")
    loss, validation = (f"{history[name][-1]:#.3g}" for name in ("loss", "validation_loss"))
    assert f"loss {loss}  validation {validation}" in state["text/plain"]
    page = ElementTree.fromstring(state["text/html"])
    text = "".join(page.itertext())
    assert "epoch 12/12" in text and f"loss {loss}" in text
    (bar,) = (part for part in page.iter() if part.get("role") == "progressbar")
    assert bar.get("aria-valuenow") == "100" and COMPLETE in str(bar[0].get("style"))
    assert capsys.readouterr() == ("", "")


def test_only_the_end_is_complete(outputs: dict[str, Sent]) -> None:
    line = NotebookLine()
    line.begin(Position("epoch 1/1", 999, 1000))
    assert "99 %" in last(outputs)["text/plain"]
    line.draw(Position("epoch 1/1", 0, 0))
    assert "  0 %" in last(outputs)["text/plain"]
    line.end(Position("epoch 1/1", 1000, 1000), is_failed=False)
    assert "100 %" in last(outputs)["text/plain"]


def test_false_silences_it(outputs: dict[str, Sent]) -> None:
    trainer().fit(X, X, epochs=2, progress=False)
    assert outputs == {}


def test_it_is_sent_at_most_ten_times_a_second(
    outputs: dict[str, Sent], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    monkeypatch.setattr(progress.time, "perf_counter", lambda: now[0])
    monkeypatch.setattr("chainrule.training.run.perf_counter", lambda: now[0])

    class Ticks(callbacks.Callback):
        def on_step_end(self, trainer: Any, epoch: int, step: int, cost: float) -> None:
            now[0] += 0.01

    trainer().fit(X, X, epochs=5, batch_size=1, callbacks=[Ticks()])
    (states,) = outputs.values()
    assert now[0] == pytest.approx(2.0) and 18 <= len(states) <= 24
    assert all(RUNNING in state["text/html"] for state in states[:-1])


def test_why_it_stopped_is_a_line_below(outputs: dict[str, Sent]) -> None:
    stop = callbacks.EarlyStopping("loss", patience=1, threshold=10.0)
    history = trainer().fit(X, X, epochs=30, callbacks=[stop])
    state = last(outputs)
    assert 0 < history.epochs < 30
    assert state["text/plain"].splitlines()[1].startswith(f"stopped after epoch {history.epochs}: ")
    assert f"stopped after epoch {history.epochs}: " in state["text/html"]


def test_an_error_leaves_the_bar_where_it_was(outputs: dict[str, Sent]) -> None:
    class Fails(callbacks.Callback):
        def on_epoch_end(self, trainer: Any, epoch: int, figures: Any) -> None:
            if epoch == 3:
                raise RuntimeError("<full>")

    with pytest.raises(RuntimeError):
        trainer().fit(X, X, epochs=10, callbacks=[Fails()])
    assert FAILED in last(outputs)["text/html"]


def test_a_message_waits_for_the_next_update_and_is_escaped(outputs: dict[str, Sent]) -> None:
    with Progress(True, epochs=9, steps=2) as line:
        line.show(7, 1, {"loss": 1.0})
        (states,) = outputs.values()
        count = len(states)
        line.say("stopping <now>")
        assert len(states) == count and line.due <= 0
        line.show(7, 2, {"loss": 2.0})
        assert "stopping &lt;now&gt;" in states[-1]["text/html"]
    line.say("and that is all")
    assert states[-1]["text/plain"].splitlines()[1:] == ["stopping <now>", "and that is all"]
    assert "epoch 7/9" in states[-1]["text/plain"]


def test_a_console_of_rich_in_a_notebook_is_the_same_line(outputs: dict[str, Sent]) -> None:
    from rich.console import Console

    trainer().fit(X, X, epochs=2, progress=Console(force_jupyter=True))
    assert last(outputs)["text/plain"].startswith("epoch 2/2")


def test_a_minimization_ends_with_its_lowest_cost(outputs: dict[str, Sent]) -> None:
    model = Dense(1)
    found = fitting.minimize(model, losses.HalfSquaredError(), X, 2 * X)
    assert found.converged
    text = last(outputs)["text/plain"]
    assert f"iteration {found.iterations:>4}/1000" in text and f"loss {found.value:#.3g}" in text
