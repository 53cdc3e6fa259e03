"""Descent: what every optimizer is, and how it goes through a long vector in pieces.

An `Optimizer` is a rule by which a vector θ moves, given its gradient g. The rules themselves
stand in `chainrule.training.optimizers`; here is what they have in common:

    g ← clipped g                   where that is asked for
    θ, memory ← rule(θ, g, memory)  piece by piece

A piece stays in the processor's cache while several operations are done on it. So beside what is
remembered a step needs no memory that grows with the model, and it is quicker than with whole
vectors.

Where some parameters are frozen, or biases are left out of the weight decay, not all of θ moves
alike. Then a step is told of which parts θ consists (see `chainrule.training.parts`); `Descent`
finds them for a model, and goes on finding them when something is frozen or let go between steps.
"""

from __future__ import annotations

import copy
import math
import numbers
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

import numpy as np
from attrs import define, field, fields

from chainrule.core.errors import ConfigurationError, DefinitionError, DtypeError, ShapeError
from chainrule.core.parameter import Array, Parameter, ParameterVector
from chainrule.core.wording import is_whole
from chainrule.training.parts import (
    PIECE,
    WHOLE,
    Cut,
    Part,
    are_stretches,
    between,
    gather,
    parts_of,
    pieces,
    scatter,
)

# ------------------------------------------------------------------- what arguments are taken for


def as_float(value: Any) -> Any:
    """A Python float, also of a NumPy number: that one would make float64 of float32 arrays."""
    # What is no number, or none that a float can hold, is left for the validator to refuse.
    if not isinstance(value, numbers.Real) or isinstance(value, bool):
        return value
    try:
        return float(value)
    except OverflowError:
        return value


def as_floats(values: Any) -> Any:
    """Two Python floats, of a tuple or a list."""
    return (
        tuple(as_float(value) for value in values) if isinstance(values, list | tuple) else values
    )


def complain(owner: object, name: str, expected: str, received: object, mend: str) -> NoReturn:
    """Raise the error for an argument that makes no sense."""
    raise ConfigurationError(
        f"{name} has a value that makes no sense",
        place=type(owner).__name__,
        expected=expected,
        received=f"{received!r:.60}",
        mend=mend,
    )


def positive(owner: object, attribute: Any, value: Any) -> None:
    """Refuse all but finite numbers above 0."""
    if not isinstance(value, float) or not 0 < value < math.inf:
        complain(owner, attribute.name, "a finite number above 0", value, "1e-8 is usual")


def positive_or_none(owner: object, attribute: Any, value: Any) -> None:
    """Refuse all but None and finite numbers above 0."""
    if value is not None and (not isinstance(value, float) or not 0 < value < math.inf):
        mend = "None clips nothing; 1.0 is a usual one"
        complain(owner, attribute.name, "a finite number above 0, or None", value, mend)


def not_negative(owner: object, attribute: Any, value: Any) -> None:
    """Refuse all but finite numbers from 0 on."""
    if not isinstance(value, float) or not 0 <= value < math.inf:
        if attribute.name == "learning_rate" and hasattr(value, "plot"):  # a schedule
            number, what = "the number to begin with", f"LearningRate({type(value).__name__}(…))"
            complain(owner, attribute.name, number, value, f"fit(…, callbacks=[{what}])")
        mend = {
            "learning_rate": "often between 1e-4 and 1; with 0 nothing moves",
            "learning_rate_decay": "0 is no decay at all; 1e-3 is small, 1 is strong",
            "initial_accumulator": "0 begins with nothing; 0.1 makes the first steps shorter",
            "weight_decay": "0 is no decay at all; 1e-4 is a usual one",
        }[attribute.name]
        complain(owner, attribute.name, "a finite number, 0 or more", value, mend)


def below_one(owner: object, attribute: Any, value: Any) -> None:
    """Refuse all but numbers from 0 up to, but not, 1."""
    if not isinstance(value, float) or not 0 <= value < 1:
        mend = "it is the part of the past that is kept at each step, such as 0.9"
        complain(owner, attribute.name, "a number from 0 up to, but not, 1", value, mend)


def two_below_one(owner: object, attribute: Any, values: Any) -> None:
    """Refuse all but two numbers from 0 up to, but not, 1."""
    if not isinstance(values, tuple) or len(values) != 2:
        complain(owner, attribute.name, "two numbers", values, "(0.9, 0.999) are usual")
    for value in values:
        below_one(owner, attribute, value)


def true_or_false(owner: object, attribute: Any, value: Any) -> None:
    """Refuse all but True and False."""
    if not isinstance(value, bool):
        mend = f"{attribute.name}={not attribute.default}"
        complain(owner, attribute.name, "True or False", value, mend)


