"""Users who rate things: those made up, and those of MovieLens's files and of others."""

from __future__ import annotations

import itertools
import logging
import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import ratings_files
from ratings_files import RATINGS, SIZES

from maml_sweep import streams
from maml_sweep.backend import tf
from maml_sweep.errors import InputError
from maml_sweep.tasks import Ratings
from maml_sweep.tasks.base import SPLITS
from maml_sweep.tasks.few_of_many import below, sample
from maml_sweep.tasks.made import users
from maml_sweep.tasks.reading import movielens, movielens_side, rating_files
from maml_sweep.tasks.reading.bad import BadRecords
from maml_sweep.tasks.reading.rating_files import Lines, Rated

WRITERS: dict[str, tuple[Callable[..., Path], dict[str, Any]]] = {
    "100k": (ratings_files.write_100k, {}),
    "1m": (ratings_files.write_1m, {}),
    "csv": (ratings_files.write_csv, {}),
    "shop": (
        ratings_files.write_shop,
        {"file": "shop.csv", "user": "who", "item": "what", "rating": "score"},
    ),
}


def keys(lanes: int) -> Any:
    return tf.constant(np.stack([streams.key("users", lane) for lane in range(lanes)]))


def lines(folder: Path, name: str, **changes: Any) -> Lines:
    """How the file of ratings of a written folder is laid out."""
    write, settings = WRITERS[name]
    columns = {key: settings.get(key) for key in ("user", "item", "rating", "time")}
    found = movielens.find(str(write(folder)), settings.get("file"), columns, None).ratings
    return found._replace(**changes)


def stars(rated: Rated) -> dict[tuple[str, str], float]:
    """Ratings by the names of user and item."""
    return {
        (user, rated.items[rated.item[row]]): float(rated.rating[row])
        for number, user in enumerate(rated.users)
        for row in range(rated.starts[number], rated.starts[number + 1])
    }


# -- draws ---------------------------------------------------------------------------------------


def test_a_few_of_many_are_drawn_evenly_and_in_every_order() -> None:
    """3 of 4, 5 and 60,000: of 5 each of 60 orders 12,000 / 60 = 200 times, within six deviations.

    A user with thousands of ratings costs no more than one with five.
    """
    sizes = np.repeat(np.array([4, 5, 60_000], np.int32), 12_000)
    lanes = np.random.default_rng(0).integers(0, 2**32, (36_000, 2), dtype=np.uint32)
    four, five, many = np.split(sample(tf.constant(lanes), tf.constant(sizes), 3).numpy(), 3)
    for drawn, orders in ((four, 24), (five, 60)):
        counts = Counter(map(tuple, drawn.tolist()))
        assert set(counts) == set(itertools.permutations(range(4 if orders == 24 else 5), 3))
        mean = 12_000 / orders
        assert max(abs(count - mean) for count in counts.values()) < 6 * np.sqrt(mean)
    assert (np.diff(np.sort(many, axis=1), axis=1) > 0).all()
    deviation = 60_000 / np.sqrt(12 * 12_000)
    assert np.abs(many.mean(axis=0) - 30_000).max() < 6 * deviation
    assert many.min() >= 0 and many.max() < 60_000 and many.max() > 59_900


