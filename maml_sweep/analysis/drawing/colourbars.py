"""Colour scales and their bars for plotly.js."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from maml_sweep.analysis.drawing import marks
from maml_sweep.analysis.drawing.encoding import escape, numbers, ticks
from maml_sweep.analysis.drawing.scales import decades, span

BAR = 0.11  # of the width, between colour bars
Layout = dict[str, Any]


def coloraxes(figure: marks.Figure) -> tuple[dict[marks.Scale, str], Layout]:
    """The names of the figure's colour axes, one a scale, and what they are in the layout."""
    used = (getattr(mark, "scale", None) for panel in figure.panels for mark in panel.marks)
    scales = dict.fromkeys(scale for scale in used if scale is not None)
    names = {scale: f"coloraxis{numbered(index)}" for index, scale in enumerate(scales)}
    axes = {}
    for index, (scale, name) in enumerate(names.items()):
        low, high = span(scale, _values(figure, scale))
        bar = colorbar(scale, low, high, 1.02 + BAR * index)
        axes[name] = {**colours(scale, low, high), "colorbar": bar}
    return names, axes


def _values(figure: marks.Figure, scale: marks.Scale) -> Iterator[np.ndarray]:
    for panel in figure.panels:
        for mark in panel.marks:
            if getattr(mark, "scale", None) is scale:
                held = mark.z if isinstance(mark, marks.Heat) else getattr(mark, "values", None)
                if held is not None:
                    yield numbers(held, log=scale.log).ravel()


def colours(scale: marks.Scale, low: float, high: float) -> Layout:
    """A scale between two values; a logarithmic one between their exponents."""
    low, high = (float(np.log10(end)) if scale.log else float(end) for end in (low, high))
    return {"cmin": low, "cmax": high, "colorscale": f"scale:{scale.kind}"}


def colorbar(scale: marks.Scale, low: float, high: float, x: float) -> Layout:
    """A scale's bar, its left edge at x (a share of the width)."""
    bar: Layout = {
        "title": {"text": escape(scale.title), "side": "right"},
        "x": round(x, 3),
        "thickness": 12,
        "outlinewidth": 0,
        "ticks": "outside",
        "ticklen": 3,
        "exponentformat": "power",
    }
    if scale.kind == "standing" and not scale.log:
        return bar | ticks({0.0: "best", 0.5: "0.5", 1.0: "worst"})
    return bar | (ticks(decades(low, high)) if scale.log else {})


def numbered(index: int) -> str:
    """The suffix of plotly's names: the first has none."""
    return "" if index == 0 else str(index + 1)
