"""What trained winners leave in `winners/` of their study's folder.

`<slot>-<k>.npz` holds the weights of the k-th seed (`maml_sweep.load`), `<slot>.npz` the metric of
every seed, adaptation step and meta-test task, and `results.json` all that was printed. It is
written last: whoever finds it finds the others.
"""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from omegaconf import OmegaConf

from maml_sweep import __version__
from maml_sweep.files import write_atomic
from maml_sweep.search.study import Plan
from maml_sweep.training import weights
from maml_sweep.training.weights import Meta
from maml_sweep.winners.choice import Request
from maml_sweep.winners.outcome import Outcome
from maml_sweep.winners.packs import SECTIONS

WINNERS, RESULTS, CHECKPOINTS = "winners", "results.json", "checkpoints"


def write(outcomes: Sequence[Outcome], plan: Plan, request: Request, home: Path) -> None:
    """Writes everything, each file whole or not at all."""
    for outcome in outcomes:
        slot = outcome.winner.slot
        for index in outcome.diverged:  # of an earlier training, which went otherwise
            weights_path(home, slot, index).unlink(missing_ok=True)
        for index, arrays in outcome.weights.items():
            meta = _meta(outcome, index, plan)
            weights.write(weights_path(home, slot, index), arrays, meta)
        if outcome.curves:
            _write_curves(home / f"{slot}.npz", outcome)
    text = json.dumps(results(outcomes, plan, request), indent=2, allow_nan=False)
    write_atomic(home / RESULTS, text + "\n")


def weights_path(home: Path, slot: int, index: int) -> Path:
    """Where the weights of a winner's `index`-th seed lie."""
    return home / f"{slot}-{index}.npz"


def results(outcomes: Sequence[Outcome], plan: Plan, request: Request) -> dict[str, Any]:
    """All that is printed, as JSON can hold it."""
    return {
        "study": plan.name,
        "metric": plan.metric,
        "direction": plan.direction,
        "seeds": request.seeds,
        "test_tasks": request.tasks,
        "test_seed": plan.seed,
        "maml_sweep": __version__,
        "winners": [outcome.to_json() for outcome in outcomes],
    }


def _write_curves(path: Path, outcome: Outcome) -> None:
    buffer = io.BytesIO()
    np.savez_compressed(
        buffer,
        metric=np.stack(list(outcome.curves.values())),  # [seed, step, task]
        index=list(outcome.curves),  # [seed]
    )
    write_atomic(path, buffer.getvalue())


def _meta(outcome: Outcome, index: int, plan: Plan) -> Meta:
    config = outcome.winner.config
    return Meta(
        study=plan.name,
        slot=outcome.winner.slot,
        index=index,
        seed=outcome.seeds[index],
        iterations=outcome.iterations,
        metric=plan.metric,
        direction=plan.direction,
        config={key: OmegaConf.to_container(config[key], resolve=True) for key in SECTIONS},
        test={
            "seed": plan.seed,
            "tasks": outcome.curves[index].shape[1],
            "steps": outcome.steps,
            "mean": outcome.each[index],
        },
    )
