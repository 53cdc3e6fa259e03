"""The benchmark: its contenders take the same step, and its tables say what was measured."""

from __future__ import annotations

import io
import os
import time
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from benchmarks import __main__ as command
from benchmarks import (
    contenders,
    fits,
    graphs,
    layers,
    machine,
    optimizers,
    overheads,
    ranks,
    report,
    training,
)
from benchmarks import race as races
from benchmarks.for_speed_alone import PIECE
from benchmarks.quartiles import Quartiles
from benchmarks.race import ANSWERS, DisagreementError, Length, Result, race, require_agreement
from benchmarks.workloads import LEARNING_RATE, WORKLOADS, Problem, Workload
from rich.console import Console

SMALL = Workload("small", (3, 5, 4, 2), 7, {"by hand": 1.1})
NETWORKS = [
    SMALL,
    Workload("one layer", (4, 3), 5, {}),
    Workload("one neuron", (3, 1), 2, {}),
    Workload("narrow", (2, 1, 3, 1), 1, {}),
    Workload("more than a piece", (70, 500, 2), 3, {}),
]


def outcome(name: str, network: Workload, dtype: str) -> tuple[list[float], Any]:
    contender = contenders.make(
        name, Problem.of(network.widths, network.batch, dtype, scale=network.scale)
    )
    return [contender.step() for _ in range(8)], contender.flat_parameters()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("network", NETWORKS, ids=lambda network: network.name)
def test_contenders_of_numpy_come_to_the_same_parameters(network: Workload, dtype: str) -> None:
    outcomes = {name: outcome(name, network, dtype) for name in contenders.REQUIRED}
    require_agreement(outcomes, dtype)
    assert {len(costs) for costs, _ in outcomes.values()} == {8}
    assert {parameters.dtype.name for _, parameters in outcomes.values()} == {dtype}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_chain_as_a_graph_comes_to_the_same_parameters(dtype: str) -> None:
    names = ["chainrule", contenders.GRAPH]
    require_agreement({name: outcome(name, SMALL, dtype) for name in names}, dtype)


@pytest.mark.peers
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_residual_network_of_pytorch_comes_to_the_same_parameters(dtype: str) -> None:
    small = Workload("residual", (6,) * 5, 7, {}, scale=0.3)
    names = [contenders.RESIDUAL, contenders.RESIDUAL_PEER]
    require_agreement({name: outcome(name, small, dtype) for name in names}, dtype)


def test_the_time_of_a_node_is_taken_for_every_length() -> None:
    built, stepped = graphs._build_and_step(10)
    assert built > 0 and stepped > 0


def test_one_network_is_larger_than_the_pieces_by_hand() -> None:
    widths = NETWORKS[-1].widths
    assert sum(n * m + m for n, m in pairwise(widths)) > PIECE


@pytest.mark.peers
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_pytorch_comes_to_the_same_parameters(dtype: str) -> None:
    names = ["by hand", "PyTorch"]
    require_agreement({name: outcome(name, SMALL, dtype) for name in names}, dtype)


def test_a_step_is_the_one_of_the_formula() -> None:
    problem = Problem.of((3, 2), 4, "float64")
    contender = contenders.make("by hand", problem)
    (w,), (b,) = problem.weights, problem.biases
    x, t = problem.inputs, problem.targets

    def cost_at(w: Any, b: Any) -> Any:
        y = 1 / (1 + np.exp(-(x @ w + b)))
        return 0.5 * ((y - t) ** 2).sum(axis=1).mean()

    assert contender.step() == pytest.approx(cost_at(w, b), abs=1e-14)
    moved = contender.flat_parameters() - problem.start()
    for place, index in ((0, (0, 0)), (5, (2, 1))):
        shift = np.zeros_like(w)
        shift[index] = 1e-6
        slope = (cost_at(w + shift, b) - cost_at(w - shift, b)) / 2e-6
        assert moved[place] == pytest.approx(-LEARNING_RATE * slope, abs=1e-10)
    shift = np.array([0.0, 1e-6])
    slope = (cost_at(w, b + shift) - cost_at(w, b - shift)) / 2e-6
    assert moved[7] == pytest.approx(-LEARNING_RATE * slope, abs=1e-10)


