"""A sweep played through on paper: a known objective in place of training, a clock that jumps.

It follows the worker's loop: slots are claimed in order, a worker's trials advance together to
their next rungs, all are judged, then some end and free their places.
"""

from __future__ import annotations

import bisect
import heapq
import math
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from maml_sweep.search.distributions import every
from maml_sweep.search.space import Space

Values = Mapping[str, Any]
STEPS, BATCH = "algorithm.inner_steps", "training.meta_batch_size"
RATE, META_RATE = "algorithm.inner_lr", "optimizer.meta_lr"
BEGIN = 1_750_000_000.0  # seconds since the epoch
LANE_STEP = 2e-6  # seconds
JUDGE = 0.02  # seconds a trial and rung
TRACE = 1.5  # seconds of a worker's first call


def bowl(values: Values, step: int) -> float:
    """A loss of at least 0.1 that falls with the steps; best: α·S = 0.03, β = 0.003, a batch of 32.

    β matters most, then α and S along their ridge, the batch hardly; what is not there counts not.
    """
    ridge = math.log10(values.get(RATE, 0.01) * values.get(STEPS, 3) / 0.03)
    rate = math.log10(values.get(META_RATE, 0.003) / 0.003)
    batch = math.log2(values.get(BATCH, 32) / 32)
    return 0.1 + 3.0 * math.exp(-step / 400) + 0.5 * ridge**2 + 2.0 * rate**2 + 0.01 * batch**2


@dataclass
class Course:
    """What became of one slot: all that its Optuna trial will say.

    Attributes:
      slot: its number.
      values: config key or group -> value.
      state: complete, pruned, diverged, running, waiting, failed or retried (complete at the
        second attempt, after a first that was taken from a dead worker).
      curve: step -> reported value, NaN where it diverged.
      worker: who held it.
      known_results: how many slots were finished when it was drawn.
      started, finished: seconds since the epoch.
      seconds: its share of the time inside programs.
      iterations: completed ones.
      diverged: the iteration, if it did.
    """

    slot: int
    values: Values
    state: str = "running"
    curve: dict[int, float] = field(default_factory=dict)
    worker: str = ""
    known_results: int = 0
    started: float = 0.0
    finished: float | None = None
    seconds: float = 0.0
    iterations: int = 0
    diverged: int | None = None


@dataclass(frozen=True)
class Turn:
    """A line of `turns/<worker>.csv`."""

    started: float
    seconds: float
    judge_seconds: float
    tracing: float
    program: int
    slots: str
    runs: int
    iterations: int
    trial_iterations: int
    lane_steps: int


def draw(distribution: BaseDistribution, rng: np.random.Generator) -> Any:
    """One value, uniform on the distribution's scale."""
    if isinstance(distribution, CategoricalDistribution):
        return distribution.choices[rng.integers(len(distribution.choices))]
    assert isinstance(distribution, IntDistribution | FloatDistribution)
    low, high = distribution.low, distribution.high
    if distribution.log:
        half = 0.5 if isinstance(distribution, IntDistribution) else 0.0
        drawn = math.exp(rng.uniform(math.log(low - half), math.log(high + half)))
        drawn = min(max(drawn, low), high)
        return round(drawn) if half else drawn
    if distribution.step is not None:
        return every("", distribution)[rng.integers(len(every("", distribution)))]
    return float(rng.uniform(low, high))


def draw_values(space: Space, rng: np.random.Generator, given: Values) -> dict[str, Any]:
    """One point of a space, {group or config key: value}, that has the given values."""
    fit = [
        branch
        for branch in space.branches
        if all(given.get(group, option) == option for group, option in branch.choices.items())
    ]
    branch = fit[rng.integers(len(fit))]
    drawn = {key: draw(each, rng) for key, each in branch.distributions.items()}
    own = {key: branch.value(key, value) for key, value in drawn.items()}
    return {**branch.choices, **own, **given}


