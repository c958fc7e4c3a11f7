"""Workers of a sweep that do all but train: their claims, draws, reports and results are real."""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import optuna
from optuna.trial import TrialState

from benchmarks.recorded_curves import RUNGS
from maml_sweep.search import study as studies
from maml_sweep.search.claims import Claims
from maml_sweep.search.pruners import PackPruner, Report, RungPruner
from maml_sweep.search.space import Space
from maml_sweep.search.study import Plan

PACK = 16
NOBODY = np.zeros(0)  # values of single validation tasks, which this pruner does not look at


class Curves(Protocol):
    """What stands in place of training."""

    @property
    def space(self) -> Space:
        """What is searched."""

    def curve(self, values: Mapping[str, Any], seed: int) -> list[float]:
        """A trial's values at its rungs; shorter, and NaN at the end, if it diverges."""


@dataclass
class Spent:
    """Seconds inside calls of the search, by what they were for.

    Attributes:
      cpu: of this process.
      wall: on the clock: with the database's work, and with whatever else the machine does.
      calls: how many there were.
    """

    cpu: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    wall: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    calls: Counter[str] = field(default_factory=Counter)

    @contextmanager
    def on(self, what: str) -> Iterator[None]:
        """Counts the block."""
        begin, cpu = time.perf_counter(), time.process_time()
        try:
            yield
        finally:
            self.wall[what] += time.perf_counter() - begin
            self.cpu[what] += time.process_time() - cpu
            self.calls[what] += 1

    @property
    def total(self) -> float:
        """CPU seconds of everything."""
        return sum(self.cpu.values())


class Worker:
    """The loop of `maml_sweep.search.worker`, with curves in place of training."""

    def __init__(
        self, study: optuna.Study, curves: Curves, folder: Path, name: str, spent: Spent,
        pack: int = PACK, pruner: PackPruner | None = None,
    ) -> None:  # fmt: skip
        self.study = study
        self.curves = curves
        self.plan = studies.plan_of(study)
        self.claims = Claims(study, self.plan, folder, name)
        self.pack = pack
        self.pruner = pruner or RungPruner(iterations=RUNGS[-1])
        self.spent = spent
        self.riding: dict[int, tuple[optuna.Trial, list[float], int]] = {}
        self.finished = 0

    def turn(self) -> bool:
        """One turn of the pack: fill, advance by a rung, report, judge, tell."""
        self.fill()
        if not self.riding:
            self.claims.retire()
            return False
        self.riding = {
            number: (asked, curve, rung + 1) for number, (asked, curve, rung) in self.riding.items()
        }
        values = {number: curve[rung - 1] for number, (_, curve, rung) in self.riding.items()}
        with self.spent.on("report"):
            self.claims.renew()
            lost = self.claims.report([
                (asked, RUNGS[rung - 1], values[number])
                for number, (asked, _, rung) in self.riding.items()
            ])  # fmt: skip
        assert not lost
        reports = [
            Report(number, asked.user_attrs["slot"], RUNGS[rung - 1], values[number], NOBODY)
            for number, (asked, _, rung) in self.riding.items()
            if np.isfinite(values[number])
        ]
        with self.spent.on("judge"):
            stop = self.pruner.decide(self.study, reports) if reports else set()
        for number, (asked, curve, rung) in list(self.riding.items()):
            self._settle(asked, values[number], rung, len(curve), number in stop)
        return True

    def fill(self) -> None:
        """Claims slots for free places and draws their parameters."""
        while len(self.riding) < self.pack:
            with self.spent.on("claim"):
                asked = self.claims.claim()
            if asked is None:
                return
            with self.spent.on("draw"):
                values = self.curves.space.suggest(asked)
            curve = self.curves.curve(values, asked.user_attrs["trial_seed"])
            self.riding[asked.number] = (asked, curve, 0)

    def _settle(self, asked: optuna.Trial, value: float, rung: int, rungs: int, stop: bool) -> None:
        diverged = not np.isfinite(value)
        complete = rung == rungs and not diverged
        if not (diverged or complete or stop):
            return
        attrs = {"iterations": RUNGS[rung - 1], "tasks": 25 * RUNGS[rung - 1], "seconds": 1.5}
        attrs |= {"diverged": RUNGS[rung - 1]} if diverged else {}
        state = TrialState.COMPLETE if complete else TrialState.PRUNED
        with self.spent.on("tell"):
            told = self.claims.finish(
                asked, value=value if complete else None, state=state, attrs=attrs
            )
        assert told
        del self.riding[asked.number]
        self.finished += 1


def make_plan(curves: Curves, name: str, n_trials: int, seed: int = 0) -> Plan:
    """A plan of a sweep that minimises."""
    return Plan(
        name=name,
        direction="minimize",
        metric="mse",
        n_trials=n_trials,
        seed=seed,
        repeats=1,
        max_retries=3,
        overrides=[],
        fixed=[],
        config={},
        configs={},
        space=curves.space.describe(),
        enqueue=[],
        versions={},
    )
