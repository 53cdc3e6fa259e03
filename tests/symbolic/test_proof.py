"""prove_layer, prove_loss and prove_gradient: what is refuted, and what the reports say."""

from __future__ import annotations

import sys
import time
from typing import Any, ClassVar
from xml.etree import ElementTree

import numpy as np
import pytest

from chainrule import (
    LSTM,
    Activation,
    Add,
    BatchNorm,
    Convolution,
    Dense,
    Embedding,
    Flatten,
    Layer,
    LayerNorm,
    MultiHeadAttention,
    Residual,
    Sequential,
    lecture,
    losses,
    program,
    prove_gradient,
    prove_layer,
    prove_loss,
)
from chainrule.core.errors import (
    BuildError,
    ConfigurationError,
    DefinitionError,
    MissingExtraError,
    ShapeError,
)
from chainrule.layers.functions import Tanh as TanhFunction


class Linear(Layer):
    """x w, with a place for a fault."""

    fault: str = ""

    def build(self, input_shape: Any) -> None:
        self.w = self.parameter("w", (input_shape[0], input_shape[0]), "glorot_uniform")

    def forward(self, x: Any) -> Any:
        self.x = x
        return x @ self.w.value

    def backward(self, delta: Any) -> Any:
        gradient, below = self.x.T @ delta, delta @ self.w.value.T
        if self.fault == "average":
            gradient = gradient / len(delta)
        elif self.fault == "sum":
            gradient = gradient * len(delta)
        elif self.fault == "sign":
            below = -below
        elif self.fault == "transposed":
            gradient = gradient.T
        elif self.fault == "transposed weights":
            below = delta @ self.w.value
        elif self.fault == "omitted":
            gradient = 0 * gradient
        elif self.fault == "twice":
            self.w.accumulate(gradient)
        elif self.fault.startswith("1"):
            below = below * float(self.fault)
        self.w.accumulate(gradient)
        return below


@pytest.mark.parametrize(
    ("fault", "wrong", "diagnosis"),
    [
        ("average", "∂C/∂w", "It is 2 times too small, and 2 is the batch size"),
        ("sum", "∂C/∂w", "It is 2 times too large, and 2 is the batch size"),
        ("sign", "∂C/∂x", "It has the wrong sign"),
        ("transposed", "∂C/∂w", "It is transposed"),
        ("transposed weights", "∂C/∂x", ""),
        ("omitted", "∂C/∂w", "It is zero everywhere"),
        ("twice", "∂C/∂w", "Every entry is 2 times"),
        ("1.000000001", "∂C/∂x", "It is right to 9 digits"),
        ("1.0000000000001", "∂C/∂x", "It is right to 13 digits"),
    ],
)
def test_faults_are_refuted_with_their_diagnosis(fault: str, wrong: str, diagnosis: str) -> None:
    proof = prove_layer(Linear(fault), (3,))
    assert proof.status == "refuted"
    part = proof["backward"]
    assert part.reason == f"{wrong} is wrong."
    assert part.counterexample is not None
    assert diagnosis in part.counterexample.diagnosis
    assert proof.seconds < 5


class Square(Layer):
    """x², without the 2 in its derivative."""

    def forward(self, x: Any) -> Any:
        self.x = x
        return x * x

    def backward(self, delta: Any) -> Any:
        return self.x * delta


def test_a_factor_that_a_single_row_lacks_too_is_not_the_batch_size() -> None:
    found = prove_layer(Square(), (3,))["backward"].counterexample
    assert found is not None
    assert found.diagnosis.startswith("Every entry is 0.5 times what it should be")


def test_the_counterexample_is_simple_and_holds_in_doubles() -> None:
    layer = Linear("average")
    found = prove_layer(layer, (2,))["backward"].counterexample
    assert found is not None
    simple = {0.0, 1.0, -1.0, 2.0, 0.5}
    assert all(set(array.ravel()) <= simple for array in found.values.values())
    assert (found.entry, found.received, found.expected) == ("∂C/∂w[0, 0]", "1/2", "1")
    assert found.received_formula == "delta[0, 0]*x[0, 0]/2 + delta[1, 0]*x[1, 0]/2"
    assert found.expected_formula == "delta[0, 0]*x[0, 0] + delta[1, 0]*x[1, 0]"
    layer.build((2,))
    layer.w.value = found.values["w"]
    layer.forward(found.values["x"])
    layer.backward(found.values["delta"])
    right = found.values["x"].T @ found.values["delta"]
    assert (layer.w.grad[0, 0], right[0, 0]) == (0.5, 1.0)


