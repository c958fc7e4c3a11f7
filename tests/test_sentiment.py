"""Reviews: the figures of the made-up ones, and those of files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import text_files
import text_oracles

from maml_sweep.backend import tf
from maml_sweep.errors import InputError
from maml_sweep.tasks import Sentiment
from maml_sweep.tasks.base import SPLITS
from maml_sweep.tasks.made import reviews as made
from maml_sweep.tasks.reading import reviews


def drawn(task: Sentiment, lanes: int, split: Any = "test") -> Any:
    """An episode in double precision, as NumPy's arrays."""
    episode = task.episodes(split, tf.constant(text_oracles.keys(lanes)), tf.float64)
    return tf.nest.map_structure(lambda x: x.numpy(), episode)


# -- made up -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("shots", "bayes"), [(1, 0.61), (5, 0.70), (10, 0.74)])
def test_the_figures_of_naive_bayes(shots: int, bayes: float) -> None:
    """Laplace's one added to what the support has of every word, of each polarity."""
    support, query, _ = drawn(Sentiment(shots, 20), 300)
    halves = np.split(support.x, 2, axis=1)
    counted = np.stack([half.sum(axis=1) for half in halves], axis=1) + 1  # [lane, 2, word]
    logits = query.x @ np.log(counted / counted.sum(axis=2, keepdims=True)).transpose(0, 2, 1)
    assert text_oracles.hits(logits, query.y) == pytest.approx(bayes, abs=0.015)


def test_the_figures_of_who_knows() -> None:
    """All of θ: 90.5%; only what all domains share: 79%."""
    task = Sentiment(1, 20)
    query = drawn(task, 300).query
    known = made.language()
    shared = known.frequency + np.array([[-1.0], [1.0]]) * known.shared
    logits = query.x @ (shared - np.log(np.exp(shared).sum(1, keepdims=True))).T
    assert text_oracles.hits(logits, query.y) == pytest.approx(0.79, abs=0.015)
    worked_out, simulated, _ = text_oracles.of_reviews(task)
    assert worked_out == pytest.approx(0.905, abs=0.01)
    assert simulated == pytest.approx(0.905, abs=0.01)


def test_meaning_by_its_definition() -> None:
    """Half of log p(word | positive) - log p(word | negative) is .6 g + .6 B z and a constant.

    The z that solve this for 2,000 domains are standard normal; half of the sum is b.
    """
    keys = tf.constant(text_oracles.keys(2000))
    negative, positive = np.moveaxis(made.log_distributions(keys).numpy(), 1, 0)
    np.testing.assert_allclose(np.exp(negative).sum(1), 1, rtol=1e-12)
    known = made.language()
    off = (positive + negative) / 2 - known.frequency
    np.testing.assert_allclose(off - off[:, :1], 0, atol=1e-12)
    own = np.column_stack([known.own, np.ones(made.WORDS)])
    solved = np.linalg.lstsq(own, ((positive - negative) / 2 - known.shared).T)[0]
    np.testing.assert_allclose(
        own @ solved, ((positive - negative) / 2 - known.shared).T, atol=1e-12
    )
    z = solved[:-1]
    assert np.abs(z.mean(axis=1)).max() < 5 / 2000**0.5
    assert np.abs(np.cov(z) - np.eye(made.RANK)).max() < 5 * (2 / 2000) ** 0.5
    np.testing.assert_allclose(np.abs(known.shared[: made.SHARED]), 0.42)
    assert not known.shared[made.SHARED :].any()


def test_labels_keep_their_meaning_and_every_review_its_length() -> None:
    support, query, classes = drawn(Sentiment(2, 3), 4)
    assert classes == () and (support.x.sum(axis=2) == made.LENGTH).all()
    np.testing.assert_array_equal(support.y, [[0, 0, 1, 1]] * 4)
    np.testing.assert_array_equal(query.y, [[0, 0, 0, 1, 1, 1]] * 4)


def test_a_domain_does_not_hang_on_how_many_of_its_reviews_are_asked_for() -> None:
    """The same z for the same key; the words are drawn from another stream."""
    task, keys = Sentiment(1, 1, features="tokens"), text_oracles.keys(3)
    one = made.log_distributions(tf.constant(keys))
    np.testing.assert_array_equal(one, made.log_distributions(tf.constant(keys[::-1].copy()))[::-1])
    assert task.input_shape == (25,) and task.categories == (202,) and task.groups("test") == ()