# ------------------------------------------------------------------- what every optimizer is


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
            mend="write it, or use SGD or Adam",
        )

    def step_parts(self, value: Array, gradient: Array, parts: Sequence[Part]) -> None:
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
        _refuse_state_of_another(self, state, names)
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
            _explain(self, value, gradient)
        for vector in remembered:
            if vector is not None and (vector.shape != value.shape or vector.dtype != value.dtype):
                kind = DtypeError if vector.shape == value.shape else ShapeError
                raise kind(
                    "the optimizer remembers steps of another vector",
                    place=type(self).__name__,
                    expected=_description(vector),
                    received=_description(value),
                    mend="take a new optimizer for each model, or call reset() in between",
                )


# ------------------------------------------------------------------- piece by piece


@define
class PiecewiseOptimizer(Optimizer):
    """An optimizer that works piece by piece, on gradients that it may clip first.

    A rule says which vectors it remembers, `_remembered`, and how a piece moves, `_move`.

    Parameters
    ----------
    decay_biases
        Whether the weight decay of a rule acts on all parameters. If False, those with fewer than
        two axes, such as biases and the scales of normalizations, are left out, as with two groups
        of parameters in PyTorch, the second with ``weight_decay=0``. A `Trainer` and `descend` see
        to that; `step` is given two vectors, in which no bias can be told from a weight, and lets
        the decay act on all of them.
    clip_norm
        If given, a gradient that is longer than this is made that long, its direction kept:
        g ← g min(1, clip_norm / (‖g‖ + 10⁻⁶)), with the norm of all that is not frozen.
    clip_value
        If given, each number of the gradient is brought between −clip_value and clip_value. With
        both given, this comes first.

    Notes
    -----
    The same numbers as ``torch.nn.utils.clip_grad_value_`` and ``clip_grad_norm_``, whose 10⁻⁶
    that is, before ``weight_decay`` adds to the gradient; but the gradient itself stays as it is.
    As there, a norm that is NaN makes every number of the gradient NaN, and an infinite one makes
    0 of those that are finite and NaN of the others. (A `Trainer` stops before such a step.) The
    norm is summed in float64, so of float32 numbers that are finite it is finite, too.

    Of what is frozen nothing moves, what is remembered of it included; once it is let go, it goes
    on, or begins, as if the steps between had not been, as in PyTorch.

    Source: R. Pascanu, T. Mikolov and Y. Bengio, *On the difficulty of training recurrent neural
    networks*, ICML 2013, arXiv:1211.5063, Algorithm 1, for the norm.
    """

    decay_biases: bool = field(default=True, kw_only=True, validator=true_or_false)
    clip_norm: float | None = field(
        default=None, kw_only=True, converter=as_float, validator=positive_or_none
    )
    clip_value: float | None = field(
        default=None, kw_only=True, converter=as_float, validator=positive_or_none
    )
    _scratch: Array | None = field(default=None, init=False, repr=False, eq=False)
    _squares: Array | None = field(default=None, init=False, repr=False, eq=False)
    _parts: Sequence[Part] | None = field(default=None, init=False, repr=False, eq=False)

    def step(self, value: Array, gradient: Array) -> None:
        """Change ``value`` in place by one step; see `Optimizer.step`."""
        names = self._remembered()
        held = [getattr(self, name) for name in names] if names else []
        self.check(value, gradient, *held)
        for n, vector in enumerate(held):
            if vector is None:
                held[n] = self._beginning(value)
                setattr(self, names[n], held[n])
        scratch = self._scratch_for(value)
        parts = self._parts_for(value)  # None: all of it
        factor = 1.0 if self.clip_norm is None else self._clip_factor(gradient, scratch)
        clips = factor != 1 or self.clip_value is not None
        self._count()
        if parts is None and value.size <= PIECE:
            clipped = self._clipped(gradient, factor, scratch) if clips else gradient
            self._move(value, clipped, held, scratch, WHOLE)
            return
        for piece, part in pieces(parts, value.size):
            own = gradient[piece]
            clipped = self._clipped(own, factor, scratch) if clips else own
            self._move(value[piece], clipped, [vector[piece] for vector in held], scratch, part)

    def step_parts(self, value: Array, gradient: Array, parts: Sequence[Part]) -> None:
        """`step` for some parts of the vector, which does not look at the others at all."""
        self.check(value, gradient)
        between(parts, value.size, type(self).__name__)
        self._parts = parts
        try:
            if type(self).step is PiecewiseOptimizer.step:
                self.step(value, gradient)
            else:  # that of a subclass, which may do more
                super().step_parts(value, gradient, parts)
        finally:
            self._parts = None

    @property
    def _spares_biases(self) -> bool:
        """Whether weight decay shall leave out biases, for which a step has to know the parts."""
        return not self.decay_biases

    def _remembered(self) -> tuple[str, ...]:
        """The names of the vectors that a step needs, besides the value and the gradient."""
        return ()

    def _beginning(self, value: Array) -> Array:
        """What such a vector is before the first step."""
        return np.zeros_like(value)

    def _parts_for(self, value: Array) -> Sequence[Part] | None:
        """The parts that this step moves; None if it is all of the vector."""
        return self._parts

    def _count(self) -> None:
        """Do what is done once a step, not once a piece."""

    def _move(
        self, value: Array, gradient: Array, remembered: list[Array], scratch: Array, part: Part
    ) -> None:
        """Move one piece, with the first two rows of ``scratch`` to work in.

        It lies in ``part``, which says whether weight decay acts on it; see `WHOLE`.
        """
        raise NotImplementedError

    def _refuse_state(self, state: dict[str, Any]) -> None:
        """What a rule remembers are vectors of one kind."""
        place = type(self).__name__
        first: Array | None = None
        for name in self._remembered():
            value = state[name]
            if value is None:
                continue
            if not isinstance(value, np.ndarray) or value.ndim != 1 or value.dtype.kind != "f":
                raise _unlike(place, name, "a vector of floating-point numbers", value)
            first = value if first is None else first
            if value.shape != first.shape or value.dtype != first.dtype:
                raise _unlike(place, name, _description(first), value)

    def _scratch_for(self, value: Array) -> Array:
        """Three rows of a piece's length: two for the rule, one for the clipped gradient."""
        held = self._scratch
        length = min(value.size, PIECE)
        # Assigned only when it is new: an assignment passes through attrs, which takes its time.
        if held is None or held.shape[1] != length or held.dtype != value.dtype:
            held = self._scratch = np.empty_like(value, shape=(3, length))
        return held

    def _clipped(self, gradient: Array, factor: float, scratch: Array) -> Array:
        """A piece of the gradient as the rule shall see it."""
        limit = self.clip_value
        if limit is not None:
            row = scratch[2, : gradient.size]
            np.minimum(gradient, limit, out=row)
            gradient = np.maximum(row, -limit, out=row)
        if factor != 1:  # as NaN is
            gradient = np.multiply(gradient, factor, out=scratch[2, : gradient.size])
        return gradient

    def _clip_factor(self, gradient: Array, scratch: Array) -> float:
        """What the whole gradient is multiplied with so that it is not longer than clip_norm."""
        factor = (self.clip_norm or 0.0) / (self._norm(gradient, scratch) + 1e-6)
        return 1.0 if factor > 1 else factor  # not min(): NaN stays NaN

    def _norm(self, gradient: Array, scratch: Array) -> float:
        """‖g‖, of what clip_value has left of g, summed in float64 (or a wider type of its own)."""
        held, length = self._squares, scratch.shape[1]
        dtype = np.promote_types(gradient.dtype, np.float64)
        if held is None or held.size != length or held.dtype != dtype:
            held = self._squares = np.empty_like(gradient, shape=length, dtype=dtype)
        # Not a dot product: the order of its sum may depend on the number of threads.
        total = 0.0
        for piece, _ in pieces(self._parts, gradient.size):  # however they are cut
            clipped = self._clipped(gradient[piece], 1.0, scratch)
            row = held[: clipped.size]
            np.copyto(row, clipped)
            total += float(np.square(row, out=row).sum())
        return math.sqrt(total)

    def __repr__(self) -> str:
        # The options that every optimizer has stand last, and only if they are used.
        given = [(each, getattr(self, each.name)) for each in fields(type(self)) if each.init]
        shown = [pair for pair in given if not pair[0].kw_only]
        shown += [pair for pair in given if pair[0].kw_only and pair[1] != pair[0].default]
        arguments = ", ".join(f"{each.name}={value!r}" for each, value in shown)
        return f"{type(self).__name__}({arguments})"


