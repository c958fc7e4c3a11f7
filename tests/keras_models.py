"""Keras models as users write them, for `model.target=keras_models.NAME`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras
from keras import layers, ops

NORMS: dict[str, Callable[[], Any]] = {
    "batch": layers.BatchNormalization,
    "layer": layers.LayerNormalization,
    "group": lambda: layers.GroupNormalization(2),
}


def mlp(input_shape: Sequence[int], outputs: int, units: int = 4) -> Any:
    """A Sequential that has not been told its input."""
    hidden = [layers.Dense(units, activation="tanh"), layers.Dropout(0.5)]
    return keras.Sequential([layers.Flatten(), *hidden, layers.Dense(outputs)])


def conv4(input_shape: Sequence[int], outputs: int, filters: int = 32) -> Any:
    """The network of the MAML paper with max pooling, as `model=conv4` has it."""
    x = inputs = keras.Input(input_shape)
    for _ in range(4):
        x = layers.Conv2D(filters, 3, padding="same", use_bias=False)(x)
        x = layers.ReLU()(layers.BatchNormalization()(x))
        window = [min(2, size) for size in x.shape[1:3]]
        if window != [1, 1]:
            x = layers.MaxPooling2D(window)(x)
    return keras.Model(inputs, layers.Dense(outputs)(layers.Flatten()(x)))


def normed(input_shape: Sequence[int], outputs: int, norm: str) -> Any:
    """A norm of hidden units (right behind a product the two errors would cancel out)."""
    inputs = keras.Input(input_shape)
    x = NORMS[norm]()(layers.Dense(4, activation="tanh")(inputs))
    return keras.Model(inputs, layers.Dense(outputs)(x))


def all_norms(input_shape: Sequence[int], outputs: int) -> Any:
    """All three norms, each of hidden units."""
    x = inputs = keras.Input(input_shape)
    for norm in NORMS.values():
        x = norm()(layers.Dense(4, activation="tanh")(x))
    return keras.Model(inputs, layers.Dense(outputs)(x))


@keras.saving.register_keras_serializable()
class Block(layers.Layer):  # type: ignore[misc]
    """A user's own layer: a product, dropout, all three norms."""

    def __init__(self, units: int = 4) -> None:
        super().__init__()
        self.product = layers.Dense(units)
        self.drop = layers.Dropout(0.5)
        self.norms = [norm() for norm in NORMS.values()]

    def build(self, shape: Any) -> None:
        """Makes the weights."""
        self.product.build(shape)
        for norm in self.norms:
            norm.build((*shape[:-1], self.product.units))

    def call(self, x: Any, training: bool = False) -> Any:
        """With the default that is often seen."""
        x = self.drop(self.product(x), training=training)
        for norm in self.norms:
            x = norm(ops.tanh(x))
        return x


def own_layer(input_shape: Sequence[int], outputs: int) -> Any:
    """The block under a head."""
    inputs = keras.Input(input_shape)
    return keras.Model(inputs, layers.Dense(outputs)(Block()(inputs)))


def lstm(input_shape: Sequence[int], outputs: int, units: int = 2) -> Any:
    """A classifier of sequences."""
    inputs = keras.Input(input_shape)
    return keras.Model(inputs, layers.Dense(outputs)(layers.LSTM(units)(inputs)))


def attention(input_shape: Sequence[int], outputs: int) -> Any:
    """A small transformer block."""
    inputs = keras.Input(input_shape)
    x = layers.LayerNormalization()(inputs)
    x = inputs + layers.MultiHeadAttention(2, 2, dropout=0.1)(x, x)
    return keras.Model(inputs, layers.Dense(outputs)(layers.GlobalAveragePooling1D()(x)))


def graph(input_shape: Sequence[int], outputs: int) -> Any:
    """A layer used twice, a residual, plain operations over the batch, a model inside, no bias."""
    inputs = keras.Input(input_shape)
    x = layers.Dense(4)(inputs)
    shared = layers.Dense(4, activation="tanh")
    x = layers.Add()([x, shared(shared(x))])
    inner = keras.Sequential([keras.Input((4,)), layers.Dense(4), layers.LayerNormalization()])
    x = ops.tanh(inner(x) * 2 + x - ops.mean(x, axis=0))
    return keras.Model(inputs, layers.Dense(outputs, use_bias=False)(x))


