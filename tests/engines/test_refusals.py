"""What engines refuse is said in one line, exit code 2, and no password is told."""

from __future__ import annotations

from pathlib import Path

import pytest
from engines.postgres import USER, Postgres
from engines.processes import HOST, free_port
from engines.slurm import Slurm
from engines.sweeps import SHORT, Ended, Sweeping

pytestmark = pytest.mark.engines

SECRET = "Wr0ng-pAss-7f"
SLURM = ("hydra/launcher=submitit_slurm", "workers=2")


def _refused(root: Path, url: str | None, *arguments: str) -> Ended:
    with Sweeping(root, url, *SHORT, *arguments) as sweeping:
        return sweeping.end()


def _assert_one_line(ended: Ended, line: str) -> None:
    assert ended.code == 2, ended.said
    assert ended.errors == f"{line}\n", ended.said
    assert "Traceback" not in ended.output


def test_a_partition_that_is_not_there(tmp_path: Path, slurm: Slurm) -> None:
    ended = _refused(tmp_path, None, *SLURM, "hydra.launcher.partition=gpu")
    _assert_one_line(
        ended, "hydra.launcher.partition=gpu: Slurm has no such partition; there are debug"
    )
    assert slurm.jobs() == [] and not ended.folder.exists()


def test_more_gpus_than_a_node_has(tmp_path: Path, slurm: Slurm) -> None:
    ended = _refused(tmp_path, None, *SLURM, "hydra.launcher.gpus_per_node=3")
    _assert_one_line(
        ended,
        "hydra/launcher=submitit_slurm: sbatch refused the workers: Batch job submission failed: "
        "Requested node configuration is not available; see hydra.launcher.* with --cfg hydra",
    )
    assert slurm.jobs() == []


def test_a_wrong_password_is_refused_and_never_told(tmp_path: Path, postgres: Postgres) -> None:
    ended = _refused(tmp_path, postgres.url("postgres", password=SECRET))
    assert (ended.code, ended.output, ended.errors.count("\n")) == (2, "", 1), ended.said
    place = f"{HOST}:{postgres.port}/postgres"
    assert ended.errors.startswith(
        f"study.storage: postgresql+psycopg://{USER}:***@{place} refuses this user or password: "
    ), ended.said
    assert ended.leaks(SECRET) == []
    assert not ended.folder.exists()


def test_a_database_that_is_not_there(tmp_path: Path, postgres: Postgres) -> None:
    ended = _refused(tmp_path, postgres.url("nowhere"))
    assert (ended.code, ended.output, ended.errors.count("\n")) == (2, "", 1), ended.said
    assert 'database "nowhere" does not exist' in ended.errors
    assert ended.leaks(postgres.password) == []


def test_a_server_that_is_not_there(tmp_path: Path, postgres: Postgres) -> None:
    port = free_port()
    url = f"postgresql+psycopg://{USER}:{SECRET}@{HOST}:{port}/sweeps"
    ended = _refused(tmp_path, url)
    assert (ended.code, ended.output, ended.errors.count("\n")) == (2, "", 1), ended.said
    assert f"{HOST}:{port}/sweeps" in ended.errors
    assert ended.leaks(SECRET) == []


def test_no_ray_answers(tmp_path: Path, ray: object) -> None:
    address = f"{HOST}:{free_port()}"
    options = ("hydra/launcher=ray", f"hydra.launcher.ray.init.address={address}")
    ended = _refused(tmp_path, None, *options)
    _assert_one_line(
        ended,
        f"hydra.launcher.ray.init.address={address}: no Ray cluster answers there; start one "
        "(ray start --head), or leave the address out to have one on this machine",
    )
