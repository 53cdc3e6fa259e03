"""Old names keep working for one release, with a warning that points to the caller's line."""

from __future__ import annotations

import importlib
import re
import sys
import types
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import chainrule
from chainrule.core.deprecation import (
    moved,
    renamed_attribute,
    renamed_keywords,
    renamed_settable_attribute,
    warn_deprecated,
)
from chainrule.core.errors import ChainruleError


@renamed_keywords(removed_in="9.0", ahead="prefetch", mend="hint")
def fit(x: int, *, prefetch: bool | None = None, hint: str = "") -> tuple[int, bool | None, str]:
    """Fits."""
    return x, prefetch, hint


class Failure:
    def __init__(self) -> None:
        self.hint = "the first"

    mend = renamed_settable_attribute("hint", removed_in="9.0")
    help = renamed_attribute("hint", removed_in="9.0", advice="str(failure)")


PLACES = {"rates": "chainrule.schedules", "Error": "chainrule.core.errors.ChainruleError"}


def test_a_warning_names_the_old_the_new_and_the_release() -> None:
    expected = "old is deprecated and will be removed in chainrule 9.0; use new"
    with pytest.warns(DeprecationWarning, match=f"^{re.escape(expected)}$"):
        warn_deprecated("old", "new", removed_in="9.0")


def test_a_keyword_is_accepted_by_its_old_name() -> None:
    with pytest.warns(DeprecationWarning, match="ahead= is deprecated .* use prefetch="):
        assert fit(1, ahead=True, hint="h") == (1, True, "h")  # type: ignore[call-arg]
    with pytest.warns(DeprecationWarning) as caught:
        assert fit(1, ahead=False, mend="m") == (1, False, "m")  # type: ignore[call-arg]
    assert len(caught) == 2


def test_new_keywords_do_not_warn() -> None:  # a warning is an error in the tests
    assert fit(2, prefetch=False, hint="") == (2, False, "")
    assert fit.__doc__ == "Fits."


def test_the_old_and_the_new_keyword_together_are_an_error() -> None:
    with pytest.raises(TypeError, match=r"fit\(\) got 'ahead', the old name of 'prefetch', and"):
        fit(1, ahead=True, prefetch=True)  # type: ignore[call-arg]


def test_an_attribute_is_read_and_set_by_its_old_name() -> None:
    failure = Failure()
    with pytest.warns(DeprecationWarning, match=r"Failure\.mend is .* use Failure\.hint$"):
        assert failure.mend == "the first"
    with pytest.warns(DeprecationWarning, match="mend"):
        failure.mend = "the second"
    assert failure.hint == "the second"
    with pytest.warns(DeprecationWarning, match=r"use str\(failure\)$"):
        assert failure.help == "the second"


def test_a_module_gives_what_has_moved_by_its_old_name() -> None:
    with pytest.warns(DeprecationWarning, match=r"m\.rates is .* use chainrule\.schedules$"):
        assert moved("m", "rates", PLACES, removed_in="9.0") is chainrule.schedules
    with pytest.warns(DeprecationWarning, match=r"use chainrule\.core\.errors\.ChainruleError$"):
        assert moved("m", "Error", PLACES, removed_in="9.0") is ChainruleError
    with pytest.raises(AttributeError, match="module 'm' has no attribute 'other'"):
        moved("m", "other", PLACES, removed_in="9.0")


def test_a_module_that_fails_to_import_what_it_needs_is_not_taken_for_a_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "needs_more.py").write_text("import not_there_at_all")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModuleNotFoundError, match="not_there_at_all"):
        moved("m", "old", {"old": "needs_more"}, removed_in="9.0")


