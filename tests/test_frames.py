"""The frames say what the storage and the files say, in the types they promise."""

from __future__ import annotations

import math
import subprocess
import sys
from datetime import UTC
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import studies as fake
import synthetic
from composing import ROOT
from optuna.distributions import FloatDistribution, IntDistribution
from optuna.trial import TrialState, create_trial
from planned import CONFIG, FOUR, make_space
from simulated import BATCH, META_RATE, RATE, STEPS

from maml_sweep.analysis import frames
from maml_sweep.analysis.columns import TABLES
from maml_sweep.analysis.frames import Frames
from maml_sweep.analysis.merging import merged
from maml_sweep.files import write_atomic
from maml_sweep.search import records
from maml_sweep.search import study as studies

STATES = {1: "pruned", 2: "diverged", 3: "running", 4: "waiting", 5: "failed", 6: "retried"}
GROUPS: dict[str, Any] = {
    "optimizer": {
        "adam": {"model.widths": "[8],[16,16]"},
        "sgd": {"optimizer.momentum": "0,0.9", META_RATE: "interval(0.01, 0.1)"},
    }
}


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Frames:
    """Every state, in two branches that know different keys."""
    root = tmp_path_factory.mktemp("mixed")
    points = [{"optimizer": ("adam", "sgd")[slot % 2]} for slot in range(10)]
    return frames.load(
        synthetic.make(root, n_trials=10, states=STATES, groups=GROUPS, points=points)
    )


def opened(folder: Path) -> Any:
    return studies.open_study(studies.storage_url(None, folder), folder.name)


def row(frame: pd.DataFrame, slot: int) -> Any:
    return frame.set_index("slot").loc[slot]


# -- types ------------------------------------------------------------------------------------


@pytest.mark.parametrize("table", TABLES)
def test_columns_and_types_are_those_promised(table: str, mixed: Frames, tmp_path: Path) -> None:
    empty = frames.load(synthetic.make(tmp_path, n_trials=0))
    unbegun = frames.load(synthetic.make(tmp_path, "u", n_trials=3, states="waiting"))
    promised = {name: pd.Series(dtype=kind).dtype for name, (kind, _) in TABLES[table].items()}
    for study in (mixed, empty, unbegun):
        frame = getattr(study, table)
        assert dict(frame.dtypes.iloc[: len(promised)]) == promised
        assert list(frame.index) == list(range(len(frame)))
        if table != "trials":
            assert list(frame) == list(promised)
    assert list(frames.COLUMNS[table]) == list(promised)
    assert all(text for text in frames.COLUMNS[table].values())


def test_parameters_have_a_column_each_typed_by_their_distributions(mixed: Frames) -> None:
    own = mixed.trials.dtypes.iloc[len(TABLES["trials"]) :]
    assert list(own.index) == ["optimizer", RATE, STEPS, META_RATE, BATCH, "model.widths",
                               "optimizer.momentum"]  # fmt: skip
    assert [str(each) for each in own] == ["category", "float64", "Int64", "float64", "Int64",
                                           "category", "float64"]  # fmt: skip
    assert list(mixed.trials["model.widths"].cat.categories) == ["[8]", "[16,16]"]


def test_a_key_with_a_column_s_name_gets_one_of_its_own(tmp_path: Path) -> None:
    study = frames.load(synthetic.make(tmp_path, n_trials=2, space={"value": "1,5,6"}))
    assert study.trials["value"].dtype == "float64"
    assert list(study.trials["value_"].cat.categories) == ["1", "5", "6"]


def test_the_smallest_and_the_oddest_studies_have_all_frames(tmp_path: Path) -> None:
    odd = {'<b>"&é': FloatDistribution(0.0, 1.0)}
    studies: dict[str, dict[str, Any]] = {
        "none": {"n_trials": 0},
        "one": {"n_trials": 1},
        "pruned": {"states": "pruned"},
        "diverged": {"states": "diverged"},
        "odd": {"space": odd},
    }
    for name, options in studies.items():
        settings = {"n_trials": 4} | options
        study = frames.load(synthetic.make(tmp_path, name, **settings))
        sizes = {table: len(getattr(study, table)) for table in TABLES}
        assert sizes["trials"] == sizes["cost"] == settings["n_trials"]
    assert '<b>"&é' in study.trials


# -- trials -----------------------------------------------------------------------------------