# -- files ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("features", ["counts", "tokens"])
def test_reviews_come_from_one_domain_and_have_their_polarity(
    features: str, tmp_path: Path
) -> None:
    """Each has a word of its own, and its reviews of each polarity two; it has 8 to 16 of them."""
    for domain in range(5):
        for stars, side in ((1, "bad"), (5, "good")):
            lines = [
                json.dumps({"text": f"d{domain} {side}{domain} n{n} {side}", "rating": stars})
                for n in range(7 + domain + stars)
            ]
            with (tmp_path / f"d{domain}.jsonl").open("a") as file:
                file.write("\n".join(lines) + "\n")
    task = Sentiment(3, 4, str(tmp_path), features)
    assert sorted(len(task.groups(split)) for split in SPLITS) == [1, 1, 3]
    support, query, _ = drawn(task, 40, "train")
    seen = set()
    for lane in range(40):
        x = np.concatenate([support.x[lane], query.x[lane]])
        y = np.concatenate([support.y[lane], query.y[lane]])
        if features == "tokens":
            x = np.stack([np.bincount(row.astype(int), minlength=60)[2:] for row in x])
        everywhere = np.flatnonzero(x.min(axis=0))
        assert len(everywhere) == 1  # the domain's own word
        seen.add(int(everywhere[0]))
        for polarity in (0, 1):
            assert len(np.flatnonzero(x[y == polarity].min(axis=0))) == 3
        assert len({row.tobytes() for row in x}) == 14
    assert len(seen) == 3


def corpus(root: Path, limit: int = 100, bad: str = "refuse") -> Any:
    return reviews.read(reviews.find(str(root)), limit, bad)


def test_stars_make_the_polarity(tmp_path: Path) -> None:
    """Of 1 2 3 4 5 stars the middle is left out; domains by name, gzipped, loose or not."""
    found = corpus(text_files.write_amazon(tmp_path))
    assert np.bincount(found.groups).tolist() == [6] * 12
    assert found.names[:3] == ("Domain_0 negative", "Domain_0 positive", "Domain_1 negative")
    assert "its" in found.words and len(found.groups) == 6 * 12


def test_no_more_is_read_than_the_limit_asks_for(tmp_path: Path) -> None:
    """The rest of the file is never looked at, so that its bad line is none."""
    lines = [json.dumps({"reviewText": f"n{n}", "overall": 1 + 4 * (n % 2)}) for n in range(6)]
    text_files.write_lines(tmp_path / "A.jsonl", [*lines, "{"])
    assert np.bincount(corpus(tmp_path, 2).groups).tolist() == [2, 2]
    with pytest.raises(InputError, match=r"1 of 7 records cannot be read: A.jsonl:7 \(not a"):
        corpus(tmp_path, 4)


