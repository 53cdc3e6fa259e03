"""The layers that only ONNX needs obey the laws, and compute what NumPy computes."""

from __future__ import annotations

import math

import numpy as np
import pytest

from chainrule import Activation, check_layer
from chainrule.core.errors import ConfigurationError, ShapeError

pytestmark = pytest.mark.edges

from chainrule.interop.onnx.reading import layers  # noqa: E402
from chainrule.interop.onnx.reading.functions import FUNCTIONS, Elementwise  # noqa: E402

NUMBERS = {
    "Celu": (0.8,), "Clip": (-0.5, 0.7), "Divide": (1.5,), "HardSigmoid": (0.2, 0.5),
    "Maximum": (0.3,), "Minimum": (0.3,), "Over": (1.5,), "Plus": (0.5,), "Power": (2.0,),
    "PowerOf": (1.5,), "Shrink": (0.5, 0.2), "Swish": (1.3,), "ThresholdedRelu": (0.4,),
    "Times": (-0.5,),
}  # fmt: skip
"""The numbers that a function has besides z."""

DOMAINS = {
    "Acos": (-0.9, 0.9), "Acosh": (1.1, 3.0), "Asin": (-0.9, 0.9), "Atanh": (-0.9, 0.9),
    "Inverse": (0.5, 2.0), "Log": (0.5, 2.0), "Over": (0.5, 2.0), "Reciprocal": (0.5, 2.0),
    "Sqrt": (0.5, 2.0), "Tan": (-1.2, 1.2),
}  # fmt: skip
"""Where a function is defined, if not everywhere."""


def positive(shape):
    return np.random.default_rng(1).uniform(0.5, 2.0, shape)


@pytest.mark.parametrize("name", sorted(FUNCTIONS))
def test_every_function_has_its_derivative(name):
    low, high = DOMAINS.get(name, (-2.0, 2.0))
    rng = np.random.default_rng(0)
    report = check_layer(
        Activation(Elementwise(name, NUMBERS.get(name, ()))),
        (4,),
        inputs=lambda shape: rng.uniform(low, high, shape),
    )
    assert report, report


LAYERS = [
    (layers.Weights((2, 3)), (4,)),
    (layers.Weights((2,), learned=False), (4, 2)),
    (layers.Scale((1, 3)), (4, 3)),
    (layers.Scale((4, 1), learned=False), (4, 3)),
    (layers.Shift((1, 3)), (4, 3)),
    (layers.Shift((4, 1), learned=False), (4, 3)),
    (layers.Mix(2, 4, 1), (4, 3)),
    (layers.Unsqueeze((1, 3)), (4, 3)),
    (layers.Positions(1), (4, 3)),
    (layers.Regroup(1, (-1, 2)), (3, 2, 4)),
    (layers.Take(1, 1), (4, 3)),
    (layers.Take((2, 0, 2, -1), 2), (4, 3)),
    (layers.Expand((4, 3)), (4, 1)),
    (layers.Border(((1, 0), (0, 2)), 0.5), (2, 3)),
    (layers.MatrixProduct(), ((2, 3, 4), (4, 2))),
    (layers.Einsum("nij,nkj->nki"), ((2, 3), (4, 3))),
    (layers.Einsum("njk,ij->nk", (2, 3)), (3, 4)),
    (layers.Einsum("nij,nj,j->n", (3,), learned=False), ((2, 3), (3,))),
    (layers.Einsum("ni,->n", ()), (3,)),
    (layers.Where(), ((3,), (2, 1), (3,))),
    (layers.LogSoftmax(), (2, 5)),
    (layers.ResetFirst(3), ((4,), (3,))),
    (layers.WideMaxPool(3, 2, amounts=((1, 1), (1, 0)), dilation=(1, 2), ceil=True), (6, 7, 2)),
    (layers.WideAveragePool(3, 2, amounts=((1, 1), (1, 0)), dilation=(1, 2), ceil=True), (6, 7, 2)),
]


@pytest.mark.parametrize(("layer", "shape"), LAYERS, ids=lambda one: repr(one))
def test_every_layer_obeys_the_laws(layer, shape):
    report = check_layer(layer, shape)
    assert report, report


