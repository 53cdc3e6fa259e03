"""Layers with loops inside, as functions of a program: recurrent layers, and wrappers of layers.

    for t in range(x.shape[1]):             forward: from the first step to the last
        h = np.tanh(x_t @ w + h @ u + b)
    for t in reversed(range(len(values))):  backward: from the last step to the first
        D = delta[:, t] + d_after @ u.T

A step consists of the formulas that a recurrent layer shows in `explain`. A wrapper calls the
functions of the layer inside, which may have loops of its own.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from chainrule.core.equations import is_said_by
from chainrule.core.layer import Layer
from chainrule.display.notation import Sign, names_in, parsed, to_text
from chainrule.display.source import WIDTH, Lines, function, replaced
from chainrule.display.symbols import LETTERS
from chainrule.layers.recurrent import Recurrent
from chainrule.layers.wrappers import Bidirectional, Scan, TimeDistributed

if TYPE_CHECKING:
    from chainrule.display.program_file import File

FORWARD = "The steps of {}, from the first to the last."
BACKWARD = "The steps of {}, from the last to the first."


def has_loops(layer: Layer) -> bool:
    """Whether a layer gets functions of its own."""
    if isinstance(layer, Recurrent):
        return is_said_by(type(layer), "formulas", ("forward", "backward", "_step", "_step_back"))
    return type(layer) in WRITERS


def functions_for(layer: Layer, name: str, file: File) -> tuple[list[str], bool]:
    """The functions of such a layer as code, and whether one of them is for inference."""
    if isinstance(layer, Recurrent):
        return _RecurrentWriter(layer, name, file).functions(), bool(layer.stateful)
    return WRITERS[type(layer)](layer, name, file)


# ------------------------------------------------------------------------------- recurrent layers

STATES = {"D": "delta_h", "gamma": "delta_c"}
"""The delta of each state, and the part of it that a step passes on unchanged."""


class _RecurrentWriter:
    """Writes the loops of a recurrent layer around the formulas of one step.

    In the formulas, ``h_before`` is the h of the step before, ``d_after`` the d of the step after,
    and ``z_i`` the part of z that belongs to the gate i.
    """

    def __init__(self, layer: Any, name: str, file: File) -> None:
        self.layer, self.name, self.file = layer, name, file
        said = layer.equations()
        self.is_masked = len(layer.input_shapes) > 1
        self.arguments = "x, mask, p" if self.is_masked else "x, p"
        self.forward = dict(said.definitions)
        self.back = {name: text for name, text in said.backward_definitions.items()
                     if name != "D_last"}  # fmt: skip
        if layer.gates:
            self.back["d"] = f"({', '.join(f'd_{gate}' for gate in layer.gates)})"
        self.gradients = {name: _of_one_step(text) for name, text in said.gradients.items()}
        used_forward, used = _used(self.forward), _used(self.forward) | _used(self.back)
        self.states = [n for n in reversed(self.forward) if f"{n}_before" in used_forward]
        self.carried = [n for n in (*self.forward, *self.back) if f"{n}_after" in used]
        self.parts = {
            name: [f"{name}_{gate}" for gate in layer.gates]
            for name in self.forward
            if any(f"{name}_{gate}" in used for gate in layer.gates)
        }
        made = ["x", *(f"{n}_before" for n in self.states), *self.forward]
        made += [part for parts in self.parts.values() for part in parts]
        wanted = {*_used(self.back), *_used(self.gradients), *self.carried}
        self.kept = [_own(n) for n in made if n in wanted] + ["used"] * self.is_masked
        self.signs = self._signs(said.signs)

    def _signs(self, given: Mapping[str, tuple[str, str]]) -> dict[str, Sign]:
        signs = {name: Sign("", LETTERS.get(name, name)) for name in self.layer._parameters}
        for name, (_, text) in given.items():
            for token, shown in {"<n>": "", "<x>": "x", "<y>": "h", "<delta>": "Δ"}.items():
                text = text.replace(token, shown)
            signs[name] = Sign("", text)
        return signs

    def functions(self) -> list[str]:
        """The code of the functions."""
        functions = [self._forward(), self._backward()]
        if self.layer.stateful:
            given = self.arguments.removesuffix("p")
            body = f"return forward_{self.name}({given}dict(p))[0]"
            doc = f"The outputs of {self.name}, which keeps its state."
            functions.append(function(f"apply_{self.name}", self.arguments, doc, body))
        return functions

    def _forward(self) -> str:
        layer, lines, step = self.layer, Lines(4), Lines(8)
        zeros = f"np.zeros((len(x), {layer.units}))"
        carried = [self.file.paths[id(layer._buffers[n])] for n in layer.states if layer.stateful]
        for state, path in zip(self.states, carried, strict=False):
            lines.add(f'{state} = p["{path}"] if len(p["{path}"]) else {zeros}')
        if not carried:
            lines.add(f"{' = '.join(self.states)} = {zeros}")
        lines.add("values, outputs = [], []")
        lines.add("for t in range(x.shape[1]):")
        before = ", ".join(f"{state}_before" for state in self.states)
        step.add(f"x_t, {before} = x[:, t], {', '.join(self.states)}")
        if self.is_masked:
            step.add("used = mask[:, t, np.newaxis] != 0")
            step.add("x_t = np.where(used, x_t, 0)")
        for name, text in self.forward.items():
            self._formula(step, name, text)
            if name in self.parts:
                count = len(self.layer.gates)
                step.add(f"{', '.join(self.parts[name])} = np.split({name}, {count}, axis=1)")
        for state in self.states if self.is_masked else ():
            step.add(f"{state} = np.where(used, {state}, {state}_before)")
        kept = _tuple(self.kept)
        if len(kept) + 24 <= WIDTH:
            step.add(f"values.append({kept})")
        else:
            step.lines += ["        values.append(", f"            {kept}", "        )"]
        step.add("outputs.append(h)")
        lines.lines += step.lines
        for state, path in zip(self.states, carried, strict=False):
            lines.add(f'p["{path}"] = {state}')
        y = "np.stack(outputs, axis=1)" if layer.return_sequences else "h"
        lines.add(f"return {y}, values")
        return function(f"forward_{self.name}", self.arguments, FORWARD.format(self.name), lines)

    def _backward(self) -> str:
        layer, lines, step = self.layer, Lines(4), Lines(8)
        is_last, masked = not layer.return_sequences, self.is_masked
        # What an unused step passes on; for h also the delta that the cost sends to the last step.
        passed = {n: part for n, part in STATES.items()
                  if n in self.back and (masked or (is_last and n == "D"))}  # fmt: skip
        for name in self.carried:
            is_row = name in ("d", "e")
            zeros = f"np.zeros((len(delta), {layer.biases.size}))" if is_row else "0"
            lines.add(f"{name}_after = {zeros}")
        for name, part in passed.items():
            lines.add(f"{part} = {'delta' if is_last and name == 'D' else 0}")
        lines.add("deltas = []")
        lines.add("for t in reversed(range(len(values))):")
        step.add(f"{_tuple(self.kept).strip('()')} = values[t]")
        for name, text in self.back.items():
            whole = text.replace("delta +", "delta[:, t] +") if name == "D" else text
            whole = f"{passed[name]} + {whole}" if name in passed else whole
            self._formula(step, name, whole, text)
            if name in passed and masked:
                step.add(f"{passed[name]} = np.where(used, 0, {name})")
                step.add(f"{name} = np.where(used, {name}, 0)")
            elif name in passed:
                step.add(f"{passed[name]} = 0  # the cost depends on the last step alone")
        for name, text in self.gradients.items():
            if id(layer._parameters[name]) in self.file.trained:
                path = self.file.paths[id(layer._parameters[name])]
                step.assign(f'gradient["{path}"]', self._tree(text), sign="+=")
        step.assign("dx", self._tree("d @ weights.T"))
        step.add("deltas.append(dx)")
        after = ", ".join(f"{name}_after" for name in self.carried)
        step.add(f"{after} = {', '.join(self.carried)}")
        lines.lines += step.lines
        of_mask = ", np.zeros((len(delta), len(values)))" if masked else ""
        lines.add(f"return np.stack(deltas[::-1], axis=1){of_mask}")
        doc = BACKWARD.format(self.name)
        return function(f"backward_{self.name}", "delta, values, p, gradient", doc, lines)

    def _formula(self, lines: Lines, name: str, text: str, shown: str = "") -> None:
        """The line of a formula; ``shown`` replaces it in the comment."""
        sides = [to_text(side, self.signs) for side in (name, shown or text)]
        lines.assign(name, self._tree(text), " = ".join(sides))

    def _tree(self, text: str) -> ast.expr:
        """The syntax tree of a formula, with the names of the program."""

        def change(node: ast.expr) -> ast.expr | None:
            match node:
                case ast.Name(id=name) if name in self.layer._parameters:
                    path = self.file.paths[id(self.layer._parameters[name])]
                    return parsed(f'p["{path}"]')
                case ast.Name(id="x"):
                    return ast.Name("x_t")
                case ast.Name(id="sigmoid"):
                    self.file.uses_sigmoid = True
            return None

        is_tuple = isinstance(parsed(text), ast.Tuple)
        return replaced(parsed(f"np.concatenate({text}, axis=1)" if is_tuple else text), change)


def _used(formulas: Mapping[str, str]) -> set[str]:
    return {name for text in formulas.values() for name in names_in(text)}


def _own(name: str) -> str:
    return "x_t" if name == "x" else name


def _tuple(names: Iterable[str]) -> str:
    items = list(names)
    return f"({', '.join(items)}{',' if len(items) == 1 else ''})"


def _of_one_step(text: str) -> str:
    """The contribution of one step to a gradient: ``x.T @ d`` of ``over_time(x.T @ d)``."""
    match parsed(text):
        case ast.Call(func=ast.Name(id="over_time"), args=[inner]):
            return ast.unparse(inner)
    return text


# ------------------------------------------------------------------------------- wrappers


def _time_distributed(layer: TimeDistributed, name: str, file: File) -> tuple[list[str], bool]:
    inner = file.functions_of(layer.layer, f"{name}_layer")
    xs = [f"x_{n + 1}" for n in range(len(layer.input_shapes))]
    deltas = [f"delta_{n + 1}" for n in range(len(layer.output_shapes))]

    def folded(names: list[str]) -> str:
        return ", ".join(f"{each}.reshape(-1, *{each}.shape[2:])" for each in names)

    def unfolded(value: str, count: int) -> str:
        if count == 1:
            return f"{value}.reshape(*axes, *{value}.shape[1:])"
        return f"[each.reshape(*axes, *each.shape[1:]) for each in {value}]"

    def passed(kind: str, is_forward: bool) -> str:
        body = f"""
            axes = {xs[0]}.shape[:2]
            y{", values" if is_forward else ""} = {kind}_{inner.function}({folded(xs)}, p)
            return {unfolded("y", len(deltas))}{", (axes, values)" if is_forward else ""}
            """
        doc = f"The steps of {name}, as the rows of one batch."
        return function(f"{kind}_{name}", ", ".join([*xs, "p"]), doc, body)

    body = f"""
        axes, inner = values
        delta = backward_{inner.function}({folded(deltas)}, inner, p, gradient)
        return {unfolded("delta", len(xs))}
        """
    arguments = ", ".join([*deltas, "values", "p", "gradient"])
    back = function(f"backward_{name}", arguments, f"The deltas of the inputs of {name}.", body)
    functions = [passed("forward", True), back]
    if inner.has_apply:
        functions.append(passed("apply", False))
    return functions, inner.has_apply


def _scan(layer: Scan, name: str, file: File) -> tuple[list[str], bool]:
    cell = file.functions_of(layer.cell, f"{name}_cell")
    is_masked, sequences = len(layer.input_shapes) > 1, layer.return_sequences
    zeros = f"np.zeros({('len(x)', *layer.hidden_shape)})".replace("'", "")

    def mask(array: str, axes: int) -> str:
        return f"{array}[{', '.join([':', 't', *['np.newaxis'] * axes])}] != 0"

    used_by_x = mask("mask", len(layer.input_shapes[0]) - 1)
    used_by_h = mask("mask", len(layer.hidden_shape))

    def passed(kind: str, is_forward: bool) -> str:
        new = "h_new" if is_masked else "h"
        body = f"""
            h = {zeros}
            {"values, " * is_forward}outputs = {"[], " * is_forward}[]
            for t in range(x.shape[1]):
                x_t = {f"np.where({used_by_x}, x[:, t], 0)" if is_masked else "x[:, t]"}
                {new}{", step" * is_forward} = {kind}_{cell.function}(x_t, h, p)
                {f"used = {used_by_h}" * is_masked}
                {"h = np.where(used, h_new, h)" * is_masked}
                {f"values.append({'(step, used)' if is_masked else 'step'})" * is_forward}
                outputs.append(h)
            return {"np.stack(outputs, axis=1)" if sequences else "h"}{", values" * is_forward}
            """
        arguments = "x, mask, p" if is_masked else "x, p"
        return function(f"{kind}_{name}", arguments, FORWARD.format(name), body)

    step, delta = ("step", "np.where(used, delta_h, 0)") if is_masked else ("values[t]", "delta_h")
    body = f"""
        delta_h = {"np.zeros_like(delta[:, 0])" if sequences else "delta"}
        deltas = []
        for t in reversed(range(len(values))):
            {"step, used = values[t]" * is_masked}
            {"delta_h = delta_h + delta[:, t]" * sequences}
            {"stays = np.where(used, 0, delta_h)" * is_masked}
            dx, delta_h = backward_{cell.function}({delta}, {step}, p, gradient)
            {"delta_h = delta_h + stays" * is_masked}
            deltas.append(dx)
        dx = np.stack(deltas[::-1], axis=1)
        return dx{", np.zeros((len(delta), len(values)))" * is_masked}
        """
    arguments = "delta, values, p, gradient"
    back = function(f"backward_{name}", arguments, BACKWARD.format(name), body)
    functions = [passed("forward", True), back]
    if cell.has_apply:
        functions.append(passed("apply", False))
    return functions, cell.has_apply


def _bidirectional(layer: Bidirectional, name: str, file: File) -> tuple[list[str], bool]:
    there = file.functions_of(layer.layer, f"{name}_layer")
    back = file.functions_of(layer.reverse, f"{name}_reverse")
    is_masked, width = len(layer.input_shapes) > 1, layer.layer.output_shape[-1]
    has_axes = len(layer.layer.output_shape) > 1
    turn = "[:, ::-1]" * bool(getattr(layer.layer, "return_sequences", has_axes))
    given, turned = ("x, mask", "x[:, ::-1], mask[:, ::-1]") if is_masked else ("x", "x[:, ::-1]")

    def passed(kind: str, is_forward: bool) -> str:
        body = f"""
            y_there{", there" * is_forward} = {kind}_{there.function}({given}, p)
            y_back{", back" * is_forward} = {kind}_{back.function}({turned}, p)
            y = np.concatenate((y_there, y_back{turn}), axis=-1)
            return y{", (there, back)" * is_forward}
            """
        return function(f"{kind}_{name}", f"{given}, p", f"Both directions of {name}.", body)

    of_mask = ", of_mask" * is_masked
    body = f"""
        there, back = values
        delta_there, delta_back = delta[..., :{width}], delta[..., {width}:]{turn}
        dx_there{of_mask} = backward_{there.function}(delta_there, there, p, gradient)
        dx_back{", _" * is_masked} = backward_{back.function}(delta_back, back, p, gradient)
        return dx_there + dx_back[:, ::-1]{of_mask}
        """
    doc = f"The delta of the input of {name}."
    backward = function(f"backward_{name}", "delta, values, p, gradient", doc, body)
    functions = [passed("forward", True), backward]
    if there.has_apply:
        functions.append(passed("apply", False))
    return functions, there.has_apply


WRITERS: Mapping[type, Callable[..., tuple[list[str], bool]]] = {
    TimeDistributed: _time_distributed,
    Scan: _scan,
    Bidirectional: _bidirectional,
}
