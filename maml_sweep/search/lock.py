"""A lock between the processes that share a study's folder.

It serialises what takes several storage calls: popping a slot, repairing the slots, writing the
tables. The kernel releases it when its holder dies, so a kill leaves nothing behind.
"""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from maml_sweep.errors import InputError

LOCK = ".lock"


@contextmanager
def folder_lock(folder: Path | None) -> Iterator[None]:
    """Holds the folder's lock; without a folder it does nothing. Not reentrant.

    Raises:
      InputError: the folder cannot be written, or its file system knows no locks.
    """
    if folder is None:
        yield
        return
    try:
        file = (folder / LOCK).open("a")
    except OSError as error:
        raise InputError(f"study folder: cannot write {folder}: {error.strerror}") from None
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
        except OSError as error:
            raise InputError(
                f"study folder: {folder} lies on a file system without locks ({error.strerror}); "
                "put it elsewhere, or set study.storage to a database server"
            ) from None
        yield
