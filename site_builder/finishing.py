"""What the renderers leave to do in the built site.

- Formulas and diagrams are drawn, so that they are there without JavaScript.
- What a screen reader reads has a name: the search, the parts of the navigation. An anchor is no
  link, and an empty cell of a table no header.
- The search leads with the right page for the words that readers type, and shows no TeX.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

from site_builder import diagrams, formulas
from site_builder.faults import Fault

TYPED = {
    "adam": "train/optimizers-and-schedules/",
    "backpropagation": "lecture/chain-rule/",
    "batch norm": "layers/all/#normalization",
    "chain rule": "lecture/chain-rule/",
    "confusion matrix": "reference/training/metrics/#chainrule.metrics.confusion_matrix",
    "convolution": "layers/convolution/",
    "cross entropy": "train/fit/#a-cost-for-labels",
    "custom layer": "layers/write-a-layer/",
    "dropout": "reference/layers/#chainrule.Dropout",
    "early stopping": "train/callbacks/#earlystopping",
    "exploding gradient": "train/when-it-goes-wrong/#the-deltas-explode",
    "export": "recipes/#export-the-weights-as-numpy-arrays",
    "gradient check": "derivatives/proof-and-check/",
    "gradient descent": "lecture/training/",
    "install": "",
    "learning rate": "train/optimizers-and-schedules/",
    "lstm": "layers/recurrence/",
    "mnist": "reference/datasets/",
    "nan": "recipes/#find-where-a-nan-comes-from",
    "overfitting": "train/when-it-goes-wrong/#it-overfits",
    "pinn": "physics/solve-an-equation/",
    "playground": "lecture/training/#try-it",
    "pooling": "reference/layers/#chainrule.MaxPool",
    "regularization": "train/when-it-goes-wrong/#it-overfits",
    "relu": "reference/layers/#functions-for-an-activation",
    "residual": "compose/residual/",
    "save model": "train/checkpoints/#a-model-in-a-file",
    "skip connection": "compose/residual/",
    "softmax": "train/fit/#a-cost-for-labels",
    "uncertainty": "physics/uncertainty/",
    "vanishing gradient": "train/when-it-goes-wrong/#the-deltas-vanish",
    "weight decay": "train/optimizers-and-schedules/#weight-decay-without-the-biases",
    "weight sharing": "compose/sharing/",
}
"""What readers type into the search, and where it should lead."""
BOOST = 20
"""How much more the words of such a place weigh."""

REPAIRS = [
    (re.compile(r'<a href="" id="([^"]+)"></a>'), r'<span id="\1"></span>'),
    (re.compile(r'(data-md-component="search" role="dialog")>'), r'\1 aria-label="Search">'),
    (re.compile(r"<th((?: [^>]*)?)>\s*</th>"), r"<td\1></td>"),
    # A part of the table of contents is no landmark, and its name need not be unique.
    (re.compile(r'(<nav class="md-nav") aria-label="[^"]*">'), r'\1 role="presentation">'),
    # A part whose first page is its title has a label without text.
    (
        re.compile(
            r'(<nav [^>]*aria-labelledby="[^"]+"[^>]*)(>\s*<label class="md-nav__title"[^>]*>'
            r'\s*<span class="md-nav__icon md-icon"></span>\s*)([^<>]+?)(?=\s*</label>)'
        ),
        r'\1 aria-label="\3"\2\3',
    ),
]


def finish(site: Path) -> list[Fault]:
    """Finish all pages of a built site, and its search; return what is wrong in them."""
    pages = {file: file.read_text("utf-8") for file in sorted(site.rglob("*.html"))}
    faults: list[Fault] = []
    finished = {file: _repaired(text) for file, text in pages.items()}
    for kind in (formulas, diagrams):
        found = {file: kind.found_in(text) for file, text in finished.items()}
        made = kind.drawn(site, {code for codes in found.values() for code in codes})
        if made is None:
            what = kind.__name__.rpartition(".")[2]
            print(f"Without {kind.NEEDS}, the browser draws the {what}.", file=sys.stderr)
            continue
        faults += [
            Fault(file.relative_to(site).as_posix(), 0, f"{made[code][1]}: {code}")
            for file, codes in found.items()
            for code in codes
            if made[code][1]
        ]
        finished = {file: kind.inserted(text, made) for file, text in finished.items()}
    for file, text in finished.items():
        if text != pages[file]:
            file.write_text(text, encoding="utf-8")
    index = site / "search" / "search_index.json"
    return faults + (_search(index) if index.is_file() else [])


def _repaired(page: str) -> str:
    for pattern, replacement in REPAIRS:
        page = pattern.sub(replacement, page)
    return page


def _search(file: Path) -> list[Fault]:
    """Write formulas of the index in signs, and give weight and words to the places of TYPED."""
    index = json.loads(file.read_text("utf-8"))
    places = {entry["location"]: entry for entry in index["docs"]}
    for entry in index["docs"]:
        entry["text"] = formulas.plain(entry["text"])
        entry["title"] = formulas.plain(entry["title"])
    faults = []
    for words, location in TYPED.items():
        entry = places.get(location)
        if entry is None:
            problem = f"the search for {words!r} leads to {location}, which does not exist"
            faults.append(Fault("site_builder/finishing.py", 0, problem))
            continue
        entry["boost"] = BOOST
        title = entry["title"].lower()
        if not all(re.search(rf"\b{re.escape(word)}\b", title) for word in words.split()):
            entry["title"] += f" · {words}"
    file.write_text(json.dumps(index, ensure_ascii=False, separators=(",", ":")), "utf-8")
    return faults
