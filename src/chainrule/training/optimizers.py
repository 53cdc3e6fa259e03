"""Optimizers: how the parameters move when the gradient is known.

An optimizer sees all parameters of a model as one flat vector θ, with its gradient g = ∂C/∂θ
beside it, and changes θ in place. The lecture's gradient descent is

    θ ← θ − η g

with the learning rate η. The others remember earlier gradients: `SGD` with momentum moves on like
a heavy ball, and `Adam` measures each parameter's step by the size that its gradient usually has.

What they remember stands on the optimizer under plain names (``velocity``, ``steps``, …): an
optimizer belongs to one model until it is `reset`. A step goes through the vectors in pieces that
stay in the processor's cache while several operations are done on them. So beside what is
remembered it needs no memory that grows with the model, and it is quicker than with whole vectors.
"""

from __future__ import annotations

import math
import numbers
import sys
from collections.abc import Iterator
from typing import Any, NoReturn

import numpy as np
from attrs import define, field, fields

from chainrule.core.errors import ConfigurationError, DefinitionError, DtypeError, ShapeError
from chainrule.core.parameter import Array

__all__ = ["SGD", "Adam", "Optimizer"]

PIECE = 32768
"""How many numbers of a vector are worked on at once. From 16384 to 65536 it matters little."""


def _as_float(value: Any) -> Any:
    # A Python float, also of a NumPy number: that one would make float64 of float32 arrays.
    # What is no number, or none that a float can hold, is left for the validator to refuse.
    is_number = isinstance(value, numbers.Real) and not isinstance(value, bool)
    return float(value) if is_number and abs(value) <= sys.float_info.max else value


def _as_floats(values: Any) -> Any:
    return (
        tuple(_as_float(value) for value in values) if isinstance(values, list | tuple) else values
    )


def _complain(owner: object, name: str, expected: str, received: object, mend: str) -> NoReturn:
    raise ConfigurationError(
        f"{name} has a value that makes no sense",
        place=type(owner).__name__,
        expected=expected,
        received=f"{received!r:.60}",
        mend=mend,
    )


def _positive(owner: object, attribute: Any, value: Any) -> None:
    if not isinstance(value, float) or not 0 < value < math.inf:
        _complain(owner, attribute.name, "a finite number above 0", value, "1e-8 is usual")


def _not_negative(owner: object, attribute: Any, value: Any) -> None:
    if not isinstance(value, float) or not 0 <= value < math.inf:
        mend = {
            "learning_rate": "often between 1e-4 and 1; with 0 nothing moves",
            "weight_decay": "0 is no decay at all; 1e-4 is a usual one",
        }[attribute.name]
        _complain(owner, attribute.name, "a finite number, 0 or more", value, mend)


def _below_one(owner: object, attribute: Any, value: Any) -> None:
    if not isinstance(value, float) or not 0 <= value < 1:
        mend = "it is the part of the past that is kept at each step, such as 0.9"
        _complain(owner, attribute.name, "a number from 0 up to, but not, 1", value, mend)


def _two_below_one(owner: object, attribute: Any, values: Any) -> None:
    if not isinstance(values, tuple) or len(values) != 2:
        _complain(owner, attribute.name, "two numbers", values, "(0.9, 0.999) are usual")
    for value in values:
        _below_one(owner, attribute, value)


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
    says that there is nothing yet: `reset` goes back to that.
    """

    learning_rate: float = field(converter=_as_float, validator=_not_negative)

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
            fits = (
                value.ndim == 1
                and value.shape == gradient.shape
                and value.dtype == gradient.dtype
                and value.dtype.kind == "f"
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


@define
class _PiecewiseOptimizer(Optimizer):
    """An optimizer that works piece by piece, with two rows of a piece's length to work in."""

    _scratch: Array | None = field(default=None, init=False, repr=False, eq=False)

    def _scratch_for(self, value: Array) -> Array:
        held = self._scratch
        length = min(value.size, PIECE)
        # Assigned only when it is new: an assignment passes through attrs, which takes its time.
        if held is None or held.shape[1] != length or held.dtype != value.dtype:
            held = self._scratch = np.empty_like(value, shape=(2, length))
        return held


