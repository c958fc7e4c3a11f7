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


MODELS: dict[str, Any] = {"mlp": MLP, "conv4": Conv4, "linear": Linear}
