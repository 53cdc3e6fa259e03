"""Losses against numbers computed by hand, formulas in mpmath, and difference quotients."""

from __future__ import annotations

import math
import warnings

import mpmath
import numpy as np
import pytest
from attrs import define
from hypothesis import given, settings
from hypothesis import strategies as st

from chainrule.calculus.dual import Dual
from chainrule.core.errors import (
    ChainruleError,
    ConfigurationError,
    DataError,
    DefinitionError,
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
    SigmoidCrossEntropy,
    SoftmaxCrossEntropy,
)

DIFFERENCE_LOSSES = [HalfSquaredError(), MeanSquaredError(), MeanAbsoluteError(), Huber(0.7)]
CLASS_LOSSES = [SoftmaxCrossEntropy(), NegativeLogLikelihood()]
LOSSES = [*DIFFERENCE_LOSSES, *CLASS_LOSSES, SigmoidCrossEntropy()]
every_loss = pytest.mark.parametrize("loss", LOSSES, ids=repr)
every_dtype = pytest.mark.parametrize("dtype", [np.float32, np.float64])


def problem(loss, shape, seed=0, dtype=np.float64, labels=False):
    """An output of this shape and a target for it; labels if the loss takes them."""
    rng = np.random.default_rng(seed)
    y = rng.normal(size=shape)
    if isinstance(loss, NegativeLogLikelihood):
        y = rng.uniform(0.05, 0.95, size=shape)
    if isinstance(loss, SigmoidCrossEntropy) or (loss in CLASS_LOSSES and not labels):
        target = rng.uniform(size=shape)
    elif loss in CLASS_LOSSES:
        return y.astype(dtype), rng.integers(shape[-1], size=shape[:-1])
    else:
        target = rng.normal(size=shape)
    return y.astype(dtype), target.astype(dtype)


def cost_in_words(loss, y, t):
    """c_s of one sample by the formula of the docstring, in mpmath."""
    y, t = np.reshape(y, -1), np.reshape(t, -1)
    pairs = [(mpmath.mpf(float(a)), mpmath.mpf(float(b))) for a, b in zip(y, t, strict=True)]
    if isinstance(loss, HalfSquaredError):
        return mpmath.fsum((a - b) ** 2 for a, b in pairs) / 2
    if isinstance(loss, MeanSquaredError):
        return mpmath.fsum((a - b) ** 2 for a, b in pairs) / len(pairs)
    if isinstance(loss, MeanAbsoluteError):
        return mpmath.fsum(abs(a - b) for a, b in pairs) / len(pairs)
    if isinstance(loss, Huber):
        far = mpmath.mpf(loss.threshold)
        return mpmath.fsum(
            (a - b) ** 2 / 2 if abs(a - b) <= far else far * (abs(a - b) - far / 2)
            for a, b in pairs
        ) / len(pairs)
    if isinstance(loss, SoftmaxCrossEntropy):
        log_of_sum = mpmath.log(mpmath.fsum(mpmath.exp(a) for a, _ in pairs))
        return mpmath.fsum(b * (log_of_sum - a) for a, b in pairs)
    if isinstance(loss, NegativeLogLikelihood):
        return -mpmath.fsum(b * mpmath.log(a) for a, b in pairs)
    probability = [1 / (1 + mpmath.exp(-a)) for a, _ in pairs]
    return -mpmath.fsum(
        b * mpmath.log(p) + (1 - b) * mpmath.log(1 - p)
        for p, (_, b) in zip(probability, pairs, strict=True)
    ) / len(pairs)


# --- numbers computed by hand --------------------------------------------------------------------


def test_half_squared_error_is_the_cost_function_of_the_lecture():
    y = np.array([[1.0, 2.0], [3.0, 5.0]])
    t = np.array([[0.0, 0.0], [3.0, 1.0]])
    # ½ (1 + 4) and ½ (0 + 16), and their average
    value, delta = HalfSquaredError().value_and_delta(y, t)
    assert value == (2.5 + 8.0) / 2
    np.testing.assert_array_equal(delta, [[0.5, 1.0], [0.0, 2.0]])


def test_means_are_over_batch_and_outputs():
    y = np.array([[1.0, 2.0], [3.0, 5.0]])
    t = np.array([[0.0, 0.0], [3.0, 1.0]])
    assert MeanSquaredError()(y, t) == (1 + 4 + 0 + 16) / 4
    np.testing.assert_array_equal(MeanSquaredError().delta(y, t), [[0.5, 1.0], [0.0, 2.0]])
    assert MeanAbsoluteError()(y, t) == (1 + 2 + 0 + 4) / 4
    np.testing.assert_array_equal(MeanAbsoluteError().delta(y, t), [[0.25, 0.25], [0.0, 0.25]])
    # with θ = 2: ½, 2, 0 and 2 (4 − 1) = 6; slopes 1, 2, 0, 2
    assert Huber(threshold=2.0)(y, t) == (0.5 + 2 + 0 + 6) / 4
    np.testing.assert_array_equal(Huber(2.0).delta(y, t), [[0.25, 0.5], [0.0, 0.5]])


def test_huber_is_symmetric_and_continuous_where_the_line_begins():
    y = np.array([[-3.0], [-1.0], [1.0], [3.0]])
    t = np.zeros((4, 1))
    np.testing.assert_array_equal(Huber(1.0).costs(y, t), [2.5, 0.5, 0.5, 2.5])
    np.testing.assert_array_equal(Huber(1.0).slopes(y, t), [[-1], [-1], [1], [1]])


def test_softmax_cross_entropy_of_one_quarter_and_three_quarters():
    logits = np.array([[0.0, math.log(3)]])  # p = ¼, ¾
    for target in (np.array([1]), np.array([[0.0, 1.0]])):
        value, delta = SoftmaxCrossEntropy().value_and_delta(logits, target)
        assert value == pytest.approx(math.log(4 / 3), rel=1e-15)
        np.testing.assert_allclose(delta, [[0.25, -0.25]], rtol=1e-15)
    soft = np.array([[0.5, 0.5]])
    value, delta = SoftmaxCrossEntropy().value_and_delta(logits, soft)
    assert value == pytest.approx(0.5 * math.log(4) + 0.5 * math.log(4 / 3), rel=1e-15)
    np.testing.assert_allclose(delta, [[-0.25, 0.25]], rtol=1e-15)


def test_sigmoid_cross_entropy_of_one_quarter():
    logits = np.array([[-math.log(3), 0.0]])  # p = ¼, ½
    value, delta = SigmoidCrossEntropy().value_and_delta(logits, np.array([[1.0, 0.0]]))
    assert value == pytest.approx((math.log(4) + math.log(2)) / 2, rel=1e-15)
    np.testing.assert_allclose(delta, [[-0.375, 0.25]], rtol=1e-15)


def test_negative_log_likelihood_of_one_quarter():
    probabilities = np.array([[0.25, 0.75], [0.5, 0.5]])
    value, delta = NegativeLogLikelihood().value_and_delta(probabilities, np.array([0, 1]))
    assert value == pytest.approx((math.log(4) + math.log(2)) / 2, rel=1e-15)
    np.testing.assert_array_equal(delta, [[-2.0, 0.0], [0.0, -1.0]])


