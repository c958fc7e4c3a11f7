"""The typed options of `model`; part of the schema in `maml_sweep.config`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass
class MLP:
    """model=mlp: dense layers."""

    _target_: str = "maml_sweep.models.MLP"
    widths: list[int] = field(default_factory=lambda: [40, 40])
    activation: str = "relu"


@dataclass
class Conv4:
    """model=conv4: four convolutional blocks."""

    _target_: str = "maml_sweep.models.Conv4"
    filters: int = 32
    downsample: str = "max_pool"  # or stride
    norm: str = "transductive"  # or support


@dataclass
class Linear:
    """model=linear: a product of examples and weights; what task=quadratics fits."""

    _target_: str = "maml_sweep.models.Linear"
    deviation: float = 0.01  # of the initial weights
    bias: bool = False


@dataclass
class Logistic(Linear):
    """model=logistic: softmax regression, or linear regression where the task has values."""

    bias: bool = True


@dataclass
class ResNet12:
    """model=resnet12: residual blocks; 12.4 million parameters a lane, so for a GPU."""

    _target_: str = "maml_sweep.models.ResNet12"
    widths: list[int] = field(default_factory=lambda: [64, 160, 320, 640])  # of each block
    norm: str = "transductive"  # or support


@dataclass
class TextCNN:
    """model=text_cnn: windows over words whose vectors are learned; of task.features=tokens."""

    _target_: str = "maml_sweep.models.TextCNN"
    width: int = 32  # numbers that stand for a word
    filters: int = 32  # of each width of window
    windows: list[int] = field(default_factory=lambda: [3, 4, 5])  # words that a filter sees


@dataclass
class RatingsMLP:
    """model=ratings_mlp: embeddings of ids and categories, and dense layers; of task=ratings."""

    _target_: str = "maml_sweep.models.RatingsMLP"
    width: int = 8  # numbers that stand for an item or a category
    widths: list[int] = field(default_factory=lambda: [32])
    activation: str = "relu"
    shortcut: bool = True  # the output layer reads the embeddings too
    offset: float = 3.5  # what the output starts from: about the mean rating


@dataclass
class Keras:
    """model=keras: a functional Keras model of your own, by the function that builds it."""

    _target_: str = "maml_sweep.models.Keras"
    target: str = ""  # my_package.build, called with input_shape, outputs and the arguments
    arguments: dict[str, Any] = field(default_factory=dict)


@dataclass
class BoxesConv:
    """model=boxes_conv: convolutions and attention over places, for task=boxes."""

    _target_: str = "maml_sweep.models.BoxesConv"
    filters: int = 16
    blocks: int = 1  # convolutions of 3x3 after the first, of 8x8; more for larger images
    sharpness: float = 10.0  # of the attention
    query: float = 0.3  # length that its vector starts with; a shorter one turns further


MODELS: dict[str, Any] = {
    "keras": Keras,
    "mlp": MLP,
    "conv4": Conv4,
    "linear": Linear,
    "text_cnn": TextCNN,
    "boxes_conv": BoxesConv,
    "ratings_mlp": RatingsMLP,
    "logistic": Logistic,
    "resnet12": ResNet12,
}