@define(repr=False)
class CountingOptimizer(PiecewiseOptimizer):
    """An optimizer whose rule depends on how many steps there were before.

    Attributes
    ----------
    steps
        How many steps were taken.
    missed
        Where something was frozen in some of them: each stretch of the vector, as ``[start, stop,
        steps]``, with the number of steps that have left it out. A rule counts t without them.
    """

    steps: int = field(default=0, init=False, repr=False, eq=False)
    missed: list[list[int]] | None = field(default=None, init=False, repr=False, eq=False)
    _cut: Cut | None = field(default=None, init=False, repr=False, eq=False)

    def _count(self) -> None:
        self.steps += 1

    def _parts_for(self, value: Array) -> Sequence[Part] | None:
        if self._parts is None and self.missed is None:
            return None
        cut = self._cut
        if cut is None or cut.parts is not self._parts or cut.missed is not self.missed:
            cut = self._cut = Cut.of(self._parts, value.size, self.missed or [])
            self.missed = cut.missed
        for stretch in cut.left_out:
            stretch[2] += 1
        return cut.moved

    def _refuse_state(self, state: dict[str, Any]) -> None:
        super()._refuse_state(state)
        place, steps, missed = type(self).__name__, state["steps"], state["missed"]
        if not is_whole(steps) or steps < 0:
            raise _unlike(place, "steps", "0, 1, 2, …", steps)
        if missed is not None and not are_stretches(missed):
            raise _unlike(place, "missed", "None, or stretches [start, stop, steps]", missed)
        vector = state[self._remembered()[0]]
        if missed and (vector is None or missed[-1][1] > vector.size):
            raise _unlike(place, "missed", "stretches of what is remembered", missed)


