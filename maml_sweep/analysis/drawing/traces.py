"""Marks as traces of plotly.js."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import singledispatch
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from maml_sweep.analysis.drawing import marks
from maml_sweep.analysis.drawing.encoding import (
    coordinates,
    encoded,
    escape,
    in_template,
    numbers,
    on_axis,
    texts,
    whole,
)
from maml_sweep.analysis.drawing.palette import role
from maml_sweep.analysis.drawing.scales import visible

BAND = 0.2  # a band's opacity
FAINT = 0.5  # a line's opacity below which it cannot be told in the legend
Trace = dict[str, Any]


@dataclass
class Place:
    """Where a mark is drawn.

    Attributes:
      panel: the one it belongs to.
      axes: its axes' ids, such as {"xaxis": "x2", "yaxis": "y2"}.
      coloraxes: scale -> its colour axis's id.
      named: legend entries there are already; grows.
    """

    panel: marks.Panel
    axes: Mapping[str, str]
    coloraxes: Mapping[marks.Scale, str]
    named: set[tuple[str, str]] = field(default_factory=set)

    def legend(self, name: str, colour: str) -> Trace:
        """What says whether and where a trace stands in the legend."""
        if not name:
            return {"showlegend": False}
        first = (name, colour) not in self.named
        self.named.add((name, colour))
        text = escape(name)
        return {"name": text, "legendgroup": f"{text} {colour}", "showlegend": first}


def traces(mark: marks.Mark, place: Place) -> list[Trace]:
    """A mark's trace, and one that stands for it in the legend if it is too faint for that."""
    drawn = trace(mark, place)
    if not (isinstance(mark, marks.Line) and mark.opacity < FAINT and drawn["showlegend"]):
        return [drawn]
    line = {"color": role(mark.colour), "width": mark.width}
    drawn["showlegend"] = False
    key = {"type": "scatter", "mode": "lines", "x": [None], "y": [None], "line": line}
    named = {"name": drawn["name"], "legendgroup": drawn["legendgroup"], "showlegend": True}
    return [drawn, {**key, **named, **place.axes}]


@singledispatch
def trace(mark: Any, place: Place) -> Trace:  # noqa: ARG001
    """A mark's trace in its place."""
    raise TypeError(f"{type(mark).__name__} has no trace")


@trace.register
def _points(mark: marks.Points, place: Place) -> Trace:
    mark = visible(mark)
    panel = place.panel
    marker: Trace = {
        "size": mark.size,
        "symbol": mark.symbol,
        "opacity": mark.opacity,
        "line": {"width": 0.5, "color": role("paper")},
    }
    drawn = {"type": "scatter", "mode": "markers", "marker": marker, "cliponaxis": False}
    drawn |= _common(mark, place) | _at(mark.x, mark.y, panel)
    _colour(mark, marker, place)
    if mark.low is not None and mark.high is not None:
        middle = numbers(mark.y)
        drawn["error_y"] = _errors(middle, mark.low, mark.high, role(mark.colour, 0.6))
    return drawn


@trace.register
def _line(mark: marks.Line, place: Place) -> Trace:
    line = {
        "color": role(mark.colour, mark.opacity),
        "width": mark.width,
        "dash": "dash" if mark.dash else "solid",
        "shape": "hv" if mark.stepped else "linear",
    }
    mode = "lines+markers" if mark.markers else "lines"
    marker = {"size": 5, "color": role(mark.colour)}
    drawn = {"type": "scatter", "mode": mode, "line": line, "connectgaps": False}
    drawn |= {"marker": marker} if mark.markers else {}
    return drawn | _common(mark, place) | _at(mark.x, mark.y, place.panel)


@trace.register
def _band(mark: marks.Band, place: Place) -> Trace:
    x = coordinates(mark.x, place.panel.x)
    low, high = (numbers(edge) for edge in (mark.low, mark.high))
    outline = {
        "x": encoded(np.concatenate([x, x[::-1]]), double=place.panel.x.kind == "time"),
        "y": encoded(np.concatenate([low, high[::-1]])),
    }
    return {
        "type": "scatter",
        "mode": "lines",
        "line": {"width": 0},
        "fill": "toself",
        "fillcolor": role(mark.colour, BAND),
        "hoverinfo": "skip",
        **place.legend(mark.name, mark.colour),
        **place.axes,
        **outline,
    }


@trace.register
def _bars(mark: marks.Bars, place: Place) -> Trace:
    lengths = numbers(mark.lengths)
    drawn = {
        "type": "bar",
        "orientation": "h",
        "marker": {"color": role(mark.colour)},
        "y": [escape(label) for label in mark.labels],
        "x": encoded(lengths),
        **_common(mark, place),
        "hovertemplate": _hover(mark, "%{y}", _shown("x", place.panel.x, lengths)),
    }
    if mark.low is not None and mark.high is not None:
        drawn["error_x"] = _errors(lengths, mark.low, mark.high, role("text"))
    return drawn


