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
import textwrap
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from chainrule.core.equations import is_said_by
from chainrule.core.layer import Layer
from chainrule.display.notation import Sign, names_in, parsed, to_text
from chainrule.display.source import Lines, laid_out, replaced
from chainrule.display.symbols import LETTERS
from chainrule.layers.recurrent import Recurrent
from chainrule.layers.wrappers import Bidirectional, Scan, TimeDistributed

if TYPE_CHECKING:
    from chainrule.display.program_file import File

BEFORE, AFTER = "_before", "_after"


def has_loops(layer: Layer) -> bool:
    """Whether a layer gets functions of its own."""
    if isinstance(layer, Recurrent):
        return is_said_by(type(layer), "formulas", ("forward", "backward", "_step", "_step_back"))
    return type(layer) in WRITERS


def write_functions(layer: Layer, name: str, file: File) -> tuple[list[str], bool]:
    """The functions of such a layer as code, and whether it has one for inference."""
    writer = WRITERS.get(type(layer), _recurrent)
    functions, has_apply = writer(layer, name, file)
    return [laid_out(code) for code in functions], has_apply


# ------------------------------------------------------------------------------- recurrent layers


def _recurrent(layer: Any, name: str, file: File) -> tuple[list[str], bool]:
    said = layer.equations()
    width, masked = layer.units, len(layer.input_shapes) > 1
    forward, back = dict(said.definitions), dict(said.backward_definitions)
    back.pop("D_last", None)
    states = [n for n in reversed(forward) if n + BEFORE in _used(forward)]  # first h
    code = _Step(layer, name, file)
    # What a step hands back to the one before it, and what it needs of its own forward pass.
    carried = [n.removesuffix(AFTER) for n in sorted(_used(back)) if n.endswith(AFTER)]
    carried.sort(key=[*forward, *back, "d"].index)
    back |= code.joined(back)
    gradients = {n: _without_sum(text) for n, text in said.gradients.items()}
    given = [f"{n}{BEFORE}" for n in states]
    known = {*forward, *given, "x", *code.parts(forward)}
    wanted = known & {*_used(back), *_used(gradients), *carried}
    kept = [n for n in ["x", *given, *forward, *code.parts(forward)] if n in wanted]
    kept += ["used"] * masked
    x, mask = ("x", ", mask") if masked else ("x", "")
    body = Lines(8)
    body.add(f"x_t, {', '.join(given)} = x[:, t], {', '.join(states)}")
    if masked:
        body.add("used = mask[:, t, np.newaxis] != 0")
        body.add("x_t = np.where(used, x_t, 0)")
    code.write(body, forward)
    for state in states if masked else ():
        body.add(f"{state} = np.where(used, {state}, {state}{BEFORE})")
    _add_call(body, "values.append", [("x_t" if n == "x" else n) for n in kept])
    body.add("outputs.append(h)")
    zeros = f"np.zeros((len(x), {width}))"
    starts = [f"{' = '.join(states)} = {zeros}"]
    ends = []
    if layer.stateful:
        paths = [file.paths[id(layer._buffers[n])] for n in layer.states]
        starts = [
            f'{state} = p["{path}"] if len(p["{path}"]) else {zeros}'
            for state, path in zip(states, paths, strict=True)
        ]
        ends = [f'p["{path}"] = {state}' for state, path in zip(states, paths, strict=True)]
    result = "np.stack(outputs, axis=1)" if layer.return_sequences else "h"
    functions = [
        "\n".join(
            [
                f"def forward_{name}({x}{mask}, p):",
                f'    """The steps of {name}, from the first to the last."""',
                *(f"    {line}" for line in starts),
                "    values, outputs = [], []",
                "    for t in range(x.shape[1]):",
                *body.lines,
                *(f"    {line}" for line in ends),
                f"    return {result}, values",
            ]
        )
    ]
    body = Lines(8)
    _add_unpacking(body, [("x_t" if n == "x" else n) for n in kept], "values[t]")
    stays = masked or not layer.return_sequences
    state_deltas = {"D": "delta_h", "gamma": "gamma_stays"}
    for n, formula in back.items():
        text = formula
        if n == "D" and layer.return_sequences:
            text = text.replace("delta +", "delta[:, t] +")
        if n in state_deltas and (masked or (n == "D" and stays)):
            text = f"{state_deltas[n]} + {text}"
        code.write(body, {n: text}, formula)
        if n in state_deltas and masked:
            body.add(f"{state_deltas[n]} = np.where(used, 0, {n})")
            body.add(f"{n} = np.where(used, {n}, 0)")
        elif n == "D" and stays:
            body.add("delta_h = 0  # the cost depends on the last step alone")
    for n, text in gradients.items():
        path = file.paths[id(layer._parameters[n])]
        if id(layer._parameters[n]) in file.trained:
            body.assign(f'gradient["{path}"]', code.tree(text), sign="+=")
    body.assign("dx", code.tree("d @ weights.T"))
    body.add("deltas.append(dx)")
    body.add(f"{', '.join(n + AFTER for n in carried)} = {', '.join(carried)}")
    zeros = f"np.zeros((len(delta), {layer.biases.size}))"
    first = [zeros if n in ("d", "e") else "0" for n in carried]
    starts = [f"{n}{AFTER} = {value}" for n, value in zip(carried, first, strict=True)]
    if not layer.return_sequences:
        starts.append("delta_h = delta")
    elif masked:
        starts.append("delta_h = 0")
    if masked and "gamma" in back:
        starts.append("gamma_stays = 0")
    result = "np.stack(deltas[::-1], axis=1)"
    if masked:
        result += ", np.zeros((len(delta), len(values)))"
    functions.append(
        "\n".join(
            [
                f"def backward_{name}(delta, values, p, gradient):",
                f'    """The steps of {name}, from the last to the first."""',
                *(f"    {line}" for line in starts),
                "    deltas = []",
                "    for t in reversed(range(len(values))):",
                *body.lines,
                f"    return {result}",
            ]
        )
    )
    if layer.stateful:
        functions.append(
            f"def apply_{name}({x}{mask}, p):\n"
            f'    """The outputs of {name}, which keeps its state."""\n'
            f"    return forward_{name}({x}{mask}, dict(p))[0]"
        )
    return functions, bool(layer.stateful)


