"""The best trial of a study, and those that its validation tasks cannot tell from it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from maml_sweep.analysis import statistics
from maml_sweep.analysis.statistics import Interval

if TYPE_CHECKING:
    from maml_sweep.analysis.frames import Frames

_TYPES = {
    "slot": "int64",
    "mean": "float64",
    "difference": "float64",
    "low": "float64",
    "high": "float64",
    "p": "float64",
}


def best(frames: Frames) -> int | None:
    """The slot of the COMPLETE trial with the best value, the first of equals; None without one."""
    done = frames.trials[frames.trials["state"] == "complete"]
    if done.empty:
        return None
    order = pd.DataFrame({"loss": frames.sign * done["value"], "number": done["number"]})
    return int(done.loc[order.sort_values(["loss", "number"]).index[0], "slot"])


def best_interval(frames: Frames, slot: int | None) -> Interval | None:
    """95% interval of one trial's metric over the validation tasks; None without evaluation."""
    if slot is None or slot not in frames.evaluations:
        return None
    return statistics.interval(frames.per_task([slot])[0])


def winner_table(frames: Frames) -> pd.DataFrame:
    """The COMPLETE trials that cannot be told from the best; see `statistics.winner_set`.

    Pruned trials were judged earlier in their training, so their tasks' values are of other
    weights than those they would have ended with: they are never in the set.

    Returns:
      slot, mean (of the metric), difference (to the best seen; worse is positive in either
      direction), low and high (its own 95% interval, not corrected for many), p (corrected, of
      being the true best). The best first, then by mean; empty without evaluations.
    """
    done = frames.trials.loc[frames.trials["state"] == "complete", "slot"]
    slots = _comparable(frames, [int(slot) for slot in done])
    if not slots:
        return pd.DataFrame({name: pd.Series(dtype=kind) for name, kind in _TYPES.items()})
    losses = frames.sign * frames.per_task(slots)
    found = statistics.winner_set(losses)
    order = np.argsort(losses.mean(axis=1), kind="stable")
    rows = [found.best, *(i for i in order if found.inside[i] and i != found.best)]
    told = [statistics.paired(losses[i], losses[found.best]).interval for i in rows]
    columns = {
        "slot": [slots[i] for i in rows],
        "mean": frames.sign * losses[rows].mean(axis=1),
        "difference": [each.mean for each in told],
        "low": [each.low for each in told],
        "high": [each.high for each in told],
        "p": found.p[rows],
    }
    return pd.DataFrame(columns).astype(_TYPES)


def _comparable(frames: Frames, slots: list[int]) -> list[int]:
    """Those with an evaluation over as many tasks as the best one's, finite; the best first."""
    chosen = best(frames)
    kept = [
        slot
        for slot in sorted(slots, key=lambda slot: slot != chosen)
        if slot in frames.evaluations
        and np.isfinite(frames.evaluations[slot].rung_metric[-1]).all()
    ]
    sizes = {slot: frames.evaluations[slot].rung_metric.shape[1] for slot in kept}
    return [slot for slot in kept if sizes[slot] == sizes[kept[0]]]