def test_the_report_of_a_wrong_layer() -> None:
    text = str(prove_layer(Linear("average"), (1,)))
    head, *lines = text.splitlines()
    assert head.startswith(
        "Linear(fault='average'), rows of shape (1,) in batches of 2: refuted in"
    )
    assert lines[:12] == [
        "  ✗ backward    backward is the derivative of forward",
        "                ∂C/∂w is wrong.",
        "                It is 2 times too small, and 2 is the batch size: is there an average too"
        " many or",
        "                too few? The average belongs to the cost.",
        "                x = [[0],",
        "                     [1]]",
        "                w = [[0]]",
        "                delta = [[0],",
        "                         [1]]",
        "                ∂C/∂w[0, 0] is 1/2, but should be 1.",
        "                received  delta[0, 0]*x[0, 0]/2 + delta[1, 0]*x[1, 0]/2",
        "                expected  delta[0, 0]*x[0, 0] + delta[1, 0]*x[1, 0]",
    ]
    assert "Scope" not in text


def test_the_report_of_a_right_layer() -> None:
    proof = prove_layer(Linear(), (2,))
    assert proof
    assert str(proof).splitlines()[1:] == [
        "  ✓ backward    backward is the derivative of forward",
        "  ✓ accumulate  the gradients of two passes add up",
        "  ✓ rows        rows do not affect each other",
        "  ✓ inference   apply computes what forward computes",
        "  ✓ arrays      plain arrays give the same numbers",
        "  Scope: this layer at this shape, for all values, over the real numbers;",
        "  overflow and rounding are what check_layer is for.",
    ]
    assert [part.name for part in proof] == [
        "backward",
        "accumulate",
        "rows",
        "inference",
        "arrays",
    ]
    with pytest.raises(KeyError, match="there is no part 'forward'"):
        proof["forward"]


class Bent(Layer):
    """x for x < 3, else 3: with a slope that is right only on one side."""

    slope_beyond: float = 0.0

    def forward(self, x: Any) -> Any:
        self.x = x
        return np.minimum(x, 3.0)

    def backward(self, delta: Any) -> Any:
        return np.where(self.x < 3, delta, self.slope_beyond * delta)


def test_both_sides_of_a_comparison_are_visited() -> None:
    right = prove_layer(Bent(), (1,), batch=1)
    assert right.status == "proven"
    assert right.regions == [("x[0, 0] - 3 < 0",), ("x[0, 0] - 3 > 0",)]
    assert right.not_reached == []
    wrong = prove_layer(Bent(0.5), (1,), batch=1)
    assert wrong.status == "refuted"
    assert wrong["backward"].counterexample.values["x"][0, 0] > 3  # type: ignore[union-attr]


class ProductOfPositive(Layer):
    """max(a, 0) max(b, 0), with a gradient that is right unless both are positive."""

    def forward(self, x: Any) -> Any:
        return np.maximum(x[:, :1], 0) * np.maximum(x[:, 1:], 0)

    def backward(self, delta: Any) -> Any:
        return np.concatenate([0 * delta, 0 * delta], axis=1)


class OnePositive(Layer):
    """max(x, 0), with a gradient that is doubled where a single number is positive."""

    def forward(self, x: Any) -> Any:
        self.x = x
        return np.maximum(x, 0)

    def backward(self, delta: Any) -> Any:
        return np.where(self.x > 0, delta, 0) * (2 if np.sum(self.x > 0) == 1 else 1)


@pytest.mark.parametrize("layer", [ProductOfPositive(), OnePositive()], ids=repr)
@pytest.mark.parametrize("batch", [1, 2])
def test_combinations_of_sides_are_visited(layer: Layer, batch: int) -> None:
    assert prove_layer(layer, (2,), batch=batch).status == "refuted"


