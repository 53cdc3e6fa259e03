"""The errors: their messages, their places, and the built-in errors that they are."""

from __future__ import annotations

import pickle

import pytest

from chainrule.core import errors
from chainrule.core.errors import ChainruleError, ShapeError

KINDS = {
    "DefinitionError": TypeError,
    "ConfigurationError": ValueError,
    "ArgumentError": TypeError,
    "BuildError": RuntimeError,
    "ShapeError": ValueError,
    "DtypeError": TypeError,
    "BackwardBeforeForwardError": RuntimeError,
    "DataError": ValueError,
    "NonFiniteError": ArithmeticError,
    "RankError": RuntimeError,
    "ConvergenceError": ArithmeticError,
    "SingularMatrixError": ArithmeticError,
    "NoTangentRuleError": NotImplementedError,
    "UndecidedError": NotImplementedError,
    "ExportError": NotImplementedError,
    "LayerCheckError": AssertionError,
    "MissingExtraError": ImportError,
    "StorageError": ValueError,
}


def test_a_message_is_the_problem_then_place_expected_received_and_hint():
    error = ShapeError(
        "Dense: the input has another width",
        place="sequential/dense_2",
        expected=(3, 30),
        received=(3, 31),
        hint="give it rows of 30 numbers",
    )
    assert str(error).splitlines() == [
        "Dense: the input has another width",
        "  at        sequential/dense_2",
        "  expected  (3, 30)",
        "  received  (3, 31)",
        "  hint      give it rows of 30 numbers",
    ]


def test_an_empty_line_is_left_out_but_zero_is_shown():
    assert str(ShapeError("no")) == "no"
    assert str(ShapeError("no", received=0)).splitlines() == ["no", "  received  0"]


def test_containers_put_their_names_in_front_of_the_place():
    error = ShapeError("no")
    assert error.within("dense_1") is error
    assert error.within("sequential").within("model").place == "model/sequential/dense_1"
    error.is_located = True  # by another process
    assert error.within("graph").place == "model/sequential/dense_1"


@pytest.mark.parametrize(("name", "builtin"), KINDS.items())
def test_every_error_is_a_chainrule_error_and_a_built_in_error(name, builtin):
    kind = getattr(errors, name)
    with pytest.raises(builtin):
        raise kind("a problem")
    assert issubclass(kind, ChainruleError)
    assert kind.__doc__


def test_these_tests_cover_every_error():
    written = {
        n for n, e in vars(errors).items() if isinstance(e, type) and issubclass(e, Exception)
    }
    assert written == {*KINDS, "ChainruleError"}


@pytest.mark.parametrize("name", KINDS)
def test_errors_survive_pickling(name):
    error = getattr(errors, name)("a problem", place="here", expected=1, received=2, hint="so")
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is type(error) and str(again) == str(error)
    assert (again.place, again.expected, again.received, again.hint) == ("here", 1, 2, "so")
