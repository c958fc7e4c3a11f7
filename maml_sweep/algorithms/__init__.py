"""Meta-learning algorithms: how a lane adapts, and what the outer loop descends."""

from maml_sweep.algorithms.base import Algorithm, Inner, Knobs
from maml_sweep.algorithms.finetune import FineTune
from maml_sweep.algorithms.imaml import IMAML
from maml_sweep.algorithms.learned_optimizer import LearnedOptimizer
from maml_sweep.algorithms.leo import LEO
from maml_sweep.algorithms.maml import MAML
from maml_sweep.algorithms.maml_pp import MAMLPlusPlus
from maml_sweep.algorithms.meta_sgd import MetaSGD
from maml_sweep.algorithms.problem import Problem
from maml_sweep.algorithms.protonet import ProtoNet
from maml_sweep.algorithms.reptile import Reptile

__all__ = [
    "IMAML",
    "LEO",
    "MAML",
    "Algorithm",
    "FineTune",
    "Inner",
    "Knobs",
    "LearnedOptimizer",
    "MAMLPlusPlus",
    "MetaSGD",
    "Problem",
    "ProtoNet",
    "Reptile",
]
