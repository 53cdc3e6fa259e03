"""Optimizers against the formulas of their papers in plain Python, in chunks and as a whole."""

from __future__ import annotations

import copy
import math
import pickle
import tracemalloc
from types import SimpleNamespace

import mpmath
import numpy as np
import pytest
from attrs import define, field, fields
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from chainrule import schedules
from chainrule.core.errors import ConfigurationError, DefinitionError, DtypeError, ShapeError
from chainrule.optimizers import SGD, Adagrad, Adam, Adamax, AdamW, Lion, Optimizer, RMSprop
from chainrule.optimizers.slices import CHUNK_SIZE

KINDS = [SGD, RMSprop, Adagrad, Adam, AdamW, Adamax, Lion]
EVERY_KIND = [
    SGD(0.1),
    SGD(0.1, weight_decay=0.01),
    SGD(0.1, momentum=0.9),
    SGD(0.1, momentum=0.9, weight_decay=0.01),
    SGD(0.1, momentum=0.9, nesterov=True),
    SGD(0.1, momentum=0.9, nesterov=True, weight_decay=0.01),
    Adam(0.1),
    Adam(0.1, betas=(0.5, 0.75), epsilon=0.1, weight_decay=0.01),
    Adam(0.1, betas=(0.0, 0.0)),
    RMSprop(0.1, weight_decay=0.01),
    RMSprop(0.1, alpha=0.75, epsilon=0.1, momentum=0.9),
    RMSprop(0.1, alpha=0.9, epsilon=0.1, centered=True),
    RMSprop(0.1, alpha=0.9, epsilon=0.1, centered=True, momentum=0.5, weight_decay=0.01),
    Adagrad(0.1),
    Adagrad(0.1, 0.25, initial_accumulator=0.1, epsilon=0.01, weight_decay=0.01),
    AdamW(0.1),
    AdamW(0.1, betas=(0.5, 0.75), epsilon=0.1, weight_decay=0.5),
    Adamax(0.1),
    Adamax(0.1, betas=(0.5, 0.75), epsilon=0.1, weight_decay=0.01),
    Lion(0.1),
    Lion(0.1, betas=(0.5, 0.75), weight_decay=0.5),
    SGD(0.1, clip_norm=1.0),
    SGD(0.1, momentum=0.9, nesterov=True, weight_decay=0.01, clip_norm=1.0, clip_value=0.5),
    RMSprop(0.1, epsilon=0.1, centered=True, momentum=0.5, weight_decay=0.01, clip_norm=1.0),
    Adagrad(0.1, weight_decay=0.01, clip_value=0.5),
    Adam(0.1, epsilon=0.1, weight_decay=0.01, clip_norm=1.0),
    AdamW(0.1, epsilon=0.1, clip_value=0.5),
    Adamax(0.1, epsilon=0.1, weight_decay=0.01, clip_norm=1.0, clip_value=0.5),
    Lion(0.1, weight_decay=0.01, clip_norm=1.0),
]
STATE = tuple(
    dict.fromkeys(
        each.name
        for kind in KINDS
        for each in fields(kind)
        if not each.init and each.name[0] != "_" and each.name != "steps"
    )
)
every_kind = pytest.mark.parametrize("kind", EVERY_KIND, ids=repr)


def fresh(kind):
    """A new optimizer with the same configuration, so that tests do not share steps."""
    return copy.deepcopy(kind)


FLOATS = SimpleNamespace(
    exact=lambda array: array, sqrt=np.sqrt, abs=np.abs, sign=np.sign, maximum=np.maximum
)
MANY_DIGITS = SimpleNamespace(
    exact=np.vectorize(mpmath.mpf, otypes=[object]),
    sqrt=np.vectorize(mpmath.sqrt, otypes=[object]),
    abs=np.vectorize(abs, otypes=[object]),
    sign=np.vectorize(mpmath.sign, otypes=[object]),
    maximum=np.maximum,
)


