"""Marks as artists on matplotlib's axes."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from functools import singledispatch
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.collections import LineCollection
from matplotlib.colors import LinearSegmentedColormap, LogNorm, Normalize
from numpy.typing import ArrayLike

from maml_sweep.analysis.drawing import marks
from maml_sweep.analysis.drawing.encoding import coordinates, numbers
from maml_sweep.analysis.drawing.palette import PRINT
from maml_sweep.analysis.drawing.scales import labels, visible

POINT = 0.62  # points a pixel: paper figures are small
BAND = 0.2
_DAY = 86_400_000.0  # milliseconds; matplotlib counts days since 1970
_SYMBOLS = {"circle": "o", "cross": "P", "diamond": "D", "star": "*", "x": "X"}


class Place:
    """Axes and the panel drawn on them.

    Attributes:
      axes: matplotlib's.
      panel: whose marks are drawn.
      colours: scale -> what maps its values to colours.
      rows: of Bars: their number, and how many were drawn.
    """

    def __init__(
        self, axes: Axes, panel: marks.Panel, colours: Mapping[marks.Scale, ScalarMappable]
    ) -> None:
        self.axes, self.panel, self.colours = axes, panel, colours
        self.labels = {"x": labels(panel, "x"), "y": labels(panel, "y")}
        self.bars = sum(isinstance(mark, marks.Bars) for mark in panel.marks)
        self.drawn = 0

    def at(self, letter: str, values: ArrayLike) -> np.ndarray:
        """Float64 positions on an axis: days for times, indices for categories."""
        axis = self.panel.x if letter == "x" else self.panel.y
        found = coordinates(values, axis)
        if axis.kind == "category":
            return np.array([self.labels[letter].index(label) for label in found], dtype=float)
        return found / _DAY if axis.kind == "time" else found


def plain(text: str) -> str:
    """Text in which matplotlib finds no TeX."""
    return str(text).replace("$", r"\$")


def colours(scale: marks.Scale, low: float, high: float) -> ScalarMappable:
    """Maps a scale's values to colours."""
    stops = list(PRINT.scales[scale.kind])
    norm = LogNorm(low, high) if scale.log else Normalize(low, high)
    return ScalarMappable(norm, LinearSegmentedColormap.from_list(scale.kind, stops))


@singledispatch
def draw(mark: Any, place: Place) -> None:  # noqa: ARG001
    """Draws a mark in its place."""
    raise TypeError(f"{type(mark).__name__} cannot be drawn")


@draw.register
def _points(mark: marks.Points, place: Place) -> None:
    mark = visible(mark)
    x, y = place.at("x", mark.x), place.at("y", mark.y)
    if mark.low is not None and mark.high is not None:
        errors = _errors(y, mark.low, mark.high)
        colour = PRINT.roles[mark.colour]
        place.axes.errorbar(x, y, errors, fmt="none", ecolor=colour, elinewidth=0.6, alpha=0.6)
    place.axes.scatter(
        x,
        y,
        s=(mark.size * POINT) ** 2,
        c=_filled(mark, place),
        marker=_SYMBOLS[mark.symbol],
        alpha=mark.opacity,
        linewidths=0.25,
        edgecolors=PRINT.roles["paper"],
        label=plain(mark.name),
        zorder=3,
    )


@draw.register
def _line(mark: marks.Line, place: Place) -> None:
    x, y = place.at("x", mark.x), place.at("y", mark.y)
    style: dict[str, Any] = {
        "color": PRINT.roles[mark.colour],
        "linewidth": mark.width * POINT,
        "linestyle": "--" if mark.dash else "-",
        "alpha": mark.opacity,
        "label": plain(mark.name),
    }
    if mark.opacity < 1 and np.isnan(y).any():
        # One path would be painted once; where many curves overlap, it should be darker.
        place.axes.add_collection(LineCollection(curves(x, y), **style))
        place.axes.autoscale_view()
        return
    style |= {"marker": "o" if mark.markers else None, "markersize": 2.5}
    place.axes.plot(x, y, drawstyle="steps-post" if mark.stepped else "default", **style)


@draw.register
def _band(mark: marks.Band, place: Place) -> None:
    edges = (numbers(mark.low), numbers(mark.high))
    place.axes.fill_between(
        place.at("x", mark.x),
        *edges,
        color=PRINT.roles[mark.colour],
        alpha=BAND,
        linewidth=0,
        label=plain(mark.name),
    )


