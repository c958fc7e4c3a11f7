"""The whole family of algorithms, through one suite: what every option must hold.

`family.CASES` has a row an option. An algorithm's own numbers are in a file of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from family import (
    CASES,
    ITERATIONS,
    TASKS,
    Case,
    advance,
    config_of,
    parts_of,
    program_of,
    scaled,
    shorter,
    started,
    state,
    strangers,
)
from numerics import check_meta_gradient, knobs, optimizer, settings
from omegaconf import OmegaConf

import maml_sweep
from maml_sweep import build, config, streams
from maml_sweep.backend import tf
from maml_sweep.tasks import Episode, Examples
from maml_sweep.training import checkpoint, trial, weights
from maml_sweep.training.pack import Run, Trainer, start
from maml_sweep.training.program import Program
from maml_sweep.training.settings import Settings
from maml_sweep.training.stacking import arguments
from maml_sweep.training.trial import Trial
from maml_sweep.training.weights import Meta

SEED = streams.trial_seed(0, 11)
EXACT = 1e-8  # relative, of float64 over a few iterations


def test_every_option_has_a_case() -> None:
    assert {case.option for case in CASES} == set(config.GROUPS["algorithm"])


@pytest.fixture(scope="module", params=CASES, ids=lambda case: str(case.option))
def case(request: pytest.FixtureRequest) -> Case:
    found: Case = request.param
    return found


@pytest.fixture(scope="module")
def of(case: Case) -> Program:
    """The case's program on two shards, which most tests share."""
    return program_of(case)


@pytest.fixture(scope="module")
def own(case: Case) -> Settings:
    """The trial that is followed: two rungs."""
    return parts_of(case).settings


@pytest.fixture(scope="module")
def alone(of: Program, own: Settings) -> Trial:
    """The trial by itself, to its end."""
    found = trial.start(of, own, SEED)
    follow(Trainer(of), found)
    return found


def follow(
    trainer: Trainer, followed: Trial, company: Sequence[Run] = (), until: int = ITERATIONS
) -> None:
    """Trains and judges a trial behind the first of its company and before the others."""
    runs = [*company[:1], *followed.runs, *company[1:]]
    while not followed.finished:
        goal = min(followed.next_rung.iteration, until)
        for _ in trainer.advance(runs, [goal] * len(runs)):
            pass
        assert followed.diverged is None
        if goal < followed.next_rung.iteration:
            return
        trial.judge(trainer, [followed], 0, TASKS)


def assert_itself(found: Trial, alone: Trial) -> None:
    """The values at every rung, and all of the state."""
    assert len(found.values) == len(alone.values) == 2
    np.testing.assert_allclose(found.per_task, alone.per_task, rtol=EXACT, atol=EXACT)
    one, other = (state(each.runs[0]) for each in (found, alone))
    np.testing.assert_allclose(one, other, rtol=1e3 * EXACT, atol=EXACT)


# -- learning ------------------------------------------------------------------------------------


@pytest.mark.usefixtures("eager")
def test_the_meta_gradient_is_that_of_the_loss(case: Case) -> None:
    if case.oracle == "reference":
        pytest.skip("compared with a reference in a file of its own")
    of, exact = program_of(case, case.exact, shards=1), parts_of(case, case.exact).settings
    plain = replace(exact, optimizer=settings().optimizer, meta_batch_size=2)  # SGD at rate 1
    theta = start(of, plain, 0).theta
    away = 0.1 * np.random.default_rng(0).normal(size=len(theta))
    check_meta_gradient(of, theta + away, plain)


def test_it_trains(of: Program, own: Settings, alone: Trial) -> None:
    """Everything that is learnt has moved."""
    (run,) = alone.runs
    untrained = start(of, own, SEED)
    assert np.isfinite(run.theta).all() and np.isfinite(alone.per_task).all()
    before, after = (of.layout.named(each.theta) for each in (untrained, run))
    assert [name for name in before if np.array_equal(before[name], after[name])] == []


