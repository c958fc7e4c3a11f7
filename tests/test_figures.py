"""The general figures: what they draw is computed here by hand; odd studies get words."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from telling import META, RATE, STEPS, TWO, Told, told

from maml_sweep.analysis import settings
from maml_sweep.analysis.drawing import marks, plotly
from maml_sweep.analysis.figures import (
    common,
    cost,
    curves,
    distribution,
    history,
    importance,
    pairs,
    parallel,
    parameters,
    slices,
    smoothing,
    timeline,
)

POINTS = [(0.1, 1), (0.01, 2), (0.001, 5), (0.03, 1), (0.05, 1), (0.02, 3), (0.001, 4)]
STATES = {3: "pruned", 4: "diverged", 5: "running", 6: "waiting"}


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Seven slots, rungs at 10, 20 and 30, value 100 α + 30 / step; two workers with two places.

    slot      0     1     2      3          4            5        6
    α, steps  .1 1  .01 2 .001 5 .03 1      .05 1        .02 3    .001 4
    curve     13 11.5 11  4 2.5 2  3.1 1.6 1.1  6 4.5 |  8 nan |  5 3.5 …  none
    """
    return told(
        tmp_path_factory.mktemp("known"),
        n_trials=7,
        rungs=(10, 20, 30),
        space=TWO,
        points=[{RATE: rate, STEPS: steps} for rate, steps in POINTS],
        objective=lambda values, step: 100 * values[RATE] + 30 / step,
        states=STATES,
        prune="none",
        pack=2,
        workers=2,
        tasks=4,
    )


def shown(drawing: marks.Drawing) -> list[marks.Mark]:
    """All marks of a figure."""
    assert isinstance(drawing, marks.Figure), drawing
    return [mark for panel in drawing.panels for mark in panel.marks]


def floats(values: Any) -> np.ndarray:
    """A mark's numbers."""
    return np.asarray(values, dtype=float)


def named(drawing: marks.Drawing, name: str) -> Any:
    """The first mark of that name."""
    return next(mark for mark in shown(drawing) if getattr(mark, "name", "") == name)


# -- what is drawn ----------------------------------------------------------------------------


def test_history_is_in_the_order_of_finishing(known: Any) -> None:
    """0 and 1 end together, then 3, 4 and 2; only 0, 1 and 2 count for the best."""
    table = history.frame(known.frames)
    assert table["slot"].tolist() == [0, 1, 3, 4, 2]
    assert table["order"].tolist() == [1, 2, 3, 4, 5]
    np.testing.assert_allclose(table["value"], [11, 2, 4.5, 8, 1.1])
    np.testing.assert_allclose(table["best"], [11, 2, 2, 2, 1.1])
    drawn = history.figure(known)
    np.testing.assert_allclose(named(drawn, "best so far").y, table["best"])
    assert list(named(drawn, "best").slots) == [2]
    assert list(named(drawn, "diverged").y) == [8]
    assert named(drawn, "pruned").text == [f"{RATE} = 0.03\n{STEPS} = 1"]


def test_history_of_an_objective_that_is_maximised(tmp_path: Path) -> None:
    """α is the value: the best so far only grows."""
    points = [{RATE: rate} for rate in (0.02, 0.05, 0.01, 0.09)]
    answers = told(
        tmp_path,
        n_trials=4,
        space={RATE: TWO[RATE]},
        points=points,
        objective=lambda values, step: values[RATE],
        prune="none",
        direction="maximize",
        metric="accuracy",
        pack=1,
    )
    np.testing.assert_allclose(history.frame(answers.frames)["best"], [0.02, 0.05, 0.05, 0.09])


def test_curves_hold_every_finite_value(known: Any) -> None:
    table = curves.frame(known.frames)
    assert len(table) == 3 + 3 + 3 + 2 + 1 + 2
    last = curves.ends(table).set_index("slot")["value"]
    np.testing.assert_allclose(last.sort_index(), [11, 2, 1.1, 4.5, 8, 3.5])
    lines = {
        mark.name: mark for mark in shown(curves.figure(known)) if isinstance(mark, marks.Line)
    }
    complete = lines["complete"]
    np.testing.assert_allclose(
        floats(complete.y), [13, 11.5, 11, np.nan, 4, 2.5, 2, np.nan, 3.1, 1.6, 1.1, np.nan]
    )
    assert np.asarray(complete.slots).tolist() == [0] * 4 + [1] * 4 + [2] * 4
    np.testing.assert_allclose(floats(lines["best"].y), [3.1, 1.6, 1.1])
    crosses = [m for m in shown(curves.figure(known)) if isinstance(m, marks.Points)]
    assert [(m.symbol, floats(m.x).tolist(), floats(m.y).tolist()) for m in crosses] == [
        ("circle", [20], [4.5]),
        ("x", [10], [8]),
    ]


