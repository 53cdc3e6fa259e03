"""The state of an optimizer: all that another one needs to continue; invalid ones are refused."""

from __future__ import annotations

import copy
import json

import numpy as np
import pytest
from attrs import define, field
from hypothesis import given, settings
from hypothesis import strategies as st

from chainrule.core.errors import ConfigurationError
from chainrule.core.parameter import Parameter, ParameterVector
from chainrule.optimizers import SGD, Adagrad, Adam, Adamax, AdamW, Lion, Optimizer, RMSprop
from chainrule.optimizers.optimizer import Descent

KINDS = [
    SGD(0.1),
    SGD(0.1, momentum=0.9, nesterov=True, weight_decay=0.1),
    RMSprop(0.1, epsilon=0.1),
    RMSprop(0.1, centered=True, momentum=0.5, epsilon=0.1, weight_decay=0.1),
    Adagrad(0.1, learning_rate_decay=0.1, initial_accumulator=0.1, weight_decay=0.1),
    Adam(0.1, weight_decay=0.1, clip_norm=1.0),
    AdamW(0.1, weight_decay=0.1, decay_biases=False),
    Adamax(0.1, weight_decay=0.1),
    Lion(0.1, weight_decay=0.1, clip_value=0.5),
]


@define
class Averaged(Optimizer):
    """A custom optimizer that follows the convention for remembered values."""

    seen: list[int] = field(factory=list, init=False)
    best: object = field(default=None, init=False)
    mean: object = field(default=None, init=False)
    _scratch: object = field(default=None, init=False)

    def step(self, value, gradient):
        self.check(value, gradient)
        self._scratch = np.abs(gradient)
        self.best = min(np.float64(self.best or np.inf), self._scratch.max())
        self.mean = gradient / 2 if self.mean is None else (self.mean + gradient) / 2
        self.seen.append(value.size)
        value -= self.learning_rate * self.mean / len(self.seen)


every_kind = pytest.mark.parametrize("kind", [*KINDS, Averaged(0.1)], ids=repr)


def parameters(rng):
    shapes = {"w": (2, 3), "b": (3,), "v": (3, 2)}
    return ParameterVector({n: Parameter(n, rng.normal(size=s)) for n, s in shapes.items()})


def step(optimizer, vector, rng):
    for parameter in vector:
        parameter.trainable = bool(rng.integers(4))
    vector.zero_grad()
    for parameter in vector:
        parameter.accumulate(rng.normal(size=parameter.shape))
    optimizer.learning_rate = 0.2 * rng.uniform()
    optimizer.descend(vector)


@every_kind
@given(seed=st.integers(0, 2**32 - 1), steps=st.integers(0, 8), split=st.integers(0, 8))
@settings(max_examples=25)
def test_a_new_optimizer_continues_bit_for_bit_wherever_the_run_is_split(kind, seed, steps, split):
    rng = np.random.default_rng(seed)
    optimizer, vector = copy.deepcopy(kind), parameters(rng)
    for _ in range(split):
        step(optimizer, vector, rng)
    resumed, other = copy.deepcopy(kind), copy.deepcopy(vector)
    resumed.restore(optimizer.state())
    assert resumed.learning_rate == optimizer.learning_rate
    for draw, own, its in ((rng, optimizer, vector), (copy.deepcopy(rng), resumed, other)):
        for _ in range(steps):
            step(own, its, draw)
    np.testing.assert_array_equal(other.value, vector.value)
    same = resumed.state()
    for name, value in optimizer.state().items():
        np.testing.assert_array_equal(same[name], value)


@every_kind
def test_the_state_and_the_restored_state_are_copies(kind):
    rng = np.random.default_rng(0)
    optimizer, vector = copy.deepcopy(kind), parameters(rng)
    step(optimizer, vector, rng)
    state = optimizer.state()
    kept = copy.deepcopy(state)
    resumed = copy.deepcopy(kind)
    resumed.restore(state)
    for each in (optimizer, resumed):
        step(each, copy.deepcopy(vector), rng)
        for name, value in kept.items():
            np.testing.assert_array_equal(state[name], value)


@every_kind
def test_the_state_is_arrays_and_plain_numbers_under_the_names_of_the_fields(kind):
    rng = np.random.default_rng(0)
    optimizer, vector = copy.deepcopy(kind), parameters(rng)
    for _ in range(3):
        step(optimizer, vector, rng)
    state = optimizer.state()
    assert state["class"] == type(kind).__name__
    assert not [name for name in state if name.startswith("_")]
    plain = {n: v for n, v in state.items() if not isinstance(v, np.ndarray)}
    assert json.loads(json.dumps(plain)) == plain
    assert not [name for name, value in plain.items() if isinstance(value, np.generic)]