@pytest.mark.parametrize("wrong", [1e-9, np.nan])
def test_a_contender_that_goes_elsewhere_is_named(wrong: float) -> None:
    costs, parameters = outcome("by hand", SMALL, "float64")
    elsewhere = parameters.copy()
    elsewhere[3] += wrong
    with pytest.raises(DisagreementError, match=r"'lecture' is .* away from 'by hand'"):
        require_agreement(
            {"by hand": (costs, parameters), "lecture": (costs, elsewhere)}, "float64"
        )
    with pytest.raises(DisagreementError, match="lecture"):
        worse = [*costs[:-1], costs[-1] + wrong]
        require_agreement(
            {"by hand": (costs, parameters), "lecture": (worse, parameters)}, "float64"
        )


def test_the_race_gives_everyone_the_same_number_of_turns() -> None:
    starts: list[None] = []
    length = Length(starts=2, seconds=0.0, fewest=3, block=0.001, rest=0.0)
    result = race(SMALL, "float32", ["chainrule", "by hand"], length, lambda: starts.append(None))
    assert len(starts) == 2
    turns = {name: len(seconds) for name, seconds in result.seconds.items()}
    assert turns == {"chainrule": 6, "by hand": 6}
    assert all(s > 0 for seconds in result.seconds.values() for s in seconds)


def test_what_fails_in_a_contender_says_in_which() -> None:
    impossible = Workload("impossible", (3,), 2, {})
    with pytest.raises(Exception) as caught:
        race(impossible, "float32", ["by hand"], Length(1, 0.0, fewest=1, block=0.001, rest=0.0))
    assert any("by hand" in note for note in caught.value.__notes__)


def measured() -> report.Measured:
    seconds = {"chainrule": [3e-6, 2e-6, 9e-6], "by hand": [2e-6, 2e-6, 3e-6], "JAX": [1e-3] * 3}
    return report.Measured(
        machine={"processor": "an abacus"},
        results=[Result(SMALL, "float32", seconds, {"chainrule": [5e-6, 4e-6, 6e-6]})],
        trainer={"float32": Quartiles(1e-6, 16e-6, 17e-6)},
        imports={
            "numpy": [0.1, 0.1],
            "`import chainrule`": [0.12, 0.12],
            "the usual first line of a program": [0.2, 0.2],
        },
        jacobian=Quartiles(2e-3, 3e-3, 4e-3),
    )


def test_a_check_of_twice_as_many_layers_has_its_row() -> None:
    text = report.as_markdown(report.Measured({}, [], {}, measured().imports, check=(10.0, 21.0)))
    assert "| `check_layer` (10.0 s),<br>of twice as many layers | 2.10 ≤ 2.30 ✓" in text
    assert len(overheads.check_times(1)) == 2


def test_the_gradients_of_rows_are_compared_with_a_loop() -> None:
    found = overheads.rows_time(1)
    text = report.as_markdown(report.Measured({}, [], {}, measured().imports, rows=found))
    assert "gradients of 400 rows" in text
    assert "a loop of 400 calls for one row each" in text


def test_fits_have_a_row_for_each_problem_and_a_bound_for_all_together() -> None:
    found = fits.measure(1)
    assert list(found) == [*fits.PROBLEMS, fits.TOGETHER]
    text = report.as_markdown(report.Measured({}, [], {}, measured().imports, fits=found))
    assert "fit of NIST problems, all together, divided by SciPy" in text
    assert "≤ 1.50" in text


def test_ratios_are_taken_round_by_round() -> None:
    assert measured().results[0].ratio("by hand") == Quartiles(1.25, 1.5, 2.25)
    assert measured().results[0].median("chainrule") == 3e-6


