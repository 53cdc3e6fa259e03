"""The base class of all optimizers, and how an optimizer moves the parameters of a model.

An `Optimizer` is a rule by which a vector θ moves, given its gradient g:

    θ, memory ← rule(θ, g, memory)

The other modules of `chainrule.optimizers` contain the rules; `chainrule.optimizers.chunked`
contains the code that they share.

If some parameters are frozen, or biases are left out of the weight decay, not all of θ moves alike.
A step then takes the slices of θ that move (see `chainrule.optimizers.slices`). `Descent` finds
them for a model, and updates them when parameters are frozen or unfrozen between steps.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from attrs import define, field, fields

from chainrule.core.errors import DefinitionError, DtypeError, ShapeError, described
from chainrule.core.hints import Hinted
from chainrule.core.ownership import UsedBy
from chainrule.core.parameter import Parameter, ParameterVector
from chainrule.core.types import Array
from chainrule.core.validators import as_float, not_negative
from chainrule.optimizers.messages import (
    another_model,
    description,
    refuse_state_of_another,
    refuse_vectors,
)
from chainrule.optimizers.slices import ParameterSlice, gaps_between, gather, scatter, slices_of


@define
class Optimizer(Hinted):
    """The base class of all optimizers: a rule by which a vector moves, given its gradient.

    For a custom rule, subclass it, decorate the subclass with `attrs.define`, and write ``step``:

        @define
        class SignDescent(Optimizer):
            def step(self, value, gradient):
                self.check(value, gradient)
                value -= self.learning_rate * np.sign(gradient)

    Parameters
    ----------
    learning_rate
        η ≥ 0. It can be changed between steps.

    Notes
    -----
    What an optimizer remembers belongs in attrs fields with ``init=False`` and a default that means
    "nothing yet", to which `reset` returns. The fields without a leading underscore make up its
    `state`, which checkpoints save.
    """

    learning_rate: float = field(converter=as_float, validator=not_negative)
    _kept: Array | None = field(default=None, init=False, repr=False, eq=False)
    _used_by: UsedBy = field(factory=UsedBy, init=False, repr=False, eq=False)

    def step(self, value: Array, gradient: Array, /) -> None:
        """Change ``value`` in place according to ``gradient``, which stays unchanged.

        Parameters
        ----------
        value
            θ, a vector of floating-point numbers, such as ``model.parameters.value``.
        gradient
            ∂C/∂θ, with the same size and dtype, such as ``model.parameters.grad``.

        Raises
        ------
        ShapeError, DtypeError, ConfigurationError
            See `check`. Nothing changes in this case.
        """
        raise DefinitionError(
            "an optimizer needs a method named step",
            place=type(self).__name__,
            expected="step(self, value, gradient), which changes value in place",
            received="a class without step",
            hint="write step, or use SGD or Adam",
        )

    def equations(self) -> Mapping[str, str]:
        """A step as assignments in order, NumPy expressions by name, for `chainrule.program`.

        The names are ``value`` θ, ``gradient``, ``learning_rate``, ``change`` for a part, and those
        of vectors that are remembered, which start from zero: for momentum ``{"velocity": "0.9 *
        velocity + gradient", "value": "value - learning_rate * velocity"}``.

        Raises
        ------
        DefinitionError
            If the optimizer does not provide them.
        """
        raise DefinitionError(
            "an optimizer needs a method named equations to be written out",
            place=type(self).__name__,
            expected='{"value": "value - learning_rate * gradient"}',
            received="a class without equations",
            hint="return the new value of each vector that a step changes, in order",
        )

    def step_parts(self, value: Array, gradient: Array, parts: Sequence[ParameterSlice]) -> None:
        """`step` for some slices of the vector; not a bit of the rest of the vector changes.

        Whatever ``step`` does, the numbers between the slices are restored afterwards. A custom
        optimizer with weight decay can override this method and read ``decays`` of each slice.

        Parameters
        ----------
        value, gradient
            The whole vectors, as in `step`.
        parts
            The slices that move, in the order of the vector; see `slices_of`.

        Raises
        ------
        ShapeError
            The slices overlap, are not in order, or exceed the vector.
        ShapeError, DtypeError, ConfigurationError
            As in `step`.
        """
        self.check(value, gradient)
        gaps = gaps_between(parts, value.size, type(self).__name__)
        size = sum(gap.stop - gap.start for gap in gaps)
        kept = self._kept
        if kept is None or kept.size != size or kept.dtype != value.dtype:
            kept = self._kept = np.empty_like(value, shape=size)
        gather(kept, value, gaps)
        try:
            self.step(value, gradient)
        finally:
            scatter(kept, value, gaps)

    def descend(self, parameters: ParameterVector) -> None:
        """Take a step with the parameters of a model and their gradient; what is frozen stays.

        Use it in a custom training loop::

            model.parameters.zero_grad()
            y = model.forward(x)
            model.backward_parameters(loss.delta(y, t))
            optimizer.descend(model.parameters)

        Raises
        ------
        DefinitionError
            It is not the ``parameters`` of a model.
        ShapeError, DtypeError, ConfigurationError
            As in `step`.
        """
        if not isinstance(parameters, ParameterVector):
            raise DefinitionError(
                "descend takes the parameters of a model",
                place=type(self).__name__,
                expected="optimizer.descend(model.parameters)",
                received=described(parameters),
                hint="its .parameters" if hasattr(parameters, "forward") else None,
            )
        Descent(self, parameters).step(parameters.value, parameters.grad)

    def work_for(self, model: Any) -> None:
        """Note which model it moves; a `Trainer` calls this before the first step.

        Warns
        -----
        ReusedStateWarning
            What it remembers of another model would enter the steps of this one.
        """
        if not hasattr(self, "_used_by"):  # a subclass whose __init__ calls no other
            self._used_by = UsedBy()
        remembered = self._remembered_of(model.parameters.value)
        self._used_by.is_now(model, remembered and another_model(self, remembered))

    def _remembered_of(self, value: Array) -> str | None:
        """What it remembers that fits such a vector; what does not fit is an error in the step."""
        state = {name: getattr(self, name, None) for name in self._names_of_state()[1:]}
        arrays = {n: each for n, each in state.items() if isinstance(each, np.ndarray)}
        if any(each.ndim == 1 and each.shape != value.shape for each in arrays.values()):
            return None
        counts = [n for n, each in state.items() if type(each) is int and each]
        return ", ".join([*arrays, *counts]) or None

    @property
    def _excludes_biases(self) -> bool:
        """Whether weight decay leaves out biases; a step then has to know the slices."""
        return False

    def state(self) -> dict[str, Any]:
        """Everything that a new optimizer with the same configuration needs to continue this one.

        Returns
        -------
        dict
            The name of the class as ``"class"``, the learning rate, which may have changed, and
            what the optimizer remembers of its steps, by name; arrays are copies.
        """
        values = {name: _plain(getattr(self, name)) for name in self._names_of_state()}
        return {"class": type(self).__name__, **values}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Continue from the `state` of another optimizer of this class; arrays are copied.

        Raises
        ------
        ConfigurationError
            The state belongs to another class, an item is missing or unknown, or a value is
            invalid. Nothing changes in this case.
        """
        names = self._names_of_state()
        refuse_state_of_another(self, state, names)
        new = {name: copy.deepcopy(state[name]) for name in names}
        self._refuse_state(new)
        before = {name: getattr(self, name) for name in names}
        try:
            for name in names:
                setattr(self, name, new[name])
        except BaseException:
            for name in names:
                setattr(self, name, before[name])
            raise
        self._used_by = UsedBy()

    def _names_of_state(self) -> list[str]:
        remembered = [each.name for each in fields(type(self)) if not each.init]
        return ["learning_rate", *(name for name in remembered if name[0] != "_")]

    def _refuse_state(self, state: dict[str, Any]) -> None:
        """Raise an error for values that this optimizer cannot have stored."""

    def reset(self) -> None:
        """Forget all earlier steps, as if the optimizer were new: for another model, or a restart.

        The configuration stays, including a learning rate that was changed.
        """
        for each in fields(type(self)):
            if not each.init:
                default: Any = each.default
                fresh = default.factory() if hasattr(default, "factory") else default
                setattr(self, each.name, fresh)

    def check(self, value: Array, gradient: Array, *remembered: Array | None) -> None:
        """Raise a named error for vectors that a step cannot use; fast enough for every step.

        Parameters
        ----------
        value, gradient
            The arguments of ``step``.
        remembered
            Vectors remembered from earlier steps, or None; they must have the size of ``value``.

        Raises
        ------
        ShapeError
            The two are not vectors of the same size, or a remembered vector has another size.
        DtypeError
            The two are not arrays of floating-point numbers with the same dtype, or a remembered
            vector has another dtype.
        ConfigurationError
            ``value`` is read-only.
        """
        try:
            dtype = value.dtype
            fits = (
                value.ndim == 1
                and value.shape == gradient.shape
                and dtype == gradient.dtype
                and dtype.kind == "f"
                and value.flags.writeable
            )
        except AttributeError:
            fits = False
        if not fits:
            refuse_vectors(self, value, gradient)
        for vector in remembered:
            if vector is not None and (vector.shape != value.shape or vector.dtype != value.dtype):
                kind = DtypeError if vector.shape == value.shape else ShapeError
                raise kind(
                    "the optimizer remembers steps of another vector",
                    place=type(self).__name__,
                    expected=description(vector),
                    received=description(value),
                    hint="use a new optimizer for each model, or call reset() in between",
                )


# ------------------------------------------------------------------- the steps of a model


class Descent:
    """An optimizer and the parameters of a model that it moves; what is frozen stays.

    The slices that move are found once, and again after a parameter was frozen or unfrozen.

    Parameters
    ----------
    optimizer
        The rule.
    parameters
        ``model.parameters``.
    """

    __slots__ = ("_excludes_biases", "_last_freezing", "_optimizer", "_parameters", "_slices")

    def __init__(self, optimizer: Optimizer, parameters: ParameterVector) -> None:
        self._optimizer, self._parameters = optimizer, parameters
        self._find_slices()

    @property
    def slices(self) -> tuple[ParameterSlice, ...] | None:
        """The slices that move; None if the whole vector moves as a single slice."""
        if (
            self._last_freezing is not Parameter.last_freezing
            or self._optimizer._excludes_biases is not self._excludes_biases
        ):
            self._find_slices()
        return self._slices

    def step(self, value: Array, gradient: Array) -> None:
        """Take a step, given the value and the gradient of the parameters."""
        slices = self.slices
        if slices is None:
            self._optimizer.step(value, gradient)
        else:
            self._optimizer.step_parts(value, gradient, slices)

    def moving(self, vector: Array) -> list[Array]:
        """The slices that move, taken from the value, the gradient or another vector like θ."""
        slices = self.slices
        return [vector] if slices is None else [vector[each.start : each.stop] for each in slices]

    def _find_slices(self) -> None:
        # Stored first, so that what another thread freezes meanwhile is noticed the next time.
        self._last_freezing = Parameter.last_freezing
        self._excludes_biases = self._optimizer._excludes_biases
        slices = slices_of(self._parameters, decay_biases=not self._excludes_biases)
        size = self._parameters.size
        self._slices = None if slices == (ParameterSlice(0, size),) or not size else slices


def _plain(value: Any) -> Any:
    """A copy; for a NumPy scalar, the Python number."""
    return value.item() if isinstance(value, np.generic) else copy.deepcopy(value)
