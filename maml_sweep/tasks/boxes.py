"""Few-shot localisation: where is the thing that a few boxes show?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from maml_sweep.backend import tf
from maml_sweep.checks import positive
from maml_sweep.tasks.base import Episode, Examples, Measure, Split, Task
from maml_sweep.tasks.file_boxes import FileBoxes
from maml_sweep.tasks.made.scenes import Scenes
from maml_sweep.tasks.reading.splits import SHARES


class Boxes(Task):
    """Find the box of one class in `queries` images after `shots` images with its box.

    A model answers with four numbers: the left, top, right and bottom edge, as shares of the
    image's width and height. The loss is their mean squared error. The metric is the mean
    intersection over union of the box and the true one (`overlap`); a box whose edges are in the
    wrong order has no area, and an overlap of 0.

    Every image has one box of the class, a model gives one and no confidence. So all boxes of a
    task are accepted or none, the curve of precision over recall is one point, and both are
    the share p of images with an overlap of 1/2 at least: `hit50`. `ap50`, the area under that
    curve by VOC's rule of 2010 (precision p up to recall p, then 0), is p² of each task.

    Args:
      shots: support images a task (the papers' K).
      queries: query images a task.
      root: a folder in the layout of Pascal VOC or COCO; None: made-up scenes (`made.scenes`).
      size: height and width in pixels that images from files are squeezed to; scenes have 48.
      subset: which images of the files: VOC's image set, trainval if None; COCO's set such as
        train2017, all if None.
      split: which classes are whose: see `reading.annotations.split_of`.
      shares: of the classes in train, validation and test, where they are dealt.
      several: what becomes of an image with several boxes of a class: "skip", or the "largest"
        counts.
      difficult: whether VOC's objects that are `difficult` count.
      cache: folder of the decoded images; None: see `reading.image_cache.opened`.
      bad_records: "refuse" annotations, boxes and images that cannot be read, or "skip" them.

    Attributes:
      source: who draws images and boxes.

    Raises:
      InputError: no such files, bad records that are to be refused, a split without classes of
        enough images, or a wrong setting.
    """

    kind = "regression"
    metric = "iou"
    direction = "maximize"
    outputs = 4

    def __init__(
        self,
        shots: int,
        queries: int,
        root: str | None = None,
        size: int = 84,
        subset: str | None = None,
        split: str = "auto",
        shares: Sequence[float] = SHARES,
        several: str = "skip",
        difficult: bool = False,
        cache: str | None = None,
        bad_records: str = "refuse",
    ) -> None:
        self.shots = positive("task.shots", shots)
        self.queries = positive("task.queries", queries)
        self.source: Scenes | FileBoxes
        if root is None:
            self.source = Scenes(shots, queries)
        else:
            self.source = FileBoxes(
                root,
                shots,
                queries,
                positive("task.size", size),
                subset=subset,
                split=split,
                shares=shares,
                several=several,
                difficult=difficult,
                cache=cache,
                bad_records=bad_records,
            )
        self.input_shape = self.source.shape

    def episodes(self, split: Split, keys: Any, dtype: Any) -> Episode:
        """Draws a class, and different images of it, for each key."""
        x, y = self.source.draw(split, keys, self.shots + self.queries, dtype)
        k = self.shots
        return Episode(Examples(x[:, :k], y[:, :k]), Examples(x[:, k:], y[:, k:]))

    def loss(self, outputs: Any, y: Any) -> Any:
        """Mean squared error of the edges of each lane: two float [lane, example, 4] -> [lane]."""
        return tf.reduce_mean(tf.square(outputs - y), axis=[1, 2])

    def score(self, outputs: Any, y: Any) -> Any:
        """Mean overlap of each lane: two float [lane, example, 4] -> [lane]."""
        return tf.reduce_mean(overlap(outputs, y), axis=1)

    @property
    def measures(self) -> Mapping[str, Measure]:
        """The share of images that are hit, and its square."""
        return {"hit50": _hit50, "ap50": lambda outputs, y: tf.square(_hit50(outputs, y))}

    def groups(self, split: Split) -> Sequence[str]:
        """The classes of a split."""
        return self.source.groups(split)


def overlap(a: Any, b: Any) -> Any:
    """Intersection over union of boxes: two float [..., 4] -> [...]; 0 where neither has area."""
    sides = tf.minimum(a[..., 2:], b[..., 2:]) - tf.maximum(a[..., :2], b[..., :2])
    common = _area(sides)
    whole = _area(a[..., 2:] - a[..., :2]) + _area(b[..., 2:] - b[..., :2]) - common
    return tf.math.divide_no_nan(common, whole)


def _area(sides: Any) -> Any:
    """Width times height, of which none counts as less than 0: [..., 2] -> [...]."""
    return tf.reduce_prod(tf.nn.relu(sides), axis=-1)


def _hit50(outputs: Any, y: Any) -> Any:
    """Share of each lane's examples with an overlap of 1/2 at least."""
    return tf.reduce_mean(tf.cast(overlap(outputs, y) >= 0.5, outputs.dtype), axis=1)
