"""Letters of scripts never seen in training: N-way K-shot on data the package carries.

Made in the image of Omniglot (Lake et al. 2015): many classes, twenty drawers each, and splits
that share no alphabet. Each letter is printed by up to six font faces and distorted by twenty
'drawers' (see `glyph_data`), so it is easier to come by than handwriting and a little more regular.
"""

from __future__ import annotations

import functools
from typing import Any

from maml_sweep import streams
from maml_sweep.backend import tf
from maml_sweep.checks import positive
from maml_sweep.errors import InputError
from maml_sweep.tasks.base import Classification, Episode, Examples, Split
from maml_sweep.tasks.glyph_data import DRAWERS, SIDE, SPLITS, letters, load


class Glyphs(Classification):
    """Tell `ways` letters of one split apart from `shots` drawings of each.

    Labels are 0 … ways - 1 in random order; examples come class after class, and no drawing is
    both support and query.

    Args:
      ways: classes a task (the papers' N).
      shots: support examples a class (their K).
      queries: query examples a class.
      root: must be None, for nothing is read from disk outside the package.

    Raises:
      InputError: a count below one, more ways than a split has classes, more examples than a
        class has drawers, or a root.
    """

    input_shape = (SIDE, SIDE, 1)

    def __init__(self, ways: int, shots: int, queries: int, root: str | None = None) -> None:
        self.ways = self.outputs = _at_most_the_classes(positive("task.ways", ways))
        self.shots = positive("task.shots", shots)
        self.queries = positive("task.queries", queries)
        if shots + queries > DRAWERS:
            raise InputError(
                f"task.shots={shots} and task.queries={queries}: a class of glyphs has {DRAWERS} "
                f"examples; choose at most {DRAWERS} together"
            )
        if root is not None:
            raise InputError(f"task.root={root}: glyphs come with the package; leave it null")

    def episodes(self, split: Split, keys: Any, dtype: Any) -> Episode:
        """Draws distinct classes, and distinct drawers for each, for every key; ink is 1."""
        classes = _distinct(streams.fold_in(keys, 0), len(letters(split)), self.ways)
        each = streams.fold_in(keys[:, tf.newaxis], tf.range(1, self.ways + 1))  # [lane, way, 2]
        drawers = _distinct(each, DRAWERS, self.shots + self.queries)
        drawings = classes[:, :, tf.newaxis] * DRAWERS + drawers  # [lane, way, shot or query]
        support, query = tf.split(drawings, [self.shots, self.queries], axis=2)
        return Episode(self._examples(split, support, dtype), self._examples(split, query, dtype))

    def _examples(self, split: Split, drawings: Any, dtype: Any) -> Examples:
        """Looks drawings up: int32 [lane, way, count] -> [lane, way * count, 28, 28, 1], labels."""
        lanes, count = tf.shape(drawings)[0], drawings.shape[2]
        flat = tf.reshape(drawings, [lanes, self.ways * count])
        x = tf.cast(tf.gather(_resident(split), flat), dtype)
        labels = tf.repeat(tf.range(self.ways), count)
        return Examples(x, tf.broadcast_to(labels, [lanes, self.ways * count]))


def _at_most_the_classes(ways: int) -> int:
    classes, split = min((len(letters(split)), split) for split in SPLITS)
    if ways > classes:
        raise InputError(
            f"task.ways={ways}: the {split} split of glyphs has {classes} classes; "
            f"choose at most {classes}"
        )
    return ways


def _distinct(keys: Any, population: int, count: int) -> Any:
    """Draws `count` of 0 … population - 1 without repetition, in random order.

    Args:
      keys: uint32 [..., 2].
      population: how many there are.
      count: how many to draw; at most population.

    Returns:
      int32 [..., count]: where the largest of as many random words stand.
    """
    words = tf.bitwise.right_shift(streams.bits(keys, population), tf.constant(1, tf.uint32))
    return tf.math.top_k(tf.cast(words, tf.int32), count).indices


@functools.cache
def _resident(split: Split) -> Any:
    """Every drawing of a split on the device: uint8 [class * drawer, 28, 28, 1].

    Made outside the graph being traced, which then refers to it instead of holding a copy.
    """
    with tf.init_scope():
        return tf.constant(load(split).reshape(-1, SIDE, SIDE, 1))
