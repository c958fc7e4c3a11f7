"""Where training diverges: a probability over α, β and the number of inner steps.

A logistic regression on the logarithms of the three: an inner step is stable while α times the
curvature stays below 2, and steps multiply, so the border is a line over logarithms. Coefficients
of the standardised logarithms are held small by a ridge penalty (a normal prior of standard
deviation 2), so that few trials give a soft border where a plain fit would give a sharp one
anywhere between two trials.

A trial that was pruned before it could diverge counts as one that did not: the probability is that
of diverging within what a sweep trains.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import stats
from scipy.optimize import minimize
from scipy.special import expit

from maml_sweep.analysis.settings import ALPHA, BETA, STEPS

if TYPE_CHECKING:
    from maml_sweep.analysis.frames import Frames

Array = NDArray[np.float64]

KEYS = (ALPHA, STEPS, BETA)
_SD = 2.0  # of the prior of a standardised coefficient
_LEVEL = 0.01  # of a threshold, for the best of all columns tried
_SYMBOLS = {ALPHA: "α", STEPS: "the number of inner steps", BETA: "β"}


@dataclass(frozen=True, eq=False)
class Divergence:
    """A fitted model.

    Attributes:
      parameters: the configuration's keys that it knows of.
      diverged: how many trials did.
      trials: how many trained at all.
      sentence: where, in words.
      centre: float64 [parameter], mean of the logarithms.
      scale: float64 [parameter], their standard deviation.
      weights: float64 [1 + parameter], the intercept first.
    """

    parameters: tuple[str, ...]
    diverged: int
    trials: int
    sentence: str
    centre: Array
    scale: Array
    weights: Array

    def probability(self, values: Mapping[str, ArrayLike]) -> Array:
        """The chance of diverging.

        Args:
          values: configuration key -> positive numbers, broadcast against each other; a parameter
            that is not given stands at the geometric mean of the trials.

        Returns:
          float64 of the broadcast shape.
        """
        score: Any = self.weights[0]
        for index, key in enumerate(self.parameters):
            if key in values:
                logs = np.log(np.asarray(values[key], np.float64))
                score = score + self.weights[1 + index] * (
                    (logs - self.centre[index]) / self.scale[index]
                )
        return np.asarray(expit(score), np.float64)


def fit(frames: Frames) -> Divergence | None:
    """The model of a study; None if none or all diverged, or none of the three was searched."""
    table = trained(frames)
    keys = [key for key in KEYS if key in table and table[key].nunique() > 1]
    table = table.dropna(subset=keys)
    count = int(table["diverged"].sum())
    if not keys or count in {0, len(table)}:
        return None
    logs = np.log(table[keys].to_numpy(np.float64))
    centre, scale = logs.mean(axis=0), logs.std(axis=0)
    weights = _logistic((logs - centre) / scale, table["diverged"].to_numpy(np.float64))
    said = sentence(frames)
    return Divergence(tuple(keys), count, len(table), said, centre, scale, weights)


def trained(frames: Frames) -> pd.DataFrame:
    """The trials that trained at all: slot, diverged, and those of the three that were searched."""
    trials = frames.trials
    diverged = trials["state"] == "diverged"
    columns = {key: trials[key].astype("float64") for key in KEYS if _numeric(trials, key)}
    table = pd.DataFrame({"slot": trials["slot"], "diverged": diverged, **columns})
    return table[diverged | trials["last"].notna()].reset_index(drop=True)


def _numeric(trials: pd.DataFrame, key: str) -> bool:
    """A category of numbers ("0.1 | null", say) is none."""
    return (
        key in trials
        and pd.api.types.is_numeric_dtype(trials[key])
        and bool((trials[key].dropna() > 0).all())
    )


def _logistic(x: Array, y: Array) -> Array:
    """Penalised maximum likelihood; the intercept is free. [1 + column]."""
    design = np.column_stack([np.ones(len(x)), x])
    ridge = np.r_[0.0, np.full(x.shape[1], 1 / _SD**2)]

    def loss(weights: Array) -> tuple[float, Array]:
        score = design @ weights
        value = np.logaddexp(0.0, score).sum() - y @ score + ridge @ weights**2 / 2
        return float(value), design.T @ (expit(score) - y) + ridge * weights

    found: Array = minimize(loss, np.zeros(design.shape[1]), jac=True, method="BFGS").x
    return found


def sentence(frames: Frames) -> str:
    """How many trials diverged, and mostly where; empty if none trained at all."""
    table = trained(frames)
    count, trials = int(table["diverged"].sum()), len(table)
    if not trials:
        return ""
    if not count:
        return f"None of {trials} trials diverged." if trials > 1 else "It did not diverge."
    if count == trials:
        return f"All {trials} trials diverged." if trials > 1 else "The only trial diverged."
    return f"Training diverged in {count} of {trials} trials{_where(table)}."


def _where(table: pd.DataFrame) -> str:
    """Behind the count: the threshold that tells best who diverged; empty if none does."""
    columns = {_SYMBOLS[key]: table[key] for key in KEYS if key in table}
    if ALPHA in table and STEPS in table:
        columns = {"α·steps": table[ALPHA] * table[STEPS]} | columns
    diverged = table["diverged"].to_numpy(bool)
    best: tuple[float, str] = (0.6, "")
    for name, column in columns.items():
        x = column.to_numpy(np.float64)
        known = np.isfinite(x)
        if known.all() and len(np.unique(x)) > 1:
            gain, side, low, high = _split(x, diverged)
            if gain > best[0] + 1e-9 and _chance(x, diverged) * len(columns) < _LEVEL:
                best = (gain, f", mostly {side} {name} = {_between(low, high)}")
    return best[1]


def _chance(x: Array, diverged: NDArray[np.bool_]) -> float:
    """P that values of diverged trials rank like the others' (Mann-Whitney, two-sided)."""
    return float(stats.mannwhitneyu(x[diverged], x[~diverged]).pvalue)


def _split(x: Array, diverged: NDArray[np.bool_]) -> tuple[float, str, float, float]:
    """The cut that tells best.

    Returns:
      Youden's J (the share of the diverged ones beyond the cut less that of the others), on which
      side those lie, and the neighbouring values between which it is.
    """
    values = np.unique(x)
    found = (0.0, "", 0.0, 0.0)
    for low, high in pairwise(values):
        gain = float((x >= high)[diverged].mean() - (x >= high)[~diverged].mean())
        if abs(gain) > found[0]:
            found = (abs(gain), "above" if gain > 0 else "below", float(low), float(high))
    return found


def _between(low: float, high: float) -> str:
    """A number between two in as few digits as it takes."""
    for digits in (1, 2, 3):
        middle = f"{math.sqrt(low * high):.{digits}g}"
        if low < float(middle) < high:
            break
    return f"{float(middle):g}"
