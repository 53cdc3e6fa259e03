"""The bytes of an ONNX model, checked before anything is made of them.

A model is a protobuf message: a graph of named values, nodes in the order in which they can be
computed, and the weights as tensors. It may come from anywhere, so nothing in it is trusted:

    a tensor      has as many bytes as its shape says, or is refused before it is made
    a file        of weights lies in the folder of the model, and is read only if a path was given
    a name        is computed once, and before it is used: no cycles
    a function    is written out in full, up to a number of nodes that no real model has
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from attrs import define, frozen

from chainrule import files
from chainrule.core.errors import ConfigurationError, StorageError
from chainrule.core.extras import required
from chainrule.core.terminal import described
from chainrule.interop.onnx.reading.folding import dtype_of
from chainrule.interop.onnx.reading.values import RefusedError

NODES_LIMIT = 20_000
"""The largest number of nodes, with all functions written out."""

SPARE = 2**27
"""Numbers that may always be computed from weights and shapes, besides four times the weights."""

RANK_LIMIT = 16
"""The largest number of axes of a tensor."""

DEFAULT_DOMAINS = ("", "ai.onnx")

PROBLEM = "this is not an ONNX model that can be read"


@define
class Allowance:
    """How many numbers may still be computed while a model is read.

    A weight can be used by any number of nodes, and each may copy it.
    """

    left: int

    def spend(self, count: int) -> None:
        """Count numbers that were made; raises if there are too many."""
        self.left -= count
        if self.left < 0:
            raise StorageError(
                "the ONNX model describes a larger model than its weights can fill",
                expected="layers for the numbers in the file",
                received="copies of the same weights in too many layers, or too large constants",
            )


@frozen
class Source:
    """An ONNX model and where it came from.

    Attributes
    ----------
    model
        The ModelProto.
    place
        The path for error messages, if there is one.
    folder
        Where files of weights may lie; None for a model that did not come from a path.
    """

    model: Any
    place: str | None
    folder: Path | None


def read(given: Any) -> Source:
    """The model in a file, in bytes, or in memory.

    Raises
    ------
    StorageError
        If it cannot be read, or is not a model.
    ConfigurationError
        If what is given is neither a path, nor bytes, nor a ModelProto.
    """
    onnx = required("onnx", "reading an ONNX model needs")
    if isinstance(given, onnx.ModelProto):
        return Source(given, None, None)
    if isinstance(given, bytes | bytearray | memoryview):
        return Source(_parsed(onnx, bytes(given), None), None, None)
    if not isinstance(given, str | os.PathLike):
        raise ConfigurationError(
            "load: this is nothing that a model can be read from",
            place="source",
            expected="a path, the bytes of a file, or an onnx.ModelProto",
            received=described(given),
            hint='pass the name of a file, such as "model.onnx"',
        )
    place = os.fspath(given)
    content = files.read(place, "an ONNX model")
    folder = files.resolved(place).parent
    return Source(_parsed(onnx, content, place), place, folder)


def _parsed(onnx: Any, content: bytes, place: str | None) -> Any:
    model = onnx.ModelProto()
    try:
        model.ParseFromString(content)
    except Exception as error:  # the kind depends on the implementation of protobuf
        raise StorageError(
            PROBLEM,
            place=place,
            expected="the bytes of an ONNX model, complete and unchanged",
            received=f"{len(content):,} bytes: {error!s:.100}",
        ) from error
    if not model.HasField("graph"):
        raise StorageError(
            PROBLEM, place=place, expected="a graph", received=f"{len(content):,} bytes without one"
        )
    return model


def versions(model: Any) -> dict[str, int]:
    """The version of each domain of operators; raises if that of ONNX itself is not known."""
    onnx = required("onnx", "reading an ONNX model needs")
    found = {"" if one.domain in DEFAULT_DOMAINS else one.domain: one.version
             for one in model.opset_import}  # fmt: skip
    newest = onnx.defs.onnx_opset_version()
    if not 1 <= found.get("", 0) <= newest:
        raise StorageError(
            "the version of the operators is unknown",
            expected=f"an opset of ONNX from 1 to {newest}",
            received=", ".join(f"{name or 'ai.onnx'} {number}" for name, number in found.items())
            or "none",
            hint="install a newer onnx" if found.get("", 0) > newest else None,
        )
    return found


def array_of(tensor: Any, folder: Path | None) -> npt.NDArray[Any]:
    """The array in a TensorProto.

    Raises
    ------
    StorageError
        If it has not the numbers that its shape asks for, or they are in a file that is out of
        bounds.
    """
    onnx = required("onnx", "reading an ONNX model needs")
    shape, name = tuple(tensor.dims), f"tensor {tensor.name!r:.80}"
    try:
        dtype = dtype_of(tensor.data_type)
    except RefusedError as error:
        raise StorageError(
            "a tensor has numbers of an element type that is not supported",
            place=name,
            expected="floats, doubles, integers or truth values",
            received=str(error),
        ) from error
    if len(shape) > RANK_LIMIT or any(n < 0 for n in shape):
        raise StorageError(PROBLEM, place=name, expected="sizes", received=f"{shape!s:.100}")
    count = math.prod(shape)
    if tensor.data_location == onnx.TensorProto.EXTERNAL:
        return _external(tensor, dtype, shape, folder, name)
    if tensor.HasField("raw_data"):
        held = len(tensor.raw_data) // dtype.itemsize
        is_whole = len(tensor.raw_data) == count * dtype.itemsize
    else:
        held = max(len(tensor.float_data), len(tensor.double_data), len(tensor.int32_data),
                   len(tensor.int64_data), len(tensor.uint64_data))  # fmt: skip
        is_whole = held == count
    if not is_whole:
        raise StorageError(
            "a tensor does not have the numbers that its shape asks for",
            place=name,
            expected=f"{count:,} numbers for the shape {shape!s:.80}",
            received=f"{held:,}",
            hint="the file is damaged or incomplete",
        )
    found: npt.NDArray[Any] = onnx.numpy_helper.to_array(tensor)
    return np.reshape(found, shape).astype(dtype)


def _external(
    tensor: Any, dtype: np.dtype[Any], shape: tuple[int, ...], folder: Path | None, name: str
) -> npt.NDArray[Any]:
    """The numbers of a tensor that are in a file beside the model, and nowhere else."""
    entries = {entry.key: entry.value for entry in tensor.external_data}
    location = entries.get("location", "")
    if folder is None:
        raise StorageError(
            "the weights are in another file",
            place=name,
            received=f"a model in memory, with weights in {location!r:.80}",
            hint="pass the path of the model: weights are read from its folder alone",
        )
    root = os.path.realpath(folder)
    target = os.path.realpath(os.path.join(root, location)) if "\0" not in location else root
    if os.path.isabs(location) or os.path.commonpath([root, target]) != root or target == root:
        raise StorageError(
            "a file of weights is outside the folder of the model",
            place=name,
            expected="the name of a file in that folder",
            received=f"{location!r:.80}",
        )
    numbers = {key: entries.get(key) for key in ("offset", "length")}
    if not all(text is None or (re.fullmatch("[0-9]{1,18}", text)) for text in numbers.values()):
        raise StorageError(
            PROBLEM, place=name, expected="an offset and a length", received=f"{numbers!r:.80}"
        )
    need, offset = math.prod(shape) * dtype.itemsize, int(numbers["offset"] or 0)
    with files.reading(target, "the weights of an ONNX model") as file:
        size = os.fstat(file.fileno()).st_size
        if int(numbers["length"] or need) != need or offset + need > size:
            raise StorageError(
                "a file of weights does not have the numbers of a tensor",
                place=name,
                expected=f"{need:,} bytes from {offset:,} on",
                received=f"a file of {size:,} bytes; length {numbers['length']}",
                hint="the file is damaged or incomplete",
            )
        file.seek(offset)
        content = file.read(need)
    found = np.frombuffer(content, dtype.newbyteorder("<")).astype(dtype)
    return np.reshape(found, shape)


# ------------------------------------------------------------------------------- nodes


@frozen
class Step:
    """A node of the graph, with the functions around it written out.

    Attributes
    ----------
    domain, operator, name
        What it is, and its name for messages.
    inputs, outputs
        The names of its values; "" is one that is left out.
    attributes
        Its AttributeProtos by name.
    """

    domain: str
    operator: str
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any]


def step_of(node: Any, number: int, names: Mapping[str, str], given: Mapping[str, Any]) -> Step:
    """A NodeProto as a step, inside a function with other names and attributes that are given."""
    attributes = {}
    for attribute in node.attribute:
        if not attribute.ref_attr_name:
            attributes[attribute.name] = attribute
        elif attribute.ref_attr_name in given:
            attributes[attribute.name] = given[attribute.ref_attr_name]
    return Step(
        "" if node.domain in DEFAULT_DOMAINS else node.domain,
        node.op_type,
        node.name or f"node {number}",
        tuple(names.get(name, name) for name in node.input),
        tuple(names.get(name, name) for name in node.output),
        attributes,
    )


def steps(graph: Any) -> Iterator[Step]:
    """The nodes of a graph."""
    for number, node in enumerate(graph.node):
        yield step_of(node, number, {}, {})


def body(function: Any, step: Step, prefix: str) -> list[Step]:
    """The nodes of a function that a step calls, with names that no other call has."""
    names: dict[str, str] = {"": ""}
    names.update(zip(function.input, step.inputs, strict=False))
    names.update((name, "") for name in list(function.input)[len(step.inputs) :])
    names.update(zip(function.output, step.outputs, strict=False))
    given = {attribute.name: attribute for attribute in function.attribute_proto}
    given.update(step.attributes)
    for node in function.node:
        for name in node.output:
            names.setdefault(name, f"{prefix}/{name}")
    return [step_of(node, number, names, given) for number, node in enumerate(function.node)]
