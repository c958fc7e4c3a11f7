"""N-way K-shot episodes drawn from a table whose classes stand one after the other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from maml_sweep import streams
from maml_sweep.backend import tf
from maml_sweep.checks import positive
from maml_sweep.errors import InputError
from maml_sweep.tasks.base import SPLITS, Episode, Examples, Split


class FewShot:
    """Draws `ways` classes of a split, and of each `shots` + `queries` different examples.

    Labels are 0 … ways - 1 in random order; examples come class after class, and none is both
    support and query.

    Args:
      name: what the examples are called in a refusal.
      sizes: how many examples each class of a split has, in the order of its table.
      ways: classes a task (the papers' N).
      shots: support examples a class (their K).
      queries: query examples a class.

    Raises:
      InputError: a count below one, more ways than a split has classes, or more examples than a
        class has.
    """

    def __init__(
        self,
        name: str,
        sizes: Mapping[Split, Sequence[int]],
        ways: int,
        shots: int,
        queries: int,
    ) -> None:
        self.sizes = sizes
        self.ways = positive("task.ways", ways)
        self.shots = positive("task.shots", shots)
        self.queries = positive("task.queries", queries)
        classes, split = min((len(sizes[split]), split) for split in SPLITS)
        if ways > classes:
            raise InputError(
                f"task.ways={ways}: the {split} split of {name} has {classes} classes; "
                f"choose at most {classes}"
            )
        least = min(min(sizes[split]) for split in SPLITS)
        if shots + queries > least:
            raise InputError(
                f"task.shots={shots} and task.queries={queries}: a class of {name} has {least} "
                f"examples; choose at most {least} together"
            )

    def episode(self, split: Split, table: Any, keys: Any, dtype: Any) -> Episode:
        """Draws one episode a key; a pure function of (split, key) and of the table.

        Args:
          split: whose sizes count.
          table: [example, *input_shape], the split's classes one after the other.
          keys: uint32 [lane, 2].
          dtype: the float type of the examples.
        """
        sizes = np.asarray(self.sizes[split], np.int32)
        starts = np.cumsum(sizes, dtype=np.int32) - sizes  # the first row of each class
        classes = distinct(streams.fold_in(keys, 0), len(sizes), self.ways)
        each = streams.fold_in(keys[:, tf.newaxis], tf.range(1, self.ways + 1))  # [lane, way, 2]
        own = None if sizes.min() == sizes.max() else tf.gather(sizes, classes)
        members = distinct(each, int(sizes.max()), self.shots + self.queries, own)
        rows = tf.gather(starts, classes)[:, :, tf.newaxis] + members  # [lane, way, example]
        support, query = (
            self._examples(table, part, dtype)
            for part in tf.split(rows, [self.shots, self.queries], axis=2)
        )
        return Episode(support, query, classes)

    def _examples(self, table: Any, rows: Any, dtype: Any) -> Examples:
        """Looks rows up: int32 [lane, way, count] -> [lane, way * count, *input_shape], labels."""
        lanes, count = tf.shape(rows)[0], rows.shape[2]
        flat = tf.reshape(rows, [lanes, self.ways * count])
        x = tf.cast(tf.gather(table, flat), dtype)
        labels = tf.repeat(tf.range(self.ways), count)
        return Examples(x, tf.broadcast_to(labels, [lanes, self.ways * count]))


def distinct(keys: Any, population: int, count: int, sizes: Any = None) -> Any:
    """Draws `count` of 0 … population - 1 without repetition, in random order.

    Args:
      keys: uint32 [..., 2].
      population: how many there are.
      count: how many to draw; at most population.
      sizes: int32 [...], for each key how many there are, from count to population; None: all.

    Returns:
      int32 [..., count]: where the largest of as many random words stand.
    """
    words = tf.bitwise.right_shift(streams.bits(keys, population), tf.constant(1, tf.uint32))
    words = tf.cast(words, tf.int32)
    if sizes is not None:
        words = tf.where(tf.range(population) < sizes[..., tf.newaxis], words, -1)
    return tf.math.top_k(words, count).indices
