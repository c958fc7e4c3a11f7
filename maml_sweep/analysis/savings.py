"""What pruning and packing saved.

Pruning: the meta-iterations done, against those had every trial gone on to its end. A diverged
trial would have diverged all the same, so it saved nothing; trials that run, wait or were given up
are left out.

Packing: a turn's seconds are taken for a times the iterations of its program (what a call costs
whatever it holds) plus b times the inner steps of all its tasks, both at least 0. One trial at a
time pays a for every trial's iterations instead, so the time saved is a times the difference. This
is an estimate: it takes the arithmetic itself for no faster in a pack, and nothing was run alone.
It cannot be told where turns are few, where packs hardly differ, or where the two costs explain
less than 60% of the variance of an iteration's seconds, as when others use the machine.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.optimize import nnls

if TYPE_CHECKING:
    from maml_sweep.analysis.frames import Frames
    from maml_sweep.analysis.merging import Slot

Array = NDArray[np.float64]

LEAST = 12  # turns of a program, below which its costs cannot be told
_VARIED = 0.15  # coefficient of variation of lane steps an iteration, below which neither
_FITS = 0.6  # share of the variance of an iteration's seconds that the two costs must explain
_DRAWS = 200  # of the bootstrap over turns
_TYPES = {"slot": "int64", "state": "str", "iterations": "int64", "full": "int64"}
_UNTOLD = "What packing saved cannot be told"


@dataclass(frozen=True)
class Packing:
    """What packs cost and would have cost apart, of the programs of which that can be told.

    All is None where it can be told of none, or of less than half of the time.

    Attributes:
      packed_seconds: inside training calls, less tracing.
      alone_seconds: what one trial at a time would have taken.
      speedup: their ratio.
      speedup_low: of its 95% interval, by a bootstrap over turns.
      speedup_high: of the same.
      mean_pack: runs trained at once, averaged over iterations.
      words: all that in a sentence, or why not.
      fit: worker, program, per_iteration and per_lane_step (seconds), turns.
    """

    packed_seconds: float | None
    alone_seconds: float | None
    speedup: float | None
    speedup_low: float | None
    speedup_high: float | None
    mean_pack: float | None
    words: str
    fit: pd.DataFrame


@dataclass(frozen=True)
class Savings:
    """What a sweep saved.

    Attributes:
      pruned_share: of the meta-iterations of a sweep without pruning; None while nothing ended.
      iterations_done: of the trials that ended.
      iterations_full: of the same had nothing been pruned.
      pruning_words: the same in a sentence.
      packing: see `Packing`.
    """

    pruned_share: float | None
    iterations_done: int
    iterations_full: int
    pruning_words: str
    packing: Packing


def savings(frames: Frames) -> Savings:
    """What a study saved."""
    table = by_trial(frames)
    done, full = int(table["iterations"].sum()), int(table["full"].sum())
    share = 1 - done / full if full else None
    return Savings(share, done, full, _pruning_words(table, share), packing(frames.turns))


def by_trial(frames: Frames) -> pd.DataFrame:
    """A row for each trial that ended: slot, state, iterations (done), full (had it gone on)."""
    rows = []
    for slot in frames.slots.values():
        done = slot.iterations
        if done is not None and slot.state in {"complete", "pruned", "diverged"}:
            total = _total(slot) if slot.state == "pruned" else None
            rows.append((slot.slot, slot.state, done, max(done, total or done)))
    return pd.DataFrame(rows, columns=list(_TYPES)).astype(_TYPES)


def _total(slot: Slot) -> int | None:
    """A trial's own iterations to its end; None if its configuration does not say."""
    total = slot.setting("training.iterations")
    return None if total is None else slot.iterations_at(int(total))


def _pruning_words(table: pd.DataFrame, share: float | None) -> str:
    pruned = int((table["state"] == "pruned").sum())
    if share is None:
        return "No trial has ended yet."
    if not pruned:
        return "No trial was pruned."
    done, full = table["iterations"].sum(), table["full"].sum()
    return (
        f"Pruning ended {pruned} of {len(table)} trials early and saved {share:.0%} of the "
        f"meta-iterations ({done:,} done, {full:,} without it)."
    )