def test_combinations_that_are_not_visited_are_counted() -> None:
    four = prove_layer(Activation("relu"), (2,))
    assert (len(four.regions), four.not_visited) == (16, 0)
    eight = prove_layer(Activation("relu"), (4,))
    assert len(eight.regions) == 32
    assert 32 <= eight.not_visited <= 256 - 32
    assert f"Not visited: at least {eight.not_visited} other combinations" in str(eight)


@pytest.mark.parametrize("name", ["sigmoid", "softplus", "silu", "mish", "log_sigmoid"])
def test_what_is_rounded_to_nothing_in_a_tail_refutes_nothing(name: str) -> None:
    proof = prove_layer(Activation(name), (1,), batch=1)
    assert proof.status == "proven"
    assert proof.gap is not None and proof.gap < 1e-15


class Cube(Layer):
    def forward(self, x: Any) -> Any:
        self.x = x
        return x**3

    def backward(self, delta: Any) -> Any:
        return (3 + 3e-13) * self.x**2 * delta


def test_a_small_difference_is_shown_with_its_digits() -> None:
    found = prove_layer(Cube(), (1,), batch=1)["backward"].counterexample
    assert found is not None
    assert found.expected == "3"
    assert found.received.startswith("3.0000000000003")
    assert found.received_formula == "3.0000000000003*delta[0, 0]*x[0, 0]**2"


class Unreachable(Layer):
    """x, with another formula where x² + 1 < 0."""

    def forward(self, x: Any) -> Any:
        self.is_below = bool(np.any(x * x + 1 < 0))
        return 2 * x if self.is_below else 1 * x

    def backward(self, delta: Any) -> Any:
        return 1 * delta


def test_sides_that_are_not_reached_are_listed() -> None:
    proof = prove_layer(Unreachable(), (1,), batch=1)
    assert proof.status == "proven"
    assert proof.not_reached == ["x[0, 0]**2 + 1 < 0"]


class OnlyForArrays(Layer):
    """Wrong for plain arrays, right for everything else."""

    def forward(self, x: Any) -> Any:
        self.x = x
        return x * x

    def backward(self, delta: Any) -> Any:
        return (3 if type(delta) is np.ndarray else 2) * self.x * delta


def test_code_that_asks_for_the_type_of_its_argument_is_not_proven() -> None:
    proof = prove_layer(OnlyForArrays(), (2,))
    assert proof.status == "undecided"
    assert "differs from what plain arrays give" in proof["arrays"].reason


class MixesRows(Layer):
    """Subtracts the mean over the batch where a number is large."""

    limit: float = -100.0

    def forward(self, x: Any) -> Any:
        self.mixes = bool(np.any(x > self.limit))
        return x - x.mean(axis=0) if self.mixes else x + 0

    def backward(self, delta: Any) -> Any:
        return delta - delta.mean(axis=0) if self.mixes else delta + 0


@pytest.mark.parametrize("limit", [-100.0, 100.0])
def test_rows_that_affect_each_other_are_found_also_behind_a_branch(limit: float) -> None:
    proof = prove_layer(MixesRows(limit), (1,))
    assert proof["backward"].status == "proven"
    assert proof["rows"].status == "refuted"


def test_layers_that_couple_rows_say_so() -> None:
    class Coupled(MixesRows):
        couples_batch: ClassVar[bool] = True

    assert prove_layer(Coupled(), (1,)).status == "proven"
    names = [part.name for part in prove_layer(Sequential([Dense(2), BatchNorm()]), (2,))]
    assert "rows" not in names


class OtherApply(Layer):
    def forward(self, x: Any) -> Any:
        return 2 * x

    def backward(self, delta: Any) -> Any:
        return 2 * delta

    def apply(self, x: Any) -> Any:
        return x + x + 1e-9 * x


def test_an_apply_that_differs_is_refuted() -> None:
    proof = prove_layer(OtherApply(), (1,))
    assert [part.name for part in proof if part.status == "refuted"] == ["inference"]


class Third(Layer):
    """The mean of three numbers, with 1/3 as a double in one of the passes."""

    def forward(self, x: Any) -> Any:
        self.shape = x.shape
        return x.sum(axis=1, keepdims=True) * 0.3333333333333333

    def backward(self, delta: Any) -> Any:
        return np.broadcast_to(delta / 3, self.shape) + 0