# --- many samples --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "loss",
    [
        HalfSquaredError(), MeanSquaredError(), MeanAbsoluteError(), Huber(0.3),
        SoftmaxCrossEntropy(), SigmoidCrossEntropy(), NegativeLogLikelihood(),
    ],
    ids=repr,
)  # fmt: skip
@pytest.mark.parametrize("weighted", [False, True])
def test_the_cost_of_millions_of_float32_samples_has_the_digits_of_float32(loss, weighted):
    n = 1_000_000
    rng = np.random.default_rng(0)
    y = rng.uniform(0.05, 0.95, size=(n, 2)).astype(np.float32)
    target = rng.integers(0, 2, n) if loss in CLASS_LOSSES else np.zeros_like(y)
    weights = rng.uniform(0.5, 1.5, n).astype(np.float32) if weighted else None
    wide = weights if weights is None else weights.astype(np.float64)
    exact = target if target.dtype.kind == "i" else target.astype(np.float64)
    cost, delta = loss.value_and_delta(y, target, weights)
    assert cost.dtype == np.float32
    assert float(cost) == pytest.approx(float(loss(y.astype(np.float64), exact, wide)), rel=2e-7)
    few = np.arange(0, n, n // 7)
    share = np.float32(1) if weights is None else weights[few, np.newaxis]
    scale = loss.slopes(y[few], target[few])
    np.testing.assert_allclose(delta[few] * np.float32(n), scale * share, rtol=1e-6)


def test_a_mean_of_ones_is_one_however_many_there_are():
    @define
    class Count(Loss):
        def costs(self, y, target):
            return np.ones_like(y[:, 0])

        def slopes(self, y, target):
            return np.zeros_like(y)

    for n in (3, 1000, 2**16 + 1, 3_000_001):
        y = np.ones((n, 1), np.float32)
        for loss in (HalfSquaredError(), MeanSquaredError(), MeanAbsoluteError(), Count()):
            one = 0.5 if isinstance(loss, HalfSquaredError) else 1.0
            assert float(loss(y, 0 * y)) == pytest.approx(one, rel=1.2e-7)


def test_the_cost_of_one_large_sample_has_the_digits_of_float32():
    y = np.random.default_rng(0).uniform(0.5, 1.5, size=(1, 3, 700_001)).astype(np.float32)
    for loss in (HalfSquaredError(), MeanSquaredError(), MeanAbsoluteError(), Huber(0.3)):
        exact = loss.costs(y.astype(np.float64), np.zeros(y.shape))
        np.testing.assert_allclose(loss.costs(y, 0 * y), exact, rtol=2e-7)


@pytest.mark.parametrize("kind", [HalfSquaredError, MeanSquaredError, MeanAbsoluteError])
def test_a_cost_beyond_float32_is_infinite_without_a_warning(kind):
    y = np.full((2, 4), 3e38, np.float32)
    expected = np.inf if kind is not MeanAbsoluteError else np.float32(3e38)
    with np.errstate(over="ignore"):  # the square itself, which NumPy reports
        np.testing.assert_allclose(kind()(y, 0 * y), expected, rtol=1e-6)
    assert np.isnan(kind()(np.full((2, 4), np.nan, np.float32), np.zeros((2, 4), np.float32)))


# --- the formulas --------------------------------------------------------------------------------


@every_loss
@pytest.mark.parametrize("shape", [(5, 4), (1, 2), (3, 2, 4)])
def test_the_cost_is_the_weighted_average_of_the_formula(loss, shape):
    y, target = problem(loss, shape)
    weights = np.random.default_rng(1).uniform(0, 3, size=len(y))
    between = math.prod(shape[1:-1]) if loss in CLASS_LOSSES else 1  # averaged over, like the batch
    with mpmath.workdps(40):
        if loss in CLASS_LOSSES:
            rows = zip(y.reshape(-1, shape[-1]), target.reshape(-1, shape[-1]), strict=True)
            costs = [cost_in_words(loss, *row) for row in rows]
            costs = [
                mpmath.fsum(costs[s * between : (s + 1) * between]) / between for s in range(len(y))
            ]
        else:
            costs = [cost_in_words(loss, *row) for row in zip(y, target, strict=True)]
        average = mpmath.fsum(costs) / len(y)
        weighted = mpmath.fsum(w * c for w, c in zip(weights.tolist(), costs, strict=True)) / len(y)
    assert loss(y, target) == pytest.approx(float(average), rel=1e-14)
    assert loss(y, target, weights) == pytest.approx(float(weighted), rel=1e-14)
    np.testing.assert_allclose(loss.costs(y, target), np.array(costs, dtype=float), rtol=1e-14)


@every_loss
@pytest.mark.parametrize("shape", [(4, 3), (2, 2, 3), (5,)])
@pytest.mark.parametrize("weighted", [False, True])
def test_delta_is_the_derivative_of_the_cost(loss, shape, weighted):
    if len(shape) == 1 and loss in CLASS_LOSSES:
        shape = (5, 2)
    y, target = problem(loss, shape, seed=3)
    weights = np.array([0.5, 2.0, 0.0, 1.0, 3.0])[: len(y)] if weighted else None
    step = 1e-5
    quotients = np.empty_like(y)
    for entry in np.ndindex(y.shape):
        up, down = y.copy(), y.copy()
        up[entry] += step
        down[entry] -= step
        rise = loss(up, target, weights) - loss(down, target, weights)
        quotients[entry] = rise / (up[entry] - down[entry])
    # step²/6 times a third derivative, of −ln p at p = 0.05 the largest, and rounding over step
    np.testing.assert_allclose(loss.delta(y, target, weights), quotients, rtol=3e-8, atol=1e-10)


@every_loss
@pytest.mark.parametrize("shape", [(4, 3), (2, 2, 3)])
@pytest.mark.parametrize("weights", [None, [0.5, 0.0, 1.0, 3.0]])
def test_all_methods_agree(loss, shape, weights):
    y, target = problem(loss, shape, labels=True)
    weights = None if weights is None else np.array(weights[: len(y)])
    value, delta = loss.value_and_delta(y, target, weights)
    assert value == loss(y, target, weights)
    np.testing.assert_array_equal(delta, loss.delta(y, target, weights))
    shares = (np.ones(len(y)) if weights is None else weights) / len(y)
    costs, slopes = loss.costs(y, target), loss.slopes(y, target)
    assert costs.shape == y.shape[:1]
    assert value == pytest.approx(np.sum(shares * costs), rel=1e-14)
    column = shares.reshape(-1, *[1] * (y.ndim - 1))
    np.testing.assert_allclose(delta, column * slopes, rtol=1e-14)


@every_loss
def test_samples_are_independent(loss):
    y, target = problem(loss, (6, 3))
    delta = loss.delta(y, target)
    for s in range(6):
        alone = loss.delta(y[s : s + 1], target[s : s + 1])
        np.testing.assert_allclose(6 * delta[s : s + 1], alone, rtol=1e-14)


@pytest.mark.parametrize("loss", CLASS_LOSSES, ids=repr)
@pytest.mark.parametrize("dtype", [np.int64, np.int8, np.uint8, np.uint64])
@pytest.mark.parametrize("shape", [(6, 4), (2, 3, 4)])
def test_labels_are_equivalent_to_one_hot_rows(loss, dtype, shape):
    y, labels = problem(loss, shape, labels=True)
    labels = labels.astype(dtype)
    one_hot = np.eye(4)[labels]
    assert loss(y, labels) == pytest.approx(loss(y, one_hot), rel=1e-14)
    assert loss(y, labels) == loss(y, labels.astype(np.int64))
    np.testing.assert_allclose(loss.delta(y, labels), loss.delta(y, one_hot), rtol=1e-13)
    np.testing.assert_array_equal(loss.delta(y, one_hot), loss.delta(y, one_hot.astype(bool)))


@pytest.mark.parametrize("loss", [*CLASS_LOSSES, SigmoidCrossEntropy()], ids=repr)
def test_true_and_false_are_labels_one_and_zero(loss):
    y, _ = problem(loss, (4, 2))
    yes = np.array([True, False, False, True])
    assert loss(y, yes) == loss(y, yes.astype(int))
    np.testing.assert_array_equal(loss.delta(y, yes), loss.delta(y, yes.astype(int)))


def test_sigmoid_labels_are_the_index_of_the_true_output_or_yes_and_no():
    loss = SigmoidCrossEntropy()
    rng = np.random.default_rng(0)
    many, labels = rng.normal(size=(5, 3)), np.array([0, 2, 1, 1, 0])
    assert loss(many, labels) == loss(many, np.eye(3)[labels])
    one, yes = rng.normal(size=(4, 1)), np.array([1, 0, 0, 1])
    assert loss(one, yes) == loss(one, yes[:, np.newaxis].astype(float))
    np.testing.assert_array_equal(loss.delta(one, yes), loss.delta(one, yes[:, np.newaxis]))
    flat = loss(one[:, 0], yes)  # one number for each sample needs no axis of outputs
    assert flat == pytest.approx(loss(one, yes), rel=1e-15)


def test_targets_of_a_softmax_need_not_sum_to_one():
    loss = SoftmaxCrossEntropy()
    y, target = problem(loss, (4, 3), seed=5)
    p = np.exp(y) / np.sum(np.exp(y), axis=1, keepdims=True)
    expected = (p * np.sum(target, axis=1, keepdims=True) - target) / 4
    np.testing.assert_allclose(loss.delta(y, target), expected, rtol=1e-13, atol=1e-16)


# --- smoothing, labels that do not count, the weight of a yes ------------------------------------

OPTIONS = [
    SoftmaxCrossEntropy(label_smoothing=0.1),
    SoftmaxCrossEntropy(ignore=-1),
    SoftmaxCrossEntropy(label_smoothing=0.3, ignore=1),
    NegativeLogLikelihood(label_smoothing=0.1, ignore=-1),
    SigmoidCrossEntropy(pos_weight=3.0),
    SigmoidCrossEntropy(pos_weight=[0.5, 2.0, 4.0], label_smoothing=0.2),
    SigmoidCrossEntropy(ignore=-1),
]
every_option = pytest.mark.parametrize("loss", OPTIONS, ids=repr)


def test_smoothing_moves_each_target_towards_all_classes():
    logits = np.array([[0.0, math.log(3)]])  # p = ¼, ¾; with ε = 0.2 the target is 0.1, 0.9
    for target in (np.array([1]), np.array([[0.0, 1.0]])):
        value, delta = SoftmaxCrossEntropy(label_smoothing=0.2).value_and_delta(logits, target)
        assert value == pytest.approx(0.1 * math.log(4) + 0.9 * math.log(4 / 3), rel=1e-15)
        np.testing.assert_allclose(delta, [[0.15, -0.15]], rtol=1e-14)
    yes = np.array([[1.0]])
    value = SigmoidCrossEntropy(label_smoothing=0.2)(logits[:, 1:], yes)
    assert value == pytest.approx(0.9 * math.log(4 / 3) + 0.1 * math.log(4), rel=1e-15)


@pytest.mark.parametrize("missing", [-1, -100, 0, 255])
def test_a_label_that_is_ignored_neither_costs_nor_counts(missing):
    rng = np.random.default_rng(0)
    y, labels = rng.normal(size=(6, 4)), rng.integers(1, 4, 6)
    labels[[1, 4]] = missing
    kept = labels != missing
    y[1] = np.nan  # whatever is there
    for loss, plain in (
        (SoftmaxCrossEntropy(ignore=missing), SoftmaxCrossEntropy()),
        (SigmoidCrossEntropy(ignore=missing), SigmoidCrossEntropy()),
    ):
        value, delta = loss.value_and_delta(y, labels)
        expected = plain.value_and_delta(y[kept], labels[kept])
        assert value == pytest.approx(expected[0], rel=1e-15)
        np.testing.assert_allclose(delta[kept], expected[1], rtol=1e-15)
        np.testing.assert_array_equal(delta[~kept], 0.0)
        loss.validate_targets(y.shape, labels)


def test_targets_of_single_outputs_can_be_ignored():
    z = np.array([[-math.log(3), 0.0], [math.log(3), 5.0]])  # p = ¼, ½; ¾
    t = np.array([[1, 0], [1, -1]])
    expected = (math.log(4) + math.log(2) + math.log(4 / 3)) / 3
    for target in (t, t.astype(float), t.astype(np.float32)):
        value, delta = SigmoidCrossEntropy(ignore=-1).value_and_delta(z, target)
        assert value == pytest.approx(expected, rel=1e-15)
        np.testing.assert_allclose(delta, [[-0.25, 0.5 / 3], [-0.25 / 3, 0.0]], rtol=1e-15)


@pytest.mark.parametrize("loss", [SoftmaxCrossEntropy(ignore=-1), SigmoidCrossEntropy(ignore=-1)])
def test_a_batch_without_any_label_costs_nothing(loss):
    value, delta = loss.value_and_delta(np.ones((3, 4)), np.full(3, -1))
    assert value == 0.0
    np.testing.assert_array_equal(delta, np.zeros((3, 4)))
    assert loss.counted((3, 4), np.full(3, -1)) == 0


def test_the_average_is_over_the_labels_that_count_and_not_over_the_samples():
    y = np.zeros((2, 3, 2))  # each label costs ln 2
    labels = np.array([[0, 1, -1], [-1, -1, 1]])
    loss = SoftmaxCrossEntropy(ignore=-1)
    assert loss(y, labels) == pytest.approx(math.log(2), rel=1e-15)
    weights = np.array([[3.0, 1.0, 9.0], [9.0, 9.0, 2.0]])
    assert loss(y, labels, weights) == pytest.approx(6 * math.log(2) / 3, rel=1e-15)
    assert loss.counted(y.shape, labels) == 3
    assert loss.counted(y.shape, labels, weights) == 6
    assert loss.counted(y.shape, labels, np.array([2.0, 5.0])) == 2 * 2 + 5
    np.testing.assert_allclose(loss.costs(y, labels), np.log(2) * np.array([4, 2]) / 3)


def test_a_yes_counts_as_often_as_its_weight_says():
    z, t = np.array([[-math.log(3), 0.0]]), np.array([[1.0, 0.0]])  # p = ¼, ½
    value, delta = SigmoidCrossEntropy(pos_weight=3.0).value_and_delta(z, t)
    assert value == pytest.approx((3 * math.log(4) + math.log(2)) / 2, rel=1e-15)
    np.testing.assert_allclose(delta, [[-3 * 0.375, 0.25]], rtol=1e-15)
    value = SigmoidCrossEntropy(pos_weight=[2, 100])(z, t)
    assert value == pytest.approx((2 * math.log(4) + math.log(2)) / 2, rel=1e-15)


@every_option
@every_dtype
def test_options_keep_the_type_and_all_methods_agree(loss, dtype):
    y, target = problem(NegativeLogLikelihood(), (5, 3), labels=True)
    y = y.astype(dtype)
    if loss.ignore is not None:
        target[::2] = loss.ignore
    value, delta = loss.value_and_delta(y, target)
    exactness = float(8 * np.finfo(dtype).eps)
    assert value.dtype == delta.dtype == dtype
    assert value == loss(y, target) == pytest.approx(loss.costs(y, target).mean(), rel=exactness)
    np.testing.assert_allclose(delta, loss.slopes(y, target) / 5, rtol=exactness)
    step = np.zeros_like(y)
    if dtype is np.float64:
        for entry in np.ndindex(y.shape):
            step[entry] = 1e-6
            slope = (loss(y + step, target) - loss(y - step, target)) / 2e-6
            assert delta[entry] == pytest.approx(slope, rel=1e-7, abs=1e-9)
            step[entry] = 0.0


@every_option
def test_options_survive_as_text_and_are_shown_only_if_given(loss):
    assert eval(repr(loss)) == loss
    assert repr(SigmoidCrossEntropy()) == "SigmoidCrossEntropy()"
    assert repr(SigmoidCrossEntropy(ignore=-1)) == "SigmoidCrossEntropy(ignore=-1)"


@every_dtype
@pytest.mark.parametrize("options", [{"pos_weight": 7.0}, {"label_smoothing": 0.25}])
def test_weighted_and_smoothed_entropies_are_exact_in_both_tails(dtype, options):
    loss = SigmoidCrossEntropy(**options)
    one_sided = np.array([2**-20, 0.5, 1.0, 20.0, 40.0, 85.0])
    more, part = mpmath.mpf(options.get("pos_weight", 1)), options.get("label_smoothing", 0)
    with mpmath.workdps(60):
        for z in np.concatenate([one_sided, -one_sided]).astype(dtype):
            exact_z = mpmath.mpf(float(z))
            no, yes = 1 / (1 + mpmath.exp(exact_z)), 1 / (1 + mpmath.exp(-exact_z))
            for t in (0, 1):
                chance = mpmath.mpf(t) * (1 - mpmath.mpf(part)) + mpmath.mpf(part) / 2
                cost = -more * chance * mpmath.log(yes) - (1 - chance) * mpmath.log(no)
                value, delta = loss.value_and_delta(np.array([z]), np.array([t], dtype))
                slope = (1 - chance) * yes - more * chance * no
                assert units_in_the_last_place(value, cost, dtype) <= 8
                # a smoothed slope has a zero, near which only its absolute error is small
                limit = 8 * np.finfo(dtype).eps * (abs(slope) if part == 0 else 1)
                assert abs(mpmath.mpf(float(delta[0])) - slope) <= max(limit, np.finfo(dtype).tiny)


@pytest.mark.parametrize(
    ("kind", "options", "words"),
    [
        (SoftmaxCrossEntropy, {"label_smoothing": 1.0}, "label_smoothing=1.0"),
        (SoftmaxCrossEntropy, {"label_smoothing": -0.1}, "0 ≤ label_smoothing < 1"),
        (NegativeLogLikelihood, {"label_smoothing": math.nan}, "nan"),
        (SigmoidCrossEntropy, {"label_smoothing": True}, "True"),
        (SoftmaxCrossEntropy, {"ignore": 0.5}, "ignore=0.5"),
        (SoftmaxCrossEntropy, {"ignore": [-1]}, "ignore=-1"),
        (SigmoidCrossEntropy, {"ignore": True}, "True"),
        (SigmoidCrossEntropy, {"pos_weight": -1.0}, "pos_weight=-1.0"),
        (SigmoidCrossEntropy, {"pos_weight": [1.0, math.inf]}, "inf"),
        (SigmoidCrossEntropy, {"pos_weight": "3"}, "'3'"),
        (SigmoidCrossEntropy, {"pos_weight": []}, "[]"),
    ],
)
def test_an_invalid_option_of_an_entropy_is_refused(kind, options, words):
    with pytest.raises(ConfigurationError) as caught:
        kind(**options)
    assert words in str(caught.value)


def test_there_must_be_a_weight_of_a_yes_for_each_output():
    with pytest.raises(ShapeError, match="3 outputs"):
        SigmoidCrossEntropy(pos_weight=[1.0, 2.0, 3.0])(np.ones((4, 2)), np.ones((4, 2)))


# --- weights of positions, and negative ones -----------------------------------------------------


@every_loss
def test_weights_may_belong_to_the_samples_or_to_parts_of_them(loss):
    y, target = problem(loss, (3, 2, 4))
    rng = np.random.default_rng(2)
    parts = [(3,), (3, 2)] + [(3, 2, 4)] * (loss not in CLASS_LOSSES)
    for shape in parts:
        weights = rng.normal(size=shape)  # C is linear in them: negative ones are allowed
        value, delta = loss.value_and_delta(y, target, weights)
        one_by_one, summed = np.zeros_like(y), 0.0
        for entry in np.ndindex(shape):
            alone = np.zeros(shape)
            alone[entry] = 1.0
            cost, slope = loss.value_and_delta(y, target, alone)
            summed += weights[entry] * cost
            one_by_one += weights[entry] * slope
        assert value == pytest.approx(summed, rel=1e-13)
        np.testing.assert_allclose(delta, one_by_one, rtol=1e-13, atol=1e-16)
        equal = np.ones(shape)
        assert loss(y, target, equal) == pytest.approx(loss(y, target), rel=1e-15)
        y_with_rubbish, silent = y.copy(), equal.copy()
        silent.flat[0] = 0.0
        y_with_rubbish[np.unravel_index(0, shape)] = np.nan
        assert np.isfinite(loss(y_with_rubbish, target, silent))


def test_the_gradient_of_a_policy_is_that_of_the_surprise_times_the_advantage():
    # Williams (1992): ∂/∂z Σ_s A_s ln π(a_s) = Σ_s A_s (1[k = a_s] − π_k)
    logits, actions = np.array([[0.0, math.log(3)], [0.0, 0.0]]), np.array([1, 0])
    advantages = np.array([2.0, -4.0])
    value, delta = SoftmaxCrossEntropy().value_and_delta(logits, actions, advantages)
    assert value == pytest.approx((2 * math.log(4 / 3) - 4 * math.log(2)) / 2, rel=1e-15)
    np.testing.assert_allclose(delta, [[0.25, -0.25], [1.0, -1.0]], rtol=1e-15)


def test_a_cost_too_large_for_its_type_is_bounded_on_both_sides():
    largest = np.finfo(np.float32).max
    logits, labels = np.array([[largest, 0]], np.float32), np.array([1])
    loss = SoftmaxCrossEntropy()
    assert loss(logits, labels, np.array([4.0])) == largest
    assert loss(logits, labels, np.array([-4.0])) == -largest


# --- stability -----------------------------------------------------------------------------------


def units_in_the_last_place(ours, exact, dtype):
    """The difference in units of the last place, and of the smallest normal number below it."""
    limits = np.finfo(dtype)
    scale = max(abs(exact), mpmath.mpf(float(limits.tiny))) * mpmath.mpf(float(limits.eps))
    return float(abs(mpmath.mpf(float(ours)) - exact) / scale)


@every_dtype
def test_softmax_cross_entropy_is_exact_in_both_tails(dtype):
    furthest = 700 if dtype is np.float64 else 85
    distances = np.concatenate([np.linspace(0, furthest, 29), [2**-20, 0.5, 1.0, 20.0, 40.0]])
    with mpmath.workdps(350):  # e^−700 beside 1
        for distance in distances.astype(dtype):
            gap = mpmath.mpf(float(distance))
            for label in (0, 1):
                cost = mpmath.log1p(mpmath.exp(-gap)) + (gap if label else 0)
                slope = 1 / (1 + mpmath.exp(gap)) if label == 0 else 1 / (1 + mpmath.exp(-gap))
                logits = np.array([[distance, 0]], dtype=dtype)
                for target in (np.array([label]), np.eye(2, dtype=dtype)[[label]]):
                    value, delta = SoftmaxCrossEntropy().value_and_delta(logits, target)
                    assert units_in_the_last_place(value, cost, dtype) <= 8
                    assert units_in_the_last_place(-delta[0, label], slope, dtype) <= 8
                    assert units_in_the_last_place(delta[0, 1 - label], slope, dtype) <= 8


@every_dtype
def test_sigmoid_cross_entropy_is_exact_in_both_tails(dtype):
    furthest = 700 if dtype is np.float64 else 85
    one_sided = np.concatenate([np.linspace(0, furthest, 29), [2**-20, 0.5, 1.0, 20.0, 40.0]])
    with mpmath.workdps(350):
        for z in np.concatenate([one_sided, -one_sided]).astype(dtype):
            exact_z = mpmath.mpf(float(z))
            no, yes = 1 / (1 + mpmath.exp(exact_z)), 1 / (1 + mpmath.exp(-exact_z))
            for t, cost, slope in ((1, -mpmath.log(yes), -no), (0, -mpmath.log(no), yes)):
                target = np.array([t], dtype=dtype)
                value, delta = SigmoidCrossEntropy().value_and_delta(np.array([z]), target)
                assert units_in_the_last_place(value, cost, dtype) <= 8
                assert units_in_the_last_place(delta[0], slope, dtype) <= 8
            soft = dtype(0.3)
            exact_t = mpmath.mpf(float(soft))
            value, delta = SigmoidCrossEntropy().value_and_delta(np.array([z]), np.array([soft]))
            cost = -exact_t * mpmath.log(yes) - (1 - exact_t) * mpmath.log(no)
            assert units_in_the_last_place(value, cost, dtype) <= 8
            assert abs(mpmath.mpf(float(delta[0])) - (yes - exact_t)) <= 8 * np.finfo(dtype).eps


@every_dtype
@pytest.mark.parametrize("fraction", [1e-3, 0.5, 1.0])
def test_cross_entropies_are_finite_and_do_not_warn_for_the_largest_logits(dtype, fraction):
    large = np.finfo(dtype).max * dtype(fraction)
    logits = np.array(
        [[large, -large, 0], [-large, large, large], [large, large, large], [0, -large, -large]],
        dtype=dtype,
    )
    soft = np.full((4, 3), 1 / 3, dtype=dtype)
    with np.errstate(all="raise"):
        for label in range(3):
            labels = np.full(4, label)
            for loss in (SoftmaxCrossEntropy(), SigmoidCrossEntropy()):
                for target in (labels, np.eye(3, dtype=dtype)[labels], soft):
                    value, delta = loss.value_and_delta(logits, target)
                    assert np.isfinite(value)
                    assert value >= 0
                    assert np.all(np.isfinite(delta))
                    assert value.dtype == delta.dtype == dtype


def test_the_cost_of_enormous_logits_is_still_right():
    logits = np.array([[1e300, -1e300], [0.0, 1e300]])
    labels = np.array([1, 0])
    assert SoftmaxCrossEntropy()(logits, labels) == pytest.approx(1.5e300, rel=1e-15)
    assert SoftmaxCrossEntropy()(logits, np.eye(2)[labels]) == pytest.approx(1.5e300, rel=1e-15)
    np.testing.assert_array_equal(
        SoftmaxCrossEntropy().delta(logits, labels), [[0.5, -0.5], [-0.5, 0.5]]
    )
    # two wrong outputs of 1e300 in the first sample, and one in the second, over four outputs
    assert SigmoidCrossEntropy()(logits, labels) == pytest.approx(0.75e300, rel=1e-15)


def test_a_cost_too_large_for_the_dtype_is_its_largest_number():
    largest = np.finfo(float).max
    logits, label = np.array([[largest, -largest]]), np.array([1])  # costs twice the largest
    assert SoftmaxCrossEntropy()(logits, label) == largest
    for many in (3, 10):
        rows, labels = np.repeat(logits, many, axis=0), np.repeat(label, many)
        assert SoftmaxCrossEntropy()(rows, labels) == pytest.approx(largest, rel=1e-15)
        value = SigmoidCrossEntropy()(np.full((many, 3), largest), np.zeros((many, 3)))
        assert value == pytest.approx(largest, rel=1e-15)


@pytest.mark.parametrize("loss", [SoftmaxCrossEntropy(), SigmoidCrossEntropy()], ids=repr)
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_logits_that_are_not_finite_are_not_hidden(loss, bad):
    logits = np.array([[bad, 0.0], [0.0, 1.0]])
    for target in (np.array([1, 1]), np.array([[0.0, 1.0], [0.0, 1.0]])):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert not np.isfinite(loss(logits, target))


def test_a_class_with_logit_minus_infinity_costs_nothing_unless_it_occurs():
    loss = SoftmaxCrossEntropy()
    logits = np.array([[0.0, 0.0, -np.inf]])
    for target in (np.array([0]), np.array([[1.0, 0.0, 0.0]])):
        value, delta = loss.value_and_delta(logits, target)
        assert value == pytest.approx(math.log(2), rel=1e-15)
        np.testing.assert_allclose(delta, [[-0.5, 0.5, 0.0]], rtol=1e-15)
    assert loss(logits, np.array([2])) == np.inf
    assert loss(logits, np.array([[0.5, 0.0, 0.5]])) == np.inf


# --- sample weights ------------------------------------------------------------------------------


@every_loss
def test_weights_of_one_change_nothing(loss):
    y, target = problem(loss, (5, 3), labels=True)
    for ones in (np.ones(5), np.ones(5, np.float32), np.ones(5, int), np.ones(5, bool)):
        value, delta = loss.value_and_delta(y, target, ones)
        assert value == loss(y, target)
        np.testing.assert_array_equal(delta, loss.delta(y, target))


@every_loss
def test_a_weight_of_two_counts_as_the_sample_given_twice(loss):
    y, target = problem(loss, (3, 4))
    twice = [0, 1, 1, 2]
    doubled = loss(y, target, np.array([1.0, 2.0, 1.0])) * 3
    assert doubled == pytest.approx(loss(y[twice], target[twice]) * 4, rel=1e-14)


@every_loss
def test_a_weight_of_zero_silences_a_sample_whatever_it_contains(loss):
    y, target = problem(loss, (4, 3))
    weights = np.array([1.0, 0.0, 2.0, 1.0])
    kept = [0, 2, 3]
    expected, slopes = loss.value_and_delta(y[kept], target[kept], weights[kept])
    for noise in (np.nan, np.inf, -np.inf, 0.0, 1e308, 3.0):
        y[1] = noise
        value, delta = loss.value_and_delta(y, target, weights)
        assert value * 4 == pytest.approx(expected * 3, rel=1e-14)
        np.testing.assert_allclose(delta[kept] * 4, slopes * 3, rtol=1e-14)
        np.testing.assert_array_equal(delta[1], 0.0)
        np.testing.assert_array_equal(loss.delta(y, target, np.zeros(4)), np.zeros_like(y))
        assert loss(y, target, np.zeros(4)) == 0.0


@every_loss
@settings(max_examples=50)
@given(sizes=st.lists(st.integers(0, 6), min_size=1, max_size=4), seed=st.integers(0, 99))
def test_minibatches_add_up_to_the_batch(loss, sizes, seed):
    y, target = problem(loss, (sum(sizes), 3), seed=seed)
    weights = np.random.default_rng(seed).uniform(0, 2, size=len(y))
    ends = np.cumsum(sizes)
    parts = [slice(end - size, end) for end, size in zip(ends.tolist(), sizes, strict=True) if size]
    sums = [loss(y[part], target[part], weights[part]) * len(y[part]) for part in parts]
    assert loss(y, target, weights) * len(y) == pytest.approx(math.fsum(sums), rel=1e-12)


# --- type, purity, layout, the empty batch -------------------------------------------------------


@every_loss
@every_dtype
@pytest.mark.parametrize("target_dtype", [np.float32, np.float64, np.int64, np.bool])
@pytest.mark.parametrize("weighted", [False, True])
def test_the_dtype_of_y_is_kept(loss, dtype, target_dtype, weighted):
    y, target = problem(loss, (4, 3), dtype=dtype)
    weights = np.array([1.0, 0.5, 0.0, 2.0]) if weighted else None
    if target_dtype in (np.int64, np.bool):
        target = np.round(np.abs(target))
    value, delta = loss.value_and_delta(y, target.astype(target_dtype), weights)
    assert value.dtype == delta.dtype == dtype
    assert np.shape(value) == ()
    assert delta.shape == y.shape
    for result in (loss(y, target, weights), loss.costs(y, target), loss.slopes(y, target)):
        assert result.dtype == dtype
    if loss in CLASS_LOSSES:
        value, delta = loss.value_and_delta(y, np.array([0, 2, 1, 1]), weights)
        assert value.dtype == delta.dtype == dtype


@every_loss
@pytest.mark.parametrize("labels", [False, True])
def test_no_argument_is_changed_and_no_result_is_shared(loss, labels):
    y, target = problem(loss, (4, 3), labels=labels)
    weights = np.array([1.0, 0.0, 0.5, 2.0])
    for array in (y, target, weights):
        array.flags.writeable = False
    for use in (None, weights):
        value, delta = loss.value_and_delta(y, target, use)
        before = delta.copy()
        delta_again = loss.delta(y, target, use)
        assert not any(np.shares_memory(delta, a) for a in (y, target, weights, delta_again))
        np.testing.assert_array_equal(delta, before)
        assert value == loss(y, target, use)


@every_loss
def test_the_layout_in_memory_does_not_matter(loss):
    y, target = problem(loss, (5, 4))
    value, delta = loss.value_and_delta(y, target)
    wide = np.repeat(y, 2, axis=1)
    for same in (np.asfortranarray(y), wide[:, ::2], y[::-1].copy()[::-1]):
        got, slope = loss.value_and_delta(same, np.asfortranarray(target))
        assert got == pytest.approx(value, rel=1e-14)
        np.testing.assert_allclose(slope, delta, rtol=1e-14)


@every_loss
@every_dtype
@pytest.mark.parametrize("shape", [(0, 3), (0, 2, 3)])
@pytest.mark.parametrize("labels", [False, True])
def test_an_empty_batch_costs_nothing(loss, dtype, shape, labels):
    y, target = problem(loss, shape, dtype=dtype, labels=labels)
    with np.errstate(all="raise"):
        for weights in (None, np.ones(0)):
            value, delta = loss.value_and_delta(y, target, weights)
            assert value == 0.0
            assert value.dtype == delta.dtype == dtype
            assert delta.shape == shape
        assert loss.costs(y, target).shape == (0,)
        assert loss.slopes(y, target).shape == shape


@every_loss
@settings(max_examples=50)
@given(
    shape=st.one_of(
        st.tuples(st.integers(1, 5), st.integers(2, 4)),
        st.tuples(st.integers(1, 3), st.integers(1, 3), st.integers(2, 4)),
    ),
    seed=st.integers(0, 99),
    scale=st.sampled_from([1e-3, 1.0, 30.0]),
)
def test_a_cost_is_never_negative_for_probabilities(loss, shape, seed, scale):
    y, target = problem(loss, shape, seed=seed)
    y = y if isinstance(loss, NegativeLogLikelihood) else y * scale
    value, delta = loss.value_and_delta(y, target)
    assert value >= 0
    assert delta.shape == y.shape
    assert np.all(np.isfinite(delta))


# --- second derivatives, by Dual numbers ---------------------------------------------------------


def curvature_along(loss, y, t, v):
    """H v for H = ∂Δ/∂y, by the second derivative of each formula."""
    samples, outputs = y.shape
    if isinstance(loss, HalfSquaredError):
        return v / samples
    if isinstance(loss, MeanSquaredError):
        return 2 * v / (samples * outputs)
    if isinstance(loss, MeanAbsoluteError):
        return 0 * v
    if isinstance(loss, Huber):
        return np.where(np.abs(y - t) < loss.threshold, v, 0) / (samples * outputs)
    if isinstance(loss, NegativeLogLikelihood):
        return t / y**2 * v / samples
    if isinstance(loss, SigmoidCrossEntropy):
        p = 1 / (1 + np.exp(-y))
        return p * (1 - p) * v / (samples * outputs)
    p = np.exp(y) / np.sum(np.exp(y), axis=1, keepdims=True)
    mean_v = np.sum(p * v, axis=1, keepdims=True)
    return p * (v - mean_v) * np.sum(t, axis=1, keepdims=True) / samples


@every_loss
@pytest.mark.parametrize("labels", [False, True])
@pytest.mark.parametrize("equal", [False, True], ids=["anywhere", "all outputs equal"])
@pytest.mark.parametrize("weights", [None, [1.0, 0.0, 2.5, 0.5]])
def test_tangents_flow_through_and_are_exact(loss, labels, equal, weights):
    y, target = problem(loss, (4, 3), seed=8, labels=labels)
    if equal:  # no kink of |z|, and no tie of the largest logit, may show
        y = np.full_like(y, 0.5 if isinstance(loss, NegativeLogLikelihood) else 0.0)
    v = np.random.default_rng(1).normal(size=y.shape)
    weights = None if weights is None else np.array(weights)
    value, delta = loss.value_and_delta(Dual(y, v), target, weights)
    expected_value, expected_delta = loss.value_and_delta(y, target, weights)
    assert value.value == expected_value
    np.testing.assert_array_equal(delta.value, expected_delta)
    assert value.shape == ()
    assert value.tangent == pytest.approx(np.sum(expected_delta * v), rel=1e-12, abs=1e-16)
    rows = np.eye(3)[target] if target.ndim == 1 else target
    curved = curvature_along(loss, y, rows, v)
    if weights is not None:
        curved = curved * weights[:, np.newaxis]
    np.testing.assert_allclose(delta.tangent, curved, rtol=1e-12, atol=1e-15)
    np.testing.assert_array_equal(loss.delta(Dual(y, v), target, weights).tangent, delta.tangent)
    assert loss(Dual(y, v), target, weights).tangent == value.tangent


# --- a custom loss -------------------------------------------------------------------------------


@define
class LogCosh(Loss):
    def costs(self, y, target):
        return np.sum(np.log(np.cosh(y - target)), axis=1)

    def slopes(self, y, target):
        return np.tanh(y - target)


def test_a_custom_loss_needs_two_methods():
    y, target = np.array([[1.0, 2.0], [0.0, 0.5]]), np.zeros((2, 2))
    weights = np.array([3.0, 0.0])
    first = math.log(math.cosh(1)) + math.log(math.cosh(2))
    assert LogCosh()(y, target, weights) == pytest.approx(3 * first / 2, rel=1e-15)
    expected = [[1.5 * math.tanh(1), 1.5 * math.tanh(2)], [0, 0]]
    value, delta = LogCosh().value_and_delta(y, target, weights)
    assert value == LogCosh()(y, target, weights)
    np.testing.assert_allclose(delta, expected, rtol=1e-15)
    np.testing.assert_array_equal(LogCosh().delta(y, target, weights), delta)
    assert LogCosh()(y[:0], target[:0]) == 0.0
    assert LogCosh().delta(y[:0], target[:0]).shape == (0, 2)
    y[1] = np.nan
    assert LogCosh()(y, target, weights) == pytest.approx(3 * first / 2, rel=1e-15)
    np.testing.assert_array_equal(LogCosh().delta(y, target, weights)[1], 0.0)
    with pytest.raises(ShapeError):
        LogCosh()(y, target[:, 0])


def test_a_custom_loss_that_averages_over_the_batch_raises_an_error():
    @define
    class Averaged(LogCosh):
        def costs(self, y, target):
            return np.mean(np.log(np.cosh(y - target)))

        def slopes(self, y, target):
            return np.sum(np.tanh(y - target), axis=1)

    y = np.ones((3, 2))
    with pytest.raises(DefinitionError, match="one number for each sample") as caught:
        Averaged()(y, y)
    assert caught.value.expected == (3,)
    assert caught.value.received == ()
    with pytest.raises(DefinitionError, match="one number for each output"):
        Averaged().delta(y, y)


def test_a_loss_without_its_methods_names_the_missing_one():
    @define
    class Nothing(Loss):
        pass

    y = np.ones((3, 2))
    with pytest.raises(DefinitionError, match="costs"):
        Nothing()(y, y)
    with pytest.raises(DefinitionError, match="slopes"):
        Nothing().delta(y, y)


def test_a_loss_shows_its_configuration():
    assert repr(Huber(2)) == "Huber(threshold=2.0)"
    assert Huber(2) == Huber(2.0) != Huber(1.0)
    assert repr(SoftmaxCrossEntropy()) == "SoftmaxCrossEntropy()"
    assert type(Huber(np.float64(2)).threshold) is float
    y = np.ones((2, 1), np.float32)
    assert Huber(np.float64(0.5)).delta(y, np.zeros_like(y)).dtype == np.float32


# --- bad input -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "threshold", [0, -1.0, np.nan, np.inf, "1", None, True, 1j, [1.0], 10**400]
)
def test_an_invalid_huber_threshold_is_refused(threshold):
    with pytest.raises(ConfigurationError, match="threshold") as caught:
        Huber(threshold)
    assert repr(threshold) in str(caught.value)
    loss = Huber(1.0)
    with pytest.raises(ConfigurationError):
        loss.threshold = threshold
    assert loss.threshold == 1.0