@trace.register
def _spans(mark: marks.Spans, place: Place) -> Trace:
    mark = visible(mark)
    x = place.panel.x
    start, end = coordinates(mark.start, x), coordinates(mark.end, x)
    marker: Trace = {"line": {"width": 0.5, "color": role("paper")}}
    shown = f"from %{{base{_format(x, start)}}}<br>to %{{x{_format(x, end)}}}"
    drawn = {
        "type": "bar",
        "orientation": "h",
        "marker": marker,
        "y": [escape(row) for row in mark.rows],
        "base": encoded(start, double=True),
        "x": encoded(end - start, double=True),
        **_common(mark, place),
        "hovertemplate": _hover(mark, "%{y}", shown),
    }
    _colour(mark, marker, place)
    return drawn


@trace.register
def _heat(mark: marks.Heat, place: Place) -> Trace:
    panel, scale = place.panel, mark.scale
    shown = "z" if not scale.log else "text"
    z = numbers(mark.z, log=scale.log)
    drawn = {
        "type": "heatmap",
        **_at(mark.x, mark.y, panel),
        "z": encoded(np.log10(z) if scale.log else z),
        "coloraxis": place.coloraxes[scale],
        "hoverongaps": False,
        **place.axes,
    }
    lines = [_shown("x", panel.x, None), _shown("y", panel.y, None)]
    lines.append(f"{in_template(scale.title)}: %{{{shown}{'' if scale.log else ':.4~g'}}}")
    if scale.log:
        drawn["text"] = [[f"{each:.4g}" for each in row] for row in z]
    if mark.text is not None:
        drawn["hovertext"] = texts(mark.text)
        lines.append("%{hovertext}")
    name = [f"<b>{in_template(mark.name)}</b>"] if mark.name else []
    return drawn | {"hovertemplate": "<br>".join(name + lines) + "<extra></extra>"}


def _common(mark: marks.Points | marks.Line | marks.Bars | marks.Spans, place: Place) -> Trace:
    """Axes, legend, hover texts and slots."""
    drawn: Trace = {**place.axes, **place.legend(mark.name, mark.colour)}
    if mark.text is not None:
        drawn["hovertext"] = texts(mark.text)
    slots = getattr(mark, "slots", None)
    if slots is not None:
        drawn["customdata"] = encoded(numbers(slots))
    if not isinstance(mark, marks.Bars | marks.Spans):
        panel = place.panel
        shown = [
            _shown("x", panel.x, coordinates(mark.x, panel.x)),
            _shown("y", panel.y, coordinates(mark.y, panel.y)),
        ]
        drawn["hovertemplate"] = _hover(mark, *shown)
    return drawn


def _at(x: ArrayLike, y: ArrayLike, panel: marks.Panel) -> Trace:
    return {"x": on_axis(x, panel.x), "y": on_axis(y, panel.y)}


def _colour(mark: marks.Points | marks.Spans, marker: Trace, place: Place) -> None:
    """Colours the markers by the mark's values, or by its role."""
    if mark.values is None:
        marker["color"] = role(mark.colour)
        return
    scale = mark.scale
    assert scale is not None and mark.values is not None, "values need a scale"
    values = numbers(mark.values, log=scale.log)
    marker["color"] = encoded(np.log10(values) if scale.log else values)
    marker["coloraxis"] = place.coloraxes[scale]


def _errors(middle: np.ndarray, low: ArrayLike, high: ArrayLike, colour: str) -> Trace:
    return {
        "type": "data",
        "symmetric": False,
        "array": encoded(numbers(high) - middle),
        "arrayminus": encoded(middle - numbers(low)),
        "color": colour,
        "thickness": 1.2,
        "width": 3,
    }


def _hover(mark: Any, *shown: str) -> str:
    """The template of a mark's hover label: its slot, name, text, and what is shown."""
    slot = "slot %{customdata}" if getattr(mark, "slots", None) is not None else ""
    head = ": ".join(part for part in (slot, in_template(mark.name)) if part)
    lines = [f"<b>{head}</b>"] if head else []
    lines += ["%{hovertext}"] if mark.text is not None else []
    lines += shown
    scale = getattr(mark, "scale", None)
    if scale is not None and not scale.log:
        lines.append(f"{in_template(scale.title)}: %{{marker.color:.4~g}}")
    return "<br>".join(lines) + "<extra></extra>"


def _shown(letter: str, axis: marks.Axis, values: np.ndarray | None) -> str:
    title = f"{in_template(axis.title)}: " if axis.title else ""
    return f"{title}%{{{letter}{_format(axis, values)}}}"


def _format(axis: marks.Axis, values: np.ndarray | None) -> str:
    """How a template writes a value of an axis, after its letter."""
    if axis.kind == "time":
        return "|%Y-%m-%d %H:%M:%S"
    if axis.kind == "category" or axis.ticks is not None:
        return ""  # as the axis names it
    return ":,d" if values is not None and whole(values) else ":.4~g"
