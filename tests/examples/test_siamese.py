"""The example keeps its promise: it tells equal digits from unequal ones that it has not seen."""

from __future__ import annotations

import numpy as np

from chainrule import datasets


def test_pairs_of_unseen_digits_are_distinguished(example, tmp_path, capsys, png_size):
    accuracy = example("siamese")["main"](epochs=5, output=tmp_path)
    assert accuracy > 0.93
    assert f"right                          {100 * accuracy:5.1f} %" in capsys.readouterr().out
    assert png_size(tmp_path / "siamese.png") == (1800, 840)


def test_half_of_the_pairs_are_equal_and_none_is_a_picture_beside_itself(example):
    x, t, _, _ = datasets.digits()
    (a, b), target = example("siamese")["pairs"](x, t, np.random.default_rng(0), 200)
    digit = {picture.tobytes(): label for picture, label in zip(x, t, strict=True)}
    equal = [digit[p.tobytes()] == digit[q.tobytes()] for p, q in zip(a, b, strict=True)]
    np.testing.assert_array_equal(target[:, 0], equal)
    assert target.mean() == 0.5
    assert (a != b).any(axis=1).all()


def test_both_paths_go_through_one_tower(example):
    model = example("siamese")["siamese"]()
    model.build((64,), (64,), rng=0)
    assert model.parameters.size == (64 * 128 + 128) + (128 * 32 + 32) + (32 + 1)
    a, b = np.random.default_rng(0).random((2, 5, 64))
    np.testing.assert_array_equal(model(a, b), model(b, a))
