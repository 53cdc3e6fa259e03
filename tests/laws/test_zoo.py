"""The checker on layers with a planted fault, and on right layers that look suspicious."""

from __future__ import annotations

import re

import pytest

from chainrule import check_layer
from chainrule.core.errors import LayerCheckError
from laws.broken_layers import BROKEN
from laws.conditional_faults import (
    AT_APPLY,
    CONDITIONS,
    OF_SIZE,
    AppliesOtherwiseIf,
    HalvedIf,
    HalvedParametersIf,
)
from laws.unusual_layers import UNUSUAL, WITH_INPUTS


def _name(layer) -> str:
    return type(layer).__name__


def _diagnosis(report, law) -> str:
    """The diagnosis of a law, or that of the law to which it refers."""
    text = report[law].diagnosis
    same = re.fullmatch(r"same as law (\d+)", text)
    return next(r.diagnosis for r in report if r.number == int(same[1])) if same else text


@pytest.mark.parametrize(
    ("layer", "shape", "law", "words"), BROKEN, ids=[_name(case[0]) for case in BROKEN]
)
def test_a_broken_layer_is_caught_and_its_fault_named(layer, shape, law, words):
    with pytest.raises(LayerCheckError) as caught:
        check_layer(layer, shape)
    report = caught.value.report
    assert not report.ok
    assert not report[law].ok
    assert words in _diagnosis(report, law)
    assert _name(layer) in str(caught.value)


@pytest.mark.parametrize(("layer", "shape"), UNUSUAL, ids=[_name(case[0]) for case in UNUSUAL])
@pytest.mark.parametrize("rng", [0, 1])
def test_an_unusual_layer_that_is_right_passes(layer, shape, rng):
    assert check_layer(layer, shape, rng=rng).ok


@pytest.mark.parametrize(("layer", "shape", "inputs"), WITH_INPUTS)
def test_an_unusual_layer_passes_with_its_own_inputs(layer, shape, inputs):
    assert check_layer(layer, shape, inputs=inputs).ok


@pytest.mark.parametrize(("layer", "shape", "law", "words"), BROKEN[:20])
def test_a_broken_layer_is_caught_with_other_numbers_too(layer, shape, law, words):
    for rng in (1, 2, 3):
        with pytest.raises(LayerCheckError) as caught:
            check_layer(layer, shape, rng=rng)
        assert words in _diagnosis(caught.value.report, law)


def _laws_broken(layer, rng):
    with pytest.raises(LayerCheckError) as caught:
        check_layer(layer, (4,), rng=rng)
    return [result.name for result in caught.value.report if not result.ok]


@pytest.mark.parametrize("condition", CONDITIONS)
def test_a_gradient_halved_under_one_condition_is_caught(condition):
    law = "type" if condition == "float32" else "adjoint"
    for rng in (0, 1):
        assert law in _laws_broken(HalvedIf(condition), rng)


@pytest.mark.parametrize("condition", OF_SIZE)
def test_backward_parameters_is_checked_at_every_size(condition):
    assert "accumulate" in _laws_broken(HalvedParametersIf(condition), 0)


@pytest.mark.parametrize("condition", AT_APPLY)
def test_apply_is_compared_with_forward_under_every_condition(condition):
    assert "inference" in _laws_broken(AppliesOtherwiseIf(condition), 0)


def test_the_zoo_is_large():
    assert len(BROKEN) >= 60
    assert len(UNUSUAL) >= 30
