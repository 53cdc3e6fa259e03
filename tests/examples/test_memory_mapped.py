"""The example keeps its promise: what lies in a file is learned from, piece by piece."""

from __future__ import annotations

import numpy as np


def test_a_network_learns_from_the_file(example, tmp_path, capsys, png_size):
    error = example("memory_mapped")["main"](epochs=2, output=tmp_path, samples=20_000)
    assert error < 35  # of 256 channels; by chance it would be about 60
    printed = capsys.readouterr().out
    assert f"median error, network               {error:8.2f} channels" in printed
    assert "the file                                  20 MB" in printed
    assert png_size(tmp_path / "memory_mapped.png") == (1500, 510)
    assert not (tmp_path / "spectra.npy").exists()


def test_the_file_is_what_numpy_reads_and_the_line_is_where_it_is_said_to_be(example, tmp_path):
    write = example("memory_mapped")["write"]
    path = tmp_path / "spectra.npy"
    places = write(path, 12_000, np.random.default_rng(0))
    x = np.load(path, mmap_mode="r")
    assert x.shape == (12_000, 256) and x.dtype == np.float32
    channel = np.rint((places[:, 0] + 1) * 128).astype(int)
    at_the_line = x[np.arange(len(x)), channel].mean()
    assert at_the_line > x[:, :10].mean() + 0.5  # the noise has a mean of zero
