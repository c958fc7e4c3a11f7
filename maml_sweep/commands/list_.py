"""maml-sweep list: the studies there are, and how far they have come."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from maml_sweep import commands, typed
from maml_sweep.errors import InputError

if TYPE_CHECKING:
    from maml_sweep.analysis.loading import Located

HELP = "list the studies, the last changed first"


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    commands.place_options(parser)


def run(arguments: argparse.Namespace) -> int:
    """Prints a line a study; one that cannot be read says why."""
    found = list(_studies(Path(arguments.root), arguments.storage))
    if arguments.json:
        commands.print_json(found)
    elif not found:
        from maml_sweep.search.storage import masked

        place = masked(arguments.storage or arguments.root)
        print(f"no study in {place}: begin one with {typed.command()}")
    else:
        heads = ("study", "done", "slots", "best", "changed")
        commands.print_table(heads, [_row(each) for each in found])
    return 0


def _studies(root: Path, storage: str | None) -> Iterator[dict[str, Any]]:
    """What is known of every study, the newest first."""
    from maml_sweep.analysis import loading

    if storage is not None:
        for name in loading.on_server(storage):
            yield _described(loading.locate(name, root, storage))
        return
    for folder in loading.folders(root):
        try:
            yield _described(loading.in_folder(folder))
        except InputError as error:
            yield {"name": folder.name, "folder": folder, "error": str(error)}


def _described(located: Located) -> dict[str, Any]:
    from maml_sweep.analysis import loading
    from maml_sweep.search import outline, records, slots, study

    opened = loading.opened(located)
    plan = study.plan_of(opened)
    trials = outline.outline(opened)
    counts = slots.tally(trials, plan.max_retries)
    best = records.best_trial(opened)
    times = [at for each in trials for at in (each.datetime_start, each.datetime_complete) if at]
    return {
        "name": located.name,
        "folder": located.folder,
        **commands.progress(plan.n_trials, counts),
        "metric": plan.metric,
        "direction": plan.direction,
        "best": best and {"value": best.value, "slot": best.user_attrs["slot"]},
        "changed": max(times).astimezone(UTC) if times else None,
    }


def _row(study: dict[str, Any]) -> list[str]:
    if "error" in study:
        return [study["name"], "", study["error"], "", ""]
    best, changed = study["best"], study["changed"]
    return [
        study["name"],
        f"{study['finished']}/{study['n_trials']}",
        study["words"],
        f"{study['metric']} {best['value']:.4g} (slot {best['slot']})" if best else "none yet",
        _when(changed),
    ]


def _when(changed: datetime | None) -> str:
    return commands.local(changed) if changed else "not begun"