def pictures(input_shape: Sequence[int], outputs: int) -> Any:
    """Layers of pictures: known ones, ones of other settings, ones that only Keras knows."""
    inputs = keras.Input(input_shape)
    x = layers.Conv2D(4, 3, padding="same", activation="elu")(layers.ZeroPadding2D(1)(inputs))
    x = layers.SpatialDropout2D(0.2)(layers.GroupNormalization(2)(x))
    x = layers.Concatenate()([x, layers.Conv2D(2, (2, 3), padding="same", groups=2)(x)])
    x = layers.AveragePooling2D(2)(layers.PReLU(shared_axes=[1, 2])(x))
    x = layers.SeparableConv2D(4, 2)(x)
    x = layers.Multiply()([x, layers.Dense(4, activation="softmax")(x)])
    frozen = layers.Conv2D(4, 2, strides=2)
    frozen.trainable = False
    x = layers.BatchNormalization(scale=False)(frozen(x))
    return keras.Model(inputs, layers.Dense(outputs)(layers.GlobalMaxPooling2D()(x)))


def words(
    input_shape: Sequence[int], outputs: int, categories: Sequence[int], mask: bool = False
) -> Any:
    """Texts as numbers of words; with `mask` the zeros at their ends are passed over."""
    inputs = keras.Input(input_shape, dtype="int32")
    x = layers.Embedding(categories[0], 3, mask_zero=mask)(inputs)
    x = layers.Conv1D(3, 2, padding="causal")(x) if not mask else layers.LSTM(2)(x)
    x = x if mask else layers.GlobalAveragePooling1D()(x)
    return keras.Model(inputs, layers.Dense(outputs)(x))


def headless(input_shape: Sequence[int], outputs: int) -> Any:
    """Ends in an activation of its own."""
    inputs = keras.Input(input_shape)
    return keras.Model(inputs, 3 * ops.tanh(layers.Dense(outputs)(inputs)))


def starts(input_shape: Sequence[int], outputs: int) -> Any:
    """One weight of each law."""
    own = keras.initializers
    inputs = keras.Input(input_shape)
    x = layers.Dense(40, kernel_initializer="he_normal", bias_initializer="ones")(inputs)
    x = layers.Dense(40, kernel_initializer=own.RandomNormal(0.5, 0.1))(x)
    x = layers.Dense(40, kernel_initializer=own.RandomUniform(0.0, 0.2))(x)
    x = layers.Dense(20, kernel_initializer=own.Orthogonal(2.0))(x)
    x = layers.Dense(40, kernel_initializer=_doubled, name="own")(x)
    seeded = own.GlorotUniform(seed=3)
    return keras.Model(inputs, layers.Dense(outputs, kernel_initializer=seeded)(x))


def _doubled(shape: Any, dtype: Any = None) -> Any:
    return 0.3 + 0.2 * keras.random.normal(shape, dtype=dtype, seed=_drawn())


def _drawn() -> int:
    import random

    return random.randrange(10**6)


# -- what is refused -----------------------------------------------------------------------------


def nothing(input_shape: Sequence[int], outputs: int) -> Any:
    """No model."""
    return {"input": input_shape}


def raising(input_shape: Sequence[int], outputs: int) -> Any:
    """A user's own mistake."""
    raise KeyError("width")


class Own(keras.Model):  # type: ignore[misc]
    """A model by inheritance."""

    def call(self, x: Any) -> Any:
        """Nothing."""
        return x


def subclassed(input_shape: Sequence[int], outputs: int) -> Any:
    """A model whose layers nobody can see."""
    return Own()


def two_inputs(input_shape: Sequence[int], outputs: int) -> Any:
    """Two inputs."""
    a, b = keras.Input(input_shape), keras.Input(input_shape)
    return keras.Model([a, b], layers.Dense(outputs)(a + b))


def softmax(input_shape: Sequence[int], outputs: int) -> Any:
    """Probabilities, where losses take logits."""
    inputs = keras.Input(input_shape)
    return keras.Model(inputs, layers.Dense(outputs, activation="softmax")(inputs))


def mixed(input_shape: Sequence[int], outputs: int) -> Any:
    """A layer of half precision."""
    inputs = keras.Input(input_shape)
    return keras.Model(inputs, layers.Dense(outputs, dtype="mixed_float16")(inputs))


def idle(input_shape: Sequence[int], outputs: int) -> Any:
    """A weight that does nothing."""

    class Idle(layers.Layer):  # type: ignore[misc]
        def build(self, shape: Any) -> None:
            self.add_weight(shape=(2,), name="unused")

        def call(self, x: Any) -> Any:
            return x

    inputs = keras.Input(input_shape)
    return keras.Model(inputs, layers.Dense(outputs)(Idle()(inputs)))


def noisy(input_shape: Sequence[int], outputs: int) -> Any:
    """Noise that never stops."""

    class Noise(layers.Layer):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__(name="noise")
            self.seed = keras.random.SeedGenerator(1)

        def call(self, x: Any) -> Any:
            return x + keras.random.normal(ops.shape(x), seed=self.seed)

    inputs = keras.Input(input_shape)
    return keras.Model(inputs, layers.Dense(outputs)(Noise()(inputs)))


NUMBER = 3  # no function
