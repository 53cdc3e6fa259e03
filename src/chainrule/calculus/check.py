"""`check_layer`: check that a layer obeys the nine laws, and diagnose what is wrong if it doesn't.

    >>> print(check_layer(Dense(3), (4,)))                                    # doctest: +SKIP
    Dense(3), checked on rows of shape (4,) in batches of 7: all 9 laws hold …

The laws are in `chainrule.calculus.laws`, the typical patterns of wrong gradients in
`chainrule.calculus.diagnosis`. This module runs them on a copy of the layer and reports the result.

The check is numerical, to machine precision, at random points. It is not a mathematical proof.
"""

from __future__ import annotations

import traceback
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from attrs import define, field

from chainrule.calculus import laws, loss_laws
from chainrule.calculus.test_case import Case, Finding, LawViolation
from chainrule.core.errors import (
    ChainruleError,
    DefinitionError,
    LayerCheckError,
    ShapeError,
    described,
)
from chainrule.core.hints import hint_for_layer, hinted
from chainrule.core.layer import Layer
from chainrule.core.terminal import printable
from chainrule.core.types import Shape


@define
class LawResult:
    """The result for one law.

    Attributes
    ----------
    number, name, statement
        The law: its number, its name and what it says.
    ok
        Whether it holds.
    figure, tolerance
        The largest relative error that occurred, and the largest that is allowed; None if the
        law is not about numbers.
    diagnosis
        If the law is broken: what is wrong.
    remarks
        Further remarks, such as that central differences were used instead of dual numbers.
    """

    number: int
    name: str
    statement: str
    ok: bool
    figure: float | None = None
    tolerance: float | None = None
    diagnosis: str | None = None
    remarks: list[str] = field(factory=list)

    @printable
    def __str__(self) -> str:
        figure = "" if self.figure is None else f"{self.figure:.1e}"
        head = f"  {'✓' if self.ok else '✗'} {self.number}  {self.name:<10}  {figure:>7}  "
        lines = [head + self.statement]
        for text in [*(self.diagnosis or "").splitlines(), *(f"({r})" for r in self.remarks)]:
            lines.append(" " * 7 + text)
        return "\n".join(lines)


@define
class CheckReport:
    """The result of every law. ``report["adjoint"]`` is one of them.

    Attributes
    ----------
    subject
        A description of what was checked.
    results
        One `LawResult` for each law.
    """

    subject: str
    results: list[LawResult]

    @property
    def ok(self) -> bool:
        """Whether every law holds."""
        return all(result.ok for result in self.results)

    def __getitem__(self, name: str) -> LawResult:
        for result in self.results:
            if result.name == name:
                return result
        names = ", ".join(r.name for r in self.results)
        raise KeyError(f"there is no law {name!r}; the laws are {names}")

    def __iter__(self) -> Iterator[LawResult]:
        return iter(self.results)

    def __bool__(self) -> bool:
        return self.ok

    @printable
    def __str__(self) -> str:
        broken = [result.name for result in self.results if not result.ok]
        head = (
            f"{self.subject}: all {len(self.results)} laws hold"
            if not broken
            else f"{self.subject}: {len(broken)} of {len(self.results)} laws broken: "
            + ", ".join(broken)
        )
        return "\n".join([head, *map(str, self.results)])

    __repr__ = __str__


@hinted
def check_layer(
    layer: Layer,
    input_shape: Any,
    rng: Any = 0,
    *,
    inputs: Any = None,
) -> CheckReport:
    """Check that a layer obeys the nine laws of the contract; diagnose the laws it breaks.

    Derivatives are checked to machine precision at random points. This builds and tests a copy;
    the layer itself does not change.

    Parameters
    ----------
    layer
        Any layer: one of chainrule's, your own, or a container.
    input_shape
        The shape of a row, without the batch axis, such as ``(64,)``; a tuple of such shapes for a
        layer with several inputs.
    rng
        A seed or Generator for the random numbers of the check.
    inputs
        A function that takes a shape and draws inputs, for a layer that is not defined for all
        real numbers: ``inputs=lambda shape: np.random.default_rng(0).uniform(1, 2, shape)``.

    Returns
    -------
    CheckReport
        Its ``ok`` is true; ``print`` it to see the relative error for every law.

    Raises
    ------
    LayerCheckError
        If a law is broken; its ``report`` lists all of them.
    """
    if not isinstance(layer, Layer):
        raise DefinitionError(
            "check_layer needs a layer",
            expected="a Layer such as Dense(3)",
            received=described(layer),
            hint=hint_for_layer(layer),
        )
    name = _name(layer)
    generator = np.random.default_rng(rng)
    shapes = _shapes(input_shape)
    try:
        case = _case(layer, shapes, generator, inputs)
    except Exception as error:
        report = CheckReport(name, [LawResult(0, "build", "The layer can be built.", False)])
        report.results[0].diagnosis = _described_error(error)
        raise _failure(report) from error
    report = CheckReport(
        f"{name}, checked on rows of shape {_joined(shapes)} in batches of {case.batch}",
        _same_error_once(
            [_try(n, law, tried, case) for n, (law, tried) in enumerate(laws.LAWS.items(), 1)]
        ),
    )
    if not report.ok:
        raise _failure(report)
    return report


