"""The notation: one expression is computed, set in LaTeX and written in a terminal."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from attrs import frozen
from hypothesis import given, settings
from hypothesis import strategies as st

from chainrule.core.equations import total
from chainrule.core.errors import DefinitionError
from chainrule.display.notation import Sign, evaluate, names_in, parsed, renamed, to_latex, to_text

SIGNS = {
    "x": Sign("x^{(0)}", "x₀"),
    "w": Sign("w^{(1)}", "w₁"),
    "d": Sign(r"\Delta", "Δ"),
    "dC": Sign(r"\frac{\partial C}{\partial y}", "∂C/∂y", is_quotient=True),
    "f": Sign("f", "f"),
}

WRITTEN = [
    # the expression, in a terminal, on a page
    ("x @ w + d", "x₀ w₁ + Δ", r"x^{(0)} \, w^{(1)} + \Delta"),
    ("x * d", "x₀ ⊙ Δ", r"x^{(0)} \odot \Delta"),
    ("d @ w.T", "Δ w₁ᵀ", r"\Delta \, {w^{(1)}}^\top"),
    ("d.T @ d", "Δᵀ Δ", r"\Delta^\top \, \Delta"),
    ("(d @ w.T) * x", "(Δ w₁ᵀ) ⊙ x₀", r"(\Delta \, {w^{(1)}}^\top) \odot x^{(0)}"),
    ("(d * x) @ w", "(Δ ⊙ x₀) w₁", r"(\Delta \odot x^{(0)}) \, w^{(1)}"),
    ("dC @ w.T", "(∂C/∂y) w₁ᵀ", r"\frac{\partial C}{\partial y} \, {w^{(1)}}^\top"),
    ("dC.T @ x", "(∂C/∂y)ᵀ x₀", r"\left(\frac{\partial C}{\partial y}\right)^\top \, x^{(0)}"),
    ("x + (d - w)", "x₀ + Δ − w₁", r"x^{(0)} + \Delta - w^{(1)}"),
    ("x - (d - w)", "x₀ − (Δ − w₁)", r"x^{(0)} - (\Delta - w^{(1)})"),
    ("x - (d + w)", "x₀ − (Δ + w₁)", r"x^{(0)} - (\Delta + w^{(1)})"),
    ("x * (d + w)", "x₀ ⊙ (Δ + w₁)", r"x^{(0)} \odot (\Delta + w^{(1)})"),
    ("-(x + d)", "−(x₀ + Δ)", r"-(x^{(0)} + \Delta)"),
    ("x * -d", "x₀ ⊙ (−Δ)", r"x^{(0)} \odot (-\Delta)"),
    ("d * 2", "2 Δ", r"2 \, \Delta"),
    ("2 * 3 * d", "2 · 3 Δ", r"2 \cdot 3 \, \Delta"),
    ("0.5 * (d @ w)", "0.5 Δ w₁", r"0.5 \, \Delta \, w^{(1)}"),
    ("d / 3", "Δ / 3", r"\frac{\Delta}{3}"),
    ("d / (x * w)", "Δ / (x₀ ⊙ w₁)", r"\frac{\Delta}{x^{(0)} \odot w^{(1)}}"),
    ("d / (x / w)", "Δ / (x₀ / w₁)", r"\frac{\Delta}{\frac{x^{(0)}}{w^{(1)}}}"),
    ("(d / x) * w", "(Δ / x₀) ⊙ w₁", r"\frac{\Delta}{x^{(0)}} \odot w^{(1)}"),
    ("x**2", "x₀²", r"{x^{(0)}}^{2}"),
    ("(x + d) ** 2", "(x₀ + Δ)²", r"(x^{(0)} + \Delta)^{2}"),
    ("d**-0.5", "Δ^(−0.5)", r"\Delta^{-0.5}"),
    ("d**0.5", "√Δ", r"\sqrt{\Delta}"),
    ("np.sqrt(x + d)", "√(x₀ + Δ)", r"\sqrt{x^{(0)} + \Delta}"),
    ("np.square(d)", "Δ²", r"\Delta^{2}"),
    ("np.abs(d)", "|Δ|", r"\left\lvert \Delta \right\rvert"),
    ("d.sum(axis=0)", "Σₛ Δ", r"\sum_s \Delta"),
    ("d.sum(0)", "Σₛ Δ", r"\sum_s \Delta"),
    ("np.sum(d * x, axis=-1)", "Σₖ (Δ ⊙ x₀)", r"\sum_k (\Delta \odot x^{(0)})"),
    ("d.sum(axis=-1, keepdims=True)", "Σₖ Δ", r"\sum_k \Delta"),
    ("d.sum(axis=(1, 2))", "Σ[axis 1, 2] Δ", r"\sum_{\text{axis 1, 2}} \Delta"),
    ("d.sum()", "Σ Δ", r"\sum \Delta"),
    ("d.sum(axis=0) * x", "(Σₛ Δ) ⊙ x₀", r"\left(\sum_s \Delta\right) \odot x^{(0)}"),
    ("x * d.sum(axis=0)", "x₀ ⊙ Σₛ Δ", r"x^{(0)} \odot \sum_s \Delta"),
    ("d.mean(axis=0)", "⟨Δ⟩ₛ", r"\left\langle \Delta \right\rangle_s"),
    ("np.exp(-x)", "exp(−x₀)", r"\exp(-x^{(0)})"),
    ("np.log(x)", "ln(x₀)", r"\ln(x^{(0)})"),
    ("np.maximum(x, 0)", "max(x₀, 0)", r"\max(x^{(0)}, 0)"),
    (
        "np.maximum(np.maximum(x, w), d)",
        "max(x₀, w₁, Δ)",
        r"\max(x^{(0)}, w^{(1)}, \Delta)",
    ),
    ("np.where(x == d, 1, 0)", "[x₀ = Δ]", r"[x^{(0)} = \Delta]"),
    ("f(x)", "f(x₀)", r"f(x^{(0)})"),
    ("f(x)[0]", "f(x₀)[0]", r"f(x^{(0)})_{[0]}"),
    ("x[..., 1:3]", "x₀[…, 1:3]", r"x^{(0)}_{[\ldots, 1:3]}"),
    ("x[:, ::-2]", "x₀[:, ::−2]", r"x^{(0)}_{[:, ::-2]}"),
    ("np.eye(4)[1:3]", "I[1:3]", r"I_{[1:3]}"),
    (
        "np.concatenate((x, d), axis=-1)",
        "concatenate(x₀, Δ)",
        r"\operatorname{concatenate}(x^{(0)}, \Delta)",
    ),
    (
        "np.concatenate((x, d), axis=1)",
        "concatenate[axis 1](x₀, Δ)",
        r"\operatorname{concatenate}_{\text{axis }1}(x^{(0)}, \Delta)",
    ),
    (
        "x.reshape(len(x), 2, 3)",
        "reshape[N×2×3](x₀)",
        r"\operatorname{reshape}_{N \times 2 \times 3}(x^{(0)})",
    ),
    (
        "x.transpose(0, 2, 1)",
        "transpose[0, 2, 1](x₀)",
        r"\operatorname{transpose}_{0, 2, 1}(x^{(0)})",
    ),
    ("np.dot(x, w)", "x₀ w₁", r"x^{(0)} \, w^{(1)}"),
    ("1e-05 * d", "1e-05 Δ", r"10^{-5} \, \Delta"),
    ("2.0 * d", "2 Δ", r"2 \, \Delta"),
    ("np.pi * d", "π Δ", r"\pi \, \Delta"),
    ("np.zeros_like(x)", "0", "0"),
    (
        "sum(x[:, i:i + 2] @ w[i, j] for i in range(3) for j in range(2)) + d",
        "Σ[i < 3, j < 2] x₀[:, i:i + 2] w₁[i, j] + Δ",
        r"\sum_{i < 3, j < 2} x^{(0)}_{[:, i:i + 2]} \, w^{(1)}_{[i, j]} + \Delta",
    ),
    (
        "d * sum(x + w for i in range(3))",
        "Δ ⊙ Σ[i < 3] (x₀ + w₁)",
        r"\Delta \odot \sum_{i < 3} (x^{(0)} + w^{(1)})",
    ),
    (
        "np.stack([x @ w[i] for i in range(3)])",
        "stack((x₀ w₁[i])[i < 3])",
        r"\operatorname{stack}({(x^{(0)} \, w^{(1)}_{[i]})}_{i < 3})",
    ),
]


@pytest.mark.parametrize(("expression", "text", "latex"), WRITTEN, ids=lambda part: part)
def test_an_expression_is_written_as_on_paper(expression, text, latex):
    assert to_text(expression, SIGNS) == text
    assert to_latex(expression, SIGNS) == latex


@pytest.mark.parametrize(
    ("expression", "text", "latex"),
    [
        ("f(z) * (1 - f(z))", "f(z) (1 − f(z))", r"f(z) \, (1 - f(z))"),
        ("-z * f(z)", "−z f(z)", r"-z \, f(z)"),
        ("np.exp(-(z**2 / 2))", "exp(−z² / 2)", r"e^{-\frac{z^{2}}{2}}"),
        (
            "np.where(z > 0, z, 0.1 * z)",
            "z for z > 0, else 0.1 z",
            r"\begin{cases} z & z > 0 \\ 0.1 \, z & \text{else} \end{cases}",
        ),
    ],
    ids=lambda part: part,
)
def test_a_product_of_numbers_needs_no_sign(expression, text, latex):
    signs = {**SIGNS, "z": Sign("z", "z")}
    assert to_text(expression, signs, of_numbers=True) == text
    assert to_latex(expression, signs, of_numbers=True) == latex


def test_a_long_sum_is_written_without_its_middle_and_computed_with_it():
    terms = [f"a_{n}" for n in range(3_000)]
    expression = total(terms)
    assert to_text(expression, {}) == "a_0 + a_1 + a_2 + … + a_2999"
    assert evaluate(expression, dict.fromkeys(terms, 1)) == 3_000


# ------------------------------------------------------------------------------- its value


def test_an_expression_has_the_value_that_numpy_gives():
    rng = np.random.default_rng(0)
    x, w = rng.normal(size=(4, 3)), rng.normal(size=(3, 2))
    values = {
        "x @ w": x @ w,
        "(x * 2).sum(axis=0)": (x * 2).sum(axis=0),
        "np.where(x > 0, 1, 0)": np.where(x > 0, 1, 0),
        "x[:, ::-1] - np.pi": x[:, ::-1] - np.pi,
        "x.reshape(len(x), 3, 1)": x.reshape(4, 3, 1),
        "np.einsum('ij->ji', x)": x.T,
        "x[..., np.newaxis] / x.shape[0]": x[..., np.newaxis] / 4,
        "f(x)": np.sin(x),
    }
    for expression, expected in values.items():
        np.testing.assert_array_equal(
            evaluate(expression, {"x": x, "w": w, "f": np.sin}), expected, err_msg=expression
        )


@pytest.mark.parametrize(
    "expression",
    [
        "__import__('os')",
        "np.load('file')",
        "np.lib.npyio",
        "x.tofile('file')",
        "x.__class__",
        "x.T.__class__",
        "(lambda: x)()",
        "[y for y in x]",
        "sum(y for y in x)",
        "sum(x for i in range(3) if i)",
        "sum(x for i in range(len(x)))",
        "{i: x for i in range(3)}",
        "x if x else y",
        "x and y",
        "f'{x}'",
        "f(*x)",
        "(y := x)",
    ],
)
def test_what_is_no_formula_is_not_computed(expression):
    with pytest.raises(DefinitionError):
        evaluate(expression, {"x": np.ones(2), "y": np.ones(2), "f": np.sin})


@pytest.mark.parametrize("expression", ["x +", "x = 1", "", "import os"])
def test_what_is_no_expression_is_refused(expression):
    with pytest.raises(DefinitionError, match="not a Python expression"):
        parsed(expression)


def test_a_name_that_refers_to_nothing_is_reported():
    with pytest.raises(DefinitionError, match="the symbol w has no value"):
        evaluate("x @ w", {"x": np.ones((1, 1))})


# ------------------------------------------------------------------------------- other names


def test_names_are_replaced_without_falling_over_each_other():
    assert renamed("x @ y", {"x": "y", "y": "x"}) == "y @ x"
    assert renamed("x", {"x": "z_1"}) == "z_1"
    assert renamed("f(x)", {"f": "f_2", "x": "x_3"}) == "f_2(x_3)"


def test_an_expression_in_place_of_a_name_keeps_together():
    assert renamed("x * y", {"x": "a + b"}) == "(a + b) * y"


def test_the_names_of_an_expression():
    assert names_in("np.exp(x) @ w.T + len(x)") == {"x", "w"}
    assert names_in("sum(x[i] @ w[i, j] for i in range(3) for j in range(2))") == {"x", "w"}


def test_a_sum_over_indices_has_the_value_of_its_loop():
    x, w = np.arange(6.0).reshape(2, 3), np.arange(12.0).reshape(3, 2, 2)
    expression = "sum(x[:, i:i + 1] @ w[i, j:j + 1] for i in range(3) for j in range(2))"
    expected = sum(x[:, i : i + 1] @ w[i, j : j + 1] for i in range(3) for j in range(2))
    np.testing.assert_array_equal(evaluate(expression, {"x": x, "w": w}), expected)
    stacked = evaluate("np.stack([i * x for i in range(3)])", {"x": x})
    np.testing.assert_array_equal(stacked, [0 * x, x, 2 * x])


def expressions():
    names = st.sampled_from(["a", "b", "c"])
    signs = st.sampled_from(["+", "-", "*", "/", "@"])

    def larger(inner):
        return (
            st.tuples(inner, signs, inner).map(lambda p: f"({p[0]} {p[1]} {p[2]})")
            | inner.map(lambda p: f"(-{p})")
            | inner.map(lambda p: f"({p}).T")
            | inner.map(lambda p: f"({p}).sum(axis=0)")
        )

    return st.recursive(names, larger, max_leaves=8)


SINGLE = {name: Sign(name, name) for name in "abc"}


@given(expressions())
def test_braces_and_parentheses_are_balanced(expression):
    for written in (to_latex(expression, SINGLE), to_text(expression, SINGLE)):
        for opening, closing in ("{}", "()"):
            depth = 0
            for sign in written:
                depth += (sign == opening) - (sign == closing)
                assert depth >= 0
            assert depth == 0
        assert written.count(r"\left(") == written.count(r"\right)")


@frozen
class Matrix:
    """Two by two numbers, with the signs of paper: ~ stands for Σ."""

    of: Any

    def __add__(self, other: Matrix) -> Matrix:
        return Matrix(self.of + other.of)

    def __sub__(self, other: Matrix) -> Matrix:
        return Matrix(self.of - other.of)

    def __mul__(self, other: Matrix) -> Matrix:
        return Matrix(self.of * other.of)

    def __truediv__(self, other: Matrix) -> Matrix:
        return Matrix(self.of / (1 + other.of**2))  # never by zero

    def __matmul__(self, other: Matrix) -> Matrix:
        return Matrix(self.of @ other.of)

    def __neg__(self) -> Matrix:
        return Matrix(-self.of)

    def __invert__(self) -> Matrix:
        return Matrix(np.broadcast_to(self.of.sum(axis=0), (2, 2)))

    def sum(self, axis: int) -> Matrix:
        return ~self

    @property
    def T(self) -> Matrix:  # noqa: N802 - as NumPy has it
        return Matrix(self.of.T)


def read(text: str) -> str:
    """What a reader makes of the text in a terminal, as an expression of Python.

    Where two products of different kinds meet there have to be parentheses: for Python both have
    the same rank, and a reader does not know which holds tighter.
    """
    text = text.replace("−", "-").replace("Σₛ ", "~").replace("ᵀ", ".T")
    text = re.sub(r"(?<=[\w)]) (?=[\w(~])", " @ ", text)
    return text.replace("⊙", "*")


def test_a_minus_behind_a_factor_is_no_difference():
    assert to_text("a @ (-a @ b)", SINGLE) == "a (−a b)"
    assert to_text("a * (-b * a)", SINGLE) == "a ⊙ (−b ⊙ a)"
    assert to_text("-a @ b", SINGLE) == "−a b"


@given(expressions(), st.integers(0, 2**32 - 1))
@settings(max_examples=300)
def test_a_reader_understands_what_is_meant(expression, seed):
    rng = np.random.default_rng(seed)
    names = {name: Matrix(rng.uniform(0.5, 1.5, size=(2, 2))) for name in "abc"}
    meant = eval(expression, {}, names).of
    understood = eval(read(to_text(expression, SINGLE)), {}, names).of
    np.testing.assert_allclose(understood, meant, rtol=1e-9, atol=1e-9)
