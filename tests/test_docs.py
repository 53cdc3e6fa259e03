"""The site's builder: what is no longer true on a page is found, and told with page and line.

The pages themselves are run by `make docs`, and read in a browser by `make site-tests`.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import os
import re
import shutil
import sys
import tarfile
import types
import warnings
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest
from site_builder import drawing, preparing, source, vendoring, vocabulary
from site_builder.blocks import Block, parts_of
from site_builder.checking import check_site
from site_builder.composing import compose, rewritten
from site_builder.drawing import drawing_of, in_the_dark, turned_round
from site_builder.faults import PageError
from site_builder.outputs import Tolerance, difference
from site_builder.preparing import Places, all_pages, outcomes_of
from site_builder.prose import python_of
from site_builder.running import run_page
from site_builder.vendoring import VendoringError, vendored_files
from site_builder.vocabulary import matches, prose_of, read_list, rejected_words

ROOT = Path(__file__).parents[1]
EXACT = Tolerance()


@pytest.fixture
def house(tmp_path):
    """A repository of one module, one test and one figure."""
    files = {
        "src/chainrule/small.py": (
            'def double(x):\n    """Twice."""\n\n    y = 2 * x\n    return y\n'
        ),
        "tests/test_small.py": "def test_double_is_twice():\n    assert True\n",
        "docs/figures/drawn.py": (
            "import matplotlib.pyplot as plt\n"
            "def line():\n"
            "    figure, axes = plt.subplots()\n"
            "    axes.plot([0, 1])\n"
            "    return figure\n"
        ),
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    return tmp_path


def made(house, text, name="docs/page.md"):
    """The page, run and composed."""
    page = house / name
    page.parent.mkdir(parents=True, exist_ok=True)
    page.write_text(text, encoding="utf-8")
    return compose(house, Path(name), run_page(page, house / "docs/figures"))


def faults(house, text):
    return [str(fault) for fault in made(house, text).faults]


def python(code, options="", shown=None):
    below = f"\n```text\n{shown}\n```\n" if shown is not None else ""
    return f"```python {options}".rstrip() + f"\n{code}\n```\n{below}"


# -- blocks that run ----------------------------------------------------------------------------


def test_blocks_of_a_page_share_a_namespace_and_show_what_they_print(house):
    page = made(house, python("x = 20") + "\nAnd:\n\n" + python("print(2 * x + 2)", shown="42"))
    assert not page.faults
    assert "``` { .text .output .no-copy }\n42\n```" in page.markdown
    assert page.markdown.count("42") == 1  # what the page expects is not shown beside it


def test_an_exception_is_reported_with_the_line_of_the_page_where_it_was_raised(house):
    (fault,) = faults(house, "# Page\n\n" + python("a = 1\n\nb = a / 0"))
    assert fault == "docs/page.md:6: it raises ZeroDivisionError: division by zero"


def test_code_that_cannot_be_parsed_is_reported_with_its_line(house):
    (fault,) = faults(house, python("a = 1\nb = ("))
    assert fault.startswith("docs/page.md:3: it raises SyntaxError")


def test_an_announced_exception_is_shown_with_its_message(house):
    page = made(
        house,
        python(
            "int('x')",
            "raises=ValueError",
            "ValueError: invalid literal for int() with base 10: 'x'",
        ),
    )
    assert not page.faults
    assert ".raised" in page.markdown


@pytest.mark.parametrize(
    ("code", "told"),
    [
        ("print(1)", "it should raise ValueError, but did not"),
        ("[][0]", "it raises IndexError instead of ValueError"),
    ],
)
def test_another_exception_than_the_announced_or_none_is_a_fault(house, code, told):
    (fault,) = faults(house, python(code, "raises=ValueError"))
    assert told in fault


def test_a_warning_is_a_fault(house):
    code = python("import warnings\nwarnings.warn('old', DeprecationWarning)")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # as Python would do by itself
        (fault,) = faults(house, code)
    assert fault == "docs/page.md:3: it raises DeprecationWarning: old"


def test_a_number_that_changed_is_reported_with_the_line_where_it_is_shown(house):
    (fault,) = faults(house, python("print(0.5)", "tolerance=1e-3", "0.51"))
    assert fault.startswith("docs/page.md:5: the output has changed\n    0.51 became 0.5 ")


def test_what_is_printed_and_not_shown_is_a_fault_unless_it_is_left_open(house):
    (fault,) = faults(house, python("print(1)"))
    assert "must follow in a ```text block" in fault
    assert not faults(house, python("print(1)", "unchecked"))
    assert not faults(house, python("print(1)", "output=none"))


def test_what_is_shown_and_compared_with_nothing_is_a_fault(house):
    (fault,) = faults(house, python("print(1)", "unchecked", "1"))
    assert "not compared" in fault
    assert "the output has changed" in faults(house, python("x = 1", shown="1"))[0]


def test_the_tolerance_of_the_page_holds_for_blocks_that_say_none(house):
    page = "---\ntolerance: 0.1\n---\n" + python("print(1.05)", shown="1.0")
    assert not faults(house, page)
    assert faults(house, page.replace("0.1\n", "0.01\n", 1))


def test_a_block_in_an_exercise_runs_and_stays_in_it(house):
    inside = python("print(3)", shown="3").replace("\n", "\n        ")
    page = made(house, f"??? question\n\n    ??? success\n\n        {inside}\n")
    assert not page.faults
    assert "        ``` { .text .output .no-copy }\n        3\n        ```" in page.markdown


def test_a_block_that_does_not_say_whether_it_runs_is_a_fault(house):
    for opening in ("```", "```py", "```{ .python }"):
        with pytest.raises(PageError):
            parts_of(f"{opening}\nx\n```\n")
    with pytest.raises(PageError, match="never closed"):
        parts_of("text\n```python\nx\n")
    assert "unknown option tolerence" in faults(house, python("x = 1", "tolerence=1"))[0]


def test_other_blocks_are_left_as_they_are(house):
    text = "```console\n$ make docs\n```\n\n- point\n\n    ```json\n    {}\n    ```\n"
    assert made(house, text).markdown == text


def test_a_block_of_blocks_is_shown_and_does_not_run(house):
    text = "````markdown\n```python\n1 / 0\n```\n````\n"
    assert made(house, text).markdown == text


def test_only_a_page_with_a_diagram_asks_for_its_program(house):
    assert made(house, "```mermaid\ngraph LR\n```\n").markdown.startswith("---\nmermaid: true\n---")
    drawn = made(house, "---\nhide: [toc]\n---\n" + python("print('graph LR')", "output=mermaid"))
    assert drawn.markdown.startswith("---\nmermaid: true\nhide: [toc]\n---")
    assert "```mermaid\ngraph LR\n```" in drawn.markdown
    assert "mermaid" not in made(house, "text\n").markdown


def test_pages_do_not_write_into_the_folder_they_are_run_from(house, monkeypatch):
    monkeypatch.chdir(house)
    assert not faults(house, python("open('left.txt', 'w').close()"))
    assert not list(house.rglob("left.txt"))


def test_the_processes_of_a_search_end_with_its_page(house):
    """joblib keeps them for five minutes, and the process of the page would wait for them."""
    code = (
        "import os, joblib\n"
        "numbers = set(joblib.Parallel(2)(joblib.delayed(os.getpid)() for _ in range(8)))\n"
        "print(os.getpid() in numbers)"
    )
    assert not faults(house, python(code, shown="False"))
    for number in vars(sys.modules["page"])["numbers"]:
        with pytest.raises(ProcessLookupError):
            os.kill(number, 0)


def test_accepting_writes_what_was_printed_and_is_then_content(house):
    text = (
        python("print(1)") + "\nprose\n\n" + python("print(2)", shown="3") + "\n"
        "!!! note\n\n    ```python\n    print(4)\n    ```\n" + python("x = 1", shown="gone")
    )
    page = house / "docs/page.md"
    page.write_text(text, encoding="utf-8")
    accepted = rewritten(text, run_page(page, house / "docs/figures"))
    assert not faults(house, accepted)
    assert "\n\n    ```text\n    4\n    ```\n" in accepted
    assert "gone" not in accepted
    page.write_text(accepted, encoding="utf-8")
    assert rewritten(accepted, run_page(page, house / "docs/figures")) == accepted


# -- the cache ----------------------------------------------------------------------------------


@pytest.fixture
def page(house):
    """A page that reads a file of which the cache knows nothing, and counts how often it ran."""
    code = "from pathlib import Path\n"
    code += f"with open({str(house / 'runs')!r}, 'a') as file: file.write('.')\n"
    code += f"print(Path({str(house / 'given')!r}).read_text())"
    (house / "docs/page.md").write_text(python(code, shown="42"), encoding="utf-8")
    return Path("docs/page.md")


def problem_and_runs(house, page):
    (outcome,) = outcomes_of(Places(house), [page])[page].values()
    return outcome.problem, len((house / "runs").read_text())


def test_a_block_that_failed_runs_again_and_one_that_succeeded_does_not(house, page):
    problem, runs = problem_and_runs(house, page)
    assert "FileNotFoundError" in problem and runs == 1
    (house / "given").write_text("42")
    assert problem_and_runs(house, page) == (None, 2)
    assert problem_and_runs(house, page) == (None, 2)


def another_kernel() -> str:
    """One that is not set already, as it is where a processor needs it."""
    return "Nehalem" if os.environ.get("OPENBLAS_CORETYPE") == "Haswell" else "Haswell"


@pytest.mark.parametrize(
    "change",
    [
        lambda patch: patch.setenv("OPENBLAS_CORETYPE", another_kernel()),
        lambda patch: patch.setenv("NPY_DISABLE_CPU_FEATURES", "X86_V4"),
        lambda patch: patch.setattr(preparing.np, "show_runtime", lambda: print("another CPU")),
        lambda patch: patch.setattr(preparing.sys, "version", "3.99"),
        lambda patch: patch.setattr(
            preparing.importlib.metadata,
            "distributions",
            lambda: [types.SimpleNamespace(name="numpy", version="99")],
        ),
    ],
    ids=["kernel of OpenBLAS", "kernel of NumPy", "processor", "Python", "installed package"],
)
def test_a_page_runs_again_where_its_numbers_may_be_others(house, page, monkeypatch, change):
    (house / "given").write_text("42")
    assert problem_and_runs(house, page) == (None, 1)
    with monkeypatch.context() as patch:
        change(patch)
        assert problem_and_runs(house, page) == (None, 2)
    assert problem_and_runs(house, page) == (None, 2)


# -- comparing ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("printed", "shown", "tolerance", "agree"),
    [
        ("a  \nb\n\n", "a\nb", EXACT, True),
        ("0.1", "0.10", EXACT, False),
        ("0.1", "0.10", Tolerance(1e-9), True),
        ("loss 1.001e-13 at 3", "loss 1.000e-13 at 3", Tolerance(1e-2), True),
        ("loss 1.1e-13", "loss 1.0e-13", Tolerance(1e-2), False),
        ("3e-17", "-1e-17", Tolerance(1e-2, 1e-12), True),
        ("[ 0.10 -0.2]", "[0.1  -0.20]", EXACT, False),
        ("[ 0.10 -0.2]", "[ 0.1 -0.20]", Tolerance(1e-9), True),
        ("-1.0", "1.0", Tolerance(1e-2), False),
        ("−1.0", "-1.001", Tolerance(1e-2), True),
        ("nan", "nan", Tolerance(1e-2), True),
        ("nan", "1.0", Tolerance(1e-2), False),
        ("inf", "1.0", Tolerance(1e9), False),
        ("2,080 parameters", "2,081 parameters", Tolerance(1e-2), True),
        ("2,080 parameters", "2,081 parameters", Tolerance(1e-5), False),
        ("dense_1 1.0", "dense_2 1.0", Tolerance(10.0), False),
        ("float32", "float64", Tolerance(10.0), False),
        ("1.0\n2.0", "1.0", Tolerance(10.0), False),
        ("falls to 1.0", "rises to 1.0", Tolerance(10.0), False),
    ],
)
def test_texts_agree_where_their_words_do_and_their_numbers_are_close(
    printed, shown, tolerance, agree
):
    assert (difference(printed, shown, tolerance) is None) is agree


# -- excerpts of the source ---------------------------------------------------------------------


def excerpt(lines):
    return f"\n```source\n{lines}\n```\n"


def test_an_excerpt_is_the_source_with_links_to_its_line_and_its_test(house):
    page = made(
        house,
        excerpt(
            "of: chainrule.small:double\nline: 2 \\*\n"
            "test: tests/test_small.py::test_double_is_twice"
        ),
        "docs/lecture/page.md",
    )
    assert not page.faults
    assert '```python title="double"\ny = 2 * x\n```' in page.markdown
    assert "[chainrule/small.py, line 4](../source/chainrule/small.md#L4)" in page.markdown
    assert "[double is twice](../source/tests/test_small.md#L1)" in page.markdown
    assert page.sources == {Path("src/chainrule/small.py"), Path("tests/test_small.py")}


def test_an_excerpt_can_leave_out_the_docstring(house):
    page = made(house, excerpt("of: chainrule.small:double\ndocstring: no"))
    assert "def double(x):\n    y = 2 * x\n    return y\n```" in page.markdown


def test_an_excerpt_can_reach_from_one_line_to_another(house):
    page = made(house, excerpt("of: chainrule.small:double\nfrom: y =\nto: return"))
    assert "\ny = 2 * x\nreturn y\n```" in page.markdown
    assert "lines 4–5" in page.markdown


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        ("of: chainrule.small:triple", "has no triple; it has double"),
        ("of: chainrule.large:double", "src/chainrule/large.py does not exist"),
        ("of: chainrule.small:double\nline: 3 ", "0 lines match '3'"),
        ("of: chainrule.small:double\nline: x", "2 lines match 'x'"),
        ("of: chainrule.small:double\nline: (", "is not a valid pattern"),
        ("of: chainrule.small:double\ntest: tests/test_small.py::test_gone", "has no test_gone"),
        ("of: chainrule.small:double\ntest: tests/test_small.py", "write tests/file.py::test_name"),
        ("of: chainrule.small:double\nlines: 3", "unknown: lines"),
        ("line: x", "requires `of`"),
    ],
)
def test_a_missing_excerpt_is_reported_with_its_line(house, lines, told):
    (fault,) = faults(house, excerpt(lines))
    assert fault.startswith("docs/page.md:2: ")
    assert told in fault


def test_a_link_in_a_sentence_leads_to_the_source_or_is_reported_with_its_line(house):
    page = made(
        house,
        "a\n[](source:chainrule.small:double) "
        "[it](test:tests/test_small.py::test_double_is_twice)\n",
    )
    assert (
        page.markdown
        == "a\n[`double`](source/chainrule/small.md#L1) [it](source/tests/test_small.md#L1)\n"
    )
    (fault,) = faults(house, "a\n\n[](source:chainrule.small:triple)\n")
    assert fault.startswith("docs/page.md:3: ")
    shown = "`[](source:chainrule.small:triple)`\n"
    assert made(house, shown).markdown == shown


def test_excerpts_of_the_package_are_the_lines_that_python_says():
    import inspect

    from chainrule.layers.dense import Dense

    found = source.find(ROOT, "chainrule.layers.dense:Dense.backward")
    lines, first = inspect.getsourcelines(Dense.backward)
    assert (found.first, found.last - found.first + 1) == (first, len(lines))


# -- figures ------------------------------------------------------------------------------------


def figure_with(size=10.0, width=4.6):
    figure, axes = plt.subplots(figsize=(width, 2), layout="constrained")
    axes.plot([0, 1], color="#0072B2")
    axes.tick_params(labelsize=10)
    axes.set_title("a title", fontsize=size)
    return figure


def test_a_figure_becomes_a_picture_for_each_theme(house):
    lines = "name: drawn.line\nalt: A line that rises from zero to one.\ncaption: A *line*."
    page = made(house, f"```figure\n{lines}\n```\n")
    assert not page.faults
    assert sorted(page.pictures) == [
        "assets/figures/page-1-dark.svg", "assets/figures/page-1-light.svg"
    ]  # fmt: skip
    for theme in ("light", "dark"):
        alt = "![A line that rises from zero to one.]"
        assert f"{alt}(assets/figures/page-1-{theme}.svg#only-{theme})" in page.markdown


def test_the_last_line_of_a_block_is_a_figure_where_it_is_announced(house):
    code = "import matplotlib.pyplot as plt\nfigure, axes = plt.subplots()\nfigure"
    assert not faults(house, python(code, 'figure="An empty pair of axes."'))
    (fault,) = faults(house, python(code[:-6] + "axes", 'figure="An empty pair of axes."'))
    assert "of type Axes" in fault


@pytest.mark.parametrize("alt", ["", "alt: a figure\n"])
def test_a_figure_without_a_description_is_a_fault(house, alt):
    (fault,) = faults(house, f"```figure\nname: drawn.line\n{alt}```\n")
    assert "needs a description" in fault


def test_a_figure_that_is_not_there_is_a_fault(house):
    (fault,) = faults(house, "\n```figure\nname: drawn.circle\nalt: a circle that is round\n```\n")
    assert fault.startswith("docs/page.md:2: docs/figures has no drawn.circle")


def test_letters_that_cannot_be_read_on_a_telephone_are_refused():
    what = {"description": "a line that rises slowly", "caption": ""}
    with pytest.raises(ValueError, match=r"'a title' is 7\.2 pixels high on a phone"):
        drawing_of(figure_with(size=7.0), may_scroll=False, **what)
    wide = drawing_of(figure_with(width=9.2), may_scroll=True, **what)
    assert wide.least_width == pytest.approx(9.2 * 72 * drawing.SMALLEST / 10)
    assert drawing_of(figure_with(), may_scroll=False, **what).least_width <= drawing.PHONE


def test_a_figure_of_thousands_of_points_is_refused_unless_they_are_pixels():
    what = {"description": "points that rise slowly", "caption": "", "may_scroll": False}
    points = np.linspace(0, 1, 2000)
    for pixels in (True, False):
        figure = figure_with()
        figure.axes[0].plot(points, points, ".", rasterized=pixels)
        if pixels:
            drawn = drawing_of(figure, **what).light
            assert "<image" in drawn and len(drawn) < drawing.HEAVIEST
        else:
            with pytest.raises(ValueError, match=r"kB, the maximum is 150 kB; draw the lines"):
                drawing_of(figure, **what)


def test_coordinates_have_two_decimals_and_transformations_all():
    figure = figure_with()
    figure.axes[0].plot([0.123456, 0.2], [1.0, 1 / 3])
    drawn = drawing_of(figure, "a line that falls slowly", "", may_scroll=False).light
    numbers = " ".join(re.findall(r' (?:d|x|y)="([^"]+)"', drawn))
    assert not re.search(r"\.\d{3}", numbers)
    assert re.search(r"scale\(0\.\d{3}", drawn)


def test_in_the_dark_black_is_light_white_is_dark_and_blue_stays_blue():
    def lightness(colour):
        return sum(int(colour[i : i + 2], 16) for i in (1, 3, 5)) / (3 * 255)

    assert lightness(turned_round("#000000")) > 0.9
    assert lightness(turned_round("#ffffff")) < 0.15
    red, green, blue = (int(turned_round("#0072b2")[i : i + 2], 16) for i in (1, 3, 5))
    assert blue > green > red
    svg = '<svg x="1"><path style="fill: none; stroke: #000000"/><use xlink:href="#abcdef"/></svg>'
    dark = in_the_dark(svg)
    assert "#000000" not in dark
    assert 'xlink:href="#abcdef"' in dark


# -- what the site serves -----------------------------------------------------------------------


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package as npm would have fetched it, and pins that name it."""
    path = tmp_path / "small-1.0.tgz"
    with tarfile.open(path, "w:gz") as archive:
        entry = tarfile.TarInfo("package/dist/small.js")
        entry.size = 2
        archive.addfile(entry, io.BytesIO(b"ok"))
    digest = base64.b64encode(hashlib.sha512(path.read_bytes()).digest()).decode()
    pins = tmp_path / "pins.json"

    def pin(integrity=f"sha512-{digest}", files=("dist/*.js",)):
        entry = {"version": "1.0", "integrity": integrity, "files": list(files)}
        pins.write_text(json.dumps({"small": entry}), encoding="utf-8")

    pin()
    monkeypatch.setattr(vendoring, "PINS", pins)
    return path, pin


