r"""The symbols of a model: the names on paper of all values, deltas and parameters.

    z^{(n)} = y^{(n-1)} w^{(n)} + b^{(n)},    y^{(n)} = f(z^{(n)}),    \Delta^{(n)} = ∂C/∂z^{(n)}

They are the lecture's, numbered in the order of the plan. The output of a `Dense` is a z, and its
`Activation` gives the y of the same number. The output of any other layer is a y with a new number.
A shared layer has the same w everywhere.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
from attrs import define, field, frozen

from chainrule.core import input_checks
from chainrule.core.equations import Equations, equations_of, is_said_by, numbered, unknown
from chainrule.core.errors import ChainruleError, DefinitionError, MissingExtraError, described
from chainrule.core.layer import Layer
from chainrule.core.messages import label
from chainrule.core.types import Shape
from chainrule.display.explanation import Record
from chainrule.display.notation import (
    Sign,
    latex_name,
    lowered,
    names_in,
    renamed,
    to_latex,
    to_text,
)
from chainrule.graph.plan import Plan
from chainrule.graph.unrolling import PlanStep

# The letters of parameters on paper, and names that are already used for something else.
LETTERS = {"weights": "w", "biases": "b", "recurrent_weights": "u"}
GREEK = {
    "alpha": "α", "beta": "β", "gamma": "γ", "epsilon": "ε", "theta": "θ", "kappa": "κ",
    "mu": "μ", "nu": "ν", "rho": "ρ", "sigma": "σ", "tau": "τ", "phi": "φ",
    "omega": "ω",
}  # fmt: skip
TAKEN = frozenset({"y", "z", "Delta", "f", "df", "J", "dC", "N", "C", "M"})


@frozen
class Symbol:
    """A value of the plan: its name, and the name of its delta."""

    name: str
    sign: Sign
    delta: str
    number: str  # such as "3", also the number of the layer's parameters


@define
class NamedStep:
    """A step with its equations and its names."""

    step: PlanStep
    said: Equations
    remark: str = ""
    number: str = ""
    parameters: Mapping[str, Any] = field(factory=dict)
    names: dict[str, str] = field(factory=dict)  # from the layer's names to those of the model

    @property
    def kind(self) -> str:
        """The class of the layer."""
        return type(self.step.layer).__name__

    def path(self, plan: Plan) -> str:
        """The path of the step; for a model that is a single layer, the name of the model."""
        return self.step.path or plan.name


class Symbols:
    """The plan of a model with the equations of its steps and a symbol for each quantity.

    Attributes
    ----------
    plan, steps
        The plan, and a `NamedStep` for each of its steps.
    values
        The symbols of the values and their deltas, by slot.
    parts
        The names of parameters and buffers, by ``id``; `paths` are those in the program.
    signs
        The notation of each name.
    functions
        The functions by name: f and f′.
    records
        A line for each symbol.
    """

    def __init__(self, model: Layer) -> None:
        self.model = type(model).__name__
        self.plan = Plan.of(model)
        self.shapes = _shapes(self.plan, model)
        self.steps = [
            NamedStep(step, *_from_code(step, self._said(step))) for step in self.plan.steps
        ]
        found = {**model._collected("_buffers"), **model._collected("_parameters")}
        self.paths = {id(part): path for path, part in reversed(found.items())}
        self.records: list[Record] = []
        self.signs: dict[str, Sign] = {}
        self.functions: dict[str, Callable[..., Any]] = {}
        self.values: dict[int, Symbol] = {}
        self.parts: dict[int, str] = {}
        self.kinds = _kinds_of_function(place.said.function for place in self.steps)
        self.next = 1  # the next number
        self._name_inputs()
        for place in self.steps:
            self._name(place)
        self._name_functions()

    def _said(self, step: PlanStep) -> Equations:
        """The equations of a step, after checking that they match its inputs and outputs."""
        said = equations_of(self._as_used(step))
        if not isinstance(said, Equations):
            raise DefinitionError(
                f"{label(step.layer)}: equations() does not return Equations",
                place=self.plan.place(step),
                expected='Equations(forward="2 * x", backward="2 * delta")',
                received=described(said),
            )
        pairs = (("forward", said.forward, step.makes), ("backward", said.backward, step.takes))
        for name, given, slots in pairs:
            if len(given) != len(slots):
                what = "outputs" if name == "forward" else "inputs"
                raise DefinitionError(
                    f"{label(step.layer)}: the number of {name} equations differs from the number "
                    f"of {what}",
                    place=self.plan.place(step),
                    expected=f"{len(slots)}",
                    received=f"{len(given)}: {', '.join(given)}",
                )
        return said

    def _as_used(self, step: PlanStep) -> Layer:
        """The layer of a step, for rows of the shape that it gets there."""
        layer, given = step.layer, tuple(self.shapes[slot] for slot in step.takes)
        if given == layer.input_shapes:
            return layer
        used, made = layer.twin(), tuple(self.shapes[slot] for slot in step.makes)
        used.__dict__.update(_input_shapes=given, _output_shapes=made)
        return used

    def _name_inputs(self) -> None:
        names = [self.plan.names[slot] for slot in self.plan.inputs]
        for slot, name in zip(self.plan.inputs, names, strict=True):
            if name == "input":
                number = Sign("0", "₀"), "0"
            elif (found := re.fullmatch(r"input_(\d+)", name)) is not None:
                number = Sign(f"0,{found[1]}", "₀" + lowered(found[1])), f"0_{found[1]}"
            else:
                own = re.sub(r"\W+", "_", name)
                while f"y_{own}" in self.signs:
                    own += "_"
                number = Sign(rf"\mathrm{{{latex_name(own)}}}", f"_{own}"), f"{own}"
            self._value(slot, "y", *number, has_z=False)
            self._symbol(self.values[slot].name, self.shapes[slot], name, batch=True)

    def _name(self, place: NamedStep) -> None:
        """Number the outputs of a step: an activation gets the number of the z that it takes."""
        step, said = place.step, place.said
        place.number = ""
        for slot in step.makes:
            taken = self.values[step.takes[0]] if len(step.takes) == 1 else None
            if (
                said.function is not None
                and taken is not None
                and taken.name == f"z_{taken.number}"
                and f"y_{taken.number}" not in self.signs
            ):
                number, has_z = taken.number, True
            else:
                number, has_z = str(self.next), False
                self.next += 1
            place.number = place.number or number
            self._value(slot, said.letter, Sign(number, lowered(number)), number, has_z)
        self._name_parts(place)
        for slot in step.makes:
            where = self.plan.names[slot]
            self._symbol(self.values[slot].name, self.shapes[slot], where, batch=True)

    def _value(self, slot: int, letter: str, shown: Sign, number: str, has_z: bool) -> None:
        """Add the symbols for a value and for its delta."""
        name = f"{letter}_{number}"
        sign = Sign(f"{letter}^{{({shown.latex})}}", f"{letter}{shown.text}")
        # As in the lecture, Δ^(n) belongs to z^(n), so the delta of y^(n) is written as ∂C/∂y^(n).
        if has_z:
            delta = f"dC_dy_{number}"
            self.signs[delta] = derivative(sign)
        else:
            delta = f"Delta_{number}"
            self.signs[delta] = Sign(rf"\Delta^{{({shown.latex})}}", f"Δ{shown.text}")
        self.values[slot] = Symbol(name, sign, delta, number)
        self.signs[name] = sign

    def is_input(self, slot: int) -> bool:
        """Whether a value is an input of the model."""
        return slot < len(self.plan.inputs)

    def _name_parts(self, place: NamedStep) -> None:
        """Name the parameters of a step, and the buffers that its equations use."""
        layer, said = place.step.layer, place.said
        place.parameters = layer._collected("_parameters")
        if others := said.gradients.keys() - place.parameters.keys():
            raise DefinitionError(
                f"{label(layer)}: its equations have gradients of unknown parameters",
                place=self.plan.place(place.step),
                expected=f"gradients of {', '.join(place.parameters) or 'nothing'}",
                received=", ".join(sorted(others)),
            )
        states = dict(layer._buffers)
        if states:
            used = {name for text in self._spoken(said) for name in self._names_in(text, place)}
            states = {name: part for name, part in states.items() if name in used}
        for path, part in {**place.parameters, **states}.items():
            if id(part) not in self.parts:
                name, sign = self._free_name(path, place.number)
                self.parts[id(part)] = name
                self.signs[name] = sign
                self._symbol(name, part.shape, self.paths.get(id(part), path), batch=False)

    def _spoken(self, said: Equations) -> list[str]:
        """The expressions whose buffers get a symbol."""
        parts = [*said.definitions.values(), *said.backward_definitions.values()]
        return [*parts, *said.forward, *said.backward, *said.gradients.values()]

    def _free_name(self, path: str, number: str) -> tuple[str, Sign]:
        own = path.replace("/", "_").replace(".", "_")
        letter = LETTERS.get(own, own)
        if letter in TAKEN or f"{letter}_{number}" in self.signs:
            letter = own = f"{own}_"
        while f"{letter}_{number}" in self.signs:
            letter = own = f"{own}_"
        latex = rf"\{letter}" if letter in GREEK else letter
        if len(letter) > 1 and letter not in GREEK:
            latex = rf"\mathrm{{{latex_name(letter)}}}"
        name = f"{letter}_{number}"
        return name, Sign(f"{latex}^{{({number})}}", GREEK.get(letter, letter) + lowered(number))

    def _names_in(self, expression: str, place: NamedStep) -> set[str]:
        try:
            return names_in(expression)
        except DefinitionError as error:
            raise error.within(self.plan.place(place.step)) from None

    def _name_functions(self) -> None:
        """The symbols f and f′, or f₁, f₂, … if there are several, with their formulas."""
        several = len(self.kinds) > 1
        for count, function in enumerate(self.kinds, start=1):
            index = str(count) if several else ""
            f, df = (f"f_{index}", f"df_{index}") if several else ("f", "df")
            lower = f"_{{{index}}}" if several else ""
            self.signs[f] = Sign(f"f{lower}", f"f{lowered(index)}")
            self.signs[df] = Sign(f"f{lower}'", f"f{lowered(index)}′")
            self.functions |= {f: function.value, df: function.derivative}
            self._formula(function, f, df)

    def _formula(self, function: Any, f: str, df: str) -> None:
        name = getattr(function, "name", "") or str(function)
        if name == "pair":
            name = str(function).removeprefix("Pair")
        says = is_said_by(type(function), "formula", ("value", "derivative"))
        formula = getattr(function, "formula", None) if says else None
        signs = {"z": Sign("z", "z"), **self.signs, "f": self.signs[f]}
        for symbol, number in ((f, 0), (df, 1)):
            own = formula[number] if formula else ""
            sides = [f"{symbol}(z)", *([own] if own else [])]
            self.records.append(
                Record(
                    kind="symbol",
                    step=0,
                    place=name,
                    left=symbol,
                    expression=own,
                    latex=" = ".join(to_latex(side, signs, of_numbers=True) for side in sides),
                    text=" = ".join(to_text(side, signs, of_numbers=True) for side in sides),
                )
            )

    def _symbol(self, name: str, shape: Shape, where: str, batch: bool) -> None:
        sizes = (["N"] if batch else []) + ["any" if n is None else str(n) for n in shape]
        sign = self.signs[name]
        power = "^{" + r" \times ".join(sizes) + "}" if sizes else ""
        text = f"{sign.text} ∈ ℝ" + (f"^({'×'.join(sizes)})" if sizes[1:] else
                                     f"^{sizes[0]}" if sizes else "")  # fmt: skip
        self.records.append(
            Record("symbol", 0, where, name, "", rf"{sign.latex} \in \mathbb{{R}}{power}", text)
        )

    # ---------------------------------------------------------------- from a layer's symbols

    def in_symbols(self, expression: str, place: NamedStep, parameter: str = "") -> str:
        """An expression of a layer, with its symbols replaced by those of the model."""
        step, known = place.step, place.names
        if not known:
            known = place.names = self._local_names(place)
        if not place.said.is_evaluable or parameter:
            known = known | self._unknowns(place, parameter)
        unknown = self._names_in(expression, place) - known.keys()
        if unknown:
            raise DefinitionError(
                f"{label(step.layer)}: unknown names in equations: {', '.join(sorted(unknown))}",
                place=self.plan.place(step),
                expected=f"only {', '.join(sorted(known))}, and np",
                received=repr(expression),
            )
        return renamed(expression, known)

    def _local_names(self, place: NamedStep) -> dict[str, str]:
        step = place.step
        known: dict[str, str] = {}
        for letter, slots in (("x", step.takes), ("y", step.makes), ("delta", step.makes)):
            for n, slot in enumerate(slots):
                symbol = self.values[slot]
                own = symbol.delta if letter == "delta" else symbol.name
                known[f"{letter}_{n + 1}"] = own
                if len(slots) == 1:
                    known[letter] = own
        for name, part in {**step.layer._buffers, **step.layer._parameters}.items():
            if id(part) in self.parts:
                known[name] = self.parts[id(part)]
        if place.said.function is not None:
            number = _index(self.kinds, place.said.function) + 1
            ending = f"_{number}" if len(self.kinds) > 1 else ""
            known |= {"f": f"f{ending}", "df": f"df{ending}"}
        return known | self._own_names(place)

    def _own_names(self, place: NamedStep) -> dict[str, str]:
        """The names that the equations of a layer define themselves, with their notation."""
        made = self.values[place.step.makes[0]]
        shown = {
            "<x>": self.values[place.step.takes[0]].sign,
            "<y>": made.sign,
            "<delta>": self.signs[made.delta],
            "<n>": Sign(place.number, lowered(place.number)),
        }
        known = {}
        for name, (latex, text) in place.said.signs.items():
            known[name] = symbol = f"{name}_of_{place.number}"
            for token, sign in shown.items():
                latex, text = latex.replace(token, sign.latex), text.replace(token, sign.text)
            self.signs[symbol] = Sign(latex, text)
        return known

    def _unknowns(self, place: NamedStep, parameter: str) -> dict[str, str]:
        """Generic symbols f and J, for a layer that does not provide its equations."""
        own, number = type(place.step.layer).__name__, place.number
        raised, low = f"^{{({number})}}", lowered(number)
        name = rf"\mathrm{{{latex_name(own)}}}"
        known = {"f": f"{own}_{number}"}
        self.signs[known["f"]] = Sign(f"{name}{raised}", f"{own}{low}")
        for n, local in enumerate(numbered("J", len(place.step.takes)), start=1):
            known[local] = symbol = f"{local}_{own}_{number}"
            latex, text = (f",{n}", f",{lowered(str(n))}") if local != "J" else ("", "")
            self.signs[symbol] = Sign(f"J_{{{name}{latex}}}{raised}", f"J_{own}{low}{text}")
        if parameter:
            known["J_theta"] = symbol = f"J_{parameter}_{number}"
            makes = [self.values[slot].sign for slot in place.step.makes]
            below = self.signs[parameter]
            latex = ", ".join(sign.latex for sign in makes)
            text = ", ".join(sign.text for sign in makes)
            if len(makes) > 1:
                latex, text = f"({latex})", f"({text})"
            self.signs[symbol] = Sign(
                rf"\frac{{\partial {latex}}}{{\partial {below.latex}}}",
                f"∂{text}/∂{below.text}",
                is_quotient=True,
            )
        return known


def _from_code(step: PlanStep, said: Equations) -> tuple[Equations, str]:
    """The equations of a step, with a remark; if it provides none, those read from its code."""
    layer, kind = step.layer, type(step.layer).__name__
    is_own = is_said_by(type(layer), "equations", ("forward", "backward"))
    if is_own or said != unknown(layer):
        return said, ""
    try:
        from chainrule.display.reading import equations_of_code

        return equations_of_code(layer)
    except MissingExtraError as error:
        return said, f"{NO_EQUATIONS.format(kind)}; to read them from its code: {error.hint}"
    except (ChainruleError, ArithmeticError) as error:
        return said, f"{NO_EQUATIONS.format(kind)}, and {str(error).splitlines()[0]}"


NO_EQUATIONS = "{} does not provide its equations"


def derivative(sign: Sign) -> Sign:
    """The notation of the derivative of the cost."""
    latex = rf"\frac{{\partial C}}{{\partial {sign.latex}}}"
    return Sign(latex, f"∂C/∂{sign.text}", is_quotient=True)


def _kinds_of_function(given: Iterable[Any]) -> list[Any]:
    kinds: list[Any] = []
    for function in given:
        if function is not None and _index(kinds, function) < 0:
            kinds.append(function)
    return kinds


def _index(kinds: list[Any], function: Any) -> int:
    return next((n for n, kind in enumerate(kinds) if kind is function or kind == function), -1)


def _shapes(plan: Plan, model: Layer) -> dict[int, Shape]:
    """The shape of a row of every value. A shared layer may get rows of different shapes."""
    shapes: dict[int, Shape] = dict(zip(plan.inputs, model.input_shapes, strict=True))
    for step in plan.steps:
        before, after = tuple(shapes[slot] for slot in step.takes), step.layer.output_shapes
        if before != step.layer.input_shapes:
            empty = [np.zeros((0, *shape), step.layer.dtype) for shape in before]
            try:
                made = input_checks.as_tuple(step.layer.apply(*empty))
            except Exception:  # the first batch will report the error; the formulas hold anyway
                made = ()
            after = tuple(y.shape[1:] for y in made) or after
        shapes.update(zip(step.makes, after, strict=True))
    return shapes
