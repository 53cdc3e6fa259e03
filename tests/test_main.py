"""The demonstration, as `python -m chainrule` runs it."""

from __future__ import annotations

import importlib.metadata
import os
import re
import struct
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pytest

import chainrule
from chainrule import Sequential, Trainer, datasets, lecture
from chainrule.__main__ import NAMES, difference_to_the_lecture, main
from chainrule.layers import functions
from chainrule.training.history import History

FILES = sorted(NAMES)  # history.json, net.safetensors, results.png


def run(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    source = Path(__file__).parents[1] / "src"
    return subprocess.run(
        [sys.executable, "-m", "chainrule", *options],
        cwd=folder,
        capture_output=True,
        encoding="utf-8",
        env=os.environ | {"PYTHONPATH": str(source), "PYTHONIOENCODING": "utf-8", "COLUMNS": "80"},
    )


@pytest.fixture(scope="module")
def demonstration(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A short run with the default options otherwise: its folder, and what it printed."""
    folder = tmp_path_factory.mktemp("demonstration")
    done = run(folder, "--epochs", "2")
    assert done.returncode == 0, done.stderr
    return folder / "chainrule-demo", done.stdout


@pytest.fixture
def no_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if matplotlib were not installed."""
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)


# ------------------------------------------------------------------------------- the version


def test_the_script_and_the_module_print_the_version_that_is_installed(tmp_path: Path) -> None:
    script = Path(sysconfig.get_path("scripts")) / "chainrule"
    printed = subprocess.run([script, "--version"], capture_output=True, text=True, check=True)
    version = importlib.metadata.version("chainrule")
    assert printed.stdout == run(tmp_path, "--version").stdout == f"chainrule {version}\n"
    assert version == chainrule.__version__


def test_the_script_takes_the_same_options_and_returns_the_same_code(tmp_path: Path) -> None:
    script = Path(sysconfig.get_path("scripts")) / "chainrule"
    wrong = subprocess.run([script, "--epochs", "0"], capture_output=True, text=True, cwd=tmp_path)
    assert (wrong.returncode, wrong.stderr) == (2, run(tmp_path, "--epochs", "0").stderr)


# ------------------------------------------------------------------------------- what it does


def test_it_writes_the_model_the_history_and_the_figure_and_nothing_else(
    demonstration: tuple[Path, str],
) -> None:
    folder, printed = demonstration
    assert sorted(path.name for path in folder.iterdir()) == FILES
    assert [path.name for path in folder.parent.iterdir()] == ["chainrule-demo"]
    for name in FILES:
        assert name in printed
    assert f"in chainrule-demo{os.sep}" in printed


def test_the_model_that_is_loaded_reads_as_many_digits_as_was_printed(
    demonstration: tuple[Path, str],
) -> None:
    folder, printed = demonstration
    share, right, total = re.findall(r"([\d.]+) %  (\d+) of (\d+) correct", printed)[0]
    digits = datasets.digits()
    model = chainrule.load(folder / "net.safetensors")
    correct = int((model(digits.x_test).argmax(axis=1) == digits.t_test).sum())
    assert (int(right), int(total)) == (correct, 360)
    assert share == f"{100 * correct / 360:.1f}"
    assert correct > 300  # after two epochs already


def test_the_history_has_cost_and_accuracy_of_every_epoch(
    demonstration: tuple[Path, str],
) -> None:
    history = History.load(demonstration[0] / "history.json")
    names = {"loss", "accuracy", "validation_loss", "validation_accuracy"}
    assert set(history) == names
    assert {len(history[name]) for name in names} == {2}
    assert history["loss"][1] < history["loss"][0]


def test_the_figure_is_a_picture_of_the_size_that_was_meant(
    demonstration: tuple[Path, str],
) -> None:
    content = (demonstration[0] / "results.png").read_bytes()
    assert content[:8] == b"\x89PNG\r\n\x1a\n"
    assert struct.unpack(">II", content[16:24]) == (12 * 150, 7.5 * 150)
    assert len(content) > 20_000


def test_it_says_which_digits_are_for_what(demonstration: tuple[Path, str]) -> None:
    printed = demonstration[1]
    assert "1,797 digits" in printed
    assert "1,293 for training, 144 for validation, 360 for the test" in printed


def test_it_proves_the_gradients_and_every_law(demonstration: tuple[Path, str]) -> None:
    found = dict(re.findall(r"✓ (\w+) +(\de-\d\d|0)? ", demonstration[1]))
    assert list(found) == [
        "lecture", "adjoint", "tangent", "accumulate", "purity", "repeatable", "batch", "type",
        "memory", "return", "inference",
    ]  # fmt: skip
    assert float(found["lecture"]) < 1e-13
    assert float(found["adjoint"]) < 1e-12


def test_it_prints_the_summary_of_its_network(demonstration: tuple[Path, str]) -> None:
    printed = demonstration[1]
    for part in ("dense_1", "(batch, 128)", "8,320", "dense_3", "17,226 parameters"):
        assert part in printed
    assert 65 * 128 + 129 * 64 + 65 * 10 == 17_226


def test_in_a_pipe_there_are_no_colours_and_no_line_is_too_long_or_drawn_twice(
    demonstration: tuple[Path, str],
) -> None:
    printed = demonstration[1]
    assert "\x1b" not in printed
    assert "\r" not in printed
    assert max(map(len, printed.splitlines())) <= 80
    assert printed.count("Training") == 1


def test_a_seed_repeats_a_run_bit_for_bit(demonstration: tuple[Path, str], tmp_path: Path) -> None:
    output = tmp_path / "again"
    assert run(tmp_path, "--epochs", "2", "--output", str(output)).returncode == 0
    first, second = (chainrule.load(f / "net.safetensors") for f in (demonstration[0], output))
    assert first.parameters.value.tobytes() == second.parameters.value.tobytes()
    history = "history.json"
    assert (demonstration[0] / history).read_bytes() == (output / history).read_bytes()


def test_another_seed_and_other_layers_make_another_network(
    tmp_path: Path, no_figures: None
) -> None:
    networks = []
    for seed in ("1", "2"):
        output = tmp_path / "deep" / seed
        options = ["--epochs", "1", "--layers", "9, 8", "--seed", seed, "--output", str(output)]
        assert main(options) == 0
        networks.append(chainrule.load(output / "net.safetensors"))
    one, two = networks
    assert isinstance(one, Sequential)
    assert [layer.output_shape for layer in one] == [(9,), (9,), (8,), (8,), (10,)]
    assert not np.array_equal(one.parameters.value, two.parameters.value)


def test_the_test_digits_are_not_used_before_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, no_figures: None
) -> None:
    seen: dict[str, Any] = {}
    fit = Trainer.fit

    def watched_fit(self: Trainer, x: Any, t: Any, **options: Any) -> Any:
        seen.update(x=x, validation=options["validation_data"][0])
        return fit(self, x, t, **options)

    monkeypatch.setattr(Trainer, "fit", watched_fit)
    assert main(["--epochs", "1", "--layers", "5", "--output", str(tmp_path)]) == 0
    digits = datasets.digits()
    pixels = {row.tobytes() for row in np.concatenate([seen["x"], seen["validation"]])}
    assert pixels == {row.tobytes() for row in digits.x_train}
    assert len(seen["x"]) + len(seen["validation"]) == 1437


