"""Save a model as ONNX: send a tracer through it several times, and write the graph that results.

The passes have other numbers of rows and other sizes of open axes. Whatever of the graph differs
was computed for one size only, and is refused: a file must be right for all of them.
"""

from __future__ import annotations

import itertools
import math
import os
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from attrs import define, field

from chainrule import files
from chainrule.core.errors import ConfigurationError, ExportError, ShapeError, shortened
from chainrule.core.input_checks import as_tuple, one_or_tuple
from chainrule.core.layer import Layer
from chainrule.core.messages import label, require_built
from chainrule.core.open_axes import is_open
from chainrule.core.parameter import Parameter
from chainrule.core.tree import snake_case
from chainrule.core.types import Shape
from chainrule.graph.composite import Composite
from chainrule.graph.unrolling import input_names
from chainrule.interop.onnx.writing.inference import TracedGenerator, apply_in_training
from chainrule.interop.onnx.writing.rules import RULES
from chainrule.interop.onnx.writing.sizes import Size, SizeFloat
from chainrule.interop.onnx.writing.traced import Trace, Traced, as_traced, line_of
from chainrule.interop.onnx.writing.writer import Body, Step, described
from chainrule.layers.embedding import Embedding
from chainrule.losses.entropies import NegativeLogLikelihood, SoftmaxCrossEntropy
from chainrule.losses.loss import Loss

LARGEST = 2**31 - 2**20
"""The most bytes of a file: protobuf, the format inside, has no more."""

OPEN_SIZES = (96, 160, 97)
"""The sizes of open axes in the passes. The first two can be halved five times; the last one shows
what depends on whether a size is even, if the model accepts it."""


def save(
    model: Layer,
    path: str | os.PathLike[str],
    gradients: str | None = None,
    loss: Any = None,
) -> None:
    """Write a model to an ONNX file.

    Parameters
    ----------
    model
        A built model. The batch is open in the file, and so are axes that are None in
        ``model.input_shapes``.
    path
        Where to write. An existing file is replaced at once, or stays unchanged.
    gradients
        ``"inputs"`` adds, after the outputs, one output for each input: the gradient of the sum of
        the outputs of each row, named ``gradient_of_<input>``.
    loss
        A loss. The file then has the targets as further inputs, and as further outputs the loss of
        the batch and the gradient of every parameter, named ``gradient_of_<path>``.

    Raises
    ------
    MissingExtraError
        onnx is not installed.
    BuildError
        The model is not built.
    ConfigurationError
        An argument is invalid, or an input of the model has the name of another input or output.
    ExportError
        The model computes something that ONNX does not have, or that depends on the numbers. The
        error names the layer and its line.
    StorageError
        The file cannot be written.
    """
    proto = model_proto(model, gradients, loss)
    content = proto.SerializeToString()
    files.write(path, content, "the ONNX model")


def model_proto(model: Layer, gradients: str | None = None, loss: Any = None) -> onnx.ModelProto:
    """The file of `save` as an object of onnx, checked by `onnx.checker`."""
    if not isinstance(model, Layer):
        raise ConfigurationError(
            "interop.onnx.save writes models",
            expected="a layer, such as a Sequential",
            received=shortened(model),
        )
    require_built(model)
    if gradients not in (None, "inputs"):
        raise ConfigurationError(
            f"interop.onnx.save: there are no gradients={gradients!r}",
            expected='None or "inputs"',
            received=repr(gradients),
            hint="loss=… adds the gradients of the parameters",
        )
    if loss is not None and gradients is not None:
        raise ConfigurationError(
            "interop.onnx.save: gradients= and loss= are for two different files",
            expected="gradients='inputs' for the outputs' gradients, or loss= for a training step",
            received=f"gradients={gradients!r}, loss={shortened(loss)}",
        )
    if loss is not None and not isinstance(loss, Loss):
        raise ConfigurationError(
            "interop.onnx.save: loss is not a loss",
            expected="a loss, such as losses.MeanSquaredError()",
            received=shortened(loss),
        )
    if model.parameters.value.nbytes > LARGEST:
        raise ExportError(
            f"{label(model)}: the model is too large for one ONNX file",
            expected="at most 2 GB of parameters",
            received=f"{model.parameters.value.nbytes:,} bytes",
            hint="float32 halves it",
        )
    first, second = (_pass(model, n, gradients, loss) for n in range(2))
    _require_equal(model, first, second)
    _require_different([x.name for x in first.inputs], list(first.outputs))
    if is_open(model.input_shapes):
        try:
            odd = _pass(model, 2, gradients, loss)
        except ShapeError:
            pass
        else:
            _require_equal(model, first, odd)
    proto = first.proto(model)
    try:
        onnx.checker.check_model(proto, full_check=True)
    except onnx.shape_inference.InferenceError as error:
        raise ExportError(
            f"{label(model)}: it computes with numbers of a type that ONNX does not allow there",
            expected="operations that ONNX has for their numbers, often floating-point ones",
            received=str(error).splitlines()[0],
            hint="x.astype(float) before the operation; a node has the name of its layer",
        ) from error
    return proto


