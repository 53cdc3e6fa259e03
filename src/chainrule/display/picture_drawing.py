"""Draws a picture that is arranged: circles, lines, images and arrows on axes in inches."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import numpy as np
from attrs import define, field

from chainrule.core.types import Array
from chainrule.display.picture_layout import RADIUS, Column, Link, Point
from chainrule.figure_style import CURVES, ink, new_figure, on_paper, pale, paper, quiet

POSITIVE, NEGATIVE, GREY = CURVES[0], CURVES[1], "#888888"
FILTER, ONE = 0.34, 0.15
"""The size of a filter, and the radius of the input that is 1."""
WIDEST = 40.0
"""A wider figure is drawn smaller."""


@define(eq=False)
class Drawing:
    """The figure of columns and links, which are arranged.

    The artist of each neuron, line, image and box has an id: the path of the layer, and the index.
    """

    columns: list[Column]
    links: list[Link]
    axes: Any = None
    _levels: list[float] = field(factory=list)  # of the arrows that pass above or below columns

    def figure(self) -> Any:
        """The figure, just large enough for everything."""
        figure = new_figure(figsize=(6.0, 4.0), layout="none")
        _keep_layout(figure)
        self.axes = figure.add_axes((0, 0, 1, 1))
        self.axes.set_axis_off()
        for link in self.links:
            getattr(self, f"_draw_{link.kind}")(link)
        for column in self.columns:
            self._draw_column(column)
        left = min(column.x - column.half for column in self.columns) - 0.55
        right = max(column.x + column.half for column in self.columns) + 0.45
        left, right = left - max(3.6 - right + left, 0) / 2, right + max(3.6 - right + left, 0) / 2
        top = max([*(column.top for column in self.columns), *self._levels]) + 0.3
        bottom = min([*(column.bottom for column in self.columns), *self._levels]) - 0.1
        if any(link.kind in ("weights", "filters") for link in self.links):
            bottom -= 0.35
            self._legend((left + right) / 2, bottom + 0.2)
        scale = min(1.0, WIDEST / (right - left))
        self.axes.set(xlim=(left, right), ylim=(bottom, top), aspect="equal")
        figure.set_size_inches((right - left) * scale, (top - bottom) * scale)
        for text in self.axes.texts:
            text.set_fontsize(text.get_fontsize() * scale)
        return figure

    def _legend(self, x: float, y: float) -> None:
        for left, colour, text in (
            (x - 1.2, POSITIVE, "positive"),
            (x + 0.3, NEGATIVE, "negative"),
        ):
            self._line((left, y), (left + 0.3, y), color=colour, lw=2.5)
            self._text((left + 0.38, y), text, size=9, ha="left", color=quiet())

    # ---------------------------------------------------------------- columns

    def _draw_column(self, column: Column) -> None:
        draw = {"neurons": self._neuron, "series": self._strip}.get(column.kind, self._map)
        for number, place in column.places.items():
            if number is None:
                self._text(place, "⋮", size=16, color=quiet())
            else:
                draw(column, number, place, f"{column.name}[{number}]")
        if column.has_one:
            self._circle(column.one, ONE, "1", "one", fc=paper(), ec=GREY, ls=":")
        y = column.foot - 0.2
        for note in [*([column.name] if column.is_input else []), *column.notes]:
            self._text((column.x, y), note, size=10.5)
            y -= 0.2
        self._text((column.x, y), column.size, size=9, color=quiet())

    def _neuron(self, column: Column, number: int, place: Point, gid: str) -> None:
        face, text = pale() if column.is_input else paper(), ""
        if column.value is not None:
            value = float(np.ravel(column.value)[number])
            face, text = _tint(value / _largest(column.value)), _short(value)
        self._circle(place, RADIUS, text, gid, fc=face)
        if "softmax" in column.notes:  # the number of the class
            beside = (place[0] + RADIUS + 0.1, place[1])
            self._text(beside, f"{number}", size=8.5, ha="left", color=quiet())

    def _strip(self, column: Column, number: int, place: Point, gid: str) -> None:
        width, _ = column.item
        time = f"t = {number + 1}"
        if column.value is None:
            self._box(place, column.item, time, gid)
            return
        row = np.reshape(column.value[number], (1, -1))
        self._image(row, place, column.item, _largest(column.value), gid)
        if column.is_input:
            beside = (place[0] - width / 2 - 0.1, place[1])
            self._text(beside, time, size=8.5, ha="right", color=quiet())

    def _map(self, column: Column, number: int, place: Point, gid: str) -> None:
        value, cmap = column.value, None
        if value is not None:
            value = np.transpose(value) if column.kind == "matrix" else _slice(value[..., number])
            cmap = "Greys" if column.is_input and np.all(value >= 0) else None
        self._image(value, place, column.item, _largest(column.value), gid, cmap)

    # ---------------------------------------------------------------- layers

    def _draw_weights(self, link: Link) -> None:
        """A line for each weight between two neurons that are drawn, the widest on top."""
        w = np.asarray(link.layer.weights.value, float)
        b = np.asarray(link.layer.biases.value if link.source.has_one else [], float)
        starts, ends = link.source.at(), link.target.at()
        lines = [
            (w[j, k], starts[j], ends[k], RADIUS, f"{link.path}.weights[{j}, {k}]")
            for j in starts
            for k in ends
        ]
        if len(b):
            one = link.source.one
            lines += [(b[k], one, ends[k], ONE, f"{link.path}.biases[{k}]") for k in ends]
        largest = max(_largest(w), _largest(b))
        for value, start, end, radius, gid in sorted(lines, key=lambda line: abs(line[0])):
            share = abs(value) / largest if math.isfinite(value) else 0.0
            colour = POSITIVE if value > 0 else NEGATIVE if value < 0 else GREY
            line = _towards(start, end, radius), _towards(end, start, RADIUS)
            self._line(*line, color=colour, lw=0.4 + 2.6 * share, alpha=0.3 + 0.7 * share, gid=gid)

    def _draw_filters(self, link: Link) -> None:
        """The filter of each map that is drawn, for its first input maps."""
        w, target = _filters(link.layer), link.target
        *kernel, inputs, filters = w.shape
        shown = 1 if len(kernel) == 1 else min(inputs, 2)
        right = target.x - target.half - (0.35 if target.kind == "matrix" else 0.14)
        left = right - FILTER * shown - 0.03 * (shown - 1)
        heights = {k: y for k, (_, y) in target.at().items()}
        if target.kind == "matrix":
            rows = min(filters, 4)
            heights = {k: target.y + 0.5 * ((rows - 1) / 2 - k) for k in range(rows)}
        above = ((left + right) / 2, max(heights.values()) + 0.28)
        self._text(above, " × ".join(map(str, kernel)), size=8.5, color=quiet())
        for k, y in heights.items():
            for c in range(shown):
                image = w[..., k].T if len(kernel) == 1 else _slice(w[..., c, k])
                place = (left + FILTER / 2 + c * (FILTER + 0.03), y)
                share = image.shape[0] / image.shape[1]
                size = (FILTER / max(share, 1), FILTER * min(share, 1))
                self._image(image, place, size, _largest(w), f"{link.path}.weights[{c}, {k}]")
            thin = {"color": GREY, "alpha": 0.35}
            for x, height in link.source.at().values():
                self._line((x + link.source.half + 0.03, height), (left - 0.05, y), **thin)
            if target.kind == "matrix":
                self._line((right + 0.05, y), (link.end[0] + 0.02, target.y), **thin)

    def _draw_cells(self, link: Link) -> None:
        """One cell for each step of time that is drawn, each with an arrow to the next."""
        source, target = link.source, link.target
        x = target.x - target.half - link.width / 2
        heights = [y for _, y in source.at().values()]
        for y in heights:
            self._box((x, y), (0.8, 0.36), link.label, link.path)
            self._arrow((source.x + source.half + 0.04, y), (x - 0.42, y))
            if target.kind == "series":
                self._arrow((x + 0.42, y), (link.end[0], y + target.y - source.y))
        for above, below in pairwise(heights):
            self._arrow((x, above - 0.2), (x, below + 0.2), "<|-|>" if link.is_two_way else "-|>")
        if not heights:  # a series without steps
            return
        if target.kind != "series":
            last = (x + 0.42, heights[-1])
            for end in target.at().values():
                self._line(last, _towards(end, last, RADIUS), color=GREY, alpha=0.6)
        for other in link.sources[1:]:
            nearest = heights[0] + 0.2 if other.y > source.y else heights[-1] - 0.2
            self._flow(other, (x, nearest), link)

    def _draw_sign(self, link: Link) -> None:
        place = (link.end[0] - 0.45, link.end[1])
        self._circle(place, 0.19, link.label, link.path, size=13)
        for source in link.sources:
            self._flow(source, place, link, 0.21)
        self._arrow((place[0] + 0.2, place[1]), link.end)

    def _draw_arrow(self, link: Link) -> None:
        source, end = link.source, link.end
        self._flow(source, end, link)
        middle = ((source.x + source.half + end[0]) / 2, (source.y + end[1]) / 2 + 0.14)
        self._text(middle, link.label, size=9.5, gid=link.path)

    def _draw_box(self, link: Link) -> None:
        half, (x, y) = link.length / 2, link.end
        x -= 0.3 + half
        self._box((x, y), (2 * half, 0.44), link.label, link.path, fc=pale())
        for source in link.sources:
            self._flow(source, (x - half - 0.03, y), link)
        self._arrow((x + half + 0.03, y), link.end)

    def _flow(self, source: Column, end: Point, link: Link, radius: float = 0.0) -> None:
        """An arrow from a column to a circle; around the columns that are in the way."""
        start = (source.x + source.half + 0.05, source.y)
        depth, last = source.depth, link.target.depth
        between = [c for c in self.columns if depth < c.depth < last]
        if not any(_crosses(c, start, end) for c in between):
            self._arrow(start, _towards(end, start, radius))
            return
        is_below = any(c.depth == depth and c.y > source.y for c in self.columns)
        passed = [c for c in self.columns if depth <= c.depth <= last]
        level = max(c.top for c in passed)
        edge, up = source.top, 1
        if is_below:
            level, edge, up = min(c.bottom for c in passed), source.bottom, -1
        level += 0.25 * up
        while any(abs(level - other) < 0.15 for other in self._levels):
            level += 0.2 * up
        self._levels.append(level)
        corners = [(source.x, edge + 0.05 * up), (source.x, level), (end[0], level)]
        self._bent_arrow([*corners, (end[0], end[1] + max(radius, 0.05) * up)])

    # ---------------------------------------------------------------- shapes

    def _text(self, place: Point, text: str, **style: Any) -> None:
        style = {"ha": "center", "va": "center", "color": ink(), "zorder": 5, **style}
        self.axes.text(*place, text, **style)

    def _circle(
        self, place: Point, radius: float, text: str, gid: str, size: float = 8.5, **style: Any
    ) -> None:
        from matplotlib.patches import Circle

        style = {"fc": paper(), "ec": ink(), "lw": 1.2, "zorder": 3, **style}
        self.axes.add_patch(Circle(place, radius, gid=gid, **style))
        if text:
            self._text(place, text, size=size, va="center_baseline")

    def _box(self, place: Point, size: Point, text: str, gid: str, fc: Any = None) -> None:
        from matplotlib.patches import FancyBboxPatch

        corner = (place[0] - size[0] / 2, place[1] - size[1] / 2)
        style: dict[str, Any] = {"boxstyle": "round,pad=0,rounding_size=0.1", "zorder": 3}
        self.axes.add_patch(
            FancyBboxPatch(corner, *size, fc=fc or paper(), ec=ink(), lw=1.2, gid=gid, **style)
        )
        self._text(place, text, size=9.5)

    def _image(
        self,
        image: Array | None,
        place: Point,
        size: Point,
        largest: float,
        gid: str,
        cmap: str | None = None,
    ) -> None:
        """An image in a frame, or an empty one; by default blue for positive numbers."""
        from matplotlib.colors import LinearSegmentedColormap
        from matplotlib.patches import Rectangle

        (left, bottom), (width, height) = (place[0] - size[0] / 2, place[1] - size[1] / 2), size
        frame = Rectangle((left, bottom), width, height, ec=ink(), lw=0.9, zorder=4)
        self.axes.add_patch(frame)
        if image is None:
            frame.set(facecolor=pale(), gid=gid)
            return
        frame.set(facecolor="none")
        signed = LinearSegmentedColormap.from_list("signed", [NEGATIVE, paper(), POSITIVE])
        scale: dict[str, Any] = {"cmap": cmap or signed, "vmax": largest}
        scale["vmin"] = 0 if cmap else -largest
        box = (left, left + width, bottom, bottom + height)
        self.axes.imshow(image, extent=box, interpolation="nearest", zorder=3, gid=gid, **scale)

    def _line(self, start: Point, end: Point, **style: Any) -> None:
        from matplotlib.lines import Line2D

        style = {"lw": 0.8, "zorder": 1, "solid_capstyle": "round", **style}
        self.axes.add_line(Line2D(*zip(start, end, strict=True), **style))

    def _arrow(self, start: Point, end: Point, arrow: str = "-|>") -> None:
        self._add_arrow(arrowstyle=arrow, posA=start, posB=end)

    def _bent_arrow(self, corners: list[Point]) -> None:
        """An arrow with rounded corners."""
        from matplotlib.path import Path

        points, codes = [corners[0]], [Path.MOVETO]
        for before, corner, after in zip(corners, corners[1:], corners[2:], strict=False):
            points += [_towards(corner, before, 0.15), corner, _towards(corner, after, 0.15)]
            codes += [Path.LINETO, Path.CURVE3, Path.CURVE3]
        path = Path([*points, corners[-1]], [*codes, Path.LINETO])
        self._add_arrow(arrowstyle="-|>", path=path)

    def _add_arrow(self, **where: Any) -> None:
        from matplotlib.patches import FancyArrowPatch

        style: dict[str, Any] = {"shrinkA": 0, "shrinkB": 0, "mutation_scale": 10, "lw": 1.1}
        self.axes.add_patch(FancyArrowPatch(color=ink(), zorder=2, **style, **where))


def _keep_layout(figure: Any) -> None:
    """Fix where the axes are: saving a figure without an engine gives it that of the rcParams."""
    from matplotlib.layout_engine import PlaceHolderLayoutEngine

    figure.set_layout_engine(PlaceHolderLayoutEngine(True, False))


def _filters(layer: Any) -> Any:
    """The weights as (*kernel, C / G, F); a transposed convolution has (*kernel, C, F / G).

    Each filter has the input maps of its group.
    """
    w = np.asarray(layer.weights.value)
    *kernel, inputs, filters = w.shape
    groups = layer.filters // filters
    split = w.reshape(*kernel, groups, inputs // groups, filters)
    return np.moveaxis(split, -3, -2).reshape(*kernel, inputs // groups, layer.filters)


def _slice(image: Array) -> Array:
    """An image as rows and columns; of a volume, the middle slice."""
    return image if image.ndim == 2 else image[len(image) // 2]


def _largest(value: Array | None) -> float:
    """The largest size of a finite number; 1 if there is none."""
    sizes = np.abs([] if value is None else value)
    return float(np.max(sizes, where=np.isfinite(sizes), initial=0.0)) or 1.0


def _short(value: float) -> str:
    """A number in at most five characters."""
    size = abs(value)
    if not math.isfinite(value):
        return f"{value}"
    if value.is_integer() and size < 10000:
        return f"{value:.0f}".replace("-", "−")
    digits = 2 if size < 9.995 else 1 if size < 99.95 else 0
    text = f"{value:.{digits}f}" if size < 9999.5 else f"{value:.0e}".replace("e+0", "e")
    return "0" if float(text) == 0 else text.replace("-", "−")


def _tint(share: float) -> Any:
    """The background for 0; for ±1 a light blue or vermilion, on which text is readable."""
    if not math.isfinite(share):
        return pale()
    strength = 0.55 * min(abs(share), 1)
    return tuple(on_paper(POSITIVE if share > 0 else NEGATIVE, strength))


def _towards(start: Point, end: Point, distance: float) -> Point:
    """The point at a distance from the start of a line."""
    share = distance / (math.dist(start, end) or 1.0)
    return start[0] + (end[0] - start[0]) * share, start[1] + (end[1] - start[1]) * share


def _crosses(column: Column, start: Point, end: Point) -> bool:
    """Whether a straight line passes through a column."""
    share = (column.x - start[0]) / ((end[0] - start[0]) or 1.0)
    y = start[1] + share * (end[1] - start[1])
    return column.bottom - 0.1 <= y <= column.top + 0.1