def test_the_processed_files_of_blitzer(tmp_path: Path) -> None:
    """Words as often as they were counted, in latin-1 where they are no UTF-8; stars too."""
    (tmp_path / "books").mkdir()
    negative = b"bad:2 very_bad:1 12:30:1 #label#:negative\n\ncaf\xe9:1 #label#:2.0\n"
    (tmp_path / "books" / "negative.review").write_bytes(negative)
    positive = "good:1 café:1 #label#:positive\nso:1 so:1 #label#:3.0\n".encode()
    (tmp_path / "books" / "positive.review").write_bytes(positive)
    (tmp_path / "books" / "unlabeled.review").write_bytes(b"never looked at")
    found = corpus(tmp_path)
    spelt = [
        [found.words[n] for n in found.flat[a:b]]
        for a, b in zip(found.starts, found.starts[1:], strict=False)
    ]
    assert spelt == [["bad", "bad", "very_bad", "12:30"], ["café"], ["good", "café"]]
    assert found.groups.tolist() == [0, 0, 1]


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ('{"reviewText": "a", "overall": 6}', "its stars are 6, not 1 to 5"),
        ('{"reviewText": "a", "overall": "five"}', "its stars are 'five', not 1 to 5"),
        ('{"reviewText": "a"}', "its stars are None, not 1 to 5"),
        ('{"reviewText": "a", "overall": NaN}', "its stars are nan, not 1 to 5"),
        ('{"text": "a", "rating": true}', "its stars are True, not 1 to 5"),
        ('{"reviewText": "", "overall": 5}', "no words"),
        ('{"summary": "a", "overall": 5}', "no reviewText or text, but summary, overall"),
    ],
)
def test_a_bad_review_is_named(
    line: str, why: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = text_files.write_lines(tmp_path / "A.json", ['{"text": "a", "rating": 5.0}', line])
    with pytest.raises(InputError) as raised:
        corpus(tmp_path)
    found = f"{path}: 1 of 2 records cannot be read: A.json:2 ({why})"
    assert str(raised.value) == f"{found}; mend them, or leave them out by task.bad_records=skip"
    assert len(corpus(tmp_path, bad="skip").groups) == 1
    assert caplog.messages == [f"{found}; they are left out"]


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("good:1 bad:1", "it does not end in #label#:…"),
        ("good:1 bad #label#:positive", "not words as word:count"),
        ("good:1.5 #label#:positive", "not words as word:count"),
        ("good:1 #label#:unknown", "its stars are 'unknown', not 1 to 5"),
        ("#label#:positive", "no words"),
    ],
)
def test_a_bad_processed_line_is_named(line: str, why: str, tmp_path: Path) -> None:
    text_files.write_blitzer(tmp_path)
    path = tmp_path / "domain1" / "positive.review"
    text_files.write_lines(path, ["good:1 #label#:positive", line])
    with pytest.raises(InputError) as raised:
        corpus(tmp_path)
    assert f"1 of 2 records cannot be read: positive.review:2 ({why}); " in str(raised.value)


def test_domains_may_be_named(tmp_path: Path) -> None:
    root = str(text_files.write_blitzer(tmp_path))
    domains = {"train": ["domain4", "domain0"], "validation": ["domain1"], "test": ["domain3"]}
    task = Sentiment(2, 2, root, domains=domains)
    assert [task.groups(split) for split in SPLITS] == [
        ("domain0", "domain4"),
        ("domain1",),
        ("domain3",),
    ]
    wrongs: tuple[tuple[dict[str, list[str]], str], ...] = (
        (
            {"test": ["domain9"]},
            "task.domains: there is no domain 'domain9'; there are .*",
        ),
        ({"test": ["domain1"]}, "task.domains: 'domain1' is named twice; a domain is of one split"),
        ({"test": []}, "task.domains={.*}: expected names of domains for each of train, .*"),
        ({"dev": ["domain3"]}, "task.domains={.*}: expected names of domains for each of .*"),
    )
    for wrong, message in wrongs:
        with pytest.raises(InputError, match=f"^{message}$"):
            Sentiment(2, 2, root, domains=domains | wrong)


def test_missing_files_are_described(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"there is no such folder; expected files of Amazon rev"):
        Sentiment(1, 1, str(tmp_path / "absent"))
    (tmp_path / "notes.txt").touch()
    with pytest.raises(InputError, match=r"has no reviews, but notes.txt; expected .*mdredze"):
        Sentiment(1, 1, str(tmp_path))
    text_files.write_blitzer(tmp_path)
    (tmp_path / "domain2" / "negative.review").unlink()
    with pytest.raises(InputError, match=r"domain2: has no negative.review, but positive.review; "):
        Sentiment(1, 1, str(tmp_path))


def test_wrong_settings_are_named(tmp_path: Path) -> None:
    root = str(text_files.write_blitzer(tmp_path))
    wrongs: tuple[tuple[dict[str, Any], str], ...] = (
        ({"root": None, "features": "ngrams"}, "task.features=ngrams: made-up reviews have no .*"),
        ({"root": None, "domains": {}}, "task.domains={}: only files have it, and task.root=.*"),
        ({"limit": 0}, "task.limit=0: expected an integer of at least 1"),
        ({"shots": 0}, "task.shots=0: expected an integer of at least 1"),
        (
            {"shots": 4},
            "task.shots=4 and task.queries=4: domain 'domain.' has . ....tive reviews; choose .*",
        ),
    )
    for wrong, message in wrongs:
        with pytest.raises(InputError, match=f"^{message}$"):
            Sentiment(**{"shots": 2, "queries": 4, "root": root, **wrong})
    text_files.write_lines(tmp_path / "domain3.jsonl", [])
    with pytest.raises(InputError, match=r"two files of domain 'domain3'; remove one of them"):
        Sentiment(2, 2, root)
