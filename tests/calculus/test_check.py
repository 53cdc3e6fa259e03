"""The checker itself: what it reports, what it leaves alone, and what it says of odd requests."""

from __future__ import annotations

import copy
import time
from xml.etree import ElementTree

import numpy as np
import pytest
from attrs import define

from chainrule import Activation, Dense, Flatten, Layer, Sequential, check_layer, check_loss, losses
from chainrule.calculus.laws import LAWS
from chainrule.calculus.loss_laws import LOSS_LAWS
from chainrule.core.errors import DefinitionError, LayerCheckError, ShapeError
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
    "inference",
]


def test_the_report_lists_the_ten_laws_with_their_figures():
    report = check_layer(Dense(3), (4,))
    assert report.ok is True
    assert [result.name for result in report] == NAMES
    assert report["adjoint"].figure <= report["adjoint"].tolerance == 1e-12
    text = str(report)
    assert "Dense(3)" in text
    assert "all 10 laws hold" in text
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


def test_inputs_of_the_caller_are_taken_as_they_are():
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
    assert not report["adjoint"].remarks  # neither zeros nor negative numbers were tried


def test_a_function_without_a_rule_is_checked_by_differences_and_the_report_says_so():
    @define
    class Spectrum(Layer):
        def forward(self, x):
            self.matrix = np.nextafter(np.eye(4) * 2.0 + 0 * x.sum(), 0)
            return x @ self.matrix.astype(x.dtype)

        def backward(self, delta):
            return delta @ self.matrix.T.astype(delta.dtype)

    report = check_layer(Spectrum(), (4,))
    assert report.ok
    assert report["adjoint"].tolerance == 1e-6
    assert "central differences" in str(report)
    assert "nextafter" in str(report)


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
    assert [result.name for result in report] == NAMES[:9]
    assert "SoftmaxCrossEntropy()" in str(report)


def test_a_factor_that_is_almost_one_is_said_with_the_digits_that_tell_it_from_one():
    from chainrule.calculus.diagnosis import factor

    expected = np.array([1.0, -2.0, 3.0])
    assert "1.00001 times" in str(factor(1.00001 * expected, expected, {}))
    assert "-1.00001 times" in str(factor(-1.00001 * expected, expected, {}))
    assert "1.5 times" in str(factor(1.5 * expected, expected, {}))


# ------------------------------------------------------------------------------- what it looks at


def test_an_error_for_one_batch_size_says_which_and_is_written_once():
    class FailsForTwo(Layer):
        def forward(self, x):
            return 2 * x

        def backward(self, delta):
            if len(delta) == 2:
                raise RuntimeError(f"a delta of shape {delta.shape}")
            return 2 * delta

    with pytest.raises(LayerCheckError) as caught:
        check_layer(FailsForTwo(), (4,))
    report = caught.value.report
    assert "This happens for a batch of 2 rows." in report["adjoint"].diagnosis
    assert report["accumulate"].diagnosis == "same as law 1"
    assert str(report).count("RuntimeError: a delta of shape") == 1


def test_a_missing_return_is_reported_once_in_the_same_words():
    class ForgetsToReturn(Layer):
        def forward(self, x):
            return 2 * x

        def backward(self, delta):
            pass

    with pytest.raises(LayerCheckError) as caught:
        check_layer(ForgetsToReturn(), (4,))
    report = caught.value.report
    assert "is the return missing?" in report["adjoint"].diagnosis
    broken = [result for result in report if not result.ok]
    assert report["accumulate"] in broken
    assert all(result.diagnosis == "same as law 1" for result in broken[1:])


def test_a_layer_that_cannot_be_built_is_no_broken_law():
    with pytest.raises(LayerCheckError) as caught:
        check_layer(Dense(3), ())
    assert str(caught.value).startswith("Dense(3): the layer cannot be built\n")
    assert "laws" not in str(caught.value)


def test_a_function_for_inputs_that_ignores_the_shape_is_a_named_error():
    with pytest.raises(ShapeError, match="inputs returns an array of the wrong shape"):
        check_layer(Dense(3), (4,), inputs=lambda shape: np.zeros((7, 4)))


def test_the_global_generators_and_the_clock_are_left_alone():
    np.random.seed(3)
    before = np.random.get_state()[1].copy()
    clock = time.time
    check_layer(Dense(3), (4,))
    np.testing.assert_array_equal(np.random.get_state()[1], before)
    assert time.time is clock


