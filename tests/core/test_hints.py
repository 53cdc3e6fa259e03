"""The hints for what users of other libraries type, and for misspelled names."""

from __future__ import annotations

import importlib
import inspect
import re
import timeit

import attrs
import numpy as np
import pytest
from attrs import define, field

import chainrule
import chainrule.layers
from chainrule import (
    Dense,
    Layer,
    Sequential,
    Softmax,
    Trainer,
    callbacks,
    fitting,
    initializers,
    losses,
    metrics,
    optimizers,
    physics,
    schedules,
)
from chainrule.core import elsewhere, hints
from chainrule.core.errors import ArgumentError, ChainruleError, DefinitionError, shortened
from chainrule.layers import functions
from chainrule.training.history import History

X = np.ones((4, 3))
MODULES = (
    chainrule, losses, optimizers, callbacks, schedules, initializers, metrics, fitting, physics,
)  # fmt: skip


def trainer():
    return Trainer(Sequential([Dense(1)]), losses.HalfSquaredError(), optimizers.SGD(0.1))


BUILT = Dense(3)
BUILT.build((2,))
HERE = {name: getattr(chainrule, name) for name in chainrule.__all__} | {
    "BUILT": BUILT,
    "History": History,
    "layers": chainrule.layers,
    "X": X,
    "chainrule": chainrule,
    "functions": functions,
    "np": np,
    "trainer": trainer,
}


def run(code):
    return eval(code, dict(HERE))


ARGUMENTS = {
    "fitting.least_squares(BUILT, X, X, sigma=X)": "deviations=…",
    "fitting.least_squares(BUILT, X, X, p0=[1.0])": "start=[1.0]",
    "fitting.least_squares(BUILT, X, X, weights=X)": "deviations=1/weights",
    "physics.NeuralODE(BUILT, t_span=[0, 1])": "times=[0, 1]",
    "fitting.curve(lambda x, a: a * x, p0=[1.0])": "start=[1.0]",
    "fitting.minimize(BUILT, losses.MeanSquare(), X, maxiter=9)": "iterations=9",
    "Dense(10, activation='relu')": "[Dense(…), Activation('relu')]",
    "Dense(out_features=3)": "units=3",
    "Dense(3, bias=False)": "use_bias=False",
    "Dense(3, input_shape=(4,))": "model.build(input_shape)",
    "Dense(3, activtion='relu')": None,
    "Dense(3, inititalizer='ones')": "did you mean initializer=…?",
    "Softmax(axis=1)": "last axis",
    "Residual(Dense(3), project=Dense(3))": "did you mean projection=…?",
    "Input(input_shape=(3,))": "shape=(3,)",
    "Activation('leaky_relu', alpha=0.2)": "LeakyRelu(0.2)",
    "optimizers.Adam(lr=0.1)": "learning_rate=0.1",
    "optimizers.Adam(params=[], eps=1e-6)": "epsilon=1e-06",
    "optimizers.Adam(beta_1=0.8)": "betas=(0.8, 0.999)",
    "optimizers.Adam(momentum=0.8)": "betas=(0.8, 0.999)",
    "optimizers.SGD(0.1, momentm=0.8)": "did you mean momentum=…?",
    "optimizers.RMSprop(rho=0.8)": "alpha=0.8",
    "optimizers.SGD(0.1, clipnorm=1.0)": "clip_norm=1.0",
    "losses.Huber(delta=2.0)": "threshold=2.0",
    "losses.SoftmaxCrossEntropy(from_logits=True)": "take logits",
    "losses.SoftmaxCrossEntropy(reduction='mean')": "sample_weights",
    "callbacks.EarlyStopping(restore_best_weights=True)": "restore_best=True",
    "callbacks.EarlyStopping(min_delta=0.1)": "threshold=0.1",
    "callbacks.Checkpoint('runs', every=3)": "every_steps=3",
    "callbacks.Checkpoint(filepath='runs')": "folder='runs'",
    "callbacks.TensorBoard(log_dir='runs')": "folder='runs'",
    "callbacks.CSVLogger(filename='a.csv')": "path='a.csv'",
    "schedules.Cosine(0.1, T_max=100)": "steps=100",
    "schedules.Step(0.1, step_size=10)": "every=10",
    "schedules.Exponential(0.1, gamma=0.9)": "factor=0.9",
    "schedules.ReduceOnPlateau(0.1, min_lr=0.01)": "minimum=0.01",
    "initializers.Normal(std=0.1)": "standard_deviation",
    "functions.LeakyRelu(negative_slop=0.1)": None,
    "Trainer(Dense(1), losses.Huber(), optimizers.Adam(), seed=0)": "rng=0",
    "Trainer(Dense(1), losses.Huber(), optimizers.Adam(), epochs=3)": "fit(x, t, epochs=3)",
    "Trainer(Dense(1), losses.Huber(), optimizers.Adam(), metric=[])": "metrics",
    "trainer().fit(X, X, verbose=1)": "progress=",
    "trainer().fit(X, X, validation_split=0.1)": "validation_data=",
    "trainer().fit(X, X, class_weight={0: 2.0})": "class_weights={0: 2.0}",
    "trainer().fit(X, y=X)": "t=…",
    "trainer().fit(X, X, epoch=3)": "did you mean epochs=…?",
    "trainer().fit(X, X, lr=0.1)": "optimizers.Adam(0.1)",
    "trainer().evaluate(X, X, batch_siz=3)": "did you mean batch_size=…?",
    "trainer().step(X, X, sample_weight=X)": "sample_weights=",
    "check_layer(Dense(3), input_shap=(3,))": "did you mean input_shape=…?",
    "trainer().fit(X=X, t=X)": "did you mean x=…?",
    "trainer().fit(X, X, loss='mse')": "Trainer(model, loss, optimizer)",
    "Dense(3).predict(X, verbose=0)": "omit it",
    "check_layer(Dense(3), (3,), seed=0)": "rng=0",
    "metrics.F1(threshold=0.5)": "border=0.5",
    "metrics.confusion_matrix(y_true=X, y_pred=X)": "confusion_matrix(y, target)",
    "summary(modle=3)": "did you mean model=…?",
}