@draw.register
def _bars(mark: marks.Bars, place: Place) -> None:
    lengths, thick = numbers(mark.lengths), 0.8 / place.bars
    middle = place.at("y", mark.labels) + (place.drawn - (place.bars - 1) / 2) * thick
    place.drawn += 1
    place.axes.barh(
        middle, lengths, thick, color=PRINT.roles[mark.colour], label=plain(mark.name), zorder=2
    )
    if mark.low is not None and mark.high is not None:
        place.axes.errorbar(
            lengths,
            middle,
            xerr=_errors(lengths, mark.low, mark.high),
            fmt="none",
            ecolor=PRINT.roles["text"],
            elinewidth=0.7,
            capsize=1.5,
        )


@draw.register
def _spans(mark: marks.Spans, place: Place) -> None:
    mark = visible(mark)
    start, end = place.at("x", mark.start), place.at("x", mark.end)
    place.axes.barh(
        place.at("y", mark.rows),
        end - start,
        0.8,
        start,
        color=_filled(mark, place),
        edgecolor=PRINT.roles["paper"],
        linewidth=0.25,
        label=plain(mark.name),
        zorder=2,
    )


@draw.register
def _heat(mark: marks.Heat, place: Place) -> None:
    mapped = place.colours[mark.scale]
    x, y = place.at("x", mark.x), place.at("y", mark.y)
    z = np.ma.masked_invalid(numbers(mark.z, log=mark.scale.log))
    x, y = edges(x, log=place.panel.x.kind == "log"), edges(y, log=place.panel.y.kind == "log")
    colours: dict[str, Any] = {"norm": mapped.norm, "cmap": mapped.cmap}
    place.axes.pcolormesh(x, y, z, rasterized=True, zorder=1, **colours)


@draw.register
def _rule(mark: marks.Rule, place: Place) -> None:
    style: dict[str, Any] = {"color": PRINT.roles[mark.colour], "linewidth": 0.7, "linestyle": ":"}
    axes, at = place.axes, dict[str, Any]()
    if mark.x is not None:
        axes.axvline(mark.x, **style)
        at = {"xy": (mark.x, 1), "xytext": (2, -2), "ha": "left", "va": "top"}
        at |= {"xycoords": ("data", "axes fraction")}
    elif mark.y is not None:
        axes.axhline(mark.y, **style)
        at = {"xy": (1, mark.y), "xytext": (-2, 1), "ha": "right", "va": "bottom"}
        at |= {"xycoords": ("axes fraction", "data")}
    if mark.name:
        text: dict[str, Any] = {
            "color": style["color"],
            "fontsize": 6,
            "textcoords": "offset points",
        }
        axes.annotate(plain(mark.name), **at, **text)


def edges(centres: np.ndarray, *, log: bool) -> np.ndarray:
    """The n + 1 borders of cells about n centres, halfway on the axis's scale."""
    at = np.log(centres) if log else centres
    if len(at) == 1:
        found = np.array([at[0] - 0.5, at[0] + 0.5])
    else:
        inner = (at[1:] + at[:-1]) / 2
        found = np.concatenate([[2 * at[0] - inner[0]], inner, [2 * at[-1] - inner[-1]]])
    return np.exp(found) if log else found


def curves(x: np.ndarray, y: np.ndarray) -> list[np.ndarray]:
    """The parts [k, 2] of a line between its gaps."""
    points = np.stack([x, y], axis=1)
    parts = np.split(points, np.flatnonzero(np.isnan(y)))
    finite = (part[~np.isnan(part[:, 1])] for part in parts)
    return [part for part in finite if len(part)]


def _filled(mark: marks.Points | marks.Spans, place: Place) -> Any:
    """One colour, or one each [n, RGBA]."""
    if mark.values is None or mark.scale is None:
        return PRINT.roles[mark.colour]
    return place.colours[mark.scale].to_rgba(numbers(mark.values))


def _errors(middle: np.ndarray, low: ArrayLike, high: ArrayLike) -> np.ndarray:
    """Distances below and above [2, n]; rounding may not make them negative."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        return np.maximum([middle - numbers(low), numbers(high) - middle], 0.0)