def test_a_package_that_is_kept_is_taken_from_without_npm(package, monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    assert vendored_files(package[0].parent) == {"small/dist/small.js": b"ok"}


def test_a_package_with_another_hash_is_refused_and_removed(package):
    path, pin = package
    pin(integrity="sha512-AAAA")
    with pytest.raises(VendoringError, match="does not have the hash"):
        vendored_files(path.parent)
    assert not path.exists()


def test_a_package_that_lacks_a_file_or_cannot_be_fetched_is_reported(package, monkeypatch):
    path, pin = package
    pin(files=["dist/*.css"])
    with pytest.raises(VendoringError, match=r"contains no dist/\*\.css"):
        vendored_files(path.parent)
    path.unlink()
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(VendoringError, match="npm was not found"):
        vendored_files(path.parent)


def built(folder, body, **more):
    files = {"index.html": body, **more}
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    return [fault.problem for fault in check_site(folder)]


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ('<a href="other/">', None),
        ('<a href="other/#here">', None),
        ('<a href="#top" id="top">', None),
        ('<a href="https://example.org/">', None),
        ('<img src="a.svg#only-dark" alt="a line">', None),
        ('<a href="gone/">', "gone does not exist"),
        ('<a href="other/#gone">', "other/index.html has no #gone"),
        ('<img src="gone.svg" alt="a line">', "gone.svg does not exist"),
        ('<img src="a.svg">', "has no description"),
        ('<img src="a.svg" alt=" ">', "has no description"),
        ('<script src="https://example.org/a.js"></script>', "from another host"),
        ('<link rel="stylesheet" href="//example.org/a.css">', "from another host"),
    ],
)
def test_a_link_that_leads_nowhere_and_what_comes_from_elsewhere_are_found(tmp_path, body, told):
    more = {"other/index.html": '<p id="here">', "a.svg": "<svg/>"}
    found = built(tmp_path, body, **more)
    assert found == [] if told is None else (len(found) == 1 and told in found[0])


