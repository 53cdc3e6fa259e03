"""The figures that can be changed: the numbers are the lecture's, and hand and keys move them."""

from __future__ import annotations

from itertools import pairwise
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
    weights = [rng.normal(size=pair) for pair in pairwise(sizes)]
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


@pytest.fixture(params=[(1280, "light"), (390, "dark")], ids=["wide", "phone"])
def page(request: pytest.FixtureRequest, browser: Any) -> Any:
    width, theme = request.param
    context = browser.new_context(
        color_scheme=theme, viewport={"width": width, "height": 844}, has_touch=width == 390
    )
    page = context.new_page()
    faults: list[str] = []
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("console", lambda message: message.type == "error" and faults.append(message.text))
    yield page
    context.close()
    assert not faults


def shown(page: Any) -> list[str]:
    """The numbers that the drawing shows."""
    return list(page.locator(".live svg[role=group] text:not(.later)").all_text_contents())


def test_one_goes_through_the_network_with_the_keyboard(page: Any, address: str) -> None:
    page.goto(f"{address}/lecture/chain-rule/")
    following = page.get_by_role("button", name="Next ▶")
    marked = []
    for _ in range(10):
        following.press("Enter")
        marked.append(page.locator(".live li.now").get_attribute("data-equation"))
    assert marked == [
        "forward", "forward", "forward", "cost", "output", "gradient",
        "hidden", "gradient", "hidden", "gradient",
    ]  # fmt: skip
    assert following.is_disabled()
    # The numbers of the page's tables: −3/32, 1/32 and so on, to four decimals.
    visible = shown(page)
    for number in (
        "−0.0938",
        "−0.0469",
        "0.0625",
        "0.0313",
        "−0.0625",
        "∂C/∂b −0.1250",
        "C = 0.1250",
    ):
        assert number in visible
    assert "∂C/∂w₂₂ = Δ₂ · x₂ = 0.0313 · 1.0000 = 0.0313" in page.locator(".says").inner_text()


def test_every_number_can_be_moved_by_keys_and_by_hand(page: Any, address: str) -> None:
    page.goto(f"{address}/lecture/chain-rule/")
    page.get_by_role("button", name="All").click()
    sliders = page.locator(".live [role=slider]")
    assert sliders.count() == 12  # two inputs, the target, nine parameters
    for number in range(12):
        slider = sliders.nth(number)
        before = float(slider.get_attribute("aria-valuenow"))
        slider.press("ArrowDown")
        after = float(slider.get_attribute("aria-valuenow"))
        assert -0.1 < after - before < 0, slider.get_attribute("aria-label")
    weight = page.get_by_role("slider", name="weight 1: to 1 from 1")
    weight.scroll_into_view_if_needed()
    before, box = float(weight.get_attribute("aria-valuenow")), weight.bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] / 2 + 50, box["y"] + box["height"] / 2, steps=3)
    page.mouse.up()
    assert float(weight.get_attribute("aria-valuenow")) > before + 0.5
    # What is shown is the lecture's, for the numbers as they are now.
    found = page.evaluate("""() => {
      const { network, input, target } = document.querySelector(".live").figure;
      const [w, b] = ["w", "b"].map(name => network.map(layer => [...layer[name]]));
      return { x: [...input], t: [...target], w, b };
    }""")
    weights = [np.reshape(found["w"][0], (2, 2)), np.reshape(found["w"][1], (2, 1))]
    biases = [np.array(b) for b in found["b"]]
    y_layer, df_layer = lecture.apply_net(np.array([found["x"]]), weights, biases)
    dw, _ = lecture.backprop(np.array([found["t"]]), y_layer, df_layer, weights)
    texts = shown(page)
    for value in [*dw[0].ravel(), *dw[1].ravel(), *y_layer[1].ravel(), *y_layer[2].ravel()]:
        expected = f"{value:.4f}" if abs(value) >= 1e-3 else f"{value:.1e}"
        mantissa, _, power = expected.partition("e")
        written = f"{mantissa}e{int(power)}" if power else mantissa
        assert written.replace("-", "−") in texts


