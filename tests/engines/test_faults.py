"""Engines that break while a sweep runs on them: nothing is lost, and nothing done twice."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from engines.postgres import Postgres
from engines.processes import wait_until
from engines.ray_nodes import RayCluster
from engines.slurm import Slurm
from engines.sweeps import LONG, SHORT, Ended, Sweeping, assert_all_done_once, held_by

pytestmark = pytest.mark.engines

SLURM = (
    "hydra/launcher=submitit_slurm",
    "hydra.launcher.partition=debug",
    "hydra.launcher.cpus_per_task=1",
    "hydra.launcher.timeout_min=10",
    "workers=2",
)
HAND_BACK = 10.0  # seconds


def test_another_machine_joins(tmp_path: Path, postgres_url: str) -> None:
    """The second knows the study's name and storage only, and has a folder of its own."""
    with Sweeping(tmp_path / "one", postgres_url, *LONG) as first:
        first.wait_for_workers(1)
        with Sweeping(tmp_path / "two", postgres_url, "workers=2") as second:
            both = [second.end(), first.end()]
    _assert_all_done_once_together(both)
    assert len(both[0].workers()) == 3
    curves = [{path.name for path in each.folder.glob("evaluations/*.npz")} for each in both]
    assert curves[0] and curves[1] and len(curves[0] | curves[1]) == 24
    assert curves[0].isdisjoint(curves[1])  # who trained it, keeps it


@pytest.mark.parametrize("mode", ["fast", "immediate"])
def test_postgres_restarts(
    mode: str, tmp_path: Path, postgres: Postgres, postgres_url: str
) -> None:
    """`immediate` is a crash: the server recovers from its log when it comes back."""
    with Sweeping(tmp_path, postgres_url, *LONG, "workers=2") as sweeping:
        sweeping.wait_for_workers(2)
        postgres.stop(mode)
        time.sleep(2.0)
        postgres.start()
        ended = sweeping.end()
    assert_all_done_once(ended)
    assert len(ended.workers()) == 2
    assert ended.leaks(postgres.password) == []


@pytest.mark.parametrize("how", ["TERM", "cancel"])
def test_a_slurm_job_hands_its_slots_back(
    how: str, tmp_path: Path, slurm: Slurm, postgres_url: str
) -> None:
    """SIGTERM as by preemption, or scancel: another worker goes on from the checkpoints."""
    options = (*SLURM, "hydra.launcher.gpus_per_node=1")
    with Sweeping(tmp_path, postgres_url, *LONG, *options) as sweeping:
        found = sweeping.wait_for_workers(2)
        before = set(held_by(found))
        slurm.cancel(slurm.running()[0], None if how == "cancel" else "TERM")
        wait_until(lambda: before - set(held_by(found)), "slots handed back", HAND_BACK)
        ended = sweeping.end()
    assert_all_done_once(ended, undisturbed=False)
    assert ended.reasons() == {"released"}
    assert "goes on at iteration" in "".join(
        path.read_text() for path in ended.folder.glob("workers/*/*.log")
    )


def test_a_slurm_node_dies(tmp_path: Path, slurm: Slurm, postgres_url: str) -> None:
    """One worker a node; Slurm queues the lost job again, whose worker finds what is left."""
    options = (*SLURM, "hydra.launcher.gpus_per_node=2")
    with Sweeping(tmp_path, postgres_url, *LONG, *options) as sweeping:
        sweeping.wait_for_workers(2)
        assert {slurm.node_of(job) for job in slurm.running()} == {"n1", "n2"}
        slurm.kill_node("n2")
        try:
            slurm.hasten()
            ended = sweeping.end()
        finally:
            slurm.start_node("n2")
    assert_all_done_once(ended, undisturbed=False)
    assert ended.reasons() == {"lease lapsed"}


def test_a_ray_node_dies(tmp_path: Path, ray: RayCluster, postgres_url: str) -> None:
    """One worker a node; Ray runs the lost one again elsewhere."""
    options = (
        "hydra/launcher=ray",
        f"hydra.launcher.ray.init.address={ray.address}",
        "+hydra.launcher.ray.remote.num_gpus=2",
        "workers=2",
    )
    with Sweeping(tmp_path, postgres_url, *LONG, *options) as sweeping:
        sweeping.wait_for_workers(2)
        ray.kill_node(ray.nodes[-1])
        try:
            ended = sweeping.end()
        finally:
            ray.add_node()
    assert_all_done_once(ended, undisturbed=False)
    assert ended.reasons() == {"lease lapsed"}


def test_two_sweepers_start_at_the_same_moment(tmp_path: Path, postgres_url: str) -> None:
    """On two machines, so no lock of the file system is shared."""
    with (
        Sweeping(tmp_path / "one", postgres_url, *SHORT) as one,
        Sweeping(tmp_path / "two", postgres_url, *SHORT) as two,
    ):
        _assert_all_done_once_together([one.end(), two.end()])


def _assert_all_done_once_together(both: list[Ended]) -> None:
    """Who finds nothing more to claim ends, and says how the sweep stands then."""
    assert [ended.code for ended in both] == [0, 0], both
    assert_all_done_once(next(ended for ended in both if "24/24 slots done" in ended.output))