def test_the_table_shows_bounds_beside_what_was_measured() -> None:
    text = report.as_markdown(measured())
    assert "1.50 ≤ 1.10 ✗<br>1.25–2.25" in text
    assert "Time of the bare step, divided by that of …; one thread" in text
    assert "16.0 ≤ 15.0 ✗<br>1.0–17.0" in text
    assert "1.20 ≤ 1.50 ✓" in text
    assert "321 parameters, milliseconds | 3.0<br>2.0–4.0 |" in text
    assert "| small<br>float32 | 3.0<br>5.0 | 2.0 | 1,000 |" in text  # below: of the processor
    assert "| processor | an abacus |" in text


def test_the_terminal_shows_the_same_words() -> None:
    console = Console(width=100, file=io.StringIO(), color_system=None)
    report.show(measured(), console)
    text = console.file.getvalue()
    for words in ("an abacus", "1.50 ≤ 1.10 ✗", "1.20 ≤ 1.50 ✓", "[3, 5, 4, 2]"):
        assert words in text


def test_the_page_gets_new_tables_in_place_of_the_old(tmp_path: Path) -> None:
    page = tmp_path / "benchmarks.md"
    page.write_text(f"before\n{report.BEGIN}\nold\n{report.END}\nafter\n", encoding="utf-8")
    report.write(measured(), page)
    once = page.read_text(encoding="utf-8")
    assert once.startswith("before\n") and once.endswith("\nafter\n")
    assert "old" not in once and "an abacus" in once
    report.write(measured(), page)
    assert page.read_text(encoding="utf-8") == once


@pytest.mark.parametrize(("arguments", "writes"), [([], True), (["--fast"], False)])
def test_only_a_whole_run_without_the_extra_writes_the_page(
    arguments: list[str], writes: bool
) -> None:
    assert command._options(arguments).is_whole is writes
    assert not command._options([*arguments, "--quick"]).is_whole


@pytest.mark.parametrize("text", ["", report.BEGIN, report.END, f"{report.END} {report.BEGIN}"])
def test_a_page_without_a_place_for_the_tables_is_left_alone(tmp_path: Path, text: str) -> None:
    page = tmp_path / "benchmarks.md"
    page.write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match="no markers for the tables"):
        report.write(measured(), page)
    assert page.read_text(encoding="utf-8") == text


def test_the_page_of_the_site_has_a_place_for_the_tables() -> None:
    page = Path(__file__).parent.parent / "docs" / "benchmarks.md"
    before, begin, rest = page.read_text(encoding="utf-8").partition(report.BEGIN)
    assert begin and report.END in rest and "# Benchmarks" in before


def test_the_networks_and_bounds_are_those_that_were_promised() -> None:
    promised = {
        "tiny": ((2, 30, 20, 1), 100, 1.5),
        "lecture": ((2, 150, 150, 100, 1), 200, 1.1),
        "mnist": ((784, 256, 128, 10), 128, 1.1),
        "wide": ((784, 1024, 1024, 10), 256, 1.1),
    }
    assert {w.name: (w.widths, w.batch, w.bounds["by hand"]) for w in WORKLOADS} == promised


def test_the_bounds_of_fit_are_those_that_were_promised() -> None:
    limit, loop = contenders.LIMIT, contenders.FIT_PEER
    columns = [("SGD", limit, "float32"), ("SGD", loop, "float32"), ("SGD", loop, "float64")]
    columns.append(("Adam", contenders.FIT_FUSED, "float32"))

    def table(bounds: training.Bounds) -> dict[str, list[float | None]]:
        names = [w.name for w in WORKLOADS]
        assert list(bounds) == [*names, "epoch"]
        return {name: [bounds[name].get(column) for column in columns] for name in names}

    assert table(training.BOUNDS) == {
        "tiny": [1.6, 0.15, 0.18, 0.20],
        "lecture": [1.15, 0.58, 0.85, 0.68],
        "mnist": [1.12, 0.72, 0.92, 0.95],
        "wide": [1.10, 1.05, 1.0, 1.25],
    }
    assert table(training.FAST_BOUNDS) == {
        "tiny": [None, 0.12, 0.15, 0.15],
        "lecture": [None, 0.48, 0.65, 0.50],
        "mnist": [None, 0.60, 0.70, 0.65],
        "wide": [None, 0.92, 0.90, 1.05],
    }
    epoch = ("Adam", loop, "float32")
    assert training.BOUNDS["epoch"] == {epoch: 0.75}
    assert training.FAST_BOUNDS["epoch"] == {epoch: 0.55}
    assert training.THREADS_BOUND == 1.1


