"""The example keeps its promise: two numbers hold more than two principal components do."""

from __future__ import annotations

import numpy as np

from chainrule import datasets


def test_two_numbers_hold_more_than_a_linear_plane_and_tell_digits_apart(
    example, tmp_path, capsys, png_size
):
    found = example("autoencoder")["main"](epochs=15, output=tmp_path)
    lost, lost_linearly, recognized = found.values()
    assert lost < 0.9 * lost_linearly
    assert 0.70 < lost_linearly < 0.72  # of these data, and no matter of training
    assert recognized > 0.6
    printed = capsys.readouterr().out
    assert f"{100 * lost:5.1f} %" in printed and f"{100 * recognized:5.1f} %" in printed
    assert png_size(tmp_path / "autoencoder.png") == (1860, 990)


def test_encoder_and_decoder_are_the_halves_of_the_whole(example):
    whole, encoder, decoder = example("autoencoder")["autoencoder"]()
    x = datasets.digits().x_test
    whole.build((64,), rng=0)
    np.testing.assert_array_equal(decoder(encoder(x)), whole(x))
    whole.parameters.value *= 0.5  # moves the halves along
    np.testing.assert_array_equal(decoder(encoder(x)), whole(x))