def test_trials_are_optuna_s(tmp_path: Path) -> None:
    folder = synthetic.make(tmp_path, n_trials=12, diverge=lambda values: values[RATE] > 0.03)
    study = frames.load(folder)
    trials = opened(folder).get_trials()
    assert len(study.trials) == len(trials) == 12
    for trial in trials:
        found = row(study.trials, trial.user_attrs["slot"])
        assert found["number"] == trial.number
        complete = trial.state == TrialState.COMPLETE
        assert (found["value"] == trial.value) if complete else math.isnan(found["value"])
        assert {key: found[key] for key in trial.params} == trial.params
        assert found["started"] == trial.datetime_start.astimezone(UTC)
        assert found["finished"] == trial.datetime_complete.astimezone(UTC)
        for key in ("iterations", "tasks", "seconds", "worker", "known_results", "trial_seed"):
            assert found[key] == trial.user_attrs[key]
        finite = [x for x in trial.intermediate_values.values() if math.isfinite(x)]
        assert (found["last"], found["best_value"]) == (finite[-1], min(finite))
        assert found["step"] == trial.last_step
        curve = study.curve(trial.user_attrs["slot"])
        assert dict(zip(curve["step"], curve["value"], strict=True)) == pytest.approx(
            trial.intermediate_values, nan_ok=True
        )
    states = study.trials["state"].value_counts()
    assert states["diverged"] == sum("diverged" in trial.user_attrs for trial in trials) > 0


def test_states_and_what_lacks(mixed: Frames) -> None:
    states = mixed.trials["state"].astype(str)
    assert {slot: states[slot] for slot in STATES} == STATES | {6: "complete"}
    waiting, failed, diverged = (row(mixed.trials, slot) for slot in (4, 5, 2))
    assert waiting["branch"] == waiting["worker"] == "" and waiting["attempts"] == 0
    assert waiting[["step", "iterations", RATE, "finished"]].isna().all()
    assert failed["attempts"] == 4 and failed["reason"] == "it ran out of memory"
    assert (diverged["diverged"], diverged["step"], diverged["best_step"]) == (175, 200, 100)
    assert math.isnan(diverged["value"]) and diverged["last"] == diverged["best_value"]
    assert list(mixed.curve(2)["value"].isna()) == [False, True]


def test_a_retry_goes_on_with_its_slot(tmp_path: Path) -> None:
    """Slot 1 is begun by `a`, which dies after the first rung, and finished by `b`."""
    folder = synthetic.make(tmp_path, n_trials=2, states={1: "waiting"}, rungs=(100, 200, 300))
    study = opened(folder)
    claims = fake.claims(study, folder, "a")
    trial = fake.take(claims)
    drawn = frames.load(folder).searched.suggest(trial)
    fake.report(claims, trial, 3.0, 100)
    fake.kill(study, "a")
    other = fake.claims(study, folder, "b")
    other.reconcile()
    again = fake.take(other)
    assert frames.load(folder).searched.suggest(again) == drawn
    for step, value in {100: 9.0, 200: 2.0, 300: 2.5}.items():
        fake.report(other, again, value, step)
    other.finish(again, value=2.5, state=TrialState.COMPLETE, attrs={"iterations": 300})

    after = frames.load(folder)
    found = row(after.trials, 1)
    assert len(after.trials) == 2 and found["number"] == 2 and found["attempts"] == 2
    assert (found["state"], found["worker"], found["value"]) == ("complete", "b", 2.5)
    assert (found["best_value"], found["best_step"]) == (2.0, 200)
    assert list(after.curve(1)["value"]) == [3.0, 2.0, 2.5]  # what was reported first stands
    assert list(after.curve(1)["rung"]) == [0, 1, 2]
    assert {key: found[key] for key in drawn} == drawn
    assert dict(after.workers.set_index("worker")["trials"])["a"] == 1


def test_attempts_are_joined_and_the_later_one_stands_for_the_slot() -> None:
    """A slot whose retry knew nothing of the first attempt."""
    plan, space = fake.plan(n_trials=1), make_space({RATE: FOUR[RATE]}, {})
    attempts = [
        create_trial(state=state, user_attrs={"slot": 0, "worker": "w"}, intermediate_values=curve)
        for state, curve in (
            (TrialState.FAIL, {100: 3.0, 200: 2.0}),
            (TrialState.PRUNED, {300: 1.0}),
        )
    ]
    (slot,) = merged(attempts, plan, space)
    assert (slot.state, slot.attempts, slot.trial) == ("pruned", 2, attempts[1])
    assert slot.curve == {100: 3.0, 200: 2.0, 300: 1.0}


