"""Winners trained again from fresh seeds: undisturbed, interrupted and killed."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sweeping import SMALL, Sweep, interrupt_after, sweep, train
from winning import files, quick, results, short_calls

import maml_sweep
from maml_sweep import streams
from maml_sweep.search.interruption import Interrupted, Interruption
from maml_sweep.search.study import plan_of
from maml_sweep.training.pack import Trainer
from maml_sweep.training.parts import Iterations
from maml_sweep.winners.choice import Request, choose, fresh_seed
from maml_sweep.winners.outcome import Outcome, lines
from maml_sweep.winners.retrain import retrain

# Two structures; every trial to its end: 20 iterations, rungs at 10 and 20.
STUDY = (
    *SMALL,
    "training.iterations=20",
    "algorithm.first_order=true,false",
    "study.n_trials=6",
    "sampler=random",
    "pruner=none",
)
TASKS = 9
FOUR_WINNERS = Request(top=4, seeds=2, tasks=TASKS)


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Sweep:
    """Six complete trials of two structures; the four best are of both."""
    return sweep(tmp_path_factory.mktemp("outputs"), *STUDY)


@pytest.fixture(autouse=True)
def _quick(study: Sweep, monkeypatch: pytest.MonkeyPatch) -> None:
    quick(monkeypatch)


@pytest.fixture(scope="module")
def trained(study: Sweep, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Outcome]]:
    """`FOUR_WINNERS`, undisturbed: the folder, and what came of them."""
    folder = tmp_path_factory.mktemp("trained")
    with pytest.MonkeyPatch.context() as patch:
        quick(patch)
        return folder, retrain(study.study, folder, FOUR_WINNERS, Interruption())


def assert_same(found: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    """The same outcomes, to the last bit: an mlp is the same in any company."""
    assert found["winners"] == wanted["winners"]


# -- undisturbed ------------------------------------------------------------------------------


def test_the_best_are_trained_from_seeds_of_their_own(
    study: Sweep, trained: tuple[Path, list[Outcome]]
) -> None:
    _, found = trained
    values = {int(row["slot"]): float(row["value"]) for row in study.rows}
    best = sorted(values, key=lambda slot: values[slot])[:4]
    assert [each.winner.slot for each in found] == best
    assert [each.winner.value for each in found] == pytest.approx([values[slot] for slot in best])
    assert {each.winner.parameters["algorithm.first_order"] for each in found} == {True, False}
    seeds = [seed for each in found for seed in each.seeds.values()]
    searched = {streams.trial_seed(0, slot) for slot in range(6)}
    searched |= {streams.repeat_seed(seed, k) for seed in searched for k in range(1, 4)}
    assert len(set(seeds)) == 8 and not searched & set(seeds)
    assert seeds[1] == streams.derive_seed("winner", 0, best[0], 1)


def test_the_best_of_each(study: Sweep) -> None:
    """One winner an option, best first: what a study over algorithms is read by."""
    found = choose(study.study, plan_of(study.study), Request(each="algorithm.first_order"))
    values: dict[str, list[tuple[float, int]]] = {}
    for row in study.rows:
        pair = (float(row["value"]), int(row["slot"]))
        values.setdefault(row["algorithm.first_order"], []).append(pair)
    best = sorted(min(pairs) for pairs in values.values())
    assert len(best) == 2
    assert [(each.value, each.slot) for each in found] == best


def test_a_training_is_that_of_run_with_its_seed(trained: tuple[Path, list[Outcome]]) -> None:
    """`hydra.mode=RUN` with the winner's parameters and a fresh seed gives its validation value."""
    best = trained[1][0]
    fixed = [x for x in STUDY if "=range" not in x and "=tag" not in x and "true,false" not in x]
    values = [f"{key}={value}" for key, value in best.winner.parameters.items()]
    for index, seed in best.seeds.items():
        value = train(*fixed, *values, f"trial_seed={seed}")
        assert best.validation[index] == pytest.approx(value, rel=1e-5)


