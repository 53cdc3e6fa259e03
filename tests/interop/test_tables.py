"""Tables of pandas, polars and xarray go in wherever arrays do, and their labels come out."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
import xarray as xr

from chainrule import Dense, Sequential, Trainer, fitting, losses, optimizers
from chainrule.core.errors import DataError, DtypeError
from chainrule.training.history import History

pytestmark = pytest.mark.edges

X = np.random.default_rng(0).normal(size=(30, 2))
T = X @ np.array([[1.0], [2.0]]) + 0.5
TIMES = pd.date_range("2026-01-01", periods=30, freq="h")


def of_xarray(array: np.ndarray) -> xr.DataArray:
    dims = ("time", "channel")[: array.ndim]
    return xr.DataArray(array, {"time": TIMES, "run": 7}, dims)


LIBRARIES: dict[str, Callable[[np.ndarray], Any]] = {
    "pandas": lambda a: (pd.DataFrame if a.ndim == 2 else pd.Series)(a, index=TIMES),
    "polars": lambda a: (pl.DataFrame if a.ndim == 2 else pl.Series)(a),
    "xarray": of_xarray,
}
each_library = pytest.mark.parametrize("table", LIBRARIES.values(), ids=LIBRARIES)


def trained(x: Any, t: Any) -> tuple[History, dict[str, float], Sequential]:
    model = Sequential([Dense(1)])
    trainer = Trainer(model, losses.HalfSquaredError(), optimizers.SGD(0.1), rng=0)
    history = trainer.fit(x, t, epochs=3, batch_size=10, validation_data=(x, t), progress=False)
    return history, trainer.evaluate(x, t), model


@each_library
def test_a_table_is_the_same_as_its_array(table: Any) -> None:
    """To rounding: columns are one after the other in memory, which changes the order of sums."""
    history, measured, model = trained(table(X), table(T))
    plain_history, plain_measured, plain = trained(X, T)
    for name, values in plain_history.items():
        np.testing.assert_allclose(history[name], values, rtol=1e-13)
    assert measured == pytest.approx(plain_measured, rel=1e-13)
    np.testing.assert_allclose(model(table(X)), plain(X), rtol=1e-12)
    np.testing.assert_allclose(np.asarray(model.predict(table(X))), plain.predict(X), rtol=1e-12)
    fit = fitting.least_squares(model, table(X), table(T))
    np.testing.assert_allclose(fit.values, [1, 2, 0.5], rtol=1e-12)
    model.parameters.value = np.zeros(3)
    found = fitting.minimize(model, losses.HalfSquaredError(), table(X), table(T), progress=False)
    assert found.converged and found.value < 1e-12


@each_library
def test_a_table_comes_out_as_the_same_kind_of_table(table: Any) -> None:
    line = fitting.curve(lambda x, a, b: a + b * x, {"a": 0.0, "b": 1.0})
    fit = fitting.least_squares(line, table(X[:, 0]), table(3 + 2 * X[:, 0] + 0.1 * X[:, 1]))
    column = type(table(X[:, 0]))
    for part in (line.predict(table(X[:, 0])), *fit.band(table(X[:, 0])), fit.residuals):
        assert type(part) is column and part.shape == (30,)
    network = Sequential([Dense(3)])
    network.build((2,), rng=0)
    assert type(network.predict(table(X))) is type(table(X))


def test_the_first_dimension_of_xarray_keeps_its_coordinates() -> None:
    network = Sequential([Dense(3)])
    network.build((2,), rng=0)
    x = of_xarray(X).assign_coords(channel=["a", "b"], quality=("time", np.arange(30)))
    found = network.predict(x, batch_size=7)
    assert found.dims == ("time", "output") and set(found.coords) == {"time", "run", "quality"}
    assert found.sel(time="2026-01-01T05:00").shape == (3,)
    np.testing.assert_array_equal(found.quality, np.arange(30))
    index = pd.MultiIndex.from_product([["a", "b"], range(15)], names=["group", "number"])
    stacked = xr.DataArray(X, xr.Coordinates.from_pandas_multiindex(index, "row"), ("row", "c"))
    assert network.predict(stacked).sel(group="b").sizes == {"number": 15, "output": 3}


def test_the_residuals_have_the_labels_of_the_targets() -> None:
    line = Sequential([Dense(1)])
    line.build((2,), rng=0)
    residuals = fitting.least_squares(line, X, of_xarray(T)).residuals
    assert residuals.dims == ("time", "channel") and (residuals.time == TIMES).all()
    named = pl.DataFrame({"height": T[:, 0]})
    assert fitting.least_squares(line, X, named).residuals.columns == ["height"]


def test_images_of_xarray_keep_their_rows() -> None:
    from chainrule import Convolution

    layer = Convolution(2, 3)
    layer.build((5, 5, 1), rng=0)
    images = xr.DataArray(np.zeros((4, 5, 5, 1)), {"run": [3, 4, 5, 6]}, ("run", "y", "x", "c"))
    found = layer.predict(images)
    assert found.dims == ("run", "output_1", "output_2", "output_3")
    assert list(found.run) == [3, 4, 5, 6]


REFUSED = {
    "null": (pl.DataFrame({"a": [1, None], "b": [1, 2]}), DataError, ".drop_nulls()"),
    "dates": (pl.DataFrame({"a": [1, 2], "b": [date(2026, 1, 1)] * 2}), DtypeError, "'b' (Date)"),
    "text": (pl.DataFrame({"a": [1, 2], "b": ["x", "y"]}), DtypeError, "'x', of type str"),
    "query": (pl.LazyFrame({"a": [1, 2], "b": [1, 2]}), DtypeError, ".collect()"),
    "dataset": (xr.Dataset({"a": ("s", [1.0])}), DtypeError, ".to_dataarray().T"),
}


@pytest.mark.parametrize(("given", "error", "text"), REFUSED.values(), ids=REFUSED)
def test_what_is_no_table_of_numbers_is_named(given: Any, error: type, text: str) -> None:
    network = Sequential([Dense(3)])
    network.build((2,), rng=0)
    with pytest.raises(error) as caught:
        network(given)
    assert text in str(caught.value)


def test_a_dataset_goes_in_as_the_hint_says() -> None:
    dataset = xr.Dataset({"a": ("time", X[:, 0]), "b": ("time", X[:, 1])}, {"time": TIMES})
    network = Sequential([Dense(3)])
    network.build((2,), rng=0)
    np.testing.assert_array_equal(network(dataset.to_dataarray().T), network(X))


def test_a_history_is_a_table_of_each_library() -> None:
    history = History({"loss": [2.0, 1.0], "validation_loss": [1.5, float("nan")]})
    polars = pl.DataFrame(history)
    assert polars.columns == ["loss", "validation_loss"] and polars.shape == (2, 2)
    dataset = history.to_pandas().to_xarray()
    assert list(dataset.loss.sel(epoch=[1, 2])) == [2.0, 1.0]
