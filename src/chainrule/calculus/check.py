"""`check_layer`: check that a layer obeys the ten laws, and diagnose what is wrong if it doesn't.

    >>> print(check_layer(Dense(3), (4,)))                                    # doctest: +SKIP
    Dense(3), checked on rows of shape (4,) in batches of 7 (and 0 to 128): all 10 laws hold …

The laws are in `chainrule.calculus.laws`, the typical patterns of wrong gradients in
`chainrule.calculus.diagnosis`. This module runs them on a copy of the layer and reports the result.

The check is numerical, to machine precision, at random points. It is not a mathematical proof.
"""

from __future__ import annotations

import traceback
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from attrs import define, field

from chainrule.calculus import laws, loss_laws
from chainrule.calculus.products import with_indices
from chainrule.calculus.situations import sizes
from chainrule.calculus.test_case import Case, Finding, LawViolation
from chainrule.core.errors import (
    ChainruleError,
    DefinitionError,
    LayerCheckError,
    ShapeError,
    described,
)
from chainrule.core.hints import hinted
from chainrule.core.html_table import Html, escaped, html_table, pale
from chainrule.core.layer import Layer
from chainrule.core.messages import ONE_LAYER, label, not_a_layer
from chainrule.core.open_axes import is_open, with_sizes
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
    origin: str = field(
        default="", repr=False, eq=False
    )  # what laws have in common that fail alike

    @printable
    def __str__(self) -> str:
        figure = "" if self.figure is None else f"{self.figure:.1e}"
        name = self.name.ljust(11 - len(str(self.number)))
        head = f"  {'✓' if self.ok else '✗'} {self.number}  {name}  {figure:>7}  "
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
        if len(self.results) == 1 and not self.results[0].number:  # no law was checked
            lines = (self.results[0].diagnosis or "").splitlines()
            return "\n".join(
                [f"{self.subject}: {self.results[0].statement}", *map("  {}".format, lines)]
            )
        head = (
            f"{self.subject}: all {len(self.results)} laws hold"
            if not broken
            else f"{self.subject}: {len(broken)} of {len(self.results)} laws broken: "
            + ", ".join(broken)
        )
        return "\n".join([head, *map(str, self.results)])

    __repr__ = __str__

    def _repr_html_(self) -> str:
        head, *others = str(self).splitlines()
        if len(self.results) == 1 and not self.results[0].number:
            return html_table(("law",), [[line.strip()] for line in others], "l", title=head)
        rows: list[list[str]] = []
        for law in self.results:
            figures = [f"{f:.1e}" if f is not None else "" for f in (law.figure, law.tolerance)]
            details = "\n".join([law.diagnosis or "", *(f"({text})" for text in law.remarks)])
            says = Html(f"{escaped(law.statement)}<br/>{pale(details.strip())}")
            said = says if details.strip() else law.statement
            rows.append([f"{'✓' if law.ok else '✗'}\u00a0{law.name}", *figures, said])
        broken = [number for number, law in enumerate(self.results) if not law.ok]
        titles = ("law", "error", "tolerance", "statement")
        return html_table(titles, rows, "lrrl", title=head, strong=broken)


