"""Reading: the equations of a layer, from its code.

    return np.sin(self.k.value * x)        y = sin(k x),    ∂C/∂x = Δ k cos(k x)

A small row of symbols goes through `forward` and `backward`. If every output depends on the input
at the same place alone, and all in the same way, the layer is elementwise, and one formula is
enough: an `Equations`, as an author would write it. That it holds for arrays too is checked.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from attrs import evolve, frozen

from chainrule.core.equations import Equations, unknown
from chainrule.core.errors import BuildError, ShapeError, UndecidedError
from chainrule.core.layer import Layer
from chainrule.display.notation import evaluate, latex_name, names_in
from chainrule.display.numpy_source import Source
from chainrule.layers.activation import Activation
from chainrule.symbolic import forms
from chainrule.symbolic.array import labels
from chainrule.symbolic.cases import Case, cases_of, defined
from chainrule.symbolic.entries import Condition
from chainrule.symbolic.forms import Form
from chainrule.symbolic.formulas import expression, length, replaced, require_sympy
from chainrule.symbolic.proof import SHAPES, as_on_paper, subject_of
from chainrule.symbolic.readings import Readings
from chainrule.symbolic.trials import Passes, Subject, Values, flat, form_of

MOST_ENTRIES = 4
"""So many numbers of a row have a line each in an explanation."""
LONGEST, LONGEST_VECTOR = 300, 240
"""A longer expression is not shown in an explanation."""
NOT_SHORT = "its formulas are not short; chainrule.formula shows them"
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

    def expression(self, form: Form, known: dict[Form, Any] | None = None) -> Any:
        """A form in SymPy, with numbers as what they stand for; ``known`` is extended."""
        return expression(form, reads=self.readings, known=known)

    def texts(self, shown: Callable[[Passes], list[Form]], source: Source) -> list[str]:
        """The source of each form, with np.where if it differs from case to case."""
        sides = {condition for case in self.cases for condition in case.conditions}
        columns = []
        for case in self.cases:
            decided = [c for c in case.conditions if c.opposite in sides]
            lines = [*shown(case.passes), *(c.form for c in decided)]
            if length(lines) > LONGEST:  # before it is written out
                raise UndecidedError(NOT_SHORT)
            conditions = [source(self.relation(c)) for c in decided]
            columns.append(
                [(conditions, source(self.expression(form))) for form in shown(case.passes)]
            )
        return [_where(column) for column in zip(*columns, strict=True)]

    def relations(self, conditions: Iterable[Condition], known: dict[Form, Any]) -> list[Any]:
        """Conditions as relations, without those that another one of them implies."""
        sympy = require_sympy()
        found: dict[Any, Any] = {}
        for condition in conditions:
            relation = self.relation(condition, known)
            key = (relation.lhs, relation.func) if relation.rhs.is_Number else relation
            before = found.get(key)
            narrower = sympy.Max if relation.func is sympy.Gt else sympy.Min
            if before is not None and relation.rhs.is_Number:
                bound = narrower(before.rhs, relation.rhs)
                relation = relation.func(relation.lhs, bound, evaluate=False)
            found[key] = relation
        return list(found.values())

    def relation(self, condition: Condition, known: dict[Form, Any] | None = None) -> Any:
        """A condition as a relation in SymPy, with the negative terms of a sum on the right."""
        sympy = require_sympy()
        whole = self.expression(condition.form, known)
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
    subject = subject_of(model, input_shape, 1, None)
    by_formula = _write_activations(subject.layer)
    passes = "fb" if _has_backward(subject.layer) else "f"
    if _rows_mix(subject, passes):
        subject = evolve(subject, batch=2)
    readings = Readings()
    elementwise = Elementwise.of(subject, passes)
    if elementwise is not None:
        cases = cases_of(subject, elementwise.shown, passes=passes, about=elementwise.symbols)
        reading = Reading(subject, cases, readings, by_formula, elementwise)
        equations = elementwise.equations(reading)
        if _agrees(subject, equations, passes):
            return evolve(reading, equations=equations)
    cases = cases_of(subject, _everything, passes=passes)
    return Reading(subject, cases, readings, by_formula)


def _write_activations(model: Layer) -> tuple[str, ...]:
    """Replace chainrule's activation functions by their formulas, which have no guards."""
    found: dict[str, None] = {}
    for _, layer in model.walk():
        if isinstance(layer, Activation) and type(layer.function).__module__ == HOME:
            function = layer.function
            if function.formula:
                found[function.name] = None
                object.__setattr__(layer, "function", as_on_paper(function))
    return tuple(found)


