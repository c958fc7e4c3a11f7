"""Models written over lanes: every parameter carries a leading lane axis."""

from maml_sweep.models.base import Model, Statistics
from maml_sweep.models.networks import MLP, Conv4

__all__ = ["MLP", "Conv4", "Model", "Statistics"]