def test_doubles_that_stand_for_simple_numbers_are_read_and_listed() -> None:
    proof = prove_layer(Third(), (3,))
    assert proof.status == "proven"
    assert proof.readings == "0.3333333333333333 as 1/3"
    assert "Reading 0.3333333333333333 as 1/3." in str(proof)


class Broken(Layer):
    def forward(self, x: Any) -> Any:
        return x

    def backward(self, delta: Any) -> Any:
        raise ValueError("not written yet")


class Converts(Layer):
    def forward(self, x: Any) -> Any:
        return x * float(np.sum(x))

    def backward(self, delta: Any) -> Any:
        return delta


def test_errors_of_the_layer_and_of_its_code() -> None:
    with pytest.raises(ValueError, match="not written yet"):
        prove_layer(Broken(), (1,))
    proof = prove_layer(Converts(), (1,), batch=1)
    assert proof.status == "undecided"
    assert "float(x)" in proof["backward"].reason
    assert "np.*" in proof["backward"].reason
    with pytest.raises(DefinitionError, match="prove_layer needs a layer"):
        prove_layer(np.ones(3))  # type: ignore[arg-type]
    with pytest.raises(BuildError, match="can be built for none of the small shapes") as caught:
        prove_layer(Sequential([Activation("tanh"), _Needs((7, 7, 7, 7, 7))]))
    assert "prove_layer(layer, (5, 1))" in str(caught.value)


class _Needs(Layer):
    shape: tuple[int, ...] = ()

    def build(self, input_shape: Any) -> None:
        if input_shape != self.shape:
            raise ValueError(f"rows of {self.shape}")

    def forward(self, x: Any) -> Any:
        return +x

    def backward(self, delta: Any) -> Any:
        return +delta


@pytest.mark.parametrize(
    ("layer", "shapes"),
    [(Dense(2), "(2,)"), (Add(), "(2,) and (2,)"), (_Needs((3, 3, 1)), "(3, 3, 1)")],
    ids=repr,
)
def test_a_small_shape_is_chosen(layer: Layer, shapes: str) -> None:
    assert f"rows of shape {shapes} in" in prove_layer(layer).subject


def test_a_built_layer_is_proven_for_its_own_rows_if_they_are_small() -> None:
    small, large = Dense(2), Dense(2)
    small.build((5,))
    large.build((300,))
    assert "rows of shape (5,)" in prove_layer(small).subject
    assert "rows of shape (2,)" in prove_layer(large).subject


def test_inputs_may_be_given_and_integers_do_not_move() -> None:
    given = prove_layer(Embedding(4, 2), (3,), inputs=lambda shape: np.full(shape, 3))
    assert given.status == "proven"
    floats = prove_layer(Embedding(4, 2), (3,), inputs=lambda shape: np.full(shape, 3.0))
    assert floats.status == "proven"
    positive = prove_layer(
        Activation(np.log, lambda z: 1 / z), (2,), inputs=lambda shape: np.full(shape, 2.5)
    )
    assert positive.status == "proven"
    assert positive.domain == [f"x[{i}, {j}] > 0" for i in (0, 1) for j in (0, 1)]


def test_time_is_bounded() -> None:
    deep = Sequential([layer for _ in range(6) for layer in (Dense(4), Activation("tanh"))])
    proof = prove_layer(deep, (4,), seconds=0.5)
    assert proof.status == "undecided"
    assert proof.seconds < 10


def test_without_sympy_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sympy", None)
    for call in (
        lambda: prove_layer(Dense(2)),
        lambda: prove_loss(losses.HalfSquaredError()),
        lambda: prove_gradient(np.sum, np.ones_like, np.ones(2)),
    ):
        with pytest.raises(MissingExtraError, match=r"chainrule\[symbols\]"):
            call()


# ------------------------------------------------------------------------------- losses


class WithoutAverage(losses.HalfSquaredError):
    def delta(self, y: Any, target: Any, sample_weights: Any = None) -> Any:
        return y - target


def test_a_loss_without_the_average_is_refuted() -> None:
    proof = prove_loss(WithoutAverage())
    assert proof.status == "refuted"
    assert "2 is the batch size" in proof["gradient"].counterexample.diagnosis  # type: ignore[union-attr]


