"""`derive`: the layers it writes are checked, proven, and compared with SymPy's own derivatives."""

from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import sympy
from hypothesis import given, settings
from hypothesis import strategies as st

from chainrule import Layer, check_layer, derive, prove_layer
from chainrule.core.errors import (
    ArgumentError,
    DefinitionError,
    MissingExtraError,
    UndecidedError,
)


def gaussian(x, a, mean=0.3, k=0.8):
    return a * np.exp(-((k * (x - mean)) ** 2) / 2)


def lorentzian(x, a, x0=0.2, gamma=0.7):
    return a * gamma**2 / ((x - x0) ** 2 + gamma**2)


def damped_oscillation(t, a, b=0.4, omega=2.0, phase=0.1):
    return a * np.exp(-b * t) * np.cos(omega * t + phase)


def logistic_growth(t, k=2.0, r=0.7, t0=0.1):
    return k / (1 + np.exp(-r * (t - t0)))


def power_law(x, a, b=1.7):
    return a * x**b


def planck(x, a, b=0.9):
    return a * x**3 / (np.exp(b * x) - 1)


def morse(r, d=1.5, a=0.8, r0=0.6):
    return d * (1 - np.exp(-a * (r - r0))) ** 2


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def softplus(x, b=1.3):
    return np.log(1 + np.exp(b * x)) / b


def rational(x, a, b=0.5, c=0.7, d=0.3):
    return (a * x + b) / (1 + c * x + d * x**2)


def line(x, slope, offset=0.0):
    return slope * x + offset


def soliton(x, height, v=0.3):
    return height * (1 - np.tanh(np.sqrt(height**2 + 1) * (x - v)) ** 2)


def many_words(x, amplitude, frequency=2.0, phase=0.1, decay=0.3, offset=0.2, curvature=0.1):
    wave = amplitude * np.sin(frequency * x + phase) * np.exp(-decay * x**2)
    step = np.tanh(offset + curvature * x**3) + np.sqrt(1 + curvature**2 * x**2)
    return wave * step + np.log(1 + amplitude**2 * x**2) / 3 + np.cos(2 * np.pi * x * frequency)


POSITIVE = (power_law, planck)
FORMULAS = [
    *(gaussian, lorentzian, damped_oscillation, logistic_growth, power_law, planck, morse),
    *(sigmoid, softplus, rational, line, soliton, many_words),
]
each_formula = pytest.mark.parametrize("function", FORMULAS, ids=lambda f: f.__name__)


def layer_of(source: str) -> Layer:
    """The layer of a source, as if it were pasted into a file."""
    names: dict[str, Any] = {}
    exec(source, names)
    (kind,) = [v for v in names.values() if isinstance(v, type) and v.__module__ == "builtins"]
    return kind()  # type: ignore[no-any-return]


def positive(shape: Any) -> Any:
    return np.random.default_rng(0).uniform(0.2, 2.0, shape)


def inputs_of(function: Any) -> Any:
    return positive if function in POSITIVE else None


@each_formula
def test_a_derived_layer_is_proven(function: Any) -> None:
    layer = layer_of(derive(function))
    proof = prove_layer(layer, (2,), inputs=inputs_of(function))
    assert proof.status == "proven", proof


@each_formula
def test_a_derived_layer_passes_every_check(function: Any) -> None:
    layer = layer_of(derive(function))
    assert check_layer(layer, (3,), inputs=inputs_of(function)).ok


@each_formula
def test_both_passes_are_those_of_sympy(function: Any) -> None:
    layer = layer_of(derive(function))
    x, delta = positive((4, 3)), np.linspace(-1, 1, 12).reshape(4, 3)
    y = layer.forward(x)
    dx = layer.backward(delta)
    code = function.__code__
    symbols = sympy.symbols(code.co_varnames[: code.co_argcount], positive=True)
    numbers = [x, *(p.value for p in layer.parameters)]
    assert [p.path for p in layer.parameters] == [s.name for s in symbols[1:]]
    starts = function.__defaults__ or ()
    assert [float(v) for v in numbers[1:]][len(numbers) - 1 - len(starts) :] == list(starts)
    np.testing.assert_allclose(y, function(*numbers), 1e-13)

    def of_sympy(expression: Any) -> Any:
        return sympy.lambdify(symbols, expression, "numpy")(*numbers)

    formula = in_sympy(function, symbols)
    np.testing.assert_allclose(y, of_sympy(formula), 1e-12)
    np.testing.assert_allclose(dx, delta * of_sympy(formula.diff(symbols[0])), 1e-11, 1e-13)
    for symbol, parameter in zip(symbols[1:], layer.parameters, strict=True):
        expected = np.sum(delta * of_sympy(formula.diff(symbol)))
        np.testing.assert_allclose(parameter.grad, expected, 1e-11, 1e-12)