def test_the_state_of_adam_by_its_names():
    optimizer = Adam(0.5)
    assert optimizer.state() == {
        "class": "Adam", "learning_rate": 0.5, "steps": 0, "missed": None,
        "first_moment": None, "second_moment": None,
    }  # fmt: skip
    optimizer.step(np.zeros(2), np.ones(2))
    state = optimizer.state()
    assert (state["steps"], type(state["steps"])) == (1, int)
    np.testing.assert_allclose(state["first_moment"], [0.1, 0.1])


def test_an_optimizer_can_return_to_an_earlier_state():
    rng = np.random.default_rng(0)
    optimizer, vector = Adam(0.1), parameters(rng)
    vector["b"].trainable = False
    descent = Descent(optimizer, vector)
    ends = []
    for _ in range(3):
        descent.step(vector.value, vector.grad)
    state, start = optimizer.state(), vector.value.copy()
    for _ in range(2):
        optimizer.restore(state)
        vector.value = start
        for _ in range(2):
            descent.step(vector.value, np.ones_like(start))
        assert optimizer.missed == [[6, 9, 5]]
        ends.append(vector.value.copy())
    np.testing.assert_array_equal(*ends)


def test_an_optimizer_restored_to_its_initial_state_starts_over():
    optimizer = Adam(0.1)
    optimizer.step(np.zeros(2), np.ones(2))
    optimizer.restore(Adam(0.3).state())
    assert (optimizer.learning_rate, optimizer.steps, optimizer.first_moment) == (0.3, 0, None)
    optimizer.step(np.zeros(5), np.ones(5))


@every_kind
@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda s: {**s, "class": "Adelta"}, ["another optimizer", "the state of Adelta"]),
        (lambda s: {n: v for n, v in s.items() if n != "class"}, ["no entry 'class'"]),
        (
            lambda s: {n: v for n, v in s.items() if n != "learning_rate"},
            ["missing: learning_rate"],
        ),
        (lambda s: {**s, "momentums": 1.0, "more": 2}, ["unknown: momentums, more"]),
        (lambda s: {**s, "learning_rate": -1.0}, ["learning_rate"]),
        (lambda s: {**s, "learning_rate": None}, ["learning_rate"]),
        (lambda s: list(s), ["not the state", "list"]),
        (lambda s: None, ["not the state", "NoneType"]),
    ],
)
def test_a_state_that_does_not_fit_is_refused_and_changes_nothing(kind, change, words):
    rng = np.random.default_rng(0)
    optimizer, vector = copy.deepcopy(kind), parameters(rng)
    step(optimizer, vector, rng)
    before = optimizer.state()
    step(donor := copy.deepcopy(kind), vector, rng)
    with pytest.raises(ConfigurationError) as caught:
        optimizer.restore(change(donor.state()))
    for word in words:
        assert word in str(caught.value)
    assert caught.value.place == type(kind).__name__
    assert caught.value.hint
    after = optimizer.state()
    assert after.keys() == before.keys()
    for name, value in before.items():
        np.testing.assert_array_equal(after[name], value)


@pytest.mark.parametrize(
    ("name", "bad"),
    [
        ("steps", -1),
        ("steps", 1.5),
        ("steps", None),
        ("steps", True),
        ("first_moment", [1.0, 2.0]),
        ("first_moment", np.zeros((2, 1))),
        ("first_moment", np.zeros(2, int)),
        ("second_moment", np.zeros(3)),
        ("second_moment", np.zeros(2, np.float32)),
        ("missed", 3),
        ("missed", [[0, 1]]),
        ("missed", [[1, 2, 1], [0, 1, 1]]),
        ("missed", [[0, 3, 1]]),
        ("missed", [[0, 1, -1]]),
        ("missed", [["a", 1, 1]]),
    ],
    ids=repr,
)
def test_an_invalid_state_of_adam_is_refused(name, bad):
    optimizer = Adam(0.1)
    optimizer.step(np.zeros(2), np.ones(2))
    before = optimizer.state()
    with pytest.raises(ConfigurationError, match="state") as caught:
        optimizer.restore({**before, "steps": 7, name: bad})
    assert name in caught.value.problem
    for key, value in before.items():
        np.testing.assert_array_equal(optimizer.state()[key], value)


def test_a_setter_that_raises_leaves_the_optimizer_unchanged():
    def is_short(owner, attribute, value):
        if len(value) > 2:
            raise ConfigurationError("too long")

    @define
    class Strict(Optimizer):
        first: int = field(default=0, init=False)
        notes: list[int] = field(factory=list, init=False, validator=is_short)

    optimizer = Strict(0.1)
    with pytest.raises(ConfigurationError, match="too long"):
        optimizer.restore({"class": "Strict", "learning_rate": 0.5, "first": 3, "notes": [1, 2, 3]})
    assert (optimizer.learning_rate, optimizer.first, optimizer.notes) == (0.1, 0, [])
