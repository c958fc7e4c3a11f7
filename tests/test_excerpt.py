"""A sampler sees all of a small study, and of a large one its best and a fair sample."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import optuna
import pytest
from optuna.distributions import BaseDistribution, FloatDistribution
from optuna.samplers._tpe.sampler import _split_trials
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState, create_trial

from maml_sweep.search import excerpt, samplers
from maml_sweep.search.excerpt import Excerpt, Ranks, worth

X: dict[str, BaseDistribution] = {"x": FloatDistribution(0, 1)}
TPE = {"_target_": "optuna.samplers.TPESampler", "multivariate": True, "n_startup_trials": 4}


def _trial(index: int, rng: np.random.Generator) -> FrozenTrial:
    """A third each complete, pruned and running; every tenth of the pruned diverged."""
    value, step = float(rng.uniform()), int(rng.integers(1, 4))
    state = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.RUNNING)[index % 3]
    diverged = state == TrialState.PRUNED and index % 10 == 0
    return create_trial(
        state=state,
        value=value if state == TrialState.COMPLETE else None,
        params={"x": value},
        distributions=X,
        intermediate_values={step: float("nan") if diverged else value},
        system_attrs={"constraints:diverged": 1.0 / step} if diverged else {},
    )


def _study(count: int, direction: str = "minimize") -> optuna.Study:
    study = optuna.create_study(direction=StudyDirection[direction.upper()])
    rng = np.random.default_rng(count)
    study.add_trials([_trial(index, rng) for index in range(count)])
    return study


def _numbers(trials: list[FrozenTrial]) -> list[int]:
    return [trial.number for trial in trials]


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bounds that a test's study is larger than."""
    for name, value in {"BOUND": 40, "BEST": 12, "RUNNING": 5}.items():
        monkeypatch.setattr(excerpt, name, value)


RUNS = (TrialState.RUNNING,)


def test_a_running_trial_counts_as_if_it_ended_where_it_stands() -> None:
    study = optuna.create_study()
    curves: list[dict[int, float]] = [{1: 4.0, 3: 2.0, 2: 3.0}, {}, {1: 5.0, 2: float("nan")}]
    for curve in curves:
        study.add_trial(create_trial(state=TrialState.RUNNING, intermediate_values=curve))
    study.add_trial(create_trial(value=1.0))
    seen = Excerpt(study, Ranks())
    assert [trial.values for trial in seen.get_trials()] == [[2.0], None, None, [1.0]]
    assert _numbers(seen.get_trials(states=(TrialState.COMPLETE,))) == [0, 3]
    assert _numbers(seen.get_trials(states=RUNS)) == [1, 2]
    assert [trial.state for trial in study.get_trials()[:3]] == [TrialState.RUNNING] * 3
    below, _ = _split_trials(study, seen.get_trials(states=(TrialState.COMPLETE,)), 1)
    assert _numbers(below) == [3]


def test_a_small_study_is_seen_whole() -> None:
    study = _study(60)
    finished = (TrialState.COMPLETE, TrialState.PRUNED)
    seen = [trial for trial in Excerpt(study, Ranks()).get_trials() if trial.number % 3 < 2]
    assert seen == study.get_trials(states=finished)
    assert len(Excerpt(study, Ranks()).get_trials()) == 60
    assert Excerpt(study, Ranks()).direction == study.direction


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("direction", ["minimize", "maximize"])
def test_the_best_of_a_large_study_are_those_that_tpe_would_find(direction: str) -> None:
    study = _study(150, direction)
    results = (TrialState.COMPLETE, TrialState.PRUNED)
    seen = [t for t in Excerpt(study, Ranks()).get_trials(states=results) if t.number % 3 < 2]
    assert len(seen) == 40 and _numbers(seen) == sorted(_numbers(seen))
    for n_below in (1, 12):
        best, _ = _split_trials(study, study.get_trials(states=results), n_below)
        among_seen, _ = _split_trials(study, seen, n_below)
        assert _numbers(among_seen) == _numbers(best)
    running = [trial for trial in Excerpt(study, Ranks()).get_trials() if trial.number % 3 == 2]
    assert _numbers(running) == [137, 140, 143, 146, 149]  # the last five


@pytest.mark.usefixtures("small")
def test_worse_trials_are_ranked_as_tpe_ranks_them() -> None:
    """All of the ranking, with room for none but the best: pruned and diverged ones too."""
    study = _study(150)
    results = study.get_trials(states=(TrialState.COMPLETE, TrialState.PRUNED))
    ranked = sorted(results, key=lambda trial: worth(trial, 1))
    for n_below in range(1, len(results)):
        below, _ = _split_trials(study, results, n_below)
        assert _numbers(below) == sorted(_numbers(ranked[:n_below]))


@pytest.mark.usefixtures("small")
def test_the_sample_is_spread_over_the_study() -> None:
    study = _study(300)
    numbers = [
        number for number in _numbers(Excerpt(study, Ranks()).get_trials()) if number % 3 < 2
    ]
    assert max(np.diff([0, *numbers, 300])) < 60


@pytest.mark.usefixtures("small")
def test_a_large_study_is_sampled_from_the_excerpt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """TPE through `PerTrial` draws what TPE draws when the study is the excerpt itself."""
    study = _study(150)
    study.sampler = samplers.PerTrial(TPE, seed=1)
    drawn = study.ask().suggest_float("x", 0, 1)
    less = Excerpt(study, Ranks()).get_trials()
    monkeypatch.setattr(excerpt, "BOUND", 10_000)
    small = optuna.create_study()
    small.add_trials([trial for trial in less if trial.number < 150])
    again = samplers.build(TPE, 1, 150)
    small.sampler = again
    assert small.ask().suggest_float("x", 0, 1) == drawn


@pytest.mark.usefixtures("small")
def test_a_draw_chooses_once_and_the_next_one_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """Choosing takes longer the larger the study is; what was told since the last draw is seen."""
    chosen: list[int] = []
    choose = Excerpt._chosen

    def counted(self: Excerpt, trials: list[FrozenTrial]) -> object:
        chosen.append(len(trials))
        return choose(self, trials)

    monkeypatch.setattr(Excerpt, "_chosen", counted)
    study = _study(150)
    study.sampler = sampler = samplers.PerTrial({**TPE, "group": True}, seed=1)
    for _ in range(2):
        asked = study.ask()
        asked.suggest_float("x", 0, 1)
        asked.suggest_float("y", 0, 1)  # by itself, as no trial has it
        study.tell(asked, 0.5)
    assert chosen == [151, 152]
    assert not sampler._seen and not sampler._samplers