# ----------------------------------------------------------------------- the step in `fit`


def in_fit(dtype: str = "float32", threads: int = 1, **times: Any) -> Result:
    """Made-up seconds of the tiny network; a CPU works all the time, unless a share is given."""
    share, others = times.pop("share", 1.0), times.pop("others", 0.0)
    names = ["chainrule", contenders.FIT, contenders.LIMIT, "PyTorch", contenders.FIT_PEER]
    micro = (60, times.get("fit", 80), times.get("limit", 50), 300, 500)
    seconds = {name: [1e-6 * each] * 3 for name, each in zip(names, micro, strict=True)}
    processor = {name: [share * each for each in own] for name, own in seconds.items()}
    return Result(WORKLOADS[0], dtype, seconds, processor, threads, [others])


def shown(*results: Result, adam: list[Result] | None = None, **machine: str) -> str:
    imports = measured().imports
    return report.as_markdown(report.Measured(machine, list(results), {}, imports, adam=adam))


def test_the_bare_step_and_that_of_fit_are_both_divided_by_the_limit_and_by_pytorch() -> None:
    text = shown(in_fit())
    assert "| the step /<br>the limit | `fit` /<br>the limit | the step /<br>PyTorch |" in text
    row = ["1.20<br>1.20–1.20", "1.60 ≤ 1.60 ✓<br>1.60–1.60", "0.20<br>0.20–0.20"]
    assert f"| tiny<br>float32 | {' | '.join(row)} | 0.16 ≤ 0.15 ✗<br>0.16–0.16 |" in text
    assert "busy" not in text


def test_float64_has_its_own_bounds_and_none_for_the_limit() -> None:
    text = shown(in_fit("float64"))
    assert "| 1.60<br>1.60–1.60 |" in text and "0.16 ≤ 0.18 ✓" in text


def test_with_the_extra_the_stricter_bounds_are_shown_too() -> None:
    text = shown(in_fit(fit=65), fast="on, numba 0.61")
    assert "0.13 ≤ 0.15 ✓, ≤ 0.12 ✗<br>" in text
    assert "1.30 ≤ 1.60 ✓<br>" in text
    assert "0.12" not in shown(in_fit(fit=65), fast="off, numba is not installed")


@pytest.mark.parametrize(
    ("busy", "reason"),
    [
        (in_fit(others=0.43), "(other processes used 43% of the CPUs)"),
        (in_fit(share=0.62), "('chainrule' had a CPU for 62% of the time only)"),
    ],
)
def test_on_a_busy_machine_nothing_is_judged(busy: Result, reason: str) -> None:
    text = shown(busy, in_fit("float64"))
    said = f"The machine was busy, so these are not judged: tiny float32, one thread {reason}."
    assert text.count(said) >= 1
    table = text.split("bare and in `fit`")[1].split("**")[1]
    rows = {line.split(" | ")[0]: line for line in table.splitlines() if line.startswith("| tiny")}
    assert not {*"≤✓✗"} & {*rows["| tiny<br>float32"]}
    assert "0.16 ≤ 0.18 ✓" in rows["| tiny<br>float64"]  # this race had the CPU