def _rows_mix(subject: Subject, passes: str) -> bool:
    """Whether a row of a batch affects another, as the layer says or its numbers show."""
    if subject.layer.couples_batch:
        return True
    if subject.layer.generators:
        return False
    pair = evolve(subject, batch=2)
    values = pair.draw()
    first = {name: x[:1] if name in subject.by_row else x for name, x in values.items()}
    together, alone = (_in_doubles(s, v, passes) for s, v in ((pair, values), (subject, first)))
    arrays = zip(
        (*together.outputs, *together.deltas.values()), (*alone.outputs, *alone.deltas.values()),
        strict=True,
    )  # fmt: skip
    return not all(np.allclose(x[:1], y, CLOSE, CLOSE, equal_nan=True) for x, y in arrays)


def _in_doubles(subject: Subject, values: Values, passes: str) -> Passes:
    """A run with arrays, of a layer that may have no `backward`."""
    with np.errstate(all="ignore"):
        return subject.run_in_doubles(values, applies="b" not in passes)


def _has_backward(layer: Layer) -> bool:
    return type(layer).backward is not Layer.backward


def _everything(passes: Passes) -> list[Form]:
    arrays = [*passes.outputs, *passes.received().values()]
    return [form_of(entry) for array in arrays for entry in flat(array)]


def _where(cases: Sequence[tuple[Sequence[str], str]]) -> str:
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
    return f"np.where({conditions[0]}, {_where(inside)}, {_where(outside)})"


# ------------------------------------------------------------------------------- for `explain`


def equations_of_code(layer: Layer) -> tuple[Equations, str]:
    """The equations of a layer, read from its code, and a remark that says so.

    Those of an elementwise layer hold for arrays. Those of another layer of one input and one
    output are written entry by entry, for small rows, beside its unknown function.

    Raises
    ------
    MissingExtraError
        If SymPy is not installed.
    UndecidedError
        If the code cannot be followed, or what it computes is too long to be read.
    """
    reading = _read_small(layer)
    subject = reading.subject
    if any("." in name for name in (*subject.moving, *(b.path for b in subject.layer.buffers))):
        raise UndecidedError(NOT_SHORT)
    remark = f"read from the code of {type(layer).__name__}"
    if reading.equations is not None:
        found = reading.equations
        longest = max(map(len, (*found.forward, *found.backward, *found.gradients.values())))
        if longest <= LONGEST:
            return found, remark
    elif len(layer.input_shapes) == len(layer.output_shapes) == reading.subject.batch == 1:
        row = reading.subject.layer.input_shape
        is_own = row == layer.input_shape
        found = _by_entry(reading)
        if not is_own:
            found, remark = evolve(found, gradients={}), f"{remark}, for rows of shape {row}"
        return found, remark
    raise UndecidedError(NOT_SHORT)


def _read_small(layer: Layer) -> Reading:
    """The reading for rows of the layer's own shape, or else for small ones."""
    own = tuple(layer.input_shapes)
    if None not in sum(own, ()) and sum(int(np.prod(row)) for row in own) <= MOST_ENTRIES:
        return read(layer)
    problem: Exception | None = None
    for row in SHAPES:
        if {len(row)} == set(map(len, own)):
            try:
                return read(layer.unbuilt(), (row,) * len(own))
            except (BuildError, ShapeError) as error:
                problem = problem or error
    raise UndecidedError("it cannot be built for small rows") from problem