# ------------------------------------------------------------------------------- the lecture

rng = np.random.default_rng(0)
NETWORK = [rng.normal(size=shape) for shape in [(2, 2), (2,), (2, 1), (1,), (2, 2), (2, 1)]]
"""w¹, b¹, w², b² of a 2-2-1 network, two inputs and two targets."""


def _cost(w1: Any, b1: Any, w2: Any, b2: Any, y_in: Any, target: Any) -> Any:
    y = lecture.apply_net_simple(y_in, [w1, w2], [b1, b2])
    return ((y - target) ** 2).sum() / (2 * len(target))


def _backprop(w1: Any, b1: Any, w2: Any, b2: Any, y_in: Any, target: Any) -> Any:
    y_layer, df_layer = lecture.apply_net(y_in, [w1, w2], [b1, b2])
    dw, db = lecture.backprop(target, y_layer, df_layer, [w1, w2])
    return dw[0], db[0], dw[1], db[1]


def test_backprop_of_the_lecture_is_the_derivative_of_its_cost() -> None:
    proof = prove_gradient(_cost, _backprop, *NETWORK)
    assert proof.status == "proven"


def test_the_missing_average_appears_as_the_factor_n() -> None:
    def without_average(*arrays: Any) -> Any:
        return tuple(gradient * len(arrays[-1]) for gradient in _backprop(*arrays))

    proof = prove_gradient(_cost, without_average, *NETWORK)
    assert proof.status == "refuted"
    found = proof["gradient"].counterexample
    assert found is not None
    assert "2 times too large, and 2 is the batch size" in found.diagnosis


def test_net_f_df_and_backward_step_of_the_lecture() -> None:
    f = prove_gradient(
        lambda z: lecture.net_f_df(z)[0].sum(), lambda z: lecture.net_f_df(z)[1], np.ones(3)
    )
    logistic = prove_gradient(
        lambda z: lecture.net_f_df(z)[0].sum(),
        lambda z: lecture.net_f_df(z)[0] * (1 - lecture.net_f_df(z)[0]),
        np.ones(3),
    )
    assert (f.status, logistic.status) == ("proven", "proven")

    def inner(z: Any, w: Any, delta: Any) -> Any:  # ⟨Δ, f(z) w⟩
        return (delta * (lecture.net_f_df(z)[0] @ w)).sum()

    step = prove_gradient(
        inner,
        lambda z, w, delta: lecture.backward_step(delta, w, lecture.net_f_df(z)[1]),
        *(rng.normal(size=shape) for shape in [(2, 3), (3, 2), (2, 2)]),
    )
    assert step.status == "proven"


# ------------------------------------------------------------------------------- never by mistake


class NamedLikeItsInput(Layer):
    """x² with parameters called x and delta, whose gradients are forgotten."""

    def build(self, input_shape: Any) -> None:
        self.a = self.parameter("x", input_shape)
        self.b = self.parameter("delta", input_shape)

    def forward(self, x: Any) -> Any:
        self.inputs = x
        return x * x + self.a.value * self.b.value

    def backward(self, delta: Any) -> Any:
        return 2 * self.inputs * delta


def test_parameters_may_have_the_names_of_inputs() -> None:
    proof = prove_layer(NamedLikeItsInput(), (1,), batch=1)
    assert proof.status == "refuted"
    assert proof["backward"].reason == "∂C/∂self.x is wrong."


class KeepsTheFirst(Layer):
    """x², with the first x that it ever got in its slope."""

    def forward(self, x: Any) -> Any:
        if not hasattr(self, "first"):
            self.first = x
        return x * x

    def backward(self, delta: Any) -> Any:
        return 2 * self.first * delta


def test_memory_of_an_earlier_batch_is_found() -> None:
    assert prove_layer(KeepsTheFirst(), (1,)).status == "refuted"


def test_no_time_proves_nothing() -> None:
    proof = prove_layer(Dense(2), (2,), seconds=0.0)
    assert proof.status == "undecided"
    assert proof["backward"].reason.startswith("The time is over.")


# ------------------------------------------------------------------------------- programs


