"""A Keras model of one's own: any functional or Sequential model will do.

It ends in a linear `Dense`, which is then the head that ANIL, ProtoNet or LEO look for.
conf/model/small_cnn.yaml names the function:

    python sweep.py --config-dir examples/conf task=glyphs model=small_cnn
"""

from __future__ import annotations

from typing import Any

from maml_sweep.backend import tf


def build(input_shape: tuple[int, ...], outputs: int, filters: int = 16) -> Any:
    """Three convolutions with batch norm, then their mean over places.

    Args:
      input_shape: of one example: height, width, channels (other examples become images of one
        column).
      outputs: width of the output layer.
      filters: channels of each convolution.
    """
    layers = tf.keras.layers
    inputs = tf.keras.Input(input_shape)
    x = inputs if len(input_shape) == 3 else layers.Reshape((*input_shape, 1, 1)[:3])(inputs)
    for _ in range(3):
        x = layers.Conv2D(filters, 3, strides=2, padding="same", use_bias=False)(x)
        x = layers.ReLU()(layers.BatchNormalization()(x))
    return tf.keras.Model(inputs, layers.Dense(outputs)(layers.GlobalAveragePooling2D()(x)))
