"""Initializers, compared with the formulas of the papers that they are named after."""

from __future__ import annotations

import math

import hypothesis.strategies as st
import numpy as np
import pytest
from attrs import frozen
from hypothesis import given

from chainrule.core import initializers
from chainrule.core.errors import ConfigurationError, ShapeError
from chainrule.core.initializers import (
    KNOWN,
    Constant,
    GlorotUniform,
    Initializer,
    LectureUniform,
    Normal,
    Orthogonal,
    Uniform,
    connections,
    get,
)

# Of the n numbers drawn here, the sample variance s² is off by its standard error, and no more
# than five of them:  √((μ₄ − σ⁴)/n), that is σ² √(2/n) for normal and σ² √(4/5n) for uniform ones.
MANY = (300, 500)
N = math.prod(MANY)
FIVE_ERRORS = 5

VARIANCES = {
    "glorot": lambda n_in, n_out: 2 / (n_in + n_out),  # Glorot and Bengio 2010, equation 12
    "he": lambda n_in, n_out: 2 / n_in,  # He et al. 2015, equation 10
    "lecun": lambda n_in, n_out: 1 / n_in,  # LeCun et al. 1998, section 4.6
}


def drawn(name, shape, seed=0, dtype=np.float64):
    return get(name)(shape, np.random.default_rng(seed), dtype)


@pytest.mark.parametrize("paper", VARIANCES)
@pytest.mark.parametrize("shape", [MANY, (30, 10, 500), (5, 5, 60, 100)])
def test_normal_weights_have_the_variance_of_the_paper(paper, shape):
    positions = math.prod(shape[:-2])
    variance = VARIANCES[paper](shape[-2] * positions, shape[-1] * positions)
    w = drawn(f"{paper}_normal", shape)
    assert abs(w.mean()) <= FIVE_ERRORS * math.sqrt(variance / N)
    assert abs(w.var() / variance - 1) <= FIVE_ERRORS * math.sqrt(2 / N)
    kurtosis = np.mean(w**4) / variance**2  # 3 for a normal, 9/5 for a uniform distribution
    assert abs(kurtosis - 3) <= FIVE_ERRORS * math.sqrt(96 / N)


@pytest.mark.parametrize("paper", VARIANCES)
@pytest.mark.parametrize("shape", [MANY, (30, 10, 500), (5, 5, 60, 100)])
def test_uniform_weights_have_the_variance_of_the_paper_and_fill_their_interval(paper, shape):
    positions = math.prod(shape[:-2])
    variance = VARIANCES[paper](shape[-2] * positions, shape[-1] * positions)
    limit = math.sqrt(3 * variance)
    w = drawn(f"{paper}_uniform", shape)
    assert abs(w.mean()) <= FIVE_ERRORS * math.sqrt(variance / N)
    assert abs(w.var() / variance - 1) <= FIVE_ERRORS * math.sqrt(4 / 5 / N)
    # That n numbers all miss the last part ε of an interval has the probability (1 − ε)^n.
    for extreme in (w.max(), -w.min()):
        assert limit * (1 - 40 / N) <= extreme <= limit


def test_the_limit_of_glorot_uniform_is_equation_16_of_the_paper():
    w = drawn("glorot_uniform", (24, 30))
    limit = math.sqrt(6) / math.sqrt(24 + 30)
    assert 0.95 * limit < np.abs(w).max() <= limit


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((3, 5), (3, 5)),
        ((2, 3, 5), (6, 10)),
        ((4, 2, 3, 5), (24, 40)),
        ((7,), (7, 7)),
        ((), (1, 1)),
    ],
)
def test_positions_of_a_kernel_multiply_the_connections(shape, expected):
    assert connections(shape) == expected


@pytest.mark.parametrize("shape", [(6, 6), (8, 3), (3, 8), (2, 3, 4), (5, 1), (1, 5), (1, 1)])
@pytest.mark.parametrize("gain", [1.0, 0.3, 2.5])
def test_orthogonal_weights_preserve_lengths_up_to_the_gain(shape, gain):
    w = Orthogonal(gain)(shape, np.random.default_rng(1), np.float64)
    assert w.shape == shape
    matrix = w.reshape(-1, shape[-1])
    smaller = matrix.T @ matrix if len(matrix) >= shape[-1] else matrix @ matrix.T
    np.testing.assert_allclose(smaller, gain**2 * np.eye(len(smaller)), rtol=0, atol=1e-12)


def test_orthogonal_matrices_are_distributed_uniformly():
    """Uniform over all: an entry of a 3×3 rotation has mean 0 and variance 1/3."""
    rng, number = np.random.default_rng(0), 2000
    w = np.array([Orthogonal()((3, 3), rng, np.float64) for _ in range(number)])
    assert np.abs(w.mean(axis=0)).max() <= FIVE_ERRORS * math.sqrt(1 / 3 / number)
    assert abs(np.mean(np.linalg.det(w) > 0) - 0.5) <= FIVE_ERRORS * math.sqrt(1 / 4 / number)