def _written(model: Layer, loss: Any, *shapes: Any) -> Any:
    """The cost and the gradient of the program for a model, as functions of its parameters."""
    names: dict[str, Any] = {}
    model.build(*shapes, rng=0)
    exec(program(model, loss=loss), names)
    paths = list(model.parameters.paths)

    def cost(*arrays: Any) -> Any:
        *values, x, t = arrays
        y, _ = names["forward"](x, dict(zip(paths, values, strict=True)))
        return names["cost_and_delta"](y, t)[0]

    def gradient(*arrays: Any) -> Any:
        *values, x, t = arrays
        p = dict(zip(paths, values, strict=True))
        y, kept = names["forward"](x, p)
        found = names["backward"](names["cost_and_delta"](y, t)[1], kept, p)
        return tuple(found[path] for path in paths)

    return cost, gradient, [p.value for p in model.parameters]


@pytest.mark.parametrize(
    ("layers", "x", "outputs"),
    [
        ([Dense(2), Activation("sigmoid"), Dense(1), Activation("sigmoid")], (2, 2), 1),
        ([Convolution(1, 2), Activation("tanh"), Flatten(), Dense(1)], (2, 2, 1), 1),
        ([LSTM(1), Dense(1)], (1, 2, 1), 1),
        ([Residual(Sequential([Dense(2), Activation("tanh"), Dense(2)])), LayerNorm()], (2, 2), 2),
    ],
    ids=["2-2-1", "convolution", "LSTM", "residual"],
)
def test_the_written_program_is_proven(layers: Any, x: Any, outputs: int) -> None:
    cost, gradient, values = _written(Sequential(layers), losses.HalfSquaredError(), x[1:])
    batch = rng.normal(size=x), rng.normal(size=(x[0], outputs))
    proof = prove_gradient(cost, gradient, *values, *batch)
    assert proof.status == "proven", str(proof)


def test_a_wrong_shape_is_an_error_and_never_proven() -> None:
    x = np.ones((1, 2))
    with pytest.raises(ShapeError, match="backward returns an array of the wrong shape for x"):
        prove_layer(returning(lambda self, delta: (2 * self.x * delta)[0]), (2,), batch=1)
    with pytest.raises(ShapeError, match="the gradient returns an array of the wrong shape for x"):
        prove_gradient(lambda x: np.sum(x**2), lambda x: 2 * x[None], x)
    with pytest.raises(DefinitionError, match="backward does not return one array") as caught:
        prove_layer(returning(lambda self, delta: None), (2,))
    assert caught.value.received == "None: is the return missing?"
    with pytest.raises(DefinitionError, match="one array for each of x") as caught:
        prove_layer(returning(lambda self, delta: (delta, delta)), (2,))
    assert caught.value.received == "2 arrays"
    with pytest.raises(ShapeError, match="the function returns an array"):
        prove_gradient(lambda x: x**2, lambda x: 2 * x, x)


def returning(backward: Any) -> Layer:
    """x² with a backward of its own."""

    def forward(self: Any, x: Any) -> Any:
        self.x = x
        return x**2

    return type("Square", (Layer,), {"forward": forward, "backward": backward})()


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"batch": 0}, "batch is invalid"),
        ({"batch": 2.0}, "batch is invalid"),
        ({"seconds": -1}, "seconds is invalid"),
        ({"seconds": "5"}, "seconds is invalid"),
        ({"seconds": float("nan")}, "seconds is invalid"),
        ({"inputs": np.ones((2, 2))}, "inputs is invalid"),
        ({"inputs": lambda shape: np.full(shape, np.nan)}, "no finite real numbers"),
    ],
)
def test_invalid_arguments_are_named(options: Any, problem: str) -> None:
    with pytest.raises(ConfigurationError, match=problem):
        prove_layer(Linear(), (2,), **options)
    if "inputs" not in options:
        with pytest.raises(ConfigurationError, match=problem):
            prove_loss(losses.HalfSquaredError(), **options)


def test_a_number_is_a_shape_too() -> None:
    assert prove_layer(Linear(), 2).status == "proven"
    assert prove_loss(losses.HalfSquaredError(), 2).status == "proven"