def moved_by_the_formulas(kind, value, gradients, numbers):
    """The final vector by the formulas of the docstrings: whole vectors, always new arrays.

    ``numbers`` are the functions to do it with: those of NumPy, or mpmath's.
    """
    exact, sqrt, maximum = numbers.exact, numbers.sqrt, numbers.maximum
    theta = exact(value)
    rate, decay = exact(kind.learning_rate), exact(kind.weight_decay)
    velocity = first = second = exact(np.zeros_like(value))
    if isinstance(kind, Adagrad):
        second = second + kind.initial_accumulator
    if hasattr(kind, "betas"):
        beta_1, beta_2 = map(exact, kind.betas)
    for t, gradient in enumerate(gradients, start=1):
        g = exact(gradient)
        if kind.clip_value is not None:
            g = -maximum(-maximum(g, -kind.clip_value), -kind.clip_value)
        if kind.clip_norm is not None:
            factor = kind.clip_norm / (sqrt((g**2).sum()) + exact(1e-6))
            g = g * min(1, factor)
        if isinstance(kind, AdamW):
            theta = theta - rate * decay * theta
        elif not isinstance(kind, Lion):
            g = g + decay * theta
        if isinstance(kind, SGD):
            velocity = kind.momentum * velocity + g
            theta = theta - rate * (g + kind.momentum * velocity if kind.nesterov else velocity)
        elif isinstance(kind, RMSprop):
            alpha = exact(kind.alpha)
            first = alpha * first + (1 - alpha) * g
            second = alpha * second + (1 - alpha) * g**2
            spread = maximum(second - first**2, exact(0.0)) if kind.centered else second
            velocity = kind.momentum * velocity + g / (sqrt(spread) + kind.epsilon)
            theta = theta - rate * velocity
        elif isinstance(kind, Adagrad):
            second = second + g**2
            now = rate / (1 + (t - 1) * exact(kind.learning_rate_decay))
            theta = theta - now * g / (sqrt(second) + kind.epsilon)
        elif isinstance(kind, Adam):
            first = beta_1 * first + (1 - beta_1) * g
            second = beta_2 * second + (1 - beta_2) * g**2
            unbiased_first = first / (1 - beta_1**t)
            unbiased_second = second / (1 - beta_2**t)
            theta = theta - rate * unbiased_first / (sqrt(unbiased_second) + kind.epsilon)
        elif isinstance(kind, Adamax):
            first = beta_1 * first + (1 - beta_1) * g
            second = maximum(beta_2 * second, numbers.abs(g) + kind.epsilon)
            theta = theta - rate * first / (1 - beta_1**t) / second
        elif isinstance(kind, Lion):
            mixed = beta_1 * first + (1 - beta_1) * g
            # Where this is a sum that cancels, its sign is a matter of rounding.
            if numbers is MANY_DIGITS:
                assume(not np.any((abs(mixed) < 1e-9) & ((g != 0) | (first != 0))))
            theta = theta - rate * (numbers.sign(mixed) + decay * theta)
            first = beta_2 * first + (1 - beta_2) * g
    return theta


# --- numbers computed by hand, and the formulas of the papers ------------------------------------


def test_gradient_descent_goes_against_the_gradient():
    value, gradient = np.array([1.0, 2.0]), np.array([0.5, -1.0])
    SGD(0.5).step(value, gradient)
    np.testing.assert_array_equal(value, [0.75, 2.5])


def test_three_steps_with_momentum_by_hand():
    value, optimizer = np.array([1.0]), SGD(0.5, momentum=0.5)
    seen = []
    for gradient in (1.0, 2.0, -1.0):  # v = 1, ½ + 2 = 2.5, 1.25 − 1 = 0.25
        optimizer.step(value, np.array([gradient]))
        seen.append(value[0])
    assert seen == [0.5, -0.75, -0.875]
    np.testing.assert_array_equal(optimizer.velocity, [0.25])


def test_three_steps_with_nesterov_momentum_by_hand():
    value, optimizer = np.array([1.0]), SGD(0.5, momentum=0.5, nesterov=True)
    seen = []
    for gradient in (1.0, 2.0, -1.0):  # g + v/2 = 1.5, 3.25, −0.875
        optimizer.step(value, np.array([gradient]))
        seen.append(value[0])
    assert seen == [0.25, -1.375, -0.9375]


def test_weight_decay_is_a_pull_to_zero():
    value = np.array([4.0, -2.0])
    SGD(0.5, weight_decay=0.25).step(value, np.zeros(2))
    np.testing.assert_array_equal(value, [3.5, -1.75])


