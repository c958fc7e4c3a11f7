"""Models written over lanes: every parameter carries a leading lane axis."""

from maml_sweep.models.base import Model, Parameter, Statistics
from maml_sweep.models.boxes_conv import BoxesConv
from maml_sweep.models.keras_adapter import Keras
from maml_sweep.models.networks import MLP, Conv4, Linear
from maml_sweep.models.ratings_mlp import RatingsMLP
from maml_sweep.models.resnet12 import ResNet12
from maml_sweep.models.text_cnn import TextCNN
from maml_sweep.models.traced import Traced

__all__ = [
    "MLP",
    "BoxesConv",
    "Conv4",
    "Keras",
    "Linear",
    "Model",
    "Parameter",
    "RatingsMLP",
    "ResNet12",
    "Statistics",
    "TextCNN",
    "Traced",
]