def test_what_is_quiet_is_judged_at_the_edge() -> None:
    assert not in_fit(others=machine.BUSY, share=races.LEAST_SHARE).disturbance
    assert not in_fit(threads=2, share=0.5).disturbance  # threads wait for each other
    result = in_fit()
    result.seconds["JAX"], result.processor["JAX"] = [2e-6], [1e-6]
    assert not result.disturbance


def test_the_other_measurements_are_not_judged_on_a_busy_machine_either() -> None:
    found = measured()
    assert "16.0 ≤ 15.0 ✗" in report.as_markdown(found)
    text = report.as_markdown(replace(found, others=0.25))
    assert "16.0<br>1.0–17.0" in text and "| 1.20<br>1.20–1.20 |" in text
    said = "The machine was busy, so nothing is judged: other processes used 25% of it."
    assert said in text
    console = Console(width=100, file=io.StringIO(), color_system=None)
    report.show(replace(found, others=0.25), console)
    assert said in console.file.getvalue()


def test_threads_gain_fit_about_what_they_gain_the_limit() -> None:
    text = shown(in_fit(), in_fit(threads=2, fit=60, limit=40))
    assert "Time of a step with 2 threads, divided by that with one" in text
    assert "| tiny<br>float32 | 0.75 | 0.80 | 0.94 ≤ 1.10 ✓<br>0.94–0.94 |" in text
    text = shown(in_fit(), in_fit(threads=2, fit=80, limit=40))
    assert "| 1.00 | 0.80 | 1.25 ≤ 1.10 ✗<br>" in text
    assert "1.60 ≤ 1.60 ✓" in text and "2.00 ≤ 1.60" not in text  # a bound for one thread
    text = shown(in_fit(), in_fit(threads=2, fit=80, limit=40, others=0.2))
    assert "| 1.00 | 0.80 | 1.25<br>" in text and "tiny float32, 2 threads (other" in text
    assert "divided by that with one" not in shown(in_fit())


def test_fit_with_adam_is_judged_by_the_fused_loop() -> None:
    names = [contenders.FIT, contenders.FIT_PEER, contenders.FIT_FUSED]
    seconds = {n: [1e-6 * each] for n, each in zip(names, (90, 600, 400), strict=True)}
    result = Result(training.ADAM[0], "float32", seconds, seconds)
    text = shown(adam=[result])
    assert "| vs. a loop in PyTorch | 0.15<br>0.15–0.15 | 90.0 and 600<br>90.0 and 600 |" in text
    assert "| vs. a loop in PyTorch, fused | 0.23 ≤ 0.20 ✗<br>" in text
    assert "0.23 ≤ 0.20 ✗, ≤ 0.15 ✗" in shown(adam=[result], fast="on")


def test_an_epoch_of_fit_has_different_rows_and_takes_the_same_first_steps() -> None:
    small = replace(SMALL, steps=3)
    problem = small.problem("float64")
    inputs, targets = problem.epoch()
    assert (len(inputs), len(targets)) == (21, 21)
    assert len(np.unique(inputs, axis=0)) == 21
    both = [contenders.make(name, problem) for name in ("by hand", contenders.FIT)]
    outcomes = {type(c).__name__: (ANSWERS["agree"](c)) for c in both}
    require_agreement(outcomes, "float64")
    both[1].step()
    assert both[1].trainer.run.steps == 3  # type: ignore[attr-defined]


def test_a_time_is_that_of_a_single_step_however_many_an_epoch_has() -> None:
    class Epoch:
        steps = 50

        def step(self) -> float:
            end = time.perf_counter() + 0.01
            while time.perf_counter() < end:
                pass
            return 0.0

    assert 2e-4 <= ANSWERS["run"](Epoch(), 2)[0] < 1e-3
    assert ANSWERS["calibrate"](Epoch(), 0.005) == 1


# ---------------------------------------------------------------------------- the machine


