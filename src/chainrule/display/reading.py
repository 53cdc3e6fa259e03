"""Reading: the equations of a layer, from its code.

    def forward(self, x): return np.sin(self.k.value * x)        y = sin(k x),   ∂C/∂x = Δ k cos(k x)

A small row of symbols goes through `forward` and `backward`. If every output depends on the input at
the same place alone, and all in the same way, the layer is elementwise, and one formula says it all;
it is an `Equations`, as an author would write them. That it holds for arrays too is checked.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction
from typing import Any

import numpy as np
from attrs import evolve, frozen

from chainrule.calculus.symbolic import forms
from chainrule.calculus.symbolic.array import labels
from chainrule.calculus.symbolic.cases import Case, cases_of
from chainrule.calculus.symbolic.entries import Condition
from chainrule.calculus.symbolic.forms import Form
from chainrule.calculus.symbolic.formulas import expression, replaced, require_sympy
from chainrule.calculus.symbolic.proof import as_on_paper, subject_of
from chainrule.calculus.symbolic.readings import Readings
from chainrule.calculus.symbolic.trials import Passes, Subject, flat, form_of
from chainrule.core.equations import Equations, numbered
from chainrule.core.layer import Layer
from chainrule.display.notation import evaluate
from chainrule.display.source import Source
from chainrule.layers.activation import Activation

HOME = "chainrule.layers.functions"
CLOSE = 1e-9
"""How well the equations must agree with arrays."""


@frozen(eq=False)
class Reading:
    """What was read from a layer.

    Attributes
    ----------
    subject
        A copy of the layer, built for small rows.
    cases
        Its formulas, in every case. Of an elementwise layer, those of its first entry.
    elementwise, equations
        How the entries of an elementwise layer belong together, and its equations; otherwise None.
    readings
        The numbers that were read as the simple numbers that they stand for.
    by_formula
        The names of chainrule's activation functions that are read from their formulas.
    """

    subject: Subject
    cases: list[Case]
    readings: Readings
    by_formula: tuple[str, ...]
    elementwise: Elementwise | None = None
    equations: Equations | None = None

    @property
    def has_backward(self) -> bool:
        """Whether the layer has a `backward`."""
        return _has_backward(self.subject.layer)

    def expression(self, form: Form, names: Mapping[Form, Any] | None = None) -> Any:
        """A form in SymPy, with numbers as what they stand for."""
        return expression(form, reads=self.readings, names=names)

    def relations(self, conditions: Iterable[Condition], names: Mapping[Form, Any]) -> list[Any]:
        """Conditions as relations, without those that another one of them implies."""
        sympy = require_sympy()
        found: dict[Any, Any] = {}
        for condition in conditions:
            relation = self.relation(condition, names)
            key = (relation.lhs, relation.func) if relation.rhs.is_Number else relation
            known = found.get(key)
            narrower = sympy.Max if relation.func is sympy.Gt else sympy.Min
            if known is not None and relation.rhs.is_Number:
                bound = narrower(known.rhs, relation.rhs)
                relation = relation.func(relation.lhs, bound, evaluate=False)
            found[key] = relation
        return list(found.values())

    def relation(self, condition: Condition, names: Mapping[Form, Any] | None = None) -> Any:
        """A condition as a relation in SymPy, with the negative terms of a sum on the right."""
        sympy = require_sympy()
        whole = self.expression(condition.form, names)
        left = [
            term for term in sympy.Add.make_args(whole) if not term.is_Number
            and not term.could_extract_minus_sign()
        ]  # fmt: skip
        over, under = sympy.Add(*left), sympy.Add(*left) - whole
        is_greater = condition.is_positive
        if not left:
            over, under, is_greater = under, over, not is_greater
            shift = sum(term for term in sympy.Add.make_args(over) if term.is_Number)
            over, under = over - shift, under - shift
        return (sympy.Gt if is_greater else sympy.Lt)(over, under, evaluate=False)


def read(model: Layer, input_shape: Any = None) -> Reading:
    """Send symbols through a layer.

    Raises
    ------
    MissingExtraError
        If SymPy is not installed.
    UndecidedError
        If the layer asks for what symbols cannot answer.
    BuildError
        If it can be built for none of the small shapes, and none is given.
    """
    require_sympy()
    subject = subject_of(model, input_shape, 2 if model.couples_batch else 1, None)
    by_formula = _write_activations(subject.layer)
    passes = int(_has_backward(subject.layer))
    readings = Readings()
    elementwise = Elementwise.of(subject, passes)
    if elementwise is not None:
        cases = cases_of(subject, elementwise.shown, backward=passes, about=elementwise.symbols)
        reading = Reading(subject, cases, readings, by_formula, elementwise)
        equations = elementwise.equations(reading)
        if _agrees(subject, equations, passes):
            return evolve(reading, equations=equations)
    cases = cases_of(subject, _everything, backward=passes)
    return Reading(subject, cases, readings, by_formula)


def _write_activations(model: Layer) -> tuple[str, ...]:
    """Replace chainrule's activation functions by their formulas, which have no guards."""
    found = {}
    for _, layer in model.walk():
        if isinstance(layer, Activation) and type(layer.function).__module__ == HOME:
            if layer.function.formula:
                found[layer.function.name] = None
                object.__setattr__(layer, "function", as_on_paper(layer.function))
    return tuple(found)


def _has_backward(layer: Layer) -> bool:
    return type(layer).backward is not Layer.backward


