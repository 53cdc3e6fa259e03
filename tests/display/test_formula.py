"""`formula`, and what `explain` reads from code, against SymPy's derivatives, hands and arrays."""

from __future__ import annotations

import math
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import sympy

from chainrule import (
    LSTM,
    Activation,
    Add,
    AveragePool,
    BatchNorm,
    Convolution,
    Dense,
    GroupNorm,
    Layer,
    LayerNorm,
    MaxPool,
    Multiply,
    PReLU,
    Residual,
    Sequential,
    Softmax,
    explain,
    formula,
)
from chainrule.core.errors import DefinitionError, MissingExtraError, UndecidedError
from chainrule.core.terminal import encodable
from chainrule.display.formula import Formulas


class Wave(Layer):
    """y = sin(k x), of which it says nothing."""

    def build(self, input_shape):
        self.k = self.parameter("k", input_shape, "glorot_uniform")

    def forward(self, x):
        self.x = x
        return np.sin(self.k.value * x)

    def backward(self, delta):
        slope = np.cos(self.x * self.k.value)
        self.k.accumulate((delta * slope * self.x).sum(axis=0))
        return delta * slope * self.k.value


class Third(Layer):
    """y = a x / 3, with one number a."""

    def build(self, input_shape):
        self.a = self.parameter("a", (), 2.0)

    def forward(self, x):
        self.x = x
        return self.a.value * x * (1 / 3)

    def backward(self, delta):
        self.a.accumulate(np.sum(delta * self.x) * (1 / 3))
        return self.a.value * delta * (1 / 3)


class Shrink(Layer):
    """Towards 0 by c, and 0 in between: three branches, with a parameter in the conditions."""

    def build(self, input_shape):
        self.c = self.parameter("c", (), 0.5)

    def forward(self, x):
        self.sign = np.where(x > self.c.value, 1.0, np.where(x < -self.c.value, -1.0, 0.0))
        return np.where(self.sign == 0, 0.0, x - self.sign * self.c.value)

    def backward(self, delta):
        self.c.accumulate(-np.sum(delta * self.sign))
        return delta * abs(self.sign)


class Radial(Layer):
    """y = w x / (1 + |x|²): each output depends on all inputs."""

    def build(self, input_shape):
        self.w = self.parameter("w", input_shape, "glorot_uniform")

    def forward(self, x):
        self.x, self.q = x, 1 / (1 + np.sum(x * x, axis=-1, keepdims=True))
        return self.w.value * x * self.q

    def backward(self, delta):
        self.w.accumulate((delta * self.x * self.q).sum(axis=0))
        total = np.sum(delta * self.w.value * self.x, axis=-1, keepdims=True)
        return delta * self.w.value * self.q - 2 * self.x * self.q**2 * total


class Logarithm(Layer):
    """y = log x, for positive x."""

    def forward(self, x):
        self.x = x
        return np.log(x)

    def backward(self, delta):
        return delta / self.x


class Centred(Layer):
    """x minus the mean of the batch, without saying that rows are coupled."""

    def forward(self, x):
        return x - np.mean(x, axis=0)

    def backward(self, delta):
        return delta - np.mean(delta, axis=0)


class Plain(Layer):
    """It converts its input, so symbols cannot follow."""

    def build(self, input_shape):
        self.k = self.parameter("k", input_shape, "ones")

    def forward(self, x):
        self.x = np.asarray(x)
        return np.sin(self.x * self.k.value)

    def backward(self, delta):
        slope = np.cos(self.x * self.k.value)
        self.k.accumulate((delta * slope * self.x).sum(axis=0))
        return delta * slope * self.k.value


class OnlyForward(Layer):
    """Without backward."""

    def forward(self, x):
        return np.exp(x) / 2


def is_zero(expression: Any) -> bool:
    """Whether it is, with fifty digits, at a random point."""
    rng = np.random.default_rng(0)
    symbols = sorted(sympy.sympify(expression).free_symbols, key=str)
    values = {symbol: sympy.Rational(int(rng.integers(1, 99)), 64) for symbol in symbols}
    return bool(abs(sympy.N(sympy.sympify(expression).subs(values), 50)) < 1e-45)


