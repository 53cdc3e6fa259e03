"""The progress line: its text, and that it restores the terminal."""

from __future__ import annotations

import contextlib
import io
import os
import re
import signal
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from chainrule import Dense, Sequential, Trainer, losses, optimizers
from chainrule.callbacks import Callback
from chainrule.training import progress
from chainrule.training.progress import Progress

HIDE, SHOW = "\x1b[?25l", "\x1b[?25h"


def terminal(width: int = 100, **options: Any) -> tuple[Console, io.StringIO]:
    file = io.StringIO()
    options = {"force_terminal": True, "force_interactive": True, **options}
    return Console(file=file, width=width, color_system=None, **options), file


def drawn(file: io.StringIO) -> list[str]:
    """Each state of the line, without the signs that move the cursor."""
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", file.getvalue())
    return [line for line in re.split(r"[\r\n]+", plain) if line.strip()]


def fit(console: Any, **options: Any) -> Trainer:
    rng = np.random.default_rng(0)
    x, t = rng.normal(size=(50, 3)), rng.integers(0, 2, 50)
    model = Sequential([Dense(2)])
    loss = losses.SoftmaxCrossEntropy()
    trainer = Trainer(model, loss, optimizers.SGD(0.1), rng=0, metrics=["accuracy"])
    trainer.fit(x, t, epochs=12, validation_data=(x, t), progress=console, **options)
    return trainer


def test_it_ends_with_the_epoch_the_time_and_the_figures_of_the_last_epoch() -> None:
    console, file = terminal(120)
    history = fit(console).history
    last = drawn(file)[-1]
    assert last.startswith("epoch 12/12 ") and "100 %" in last and "━" in last
    assert re.search(r"in 0:00:\d\d ", last)
    loss, accuracy, validation_loss, validation_accuracy = (
        f"{history[name][-1]:#.3g}" for name in history
    )
    assert last.rstrip().endswith(
        f"  loss {loss}  validation {validation_loss}"
        f"  accuracy {accuracy}  validation {validation_accuracy}"
    )


