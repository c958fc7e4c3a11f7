"""Which parameters mattered: fANOVA with its spread, and PED-ANOVA beside it.

How they come about, and what pruned trials count for: `maml_sweep.analysis.importance`.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from maml_sweep.analysis.answers import Answers
from maml_sweep.analysis.drawing.marks import Axis, Bars, Drawing, Figure, Panel, Words
from maml_sweep.analysis.settings import labels

KEY, TITLE = "importance", "What mattered"


def frame(answers: Answers) -> pd.DataFrame:
    """The importances with their labels, the most important first.

    Returns:
      label, fanova, low, high (one standard deviation to either side, within 0 … 1), pedanova.
    """
    table = answers.importance
    names = table["parameter"].map(labels(dict.fromkeys(table["parameter"]))).astype(object)
    branches = table["branch"].astype(object)
    label = names.where(branches == "", names + " (" + branches + ")")
    spread = table["fanova_sd"].astype("float64")
    found = pd.DataFrame({"label": label, "fanova": table["fanova"].astype("float64")})
    found["low"] = np.clip(found["fanova"] - spread, 0.0, 1.0)
    found["high"] = np.clip(found["fanova"] + spread, 0.0, 1.0)
    found["pedanova"] = table["pedanova"].astype("float64")
    return found.reset_index(drop=True)


def figure(answers: Answers) -> Drawing:
    """Draws `frame`."""
    table = frame(answers)
    if table.empty:
        return Words(KEY, TITLE, answers.importance_words)
    rows = list(table["label"])
    drawn = (
        Bars(rows, table["fanova"], "fANOVA", "series0", table["low"], table["high"]),
        Bars(rows, table["pedanova"], "PED-ANOVA", "series1"),
    )
    caption = (
        "fANOVA: the share of the variance over the whole space that a parameter explains by "
        "itself, with one standard deviation over resampled trials. PED-ANOVA: its share in what "
        f"sets the best trials apart. {answers.importance_words}"
    )
    panel = Panel(drawn, Axis("importance", low=0.0), Axis("", "category"))
    return Figure(KEY, TITLE, caption.strip(), (panel,), height=max(220, 130 + 46 * len(rows)))
