"""The explanation: what it says is what the program computes, and reads as in the lecture."""

from __future__ import annotations

import re
import sys
from collections import Counter
from typing import Any, ClassVar

import numpy as np
import pytest
from attrs import define, frozen
from hypothesis import given, settings
from hypothesis import strategies as st

from chainrule import (
    Activation,
    Add,
    Average,
    BatchNorm,
    Branches,
    Concatenate,
    Dense,
    Dot,
    Flatten,
    Graph,
    GroupNorm,
    Input,
    Layer,
    LayerNorm,
    Maximum,
    Multiply,
    Permute,
    PReLU,
    Reshape,
    Residual,
    RMSNorm,
    Sequential,
    Slice,
    Softmax,
    Subtract,
    lecture,
    losses,
    trace,
)
from chainrule.core.equations import Equations
from chainrule.core.errors import BuildError, DefinitionError
from chainrule.display.equations import explain
from chainrule.display.explanation import Explanation, Record
from chainrule.display.notation import lowered
from chainrule.graph.plan import Plan
from chainrule.layers.functions import KNOWN, Elu, LeakyRelu, Sigmoid
from laws.random_graphs import as_graph, drawings

ROWS = 5


# -------------------------------------------------------------------------- against real passes


class Passes:
    """Every array of a real pass up and down a model, by its symbol in the explanation."""

    def __init__(self, model: Layer, seed: int = 0, rows: int = ROWS) -> None:
        rng = np.random.default_rng(seed)
        self.found = explain(model)
        plan = Plan.of(model)
        records = self.found.records
        symbols = [r.left for r in records if r.kind == "symbol"]
        inputs = [rng.normal(size=(rows, *shape)) for shape in model.input_shapes]

        model.parameters.zero_grad()
        made: dict[int, Any] = dict(zip(plan.inputs, inputs, strict=True))
        for step, _, outputs in plan.steps_forward(tuple(inputs)):
            made.update(zip(step.makes, outputs, strict=True))
        slots = [*plan.inputs, *(slot for step in plan.steps for slot in step.makes)]
        names = symbols[: len(inputs)] + [r.left for r in records if r.kind == "forward"]
        self.name = dict(zip(slots, names, strict=True))
        self.values = {self.name[slot]: made[slot] for slot in slots}

        given = [rng.normal(size=made[slot].shape) for slot in plan.outputs]
        self.deltas: dict[str, Any] = {}
        argument = given[0] if len(given) == 1 else tuple(given)
        for slot, delta in zip(plan.outputs, given, strict=True):
            self._add(slot, delta)
        for step, _, sent in plan.steps_backward(argument):
            for slot, delta in zip(step.takes, sent, strict=True):
                self._add(slot, delta)
        for slot in slots:
            self.deltas.setdefault(self.delta_of(slot), np.zeros_like(made[slot]))

        paths = set(model.parameters.paths)
        parts = {r.left: r.place for r in records if r.kind == "symbol" and r.place in paths}
        self.parameters = {name: model.parameters[path].value for name, path in parts.items()}
        self.gradients = {
            f"dC_d{name}": model.parameters[path].grad for name, path in parts.items()
        }

        first = [r.left for r in records if r.step == 1 and not r.expression]
        order = sorted(range(len(given)), key=lambda n: plan.outputs.index(plan.outputs[n]))
        self.from_the_cost = dict(zip(first, (given[n] for n in order), strict=True))
        self.inputs = {name: self.values[name] for name in names[: len(inputs)]}

    def delta_of(self, slot: int) -> str:
        letter, _, number = self.name[slot].partition("_")
        has_z = f"z_{number}" in self.name.values()
        return f"dC_dy_{number}" if letter == "y" and has_z else f"Delta_{number}"

    def _add(self, slot: int, delta: Any) -> None:
        name = self.delta_of(slot)
        self.deltas[name] = self.deltas[name] + delta if name in self.deltas else delta

    def check(self) -> Explanation:
        """Hold every line to the arrays: all by themselves, and from the inputs on."""
        real = {**self.values, **self.deltas, **self.gradients, **self.from_the_cost}
        assert self.found.records
        lines = [r for r in self.found.records if r.kind != "symbol"]
        assert len({r.left for r in lines}) == len(lines)
        told = {r.left for r in lines if r.expression}
        assert told.issuperset(set(self.values) - set(self.inputs))
        assert (told | set(self.from_the_cost)).issuperset(self.deltas)
        assert told.issuperset(self.gradients)
        whole = self.found.evaluate({**self.inputs, **self.parameters, **self.from_the_cost})
        each = self.found.evaluate({**self.parameters, **self.inputs, **real})
        for computed in (whole, each):
            assert {r.left for r in lines if r.is_evaluable} == set(computed)
            for name, value in computed.items():
                if name in real:
                    scale = max(1.0, np.abs(real[name]).max(initial=0))
                    assert value.shape == real[name].shape, name
                    np.testing.assert_allclose(value, real[name], rtol=0, atol=1e-12 * scale)
        assert set(real) - set(self.inputs) - set(self.from_the_cost) <= set(whole)
        return self.found