def in_sympy(function: Callable[..., Any], symbols: Any) -> Any:
    """The formula, with SymPy's functions in place of NumPy's."""
    names = dict(function.__globals__)
    names["np"] = sympy
    return type(function)(function.__code__, names)(*symbols)  # type: ignore[call-arg]


def test_the_source_as_written_by_hand() -> None:
    assert derive(lambda x, a, b=0.5: a * np.exp(-b * x), name="Decay") == (
        "import numpy as np\n"
        "\n"
        "from chainrule import Layer\n"
        "\n"
        "\n"
        "class Decay(Layer):\n"
        '    """y = a * exp(-b * x), for every number x."""\n'
        "\n"
        "    accepts_any_shape = True\n"
        "\n"
        "    def build(self, input_shape):\n"
        '        self.a = self.parameter("a", (), 1.0)\n'
        '        self.b = self.parameter("b", (), 0.5)\n'
        "\n"
        "    def forward(self, x):\n"
        "        a, b = self.a.value, self.b.value\n"
        "        t1 = np.exp(-b * x)\n"
        "        self.remembered = x, t1\n"
        "        return a * t1\n"
        "\n"
        "    def backward(self, delta):\n"
        "        a, b = self.a.value, self.b.value\n"
        "        x, t1 = self.remembered\n"
        "        t2 = delta * a * t1\n"
        "        self.a.accumulate(np.sum(delta * t1))\n"
        "        self.b.accumulate(np.sum(-x * t2))\n"
        "        return -b * t2\n"
    )


def test_the_sources_are_formatted_as_ruff_does() -> None:
    sources = [derive(function) for function in FORMULAS]
    header = sources[0].partition("class")[0]
    text = header + "\n\n".join(source.removeprefix(header) for source in sources)
    done = subprocess.run(
        [sys.executable, "-m", "ruff", "format", "--isolated", "--stdin-filename", "a.py", "-"],
        input=text, capture_output=True, text=True, check=True, encoding="utf-8",
    )  # fmt: skip
    assert done.stdout == text
    assert max(map(len, text.splitlines())) <= 88


def test_what_the_passes_share_is_computed_once() -> None:
    source = derive(gaussian)
    assert source.count("np.exp") == 1
    assert source.count("self.mean.value") == 1  # backward needs the difference alone
    assert derive(sigmoid).count("np.exp") == 1


@pytest.mark.parametrize("function", [sigmoid, softplus, logistic_growth])
def test_a_derivative_does_not_overflow_where_the_formula_has_a_limit(function: Any) -> None:
    layer = layer_of(derive(function))
    x = np.array([[-2000.0, 0.0, 2000.0]])
    with np.errstate(over="ignore"):
        y = layer.forward(x)
        dx = layer.backward(np.ones((1, 3)))
    assert np.isfinite([y, dx]).all()
    assert dx[0, 0] == 0 and dx[0, 2] in (0, 1)


def test_where_it_is_defined_is_said() -> None:
    assert '"""y = a * x**b, for every number x with x > 0."""' in derive(power_law)


@pytest.mark.parametrize("function", [gaussian, rational, softplus], ids=lambda f: f.__name__)
def test_a_planted_fault_is_refuted(function: Any) -> None:
    source = derive(function)
    lines = source.splitlines()
    for n, text in enumerate(lines):
        if n > lines.index("    def backward(self, delta):") and "= self." not in text and text:
            wrong = text.replace("np.sum(", "np.sum(1.000000001 * ")
            wrong = wrong.replace("return ", "return 1.000000001 * ") if wrong == text else wrong
            if wrong == text:
                wrong = text.replace(" = ", " = 1.000000001 * ")
            faulty = layer_of("\n".join([*lines[:n], wrong, *lines[n + 1 :]]))
            assert prove_layer(faulty, (1,), batch=1).status == "refuted", wrong


def test_the_names_of_arguments_do_not_clash_with_those_of_the_program() -> None:
    layer = layer_of(derive(lambda t1, t2, upstream: t2 * np.exp(t1 * upstream) * t1))
    assert prove_layer(layer, (2,)).status == "proven"
    assert check_layer(layer_of(derive(lambda x, delta: delta * np.exp(x * delta) * x)), (2,)).ok
    assert "class Derived(Layer)" in derive(lambda x: x * x)
    assert "class DampedOscillation(Layer)" in derive(damped_oscillation)


