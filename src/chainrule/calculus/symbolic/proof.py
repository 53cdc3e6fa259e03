"""`prove_layer`: prove that a layer's `backward` is the derivative of its `forward`, or refute it.

    >>> print(prove_layer(Dense(2), (2,)))                                    # doctest: +SKIP
    Dense(2), rows of shape (2,) in batches of 2: proven in 0.006 s …

This module chooses what is proven; `chainrule.calculus.symbolic.prover` proves it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from chainrule.calculus.symbolic import formulas
from chainrule.calculus.symbolic.prover import prove
from chainrule.calculus.symbolic.report import Proof
from chainrule.calculus.symbolic.trials import Subject
from chainrule.core.errors import BuildError, ChainruleError, DataError, DefinitionError, described
from chainrule.core.hints import hint_for_layer, hinted
from chainrule.core.layer import Layer
from chainrule.core.types import Shape

SMALL = 12
"""A layer that is built for rows of up to so many numbers is proven for these."""

SHAPES: tuple[Shape, ...] = (
    *((2,), (3,), (2, 2), (3, 2), (2, 1), (4, 1)),
    *((2, 2, 1), (3, 3, 1), (4, 4, 1), (2, 2, 2), (4, 4, 2), (2, 2, 2, 1), ()),
)
"""What is tried if no shape is given."""


@hinted
def prove_layer(
    layer: Layer,
    input_shape: Any = None,
    batch: int = 2,
    seconds: float = 60.0,
    *,
    inputs: Callable[[Shape], Any] | None = None,
) -> Proof:
    """Prove, or refute, that a layer's `backward` is the derivative of its `forward`.

    Both passes run with formulas instead of numbers (`Symbolic`). What is decided:

    * *backward*: for every input and parameter, the formula that `backward` returns is that of the
      derivative of Σ Δ y, for all values;
    * *accumulate*: the gradients of two passes add up;
    * *rows*: each row gives the same alone as in a batch, unless the class says
      ``couples_batch = True``;
    * *inference*: `apply` computes what `forward` computes, for a layer without random numbers and
      buffers;
    * *arrays*: code that asks for the type of its arguments computes the same for arrays.

    A proof is about the layer at this shape, for all values in the regions that are listed, over
    the real numbers. It does not see overflow and rounding; `check_layer` does.

    Parameters
    ----------
    layer
        Any layer: one of chainrule's, your own, or a container. It does not change.
    input_shape
        The shape of a row, such as ``(3,)``, or a tuple of shapes for several inputs. Formulas grow
        fast: choose it small. By default that of a built layer, if it is small, or the first of
        some small shapes that fits.
    batch
        The number of rows.
    seconds
        The time after which the rest is undecided.
    inputs
        A function that takes a shape and draws inputs, for a layer that is not defined everywhere,
        or takes integers. Integers do not move.

    Returns
    -------
    Proof
        Its ``status`` is "proven", "refuted" or "undecided"; ``print`` it.

    Raises
    ------
    MissingExtraError
        If SymPy is not installed.
    BuildError
        If the layer can be built for none of the small shapes, and none is given.

    Examples
    --------
    >>> class Square(Layer):
    ...     def forward(self, x):
    ...         self.x = x
    ...         return x**2
    ...
    ...     def backward(self, delta):
    ...         return self.x * delta
    >>> proof = prove_layer(Square(), (1,), batch=1)
    >>> proof.status, proof["backward"].counterexample.expected_formula
    ('refuted', '2*delta[0, 0]*x[0, 0]')
    """
    formulas.require_sympy()
    if not isinstance(layer, Layer):
        raise DefinitionError(
            "prove_layer needs a layer",
            expected="a Layer such as Dense(3)",
            received=described(layer),
            hint=hint_for_layer(layer),
        )
    subject = _subject(layer, input_shape, batch, inputs)
    built = subject.layer
    names = ["backward"]
    if built.parameters.size:
        names.append("accumulate")
    if not built.couples_batch and not built.generators and batch > 1:
        names.append("rows")
    if not built.generators and not list(built.buffers):
        names.append("inference")
    names.append("arrays")
    name = repr(layer.unbuilt())
    name = name if len(name) <= 60 and "\n" not in name else type(layer).__name__
    shapes = " and ".join(map(str, built.input_shapes))
    return prove(subject, f"{name}, rows of shape {shapes} in batches of {batch}", names, seconds)


def _subject(
    layer: Layer, input_shape: Any, batch: int, inputs: Callable[[Shape], Any] | None
) -> Subject:
    """A copy of the layer, built in float64 for small rows."""
    if input_shape is not None:
        is_several = bool(input_shape) and isinstance(input_shape[0], tuple)
        return _built(layer, input_shape if is_several else (input_shape,), batch, inputs)
    problem: Exception | None = None
    for shapes in _candidates(layer):
        try:
            return _built(layer, shapes, batch, inputs)
        except (ChainruleError, ValueError, TypeError, IndexError) as error:
            problem = problem or error
    raise BuildError(
        f"prove_layer: {type(layer).__name__} can be built for none of the small shapes tried",
        expected="a layer for rows such as (2,), (3, 2) or (4, 4, 1)",
        received=str(problem).splitlines()[0],
        hint="say the shape of a small row: prove_layer(layer, (5, 1))",
    ) from problem


def _candidates(layer: Layer) -> Iterator[tuple[Shape, ...]]:
    if layer.is_built:
        shapes = tuple(layer.input_shapes)
        if None not in sum(shapes, ()) and sum(int(np.prod(s)) for s in shapes) <= SMALL:
            yield shapes
        ranks = [len(shape) for shape in shapes]
        for shape in SHAPES:
            if set(ranks) == {len(shape)}:
                yield (shape,) * len(ranks)
        return
    for count in (1, 2):
        for shape in SHAPES:
            yield (shape,) * count


def _built(
    layer: Layer, shapes: tuple[Shape, ...], batch: int, inputs: Callable[[Shape], Any] | None
) -> Subject:
    copy = layer.unbuilt()
    copy.build(*shapes, rng=0, dtype="float64")
    copy.parameters.zero_grad()
    subject = Subject(copy, batch, inputs)
    if inputs is None:
        try:
            subject.run_in_doubles(subject.draw())
        except DataError:  # it takes integers
            subject = Subject(
                copy, batch, lambda shape: np.arange(int(np.prod(shape))).reshape(shape) % 2
            )
    if subject.inputs is not None:
        drawn = [np.asarray(subject.inputs((batch, *shape))) for shape in copy.input_shapes]
        still = [
            n for n, x in zip(subject.input_names, drawn, strict=True) if x.dtype.kind in "iub"
        ]
        subject.still = frozenset(still)
    return subject