# ------------------------------------------------------------------------------- by hand


def test_a_neuron_by_hand() -> None:
    found = formula(Sequential([Dense(1), Activation("tanh")]), (2,))
    x, w, b = (found.variables[n] for n in ("x", "dense_1.weights", "dense_1.biases"))
    (delta,) = found.variables["delta"]
    y = sympy.tanh(w[0, 0] * x[0] + w[1, 0] * x[1] + b[0])
    assert found.outputs[0].tolist() == [y]
    slope = delta * (1 - y**2)
    assert [is_zero(d - slope * v) for d, v in zip(found.deltas["x"], w[:, 0], strict=True)]
    assert is_zero(found.gradients["dense_1.weights"][1, 0] - slope * x[1])
    assert is_zero(found.gradients["dense_1.biases"][0] - slope)
    assert found.conditions == found.domain == ()
    assert not found.is_elementwise
    assert found.by_formula == ("tanh",)


def test_softmax_by_hand() -> None:
    found = formula(Softmax(), (3,))
    x, delta = found.variables["x"], found.variables["delta"]
    y = [sympy.exp(v) / sum(map(sympy.exp, x)) for v in x]
    mean = sum(a * b for a, b in zip(y, delta, strict=True))
    assert all(is_zero(a - b) for a, b in zip(found.outputs[0], y, strict=True))
    for received, own, d in zip(found.deltas["x"], y, delta, strict=True):
        assert is_zero(received - own * (d - mean))
    assert len(found.cases) == 1  # x - x.max() has a branch for each order, and all are equal


def test_the_lectures_network_by_sympys_derivative() -> None:
    f = Activation("sigmoid")
    found = formula(Sequential([Dense(2), f, Dense(1), f]), (2,))
    (y,), (delta,) = found.outputs[0], found.variables["delta"]
    assert len(found.cases) == 1
    for name, gradient in {**found.gradients, **found.deltas}.items():
        for symbol, received in zip(found.variables[name].flat, gradient.flat, strict=True):
            assert is_zero(received - delta * y.diff(symbol)), symbol


def test_what_backward_returns_is_shown_even_if_it_is_wrong() -> None:
    class Wrong(Layer):
        def forward(self, x):
            self.x = x
            return x**3

        def backward(self, delta):
            return 2 * delta * self.x

    found = formula(Wrong(), (1,))
    ((x,), (delta,)) = found.variables["x"], found.variables["delta"]
    assert found.outputs[0].tolist() == [x**3]
    assert found.deltas["x"].tolist() == [2 * delta * x]


# ------------------------------------------------------------------------------- against arrays

MODELS: dict[str, tuple[Layer, Any]] = {
    "dense": (Dense(2), (3,)),
    "network": (Sequential([Dense(2), Activation("gelu"), Dense(2)]), (2,)),
    "layer norm": (LayerNorm(), (3,)),
    "batch norm": (BatchNorm(), (2,)),
    "group norm": (GroupNorm(1), (2, 2)),
    "max pool": (MaxPool(2), (4, 1)),
    "average pool": (AveragePool(2), (4, 1)),
    "convolution": (Convolution(1, 3), (4, 1)),
    "lstm": (LSTM(1), (2, 1)),
    "residual": (Residual(Sequential([Dense(2), Activation("relu")])), (2,)),
    "add": (Add(), ((2,), (2,))),
    "multiply": (Multiply(), ((2,), (2,))),
    "prelu": (PReLU(), (1,)),
    "mish": (Activation("mish"), (2,)),
    "hard tanh": (Activation("hard_tanh"), (1,)),
    "wave": (Wave(), (2,)),
    "third": (Third(), (2, 2)),
    "shrink": (Shrink(), (1,)),
    "radial": (Radial(), (2,)),
    "centred": (Centred(), (2,)),
}