# -- company -------------------------------------------------------------------------------------


def test_in_a_pack_of_strangers(of: Program, own: Settings, alone: Trial) -> None:
    found, others = trial.start(of, own, SEED), started(of, strangers(own))
    follow(Trainer(of), found, others)
    assert_itself(found, alone)
    assert [run.diverged for run in others] == [None] * 4
    assert len({run.loss for run in [*others, *found.runs]}) == 5


def test_interrupted_and_restored(of: Program, own: Settings, alone: Trial, tmp_path: Path) -> None:
    """Between two rungs and at one, each time by another trainer in other company."""
    path, others = tmp_path / "11.npz", started(of, strangers(own))
    found = trial.start(of, own, SEED)
    for stop, mates in ((1, others[:2]), (2, []), (3, others[2:3]), (ITERATIONS, others[1:])):
        found = trial.start(of, own, SEED)
        assert checkpoint.restore(path, found) == (stop > 1)
        follow(Trainer(of), found, mates, stop)
        assert found.iteration == stop
        checkpoint.save(path, found)
    assert_itself(found, alone)


def test_divergence_ends_that_trial_alone(
    case: Case, of: Program, own: Settings, alone: Trial
) -> None:
    """An absurd meta rate beside it, and an absurd inner rate where there is one."""
    wild = [replace(own, optimizer=optimizer("sgd", meta_lr=1e100))]
    if case.trains_inside and "inner_lr" in own.knobs:
        wild.append(replace(own, knobs={**own.knobs, "inner_lr": 1e100}))
    others = started(of, [*wild, *strangers(own)[:1]])
    found = trial.start(of, own, SEED)
    follow(Trainer(of), found, others)
    assert_itself(found, alone)
    *lost, mate = others
    assert [run.diverged is not None and run.diverged < 3 for run in lost] == [True] * len(wild)
    assert (mate.diverged, mate.iteration) == (None, ITERATIONS)
    assert all(np.isfinite(state(run)).all() for run in others)


def test_one_trace_for_all(of: Program, own: Settings, alone: Trial) -> None:
    everyone = [own, *strangers(own)]
    for chosen, count in ((everyone[:1], 1), (everyone[3:], 2), (everyone, 1), (everyone * 2, 1)):
        advance(of, started(of, chosen), count)
    assert of.traces == 1


# -- weights -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def kept(case: Case, of: Program, tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, Path]:
    """A run of fewer steps than its program has room for, and its weights in a file."""
    fewer = shorter(case)
    parts, composed = parts_of(case, fewer), config_of(case, fewer)
    (run,) = advance(of, [start(of, parts.settings, SEED)], 2)
    named = of.layout.named(run.theta, parts.settings.inner_steps)
    plain: Any = OmegaConf.to_container(composed)
    test = {"seed": 3, "tasks": TASKS, "steps": parts.settings.eval_steps, "mean": 0.0}
    task = parts.task
    path = tmp_path_factory.mktemp(case.option) / "0-0.npz"
    weights.write(
        path, named, Meta("s", 0, 0, run.seed, 2, task.metric, task.direction, plain, test)
    )
    return run, path


def test_weights_from_a_file_score_as_in_the_sweep(
    case: Case, of: Program, kept: tuple[Run, Path]
) -> None:
    """The whole evaluation, and each of its tasks given by hand."""
    run, path = kept
    learner = maml_sweep.load(path)
    (scores,) = Trainer(of).evaluate([run], "test", 3, TASKS)
    np.testing.assert_allclose(learner.evaluate("test", TASKS), scores, rtol=EXACT, atol=EXACT)
    keys = np.tile(streams.key("evaluation", "test", 3), (TASKS, 1))
    support, query = of.task.episodes("test", streams.fold_in(keys, np.arange(TASKS)), tf.float64)[
        :2
    ]
    for task in range(TASKS):
        predict = learner.adapt(support.x[task].numpy(), support.y[task].numpy())
        assert list(predict.weights) == [each.name for each in of.problem.model.parameters]
        outputs = predict(query.x[task].numpy())[np.newaxis]
        if not case.draws:
            score = of.task.score(tf.constant(outputs), query.y[task][np.newaxis])
            np.testing.assert_allclose(score[0], scores[task], rtol=EXACT, atol=EXACT)


