"""The figures that can be changed: their numbers are the lecture's, and hands and keys move them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from chainrule import lecture

pytestmark = pytest.mark.site


def tanh(z: Any) -> tuple[Any, Any]:
    return np.tanh(z), 1 - np.tanh(z) ** 2


def relu(z: Any) -> tuple[Any, Any]:
    return np.maximum(z, 0), np.where(z > 0, 1.0, 0.0)


def linear(z: Any) -> tuple[Any, Any]:
    return z, np.ones_like(z)


F_DF = {"sigmoid": lecture.net_f_df, "tanh": tanh, "relu": relu, "linear": linear}

# Ten steps of training, in the page; gives the costs and everything of the last step.
TRAIN = """async ([sizes, names, weights, biases, x, t, eta]) => {
  const net = await import(new URL("../../javascripts/network.js", location.href));
  const network = names.map((f, n) => net.layer(sizes[n], sizes[n + 1], f));
  network.forEach((one, n) => { one.w.set(weights[n]); one.b.set(biases[n]); });
  const costs = [];
  let last;
  for (let step = 0; step < 10; step++) {
    last = net.train(network, Float64Array.from(x), Float64Array.from(t), eta);
    costs.push(last.cost);
  }
  const plain = (arrays) => arrays.map((array) => [...array]);
  return {
    costs, y: plain(last.pass.y), deltas: plain(last.gradient.deltas),
    dw: plain(last.gradient.dw), db: plain(last.gradient.db),
    w: network.map((one) => [...one.w]), b: network.map((one) => [...one.b]),
  };
}"""


@pytest.mark.parametrize(
    ("sizes", "names"),
    [
        ([2, 2, 1], ["sigmoid", "sigmoid"]),
        ([2, 20, 20, 1], ["relu", "relu", "linear"]),
        ([3, 5, 4, 2], ["tanh", "sigmoid", "linear"]),
    ],
)
def test_ten_steps_are_the_lectures(
    browser: Any, address: str, sizes: list[int], names: list[str]
) -> None:
    rng = np.random.default_rng(len(sizes))
    weights = [rng.normal(size=pair) for pair in zip(sizes, sizes[1:], strict=False)]
    biases = [rng.normal(size=size) for size in sizes[1:]]
    x, t, eta = rng.normal(size=(7, sizes[0])), rng.normal(size=(7, sizes[-1])), 0.05
    page = browser.new_page()
    page.goto(f"{address}/lecture/chain-rule/")
    flat = [[a.ravel().tolist() for a in arrays] for arrays in (weights, biases)]
    found = page.evaluate(TRAIN, [sizes, names, *flat, x.ravel().tolist(), t.ravel().tolist(), eta])
    page.close()
    f_df = [F_DF[name] for name in names]
    for step in range(10):
        y_layer, df_layer = lecture.apply_net(x, weights, biases, f_df)
        gradients = lecture.backprop(t, y_layer, df_layer, weights)
        cost = lecture.train_net(x, t, eta, weights, biases, f_df)
        np.testing.assert_allclose(found["costs"][step], cost, rtol=1e-12)
    delta = (y_layer[-1] - t) * df_layer[-1]
    np.testing.assert_allclose(found["deltas"][-1], delta.ravel(), rtol=1e-12, atol=1e-12)
    computed = {"y": y_layer, "dw": gradients[0], "db": gradients[1], "w": weights, "b": biases}
    for name, arrays in computed.items():
        for theirs, ours in zip(found[name], arrays, strict=True):
            np.testing.assert_allclose(theirs, ours.ravel(), rtol=1e-12, atol=1e-12, err_msg=name)
