"""Counter-based randomness: every number is a pure function of a key and a counter.

A trial's draws therefore depend on its seed alone: not on the pack it rides in, its place there,
the worker, or an interruption. Keys are 64 bits as two uint32 words; a stream is a hash of
(key, counter) by two rounds of the `lowbias32` integer mixer (C. Wellons, "Prospecting for hash
functions", 2018). Not for cryptography.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import numpy as np

from maml_sweep.backend import tf

_GOLDEN = 0x9E3779B9  # 2**32 / golden ratio: spreads neighbouring counters
_SILVER = 0x85EBCA6B

_OPERATIONS: ContextVar[Any] = ContextVar("operations of our own in C", default=None)


@contextmanager
def kernels(operations: Any) -> Iterator[None]:
    """Has what is traced meanwhile hash by operations of our own, of the same numbers.

    Args:
      operations: of `kernels/streams.c`; None: TensorFlow's, dozens for each hash.
    """
    before = _OPERATIONS.set(operations)
    try:
        yield
    finally:
        _OPERATIONS.reset(before)


def derive_seed(*words: int | str) -> int:
    """Hashes words to a seed in [0, 2**63), the same on every machine and Python."""
    text = "/".join(str(word) for word in words).encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "big") >> 1


def trial_seed(seed: int, slot: int) -> int:
    """The seed of a slot's trial, in [0, 2**63): its data and its initial weights hang on it."""
    return derive_seed("trial", seed, slot)


def repeat_seed(seed: int, repeat: int) -> int:
    """The seed of a trial's `repeat`-th run; the first is the trial's own seed."""
    return seed if repeat == 0 else derive_seed("repeat", seed, repeat)


def key(*words: int | str) -> np.ndarray:
    """A stream's key from words: uint32 [2]."""
    seed = derive_seed(*words)
    return np.array([seed >> 32, seed & 0xFFFFFFFF], dtype=np.uint32)


def _mix(x: Any) -> Any:
    """The lowbias32 mixer, a bijection of uint32."""
    shift = tf.bitwise.right_shift
    xor = tf.bitwise.bitwise_xor
    x = xor(x, shift(x, tf.constant(16, tf.uint32))) * tf.constant(0x7FEB352D, tf.uint32)
    x = xor(x, shift(x, tf.constant(15, tf.uint32))) * tf.constant(0x846CA68B, tf.uint32)
    return xor(x, shift(x, tf.constant(16, tf.uint32)))


def fold_in(keys: Any, data: Any) -> Any:
    """Derives a key for each (key, datum).

    Args:
      keys: uint32 [..., 2].
      data: integers broadcastable to [...]; taken modulo 2**32.

    Returns:
      uint32 [..., 2].
    """
    data = tf.cast(data, tf.uint32)
    if (own := _OPERATIONS.get()) is not None and len(keys.shape) == 2:
        data = tf.broadcast_to(data, tf.shape(keys)[:1])
        return tf.ensure_shape(own.maml_sweep_fold(keys=keys, data=data), keys.shape)
    high, low = tf.unstack(keys, axis=-1)
    high = _mix(tf.bitwise.bitwise_xor(high, _mix(data + tf.constant(_GOLDEN, tf.uint32))))
    low = _mix(tf.bitwise.bitwise_xor(low, _mix(high + tf.constant(_SILVER, tf.uint32))))
    return tf.stack([high, low], axis=-1)


def bits(keys: Any, count: int) -> Any:
    """`count` random words of each key's stream: uint32 [..., 2] -> uint32 [..., count]."""
    counters = tf.cast(tf.range(count, dtype=tf.int32), tf.uint32)
    if (own := _OPERATIONS.get()) is not None and len(keys.shape) == 2:
        words = own.maml_sweep_bits(keys=keys, counters=counters)
        return tf.ensure_shape(words, [keys.shape[0], *counters.shape])
    counters *= tf.constant(_GOLDEN, tf.uint32)
    high, low = keys[..., 0:1], keys[..., 1:2]
    return _mix(tf.bitwise.bitwise_xor(_mix(tf.bitwise.bitwise_xor(counters, high)), low))


def uniform(keys: Any, count: int, dtype: Any, low: float = 0.0, high: float = 1.0) -> Any:
    """Uniform draws in [low, high) on a grid of 2**24 points, the same in every float type.

    Args:
      keys: uint32 [..., 2].
      count: draws a key.
      dtype: the float type to return.
      low: lower bound, included.
      high: upper bound, excluded.

    Returns:
      dtype [..., count].
    """
    words = tf.bitwise.right_shift(bits(keys, count), tf.constant(8, tf.uint32))
    unit = tf.cast(tf.cast(words, tf.int32), dtype) * (1.0 / 2**24)
    return low + (high - low) * unit


def truncated_normal(keys: Any, count: int, dtype: Any) -> Any:
    """Standard normal draws cut at two deviations and rescaled to deviation one.

    By inversion: erfinv of a uniform between the two cuts. uint32 [..., 2] -> dtype [..., count].
    """
    cut = 0.9544997361036416  # mass of a standard normal within two deviations
    deviation = 0.8796256610342398  # of a standard normal cut at two deviations
    centred = uniform(keys, count, tf.float64, -cut, cut)
    return tf.cast(tf.math.erfinv(centred) * (2.0**0.5 / deviation), dtype)


def normal(keys: Any, count: int, dtype: Any) -> Any:
    """Standard normal draws: uint32 [..., 2] -> dtype [..., count].

    By inversion: erfinv of the middles of the 2**24 cells of `uniform`, in double precision. None
    is infinite, and none lies beyond 5.42 deviations, where a true normal lies once in 2**24 draws.
    """
    centred = uniform(keys, count, tf.float64, -1.0, 1.0) + 2.0**-24
    return tf.cast(tf.math.erfinv(centred) * 2.0**0.5, dtype)
