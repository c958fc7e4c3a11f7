"""Any two parameters: where the good trials lie, and a smooth map of their standing."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd

from maml_sweep.analysis.answers import Answers
from maml_sweep.analysis.drawing.marks import (
    Choice,
    Drawing,
    Figure,
    Heat,
    Panel,
    Points,
    Scale,
    Words,
)
from maml_sweep.analysis.figures.common import count, sized, slug, so
from maml_sweep.analysis.figures.parameters import Parameter, parameters
from maml_sweep.analysis.figures.smoothing import cell_means, smoothed

KEY, TITLE = "pairs", "Pairs of parameters"
MOST = 15  # pairs that are drawn
ENOUGH = 20  # trials for a map
CELLS = 28  # along an axis of the map
CAPTION = (
    "Each trial at its two values, coloured by its standing among all trials; beside them, where "
    "there are enough of them, the mean standing nearby. Two parameters of few values each have "
    "the mean of every combination instead."
)
POINTS_CAPTION = "Each trial at its two values, coloured by its standing among all trials."
MAP_CAPTION = (
    "Left: each trial at its two values, coloured by its standing among all trials. Right: the "
    "mean standing of the trials near a point, empty where there are none."
)
CELLS_CAPTION = "The mean standing of the trials of each combination, empty where there are none."


def frame(answers: Answers, one: Parameter, other: Parameter) -> pd.DataFrame:
    """The trials that have a standing and both parameters, the best last.

    Returns:
      slot, x, y (numbers, or indices of categories), across, down (0 … 1 on their scales),
      standing.
    """
    slots = answers.frames.trials["slot"]
    table = pd.DataFrame({"slot": slots, "x": one.values, "y": other.values})
    table["across"], table["down"] = one.unit, other.unit
    table["standing"] = slots.map(answers.standing).astype("float64")
    return table.dropna().sort_values("standing", ascending=False).reset_index(drop=True)


def ranked(answers: Answers) -> list[tuple[Parameter, Parameter]]:
    """Pairs of parameters that some trial has both of, by their importances' sum, largest first."""
    known = parameters(answers.frames)
    share = answers.importance.groupby("parameter")["fanova"].max().fillna(0.0).to_dict()
    known.sort(key=lambda each: -share.get(each.key, 0.0))
    pairs = itertools.combinations(known, 2)
    together = [
        (one, other) for one, other in pairs if not np.isnan(one.values + other.values).all()
    ]
    weight = lambda pair: -sum(share.get(each.key, 0.0) for each in pair)  # noqa: E731
    return sorted(together, key=weight)


def figure(answers: Answers) -> Drawing:
    """Draws `frame` for the most important pairs."""
    study = answers.frames
    if len(answers.standing) < 2:
        return Words(KEY, TITLE, so(study, "there are no two trials to compare"))
    pairs = ranked(answers)
    if not pairs:
        return Words(KEY, TITLE, "No trial has two searched parameters, so there are no pairs.")
    options = {}
    for one, other in pairs[:MOST]:
        drawn = _pair(answers, one, other)
        if drawn is not None:
            options[f"{one.label} × {other.label}"] = drawn
    if not options:
        return Words(KEY, TITLE, so(study, "no two trials share two parameters"))
    left = len(pairs) - MOST
    note = f"{count(left, 'pair')} of less important parameters left out." if left > 0 else ""
    return Choice(KEY, TITLE, CAPTION, options, next(iter(options)), note)


def _pair(answers: Answers, one: Parameter, other: Parameter) -> Figure | None:
    table, scale = frame(answers, one, other), Scale("standing", "standing")
    if len(table) < 2:
        return None
    if one.named is not None and other.named is not None:
        panels = [Panel((cells(table, one, other, scale),), one.axis, other.axis)]
        caption = CELLS_CAPTION
    else:
        points = Points(
            table["x"],
            table["y"],
            values=table["standing"],
            scale=scale,
            size=sized(7, len(table)),
            slots=table["slot"],
        )
        panels, caption = [Panel((points,), one.axis, other.axis)], POINTS_CAPTION
        heat = standing_map(table, one, other, scale)
        if heat is not None:
            panels.append(Panel((heat,), one.axis, other.axis))
            caption = MAP_CAPTION
    key = f"{KEY}-{slug(one.label)}-{slug(other.label)}"
    title = f"{one.label} × {other.label}"
    return Figure(key, title, caption, tuple(panels), columns=2, height=420)


def cells(table: pd.DataFrame, one: Parameter, other: Parameter, scale: Scale) -> Heat:
    """The mean standing of the trials of every combination of two sets of few values."""
    at, to = (np.array(list(each.named or {})) for each in (one, other))
    x, y = table["x"].to_numpy() - at[0], table["y"].to_numpy() - to[0]
    means, number = cell_means(x, y, table["standing"].to_numpy(), len(at), len(to))
    text = [[count(int(each), "trial") for each in row] for row in number]
    return Heat(at, to, means, scale, text, name="mean standing")


def standing_map(
    table: pd.DataFrame, one: Parameter, other: Parameter, scale: Scale
) -> Heat | None:
    """The mean standing nearby over two numbers; None for choices and for few trials."""
    if len(table) < ENOUGH or one.categories or other.categories:
        return None
    at, to = grid(one), grid(other)
    if len(at) < 2 or len(to) < 2:
        return None
    x, y, z = (table[name].to_numpy() for name in ("across", "down", "standing"))
    means = smoothed(x, y, z, one.placed(at), other.placed(to))
    return Heat(at, to, means, scale, name="mean standing nearby")


def grid(parameter: Parameter) -> np.ndarray:
    """Centres of a map's cells: each value of few integers, else evenly on its scale."""
    if parameter.named is not None and not parameter.log:
        return np.array(list(parameter.named))
    if parameter.high <= parameter.low:
        return np.array([parameter.low])
    return parameter.at((np.arange(CELLS) + 0.5) / CELLS)