@pytest.mark.parametrize("name", MODELS)
def test_arrays_get_the_same_numbers(name: str) -> None:
    model, shape = MODELS[name]
    found = formula(model, shape)
    model = model.unbuilt()
    shapes = shape if isinstance(shape[0], tuple) else (shape,)
    model.build(*shapes, rng=1, dtype="float64")
    rng = np.random.default_rng(2)
    names = ["x"] if len(shapes) == 1 else ["x_1", "x_2"]
    parts = [*model.parameters, *model.buffers]
    order = [*names, "delta", *(part.path for part in parts)]
    symbols = [s for name in order for s in np.ravel(found.variables[name])]
    batch = 1 if found.variables["delta"].ndim == len(model.output_shape) else 2
    for _ in range(2):
        model.parameters.value[:] = rng.normal(size=model.parameters.size)
        inputs = [rng.normal(size=(batch, *row)) for row in shapes]
        outputs = model.forward(*inputs)
        delta = rng.normal(size=outputs.shape)
        model.parameters.zero_grad()
        deltas = model.backward(delta)
        deltas = deltas if isinstance(deltas, tuple) else (deltas,)
        arrays = [*inputs, delta, *(part.value for part in parts)]
        values = [v for array in arrays for v in np.ravel(array)]
        (case,) = [c for c in found.cases if all(numbers(symbols, values, c.conditions))]
        expected = [(case.outputs[0], outputs)]
        expected += [(case.deltas[n], d) for n, d in zip(names, deltas, strict=True)]
        expected += [(case.gradients[p.path], p.grad) for p in model.parameters]
        received = numbers(symbols, values, [e for es, _ in expected for e in np.ravel(es)])
        wanted = [v for _, array in expected for v in np.ravel(array)]
        np.testing.assert_allclose(received, wanted, 1e-9, 1e-12)


def numbers(symbols: list[Any], values: list[Any], expressions: Any) -> Any:
    """The values of expressions, as SymPy computes them with NumPy."""
    given = list(expressions)
    function = sympy.lambdify(symbols, given, ["scipy", "numpy"], cse=True)
    return np.array(function(*values), float)


# ------------------------------------------------------------------------------- cases


def test_each_branch_is_a_case() -> None:
    found = formula(Shrink(), (1,))
    (x,), c = found.variables["x"], found.variables["c"][()]
    half, outputs = sympy.Rational(1, 2), {}
    for case in found.cases:
        for sample in (-2, 0, 2):
            if all(
                relation.subs({x: sample, c: half}) == sympy.true for relation in case.conditions
            ):
                outputs[sample] = case.outputs[0][0]
    assert outputs == {-2: x + c, 0: 0, 2: x - c}


def test_every_combination_of_branches_is_a_case() -> None:
    found = formula(MaxPool(2), (4, 1))
    x = found.variables["x"][:, 0]
    winners = {(c.outputs[0][0, 0], c.outputs[0][1, 0]) for c in found.cases}
    assert winners == {(a, b) for a in x[:2] for b in x[2:]}
    for case in found.cases:
        larger = {
            r.lhs if isinstance(r, sympy.StrictGreaterThan) else r.rhs for r in case.conditions
        }
        assert larger == {case.outputs[0][0, 0], case.outputs[0][1, 0]}


def test_where_it_is_defined() -> None:
    found = formula(Logarithm(), (1,))
    (x,) = found.variables["x"]
    assert found.domain == (sympy.Gt(x, 0),)
    assert "Defined for x > 0" in str(found)


def test_rows_that_mix_are_two_rows() -> None:
    found = formula(Centred(), (1,))
    x = found.variables["x"]
    assert x.shape == (2, 1)
    assert is_zero(found.outputs[0][0, 0] - (x[0, 0] - x[1, 0]) / 2)
    assert formula(BatchNorm(), (1,)).variables["x"].shape == (2, 1)


def test_numbers_that_are_read_are_listed() -> None:
    found = formula(Third(), (1,))
    (x,), a = found.variables["x"], found.variables["a"]
    assert found.outputs[0].tolist() == [a * x / 3]
    assert "0.3333333333333333 as 1/3" in found.readings
    assert "0.3333333333333333 as 1/3" in str(found)
    short = formula(Sequential([Layer01()]), (1,))
    assert short.outputs[0].tolist() == [short.variables["x"][0] / 10]
    assert not short.readings


class Layer01(Layer):
    """y = 0.1 x."""

    def forward(self, x):
        return 0.1 * x

    def backward(self, delta):
        return 0.1 * delta