def built(model: Layer, *shapes: tuple[int, ...], seed: int = 0) -> Layer:
    model.build(*shapes, rng=seed)
    rng = np.random.default_rng(seed)
    model.parameters.value = rng.normal(size=model.parameters.size) / 2
    return model


def lines(found: Explanation, kind: str) -> list[str]:
    return [record.text for record in found.records if record.kind == kind]


def test_a_line_of_layers_computes_what_the_program_does():
    Passes(built(Sequential([Dense(4), Activation("sigmoid"), Dense(3)]), (2,))).check()


@pytest.mark.parametrize("name", sorted(KNOWN))
def test_every_activation_computes_what_the_program_does(name):
    Passes(built(Sequential([Dense(4), Activation(name), Dense(2)]), (3,))).check()


@pytest.mark.parametrize(
    "layer", [Activation(LeakyRelu(0.3)), Activation(Elu(0.5)), Activation(np.sin, np.cos),
              Softmax(), Dense(3), Dense(3, use_bias=False), PReLU(), BatchNorm(), LayerNorm(),
              GroupNorm(2), RMSNorm()], ids=repr,
)  # fmt: skip
def test_a_layer_by_itself_is_a_model_too(layer):
    Passes(built(layer.unbuilt(), (4,))).check()


@pytest.mark.parametrize(
    "layer", [PReLU(), BatchNorm(), LayerNorm(), GroupNorm(2), RMSNorm()], ids=repr
)
def test_a_layer_on_channels_has_its_equations_for_images_too(layer):
    Passes(built(layer.unbuilt(), (3, 2, 4))).check()


MERGES: list[tuple[Layer, list[tuple[int, ...]]]] = [
    (Add(), [(3,), (3,), (3,)]),
    (Add(), [(), ()]),
    (Add(broadcast=True), [(2, 3), (3,), (1, 3)]),
    (Add(broadcast=True), [(2, 3), ()]),
    (Subtract(), [(2, 3), (2, 3)]),
    (Subtract(broadcast=True), [(1,), (4,)]),
    (Multiply(), [(3,), (3,), (3,)]),
    (Multiply(broadcast=True), [(2, 1), (4,), (1, 1)]),
    (Average(), [(3,), (3,), (3,)]),
    (Average(broadcast=True), [(3,), (1,)]),
    (Maximum(), [(3,), (3,), (3,)]),
    (Maximum(broadcast=True), [(2, 3), (3,)]),
    (Concatenate(), [(3,), (1,), (2,)]),
    (Concatenate(axis=1), [(2, 3), (1, 3)]),
    (Concatenate(axis=2), [(2, 3), (2, 1)]),
    (Concatenate(axis=-2), [(2, 3), (1, 3)]),
    (Dot(), [(3,), (3,)]),
    (Dot(), [(2, 3), (2, 3)]),
]


@pytest.mark.parametrize(("layer", "shapes"), MERGES, ids=lambda part: repr(part))
def test_every_merge_computes_what_the_program_does(layer, shapes):
    Passes(built(layer.unbuilt(), *shapes)).check()


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (Flatten(), (2, 3)),
        (Flatten(), ()),
        (Reshape((3, 2)), (6,)),
        (Reshape((-1,)), (2, 3)),
        (Permute((2, 1)), (2, 3)),
        (Permute((3, 1, 2)), (2, 3, 4)),
        (Permute((1,)), (2,)),
        (Slice(1, 3), (5,)),
        (Slice(None, None, -2), (5,)),
        (Slice(-3, None), (2, 5)),
        (Slice(1, None, 2, axis=1), (5, 2)),
        (Slice(0, 2, axis=2), (2, 3, 2)),
        (Slice(1, None, axis=-3), (2, 3, 2)),
    ],
    ids=repr,
)
def test_every_layer_that_moves_numbers_computes_what_the_program_does(layer, shape):
    Passes(built(layer.unbuilt(), shape)).check()