def test_intervals_by_hand(trained: tuple[Path, list[Outcome]]) -> None:
    """From the stored metric of every seed, step and task; t(8) = 2.306, t(1) = 12.706."""
    folder, found = trained
    for entry, each in zip(results(folder)["winners"], found, strict=True):
        steps = each.winner.parameters["algorithm.inner_steps"]
        with np.load(folder / "winners" / f"{each.winner.slot}.npz") as file:
            metric = file["metric"]
        assert metric.shape == (2, 2 * steps + 1, TASKS)
        assert entry["steps"] == steps
        tasks, seeds = metric[:, steps].mean(axis=0), metric[:, steps].mean(axis=1)
        test = entry["meta_test"]
        assert test["over_tasks"] == {
            "mean": pytest.approx(tasks.mean()),
            "half_width": pytest.approx(2.306004 * tasks.std(ddof=1) / 3),
            "n": 9,
        }
        assert test["over_seeds"] == {
            "mean": pytest.approx(tasks.mean()),
            "half_width": pytest.approx(12.706205 * abs(seeds[0] - seeds[1]) / 2),
            "n": 2,
        }
        assert [seed["meta_test"] for seed in entry["seeds"]] == pytest.approx(list(seeds))
        curve = [point["mean"] for point in test["adaptation"]]
        assert curve == pytest.approx(list(metric.mean(axis=(0, 2))))


def test_loaded_weights_give_the_printed_numbers(trained: tuple[Path, list[Outcome]]) -> None:
    folder, found = trained
    for each in found:
        for index, curve in each.curves.items():
            of = maml_sweep.load(folder / "winners" / f"{each.winner.slot}-{index}.npz")
            np.testing.assert_allclose(of.evaluate(tasks=TASKS), curve[each.steps], rtol=1e-6)
            assert (
                of.meta.test["mean"] == each.each[index] == pytest.approx(curve[each.steps].mean())
            )
            assert (of.meta.slot, of.meta.index, of.meta.iterations) == (
                each.winner.slot,
                index,
                20,
            )


def test_twice_gives_the_same_files(
    study: Sweep, trained: tuple[Path, list[Outcome]], tmp_path: Path
) -> None:
    retrain(study.study, tmp_path, FOUR_WINNERS, Interruption())
    assert files(tmp_path) == files(trained[0])
    assert len(files(tmp_path)) == 4 * 3 + 1  # no checkpoint is left
    for name in files(tmp_path):
        if name.endswith("json"):
            assert (tmp_path / name).read_bytes() == (trained[0] / name).read_bytes()
            continue
        with np.load(tmp_path / name) as ours, np.load(trained[0] / name) as theirs:
            for array in theirs.files:
                np.testing.assert_array_equal(ours[array], theirs[array])


def test_named_slots_for_other_iterations(
    study: Sweep, trained: tuple[Path, list[Outcome]], tmp_path: Path
) -> None:
    """In the order given, with one seed: the first of those it has anyway."""
    slots = tuple(each.winner.slot for each in trained[1][1::-1])
    request = Request(seeds=1, iterations=25, tasks=TASKS, slots=slots)
    found = retrain(study.study, tmp_path, request, Interruption())
    assert tuple(each.winner.slot for each in found) == slots
    for each in found:
        assert each.iterations == 25
        assert list(each.seeds.values()) == [fresh_seed(plan_of(study.study), each.winner.slot, 0)]
        assert each.over_seeds is not None and each.over_seeds.half is None
        assert "an interval needs 2 seeds or more" in "\n".join(lines(each))
    same = trained[1][1]
    assert found[0].validation[0] != same.validation[0]


# -- disturbed --------------------------------------------------------------------------------


@pytest.fixture(name="short_calls")
def _short_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    short_calls(monkeypatch)