def test_a_gradient_vanishes_and_a_step_lowers_the_cost(page: Any, address: str) -> None:
    page.goto(f"{address}/lecture/chain-rule/")
    page.get_by_label("numbers").select_option("certain")
    page.get_by_role("button", name="All").click()
    delta = next(text for text in shown(page) if text.startswith("Δ"))
    page.get_by_label("numbers").select_option("page")
    page.get_by_role("button", name="Step downhill").click()
    assert "e−4" in delta or "0.0009" in delta
    status = page.locator(".live .status").inner_text()
    before, after = status.removeprefix("C: ").split(" in ")[0].split(" → ")
    assert before == "0.1250" and float(after) < 0.125


def test_the_playground_learns_the_function_and_drawn_points(page: Any, address: str) -> None:
    page.goto(f"{address}/lecture/training/")
    figure = "document.querySelector('.live').figure"
    page.get_by_role("button", name="Train", exact=True).click()
    page.wait_for_function(f"{figure}.steps > 300", timeout=60_000)
    page.get_by_role("button", name="Pause").click()
    costs = page.evaluate(f"{figure}.costs")
    assert np.mean(costs[-30:]) < 0.3 * np.mean(costs[:3])
    page.get_by_label("learn").select_option("points")
    square = page.locator(".live .square canvas")
    square.focus()
    for key in ("Enter", "ArrowRight", "ArrowRight", "Enter"):
        square.press(key)
    assert page.evaluate(f"{figure}.points.length") == 2
    page.get_by_role("button", name="add a layer").click()
    page.get_by_role("button", name="fewer neurons in layer 3").click()
    assert page.evaluate(f"{figure}.network.map(layer => layer.size)") == [20, 20, 15, 1]
    page.get_by_role("button", name="One step").click()
    assert page.evaluate(f"{figure}.steps") == 1
    page.get_by_label("η").select_option("5 ")
    page.get_by_label("learn").select_option("function")
    page.get_by_role("button", name="Train", exact=True).click()
    page.wait_for_function(f"{figure}.trouble !== '' || {figure}.steps > 2000", timeout=60_000)
    assert "smaller η" in page.locator(".live .warning").inner_text()


def test_a_step_that_is_too_long_is_not_taken_and_numbers_come_back(
    page: Any, address: str
) -> None:
    page.goto(f"{address}/lecture/chain-rule/")
    eta, status = page.get_by_label("η"), page.locator(".live .status")
    for written, kept in (("", "1"), ("-3", "0"), ("1e308", "100")):
        eta.fill(written)
        eta.press("Tab")
        assert eta.input_value() == kept
    page.get_by_label("numbers").select_option("dead")
    page.get_by_role("slider", name="target").press("End")
    for _ in range(3):
        page.get_by_role("button", name="Step downhill").click()
    assert "Choose a smaller η" in status.inner_text()
    assert "NaN" not in "".join(shown(page)) and "∞" not in "".join(shown(page))
    page.get_by_role("button", name="Reset").click()
    assert page.get_by_role("slider", name="target").get_attribute("aria-valuenow") == "1.0000"
    # Whoever comes back finds what the lists say.
    page.goto(f"{address}/")
    page.go_back()
    assert page.get_by_label("numbers").input_value() == "page"
    assert "b = −2.50" in shown(page)


def test_the_playground_keeps_the_focus_and_needs_a_point(page: Any, address: str) -> None:
    page.goto(f"{address}/lecture/training/")
    focused = "document.activeElement.ariaLabel ?? document.activeElement.textContent"
    fewer = page.get_by_role("button", name="fewer neurons in layer 1")
    fewer.press("Enter")
    page.keyboard.press("Enter")
    assert page.evaluate(focused) == "fewer neurons in layer 1"
    assert page.evaluate("document.querySelector('.live').figure.hidden") == [10, 20]
    for _ in range(2):
        page.get_by_role("button", name="remove layer 1").press("Enter")
    assert page.evaluate(focused) == "add a layer"
    page.get_by_label("learn").select_option("points")
    page.get_by_role("button", name="Train", exact=True).click()
    warning = page.locator(".live .warning")
    assert warning.inner_text() == "Draw some points first."
    page.locator(".live .square canvas").click(position={"x": 60, "y": 90})
    assert warning.inner_text() == ""
    assert "1 point" in page.locator(".live .status").first.inner_text()


def test_without_scripts_the_pages_are_those_of_before(browser: Any, address: str) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(f"{address}/lecture/chain-rule/")
    assert not page.locator(".live").is_visible()
    assert page.locator("figure.drawn img:visible").count() >= 3
    context.close()
