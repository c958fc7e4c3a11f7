"""Studies side by side: curves known by construction, paired winners, what differs."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import synthetic
from composing import ROOT
from planned import CONFIG
from scipy import stats
from simulated import BATCH, RATE, STEPS

from maml_sweep import cli
from maml_sweep.analysis import frames, race, statistics
from maml_sweep.analysis.comparison import Comparison, compare
from maml_sweep.analysis.duel import welch
from maml_sweep.analysis.race import Track

TPE = {"_target_": "optuna.samplers.TPESampler", "n_startup_trials": 8}
Made = Callable[..., frames.Frames]
Typed = Callable[..., tuple[int, str, str]]


@pytest.fixture
def made(tmp_path: Path) -> Made:
    """Makes a study whose slots come to these values, one after the other, and loads it."""

    def make(name: str, values: Sequence[float], **other: Any) -> frames.Frames:
        points = [{RATE: value} for value in values]
        plain: dict[str, Any] = {"pack": 1, "prune": "none", "rungs": (100, 200), "turns": False}
        space = {RATE: "interval(0.001, 0.999)"}
        given: dict[str, Any] = (
            {"space": space, "objective": lambda x, step: x[RATE]} | plain | other
        )
        synthetic.make(tmp_path, name, n_trials=len(values), points=points, **given)
        return frames.load(name, tmp_path)

    return make


@pytest.fixture
def typed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Typed:
    """Types `maml-sweep compare`: (exit code, what it printed, what it said on stderr)."""

    def run(*arguments: str) -> tuple[int, str, str]:
        code = cli.main(["compare", *arguments, "--root", str(tmp_path)])
        said = capsys.readouterr()
        return code, said.out, said.err

    return run


def bests(told: Comparison, cost: str) -> list[tuple[float, ...]]:
    """What each study had found, a row a share of that cost."""
    return [tuple(x.value for x in at.best) for at in told.equal_cost if at.cost == cost]


def spread(low: float, high: float, n: int = 12) -> list[float]:
    """Values in no order of quality."""
    return list(np.random.default_rng(n).permutation(np.linspace(low, high, n)))


# -- at equal cost ----------------------------------------------------------------------------


def test_best_at_equal_cost_by_hand(made: Made) -> None:
    """Every slot sees 200 x 25 tasks. The smaller study has 2 slots: 10,000 tasks.

    After half of that each has one slot behind it, after all of it two; b's third never counts.
    """
    a = made("a", [0.4, 0.2])
    b = made("b", [0.5, 0.3, 0.1])
    told = compare([a, b])
    assert [study.spent["tasks"] for study in told.studies] == [10_000, 15_000]
    assert [at.spent for at in told.equal_cost if at.cost == "tasks"] == [2500, 5000, 10_000]
    for cost in ("tasks", "slots"):
        nothing, half, whole = bests(told, cost)
        assert all(map(math.isnan, nothing))
        assert (half, whole) == ((0.4, 0.5), (0.2, 0.3))
    assert [study.winner and study.winner.value for study in told.studies] == [0.2, 0.1]
    # two slots cannot be redrawn
    assert told.pairs[0].races == () and math.isnan(told.equal_cost[0].best[0].low)


def test_dearer_trials_buy_less(made: Made) -> None:
    """a's slots see 200 x 10 tasks, b's 200 x 40: after b's first, a has had all of its four."""
    a = made("a", [0.4, 0.3, 0.2, 0.1], space={RATE: "interval(0, 1)", BATCH: "10"})
    b = made("b", [0.25, 0.05], space={RATE: "interval(0, 1)", BATCH: "40"})
    told = compare([a, b])
    assert [at.spent for at in told.equal_cost if at.cost == "tasks"] == [2000, 4000, 8000]
    assert bests(told, "tasks")[2] == (0.1, 0.25)
    assert bests(told, "slots")[2] == (0.3, 0.05)


