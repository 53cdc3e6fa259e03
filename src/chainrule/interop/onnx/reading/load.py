"""From an ONNX model to a graph of layers.

    inputs → Input,  initializers → weights,  nodes → layers,  outputs → outputs of the Graph

The nodes are read in their order. What depends on constants alone is computed at once; every other
node becomes the layers of its rule in `operators`. Nodes without a rule are collected, so that one
error names them all.
"""

from __future__ import annotations

import re
from collections import Counter, deque
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from attrs import define, field

from chainrule.core.errors import ChainruleError, ConfigurationError, StorageError
from chainrule.core.extras import required
from chainrule.core.hints import hinted
from chainrule.core.types import FloatArray
from chainrule.graph.graph import Graph
from chainrule.graph.node import Input
from chainrule.interop.onnx.reading import folding, grouped, model_file, products
from chainrule.interop.onnx.reading.conversion import Conversion, Site
from chainrule.interop.onnx.reading.elementwise import INTEGERS
from chainrule.interop.onnx.reading.model_file import Allowance, Source, Step
from chainrule.interop.onnx.reading.operators import OPERATORS
from chainrule.interop.onnx.reading.values import Constant, Operand, RefusedError, Value
from chainrule.layers.activation import Activation
from chainrule.storage.messages import cut

CALCULATED = (*INTEGERS, np.dtype(bool))
"""What a model may calculate with besides its own type, as floats."""

INVALID = (TypeError, ValueError, LookupError, AttributeError, ArithmeticError)
"""What Python, NumPy and protobuf raise for attributes, names and shapes that no valid model has,
such as a name that is not text. A hundred thousand damaged files raised nothing else."""

SHOWN = 20
"""How many operators an error lists."""


@hinted
def load(
    source: str | Path | bytes | Any,
    constants: Mapping[str, FloatArray] | None = None,
    batch_axes: Mapping[str, int | None] | None = None,
) -> Graph:
    """The graph of layers that an ONNX model describes, with its weights, ready to be trained.

    Dense layers, convolutions, pools, normalisations, recurrent layers and so on become those of
    chainrule. Images in ONNX have the channels first: they are transposed once, after the input,
    and what flows through the model then has the channels last. Weights become parameters; single
    numbers, and tables that only move numbers, stay fixed.

    Parameters
    ----------
    source
        The path of a file, its bytes, or an ``onnx.ModelProto``. Weights in other files are read
        if they are in the folder of the path.
    constants
        Arrays for inputs that are not data, such as weights or shapes, by name.
    batch_axes
        Which axis of an input is the batch, by name; by default axis 0. The graph takes the input
        with this axis first, and returns outputs with the batch first. None means that the input
        has no batch: then the graph takes a batch of such inputs.

    Returns
    -------
    Graph
        Built, in the type of the model's inputs, float32 or float64.

    Raises
    ------
    MissingExtraError
        onnx is not installed.
    StorageError
        The file cannot be read, is damaged, or needs operators that have no counterpart: the error
        lists all of them.
    ConfigurationError
        An argument is invalid.

    Examples
    --------
    ::

        model = interop.onnx.load("digits.onnx")
        trainer = Trainer(model, losses.SoftmaxCrossEntropy(), optimizers.Adam(), rng=0)
        trainer.fit(images, t, epochs=5)
    """
    found = model_file.read(source)
    try:
        with np.errstate(all="ignore"):  # the weights of a file may be anything
            return _Reader(found, dict(constants or {}), dict(batch_axes or {})).graph()
    except StorageError as error:
        if found.place is not None and found.place not in (error.place or ""):
            error.place = f"{found.place}: {error.place}" if error.place else found.place
        raise
    except ChainruleError:
        raise
    except RefusedError as error:  # of an input, before any node
        raise StorageError(
            "the model's numbers are of a type that a model here cannot have",
            place=found.place,
            expected="float32 or float64, and integers for the tokens of a table",
            received=str(error),
            hint="convert the model to float32 first",
        ) from error
    except INVALID as error:  # anything else is a mistake of the program, not of the file
        raise StorageError(
            model_file.PROBLEM,
            place=found.place,
            expected="a valid model, which onnx.checker.check_model accepts",
            received=cut(f"{type(error).__name__}: {error}", 200),
        ) from error