# ------------------------------------------------------------------------------- the proof


def test_layers_and_lecture_have_the_same_gradients() -> None:
    rng = np.random.default_rng(0)
    x, t = rng.normal(size=(7, 5)), rng.integers(10, size=7)
    assert 0 <= difference_to_the_lecture([4, 3], x, t, rng=1) < 1e-14


@pytest.mark.parametrize("fault", ["sign", "no average", "one entry"])
def test_a_fault_in_the_gradients_is_seen(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    right = lecture.backprop

    def wrong(*arguments: Any) -> Any:
        dw_layer, db_layer = right(*arguments)
        if fault == "sign":
            dw_layer[0] = -dw_layer[0]
        elif fault == "no average":
            dw_layer[1] = 7 * dw_layer[1]
        else:
            db_layer[-1][3] += 0.01 * np.abs(db_layer[-1]).max()
        return dw_layer, db_layer

    rng = np.random.default_rng(0)
    x, t = rng.normal(size=(7, 5)), rng.integers(10, size=7)
    monkeypatch.setattr(lecture, "backprop", wrong)
    assert difference_to_the_lecture([4, 3], x, t, rng=1) > 5e-3


# ------------------------------------------------------------------------------- what goes wrong


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--epochs", "0"], "--epochs: '0' is not an integer of at least 1"),
        (["--epochs", "2.5"], "--epochs: '2.5'"),
        (["--epochs", "many"], "--epochs: 'many'"),
        (["--seed=-1"], "--seed: '-1' is not an integer of at least 0"),
        (["--layers", "64,x"], "--layers: 'x' is not an integer of at least 1"),
        (["--layers", "64,,32"], "--layers: ''"),
        (["--layers", "0"], "--layers: '0'"),
        (["--layers", "99999,9999"], "--layers: '99999,9999' gives"),
        (["--layers", ",".join(["8"] * 21)], "these are 21 layers"),
        (["--output", ""], "--output: the name of a folder is missing"),
        (["--epoch", "3"], "unrecognized arguments: --epoch"),
        (["7"], "unrecognized arguments: 7"),
    ],
)
def test_an_option_that_makes_no_sense_is_named_in_one_line(
    options: list[str],
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as stopped:
        main(options)
    assert stopped.value.code == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert said in err
    assert err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("output", ["file", "file/inside", "holds-a-folder"])
def test_a_folder_that_cannot_be_written_to_is_named_before_anything_is_computed(
    output: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("kept")
    (tmp_path / "holds-a-folder" / "results.png").mkdir(parents=True)
    assert main(["--output", str(tmp_path / output)]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert str(tmp_path / output) in err
    assert err.count("\n") == 1
    assert (tmp_path / "file").read_text() == "kept"
    assert len(list(tmp_path.rglob("*"))) == 3


def test_where_writing_fails_nothing_is_left_half_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(*arguments: Any) -> NoReturn:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("chainrule.__main__._draw", full)
    assert main(["--epochs", "1", "--layers", "5", "--output", str(tmp_path / "new" / "er")]) == 2
    err = capsys.readouterr().err
    assert "No space left on device" in err
    assert err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_ctrl_c_ends_it_with_130_and_writes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*arguments: Any, **options: Any) -> NoReturn:
        raise KeyboardInterrupt

    monkeypatch.setattr(Trainer, "fit", interrupted)
    assert main(["--layers", "5", "--output", str(tmp_path / "new")]) == 130
    assert capsys.readouterr().err.strip() == "chainrule: stopped"
    assert list(tmp_path.iterdir()) == []


def test_without_matplotlib_it_says_so_in_one_line_and_continues(
    tmp_path: Path, no_figures: None, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--epochs", "1", "--layers", "5", "--output", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    (line,) = [line for line in out.splitlines() if "no figure" in line]
    assert "chainrule[plot]" in line
    assert sorted(path.name for path in tmp_path.iterdir()) == FILES[:2]


def test_gradients_that_are_not_the_lectures_end_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    backward_step = lecture.backward_step
    monkeypatch.setattr(lecture, "backward_step", lambda *a: (1 + 1e-9) * backward_step(*a))
    assert main(["--layers", "5", "--output", str(tmp_path / "new")]) == 1
    assert "differ from those of the lecture" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_network_that_breaks_a_law_is_not_trained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(functions.Tanh, "derivative_from_value", lambda self, y: 1 - y)
    assert main(["--layers", "5", "--output", str(tmp_path / "new")]) == 1
    assert "adjoint" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
