r"""A program for a given model: the lecture's thirty lines, written out for its architecture.

    z_1 = y_0 @ p["dense_1.weights"] + p["dense_1.biases"]      # z₁ = y₀ w₁ + b₁
    delta_1 = dC_dy_1 * df(z_1)                                 # Δ₁ = ∂C/∂y₁ ⊙ f′(z₁)
    gradient["dense_1.weights"] = y_0.T @ delta_1               # ∂C/∂w₁ = y₀ᵀ Δ₁

`program` returns the source of a Python file that needs NumPy alone: the forward pass,
backpropagation and a training step, without loops over layers and without classes. Its lines are
the equations that `explain` shows, its names are those of the model.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping
from typing import Any

from chainrule.core.equations import is_said_by
from chainrule.core.errors import ConfigurationError, DefinitionError, described
from chainrule.core.hints import hinted
from chainrule.core.layer import Layer
from chainrule.core.messages import not_a_layer, require_built
from chainrule.display.notation import parsed
from chainrule.display.program_file import (
    File,
    forward,
    inference,
    initial,
)
from chainrule.display.program_passes import (
    Passes,
    kept_for,
    needed,
    write,
    write_unpacking,
)
from chainrule.display.source import Lines, fitted, function, replaced, source
from chainrule.layers.embedding import Embedding
from chainrule.losses import HalfSquaredError, Loss, PerOutput, SigmoidCrossEntropy
from chainrule.optimizers import SGD, Optimizer

ROWS = 20
"""The number of random samples on which the file trains by itself."""


@hinted
def program(model: Layer, *, loss: Loss | None = None, optimizer: Optimizer | None = None) -> str:
    """Write a Python file that trains a model with NumPy alone.

    Parameters
    ----------
    model
        Any built layer or container whose layers provide their equations.
    loss
        The cost; by default the lecture's, `HalfSquaredError`. For several outputs a `PerOutput`.
    optimizer
        How a step changes the parameters; by default ``SGD(0.1)``, the lecture's gradient descent.

    Returns
    -------
    str
        The source. It defines ``forward(x, p)``, ``backward(delta, values, p)``, ``apply(x, p)``
        for inference, ``cost_and_delta(y, t)``, ``training_step(x, t, p)`` and
        ``initial_parameters(rng)``. ``p`` is a dict of arrays by their paths in the model, such as
        ``p["dense_1.weights"]``. Run as a program, it trains on random numbers, or on a file:
        ``python program.py data.npz`` reads the arrays ``x`` and ``t`` and, if present, parameters.

    Raises
    ------
    BuildError
        If the model is not built.
    DefinitionError
        If it is not a layer, or a layer, loss or optimizer does not provide its equations.
    ConfigurationError
        If the loss does not fit the number of outputs.

    Notes
    -----
    Formulas are written as on paper, without the guards that the layers have against overflow, and
    computed in float64, whatever the type of the model.

    Examples
    --------
    >>> model = Sequential([Dense(2), Activation("sigmoid"), Dense(1), Activation("sigmoid")])
    >>> model.build((2,), rng=0)
    >>> for line in program(model).splitlines():
    ...     if line.strip().startswith(("z_", "delta_", "gradient[")):
    ...         print(line.strip())
    z_1 = y_0 @ p["dense_1.weights"] + p["dense_1.biases"]  # z₁ = y₀ w₁ + b₁
    z_2 = y_1 @ p["dense_2.weights"] + p["dense_2.biases"]  # z₂ = y₁ w₂ + b₂
    delta_2 = dC_dy_2 * df(z_2)  # Δ₂ = ∂C/∂y₂ ⊙ f′(z₂)
    delta_1 = dC_dy_1 * df(z_1)  # Δ₁ = ∂C/∂y₁ ⊙ f′(z₁)
    gradient["dense_1.weights"] = y_0.T @ delta_1  # ∂C/∂w₁ = y₀ᵀ Δ₁
    gradient["dense_1.biases"] = delta_1.sum(axis=0)  # ∂C/∂b₁ = Σₛ Δ₁
    gradient["dense_2.weights"] = y_1.T @ delta_2  # ∂C/∂w₂ = y₁ᵀ Δ₂
    gradient["dense_2.biases"] = delta_2.sum(axis=0)  # ∂C/∂b₂ = Σₛ Δ₂
    """
    if not isinstance(model, Layer):
        raise not_a_layer("program", model)
    require_built(model)
    count = len(model.output_shapes)
    if loss is None:
        loss = HalfSquaredError() if count == 1 else PerOutput([HalfSquaredError()] * count)
    optimizer = SGD(0.1) if optimizer is None else optimizer
    for what, given, kind in (("loss", loss, Loss), ("optimizer", optimizer, Optimizer)):
        if not isinstance(given, kind):
            raise DefinitionError(
                f"program: the {what} is not one of chainrule.{kind.__module__.split('.')[1]}",
                expected=f"{what}={'HalfSquaredError()' if kind is Loss else 'SGD(0.1)'}",
                received=described(given),
            )
    if len(loss.for_each_output) != count:
        raise ConfigurationError(
            "program: the loss does not fit the outputs of the model",
            expected=f"a loss for {count} output{'s' if count > 1 else ''}",
            received=repr(loss),
            hint="PerOutput([loss_1, loss_2]) has one loss for each output" if count > 1 else None,
        )
    return _Program(model, loss, optimizer).text()


class _Program:
    """Puts the parts of the file together."""

    def __init__(self, model: Layer, loss: Loss, optimizer: Optimizer) -> None:
        self.model, self.loss, self.optimizer = model, loss, optimizer
        self.file = File(model)
        self.passes = Passes(model, self.file, "")
        is_said = is_said_by(type(optimizer), "equations", ("step", "_move"))
        self.rule = dict(optimizer.equations() if is_said else Optimizer.equations(optimizer))
        self.memory = [name for name in self.rule if name not in ("gradient", "value", "change")]

    def text(self) -> str:
        """The whole file."""
        name = type(self.model).__name__
        functions = [
            *self.file.formulas(),
            *self.file.functions,
            *self._passes(),
            inference(self.passes),
            *self._losses(),
            self._training(),
            self._initial(),
        ]
        functions[:0] = self.file.helpers()
        main = self._main()
        parts = "\n\n\n".join([*functions, main])
        imports = ["import math"] * ("math." in parts) + ["import sys", "", "import numpy as np"]
        head = [
            f'"""{name}, written out: forward pass, backpropagation and training in NumPy alone.',
            "",
            "    python program.py            trains on random numbers",
            f"    python program.py data.npz   trains on the arrays {self._data()} of a file",
            "",
            "The file may also contain parameters, by their names in p.",
            '"""',
            "",
            *imports,
        ]
        return "\n".join(head) + "\n\n\n" + parts + "\n"

    def _data(self) -> str:
        names = self._arguments("x", len(self.passes.inputs)), self._targets()
        x, t = (f"{each[0]} to {each[-1]}" if len(each) > 1 else each[0] for each in names)
        return f"{x} and {t}"

    @staticmethod
    def _arguments(letter: str, count: int) -> list[str]:
        return [letter] if count == 1 else [f"{letter}_{n + 1}" for n in range(count)]

    def _targets(self) -> list[str]:
        return self._arguments("t", len(self.passes.outputs))

    def _passes(self) -> list[str]:
        passes = self.passes
        back = needed(passes.back, [])
        kept = kept_for(back, passes.forward, passes.inputs)
        lines = Lines()
        if kept:
            write_unpacking(lines, kept, "values")
        added = ", ".join(f'"{path}"' for path in self._added_to())
        names = f"[{added}]"
        if len(names) > 60:
            lines.assign("names", parsed(names))
            names = "names"
        lines.assign("gradient", parsed(f"dict.fromkeys({names}, 0.0)" if added else "{}"))
        write(lines, back)
        lines.add("return gradient")
        arguments = ", ".join([*passes.output_deltas, "values", "p"])
        doc = "The gradient of C, from its derivative with respect to the output."
        return [
            forward(passes, kept, "forward", "The output, and the values that backward needs."),
            function("backward", arguments, doc, lines),
        ]

    def _added_to(self) -> list[str]:
        parameters = self.model.parameters
        pairs = zip(parameters.paths, parameters, strict=True)
        trained = [path for path, each in pairs if id(each) in self.file.trained]
        return [path for path in trained if path in self.file.added_to]

    # ---------------------------------------------------------------- the cost

    def _losses(self) -> list[str]:
        return [
            self._loss(loss, name, shape)
            for loss, name, shape in zip(
                self.loss.for_each_output, self._loss_names(), self.model.output_shapes, strict=True
            )
        ]

    def _loss_names(self) -> list[str]:
        return self._arguments("cost_and_delta", len(self.passes.outputs))

    def _loss(self, loss: Loss, name: str, shape: Any) -> str:
        methods = ("__call__", "delta", "value_and_delta", "costs", "slopes")
        is_said = is_said_by(type(loss), "equations", methods)
        said = loss.equations() if is_said else Loss.equations(loss)
        lines = Lines()
        for_each_output = isinstance(loss, SigmoidCrossEntropy)
        ignore = getattr(loss, "ignore", None)
        kept = f"np.where(t == {ignore}, 0.0, 1.0)"
        if ignore is not None:
            lines.add(f"kept = {kept if for_each_output else 'np.ones(y.shape[:-1])'}")
        if loss.takes_labels and shape:
            classes = "1" if shape[-1] == 1 else f"np.arange({shape[-1]})"
            lines.add("if t.ndim < y.ndim:  # labels")
            if ignore is not None:
                each = f"np.repeat(kept[..., np.newaxis], {shape[-1]}, axis=-1)"
                lines.add(f"    kept = {each if for_each_output else kept}")
            lines.add(f"    t = np.where(t[..., np.newaxis] == {classes}, 1.0, 0.0)")
        for own, text in said.definitions.items():
            lines.assign(own, parsed(text))
        lines.assign("cost", parsed(said.forward[0]))
        lines.assign("delta", parsed(said.backward[0]))
        lines.add("return cost, delta")
        return function(name, "y, t", f"The cost C of {loss!r}, and its delta.", lines)

    # ---------------------------------------------------------------- a training step

    def _training(self) -> str:
        passes, lines = self.passes, Lines()
        names = self._arguments("x", len(passes.inputs))
        targets, count = self._targets(), len(passes.outputs)
        ys = self._arguments("y", count)
        y = f"({', '.join(ys)})" if count > 1 else ys[0]
        lines.add(f"{y}, values = forward({', '.join(names)}, p)")
        costs, deltas = self._arguments("cost", count), self._arguments("delta", count)
        for parts in zip(costs, deltas, self._loss_names(), ys, targets, strict=True):
            lines.add("{}, {} = {}({}, {})".format(*parts))
        weights = getattr(self.loss, "weights", (1.0,) * count)
        shares = ["" if w == 1 else f"{w!r} * " for w in weights]
        terms = [share + name for share, name in zip(shares, deltas, strict=True)]
        lines.add(f"gradient = backward({', '.join(terms)}, values, p)")
        cost = " + ".join(share + name for share, name in zip(shares, costs, strict=True))
        self._steps(lines)
        lines.add(f"return {cost}")
        memory = ["memory"] * bool(self.memory)
        rate = self.optimizer.learning_rate
        arguments = ", ".join([*names, *targets, "p", *memory, f"eta={rate!r}"])
        doc = "One step of training on a batch: changes p, and returns the cost before."
        return function("training_step", arguments, doc, lines)

    def _steps(self, lines: Lines) -> None:
        """The rule of the optimizer for each parameter."""
        limit, longest = (getattr(self.optimizer, n, None) for n in ("clip_value", "clip_norm"))
        if limit is not None:
            lines.add("for name in gradient:")
            lines.add(f"    gradient[name] = np.clip(gradient[name], -{limit!r}, {limit!r})")
        if longest is not None:
            lines.add("norm = np.sqrt(sum((g**2).sum() for g in gradient.values()))")
            lines.add("for name in gradient:")
            factor = f"min(1.0, {longest!r} / (norm + 1e-06))"
            lines.add(f"    gradient[name] = gradient[name] * {factor}")
        lines.add("for name, g in gradient.items():")
        inner = Lines(lines.indent + 4)
        if self.memory:
            first = float(getattr(self.optimizer, "initial_accumulator", 0))
            start = ", ".join(
                f'"{name}": {0 if name == "steps" else first:g}' for name in self.memory
            )
            inner.add(f"m = memory.setdefault(name, {{{start}}})")
        for name, text in self.rule.items():
            node = self._in_rule(text)
            if name == "value" and isinstance(node, ast.BinOp) and isinstance(node.op, ast.Sub) \
                    and source(node.left) == "p[name]":  # fmt: skip
                inner.assign("p[name]", node.right, sign="-=")
            elif name == "value":
                inner.assign("p[name]", node)
            elif name in self.memory:
                inner.assign(f'm["{name}"]', node)
            else:
                inner.assign({"gradient": "g"}.get(name, name), node)
        lines.lines += inner.lines

    def _in_rule(self, text: str) -> ast.expr:
        known: Mapping[str, str] = {
            "value": "p[name]",
            "gradient": "g",
            "learning_rate": "eta",
            **{name: f'm["{name}"]' for name in self.memory},
        }

        def change(node: ast.expr) -> ast.expr | None:
            is_known = isinstance(node, ast.Name) and node.id in known
            return parsed(known[node.id]) if is_known else None  # type: ignore[attr-defined]

        return replaced(parsed(text), change)

    # ---------------------------------------------------------------- the start

    def _initial(self) -> str:
        lines = Lines()
        lines.add("p = {}")
        arrays = self.model._collected("_parameters") | self.model._collected("_buffers")
        for path, part in arrays.items():
            if self.file.paths[id(part)] == path:
                lines.assign(f'p["{path}"]', parsed(initial(part)))
        for path, part in self.model.generators.items():
            if self.file.paths[id(part)] == path:
                lines.add(f'p["{path}"] = rng.spawn(1)[0]')
        lines.add("return p")
        return function("initial_parameters", "rng", "Random parameters, by their names.", lines)

    def _main(self) -> str:
        passes = self.passes
        xs, ts = self._arguments("x", len(passes.inputs)), self._targets()
        lines = Lines()
        lines.add("rng = np.random.default_rng(0)")
        lines.add("p = initial_parameters(rng)")
        for name, slot in zip(xs, passes.plan.inputs, strict=True):
            lines.add(f"{name} = {self._random_input(slot)}")
        losses = self.loss.for_each_output
        for name, loss, shape in zip(ts, losses, self.model.output_shapes, strict=True):
            lines.add(f"{name} = {_random_target(loss, loss.target_shape(shape))}")
        lines.add("if len(sys.argv) > 1:")
        lines.add("    given = dict(np.load(sys.argv[1]))")
        both = [*xs, *ts]
        for name in both:
            lines.add(f'    {name} = given.pop("{name}")')
        lines.add("    p |= given")
        if self.memory:
            lines.add("memory = {}")
        arguments = ", ".join([*both, "p", *["memory"] * bool(self.memory)])
        lines.add("for step in range(1, 201):")
        lines.add(f"    cost = training_step({arguments})")
        lines.add("    if step == 1 or step % 20 == 0:")
        lines.add('        print(f"{step:4}  {cost:.6f}")')
        body = (part for line in lines.lines for part in fitted(line))
        return "\n".join(['if __name__ == "__main__":', *body])

    def _random_input(self, slot: int) -> str:
        shape = ", ".join(
            [str(ROWS), *(str(5 if n is None else n) for n in self.passes.shapes[slot])]
        )
        shape = f"({shape})" if "," in shape else shape
        for place in self.passes.steps:
            if isinstance(place.step.layer, Embedding) and slot in place.step.takes:
                return f"rng.integers({place.step.layer.entries}, size={shape})"
        return f"rng.normal(size={shape})"


def _random_target(loss: Loss, shape: Any) -> str:
    sizes = [str(ROWS), *(str(5 if n is None else n) for n in shape)]
    if loss.takes_labels and shape and shape[-1] > 1:
        inside = ", ".join(sizes[:-1])
        return f"rng.integers({shape[-1]}, size={f'({inside})' if len(sizes) > 2 else inside})"
    inside = ", ".join(sizes)
    size = f"({inside})" if len(sizes) > 1 else inside
    return f"rng.integers(2, size={size})" if loss.takes_labels else f"rng.random({size})"
