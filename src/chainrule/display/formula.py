r"""`formula`: what the code of a model computes, as formulas.

    >>> print(formula(Dense(1), (2,)))                                        # doctest: +SKIP
    Dense(1), one row of shape (2,)
    ...
      y₀ = w₀₀ x₀ + w₁₀ x₁ + b₀

Symbols go through the model's own `forward` and `backward`, so the formulas are those of the code,
whatever its comments and equations say.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import frozen

from chainrule.core.hints import hinted
from chainrule.core.layer import Layer
from chainrule.core.messages import ONE_LAYER, not_a_layer
from chainrule.core.terminal import printable
from chainrule.display.explanation import wrapped
from chainrule.display.formula_writing import FormulaCase, Page, Writing
from chainrule.display.reading import read

MOST_CASES = 4
"""More cases are not printed."""


@frozen(eq=False, repr=False)
class Formulas:
    """The result of `formula`; it prints as text, and as LaTeX in a notebook.

    Attributes
    ----------
    subject
        The model, and the shape of its rows.
    cases
        A `FormulaCase` for each set of decisions that leads to other formulas. ``outputs``,
        ``deltas``, ``gradients``, ``conditions`` and ``domain`` are those of the first.
    variables
        By name, the arrays of SymPy symbols: the inputs, the parameters, the buffers, the deltas.
    is_elementwise
        Whether every output is the same function of the input at its place.
    readings
        The numbers that were read as the simple numbers that they stand for, as text.
    by_formula
        The names of chainrule's activation functions that were read from their formulas. Their code
        adds guards against overflow, which change nothing but the last digits.
    """

    subject: str
    cases: tuple[FormulaCase, ...]
    variables: Mapping[str, Any]
    is_elementwise: bool
    readings: str
    by_formula: tuple[str, ...]
    _pages: tuple[Page, ...]

    @property
    def outputs(self) -> tuple[Any, ...]:
        """For every output an array of SymPy expressions."""
        return self.cases[0].outputs

    @property
    def deltas(self) -> Mapping[str, Any]:
        """What `backward` returned, by the name of the input."""
        return self.cases[0].deltas

    @property
    def gradients(self) -> Mapping[str, Any]:
        """What `backward` added to the gradient of every parameter, by path."""
        return self.cases[0].gradients

    @property
    def conditions(self) -> tuple[Any, ...]:
        """Where these formulas hold."""
        return self.cases[0].conditions

    @property
    def domain(self) -> tuple[Any, ...]:
        """Where they are defined."""
        return self.cases[0].domain

    def to_latex(self) -> str:
        r"""All formulas in LaTeX, for math mode: one ``aligned`` block."""
        body = " \\\\\n".join(line for page in self._pages for line in page.latex_lines())
        return f"\\begin{{aligned}}\n{body}\n\\end{{aligned}}"

    def _repr_latex_(self) -> str:
        return f"$$\n{self.to_latex()}\n$$"

    @printable
    def __str__(self) -> str:
        lines = [self.subject]
        for page in self._pages:
            lines += page.text_lines()
        if len(self.cases) > len(self._pages):
            lines += ["", f"{len(self.cases) - len(self._pages)} more cases are in .cases."]
        if self.readings:
            lines += ["", *wrapped(f"Reading {self.readings}.", "  ")]
        if self.by_formula:
            lines += ["", f"Read from its formula: {', '.join(self.by_formula)}."]
        return "\n".join(lines)

    __repr__ = __str__


@hinted
def formula(model: Layer, input_shape: Any = None) -> Formulas:
    """Read what the code of a model computes: its outputs, deltas and gradients as formulas.

    Symbols flow through `forward` and `backward`, one row of them; through a layer that
    couples the rows of a batch, two. What is decided along the way, as by ``np.maximum(x, 0)``,
    leads to several cases.

    Parameters
    ----------
    model
        Any layer: one of chainrule's, your own, or a container. It does not change. A layer without
        `backward` has outputs alone.
    input_shape
        The shape of a row, such as ``(2,)``, or a tuple of shapes for several inputs. Formulas grow
        fast: choose it small. By default that of a built model, if it is small, or the first of
        some small shapes that fits.

    Returns
    -------
    Formulas
        Arrays of SymPy expressions; ``print`` it, or show it in a notebook.

    Raises
    ------
    MissingExtraError
        If SymPy is not installed.
    UndecidedError
        If the code asks for what symbols cannot answer, such as ``float(x)``.
    BuildError
        If the model can be built for none of the small shapes, and none is given.

    Examples
    --------
    >>> found = formula(Sequential([Dense(1), Activation("tanh")]), (2,))
    >>> found.outputs[0][0]
    tanh(dense_1.biases[0] + dense_1.weights[0, 0]*x[0] + dense_1.weights[1, 0]*x[1])
    >>> x = found.variables["x"]
    >>> found.outputs[0][0].diff(x[0]).subs({x[0]: 0, x[1]: 0})
    dense_1.weights[0, 0]*(1 - tanh(dense_1.biases[0])**2)
    """
    if not isinstance(model, Layer):
        raise not_a_layer("formula", model, ONE_LAYER)
    reading = read(model, input_shape)
    writing = Writing(reading)
    subject = reading.subject
    name = repr(model.unbuilt())
    name = name if len(name) <= 60 and "\n" not in name else type(model).__name__
    shapes = " and ".join(map(str, subject.layer.input_shapes))
    rows = "one row" if subject.batch == 1 else f"{subject.batch} rows"
    what = "every number of a row" if reading.equations else f"{rows} of shape {shapes}"
    return Formulas(
        subject=f"{name}, {what}",
        cases=tuple(map(writing.case, reading.cases)),
        variables=writing.symbols,
        is_elementwise=reading.elementwise is not None,
        pages=tuple(map(writing.page, reading.cases[:MOST_CASES])),
        readings=str(reading.readings),
        by_formula=reading.by_formula,
    )
