"""The first of the seeds that `make seeds` checks: no law is reported as broken where all hold."""

from __future__ import annotations

import pytest

import chainrule
from chainrule import Formula
from chainrule.core.layer import Layer
from laws.library import LIBRARY, LIBRARY_WITH_INPUTS, PHYSICS, everything
from laws.seeds import alarm, main

CASES = list(everything())


@pytest.mark.parametrize("number", range(len(CASES)), ids=[case.name for case in CASES])
def test_no_false_alarm_with_the_first_seed(number):
    assert alarm((number, 0)) is None


SATURATED = {
    "Sequential on (4,)": (246, 266, 330, 669),
    "SelfAttention(units=2) on (3, 4)": (827, 946),
}
"""Seeds with parameters of about 30 for which a softmax is 1 up to its rounding."""


@pytest.mark.parametrize(("name", "seed"), [(n, s) for n in SATURATED for s in SATURATED[n]])
def test_the_rounding_of_a_saturated_softmax_is_no_fault(name, seed):
    numbers = [number for number, case in enumerate(CASES) if case.name.endswith(f" {name}")]
    assert numbers and [alarm((number, seed)) for number in numbers] == [None] * len(numbers)


def test_every_public_layer_is_in_the_list():
    public = [getattr(m, name) for m in (chainrule, chainrule.physics) for name in m.__all__]
    layers = {c for c in public if isinstance(c, type) and issubclass(c, Layer)}
    layers -= {Layer, Formula}  # which others derive from
    assert layers <= {type(layer) for layer, *_ in [*LIBRARY, *LIBRARY_WITH_INPUTS, *PHYSICS]}


def test_the_command_prints_what_it_has_checked(capsys):
    assert main(["-n", "2", "--only", "Flatten", "--workers", "1"]) == 0
    printed = capsys.readouterr().out
    assert "2 checks of 1 layers, seeds 0 to 1: 0 false alarm(s)" in printed