def _used(texts: Mapping[str, str]) -> set[str]:
    return set().union(*map(names_in, texts.values())) if texts else set()


def _without_sum(text: str) -> str:
    """The contribution of one time to a gradient: ``x.T @ d`` of ``over_time(x.T @ d)``."""
    node = parsed(text)
    if (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id == "over_time"
    ):
        return ast.unparse(node.args[0])
    return text


class _Step:
    """Writes the formulas of one step of a recurrent layer."""

    def __init__(self, layer: Any, name: str, file: File) -> None:
        self.layer, self.gates, self.file = layer, layer.gates, file
        tokens = {"<n>": "", "<x>": "x", "<y>": "h", "<delta>": "Δ"}
        self.used = _used(layer.formulas) | _used(layer.formulas_back)
        self.signs: dict[str, Sign] = {}
        for own, (_, text) in layer.equations().signs.items():
            for token, shown in tokens.items():
                text = text.replace(token, shown)
            self.signs[own] = Sign("", text)
        for own in layer._parameters:
            self.signs[own] = Sign("", LETTERS.get(own, own))

    def parts(self, forward: Mapping[str, str]) -> list[str]:
        """The names of the gates' parts of what is computed for all gates at once."""
        return [f"{n}_{g}" for n in forward for g in self.gates if f"{n}_{g}" in self.used]

    def joined(self, back: Mapping[str, str]) -> dict[str, str]:
        """The line that puts the deltas of all gates side by side."""
        if "d" in back or not self.gates:
            return {}
        return {"d": f"({', '.join(f'd_{gate}' for gate in self.gates)})"}

    def write(self, lines: Lines, formulas: Mapping[str, str], shown: str = "") -> None:
        """Write formulas, each followed by its parts; ``shown`` replaces one in the comment."""
        for name, text in formulas.items():
            sides = [to_text(side, self.signs) for side in (name, shown or text)]
            lines.assign(name, self.tree(text), " = ".join(sides))
            if any(f"{name}_{gate}" in self.used for gate in self.gates):
                parts = ", ".join(f"{name}_{gate}" for gate in self.gates)
                lines.add(f"{parts} = np.split({name}, {len(self.gates)}, axis=1)")

    def tree(self, text: str) -> ast.expr:
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

        node = parsed(text)
        if isinstance(node, ast.Tuple):
            node = parsed(f"np.concatenate({ast.unparse(node)}, axis=1)")
        return replaced(node, change)