def test_three_steps_of_adam_by_hand():
    # β₁ = ½, β₂ = ¾ and g = 2, 0, 2: m = 1, ½, 5/4 and v = 1, ¾, 25/16;
    # m̂ = 2, ⅔, 10/7 and v̂ = 4, 12/7, 100/37
    value, optimizer = np.array([0.0]), Adam(1.0, betas=(0.5, 0.75), epsilon=1.0)
    seen = []
    for gradient in (2.0, 0.0, 2.0):
        optimizer.step(value, np.array([gradient]))
        seen.append(value[0])
    one = -2 / (2 + 1)
    two = one - (2 / 3) / (math.sqrt(12 / 7) + 1)
    three = two - (10 / 7) / (math.sqrt(100 / 37) + 1)
    np.testing.assert_allclose(seen, [one, two, three], rtol=1e-15)
    assert optimizer.steps == 3
    np.testing.assert_array_equal(optimizer.first_moment, [1.25])
    np.testing.assert_array_equal(optimizer.second_moment, [1.5625])


def test_the_first_step_of_adam_has_the_length_of_the_learning_rate():
    value = np.zeros(5)
    Adam(0.01).step(value, np.array([1e-3, -1.0, 1e3, -1e6, 0.0]))
    np.testing.assert_allclose(value, [-0.01, 0.01, -0.01, 0.01, 0.0], rtol=2e-5)


def test_three_steps_of_rmsprop_by_hand():
    # α = ¾ and g = 2, 0, 4: s = 1, ¾, 73/16
    value, optimizer = np.array([0.0]), RMSprop(0.5, alpha=0.75, epsilon=1.0)
    seen = []
    for gradient in (2.0, 0.0, 4.0):
        optimizer.step(value, np.array([gradient]))
        seen.append(value[0])
    np.testing.assert_allclose(seen, [-0.5, -0.5, -0.5 - 2 / (math.sqrt(73 / 16) + 1)], rtol=1e-15)
    np.testing.assert_array_equal(optimizer.mean_square, [73 / 16])
    assert (optimizer.mean, optimizer.velocity) == (None, None)


def test_two_centered_steps_of_rmsprop_with_momentum_by_hand():
    # α = μ = ½ and g = 2, 0: s = 2, 1 and a = 1, ½, so s − a² = 1, ¾; u = 1, 0 and v = 1, ½
    value = np.array([0.0])
    optimizer = RMSprop(0.5, alpha=0.5, epsilon=1.0, momentum=0.5, centered=True)
    seen = []
    for gradient in (2.0, 0.0):
        optimizer.step(value, np.array([gradient]))
        seen.append(value[0])
    assert seen == [-0.5, -0.75]
    np.testing.assert_array_equal(
        [optimizer.mean_square, optimizer.mean, optimizer.velocity], [[1.0], [0.5], [0.5]]
    )


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_gradient_that_never_changes_has_a_deviation_of_zero_and_not_nan(dtype):
    rng = np.random.default_rng(0)
    value, gradient = np.zeros(1000, dtype), rng.uniform(1, 2, 1000).astype(dtype)
    optimizer, negative = RMSprop(0.1, alpha=0.5, epsilon=0.1, centered=True), 0
    for _ in range(60):
        optimizer.step(value, gradient)
        negative += np.count_nonzero(optimizer.mean_square - optimizer.mean**2 < 0)
    assert negative > 0  # so this was tried
    assert np.all(np.isfinite(value))


def test_three_steps_of_adagrad_by_hand():
    # G = 5 + 4, 9 + 0, 9 + 16; η = 1, ½, ⅓
    optimizer = Adagrad(1.0, learning_rate_decay=1.0, initial_accumulator=5.0, epsilon=1.0)
    value, seen = np.array([0.0]), []
    for gradient in (2.0, 0.0, 4.0):
        optimizer.step(value, np.array([gradient]))
        seen.append(value[0])
    np.testing.assert_allclose(seen, [-1 / 2, -1 / 2, -1 / 2 - 2 / 9], rtol=1e-15)
    assert optimizer.steps == 3
    np.testing.assert_array_equal(optimizer.sum_of_squares, [25.0])


def test_the_decay_of_adamw_does_not_depend_on_the_gradient_and_that_of_adam_does():
    start, gradient = np.array([4.0, 4.0]), np.array([1e-3, 1e3])
    with_decay, without = start.copy(), start.copy()
    AdamW(0.5, weight_decay=0.25).step(with_decay, gradient)
    AdamW(0.5, weight_decay=0.0).step(without, gradient)
    np.testing.assert_allclose(with_decay - without, -0.5 * 0.25 * start, rtol=1e-14)
    coupled = start.copy()
    Adam(0.5, weight_decay=0.25).step(coupled, gradient)
    np.testing.assert_allclose(coupled, start - 0.5, rtol=1e-4)  # all in the unit of √v̂