def test_parameters_know_their_scales(known: Any) -> None:
    """α on a log scale from 0.001 to 0.1, steps from 1 to 5."""
    rate, steps = parameters.parameters(known.frames)
    assert (rate.label, rate.log, rate.named) == ("inner_lr", True, None)
    np.testing.assert_allclose(rate.unit[:3], [1, 0.5, 0], atol=1e-12)
    np.testing.assert_allclose(rate.at(np.array([0, 0.5, 1])), [0.001, 0.01, 0.1])
    np.testing.assert_allclose(steps.unit[:3], [0, 0.25, 1])
    assert steps.named == {x: str(x) for x in range(1, 6)}
    assert settings.labels(["a.x", "b.x", "b.y"]) == {"a.x": "a.x", "b.x": "b.x", "b.y": "y"}


def test_slices_show_complete_and_pruned_trials(known: Any) -> None:
    table = slices.frame(known.frames)
    assert table["slot"].tolist() == [0, 1, 2, 3]
    np.testing.assert_allclose(table["value"], [11, 2, 1.1, 4.5])
    assert table[STEPS].tolist() == [1, 2, 5, 1]
    drawn = slices.figure(known)
    assert isinstance(drawn, marks.Figure)
    assert [panel.x.kind for panel in drawn.panels] == ["log", "linear"]
    assert drawn.panels[1].x.ticks == {x: str(x) for x in range(1, 6)}
    assert "diverged are left out: 1" in drawn.note


def test_parallel_coordinates_end_with_the_best(known: Any) -> None:
    """Standings of the last values 11, 2, 1.1, 4.5, 8 and 3.5: ranks 5, 1, 0, 3, 4 and 2 of 5."""
    table = parallel.frame(known)
    assert table["slot"].tolist() == [0, 4, 3, 5, 1, 2]
    np.testing.assert_allclose(table["standing"], [1, 0.8, 0.6, 0.4, 0.2, 0])
    drawn = parallel.figure(known)
    assert isinstance(drawn, marks.Parallel)
    assert [each.label for each in drawn.dimensions] == ["inner_lr", "inner_steps", "standing"]


def test_a_parameter_that_a_branch_lacks_passes_below_its_axis() -> None:
    given = parameters.Parameter("k", "k", (), 1.0, 100.0, True, False, np.empty(0))
    found = parallel.dimension(given, np.array([10.0, np.nan]))
    values = np.asarray(found.values)
    assert values[0] == 10 and values[1] == pytest.approx(100**-0.12)
    assert found.ticks is not None and next(iter(found.ticks.values())) == "not used"
    assert found.ticks[10.0] == "10"


def test_importance_labels_branches_and_bounds_the_spread(known: Any) -> None:
    table = pd.DataFrame({"parameter": [META, RATE], "branch": ["", "adam"]})
    table = table.assign(fanova=[0.9, 0.05], fanova_sd=0.2, pedanova=[0.7, 0.3])
    found = importance.frame(Told(known.frames, importance=table))  # type: ignore[arg-type]
    assert found["label"].tolist() == ["meta_lr", "inner_lr (adam)"]
    np.testing.assert_allclose(found["low"], [0.7, 0])
    np.testing.assert_allclose(found["high"], [1, 0.25])
    drawn = importance.figure(Told(known.frames, importance=table))  # type: ignore[arg-type]
    assert isinstance(drawn, marks.Figure) and "Too few trials." in drawn.caption
    assert list(named(drawn, "PED-ANOVA").lengths) == [0.7, 0.3]


def test_the_front_is_what_nothing_beats() -> None:
    """(1, 5) beats (2, 5), and (3, 1) beats (3, 2); what is no number is beaten."""
    costs = np.array([2.0, 1.0, 3.0, 3.0, np.nan, 9.0])
    losses = np.array([5.0, 5.0, 2.0, 1.0, 0.0, np.nan])
    np.testing.assert_array_equal(
        cost.front(costs, losses), [False, True, False, True, False, False]
    )


