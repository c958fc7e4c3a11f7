"""What a sweep ends with: the files that sum it up, and the line to paste."""

from __future__ import annotations

from pathlib import Path

from maml_sweep.search import progress, records, slots, study
from maml_sweep.search.composition import TrialComposer
from maml_sweep.search.space import Space
from maml_sweep.training import checkpoint


def conclude(name: str, url: str, folder: Path) -> None:
    """Writes `trials.csv` and `best.yaml` and prints the outcome of a sweep."""
    opened = study.open_study(url, name)
    plan = study.plan_of(opened)
    space = Space.from_description(plan.space)
    records.write_trials(opened, plan, space, folder)
    best = records.best_trial(opened)
    if best is not None:
        values = space.values(best.params)
        config = TrialComposer(plan, space).container(values, best.user_attrs["trial_seed"])
        records.write_best(best, plan, space, folder, config)
    trials = opened.get_trials(deepcopy=False)
    for slot in slots.finished(trials, plan.max_retries):
        # A kill between a result and its clean-up leaves one behind.
        checkpoint.path_of(folder, slot).unlink(missing_ok=True)
    progress.say_outcome(plan, slots.tally(trials, plan.max_retries), best, space, folder, url)
