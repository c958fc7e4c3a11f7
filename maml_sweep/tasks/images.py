"""What all tasks of image files have in common: a table of decoded images, and draws from it."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np

from maml_sweep.checks import positive
from maml_sweep.errors import InputError
from maml_sweep.tasks.base import SPLITS, Classification, Episode, Split
from maml_sweep.tasks.draws import FewShot
from maml_sweep.tasks.reading.image_cache import Cache, opened
from maml_sweep.tasks.reading.image_files import Found
from maml_sweep.tasks.reading.images import Style
from maml_sweep.tasks.resident import resident

CHANNELS = (1, 3)
UPRIGHT = (0,)  # quarter turns


class Images(Classification):
    """Tell `ways` classes of one split apart from `shots` images of each; see `FewShot`.

    Images are decoded once, in one pass, into a cache on disk (`reading.images` says what becomes
    of the odd ones, `reading.image_cache` where it is). A split that is drawn from stands on the
    device as bytes, size² * channels an image: 38,400 colour images of 84x84 take 813 MB, all of
    Omniglot at 28x28 and in four turns 102 MB. Episodes scale them to [0, 1] in their float type;
    no mean is subtracted.

    Args:
      found: the files of every class, and the classes of every split.
      style: what every image becomes.
      ways: classes a task (the papers' N).
      shots: support examples a class (their K).
      queries: query examples a class.
      cache: the cache's folder; None: see `reading.image_cache.opened`.
      bad_records: "refuse" images that cannot be read, or "skip" them.
      inverted: black is 1 and white 0, for ink on paper.
      turns: a class for each of these numbers of quarter turns, anticlockwise.

    Attributes:
      found: as given.
      cache: the decoded images of every class.

    Raises:
      InputError: images that cannot be read, a count below one, more ways than a split has
        classes, or more examples than one of the classes has.
    """

    def __init__(
        self,
        found: Found,
        style: Style,
        ways: int,
        shots: int,
        queries: int,
        *,
        cache: str | None,
        bad_records: str,
        inverted: bool = False,
        turns: Sequence[int] = UPRIGHT,
    ) -> None:
        for setting, count in (("ways", ways), ("shots", shots), ("queries", queries)):
            positive(f"task.{setting}", count)  # before anything is decoded
        self.found = found
        self.cache = opened(found, style, cache, bad_records)
        self._classes = {split: tuple(found.splits[split]) for split in SPLITS}
        self._inverted, self._turns = inverted, tuple(turns)
        sizes = {split: self._sizes(split, shots, queries) for split in SPLITS}
        self.few_shot = FewShot(str(found.root), sizes, ways, shots, queries)
        self.input_shape = (style.size, style.size, style.channels)
        self.outputs, self.classes = ways, len(sizes["train"])

    def _sizes(self, split: Split, shots: int, queries: int) -> list[int]:
        """How many images each class of a split has; names the first that has too few."""
        sizes = {name: self.cache.sizes[name] for name in self._classes[split]}
        for name, size in sizes.items():
            if size < shots + queries:
                raise InputError(
                    f"task.shots={shots} and task.queries={queries}: class {name} of the {split} "
                    f"split has {size} images; choose at most {min(sizes.values())} together"
                )
        return [size for size in sizes.values() for _ in self._turns]

    def episodes(self, split: Split, keys: Any, dtype: Any) -> Episode:
        """Draws distinct classes, and distinct images of each, for every key."""
        table = _resident(self.cache, self._classes[split], self._inverted, self._turns)
        support, query, classes = self.few_shot.episode(split, table, keys, dtype)
        support, query = (part._replace(x=part.x / 255) for part in (support, query))
        return Episode(support, query, classes)

    def groups(self, split: Split) -> Sequence[str]:
        """The classes by their names, and by their turns where there are several."""
        return [
            f"{name}/rot{90 * turn:03d}" if len(self._turns) > 1 else name
            for name in self._classes[split]
            for turn in self._turns
        ]


def styled(size: int, channels: int) -> Style:
    """A style of settings.

    Raises:
      InputError: a size below one, or other numbers of channels than 1 and 3.
    """
    if channels not in CHANNELS:
        raise InputError(f"task.channels={channels}: expected 1 (grey) or 3 (colour)")
    return Style(positive("task.size", size), channels)


@functools.cache
def _resident(
    cache: Cache, classes: tuple[str, ...], inverted: bool, turns: tuple[int, ...]
) -> Any:
    """The images of some classes on the device: uint8 [image, size, size, channels]."""
    tables = [np.rot90(cache.rows(name), turn, axes=(1, 2)) for name in classes for turn in turns]
    table = np.concatenate(tables)
    return resident(255 - table if inverted else table)
