"""What the numbers of a study rest on, in words: tasks, norms, budget, search."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pandas as pd

from maml_sweep.analysis.frames import Frames
from maml_sweep.analysis.merging import lookup

Config = Mapping[str, Any]

_NORMS = {
    "transductive": "transductive: a query set is normalised by its own statistics",
    "support": "of the support set, for the query set too",
}


def subtitle(frames: Frames) -> str:
    """Task, model, algorithm and what is sought."""
    parts = [by_branch(frames, _component(name)) for name in ("task", "model", "algorithm")]
    better = "lower" if frames.sign > 0 else "higher"
    return f"{' · '.join(part for part in parts if part)} · {frames.metric}, {better} is better"


def period(frames: Frames) -> str:
    """When the trials ran."""
    started, finished = frames.trials["started"].min(), frames.trials["finished"].max()
    if pd.isna(started):
        return f"{frames.plan.n_trials} trials planned, none begun"
    last = "" if pd.isna(finished) else f" to {_time(finished)}"
    return f"{frames.plan.n_trials} trials planned, run from {_time(started)}{last} UTC"


def facts(frames: Frames) -> list[tuple[str, str]]:
    """(term, words) on what the numbers rest on."""
    told = {
        "Judged on": by_branch(frames, _validation(frames)),
        "Norm statistics": by_branch(frames, _norm),
        "Budget": by_branch(frames, _budget),
        "Searched by": by_branch(frames, _search),
    }
    if frames.plan.repeats > 1:
        told["Objective"] = f"the mean over {frames.plan.repeats} training seeds of each trial"
    return [(term, words) for term, words in told.items() if words]


def by_branch(frames: Frames, say: Callable[[Config], str]) -> str:
    """What all branches have in common, or what each has where they differ."""
    configs = frames.plan.configs or {"": frames.plan.config}
    said: dict[str, list[str]] = {}
    for branch, config in configs.items():
        said.setdefault(say(config), []).append(branch)
    if len(said) == 1:
        return next(iter(said))
    if all(len(words.split()) == 1 for words in said):
        return " or ".join(said)
    return "; ".join(f"{words} ({', '.join(branches)})" for words, branches in said.items())


def _component(name: str) -> Callable[[Config], str]:
    def say(config: Config) -> str:
        return str(lookup(config, f"{name}._target_") or "").rpartition(".")[2]

    return say


def _validation(frames: Frames) -> Callable[[Config], str]:
    def say(config: Config) -> str:
        tasks = lookup(config, "training.validation_tasks")
        if tasks is None:
            return ""
        steps = lookup(config, "training.eval_steps")
        after = (
            "each trial's own number of inner steps"
            if steps is None
            else f"{steps} adaptation step{'s' if steps != 1 else ''}"
        )
        return (
            f"{tasks} meta-validation tasks, fixed by seed {frames.plan.seed} and the same for "
            f"every trial, after {after}; the meta-test tasks were not touched"
        )

    return say


def _norm(config: Config) -> str:
    norm = lookup(config, "model.norm")
    if norm is None:
        return "none: the model has no norm"
    return _NORMS.get(str(norm), str(norm))


def _budget(config: Config) -> str:
    training = lookup(config, "training") or {}
    iterations, every = training.get("iterations"), training.get("report_every")
    if iterations is None:
        return ""
    if training.get("budget") == "tasks":
        batch = training.get("reference_meta_batch_size", 1)
        return (
            f"tasks: every trial sees {iterations * batch:,} tasks, as {iterations:,} "
            f"meta-iterations of {batch} tasks do; a rung every {every:,} of those"
        )
    return (
        f"iterations: {iterations:,} meta-iterations a trial, whatever its meta-batch size; a rung "
        f"every {every:,}"
    )


def _search(config: Config) -> str:
    parts = [_component(name)(config) for name in ("sampler", "pruner")]
    return ", ".join(part for part in parts if part)


def _time(moment: pd.Timestamp) -> str:
    return f"{moment:%Y-%m-%d %H:%M}"
