"""The file that `program` writes: what its functions share, and its parts in order."""

from __future__ import annotations

import ast
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from attrs import frozen

from chainrule.core.equations import equations_of, is_said_by
from chainrule.core.errors import DefinitionError
from chainrule.core.layer import Layer
from chainrule.display import program_loops
from chainrule.display.notation import Sign, lowered, parsed
from chainrule.display.program_passes import (
    Call,
    Passes,
    kept_for,
    needed,
    write,
    write_tuple,
    write_unpacking,
)
from chainrule.display.source import Lines, function, source

ERF = '''def erf(z):
    """The error function of each number."""
    return np.vectorize(math.erf, otypes=[float])(z)'''
SIGMOID = '''def sigmoid(z):
    """The sigmoid, which opens and closes a gate."""
    return 1 / (1 + np.exp(-z))'''


@frozen
class Shared:
    """A function f or f′ of the file: its name, and its notation in comments."""

    name: str
    sign: Sign


class File:
    """The functions of a program, and the names that they share.

    Attributes
    ----------
    paths
        The paths in the model of parameters, buffers and generators, by ``id``.
    trained
        The ``id`` of each parameter that is not frozen.
    added_to
        The paths of the parameters to whose gradients functions of layers add.
    functions
        The code of these functions, in order.
    """

    def __init__(self, model: Layer) -> None:
        self.model = model
        kinds = ("_parameters", "_buffers", "_generators")
        found = {path: part for kind in kinds for path, part in model._collected(kind).items()}
        self.paths = {id(part): path for path, part in reversed(found.items())}
        self.trained = {id(p) for p in model.parameters if p.trainable}
        self.functions: list[str] = []
        self.uses_sigmoid = False
        self.kinds: list[Any] = []
        self._calls: dict[Any, Call] = {}
        self._names: set[str] = set()
        layers = [layer for _, layer in model.walk() if layer.is_built]
        looped = [layer for layer in layers if program_loops.has_loops(layer)]
        self.added_to = {
            self.paths[id(part)]
            for each in looped
            for part in each._collected("_parameters").values()
        }
        for layer in layers:
            self._find_function(layer)

    def _find_function(self, layer: Layer) -> None:
        function = None if program_loops.has_loops(layer) else equations_of(layer).function
        if function is not None and function not in self.kinds:
            self.kinds.append(function)

    def function(self, function: Any, letter: str) -> Shared:
        """The name of a function, or with ``"df"`` of its derivative, and its notation."""
        if len(self.kinds) == 1:
            return Shared(letter, Sign("", "f" if letter == "f" else "f′"))
        number = str(self.kinds.index(function) + 1)
        text = f"f{lowered(number)}" + ("" if letter == "f" else "′")
        return Shared(f"{letter}_{number}", Sign("", text))

    # ---------------------------------------------------------------- layers with functions

    def call_of(self, layer: Layer, name: str) -> Call | None:
        """The functions of a layer with loops, which are written when they are first called."""
        if not program_loops.has_loops(layer):
            return None
        return self.functions_of(layer, name)

    def functions_of(self, layer: Layer, name: str) -> Call:
        """The functions of a layer inside another one."""
        parts = tuple(map(id, layer._collected("_parameters").values())) or id(layer)
        key = (repr(layer), parts, layer.input_shapes)
        if key not in self._calls:
            name = self._free(name.replace("/", "_"))
            if program_loops.has_loops(layer):
                functions, has_apply = program_loops.functions_for(layer, name, self)
            else:
                functions, has_apply = self._passes(layer, name)
            self.functions += functions
            self._calls[key] = Call(name, has_apply, layer)
        return self._calls[key]

    def _free(self, name: str) -> str:
        while name in self._names:
            name += "_"
        self._names.add(name)
        return name

    def _passes(self, layer: Layer, name: str) -> tuple[list[str], bool]:
        passes = Passes(layer, self, name)
        deltas = passes.input_deltas
        back = needed(passes.back, deltas)
        kept = kept_for(back, passes.forward, passes.inputs)
        functions = [forward(passes, kept, f"forward_{name}", f"The forward pass of {name}.")]
        lines = Lines()
        if kept:
            write_unpacking(lines, kept, "values")
        write(lines, back, deltas)
        lines.add(f"return {', '.join(deltas)}")
        arguments = ", ".join([*passes.output_deltas, "values", "p", "gradient"])
        functions.append(function(f"backward_{name}", arguments, f"The deltas of {name}.", lines))
        if passes.differs:
            functions.append(inference(passes, f"apply_{name}"))
        return functions, passes.differs

    # ---------------------------------------------------------------- the functions f and f′

    def formulas(self) -> list[str]:
        """The code of all functions f and f′."""
        parts = []
        for kind in self.kinds:
            says = is_said_by(type(kind), "formula", ("value", "derivative"))
            formula = getattr(kind, "formula", None) if says else None
            if formula is None:
                raise _no_formula(kind)
            f, df = self.function(kind, "f").name, self.function(kind, "df").name
            name = getattr(kind, "name", "") or "activation function"
            titles = "The {}.", "The derivative of the {}."
            for own, text, what in zip((f, df), formula, titles, strict=True):
                node = program_formula(text, f)
                parts.append(function(own, "z", what.format(name), f"return {source(node)}"))
        return parts

    def helpers(self) -> list[str]:
        """The functions that formulas need besides NumPy's."""
        found = [SIGMOID] if self.uses_sigmoid else []
        if any("erf(" in part for kind in self.kinds for part in (kind.formula or ())):
            found.append(ERF)
        return found


