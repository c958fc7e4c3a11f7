"""Boxes: overlap by hand, made-up scenes, and whose classes are whose."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import box_files
import numpy as np
import pytest
from box_files import drawn, keys
from image_files import write

from maml_sweep.backend import tf
from maml_sweep.errors import InputError
from maml_sweep.tasks import Boxes
from maml_sweep.tasks.base import SPLITS
from maml_sweep.tasks.boxes import overlap
from maml_sweep.tasks.glyph_data import DRAWERS
from maml_sweep.tasks.made import scenes
from maml_sweep.tasks.reading.annotations import NOVEL, Unfit, corners, split_of

# -- what is measured ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("a", "b", "wanted"),
    [
        ((0, 0, 2, 2), (0, 0, 2, 2), 1),
        ((0, 0, 2, 2), (1, 1, 3, 3), 1 / 7),  # 1 of 4 + 4 - 1
        ((0, 0, 4, 4), (1, 1, 3, 2), 2 / 16),  # one within the other
        ((0, 0, 1, 1), (2, 0, 3, 1), 0),  # apart
        ((0, 0, 1, 1), (1, 0, 2, 1), 0),  # they touch
        ((0, 0, 1, 1), (2, 2, 3, 3), 0),  # apart along both axes: no product of two negatives
        ((1, 0, 0, 1), (0, 0, 1, 1), 0),  # edges in the wrong order
        ((1, 1, 0, 0), (0, 0, 1, 1), 0),  # along both axes
        ((0, 0, 0, 1), (0, 0, 1, 1), 0),  # no width
        ((0, 0, 0, 0), (0, 0, 0, 0), 0),  # neither has area
    ],
)
def test_overlap_by_hand(a: Any, b: Any, wanted: float) -> None:
    pair = [tf.constant(box, tf.float64) for box in (a, b)]
    assert overlap(*pair).numpy() == pytest.approx(wanted, abs=1e-15)
    assert overlap(*pair[::-1]).numpy() == pytest.approx(wanted, abs=1e-15)


def test_loss_and_metrics_by_hand() -> None:
    """Overlaps 1, 1/2, 1/7 and 0: mean 23/56, p = 1/2, and the area under the curve p² = 1/4.

    Second lane: all exact, but for a quarter that one edge of one box is off: 1/16 of 16 numbers.
    """
    task = Boxes(1, 4)
    true = [[0, 0, 2, 2], [0, 0, 1, 2], [0, 0, 2, 2], [0, 0, 1, 1]]
    told = [[0, 0, 2, 2], [0, 0, 1, 1], [1, 1, 3, 3], [5, 5, 6, 6]]
    near = [[0, 0, 2, 2.25], *true[1:]]
    y, outputs = (tf.constant(x, tf.float64) for x in ([true, true], [told, near]))
    np.testing.assert_allclose(task.score(outputs, y)[0], 23 / 56)
    np.testing.assert_allclose(task.loss(outputs, y), [(1 + 4 + 100) / 16, 0.0625 / 16])
    np.testing.assert_allclose(task.measures["hit50"](outputs, y), [0.5, 1])
    np.testing.assert_allclose(task.measures["ap50"](outputs, y), [0.25, 1])
    assert task.metric == "iou" and task.direction == "maximize"


# -- scenes --------------------------------------------------------------------------------------


def test_a_scaled_drawing_by_hand() -> None:
    """Ink in rows 4 to 7 and columns 10 to 15, twice as large, from row 3.5 and column 6.25.

    It covers rows 3.5 to 11.5 and columns 6.25 to 18.25: half of a pixel at top and bottom, three
    quarters at the left, a quarter at the right.
    """
    ink = np.zeros((1, 1, 1, 28, 28), np.uint8)
    ink[..., 4:8, 10:16] = 1
    numbers: Any = ([[[[4.0, 10.0]]]], [[[[2.0]]]], [[[[3.5, 6.25]]]])
    first, scale, start = (tf.constant(x, tf.float64) for x in numbers)
    found = scenes._painted(ink, first, scale, start, tf.float64)
    rows, columns = np.zeros(48), np.zeros(48)
    rows[3:12], columns[6:19] = [0.5, *[1] * 7, 0.5], [0.75, *[1] * 11, 0.25]
    np.testing.assert_allclose(found[0, 0, ..., 0], np.outer(rows, columns), atol=1e-12)


def test_a_box_is_that_of_the_ink() -> None:
    """Alone in its scene, a letter has ink at all four edges of its box and none outside."""
    drawings = scenes._resident("test")
    rows = np.arange(0, 4000, 397).astype(np.int32).reshape(-1, 1, 1)
    bounds = tf.cast(tf.gather(drawings.boxes, rows), tf.float64)
    scale, start = tf.fill([*rows.shape, 1], tf.constant(0.7, tf.float64)), 0 * bounds[..., 0] + 9.3
    ink = tf.gather(drawings.ink, rows)
    x = scenes._painted(ink, bounds[..., 0], scale, start, tf.float64).numpy()[:, 0, ..., 0]
    ends = (start + scale * (bounds[..., 1] - bounds[..., 0])).numpy()[:, 0, 0]
    for scene, (bottom, right) in zip(x, ends, strict=True):
        used = [np.flatnonzero(scene.max(axis=axis) > 1e-9) for axis in (1, 0)]
        assert used[0][[0, -1]].tolist() == [9, math.ceil(bottom) - 1]
        assert used[1][[0, -1]].tolist() == [9, math.ceil(right) - 1]


@pytest.mark.parametrize("split", SPLITS)
def test_scenes_have_letters_of_good_size_within(split: Any) -> None:
    episode = drawn(Boxes(5, 15), 25, split)
    y = np.concatenate([episode.support.y, episode.query.y], axis=1)
    assert y.min() >= 0 and y.max() <= 1
    longer = 48 * (y[..., 2:] - y[..., :2]).max(axis=-1)
    assert longer.min() >= 12 - 1e-9 and longer.max() <= 20 + 1e-9
    assert longer.min() < 12.5 and longer.max() > 19.5
    middle = (y[..., 2:] + y[..., :2]).reshape(-1, 2) / 2
    assert np.abs(middle.mean(axis=0) - 0.5).max() < 0.05 and middle.std(axis=0).min() > 0.15


def test_which_letters_are_in_a_scene() -> None:
    """One in all scenes of a task, each time by another drawer; two others, every pair as often.

    Of 4 letters, 3 are left for the second and 2 for the third: 6 ordered pairs, 4,800 scenes.
    """
    lanes, count = 800, 6
    rows = scenes._chosen(tf.constant(keys(lanes)), 4, count).numpy()
    letter, drawer = np.divmod(rows, DRAWERS)
    own = letter[:, :1, 0]
    assert (letter[..., 0] == own).all()
    assert all(len(set(lane)) == count for lane in drawer[..., 0])
    assert (np.sort(letter, axis=-1)[..., 1:] != np.sort(letter, axis=-1)[..., :-1]).all()
    assert np.abs(np.bincount(own[:, 0], minlength=4) - 200).max() < 6 * math.sqrt(150)
    shifted = (letter[..., 1:] - own[..., np.newaxis]) % 4
    pairs = np.bincount((4 * shifted[..., 0] + shifted[..., 1]).ravel(), minlength=16)
    pairs = pairs[pairs > 0]
    assert len(pairs) == 6
    assert np.abs(pairs - 800).max() < 6 * math.sqrt(4800 * 5 / 36)
    spread = np.bincount(drawer.ravel(), minlength=DRAWERS)
    assert np.abs(spread / spread.mean() - 1).max() < 0.2


def test_letters_are_put_where_they_overlap_least() -> None:
    """Squares of 1 at (0, 0), (.5, 0) and (0, .75): 1/2, 1/4 and 1/2 · 1/4 in common."""
    starts = tf.constant([[[0, 0], [0.5, 0], [0, 0.75]]], tf.float64)
    np.testing.assert_allclose(scenes._common(starts, starts + 1), [0.875])
    extents = tf.fill([50, 4, 3, 2], tf.constant(20, tf.float64))
    each = tf.reshape(tf.constant(keys(200)), [50, 4, 2])
    scale, start = scenes._layout(each, extents)
    shared = scenes._common(start, start + scale * extents).numpy()
    assert np.median(shared) == 0 and shared.mean() < 3  # of letters of 256 square pixels


def test_the_best_answer_without_looking() -> None:
    """The box of the mean edges overlaps by 0.06 (see the design), the true one by 1."""
    y = drawn(Boxes(5, 15), 80, dtype="float32").query.y
    task = Boxes(5, 15)
    middle = np.broadcast_to(y.mean(axis=(0, 1)), y.shape)
    assert task.score(tf.constant(middle), tf.constant(y)).numpy().mean() == pytest.approx(
        0.06, abs=0.01
    )
    np.testing.assert_allclose(task.score(tf.constant(y), tf.constant(y)), 1)


def test_a_scene_is_pinned() -> None:
    """Whoever changes this changes every result ever recorded on scenes."""
    episode = drawn(Boxes(1, 1), 1)
    assert (48 * episode.support.y[0, 0]).round(3).tolist() == PINNED
    assert episode.support.x.sum() == pytest.approx(INK, abs=0.01)


PINNED, INK = [13.471, 20.178, 24.592, 36.533], 332.25


# -- corners and splits --------------------------------------------------------------------------


def test_corners_by_hand() -> None:
    assert corners(4, 3, 8, 6, 16, 12) == (0.25, 0.25, 0.5, 0.5)
    assert corners(-0.5, 0, 16.75, 12, 16, 12) == (0, 0, 1, 1)  # up to a pixel beyond is cut off


@pytest.mark.parametrize(
    ("box", "why"),
    [
        ((4, 3, 4, 6, 16, 12), "a box without area"),
        ((4, 6, 8, 3, 16, 12), "a box without area"),
        ((4, 3, 17.5, 6, 16, 12), "a box beyond its image of 16 x 12 pixels"),
        ((4, -2, 8, 6, 16, 12), "a box beyond its image of 16 x 12 pixels"),
        ((16, 3, 16.5, 6, 16, 12), "a box without area in its image"),
        ((math.nan, 3, 8, 6, 16, 12), "a corner is no number"),
        ((4, 3, 8, 6, 0, 12), "an image of 0 x 12 pixels"),
    ],
)
def test_boxes_that_are_none(box: Any, why: str) -> None:
    with pytest.raises(Unfit) as caught:
        corners(*box)
    assert str(caught.value) == why


def test_novel_classes_are_the_test_split() -> None:
    """Of four others a share of .16 / .80 is held, but one at least: 1."""
    shares = (0.64, 0.16, 0.2)
    found = split_of(box_files.VOC, "auto", shares)
    assert found["test"] == sorted(NOVEL["novel1"])
    assert len(found["validation"]) == 1 and len(found["train"]) == 3
    assert found == split_of(reversed(box_files.VOC), "novel1", shares)
    every = {*NOVEL["coco"], *(f"other {i}" for i in range(60))}
    found = split_of(every, "auto", shares)
    assert found["test"] == list(NOVEL["coco"]) and len(found["validation"]) == 12
    assert [len(split_of("abcdefghij", "auto", shares)[name]) for name in SPLITS] == [6, 2, 2]


@pytest.mark.parametrize(
    ("names", "option", "message"),
    [
        (box_files.VOC, "novel3", ("task.split=novel3: there is no class cat, sheep in the files; "
         "choose task.split=dealt")),
        (NOVEL["novel1"] + ("cat",), "novel1", "task.split=novel1: there are only 1 other classes"),
        ("ab", "dealt", ("three meta-splits need three or more classes, users or domains, but "
         "there are 2")),
    ],
)  # fmt: skip
def test_splits_that_cannot_be(names: Any, option: str, message: str) -> None:
    with pytest.raises(InputError) as caught:
        split_of(names, option, (0.64, 0.16, 0.2))
    assert str(caught.value) == message


# -- refusals ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"shots": 0}, "task.shots=0: expected an integer of at least 1"),
        ({"queries": 0}, "task.queries=0: expected an integer of at least 1"),
        (
            {"shots": 12, "queries": 9},
            "task.shots=12 and task.queries=9: a letter has 20 .*; choose at most 20 together",
        ),
        (
            {"root": "none"},
            "task.root=none: there is no such folder; for Pascal VOC expected .*; for COCO exp.*",
        ),
        ({"root": ".", "size": 0}, "task.size=0: expected an integer of at least 1"),
        (
            {"root": ".", "split": "novel"},
            "task.split=novel: expected one of auto, novel1, novel2, novel3, coco, dealt",
        ),
        ({"root": ".", "several": "all"}, "task.several=all: expected one of skip, largest"),
    ],
)
def test_bad_settings_are_named(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=f"^{message}$"):
        Boxes(**{"shots": 1, "queries": 1, **arguments})


def test_another_layout_is_named(tmp_path: Path) -> None:
    write(tmp_path, {"labels/1.txt": b"0 .5 .5 .1 .1", "images/1.jpg": b""})
    with pytest.raises(InputError, match="has no annotations of boxes, but images, labels; for Pa"):
        Boxes(1, 1, str(tmp_path))
