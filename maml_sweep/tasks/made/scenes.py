"""Scenes of three letters, of which one is asked for: boxes to be found with no download.

A scene is a canvas of 48 x 48 pixels with a letter of the task's class and two others of the same
split (see `glyph_data`), scaled and put where they overlap least. The box of a letter is that of
its ink, exactly: a pixel of the canvas is as dark as the share of it that the scaled drawing's ink
covers.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from maml_sweep import streams
from maml_sweep.backend import tf
from maml_sweep.errors import InputError
from maml_sweep.tasks.base import Split
from maml_sweep.tasks.draws import distinct
from maml_sweep.tasks.glyph_data import DRAWERS, SIDE, letters, load
from maml_sweep.tasks.resident import resident

CANVAS = 48  # height and width of a scene, pixels
LETTERS = 3  # in a scene, the task's own first
LENGTH = (12.0, 20.0)  # bounds of a letter's longer side, pixels
LAYOUTS = 32  # ways to put three letters that are tried; the best is taken


class Scenes:
    """A class and scenes of it, for `task=boxes`.

    Args:
      shots: support scenes a task.
      queries: query scenes a task.

    Raises:
      InputError: more of them than a letter has drawings.
    """

    shape = (CANVAS, CANVAS, 1)

    def __init__(self, shots: int, queries: int) -> None:
        if shots + queries > DRAWERS:
            raise InputError(
                f"task.shots={shots} and task.queries={queries}: a letter has {DRAWERS} drawings; "
                f"choose at most {DRAWERS} together"
            )

    def groups(self, split: Split) -> Sequence[str]:
        """The letters by their Unicode names."""
        return [letter.name for letter in letters(split)]

    def draw(self, split: Split, keys: Any, count: int, dtype: Any) -> tuple[Any, Any]:
        """See `scenes`."""
        return scenes(split, keys, count, dtype)


class Drawings(NamedTuple):
    """The letters of a split, on the device."""

    ink: Any  # uint8 [class * drawer, 28, 28], ink 1
    boxes: Any  # int32 [class * drawer, 2, 2]: first and last + 1, of rows and of columns


def scenes(split: Split, keys: Any, count: int, dtype: Any) -> tuple[Any, Any]:
    """Draws `count` scenes of one class for each key; a pure function of (split, key).

    No drawing of the class comes twice in a task. Two other letters are drawn for every scene,
    different ones.

    Args:
      split: whose letters.
      keys: uint32 [lane, 2].
      count: at most `DRAWERS`.
      dtype: the float type of what is returned.

    Returns:
      the scenes, [lane, scene, 48, 48, 1], ink 1; and the box of the class in each, [lane, scene,
      4]: left, top, right and bottom as shares of the canvas.
    """
    drawings = _resident(split)
    rows = _chosen(keys, drawings.ink.shape[0] // DRAWERS, count)  # [lane, scene, letter]
    bounds = tf.cast(tf.gather(drawings.boxes, rows), tf.float64)
    # In double precision, so that every float type gets the same layout.
    each = streams.fold_in(keys[:, tf.newaxis], tf.range(3, 3 + count))  # [lane, scene, 2]
    scale, start = _layout(each, bounds[..., 1] - bounds[..., 0])
    end = start + scale * (bounds[..., 1] - bounds[..., 0])
    x = _painted(tf.gather(drawings.ink, rows), bounds[..., 0], scale, start, dtype)
    corners = tf.stack([start[..., 1], start[..., 0], end[..., 1], end[..., 0]], axis=-1)
    return x, tf.cast(corners[:, :, 0] / CANVAS, dtype)


def _chosen(keys: Any, classes: int, count: int) -> Any:
    """Which drawings are in which scene: rows of `Drawings`, int32 [lane, scene, letter]."""
    lanes = tf.shape(keys)[0]
    unit = streams.uniform(streams.fold_in(keys, 0), 1 + (LETTERS - 1) * count, tf.float64)
    own = tf.cast(tf.floor(unit[:, :1] * classes), tf.int32)  # [lane, 1]
    unit = tf.reshape(unit[:, 1:], [lanes, count, LETTERS - 1])
    first = tf.cast(tf.floor(unit[..., 0] * (classes - 1)), tf.int32)
    second = tf.cast(tf.floor(unit[..., 1] * (classes - 2)), tf.int32)
    first += tf.cast(first >= own, tf.int32)  # numbers among those left: step over what is taken
    low, high = tf.minimum(own, first), tf.maximum(own, first)
    second += tf.cast(second >= low, tf.int32)
    second += tf.cast(second >= high, tf.int32)
    chosen = tf.stack([tf.broadcast_to(own, [lanes, count]), first, second], axis=-1)
    drawers = distinct(streams.fold_in(keys, 1), DRAWERS, count)[..., tf.newaxis]
    unit = streams.uniform(streams.fold_in(keys, 2), (LETTERS - 1) * count, tf.float64)
    others = tf.cast(tf.floor(unit * DRAWERS), tf.int32)
    others = tf.reshape(others, [lanes, count, LETTERS - 1])
    return chosen * DRAWERS + tf.concat([drawers, others], axis=-1)


def _layout(keys: Any, extents: Any) -> tuple[Any, Any]:
    """Puts letters on canvases: of `LAYOUTS` random ways, that of the least common area.

    Args:
      keys: uint32 [lane, scene, 2].
      extents: height and width of the letters' ink in the drawings, [lane, scene, letter, 2].

    Returns:
      pixels of the canvas a pixel of the drawing, [lane, scene, letter, 1]; and the first row and
      column of the letters' ink on the canvas, [lane, scene, letter, 2].
    """
    sizes = streams.uniform(streams.fold_in(keys, 0), LETTERS, tf.float64, *LENGTH)
    scale = sizes[..., tf.newaxis] / tf.reduce_max(extents, axis=-1, keepdims=True)
    spans = (scale * extents)[:, :, tf.newaxis]  # [lane, scene, 1, letter, 2]
    unit = streams.uniform(streams.fold_in(keys, 1), LAYOUTS * LETTERS * 2, tf.float64)
    unit = tf.reshape(unit, [tf.shape(keys)[0], keys.shape[1], LAYOUTS, LETTERS, 2])
    starts = unit * (CANVAS - spans)
    best = tf.argmin(_common(starts, starts + spans), axis=-1, output_type=tf.int32)
    return scale, tf.gather(starts, best, axis=2, batch_dims=2)


def _common(starts: Any, ends: Any) -> Any:
    """Area that pairs of boxes share: two [..., letter, 2] -> [...]."""
    ends_first = [
        tf.minimum(ends, tf.roll(ends, 1, axis=-2)),
        tf.maximum(starts, tf.roll(starts, 1, axis=-2)),
    ]
    shared = tf.nn.relu(ends_first[0] - ends_first[1])
    return tf.reduce_sum(shared[..., 0] * shared[..., 1], axis=-1)


def _painted(ink: Any, first: Any, scale: Any, start: Any, dtype: Any) -> Any:
    """Scaled drawings on canvases.

    Along each axis a pixel of the canvas sees of each pixel of a drawing the length that they have
    in common; both axes together give the area.

    Args:
      ink: uint8 [lane, scene, letter, 28, 28].
      first: first row and column of the ink in a drawing, [lane, scene, letter, 2].
      scale: pixels of the canvas a pixel of the drawing, [lane, scene, letter, 1].
      start: first row and column of the ink on the canvas, [lane, scene, letter, 2].
      dtype: the float type of the scenes.

    Returns:
      [lane, scene, 48, 48, 1], from 0 to 1.
    """
    edges = start[..., tf.newaxis] + scale[..., tf.newaxis] * (
        tf.range(SIDE + 1, dtype=tf.float64) - first[..., tf.newaxis]
    )
    edges = tf.cast(edges, dtype)[..., tf.newaxis, :]  # [lane, scene, letter, axis, 1, 29]
    pixel = tf.range(CANVAS, dtype=dtype)[:, tf.newaxis]
    shared = tf.minimum(pixel + 1, edges[..., 1:]) - tf.maximum(pixel, edges[..., :-1])
    shared = tf.nn.relu(shared)  # [lane, scene, letter, axis, 48, 28]
    rows, columns = shared[:, :, :, 0], shared[:, :, :, 1]
    covered = tf.matmul(tf.matmul(rows, tf.cast(ink, dtype)), columns, transpose_b=True)
    return tf.minimum(tf.reduce_sum(covered, axis=2), 1)[..., tf.newaxis]


@functools.cache
def _resident(split: Split) -> Drawings:
    """Every drawing of a split and the box of its ink."""
    ink = load(split).reshape(-1, SIDE, SIDE)
    return Drawings(*resident((ink, ink_boxes(ink))))


def ink_boxes(ink: NDArray[np.uint8]) -> NDArray[np.int32]:
    """First row and column with ink, and one past the last: [n, 28, 28] -> int32 [n, 2, 2]."""
    sides = [np.asarray(ink.any(axis=axis)) for axis in (2, 1)]  # [n, 28] each
    bounds = [[some.argmax(1), SIDE - some[:, ::-1].argmax(1)] for some in sides]
    return np.moveaxis(np.array(bounds, np.int32), -1, 0)