def program_formula(text: str, f: str) -> ast.expr:
    """A formula f(z), with the name of f in the file."""
    node = parsed(text)
    for part in ast.walk(node):
        if isinstance(part, ast.Name) and part.id == "f":
            part.id = f
    return node


def _no_formula(kind: Any) -> DefinitionError:
    return DefinitionError(
        f"the function {kind} has no formula, from which it would be written",
        expected='a Function with formula = ("z * z", "2 * z")',
        received=repr(kind),
        hint="f and f′ as NumPy expressions of z, the second of which may use f(z)",
    )


# ------------------------------------------------------------------------------- code


def forward(passes: Passes, kept: Sequence[str], name: str, doc: str) -> str:
    """The function of the forward pass, which also returns the values that backward needs."""
    lines = Lines()
    outputs = passes.outputs
    write(lines, needed(passes.forward, [*outputs, *kept]), [*outputs, *kept])
    y = outputs[0] if len(outputs) == 1 else f"({', '.join(outputs)})"
    lines.add(f"return {y}, {write_tuple(lines, kept)}")
    return function(name, ", ".join([*passes.inputs, "p"]), doc, lines)


def inference(passes: Passes, name: str = "apply") -> str:
    """The function of inference."""
    lines, outputs = Lines(), passes.outputs
    arguments = ", ".join([*passes.inputs, "p"])
    if passes.differs:
        write(lines, needed(passes.inference, outputs), outputs)
        lines.add(f"return {', '.join(outputs)}")
    else:
        lines.add(f"return forward({arguments})[0]")
    return function(name, arguments, "The output of the model, for use.", lines)


def initial(part: Any) -> str:
    """An expression that draws values like those of a parameter from ``rng``."""
    values = np.asarray(part.value, np.float64)
    shape = ", ".join(map(str, values.shape)) + ("," if values.ndim == 1 else "")
    shape = str(values.shape[0]) if values.ndim == 1 else f"({shape})"
    flat = values.ravel()
    if not flat.size or (flat == flat[0]).all():
        constant = float(flat[0]) if flat.size else 0.0
        made = {0.0: "zeros", 1.0: "ones"}.get(constant)
        return f"np.{made}({shape})" if made else f"np.full({shape}, {constant!r})"
    starts = np.flatnonzero(np.diff(flat, prepend=math.nan) != 0)
    if values.ndim == 1 and len(starts) <= 4:
        counts = np.diff([*starts, flat.size])
        return f"np.repeat({flat[starts].tolist()}, {counts.tolist()})"
    size = float(np.sqrt(np.mean(flat**2)))
    return f"rng.normal(0, {size:.2g}, {shape})"