def test_pruned_and_diverged_cost_and_repeats_count(made: Made) -> None:
    """Pruned and diverged ones have seen 100 and 175 of 200 iterations, each twice."""
    a = made("a", [0.1, 0.2, 0.3], states={0: "pruned", 1: "diverged"}, repeats=2)
    told = compare([a, made("b", [0.4])])
    assert told.studies[0].spent == {
        "tasks": 2 * 25 * (100 + 175 + 200),
        "seconds": pytest.approx(25 * 475 * 2e-6, abs=2e-3),
        "slots": 3,
    }
    assert told.studies[0].winner is not None and told.studies[0].winner.value == 0.3
    assert dict(told.studies[0].states) == {"complete": 1, "pruned": 1, "diverged": 1}
    assert all(map(math.isnan, (at.best[0].value for at in told.equal_cost if at.cost == "slots")))


def test_a_cost_that_was_not_recorded_is_left_out(made: Made) -> None:
    a, b = made("a", [0.1, 0.2]), made("b", [0.3, 0.4])
    a.trials.loc[1, "seconds"] = math.nan
    told = compare([a, b])
    assert {at.cost for at in told.equal_cost} == {"tasks", "slots"}
    assert math.isnan(told.studies[0].spent["seconds"])


# -- curves -----------------------------------------------------------------------------------


def test_always_better_leads_for_sure(made: Made) -> None:
    a, b = made("a", spread(0.1, 0.2)), made("b", spread(0.3, 0.4))
    for studies, chance in (([a, b], 1.0), ([b, a], 0.0)):
        (pair,) = compare(studies).pairs
        assert [(each.leads, each.overlap) for each in pair.races] == [(chance, 0.0)] * 3


def test_the_same_content_twice_is_even(made: Made) -> None:
    told = compare([made("a", spread(0.1, 0.5)), made("b", spread(0.1, 0.5))])
    for each in told.pairs[0].races:
        assert each.leads == pytest.approx(0.5) and each.overlap == 1.0
    assert told.differences == ()
    for at in told.equal_cost:
        assert at.best[0] == at.best[1]
        assert at.best[0].low <= at.best[0].value <= at.best[0].high


def test_more_is_better_where_it_is(made: Made) -> None:
    more = {"direction": "maximize", "metric": "accuracy"}
    told = compare([made("a", spread(0.6, 0.7), **more), made("b", spread(0.3, 0.4), **more)])
    assert [(each.leads, each.overlap) for each in told.pairs[0].races] == [(1.0, 0.0)] * 3
    last = told.equal_cost[-1].best
    assert [best.value for best in last] == pytest.approx([0.7, 0.4])
    assert last[0].low < last[0].high == pytest.approx(0.7)
    assert told.pairs[0].winners.better == 1
    assert told.pairs[0].winners.difference is not None
    assert told.pairs[0].winners.difference.interval.mean == pytest.approx(0.3)


def track(loss: Sequence[float], cost: Sequence[float], learns: bool = True) -> Track:
    costs = {"tasks": np.array(cost, float), "slots": np.ones(len(loss))}
    return Track(np.array(loss, float), costs, learns)


def test_the_best_so_far_of_a_track() -> None:
    """Spent by the ends of the slots: 1, 3, 6, 10."""
    each = track([math.inf, 0.5, 0.7, 0.2], [1, 2, 3, 4])
    at = np.array([0.0, 1.0, 2.9, 3.0, 9.9, 10.0, 99.0])
    expected = [math.inf, math.inf, math.inf, 0.5, 0.5, 0.2, 0.2]
    np.testing.assert_array_equal(each.best("tasks", at), expected)
    assert each.total("tasks") == 10 and each.found
    assert not track([math.inf], [1]).found


def test_one_of_equal_slots_is_always_redrawn() -> None:
    """However often it is redrawn; a study that falls short draws on: all curves reach the end."""
    each = track([0.3] * 20, [1, 9] * 10)
    redrawn = each.redrawn("tasks", np.array([9.0, 100.0]))
    assert redrawn.shape == (race.DRAWS, 2) and (redrawn == 0.3).all()
    exact = each.redrawn("slots", np.array([0.5, 20.0]))
    assert np.isinf(exact[:, 0]).all() and (exact[:, 1] == 0.3).all()


