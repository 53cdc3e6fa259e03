"""The other half of the pages "Coming from …": their programs run with PyTorch and with Keras."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from chainrule import datasets

pytestmark = pytest.mark.peers

PAGES = Path(__file__).parents[1] / "docs" / "coming-from"
PEER = re.compile(r"^```peer [^\n]*\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def programs(page: str) -> list[str]:
    found = PEER.findall((PAGES / page).read_text("utf-8"))
    assert len(found) >= 10
    return found


def names(page: str) -> list[str]:
    """The names in the left column of the page's table."""
    table = (PAGES / page).read_text("utf-8").split("## Names")[1]
    left = [line.split("|")[1] for line in table.splitlines() if line.startswith("|")]
    return re.findall(r"`([\w.]+)", "".join(left))


def test_the_programs_for_pytorch_run_and_the_names_exist(
    torch: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    x, t, x_test, t_test = datasets.digits()
    pixels = [torch.tensor(one, dtype=torch.float32) for one in (x, x_test)]
    known = {
        "x": pixels[0],
        "t": torch.tensor(t),
        "x_test": pixels[1],
        "t_test": torch.tensor(t_test),
    }
    for program in programs("pytorch.md"):
        exec(compile(program, "pytorch.md", "exec"), known)
    assert known["gradient"].shape == (1, 64) and known["jacobian"].shape == (10, 64)
    assert np.mean(known["found"].numpy() == t_test) > 0.7
    places = {"nn": torch.nn, "torch": torch, "lr_scheduler": torch.optim.lr_scheduler}
    for name in names("pytorch.md"):
        first, *rest = name.split(".")
        found = places.get(first, torch.func if first in ("vjp", "jacrev", "hessian") else None)
        if first == "model":
            found = torch.nn.Module()
        for part in rest or [first]:
            found = getattr(found, part)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # Keras's own, with NumPy 2
def test_the_programs_for_keras_run_and_the_names_exist(
    torch: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(os.environ, "KERAS_BACKEND", "torch")
    import keras

    x, t, x_test, t_test = datasets.digits()
    known = {"x": x.astype("float32"), "t": t, "x_test": x_test.astype("float32"), "t_test": t_test}
    for program in programs("keras.md"):
        exec(compile(program, "keras.md", "exec"), known)
    assert known["gradient"].shape == (1, 64)
    assert np.mean(known["found"] == t_test) > 0.7
    for name in names("keras.md"):
        first, *rest = name.split(".")
        places = {"layers": keras.layers, "keras": keras, "model": keras.Sequential()}
        if not rest and first[0].isupper():
            places[first] = keras.layers
            rest = [first]
        found = places.get(first)
        for part in rest:
            found = getattr(found, part)
