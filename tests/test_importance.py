"""What mattered, where training diverges: known objectives."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from simulated import META_RATE, RATE, STEPS
from synthetic import make

from maml_sweep.analysis import divergence, frames
from maml_sweep.analysis.importance import Importance, importances
from maml_sweep.analysis.standing import standings

THREE = {f"x.{name}": "interval(0.0, 1.0)" for name in ("much", "some", "none")}
BRANCHES = {"optimizer": {"adam": {"x.beta": "interval(0.0, 1.0)"}, "sgd": {"x.momentum": "1,2,4"}}}


def known(values: Mapping[str, Any], step: int) -> float:
    """Much: variance 9/12; some: 1/12; the rest falls with the steps."""
    return 3 * float(values["x.much"]) + float(values["x.some"]) + 5 - step / 1000


def told(root: Path, name: str = "s", **settings: Any) -> Importance:
    study = frames.load(make(root, name, **settings))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return importances(study, standings(study))


@pytest.mark.parametrize("direction", ["minimize", "maximize"])
def test_importances_rank_rightly(direction: str, tmp_path: Path) -> None:
    found = told(tmp_path, space=THREE, n_trials=100, objective=known, direction=direction)
    table = found.table
    assert list(table["parameter"]) == ["x.much", "x.some", "x.none"]
    much, some, none = table["fanova"]
    assert much > 0.7 and some < 0.25 and none < 0.05
    assert table["fanova"].sum() == pytest.approx(1.0)
    assert table["pedanova"].idxmax() == 0
    assert (table["fanova_sd"] > 0).any() and (table["trials"] == 100).all()


def test_pruned_trials_count_by_their_rank(tmp_path: Path) -> None:
    """The pruner tells good from bad by `much`, so the survivors alone hardly vary in it."""
    settings: dict[str, Any] = {"space": THREE, "n_trials": 80, "objective": known}
    found = told(tmp_path, "pruned", **settings)
    study = frames.load("pruned", tmp_path)
    stopped = int((study.trials["state"] == "pruned").sum())
    assert stopped > 30
    assert f"the {stopped} that stopped before the end in the place" in found.words
    assert found.table["parameter"][0] == "x.much" and found.table["fanova"][0] > 0.6
    complete = standings(study)[study.trials.set_index("slot")["state"] == "complete"]
    survivors = importances(study, complete).table.set_index("parameter")["fanova"]
    assert survivors["x.much"] < found.table["fanova"][0] - 0.1


def test_diverged_trials_count_as_the_worst(tmp_path: Path) -> None:
    """The value does not hang on `none`, divergence does."""
    found = told(
        tmp_path,
        space=THREE,
        n_trials=60,
        objective=lambda values, step: float(values["x.some"]),
        prune="none",
        diverge=lambda values: bool(values["x.none"] > 0.6),
    )
    assert found.table["parameter"][0] == "x.none"
    assert "that diverged last." in found.words and found.told


def test_branches_weigh_what_is_their_own(tmp_path: Path) -> None:
    """SGD is worse by 1; beta matters within adam alone, momentum not at all."""

    def objective(values: Mapping[str, Any], step: int) -> float:
        sgd = values["optimizer"] == "sgd"
        return float(sgd) + 0.3 * float(values["x.some"]) + 2 * float(values.get("x.beta", 0.5))

    space = {"x.some": "interval(0.0, 1.0)"}
    found = told(tmp_path, space=space, groups=BRANCHES, n_trials=80, objective=objective,
                 prune="none")  # fmt: skip
    rows = found.table.set_index("parameter")
    assert dict(rows["branch"]) == {
        "optimizer": "", "x.some": "", "x.beta": "adam", "x.momentum": "sgd"
    }  # fmt: skip
    assert rows["fanova"]["optimizer"] > rows["fanova"]["x.some"]
    assert rows["fanova"]["x.beta"] > 0.8 and rows["fanova"]["x.momentum"] < 0.2
    assert rows["trials"]["optimizer"] == 80
    assert rows["trials"]["x.beta"] + rows["trials"]["x.momentum"] == 80
    assert "within each branch" in found.words


def test_one_parameter_matters_alone(tmp_path: Path) -> None:
    table = told(tmp_path, space={"x.much": "interval(0.0, 1.0)"}, n_trials=10,
                 objective=lambda values, step: float(values["x.much"])).table  # fmt: skip
    assert table[["parameter", "fanova", "pedanova"]].to_numpy().tolist() == [["x.much", 1.0, 1.0]]


def test_a_parameter_of_one_value_is_left_out(tmp_path: Path) -> None:
    found = told(tmp_path, space=THREE | {"x.fixed": "7", "x.list": "[1],[2]"}, n_trials=20,
                 objective=known)  # fmt: skip
    assert set(found.table["parameter"]) == {*THREE, "x.list"}


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"n_trials": 0}, "there are no."),
        ({"n_trials": 7}, "there are only 7."),
        ({"n_trials": 20, "states": "waiting"}, "there are no."),
        ({"n_trials": 9, "space": {"x.much": "1", "x.some": "2"}}, "more than one value"),
    ],
)
def test_too_little_to_tell(settings: dict[str, Any], words: str, tmp_path: Path) -> None:
    found = told(tmp_path, objective=lambda values, step: 1.0, **settings)
    assert found.table.empty and words in found.words
    assert "fanova" in found.table


# -- divergence -------------------------------------------------------------------------------


def unstable(values: Mapping[str, Any]) -> bool:
    return bool(values[RATE] * values[STEPS] > 0.1)


def test_divergence_is_found_where_it_is(tmp_path: Path) -> None:
    make(tmp_path, n_trials=80, diverge=unstable)
    study = frames.load("s", tmp_path)
    found = divergence.fit(study)
    assert found is not None and found.parameters == (RATE, STEPS, META_RATE)
    count = int((study.trials["state"] == "diverged").sum())
    assert (found.diverged, found.trials) == (count, 80)
    chance = found.probability({RATE: [0.001, 0.01, 0.1], STEPS: 3})
    assert (np.diff(chance) > 0).all() and chance[1] < 0.2 and chance[2] > 0.7
    assert found.probability({RATE: 0.03, STEPS: 5}) > found.probability({RATE: 0.03, STEPS: 1})
    assert found.probability({RATE: np.ones((4, 1)), META_RATE: np.ones(3)}).shape == (4, 3)


def test_the_sentence_names_the_border(tmp_path: Path) -> None:
    make(tmp_path, n_trials=80, diverge=unstable)
    study = frames.load("s", tmp_path)
    words = divergence.sentence(study)
    count = int((study.trials["state"] == "diverged").sum())
    assert words == f"Training diverged in {count} of 80 trials, mostly above α·steps = 0.1."


def test_divergence_at_random_has_no_place(tmp_path: Path) -> None:
    make(tmp_path, n_trials=60, states=dict.fromkeys(range(0, 60, 4), "diverged"), prune="none")
    study = frames.load("s", tmp_path)
    assert divergence.sentence(study) == "Training diverged in 15 of 60 trials."
    found = divergence.fit(study)
    assert found is not None
    assert 0.05 < found.probability({}) < 0.5


def test_few_trials_give_a_soft_border(tmp_path: Path) -> None:
    """Two trials told apart by a hair's breadth: a plain fit would be sure on either side."""
    points = [{RATE: 0.02, STEPS: 3, META_RATE: 0.001}, {RATE: 0.021, STEPS: 3, META_RATE: 0.001}]
    make(tmp_path, n_trials=2, points=points, states={1: "diverged"})
    found = divergence.fit(frames.load("s", tmp_path))
    assert found is not None and found.parameters == (RATE,)
    low, high = found.probability({RATE: [0.02, 0.021]})
    assert 0.02 < low < 0.5 < high < 0.98


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"n_trials": 5}, "None of 5 trials diverged."),
        ({"n_trials": 5, "states": "diverged"}, "All 5 trials diverged."),
        ({"n_trials": 1}, "It did not diverge."),
        ({"n_trials": 1, "states": "diverged"}, "The only trial diverged."),
        ({"n_trials": 0}, ""),
        ({"n_trials": 3, "states": "waiting"}, ""),
    ],
)
def test_no_model_of_none_or_all(settings: dict[str, Any], words: str, tmp_path: Path) -> None:
    make(tmp_path, **settings)
    study = frames.load("s", tmp_path)
    assert divergence.fit(study) is None and divergence.sentence(study) == words


def test_no_model_without_the_three(tmp_path: Path) -> None:
    """A rate that is a choice of words is no number."""
    space = {"x.much": "interval(0.0, 1.0)", RATE: "0.1,fast"}
    make(tmp_path, space=space, n_trials=8, states={2: "diverged"},
         objective=lambda values, step: 1.0)  # fmt: skip
    study = frames.load("s", tmp_path)
    assert divergence.fit(study) is None
    assert divergence.sentence(study) == "Training diverged in 1 of 8 trials."