def _everything(passes: Passes) -> list[Form]:
    arrays = [*passes.outputs, *passes.received().values()]
    return [form_of(entry) for array in arrays for entry in flat(array)]


def where(cases: Sequence[tuple[Sequence[str], str]]) -> str:
    """One expression for several cases, each with its conditions: nested calls of np.where."""
    conditions, value = cases[0]
    if len(cases) == 1 or not conditions:
        return value
    same = sum(case[0][:1] == conditions[:1] for case in cases)
    inside = [(rest[1:], text) for rest, text in cases[:same]]
    outside = [(rest[1:], text) for rest, text in cases[same:]]
    texts = {text for _, text in cases}
    if len(texts) == 1:
        return value
    return f"np.where({conditions[0]}, {where(inside)}, {where(outside)})"


# ------------------------------------------------------------------------------- elementwise


@frozen(eq=False)
class Elementwise:
    """A layer of which each output may depend on the input at the same place alone."""

    subject: Subject
    symbols: dict[str, str]
    """For the names of the first entry's variables the names in equations."""
    others: dict[str, Form]
    """Zero for the deltas of all other entries."""
    places: dict[str, int]
    """Where the first entry is in each parameter."""

    @classmethod
    def of(cls, subject: Subject, passes: int) -> Elementwise | None:
        layer = subject.layer
        if subject.batch != 1 or len(layer.input_shapes) != 1 or len(layer.output_shapes) != 1:
            return None
        row = layer.input_shape
        if row != layer.output_shape or layer.generators or subject.still or not np.prod(row):
            return None
        names = {name: labels(name, (1, *row)) for name in ("x", "delta")}
        for parameter in layer.parameters:
            given = np.array(labels(parameter.path, parameter.shape)).reshape(parameter.shape)
            try:
                spread = np.broadcast_to(given, row)
            except ValueError:
                return None
            names[parameter.path] = list(spread.ravel())
        sets = [set(entry) for entry in zip(*names.values(), strict=True)]
        run = subject.run(subject.draw(), backward=passes)
        for array in (*run.outputs, *run.deltas.values()):
            for entry, own in zip(flat(array), sets, strict=True):
                if not forms.symbols_in(form_of(entry)) - {forms.PI} <= own:
                    return None
        return cls(
            subject,
            {entries[0]: name for name, entries in names.items()},
            dict.fromkeys(names["delta"][1:], forms.ZERO),
            {p.path: labels(p.path, p.shape).index(names[p.path][0]) for p in layer.parameters},
        )

    def shown(self, run: Passes) -> list[Form]:
        """The formulas of the first entry: y, ∂C/∂x, and its part of every gradient."""
        arrays = [*run.outputs, *run.deltas.values()]
        first = [form_of(flat(array)[0]) for array in arrays]
        gradients = run.gradients if run.deltas else {}
        return first + [
            replaced(form_of(flat(gradient)[self.places[path]]), self.others)
            for path, gradient in gradients.items()
        ]

    def equations(self, reading: Reading) -> Equations:
        sympy = require_sympy()
        names = {sympy.Symbol(label, real=True): name for label, name in self.symbols.items()}
        x, delta, *parts = names
        source = Source({s: names[s] for s in (x, *parts, delta)}, [delta, *parts, x],
                        on_paper=True)  # fmt: skip
        columns = []
        for case in reading.cases:
            conditions = [source(reading.relation(c)) for c in case.conditions
                          if c.opposite in self._decided(reading)]  # fmt: skip
            columns.append(
                [(conditions, source(reading.expression(form)))
                 for form in self.shown(case.passes)]
            )  # fmt: skip
        texts = [where(column) for column in zip(*columns, strict=True)]
        forward, backward, *gradients = [*texts, "np.zeros_like(x)"] if len(texts) == 1 else texts
        forward = forward if "x" in forward else f"{forward} + 0 * x"
        paths = [p.path for p in self.subject.layer.parameters]
        summed = [
            _summed(text, len(p.shape), len(self.subject.layer.input_shape))
            for text, p in zip(gradients, self.subject.layer.parameters, strict=False)
        ]
        return Equations(forward, backward, dict(zip(paths, summed, strict=False)))

    def _decided(self, reading: Reading) -> set[Condition]:
        return {c for case in reading.cases for c in case.conditions}


def _summed(text: str, rank: int, of_row: int) -> str:
    """The sum over the samples, and over the axes that a parameter does not have."""
    if rank == 0:
        return f"({text}).sum()"
    axes = tuple(range(1 + of_row - rank))
    return f"({text}).sum(axis={axes[0] if len(axes) == 1 else axes})"


def _agrees(subject: Subject, equations: Equations, passes: int) -> bool:
    """Whether equations give the numbers of a layer, for a batch of two rows."""
    trial = Subject(subject.layer, 2)
    for _ in range(3):
        values = trial.draw()
        run = trial.run_in_doubles(values) if passes else trial.run_in_doubles(values, applies=True)
        known: dict[str, Any] = {"erf": np.vectorize(math.erf, otypes=[float])}
        known |= {name: array.astype(float) for name, array in values.items()}
        pairs = [(equations.forward[0], run.outputs[0])]
        if passes:
            pairs.append((equations.backward[0], run.deltas["x"]))
            pairs += [(text, run.gradients[path]) for path, text in equations.gradients.items()]
        for text, array in pairs:
            with np.errstate(all="ignore"):
                found = evaluate(text, known)
            if np.shape(found) != array.shape or not np.allclose(
                found, array, rtol=CLOSE, atol=CLOSE
            ):
                return False
    return True
