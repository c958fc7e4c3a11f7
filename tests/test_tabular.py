"""Tasks from tables: how they are dealt to the splits, and drawn."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from table_files import HOSPITALS, patients, write, write_flats, write_patients

from maml_sweep.backend import tf
from maml_sweep.errors import InputError
from maml_sweep.tasks import TabularClasses, TabularValues, tabular
from maml_sweep.tasks.base import SPLITS, Episode, Split
from maml_sweep.tasks.reading import bundled
from maml_sweep.tasks.rows import parts, problems


def keys(lanes: int, seed: int = 0) -> Any:
    return tf.constant(np.random.default_rng(seed).integers(0, 2**32, (lanes, 2), dtype=np.uint32))


def draw(task: TabularClasses | TabularValues, split: Split, lanes: int) -> Episode:
    episode = task.episodes(split, keys(lanes), tf.float64)
    return Episode(*tf.nest.map_structure(lambda x: x.numpy(), episode))


# -- a table of groups ---------------------------------------------------------------------------


def hospitals(root: Path, **settings: Any) -> TabularClasses:
    wanted = {"target": "ill", "group": "hospital", "drop": ["id"]} | settings
    return TabularClasses(2, 2, 3, root=str(root), **wanted)


def test_a_task_is_a_group(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Ages say which hospital and which row: K of each class, all of one hospital, none twice.

    Encoded are age, whether it is missing, f, m, smoker and three wards; notes are all missing.
    """
    parts.dealt.cache_clear()
    caplog.set_level(logging.INFO)
    task = hospitals(write_patients(tmp_path))
    assert task.input_shape == (8,)
    assert caplog.messages == [
        "patients.csv: 1 groups have fewer than 5 rows of each class and are left out (Zürs)",
        "patients.csv: 1 columns do not vary in the training split and are left out (note)",
    ]
    assert sorted(n for split in SPLITS for n in task.groups(split)) == sorted(HOSPITALS)
    assert [len(task.groups(split)) for split in SPLITS] == [8, 2, 2]
    for split in SPLITS:
        known = {float(age): row for age, row in ages(task, tmp_path).items()}
        episode = draw(task, split, 20)
        for lane in range(20):
            x = np.concatenate([episode.support.x[lane], episode.query.x[lane]])
            y = np.concatenate([episode.support.y[lane], episode.query.y[lane]])
            rows = [known[round(float(age), 4)] for age in x[x[:, 1] == 0, 0]]
            assert len(set(rows)) == len(rows) and len({row[0] for row in rows}) == 1
            assert rows[0][0] in task.groups(split)
            assert ["yno"[1 - int(label)] for label in 1 - y[x[:, 1] == 0]] == [
                {"y": "n", "n": "y"}[str(row[-1])] for row in rows
            ]
            assert episode.support.y[lane].tolist() == [0, 0, 1, 1]
            assert episode.query.y[lane].tolist() == [0, 0, 0, 1, 1, 1]


def ages(task: TabularClasses, folder: Path) -> dict[float, tuple[object, ...]]:
    """Rows by their age, scaled as the training split's hospitals want it."""
    rows = [row for name in HOSPITALS for row in patients(name, 6)]
    training = [row for row in rows if row[0] in task.groups("train")]
    seen = np.array([float(str(row[2])) for row in training if row[2] != ""])
    filled = np.concatenate([seen, np.full(len(training) - len(seen), np.median(seen))])
    return {
        round((float(str(row[2])) - filled.mean()) / filled.std(), 4): row
        for row in rows
        if row[2] != ""
    }


def test_groups_may_see_some_columns_or_turn_signs(tmp_path: Path) -> None:
    root = write_patients(tmp_path)
    assert hospitals(root, columns=3).input_shape == (3,)
    plain, turned = (draw(hospitals(root, flips=flips), "train", 30) for flips in (False, True))
    np.testing.assert_array_equal(np.abs(plain.query.x), np.abs(turned.query.x))
    signs = np.sign(turned.query.x * plain.query.x)
    assert {-1.0, 1.0} <= set(np.unique(signs))
    for lane in range(30):  # a column of a task is turned as a whole
        assert all(len({s for s in column if s}) <= 1 for column in signs[lane].T)