def every_way(loss):
    return [loss, loss.delta, loss.value_and_delta]


@pytest.mark.parametrize("loss", [*DIFFERENCE_LOSSES, SigmoidCrossEntropy(), LogCosh()], ids=repr)
@pytest.mark.parametrize(
    ("y_shape", "target_shape", "hint"),
    [
        ((5, 1), (5,), "np.asarray(target)[:, np.newaxis]"),
        ((5,), (5, 1), "target[..., 0]"),
        ((5, 2), (4, 2), "one target for each sample"),
        ((5, 2), (5, 3), "nothing is broadcast"),
        ((5, 2), (1, 2), "one target for each sample"),
        ((5, 2), (5, 1), "nothing is broadcast"),
        ((5, 2), (), "one target for each sample"),
        ((1, 5), (5, 1), "one target for each sample"),
    ],
)
def test_a_target_of_another_shape_is_never_broadcast(loss, y_shape, target_shape, hint):
    y, target = np.ones(y_shape), np.ones(target_shape)
    for ask in every_way(loss):
        with pytest.raises(ShapeError) as caught:
            ask(y, target)
        error = caught.value
        assert error.place == type(loss).__name__
        assert error.expected == y_shape
        assert error.received == target_shape
        assert hint in error.hint
    with pytest.raises(ShapeError):
        loss.validate_targets(y_shape, target)


