"""A study's answers in sentences, and the line to run next; odd studies among them."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from simulated import BATCH, META_RATE, RATE, STEPS
from synthetic import make

from maml_sweep.analysis import findings, frames
from maml_sweep.analysis.answers import Answers

GROUPS = {
    "optimizer": {"adam": {}, "sgd": {"optimizer.momentum": "interval(0.0, 0.9)"}},
    "model": {"mlp": {"model.widths": "[8],[40,40]"}, "conv4": {}},
}


def answers(root: Path, name: str = "s", **settings: Any) -> Answers:
    return Answers(frames.load(make(root / "outputs", name, **settings)))


def given(*losses: float) -> dict[str, Any]:
    """Trials that end at these losses."""
    return {
        "n_trials": len(losses),
        "points": [{"x.loss": loss} for loss in losses],
        "space": {"x.loss": "interval(0.0, 1.0)"},
        "objective": lambda values, step: float(values["x.loss"]),
        "prune": "none",
    }


def outside(values: Mapping[str, Any], step: int) -> float:
    """Best where α is 1, tenfold beyond its bound."""
    return float(np.log10(values[RATE]) ** 2 + 0.1 * np.exp(-step / 300))


ODD: dict[str, tuple[dict[str, Any], str, str]] = {
    "nothing": ({"n_trials": 0}, "There are no trials yet.", "python sweep.py study.name=s"),
    "one": ({"n_trials": 1}, "Best mse: ", "maml-sweep train s"),
    "not begun": ({"states": "waiting"}, "0 of 30 trials have ended; 0 run.",
                  "python sweep.py study.name=s"),
    "running": ({"states": {3: "running", 4: "waiting"}, "lease": "live"},
                "28 of 30 trials have ended; 1 run.", "python sweep.py study.name=s"),
    "pruned": ({"states": "pruned"}, "No trial has come to its end (30 pruned)",
               "python sweep.py study.name=s study.n_trials=60"),
    "diverged": ({"states": "diverged"}, "No trial has come to its end (30 diverged)",
                 "python sweep.py study.name=s-smaller "),
    "failed": ({"states": {3: "failed"}}, "Given up after failures: 1 trial.",
               "maml-sweep train s"),
    "all failed": ({"states": "failed", "n_trials": 4}, "Given up after failures: 4 trials.",
                   "python sweep.py study.name=s study.n_trials=8"),
    "one parameter": ({"space": {RATE: "tag(log, interval(0.001, 0.1))"}}, "Best mse: ",
                      "maml-sweep train s"),
    "branches": ({"groups": GROUPS, "n_trials": 40}, "Best mse: ", "maml-sweep train s"),
    "workers": ({"workers": 3}, "Best mse: ", "maml-sweep train s"),
    "no evaluations": ({"evaluations": False, "turns": False}, "Best mse: ", "maml-sweep train s"),
    "higher": ({"direction": "maximize", "metric": "accuracy",
                "objective": lambda values, step: 1 - 0.1 * values[STEPS] + step / 1e5},
               "Best accuracy: ", "maml-sweep train s"),
}  # fmt: skip


@pytest.fixture(autouse=True)
def _in_the_studies_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`outputs` here is where studies lie by default: nothing need be said of it."""
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("case", ODD)
def test_odd_studies_have_something_to_say(case: str, tmp_path: Path) -> None:
    settings, words, line = ODD[case]
    told = answers(tmp_path, **settings)
    assert any(words in each for each in told.findings)
    assert told.next_command.startswith(line)
    text = " ".join([*told.findings, told.importance_words, told.savings.packing.words])
    assert " nan" not in text and "=nan" not in text
    assert all(each.endswith(".") for each in told.findings)
    for name in ("winners", "standing", "divergence", "bounds", "importance", "interval"):
        getattr(told, name)


def test_the_best_is_told_with_its_interval(tmp_path: Path) -> None:
    told = answers(tmp_path)
    study, found = told.frames, told.interval
    assert told.best is not None and found is not None
    row = study.trials.set_index("slot").loc[told.best]
    assert told.findings[0] == (
        f"Best mse: {row['value']:.3g} (95% interval {found.low:.3g} to {found.high:.3g} over 20 "
        f"validation tasks), slot {told.best} with inner_lr={row[RATE]:.3g}, "
        f"inner_steps={row[STEPS]}, meta_lr={row[META_RATE]:.3g}, meta_batch_size={row[BATCH]}."
    )
    done = int((study.trials["state"] == "complete").sum())
    assert told.findings[1].startswith(f"As the best of {done} complete trials it looks a little")
    assert "maml-sweep train" in told.findings[1]


