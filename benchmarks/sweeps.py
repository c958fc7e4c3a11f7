"""Our own sweeps by their command line, in a folder of their own, timed from outside."""

from __future__ import annotations

import csv
import re
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import IO, NamedTuple
from urllib.parse import quote

from benchmarks.rounds import Failed

ROOT = Path(__file__).resolve().parent.parent
NAME = "timed"  # the study's
LOOK = 0.05  # seconds between two looks for the first report
SPENT = re.compile(r"([\d.]+) s inside programs\D+(?:([\d.]+) of them tracing\D+)?([\d.]+) s")


class Spent(NamedTuple):
    """What a worker says of its time since its start-up, in seconds."""

    inside: float  # compiled programs, tracing included
    tracing: float
    whole: float


class Ended(NamedTuple):
    """A trial that completed."""

    seconds: float  # since the command
    value: float


class Sweep(NamedTuple):
    """A sweep that is over.

    Attributes:
      wall: seconds from the command to its exit.
      first_report: seconds from the command until the storage held a value; None: not seen.
      spent: of each worker.
      steps: trial-steps, the meta-iterations of all slots.
      ended: completed trials in the order of their ends.
    """

    wall: float
    first_report: float | None
    spent: tuple[Spent, ...]
    steps: int
    ended: tuple[Ended, ...]

    @property
    def working(self) -> float:
        """Seconds of the longest-working worker since its start-up."""
        return max(each.whole for each in self.spent)


def swept(arguments: Sequence[str]) -> Sweep:
    """Runs `sweep.py` with these arguments.

    Raises:
      Failed: it ended badly, or its workers' logs say nothing of their time.
    """
    with tempfile.TemporaryDirectory() as root:
        folder = Path(root, NAME)
        command = [sys.executable, str(ROOT / "sweep.py"), *arguments, f"study.name={NAME}"]
        command += [f"hydra.sweeper.root={root}", f"hydra.run.dir={root}/hydra"]
        output, since = Path(root, "output"), time.time()
        with output.open("w") as file:
            first, wall, code = _timed(command, file, folder / "study.db")
        logs = [path.read_text() for path in sorted(folder.glob("workers/*/*.log"))]
        spent = [found for log in logs if (found := SPENT.search(log))]
        if code or not spent:
            raise Failed(f"sweep.py ended with {code}: {last_line(output)}")
        seconds = tuple(Spent(*(float(each or 0) for each in found.groups())) for found in spent)
        return Sweep(wall, first, seconds, _steps(folder), tuple(_trials(folder, since)))


def _timed(command: list[str], output: IO[str], database: Path) -> tuple[float | None, float, int]:
    """Seconds to the first report and to the exit, and the exit code."""
    begin = time.perf_counter()
    with subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=output, stderr=output
    ) as process:
        try:
            first = _first_report(process, database)
            seen = time.perf_counter()
            code = process.wait()
        except BaseException:
            process.terminate()
            raise
    wall = time.perf_counter() - begin
    return (seen - begin if first else None), wall, code


def _first_report(process: subprocess.Popen[bytes], database: Path) -> bool:
    """Waits until the storage holds a value; Optuna notes no time with it, so we look."""
    while process.poll() is None:
        if _has_value(database):
            return True
        time.sleep(LOOK)
    return False


def _has_value(database: Path) -> bool:
    try:
        with closing(_opened(database)) as opened:
            return bool(opened.execute("SELECT 1 FROM trial_intermediate_values").fetchone())
    except sqlite3.OperationalError:  # not there yet, half made, or busy
        return False


def _opened(database: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"file:{quote(str(database))}?mode=ro", uri=True, timeout=0)


def _steps(folder: Path) -> int:
    with (folder / "trials.csv").open(newline="") as file:
        return sum(int(row["iterations"] or 0) for row in csv.DictReader(file))


def _trials(folder: Path, since: float) -> list[Ended]:
    import optuna

    study = optuna.load_study(study_name=NAME, storage=f"sqlite:///{folder / 'study.db'}")
    done = study.get_trials(deepcopy=False, states=[optuna.trial.TrialState.COMPLETE])
    ends = [(each.datetime_complete, each.value) for each in done]
    return sorted(
        Ended(when.timestamp() - since, value)
        for when, value in ends
        if when is not None and value is not None
    )


def last_line(output: Path) -> str:
    """Of what a command printed, as far as it fits into one."""
    said = output.read_text(errors="replace").strip().splitlines()
    return said[-1].strip()[:300] if said else "it said nothing"