def test_cost_counts_only_completed_trials_as_bought(known: Any) -> None:
    """All completed trials saw 30 x 25 tasks, so the best alone is on that front."""
    table = cost.frame(known.frames).set_index("slot")
    np.testing.assert_allclose(table["tasks"], [750, 750, 750, 500, 425, 500])
    assert table.index[table["tasks_front"]].tolist() == [2]
    assert table.index[table["seconds_front"]].tolist() == [0, 1, 2]  # 2, 3 and 7 ms
    line = named(cost.figure(known), "Pareto front")
    assert (list(line.x), line.stepped) == ([750, 750], True)
    np.testing.assert_allclose(line.y, [1.1, 1.1])


def test_the_distribution_counts_pruned_and_diverged_trials_as_worse(known: Any) -> None:
    """Five results, three of them with an objective: 1.1, 2, 11."""
    table = distribution.frame(known.frames)
    np.testing.assert_allclose(table["value"], [1.1, 2, 11])
    np.testing.assert_allclose(table["share"], [0.2, 0.4, 0.6])
    (line,) = shown(distribution.figure(known))
    assert isinstance(line, marks.Line) and line.stepped
    np.testing.assert_allclose(floats(line.y), [0, 0.2, 0.4, 0.6])


def test_branches_have_distributions_of_their_own(tmp_path: Path) -> None:
    """One of adam's two results was completed, of sgd's three 0.02 and 0.05 were."""
    drawn = [("adam", 0.03), ("adam", 0.01), ("sgd", 0.02), ("sgd", 0.05), ("sgd", 0.01)]
    answers = told(
        tmp_path,
        n_trials=5,
        space={RATE: TWO[RATE]},
        groups={"optimizer": {"adam": {}, "sgd": {}}},
        points=[{"optimizer": name, RATE: rate} for name, rate in drawn],
        objective=lambda values, step: values[RATE],
        states={1: "pruned", 4: "pruned"},
        prune="none",
    )
    table = distribution.frame(answers.frames)
    assert table["branch"].tolist() == ["adam", "sgd", "sgd"]
    np.testing.assert_allclose(table["share"], [1 / 2, 1 / 3, 2 / 3])


def test_the_timeline_gives_each_trial_a_free_place(known: Any) -> None:
    """Slots 4 and 5 take the places of 0 and 1; 5 runs until the last that is known."""
    table = timeline.frame(known.frames).set_index("slot")
    assert table["worker"].to_dict() == {0: 1, 1: 1, 2: 2, 3: 2, 4: 1, 5: 1}
    assert table["place"].to_dict() == {0: 1, 1: 2, 2: 1, 3: 2, 4: 1, 5: 2}
    np.testing.assert_allclose(table["start"], [0, 0, 0.1, 0.1, 1.6245, 1.6245], atol=1e-6)
    np.testing.assert_allclose(table["end"][[0, 3, 5]], [1.6245, 1.686, 1.7085], atol=1e-4)
    turns = timeline.packs(known.frames, table)
    assert turns["worker"].tolist() == [1] * 5 + [2] * 3
    assert turns["trials"].tolist() == [2] * 7 + [1]


def test_places_are_reused_lowest_first() -> None:
    starts, ends = np.array([0.0, 0.0, 1.0, 2.0, 5.0]), np.array([2.0, 5.0, 3.0, 4.0, 6.0])
    assert timeline.places(starts, ends) == [1, 2, 3, 1, 1]


def test_long_pauses_are_cut_out_of_the_clock() -> None:
    """Busy from 0 to 40 and 1000 to 1060; a pause of one second is none."""
    starts, ends = np.array([0.0, 1000.0, 21.0]), np.array([20.0, 1060.0, 40.0])
    gaps = timeline.idle(starts, ends)
    assert gaps == [(40.0, 1000.0)]
    found = timeline.clock(np.array([0.0, 30.0, 500.0, 1000.0, 1060.0]), starts, gaps)
    assert found.tolist() == [0, 30, 40, 40, 100]


def test_many_workers_are_summed() -> None:
    """Worker 0 holds 2, then worker 1 joins with 3, then worker 0 drops to 1."""
    turns = pd.DataFrame({"worker": [0, 1, 0], "start": [0.0, 1.0, 2.0], "trials": [2.0, 3.0, 1.0]})
    assert timeline._summed(turns)["trials"].tolist() == [2, 5, 4]