# A random formula is a tree of these, with x and three parameters as leaves. None of them decides.
LEAVES = st.sampled_from(["x", "a", "b", "c", "x", "2", "0.5", "np.pi"])
TREES = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from("+-*"), inner).map(lambda t: f"({t[0]} {t[1]} {t[2]})"),
        st.tuples(st.sampled_from(["sin", "cos", "tanh"]), inner).map(
            lambda t: f"np.{t[0]}({t[1]})"
        ),
        inner.map(lambda t: f"np.exp(-(({t}) ** 2))"),
        inner.map(lambda t: f"(1 / (1 + np.exp(-np.sin({t}))))"),
        inner.map(lambda t: f"({t} / (2 + ({t}) ** 2))"),
        inner.map(lambda t: f"np.log(1 + np.exp(np.tanh({t})))"),
        inner.map(lambda t: f"np.sqrt(1 + ({t}) ** 2)"),
        inner.map(lambda t: f"({t}) ** 3"),
    ),
    max_leaves=8,
).filter(lambda tree: len(tree) < 300)


@settings(max_examples=20)
@given(TREES)
def test_random_formulas_are_those_of_complex_numbers(tree: str) -> None:
    function = eval(f"lambda x, a, b, c: x + a * x + b + c * x * x + ({tree})", {"np": np})
    source = derive(function)
    assert max(map(len, source.splitlines())) <= 88
    layer = layer_of(source)
    x = np.array([[0.3, -0.7]])
    with np.errstate(all="ignore"):
        y = layer.forward(x)
        layer.parameters.value[:] = [0.4, -0.6, 0.8]
        y = layer.forward(x)
        dx = layer.backward(np.ones((1, 2)))
        values = [0.4, -0.6, 0.8]
        expected = function(x, *values)
        if not np.all(abs(expected) < 1e100):
            return
        np.testing.assert_allclose(y, expected, 1e-10)
        # f(z + ih) = f(z) + ih f'(z) for a tiny h: exact derivatives without a difference
        step = 1e-200j
        np.testing.assert_allclose(dx, function(x + step, *values).imag / 1e-200, 1e-8, 1e-12)
        for n, parameter in enumerate(layer.parameters):
            moved = [v + step * (n == k) for k, v in enumerate(values)]
            expected = np.sum(function(x, *moved).imag) / 1e-200
            np.testing.assert_allclose(parameter.grad, expected, 1e-8, 1e-10)


# ------------------------------------------------------------------------------- errors


@pytest.mark.parametrize(
    ("function", "kind", "words", "hint"),
    [
        (lambda x: math.exp(x), UndecidedError, r"math\.exp", "np.exp(x)"),
        (lambda x: float(x) ** 2, UndecidedError, r"float\(x\)", "np.* functions"),
        (lambda x: x if x > 0 else 0 * x, UndecidedError, "whether x > 0", "derive each side"),
        (lambda x, a: a * np.abs(x), UndecidedError, "whether x > 0", "np.where"),
        (lambda x: np.log(-(x**2)), UndecidedError, "not defined", "a formula that is defined"),
        (lambda x, a: x**2, DefinitionError, "does not depend on a", "remove the argument"),
        (lambda x: 1.0, DefinitionError, "does not depend on x", "return a formula"),
        (lambda x: (x, x), DefinitionError, "does not return one number", None),
        (lambda x: np.stack([x, x]), DefinitionError, "does not return one number", None),
        (lambda x, *others: x, DefinitionError, "arguments have names", None),
        (lambda: 1.0, DefinitionError, "arguments have names", None),
        (np.sin, DefinitionError, "arguments have names", None),
        ("x**2", DefinitionError, "arguments have names", None),
        (lambda x, forward: x * forward, ArgumentError, "'forward'", "forward_0"),
        (lambda x, a="two": x * a, ArgumentError, "the default of a", None),
    ],
)
def test_what_cannot_be_derived_is_named(
    function: Any, kind: type[Exception], words: str, hint: str | None
) -> None:
    with pytest.raises(kind, match=words) as caught:
        derive(function)
    assert hint is None or hint in str(caught.value.hint)  # type: ignore[attr-defined]


def test_without_sympy_an_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sympy", None)
    with pytest.raises(MissingExtraError) as caught:
        derive(gaussian)
    assert caught.value.hint == 'pip install "chainrule[symbols]"'
