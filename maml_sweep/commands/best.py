"""maml-sweep best: a study's best trial, and the line that trains it again."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from maml_sweep import commands

HELP = "show a study's best trial and the line that trains it again"


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    commands.study_options(parser)


def run(arguments: argparse.Namespace) -> int:
    """Prints the best trial; a study without one says so, which is no error."""
    found = describe(arguments)
    if arguments.json:
        commands.print_json(found)
    elif found["best"] is None:
        print(f"{found['study']}: no trial has come to its end yet")
    else:
        _tell(found)
    return 0


def describe(arguments: argparse.Namespace) -> dict[str, Any]:
    """What there is to say, as plain values.

    Raises:
      InputError: no such study.
    """
    from maml_sweep.analysis import loading
    from maml_sweep.search import outline, records, study
    from maml_sweep.search.space import Space

    located = commands.open_study(arguments)
    opened = loading.opened(located)
    plan = study.plan_of(opened)
    counts = outline.counts(opened, plan.max_retries)
    best = records.best_trial(opened)
    found: dict[str, Any] = {
        "study": located.name,
        "metric": plan.metric,
        "direction": plan.direction,
        "n_trials": plan.n_trials,
        "finished": counts.finished,
        "best": None,
    }
    if best is None:
        return found
    space = Space.from_description(plan.space)
    slot = best.user_attrs["slot"]
    found["best"] = {
        "value": best.value,
        "slot": slot,
        "number": best.number,
        "trial_seed": best.user_attrs["trial_seed"],
        "parameters": space.values(best.params),
        "command": records.run_line(best, plan, space),
    }
    return found | {"files": _files(located.folder, slot)}


def _files(folder: Path, slot: int) -> list[Path]:
    """Those of a slot that are there."""
    from maml_sweep.search import records

    names = (records.BEST, records.TRIALS, f"{records.EVALUATIONS}/{slot}.npz", "report.html")
    return [folder / name for name in names if (folder / name).is_file()]


def _tell(found: dict[str, Any]) -> None:
    best = found["best"]
    print(f"{found['study']}: {found['finished']}/{found['n_trials']} slots done")
    print(f"best {found['metric']}: {best['value']:.6g} (slot {best['slot']})")
    width = max(map(len, best["parameters"]), default=0)
    for key, value in best["parameters"].items():
        print(f"  {key:<{width}}  {value}")
    print("to train it again:")
    print(f"  {best['command']}")
    if found["files"]:
        print("files: " + " ".join(map(str, found["files"])))
