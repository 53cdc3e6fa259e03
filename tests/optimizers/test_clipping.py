"""Gradient clipping, which every optimizer does in the same way, before anything else."""

from __future__ import annotations

import math
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chainrule import Dense, Trainer
from chainrule.core.errors import ConfigurationError
from chainrule.losses import HalfSquaredError
from chainrule.optimizers import SGD, Adagrad, Adam, Adamax, AdamW, Lion, RMSprop
from chainrule.optimizers.slices import CHUNK_SIZE

KINDS = [SGD, RMSprop, Adagrad, Adam, AdamW, Adamax, Lion]
every_kind = pytest.mark.parametrize("kind", KINDS)
SIZES = [1, 5, CHUNK_SIZE, CHUNK_SIZE + 1, 3 * CHUNK_SIZE + 7]


def seen(gradient, **clipping):
    """The gradient that a rule receives: the step of gradient descent from zero with η = 1."""
    value = np.zeros_like(gradient)
    SGD(1.0, **clipping).step(value, gradient)
    return -value


def test_a_long_gradient_is_shortened_to_the_limit_and_keeps_its_direction():
    gradient = np.array([3.0, -4.0])
    clipped = seen(gradient, clip_norm=1.0)
    np.testing.assert_allclose(clipped, gradient / 5, rtol=1e-6)
    np.testing.assert_allclose(clipped, gradient / (5 + 1e-6), rtol=1e-15)


def test_components_beyond_the_value_become_the_value():
    clipped = seen(np.array([3.0, -4.0, 0.5, -0.5, 1.0]), clip_value=1.0)
    np.testing.assert_array_equal(clipped, [1.0, -1.0, 0.5, -0.5, 1.0])


def test_clipping_by_value_comes_before_clipping_by_norm():
    clipped = seen(np.array([30.0, -0.75]), clip_value=1.0, clip_norm=0.5)  # (1, −¾) is 5/4 long
    np.testing.assert_allclose(clipped, np.array([1.0, -0.75]) * 0.5 / 1.25, rtol=1e-6)


@pytest.mark.parametrize("size", SIZES)
def test_the_norm_is_that_of_the_whole_vector_not_of_a_chunk(size):
    gradient = np.random.default_rng(size).normal(size=size)
    norm = math.sqrt(math.fsum(gradient**2))
    clipped = seen(gradient, clip_norm=norm / 3)
    np.testing.assert_allclose(clipped, gradient * (norm / 3) / (norm + 1e-6), rtol=1e-13)
    np.testing.assert_array_equal(seen(gradient, clip_norm=1.001 * norm), gradient)


@given(
    gradient=st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=8).map(np.array),
    limit=st.floats(1e-3, 1e3),
)
def test_clipped_gradients_are_never_longer_or_larger_and_small_ones_stay(gradient, limit):
    clipped = seen(gradient, clip_norm=limit)
    assert np.linalg.norm(clipped) <= limit * (1 + 1e-12)
    if np.linalg.norm(gradient) < limit - 1e-5:
        np.testing.assert_array_equal(clipped, gradient)
    clipped = seen(gradient, clip_value=limit)
    np.testing.assert_array_equal(clipped, np.clip(gradient, -limit, limit))


@every_kind
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    "clipping", [{"clip_norm": 0.5}, {"clip_value": 0.25}, {"clip_norm": 0.5, "clip_value": 0.25}]
)
def test_every_optimizer_moves_as_it_would_with_the_clipped_gradient(kind, size, dtype, clipping):
    rng = np.random.default_rng(size)
    clips, plain = kind(0.1, weight_decay=0.1, **clipping), kind(0.1, weight_decay=0.1)
    value = rng.normal(size=size).astype(dtype)
    other = value.copy()
    for _ in range(3):
        gradient = (3 + rng.uniform(size=size)).astype(dtype)
        before = gradient.copy()
        clips.step(value, gradient)
        plain.step(other, seen(gradient, **clipping))
        np.testing.assert_array_equal(gradient, before)
    np.testing.assert_array_equal(value, other)
    assert value.dtype == dtype


@every_kind
def test_what_is_within_the_limits_moves_bit_for_bit_as_without_them(kind):
    rng = np.random.default_rng(0)
    clips, plain = kind(0.1, clip_norm=1e6, clip_value=1e6), kind(0.1)
    value = rng.normal(size=100)
    other = value.copy()
    for gradient in rng.normal(size=(4, 100)):
        clips.step(value, gradient)
        plain.step(other, gradient)
    np.testing.assert_array_equal(value, other)


def test_the_limits_can_change_between_steps():
    optimizer, value, gradient = SGD(1.0), np.zeros(2), np.array([3.0, -4.0])
    optimizer.step(value, gradient)
    optimizer.clip_value = 1
    optimizer.step(value, gradient)
    optimizer.clip_value, optimizer.clip_norm = None, 0.5
    optimizer.step(value, gradient)
    np.testing.assert_allclose(value, [-3 - 1 - 0.3, 4 + 1 + 0.4], rtol=1e-6)


