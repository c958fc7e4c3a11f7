"""The typed options of `task`; part of the schema in `maml_sweep.config`."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Sinusoid:
    """task=sinusoid: sine waves to be fitted from a few points."""

    _target_: str = "maml_sweep.tasks.Sinusoid"
    shots: int = 10
    queries: int = 10
    amplitude: list[float] = field(default_factory=lambda: [0.1, 5.0])
    phase: list[float] = field(default_factory=lambda: [0.0, math.pi])  # radians
    domain: list[float] = field(default_factory=lambda: [-5.0, 5.0])
    frequency: list[float] | None = None  # bounds; null: 1
    noise: float = 0.0  # deviation, on the support's y


@dataclass
class Quadratics:
    """task=quadratics: random quadratic functions to be minimised, for learned optimisers."""

    _target_: str = "maml_sweep.tasks.Quadratics"
    dimension: int = 10


@dataclass
class Glyphs:
    """task=glyphs: characters of scripts never seen in training, embedded in the package."""

    _target_: str = "maml_sweep.tasks.Glyphs"
    ways: int = 5
    shots: int = 1
    queries: int = 15
    root: str | None = None  # unused: tasks with files of their own read it


@dataclass
class Embeddings:
    """task=embeddings: classes of feature vectors in files, such as those published with LEO."""

    _target_: str = "maml_sweep.tasks.Embeddings"
    ways: int = 5
    shots: int = 1
    queries: int = 15
    root: str | None = None  # must be given: the folder of {train,val,test}_embeddings.pkl or .npz
    normalize: bool = True  # every vector to length one


TASKS: dict[str, Any] = {
    "sinusoid": Sinusoid,
    "quadratics": Quadratics,
    "glyphs": Glyphs,
    "embeddings": Embeddings,
}