def test_groups_that_are_refused(tmp_path: Path) -> None:
    root = write_patients(tmp_path)

    def refusal(build: Callable[[], Any]) -> str:
        with pytest.raises(InputError) as raised:
            build()
        return str(raised.value)

    settings: dict[str, Any] = {"root": str(root), "target": "ill", "group": "hospital"}
    assert refusal(lambda: TabularClasses(3, 1, 1, **settings)) == (
        "task.ways=3: in a table of groups a task has all classes, and patients.csv has 2 (n, y); "
        "choose task.ways=2"
    )
    assert refusal(lambda: TabularClasses(2, 5, 2, **settings)) == (
        "task.shots and task.queries: only 0 of the 13 groups of patients.csv have 7 rows of each "
        "class, and three are needed; choose fewer shots or queries"
    )


def test_values_of_groups(tmp_path: Path) -> None:
    """Flats by kind: a price is 100.5 + 3 i, so standardised it goes up evenly with the size."""
    root = write_flats(tmp_path)
    settings: dict[str, Any] = {"separator": ";", "decimal": ",", "encoding": "latin-1"}
    task = TabularValues(3, 4, str(root), target="price", group="kind", **settings)
    assert sorted(task.groups(split)[0] for split in SPLITS) == ["Höhe", "See", "Tal"]
    assert task.input_shape == (3,)
    episode = draw(task, "train", 9)
    assert episode.support.y.shape == (9, 3, 1) and episode.query.y.shape == (9, 4, 1)
    np.testing.assert_allclose(episode.query.x[..., :1], episode.query.y, atol=1e-6)
    sizes = np.arange(60)[["Höhe", "Tal", "See"].index(task.groups("train")[0]) :: 3]
    wanted = (sizes - sizes.mean()) / sizes.std()
    assert np.abs(episode.query.y.ravel()[:, np.newaxis] - wanted).min(1).max() < 1e-6


# -- tasks made up of one table ------------------------------------------------------------------


def made_up(tmp_path: Path, rows: int = 60, **settings: Any) -> TabularClasses:
    """Four classes, of five columns: the first is the row's number, the class is row mod 4."""
    generator = np.random.default_rng(0)
    content = [(i, *generator.normal(size=4).round(6), "abcd"[i % 4]) for i in range(rows)]
    root = write(tmp_path / "rows.csv", ("id", "p", "q", "r", "s", "y"), content)
    return TabularClasses(2, 1, 1, root=str(root), target="y", **settings)


def named(task: TabularClasses | TabularValues) -> set[str]:
    """What any split says it has for itself."""
    return {name for split in SPLITS for name in task.groups(split)}


def test_splits_share_no_row_no_classes_and_no_columns(tmp_path: Path) -> None:
    task = made_up(tmp_path, columns=2, flips=False)
    held = {split: parts.dealt(task.origin, task.wish)[split].sources[0] for split in SPLITS}
    rows = [set(np.concatenate(held[split].pools).tolist()) for split in SPLITS]
    assert [len(some) for some in rows] == [40, 8, 12]  # 10, 2, 3 of each class
    assert set.union(*rows) == set(range(60))
    for lists, count in (("choices", 6), ("columns", 10)):
        found = [tuple(x) for split in SPLITS for x in getattr(held[split], lists).tolist()]
        assert len(found) == len(set(found)) == count
    assert {"rows.csv: a / b", "rows.csv: columns id, p"} <= named(task)


