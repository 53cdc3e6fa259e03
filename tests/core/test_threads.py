"""Several threads make the first call to a model: exactly one builds it."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from chainrule import Activation, Add, Dense, Graph, Input, Layer, Residual, Sequential
from chainrule.core.errors import BuildError

X = np.random.default_rng(0).normal(size=(4, 3))


class Counted(Layer):
    """A layer that counts how often it was built."""

    builds = 0

    def build(self, shape: Any) -> None:
        type(self).builds += 1
        self.weights = self.parameter("weights", (*shape, 2), "glorot_uniform")

    def forward(self, x: Any) -> Any:
        self.x = x
        return x @ self.weights.value

    def backward(self, delta: Any) -> Any:
        self.weights.accumulate(self.x.T @ delta)
        return delta @ self.weights.value.T


def a_graph() -> Layer:
    node = Input((3,))
    return Graph(node, Counted()(Add()(Dense(4)(node), Dense(4)(node))))


MODELS: dict[str, Any] = {
    "a layer": Counted,
    "a sequence": lambda: Sequential([Dense(5), Activation("tanh"), Residual(Dense(5)), Counted()]),
    "a graph": a_graph,
}
CALLS: dict[str, Any] = {
    "call": lambda model: model(X),
    "apply": lambda model: model.apply(X),
    "forward": lambda model: model.forward(X),
}


@pytest.fixture(autouse=True)
def switching_often() -> Iterator[None]:
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(interval)


def from_threads(action: Any, count: int = 8) -> list[Any]:
    """What the action returns, or its error, in each of several threads that begin together."""
    begin, results = threading.Barrier(count), []

    def run() -> None:
        begin.wait()
        try:
            results.append(action())
        except Exception as error:
            results.append(error)

    threads = [threading.Thread(target=run) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("call", CALLS)
def test_of_several_threads_that_make_the_first_call_one_builds(name, call):
    for _ in range(10):
        Counted.builds = 0
        model = MODELS[name]()
        results = from_threads(lambda model=model: CALLS[call](model))
        assert Counted.builds == 1
        assert model.parameters.value.base is None or model.parameters.value.flags.c_contiguous
        for y in results:
            np.testing.assert_array_equal(y, model(X))


def test_of_several_threads_that_build_one_builds_and_the_others_get_the_error_for_a_built_layer():
    for _ in range(10):
        model = MODELS["a sequence"]()
        results = from_threads(lambda model=model: model.build((3,), rng=0))
        assert sum(result is None for result in results) == 1
        assert all(isinstance(result, BuildError) for result in results if result is not None)
        expected = MODELS["a sequence"]()
        expected.build((3,), rng=0)
        np.testing.assert_array_equal(model.parameters.value, expected.parameters.value)


def test_after_a_build_that_failed_another_thread_builds():
    failed = []

    class FailsOnce(Counted):
        def build(self, shape: Any) -> None:
            if not failed:
                failed.append(threading.get_ident())
                raise RuntimeError("once")
            super().build(shape)

    model = Sequential([Dense(2), FailsOnce()])
    results = from_threads(lambda: model(X))
    errors = [result for result in results if isinstance(result, Exception)]
    assert len(errors) == 1 and isinstance(errors[0], BuildError)
    assert all(np.array_equal(y, model(X)) for y in results if y is not errors[0])


def test_a_built_layer_can_be_used_while_another_thread_builds_a_model_around_it():
    shared = Dense(3)
    shared.build((3,), rng=0)
    expected, ready, go = shared(X), threading.Event(), threading.Event()

    class Waits(Layer):
        def build(self, shape: Any) -> None:
            ready.set()
            go.wait(5)

        def forward(self, x: Any) -> Any:
            return x

    outer = threading.Thread(target=lambda: Sequential([shared, Waits()])(X))
    outer.start()
    ready.wait(5)
    results: list[Any] = []
    inner = threading.Thread(target=lambda: results.append(shared(X)))
    inner.start()
    go.set()
    outer.join()
    inner.join()
    np.testing.assert_array_equal(results[0], expected)


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_child_that_was_forked_while_a_thread_built_can_build():
    building, go = threading.Event(), threading.Event()

    class Waits(Counted):
        def build(self, shape: Any) -> None:
            building.set()
            go.wait(5)
            super().build(shape)

    thread = threading.Thread(target=lambda: Waits()(X))
    thread.start()
    building.wait(5)
    child = os.fork()
    if not child:
        try:
            Dense(2)(X)
        except BaseException:
            os._exit(1)
        os._exit(0)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    go.set()
    thread.join()
    assert code == 0


def test_a_thread_that_waits_for_a_build_that_fails_builds_itself():
    """The failing build has set the shapes already when the other thread asks for them."""
    is_trying, may_fail = threading.Event(), threading.Event()

    class FailsLate(Counted):
        has_failed = False

        def forward(self, x: Any) -> Any:
            if not FailsLate.has_failed and len(x) == 0:
                FailsLate.has_failed = True
                is_trying.set()
                may_fail.wait(10)
                raise RuntimeError("late")
            return super().forward(x)

    model = FailsLate()
    results: list[Any] = []

    def first() -> None:
        try:
            model(X)
        except BuildError as error:
            results.append(error)

    one = threading.Thread(target=first)
    one.start()
    assert is_trying.wait(10)
    other = threading.Thread(target=lambda: results.append(model(X)))
    other.start()
    other.join(0.2)  # it waits
    may_fail.set()
    one.join(10)
    other.join(10)
    kinds = [type(result) for result in results]
    assert sorted(map(str, kinds)) == sorted(map(str, [BuildError, np.ndarray]))
