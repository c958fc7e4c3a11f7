"""Studies side by side: what each found, what that cost, and whether a lead is more than luck.

    comparison = compare([frames.load("first"), frames.load("second")])

Three questions are kept apart, as each has another kind of luck in it:

  * Is the winner of one better than that of the other (`maml_sweep.analysis.duel`)? Tasks are a
    sample, so this is told over the validation tasks: paired where both winners were judged on the
    same ones. Each winner is the best of many on those very tasks, which flatters both, and the
    larger study more; nor does anything here know about other seeds of training. `maml-sweep
    train` answers both. With several pairs no p is corrected for their number.
  * What had they found when the same was spent (`maml_sweep.analysis.contest`)? The best so far of
    trials that came to their end, at shares of what the smallest study cost in all, in training
    tasks, seconds inside programs (comparable on one machine alone) and slots.
  * Would it come out like that again (`maml_sweep.analysis.race`)? Bands of the best so far,
    whether they overlap, and the chance that one leads; it says there what that assumes.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from maml_sweep.analysis import race
from maml_sweep.analysis.contest import At, Contest, Race
from maml_sweep.analysis.contrast import Difference, differences
from maml_sweep.analysis.duel import Duel, Winner, duel, winner
from maml_sweep.analysis.frames import Frames
from maml_sweep.analysis.race import COSTS, Track
from maml_sweep.errors import InputError
from maml_sweep.search.storage import sqlite_path


@dataclass(frozen=True)
class Column:
    """One study.

    Attributes:
      label: its name, or its folder where another one has the same name.
      n_trials: its budget in slots.
      states: state -> slots, of the states that there are.
      spent: tasks, seconds and slots -> what those that ended cost; NaN if not recorded.
      winner: None while no trial has come to its end.
    """

    label: str
    n_trials: int
    states: Mapping[str, int]
    spent: Mapping[str, float]
    winner: Winner | None


@dataclass(frozen=True)
class Pair:
    """Two studies.

    Attributes:
      first: its label.
      second: its label.
      winners: the two winners.
      races: one a cost; empty where one found nothing, or fewer than five of its slots ended.
    """

    first: str
    second: str
    winners: Duel
    races: tuple[Race, ...]


@dataclass(frozen=True)
class Comparison:
    """All of it.

    Attributes:
      metric: what all studies optimise.
      direction: "minimize" or "maximize".
      studies: in the order given.
      equal_cost: by cost, then by share; a cost that a study did not record is left out.
      pairs: every two studies.
      differences: settings in which not all agree.
    """

    metric: str
    direction: str
    studies: tuple[Column, ...]
    equal_cost: tuple[At, ...]
    pairs: tuple[Pair, ...]
    differences: tuple[Difference, ...]


def compare(studies: Sequence[Frames]) -> Comparison:
    """Compares studies.

    Raises:
      InputError: fewer than two, one of them twice, or different metrics or directions.
    """
    _check(studies)
    labels = _labels(studies)
    tracks = [race.track(study) for study in studies]
    contest = Contest(studies[0].sign, tracks)
    return Comparison(
        metric=studies[0].metric,
        direction=studies[0].direction,
        studies=tuple(_column(*each) for each in zip(labels, studies, tracks, strict=True)),
        equal_cost=contest.at(),
        pairs=tuple(
            Pair(labels[i], labels[j], duel(studies[i], studies[j]), contest.races(i, j))
            for i, j in itertools.combinations(range(len(studies)), 2)
        ),
        differences=tuple(differences(studies)),
    )


def _check(studies: Sequence[Frames]) -> None:
    if len(studies) < 2:
        got = f"only {studies[0].name}" if studies else "none"
        raise InputError(f"compare: expected two studies or more, got {got}")
    seen = set()
    for study in studies:
        path = sqlite_path(study.located.url)
        place = (str(path.resolve()) if path else study.located.url, study.name)
        if place in seen:
            raise InputError(f"compare: expected different studies, got {study.name} twice")
        seen.add(place)
        first, other = (f"{each.metric} ({each.direction})" for each in (studies[0], study))
        if first != other:
            raise InputError(
                f"compare: expected studies of one metric, got {first} in {studies[0].name} and "
                f"{other} in {study.name}"
            )


def _labels(studies: Sequence[Frames]) -> list[str]:
    names = [study.name for study in studies]
    return [study.name if names.count(study.name) == 1 else str(study.folder) for study in studies]


def _column(label: str, study: Frames, track: Track) -> Column:
    counts = study.trials["state"].value_counts(sort=False)
    return Column(
        label=label,
        n_trials=study.plan.n_trials,
        states={str(state): int(count) for state, count in counts.items() if count},
        spent={cost: track.total(cost) for cost in COSTS},
        winner=winner(study),
    )