def test_without_decay_adamw_is_adam_bit_for_bit():
    rng = np.random.default_rng(0)
    one, two = Adam(0.1), AdamW(0.1, weight_decay=0)
    value = rng.normal(size=100)
    other = value.copy()
    for gradient in rng.normal(size=(5, 100)):
        one.step(value, gradient)
        two.step(other, gradient)
    np.testing.assert_array_equal(value, other)


def test_three_steps_of_adamax_by_hand():
    # β₁ = ½, β₂ = ¾ and g = 2, 0, −4: m = 1, ½, −7/4, m̂ = 2, ⅔, −2; u = 3, 9/4, 5
    value, optimizer = np.array([0.0]), Adamax(1.0, betas=(0.5, 0.75), epsilon=1.0)
    seen = []
    for gradient in (2.0, 0.0, -4.0):
        optimizer.step(value, np.array([gradient]))
        seen.append(value[0])
    one = -2 / 3
    two = one - (2 / 3) / (9 / 4)
    np.testing.assert_allclose(seen, [one, two, two + 2 / 5], rtol=1e-15)
    assert optimizer.steps == 3
    np.testing.assert_array_equal(optimizer.first_moment, [-1.75])
    np.testing.assert_array_equal(optimizer.infinity_norm, [5.0])


def test_three_steps_of_lion_by_hand():
    # β₁ = ½, β₂ = ¾ and g = 4, −1, −1: ½ (m + g) = 2, 0, −⅛ with m = 1, ½, ⅛ after the steps
    value, optimizer = np.array([8.0]), Lion(0.5, betas=(0.5, 0.75), weight_decay=0.25)
    seen = []
    for gradient in (4.0, -1.0, -1.0):
        optimizer.step(value, np.array([gradient]))
        seen.append(value[0])
    # θ − ½ (u + θ/4) = ⅞ θ − u/2 with u = 1, 0, −1
    assert seen == [6.5, 5.6875, 5.6875 * 0.875 + 0.5]
    np.testing.assert_array_equal(optimizer.first_moment, [0.125])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_lion_takes_the_sign_of_numbers_of_any_size(dtype):
    rng, limits = np.random.default_rng(0), np.finfo(dtype)
    gradient = rng.normal(size=1000) * 10.0 ** rng.uniform(-30, 30, 1000)
    gradient[:6] = 0, -0.0, limits.max, -limits.max, limits.tiny, -limits.tiny
    gradient, value = gradient.astype(dtype), np.zeros(1000, dtype)
    Lion(1.0, betas=(0.0, 0.5)).step(value, gradient)
    np.testing.assert_array_equal(-value, np.sign(gradient))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_gradient_that_is_not_finite_is_not_hidden(kind, bad):
    value = np.ones(3)
    with np.errstate(invalid="ignore"):
        kind(0.1).step(value, np.array([1.0, bad, 1.0]))
    np.testing.assert_array_equal(np.isfinite(value), [True, False, True])


@pytest.mark.parametrize("kind", [Adam, AdamW, Adamax, Adagrad, RMSprop, Lion])
def test_steps_do_not_depend_on_the_scale_of_the_cost(kind):
    # 2²⁰ changes no digit; ε is what the scale is compared with
    rng = np.random.default_rng(0)
    arguments = {} if kind is Lion else {"epsilon": 1e-30}
    one, two = (kind(0.1, weight_decay=0.0, **arguments) for _ in range(2))
    value, other = np.zeros(50), np.zeros(50)
    for gradient in rng.normal(size=(10, 50)):
        one.step(value, gradient)
        two.step(other, 2.0**20 * gradient)
    np.testing.assert_array_equal(value, other)


@every_kind
@settings(max_examples=40)
@given(
    start=st.floats(-3, 3),
    gradients=st.lists(st.floats(-3, 3), min_size=1, max_size=12),
)
def test_steps_follow_the_formulas(kind, start, gradients):
    optimizer, value = fresh(kind), np.array([start, 0.5])
    gradients = [np.array([gradient, 1.0]) for gradient in gradients]
    with mpmath.workdps(40):
        expected = moved_by_the_formulas(kind, value, gradients, MANY_DIGITS).astype(float)
    for gradient in gradients:
        optimizer.step(value, gradient)
    np.testing.assert_allclose(value, expected, rtol=1e-11, atol=1e-13)


# --- in chunks, in place, with its own dtype -----------------------------------------------------