def _require_different(names: list[str], others: list[str]) -> None:
    """Raise an error if two inputs or outputs of the file would have the same name."""
    for name in (*names, *others):
        if [*names, *others].count(name) > 1:
            raise ConfigurationError(
                f"interop.onnx.save: two inputs or outputs of the file would be called {name!r}",
                expected="a name of its own for each input, output, target and loss",
                received=", ".join([*names, *others]),
                hint="give the input or output of the model another name: Input(…, name='x')",
            )


@define
class _Pass:
    """A trace with its inputs and outputs."""

    graph: Trace
    inputs: list[Traced]
    outputs: dict[str, Traced]
    repaired: set[str] = field(factory=set)

    def proto(self, model: Layer) -> onnx.ModelProto:
        writer = self.graph.writer
        taken = [x.name for x in self.inputs]
        names = [y.name for y in self.outputs.values()]
        described_outputs = []
        for n, (name, y) in enumerate(self.outputs.items()):
            old = names[n]
            if old in taken or old in writer.constants:
                writer.repeat(old, name)
            else:
                writer.rename(old, name)
                names = [name if other == old else other for other in names]
            taken.append(name)
            described_outputs.append(described(name, y.dtype, y.shape))
        return writer.model(
            snake_case(type(model).__name__),
            [described(x.name, x.dtype, x.shape) for x in self.inputs],
            described_outputs,
            producer=("chainrule", sys.modules["chainrule"].__version__),
            documentation=repr(model)[:10_000],
        )


def _pass(model: Layer, number: int, gradients: str | None, loss: Any) -> _Pass:
    """One flow of tracers through the model."""
    trace = Trace(RULES, _batches(model)[number])
    try:
        return _flow(model, trace, OPEN_SIZES[number], gradients, loss)
    except ExportError as error:
        error.place = _place(model, error.layer) if error.layer else error.place
        raise


def _flow(model: Layer, trace: Trace, size: int, gradients: str | None, loss: Any) -> _Pass:
    layer = traced_replica(model, trace)
    if gradients is not None:
        apply_in_training(layer)
    inputs = _inputs(model, trace, size, _takes_tokens(layer))
    given = [as_traced(trace, x, model.dtype) for x in inputs]
    with np.errstate(all="ignore"):
        if loss is not None:
            return _training_step(model, layer, trace, inputs, given, loss)
        if gradients is None:
            made = as_tuple(layer.apply(*given))
            return _Pass(trace, inputs, _named(trace, names_of_outputs(model, len(made)), made))
        made = as_tuple(layer.forward(*given))
        outputs = _named(trace, names_of_outputs(model, len(made)), made)
        deltas = as_tuple(layer.backward(one_or_tuple([np.ones_like(y) for y in made])))
        names = [f"gradient_of_{x.name}" for x in inputs]
        return _Pass(trace, inputs, outputs | _named(trace, names, deltas))


def _place(model: Layer, path: str) -> str:
    """A path that begins with the name of the model, as in other errors."""
    name = snake_case(type(model).__name__)
    return path if path == name else f"{name}/{path}"


def _takes_tokens(layer: Layer) -> list[bool]:
    """For each input whether only embeddings take it: then it has integers in the file."""
    if not isinstance(layer, Composite):
        return [isinstance(layer, Embedding)] * len(layer.input_shapes)
    plan = layer.plan
    users = [[step.layer for step in plan.steps if slot in step.takes] for slot in plan.inputs]
    return [bool(each) and all(isinstance(one, Embedding) for one in each) for each in users]


def _inputs(model: Layer, trace: Trace, size: int, tokens: Sequence[bool]) -> list[Traced]:
    names, inputs = names_of_inputs(model), []
    for name, row, takes_tokens in zip(names, model.input_shapes, tokens, strict=True):
        sizes = _open_row(name if len(names) > 1 else "", row, size)
        inputs.append(trace.input(name, sizes, np.int64 if takes_tokens else model.dtype))
        for axis, n in enumerate(sizes, start=1):
            if isinstance(n, Size):
                trace.writer.axes[str(n)] = (name, axis)
    return inputs


