"""Data that cannot be learned from are rejected with a named error before anything changes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from attrs import define
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from chainrule import Activation, Dense, Layer, Sequential, Trainer, losses, optimizers
from chainrule.callbacks import Callback
from chainrule.core.errors import (
    BuildError,
    ChainruleError,
    ConfigurationError,
    DataError,
    DtypeError,
    ShapeError,
)
from chainrule.data.samples import Data
from chainrule.data.validation import CHECKED_AT_ONCE, require_finite
from data.stored import RowByRow, WithAShape

RNG = np.random.default_rng(0)
X, T = RNG.normal(size=(60, 3)), RNG.normal(size=(60, 2))
LABELS = RNG.integers(0, 2, 60)


def spoilt(array: Any, *places: tuple[int, ...], value: float = np.nan) -> Any:
    """A copy with another value at some indices."""
    array = array.copy()
    for place in places:
        array[place] = value
    return array


class Sparse:
    """An object with the interface of a sparse matrix of SciPy."""

    nnz, shape, dtype = 1, (60, 3), np.dtype(float)

    def toarray(self) -> Any:
        return X


def making(batch: Any) -> Any:
    """A function that draws from the generator and always returns the same batch."""

    def make_batch(rng: np.random.Generator) -> Any:
        rng.normal(size=3)
        return batch

    return make_batch


OF_THE_TRAINER = ("loss", "units", "metrics")
CLASSES = losses.SoftmaxCrossEntropy()
STEPS = {"steps_per_epoch": 2, "epochs": 2}

# Arguments of fit, one of them wrong; the error; words of its message.
REFUSED: dict[str, tuple[tuple[Any, ...], dict[str, Any], type[ChainruleError], list[str]]] = {
    "a column": ((X[:, 0], T), {}, ShapeError, ["(batch, ", "x of shape (60,)"]),
    "images": ((X.reshape(60, 3, 1), T), {}, ShapeError, ["(60, 3, "]),
    "a number": ((3.0, T), {}, ShapeError, ["x is a single number", "3.0"]),
    "objects": ((X.astype(object), T), {}, DtypeError, ["x does not hold real numbers", "object"]),
    "strings": ((X.astype(str), T), {}, DtypeError, ["x does not hold real numbers", "<U"]),
    "complex": ((X + 1j, T), {}, DtypeError, ["complex128", "two columns"]),
    "dates": ((np.zeros((60, 3), "M8[s]"), T), {}, DtypeError, ["datetime64"]),
    "no array": (({"a": 1}, T), {}, DtypeError, ["x does not hold real numbers", "dict"]),
    "strings as targets": ((X, ["a"] * 60), {}, DtypeError, ["t does not hold", "np.unique"]),
    "unequal rows": (([[1, 2], [3]], T), {}, ShapeError, ["rows of x", "list of 2 rows"]),
    "a sparse matrix": ((Sparse(), T), {}, DtypeError, ["sparse matrix", ".toarray()"]),
    "a masked array": (
        (np.ma.masked_greater(X, 2.0), T),
        {},
        DataError,
        ["masked", f"{(X > 2).sum()} of 180"],
    ),
    "NaN": ((spoilt(X, (17, 1), (17, 2), (20, 0)), T), {}, DataError,
            ["x, row 17, column 1", "nan; 3 such numbers in 2 of 60 rows"]),
    "infinity": ((spoilt(X, (59, 2), value=-np.inf), T), {}, DataError,
                 ["x, row 59, column 2", "-inf; the only one in 60 rows"]),
    "NaN in t": ((X, spoilt(T, (38, 1))), {}, DataError, ["t, row 38, column 1", "nan"]),
    "too few targets": ((X, T[:59]), {}, DataError, ["x with 60 rows", "t with 59 rows"]),
    "no targets": ((X,), {}, DataError, ["t is missing", "fit(x, x)"]),
    "no samples": ((X[:0], T[:0]), {}, DataError, ["no samples", "(0, 3)"]),
    "(n,) for (n, 2)": ((X, T[:, 0]), {}, ShapeError, ["(60, 2)", "(60,)", "t, HalfSquaredError"]),
    "labels out of range": ((X, spoilt(LABELS, (9,), value=2)), {"loss": CLASSES}, DataError,
                            ["t, SoftmaxCrossEntropy, row 9", "from 0 to 1", "2"]),
    "negative labels": ((X, spoilt(LABELS, (9,), value=-1)), {"loss": CLASSES}, DataError,
                        ["row 9", "-1"]),
    "labels that are not whole": ((X, LABELS + 0.5), {"loss": CLASSES}, DtypeError,
                                  ["integers", "float64"]),
    "a column of labels": ((X, LABELS[:, None]), {"loss": CLASSES}, ShapeError, ["target[..., 0]"]),
    "NaN to validate": ((X, T), {"validation_data": (spoilt(X, (4, 2)), T)}, DataError,
                        ["validation x, row 4, column 2"]),
    "infinite targets to validate": (
        (X, T), {"validation_data": (X, spoilt(T, (4, 0), value=np.inf))}, DataError,
        ["validation t, row 4, column 0"],
    ),
    "another width to validate": ((X, T), {"validation_data": (X[:, :2], T)}, ShapeError,
                                  ["validation x does not fit", "(batch, …, 3)", "(60, 2)"]),
    "other targets to validate": ((X, T), {"validation_data": (X, T[:, :1])}, ShapeError,
                                  ["validation t, HalfSquaredError", "(60, 1)"]),
    "fewer targets to validate": ((X, T), {"validation_data": (X, T[:5])}, DataError,
                                  ["validation x with 60 rows", "validation t with 5 rows"]),
    "no pair to validate": ((X, T), {"validation_data": X}, ConfigurationError,
                            ["validation_data=(x, t)", "ndarray of 60"]),
    "four to validate": ((X, T), {"validation_data": (X, T, T, T)}, ConfigurationError,
                         ["tuple of 4"]),
    "infinite weights": ((X, T), {"sample_weights": spoilt(np.ones(60), (3,), value=np.inf)},
                         DataError, ["sample_weights, row 3", "inf"]),
    "a column of weights": ((X, T), {"sample_weights": np.ones((60, 1))}, ShapeError,
                            ["(60,)", "(60, 1)", ".ravel()"]),
    "too few weights": ((X, T), {"sample_weights": np.ones(6)}, DataError,
                        ["sample_weights with 6 rows"]),
    "no batch": ((X, T), {"batch_size": 0}, ConfigurationError, ["batch_size=0"]),
    "a negative batch": ((X, T), {"batch_size": -3}, ConfigurationError, ["batch_size=-3"]),
    "a part of a batch": ((X, T), {"batch_size": 2.5}, ConfigurationError, ["batch_size=2.5"]),
    "a batch of True": ((X, T), {"batch_size": True}, ConfigurationError, ["batch_size=True"]),
    "a batch of 8.0": ((X, T), {"batch_size": 8.0}, ConfigurationError, ["hint      batch_size=8"]),
    "a batch of '8'": ((X, T), {"batch_size": "8"}, ConfigurationError, ["batch_size='8'"]),
    "no epochs": ((X, T), {"epochs": 0}, ConfigurationError, ["epochs=0"]),
    "epochs of None": ((X, T), {"epochs": None}, ConfigurationError, ["epochs=None"]),
    "half an epoch": ((X, T), {"epochs": 0.5}, ConfigurationError, ["epochs=0.5"]),
    "no steps": ((making((X, T)),), {"steps_per_epoch": 0}, ConfigurationError,
                 ["steps_per_epoch=0"]),
    "steps of an array": ((X, T), {"steps_per_epoch": 3}, ConfigurationError,
                          ["steps_per_epoch=3", "leave out steps_per_epoch"]),
    "a function without steps": ((making((X, T)),), {}, ConfigurationError,
                                 ["steps_per_epoch=100"]),
    "a function and targets": ((making((X, T)), T), STEPS, ConfigurationError, ["also t"]),
    "a function and a batch size": ((making((X, T)),), {"batch_size": 3, **STEPS},
                                    ConfigurationError, ["also batch_size"]),
    "a function and weights": ((making((X, T)),), {"sample_weights": T[:, 0], **STEPS},
                               ConfigurationError, ["also sample_weights"]),
    "a batch that is no pair": ((making(X),), STEPS, DataError, ["t of batch 1", "pair"]),
    "a batch of nothing": ((making(None),), STEPS, DataError, ["batch 1", "NoneType"]),
    "a first batch with NaN": ((making((spoilt(X, (2, 1)), T)),), STEPS, DataError,
                               ["x of batch 1, row 2, column 1"]),
    "two inputs": (((X, X), T), {}, (ShapeError, BuildError), ["2"]),
    "one callback": ((X, T), {"callbacks": Callback()}, ConfigurationError, ["brackets"]),
    "no callback": ((X, T), {"callbacks": [Callback(), print]}, ConfigurationError,
                    ["callbacks[1]", "print"]),
    "the class of a callback": ((X, T), {"callbacks": [Callback]}, ConfigurationError,
                                ["Callback(…)"]),
    "callbacks in a string": ((X, T), {"callbacks": "early"}, ConfigurationError, ["'early'"]),
    "progress of 3": ((X, T), {"progress": 3}, ConfigurationError, ["progress=3"]),
    "accuracy of yes or no": ((X, T[:, :1]), {"units": 1, "metrics": ["accuracy"]}, ShapeError,
                              ["binary_accuracy"]),
    "accuracy without classes": ((X, np.ones((60, 2))), {"metrics": ["accuracy"]}, DataError,
                                 ["one class per sample"]),
}  # fmt: skip


@pytest.mark.parametrize("is_built", [True, False], ids=["built", "not built"])
@pytest.mark.parametrize("what", REFUSED)
def test_what_cannot_be_learned_from_is_refused_and_nothing_is_changed(
    what: str, is_built: bool
) -> None:
    given_to_fit, options, kind, words = REFUSED[what]
    settings = {"loss": losses.HalfSquaredError(), "units": 2, "metrics": (), **options}
    options = {name: option for name, option in options.items() if name not in OF_THE_TRAINER}
    model = Sequential([Dense(5), Activation("tanh"), Dense(settings["units"])])
    if is_built:
        model.build((3,), rng=0)
    before = model.parameters.value.copy() if is_built else None
    optimizer = optimizers.Adam(0.1)
    trainer = Trainer(model, settings["loss"], optimizer, rng=0, metrics=settings["metrics"])
    history, state = trainer.history, trainer.rng.bit_generator.state

    with pytest.raises(kind) as caught:
        trainer.fit(*given_to_fit, **options)

    message = str(caught.value)
    for word in words:
        assert word in message
    assert model.is_built is is_built
    if is_built:
        np.testing.assert_array_equal(model.parameters.value, before)
    assert trainer.history is history
    assert trainer.rng.bit_generator.state == state
    assert trainer.rng.bit_generator.seed_seq.n_children_spawned == 0
    assert optimizer.steps == 0


@pytest.mark.parametrize("of_a_batch", [False, True])
def test_rows_that_do_not_fit_a_built_model_are_rejected(of_a_batch: bool) -> None:
    model = Sequential([Sequential([Activation("tanh")]), Dense(2)])
    model.build((3,), rng=0)
    trainer = Trainer(model, losses.HalfSquaredError(), optimizers.SGD(0.1), rng=0)
    state = trainer.rng.bit_generator.state
    with pytest.raises(ShapeError, match="does not fit the model") as caught:
        if of_a_batch:
            trainer.fit(making((X[:, :2], T)), steps_per_epoch=1)
        else:
            trainer.fit(X[:, :2], T)
    message = str(caught.value)
    assert "(batch, …, 3)" in message and "of shape (60, 2)" in message
    assert ("x of batch 1" in message) is of_a_batch
    assert trainer.rng.bit_generator.state == state


def test_rows_of_another_shape_are_accepted_if_the_layers_accept_them() -> None:
    model = Activation("tanh")
    model.build((3,))
    trainer = Trainer(model, losses.HalfSquaredError(), optimizers.SGD(0.1), rng=0)
    assert trainer.fit(X[:, :2], T, epochs=2).epochs == 2


def test_one_loss_for_a_model_with_two_outputs_is_rejected() -> None:
    @define
    class Splits(Layer):
        def forward(self, x: Any) -> Any:
            return x[:, :1], x[:, 1:]

        def backward(self, delta: Any) -> Any:
            return np.concatenate(delta, axis=1)

    trainer = Trainer(Splits(), losses.HalfSquaredError(), optimizers.SGD(0.1), rng=0)
    with pytest.raises(ShapeError, match="several outputs") as caught:
        trainer.fit(X, T)
    assert "(batch, 1), (batch, 2)" in str(caught.value)


def test_a_bad_later_batch_is_reported_with_its_number() -> None:
    for spoilt_batch, kind, words in [
        ((spoilt(X, (2, 1)), T), DataError, ["x of batch 4, row 2, column 1, epoch 2, step 1"]),
        ((X, spoilt(T, (2, 1))), DataError, ["t of batch 4, row 2, column 1, epoch 2, step 1"]),
        ((X[:, :2], T), ShapeError, ["batch 4", "(60, 2)", "step 1"]),
        ((X[:0], T[:0]), DataError, ["no samples in x of batch 4", "epoch 2, step 1"]),
        (X, DataError, ["batch 4", "not a pair", "epoch 2, step 1"]),
    ]:
        coming = iter([(X, T)] * 3 + [spoilt_batch])
        model = Sequential([Dense(2)])
        trainer = Trainer(model, losses.HalfSquaredError(), optimizers.SGD(0.1), rng=0)
        with pytest.raises(kind) as caught:
            trainer.fit(lambda rng, coming=coming: next(coming), epochs=3, steps_per_epoch=3)
        for word in words:
            assert word in str(caught.value)
        assert trainer.history.epochs == 1


def test_an_error_in_make_batch_names_the_batch() -> None:
    def make_batch(rng: np.random.Generator) -> Any:
        calls.append(rng)
        if len(calls) == 4:
            raise OSError("the disk is gone")
        return X, T

    calls: list[Any] = []
    trainer = Trainer(Dense(2), losses.HalfSquaredError(), optimizers.SGD(0.1), rng=0)
    with pytest.raises(OSError, match="the disk is gone") as caught:
        trainer.fit(make_batch, epochs=2, steps_per_epoch=3)
    assert caught.value.__notes__ == [
        "in make_batch, called for batch 4",
        "in epoch 2, step 1",
    ]


@pytest.mark.parametrize("named", ["x", "t", "sample_weights"])
def test_a_number_too_large_for_a_float32_model_is_rejected(named: str) -> None:
    arrays = {"x": X, "t": T, "sample_weights": np.ones(60)}
    arrays[named] = arrays[named].copy()
    arrays[named][(7, 1)[: arrays[named].ndim]] = 1e39
    model = Dense(2)
    model.build((3,), rng=0, dtype="float32")
    trainer = Trainer(model, losses.HalfSquaredError(), optimizers.SGD(0.1), rng=0)
    with pytest.raises(DataError, match="too large") as caught:
        trainer.fit(**arrays)
    assert f"{named}, row 7" in str(caught.value) and "3.4e+38" in str(caught.value)


# ------------------------------------------------------------------------------- where it is


@given(
    hnp.array_shapes(min_dims=1, max_dims=4, max_side=6),
    st.data(),
    st.sampled_from(["float16", "float32", "float64"]),
)
def test_the_first_number_that_is_not_finite_is_named_and_all_are_counted(
    shape: tuple[int, ...], data: st.DataObject, dtype: str
) -> None:
    array = np.ones(shape, dtype)
    index = st.tuples(*(st.integers(0, n - 1) for n in shape))
    places = data.draw(st.lists(index, min_size=1, max_size=5, unique=True))
    for place in places:
        array[place] = data.draw(st.sampled_from([np.nan, np.inf, -np.inf]))
    with pytest.raises(DataError) as caught:
        require_finite("a", array)
    first = min(places)
    where = [f"row {first[0]}"]
    if len(shape) == 2:
        where.append(f"column {first[1]}")
    elif len(shape) > 2:
        where.append(f"index {first[1:]}")
    assert caught.value.place == ", ".join(["a", *where])
    count, rows = len(places), len({place[0] for place in places})
    counted = f"{count} such numbers in {rows} of" if count > 1 else "the only one in"
    assert f"{counted} {shape[0]}" in caught.value.received


def test_large_arrays_are_checked_completely() -> None:
    array = np.zeros((3 * CHECKED_AT_ONCE // 64 + 5, 64), "float32")
    require_finite("a", array)
    array[-1, -1] = np.nan
    with pytest.raises(DataError, match="is not finite") as caught:
        require_finite("a", array)
    assert caught.value.place == f"a, row {len(array) - 1}, column 63"


@given(st.lists(st.integers(1, 9), min_size=1, max_size=3), st.integers(1, 12))
def test_parts_concatenate_to_all_inputs(widths: list[int], size: int) -> None:
    inputs = tuple(np.random.default_rng(0).normal(size=(10, width)) for width in widths)
    data = Data.of(inputs, np.zeros(10))
    parts = list(data.parts(size))
    assert {len(part[0]) for part in parts[:-1]} <= {size}
    for number, x in enumerate(inputs):
        np.testing.assert_array_equal(np.concatenate([part[number] for part in parts]), x)


# ------------------------------------------------------------------------------- what is stored


@given(st.integers(1, 70), st.sampled_from(["float32", "float64"]))
def test_stored_inputs_are_read_in_parts_one_at_a_time(size: int, dtype: str) -> None:
    stored = WithAShape(X)
    data = Data.of((stored, X), WithAShape(T))
    data = data.fitted(losses.HalfSquaredError(), ((2,),), np.dtype(dtype))
    assert (len(data), data.row_shapes, stored.read) == (60, ((3,), (3,)), [])
    for part, (x, same) in enumerate(data.parts(size)):
        assert x.dtype == same.dtype == dtype
        np.testing.assert_array_equal(x, same)
        assert stored.read.pop() == (part * size, min((part + 1) * size, 60))
    np.testing.assert_array_equal(data.target, T.astype(dtype))


@pytest.mark.parametrize(
    ("dtype", "value", "problem"),
    [
        ("float64", np.nan, "is not finite"),
        ("float32", np.nan, "is not finite"),
        ("float64", 1e39, "is too large"),
    ],
)
def test_a_bad_stored_number_is_reported_with_its_row_when_it_is_read(
    dtype: str, value: float, problem: str
) -> None:
    stored = WithAShape(spoilt(X.astype(dtype), (47, 2), value=value))
    data = Data.of(stored, T, named="validation {}")
    data = data.fitted(losses.HalfSquaredError(), ((2,),), np.dtype("float32"))
    parts = data.parts(20)
    next(parts)
    next(parts)
    with pytest.raises(DataError, match=f"in validation x {problem}") as caught:
        next(parts)
    assert "validation x, row 47, column 2" in str(caught.value)


def test_validation_and_evaluation_give_the_same_for_stored_data() -> None:
    figures = []
    for x, t in [(X, T), (WithAShape(X), RowByRow(T))]:
        trainer = Trainer(Dense(2), losses.HalfSquaredError(), optimizers.SGD(0.1), rng=0)
        trainer.fit(X, T, epochs=2, validation_data=(x, t), progress=False)
        figures.append([*trainer.history["validation_loss"], trainer.evaluate(x, t)["loss"]])
    assert figures[0] == figures[1]


def test_the_dtype_of_a_stored_array_decides_that_of_a_new_model() -> None:
    for dtype, built_for in [("float32", "float32"), ("float64", "float64"), ("uint8", "float64")]:
        assert Data.of(WithAShape(X.astype(dtype)), T).dtype == built_for
