"""The built-in callbacks: they are found by name, and imported only on first use."""

from __future__ import annotations

import subprocess
import sys

import pytest

from chainrule import callbacks, schedules
from chainrule.callbacks import Callback


def test_every_callback_is_found_by_its_name_and_follows_the_contract() -> None:
    for name in callbacks.__all__:
        found = getattr(callbacks, name)
        assert issubclass(found, Callback) and found.__name__ == name
        assert name in dir(callbacks)
    assert callbacks.LearningRate is schedules.LearningRate


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'EarlyStoping'"):
        _ = callbacks.EarlyStoping


def test_heavy_modules_are_imported_on_first_use() -> None:
    """A program that only trains imports no module for logging, plots or tables."""
    program = (
        "import sys; from chainrule import Trainer, callbacks, schedules;"
        "callbacks.EarlyStopping(); callbacks.CSVLogger('run.csv'); callbacks.LearningRate;"
        "heavy = {'tensorboardX', 'pandas', 'matplotlib', 'rich', 'torch'} & {*sys.modules};"
        "print(sorted(heavy))"
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert ran.stdout.strip() == "[]", ran.stderr
