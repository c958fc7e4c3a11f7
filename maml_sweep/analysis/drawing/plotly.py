"""Drawings as plotly.js takes them; plotly itself is not needed.

`render` gives plain values for `json.dumps(…, allow_nan=False)`:

    Figure, Parallel   {"data": […], "layout": {…}}; a figure with panels side by side also has
                       "narrow", a layout with one panel a row for the same data
    Choice             {"options": {label: as above}, "chosen": label}
    Words              {"words": text}

Every text that plotly draws is escaped; labels of a choice and words are not, they are the page's.
Colours are placeholders (`maml_sweep.analysis.drawing.palette`) in any string of the JSON, which
the page replaces before it draws. `customdata` holds slots, where marks have them. Widths are left
out: plotly takes the page's.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from maml_sweep.analysis.drawing import marks
from maml_sweep.analysis.drawing.colourbars import coloraxes, colorbar, colours, numbered
from maml_sweep.analysis.drawing.encoding import encoded, escape, numbers, ticks
from maml_sweep.analysis.drawing.palette import role
from maml_sweep.analysis.drawing.scales import labels, positions, row_weights, span
from maml_sweep.analysis.drawing.traces import Place, traces

FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Noto Sans', sans-serif"
# Pixels.
TOP, BOTTOM, LEFT, RIGHT, LEGEND = 30, 52, 58, 14, 34
ROW_ALONE, ROW, GAP = 340, 230, 84  # of a panel, of one among several, between two
GAP_ACROSS = 0.085  # of the width, and more for long labels:
LETTER, WIDE = 0.0075, 0.3  # a letter's share of the width; no more than this in all

Layout = dict[str, Any]


def render(drawing: marks.Drawing) -> dict[str, Any]:
    """A drawing as JSON values, see the module."""
    if isinstance(drawing, marks.Words):
        return {"words": drawing.text}
    if isinstance(drawing, marks.Choice):
        options = {label: render(figure) for label, figure in drawing.options.items()}
        return {"options": options, "chosen": drawing.chosen}
    if isinstance(drawing, marks.Parallel):
        return _parallel(drawing)
    return _figure(drawing)


def _figure(figure: marks.Figure) -> dict[str, Any]:
    names, bars = coloraxes(figure)
    named: set[tuple[str, str]] = set()
    data = []
    for index, panel in enumerate(figure.panels):
        axes = {"xaxis": f"x{numbered(index)}", "yaxis": f"y{numbered(index)}"}
        place = Place(panel, axes, names, named)
        shown = (mark for mark in panel.marks if not isinstance(mark, marks.Rule))
        data += [each for mark in shown for each in traces(mark, place)]
    shared = {**_base(), **bars, "barmode": _barmode(figure)}
    layout = shared | _grid(figure, figure.columns, bool(named))
    drawn = {"data": data, "layout": layout}
    if min(figure.columns, len(figure.panels)) > 1:
        drawn["narrow"] = shared | _grid(figure, 1, bool(named))
    return drawn


def _grid(figure: marks.Figure, columns: int, legend: bool) -> Layout:
    """Axes, titles and rules of the panels, and the height that they need."""
    columns = min(columns, len(figure.panels))
    bottom = BOTTOM + LEGEND * legend
    rows, inner = _rows(figure, columns, bottom)
    gap = _gap_across(figure, columns)
    wide = (1 - (columns - 1) * gap) / columns
    layout: Layout = {
        "height": round(inner + TOP + bottom),
        "margin": {"t": TOP, "b": bottom, "l": LEFT, "r": RIGHT},
        "annotations": [],
        "shapes": [],
    }
    for index, panel in enumerate(figure.panels):
        down, across = divmod(index, columns)
        left, number = across * (wide + gap), numbered(index)
        x_domain, y_domain = [left, min(1.0, left + wide)], rows[down]
        layout[f"xaxis{number}"] = _axis(panel, "x", f"y{number}", x_domain)
        layout[f"yaxis{number}"] = _axis(panel, "y", f"x{number}", y_domain)
        _adorn(layout, panel, number)
    clocks = [
        numbered(index) for index, panel in enumerate(figure.panels) if panel.x.kind == "time"
    ]
    for number in clocks[1:]:
        layout[f"xaxis{number}"]["matches"] = f"x{clocks[0]}"  # they zoom together
    return layout


def _gap_across(figure: marks.Figure, columns: int) -> float:
    """The room between columns, as a share of the width, for the labels of all but the first."""
    inner = (panel for index, panel in enumerate(figure.panels) if index % columns)
    longest = max((len(label) for panel in inner for label in labels(panel, "y")), default=0)
    return max(GAP_ACROSS, min(0.03 + LETTER * longest, WIDE))


def _rows(figure: marks.Figure, columns: int, bottom: int) -> tuple[list[list[float]], float]:
    """Every row's [low, high] as shares of the height between the margins, and that in pixels."""
    weights = np.array(row_weights(figure.panels, columns))
    gaps = (len(weights) - 1) * GAP
    inner = float(gaps + (ROW_ALONE if len(weights) == 1 else ROW * len(weights)))
    if figure.height is not None and columns == min(figure.columns, len(figure.panels)):
        inner = max(float(figure.height - TOP - bottom), gaps + 40.0 * len(weights))
    heights = weights / weights.sum() * (inner - gaps)
    tops = inner - np.concatenate([[0.0], np.cumsum(heights + GAP)[:-1]])
    edges = np.clip(np.stack([tops - heights, tops], 1) / inner, 0.0, 1.0)
    return edges.tolist(), inner


