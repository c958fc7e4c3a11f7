"""The typed options of `algorithm`; part of the schema in `maml_sweep.config`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass
class MAML:
    """algorithm=maml: the inner loop of Finn et al. 2017."""

    _target_: str = "maml_sweep.algorithms.MAML"
    inner_lr: float = 0.01  # alpha
    inner_steps: int = 1
    first_order: bool = False
    inner_clip: float | None = None  # norm of one task's inner gradient


@dataclass
class FOMAML(MAML):
    """algorithm=fomaml: its first-order form (section 5.2)."""

    first_order: bool = True


@dataclass
class ANIL(MAML):
    """algorithm=anil: MAML whose inner loop moves the last layer alone (Raghu et al. 2020)."""

    adapts: str = "head"


@dataclass
class BOIL(MAML):
    """algorithm=boil: MAML whose inner loop moves all layers but the last (Oh et al. 2021)."""

    adapts: str = "body"


@dataclass
class MetaSGD:
    """algorithm=meta_sgd: a learnt rate for every parameter (Li et al. 2017)."""

    _target_: str = "maml_sweep.algorithms.MetaSGD"
    inner_lr: float = 0.01  # what all rates start from
    inner_steps: int = 1
    first_order: bool = False
    learn_rates: bool = True


@dataclass
class MAMLPlusPlus:
    """algorithm=maml_pp: MAML++, how to train your MAML (Antoniou et al. 2019)."""

    _target_: str = "maml_sweep.algorithms.MAMLPlusPlus"
    inner_lr: float = 0.01  # what all rates start from
    inner_steps: int = 5
    inner_clip: float | None = None  # norm of one task's inner gradient
    multi_step_loss: bool = True  # query losses after every step
    multi_step_share: float = 0.15  # of the training, until the last step's alone counts
    step_rates: bool = True  # a learnt rate for every step and parameter tensor
    step_norms: bool = True  # a norm's scale and offset for every step
    step_statistics: bool = False  # evaluate by running statistics of every step
    second_order_from: float | None = None  # share of the training that is first-order


@dataclass
class Reptile:
    """algorithm=reptile: towards the adapted weights, without a query set (Nichol et al. 2018)."""

    _target_: str = "maml_sweep.algorithms.Reptile"
    inner_lr: float = 1e-3  # of Adam, which adapts here
    inner_steps: int = 5  # mini-batches
    batch: int = 10  # examples of one
    whole_episode: bool = True  # train on the queries too; false: on the support set alone


@dataclass
class IMAML:
    """algorithm=imaml: implicit gradients (Rajeswaran et al. 2019)."""

    _target_: str = "maml_sweep.algorithms.IMAML"
    inner_lr: float = 0.01  # alpha
    inner_steps: int = 16
    regularization: float = 2.0  # lambda, the pull towards the initial weights
    cg_steps: int = 5  # of conjugate gradients
    damping: float = 10.0  # added to lambda under the Hessian; the paper's: 0, its code's: 10


@dataclass
class LEO:
    """algorithm=leo: latent embedding optimization (Rusu et al. 2019); classification only."""

    _target_: str = "maml_sweep.algorithms.LEO"
    # Numbers are those of the authors' code, github.com/deepmind/leo: config.py.
    inner_lr: float = 1.0  # where the learned rates of the latent steps start
    inner_steps: int = 5
    finetune_lr: float = 0.001  # where the learned rates of the classifier's fine-tuning start
    finetune_steps: int = 5
    latent: int = 64  # numbers in a code
    kl_weight: float = 0.001  # beta
    encoder_penalty: float = 1e-9  # gamma
    orthogonality_weight: float = 0.001  # lambda 2
    dropout: float = 0.5  # of features, while training


@dataclass
class LearnedOptimizer:
    """algorithm=learned_optimizer: an LSTM that writes the updates (Andrychowicz et al. 2016)."""

    _target_: str = "maml_sweep.algorithms.LearnedOptimizer"
    inner_lr: float = 0.1  # the factor on its output: section 3.2 (section 3.1: 1)
    inner_steps: int = 100  # of a training run: section 3.1
    unroll: int = 20  # steps that gradients flow back through: section 3.1
    hidden: int = 20  # units of both layers: section 3
    preprocess: float | None = 10.0  # p: appendix A; null: raw gradients, as in section 3.1
    outer: str = "support"  # whose loss is descended, equation 3; or query


@dataclass
class ProtoNet:
    """algorithm=protonet: prototypical networks (Snell et al. 2017); classification only."""

    _target_: str = "maml_sweep.algorithms.ProtoNet"


@dataclass
class FineTune:
    """algorithm=finetune: the baseline, joint training and then fine-tuning."""

    _target_: str = "maml_sweep.algorithms.FineTune"
    inner_lr: float = 0.01  # alpha, of an evaluation's steps
    inner_steps: int = 10  # of an evaluation; training adapts nothing
    adapts: str | None = None  # all or head; null: the head where there are classes, else all


ALGORITHMS: dict[str, Any] = {
    "maml": MAML,
    "fomaml": FOMAML,
    "anil": ANIL,
    "boil": BOIL,
    "meta_sgd": MetaSGD,
    "maml_pp": MAMLPlusPlus,
    "reptile": Reptile,
    "imaml": IMAML,
    "leo": LEO,
    "learned_optimizer": LearnedOptimizer,
    "protonet": ProtoNet,
    "finetune": FineTune,
}
