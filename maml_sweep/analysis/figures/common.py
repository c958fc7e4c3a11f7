"""What the general figures share: how states look, the axis of values, words for empty figures."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from maml_sweep.analysis.drawing.encoding import numbers
from maml_sweep.analysis.drawing.marks import Axis, AxisKind, Points, Symbol
from maml_sweep.analysis.frames import Frames

DECADES = 1.3  # of values, from which on their axis is logarithmic


@dataclass(frozen=True)
class Look:
    """How trials of a state are drawn."""

    colour: str
    symbol: Symbol
    opacity: float
    size: float


LOOKS = {
    "complete": Look("series0", "circle", 1.0, 7),
    "pruned": Look("muted", "circle", 0.45, 5),
    "diverged": Look("bad", "x", 0.9, 7),
    "running": Look("series4", "diamond", 0.9, 7),
    "failed": Look("series3", "cross", 0.9, 7),
    "waiting": Look("muted", "circle", 0.2, 5),
}


def better(study: Frames) -> str:
    """The metric and which way is better, for an axis."""
    return f"{study.metric} ({'lower' if study.sign > 0 else 'higher'} is better)"


def value_axis(title: str, *arrays: ArrayLike) -> Axis:
    """An axis for values: logarithmic where all are positive and they span decades."""
    held = np.concatenate([np.empty(0), *(numbers(each).ravel() for each in arrays)])
    held = held[np.isfinite(held)]
    kind: AxisKind = "linear"
    if held.size and held.min() > 0 and np.log10(held.max() / held.min()) >= DECADES:
        kind = "log"
    return Axis(title, kind)


def sized(size: float, number: int) -> float:
    """A marker's size among so many."""
    return round(size * float(np.clip((400 / max(number, 1)) ** 0.25, 0.6, 1.0)), 1)


def scattered(table: pd.DataFrame, x: str, y: str) -> Iterator[Points]:
    """A mark a state, the least important first; needs the columns slot and state."""
    for state in ("pruned", "diverged", "failed", "running", "complete"):
        rows = table[(table["state"] == state) & table[y].notna()]
        if rows.empty:
            continue
        look = LOOKS[state]
        text = list(rows["text"]) if "text" in rows else None
        yield Points(
            rows[x],
            rows[y],
            name=state,
            colour=look.colour,
            symbol=look.symbol,
            opacity=look.opacity,
            size=sized(look.size, len(table)),
            slots=rows["slot"],
            text=text,
        )


def count(number: int, noun: str) -> str:
    """Such as "1 trial" or "3 trials"."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def situation(study: Frames) -> str:
    """What became of the study's trials, as the first half of a sentence."""
    states = study.trials["state"].value_counts()
    ended = {state: int(states[state]) for state in ("complete", "pruned", "diverged", "failed")}
    total = sum(ended.values())
    if not len(study.trials):
        return "The study has no trials"
    if total == 0:
        return f"None of the {count(len(study.trials), 'trial')} has finished yet"
    for state, number in ended.items():
        if number == total:
            if number == 1:
                verb = {"complete": "was completed", "pruned": "was pruned"}.get(state, state)
                return f"Only one trial has ended so far (it {verb})"
            verb = {"complete": "came to their end", "pruned": "were pruned"}.get(state, state)
            return f"All {number} trials that have ended {verb}"
    parts = ", ".join(f"{number} {state}" for state, number in ended.items() if number)
    return f"{count(total, 'trial')} ended ({parts})"


def so(study: Frames, consequence: str) -> str:
    """A sentence for `Words`: the situation and what follows from it."""
    return f"{situation(study)}, so {consequence}."


def slug(text: str) -> str:
    """Text that may stand in a figure's key."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-") or "x"


def described(study: Frames) -> pd.Series[str]:
    """Slot -> its parameters, a line each."""
    table = study.parameters
    if table.empty:
        return pd.Series("", index=study.trials["slot"], dtype=object)
    number = table["number"].map(lambda x: f"{x:.4g}")
    shown = number.where(table["number"].notna(), table["value"])
    lines = table["parameter"] + " = " + shown
    joined = lines.groupby(table["slot"]).agg("\n".join)
    found = joined.reindex(study.trials["slot"], fill_value="")
    return found.astype(object)
