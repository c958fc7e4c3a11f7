"""Texts as numbers: read and cut into words once, then laid out as a model is to see them."""

from __future__ import annotations

from array import array
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from maml_sweep.tasks.base import SPLITS, Split
from maml_sweep.tasks.reading import words as wording

Rows = NDArray[np.int32]
PADDING, UNKNOWN, KNOWN = 0, 1, 2  # what numbers in a row of tokens stand for; words from KNOWN on
FEATURES = ("counts", "ngrams", "tokens")


class Corpus(NamedTuple):
    """Texts, each of one group: a class, or a polarity of a domain."""

    words: Sequence[str]  # distinct
    flat: NDArray[np.int32]  # every text's words by their numbers, text after text
    starts: NDArray[np.int64]  # [text + 1]: where each begins and the last ends
    groups: NDArray[np.int32]  # [text], a number of `names`
    names: Sequence[str]


class Layout(NamedTuple):
    """What is made of texts; see `Tables` for the meaning of `features`."""

    features: str
    vocabulary: int  # words or buckets
    length: int  # words of a text that count; the rest is cut off
    ngram: int = 1  # words of the longest n-gram, 1 or 2


class Tables(NamedTuple):
    """The texts of every split as rows of whole numbers, group after group.

    A row holds numbers of words: 0 for padding, 1 for an unknown word, 2 … for words by falling
    frequency. For features "ngrams" it holds buckets of n-grams from 2 on, and no unknown ones.
    """

    rows: Mapping[Split, Rows]  # [text, slot]
    sizes: Mapping[Split, tuple[int, ...]]  # texts of each group, in the order asked for
    width: int  # of the words or buckets there are


class Builder:
    """Collects texts one by one."""

    def __init__(self) -> None:
        self._numbers: defaultdict[str, int] = defaultdict()
        self._numbers.default_factory = self._numbers.__len__
        self._flat, self._starts, self._groups = array("i"), array("q", [0]), array("i")

    def add(self, words: Iterable[str], group: int) -> None:
        """Adds a text: its words, and the number of its group."""
        self._flat.extend(map(self._numbers.__getitem__, words))
        self._starts.append(len(self._flat))
        self._groups.append(group)

    def corpus(self, names: Sequence[str]) -> Corpus:
        """The texts so far, whose groups have these names."""
        return Corpus(
            words=tuple(self._numbers),
            flat=np.array(self._flat, np.int32),
            starts=np.array(self._starts, np.int64),
            groups=np.array(self._groups, np.int32),
            names=tuple(names),
        )


def tables(corpus: Corpus, parts: Mapping[Split, Sequence[int]], layout: Layout) -> Tables:
    """Lays texts out.

    The vocabulary is that of the training split: its most frequent words, in alphabetical order
    where they are equally frequent. Texts without a known word are left out, for there is nothing
    in them to go by, and one that is in a group twice counts once, lest the same text be both
    learnt from and asked for. The order of the texts plays no part.

    Args:
      corpus: all texts.
      parts: the groups of each split, in the order their rows shall have.
      layout: how.
    """
    cut = _cut(corpus, layout.length)
    owners = {split: _places(parts[split], len(corpus.names))[corpus.groups] for split in SPLITS}
    if layout.features == "ngrams":
        laid, width = _ngrams(corpus, cut, layout), layout.vocabulary
    else:
        known = _vocabulary(corpus, cut[owners["train"] >= 0], layout.vocabulary)
        laid, width = _numbered(cut, known), int((known >= KNOWN).sum())
    informative = laid.max(axis=1, initial=0) >= KNOWN
    rows, sizes = {}, {}
    for split in SPLITS:
        chosen = informative & (owners[split] >= 0)
        rows[split], sizes[split] = _grouped(laid[chosen], owners[split][chosen], len(parts[split]))
    return Tables(rows, sizes, width)


def _cut(corpus: Corpus, length: int) -> Rows:
    """The first words of each text, -1 where it has no more: [text, length]."""
    rows = np.full((len(corpus.groups), length), -1, np.int32)
    sizes = np.minimum(np.diff(corpus.starts), length)
    for column in range(min(length, int(sizes.max(initial=0)))):
        longer = np.flatnonzero(sizes > column)
        rows[longer, column] = corpus.flat[corpus.starts[longer] + column]
    return rows


def _places(chosen: Sequence[int], count: int) -> NDArray[np.int32]:
    """Where each of `count` groups stands among the chosen: -1 if it does not."""
    places = np.full(count, -1, np.int32)
    places[list(chosen)] = np.arange(len(chosen), dtype=np.int32)
    return places


def _vocabulary(corpus: Corpus, rows: Rows, count: int) -> NDArray[np.int32]:
    """What stands for each word of the corpus: `UNKNOWN`, or `KNOWN` and on for the frequent."""
    found = np.bincount(rows[rows >= 0], minlength=len(corpus.words))
    order = sorted(np.flatnonzero(found).tolist(), key=lambda i: (-found[i], corpus.words[i]))
    numbers = np.full(len(corpus.words), UNKNOWN, np.int32)
    numbers[order[:count]] = np.arange(KNOWN, KNOWN + min(count, len(order)), dtype=np.int32)
    return numbers


def _numbered(cut: Rows, numbers: NDArray[np.int32]) -> Rows:
    """Rows of the vocabulary's numbers."""
    return np.append(numbers, np.int32(PADDING))[cut]  # -1 is the last


def _ngrams(corpus: Corpus, cut: Rows, layout: Layout) -> Rows:
    """Rows of buckets: those of single words, then those of neighbouring words."""
    single = np.append(wording.hashes(corpus.words), np.uint32(0))[cut]
    parts = [np.where(cut >= 0, wording.buckets(single, layout.vocabulary) + KNOWN, PADDING)]
    if layout.ngram > 1:
        pairs = wording.joined(single[:, :-1], single[:, 1:])
        there = cut[:, 1:] >= 0
        parts.append(np.where(there, wording.buckets(pairs, layout.vocabulary) + KNOWN, PADDING))
    return np.concatenate(parts, axis=1).astype(np.int32)


def _grouped(rows: Rows, owners: NDArray[np.int32], count: int) -> tuple[Rows, tuple[int, ...]]:
    """Rows group after group, each once and in an order that is only theirs; and the groups' sizes.

    Big-endian: the order of bytes is then the order of numbers, on every machine.
    """
    keyed = np.ascontiguousarray(np.column_stack([owners, rows]).astype(">i4"))
    words = keyed.view(f"V{keyed.itemsize * keyed.shape[1]}").ravel()
    unique = np.unique(words).view(">i4").reshape(-1, keyed.shape[1]).astype(np.int32)
    sizes = np.bincount(unique[:, 0], minlength=count)
    return np.ascontiguousarray(unique[:, 1:]), tuple(sizes.tolist())
