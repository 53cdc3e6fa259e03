"""One loss for each output: the weighted sum of the losses, with the laws of a loss on tuples."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from attrs import define, evolve
from hypothesis import given
from hypothesis import strategies as st

from chainrule import losses
from chainrule.calculus.dual import Dual
from chainrule.core.errors import (
    ConfigurationError,
    DataError,
    DtypeError,
    NonFiniteError,
    ShapeError,
)
from chainrule.losses import (
    HalfSquaredError,
    Huber,
    Loss,
    MeanAbsoluteError,
    MeanSquaredError,
    NegativeLogLikelihood,
    PerOutput,
    SigmoidCrossEntropy,
    SoftmaxCrossEntropy,
)

EACH = [
    HalfSquaredError(),
    MeanSquaredError(),
    MeanAbsoluteError(),
    Huber(0.7),
    SoftmaxCrossEntropy(),
    NegativeLogLikelihood(),
    SigmoidCrossEntropy(),
]
TWO = PerOutput([HalfSquaredError(), SoftmaxCrossEntropy()], weights=[2.0, 0.25])


def problem(loss: PerOutput, rows: int = 7, seed: int = 0) -> tuple[Any, Any, Any]:
    """Outputs with two and three numbers alternately, targets for them, and sample weights."""
    rng = np.random.default_rng(seed)
    ys, ts = [], []
    for own, width in zip(loss.losses, itertools.cycle((2, 3))):
        is_class = isinstance(own, SoftmaxCrossEntropy | NegativeLogLikelihood)
        is_probability = isinstance(own, NegativeLogLikelihood)
        ys.append(
            rng.uniform(0.1, 0.9, (rows, width))
            if is_probability
            else rng.normal(size=(rows, width))
        )
        ts.append(rng.integers(0, width, rows) if is_class else rng.uniform(size=(rows, width)))
    return tuple(ys), tuple(ts), rng.uniform(0.5, 2.0, rows)


@st.composite
def sums(draw: st.DrawFn) -> PerOutput:
    """Two to four losses with weights."""
    chosen = draw(st.lists(st.sampled_from(EACH), min_size=2, max_size=4))
    weights = st.floats(0.01, 100)
    return PerOutput(chosen, draw(st.lists(weights, min_size=len(chosen), max_size=len(chosen))))


seeds = st.integers(0, 2**32 - 1)


# ------------------------------------------------------------------------------- the sum


def test_each_output_may_have_its_own_weights() -> None:
    y, t, w = problem(TWO)
    other = np.random.default_rng(1).normal(size=len(w))
    first, second = TWO.losses
    for weights in ((w, other), (None, w), (w, None)):
        value, delta = TWO.value_and_delta(y, t, weights)
        parts = [
            loss.value_and_delta(*given)
            for loss, *given in zip((first, second), y, t, weights, strict=True)
        ]
        assert value == 2.0 * parts[0][0] + 0.25 * parts[1][0] == TWO(y, t, weights)
        np.testing.assert_array_equal(delta[0], 2.0 * parts[0][1])
        np.testing.assert_array_equal(TWO.delta(y, t, weights)[1], 0.25 * parts[1][1])
    with pytest.raises(ShapeError, match="array of weights for each of the 2 losses"):
        TWO(y, t, (w, w, w))


def test_the_weighted_sum_by_hand() -> None:
    loss = PerOutput([HalfSquaredError(), MeanAbsoluteError()], weights=[1.0, 0.5])
    y = np.array([[3.0], [1.0]]), np.array([[1.0, 2.0], [0.0, 0.0]])
    t = np.array([[1.0], [1.0]]), np.array([[1.0, 6.0], [0.0, 1.0]])
    # (½ 2² + 0)/2, and half of ((0 + 4)/2 + (0 + 1)/2)/2
    assert loss(y, t) == 1.0 + 0.5 * 1.25
    first, second = loss.delta(y, t)
    np.testing.assert_array_equal(first, [[1.0], [0.0]])
    np.testing.assert_array_equal(second, [[0.0, -0.125], [0.0, -0.125]])


@given(sums(), st.booleans(), seeds)
def test_every_method_returns_the_weighted_sum_of_the_separate_losses(
    loss: PerOutput, is_weighted: bool, seed: int
) -> None:
    y, t, weights = problem(loss, seed=seed)
    w = weights if is_weighted else None
    each = list(zip(loss.weights, loss.losses, y, t, strict=True))
    cost, deltas = loss.value_and_delta(y, t, w)
    assert cost == loss(y, t, w) == sum(lam * own(a, b, w) for lam, own, a, b in each)
    costs, same = loss.costs_and_deltas(y, t, w)
    assert costs == tuple(own(a, b, w) for _, own, a, b in each)
    assert loss.total(costs) == cost
    for ours, (lam, own, a, b), others in zip(
        deltas, each, zip(loss.delta(y, t, w), same, strict=True), strict=True
    ):
        for other in (*others, lam * own.delta(a, b, w)):
            np.testing.assert_array_equal(ours, other)
    np.testing.assert_array_equal(
        loss.costs(y, t), sum(lam * own.costs(a, b) for lam, own, a, b in each)
    )
    for slopes, (lam, own, a, b) in zip(loss.slopes(y, t), each, strict=True):
        np.testing.assert_array_equal(slopes, lam * own.slopes(a, b))


def test_the_default_weights_are_one() -> None:
    loss = PerOutput([HalfSquaredError(), Huber()])
    assert loss.weights == (1.0, 1.0)
    y, t, _ = problem(loss)
    assert loss(y, t) == HalfSquaredError()(y[0], t[0]) + Huber()(y[1], t[1])


@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e308])
def test_a_weight_of_zero_silences_an_output_whatever_it_contains(bad: float) -> None:
    loss = PerOutput([HalfSquaredError(), MeanSquaredError()], weights=[0, 3])
    y, t, w = problem(loss)
    y[0][2, 1] = bad
    with np.errstate(all="ignore"):
        cost, (silent, heard) = loss.value_and_delta(y, t, w)
    assert cost == 3 * MeanSquaredError()(y[1], t[1], w)
    np.testing.assert_array_equal(silent, np.zeros((7, 2)))
    np.testing.assert_array_equal(heard, 3 * MeanSquaredError().delta(y[1], t[1], w))


def test_it_is_among_the_public_losses() -> None:
    assert losses.PerOutput is PerOutput and "PerOutput" in losses.__all__


# ------------------------------------------------------------------------------- the laws of a loss


@given(sums(), seeds)
def test_adjoint_the_deltas_are_the_gradient_by_dual_numbers_and_by_differences(
    loss: PerOutput, seed: int
) -> None:
    y, t, w = problem(loss, seed=seed)
    rng = np.random.default_rng(seed + 1)
    vs = [rng.normal(size=array.shape) for array in y]
    along = sum(np.vdot(d, v) for d, v in zip(loss.delta(y, t, w), vs, strict=True))

    class_losses = (SoftmaxCrossEntropy, NegativeLogLikelihood, SigmoidCrossEntropy)
    if not any(isinstance(own, class_losses) for own in loss.losses):
        cost = loss(tuple(Dual(a, v) for a, v in zip(y, vs, strict=True)), t, w)
        assert float(cost.tangent) == pytest.approx(float(along), rel=1e-11, abs=1e-12)

    def moved(step: float) -> float:
        return float(loss(tuple(a + step * v for a, v in zip(y, vs, strict=True)), t, w))

    if not any(isinstance(own, MeanAbsoluteError | Huber) for own in loss.losses):  # have kinks
        scale = sum(loss.weights)
        slope = (moved(1e-5) - moved(-1e-5)) / 2e-5
        assert slope == pytest.approx(float(along), rel=1e-6, abs=1e-7 * scale)


@given(sums(), seeds)
def test_tangent_the_derivative_of_the_deltas_goes_through_the_same_code(
    loss: PerOutput, seed: int
) -> None:
    y, t, w = problem(loss, seed=seed)
    rng = np.random.default_rng(seed + 1)
    vs = [rng.normal(size=array.shape) for array in y]
    deltas = loss.delta(tuple(Dual(a, v) for a, v in zip(y, vs, strict=True)), t, w)
    for lam, own, delta, a, b, v in zip(loss.weights, loss.losses, deltas, y, t, vs, strict=True):
        alone = own.delta(Dual(a, v), b, w)
        np.testing.assert_array_equal(delta.value, lam * alone.value)
        np.testing.assert_array_equal(delta.tangent, lam * alone.tangent)


@given(sums(), st.integers(1, 6), seeds)
def test_accumulate_the_parts_of_a_batch_add_up_to_the_batch(
    loss: PerOutput, size: int, seed: int
) -> None:
    y, t, w = problem(loss, seed=seed)
    parts = [slice(0, size), slice(size, None)]
    costs = [
        float(loss(tuple(a[part] for a in y), tuple(b[part] for b in t), w[part])) * len(w[part])
        for part in parts
    ]
    assert sum(costs) / 7 == pytest.approx(float(loss(y, t, w)), rel=1e-12)


@given(sums(), seeds)
def test_purity_repeatable_memory_nothing_is_changed_or_remembered(
    loss: PerOutput, seed: int
) -> None:
    y, t, w = problem(loss, seed=seed)
    kept = [array.copy() for array in (*y, *t, w)]
    cost, deltas = loss.value_and_delta(y, t, w)
    held = [delta.copy() for delta in deltas]
    loss.value_and_delta(tuple(a + 1 / 64 for a in y), t, w)
    again, same = loss.value_and_delta(y, t, w)
    assert again == cost
    for one, other in zip((*deltas, *same), (*held, *held), strict=True):
        np.testing.assert_array_equal(one, other)
    for one, other in zip((*y, *t, w), kept, strict=True):
        np.testing.assert_array_equal(one, other)


@given(sums(), seeds)
def test_batch_rows_are_independent_and_an_empty_batch_costs_nothing(
    loss: PerOutput, seed: int
) -> None:
    y, t, w = problem(loss, seed=seed)
    whole = loss.delta(y, t, w)
    row = slice(3, 4)
    alone = loss.delta(tuple(a[row] for a in y), tuple(b[row] for b in t), w[row])
    for one, other in zip(whole, alone, strict=True):
        np.testing.assert_allclose(7 * one[row], other, rtol=1e-12)
    none = tuple(a[:0] for a in y), tuple(b[:0] for b in t)
    assert float(loss(*none)) == 0.0
    assert [d.shape for d in loss.delta(*none)] == [(0, a.shape[1]) for a in y]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("weights", [[1.0, 1.0], [np.float64(0.3), np.float64(2.0)], [0, 1]])
def test_type_everything_is_of_the_type_of_the_outputs(dtype: Any, weights: list[Any]) -> None:
    loss = PerOutput([HalfSquaredError(), SoftmaxCrossEntropy()], weights)
    y, t, w = problem(loss)
    cost, deltas = loss.value_and_delta(tuple(a.astype(dtype) for a in y), t, w)
    assert cost.dtype == dtype
    assert {delta.dtype for delta in deltas} == {np.dtype(dtype)}


def test_return_the_configuration_is_equal_and_computes_the_same_again() -> None:
    y, t, w = problem(TWO)
    copy = PerOutput(list(TWO.losses), weights=np.array(TWO.weights))
    assert copy == TWO != evolve(TWO, weights=(1.0, 1.0))
    assert copy(y, t, w) == TWO(y, t, w)
    assert repr(TWO) == (
        "PerOutput(losses=(HalfSquaredError(), SoftmaxCrossEntropy()), weights=(2.0, 0.25))"
    )


# ------------------------------------------------------------------------------- what is refused


def test_targets_are_accepted_by_the_loss_of_their_output() -> None:
    y, (numbers, labels), _ = problem(TWO)
    whole = (numbers > 0.5).astype(int)
    accepted = TWO.accept(y, (whole, labels == 1))
    assert [t.dtype for t in accepted] == [np.dtype(float), np.dtype(np.intp)]
    TWO.validate_targets([(7, 2), (7, 3)], (whole, labels))


@pytest.mark.parametrize(
    ("given_losses", "weights", "words"),
    [
        (HalfSquaredError(), None, "a list of at least two losses"),
        ([HalfSquaredError()], None, "give the loss itself"),
        ([], None, "a list of at least two losses"),
        ([HalfSquaredError(), "mse"], None, "losses[1]"),
        ("mse", None, "losses[0]"),
        ([HalfSquaredError, Huber()], None, "HalfSquaredError(…)"),
        ([Huber(), TWO], None, "losses[1]"),
        ([Huber(), Huber()], [1.0], "2 weights"),
        ([Huber(), Huber()], [1.0, 2.0, 3.0], "3: 1.0, 2.0, 3.0"),
        ([Huber(), Huber()], [1.0, -0.5], "weights[1]"),
        ([Huber(), Huber()], [np.nan, 1.0], "weights[0]"),
        ([Huber(), Huber()], [np.inf, 1.0], "0 ≤ weight < ∞"),
        ([Huber(), Huber()], [True, 1.0], "weights[0]"),
        ([Huber(), Huber()], ["1", 1.0], "weights[0]"),
        ([Huber(), Huber()], 2.0, "2 weights"),
    ],
)
def test_invalid_losses_or_weights_are_refused(given_losses: Any, weights: Any, words: str) -> None:
    options = {} if weights is None else {"weights": weights}
    with pytest.raises(ConfigurationError) as caught:
        PerOutput(given_losses, **options)
    assert words in str(caught.value)


WAYS = ["__call__", "delta", "value_and_delta", "costs_and_deltas", "costs", "slopes", "accept"]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda y, t: (y[0], t), ["PerOutput, y", "float64 (7, 2)", "one output, use one loss"]),
        (
            lambda y, t: (y, t[0]),
            ["PerOutput, t", "float64 (7, 2)", "in the same order: (t_1, t_2)"],
        ),
        (lambda y, t: (list(y), t), ["PerOutput, y", "a list of 2", "(y_1, y_2)"]),
        (lambda y, t: (y, list(t)), ["PerOutput, t", "a list of 2", "(t_1, t_2)"]),
        (lambda y, t: (y + y, t), ["one output for each of the 2 losses", "a tuple of 4"]),
        (lambda y, t: (y, t[:1]), ["one target for each of the 2 losses", "a tuple of 1"]),
        (lambda y, t: (y, (t[0][:, :1], t[1])), ["y[0], HalfSquaredError", "(7, 1)"]),
        (lambda y, t: (y, (t[0], t[0])), ["y[1], SoftmaxCrossEntropy", "(7, 2)"]),
    ],
)
def test_outputs_and_targets_that_do_not_fit_the_losses_are_refused(
    way: str, spoil: Any, words: list[str]
) -> None:
    y, t, _ = problem(TWO)
    with pytest.raises(ShapeError) as caught:
        getattr(TWO, way)(*spoil(y, t))
    for word in words:
        assert word in str(caught.value)


def test_the_row_and_the_output_of_a_bad_label_are_named() -> None:
    y, (numbers, labels), _ = problem(TWO)
    labels[4] = 3
    with pytest.raises(DataError) as caught:
        TWO(y, (numbers, labels))
    assert caught.value.place == "y[1], SoftmaxCrossEntropy, row 4"
    with pytest.raises(DataError) as caught:
        TWO.validate_targets(((7, 2), (7, 3)), (numbers, labels))
    assert caught.value.place == "y[1], SoftmaxCrossEntropy, row 4"


def test_the_error_for_a_probability_of_zero_names_its_output() -> None:
    loss = PerOutput([HalfSquaredError(), NegativeLogLikelihood()])
    y, t, _ = problem(loss)
    y[1][np.arange(7), t[1]] = 0.0
    with pytest.raises(NonFiniteError) as caught:
        loss(y, t)
    assert caught.value.place == "y[1], NegativeLogLikelihood"


def test_an_error_in_a_custom_loss_names_its_output() -> None:
    @define
    class LawViolation(Loss):
        def costs(self, y: Any, target: Any) -> Any:
            raise ZeroDivisionError

    loss = PerOutput([HalfSquaredError(), LawViolation()])
    y, t, _ = problem(loss)
    with pytest.raises(ZeroDivisionError) as caught:
        loss(y, t)
    assert caught.value.__notes__ == ["in LawViolation, the loss of y[1]"]


@pytest.mark.parametrize("loss", EACH, ids=repr)
def test_a_loss_for_one_output_that_gets_several_suggests_per_output(loss: Loss) -> None:
    y = np.ones((3, 2)), np.ones((3, 2))
    with pytest.raises(ShapeError, match="the loss is for one") as caught:
        loss.value_and_delta(y, y)  # type: ignore[arg-type]
    assert "PerOutput" in str(caught.value.hint)


def test_invalid_sample_weights_are_refused() -> None:
    y, t, _ = problem(TWO)
    with pytest.raises(DtypeError, match="sample weights"):
        TWO(y, t, [1.0] * 7)  # type: ignore[arg-type]
    with pytest.raises(ShapeError, match="one weight for each sample"):
        TWO(y, t, np.ones(3))
