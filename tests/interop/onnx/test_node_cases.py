"""ONNX's own cases, one or more for each operator: all that load give the right numbers.

Every input but the data counts as known: weights and shapes are given by ``constants=``. A case is
loaded with its rows along axis 0, or along axis 1, as recurrent layers have them; and once more as
a single row, where the whole input is compared with the whole output.
"""

from __future__ import annotations

import warnings
from collections import Counter
from functools import cache

import numpy as np
import pytest

from chainrule.core.errors import ConfigurationError, StorageError

pytestmark = pytest.mark.edges

from onnx import defs  # noqa: E402
from onnx.backend.test.case.node import collect_testcases  # noqa: E402

from chainrule.interop import onnx  # noqa: E402
from chainrule.interop.onnx.reading.operators import OPERATORS  # noqa: E402

AT_LEAST = 400
"""How many cases load: with ONNX 1.23 they are 651. Older versions have fewer cases."""

TWO_OF_DATA = {
    "Add", "Concat", "Div", "Equal", "Greater", "Less", "MatMul", "Max", "Mean", "Min", "Mul",
    "PRelu", "Pow", "Sub", "Sum",
}  # fmt: skip
"""Operators all of whose inputs may be data."""


@cache
def cases():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the cases themselves overflow
        found = collect_testcases(None)
    return [case for case in found if case.data_sets and are_arrays(case.data_sets)]


def are_arrays(data_sets):
    arrays = [one for given, expected in data_sets for one in (*given, *expected)]
    return all(isinstance(one, np.ndarray | np.generic) for one in arrays) and all(
        one for one, _ in data_sets
    )


def choices_of_data(case, count):
    """Which inputs are data: the first, or if that cannot be, others."""
    nodes = case.model.graph.node
    if len(nodes) == 1 and nodes[0].op_type in TWO_OF_DATA and count > 1:
        return [list(range(count)), [0]]
    if len(nodes) == 1 and nodes[0].op_type == "Gather":
        return [[0], [1]]
    return [[0]]


def agrees(found, expected, case, axis):
    """Whether an output is right, wherever ONNX has the batch."""
    where = range(expected.ndim) if axis is not None else [None]
    return any(
        np.shape(found) == np.shape(moved := rows_of(expected, place))
        and np.allclose(found, moved, rtol=case.rtol, atol=case.atol, equal_nan=True)
        for place in where
    )


def rows_of(array, axis):
    return array[np.newaxis] if axis is None else np.moveaxis(array, axis, 0)


def attempts(case):
    """Every way in which a case loads, with whether its numbers are right."""
    names = [one.name for one in case.model.graph.input]
    for data in choices_of_data(case, len(names)):
        for axis in (0, 1, None):
            given, expected = case.data_sets[0]
            constants = {
                name: np.asarray(given[n]) for n, name in enumerate(names) if n not in data
            }
            try:
                model = onnx.load(case.model, constants, {names[n]: axis for n in data})
            except (StorageError, ConfigurationError):
                continue
            rows = [rows_of(given[n], axis) for n in data]
            outputs = model(*rows)
            outputs = outputs if isinstance(outputs, tuple) else (outputs,)
            pairs = list(zip(outputs, expected, strict=True))
            yield axis, all(agrees(*pair, case, axis) for pair in pairs)


def test_every_case_that_loads_is_right(capsys):
    loaded, wrong = Counter(), []
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # logarithms of 0 and the like
        for case in cases():
            results = list(attempts(case))
            wrong += [(case.name, axis) for axis, is_right in results if not is_right]
            loaded[case.model.graph.node[-1].op_type] += bool(results)
    with capsys.disabled():
        listed = ", ".join(f"{name} {count}" for name, count in sorted(loaded.items()) if count)
        print(f"\nONNX's node cases: {loaded.total()} of {len(cases())} load: {listed}")
    assert wrong == []
    assert loaded.total() >= AT_LEAST


def test_every_operator_of_the_table_is_in_a_case():
    tried = {node.op_type for case in cases() for node in case.model.graph.node}
    assert {name for name in OPERATORS if defs.has(name)} <= tried