@pytest.mark.parametrize(("call", "hint"), ARGUMENTS.items())
def test_an_unknown_argument_is_named_with_those_that_exist_and_a_hint(call, hint):
    with pytest.raises(ArgumentError, match="there is no argument") as caught:
        run(call)
    error = caught.value
    assert isinstance(error, TypeError) and isinstance(error, ChainruleError)
    assert re.match(r"[\w.]+\(", str(error.expected)) and "(" in str(error.received)
    if hint is None:
        assert error.hint is None or "activation" in error.hint or "slope" in error.hint
    else:
        assert hint in str(error.hint)
    assert error.__cause__ is None and error.__suppress_context__


@pytest.mark.parametrize(
    ("call", "problem"),
    [
        ("Dense()", "Dense: 'units' must be given"),
        ("Dense(1, True, 'ones', 'zeros', 5)", "Dense: at most 4 arguments"),
        ("Dense(1, units=2)", "Dense: 'units' is given twice"),
        ("optimizers.SGD()", "SGD: 'learning_rate' must be given"),
        ("losses.Huber(1.0, 2.0)", "Huber: at most 1 argument may"),
        ("Dense(1).predict()", "Dense.predict: 'x' must be given"),
        ("Trainer(Dense(1))", "Trainer: 'loss' and 'optimizer' must be given"),
        ("trainer().fit()", "Trainer.fit: 'x' must be given"),
        ("trainer().fit(X, X, 3)", "Trainer.fit: at most 2 arguments"),
        ("check_layer(Dense(1))", "check_layer: 'input_shape' must be given"),
    ],
)
def test_missing_and_excess_arguments_are_named(call, problem):
    with pytest.raises(ArgumentError, match=re.escape(problem)):
        run(call)


