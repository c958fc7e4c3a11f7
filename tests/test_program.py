"""Programs: mixed steps, shards, XLA, divergence, and one trace for all of it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from numerics import (
    GivenRegression,
    Patterns,
    check_meta_gradient,
    program,
    query_loss,
    run_at,
    settings,
    sinusoid_program,
    started,
    train,
)

from maml_sweep import streams
from maml_sweep.algorithms import MAML
from maml_sweep.backend import tf
from maml_sweep.models import MLP, Conv4
from maml_sweep.tasks import Split
from maml_sweep.training import portions
from maml_sweep.training.lanes import arrange, padded, rounded
from maml_sweep.training.pack import Run, Trainer
from maml_sweep.training.program import Program
from maml_sweep.training.settings import Settings
from maml_sweep.training.stacking import arguments

BOUND = 5


@pytest.fixture(scope="module")
def sines() -> Program:
    """Sine waves for up to five steps, on two shards."""
    return sinusoid_program(bound=BOUND, shards=2)


@pytest.fixture(scope="module")
def whole() -> Program:
    """The same on one shard."""
    return sinusoid_program(bound=BOUND)


def numbers(place: int) -> Settings:
    """Different in everything that is a runtime array."""
    kind = ("adam", "sgd", "adamw")[place % 3]
    return settings(
        0.01 * (1 + place), 1 + place % BOUND, batch=2 + 3 * place % 7, kind=kind, meta_lr=0.01
    )


def states(runs: Sequence[Run]) -> list[np.ndarray]:
    return [np.stack([run.theta, run.moment1, run.moment2]) for run in runs]


def assert_same(found: Sequence[Run], wanted: Sequence[Run], rtol: float = 1e-10) -> None:
    """States, losses and counters agree."""
    for one, other in zip(found, wanted, strict=True):
        np.testing.assert_allclose(states([one])[0], states([other])[0], rtol=rtol, atol=1e-12)
        assert one.loss == pytest.approx(other.loss, rel=rtol, nan_ok=True)
        assert (one.iteration, one.diverged) == (other.iteration, other.diverged)


def alone(of: Program, place: int, iterations: int = 3) -> Run:
    (run,) = train(of, [started(of, numbers(place), seed=place)], iterations)
    return run


# -- packs ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("shards", ["whole", "sines"])
def test_a_pack_of_different_steps_is_each_alone(
    shards: str, request: pytest.FixtureRequest
) -> None:
    """Steps 1 … 5, given in no order; the lanes that are done are split off."""
    of: Program = request.getfixturevalue(shards)
    order = [3, 0, 4, 2, 1, 5, 6]
    packed = train(of, [started(of, numbers(k), seed=k) for k in order], 3)
    assert_same(packed, [alone(of, k) for k in order])


@pytest.mark.usefixtures("eager")
@pytest.mark.parametrize("steps", [1, 3])
def test_steps_below_the_bound_take_no_part(steps: int) -> None:
    """A program with room for five steps, and one that has just as many as the trial takes."""
    runs = []
    for bound in (BOUND, steps):
        of = sinusoid_program(bound=bound, precision="float64")
        runs += train(of, [started(of, settings(0.02, steps, batch=3, meta_lr=0.01))])
    assert_same(runs[:1], runs[1:])


@pytest.mark.usefixtures("eager")
def test_shards_change_nothing() -> None:
    packs = []
    for shards in (1, 2, 3):
        of = sinusoid_program(bound=2, shards=shards)
        chosen = [settings(0.02, 1 + k % 2, batch=1 + k, meta_lr=0.01) for k in range(4)]
        packs.append(train(of, [started(of, each, seed=3) for each in chosen], 2))
    assert_same(packs[1], packs[0])
    assert_same(packs[2], packs[0])


@pytest.mark.parametrize("size", [1, 3])
def test_portions_change_nothing(size: int, whole: Program) -> None:
    """Lanes of different steps, in portions that begin and end anywhere among the trials."""
    of = sinusoid_program(bound=BOUND)
    assert of.portion is None
    of.portion = size
    found, wanted = (
        train(each, [started(each, numbers(k), seed=k) for k in range(4)], 2)
        for each in (of, whole)
    )
    assert_same(found, wanted)
    one, other = Trainer(of), Trainer(whole)
    scores = one.evaluate(wanted, "validation", 0, 7)
    np.testing.assert_allclose(scores, other.evaluate(wanted, "validation", 0, 7), rtol=1e-10)
    curves = one.curves(wanted, "validation", 0, 7)
    for curve, whole_curve in zip(curves, other.curves(wanted, "validation", 0, 7), strict=True):
        np.testing.assert_allclose(curve, whole_curve, rtol=1e-10)
    assert of.traces == 1


@pytest.mark.parametrize(
    ("filters", "room", "wanted"),
    [(4, 80_000, 5), (8, 80_000, 2), (60, 80_000, 1), (4, 800_000, None)],
)
def test_a_portion_fills_so_many_bytes(
    filters: int, room: int, wanted: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a lane's largest tensor: the patches of the second layer, for 6 images of 3 x 3 pixels.

    A patch has 9 times the filters, each a number of 8 bytes.
    """
    monkeypatch.setattr(portions, "BYTES", room)
    monkeypatch.setattr(portions, "MANY", 40)
    assert program(Patterns(), Conv4((6, 6, 1), 3, filters)).portion == wanted


