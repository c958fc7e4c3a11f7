"""The networks of LEO: from a support set to a code of each class, and from codes to a classifier.

Rusu et al. 2019 (arXiv 1807.05960), section 2.3; sizes and deviations are those of the authors'
code (https://github.com/deepmind/leo). All layers are linear without biases.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from maml_sweep import streams
from maml_sweep.algorithms.base import per_lane
from maml_sweep.backend import tf
from maml_sweep.models.base import Parameter, glorot

FLOOR = 1e-10  # of deviations


class Nets(NamedTuple):
    """Weights with a leading lane axis; the code of an example has as many numbers as a class's."""

    encoder: Any  # [lane, width, latent]
    relation0: Any  # [lane, 2 * latent, 2 * latent], as are the two after it
    relation1: Any
    relation2: Any
    decoder: Any  # [lane, latent, 2 * width]


class Gaussian(NamedTuple):
    """Independent normals, [lane, way, ...] each."""

    mean: Any
    deviation: Any


def parameters(width: int, latent: int) -> list[Parameter]:
    """Those of `Nets`, in its order."""
    pair = (2 * latent, 2 * latent)
    shapes = [(width, latent), pair, pair, pair, (latent, 2 * width)]
    return [
        Parameter(f"{name}/weight", shape, glorot(*shape))
        for name, shape in zip(Nets._fields, shapes, strict=True)
    ]


def encode(nets: Nets, features: Any, labels: Any) -> Gaussian:
    """The distribution of each class's code (equation 4).

    The relation network sees all pairs of examples. Its first layer is a sum of what either
    member of a pair gives, and its last is applied to the averages, with which it commutes: so
    [lane, example, example, 2 * latent] is all that is ever held of the pairs.

    Args:
      nets: the networks.
      features: of the support set, [lane, example, width].
      labels: one-hot, [lane, example, way].
    """
    codes = tf.matmul(features, nets.encoder)
    left, right = tf.split(nets.relation0, 2, axis=1)
    pairs = tf.matmul(codes, left)[:, :, tf.newaxis] + tf.matmul(codes, right)[:, tf.newaxis]
    flat = tf.reshape(pairs, [tf.shape(pairs)[0], -1, pairs.shape[3]])
    hidden = tf.nn.relu(tf.matmul(tf.nn.relu(flat), nets.relation1))
    examples = tf.reduce_mean(tf.reshape(hidden, tf.shape(pairs)), axis=2)
    classes = tf.matmul(_shares(labels), examples, transpose_a=True)
    return gaussian(tf.matmul(classes, nets.relation2))


def _shares(labels: Any) -> Any:
    """Each example's share in the mean of its class; a class without examples gets zeros."""
    counts = tf.reduce_sum(labels, axis=1, keepdims=True)
    return labels / tf.maximum(counts, tf.ones_like(counts))


def decode(nets: Nets, codes: Any) -> Gaussian:
    """The distribution of each class's classifier weights (equation 5), [lane, way, width].

    An output of zero stands for the deviation of Glorot & Bengio's first weights.
    """
    width = nets.decoder.shape[2] // 2
    return gaussian(tf.matmul(codes, nets.decoder), glorot(width, codes.shape[1]))


def gaussian(outputs: Any, offset: float = 0.0) -> Gaussian:
    """Reads [..., 2 * size] as means, and as logarithms of 1 + deviation - offset.

    Not as logarithms of deviations: what a fresh network says is near zero, and a code of
    deviation one would drown its mean (as in the authors' code).
    """
    mean, scale = tf.split(outputs, 2, axis=-1)
    return Gaussian(mean, tf.maximum(tf.math.expm1(scale) + offset, FLOOR))


def sampled(of: Gaussian, keys: Any) -> Any:
    """A draw of each, differentiable in both parameters; keys: uint32 [lane, 2]."""
    _, ways, size = of.mean.shape
    noise = streams.normal(keys, ways * size, of.mean.dtype)
    return of.mean + of.deviation * tf.reshape(noise, [-1, ways, size])


def dropped(x: Any, rate: Any, keys: Any) -> Any:
    """Dropout of each number (Srivastava et al. 2014), the rest scaled to keep the mean.

    Args:
      x: [lane, example, width].
      rate: of those that are dropped, float [lane].
      keys: uint32 [lane, 2].
    """
    shape = tf.shape(x)
    draws = tf.reshape(streams.uniform(keys, shape[1] * shape[2], x.dtype), shape)
    rate = per_lane(rate, x)
    return x * tf.cast(draws >= rate, x.dtype) / (1 - rate)


def divergence(of: Gaussian) -> Any:
    """KL(q || N(0, 1)), the mean over numbers, so that its weight hangs on no width: [lane]."""
    squares = tf.square(of.mean) + tf.square(of.deviation)
    return tf.reduce_mean(0.5 * (squares - 1) - tf.math.log(of.deviation), axis=[1, 2])


def orthogonality(decoder: Any) -> Any:
    """The mean squared difference of the rows' cosines and the identity matrix: [lane].

    Section 2.3.4; decoder: [lane, latent, 2 * width].
    """
    rows = tf.math.l2_normalize(decoder, axis=2)
    cosines = tf.matmul(rows, rows, transpose_b=True)
    identity = tf.eye(decoder.shape[1], dtype=decoder.dtype)
    return tf.reduce_mean(tf.square(cosines - identity), axis=[1, 2])