def test_the_others_are_counted(tmp_path: Path) -> None:
    """Six trials as good as each other to 0.001, and one far behind."""
    told = answers(tmp_path, **given(*(0.3 + 0.0001 * k for k in range(6)), 0.9))
    assert told.best == 0 and len(told.winners) >= 4
    others = [int(slot) for slot in told.winners["slot"][1:]]
    assert told.findings[2] == (
        f"{len(others)} other trials cannot be told from it at 95% "
        f"(slots {', '.join(map(str, others))})."
    )


def test_no_other_comes_up(tmp_path: Path) -> None:
    told = answers(tmp_path, **given(0.1, 0.9))
    assert "No other complete trial comes up to it at 95% over the same tasks." in told.findings


def test_what_mattered_is_named(tmp_path: Path) -> None:
    told = answers(tmp_path, n_trials=60, objective=outside)
    (words,) = (each for each in told.findings if each.startswith("What mattered most"))
    assert words.startswith(f"What mattered most: {RATE} (9") and ", then " in words


def test_a_close_race_is_told_as_one(tmp_path: Path) -> None:
    def objective(values: Mapping[str, Any], step: int) -> float:
        return float(values["x.a"] + values["x.b"])

    space = {"x.a": "interval(0.0, 1.0)", "x.b": "interval(0.0, 1.0)"}
    told = answers(tmp_path, n_trials=40, space=space, objective=objective)
    (words,) = (each for each in told.findings if each.startswith("What mattered"))
    assert "x.a (" in words and " or " in words and "x.b (" in words


def test_noise_is_seldom_taken_for_importance(tmp_path: Path) -> None:
    """fANOVA's shares add up to 1 all the same. At most one study in twenty is fooled; of these
    six the first is."""
    silent = 0
    for seed in range(6):
        noise = iter(np.random.default_rng(seed).normal(size=100_000))
        told = answers(tmp_path, f"s{seed}", n_trials=40, evaluations=False, turns=False,
                       objective=lambda values, step, noise=noise: next(noise))  # fmt: skip
        assert told.importance["fanova"].sum() == pytest.approx(1.0)
        (words,) = (each for each in told.findings if each.startswith("What mattered"))
        assert words.startswith("What mattered cannot be told") != told.importance_told
        assert ("may be chance" in told.importance_words) != told.importance_told
        silent += not told.importance_told
    assert silent >= 5


# -- the next command -------------------------------------------------------------------------


def test_a_bound_asks_for_a_wider_sweep(tmp_path: Path) -> None:
    given = [f"{RATE}=tag(log, interval(0.001, 0.1))", "model=mlp", "study.n_trials=40",
             "model.note='it''s'"]  # fmt: skip
    told = answers(tmp_path, n_trials=40, objective=outside, overrides=given)
    assert any("lies at the upper bound of algorithm.inner_lr (0.1" in x for x in told.findings)
    assert shlex.split(told.next_command) == [
        "python", "sweep.py", "study.name=s-wider", "model=mlp", "study.n_trials=40",
        "model.note='it''s'", f"{RATE}=tag(log, interval(0.001, 0.3))",
    ]  # fmt: skip
    assert f"'{RATE}=tag(log, interval(0.001, 0.3))'" in told.next_command


def test_a_wider_sweep_has_a_name_of_its_own(tmp_path: Path) -> None:
    told = answers(tmp_path, n_trials=40, objective=outside)
    (tmp_path / "outputs" / "s-wider").mkdir()
    assert "study.name=s-wider-2" in told.next_command


def test_all_diverged_asks_for_smaller_rates(tmp_path: Path) -> None:
    told = answers(tmp_path, states="diverged")
    assert shlex.split(told.next_command)[2:] == [
        "study.name=s-smaller",
        f"{RATE}=tag(log, interval(0.0003, 0.1))",
        f"{META_RATE}=tag(log, interval(0.0001, 0.01))",
    ]


def test_names_are_quoted_and_places_named(tmp_path: Path) -> None:
    folder = make(tmp_path / "else where", "a b=c", n_trials=2, prune="none")
    told = Answers(frames.load(folder))
    words = shlex.split(told.next_command)
    assert words == ["maml-sweep", "train", "a b=c", "--root", str(folder.parent)]
    folder = make(tmp_path / "else where", "d", n_trials=2, states={1: "waiting"}, prune="none")
    told = Answers(frames.load(folder))
    assert shlex.split(told.next_command)[2:] == [
        "study.name=d", f"hydra.sweeper.root={folder.parent}"
    ]  # fmt: skip


def test_short_values() -> None:
    values = {RATE: 0.0012345, STEPS: 5, "model.widths": [8, 8], "a.lr": 100.0, "b.lr": "x y"}
    assert findings.settings(values) == (
        "inner_lr=0.00123, inner_steps=5, widths=[8,8], a.lr=100, b.lr=x y"
    )
    assert findings.short(True) == "true" and findings.short(None) == "null"
