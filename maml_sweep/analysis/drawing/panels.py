"""Whole figures of matplotlib: panels with their axes, colour bars and legend."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import NullFormatter

from maml_sweep.analysis.drawing import marks
from maml_sweep.analysis.drawing.artists import Place, colours, draw, plain
from maml_sweep.analysis.drawing.encoding import numbers
from maml_sweep.analysis.drawing.palette import PRINT
from maml_sweep.analysis.drawing.scales import decades, positions, row_weights, span

WIDTHS = {1: 3.5, 2: 7.16}  # inches of one and two columns of a page
ALONE, ROW = 2.35, 1.95  # inches in height of one panel, of one among several
PIXELS = 150  # of a screen's figure that stand for an inch


def figure(drawing: marks.Figure, page_columns: int) -> Figure:
    """Panels in a grid, as wide as that many columns of a page."""
    columns = min(drawing.columns, len(drawing.panels), 3)
    rows = -(-len(drawing.panels) // columns)
    tall = ALONE if rows == 1 else ROW * rows
    if drawing.height is not None and columns == drawing.columns:
        tall = drawing.height / PIXELS
    size = (WIDTHS[page_columns], tall)
    made = Figure(figsize=size)
    heights = row_weights(drawing.panels, columns)
    grid = made.subplots(rows, columns, squeeze=False, height_ratios=heights).ravel()
    colours = _colours(made, drawing, list(grid[: len(drawing.panels)]))
    for axes, panel in zip(grid, drawing.panels, strict=False):
        place = Place(axes, panel, colours)
        _scale(place)
        for mark in panel.marks:
            draw(mark, place)
        _finish(place)
    _share_time(list(grid), drawing.panels)
    for axes in grid[len(drawing.panels) :]:
        axes.remove()
    _legend(made, size[0])
    return made


def _colours(figure: Figure, drawing: marks.Figure, grid: list[Axes]) -> dict[marks.Scale, Any]:
    """What maps each scale's values to colours, with a colour bar beside the panels that use it."""
    found: dict[marks.Scale, Any] = {}
    users: dict[marks.Scale, list[tuple[Axes, marks.Mark]]] = {}
    for axes, panel in zip(grid, drawing.panels, strict=True):
        for mark in panel.marks:
            scale = getattr(mark, "scale", None)
            if scale is not None:
                users.setdefault(scale, []).append((axes, mark))
    for scale, using in users.items():
        held = (mark.z if isinstance(mark, marks.Heat) else mark.values for _, mark in using)  # type: ignore[union-attr]
        arrays = [numbers(each, log=scale.log).ravel() for each in held if each is not None]
        found[scale] = colours(scale, *span(scale, arrays))
        beside = list(dict.fromkeys(axes for axes, _ in using))
        _colour_bar(figure, found[scale], scale, beside)
    return found


def _colour_bar(figure: Figure, mapped: Any, scale: marks.Scale, beside: list[Axes]) -> None:
    bar = figure.colorbar(mapped, ax=beside, label=plain(scale.title), pad=0.02)
    bar.outline.set_visible(False)
    if scale.kind == "standing":
        bar.set_ticks([0.0, 0.5, 1.0], labels=["best", "0.5", "worst"])
        bar.ax.invert_yaxis()


def _scale(place: Place) -> None:
    """Sets the axes' kinds before anything is drawn."""
    for letter, axis in (("x", place.panel.x), ("y", place.panel.y)):
        if axis.kind == "log":
            getattr(place.axes, f"set_{letter}scale")("log", nonpositive="mask")
        if axis.kind == "time":
            drawn = getattr(place.axes, f"{letter}axis")
            drawn.set_major_locator(AutoDateLocator())
            drawn.set_major_formatter(ConciseDateFormatter(drawn.get_major_locator()))


def _finish(place: Place) -> None:
    """Titles, ticks and ranges."""
    for letter, axis in (("x", place.panel.x), ("y", place.panel.y)):
        getattr(place.axes, f"set_{letter}label")(plain(axis.title))
        set_ticks = getattr(place.axes, f"set_{letter}ticks")
        labels = place.labels[letter]
        if labels:
            set_ticks(range(len(labels)), labels=[plain(label) for label in labels])
        elif axis.ticks is not None:
            set_ticks(list(axis.ticks), labels=[plain(text) for text in axis.ticks.values()])
            getattr(place.axes, f"{letter}axis").minorticks_off()
        elif axis.kind == "log":
            _decades(place.axes, letter)
        _limit(place.axes, letter, axis, labels)
    place.axes.set_title(plain(place.panel.title), loc="left")


