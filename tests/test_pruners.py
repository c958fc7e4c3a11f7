"""The pack's pruners: sound on recorded curves, the same decisions in any order."""

from __future__ import annotations

import itertools
import math
from pathlib import Path

import numpy as np
import optuna
import pytest
import studies as fake
from optuna.trial import TrialState

from maml_sweep.errors import InputError
from maml_sweep.search import pruners
from maml_sweep.search.claims import Claims
from maml_sweep.search.pruners import PackPruner, Report, RungPruner, StockPruner, WilcoxonPruner
from maml_sweep.search.replay import replay, replays
from maml_sweep.search.samplers import PerTrial

STEPS = 10  # one unit of `iterations` a rung in these tests


class Bench:
    """A study whose trials report by hand."""

    def __init__(self, folder: Path, n_trials: int = 8, direction: str = "minimize") -> None:
        self.study = fake.in_memory(fake.plan(n_trials=n_trials, direction=direction))
        self.claims: Claims = fake.claims(self.study, folder)
        self.trials: list[optuna.Trial] = []

    def ride(self, count: int) -> list[optuna.Trial]:
        """Claims that many trials."""
        pack = [trial for _ in range(count) if (trial := self.claims.claim()) is not None]
        self.trials += pack
        return pack

    def report(self, values: dict[int, float], step: int) -> list[Report]:
        """Reports values by slot at a step."""
        reports = []
        for trial in self.trials:
            slot = trial.user_attrs["slot"]
            if slot in values:
                fake.report(self.claims, trial, values[slot], step)
                per_task = values[slot] + np.linspace(-1.0, 1.0, 50)
                reports.append(Report(trial.number, slot, step, values[slot], per_task))
        return reports

    def prune(self, numbers: set[int], attrs: dict[str, int] | None = None) -> None:
        """Tells trials PRUNED."""
        for trial in self.trials:
            if trial.number in numbers:
                state = TrialState.PRUNED
                self.claims.finish(trial, value=None, state=state, attrs=attrs or {})


def test_a_first_pack_is_judged_by_itself(tmp_path: Path) -> None:
    """At step 4 of 10 with grace .2 half of the eight go on: the lower four values."""
    bench = Bench(tmp_path)
    bench.ride(8)
    rule = RungPruner(STEPS, grace=0.2, keep=0.1, smooth=1)
    values = {slot: float(value) for slot, value in enumerate([5, 1, 7, 3, 2, 8, 4, 6])}
    assert rule.decide(bench.study, bench.report(values, 2)) == set()
    assert rule.decide(bench.study, bench.report(values, 4)) == {0, 2, 5, 7}


def test_more_is_better_when_the_study_maximises(tmp_path: Path) -> None:
    bench = Bench(tmp_path, direction="maximize")
    bench.ride(4)
    rule = RungPruner(STEPS, grace=0.2, keep=0.1, smooth=1)
    assert rule.decide(bench.study, bench.report({0: 0.1, 1: 0.9, 2: 0.5, 3: 0.3}, 4)) == {0, 3}


def test_pruned_and_diverged_trials_count_at_the_rungs_beyond(tmp_path: Path) -> None:
    """Of eight trials six ended early; at step 4 the room is 4, so both that are left go on.

    Were they compared with each other alone, the room would be 1 and the worse would go.
    """
    bench = Bench(tmp_path)
    bench.ride(8)
    rule = RungPruner(STEPS, grace=0.2, keep=0.1, smooth=1)
    bench.report(dict.fromkeys(range(2, 6), 9.0), 3)
    bench.prune({2, 3, 4, 5})
    bench.report({6: math.nan, 7: math.nan}, 3)
    bench.prune({6, 7}, {"diverged": 3})
    assert rule.decide(bench.study, bench.report({0: 1.0, 1: 2.0}, 4)) == set()


def test_a_pruned_trials_values_count_at_its_rungs(tmp_path: Path) -> None:
    """The newcomer meets pruned peers with better values at that rung, and goes."""
    bench = Bench(tmp_path)
    bench.ride(4)
    rule = RungPruner(STEPS, grace=0.2, keep=0.1, smooth=1)
    bench.report({0: 1.0, 1: 1.1, 2: 1.2}, 4)
    bench.prune({0, 1, 2})
    assert rule.decide(bench.study, bench.report({3: 1.15}, 4)) == {3}


