"""What looks like an array of numbers gives the right result or a named error, everywhere.

The table has what a user may pass for an array of numbers, and what it should be: the numbers that
it holds, or an error. Each is passed wherever data are passed; the result must be that of a plain
array, bit for bit.
"""

from __future__ import annotations

import datetime
import decimal
import warnings
from collections import deque
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
import scipy.sparse

from chainrule import Dense, Trainer, derivatives, losses, optimizers, trace
from chainrule.core.arrays import as_array
from chainrule.core.errors import ChainruleError
from chainrule.training.metrics import accuracy, binary_accuracy
from data.stored import RowByRow, WithAShape

X = np.random.default_rng(0).normal(size=(6, 3))
HIDDEN = np.ma.masked_greater(X, 1.0)
FRAME = pd.DataFrame(X, columns=list("abc"))


class Tensor:
    """Like a tensor of another library: its dtype is not one of NumPy."""

    def __init__(self, array: Any, fails: bool = False) -> None:
        self.array, self.shape, self.dtype, self.fails = array, array.shape, "float64", fails

    def __len__(self) -> int:
        return len(self.array)

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        if self.fails:
            raise RuntimeError("use tensor.detach().numpy() instead")
        return np.array(self.array, dtype=dtype)

    __dlpack__ = None


def missing() -> Any:
    frame = FRAME.astype("Float64")
    frame.iloc[4, 1] = pd.NA
    return frame


# What holds numbers, and the plain array that it is the same as.
GOOD: dict[str, tuple[Any, Any]] = {
    "a matrix": (np.matrix(X), X),
    "a masked array that hides nothing": (np.ma.array(X), X),
    "rows that hide nothing": (list(np.ma.array(X)), X),
    "a record array's field": (X.astype([("x", "f8")])["x"], X),
    "swapped bytes": (X.astype(">f8"), X),
    "swapped bytes in single": (X.astype(">f4"), X.astype("f4")),
    "swapped integers": (np.arange(18).reshape(6, 3).astype(">i2"), np.arange(18).reshape(6, 3)),
    "half precision": (X.astype("f2"), X.astype("f2").astype("f8")),
    "extended precision": (X.astype(np.longdouble), X),
    "booleans": (X > 0, (X > 0).astype(float)),
    "small integers": ((X * 9).astype("i1"), (X * 9).astype("i1").astype(float)),
    "lists": (X.tolist(), X),
    "tuples in a list": ([tuple(row) for row in X.tolist()], X),
    "a deque of rows": (deque(X), X),
    "a list of tensors": ([Tensor(row) for row in X], X),
    "a tensor": (Tensor(X), X),
    "Fortran order": (np.asfortranarray(X), X),
    "every other row": (np.repeat(X, 2, axis=0)[::2], X),
    "a read-only array": (np.broadcast_to(X, X.shape), X),
    "a table": (FRAME, X),
    "a table of nullable numbers": (FRAME.astype("Float64"), X),
    "a table of several types": (
        pd.DataFrame({"a": pd.array([1] * 6, "Int64"), "b": X[:, 1], "c": pd.array([True] * 6)}),
        np.column_stack([np.ones(6), X[:, 1], np.ones(6)]),
    ),
    "a table of numbered categories": (
        pd.DataFrame({"a": pd.Categorical([2, 1] * 3), "b": X[:, 1], "c": 0}),
        np.column_stack([[2, 1] * 3, X[:, 1], np.zeros(6)]),
    ),
}

RECORDS = np.zeros(6, [("a", "f8"), ("b", "f8"), ("c", "f8")])
DATES = np.zeros((6, 3), "M8[s]")
TEXT = [["a", "b", "c"]] * 6

