"""A callback made from plain functions, for cases too small for a class.

    print_rate = callbacks.FromFunctions(
        on_epoch_end=lambda trainer, epoch, figures: print(epoch, figures["loss"])
    )

Each function is called like the method of the same name, with the trainer first.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from attrs import define, field

from chainrule.callbacks.callback import Callback
from chainrule.core.errors import ConfigurationError, described

if TYPE_CHECKING:
    from chainrule.training.trainer import Trainer

SIGNATURES = {
    "on_fit_begin": ("trainer",),
    "on_step_end": ("trainer", "epoch", "step", "cost"),
    "figures": ("trainer", "epoch"),
    "on_epoch_end": ("trainer", "epoch", "figures"),
    "on_fit_end": ("trainer",),
}
"""The arguments of each function."""


def _fits(callback: object, attribute: Any, value: Any) -> None:
    """Raise an error if a function cannot be called with its arguments."""
    if value is None:
        return
    arguments = SIGNATURES[attribute.alias]
    example = f"lambda {', '.join(arguments)}: …"
    if not callable(value):
        raise ConfigurationError(
            f"{attribute.alias} is not a function",
            place="FromFunctions",
            expected=f"a function of ({', '.join(arguments)})",
            received=described(value),
            hint=f"{attribute.alias}={example}",
        )
    try:
        signature = inspect.signature(value)
    except (ValueError, TypeError):  # some functions written in C have no signature
        return
    try:
        signature.bind(*arguments)
    except TypeError as error:
        raise ConfigurationError(
            f"{attribute.alias} does not accept the arguments of its call",
            place="FromFunctions",
            expected=f"a function of ({', '.join(arguments)})",
            received=f"{_name_of(value)}{signature}: {error}",
            hint=f"{attribute.alias}={example}",
        ) from error


@define(eq=False, repr=False)
class FromFunctions(Callback):
    """Calls your functions at the moments of a callback.

    Parameters
    ----------
    on_fit_begin
        A function of (trainer), before the first step.
    on_step_end
        A function of (trainer, epoch, step, cost), after each step.
    figures
        A function of (trainer, epoch) that returns a dictionary: the figures to add to the history,
        by column.
    on_epoch_end
        A function of (trainer, epoch, figures), after each epoch and its validation.
    on_fit_end
        A function of (trainer), at the end of the run, for whatever reason it ended.

    Raises
    ------
    ConfigurationError
        No function is given, or one of them is not a function or takes other arguments.

    See Also
    --------
    Callback : describes each moment in detail.

    Examples
    --------
    >>> costs = []
    >>> keep = callbacks.FromFunctions(on_step_end=lambda trainer, epoch, step, C: costs.append(C))
    >>> x = np.array([[0.0], [1.0]])
    >>> trainer = Trainer(Sequential([Dense(1)]), losses.HalfSquaredError(), optimizers.SGD(0.1))
    >>> history = trainer.fit(x, x, epochs=3, batch_size=1, callbacks=[keep])
    >>> len(costs)
    6
    """

    # Each alias is what attrs would choose; it is written out for type checkers.
    _on_fit_begin: Callable[[Trainer], object] | None = field(
        default=None, kw_only=True, alias="on_fit_begin", validator=_fits
    )
    _on_step_end: Callable[[Trainer, int, int, float], object] | None = field(
        default=None, kw_only=True, alias="on_step_end", validator=_fits
    )
    _figures: Callable[[Trainer, int], Mapping[str, float]] | None = field(
        default=None, kw_only=True, alias="figures", validator=_fits
    )
    _on_epoch_end: Callable[[Trainer, int, Mapping[str, float]], object] | None = field(
        default=None, kw_only=True, alias="on_epoch_end", validator=_fits
    )
    _on_fit_end: Callable[[Trainer], object] | None = field(
        default=None, kw_only=True, alias="on_fit_end", validator=_fits
    )

    def __attrs_post_init__(self) -> None:
        if not self._given:
            raise ConfigurationError(
                "there is no function to call",
                place="FromFunctions",
                expected=f"one or more of {', '.join(SIGNATURES)}",
                received="FromFunctions()",
                hint="FromFunctions(on_epoch_end=lambda trainer, epoch, figures: …)",
            )

    def on_fit_begin(self, trainer: Trainer) -> None:
        """Call the function of this name, if there is one."""
        if self._on_fit_begin is not None:
            self._on_fit_begin(trainer)

    def on_step_end(self, trainer: Trainer, epoch: int, step: int, cost: float) -> None:
        """Call the function of this name, if there is one."""
        if self._on_step_end is not None:
            self._on_step_end(trainer, epoch, step, cost)

    def figures(self, trainer: Trainer, epoch: int) -> Mapping[str, float]:
        """The result of the function of this name, if there is one."""
        return {} if self._figures is None else self._figures(trainer, epoch)

    def on_epoch_end(self, trainer: Trainer, epoch: int, figures: Mapping[str, float]) -> None:
        """Call the function of this name, if there is one."""
        if self._on_epoch_end is not None:
            self._on_epoch_end(trainer, epoch, figures)

    def on_fit_end(self, trainer: Trainer) -> None:
        """Call the function of this name, if there is one."""
        if self._on_fit_end is not None:
            self._on_fit_end(trainer)

    def added_columns(self) -> Sequence[str] | None:
        """None if there is a function for `figures`: its columns are known after its first call."""
        return () if self._figures is None else None

    @property
    def _given(self) -> list[str]:
        return [name for name in SIGNATURES if getattr(self, f"_{name}") is not None]

    def __repr__(self) -> str:
        named = [f"{name}={_name_of(getattr(self, f'_{name}'))}" for name in self._given]
        return f"FromFunctions({', '.join(named)})"


def _name_of(function: Any) -> str:
    return getattr(function, "__name__", type(function).__name__)