def test_without_backward_there_are_outputs_alone() -> None:
    found = formula(OnlyForward(), (2,))
    assert found.outputs[0].tolist() == [sympy.exp(x) / 2 for x in found.variables["x"]]
    assert not found.deltas and not found.gradients
    assert "Backward" not in str(found)


# ------------------------------------------------------------------------------- as it prints


def test_a_layer_in_a_terminal() -> None:
    assert str(formula(Dense(2), (2,))) == (
        "Dense(2), one row of shape (2,)\n\n"
        "Forward\n"
        "       y₀ = w₀₀ x₀ + w₁₀ x₁ + b₀\n"
        "       y₁ = w₀₁ x₀ + w₁₁ x₁ + b₁\n\n"
        "Backward, with Δ = ∂C/∂y\n"
        "   ∂C/∂x₀ = Δ₀ w₀₀ + Δ₁ w₀₁\n"
        "   ∂C/∂x₁ = Δ₀ w₁₀ + Δ₁ w₁₁\n"
        "  ∂C/∂w₀₀ = Δ₀ x₀\n"
        "  ∂C/∂w₀₁ = Δ₁ x₀\n"
        "  ∂C/∂w₁₀ = Δ₀ x₁\n"
        "  ∂C/∂w₁₁ = Δ₁ x₁\n"
        "   ∂C/∂b₀ = Δ₀\n"
        "   ∂C/∂b₁ = Δ₁"
    )


def lines(found: Formulas) -> list[str]:
    return [line.strip() for line in str(found).splitlines()]


def test_an_elementwise_layer_has_one_formula() -> None:
    found = formula(Wave())
    assert found.is_elementwise
    assert {"y = sin(k x)", "∂C/∂x = Δ k cos(k x)", "∂C/∂k = Δ x cos(k x)"} <= {*lines(found)}
    assert "∂C/∂a = Σ (Δ x / 3)" in lines(formula(Third()))


def test_the_output_and_what_is_shared_have_names() -> None:
    f = Activation("sigmoid")
    assert "∂C/∂x₀ = y₀ (Δ₀ − Δ₀ y₀ − Δ₁ y₁)" in lines(formula(Softmax(), (2,)))
    found = lines(formula(Sequential([Dense(2), f, Dense(1), f]), (2,)))
    assert "h₁ = 1 / (1 + exp(−w⁽¹⁾₀₀ x₀ − w⁽¹⁾₁₀ x₁ − b⁽¹⁾₀))" in found
    assert "∂C/∂w⁽¹⁾₀₁ = Δ₀ w⁽²⁾₁₀ x₀ h₂ y₀ (1 − h₂) (1 − y₀)" in found


def test_in_ascii() -> None:
    text = encodable(str(formula(Sequential([Dense(1), Dense(1)]), (1,))), "ascii")
    assert text.isascii()
    assert "w^(1)_00" in text


def test_on_a_page() -> None:
    found = formula(Dense(1), (2,))
    assert found.to_latex().splitlines()[:3] == [
        r"\begin{aligned}",
        r"y_{0} &= w_{0,0} \, x_{0} + w_{1,0} \, x_{1} + b_{0} \\",
        r"\frac{\partial C}{\partial x_{0}} &= \Delta_{0} \, w_{0,0} \\",
    ]
    assert found._repr_latex_() == f"$$\n{found.to_latex()}\n$$"
    assert r"&\text{for } x < 0" in formula(PReLU(), (1,)).to_latex()


def test_long_results_are_printed_without_their_middle() -> None:
    text = str(formula(Sequential([Dense(30), Activation("tanh"), Dense(4)]), (2,)))
    assert len(text.splitlines()) < 300
    assert " more …" in text


# ------------------------------------------------------------------------------- errors


def test_what_symbols_cannot_follow_is_named_with_its_place() -> None:
    class Slow(Layer):
        def forward(self, x):
            return np.array([[math.exp(v) for v in row] for row in x]).reshape(x.shape)

        def backward(self, delta):
            return delta

    with pytest.raises(UndecidedError, match=r"math\.exp") as caught:
        formula(Sequential([Dense(2), Sequential([Slow()])]), (2,))
    assert "sequential_1/slow_1" in str(caught.value)
    assert caught.value.hint == "np.exp(x)"
    with pytest.raises(DefinitionError, match="formula needs a layer"):
        formula(np.sin)  # type: ignore[arg-type]