def test_a_style_that_loads_from_elsewhere_is_found(tmp_path):
    found = built(tmp_path, "", **{"a.css": "a { background: url(https://example.org/a.png) }"})
    assert found == ["loads https://example.org/a.png from another host"]


def test_the_python_of_a_page_is_linted_on_the_lines_of_the_page():
    text = "# Page\n\n" + python("a = 1") + "\n??? question\n\n    ```python\n    b = a\n    ```\n"
    lines = python_of(text).splitlines()
    assert (lines[3], lines[9]) == ("a = 1", "b = a")


# -- words that are rejected --------------------------------------------------------------------

LISTED = """
# a comment
mend, mends -> fix, hint
short cut -> skip connection
stand, stands -> is (except: stands for, stand-alone)
"""


def rejected(folder, name, text):
    file = folder / name
    file.write_text(text, encoding="utf-8")
    return [(line, found) for line, found, _ in matches(prose_of(file), read_list(LISTED))]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Mend it", ["Mend"]),
        ("it mends, and then it stands.", ["mends", "stands"]),
        ("recommend an amended understanding, mended", []),
        ("a short\n  cut", ["short cut"]),
        ("shortcut; cut short", []),
        ("δ stands for a delta; a stand-alone stand", ["stand"]),
        ("`mend=` and ``mend it`` are code, `a\nmend` too", []),
        ("[the mend](mend.md#mend){ #mend }", ["mend"]),
        ("```console\n$ mend\n```\n", []),
        ("```python\nmend = 1  # mend it\nprint('to mend', mend)\n```\n", ["mend", "mend"]),
    ],
)
def test_a_rejected_word_is_found_on_a_page_as_a_whole_and_outside_of_code(tmp_path, text, found):
    assert [word for _, word in rejected(tmp_path, "page.md", text)] == found


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("mend = stands  # no cut", []),
        ('raise E("x", mend=mend)', []),
        ('getattr(error, "mend")', []),
        ('raise E("the mend")', ["mend"]),
        ('f"a mend of {mend} {stand!r}"', ["mend"]),
        ('f"{{mend}} {stand} mend"', ["mend", "mend"]),
        ('"a short " f"cut here"', ["short cut"]),
        ("# a short\n# cut", ["short cut"]),
        ('f("short", cut)', []),
        ('def f():\n    """It stands.\n\n    >>> mend  # it stands\n    """\n', ["stands"]),
        ("mend = (  # it stands", ["stands"]),
    ],
)
def test_a_rejected_word_is_found_in_the_comments_and_strings_of_code(tmp_path, text, found):
    assert [word for _, word in rejected(tmp_path, "code.py", text)] == found


