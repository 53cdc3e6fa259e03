"""What is printed on a terminal whose encoding lacks our signs."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path

import pytest

import chainrule
from chainrule.core import terminal
from chainrule.core.terminal import encodable

PROGRAM = """
import sys, warnings
import numpy as np
import rich
import chainrule
from chainrule import (
    Activation, Add, Dense, Graph, Input, Layer, Residual, Sequential, Softmax, Trainer, callbacks,
    check_layer, check_loss, derivatives, diagram, explain, losses, optimizers, schedules, summary,
    trace,
)
from chainrule.training.progress import Progress

x = Input((4,), name="image")
h = Activation("tanh")(Dense(3)(x))
graph = Graph(x, Add()(Dense(3)(h), Residual(Dense(3), Activation("gelu"))(h)))
graph.build(rng=0)
X, T = np.random.default_rng(0).normal(size=(8, 4)), np.zeros((8, 3))
model = Sequential([Dense(3), Softmax()])
trainer = Trainer(model, losses.HalfSquaredError(), optimizers.Adam(), rng=0)
history = trainer.fit(X, T, epochs=3, validation_data=(X, T), progress=False)


class Broken(Dense):
    def backward(self, delta):
        return 2 * super().backward(delta)


traced = trace(graph, X, T, losses.HalfSquaredError())
for thing in (
    graph, model, Residual(Dense(3)), summary(graph), summary(model.unbuilt()), diagram(graph),
    diagram(graph).mermaid, explain(graph), *(r.text for r in explain(graph).records),
    traced, traced.steps[0], traced.steps, history, check_layer(Dense(3), (4,)),
    check_loss(losses.Huber(), (3,)), model.parameters, model.parameters[0],
    schedules.Cosine(0.1, 10), 0.5 * schedules.WarmUp(schedules.Constant(0.1), 5),
    schedules.range_test(trainer, X, T, steps=20), trainer, trainer.run, optimizers.Adam(),
    losses.Huber(), callbacks.EarlyStopping(), chainrule.datasets.digits(), x, h,
    chainrule.Dual(np.ones(2), np.ones(2)), model[0].equations(),
):
    print(thing)
    print(repr(thing))
for thing in (summary(graph), traced):
    rich.print(thing)


def attempt(function):
    try:
        function()
    except Exception as error:
        print(type(error).__name__, error)
        print(error, file=sys.stderr)
    else:
        raise AssertionError("no error")


attempt(lambda: check_layer(Broken(3), (4,)))
attempt(lambda: model(np.ones((3, 5))))
attempt(lambda: Dense(3, activation="relu"))
attempt(lambda: Dense(2.5))
attempt(lambda: model.predikt)
attempt(lambda: Dense(3).fit)
attempt(lambda: losses.MSE)
attempt(lambda: exec("from chainrule.schedules import StepLR"))
attempt(lambda: Activation(np.sin))
attempt(lambda: Dense(3).backward(X))
attempt(lambda: history["val_loss"])
attempt(lambda: trainer.fit(X, T + np.nan))
attempt(lambda: losses.Huber()(X, T))
attempt(lambda: optimizers.Adam(-1.0))

out = sys.stdout


class Terminal:
    encoding = sys.stdout.encoding
    def isatty(self): return True
    def write(self, text): return out.write(text)
    def flush(self): out.flush()

from rich.console import Console
console = Console(file=Terminal(), force_terminal=True, width=90, legacy_windows=False)
with Progress(console, 2, 3) as progress:
    progress.show(1, 1, {"loss": 0.5, "genauigkeit_Δ": 0.25})
    progress.say("stopping … now")
    progress.show(2, 3, {"loss": 0.5})