def test_labels_given_to_a_loss_for_numbers_suggest_a_loss_for_classes():
    with pytest.raises(ShapeError, match="SoftmaxCrossEntropy"):
        HalfSquaredError()(np.ones((5, 3)), np.zeros(5, int))


@pytest.mark.parametrize("loss", CLASS_LOSSES, ids=repr)
@pytest.mark.parametrize(
    ("target", "kind", "words"),
    [
        (np.array([0, 3, 1]), DataError, ["row 1", "3", "from 0 to 2", "3 classes"]),
        (np.array([0, 2, -1]), DataError, ["row 2", "-1"]),
        (np.array([0, 2, 255], np.uint8), DataError, ["row 2", "255"]),
        (np.array([0.0, 1.0, 2.0]), DtypeError, ["target.astype(int)"]),
        (np.array([0.0, 1.5, 2.0]), DtypeError, ["integers", "HalfSquaredError"]),
        (np.array([0.0, np.nan, 2.0]), DtypeError, ["integers"]),
        (np.array(["a", "b", "c"]), DtypeError, ["np.unique(target, return_inverse=True)"]),
        (np.array([0, 1, 2], object), DtypeError, ["np.unique(target, return_inverse=True)"]),
        (np.array([0, 1, 2], complex), DtypeError, ["real numbers"]),
        ([0, 1, 2], DtypeError, ["np.asarray(target)"]),
        (np.array([[0], [1], [2]]), ShapeError, ["(3, 1)", "target[..., 0]"]),
        (np.array([0, 1]), ShapeError, ["one target for each sample"]),
        (np.ones((3, 4)), ShapeError, ["(3, 4)", "(3, 3)"]),
        (np.array([[0, 1, 0], [1, 0, 0], [1, 0, -1.0]]), DataError, ["row 2, column 2", "-1.0"]),
        (np.array([[0, np.nan, 0], [1, 0, 0], [1, 0, 0]]), DataError, ["row 0, column 1"]),
    ],
)
def test_targets_that_are_not_classes_are_refused(loss, target, kind, words):
    y = np.full((3, 3), 0.5)
    for ask in every_way(loss):
        with pytest.raises(kind) as caught:
            ask(y, target)
        for word in words:
            assert word in str(caught.value)
    with pytest.raises(kind):
        loss.validate_targets((3, 3), target)


