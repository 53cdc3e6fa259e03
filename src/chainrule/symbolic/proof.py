"""`prove_layer`: prove that a layer's `backward` is the derivative of its `forward`, or refute it.

    >>> print(prove_layer(Dense(2), (2,)))                                    # doctest: +SKIP
    Dense(2), rows of shape (2,) in batches of 2: proven in 0.006 s …

This module chooses what is proven; `chainrule.symbolic.prover` proves it.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from attrs import evolve

from chainrule.calculus import loss_laws
from chainrule.core.errors import (
    BuildError,
    ChainruleError,
    ConfigurationError,
    DataError,
    DefinitionError,
    UndecidedError,
    described,
)
from chainrule.core.hints import hinted
from chainrule.core.layer import Layer
from chainrule.core.messages import ONE_LAYER, label, not_a_layer
from chainrule.core.types import Shape
from chainrule.core.validators import is_integer
from chainrule.layers.activation import Activation
from chainrule.layers.functions import Pair
from chainrule.symbolic import formulas
from chainrule.symbolic.array import Symbolic, entries_of, floating
from chainrule.symbolic.entries import erf
from chainrule.symbolic.prover import CLOSE, Region, prove
from chainrule.symbolic.report import PROVEN, REFUTED, UNDECIDED, Proof
from chainrule.symbolic.trials import (
    FunctionSubject,
    Subject,
    above,
    as_tuple,
    exact,
    flat,
    form_of,
    with_few_digits,
)

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
        raise not_a_layer("prove_layer", layer, ONE_LAYER)
    _require("prove_layer", seconds, batch, inputs)
    subject = subject_of(layer, input_shape, batch, inputs)
    built = subject.layer
    names = ["backward"]
    names.append("accumulate")
    couples = built.couples_batch or any(inner.couples_batch for _, inner in built.walk())
    if not couples and not built.generators and batch > 1:
        names.append("rows")
    if not built.generators and not list(built.buffers):
        names.append("inference")
    names.append("arrays")
    description = f"{label(layer.unbuilt())}, rows of shape {_joined(built)} in batches of {batch}"
    visited: list[Region] = []
    proof = prove(subject, description, names, seconds, visited.append)
    if proof["backward"].status == UNDECIDED and isinstance(layer, Activation):
        _prove_by_formula(proof, subject, visited, seconds)
    return proof


def _joined(layer: Layer) -> str:
    return " and ".join(map(str, layer.input_shapes))


# ------------------------------------------------------------------------------- by formula


def _prove_by_formula(
    proof: Proof, subject: Subject, visited: list[Region], seconds: float
) -> None:
    """Prove an activation function as it is written on paper, and measure how the code differs.

    The code of a sigmoid stops at z = 40, and that of gelu sums a series: there, f′ is no longer
    the derivative of f, but both are right to all digits.
    """
    function = subject.layer.function  # type: ignore[attr-defined]
    if not function.formula or not visited:
        return
    written = Activation(as_on_paper(function))
    written.build(*subject.layer.input_shapes, dtype="float64")
    on_paper = prove(evolve(subject, layer=written), "", ["backward"], seconds)
    if on_paper.status != PROVEN:
        return
    gap = max(_gap(region, evolve(subject, layer=written)) for region in visited)
    if gap > CLOSE:  # it is the formula of another function
        return
    part = proof["backward"]
    part.status, part.reason = PROVEN, ""
    part.statement += f", as the formula {function.formula[0]} says"
    proof.gap = gap
    proof.readings = on_paper.readings
    proof.domain = on_paper.domain


def as_on_paper(function: Any) -> Pair:
    """An activation function of chainrule as its formula says, for symbolic and plain arrays."""
    value, derivative = function.formula

    def f(z: Any) -> Any:
        return eval(value, {"np": np, "erf": _erf, "z": z})  # our own text

    def slope(z: Any) -> Any:
        return eval(derivative, {"np": np, "erf": _erf, "z": z, "f": f})

    return Pair(f, slope)


def _gap(region: Region, subject: Subject) -> float:
    """The largest difference between the code and its formula at one point."""
    written = subject.run(region.values)
    gap = 0.0
    for code, formula in (
        (region.passes.outputs[0], written.outputs[0]),
        (region.passes.deltas["x"], written.deltas["x"]),
    ):
        pairs = [
            (region.at(form_of(a)), region.at(form_of(b)))
            for a, b in zip(flat(code), flat(formula), strict=True)
        ]
        gap = max(gap, *(float(abs(a - b) / region.size) for a, b in pairs))
    return gap


def _erf(x: Any) -> Any:
    """The error function of a symbolic array, or of a plain one."""
    entries = np.frompyfunc(erf, 1, 1)(entries_of(x))
    return floating(entries) if isinstance(x, Symbolic) else np.asarray(entries, float)


# ------------------------------------------------------------------------------- losses


@hinted
def prove_loss(
    loss: Any, output_shape: Shape = (2,), batch: int = 2, seconds: float = 60.0
) -> Proof:
    """Prove, or refute, that a loss's delta is the derivative of its cost.

    The outputs of the model and the targets are formulas, unless the targets are labels. If the
    loss accepts several kinds of targets, each is tried, and each part is as good as the worst.

    Parameters
    ----------
    loss
        Any loss: one of chainrule's, or your own.
    output_shape
        The shape of a row of the model's output, such as ``(2,)``.
    batch, seconds
        As in `prove_layer`.

    Returns
    -------
    Proof
        Its ``status`` is "proven", "refuted" or "undecided"; ``print`` it.

    Raises
    ------
    MissingExtraError
        If SymPy is not installed.
    ConfigurationError
        If the loss accepts none of the usual kinds of outputs and targets.

    Examples
    --------
    >>> prove_loss(losses.HalfSquaredError()).status
    'proven'
    """
    formulas.require_sympy()
    if isinstance(loss, type) or not (callable(loss) and hasattr(loss, "delta")):
        raise DefinitionError(
            "prove_loss needs a loss",
            expected="a Loss such as losses.HalfSquaredError()",
            received=described(loss),
            hint=f"create an instance: {loss.__name__}()" if isinstance(loss, type) else None,
        )
    _require("prove_loss", seconds, batch)
    output_shape = (output_shape,) if isinstance(output_shape, int) else tuple(output_shape)
    cases = loss_laws.candidates(loss, output_shape, np.random.default_rng(0), None, None)
    if not cases:
        raise ConfigurationError(
            "prove_loss: the loss accepts none of the outputs and targets tried",
            expected="a loss of real numbers, probabilities or labels",
            received=repr(loss),
            hint="try another output_shape",
        )
    proofs = []
    for case in cases:
        y, target = case.y[:batch], case.target[:batch]
        is_constant = bool(np.all(target == np.rint(target)))  # labels, or one for each class
        rng = np.random.default_rng(0)
        subject = FunctionSubject(
            loss,
            loss.delta,
            {
                "y": with_few_digits(y, rng),
                "t": exact(target) if is_constant else with_few_digits(target, rng),
            },
            ["y"],
            {"t": target} if is_constant else {},
            batch,
        )
        description = f"{loss!r}, outputs of shape {output_shape} in batches of {batch}"
        proofs.append(prove(subject, description, ["gradient", "arrays"], seconds))
    worst = min(proofs, key=lambda proof: (REFUTED, UNDECIDED, PROVEN).index(proof.status))
    worst.seconds = sum(proof.seconds for proof in proofs)
    return worst


@hinted
def prove_gradient(
    function: Callable[..., Any],
    gradient: Callable[..., Any],
    *arrays: Any,
    seconds: float = 60.0,
) -> Proof:
    """Prove, or refute, that a gradient written by hand is that of a function.

    Parameters
    ----------
    function
        A function of some arrays that returns one number. It calls ``np.*`` on them.
    gradient
        A function of the same arrays that returns its derivatives: with respect to the first array,
        or a tuple for the first few.
    *arrays
        Arrays of the shapes for which it is proven; the numbers near them are where the search for
        other regions begins. Integers without a derivative do not move.
    seconds
        The time after which the rest is undecided.

    Returns
    -------
    Proof
        Its ``status`` is "proven", "refuted" or "undecided"; ``print`` it.

    Raises
    ------
    MissingExtraError
        If SymPy is not installed.

    Examples
    --------
    >>> x, w = np.ones((2, 3)), np.ones(3)
    >>> prove_gradient(lambda w, x: np.mean((x @ w) ** 2), lambda w, x: x.T @ (x @ w), w, x).status
    'proven'
    """
    formulas.require_sympy()
    _require("prove_gradient", seconds, arrays=arrays)
    for what, given_function in (("function", function), ("gradient", gradient)):
        if not callable(given_function):
            raise DefinitionError(
                f"prove_gradient: the {what} is not a function",
                expected="a function of the arrays",
                received=described(given_function),
            )
    given = list(map(np.asarray, arrays))
    names = _argument_names(function, len(given))
    with np.errstate(all="ignore"):
        count = len(as_tuple(gradient(*(array.copy() for array in given))))
    rng = np.random.default_rng(0)
    others = zip(names[count:], given[count:], strict=True)
    constants = {name: array for name, array in others if array.dtype.kind in "iub"}
    values = {
        name: exact(array) if name in constants else with_few_digits(array, rng)
        for name, array in zip(names, given, strict=True)
    }
    batch = max((len(array) for array in given[count:] if array.ndim), default=1)
    subject = FunctionSubject(function, gradient, values, names[:count], constants, batch)
    name = getattr(gradient, "__name__", "the gradient").replace("<lambda>", "the gradient")
    shapes = ", ".join(f"{n} {x.shape}" for n, x in zip(names, given, strict=True))
    return prove(subject, f"{name} of {shapes}", ["gradient", "arrays"], seconds)


def _require(
    what: str, seconds: Any, batch: Any = 1, inputs: Any = None, arrays: Sequence[Any] = ()
) -> None:
    """Refuse arguments with which nothing can be proven."""
    is_number = isinstance(seconds, int | float) and not isinstance(seconds, bool)
    numbers = [np.asarray(array) for array in arrays]
    for is_right, name, expected, received in (
        (is_number and seconds >= 0, "seconds", "0 or more", seconds),
        (is_integer(batch) and batch > 0, "batch", "an integer above 0", batch),
        (inputs is None or callable(inputs), "inputs", "a function of a shape", inputs),
        *((_is_of_reals(x), "an array", "finite real numbers", described(x)) for x in numbers),
    ):
        if not is_right:
            received = received if isinstance(received, str) else repr(received)
            raise ConfigurationError(
                f"{what}: {name} is invalid", expected=expected, received=received
            )


def _is_of_reals(array: Any) -> bool:
    return array.dtype.kind in "biuf" and bool(np.all(np.isfinite(array)))


def _argument_names(function: Callable[..., Any], count: int) -> list[str]:
    """The names of the arguments, as far as the function tells them."""
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):
        parameters = []
    named = [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    return [*named[:count], *(f"x_{n + 1}" for n in range(len(named), count))]


def subject_of(
    layer: Layer, input_shape: Any, batch: int, inputs: Callable[[Shape], Any] | None
) -> Subject:
    """A copy of the layer, built in float64 for small rows."""
    if input_shape is not None:
        input_shape = (input_shape,) if isinstance(input_shape, int) else input_shape
        is_several = bool(input_shape) and isinstance(input_shape[0], tuple)
        shapes = input_shape if is_several else (input_shape,)
        return _tried(_copy_for(layer, shapes), batch, inputs)
    problems: list[Exception] = []
    for shapes in _candidates(layer):
        try:
            copy = _copy_for(layer, shapes)
        except (ChainruleError, ValueError, TypeError, IndexError) as error:
            problems.append(error)
            continue
        return _tried(copy, batch, inputs)
    first = problems[0]
    hints = [
        getattr(first, "hint", None),
        "say the shape of a small row: prove_layer(layer, (5, 1))",
    ]
    raise BuildError(
        f"prove_layer: {type(layer).__name__} can be built for none of the small shapes tried",
        expected="a layer for rows such as (2,), (3, 2) or (4, 4, 1)",
        received=str(first).splitlines()[0],
        hint="; or ".join(filter(None, hints)),
    ) from first


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


def _copy_for(layer: Layer, shapes: tuple[Shape, ...]) -> Layer:
    copy = layer.unbuilt()
    copy.build(*shapes, rng=0, dtype="float64")
    copy.parameters.zero_grad()
    return copy


def _tried(copy: Layer, batch: int, inputs: Callable[[Shape], Any] | None) -> Subject:
    """The subject, with what kind of inputs the layer takes."""
    subject = Subject(copy, batch, inputs)
    if inputs is None:
        has_backward = type(copy).backward is not Layer.backward
        try:
            for low in (None, 0.0, 1.0):  # a logarithm, or a root of x − 1, is not defined below
                drawing = None if low is None else functools.partial(above, low)
                trial = Subject(copy, batch, drawing)
                trial.draw()
                state = trial.rng.bit_generator.state  # the next draw is tried here
                y = trial.run_in_doubles(trial.draw(), applies=not has_backward).outputs
                trial.rng.bit_generator.state = state
                if all(np.all(np.isfinite(array)) for array in y):
                    subject = trial
                    break
        except DataError:  # it takes integers
            subject = Subject(
                copy, batch, lambda shape: np.arange(int(np.prod(shape))).reshape(shape) % 2
            )
    if subject.inputs is not None:
        drawn = [np.asarray(subject.inputs((batch, *shape))) for shape in copy.input_shapes]
        if not all(map(_is_of_reals, drawn)):
            raise ConfigurationError(
                "prove_layer: inputs draws what are no finite real numbers",
                received=", ".join(map(described, drawn)),
            )
        pairs = list(zip(subject.input_names, drawn, strict=True))
        subject.still = frozenset(name for name, x in pairs if x.dtype.kind in "iub")
        whole = frozenset(name for name, x in pairs if np.all(x == np.rint(x)))
        if whole != subject.still and not _takes_symbols(subject):  # integers, as floats
            subject.still = whole
    return subject


def _takes_symbols(subject: Subject) -> bool:
    try:
        subject.run(subject.draw())
    except UndecidedError:
        return False
    return True