# -- pairs ------------------------------------------------------------------------------------


def test_a_smooth_map_is_a_weighted_mean() -> None:
    """Halfway between two trials of 0 and 1 the mean is 0.5; far from all there is none."""
    x, y, z = np.array([0.1, 0.3]), np.array([0.5, 0.5]), np.array([0.0, 1.0])
    found = smoothing.smoothed(x, y, z, np.array([0.1, 0.2, 0.9]), np.array([0.5]))
    near = np.exp(-2.0)  # two bandwidths away
    np.testing.assert_allclose(found, [[near / (1 + near), 0.5, np.nan]])


def test_means_of_cells() -> None:
    x, y, z = np.array([0, 0, 1.0]), np.array([1, 1, 0.0]), np.array([0.2, 0.4, 1.0])
    means, number = smoothing.cell_means(x, y, z, 2, 2)
    np.testing.assert_allclose(means, [[np.nan, 1], [0.3, np.nan]])
    np.testing.assert_array_equal(number, [[0, 1], [2, 0]])


def test_pairs_begin_with_the_most_important(tmp_path: Path) -> None:
    answers = told(tmp_path, n_trials=24)
    table = pd.DataFrame({"parameter": ["training.meta_batch_size", META, RATE], "branch": ""})
    answers.importance = table.assign(fanova=[0.1, 0.6, 0.3], fanova_sd=0, pedanova=0)
    drawn = pairs.figure(answers)
    assert isinstance(drawn, marks.Choice)
    assert list(drawn.options)[:2] == ["meta_lr × inner_lr", "meta_lr × meta_batch_size"]
    assert len(drawn.options) == 6 and drawn.chosen == "meta_lr × inner_lr"
    points, heat = shown(drawn.options[drawn.chosen])
    assert isinstance(points, marks.Points) and isinstance(heat, marks.Heat)
    assert np.shape(heat.z) == (pairs.CELLS, pairs.CELLS)
    held = np.asarray(heat.z)
    assert np.nanmin(held) >= 0 and np.nanmax(held) <= 1


def test_the_map_finds_the_good_corner(tmp_path: Path) -> None:
    """Loss falls with α and with β: the top right is best."""
    answers = told(
        tmp_path,
        n_trials=60,
        objective=lambda values, step: 3 - np.log10(values[RATE] * values[META]),
        prune="none",
    )
    rate, meta = (each for each in parameters.parameters(answers.frames) if "_lr" in each.key)
    table = pairs.frame(answers, rate, meta)
    heat = pairs.standing_map(table, rate, meta, marks.Scale("standing", "standing"))
    assert heat is not None
    z = np.asarray(heat.z)
    assert np.nanmean(z[-9:, -9:]) < 0.3 and np.nanmean(z[:9, :9]) > 0.7


def test_the_number_of_pairs_is_bounded(tmp_path: Path) -> None:
    """Seven parameters make 21 pairs."""
    space = {f"model.p{index}": "interval(0, 1)" for index in range(7)}
    drawn = pairs.figure(told(tmp_path, n_trials=6, space=space))
    assert isinstance(drawn, marks.Choice)
    assert len(drawn.options) == 15 and drawn.note.startswith("6 pairs")
    keys = {figure.key for figure in drawn.options.values()}
    assert len(keys) == 15


# -- words and axes ---------------------------------------------------------------------------


def test_situations_are_counted(known: Any) -> None:
    assert common.situation(known.frames) == "5 trials ended (3 complete, 1 pruned, 1 diverged)"


def test_values_that_span_decades_get_a_log_axis() -> None:
    axis: Callable[..., marks.Axis] = common.value_axis
    assert axis("", [1, 100]).kind == "log"
    assert axis("", [1, 2], [np.nan, 50]).kind == "log"
    assert axis("", [1, 10]).kind == "linear"
    assert axis("", [0, 100]).kind == "linear"
    assert axis("", []).kind == "linear"


def test_two_thousand_trials_stay_small(tmp_path: Path) -> None:
    """40,000 values: as JSON under 15 bytes each; 200 trials stand for them here."""
    answers = told(tmp_path, n_trials=200, prune="none", tasks=3, evaluations=False)
    text = json.dumps(plotly.render(curves.figure(answers)))
    assert len(text) < 200 * 20 * 15
