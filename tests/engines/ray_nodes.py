"""A private Ray: two nodes on this machine, each with two GPUs that are none."""

from __future__ import annotations

import shutil
import tempfile
from contextlib import ExitStack
from types import TracebackType
from typing import Any

from engines.processes import HOST, environ, free_port, kill, package, parent, pids

ENGINE = "Ray"
NODES = 2
GPUS = 2  # of a node
CPUS = 2
_STORE = 80 * 2**20  # bytes of an object store: what Ray asks for at least
# Read by the node's programs when they start.
_ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",  # nothing leaves the machine
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # 127.0.0.1 is meant, also by those who connect
    "RAY_enable_metrics_collection": "0",
    "RAY_health_check_period_ms": "1000",  # a dead node is noticed in seconds
    "RAY_health_check_timeout_ms": "10000",
    "RAY_health_check_failure_threshold": "3",
}


class RayCluster:
    """Two nodes; the first is also the one that keeps the others together.

    Used as a context manager. Processes started meanwhile find it by its address.

    Attributes:
      nodes: those that live.
    """

    def __init__(self) -> None:
        """Starts nothing yet.

        Raises:
          Missing: Ray is not installed.
        """
        package(ENGINE, "ray", "ray")
        self.nodes: list[Any] = []

    def __enter__(self) -> RayCluster:
        from ray.cluster_utils import Cluster

        with ExitStack() as stack:
            # Sockets lie below it, whose paths may have 107 letters.
            folder = tempfile.mkdtemp(prefix="r-", dir="/tmp")
            stack.callback(shutil.rmtree, folder, ignore_errors=True)
            stack.enter_context(environ(**_ENVIRONMENT, RAY_TMPDIR=folder))
            self._cluster = Cluster()
            stack.callback(self._kill_all)
            self.add_node(gcs_server_port=free_port(), include_dashboard=False)
            for _ in range(1, NODES):
                self.add_node()
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stack.close()

    @property
    def address(self) -> str:
        """For `hydra.launcher.ray.init.address`."""
        return str(self._cluster.address)

    def add_node(self, **options: Any) -> Any:
        """Adds a node and waits until it takes jobs."""
        node = self._cluster.add_node(
            num_cpus=CPUS,
            num_gpus=GPUS,
            node_ip_address=HOST,
            object_store_memory=_STORE,
            **options,
        )
        self.nodes.append(node)
        return node

    def kill_node(self, node: Any) -> None:
        """The node dies, and what runs on it, by SIGKILL; the first one takes all with it."""
        raylets = {each.process.pid for each in node.all_processes["raylet"]}
        children = [pid for pid in pids() if parent(pid) in raylets]
        self._cluster.remove_node(node, allow_graceful=False)
        self.nodes.remove(node)
        for pid in children:
            kill(pid)

    def _kill_all(self) -> None:
        for node in reversed(self.nodes):
            self.kill_node(node)