# -- XLA -----------------------------------------------------------------------------------------


@contextmanager
def without_tracing() -> Iterator[None]:
    """Runs programs operation by operation."""
    tf.config.run_functions_eagerly(True)
    try:
        yield
    finally:
        tf.config.run_functions_eagerly(False)


def test_compiled_by_xla(case: Case) -> None:
    """The same step, and its program can be taken elsewhere."""
    fewer = shorter(case)
    compiled = program_of(case, fewer, compiled=True, shards=1)
    first = parts_of(case, fewer).settings
    runs = [first, *strangers(first)[:2]]
    found = advance(compiled, started(compiled, runs), 1)
    with without_tracing():
        plain = program_of(case, fewer, shards=1)
        wanted = advance(plain, started(plain, runs), 1)
    for one, other in zip(found, wanted, strict=True):
        assert (one.iteration, one.diverged) == (1, None)
        assert one.loss == pytest.approx(other.loss, rel=EXACT)
        np.testing.assert_allclose(state(one), state(other), rtol=1e-6, atol=EXACT)
    text = compiled.stablehlo(*arguments(compiled, found, 1))
    assert "func.func @main" in text  # a module that does not hold together is written otherwise
    assert "custom_call" not in text


# -- evaluation ----------------------------------------------------------------------------------


@pytest.mark.usefixtures("eager")
def test_the_adaptation_curve(of: Program, own: Settings, alone: Trial) -> None:
    """After 0 … 2S steps; after S it is the score, also where S is not what it trained with."""
    trainer, (short,) = Trainer(of), started(of, strangers(own)[1:2])
    (longer,) = started(of, [replace(short.settings, eval_steps=own.eval_steps)], short.seed)
    runs = [*alone.runs, short, longer]
    curves = trainer.curves(runs, "validation", 0, TASKS)
    scores = trainer.evaluate(runs, "validation", 0, TASKS)
    for curve, score, run in zip(curves, scores, runs, strict=True):
        steps = run.settings.eval_steps
        assert curve.shape == (2 * steps + 1, TASKS)
        np.testing.assert_allclose(curve[steps], score, rtol=EXACT, atol=EXACT)
        assert (curve > 0).all() and (np.diff(curve, axis=0) != 0).all()
    np.testing.assert_allclose(curves[2][: len(curves[1])], curves[1], rtol=EXACT, atol=EXACT)


