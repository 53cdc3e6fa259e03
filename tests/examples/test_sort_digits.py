"""The example keeps its promise: it sorts sequences of the lengths that it was trained on."""

from __future__ import annotations

import numpy as np
import pytest

from chainrule import PositionalEncoding, Sequential


def test_new_sequences_are_sorted_if_they_are_not_longer_than_those_of_the_training(
    example, tmp_path, capsys, png_size
):
    found = example("sort_digits")["main"](steps=300, output=tmp_path)
    assert min(found[length]["whole"] for length in (5, 6, 7, 8)) > 0.5
    assert found[8]["accuracy"] > 0.9
    assert found[20]["whole"] < 0.05  # as the docstring says
    printed = capsys.readouterr().out
    assert f" 6 digits: {found[6]['whole']:.3f} of new sequences" in printed
    assert png_size(tmp_path / "sort_digits.png") == (1860, 840)


def test_without_positions_a_transformer_cannot_sort(example):
    """Exchanged digits would only exchange the answers, and equal digits get equal ones."""
    model = example("sort_digits")["network"]()
    model.build((None,), rng=0)
    blind = Sequential([layer for layer in model if not isinstance(layer, PositionalEncoding)])
    digits, order = np.array([[3, 1, 2, 1]]), [2, 0, 3, 1]
    for network, is_blind in ((blind, True), (model, False)):
        scores = network(digits)
        assert np.allclose(network(digits[:, order]), scores[:, order]) == is_blind
        assert np.allclose(scores[0, 1], scores[0, 3]) == is_blind


def test_the_maps_are_the_attention_of_the_formula(example):
    program = example("sort_digits")
    model = program["network"](width=8, heads=2, blocks=1)
    model.build((None,), rng=0, dtype="float64")
    digits = np.array([7, 2, 9, 2])
    embedding, positions, block, _ = model
    x = block.attention_norm(positions(embedding(digits[np.newaxis])))[0]
    layer = block.attention
    q = x @ layer.query_weights.value + layer.query_biases.value
    k = x @ layer.key_weights.value + layer.key_biases.value
    maps = program["attention"](model, digits)
    assert len(maps) == 2
    for head, weights in enumerate(maps):
        columns = slice(4 * head, 4 * head + 4)
        powers = np.exp(q[:, columns] @ k[:, columns].T / np.sqrt(4))
        np.testing.assert_allclose(weights, powers / powers.sum(axis=1, keepdims=True), rtol=1e-12)


def test_a_sequence_counts_only_if_every_digit_is_right(example):
    scores = np.eye(10)[[[0, 1, 2], [0, 1, 2], [3, 3, 3], [5, 6, 7]]]
    answers = np.array([[0, 1, 2], [0, 1, 1], [3, 3, 3], [5, 6, 7]])
    assert example("sort_digits")["whole"](scores, answers) == pytest.approx(0.75)