@every_kind
@pytest.mark.parametrize(
    "size",
    [0, 1, CHUNK_SIZE - 1, CHUNK_SIZE, CHUNK_SIZE + 1, 2 * CHUNK_SIZE, 3 * CHUNK_SIZE + 7],
    ids=str,
)
def test_chunks_give_the_same_result_as_the_whole_vector(kind, size):
    rng = np.random.default_rng(size)
    value, gradients = rng.normal(size=size), rng.normal(size=(3, size))
    expected = moved_by_the_formulas(kind, value, gradients, FLOATS)
    optimizer = fresh(kind)
    for gradient in gradients:
        optimizer.step(value, gradient)
    np.testing.assert_allclose(value, expected, rtol=1e-12, atol=1e-14)


@every_kind
@pytest.mark.parametrize("size", [5, CHUNK_SIZE + 5])
def test_the_gradient_is_unchanged_and_the_value_changes_in_place(kind, size):
    rng = np.random.default_rng(0)
    value, gradient = rng.normal(size=size), rng.normal(size=size)
    before, at = gradient.copy(), value.ctypes.data
    gradient.flags.writeable = False
    start = value.copy()
    optimizer = fresh(kind)
    for _ in range(3):
        assert optimizer.step(value, gradient) is None
    np.testing.assert_array_equal(gradient, before)
    assert value.ctypes.data == at
    assert np.all(value != start)
    held = [getattr(optimizer, name, None) for name in STATE]
    for array in held:
        assert array is None or not np.shares_memory(array, value)
        assert array is None or not np.shares_memory(array, gradient)


@every_kind
@pytest.mark.parametrize("size", [5, CHUNK_SIZE + 5])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_dtype_is_kept(kind, size, dtype):
    optimizer = fresh(kind)
    optimizer.learning_rate = np.float64(0.1)  # as a schedule computes it
    value, gradient = np.ones(size, dtype), np.ones(size, dtype)
    for _ in range(2):
        optimizer.step(value, gradient)
    assert value.dtype == dtype
    kept = [getattr(optimizer, name, None) for name in (*STATE, "_scratch")]
    assert {array.dtype for array in kept if array is not None} == {np.dtype(dtype)}
    assert type(optimizer.learning_rate) is float


@every_kind
def test_single_precision_is_as_good_as_it_can_be(kind):
    rng = np.random.default_rng(4)
    value, gradients = rng.normal(size=50), rng.normal(size=(10, 50))
    single = value.astype(np.float32)
    one, two = fresh(kind), fresh(kind)
    for gradient in gradients:
        one.step(value, gradient)
        two.step(single, gradient.astype(np.float32))
    np.testing.assert_allclose(single, value, rtol=2e-5, atol=2e-5)


@every_kind
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_step_needs_no_memory_that_grows_with_the_vector(kind, dtype):
    optimizer = fresh(kind)
    value, gradient = np.ones(1_000_000, dtype), np.ones(1_000_000, dtype)
    optimizer.step(value, gradient)
    tracemalloc.start()
    try:
        optimizer.step(value, gradient)
        optimizer.step(value, gradient)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 20_000  # a few views; the vector has 4 or 8 million bytes


@every_kind
def test_a_vector_with_gaps_in_memory_moves_too(kind):
    rng = np.random.default_rng(0)
    value, gradient = rng.normal(size=2 * CHUNK_SIZE + 3), rng.normal(size=2 * CHUNK_SIZE + 3)
    wide = np.repeat(value, 2)
    one, two = fresh(kind), fresh(kind)
    one.step(value, gradient)
    two.step(wide[::2], np.repeat(gradient, 3)[::3])
    np.testing.assert_array_equal(wide[::2], value)


# --- what is remembered --------------------------------------------------------------------------


@every_kind
def test_the_learning_rate_can_change_between_steps(kind):
    optimizer, value, gradient = fresh(kind), np.zeros(3), np.array([1.0, -2.0, 0.5])
    optimizer.step(value, gradient)
    before = value.copy()
    twin, other = copy.deepcopy(optimizer), value.copy()
    optimizer.learning_rate = optimizer.learning_rate / 4
    optimizer.step(value, gradient)
    twin.step(other, gradient)
    np.testing.assert_allclose(4 * (value - before), other - before, rtol=1e-12)


@every_kind
def test_a_reset_optimizer_is_as_good_as_new(kind):
    rng = np.random.default_rng(0)
    optimizer, start, gradients = fresh(kind), rng.normal(size=6), rng.normal(size=(4, 6))
    first = start.copy()
    for gradient in gradients:
        optimizer.step(first, gradient)
    optimizer.learning_rate = 0.1
    assert optimizer.reset() is None
    again = start.copy()
    for gradient in gradients:
        optimizer.step(again, gradient)
    np.testing.assert_array_equal(again, first)
    optimizer.reset()
    optimizer.step(np.zeros(9, np.float32), np.ones(9, np.float32))  # another size and type


