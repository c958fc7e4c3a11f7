"""benchmarks/search_quality.py: its landscape, its sweeps and its arithmetic."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from benchmarks import landscape, search_quality
from benchmarks.landscape import Landscape
from benchmarks.played_sweeps import BATCH, STEPS, Contender, Course, auto_pack, cost, play
from benchmarks.recorded_curves import RUNGS, Recording, place_of, synthetic, values_at


@pytest.fixture(scope="module")
def recording() -> Recording:
    """Synthetic curves, some of which diverge."""
    return synthetic(256)


def test_points_and_values_are_inverse(recording: Recording) -> None:
    """But for integers, which are rounded."""
    for point in recording.points[:8]:
        values = values_at(recording.space, point)
        again = place_of(recording.space, values)
        np.testing.assert_allclose(again[[0, 2]], point[[0, 2]])
        assert values_at(recording.space, again) == pytest.approx(values)


def test_unsmoothed_it_goes_through_what_was_recorded(recording: Recording) -> None:
    """At a recorded point, with that trial's luck: its curve, diverged or not."""
    exact = Landscape(at_values(recording), smoothing=0.0, neighbours=1)
    for point, curve in zip(exact.recording.points, exact.recording.curves, strict=True):
        got = exact.curve(values_at(recording.space, point), 0)
        np.testing.assert_allclose(got, curve, rtol=1e-6)
    assert any(math.isnan(curve[-1]) for curve in recording.curves)


def at_values(recording: Recording) -> Recording:
    """As if the values had been rounded before they were trained."""
    space = recording.space
    points = [place_of(space, values_at(space, point)) for point in recording.points]
    return Recording(space, np.array(points), recording.curves)


def test_between_points_a_power_law_stays_one() -> None:
    """Thin plates hold every linear function of the logarithm, however smooth; no luck is left."""
    points = np.random.default_rng(0).uniform(size=(40, 4))
    height = points @ [0.5, -1.0, 0.2, 0.1]
    curves = [[math.exp(each - 0.1 * rung) for rung in range(20)] for each in height]
    smooth = Landscape(Recording(synthetic(1).space, points, curves), smoothing=0.5)
    values = values_at(smooth.space, np.array([0.5, 0.5, 0.5, 0.5]))
    at = place_of(smooth.space, values) @ [0.5, -1.0, 0.2, 0.1]
    np.testing.assert_allclose(np.log(smooth.curve(values, 3)), at - 0.1 * np.arange(20), atol=1e-6)


def test_luck_is_what_the_nearest_were_off_the_surface(recording: Recording) -> None:
    """Two neighbours, twice their luck; the seed says whose, and always the same."""
    rough = Landscape(recording, smoothing=1.0, neighbours=2, gain=2.0)
    point = recording.points[0]
    values = values_at(recording.space, point)
    place = place_of(recording.space, values)
    near = np.argsort(((recording.points - place) ** 2).sum(axis=1))[:2]
    smooth = rough.surface(place[np.newaxis])[0]
    expected = {round(float((smooth + 2 * rough.luck[int(each)])[-1]), 9) for each in near}
    ends = [round(math.log(rough.curve(values, seed)[-1]), 9) for seed in range(16)]
    assert set(ends) == expected
    assert ends[3] == round(math.log(rough.curve(values, 3)[-1]), 9)


def test_the_gain_makes_luck_as_large_as_seeds_do() -> None:
    """Noise of ±0.1 about a plane; points repeated at ±0.3: their spread is √2 · 0.3."""
    rng = np.random.default_rng(1)
    points = rng.uniform(size=(200, 4))
    signs = rng.choice([-0.1, 0.1], size=200)
    curves = [[float(math.exp(sign))] * 20 for sign in signs]
    space = synthetic(1).space
    flat = Landscape(Recording(space, points, curves), smoothing=1e6)
    twice = np.repeat(rng.uniform(size=(9, 4)), 2, axis=0)
    repeats = Recording(space, twice, [[math.exp(0.3)] * 20, [math.exp(-0.3)] * 20] * 9)
    assert landscape.gain_of(flat, repeats) == pytest.approx(3 * math.sqrt(2), rel=0.1)


def test_a_landscape_survives_its_file(tmp_path: Path, recording: Recording) -> None:
    landscape.save(tmp_path / "l.npz", recording, synthetic(5))
    read, repeats = landscape.load(tmp_path / "l.npz")
    assert read.space.describe() == recording.space.describe()
    for ours, theirs in ((read.recording, recording), (repeats, synthetic(5))):
        np.testing.assert_allclose(ours.points, theirs.points, atol=1e-7)
        for one, other in zip(ours.curves, theirs.curves, strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-6)


