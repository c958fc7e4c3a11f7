"""Every task through one suite, and what is particular to sine waves and quadratics."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from task_cases import CASES, Case

from maml_sweep import streams
from maml_sweep.backend import tf
from maml_sweep.errors import InputError
from maml_sweep.tasks import Classification, Episode, Quadratics, Sinusoid, Task
from maml_sweep.tasks.base import SPLITS, Split
from maml_sweep.tasks.draws import distinct
from maml_sweep.tasks.reading.splits import dealt


@pytest.fixture(scope="module", params=CASES)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def case(name: str) -> Case:
    return CASES[name]


@pytest.fixture(scope="module")
def task(case: Case, tmp_path_factory: pytest.TempPathFactory) -> Task:
    return case.make(tmp_path_factory.mktemp("root"), False)


def keys(lanes: int) -> np.ndarray:
    """Keys of as many lanes: uint32 [lane, 2]."""
    return np.random.default_rng(0).integers(0, 2**32, (lanes, 2), dtype=np.uint32)


def draw(task: Task, split: Split, lanes: np.ndarray, dtype: str = "float32") -> Episode:
    """An episode as NumPy's arrays."""
    episode = task.episodes(split, tf.constant(lanes), tf.as_dtype(dtype))
    return Episode(*tf.nest.map_structure(lambda x: x.numpy(), episode))


@pytest.mark.parametrize("split", SPLITS)
def test_an_episode_hangs_on_its_key_alone(task: Task, split: Split) -> None:
    """Alone, in a batch, elsewhere in it, within a graph: the same episode."""
    lanes = keys(6)
    together = tf.nest.flatten(draw(task, split, lanes))
    turned = tf.nest.flatten(draw(task, split, lanes[::-1].copy()))
    alone = tf.nest.flatten(draw(task, split, lanes[2:3]))
    graph = tf.function(lambda k: task.episodes(split, k, tf.float32), autograph=False)
    traced = tf.nest.flatten(
        graph.get_concrete_function(tf.TensorSpec([None, 2], tf.uint32))(lanes)
    )
    for a, b, c, d in zip(together, turned, alone, traced, strict=True):
        np.testing.assert_array_equal(a, b[::-1])
        np.testing.assert_array_equal(a[2:3], c)
        np.testing.assert_allclose(a, d, rtol=1e-6)
    support = together[0]
    assert (support[0] != support[1]).any()


def test_shapes_types_and_range(task: Task, case: Case) -> None:
    for dtype in ("float32", "float64"):
        episode = draw(task, "validation", keys(3), dtype)
        for part in (episode.support, episode.query):
            assert part.x.dtype == dtype and part.x.shape[2:] == task.input_shape
            assert case.low <= part.x.min() <= part.x.max() <= case.high
            if isinstance(task, Classification):
                assert part.y.dtype == np.int32 and part.y.shape == part.x.shape[:2]
            else:
                assert part.y.dtype == dtype and part.y.shape == (*part.x.shape[:2], task.outputs)
        np.testing.assert_allclose(
            episode.query.x, draw(task, "validation", keys(3)).query.x, atol=1e-5
        )


def test_inputs_that_stand_for_things_are_whole_and_below_their_number(task: Task) -> None:
    support = draw(task, "train", keys(4)).support
    if len(task.categories) > 1:
        assert task.input_shape == (len(task.categories),)
    for column, count in enumerate(task.categories):
        values = support.x[..., column] if len(task.categories) > 1 else support.x
        if count:
            assert (values == np.floor(values)).all()
            assert values.min() >= 0 and values.max() < count


def test_a_task_says_what_it_is(task: Task, case: Case) -> None:
    assert task.kind == ("classification" if isinstance(task, Classification) else "regression")
    assert getattr(task, "classes", None) == case.classes
    assert Task.kind == "" and Classification.classes is None


def test_no_two_splits_share_a_class_a_user_or_a_domain(task: Task, case: Case) -> None:
    groups = {split: task.groups(split) for split in SPLITS}
    every = [name for names in groups.values() for name in names]
    assert len(set(every)) == len(every)
    assert all(groups.values()) or not every
    if case.classes and every:
        assert len(groups["train"]) == case.classes


def test_the_order_of_files_plays_no_part(task: Task, case: Case, tmp_path: Path) -> None:
    if not case.files:
        return
    turned = case.make(tmp_path, True)
    for split in SPLITS:
        assert turned.groups(split) == task.groups(split)
        a, b = (tf.nest.flatten(draw(each, split, keys(3))) for each in (task, turned))
        for one, other in zip(a, b, strict=True):
            np.testing.assert_array_equal(one, other)


def test_the_best_possible_answer_is_as_good_as_worked_out(task: Task, case: Case) -> None:
    if case.oracle:
        wanted, simulated, tolerance = case.oracle(task)
        assert abs(simulated - wanted) < tolerance