def _named(trace: Trace, names: Sequence[str], arrays: Sequence[Any]) -> dict[str, Traced]:
    """Arrays by name, as they are now: code may still write into what it has returned."""
    found = {}
    for name, array in zip(names, arrays, strict=True):
        x = as_traced(trace, array)
        found[name] = Traced(trace, x.name, x.shape, x.dtype)
    return found


def _training_step(
    model: Layer,
    layer: Layer,
    trace: Trace,
    inputs: list[Traced],
    given: Sequence[Traced],
    loss: Any,
) -> _Pass:
    """The outputs in training, the loss, the gradients, and new running statistics."""
    buffers: list[Any] = list(layer.buffers)
    before = {id(buffer): buffer.value.name for buffer in buffers}
    for parameter in layer.parameters:
        parameter.zero_grad()
    made = as_tuple(layer.forward(*given))
    outputs = _named(trace, names_of_outputs(model, len(made)), made)
    targets = _targets(model, trace, loss, made)
    wanted = one_or_tuple(targets) if loss.takes_targets else None
    cost, delta = loss.value_and_delta(one_or_tuple(made), wanted)
    layer.backward_parameters(delta)
    _require_different(["loss"], list(outputs))
    outputs |= _named(trace, ["loss"], [as_traced(trace, cost, model.dtype)])
    for path, parameter in layer._collected("_parameters").items():
        if parameter.trainable and not any(parameter.grad is y for y in outputs.values()):
            outputs |= _named(trace, [f"gradient_of_{parameter.path or path}"], [parameter.grad])
    for buffer in buffers:
        if buffer.value.name != before[id(buffer)]:
            outputs |= _named(trace, [f"updated_{buffer.path}"], [buffer.value])
    return _Pass(trace, [*inputs, *(t for t in targets if t is not None)], outputs)


def _targets(model: Layer, trace: Trace, loss: Any, made: Sequence[Any]) -> list[Traced | None]:
    """The inputs for the targets: labels for losses of classes, else numbers."""
    each = loss.for_each_output
    if len(each) != len(made):
        raise ConfigurationError(
            f"interop.onnx.save: the model has {len(made)} outputs, the loss is for {len(each)}",
            expected="one loss for each output",
            received=shortened(loss),
            hint="loss=losses.PerOutput([…, …])",
        )
    taking = [n for n, one in enumerate(each) if one.takes_targets]
    targets: list[Traced | None] = []
    for n, (one, y) in enumerate(zip(each, made, strict=True)):
        if n not in taking:
            targets.append(None)
            continue
        name = "target" if len(made) == 1 else f"target_{n + 1}"
        row = y.shape[1:]
        if isinstance(one, SoftmaxCrossEntropy | NegativeLogLikelihood):
            targets.append(trace.input(name, row[:-1], np.int64))
        else:
            targets.append(trace.input(name, one.target_shape(row), model.dtype))
    return targets


def _batches(model: Layer) -> tuple[int, int, int]:
    """Three prime numbers of rows that divide no size of the model."""
    sizes = {n for shape in model.input_shapes for n in shape if n}
    sizes |= {n for part in (*model.parameters, *model.buffers) for n in (*part.shape, part.size)}
    primes = (p for p in itertools.count(1009) if _is_prime(p) and all(n % p for n in sizes if n))
    found = list(itertools.islice(primes, 3))
    return found[0], found[1], found[2]


def _is_prime(number: int) -> bool:
    return all(number % n for n in range(2, int(number**0.5) + 1))


AXES = {2: ("time",), 3: ("height", "width"), 4: ("depth", "height", "width")}
"""What the axes of a row are usually called, in front of the channels."""


def _open_row(name: str, row: Shape, size: int) -> Shape:
    """The sizes of a row, with names for those that are open."""
    usual = AXES.get(len(row), ())
    sizes: list[int] = []
    for axis, n in enumerate(row):
        if n is None:
            word = usual[axis] if axis < len(usual) else f"axis_{axis + 1}"
            sizes.append(Size.named(f"{name}_{word}" if name else word, size))
        else:
            sizes.append(n)
    return tuple(sizes)


def names_of_inputs(model: Layer) -> list[str]:
    """The names of the inputs in the file."""
    count = len(model.input_shapes)
    return model.input_names(count) if isinstance(model, Composite) else input_names(count)


def names_of_outputs(model: Layer, count: int) -> list[str]:
    """The names of the outputs in the file: those of a graph, otherwise numbers."""
    names = getattr(model, "output_names", None)
    if isinstance(names, tuple) and len(names) == count:
        return list(names)
    return ["output"] if count == 1 else [f"output_{n + 1}" for n in range(count)]