def test_it_shows_the_remaining_time(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(progress.time, "perf_counter", lambda: now[0])
    console, file = terminal()
    with Progress(console, epochs=10, steps=4) as line:
        for done, epoch, step, left in [(10, 3, 2, "0:15:00"), (20, 5, 4, "1:00:00")]:
            now[0] = {10: 300.0, 20: 3600.0}[done]
            line.show(epoch, step, {"loss": 0.123456})
            assert f"epoch  {epoch}/10" in drawn(file)[-1]
            assert f" {done * 100 // 40} % {left} left  loss 0.123" in drawn(file)[-1]
            assert line.due == now[0] + progress.PERIOD


def test_figures_that_are_not_updated_stay() -> None:
    console, file = terminal()
    with Progress(console, epochs=2, steps=2) as line:
        line.note({"loss": 3.0, "validation_loss": 4.0})
        line.show(2, 1, {"loss": 2.0})
    assert "loss 2.00  validation 4.00" in drawn(file)[-1]


@pytest.mark.parametrize("width", [200, 100, 80, 60, 45])
def test_the_line_is_one_line_in_terminals_of_any_usual_width(width: int) -> None:
    console, file = terminal(width)
    figures = {"loss": 1.0, "accuracy": 0.5, "validation_loss": 2.0, "validation_accuracy": 0.25}
    with Progress(console, epochs=100, steps=10) as line:
        line.show(37, 3, figures)
    texts = ["loss 1.00", "validation 2.00", "accuracy 0.500", "validation 0.250"]
    last = drawn(file)[-1]
    assert len(last) <= width and "epoch  37/100" in last and "…" not in last
    shown = [text for text in texts if text in last]
    assert shown == texts[: len(shown)] and len(shown) >= (1 if width < 80 else 2)
    assert len(shown) == 4 or width <= 100


def test_it_is_drawn_at_most_ten_times_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    shown = []
    monkeypatch.setattr(progress.time, "perf_counter", lambda: now[0])
    monkeypatch.setattr("chainrule.training.run.perf_counter", lambda: now[0])
    monkeypatch.setattr(
        Progress, "show", lambda line, *told: shown.append(told) or real(line, *told)
    )

    class Ticks(Callback):
        def on_step_end(self, trainer: Any, epoch: int, step: int, cost: float) -> None:
            now[0] += 0.01

    x = np.ones((100, 1))
    trainer = Trainer(Dense(1), losses.HalfSquaredError(), optimizers.SGD(0.1), rng=0)
    console, _ = terminal()
    trainer.fit(x, x, epochs=2, batch_size=1, callbacks=[Ticks()], progress=console)
    assert now[0] == pytest.approx(2.0)
    assert 18 <= len(shown) <= 22


real = Progress.show


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_the_cursor_is_shown_again_however_training_ends(error: type[BaseException]) -> None:
    class Fails(Callback):
        def on_epoch_end(self, trainer: Any, epoch: int, figures: Any) -> None:
            assert file.getvalue().rindex(HIDE) >= 0 and SHOW not in file.getvalue()
            if epoch == 3:
                raise error

    console, file = terminal()
    with pytest.raises(error):
        fit(console, callbacks=[Fails()])
    assert file.getvalue().rindex(SHOW) > file.getvalue().rindex(HIDE)
    console, file = terminal()
    fit(console)
    assert file.getvalue().rindex(SHOW) > file.getvalue().rindex(HIDE)


@pytest.mark.parametrize(
    "options", [{"force_terminal": False}, {"_environ": {"TERM": "dumb"}}], ids=["file", "dumb"]
)
def test_on_what_cannot_draw_it_nothing_is_printed(options: dict[str, Any]) -> None:
    console, file = terminal(**options)
    fit(console)
    assert file.getvalue() == ""


def test_true_and_false_decide_where_there_is_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    class Screen(io.StringIO):
        def isatty(self) -> bool:
            return True

    for name in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    for wanted in (True, False):
        screen = Screen()
        monkeypatch.setattr("sys.stdout", screen)
        fit(wanted)
        assert ("epoch 12/12" in screen.getvalue()) is wanted


@pytest.mark.parametrize("closed", [True, False])
def test_a_program_without_an_output_trains_in_silence(
    monkeypatch: pytest.MonkeyPatch, closed: bool
) -> None:
    stream = io.StringIO()
    stream.close()
    monkeypatch.setattr("sys.stdout", stream if closed else None)
    assert fit(True).history.epochs == 12


# ------------------------------------------------------------------------------- a resumed run


def test_a_resumed_run_starts_where_it_was_and_times_only_its_own_steps(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = [0.0]
    monkeypatch.setattr(progress.time, "perf_counter", lambda: now[0])
    console, file = terminal()
    with Progress(console, epochs=10, steps=4, done=22) as line:
        assert "epoch  6/10" in drawn(file)[-1] and " 55 % " in drawn(file)[-1]
        now[0] = 60.0
        line.show(7, 1, {"loss": 0.1})  # 3 steps in a minute; 15 are to go
        assert "epoch  7/10" in drawn(file)[-1] and " 62 % 0:05:00 left" in drawn(file)[-1]


def test_a_resumed_run_with_nothing_left_is_at_its_end() -> None:
    console, file = terminal()
    with Progress(console, epochs=3, steps=4, done=12) as line:
        assert "epoch 3/3" in drawn(file)[-1]
        line.show(3, 4, {})
    assert "100 %" in drawn(file)[-1] and "in 0:00:00" in drawn(file)[-1]


def test_the_learning_rate_is_last_and_the_first_to_be_omitted() -> None:
    figures = {"loss": 1.0, "validation_loss": 2.0, "accuracy": 0.5, "learning_rate": 0.001}
    for width, is_shown in ((120, True), (80, False)):
        console, file = terminal(width)
        with Progress(console, epochs=3, steps=4) as line:
            line.show(1, 1, figures)
        assert "loss 1.00  validation 2.00" in drawn(file)[-1]
        assert drawn(file)[-1].rstrip().endswith("learning rate 0.00100") is is_shown


# ------------------------------------------------------------------------------- messages


class Screen:
    """A terminal at the end of a pipe; `shown` is what was written to it."""

    def __init__(self, width: int = 100) -> None:
        self._end, start = os.pipe()
        os.set_blocking(self._end, False)
        self.file = os.fdopen(start, "w", encoding="utf-8")
        options: dict[str, Any] = {"force_terminal": True, "force_interactive": True}
        self.console = Console(file=self.file, width=width, color_system=None, **options)
        self._shown = b""

    @property
    def shown(self) -> str:
        with contextlib.suppress(BlockingIOError):
            self._shown += os.read(self._end, 1 << 16)
        return self._shown.decode()

    @property
    def lines(self) -> list[str]:
        """What is visible: a carriage return and an erase restart the line."""
        plain = re.sub(r"\x1b\[\?25[lh]", "", self.shown)
        lines = [line.split("\r\x1b[2K")[-1] for line in plain.split("\n")]
        return [re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", line).strip() for line in lines]

    def close(self) -> None:
        self.file.close()
        os.close(self._end)


@pytest.fixture
def screen() -> Iterator[Screen]:
    screen = Screen()
    yield screen
    screen.close()


TEXT = "stopping after this step; press Ctrl-C again to stop at once"


def test_a_message_appears_at_once_and_the_line_is_redrawn_below(screen: Screen) -> None:
    with Progress(screen.console, epochs=9, steps=2) as line:
        line.show(7, 1, {"loss": 1.0})
        assert screen.lines[-1].startswith("epoch 7/9")
        line.say(TEXT)
        assert screen.lines[-2:] == [TEXT, ""]
        line.show(7, 2, {"loss": 2.0})
        assert screen.lines[-2] == TEXT and screen.lines[-1].startswith("epoch 7/9")
    line.say("and that is all")
    assert screen.lines[-4] == TEXT and screen.lines[-3].startswith("epoch 7/9")
    assert screen.lines[-2:] == ["and that is all", ""]


def test_a_signal_handler_can_print_while_the_line_is_drawn() -> None:
    """Python's buffer is not reentrant: a signal handler that interrupts it cannot write to it."""

    class Interrupted(io.FileIO):
        def write(self, content: Any) -> int:
            written = super().write(content)
            if is_due.pop() if is_due else False:
                signal.raise_signal(signal.SIGINT)
            return written

    is_due: list[bool] = []
    end, start = os.pipe()
    file = io.TextIOWrapper(io.BufferedWriter(Interrupted(start, "w")), encoding="utf-8")
    console = Console(file=file, width=90, force_terminal=True, force_interactive=True)
    with file:
        line = Progress(console, epochs=9, steps=2)
        before = signal.signal(signal.SIGINT, lambda number, frame: line.say(TEXT))
        try:
            with line:
                is_due.append(True)
                line.show(7, 1, {"loss": 1.0})
        finally:
            signal.signal(signal.SIGINT, before)
    shown = os.read(end, 1 << 16).decode()
    os.close(end)
    assert shown.count(TEXT) == 1 and not is_due and "epoch 7/9" in shown.partition(TEXT)[2]


def test_without_direct_access_a_message_waits_for_the_next_update() -> None:
    console, file = terminal()
    with Progress(console, epochs=9, steps=2) as line:
        line.show(7, 1, {"loss": 1.0})
        line.say(TEXT)
        assert TEXT not in file.getvalue() and line.due <= 0
        line.show(7, 2, {"loss": 1.0})
        assert file.getvalue().count(TEXT) == 1 and drawn(file)[-1].startswith("epoch 7/9")
    assert file.getvalue().count(TEXT) == 1


def test_a_message_after_the_end_is_one_line_below_the_bar() -> None:
    console, file = terminal(60)
    text = "stopped by Ctrl-C after epoch 7, step 31 [of 90]: " + "x" * 40
    with Progress(console, epochs=9, steps=2) as line:
        line.show(7, 1, {"loss": 1.0})
        line.say(text)
    assert file.getvalue().rindex(SHOW) < file.getvalue().index(text)
    assert drawn(file)[-1].rstrip() == text and drawn(file)[-2].startswith("epoch 7/9")
    line.say("and that is all")
    assert drawn(file)[-1].rstrip() == "and that is all"
    assert file.getvalue().endswith("\n")


@pytest.mark.parametrize("wanted", [False, True])
def test_without_a_terminal_say_prints_nothing(
    wanted: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    with Progress(wanted, epochs=9, steps=2) as line:
        line.say("stopped")
    line.say("stopped")
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_pending_messages_are_printed_even_if_an_error_is_raised(
    error: type[BaseException],
) -> None:
    console, file = terminal()
    with pytest.raises(error), Progress(console, epochs=9, steps=2) as line:
        line.say("stopped")
        raise error
    assert drawn(file)[-1].rstrip() == "stopped"