def test_a_tie_of_maximum_shares_its_delta():
    model = built(Maximum(), (2,), (2,))
    x, y, delta = np.array([[1.0, 2.0]]), np.array([[1.0, 3.0]]), np.array([[4.0, 6.0]])
    found = explain(model).evaluate({"y_0_1": x, "y_0_2": y, "Delta_1": delta})
    np.testing.assert_array_equal(found["Delta_0_1"], [[2.0, 0.0]])
    np.testing.assert_array_equal(found["Delta_0_2"], [[2.0, 6.0]])


def test_a_value_that_went_to_several_steps_has_the_sum_of_their_deltas():
    x = Input((3,))
    h = Activation("tanh")(Dense(4)(x))
    found = Passes(built(Graph(x, [Add()(Dense(2)(h), Dense(2)(h))]), (3,))).check()
    (fan_out,) = [record for record in found.records if record.kind == "fan-out"]
    assert fan_out.text == "∂C/∂y₁ = Δ₂ w₂ᵀ + Δ₃ w₃ᵀ"
    assert fan_out.place == "activation_1"
    assert "dense_2 and dense_3" in fan_out.remark


def test_long_terms_of_a_sum_have_lines_of_their_own():
    x = Input((3,))
    found = Passes(built(Graph(x, Add()(Softmax()(x), x)), (3,))).check()
    assert "Δ₀←₁ = y₁ ⊙ (Δ₁ − Σₖ (Δ₁ ⊙ y₁))" in lines(found, "delta")
    assert lines(found, "fan-out") == ["Δ₀ = Δ₀←₁ + Δ₂"]


def test_a_step_that_takes_a_value_twice_sends_two_deltas():
    x = Input((3,))
    found = Passes(built(Graph(x, Multiply()(x, x)), (3,))).check()
    assert lines(found, "fan-out") == ["Δ₀ = Δ₁ ⊙ y₀ + Δ₁ ⊙ y₀"]
    y = Input((3,))
    Passes(built(Graph(y, Maximum()(y, y, Dense(3)(y))), (3,))).check()


def test_a_shared_layer_has_one_symbol_and_the_sum_of_all_places():
    x, y = Input((3,)), Input((3,))
    shared = Dense(4)
    model = built(Graph([x, y], Subtract()(shared(x), shared(y))), (3,), (3,))
    found = Passes(model).check()
    assert lines(found, "forward")[:2] == ["z₁ = y₀₁ w₁ + b₁", "z₂ = y₀₂ w₁ + b₁"]
    assert lines(found, "gradient") == ["∂C/∂w₁ = y₀₁ᵀ Δ₁ + y₀₂ᵀ Δ₂", "∂C/∂b₁ = Σₛ Δ₁ + Σₛ Δ₂"]


def test_layers_of_different_shapes_may_share_an_activation():
    bend = Activation("sin")
    found = Passes(built(Sequential([Dense(4), bend, Dense(2), bend, Softmax()]), (3,))).check()
    (shape,) = [r.text for r in found.records if r.kind == "symbol" and r.left == "y_2"]
    assert shape == "y₂ ∈ ℝ^(N×2)"


def test_outputs_that_are_taken_again_get_a_part_of_their_delta_from_the_cost():
    x = Input((3,))
    h = Dense(4)(x)
    found = Passes(built(Graph(x, [h, Dense(2)(h)]), (3,))).check()
    assert "Δ₁ = Δ₂ w₂ᵀ + Δ₁←C" in lines(found, "fan-out")


def test_an_output_that_goes_out_twice_gets_two_deltas():
    x = Input((3,))
    h = Dense(4)(x)
    found = Passes(built(Graph(x, [h, h]), (3,))).check()
    assert lines(found, "fan-out") == ["Δ₁ = Δ₁←C,₁ + Δ₁←C,₂"]
    y = Input((2,))
    Passes(built(Graph(y, [y, y, Dense(1)(y)]), (2,))).check()


def test_nested_containers_are_one_row_of_steps():
    x = Input((4,), name="signal")
    inner = Graph(x, Concatenate()(Dense(2)(x), Slice(0, 2)(x)))
    model = Sequential(
        [
            Residual(Dense(4), Activation("tanh"), Sequential([Dense(4)])),
            Branches([inner, Dense(4)], Add()),
            Residual(Dense(2), projection=Dense(2, use_bias=False)),
            Softmax(),
        ]
    )
    found = Passes(built(model, (4,))).check()
    places = {record.place for record in found.records if record.kind == "forward"}
    assert "residual_1/sequential_1/dense_1" in places