def test_one_wrong_parameter_among_many_is_named():
    class ForgetsOneHalf(Dense):
        def backward(self, delta):
            delta_in = super().backward(delta)
            self.weights.grad[...] *= 0.5
            return delta_in

    layers = [Dense(3) for _ in range(12)]
    layers[7] = ForgetsOneHalf(3)
    with pytest.raises(LayerCheckError) as caught:
        check_layer(Sequential(layers), (3,))
    said = caught.value.report["adjoint"].diagnosis
    assert "the gradient of forgets_one_half_1.weights is wrong" in said
    assert "Only forgets_one_half_1.weights is wrong" in said


def test_integer_inputs_are_not_moved_and_have_a_delta_of_zeros():
    class Lookup(Layer):
        def build(self, input_shape):
            self.parameter("table", (5, 3), "normal")

        def forward(self, tokens):
            self.tokens = tokens.astype(int)  # build sends an empty batch of floats
            return self.table.value[self.tokens]

        def backward(self, delta):
            gradient = np.zeros_like(self.table.value)
            np.add.at(gradient, self.tokens, delta)
            self.table.accumulate(gradient)
            return self.delta_in(delta)

        def delta_in(self, delta):
            return np.zeros_like(delta, shape=self.tokens.shape)

    class NotZero(Lookup):
        def delta_in(self, delta):
            return np.ones_like(delta, shape=self.tokens.shape)

    rng = np.random.default_rng(0)

    def tokens(shape):
        return rng.integers(0, 5, shape)

    assert check_layer(Lookup(), (2,), inputs=tokens).ok
    with pytest.raises(LayerCheckError) as caught:
        check_layer(NotZero(), (2,), inputs=tokens)
    assert "is not zero, but this input contains integers" in str(caught.value)


def test_numbers_for_which_a_layer_is_not_defined_are_left_out_with_a_remark():
    class Solves(Layer):
        def build(self, input_shape):
            self.parameter("matrix", (*input_shape, *input_shape), "orthogonal")

        def inverse(self):
            matrix = self.matrix.value
            if isinstance(matrix, np.ndarray) and not np.any(matrix):
                raise np.linalg.LinAlgError("Singular matrix")
            a, b, c, d = matrix[0, 0], matrix[0, 1], matrix[1, 0], matrix[1, 1]
            turned = np.stack([np.stack([d, -b]), np.stack([-c, a])])
            return turned / (a * d - b * c)

        def forward(self, x):
            self.inverted = self.inverse()
            self.y = x @ self.inverted
            return self.y

        def backward(self, delta):
            through = delta @ self.inverted.T
            self.matrix.accumulate(-self.y.T @ through)
            return through

    report = check_layer(Solves(), (2,))
    assert "not finite for parameters of zero" in " ".join(report["adjoint"].remarks)


def test_rows_with_open_axes_are_checked_with_a_size_if_the_layer_accepts_any():
    report = check_layer(Sequential([Dense(2), Activation("tanh")]), (None, 3))
    assert report.ok
    assert "rows of shape (5, 3)" in str(report)
    with pytest.raises(
        LayerCheckError, match="needs a fixed size where the rows have an open axis"
    ):
        check_layer(Sequential([Flatten(), Dense(2)]), (None, 3))


# ------------------------------------------------------------------------------- in a notebook


def cells_of(report):
    page = ElementTree.fromstring(report._repr_html_())
    return [["".join(cell.itertext()) for cell in row] for row in page.iter("tr")]


def test_a_notebook_shows_a_row_for_each_law():
    report = check_layer(Dense(2), (3,))
    head, *rows = cells_of(report)
    assert head == ["law", "error", "tolerance", "statement"]
    assert [row[0] for row in rows] == [f"✓\xa0{law.name}" for law in report]
    assert [row[3] for row in rows] == [law.statement for law in report]
    assert rows[0][1] == f"{report['adjoint'].figure:.1e}"


def test_a_notebook_shows_the_diagnosis_below_a_broken_law():
    class Half(Layer):
        def forward(self, x):
            self.x = x
            return x**2

        def backward(self, delta):
            return delta * self.x

    with pytest.raises(LayerCheckError) as caught:
        check_layer(Half(), (3,))
    report = caught.value.report
    row = cells_of(report)[1]
    assert row[0] == "✗\xa0adjoint" and report["adjoint"].diagnosis in row[3]
    assert "1 of 10 laws broken: adjoint" in "".join(
        ElementTree.fromstring(report._repr_html_()).itertext()
    )
