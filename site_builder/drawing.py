"""Draws a matplotlib figure as two images: one for the light theme, one for the dark.

A figure is drawn once, without a background. In the dark image the lightness of every colour is
inverted and its hue is kept,

    (h, l, s)  ↦  (h, 1 − l, s),

so black lines become white, pale blue becomes deep blue, and strong colours hardly change.
Images inside a figure are data, and are not changed.

Text is drawn as curves, so it looks the same everywhere. On a phone a figure is about 340 pixels
wide, and its smallest text must still be readable: `SMALLEST` pixels high. A figure that is too
wide for that may scroll within its frame. Coordinates have two decimals, and an image has at most
`HEAVIEST` bytes: what consists of thousands of parts is drawn with `rasterized=True`, as pixels.
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
"""The width of a figure on a phone, in pixels."""
SMALLEST = 9.0
"""The size of the smallest readable text on a phone, in pixels."""
WIDTH = 4.6
"""Default width of a figure in inches: text of 10 points is then 10 pixels high on a phone."""
PIXELS_PER_POINT = 96 / 72
HEAVIEST = 150_000
"""The largest size of an image in bytes."""
DENSE = 2 * 96
"""The pixels per inch of what is drawn with `rasterized=True`: two per pixel of the page."""
LIGHTEST, DARKEST = 0.96, 0.10
"""The lightness of black and of white in the dark theme: less contrast is easier on the eye."""

COORDINATES = re.compile(r'(?<= d=")[^"]+|(?<= [xy]=")[^"]+')
"""The numbers of a path, and the place of a marker."""

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
    # The palette of M. Okabe and K. Ito, which colour-blind readers can distinguish: blue,
    # vermilion, green, orange, purple, sky blue.
    "axes.prop_cycle": "cycler('color', "
    "['#0072B2', '#D55E00', '#009E73', '#E69F00', '#CC79A7', '#56B4E9'])",
    "mathtext.fontset": "cm",
    "svg.fonttype": "path",
    "svg.hashsalt": "chainrule",
}


@frozen
class Drawing:
    """A drawn figure.

    Attributes
    ----------
    light, dark
        The images, as SVG.
    description
        The alternative text.
    caption
        Markdown for the caption; may be empty.
    width
        The width in pixels.
    least_width
        The smallest width at which the text is readable.
    """

    light: str
    dark: str
    description: str
    caption: str
    width: float
    least_width: float


@contextlib.contextmanager
def uses_style() -> Iterator[None]:
    """Use the style of the site in matplotlib; do nothing if it is not installed."""
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
        It is not a figure, has no description, is too large a file, or its text is too small for a
        phone.
    """
    from matplotlib.figure import Figure

    if not isinstance(figure, Figure):
        raise ValueError(
            f"expected a matplotlib figure, received one of type {type(figure).__name__}"
        )
    if len(description.split()) < 4:
        raise ValueError(
            "the figure needs a description for readers who cannot see it: "
            'figure="…" for a Python block, alt: … in a figure block'
        )
    file = io.StringIO()
    about = {"Date": None, "Creator": None}
    figure.savefig(file, format="svg", transparent=True, dpi=DENSE, metadata=about)
    width = figure.get_size_inches()[0] * 72
    smallest, text = _smallest_letters(figure)
    least = width * SMALLEST / smallest
    if least > PHONE and not may_scroll:
        raise ValueError(
            f"{text!r} is {smallest * PHONE / width:.1f} pixels high on a phone, where the "
            f"figure is {PHONE:.0f} pixels wide; the minimum is {SMALLEST:.0f}. Make the figure "
            f"narrower (figsize=({WIDTH}, …), panels below each other) or its text larger; "
            "the option `scroll` allows a figure that must be wide to scroll"
        )
    light = re.sub(r"^.*?(?=<svg)", "", file.getvalue(), flags=re.DOTALL)
    light = COORDINATES.sub(lambda found: re.sub(r"(\.\d\d)\d+", r"\1", found[0]), light)
    if len(light) > HEAVIEST:
        raise ValueError(
            f"the image has {len(light) / 1000:.0f} kB, the maximum is {HEAVIEST / 1000:.0f} kB; "
            "draw the lines, points or squares of which there are thousands with rasterized=True"
        )
    if figure.get_axes():
        import matplotlib.pyplot as plt

        plt.close(figure)
    return Drawing(light, in_the_dark(light), description, caption, width * PIXELS_PER_POINT, least)


def in_the_dark(svg: str) -> str:
    """The image with the lightness of its colours inverted."""
    turned = re.sub(r"(?<=: )#[0-9a-f]{6}\b", lambda found: turned_round(found[0]), svg)
    # Elements without a colour are black; they inherit the fill of the whole image.
    return turned.replace("<svg ", f'<svg fill="{turned_round("#000000")}" ', 1)


def turned_round(colour: str) -> str:
    """`#rrggbb` with its lightness inverted."""
    red, green, blue = (int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5))
    hue, lightness, saturation = colorsys.rgb_to_hls(red, green, blue)
    lightness = DARKEST + (LIGHTEST - DARKEST) * (1 - lightness)
    turned = colorsys.hls_to_rgb(hue, lightness, saturation)
    return "#" + "".join(f"{round(255 * part):02x}" for part in turned)


def _smallest_letters(figure: Any) -> tuple[float, str]:
    """The size in points of the smallest visible text, and that text."""
    from matplotlib.text import Text

    figure.draw_without_rendering()
    seen = [
        (text.get_fontsize(), text.get_text())
        for text in figure.findobj(Text)
        if text.get_visible() and text.get_text().strip()
    ]
    return min(seen, default=(10.0, ""))