def test_shards_need_not_wait_for_each_other() -> None:
    """TensorFlow runs functions that may fail or have effects one behind another."""
    of = program(Patterns(), Conv4((6, 6, 1), 3, 4), shards=2)
    of.portion = 2
    graph = of._train.get_concrete_function().graph
    calls = [node for body in graph.as_graph_def().library.function for node in body.node_def]
    assert {node.op for node in calls if "PartitionedCall" in node.op} == {"PartitionedCall"}


def test_one_trace_serves_every_pack(sines: Program) -> None:
    for places, batch, count in ((1, 1, 1), (1, 9, 2), (3, 4, 1), (8, 2, 5), (2, 30, 1)):
        chosen = [settings(0.01, 1 + k % BOUND, batch=batch) for k in range(places)]
        train(sines, [started(sines, each) for each in chosen], count)
    assert sines.traces == 1


def test_an_inner_step_is_traced_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many there are: its derivatives, and theirs, are what takes long to trace."""
    calls = []
    step = MAML.step

    def counted(self: MAML, *given: Any) -> Any:
        calls.append(1)
        return step(self, *given)

    monkeypatch.setattr(MAML, "step", counted)
    of = sinusoid_program(bound=BOUND, shards=2)
    train(of, [started(of, numbers(k)) for k in range(3)])
    assert len(calls) == 1


def test_many_iterations_in_one_call_are_as_many_calls(sines: Program) -> None:
    once = Trainer(sines, slice_seconds=1e9)
    runs = [started(sines, numbers(k), seed=k) for k in range(3)]
    calls = sum(1 for _ in once.advance(runs, [20] * 3))
    assert calls == 2  # the first is one iteration long
    single = Trainer(sines, slice_seconds=0)
    others = [started(sines, numbers(k), seed=k) for k in range(3)]
    assert sum(1 for _ in single.advance(others, [20] * 3)) == 20
    assert_same(runs, others)


def test_each_run_stops_at_its_own_target(sines: Program) -> None:
    runs = [started(sines, numbers(k), seed=k) for k in range(3)]
    for _ in Trainer(sines).advance(runs, [2, 7, 0]):
        pass
    assert [run.iteration for run in runs] == [2, 7, 0]
    assert_same(runs[:1], [alone(sines, 0, 2)])
    assert_same(runs[1:2], [alone(sines, 1, 7)])
    assert_same(runs[2:], [started(sines, numbers(2), seed=2)])


def test_meta_gradient_of_the_traced_program() -> None:
    """As it is used: sampled tasks, two shards, lanes split off."""
    of = sinusoid_program((4,), bound=3, shards=2)
    check_meta_gradient(of, started(of, settings()).theta + 0.01, settings(0.05, 2, batch=3))


# -- arrangement ---------------------------------------------------------------------------------


def test_lanes_by_hand() -> None:
    """Trials of 3, 1 steps with 2 and 3 tasks; a program of four steps."""
    (whole,) = arrange(np.array([3, 1]), np.array([2, 3]), 4, 1)
    assert whole.owner.tolist() == [0, 0, 1, 1, 1]
    assert whole.task.tolist() == [0, 1, 0, 1, 2]
    np.testing.assert_allclose(whole.weight, [1 / 2, 1 / 2, 1 / 3, 1 / 3, 1 / 3])
    assert whole.live.tolist() == [5, 2, 2, 1]  # at least one lane, even where none is left


def test_shards_deal_the_lanes() -> None:
    first, second = arrange(np.array([3, 1]), np.array([2, 3]), 3, 2)
    assert (first.owner.tolist(), first.task.tolist()) == ([0, 1, 1], [0, 0, 2])
    assert (second.owner.tolist(), second.task.tolist()) == ([0, 1], [1, 1])
    assert (first.live.tolist(), second.live.tolist()) == ([3, 1, 1], [2, 1, 1])


def test_a_trial_of_fewer_tasks_than_shards_repeats_its_last_weightless() -> None:
    shards = arrange(np.array([2]), np.array([1]), 2, 3)
    assert [shard.owner.tolist() for shard in shards] == [[0]] * 3
    assert [shard.weight.tolist() for shard in shards] == [[1], [0], [0]]


def test_every_lane_is_dealt_once() -> None:
    steps, tasks = np.array([4, 4, 2, 1]), np.array([3, 5, 2, 7])
    shards = arrange(steps, tasks, 4, 3)
    dealt = [lane for shard in shards for lane in zip(*shard[:3], strict=True)]
    pairs = [(place, task) for place, task, weight in dealt if weight]
    assert sorted(pairs) == [(place, task) for place in range(4) for task in range(tasks[place])]
    for shard in shards:
        assert np.all(np.diff(shard.owner) >= 0)
        assert set(shard.owner) == {0, 1, 2, 3}  # the third trial has two tasks for three shards
        assert shard.live.tolist() == [max(1, np.sum(steps[shard.owner] > s)) for s in range(4)]


def test_padding_by_hand() -> None:
    """Five lanes of two trials and three more on the spare place, weightless."""
    (whole,) = arrange(np.array([3, 1]), np.array([2, 3]), 3, 1)
    filled = padded(whole, 8, 2)
    assert filled.owner.tolist() == [0, 0, 1, 1, 1, 2, 2, 2]
    assert filled.weight[5:].tolist() == [0, 0, 0]
    np.testing.assert_array_equal(filled.weight[:5], whole.weight)
    assert len(padded(filled, 8, 2).owner) == 8


def test_few_numbers_of_lanes_are_compiled() -> None:
    """Up to eight as they are, then four between a power of two and the next."""
    assert [rounded(count) for count in (1, 5, 8, 9, 16, 17, 25, 800)] == [
        *(1, 5, 8, 10, 16, 20, 28, 896)
    ]
    sizes = {rounded(count) for count in range(1, 1025)}
    assert len(sizes) == 8 + 4 * 7
    assert all(count <= rounded(count) < 1.25 * count for count in range(1, 1025))


# -- XLA -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def compiled() -> Program:
    return sinusoid_program(bound=2, compiled=True)


def three(of: Program) -> list[Run]:
    """Two sound trials and one that overflows at once."""
    chosen = [settings(0.02, k, batch=3, meta_lr=0.01, kind="adam") for k in (2, 1)]
    chosen.append(settings(1e200, 1, batch=3))
    return [started(of, each, seed=1) for each in chosen]


def test_compiled_is_uncompiled(compiled: Program) -> None:
    """Also beside a trial that overflows: XLA must not spread its NaN."""
    plain = sinusoid_program(bound=2)
    found, wanted = (train(of, three(of), 3) for of in (compiled, plain))
    assert [run.diverged for run in wanted] == [None, None, 0]
    assert_same(found[:2], wanted[:2])
    assert found[2].diverged == 0
    for judge in (Trainer.evaluate, Trainer.curves):
        pair = [judge(Trainer(of), wanted[:2], "validation", 0, 5) for of in (compiled, plain)]
        for scores, reference in zip(*pair, strict=True):
            np.testing.assert_allclose(scores, reference, rtol=1e-10)
    assert compiled.traces == 1


def test_lowering_to_stablehlo(compiled: Program) -> None:
    text = compiled.stablehlo(*arguments(compiled, three(compiled), 1))
    assert "stablehlo" in text
    assert "func.func @main" in text
    assert "custom_call" not in text  # any XLA runtime can run it


def test_only_a_compiled_program_lowers() -> None:
    of = sinusoid_program()
    with pytest.raises(ValueError, match="compiled=True"):
        of.stablehlo(*arguments(of, [started(of, settings())], 1))


# -- divergence ----------------------------------------------------------------------------------


def test_divergence_by_hand() -> None:
    """x = 1, y = 0 without adaptation: L = (w + b)², and with β = 1 w + b turns to -3 (w + b).

    From w + b = 1 the losses are 1, 9, 81, 729, 6561: the fifth is above 1,000, after four
    completed iterations, which have left w + b = 81.
    """
    x, y = np.ones((1, 1, 1)), np.zeros((1, 1, 1))
    of = program(GivenRegression((x, y), (x, y)), MLP((1,), 1, ()), max_loss=1000.0)
    (run,) = train(of, [run_at([0.25, 0.75], settings(0.0, 1, batch=1))], 10)
    assert (run.diverged, run.iteration, run.loss) == (4, 4, 6561.0)
    np.testing.assert_allclose(run.theta, [40.25, 40.75])
    (run,) = train(of, [run_at([0.25, 0.75], settings(0.0, 1, batch=1))], 4)
    assert (run.diverged, run.iteration, run.loss) == (None, 4, 729.0)


@pytest.mark.usefixtures("eager")
@pytest.mark.parametrize("max_loss", [1e6, math.inf])
@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_a_huge_inner_rate_ends_that_trial_alone(precision: str, max_loss: float) -> None:
    """Its loss is too large, or not finite where none is; its mates go on as without it."""
    of = sinusoid_program(bound=BOUND, shards=2, precision=precision, max_loss=max_loss)
    rate = {"float32": 1e30, "float64": 1e250}[precision] if max_loss == math.inf else 1e6
    wild = settings(rate, BOUND, batch=4, kind="adam", meta_lr=0.01)
    mates = [settings(0.01, k, batch=3, kind="adam", meta_lr=0.01) for k in (5, 3, 1)]
    runs = [started(of, each, seed=k) for k, each in enumerate([*mates, wild])]
    before = runs[3].theta.copy()
    train(of, runs, 3)
    assert (runs[3].diverged, runs[3].iteration) == (0, 0)
    np.testing.assert_array_equal(runs[3].theta, before)
    rtol = 1e-10 if precision == "float64" else 2e-4
    without = train(of, [started(of, each, seed=k) for k, each in enumerate(mates)], 3)
    for one, other in zip(runs, without, strict=False):
        assert one.diverged is None
        assert one.iteration == 3
        np.testing.assert_allclose(one.theta, other.theta, rtol=rtol, atol=rtol / 10)


def test_a_late_divergence_keeps_a_finite_state() -> None:
    """A meta rate that grows the loss for a while: what is left is the last good state."""
    of = sinusoid_program(max_loss=1e6)
    wild = settings(0.01, 1, batch=4, meta_lr=0.6)
    (run,) = train(of, [started(of, wild)], 100)
    assert run.diverged is not None
    assert 0 < run.diverged == run.iteration < 100
    assert not run.loss <= 1e6
    assert np.isfinite(states([run])[0]).all()
    (again,) = train(of, [started(of, wild)], run.diverged)
    assert again.diverged is None
    assert again.loss <= 1e6
    np.testing.assert_allclose(again.theta, run.theta)


def test_a_gradient_that_overflows_is_divergence_too() -> None:
    """L = (w x)² = 1e4 at x = 1e38 is finite; ∂L/∂w = 2 w x² = 2e40 is not in float32."""
    zero, x = np.zeros((1, 1, 1)), np.full((1, 1, 1), 1e38)
    of = program(GivenRegression((zero, zero), (x, zero)), MLP((1,), 1, ()), precision="float32")
    start = np.array([1e-36, 0.0], np.float32)
    for kind in ("sgd", "adam"):
        (run,) = train(of, [run_at(start, settings(batch=1, kind=kind))], 3)
        assert run.diverged == 0
        assert run.loss == pytest.approx(1e4, rel=1e-5)
        np.testing.assert_array_equal(run.theta, start)
        assert not run.moment1.any()
        assert not run.moment2.any()


def test_a_moment_that_overflows_is_divergence_too() -> None:
    """∂L/∂w = 2e20 is finite, its square in Adam's second moment is not: it would stand still."""
    zero, x = np.zeros((1, 1, 1)), np.full((1, 1, 1), 1e20)
    of = program(GivenRegression((zero, zero), (x, zero)), MLP((1,), 1, ()), precision="float32")
    start = np.array([1e-20, 0.0], np.float32)
    (run,) = train(of, [run_at(start, settings(batch=1, kind="adam"))])
    assert run.diverged == 0


