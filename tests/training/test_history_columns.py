"""The columns of a history: named after the layers that the outputs come from."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from attrs import define

from chainrule import Activation, Dense, Graph, Input, Layer, Sequential, losses
from chainrule.core.errors import ConfigurationError
from chainrule.training.history_columns import Columns, output_names
from chainrule.training.metrics import by_output, named

TWO = losses.PerOutput([losses.HalfSquaredError(), losses.HalfSquaredError()])


@define
class Splits(Layer):
    """The first number of each row, and the others."""

    def forward(self, x: Any) -> Any:
        return x[:, :1], x[:, 1:]

    def backward(self, delta: Any) -> Any:
        return np.concatenate(delta, axis=1)


def heads() -> Graph:
    x = Input((3,))
    h = Dense(4)(x)
    return Graph(x, [Dense(1)(h), Dense(2)(h)])


def of_containers() -> Graph:
    x = Input((3,))
    left, right = (Sequential([Dense(n), Activation("tanh")])(x) for n in (1, 2))
    return Graph(x, [left, right])


def of_an_input() -> Graph:
    x = Input((3,), name="image")
    return Graph(x, [x, Dense(2)(x)])


def of_the_same_twice() -> Graph:
    x = Input((3,))
    h = Dense(2)(x)
    return Graph(x, [h, h])


def of_a_split() -> Graph:
    x = Input((3,))
    one, other = Splits()(x)
    return Graph(x, [Dense(2)(one), other])


@pytest.mark.parametrize(
    ("model", "names"),
    [
        (heads(), ["dense_2", "dense_3"]),
        (Sequential([Dense(3), heads()]), ["dense_2", "dense_3"]),
        (Sequential([Sequential([Dense(3), heads()])]), ["dense_2", "dense_3"]),
        (of_containers(), ["sequential_1", "sequential_2"]),
        (of_an_input(), ["image", "dense_1"]),
        (of_the_same_twice(), ["output_1", "output_2"]),
        (of_a_split(), ["output_1", "output_2"]),
        (Splits(), ["output_1", "output_2"]),
        (Sequential([Dense(3), Splits()]), ["output_1", "output_2"]),
    ],
)
def test_outputs_are_called_as_the_model_prints_them_or_by_their_number(
    model: Layer, names: list[str]
) -> None:
    model.build((3,), rng=0)
    assert output_names(model) == names
    assert Columns.of(model, TWO, {}).names == ["loss", *(f"{name}_loss" for name in names)]


def test_asking_for_the_names_leaves_no_trace_in_the_model() -> None:
    model, same = heads(), heads()
    model.build(rng=0)
    same.build(rng=0)
    x = np.ones((2, 3))
    before = model.forward(x)
    output_names(model)
    model.backward(tuple(np.ones_like(y) for y in before))
    same.forward(x)
    same.backward(tuple(np.ones_like(y) for y in before))
    np.testing.assert_array_equal(model.parameters.grad, same.parameters.grad)


def test_metrics_of_a_name_and_of_a_number_go_together_in_the_order_of_the_outputs() -> None:
    model = heads()
    model.build(rng=0)
    metrics = by_output(
        {"dense_3": ["mean_squared_error"], 1: ["mean_absolute_error"], 0: [losses.Huber()]}, 2
    )
    columns = Columns.of(model, TWO, metrics)
    assert columns.names[3:] == [
        "dense_2_huber",
        "dense_3_mean_absolute_error",
        "dense_3_mean_squared_error",
    ]
    y, t = (np.ones((4, 1)), np.ones((4, 2))), (np.zeros((4, 1)), -np.ones((4, 2)))
    assert dict(columns.measured(y, t)) == {
        "dense_2_huber": 0.5,
        "dense_3_mean_absolute_error": 2.0,
        "dense_3_mean_squared_error": 4.0,
    }


def test_one_output_has_the_loss_and_the_metrics_by_their_own_names() -> None:
    model = Dense(2)
    model.build((3,), rng=0)
    loss = losses.HalfSquaredError()
    columns = Columns.of(model, loss, named(["mean_absolute_error"], loss))
    assert columns.names == ["loss", "mean_absolute_error"]
    y, t = np.ones((4, 2)), np.zeros((4, 2))
    assert list(columns.measured(y, t)) == [("mean_absolute_error", 1.0)]


def test_two_columns_of_one_name_are_refused() -> None:
    def loss(y: Any, t: Any) -> Any:
        return 0.0

    def b_c(y: Any, t: Any) -> Any:
        return 0.0

    def c(y: Any, t: Any) -> Any:
        return 0.0

    x, other = Input((3,), name="a"), Input((3,), name="a_b")
    model = Graph([x, other], [x, other])
    model.build((3,), (3,), rng=0)
    with pytest.raises(ConfigurationError, match="'a_b_c'"):
        Columns.of(model, TWO, by_output([[b_c], [c]], 2))
    with pytest.raises(ConfigurationError, match="'loss'"):
        by_output([[loss], []], 2)


def test_named_outputs_keep_their_names():
    x = Input((3,))
    model = Graph(x, {"digit": Dense(2)(x), "drift": Dense(1)(x)})
    model.build(rng=0)
    assert output_names(model) == ["digit", "drift"]
