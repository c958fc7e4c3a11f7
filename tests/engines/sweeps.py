"""Sweeps on real engines: `python sweep.py …` in processes of its own, and what is left of them."""

from __future__ import annotations

import csv
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import optuna
from composing import ROOT
from optuna.trial import TrialState
from sqlalchemy import NullPool, create_engine, inspect, text

from maml_sweep.search.slots import RESULTS, Attempts, by_slot
from maml_sweep.search.storage import sqlite_path, storage_url

N_TRIALS = 24
NAME = "s"
_QUICK = (
    f"study.n_trials={N_TRIALS}",
    "device.inter_op=1",
    "device.intra_op=1",
    "task.shots=5",
    "task.queries=5",
    "model.widths=[4]",
    "training.validation_tasks=8",
    "training.meta_batch_size=3",
    "algorithm.inner_steps=1",
)
# Some seconds in all, so that every worker gets its share.
SHORT = (*_QUICK, "training.iterations=150", "training.report_every=50", "pack.size=2")
# Long enough to be disturbed (a worker's pack takes some three seconds, a signal by way of Slurm
# one), with a rung to resume from every moment.
LONG = (
    *_QUICK,
    "training.iterations=2400",
    "training.report_every=50",
    "pack.size=4",
    "pruner=none",
)
PATIENCE = 240.0  # seconds
# What a worker logs of its device, see maml_sweep.search.place.describe.
_PLACE = re.compile(r"worker (\d+): (?:GPU (\S+)|CPU)")


class Sweeping:
    """`python sweep.py study.name=s …`, its outputs below `root`; a context manager.

    Attributes:
      folder: the study's.
      url: of its storage.
    """

    def __init__(
        self,
        root: Path,
        url: str | None,
        *arguments: str,
        env: Mapping[str, str] | None = None,
    ) -> None:
        root.mkdir(exist_ok=True)
        self.folder = root / "outputs" / NAME
        self.url = storage_url(url, self.folder)
        storage = [] if url is None else [f"study.storage={url}"]
        self.process = subprocess.Popen(
            [sys.executable, str(ROOT / "sweep.py"), f"study.name={NAME}", *storage, *arguments],
            cwd=root,
            env={**os.environ, **(env or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> Sweeping:
        return self

    def __exit__(self, *error: object) -> None:
        self.process.terminate()  # its workers go with it
        try:
            self.process.communicate(timeout=15)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.communicate()

    def end(self) -> Ended:
        """Waits for the end."""
        output, errors = self.process.communicate(timeout=PATIENCE)
        return Ended(self.folder, self.url, self.process.returncode, output, errors)

    def wait_for(self, reached: Callable[[optuna.Study], bool]) -> optuna.Study:
        """Looks at the study until something is so; fails if the sweep ended before."""
        deadline = time.monotonic() + PATIENCE
        while True:
            assert self.process.poll() is None, self.end()
            assert time.monotonic() < deadline, "nothing came of it"
            found = opened(self.url)
            if found is not None and reached(found):
                return found
            time.sleep(0.2)

    def wait_for_workers(self, count: int) -> optuna.Study:
        """Waits until so many workers have reported a value, and have more to do."""
        return self.wait_for(lambda found: len(_reporters(found)) >= count)


@dataclass(frozen=True)
class Ended:
    """What came of a sweep.

    Attributes:
      folder: the study's.
      url: of its storage.
      code: the exit code.
      output: what it printed.
      errors: what it printed on stderr.
    """

    folder: Path
    url: str
    code: int
    output: str
    errors: str

    @property
    def said(self) -> str:
        """All that it printed."""
        return f"exit code {self.code}\n{self.output}\n{self.errors}"

    def attempts(self) -> dict[int, Attempts]:
        """Every slot's trials."""
        found = opened(self.url)
        assert found is not None, self.said
        return dict(by_slot(found.get_trials(deepcopy=False)))

    def workers(self) -> set[str]:
        """Who brought results."""
        return {
            trial.user_attrs["worker"]
            for attempts in self.attempts().values()
            for trial in attempts
            if trial.state in RESULTS
        }

    def reasons(self) -> set[str]:
        """Why attempts failed."""
        trials = [trial for attempts in self.attempts().values() for trial in attempts]
        return {trial.user_attrs["reason"] for trial in trials if trial.state == TrialState.FAIL}

    def places(self) -> dict[int, str | None]:
        """Each worker's GPU by its number, as it logged it itself; None on a CPU."""
        logs = self.folder.glob("workers/*/*.log")
        found = [each for log in logs for each in _PLACE.findall(log.read_text())]
        return {int(number): gpu or None for number, gpu in found}

    def leaks(self, secret: str) -> list[str]:
        """Where a secret can be read: what was printed, and every file of the study."""
        told = [name for name in ("output", "errors") if secret in getattr(self, name)]
        files = [path for path in self.folder.parent.rglob("*") if path.is_file()]
        return told + [str(path) for path in files if secret.encode() in path.read_bytes()]


def opened(url: str) -> optuna.Study | None:
    """The study as its storage has it; None while it has none. No connection stays open."""
    path = sqlite_path(url)
    if (path is not None and not path.exists()) or not _is_stored(url):
        return None
    # Every question is one to the database: nothing of an answer is kept.
    storage = optuna.storages.RDBStorage(url, engine_kwargs={"poolclass": NullPool})
    return optuna.load_study(study_name=NAME, storage=storage)


def _is_stored(url: str) -> bool:
    """Whether the sweep has made its tables (two who do so get in each other's way) and study."""
    engine = create_engine(url, poolclass=NullPool)
    if not inspect(engine).has_table("studies"):
        return False
    with engine.connect() as connection:
        names = connection.execute(text("SELECT study_name FROM studies"))
        return NAME in {name for (name,) in names}


def assert_all_done_once(ended: Ended, *, undisturbed: bool = True) -> None:
    """Every slot has one result, nothing is left over, and the table says the same.

    Args:
      ended: a sweep that should have come to its end.
      undisturbed: whether no attempt may have failed.
    """
    assert ended.code == 0, ended.said
    slots = ended.attempts()
    assert sorted(slots) == list(range(N_TRIALS)), ended.said
    states = [[trial.state for trial in attempts] for attempts in slots.values()]
    assert [sum(state in RESULTS for state in each) for each in states] == [1] * N_TRIALS, states
    others = {state for each in states for state in each} - set(RESULTS)
    assert others <= (set() if undisturbed else {TrialState.FAIL}), states
    for attempts in slots.values():
        assert len({trial.user_attrs["trial_seed"] for trial in attempts}) == 1
        assert len({str(trial.params) for trial in attempts if trial.params}) == 1
    with (ended.folder / "trials.csv").open(newline="") as file:
        assert [int(row["slot"]) for row in csv.DictReader(file)] == list(range(N_TRIALS))
    assert f"{N_TRIALS}/{N_TRIALS} slots done" in ended.output, ended.said


def held_by(found: optuna.Study) -> dict[str, list[int]]:
    """Slots in flight by the worker that holds them."""
    held: dict[str, list[int]] = {}
    for trial in found.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        if "worker" in trial.user_attrs:
            held.setdefault(trial.user_attrs["worker"], []).append(trial.user_attrs["slot"])
    return held


def _reporters(found: optuna.Study) -> set[str]:
    """Workers with a trial in flight that has reported something."""
    running = found.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
    return {t.user_attrs.get("worker", "") for t in running if t.intermediate_values}