@pytest.mark.usefixtures("eager")
def test_queries_never_move_the_adapted_weights(
    of: Program, alone: Trial, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Queries of no number and with other targets, in evaluation."""
    seen: list[list[np.ndarray]] = []
    episodes, predict = of.task.episodes, of.algorithm.predict

    def spoilt(*arguments: Any) -> Episode:
        episode = episodes(*arguments)
        x, y = episode.query
        return episode._replace(query=Examples(x * np.nan, tf.reverse(y, [1])))

    def watched(problem: Any, inner: Any, knobs: Any, x: Any) -> Any:
        seen[-1] += [np.array(w) for w in of.algorithm.weights(problem, inner, knobs)]
        return predict(problem, inner, knobs, x)

    monkeypatch.setattr(of.algorithm, "predict", watched)
    for draw in (episodes, spoilt):
        monkeypatch.setattr(of.task, "episodes", draw)
        seen.append([])
        Trainer(of).evaluate(alone.runs, "validation", 0, TASKS)
    clean, other = seen
    assert len(clean) > 0
    for one, two in zip(clean, other, strict=True):
        np.testing.assert_array_equal(one, two)
        assert np.isfinite(one).all()


@pytest.mark.usefixtures("eager")
@pytest.mark.parametrize("training", [True, False])
def test_a_lane_that_is_done_stays(
    of: Program, own: Settings, alone: Trial, training: bool
) -> None:
    """Split off after its last step, left in place, or in a loop: the same adapted weights."""
    steps = np.minimum([2, 1, 1], own.inner_steps)
    values = {name: [factor * x for factor in (1.0, 0.5, 0.8)] for name, x in own.knobs.items()}
    use = knobs(3, 0.1, own.inner_steps)._replace(
        steps=tf.constant(steps, tf.int32),
        values={name: tf.constant(x, tf.float64) for name, x in values.items()},
    )
    support, query = of.task.episodes("train", use.key, tf.float64)[:2]
    meta = of.layout.split(tf.constant(np.tile(alone.runs[0].theta, (3, 1))))
    begin = of.algorithm.start(of.problem, meta, support, use, training=training)
    counts = [int(np.sum(steps > index)) for index in range(own.inner_steps)]
    split, masked, *looped = [
        of.algorithm.adapt(of.problem, begin, use, [tf.constant(count) for count in counts]),
        of.algorithm.adapt(of.problem, begin, use, [None] * len(counts)),
        *([] if training else [of.algorithm.loop(of.problem, begin, use, len(counts))]),
    ]
    wanted = of.algorithm.predict(of.problem, split, use, query.x)
    for other in (masked, *looped):
        found = of.algorithm.predict(of.problem, other, use, query.x)
        np.testing.assert_allclose(found, wanted, rtol=1e-12, atol=1e-14)


# -- what a program is built for -----------------------------------------------------------------


def outcome(of: Program, run: Run) -> np.ndarray:
    """All that came of a run: its parameters, and the score of every task."""
    (scores,) = Trainer(of).evaluate([run], "validation", 0, TASKS)
    return np.concatenate([run.theta, scores])


@pytest.mark.usefixtures("eager")
def test_knobs_are_read_at_run_time(case: Case, of: Program, own: Settings) -> None:
    """Another trial's program, built with other numbers, trains this one just the same."""
    finite = {name: x for name, x in own.knobs.items() if np.isfinite(x)}
    other = program_of(case, scaled(finite, 0.7), shards=1)
    found, wanted = (
        outcome(each, advance(each, [start(each, own, SEED)], 1)[0]) for each in (other, of)
    )
    np.testing.assert_allclose(found, wanted, rtol=1e-12, atol=1e-14)


@pytest.mark.usefixtures("eager")
def test_every_knob_matters(of: Program, own: Settings) -> None:
    variants = [replace(own, knobs={**own.knobs, name: 0.7 * x}) for name, x in own.knobs.items()]
    runs = [start(of, each, SEED) for each in [own, *variants]]
    for run in runs:
        run.iteration = 1  # where what goes by the share of the training has begun
    plain, *others = [outcome(of, run) for run in advance(of, runs, 1)]
    for name, found in zip(own.knobs, others, strict=True):
        if np.isfinite(own.knobs[name]):
            assert np.abs(found - plain).max() > 1e-9, name


CHANGED: dict[type, Callable[[Any], Any]] = {
    bool: lambda x: not x,
    int: lambda x: x + 1,
    float: lambda x: 0.7 * x,
    str: lambda x: x + "-",
    type(None): lambda x: 1.0,
}


def test_structures(case: Case, own: Settings) -> None:
    """A number that is a knob is any number; everything else is a program of its own."""
    parts, plain = parts_of(case), config_of(case)
    wanted = build.structure(parts, plain, own.inner_steps)
    for name, value in plain.algorithm.items():
        if name == "_target_":
            continue
        other = config_of(case)
        other.algorithm[name] = CHANGED[type(value)](value)
        same = build.structure(parts, other, own.inner_steps) == wanted
        runtime = name == "inner_steps" or (name in own.knobs and value is not None)
        assert same == runtime, name
    assert own.knobs.keys() <= set(plain.algorithm)
