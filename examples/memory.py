"""Memory: an LSTM recalls a number on a signal, and another one counts down.

    python examples/memory.py

A recurrent layer has a state that it passes on from step to step. To be useful, the state has to be
kept as long as it is needed, and then replaced. In an LSTM, gates between 0 and 1 decide that: how
much of its cell c a unit keeps (f), how much of a new number g it writes into the cell (i), and how
much of the cell the other layers see (o).

    c_t = f_t c_(t−1) + i_t g_t,    h_t = o_t tanh(c_t)

With f = 1 and i = 0 a cell keeps its number forever. The network is not told to use its gates like
this; it learns it from examples. The two tasks are exercises of F. Marquardt's lecture "Machine
Learning for Physicists":

    recall        each step has a new number, and one of them is marked. When a second mark asks for
                  it, the output is that number; in all other steps it is 0
    count down    at some step the input is n. From there on the output is n, n − 1, …, 1, 0, 0, …

Four units are enough for either. The layer is the same at each step, so a sequence can have any
length: the network that was trained with at most 39 steps between the marks is asked after 100. A
SimpleRNN has no gates, and has to keep the number in a state that each step changes. With eight
times as many units, it hardly learns anything in the same training.

The figure shows both tasks with the unit whose cell follows the number best, the error of the
recalled number, and countdowns after 100 steps of silence.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure, SubFigure

from chainrule import (
    LSTM,
    Activation,
    Dense,
    Layer,
    Sequential,
    SimpleRNN,
    Trainer,
    losses,
    optimizers,
    schedules,
)

BLUE, VERMILION, GREEN, PURPLE, INK = "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#444444"
TOP = 10
"""The largest number to count down from. In the arrays, numbers are in units of it."""

Sequences = tuple[np.ndarray, np.ndarray]
"""Inputs and targets, of shape (sequences, steps, features)."""


# ------------------------------------------------------------------------------- the two tasks


def recall(marked: np.ndarray, asked: np.ndarray, numbers: np.ndarray) -> Sequences:
    """Sequences of a number, "keep it" and "recall it", with the marks at these steps."""
    x, t, row = np.zeros((*numbers.shape, 3)), np.zeros((*numbers.shape, 1)), np.arange(len(marked))
    x[..., 0] = numbers
    x[row, marked, 1] = 1
    x[row, asked, 2] = 1
    t[row, asked, 0] = numbers[row, marked]
    return x.astype("float32"), t.astype("float32")


def count_down(n: np.ndarray, first: np.ndarray, steps: int) -> Sequences:
    """Sequences with the number n in one step, and 0 in the others."""
    later = np.arange(steps) - first[:, np.newaxis]
    given = np.where(later == 0, n[:, np.newaxis], 0)
    left = np.where(later >= 0, np.maximum(n[:, np.newaxis] - later, 0), 0)
    x, t = ((each[..., np.newaxis] / TOP).astype("float32") for each in (given, left))
    return x, t


def any_recall(count: int, rng: np.random.Generator, *, steps: int = 40) -> Sequences:
    """Marks at any step of the first half, and any later one."""
    marked = rng.integers(0, steps // 2, count)
    return recall(marked, rng.integers(marked + 1, steps), rng.uniform(-1, 1, (count, steps)))


def any_countdown(count: int, rng: np.random.Generator, *, steps: int = 20) -> Sequences:
    """Numbers from 1 to `TOP`, early enough to reach 0."""
    return count_down(rng.integers(1, TOP + 1, count), rng.integers(0, steps - TOP, count), steps)


# ------------------------------------------------------------------------------- what is learned


def learn(
    layer: Layer, task: Callable[..., Sequences], steps: int, rate: float, seed: int
) -> Sequential:
    """A network that has seen so many batches of new sequences."""
    model = Sequential([layer, Dense(1)])
    optimizer = optimizers.Adam(rate, clip_norm=1.0)
    Trainer(model, losses.HalfSquaredError(), optimizer, rng=seed).fit(
        lambda rng: task(32, rng),
        epochs=1,
        steps_per_epoch=steps,
        callbacks=[schedules.LearningRate(schedules.Cosine(rate, steps))],
    )
    return model


def inside(layer: LSTM, x: np.ndarray) -> dict[str, np.ndarray]:
    """The gates i, f, g, o, the cell c and the output h, each (sequences, steps, units)."""
    sigmoid, found = Activation("sigmoid"), []
    h = c = np.zeros((len(x), layer.units))
    for t in range(x.shape[1]):
        z = x[:, t] @ layer.weights.value + h @ layer.recurrent_weights.value + layer.biases.value
        z_i, z_f, z_g, z_o = np.split(z, 4, axis=1)
        i, f, g, o = sigmoid(z_i), sigmoid(z_f), np.tanh(z_g), sigmoid(z_o)
        c = f * c + i * g
        h = o * np.tanh(c)
        found.append((i, f, g, o, c, h))
    values = np.moveaxis(found, 0, 2)  # one of (rows, steps, units) for each name
    return dict(zip("ifgoch", values, strict=True))


def follows_best(cells: np.ndarray, numbers: np.ndarray) -> int:
    """The unit whose c has the strongest correlation with a number, where there is one."""
    has_one = ~np.isnan(numbers)
    c, n = cells[has_one], numbers[has_one]
    c, n = c - c.mean(axis=0), n - n.mean()
    return int(np.abs(n @ c / np.linalg.norm(c, axis=0)).argmax())


def to_keep(x: np.ndarray) -> np.ndarray:
    """The number that a sequence has to keep, in the steps between its marks; NaN elsewhere."""
    since, until = x[..., 1].cumsum(axis=1) > 0, x[..., 2].cumsum(axis=1) == 0
    return np.where(since & until, (x[..., 0] * x[..., 1]).sum(axis=1, keepdims=True), np.nan)


def recall_error(model: Layer, wait: int, rng: np.random.Generator) -> float:
    """Root mean square of y − t in the step that asks for the number, so long after its mark."""
    marked = rng.integers(0, 10, 500)
    x, t = recall(marked, marked + wait, rng.uniform(-1, 1, (500, 10 + wait)))
    return float(np.sqrt(np.mean((model(x) - t)[x[..., 2] == 1] ** 2)))


def without_mistake(model: Layer, steps: int, rng: np.random.Generator) -> float:
    """The share of countdowns in which all outputs round to the right numbers."""
    x, t = any_countdown(500, rng, steps=steps)
    return float((np.rint(TOP * model(x)) == np.rint(TOP * t)).all(axis=(1, 2)).mean())


# ------------------------------------------------------------------------------- the program


def main(steps: int = 1500, seed: int = 0, output: str | Path = "chainrule-demo") -> dict:
    """Learn both tasks, draw what the gates do, and return the printed figures."""
    lstm = learn(LSTM(4, return_sequences=True), any_recall, steps, 3e-2, seed)
    simple = learn(SimpleRNN(32, return_sequences=True), any_recall, steps, 5e-3, seed)
    counting = learn(LSTM(4, return_sequences=True), any_countdown, steps, 3e-2, seed)
    rng = np.random.default_rng(seed + 1)
    found = {
        f"error of the number after {wait} steps, {name}": recall_error(model, wait, rng)
        for wait in (10, 100)
        for name, model in (("LSTM", lstm), ("SimpleRNN", simple))
    }
    for length in (20, 120):
        share = without_mistake(counting, length, rng)
        found[f"countdowns without a mistake, {length} steps"] = share
    print(f"{steps} batches of 32 sequences for each network")
    for name, value in found.items():
        print(f"  {name:<48} {value:6.3f}")
    path = Path(output) / "memory.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    draw(lstm, simple, counting, rng).savefig(path, dpi=150)
    print(f"figure: {path}")
    return found


def draw(lstm: Layer, simple: Layer, counting: Layer, rng: np.random.Generator) -> Figure:
    """A sequence of each task with the gates of a unit; and longer sequences."""
    figure = Figure(figsize=(12.4, 6.2), layout="constrained")
    left, middle, right = figure.subfigures(1, 3, width_ratios=(1.15, 1.15, 1))

    numbers = rng.uniform(-1, 1, (1, 30))
    numbers[0, 6] = 0.8
    x, _ = any_recall(300, rng)
    unit = follows_best(inside(lstm[0], x)["c"], to_keep(x))
    shown = recall(np.array([6]), np.array([23]), numbers)
    given, answer, _ = draw_task(left, lstm, shown, unit)
    given.set(title="recall a number", ylim=(-1.1, 1.6), yticks=(-1, 0, 1))
    answer.set(ylim=(-0.25, 1.1), yticks=(0, 1))
    answer.legend(frameon=False, loc="upper left", bbox_to_anchor=(0.22, 1.0))
    for step, text in ((6, "keep it"), (23, "recall it")):
        given.text(step, 1.2, text, ha="center", color=VERMILION, fontsize=11)
        for axes in left.axes:
            axes.axvspan(step - 0.5, step + 0.5, color=VERMILION, alpha=0.15, lw=0)

    x, t = any_countdown(300, rng)
    has_begun = x[..., 0].cumsum(axis=1) > 0
    unit = follows_best(inside(counting[0], x)["c"], np.where(has_begun, t[..., 0], np.nan))
    shown = count_down(np.array([8]), np.array([6]), 30)
    given, answer, gates = draw_task(middle, counting, shown, unit)
    given.set_title("count down")
    for axes in (given, answer):
        axes.set(ylim=(-0.1, 1.1), yticks=(0, 0.5, 1), yticklabels=("0", "5", "10"))

    gates.legend(frameon=False, loc="upper right", ncols=2, columnspacing=1.0)

    error, fan = right.subplots(2, 1)
    waits = [1, 2, 5, 10, 20, 30, 40, 60, 80, 100]
    for model, color in ((simple, VERMILION), (lstm, BLUE)):
        errors = [recall_error(model, wait, rng) for wait in waits]
        error.plot(waits, errors, "o-", color=color, ms=4)
    error.text(100, 0.36, "SimpleRNN, 32 units", color=VERMILION, ha="right", fontsize=11)
    error.text(100, 0.16, "LSTM, 4 units", color=BLUE, ha="right", fontsize=11)
    error.axvspan(0, 39, color=INK, alpha=0.08, lw=0)
    error.text(2, 0.3, "seen in training", color=INK)
    error.axhline(1 / np.sqrt(3), color=INK, lw=1, ls=":")  # that of the output 0
    error.text(100, 0.6, "a network that says 0", color=INK, ha="right", va="bottom")
    error.set(title="error of the recalled number", xlabel="steps between the marks")
    error.set(ylim=(0, 0.68), yticks=(0, 0.2, 0.4, 0.6))

    n = np.arange(1, TOP + 1)
    x, t = count_down(n, np.full(TOP, 100), 115)
    for y, target in zip(TOP * counting(x)[..., 0], TOP * t[..., 0], strict=True):
        fan.plot(np.arange(95, 115), target[95:], color="0.6", lw=5, alpha=0.35)
        fan.plot(np.arange(95, 115), y[95:], "o-", color=BLUE, ms=3, lw=1)
    fan.set(title="countdowns after 100 steps", xlabel="step", yticks=(0, 5, 10))
    for axes in figure.axes:
        axes.spines[["top", "right"]].set_visible(False)
    return figure


def draw_task(part: SubFigure, model: Layer, shown: Sequences, unit: int) -> np.ndarray:
    """From top to bottom the input, the output, the gates of a unit, and its cell."""
    (x, t), steps = shown, np.arange(shown[0].shape[1])
    grid = part.subplots(3, 1, sharex=True, height_ratios=(1, 1.15, 1.3))
    given, answer, gates = grid
    given.bar(steps, x[0, :, 0], color=INK, width=0.6)
    given.axhline(0, color=INK, lw=0.8)
    given.set(ylabel="input")
    answer.step(steps, t[0, :, 0], where="mid", color="0.6", lw=6, alpha=0.4, label="target")
    answer.plot(steps, model(x)[0, :, 0], "o-", color=BLUE, ms=4, lw=1.2, label="network")
    answer.set(ylabel="output")
    values = inside(model[0], x)
    for name, text, color in (
        ("f", "f, keep", GREEN),
        ("i", "i, write", VERMILION),
        ("o", "o, read", PURPLE),
        ("c", "cell c", BLUE),
    ):
        width = 3 if name == "c" else 1.6
        gates.plot(steps, values[name][0, :, unit], color=color, lw=width, label=text)
    gates.set(ylabel=f"unit {unit + 1}", xlabel="step", ylim=(-0.15, 1.1), yticks=(0, 0.5, 1))
    return grid


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", default="chainrule-demo", help="a folder for the figure")
    main(**vars(parser.parse_args()))
