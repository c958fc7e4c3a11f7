"""maml-sweep status: what a study's workers are at, and how long it may take."""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from maml_sweep import commands
from maml_sweep.errors import InputError

if TYPE_CHECKING:
    import optuna

    from maml_sweep.analysis.loading import Located
    from maml_sweep.search.latest import Stand
    from maml_sweep.search.roster import Held, Member
    from maml_sweep.search.study import Plan

HELP = "show a study's workers, what each trains, its slots by state and the time left"
EVERY = 2.0  # seconds between two looks, unless others are named


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    commands.study_options(parser)
    parser.add_argument(
        "--watch",
        nargs="?",
        type=float,
        const=EVERY,
        metavar="SECONDS",
        help=f"look again every so often (default: {EVERY:g}), until all is done or Ctrl-C",
    )


def run(arguments: argparse.Namespace) -> int:
    """Prints it, once or again and again; Ctrl-C is how that ends.

    Raises:
      InputError: no such study.
    """
    from maml_sweep.analysis import loading

    if arguments.watch is not None and not arguments.watch > 0:
        raise InputError(f"--watch={arguments.watch:g}: expected seconds above 0")
    located = commands.open_study(arguments)
    study = loading.opened(located)
    if arguments.watch is None:
        _print(describe(located, study), arguments.json)
        return 0
    with suppress(KeyboardInterrupt):
        _watch(located, study, arguments.watch, arguments.json)
    return 0


def describe(located: Located, opened: optuna.Study) -> dict[str, Any]:
    """What there is to say, as plain values."""
    from maml_sweep.search import outline, records, slots, storage, study
    from maml_sweep.search.again import resume_line
    from maml_sweep.search.latest import stands
    from maml_sweep.search.pace import pace
    from maml_sweep.search.roster import ALIVE, roster

    attrs = opened.user_attrs
    plan = study.Plan.from_json(attrs[study.PLAN])
    trials = outline.outline(opened, (*outline.SLOTS, "worker"))
    counts = slots.tally(trials, plan.max_retries)
    running = stands(opened, trials)
    now = storage.now(opened)
    members = roster(attrs, trials, running, now)
    live = {each.worker for each in members if each.state == ALIVE}
    shares = {number: _share(stand, plan) for number, stand in running.items()}
    known = pace(trials, live, shares, counts, datetime.fromtimestamp(now))
    best = records.best_trial(opened)
    return {
        "study": located.name,
        "folder": located.folder,
        "at": datetime.fromtimestamp(now, UTC),
        **commands.progress(plan.n_trials, counts),
        "metric": plan.metric,
        "direction": plan.direction,
        "best": best and {"value": best.value, "slot": best.user_attrs["slot"]},
        "workers": [_worker(member, plan) for member in members],
        "rate": sum(each.rate for each in members if each.worker in live),
        "pace": known and asdict(known),
        "command": resume_line(located.name, located.folder, located.url),
    }


def _iterations(plan: Plan) -> int:
    """How long a trial is that is not pruned; with training.budget=tasks some are shorter."""
    return int(plan.config.get("training", {}).get("iterations", 1))


def _share(stand: Stand, plan: Plan) -> float:
    """How much of its training a running trial has behind it."""
    return min(1.0, stand.step / _iterations(plan))


def _worker(member: Member, plan: Plan) -> dict[str, Any]:
    found = {key: value for key, value in vars(member).items() if key not in {"left", "trials"}}
    expires = member.expires and datetime.fromtimestamp(member.expires, UTC)
    trials = [_trial(held, plan) for held in member.trials]
    return found | {
        "alive": member.state == "alive",
        "expires": expires,
        "lease": member.left,
        "trials": trials,
    }


def _trial(held: Held, plan: Plan) -> dict[str, Any]:
    return {
        "slot": held.slot,
        "step": held.stand.step,
        "iterations": _iterations(plan),
        "rungs": held.stand.rungs,
        "value": held.stand.value,
        "since": held.since and held.since.astimezone(UTC),
    }


# -- again and again --------------------------------------------------------------------------