def test_a_user_s_layer_loss_optimizer_and_callback_have_the_same_errors():
    class Scale(Layer):
        rate: float = 0.5

    class Hand(Layer):
        def __init__(self, units):
            self.units = units

    class Wider(Dense):
        more: int = 1

    @define
    class Slow(optimizers.Optimizer):
        factor: float = 0.1

    @define
    class Cubic(losses.Loss):
        power: int = 3

    @define
    class Log(callbacks.Callback):
        every: int = field(default=1)

    for call, problem in [
        (lambda: Scale(rates=1), "Scale: there is no argument 'rates'"),
        (lambda: Hand(unit=1), "Hand: there is no argument 'unit'"),
        (lambda: Wider(3, activation="relu"), "Wider: there is no argument 'activation'"),
        (lambda: Slow(lr=1), "Slow: there is no argument 'lr'"),
        (lambda: Cubic(powr=1), "Cubic: there is no argument 'powr'"),
        (lambda: Log(evry=1), "Log: there is no argument 'evry'"),
    ]:
        with pytest.raises(ArgumentError, match=problem):
            call()


def test_a_type_error_from_inside_an_init_passes_unchanged():
    class Inner(Layer):
        def __init__(self, units):
            len(units)

    class Calls(Layer):
        def __init__(self, units):
            (lambda: None)(units)

    class Raises(Layer):
        def __init__(self, units):
            raise TypeError("mine")

    for call, text in [
        (lambda: Inner(3), "has no len"),
        (lambda: Calls(3), "takes 0 positional arguments"),
        (lambda: Raises(3), "mine"),
    ]:
        with pytest.raises(TypeError, match=text) as caught:
            call()
        assert type(caught.value) is TypeError


def test_an_inner_init_names_the_class_that_refuses():
    class Narrow(Dense):
        def __init__(self, **options):
            super().__init__(3, **options)

    with pytest.raises(ArgumentError, match="Dense: there is no argument 'bias'"):
        Narrow(bias=False)
    assert Narrow(use_bias=False).units == 3


def test_signatures_show_the_real_parameters():
    assert list(inspect.signature(Dense).parameters)[:2] == ["units", "use_bias"]
    assert "learning_rate" in inspect.signature(optimizers.Adam).parameters
    assert "validation_data" in inspect.signature(Trainer.fit).parameters
    assert "All arguments are checked" in (Trainer.fit.__doc__ or "")


def test_a_correct_call_costs_less_than_a_microsecond_more():
    init = hints.unhinted(Softmax.__init__)
    layer = Softmax()
    plain = min(timeit.repeat(lambda: init(layer), number=2000, repeat=5))
    with_hints = min(timeit.repeat(lambda: Softmax.__init__(layer), number=2000, repeat=5))
    assert with_hints - plain < 2000 * 1e-6


ATTRIBUTES = {
    "Dense(3).fit": "Trainer",
    "Dense(3).compile": "Trainer(model, loss, optimizer)",
    "Sequential([Dense(3)]).add": "Sequential",
    "Dense(3).train": "no mode to switch",
    "Dense(3).eval": "no mode to switch",
    "Dense(3).to": "computes on the CPU",
    "Dense(3).summary": "chainrule.summary(model)",
    "Dense(3).get_weights": "model.parameters.value",
    "Dense(3).unts": "did you mean 'units'",
    "optimizers.Adam().zero_grad": "model.parameters.zero_grad()",
    "optimizers.Adam().lr": "optimizer.learning_rate",
    "losses.Huber().backward": "model.backward(loss.delta(y, t))",
    "trainer().train": "trainer.fit(x, t)",
    "trainer().predict": "trainer.model.predict(x)",
    "callbacks.EarlyStopping().model": "trainer.model",
    "schedules.Cosine(0.1, 10).step": "LearningRate(schedule)",
    "trainer().test_on_batch": "trainer.evaluate(x, t)",
    "Dense(3).get_layer": "model.layers",
    "Dense(3).parameters_": "did you mean 'parameters'",
    "BUILT.weights.data": "parameter.value",
    "History().history": "history['loss']",
    "Dense(3)(Input((2,))).shape": "summary(Graph(inputs, node))",
    "Dense(3)(Input((2,))).numpy": "trace(",
    "Sequential([Dense(3)]).layers.append": "Sequential([*model.layers, layer])",
    "Residual(Dense(3)).layers.pop": "Sequential([*model.layers, layer])",
}