@define
class _Reader:
    """The values of an ONNX graph, one after the other."""

    source: Source
    constants: dict[str, Any]
    batch_axes: dict[str, int | None]
    values: dict[str, Operand | None] = field(factory=dict)
    inputs: dict[str, Input] = field(factory=dict)
    lacking: list[tuple[str, str, str]] = field(factory=list)
    names: set[str] = field(factory=set)
    allowance: Allowance = field(factory=lambda: Allowance(model_file.SPARE))

    def graph(self) -> Graph:
        """All of it."""
        graph, versions = self.source.model.graph, model_file.versions(self.source.model)
        self._read_initializers(graph)
        self._read_constants(graph)
        entries = [one for one in graph.input if one.name not in self.values]
        dtype, rows = self._dtype(entries), self._batch_size(entries)
        uses = Counter(name for node in graph.node for name in node.input)
        uses.update(one.name for one in graph.output)
        size = sum(one.array.size for one in self.values.values() if isinstance(one, Constant))
        self.allowance.left = 4 * size + model_file.SPARE
        conversion = Conversion(versions[""], dtype, rows, uses, self.allowance)
        for entry in entries:
            self._read_input(entry)
        self._refuse_unknown("constants", self.constants, {one.name for one in graph.input})
        self._refuse_unknown("batch_axes", self.batch_axes, set(self.inputs))
        self._read_nodes(graph, versions, conversion, uses)
        if self.lacking:
            raise self._unsupported()
        return self._finished(graph, conversion)

    # ---------------------------------------------------------------- before the nodes

    def _set(self, name: str, value: Operand | None) -> None:
        if name in self.values:
            raise StorageError(
                model_file.PROBLEM,
                place=f"value {name!r:.80}",
                expected="every value computed once",
                received="two of this name",
            )
        self.values[name] = value

    def _read_initializers(self, graph: Any) -> None:
        if graph.sparse_initializer:
            raise StorageError(
                "a sparse tensor cannot be read",
                place=f"tensor {graph.sparse_initializer[0].values.name!r:.80}",
                expected="dense tensors",
            )
        for tensor in graph.initializer:
            if tensor.name in self.constants:
                continue
            array = model_file.array_of(tensor, self.source.folder)
            self._set(tensor.name, _weight(array, tensor.name))

    def _read_constants(self, graph: Any) -> None:
        for name, given in self.constants.items():
            array = np.asarray(given)
            if array.dtype.kind not in "fiub":
                raise ConfigurationError(
                    "load: a constant is not an array of numbers",
                    place=f"constants[{name!r}]",
                    expected="floats, integers or truth values",
                    received=f"{array.dtype}",
                )
            self._set(name, _weight(array, name))

    def _refuse_unknown(self, argument: str, given: Mapping[str, Any], known: set[str]) -> None:
        names = known | ({one.name for one in self.source.model.graph.initializer})
        unknown = sorted(set(given) - (names if argument == "constants" else known))
        if unknown:
            raise ConfigurationError(
                f"load: {argument} names an input that the model does not have",
                place=f"{argument}[{unknown[0]!r}]",
                expected=", ".join(sorted(known)) or "no names: the model has no such inputs",
                received=unknown[0],
            )

    def _dtype(self, entries: list[Any]) -> np.dtype[Any]:
        kinds = {folding.dtype_of(_tensor_type(one).elem_type) for one in entries}
        floats = {kind for kind in kinds if kind.kind == "f"}
        if not floats:
            weights = [one.array.dtype for one in self.values.values() if isinstance(one, Constant)]
            floats = {kind for kind in weights if kind.kind == "f"}
        if len(floats) > 1 or not floats <= {np.dtype(np.float32), np.dtype(np.float64)}:
            raise StorageError(
                "the model's numbers are of a type that a model here cannot have",
                expected="float32 alone, or float64 alone",
                received=", ".join(sorted(map(str, floats))),
                hint="convert the model to float32 first",
            )
        return floats.pop() if floats else np.dtype(np.float32)

    def _batch_axis(self, name: str, rank: int) -> int | None:
        axis = self.batch_axes.get(name, 0)
        if axis is None:
            return None
        if not isinstance(axis, int) or not -rank <= axis < rank:
            raise ConfigurationError(
                "load: an input has no such axis for the batch",
                place=f"batch_axes[{name!r}]",
                expected=f"an axis of its {rank}, or None for an input without a batch",
                received=repr(axis),
                hint=f"batch_axes={{{name!r}: None}}: the whole input is one row",
            )
        return axis % rank

    def _batch_size(self, entries: list[Any]) -> int | None:
        found = set()
        for one in entries:
            sizes = _sizes(one)
            axis = self._batch_axis(one.name, len(sizes))
            if axis is not None:
                found.add(sizes[axis])
        fixed = {size for size in found if size is not None}
        if len(fixed) > 1:
            raise StorageError(
                "the inputs of the ONNX model have batches of different sizes",
                expected="one size along the batch of all inputs",
                received=", ".join(map(str, sorted(fixed))),
                hint="load(…, constants={name: array}) for an input that is not data, and "
                "batch_axes={name: axis} for one whose batch is another axis",
            )
        return fixed.pop() if fixed else None

    def _read_input(self, entry: Any) -> None:
        sizes = _sizes(entry)
        axis = self._batch_axis(entry.name, len(sizes))
        row = tuple(n for place, n in enumerate(sizes) if place != axis)
        node = Input(row, self._identifier(entry.name))
        rest = iter(range(1, len(sizes) + 1))
        axes = tuple(0 if place == axis else next(rest) for place in range(len(sizes)))
        self._set(entry.name, Value(node, axes, folding.dtype_of(_tensor_type(entry).elem_type)))
        self.inputs[entry.name] = node

    def _identifier(self, name: str) -> str:
        """A name of a graph's input from any text."""
        clean = re.sub(r"\W+", "_", name[:60], flags=re.ASCII).strip("_") or "x"
        clean = clean if clean.isidentifier() else f"x_{clean}"
        clean = f"{clean}_in" if re.search(r"_\d+$", clean) else clean  # as layers are called
        number, found = 1, clean
        while found in self.names:
            number += 1
            found = f"{clean}_{number}_in"
        self.names.add(found)
        return found

    # ---------------------------------------------------------------- the nodes

    def _read_nodes(
        self, graph: Any, versions: dict[str, int], conversion: Conversion, uses: Counter[str]
    ) -> None:
        waiting = deque(model_file.steps(graph))
        functions = {
            ("" if one.domain in model_file.DEFAULT_DOMAINS else one.domain, one.name): one
            for one in self.source.model.functions
        }
        done = 0
        while waiting:
            step, done = waiting.popleft(), done + 1
            if done > model_file.NODES_LIMIT:
                raise StorageError(
                    "the model has too many nodes",
                    expected=f"at most {model_file.NODES_LIMIT:,}, with all functions written out",
                    received="more",
                )
            given = self._given(step)
            if self._folded(step, given, uses):
                continue
            function = functions.get((step.domain, step.operator))
            if function is None and not (step.domain == "" and step.operator in OPERATORS):
                function = self._defined(step, versions)
            if function is None:
                self._convert(step, given, conversion)
                continue
            inner = model_file.body(function, step, f"{step.name}#{done}")
            for one in inner:
                uses.update(one.inputs)
            waiting.extendleft(reversed(inner))

    def _given(self, step: Step) -> list[Operand | None]:
        for name in step.inputs:
            if name and name not in self.values:
                raise StorageError(
                    "a node uses a value that no node before it computes",
                    place=f"{step.operator} {step.name!r:.80}",
                    expected="nodes in the order in which they can be computed, without a cycle",
                    received=f"the input {name!r:.80}",
                )
        return [self.values[name] if name else None for name in step.inputs]

    def _folded(self, step: Step, given: list[Operand | None], uses: Counter[str]) -> bool:
        """Whether the node was computed at once, as it depends on constants alone."""
        if any(isinstance(one, Value) for one in given) or step.domain:
            return False
        if any(one is None and name for one, name in zip(given, step.inputs, strict=True)):
            return False  # it depends on a node that is not supported
        if step.operator == "Constant":
            found: Any = [Constant(self._constant(step))]
        else:
            try:
                attributes = self._attributes(step)
                attributes["count"] = len(step.outputs)
                found = folding.fold(step.operator, given, attributes, uses)  # type: ignore[arg-type]
            except RefusedError as error:
                self._lack(step, str(error))
                return True
        if found is None:
            return False
        self.allowance.spend(sum(one.array.size for one in found))
        self._keep(step, found)
        return True

    def _keep(self, step: Step, outputs: Any) -> None:
        several = [outputs] if isinstance(outputs, Value) else list(outputs)
        several += [None] * (len(step.outputs) - len(several))
        for name, value in zip(step.outputs, several, strict=False):
            if name:
                self._set(name, value)

    def _constant(self, step: Step) -> Any:
        attributes = self._attributes(step)
        for name, dtype in (
            ("value_float", np.float32), ("value_floats", np.float32),
            ("value_int", np.int64), ("value_ints", np.int64),
        ):  # fmt: skip
            if name in attributes:
                return np.asarray(attributes[name], dtype)
        if "value" not in attributes:
            raise StorageError(
                "a constant has no numbers",
                place=f"Constant {step.name!r:.80}",
                expected="a tensor, or numbers",
                received=", ".join(step.attributes) or "nothing",
            )
        return attributes["value"]

    def _attributes(self, step: Step) -> dict[str, Any]:
        onnx = required("onnx", "reading an ONNX model needs")
        found = {}
        for name, attribute in step.attributes.items():
            value = onnx.helper.get_attribute_value(attribute)
            if isinstance(value, onnx.TensorProto):
                value = model_file.array_of(value, self.source.folder)
            elif isinstance(value, bytes):
                value = value.decode("utf-8", "replace")
            elif isinstance(value, onnx.GraphProto):
                raise RefusedError("it contains another graph")
            elif not isinstance(value, int | float):
                value = [
                    one.decode("utf-8", "replace") if isinstance(one, bytes) else one
                    for one in value
                ]
            found[name] = value
        return found

    def _defined(self, step: Step, versions: dict[str, int]) -> Any | None:
        """The function by which ONNX defines an operator, if it does."""
        onnx = required("onnx", "reading an ONNX model needs")
        if step.domain:
            return None
        try:
            schema = onnx.defs.get_schema(step.operator, versions[""], "")
        except onnx.defs.SchemaError:
            return None
        return schema.function_body if schema.has_function else None

    def _lack(self, step: Step, reason: str) -> None:
        name = f"{step.domain}.{step.operator}" if step.domain else step.operator
        self.lacking.append((name, step.name, reason))
        for output in step.outputs:
            if output:
                self._set(output, None)

    def _convert(self, step: Step, given: list[Operand | None], conversion: Conversion) -> None:
        """Make layers of a node, or note why not."""
        operator = OPERATORS.get(step.operator) if not step.domain else None
        depends = any(one is None and name for one, name in zip(given, step.inputs, strict=True))
        is_known = operator is not None or (not step.domain and step.operator in folding.RULES)
        if depends and is_known:
            self._keep(step, [])  # what it depends on is not supported; that is noted already
            return
        if operator is None:
            self._lack(step, "its inputs depend on the data" if is_known else "")
            return
        used = [name if conversion.uses[name] else "" for name in step.outputs]
        try:
            site = Site(step.operator, given, self._attributes(step), step.inputs, used, conversion)
            self._keep(step, self._converted(site, operator))
        except RefusedError as error:
            self._lack(step, str(error))
        except StorageError:
            raise
        except ChainruleError as error:
            self._lack(step, f"{error.problem}; received {error.received!s:.100}")
        except INVALID as error:
            self._lack(step, f"{type(error).__name__}: {error!s:.100}")

    def _converted(self, site: Site, operator: Any) -> Any:
        data = [one for one in site.inputs if isinstance(one, Value)]
        if (
            site.operator == "Gather"
            and isinstance(site.inputs[0], Constant)
            and isinstance(site.inputs[1], Value)
        ):
            return products.embedding(site, site.inputs[0], site.inputs[1])
        others = [one for one in data if one.dtype != site.dtype]
        if operator.calculates_integers:
            others = [one for one in others if one.dtype not in CALCULATED]
        if others and not operator.takes_integers:
            raise RefusedError(
                f"its data are {others[0].dtype}, and the model computes in {site.dtype}"
            )
        if any(one.group for one in data) and site.operator not in ("Reshape", "Shape"):
            return grouped.converted(site, operator.rule)
        return operator.rule(site)

    def _unsupported(self) -> StorageError:
        shown = [
            f"{operator} ({name!r:.60}{': ' + reason if reason else ''})"
            for operator, name, reason in self.lacking[:SHOWN]
        ]
        more = len(self.lacking) - len(shown)
        names = sorted({operator for operator, _, _ in self.lacking})
        return StorageError(
            "the ONNX model has operators without a counterpart: "
            + ", ".join(names[:SHOWN])
            + (", …" if len(names) > SHOWN else ""),
            expected="operators of the table in the documentation, applied to the rows of a batch",
            received="; ".join(shown) + (f"; and {more} more" if more else ""),
        )

    # ---------------------------------------------------------------- after the nodes

    def _finished(self, graph: Any, conversion: Conversion) -> Graph:
        nodes, places = [], {}
        for number, output in enumerate(graph.output):
            value = self.values.get(output.name)
            place = f"output {output.name!r:.80}"
            if not isinstance(value, Value) or value.dtype != conversion.dtype or value.group:
                raise StorageError(
                    "an output of the ONNX model is not computed from its data as floats",
                    place=place,
                    expected=f"{conversion.dtype} numbers that depend on an input",
                    received="a constant" if not isinstance(value, Value) else str(value.dtype),
                )
            standard = conversion.arranger.standard(value)
            node = standard.node
            if isinstance(node, Input) or id(node) in places:
                node = conversion.call(Activation("identity"), node)
            places[id(node)] = number
            nodes.append(node)
        if not nodes:
            raise StorageError(model_file.PROBLEM, expected="an output", received="a graph without")
        unused = self._unused(nodes)
        if unused:
            raise StorageError(
                "an input of the ONNX model is not used",
                place=", ".join(unused),
                expected="inputs that an output depends on",
                hint=f"load(…, constants={{{unused[0]!r}: array}}), or remove it from the model",
            )
        inputs = list(self.inputs.values())
        found = Graph(
            inputs[0] if len(inputs) == 1 else inputs, nodes[0] if len(nodes) == 1 else nodes
        )
        try:
            found.build(rng=0, dtype=conversion.dtype)
        except ChainruleError as error:
            raise StorageError(
                "the ONNX model does not fit together", received=f"{error.problem}"
            ) from error
        return found

    def _unused(self, nodes: list[Any]) -> list[str]:
        stack, seen = list(nodes), set()
        while stack:
            node, _ = stack.pop().origin
            if id(node) not in seen:
                seen.add(id(node))
                stack.extend(node.sources)
        return [name for name, node in self.inputs.items() if id(node) not in seen]