CALLS = {
    "a function": "fit(ahead=True)",
    "a method of an attrs class": "Made(ahead=True)",
    "an attribute": "Made().mend",
    "an attribute of a module": "old.Error",
    "an import": "from chainrule.old import Error",
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_the_warning_points_to_the_first_line_outside_chainrule(
    call: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = types.ModuleType("chainrule.old")
    exec(OLD, old.__dict__)
    monkeypatch.setitem(sys.modules, "chainrule.old", old)
    program = compile(f"\n\n{call}", "program.py", "exec")
    names = {"__name__": "__main__", "fit": old.fit, "Made": old.Made, "old": old}
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        exec(program, names)
    assert [(w.filename, w.lineno) for w in caught] == [("program.py", 3)]


OLD = """
from attrs import define
from chainrule.core.deprecation import moved, renamed_attribute, renamed_keywords

@renamed_keywords(removed_in="9.0", ahead="prefetch")
def fit(prefetch=None):
    pass

@define
class Base:
    prefetch: object = None
    mend = renamed_attribute("prefetch", removed_in="9.0")

class Made(Base):
    __init__ = renamed_keywords(removed_in="9.0", ahead="prefetch")(Base.__init__)

def __getattr__(name):
    places = {"Error": "chainrule.core.errors.ChainruleError"}
    return moved(__name__, name, places, removed_in="9.0")
"""


def test_no_old_name_outlives_the_release_that_removes_it() -> None:
    source = Path(chainrule.__file__).parent
    found = [
        (path.name, release)
        for path in source.rglob("*.py")
        if path != Path(importlib.import_module("chainrule.core.deprecation").__file__ or "")
        for release in re.findall(r'removed_in="([\d.]+)"', path.read_text("utf-8"))
    ]
    now = _numbers(chainrule.__version__)
    assert [(name, release) for name, release in found if _numbers(release) <= now] == []


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))


# ------------------------------------------------------------- what is deprecated at present


def test_fit_takes_prefetch_by_its_old_name() -> None:
    model = chainrule.Sequential([chainrule.Dense(1)])
    loss, optimizer = chainrule.losses.HalfSquaredError(), chainrule.optimizers.SGD(0.1)
    trainer = chainrule.Trainer(model, loss, optimizer, rng=0)
    x = np.ones((4, 2))
    with pytest.warns(DeprecationWarning, match="ahead= is deprecated .* use prefetch="):
        trainer.fit(x, x[:, :1], epochs=1, progress=False, ahead=False)  # type: ignore[call-arg]


def test_an_error_has_its_hint_by_the_old_name() -> None:
    with pytest.warns(DeprecationWarning, match="use hint="):
        error = ChainruleError("wrong", mend="do this")  # type: ignore[call-arg]
    assert error.hint == "do this" and "hint      do this" in str(error)
    with pytest.warns(DeprecationWarning, match=r"use ChainruleError\.hint$"):
        assert error.mend == "do this"


class Centre(chainrule.Layer):
    def build(self, input_shape: tuple[int, ...]) -> None:
        self.state("mean", input_shape, "ones")

    def forward(self, x: Any) -> Any:
        return x - self.mean.value

    def backward(self, delta: Any) -> Any:
        return delta


def test_buffers_have_their_old_name() -> None:
    layer = Centre()
    with pytest.warns(DeprecationWarning, match=r"layer\.buffer\(name, shape\)"):
        layer.build((3,))
    assert layer.buffers.paths == ["mean"]
    with pytest.warns(DeprecationWarning, match=r"layer\.buffers"):
        state = layer.state
    assert state.value is not None and list(state) == list(layer.buffers)
    assert np.shares_memory(state.value, layer.buffers.value)


def test_a_callback_of_functions_has_its_old_name() -> None:
    with pytest.warns(DeprecationWarning, match=r"use chainrule\.callbacks\.FromFunctions$"):
        assert chainrule.callbacks.Functions is chainrule.callbacks.FromFunctions


@pytest.mark.parametrize("name", ["losses", "optimizers", "schedules", "callbacks", "data"])
def test_packages_that_were_part_of_training_are_found_there(name: str) -> None:
    training = importlib.import_module("chainrule.training")
    with pytest.warns(DeprecationWarning, match=f"use chainrule.{name}$"):
        assert getattr(training, name) is getattr(chainrule, name)


class Remembers(chainrule.Layer):
    def forward(self, x: Any) -> Any:
        self.state = x
        return x

    def backward(self, delta: Any) -> Any:
        return delta * np.ones_like(self.state)


def test_a_layer_can_remember_something_called_state() -> None:
    assert chainrule.check_layer(Remembers(), (3,)).ok


def test_no_message_recommends_an_old_name() -> None:
    source = Path(chainrule.__file__).parent
    old = re.compile(r"callbacks\.Functions\b|\bahead=|\bmend=|self\.state\(|training\.losses")
    for file in source.rglob("*.py"):
        if file.name not in ("deprecation.py", "trainer.py", "range_test.py", "errors.py"):
            assert not old.search(file.read_text("utf-8")), file
