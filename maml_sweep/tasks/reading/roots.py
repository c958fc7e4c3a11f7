"""Where a task's files lie: `task.root`, and what is said when they do not."""

from __future__ import annotations

from pathlib import Path

from maml_sweep.errors import InputError


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
