"""Descent: what every optimizer is, and how it goes down with a model.

An `Optimizer` is a rule by which a vector θ moves, given its gradient g:

    θ, memory ← rule(θ, g, memory)

The rules themselves stand in `chainrule.optimizers`; `chainrule.optimizers.chunked` has
what they have in common.

Where some parameters are frozen, or biases are left out of the weight decay, not all of θ moves
alike. Then a step is told of which parts θ consists (see `chainrule.optimizers.slices`); `Descent`
finds them for a model, and goes on finding them when something is frozen or let go between steps.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from attrs import define, field, fields

from chainrule.core.errors import DefinitionError, DtypeError, ShapeError
from chainrule.core.parameter import Parameter, ParameterVector
from chainrule.core.types import Array
from chainrule.core.validators import as_float, not_negative
from chainrule.optimizers.messages import description, refuse_state_of_another, refuse_vectors
from chainrule.optimizers.slices import ParameterSlice, between, gather, scatter, slices_of


@define
class Optimizer:
    """What every optimizer is: a rule by which a vector moves, given its gradient.

    Subclass it, decorate the subclass with `attrs.define`, and write ``step``:

        @define
        class SignDescent(Optimizer):
            def step(self, value, gradient):
                self.check(value, gradient)
                value -= self.learning_rate * np.sign(gradient)

    Parameters
    ----------
    learning_rate
        η ≥ 0. It may be changed between steps.

    Notes
    -----
    What an optimizer remembers belongs into attrs fields with ``init=False`` and a default that
    says that there is nothing yet: `reset` goes back to that. Those whose names have no underscore
    in front are its `state`, which checkpoints keep.
    """

    learning_rate: float = field(converter=as_float, validator=not_negative)
    _kept: Array | None = field(default=None, init=False, repr=False, eq=False)

    def step(self, value: Array, gradient: Array) -> None:
        """Change ``value`` in place, by what ``gradient`` says; ``gradient`` stays as it is.

        Parameters
        ----------
        value
            θ, a vector of floating-point numbers, such as ``model.parameters.value``.
        gradient
            ∂C/∂θ, of the same size and dtype, such as ``model.parameters.grad``.

        Raises
        ------
        ShapeError, DtypeError, ConfigurationError
            See `check`. Nothing is changed then.
        """
        raise DefinitionError(
            "an optimizer needs a method step",
            place=type(self).__name__,
            expected="step(self, value, gradient), which changes value in place",
            received="a class without step",
            hint="write it, or use SGD or Adam",
        )

    def step_parts(self, value: Array, gradient: Array, parts: Sequence[ParameterSlice]) -> None:
        """`step` for some parts of the vector; not a bit of what lies between them changes.

        Whatever ``step`` does, the numbers between the parts are put back afterwards. An optimizer
        of one's own that has a weight decay may look at ``part.decays`` in a method of this name.

        Parameters
        ----------
        value, gradient
            The whole vectors, as in `step`.
        parts
            What moves, in the order of the vector; see `parts_of`.

        Raises
        ------
        ShapeError
            The parts are not in order, or do not lie within the vector.
        ShapeError, DtypeError, ConfigurationError
            As in `step`.
        """
        self.check(value, gradient)
        gaps = between(parts, value.size, type(self).__name__)
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

        This is for a loop of one's own::

            model.parameters.zero_grad()
            y = model.forward(x)
            model.backward_parameters(loss.delta(y, t))
            optimizer.descend(model.parameters)

        Raises
        ------
        ShapeError, DtypeError, ConfigurationError
            As in `step`.
        """
        Descent(self, parameters).step(parameters.value, parameters.grad)

    @property
    def _spares_biases(self) -> bool:
        """Whether weight decay shall leave out biases, for which a step has to know the parts."""
        return False

    def state(self) -> dict[str, Any]:
        """All that a new optimizer of the same configuration needs to go on as this one would.

        Returns
        -------
        dict
            The name of the class as ``"class"``, the learning rate, which may have changed, and
            what the steps have left behind, by name; arrays are copies.
        """
        held = {name: _plain(getattr(self, name)) for name in self._names_of_state()}
        return {"class": type(self).__name__, **held}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on where the optimizer was of which this is the `state`; arrays are copied.

        Raises
        ------
        ConfigurationError
            The state is that of another class, something is missing in it, there is too much, or
            something of another kind. Nothing is changed then.
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

    def _names_of_state(self) -> list[str]:
        remembered = [each.name for each in fields(type(self)) if not each.init]
        return ["learning_rate", *(name for name in remembered if name[0] != "_")]

    def _refuse_state(self, state: dict[str, Any]) -> None:
        """Raise an error for values that cannot be what the optimizer remembers."""

    def reset(self) -> None:
        """Forget all earlier steps, as if the optimizer were new: for another model, or a restart.

        The configuration, a changed learning rate included, stays.
        """
        for each in fields(type(self)):
            if not each.init:
                default: Any = each.default
                fresh = default.factory() if hasattr(default, "factory") else default
                setattr(self, each.name, fresh)

    def check(self, value: Array, gradient: Array, *remembered: Array | None) -> None:
        """Raise a named error for what a step cannot work on; cheap enough for every step.

        Parameters
        ----------
        value, gradient
            What ``step`` was given.
        remembered
            Vectors from earlier steps, where there are any: they have to have the size of value.

        Raises
        ------
        ShapeError
            The two are not vectors of the same size, or the optimizer remembers another size.
        DtypeError
            The two are not arrays of floating-point numbers of the same type, or the optimizer
            remembers another type.
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
                    hint="take a new optimizer for each model, or call reset() in between",
                )


# ------------------------------------------------------------------- going down with a model


class Descent:
    """An optimizer and the parameters of a model that it moves; what is frozen stays.

    It looks for what is frozen once, and again when something was frozen or let go.

    Parameters
    ----------
    optimizer
        The rule.
    parameters
        ``model.parameters``.
    """

    __slots__ = ("_last_freezing", "_optimizer", "_parameters", "_parts", "_spares_biases")

    def __init__(self, optimizer: Optimizer, parameters: ParameterVector) -> None:
        self._optimizer, self._parameters = optimizer, parameters
        self._look()

    @property
    def parts(self) -> tuple[ParameterSlice, ...] | None:
        """What moves; None where that is all of the vector, with nothing to tell apart in it."""
        if (
            self._last_freezing is not Parameter.last_freezing
            or self._optimizer._spares_biases is not self._spares_biases
        ):
            self._look()
        return self._parts

    def step(self, value: Array, gradient: Array) -> None:
        """Take a step with the value and the gradient of the parameters, which are at hand."""
        parts = self.parts
        if parts is None:
            self._optimizer.step(value, gradient)
        else:
            self._optimizer.step_parts(value, gradient, parts)

    def moving(self, vector: Array) -> list[Array]:
        """The stretches that move of the value, the gradient, or another vector as long as they."""
        parts = self.parts
        return [vector] if parts is None else [vector[part.start : part.stop] for part in parts]

    def _look(self) -> None:
        # Noted first: what another thread freezes meanwhile is then looked at the next time.
        self._last_freezing = Parameter.last_freezing
        self._spares_biases = self._optimizer._spares_biases
        parts = slices_of(self._parameters, decay_biases=not self._spares_biases)
        size = self._parameters.size
        self._parts = None if parts == (ParameterSlice(0, size),) or not size else parts


def _plain(value: Any) -> Any:
    """A copy; of a single NumPy number, the Python number."""
    return value.item() if isinstance(value, np.generic) else copy.deepcopy(value)