# What does not, and words of the error.
BAD: dict[str, tuple[Any, list[str]]] = {
    "a masked array": (HIDDEN, [f"{HIDDEN.mask.sum()} of 18 numbers masked", ".filled("]),
    "masked rows": (list(HIDDEN), ["masked in an item of a list"]),
    "masked rows in tuples": (tuple((row,) for row in HIDDEN), ["masked"]),
    "a masked number": ([[1.0, 2.0, np.ma.masked]] * 6, ["1 of 1 numbers masked"]),
    "a sparse matrix": (scipy.sparse.csr_matrix(X), ["csr_matrix", ".toarray()"]),
    "a sparse array": (scipy.sparse.coo_array(X), ["coo_array", ".toarray()"]),
    "sparse rows": ([scipy.sparse.csr_array(X)] * 6, ["contains a sparse matrix", ".toarray()"]),
    "records": (RECORDS, ["structured_to_unstructured"]),
    "a record array": (RECORDS.view(np.recarray), ["structured_to_unstructured"]),
    "dates": (DATES, ["datetime64[s]", "np.timedelta64(1, 's')"]),
    "time differences": (DATES - DATES, ["timedelta64[s]"]),
    "complex numbers": (X + 1j, ["complex128", "two columns"]),
    "strings": (X.astype(str), ["<U", "np.unique"]),
    "bytes": (X.astype("S8"), ["|S8", "np.unique"]),
    "lists of strings": (TEXT, ["<U1"]),
    "objects": (X.astype(object), ["dtype object", "dtype=float"]),
    "decimals": ([[decimal.Decimal(1)] * 3] * 6, ["object", "Decimal"]),
    "days": ([[datetime.date(2026, 1, 1)] * 3] * 6, ["object", "datetime.date"]),
    "huge integers": ([[2**70, 1, 2]] * 6, ["object"]),
    "None in a list": ([[1.0, None, 2.0]] * 6, ["None", "NoneType"]),
    "None": (None, ["None"]),
    "rows of unequal length": ([[1.0, 2.0, 3.0], [1.0]] * 3, ["list of 6 rows", "row 1 has (1,)"]),
    "arrays of unequal length": ([np.ones(3), np.ones(2)] * 3, ["row 1 has (2,), row 0 has (3,)"]),
    "a dictionary": ({"a": 1}, ["dict"]),
    "a set": ({1, 2}, ["set"]),
    "a tensor that refuses": (Tensor(X, fails=True), ["Tensor", "detach"]),
    "a table with missing values": (missing(), ["1 of 18 values are NA", ".dropna()"]),
    "a table with text": (FRAME.assign(name=list("uvwxyz")), ["'name'", "np.unique"]),
    "a table of categories": (pd.DataFrame({"kind": pd.Categorical(TEXT[0] * 2)}), ["'kind'"]),
    "a table with dates": (FRAME.assign(when=pd.date_range("2026", periods=6)), ["'when'"]),
}

# Where data are passed: a function of x (6, 3) for a model that computes y (6, 2) or (6, 3).


def built(outputs: int = 2, dtype: Any = None) -> Any:
    model = Dense(outputs)
    model.build((3,), rng=0, dtype=dtype)
    return model


def trainer_of(model: Any) -> Trainer:
    metrics = ["mean_absolute_error"]
    return Trainer(model, losses.MeanSquaredError(), optimizers.SGD(0.1), rng=0, metrics=metrics)


def fitted(x: Any, t: Any, model: Any = None, **options: Any) -> Any:
    trainer = trainer_of(model or built(3))
    history = trainer.fit(x, t, epochs=2, batch_size=4, progress=False, **options)
    return trainer.model.parameters.value.tobytes(), dict(history)


def stepped(x: Any, t: Any, model: Any = None) -> Any:
    trainer = trainer_of(model or built(3))
    values = trainer.step(x, t, metrics=True)
    return trainer.model.parameters.value.tobytes(), values


def of_new_model(x: Any) -> Any:
    model = Dense(2, initializer="ones")
    return model(x).tobytes(), model.dtype


