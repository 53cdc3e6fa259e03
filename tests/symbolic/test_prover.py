"""Soundness: nothing that is wrong is ever proven, and nothing that is right is refuted."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import mpmath
import numpy as np
import pytest
import sympy
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from chainrule.core.errors import ChainruleError
from chainrule.core.layer import Layer
from chainrule.symbolic import forms
from chainrule.symbolic.forms import gradient, number
from chainrule.symbolic.formulas import expression
from chainrule.symbolic.polynomials import Ratios, TooLargeError
from chainrule.symbolic.proof import prove_layer
from laws.broken_layers import BROKEN
from laws.conditional_faults import CONDITIONS, HalvedIf
from laws.unusual_layers import UNUSUAL, Embedding, LSTMCell, SelfAttention, tokens
from symbolic.trees import form_of, rational, trees, value_of_form

Pass = Callable[[Any, Any], Any]


def made(forward: Pass, backward: Pass) -> Layer:
    """A layer from two functions of itself and of x or delta."""

    class Made(Layer):
        def forward(self, x):
            self.x = x
            return forward(self, x)

        def backward(self, delta):
            return backward(self, delta)

    return Made()


def square(self: Any, x: Any) -> Any:
    return x**2


def slope(self: Any, delta: Any) -> Any:
    return 2 * self.x * delta


def if_x(condition: Callable[[Any], Any], factor: float = 1.5) -> tuple[Pass, Pass]:
    """The square, with a wrong slope where a condition holds."""
    return square, lambda s, d: np.where(condition(s.x), factor, 1.0) * slope(s, d)


def times(forward: float, backward: float) -> tuple[Pass, Pass]:
    return lambda s, x: x * forward, lambda s, d: d * backward


def _fails_for_floats(s: Any, d: Any) -> Any:
    try:
        float(d[0, 0])
    except Exception:
        return slope(s, d)
    return 3 * slope(s, d)


def _mixes_rows_above_3(s: Any, x: Any) -> Any:
    s.above = x > 3
    return np.where(s.above, x - x.mean(axis=0), x)


def _of_rows_above_3(s: Any, d: Any) -> Any:
    return d - np.where(s.above, d, 0.0).sum(axis=0) / len(d)


WRONG: dict[str, tuple[Pass, Pass]] = {
    **{
        f"a factor 1 + {e}": (square, lambda s, d, e=e: slope(s, d) * (1 + e))
        for e in (0.1, 1e-9, 1e-12, 1e-13, 3e-14)
    },
    "√(2/π) with ten digits": times(math.sqrt(2 / math.pi), 0.7978845608),
    "1/3 with ten digits": times(1 / 3, 0.3333333333),
    "π with eleven digits": times(math.pi, 3.1415926536),
    "float32 in the forward pass": times(float(np.float32(0.1)), 0.1),
    "a tiny factor": times(1e-30, 1.1e-30),
    "where x.max() > 1": (square, lambda s, d: slope(s, d) * (1.5 if s.x.max() > 1 else 1)),
    "where x > 3": if_x(lambda x: x > 3),
    "where x > 100": if_x(lambda x: x > 100),
    "where x² > 4": if_x(lambda x: x**2 > 4),
    "where |x| > 10": if_x(lambda x: (x**2).sum(axis=1, keepdims=True) > 100),
    "where exp x > 5": if_x(lambda x: np.exp(x) > 5),
    "where sin x > 0.9": if_x(lambda x: np.sin(x) > 0.9),
    "where 1 < x < 4": if_x(lambda x: (x > 1) & (x < 4)),
    "where 1 < x < 1.01": if_x(lambda x: (x > 1) & (x < 1.01)),
    "where −0.01 < x < 0": if_x(lambda x: (x > -0.01) & (x < 0)),
    "where all x > 0": if_x(lambda x: np.all(x > 0)),
    "where x > 3, tiny": if_x(lambda x: x > 3, 1 + 1e-9),
    "where delta > 0": (square, lambda s, d: slope(s, d) * np.where(d > 0, 1, 2)),
    "where floor(x) is 2": if_x(lambda x: np.floor(x) == 2),
    "in a loop": (
        square,
        lambda s, d: np.stack([3 * e if e[0] > 2 else e for e in slope(s, d)]),
    ),
    "for two rows": (square, lambda s, d: slope(s, d) * (2 if len(d) == 2 else 1)),
    "but for two rows": (square, lambda s, d: slope(s, d) * 2 / len(d)),
    "but for rows of two": (square, lambda s, d: slope(s, d) * (1 + (d.shape[1] == 2))),
    "from another row": (square, lambda s, d: 2 * s.x[::-1] * d),
    "its sign": (lambda s, x: np.abs(x), lambda s, d: d),
    "its sign, in a root": (lambda s, x: np.sqrt(x**2), lambda s, d: d),
    "its sign, in a logarithm": (lambda s, x: np.log(np.abs(x)), lambda s, d: d / np.abs(s.x)),
    "the smallest for the largest": (
        lambda s, x: x.max(axis=1, keepdims=True),
        lambda s, d: d * (s.x == s.x.min(axis=1, keepdims=True)),
    ),
    "a forgotten permutation": (lambda s, x: np.sort(x, axis=1), lambda s, d: d),
    "steps with a slope": (lambda s, x: x - np.floor(x), lambda s, d: d * np.floor(s.x)),
    "a mean of part of them": (
        lambda s, x: x.mean(axis=1, keepdims=True, where=np.array([True, False])),
        lambda s, d: d * np.ones_like(s.x) / 2,
    ),
    "rows that mix where x > 3": (_mixes_rows_above_3, _of_rows_above_3),
    "one delta too large": (
        lambda s, x: np.concatenate([x, x**2], axis=1),
        lambda s, d: d[:, :2] + 2 * s.x * d[:, :2],
    ),
    "a derivative by differences": (
        lambda s, x: np.sin(x),
        lambda s, d: d * (np.sin(s.x + 1e-6) - np.sin(s.x - 1e-6)) / 2e-6,
    ),
    "a truncated series": (
        lambda s, x: np.exp(x),
        lambda s, d: d * sum(s.x**n / math.factorial(n) for n in range(12)),
    ),
    "an old part of an array": (
        square,
        lambda s, d: np.stack([2 * s.x[0] * d[0], *([s.x[0] * d[0]] * (len(d) - 1))]),
    ),
}


@pytest.mark.parametrize("passes", WRONG.values(), ids=WRONG)
def test_what_is_wrong_is_refuted(passes: tuple[Pass, Pass]) -> None:
    proof = prove_layer(_with_rows(made(*passes)), (2,))
    assert proof.status == "refuted"
    assert any(part.counterexample is not None for part in proof)


def _with_rows(layer: Layer) -> Layer:
    """A layer whose passes may need a row; an empty batch gives an empty result."""
    forward, backward = type(layer).forward, type(layer).backward

    class WithRows(type(layer)):  # type: ignore[misc]
        def forward(self, x):
            if len(x):
                return forward(self, x)
            y = forward(self, np.ones((1, *x.shape[1:]), x.dtype))
            self.x = x
            return y[:0]

        def backward(self, delta):
            return backward(self, delta) if len(delta) else +self.x

    return WithRows()


def test_a_memory_that_is_written_into_is_not_proven() -> None:
    layer = made(
        lambda s, x: np.multiply(x, 1.0) ** 2,
        lambda s, d: 2 * np.multiply(s.x, 2, out=s.x) * d,
    )
    assert prove_layer(layer, (2,)).status != "proven"


FOR_ARRAYS: dict[str, tuple[Pass, Pass]] = {
    "isinstance": (square, lambda s, d: slope(s, d) * (1 + isinstance(d, np.ndarray))),
    "type": (lambda s, x: x**2 * (1.001 if type(x) is np.ndarray else 1), slope),
    "hasattr": (square, lambda s, d: slope(s, d) if hasattr(d, "entries") else 0 * d),
    "a conversion": (square, _fails_for_floats),
    "a small factor": (square, lambda s, d: slope(s, d) * (1 + 1e-7 * isinstance(d, np.ndarray))),
}


@pytest.mark.parametrize("passes", FOR_ARRAYS.values(), ids=FOR_ARRAYS)
def test_code_that_asks_for_a_type_is_not_proven(passes: tuple[Pass, Pass]) -> None:
    proof = prove_layer(_with_rows(made(*passes)), (2,))
    assert proof.status != "proven"
    assert proof["arrays"].status != "proven"


def _half_filled(s: Any, d: Any) -> Any:
    result = np.empty_like(d)
    result[:1] = slope(s, d)[:1]
    return result


CANNOT_ANSWER: dict[str, tuple[tuple[Pass, Pass], str]] = {
    "float": ((lambda s, x: x * float(x.sum()), lambda s, d: d), "float(x)"),
    "math": ((lambda s, x: x * math.exp(x[0, 0]), lambda s, d: d), "math.exp(x)"),
    "asarray": ((lambda s, x: np.asarray(x) ** 2, slope), "np.asarray(x)"),
    "item": ((lambda s, x: x * x.max().item(), lambda s, d: d), "item"),
    "where=": (
        (lambda s, x: np.square(x, where=x > 0, out=np.zeros_like(x)), slope),
        "where=",
    ),
    "empty": ((square, lambda s, d: np.empty_like(d)), "not finite"),
    "half empty": ((square, _half_filled), "not finite"),
    "nan": ((square, lambda s, d: d * np.nan), "not finite"),
    "inf": ((square, lambda s, d: d * np.inf), "not finite"),
    "unknown": ((lambda s, x: x * np.median(x), slope), "numpy.median"),
    "plain": ((lambda s, x: np.add(x, 1, out=np.zeros(x.shape)), slope), "out="),
    "integers": ((lambda s, x: x * x.astype(int), slope), "astype"),
    "fft": ((lambda s, x: np.fft.fft(x).real, slope), "fft"),
    "tie": ((lambda s, x: np.where(x * 0 + 0.5 >= 0.5, x, x), slope), ""),
    "tiny beside large": (
        (lambda s, x: x * np.array([1e20, 1e-20]), lambda s, d: d * np.array([1e20, 2e-20])),
        "not proven",
    ),
    "in the last place": (
        (lambda s, x: x * np.array([1, 1e-15]), lambda s, d: d * np.array([1, 2e-15])),
        "not proven",
    ),
    "a long series": (
        (
            lambda s, x: np.exp(x),
            lambda s, d: d * sum(s.x**n / math.factorial(n) for n in range(20)),
        ),
        "not proven",
    ),
    "1 + 1e-15": (times(1.0, 1 + 1e-15), "not proven"),
}


@pytest.mark.parametrize(("passes", "reason"), CANNOT_ANSWER.values(), ids=CANNOT_ANSWER)
def test_what_cannot_be_answered_is_not_proven_and_the_reason_is_named(
    passes: tuple[Pass, Pass], reason: str
) -> None:
    proof = prove_layer(_with_rows(made(*passes)), (2,))
    assert proof.status == ("refuted" if not reason else "undecided")
    assert reason in str(proof)


# ------------------------------------------------------------------------------ the zoo

NOT_SEEN = {
    "overflow and rounding": {"WrongInTheTails"},
    "single points": {"WrongAtTheKink"},
    "float32": {
        *("TurnsIntoFloat64", "LosesDigits", "HalfPrecision"),
        *("AnotherSlopeInFloat32", "DropsOtherwiseInFloat32"),
    },
    "batches of other sizes": {
        *("RowsSeeEachOtherInLargeBatches", "WritesIntoLargeDeltas", "SqueezesASingleRow"),
    },
    "what other calls leave behind": {
        "ApplyRemembers",
    },
    "arrays of others": {"WritesIfStrided"},
    "random numbers, the clock and files": {
        *("ReseedsTheGlobalGenerator", "ReadsTheGlobalSeed", "DependsOnTheClock"),
        *("ConfigurationGrows", "KeepsItsConfigurationToItself", "GlobalRandomness"),
    },
    "statistics of random layers and of buffers": {
        *("DropoutNotRescaled", "OneMaskForAllRows", "DropsInApply", "DropsInApplyFromElsewhere"),
        *("RescalesInApplyToo", "MissingShift", "BatchStatisticsInApply", "WrongRunningVariance"),
        *("DeviationInsteadOfVariance", "NeverLearnsItsMean", "LearnsInApply"),
        "RunsForwardOfWhatIsInside",
    },
}
"""Faults that are none of the statements of a proof; `check_layer` finds them all."""
UNSEEN = set().union(*NOT_SEEN.values())
"""Cases in which the layer does not run at all."""
DOES_NOT_RUN = {
    *("FailsForNoRows", "ForgetsToReturn", "ForgetsToReturnForOneInput"),
    *("DeltaOfAnotherShape", "ReturnsTooMuch"),
}

SEEN = [(layer, shape) for layer, shape, *_ in BROKEN
        if type(layer).__name__ not in UNSEEN | DOES_NOT_RUN]  # fmt: skip


@pytest.mark.parametrize(("layer", "shape"), SEEN, ids=lambda x: type(x).__name__)
def test_no_broken_layer_is_proven(layer: Layer, shape: Any) -> None:
    proof = prove_layer(layer, shape, seconds=10)
    assert proof.status != "proven"
    if proof.status == "undecided":
        assert "symbols cannot answer" in str(proof) or "an array of its caller" in str(proof)


def test_most_faults_of_derivatives_are_seen() -> None:
    assert len(SEEN) >= 30


@pytest.mark.parametrize("layer", [case[0] for case in BROKEN
                                   if type(case[0]).__name__ in DOES_NOT_RUN],
                         ids=lambda x: type(x).__name__)  # fmt: skip
def test_a_layer_that_does_not_run_is_a_named_error(layer: Layer) -> None:
    with pytest.raises(ChainruleError):
        prove_layer(layer, (4,))


SMALLER = {
    "SelfAttention": (SelfAttention(1), (2, 1)),
    "LSTMCell": (LSTMCell(1), ((2,), (1,), (1,))),
}
NOT_DECIDED = {"Inverse": "numpy.linalg.pinv"}


@pytest.mark.parametrize(("layer", "shape"), UNUSUAL, ids=lambda x: type(x).__name__)
def test_no_unusual_layer_that_is_right_is_refuted(layer: Layer, shape: Any) -> None:
    name = type(layer).__name__
    layer, shape = SMALLER.get(name, (layer, shape))
    proof = prove_layer(layer, shape, seconds=20)
    assert proof.status == ("undecided" if name in NOT_DECIDED else "proven"), proof
    assert NOT_DECIDED.get(name, "") in str(proof)


def test_an_embedding_is_proven_for_integers() -> None:
    proof = prove_layer(Embedding(5, 3), (2,), inputs=tokens)
    assert proof.status == "proven"


SEEN_CONDITIONS = {
    *("a batch of one", "a batch of 2", "an even batch", "an odd batch", "some x above 1e4"),
    "positive parameters and a batch of one",
}


@pytest.mark.parametrize("condition", sorted(SEEN_CONDITIONS))
def test_a_gradient_halved_under_a_condition_is_refuted(condition: str) -> None:
    assert condition in CONDITIONS
    assert prove_layer(HalvedIf(condition), (2,)).status == "refuted"


# ------------------------------------------------------------------------------ right layers

ROOT = 0.7978845608028654


def _tanh_of_gelu(x: Any) -> Any:
    return np.tanh(ROOT * (x + 0.044715 * x**3))


RIGHT: dict[str, tuple[tuple[Pass, Pass], str]] = {
    "x/3 and delta * (1/3)": (times(1, 1), ""),
    "x ** (1/3)": (
        (
            lambda s, x: np.abs(x) ** (1 / 3),
            lambda s, d: d * np.sign(s.x) / 3 * np.abs(s.x) ** (-2 / 3),
        ),
        "1/3",
    ),
    "cbrt": (
        (lambda s, x: np.cbrt(x), lambda s, d: d / 3 / np.cbrt(s.x) ** 2),
        "",
    ),
    "log2": (
        (
            lambda s, x: np.log2(1 + x**2),
            lambda s, d: d * 2 * s.x / (1 + s.x**2) / np.log(2),
        ),
        "ln 2",
    ),
    "10 ** x": (
        (lambda s, x: 10.0**x, lambda s, d: d * 10.0**s.x * np.log(10)),
        "ln 10",
    ),
    "roots of roots": (
        (
            lambda s, x: np.sqrt(np.sqrt(1 + x**2)),
            lambda s, d: d * s.x / 2 * (1 + s.x**2) ** -0.75,
        ),
        "",
    ),
    "the norm of deviations": (
        (
            lambda s, x: x.std(axis=1),
            lambda s, d: d[:, None]
            * (s.x - s.x.mean(1, keepdims=True))
            / np.linalg.norm(s.x - s.x.mean(1, keepdims=True), axis=1, keepdims=True)
            / np.sqrt(2),
        ),
        "√(1/2)",
    ),
    "logaddexp": (
        (lambda s, x: np.logaddexp(0, x), lambda s, d: d / (1 + np.exp(-s.x))),
        "",
    ),
    "tanh and cosh": (
        (lambda s, x: np.tanh(x), lambda s, d: d / np.cosh(s.x) ** 2),
        "",
    ),
    "sigmoid by tanh": (
        (
            lambda s, x: (1 + np.tanh(x / 2)) / 2,
            lambda s, d: d * np.exp(-s.x) / (1 + np.exp(-s.x)) ** 2,
        ),
        "",
    ),
    "gelu by tanh": (
        (
            lambda s, x: 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3))),
            lambda s, d: d
            * (
                0.5 * (1 + _tanh_of_gelu(s.x))
                + 0.5 * s.x * (1 - _tanh_of_gelu(s.x) ** 2) * ROOT * (1 + 0.134145 * s.x**2)
            ),
        ),
        "√(2 / π)",
    ),
    "a Gaussian": (
        (
            lambda s, x: np.exp(-(x**2) / (2 * 0.7**2)),
            lambda s, d: -d * s.x / 0.7**2 * np.exp(-(s.x**2) / (2 * 0.7**2)),
        ),
        "",
    ),
    "a cut": (
        (lambda s, x: np.clip(x, -1, 1), lambda s, d: d * ((s.x > -1) & (s.x < 1))),
        "",
    ),
    "an array without axes": (
        (lambda s, x: x * (x.sum(axis=1, keepdims=True) ** 2)[..., 0][:, None],
         lambda s, d: d * s.x.sum(1, keepdims=True) ** 2
         + 2 * s.x.sum(1, keepdims=True) * (d * s.x).sum(1, keepdims=True)),
        "",
    ),
    "entropy": (
        (
            lambda s, x: (x**2 + 1) * np.log(x**2 + 1),
            lambda s, d: d * 2 * s.x * (np.log(s.x**2 + 1) + 1),
        ),
        "",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("passes", "reading"), RIGHT.values(), ids=RIGHT)
def test_what_is_right_is_proven(passes: tuple[Pass, Pass], reading: str) -> None:
    proof = prove_layer(made(*passes), (2,))
    assert proof.status == "proven", proof
    assert reading in proof.readings
    assert bool(proof.readings) == bool(reading)


class Everything(Layer):
    """Two inputs and two outputs, parameters without axes and without entries, a buffer."""

    def build(self, first, second):
        self.parameter("scale", (), "ones")
        self.parameter("nothing", (0,))
        self.parameter("frozen", (2,), "ones")
        self.buffer("offset", (2,))

    def forward(self, a, b):
        self.a, self.b = a, b
        self.factor = self.scale.value * self.frozen.value
        return self.factor * a * b + self.offset.value, a.sum(axis=1)

    def backward(self, deltas):
        d, e = deltas
        self.scale.accumulate((d * self.a * self.b * self.frozen.value).sum())
        self.nothing.accumulate(np.zeros_like(self.nothing.value))
        self.frozen.accumulate((d * self.a * self.b * self.scale.value).sum(axis=0))
        return d * self.b * self.factor + e[:, np.newaxis], d * self.a * self.factor


def test_a_layer_with_everything() -> None:
    proof = prove_layer(Everything(), ((2,), (2,)))
    assert proof.status == "proven", proof

    class Wrong(Everything):
        def backward(self, deltas):
            first, second = super().backward(deltas)
            self.scale.accumulate(np.zeros_like(self.scale.value) + 1e-9)
            return first, second

    proof = prove_layer(Wrong(), ((2,), (2,)))
    assert proof.status == "refuted"
    assert "scale" in str(proof)


# ------------------------------------------------------------------------------ random layers


def numbers_of(tree: Any, columns: dict[str, Any]) -> Any:
    """The value of a tree, with NumPy's functions."""
    if isinstance(tree, str):
        return columns[tree]
    if not isinstance(tree, tuple):
        return float(tree)
    sign, *parts = tree
    if sign == "^":
        return np.power(numbers_of(parts[0], columns), float(parts[1]))
    a, *others = (numbers_of(part, columns) for part in parts)
    if not others:
        return {"arctan": np.arctan}.get(sign, getattr(np, sign, None))(a)
    (b,) = others
    return {"+": np.add, "*": np.multiply, "-": np.subtract, "/": np.divide}[sign](a, b)


