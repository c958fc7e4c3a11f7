"""The typed schema of the configuration, registered in Hydra's ConfigStore.

Every option of every group is a dataclass: a wrong key or type is refused by name while the
configuration is composed. A user's own option is a yaml file in conf/ (or in a folder given by
`--config-dir`) with a `_target_` and keys of its own; it may start from one of these by naming it
in its defaults list. The values themselves are checked by `maml_sweep.build`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from hydra.core.config_store import ConfigStore
from omegaconf import MISSING

from maml_sweep.config_algorithms import ALGORITHMS
from maml_sweep.config_models import MODELS
from maml_sweep.config_tasks import TASKS


@dataclass
class Optimizer:
    """What every meta-optimizer has."""

    kind: str = MISSING
    meta_lr: float = 1e-3  # beta
    schedule: str | None = None  # constant, cosine (to 0 over the iterations); null: algorithm's
    clip: float | None = None  # norm of the outer gradient


@dataclass
class Adam(Optimizer):
    """optimizer=adam."""

    kind: str = "adam"
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8


@dataclass
class AdamW(Adam):
    """optimizer=adamw: Adam with decoupled weight decay."""

    kind: str = "adamw"
    weight_decay: float = 1e-2


@dataclass
class SGD(Optimizer):
    """optimizer=sgd."""

    kind: str = "sgd"
    momentum: float = 0.0
    nesterov: bool = False


@dataclass
class Training:
    """How long one trial trains, and how it is judged."""

    meta_batch_size: int = 25  # tasks a meta-iteration
    iterations: int = 2000
    budget: str = "iterations"  # or tasks: each trial sees iterations * reference_meta_batch_size
    reference_meta_batch_size: int = 25
    report_every: int = 100  # meta-iterations between rungs
    validation_tasks: int = 200
    eval_steps: int | None = None  # null: the trial's own inner steps
    test: bool = False
    test_tasks: int = 600
    precision: str = "float32"  # or float64; mixed_bfloat16: float32 whose products are bfloat16
    max_loss: float = 1e8  # a meta-training loss above it counts as divergence
    recompute: bool = False  # take inner steps again on the way back: less memory, more time


@dataclass
class Pack:
    """How many trials a worker trains at once."""

    size: int | str = "auto"
    teams: int | str = "auto"  # parts of it that train by themselves, side by side


@dataclass
class Device:
    """The machine; null: the device decides."""

    inter_op: int | None = None
    intra_op: int | None = None
    compile: bool | None = None  # by XLA; null: on a GPU
    tf32: bool = False  # on a GPU: products of float32 in TensorFloat-32, which has 10 bits
    kernels: bool | None = None  # on a CPU: our own in C; null: where a C compiler makes them


@dataclass
class Study:
    """The sweep: its name, budget and storage."""

    name: str | None = None  # null: <task>-<model>-<algorithm>-<time>
    n_trials: int = 32
    timeout: float | None = None  # seconds
    storage: str | None = None  # null: SQLite in the study's folder
    repeats: int = 1  # trial seeds an objective is averaged over
    enqueue: list[dict[str, Any]] = field(default_factory=list)
    max_retries: int = 3
    tensorboard: bool = False  # write every trial's curves for TensorBoard


@dataclass
class Config:
    """Everything but Hydra's own node; the groups are filled by the defaults list."""

    seed: int = 0
    trial_seed: int | None = None  # null: derived from the seed and the slot
    workers: int = 1
    workers_per_device: int = 1
    task: Any = MISSING
    model: Any = MISSING
    algorithm: Any = MISSING
    optimizer: Any = MISSING
    training: Training = field(default_factory=Training)
    pack: Pack = field(default_factory=Pack)
    device: Device = field(default_factory=Device)
    study: Study = field(default_factory=Study)
    sampler: Any = MISSING
    pruner: Any = MISSING


GROUPS: dict[str, dict[str, Any]] = {
    "task": TASKS,
    "model": MODELS,
    "algorithm": ALGORITHMS,
    "optimizer": {"adam": Adam, "adamw": AdamW, "sgd": SGD},
}


def register() -> None:
    """Stores the schema; calling it again changes nothing."""
    from maml_sweep.config_search import PRUNERS, SAMPLERS

    store = ConfigStore.instance()
    store.store(name="schema", node=Config, provider="maml_sweep")
    for group, options in {**GROUPS, "sampler": SAMPLERS, "pruner": PRUNERS}.items():
        for name, node in options.items():
            store.store(group=group, name=name, node=node, provider="maml_sweep")


register()
