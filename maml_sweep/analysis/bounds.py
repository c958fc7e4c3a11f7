"""Whether the optimum lies at a bound of the space, and how to widen it.

A quadratic in every numeric parameter is fitted to the standings of all trials of the best one's
branch. A bound is named if the good trials lie there and the fit still improves where it reaches
that bound, which is asked for strictly or loosely:

  * p < 0.01, and the best trial lies within a tenth of the range from the bound, or in that half
    with the median of the best tenth (three trials at least) within a quarter;
  * p < 0.15, and the best trials crowd there: the best within a tenth, three quarters of the best
    tenth (four trials at least) within a fifth. A sampler that has settled at a bound leaves few
    trials elsewhere to fit a slope to.

Where they lie is cheap talk alone: the best of 40 trials lies within a tenth of some end of an idle
parameter one time in five. In simulated random searches over four parameters, one of them idle, an
optimum outside by half the range was found in 97% of studies of 40 trials and in all of 100, one
outside by a fifth in 78% and 99%; a false alarm came in 1% of studies with the optimum in the
middle, 6% where nothing mattered, 4% where the optimum was a tenth of the range from the bound.
With 100 trials drawn by TPE, which settles somewhere in idle parameters too: 98% outside by a
fifth, false alarms in up to 12%, and in 20% for an optimum a tenth from the bound.
Settings that diverge stand last, so a bound behind a cliff is not named.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scipy import stats

from maml_sweep.analysis import selection
from maml_sweep.analysis.widening import Numeric, widened

if TYPE_CHECKING:
    from maml_sweep.analysis.frames import Frames
    from maml_sweep.search.space import Branch

LEAST = 12  # trials, below which nothing is said
_BEST, _TOP = 0.1, 0.25  # how near the best, and the best tenth's median, must come
_CROWD, _SHARE = 0.2, 0.75  # how near, and what share of the best tenth, for a crowd
_LEVEL, _CROWDED_LEVEL = 0.01, 0.15


@dataclass(frozen=True)
class Bound:
    """A bound to widen.

    Attributes:
      parameter: the configuration's key.
      branch: where it is searched; empty if no group is swept.
      side: "low" or "high".
      bound: its value.
      best: the best trial's value.
      wider: a sweep expression for Hydra that reaches further on that side.
      p: of the fitted slope.
    """

    parameter: str
    branch: str
    side: str
    bound: float
    best: float
    wider: str
    p: float


def at_bounds(frames: Frames, standing: pd.Series[float]) -> list[Bound]:
    """The bounds at which the optimum lies, the surest first.

    Args:
      frames: the study's.
      standing: slot -> 0 (best) … 1 (worst).
    """
    best = selection.best(frames)
    branch = frames.slots[best].branch if best is not None else None
    if best is None or branch is None:
        return []
    units, ranks = _table(frames, standing, branch)
    found = []
    for key, side, p in reached(units, ranks):
        distribution = branch.distributions[key]
        assert isinstance(distribution, Numeric)
        end = distribution.low if side == "low" else distribution.high
        wider = widened(key, distribution, side)
        if wider:
            value = float(frames.slots[best].values[key])
            found.append(Bound(key, branch.name, side, float(end), value, wider, p))
    return sorted(found, key=lambda bound: bound.p)


def reached(units: pd.DataFrame, ranks: pd.Series[float]) -> list[tuple[str, str, float]]:
    """The ends of ranges at which the optimum lies.

    Args:
      units: float64 [slot, key], 0 … 1 within each range.
      ranks: [slot], 0 (best) … 1.

    Returns:
      key, side and p of each; empty with fewer than LEAST slots.
    """
    if len(units) < LEAST:
        return []
    return [
        (key, side, p)
        for key in units.columns
        for side, p in zip(("low", "high"), slopes(units, ranks, key), strict=True)
        if _at_end(units[key], ranks, side, p)
    ]


def _table(
    frames: Frames, standing: pd.Series[float], branch: Branch
) -> tuple[pd.DataFrame, pd.Series[float]]:
    """Units of the branch's numeric parameters [slot, key], and the slots' standings."""
    inside = [slot for slot in standing.index if frames.slots[slot].branch is branch]
    drawn = frames.parameters[frames.parameters["slot"].isin(inside)]
    units = drawn.pivot_table(index="slot", columns="parameter", values="unit", sort=False)
    numeric = [
        key
        for key, each in branch.distributions.items()
        if isinstance(each, Numeric) and key in units and units[key].nunique() > 1
    ]
    units = units[numeric].dropna()
    return units, standing[units.index]


def _at_end(unit: pd.Series[float], ranks: pd.Series[float], side: str, p: float) -> bool:
    """Whether the good trials lie at one end of a range, and p lets one believe it."""
    away = unit if side == "low" else 1.0 - unit
    ordered = away[ranks.sort_values().index]
    tenth = 0.1 * len(ordered)
    best, top = ordered.iloc[0], ordered.iloc[: max(3, math.ceil(tenth))]
    near = best <= _BEST or (best <= 0.5 and top.median() <= _TOP)
    crowd = ordered.iloc[: max(4, math.ceil(tenth))]
    crowded = best <= _BEST and (crowd <= _CROWD).mean() >= _SHARE
    return bool((near and p < _LEVEL) or (crowded and p < _CROWDED_LEVEL))


def slopes(units: pd.DataFrame, ranks: pd.Series[float], key: str) -> tuple[float, float]:
    """One-sided p that the standings do not improve towards the low, and the high, end of a key.

    The quadratic has no products of parameters. Where trials are few for all parameters, only the
    asked one's is fitted and the others count as noise.

    Args:
      units: [slot, key], 0 … 1.
      ranks: [slot], 0 (best) … 1.
      key: one of the columns.
    """
    keys = list(units.columns) if len(units) >= 3 * (2 * units.shape[1] + 1) else [key]
    x = units[keys].to_numpy(np.float64)
    design = np.column_stack([np.ones(len(x)), x, x**2])
    y = ranks.to_numpy(np.float64)
    weights, _, rank, _ = np.linalg.lstsq(design, y, rcond=None)
    left = y - design @ weights
    free = len(y) - int(rank)
    if free < 1:
        return 1.0, 1.0
    covariance = np.linalg.pinv(design.T @ design) * (left @ left) / free
    at = 1 + keys.index(key)
    found = []
    for end, outwards in ((0.0, 1.0), (1.0, -1.0)):
        gradient = np.zeros(len(weights))
        gradient[at], gradient[at + len(keys)] = 1.0, 2.0 * end
        error = math.sqrt(max(float(gradient @ covariance @ gradient), 1e-30))
        found.append(float(stats.t.sf(outwards * float(gradient @ weights) / error, free)))
    return found[0], found[1]