def test_several_named_inputs_and_outputs():
    image, label = Input((2, 3), name="image"), Input((2,), name="label")
    h = Activation("tanh")(Dense(4)(Concatenate()(Flatten()(image), label)))
    model = Graph([image, label], [Dense(2)(h), Softmax()(Dense(3)(h))])
    found = Passes(built(model, (2, 3), (2,))).check()
    assert [record.left for record in found.records[:2]] == ["y_image", "y_label"]
    assert [record.place for record in found.records[:2]] == ["image", "label"]


@given(drawing=drawings(), seed=st.integers(0, 2**32 - 1))
@settings(max_examples=60)
def test_any_graph_computes_what_the_program_does(drawing, seed):
    shapes = [(drawing.width,)] * drawing.inputs
    Passes(built(as_graph(drawing), *shapes, seed=seed), seed=seed).check()


def test_the_lecture_gives_the_same_gradients():
    net = built(
        Sequential([Dense(3), Activation("sigmoid"), Dense(1), Activation("sigmoid")]), (2,)
    )
    rng = np.random.default_rng(1)
    x, target = rng.normal(size=(7, 2)), rng.normal(size=(7, 1))
    names = {"w": "weights", "b": "biases"}
    parameters = {
        f"{letter}_{n}": net.parameters[f"dense_{n}.{name}"].value
        for n in (1, 2)
        for letter, name in names.items()
    }
    y = net(x)
    found = explain(net).evaluate({"y_0": x, **parameters, "dC_dy_2": (y - target) / 7})
    weights = [parameters["w_1"], parameters["w_2"]]
    biases = [parameters["b_1"], parameters["b_2"]]
    y_layer, df_layer = lecture.apply_net(x, weights, biases)
    gradients = lecture.backprop(target, y_layer, df_layer, weights)
    for letter, expected in zip("wb", gradients, strict=True):
        for n in (1, 2):
            got = found[f"dC_d{letter}_{n}"]
            np.testing.assert_allclose(got, expected[n - 1], rtol=0, atol=1e-14)


# ------------------------------------------------------------------------------- as in the lecture


def lecture_network() -> Layer:
    f = "sigmoid"
    layers = [Dense(30), Activation(f), Dense(20), Activation(f), Dense(1), Activation(f)]
    return built(Sequential(layers), (2,))


def test_the_formulas_are_those_of_the_lecture():
    latex = {record.left: record.latex for record in explain(lecture_network()).records}
    by_hand = {
        "z_1": r"z^{(1)} = y^{(0)} \, w^{(1)} + b^{(1)}",
        "y_1": r"y^{(1)} = f(z^{(1)})",
        "f": r"f(z) = \frac{1}{1 + e^{-z}}",
        "df": r"f'(z) = f(z) \, (1 - f(z))",
        "dC_dy_3": r"\frac{\partial C}{\partial y^{(3)}}",
        "Delta_3": r"\Delta^{(3)} = \frac{\partial C}{\partial y^{(3)}} \odot f'(z^{(3)})",
        "dC_dy_2": r"\frac{\partial C}{\partial y^{(2)}} = \Delta^{(3)} \, {w^{(3)}}^\top",
        "Delta_2": r"\Delta^{(2)} = \frac{\partial C}{\partial y^{(2)}} \odot f'(z^{(2)})"
        r" = (\Delta^{(3)} \, {w^{(3)}}^\top) \odot f'(z^{(2)})",
        "dC_dw_1": r"\frac{\partial C}{\partial w^{(1)}} = {y^{(0)}}^\top \, \Delta^{(1)}",
        "dC_db_1": r"\frac{\partial C}{\partial b^{(1)}} = \sum_s \Delta^{(1)}",
    }
    assert {name: latex[name] for name in by_hand} == by_hand


def test_the_matrix_of_a_remark_takes_the_delta_from_layer_to_layer():
    """M = wᵀ diag(f′(z)) has the shape (n_out, n_in), and Δ M is the delta of the layer below."""
    model = lecture_network()
    found = explain(model)
    x = np.random.default_rng(0).normal(size=(1, *model.input_shape))
    pass_ = trace(model, x, np.zeros((1, *model.output_shape)), losses.HalfSquaredError())
    remarks = {r.left: (r.remark, r.remark_latex) for r in found.records if "M = " in r.remark}
    assert list(remarks) == ["Delta_2", "Delta_1"]
    for n in (2, 1):
        w, above = model.parameters[f"dense_{n + 1}.weights"].value, pass_[f"dense_{n + 1}"].delta
        m = w.T @ np.diag(pass_[f"activation_{n}"].slope[0])
        assert m.shape == w.shape[::-1]
        np.testing.assert_allclose(above[0] @ m, pass_[f"dense_{n}"].delta[0], rtol=1e-12)
        assert remarks[f"Delta_{n}"] == (
            f"M = w{lowered(str(n + 1))}ᵀ diag(f′(z{lowered(str(n))}))",
            rf"M = {{w^{{({n + 1})}}}}^\top \, \operatorname{{diag}}(f'(z^{{({n})}}))",
        )


