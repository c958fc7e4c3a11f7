"""What the fresh trainings of a winner come to on the meta-test tasks, and how sure that is."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from scipy import stats

from maml_sweep.winners.choice import Winner

LEVEL = 0.95


class Mean(NamedTuple):
    """A mean and half the width of its 95% interval, None with fewer than two values."""

    mean: float
    half: float | None
    n: int


def mean_of(values: np.ndarray) -> Mean:
    """Student's interval, as papers report it: float [n] -> mean ± t s / sqrt(n)."""
    n = len(values)
    if n < 2:
        return Mean(float(values.mean()), None, n)
    spread = float(values.std(ddof=1)) / math.sqrt(n)
    return Mean(float(values.mean()), float(stats.t.ppf((1 + LEVEL) / 2, n - 1)) * spread, n)


@dataclass(frozen=True)
class Outcome:
    """A winner's trainings, judged.

    Attributes:
      winner: whose.
      metric: what the task measures.
      steps: inner steps S of the test.
      iterations: meta-iterations of a whole training.
      seeds: index of a training -> its seed, of all of them.
      diverged: index -> the iteration after which it diverged.
      validation: index -> metric on the validation tasks at the end, of the healthy ones.
      curves: index -> metric after 0 … 2S steps, float [step, task], of the healthy ones.
      further: name -> index -> another measure after S steps, float [task], of the healthy ones.
      weights: index -> its parameters by name, of the healthy ones.
    """

    winner: Winner
    metric: str
    steps: int
    iterations: int
    seeds: Mapping[int, int]
    diverged: Mapping[int, int]
    validation: Mapping[int, float]
    curves: Mapping[int, np.ndarray]
    further: Mapping[str, Mapping[int, np.ndarray]]
    weights: Mapping[int, Mapping[str, np.ndarray]]

    @property
    def each(self) -> dict[int, float]:
        """Index -> that training's mean over the meta-test tasks after S steps."""
        return {index: float(curve[self.steps].mean()) for index, curve in self.curves.items()}

    @property
    def over_tasks(self) -> Mean | None:
        """Over tasks, each task's metric averaged over seeds; None if every seed diverged."""
        if not self.curves:
            return None
        return mean_of(self._mean_curve()[self.steps])

    @property
    def over_seeds(self) -> Mean | None:
        """Over the seeds' means; None if every seed diverged."""
        return mean_of(np.array(list(self.each.values()))) if self.curves else None

    @property
    def adaptation(self) -> list[Mean]:
        """Over tasks, after 0 … 2S steps."""
        return [mean_of(values) for values in self._mean_curve()] if self.curves else []

    @property
    def measures(self) -> dict[str, Mean]:
        """The further measures over tasks, each task's averaged over seeds."""
        return {
            name: mean_of(np.mean(list(found.values()), axis=0))
            for name, found in self.further.items()
            if found
        }

    def _mean_curve(self) -> np.ndarray:
        """The metric averaged over seeds: float [step, task]."""
        average: np.ndarray = np.mean(list(self.curves.values()), axis=0)
        return average

    def to_json(self) -> dict[str, Any]:
        """Plain values; what is not finite is null."""
        return {
            "slot": self.winner.slot,
            "parameters": dict(self.winner.parameters),
            "search_value": self.winner.value,
            "iterations": self.iterations,
            "steps": self.steps,
            "meta_test": {
                "over_tasks": _json(self.over_tasks),
                "over_seeds": _json(self.over_seeds),
                "adaptation": [_json(mean) for mean in self.adaptation],
                "measures": {name: _json(mean) for name, mean in self.measures.items()},
            },
            "seeds": [self._seed_json(index) for index in self.seeds],
        }

    def _seed_json(self, index: int) -> dict[str, Any]:
        return {
            "index": index,
            "seed": self.seeds[index],
            "diverged": self.diverged.get(index),
            "validation": self.validation.get(index),
            "meta_test": self.each.get(index),
            "weights": f"{self.winner.slot}-{index}.npz" if index in self.weights else None,
        }


def _json(mean: Mean | None) -> dict[str, Any] | None:
    if mean is None:
        return None
    values = {"mean": mean.mean, "half_width": mean.half}
    finite = {k: v if v is not None and math.isfinite(v) else None for k, v in values.items()}
    return {**finite, "n": mean.n}


def number(value: float) -> str:
    """A metric for people: four digits."""
    return f"{value:.4g}"


def with_half(mean: Mean, unit: str) -> str:
    """A mean and its interval for people: as many decimals as two digits of the interval have."""
    if mean.half is None:
        return f"{number(mean.mean)} (an interval needs 2 {unit} or more)"
    decimals = max(0, 1 - math.floor(math.log10(mean.half))) if mean.half > 0 else 4
    figures = f"{mean.mean:.{decimals}f} ± {mean.half:.{decimals}f}"
    return f"{figures} (95%, over {mean.n:,} {unit})"


def lines(outcome: Outcome) -> Sequence[str]:
    """What is printed of a winner."""
    winner, metric = outcome.winner, outcome.metric
    found = [f"slot {winner.slot}: {winner.line}"]
    value = f"  validation {metric}: {number(winner.value)} in the search"
    fresh = list(outcome.validation.values())
    if fresh:
        value += f", {number(float(np.mean(fresh)))} from fresh seeds"
    found.append(value)
    if outcome.over_tasks is None or outcome.over_seeds is None:
        found.append(f"  meta-test {metric}: every seed diverged")
    else:
        head = f"  meta-test {metric} after {outcome.steps} step{'s' * (outcome.steps != 1)}: "
        found.append(head + with_half(outcome.over_tasks, "tasks"))
        found.append(" " * len(head) + with_half(outcome.over_seeds, "seeds"))
        for name, mean in outcome.measures.items():
            found.append(f"  meta-test {name}: {with_half(mean, 'tasks')}")
        means = "  ".join(f"{index}: {number(value)}" for index, value in outcome.each.items())
        found.append(f"  by seed  {means}")
        steps = enumerate(outcome.adaptation)
        found.append("  by step  " + "  ".join(f"{k}: {number(m.mean)}" for k, m in steps))
    for index, iteration in outcome.diverged.items():
        found.append(f"  seed {index} diverged after {iteration} iterations and is left out")
    return found