def test_what_is_no_loss_function_or_array_is_named() -> None:
    with pytest.raises(DefinitionError, match="needs a loss") as caught:
        prove_loss(losses.HalfSquaredError)
    assert caught.value.hint == "create an instance: HalfSquaredError()"
    with pytest.raises(DefinitionError, match="needs a loss"):
        prove_loss(Dense(2))
    with pytest.raises(DefinitionError, match="the gradient is not a function"):
        prove_gradient(np.sum, np.ones(2), np.ones(2))  # type: ignore[arg-type]
    for array in (np.full(2, np.nan), np.full(2, 1j), "abc"):
        with pytest.raises(ConfigurationError, match="an array is invalid"):
            prove_gradient(lambda x: np.sum(x**2), lambda x: 2 * x, array)


def test_integers_with_a_gradient_move() -> None:
    assert prove_gradient(lambda x: np.sum(x**2), lambda x: 2 * x, np.arange(3)).status == "proven"
    assert prove_gradient(lambda x: x**2, lambda x: 3 * x, 3).status == "refuted"


def test_equal_numbers_are_told_apart() -> None:
    ones = np.ones(2)

    def gradient(a: Any, b: Any, c: Any) -> Any:
        return b * c, a * c, a * c  # the last should be a b

    proof = prove_gradient(lambda a, b, c: np.sum(a * b * c), gradient, ones, ones, ones)
    assert proof.status == "refuted"
    assert proof["gradient"].reason == "∂C/∂c is wrong."


def test_an_error_of_a_pass_is_not_one_of_the_shape() -> None:
    class Assigns(Linear):
        def backward(self, delta: Any) -> Any:
            self.w.grad = self.x.T @ delta
            return delta @ self.w.value.T

    with pytest.raises(DefinitionError, match="can be added to, but not replaced"):
        prove_layer(Assigns())

    class Forgets(Linear):
        def forward(self, x: Any) -> Any:
            return x @ self.w

    with pytest.raises(BuildError, match="none of the small shapes") as caught:
        prove_layer(Forgets())
    assert "'w' is a parameter, not an array" in str(caught.value)
    assert ".value" in str(caught.value.hint)


def test_rows_that_mix_are_told_how_to_be_declared() -> None:
    class Centred(Layer):
        def forward(self, x: Any) -> Any:
            return x - np.mean(x, axis=0)

        def backward(self, delta: Any) -> Any:
            return delta - np.mean(delta, axis=0)

    text = str(prove_layer(Centred(), (1,)))
    assert "write couples_batch = True in the class" in text


def test_integers_do_not_move_and_the_report_says_so() -> None:
    proof = prove_layer(Linear(), (2,), inputs=lambda shape: np.ones(shape, int))
    assert "integers, which do not move" in str(proof)


class Snake(Layer):
    """x + sin²(a x)/a, with the double angle in its derivative."""

    factor: float = 1.0

    def build(self, input_shape: Any) -> None:
        self.a = self.parameter("a", input_shape, 1.0)

    def forward(self, x: Any) -> Any:
        self.x = x
        return x + np.sin(self.a.value * x) ** 2 / self.a.value

    def backward(self, delta: Any) -> Any:
        a, x = self.a.value, self.x
        slope = x * np.sin(2 * a * x) / a - np.sin(a * x) ** 2 / a**2
        self.a.accumulate(np.sum(delta * slope, axis=0))
        return delta * (1 + self.factor * np.sin(2 * a * x))


def test_double_angles() -> None:
    assert prove_layer(Snake(), (1,)).status == "proven"
    assert prove_layer(Snake(1 + 1e-9), (1,)).status == "refuted"
    assert prove_gradient(
        lambda x: np.sum(x - np.sin(x)), lambda x: 2 * np.sin(x / 2) ** 2, np.ones(1)
    )
    assert prove_gradient(
        lambda x, y: np.sum(np.sin(x + 3 * y)),
        lambda x, y: np.cos(x) * np.cos(3 * y) - np.sin(x) * np.sin(3 * y),
        np.ones(1),
        np.ones(1),
    )


def test_powers_with_decimal_exponents() -> None:
    def gradient(x: Any) -> Any:
        return 1.7 * np.abs(x) ** 0.7 * np.sign(x)

    proof = prove_gradient(lambda x: np.sum(np.abs(x) ** 1.7), gradient, np.ones(1))
    assert proof.status == "proven"
    assert "1.7 as 17/10" in proof.readings
    assert proof.domain == []  # on both sides of 0


