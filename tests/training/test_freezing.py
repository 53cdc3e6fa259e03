"""Frozen parameters never move, and the others move as if the frozen ones did not exist."""

from __future__ import annotations

import copy
import pickle
import tracemalloc
from itertools import groupby

import hypothesis.strategies as st
import numpy as np
import pytest
from attrs import define, field, fields
from hypothesis import given, settings

from chainrule import Activation, Dense, Sequential, Trainer
from chainrule.core.errors import ConfigurationError, ShapeError
from chainrule.core.parameter import Parameter, ParameterVector
from chainrule.losses import HalfSquaredError
from chainrule.optimizers import SGD, Adagrad, Adam, Adamax, AdamW, Lion, Optimizer, RMSprop
from chainrule.optimizers.optimizer import Descent
from chainrule.optimizers.slices import CHUNK_SIZE, ParameterSlice, slices_of

KINDS = [
    SGD(0.1),
    SGD(0.1, momentum=0.9, nesterov=True, weight_decay=0.1),
    RMSprop(0.1, centered=True, momentum=0.5, epsilon=0.1, weight_decay=0.1),
    Adagrad(0.1, learning_rate_decay=0.1, initial_accumulator=0.1, weight_decay=0.1),
    Adam(0.1, weight_decay=0.1),
    AdamW(0.1, weight_decay=0.1),
    Adamax(0.1, weight_decay=0.1),
    Lion(0.1, weight_decay=0.1),
]
every_kind = pytest.mark.parametrize("kind", KINDS, ids=repr)
DECAYING = KINDS[1:]


@define
class SignDescent(Optimizer):
    """One of a user's own, that moves everything however small its gradient is."""

    velocity: object = field(default=None, init=False)

    def step(self, value, gradient):
        self.check(value, gradient)
        if self.velocity is None:
            self.velocity = np.zeros_like(value)
        self.velocity += np.sign(gradient)
        value -= self.learning_rate * (self.velocity + 0.5)


@define
class Noisy(Adam):
    """One that does more than the optimizer from which it inherits."""

    def step(self, value, gradient):
        super().step(value, gradient)
        value *= 0.99


@define
class Halves(Optimizer):
    """One that makes no array of its own."""

    def step(self, value, gradient):
        self.check(value, gradient)
        value *= 0.5


OWN = [SignDescent(0.1), Noisy(0.1, weight_decay=0.1)]
SHAPES = [(3, 2), (2,), (2, 4), (4,), ()]


def vector(shapes=SHAPES, seed=0, dtype=np.float64):
    rng = np.random.default_rng(seed)
    named = {f"p{n}": Parameter(f"p{n}", rng.normal(size=s).astype(dtype)) for n, s in
             enumerate(shapes)}  # fmt: skip
    return ParameterVector(named, dtype)


def put_gradient(parameters, rng):
    """A gradient drawn for every parameter, in the order of the vector; frozen ones refuse it."""
    parameters.zero_grad()
    for parameter in parameters:
        drawn = rng.normal(size=parameter.shape).astype(parameter.dtype)
        parameter.accumulate(np.asarray(drawn, parameter.dtype))


def memory(optimizer):
    """The vectors that it remembers, by name."""
    held = {each.name: getattr(optimizer, each.name) for each in fields(type(optimizer))}
    return {
        name: value
        for name, value in held.items()
        if isinstance(value, np.ndarray) and name[0] != "_"
    }


# --- the slices of a vector ----------------------------------------------------------------------


def test_the_slices_cover_what_is_not_frozen_and_are_as_long_as_possible():
    parameters = vector()  # numbers 0–6, 6–8, 8–16, 16–20, 20–21
    assert slices_of(parameters) == (ParameterSlice(0, 21),)
    parameters["p1"].trainable = False
    assert slices_of(parameters) == (ParameterSlice(0, 6), ParameterSlice(8, 21))
    parameters["p2"].trainable = parameters["p4"].trainable = False
    assert slices_of(parameters) == (ParameterSlice(0, 6), ParameterSlice(16, 20))
    for parameter in parameters:
        parameter.trainable = False
    assert slices_of(parameters) == ()


def test_biases_are_what_has_fewer_than_two_axes():
    parameters = vector()
    assert slices_of(parameters, decay_biases=False) == (
        ParameterSlice(0, 6, True), ParameterSlice(6, 8, False),
        ParameterSlice(8, 16, True), ParameterSlice(16, 21, False),
    )  # fmt: skip
    parameters["p2"].trainable = False
    assert slices_of(parameters, decay_biases=False) == (
        ParameterSlice(0, 6, True), ParameterSlice(6, 8, False), ParameterSlice(16, 21, False),
    )  # fmt: skip