def _axis(panel: marks.Panel, letter: str, anchor: str, domain: list[float]) -> Layout:
    axis = panel.x if letter == "x" else panel.y
    layout = {
        "type": {"time": "date"}.get(axis.kind, axis.kind),
        "title": {"text": escape(axis.title), "standoff": 8},
        "anchor": anchor,
        "domain": [round(edge, 5) for edge in domain],
        "gridcolor": role("grid"),
        "linecolor": role("muted"),
        "tickcolor": role("muted"),
        "ticks": "outside",
        "ticklen": 4,
        "showline": True,
        "zeroline": False,
        "automargin": True,
        "exponentformat": "none" if axis.kind == "log" else "power",
        "minexponent": 6,
        "separatethousands": True,
    }
    if axis.kind == "category":
        if letter == "y":
            layout["autorange"] = "reversed"
        if axis.labels is not None:
            names = [escape(label) for label in axis.labels]
            layout |= {"categoryorder": "array", "categoryarray": names}
        return layout
    if axis.ticks is not None:
        layout |= ticks(axis.ticks)
    return layout | _range(axis)


def _range(axis: marks.Axis) -> Layout:
    """A range, or one end of it beside an automatic other."""
    low, high = (
        None if end is None else float(np.log10(end)) if axis.kind == "log" else float(end)
        for end in (axis.low, axis.high)
    )
    if low is None or high is None:
        # [low, None] would be forgotten when the page changes its width.
        held = {"minallowed": low, "maxallowed": high}
        ends = {name: end for name, end in held.items() if end is not None}
        return {"autorangeoptions": ends} if ends else {}
    layout: Layout = {"range": [low, high]}
    if axis.kind == "log" and axis.ticks is None and high - low < 2.5:
        layout["dtick"] = "D2"  # 1, 2 and 5 of every decade
    return layout