@hinted
def check_layer(
    layer: Layer,
    input_shape: Any,
    rng: Any = 0,
    *,
    inputs: Any = None,
) -> CheckReport:
    """Check that a layer obeys the ten laws of the contract; diagnose the laws it breaks.

    1. *adjoint*: `backward` is the transpose of the Jacobian of `forward`, to machine precision.
    2. *tangent*: this Jacobian agrees with central differences.
    3. *accumulate*: gradients of several backward passes add up; `zero_grad` resets them.
    4. *purity*: inputs, deltas and returned arrays are never changed.
    5. *repeatable*: results depend on nothing but inputs, parameters, buffers and generators.
    6. *batch*: rows do not affect each other, unless the class says ``couples_batch = True``.
    7. *type*: float32 in, float32 out, with the numbers of float64.
    8. *memory*: `apply` leaves no trace; `backward` before `forward` is a named error.
    9. *return*: the layer survives saving and loading.
    10. *inference*: `apply` is deterministic, treats rows alone, and equals `forward`: exactly; or
        on average, for a layer that draws, unless it says ``noise_is_linear = False``; or to 1 %
        after many passes of one batch, for a layer with running statistics.

    It tries batches of 0 to 128 rows; inputs, parameters and deltas from tiny to huge, of one sign,
    integer, sparse, zero, equal and constant; arrays in other layouts in memory; other batches in
    between. This builds and tests a copy; the layer itself does not change.

    Parameters
    ----------
    layer
        Any layer: one of chainrule's, your own, or a container.
    input_shape
        The shape of a row, without the batch axis, such as ``(64,)``; a tuple of such shapes for a
        layer with several inputs. None is an axis of any size, as in `build`: the layer must accept
        it, and is checked with 5.
    rng
        A seed or Generator for the random numbers of the check.
    inputs
        A function that takes a shape and draws inputs, for a layer that is not defined for all
        real numbers: ``inputs=lambda shape: rng.uniform(1, 2, shape)``, or for one that takes
        integers: ``inputs=lambda shape: rng.integers(0, 5, shape)``. They are taken as they are.
        Integers are not moved, and their delta must be zeros in the layer's dtype.

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
        raise not_a_layer("check_layer", layer, ONE_LAYER)
    name = label(layer.unbuilt())
    generator = np.random.default_rng(rng)
    shapes = _shapes(input_shape)
    try:
        if is_open(shapes):
            _built(layer, shapes, generator)  # an error if it needs a fixed size there
            shapes = with_sizes(shapes, 5)
        built, seed = _built(layer, shapes, generator)
    except Exception as error:
        report = CheckReport(name, [LawResult(0, "build", "the layer cannot be built", False)])
        report.results[0].diagnosis = _described_error(error)
        raise _failure(report) from error
    case = Case.of(built, generator, _batch_size(built), inputs, seed)
    case = with_indices(case) if case.is_given else case
    most = max(sizes(case))
    report = CheckReport(
        f"{name}, checked on rows of shape {_joined(shapes)} in batches of {case.batch}"
        f" (and 0 to {most})",
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
        Functions that take a shape and draw outputs or targets: the shape of y, and that of its
        targets (see `Loss.target_shape`). By default the loss is checked with all of these that it
        accepts: real numbers, probabilities, labels, one-hot rows; or without targets, if it takes
        none.

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
        result = LawResult(0, "targets", "the loss accepts none of the targets tried", False)
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


def _built(layer: Layer, shapes: tuple[Shape, ...], rng: np.random.Generator) -> tuple[Layer, int]:
    """A copy of the layer, built, and the seed with which it was built."""
    copy = layer.unbuilt()
    seed = int(rng.integers(2**63))
    copy.build(*shapes, rng=seed, dtype="float64")
    # Zeros, the initial value of biases, would hide errors in whatever they multiply.
    value = copy.parameters.value
    value += 0.1 * rng.normal(size=value.shape)
    return copy, seed


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
        result.origin = str(broken)
    except Exception as error:
        result.ok, result.diagnosis = False, _described_error(error)
        result.origin = _origin(error)
    return result


def _same_error_once(results: list[LawResult]) -> list[LawResult]:
    """The same results, with an error shared by several laws written out only once."""
    first: dict[str, int] = {}
    for result in results:
        if result.diagnosis is not None:
            number = first.setdefault(result.origin, result.number)
            if number != result.number:
                result.diagnosis = f"same as law {number}"
    return results


def _described_error(error: Exception) -> str:
    """An error as a diagnosis: the message, and the line of the layer that raised it."""
    text = str(error) if isinstance(error, ChainruleError) else f"{type(error).__name__}: {error}"
    line = _line_of_layer(error)
    if line and not isinstance(error, ChainruleError):
        text += f"\nin {line.name}, line {line.lineno}: {line.line}"
    return "\n".join([text, *getattr(error, "__notes__", ())])


def _origin(error: Exception) -> str:
    """What is the same for one error under several laws; its message may name the batch size."""
    line = _line_of_layer(error)
    where = f"{line.filename}, line {line.lineno}" if line else ""
    what = error.problem if isinstance(error, ChainruleError) else where or str(error)
    return f"{type(error).__name__}: {what}"


_PACKAGES = (str(Path(__file__).parents[1]), str(Path(np.__file__).parent))


def _line_of_layer(error: Exception) -> traceback.FrameSummary | None:
    """The last line outside chainrule and NumPy, which is in the code of the layer's author."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if not frame.filename.startswith(_PACKAGES)]
    return own[-1] if own else None


def _failure(report: CheckReport) -> LayerCheckError:
    error = LayerCheckError(str(report))
    error.report = report
    return error


def _shapes(input_shape: Any) -> tuple[Shape, ...]:
    if isinstance(input_shape, tuple) and input_shape and isinstance(input_shape[0], tuple):
        return input_shape
    return (input_shape,)