@every_kind
def test_a_copied_or_pickled_optimizer_continues_like_the_original(kind):
    rng = np.random.default_rng(0)
    optimizer, value, gradients = fresh(kind), rng.normal(size=6), rng.normal(size=(4, 6))
    optimizer.step(value, gradients[0])
    stored, other = pickle.loads(pickle.dumps(optimizer)), value.copy()
    for gradient in gradients[1:]:
        optimizer.step(value, gradient)
        stored.step(other, gradient)
    np.testing.assert_array_equal(other, value)


def test_an_optimizer_without_memory_accepts_any_vector():
    optimizer, third = SGD(1 / 3, weight_decay=0.1), 1 / 3
    for dtype, size in ((np.float32, 4), (np.float64, 4), (np.float64, 9), (np.float32, 9)):
        value, gradient = np.ones(size, dtype), np.full(size, third, dtype)
        expected = value - optimizer.learning_rate * (gradient + 0.1 * value)
        optimizer.step(value, gradient)
        assert value.dtype == dtype
        np.testing.assert_array_equal(value, expected)


def test_an_optimizer_shows_its_configuration_and_not_its_memory():
    optimizer = SGD(0.1, momentum=0.9)
    text = repr(optimizer)
    assert text == "SGD(learning_rate=0.1, momentum=0.9, nesterov=False, weight_decay=0.0)"
    optimizer.step(np.zeros(3), np.ones(3))
    assert repr(optimizer) == text
    assert optimizer == SGD(0.1, momentum=0.9) != SGD(0.1, momentum=0.8)
    assert repr(Adam()) == (
        "Adam(learning_rate=0.001, betas=(0.9, 0.999), epsilon=1e-08, weight_decay=0.0)"
    )
    assert Adam(betas=[0, np.float64(0.5)]).betas == (0.0, 0.5)
    assert repr(Adagrad()) == (
        "Adagrad(learning_rate=0.01, learning_rate_decay=0.0, initial_accumulator=0.0, "
        "epsilon=1e-10, weight_decay=0.0)"
    )
    assert repr(RMSprop(clip_norm=1, clip_value=2)) == (
        "RMSprop(learning_rate=0.01, alpha=0.99, epsilon=1e-08, momentum=0.0, centered=False, "
        "weight_decay=0.0, clip_norm=1.0, clip_value=2.0)"
    )
    assert AdamW().learning_rate == 1e-3
    assert AdamW().weight_decay == 1e-2
    assert Adamax().learning_rate == 2e-3
    assert Lion(clip_norm=1) != Lion() == Lion(1e-4, (0.9, 0.99), 0.0)
    assert AdamW() != Adam(weight_decay=1e-2)


@every_kind
def test_the_repr_makes_the_same_optimizer_again(kind):
    assert eval(repr(kind)) == kind


def test_everything_remembered_is_in_public_attributes():
    expected = [
        (SGD(0.1), []),
        (SGD(0.1, momentum=0.9), ["velocity"]),
        (RMSprop(), ["mean_square"]),
        (RMSprop(centered=True, momentum=0.9), ["mean", "mean_square", "velocity"]),
        (Adagrad(), ["steps", "sum_of_squares"]),
        (Adam(), ["first_moment", "second_moment", "steps"]),
        (AdamW(), ["first_moment", "second_moment", "steps"]),
        (Adamax(), ["first_moment", "infinity_norm", "steps"]),
        (Lion(), ["first_moment"]),
    ]
    for optimizer, names in expected:
        optimizer.step(np.ones(3), np.ones(3))
        kept = [each.name for each in fields(type(optimizer)) if not each.init]
        held = {name for name in kept if name[0] != "_" and getattr(optimizer, name) is not None}
        assert sorted(held) == names


@every_kind
def test_everything_needed_to_continue_is_remembered(kind):
    # as from a checkpoint: the configuration, and the fields that have no underscore
    rng = np.random.default_rng(0)
    optimizer, value, gradients = fresh(kind), rng.normal(size=6), rng.normal(size=(6, 6))
    for gradient in gradients[:3]:
        optimizer.step(value, gradient)
    other, resumed = value.copy(), fresh(kind)
    for each in fields(type(kind)):
        if not each.init and each.name[0] != "_":
            setattr(resumed, each.name, copy.copy(getattr(optimizer, each.name)))
    for gradient in gradients[3:]:
        optimizer.step(value, gradient)
        resumed.step(other, gradient)
    np.testing.assert_array_equal(other, value)


