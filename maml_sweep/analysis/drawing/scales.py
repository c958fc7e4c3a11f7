"""What both renderers compute: ends of colour scales, ticks, labels, heights of rows."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields, replace
from typing import TypeVar

import numpy as np

from maml_sweep.analysis.drawing.encoding import coordinates, numbers, whole
from maml_sweep.analysis.drawing.marks import Bars, Dimension, Panel, Points, Scale, Spans

Coloured = TypeVar("Coloured", Points, Spans)

MANY = 12  # integers that are all named on an axis
_MANTISSAS = ((1,), (1, 3), (1, 2, 5))  # sparse to dense ticks within a decade


def span(scale: Scale, arrays: Iterable[np.ndarray]) -> tuple[float, float]:
    """A scale's ends: its own, else those of its kind, else what the values span.

    Never of no width, and positive if the scale is logarithmic.
    """
    held = np.concatenate([np.empty(0), *arrays])
    held = held[np.isfinite(held)]
    unit = scale.kind in {"standing", "probability"} and not scale.log
    low, high = (0.0, 1.0) if unit or not held.size else (float(held.min()), float(held.max()))
    low = low if scale.low is None else float(scale.low)
    high = high if scale.high is None else float(scale.high)
    if scale.log and low <= 0:
        low = min(1e-3, high / 10) if high > 0 else 1e-3
    if high <= low:
        low, high = (low / 2, low * 2) if scale.log else (low - 0.5, low + 0.5)
    return low, high


def decades(low: float, high: float, wanted: int = 3) -> dict[float, str]:
    """Ticks of a logarithmic axis: log10 position -> label.

    Powers of ten within [low, high]; where they are fewer than `wanted`, threefold or 1-2-5 steps;
    and the ends themselves if even those are too few.
    """
    exponents = range(int(np.floor(np.log10(low))), int(np.ceil(np.log10(high))) + 1)
    slack = 1e-9
    for mantissas in _MANTISSAS:
        values = [
            float(f"{mantissa}e{exponent}")
            for exponent in exponents
            for mantissa in mantissas
            if low * (1 - slack) <= float(f"{mantissa}e{exponent}") <= high * (1 + slack)
        ]
        if len(values) >= wanted:
            break
    if len(values) < 2:
        values = [float(f"{end:.3g}") for end in ([low, high] if high > low else [low])]
    every = -(-len(values) // 7)  # a dozen decades need not all be named
    return {float(np.log10(value)): _plain(value) for value in values[::every]}


def _plain(value: float) -> str:
    return f"{value:,.10g}" if 1e-4 <= value < 1e6 else f"{value:.3g}"


def visible(mark: Coloured) -> Coloured:
    """The mark without those of its n points or bars whose colour is not a number."""
    if mark.values is None or mark.scale is None:
        return mark
    kept = ~np.isnan(numbers(mark.values, log=mark.scale.log))
    if kept.all():
        return mark
    arrays = {
        field.name: np.asarray(held, dtype=object)[kept]
        for field in fields(mark)
        if not isinstance(held := getattr(mark, field.name), str | int | float | Scale | None)
    }
    return replace(mark, **arrays)


def positions(dimension: Dimension) -> tuple[np.ndarray, Mapping[float, str] | None]:
    """Where a dimension's values and ticks lie: float64 [n] on a linear axis, position -> label.

    No ticks are given where any will do.
    """
    values, marked = numbers(dimension.values, log=dimension.log), dimension.ticks
    low, high = float(values.min()), float(values.max())
    if dimension.log and marked is None:
        return np.log10(values), decades(low, high)
    if dimension.log and marked is not None:
        return np.log10(values), {math.log10(at): label for at, label in marked.items()}
    if marked is None and whole(values) and high - low <= MANY:
        marked = {float(at): f"{at}" for at in range(int(low), int(high) + 1)}
    return values, marked


def row_weights(panels: Sequence[Panel], columns: int) -> list[float]:
    """Each row's relative height: its panels' largest."""
    starts = range(0, len(panels), columns)
    return [max(panel.weight for panel in panels[at : at + columns]) for at in starts]


def labels(panel: Panel, letter: str) -> list[str]:
    """A category axis's labels in the order in which the marks name them; else none."""
    axis = panel.x if letter == "x" else panel.y
    if axis.kind != "category":
        return []
    if axis.labels is not None:
        return list(axis.labels)
    names = {Bars: "labels", Spans: "rows"}
    held = (getattr(mark, names.get(type(mark), letter), None) for mark in panel.marks)
    found = (label for each in held if each is not None for label in coordinates(each, axis))
    return list(dict.fromkeys(found))
