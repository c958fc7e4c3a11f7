"""A lock between the processes that share a study's folder.

It serialises what takes several storage calls: popping a slot, repairing the slots, writing the
tables. The kernel releases it when its holder dies, so a kill leaves nothing behind.
"""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

LOCK = ".lock"


@contextmanager
def folder_lock(folder: Path | None) -> Iterator[None]:
    """Holds the folder's lock; without a folder it does nothing. Not reentrant."""
    if folder is None:
        yield
        return
    with (folder / LOCK).open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
