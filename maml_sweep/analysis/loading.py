"""Which study is meant, where it lies, and opening it with errors a user can act on.

A study is named as the sweep named it (a folder below `outputs`), or by the path of its folder,
wherever that was moved to, or not at all: then it is the newest.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import optuna

from maml_sweep import typed
from maml_sweep.errors import InputError
from maml_sweep.files import STUDIES
from maml_sweep.search import outline, storage
from maml_sweep.search import study as studies
from maml_sweep.search.again import resume_line
from maml_sweep.spelling import hint

_SHOWN = 8  # names in a message


@dataclass(frozen=True)
class Located:
    """A study and where it lies.

    Attributes:
      name: as it is stored.
      folder: of its files; of a study on a server there may be none.
      url: of its storage.
    """

    name: str
    folder: Path
    url: str


def locate(
    study: str | Path | None = None, root: str | Path = STUDIES, storage: str | None = None
) -> Located:
    """Finds a study.

    Args:
      study: its name, its folder (or `study.db` within), or None for the newest.
      root: the folder of the studies' folders.
      storage: the URL of a server, for studies that were made with `study.storage`.

    Raises:
      InputError: there is none, none of that name, or nothing readable.
    """
    root = Path(root)
    if storage is not None:
        return _locate_on_server(None if study is None else str(study), root, storage)
    if study is None:
        found = folders(root)
        if not found:
            raise InputError(
                f"no study in {root}: begin one with `{typed.command()}`, or name another folder "
                f"with --root"
            )
        return in_folder(found[0])
    if (root / study / studies.DATABASE).is_file():
        return in_folder(root / study)
    return in_folder(_given(study, root))


def folders(root: Path) -> list[Path]:
    """The folders below `root` that hold a study, the last changed first."""
    found = {path.parent: path.stat().st_mtime_ns for path in root.glob(f"*/{studies.DATABASE}")}
    return sorted(found, key=lambda folder: (-found[folder], folder.name))


def on_server(url: str) -> list[str]:
    """The names of the sweeps in a storage, the newest first.

    Raises:
      InputError: it cannot be opened.
    """
    path = storage.sqlite_path(url)
    if path is not None and not path.is_file():  # connecting would create it
        raise InputError(f"--storage: there is no file {path}")
    return outline.names(storage.connect(url), ours=True)


def in_folder(folder: Path) -> Located:
    """The study in a folder, which may have been renamed since.

    Raises:
      InputError: what lies there is no database, or holds no study.
    """
    url = studies.storage_url(None, folder)
    names = outline.names(storage.connect(url))
    if folder.name not in names and len(names) != 1:
        listed = f"it holds {_listed(names)}" if names else "it is empty"
        raise InputError(
            f"study: expected {folder / studies.DATABASE} to hold a study {folder.name!r}; {listed}"
        )
    return Located(folder.name if folder.name in names else names[0], folder, url)


def opened(located: Located) -> optuna.Study:
    """Opens a study to read.

    Raises:
      InputError: it cannot be opened, or is no sweep of ours.
    """
    study = studies.open_study(located.url, located.name)
    if studies.PLAN not in study.user_attrs:
        anew = resume_line(located.name, located.folder, located.url)
        raise InputError(
            f"study: {located.name!r} in {storage.masked(located.url)} is no sweep of maml_sweep, "
            f"or was killed as it began; `{anew}` begins it anew"
        )
    try:
        studies.plan_of(study)
    except KeyError as error:
        raise InputError(
            f"study: {located.name!r} was made by another version of maml_sweep (its plan lacks "
            f"{error}); read it with that version"
        ) from None
    return study


def _given(study: str | Path, root: Path) -> Path:
    """A study's folder from a path.

    Raises:
      InputError: it is none.
    """
    path = Path(study)
    folder = path.parent if path.name == studies.DATABASE else path
    if (folder / studies.DATABASE).is_file():
        return folder
    for place in (folder, root / study):
        if place.is_dir() and place != root:
            server = (place / "sweep.yaml").is_file()
            advice = "; its study lies on a server: add --storage URL" if server else ""
            raise InputError(f"study: {place} holds no study (no {studies.DATABASE}){advice}")
    if os.sep in str(study):
        raise InputError(f"study: there is no folder {folder}")
    raise InputError(_unknown(str(study), [each.name for each in folders(root)], str(root)))


def _locate_on_server(study: str | None, root: Path, url: str) -> Located:
    names = on_server(url)
    if study is None and not names:
        raise InputError(f"no study in {storage.masked(url)}")
    name = names[0] if study is None else Path(study).name
    if name not in outline.names(storage.connect(url)):
        raise InputError(_unknown(name, names, storage.masked(url)))
    return Located(name, root / name, url)


def _unknown(name: str, names: list[str], place: str) -> str:
    if not names:
        return f"study: no study {name!r}: there is none in {place}"
    return f"study: no study {name!r} in {place}{hint(name, names)}; there are {_listed(names)}"


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
