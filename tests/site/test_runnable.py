"""Python in the reader's browser: blocks of the pages run there, and nothing leaves the site."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

pytestmark = pytest.mark.site

MINUTE = 60_000


@pytest.fixture(scope="module")
def page(browser: Any, address: str) -> Iterator[Any]:
    context = browser.new_context()
    page = context.new_page()
    elsewhere: list[str] = []
    page.on(
        "request",
        lambda request: (
            request.url.startswith((address, "data:", "blob:")) or elsewhere.append(request.url)
        ),
    )
    yield page
    context.close()
    assert not elsewhere


def number_of(page: Any, text: str) -> int:
    """The number of the first runnable block that contains a text."""
    blocks = page.locator(".runnable code").all_inner_texts()
    return next(number for number, block in enumerate(blocks) if text in block)


def printed(page: Any, number: int) -> str:
    """Click on Run, and wait for what is printed."""
    page.locator(".live-controls").nth(number).get_by_role("button", name="Run").click()
    output = page.locator("pre.printed").nth(number)
    page.wait_for_function(
        "n => { const o = document.querySelectorAll('pre.printed')[n];"
        " return !o.hidden && !o.dataset.state && o.textContent; }",
        arg=number,
        timeout=3 * MINUTE,
    )
    return str(output.inner_text())


def write(page: Any, number: int, code: str) -> None:
    controls = page.locator(".live-controls").nth(number)
    if controls.get_by_role("button", name="Edit").is_visible():
        controls.get_by_role("button", name="Edit").click()
    page.locator("textarea").nth(number).fill(code)


def test_the_digits_are_learned_in_the_browser(page: Any, address: str) -> None:
    loaded: list[str] = []
    page.on("request", lambda request: loaded.append(request.url))
    page.goto(f"{address}/")
    assert not [url for url in loaded if "pyodide" in url], "Python is loaded on a click alone"
    text = printed(page, 0)
    right = float(text.split(" %")[0])
    assert right > 95


def test_a_right_layer_passes_a_wrong_sign_is_named_and_a_loop_is_stopped(
    page: Any, address: str
) -> None:
    page.goto(f"{address}/layers/write-a-layer/")
    defined = number_of(page, "class Wave(Layer)")
    checked = number_of(page, "check_layer(Wave()")
    assert "Wave" in printed(page, checked)
    assert "✗" not in page.locator("pre.printed").nth(checked).inner_text()

    code = page.locator(".runnable code").nth(defined).inner_text()
    wrong = code.replace("return slope *", "return -slope *")
    assert wrong != code
    write(page, defined, wrong)
    report = printed(page, checked)
    assert "✗" in report and "It has the wrong sign" in report

    write(page, checked, "while True:\n    pass")
    page.locator(".live-controls").nth(checked).get_by_role("button", name="Run").click()
    stop = page.locator(".live-controls").nth(checked).get_by_role("button", name="Stop")
    page.wait_for_timeout(500)
    stop.click()
    assert "Stopped" in page.locator("pre.printed").nth(checked).inner_text()

    page.locator(".live-controls").nth(defined).get_by_role("button", name="Reset").click()
    write(page, checked, "print(check_layer(Wave(), (3,)).ok)")
    assert printed(page, checked).strip() == "True"


def test_an_error_names_the_line_of_the_block(page: Any, address: str) -> None:
    page.goto(f"{address}/layers/diagnose/")
    write(page, 0, "x = 1\nx = unknown\n")
    text = printed(page, 0)
    assert "line 2 of this block" in text and "NameError" in text


def test_the_output_takes_the_place_of_the_stored_one_until_reset(page: Any, address: str) -> None:
    page.goto(f"{address}/layers/diagnose/")
    stored = page.locator(".output").first
    assert stored.is_visible()
    # A line without an end, a line that is overwritten, and the value of the last line.
    write(page, 0, "print('ab', end='')\nprint('old', end='\\r')\nprint('new')\n6 * 7")
    assert printed(page, 0).split() == ["new", "42"]
    assert not stored.is_visible()
    page.locator(".live-controls").first.get_by_role("button", name="Reset").click()
    assert stored.is_visible() and not page.locator("pre.printed").first.is_visible()


@pytest.mark.parametrize(
    ("code", "sentence"),
    [
        ("name = input('who? ')", "the browser has no input(): write the value into the code"),
        ("import scipy", "NumPy and chainrule alone: run this block on your computer"),
        ("def f():\n    return f()\nf()", "RecursionError"),
        ("if True\n    x = 1", "line 1 of this block:"),
        ("print('x' * 10**6)", "the rest is not shown"),
    ],
)
def test_what_a_browser_cannot_do_is_said(
    page: Any, address: str, code: str, sentence: str
) -> None:
    if not page.url.endswith("/layers/diagnose/"):
        page.goto(f"{address}/layers/diagnose/")
    write(page, 0, code)
    text = printed(page, 0)
    assert sentence in text and text.count("of this block:") <= 4 and len(text) < 60_000


def test_a_block_above_that_fails_is_named_and_a_change_of_it_counts(
    page: Any, address: str
) -> None:
    page.goto(f"{address}/layers/diagnose/")
    code = page.locator(".runnable code").first.inner_text()
    first = page.locator(".runnable code").nth(1).inner_text()
    use = "layer = Affine(3)\nlayer.build((4,))\nlayer.backward(layer.forward(np.ones((2, 4))))"
    write(page, 1, use)
    write(page, 0, code.replace("self.weights.value.T", "self.weihgts.value.T"))
    text = printed(page, 1)
    assert "line 3 of this block:" in text
    assert "line 19 of a block above:  return delta @ self.weihgts.value.T" in text
    write(page, 1, f"{first}\nprint(diagnosis(Affine(3), (4,)))")
    write(page, 0, f"{code}\nclass")
    assert "The block above that begins with “import numpy as np” fails" in printed(page, 1)
    page.locator(".live-controls").first.get_by_role("button", name="Reset").click()
    assert printed(page, 1).strip() == "all ten laws hold"


def test_output_without_an_end_can_be_stopped(page: Any, address: str) -> None:
    page.goto(f"{address}/layers/diagnose/")
    write(page, 0, "while True:\n    print('again')")
    controls = page.locator(".live-controls").first
    controls.get_by_role("button", name="Run").click()
    output = page.locator("pre.printed").first
    output.filter(has_text="the rest is not shown").wait_for(timeout=MINUTE)
    controls.get_by_role("button", name="Stop").click()
    assert output.inner_text().endswith("Stopped. The next Run starts Python anew.\n")


@pytest.mark.parametrize(
    ("missing", "sentence"),
    [
        ("**/packages.zip", "built without Python for the browser"),
        ("**/pyodide.mjs", "Python could not be loaded"),
        ("**/numpy-*.whl", "numpy is missing"),
    ],
)
def test_a_file_that_is_missing_is_said_and_one_can_try_again(
    browser: Any, address: str, missing: str, sentence: str
) -> None:
    page = browser.new_page()
    page.route(missing, lambda route: route.fulfill(status=404))
    page.goto(f"{address}/layers/diagnose/")
    assert sentence in printed(page, 0)
    page.unroute(missing)
    assert printed(page, 0).strip() == "all ten laws hold"
    page.close()


def test_a_reader_writes_a_layer_of_her_own(page: Any, address: str) -> None:
    page.goto(f"{address}/layers/write-a-layer/")
    own = number_of(page, "class Bump(Layer)")
    assert "the delta of the input is wrong" in printed(page, own)
    head = page.locator(".runnable code").nth(own).inner_text().partition("    def backward")[0]
    backward = """
    def backward(self, delta):
        slope = delta * self.y
        self.a.accumulate((-slope * self.x**2).sum(axis=0))
        return {} * self.a.value * self.x * slope

print(check_layer(Bump(), (3,)))
"""
    write(page, own, head + backward.format("2"))
    assert "It has the wrong sign" in printed(page, own)
    write(page, own, head + backward.format("-2"))
    assert "all 10 laws hold" in printed(page, own)
