"""A matplotlib figure as two pictures: one for the light theme, one for the dark.

A figure is drawn once, on no background. The dark picture is the same drawing with the lightness
of every colour turned round and its hue kept,

    (h, l, s)  ↦  (h, 1 − l, s),

so black lines become white ones, a pale blue becomes a deep blue, and the strong colours in
between stay what they are called. Images within a figure are data, and stay as they are.

Letters are drawn as curves, so they look the same everywhere. On a telephone a figure is some 340
pixels wide, and its smallest letters must still be read: `SMALLEST` pixels. A figure that
cannot be made so may scroll within its frame.
"""

from __future__ import annotations

import colorsys
import contextlib
import io
import re
from collections.abc import Iterator
from typing import Any

from attrs import frozen

PHONE = 340.0
"""The width of a figure on a telephone, in pixels."""
SMALLEST = 9.0
"""The size of the smallest letters there, in pixels."""
WIDTH = 4.6
"""Of a figure, in inches: letters of 10 points then have 10 pixels on a telephone."""
PIXELS_PER_POINT = 96 / 72
LIGHTEST, DARKEST = 0.96, 0.10
"""What black becomes in the dark, and white: a little less than white and black, for the eye."""

STYLE: dict[Any, Any] = {
    "figure.figsize": (WIDTH, 3.0),
    "figure.constrained_layout.use": True,
    "font.size": 10.0,
    "axes.titlesize": 10.5,
    "axes.labelsize": 10.0,
    "xtick.labelsize": 9.5,
    "ytick.labelsize": 9.5,
    "legend.fontsize": 9.5,
    "legend.frameon": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "lines.linewidth": 1.8,
    # blue, vermilion, green, orange, purple, sky of M. Okabe and K. Ito: told apart by all eyes
    "axes.prop_cycle": "cycler('color', "
    "['#0072B2', '#D55E00', '#009E73', '#E69F00', '#CC79A7', '#56B4E9'])",
    "mathtext.fontset": "cm",
    "svg.fonttype": "path",
    "svg.hashsalt": "chainrule",
}


@frozen
class Drawing:
    """A figure, drawn.

    Attributes
    ----------
    light, dark
        The pictures, as SVG.
    description
        What is to be seen, for who cannot see it.
    caption
        Markdown that stands below; may be empty.
    width
        Its own width in pixels.
    least_width
        Below that, its letters are too small.
    """

    light: str
    dark: str
    description: str
    caption: str
    width: float
    least_width: float


@contextlib.contextmanager
def uses_style() -> Iterator[None]:
    """Let matplotlib draw as the site does; where it is not installed, nothing can be drawn."""
    try:
        import matplotlib
    except ImportError:
        yield
        return
    with matplotlib.rc_context(STYLE):
        yield


def drawing_of(figure: Any, description: str, caption: str, may_scroll: bool) -> Drawing:
    """Draw a figure for both themes.

    Raises
    ------
    ValueError
        It is no figure, has no description, or its letters are too small for a telephone.
    """
    from matplotlib.figure import Figure

    if not isinstance(figure, Figure):
        raise ValueError(f"what should be a matplotlib figure is of type {type(figure).__name__}")
    if len(description.split()) < 4:
        raise ValueError(
            "the figure needs a description of what is to be seen, for who cannot see it: "
            'figure="…" at a Python block, alt: … in a figure block'
        )
    file = io.StringIO()
    figure.savefig(file, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    width = figure.get_size_inches()[0] * 72
    smallest, text = _smallest_letters(figure)
    least = width * SMALLEST / smallest
    if least > PHONE and not may_scroll:
        raise ValueError(
            f"{text!r} is {smallest * PHONE / width:.1f} pixels high on a telephone, where the "
            f"figure is {PHONE:.0f} pixels wide; {SMALLEST:.0f} can be read. Make the figure "
            f"narrower (figsize=({WIDTH}, …), panels below each other) or its letters larger; "
            "`scroll` lets a figure be moved that cannot be made narrower"
        )
    light = re.sub(r"^.*?(?=<svg)", "", file.getvalue(), flags=re.DOTALL)
    if figure.get_axes():
        import matplotlib.pyplot as plt

        plt.close(figure)
    return Drawing(light, in_the_dark(light), description, caption, width * PIXELS_PER_POINT, least)


def in_the_dark(svg: str) -> str:
    """The picture with the lightness of its colours turned round."""
    turned = re.sub(r"(?<=: )#[0-9a-f]{6}\b", lambda found: turned_round(found[0]), svg)
    # What has no colour of its own is black, and takes it from the picture as a whole.
    return turned.replace("<svg ", f'<svg fill="{turned_round("#000000")}" ', 1)


def turned_round(colour: str) -> str:
    """`#rrggbb` with its lightness turned round."""
    red, green, blue = (int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5))
    hue, lightness, saturation = colorsys.rgb_to_hls(red, green, blue)
    lightness = DARKEST + (LIGHTEST - DARKEST) * (1 - lightness)
    turned = colorsys.hls_to_rgb(hue, lightness, saturation)
    return "#" + "".join(f"{round(255 * part):02x}" for part in turned)


def _smallest_letters(figure: Any) -> tuple[float, str]:
    """The size in points of the smallest text that is to be seen, and that text."""
    from matplotlib.text import Text

    figure.draw_without_rendering()
    seen = [
        (text.get_fontsize(), text.get_text())
        for text in figure.findobj(Text)
        if text.get_visible() and text.get_text().strip()
    ]
    return min(seen, default=(10.0, ""))
