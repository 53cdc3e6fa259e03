"""The passes of a model as lines of a program, from the same equations as `explain`.

    z_1 = y_0 @ p["dense_1.weights"] + p["dense_1.biases"]      # z₁ = y₀ w₁ + b₁
    delta_1 = dC_dy_1 * df(z_1)                                 # Δ₁ = ∂C/∂y₁ ⊙ f′(z₁)
    gradient["dense_1.weights"] = y_0.T @ delta_1               # ∂C/∂w₁ = y₀ᵀ Δ₁

`Passes` follows the plan like `explain`, and keeps each of its lines as a syntax tree. Only the
lines that a result depends on are written. A layer with loops inside, such as an `LSTM`, has
functions of its own (`chainrule.display.program_loops`), which these lines call.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import attrs
from attrs import define, field

from chainrule.core.equations import Equations, unknown
from chainrule.core.errors import DefinitionError
from chainrule.core.layer import Layer
from chainrule.core.messages import label
from chainrule.core.open_axes import is_open
from chainrule.display.equations import Writing
from chainrule.display.notation import KNOWN
from chainrule.display.source import WIDTH, Lines, replaced, source
from chainrule.display.symbols import NamedStep
from chainrule.graph.unrolling import PlanStep

if TYPE_CHECKING:
    from chainrule.display.program_file import File

DRAWS = {"random": "random", "normal": "standard_normal"}
"""The methods of a generator for what equations call ``np.random`` and ``np.normal``."""


@define
class Line:
    """A line ``left = expression``.

    Attributes
    ----------
    left
        The names that it defines, or an item such as ``gradient["weights"]``.
    node
        The expression.
    comment
        The formula.
    sign
        ``"="`` or ``"+="``.
    stays
        Whether it has an effect besides the names on the left.
    """

    left: list[str]
    node: ast.expr
    comment: str = ""
    sign: str = "="
    stays: bool = False

    @property
    def uses(self) -> set[str]:
        """The names that it uses."""
        return {part.id for part in ast.walk(self.node) if isinstance(part, ast.Name)}


@define
class Call:
    """A layer that has functions of its own.

    Attributes
    ----------
    function
        Their names, without ``forward_``, ``backward_`` and ``apply_``.
    has_apply
        Whether there is one for inference; otherwise that is the forward pass.
    layer
        The layer, which has to live as long as others are compared with it by ``id``.
    line_back
        The lines that call ``backward_``, by the ``id`` of the step.
    """

    function: str
    has_apply: bool
    layer: Layer
    line_back: dict[int, Line] = field(factory=dict)


class Passes(Writing):
    """The lines of the forward pass, of inference and of the backward pass of a model."""

    def __init__(self, model: Layer, file: File, name: str) -> None:
        self.file, self.name = file, name
        self.calls: dict[int, Call] = {}  # by the layer
        self.forward: list[Line] = []
        self.inference: list[Line] = []
        self.back: list[Line] = []
        super().__init__(model)
        self.keys = {name: file.paths[key] for key, name in self.parts.items()}
        self.made = {name.name for name in self.values.values()}
        self.functions_here = {}
        for count, function in enumerate(self.kinds, start=1):
            ending = f"_{count}" if len(self.kinds) > 1 else ""
            for letter in ("f", "df"):
                shared = file.function(function, letter)
                self.functions_here[letter + ending] = shared.name
                self.signs[letter + ending] = shared.sign
        self.places = {place.path(self.plan): place for place in self.steps}
        self.explanation()

    @property
    def differs(self) -> bool:
        """Whether inference is not the forward pass."""
        said = any(place.said.apply for place in self.steps)
        return said or any(call.has_apply for call in self.calls.values())

    @property
    def inputs(self) -> list[str]:
        """The names of the inputs."""
        return [self.values[slot].name for slot in self.plan.inputs]

    @property
    def outputs(self) -> list[str]:
        """The names of the outputs."""
        return [self.values[slot].name for slot in self.plan.outputs]

    @property
    def output_deltas(self) -> list[str]:
        """The names of the deltas from the cost, in the order of the outputs."""
        outputs = self.plan.outputs
        order = sorted(range(len(outputs)), key=lambda n: outputs.index(outputs[n]))
        first = [self.renamed(r.left) for r in self.records if r.step == 1 and not r.expression]
        return [first[order.index(n)] for n in range(len(outputs))]

    @property
    def input_deltas(self) -> list[str]:
        """The names of the deltas of the inputs."""
        return [self.renamed(self.values[slot].delta) for slot in self.plan.inputs]

    # ---------------------------------------------------------------- following the plan

    def _said(self, step: PlanStep) -> Equations:
        layer, place = step.layer, self.plan.place(step)
        name = "_".join(filter(None, [self.name, step.path or self.plan.name]))
        try:
            call = self.file.call_of(layer, name)
        except DefinitionError as error:
            raise error.within(place) from None
        if call is not None:
            self.calls[id(layer)] = call
            return unknown(layer)
        said = super()._said(step)
        if not said.is_evaluable and not layer._generators:
            raise _cannot_write(layer, place)
        if without := layer._collected("_parameters").keys() - said.gradients.keys():
            raise DefinitionError(
                f"{label(layer)}: its equations do not contain the gradient of each parameter",
                place=place,
                expected=f"gradients={{{next(iter(without))!r}: ...}}",
                received=", ".join(said.gradients) or "none",
            )
        return attrs.evolve(said, is_evaluable=True)

    def _spoken(self, said: Equations) -> list[str]:
        return [*super()._spoken(said), *said.apply, *said.updates, *said.updates.values()]

    def _line(
        self,
        kind: str,
        step: int,
        place: str,
        left: str,
        expression: str,
        and_so: str = "",
        **more: Any,
    ) -> None:
        super()._line(kind, step, place, left, expression, **more)
        text = self.records[-1].text
        if kind == "gradient":
            path = self.keys[left.removeprefix("dC_d")]
            added = path in self.file.added_to
            line = Line([f'gradient["{path}"]'], self.tree(expression), text, stays=True)
            line.sign = "+=" if added else "="
            self.back.append(line)
            return
        line = Line([self.renamed(left)], self.tree(expression, self.places.get(place)), text)
        if step > 0:
            self.back.append(line)
            return
        self.forward.append(line)
        named = self.places[place]
        if not named.said.apply:
            self.inference.append(line)

    def _forward(self, place: NamedStep) -> None:
        call = self.calls.get(id(place.step.layer))
        made = [self.values[slot].name for slot in place.step.makes]
        given = ", ".join([*(self.values[slot].name for slot in place.step.takes), "p"])
        if call is not None:
            memory = f"values_{place.number}"
            y = ", ".join(made)
            y = f"({y})" if len(made) > 1 else y
            text = f"forward_{call.function}({given})"
            self.forward.append(Line([y, memory], _parsed(text)))
            text = f"apply_{call.function}({given})" if call.has_apply else f"{text}[0]"
            self.inference.append(Line(made, _parsed(text)))
            return
        super()._forward(place)
        for name, expression in zip(made, place.said.apply, strict=False):
            node = self.tree(self.in_symbols(expression, place), place)
            self.inference.append(Line([name], node))
        for name, expression in place.said.updates.items():
            key = self.tree(self.in_symbols(name, place))
            node = self.tree(self.in_symbols(expression, place), place)
            self.forward.append(Line([source(key)], node, stays=True))

    def _send(self, place: NamedStep, n: int, slot: int, expression: str) -> None:
        call = self.calls.get(id(place.step.layer))
        if call is None:
            super()._send(place, n, slot, expression)
            return
        name = self.renamed(self._sent_name(place, n, slot))
        if n == 0:
            memory = f"values_{place.number}"
            deltas = [self.renamed(self.values[made].delta) for made in place.step.makes]
            text = f"backward_{call.function}({', '.join([*deltas, memory])}, p, gradient)"
            line = Line([], _parsed(text), stays=True)
            call.line_back[id(place)] = line
            self.back.append(line)
        call.line_back[id(place)].left.append(name)

    def _gradient_terms(self) -> dict[int, list[tuple[str, bool]]]:
        found = super()._gradient_terms()
        kept = {key: [term for term in terms if term[1]] for key, terms in found.items()}
        return {key: terms for key, terms in kept.items() if terms and key in self.file.trained}

    # ---------------------------------------------------------------- the names in the program

    def tree(self, expression: str, place: NamedStep | None = None) -> ast.expr:
        """The syntax tree of an expression, with the names of the program."""

        def change(node: ast.expr) -> ast.expr | None:
            match node:
                case ast.Name(id=name) if name not in KNOWN:
                    return self._name_of(name)
                case ast.Call(func=ast.Attribute(value=ast.Name(id="np"), attr=name)) if (
                    name in DRAWS and place is not None
                ):
                    return self._drawn(name, node.args, place)
            return None

        return replaced(_parsed(expression), change)

    def renamed(self, name: str) -> str:
        """The name in the program of a symbol of `explain`: ``delta_1`` for ``Delta_1``."""
        if name.startswith("Delta_"):
            return f"delta_{name.removeprefix('Delta_')}"
        own = name.replace("_of_", "_")
        return name if own in self.made else own

    def _name_of(self, name: str) -> ast.expr:
        if name in self.keys:
            return _parsed(f'p["{self.keys[name]}"]')
        return ast.Name(self.functions_here.get(name) or self.renamed(name))

    def _drawn(self, name: str, sizes: list[ast.expr], place: NamedStep) -> ast.expr:
        """Random numbers from the generator of the layer."""
        (generator,) = place.step.layer._generators.values()
        path = self.file.paths[id(generator)]
        sizes = [self.tree(ast.unparse(size)) for size in sizes]
        shape = sizes[0] if len(sizes) == 1 else ast.Tuple(sizes)
        options = [_parsed("np.float32")] if name == "random" else []
        return ast.Call(_parsed(f'p["{path}"].{DRAWS[name]}'), [shape, *options], [])


def _parsed(text: str) -> ast.expr:
    return ast.parse(text, mode="eval").body


def _cannot_write(layer: Layer, place: str) -> DefinitionError:
    if is_open(layer.input_shapes):
        return DefinitionError(
            f"{label(layer)}: a program needs the sizes of the rows",
            place=place,
            expected="a model that is built for rows of known sizes",
            received=", ".join(map(str, layer.input_shapes)),
            hint="model.unbuilt(), then build((28, 28, 1))",
        )
    return DefinitionError(
        f"{label(layer)} does not provide its equations, from which its lines would be written",
        place=place,
        expected="a method equations(self) that returns Equations",
        received=f"a {type(layer).__name__} without equations that can be evaluated",
        hint='Equations(forward="2 * x", backward="2 * delta"); parameters also need gradients',
    )


# ------------------------------------------------------------------------------- functions


def needed(lines: Sequence[Line], wanted: Iterable[str]) -> list[Line]:
    """The lines that the wanted names depend on, and those that have an effect."""
    names, kept = set(wanted), []
    for line in reversed(lines):
        if line.stays or not names.isdisjoint(line.left):
            kept.append(line)
            names |= line.uses
    return kept[::-1]


def kept_for(back: Sequence[Line], forward: Sequence[Line], inputs: Sequence[str]) -> list[str]:
    """The names that the forward pass defines and the backward pass uses, in order."""
    used = set().union(*(line.uses for line in back))
    made = [*inputs, *(name for line in forward for name in line.left)]
    return [name for name in dict.fromkeys(made) if name in used]


def write(lines: Lines, passed: Sequence[Line], wanted: Iterable[str] = ()) -> None:
    """Write lines; a name on the left that nothing uses is left out."""
    used = set(wanted).union(*(line.uses for line in passed))
    lines.taken |= used
    for line in passed:
        if line.stays and used.isdisjoint(line.left) and line.sign == "=" and _is_call(line):
            lines.add(source(line.node), line.comment)
        else:
            lines.assign(", ".join(line.left), line.node, line.comment, line.sign)
            if line.stays:
                lines.forget(line.left[0])


def _is_call(line: Line) -> bool:
    return "[" not in line.left[0]


def write_tuple(lines: Lines, names: Sequence[str]) -> str:
    """A tuple of names as code; a long one gets lines of its own, and the name ``values``."""
    text = f"({', '.join(names)}{',' if len(names) == 1 else ''})"
    if lines.indent + len(text) + 20 <= WIDTH:
        return text
    lines.assign("values", _parsed(text))
    return "values"


def write_unpacking(lines: Lines, names: Sequence[str], memory: str) -> None:
    """The line that gives the entries of a tuple their names."""
    text = f"{', '.join(names)} = {memory}" if len(names) > 1 else f"({names[0]},) = {memory}"
    if lines.indent + len(text) <= WIDTH:
        lines.add(text)
        return
    for line in ("(", *(f"    {name}," for name in names), f") = {memory}"):
        lines.add(line)