@pytest.mark.parametrize(("expression", "hint"), ATTRIBUTES.items())
def test_an_attribute_of_another_library_or_a_misspelled_one_has_a_hint(expression, hint):
    thing, _, name = expression.rpartition(".")
    with pytest.raises(AttributeError, match=re.escape(hint)):
        run(expression)
    assert not hasattr(run(thing), name) and name not in dir(run(thing))


def test_no_attribute_of_the_tables_is_a_field_here():
    kinds = [optimizers.Adam, Trainer, schedules.ReduceOnPlateau, losses.Huber]
    for kind in kinds:
        for base in kind.__mro__:
            names = {each.name for each in attrs.fields(kind)}
            assert names.isdisjoint(elsewhere.ATTRIBUTES.get(base.__name__, {}))


def test_a_subclass_may_have_an_attribute_of_the_tables():
    @define
    class Own(optimizers.Optimizer):
        lr: float = 0.5

    class Mine(callbacks.Callback):
        def __init__(self):
            self.model = 3

    assert Own(0.1).lr == 0.5 and Mine().model == 3


@pytest.mark.parametrize(
    ("thing", "name", "hint"),
    [
        ("optimizers.Adam()", "lr", "optimizer.learning_rate"),
        ("trainer()", "stop_training", "trainer.stop("),
        ("Dense(3)", "trainable", "layer.freeze()"),
        ("Sequential([Dense(3)])", "trainable", "layer.freeze()"),
        ("Sequential([Dense(3)])", "stop_training", "trainer.stop("),
        ("Residual(Dense(3))", "training", "no mode to switch"),
        ("BUILT", "bias", "biases"),
        ("BUILT.weights", "data", "parameter.value"),
    ],
)
def test_setting_an_attribute_of_another_library_has_a_hint(thing, name, hint):
    with pytest.raises(AttributeError, match=re.escape(hint)):
        setattr(run(thing), name, False)


def test_a_user_s_layer_may_set_attributes_of_other_libraries():
    class Own(Layer):
        trainable: bool = True

        def forward(self, x):
            self.step = 1
            return x

        def backward(self, delta):
            return delta * self.step

    layer = Own(False)
    layer.forward(X)
    layer.training = True
    assert (layer.trainable, layer.training, layer.backward(X).sum()) == (False, True, 12)


NAMES = {
    "fitting.curve_fit": "fitting.least_squares(fitting.curve(function, start), x, t, deviations)",
    "chainrule.NeuralODE": "physics.NeuralODE",
    "physics.Hamiltonain": "did you mean Hamiltonian?",
    "losses.MSE": "losses.MeanSquaredError()",
    "losses.MSELoss": "losses.MeanSquaredError()",
    "losses.CrossEntropyLoss": "losses.SoftmaxCrossEntropy()",
    "losses.BCE": "losses.SigmoidCrossEntropy()",
    "losses.MeanSquareError": "did you mean MeanSquaredError?",
    "losses.Adam": "optimizers.Adam",
    "optimizers.adamw": "did you mean AdamW?",
    "optimizers.Adadelta": "not in this version",
    "optimizers.LBFGS": "then='L-BFGS-B'",
    "callbacks.ModelCheckpoint": "callbacks.Checkpoint(folder)",
    "callbacks.ReduceLROnPlateau": "schedules.ReduceOnPlateau",
    "schedules.StepLR": "schedules.Step(",
    "schedules.cosine": "did you mean Cosine?",
    "initializers.XavierUniform": "initializers.GlorotUniform()",
    "metrics.F1Score": "metrics.F1()",
    "metrics.AUC": "not in this version",
    "metrics.precison": "did you mean Precision?",
    "metrics.Adam": "optimizers.Adam",
    "layers.Dense": "chainrule.Dense",
    "layers.ReLU": "Activation('relu')",
    "layers.Conv2D": "Convolution(filters, kernel)",
    "chainrule.Linear": "Dense(units)",
    "chainrule.ReLU": "Activation('relu')",
    "chainrule.Adam": "optimizers.Adam",
    "chainrule.MSE": "losses.MeanSquaredError()",
    "chainrule.sequential": "did you mean Sequential?",
    "chainrule.Model": "Graph(inputs, outputs)",
    "chainrule.nn": "chainrule.Dense",
}


