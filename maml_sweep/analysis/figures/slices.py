"""Slices: value against each parameter, a panel each."""

from __future__ import annotations

import pandas as pd

from maml_sweep.analysis.answers import Answers
from maml_sweep.analysis.drawing.marks import Drawing, Figure, Panel, Points, Scale, Words
from maml_sweep.analysis.figures.common import LOOKS, better, sized, so, value_axis
from maml_sweep.analysis.figures.parameters import Parameter, parameters
from maml_sweep.analysis.frames import Frames

KEY, TITLE = "slices", "Value against each parameter"
_ACROSS = 3
_COLUMNS = ["slot", "state", "value", "known"]


def frame(study: Frames) -> pd.DataFrame:
    """The trials that were completed or pruned.

    Returns:
      slot, state, value (of a pruned trial the last), known (how many slots were finished when its
      parameters were drawn; NaN if that was not noted), then a column a parameter as numbers,
      indices of categories, NaN where the trial's branch lacks it.
    """
    table = study.trials[["slot", "state"]].copy()
    table["value"] = study.trials["value"].fillna(study.trials["last"])
    table["known"] = study.trials["known_results"].astype("float64")
    for each in parameters(study):
        table[each.key] = each.values
    kept = table["state"].isin(["complete", "pruned"]) & table["value"].notna()
    return table[kept].reset_index(drop=True)


def figure(answers: Answers) -> Drawing:
    """Draws `frame`."""
    study = answers.frames
    table, known = frame(study), parameters(study)
    if len(table) < 2:
        return Words(KEY, TITLE, so(study, "no values can be set against parameters"))
    if not known:
        return Words(KEY, TITLE, "The study searches no parameter.")
    y, scale = value_axis(better(study), table["value"]), Scale("results known when drawn")
    panels = tuple(Panel(_marks(table, each, scale), each.axis, y) for each in known)
    caption = (
        "Each trial's value against one of its parameters; darker ones were drawn earlier. Grey: "
        "pruned trials at the last value that they reached, which lags behind a full run's."
    )
    columns = min(_ACROSS, len(panels)) if len(panels) != 4 else 2
    return Figure(KEY, TITLE, caption, panels, columns, note=_note(study))


def _marks(table: pd.DataFrame, parameter: Parameter, scale: Scale) -> tuple[Points, ...]:
    rows = table[table[parameter.key].notna()]
    pruned, look = rows[rows["state"] == "pruned"], LOOKS["pruned"]
    complete = rows[rows["state"] == "complete"]
    faint = Points(
        pruned[parameter.key],
        pruned["value"],
        name="pruned",
        colour=look.colour,
        size=sized(look.size, len(rows)),
        slots=pruned["slot"],
        opacity=0.3,
    )
    strong = Points(
        complete[parameter.key],
        complete["value"],
        values=complete["known"].fillna(0.0),
        scale=scale,
        size=sized(7, len(rows)),
        slots=complete["slot"],
    )
    return tuple(mark for mark, held in ((faint, pruned), (strong, complete)) if len(held))


def _note(study: Frames) -> str:
    diverged = int((study.trials["state"] == "diverged").sum())
    return f"Trials that diverged are left out: {diverged}." if diverged else ""