def test_rows_are_of_the_classes_and_columns_drawn(tmp_path: Path) -> None:
    """With all columns each row is known by its first; labels come in both orders."""
    task = made_up(tmp_path, columns=5, flips=False)
    episode = draw(task, "train", 60)
    source = parts.dealt(task.origin, task.wish)["train"].sources[0]
    pairs = [tuple(sorted(pair)) for pair in source.choices.tolist()]
    orders = set()
    for support, query in zip(episode.support.x, episode.query.x, strict=True):
        found = [int(np.abs(source.table - row).sum(1).argmin()) for row in (*support, *query)]
        np.testing.assert_allclose(source.table[found], [*support, *query], atol=1e-6)
        a, b, c, d = (row % 4 for row in found)
        assert (a, b) == (c, d) and tuple(sorted((a, b))) in pairs and len(set(found)) == 4
        orders.add((a, b))
    assert len(orders) == 2 * len(pairs)


def test_equal_rows_are_dealt_together(tmp_path: Path) -> None:
    """Each row thrice, of one class: what is learnt and what is asked come from other rows."""
    content = [(i % 30, (i % 30) ** 2, "ab"[i % 2]) for i in range(90)]
    root = write(tmp_path / "rows.csv", ("p", "q", "y"), content)
    task = TabularClasses(2, 1, 1, root=str(root), target="y", flips=True)
    dealt = parts.dealt(task.origin, task.wish)
    for split in SPLITS:
        rows = np.concatenate(dealt[split].sources[0].pools)
        assert {(row + 30) % 90 for row in rows} == set(rows.tolist())


def test_signs_are_turned_half_of_the_time(tmp_path: Path) -> None:
    plain, turned = (
        draw(made_up(tmp_path, columns=5, flips=flips), "train", 400) for flips in (False, True)
    )
    signs = turned.support.x / plain.support.x
    np.testing.assert_array_equal(np.abs(signs).round(9), 1)
    np.testing.assert_array_equal(signs[:, :1] * np.ones((1, 2, 1)), signs)
    np.testing.assert_array_equal(signs, turned.query.x / plain.query.x)
    assert np.abs(signs[:, 0].mean(0)).max() < 5 / np.sqrt(400)
    assert np.abs(np.corrcoef(signs[:, 0].T) - np.eye(5)).max() < 5 / np.sqrt(400)


def test_small_classes_are_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    content = [(i, i * i, "abc"[i % 3] if i < 60 else "few") for i in range(66)]
    root = write(tmp_path / "rows.csv", ("p", "q", "y"), content)
    task = TabularClasses(3, 1, 2, root=str(root), target="y")
    assert caplog.messages == [
        "rows.csv: 1 classes have fewer than 3 rows in every split and are left out (few)"
    ]
    assert task.groups("train") == ()
    with pytest.raises(InputError) as raised:
        TabularClasses(4, 1, 2, root=str(root), target="y")
    assert str(raised.value) == (
        "task.ways=4: only 3 of the 4 classes of rows.csv have 3 rows (task.shots and task.queries "
        "together) in every split; choose fewer"
    )


def test_a_value_of_one_table(tmp_path: Path) -> None:
    """The price is the size: where a task sees the size it stands beside it, up to a sign."""
    root = write_flats(tmp_path)
    settings: dict[str, Any] = {"separator": ";", "decimal": ",", "encoding": "latin-1"}
    task = TabularValues(2, 3, str(root), target="price", columns=2, drop=["kind"], **settings)
    for split in SPLITS:
        (source,) = parts.dealt(task.origin, task.wish)[split].sources
        assert source.columns[:, 0].tolist() == [3] * len(source.columns)
        training = parts.dealt(task.origin, task.wish)["train"].sources[0].pools[0]
        assert abs(source.table[training, 3].mean()) < 1e-6
        assert source.table[training, 3].std() == pytest.approx(1, abs=1e-6)
    np.testing.assert_allclose(source.table[:, 0], source.table[:, 3], atol=1e-5)
    signs = {tuple(np.sign(y.ravel() * np.ones(3))) for y in draw(task, "train", 50).query.y}
    assert any(-1 in each for each in signs) and any(1 in each for each in signs)