def test_a_terminal_shows_the_three_steps():
    text = str(explain(lecture_network()))
    steps = [text.index(f"Step {n}") for n in (1, 2, 3)]
    assert steps == sorted(steps)
    step_1, step_2 = text[steps[0] : steps[1]], text[steps[1] : steps[2]]
    assert "Δ₃ = ∂C/∂y₃ ⊙ f′(z₃)   activation_3" in step_1
    assert (
        "Δ₂ = ∂C/∂y₂ ⊙ f′(z₂) = (Δ₃ w₃ᵀ) ⊙ f′(z₂)   activation_2 · M = w₃ᵀ diag(f′(z₂))" in step_2
    )
    assert "∂C/∂w₁ = y₀ᵀ Δ₁   dense_1.weights" in text[steps[2] :]
    assert "w₂ ∈ ℝ^(30×20)             dense_2.weights" in text
    assert max(map(len, text.splitlines())) <= 100


def test_equality_signs_are_aligned():
    forward = str(explain(lecture_network())).split("Forward\n")[1].split("\n\n")[0]
    assert len({line.index("=") for line in forward.splitlines()}) == 1


def test_a_linear_output_has_its_delta_from_the_cost():
    found = explain(built(Sequential([Dense(2), Activation("relu"), Dense(1)]), (3,)))
    (first,) = [record for record in found.records if record.step == 1]
    assert (first.left, first.text) == ("Delta_2", "Δ₂ = ∂C/∂z₂")
    assert not first.is_evaluable


def test_several_functions_have_symbols_of_their_own():
    found = explain(built(Sequential([Dense(2), Activation("relu"), Activation("tanh")]), (3,)))
    assert lines(found, "forward") == ["z₁ = y₀ w₁ + b₁", "y₁ = f₁(z₁)", "y₂ = f₂(y₁)"]
    symbols = lines(found, "symbol")
    assert "f₂′(z) = 1 − f₂(z)²" in symbols
    assert "f₁′(z) = 1 for z > 0, else 0" in symbols


def test_the_residual_block_reads_as_in_a_book():
    found = explain(built(Residual(Dense(3), Activation("tanh"), Dense(3)), (3,)))
    assert "y₃ = y₀ + z₂" in lines(found, "forward")
    assert lines(found, "fan-out") == ["Δ₀ = Δ₁ w₁ᵀ + Δ₃"]


@pytest.mark.parametrize("name", sorted(KNOWN))
def test_the_formula_of_a_function_is_what_it_computes(name):
    from math import erf

    from chainrule.display.notation import evaluate

    function = KNOWN[name]()
    z = np.linspace(-3, 3, 14)
    names = {"z": z, "f": function.value, "erf": np.vectorize(erf)}
    value, slope = (evaluate(expression, names) for expression in function.formula)
    np.testing.assert_allclose(value, function.value(z), rtol=1e-13, atol=1e-14)
    np.testing.assert_allclose(np.broadcast_to(slope, z.shape), function.derivative(z), rtol=1e-12)


@pytest.mark.parametrize("function", [LeakyRelu(0.2), LeakyRelu(-1e-5), Elu(0.5), Elu()], ids=repr)
def test_the_formula_of_a_function_has_its_numbers(function):
    from chainrule.display.notation import evaluate

    z = np.linspace(-2, 2, 6)
    value, slope = (evaluate(text, {"z": z, "f": function.value}) for text in function.formula)
    np.testing.assert_allclose(value, function.value(z), rtol=1e-13)
    np.testing.assert_allclose(slope, function.derivative(z), rtol=1e-13)


def test_a_function_with_another_value_does_not_inherit_the_formula():
    @frozen
    class Steep(Sigmoid):
        name: ClassVar[str] = "steep"

        def value(self, z: Any) -> Any:
            return super().value(4 * z)

        def derivative(self, z: Any) -> Any:
            return 4 * super().derivative(4 * z)

        derivative_from_value: ClassVar[Any] = None

    found = Passes(built(Activation(Steep()), (2,))).check()
    assert lines(found, "symbol")[-2:] == ["f(z)", "f′(z)"]