def test_what_was_learnt_stays_where_it_was_learnt() -> None:
    """By quarters of five slots, each better than the last; a blind sampler's may be any."""
    losses = [0.4] * 5 + [0.3] * 5 + [0.2] * 5 + [0.1] * 5
    at = np.array([5.0, 10.0, 15.0, 20.0])
    learnt = track(losses, [1] * 20).redrawn("slots", at)
    np.testing.assert_array_equal(learnt, np.tile([0.4, 0.3, 0.2, 0.1], (race.DRAWS, 1)))
    blind = track(losses, [1] * 20, learns=False).redrawn("slots", at)
    # the best quarter is missed by five draws with chance 0.75 ** 5
    assert (blind[:, 0] > 0.1).mean() == pytest.approx(0.75**5, abs=0.03)


def test_the_best_of_many_is_redrawn_as_often_as_reckoned() -> None:
    """Of n slots the one good one is among n draws with chance 1 - (1 - 1/n) ** n."""
    one = track([0.1] + [0.5] * 9, [1] * 10, learns=False).redrawn("slots", np.array([10.0]))
    assert (one == 0.1).mean() == pytest.approx(1 - 0.9**10, abs=0.03)
    other = track([0.3] * 10, [1] * 10).redrawn("slots", np.array([10.0]))
    assert race.leads(one[:, 0], other[:, 0]) == pytest.approx(1 - 0.9**10, abs=0.03)


def test_leads_by_hand() -> None:
    """Of six pairs the first is less in (1, 2), (1, 3), (2, 3), and equal in (2, 2): 3.5 of 6."""
    assert race.leads(np.array([1.0, 2.0, 9.0]), np.array([2.0, 3.0])) == pytest.approx(3.5 / 6)
    nothing = np.array([math.inf])
    assert race.leads(nothing, nothing) == 0.5
    assert race.leads(np.array([5.0]), nothing) == 1.0


def test_overlap_by_hand() -> None:
    """Of five costs: nothing found at the first, only one found something at the second."""
    low = np.array([[math.inf, 1.0, 1.0, 1.0, 1.0], [math.inf, 2.0, 3.0, 3.0, 2.0]])
    high = np.array([[math.inf, math.inf, 2.0, 3.0, 4.0], [math.inf, math.inf, 5.0, 5.0, 5.0]])
    assert race.overlap(low, high) == race.overlap(high, low) == 2 / 4
    assert math.isnan(race.overlap(low[:, :1], high[:, :1]))


def test_a_band_holds_the_middle() -> None:
    """Of 0 … 2000, 50 lie below and above it."""
    low, high = race.band(np.arange(2001.0)[::-1, np.newaxis])
    assert (low[0], high[0]) == (50.0, 1950.0)


def test_which_samplers_learn(made: Made) -> None:
    assert not race.track(made("random", [0.1])).learns
    assert race.track(made("tpe", [0.1], config=CONFIG | {"sampler": TPE})).learns


# -- the winners ------------------------------------------------------------------------------


def test_winners_on_the_same_tasks_are_paired(made: Made) -> None:
    a, b = made("a", [0.3, 0.2]), made("b", [0.5, 0.3])
    told = compare([a, b]).pairs[0].winners
    expected = statistics.paired(a.per_task([1])[0], b.per_task([1])[0])
    assert told.paired and told.difference == expected
    assert told.words == "on the same 20 tasks" and told.better == 1
    assert expected.interval.mean == pytest.approx(-0.1)


def shot(shots: int) -> dict[str, Any]:
    return CONFIG | {"task": CONFIG["task"] | {"shots": shots}}


@pytest.mark.parametrize(
    ("other", "why"),
    [
        ({"seed": 1}, "seed=0 and seed=1"),
        ({"tasks": 30}, "20 and 30 of them"),
        ({"config": shot(5)}, "other task.shots"),
    ],
)
def test_winners_on_different_tasks_are_not(made: Made, other: Mapping[str, Any], why: str) -> None:
    a, b = made("a", [0.3, 0.2]), made("b", [0.5, 0.3], **other)
    told = compare([a, b]).pairs[0].winners
    assert not told.paired and told.words == f"on different tasks ({why})"
    assert told.difference == welch(a.per_task([1])[0], b.per_task([1])[0])


