"""Every field of every public class refuses a wrong value by name, also when it is set later."""

from __future__ import annotations

import attrs
import numpy as np
import pytest
from attrs.exceptions import FrozenInstanceError

from chainrule import (
    GRU,
    LSTM,
    Activation,
    Add,
    Average,
    AveragePool,
    Bidirectional,
    Branches,
    Concatenate,
    Crop,
    Dense,
    Ensemble,
    Input,
    Maximum,
    MaxPool,
    Multiply,
    Pad,
    Permute,
    Reshape,
    Residual,
    Scan,
    Sequential,
    SimpleRNN,
    Slice,
    Subtract,
    TimeDistributed,
    Trainer,
    Upsample,
    callbacks,
    initializers,
    losses,
    optimizers,
    schedules,
)
from chainrule.core.errors import ChainruleError, ConfigurationError
from chainrule.layers import functions

COSINE = schedules.Cosine(0.1, 10)
CORRECT = [
    Dense(3), Activation("relu"), Add(), Average(), Branches([Dense(3), Dense(2)]), Concatenate(),
    Ensemble(Dense(3), 2), Maximum(), Multiply(), Permute((2, 1)), Reshape((2, 2)),
    Residual(Dense(3)), Sequential([Dense(3)]), Slice(0, 1), Subtract(), MaxPool(2),
    AveragePool(2, 3), Upsample(2), Pad(1), Crop(1), SimpleRNN(3), LSTM(3),
    GRU(3, True, stateful=True), Scan(Add()),
    Bidirectional(GRU(3)), TimeDistributed(Dense(3)),
    optimizers.SGD(0.1, momentum=0.5), optimizers.Adagrad(), optimizers.Adam(), optimizers.AdamW(),
    optimizers.Adamax(), optimizers.Lion(), optimizers.RMSprop(),
    losses.Huber(), losses.GaussianNegativeLogLikelihood(),
    losses.PerOutput([losses.Huber(), losses.Huber()]),
    COSINE, COSINE.then(COSINE, after=3), 0.5 * COSINE, schedules.Constant(0.1),
    schedules.Exponential(0.1, 0.9), schedules.OneCycle(0.1, 10), schedules.Polynomial(0.1, 10),
    schedules.ReduceOnPlateau(0.1), schedules.Step(0.1, 3), schedules.WarmUp(COSINE, 3),
    callbacks.LearningRate(COSINE), callbacks.CSVLogger("a.csv"), callbacks.Checkpoint("a"),
    callbacks.EarlyStopping(), callbacks.TensorBoard("a"),
    callbacks.FromFunctions(on_epoch_end=lambda trainer, epoch, figures: None),
    initializers.Constant(0.1), initializers.LectureUniform(), initializers.Normal(),
    initializers.Orthogonal(), initializers.Uniform(),
    functions.LeakyRelu(), functions.Elu(), functions.Pair(np.sin, np.cos),
    Trainer(Dense(1), losses.Huber(), optimizers.Adam()),
]  # fmt: skip
FIELDS = [
    pytest.param(thing, field, id=f"{type(thing).__name__}.{field.alias}")
    for thing in CORRECT
    for field in attrs.fields(type(thing))
    if field.init
]
WRONG = {
    "an object": object(), "a complex number": 1j, "bytes": b"x", "a dictionary": {"a": object()},
    "two numbers": np.array([[0.5, 2.5]]), "a class": Sequential, "NaN": float("nan"),
}  # fmt: skip


def arguments_of(thing):
    given = {f.alias: getattr(thing, f.name) for f in attrs.fields(type(thing)) if f.init}
    return {name: value for name, value in given.items() if name != "derivative"}


def with_field(thing, field, value):
    given = arguments_of(thing) | {field.alias: value}
    if isinstance(thing, Ensemble):  # made of a network and a number
        networks = given.pop("networks")
        return Ensemble(networks[0] if isinstance(networks, tuple) else networks, 2, **given)
    layers = given.pop("layers") if isinstance(thing, Residual) else ()
    return type(thing)(*(layers if isinstance(layers, tuple) else (layers,)), **given)


TAKES_FUNCTIONS = (callbacks.FromFunctions, functions.Pair)


@pytest.mark.parametrize("wrong", WRONG)
@pytest.mark.parametrize(("thing", "field"), FIELDS)
def test_a_wrong_value_is_a_named_error_at_construction_and_when_it_is_set(thing, field, wrong):
    if wrong == "a class" and isinstance(thing, TAKES_FUNCTIONS):
        wrong = "an object"  # a class can be called
    with pytest.raises(ChainruleError):
        with_field(thing, field, WRONG[wrong])
    if field.alias not in ("derivative", "loss_weights"):  # these cannot be set at all
        before = getattr(thing, field.name)
        with pytest.raises((ChainruleError, FrozenInstanceError)):
            setattr(thing, field.name, WRONG[wrong])
        assert getattr(thing, field.name) is before


@pytest.mark.parametrize(
    ("layer", "name", "given", "kept"),
    [
        (Dense(3), "units", np.int64(5), 5),
        (Dense(3), "initializer", "zeros", initializers.Zeros()),
        (Activation("relu"), "function", "tanh", functions.Tanh()),
        (Permute((2, 1)), "axes", [0, 1, 2], (1, 2)),
        (Reshape((2, 2)), "shape", [4, -1], (4, -1)),
    ],
)
def test_a_value_that_is_set_later_is_converted_as_at_construction(layer, name, given, kept):
    setattr(layer, name, given)
    assert getattr(layer, name) == kept and type(getattr(layer, name)) is type(kept)


def test_a_derivative_for_a_function_that_has_one_is_refused():
    for function in ("relu", functions.LeakyRelu(0.2)):
        with pytest.raises(ConfigurationError, match="a function that has its own"):
            Activation(function, 0.2)


def test_a_node_or_an_array_in_place_of_the_width_says_in_which_order():
    for given in (Input((3,)), np.ones((2, 3))):
        with pytest.raises(ConfigurationError, match=r"Dense\(3\)\(x\)"):
            Dense(given)
    with pytest.raises(ChainruleError):
        Add(Input((3,)), Input((3,)))


@pytest.mark.parametrize("number", [np.float32(0.5), np.float64(0.5), np.int64(2), 1])
def test_numbers_of_numpy_give_no_warning(number):
    assert losses.Huber(number).threshold == number
    assert losses.PerOutput([losses.Huber()] * 2, [number, 1.0]).weights == (number, 1.0)
