"""Layers of a script or a notebook reach other processes: cloudpickle brings the class along."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap

import pytest

SCRIPT = '''
import pickle, subprocess, sys
from typing import Any

import cloudpickle
import numpy as np
from attrs import define, field

from chainrule import Dense, Graph, Input, Layer, Sequential, Trainer, losses, optimizers


class Scale(Layer):
    start: float = field(default=2.0, converter=float)
    first: Any = field(init=False)

    def __attrs_post_init__(self):
        self.first = self.start

    def build(self, input_shape, **options: Any):
        self.scale = self.parameter("scale", input_shape, self.start)

    def forward(self, x):
        self.x = x
        return x * self.scale.value

    def backward(self, delta):
        self.scale.accumulate((delta * self.x).sum(axis=0))
        return delta * self.scale.value


class Shifted(Scale):
    offset: float = 1.0

    def forward(self, x):
        return super().forward(x) + self.offset

    def backward(self, delta):
        return super().backward(delta)


@define
class Decorated(Scale):
    offset: float = 1.0

    def forward(self, x):
        return super().forward(x) - self.offset

    def backward(self, delta):
        return super().backward(delta)


class Tripled(Dense):
    def forward(self, x):
        return 3 * super().forward(x)

    def backward(self, delta):
        return super().backward(3 * delta)


class Chain(Sequential):
    note: str = "mine"


class Net(Graph):
    pass


X = np.arange(6.0).reshape(2, 3) / 10
x = Input((3,))
LAYERS = {
    "own": Scale(0.5),
    "inherits": Shifted(0.5),
    "decorated": Decorated(0.5),
    "dense": Tripled(3),
    "sequence": Chain([Shifted(), Dense(3), Tripled(3)], note="other"),
    "graph": Net(x, Decorated()(Scale()(x))),
}


def results(layer):
    """All that a layer does, as bytes: it is built if it is not, and trained for three epochs."""
    fresh = layer.unbuilt()
    fresh.build((3,), rng=1, dtype="float32")
    found = [fresh(X.astype("float32")), layer.forward(X)]
    found += [layer.backward(np.ones_like(found[-1])), layer.parameters.grad.copy(), layer(X)]
    trainer = Trainer(layer, losses.HalfSquaredError(), optimizers.SGD(1e-4), rng=0)
    trainer.fit(X, 0 * X, epochs=3, progress=False)
    found.append(layer.parameters.value)
    try:
        layer.forward(X[:, :2])
    except Exception as error:
        found.append(np.array(str(error)))
    try:
        layer.walk().__next__()[1].nothing
    except AttributeError as error:
        found.append(np.array(str(error)))
    return [array.tobytes() for array in found], repr(layer), layer == layer.unbuilt()
'''

ROUND_TRIP = (
    SCRIPT
    + """
READ = (
    "import sys, pickle; pairs = pickle.load(sys.stdin.buffer); "
    "sys.stdout.buffer.write(pickle.dumps([use(layer) for use, layer in pairs]))"
)
pairs = []
for state in ("unbuilt", "built", "trained"):
    for name, layer in LAYERS.items():
        layer = layer.unbuilt()
        if state != "unbuilt":
            layer.build((3,), rng=0)
        if state == "trained":
            results(layer)
        pairs.append(layer)
sent = cloudpickle.dumps([(results, layer) for layer in pairs])
there = pickle.loads(
    subprocess.run([sys.executable, "-c", READ], input=sent, capture_output=True, check=True).stdout
)
rng = np.random.default_rng
for layer, (arrays, text, is_equal) in zip(pairs, there, strict=True):
    if not layer.is_built:
        continue  # its parameters are drawn anew in each process
    here = results(layer)
    assert arrays == here[0], (layer, [a == b for a, b in zip(arrays, here[0])])
    assert (text, is_equal) == here[1:]
assert len(there) == 18

# A class comes back as it is, with its methods wrapped once, and again and again.
data = cloudpickle.dumps((Shifted, Decorated, Tripled, Chain))
for name in ("Scale", "Shifted", "Decorated", "Tripled", "Chain", "Net"):
    del globals()[name]
cloudpickle.cloudpickle._DYNAMIC_CLASS_TRACKER_BY_ID.clear()
cloudpickle.cloudpickle._DYNAMIC_CLASS_TRACKER_BY_CLASS.clear()
shifted, decorated, tripled, chain = pickle.loads(data)
assert shifted(0.5, 3.0) == shifted(0.5, offset=3.0) != shifted()
assert repr(shifted(0.5)) == "Shifted(start=0.5, first=0.5, offset=1.0)"
for cls in (shifted, decorated):
    layer = cls()
    layer.forward(X)
    try:
        layer.scale = np.ones(3)
    except Exception as error:
        assert "is a parameter, which a plain" in str(error)
    else:
        raise AssertionError("not guarded")
    assert not hasattr(cls.forward.__wrapped__, "__wrapped__")


class Below(shifted):  # and can be inherited from, decorated or not
    more: int = 3

    def forward(self, x):
        return super().forward(x) * self.more


@define
class BelowDecorated(shifted):
    more: int = 3

    def forward(self, x):
        return super().forward(x) * self.more


np.testing.assert_allclose(Below()(X), 3 * (2 * X + 1))
np.testing.assert_allclose(BelowDecorated()(X), 3 * (2 * X + 1))
print("done")
"""
)

WORKERS = (
    SCRIPT
    + """
from joblib import Parallel, delayed

if __name__ == "__main__":
    layers = [layer.unbuilt() for layer in LAYERS.values()]
    for layer in layers:
        layer.build((3,), rng=0)
    there = Parallel(n_jobs=2)(delayed(results)(layer) for layer in layers)
    assert there == [results(layer) for layer in layers]
    print("done")
"""
)


@pytest.mark.parametrize("script", [ROUND_TRIP, WORKERS], ids=["cloudpickle", "joblib"])
def test_layers_of_a_script_reach_other_processes(script, tmp_path):
    path = tmp_path / "script.py"
    path.write_text(textwrap.dedent(script))
    ran = subprocess.run(
        [sys.executable, str(path)],
        capture_output=True,
        text=True,
        env={**os.environ, "OPENBLAS_NUM_THREADS": "1", "JOBLIB_MULTIPROCESSING": "1"},
        timeout=120,
        check=False,
    )
    assert (ran.returncode, ran.stdout) == (0, "done\n"), ran.stderr