def fit_of_batches(x: Any) -> Any:
    trainer = trainer_of(built(3))
    batches = ((x, X) for _ in range(3))
    history = trainer.fit(batches, epochs=1, steps_per_epoch=3, progress=False)
    return trainer.model.parameters.value.tobytes(), dict(history)


def fit_of_function(x: Any) -> Any:
    trainer = trainer_of(built(3))
    history = trainer.fit(lambda rng: (x, X), epochs=1, steps_per_epoch=3, progress=False)
    return trainer.model.parameters.value.tobytes(), dict(history)


TAKES: dict[str, Callable[[Any], Any]] = {
    "model(x)": lambda x: built()(x).tobytes(),
    "a new model(x)": of_new_model,
    "model(x) in float32": lambda x: built(dtype="float32")(x).tobytes(),
    "fit, x": lambda x: fitted(x, X),
    "fit, x of a new model": lambda x: fitted(x, X, model=Dense(3)),
    "fit, t": lambda t: fitted(X, t),
    "fit, batches": fit_of_batches,
    "fit, a function": fit_of_function,
    "validation x": lambda x: fitted(X, X, validation_data=(x, X)),
    "validation t": lambda t: fitted(X, X, validation_data=(X, t)),
    "predict": lambda x: np.asarray(built().predict(x, batch_size=4)).tobytes(),
    "step, x": lambda x: stepped(x, X),
    "step, x of a new model": lambda x: stepped(x, X, model=Dense(3)),
    "step, t": lambda t: stepped(X, t),
    "evaluate x": lambda x: trainer_of(built(3)).evaluate(x, X),
    "evaluate t": lambda t: trainer_of(built(3)).evaluate(X, t),
    "accuracy of y": lambda y: accuracy(y, np.arange(6) % 3),
    "accuracy of one-hot t": lambda t: binary_accuracy(X, t),
    "t of per_sample_gradients": lambda t: derivatives.per_sample_gradients(
        built(3), losses.MeanSquaredError(), X, t
    ).tobytes(),
    "x of jacobian": lambda x: derivatives.jacobian(built(3), x).tobytes(),
    "trace": lambda x: trace(built(3), x, X, losses.MeanSquaredError()).cost,
}

# `forward`, `backward` and a loss take plain arrays; they convert dtypes at most.
STRICT: dict[str, Callable[[Any], Any]] = {
    "forward": lambda x: built().forward(x),
    "forward of a new model": lambda x: Dense(2, initializer="ones").forward(x),
    "apply": lambda x: built().apply(x),
    "backward": lambda delta: after_forward(built(3)).backward(delta),
    "a loss of y": lambda y: losses.MeanSquaredError()(y, X),
    "a loss of t": lambda t: losses.MeanSquaredError()(X, t),
    "a loss's delta": lambda t: losses.MeanSquaredError().delta(X, t),
    "a loss of classes": lambda y: losses.SoftmaxCrossEntropy()(y, np.arange(6) % 3),
    "a loss of one-hot t": lambda t: losses.SigmoidCrossEntropy()(X, t),
    "trace's target": lambda t: trace(built(3), X, t, losses.MeanSquaredError()).cost,
}


def after_forward(model: Any) -> Any:
    model.forward(X)
    return model


@pytest.mark.parametrize("where", TAKES)
@pytest.mark.parametrize("what", GOOD)
def test_what_holds_numbers_gives_the_result_of_a_plain_array(what: str, where: str) -> None:
    given, plain = GOOD[what]
    expected = TAKES[where](plain)
    assert TAKES[where](given) == expected


@pytest.mark.parametrize("where", TAKES)
@pytest.mark.parametrize("what", BAD)
def test_what_does_not_hold_numbers_is_a_named_error(what: str, where: str) -> None:
    given, words = BAD[what]
    with warnings.catch_warnings(), pytest.raises(ChainruleError) as caught:
        warnings.simplefilter("error")
        TAKES[where](given)
    if given is not None:
        for word in words:
            assert word in str(caught.value)