def test_time_in_which_a_cpu_worked_is_read_from_the_counters(tmp_path: Path) -> None:
    counters = tmp_path / "stat"
    counters.write_text(
        "cpu 100 0 0 900 50 0 0 0 0 0\n"
        "cpu0 10 20 30 999 999 1 2 3 7 7\n"
        "cpu1 4 0 0 999 999 0 0 0 4 4\n"
        "intr 5\n"
    )
    second = os.sysconf("SC_CLK_TCK")
    assert machine.worked([0], counters) == 66 / second
    assert machine.worked([0, 1], counters) == 70 / second
    assert machine.worked([], counters) == 100 / second
    assert machine.worked([0], tmp_path / "missing") is None


def test_the_work_of_others_is_what_the_measured_processes_did_not_do(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = iter([10.0, 14.0])
    counted = iter([100.0, 106.0])
    used = iter([50.0, 53.0])
    monkeypatch.setattr(machine.time, "monotonic", lambda: next(clock))
    monkeypatch.setattr(machine, "worked", lambda cpus: next(counted))
    others = machine.Others([2, 3], lambda: next(used))
    assert others.share() == (6 - 3) / 4 / 2
    monkeypatch.setattr(machine.time, "monotonic", lambda: 1.0)
    monkeypatch.setattr(machine, "worked", lambda cpus: None)
    assert machine.Others([], lambda: 0.0).share() == 0.0


def test_processes_are_pinned_to_as_many_cpus_as_they_have_threads() -> None:
    before = machine.cpus_for(1000)
    with machine.pinned(machine.cpus_for(1)):
        assert machine.cpus_for(1000) == before[-1:]
    assert machine.cpus_for(1000) == before
    with races.one_thread():
        assert races.threads() == 1
        with races.Runners(SMALL, "float32", ["by hand"]) as runners:
            assert runners.cpus == before[-1:]
            if before:
                (process,) = runners._processes
                assert sorted(os.sched_getaffinity(process.pid)) == runners.cpus


def test_the_extra_is_off_where_the_package_does_not_know_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import chainrule

    monkeypatch.delattr(chainrule, "show_config", raising=False)
    monkeypatch.setattr(chainrule, "__getattr__", _missing, raising=False)
    assert machine._fast() == "off"
    said = "chainrule 1\nBLAS: x\nfast: on, numba 0.61\n      MKL 2025"
    monkeypatch.setattr(chainrule, "show_config", lambda: print(said), raising=False)
    assert machine._fast() == "on, numba 0.61; MKL 2025"


def _missing(name: str) -> Any:
    raise AttributeError(name)


def test_the_bounds_for_graphs_are_those_that_were_promised() -> None:
    promised = {w.name: (w.widths, w.bounds) for w in (*graphs.CHAINS, graphs.RESIDUAL)}
    assert promised == {
        "tiny": ((2, 30, 20, 1), {"chainrule": 1.1}),
        "wide": ((784, 1024, 1024, 10), {"chainrule": 1.02}),
        "residual": ((64,) * 21, {contenders.RESIDUAL_PEER: 0.6}),
    }


@pytest.mark.peers
def test_adam_of_pytorch_comes_to_the_same_parameters_fused_or_not() -> None:
    names = [contenders.ADAM, contenders.ADAM_PEER, contenders.ADAM_FUSED]
    for dtype in ("float32", "float64"):
        require_agreement({name: outcome(name, SMALL, dtype) for name in names}, dtype)


def test_the_vector_of_adam_and_its_bound_are_those_that_were_promised() -> None:
    workload = optimizers.TEN_MILLION
    assert sum(n * m + m for n, m in pairwise(workload.widths)) == 10_000_000
    assert (optimizers.DTYPE, workload.bounds) == ("float32", {contenders.ADAM_PEER: 0.8})


def test_the_table_of_adam_has_a_bound_beside_the_default_and_none_beside_the_fused() -> None:
    names = [contenders.ADAM, contenders.ADAM_PEER, contenders.ADAM_FUSED]
    seconds = dict(zip(names, ([0.03, 0.02], [0.04, 0.04], [0.02, 0.02]), strict=True))
    result = Result(optimizers.TEN_MILLION, "float32", seconds)
    text = report.as_markdown(report.Measured({}, [], {}, measured().imports, optimizers=[result]))
    assert "| vs. Adam in PyTorch | 10,000,000<br>float32 | 0.62 ≤ 0.80 ✓<br>0.56–0.69 |" in text
    assert "| vs. Adam in PyTorch, fused | 10,000,000<br>float32 | 1.25<br>1.12–1.38 |" in text
    assert "25,000 and 40,000" in text


@pytest.mark.peers
def test_an_epoch_of_fit_and_the_loop_in_pytorch_take_the_same_steps() -> None:
    for workload in (
        replace(training.EPOCH, widths=(7, 5, 3), steps=2),
        *(replace(w, steps=2) for w in (*WORKLOADS[:2], *training.ADAM[:2])),
    ):
        both = contenders.in_fit(fused=workload.optimizer == "Adam")
        assert len(both) == 2 + (workload.optimizer == "Adam")
        runners = {name: contenders.make(name, workload.problem("float32")) for name in both}
        require_agreement({n: ANSWERS["agree"](c) for n, c in runners.items()}, "float32")
        assert all(np.isfinite(c.step()) for c in runners.values())


def test_the_epoch_and_its_bound_are_those_that_were_promised() -> None:
    epoch = training.EPOCH
    assert (epoch.widths, epoch.batch, epoch.steps) == ((784, 256, 128, 10), 128, 469)
    assert (epoch.optimizer, epoch.rate, epoch.labels) == ("Adam", 1e-3, True)


def test_a_training_without_end_is_looked_at_after_each_of_its_epochs() -> None:
    endless = training.go_on(3, 20)
    assert endless.steps == 60
    assert len(endless.seconds) == len(endless.memory) == 3 and min(endless.seconds) > 0


def test_the_tables_of_a_whole_training_say_the_ratio_and_what_grows() -> None:
    epochs = {contenders.FIT: np.array([0.6, 0.8]), contenders.FIT_PEER: np.array([1.0, 1.0])}
    seconds = {name: [*(each / training.EPOCH.steps)] for name, each in epochs.items()}
    found = training.Measured(
        [Result(training.EPOCH, "float32", seconds)],
        training.Endless(200, [5e-5, 6e-5], [10_000_000, 10_100_000]),
    )
    text = report.as_markdown(report.Measured({}, [], {}, measured().imports, training=found))
    assert "| 0.70 ≤ 0.75 ✓<br>0.65–0.75 | 0.70 and 1.00 |" in text
    assert "60,032 samples" in text
    assert "| 100 | 50.0 | 10.0 |" in text and "| 200 | 60.0 | 10.1 |" in text


@pytest.mark.peers
@pytest.mark.parametrize("contest", layers.CONTESTS, ids=lambda contest: contest.name)
def test_a_layer_and_that_of_pytorch_compute_the_same(contest: layers.Contest) -> None:
    """On small rows, in float64: the output, the delta of the input and every gradient."""
    small = replace(
        contest, shape=(2, *(min(n, 8) for n in contest.shape[1:-1]), contest.shape[-1])
    )
    names = [contenders.LAYER, contenders.LAYER_PEER]
    outcomes = {}
    for name in names:
        contender = contenders.make(name, small.problem("float64"))
        outcomes[name] = ANSWERS["agree"](contender)
    require_agreement(outcomes, "float64")


def test_the_bounds_of_layers_are_those_that_were_promised() -> None:
    convolutions = dict.fromkeys([(32, 28, 28, 16), (32, 16, 16, 32), (32, 8, 8, 64)], 1.5)
    found = {c.shape: c.bound for c in layers.CONTESTS if isinstance(c, layers.Convolution)}
    assert found == convolutions
    fast = {(type(c).__name__, getattr(c, "kind", ""), c.fast) for c in layers.CONTESTS if c.fast}
    assert fast == {("Convolution", "", 1.1), ("Recurrence", "LSTM", 1.3)}
    others = [(c.name, c.bound) for c in layers.CONTESTS if not isinstance(c, layers.Convolution)]
    assert dict(others) == {
        "step of a CNN with Adam": 1.2,
        "LSTM, 64 units": 1.4,
        "LSTM, 128 units": 1.4,
        "GRU, 64 units": 0.7,
        "attention, 4 heads": 1.05,
        "MaxPool 2 × 2": 0.6,
        "AveragePool 2 × 2": 0.6,
        "BatchNorm": 1.2,
        "LayerNorm": 1.5,
        "Scan over a user's cell": 3.0,
        "residual of Burgers' equation, 3 × 64 tanh": 2.0,
        "Hamiltonian, 3 × 64 tanh": 2.0,
    }


def test_the_table_of_layers_has_the_ratio_and_both_times() -> None:
    names = [contenders.LAYER, contenders.LAYER_PEER]
    seconds = dict(zip(names, ([2e-3, 2e-3], [4e-3, 4e-3]), strict=True))
    processor = dict(zip(names, ([3e-3, 3e-3], [5e-3, 5e-3]), strict=True))
    result = Result(layers.CONTESTS[0], "float32", seconds, processor)
    text = report.as_markdown(report.Measured({}, [], {}, measured().imports, layers=[result]))
    row = "32 × 28 × 28 × 16 | 0.50 ≤ 1.50 ✓<br>0.50–0.50 | 2,000 and 4,000<br>3,000 and 5,000 |"
    assert row in text
    fast = report.Measured({"fast": "on"}, [], {}, measured().imports, layers=[result])
    assert "0.50 ≤ 1.50 ✓, ≤ 1.10 ✓" in report.as_markdown(fast)


def test_the_tables_of_graphs_have_a_row_for_each_race_and_each_length() -> None:
    def result(workload: Workload, *names: str) -> Result:
        return Result(workload, "float32", {name: [2e-3, 1e-3] for name in names})

    chains = [result(w, contenders.GRAPH, "chainrule") for w in graphs.CHAINS]
    residual = [result(graphs.RESIDUAL, contenders.RESIDUAL, contenders.RESIDUAL_PEER)]
    growth = graphs.Growth({10: 1e-4, 100: 1e-4}, {10: 5e-6, 100: 6e-6})
    text = report.as_markdown(
        report.Measured({}, [], {}, measured().imports, graphs.Measured(chains, residual, growth))
    )
    assert "1.000 ≤ 1.020 ✓" in text and "1.000 ≤ 0.600 ✗" in text
    assert "| 100 | 100 | 6.0 |" in text


def test_the_network_on_two_ranks_and_its_bound_are_those_that_were_promised() -> None:
    assert sum(n * m + m for n, m in pairwise(ranks.WIDTHS)) == 2_001_174
    assert (ranks.BATCH, ranks.RANKS, 1 / ranks.BOUND) == (1024, 2, 1.6)


def test_the_table_of_two_ranks_divides_the_times_of_each_round() -> None:
    found = ranks.Measured([0.2, 0.3, 0.2], [0.1, 0.18, 0.15], [0.004, 0.005, 0.006])
    text = report.as_markdown(report.Measured({}, [], {}, measured().imports, ranks=found))
    assert "| 0.600 ≤ 0.625 ✓<br>0.550–0.675 | 150.0 | 200.0 | 5.0 |" in text
    busy = report.Measured({}, [], {}, measured().imports, ranks=found, others=0.5)
    assert "| 0.600<br>0.550–0.675 |" in report.as_markdown(busy)


@pytest.mark.edges
def test_two_ranks_and_one_process_are_timed() -> None:
    found = ranks.measure(rounds=1, epochs=1)
    assert found is not None and len(found.ratios) == 1
    assert found.ratios[0] > 0 and found.exchange[0] > 0
