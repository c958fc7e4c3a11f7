"""Our own application under the sweepers of others: their commands, followed by what they log."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

from benchmarks.peers.searching import Trial

ROOT = Path(__file__).resolve().parents[2]
SPACE = (  # conf/search/sinusoid.yaml, which search=none takes away from a sweeper of others
    "algorithm.inner_lr=tag(log,interval(1e-3,1e-1))",
    "algorithm.inner_steps=range(1,6)",
    "optimizer.meta_lr=tag(log,interval(3e-4,1e-2))",
    "training.meta_batch_size=tag(log,int(interval(8,64)))",
)
JOB = re.compile(r"\[HYDRA\]\s+#\d+ : (.*)")
OBJECTIVE = re.compile(r"objective: \S+ (\S+)$")
DIVERGED = re.compile(r"diverged after (\d+) iterations")


def command(arguments: Sequence[str], iterations: int, report_every: int, seed: int) -> list[str]:
    """Our application's command line under another sweeper, which `arguments` name."""
    return [
        *(sys.executable, str(ROOT / "sweep.py"), *arguments, "search=none", f"seed={seed}"),
        f"training.iterations={iterations}",
        f"training.report_every={report_every}",
    ]


def follow(command: Sequence[str], begin: float, iterations: int) -> list[Trial]:
    """Runs a sweep to its end and returns its trials, with the moments when they were logged.

    Args:
      command: of `command`.
      begin: `time.perf_counter()` when seconds began to count.
      iterations: of a trial that does not diverge.

    Raises:
      SystemExit: it failed; its last line says why.
    """
    with tempfile.TemporaryDirectory() as folder:
        running = subprocess.Popen(
            [*command, f"hydra.sweep.dir={folder}"],
            cwd=ROOT,
            env={**os.environ, "PYTHONUNBUFFERED": "1", "PYTHONWARNINGS": "ignore"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert running.stdout
        log = Log(begin, iterations)
        log.read(running.stdout)
        if running.wait():
            raise SystemExit(f"{' '.join(command[1:3])} failed: {log.last}")
    return log.trials


@dataclass
class Log:
    """What a sweep logs, one trial after the other.

    Args:
      begin: `time.perf_counter()` when seconds began to count.
      iterations: of a trial that does not diverge.
    """

    begin: float
    iterations: int
    trials: list[Trial] = field(default_factory=list)
    settings: dict[str, str] = field(default_factory=dict)
    last: str = "it said nothing"

    def read(self, lines: Iterable[str]) -> None:
        """Follows the lines to their end."""
        for line in lines:
            self.last = line.strip() or self.last
            if job := JOB.search(line):
                self.start(job[1].split())
            elif ended := OBJECTIVE.search(self.last):
                self._end("COMPLETE", float(ended[1]), self.iterations)
            elif ended := DIVERGED.search(line):
                self._end("PRUNED", None, int(ended[1]))

    def start(self, overrides: Sequence[str]) -> None:
        """A trial begins, with these."""
        self.settings = dict(each.split("=", 1) for each in overrides if "=" in each)

    def _end(self, state: str, value: float | None, done: int) -> None:
        steps = int(self.settings["algorithm.inner_steps"])
        tasks = int(self.settings["training.meta_batch_size"])
        seconds = time.perf_counter() - self.begin
        self.trials.append(Trial(seconds, state, value, done, steps, tasks))


def versions(*more: str) -> dict[str, str]:
    """Of what it runs on."""
    return {name: version(name) for name in ("hydra-core", "optuna", "tensorflow", *more)}
