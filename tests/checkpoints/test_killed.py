"""A run that is killed at any moment resumes to the numbers of an undisturbed run."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import IO

import pytest

from chainrule import checkpoints

PROGRAM = Path(__file__).with_name("run_to_kill.py")
STEPS = 40 * 13  # epochs, and steps in each
EVERY_STEPS = 9
KILLS = 12


def started(folder: Path) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "PYTHONWARNINGS": "error"}
    return subprocess.Popen(
        [sys.executable, str(PROGRAM), str(folder)], stdout=subprocess.PIPE, env=environment
    )


def output(process: subprocess.Popen[bytes]) -> IO[bytes]:
    assert process.stdout is not None
    return process.stdout


def steps_until(process: subprocess.Popen[bytes], wanted: int) -> int:
    """Read the output until the program has taken that many steps; returns the last one."""
    step = 0
    for line in output(process):
        assert not line.startswith(b"end"), "it came to its end before it was killed"
        step = int(line)
        if step >= wanted:
            break
    return step


def end_of(process: subprocess.Popen[bytes]) -> str:
    with process:
        *_, last = output(process).read().decode().splitlines()
    assert process.returncode == 0
    assert last.startswith("end ")
    return last


@pytest.fixture(scope="module")
def left_alone(tmp_path_factory: pytest.TempPathFactory) -> str:
    return end_of(started(tmp_path_factory.mktemp("alone")))


def kill(process: subprocess.Popen[bytes], steps: int) -> int:
    """Kill it, and return the last step that it printed."""
    process.send_signal(signal.SIGKILL)
    with process:
        rest = output(process).read().split(b"\n")[:-1]  # the last may be half a line
    assert process.returncode == -signal.SIGKILL
    return int(rest[-1]) if rest else steps


def require_sound(folder: Path, steps: int) -> None:
    """Every file is intact, and nothing is lost except the steps after the last one."""
    found = checkpoints.found_in(folder)
    for number, path in found:
        assert checkpoints.read(path).record["position"]["steps"] == number
    assert len(found) <= 4  # one more may be there when the oldest was not yet removed
    assert steps - found[0][0] <= EVERY_STEPS


def test_a_run_that_is_killed_twelve_times_ends_as_if_it_had_been_left_alone(tmp_path, left_alone):
    draw = random.Random()  # other moments in every run of the tests
    begins_at = caught_writing = 0
    for kills in range(KILLS):
        process = started(tmp_path)
        last = begins_at + draw.randint(1, 2 * (STEPS - 60 - begins_at) // (KILLS - kills + 2) + 1)
        steps = steps_until(process, min(last, STEPS - 60))
        if kills % 2:  # in the middle of a write, if one comes in time
            end = time.monotonic() + 0.05
            while time.monotonic() < end and not any(tmp_path.glob("*.partial")):
                pass
        else:
            time.sleep(draw.uniform(0, 0.002))
        steps = kill(process, steps)
        caught_writing += any(tmp_path.glob("*.partial"))
        require_sound(tmp_path, steps)
        begins_at = checkpoints.found_in(tmp_path)[0][0]
    assert caught_writing
    assert end_of(started(tmp_path)) == left_alone
    assert not any(tmp_path.glob("*.partial"))


def test_a_finished_run_prints_the_same_again(tmp_path, left_alone):
    assert end_of(started(tmp_path)) == left_alone
    again = started(tmp_path)
    assert end_of(again) == left_alone
