"""The example keeps its promise: however often it is killed, it ends with the same digits."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

EXAMPLE = Path(__file__).parents[2] / "examples" / "long_run.py"


def test_a_stranger_kills_it_and_starts_it_again_and_gets_the_same_digits(tmp_path):
    def start(folder):
        command = [sys.executable, str(EXAMPLE), "--epochs", "4", "--output", str(folder)]
        environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}
        return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)

    def last_lines(process):
        out, _ = process.communicate()
        assert process.returncode == 0
        return out.splitlines()[-4:]

    alone = last_lines(start(tmp_path / "alone"))
    killed = tmp_path / "killed"
    for seen in (1, 2, 3):  # when so many checkpoints were seen: in the middle of the run
        process = start(killed)
        while process.poll() is None and len(list(killed.glob("long_run*/step-*"))) < seen:
            time.sleep(0.001)
        with process:
            process.send_signal(signal.SIGKILL)
        assert process.returncode == -signal.SIGKILL
    assert last_lines(start(killed)) == alone
    assert alone[-1].startswith("the parameters")


def test_ctrl_c_is_answered_with_how_to_continue(tmp_path):
    command = [sys.executable, str(EXAMPLE), "--epochs", "500", "--output", str(tmp_path)]
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
    while len(list(tmp_path.glob("long_run*/step-*"))) < 3:
        time.sleep(0.001)
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate()
    assert process.returncode == 0
    assert "stopped by Ctrl-C in epoch" in out


def test_pictures_are_moved_by_at_most_a_pixel(example):
    shifted = example("long_run")["shifted"]
    picture = np.zeros((200, 8, 8))
    picture[:, 3, 4] = 1
    moved = shifted(picture.reshape(-1, 64), np.random.default_rng(0)).reshape(-1, 8, 8)
    places = np.argwhere(moved)[:, 1:]
    assert len(places) == 200
    assert {tuple(place) for place in places} == {(a, b) for a in (2, 3, 4) for b in (3, 4, 5)}
