"""A search as people write it: Optuna's TPE and median pruner round learn2learn's training loop.

    python benchmarks/peers/optuna_learn2learn.py                     # half an hour or more
    python benchmarks/peers/optuna_learn2learn.py --trials 3 --iterations 40 --report-every 20
    python benchmarks/peers/optuna_learn2learn.py --record search.jsonl
    python benchmarks/peers/optuna_learn2learn.py --schedule search.jsonl --seconds 1

The space, the budget of a trial and the objective are those of our default sweep: the mean squared
error over the queries of 200 fixed validation tasks, after the trial's own inner steps, every 100
iterations and at the last. The line of JSON at the end has all trials and the curve of the best.
`--record` writes a line for every report as it comes. `--schedule` repeats none of a recorded
search but the time of a step and of a report for each of its settings, and prints an estimate.
"""

from __future__ import annotations

import time

BEGIN = time.perf_counter()  # imports count: they are part of the command

import argparse  # noqa: E402
import json  # noqa: E402
import math  # noqa: E402
import sys  # noqa: E402
from collections.abc import Mapping, Sequence  # noqa: E402
from dataclasses import dataclass, field  # noqa: E402
from importlib.metadata import version  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import Any, NamedTuple  # noqa: E402

import optuna  # noqa: E402
import torch  # noqa: E402

sys.path[:0] = [str(Path(__file__).resolve().parents[2])]

from benchmarks.peers import measuring, searching  # noqa: E402
from benchmarks.peers.learn2learn_loop import backward  # noqa: E402
from benchmarks.peers.torch_models import Episodes, Sinusoid, maml  # noqa: E402

VALIDATION_TASKS = 200


class Setting(NamedTuple):
    """What is searched."""

    inner_lr: float
    inner_steps: int
    meta_lr: float
    meta_batch_size: int


class Loop:
    """A trial.

    Args:
      setting: its own.
    """

    def __init__(self, setting: Setting) -> None:
        self.task, self.setting = Sinusoid(), setting
        self.learner = maml()(self.task.module(), lr=setting.inner_lr)
        self.optimizer = torch.optim.Adam(self.learner.parameters(), lr=setting.meta_lr, fused=True)

    def advance(self, count: int) -> float:
        """Trains, and returns the last meta-loss."""
        loss = math.nan
        for _ in range(count):
            self.optimizer.zero_grad()
            episodes = self.task.draw(self.setting.meta_batch_size)
            loss = backward(self.task, self.learner, episodes, self.setting.inner_steps)
            self.optimizer.step()
        return loss

    def judge(self, validation: Episodes) -> float:
        """The mean over tasks and queries, after its inner steps; no second order is needed."""
        total = 0.0
        for x, y, query_x, query_y in zip(*validation, strict=True):
            clone = self.learner.clone(first_order=True)
            for _ in range(self.setting.inner_steps):
                clone.adapt(self.task.loss(clone(x), y))
            with torch.no_grad():
                total += float(self.task.loss(clone(query_x), query_y))
        return total / len(validation.x)


def suggested(trial: optuna.Trial) -> Setting:
    """Our default space of sinusoids, conf/search/sinusoid.yaml."""
    return Setting(
        trial.suggest_float("inner_lr", 1e-3, 1e-1, log=True),
        trial.suggest_int("inner_steps", 1, 5),
        trial.suggest_float("meta_lr", 3e-4, 1e-2, log=True),
        trial.suggest_int("meta_batch_size", 8, 64, log=True),
    )