@hinted
def check_loss(
    loss: Any, output_shape: Any, rng: Any = 0, *, outputs: Any = None, targets: Any = None
) -> CheckReport:
    """Check that a loss obeys the nine laws; diagnose the laws it breaks.

    Parameters
    ----------
    loss
        Any loss: one of chainrule's, or your own.
    output_shape
        The shape of a row of the model's output, such as ``(10,)``.
    rng
        A seed or Generator.
    outputs, targets
        Functions that take the shape of y and draw outputs and targets. By default the loss is
        checked with all of these that it accepts: real numbers, probabilities, labels, one-hot
        rows.

    Returns
    -------
    CheckReport
        Its ``ok`` is true.

    Raises
    ------
    LayerCheckError
        If a law is broken; its ``report`` lists all of them.
    """
    if isinstance(loss, type) or not all(
        hasattr(loss, name) for name in ("__call__", "delta", "value_and_delta")
    ):
        raise DefinitionError(
            "check_loss needs a loss",
            expected="a Loss such as losses.HalfSquaredError()",
            received=described(loss),
            hint=f"create an instance: {loss.__name__}(…)" if isinstance(loss, type) else None,
        )
    if not isinstance(output_shape, tuple):
        raise ShapeError(
            "check_loss: output_shape is not a shape",
            expected="the shape of a row of the output, such as (10,)",
            received=repr(output_shape),
        )
    subjects = loss_laws.candidates(
        loss, output_shape, np.random.default_rng(rng), outputs, targets
    )
    if not subjects:
        result = LawResult(0, "targets", "The loss accepts some of the targets tried.", False)
        result.diagnosis = (
            "pass functions that draw valid ones: check_loss(…, outputs=…, targets=…)"
        )
        raise _failure(CheckReport(repr(loss), [result]))
    results = [
        _worst([_try(n, name, law, case) for case in subjects])
        for n, (name, law) in enumerate(loss_laws.LOSS_LAWS.items(), start=1)
    ]
    report = CheckReport(f"{loss!r}, checked on outputs of shape {output_shape}", results)
    if not report.ok:
        raise _failure(report)
    return report


def _joined(shapes: tuple[Shape, ...]) -> str:
    return " and ".join(map(str, shapes))


def _case(layer: Layer, shapes: tuple[Shape, ...], rng: np.random.Generator, inputs: Any) -> Case:
    copy = layer.unbuilt()
    copy.build(*shapes, rng=rng.spawn(1)[0], dtype="float64")
    # Zeros, the initial value of biases, would hide errors in whatever they multiply.
    value = copy.parameters.value
    value += 0.1 * rng.normal(size=value.shape)
    draw = inputs or (lambda shape: rng.normal(size=shape))
    return Case.of(copy, shapes, rng, _batch_size(copy), draw)


def _batch_size(layer: Layer) -> int:
    """A size that differs from all others here, so that a factor of it can only be the batch."""
    sizes = {n for shape in (*layer.input_shapes, *layer.output_shapes) for n in shape}
    sizes |= {int(np.prod(shape)) for shape in (*layer.input_shapes, *layer.output_shapes)}
    return next(n for n in (7, 5, 11, 13, 17, 19, 23, 29, 31, 37, 41) if n not in sizes)


def _worst(results: list[LawResult]) -> LawResult:
    """The result to report, if a law was checked with several kinds of targets."""
    return max(results, key=lambda r: (not r.ok, r.figure or 0.0))


def _try(number: int, name: str, law: Callable[[Any], Finding], case: Any) -> LawResult:
    result = LawResult(number, name, (law.__doc__ or "").splitlines()[0], True)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # extreme inputs are intended
            finding = law(case)
        result.figure, result.tolerance = finding.figure, finding.tolerance
        result.remarks = finding.remarks
    except LawViolation as broken:
        result.ok, result.figure, result.diagnosis = False, broken.figure, str(broken)
    except Exception as error:
        result.ok, result.diagnosis = False, _described_error(error)
    return result


def _same_error_once(results: list[LawResult]) -> list[LawResult]:
    """The same results, with a diagnosis shared by several laws written out only once."""
    first: dict[str, int] = {}
    for result in results:
        if result.diagnosis is not None:
            number = first.setdefault(result.diagnosis, result.number)
            if number != result.number:
                result.diagnosis = f"same as law {number}"
    return results


def _described_error(error: Exception) -> str:
    """An error as a diagnosis: the message, and the line of the layer that raised it."""
    text = str(error) if isinstance(error, ChainruleError) else f"{type(error).__name__}: {error}"
    frames = traceback.extract_tb(error.__traceback__)
    own = [f for f in frames if "/chainrule/c" not in f.filename.replace("\\", "/")]
    if own and not isinstance(error, ChainruleError):
        text += f"\nin {own[-1].name}, line {own[-1].lineno}: {own[-1].line}"
    return text


def _failure(report: CheckReport) -> LayerCheckError:
    error = LayerCheckError(str(report))
    error.report = report
    return error


def _name(layer: Layer) -> str:
    text = repr(layer.unbuilt())
    return text if len(text) <= 60 and "\n" not in text else type(layer).__name__


def _shapes(input_shape: Any) -> tuple[Shape, ...]:
    if isinstance(input_shape, tuple) and input_shape and isinstance(input_shape[0], tuple):
        return input_shape
    return (input_shape,)
