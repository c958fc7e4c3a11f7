"""Every launcher with every storage that makes sense: 24 short trials, each done exactly once."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from engines.postgres import Postgres
from engines.ray_nodes import RayCluster
from engines.slurm import Slurm
from engines.sweeps import SHORT, Ended, Sweeping, assert_all_done_once

pytestmark = pytest.mark.engines

# Says outside of our own code which GPU Slurm gave to which job of the array.
GIVEN = "echo given $SLURM_ARRAY_TASK_ID $SLURMD_NODENAME $SLURM_JOB_GPUS"


@dataclass(frozen=True)
class Case:
    """A launcher under test.

    Attributes:
      workers: how many.
      options: its overrides, from the engine that it needs.
      engine: the fixture of that engine; "" where this machine is enough.
      gpus: those that this machine pretends to have, for launchers that share it out.
    """

    workers: int
    options: Callable[[Any], list[str]]
    engine: str = ""
    gpus: str = "0,1"


def _slurm(cluster: Slurm) -> list[str]:
    return [
        "hydra/launcher=submitit_slurm",
        "hydra.launcher.partition=debug",
        "hydra.launcher.gpus_per_node=1",
        "hydra.launcher.cpus_per_task=1",
        "hydra.launcher.timeout_min=10",
        f"hydra.launcher.setup=['{GIVEN}']",
    ]


def _ray(cluster: RayCluster) -> list[str]:
    return [
        "hydra/launcher=ray",
        f"hydra.launcher.ray.init.address={cluster.address}",
        "+hydra.launcher.ray.remote.num_gpus=1",
    ]


LAUNCHERS = {
    "basic": Case(1, lambda _: ["hydra/launcher=basic"]),
    "local": Case(2, lambda _: ["hydra/launcher=local"]),
    "unnamed": Case(2, lambda _: []),
    "joblib": Case(2, lambda _: ["hydra/launcher=joblib"]),
    "submitit_slurm": Case(2, _slurm, "slurm", ""),
    "ray": Case(4, _ray, "ray", ""),
}
PAIRS = [
    (launcher, storage)
    for launcher in LAUNCHERS
    for storage in ("sqlite", "postgres")
    if (launcher, storage) != ("unnamed", "postgres")
]


@pytest.mark.parametrize(("launcher", "storage"), PAIRS)
def test_each_slot_is_done_once_on_the_gpu_given(
    launcher: str, storage: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    case = LAUNCHERS[launcher]
    engine = request.getfixturevalue(case.engine) if case.engine else None
    url = request.getfixturevalue("postgres_url") if storage == "postgres" else None
    options = [f"workers={case.workers}", *case.options(engine)]
    env = {"CUDA_VISIBLE_DEVICES": case.gpus} if case.gpus else {}
    with Sweeping(tmp_path, url, *SHORT, *options, env=env) as sweeping:
        ended = sweeping.end()
    assert_all_done_once(ended)
    took_part = ended.workers()
    assert min(case.workers, 2) <= len(took_part) <= case.workers, took_part
    _assert_given(launcher, case, ended)
    if storage == "postgres":
        server: Postgres = request.getfixturevalue("postgres")
        assert ended.leaks(server.password) == []


def _assert_given(launcher: str, case: Case, ended: Ended) -> None:
    """Each worker computed on the GPU that was its own."""
    places = ended.places()
    assert sorted(places) == list(range(case.workers)), ended.said
    if launcher == "submitit_slurm":
        given = _given(ended)
        assert {number: gpu for number, (_, gpu) in given.items()} == places
        assert len(set(given.values())) == case.workers  # no two on one GPU of one node
    elif launcher == "ray":  # as many workers as there are GPUs: each of each node once
        assert Counter(places.values()) == {"0": 2, "1": 2}
    else:
        assert places == {number: str(number) for number in range(case.workers)}


def _given(ended: Ended) -> dict[int, tuple[str, str]]:
    """Worker -> (node, GPU), as Slurm told the job's script."""
    logs = [path.read_text() for path in ended.folder.glob(".submitit/*/*_log.out")]
    found = [
        each for log in logs for each in re.findall(r"^given (\d+) (\w+) (\S+)$", log, re.MULTILINE)
    ]
    return {int(task): (node, gpu) for task, node, gpu in found}