@pytest.fixture
def no_sympy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sympy", None)


@pytest.mark.usefixtures("no_sympy")
def test_without_sympy_an_error_says_what_to_install() -> None:
    with pytest.raises(MissingExtraError) as caught:
        formula(Dense(1), (1,))
    assert caught.value.hint == 'pip install "chainrule[symbols]"'


def test_all_names_can_be_imported_without_the_extra() -> None:
    program = (
        "import sys; sys.modules['sympy'] = sys.modules['mpmath'] = None\n"
        "from chainrule import *\n"
        "try: formula(Dense(1), (1,))\n"
        "except ImportError as error: print(error.hint)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.strip() == 'pip install "chainrule[symbols]"', done.stderr


# ------------------------------------------------------------------------------- explain


def explained(*layers: Layer, row: tuple[int, ...] = (2,)) -> tuple[Layer, Any]:
    model = Sequential([Dense(2), *layers])
    model.build(row, rng=0, dtype="float64")
    return model, explain(model)


def texts(found: Any, kind: str) -> list[str]:
    return [record.text for record in found.records if record.kind == kind]


@pytest.mark.parametrize("layer", [Wave(), Third(), Shrink()], ids=repr)
def test_explain_reads_the_equations_of_an_elementwise_layer(layer: Layer) -> None:
    model, found = explained(layer)
    assert all(r.is_evaluable for r in found.records if r.expression and r.kind != "symbol")
    rng = np.random.default_rng(0)
    x, delta = rng.normal(size=(5, 2)), rng.normal(size=(5, 2))
    y = model.forward(x)
    model.parameters.zero_grad()
    dx = model.backward(delta)
    paths = {r.place: r.left for r in found.records if r.kind == "symbol"}
    arrays = {paths[p.path]: p.value for p in model.parameters} | {"y_0": x, "Delta_2": delta}
    values = found.evaluate(arrays)
    np.testing.assert_allclose(values["y_2"], y, 1e-12)
    np.testing.assert_allclose(values["Delta_0"], dx, 1e-12)
    for p in model.parameters:
        np.testing.assert_allclose(values[f"dC_d{paths[p.path]}"], p.grad, 1e-12)
    (remark,) = [r.remark for r in found.records if r.remark.startswith("read")]
    assert remark == f"read from the code of {type(layer).__name__}"


def test_explain_writes_the_entries_of_another_layer() -> None:
    _, found = explained(Radial())
    assert texts(found, "definition")[:2] == [
        "y₂[s, 0] = w₂[0] z₁[s, 0] / (1 + z₁[s, 0]² + z₁[s, 1]²)",
        "y₂[s, 1] = w₂[1] z₁[s, 1] / (1 + z₁[s, 0]² + z₁[s, 1]²)",
    ]
    assert texts(found, "definition")[2].startswith("(J_Radial₂ᵀ Δ₂)[s, 0] = ")
    assert "y₂ = Radial₂(z₁)" in texts(found, "forward")
    model = Sequential([Dense(30), Radial()])
    model.build((2,), rng=0)
    remarks = [record.remark for record in explain(model).records]
    assert "read from the code of Radial, for rows of shape (2,)" in remarks


def test_explain_says_why_it_cannot_read_a_layer() -> None:
    _, found = explained(Plain())
    assert "y₂ = Plain₂(z₁)" in texts(found, "forward")
    assert "Δ₁ = J_Plain₂ᵀ Δ₂" in texts(found, "delta")
    assert any("np.asarray(x)" in record.remark for record in found.records)


@pytest.mark.usefixtures("no_sympy")
def test_explain_without_sympy_says_what_to_install() -> None:
    _, found = explained(Wave())
    assert "y₂ = Wave₂(z₁)" in texts(found, "forward")
    assert any('pip install "chainrule[symbols]"' in record.remark for record in found.records)
