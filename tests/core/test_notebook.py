"""Notebooks: a kernel is recognised without importing IPython; an output changes in place."""

from __future__ import annotations

import multiprocessing
import subprocess
import sys
from types import SimpleNamespace
from typing import Any

import pytest

from chainrule.core import notebook


def test_without_ipython_it_is_no_kernel_and_stays_without() -> None:
    code = "import sys; from chainrule.core import notebook; assert not notebook.is_kernel(); "
    done = subprocess.run([sys.executable, "-c", f"{code}assert 'IPython' not in sys.modules"])
    assert done.returncode == 0


@pytest.mark.parametrize(
    ("shell", "expected"),
    [(None, False), (SimpleNamespace(), False), (SimpleNamespace(kernel=object()), True)],
    ids=["no shell", "a terminal", "a kernel"],
)
def test_a_kernel_is_a_shell_with_one(
    monkeypatch: pytest.MonkeyPatch, shell: Any, expected: bool
) -> None:
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: shell))
    assert notebook.is_kernel() is expected


def test_a_process_that_a_kernel_forked_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    shell = SimpleNamespace(kernel=object())
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: shell))
    monkeypatch.setattr(multiprocessing, "parent_process", lambda: object())
    assert not notebook.is_kernel()


def test_while_ipython_is_being_imported_it_is_no_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace())
    assert not notebook.is_kernel()


def test_an_output_is_created_once_and_then_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[tuple[str, Any, str]] = []

    def publish(kind: str) -> Any:
        def called(bundle: Any, *, raw: bool, display_id: str) -> None:
            assert raw
            sent.append((kind, bundle, display_id))

        return called

    display = SimpleNamespace(display=publish("new"), update_display=publish("update"))
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace())
    monkeypatch.setitem(sys.modules, "IPython.display", display)
    for output in (notebook.LiveOutput(), notebook.LiveOutput()):
        for number in range(3):
            output.show(f"<b>{number}</b>", f"{number}")
    assert [kind for kind, _, _ in sent] == ["new", "update", "update"] * 2
    assert sent[2][1] == {"text/html": "<b>2</b>", "text/plain": "2"}
    assert len({identity for _, _, identity in sent[:3]}) == 1
    assert len({identity for _, _, identity in sent}) == 2
