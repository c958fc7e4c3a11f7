"""From a text to its words, and from words to buckets.

`split` does what Keras's TextVectorization does by default, which would need TensorFlow where a
task is only being checked: it lower-cases, deletes ASCII punctuation and cuts at white space.
Beyond it, `split` lower-cases letters outside ASCII too (Keras leaves 'É' as it is), deletes
typographic quotes as it does straight ones, and cuts at dashes and ellipses.
"""

from __future__ import annotations

import string
import zlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

_MARKS: dict[int, str | None] = {ord(mark): None for mark in string.punctuation + "‘’“”„«»"}
_MARKS |= {ord(mark): " " for mark in "–—…"}


def split(text: str) -> list[str]:
    """The words of a text: `Don't — STOP!` has `dont` and `stop`."""
    return text.lower().translate(_MARKS).split()


def hashes(words: Sequence[str]) -> NDArray[np.uint32]:
    """A number for each word that is the same on every machine: its CRC-32."""
    return np.fromiter((zlib.crc32(word.encode()) for word in words), np.uint32, len(words))


def joined(first: NDArray[np.uint32], second: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """The hash of n-grams from those of their first words and of their last word.

    Multiplied by an odd number in between, so that 'a b' is not 'b a'.
    """
    mixed = (first ^ (first >> np.uint32(15))) * np.uint32(0x846CA68B) + second
    result: NDArray[np.uint32] = (mixed ^ (mixed >> np.uint32(16))) * np.uint32(0x7FEB352D)
    return result ^ (result >> np.uint32(15))


def buckets(numbers: NDArray[np.uint32], count: int) -> NDArray[np.int32]:
    """Hashes to 0 … count - 1, by the mixed high and low bits."""
    mixed = (numbers ^ (numbers >> np.uint32(16))) * np.uint32(0x7FEB352D)
    return ((mixed ^ (mixed >> np.uint32(15))) % np.uint32(count)).astype(np.int32)