def _by_entry(reading: Reading) -> Equations:
    """Equations in which every entry of y and of Jᵀ Δ has a line."""
    layer = reading.subject.layer
    parts = [*layer.parameters, *layer.buffers]
    x, delta = (
        {label: label.replace("[0", "[s", 1) for label in labels(name, (1, *row))}
        for name, row in (("x", layer.input_shape), ("delta", layer.output_shape))
    )
    if any(part.path == "s" for part in parts):  # the index of a sample
        raise UndecidedError(NOT_SHORT)
    own = {label: label for part in parts for label in labels(part.path, part.shape)}
    source = _source({**x, **own, **delta}, [*delta, *own, *x])
    texts = iter(reading.texts(_everything, source))
    name = type(layer).__name__
    jacobian = rf"(J_{{\mathrm{{{latex_name(name)}}}}}^{{(<n>)}}{{}}^\top", f"(J_{name}<n>ᵀ"
    signs = {"s": ("s", "s")}
    definitions: dict[str, str] = {}
    backward: dict[str, str] = {}
    for found, latex, text, entries in (
        (definitions, "<y>", "<y>", delta.values()),
        (backward, rf"{jacobian[0]} \, <delta>)", f"{jacobian[1]} <delta>)", x.values()),
    ):
        if found is backward and not reading.has_backward:
            break
        for entry in entries:
            index = entry[entry.index("[") :]
            key = f"{'backward' if found is backward else 'forward'}_{len(found)}"
            found[key], signs[key] = next(texts), (f"{latex}_{{{index}}}", text + index)
    gradients = {}
    for parameter in layer.parameters:
        terms = [f"np.sum({next(texts)}, axis=0)" for _ in range(parameter.size)]
        joined = terms[0] if not parameter.shape else f"({', '.join(terms)},)"
        if len(parameter.shape) < 2 and len(joined) <= LONGEST_VECTOR:
            gradients[parameter.path] = joined
    if max(map(len, (*definitions.values(), *backward.values()))) > LONGEST:
        raise UndecidedError(NOT_SHORT)
    return evolve(
        unknown(layer),
        definitions=definitions,
        backward_definitions=backward,
        gradients=gradients,
        signs=signs,
    )


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
    def of(cls, subject: Subject, passes: str) -> Elementwise | None:
        """How the entries of a layer belong together; None if it is not elementwise."""
        layer = subject.layer
        if subject.batch != 1 or len(layer.input_shapes) != 1 or len(layer.output_shapes) != 1:
            return None
        row = layer.input_shape
        if row != layer.output_shape or layer.generators or subject.still or not np.prod(row):
            return None
        names = {name: labels(name, (1, *row)) for name in ("x", "delta")}
        places = {}
        for parameter in layer.parameters:
            name = subject.name_of(parameter)
            given = labels(name, parameter.shape)
            try:
                spread = np.broadcast_to(np.reshape(given, parameter.shape), row)
            except ValueError:
                return None
            names[name] = list(spread.ravel())
            places[name] = given.index(names[name][0])
        sets = [set(entry) for entry in zip(*names.values(), strict=True)]
        _, run = defined(subject, lambda values: subject.run(values, passes=passes))
        for array in (*run.outputs, *run.deltas.values()):
            for entry, own in zip(flat(array), sets, strict=True):
                if not forms.symbols_in(form_of(entry)) - {forms.PI} <= own:
                    return None
        return cls(
            subject,
            {entries[0]: _identifier(name) for name, entries in names.items()},
            dict.fromkeys(names["delta"][1:], forms.ZERO),
            places,
        )

    def shown(self, run: Passes) -> list[Form]:
        """The formulas of the first entry: y, ∂C/∂x, and its part of every gradient."""
        arrays = [*run.outputs, *run.deltas.values()]
        first = [form_of(flat(array)[0]) for array in arrays]
        gradients = run.gradients if run.deltas else {}
        return first + [
            replaced(form_of(flat(gradient)[self.places[name]]), self.others)
            for name, gradient in gradients.items()
        ]

    def equations(self, reading: Reading) -> Equations:
        """The formulas of the first entry, as equations for all."""
        x, delta, *parts = self.symbols
        order = [x, *parts, delta]
        source = _source({label: self.symbols[label] for label in order}, [delta, *parts, x])
        forward, *others = reading.texts(self.shown, source)
        backward, *gradients = others or ["0"]
        layer = self.subject.layer
        return Equations(
            _filled(forward, "x"),
            _filled(backward, "delta"),
            {
                name: _summed(text, _identifier(name), len(p.shape), len(layer.input_shape))
                for text, name, p in zip(gradients, self.places, layer.parameters, strict=False)
            },
        )


def _identifier(path: str) -> str:
    return path.replace(".", "_")


def _source(names: Mapping[str, str], factors: Sequence[str]) -> Source:
    """Writes expressions of variables, given by their labels."""
    sympy = require_sympy()
    symbols = {label: sympy.Symbol(label, real=True) for label in names}
    return Source(
        {symbols[label]: name for label, name in names.items()},
        [symbols[label] for label in factors],
        on_paper=True,
    )


def _filled(text: str, name: str) -> str:
    """The expression; an array of equal numbers if it is a number."""
    if names_in(text):
        return text
    return f"np.zeros_like({name})" if text == "0" else f"np.full_like({name}, {text})"


def _summed(text: str, name: str, rank: int, of_row: int) -> str:
    """The sum over the samples, and over the axes that a parameter does not have."""
    if text == "0":
        return f"np.zeros_like({name})"
    if rank == 0:
        return f"({text}).sum()"
    axes = tuple(range(1 + of_row - rank))
    return f"({text}).sum(axis={axes[0] if len(axes) == 1 else axes})"


def _agrees(subject: Subject, equations: Equations, passes: str) -> bool:
    """Whether equations give the numbers of a layer, for a batch of two rows."""
    trial = evolve(subject, batch=2)
    for _ in range(3):
        values = trial.draw()
        run = _in_doubles(trial, values, passes)
        known: dict[str, Any] = {"erf": np.vectorize(math.erf, otypes=[float])}
        known |= {_identifier(name): array.astype(float) for name, array in values.items()}
        pairs = [(equations.forward[0], run.outputs[0])]
        if "b" in passes:
            pairs.append((equations.backward[0], run.deltas["x"]))
            pairs += [(text, run.gradients[path]) for path, text in equations.gradients.items()]
        for text, array in pairs:
            with np.errstate(all="ignore"):
                found = evaluate(text, known)
            if np.shape(found) != array.shape or not np.allclose(
                found, array, rtol=CLOSE, atol=CLOSE, equal_nan=True
            ):
                return False
    return True
