"""The checker on layers with a planted fault, and on right layers that look suspicious."""

from __future__ import annotations

import pytest

from chainrule import check_layer
from chainrule.core.errors import LayerCheckError
from laws.broken_layers import BROKEN
from laws.unusual_layers import UNUSUAL


def _name(layer) -> str:
    return type(layer).__name__


@pytest.mark.parametrize(
    ("layer", "shape", "law", "words"), BROKEN, ids=[_name(case[0]) for case in BROKEN]
)
def test_a_broken_layer_is_caught_and_its_fault_named(layer, shape, law, words):
    with pytest.raises(LayerCheckError) as caught:
        check_layer(layer, shape)
    report = caught.value.report
    assert not report.ok
    assert not report[law].ok
    assert words in report[law].diagnosis
    assert _name(layer) in str(caught.value)


@pytest.mark.parametrize(("layer", "shape"), UNUSUAL, ids=[_name(case[0]) for case in UNUSUAL])
@pytest.mark.parametrize("rng", [0, 1])
def test_an_unusual_layer_that_is_right_passes(layer, shape, rng):
    assert check_layer(layer, shape, rng=rng).ok


@pytest.mark.parametrize(("layer", "shape", "law", "words"), BROKEN[:20])
def test_a_broken_layer_is_caught_with_other_numbers_too(layer, shape, law, words):
    for rng in (1, 2, 3):
        with pytest.raises(LayerCheckError) as caught:
            check_layer(layer, shape, rng=rng)
        assert words in caught.value.report[law].diagnosis
