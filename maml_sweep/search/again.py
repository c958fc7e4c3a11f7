"""The line that goes on with a study, fit to be pasted: printed wherever one stopped."""

from __future__ import annotations

import shlex
from pathlib import Path

from maml_sweep import typed
from maml_sweep.files import STUDIES
from maml_sweep.search.storage import DATABASE, masked, sqlite_path


def resume_line(name: str, folder: Path, url: str, *more: str) -> str:
    """The command that resumes or joins a study.

    Args:
      name: the study's.
      folder: of its files.
      url: of its storage; its password is left for the reader to fill in.
      *more: further overrides.
    """
    return sweep_line(f"study.name={name}", *place(folder, url), *more)


def sweep_line(*overrides: str) -> str:
    """A command line of the application."""
    return " ".join([typed.command(), *map(shlex.quote, overrides)])


def place(folder: Path, url: str) -> list[str]:
    """Overrides that say where a study lies, if it does not lie where they do by default."""
    root = [] if _is_usual(folder) else [f"hydra.sweeper.root={folder.parent}"]
    return root if _is_own(folder, url) else [*root, f"study.storage={masked(url)}"]


def options(folder: Path, url: str) -> list[str]:
    """The same as options of `maml-sweep`'s commands."""
    root = [] if _is_usual(folder) else ["--root", str(folder.parent)]
    return root if _is_own(folder, url) else [*root, "--storage", masked(url)]


def _is_usual(folder: Path) -> bool:
    """Whether studies lie there unless another folder is named."""
    return folder.parent.resolve() == Path(STUDIES).resolve()


def _is_own(folder: Path, url: str) -> bool:
    """Whether the storage is the study's own file."""
    path = sqlite_path(url)
    return path is not None and path.resolve() == (folder / DATABASE).resolve()
