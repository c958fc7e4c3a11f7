"""maml-sweep status: what a study's workers are at, and how long it may take."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from maml_sweep import commands

if TYPE_CHECKING:
    import optuna
    from optuna.trial import FrozenTrial

    from maml_sweep.search.study import Plan

HELP = "show a study's slots by state, its workers and the time left"


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    commands.study_options(parser)


def run(arguments: argparse.Namespace) -> int:
    """Prints it."""
    found = describe(arguments)
    if arguments.json:
        commands.print_json(found)
    else:
        _tell(found)
    return 0


def describe(arguments: argparse.Namespace) -> dict[str, Any]:
    """What there is to say, as plain values.

    Raises:
      InputError: no such study.
    """
    from maml_sweep.analysis import loading
    from maml_sweep.search import outline, slots, study
    from maml_sweep.search.lease import live_workers
    from maml_sweep.search.pace import pace

    located = commands.open_study(arguments)
    opened = loading.opened(located)
    plan = study.plan_of(opened)
    trials = outline.outline(opened, (*outline.SLOTS, "worker"))
    counts = slots.tally(trials, plan.max_retries)
    running = [outline.whole(opened, each) for each in trials if each.state.name == "RUNNING"]
    live = live_workers(opened.user_attrs)
    shares = {each.number: _share(each, plan) for each in running}
    rate = pace(trials, live, shares, counts, datetime.now())
    return {
        "study": located.name,
        "folder": located.folder,
        **commands.progress(plan.n_trials, counts),
        "metric": plan.metric,
        "workers": _workers(opened, running, live),
        "pace": rate and asdict(rate),
    }


def _share(trial: FrozenTrial, plan: Plan) -> float:
    """How much of its training a running trial has behind it."""
    total = plan.config.get("training", {}).get("iterations", 1)
    return min(1.0, float(max(trial.intermediate_values, default=0) / total))


def _workers(
    study: optuna.Study, running: Sequence[FrozenTrial], live: set[str]
) -> list[dict[str, Any]]:
    """The live workers, and those that hold trials though they are gone."""
    from maml_sweep.search.lease import PREFIX

    attrs = study.user_attrs
    held: dict[str, list[FrozenTrial]] = {worker: [] for worker in sorted(live)}
    for trial in running:
        held.setdefault(trial.user_attrs.get("worker", ""), []).append(trial)
    return [
        {
            "worker": worker,
            "alive": worker in live,
            "expires": _expiry(attrs.get(f"{PREFIX}{worker}", {}).get("expires")),
            "trials": [_trial(trial) for trial in trials],
        }
        for worker, trials in held.items()
    ]


def _expiry(seconds: float | None) -> datetime | None:
    return datetime.fromtimestamp(seconds, UTC) if seconds else None


def _trial(trial: FrozenTrial) -> dict[str, Any]:
    step = max(trial.intermediate_values, default=None)
    return {
        "slot": trial.user_attrs.get("slot"),
        "step": step,
        "value": None if step is None else trial.intermediate_values[step],
        "since": trial.datetime_start and trial.datetime_start.astimezone(UTC),
    }


def _tell(found: dict[str, Any]) -> None:
    words = f" ({found['words']})" if found["words"] else ""
    print(f"{found['study']}: {found['finished']}/{found['n_trials']} slots done{words}")
    for worker in found["workers"]:
        print(f"worker {worker['worker'] or 'unknown'}: {_lease(worker)}")
        for trial in worker["trials"]:
            print(f"  slot {trial['slot']}: {_stand(trial, found['metric'])}")
    print(_forecast(found))


def _lease(worker: dict[str, Any]) -> str:
    if worker["alive"]:
        return f"alive, lease until {commands.local(worker['expires'])}"
    return "gone; whoever works on the study next takes its trials back"


def _stand(trial: dict[str, Any], metric: str) -> str:
    since = f", since {commands.local(trial['since'])}" if trial["since"] else ""
    if trial["step"] is None:
        return f"before its first rung{since}"
    return f"{metric} {trial['value']:.4g} at {trial['step']}{since}"


def _forecast(found: dict[str, Any]) -> str:
    """The last line: how long it takes, or what to do."""
    if found["finished"] == found["n_trials"]:
        return "nothing left to do"
    if not any(worker["alive"] for worker in found["workers"]):
        return f"nobody works on it; to go on:\n  python sweep.py study.name={found['study']}"
    pace = found["pace"]
    if pace is None or pace["left"] is None:
        return "too early to tell how long it takes"
    left = timedelta(seconds=round(pace["left"]))
    return f"{pace['per_hour']:.3g} trials an hour, {left} left"