@pytest.mark.parametrize("where", STRICT)
@pytest.mark.parametrize("what", [*GOOD, *BAD])
def test_layers_and_losses_take_what_is_a_plain_array_and_refuse_the_rest_by_name(
    what: str, where: str
) -> None:
    given, plain = GOOD.get(what, (BAD.get(what, [None])[0], None))
    try:
        found = STRICT[where](given)
    except ChainruleError as error:
        assert error.received is not None
    else:
        assert type(given) is np.ndarray and plain is not None
        np.testing.assert_allclose(found, STRICT[where](plain), rtol=1e-2, atol=1e-6)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (np.matrix(X), ["np.matrix, whose * is a matrix product", "np.asarray("]),
        (HIDDEN, ["masked array, which hides", ".filled("]),
        (np.ma.array(X), ["masked array"]),
        (scipy.sparse.csr_array(X), ["sparse", ".toarray()"]),
        (FRAME["a"], ["Series of pandas", "np.asarray("]),
        (Tensor(X), ["Tensor", "np.asarray("]),
    ],
    ids=["matrix", "masked", "hides nothing", "sparse", "series", "tensor"],
)
@pytest.mark.parametrize("where", STRICT)
def test_the_error_for_a_look_alike_says_what_it_is(
    where: str, given: Any, words: list[str]
) -> None:
    with pytest.raises(ChainruleError) as caught:
        STRICT[where](given)
    for word in words:
        assert word in str(caught.value)


# ------------------------------------------------------------------------------- labels and weights

LABELS = np.array([0, 1, 2, 0, 1, 2])
WEIGHTS = np.array([1.0, 2.0, 0.5, 1.0, 0.0, 3.0])

GOOD_LABELS: dict[str, Any] = {
    "a column of a table": pd.Series(LABELS, index=range(9, 3, -1)),
    "nullable integers": pd.Series(LABELS).astype("Int64"),
    "an index": pd.Index(LABELS),
    "numbered categories": pd.Series(pd.Categorical(LABELS)),
    "swapped bytes": LABELS.astype(">i4"),
    "small unsigned integers": LABELS.astype("u1"),
    "a masked array that hides nothing": np.ma.array(LABELS),
    "a list": LABELS.tolist(),
    "a tensor": Tensor(LABELS),
}
BAD_LABELS: dict[str, Any] = {
    "text": pd.Series(list("abcabc")),
    "categories": pd.Series(pd.Categorical(list("abcabc"))),
    "a masked array": np.ma.masked_equal(LABELS, 2),
    "missing values": pd.Series([0, 1, None, 0, 1, 2]).astype("Int64"),
    "None in a list": [0, 1, None, 0, 1, 2],
    "strings": list("abcabc"),
    "a matrix": np.matrix(LABELS),
    "a sparse array": scipy.sparse.csr_array(LABELS[np.newaxis]),
}


def of_labels(labels: Any) -> Any:
    loss = losses.SoftmaxCrossEntropy()
    trainer = Trainer(built(3), loss, optimizers.SGD(0.1), rng=0, metrics=["accuracy"])
    history = trainer.fit(X, labels, epochs=2, validation_data=(X, labels), progress=False)
    return dict(history), trainer.evaluate(X, labels), accuracy(X, labels)


@pytest.mark.parametrize("what", GOOD_LABELS)
def test_labels_of_every_form_are_the_same(what: str) -> None:
    assert of_labels(GOOD_LABELS[what]) == of_labels(LABELS)


@pytest.mark.parametrize("what", BAD_LABELS)
def test_what_is_no_array_of_labels_is_a_named_error(what: str) -> None:
    with pytest.raises(ChainruleError):
        of_labels(BAD_LABELS[what])
    with pytest.raises(ChainruleError):
        accuracy(X, BAD_LABELS[what])
    with pytest.raises(ChainruleError):
        losses.SoftmaxCrossEntropy()(X, BAD_LABELS[what])