def traced_replica(model: Layer, trace: Trace) -> Layer:
    """A copy of a model whose parameters and buffers are values of the graph."""
    parts: dict[int, Any] = {}
    for kind in ("_parameters", "_buffers"):
        for path, part in model._collected(kind).items():
            if id(part) in parts:
                continue
            name = trace.writer.parameter(path, part.value, is_buffer=kind == "_buffers")
            value: Any = Traced(trace, name, part.shape, part.dtype)
            copied = Parameter(path, value, part.open_shape)
            copied._trainable = part.trainable
            parts[id(part)] = copied
    for generator in model.generators.values():
        parts[id(generator)] = TracedGenerator(trace)
    layer = model.replica(parts)
    for (path, _), (_, member) in zip(model.walk(), layer.walk(), strict=True):
        trace.paths[id(member)] = path
        member.__dict__["_require_fit"] = _accept  # the sizes of open axes need no trial
    return layer


def _accept(shapes: tuple[Shape, ...]) -> None:
    """Any row of the accepted shapes."""


# ------------------------------------------------------------------------------- two passes


def _require_equal(model: Layer, first: _Pass, second: _Pass) -> None:
    """Raise an error if the two passes wrote different graphs."""
    one, two = (_needed(each) for each in (first, second))
    for a, b in zip(one, two, strict=False):
        if a.kind != b.kind or not _same_step(a, b, first, second):
            raise _differs(model, b)  # the size is larger: a loop that ended in a goes on
    if len(one) != len(two):
        longer = max(one, two, key=len)
        raise _differs(model, longer[min(len(one), len(two))])


def _needed(each: _Pass) -> list[Step]:
    steps = each.graph.writer.needed([y.name for y in each.outputs.values()])
    inside = [s for step in steps for v in step.attributes.values() if isinstance(v, Body)
              for s in v.steps]  # fmt: skip
    return [*steps, *inside]


def _same_step(a: Step, b: Step, first: _Pass, second: _Pass) -> bool:
    if len(a.inputs) != len(b.inputs) or a.attributes.keys() != b.attributes.keys():
        return False
    for n, (one, two) in enumerate(zip(a.inputs, b.inputs, strict=True)):
        numbers, others = (
            p.graph.writer.constants.get(n) for p, n in ((first, one), (second, two))
        )
        if one in first.repaired:
            continue
        if numbers is None or others is None:
            if numbers is not others or one != two:
                return False
        elif not np.array_equal(numbers, others, equal_nan=numbers.dtype.kind == "f"):
            name = _of_batch(numbers, others, first, second)
            if name is None:
                return False
            a.inputs = (*a.inputs[:n], name, *a.inputs[n + 1 :])
    return all(
        repr(value) == repr(b.attributes[name]) or not isinstance(value, int | float | list | str)
        for name, value in a.attributes.items()
    )


def _of_batch(one: Any, two: Any, first: _Pass, second: _Pass) -> str | None:
    """The value of a number that follows from the batch, as in ``x.sum(axis=0) / len(x)``.

    Python's ``len(x)`` and ``1.0 / n`` return plain numbers. If they are the same multiple of the
    batch in both passes, or of its inverse, that is what they are.
    """
    if one.shape or two.shape or one.dtype != two.dtype:
        return None
    batch, other = first.graph.batch, second.graph.batch
    precision = 1e-6 if one.dtype == np.float32 else 1e-13
    for size in (SizeFloat.of(1.0, batch), SizeFloat.of(1.0, 1, batch)):
        factor = float(one) / float(size)
        expected = factor * (int(other) if size > 1 else 1 / int(other))
        if math.isclose(float(two), expected, rel_tol=precision):
            nearest = round(factor, 6) if one.dtype == np.float32 else factor
            is_near = math.isclose(nearest, factor, rel_tol=precision)
            writer = first.graph.writer
            with writer.among_sizes():
                name = writer.scalar(size * (nearest if is_near else factor), one.dtype)
            first.repaired.add(name)
            return name
    return None


def _differs(model: Layer, step: Step) -> ExportError:
    place = step.name.rpartition("/")[0]
    line = f", in {line_of(step.line)}" if step.line else ""
    return ExportError(
        "what the model computes depends on the size of an open axis, or of the batch, in a way "
        "that would be frozen into the file",
        place=_place(model, place) if place and place != "sizes" else None,
        expected="code that takes sizes from x.shape, and has no loop or branch over them",
        received=f"another {step.kind} for another size{line}",
        hint="build the model for rows of a fixed size; recurrent layers and Scan become loops",
    )
