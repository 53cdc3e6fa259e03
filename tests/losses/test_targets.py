"""Losses whose targets are not like the output, and losses without targets."""

from __future__ import annotations

import numpy as np
import pytest
from attrs import define

from chainrule import check_loss, losses
from chainrule.core.errors import ConfigurationError, DefinitionError, DtypeError, ShapeError
from chainrule.losses import Loss

RNG = np.random.default_rng(5)


@define
class Line(Loss):
    """Outputs (n, 2): an intercept and a slope at x = 1 for each of n numbers; targets (n,)."""

    def target_shape(self, output_shape):
        return output_shape[:-1]

    def costs(self, y, target):
        return np.sum((y[..., 0] + y[..., 1] - target) ** 2, axis=1)

    def slopes(self, y, target):
        return np.repeat(2 * (y[..., 0] + y[..., 1] - target)[..., np.newaxis], 2, axis=-1)


@define
class Energy(Loss):
    takes_targets = False

    def costs(self, y):
        return np.sum(y**4 - y**2, axis=1)

    def slopes(self, y):
        return 4 * y**3 - 2 * y


@pytest.mark.parametrize(
    ("loss", "shape"),
    [
        (Line(), (3, 2)),
        (Energy(), (3,)),
        (losses.MeanSquare(), (2, 3)),
        (losses.MeanOutput(), (3,)),
        (losses.MeanOutput(), ()),
    ],
)
def test_every_law_holds_for_targets_of_another_shape_and_for_none(loss, shape):
    assert check_loss(loss, shape)


def test_targets_have_the_shape_that_the_loss_says():
    y, t = np.array([[[1.0, 2.0], [0.0, 1.0]]]), np.array([[1.0, 3.0]])
    assert Line()(y, t) == 2**2 + 2**2
    np.testing.assert_array_equal(Line().delta(y, t), [[[4, 4], [-4, -4]]])
    assert Line()(y, t.astype(int)) == 8
    Line().validate_targets(y.shape, t)
    assert Line().target_shape((5, 2)) == (5,)
    assert losses.Huber().target_shape((5, 2)) == (5, 2)


@pytest.mark.parametrize("shape", [(1, 2, 2), (1, 3), (1, 2, 1), (1,)])
def test_a_target_of_another_shape_than_the_loss_says_is_refused(shape):
    y, t = np.ones((1, 2, 2)), np.ones(shape)
    calls = [
        lambda: Line()(y, t),
        lambda: Line().delta(y, t),
        lambda: Line().validate_targets(y.shape, t),
    ]
    for call in calls:
        with pytest.raises(ShapeError) as caught:
            call()
        assert "(1, 2), for an output of (1, 2, 2)" in str(caught.value)
    if shape == (1, 2, 1):
        assert caught.value.hint == "target[..., 0] removes the axis of length one"


def test_a_loss_without_targets_is_called_with_the_output_alone():
    y = np.array([[1.0, 2.0], [0.5, -1.0]])
    costs = [0 + 12, 0.0625 - 0.25]
    assert Energy()(y) == pytest.approx(sum(costs) / 2, rel=1e-15)
    np.testing.assert_allclose(Energy().delta(y), [[1, 14], [-0.25, -1]], rtol=1e-15)
    assert Energy()(y, None) == Energy()(y, np.zeros((2, 0))) == Energy()(y)
    weights = np.array([2.0, 0.0])
    assert Energy()(y, sample_weights=weights) == 12
    np.testing.assert_allclose(Energy().delta(y, sample_weights=weights), [[2, 28], [0, 0]])
    value, delta = Energy().value_and_delta(y)
    assert value == Energy()(y)
    np.testing.assert_array_equal(delta, Energy().delta(y))


def test_the_mean_square_is_the_mean_squared_error_of_a_target_of_zeros():
    y, weights = RNG.normal(size=(5, 2, 3)), RNG.uniform(size=5)
    ours, reference = losses.MeanSquare(), losses.MeanSquaredError()
    for given in (None, weights, RNG.uniform(size=(5, 2))):
        assert ours(y, None, given) == reference(y, 0 * y, given)
        np.testing.assert_array_equal(ours.delta(y, None, given), reference.delta(y, 0 * y, given))
    np.testing.assert_array_equal(ours.slopes(y), reference.slopes(y, 0 * y))
    before = y.copy()
    ours.value_and_delta(y, None, np.array([1.0, 0, 0, 1, 1]))
    np.testing.assert_array_equal(y, before)


def test_the_mean_output_is_the_mean():
    y = RNG.normal(size=(4, 3))
    assert losses.MeanOutput()(y) == pytest.approx(y.mean(), rel=1e-14)
    np.testing.assert_allclose(losses.MeanOutput().delta(y), np.full((4, 3), 1 / 12), rtol=1e-15)


def test_without_targets_beside_an_ordinary_loss_its_target_is_none():
    loss = losses.PerOutput([losses.MeanSquaredError(), Energy()], weights=[1.0, 0.5])
    y, t = (RNG.normal(size=(3, 2)), RNG.normal(size=(3, 4))), RNG.normal(size=(3, 2))
    assert loss(y, (t, None)) == losses.MeanSquaredError()(y[0], t) + 0.5 * Energy()(y[1])
    np.testing.assert_array_equal(loss.delta(y, (t, None))[1], 0.5 * Energy().delta(y[1]))
    assert loss.takes_targets
    assert loss.target_shape(((2,), (4,))) == ((2,), (0,))
    alone = losses.PerOutput([Energy(), Energy()])
    assert not alone.takes_targets
    assert alone((y[1], y[1])) == 2 * Energy()(y[1])
    with pytest.raises(ShapeError, match="targets for 2 losses must be a tuple"):
        loss(y)


def test_a_target_where_there_should_be_none_and_none_where_there_should_be_one():
    y = np.ones((2, 3))
    for call in (Energy(), Energy().delta, losses.MeanSquare(), losses.MeanSquare().delta):
        with pytest.raises(ConfigurationError, match="depends on the output alone") as caught:
            call(y, y)
        assert "fit(x)" in str(caught.value)
    with pytest.raises(ConfigurationError):
        Energy().validate_targets(y.shape, y)
    for call in (losses.Huber(), losses.SoftmaxCrossEntropy()):
        with pytest.raises(DtypeError, match="target must be an array") as missing:
            call(y)
        assert missing.value.hint == "give the output and its target: loss(y, t)"


def test_a_loss_without_targets_that_lacks_a_method_says_how_to_write_it():
    @define
    class Empty(Loss):
        takes_targets = False

    with pytest.raises(DefinitionError) as caught:
        Empty()(np.ones((2, 3)))
    assert caught.value.expected == "costs(self, y) and slopes(self, y)"


def test_a_wrong_slope_without_targets_is_found():
    @define
    class Wrong(Energy):
        def slopes(self, y):
            return 4 * y**3 + 2 * y

    with pytest.raises(AssertionError, match="the delta is not the gradient"):
        check_loss(Wrong(), (3,))