def _weight(array: Any, name: str) -> Constant:
    is_learned = array.dtype.kind == "f" and array.size > 1
    return Constant(array, is_learned, origin=frozenset([name]))


def _tensor_type(entry: Any) -> Any:
    if not entry.type.HasField("tensor_type"):
        raise StorageError(
            "an input of the ONNX model is not an array",
            place=f"input {entry.name!r:.80}",
            expected="a tensor",
            received=str(entry.type.WhichOneof("value")),
        )
    return entry.type.tensor_type


def _sizes(entry: Any) -> list[int | None]:
    """The shape of an input, None for axes of any size."""
    kind = _tensor_type(entry)
    if not kind.HasField("shape"):
        raise StorageError(
            "the shape of an input of the ONNX model is not known",
            place=f"input {entry.name!r:.80}",
            expected="a number of axes",
            received="a tensor without a shape",
            hint="onnx.shape_inference may find it",
        )
    sizes = [one.dim_value if one.HasField("dim_value") else None for one in kind.shape.dim]
    sizes = [None if n == -1 else n for n in sizes]  # how some programs write any size
    if len(sizes) > model_file.RANK_LIMIT or any(
        n is not None and not 0 <= n < 2**31 for n in sizes
    ):
        raise StorageError(
            model_file.PROBLEM,
            place=f"input {entry.name!r:.80}",
            expected="sizes",
            received=f"{sizes!s:.80}",
        )
    return sizes
