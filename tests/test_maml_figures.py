"""The numbers behind the figures that only a MAML sweep has."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import synthetic
from planned import FOUR
from simulated import BATCH, META_RATE, RATE, STEPS

from maml_sweep.analysis import frames
from maml_sweep.analysis.answers import Answers
from maml_sweep.analysis.drawing import marks
from maml_sweep.analysis.figures import adaptation, divergence, hardness, savings, steps_map
from maml_sweep.analysis.figures.knobs import knob

EVERY = (steps_map, divergence, adaptation, hardness, savings)


def answers(root: Path, **changes: Any) -> Answers:
    return Answers(frames.load(synthetic.make(root, **changes)))


def diverges(values: Mapping[str, Any]) -> bool:
    return bool(values[RATE] * values[STEPS] > 0.15)


@pytest.fixture(scope="module")
def usual(tmp_path_factory: pytest.TempPathFactory) -> Answers:
    """Forty trials over the four, those with α·S > 0.15 diverged."""
    root = tmp_path_factory.mktemp("usual")
    return answers(root, n_trials=40, diverge=diverges, tasks=30)


# -- a trial's number -----------------------------------------------------------------------------


def test_a_knob_is_what_was_drawn_or_what_the_configuration_fixes(tmp_path: Path) -> None:
    study = answers(tmp_path, n_trials=5, space={RATE: "interval(0.1, 0.2)"}).frames
    assert knob(study, RATE).tolist() == study.trials[RATE].tolist()
    assert knob(study, META_RATE).tolist() == [0.001] * 5  # CONFIG's
    assert np.isnan(knob(study, "algorithm.nothing")).all()
    assert np.isnan(knob(study, "algorithm.first_order")).all()  # a truth value is no number


def test_a_knob_that_one_branch_searches_is_fixed_in_the_other(tmp_path: Path) -> None:
    groups = {"optimizer": {"adam": {META_RATE: "interval(0.1, 0.2)"}, "sgd": {}}}
    study = answers(tmp_path, n_trials=12, space={}, groups=groups).frames
    rates = knob(study, META_RATE)
    searched = (study.trials["branch"] == "adam").to_numpy()
    assert 0 < searched.sum() < 12
    assert (rates[searched] >= 0.1).all() and (rates[~searched] == 0.001).all()


def test_what_is_not_drawn_yet_has_no_number(tmp_path: Path) -> None:
    study = answers(tmp_path, n_trials=3, states={2: "waiting"}).frames
    assert np.isfinite(knob(study, RATE)).tolist() == [True, True, False]


# -- the map --------------------------------------------------------------------------------------


def test_the_map_holds_every_trial_with_a_standing(usual: Answers) -> None:
    table = steps_map.frame(usual)
    trials = usual.frames.trials.set_index("slot")
    assert sorted(table["slot"]) == sorted(usual.standing.index)
    assert (table["alpha"] == trials.loc[table["slot"], RATE].to_numpy()).all()
    assert (table["steps"] == trials.loc[table["slot"], STEPS].to_numpy()).all()
    assert (table["product"] == table["alpha"] * table["steps"]).all()
    assert (table["standing"] == usual.standing[table["slot"]].to_numpy()).all()


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0.0011, 0.6, [0.003, 0.01, 0.03, 0.1, 0.3]),
        (0.04, 0.6, [0.05, 0.1, 0.2, 0.5]),
        (1e-6, 1.0, [1e-6, 1e-4, 1e-2, 1.0]),
        (0.011, 0.019, []),
    ],
)
def test_iso_lines_lie_at_round_products(low: float, high: float, expected: list[float]) -> None:
    assert steps_map.products(low, high) == pytest.approx(expected)


def test_an_iso_line_has_one_product_and_stays_among_the_trials(usual: Answers) -> None:
    drawn = steps_map.figure(usual)
    assert isinstance(drawn, marks.Figure)
    table = steps_map.frame(usual)
    lines = [mark for mark in drawn.panels[0].marks if isinstance(mark, marks.Line)]
    assert len(lines) >= 2
    for line in lines:
        x, y = np.asarray(line.x), np.asarray(line.y)
        assert np.ptp(x * y) == pytest.approx(0, abs=1e-12)
        assert x.min() >= table["alpha"].min() and x.max() <= table["alpha"].max()
        assert line.text is not None and f"{x[0] * y[0]:g}" in line.text[0]


def test_the_map_takes_a_fixed_number_of_steps(tmp_path: Path) -> None:
    space = {RATE: FOUR[RATE], BATCH: FOUR[BATCH]}
    table = steps_map.frame(answers(tmp_path, n_trials=6, space=space))
    assert set(table["steps"]) == {1.0} and len(set(table["alpha"])) == 6


def test_the_map_says_so_when_both_are_fixed(tmp_path: Path) -> None:
    drawn = steps_map.figure(answers(tmp_path, n_trials=6, space={BATCH: FOUR[BATCH]}))
    assert isinstance(drawn, marks.Words) and "α = 0.01 and 1 inner step" in drawn.text


# -- divergence -----------------------------------------------------------------------------------


def test_the_trials_that_diverged_are_marked(usual: Answers) -> None:
    table = divergence.frame(usual)
    assert len(table) == len(usual.frames.trials)
    assert (table["x"] == table["alpha"] * table["steps"]).all()
    assert (table["y"] == usual.frames.trials[META_RATE]).all()
    assert 0 < table["diverged"].sum() < len(table)
    assert (table["diverged"] == (table["x"] > 0.15)).all()
    assert (table["diverged"] == table["iteration"].notna()).all()
    drawn = divergence.figure(usual)
    assert isinstance(drawn, marks.Figure)
    points = [mark for mark in drawn.panels[0].marks if isinstance(mark, marks.Points)]
    shown = {mark.name: sorted(np.asarray(mark.slots).tolist()) for mark in points}
    expected = table.groupby("diverged")["slot"].apply(sorted)
    assert shown == {"diverged": expected[True], "did not": expected[False]}


def test_where_beta_is_fixed_the_plane_is_that_of_alpha_and_steps(tmp_path: Path) -> None:
    space = {RATE: FOUR[RATE], STEPS: FOUR[STEPS]}
    table = divergence.frame(answers(tmp_path, n_trials=30, space=space, diverge=diverges))
    assert (table["x"] == table["alpha"]).all() and (table["y"] == table["steps"]).all()


class Wall:
    """A model that answers with a known probability: 1 if α·steps > 0.15 or β > 0.005."""

    def probability(self, values: Mapping[str, Any]) -> np.ndarray:
        beyond = values.get(RATE, 0.01) * values[STEPS] > 0.15
        return np.where(beyond | (values.get(META_RATE, 0.0) > 0.005), 1.0, 0.0)


def test_the_heat_is_the_models_probability(
    usual: Answers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(usual, "divergence", Wall())
    table = divergence.frame(usual)
    x, y, z = divergence.grid(usual, table)
    assert x[0] < table["x"].min() and x[-1] > table["x"].max()
    assert z.shape == (len(y), len(x))
    assert (z == ((x > 0.15) | (y[:, np.newaxis] > 0.005))).all()
    drawn = divergence.figure(usual)
    assert isinstance(drawn, marks.Figure) and isinstance(drawn.panels[0].marks[0], marks.Heat)


def test_the_heat_over_alpha_and_steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    space = {RATE: FOUR[RATE], STEPS: "1,5"}
    study = answers(tmp_path, n_trials=30, space=space, diverge=diverges)
    monkeypatch.setattr(study, "divergence", Wall())
    x, y, z = divergence.grid(study, divergence.frame(study))
    assert y.tolist() == [1, 2, 3, 4, 5]
    assert (z == (x * y[:, np.newaxis] > 0.15)).all()


def test_the_fitted_probability_follows_the_border(usual: Answers) -> None:
    assert usual.divergence is not None
    x, _, z = divergence.grid(usual, divergence.frame(usual))
    assert z.min() >= 0 and z.max() <= 1
    assert z[:, x > 0.2].mean() > 0.5 > z[:, x < 0.1].mean()


def test_the_heat_where_alpha_is_fixed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """α is 0.01, so more than 15 steps are beyond."""
    space = {STEPS: "range(1, 31)", META_RATE: "tag(log, interval(1e-4, 1e-3))"}
    study = answers(tmp_path, n_trials=30, space=space)
    monkeypatch.setattr(study, "divergence", Wall())
    x, _, z = divergence.grid(study, divergence.frame(study))
    assert (z == (x > 0.15)).all()


# -- adaptation -----------------------------------------------------------------------------------


def test_the_best_trials_curves_go_to_twice_their_steps(usual: Answers) -> None:
    table = adaptation.frame(usual)
    trials = usual.frames.trials
    best = trials.dropna(subset=["value"]).nsmallest(4, "value").set_index("slot")
    assert list(dict.fromkeys(table["slot"])) == list(best.index)
    for slot, own in best[STEPS].items():
        curve = table[table["slot"] == slot]
        assert curve["step"].tolist() == list(range(2 * int(own) + 1))
        judged = curve.loc[curve["step"] == own, "mean"].item()
        assert judged == pytest.approx(best.at[slot, "value"], rel=1e-6)
        assert (curve["low"] < curve["mean"]).all() and (curve["mean"] < curve["high"]).all()


def test_the_best_of_a_score_is_the_greatest(tmp_path: Path) -> None:
    study = answers(
        tmp_path,
        n_trials=8,
        direction="maximize",
        metric="accuracy",
        objective=lambda values, step: 0.5 + values[RATE],
        prune="none",
    )
    values = study.frames.trials.set_index("slot")["value"]
    assert adaptation.best_slots(study, 2) == values.nlargest(2).index.tolist()


# -- hardness -------------------------------------------------------------------------------------


def test_tasks_are_ordered_from_the_hardest(usual: Answers) -> None:
    table = hardness.frame(usual)
    slots, each = hardness.values(usual)
    assert (each == usual.frames.per_task(slots)).all()
    assert table["mean"].tolist() == sorted(each.mean(axis=0), reverse=True)
    assert (table["worst"] == each.max(axis=0)[table["task"]]).all()
    assert (table["best"] == each.min(axis=0)[table["task"]]).all()
    assert (table[f"slot {slots[0]}"] == each[0][table["task"]]).all()


def test_the_hardest_tasks_of_a_score_have_the_least(tmp_path: Path) -> None:
    study = answers(tmp_path, n_trials=5, direction="maximize", prune="none")
    table = hardness.frame(study)
    assert table["mean"].is_monotonic_increasing
    assert (table["worst"] <= table["best"]).all()


def test_agreement_is_the_rank_correlation() -> None:
    """Ranks 1 2 3 4 against 1 2 4 3: 1 - 6·2 / (4·15) = 0.8."""
    assert hardness.agreement(np.array([[1.0, 2, 3, 4], [0.1, 0.2, 40, 30]])) == pytest.approx(0.8)
    assert np.isnan(hardness.agreement(np.array([[1.0, 2, 3]])))
    assert np.isnan(hardness.agreement(np.array([[1.0, 1, 1], [1, 2, 3]])))


def test_the_words_compare_the_hardest_tenth(usual: Answers) -> None:
    """The synthetic tasks share three quarters of their effects, so trials agree."""
    mean = hardness.frame(usual)["mean"]
    assert f"The hardest 3 of 30 tasks average mse {mean[:3].mean():.4g}" in hardness.words(usual)
    assert "mostly agree" in hardness.words(usual)


# -- savings --------------------------------------------------------------------------------------


def test_savings_stand_beside_what_it_would_have_cost(usual: Answers) -> None:
    table = savings.frame(usual).set_index("label")["amount"]
    trials = usual.frames.trials
    done = trials["iterations"].sum()
    assert table["as it was"] == done
    lost = trials.loc[trials["state"] == "diverged", "iterations"].sum()
    went_on = int((trials["state"] != "diverged").sum())
    assert table["every trial to its end"] == 2000 * went_on + lost
    packing = usual.savings.packing
    assert table.get("in packs") == packing.packed_seconds
    drawn = savings.figure(usual)
    assert isinstance(drawn, marks.Figure) and usual.savings.pruning_words in drawn.note


# -- odd studies ----------------------------------------------------------------------------------

ONE = {"task.shots": "range(1, 20)"}
ODD: dict[str, dict[str, Any]] = {
    "none": {"n_trials": 0},
    "one": {"n_trials": 1},
    "waiting": {"n_trials": 3, "states": "waiting"},
    "running": {"n_trials": 4, "states": "running", "lease": "alive"},
    "all pruned": {"n_trials": 6, "states": "pruned"},
    "all diverged": {"n_trials": 6, "states": "diverged"},
    "one parameter": {"n_trials": 6, "space": ONE},
    "no files": {"n_trials": 6, "evaluations": False, "turns": False},
    "no algorithm": {
        "n_trials": 6,
        "config": {"task": {"shots": 1}},
        "space": {"task.shots": "1,2"},
    },
}


@pytest.mark.parametrize("odd", ODD)
@pytest.mark.parametrize("module", EVERY, ids=lambda module: module.KEY)
def test_odd_studies_get_a_figure_or_words(tmp_path: Path, odd: str, module: Any) -> None:
    drawn = module.figure(answers(tmp_path, **ODD[odd]))
    assert (drawn.key, drawn.title) == (module.KEY, module.TITLE)
    if isinstance(drawn, marks.Words):
        assert len(drawn.text) > 20 and drawn.text.endswith(".")
    else:
        assert drawn.panels and all(panel.marks for panel in drawn.panels)


@pytest.mark.parametrize("odd", ["none", "waiting"])
def test_a_study_without_results_has_only_words(tmp_path: Path, odd: str) -> None:
    study = answers(tmp_path, **ODD[odd])
    assert all(isinstance(module.figure(study), marks.Words) for module in EVERY)
