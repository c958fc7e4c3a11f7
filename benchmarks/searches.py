"""Whole searches of ours and of others, and what ours spends outside of its programs."""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from datetime import datetime

from benchmarks.contestants import Peer, detail, own_versions
from benchmarks.race import (
    Gauge,
    Trials,
    meetings,
    priced,
    recorded,
    search_figure,
    sooner,
    stretched,
)
from benchmarks.rounds import SLOW, Contestant, Failed, Figure, Turn
from benchmarks.sweeps import ROOT, Sweep, swept
from benchmarks.throughput import LOOP
from benchmarks.verdicts import Contest, Limit, Ratio

OURS, OVERHEAD = "ours", "the default sweep"
ROUND_LEARN2LEARN = "Optuna (median pruner) round learn2learn"
BY_SWEEPER = "our application under hydra-optuna-sweeper"
BY_BASIC = "our application under Hydra's basic sweeper"
ROUND_RUN = "plain Optuna round our RUN"
REPORT = re.compile(r"\[(\S+ \S+?),(\d+)\].*iteration (\d+): ")  # of a single trial's log


@dataclass(frozen=True)
class Length:
    """Of a search: trials, their iterations, and of the measurement of a step time."""

    trials: int
    iterations: int
    report_every: int
    gauge: int  # iterations of a single trial of ours
    seconds: float  # of a training loop

    @property
    def overrides(self) -> list[str]:
        """Of our sweeps."""
        return [
            f"study.n_trials={self.trials}",
            f"training.iterations={self.iterations}",
            f"training.report_every={self.report_every}",
        ]


FULL = Length(32, 2000, 100, 1000, 4.0)  # our defaults
QUICK = Length(3, 40, 20, 60, 0.1)


def own(length: Length) -> Contestant:
    """Our sweep."""

    def measure(turn: Turn) -> Figure:
        done = swept([*length.overrides, f"seed={turn.index}"])
        trials = [each._asdict() for each in done.ended]
        return search_figure(done.wall, trials, detail=detail(done), versions=own_versions())

    return Contestant(OURS, measure)


def other(
    name: str, peer: Peer, length: Length, gauge: Gauge, slow_from: float = SLOW
) -> Contestant:
    """A peer's search, estimated where it took longer than `slow_from` seconds before."""

    def measure(turn: Turn) -> Figure:
        whole = (figure for figure in turn.earlier if not figure.estimated)
        full = (figure for figure in whole if figure.value > slow_from)
        slow = next(full, None)
        if slow:
            return stretched(slow, gauge)
        seconds, said = peer.timed(
            [
                *("--trials", str(length.trials), "--iterations", str(length.iterations)),
                *("--report-every", str(length.report_every), "--seed", str(turn.index)),
            ],
            "trials",
        )
        return recorded(seconds, said, gauge if seconds > slow_from else None)

    return Contestant(name, measure)


def loop_gauge(length: Length) -> Gauge:
    """Prices a schedule by learn2learn's step time at 1 and at 5 inner steps, linear between."""

    def gauge(trials: Trials) -> float:
        one, five = (_step_seconds(steps, length.seconds) for steps in (1, 5))
        return priced(trials, one, five)

    return gauge


def _step_seconds(inner_steps: int, seconds: float) -> float:
    said = LOOP.report(
        [
            *("--workload", "sinusoid", "--inner-steps", str(inner_steps)),
            *("--seconds", str(seconds)),
        ],
        "rates",
    )
    return 1 / max(map(float, said["rates"].values()))


def single_gauge(length: Length) -> Gauge:
    """Prices a schedule by the step time of one trial of ours by itself, by the times in its log.

    Its evaluations are in it; its start-up is not.
    """

    def gauge(trials: Trials) -> float:
        command = [sys.executable, str(ROOT / "sweep.py"), "hydra.mode=RUN"]
        command += ["algorithm.inner_steps=3", f"training.iterations={length.gauge}"]
        command += [f"training.report_every={length.report_every}"]
        with tempfile.TemporaryDirectory() as folder:
            command.append(f"hydra.run.dir={folder}")
            done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        return between_reports(done.stdout) * sum(int(trial["iterations"]) for trial in trials)

    return gauge


def between_reports(log: str) -> float:
    """Seconds of a meta-iteration, between a trial's first and last report.

    Raises:
      Failed: it lacks two reports.
    """
    reports = [
        (datetime.fromisoformat(f"{when}.{milliseconds}").timestamp(), int(iteration))
        for when, milliseconds, iteration in REPORT.findall(log)
    ]
    if len(reports) < 2:
        raise Failed("a single trial of ours did not report twice")
    (begin, first), (end, last) = reports[0], reports[-1]
    return (end - begin) / (last - first)


# -- contests ------------------------------------------------------------------------------------

PROMISED = {ROUND_LEARN2LEARN: 25.0, BY_SWEEPER: 3.0, BY_BASIC: None, ROUND_RUN: None}


def search(length: Length) -> Contest:
    """A search of 32 trials over the default space of sinusoids."""
    single = single_gauge(length)
    return Contest(
        "search",
        f"A search of {length.trials} trials of at most {length.iterations} meta-iterations",
        "seconds",
        (
            own(length),
            other(
                ROUND_LEARN2LEARN, Peer("torch", "optuna_learn2learn"), length, loop_gauge(length)
            ),
            # Every seed is another search, so all are worth ten minutes.
            other(BY_SWEEPER, Peer("hydra", "hydra_optuna"), length, single, 2 * SLOW),
            other(BY_BASIC, Peer("hydra", "hydra_basic"), length, single),
            other(ROUND_RUN, Peer("hydra", "optuna_run"), length, single),
        ),
        tuple(
            Ratio((OURS,), (name,), f"sooner than {name}", wanted, sooner)
            for name, wanted in PROMISED.items()
        ),
        lambda found: meetings(found, OURS, list(PROMISED)),
    )


def overhead(length: Length) -> Contest:
    """What the default sweep spends outside its programs, and its first sign of life."""
    return Contest(
        "overhead",
        "The default sweep",
        "command, s",
        (Contestant(OVERHEAD, lambda _: overhead_figure(swept(length.overrides))),),
        (
            Limit(
                OVERHEAD,
                lambda figure: figure.beside["outside, %"],
                "% of the default sweep outside compiled programs",
                8,
            ),
            Limit(
                OVERHEAD,
                lambda figure: figure.beside["first report, s"],
                " s from the command to the first trial's first report",
                10,
            ),
        ),
    )


def overhead_figure(done: Sweep) -> Figure:
    """A sweep's seconds, inside its programs, outside of them, and before its first report.

    Raises:
      Failed: the sweep was over before a report was seen.
    """
    if done.first_report is None:
        raise Failed("the sweep was over before a report was seen")
    inside, tracing, whole = (sum(each) for each in zip(*done.spent, strict=True))
    beside = {
        "first report, s": done.first_report,
        "since start-up, s": whole,
        "inside programs, s": inside,
        "tracing, s": tracing,
        "outside, %": 100 * (whole - inside) / whole,
        "outside with start-up, %": 100 * (done.wall - inside) / done.wall,
    }
    return Figure(done.wall, beside, detail(done), own_versions())