def test_weight_decay_is_not_clipped():
    value = np.array([100.0])
    SGD(0.5, weight_decay=0.5, clip_norm=1.0, clip_value=2.0).step(value, np.array([50.0]))
    np.testing.assert_allclose(value, 100 - 0.5 * (50 + 1), rtol=1e-6)


def test_gradients_of_zero_stay_zero():
    for clipping in ({"clip_norm": 1e-8}, {"clip_value": 1e-8}):
        np.testing.assert_array_equal(seen(np.zeros(3), **clipping), np.zeros(3))


# --- numbers that are not finite, or nearly so ---------------------------------------------------


@pytest.mark.parametrize("size", [3, CHUNK_SIZE + 3])
def test_an_infinite_norm_leaves_zeros_and_one_that_is_nan_leaves_nothing(size):
    gradient = np.ones(size)
    with np.errstate(invalid="ignore"):
        gradient[1] = np.inf
        clipped = seen(gradient, clip_norm=1.0)
        assert np.isnan(clipped[1])
        assert not np.any(np.delete(clipped, 1))
        gradient[1] = np.nan
        assert np.all(np.isnan(seen(gradient, clip_norm=1.0)))


def test_an_infinite_number_becomes_the_value_and_nan_stays():
    clipped = seen(np.array([np.inf, -np.inf, np.nan, 0.5]), clip_value=1.0)
    np.testing.assert_array_equal(clipped, [1.0, -1.0, np.nan, 0.5])


def test_float32_numbers_whose_squares_overflow_float32_are_clipped_correctly():
    gradient = np.array([3e30, -4e30], np.float32)
    clipped = seen(gradient, clip_norm=1.0)
    np.testing.assert_allclose(clipped, [0.6, -0.8], rtol=1e-6)
    assert clipped.dtype == np.float32


# --- memory, layout and use ----------------------------------------------------------------------


@every_kind
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_clipping_needs_no_memory_that_grows_with_the_vector(kind, dtype):
    optimizer = kind(0.1, clip_norm=1.0, clip_value=0.5)
    value, gradient = np.ones(1_000_000, dtype), np.ones(1_000_000, dtype)
    optimizer.step(value, gradient)
    tracemalloc.start()
    try:
        optimizer.step(value, gradient)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 20_000  # a few views; the vector has 4 or 8 million bytes


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_gaps_in_memory_change_no_digit_of_the_norm(dtype):
    gradient = np.random.default_rng(0).normal(size=CHUNK_SIZE + 5).astype(dtype)
    other = np.repeat(gradient, 3)[::3]
    np.testing.assert_array_equal(
        seen(other, clip_norm=0.1), np.ascontiguousarray(seen(gradient, clip_norm=0.1))
    )


def test_one_optimizer_clips_vectors_of_any_size_and_type_after_a_reset():
    optimizer = Adam(0.1, clip_norm=1.0)
    for size, dtype in ((5, np.float32), (5, np.float64), (CHUNK_SIZE + 1, np.float32), (0, float)):
        value = np.zeros(size, dtype)
        optimizer.step(value, np.full(size, 7, dtype))
        assert value.dtype == dtype
        assert np.all(value < 0)
        optimizer.reset()


def test_a_trainer_takes_a_clipped_step():
    x, t = np.ones((4, 2)), np.full((4, 1), 1e6)
    model = Dense(1)
    model.build((2,), rng=0, dtype="float64")
    before = model.parameters.value.copy()
    Trainer(model, HalfSquaredError(), SGD(0.5, clip_norm=1.0), rng=0).fit(
        x, t, epochs=1, batch_size=4
    )
    moved = np.linalg.norm(model.parameters.value - before)
    assert moved == pytest.approx(0.5, rel=1e-9)


@every_kind
@pytest.mark.parametrize("name", ["clip_norm", "clip_value"])
@pytest.mark.parametrize("bad", [0, -1.0, np.nan, np.inf, "1", True, 1j, [1.0]], ids=repr)
def test_an_invalid_limit_is_refused(kind, name, bad):
    with pytest.raises(ConfigurationError) as caught:
        kind(0.1, **{name: bad})
    assert name in caught.value.problem
    assert caught.value.place == kind.__name__
    assert "None" in caught.value.hint
    optimizer = kind(0.1)
    with pytest.raises(ConfigurationError):
        setattr(optimizer, name, bad)
    assert getattr(optimizer, name) is None


@every_kind
def test_the_limits_are_keyword_only(kind):
    with pytest.raises(TypeError):
        kind(*[0.1] * 12)
    optimizer = kind(0.1, clip_norm=np.float32(2), clip_value=3)
    assert (type(optimizer.clip_norm), optimizer.clip_norm) == (float, 2.0)
    assert repr(optimizer).endswith("clip_norm=2.0, clip_value=3.0)")
    assert "clip" not in repr(kind(0.1))