@pytest.mark.parametrize(("expression", "hint"), NAMES.items())
def test_a_name_of_another_library_has_a_hint_also_when_it_is_imported(expression, hint):
    module, _, name = expression.partition(".")
    with pytest.raises(AttributeError, match=re.escape(hint)):
        run(expression)
    module = {"initializers": "core.initializers", "metrics": "training.metrics"}.get(
        module, module
    )
    path = "chainrule" if module == "chainrule" else f"chainrule.{module}"
    with pytest.raises(ImportError, match=re.escape(hint)) as caught:
        exec(f"from {path} import {name}")
    assert not isinstance(caught.value, AttributeError)
    assert not hasattr(importlib.import_module(path), name)


def test_a_name_that_is_in_no_table_has_no_hint():
    with pytest.raises(AttributeError, match=r"has no attribute 'Zebra'$"):
        _ = chainrule.Zebra
    with pytest.raises(AttributeError, match=r"has no attribute '__wrapped__'$"):
        _ = losses.__wrapped__


@pytest.mark.parametrize("name", elsewhere.NAMES)
def test_no_hint_suggests_a_layer_that_does_not_exist(name):
    """The equivalent if it exists, otherwise that it is not in this version."""
    try:
        getattr(chainrule, name)
    except AttributeError as error:
        target = re.search(r": that is (?:\w+\.)?([A-Z]\w+)", str(error))
        public = {
            n
            for m in (chainrule, losses, optimizers, callbacks, schedules, metrics)
            for n in m.__all__
        }
        public |= {*initializers.__all__, "Layer", "NumPy"}
        assert target is None or target[1] in public, error
        assert ": " in str(error)


PACKAGES = (
    chainrule,
    losses,
    optimizers,
    callbacks,
    schedules,
    initializers,
    metrics,
    fitting,
    physics,
)
"""All with public names."""


@pytest.mark.parametrize("table", [elsewhere.ARGUMENTS, elsewhere.ATTRIBUTES])
def test_the_tables_name_classes_and_methods_that_exist(table):
    known = {n: getattr(m, n) for m in PACKAGES for n in m.__all__}
    classes = [kind for kind in known.values() if isinstance(kind, type)]
    known |= {base.__name__: base for kind in classes for base in kind.__mro__}
    known |= {"History": History, "Parameter": 0, "ParameterVector": 0, "Node": 0, "Layers": 0}
    for key in table:
        name, _, method = key.partition(".")
        assert name in known, key
        assert not method or hasattr(known[name], method), key


TO_COME = {"rate", "ignore"}
"""Arguments of layers and losses that are still to come; until then they are not suggested."""


def test_the_arguments_that_the_table_suggests_exist():
    public = [getattr(module, name) for module in PACKAGES for name in module.__all__]
    kinds = [each for each in public if isinstance(each, type)]
    for owner, table in elsewhere.ARGUMENTS.items():
        name, _, method = owner.partition(".")
        below = [kind for kind in kinds if name in [base.__name__ for base in kind.__mro__]]
        functions_of = [getattr(kind, method or "__init__") for kind in below]
        functions_of += [each for each in public if getattr(each, "__name__", "") == owner]
        accepted = {p for f in functions_of for p in inspect.signature(f).parameters}
        suggested = {hint for hint in table.values() if hint.isidentifier()}
        assert suggested <= accepted | TO_COME, (owner, suggested - accepted)