# -------------------------------------------------------------------------- layers of one's own


@define
class Scale(Layer):
    """y = gamma x, with its equations."""

    def build(self, input_shape):
        self.parameter("gamma", input_shape, "ones")

    def forward(self, x):
        self.x = x
        return x * self.gamma.value

    def backward(self, delta):
        self.gamma.accumulate((delta * self.x).sum(axis=0))
        return delta * self.gamma.value

    def equations(self):
        return Equations("x * gamma", "delta * gamma", {"gamma": "(delta * x).sum(axis=0)"})


@define
class Wave(Layer):
    """y = sin(x k), of which it says nothing, in code that symbols cannot follow."""

    def build(self, input_shape):
        self.parameter("k", input_shape, "ones")

    def forward(self, x):
        self.x = np.asarray(x)
        return np.sin(self.x * self.k.value)

    def backward(self, delta):
        slope = np.cos(self.x * self.k.value)
        self.k.accumulate((delta * slope * self.x).sum(axis=0))
        return delta * slope * self.k.value


@define
class Fork(Layer):
    """x goes out twice, doubled and squared."""

    says: bool = True

    def forward(self, x):
        self.x = x
        return 2 * x, x * x

    def backward(self, delta):
        return 2 * delta[0] + 2 * self.x * delta[1]

    def equations(self):
        if not self.says:
            return super().equations()
        return Equations(("2 * x", "x * x"), "2 * delta_1 + 2 * x * delta_2")


def test_a_layer_with_equations_is_evaluated():
    found = Passes(built(Sequential([Dense(3), Scale(), Activation("tanh")]), (2,))).check()
    assert "y₂ = z₁ ⊙ γ₂" in lines(found, "forward")
    assert "∂C/∂γ₂ = Σₛ (Δ₂ ⊙ z₁)" in lines(found, "gradient")


def test_a_layer_without_equations_has_a_function_and_a_jacobian():
    model = built(Sequential([Dense(3), Wave(), Dense(1)]), (2,))
    found = explain(model)
    assert "y₂ = Wave₂(z₁)" in lines(found, "forward")
    assert "Δ₁ = J_Wave₂ᵀ Δ₂" in lines(found, "delta")
    assert "∂C/∂k₂ = (∂y₂/∂k₂)ᵀ Δ₂" in lines(found, "gradient")
    latex = {record.left: record.latex for record in found.records}
    assert latex["Delta_1"] == r"\Delta^{(1)} = {J_{\mathrm{Wave}}^{(2)}}^\top \, \Delta^{(2)}"
    unknown = {r.left for r in found.records if r.expression and not r.is_evaluable}
    assert unknown == {"y_2", "Delta_1", "dC_dk_2"}


def test_what_cannot_be_evaluated_can_be_given():
    model = built(Sequential([Dense(3), Wave(), Dense(1)]), (2,))
    x, delta = np.ones((4, 2)), np.ones((4, 1))
    steps = list(Plan.of(model).steps_forward((x,)))
    y = model.forward(x)
    model.parameters.zero_grad()
    model.backward(delta)
    parts = {"w_1": "dense_1.weights", "b_1": "dense_1.biases", "w_3": "dense_2.weights",
             "b_3": "dense_2.biases"}  # fmt: skip
    arrays = {name: model.parameters[path].value for name, path in parts.items()}
    wave = delta @ arrays["w_3"].T * np.cos(steps[1][1][0] * model.parameters["wave_1.k"].value)
    arrays |= {"y_0": x, "Delta_3": delta, "y_2": steps[1][2][0]}
    found = explain(model).evaluate(
        {**arrays, "Delta_1": wave * model.parameters["wave_1.k"].value}
    )
    np.testing.assert_allclose(found["z_3"], y, atol=1e-12)
    np.testing.assert_allclose(
        found["dC_dw_1"], model.parameters["dense_1.weights"].grad, atol=1e-12
    )


def test_a_symbol_that_is_missing_is_named():
    found = explain(built(Dense(2), (3,)))
    with pytest.raises(DefinitionError, match="the symbol w_1 has no value"):
        found.evaluate({"y_0": np.ones((1, 3))})


def test_a_layer_with_several_outputs():
    x = Input((3,))
    a, b = Fork()(x)[0], Fork()(x)[1]
    Passes(built(Graph(x, [a, b]), (3,))).check()  # of each fork one output is taken by nobody
    y = Input((3,))
    fork = Fork()(y)
    Passes(built(Graph(y, Add()(fork[0], fork[1], fork[1])), (3,))).check()
    Passes(built(Fork(), (3,))).check()


