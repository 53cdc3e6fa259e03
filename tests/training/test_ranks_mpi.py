"""Several ranks that train one model, as processes of MPI: two and four."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from ast import literal_eval
from pathlib import Path

import numpy as np
import pytest

pytestmark = pytest.mark.edges

PROGRAMS = Path(__file__).parent / "mpi_programs"
MPIEXEC = Path(sys.executable).with_name("mpiexec")
LIMIT = 120
"""Seconds after which a program has hung."""


def run(program, ranks, *arguments, check=True):
    """What a program writes on rank 0, started as in the documentation."""
    tests = PROGRAMS.parents[1]
    path = os.pathsep.join([str(tests), *filter(None, [os.environ.get("PYTHONPATH")])])
    started = [MPIEXEC, "-n", str(ranks), sys.executable, "-m", "mpi4py"]
    done = subprocess.run(
        [*started, str(PROGRAMS / f"{program}.py"), *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": path, "OPENBLAS_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=LIMIT,
        check=False,
    )
    assert not check or done.returncode == 0, done.stderr[-3000:]
    return done.stdout if check else done


@pytest.mark.parametrize("ranks", [2, 4])
def test_the_numbers_are_those_of_one_process_and_repeat(ranks):
    found = json.loads(run("as_one_process", ranks))
    for name, case in found["cases"].items():
        assert case["difference"] < 1e-11, name
        assert case["all equal"] and case["repeats"], name
    assert found["bits of accumulate=2"] or ranks != 2


@pytest.mark.parametrize("ranks", [2, 4])
def test_an_error_on_one_rank_is_a_named_error_on_all(ranks):
    of_ranks = json.loads(run("failures", ranks))
    for rank, found in enumerate(of_ranks):
        kinds = {"KeyError": "KeyError" if rank == 1 else "RankError"}
        kinds |= {"NaN": "NonFiniteError", "KeyboardInterrupt": "KeyboardInterrupt"}
        for how, kind in kinds.items():
            text, steps, total = found[how]
            assert text.startswith(kind) and f"rank 1 of {ranks}" in text
            assert (steps, total) == tuple(of_ranks[0][how][1:])
        assert "x: 40 of (5,)" in found["lengths"][0] and "RankError" in found["lengths"][0]
        assert found["after all"] == of_ranks[0]["after all"]
        assert found["after all"][:2] == ["NoneType: None", 10]


def test_ctrl_c_on_one_rank_stops_all_after_the_same_step():
    assert literal_eval(run("stopping", 2, "once")) == [("Ctrl-C", None, 6)] * 2


def test_a_second_ctrl_c_stops_all_at_once():
    found = literal_eval(run("stopping", 2, "twice"))
    assert {interrupted for _, interrupted, _ in found} == {"KeyboardInterrupt"}


def test_if_one_rank_is_killed_all_end():
    done = run("stopping", 2, "killed", check=False)
    assert done.returncode != 0 and not done.stdout.startswith("[")


@pytest.mark.parametrize(
    ("before", "after", "model"), [(2, 2, "noise"), (2, 4, "dense"), (4, 1, "dense")]
)
def test_a_run_resumes_on_any_number_of_ranks(before, after, model, tmp_path):
    whole = result(before, tmp_path / "a", 3, model)
    result(before, tmp_path / "b", 2, model)
    last = max((tmp_path / "b").glob("step*"))
    last.unlink()  # the one before is in the middle of an epoch
    resumed = result(after, tmp_path / "b", 3, model)
    if before == after:
        assert all(np.array_equal(whole[name], resumed[name]) for name in ("theta", "history"))
    for name in ("theta", "history"):
        np.testing.assert_allclose(resumed[name], whole[name], rtol=1e-11, atol=1e-12)


def result(ranks, folder, epochs, model):
    path = folder.with_suffix(".npz")
    run("resuming", ranks, folder, epochs, model, path)
    with np.load(path) as found:
        return {name: found[name] for name in found}
