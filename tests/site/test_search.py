"""The search leads with the page that a reader looks for."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.site

SITE = Path(__file__).parents[2] / "site"
FIRST = {
    "vanishing gradient": "/train/when-it-goes-wrong/",
    "dropout": "/reference/layers/",
    "batch norm": "/layers/all/",
    "convolution": "/layers/convolution/",
    "install": "/",
    "skip connection": "/compose/residual/",
    "weight sharing": "/compose/sharing/",
    "gradient check": "/derivatives/proof-and-check/",
    "save model": "/train/checkpoints/",
    "nan": "/recipes/",
    "learning rate": "/train/optimizers-and-schedules/",
    "overfitting": "/train/when-it-goes-wrong/",
    "adam": "/train/optimizers-and-schedules/",
    "attention": "/layers/attention/",
    "backpropagation": "/lecture/chain-rule/",
    "chain rule": "/lecture/chain-rule/",
    "confusion matrix": "/reference/training/metrics/",
    "cross entropy": "/train/fit/",
    "custom layer": "/layers/write-a-layer/",
    "early stopping": "/train/callbacks/",
    "error bars": "/physics/fit-a-formula/",
    "export": "/recipes/",
    "gradient descent": "/lecture/training/",
    "hessian": "/derivatives/jacobians-and-hessians/",
    "lstm": "/layers/recurrence/",
    "mnist": "/reference/datasets/",
    "pinn": "/physics/solve-an-equation/",
    "playground": "/lecture/training/",
    "pooling": "/reference/layers/",
    "regularization": "/train/when-it-goes-wrong/",
    "relu": "/reference/layers/",
    "residual": "/compose/residual/",
    "softmax": "/train/fit/",
    "uncertainty": "/physics/uncertainty/",
    "weight decay": "/train/optimizers-and-schedules/",
}
FOUND = """words => {
  const first = document.querySelector(".md-search-result__item");
  const links = [...(first?.querySelectorAll("a") ?? [])].map(link => new URL(link.href));
  const says = link => words.every(word => link.searchParams.get("h")?.includes(word));
  return links.some(says) && links[0].pathname;
}"""
"""The first page found, once one of its sections has all words."""


@pytest.fixture(scope="module")
def page(browser: Any, address_with_search: str) -> Any:
    page = browser.new_page(viewport={"width": 1280, "height": 800})
    faults: list[str] = []
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.goto(f"{address_with_search}/")
    page.keyboard.press("/")
    page.keyboard.type("delta")
    page.locator(".md-search-result__link").first.wait_for(timeout=10_000)
    assert "delta" in page.locator(".md-search-result__item").first.inner_text().lower()
    yield page
    page.close()
    assert not faults


@pytest.mark.parametrize(("words", "expected"), FIRST.items())
def test_the_first_result_is_the_right_page(page: Any, words: str, expected: str) -> None:
    page.locator(".md-search__input").fill(words[:-1])
    page.keyboard.type(words[-1])  # the search listens to keys
    found = page.wait_for_function(FOUND, arg=words.split(), timeout=5_000).json_value()
    assert found == expected


def test_no_result_shows_tex() -> None:
    index = json.loads((SITE / "search" / "search_index.json").read_text("utf-8"))
    tex = re.compile(r"\\[(\[]|\$[^$\s][^$]*\$")
    for entry in index["docs"]:
        prose = re.sub(r"<code>.*?</code>", "", entry["text"], flags=re.DOTALL)
        assert not tex.search(entry["title"] + prose), entry["location"]