@pytest.mark.usefixtures("short_calls")
@pytest.mark.parametrize("checks", [2, 4, 12, 16])
def test_an_interrupted_training_goes_on(
    study: Sweep,
    trained: tuple[Path, list[Outcome]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    checks: int,
) -> None:
    """Within a rung, at a rung's judging, at the meta-test, in the second pack.

    Of a pack's calls the first four train to its first rung, two judge it, and so on.
    """
    with monkeypatch.context() as patch:
        interrupt_after(patch, checks)
        with pytest.raises(Interrupted):
            retrain(study.study, tmp_path, FOUR_WINNERS, Interruption())
    left = files(tmp_path)
    assert left and all(name.startswith("winners/checkpoints/") for name in left)
    begun = count_iterations(monkeypatch)
    retrain(study.study, tmp_path, FOUR_WINNERS, Interruption())
    assert sum(begun) < 8 * 20  # it did not start anew
    assert_same(results(tmp_path), results(trained[0]))
    assert files(tmp_path) == files(trained[0])


def count_iterations(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Notes how many iterations each call trains, of all runs together."""
    trained: list[int] = []
    call = Trainer._train

    def note(self: Trainer, part: Iterations, count: int) -> None:
        trained.append(count * len(part.runs))
        call(self, part, count)

    monkeypatch.setattr(Trainer, "_train", note)
    return trained


class Killed(BaseException):
    """Stands for SIGKILL: nothing may catch it."""


@pytest.mark.usefixtures("short_calls")
def test_a_kill_loses_no_more_than_since_the_last_rung(
    study: Sweep,
    trained: tuple[Path, list[Outcome]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Killed when the first pack is at iteration 16 = 3 + 3 + 3 + 1 + 3 + 3, its rung at 10."""
    begun = count_iterations(monkeypatch)
    with monkeypatch.context() as patch:

        def kill(self: Interruption) -> None:
            if sum(begun) >= 16 * pack:
                raise Killed

        pack = sum(
            len(each.seeds)
            for each in trained[1]
            if each.winner.parameters["algorithm.first_order"]
            == trained[1][0].winner.parameters["algorithm.first_order"]
        )
        patch.setattr(Interruption, "check", kill)
        with pytest.raises(Killed):
            retrain(study.study, tmp_path, FOUR_WINNERS, Interruption())
    assert len(list((tmp_path / "winners" / "checkpoints").iterdir())) == pack
    begun.clear()
    retrain(study.study, tmp_path, FOUR_WINNERS, Interruption())
    assert sum(begun) == 8 * 20 - 10 * pack
    assert_same(results(tmp_path), results(trained[0]))


@pytest.mark.usefixtures("short_calls")
def test_a_checkpoint_that_cannot_be_used_costs_a_warning(
    study: Sweep,
    trained: tuple[Path, list[Outcome]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    with monkeypatch.context() as patch:
        interrupt_after(patch, 2)
        with pytest.raises(Interrupted):
            retrain(study.study, tmp_path, FOUR_WINNERS, Interruption())
    first = min((tmp_path / "winners" / "checkpoints").iterdir())
    first.write_bytes(b"torn")
    with caplog.at_level(logging.WARNING):
        retrain(study.study, tmp_path, FOUR_WINNERS, Interruption())
    (warning,) = [each.getMessage() for each in caplog.records if "checkpoint" in each.getMessage()]
    assert str(first) in warning and "starts anew" in warning
    assert_same(results(tmp_path), results(trained[0]))


@pytest.mark.usefixtures("short_calls")
def test_checkpoints_of_other_settings_are_left_alone(
    study: Sweep, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        interrupt_after(patch, 2)
        with pytest.raises(Interrupted):
            retrain(study.study, tmp_path, Request(seeds=1, tasks=TASKS), Interruption())
    left = [name for name in files(tmp_path) if "checkpoints" in name]
    begun = count_iterations(monkeypatch)
    request = Request(seeds=1, iterations=10, tasks=TASKS)
    (found,) = retrain(study.study, tmp_path, request, Interruption())
    assert (sum(begun), found.iterations) == (10, 10)
    assert [name for name in files(tmp_path) if "checkpoints" in name] == left
