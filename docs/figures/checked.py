"""What the page "How this was checked" counts and tries: tests, broken layers, planted faults."""

from __future__ import annotations

import ast
import copy
import inspect
import re
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import mpmath as mp
import numpy as np
from matplotlib.figure import Figure
from neurons import BLUE, VERMILION

from chainrule import (
    LSTM,
    BatchNorm,
    Dense,
    GroupNorm,
    Layer,
    LayerNorm,
    MultiHeadAttention,
    RMSNorm,
    Softmax,
    check_layer,
    fitting,
)
from chainrule.calculus.laws import LAWS
from chainrule.core.errors import LayerCheckError

ROOT = Path(__file__).parents[2]
sys.path.append(str(ROOT / "tests"))  # the zoo of layers, and the problems of NIST

VICTIMS: list[tuple[type[Layer], tuple[int, ...], tuple[int, ...], str]] = [
    (Dense, (3,), (4,), "backward"),
    (Dense, (3,), (4,), "_accumulate"),
    (Softmax, (), (2, 3), "backward"),
    (LayerNorm, (), (4,), "backward"),
    (RMSNorm, (), (4,), "backward"),
    (BatchNorm, (), (4,), "backward"),
    (GroupNorm, (2,), (3, 4), "backward"),
    (LSTM, (3,), (4, 2), "backward"),
    (MultiHeadAttention, (2, 2), (3, 4), "backward"),
]
"""The layers in which faults are planted: arguments, shape of a row, method to change."""

OPPOSITE: dict[type[ast.AST], type[ast.AST]] = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult,
}  # fmt: skip


def counted() -> dict[str, int]:
    """Count what the tests contain."""
    from laws.broken_layers import BROKEN
    from laws.conditional_faults import AT_APPLY, CONDITIONS, OF_SIZE
    from laws.library import everything
    from laws.unusual_layers import UNUSUAL, WITH_INPUTS

    functions = [
        " ".join([*marks, *(ast.unparse(decorator) for decorator in node.decorator_list)])
        for file in sorted((ROOT / "tests").rglob("test_*.py"))
        for text in [file.read_text("utf-8")]
        for marks in [re.findall(r"^pytestmark = (.*)$", text, re.MULTILINE)]
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    ]
    lanes = re.findall(r"^lane (.*)&$", (ROOT / ".ci/run").read_text("utf-8"), re.MULTILINE)
    return {
        "laws": len(LAWS),
        "layers": len(list(everything())),
        "faults": len(BROKEN),
        "faults under a condition": len(CONDITIONS) + len(OF_SIZE) + len(AT_APPLY),
        "unusual layers": len(UNUSUAL) + len(WITH_INPUTS),
        "tests": len(functions),
        "random": sum("given(" in decorators for decorators in functions),
        "peers": sum("mark.peers" in decorators for decorators in functions),
        "commands": sum(len(re.findall("'.*?'", lane)) for lane in lanes),
    }


def is_refused(layer: Layer, shape: tuple[int, ...]) -> LayerCheckError | None:
    """Check a layer, and return the error if a law is broken."""
    try:
        check_layer(layer, shape)
    except LayerCheckError as error:
        return error
    return None


def mutants() -> Iterator[tuple[str, Layer, tuple[int, ...]]]:
    """Make the victims with one operation changed: which one, the layer, and the shape of a row."""
    for layer, settings, shape, method in VICTIMS:
        function = inspect.unwrap(getattr(layer, method))
        tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
        for place, node in enumerate(ast.walk(tree)):
            if not _is_changed(node):
                continue
            changed = copy.deepcopy(tree)
            found = list(ast.walk(changed))[place]
            name = f"{layer.__name__}: {ast.unparse(found)}"
            code = compile(ast.fix_missing_locations(_Change(found).visit(changed)), name, "exec")
            methods: dict[str, Any] = {}
            exec(code, function.__globals__, methods)
            mutant = type(layer)(f"Mutant{layer.__name__}", (layer,), methods)
            yield name, mutant(*settings), shape


def ulps(numbers: Any, exact: list[Any]) -> float:
    """Compute the largest error, in units of the distance to the next double."""
    return max(
        float(abs(mp.mpf(y) - truth) / mp.mpf(float(np.spacing(float(abs(truth))))))
        for y, truth in zip(numbers.tolist(), exact, strict=True)
    )


def nist_fits() -> Iterator[tuple[str, float, float]]:
    """Fit NIST's problems from both starts: name, and correct digits of values and error bars."""
    from fitting.nist_problems import MODELS, problem

    def digits(found: Any, certified: Any) -> float:
        return float(-np.log10(np.max(np.abs(found - certified) / np.abs(certified)) + 1e-16))

    for name in MODELS:
        nist = problem(name)
        for start in nist.starts:
            fit = fitting.least_squares(fitting.curve(nist.model, start), nist.x, nist.y)
            errors = digits(fit.standard_errors, nist.deviations)
            yield name, digits(fit.values, nist.values), errors


def _is_changed(node: ast.AST) -> bool:
    if isinstance(node, ast.BinOp | ast.AugAssign):
        return type(node.op) in OPPOSITE
    if isinstance(node, ast.UnaryOp):
        return isinstance(node.op, ast.USub)
    return isinstance(node, ast.Attribute) and node.attr == "T"


def differences(right: list[float], wrong: list[float]) -> Figure:
    """Draw how far the two sides of the adjoint law are apart, for a right and a wrong layer."""
    figure, axes = plt.subplots(figsize=(4.6, 2.4))
    bins = np.geomspace(1e-19, 10, 60)
    for found, colour, x, name in (
        (right, BLUE, 1e-17, "right"),
        (wrong, VERMILION, 7e-4, "one wrong\nsign in 2,000"),
    ):
        highest = axes.hist(np.clip(found, 1e-19, None), bins, color=colour, alpha=0.6)[0].max()
        axes.annotate(name, (x, 1.05 * highest), ha="center", va="bottom", color=colour)
    axes.set_ylim(top=1.35 * axes.get_ylim()[1])
    axes.axvline(1e-12, color="black", lw=0.8, ls="--")
    axes.set(xscale="log", yticks=[], xlabel="relative difference of the two sides")
    for side in ("left", "right", "top"):
        axes.spines[side].set_visible(False)
    return figure


class _Change(ast.NodeTransformer):
    """One operation becomes its opposite; a minus sign or a transposition disappears."""

    def __init__(self, node: ast.AST) -> None:
        self.node = node

    def visit(self, node: ast.AST) -> Any:
        if node is not self.node:
            return super().visit(node)
        if isinstance(node, ast.BinOp | ast.AugAssign):
            node.op = OPPOSITE[type(node.op)]()
            return node
        return node.operand if isinstance(node, ast.UnaryOp) else node.value
