"""How much pruning and packing saved, beside what the sweep would have cost without them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import pandas as pd

from maml_sweep.analysis.drawing import marks
from maml_sweep.analysis.figures.common import so

if TYPE_CHECKING:
    from maml_sweep.analysis.answers import Answers

KEY, TITLE = "savings", "What pruning and packing saved"
_TITLES = {"pruning": "Pruning", "packing": "Packing"}
_UNITS = {"pruning": "meta-iterations of all trials", "packing": "seconds inside training calls"}


def frame(answers: Answers) -> pd.DataFrame:
    """What was spent and what would have been.

    Returns:
      what ("pruning", "packing"), label, amount (meta-iterations, seconds), low, high (its 95%
      interval; NaN where it is no estimate). Nothing of what cannot be told.
    """
    found, none = answers.savings, math.nan
    rows: list[tuple[str, str, float, float, float]] = []
    if found.iterations_full:
        rows += [
            ("pruning", "every trial to its end", found.iterations_full, none, none),
            ("pruning", "as it was", found.iterations_done, none, none),
        ]
    pack = found.packing
    if pack.packed_seconds is not None and pack.alone_seconds is not None:
        ends = [
            none if ratio is None else ratio * pack.packed_seconds
            for ratio in (pack.speedup_low, pack.speedup_high)
        ]
        rows += [
            ("packing", "one at a time (estimated)", pack.alone_seconds, ends[0], ends[1]),
            ("packing", "in packs", pack.packed_seconds, none, none),
        ]
    return pd.DataFrame(rows, columns=["what", "label", "amount", "low", "high"])


def figure(answers: Answers) -> marks.Drawing:
    """Draws a pair of bars for each of the two."""
    table, found = frame(answers), answers.savings
    if table.empty:
        return marks.Words(KEY, TITLE, so(answers.frames, "there is nothing yet to have saved"))
    panels = tuple(_panel(what, rows) for what, rows in table.groupby("what", sort=False))
    caption = (
        "Grey: what the same trials would have cost. What packing saved is an estimate from how "
        "long its calls took; the arithmetic itself is taken for no faster in a pack."
        if len(panels) > 1
        else "Grey: what the same trials would have cost, had each gone on to its end."
    )
    note = " ".join(words for words in (found.pruning_words, found.packing.words) if words)
    return marks.Figure(KEY, TITLE, caption, panels, height=60 + 160 * len(panels), note=note)


def _panel(what: object, rows: pd.DataFrame) -> marks.Panel:
    drawn = tuple(
        marks.Bars(
            [row["label"]],
            [row["amount"]],
            colour="good" if row["label"] in {"as it was", "in packs"} else "muted",
            low=None if math.isnan(row["low"]) else [row["low"]],
            high=None if math.isnan(row["high"]) else [row["high"]],
        )
        for row in rows.to_dict("records")
    )
    x, y = marks.Axis(_UNITS[str(what)], low=0.0), marks.Axis(kind="category")
    return marks.Panel(drawn, x, y, title=_TITLES[str(what)])