@pytest.mark.parametrize(
    ("labels", "hint"),
    [
        ([0, 2, -1], "if -1 marks what has no label: SoftmaxCrossEntropy(ignore=-1)"),
        ([255, 2, 255], "if 255 marks what has no label: SoftmaxCrossEntropy(ignore=255)"),
        ([1, 2, 3], "number them from 0: target - 1"),
        ([10, 20, 10], "names, labels = np.unique(target, return_inverse=True)"),
        ([0, 1, 2, 3], "labels up to 3 need 4 outputs"),
        ([-1, -2, 0], "np.unique"),
    ],
)
def test_the_hint_for_a_label_fits_the_label(labels, hint):
    labels = np.array(labels)
    for label in (labels, labels.astype(np.uint8)) if labels.min() >= 0 else (labels,):
        with pytest.raises(DataError) as caught:
            SoftmaxCrossEntropy()(np.ones((len(label), 3)), label)
        assert hint in caught.value.hint


@every_loss
@pytest.mark.parametrize("y_shape", [(5, 4, 3), (5, 8, 8, 3)])
@pytest.mark.parametrize("target_shape", [(5,), (5, 3)])
def test_an_output_for_each_position_and_a_target_for_each_sample_suggest_to_flatten(
    loss, y_shape, target_shape
):
    for dtype in (int, float):
        with pytest.raises(ShapeError) as caught:
            loss(np.ones(y_shape), np.zeros(target_shape, dtype))
        assert "Flatten(), or a pool" in caught.value.hint


