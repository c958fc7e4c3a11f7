"""The engines as fixtures: started once a session, when a test first asks, and stopped after it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from engines.postgres import Postgres
from engines.ray_nodes import RayCluster
from engines.slurm import Slurm
from engines.starting import started


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A PostgreSQL of our own."""
    with started(Postgres) as server:
        yield server


@pytest.fixture
def postgres_url(postgres: Postgres) -> str:
    """The URL of an empty database."""
    return postgres.new_database()


@pytest.fixture(scope="session")
def slurm() -> Iterator[Slurm]:
    """A Slurm of our own: partition `debug`, nodes n1 and n2, two GPUs each."""
    with started(Slurm) as cluster:
        yield cluster


@pytest.fixture(scope="session")
def ray() -> Iterator[RayCluster]:
    """A Ray of our own: two nodes, two CPUs and two GPUs each."""
    with started(RayCluster) as cluster:
        yield cluster