def test_a_vector_of_nothing_and_parameters_of_no_numbers_have_no_parts():
    assert slices_of(vector([])) == ()
    assert slices_of(vector([(0, 3), (2,), (0,)])) == (ParameterSlice(0, 2),)
    assert slices_of(vector([(0, 3), (2,)]), decay_biases=False) == (ParameterSlice(0, 2, False),)
    for shapes in ([], [(0, 3)]):
        Descent(Adam(0.1), vector(shapes)).step(np.zeros(0), np.zeros(0))


# --- frozen bits do not move ---------------------------------------------------------------------


@pytest.mark.parametrize("kind", [*KINDS, *OWN], ids=repr)
@given(seed=st.integers(0, 2**32 - 1), clips=st.booleans())
@settings(max_examples=25)
def test_no_optimizer_moves_a_bit_of_what_is_frozen(kind, seed, clips):
    """Whatever was remembered before, and whenever it is frozen and let go in the run."""
    rng = np.random.default_rng(seed)
    optimizer, parameters = copy.deepcopy(kind), vector(seed=seed)
    if clips and not isinstance(kind, SignDescent):
        optimizer.clip_norm, optimizer.clip_value = 1.0, 0.5
    descent = Descent(optimizer, parameters)
    for _ in range(8):
        for parameter in parameters:
            if rng.integers(3) == 0:
                parameter.trainable = bool(rng.integers(2))
        put_gradient(parameters, rng)
        before = {p.path: p.value.copy() for p in parameters}
        with np.errstate(all="raise"):
            descent.step(parameters.value, parameters.grad)
        for parameter in parameters:
            moved = parameter.value != before[parameter.path]
            assert np.all(moved) if parameter.trainable else not np.any(moved)


@every_kind
def test_optimizer_state_of_frozen_parameters_stays(kind):
    rng = np.random.default_rng(0)
    optimizer, parameters = copy.deepcopy(kind), vector()
    descent = Descent(optimizer, parameters)
    for _ in range(3):
        put_gradient(parameters, rng)
        descent.step(parameters.value, parameters.grad)
    parameters["p2"].trainable = False
    before = {name: held.copy() for name, held in memory(optimizer).items()}
    for _ in range(3):
        put_gradient(parameters, rng)
        descent.step(parameters.value, parameters.grad)
    for name, held in memory(optimizer).items():
        np.testing.assert_array_equal(held[8:16], before[name][8:16])
        assert np.all(held[:8] != before[name][:8])


