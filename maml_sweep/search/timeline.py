"""What a worker did when, a row a turn, for whoever asks where the time went.

Unlike the other files of a study these grow line by line: a reader passes over a last line that a
kill has torn.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from maml_sweep.files import spared
from maml_sweep.search.turns import Group

TURNS = "turns"  # the folder of these files in a study's
COLUMNS = (
    "started",  # seconds since the epoch
    "seconds",  # inside training calls, of a team times its portion of the device
    "judge_seconds",  # likewise inside evaluation calls, short of the final adaptation curves
    "tracing",  # as many of both as first calls took
    "program",  # index of the structure among the worker's
    "slots",  # of the trials that took part, joined by spaces
    "runs",
    "iterations",  # meta-iterations of the program, whatever it trained at once
    "trial_iterations",  # the same, each times the runs it trained
    "lane_steps",  # inner steps of all runs' tasks
)


class Timeline:
    """Writes `turns/<worker>.csv` in a study's folder."""

    def __init__(self, folder: Path, worker: str) -> None:
        self._path = folder / TURNS / f"{worker}.csv"
        self._lock = threading.Lock()

    @contextmanager
    def turn(self, group: Group) -> Iterator[None]:
        """Notes what the group's trainer does within, also if it is cut short."""
        started, before = time.time(), replace(group.trainer.tally)
        slots = [each.slot for each in group.trials]
        runs = sum(len(each.training.runs) for each in group.trials)
        try:
            yield
        finally:
            done = group.trainer.tally.since(before)
            spent = (group.trainer.portion * x for x in (done.training, done.judging, done.tracing))
            seconds = (f"{x:.4f}" for x in (started, *spent))
            counts = (runs, done.iterations, done.trial_iterations, done.lane_steps)
            with self._lock, spared(f"the file {self._path}"):
                self._append([*seconds, group.program, " ".join(map(str, slots)), *counts])

    def _append(self, row: list[object]) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.open("a") as file:
            if file.tell() == 0:
                file.write(",".join(COLUMNS) + "\n")
            file.write(",".join(map(str, row)) + "\n")
