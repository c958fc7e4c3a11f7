"""Images and the boxes in them, whatever format says where the boxes are."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from maml_sweep.errors import InputError
from maml_sweep.tasks.base import Split
from maml_sweep.tasks.reading.image_files import File, named
from maml_sweep.tasks.reading.splits import by_hash, dealt

BEYOND = 1.0  # pixels a box may reach over the edge of its image, where it is then cut off

# The classes that few-shot detection keeps for its tests (Kang et al. 2019, arXiv 1812.01866,
# section 4.1): three sets of five of VOC's twenty, and those of COCO's eighty that VOC has too.
NOVEL: dict[str, tuple[str, ...]] = {
    "novel1": ("bird", "bus", "cow", "motorbike", "sofa"),
    "novel2": ("aeroplane", "bottle", "cow", "horse", "sofa"),
    "novel3": ("boat", "cat", "motorbike", "sheep", "sofa"),
    "coco": (
        "airplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "couch",
        "cow", "dining table", "dog", "horse", "motorcycle", "person", "potted plant", "sheep",
        "train", "tv",
    ),
}  # fmt: skip
OPTIONS = ("auto", *NOVEL, "dealt")

Corners = tuple[float, float, float, float]  # left, top, right, bottom as shares of the image


class Unfit(Exception):
    """A box is none; the message is why."""


@dataclass(frozen=True, eq=False)
class Annotated:
    """Images and their boxes; equal to itself alone, so that it can stand for what it holds.

    Attributes:
      layout: the format's name.
      root: where the images' paths start.
      files: the images, in the order of their names.
      boxes: class -> (index of the image, corners) of every box, in the order of the images.
    """

    layout: str
    root: Path
    files: Sequence[File]
    boxes: Mapping[str, Sequence[tuple[int, Corners]]]


def gathered(
    layout: str, root: Path, names: Iterable[str], boxes: Iterable[tuple[str, str, Corners]]
) -> Annotated:
    """Puts images and boxes (image, class, corners) in an order that no file has a say in."""
    order = sorted(set(names))
    rows = {name: row for row, name in enumerate(order)}
    classes: dict[str, list[tuple[int, Corners]]] = {}
    for image, name, corners in boxes:
        classes.setdefault(name, []).append((rows[image], corners))
    by_name = {name: tuple(sorted(found)) for name, found in sorted(classes.items())}
    return Annotated(layout, root, named(root, order), by_name)


def corners(
    left: float, top: float, right: float, bottom: float, width: float, height: float
) -> Corners:
    """Checks a box in pixels, from the edge of the first one, and scales it.

    Raises:
      Unfit: it has no area, or is not within its image.
    """
    if not all(map(math.isfinite, (left, top, right, bottom))):
        raise Unfit("a corner is no number")
    if not (width > 0 and height > 0):
        raise Unfit(f"an image of {width:g} x {height:g} pixels")
    if right <= left or bottom <= top:
        raise Unfit("a box without area")
    least, beyond = min(left, top), max(right - width, bottom - height)
    if least < -BEYOND or beyond > BEYOND:
        raise Unfit(f"a box beyond its image of {width:g} x {height:g} pixels")
    box = (
        max(left, 0.0) / width,
        max(top, 0.0) / height,
        min(right, width) / width,
        min(bottom, height) / height,
    )
    if box[2] <= box[0] or box[3] <= box[1]:
        raise Unfit("a box without area in its image")
    return box


def split_of(names: Iterable[str], option: str, shares: Sequence[float]) -> dict[Split, list[str]]:
    """Deals classes to the splits.

    Where the field has its novel classes they are the test split, and the other classes are dealt
    to the other two by a hash of their names, in proportion to their shares.

    Args:
      names: all classes.
      option: one of `OPTIONS`; "auto": novel1 where there are VOC's classes, coco where there are
        COCO's, else dealt.
      shares: of train, validation and test.

    Raises:
      InputError: a novel class is not there, or too few classes.
    """
    every = set(names)
    chosen = option if option != "auto" else _automatic(every)
    if chosen == "dealt":
        return dealt(every, shares)
    missing = sorted(set(NOVEL[chosen]) - every)
    if missing:
        raise InputError(
            f"task.split={option}: there is no class {', '.join(missing)} in the files; "
            "choose task.split=dealt"
        )
    dealt(every, shares)  # refuses odd shares and too few classes
    base = by_hash(every - set(NOVEL[chosen]))
    held = max(1, round(len(base) * shares[1] / (shares[0] + shares[1])))
    if held >= len(base):
        raise InputError(f"task.split={option}: there are only {len(base)} other classes")
    return {
        "train": sorted(base[held:]),
        "validation": sorted(base[:held]),
        "test": sorted(NOVEL[chosen]),
    }


def _automatic(names: set[str]) -> str:
    for option in ("novel1", "coco"):
        if names >= set(NOVEL[option]):
            return option
    return "dealt"