def test_a_loss_and_an_accuracy_have_opposite_signs(tmp_path: Path) -> None:
    rising = synthetic.make(
        tmp_path, n_trials=3, direction="maximize", metric="accuracy", prune="none",
        objective=lambda values, step: 0.9 - abs(step - 700) / 1e4,
    )  # fmt: skip
    study = frames.load(rising)
    assert (study.sign, study.direction, study.metric) == (-1, "maximize", "accuracy")
    assert set(study.trials["best_step"]) == {700}
    assert (study.trials["best_value"] == 0.9).all()


def test_iterations_of_a_running_trial_follow_its_budget(tmp_path: Path) -> None:
    """With a budget of tasks, 100 steps of 25 tasks are 250 iterations of 10."""
    config = CONFIG | {"training": {"budget": "tasks", "reference_meta_batch_size": 25}}
    folder = synthetic.make(
        tmp_path, n_trials=1, states="running", rungs=(100, 200), config=config,
        space={BATCH: IntDistribution(10, 10)},
    )  # fmt: skip
    found = row(frames.load(folder).trials, 0)
    assert (found["step"], found["iterations"], found["tasks"]) == (100, 250, 2500)


# -- parameters -------------------------------------------------------------------------------


def test_places_within_the_space(tmp_path: Path) -> None:
    points = [
        {RATE: 1e-3, STEPS: 1, "model.activation": "relu", "model.widths": [8]},
        {RATE: 1e-2, STEPS: 3, "model.activation": "tanh", "model.widths": [8, 8]},
        {RATE: 1e-1, STEPS: 5, "model.activation": "elu", "model.widths": [16]},
    ]
    space = {
        **{key: FOUR[key] for key in (RATE, STEPS)},
        "model.activation": "relu,tanh,elu",
        "model.widths": "[8],[16],[8,8]",
    }
    study = frames.load(synthetic.make(tmp_path, n_trials=3, points=points, space=space))
    places = study.parameters.pivot_table(index="slot", columns="parameter", values="unit")
    assert places[RATE].tolist() == pytest.approx([0.0, 0.5, 1.0])
    assert places[STEPS].tolist() == [0.0, 0.5, 1.0]
    assert places["model.activation"].tolist() == [0.0, 0.5, 1.0]
    assert places["model.widths"].tolist() == [0.0, 1.0, 0.5]
    words = study.parameters.set_index(["slot", "parameter"])["value"]
    assert words[1, "model.widths"] == "[8,8]" and words[1, STEPS] == "3"
    numbers = study.parameters.set_index(["slot", "parameter"])["number"]
    assert numbers[1, RATE] == 1e-2 and math.isnan(numbers[1, "model.widths"])


def test_a_key_of_one_branch_lacks_in_the_others(mixed: Frames) -> None:
    sgd = mixed.trials["branch"] == "sgd"
    assert sgd.sum() == 5
    assert (mixed.trials["optimizer"] == "sgd").equals(sgd)
    assert mixed.trials["optimizer.momentum"].notna().equals(sgd)
    # stored as two parameters, as their scales differ
    assert mixed.trials.loc[sgd, META_RATE].between(0.01, 0.1).all()
    assert mixed.trials.loc[mixed.trials["branch"] == "adam", META_RATE].between(3e-4, 1e-2).all()
    assert set(mixed.parameters["parameter"]) == set(mixed.space["parameter"])


def test_the_space_as_a_frame(mixed: Frames) -> None:
    space: Any = mixed.space.set_index(["branch", "parameter"])
    assert space.loc[("", "optimizer"), "choices"] == "adam | sgd"
    rate = space.loc[("adam", RATE)]
    assert (rate["kind"], rate["low"], rate["high"], rate["log"]) == ("float", 1e-3, 0.1, True)
    assert math.isnan(rate["step"])
    steps = space.loc[("sgd", STEPS)]
    assert (steps["kind"], steps["low"], steps["high"], steps["step"]) == ("int", 1, 5, 1)
    assert space.loc[("adam", "model.widths"), "choices"] == "[8] | [16,16]"
    assert not space.loc[("sgd", META_RATE), "log"]


def test_the_configuration_of_a_slot(tmp_path: Path) -> None:
    configs = {name: {"optimizer": {"kind": name, "meta_lr": 0.5}} for name in ("adam", "sgd")}
    points = [{"optimizer": "adam"}, {"optimizer": "sgd"}]
    folder = synthetic.make(tmp_path, n_trials=2, groups=GROUPS, points=points, configs=configs)
    study = frames.load(folder)
    for slot, name in enumerate(("adam", "sgd")):
        config = study.config(slot)
        assert config["optimizer"]["kind"] == name
        assert config["optimizer"]["meta_lr"] == study.trials[META_RATE][slot]
        assert config["algorithm"] == {
            "inner_lr": study.trials[RATE][slot],
            "inner_steps": study.trials[STEPS][slot],
        }
        assert config["trial_seed"] == study.trials["trial_seed"][slot]
    assert study.plan.configs == configs  # not written into