@pytest.mark.parametrize("name", sorted(layers.REDUCTIONS))
@pytest.mark.parametrize("axes", [(1,), (1, 3)])
def test_every_reduction_obeys_the_laws(name, axes):
    inputs = positive if name == "LogSum" else None
    report = check_layer(layers.Reduce(name, axes), (2, 3, 2), inputs=inputs)
    assert report, report


@pytest.mark.parametrize("name", sorted(layers.BINARY))
def test_every_function_of_two_obeys_the_laws(name):
    inputs = positive if name in ("Div", "Pow") else None
    report = check_layer(layers.Binary(name), ((2, 3), (3,)), inputs=inputs)
    assert report, report


def test_a_product_of_entries_that_are_zero_has_the_right_gradient():
    layer = layers.Reduce("Prod", (1,))
    layer.forward(np.array([[2.0, 0.0, 3.0], [0.0, 0.0, 3.0]]))
    assert np.array_equal(layer.backward(np.ones(2)), [[0, 6, 0], [0, 0, 0]])


def test_at_a_tie_the_largest_share_the_gradient():
    layer = layers.Reduce("Max", (1,))
    layer.forward(np.array([[2.0, 1.0, 2.0], [3.0, 0.0, 0.0]]))
    assert np.array_equal(layer.backward(np.ones(2)), [[0.5, 0, 0.5], [1, 0, 0]])
    for name in ("Max", "Min"):  # as the docstring says, it is the second
        layer = layers.Binary(name)
        layer.build((2,), (2,))
        layer.forward(np.ones((1, 2)), np.ones((1, 2)))
        of_a, of_b = layer.backward(np.ones((1, 2)))
        assert not of_a.any() and of_b.all()


def test_a_vector_of_zeros_has_the_gradient_zero_of_its_length():
    layer = layers.Reduce("L2", (1,))
    layer.forward(np.array([[3.0, 4.0], [0.0, 0.0]]))
    assert np.allclose(layer.backward(np.ones(2)), [[0.6, 0.8], [0, 0]])


def test_large_numbers_do_not_overflow():
    z = np.array([[1000.0, 1001.0], [-1000.0, -1001.0]])
    assert np.allclose(layers.LogSoftmax()(z), z - np.logaddexp.reduce(z, axis=1)[:, np.newaxis])


def test_erf_is_exact():
    z = np.concatenate([np.linspace(-6, 6, 2001), [0.0, 1e-300, 1e-9, 40.0, -40.0]])
    found = Elementwise("Erf").value(z)
    assert np.allclose(found, np.vectorize(math.erf)(z), rtol=1e-14, atol=0)


@pytest.mark.parametrize("make", [layers.Binary, lambda name: layers.Reduce(name, (1,))])
def test_an_unknown_operator_is_a_named_error(make):
    with pytest.raises(ConfigurationError, match="unknown operator"):
        make("Nothing")


@pytest.mark.parametrize(
    ("layer", "shapes"),
    [
        (layers.Take(5, 1), [(3,)]),
        (layers.Scale((2, 3)), [(3,)]),
        (layers.Mix(2, 4, 1), [(3,)]),
        (layers.Border(((1, 1),)), [(3, 3)]),
        (layers.Positions(2), [(2,)]),
        (layers.Regroup(1, (4,)), [(2, 3)]),
        (layers.MatrixProduct(), [(2, 3), (2, 3)]),
        (layers.Einsum("nij,njk->nik"), [(2, 3), (2, 3)]),
        (layers.Einsum("ni->nj"), [(2,)]),
        (layers.Einsum("nii->n"), [(2, 2)]),
        (layers.Binary("Div"), [(2,), (3,)]),
        (layers.Where(), [(2,), (3,), (2,)]),
        (layers.Reduce("Sum", (3,)), [(2,)]),
    ],
    ids=lambda one: repr(one),
)
def test_rows_that_do_not_fit_are_a_named_error(layer, shapes):
    with pytest.raises(ShapeError, match=type(layer).__name__):
        layer.build(*shapes)
