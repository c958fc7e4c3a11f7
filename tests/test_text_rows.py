"""From words to rows of their numbers, and from rows to what a model sees."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from maml_sweep.backend import tf
from maml_sweep.tasks import bags
from maml_sweep.tasks.reading import words
from maml_sweep.tasks.reading.corpus import Builder, Layout, Tables, tables

# -- words ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("Don't — STOP!", ["dont", "stop"]),
        ("  a\tb\nc  ", ["a", "b", "c"]),
        ("Élan “naïve” well-known…yes", ["élan", "naïve", "wellknown", "yes"]),
        ("!?", []),
    ],
)
def test_words(text: str, wanted: list[str]) -> None:
    assert words.split(text) == wanted


def test_hashes_are_the_same_everywhere_and_tell_order() -> None:
    """CRC-32 of 'a' and 'b' as every implementation has it."""
    one = words.hashes(["a", "b"])
    assert one.tolist() == [0xE8B7BE43, 0x71BEEFF9]
    pairs = words.joined(one, one[::-1])
    assert pairs[0] != pairs[1]
    assert words.buckets(one, 1000).tolist() == [int(x) for x in words.buckets(one, 1000)]


def test_buckets_are_even() -> None:
    """20,000 words and as many pairs in 100 buckets: 200 each, deviation 14."""
    one = words.hashes([f"word{number}" for number in range(20_001)])
    for hashes in (one[1:], words.joined(one[:-1], one[1:])):
        found = np.bincount(words.buckets(hashes, 100), minlength=100)
        assert len(found) == 100 and np.abs(found - 200).max() < 5 * 14


# -- rows ----------------------------------------------------------------------------------------


def laid(lines: list[tuple[str, int]], *layout: Any) -> Tables:
    """Texts of the groups 0 (training), 1 (validation) and 2 (test)."""
    builder = Builder()
    for text, group in lines:
        builder.add(text.split(), group)
    parts = {"train": [0], "validation": [1], "test": [2]}
    return tables(builder.corpus("abc"), parts, Layout(*layout))  # type: ignore[arg-type]


LINES = [("b a b", 0), ("c a", 0), ("a z b c", 1), ("z z", 1), ("b", 2), ("c y", 2), ("b", 2)]


def test_rows_of_tokens_by_hand() -> None:
    """In training a is there twice, b twice, c once: 2, 3 and 4, by the alphabet where even.

    z and y are unknown, so `z z` says nothing and is left out; `b` is there twice and counts once.
    """
    found = laid(LINES, "tokens", 9, 3)
    assert found.width == 3
    assert found.rows["train"].tolist() == [[3, 2, 3], [4, 2, 0]]
    assert found.rows["validation"].tolist() == [[2, 1, 3]]
    assert found.rows["test"].tolist() == [[3, 0, 0], [4, 1, 0]]
    assert found.sizes == {"train": (2,), "validation": (1,), "test": (2,)}


def test_a_small_vocabulary_has_the_frequent_words() -> None:
    """Of a and b, twice each, the first; words beyond the length are not counted."""
    assert laid(LINES, "counts", 1, 3).rows["train"].tolist() == [[1, 2, 0], [1, 2, 1]]
    assert laid([("b a c", 0)], "tokens", 9, 3).rows["train"].tolist() == [[3, 2, 4]]
    assert laid(LINES, "counts", 1, 1).rows["train"].tolist() == [[2]]  # b and c, once each


def test_rows_of_ngrams_by_hand() -> None:
    """Of `b a b` the words and the pairs `b a`, `a b`; of `b` no pair."""
    found = laid(LINES, "ngrams", 1000, 3, 2)
    a, b = words.hashes(["a", "b"])[:, np.newaxis]
    one = [int(words.buckets(word, 1000)[0]) + 2 for word in (a, b)]
    two = [int(words.buckets(words.joined(*pair), 1000)[0]) + 2 for pair in ((b, a), (a, b))]
    assert [one[1], one[0], one[1], *two] in found.rows["train"].tolist()
    assert [one[1], 0, 0, 0, 0] in found.rows["test"].tolist()
    assert found.width == 1000 and found.sizes["validation"] == (2,)
    single = laid(LINES, "ngrams", 1000, 3, 1)
    assert [one[1], one[0], one[1]] in single.rows["train"].tolist()


def test_the_order_of_texts_plays_no_part() -> None:
    for features in ("tokens", "ngrams"):
        one, other = (laid(lines, features, 9, 3, 2) for lines in (LINES, LINES[::-1]))
        for split in one.rows:
            np.testing.assert_array_equal(one.rows[split], other.rows[split])


@pytest.mark.parametrize("compiled", [False, True])
def test_what_a_model_sees(compiled: bool) -> None:
    """Of the numbers 3 3 2 1 0 one 2 and two 3s, by length 1/√5 and 2/√5; 0 and 1 say nothing."""
    rows = tf.constant([[[3, 3, 2, 1, 0], [1, 0, 0, 0, 0]], [[4, 0, 0, 0, 0], [2, 4, 4, 2, 4]]])

    def seen(features: str) -> Any:
        own = tf.function(
            lambda x: bags.seen(x, features, 3, tf.float64), autograph=False, jit_compile=compiled
        )
        return own(rows)

    counts = np.array([[[1, 2, 0], [0, 0, 0]], [[0, 0, 1], [2, 0, 3]]])
    np.testing.assert_array_equal(seen("counts"), counts)
    lengths = np.sqrt([[[5], [1]], [[1], [13]]])
    np.testing.assert_allclose(seen("ngrams"), counts / lengths, rtol=1e-15)
    np.testing.assert_array_equal(seen("tokens"), rows)
