"""A few draws without repetition out of very many, whose number differs from lane to lane."""

from __future__ import annotations

from typing import Any

from maml_sweep import streams
from maml_sweep.backend import tf


def below(words: Any, sizes: Any) -> Any:
    """Whole numbers from 0 to size - 1 out of random words.

    Args:
      words: uint32 [...].
      sizes: int32 [...], at least 1.

    Returns:
      int32 [...]: floor(size * word / 2**32). A number's chance is off by less than size / 2**32.
    """
    unit = tf.cast(words, tf.float64) * 2.0**-32
    return tf.cast(unit * tf.cast(sizes, tf.float64), tf.int32)


def sample(keys: Any, sizes: Any, count: int) -> Any:
    """Draws `count` of 0 … size - 1 without repetition, in random order, for each key.

    By R. Floyd's method (Bentley & Floyd, "A sample of brilliance", 1987): every subset is equally
    likely, and the work is count² / 2 comparisons however large a size is. `draws.distinct` makes a
    random word for each of the largest size's members and sorts them, which is better where
    sizes are small and alike, and too much for users of thousands of ratings.

    Args:
      keys: uint32 [lane, 2].
      sizes: int32 [lane], each at least `count`.
      count: how many to draw.

    Returns:
      int32 [lane, count].
    """
    words = streams.bits(keys, 2 * count)
    last = sizes[:, tf.newaxis] - count + tf.range(count)  # [lane, draw], new at each draw
    tried = below(words[:, :count], last + 1)

    def draw(index: Any, drawn: Any) -> tuple[Any, Any]:
        wanted = tf.gather(tried, [index], axis=1)
        taken = tf.reduce_any(tf.equal(drawn, wanted), axis=1, keepdims=True)
        chosen = tf.where(taken, tf.gather(last, [index], axis=1), wanted)
        return index + 1, tf.where(tf.equal(tf.range(count), index), chosen, drawn)

    start = (tf.constant(0), tf.fill(tf.shape(last), -1))
    drawn = tf.while_loop(lambda index, _: index < count, draw, start)[1]
    ranks = tf.cast(tf.bitwise.right_shift(words[:, count:], tf.constant(1, tf.uint32)), tf.int32)
    order = tf.math.top_k(ranks, count).indices
    return tf.gather(drawn, order, batch_dims=1)
