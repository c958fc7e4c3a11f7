"""Where a task's files lie: `task.root`, what is said when they do not, and files as they were."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from maml_sweep.errors import InputError


class File(NamedTuple):
    """A file as it was when it was looked at: what caches of its content go by."""

    path: Path
    modified: int  # nanoseconds
    size: int  # bytes


def stamped(path: Path) -> File:
    """A file as it is now."""
    status = path.stat()
    return File(path.resolve(), status.st_mtime_ns, status.st_size)


def folder(root: str | None, expected: str) -> Path:
    """The folder `task.root` as a path.

    Args:
      root: the setting.
      expected: which layout it should have and where to get it, from "expected …".

    Raises:
      InputError: no folder.
    """
    if root is None:
        raise InputError(f"task.root=null: {expected}")
    path = Path(root).expanduser().absolute()
    if not path.is_dir():
        raise InputError(f"task.root={root}: there is no such folder; {expected}")
    return path


def lacking(path: Path, wanted: str, expected: str) -> InputError:
    """The refusal of a folder that lacks something: it names a few of what is there instead."""
    names = sorted(entry.name for entry in path.iterdir())
    seen = ", ".join([*names[:6], *(["…"] if len(names) > 6 else [])]) or "nothing"
    return InputError(f"task.root={path}: has no {wanted}, but {seen}; {expected}")