def _add_call(lines: Lines, function: str, names: Iterable[str]) -> None:
    items = list(names)
    inside = f"{', '.join(items)}{',' if len(items) == 1 else ''}"
    text = f"{function}(({inside}))"
    if lines.indent + len(text) <= 100:
        lines.add(text)
    else:
        for line in (f"{function}(", f"    ({inside})", ")"):
            lines.add(line)


def _add_unpacking(lines: Lines, names: Iterable[str], value: str) -> None:
    items = list(names)
    lines.add(f"{', '.join(items)}{',' if len(items) == 1 else ''} = {value}")


# ------------------------------------------------------------------------------- wrappers


def _dedented(text: str, **parts: Any) -> str:
    return textwrap.dedent(text).strip("\n").format(**parts)


def _time_distributed(layer: TimeDistributed, name: str, file: File) -> tuple[list[str], bool]:
    inner = file.functions_of(layer.layer, f"{name}_layer")
    xs = [f"x_{n + 1}" for n in range(len(layer.input_shapes))]
    ds = [f"delta_{n + 1}" for n in range(len(layer.output_shapes))]

    def folded(names: Iterable[str]) -> str:
        return ", ".join(f"{n}.reshape(-1, *{n}.shape[2:])" for n in names)

    def unfolded(value: str, count: int) -> str:
        shape = "*axes, *{0}.shape[1:]"
        if count == 1:
            return f"{value}.reshape({shape.format(value)})"
        return f"[each.reshape({shape.format('each')}) for each in {value}]"

    functions = [
        _dedented(
            """
            def forward_{name}({inputs}, p):
                \"\"\"The steps of {name}, as the rows of one batch.\"\"\"
                axes = {first}.shape[:2]
                y, values = forward_{inner}({folded}, p)
                return {y}, (axes, values)
            """,
            name=name, inputs=", ".join(xs), first=xs[0], inner=inner.function,
            folded=folded(xs), y=unfolded("y", len(ds)),
        ),
        _dedented(
            """
            def backward_{name}({deltas}, values, p, gradient):
                \"\"\"The deltas of the inputs of {name}.\"\"\"
                axes, inner = values
                delta = backward_{inner}({folded}, inner, p, gradient)
                return {dx}
            """,
            name=name, deltas=", ".join(ds), inner=inner.function, folded=folded(ds),
            dx=unfolded("delta", len(xs)),
        ),
    ]  # fmt: skip
    if inner.has_apply:
        functions.append(
            _dedented(
                """
                def apply_{name}({inputs}, p):
                    \"\"\"The outputs of {name}.\"\"\"
                    axes = {first}.shape[:2]
                    y = apply_{inner}({folded}, p)
                    return {y}
                """,
                name=name,
                inputs=", ".join(xs),
                first=xs[0],
                inner=inner.function,
                folded=folded(xs),
                y=unfolded("y", len(ds)),
            )  # fmt: skip
        )
    return functions, inner.has_apply