def test_a_custom_optimizer_needs_one_method():
    @define
    class SignDescent(Optimizer):
        calls: list[int] = field(factory=list, init=False)

        def step(self, value, gradient):
            self.check(value, gradient)
            self.calls.append(len(value))
            value -= self.learning_rate * np.sign(gradient)

    optimizer, value = SignDescent(0.5), np.zeros(3)
    optimizer.step(value, np.array([3.0, -0.1, 0.0]))
    np.testing.assert_array_equal(value, [-0.5, 0.5, 0.0])
    assert optimizer.calls == [3]
    optimizer.reset()
    assert optimizer.calls == []
    with pytest.raises(ShapeError):
        optimizer.step(value, np.zeros(4))


def test_an_optimizer_without_step_raises_an_error():
    @define
    class Nothing(Optimizer):
        pass

    with pytest.raises(DefinitionError, match="step"):
        Nothing(0.1).step(np.zeros(3), np.zeros(3))


# --- bad input -----------------------------------------------------------------------------------

NO_POSITIVE_NUMBERS = [0, -1.0, np.nan, np.inf, "0.1", None, True, 1j, [0.1], 10**400]
NO_PART_OF_ONE = [-0.1, 1, 1.0, 2.0, np.nan, "0.9", None, True, 1j]


def refused(make, name, received):
    with pytest.raises(ConfigurationError) as caught:
        make()
    assert name in caught.value.problem
    assert repr(received)[:20] in str(caught.value.received)
    assert caught.value.place in [kind.__name__ for kind in KINDS]
    assert caught.value.hint


@pytest.mark.parametrize("kind", KINDS)
def test_with_a_learning_rate_of_zero_nothing_moves(kind):
    value, optimizer = np.array([1.0, -2.0]), kind(0)  # where a schedule begins or ends
    optimizer.step(value, np.array([3.0, 1e9]))
    np.testing.assert_array_equal(value, [1.0, -2.0])


@pytest.mark.parametrize("rate", NO_POSITIVE_NUMBERS[1:], ids=repr)
def test_an_invalid_learning_rate_is_refused(rate):
    for kind in KINDS:
        refused(lambda kind=kind: kind(rate), "learning_rate", rate)
        optimizer = kind(0.5)
        refused(lambda held=optimizer: setattr(held, "learning_rate", rate), "learning_rate", rate)
        assert optimizer.learning_rate == 0.5


@pytest.mark.parametrize("bad", NO_PART_OF_ONE, ids=repr)
def test_a_momentum_or_beta_outside_of_zero_to_one_is_refused(bad):
    refused(lambda: SGD(0.1, momentum=bad), "momentum", bad)
    refused(lambda: RMSprop(momentum=bad), "momentum", bad)
    refused(lambda: RMSprop(alpha=bad), "alpha", bad)
    for kind in (Adam, AdamW, Adamax, Lion):
        refused(lambda kind=kind: kind(betas=(bad, 0.999)), "betas", bad)
        refused(lambda kind=kind: kind(betas=(0.9, bad)), "betas", bad)


@pytest.mark.parametrize("bad", [(0.9,), (0.9, 0.99, 0.999), 0.9, "ab", None, {0.9, 0.99}])
def test_betas_that_are_not_a_pair_are_refused(bad):
    for kind in (Adam, AdamW, Adamax, Lion):
        with pytest.raises(ConfigurationError, match="betas"):
            kind(betas=bad)


@pytest.mark.parametrize("bad", NO_POSITIVE_NUMBERS, ids=repr)
def test_an_invalid_epsilon_is_refused(bad):
    for kind in (RMSprop, Adagrad, Adam, AdamW, Adamax):
        refused(lambda kind=kind: kind(epsilon=bad), "epsilon", bad)


@pytest.mark.parametrize("bad", [-1e-9, np.nan, np.inf, "0", None, True], ids=repr)
def test_a_weight_decay_below_zero_is_refused(bad):
    for kind in KINDS:
        refused(lambda kind=kind: kind(0.1, weight_decay=bad), "weight_decay", bad)


