"""The turn log: what a worker's turns add up to."""

from __future__ import annotations

import csv
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from sweeping import TINY, sweep

from maml_sweep.search.timeline import COLUMNS, Timeline
from maml_sweep.search.turns import Group
from maml_sweep.training.pack import Tally


def rows(folder: Path) -> list[dict[str, str]]:
    """Every turn of every worker."""
    found = []
    for path in folder.glob("turns/*.csv"):
        with path.open(newline="") as file:
            found += list(csv.DictReader(file))
    return found


def fake_group() -> Any:
    """Two trials, the first of two runs, and a trainer that has worked before."""
    trials = [
        SimpleNamespace(slot=slot, training=SimpleNamespace(runs=[None] * runs))
        for slot, runs in ((7, 2), (9, 1))
    ]
    trainer = SimpleNamespace(tally=Tally(1.0, 0.5, 0.75, 10, 30, 600), portion=1.0)
    return SimpleNamespace(trials=trials, trainer=trainer, program=1)


def test_a_turn_is_what_came_to_the_tally(tmp_path: Path) -> None:
    group = fake_group()
    with Timeline(tmp_path, "w").turn(cast("Group", group)):
        group.trainer.tally.training += 2.0
        group.trainer.tally.iterations += 5
        group.trainer.tally.trial_iterations += 15
    (row,) = rows(tmp_path)
    assert tuple(row) == COLUMNS
    assert (row["slots"], row["runs"], row["program"]) == ("7 9", "3", "1")
    assert (row["seconds"], row["judge_seconds"], row["tracing"]) == ("2.0000", "0.0000", "0.0000")
    assert (row["iterations"], row["trial_iterations"], row["lane_steps"]) == ("5", "15", "0")


def test_one_of_two_teams_has_half_of_the_time(tmp_path: Path) -> None:
    group = fake_group()
    group.trainer.portion = 0.5
    with Timeline(tmp_path, "w").turn(cast("Group", group)):
        group.trainer.tally.training += 2.0
        group.trainer.tally.judging += 1.0
        group.trainer.tally.iterations += 5
    (row,) = rows(tmp_path)
    assert (row["seconds"], row["judge_seconds"], row["iterations"]) == ("1.0000", "0.5000", "5")


def test_a_turn_that_is_cut_short_is_noted_too(tmp_path: Path) -> None:
    group = fake_group()
    log = Timeline(tmp_path, "w")

    def interrupted() -> None:
        with log.turn(cast("Group", group)):
            group.trainer.tally.training += 1.0
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    with log.turn(cast("Group", group)):
        pass
    assert [row["seconds"] for row in rows(tmp_path)] == ["1.0000", "0.0000"]


def test_turns_of_a_sweep_add_up(tmp_path: Path) -> None:
    done = sweep(tmp_path, *TINY, "pruner=none", "pack.size=3")
    turns = rows(done.folder)
    trained = sum(int(row["iterations"]) for row in done.rows)
    assert sum(int(turn["trial_iterations"]) for turn in turns) == trained
    # One inner step on each of three tasks.
    assert sum(int(turn["lane_steps"]) for turn in turns) == 3 * trained
    # Three trials at a time, from the same rung to the same rung.
    assert 3 * sum(int(turn["iterations"]) for turn in turns) == trained