def columns_of(x: Any) -> dict[str, Any]:
    return {name: x[:, n] for n, name in enumerate("xyz")}


def layer_of(tree: Any, other: Any, factor: float = 1.0) -> Layer:
    """y = f(x), with the derivative that SymPy finds for another formula."""
    names = [sympy.Symbol(name, real=True) for name in "xyz"]
    formula = expression(form_of(other))
    slopes = [sympy.lambdify(names, sympy.diff(formula, name), "numpy") for name in names]

    def forward(self: Any, x: Any) -> Any:
        return numbers_of(tree, columns_of(x)) + 0 * x[:, 0]

    def backward(self: Any, delta: Any) -> Any:
        columns = columns_of(self.x).values()
        return factor * np.stack([delta * slope(*columns) for slope in slopes], axis=1)

    return made(forward, backward)


def without_erf(tree: Any) -> bool:
    return "erf" not in repr(tree)


@given(tree=trees.filter(without_erf))
@settings(max_examples=25, derandomize=True, deadline=None)
def test_a_random_formula_with_its_derivative_is_proven(tree: Any) -> None:
    proof = prove_layer(layer_of(tree, tree), (3,), batch=1, seconds=2)
    assert proof.status != "refuted"
    if proof.status == "undecided":  # such as x^⅓, in which a program cannot write ⅓
        assert "time" in str(proof) or "not proven" in str(proof)