DIABETES = ("age", "bmi", "bp", "s1", "s2", "s3", "s4", "s5", "s6", "progression")


def test_any_column_may_be_the_target() -> None:
    """Targets are dealt; a task never sees its own. Of diabetes sex has two values: 10 are left."""
    task = TabularValues(5, 5, sets=["diabetes"], columns=3)
    targets = []
    for split in SPLITS:
        (source,) = parts.dealt(task.origin, task.wish)[split].sources
        assert (source.columns[:, :1] != source.columns[:, 1:]).all()
        assert (np.diff(source.columns[:, 1:]) > 0).all()
        targets += np.unique(source.columns[:, 0]).tolist()
    assert sorted(targets) == [0, 2, 3, 4, 5, 6, 7, 8, 9, 10]
    assert named(task) == {f"diabetes: {name}" for name in DIABETES}


def test_several_sets_are_equally_likely() -> None:
    """Of 600 tasks half are of iris, known by its rows: 300, deviation √150."""
    task = TabularClasses(2, 1, 1, sets=["iris", "wine"], columns=4, flips=False)
    iris = parts.dealt(task.origin, task.wish)["train"].sources[0].table
    first = draw(task, "train", 600).support.x[:, 0]
    of_iris = np.abs(first[:, np.newaxis] - iris).sum(2).min(1) < 1e-5
    assert abs(of_iris.sum() - 300) < 5 * np.sqrt(150)


def test_bundled_sets() -> None:
    """Rows, columns and classes as scikit-learn's documentation has them."""
    sizes = {"digits": (1797, 64, 10), "breast_cancer": (569, 30, 2), "iris": (150, 4, 3)}
    for sheet in bundled.sheets(list(sizes), classes=True):
        assert sheet.classes is not None
        found = (sheet.rows, len(sheet.features), len(sheet.classes.levels))
        assert found == sizes[sheet.name]
    widths = [len(s.features) for s in bundled.sheets(["diabetes", "linnerud"], classes=False)]
    assert widths == [11, 6]