@define
class SGD(_PiecewiseOptimizer):
    """Stochastic gradient descent: the lecture's gradient step; with momentum, a heavy ball.

    g = ∂C/∂θ + λ θ

    plain       θ ← θ − η g
    momentum    v ← μ v + g,    θ ← θ − η v
    Nesterov    v ← μ v + g,    θ ← θ − η (g + μ v)

    Parameters
    ----------
    learning_rate
        η ≥ 0.
    momentum
        μ, from 0 up to 1: the part of the velocity v that is kept. v is zero at the beginning.
    nesterov
        Whether the gradient is meant to be taken where the ball rolls to. It needs momentum.
    weight_decay
        λ ≥ 0, as if ½ λ ‖θ‖² were added to the cost. It acts on all parameters, biases included.

    Attributes
    ----------
    velocity
        v, a vector like θ, from the first step with momentum on.

    Notes
    -----
    The same numbers as ``torch.optim.SGD`` without dampening.

    Source: B. T. Polyak, USSR Computational Mathematics and Mathematical Physics 4 (1964) 1, for
    momentum; I. Sutskever, J. Martens, G. Dahl and G. Hinton, *On the importance of initialization
    and momentum in deep learning*, ICML 2013, for Nesterov's, in the form where θ stands for the
    point at which the gradient is taken.
    """

    momentum: float = field(default=0.0, converter=_as_float)
    nesterov: bool = field(default=False)
    weight_decay: float = field(default=0.0, converter=_as_float, validator=_not_negative)
    velocity: Array | None = field(default=None, init=False, repr=False, eq=False)

    @momentum.validator
    def _momentum_makes_sense(self, attribute: Any, value: Any) -> None:
        _below_one(self, attribute, value)
        self._go_together(value, self.nesterov)

    @nesterov.validator
    def _nesterov_makes_sense(self, attribute: Any, value: Any) -> None:
        if not isinstance(value, bool):
            _complain(self, "nesterov", "True or False", value, "nesterov=True with momentum=0.9")
        self._go_together(self.momentum, value)

    def _go_together(self, momentum: object, nesterov: object) -> None:
        if nesterov and not momentum:
            mend = "SGD(learning_rate, momentum=0.9, nesterov=True)"
            _complain(self, "nesterov", "a momentum above 0 along with it", nesterov, mend)

    def step(self, value: Array, gradient: Array) -> None:
        """Change ``value`` in place by one step; see `Optimizer.step`."""
        velocity = self.velocity if self.momentum else None
        self.check(value, gradient, velocity)
        scratch = self._scratch_for(value)
        if self.momentum and velocity is None:
            velocity = self.velocity = np.zeros_like(value)
        if value.size <= PIECE:
            self._move(value, gradient, velocity, scratch)
            return
        for piece in _pieces(value.size):
            held = None if velocity is None else velocity[piece]
            self._move(value[piece], gradient[piece], held, scratch)

    def _move(self, value: Array, gradient: Array, velocity: Array | None, scratch: Array) -> None:
        change = scratch[0, : value.size]
        if self.weight_decay:
            np.multiply(value, self.weight_decay, out=change)
            change += gradient
            gradient = change
        if velocity is not None:
            velocity *= self.momentum
            velocity += gradient
            if self.nesterov:
                ahead = scratch[1, : value.size]
                np.multiply(velocity, self.momentum, out=ahead)
                ahead += gradient
                gradient = ahead
            else:
                gradient = velocity
        np.multiply(gradient, self.learning_rate, out=change)
        np.subtract(value, change, out=value)


