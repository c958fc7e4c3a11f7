"""A worker's lease: the sign of life that keeps its trials from being given to others.

Optuna records no heartbeat for ask and tell. Each worker therefore renews one study user
attribute, `worker:<id>`; whoever finds it lapsed may take that worker's trials back. On the same
machine nobody waits for it to lapse: a dead process is seen in /proc at once, and a process id
that was given to another process since is told apart by its start time.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

PREFIX = "worker:"


@dataclass(frozen=True)
class Lease:
    """One worker's sign of life.

    Attributes:
      host: machine and process-id namespace: equal iff process ids may be compared.
      pid: the worker's process.
      start: that process's start, in clock ticks since boot; "" where /proc does not tell.
      expires: seconds since the epoch; 0 once the worker said goodbye.
      beat: how often it was renewed.
    """

    host: str
    pid: int
    start: str
    expires: float
    beat: int

    @classmethod
    def of_this_process(cls, expires: float, beat: int) -> Lease:
        """A lease of the calling process."""
        pid = os.getpid()
        return cls(host_identity(), pid, process_start(pid) or "", expires, beat)

    def lapsed(self, now: float | None = None) -> bool:
        """Whether its worker's trials may be taken back."""
        if (time.time() if now is None else now) >= self.expires:
            return True
        return self.host == host_identity() and self._process_is_gone()

    def _process_is_gone(self) -> bool:
        start = process_start(self.pid)
        return start is None or ("" not in {start, self.start} and start != self.start)

    def to_json(self) -> dict[str, Any]:
        """For a study user attribute."""
        return asdict(self)


def live_workers(attrs: Mapping[str, Any], now: float | None = None) -> set[str]:
    """Ids of the workers whose lease holds, from a study's user attributes."""
    return {
        key.removeprefix(PREFIX)
        for key, value in attrs.items()
        if key.startswith(PREFIX) and not Lease(**value).lapsed(now)
    }


@cache
def host_identity() -> str:
    """Names the set of process ids that this process can see.

    A host name alone is not enough: containers share names, and a reboot restarts the ids.
    """
    return "/".join([socket.gethostname(), _read_boot_id(), _process_namespace()])


def _read_boot_id() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()[:8]
    except OSError:
        return ""


def _process_namespace() -> str:
    try:
        return os.readlink("/proc/self/ns/pid").strip("pid:[]")
    except OSError:
        return ""


def process_start(pid: int) -> str | None:
    """When a process started; "" if /proc does not tell, None if it has ended.

    Field 22 of /proc/<pid>/stat (proc(5)); the second field, the command, may hold spaces.
    """
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return "" if _exists(pid) else None
    return None if fields[0] in "ZX" else fields[19]


def _exists(pid: int) -> bool:
    """Whether a process runs, where there is no /proc or it hides other users' processes."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
