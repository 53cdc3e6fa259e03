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
