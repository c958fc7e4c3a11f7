"""Where training diverges: over α·steps and β, or over α and steps where β is fixed.

An inner step is stable while α times the curvature stays below 2, and the outer gradient passes
through all inner steps, so the border runs over α, their number and β together.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from maml_sweep.analysis.drawing import marks
from maml_sweep.analysis.figures.common import count, so
from maml_sweep.analysis.figures.knobs import knob
from maml_sweep.analysis.settings import ALPHA, BETA, STEPS

if TYPE_CHECKING:
    from maml_sweep.analysis.answers import Answers

KEY, TITLE = "divergence", "Where training diverges"
CELLS = 32  # of the heat, along an axis
_MARGIN = 1.15  # a factor by which the heat goes beyond the trials


def frame(answers: Answers) -> pd.DataFrame:
    """The trials that trained at all, with what decides about divergence.

    Returns:
      slot, alpha, steps, beta (a trial that lacks one of them is left out), x (α·steps, or α where
      β is the same for all), y (β, or steps), diverged (bool), iteration (Int64: when it diverged).
    """
    study = answers.frames
    trials = study.trials
    table = trials[["slot"]].copy()
    for name, key in {"alpha": ALPHA, "steps": STEPS, "beta": BETA}.items():
        table[name] = knob(study, key)
    table["diverged"] = trials["state"] == "diverged"
    table["iteration"] = trials["diverged"]
    table = table[table["diverged"] | trials["last"].notna()]
    table = table[(table[["alpha", "steps", "beta"]] > 0).all(axis=1)].reset_index(drop=True)
    by_beta = table["beta"].nunique() > 1
    table["x"] = table["alpha"] * (table["steps"] if by_beta else 1.0)
    table["y"] = table["beta"] if by_beta else table["steps"]
    return table[["slot", "alpha", "steps", "beta", "x", "y", "diverged", "iteration"]]


def grid(answers: Answers, table: pd.DataFrame) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The model's probability of divergence over the plane that the trials span.

    Over α·steps and β it is the mean over the trials' numbers of steps.

    Args:
      answers: with a model.
      table: `frame`.

    Returns:
      x [c], y [r], probability [r, c].
    """
    assert answers.divergence is not None
    x = _spaced(table["x"])
    by_beta = table["beta"].nunique() > 1
    y = _spaced(table["y"]) if by_beta else np.arange(table["y"].min(), table["y"].max() + 1)
    rows = y[:, np.newaxis]
    if not by_beta:
        knobs, shares = [{ALPHA: x, STEPS: rows}], [1]
    elif table["alpha"].nunique() == 1:
        knobs, shares = [{STEPS: x / table["alpha"][0], BETA: rows}], [1]
    else:
        each = table["steps"].value_counts()
        knobs = [{ALPHA: x / s, STEPS: s, BETA: rows} for s in each.index.to_numpy()]
        shares = each.tolist()
    parts = [np.broadcast_to(answers.divergence.probability(k), (len(y), len(x))) for k in knobs]
    return x, y, np.average(parts, axis=0, weights=shares)


def _spaced(values: pd.Series[float]) -> np.ndarray:
    return np.geomspace(values.min() / _MARGIN, values.max() * _MARGIN, CELLS)


def figure(answers: Answers) -> marks.Drawing:
    """Draws the trials over the plane, and the model's probability behind them."""
    table = frame(answers)
    total, lost = len(table), int(table["diverged"].sum())
    if not total:
        return marks.Words(KEY, TITLE, so(answers.frames, "nothing is known of divergence"))
    if not lost:
        words = f"None of the {count(total, 'trial')} that have reached a rung diverged."
        return marks.Words(KEY, TITLE, words)
    drawn: list[marks.Mark] = [*_trials(table)]
    caption = f"Crosses: the {lost} of {count(total, 'trial')} whose training diverged. "
    if answers.divergence is not None and table["x"].nunique() > 1 and table["y"].nunique() > 1:
        scale = marks.Scale("probability of divergence", "probability", low=0.0, high=1.0)
        drawn.insert(0, marks.Heat(*grid(answers, table), scale))
        caption += "Behind them: how probable divergence is, by a model fitted to all trials."
    by_beta = table["beta"].nunique() > 1
    panel = marks.Panel(
        tuple(drawn),
        marks.Axis("α·steps" if by_beta else "α (algorithm.inner_lr)", kind="log"),
        marks.Axis("β (optimizer.meta_lr)", kind="log") if by_beta else marks.Axis("inner steps"),
    )
    return marks.Figure(KEY, TITLE, caption.strip(), (panel,))


def _trials(table: pd.DataFrame) -> list[marks.Points]:
    """The trials that did not diverge, then those that did."""
    looks: dict[bool, dict[str, Any]] = {
        False: {"name": "did not", "colour": "series0", "size": 8},
        True: {"name": "diverged", "colour": "text", "size": 11, "symbol": "x"},
    }
    return [
        marks.Points(
            rows["x"].to_numpy(),
            rows["y"].to_numpy(),
            text=_words(rows),
            slots=rows["slot"].to_numpy(),
            **looks[bool(diverged)],
        )
        for diverged, rows in table.groupby("diverged")
    ]


def _words(rows: pd.DataFrame) -> list[str]:
    columns = (rows[column] for column in ("alpha", "steps", "beta", "iteration"))
    return [
        f"α {alpha:.3g}, {count(int(steps), 'step')}, β {beta:.3g}"
        + ("" if pd.isna(iteration) else f"\nafter {iteration:,} iterations")
        for alpha, steps, beta, iteration in zip(*columns, strict=True)
    ]