@dataclass
class Search:
    """One search.

    Args:
      iterations: of a trial that is not pruned.
      report_every: iterations between reports.
      validation: the tasks that judge.
      record: where every report is written as it comes; None: nowhere.
    """

    iterations: int
    report_every: int
    validation: Episodes
    record: Path | None = None
    trials: list[searching.Trial] = field(default_factory=list)

    def __call__(self, trial: optuna.Trial) -> float:
        """The objective."""
        setting = suggested(trial)
        # Its seed, and not the validation tasks' nor another trial's.
        torch.manual_seed(1_000_000 + trial.number)
        loop, done, value, state = Loop(setting), 0, math.inf, "COMPLETE"
        while done < self.iterations and state == "COMPLETE":
            count = min(self.report_every, self.iterations - done)
            loss = loop.advance(count)
            done += count
            value = loop.judge(self.validation) if math.isfinite(loss) else math.nan
            self._note(trial.number, setting, done, value)
            if math.isfinite(value):
                trial.report(value, done)
            if not math.isfinite(value) or (done < self.iterations and trial.should_prune()):
                state = "PRUNED"
        self.trials.append(self._ended(state, value, setting, done))
        if state == "PRUNED":
            raise optuna.TrialPruned
        return value

    def _ended(self, state: str, value: float, setting: Setting, done: int) -> searching.Trial:
        return searching.Trial(
            time.perf_counter() - BEGIN,
            state,
            value if math.isfinite(value) else None,
            done,
            setting.inner_steps,
            setting.meta_batch_size,
        )

    def _note(self, number: int, setting: Setting, step: int, value: float) -> None:
        if self.record is None:
            return
        line = {"seconds": time.perf_counter() - BEGIN, "trial": number, "step": step}
        with self.record.open("a") as file:
            file.write(json.dumps({**line, "value": value, **setting._asdict()}) + "\n")


def search(args: argparse.Namespace) -> None:
    """Searches, and prints what was found."""
    torch.manual_seed(args.seed)
    validation = Sinusoid().draw(VALIDATION_TASKS)
    if args.record:
        args.record.write_text("")
    objective = Search(args.iterations, args.report_every, validation, args.record)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(
        sampler=optuna.samplers.TPESampler(seed=args.seed), pruner=optuna.pruners.MedianPruner()
    )
    study.optimize(objective, n_trials=args.trials)
    searching.report(
        "optuna_learn2learn", time.perf_counter() - BEGIN, objective.trials, versions()
    )


def versions() -> dict[str, str]:
    """Of what it runs on."""
    return {name: version(name) for name in ("torch", "learn2learn", "optuna")}


# -- a recorded search, estimated ----------------------------------------------------------------


def estimate(args: argparse.Namespace) -> None:
    """Prices a recorded search by the time of a step and of a report of each of its settings."""
    lines = [json.loads(line) for line in args.schedule.read_text().splitlines()]
    validation = Sinusoid().draw(VALIDATION_TASKS)
    found: list[searching.Trial] = []
    clock, whole = 0.0, max(line["step"] for line in lines)
    for trial in by_trial(lines):
        setting = Setting(*(trial[-1][name] for name in Setting._fields))
        step, judging = _prices(setting, validation, args.seconds)
        done = int(trial[-1]["step"])
        clock += done * step + len(trial) * judging
        state = "COMPLETE" if done == whole else "PRUNED"
        value = trial[-1]["value"] if math.isfinite(trial[-1]["value"]) else None
        ended = (done, setting.inner_steps, setting.meta_batch_size)
        found.append(searching.Trial(clock, state, value, *ended))
    note = "an estimate: measured step times over a recorded schedule"
    searching.report("optuna_learn2learn", clock, found, versions(), note=note, estimated=True)


def by_trial(lines: Sequence[Mapping[str, Any]]) -> list[list[Mapping[str, Any]]]:
    """A recorded search's reports, trial by trial."""
    found: dict[int, list[Mapping[str, Any]]] = {}
    for line in lines:
        found.setdefault(line["trial"], []).append(line)
    return [found[number] for number in sorted(found)]


def _prices(setting: Setting, validation: Episodes, seconds: float) -> tuple[float, float]:
    """Seconds of a meta-iteration and of a report."""
    loop = Loop(setting)

    def advance(count: int) -> None:
        loop.advance(count)

    step = 1 / measuring.rate(advance, seconds).steps
    loop = Loop(setting)
    begin = time.perf_counter()
    loop.judge(validation)
    return step, time.perf_counter() - begin


if __name__ == "__main__":
    made = searching.parser(__doc__)
    made.add_argument("--threads", type=int, default=1, help="1 is best where matrices are small")
    made.add_argument("--record", type=Path, help="a file for every report, as it comes")
    made.add_argument("--schedule", type=Path, help="a file of --record, to be estimated")
    made.add_argument("--seconds", type=float, default=1.0, help="with --schedule: of each setting")
    chosen = made.parse_args()
    torch.set_num_threads(chosen.threads)
    (estimate if chosen.schedule else search)(chosen)
