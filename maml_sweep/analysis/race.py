"""The best value so far against what it cost, of several studies, and which of them leads.

A slot's cost is counted when it ends; slots still in flight have cost nothing yet, which flatters
a study by its last pack at most. Only trials that came to their end have a value, but all that
ended cost: also pruned, diverged and given-up ones (of the last, what they cost is not recorded).

One sweep is one draw: the same search would have tried other settings, or the same ones in another
order. How much hangs on that is simulated by a bootstrap over the slots: those of a study, value
and cost together, are drawn anew with replacement, and give another curve of the best so far
(of random search this is the expected validation performance of Dodge et al. 2019,
arXiv:1909.03004, with a spread). What it assumes, and where it falls short:

  * Slots are exchangeable: all of a study whose sampler draws blindly; of one that learns those
    within a quarter of the order of ending, so that it keeps what it had learnt by then. Each trial
    is taken as it was, though another past would have had it drawn or pruned differently.
  * A redrawn curve is never better than the best value seen, so the good end of a band is too
    short, the more the nearer the study's end (Tang et al. 2020, arXiv:2004.13705). Simulated with
    40 slots of a random search, half of them pruned, another sweep of the same search falls into
    the band in 77, 65 and 48% of the cases after 25, 50 and 100% of the cost; of two equal searches
    a chance to lead beyond 95% is told in 20% of the cases, where 10% would be right. It is a hint
    about the order and luck of trials, not a test.
  * Values are taken for exact. How sure the winners' are, over tasks, is a question of its own.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from maml_sweep.analysis.frames import Frames

Array = NDArray[np.float64]

COSTS = ("tasks", "seconds", "slots")
ENDED = ("complete", "pruned", "diverged", "failed")
BLIND = {"BruteForceSampler", "GridSampler", "QMCSampler", "RandomSampler"}  # of Optuna
LEAST = 5  # slots that ended, below which redrawing them says nothing
DRAWS = 2000
LEVEL = 0.95
_QUARTERS = 4
_GRID = 100  # costs at which bands are compared


@dataclass(frozen=True)
class Track:
    """The slots of a study that ended, in the order in which they did.

    Attributes:
      loss: float64 [slot]; infinite of trials that did not come to their end.
      costs: tasks (of all repeats), seconds and slots -> float64 [slot]; NaN if not recorded.
      learns: whether the sampler's draws depend on results.
    """

    loss: Array
    costs: Mapping[str, Array]
    learns: bool = True

    @property
    def found(self) -> bool:
        """Whether any trial came to its end."""
        return bool(np.isfinite(self.loss).any())

    def total(self, cost: str) -> float:
        """What all of it cost; NaN if that is not known."""
        return float(self.costs[cost].sum())

    def best(self, cost: str, at: Array) -> Array:
        """The least loss by the time that so much was spent.

        Args:
          cost: one of COSTS.
          at: [cost].

        Returns:
          [cost]; infinite where no trial has come to its end yet.
        """
        return self._best(cost, np.arange(self.loss.size), at)

    def redrawn(self, cost: str, at: Array, seed: int = 0) -> Array:
        """`best` of slots drawn anew, see the module; a study that falls short draws on.

        Returns:
          [draw, cost].
        """
        parts = int(np.clip(self.loss.size // LEAST, 1, _QUARTERS)) if self.learns else 1
        picks = _picks(self.loss.size, parts, np.random.default_rng(seed))
        return np.stack([self._best(cost, pick, at) for pick in picks])

    def _best(self, cost: str, slots: NDArray[np.int64], at: Array) -> Array:
        spent = np.cumsum(self.costs[cost][slots])
        least: Array = np.minimum.accumulate(np.append(math.inf, self.loss[slots]))
        # rounding in the sums must not put off a trial that ends just there
        return least[np.searchsorted(spent, at * (1 + 1e-9), side="right")]


def track(study: Frames) -> Track:
    """A study's."""
    trials = study.trials[study.trials["state"].isin(ENDED)]
    trials = trials.sort_values(["finished", "slot"], kind="stable")
    sampler = str(study.plan.config.get("sampler", {}).get("_target_", ""))
    given_up = (trials["state"] == "failed").to_numpy()
    loss = study.sign * trials["value"].to_numpy(np.float64)
    tasks = trials["tasks"].astype("float64").to_numpy() * study.plan.repeats
    seconds = trials["seconds"].to_numpy(np.float64)
    return Track(
        np.where(np.isfinite(loss), loss, math.inf),
        {
            "tasks": np.where(given_up, 0.0, tasks),
            "seconds": np.where(given_up, 0.0, seconds),
            "slots": np.ones(loss.size),
        },
        sampler.rpartition(".")[2] not in BLIND,
    )


def grid(limit: float) -> Array:
    """Costs from next to nothing to `limit`; [cost]."""
    return np.linspace(limit / _GRID, limit, _GRID, dtype=np.float64)


def band(losses: Array) -> tuple[Array, Array]:
    """The middle 95% of redrawn curves.

    Args:
      losses: [draw, cost].

    Returns:
      The lower and the upper end, [cost] each; no interpolation, as some may be infinite.
    """
    ordered: Array = np.sort(losses, axis=0)
    tail = math.floor((len(losses) - 1) * (1 - LEVEL) / 2)
    return ordered[tail], ordered[-1 - tail]


def overlap(first: Array, second: Array) -> float:
    """The share of the costs at which two bands overlap.

    Args:
      first: [draw, cost].
      second: of the other study, at the same costs.

    Returns:
      0 … 1, of the costs at which at least one of them may have a value; NaN if there are none.
    """
    (low, high), (other_low, other_high) = band(first), band(second)
    seen = np.isfinite(np.minimum(low, other_low))
    both = (low <= other_high) & (other_low <= high)
    return float(both[seen].mean()) if seen.any() else math.nan


def leads(first: Array, second: Array) -> float:
    """The chance that a loss of the first is less than one of the second; a tie counts half.

    Args:
      first: [draw].
      second: [draw]; all pairs are compared.
    """
    ordered = np.sort(second)
    worse = ordered.size - np.searchsorted(ordered, first, side="right")
    no_better = ordered.size - np.searchsorted(ordered, first, side="left")
    return float((worse + no_better).mean() / 2 / ordered.size)


def _picks(slots: int, parts: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Slots drawn with replacement from their part of the order; [draw, position].

    Behind as many as there are come half as many more from the last part: where those that were
    drawn cost little, the budget buys more of them.
    """
    edges = np.linspace(0, slots, parts + 1).round().astype(np.int64)
    drawn = np.diff(edges)
    drawn[-1] += slots // 2 + LEAST
    low, high = np.repeat(edges[:-1], drawn), np.repeat(edges[1:], drawn)
    return rng.integers(low, high, size=(DRAWS, low.size))
