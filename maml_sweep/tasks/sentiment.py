"""Whether a review is positive: a task is a domain, made up or from files."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from maml_sweep import streams
from maml_sweep.backend import tf
from maml_sweep.checks import positive
from maml_sweep.errors import InputError
from maml_sweep.tasks import bags
from maml_sweep.tasks.base import SPLITS, Classification, Episode, Examples, Split
from maml_sweep.tasks.draws import distinct
from maml_sweep.tasks.made import reviews as made
from maml_sweep.tasks.reading import reviews
from maml_sweep.tasks.reading.corpus import KNOWN, Layout, Tables, tables
from maml_sweep.tasks.reading.reviews import Domain
from maml_sweep.tasks.reading.splits import SHARES
from maml_sweep.tasks.resident import resident
from maml_sweep.tasks.text import Parts, interface, layout, no_files


class Source(NamedTuple):
    """What is to be read, and how: what caches go by."""

    domains: tuple[Domain, ...]
    parts: Parts
    layout: Layout
    limit: int
    bad_records: str


class Sentiment(Classification):
    """Tell negative (0) from positive (1) reviews of one domain after `shots` of each.

    Unlike the classes of other tasks, the two mean the same in every task: what a learner knows of
    them beforehand counts, and what a domain has of its own is to be learnt from the support.

    Without a root, domains are made up as they are needed (see `made.reviews`), the best possible
    answer is known, and the splits differ in their keys alone. With one, the files described in
    `reading.reviews`; domains are then dealt to the splits, and every one is equally likely.

    Args:
      shots: support reviews of each polarity.
      queries: query reviews of each polarity.
      root: a folder; None: made-up domains.
      features: "counts", "ngrams" or "tokens", as in `Text`. Made-up reviews have no order of
        words, hence no "ngrams".
      vocabulary: how many words are known, or buckets; made-up reviews have 200 words in any case.
      length: words of a review that count; of made-up ones it is 25 in any case.
      ngram: of features "ngrams": words of the longest, 1 or 2.
      limit: reviews kept of each polarity of a domain, for the memory's sake: the first in its
        file, which is read no further. All together they take 4 bytes a word, `length` words each
        (twice that for pairs): 25 domains of 2 x 2,000 reviews of 200 words 80 MB.
      domains: the names of the domains of each split; None: dealt by hash of their names.
      shares: of the domains dealt to train, validation and test.
      bad_records: "refuse" records that cannot be read, or "skip" them.

    Raises:
      InputError: no such files, records that cannot be read, a setting out of range, or more
        examples than a domain has reviews of a polarity.
    """

    outputs = 2

    def __init__(
        self,
        shots: int,
        queries: int,
        root: str | None = None,
        features: str = "counts",
        vocabulary: int = 1000,
        length: int = 200,
        ngram: int = 2,
        limit: int = 2000,
        domains: Mapping[str, Sequence[str]] | None = None,
        shares: Sequence[float] = SHARES,
        bad_records: str = "refuse",
    ) -> None:
        self.shots = positive("task.shots", shots)
        self.queries = positive("task.queries", queries)
        positive("task.limit", limit)
        self.layout = layout(features, vocabulary, length, ngram)
        self.source: Source | None = None
        if root is None:
            no_files({"domains": domains})
            self.layout = _made_up(self.layout)
            self.width = made.WORDS
        else:
            found, parts = _dealt(root, domains, shares)
            self.source = Source(found, parts, self.layout, limit, bad_records)
            self.width = _tables(self.source).width
            self._check(self.source)
        self.input_shape, self.categories = interface(self.layout, self.width)

    def _check(self, source: Source) -> None:
        """Refuses domains that have too few reviews."""
        laid = _tables(source)
        for split, names in source.parts:
            for index, size in enumerate(laid.sizes[split]):
                if size < self.shots + self.queries:
                    raise InputError(
                        f"task.shots={self.shots} and task.queries={self.queries}: domain "
                        f"'{names[index // 2]}' has {size} {reviews.POLARITIES[index % 2]} "
                        f"reviews; choose at most {size} together"
                    )

    def episodes(self, split: Split, keys: Any, dtype: Any) -> Episode:
        """Draws a domain, and distinct reviews of each polarity, for every key."""
        count = self.shots + self.queries
        if self.source is None:
            rows = made.draw(keys, count) + KNOWN
        else:
            rows = _drawn(self.source, split, keys, count)
        support, query = (
            self._examples(part, dtype)
            for part in tf.split(rows, [self.shots, self.queries], axis=2)
        )
        return Episode(support, query)

    def _examples(self, rows: Any, dtype: Any) -> Examples:
        """int32 [lane, polarity, count, slot] -> x [lane, polarity * count, ...], labels."""
        lanes, (count, slots) = tf.shape(rows)[0], rows.shape[2:]
        flat = tf.reshape(rows, [lanes, 2 * count, slots])
        x = bags.seen(flat, self.layout.features, self.width, dtype)
        labels = tf.repeat(tf.range(2), count)
        return Examples(x, tf.broadcast_to(labels, [lanes, 2 * count]))

    def groups(self, split: Split) -> Sequence[str]:
        """The names of the domains; none of made-up ones."""
        return dict(self.source.parts)[split] if self.source else ()


def _made_up(asked: Layout) -> Layout:
    """The layout of made-up reviews."""
    if asked.features == "ngrams":
        raise InputError(
            "task.features=ngrams: made-up reviews have no order of words; choose counts or "
            "tokens, or name a folder of files by task.root"
        )
    return Layout(asked.features, made.WORDS, made.LENGTH)


def _dealt(
    root: str, domains: Mapping[str, Sequence[str]] | None, shares: Sequence[float]
) -> tuple[tuple[Domain, ...], Parts]:
    """The domains of a root that are in a split, and those of each split by name."""
    found = reviews.find(root)
    parts = reviews.parts([domain.name for domain in found], domains, shares)
    named = {name for names in parts.values() for name in names}
    kept = tuple(domain for domain in found if domain.name in named)
    return kept, tuple((split, tuple(parts[split])) for split in SPLITS)


@functools.cache
def _tables(source: Source) -> Tables:
    """Every split's rows, in groups of a domain's negative and positive reviews."""
    corpus = reviews.read(source.domains, source.limit, source.bad_records)
    number = {domain.name: index for index, domain in enumerate(source.domains)}
    groups = {
        split: [2 * number[name] + polarity for name in names for polarity in (0, 1)]
        for split, names in source.parts
    }
    return tables(corpus, groups, source.layout)


@functools.cache
def _resident(source: Source, split: Split) -> Any:
    """A split's rows on the device: int32 [review, slot], group after group."""
    return resident(_tables(source).rows[split])


def _drawn(source: Source, split: Split, keys: Any, count: int) -> Any:
    """Draws a domain of the split a key, and reviews of each of its polarities.

    Args:
      source: what was read.
      split: whose domains.
      keys: uint32 [lane, 2].
      count: reviews of each polarity.

    Returns:
      int32 [lane, polarity, count, slot], rows.
    """
    sizes = np.asarray(_tables(source).sizes[split], np.int32)
    starts = (np.cumsum(sizes, dtype=np.int32) - sizes).reshape(-1, 2)  # [domain, polarity]
    domain = distinct(streams.fold_in(keys, 0), len(starts), 1)[:, 0]
    each = streams.fold_in(keys[:, tf.newaxis], tf.range(1, 3))  # [lane, polarity, 2]
    own = tf.gather(sizes.reshape(-1, 2), domain)
    members = distinct(each, int(sizes.max()), count, own)
    chosen = tf.gather(starts, domain)[:, :, tf.newaxis] + members
    return tf.gather(_resident(source, split), chosen)