@pytest.mark.parametrize("shape", [(), (4,)])
def test_only_a_matrix_can_be_orthogonal(shape):
    with pytest.raises(ShapeError, match="only a matrix"):
        drawn("orthogonal", shape)


@pytest.mark.parametrize("shape", [(), (3,), (2, 3)])
def test_the_constants_are_constant(shape):
    assert drawn("zeros", shape).tolist() == np.zeros(shape).tolist()
    assert drawn("ones", shape).tolist() == np.ones(shape).tolist()
    assert drawn(-0.25, shape).tolist() == np.full(shape, -0.25).tolist()


def test_the_lecture_draws_between_minus_and_plus_a_tenth():
    w = drawn("lecture_uniform", MANY)
    assert isinstance(get("lecture_uniform"), LectureUniform)
    assert -0.1 <= w.min() < -0.0999 and 0.0999 < w.max() <= 0.1
    assert abs(w.var() / (0.01 / 3) - 1) <= FIVE_ERRORS * math.sqrt(4 / 5 / N)


def test_uniform_and_normal_have_the_requested_moments():
    rng = np.random.default_rng(0)
    w = Uniform(2, 5)(MANY, rng, np.float64)
    assert 2 <= w.min() < 2.001 and 4.999 < w.max() <= 5
    w = Normal(mean=-3, standard_deviation=0.5)(MANY, rng, np.float64)
    assert abs(w.mean() + 3) <= FIVE_ERRORS * 0.5 / math.sqrt(N)
    assert abs(w.var() / 0.25 - 1) <= FIVE_ERRORS * math.sqrt(2 / N)


@pytest.mark.parametrize(
    "wrong", [lambda: Uniform(1, 0), lambda: Uniform(0, math.nan), lambda: Normal(0, -1)]
)
def test_an_invalid_distribution_is_rejected(wrong):
    with pytest.raises(ConfigurationError):
        wrong()


@pytest.mark.parametrize("name", KNOWN)
def test_the_same_seed_draws_the_same_values_and_float32_rounds_them(name):
    w = drawn(name, (7, 4), seed=3)
    assert w.dtype == np.float64 and w.flags.c_contiguous and w.flags.writeable
    np.testing.assert_array_equal(w, drawn(name, (7, 4), seed=3))
    single = drawn(name, (7, 4), seed=3, dtype="float32")
    assert single.dtype == np.float32 and single.flags.c_contiguous
    np.testing.assert_array_equal(single, w.astype(np.float32))
    if name not in ("zeros", "ones"):
        assert not np.array_equal(w, drawn(name, (7, 4), seed=4))


@given(st.sampled_from(sorted(KNOWN)), st.tuples(st.integers(0, 3), st.integers(0, 3)))
def test_every_shape_can_be_drawn_even_an_empty_one(name, shape):
    w = drawn(name, shape)
    assert w.shape == shape and np.isfinite(w).all()


def test_the_names_of_the_initializers():
    of_papers = {f"{paper}_{kind}" for paper in VARIANCES for kind in ("uniform", "normal")}
    others = {"orthogonal", "zeros", "ones", "uniform", "normal", "lecture_uniform"}
    assert set(KNOWN) == of_papers | others
    for name in KNOWN:
        assert get(name).name == name and get(name) == get(name)


def test_an_object_is_used_unchanged_and_a_number_is_a_constant():
    given = GlorotUniform()
    assert get(given) is given
    for number in (0.5, 1, np.float32(0.5), np.float64(2), np.int64(3)):
        assert get(number) == Constant(float(number))


@pytest.mark.parametrize(
    ("wrong", "meant"),
    [("glorot", "glorot_normal"), ("he_unifrom", "he_uniform"), ("Orthogonal", "orthogonal")],
)
def test_an_unknown_name_suggests_the_most_similar_one(wrong, meant):
    with pytest.raises(ConfigurationError, match="there is no initializer") as caught:
        get(wrong)
    assert caught.value.hint == f"did you mean {meant!r}?"
    assert "glorot_uniform" in caught.value.expected


@pytest.mark.parametrize("wrong", ["xyz", None, True, [0.1], GlorotUniform, np.zeros(3)])
def test_an_object_that_is_not_an_initializer_is_rejected(wrong):
    with pytest.raises(ConfigurationError, match="there is no initializer"):
        get(wrong)


def test_a_custom_initializer_needs_only_draw():
    @frozen
    class Diagonal(Initializer):
        scale: float

        def draw(self, shape, rng):
            return self.scale * np.eye(*shape)

    @frozen
    class Wrong(Initializer):
        def draw(self, shape, rng):
            return np.zeros(shape[::-1])

    w = get(Diagonal(2.0))((3, 2), np.random.default_rng(0), "float32")
    np.testing.assert_array_equal(w, np.array([[2, 0], [0, 2], [0, 0]], np.float32))
    with pytest.raises(ShapeError, match="an array of the wrong shape"):
        Wrong()((2, 3), np.random.default_rng(0), "float64")
    with pytest.raises(NotImplementedError):
        initializers.Initializer()((2,), np.random.default_rng(0), "float64")
