"""Labels: rows of pandas keep their index; polars and xarray are in tests/interop."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from chainrule import Activation, Dense, Ensemble, Sequential, fitting
from chainrule.core.labels import keeps_labels, labelled_like

INDEX = pd.MultiIndex.from_product([["run 1", "run 2"], [10, 20, 30]])
FRAME = pd.DataFrame(np.arange(12.0).reshape(6, 2) / 10, index=INDEX, columns=["p", "q"])
COLUMN = pd.Series(np.linspace(0, 1, 6), index=INDEX, name="time")


def network() -> Sequential:
    model = Sequential([Dense(3), Activation("tanh"), Dense(2)])
    model.build((2,), rng=0)
    return model


def test_predictions_of_a_frame_have_its_index() -> None:
    model = network()
    found = model.predict(FRAME, batch_size=4)
    assert isinstance(found, pd.DataFrame) and found.index.equals(INDEX)
    np.testing.assert_array_equal(found, model.predict(FRAME.to_numpy(), batch_size=4))
    assert list(found.columns) == [0, 1]
    assert model.predict(FRAME[:0]).shape == (0, 2)


def test_the_layer_itself_computes_with_arrays() -> None:
    model = network()
    assert type(model(FRAME)) is np.ndarray
    assert type(model.predict(FRAME.to_numpy())) is np.ndarray
    assert type(model.predict(FRAME.to_numpy().tolist())) is np.ndarray


def test_a_column_gives_a_column() -> None:
    line = fitting.curve(lambda x, a, b: a + b * x, {"a": 1.0, "b": 2.0})
    found = line.predict(COLUMN)
    assert isinstance(found, pd.Series) and found.index.equals(INDEX)
    np.testing.assert_array_equal(found, line(COLUMN.to_numpy()))


def test_bands_have_the_labels_of_x_and_residuals_those_of_the_targets() -> None:
    line = fitting.curve(lambda x, a, b: a + b * x, {"a": 1.0, "b": 2.0})
    targets = (1 + 2 * COLUMN + 0.01 * np.sin(40 * COLUMN)).rename("height")
    fit = fitting.least_squares(line, COLUMN, targets)
    plain = fitting.least_squares(line, COLUMN.to_numpy(), targets.to_numpy())
    grid = pd.Series([0.0, 0.5], index=["left", "right"])
    for name in ("band", "prediction_band"):
        for one, other in zip(
            getattr(fit, name)(x=grid, probability=0.9),
            getattr(plain, name)(grid.to_numpy(), 0.9),
            strict=True,
        ):
            assert list(one.index) == ["left", "right"] and type(other) is np.ndarray
            np.testing.assert_allclose(one, other, rtol=1e-12)
    assert fit.residuals.name == "height" and fit.residuals.index.equals(INDEX)
    np.testing.assert_allclose(fit.residuals, plain.residuals, atol=1e-14)
    matrix = Sequential([Dense(2, use_bias=False)])
    matrix.build((2,), rng=0)
    frame = fitting.least_squares(matrix, FRAME, FRAME**2 + 0.1).residuals
    assert list(frame.columns) == ["p", "q"] and frame.index.equals(INDEX)


def test_ensembles_and_posteriors_keep_the_labels() -> None:
    ensemble = Ensemble(Sequential([Dense(3), Activation("tanh"), Dense(1)]), members=3)
    ensemble.build((2,), rng=0)
    line = Sequential([Dense(1)])
    line.build((2,), rng=0)
    posterior = fitting.Laplace(line, FRAME, FRAME[["p"]], deviations=0.1, prior_deviation=1.0)
    parts = [ensemble.mean(FRAME), ensemble.deviation(FRAME), *ensemble.band(FRAME)]
    parts += [posterior.deviation(FRAME), *posterior.band(FRAME), *posterior.prediction_band(FRAME)]
    for part in parts:
        assert isinstance(part, pd.DataFrame) and part.index.equals(INDEX)
    np.testing.assert_allclose(
        posterior.prediction_band(FRAME)[1], posterior.prediction_band(FRAME.to_numpy())[1]
    )
    assert type(ensemble.mean(FRAME.to_numpy())) is np.ndarray


@pytest.mark.parametrize("given", [np.zeros((6, 2)), [1, 2], "text", None, FRAME.index])
def test_what_is_no_table_changes_nothing(given: Any) -> None:
    result = np.ones((6, 1))
    assert labelled_like(given, result) is result


def test_the_first_table_of_several_inputs_counts_and_images_stay_arrays() -> None:
    result = np.ones((6, 2))
    assert labelled_like((np.zeros(6), FRAME), result).index.equals(INDEX)
    ones, images = labelled_like(FRAME, (result, np.ones((6, 2, 2))))
    assert ones.index.equals(INDEX) and type(images) is np.ndarray


def test_a_subclass_of_a_table_is_one() -> None:
    class Frame(pd.DataFrame):
        pass

    assert isinstance(labelled_like(Frame(FRAME), np.ones((6, 2))), pd.DataFrame)


def test_the_name_and_the_text_of_a_method_stay() -> None:
    class Model:
        @keeps_labels
        def mean(self, x: Any, power: int = 1) -> Any:
            """The mean."""
            return np.mean(np.asarray(x) ** power, axis=1)

    assert Model.mean.__doc__ == "The mean." and Model.mean.__name__ == "mean"
    assert Model().mean(x=FRAME, power=2).index.equals(INDEX)
