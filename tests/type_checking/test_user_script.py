"""What pyright and mypy say of a user's program in strict mode; `make typing` runs it.

`user_script.py` must pass both. In `planted_mistakes.py` each line that ends with ``# mistake``
must be reported by both, and no other line.
"""

from __future__ import annotations

import json
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
GOOD, BAD = HERE / "user_script.py", HERE / "planted_mistakes.py"


def test_the_script_runs(capsys: pytest.CaptureFixture[str]) -> None:
    runpy.run_path(str(GOOD))
    assert "laws hold" in capsys.readouterr().out


@pytest.mark.typing
@pytest.mark.parametrize("checker", ["mypy", "pyright"])
def test_checkers_accept_the_script_and_report_each_mistake(checker: str, tmp_path: Path) -> None:
    found = CHECKERS[checker](tmp_path)
    lines = BAD.read_text("utf-8").splitlines()
    expected = {number for number, line in enumerate(lines, 1) if "# mistake" in line}
    assert [error for error in found if error[0] == GOOD.name] == []
    assert {line for name, line, _ in found if name == BAD.name} == expected


def _mypy(folder: Path) -> list[tuple[str, int, str]]:
    """The errors that mypy finds: file, line, message. It does not see our own configuration."""
    options = ["--strict", "--config-file=", f"--cache-dir={folder}", "--output=json"]
    printed = _run("mypy", *options, GOOD, BAD).splitlines()
    errors = [json.loads(line) for line in printed if line.startswith("{")]
    return [(Path(e["file"]).name, e["line"], e["message"]) for e in errors]


def _pyright(folder: Path) -> list[tuple[str, int, str]]:
    """The same of pyright, which is strict by a comment in each script."""
    options = ["--pythonpath", sys.executable, "--outputjson"]
    errors = json.loads(_run("pyright", *options, GOOD, BAD))["generalDiagnostics"]
    return [(Path(e["file"]).name, e["range"]["start"]["line"] + 1, e["message"]) for e in errors]


def _run(module: str, *options: object) -> str:
    command = [sys.executable, "-m", module, *map(str, options)]
    return subprocess.run(command, capture_output=True, text=True, cwd=HERE, check=False).stdout


CHECKERS = {"mypy": _mypy, "pyright": _pyright}
