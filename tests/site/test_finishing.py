"""What the builder does to a rendered page: formulas, names for screen readers, search."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from site_builder import finishing, formulas

pytestmark = pytest.mark.site

SITE = Path(__file__).parents[2] / "site"


@pytest.mark.parametrize(
    ("tex", "signs"),
    [
        (r"\(\Delta_k = (y_k - F)\, f'(z)\)", "Δ_k = (y_k - F) f'(z)"),
        (r"\(\pd{C}{w_{jk}}\)", "∂C/∂w_(jk)"),
        (r"\[\frac{a + b}{\tfrac12}\]", "(a + b)/1/2"),
        (r"\(\Delta\, w\T\)", "Δ wᵀ"),
        (r"a \(x \to \infty\), b \(\mathrm{Re}\{z\}\)", "a x → ∞, b Rez"),
    ],
)
def test_a_search_result_writes_formulas_in_signs(tex: str, signs: str) -> None:
    assert formulas.plain(tex) == signs


def test_a_formula_is_drawn_and_a_wrong_one_is_a_fault(tmp_path: Path) -> None:
    assert shutil.which("node"), "KaTeX needs Node.js, which comes with npm"
    right, wrong = r"\(\pd{C}{w} < 1\)", r"\(\unknown\)"
    made = formulas.drawn(SITE, [right, wrong])
    assert made is not None
    assert 'class="katex"' in made[right][0]
    assert not made[right][1]
    assert "Undefined control sequence" in made[wrong][1]
    page = '<span class="arithmatex">\\(\\pd{C}{w} &lt; 1\\)</span>'
    assert formulas.found_in(page) == [right]
    script = '<script src="../javascripts/formulas.js"></script>'
    assert formulas.inserted(page + script, made) == (
        f'<span class="arithmatex">{made[right][0]}</span>'
    )


def test_without_node_the_browser_draws_the_formulas(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    page = '<span class="arithmatex">\\(y\\)</span><script src="javascripts/formulas.js"></script>'
    (tmp_path / "index.html").write_text(page, encoding="utf-8")
    assert finishing.finish(tmp_path) == []
    assert (tmp_path / "index.html").read_text("utf-8") == page
    assert capsys.readouterr().err.count("the browser draws the formulas") == 1


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ('<a href="" id="a.b"></a>', '<span id="a.b"></span>'),
        ('<nav class="md-nav" aria-label="Training">',
         '<nav class="md-nav" role="presentation">'),
        ('<th style="text-align: right;"></th><th>x</th>',
         '<td style="text-align: right;"></td><th>x</th>'),
        ('<nav class="md-nav" aria-labelledby="__nav_1_label" aria-expanded="false">\n'
         '<label class="md-nav__title" for="__nav_1">\n'
         '<span class="md-nav__icon md-icon"></span>\nReference\n</label>',
         '<nav class="md-nav" aria-labelledby="__nav_1_label" aria-expanded="false" '
         'aria-label="Reference">\n<label class="md-nav__title" for="__nav_1">\n'
         '<span class="md-nav__icon md-icon"></span>\nReference\n</label>'),
    ],
)  # fmt: skip
def test_what_a_screen_reader_reads_has_a_name(tmp_path: Path, before: str, after: str) -> None:
    (tmp_path / "index.html").write_text(before, encoding="utf-8")
    finishing.finish(tmp_path)
    assert (tmp_path / "index.html").read_text("utf-8") == after


def test_a_place_of_the_search_that_no_longer_exists_is_a_fault(tmp_path: Path) -> None:
    (tmp_path / "search").mkdir()
    entries = [{"location": "", "title": "Start", "text": r"where \(\theta\) is"}]
    index = tmp_path / "search" / "search_index.json"
    index.write_text(json.dumps({"docs": entries}), encoding="utf-8")
    faults = [str(fault) for fault in finishing.finish(tmp_path)]
    assert len(faults) == len(finishing.TYPED) - 1
    dropout = "the search for 'dropout' leads to reference/layers/#chainrule.Dropout"
    assert any(dropout in fault for fault in faults)
    (entry,) = json.loads(index.read_text("utf-8"))["docs"]
    assert entry["title"] == "Start · install"
    assert entry["text"] == "where θ is"
