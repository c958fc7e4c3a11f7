"""Searches against each other: how soon each comes to the same best value.

A search's curve is the best objective of its completed trials against seconds since its command.
Two searches of a round are compared at the value that both reach, which is the worse of their two
final bests. So neither is asked for what it did not find, and the seconds that one spends on
becoming better than the other do not count.

A slow search runs in full once. In the other rounds its step time is measured, and the recorded
search is stretched by what the recorded schedule costs now against what it cost then.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from benchmarks.rounds import Failed, Figure, Found
from benchmarks.verdicts import estimated, lines, number

TASKS = 25  # with which a training loop's step time is measured
BEST = "best"

Trials = Sequence[Mapping[str, Any]]  # seconds, state, value, iterations, inner steps, tasks
Gauge = Callable[[Trials], float]  # a schedule -> the seconds that it would cost now
Curve = list[tuple[float, float]]  # seconds, the best value by then


def curve(trials: Trials) -> Curve:
    """The best objective of completed trials, at every moment that it improves."""
    best, found = math.inf, []
    for trial in sorted(_completed(trials), key=lambda each: float(each["seconds"])):
        if trial["value"] < best:
            best = float(trial["value"])
            found.append((float(trial["seconds"]), best))
    return found


def _completed(trials: Trials) -> list[Mapping[str, Any]]:
    """Those with an objective, as all of ours are."""
    done = (each for each in trials if each.get("state", "COMPLETE") == "COMPLETE")
    return [each for each in done if each["value"] is not None]


def reached(found: Curve, level: float) -> float:
    """Seconds until a curve is at a level or below."""
    return next((seconds for seconds, value in found if value <= level), math.inf)


def meeting(ours: Figure, theirs: Figure) -> tuple[float, float, float]:
    """The value that both reach, and the seconds that we and they took to reach it."""
    own, other = (curve(figure.detail["trials"]) for figure in (ours, theirs))
    level = max(own[-1][1], other[-1][1])
    return level, reached(own, level), reached(other, level)


def sooner(ours: Figure, theirs: Figure) -> float:
    """How many times sooner we are there."""
    _, own, other = meeting(ours, theirs)
    return other / own


def meetings(found: Found, ours: str, others: Sequence[str]) -> list[str]:
    """A table of when both reach the same value, medians over the rounds."""
    rows = [["to the same best value", "mse", "ours, s", "theirs, s"], ["---", *["---:"] * 3]]
    own_rounds = found.get(ours, {})
    for name in others:
        rounds = found.get(name, {})
        pairs = [
            meeting(own_rounds[index], rounds[index]) for index in own_rounds.keys() & rounds.keys()
        ]
        if pairs:
            medians = [number(statistics.median(each)) for each in zip(*pairs, strict=True)]
            rows.append([f"{name}{estimated(found, [name])}", *medians])
    return ["", *lines(rows)] if len(rows) > 2 else []


# -- figures -------------------------------------------------------------------------------------


def search_figure(seconds: float, trials: Trials, **more: Any) -> Figure:
    """A search's figure.

    Raises:
      Failed: none of its trials completed, so it found nothing.
    """
    found, completed = curve(trials), len(_completed(trials))
    if not found:
        raise Failed("none of its trials completed")
    return Figure(seconds, {BEST: found[-1][1], "completed": float(completed)}, **more)


def recorded(seconds: float, said: Mapping[str, Any], gauge: Gauge | None = None) -> Figure:
    """A search that ran in full; with a gauge also what its schedule costs by its step time."""
    found = dict(said)
    if gauge:
        try:
            found["gauge"] = gauge(said["trials"])
        except Failed as error:  # hours must not be lost for it
            found["ungauged"] = str(error)
    return search_figure(
        seconds,
        said["trials"],
        detail=found,
        versions=said.get("versions", {}),
        note=said.get("note", ""),
    )


def stretched(whole: Figure, gauge: Gauge) -> Figure:
    """The recorded search as it would go now.

    Raises:
      Failed: the step time cannot be measured, or was not when the search was recorded.
    """
    trials, then = whole.detail["trials"], whole.detail.get("gauge")
    if then is None:
        raise Failed(f"its step time is not known: {whole.detail.get('ungauged')}")
    now = gauge(trials)
    factor = now / then
    later = [{**trial, "seconds": trial["seconds"] * factor} for trial in trials]
    found = {**whole.detail, "trials": later, "gauge": now, "factor": factor}
    return search_figure(
        whole.value * factor, later, detail=found, versions=whole.versions, estimated=True
    )


def priced(trials: Trials, one: float, five: float) -> float:
    """Seconds of the training of a schedule.

    Args:
      trials: with their iterations, inner steps and tasks a meta-batch.
      one: seconds of a meta-iteration of 25 tasks with 1 inner step.
      five: with 5.
    """
    each = (five - one) / 4  # an inner step's
    return float(sum(
        trial["iterations"]
        * (one + each * (trial["inner_steps"] - 1))
        * trial["meta_batch_size"] / TASKS
        for trial in trials
    ))  # fmt: skip