def test_welch_is_scipys() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(1.0, 1.0, 30), rng.normal(2.0, 3.0, 12)
    expected = stats.ttest_ind(x, y, equal_var=False)
    told = welch(x, y)
    low, high = expected.confidence_interval(0.95)
    assert (told.interval.low, told.interval.high) == pytest.approx((low, high))
    assert told.p == pytest.approx(expected.pvalue)
    assert told.interval.mean == pytest.approx(x.mean() - y.mean())
    assert welch([1.0, 1.0], [2.0, 2.0]).p == 0.0 and welch([1.0, 1.0], [1.0, 1.0]).p == 1.0
    assert math.isnan(welch([1.0], [2.0, 2.0]).p)


def test_equal_winners_cannot_be_told_apart(made: Made) -> None:
    told = compare([made("a", [0.2]), made("b", [0.2])]).pairs[0].winners
    assert told.better == 0 and told.difference is not None and told.difference.p == 1.0


def test_without_evaluations_there_is_a_value_but_no_interval(made: Made, typed: Typed) -> None:
    told = compare([made("a", [0.2], evaluations=False), made("b", [0.3])])
    winner = told.studies[0].winner
    assert winner is not None and winner.value == 0.2 and winner.interval is None
    assert told.pairs[0].winners.words == "the winner's evaluation is missing in a"
    assert told.pairs[0].winners.difference is None
    assert "its evaluation is missing" in typed("a", "b")[1]


# -- differences ------------------------------------------------------------------------------


def rows(told: Comparison) -> dict[str, tuple[str, tuple[str | None, ...]]]:
    return {each.key: (each.kind, each.values) for each in told.differences}


def test_what_differs_is_named(made: Made) -> None:
    config = shot(5) | {"sampler": TPE, "pruner": CONFIG["pruner"] | {"keep": 0.5}}
    searched = {RATE: "tag(log, interval(0.01, 1))", STEPS: "range(1, 6)"}
    newer = {"optuna": "9.0"}
    told = compare([made("a", [0.2]), made("b", [0.3], config=config, space=searched)])
    assert rows(told) == {
        RATE: ("space", ("searched: 0.001 … 0.999", "searched: 0.01 … 1 (log)")),
        STEPS: ("space", ("1", "searched: integers 1 … 5")),
        "sampler._target_": ("sampler", ("RandomSampler", "TPESampler")),
        "sampler.n_startup_trials": ("sampler", (None, "8")),
        "pruner.keep": ("pruner", ("0.2", "0.5")),
        "task.shots": ("setting", ("10", "5")),
    }
    assert [each.kind for each in told.differences] == sorted(
        (each.kind for each in told.differences),
        key=["space", "sampler", "pruner", "setting"].index,
    )
    told = compare([made("c", [0.2]), made("d", [0.2], versions=newer)])
    assert rows(told)["optuna"][0] == "version"
    assert rows(told)["maml_sweep"][1][1] is None


def test_branches_are_told_by_name(made: Made) -> None:
    groups = {"algorithm": {"maml": {STEPS: "range(1, 4)"}, "fomaml": {STEPS: "range(1, 6)"}}}
    space = {RATE: "interval(0.001, 0.999)"}
    told = compare([made("a", [0.2]), made("b", [0.2], space=space, groups=groups)])
    assert rows(told) == {
        "algorithm": ("space", (None, "searched: maml, fomaml")),
        STEPS: ("space", ("1", "maml: searched: integers 1 … 3; fomaml: searched: integers 1 … 5")),
    }


# -- odd studies, refusals --------------------------------------------------------------------


