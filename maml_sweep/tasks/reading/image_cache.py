"""Decoded images in a memory-mapped file: every image is decoded once, never again.

A cache is a folder `<layout>-<size>x<channels>-<fingerprint>` with `images.npy`, uint8
[image, size, size, channels], class after class, and `manifest.json`: the classes, how many images
each has, and which images could not be read. The fingerprint is of the names, sizes and times of
all files, so that a cache of other files is not taken for this one; the other one is removed.
A cache is written beside its place and moved there whole.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from hashlib import blake2b
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from maml_sweep.errors import InputError
from maml_sweep.tasks.reading import images
from maml_sweep.tasks.reading.bad import BadRecords
from maml_sweep.tasks.reading.image_files import Contents, File, Found
from maml_sweep.tasks.reading.image_progress import Pass
from maml_sweep.tasks.reading.images import DAMAGE, Pixels, Style, Unreadable

FORMAT = 1  # of the cache; part of the fingerprint
FOLDER = ".maml_sweep"  # in task.root
TABLE, MANIFEST = "images.npy", "manifest.json"
CHUNK = 512  # images decoded before the next are begun
DEAD = 3600  # seconds without a word after which half a cache is nobody's


class Cache:
    """Decoded images of all classes, in memory only where they are looked at.

    Args:
      folder: a cache.

    Attributes:
      sizes: how many images each class has, in the order of the table.
      bad: the images that could not be read, and why.

    Raises:
      Exception: it is damaged, or there is none: one of `images.DAMAGE`, or an AttributeError.
    """

    def __init__(self, folder: Path) -> None:
        manifest = json.loads((folder / MANIFEST).read_text("utf-8"))
        self.sizes: dict[str, int] = dict(manifest["classes"])
        self.bad: list[tuple[str, str]] = [(str(where), str(why)) for where, why in manifest["bad"]]
        # The mapping outlives the file's name: another process may remove a cache that is open.
        self._rows = np.lib.format.open_memmap(folder / TABLE, mode="r")
        shape = (sum(self.sizes.values()), *manifest["shape"])
        if self._rows.dtype != np.uint8 or self._rows.shape != shape:
            raise ValueError(f"{folder}: its two files do not fit each other")
        ends = np.cumsum([0, *self.sizes.values()]).tolist()
        self._places = {name: slice(*ends[i : i + 2]) for i, name in enumerate(self.sizes)}

    def rows(self, name: str) -> Pixels:
        """The images of a class: uint8 [image, size, size, channels]."""
        rows: Pixels = self._rows[self._places[name]]
        return rows


# What this process has opened. Constructors run once a trial; a warning is for the first.
_opened: dict[tuple[str, ...], Cache] = {}


def opened(found: Found, style: Style, place: str | None, policy: str) -> Cache:
    """The images found, decoded; from the cache if it has them.

    Args:
      found: the files.
      style: what every image becomes.
      place: `task.cache`, the folder of the cache; None: one in task.root, or the user's own
        where that cannot be written.
      policy: `task.bad_records`, for images that cannot be read.

    Raises:
      InputError: images cannot be read and are to be refused, none can, the cache cannot be
        written, or Pillow is needed and missing.
    """
    source = f"task.root={found.root}"
    bad = BadRecords(source, policy)
    fingerprint = found.fingerprint(FORMAT, *style)
    key = (str(found.root), found.layout, fingerprint, str(place), policy)
    if key not in _opened:
        name = f"{found.layout}-{style.size}x{style.channels}-{fingerprint}"
        places = [folder / name for folder in _places(found.root, place)]
        cache = _first(places) or _made(found, style, places)
        for record in cache.bad:
            bad.add(*record)
        bad.settle(sum(cache.sizes.values()) + len(cache.bad))
        _opened[key] = cache
    return _opened[key]


def _places(root: Path, place: str | None) -> list[Path]:
    """Where caches of a root may be, the best first."""
    own = f"{root.name}-{blake2b(str(root).encode(), digest_size=4).hexdigest()}"
    if place is not None:
        return [Path(place).expanduser().absolute() / own]
    base = os.environ.get("XDG_CACHE_HOME") or os.environ.get("LOCALAPPDATA") or "~/.cache"
    return [root / FOLDER, Path(os.path.expanduser(base)) / "maml_sweep" / own]


def _first(places: Sequence[Path]) -> Cache | None:
    """The first cache that is there and whole."""
    for place in places:
        try:
            return Cache(place)
        except (*DAMAGE, AttributeError):
            continue
    return None


def _made(found: Found, style: Style, places: Sequence[Path]) -> Cache:
    """Makes a cache in the first place that can be written."""
    images.prepare()
    needed = sum(1 for _ in found.files) * style.size**2 * style.channels
    for place in places:
        try:
            _make(found, style, place, needed)
        except OSError as error:
            reason = error.strerror or str(error)
            continue
        cache = _first([place])
        if cache:
            _remove_others(place)
            return cache
        reason = "another process removed it"
    raise InputError(
        f"task.cache: {places[-1]} cannot be written ({reason}); name a folder that can, with room "
        f"for {-(-needed // 2**20):,} MiB"
    )


def _make(found: Found, style: Style, place: Path, needed: int) -> None:
    """Writes a cache beside its place and moves it there; none is left if that fails.

    Raises:
      OSError: it cannot be written.
      InputError: no image can be read.
    """
    part = place.with_name(f".{place.name}.{secrets.token_hex(6)}.part")
    part.mkdir(parents=True)
    try:
        if shutil.disk_usage(part).free < needed:
            raise OSError("no room left")
        with (part / TABLE).open("xb") as table:
            manifest = _decoded(found, style, table)
        with (part / MANIFEST).open("x", encoding="utf-8") as file:
            json.dump(manifest, file, ensure_ascii=False)
            _settle(file)
        _move(part, place)
    finally:
        shutil.rmtree(part, ignore_errors=True)  # gone already if it was moved


def _decoded(found: Found, style: Style, table: BinaryIO) -> dict[str, Any]:
    """Decodes all images into a file; returns the manifest."""
    sizes, bad = dict.fromkeys(found.classes, 0), []
    owners = (name for name, files in found.classes.items() for _ in files)
    files = list(found.files)
    shape = (style.size, style.size, style.channels)
    _head(table, (len(files), *shape))
    for owner, file, result in zip(owners, files, _results(found, files, style), strict=True):
        if isinstance(result, str):
            bad.append((str(file), result))
        else:
            table.write(result.data)
            sizes[owner] += 1
    total = len(files) - len(bad)
    if not total:
        policy = BadRecords(f"task.root={found.root}", "refuse")
        for record in bad:
            policy.add(*record)
        policy.settle(len(files))
    _head(table, (total, *shape))
    _settle(table)
    return {"shape": shape, "classes": list(sizes.items()), "bad": bad}


def _results(found: Found, files: Sequence[File], style: Style) -> Iterator[Pixels | str]:
    """Every file's image, or why it cannot be read, in the order of the files."""

    def result(file: File) -> Pixels | str:
        try:
            return images.decode(contents.read(file), style)
        except Unreadable as error:
            return str(error)
        except DAMAGE as error:  # of the disk or the archive
            return " ".join(str(getattr(error, "strerror", None) or error).split())

    threads = min(32, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 4)
    with (
        Contents(found.root, files) as contents,
        ThreadPoolExecutor(threads) as pool,
        Pass(f"images of {found.root}", len(files)) as progress,
    ):
        for start in range(0, len(files), CHUNK):
            chunk = files[start : start + CHUNK]
            yield from pool.map(result, chunk)
            progress.advance(len(chunk))


