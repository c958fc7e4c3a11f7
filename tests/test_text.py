"""Topics: what is made up, what is drawn from files, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import text_files
import text_oracles

from maml_sweep.backend import tf
from maml_sweep.errors import InputError
from maml_sweep.tasks import Text
from maml_sweep.tasks.base import SPLITS
from maml_sweep.tasks.made import hashed, topics


def test_hashed_numbers_are_pinned_and_random() -> None:
    """The first of Philox, by its key; 40,000 normal numbers have the moments of normal ones."""
    np.testing.assert_array_equal(hashed.uniform("a", 2, 3).ravel(), hashed.uniform("a", 6))
    assert hashed.uniform("a", 3)[0] != hashed.uniform("b", 3)[0]
    numbers = hashed.normal("a", 200, 200)
    assert abs(numbers.mean()) < 5 / 200 and abs(numbers.var() - 1) < 5 * 2**0.5 / 200


def test_made_up_texts_are_pinned() -> None:
    """Whoever changes the generator changes every result on it."""
    corpus = topics.corpus()
    assert corpus.flat.shape == (560 * 60 * 20,)
    assert corpus.flat[:8].tolist() == [40, 197, 178, 131, 109, 113, 55, 83]


def test_words_are_as_frequent_as_their_class_has_them() -> None:
    """χ² of a class's 1,200 words over those expected five times or more, summed over 100 classes.

    Its mean is the number of these words less one a class, its variance twice that.
    """
    flat = topics.corpus().flat[-100 * topics.TEXTS * topics.LENGTH :].reshape(100, -1)
    known = topics.distributions("test")
    total, freedom = 0.0, 0
    for drawn, expected in zip(flat, 1200 * known, strict=True):
        often = expected >= 5
        found = np.bincount(drawn, minlength=topics.WORDS)
        cells = np.append(found[often], found[~often].sum())
        wanted = np.append(expected[often], expected[~often].sum())
        total += ((cells - wanted) ** 2 / wanted).sum()
        freedom += len(cells) - 1
    assert abs(total - freedom) < 5 * (2 * freedom) ** 0.5


def test_naive_bayes_is_far_from_the_best_answer() -> None:
    """From one text a class: 43% against 90%, so there is something to be learnt beforehand."""
    task: Any = Text(5, 1, 10)
    episode = task.episodes("test", tf.constant(text_oracles.keys(200)), tf.float64)
    logits, _ = text_oracles.topic_logits(task, episode)
    counted = episode.support.x.numpy() + 1  # one text of each class, in the order of the labels
    guess = episode.query.x.numpy() @ np.log(
        counted / counted.sum(axis=2, keepdims=True)
    ).transpose(0, 2, 1)
    y = episode.query.y.numpy()
    assert text_oracles.hits(logits, y) == pytest.approx(0.90, abs=0.02)
    assert text_oracles.hits(guess, y) == pytest.approx(0.43, abs=0.03)


def test_tokens_and_counts_are_the_same_texts() -> None:
    """Of the same classes and lengths, whichever way they are seen; ids follow the frequency."""
    keys = tf.constant(text_oracles.keys(3))
    counts = Text(3, 2, 4).episodes("train", keys, tf.float32)
    tokens = Text(3, 2, 4, features="tokens").episodes("train", keys, tf.float32)
    np.testing.assert_array_equal(counts.classes, tokens.classes)
    for lane in range(3):
        for seen, numbers in zip(counts.support.x[lane], tokens.support.x[lane], strict=True):
            found = np.bincount(numbers.numpy().astype(int) - 2, minlength=200)
            np.testing.assert_array_equal(seen, found)


def test_ngrams_of_made_up_texts_have_length_one() -> None:
    task = Text(3, 1, 2, features="ngrams", vocabulary=64)
    x = task.episodes("validation", tf.constant(text_oracles.keys(2)), tf.float64).query.x
    assert x.shape == (2, 6, 64)
    np.testing.assert_allclose(np.linalg.norm(x, axis=2), 1, rtol=1e-12)


def test_a_short_vocabulary_and_length_are_heeded() -> None:
    task = Text(2, 1, 1, features="tokens", vocabulary=50, length=7)
    x = task.episodes("test", tf.constant(text_oracles.keys(50)), tf.float32).support.x.numpy()
    assert task.input_shape == (7,) and task.categories == (52,)
    assert x.shape[2] == 7 and x.max() <= 51 and x.min() == 1  # of an unknown word
    assert Text(2, 1, 1, vocabulary=50).input_shape == (50,)


def test_real_texts_come_from_their_class_and_split(tmp_path: Path) -> None:
    """The first word of each headline is its class's, known to the training split alone."""
    root = str(text_files.write_huffpost(tmp_path))
    task = Text(4, 2, 3, root, "tokens", split="huffpost")
    episode = task.episodes("train", tf.constant(text_oracles.keys(30)), tf.float32)
    first = episode.query.x.numpy()[:, :, 0]
    chosen = np.take_along_axis(episode.classes.numpy(), episode.query.y.numpy(), 1)
    pairs = {*zip(first.ravel().tolist(), chosen.ravel().tolist(), strict=True)}
    assert len(pairs) == 20 == len({word for word, _ in pairs}) and 1 not in first
    other = task.episodes("test", tf.constant(text_oracles.keys(5)), tf.float32)
    assert (other.support.x.numpy()[:, :, 0] == 1).all()
    assert [len(task.groups(split)) for split in SPLITS] == [20, 5, 16]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"ways": 61}, "task.ways=61: the validation split of made-up topics has 60 classes; .*"),
        ({"shots": 51}, "task.shots=51 and task.queries=10: a class of made-up topics has 60 .*"),
        ({"features": "bytes"}, "task.features=bytes: expected one of counts, ngrams, tokens"),
        ({"vocabulary": 0}, "task.vocabulary=0: expected an integer of at least 1"),
        ({"length": 0}, "task.length=0: expected an integer of at least 1"),
        ({"ngram": 3}, r"task.ngram=3: expected 1 \(words\) or 2 \(and pairs of neighbours\)"),
        ({"split": "huffpost"}, "task.split=huffpost: only files have it, and task.root=null; .*"),
        ({"label": "topic"}, "task.label=topic: only files have it, and task.root=null; .*"),
        ({"root": "/absent"}, "task.root=/absent: there is no such folder; expected a file .*"),
        (
            {"root": "/absent", "split": "news"},
            "task.split=news: expected one of auto, dealt, huffpost, newsgroups, amazon, .*",
        ),
    ],
)
def test_wrong_settings_are_named(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=f"^{message}$"):
        Text(**({"ways": 5, "shots": 1, "queries": 10} | wrong))


def test_wrong_settings_of_files_are_named(tmp_path: Path) -> None:
    root = str(text_files.write_news(tmp_path))
    with pytest.raises(InputError, match=r"^task.split=huffpost: expected the labels 0 to 40 of"):
        Text(2, 1, 1, root, split="huffpost")
    with pytest.raises(InputError, match=r"^task.bad_records=maybe: expected one of refuse, skip"):
        Text(2, 1, 1, root, bad_records="maybe")
    with pytest.raises(InputError, match=r"120 of 120 records cannot be read: .*no body, but"):
        Text(2, 1, 1, root, text="body")
    with pytest.raises(InputError, match=r"^task.shares=\[1, 2, 3\]: expected the shares of"):
        Text(2, 1, 1, root, shares=[1, 2, 3])