# -- evaluations ------------------------------------------------------------------------------


def test_validation_and_rungs_are_the_evaluations(mixed: Frames) -> None:
    ended = mixed.trials[mixed.trials["state"].isin(["complete", "pruned"])]
    assert list(mixed.evaluations) == list(ended["slot"])
    means = mixed.validation.groupby("slot")["value"].mean()
    assert means.to_numpy() == pytest.approx(ended["last"].to_numpy(), rel=1e-12)
    rungs = mixed.rung_tasks.groupby(["slot", "step"])["value"].mean()
    values = mixed.values.set_index(["slot", "step"])["value"]
    assert rungs.to_dict() == pytest.approx({key: values[key] for key in rungs.index})
    with np.load(mixed.folder / "evaluations" / "7.npz") as file:
        assert (mixed.per_task([1, 7])[1] == file["rung_metric"][-1]).all()
    assert mixed.per_task([]).shape == (0, 0)
    with pytest.raises(KeyError):
        mixed.per_task([2])


def test_the_interval_of_an_adaptation_curve(tmp_path: Path) -> None:
    """Two tasks: mean 2, sd √2, and the 97.5% quantile of t with one degree is 12.7062."""
    folder = synthetic.make(tmp_path, n_trials=2, prune="none", evaluations=False)
    metric = np.array([[1.0, 3.0], [2.0, 2.0], [0.0, 4.0]])
    records.write_evaluation(folder, 0, metric=metric, rung_step=[100], rung_metric=metric[:1])
    write_atomic(folder / "evaluations" / "1.npz", b"torn")  # is passed over
    study = frames.load(folder)
    found = study.adaptation
    assert list(found["step"]) == [0, 1, 2] and set(found["own_steps"]) == {1}
    assert list(found["mean"]) == [2.0, 2.0, 2.0]
    assert found["sd"].tolist() == pytest.approx([math.sqrt(2), 0, 2 * math.sqrt(2)])
    half = [12.7062, 0, 2 * 12.7062]
    assert (found["high"] - 2).tolist() == pytest.approx(half, rel=1e-5)
    assert (2 - found["low"]).tolist() == pytest.approx(half, rel=1e-5)


def test_one_task_has_no_interval(tmp_path: Path) -> None:
    study = frames.load(synthetic.make(tmp_path, n_trials=1, tasks=1))
    assert study.adaptation[["sd", "low", "high"]].isna().all(axis=None)
    assert study.adaptation["mean"].notna().all()


def test_gradient_steps_are_tasks_times_inner_steps(tmp_path: Path) -> None:
    study = frames.load(synthetic.make(tmp_path, n_trials=3))
    trials = study.trials
    expected = trials["iterations"] * trials[BATCH] * trials[STEPS]
    assert study.cost["gradient_steps"].tolist() == expected.tolist()


# -- workers ----------------------------------------------------------------------------------


def test_turns_pass_over_a_torn_line(tmp_path: Path) -> None:
    folder = synthetic.make(tmp_path, n_trials=4, workers=2, pack=2)
    before = frames.load(folder).turns
    assert before["started"].is_monotonic_increasing and before["worker"].nunique() == 2
    total = frames.load(folder).trials["iterations"].sum()
    assert before["trial_iterations"].sum() == total
    file = folder / "turns" / f"{before['worker'][0]}.csv"
    file.write_text(
        file.read_text() + "1750000099.5,0.1,0.1,0,0,3,1,100,100,1"
    )  # no line end: torn
    (folder / "turns" / "notes.csv").write_text("a,b\n1,2\n")
    pd.testing.assert_frame_equal(frames.load(folder).turns, before)


@pytest.mark.parametrize(("lease", "alive"), [("live", True), ("dead", False), ("retired", False)])
def test_workers(tmp_path: Path, lease: str, alive: bool) -> None:
    study = frames.load(synthetic.make(tmp_path, n_trials=6, workers=2, lease=lease))
    assert list(study.workers["alive"]) == [alive, alive]
    assert study.workers["trials"].sum() == 6
    assert study.workers["expires"].isna().tolist() == [lease == "retired"] * 2


def test_frames_need_no_tensorflow() -> None:
    code = "import sys, maml_sweep.analysis.export; print('tensorflow' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout == "False\n"