def _head(table: BinaryIO, shape: tuple[int, ...]) -> None:
    """Writes a .npy's header at the beginning: of one length, whatever the number of rows."""
    table.seek(0)
    header = {"descr": "|u1", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(table, header)


def _settle(file: Any) -> None:
    """Waits until the disk has a file."""
    file.flush()
    os.fsync(file.fileno())


def _move(part: Path, place: Path) -> None:
    """Puts a new cache in its place, unless another process was first."""
    try:
        os.replace(part, place)
    except OSError:
        if _first([place]) is None:  # something damaged is in the way
            aside = part.with_name(f".{part.name}.part")
            os.replace(place, aside)
            os.replace(part, place)
            shutil.rmtree(aside, ignore_errors=True)


def _remove_others(place: Path) -> None:
    """Removes caches of the same kind whose files have changed, and what dead processes left."""
    kind = place.name.rpartition("-")[0]
    for other in place.parent.iterdir():
        stale = other.name.startswith(f"{kind}-") and other != place
        if stale or (other.name.endswith(".part") and _silence(other) > DEAD):
            shutil.rmtree(other, ignore_errors=True)


def _silence(folder: Path) -> float:
    """Seconds since something in a folder was last written."""
    try:
        return time.time() - max(each.stat().st_mtime for each in (folder, *folder.iterdir()))
    except OSError:  # it is being moved
        return 0.0