@define
class Adam(_PiecewiseOptimizer):
    """Adam: each parameter moves by about η a step, whatever the size of its gradient.

    g = ∂C/∂θ + λ θ
    m ← β₁ m + (1 − β₁) g           the mean of the gradient, over about 1/(1 − β₁) steps
    v ← β₂ v + (1 − β₂) g²          the mean of its square
    θ ← θ − η m̂ / (√v̂ + ε)          with m̂ = m/(1 − β₁ᵗ) and v̂ = v/(1 − β₂ᵗ) at step t = 1, 2, …

    m and v start from zero, and m̂ and v̂ make up for that.

    Parameters
    ----------
    learning_rate
        η ≥ 0.
    betas
        (β₁, β₂), each from 0 up to 1.
    epsilon
        ε > 0: keeps the step finite where the gradient has been zero.
    weight_decay
        λ ≥ 0, as if ½ λ ‖θ‖² were added to the cost (not the decoupled decay of AdamW).

    Attributes
    ----------
    steps
        t, how many steps were taken.
    first_moment, second_moment
        m and v, vectors like θ, from the first step on.

    Notes
    -----
    The same numbers as ``torch.optim.Adam``.

    Source: D. P. Kingma and J. Ba, *Adam: A Method for Stochastic Optimization*, ICLR 2015,
    arXiv:1412.6980, Algorithm 1.
    """

    learning_rate: float = field(default=1e-3, converter=_as_float, validator=_not_negative)
    betas: tuple[float, float] = field(
        default=(0.9, 0.999), converter=_as_floats, validator=_two_below_one
    )
    epsilon: float = field(default=1e-8, converter=_as_float, validator=_positive)
    weight_decay: float = field(default=0.0, converter=_as_float, validator=_not_negative)
    steps: int = field(default=0, init=False, repr=False, eq=False)
    first_moment: Array | None = field(default=None, init=False, repr=False, eq=False)
    second_moment: Array | None = field(default=None, init=False, repr=False, eq=False)

    def step(self, value: Array, gradient: Array) -> None:
        """Change ``value`` in place by one step; see `Optimizer.step`."""
        self.check(value, gradient, self.first_moment, self.second_moment)
        scratch = self._scratch_for(value)
        if self.first_moment is None or self.second_moment is None:
            self.first_moment, self.second_moment = np.zeros_like(value), np.zeros_like(value)
        self.steps += 1
        first, second = self.first_moment, self.second_moment
        if value.size <= PIECE:
            self._move(value, gradient, first, second, scratch)
            return
        for piece in _pieces(value.size):
            self._move(value[piece], gradient[piece], first[piece], second[piece], scratch)

    def _move(
        self, value: Array, gradient: Array, first: Array, second: Array, scratch: Array
    ) -> None:
        beta_1, beta_2 = self.betas
        # η m̂/(√v̂ + ε) = (η r/(1 − β₁ᵗ)) m/(√v + ε r) with r = √(1 − β₂ᵗ): two passes less.
        root = math.sqrt(1 - beta_2**self.steps)
        change = scratch[0, : value.size]
        if self.weight_decay:
            decayed = scratch[1, : value.size]
            np.multiply(value, self.weight_decay, out=decayed)
            decayed += gradient
            gradient = decayed
        np.multiply(gradient, 1 - beta_1, out=change)
        first *= beta_1
        first += change
        np.square(gradient, out=change)
        change *= 1 - beta_2
        second *= beta_2
        second += change
        np.sqrt(second, out=change)
        change += self.epsilon * root
        np.divide(first, change, out=change)
        change *= self.learning_rate * root / (1 - beta_1**self.steps)
        np.subtract(value, change, out=value)


def _pieces(size: int) -> Iterator[slice]:
    return (slice(start, start + PIECE) for start in range(0, size, PIECE))


def _description(thing: object) -> str:
    if hasattr(thing, "dtype") and hasattr(thing, "shape"):
        return f"{thing.dtype} {thing.shape}"
    return f"{type(thing).__name__}: {thing!r:.60}"


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
