"""Which way a Keras layer goes: over lanes, in one batch with all lanes, or lane by lane."""

from __future__ import annotations

from typing import Any

from maml_sweep.models.keras_adapter.layers import HANDLERS, Handler, is_pointwise, plain
from maml_sweep.models.keras_adapter.library import keras

# Layers without weights to learn that treat every example alike.
PER_EXAMPLE = (
    "Dense",
    "Conv1D",
    "Conv2D",
    "Conv3D",
    "DepthwiseConv2D",
    "SeparableConv2D",
    "Embedding",
    "EinsumDense",
    "BatchNormalization",
    "LayerNormalization",
    "GroupNormalization",
    "Concatenate",
    "Dot",
    "Flatten",
    "Reshape",
    "Permute",
    "RepeatVector",
    "Softmax",
    "Rescaling",
    "Normalization",
    "GlobalAveragePooling1D",
    "GlobalMaxPooling1D",
    "MaxPooling1D",
    "AveragePooling1D",
    "UpSampling1D",
    "ZeroPadding1D",
    "Cropping1D",
)

# Those that treat every channel alike too.
PER_CHANNEL = (
    "Activation",
    "ReLU",
    "LeakyReLU",
    "ELU",
    "Dropout",
    "SpatialDropout1D",
    "SpatialDropout2D",
    "GaussianDropout",
    "GaussianNoise",
    "AlphaDropout",
    "ActivityRegularization",
    "MaxPooling2D",
    "AveragePooling2D",
    "GlobalMaxPooling2D",
    "GlobalAveragePooling2D",
    "UpSampling2D",
    "ZeroPadding2D",
    "Cropping2D",
    "Add",
    "Subtract",
    "Multiply",
    "Average",
    "Maximum",
    "Minimum",
)


def handler(layer: Any) -> Handler | None:
    """What computes a layer over lanes; None: nothing here."""
    name = type(layer).__name__
    if name not in HANDLERS or type(layer) is not getattr(keras.layers, name):
        return None
    compute, fits = HANDLERS[name]
    return compute if fits(layer) else None


def can_be_head(layer: Any) -> bool:
    """Whether a layer is a product of its inputs and its weights, and no more."""
    linear = getattr(layer, "activation", None) is keras.activations.linear
    return type(layer) is keras.layers.Dense and linear and plain(layer)


def is_per_example(layer: Any) -> bool:
    """Whether a layer treats every example alike, and has nothing to learn."""
    mixes = getattr(layer, "axis", -1) == 0  # over the examples themselves
    if type(layer) is keras.layers.BatchNormalization:
        mixes = mixes or layer.trainable
    return _is_one_of(layer, PER_EXAMPLE) and not mixes and not layer.trainable_variables


def is_per_channel(layer: Any) -> bool:
    """Whether a layer treats every example and every channel alike."""
    if getattr(layer, "data_format", "channels_last") != "channels_last":
        return False
    pointwise = type(layer) is not keras.layers.Activation or is_pointwise(layer.activation)
    return _is_one_of(layer, PER_CHANNEL) and pointwise


def _is_one_of(layer: Any, names: tuple[str, ...]) -> bool:
    """Whether a layer is of one of these classes of Keras, and of nobody's subclass."""
    name = type(layer).__name__
    return name in names and type(layer) is getattr(keras.layers, name)