@pytest.mark.parametrize(
    "given",
    [
        pd.Series(WEIGHTS, index=range(9, 3, -1)),
        pd.Series(WEIGHTS).astype("Float64"),
        WEIGHTS.astype(">f8"),
        np.ma.array(WEIGHTS),
        WEIGHTS.tolist(),
        Tensor(WEIGHTS),
    ],
    ids=["column", "nullable", "swapped", "hides nothing", "list", "tensor"],
)
def test_sample_weights_of_every_form_are_the_same(given: Any) -> None:
    assert fitted(X, X, sample_weights=given) == fitted(X, X, sample_weights=WEIGHTS)
    evaluate = trainer_of(built(3)).evaluate
    assert evaluate(X, X, sample_weights=given) == evaluate(X, X, sample_weights=WEIGHTS)


@pytest.mark.parametrize(
    "given",
    [np.ma.masked_equal(WEIGHTS, 2.0), pd.Series(list("abcdef")), np.matrix(WEIGHTS), [None] * 6],
    ids=["masked", "text", "matrix", "None"],
)
def test_what_are_no_sample_weights_is_a_named_error(given: Any) -> None:
    with pytest.raises(ChainruleError):
        fitted(X, X, sample_weights=given)
    with pytest.raises(ChainruleError):
        losses.MeanSquaredError()(X, X, given)


# ------------------------------------------------------------------------------- what is read


@pytest.mark.parametrize("source", [RowByRow, WithAShape])
def test_what_a_source_returns_is_looked_at_too(source: Any) -> None:
    swapped, hiding = X.astype(">f4"), np.ma.masked_greater(X, 1.0)
    assert fitted(source(swapped), X, model=Dense(3)) == fitted(
        source(swapped.astype("f4")), X, model=Dense(3)
    )
    with pytest.raises(ChainruleError, match="masked values"):
        fitted(source(hiding), X)


def test_what_a_dataset_returns_is_looked_at_too() -> None:
    pairs = RowByRow([(np.ma.masked_greater(row, 1.0), row) for row in X])
    with pytest.raises(ChainruleError, match="x has masked values"):
        fitted(pairs, None)


def test_a_swapped_file_trains_a_model_of_its_precision(tmp_path: Any) -> None:
    path = tmp_path / "x.raw"
    X.astype(">f4").tofile(path)
    x = np.memmap(path, ">f4", "r", shape=X.shape)
    model = Dense(3)
    stored = fitted(x, X, model=model, shuffle=False)
    assert model.dtype == "float32"
    assert stored == fitted(X.astype("f4"), X, model=Dense(3), shuffle=False)


def test_a_plain_array_is_not_copied() -> None:
    for array in (X, X.astype("f4"), np.arange(3), np.asfortranarray(X), X[::2]):
        assert as_array("x", array) is array


@pytest.mark.peers
def test_tensors_and_loaders_of_pytorch_train_as_arrays_do(torch: Any) -> None:
    x, t = torch.tensor(X), torch.tensor(X)
    assert fitted(x, t) == fitted(X, X)
    assert fitted(list(x), t) == fitted(X, X)
    dataset = torch.utils.data.TensorDataset(x, t)
    assert fitted(dataset, None) == fitted(X, X)
    trainer = trainer_of(Dense(3))
    loader = torch.utils.data.DataLoader(dataset, batch_size=4)
    trainer.fit(loader, epochs=2, validation_data=loader, progress=False)
    in_order = trainer_of(Dense(3)).fit(X, X, epochs=2, batch_size=4, shuffle=False, progress=False)
    assert trainer.history["loss"] == in_order["loss"]
    for refused in (x.requires_grad_(True), x.detach().bfloat16(), x.detach().to_sparse()):
        for take in TAKES.values():
            with pytest.raises(ChainruleError):
                take(refused)
