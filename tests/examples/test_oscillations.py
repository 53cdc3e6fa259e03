"""The example keeps its promise: noise in training makes a continuation last longer."""

from __future__ import annotations

import numpy as np
import pytest

from chainrule import Dense


@pytest.fixture
def program(example):
    return example("oscillations")


def test_the_network_goes_on_by_itself(program, tmp_path, capsys, png_size):
    found = program["main"](steps=300, output=tmp_path)
    one, one_without, ten, ten_without, *_, nothing = found.values()
    assert one < 0.2 and one_without < 0.2
    assert ten < 0.5 and ten < ten_without
    assert abs(nothing - np.sqrt(7 / 12)) < 0.03  # ½⟨A² + B²⟩ with amplitudes from ½ to 1
    assert f"{ten:6.3f}" in capsys.readouterr().out
    assert png_size(tmp_path / "oscillations.png") == (1860, 690)


def test_the_rule_of_the_docstring_continues_without_an_error(program):
    x = program["oscillations"](20, 120, np.random.default_rng(0))[..., 0]
    for truth in x:
        np.testing.assert_allclose(program["by_rule"](truth[:60], 60), truth[60:], atol=1e-8)


def test_there_are_two_frequencies_in_their_ranges(program):
    x = program["oscillations"](5, 4096, np.random.default_rng(0))[..., 0]
    spectra = np.abs(np.fft.rfft(x * np.hanning(4096)))
    omega = 2 * np.pi * np.arange(2049) / 4096
    is_known = np.zeros(2049, bool)
    for low, high in (program["SLOW"], program["FAST"]):
        is_in = (omega > low - 0.01) & (omega < high + 0.01)
        is_known |= is_in
        # A Hann window sums to half of its length, so the peak is a quarter of it times A.
        assert (np.abs(spectra[:, is_in].max(axis=1) / 1024 - 0.75) < 0.27).all()
    assert (spectra[:, ~is_known].max(axis=1) < 1e-3 * spectra.max(axis=1)).all()


def test_a_continuation_reads_its_own_values_with_a_carried_state(program):
    """The same numbers as from the whole sequence, its own values included, in one pass."""
    model = program["network"](5)
    model.build((60, 1), rng=0)
    assert isinstance(model[1], Dense)
    x = program["oscillations"](3, 60, np.random.default_rng(0))
    y = program["continued"](model, x, 7)
    model.reset()
    whole = model(np.concatenate([x, y[:, :-1]], axis=1))
    np.testing.assert_allclose(y, whole[:, 59:], atol=1e-13)
