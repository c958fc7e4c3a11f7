"""How image sets lie on disk: folders of splits and classes, miniImageNet's csv, CIFAR-FS's lists.

Whatever the layout, classes and their files come in the order of their names.
"""

from __future__ import annotations

import csv
import functools
import io
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from maml_sweep.errors import InputError
from maml_sweep.tasks.base import SPLITS, Split
from maml_sweep.tasks.reading import roots
from maml_sweep.tasks.reading.bad import BadRecords
from maml_sweep.tasks.reading.image_files import (
    File,
    Found,
    Seen,
    checked,
    folders,
    images,
    named,
    seen,
)
from maml_sweep.tasks.reading.splits import dealt

# The folders of a split; one of them is there.
FOLDERS: dict[Split, tuple[str, ...]] = {
    "train": ("train", "meta-train"),
    "validation": ("val", "valid", "validation", "meta-val", "meta-validation"),
    "test": ("test", "meta-test"),
}
STEMS: dict[Split, str] = {"train": "train", "validation": "val", "test": "test"}


def has_splits(root: Path) -> bool:
    """Whether a folder holds folders of splits; a class may be called train, and has images."""
    names = [name for names in FOLDERS.values() for name in names if (root / name).is_dir()]
    return any(not images(root, name) for name in names)


def by_folders(root: Path, expected: str) -> Found:
    """`<split>/<class>/<image>`.

    Args:
      root: the folder.
      expected: which layout the task reads, from "expected …".

    Raises:
      InputError: a split has no folder, or two; a class is in two splits, or has no images.
    """
    classes: dict[str, Sequence[File]] = {}
    splits: dict[Split, Sequence[str]] = {}
    for split in SPLITS:
        folder = _folder(root, split, expected)
        splits[split] = folders(root / folder)
        for name in splits[split]:
            # one that two splits have is refused below
            classes[name] = images(root, f"{folder}/{name}")
    return checked(Found("folders", root, dict(sorted(classes.items())), splits))


def _folder(root: Path, split: Split, expected: str) -> str:
    names = [name for name in FOLDERS[split] if (root / name).is_dir()]
    if not names:
        raise roots.lacking(root, f"folder {FOLDERS[split][0]}", expected)
    if len(names) > 1:
        raise InputError(
            f"task.root={root}: {' and '.join(names)} are both of the {split} split; leave one"
        )
    return names[0]


def by_classes(root: Path, shares: Sequence[float], expected: str) -> Found:
    """`<class>/<image>`, dealt to the splits by a hash of the classes' names.

    Raises:
      InputError: no folders, fewer than three classes, one without images, or odd shares.
    """
    names = folders(root)
    if not names:
        raise roots.lacking(root, "folders of classes", expected)
    classes = {name: images(root, name) for name in names}
    return checked(Found("classes", root, classes, dealt(names, shares)))


def by_lists(root: Path, lists: str, data: str, expected: str) -> Found:
    """`<lists>/{train,val,test}.txt` of class names, a line each, and `<data>/<class>/<image>`.

    Raises:
      InputError: a list or a class's folder is missing, a class is in two splits or has no images.
    """
    splits: dict[Split, Sequence[str]] = {}
    classes: dict[str, Sequence[File]] = {}
    for split in SPLITS:
        path = root / lists / f"{STEMS[split]}.txt"
        if not path.is_file():
            raise roots.lacking(path.parent, path.name, expected)
        lines = (line.strip() for line in _text(path).splitlines())
        splits[split] = sorted({line for line in lines if line})
        for name in splits[split]:
            if not (root / data / name).is_dir():
                raise InputError(f"{path}: class {name} has no folder in {root / data}; {expected}")
            classes[name] = images(root, f"{data}/{name}")
    return checked(Found("lists", root, dict(sorted(classes.items())), splits))


def has_csv(root: Path) -> bool:
    """Whether a folder holds a split's csv."""
    return any((root / f"{stem}.csv").is_file() for stem in STEMS.values())


def by_csv(root: Path, policy: str, expected: str) -> Found:
    """`{train,val,test}.csv` of columns `filename` and `label`, and `images/<filename>`.

    Args:
      root: the folder.
      policy: `task.bad_records`, for rows; an image that is named but not there is a bad image.
      expected: which layout the task reads, from "expected …".

    Raises:
      InputError: a file is missing or has other columns, rows are bad, or a class is in two splits.
    """
    if not (root / "images").is_dir():
        raise roots.lacking(root, "folder images", expected)
    splits: dict[Split, Sequence[str]] = {}
    classes: dict[str, Sequence[File]] = {}
    for split in SPLITS:
        path = root / f"{STEMS[split]}.csv"
        if not path.is_file():
            raise roots.lacking(root, path.name, expected)
        rows = _rows(seen(root, path.name), policy)
        files = named(root, [f"images/{PurePosixPath(name)}" for name, _ in rows])
        labelled: dict[str, list[File]] = {}
        for file, (_, label) in zip(files, rows, strict=True):
            labelled.setdefault(label, []).append(file)
        splits[split] = sorted(labelled)
        classes |= {label: sorted(found) for label, found in labelled.items()}
    return checked(Found("csv", root, dict(sorted(classes.items())), splits))


@functools.cache
def _rows(file: Seen, policy: str) -> list[tuple[str, str]]:
    """The good rows of a csv: file name, label."""
    path = file.path
    reader = csv.DictReader(io.StringIO(_text(path), newline=""), skipinitialspace=True)
    columns = [name.strip() for name in reader.fieldnames or ()]
    if not {"filename", "label"} <= set(columns):
        found = ",".join(columns) or "nothing"
        raise InputError(f"{path}: expected a first line filename,label, found {found}")
    reader.fieldnames = columns
    bad, total = BadRecords(str(path), policy), 0
    rows: dict[str, str] = {}
    for total, row in enumerate(reader, 1):  # noqa: B007  (their number is wanted)
        name, label = ((row[key] or "").strip() for key in ("filename", "label"))
        if not name or not label:
            bad.add(f"line {reader.line_num}", "no label" if name else "no filename")
        elif name in rows:
            bad.add(f"line {reader.line_num}", f"{name} once more")
        else:
            rows[name] = label
    bad.settle(total)
    return list(rows.items())


def _text(path: Path) -> str:
    """A file's text, with or without the mark that some editors put first."""
    try:
        return path.read_text("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: expected text in UTF-8 ({error})") from None
