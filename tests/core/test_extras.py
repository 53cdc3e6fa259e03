"""Optional libraries: a missing one is a named error that says how to install it."""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path

import pytest

from chainrule import errors
from chainrule.core.extras import EXTRAS, PACKAGES, required

PROJECT = Path(__file__).parents[2] / "pyproject.toml"


def test_a_missing_library_is_a_named_error_with_the_line_that_installs_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "scipy.optimize", None)
    with pytest.raises(errors.MissingExtraError, match="a fit needs scipy, which is not") as caught:
        required("scipy.optimize", "a fit needs")
    assert caught.value.hint == "pip install 'chainrule[scipy]'"
    assert isinstance(caught.value, ImportError)


def test_the_extras_and_versions_in_errors_are_those_of_the_package():
    given = tomllib.loads(PROJECT.read_text("utf-8"))["project"]["optional-dependencies"]
    for library, (extra, version) in EXTRAS.items():
        name = PACKAGES.get(library, library)
        assert any(re.fullmatch(f"{name}>={version}", each) for each in given[extra]), library
