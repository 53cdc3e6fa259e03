"""Sums of products: Einsum, and the products of MatMul that are not those of a `Dense`.

    y_out = Σ a_in b_in …        in letters, one for each axis; the batch is the first of ours

A letter that ONNX has for the batch is one letter here, or several where the batch is joined with
other axes. Axes of size 1 that an array lacks have no letter.
"""

from __future__ import annotations

from collections.abc import Sequence
from string import ascii_letters
from typing import Any

import numpy as np

from chainrule.interop.onnx.reading.conversion import Outputs, Site
from chainrule.interop.onnx.reading.layers import Einsum
from chainrule.interop.onnx.reading.values import Constant, RefusedError, Value


def einsum(site: Site) -> Outputs:
    """`Einsum`, with letters for what an ellipsis stands for."""
    text = "".join(str(site.attributes["equation"]).split())
    given, arrow, output = text.partition("->")
    several, ranks = given.split(","), _ranks(site)
    if len(several) != len(ranks) or len(text) > 100:
        raise RefusedError(f"equation={text!r:.60} for {len(ranks)} inputs")
    if not arrow:
        once = sorted(c for c in {*given} - {*",."} if given.count(c) == 1)
        output = "..." * ("..." in given) + "".join(once)
    unused = [c for c in ascii_letters if c not in text]
    hidden = [n - len(own.replace("...", "")) for n, own in zip(ranks, several, strict=True)]
    dots = "".join(unused[: max(hidden)])
    letters = [
        own.replace("...", dots[len(dots) - n :]) for n, own in zip(hidden, several, strict=True)
    ]
    return summed(site, letters, output.replace("...", dots))


def product(site: Site) -> Value:
    """What MatMul computes of arrays of any number of axes."""
    a, b = _ranks(site)
    outer = ascii_letters[: max(a, b, 2) - 2]
    of_a = outer[len(outer) + 2 - a :] + "YZ" if a > 1 else "Z"
    of_b = outer[len(outer) + 2 - b :] + "ZX" if b > 1 else "Z"
    return summed(site, [of_a, of_b], outer + "Y" * (a > 1) + "X" * (b > 1))


def _ranks(site: Site) -> list[int]:
    return [one.rank for one in site.inputs if one is not None]


def summed(site: Site, letters: Sequence[str], output: str) -> Value:
    """The sum of the products of the inputs, over the letters that are not in the output."""
    if any(len(own) != n or len({*own}) < n for own, n in zip(letters, _ranks(site), strict=True)):
        raise RefusedError("a letter stands for two axes of an input, or for none")
    pairs = [*zip(site.inputs, letters, strict=True)]
    values = [(one, own) for one, own in pairs if isinstance(one, Value)]
    unused = [c for c in ascii_letters if c not in "".join([*letters, output])]
    batches = {own[one.batch] for one, own in values if one.batch is not None}
    groups = {_joined(one) for one, _ in values if one.batch is not None}
    batch = batches.pop() if batches else unused.pop()
    if batches or len(groups) > 1 or (groups and batch not in output):
        raise RefusedError("the batch is not the same axis of all inputs, and of the output")
    joined = groups.pop() if groups else (0,)
    inside = "".join(batch if not n else unused.pop() for n in joined)
    parts, nodes = [], []
    for one, own in values:
        whole = one.ungrouped
        places = {n: c for n, c in zip(whole.axes, own.replace(batch, inside), strict=True) if n}
        parts.append(batch + "".join(places[n] for n in sorted(places)))
        nodes.append(whole.node)
    arrays: dict[str, Any] = {}
    options: dict[str, Any] = {}
    weights: list[str] = []
    for number, (constant, own) in enumerate(pairs):
        if not isinstance(constant, Constant):
            continue
        array = site.array(number, "weights", may_be_open=True)
        kept = "".join(c for c, size in zip(own, array.shape, strict=True) if size != 1)
        if batch in kept:
            raise RefusedError("a constant is different for each row of the batch")
        array = np.squeeze(array)
        if weights:  # the layer has one array of its own
            parts.append(batch + kept)
            nodes.append(site.model.weights(constant.as_array(array), array.shape, nodes[0]))
        else:
            weights, arrays = [kept], {"weights": array}
            options = {"shape": array.shape, "learned": constant.is_learned}
    known, spread = "".join([*parts, *weights]), output.replace(batch, inside)
    row = [c for c in spread if c in known and c != batch]
    layer = Einsum(f"{','.join([*parts, *weights])}->{batch}{''.join(row)}", **options)
    axes = [0 if c == batch else row.index(c) + 1 if c in row else None for c in spread]
    found = Value(site.call(layer, *nodes, **arrays), tuple(axes), site.dtype)
    return found.grouped(output.find(batch), len(inside))


def _joined(value: Value) -> tuple[int, ...]:
    """For each axis that is joined with the batch its size; 0 for the batch itself."""
    return tuple((value.row[n - 1] or -1) if n else 0 for n in value.group) or (0,)
