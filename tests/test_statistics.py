"""Intervals over tasks, paired comparisons and the winner set: known answers, and their rates."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from scipy.stats import t as student

from maml_sweep.analysis import statistics
from maml_sweep.analysis.statistics import interval, intervals, paired, winner_set

Draw = Callable[[np.random.Generator, tuple[int, ...]], np.ndarray]

NOISES: dict[str, tuple[Draw, float]] = {
    "normal": (lambda rng, shape: rng.normal(3.0, 2.0, shape), 3.0),
    "skewed": (lambda rng, shape: rng.lognormal(0.0, 0.7, shape), math.exp(0.245)),
    "accuracy": (lambda rng, shape: rng.binomial(75, rng.beta(8.7, 1.3, shape)) / 75, 0.87),
}


def test_an_interval_without_skewness_is_students() -> None:
    """1, 2, 3: mean 2, sd 1, t(2, 0.975) = 4.302653, so 2 ± 4.302653 / sqrt(3)."""
    found = interval([1.0, 2.0, 3.0])
    half = 4.302653 / math.sqrt(3)
    assert (found.mean, found.n) == (2.0, 3)
    assert (found.low, found.high) == pytest.approx((2 - half, 2 + half), rel=1e-6)


def test_an_interval_leans_towards_the_tail() -> None:
    found = interval([1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 9.0])
    assert found.high - found.mean > 1.2 * (found.mean - found.low)
    mirrored = interval([-1.0, -1.0, -1.0, -1.0, -1.0, -1.0, -1.0, -9.0])
    assert (mirrored.low, mirrored.high) == pytest.approx((-found.high, -found.low))


def test_skewness_by_hand() -> None:
    """0, 0, 0, 4: mean 1, sd 2, skewness (3 · (-1)³ + 3³) / 4 / 2³ = 0.75.

    Hall's cubic at either end of the interval, x = (1 - end) / 2, is ± t(3, 0.975) / sqrt(4).
    """
    found = interval([0.0, 0.0, 0.0, 4.0])
    for end, score in ((found.low, 1.591223), (found.high, -1.591223)):
        x, s = (1 - end) / 2, 0.75
        assert x + s * x**2 / 3 + s**2 * x**3 / 27 + s / 24 == pytest.approx(score, abs=1e-5)


def test_intervals_of_next_to_nothing() -> None:
    assert interval([]).n == 0 and math.isnan(interval([]).mean)
    one = interval([0.5])
    assert (one.mean, one.n) == (0.5, 1) and math.isnan(one.low)
    equal = interval([0.1] * 7)  # whose mean is 0.1 only up to rounding
    assert equal.low == pytest.approx(0.1) and equal.high - equal.low < 1e-12
    assert interval([1.0, math.nan, 3.0]).n == 2


@pytest.mark.parametrize("noise", NOISES)
def test_intervals_cover_at_their_rate(noise: str) -> None:
    """The Monte-Carlo error of a rate of 95% over 8,000 intervals is 0.24%."""
    draw, truth = NOISES[noise]
    low, high = intervals(draw(np.random.default_rng(0), (8000, 100)), 0.95)
    assert 0.935 < float(((low <= truth) & (truth <= high)).mean()) < 0.96


def test_skewness_is_taken_out_where_students_interval_fails() -> None:
    """Log-normal errors of 30 tasks: Student's t covers 90% (asserted below), ours more."""
    x = np.random.default_rng(1).lognormal(0.0, 1.0, (8000, 30))
    truth = math.exp(0.5)
    half = 2.04523 * x.std(axis=1, ddof=1) / math.sqrt(30)
    plain = float((np.abs(x.mean(axis=1) - truth) <= half).mean())
    low, high = intervals(x)
    ours = float(((low <= truth) & (truth <= high)).mean())
    assert plain < 0.9 and ours > plain + 0.025


def test_paired_differences_leave_the_tasks_out() -> None:
    """Tasks differ by hundreds, the trials by 1, 2, 3, 4, 5 on them: 3 ± 2.776445 sqrt(2.5 / 5)."""
    tasks = np.array([100.0, 900.0, 300.0, 500.0, 200.0])
    found = paired(tasks + np.arange(1, 6), tasks)
    half = 2.776445 * math.sqrt(0.5)
    assert found.interval.mean == 3.0
    assert (found.interval.low, found.interval.high) == pytest.approx((3 - half, 3 + half))
    assert found.p == pytest.approx(0.013235, abs=1e-5)  # t = 3 / sqrt(0.5) with 4 degrees


def test_p_and_interval_of_a_pair_agree() -> None:
    rng = np.random.default_rng(2)
    for _ in range(50):
        found = paired(rng.lognormal(0, 1, 20), rng.lognormal(0.2, 1, 20))
        beyond = found.interval.low > 0 or found.interval.high < 0
        assert (found.p < 0.05) == beyond


def test_p_is_a_twentieth_at_the_ends_of_the_interval() -> None:
    x = np.random.default_rng(13).lognormal(size=15)
    found = interval(x)
    for end in (found.low, found.high):
        assert paired(x - end, np.zeros(15)).p == pytest.approx(0.05)


def test_pairs_without_spread() -> None:
    assert paired([1.0, 2.0], [1.0, 2.0]).p == 1.0
    assert paired([2.0, 3.0], [1.0, 2.0]).p == 0.0
    assert math.isnan(paired([1.0], [2.0]).p)


def correlated(rng: np.random.Generator, trials: int, tasks: int) -> np.ndarray:
    """Skewed losses of mean 1, hard tasks hard for all."""
    shared, own = rng.lognormal(0, 0.8, tasks), rng.lognormal(0, 0.4, (trials, tasks))
    losses: np.ndarray = shared * own / math.exp(0.4)
    return losses


