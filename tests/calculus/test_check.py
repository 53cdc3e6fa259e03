"""The checker itself: what it reports, what it leaves alone, and what it says of odd requests."""

from __future__ import annotations

import copy

import numpy as np
import pytest
from attrs import define

from chainrule import Activation, Dense, Layer, Sequential, check_layer, check_loss, losses
from chainrule.calculus.laws import LAWS
from chainrule.calculus.loss_laws import LOSS_LAWS
from chainrule.core.errors import DefinitionError, LayerCheckError
from chainrule.losses import Loss

NAMES = [
    "adjoint",
    "tangent",
    "accumulate",
    "purity",
    "repeatable",
    "batch",
    "type",
    "memory",
    "return",
]


def test_the_report_lists_the_nine_laws_with_their_figures():
    report = check_layer(Dense(3), (4,))
    assert report.ok is True
    assert [result.name for result in report] == NAMES
    assert report["adjoint"].figure <= report["adjoint"].tolerance == 1e-12
    text = str(report)
    assert "Dense(3)" in text
    assert "all 9 laws hold" in text
    for number, name in enumerate(NAMES, start=1):
        assert f"✓ {number}  {name}" in text


def test_every_law_says_in_one_line_what_it_holds():
    for law in (*LAWS.values(), *LOSS_LAWS.values()):
        line = law.__doc__.splitlines()[0]
        assert line.endswith(".")
        assert len(line) < 95


def test_the_layer_stays_as_it_was():
    layer = Dense(3)
    check_layer(layer, (4,))
    assert not layer.is_built

    layer.build((5,), rng=0)
    x = np.ones((2, 5))
    y = layer.forward(x)
    layer.backward(y)
    value, grad = layer.parameters.value.copy(), layer.parameters.grad.copy()
    check_layer(layer, (4,))
    np.testing.assert_array_equal(layer.parameters.value, value)
    np.testing.assert_array_equal(layer.parameters.grad, grad)
    assert layer.input_shape == (5,)
    layer.backward(y)  # its memory is still there
    np.testing.assert_array_equal(layer.parameters.grad, 2 * grad)


def test_the_same_seed_gives_the_same_figures():
    one, two = (check_layer(Dense(3), (4,), rng=5) for _ in range(2))
    assert str(one) == str(two)
    assert str(one) != str(check_layer(Dense(3), (4,), rng=6))


def test_the_batch_is_no_other_size():
    # With 7 inputs and 5 outputs a factor of 7 or 5 could be either; the batch is another number.
    text = str(check_layer(Dense(5), (7,)))
    assert "batches of 11" in text


def test_inputs_can_be_drawn_by_the_caller():
    @define
    class SquareRoot(Layer):
        def forward(self, x):
            self.y = np.sqrt(x)
            return self.y

        def backward(self, delta):
            return delta / (2 * self.y)

    rng = np.random.default_rng(0)
    with pytest.raises(LayerCheckError, match="not finite for ordinary inputs"):
        check_layer(SquareRoot(), (4,))
    assert check_layer(SquareRoot(), (4,), inputs=lambda shape: rng.uniform(1, 2, shape)).ok


def test_a_layer_for_positive_numbers_passes_with_positive_inputs():
    @define
    class Logarithm(Layer):
        def forward(self, x):
            self.x = x
            return np.log(x)

        def backward(self, delta):
            return delta / self.x

    rng = np.random.default_rng(0)
    report = check_layer(Logarithm(), (4,), inputs=lambda shape: rng.uniform(1, 2, shape))
    assert report.ok
    assert "not finite for an input of zeros" in " ".join(report["adjoint"].remarks)


def test_a_function_without_a_rule_is_checked_by_differences_and_the_report_says_so():
    @define
    class Spectrum(Layer):
        def forward(self, x):
            self.matrix = np.linalg.pinv(np.eye(4) * 2.0 + 0 * x.sum())
            return x @ self.matrix.astype(x.dtype)

        def backward(self, delta):
            return delta @ self.matrix.T.astype(delta.dtype)

    report = check_layer(Spectrum(), (4,))
    assert report.ok
    assert report["adjoint"].tolerance == 1e-6
    assert "central differences" in str(report)
    assert "pinv" in str(report)


def test_an_exception_inside_the_layer_is_a_finding_with_its_line():
    @define
    class Stumbles(Layer):
        def forward(self, x):
            self.x = x
            return 2 * x

        def backward(self, delta):
            return delta @ self.x

    with pytest.raises(LayerCheckError) as caught:
        check_layer(Stumbles(), (4,))
    text = str(caught.value)
    assert "ValueError" in text
    assert "return delta @ self.x" in text


