"""scikit-learn: its own checks, and what its users do with an estimator."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from typing import Any, ClassVar

import attrs
import joblib
import numpy as np
import pandas
import polars
import pytest
from scipy.sparse import csr_array
from sklearn import config_context
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import TransformedTargetRegressor
from sklearn.datasets import load_diabetes, load_digits, load_iris
from sklearn.ensemble import StackingClassifier, StackingRegressor
from sklearn.exceptions import NotFittedError
from sklearn.inspection import permutation_importance
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import log_loss
from sklearn.model_selection import GridSearchCV, cross_val_score, train_test_split
from sklearn.multioutput import MultiOutputClassifier
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from chainrule import (
    Activation,
    Convolution,
    Dense,
    Dropout,
    Flatten,
    Graph,
    Input,
    Layer,
    PReLU,
    Reshape,
    Residual,
    Sequential,
    Softmax,
    TransformerBlock,
    callbacks,
    losses,
    optimizers,
)
from chainrule.errors import (
    ConfigurationError,
    DataError,
    DefinitionError,
    DtypeError,
    ShapeError,
)
from chainrule.interop.sklearn import Classifier, Regressor

pytestmark = pytest.mark.edges


def small(**how: Any) -> Classifier:
    """A classifier that trains in a moment."""
    usual = {
        "model": Sequential([Dense(8), Activation("tanh")]),
        "learning_rate": 0.05,
        "epochs": 20,
        "random_state": 0,
    }
    return Classifier(**{**usual, **how})


@pytest.fixture(scope="module")
def iris() -> Any:
    x, y = load_iris(return_X_y=True)
    return StandardScaler().fit_transform(x), y


def both(iris: Any) -> list[tuple[Any, Any, Any]]:
    """A classifier and a regressor with their data."""
    x, y = iris
    return [(small(), x, y), (Regressor(epochs=20, random_state=0), x[:, :3], x[:, 3])]


# --------------------------------------------------------------------------- scikit-learn's checks

CHECK = """
import collections, warnings
warnings.simplefilter("ignore")
from sklearn.utils.estimator_checks import check_estimator
from chainrule import *
from chainrule.interop.sklearn import Classifier, Regressor
found = check_estimator({estimator}, on_fail=None, on_skip=None)
print({{each["check_name"]: each["status"] for each in found if each["status"] != "passed"}})
print(len(found))
"""

GIVEN = "Sequential([Dense(50), Activation('relu')]), optimizer=optimizers.Adam(0.003)"


@pytest.mark.parametrize("kind", ["Classifier", "Regressor"])
def test_every_check_of_scikit_learn_passes_with_array_api(kind):
    assert checked(f"{kind}()", {"SCIPY_ARRAY_API": "1"}) == {}


@pytest.mark.parametrize("kind", ["Classifier", "Regressor"])
def test_every_check_of_scikit_learn_passes_for_a_given_model(kind):
    """Without the variable, scikit-learn leaves out the one check of the array API."""
    found = checked(f"{kind}({GIVEN})", {})
    found.pop("check_array_api_input", None)
    assert found == {}


def checked(estimator: str, more: dict[str, str]) -> dict[str, str]:
    """The checks of scikit-learn that did not pass, and how they ended."""
    environment = {name: value for name, value in os.environ.items() if name != "SCIPY_ARRAY_API"}
    done = subprocess.run(
        [sys.executable, "-c", CHECK.format(estimator=estimator)],
        capture_output=True,
        text=True,
        env={**environment, **more},
        check=True,
        timeout=500,
    )
    failures, count = done.stdout.strip().splitlines()[-2:]
    assert int(count) > 50
    return dict(eval(failures))


# --------------------------------------------------------------------------- parameters


def test_parameters_reach_into_the_model_the_optimizer_and_the_loss():
    model = Sequential([Dense(30), Activation("tanh"), Residual(Dense(30), Dropout(0.1))])
    loss = losses.SoftmaxCrossEntropy(label_smoothing=0.1)
    found = Classifier(model, optimizer=optimizers.Adam(0.01), loss=loss).get_params()
    assert found["model"] is model
    assert found["model__dense_1__units"] == 30
    assert found["model__residual_1__dropout_1__rate"] == 0.1
    assert found["optimizer__learning_rate"] == 0.01
    assert found["loss__label_smoothing"] == 0.1
    assert "model__layers" not in found and "model__residual_1__layers" not in found
    assert not [name for name in Classifier(model).get_params(deep=False) if "__" in name]


def test_a_parameter_is_set_in_a_copy_and_what_was_given_does_not_change():
    model = Sequential([Dense(30), Activation("tanh")])
    adam = optimizers.Adam(0.01)
    classifier = Classifier(model, optimizer=adam)
    classifier.set_params(
        model__dense_1__units=5,
        model__activation_1__function="relu",
        optimizer__learning_rate=0.5,
        epochs=3,
    )
    assert classifier.model == Sequential([Dense(5), Activation("relu")])
    assert classifier.optimizer == optimizers.Adam(0.5) and classifier.epochs == 3
    assert model == Sequential([Dense(30), Activation("tanh")])
    assert adam.learning_rate == 0.01


@pytest.mark.parametrize(
    ("model", "change", "expected"),
    [
        (Dense(3), {"units": 4}, Dense(4)),
        (
            Sequential([TransformerBlock(2, 8)]),
            {"transformer_block_1__hidden": 16, "transformer_block_1__heads": 4},
            Sequential([TransformerBlock(4, 16)]),
        ),
        (
            Residual(Dense(3), projection=Dense(3)),
            {"dense_1__units": 5, "projection__units": 5},
            Residual(Dense(5), projection=Dense(5)),
        ),
        (
            Sequential([Reshape((8, 8, 1)), Convolution(4, 3), Flatten()]),
            {"convolution_1__filters": 8, "convolution_1__kernel": (5, 5)},
            Sequential([Reshape((8, 8, 1)), Convolution(8, (5, 5)), Flatten()]),
        ),
        (
            Sequential([Dense(3), Activation(np.sin, np.cos)]),
            {"activation_1__function": "sin"},
            Sequential([Dense(3), Activation("sin")]),
        ),
    ],
    ids=lambda each: type(each).__name__,
)
def test_any_field_of_any_layer_can_be_set(model, change, expected):
    before = clone(Classifier(model)).model
    named = {f"model__{name}": value for name, value in change.items()}
    classifier = Classifier(model).set_params(**named)
    assert classifier.model == expected
    found, wanted = classifier.get_params(), Classifier(expected).get_params()
    assert list(found) == list(wanted)
    assert {name: found[name] for name in named} == {name: wanted[name] for name in named}
    assert model == before


def test_a_shared_layer_is_still_shared_after_a_change(iris):
    layer = Dense(4)
    x = Input((4,))
    model = Graph(x, Activation("tanh")(layer(Activation("tanh")(layer(x)))))
    changed = Classifier(model).set_params(model__dense_1__use_bias=False).model
    assert changed.layers[0] is changed.layers[2]
    assert not changed.layers[2].use_bias and layer.use_bias


def test_every_parameter_can_be_set_to_what_it_is():
    model = Sequential([Dense(30), PReLU(), Residual(Dense(30), Dropout(0.1))])
    classifier = Classifier(model, optimizer=optimizers.SGD(0.1, momentum=0.9))
    found = classifier.get_params()
    same = clone(classifier).set_params(**{n: v for n, v in found.items() if "__" in n})
    assert same.model == model and same.optimizer == classifier.optimizer


def test_a_new_model_and_a_field_of_it_are_set_together():
    new = Sequential([Dense(3), Dense(4)])
    classifier = small().set_params(model__dense_2__units=7, model=new)
    assert classifier.model == Sequential([Dense(3), Dense(7)])


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("model__dens_1__units", "did you mean 'model__dense_1__units'?"),
        ("epoch", "did you mean 'epochs'?"),
        ("optimizer__learning_rate", "optimizer=…, an object with parameters"),
        ("depth__of__it", "depth=…"),
    ],
)
def test_an_unknown_parameter_is_named_and_nothing_changes(name, hint):
    classifier = small()
    before = classifier.get_params()
    with pytest.raises(ConfigurationError, match=f"no parameter '{name}'") as error:
        classifier.set_params(**{"epochs": 7, name: 1})
    assert hint in str(error.value)
    assert classifier.get_params() == before


def test_a_value_that_a_layer_rejects_is_named_and_nothing_changes():
    classifier = small()
    with pytest.raises(ConfigurationError, match="units must be the number of outputs"):
        classifier.set_params(epochs=7, model__dense_1__units=0)
    assert classifier.epochs == 20 and classifier.model[0].units == 8


def test_a_clone_shares_nothing_and_trains_to_the_same_numbers(iris):
    x, y = iris
    first = small(optimizer=optimizers.Adam(), callbacks=[callbacks.EarlyStopping("loss")])
    second = clone(first)
    assert second.model is not first.model and second.model == first.model
    assert second.callbacks[0] is not first.callbacks[0]
    expected = first.fit(x, y).predict_proba(x)
    np.testing.assert_array_equal(second.fit(x, y).predict_proba(x), expected)


def test_fit_changes_no_parameter(iris):
    x, y = iris
    adam, loss = optimizers.Adam(), losses.SoftmaxCrossEntropy()
    classifier = small(optimizer=adam, loss=loss, class_weight={0: 2.0})
    before = {name: repr(value) for name, value in classifier.get_params().items()}
    classifier.fit(x, y)
    assert {name: repr(value) for name, value in classifier.get_params().items()} == before
    assert not classifier.model.is_built and adam.steps == 0
    assert classifier.model_ is not classifier.model and classifier.optimizer_ is not adam


def test_the_learning_rate_is_that_of_the_optimizer_unless_given(iris):
    x, y = iris
    for given, rate, used in [(None, None, 1e-3), (optimizers.SGD(0.2), None, 0.2)]:
        fitted = small(optimizer=given, learning_rate=rate, epochs=1).fit(x, y)
        assert fitted.optimizer_.learning_rate == used
    fitted = small(optimizer=optimizers.SGD(0.2), learning_rate=0.3, epochs=1).fit(x, y)
    assert fitted.optimizer_.learning_rate == 0.3
    assert type(fitted.optimizer_) is optimizers.SGD


def test_a_notebook_shows_the_parameters(iris):
    assert "Dense(8)" in repr(small())
    assert "epochs" in small()._repr_html_()


# --------------------------------------------------------------------------- the output layer


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        (None, [Dense(100), Activation("relu"), Dense(3)]),
        (Sequential([Dense(5), Activation("tanh")]), [Dense(5), Activation("tanh"), Dense(3)]),
        (Sequential([Dense(5), Activation("tanh"), Dense(3)]), None),
        (Sequential([Dense(5), Activation("tanh"), Dense(3), Softmax()]), None),
        (Sequential([Sequential([Dense(5), Activation("tanh")]), Sequential([Dense(3)])]), None),
        (Dense(3), None),
        (Activation("tanh"), [Activation("tanh"), Dense(3)]),
        (Residual(Dense(4)), [Residual(Dense(4)), Dense(3)]),
    ],
    ids=repr,
)
def test_the_output_layer_is_added_unless_the_model_has_one(iris, model, expected):
    x, y = iris
    fitted = Classifier(model, epochs=2, random_state=0).fit(x, y)
    assert fitted.model_.unbuilt() == (model if expected is None else Sequential(expected))
    assert model is None or not model.is_built
    assert fitted.predict_proba(x).shape == (150, 3)
    np.testing.assert_allclose(fitted.predict_proba(x).sum(axis=1), 1)


def test_the_output_layer_of_a_graph_is_the_one_that_makes_its_output(iris):
    x, y = iris
    start = Input((4,))
    hidden = Activation("tanh")(Dense(5)(start))
    fitted = small(model=Graph(start, Dense(3)(hidden)), epochs=2).fit(x, y)
    assert isinstance(fitted.model_, Graph)
    fitted = small(model=Graph(start, hidden), epochs=2).fit(x, y)
    assert fitted.model_.layers[-1].units == 3


@pytest.mark.parametrize(
    ("estimator", "model", "expected"),
    [
        (Classifier, Sequential([Dense(5), Activation("tanh"), Dense(10)]), "3, for 3 classes"),
        (Classifier, Sequential([Dense(4), Softmax()]), "3, for 3 classes"),
        (Regressor, Sequential([Dense(5), Activation("tanh"), Dense(3)]), "1, for one target"),
    ],
)
def test_an_output_layer_of_the_wrong_width_is_named(iris, estimator, model, expected):
    x, y = iris
    with pytest.raises(ShapeError, match="the output layer does not have the right width") as error:
        estimator(model).fit(x, y)
    assert f"expected  {expected}" in str(error.value)
    assert "leave out the output layer" in str(error.value)


def test_two_classes_have_two_outputs_or_the_one_of_the_model(iris):
    x, y = iris[0][:100], iris[1][:100]
    for model, width in [(Dense(1), 1), (Dense(2), 2), (None, 2)]:
        fitted = Classifier(model, learning_rate=0.05, random_state=0).fit(x, y)
        assert fitted.model_.output_shape == (width,)
        assert fitted.score(x, y) == 1.0
        chances, scores = fitted.predict_proba(x), fitted.decision_function(x)
        assert chances.shape == (100, 2) and scores.shape == (100,)
        np.testing.assert_allclose(chances[:, 1], 1 / (1 + np.exp(-scores)), rtol=1e-12)
        np.testing.assert_allclose(chances.sum(axis=1), 1)


@pytest.mark.parametrize(
    ("model", "kind", "message"),
    [
        ("Dense(3)", DefinitionError, "Classifier needs a layer"),
        (Dense, DefinitionError, "Classifier needs a layer"),
        (Reshape((2, 2)), ShapeError, "does not end with one vector for each row"),
        (Reshape((3, 3)), Exception, "Reshape"),
    ],
)
def test_a_model_that_does_not_fit_is_named(iris, model, kind, message):
    with pytest.raises(kind, match=message):
        Classifier(model).fit(*iris)


def test_a_model_that_is_built_is_refused_because_it_would_lose_its_parameters(iris):
    model = Dense(3)
    model.build((4,))
    with pytest.raises(ConfigurationError, match="the model is built already") as error:
        Classifier(model).fit(*iris)
    assert "model.unbuilt()" in str(error.value)


# --------------------------------------------------------------------------- what is learned


def test_digits_are_learned_as_well_as_by_the_network_of_scikit_learn():
    x, y = load_digits(return_X_y=True)
    x_train, x_test, y_train, y_test = train_test_split(x / 16, y, random_state=0, stratify=y)
    theirs = MLPClassifier(random_state=0, max_iter=100, alpha=0, n_iter_no_change=1000)
    with pytest.warns(match="hasn't converged"):
        theirs.fit(x_train, y_train)
    ours = Classifier(epochs=100, random_state=0).fit(x_train, y_train)
    assert ours.score(x_test, y_test) > 0.97
    assert abs(ours.score(x_test, y_test) - theirs.score(x_test, y_test)) < 0.015
    ratio = log_loss(y_test, ours.predict_proba(x_test)) / log_loss(
        y_test, theirs.predict_proba(x_test)
    )
    assert 0.8 < ratio < 1.25


def test_numbers_are_learned_as_well_as_by_the_network_of_scikit_learn():
    x, y = load_diabetes(return_X_y=True)
    x, y = StandardScaler().fit_transform(x), (y - y.mean()) / y.std()
    theirs = MLPRegressor(random_state=0, max_iter=50, alpha=0, n_iter_no_change=1000)
    ours = Regressor(epochs=50, random_state=0)
    with pytest.warns(match="hasn't converged"):
        expected = cross_val_score(theirs, x, y).mean()
    assert cross_val_score(ours, x, y).mean() == pytest.approx(expected, abs=0.05)


def test_text_labels_come_back():
    x, y = load_iris(return_X_y=True)
    names = load_iris().target_names[y]
    fitted = small().fit(x, names)
    assert fitted.classes_.tolist() == ["setosa", "versicolor", "virginica"]
    assert set(fitted.predict(x)) <= set(names) and fitted.score(x, names) > 0.9
    np.testing.assert_array_equal(fitted.predict(x), small().fit(x, names.tolist()).predict(x))


@pytest.mark.parametrize("only", ["cat", 3, True])
def test_a_single_class_is_named(only):
    with pytest.raises(DataError, match="needs two classes or more") as caught:
        Classifier().fit(np.eye(3), [only] * 3)
    assert caught.value.received == f"one class: {only!r}"


def test_float32_stays_float32(iris):
    x, y = iris
    fitted = small().fit(x.astype(np.float32), y)
    assert fitted.model_.dtype == np.float32
    assert fitted.predict_proba(x).dtype == np.float32
    regressor = Regressor(epochs=2).fit(x.astype(np.float32), y)
    assert regressor.predict(x.astype(np.float32)).dtype == np.float32
    assert small().fit(x.astype(int), y).model_.dtype == np.float64


def test_log_probabilities_do_not_underflow(iris):
    x, y = iris
    fitted = small().fit(x, y)
    np.testing.assert_allclose(
        np.exp(fitted.predict_log_proba(x)), fitted.predict_proba(x), rtol=1e-12
    )
    far = fitted.predict_log_proba(x * 1e6)
    assert np.isfinite(far).all()


def test_a_softmax_that_rounds_to_zero_has_finite_scores(iris):
    x, y = iris
    fitted = small(model=Sequential([Dense(3), Softmax()]), epochs=2).fit(x, y)
    fitted.model_.parameters.value = fitted.model_.parameters.value * 1e4
    chances = fitted.predict_proba(x)
    assert chances.min() < 1e-300
    assert np.isfinite(fitted.predict_log_proba(x)).all()
    np.testing.assert_array_equal(fitted.predict(x), fitted.model_(x).argmax(axis=1))


def test_probabilities_are_those_of_the_network(iris):
    x, y = iris
    fitted = small().fit(x, y)
    np.testing.assert_allclose(fitted.predict_proba(x), Softmax()(fitted.model_(x)), rtol=1e-12)
    ends = small(model=Sequential([Dense(3), Softmax()])).fit(x, y)
    np.testing.assert_allclose(ends.predict_proba(x), ends.model_(x), rtol=1e-12)
    np.testing.assert_array_equal(ends.predict(x), ends.model_(x).argmax(axis=1))


def test_the_history_has_the_loss_of_each_epoch_and_the_metrics(iris):
    x, y = iris
    fitted = small(metrics=["accuracy"], early_stopping=True, epochs=5).fit(x, y)
    assert list(fitted.history_) == ["loss", "accuracy", "validation_loss", "validation_accuracy"]
    assert fitted.loss_curve_ == fitted.history_["loss"]
    assert fitted.n_iter_ == fitted.history_.epochs == 5
    assert fitted.loss_curve_[-1] < fitted.loss_curve_[0]


# --------------------------------------------------------------------------- several targets


def test_several_numbers_for_each_row():
    x = np.random.default_rng(0).normal(size=(100, 3))
    y = x @ np.array([[1.0, 2.0], [0.0, -1.0], [0.5, 0.0]])
    fitted = Regressor(Dense(2), learning_rate=0.05, random_state=0).fit(x, y)
    assert fitted.predict(x).shape == (100, 2) and fitted.n_outputs_ == 2
    np.testing.assert_allclose(fitted.model_.weights.value, [[1, 2], [0, -1], [0.5, 0]], atol=1e-3)
    column = Regressor(epochs=2, random_state=0).fit(x, y[:, :1])
    assert column.predict(x).shape == (100, 1)
    assert Regressor(epochs=2, random_state=0).fit(x, y[:, 0]).predict(x).shape == (100,)


def test_several_yes_or_no_answers_for_each_row(iris):
    x = iris[0]
    y = np.stack([x[:, 0] > 0, x[:, 1] > 0, x[:, 2] > x[:, 3]], axis=1).astype(int)
    fitted = small(epochs=100).fit(x, y)
    assert fitted.predict(x).shape == y.shape and fitted.score(x, y) > 0.9
    assert fitted.predict_proba(x).shape == y.shape
    np.testing.assert_allclose(fitted.predict_proba(x), 1 / (1 + np.exp(-fitted.model_(x))))
    np.testing.assert_array_equal(fitted.decision_function(x) > 0, fitted.predict(x))
    assert fitted.classes_.tolist() == [0, 1, 2]


def test_several_labels_for_each_row(iris):
    x, y = iris
    names = np.array(["long", "short"])[(x[:, 1] > 0).astype(int)]
    several = np.stack([load_iris().target_names[y], names], axis=1)
    fitted = small(epochs=100, class_weight="balanced").fit(x, several)
    assert [classes.tolist() for classes in fitted.classes_] == [
        ["setosa", "versicolor", "virginica"],
        ["long", "short"],
    ]
    chances = fitted.predict_proba(x)
    assert [each.shape for each in chances] == [(150, 3), (150, 2)]
    for each in chances:
        np.testing.assert_allclose(each.sum(axis=1), 1)
    found = fitted.predict(x)
    assert found.shape == several.shape
    right = (found == several).all(axis=1)
    assert fitted.score(x, several) == right.mean() > 0.9
    weights = np.arange(150.0)
    expected = np.average(right, weights=weights)
    assert fitted.score(x, several, weights) == pytest.approx(expected)


def test_several_labels_are_learned_as_by_one_network_for_each_with_the_same_loss(iris):
    """Linear networks share nothing, so that one for all labels is one for each."""
    x, y = iris
    other = (x[:, 1] > 0).astype(int)
    how = {"optimizer": optimizers.SGD(0.5), "batch_size": None, "epochs": 10}
    zero = {"initializer": "zeros"}
    together = Classifier(Dense(5, **zero), **how).fit(x, np.stack([y, other], axis=1))
    apart = MultiOutputClassifier(Classifier(**how)).set_params(estimator__model=None)
    for number, (column, width) in enumerate([(y, 3), (other, 2)]):
        one = apart.estimator.set_params(model=Dense(width, **zero)).fit(x, column)
        np.testing.assert_allclose(
            together.predict_proba(x)[number], one.predict_proba(x), rtol=1e-10
        )


def test_a_softmax_over_several_answers_is_refused(iris):
    x, y = iris
    answers = np.stack([x[:, 0] > 0, x[:, 1] > 0], axis=1).astype(int)
    for targets, width in [(answers, 2), (np.stack([y, answers[:, 0]], axis=1), 5)]:
        with pytest.raises(ConfigurationError, match="the model ends with a Softmax"):
            Classifier(Sequential([Dense(width), Softmax()])).fit(x, targets)


def test_one_class_is_named(iris):
    for y in (np.zeros(150), np.stack([np.zeros(150, int), iris[1]], axis=1)):
        with pytest.raises(DataError, match="two classes or more"):
            small().fit(iris[0], y)


# --------------------------------------------------------------------------- weights

WHOLE = {"batch_size": None, "epochs": 30}


@pytest.mark.parametrize("class_weight", [None, "balanced", {0: 3.0, 2: 0.5}])
def test_a_weight_equals_repetition_if_the_batch_is_the_whole_data(iris, class_weight):
    x, y = iris
    weights = np.random.default_rng(0).integers(0, 4, 150)
    how = {**WHOLE, "class_weight": class_weight}
    weighted = small(**how).fit(x, y, weights)
    repeated = small(**how).fit(x.repeat(weights, axis=0), y.repeat(weights))
    np.testing.assert_allclose(weighted.predict_proba(x), repeated.predict_proba(x), rtol=1e-9)
    np.testing.assert_allclose(weighted.loss_curve_, repeated.loss_curve_, rtol=1e-9)


@pytest.mark.parametrize("targets", [1, 2])
def test_a_weight_equals_repetition_for_numbers(iris, targets):
    x = iris[0]
    y = x[:, 2] if targets == 1 else x[:, 2:]
    weights = np.random.default_rng(0).integers(0, 4, 150)
    weighted = Regressor(**WHOLE, random_state=0).fit(x, y, weights)
    repeated = Regressor(**WHOLE, random_state=0).fit(
        x.repeat(weights, axis=0), y.repeat(weights, axis=0)
    )
    np.testing.assert_allclose(weighted.predict(x), repeated.predict(x), rtol=1e-7, atol=1e-9)


def test_a_weight_of_zero_is_the_data_without_the_sample_bit_for_bit(iris):
    x, y = iris
    weights = (np.arange(150) % 3 > 0).astype(float)
    with_zeros = small(batch_size=16).fit(x, y, weights)
    without = small(batch_size=16).fit(x[weights > 0], y[weights > 0])
    np.testing.assert_array_equal(with_zeros.predict_proba(x), without.predict_proba(x))


def test_a_class_of_weight_zero_is_still_a_class(iris):
    x, y = iris
    fitted = small().fit(x, y, (y > 0).astype(float))
    assert fitted.predict_proba(x).shape == (150, 3)
    assert set(fitted.predict(x)) == {1, 2}
    same = small(class_weight={0: 0.0}).fit(x, y)
    np.testing.assert_array_equal(same.predict_proba(x), fitted.predict_proba(x))


def test_only_the_ratios_of_weights_count(iris):
    x, y = iris
    weights = np.random.default_rng(0).uniform(size=150)
    one = small().fit(x, y, weights).predict_proba(x)
    np.testing.assert_allclose(small().fit(x, y, 1000 * weights).predict_proba(x), one, rtol=1e-9)
    np.testing.assert_array_equal(
        small().fit(x, y, 2.0).predict_proba(x), small().fit(x, y).predict_proba(x)
    )


def test_class_weights_multiply_those_of_the_samples(iris):
    x, y = iris
    names = load_iris().target_names[y]
    of_class = {"setosa": 1.0, "versicolor": 4.0, "virginica": 0.25}
    weights = np.random.default_rng(0).uniform(size=150)
    one = small(class_weight=of_class).fit(x, names, weights)
    product = weights * np.array([of_class[name] for name in names])
    np.testing.assert_allclose(
        one.predict_proba(x), small().fit(x, names, product).predict_proba(x), rtol=1e-9
    )


def test_balanced_weights_are_those_of_scikit_learn(iris):
    from sklearn.utils.class_weight import compute_sample_weight

    x, y = iris[0][:120], iris[1][:120]
    balanced = small(class_weight="balanced").fit(x, y)
    by_hand = small().fit(x, y, compute_sample_weight("balanced", y))
    np.testing.assert_allclose(balanced.predict_proba(x), by_hand.predict_proba(x), rtol=1e-9)
    both = np.stack([y, y == 1], axis=1).astype(int)
    weights = [{0: 2.0}, {1: 3.0}]
    listed = small(class_weight=weights).fit(x, both)
    by_hand = small().fit(x, both, compute_sample_weight(weights_for_all(weights, both), both))
    for one, other in zip(listed.predict_proba(x), by_hand.predict_proba(x), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-9)


def weights_for_all(weights: Any, y: Any) -> Any:
    """The same with a weight of 1 for every class that has none."""
    return [{**dict.fromkeys(column, 1.0), **own} for own, column in zip(weights, y.T, strict=True)]


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (np.zeros(150), "all weights are zero"),
        (np.full(150, -1.0), "a sample weight is negative"),
        (np.ones((150, 2)), "Sample weights must be 1D"),
    ],
)
def test_weights_that_make_no_sense_are_named(iris, weights, message):
    with pytest.raises((DataError, ShapeError), match=message):
        small().fit(*iris, weights)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({7: 1.0}, "a class that is not in y"),
        ({0: -1.0}, "not a finite number, 0 or more"),
        ({0: np.inf}, "not a finite number, 0 or more"),
        ("balance", "class_weight is invalid"),
        (3, "class_weight is invalid"),
        ({0: 0.0, 1: 0.0, 2: 0.0}, "all weights are zero"),
    ],
)
def test_class_weights_that_make_no_sense_are_named(iris, given, message):
    with pytest.raises((ConfigurationError, DataError), match=message):
        small(class_weight=given).fit(*iris)


# --------------------------------------------------------------------------- step by step


def test_partial_fit_n_times_is_fit_with_n_epochs_bit_for_bit(iris):
    x, y = iris
    whole = small(epochs=5, batch_size=16).fit(x, y)
    parts = small(batch_size=16)
    for _ in range(5):
        parts.partial_fit(x, y, classes=[0, 1, 2])
    np.testing.assert_array_equal(parts.predict_proba(x), whole.predict_proba(x))
    assert parts.loss_curve_ == whole.loss_curve_ and parts.n_iter_ == 5


def test_warm_start_continues_bit_for_bit(iris):
    for estimator, x, y in both(iris):
        whole = clone(estimator).fit(x, y)
        parts = clone(estimator).set_params(epochs=10, warm_start=True, batch_size=200)
        parts.fit(x, y).fit(x, y)
        np.testing.assert_array_equal(parts.predict(x), whole.predict(x))
        np.testing.assert_array_equal(parts.model_.parameters.value, whole.model_.parameters.value)
        assert parts.history_.to_dict() == whole.history_.to_dict()
        cold = clone(estimator).fit(x, y).fit(x, y)
        assert cold.n_iter_ == 20
        np.testing.assert_array_equal(cold.predict(x), whole.predict(x))


def test_one_output_for_two_classes_continues_bit_for_bit(iris):
    x, y = iris[0][:100], iris[1][:100]
    whole = small(model=Dense(1), epochs=20).fit(x, y)
    parts = small(model=Dense(1), epochs=10, warm_start=True).fit(x, y).fit(x, y)
    np.testing.assert_array_equal(parts.model_.parameters.value, whole.model_.parameters.value)
    assert parts.loss_curve_ == whole.loss_curve_


def test_a_fit_that_continues_takes_the_new_learning_rate(iris):
    x, y = iris
    fitted = small(epochs=1, warm_start=True).fit(x, y)
    before = fitted.model_.parameters.value.copy()
    fitted.set_params(learning_rate=1e-9).fit(x, y)
    assert np.abs(fitted.model_.parameters.value - before).max() < 1e-8


def test_a_pickled_estimator_continues_bit_for_bit(iris, tmp_path):
    for estimator, x, y in both(iris):
        estimator.set_params(warm_start=True).fit(x, y)
        joblib.dump(estimator, tmp_path / "estimator")
        for copied in (pickle.loads(pickle.dumps(estimator)), joblib.load(tmp_path / "estimator")):
            np.testing.assert_array_equal(copied.predict(x), estimator.predict(x))
            expected = clone(estimator).fit(x, y).fit(x, y).predict(x)
            np.testing.assert_array_equal(copied.fit(x, y).predict(x), expected)


def test_a_class_that_comes_later_is_named_in_the_first_call(iris):
    x, y = iris
    parts = small().partial_fit(x[:100], y[:100], classes=[0, 1, 2])
    assert parts.predict_proba(x).shape == (150, 3)
    assert parts.partial_fit(x[100:], y[100:]).n_iter_ == 2
    with pytest.raises(DataError, match="a class that the classifier does not know"):
        parts.partial_fit(x, y + 1)
    with pytest.raises(ConfigurationError, match="the classes differ"):
        parts.partial_fit(x, y, classes=[0, 1, 2, 3])
    with pytest.raises(ConfigurationError, match="classes must be passed on the first call"):
        small().partial_fit(x, y)


def test_parts_of_data_with_several_labels(iris):
    x, y = iris
    several = np.stack([y, y == 1], axis=1)
    parts = small().partial_fit(x[:20], several[:20], classes=[[0, 1, 2], [0, 1]])
    assert [each.shape for each in parts.partial_fit(x, several).predict_proba(x)] == [
        (150, 3),
        (150, 2),
    ]
    answers = several[:, 1:] == [[0, 1]]
    parts = small().partial_fit(x[:20], answers[:20].astype(int), classes=[0, 1])
    assert parts.partial_fit(x, answers.astype(int)).predict_proba(x).shape == (150, 2)
    with pytest.raises(ShapeError, match="the number of labels for each sample has changed"):
        parts.partial_fit(x, y)


def test_targets_of_another_width_cannot_continue(iris):
    x, y = iris
    parts = Regressor(random_state=0).partial_fit(x, y)
    with pytest.raises(ShapeError, match="the number of targets has changed"):
        parts.partial_fit(x, np.stack([y, y], axis=1))


def test_partial_fit_refuses_what_needs_all_samples(iris):
    with pytest.raises(ConfigurationError, match="cannot stop early"):
        small(early_stopping=True).partial_fit(*iris, classes=[0, 1, 2])
    with pytest.raises(ConfigurationError, match="cannot balance classes"):
        small(class_weight="balanced").partial_fit(*iris, classes=[0, 1, 2])


def test_early_stopping_keeps_the_best_network(iris):
    for estimator, x, y in both(iris):
        noisy = np.random.default_rng(0).permutation(y)
        how = {"early_stopping": True, "patience": 3, "epochs": 500, "learning_rate": 0.05}
        fitted = estimator.set_params(**how, validation_fraction=0.3).fit(x, noisy)
        validation = fitted.history_["validation_loss"]
        assert fitted.n_iter_ < 500
        assert np.argmin(validation) == fitted.n_iter_ - 4


def test_the_validation_data_have_all_classes_if_they_can(iris):
    x, y = iris
    seen: list[Any] = []

    def counted(outputs: Any, t: Any) -> float:
        seen.append(np.bincount(t, minlength=3))
        return 0.0

    small(early_stopping=True, validation_fraction=0.2, epochs=1, metrics=[counted]).fit(x, y)
    assert any(each.tolist() == [10, 10, 10] for each in seen)
    rare = np.where(np.arange(150) == 0, 0, 1 + y % 2)
    assert small(early_stopping=True, epochs=2).fit(x, rare).n_iter_ == 2


def test_the_loss_of_the_validation_data_has_their_weights():
    rng = np.random.default_rng(0)
    x, y, weights = rng.normal(size=(11, 2)), rng.normal(size=11), rng.uniform(0.1, 9, 11)
    how = {"early_stopping": True, "validation_fraction": 0.25, "epochs": 1}
    fitted = Regressor(**how, learning_rate=1e-12, random_state=3).fit(x, y, weights)
    errors = (fitted.predict(x) - y) ** 2 / 2
    seed = fitted._split_seed
    _, out = train_test_split(np.arange(11), test_size=3, random_state=seed)
    wanted = np.average(errors[out], weights=weights[out])
    assert fitted.history_["validation_loss"][0] == pytest.approx(wanted, rel=1e-9)


def test_the_seed_decides_which_samples_are_held_back(iris):
    x, y = iris
    first = []
    for seed in (0, 0, 1):
        Watched.seen = rows = []
        watched = Sequential([Watched(), Dense(8), Activation("tanh")])
        how = {"early_stopping": True, "epochs": 1, "batch_size": None}
        small(model=watched, **how, random_state=seed).fit(x, y)
        first.append(set(map(tuple, rows[0])))
    assert first[0] == first[1] != first[2]


def test_two_samples_cannot_have_all_of_three_classes(iris):
    fitted = small(early_stopping=True, validation_fraction=0.013, epochs=2).fit(*iris)
    assert fitted.n_iter_ == 2


def test_warm_start_holds_back_the_same_samples(iris):
    x, y = iris
    watched = Sequential([Watched(), Dense(8), Activation("tanh")])
    how = {"model": watched, "early_stopping": True, "epochs": 1, "batch_size": None}
    for seed in (0, None):
        Watched.seen = rows = []
        fitted = small(**how, warm_start=True, random_state=seed).fit(x, y).fit(x, y)
        first, second = (set(map(tuple, each)) for each in rows)
        assert len(first) < 150 and first == second
        assert fitted.n_iter_ == 2


class Watched(Layer):
    """Notes the rows of the batches that it is trained with."""

    seen: ClassVar[list[Any]] = []

    def forward(self, inputs: Any) -> Any:
        if len(inputs) > 100:
            self.seen.append(np.array(inputs))
        return inputs

    def backward(self, delta: Any) -> Any:
        return delta

    def apply(self, inputs: Any) -> Any:
        return inputs


@pytest.mark.parametrize("share", [0, 1, 1.5, "half", None])
def test_validation_data_that_would_be_empty_are_refused(iris, share):
    with pytest.raises(ConfigurationError, match="validation_fraction"):
        small(early_stopping=True, validation_fraction=share).fit(*iris)


def test_callbacks_see_each_epoch_and_their_errors_end_the_fit(iris):
    epochs: list[int] = []

    def note(trainer: Any, epoch: int, figures: Any) -> None:
        epochs.append(epoch)
        if epoch == 3:
            raise KeyError("enough")

    seen = callbacks.FromFunctions(on_epoch_end=note)
    with pytest.raises(KeyError, match="enough"):
        small(callbacks=[seen]).fit(*iris)
    assert epochs == [1, 2, 3]


def test_a_callback_that_changes_the_loss_changes_a_copy(iris):
    def widen(trainer: Any, epoch: int, figures: Any) -> None:
        trainer.loss.delta = 5.0

    widens, loss = callbacks.FromFunctions(on_epoch_end=widen), losses.Huber()
    x, _ = iris
    Regressor(loss=loss, callbacks=[widens], epochs=1, random_state=0).fit(x, x[:, 0])
    assert loss == losses.Huber()


def test_the_seed_decides(iris):
    x, y = iris

    def fitted(seed: Any) -> Any:
        return small(random_state=seed).fit(x, y).predict_proba(x)

    np.testing.assert_array_equal(fitted(1), fitted(1))
    assert not np.array_equal(fitted(1), fitted(2))
    np.testing.assert_array_equal(
        fitted(np.random.RandomState(1)), fitted(np.random.RandomState(1))
    )


# --------------------------------------------------------------------------- tables


def test_the_columns_of_pandas_and_polars_are_remembered(iris):
    for estimator, x, y in both(iris):
        names = list("abcd")[: x.shape[1]]
        expected = clone(estimator).fit(x, y).predict(x)
        for table in (pandas.DataFrame(x, columns=names), polars.DataFrame(x, schema=names)):
            fitted = clone(estimator).fit(table, y)
            assert fitted.feature_names_in_.tolist() == names
            assert fitted.n_features_in_ == len(names)
            np.testing.assert_array_equal(fitted.predict(table), expected)
            with pytest.raises(ValueError, match="feature names"):
                fitted.predict(table[names[::-1]])


def test_targets_come_from_tables_too(iris):
    x, y = iris
    expected = small().fit(x, y).predict(x)
    for labels in (pandas.Series(y), pandas.Series(y, dtype="category"), polars.Series(y)):
        np.testing.assert_array_equal(small().fit(x, labels).predict(x), expected)
    frame = pandas.DataFrame({"kind": y, "tall": x[:, 1] > 0})
    assert small().fit(x, frame).predict(x).shape == (150, 2)
    weights = pandas.Series(np.arange(150.0), index=np.arange(150)[::-1])
    np.testing.assert_array_equal(
        small().fit(x, y, weights).predict(x), small().fit(x, y, np.arange(150.0)).predict(x)
    )


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_a_pipeline_whose_steps_give_tables(iris, library):
    x, y = load_iris(return_X_y=True, as_frame=True)
    pipeline = make_pipeline(StandardScaler(), small()).set_output(transform=library)
    pipeline.fit(x, y)
    assert pipeline[-1].feature_names_in_.tolist() == x.columns.tolist()
    assert pipeline.score(x, y) > 0.9


@pytest.mark.parametrize("method", ["fit", "partial_fit", "predict", "predict_proba", "score"])
def test_a_sparse_matrix_is_refused_by_name(iris, method):
    x, y = iris
    fitted = small().fit(x, y)
    with pytest.raises(DtypeError, match="X is a sparse matrix") as error:
        arguments = (
            (csr_array(x), y) if method in ("fit", "partial_fit", "score") else (csr_array(x),)
        )
        getattr(fitted, method)(*arguments)
    assert "X.toarray()" in str(error.value)
    with pytest.raises(DtypeError, match="y is a sparse matrix"):
        small().fit(x, csr_array(np.eye(150)))


def test_before_fit_there_is_nothing_to_predict(iris):
    for estimator, x, _ in both(iris):
        with pytest.raises(NotFittedError):
            estimator.predict(x)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("epochs", 0, "epochs must be an integer"),
        ("batch_size", 1.5, "batch_size must be an integer"),
        ("learning_rate", -1.0, "learning_rate"),
        ("optimizer", "adam", "did you mean optimizers.Adam"),
        ("loss", "mse", "did you mean losses.MeanSquaredError"),
        ("metrics", ["acuracy"], "accuracy"),
        ("callbacks", callbacks.EarlyStopping("loss"), "put brackets around it"),
    ],
)
def test_an_invalid_parameter_is_named_by_fit(iris, name, value, message):
    with pytest.raises(ConfigurationError, match=message):
        small(**{name: value}).fit(*iris)


# --------------------------------------------------------------------------- in other estimators


def test_in_a_pipeline(iris):
    x, y = load_iris(return_X_y=True)
    pipeline = make_pipeline(StandardScaler(), small(epochs=50))
    assert pipeline.get_params()["classifier__model__dense_1__units"] == 8
    assert cross_val_score(pipeline, x, y).mean() > 0.93


def test_sample_weights_go_through_a_pipeline_and_a_search(iris):
    x, y = iris
    weights = np.random.default_rng(0).uniform(size=150)
    expected = small().fit(StandardScaler().fit_transform(x), y, weights).predict_proba(x)
    pipeline = make_pipeline(StandardScaler(), small())
    by_name = clone(pipeline).fit(x, y, classifier__sample_weight=weights)
    np.testing.assert_array_equal(by_name[-1].predict_proba(x), expected)
    with config_context(enable_metadata_routing=True):
        asking = small().set_fit_request(sample_weight=True).set_score_request(sample_weight=True)
        search = GridSearchCV(asking, {"epochs": [20]}, cv=3).fit(x, y, sample_weight=weights)
    found = search.best_estimator_.predict_proba(x)
    np.testing.assert_array_equal(found, small().fit(x, y, weights).predict_proba(x))


def test_in_a_stack():
    x, y = load_iris(return_X_y=True)
    first = [
        ("net", make_pipeline(StandardScaler(), small())),
        ("line", LogisticRegression(max_iter=1000)),
    ]
    stack = StackingClassifier(first, final_estimator=small()).fit(x, y)
    assert stack.score(x, y) > 0.93
    x, y = load_diabetes(return_X_y=True)
    scaled = TransformedTargetRegressor(Regressor(epochs=100), transformer=StandardScaler())
    first = [("net", make_pipeline(StandardScaler(), scaled)), ("line", Ridge())]
    assert StackingRegressor(first).fit(x, y).score(x, y) > 0.4


@pytest.mark.parametrize("method", ["sigmoid", "isotonic"])
def test_calibrated(method):
    """A network that is far too sure becomes less so, and its log loss falls."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(600, 5))
    y = (x[:, 0] + rng.normal(size=600) > 0).astype(int)
    sure = Classifier(learning_rate=0.05, epochs=100, random_state=0)
    calibrated = CalibratedClassifierCV(sure, method=method, cv=3).fit(x[:400], y[:400])
    plain = sure.fit(x[:400], y[:400])
    before, after = (log_loss(y[400:], each.predict_proba(x[400:])) for each in (plain, calibrated))
    assert after < 0.75 < before