def test_a_study_that_found_nothing_has_words(made: Made, typed: Typed) -> None:
    made("a", spread(0.1, 0.5))
    made("b", spread(0.1, 0.5))
    made("pruned", [0.1, 0.2], states="pruned")
    made("empty", [])
    code, output, _ = typed("a", "pruned", "empty", "b")
    lines = {line.split("  ")[0].strip(): line for line in output.splitlines()}
    assert code == 0 and "nan" not in output
    assert "no trial has come to its end" in lines["best mse (lower is better)"]
    assert "no trial yet" in lines["best mse (lower is better)"]
    assert "2: 2 pruned" in lines["slots"]
    assert "no winner in pruned and empty" in lines["pruned - empty"]
    assert "a leads in 50%, bands overlap along 100%" in lines["a - b"]
    # neither shortens the range that the others are compared along
    assert "best after 12 slots (100%)" in lines
    found = json.loads(typed("pruned", "empty", "--json")[1])
    assert [study["winner"] for study in found["studies"]] == [None, None]
    assert found["equal_cost"] == []


def test_what_cannot_be_compared_is_one_line(made: Made, typed: Typed, tmp_path: Path) -> None:
    made("a", [0.1])
    made("b", [0.6], metric="accuracy", direction="maximize")
    expected = {
        (): "compare: expected two studies or more, got none",
        ("a",): "compare: expected two studies or more, got only a",
        ("a", str(tmp_path / "a" / ".." / "a")): "compare: expected different studies, got a twice",
        ("a", "b"): "compare: expected studies of one metric, got mse (minimize) in a and "
        "accuracy (maximize) in b",
    }
    for arguments, message in expected.items():
        assert typed(*arguments) == (2, "", f"{message}\n")
    assert "did you mean 'a'?" in typed("a", "aa")[2]


def test_studies_of_one_name_are_told_by_their_folders(made: Made, tmp_path: Path) -> None:
    first = made("a", [0.2])
    synthetic.make(tmp_path / "other", "a", n_trials=1)
    told = compare([first, frames.load("a", tmp_path / "other")])
    assert [study.label for study in told.studies] == [
        str(tmp_path / "a"),
        str(tmp_path / "other" / "a"),
    ]


# -- what is printed --------------------------------------------------------------------------


def test_the_table_and_its_json_say_the_same(made: Made, typed: Typed) -> None:
    made("a", spread(0.1, 0.2), config=CONFIG | {"sampler": TPE})
    made("b", spread(0.3, 0.4))
    code, output, errors = typed("a", "b")
    found = json.loads(typed("a", "b", "--json")[1])
    lines = {line.split("  ")[0].strip(): line for line in output.splitlines()}
    assert (code, errors) == (0, "")
    assert output.splitlines()[0].split() == ["a", "b"]
    a, b = found["studies"]
    best = lines["best mse (lower is better)"]
    assert f"0.1 (slot {a['winner']['slot']})" in best
    assert f"0.3 (slot {b['winner']['slot']})" in best
    interval = a["winner"]["interval"]
    assert f"{interval['low']:.4g} … {interval['high']:.4g} (20 tasks)" in output
    assert a["winner"]["parameters"] == {RATE: 0.1}
    (pair,) = found["pairs"]
    assert pair["winners"]["paired"] and pair["winners"]["better"] == 1
    assert "a is better" in lines["a - b"] and "on the same 20 tasks" in lines["a - b"]
    assert lines["a - b"].count("a leads in 100%, bands overlap along 0%") == 3
    assert [at["share"] for at in found["equal_cost"]] == [0.25, 0.5, 1.0] * 3
    assert "TPESampler" in lines["sampler"] and "RandomSampler" in lines["sampler"]
    assert "n_startup_trials" not in output  # only one class has it
    assert [each["key"] for each in found["differences"]] == [
        "sampler._target_",
        "sampler.n_startup_trials",
    ]


def test_it_needs_no_tensorflow(made: Made, tmp_path: Path) -> None:
    made("a", [0.1])
    made("b", [0.2])
    code = (
        "import sys; from maml_sweep.cli import main\n"
        f"code = main(['compare', 'a', 'b', '--root', {str(tmp_path)!r}])\n"
        "print(code, [name for name in ('tensorflow', 'keras') if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "0 []"