@pytest.mark.parametrize("bad", [-1e-9, np.nan, np.inf, "0", None, True], ids=repr)
@pytest.mark.parametrize("name", ["learning_rate_decay", "initial_accumulator"])
def test_a_decay_or_an_accumulator_below_zero_is_refused(name, bad):
    refused(lambda: Adagrad(**{name: bad}), name, bad)


@pytest.mark.parametrize("bad", [1, 0, None, "yes"], ids=repr)
def test_centered_is_true_or_false(bad):
    refused(lambda: RMSprop(centered=bad), "centered", bad)


def test_nesterov_without_momentum_is_refused():
    refused(lambda: SGD(0.1, nesterov=True), "nesterov", True)
    refused(lambda: SGD(0.1, momentum=0.9, nesterov=1), "nesterov", 1)
    optimizer = SGD(0.1, momentum=0.9, nesterov=True)
    with pytest.raises(ConfigurationError):
        optimizer.momentum = 0.0
    plain = SGD(0.1)
    with pytest.raises(ConfigurationError):
        plain.nesterov = True
    assert (optimizer.momentum, plain.nesterov) == (0.9, False)


def read_only(array):
    array.flags.writeable = False
    return array


@every_kind
@pytest.mark.parametrize(
    ("value", "gradient", "kind_of_error", "words"),
    [
        (np.ones(3), np.ones(4), ShapeError, ["(3,)", "(4,)"]),
        (np.ones(3), np.ones(1), ShapeError, ["(3,)", "(1,)"]),
        (np.ones((3, 1)), np.ones((3, 1)), ShapeError, ["(3, 1)"]),
        (np.ones(3), np.ones((1, 3)), ShapeError, ["(1, 3)"]),
        (np.array(1.0), np.array(1.0), ShapeError, ["()"]),
        (np.ones(3), np.ones(3, np.float32), DtypeError, ["float64", "float32"]),
        (np.ones(3, int), np.ones(3, int), DtypeError, ["value", "int64"]),
        (np.ones(3), np.ones(3, int), DtypeError, ["gradient", "int64"]),
        (np.ones(3, complex), np.ones(3, complex), DtypeError, ["complex128"]),
        (np.ones(3, object), np.ones(3, object), DtypeError, ["object"]),
        ([1.0, 2.0], np.ones(2), DtypeError, ["value", "list"]),
        (np.ones(2), None, DtypeError, ["gradient", "NoneType"]),
        (read_only(np.ones(3)), np.ones(3), ConfigurationError, ["read-only", "copy"]),
    ],
)
def test_vectors_that_do_not_fit_are_refused_and_nothing_changes(
    kind, value, gradient, kind_of_error, words
):
    optimizer = fresh(kind)
    untouched = copy.deepcopy((value, gradient))
    with pytest.raises(kind_of_error) as caught:
        optimizer.step(value, gradient)
    for word in words:
        assert word in str(caught.value)
    assert caught.value.place == type(kind).__name__
    np.testing.assert_array_equal(value, untouched[0])
    np.testing.assert_array_equal(gradient, untouched[1])
    assert all(getattr(optimizer, name, None) is None for name in STATE)
    assert getattr(optimizer, "steps", 0) == 0


@pytest.mark.parametrize(
    "kind", [k for k in EVERY_KIND if not isinstance(k, SGD) or k.momentum], ids=repr
)
@pytest.mark.parametrize(
    ("other", "kind_of_error"),
    [(np.ones(4), ShapeError), (np.ones(2), ShapeError), (np.ones(3, np.float32), DtypeError)],
)
def test_a_vector_of_another_model_is_refused_until_the_reset(kind, other, kind_of_error):
    optimizer, value = fresh(kind), np.zeros(3)
    optimizer.step(value, np.ones(3))
    held = {name: copy.copy(getattr(optimizer, name, None)) for name in (*STATE, "steps")}
    vector = other.copy()
    with pytest.raises(kind_of_error, match="another vector") as caught:
        optimizer.step(vector, other)
    assert "reset()" in caught.value.hint
    np.testing.assert_array_equal(vector, other)
    for name, before in held.items():
        np.testing.assert_array_equal(getattr(optimizer, name, None), before)
    optimizer.reset()
    optimizer.step(vector, other)
    assert np.all(vector < other)


def test_a_schedule_given_as_a_rate_suggests_the_callback():
    with pytest.raises(ConfigurationError, match="learning_rate") as caught:
        Adam(schedules.Cosine(0.1, steps=900))
    assert caught.value.hint == "fit(…, callbacks=[callbacks.LearningRate(Cosine(…))])"