def test_divergence_in_convolutions_stays_in_its_lane() -> None:
    """Grouped convolutions of single precision: the lanes are channels of one image.

    By SGD: Adam would blow the rounding of a vanishing gradient up to a whole step.
    """
    of = program(Patterns(), Conv4((6, 6, 1), 3, 2), precision="float32")
    mate = settings(0.1, 1, meta_lr=0.1)
    mates = [started(of, mate, seed=k) for k in range(2)]
    wild = run_at(np.full_like(mates[0].theta, np.nan), mate)
    train(of, [mates[0], wild, mates[1]], 5)
    assert wild.diverged == 0
    without = train(of, [started(of, mate, seed=k) for k in range(2)], 5)
    for one, other in zip(mates, without, strict=True):
        assert (one.diverged, one.iteration) == (None, 5)
        np.testing.assert_allclose(one.theta, other.theta, rtol=1e-4, atol=1e-5)
    assert of.traces == 1


# -- judging -------------------------------------------------------------------------------------


def test_judging_adapts_by_each_trials_own_steps(sines: Program) -> None:
    """The score of a task is that of the query set after plain gradient steps on the support."""
    runs = [started(sines, numbers(k), seed=k) for k in (0, 3, 1)]
    found = Trainer(sines).evaluate(runs, "validation", 4, 7)
    keys = streams.fold_in(
        tf.constant(np.tile(streams.key("evaluation", "validation", 4), (7, 1))), tf.range(7)
    )
    episode = sines.task.episodes("validation", keys, tf.float64)
    for row, run in zip(found, runs, strict=True):
        params = sines.layout.split(tf.constant(np.tile(run.theta, (7, 1))))
        for _ in range(run.settings.eval_steps):
            with tf.GradientTape() as tape:
                tape.watch(params)
                losses = sines.problem.support_loss(params, episode.support)
            slopes = tape.gradient(losses, params)
            rate = run.settings.knobs["inner_lr"]
            params = [p - rate * g for p, g in zip(params, slopes, strict=True)]
        np.testing.assert_allclose(row, query_loss(sines, params, episode), rtol=1e-10)


