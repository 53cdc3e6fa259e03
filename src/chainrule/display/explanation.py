r"""The result of `explain`: the lines of backpropagation, to compute and to print.

A line such as

    ∂C/∂w₁ = y₀ᵀ Δ₁

is stored once, as the expression ``y_0.T @ Delta_1``. `Explanation.evaluate` computes it for given
arrays; `chainrule.display.notation` turns it into the text of a terminal or a notebook.
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from attrs import field, frozen

from chainrule.core.terminal import for_terminal, printable
from chainrule.display.notation import evaluate, latex_name

SHOWN = 60
"""A longer section is printed without its middle; `Explanation.records` has every line."""

WIDTH = 100
"""The maximum width of a line, if possible."""


@frozen
class Record:
    """One line of the explanation.

    Attributes
    ----------
    kind
        ``"symbol"``, ``"forward"``, ``"delta"``, ``"fan-out"`` or ``"gradient"``; a part of a
        formula is a ``"definition"``.
    step
        1, 2 or 3 for the steps of the backward pass; 0 for symbols and the forward pass.
    place
        The layer, such as ``dense_1``; for a symbol, its name in the program, such as
        ``dense_1.weights``.
    left
        The name of the quantity that the line defines: ``Delta_1``.
    expression
        Its value as a NumPy expression of other such names; empty for a quantity that is given.
    latex, text
        The whole line in LaTeX, for math mode, and as text for a terminal.
    remark
        A remark on the line, or an empty string.
    remark_latex
        The same for math mode, if it is a formula.
    is_evaluable
        Whether the expression can be computed. It cannot if a layer does not provide its
        equations.
    """

    kind: str
    step: int
    place: str
    left: str
    expression: str
    latex: str
    text: str = field(converter=for_terminal)
    remark: str = field(default="", converter=for_terminal)
    remark_latex: str = ""
    is_evaluable: bool = False


@frozen(repr=False)
class Explanation:
    """The result of `explain`: prints as text, and shows formulas in a notebook.

    Attributes
    ----------
    name
        The class of the model.
    records
        A `Record` for each symbol and each line.
    """

    name: str
    records: tuple[Record, ...]
    _functions: Mapping[str, Callable[..., Any]] = field(repr=False, eq=False)

    def evaluate(self, arrays: Mapping[str, Any]) -> dict[str, Any]:
        """Compute all lines for these arrays.

        Parameters
        ----------
        arrays
            The values of the symbols, by their names in the records: the inputs, the parameters,
            the deltas from the cost, and everything that cannot be evaluated. A given value is not
            recomputed, so you can also evaluate each line separately.

        Returns
        -------
        dict
            For the ``left`` of each record the value of its expression, in order.

        Raises
        ------
        DefinitionError
            If an expression needs a symbol that is neither given nor computed.

        Examples
        --------
        >>> from chainrule.display.equations import explain
        >>> model = Dense(2, initializer="ones")
        >>> model.build((3,))
        >>> x, delta = np.ones((1, 3)), np.array([[1.0, 10.0]])
        >>> arrays = {"y_0": x, "w_1": model.weights.value, "b_1": np.zeros(2), "Delta_1": delta}
        >>> explain(model).evaluate(arrays)["dC_dw_1"]
        array([[ 1., 10.],
               [ 1., 10.],
               [ 1., 10.]])
        """
        known = {**self._functions, **arrays}
        found: dict[str, Any] = {}
        for record in self.records:
            if record.is_evaluable:
                found[record.left] = value = evaluate(record.expression, known)
                known.setdefault(record.left, value)
        return found

    def to_markdown(self) -> str:
        """The whole explanation as Markdown, with formulas in LaTeX between dollar signs."""
        return _markdown(self, limit=None)

    def _repr_markdown_(self) -> str:
        return _markdown(self, limit=SHOWN)

    @printable
    def __str__(self) -> str:
        return _plain(self)

    __repr__ = __str__


# ------------------------------------------------------------------------------- in a terminal

TITLES = (
    "Symbols",
    "Forward",
    "Step 1: the delta at the output",
    "Step 2: back through the layers",
    "Step 3: the gradients",
)


def _sections(found: Explanation) -> Iterator[tuple[str, list[Record]]]:
    kinds = [("symbol", 0), ("forward definition", 0), ("", 1), ("", 2), ("", 3)]
    for title, (kind, step) in zip(TITLES, kinds, strict=True):
        records = [r for r in found.records if r.step == step and (not kind or r.kind in kind)]
        if records:
            yield title, records


def _plain(found: Explanation) -> str:
    lines = [f"Backpropagation of {found.name}, for a batch of N rows"]
    for title, records in _sections(found):
        note = _note(title, found, page=False)
        lines += ["", title, *(f"  {line}" for line in note.splitlines())]
        shown, left_out = _shortened(records, SHOWN)
        rows = _symbol_rows(shown) if title == TITLES[0] else _rows(shown)
        if left_out:
            rows.insert(len(rows) // 2, f"  … {left_out:,} more …")
        lines += rows
    return "\n".join(lines)


def _shortened(records: list[Record], limit: int | None) -> tuple[list[Record], int]:
    """The first and last records if there are too many, and the number of those omitted."""
    if limit is None or len(records) <= limit:
        return records, 0
    half = limit // 2
    return [*records[:half], *records[-half:]], len(records) - 2 * half


def _rows(records: list[Record]) -> list[str]:
    """Lines with aligned equality signs, followed by their places and remarks."""
    sides = [record.text.partition(" = ") for record in records]
    left = min(max(len(side[0]) for side in sides), 12)
    texts = [f"  {a:>{left}}{sign}{b}" for a, sign, b in sides]
    width = max((len(text) for text in texts if len(text) <= BROAD), default=0)
    rows = []
    for record, text in zip(records, texts, strict=True):
        *above, text = wrapped(text, " " * (left + 5))
        place = f"{text:<{width}}   {record.place}"
        rows += [*above, place]
        if record.remark and len(place) + len(record.remark) + 3 <= WIDTH:
            rows[-1] += f" · {record.remark}"
        elif record.remark:
            rows += wrapped(" " * (left + 5) + record.remark, " " * (left + 7))
    return rows


BROAD = 60
"""The places are aligned after the lines, except those of lines longer than this."""


def wrapped(text: str, indent: str) -> list[str]:
    """The lines of a text, broken between words."""
    if len(text) <= WIDTH - 12:
        return [text]
    return textwrap.wrap(
        text,
        WIDTH - 12,
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
        drop_whitespace=True,
    )


def _symbol_rows(records: list[Record]) -> list[str]:
    parts = [record.text.partition(" ∈ ") for record in records]
    sign = max([len(side[0]) for side in parts if side[1]] or [0])
    cells = [f"  {a:<{sign}}{b}{c}" for a, b, c in parts]
    width = max(len(cell) for cell in cells)
    return [f"{cell:<{width}}   {r.place}" for cell, r in zip(cells, records, strict=True)]


def _note(title: str, found: Explanation, page: bool) -> str:
    """The introduction to a section."""
    used = {
        sign
        for record in found.records
        for sign in ("np.eye(", "np.where(")
        if record.is_evaluable and sign in record.expression
    }
    signs = ("I is the identity matrix. " if "np.eye(" in used else "") + (
        "[a = b] is 1 where a = b, and 0 elsewhere. " if "np.where(" in used else ""
    )
    text, latex = {
        TITLES[0]: (
            "Rows are the samples s of a batch of N; ⊙ multiplies element by element.\n"
            f"Δₙ = ∂C/∂zₙ, or ∂C/∂yₙ if there is no zₙ.\n{signs.strip()}",
            r"Rows are the samples $s$ of a batch of $N$; $\odot$ multiplies element by element. "
            r"$\Delta^{(n)} = \partial C / \partial z^{(n)}$, "
            r"or $\partial C / \partial y^{(n)}$ if there is no $z^{(n)}$. "
            + signs.replace("I is", "$I$ is").replace("[a = b]", "$[a = b]$"),
        ),
        TITLES[2]: (
            "It comes from the cost: loss.delta(y, F). For C = ½ ⟨‖y − F‖²⟩ it is (y − F) / N.",
            r"It comes from the cost: `loss.delta(y, F)`. For "
            r"$C = \frac{1}{2} \left\langle \lVert y - F \rVert^2 \right\rangle$ "
            r"it is $(y - F) / N$.",
        ),
        TITLES[3]: (
            "M is the lecture's, for one sample: Δₖ = Σⱼ Δⱼ Mⱼₖ with Mⱼₖ = wⱼₖ f′(zₖ).\n"
            "The lecture's wⱼₖ is weights[k, j], so M = wᵀ diag(f′(z)).",
            r"$M$ is the lecture's, for one sample: $\Delta_k = \sum_j \Delta_j M_{jk}$ "
            r"with $M_{jk} = w_{jk} f'(z_k)$. The lecture's $w_{jk}$ is `weights[k, j]`, "
            r"so $M = w^\top \operatorname{diag}(f'(z))$.",
        ),
        TITLES[4]: (
            "A sample contributes yₖ Δⱼ for a weight and Δⱼ for a bias; the batch sums them.",
            r"A sample contributes $y_k \Delta_j$ for a weight and $\Delta_j$ for a bias; "
            r"the batch sums them.",
        ),
    }.get(title, ("", ""))
    has_m = any(record.remark.startswith("M = ") for record in found.records)
    has_dense = any(record.expression.endswith(".sum(axis=0)") for record in found.records)
    if (title == TITLES[3] and not has_m) or (title == TITLES[4] and not has_dense):
        return ""
    return latex if page else text


# ------------------------------------------------------------------------------- on a page


def _markdown(found: Explanation, limit: int | None) -> str:
    parts = [f"### Backpropagation of {found.name}"]
    for title, records in _sections(found):
        parts.append(f"#### {title}")
        if note := _note(title, found, page=True):
            parts.append(note)
        shown, left_out = _shortened(records, limit)
        middle = f"… {left_out:,} more …" if left_out else ""
        if title == TITLES[0]:
            parts.append(_table(shown, middle))
        elif middle:
            half = len(shown) // 2
            parts += [*_blocks(shown[:half]), middle, *_blocks(shown[half:])]
        else:
            parts += _blocks(shown)
    return "\n\n".join(parts) + "\n"


def _table(records: list[Record], middle: str) -> str:
    rows = [f"| ${record.latex}$ | `{record.place}` |" for record in records]
    if middle:
        rows.insert(len(rows) // 2, f"| {middle} | |")
    return "\n".join(["| symbol | in the program |", "|---|---|", *rows])


BLOCK = 40
"""The maximum number of lines in one formula."""


def _blocks(records: list[Record]) -> Iterator[str]:
    for start in range(0, len(records), BLOCK):
        lines = [_aligned(record) for record in records[start : start + BLOCK]]
        body = " \\\\\n".join(lines)
        yield f"$$\n\\begin{{aligned}}\n{body}\n\\end{{aligned}}\n$$"


def _aligned(record: Record) -> str:
    left, sign, right = record.latex.partition(" = ")
    remark = record.remark_latex or (
        rf"\text{{{latex_name(record.remark)}}}" if record.remark else ""
    )
    place = rf"\texttt{{{latex_name(record.place)}}}"
    note = rf"{place} \quad {remark}" if remark else place
    return rf"{left} &{sign.strip()} {right} && {note}"
