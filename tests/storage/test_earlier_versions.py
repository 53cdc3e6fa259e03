"""Model files that earlier versions wrote still load, and compute what they computed then."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from chainrule import load

WRITTEN_BY_0_1 = Path(__file__).parent / "version_0_1"


def test_a_graph_written_by_version_0_1_computes_what_it_computed_then():
    model = load(WRITTEN_BY_0_1 / "model.safetensors")
    then = np.load(WRITTEN_BY_0_1 / "model.npz")
    digit, place = model(then["x"])
    np.testing.assert_allclose(digit, then["digit"], rtol=1e-13)  # kernels sum in another order
    np.testing.assert_allclose(place, then["place"], rtol=1e-13)
    assert model.output_names == ("digit", "place")
    assert model.parameters.paths[:2] == ["dense_1.weights", "dense_1.biases"]
