"""The callbacks that come along: where they are found, and that finding them costs nothing."""

from __future__ import annotations

import subprocess
import sys

import pytest

from chainrule import callbacks, schedules
from chainrule.callbacks import Callback


def test_every_callback_is_found_by_its_name_and_keeps_to_the_contract() -> None:
    for name in callbacks.__all__:
        found = getattr(callbacks, name)
        assert issubclass(found, Callback) and found.__name__ == name
        assert name in dir(callbacks)
    assert callbacks.LearningRate is schedules.LearningRate


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'EarlyStoping'"):
        _ = callbacks.EarlyStoping


def test_what_is_heavy_is_loaded_when_it_is_used() -> None:
    """A program that only trains loads none of what logs, draws or makes tables."""
    program = (
        "import sys; from chainrule import Trainer, callbacks, schedules;"
        "callbacks.EarlyStopping(); callbacks.CSVLogger('run.csv'); callbacks.LearningRate;"
        "heavy = {'tensorboardX', 'pandas', 'matplotlib', 'rich', 'torch'} & {*sys.modules};"
        "print(sorted(heavy))"
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert ran.stdout.strip() == "[]", ran.stderr