def packing(turns: pd.DataFrame) -> Packing:
    """What packing saved.

    Args:
      turns: `Frames.turns`.
    """
    turns = turns[turns["iterations"] > 0]
    if turns.empty:
        return _untold(f"{_UNTOLD}: no turns are recorded.", None)
    pack = float(turns["trial_iterations"].sum() / turns["iterations"].sum())
    if pack <= 1:
        return _untold("Trials were trained one at a time.", pack)
    # Every worker's programs by themselves: their costs differ, and a worker counts its own.
    programs: Any = turns.groupby(["worker", "program"], sort=True)
    usable = [(key, each) for key, each in programs if _tells(each)]
    if not usable:
        return _untold(f"{_UNTOLD}: turns are too few or too much alike.", pack)
    usable = [(key, each) for key, each in usable if _fits(each)]
    if sum(each["seconds"].sum() for _, each in usable) < turns["seconds"].sum() / 2:
        return _untold(
            f"{_UNTOLD}: turns' times follow something else, such as other work on the machine.",
            pack,
        )
    rng = np.random.default_rng(0)
    packed, saved = 0.0, np.zeros(1 + _DRAWS)  # the estimate, then its bootstrap
    rows = []
    for (worker, program), each in usable:
        costs = _costs(each, rng)
        packed += float(np.maximum(each["seconds"] - each["tracing"], 0.0).sum())
        saved += costs[:, 0] * float((each["trial_iterations"] - each["iterations"]).sum())
        rows.append((worker, program, costs[0, 0], costs[0, 1], len(each)))
    columns = ["worker", "program", "per_iteration", "per_lane_step", "turns"]
    return _told(packed, saved, pack, pd.DataFrame(rows, columns=columns))


def _measured(turns: pd.DataFrame) -> pd.DataFrame:
    """The turns without tracing, whose seconds are those of training alone."""
    return turns[(turns["tracing"] <= 0) & (turns["seconds"] > 0)]


def _tells(turns: pd.DataFrame) -> bool:
    """Whether turns differ enough to tell the two costs apart."""
    seen = _measured(turns)
    if len(seen) < LEAST:
        return False
    load = seen["lane_steps"] / seen["iterations"]
    return bool(load.std() > _VARIED * load.mean())


def _fits(turns: pd.DataFrame) -> bool:
    """Whether what an iteration takes follows its load."""
    seen = _measured(turns)
    seconds, load = (seen[name] / seen["iterations"] for name in ("seconds", "lane_steps"))
    if seconds.std() <= 1e-9 * seconds.mean():
        return True
    r = float(np.corrcoef(seconds, load)[0, 1])
    return r > 0 and r**2 >= _FITS


def _costs(turns: pd.DataFrame, rng: np.random.Generator) -> Array:
    """Seconds an iteration and a lane step, [1 + draw, 2]: the fit, then those of resampled turns.

    Turns weigh by the root of their iterations, as the scatter of a sum grows by its root.
    """
    seen = _measured(turns)
    weight = 1 / np.sqrt(seen["iterations"].to_numpy(np.float64))
    design = seen[["iterations", "lane_steps"]].to_numpy(np.float64) * weight[:, np.newaxis]
    seconds = seen["seconds"].to_numpy(np.float64) * weight
    scale = design.mean(axis=0)
    picks: Any = [np.arange(len(seen)), *rng.integers(0, len(seen), (_DRAWS, len(seen)))]
    return np.array([nnls(design[pick] / scale, seconds[pick])[0] / scale for pick in picks])


def _told(packed: float, saved: Array, pack: float, fit: pd.DataFrame) -> Packing:
    ratio = 1 + saved / packed
    low, high = np.quantile(ratio[1:], [0.025, 0.975])
    words = (
        f"Packing ({pack:.1f} trials at once on average) took {_time(packed)} where one trial at a "
        f"time would have taken about {_time(packed + saved[0])}: {ratio[0]:.2g} times as long "
        f"(95% interval {low:.2g} to {high:.2g}; an estimate from {int(fit['turns'].sum())} turns)."
    )
    if ratio[0] < 1.05:
        words = (
            f"Packing ({pack:.1f} trials at once on average) saved no time to speak of: what a "
            f"turn takes is all in its tasks and steps."
        )
    alone = packed + float(saved[0])
    return Packing(packed, alone, float(ratio[0]), float(low), float(high), pack, words, fit)


def _untold(words: str, pack: float | None) -> Packing:
    columns = ["worker", "program", "per_iteration", "per_lane_step", "turns"]
    return Packing(None, None, None, None, None, pack, words, pd.DataFrame(columns=columns))


def _time(seconds: float) -> str:
    """Seconds as people say them."""
    if seconds < 120:
        return f"{seconds:.3g} s"
    return f"{seconds / 60:.3g} min" if seconds < 7200 else f"{seconds / 3600:.3g} h"
