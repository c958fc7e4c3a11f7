"""COCO (Lin et al. 2014): one JSON for all images of a set, `annotations/instances_<set>.json`.

`images` (id, file_name, width, height), `categories` (id, name) and `annotations` (image_id,
category_id, bbox, iscrowd). A box is [x, y, width, height] in pixels from the corner; ids have
gaps; an annotation with `iscrowd` outlines many objects at once and is left out. Images lie in
`<set>/` or `images/<set>/`.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from maml_sweep.errors import InputError
from maml_sweep.tasks.reading import roots
from maml_sweep.tasks.reading.annotations import Annotated, Corners, Unfit, corners, gathered
from maml_sweep.tasks.reading.bad import BadRecords
from maml_sweep.tasks.reading.image_files import Seen, seen

FOLDER, PREFIX, SUFFIX = "annotations", "instances_", ".json"
EXPECTED = (
    "expected annotations/instances_train2017.json or others with the images in train2017/, "
    "from https://cocodataset.org/#download"
)


def subsets(root: Path) -> tuple[str, ...]:
    """The sets whose boxes are in a folder: empty where it is of no such layout."""
    names = sorted(path.name for path in (root / FOLDER).glob(f"{PREFIX}*{SUFFIX}"))
    return tuple(name.removeprefix(PREFIX).removesuffix(SUFFIX) for name in names)


def read(root: Path, subset: str | None, policy: str) -> Annotated:
    """Reads one set, or all there are.

    Args:
      root: the folder of `annotations` and of the folders of images.
      subset: the name of a set, such as train2017; None: all.
      policy: `task.bad_records`, for boxes.

    Raises:
      InputError: no such set, a damaged file, a record is bad and to be refused, or none is good.
    """
    chosen = subsets(root) if subset is None else (subset,)
    files = []
    for name in chosen:
        path = f"{FOLDER}/{PREFIX}{name}{SUFFIX}"
        if not (root / path).is_file():
            raise roots.lacking(root / FOLDER, path.rpartition("/")[2], EXPECTED)
        files.append(seen(root, path))
    return _read(root, chosen, tuple(files), policy)


@functools.cache
def _read(root: Path, chosen: Sequence[str], files: Sequence[Seen], policy: str) -> Annotated:
    names: list[str] = []
    boxes: list[tuple[str, str, Corners]] = []
    bad, total = BadRecords(f"task.root={root}", policy), 0
    for subset, file in zip(chosen, files, strict=True):
        folder = subset if (root / subset).is_dir() else f"images/{subset}"
        content = _loaded(file.path)
        images = {each["id"]: each for each in content["images"]}
        classes = {each["id"]: str(each["name"]) for each in content["categories"]}
        names += [f"{folder}/{each['file_name']}" for each in images.values()]
        for place, note in enumerate(content["annotations"]):
            if note.get("iscrowd"):
                continue
            total += 1
            try:
                image, name, found = _box(note, images, classes)
            except Unfit as error:
                bad.add(f"{file.name}, annotation {_name(note, place)}", str(error))
                continue
            boxes.append((f"{folder}/{image}", name, found))
    bad.settle(total)
    if not boxes:
        raise InputError(f"task.root={root}: no boxes in {', '.join(each.name for each in files)}")
    return gathered("coco", root, names, boxes)


def _loaded(path: Path) -> dict[str, list[dict[str, Any]]]:
    """A file whose three lists are there and have what is looked up later.

    Raises:
      InputError: it has not.
    """
    try:
        content = json.loads(path.read_bytes())
    except (OSError, RecursionError, ValueError) as error:
        raise InputError(
            f"{path}: cannot be read as JSON ({' '.join(str(error).split())})"
        ) from None
    wanted = {"images": ("id", "file_name"), "categories": ("id", "name"), "annotations": ()}
    for part, keys in wanted.items():
        rows = content.get(part) if isinstance(content, dict) else None
        if not isinstance(rows, list) or any(_lacks(row, keys) for row in rows):
            every = f" with {' and '.join(keys)}" if keys else ""
            raise InputError(f"{path}: expected '{part}', a list of objects{every}")
    loaded: dict[str, list[dict[str, Any]]] = content
    return loaded


def _lacks(row: Any, keys: Sequence[str]) -> bool:
    """Whether something is no object with these keys, whose values are plain."""
    return not isinstance(row, dict) or any(not isinstance(row.get(key), int | str) for key in keys)


def _box(
    note: Mapping[str, Any], images: Mapping[Any, Mapping[str, Any]], classes: Mapping[Any, str]
) -> tuple[str, str, Corners]:
    """The image's file, the class and the corners of an annotation.

    Raises:
      Unfit: it refers to nothing, or its box is none.
    """
    image, name = _of(images, note, "image_id"), _of(classes, note, "category_id")
    width, height = _numbers([image.get("width"), image.get("height")], "width and height")
    box = note.get("bbox")
    if not isinstance(box, list) or len(box) != 4:
        raise Unfit("bbox is no [x, y, width, height]")
    x, y, wide, high = _numbers(box, "bbox")
    return str(image["file_name"]), name, corners(x, y, x + wide, y + high, width, height)


def _of(table: Mapping[Any, Any], note: Mapping[str, Any], key: str) -> Any:
    value = note.get(key)
    if not isinstance(value, int | str) or value not in table:
        raise Unfit(f"{key} {value} is not in the file")
    return table[value]


def _numbers(values: Sequence[Any], what: str) -> Iterator[float]:
    for value in values:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise Unfit(f"{what}: {value!r} is no number")
        yield float(value)


def _name(note: Mapping[str, Any], place: int) -> str:
    """An annotation's id, or its place in the file."""
    return str(note.get("id", f"in place {place}"))
