"""Parallel coordinates: every trial a line across its parameters, coloured by its standing."""

from __future__ import annotations

import numpy as np
import pandas as pd

from maml_sweep.analysis.answers import Answers
from maml_sweep.analysis.drawing.marks import Dimension, Drawing, Parallel, Scale, Words
from maml_sweep.analysis.drawing.scales import decades
from maml_sweep.analysis.figures.common import so
from maml_sweep.analysis.figures.parameters import Parameter, parameters

KEY, TITLE = "parallel", "Parallel coordinates"
GAP = 0.12  # of an axis, below it: where trials of branches without the parameter pass
ABSENT = "not used"


def frame(answers: Answers) -> pd.DataFrame:
    """The trials that have a standing, the best last.

    Returns:
      slot, standing (0 the best … 1 the worst), then a column a parameter: its number, a
      category's index, NaN where the trial's branch lacks it.
    """
    study = answers.frames
    table = pd.DataFrame({"slot": study.trials["slot"]})
    table["standing"] = table["slot"].map(answers.standing).astype("float64")
    for each in parameters(study):
        table[each.key] = each.values
    table = table.dropna(subset=["standing"]).sort_values("standing", ascending=False)
    return table.reset_index(drop=True)


def figure(answers: Answers) -> Drawing:
    """Draws `frame`."""
    study = answers.frames
    table, known = frame(answers), parameters(study)
    if len(table) < 2:
        return Words(KEY, TITLE, so(study, "there are no two trials to compare"))
    if not known:
        return Words(KEY, TITLE, "The study searches no parameter.")
    dimensions = [dimension(each, table[each.key].to_numpy()) for each in known]
    best_on_top = {0.0: "best", -0.5: "0.5", -1.0: "worst"}
    dimensions.append(Dimension("standing", -table["standing"], best_on_top))
    caption = (
        "Each line is a trial; the best stand out. Drag along an axis to keep only the lines that "
        "pass there, drag a name to move its axis."
    )
    scale = Scale("standing", "standing")
    return Parallel(KEY, TITLE, caption, tuple(dimensions), table["standing"], scale)


def dimension(parameter: Parameter, values: np.ndarray) -> Dimension:
    """A parameter's axis; values that lack pass below it, at a tick of their own."""
    absent = np.isnan(values)
    low, high, marked = parameter.low, parameter.high, parameter.named
    if marked is None and parameter.log:
        marked = {10.0**at: label for at, label in decades(low, high).items()}
    if absent.any():
        below = low - GAP * ((high - low) or 1.0)
        if parameter.log:
            below = low / ((high / low) ** GAP if high > low else 2.0)
        marked = marked or {float(x): f"{x:.3g}" for x in np.linspace(low, high, 5)}
        values, marked = np.where(absent, below, values), {below: ABSENT, **marked}
    return Dimension(parameter.label, values, marked, parameter.log)