def _scan(layer: Scan, name: str, file: File) -> tuple[list[str], bool]:
    cell = file.functions_of(layer.cell, f"{name}_cell")
    masked = len(layer.input_shapes) > 1
    ones = ", ".join(["np.newaxis"] * len(layer.hidden_shape))
    rows = ", ".join(["np.newaxis"] * (len(layer.input_shapes[0]) - 1))
    shape = ", ".join(["len(x)", *map(str, layer.hidden_shape)])
    index = f"mask[:, t, {ones}]" if ones else "mask[:, t]"
    x_index = f"mask[:, t, {rows}]" if rows else "mask[:, t]"

    def passed(kind: str) -> list[str]:
        is_forward = kind == "forward"
        call = f"{kind}_{cell.function}(x_t, h, p)"
        if not is_forward and not cell.has_apply:
            call = f"forward_{cell.function}(x_t, h, p)[0]"
        lines = [f"def {kind}_{name}({'x, mask' if masked else 'x'}, p):"]
        lines.append(f'    """The steps of {name}, from the first to the last."""')
        lines.append(f"    h = np.zeros(({shape}{',' if shape == 'len(x)' else ''}))")
        lines.append("    values, outputs = [], []" if is_forward else "    outputs = []")
        lines.append("    for t in range(x.shape[1]):")
        if masked:
            lines.append(f"        x_t = np.where({x_index} != 0, x[:, t], 0)")
        else:
            lines.append("        x_t = x[:, t]")
        new = "h_new" if masked else "h"
        lines.append(f"        {new}{', step' if is_forward else ''} = {call}")
        if masked:
            lines.append(f"        h = np.where({index} != 0, h_new, h)")
        if is_forward:
            lines.append(f"        values.append({'(step, mask[:, t])' if masked else 'step'})")
        lines.append("        outputs.append(h)")
        result = "np.stack(outputs, axis=1)" if layer.return_sequences else "h"
        lines.append(f"    return {result}{', values' if is_forward else ''}")
        return lines

    back = [
        f"def backward_{name}(delta, values, p, gradient):",
        f'    """The steps of {name}, from the last to the first."""',
        f"    delta_h = {'np.zeros_like(delta[:, 0])' if layer.return_sequences else 'delta'}",
        "    deltas = []",
        "    for t in reversed(range(len(values))):",
    ]
    if layer.return_sequences:
        back.append("        delta_h = delta_h + delta[:, t]")
    if masked:
        used = f"used[:, {ones}]" if ones else "used"
        back += [
            "        step, used = values[t]",
            f"        stays = np.where({used} != 0, 0, delta_h)",
            "        delta_h = delta_h - stays",
            f"        dx, delta_h = backward_{cell.function}(delta_h, step, p, gradient)",
            "        delta_h = delta_h + stays",
        ]
    else:
        back.append(
            f"        dx, delta_h = backward_{cell.function}(delta_h, values[t], p, gradient)"
        )
    result = "np.stack(deltas[::-1], axis=1)"
    result += ", np.zeros((len(delta), len(values)))" if masked else ""
    back += ["        deltas.append(dx)", f"    return {result}"]
    functions = [passed("forward"), back, *([passed("apply")] if cell.has_apply else [])]
    return ["\n".join(lines) for lines in functions], cell.has_apply


def _bidirectional(layer: Bidirectional, name: str, file: File) -> tuple[list[str], bool]:
    there = file.functions_of(layer.layer, f"{name}_layer")
    back = file.functions_of(layer.reverse, f"{name}_reverse")
    masked, width = len(layer.input_shapes) > 1, layer.layer.output_shape[-1]
    has_axes = len(layer.layer.output_shape) > 1
    turn = "[:, ::-1]" if getattr(layer.layer, "return_sequences", has_axes) else ""
    given, turned = ("x, mask", "x[:, ::-1], mask[:, ::-1]") if masked else ("x", "x[:, ::-1]")
    joined = f"np.concatenate((y_there, y_back{turn}), axis=-1)"
    functions = [
        _dedented(
            """
            def forward_{name}({given}, p):
                \"\"\"Both directions of {name}.\"\"\"
                y_there, there = forward_{there}({given}, p)
                y_back, back = forward_{back}({turned}, p)
                return {joined}, (there, back)
            """,
            name=name, given=given, turned=turned, joined=joined,
            there=there.function, back=back.function,
        ),
        _dedented(
            """
            def backward_{name}(delta, values, p, gradient):
                \"\"\"The delta of the input of {name}.\"\"\"
                there, back = values
                delta_there = backward_{there}(delta[..., :{width}], there, p, gradient)
                delta_back = backward_{back}(delta[..., {width}:]{turn}, back, p, gradient)
                return {result}
            """,
            name=name, width=width, turn=turn, there=there.function, back=back.function,
            result="delta_there[0] + delta_back[0][:, ::-1], delta_there[1]" if masked
            else "delta_there + delta_back[:, ::-1]",
        ),
    ]  # fmt: skip
    has_apply = there.has_apply or back.has_apply
    if has_apply:
        functions.append(
            _dedented(
                """
                def apply_{name}({given}, p):
                    \"\"\"The outputs of {name}.\"\"\"
                    y_there, y_back = apply_{there}({given}, p), apply_{back}({turned}, p)
                    return {joined}
                """,
                name=name,
                given=given,
                turned=turned,
                joined=joined,
                there=there.function,
                back=back.function,
            )  # fmt: skip
        )
    return functions, has_apply


WRITERS: Mapping[type, Callable[..., tuple[list[str], bool]]] = {
    TimeDistributed: _time_distributed,
    Scan: _scan,
    Bidirectional: _bidirectional,
}
