"""The page of all layers: its tables list all of them, with the cost that they have."""

from __future__ import annotations

import contextlib
import io
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.lib.mixins import NDArrayOperatorsMixin
from site_builder.blocks import blocks_of, parts_of

import chainrule
from chainrule import Layer, SpectralConvolution
from chainrule.core.input_checks import as_tuple, one_or_tuple

PAGE = Path(__file__).parents[1] / "docs" / "layers" / "all.md"


@pytest.fixture(scope="module")
def page() -> dict[str, Any]:
    """The names that the blocks of the page define."""
    names: dict[str, Any] = {}
    with contextlib.redirect_stdout(io.StringIO()):
        for block in blocks_of(parts_of(PAGE.read_text("utf-8")), "python"):
            exec(block.content, names)
    return names


class Counted(NDArrayOperatorsMixin):
    """An array that counts the multiplications of the products of matrices that it is part of."""

    products = 0

    def __init__(self, array):
        self.array = array

    def __getattr__(self, name):
        found = getattr(self.array, name)
        return (lambda *a, **k: wrapped(found(*a, **k))) if callable(found) else wrapped(found)

    def __len__(self):
        return len(self.array)

    def __getitem__(self, index):
        return wrapped(self.array[bare(index)])

    def __setitem__(self, index, value):
        self.array[bare(index)] = bare(value)

    def __array_ufunc__(self, ufunc, method, *inputs, **options):
        if ufunc is np.matmul:
            count(*bare(inputs))
        return wrapped(getattr(ufunc, method)(*bare(inputs), **bare(options)))

    def __array_function__(self, function, types, arguments, options):
        if function is np.dot:
            count(*bare(arguments)[:2])
        return wrapped(function(*bare(arguments), **bare(options)))


def count(left, right):
    """Add the multiplications of a product of matrices, except those by a column of ones.

    Such a column adds biases to a product.
    """
    if left.ndim > 1 and right.ndim > 1:
        right = np.swapaxes(right, -1, -2)
        inner = (left != 1).any(axis=tuple(range(left.ndim - 1)))
        inner &= (right != 1).any(axis=tuple(range(right.ndim - 1)))
        stacked = math.prod(np.broadcast_shapes(left.shape[:-2], right.shape[:-2]))
        Counted.products += stacked * left.shape[-2] * right.shape[-2] * int(inner.sum())


def wrapped(thing):
    if isinstance(thing, tuple | list):
        return type(thing)(map(wrapped, thing))
    return Counted(thing) if isinstance(thing, np.ndarray) else thing


def bare(thing):
    if isinstance(thing, Counted):
        return thing.array
    if isinstance(thing, tuple | list):
        return type(thing)(map(bare, thing))
    return {key: bare(value) for key, value in thing.items()} if isinstance(thing, dict) else thing


def batch_for(layer, size=3):
    """Numbers other than 1, which are also tokens."""
    rng = np.random.default_rng(0)
    return [rng.integers(2, 7, (size, *row)) * 1.0 for row in layer.input_shapes]


def multiplications(call, *arrays):
    """Those of a method, and what it returns."""
    Counted.products = 0
    result = call(*map(wrapped, arrays))
    return Counted.products, result


def test_the_costs_are_those_of_the_products_that_a_layer_computes(page):
    counted, told = {}, {}
    for call, (layer, cost) in page["costs"].items():
        if isinstance(layer, SpectralConvolution):  # the page says why
            continue
        batch = batch_for(layer)
        applied, _ = multiplications(layer, *batch)
        forward, y = multiplications(layer.forward, *batch)
        backward, _ = multiplications(
            layer.backward, one_or_tuple([np.full(part.shape, 0.5) for part in as_tuple(y)])
        )
        counted[call], told[call] = (applied, forward, backward), (3 * cost, 3 * cost, 6 * cost)
    assert counted == told
    assert sum(cost > 0 for cost, _, _ in told.values()) > 15


def test_a_wrong_row_of_a_table_is_an_error(page):
    row = ("Dense(F)", "z = y w + b", "(C,)", "(F,)", "C*F + F", "C*F")
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        page["table"](row)
    assert "| [`Dense(F)`][chainrule.Dense] | $z = y w + b$ |" in printed.getvalue()
    for wrong in ((*row[:3], "(C,)", *row[4:]), (*row[:4], "C*F", row[5])):
        with pytest.raises(AssertionError, match=r"Dense\(F\): \(\(4,\), 28\), but"):
            page["table"](wrong)


def test_every_layer_is_on_the_page(page):
    listed = {type(layer).__name__ for layer, _ in page["costs"].values()}
    layers = {
        name
        for name in chainrule.__all__
        if isinstance(thing := getattr(chainrule, name), type) and issubclass(thing, Layer)
    }
    assert listed == layers - {"Layer", "Formula"}  # which others derive from


def test_the_layers_that_differ_after_training_are_the_ones_that_the_page_names(page):
    """Where `forward` and `apply` of the same rows give other numbers."""
    differ = set()
    for layer, _ in page["costs"].values():
        rows = batch_for(layer)
        after, training = layer(*rows), layer.forward(*rows)
        if not np.array_equal(after, training):
            differ.add(type(layer).__name__)
    told = PAGE.read_text("utf-8").partition("## Training and inference")[2]
    cells = re.findall(r"^\| (`.*?) \| ", told.partition("\n## ")[0], re.MULTILINE)
    named = {name for cell in cells for name in re.findall(r"`([A-Z]\w+)`", cell)}
    # with a `rate`, and with a carried state
    assert differ | {"TransformerBlock", "SimpleRNN", "LSTM", "GRU"} == named