@pytest.mark.parametrize("loss", CLASS_LOSSES, ids=repr)
@pytest.mark.parametrize("shape", [(3,), (3, 1), (3, 0), (0, 1)])
def test_a_single_class_is_refused(loss, shape):
    for target in (np.zeros(3, int), np.zeros(shape)):
        with pytest.raises(ShapeError, match="SigmoidCrossEntropy"):
            loss(np.ones(shape), target)


@pytest.mark.parametrize(
    ("y_shape", "target", "kind", "words"),
    [
        ((3, 2), np.array([[0, 1], [1.5, 0], [0, 0]]), DataError, ["row 1, column 0", "1.5"]),
        ((3, 2), np.array([[0, 1], [1, 0], [0, -1]]), DataError, ["row 2, column 1", "-1"]),
        ((3, 2), np.array([[0, 1], [1, np.nan], [0, 1]]), DataError, ["row 1, column 1", "nan"]),
        ((3, 2), np.array([0, 2, 1]), DataError, ["row 1", "2 classes"]),
        ((3, 1), np.array([0, 2, 1]), DataError, ["row 1", "from 0 to 1"]),
        ((3, 1), np.array([-1, 1, 1]), DataError, ["row 0", "from 0 to 1"]),
        ((3,), np.array([0, 1, 7]), DataError, ["row 2", "7"]),
        ((3, 1), np.array([0.0, 1.0, 1.0]), ShapeError, ["np.asarray(target)[:, np.newaxis]"]),
        ((3, 2), np.array(["a", "b", "b"]), DtypeError, ["np.unique"]),
    ],
)
def test_targets_that_are_not_yes_or_no_are_refused(y_shape, target, kind, words):
    loss = SigmoidCrossEntropy()
    for ask in every_way(loss):
        with pytest.raises(kind) as caught:
            ask(np.zeros(y_shape), target)
        for word in words:
            assert word in str(caught.value)
    with pytest.raises(kind):
        loss.validate_targets(y_shape, target)