def test_lanes_are_cut_off_as_an_inner_loop_does(task: Task, case: Case) -> None:
    """`classes` is an empty tuple where there are none, which a nest passes over."""
    episode = task.episodes("train", tf.constant(keys(3)), tf.float32)
    cut = tf.nest.map_structure(lambda x: x[:2], episode)
    assert isinstance(cut, Episode) and cut.query.y.shape[0] == 2
    if case.classes:
        np.testing.assert_array_equal(cut.classes, episode.classes[:2])
        assert episode.classes.dtype == tf.int32
    else:
        assert cut.classes == ()


def test_support_and_query_share_no_example(task: Task, case: Case) -> None:
    if case.repeats:
        return
    support, query, _ = draw(task, "train", keys(8))
    for lane in range(8):
        learnt = {x.tobytes() for x in support.x[lane]}
        asked = {x.tobytes() for x in query.x[lane]}
        assert not learnt & asked
        assert len(learnt) + len(asked) == len(support.x[lane]) + len(query.x[lane])


def test_labels_are_balanced(task: Task) -> None:
    if not isinstance(task, Classification):
        return
    episode = draw(task, "test", keys(6))
    for y in (*episode.support.y, *episode.query.y):
        counts = np.bincount(y, minlength=task.outputs)
        assert (counts == len(y) // task.outputs).all()


def test_labels_stand_for_the_classes_named(task: Task, case: Case) -> None:
    """Over many episodes an example is of one class, and a class's number is the split's."""
    if not case.classes or case.repeats:
        return
    owners: dict[bytes, int] = {}
    for part in (draw(task, "test", keys(30)), draw(task, "test", keys(60)[30:])):
        for lane, classes in enumerate(part.classes):
            assert len(set(classes)) == task.outputs
            for examples in (part.support, part.query):
                for x, label in zip(examples.x[lane], examples.y[lane], strict=True):
                    owner = owners.setdefault(x.tobytes(), classes[label])
                    assert owner == classes[label]
    assert len(set(owners.values())) > task.outputs


def test_the_two_sets_of_a_quadratic_are_one() -> None:
    episode = Quadratics(4).episodes("train", tf.constant(keys(2)), tf.float32)
    assert episode.query.x is episode.support.x and episode.query.y is episode.support.y


# -- splits --------------------------------------------------------------------------------------


def test_names_are_dealt_by_their_hash_alone() -> None:
    """A hundred names by the shares; three, one each, whatever the shares; fewer are refused."""
    names = [f"class {number}" for number in range(100)]
    found = dealt(names)
    assert [len(found[split]) for split in SPLITS] == [64, 16, 20]
    assert sorted(name for split in SPLITS for name in found[split]) == sorted(names)
    assert dealt([*reversed(names), *names]) == found
    for shares in ((0.64, 0.16, 0.2), (0.1, 0.8, 0.1), (0.05, 0.05, 0.9)):
        assert [len(part) for part in dealt(names[:3], shares).values()] == [1, 1, 1]
    with pytest.raises(InputError, match="three or more classes, users or domains"):
        dealt(["a", "b", "a"])
    with pytest.raises(InputError, match=r"task.shares=\[1, 1, 1\]: expected the shares"):
        dealt(names, (1, 1, 1))


# -- draws ---------------------------------------------------------------------------------------


def test_draws_among_few_are_even_and_never_beyond() -> None:
    """2 of 3, 5 and 7: each is drawn 6,000 * 2 / n times, within six deviations."""
    lanes = keys(18_000).reshape(6000, 3, 2)
    sizes = np.array([3, 5, 7], np.int32)
    drawn = distinct(lanes, 7, 2, tf.broadcast_to(sizes, [6000, 3])).numpy()
    assert (drawn[..., 0] != drawn[..., 1]).all()
    for column, size in enumerate(sizes):
        found = np.bincount(drawn[:, column].ravel(), minlength=7)
        share = 2 / size
        deviation = math.sqrt(6000 * share * (1 - share))
        assert np.abs(found[:size] - 6000 * share).max() < 6 * deviation
        assert not found[size:].any()
    full = distinct(lanes[:, 2], 7, 2).numpy()
    np.testing.assert_array_equal(drawn[:, 2], full)


# -- sine waves ----------------------------------------------------------------------------------


def wave(lanes: np.ndarray, frequency: bool) -> tuple[np.ndarray, np.ndarray]:
    """x and y of 12 points in double precision, from the stream's first uniform draws."""
    unit = streams.uniform(lanes, 15, tf.float64).numpy()
    amplitude, phase, x = 0.1 + 4.9 * unit[:, :1], math.pi * unit[:, 1:2], 10 * unit[:, 2:14] - 5
    turned = (0.8 + 0.4 * unit[:, 14:]) * x if frequency else x
    return x[..., np.newaxis], (amplitude * np.sin(turned - phase))[..., np.newaxis]


@pytest.mark.parametrize("frequency", [None, (0.8, 1.2)])
def test_which_draws_make_a_wave_is_pinned(frequency: tuple[float, float] | None) -> None:
    """Whoever changes this changes every result ever recorded on sine waves."""
    support, query, _ = draw(Sinusoid(5, 7, frequency=frequency), "train", keys(50), "float64")
    x, y = wave(keys(50), frequency is not None)
    np.testing.assert_allclose(np.concatenate([support.x, query.x], 1), x, rtol=1e-14)
    np.testing.assert_allclose(np.concatenate([support.y, query.y], 1), y, rtol=0, atol=1e-13)


def test_noise_is_on_the_support_alone_and_changes_nothing_else() -> None:
    """4,000 errors of deviation 0.3: their mean square is 0.09, relative deviation √(2 / 4,000)."""
    clean, noisy = (
        draw(Sinusoid(4, 3, noise=noise), "train", keys(1000), "float64") for noise in (0.0, 0.3)
    )
    for a, b in ((clean.support.x, noisy.support.x), (clean.query.x, noisy.query.x)):
        np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(clean.query.y, noisy.query.y)
    errors = noisy.support.y - clean.support.y
    assert abs(np.mean(errors**2) / 0.09 - 1) < 5 * math.sqrt(2 / errors.size)
    assert abs(errors.mean()) < 5 * 0.3 / math.sqrt(errors.size)
    unit = streams.uniform(keys(1000), 10, tf.float64).numpy()  # what all the rest is made of
    correlations = np.corrcoef(errors[..., 0].T, unit.T)[:4, 4:]
    assert np.abs(correlations).max() < 5 / math.sqrt(1000)


# -- quadratics ----------------------------------------------------------------------------------


def test_quadratics_have_standard_normal_entries() -> None:
    """110,000 of them: mean 0, variance 1, fourth moment 3, rows and targets uncorrelated."""
    rows, targets = draw(Quadratics(10), "train", keys(1000), "float64").support
    drawn = np.concatenate([rows, targets], 2)
    assert abs(drawn.mean()) < 5 / math.sqrt(drawn.size)
    assert abs(drawn.var() - 1) < 5 * math.sqrt(2 / drawn.size)
    assert abs(np.mean(drawn**4) - 3) < 5 * math.sqrt(96 / drawn.size)
    covariance = np.cov(drawn.reshape(1000, -1)[:, :20].T)
    assert np.abs(covariance - np.eye(20)).max() < 6 * math.sqrt(2 / 1000)


def test_a_quadratic_can_be_brought_down_to_nothing() -> None:
    """Its square system has a solution; at 0 the loss is the mean of y²."""
    task = Quadratics()
    support, query, _ = draw(task, "test", keys(5), "float64")
    solution = np.linalg.solve(support.x, support.y)
    assert task.input_shape == (10,) and solution.shape == (5, 10, 1)
    assert np.max(task.loss(query.x @ solution, query.y)) < 1e-15
    np.testing.assert_allclose(task.score(0 * query.y, query.y), np.mean(query.y**2, (1, 2)))


def test_descent_on_a_quadratic_takes_the_path_worked_out_by_hand() -> None:
    """From 0 with rate r the residual W θ - y is -(I - 2r/n W Wᵀ)ⁿ y after n steps.

    For dθ = -r · 2/d Wᵀ(Wθ - y), so each step multiplies the residual by I - 2r/d W Wᵀ.
    """
    task, rate, steps = Quadratics(3), 0.1, 4
    support = draw(task, "train", keys(6), "float64").support
    theta = tf.zeros([6, 3, 1], tf.float64)
    for _ in range(steps):
        with tf.GradientTape() as tape:
            tape.watch(theta)
            losses = task.loss(tf.constant(support.x) @ theta, support.y)
        theta -= rate * tape.gradient(losses, theta)
    step = np.eye(3) - 2 * rate / 3 * support.x @ support.x.transpose(0, 2, 1)
    residual = np.linalg.matrix_power(step, steps) @ support.y
    found = task.loss(tf.constant(support.x) @ theta, support.y)
    np.testing.assert_allclose(found, np.mean(residual**2, (1, 2)), rtol=1e-12)


# -- refusals ------------------------------------------------------------------------------------

WRONG: list[tuple[Callable[..., Task], dict[str, Any], str]] = [
    (Sinusoid, {"shots": 0}, "task.shots=0: expected an integer of at least 1"),
    (Sinusoid, {"queries": 1.5}, "task.queries=1.5: expected an integer of at least 1"),
    (Sinusoid, {"domain": [5, -5]}, "task.domain=[5, -5]: expected [low, high] with low < high"),
    (
        Sinusoid,
        {"frequency": [1, 1]},
        "task.frequency=[1, 1]: expected [low, high] with low < high",
    ),
    (Sinusoid, {"noise": -0.1}, "task.noise=-0.1: expected a finite number of at least 0"),
    (Quadratics, {"dimension": 0}, "task.dimension=0: expected an integer of at least 1"),
]


@pytest.mark.parametrize(("kind", "wrong", "message"), WRONG)
def test_wrong_settings_are_named(
    kind: Callable[..., Task], wrong: dict[str, Any], message: str
) -> None:
    right = {} if kind is Quadratics else {"shots": 5, "queries": 5}
    with pytest.raises(InputError) as raised:
        kind(**(right | wrong))
    assert str(raised.value) == message
