"""A trial is itself in any company: alone, packed, moved, interrupted, and in another program."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from numerics import Patterns, program, settings, sinusoid_program

from maml_sweep import streams
from maml_sweep.models import Conv4
from maml_sweep.training import checkpoint, trial
from maml_sweep.training.pack import Run, Trainer
from maml_sweep.training.program import Program
from maml_sweep.training.settings import Settings
from maml_sweep.training.trial import Trial

BOUND = 3
SEED = streams.trial_seed(0, 11)


def hero(iterations: int) -> Settings:
    """The trial that is followed: four rungs."""
    rungs = range(iterations // 4, iterations + 1, iterations // 4)
    return settings(0.02, 2, batch=4, rungs=rungs, kind="adam", meta_lr=1e-2, schedule="cosine")


def strangers(iterations: int) -> list[Settings]:
    """Seven that share nothing with it but the program; the sixth diverges at once."""
    rungs = (iterations,)
    return [
        settings(0.03, 3, batch=2, rungs=rungs, kind="sgd", meta_lr=1e-3, momentum=0.9),
        settings(0.001, 1, batch=9, rungs=rungs, kind="adamw", meta_lr=1e-2),
        settings(0.05, 2, batch=4, rungs=rungs, kind="adam", meta_lr=1e-4),
        settings(0.01, 2, batch=1, rungs=rungs, kind="adam", meta_lr=1e-3),
        settings(0.03, 3, batch=5, rungs=rungs, kind="sgd", meta_lr=1e-2, nesterov=True),
        settings(1e6, 2, batch=3, rungs=rungs, kind="adam", meta_lr=1e-3),
        settings(0.02, 1, batch=7, rungs=rungs, kind="adam", meta_lr=1e-3, clip=0.5),
    ]


def follow(
    trainer: Trainer,
    followed: Trial,
    company: Sequence[Run] = (),
    *,
    place: int = 0,
    until: int | None = None,
    tasks: int = 20,
) -> None:
    """Trains and judges a trial among runs that go as far as it does.

    Args:
      trainer: of its program.
      followed: is trained on from where it stands.
      company: trained beside it.
      place: how many of them stand before it.
      until: the iteration to stop at; None: its last rung.
      tasks: to be judged on.
    """
    runs = [*company[:place], *followed.runs, *company[place:]]
    while not followed.finished:
        goal = min(followed.next_rung.iteration, until or math.inf)
        for _ in trainer.advance(runs, [int(goal)] * len(runs)):
            pass
        if goal < followed.next_rung.iteration:
            return
        trial.judge(trainer, [followed], 0, tasks)


def company(of: Program, iterations: int) -> list[Run]:
    return [
        trial.start(of, each, streams.trial_seed(0, slot)).runs[0]
        for slot, each in enumerate(strangers(iterations))
    ]


def state(followed: Trial) -> np.ndarray:
    (run,) = followed.runs
    return np.concatenate([run.theta, run.moment1, run.moment2, *followed.per_task])


@pytest.fixture(scope="module", params=["float64", "float32"])
def sines(request: pytest.FixtureRequest) -> Program:
    return sinusoid_program((8, 8), bound=BOUND, precision=request.param, max_loss=1e6)


@pytest.fixture(scope="module")
def length(sines: Program) -> int:
    """Rounding is amplified along the way, so single precision is followed less far."""
    return 200 if sines.dtype == "float64" else 52


@pytest.fixture(scope="module")
def alone(sines: Program, length: int) -> Trial:
    """The trial by itself."""
    found = trial.start(sines, hero(length), SEED)
    follow(Trainer(sines), found)
    return found


def assert_itself(found: Trial, alone: Trial) -> None:
    """The whole curve agrees, and the state to what rounding makes of it."""
    tolerance = 1e-8 if alone.runs[0].theta.dtype == np.float64 else 1e-4
    assert len(found.values) == len(alone.values) == 4
    np.testing.assert_allclose(found.values, alone.values, rtol=tolerance)
    np.testing.assert_allclose(state(found), state(alone), rtol=1e3 * tolerance, atol=tolerance)


def test_alone_it_learns(sines: Program, alone: Trial, length: int) -> None:
    untrained = trial.start(sines, hero(length), SEED)
    trial.judge(Trainer(sines), [untrained], 0, 20)
    assert alone.iteration == length
    assert alone.values[-1] < untrained.values[0]
    assert len({*alone.values, *untrained.values}) == 5


@pytest.mark.parametrize("place", [0, 3, 7])
def test_in_a_pack_of_strangers(sines: Program, alone: Trial, length: int, place: int) -> None:
    found, others = trial.start(sines, hero(length), SEED), company(sines, length)
    follow(Trainer(sines), found, others, place=place)
    assert_itself(found, alone)
    assert [run.diverged for run in others] == [None] * 5 + [0, None]


def test_with_company_that_comes_and_goes(sines: Program, alone: Trial, length: int) -> None:
    found, trainer = trial.start(sines, hero(length), SEED), Trainer(sines)
    others = company(sines, length)
    follow(trainer, found, others[:3], place=2, until=length // 3)
    follow(trainer, found, others[4:5], until=length // 2)
    follow(trainer, found, others[2:], place=4)
    assert_itself(found, alone)


def test_interrupted_twice(sines: Program, alone: Trial, length: int, tmp_path: Path) -> None:
    """Once between rungs and once at one, carried on by other trainers in other company."""
    path, others = checkpoint.path_of(tmp_path, 11), company(sines, length)
    found = trial.start(sines, hero(length), SEED)
    for stop, mates in ((length // 3, others[:2]), (length // 2, []), (None, others[3:])):
        found = trial.start(sines, hero(length), SEED)
        checkpoint.restore(path, found)
        follow(Trainer(sines), found, mates, place=1, until=stop)
        assert found.iteration == (stop or length)
        checkpoint.save(path, found)
    assert_itself(found, alone)


@pytest.mark.parametrize("seconds", [0.0, 1e9])
def test_in_short_and_long_calls(sines: Program, alone: Trial, length: int, seconds: float) -> None:
    found = trial.start(sines, hero(length), SEED)
    follow(Trainer(sines, slice_seconds=seconds), found)
    assert_itself(found, alone)


def test_in_another_workers_program(sines: Program, alone: Trial, length: int) -> None:
    """Two shards, and room for just its own steps, as a single RUN would have."""
    of = sinusoid_program((8, 8), bound=2, shards=2, precision=sines.dtype.name)
    found = trial.start(of, hero(length), SEED)
    follow(Trainer(of), found)
    assert_itself(found, alone)


def test_repeats_are_trials_of_their_own_seeds(sines: Program, alone: Trial, length: int) -> None:
    """The first repeat is the trial itself; the value is the mean over all."""
    found = trial.start(sines, hero(length), SEED, repeats=3)
    follow(Trainer(sines), found)
    others = []
    for repeat in (1, 2):
        others.append(trial.start(sines, hero(length), streams.repeat_seed(SEED, repeat)))
        follow(Trainer(sines), others[-1])
    tolerance = 1e-8 if sines.dtype == "float64" else 1e-4
    np.testing.assert_allclose(found.runs[0].theta, alone.runs[0].theta, atol=tolerance)
    wanted = np.mean([each.values for each in (alone, *others)], axis=0)
    np.testing.assert_allclose(found.values, wanted, rtol=tolerance)
    assert found.trial_steps == 3 * length


def test_another_seed_is_another_trial(sines: Program, alone: Trial, length: int) -> None:
    found = trial.start(sines, hero(length), SEED + 1)
    follow(Trainer(sines), found)
    assert np.min(np.abs(np.subtract(found.values, alone.values))) > 1e-3


def test_all_this_traced_one_program(sines: Program, alone: Trial, length: int) -> None:
    follow(Trainer(sines), trial.start(sines, hero(length), SEED), company(sines, length)[:1])
    assert sines.traces == 1


def test_convolutions_in_company(tmp_path: Path) -> None:
    """Grouped convolutions of single precision, interrupted once, for a few iterations."""
    of = program(Patterns(shots=4), Conv4((6, 6, 1), 3, 3), precision="float32")
    chosen = settings(0.1, 1, batch=3, rungs=(2, 4, 6), meta_lr=0.02, momentum=0.5)
    own = trial.start(of, chosen, SEED)
    follow(Trainer(of), own)
    mates = [
        trial.start(of, settings(0.05 * k, 1, batch=k, rungs=(6,), meta_lr=0.2), k).runs[0]
        for k in (1, 2, 4)
    ]
    found = trial.start(of, chosen, SEED)
    follow(Trainer(of), found, mates[:2], place=1, until=3)
    checkpoint.save(tmp_path / "c.npz", found)
    again = trial.start(of, chosen, SEED)
    assert checkpoint.restore(tmp_path / "c.npz", again)
    follow(Trainer(of), again, mates, place=2)
    np.testing.assert_allclose(state(again), state(own), rtol=1e-3, atol=1e-4)
    assert of.traces == 1


# -- a trial's book-keeping ----------------------------------------------------------------------


def judged(scores: Sequence[Sequence[float]]) -> Trial:
    """A trial of as many runs as rows, at its first rung, judged by these."""
    numbers = settings(rungs=(5, 9))
    zero = np.zeros(2)
    runs = [Run(k, numbers, zero, zero, zero, iteration=5) for k in range(len(scores))]
    found = Trial(0, numbers, runs)
    found.judge(np.array(scores))
    return found


def test_a_judgement_is_the_mean_over_tasks_and_runs() -> None:
    found = judged([[1.0, 2.0], [3.0, 6.0]])
    assert found.values == [3.0]
    assert found.per_task[0].tolist() == [2.0, 4.0]
    assert (found.rung.step, found.next_rung.step) == (5, 9)
    assert not found.finished
    found.judge(np.ones((2, 2)))
    assert found.finished


def test_a_metric_that_is_not_finite_is_divergence() -> None:
    found = judged([[1.0, 2.0], [3.0, math.nan]])
    assert found.values == []
    assert found.diverged == 5
    assert [run.diverged for run in found.runs] == [None, 5]


def test_the_first_divergence_counts() -> None:
    found = judged([[1.0], [1.0], [1.0]])
    assert found.diverged is None
    found.runs[2].diverged, found.runs[1].diverged = 7, 6
    assert found.diverged == 6


def test_time_is_shared_by_work(sines: Program) -> None:
    """4 tasks of 2 steps and 4 of 1: two thirds and one third of what later calls took."""
    runs = [
        trial.start(sines, settings(0.01, steps, batch=4, meta_lr=1e-3), 0).runs[0]
        for steps in (2, 1)
    ]
    trainer = Trainer(sines)
    for _ in trainer.advance(runs, [20, 20]):
        pass
    assert runs[0].seconds == pytest.approx(2 * runs[1].seconds)
    assert sum(run.seconds for run in runs) == pytest.approx(trainer.busy - trainer.tally.tracing)
    begun = trainer.busy, sines.starting
    trial.start(sines, settings(0.01, 1, batch=2, meta_lr=1e-3), 0)  # initial weights count, too
    assert sines.starting > begun[1]
    assert trainer.busy - begun[0] == pytest.approx(sines.starting - begun[1])


def test_the_caller_hears_of_every_call(sines: Program) -> None:
    calls: list[int] = []
    trainer = Trainer(sines, after_call=lambda: calls.append(1))
    run = trial.start(sines, settings(0.01, 1, batch=2, meta_lr=1e-3), 0).runs[0]
    steps = sum(1 for _ in trainer.advance([run], [5]))
    assert len(calls) == steps
    trainer.evaluate([run], "validation", 0, 6)  # in blocks of two meta-batches
    assert len(calls) == steps + 2