@every_kind
@pytest.mark.parametrize("sizes", [(3, 5, 4), (CHUNK_SIZE + 7, 2 * CHUNK_SIZE, CHUNK_SIZE - 1)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("clipping", [{}, {"clip_norm": 0.5, "clip_value": 0.25}])
def test_the_rest_moves_bit_for_bit_as_a_separate_vector(kind, sizes, dtype, clipping):
    rng = np.random.default_rng(1)
    whole, own = copy.deepcopy(kind), copy.deepcopy(kind)
    for optimizer in (whole, own):
        for name, limit in clipping.items():
            setattr(optimizer, name, limit)
    parameters = vector([(size,) for size in sizes], dtype=dtype)
    parameters["p1"].trainable = False
    free = slice(0, sizes[0])
    alone = parameters.value[free].copy()
    parameters["p2"].trainable = False  # with one slice, the norm is summed in the same order
    for _ in range(3):
        put_gradient(parameters, rng)
        whole.descend(parameters)
        own.step(alone, parameters.grad[free].copy())
    np.testing.assert_array_equal(parameters.value[free], alone)
    for name, held in memory(own).items():
        np.testing.assert_array_equal(memory(whole)[name][free], held)


@every_kind
@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=20)
def test_each_parameter_continues_as_if_the_missed_steps_had_not_happened(kind, seed):
    """As with an optimizer for each parameter, which takes a step when that is not frozen."""
    rng = np.random.default_rng(seed)
    optimizer, parameters = copy.deepcopy(kind), vector(seed=seed)
    alone = [(copy.deepcopy(kind), p.value.ravel().copy()) for p in parameters]
    descent = Descent(optimizer, parameters)
    for _ in range(12):
        for parameter in parameters:
            if rng.integers(3) == 0:
                parameter.trainable = bool(rng.integers(2))
        put_gradient(parameters, rng)
        descent.step(parameters.value, parameters.grad)
        for parameter, (own, value) in zip(parameters, alone, strict=True):
            if parameter.trainable:
                own.step(value, parameter.grad.ravel().copy())
    for parameter, (_, value) in zip(parameters, alone, strict=True):
        np.testing.assert_array_equal(parameter.value.ravel(), value)


def test_a_part_that_joins_late_is_not_pushed_farther_than_the_learning_rate():
    """The correction of Adam's first steps is for each part; without it this would be 6 η."""
    parameters, optimizer = vector([(2,), (2,)]), Adam(0.01)
    parameters["p1"].trainable = False
    for _ in range(200):
        put_gradient(parameters, np.random.default_rng(0))
        optimizer.descend(parameters)
    parameters["p1"].trainable = True
    for _ in range(20):
        before = parameters["p1"].value.copy()
        put_gradient(parameters, np.random.default_rng(0))
        optimizer.descend(parameters)
        assert np.all(np.abs(parameters["p1"].value - before) <= 0.01 * (1 + 1e-6))


def test_missed_steps_are_counted_in_few_slices_however_long_training_lasts():
    optimizer, parameters = Adam(0.1), vector([(2, 1)] * 6)
    descent = Descent(optimizer, parameters)
    counts = np.zeros(6, int)
    rng = np.random.default_rng(0)
    for _ in range(300):
        for n, parameter in enumerate(parameters):
            parameter.trainable = bool(rng.integers(2))
            counts[n] += not parameter.trainable
        put_gradient(parameters, rng)
        descent.step(parameters.value, parameters.grad)
        found = np.zeros(12, int)
        for start, stop, steps in optimizer.missed:
            found[start:stop] = steps
        np.testing.assert_array_equal(found[::2], counts)
        alike = groupby((int(n), p.trainable) for n, p in zip(counts, parameters, strict=True))
        assert len(optimizer.missed) == sum(n > 0 for (n, _), _ in alike)
    assert optimizer.steps == 300


@pytest.mark.parametrize("again", [copy.deepcopy, lambda o: pickle.loads(pickle.dumps(o))])
def test_a_copied_optimizer_counts_missed_steps_for_itself(again):
    optimizer, parameters, rng = Adam(0.1), vector(), np.random.default_rng(0)
    parameters["p0"].trainable = False
    for _ in range(2):
        put_gradient(parameters, rng)
        optimizer.descend(parameters)
    other, others = again(optimizer), again(parameters)
    for _ in range(2):
        other.descend(others)
    assert (optimizer.missed, other.missed) == ([[0, 6, 2]], [[0, 6, 4]])


def test_the_norm_is_that_of_what_moves():
    parameters = vector([(2,), (2,)])
    parameters["p0"].trainable = False
    start, gradient = parameters.value.copy(), np.array([100.0, 100.0, 3.0, -4.0])
    optimizer = SGD(1.0, clip_norm=1.0)
    optimizer.step_parts(parameters.value, gradient, slices_of(parameters))
    moved = start - parameters.value
    np.testing.assert_allclose(moved, [0, 0, 0.6, -0.8], rtol=1e-6)


@every_kind
def test_with_everything_frozen_nothing_happens(kind):
    optimizer, parameters = copy.deepcopy(kind), vector()
    put_gradient(parameters, np.random.default_rng(0))
    optimizer.descend(parameters)
    for parameter in parameters:
        parameter.trainable = False
    before, held = parameters.value.copy(), copy.deepcopy(memory(optimizer))
    optimizer.descend(parameters)
    np.testing.assert_array_equal(parameters.value, before)
    for name, array in memory(optimizer).items():
        np.testing.assert_array_equal(array, held[name])


# --- a custom optimizer --------------------------------------------------------------------------


def test_if_a_custom_step_fails_frozen_parameters_are_restored():
    @define
    class Fails(Optimizer):
        def step(self, value, gradient):
            value[:] = np.nan
            raise ArithmeticError

    parameters = vector()
    parameters["p2"].trainable = False
    before = parameters["p2"].value.copy()
    with pytest.raises(ArithmeticError):
        Fails(0.1).descend(parameters)
    np.testing.assert_array_equal(parameters["p2"].value, before)


def test_a_custom_optimizer_continues_where_it_was_after_unfreezing():
    parameters, optimizer = vector(), SignDescent(0.1)
    descent, rng = Descent(optimizer, parameters), np.random.default_rng(0)
    for step in range(6):
        parameters["p2"].trainable = step not in (2, 3)
        put_gradient(parameters, rng)
        descent.step(parameters.value, parameters.grad)
    assert optimizer.velocity.size == 21


def test_what_inherits_from_an_optimizer_leaves_biases_out_of_the_decay_as_that_does():
    parameters = vector()
    start = parameters.value.copy()
    for parameter in parameters:
        parameter.zero_grad()
    Noisy(0.1, weight_decay=0.0).descend(plain := vector())
    Noisy(0.1, weight_decay=0.1, decay_biases=False).descend(parameters)
    np.testing.assert_array_equal(parameters["p1"].value, plain["p1"].value)
    assert np.all(parameters["p0"].value != plain["p0"].value)
    assert np.all(parameters.value != start)


# --- weight decay without biases -----------------------------------------------------------------


@pytest.mark.parametrize("kind", DECAYING, ids=repr)
@pytest.mark.parametrize("n", [1, CHUNK_SIZE + 3])
def test_biases_are_left_out_of_the_decay_and_the_rest_is_not(kind, n):
    rng = np.random.default_rng(0)
    shapes = [(3, n), (n,), (2, 2), ()]
    both, with_decay, without = vector(shapes), vector(shapes), vector(shapes)
    optimizers = [copy.deepcopy(kind) for _ in range(3)]
    optimizers[0].decay_biases, optimizers[2].weight_decay = False, 0.0
    for seed in rng.integers(2**32, size=4):
        for optimizer, parameters in zip(optimizers, (both, with_decay, without), strict=True):
            put_gradient(parameters, np.random.default_rng(seed))
            optimizer.descend(parameters)
    for n, parameter in enumerate(both):
        expected, other = (
            (with_decay, without) if len(parameter.shape) > 1 else (without, with_decay)
        )
        np.testing.assert_array_equal(parameter.value, expected[n].value)
        assert np.any(parameter.value != other[n].value)


@pytest.mark.parametrize("kind", DECAYING, ids=repr)
def test_a_step_with_two_plain_vectors_decays_all_of_them(kind):
    spares, plain = copy.deepcopy(kind), copy.deepcopy(kind)
    spares.decay_biases = False
    value, gradient = np.ones(5), np.ones(5)
    other = value.copy()
    for _ in range(2):
        spares.step(value, gradient)
        plain.step(other, gradient)
    np.testing.assert_array_equal(value, other)


@every_kind
def test_excluding_biases_is_shown_in_the_repr(kind):
    text = repr(kind)
    assert "decay_biases" not in text
    optimizer = eval(text[:-1] + ", decay_biases=False)")
    assert repr(optimizer) == text[:-1] + ", decay_biases=False)"
    assert optimizer != kind == eval(text)


@every_kind
@pytest.mark.parametrize("bad", [0, 1, None, "yes"], ids=repr)
def test_decay_biases_is_true_or_false(kind, bad):
    with pytest.raises(ConfigurationError, match="decay_biases") as caught:
        type(kind)(0.1, decay_biases=bad)
    assert caught.value.hint == "decay_biases=True or decay_biases=False"


# --- detection and its cost ----------------------------------------------------------------------


def test_a_descent_checks_the_parameters_only_after_something_was_frozen():
    class Counts(ParameterVector):
        looked = 0

        def __iter__(self):
            self.looked += 1
            return super().__iter__()

    parameters = Counts({p.path: p for p in vector()})
    descent = Descent(SGD(0.1), parameters)
    assert (descent.slices, parameters.looked) == (None, 1)
    for _ in range(5):
        descent.step(parameters.value, parameters.grad)
    assert parameters.looked == 1
    parameters["p0"].trainable = False
    for _ in range(5):
        descent.step(parameters.value, parameters.grad)
    assert (descent.slices, parameters.looked) == ((ParameterSlice(6, 21),), 2)
    parameters["p0"].trainable = True
    assert (descent.slices, parameters.looked) == (None, 3)


def test_a_descent_shows_the_stretches_that_move():
    parameters = vector()
    descent, value = Descent(SGD(0.1), parameters), parameters.value
    assert descent.moving(value)[0] is value
    parameters["p1"].trainable = False
    for stretch in descent.moving(value):
        stretch[:] = 0
    for parameter in parameters:
        assert np.any(parameter.value) == (parameter.path == "p1")


def test_a_descent_notices_that_biases_are_excluded():
    optimizer, parameters = Adam(0.1, weight_decay=0.1), vector()
    descent = Descent(optimizer, parameters)
    assert descent.slices is None
    optimizer.decay_biases = False
    assert [each.decays for each in descent.slices] == [True, False, True, False]


@pytest.mark.parametrize("kind", [*KINDS, Noisy(0.1), Halves(0.1)], ids=repr)
@pytest.mark.parametrize("option", ["plain", "frozen", "without biases"])
def test_a_step_needs_no_memory_that_grows_with_the_vector(kind, option):
    for n in (100_000, 1_000_000):
        optimizer, parameters = copy.deepcopy(kind), vector([(n // 4,), (n // 2, 1), (n // 4,)])
        if option == "frozen":
            parameters["p1"].trainable = False
        elif option == "without biases" and not isinstance(kind, Halves):
            optimizer.decay_biases = False
        descent = Descent(optimizer, parameters)
        value, gradient = parameters.value, parameters.grad
        descent.step(value, gradient)
        tracemalloc.start()
        try:
            descent.step(value, gradient)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert peak < 20_000  # a few views; the vectors have 0.8 and 8 million bytes


def test_nothing_of_a_frozen_gradient_is_read_or_written():
    """Its memory could be anything: here it is what would spoil every sum."""
    for kind in KINDS:
        optimizer, parameters = copy.deepcopy(kind), vector()
        optimizer.clip_norm = 1.0
        parameters["p2"].trainable = False
        put_gradient(parameters, np.random.default_rng(0))
        gradient = parameters.grad
        gradient[8:16] = np.nan
        optimizer.descend(parameters)
        assert np.all(np.isfinite(parameters.value))
        assert np.all(np.isnan(gradient[8:16]))


# --- invalid slices ------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [*KINDS, *OWN], ids=repr)
@pytest.mark.parametrize(
    "parts",
    [[(0, 22)], [(5, 3)], [(4, 4)], [(-1, 3)], [(3, 6), (0, 2)], [(0, 6), (5, 8)]],
    ids=str,
)
def test_slices_that_do_not_fit_are_refused_and_nothing_moves(kind, parts):
    optimizer, parameters = copy.deepcopy(kind), vector()
    before = parameters.value.copy()
    with pytest.raises(ShapeError, match="slices") as caught:
        optimizer.step_parts(
            parameters.value,
            parameters.grad,
            [ParameterSlice(start, stop) for start, stop in parts],
        )
    assert caught.value.place == type(kind).__name__
    assert "21 numbers" in caught.value.expected
    np.testing.assert_array_equal(parameters.value, before)
    assert not memory(optimizer)


# --- in training ---------------------------------------------------------------------------------


def network():
    model = Sequential([Dense(6), Activation("tanh"), Dense(4), Activation("tanh"), Dense(2)])
    model.build((3,), rng=0)
    return model


def data():
    rng = np.random.default_rng(0)
    return rng.normal(size=(32, 3)), rng.normal(size=(32, 2))


@pytest.mark.parametrize("kind", [*KINDS, *OWN], ids=repr)
def test_a_trainer_moves_no_bit_of_a_frozen_layer(kind):
    model = network()
    trainer = Trainer(model, HalfSquaredError(), copy.deepcopy(kind), rng=0)
    trainer.fit(*data(), epochs=1, batch_size=8)
    model["dense_2"].freeze()
    before = {p.path: p.value.copy() for p in model.parameters}
    trainer.fit(*data(), epochs=2, batch_size=8)
    for parameter in model.parameters:
        moved = parameter.value != before[parameter.path]
        assert np.any(moved) == (not parameter.path.startswith("dense_2"))
    model.unfreeze()
    trainer.fit(*data(), epochs=1, batch_size=8)
    assert np.any(model["dense_2"].weights.value != before["dense_2.weights"])


def test_a_trainer_leaves_biases_out_of_the_decay():
    models = [network() for _ in range(2)]
    for model, decay_biases in zip(models, (True, False), strict=True):
        model.parameters.value += 1.0
        optimizer = AdamW(0.01, weight_decay=0.5, decay_biases=decay_biases)
        loss = HalfSquaredError()
        Trainer(model, loss, optimizer, rng=0).fit(*data(), epochs=1, batch_size=32)
    one, other = models
    for mine, its in zip(one.parameters, other.parameters, strict=True):
        if len(mine.shape) == 1:  # after one step the difference is that of the decay alone
            np.testing.assert_allclose(its.value - mine.value, 0.01 * 0.5, rtol=1e-3)
        else:
            np.testing.assert_array_equal(mine.value, its.value)