def test_permutation_importance_finds_the_inputs_that_matter():
    x = np.random.default_rng(0).normal(size=(300, 4))
    names = list("abcd")
    y = np.where(x[:, 1] > 0, "up", "down")
    fitted = small(epochs=50).fit(pandas.DataFrame(x, columns=names), y)
    found = permutation_importance(fitted, pandas.DataFrame(x, columns=names), y, random_state=0)
    assert found.importances_mean.argmax() == 1
    assert found.importances_mean[1] > 0.3 > 10 * found.importances_mean[[0, 2, 3]].max()


def test_a_layer_of_your_own_is_searched_by_its_fields(iris):
    class Scale(Layer):
        factor: float = 1.0

        def forward(self, inputs: Any) -> Any:
            return self.factor * inputs

        def backward(self, delta: Any) -> Any:
            return self.factor * delta

    classifier = small(model=Sequential([Scale(2.0), Dense(5), Activation("tanh")]))
    assert classifier.get_params()["model__scale_1__factor"] == 2.0
    assert classifier.set_params(model__scale_1__factor=3.0).model[0].factor == 3.0
    assert classifier.fit(*iris).score(*iris) > 0.9


def test_a_layer_with_slots_is_searched_too(iris):
    @attrs.define(repr=False)
    class Power(Layer):
        exponent: float = attrs.field(validator=attrs.validators.gt(0))

        def forward(self, inputs: Any) -> Any:
            self.inputs = inputs
            return np.sign(inputs) * np.abs(inputs) ** self.exponent

        def backward(self, delta: Any) -> Any:
            return self.exponent * np.abs(self.inputs) ** (self.exponent - 1) * delta

    classifier = small(model=Sequential([Power(2.0), Dense(5), Activation("tanh")]))
    assert classifier.set_params(model__power_1__exponent=3.0).model[0].exponent == 3.0
    assert classifier.fit(*iris).score(*iris) > 0.8
    with pytest.raises(ValueError, match="exponent"):
        classifier.set_params(model__power_1__exponent=-1.0)
