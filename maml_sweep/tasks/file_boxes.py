"""Images of Pascal VOC or COCO with one box each, drawn by index."""

from __future__ import annotations

import functools
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from maml_sweep import streams
from maml_sweep.backend import tf
from maml_sweep.checks import one_of
from maml_sweep.errors import InputError
from maml_sweep.tasks.base import Split
from maml_sweep.tasks.few_of_many import below, sample
from maml_sweep.tasks.reading import coco, roots, voc
from maml_sweep.tasks.reading.annotations import OPTIONS, Annotated, Corners, split_of
from maml_sweep.tasks.reading.image_cache import Cache, opened
from maml_sweep.tasks.reading.image_files import Found
from maml_sweep.tasks.reading.images import Style
from maml_sweep.tasks.resident import resident

EXPECTED = f"for Pascal VOC {voc.EXPECTED}; for COCO {coco.EXPECTED}"
IMAGES = "images"  # the one class of the cache: an image may show several

log = logging.getLogger(__name__)


class Chosen(NamedTuple):
    """What a task draws from; equal where the same is drawn.

    Attributes:
      found: the annotations.
      cache: the images.
      largest: whether an image counts that has several boxes of a class.
    """

    found: Annotated
    cache: Cache
    largest: bool


class Table(NamedTuple):
    """A split's images and boxes, on the device."""

    images: Any  # uint8 [image, size, size, 3]
    rows: Any  # int32 [box], which image
    boxes: Any  # float32 [box, 4], class after class
    first: Any  # int32 [class], the first of its boxes
    sizes: Any  # int32 [class], how many


class FileBoxes:
    """A class of a split, and images that have one box of it; see `Boxes` for the settings.

    Classes with fewer images than a task needs are left out, which the log says. An image may
    show classes of several splits, as in the field: then several splits have it, and each has its
    own box of it.

    Attributes:
      shape: of an image.

    Raises:
      InputError: see `Boxes`.
    """

    def __init__(
        self,
        root: str,
        shots: int,
        queries: int,
        size: int,
        *,
        subset: str | None,
        split: str,
        shares: Sequence[float],
        several: str,
        difficult: bool,
        cache: str | None,
        bad_records: str,
    ) -> None:
        one_of("task.split", split, OPTIONS)
        one_of("task.several", several, ("skip", "largest"))
        found = _annotated(roots.folder(root, EXPECTED), subset, difficult, bad_records)
        splits = split_of(found.boxes, split, shares)
        files = Found(found.layout, found.root, {IMAGES: found.files}, {})
        self.shape = (size, size, 3)
        images = opened(files, Style(size, 3), cache, bad_records)
        self._chosen = Chosen(found, images, several == "largest")
        enough = _enough(self._chosen, shots + queries)
        self._classes = {
            name: tuple(each for each in names if each in enough) for name, names in splits.items()
        }
        for name, names in self._classes.items():
            if not names:
                raise InputError(
                    f"task.root={root}: no class of the {name} split has task.shots + "
                    f"task.queries = {shots + queries} images with one box; choose fewer, or "
                    "task.several=largest"
                )

    def groups(self, split: Split) -> Sequence[str]:
        """The classes of a split that have images enough."""
        return self._classes[split]

    def draw(self, split: Split, keys: Any, count: int, dtype: Any) -> tuple[Any, Any]:
        """Draws a class and `count` different images of it for each key.

        Args:
          split: whose classes.
          keys: uint32 [lane, 2].
          count: shots + queries.
          dtype: the float type of what is returned.

        Returns:
          images [lane, count, size, size, 3] from 0 to 1, and boxes [lane, count, 4].
        """
        table = _resident(self._chosen, self._classes[split])
        classes = streams.bits(streams.fold_in(keys, 0), 1)[:, 0]
        classes = below(classes, tf.fill(tf.shape(classes), len(self._classes[split])))
        drawn = sample(streams.fold_in(keys, 1), tf.gather(table.sizes, classes), count)
        drawn += tf.gather(table.first, classes)[:, tf.newaxis]
        x = tf.gather(table.images, tf.gather(table.rows, drawn))
        return tf.cast(x, dtype) / 255, tf.cast(tf.gather(table.boxes, drawn), dtype)


def _annotated(root: Path, subset: str | None, difficult: bool, policy: str) -> Annotated:
    """Reads the layout that a folder has.

    Raises:
      InputError: it has neither.
    """
    if voc.years(root):
        return voc.read(root, subset or "trainval", difficult, policy)
    if coco.subsets(root):
        return coco.read(root, subset, policy)
    raise roots.lacking(root, "annotations of boxes", EXPECTED)


# Constructors run once a trial: what they work out is kept, and said once.
@functools.cache
def _members(chosen: Chosen) -> dict[str, list[tuple[int, Corners]]]:
    """Of each class the good images with one box of it: row of the cache, corners."""
    bad = {where for where, _ in chosen.cache.bad}
    good = np.array([str(file) not in bad for file in chosen.found.files])
    rows = np.cumsum(good) - 1  # a bad image has no row
    members: dict[str, list[tuple[int, Corners]]] = {}
    for name, boxes in chosen.found.boxes.items():
        by_image: dict[int, list[Corners]] = {}
        for image, corners in boxes:
            by_image.setdefault(image, []).append(corners)
        members[name] = [
            (int(rows[image]), max(several, key=_area))
            for image, several in by_image.items()
            if good[image] and (chosen.largest or len(several) == 1)
        ]
    return members


def _area(box: Corners) -> float:
    return (box[2] - box[0]) * (box[3] - box[1])


@functools.cache
def _enough(chosen: Chosen, count: int) -> frozenset[str]:
    """The classes that have `count` images; the log says which have not."""
    sizes = {name: len(members) for name, members in _members(chosen).items()}
    few = [f"{name} ({size})" for name, size in sizes.items() if size < count]
    if few:
        log.warning(
            "%s: %d of %d classes have fewer than %d images with one box and are left out: %s",
            chosen.found.root,
            len(few),
            len(sizes),
            count,
            ", ".join(few),
        )
    return frozenset(name for name, size in sizes.items() if size >= count)


@functools.cache
def _resident(chosen: Chosen, classes: Sequence[str]) -> Table:
    """The images and boxes of some classes; of the images only those that are needed."""
    members = [_members(chosen)[name] for name in classes]
    every = [member for some in members for member in some]
    needed, rows = np.unique([row for row, _ in every], return_inverse=True)
    sizes = np.array([len(some) for some in members], np.int32)
    table = Table(
        chosen.cache.rows(IMAGES)[needed],
        rows.astype(np.int32),
        np.array([corners for _, corners in every], np.float32),
        np.cumsum(sizes, dtype=np.int32) - sizes,
        sizes,
    )
    return Table(*resident(tuple(table)))