@dataclass
class Simulation:
    """The rules of a sweep.

    Attributes:
      objective: (values, step) -> the reported value.
      rungs: steps of reporting, increasing; a step is an iteration.
      sign: 1 to minimise, -1 to maximise.
      prune: "none", or "half": past its second rung a trial goes on while it is no worse than the
        median of all values known at its rung.
      diverge: values -> whether training diverges, in the second half of the second rung.
      forced: slot -> state, instead of what the rules say.
      workers: their ids.
      pack: trials a worker holds at once.
    """

    objective: Callable[[Values, int], float]
    rungs: Sequence[int]
    sign: float
    prune: str
    diverge: Callable[[Values], bool]
    forced: Mapping[int, str]
    workers: Sequence[str]
    pack: int
    turns: dict[str, list[Turn]] = field(default_factory=dict)

    def play(self, points: Sequence[Values]) -> list[Course]:
        """Plays a sweep of one slot a point; fills `turns`, by worker."""
        courses = [Course(slot, values) for slot, values in enumerate(points)]
        self._seen: dict[int, list[float]] = {step: [] for step in self.rungs}
        self._finished = 0
        queue: deque[Course] = deque()
        for course in courses:
            if self.forced.get(course.slot) in {"waiting", "failed"}:
                course.state = self.forced[course.slot]
                course.worker = self.workers[0] if course.state == "failed" else ""
            else:
                queue.append(course)
        self.turns = {worker: [] for worker in self.workers}
        held: dict[str, list[Course]] = {worker: [] for worker in self.workers}
        clocks = [(BEGIN + 0.1 * k, worker) for k, worker in enumerate(self.workers)]
        while clocks:
            now, worker = heapq.heappop(clocks)
            self._fill(held[worker], queue, worker, now)
            if held[worker]:
                now = self._turn(held[worker], worker, now)
                held[worker] = [
                    x for x in held[worker] if x.finished is None and not self._stays(x)
                ]
                heapq.heappush(clocks, (now, worker))
        return courses

    def _fill(self, held: list[Course], queue: deque[Course], worker: str, now: float) -> None:
        while queue and len(held) < self.pack:
            course = queue.popleft()
            course.worker, course.started = worker, now
            course.known_results = self._finished
            held.append(course)

    def _stays(self, course: Course) -> bool:
        """Whether it is to be left running, half way."""
        halfway = len(course.curve) >= len(self.rungs) / 2
        return self.forced.get(course.slot) == "running" and halfway

    def _turn(self, held: Sequence[Course], worker: str, now: float) -> float:
        """Advances all held trials to their next rungs; the time afterwards."""
        tracing = 0.0 if self.turns[worker] else TRACE
        lane_steps, iterations = [], []
        for course in held:
            rung = self.rungs[len(course.curve)]
            before = course.iterations
            course.iterations = rung
            if self._diverges(course):
                course.diverged = course.iterations = before + max(1, (rung - before) * 3 // 4)
            iterations.append(course.iterations - before)
            lanes = int(course.values.get(BATCH, 25)) * int(course.values.get(STEPS, 1))
            lane_steps.append(iterations[-1] * lanes)
            course.seconds += lane_steps[-1] * LANE_STEP
        seconds = tracing + sum(lane_steps) * LANE_STEP
        judging = JUDGE * len(held)
        slots = " ".join(str(course.slot) for course in held)
        turn = Turn(now, seconds, judging, tracing, 0, slots, len(held), max(iterations),
                    sum(iterations), sum(lane_steps))  # fmt: skip
        self.turns[worker].append(turn)
        now += seconds + judging
        self._settle(held, now)
        return now

    def _diverges(self, course: Course) -> bool:
        if len(course.curve) != min(1, len(self.rungs) - 1):
            return False
        forced = self.forced.get(course.slot)
        return forced == "diverged" if forced else self.diverge(course.values)

    def _settle(self, held: Sequence[Course], now: float) -> None:
        """Reports all, then decides for each."""
        for course in held:
            step = self.rungs[len(course.curve)]
            value = math.nan if course.diverged else self.objective(course.values, step)
            course.curve[step] = value
            bisect.insort(self._seen[step], math.inf if course.diverged else self.sign * value)
        for course in held:
            course.state = self._state(course)
            if course.state != "running":
                course.finished = now
                self._finished += 1

    def _state(self, course: Course) -> str:
        forced = self.forced.get(course.slot)
        if course.diverged is not None:
            return "diverged"
        if len(course.curve) == len(self.rungs):
            return "retried" if forced == "retried" else "complete"
        if forced == "pruned":
            return "pruned" if len(course.curve) >= len(self.rungs) / 2 else "running"
        if forced is None and self.prune == "half" and len(course.curve) > 2:
            step = max(course.curve)
            seen = self._seen[step]
            if self.sign * course.curve[step] > seen[len(seen) // 2]:
                return "pruned"
        return "running"
