"""What pruning and packing saved: sums that can be worked out, costs that are known."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from planned import CONFIG
from simulated import BATCH
from synthetic import make

from maml_sweep.analysis import frames, savings
from maml_sweep.analysis.savings import LEAST, Savings


def saved(root: Path, **settings: Any) -> Savings:
    return savings.savings(frames.load(make(root, **settings)))


def test_pruning_in_iterations(tmp_path: Path) -> None:
    """Of ten rungs: two whole (2,000), one stopped half way (500), one diverged at 175."""
    found = saved(
        tmp_path,
        n_trials=5,
        prune="none",
        rungs=range(100, 1001, 100),
        states={1: "pruned", 2: "diverged", 4: "waiting"},
    )
    assert (found.iterations_done, found.iterations_full) == (2675, 3175)
    assert found.pruned_share == pytest.approx(500 / 3175)
    assert found.pruning_words == (
        "Pruning ended 1 of 4 trials early and saved 16% of the meta-iterations "
        "(2,675 done, 3,175 without it)."
    )


def test_with_a_budget_of_tasks_each_trial_has_its_own_total(tmp_path: Path) -> None:
    """1,000 iterations of 25 tasks are 2,500 of 10 and 500 of 50."""
    config = deepcopy(CONFIG)
    config["training"]["budget"] = "tasks"
    folder = make(tmp_path, n_trials=2, prune="none", rungs=range(100, 1001, 100), config=config,
                  space={BATCH: "10,50"}, points=[{BATCH: 10}, {BATCH: 50}],
                  states="pruned", objective=lambda values, step: 1.0)  # fmt: skip
    table = savings.by_trial(frames.load(folder))
    assert list(table["full"]) == [2500, 500]
    assert list(table["state"]) == ["pruned", "pruned"]


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"n_trials": 0}, "No trial has ended yet."),
        ({"n_trials": 3, "states": "running"}, "No trial has ended yet."),
        ({"n_trials": 3, "prune": "none"}, "No trial was pruned."),
        ({"n_trials": 3, "states": "diverged"}, "No trial was pruned."),
    ],
)
def test_nothing_pruned(settings: dict[str, Any], words: str, tmp_path: Path) -> None:
    found = saved(tmp_path, **settings)
    assert found.pruning_words == words and not found.pruned_share


# -- packing ----------------------------------------------------------------------------------


def turns(call: float, lane: float, count: int = 60, noise: float = 0.0, pack: int = 8) -> Any:
    """Turns of 100 iterations with 1 to `pack` trials of 25 tasks and 1 to 5 steps."""
    rng = np.random.default_rng(0)
    runs = rng.integers(1, pack + 1, count)
    lane_steps = 100 * 25 * np.array([rng.integers(1, 6, each).sum() for each in runs])
    seconds = 100 * call + lane * lane_steps
    return pd.DataFrame(
        {
            "worker": "w",
            "seconds": seconds * rng.normal(1, noise, count),
            "tracing": 0.0,
            "program": 0,
            "runs": runs,
            "iterations": 100,
            "trial_iterations": 100 * runs,
            "lane_steps": lane_steps,
        }
    )


def test_what_packing_saved() -> None:
    """2 ms a call and 10 us a lane step: alone, every trial pays its calls by itself."""
    table = turns(2e-3, 1e-5)
    found = savings.packing(table)
    packed = table["seconds"].sum()
    alone = packed + 2e-3 * (table["trial_iterations"] - table["iterations"]).sum()
    assert found.packed_seconds == pytest.approx(packed)
    assert found.alone_seconds == pytest.approx(alone)
    assert found.speedup == pytest.approx(alone / packed)
    assert found.mean_pack == pytest.approx(table["runs"].mean())
    assert found.fit[["per_iteration", "per_lane_step"]].to_numpy().tolist() == [
        pytest.approx([2e-3, 1e-5])
    ]
    assert "an estimate from 60 turns" in found.words


def test_the_interval_holds_the_truth_under_noise() -> None:
    exact, noisy = (savings.packing(turns(2e-3, 1e-5, noise=x)) for x in (0.0, 0.1))
    assert exact.speedup is not None and noisy.speedup_low and noisy.speedup_high
    assert noisy.speedup_low < exact.speedup < noisy.speedup_high
    assert noisy.speedup_high - noisy.speedup_low < 1.0


def test_tracing_is_left_out() -> None:
    table = turns(2e-3, 1e-5)
    wanted = savings.packing(table)
    first = table.iloc[[0]].assign(tracing=30.0, seconds=table["seconds"][0] + 30.0)
    found = savings.packing(pd.concat([first, table.iloc[1:]]))
    assert found.packed_seconds == pytest.approx(wanted.packed_seconds)
    assert found.alone_seconds == pytest.approx(wanted.alone_seconds)


def test_programs_have_costs_of_their_own() -> None:
    fast, slow = turns(1e-3, 1e-5), turns(4e-3, 3e-5).assign(program=1)
    found = savings.packing(pd.concat([fast, slow]))
    parts = [savings.packing(each) for each in (fast, slow)]
    assert found.alone_seconds == pytest.approx(sum(each.alone_seconds or 0 for each in parts))
    assert list(found.fit["per_iteration"]) == pytest.approx([1e-3, 4e-3])


def test_packs_that_save_nothing_say_so() -> None:
    found = savings.packing(turns(0.0, 1e-5))
    assert found.speedup == pytest.approx(1.0)
    assert "saved no time to speak of" in found.words


def alike(table: pd.DataFrame) -> pd.DataFrame:
    return table.assign(lane_steps=30_000, trial_iterations=800, seconds=1.0)


def scattered(table: pd.DataFrame) -> pd.DataFrame:
    return table.assign(seconds=np.random.default_rng(1).uniform(0.1, 5.0, len(table)))


@pytest.mark.parametrize(
    ("table", "words"),
    [
        (turns(2e-3, 1e-5).iloc[:0], "no turns are recorded"),
        (turns(2e-3, 1e-5, count=LEAST - 1), "too few or too much alike"),
        (alike(turns(2e-3, 1e-5)), "too few or too much alike"),
        (scattered(turns(2e-3, 1e-5)), "follow something else"),
        (turns(2e-3, 1e-5, pack=1), "one at a time"),
    ],
)
def test_what_cannot_be_told(table: pd.DataFrame, words: str) -> None:
    found = savings.packing(table)
    assert words in found.words
    assert found.speedup is None and found.alone_seconds is None and found.fit.empty


def test_a_study_without_turns(tmp_path: Path) -> None:
    assert "no turns" in saved(tmp_path, n_trials=3, turns=False).packing.words
