"""Image files in folders and in zips: which there are, of which class, and what is in them."""

from __future__ import annotations

import functools
import hashlib
import os
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from itertools import chain
from pathlib import Path, PurePosixPath
from types import TracebackType
from typing import NamedTuple

from maml_sweep.errors import InputError
from maml_sweep.tasks.base import SPLITS, Split
from maml_sweep.tasks.reading.images import SUFFIXES

ABSENT = -1  # the size of a file that is named somewhere but is not there


class File(NamedTuple):
    """An image's file as it was when it was looked at."""

    name: str  # in task.root, with slashes; or in its archive
    size: int  # bytes, or ABSENT
    stamp: int  # when it was last changed, in nanoseconds; in an archive its checksum
    archive: str = ""  # the zip in task.root that it is in

    def __str__(self) -> str:
        """Where it is, for messages."""
        return f"{self.archive}:{self.name}" if self.archive else self.name


class Seen(NamedTuple):
    """A folder or a file of `root` as it was when it was looked at."""

    root: Path
    name: str
    modified: int  # nanoseconds
    size: int  # bytes

    @property
    def path(self) -> Path:
        """Where it is."""
        return self.root / self.name


def seen(root: Path, name: str) -> Seen:
    """Looks at a folder or a file."""
    status = (root / name).stat()
    return Seen(root, name, status.st_mtime_ns, status.st_size)


class Found(NamedTuple):
    """What a layout's reader found.

    Attributes:
      layout: its name, for the cache.
      root: where all paths start.
      classes: the files of each class by name, both in alphabetical order.
      splits: the classes of each split, in alphabetical order.
    """

    layout: str
    root: Path
    classes: Mapping[str, Sequence[File]]
    splits: Mapping[Split, Sequence[str]]

    @property
    def files(self) -> Iterator[File]:
        """All of them, class after class."""
        return chain.from_iterable(self.classes.values())

    def fingerprint(self, *words: object) -> str:
        """A hash of words and of all classes and files as they were: 16 hexadecimal digits."""
        digest = hashlib.blake2b(repr(words).encode(), digest_size=8)
        for name, files in self.classes.items():
            digest.update(repr((name, files)).encode())
        return digest.hexdigest()


def checked(found: Found) -> Found:
    """What was found, if every split has classes, shares none with another, and none is empty.

    Raises:
      InputError: it is not so.
    """
    owners: dict[str, Split] = {}
    for split in SPLITS:
        if not found.splits[split]:
            raise InputError(f"task.root={found.root}: the {split} split has no classes")
        for name in found.splits[split]:
            if name in owners:
                raise InputError(
                    f"task.root={found.root}: class {name} is in the {owners[name]} split and in "
                    f"the {split} split; expected other classes in each (a folder of classes "
                    "alone is dealt to the splits by task=image_folder)"
                )
            owners[name] = split
            if not found.classes[name]:
                raise InputError(f"task.root={found.root}: class {name} has no images")
    return found


def folders(path: Path) -> list[str]:
    """The names of the folders in a folder, without those that systems put there."""
    return sorted(entry.name for entry in path.iterdir() if entry.is_dir() and shown(entry.name))


def shown(name: str) -> bool:
    """Whether a name is neither hidden (.DS_Store, ._0001.jpg) nor a system's (__MACOSX)."""
    return not name.startswith((".", "__"))


def is_image(name: str) -> bool:
    """Whether a file's name is that of an image."""
    return shown(name) and name.lower().endswith(SUFFIXES)


def images(root: Path, folder: str) -> tuple[File, ...]:
    """The images in a folder of `root`, by name; others are passed over.

    A process looks at a folder again when files came, went or were renamed, not when one was
    written over: constructors run once a trial, and a disk may be far away.
    """
    return _listed(seen(root, folder))


def named(root: Path, names: Sequence[str]) -> tuple[File, ...]:
    """The images of these paths in `root`, in this order.

    What is not there, or would lead out of `root`, has the size ABSENT: a bad image later.
    """
    parents = {PurePosixPath(name).parent for name in names}
    inside = sorted(str(each) for each in parents if not {"/", ".."} & set(each.parts))
    there = {
        file.name: file
        for folder in inside
        if (root / folder).is_dir()
        for file in images(root, folder)
    }
    return tuple(there.get(name, File(name, ABSENT, 0)) for name in names)


@functools.cache
def _listed(folder: Seen) -> tuple[File, ...]:
    with os.scandir(folder.path) as entries:
        found = [_file(entry, folder.name) for entry in entries if is_image(entry.name)]
    return tuple(sorted(file for file in found if file))


def _file(entry: os.DirEntry[str], folder: str) -> File | None:
    """A file, which may be a link that leads nowhere; not a folder."""
    name = f"{folder}/{entry.name}"
    try:
        status = entry.stat()
    except OSError:
        return File(name, ABSENT, 0)
    return None if entry.is_dir() else File(name, status.st_size, status.st_mtime_ns)


def members(root: Path, archive: str) -> tuple[File, ...]:
    """The images in a zip of `root`, in the order of their names.

    Raises:
      InputError: it is no zip.
    """
    return _members(seen(root, archive))


@functools.cache
def _members(archive: Seen) -> tuple[File, ...]:
    try:
        with zipfile.ZipFile(archive.path) as content:
            every = content.infolist()
    except (OSError, zipfile.BadZipFile) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"{archive.path}: cannot be read as a zip ({reason})") from None
    found = [
        File(each.filename, each.file_size, each.CRC, archive.name)
        for each in every
        if not each.is_dir() and all(map(shown, PurePosixPath(each.filename).parts))
    ]
    return tuple(sorted(file for file in found if is_image(PurePosixPath(file.name).name)))


class Contents:
    """Reads what is in files; threads may share it. Used as a context manager."""

    def __init__(self, root: Path, files: Iterable[File]) -> None:
        self._root = root
        self._stack = ExitStack()
        self._archives = {
            archive: self._stack.enter_context(zipfile.ZipFile(root / archive))
            for archive in sorted({file.archive for file in files if file.archive})
        }

    def __enter__(self) -> Contents:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stack.close()

    def read(self, file: File) -> bytes:
        """All bytes of a file.

        Raises:
          OSError: it is not there, or cannot be read; one of `images.DAMAGE` in an archive.
        """
        if file.size == ABSENT:
            raise FileNotFoundError("no such file")
        if file.archive:
            return self._archives[file.archive].read(file.name)
        return (self._root / file.name).read_bytes()