# -- drawing -------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [7, 8, 5000])
def test_scattered_draws(size: int) -> None:
    """Seven of each, none twice; every number and every place equally likely: 6 deviations."""
    drawn = tabular.scattered(keys(3000)[:, tf.newaxis], 7, tf.fill([3000, 1], size)).numpy()[:, 0]
    assert drawn.min() >= 0 and drawn.max() < size
    assert all(len(set(row)) == 7 for row in drawn.tolist())
    for place in range(7):
        found = np.bincount(drawn[:, place] * 7 // size, minlength=7)[:7] if size != 8 else None
        if found is not None:
            assert np.abs(found - 3000 / 7).max() < 6 * np.sqrt(3000 * 6 / 49)
    counts = np.bincount(drawn.ravel() * min(size, 8) // size)
    share = 1 / min(size, 8)
    assert np.abs(counts - 21_000 * share).max() < 6 * np.sqrt(21_000 * share * (1 - share))


def test_large_pools_are_scattered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    exact = draw(made_up(tmp_path, columns=5), "train", 40)
    monkeypatch.setattr(tabular, "EXACT", 9)  # a class has 10 rows in training
    found = draw(made_up(tmp_path, columns=5), "train", 40)
    assert (found.support.x != exact.support.x).any()
    assert (found.support.x != found.query.x).any(axis=2).all()


def test_subsets() -> None:
    """All of few; of many as many as may be written down, sorted, none twice, always the same."""
    assert problems.subsets(3, 2, "x").tolist() == [[0, 1], [0, 2], [1, 2]]
    assert problems.subsets(3, 3, "x").tolist() == [[0, 1, 2]]
    many = problems.subsets(40, 3, "x", 500)
    assert 480 < len(many) <= 500 and (np.diff(many) > 0).all() and many.max() == 39
    assert many[:3].tolist() == PINNED
    assert (problems.subsets(40, 3, "y", 500)[:3] != many[:3]).any()


PINNED = [[0, 1, 2], [0, 1, 5], [0, 1, 12]]


def test_an_episode_compiles() -> None:
    """XLA gives the same episode, of tables of several widths."""
    task = TabularClasses(2, 1, 2, sets=["digits", "breast_cancer"])
    lanes = keys(5)
    run = tf.function(
        lambda some: task.episodes("test", some, tf.float32), autograph=False, jit_compile=True
    )
    pairs = zip(
        tf.nest.flatten(run(lanes)),
        tf.nest.flatten(task.episodes("test", lanes, tf.float32)),
        strict=True,
    )
    for found, wanted in pairs:
        np.testing.assert_array_equal(found, wanted)


# -- refusals ------------------------------------------------------------------------------------

WRONG: list[tuple[dict[str, Any], str]] = [
    ({"ways": 0}, "task.ways=0: expected an integer of at least 1"),
    ({"shots": 0}, "task.shots=0: expected an integer of at least 1"),
    ({"queries": 0}, "task.queries=0: expected an integer of at least 1"),
    ({"columns": 0}, "task.columns=0: expected an integer of at least 1"),
    ({"levels": 0}, "task.levels=0: expected an integer of at least 1"),
    ({"bad_records": "drop"}, "task.bad_records=drop: expected one of refuse, skip"),
    (
        {"sets": ["diabetes"]},
        "task.sets: expected some of digits, breast_cancer, wine, iris, got diabetes",
    ),
    (
        {"sets": ["digit"]},
        (
            "task.sets: expected some of digits, breast_cancer, wine, iris, got digit (did you "
            "mean 'digits'?)"
        ),
    ),
    ({"sets": []}, "task.sets=[]: expected one or more, each once"),
    ({"sets": ["iris", "iris"]}, "task.sets=['iris', 'iris']: expected one or more, each once"),
    (
        {"sets": ["iris"], "columns": 5},
        "task.columns=5: iris has 4 columns once encoded; choose at most 4",
    ),
    (
        {"sets": ["iris", "wine"]},
        "task.sets: a task would see 4 or 8 columns; set task.columns to what all tables have",
    ),
    (
        {"target": "y"},
        (
            "task.root=null: task.target, group, features, drop and categorical name columns of a "
            "file, so name the file as well"
        ),
    ),
    (
        {"sets": ["iris"], "queries": 8},
        (
            "task.ways=2: only 0 of the 3 classes of iris have 9 rows (task.shots and task.queries "
            "together) in every split; choose fewer"
        ),
    ),
    (
        {"sets": ["breast_cancer"], "columns": 30, "flips": False},
        (
            "task.flips=false: all tasks would be one and the same problem; name task.group, or "
            "set task.columns below the number of columns"
        ),
    ),
    (
        {"shares": [0.5, 0.5]},
        (
            "task.shares=[0.5, 0.5]: expected the shares of train, validation and test, three "
            "positive numbers whose sum is 1"
        ),
    ),
]


@pytest.mark.parametrize(("wrong", "message"), WRONG)
def test_wrong_settings_are_named(wrong: dict[str, Any], message: str) -> None:
    right: dict[str, Any] = {"ways": 2, "shots": 1, "queries": 1, "sets": ["digits"]}
    with pytest.raises(InputError) as raised:
        TabularClasses(**(right | wrong))
    assert str(raised.value) == message


def test_values_that_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError) as raised:
        TabularValues(4, 4, sets=["linnerud"], columns=2)
    assert str(raised.value) == (
        "task.shots and task.queries: linnerud has fewer than 8 different rows in one of the "
        "splits; choose fewer, or other task.shares"
    )
    with pytest.raises(InputError) as raised:
        TabularValues(4, 4, sets=["iris"], columns=4)
    assert str(raised.value) == (
        "task.columns=4: iris has 4 columns once encoded, of which 4 may be the target (numbers, "
        "never missing); expected three or more, and one column more than a task sees"
    )