@pytest.fixture
def few_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rates need many sets, each of which may be rough: p keeps its level with few draws."""
    monkeypatch.setattr(statistics, "_MOST", 301)


@pytest.fixture(params=["both", "normal", "resampled"])
def simulation(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The procedure as it is, and each of its two simulations by itself."""
    if request.param == "normal":
        monkeypatch.setattr(statistics, "_MANY", 0)
    if request.param == "resampled":
        monkeypatch.setattr(statistics, "_normal_p", lambda centred, *_: np.zeros(len(centred)))
    return str(request.param)


RATES = {"both": 0.95, "normal": 0.95, "resampled": 0.925}  # by 1,000 studies with 60 tasks


@pytest.mark.usefixtures("few_draws")
@pytest.mark.parametrize(("trials", "tasks"), [(2, 60), (12, 60), (25, 120)])
def test_the_set_holds_the_true_best_at_its_rate(trials: int, tasks: int, simulation: str) -> None:
    """All are equally good, the hardest case: the first is as much the best as any.

    150 studies; the Monte-Carlo error of a rate of 95% is 1.8%, and not all may be let in.
    """
    rng = np.random.default_rng(3)
    held = [winner_set(correlated(rng, trials, tasks), seed=k).inside[0] for k in range(150)]
    assert RATES[simulation] - 2 * 0.018 < float(np.mean(held)) < 1.0


@pytest.mark.usefixtures("few_draws")
def test_resampling_follows_unequal_skewness(monkeypatch: pytest.MonkeyPatch) -> None:
    """The best is steady; eleven others as good have rare, large losses that most samples miss."""
    rng = np.random.default_rng(12)
    spread = np.linspace(0.5, 3.0, 12)[:, np.newaxis]
    held = {"both": 0, "normal": 0}
    for k in range(60):
        losses = (rng.lognormal(size=(12, 100)) - math.exp(0.5)) * spread
        held["both"] += winner_set(losses, seed=k).inside[0]
        with monkeypatch.context() as patch:
            patch.setattr(statistics, "_MANY", 0)
            held["normal"] += winner_set(losses, seed=k).inside[0]
    assert held["both"] > 0.87 * 60 > held["normal"]


def test_two_trials_are_compared_by_student(monkeypatch: pytest.MonkeyPatch) -> None:
    """With one rival the maximum is a single t: p is its one-sided tail."""
    monkeypatch.setattr(statistics, "_MANY", 0)
    rng = np.random.default_rng(11)
    first, second = rng.normal(size=8), rng.normal(0.5, size=8)
    difference = second - first
    t = difference.mean() / difference.std(ddof=1) * math.sqrt(8)
    assert t > 0.5
    found = winner_set([first, second])
    assert found.p[1] == pytest.approx(float(student.sf(t, 7)), abs=0.025)


@pytest.mark.usefixtures("few_draws")
def test_choosing_the_best_of_many_is_paid_for() -> None:
    """Pairwise tests against the best seen lose the true best far more often than 5%."""
    rng = np.random.default_rng(4)
    lost = ours = 0
    for k in range(100):
        losses = correlated(rng, 30, 60)
        found = winner_set(losses, seed=k)
        lost += paired(losses[0], losses[found.best]).p < 0.05
        ours += not found.inside[0]
    assert lost > 25 and ours < 12


def test_the_set_is_small_where_trials_differ() -> None:
    rng = np.random.default_rng(5)
    losses = correlated(rng, 200, 200) + np.linspace(0, 4, 200)[:, np.newaxis]
    found = winner_set(losses)
    assert found.inside[0] and found.inside[found.best]
    assert found.inside.sum() < 20 and not found.inside[60:].any()


def test_a_worse_mean_has_a_smaller_p() -> None:
    rng = np.random.default_rng(6)
    noise = rng.normal(size=(4, 400))
    noise -= noise.mean(axis=1, keepdims=True)  # the means below are exact
    found = winner_set(noise + np.array([0.0, 0.04, 0.08, 0.5])[:, np.newaxis])
    assert found.best == 0 and found.p[0] == 1.0
    assert list(np.argsort(-found.p)) == [0, 1, 2, 3]
    assert list(found.inside) == [True, True, True, False]


def test_equal_trials_stay_together() -> None:
    losses = np.random.default_rng(7).lognormal(size=(3, 50))
    found = winner_set(np.concatenate([losses, losses]))
    assert list(found.p[:3]) == list(found.p[3:])
    assert found.inside[found.best] and found.inside[(found.best + 3) % 6]


def test_a_constant_difference_is_beyond_doubt() -> None:
    losses = np.random.default_rng(8).lognormal(size=30)
    found = winner_set(np.stack([losses + 1e-3, losses]))
    assert (found.best, list(found.inside)) == (1, [False, True])


def test_sets_of_next_to_nothing() -> None:
    assert list(winner_set([[1.0, 2.0]]).inside) == [True]
    assert list(winner_set([[1.0], [2.0]]).inside) == [True, True]  # one task tells nothing
    with pytest.raises(ValueError, match="at least one trial"):
        winner_set(np.empty((0, 5)))


def test_the_set_is_the_same_every_time() -> None:
    losses = correlated(np.random.default_rng(9), 10, 40)
    assert list(winner_set(losses).p) == list(winner_set(losses).p)


def test_many_trials_are_judged_by_normal_weights_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    losses = correlated(np.random.default_rng(10), 40, 50)
    both = winner_set(losses)
    monkeypatch.setattr(statistics, "_MANY", 10)
    alone = winner_set(losses)
    assert alone.inside[alone.best] and not (alone.inside & ~both.inside).any()