def test_words_become_numbers_below() -> None:
    """floor(3 * word / 2**32): a third of all words each, and the largest is still below."""
    words = np.array([0, 2**32 // 3, 2**32 // 3 + 1, 2**31, 2**32 - 1], np.uint32)
    np.testing.assert_array_equal(below(tf.constant(words), tf.constant([3])), [0, 0, 1, 1, 2])
    large = below(tf.constant(words[-1:]), tf.constant([2**31 - 1]))
    np.testing.assert_array_equal(large, [2**31 - 2])


# -- made-up users -------------------------------------------------------------------------------


def test_the_best_possible_errors_are_those_stated() -> None:
    """Roots of the oracle's mean variance at K = 1, 5, 10, 20: 1.01, 0.84, 0.75, 0.69.

    Knowing nothing of a user leaves 0.81 + 0.36 = 1.17, whose root is 1.08: the table's second
    moments are exactly I.
    """
    table = users.table(400)
    np.testing.assert_allclose(table.properties.T @ table.properties / 400, np.eye(8), atol=1e-12)
    spread = np.einsum("ip,p,ip->i", table.properties, users.SPREAD, table.properties)
    assert np.mean(spread) + 0.36 == pytest.approx(1.17)
    found = []
    for shots in (1, 5, 10, 20):
        support, query, _ = Ratings(shots, 10).episodes("test", keys(1500), tf.float64)
        rated, asked = (part.x.numpy()[..., 0].astype(int) for part in (support, query))
        _, variance = users.posterior(table, rated, support.y.numpy()[..., 0], asked, 0.6)
        found.append(np.sqrt(variance.mean()))
    np.testing.assert_allclose(found, [1.01, 0.84, 0.75, 0.69], atol=0.01)


def test_the_oracle_is_the_conditional_mean_of_a_normal() -> None:
    """Ratings of five items are jointly normal, with covariance X Σ Xᵀ + noise² I.

    Conditioning the last two on the first three by the textbook's formula gives its answer.
    """
    table = users.table(30)
    items, said = np.array([[4, 9, 2, 17, 8]]), np.array([[5.0, 1.0, 3.0]])
    mean, variance = users.posterior(table, items[:, :3], said, items[:, 3:], 0.5)
    x = table.properties[items[0]]
    expected = 3.5 + table.quality[items[0]] + x @ table.taste
    joint = x @ np.diag(users.SPREAD) @ x.T + 0.25 * np.eye(5)
    gain = joint[3:, :3] @ np.linalg.inv(joint[:3, :3])
    np.testing.assert_allclose(mean[0], expected[3:] + gain @ (said[0] - expected[:3]))
    np.testing.assert_allclose(variance[0], np.diag(joint[3:, 3:] - gain @ joint[:3, 3:]))


def test_a_rating_is_an_opinion_and_noise() -> None:
    """Without noise to speak of eight ratings give a taste away, and with it all others.

    Over users a taste has mean m and variances Σ; what noise adds has its deviation.
    """
    table, lanes = users.table(50), 3000
    tastes, ratings = {}, {}
    for noise in (1e-9, 0.6):
        support, query, _ = Ratings(20, 5, items=50, noise=noise).episodes(
            "train", keys(lanes), tf.float64
        )
        ratings[noise] = np.concatenate([support.y, query.y], axis=1)[..., 0]
        items = np.concatenate([support.x, query.x], axis=1)[..., 0].astype(int)
        rest = ratings[noise] - 3.5 - table.quality[items]
        x = table.properties[items]
        tastes[noise] = np.linalg.solve(
            x[:, :20].swapaxes(1, 2) @ x[:, :20],
            x[:, :20].swapaxes(1, 2) @ rest[:, :20, np.newaxis],
        )
        if noise < 0.1:
            found = (x[:, 20:] @ tastes[noise])[..., 0]
            np.testing.assert_allclose(found, rest[:, 20:], atol=1e-5)
    taste = tastes[1e-9][..., 0]
    error = np.sqrt(users.SPREAD / lanes)
    assert (np.abs(taste.mean(axis=0) - table.taste) < 5 * error).all()
    assert (np.abs(taste.var(axis=0) / users.SPREAD - 1) < 5 * np.sqrt(2 / lanes)).all()
    errors = ratings[0.6] - ratings[1e-9]
    assert abs(np.mean(errors**2) / 0.36 - 1) < 5 * np.sqrt(2 / errors.size)


def test_the_metric_is_the_fields_squared() -> None:
    """Errors (1, 2) and (0, 0): mean squares 2.5 and 0, whose mean is that over all ratings."""
    task = Ratings(1, 2)
    outputs, y = np.array([[[1.0], [5.0]], [[3.0], [4.0]]]), np.array([[[2.0], [3]], [[3], [4]]])
    np.testing.assert_allclose(task.score(outputs, y), [2.5, 0])
    np.testing.assert_allclose(task.measures["rmse"](outputs, y), [np.sqrt(2.5), 0])
    np.testing.assert_allclose(task.measures["mae"](outputs, y), [1.5, 0])
    assert (task.metric, task.direction) == ("mse", "minimize")


# -- files ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", WRITERS)
def test_every_rating_is_read(name: str, tmp_path: Path) -> None:
    """Against the list they were written from; both ways of reading agree to the last number."""
    laid = lines(tmp_path, name)
    factor, shift = {"csv": (1, -0.5), "shop": (20, 0)}.get(name, (1, 0))
    named = ("né, {}", "a{}") if name == "shop" else ("{}", "{}")
    wanted = {
        (named[0].format(u), named[1].format(i)): factor * s + shift for u, i, s, _ in RATINGS
    }
    assert stars(rating_files.read(laid, "refuse")) == wanted
    quick = rating_files._at_once(laid, str if name == "shop" else int)
    slow = rating_files._line_by_line(laid, BadRecords("x", "refuse"))
    assert quick is not None
    for a, b in zip(quick, slow, strict=True):
        np.testing.assert_array_equal(a, b)
        assert (a.dtype.kind == "i") == (b.dtype.kind == "i")


def test_numbers_come_in_the_order_of_numbers(tmp_path: Path) -> None:
    rated = rating_files.read(lines(tmp_path, "100k"), "refuse")
    assert rated.users == [str(user) for user in range(1, 13)]
    assert rated.items == ["1", "2", "7", "48", "50", "260", "920", "1193", "3114"]
    np.testing.assert_array_equal(np.diff(rated.starts), [SIZES[user] for user in range(1, 13)])
    for start, end in itertools.pairwise(rated.starts):
        assert (np.diff(rated.item[start:end]) > 0).all()


@pytest.mark.parametrize("blank", ["\n", "  \n", "\r\n"])
@pytest.mark.parametrize("name", ["100k", "1m", "csv"])
def test_blank_lines_are_no_ratings(name: str, blank: str, tmp_path: Path) -> None:
    laid = lines(tmp_path, name)
    wanted = stars(rating_files.read(laid, "refuse"))
    first, rest = laid.path.read_text().split("\n", 1)
    laid.path.write_text(f"{first}\n{blank}{rest}{blank}".rstrip(" "))
    assert stars(rating_files.read(laid, "refuse")) == wanted


@pytest.mark.parametrize("wrong", [False, True])
def test_the_latest_of_several_ratings_counts(wrong: bool, tmp_path: Path) -> None:
    """And of several at one time the highest, wherever in the file they stand."""
    laid = lines(tmp_path, "1m", path=tmp_path / "few.dat")
    rows = [
        "2::7::1::50",
        "1::9::3::10",
        "1::9::5::30",
        "1::9::4::20",
        "2::7::4::50",
        "2::7::2::50",
    ]
    for order in (rows, rows[::-1]):
        laid.path.write_text("\n".join(order + ["1::9"] * wrong))
        rated = rating_files.read(laid, "skip")
        assert stars(rated) == {("1", "9"): 5.0, ("2", "7"): 4.0}


BAD = [
    ("100k", "3\t7\t4", "3 fields instead of 4"),
    ("100k", "3\t7\t4\t9\t9", "5 fields instead of 4"),
    ("100k", "3\t7\tfour\t9", "rating 'four'"),
    ("1m", "3::7::6::9", "rating 6 is not from 0.5 to 5"),
    ("1m", "3::7::nan::9", "rating 'nan'"),
    ("1m", "x::7::3::9", "user 'x'"),
    ("1m", "3::::3::9", "item ''"),
    ("1m", "3::7::3::noon", "time 'noon'"),
    ("csv", "3,7,0,9", "rating 0 is not from 0.5 to 5"),
    ("csv", "3,7", "2 fields instead of 4"),
    ("csv", ",7,3,9", "user ''"),
    ("csv", "3,7,3,9,9", "5 fields instead of 4"),
    ("shop", "7,,20,a1", "user ''"),
    ("shop", "7,né,much,a1", "rating 'much'"),
]


@pytest.mark.parametrize(("name", "line", "why"), BAD)
def test_a_bad_line_is_named(
    name: str, line: str, why: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    laid = lines(tmp_path, name)
    wanted = stars(rating_files.read(laid, "refuse"))
    text = laid.path.read_text("utf-8").splitlines()
    laid.path.write_text("\n".join([*text[:2], line, *text[2:]]), "utf-8")
    found = f"{laid.path}: 1 of {len(RATINGS) + 1} records cannot be read: line 3 ({why})"
    with pytest.raises(InputError) as raised:
        rating_files.read(laid, "refuse")
    assert str(raised.value) == f"{found}; mend them, or leave them out by task.bad_records=skip"
    assert stars(rating_files.read(laid, "skip")) == wanted
    assert caplog.messages == [f"{found}; they are left out"]


def test_a_file_of_nothing_is_refused(tmp_path: Path) -> None:
    laid = lines(tmp_path, "100k")
    laid.path.write_text("\n\n")
    with pytest.raises(InputError, match=r"u.data: expected ratings, found none"):
        rating_files.read(laid, "skip")


def test_text_in_another_coding_is_refused(tmp_path: Path) -> None:
    laid = lines(tmp_path, "shop")
    laid.path.write_bytes(laid.path.read_bytes() + "7,né,20,a1\n".encode("latin-1"))
    with pytest.raises(InputError, match=r"shop.csv: cannot be read as text in UTF-8 \(.*0xe9"):
        rating_files.read(laid, "skip")


# -- what is known besides -----------------------------------------------------------------------


def test_what_is_known_of_movies_and_users(tmp_path: Path) -> None:
    """Years from 1930 on by decade, from 1980 by five years: 1939 is 2, 1975 6, 1977 6, 1995 10.

    Genres in the order of the alphabet, and 0 where there is nothing.
    """
    wanted = {
        "1": (10, 0, 1, 1, 1, 0),
        "920": (2, 0, 0, 0, 0, 1),
        "260": (6, 1, 0, 0, 0, 0),
        "7": (10, 0, 0, 0, 1, 0),
        "48": (0, 0, 0, 0, 0, 0),
    }
    for write in (ratings_files.write_100k, ratings_files.write_1m, ratings_files.write_csv):
        folder = tmp_path / write.__name__
        folder.mkdir()
        layout = movielens.find(str(write(folder)), None, {}, None)
        side = movielens_side.movies(layout.movies, "refuse")
        assert side.categories == (16, 0, 0, 0, 0, 0)
        assert {name: side.rows[name] for name in wanted} == wanted
        people = movielens_side.people(layout.people, "refuse")
        if layout.people:  # 12 is a man of 63, job 0; 1 a man of 19, job 1; 6 of 39, 4 of 31
            assert people.categories == (3, 8, 4)
            assert people.rows["12"] == (1, 7, 1) and people.rows["1"] == (2, 2, 2)
            assert people.rows["6"] == (1, 4, 1) and people.rows["4"][1] == 3
        else:
            assert people == movielens_side.NOTHING


@pytest.mark.parametrize(
    ("title", "year"),
    [
        ("Misérables, Les (1995)", 10),
        ("(500) Days of Summer (2009)", 12),
        ("Fawlty Towers (1975–1979)", 6),
        ("Still Running (2016-) ", 14),
        ("2001", 0),
        ("Early (1915)", 1),
        ("Late (2024)", 15),
    ],
)
def test_the_year_of_a_title(title: str, year: int, tmp_path: Path) -> None:
    path = tmp_path / "movies.csv"
    path.write_text(f'movieId,title,genres\n5,"{title}",IMAX|Drama\n\n', "utf-8")
    side = movielens_side.movies(path, "refuse")
    assert side.rows == {"5": (year, 1.0, 1.0)}


@pytest.mark.parametrize(
    ("name", "line", "shown"),
    [
        ("u.item", "5|Copycat (1995)|01-Jan-1995||x|0|1", "5|Copycat (1995)|01-Jan-1995||x|0|1"),
        ("u.user", "5|old|F|artist|0", "5|old|F|artist|0"),
        ("movies.dat", "5::Copycat (1995)", "5|Copycat (1995)"),
        ("users.dat", "x::F::25::3::0", "x|F|25|3|0"),
    ],
)
def test_a_bad_line_of_what_is_known_is_named(
    name: str, line: str, shown: str, tmp_path: Path
) -> None:
    write = ratings_files.write_100k if name.startswith("u.") else ratings_files.write_1m
    path = write(tmp_path) / name
    count = len(path.read_bytes().splitlines())
    path.write_bytes(path.read_bytes() + b"\n" + line.encode("latin-1"))
    with pytest.raises(InputError) as raised:
        Ratings(2, 3, str(tmp_path))
    assert str(raised.value) == (
        f"{path}: 1 of {count + 1} records cannot be read: line {count + 2} ({shown}); mend them, "
        "or leave them out by task.bad_records=skip"
    )
    assert Ratings(2, 3, str(tmp_path), bad_records="skip").input_shape[0] > 9


# -- users of files ------------------------------------------------------------------------------


def test_an_example_is_what_is_known_of_item_and_user(tmp_path: Path) -> None:
    """Looked up in the files' list, of every user that is drawn; ids are those of the train split.

    Items that fewer than `min_item_ratings` meta-training users have rated share the id 0.
    """
    folder = str(ratings_files.write_100k(tmp_path))
    task = Ratings(2, 3, folder, min_item_ratings=6)
    trains = {int(user) for user in task.groups("train")}
    counts = Counter(item for user, item, _, _ in RATINGS if user in trains)
    often = sorted(item for item, count in counts.items() if count >= 6)
    assert 1 < len(often) < 9 and task.categories[0] == len(often) + 1
    movies = movielens_side.movies(tmp_path / "u.item", "refuse").rows
    people = movielens_side.people(tmp_path / "u.user", "refuse").rows
    wanted = {
        (often.index(item) + 1 if item in often else 0, *movies[str(item)], *people[str(user)], s)
        for user, item, s, _ in RATINGS
    }
    drawn: set[tuple[float, ...]] = set()
    for split in SPLITS:
        support, query, _ = task.episodes(split, keys(100), tf.float32)
        for part in (support, query):
            rows = np.concatenate([part.x, part.y], axis=2)
            drawn |= set(map(tuple, rows.reshape(-1, rows.shape[2]).tolist()))
    assert drawn <= wanted
    assert len(drawn) > len(wanted) - len([1 for user in SIZES if SIZES[user] < 5]) * 9


def test_users_with_too_few_ratings_are_left_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """User 12 has four; the others are in the splits that their names gave them."""
    folder = ratings_files.write_100k(tmp_path)
    with caplog.at_level(logging.INFO):
        task = Ratings(2, 3, str(folder))
    assert caplog.messages == [
        f"{folder / 'u.data'}: 1 of 12 users have fewer than 5 ratings and are left out"
    ]
    fewer = Ratings(1, 3, str(folder))
    for split in SPLITS:
        assert set(task.groups(split)) == set(fewer.groups(split)) - {"12"}
    assert sum(len(fewer.groups(split)) for split in SPLITS) == 12


def test_side_features_can_be_left_out(tmp_path: Path) -> None:
    task = Ratings(2, 3, str(ratings_files.write_1m(tmp_path)), side_features=False)
    assert task.input_shape == (1,) and len(task.categories) == 1
    (tmp_path / "movies.dat").unlink()
    (tmp_path / "users.dat").unlink()
    assert Ratings(2, 3, str(tmp_path)).categories == task.categories


def test_a_file_is_read_once_until_it_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = ratings_files.write_100k(tmp_path)
    calls = []
    read = rating_files.read

    def counted(laid: Lines, policy: str) -> Rated:
        calls.append(laid)
        return read(laid, policy)

    monkeypatch.setattr(rating_files, "read", counted)
    for shots in (2, 2, 1):
        Ratings(shots, 3, str(folder))
    assert len(calls) == 1
    os.utime(folder / "u.data", ns=(1, 1))
    Ratings(2, 3, str(folder))
    assert len(calls) == 2


def test_what_is_missing_is_said(tmp_path: Path) -> None:
    (tmp_path / "readme").touch()
    kinds = "u.data, ratings.dat or ratings.csv"
    for file, wanted in ((None, kinds), ("x.csv", "x.csv (task.file)")):
        with pytest.raises(InputError) as raised:
            Ratings(2, 3, str(tmp_path), file)
        found = f"task.root={tmp_path}: has no {wanted}, but readme; {movielens.EXPECTED}"
        assert str(raised.value) == found
    with pytest.raises(InputError) as raised:
        Ratings(2, 3, file="x.csv")
    assert str(raised.value) == f"task.root=null: {movielens.EXPECTED}"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"shots": 0}, "task.shots=0: expected an integer of at least 1"),
        ({"queries": 0}, "task.queries=0: expected an integer of at least 1"),
        ({"noise": 0}, "task.noise=0: expected a finite number above 0"),
        (
            {"items": 14},
            (
                "task.items=14: expected at least 15, one for each of task.shots and task.queries "
                "together, and 8 in any case"
            ),
        ),
        (
            {"root": "ROOT", "scale": [5, 1]},
            "task.scale=[5, 1]: expected [low, high] with low < high",
        ),
        (
            {"root": "ROOT", "min_item_ratings": 0},
            "task.min_item_ratings=0: expected an integer of at least 1",
        ),
        (
            {"root": "ROOT", "shares": [1, 1, 1]},
            (
                "task.shares=[1, 1, 1]: expected the shares of train, validation and test, three "
                "positive numbers whose sum is 1"
            ),
        ),
        (
            {"root": "ROOT", "bad_records": "keep"},
            "task.bad_records=keep: expected one of refuse, skip",
        ),
        (
            {"root": "ROOT", "queries": 9},
            (
                "ROOT/ratings.csv: none of 8 users of the train split has the 14 ratings of "
                "task.shots and task.queries together; choose fewer"
            ),
        ),
        (
            {"root": "ROOT", "user": "user_id"},
            (
                "task.user=user_id: ROOT/ratings.csv has no such column, but userId, movieId, "
                "rating, timestamp (did you mean 'userId'?)"
            ),
        ),
        (
            {"root": "ROOT", "time": "when"},
            (
                "task.time=when: ROOT/ratings.csv has no such column, but userId, movieId, rating, "
                "timestamp"
            ),
        ),
    ],
)
def test_wrong_settings_are_named(change: dict[str, Any], message: str, tmp_path: Path) -> None:
    settings = {"shots": 5, "queries": 10 if "root" not in change else 3} | change
    if "root" in change:
        settings["root"] = str(ratings_files.write_csv(tmp_path))
    with pytest.raises(InputError) as raised:
        Ratings(**settings)
    assert str(raised.value).replace(str(tmp_path), "ROOT") == message
