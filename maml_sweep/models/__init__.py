"""Models written over lanes: every parameter carries a leading lane axis."""

from maml_sweep.models.base import Model, Parameter, Statistics
from maml_sweep.models.networks import MLP, Conv4, Linear

__all__ = ["MLP", "Conv4", "Linear", "Model", "Parameter", "Statistics"]