@given(tree=rational)
@settings(max_examples=25, derandomize=True, deadline=None)
def test_a_random_rational_function_is_proven(tree: Any) -> None:
    assert prove_layer(layer_of(tree, tree), (3,), batch=1, seconds=5).status == "proven"


@given(tree=trees.filter(without_erf), factor=st.sampled_from([1 + 1e-9, 1 - 1e-12, 0.5, -1.0]))
@settings(max_examples=25, derandomize=True, deadline=None)
def test_a_random_formula_with_a_wrong_factor_is_refuted(tree: Any, factor: float) -> None:
    slopes = gradient([(form_of(tree), number(1))])
    at = {"x": mpmath.mpf(0.7), "y": mpmath.mpf(-0.4), "z": mpmath.mpf(0.3)}
    assume(any(abs(value_of_form(slope, at)) > 1e-6 for slope in slopes.values()))
    assert prove_layer(layer_of(tree, tree, factor), (3,), batch=1).status == "refuted"


@given(tree=trees.filter(without_erf), other=trees.filter(without_erf))
@settings(max_examples=25, derandomize=True, deadline=None)
def test_the_derivative_of_another_formula_is_refuted(tree: Any, other: Any) -> None:
    proof = prove_layer(layer_of(tree, other), (3,), batch=1, seconds=5)
    if proof.status == "proven":
        difference = expression(form_of(tree)) - expression(form_of(other))
        names = sorted(difference.free_symbols, key=str)
        for name in names:
            assert (
                abs(sympy.diff(difference, name).evalf(30, subs=dict.fromkeys(names, 0.7))) < 1e-9
            )


