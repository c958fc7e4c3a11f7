"""Meta-learning algorithms: how a lane adapts, and what the outer loop descends."""

from maml_sweep.algorithms.base import Algorithm, Inner, Knobs
from maml_sweep.algorithms.maml import MAML
from maml_sweep.algorithms.problem import Problem

__all__ = ["MAML", "Algorithm", "Inner", "Knobs", "Problem"]