def _limit(axes: Axes, letter: str, axis: marks.Axis, labels: Sequence[str]) -> None:
    limit = getattr(axes, f"set_{letter}lim")
    if labels:
        ends = (-0.6, len(labels) - 0.4)
        limit(*(ends if letter == "x" else ends[::-1]))
    elif axis.kind != "time":
        limit(axis.low, axis.high)  # None keeps an end


def _share_time(grid: Sequence[Axes], panels: Sequence[marks.Panel]) -> None:
    """Panels over time span the same time."""
    pairs = zip(grid, panels, strict=False)
    clocks = [axes for axes, panel in pairs if panel.x.kind == "time"]
    ends = [end for axes in clocks for end in axes.get_xlim()]
    for axes in clocks:
        axes.set_xlim(min(ends), max(ends))


def _decades(axes: Axes, letter: str) -> None:
    """Plain numbers where an axis spans so little that matplotlib would name none or one."""
    low, high = getattr(axes, f"get_{letter}lim")()
    marked = decades(low, high)
    getattr(axes, f"set_{letter}ticks")([10.0**at for at in marked], labels=list(marked.values()))
    getattr(axes, f"{letter}axis").set_minor_formatter(NullFormatter())


def _legend(figure: Figure, width: float) -> None:
    """One entry a name, below the panels."""
    entries: dict[str, Any] = {}
    for axes in figure.axes:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            if label:
                entries.setdefault(label, handle)
    if entries:
        longest = max(len(re.sub(r"\\", "", label)) for label in entries)
        across = max(1, int(width / (0.055 * longest + 0.45)))
        legend = figure.legend(
            entries.values(), entries, loc="outside lower center", ncols=min(len(entries), across)
        )
        for drawn in legend.legend_handles:
            if isinstance(drawn, Line2D | LineCollection):
                drawn.set_alpha(1.0)  # many faint curves look dark, one in a legend does not


def parallel(drawing: marks.Parallel, page_columns: int) -> Figure:
    """Parallel coordinates, as wide as that many columns of a page."""
    made = Figure(figsize=(WIDTHS[page_columns], ALONE))
    axes = made.subplots()
    paths = [_upright(axes, index, each) for index, each in enumerate(drawing.dimensions)]
    values = numbers(drawing.values, log=drawing.scale.log)
    mapped = colours(drawing.scale, *span(drawing.scale, [values]))
    lines = np.stack([np.tile(np.arange(len(paths)), (len(values), 1)), np.stack(paths, 1)], 2)
    axes.add_collection(LineCollection(list(lines), colors=mapped.to_rgba(values), linewidths=0.5))
    axes.set(xlim=(-0.25, len(paths) - 0.95), ylim=(-0.04, 1.04), yticks=[])
    axes.set_xticks(range(len(paths)), labels=[plain(each.label) for each in drawing.dimensions])
    axes.tick_params(length=0)
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
    _colour_bar(made, mapped, drawing.scale, [axes])
    return made


def _upright(axes: Axes, index: int, dimension: marks.Dimension) -> np.ndarray:
    """Draws one dimension's axis; returns the heights [n] of its values, 0 … 1."""
    values, marked = positions(dimension)
    ends = [*values, *(marked or {})]
    low, high = min(ends), max(ends)
    low, high = (low, high) if high > low else (low - 0.5, high + 0.5)
    marked = marked if marked is not None else {at: f"{at:.3g}" for at in (low, high)}
    axes.axvline(index, color=PRINT.roles["text"], linewidth=0.6, zorder=3)
    box = {"facecolor": "white", "alpha": 0.7, "pad": 0.6, "linewidth": 0}
    style: dict[str, Any] = {"ha": "right", "va": "center", "fontsize": 6, "bbox": box, "zorder": 4}
    for at, text in marked.items():
        place = (index, (at - low) / (high - low))
        axes.annotate(plain(text), place, xytext=(-2, 0), textcoords="offset points", **style)
    heights: np.ndarray = (values - low) / (high - low)
    return heights
