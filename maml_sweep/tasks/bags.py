"""From rows of word numbers to what a model reads, inside the program."""

from __future__ import annotations

from typing import Any

from maml_sweep.backend import tf
from maml_sweep.tasks.reading.corpus import KNOWN


def seen(rows: Any, features: str, width: int, dtype: Any) -> Any:
    """What a model sees of texts.

    Rows wait on the device as they are, and become as wide as the vocabulary only within an
    episode.

    Args:
      rows: [lane, example, slot], whole numbers as `Tables` has them.
      features: "tokens": the numbers themselves; "counts": how often each known word is there;
        "ngrams": how often each bucket is, scaled to length one.
      width: of the words or buckets there are.
      dtype: the float type to return.

    Returns:
      [lane, example, slot] for tokens, else [lane, example, width].
    """
    if features == "tokens":
        return tf.cast(rows, dtype)
    found = counts(tf.cast(rows, tf.int32) - KNOWN, width, dtype)
    return of_length_one(found) if features == "ngrams" else found


def counts(numbers: Any, width: int, dtype: Any) -> Any:
    """How often each number below `width` is there; negative ones are passed over.

    Args:
      numbers: int32 [lane, example, slot].
      width: of numbers to be counted.
      dtype: the float type to return.

    Returns:
      [lane, example, width].
    """
    lanes, examples = tf.unstack(tf.shape(numbers)[:2])
    texts = tf.reshape(tf.range(lanes * examples), [lanes, examples, 1])
    cells = tf.where(numbers >= 0, numbers + width * texts, -1)
    ones = tf.ones_like(numbers, dtype)
    found = tf.math.unsorted_segment_sum(ones, cells, lanes * examples * width)
    return tf.reshape(found, [lanes, numbers.shape[1] or examples, width])


def of_length_one(x: Any) -> Any:
    """Counts by their Euclidean length; zeros stay.

    A square root and a division are rounded alike in all places of a batch; `rsqrt` is not.
    """
    squares = tf.reduce_sum(tf.square(x), axis=-1, keepdims=True)
    return x / tf.sqrt(tf.maximum(squares, tf.ones_like(squares)))