def test_a_layer_with_several_outputs_that_says_nothing():
    found = explain(built(Fork(says=False), (3,)))
    assert lines(found, "forward") == ["y₁ = Fork₁(y₀)[0]", "y₂ = Fork₁(y₀)[1]"]
    assert "Δ₀ = J_Fork₁ᵀ (Δ₁, Δ₂)" in lines(found, "delta")


def test_a_new_forward_does_not_inherit_the_equations_of_another():
    @define
    class Halved(Dense):
        def forward(self, inputs):
            return super().forward(inputs) / 2

        def backward(self, delta):
            return super().backward(delta / 2)

    found = explain(built(Halved(2), (3,)))
    assert lines(found, "forward") == ["y₁ = Halved₁(y₀)"]
    assert "∂C/∂w₁ = (∂y₁/∂w₁)ᵀ Δ₁" in lines(found, "gradient")


def test_a_subclass_that_changes_nothing_keeps_them():
    @define
    class Linear(Dense):
        pass

    assert lines(explain(built(Linear(2), (3,))), "forward") == ["z₁ = y₀ w₁ + b₁"]


def test_a_custom_container_is_one_step():
    @define
    class Pair(Layer):
        first: Layer
        second: Layer

        def forward(self, x):
            return self.second.forward(self.first.forward(x))

        def backward(self, delta):
            return self.first.backward(self.second.backward(delta))

    found = explain(built(Sequential([Pair(Dense(3), Dense(2)), Activation("tanh")]), (2,)))
    assert "y₁ = Pair₁(y₀)" in lines(found, "forward")
    paths = [record.place for record in found.records if record.kind == "gradient"]
    assert paths == [
        f"pair_1/{name}" for name in
        ("first.weights", "first.biases", "second.weights", "second.biases")
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("said", "message"),
    [
        (Equations("x * w", "delta"), "unknown names in equations: w"),
        (Equations("x *", "delta"), "not a Python expression"),
        (Equations(("x", "x"), "delta"), "number of forward equations"),
        (Equations("x", ("delta", "delta")), "number of backward equations"),
        (Equations("x if x else y", "delta"), "not allowed in an equation"),
        (Equations("x", "delta if x else y"), "not allowed in an equation"),
        (Equations("x", "delta", {"w": "delta"}), "gradients of unknown parameters"),
        (("x", "delta"), "does not return Equations"),
    ],
    ids=lambda part: part if isinstance(part, str) else "",
)
def test_equations_that_make_no_sense_are_refused_with_their_place(said, message):
    @define
    class Odd(Layer):
        def forward(self, x):
            return x

        def backward(self, delta):
            return delta

        def equations(self):
            return said

    with pytest.raises(DefinitionError, match=message) as caught:
        explain(built(Sequential([Odd()]), (2,)))
    assert "sequential/odd_1" in str(caught.value)


@pytest.mark.parametrize("name", ["y", "z", "delta_1", "weights_2", "alpha", "f", "Delta", "C"])
def test_a_parameter_of_any_name_has_its_own_symbol(name):
    @define
    class Shift(Layer):
        def build(self, input_shape):
            self.parameter(name, input_shape)

        def forward(self, x):
            return x + getattr(self, name).value

        def backward(self, delta):
            getattr(self, name).accumulate(delta.sum(axis=0))
            return +delta

    model = built(Sequential([Dense(2), Shift(), Activation("tanh"), Shift()]), (2,))
    counts = Counter(record.left for record in explain(model).records if record.kind == "symbol")
    assert set(counts.values()) == {1}
    shown = [record.text.split(" ∈ ")[0] for record in explain(model).records
             if record.kind == "symbol"]  # fmt: skip
    assert len(set(shown)) == len(shown)


def test_states_that_equations_speak_of_are_symbols_too():
    @define
    class Centred(Layer):
        def build(self, input_shape):
            self.buffer("mean", input_shape, "ones")

        def forward(self, x):
            return x - self.mean.value

        def backward(self, delta):
            return +delta

        def equations(self):
            return Equations("x - mean", "delta")

    found = explain(built(Sequential([Centred()]), (2,)))
    assert "mean₁ ∈ ℝ^2" in lines(found, "symbol")
    assert found.records[1].place == "centred_1.mean"


# ------------------------------------------------------------------------------- what is shown


