"""Whole sweeps inside the test's own process, which imports TensorFlow once for all of them."""

from __future__ import annotations

import csv
import io
import logging
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
import yaml  # type: ignore[import-untyped, unused-ignore]
from composing import ROOT
from hydra import version
from hydra._internal.hydra import Hydra
from hydra._internal.utils import create_config_search_path
from hydra.core.global_hydra import GlobalHydra
from hydra.types import RunMode
from omegaconf import DictConfig

from maml_sweep import build, single
from maml_sweep.build import Structure
from maml_sweep.search import study
from maml_sweep.search.interruption import Interruption
from maml_sweep.training.devices import Device
from maml_sweep.training.program import Program

# Every shard is a copy of the step in the program, so one of them traces fastest.
QUICK = ("device.inter_op=1", "device.intra_op=1", "training.validation_tasks=8")
TASK = ("task.shots=5", "task.queries=5")
SMALL = (
    *QUICK,
    *TASK,
    "model.widths=[8]",
    "training.iterations=40",
    "training.report_every=10",
    "algorithm.inner_steps=range(1, 3)",
    "training.meta_batch_size=tag(log, int(interval(2, 6)))",
)
TINY = (
    *QUICK,
    *TASK,
    "model.widths=[4]",
    "training.iterations=20",
    "training.report_every=10",
    "training.meta_batch_size=3",
    "algorithm.inner_steps=1",
    "study.n_trials=6",
)
_PROGRAMS: dict[tuple[Structure, Device], Program] = {}
# Logging stays as pytest has it; what is logged is collected here.
_SILENT = ("hydra/job_logging=none", "hydra/hydra_logging=none")


@dataclass(frozen=True)
class Sweep:
    """What came of a sweep.

    Attributes:
      folder: the study's.
      code: what it exited with; 0 if it came to its end.
      output: what it printed.
      errors: what it printed on stderr.
      lines: what the package logged.
      programs: those it built, in order.
    """

    folder: Path
    code: int
    output: str
    errors: str
    lines: list[str]
    programs: list[Program]

    @cached_property
    def rows(self) -> list[dict[str, str]]:
        """trials.csv."""
        with (self.folder / "trials.csv").open(newline="") as file:
            return list(csv.DictReader(file))

    @cached_property
    def study(self) -> optuna.Study:
        """The study as its storage has it."""
        return study.open_study(study.storage_url(None, self.folder), self.folder.name)

    @cached_property
    def best(self) -> dict[str, Any]:
        """best.yaml."""
        best = yaml.safe_load((self.folder / "best.yaml").read_text())
        assert isinstance(best, dict)
        return best

    @property
    def values(self) -> list[float]:
        """Each slot's last value, in the order of the slots."""
        return [float(row["value"]) for row in self.rows]

    @property
    def states(self) -> list[str]:
        """Each slot's state, in the order of the slots."""
        return [row["state"] for row in self.rows]

    @property
    def checkpoints(self) -> list[str]:
        """Names of the checkpoints left."""
        return sorted(path.name for path in self.folder.glob("checkpoints/*"))

    def parameters(self, *keys: str) -> list[tuple[str, ...]]:
        """Those columns of trials.csv, slot by slot."""
        return [tuple(row[key] for key in keys) for row in self.rows]

    def evaluation(self, slot: int) -> dict[str, np.ndarray]:
        """evaluations/<slot>.npz, in double precision."""
        with np.load(self.folder / "evaluations" / f"{slot}.npz") as file:
            return {name: each.astype(float) for name, each in file.items()}


def sweep(root: Path, *arguments: str) -> Sweep:
    """`python sweep.py study.name=s <arguments>` with its outputs below `root`."""
    programs: list[Program] = []
    with _captured() as heard, _recorded(programs), _hydra() as hydra:
        overrides = [f"hydra.sweeper.root={root}", *_SILENT, "study.name=s", *arguments]
        if not any(each.startswith(("workers=", "hydra/launcher=")) for each in arguments):
            overrides.append("hydra/launcher=basic")  # else its worker had a process of its own
        try:
            hydra.multirun("config", _never, overrides, with_log_configuration=False)
            code = 0
        except SystemExit as stop:
            code = int(stop.code or 0)
    output, errors = heard.output.getvalue(), heard.errors.getvalue()
    return Sweep(root / "s", code, output, errors, heard.lines, programs)


def train(*overrides: str) -> float:
    """`python sweep.py hydra.mode=RUN <overrides>`: one trial's objective."""
    with _captured(), _hydra() as hydra:
        config = hydra.compose_config("config", list(overrides), RunMode.RUN)
        return single.run(config)


def reuse_programs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sweeps of a structure that an earlier one had need not trace it again."""
    made = build.program

    def find(parts: Any, structure: Structure, config: Any, device: Device) -> Program:
        key = (structure, device)
        if key not in _PROGRAMS:
            _PROGRAMS[key] = made(parts, structure, config, device)
        return _PROGRAMS[key]

    monkeypatch.setattr(build, "program", find)


def interrupt_after(monkeypatch: pytest.MonkeyPatch, checks: int) -> None:
    """A signal to stop comes when a worker has looked for one in vain that many times."""
    left = iter(range(checks))
    look = Interruption.check

    def check(self: Interruption) -> None:
        self.asked = self.asked or next(left, None) is None
        look(self)

    monkeypatch.setattr(Interruption, "check", check)


def _never(config: DictConfig) -> None:
    raise AssertionError("the sweeper runs workers, not the application's function")


@contextmanager
def _hydra() -> Iterator[Hydra]:
    """The application as `hydra.main` makes it, and no trace of it afterwards."""
    GlobalHydra.instance().clear()
    version.setbase("1.3")
    verbosity = optuna.logging.get_verbosity()
    try:
        yield Hydra.create_main_hydra2("sweep", create_config_search_path(str(ROOT / "conf")))
    finally:
        GlobalHydra.instance().clear()
        optuna.logging.set_verbosity(verbosity)


class _Heard(logging.Handler):
    """What was logged and printed."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.lines: list[str] = []
        self.output, self.errors = io.StringIO(), io.StringIO()

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(f"{record.levelname}: {record.getMessage()}")


@contextmanager
def _captured() -> Iterator[_Heard]:
    logger, heard = logging.getLogger("maml_sweep"), _Heard()
    level = logger.level
    logger.setLevel(logging.INFO)
    logger.addHandler(heard)
    try:
        with redirect_stdout(heard.output), redirect_stderr(heard.errors):
            yield heard
    finally:
        logger.removeHandler(heard)
        logger.setLevel(level)


@contextmanager
def _recorded(programs: list[Program]) -> Iterator[None]:
    """Notes every program that is built."""
    made = build.program

    def note(*args: Any) -> Program:
        programs.append(made(*args))
        return programs[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(build, "program", note)
        yield
