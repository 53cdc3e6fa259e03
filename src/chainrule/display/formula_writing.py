"""How formulas that were read from code are written: names, order, and names for shared parts.

    weights[0, 1] of dense_1   is   w⁽¹⁾₀₁,        ∂C/∂x₀ = Δ₀ y₀ (1 − y₀)   rather than a long line

The output y is named where the backward pass uses it. If a line is long nevertheless, the functions
that are used more than once get names, h₁, h₂, ...
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
from attrs import frozen

from chainrule.core.equations import numbered
from chainrule.core.types import Shape
from chainrule.display.explanation import wrapped
from chainrule.display.notation import Sign, latex_name, lowered, to_latex, to_text
from chainrule.display.numpy_source import Source
from chainrule.display.reading import Reading
from chainrule.display.symbols import GREEK, LETTERS, derivative
from chainrule.symbolic import forms
from chainrule.symbolic.array import labels
from chainrule.symbolic.cases import Case
from chainrule.symbolic.entries import Condition
from chainrule.symbolic.forms import Form
from chainrule.symbolic.formulas import length, require_sympy
from chainrule.symbolic.trials import flat, form_of

SHORT = 90
"""If a line is longer, functions that are used more than once get a name."""
MANY = 200
"""So many symbols and operations are no short line."""
LONGEST = 1000
"""A longer line is not printed."""
MOST_LINES = 60
"""More lines are printed without their middle."""
WORTH_A_NAME = 4
"""The number of parts of a form that is not too short for a name."""

Lines = list[tuple[Sign, str]]


@frozen(eq=False)
class FormulaCase:
    """The formulas that hold under some conditions, as arrays of SymPy expressions.

    Attributes
    ----------
    conditions
        SymPy relations: the sides of the decisions that the code has made.
    domain
        What must hold besides for the formulas to be defined, such as x > 0 for a logarithm.
    outputs
        For every output an array of expressions.
    deltas
        What `backward` returned: ∂C/∂x by the name of the input, for the delta Δ at the output.
    gradients
        What `backward` added to the gradient of every parameter, by its path.
    """

    conditions: tuple[Any, ...]
    domain: tuple[Any, ...]
    outputs: tuple[Any, ...]
    deltas: Mapping[str, Any]
    gradients: Mapping[str, Any]


@frozen
class Page:
    """The lines of one case: their left sides, and expressions of names that have a `Sign`."""

    conditions: list[str]
    domain: list[str]
    forward: Lines
    backward: Lines
    signs: Mapping[str, Sign]

    def text_lines(self) -> Iterator[str]:
        """For a terminal."""
        for title, texts in (("For", self.conditions), ("Defined for", self.domain)):
            if texts:
                joined = " and ".join(map(self.text, texts))
                yield from ["", *wrapped(f"{title} {joined}", "    ")]
        width = max(len(left.text) for left, _ in (*self.forward, *self.backward))
        for title, lines in (
            ("Forward", self.forward),
            ("Backward, with Δ = ∂C/∂y", self.backward),
        ):
            if lines:
                yield from ["", title]
            for n, (left, expression) in enumerate(lines):
                if MOST_LINES // 2 <= n < len(lines) - MOST_LINES // 2:
                    if n == MOST_LINES // 2:
                        yield f"  … {len(lines) - 2 * n:,} more …"
                    continue
                text = self.text(expression)
                if len(text) > LONGEST:
                    text = "… (a long formula)"
                yield from wrapped(f"  {left.text:>{width}} = {text}", " " * (width + 5))

    def text(self, expression: str) -> str:
        """An expression as text."""
        return to_text(expression, self.signs, of_numbers=True)

    def latex_lines(self) -> Iterator[str]:
        """For math mode."""
        for title, texts in (("for", self.conditions), ("defined for", self.domain)):
            if texts:
                joined = r" \text{ and } ".join(map(self.latex, texts))
                yield rf"&\text{{{title} }} {joined}"
        for left, expression in (*self.forward, *self.backward):
            yield f"{left.latex} &= {self.latex(expression)}"

    def latex(self, expression: str) -> str:
        """An expression in LaTeX."""
        return to_latex(expression, self.signs, of_numbers=True)


class Writing:
    """The symbols of a model, with which the formulas of all its cases are written."""

    def __init__(self, reading: Reading) -> None:
        self.reading = reading
        self.subject = reading.subject
        layer, batch = self.subject.layer, self.subject.batch
        parts = [*layer.parameters, *layer.buffers]
        inputs, deltas = self.subject.input_names, self.subject.delta_names
        self.shapes: dict[str, Shape] = {}
        for name, row in zip(inputs, layer.input_shapes, strict=True):
            self.shapes[name] = (batch, *row)
        names = [self.subject.name_of(part) for part in parts]
        self.shapes |= {name: part.shape for name, part in zip(names, parts, strict=True)}
        for name, row in zip(deltas, layer.output_shapes, strict=True):
            self.shapes[name] = (batch, *row)
        self.outputs = numbered("y", len(layer.output_shapes))
        self.by_row = {*inputs, *deltas, *self.outputs}
        self.bases = {name: _numbered(name) for name in self.by_row}
        self.bases |= _signs_of_parts(names)
        self.known: dict[Form, Any] = {}
        self.symbols: dict[str, Any] = {}
        self.signs: dict[Any, Sign] = {}
        sympy = require_sympy()
        for name, shape in self.shapes.items():
            array = np.empty(shape, dtype=object)
            for place, label in enumerate(labels(name, shape)):
                index = self._index(name, shape, place)
                shown = f"{name}[{', '.join(map(str, index))}]" if index else name
                array.flat[place] = symbol = sympy.Symbol(shown, real=True)
                self.known[forms.symbol(label)] = symbol
                self.signs[symbol] = self.sign(name, shape, place)
            self.symbols[name] = self._one_row(array) if name in self.by_row else array
        self.expressions = dict(self.known)
        self.is_input = {s for name in inputs for s in np.ravel(self.symbols[name])}
        self.is_delta = {s for name in deltas for s in np.ravel(self.symbols[name])}

    def _index(self, name: str, shape: Shape, place: int) -> list[int]:
        index = [int(i) for i in np.unravel_index(place, shape)] if shape else []
        return index[1:] if name in self.by_row and self.subject.batch == 1 else index

    def sign(self, name: str, shape: Shape, place: int) -> Sign:
        """How an entry is written, such as w₀₁."""
        base, index = self.bases[name], self._index(name, shape, place)
        if not index or self.reading.equations is not None:
            return base
        shown = ",".join(map(str, index))
        text = shown if max(index) > 9 else shown.replace(",", "")
        return Sign(f"{base.latex}_{{{shown}}}", base.text + lowered(text))

    def _one_row(self, array: Any) -> Any:
        return array[0] if self.subject.batch == 1 else array

    # ---------------------------------------------------------------- in SymPy

    def case(self, case: Case) -> FormulaCase:
        """All formulas of a case."""
        passes = case.passes
        return FormulaCase(
            conditions=self._relations(case.conditions),
            domain=self._relations(case.domain),
            outputs=tuple(self._one_row(self._array(y)) for y in passes.outputs),
            deltas={name: self._one_row(self._array(d)) for name, d in passes.deltas.items()},
            gradients={
                name: self._array(gradient)
                for name, gradient in passes.gradients.items()
                if self.reading.has_backward
            },
        )

    def _array(self, entries: Any) -> Any:
        found = np.empty(np.shape(entries), dtype=object)
        for place, entry in enumerate(flat(entries)):
            found.flat[place] = self.reading.expression(form_of(entry), self.expressions)
        return found

    def _relations(self, conditions: Iterable[Condition]) -> tuple[Any, ...]:
        return tuple(self.reading.relations(conditions, self.expressions))

    # ---------------------------------------------------------------- on a page

    def page(self, case: Case) -> Page:
        """The lines of a case."""
        forward, backward = self._forward(case), self._backward(case)
        used = set(forms.in_order(form for _, form in backward))
        named = [
            (sign, form)
            for sign, form in forward
            if form in used and form.kind not in ("symbol", "number", "sum")
        ]
        lines = [form for _, form in (*forward, *backward)]
        if length(lines, {form for _, form in named}) < MANY:
            page = self._page(case, forward, backward, named, [])
            if all(len(page.text(text)) <= SHORT for _, text in (*page.forward, *page.backward)):
                return page
        shared = _shared(forward, backward, {form for _, form in named})
        return self._page(case, forward, backward, named, shared)

    def _forward(self, case: Case) -> list[tuple[Sign, Form]]:
        if self.reading.equations is not None:
            return [(self.bases["y"], form_of(flat(case.passes.outputs[0])[0]))]
        return [
            (self.sign(name, np.shape(y), place), form_of(entry))
            for name, y in zip(self.outputs, case.passes.outputs, strict=True)
            for place, entry in enumerate(flat(y))
        ]

    def _backward(self, case: Case) -> list[tuple[Sign, Form]]:
        if not self.reading.has_backward:
            return []
        if self.reading.elementwise is not None:
            names = ["x", *case.passes.gradients]
            found = self.reading.elementwise.shown(case.passes)[1:]
            return [
                (derivative(self.bases[name]), form)
                for name, form in zip(names, found, strict=True)
            ]
        return [
            (derivative(self.sign(name, np.shape(array), place)), form_of(entry))
            for name, array in case.passes.received().items()
            for place, entry in enumerate(flat(array))
        ]

    def _page(
        self,
        case: Case,
        forward: list[tuple[Sign, Form]],
        backward: list[tuple[Sign, Form]],
        named: list[tuple[Sign, Form]],
        shared: list[Form],
    ) -> Page:
        """The lines, with names for some outputs in the backward pass, and for shared parts."""
        sympy = require_sympy()
        names, signs = dict(self.known), dict(self.signs)
        letter = next(c for c in "haustq" if c not in {s.text for s in self.bases.values()})
        lines: list[tuple[Sign, Any]] = []

        def define(form: Form, sign: Sign, *, is_shown: bool = True) -> None:
            if is_shown:
                lines.append((sign, self.reading.expression(form, dict(names))))
            names[form] = symbol = sympy.Symbol(f"named {len(signs)}", real=True)
            signs[symbol] = sign

        def kind(symbol: Any) -> str:
            if symbol not in self.signs:
                return "named"
            if symbol in self.is_delta:
                return "delta"
            return "input" if symbol in self.is_input else "part"

        used = set(forms.in_order(form for _, form in forward))
        letters = [Sign(f"{letter}_{{{n}}}", f"{letter}{lowered(str(n))}")
                   for n in range(1, len(shared) + 1)]  # fmt: skip
        both = list(zip(shared, letters, strict=True))
        for form, sign in both:
            if form in used:
                define(form, sign)
        lines += [(sign, self.reading.expression(form, dict(names))) for sign, form in forward]
        for sign, form in named:
            define(form, sign, is_shown=False)
        count = len(lines)
        for form, sign in both:
            if form not in used:
                define(form, sign)
        for sign, form in backward:
            lines.append((sign, self.reading.expression(form, dict(names))))
        order = sorted(signs, key=lambda s: ("input", "part", "named", "delta").index(kind(s)))
        factors = sorted(signs, key=lambda s: ("delta", "part", "input", "named").index(kind(s)))
        identifiers = {symbol: f"v_{n}" for n, symbol in enumerate(order)}
        source = Source(identifiers, factors, on_paper=True)
        written = [(sign, source(expression)) for sign, expression in lines]
        if self.reading.elementwise is not None:
            written = [
                (sign, f"np.sum({text})" if sign in self._summed() else text)
                for sign, text in written
            ]
        return Page(
            [source(r) for r in self._relations(case.conditions)],
            [source(r) for r in self._relations(case.domain)],
            written[:count],
            written[count:],
            {identifiers[symbol]: sign for symbol, sign in signs.items()},
        )

    def _summed(self) -> list[Sign]:
        """The gradients of an elementwise layer that are sums over the entries of a row."""
        layer = self.subject.layer
        return [
            derivative(self.bases[self.subject.name_of(p)])
            for p in layer.parameters
            if p.shape != layer.input_shape and np.prod(layer.input_shape) > 1
        ]


def _shared(
    forward: list[tuple[Sign, Form]], backward: list[tuple[Sign, Form]], named: set[Form]
) -> list[Form]:
    """Functions and powers, and longer sums, that several forms use, each after its parts."""
    roots = [form for _, form in (*forward, *backward)]
    parts = forms.in_order(roots)
    before = set(forms.in_order(form for _, form in forward))
    uses = Counter(part for form in parts for part in set(form.parts))
    uses.update(roots)
    sizes = {form: len(forms.in_order([form])) for form in parts if uses[form] > 1}
    return [
        form
        for form in sorted(sizes, key=lambda form: (form not in before, sizes[form]))
        if form not in named
        and form.kind not in ("number", "symbol", "product")
        and sizes[form] > WORTH_A_NAME * (2 if form.kind == "sum" else 1)
    ]


def _numbered(name: str) -> Sign:
    """The sign of an input, an output or a delta: x, or x⁽¹⁾ if there are several."""
    letter, _, number = name.partition("_")
    latex, text = (r"\Delta", "Δ") if letter == "delta" else (letter, letter)
    return _with_number(Sign(latex, text), number)


def _with_number(sign: Sign, number: str) -> Sign:
    if not number:
        return sign
    raised = number.translate(str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹"))
    return Sign(f"{sign.latex}^{{({number})}}", f"{sign.text}⁽{raised}⁾")


def _signs_of_parts(paths: list[str]) -> dict[str, Sign]:
    """The signs of parameters and buffers: w, or w⁽¹⁾, w⁽²⁾ in several layers."""
    layers = list(dict.fromkeys(path.rpartition(".")[0] for path in paths))
    signs = {}
    for path in paths:
        layer, _, own = path.rpartition(".")
        letter = LETTERS.get(own, own)
        if letter in TAKEN:
            letter += "_"
        latex = rf"\{letter}" if letter in GREEK else letter
        if len(letter) > 1 and letter not in GREEK:
            latex = rf"\mathrm{{{latex_name(letter)}}}"
        sign = Sign(latex, GREEK.get(letter, letter))
        number = str(layers.index(layer) + 1) if len(layers) > 1 else ""
        signs[path] = _with_number(sign, number)
    return signs


TAKEN = frozenset({"x", "y", "C"})
"""Letters that mean something else."""