def test_reports_that_prove_nothing_have_no_scope() -> None:
    class Converts(Linear):
        def forward(self, x: Any) -> Any:
            self.x = np.zeros(x.shape)
            self.x[...] = x
            return self.x @ self.w.value

    text = str(prove_layer(Converts(), (2,)))
    assert "Scope" not in text
    assert ",," not in text


def test_long_conditions_cost_no_time() -> None:
    start = time.perf_counter()
    prove_layer(MultiHeadAttention(2), (5, 4), seconds=1)
    assert time.perf_counter() - start < 6


def test_the_middle_of_three_pieces_is_visited() -> None:
    def f(x: Any) -> Any:
        return np.sum(np.where(x < 5, x**2, np.where(x < 5.5, 3 * x, x**3)))

    def wrong(x: Any) -> Any:
        return np.where(x < 5, 2 * x, np.where(x < 5.5, 4.0, 3 * x**2))

    def right(x: Any) -> Any:
        return np.where(x < 5, 2 * x, np.where(x < 5.5, 3.0, 3 * x**2))

    for start in (-1.0, 40.0):
        assert prove_gradient(f, wrong, np.array([start])).status == "refuted"
        proof = prove_gradient(f, right, np.array([start]))
        assert proof.status == "proven"
        assert len(proof.regions) == 3


class Fifth(TanhFunction):
    """(eᶻ)^0.2, right for a reason that the prover does not know, with the formula of tanh."""

    def value(self, z: Any) -> Any:
        return np.exp(z) ** 0.2

    def derivative(self, z: Any) -> Any:
        return 0.2 * np.exp(0.2 * z)


def test_a_formula_that_is_not_that_of_the_code_proves_nothing() -> None:
    proof = prove_layer(Activation(Fifth()), (1,), batch=1)
    assert proof.status == "undecided"
    assert proof.gap is None


class Power(Layer):
    """x σ^1.5 for a positive σ."""

    def build(self, input_shape: Any) -> None:
        self.sigma = self.parameter("sigma", input_shape, 1.0)

    def forward(self, x: Any) -> Any:
        if np.any(self.sigma.value <= 0):
            raise ValueError("sigma must be positive")
        self.x = x
        return x * self.sigma.value**1.5

    def backward(self, delta: Any) -> Any:
        self.sigma.accumulate(np.sum(1.5 * delta * self.x * self.sigma.value**0.5, axis=0))
        return delta * self.sigma.value**1.5


def test_positive_parameters_stay_positive() -> None:
    assert prove_layer(Power(), (4,)).status == "proven"


@pytest.mark.parametrize(
    ("function", "slope", "domain"),
    [
        (np.log, lambda x: 1 / x, "x[0, 0] > 0"),
        (np.arcsin, lambda x: 1 / np.sqrt(1 - x**2), "1 - x[0, 0]**2 > 0"),
        (np.arccosh, lambda x: 1 / np.sqrt(x**2 - 1), "x[0, 0]**2 - 1 > 0"),
    ],
)
def test_inputs_are_drawn_where_the_layer_is_defined(
    function: Any, slope: Any, domain: str
) -> None:
    class Partial(Layer):
        def forward(self, x: Any) -> Any:
            self.x = x
            return function(x)

        def backward(self, delta: Any) -> Any:
            return slope(self.x) * delta

    proof = prove_layer(Partial(), (4,), batch=1)
    assert proof.status == "proven"
    assert domain in proof.domain


def test_a_notebook_shows_a_row_for_each_part() -> None:
    for layer in (Activation("relu"), Linear("average")):
        proof = prove_layer(layer, (1,))
        page = ElementTree.fromstring(proof._repr_html_())
        rows = [["".join(cell.itertext()) for cell in row] for row in page.iter("tr")][1:]
        assert [row[0].split("\xa0")[1] for row in rows] == [part.name for part in proof]
        assert [row[1] for row in rows] == [part.status for part in proof]
        text = "".join(page.itertext())
        for line in str(proof).splitlines():
            assert line.strip("✓✗? ").split("  ")[-1].strip() in text