def test_a_diverged_report_is_worst_and_goes(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.ride(2)
    rule = RungPruner(STEPS, grace=1.0)
    assert rule.decide(bench.study, bench.report({0: math.inf, 1: 3.0}, 1)) == {0}


def test_equal_values_share_their_fate(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.ride(8)
    rule = RungPruner(STEPS, grace=0.1, keep=0.1, smooth=1)
    assert rule.decide(bench.study, bench.report(dict.fromkeys(range(8), 1.0), 9)) == set()


def test_smoothing_forgives_a_single_bounce(tmp_path: Path) -> None:
    """Slot 0 has been best and bounces at step 4: the mean of its last two values is still best."""
    for smooth, pruned in ((1, {0}), (2, {1})):
        bench = Bench(tmp_path, n_trials=2)
        bench.ride(2)
        rule = RungPruner(STEPS, grace=0.2, keep=0.1, smooth=smooth)
        bench.report({0: 1.0, 1: 3.0}, 3)
        assert rule.decide(bench.study, bench.report({0: 2.5, 1: 2.0}, 4)) == pruned


def test_a_retry_is_judged_by_its_slots_whole_curve(tmp_path: Path) -> None:
    """Slot 0 was best at step 3, in an attempt that was handed back; trial 2 goes on with it."""
    for before, pruned in ((1.0, "other"), (4.0, "again")):
        bench = Bench(tmp_path, n_trials=2)
        first, other = bench.ride(2)
        bench.report({0: before, 1: 3.0}, 3)
        bench.claims.release(first)
        bench.trials.remove(first)
        (again,) = bench.ride(1)
        rule = RungPruner(STEPS, grace=0.2, keep=0.1, smooth=2)
        decision = rule.decide(bench.study, bench.report({0: 2.5, 1: 2.0}, 4))
        assert again.number == 2
        assert decision == {{"other": other, "again": again}[pruned].number}


@pytest.mark.parametrize(
    "settings", [{"grace": 0.0}, {"grace": 1.5}, {"keep": 0.0}, {"keep": 2.0}, {"smooth": 0}]
)
def test_wrong_settings_are_named(settings: dict[str, float]) -> None:
    with pytest.raises(InputError, match=f"pruner.{next(iter(settings))}"):
        RungPruner(STEPS, **settings)  # type: ignore[arg-type]


PRUNERS: dict[str, PackPruner] = {
    "rungs": RungPruner(STEPS, grace=0.2, keep=0.1),
    "median": StockPruner(optuna.pruners.MedianPruner(n_startup_trials=1)),
    "percentile": StockPruner(optuna.pruners.PercentilePruner(25.0, n_startup_trials=1)),
    "halving": StockPruner(optuna.pruners.SuccessiveHalvingPruner(min_resource=1)),
    "hyperband": StockPruner(optuna.pruners.HyperbandPruner(1, STEPS)),
    "wilcoxon": WilcoxonPruner(STEPS),
    "none": StockPruner(optuna.pruners.NopPruner()),
}


@pytest.mark.parametrize("name", PRUNERS)
def test_the_order_within_a_pack_changes_nothing(name: str, tmp_path: Path) -> None:
    """Every order of a pack of four, beside a finished trial, over two rungs."""
    values = {1: 3.0, 2: 1.0, 3: 4.0, 4: 2.0}
    decisions = set()
    for order in itertools.permutations(values):
        bench = Bench(tmp_path, n_trials=5)
        (done,) = bench.ride(1)
        for step in (2, 4):
            bench.report({0: 2.5}, step)
        bench.claims.finish(done, value=2.5, state=TrialState.COMPLETE, attrs={})
        pack = {trial.user_attrs["slot"]: trial for trial in bench.ride(4)}
        bench.trials = [pack[slot] for slot in order]
        chosen = []
        for step in (2, 4):
            riding = {slot: value for slot, value in values.items() if slot not in chosen}
            reports = bench.report(riding, step)
            pruned = PRUNERS[name].decide(bench.study, reports)
            bench.prune(pruned)
            chosen += [report.slot for report in reports if report.number in pruned]
        decisions.add(tuple(sorted(chosen)))
    assert len(decisions) == 1
    assert (decisions == {()}) == (name == "none")
    assert 2 not in decisions.pop()  # the best goes on


def test_halving_promotes_the_best_of_a_pack_and_not_the_first(tmp_path: Path) -> None:
    """Asked worst first, Optuna's successive halving promotes every one of them."""
    bench = Bench(tmp_path, n_trials=4)
    bench.ride(4)
    reports = bench.report({0: 4.0, 1: 3.0, 2: 2.0, 3: 1.0}, 1)
    rule = StockPruner(optuna.pruners.SuccessiveHalvingPruner(min_resource=1, reduction_factor=2))
    assert rule.decide(bench.study, reports) == {0, 1, 2}


def test_wilcoxon_prunes_what_is_worse_task_by_task(tmp_path: Path) -> None:
    """Slot 1 is worse on each task by .01, far below the spread over tasks; slot 2 is equal."""
    bench = Bench(tmp_path)
    bench.ride(3)
    rule = WilcoxonPruner(STEPS, p_threshold=0.001, grace=0.25)
    random = np.random.default_rng(0)
    tasks = random.uniform(0, 4, 100)
    noise = random.normal(0, 0.1, 100)
    reports = bench.report({0: 2.0, 1: 2.01, 2: 2.0001}, 2)
    early = [
        Report(r.number, r.slot, 2, r.value, tasks + shift)
        for r, shift in zip(reports, (0.0, 0.01, noise - noise.mean()), strict=True)
    ]
    assert rule.decide(bench.study, early) == set()
    later = [Report(r.number, r.slot, 4, r.value, r.per_task) for r in early]
    assert rule.decide(bench.study, later) == {1}
    fresh = WilcoxonPruner(STEPS, p_threshold=0.001, grace=0.25)  # another worker, a resume
    assert fresh.decide(bench.study, later[1:2]) == {1}


def test_build_wraps_what_the_configuration_names() -> None:
    assert isinstance(pruners.build(RungPruner(STEPS)), RungPruner)
    stock = pruners.build(optuna.pruners.NopPruner())
    assert isinstance(stock, StockPruner) and isinstance(stock.stock, optuna.pruners.NopPruner)
    with pytest.raises(InputError, match="pruner._target_"):
        pruners.build(object())


def test_hyperbands_brackets_reach_the_sampler(tmp_path: Path) -> None:
    """Opened with the stock pruner, the study hands TPE the trials of one bracket only."""
    bench = Bench(tmp_path, n_trials=12)
    rule = StockPruner(optuna.pruners.HyperbandPruner(1, STEPS))
    bench.study.pruner = rule.stock
    bench.study.sampler = PerTrial({"_target_": "optuna.samplers.TPESampler"}, 0)
    while bench.ride(4):
        for trial in bench.trials[-4:]:
            trial.suggest_float("x", 0, 1)
        values = {trial.user_attrs["slot"]: trial.params["x"] for trial in bench.trials[-4:]}
        bench.prune(rule.decide(bench.study, bench.report(values, 1)))
    assert 0 < bench.claims.counts().pruned < 12


CURVES = Path(__file__).parent / "data" / "curves.npz"


@pytest.fixture(scope="module")
def curves() -> np.ndarray:
    """Validation MSE of 100 unpruned trials of the sinusoid sweep at 20 rungs: [100, 20].

    Drawn at random from the default search space and trained by the program itself.
    """
    with np.load(CURVES) as recorded:
        return np.asarray(recorded["values"], np.float64)


def test_the_default_rule_is_sound_on_recorded_curves(curves: np.ndarray) -> None:
    """Over many orders and pack compositions: the best lost in 5% at most, half of all saved."""
    assert curves.shape == (100, 20)
    outcomes = replays(curves, RungPruner(2000), 60)
    assert np.mean([outcome.lost for outcome in outcomes]) <= 0.05
    assert np.mean([outcome.saved for outcome in outcomes]) >= 0.5


def test_the_default_rule_is_sound_whoever_is_best(curves: np.ndarray) -> None:
    """As above with the best few trials taken out, so that others of other shapes are the best."""
    final = np.nan_to_num(curves[:, -1], nan=np.inf)
    order = np.argsort(final)
    outcomes = [
        outcome
        for taken in range(1, 11)
        for outcome in replays(np.delete(curves, order[:taken], 0), RungPruner(2000), 6, seed=taken)
    ]
    assert np.mean([outcome.lost for outcome in outcomes]) <= 0.05
    assert np.mean([outcome.saved for outcome in outcomes]) >= 0.5


def test_the_measure_tells_a_bad_rule(curves: np.ndarray) -> None:
    """Without grace a rule saves more and loses the best; without room it prunes nobody."""
    order = np.argsort(np.nan_to_num(curves[:, -1], nan=np.inf))
    harsh = RungPruner(2000, grace=0.01, keep=0.01)
    lost = [replays(np.delete(curves, order[:taken], 0), harsh, 4)[0].lost for taken in range(10)]
    assert np.mean(lost) > 0.2
    mild = replay(curves, RungPruner(2000, grace=1.0), range(100))
    assert not mild.lost and mild.saved < 0.1  # only diverged trials end early


def test_a_replay_worked_by_hand() -> None:
    """Two places, four trials of four rungs; at rung 2 (half) half of the known go on.

    Trials 0 and 1 ride first; at rung 2 trial 1 (worse) goes after 2 of 4. Trial 2 takes its
    place; when it reaches rung 2, three trials are known there, room ceil(1.5) = 2: with 3.0 it
    is third and goes, so does trial 3. Spent: 4 + 2 + 2 + 2 of 16.
    """
    curves = np.array([[4, 1, 1, 1], [4, 2, 2, 0.5], [4, 3, 3, 3], [4, 4, 4, 4]], float)
    outcome = replay(curves, RungPruner(4, grace=0.25, keep=0.5, smooth=1), range(4), pack=2)
    assert outcome.saved == pytest.approx(6 / 16)
    assert outcome.lost and outcome.regret == pytest.approx(0.5)