def _watch(located: Located, study: optuna.Study, every: float, as_json: bool) -> None:
    """Shows a study until all of it is done: in place on a terminal, else block by block."""
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    console = Console(highlight=False)
    if as_json or not console.is_terminal:
        for found in _looks(located, study, every):
            _print(found, as_json, end="\n")
        return
    with Live(console=console, auto_refresh=False) as live:
        for found in _looks(located, study, every):
            live.update(Text("\n".join(lines(found))), refresh=True)


def _print(found: Mapping[str, Any], as_json: bool, end: str = "") -> None:
    if as_json:
        commands.print_json(found)
    else:
        print("\n".join([*lines(found), end]), end="")
    sys.stdout.flush()  # a reader of a pipe waits for it


def _looks(located: Located, study: optuna.Study, every: float) -> Iterator[dict[str, Any]]:
    while True:
        found = describe(located, study)
        yield found
        if found["finished"] == found["n_trials"]:
            return
        time.sleep(every)


# -- words ------------------------------------------------------------------------------------


def lines(found: Mapping[str, Any]) -> list[str]:
    """The same for people."""
    words = f" ({found['words']})" if found["words"] else ""
    told = [f"{found['study']}: {found['finished']}/{found['n_trials']} slots done{words}"]
    if found["best"]:
        best = found["best"]
        told.append(f"best {found['metric']}: {best['value']:.6g} (slot {best['slot']})")
    shown = [each for each in found["workers"] if each["alive"] or each["trials"]]
    for worker in shown:
        told.append(f"worker {worker['worker'] or 'unknown'}: {_account(worker)}")
        if worker["trials"]:
            told.append(f"  {_trains(worker['trials'], found['metric'])}")
    return [*told, *_gone(found["workers"], shown), _forecast(found)]


def _account(worker: Mapping[str, Any]) -> str:
    """A worker's lease, rate and place."""
    if not worker["alive"]:
        ended = f"{worker['state']}{_ago(worker)}"
        return f"{ended}; whoever works on the study next takes its trials back"
    told = [f"lease {worker['lease']:.0f} s", f"{worker['rate']:,.0f} trial-steps/s"]
    told += [f"{worker['host']}, process {worker['pid']}", worker["device"]]
    told += [f"launcher {worker['launcher']}"] if worker["launcher"] else []
    return "; ".join(each for each in told if each)


def _ago(worker: Mapping[str, Any]) -> str:
    """Since when a lease has lapsed."""
    if worker["state"] != "lapsed":
        return ""
    return f" {timedelta(seconds=round(-worker['lease']))} ago"


def _trains(trials: Sequence[Mapping[str, Any]], metric: str) -> str:
    told = [f"slot {each['slot']} at {each['step']}/{each['iterations']}{_value(each, metric)}"
            for each in trials]  # fmt: skip
    return ", ".join(told)


def _value(trial: Mapping[str, Any], metric: str) -> str:
    return "" if trial["value"] is None else f" {metric} {trial['value']:.4g}"


def _gone(workers: Sequence[Mapping[str, Any]], shown: Sequence[Mapping[str, Any]]) -> list[str]:
    """A line on those that hold nothing any more."""
    states = Counter(each["state"] for each in workers if each not in shown)
    counted = ", ".join(f"{count} {state}" for state, count in sorted(states.items()))
    return [f"workers that are gone: {counted}"] if counted else []


def _forecast(found: Mapping[str, Any]) -> str:
    """The last line: how long it takes, or what to do."""
    if found["finished"] == found["n_trials"]:
        return "nothing left to do"
    if not any(worker["alive"] for worker in found["workers"]):
        return f"nobody works on it; to go on:\n  {found['command']}"
    pace, rate = found["pace"], f"{found['rate']:,.0f} trial-steps/s"
    if pace is None or pace["left"] is None:
        return f"{rate}; too early to tell how long it takes"
    left = timedelta(seconds=round(pace["left"]))
    return f"{rate}, {pace['per_hour']:.3g} trials an hour, {left} left"
