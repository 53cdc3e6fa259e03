"""Tables of a notebook: well-formed, escaped, with a header for each row and column."""

from __future__ import annotations

from xml.etree import ElementTree

from hypothesis import given
from hypothesis import strategies as st

from chainrule.core.html_table import Html, folded, html_table, pale

TEXT = st.text(st.characters(min_codepoint=32, max_codepoint=0x2FFF), max_size=12)


def texts(html: str) -> list[list[str]]:
    return [
        ["".join(cell.itertext()) for cell in row]
        for row in ElementTree.fromstring(html).iter("tr")
    ]


@given(st.lists(st.tuples(TEXT, TEXT), max_size=4), TEXT, TEXT)
def test_every_text_comes_out_as_it_went_in(
    rows: list[tuple[str, str]], title: str, note: str
) -> None:
    html = html_table(("a<b", "&"), rows, "lr", title=title, notes=[note])
    assert texts(html) == [["a<b", "&"], *map(list, rows)]
    table = ElementTree.fromstring(html)
    assert title in "".join(table.itertext()) and note in "".join(table.itertext())


def test_rows_and_columns_have_headers() -> None:
    table = ElementTree.fromstring(html_table(("law", "error"), [("adjoint", "0")], "lr"))
    heads = [(head.get("scope"), head.text) for head in table.iter("th")]
    assert heads == [("col", "law"), ("col", "error"), ("row", "adjoint")]


def test_columns_are_aligned_as_their_letters_say() -> None:
    table = ElementTree.fromstring(html_table(("a", "b"), [("1", "2")], "lr"))
    for line in table.iter("tr"):
        sides = [str(cell.get("style")).partition(";")[0] for cell in line]
        assert sides == ["text-align: left", "text-align: right"]


def test_strong_rows_are_those_that_are_named() -> None:
    rows = [("a", "1"), ("b", "2"), ("c", "3")]
    table = ElementTree.fromstring(html_table(("x", "y"), rows, "lr", strong=[1]))
    lines = [list(line) for line in table.iter("tr")][1:]
    weights = ["600" in str(number.get("style")) for _, number in lines]
    assert weights == [False, True, False]


def test_colours_are_those_of_the_page() -> None:
    html = html_table(("a", "b"), [("1", "2")], "lr", title="t", notes=["n"], strong=[0])
    assert "#" not in html and "rgb(" not in html
    assert "color: inherit" in html and "currentColor" in html


def test_html_is_not_escaped_and_text_is() -> None:
    html = html_table(("a", "b"), [(Html("<b>1</b>"), pale("<"))], "lr")
    assert "<b>1</b>" in html and "&lt;" in html and "opacity" in html


def test_a_row_of_one_cell_is_as_wide_as_the_table() -> None:
    table = ElementTree.fromstring(html_table(("a", "b"), [["…"]], "lr"))
    (cell,) = table.iter("td")
    assert cell.get("colspan") == "2" and cell.text == "…"


def test_a_folded_row_opens_to_show_its_content() -> None:
    inner = html_table(("a", "b"), [("x", "y")], "ll", widths=(3, 4), is_inner=True)
    html = html_table(
        ("a", "b"), [[folded(("1", "<"), (3, 4), "ll", inner, is_open=True)]], "ll", widths=(4, 4)
    )
    (details,) = ElementTree.fromstring(html).iter("details")
    assert details.get("open") is not None
    summary = details.find("summary")
    assert summary is not None and [span.text for span in summary] == ["1", "<"]
    assert [cell.text for cell in details.iter("td")] == ["y"]
