"""The examples in the docstrings print what they say."""

from __future__ import annotations

import doctest
import importlib
import pkgutil
from typing import Any

import numpy as np
import pytest
from attrs import frozen

import chainrule
from chainrule.layers.functions import Function, Pair


def marked(name: str) -> Any:
    """A module; one of an edge needs its library, and is tested by `make edges`."""
    is_edge = name.startswith("chainrule.interop.")
    return pytest.param(name, marks=pytest.mark.edges) if is_edge else name


MODULES = [
    marked(module.name)
    for module in pkgutil.walk_packages(chainrule.__path__, "chainrule.")
    if not module.name.endswith("__main__")
]


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_of_a_module_print_what_they_say(name):
    module = importlib.import_module(name)
    shown = {key: getattr(chainrule, key) for key in chainrule.__all__}
    shown |= {"np": np, "frozen": frozen, "Function": Function, "Pair": Pair}
    shown |= vars(module)
    failures, _ = doctest.testmod(module, extraglobs=shown)
    assert failures == 0