def test_judging_hangs_on_nobody_else(sines: Program) -> None:
    """Company and meta-batch sizes decide the blocks of tasks, and must change no score."""
    runs = [started(sines, numbers(k), seed=k) for k in (4, 0, 3, 1)]
    together = Trainer(sines).evaluate(runs, "validation", 0, 10)
    for row, run in zip(together, runs, strict=True):
        (own,) = Trainer(sines).evaluate([run], "validation", 0, 10)
        np.testing.assert_allclose(own, row, rtol=1e-10)
    few = Trainer(sines).evaluate(runs, "validation", 0, 4)
    np.testing.assert_allclose(few, together[:, :4], rtol=1e-10)


def test_splits_and_seeds_have_tasks_of_their_own(sines: Program) -> None:
    run = started(sines, numbers(0))
    kinds: list[tuple[Split, int]] = [("validation", 0), ("validation", 1), ("test", 0)]
    scores = [Trainer(sines).evaluate([run], split, seed, 5)[0] for split, seed in kinds]
    assert len(np.unique(scores)) == 15


def test_curves(sines: Program) -> None:
    """After 0 … 2S steps: nothing adapted at 0, the objective's own score at S."""
    runs = [started(sines, numbers(k), seed=k) for k in (1, 2)]
    trainer = Trainer(sines)
    curves = trainer.curves(runs, "validation", 0, 6)
    assert [curve.shape for curve in curves] == [(5, 6), (7, 6)]
    for curve, run in zip(curves, runs, strict=True):
        (score,) = trainer.evaluate([run], "validation", 0, 6)
        np.testing.assert_allclose(curve[run.settings.eval_steps], score, rtol=1e-10)
        (still,) = trainer.evaluate([run_at(run.theta, settings(0.0))], "validation", 0, 6)
        np.testing.assert_allclose(curve[0], still, rtol=1e-10)


def test_steps_of_judging_may_exceed_those_of_training() -> None:
    of = sinusoid_program(bound=1, eval_bound=4)
    runs = [started(of, settings(0.01, 1, eval_steps=k), seed=2) for k in (1, 4)]
    trainer = Trainer(of)
    scores = trainer.evaluate(runs, "validation", 0, 5)
    np.testing.assert_allclose(trainer.curves(runs[1:], "validation", 0, 5)[0][[1, 4]], scores)


def test_inner_clipping_is_a_runtime_array() -> None:
    of = sinusoid_program(algorithm=MAML(0.1, 1, inner_clip=1.0))
    chosen = [settings(0.1, 1, knobs={"inner_clip": clip}) for clip in (1e-9, 0.5, 1e9)]
    losses = [run.loss for run in train(of, [started(of, each) for each in chosen])]
    assert len(set(losses)) == 3
    (still,) = train(of, [started(of, settings(0.0, 1, knobs={"inner_clip": 1.0}))])
    assert losses[0] == pytest.approx(still.loss, rel=1e-6)
    assert of.traces == 1