def all_models() -> list[Layer]:
    x = Input((4,))
    h = Activation("relu")(Dense(5)(x))
    graph = Graph(x, [Dense(2)(h), Softmax()(Dense(3)(h)), h])
    merged = Input((2, 3))
    parts = Concatenate(axis=1)(merged, Slice(0, 1, axis=1)(merged))
    moved = Graph(merged, Maximum()(Permute((2, 1))(Permute((2, 1))(parts)), parts))
    return [
        lecture_network(),
        built(graph, (4,)),
        built(moved, (2, 3)),
        built(Residual(Dense(3), Activation("gelu"), Wave()), (3,)),
        built(Activation(LeakyRelu(1e-5)), ()),
        built(Fork(), ()),
    ]


@pytest.mark.parametrize("number", range(6))
def test_the_latex_is_balanced(number):
    found = explain(all_models()[number])
    for record in found.records:
        depth = 0
        for sign in record.latex:
            depth += (sign == "{") - (sign == "}")
            assert depth >= 0, record.latex
        assert depth == 0, record.latex
        assert record.latex.count(r"\left") - record.latex.count(r"\leftarrow") == (
            record.latex.count(r"\right") - record.latex.count(r"\rightarrow")
        )
        assert not re.search(r"\^\{[^{}]*\}\s*\^", record.latex), record.latex  # double exponent
    page = found.to_markdown()
    assert page.count("$$") % 2 == 0
    assert page.count(r"\begin{aligned}") == page.count(r"\end{aligned}") == page.count("$$") // 2


def test_a_notebook_shows_the_page():
    found = explain(lecture_network())
    assert found._repr_markdown_() == found.to_markdown()
    assert r"| $w^{(2)} \in \mathbb{R}^{30 \times 20}$ | `dense_2.weights` |" in found.to_markdown()
    assert r"\Delta^{(1)} &= \frac{\partial C}{\partial y^{(1)}} \odot f'(z^{(1)})" in (
        found.to_markdown()
    )


def test_records_are_values():
    one, two = explain(lecture_network()), explain(lecture_network())
    assert one.records == two.records
    assert one == two
    assert isinstance(one.records[0], Record)
    with pytest.raises(AttributeError):
        one.records[0].kind = "other"


def test_explaining_leaves_the_model_as_it_was():
    model = lecture_network()
    x = np.ones((3, 2))
    y = model.forward(x)
    explain(model)
    before = model.parameters.grad.copy()
    model.backward(np.ones_like(y))
    assert not np.array_equal(model.parameters.grad, before)
    fresh = built(Sequential([Dense(2), Activation("tanh")]), (2,))
    attributes = [set(layer.__dict__) - {"_owner"} for _, layer in fresh.walk()]
    explain(fresh)
    assert [set(layer.__dict__) - {"_owner"} for _, layer in fresh.walk()] == attributes


def test_a_model_that_is_not_built_cannot_be_explained():
    with pytest.raises(BuildError, match="not built yet"):
        explain(Sequential([Dense(3)]))


def test_what_is_no_layer_cannot_be_explained():
    with pytest.raises(DefinitionError, match="needs a layer"):
        explain([Dense(3)])  # type: ignore[arg-type]


# ------------------------------------------------------------------------------- very large ones


def test_thousands_of_steps():
    shared = Activation("sin")
    model = Sequential([shared for _ in range(3000)])
    model.build((1,), rng=0)
    limit = sys.getrecursionlimit()
    found = explain(model)
    assert sys.getrecursionlimit() == limit
    assert len([record for record in found.records if record.kind == "forward"]) == 3000
    assert len(str(found).splitlines()) < 250
    assert "… 2,940 more …" in str(found)
    assert len(found._repr_markdown_()) < 20_000
    assert found.to_markdown().count(r"\Delta^{(1500)} &=") == 1


def test_a_value_that_goes_to_thousands_of_steps():
    x = Input((1,))
    shared = Dense(1)
    model = Graph(x, Add()(*[shared(x) for _ in range(2_000)]))
    model.build((1,), rng=0)
    found = Passes(model, rows=2).check()
    (fan_out,) = lines(found, "fan-out")
    assert fan_out == "Δ₀ = Δ₁ w₁ᵀ + Δ₂ w₁ᵀ + Δ₃ w₁ᵀ + … + Δ₂₀₀₀ w₁ᵀ"


def test_a_dense_layer_on_series_sums_over_all_steps():
    model = built(Sequential([Dense(4), Activation("tanh"), Dense(2)]), (8, 3))
    found = Passes(model).check()
    assert "∂C/∂b₁ = Σ[axis 0, 1] Δ₁" in lines(found, "gradient")