"""


def run(*arguments: str, **variables: str) -> subprocess.CompletedProcess[bytes]:
    environment = {
        k: v for k, v in os.environ.items() if k not in ("PYTHONUTF8", "PYTHONIOENCODING")
    }
    source = str(Path(chainrule.__file__).parents[1])
    return subprocess.run(
        [sys.executable, *arguments],
        capture_output=True,
        env={**environment, "PYTHONPATH": source, "COLUMNS": "120", **variables},
        timeout=120,
    )


@pytest.fixture
def program(tmp_path: Path) -> str:
    path = tmp_path / "program.py"
    path.write_text(PROGRAM, "utf-8")
    return str(path)


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "latin-1", "utf-8"])
def test_everything_that_prints_can_be_printed(encoding, program):
    done = run(program, PYTHONIOENCODING=encoding)
    assert done.returncode == 0, done.stderr.decode(encoding, "replace")
    text = done.stdout.decode(encoding)
    assert "\\u" not in text and "\\x" not in text.replace("\\x1b", "")
    assert "UnicodeEncodeError" not in text
    if encoding == "utf-8":
        assert "∂C/∂" in text and "Δ" in text and "│" in text
    else:
        assert "dC/d" in text and "delta" in text and text.count("?") < 20
        assert not {"Δ", "∂", "│"} & set(text)


def test_without_a_locale_everything_prints_in_ascii(program):
    done = run(program, LC_ALL="C", LANG="C", PYTHONUTF8="0", PYTHONCOERCECLOCALE="0")
    assert done.returncode == 0, done.stderr.decode("ascii", "replace")
    assert done.stdout.isascii() and b"dC/d" in done.stdout


@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
def test_the_command_line_prints_ascii_where_signs_are_missing(encoding, tmp_path):
    options = ["-m", "chainrule", "--epochs", "1", "--no-figure"]
    listed = run("-m", "chainrule", "--help", PYTHONIOENCODING=encoding).stdout.decode(encoding)
    assert "usage" in listed
    options = [o for o in options if not o.startswith("--") or o in listed or o == "--epochs"]
    done = run(*options, "--output", str(tmp_path / "run"), PYTHONIOENCODING=encoding)
    text = done.stdout.decode(encoding)
    assert done.returncode == 0, done.stderr
    assert "delta = dC/d(output)" in text and "?" not in text
    assert "ok lecture" in text and "->" in text


def test_signs_become_ascii():
    for text, ascii_text in [
        ("‖v‖² ≤ 3·10⁻¹²", "||v||^2 <= 3*10^-12"),
        ("∂C/∂θ = yᵀ Δ", "dC/dtheta = y^T delta"),
        ("⟨u, J v⟩ → ∞", "<u, J v> -> inf"),
        ("├──╮ │ ╰─", "+--+ | +-"),
        ("y₁₂ …", "y_12 ..."),
        ("m̂ é", "m e"),
        ("日", "\\u65e5"),
        ("8 × 8 ½", "8 x 8 1/2"),
    ]:
        assert encodable(text, "ascii") == ascii_text
        assert encodable(text, "utf-8") == encodable(text, None) == text
    assert encodable("8 × 8 ½ Δ²", "cp1252") == "8 × 8 ½ delta²"
    assert encodable("Δ", "no such encoding") == "Δ"


def test_columns_stay_in_line():
    table = "place     Δ        next\nrow       0.123    1"
    first, second = encodable(table, "ascii").splitlines()
    assert first.index("next") == second.index("1", 15) and "delta" in first


def test_every_sign_that_the_package_prints_has_an_ascii_text():
    """Every sign in the source: the formulas of docstrings are not printed, but similar."""
    known = {*terminal.SIGNS, *terminal.EXPONENTS, *terminal.INDICES}
    root = Path(chainrule.__file__).parent
    used = {sign for path in root.rglob("*.py") for sign in path.read_text("utf-8")}
    missing = {s for s in used if not s.isascii() and encodable(s, "ascii").startswith("\\")}
    assert not missing - known, sorted(missing)


def test_a_stream_that_has_no_encoding_gets_every_sign(monkeypatch):
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    monkeypatch.setattr(sys, "stderr", None)
    assert terminal.for_terminal("Δ") == "Δ"