def _adorn(layout: Layout, panel: marks.Panel, number: str) -> None:
    """Adds a panel's title and its rules."""
    inside = {"xref": f"x{number} domain", "yref": f"y{number} domain", "showarrow": False}
    if panel.title:
        above = {"x": 0, "y": 1, "xanchor": "left", "yanchor": "bottom"}
        layout["annotations"].append({"text": escape(panel.title), **above, **inside})
    for rule in (mark for mark in panel.marks if isinstance(mark, marks.Rule)):
        upright = rule.x is not None
        at = float(rule.x if rule.x is not None else rule.y or 0.0)
        letter, other = ("x", "y") if upright else ("y", "x")
        ends: Layout = {f"{letter}0": at, f"{letter}1": at, f"{other}0": 0, f"{other}1": 1}
        refs = {f"{letter}ref": f"{letter}{number}", f"{other}ref": f"{other}{number} domain"}
        line = {"color": role(rule.colour), "width": 1.2, "dash": "dot"}
        layout["shapes"].append({"type": "line", "line": line, **ends, **refs})
        if rule.name:
            axis = panel.x if upright else panel.y
            label: Layout = {letter: float(np.log10(at)) if axis.kind == "log" else at, other: 1}
            label |= {"xanchor": "left" if upright else "right"}
            label |= {"yanchor": "top" if upright else "bottom", "showarrow": False}
            font = {"color": role(rule.colour), "size": 11}
            layout["annotations"].append({"text": escape(rule.name), "font": font, **label, **refs})


def _base() -> Layout:
    return {
        "autosize": True,
        "font": {"family": FONT, "size": 12, "color": role("text")},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "hovermode": "closest",
        "modebar": {
            "bgcolor": "rgba(0,0,0,0)",
            "color": role("muted"),
            "activecolor": role("text"),
        },
        "hoverlabel": {
            "align": "left",
            "bgcolor": role("paper"),
            "bordercolor": role("muted"),
            "font": {"color": role("text"), "size": 12},
        },
        "legend": {
            "orientation": "h",
            "yref": "container",
            "y": 0,
            "yanchor": "bottom",
            "x": 0,
            "xanchor": "left",
            "itemsizing": "constant",
        },
    }


def _barmode(figure: marks.Figure) -> str:
    spans = any(isinstance(mark, marks.Spans) for panel in figure.panels for mark in panel.marks)
    return "overlay" if spans else "group"


def _parallel(drawing: marks.Parallel) -> dict[str, Any]:
    values = numbers(drawing.values, log=drawing.scale.log)
    low, high = span(drawing.scale, [values])
    line, bar = colours(drawing.scale, low, high), colorbar(drawing.scale, low, high, 1.02)
    values = np.log10(values) if drawing.scale.log else values
    if drawing.scale.kind == "standing":
        # Plotly draws the lines of greater numbers on top, and the best should be there.
        values = -values
        line |= {"cmin": -line["cmax"], "cmax": -line["cmin"], "reversescale": True}
        bar["tickvals"] = [-value for value in bar["tickvals"]]
    line |= {"color": encoded(values), "showscale": True, "colorbar": bar}
    font = {"color": role("text"), "size": 11}
    data = {
        "type": "parcoords",
        "line": line,
        "dimensions": [_dimension(each) for each in drawing.dimensions],
        "labelfont": {**font, "size": 12},
        "labelangle": -12 if len(drawing.dimensions) < 5 else -30,  # names meet on a phone
        "labelside": "top",
        "tickfont": font,
        "rangefont": {**font, "color": "rgba(0,0,0,0)"},  # the ends are among the ticks
    }
    layout = _base() | {"height": 440, "margin": {"t": 110, "b": 24, "l": 70, "r": RIGHT}}
    return {"data": [data], "layout": layout}


def _dimension(dimension: marks.Dimension) -> Mapping[str, Any]:
    values, marked = positions(dimension)
    drawn: dict[str, Any] = {"label": escape(dimension.label)}
    ends = [*values, *(marked or {})]
    low, high = min(ends), max(ends)
    margin = 0.0 if high > low else 0.5  # a range of no width cannot be drawn
    drawn |= {"range": [float(low - margin), float(high + margin)], "values": encoded(values)}
    # The only text that plotly draws as it is.
    return drawn | (ticks(marked, escaped=False) if marked is not None else {})
