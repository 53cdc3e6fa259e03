"""Overheads: the Trainer's loop, derivatives of small networks and arrays, and the import.

    overhead of fit = (time of fit)/(steps) − (time of a plain loop)/(steps)

The plain loop does only what is necessary: it shuffles, gathers each batch from the data, and takes
the bare step. The smallest network is used, because the overhead does not grow with the network and
would be lost in the variation of a large one.

The Jacobian with respect to the parameters needs one backward pass for each output, and the
gradients of all rows need one in all, so their time is mostly overhead in a small network. So is
that of dual numbers with few entries.

Imports are timed in new interpreters, numpy and chainrule in turn. chainrule loads its modules
lazily, so both the bare import and the usual first line of a program are measured.
"""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
import timeit
from collections.abc import Callable

import numpy as np

from benchmarks.quartiles import Quartiles
from benchmarks.workloads import WORKLOADS, Array, Problem

TRAINER_BOUND = 15e-6
"""The largest overhead of `fit` per step, in seconds."""

DUAL_BOUND = 8e-6
"""The most that arithmetic of small dual numbers may take, in seconds."""

NUMPY, BARE, USUAL = "numpy", "`import chainrule`", "the usual first line of a program"
IMPORTS = {
    NUMPY: "import numpy",
    BARE: "import chainrule",
    USUAL: "from chainrule import Activation, Dense, Sequential, Trainer, losses, optimizers",
}
IMPORT_BOUNDS = {BARE: 1.5, USUAL: 2.0}
"""Bounds for an import time, divided by that of numpy."""

BATCHES = 50  # per epoch

CHECKED = 500
"""How many Dense layers `check_layer` checks, and then twice as many."""
CHECK_BOUND = 2.3
"""The most that twice as many layers may cost `check_layer`."""


def trainer_overhead(dtype: str, rounds: int, epochs: int) -> Quartiles:
    """Seconds that `Trainer.fit` adds to a step of the tiny network, in a separate process."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_trainer_overhead, (dtype, rounds, epochs))


def _trainer_overhead(dtype: str, rounds: int, epochs: int) -> Quartiles:
    from benchmarks.ours import Layers
    from chainrule.training.trainer import Trainer

    tiny = WORKLOADS[0]
    data = Problem.of(tiny.widths, BATCHES * tiny.batch, dtype)
    rng = np.random.default_rng(0)
    plain, fitted = Layers(data), Layers(data)
    trainer = Trainer(fitted.model, fitted.loss, fitted.optimizer, rng=rng)

    def fit() -> None:
        trainer.fit(data.inputs, data.targets, epochs=epochs, batch_size=tiny.batch, progress=False)

    def plain_loop() -> None:
        for _ in range(epochs):
            order = rng.permutation(len(data.inputs))
            for first in range(0, len(order), tiny.batch):
                rows = order[first : first + tiny.batch]
                plain.inputs, plain.targets = data.inputs[rows], data.targets[rows]
                plain.step()

    fit()
    plain_loop()
    steps = epochs * BATCHES
    return Quartiles.of([(_seconds(fit) - _seconds(plain_loop)) / steps for _ in range(rounds)])


def jacobian_time(rounds: int) -> Quartiles:
    """Seconds for ∂y/∂θ of 200 rows and 321 parameters."""
    from chainrule import Activation, Dense, Sequential, derivatives

    model = Sequential([Dense(32), Activation("tanh"), Dense(1)])
    model.build((8,), rng=0)
    x = np.random.default_rng(0).normal(size=(200, 8))

    def jacobian() -> None:
        derivatives.jacobian(model, x, with_respect_to="parameters")

    jacobian()
    return Quartiles.of([_seconds(jacobian) for _ in range(rounds)])


def rows_time(rounds: int) -> tuple[Quartiles, Quartiles]:
    """The gradients of 400 rows with respect to 81 parameters.

    Returns
    -------
    seconds, ratio
        The time, and that of a call of `gradients` for each row, divided by it.
    """
    from chainrule import Activation, Dense, Sequential, derivatives, losses

    model, loss = Sequential([Dense(16), Activation("tanh"), Dense(1)]), losses.HalfSquaredError()
    model.build((3,), rng=0)
    x = np.random.default_rng(0).normal(size=(400, 3))
    t = x[:, :1]

    def at_once() -> Array:
        return derivatives.per_sample_gradients(model, loss, x, t)

    def row_by_row() -> Array:
        rows = [slice(n, n + 1) for n in range(len(x))]
        return np.stack([derivatives.value_and_gradient(model, loss, x[n], t[n])[1] for n in rows])

    np.testing.assert_allclose(at_once(), row_by_row(), rtol=1e-9, atol=1e-12)
    times = [(_seconds(at_once), _seconds(row_by_row)) for _ in range(rounds)]
    ratio = Quartiles.of([loop / once for once, loop in times])
    return Quartiles.of([once for once, _ in times]), ratio


def dual_time(rounds: int) -> Quartiles:
    """Seconds for the slowest of the usual operations with dual numbers of three entries."""
    from chainrule import Dual

    x = Dual(np.array([1.0, 2.0, 3.0]), np.ones(3))
    square = Dual(np.eye(3), np.ones((3, 3)))
    operations: list[Callable[[], object]] = [
        lambda: x + x,
        lambda: 2.0 * x,
        lambda: x / x,
        lambda: np.tanh(x),
        lambda: x**2,
        lambda: square @ square,
        lambda: x[0],
    ]
    times = [[timeit.timeit(work, number=500) / 500 for work in operations] for _ in range(rounds)]
    return Quartiles.of([max(each) for each in times])


def _seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def check_times(length: int) -> tuple[float, float]:
    """Seconds that `check_layer` takes for a sequence of this length, and for twice as many."""
    from chainrule import Dense, Sequential, check_layer

    check_layer(Dense(8), (8,))  # imports everything
    models = [Sequential([Dense(8) for _ in range(n)]) for n in (length, 2 * length)]
    shorter, longer = (_seconds(lambda model=model: check_layer(model, (8,))) for model in models)
    return shorter, longer


def import_times(rounds: int) -> dict[str, list[float]]:
    """Seconds for each import, one number per round."""
    times: dict[str, list[float]] = {name: [] for name in IMPORTS}
    with tempfile.TemporaryDirectory() as compiled:
        environment = {**os.environ, "PYTHONPYCACHEPREFIX": compiled}
        environment.pop("PYTHONDONTWRITEBYTECODE", None)  # would compile everything each time
        for line in IMPORTS.values():
            _import_time(line, environment)  # compiles, and fills the caches
        for _ in range(rounds):
            for name, line in IMPORTS.items():
                times[name].append(_import_time(line, environment))
    return times


def import_ratio(times: dict[str, list[float]], name: str) -> Quartiles:
    return Quartiles.of(np.divide(times[name], times[NUMPY]))


def _import_time(line: str, environment: dict[str, str]) -> float:
    program = f"import time; t = time.perf_counter(); {line}; print(time.perf_counter() - t)"
    finished = subprocess.run(
        [sys.executable, "-c", program],
        check=True,
        capture_output=True,
        text=True,
        env=environment,
    )
    return float(finished.stdout)