@every_loss
@pytest.mark.parametrize(
    ("y", "kind"),
    [
        (np.ones((3, 2), int), DtypeError),
        (np.ones((3, 2), complex), DtypeError),
        (np.ones((3, 2), object), DtypeError),
        ([[1.0, 2.0]] * 3, DtypeError),
        (None, DtypeError),
        (np.array(1.0), ShapeError),
    ],
)
def test_an_output_that_is_not_a_batch_of_numbers_is_refused(loss, y, kind):
    for ask in every_way(loss):
        with pytest.raises(kind) as caught:
            ask(y, np.ones((3, 2)))
        assert caught.value.hint


@every_loss
@pytest.mark.parametrize(
    ("weights", "kind", "words"),
    [
        (np.ones(3), ShapeError, ["(4,)", "(3,)"]),
        (np.ones((4, 1)), ShapeError, ["(4, 1)"]),
        (np.ones((4, 3)), ShapeError, ["(4, 3)"]),
        (np.ones((4, 2, 1)), ShapeError, ["(4, 2, 1)"]),
        (np.array(1.0), ShapeError, ["()"]),
        (np.array([1, np.nan, 1, 1]), DataError, ["row 1", "nan"]),
        (np.array([1, 1, 1, np.inf]), DataError, ["row 3", "inf"]),
        (np.array([1, 1, 1, 1], object), DtypeError, ["sample weights"]),
        ([1.0, 1.0, 1.0, 1.0], DtypeError, ["np.asarray(sample_weights, dtype=float)"]),
        (2.0, DtypeError, ["sample weights"]),
    ],
)
def test_invalid_weights_are_refused(loss, weights, kind, words):
    y, target = problem(loss, (4, 2))
    for ask in every_way(loss):
        with pytest.raises(kind) as caught:
            ask(y, target, weights)
        for word in words:
            assert word in str(caught.value)
    with pytest.raises(DataError, match="row 1"):  # finite only in float64
        loss(y.astype(np.float32), target, np.array([1, 1e300, 1, 1]))


