"""The example keeps its promise: a carried state reads better than a count of three characters."""

from __future__ import annotations

import numpy as np
import pytest

from chainrule import Sequential


@pytest.fixture(scope="module")
def program():
    import runpy
    from pathlib import Path

    return runpy.run_path(str(Path(__file__).parents[2] / "examples" / "characters.py"))


def small(program, characters=5) -> Sequential:
    model = program["network"](characters, 6)
    model.build((8,), rng=0)
    return model


def test_the_network_is_less_surprised_than_the_baseline(program, tmp_path, capsys, png_size):
    found = program["main"](epochs=2, units=128, output=tmp_path)
    network, baseline, perplexity, _, text = found.values()
    assert network < baseline < 3
    assert np.log2(perplexity) == pytest.approx(network)
    assert text.startswith("The network ") and len(text) == 612
    assert f"{network:7.3f}" in capsys.readouterr().out
    assert png_size(tmp_path / "characters.png") == (1860, 840)


def test_the_text_is_prose_alone(program):
    plain = program["plain"]
    assert plain("A `layer` has *no*\nname. It is [a link](b.md). Then x = 3. The end.") == (
        "A layer has no name. It is a link. The end."
    )
    for other in ("    model = 3.", "| A table. |", "# A title.", "```python\nA = 3.\n```", ""):
        assert plain(other) == ""
    prose = program["paragraphs"]()
    assert len("".join(prose)) > 100_000 and len(set(prose)) == len(prose)
    assert not set("".join(prose)) & set("=<>`$|0123456789\n")


def test_a_batch_continues_the_one_before(program):
    tokens = np.arange(50)
    x, t = program["streams"](tokens, count=3, steps=4)
    assert x.shape == t.shape == (12, 4)
    batches = x.reshape(4, 3, 4)
    np.testing.assert_array_equal(np.concatenate(batches, axis=1), np.arange(48).reshape(3, 16))
    np.testing.assert_array_equal(t, x + 1)


def test_pieces_with_a_carried_state_surprise_as_much_as_the_whole(program):
    model = small(program)
    tokens = np.random.default_rng(0).integers(0, 5, (3, 33))
    whole = program["surprise"](model, tokens)
    for start in range(0, 32, 8):
        logits = model.forward(tokens[:, start : start + 8])
        p = np.exp(logits) / np.exp(logits).sum(axis=-1, keepdims=True)
        for row in range(3):
            following = tokens[row, start + 1 : start + 9]
            expected = -np.log2(p[row, np.arange(8), following])
            np.testing.assert_allclose(whole[row, start : start + 8], expected, atol=1e-13)


def test_trigrams_by_hand(program):
    """abab: of a 2 of 4, of b after a 2 of 2, of a after ab 1 of 1, each mixed with the shorter."""
    training, size = np.array([0, 1, 0, 1]), 2
    p_a = (2 + 4 / 2) / (4 + 4)
    p_a_after_b = (1 + 4 * p_a) / (1 + 4)
    p_a_after_ab = (1 + 4 * p_a_after_b) / (1 + 4)
    surprise = program["trigram_surprise"]
    np.testing.assert_allclose(
        surprise(training, np.array([0, 1, 0]), size), -np.log2(p_a_after_ab)
    )
    both = [2 ** -surprise(training, np.array([0, 1, c]), size) for c in (0, 1)]
    np.testing.assert_allclose(sum(both), 1)


def test_at_a_low_temperature_the_most_probable_character_is_written(program):
    model, rng = small(program), np.random.default_rng(0)
    written = program["continued"](model, np.array([3, 1]), 10, rng, 1e-4)
    model.reset()
    best = model(written[np.newaxis])[0].argmax(axis=-1)
    np.testing.assert_array_equal(written[2:], best[1:-1])
    assert written[:2].tolist() == [3, 1]


def test_chances_are_those_of_the_temperature(program):
    """A softmax of ln(1, 2, 4) at T = 2 gives chances in the ratio 1 : √2 : 2."""
    model, rng = small(program, 3), np.random.default_rng(0)
    model[2].weights.value = np.zeros((6, 3))
    model[2].biases.value = np.log([1, 2, 4])
    written = program["continued"](model, np.array([0]), 5000, rng, 2.0)[1:]
    expected = np.array([1, np.sqrt(2), 2]) / (3 + np.sqrt(2))
    np.testing.assert_allclose(np.bincount(written) / 5000, expected, atol=0.02)


def test_lines_break_between_words(program):
    text = "one two three\nfour"
    rows, columns = program["places"](text, 8).T
    lines = ["".join(c for c, r in zip(text, rows, strict=True) if r == row) for row in range(4)]
    assert [line.strip() for line in lines] == ["one two", "three", "four", ""]
    assert columns[text.index("three")] == columns[text.index("four")] == 0