VALUES = {
    "Activation('linear')": "identity",
    "Activation('swish')": "Activation('silu')",
    "Activation('Softmax')": "Softmax() is a layer of its own",
    "Activation(None)": "identity",
    "Activation('sigmiod')": "did you mean 'sigmoid'?",
    "Dense(3, 'relu')": "[Dense(3), Activation('relu')]",
    "Dense(3, use_bias='Swish')": "[Dense(3), Activation('silu')]",
    "Dense(3, use_bias='linear')": "omit the layer",
    "Dense(3, use_bias='no')": "use_bias=True or use_bias=False",
    "Sequential([Dense(3), 'ReLU'])": "Activation('relu')",
    "Dense(3, initializer='xavier_uniform')": "glorot_uniform",
    "Dense(3, initializer='kaiming_normal')": "he_normal",
    "Dense(3, initializer='glorot_unifrom')": "did you mean 'glorot_uniform'?",
    "Dense(3, initializer=initializers.HeNormal)": "create an instance: HeNormal(…)",
    "History({'validation_loss': [2.0]})['val_loss']": "did you mean 'validation_loss'",
    "History({'loss': [1.0], 'accuracy': [2.0]})['acuracy']": "did you mean 'accuracy'",
}


@pytest.mark.parametrize(("expression", "hint"), VALUES.items())
def test_a_value_of_another_library_has_a_hint(expression, hint):
    with pytest.raises((ChainruleError, KeyError), match=re.escape(hint)):
        run(expression)


def test_a_word_that_is_no_activation_suggests_none():
    for expression in ("Dense(3, use_bias='no')", "Sequential([Dense(3), 'pooling'])"):
        with pytest.raises(ChainruleError) as caught:
            run(expression)
        assert "Activation" not in str(caught.value.hint)


def test_calling_the_parameters_is_a_named_error():
    layer = Dense(3)
    layer.build((2,))
    with pytest.raises(DefinitionError, match=r"optimizer\.descend\(model\.parameters\)"):
        layer.parameters()


def test_a_text_is_cut_between_words():
    assert shortened("short") == "'short'"
    long = shortened([f"layer number {n}" for n in range(20)], 50)
    assert long.endswith("…") and len(long) <= 50
    assert long[:-1].rstrip().endswith((",", "number", "layer"))
    assert shortened(np.ones((3, 2))) == "float64 array of shape (3, 2)"
    assert len(shortened("x" * 1000)) <= 60
    assert "\n" not in shortened(Sequential([Dense(3)] * 10))


CALLS = {
    "summary(BUILT, (8,))": "model.build((8,)), then summary(model)",
    "diagram(BUILT, (8, 8, 3))": "model.build((8, 8, 3)), then diagram(model)",
    "Dense(3, l2=0.1)": "AdamW(1e-3, weight_decay=…)",
    "Dense(3, kernel_regularizer='l2')": "AdamW(1e-3, weight_decay=…)",
    "BUILT.forward(X[:, :2], training=True)": "there is no mode to switch",
    "BUILT.apply(X[:, :2], training=False)": "there is no mode to switch",
    "BUILT.backward()": "model.backward(loss.delta(y, t))",
    "BUILT.backward(X, retain_graph=True)": "backward can be called again",
    "BUILT.backward(X, X)": "backward(delta)",
    "BUILT.backward_parameters()": "'delta' must be given",
    "BUILT.save()": "model.save('net.safetensors')",
    "BUILT.save_weights()": "model.save_weights(",
    "BUILT.load_weights()": "model.load_weights(",
}


@pytest.mark.parametrize(("expression", "hint"), CALLS.items())
def test_a_call_with_missing_or_foreign_arguments_has_a_hint(expression, hint):
    with pytest.raises(ArgumentError, match=re.escape(hint)):
        run(expression)


def test_inputs_may_come_by_the_names_that_the_author_gave_them():
    class Masked(Layer):
        def forward(self, x, mask=None):
            self.mask = np.ones(x.shape) if mask is None else mask
            return x * self.mask

        def backward(self, delta):
            return delta * self.mask

    layer, mask = Masked(), np.zeros((4, 3))
    assert layer.forward(X, mask=mask).sum() == 0
    assert layer.backward(delta=X).sum() == 0
    assert layer.apply(X, mask=mask).sum() == 0
    for call in (layer.forward, layer.apply):
        with pytest.raises(ArgumentError, match="there is no argument 'training'"):
            call(X, training=True)
