"""What mattered: fANOVA and PED-ANOVA over the standings of all trials.

Optuna's evaluators see finished trials only. So they are given a study of their own, in memory, in
which every ranked trial is COMPLETE with its standing (`maml_sweep.analysis.standing`) for a value:
a pruned or diverged trial counts as what it was known to be, instead of being left out or taken at
the value of an early rung.

Swept groups are categorical parameters. Parameters that all branches share, on one scale, are
weighed against each other over all trials; what only some branches have is weighed within each
branch, against all that is searched there. So shares add up to 1 within a branch's own weighing,
not over the whole table.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from optuna.distributions import BaseDistribution, CategoricalDistribution

from maml_sweep.analysis.weighing import Distributions, explained, weigh
from maml_sweep.search.distributions import kind, widest

if TYPE_CHECKING:
    from maml_sweep.analysis.frames import Frames
    from maml_sweep.analysis.merging import Slot
    from maml_sweep.search.space import Space

LEAST = 8  # trials, below which a forest would fit noise
_TYPES = {
    "parameter": "str",
    "branch": "str",
    "fanova": "float64",
    "fanova_sd": "float64",
    "pedanova": "float64",
    "trials": "int64",
}


@dataclass(frozen=True)
class Importance:
    """What mattered.

    Attributes:
      table: parameter, branch (empty: shared by all), fanova (share of the standings' variance
        that it explains alone), fanova_sd (over resampled trials), pedanova (share of what sets
        the best tenth apart), trials (weighed). The most important first.
      words: how it came about, or why there is none.
      told: whether the parameters explain more of the standings than they would of noise.
    """

    table: pd.DataFrame
    words: str
    told: bool = False


def importances(frames: Frames, standing: pd.Series[float]) -> Importance:
    """Weighs everything that was searched.

    Args:
      frames: the study's.
      standing: slot -> 0 (best) … 1 (worst).
    """
    ranks: dict[Any, float] = standing.to_dict()
    trials = [(frames.slots[slot], value) for slot, value in ranks.items()]
    if len(trials) < LEAST:
        told = f"only {len(trials)}" if trials else "no"
        return _none(f"Importance needs {LEAST} trials with a value; there are {told}.")
    rows: list[tuple[Any, ...]] = []
    for branch, own, asked in _questions(frames.searched):
        inside = [(slot, x) for slot, x in trials if _has(slot, own, branch)]
        rows += _weighed(inside, branch, own, asked)
    if not rows:
        return _none("Nothing was searched that took more than one value.")
    table = pd.DataFrame(rows, columns=list(_TYPES)).astype(_TYPES)
    table = table.sort_values("fanova", ascending=False, kind="stable", ignore_index=True)
    words = _words(trials, table)
    share = _explained(frames, standing)
    if share > 0.1 + 2 / len(trials):  # of noise one study in twenty comes so far
        return Importance(table, f"{words} Together they explain {share:.0%} of the ranks.", True)
    doubt = "What was searched explains next to nothing of the ranks, so the shares may be chance."
    return Importance(table, f"{words} {doubt}")


def _none(words: str) -> Importance:
    empty = {name: pd.Series(dtype=each) for name, each in _TYPES.items()}
    return Importance(pd.DataFrame(empty), words)


def _questions(space: Space) -> list[tuple[str, Distributions, list[str]]]:
    """(branch, what varies in its trials, what is asked of those) for each weighing."""
    shared: dict[str, BaseDistribution] = {
        group: CategoricalDistribution(options) for group, options in space.groups.items()
    }
    first, *others = space.branches
    for key, distribution in first.distributions.items():
        found = [branch.distributions.get(key) for branch in others]
        if all(each is not None and kind(each) == kind(distribution) for each in found):
            shared[key] = reduce(widest, [distribution, *filter(None, found)])
    questions: list[tuple[str, Distributions, list[str]]] = [("", shared, list(shared))]
    for branch in space.branches:
        asked = [key for key in branch.distributions if key not in shared]
        if asked:
            questions.append((branch.name, branch.distributions, asked))
    return questions


def _has(slot: Slot, distributions: Distributions, branch: str) -> bool:
    here = slot.branch is not None and branch in {"", slot.branch.name}
    return here and all(key in slot.values for key in distributions)


def _weighed(
    trials: Sequence[tuple[Slot, float]], branch: str, own: Distributions, asked: Sequence[str]
) -> list[tuple[Any, ...]]:
    """Rows of the table for one weighing; none of what took a single value, or of few trials."""
    points = [_stored(slot, own) for slot, _ in trials]
    varied = {key: own[key] for key in own if len({repr(point[key]) for point in points}) > 1}
    if len(trials) < LEAST or not varied:
        return []
    kept = [{key: point[key] for key in varied} for point in points]
    shares = weigh(kept, varied, [rank for _, rank in trials])
    return [(key, branch, *shares[key], len(trials)) for key in asked if key in varied]


def _stored(slot: Slot, distributions: Distributions) -> dict[str, Any]:
    """A slot's values as Optuna stores them: lists and the like as JSON text."""
    assert slot.branch is not None
    return {
        key: slot.branch.drawn(key, slot.values[key])
        if key in slot.branch.distributions
        else slot.values[key]
        for key in distributions
    }


def _explained(frames: Frames, standing: pd.Series[float]) -> float:
    """Out of the forest's own sample, over all that is searched; what a branch lacks is at -1."""
    drawn = frames.parameters[frames.parameters["slot"].isin(standing.index)]
    units = drawn.pivot_table(index="slot", columns="parameter", values="unit").fillna(-1.0)
    ranks = np.asarray(standing[units.index], np.float64)
    return explained(np.asarray(units, np.float64), ranks)


def _words(trials: Sequence[tuple[Slot, float]], table: pd.DataFrame) -> str:
    """What trials counted for, above all the pruned ones."""
    states = [slot.state for slot, _ in trials]
    complete, diverged = states.count("complete"), states.count("diverged")
    early = len(states) - complete - diverged
    parts = [f"{len(states)} trials by their rank"]
    if early:
        parts.append(
            f"the {early} that stopped before the end in the place that they had at their last "
            f"rung among those that went on"
        )
    if diverged:
        parts.append(f"the {diverged} that diverged last")
    words = ", ".join(parts) + "."
    if (table["branch"] != "").any():
        words += " What only some branches have is weighed within each branch."
    return words