def test_the_recorded_landscape_is_whole() -> None:
    """Its points lie in the space, few diverge, and its gain is what it says."""
    read, repeats = landscape.load()
    assert set(read.space.branches[0].distributions) >= {STEPS, BATCH}
    points, curves = read.recording.points, read.recording.curves
    assert len(points) == len(curves) == 139
    assert points.min() >= 0.0
    assert points.max() <= 1.0
    assert {len(curve) for curve in curves if np.isfinite(curve[-1])} == {len(RUNGS)}
    assert 0.0 < np.mean([np.isnan(curve[-1]) for curve in curves]) < 0.2
    assert landscape.gain_of(read, repeats) == pytest.approx(landscape.GAIN, abs=0.05)


def test_one_at_a_time_without_pruning_costs_all_steps(recording: Recording) -> None:
    """Three whole trials: 20 rungs each, one trial a turn, best as the curves have it."""
    tame = Recording(recording.space, recording.points[:1], [[2.0 - 0.05 * k for k in range(20)]])
    course = play(tame, Contender("", "random", "none", pack=1), seed=0, trials=3)
    np.testing.assert_array_equal(course.steps, 100.0 * np.arange(1, 61))
    assert np.isinf(course.best[:19]).all()
    np.testing.assert_allclose(course.best[19:], 1.05)
    both = play(tame, Contender("", "random", "none", pack=2, teams=1), seed=0, trials=3)
    np.testing.assert_array_equal(both.steps, np.cumsum([200.0] * 20 + [100.0] * 20))
    assert both.seconds[-1] < course.seconds[-1]
    teams = play(tame, Contender("", "random", "none", pack=2), seed=0, trials=3)
    np.testing.assert_array_equal(teams.steps, course.steps)  # of one trial a turn
    assert np.isinf(teams.best[:38]).all() and np.isfinite(teams.best[38])  # they take turns


def test_a_budget_ends_a_sweep(recording: Recording) -> None:
    """With as many slots as it takes, and the same trials as long as the pack is the same."""
    cut = play(recording, Contender("", pack=4), seed=1, trials=6, budget=9000)
    whole = play(recording, Contender("", pack=4), seed=1, trials=6)
    assert 9000 <= cut.steps[-1] < 9400
    turns = 20
    np.testing.assert_array_equal(cut.best[:turns], whole.best[:turns])


def test_modelled_seconds() -> None:
    """One trial of 25 tasks and 2 steps: 100 steps at half the rate of 1000; 8 at 2600."""
    one = {STEPS: 2, BATCH: 25}
    assert cost([one]) == pytest.approx(0.2)
    assert cost([one] * 8) == pytest.approx(8 * 100 * 2 / 2600)
    assert [auto_pack(trials) for trials in (1, 32, 1000)] == [1, 4, 8]


def test_what_was_found_by_some_cost() -> None:
    course = Course(np.array([100.0, 200.0, 300.0]), np.zeros(3), np.array([math.inf, 3.0, 2.0]))
    assert [course.after(steps) for steps in (50, 100, 299, 300, 1e9)] == [
        math.inf, math.inf, 3.0, 2.0, 2.0
    ]  # fmt: skip


def test_comparing_over_seeds() -> None:
    """Six pairs, each 10% less: p = 2 / 2⁶; nobody differs: p = 1."""
    others = [1.0, 2.0, 3.0, 4.0, 5.0, 7.0]
    told = search_quality.compare([0.9 * each for each in others], others)
    assert told.change == pytest.approx(-0.1)
    assert (told.low, told.high) == pytest.approx((-0.1, -0.1))
    assert told.p == pytest.approx(2 / 2**6)
    assert (told.better, told.worse) == (6, 0)
    assert search_quality.compare(others, others).p == 1.0


def test_tables() -> None:
    courses = {
        name: [Course(np.array([16e3, 64e3]), np.array([1.0, 2.0]), np.array([2.0, best]))
               for best in bests]
        for name, bests in {"one": (1.0, 1.5), "other": (0.5, 0.75)}.items()
    }  # fmt: skip
    lines = search_quality.after_trials(courses, "one").splitlines()
    assert lines[2] == "| one | 1.2500 |  |  |  | 64,000 | 2 |"
    assert lines[3] == "| other | 0.6250 | -50.0% (-50.0 … -50.0) | 0.500 | 2 : 0 | 64,000 | 2 |"
    lines = search_quality.after_steps(courses, "one").splitlines()
    assert lines[3].startswith("| other | 2.0000 | 2.0000 | 0.6250 | +0.0% (+0.0 … +0.0) | -50.0%")


def test_quartiles_of_sweeps_that_have_nothing_yet() -> None:
    courses = [
        Course(np.array([10.0, 20.0]), np.zeros(2), np.array([first, 1.0]))
        for first in (math.inf, 2.0, 3.0)
    ]
    low, middle, high = search_quality.quartiles(courses, np.array([10.0, 20.0]))
    assert list(middle) == [3.0, 1.0]
    assert high[0] == math.inf
    assert low[0] == 3.0
