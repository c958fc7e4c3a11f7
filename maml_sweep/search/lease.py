"""A worker's lease: the sign of life that keeps its trials from being given to others.

Optuna records no heartbeat for ask and tell. Each worker therefore renews one study user
attribute, `worker:<id>`; whoever finds it lapsed may take that worker's trials back. All read the
same clock for it (`maml_sweep.search.storage.now`): a database server's, so that no worker's own
clock matters. On the same machine nobody waits for a lease to lapse: a dead process is seen in
/proc at once, and a process id that was given to another process since is told apart by its start.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
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
      expires: seconds since the epoch, by the study's clock; 0 once the worker said goodbye.
      beat: how often it was renewed.
      launcher: what started the worker, such as "local".
      device: what it computes on, in words.
      rate: its trial-steps a second so far.
      trials: the slots that it holds.
    """

    host: str
    pid: int
    start: str
    expires: float
    beat: int
    launcher: str = ""
    device: str = ""
    rate: float = 0.0
    trials: Sequence[int] = ()

    @classmethod
    def of_this_process(cls) -> Lease:
        """A lease of the calling process, not written yet."""
        pid = os.getpid()
        return cls(host_identity(), pid, process_start(pid) or "", 0.0, 0)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Lease:
        """The inverse of `to_json`; keys of another version are passed over."""
        return cls(**{each.name: values[each.name] for each in fields(cls) if each.name in values})

    def renewed(self, expires: float, **told: Any) -> Lease:
        """The same with another end, one beat later, and what else there is to tell."""
        return replace(self, expires=expires, beat=self.beat + 1, **told)

    @property
    def is_near(self) -> bool:
        """Whether its process can be seen from here."""
        return self.host == host_identity()

    def lapsed(self, now: float | None = None) -> bool:
        """Whether its worker's trials may be taken back."""
        if (time.time() if now is None else now) >= self.expires:
            return True
        return self.is_near and self._process_is_gone()

    def _process_is_gone(self) -> bool:
        start = process_start(self.pid)
        return start is None or ("" not in {start, self.start} and start != self.start)

    def to_json(self) -> dict[str, Any]:
        """For a study user attribute."""
        return asdict(self)


def leases(attrs: Mapping[str, Any]) -> dict[str, Lease]:
    """The last lease of each worker, by its id, from a study's user attributes."""
    return {
        key.removeprefix(PREFIX): Lease.from_json(value)
        for key, value in attrs.items()
        if key.startswith(PREFIX)
    }


def live_workers(attrs: Mapping[str, Any], now: float | None = None) -> set[str]:
    """Ids of the workers whose lease holds, from a study's user attributes.

    Args:
      attrs: the study's user attributes.
      now: by the study's clock; None: by this machine's.
    """
    return {worker for worker, lease in leases(attrs).items() if not lease.lapsed(now)}


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
