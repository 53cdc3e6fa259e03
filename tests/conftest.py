"""What all tests share: how hypothesis draws its examples, and PyTorch for the comparisons."""

from __future__ import annotations

import os
import signal
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

# The tests expect NumPy's numbers, even if numba and MKL are installed: their own tests turn them
# on. CHAINRULE_FAST=1 runs everything with them.
os.environ.setdefault("CHAINRULE_FAST", "0")

# Figures are drawn into memory; a test that opened a window would hang where there is no screen.
os.environ["MPLBACKEND"] = "Agg"

# Whoever starts the tests in the background of a shell has them ignore Ctrl-C, and every program
# that they start as well. Some of the tests are about what it does.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# No verdict here rests on a clock: a slow machine is not a failed law. Under CI every run draws the
# same examples; elsewhere new ones, and a failure prints the line that repeats it.
settings.register_profile(
    "chainrule",
    deadline=None,
    derandomize="CI" in os.environ,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("chainrule")


@pytest.fixture(scope="session")
def torch() -> Any:
    """PyTorch, imported only by the tests that ask for it: those marked `peers`."""
    import torch

    return torch