def with_decay(value: Array, gradient: Array, weight_decay: float, row: Array) -> Array:
    """The sum g + λ θ of a piece, in ``row``; or the gradient itself where λ is 0."""
    if not weight_decay:
        return gradient
    decayed = np.multiply(value, weight_decay, out=row[: value.size])
    decayed += gradient
    return decayed


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
    def parts(self) -> tuple[Part, ...] | None:
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
        parts = parts_of(self._parameters, decay_biases=not self._spares_biases)
        size = self._parameters.size
        self._parts = None if parts == (Part(0, size),) or not size else parts


# ------------------------------------------------------------------- errors


def _description(thing: object) -> str:
    if hasattr(thing, "dtype") and hasattr(thing, "shape"):
        return f"{thing.dtype} {thing.shape}"
    return f"{type(thing).__name__}: {thing!r:.60}"


def _plain(value: Any) -> Any:
    """A copy; of a single NumPy number, the Python number."""
    return value.item() if isinstance(value, np.generic) else copy.deepcopy(value)


def _refuse_state_of_another(optimizer: Optimizer, state: Any, names: list[str]) -> None:
    """Raise the error for a state that has not the names of this optimizer's own."""
    place, mend = type(optimizer).__name__, "give the state() of an optimizer of the same class"
    if not isinstance(state, Mapping):
        raise ConfigurationError(
            "this is no state of an optimizer",
            place=place,
            expected="a dictionary, as state() returns it",
            received=f"{type(state).__name__}: {state!r:.60}",
            mend=mend,
        )
    if state.get("class") != place:
        raise ConfigurationError(
            "the state is that of another optimizer",
            place=place,
            expected=f"the state of {place}",
            received=f"that of {state['class']}" if "class" in state else "no class in it",
            mend=mend,
        )
    missing = [name for name in names if name not in state]
    unknown = [str(name) for name in state if name not in ("class", *names)]
    if missing or unknown:
        told = [("missing: ", missing), ("unknown: ", unknown)]
        raise ConfigurationError(
            "the state has not what this optimizer remembers",
            place=place,
            expected=", ".join(names),
            received="; ".join(what + ", ".join(some) for what, some in told if some),
            mend=mend,
        )


def _unlike(place: str, name: str, expected: str, received: Any) -> ConfigurationError:
    return ConfigurationError(
        f"the state cannot be one of this optimizer: {name}",
        place=place,
        expected=expected,
        received=_description(received),
        mend="give what state() has returned",
    )


def _explain(optimizer: Optimizer, value: Array, gradient: Array) -> NoReturn:
    """Raise the error for a value and a gradient that do not fit."""
    place = type(optimizer).__name__
    for name, array in (("value", value), ("gradient", gradient)):
        if not hasattr(array, "dtype") or array.dtype.kind != "f":
            raise DtypeError(
                f"the {name} is no array of floating-point numbers",
                place=place,
                expected="a vector of float32 or float64",
                received=_description(array),
                mend=f"model.parameters.{'value' if name == 'value' else 'grad'} is one",
            )
    if value.ndim != 1 or value.shape != gradient.shape:
        raise ShapeError(
            "value and gradient are vectors of the same size",
            place=place,
            expected="two shapes (n,)",
            received=f"value {value.shape}, gradient {gradient.shape}",
            mend="model.parameters.value and model.parameters.grad are such vectors",
        )
    if value.dtype != gradient.dtype:
        raise DtypeError(
            "value and gradient are of different types",
            place=place,
            expected=f"a gradient of {value.dtype}",
            received=gradient.dtype,
            mend="gradient.astype(value.dtype)",
        )
    raise ConfigurationError(
        "the value is read-only",
        place=place,
        expected="an array that can be changed in place",
        received="value.flags.writeable = False",
        mend="value = value.copy()",
    )
