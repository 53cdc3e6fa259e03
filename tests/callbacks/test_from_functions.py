"""A callback of plain functions: called like methods, and refused if unsuitable."""

from __future__ import annotations

from typing import Any

import pytest

from chainrule import callbacks
from chainrule.callbacks import Callback, FromFunctions
from chainrule.core.errors import ConfigurationError
from checkpoints.resumption import fit, trainer_of


def test_each_function_is_called_like_the_method_of_the_same_name() -> None:
    told: list[Any] = []

    def note(moment: str) -> Any:
        return lambda trainer, *rest: told.append((moment, *rest))

    class Method(Callback):
        def on_fit_begin(self, trainer: Any) -> None:
            told.append(("begin",))

        def on_step_end(self, trainer: Any, epoch: int, step: int, cost: float) -> None:
            told.append(("step", epoch, step, cost))

        def on_epoch_end(self, trainer: Any, epoch: int, figures: Any) -> None:
            told.append(("epoch", epoch, figures))

        def on_fit_end(self, trainer: Any) -> None:
            told.append(("end",))

    functions = FromFunctions(
        on_fit_begin=lambda trainer: told.append(("begin",)),
        on_step_end=note("step"),
        on_epoch_end=note("epoch"),
        on_fit_end=lambda trainer: told.append(("end",)),
    )
    fit(trainer_of(), [functions], epochs=2)
    by_functions, told[:] = list(told), []
    fit(trainer_of(), [Method()], epochs=2)
    assert by_functions == told and len(told) == 2 + 2 * (3 + 1)


def test_figures_become_a_column() -> None:
    steps = FromFunctions(figures=lambda trainer, epoch: {"steps": trainer.steps})
    assert fit(trainer_of(), [steps], epochs=3).history["steps"] == [3, 6, 9]


def test_one_function_is_enough() -> None:
    epochs: list[int] = []
    fit(trainer_of(), [FromFunctions(on_epoch_end=lambda t, n, f: epochs.append(n))], epochs=2)
    assert epochs == [1, 2]


@pytest.mark.parametrize("function", [lambda *told: None, lambda t, e, f, more=0: None, max, print])
def test_every_suitable_callable_is_accepted(function: Any) -> None:
    assert isinstance(FromFunctions(on_epoch_end=function), Callback)


@pytest.mark.parametrize(
    ("name", "function", "problem"),
    [
        ("on_epoch_end", 3, "is not a function"),
        ("on_epoch_end", "print", "is not a function"),
        ("on_epoch_end", [].append, "does not accept the arguments of its call"),
        ("on_epoch_end", lambda figures: None, "does not accept the arguments of its call"),
        ("on_step_end", lambda trainer, epoch, step: None, "does not accept"),
        ("on_step_end", lambda trainer, epoch, step, *, cost: None, "does not accept"),
        ("on_fit_begin", lambda: None, "does not accept"),
        ("on_fit_end", lambda trainer, figures: None, "does not accept"),
        ("figures", lambda trainer: {}, "does not accept"),
    ],
)
def test_an_unsuitable_callable_is_refused_with_the_expected_arguments(
    name: str, function: Any, problem: str
) -> None:
    with pytest.raises(ConfigurationError, match=f"^{name} {problem}") as caught:
        FromFunctions(**{name: function})
    error = caught.value
    arguments = ", ".join(callbacks.from_functions.SIGNATURES[name])
    assert error.expected == f"a function of ({arguments})"
    assert error.hint == f"{name}=lambda {arguments}: …"
    assert " at 0x" not in str(error)


def test_no_function_at_all_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="no function to call") as caught:
        FromFunctions()
    assert "on_epoch_end" in str(caught.value.hint)


def test_it_prints_the_names_of_its_functions() -> None:
    def halve(trainer: Any, epoch: int, figures: Any) -> None: ...

    assert repr(FromFunctions(on_epoch_end=halve)) == "FromFunctions(on_epoch_end=halve)"


def test_only_a_figures_function_makes_the_columns_unknown() -> None:
    assert FromFunctions(figures=lambda trainer, epoch: {}).added_columns() is None
    assert FromFunctions(on_epoch_end=print).added_columns() == ()