@pytest.mark.parametrize("target", [np.array([1, 0]), np.array([[0.0, 1.0], [0.5, 0.5]])])
@every_dtype
def test_a_probability_of_zero_for_what_occurred_is_refused(dtype, target):
    loss = NegativeLogLikelihood()
    for vanishing in (0.0, np.finfo(dtype).smallest_subnormal):
        y = np.array([[1.0, vanishing], [0.5, 0.5]], dtype)
        for ask in every_way(loss):
            with pytest.raises(NonFiniteError, match="SoftmaxCrossEntropy"):
                ask(y, target)
    y[0, 1] = np.finfo(dtype).tiny
    value, delta = loss.value_and_delta(y, target)
    assert np.isfinite(value)
    assert np.all(np.isfinite(delta))


def test_a_probability_of_zero_for_what_did_not_occur_is_fine():
    y = np.array([[1.0, 0.0], [0.5, 0.5]])
    for target in (np.array([0, 0]), np.array([[1.0, 0.0], [1.0, 0.0]])):
        value, delta = NegativeLogLikelihood().value_and_delta(y, target)
        assert value == pytest.approx(math.log(2) / 2, rel=1e-15)
        np.testing.assert_array_equal(delta, [[-0.5, 0.0], [-1.0, 0.0]])


@pytest.mark.parametrize("target", [np.array([1, 0]), np.array([[0.0, 1.0], [1.0, 0.0]])])
@pytest.mark.parametrize("logit", [-0.5, 1.5])
def test_logits_in_place_of_probabilities_are_refused(target, logit):
    with pytest.raises(DataError, match="not a probability") as caught:
        NegativeLogLikelihood()(np.array([[0.3, logit], [0.5, 0.5]]), target)
    assert "SoftmaxCrossEntropy" in caught.value.hint


def test_nan_among_the_probabilities_is_not_hidden():
    y = np.array([[0.5, np.nan], [0.5, 0.5]])
    for target in (np.array([1, 0]), np.array([[0.0, 1.0], [1.0, 0.0]])):
        assert np.isnan(NegativeLogLikelihood()(y, target))


@every_loss
def test_valid_targets_are_accepted(loss):
    for labels in (False, True):
        y, target = problem(loss, (50, 3), labels=labels)
        assert loss.validate_targets(y.shape, target) is None
        assert loss.validate_targets([50, 3], target) is None


@pytest.mark.parametrize("loss", [*DIFFERENCE_LOSSES, SoftmaxCrossEntropy()], ids=repr)
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_targets_that_are_not_finite_are_found_by_row_and_column(loss, bad):
    target = np.ones((6, 3))
    target[4, 2] = bad
    with pytest.raises(DataError) as caught:
        loss.validate_targets((6, 3), target)
    assert "row 4, column 2" in caught.value.place
    assert "1 of 18" in caught.value.problem
    flat = np.ones(6)
    flat[2] = bad
    with pytest.raises(ChainruleError):
        loss.validate_targets((6,), flat)
