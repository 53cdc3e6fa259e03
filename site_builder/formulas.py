r"""Formulas as HTML, drawn at build time, so that they are there without JavaScript.

A renderer writes \(…\) or \[…\] for a formula. KaTeX draws it in Node.js, with the options in
`docs/javascripts/formulas.js`. Without Node.js, the same script draws the formulas in the browser.
"""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path

NEEDS = "Node.js"
FORMULA = re.compile(r'(<(span|div) class="arithmatex">)(\\[(\[].*?\\[)\]])(?=</\2>)', re.DOTALL)
SCRIPTS = re.compile(
    r'\s*<script src="[^"]*/(?:katex\.min|auto-render\.min|formulas)\.js"></script>'
    r'|\s*<script src="javascripts/formulas\.js"></script>'
)
PROGRAM = """
const [library, settings] = process.argv.slice(1);
const katex = require(library);
let options;
globalThis.document$ = { subscribe: (draw) => draw({}) };
globalThis.renderMathInElement = (body, given) => (options = given);
require(settings);
const drawn = JSON.parse(require("fs").readFileSync(0, "utf8")).map((formula) => {
  const how = { macros: { ...options.macros }, displayMode: formula[1] === "[" };
  try {
    return [katex.renderToString(formula.slice(2, -2), how), ""];
  } catch (error) {
    return ["", error.message];
  }
});
process.stdout.write(JSON.stringify(drawn));
"""

SIGNS = {
    "alpha": "α", "beta": "β", "gamma": "γ", "delta": "δ", "epsilon": "ε", "varepsilon": "ε",
    "zeta": "ζ", "eta": "η", "theta": "θ", "kappa": "κ", "lambda": "λ", "mu": "μ", "nu": "ν",
    "xi": "ξ", "pi": "π", "rho": "ρ", "sigma": "σ", "tau": "τ", "phi": "φ", "varphi": "φ",
    "chi": "χ", "psi": "ψ", "omega": "ω", "Delta": "Δ", "Gamma": "Γ", "Lambda": "Λ", "Phi": "Φ",
    "Sigma": "Σ", "Theta": "Θ", "Omega": "Ω", "cdot": "·", "odot": "⊙", "otimes": "⊗",
    "times": "×", "pm": "±", "le": "≤", "leq": "≤", "ge": "≥", "geq": "≥", "ne": "≠", "neq": "≠",
    "approx": "≈", "sim": "~", "to": "→", "leftarrow": "←", "mapsto": "↦", "in": "∈", "infty": "∞",
    "sum": "Σ", "prod": "Π", "int": "∫", "sqrt": "√", "propto": "∝", "nabla": "∇", "ldots": "…",
    "cdots": "…", "dots": "…", "mid": "|", "lVert": "‖", "rVert": "‖", "lvert": "|",
    "rvert": "|", "langle": "⟨", "rangle": "⟩", "T": "ᵀ", "top": "ᵀ", "ell": "ℓ", "lfloor": "⌊",
    "rfloor": "⌋", "ll": "≪", "gg": "≫", "exp": "exp ", "ln": "ln ", "log": "log ", "sin": "sin ",
    "cos": "cos ", "tanh": "tanh ", "max": "max ", "min": "min ", "det": "det ",
}  # fmt: skip
"""How a search result writes a command of TeX; it leaves out the others."""


def drawn(site: Path, formulas: Iterable[str]) -> dict[str, tuple[str, str]] | None:
    r"""The HTML of each formula, and what is wrong with it; None without Node.js.

    Parameters
    ----------
    site
        The built site, which has KaTeX and the script with its options.
    formulas
        Each with its delimiters, such as `\(y = f(z)\)`.
    """
    node = shutil.which("node")
    if node is None:
        return None
    chosen = sorted(set(formulas))
    files = ("assets/vendor/katex/dist/katex.min.js", "javascripts/formulas.js")
    done = subprocess.run(
        [node, "-e", PROGRAM, *(str((site / file).resolve()) for file in files)],
        input=json.dumps(chosen),
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
    )
    if done.returncode:
        return None
    return {
        formula: (made, problem)
        for formula, (made, problem) in zip(chosen, json.loads(done.stdout), strict=True)
    }


def found_in(page: str) -> list[str]:
    """The formulas of a rendered page, with their delimiters."""
    return [html.unescape(found[3]) for found in FORMULA.finditer(page)]


def inserted(page: str, made: dict[str, tuple[str, str]]) -> str:
    """The page with its formulas drawn, and without the scripts that draw them."""
    page = FORMULA.sub(lambda found: found[1] + made[html.unescape(found[3])][0], page)
    return SCRIPTS.sub("", page)


def plain(text: str) -> str:
    r"""The text with its formulas in signs: `\(\Delta_k = y_k - F\)` becomes Δ_k = y_k - F."""
    return re.sub(r"\\\((.+?)\\\)|\\\[(.+?)\\\]", _in_signs, text, flags=re.DOTALL)


def _in_signs(found: re.Match[str]) -> str:
    tex = found[1] or found[2]
    tex = re.sub(r"\\(?:begin|end)\s*\{[^}]*\}(?:\{[clr|]*\})?", " ", tex)
    tex = re.sub(r"\\\\(?:\[[^]]*\])?|\\[,;:!> ]|&amp;|&", " ", tex)
    tex = re.sub(r"\\partial\s*", "∂", tex)
    part = r"(?:\{((?:[^{}]|\{[^{}]*\})*)\}|(\w))"
    for _ in range(3):  # fractions within fractions
        tex = re.sub(rf"\\(pd|[dt]?frac)\s*{part}\s*{part}", _fraction, tex)
    tex = re.sub(r"\\([A-Za-z]+)", lambda name: SIGNS.get(name[1], ""), tex)
    tex = re.sub(r"([_^])\{([^{}()]{2,})\}", r"\1(\2)", tex)
    return " ".join(re.sub(r"[{}\\]", "", tex).split())


def _fraction(found: re.Match[str]) -> str:
    parts = (found[2] or found[3] or "", found[4] or found[5] or "")
    if found[1] == "pd":
        return "/".join(f"∂{part}" for part in parts)
    return "/".join(f"({part})" if re.search(r"[-+ ]", part) else part for part in parts)