def test_a_fault_that_breaks_several_laws_is_described_once():
    @define
    class Forgets(Layer):
        def forward(self, x):
            return 2 * x

        def backward(self, delta):
            return delta * self.y

    with pytest.raises(LayerCheckError) as caught:
        check_layer(Forgets(), (3,))
    assert str(caught.value).count("has no attribute 'y'") == 1
    assert caught.value.report["purity"].diagnosis == "same as law 1"


def test_a_layer_that_cannot_be_built_for_the_shape_is_reported():
    with pytest.raises(LayerCheckError, match="rows of the input are not vectors"):
        check_layer(Dense(3), ())


def test_what_is_no_layer_is_refused():
    for thing in (Dense, np.tanh, "dense"):
        with pytest.raises(DefinitionError, match="check_layer needs a layer"):
            check_layer(thing, (4,))


def test_an_error_can_be_pickled_with_its_report():
    try:
        check_layer(Dense(3), (4, 4))
    except LayerCheckError as error:
        again = copy.copy(error)
        assert str(again) == str(error)
        assert again.report is error.report


def test_a_fault_in_a_network_is_found_through_the_network():
    @define
    class Doubled(Layer):
        def forward(self, x):
            return 2 * x

        def backward(self, delta):
            return delta

    with pytest.raises(LayerCheckError) as caught:
        check_layer(Sequential([Dense(3), Doubled(), Activation("tanh")]), (4,))
    assert not caught.value.report["adjoint"].ok


# ------------------------------------------------------------------------------- losses


@define
class NoAverage(Loss):
    """Its delta forgets the 1/batch."""

    def costs(self, y, target):
        return ((y - target) ** 2).sum(axis=1)

    def slopes(self, y, target):
        return 2 * (y - target)

    def delta(self, y, target, sample_weights=None):
        return super().delta(y, target, sample_weights) * len(y)


@define
class WrongSign(NoAverage):
    def delta(self, y, target, sample_weights=None):
        return -Loss.delta(self, y, target, sample_weights)


@define
class WritesIntoTheOutput(NoAverage):
    def delta(self, y, target, sample_weights=None):
        delta = Loss.delta(self, y, target, sample_weights)
        y -= target
        return delta


@define
class Becomes64(NoAverage):
    def delta(self, y, target, sample_weights=None):
        return Loss.delta(self, y, target, sample_weights).astype(np.float64)


@define
class AnotherPair(NoAverage):
    def delta(self, y, target, sample_weights=None):
        return Loss.delta(self, y, target, sample_weights)

    def value_and_delta(self, y, target, sample_weights=None):
        return self(y, target, sample_weights), 2 * self.delta(y, target, sample_weights)


@pytest.mark.parametrize(
    ("loss", "law", "words"),
    [
        (NoAverage(), "adjoint", "7 times too large, and 7 is the batch size"),
        (WrongSign(), "adjoint", "sign"),
        (WritesIntoTheOutput(), "purity", "the output"),
        (Becomes64(), "type", "float64"),
        (AnotherPair(), "memory", "value_and_delta"),
    ],
    ids=lambda case: type(case).__name__ if isinstance(case, Loss) else None,
)
def test_a_broken_loss_is_caught_and_its_fault_named(loss, law, words):
    with pytest.raises(LayerCheckError) as caught:
        check_loss(loss, (4,))
    assert words in caught.value.report[law].diagnosis


def test_a_custom_loss_passes():
    @define
    class LogCosh(Loss):
        def costs(self, y, target):
            return np.sum(np.log(np.cosh(y - target)), axis=1)

        def slopes(self, y, target):
            return np.tanh(y - target)

    assert check_loss(LogCosh(), (3,)).ok


def test_a_loss_report_names_the_loss_and_the_nine_laws():
    report = check_loss(losses.SoftmaxCrossEntropy(), (4,))
    assert [result.name for result in report] == NAMES
    assert "SoftmaxCrossEntropy()" in str(report)


def test_a_factor_that_is_almost_one_is_said_with_the_digits_that_tell_it_from_one():
    from chainrule.calculus.diagnosis import factor

    expected = np.array([1.0, -2.0, 3.0])
    assert "1.00001 times" in str(factor(1.00001 * expected, expected, {}))
    assert "-1.00001 times" in str(factor(-1.00001 * expected, expected, {}))
    assert "1.5 times" in str(factor(1.5 * expected, expected, {}))