def test_a_rejected_word_is_reported_with_its_line_and_the_suggestion(tmp_path):
    (tmp_path / "docs").mkdir()
    (tmp_path / vocabulary.LIST).write_text(LISTED, encoding="utf-8")
    page = "One.\n\n```python\nx = 1\n\n```\n\nA short\ncut, and `a\nb` a mend.\n"
    (tmp_path / "page.md").write_text(page, encoding="utf-8")
    code = '"""One.\n\nTwo."""\n\nx = f"""a\n{b}"""\n# mend\n'
    (tmp_path / "code.py").write_text(code, encoding="utf-8")
    assert list(map(str, rejected_words(tmp_path, [Path("page.md"), Path("code.py")]))) == [
        "page.md:8: wording: 'short cut'; write: skip connection",
        "page.md:10: wording: 'mend'; write: fix, hint",
        "code.py:7: wording: 'mend'; write: fix, hint",
    ]


def test_a_line_of_the_list_that_cannot_be_read_is_an_error():
    with pytest.raises(ValueError, match=r"docs/words\.txt:2: expected `words -> suggestion`"):
        read_list("# fine\nmend: fix\n")


def test_the_list_of_the_project_rejects_the_old_words_and_accepts_plain_english():
    listed = read_list((ROOT / vocabulary.LIST).read_text(encoding="utf-8"))
    for old in (
        "what shall happen", "the mend", "it stands on the layer", "any way that has no circle",
        "leads softly from 0 to 1", "hears less of the cost", "proven exact", "a short cut",
        "dear after the thousandth step", "a whole number", "for ever", "is told", "at leisure",
        "whoever stops it", "the way back", "a layer of one's own", "nobody", "somebody",
    ):  # fmt: skip
        assert matches(old, listed), old
    plain = """
        Common pitfalls when you come from another library. The symbol δ stands for the delta; a
        circle of radius 1 and a standing wave. Whole batches, a short cutoff, the dearth of data.
        What goes wrong and what comes next is stored on disk. Two ways back up the claim that this
        proof is exact. Bear in mind that forever is long. Understand the standard notation.
    """
    assert not matches(plain, listed)


def test_every_page_of_the_site_can_be_taken_apart_and_put_together_again():
    pages = all_pages(Places(ROOT))
    assert pages
    for page in pages:
        text = (ROOT / page).read_text(encoding="utf-8")
        parts = parts_of(text)
        lines = text.count("\n")
        taken = sum(p.lines_on_page if isinstance(p, Block) else p.text.count("\n") for p in parts)
        assert taken == lines, page