# ------------------------------------------------------------------------------ giving up


def test_what_is_too_large_is_undecided(monkeypatch: pytest.MonkeyPatch) -> None:
    def too_large(self: Ratios, form: Any) -> bool:
        raise TooLargeError

    monkeypatch.setattr(Ratios, "is_zero", too_large)
    layer = made(lambda s, x: x**2 + x, lambda s, d: d * (1 + 2 * s.x))
    assert prove_layer(layer, (2,)).status == "undecided"


def test_without_time_everything_is_undecided() -> None:
    layer = made(lambda s, x: x**2 + x, lambda s, d: d * (1 + 2 * s.x))
    assert prove_layer(layer, (2,), seconds=0).status == "undecided"


def test_the_layer_itself_does_not_change() -> None:
    layer = HalvedIf("a batch of 3")
    layer.build((2,), rng=0, dtype="float64")
    before = layer.weights.value.copy()
    assert prove_layer(layer, (2,)).status == "proven"
    np.testing.assert_array_equal(layer.weights.value, before)
    assert not layer.weights.grad.any()
    assert not hasattr(layer, "inputs")


class WrongTangent(Layer):
    """arctan with the derivative that a wrong table would say."""

    def forward(self, x: Any) -> Any:
        self.x = x
        return np.arctan(x)

    def backward(self, delta: Any) -> Any:
        return 2 * delta / (1 + self.x**2)


def test_the_rules_of_differentiation_are_checked_by_a_quotient(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    right = forms.SLOPES["arctan"]
    assert prove_layer(WrongTangent(), (2,)).status == "refuted"
    monkeypatch.setitem(
        forms.SLOPES, "arctan", lambda y, a: forms.multiply(forms.number(2), right(y, a))
    )
    proof = prove_layer(WrongTangent(), (2,))
    assert proof.status == "undecided"
    assert "difference quotient" in proof["backward"].reason
