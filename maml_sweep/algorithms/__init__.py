"""Meta-learning algorithms: how a lane adapts, and what the outer loop descends."""

from maml_sweep.algorithms.base import Algorithm
from maml_sweep.algorithms.maml import MAML

__all__ = ["MAML", "Algorithm"]
