"""The glyphs: what the package carries, the twenty drawers, and the episodes drawn from them."""

from __future__ import annotations

import functools
import hashlib
import subprocess
import sys
from collections import Counter
from typing import Any

import numpy as np
import pytest

from maml_sweep import streams
from maml_sweep.backend import tf
from maml_sweep.errors import InputError
from maml_sweep.tasks.base import SPLITS, Episode, Split
from maml_sweep.tasks.draws import distinct
from maml_sweep.tasks.glyph_data import DRAWERS, SIDE, letters, load
from maml_sweep.tasks.glyph_data.store import bitmaps
from maml_sweep.tasks.glyphs import Glyphs

CLASSES: dict[Split, int] = {"train": 1047, "validation": 91, "test": 202}
# Whoever changes these changes every result ever recorded on glyphs.
DIGESTS = {
    "train": "8cc18c9c39279aa9736e86ac4dc2388337e424281bda7888b726cdb82ef66725",
    "validation": "2968ca434c33b68ffb11a1748e4f8f8bfa2c380dc1b0123caa3e636cf90a1100",
    "test": "d125b0c19273a37ddcc422023f6a55c34a2f06fc1a713bd1dd9a8bdaee765d1b",
}


def keys(lanes: int, seed: int = 0) -> np.ndarray:
    """Keys of as many lanes: uint32 [lane, 2]."""
    return np.random.default_rng(seed).integers(0, 2**32, (lanes, 2), dtype=np.uint32)


def draw(task: Glyphs, split: Split, lanes: np.ndarray, dtype: str = "float32") -> Episode:
    """An episode drawn in a graph, as training does it, with its arrays as NumPy's."""
    signature = [tf.TensorSpec([None, 2], tf.uint32)]
    graph = tf.function(
        lambda k: task.episodes(split, k, tf.as_dtype(dtype)),
        input_signature=signature,
        autograph=False,
    )
    episode: Episode = graph(tf.constant(lanes))
    return Episode(*tf.nest.map_structure(lambda x: x.numpy(), episode))


@functools.cache
def index_of_drawings(split: Split) -> dict[bytes, set[tuple[int, int]]]:
    """Which (class, drawer) made an image; plain letters may come out alike twice."""
    index: dict[bytes, set[tuple[int, int]]] = {}
    for letter, drawers in enumerate(load(split)):
        for drawer, image in enumerate(drawers):
            index.setdefault(image.tobytes(), set()).add((letter, drawer))
    return index


def sources(x: np.ndarray, index: dict[bytes, set[tuple[int, int]]]) -> list[tuple[int, int]]:
    """The (class, drawer) of each image of a lane: float [example, 28, 28, 1]."""
    found = [index[image.astype(np.uint8).tobytes()] for image in x]
    assert all(len(candidates) == 1 for candidates in found)
    return [next(iter(candidates)) for candidates in found]


def test_splits_have_their_classes_and_share_no_script_and_no_letter() -> None:
    every = [letter for split in SPLITS for letter in letters(split)]
    assert Counter(letter.split for letter in every) == CLASSES
    scripts = [{letter.script for letter in letters(split)} for split in SPLITS]
    assert [len(some) for some in scripts] == [5, 3, 5] and len(set.union(*scripts)) == 13
    assert len({letter.point for letter in every}) == len({letter.name for letter in every})
    assert len({letter.point for letter in every}) == len(every) == sum(CLASSES.values())
    assert all(1 <= letter.faces <= 6 for letter in every)


def shapes(split: Split) -> np.ndarray:
    """The printed letters smoothed over 3x3 pixels, centred, at unit length: [bitmap, 784]."""
    padded = np.pad(bitmaps(split).astype(np.float32), ((0, 0), (1, 1), (1, 1)))
    near = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(1, 2)).mean((-1, -2))
    flat = near.reshape(len(near), -1)
    flat = flat - flat.mean(1, keepdims=True)
    return np.asarray(flat / np.linalg.norm(flat, axis=1, keepdims=True))


def test_no_letter_looks_like_one_of_another_split() -> None:
    """In no font face; capital alpha, a Latin A, is therefore in no split but Latin's."""
    train, validation, test = (shapes(split) for split in SPLITS)
    for one, other in ((train, validation), (train, test), (validation, test)):
        assert (one @ other.T).max() < 0.97
    assert "GREEK CAPITAL LETTER ALPHA" not in {letter.name for letter in letters("train")}


def test_no_bitmap_belongs_to_two_letters() -> None:
    owners: dict[bytes, set[int]] = {}
    for split in SPLITS:
        points = np.repeat([x.point for x in letters(split)], [x.faces for x in letters(split)])
        for point, bitmap in zip(points, bitmaps(split), strict=True):
            owners.setdefault(bitmap.tobytes(), set()).add(int(point))
    assert all(len(points) == 1 for points in owners.values())


def test_printed_letters_are_centred_and_of_one_extent() -> None:
    for split in SPLITS:
        for bitmap in bitmaps(split):
            rows, columns = (np.flatnonzero(bitmap.any(axis=axis)) for axis in (1, 0))
            assert 17 <= max(np.ptp(rows), np.ptp(columns)) + 1 <= 21
            assert abs(rows[0] + rows[-1] - 27) <= 3 and abs(columns[0] + columns[-1] - 27) <= 3


@pytest.mark.parametrize("split", SPLITS)
def test_drawers_write_the_same_on_every_machine(split: Split) -> None:
    written = load(split)
    assert written.shape == (CLASSES[split], DRAWERS, SIDE, SIDE) and written.dtype == np.uint8
    assert set(np.unique(written)) == {0, 1} and not written.flags.writeable
    assert written.sum(axis=(2, 3)).min() >= 8  # nobody leaves a page blank
    assert hashlib.sha256(written.tobytes()).hexdigest() == DIGESTS[split]


def test_loading_needs_numpy_alone() -> None:
    """No fonts, imaging library or SciPy; a constructor needs neither TensorFlow nor drawings."""
    code = """if True:
        import sys
        from maml_sweep.tasks.glyph_data import load
        from maml_sweep.tasks.glyphs import Glyphs
        Glyphs(5, 1, 15)
        print(load.cache_info().currsize)
        load("validation")
        print({"matplotlib", "PIL", "scipy", "tensorflow", "keras"} & set(sys.modules))
    """
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout == "0\nset()\n"


@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize(("ways", "shots", "queries"), [(5, 1, 15), (3, 2, 1), (20, 5, 5)])
def test_episodes_are_balanced_and_never_share_a_drawer(
    split: Split, ways: int, shots: int, queries: int
) -> None:
    episode = draw(Glyphs(ways, shots, queries), split, keys(4))
    index = index_of_drawings(split)
    for part, count in ((episode.support, shots), (episode.query, queries)):
        assert part.x.shape == (4, ways * count, SIDE, SIDE, 1) and part.x.dtype == np.float32
        assert part.y.dtype == np.int32
        assert (part.y == np.repeat(np.arange(ways), count)).all()
        assert set(np.unique(part.x)) == {0.0, 1.0}
    for lane in range(4):
        support = sources(episode.support.x[lane], index)
        query = sources(episode.query.x[lane], index)
        assert len(set(support + query)) == ways * (shots + queries)
        labels = episode.support.y[lane]
        named = {label: letter for label, (letter, _) in zip(labels, support, strict=True)}
        assert [named[label] for label in range(ways)] == episode.classes[lane].tolist()
        assert len(set(named.values())) == ways
        assert [named[label] for label in episode.query.y[lane]] == [letter for letter, _ in query]


def test_an_episode_hangs_on_its_key_alone() -> None:
    """Alone, in a batch of eight, elsewhere in it, in float64: the same episode."""
    task, lanes = Glyphs(5, 1, 3), keys(8)
    together = draw(task, "train", lanes)
    turned = draw(task, "train", lanes[::-1].copy(), "float64")
    for lane in range(8):
        alone = draw(task, "train", lanes[lane : lane + 1]) if lane == 5 else None
        for part in range(2):
            assert (together[part].x[lane] == turned[part].x[7 - lane]).all()
            assert alone is None or (together[part].x[lane] == alone[part].x[0]).all()
    assert turned.support.x.dtype == np.float64
    assert (together.support.x[0] != together.support.x[1]).any()


def test_every_class_and_every_drawer_gets_its_turn() -> None:
    """4,000 draws of 5 of 91 classes and of 1 of 20 drawers; each within 6 deviations of its share.

    A class is drawn 4,000 * 5 / 91 = 219.8 times, deviation below 14.8; a drawer, over all classes,
    20,000 / 20 = 1,000 times, deviation 30.8.
    """
    lanes = tf.constant(keys(4000))
    classes = distinct(streams.fold_in(lanes, 0), 91, 5).numpy()
    each = streams.fold_in(lanes[:, tf.newaxis], tf.range(1, 6))
    drawers = distinct(each, DRAWERS, 1).numpy()
    assert np.abs(np.bincount(classes.ravel(), minlength=91) - 219.8).max() < 6 * 14.8
    assert np.abs(np.bincount(drawers.ravel(), minlength=20) - 1000).max() < 6 * 30.8
    first = np.bincount(classes[:, 0], minlength=91)  # the label says nothing of the class
    assert np.abs(first - 4000 / 91).max() < 6 * 6.6


def test_the_images_are_no_part_of_the_graph() -> None:
    """16 MB of drawings are referred to by the traced program, not copied into it."""
    task = Glyphs(5, 1, 15)
    graph = tf.function(lambda k: task.episodes("train", k, tf.float32), autograph=False)
    traced = graph.get_concrete_function(tf.TensorSpec([None, 2], tf.uint32))
    assert len(traced.graph.as_graph_def().SerializeToString()) < 200_000


def nearest_neighbour(split: Split, ways: int, episodes: int) -> float:
    """Accuracy of the nearest support drawing in pixels, one shot, five queries a class."""
    drawn = load(split).reshape(-1, DRAWERS, SIDE * SIDE).astype(np.float32)
    random = np.random.default_rng(0)
    hits = []
    for _ in range(episodes):
        some = drawn[random.choice(len(drawn), ways, replace=False)]
        some = some[:, random.permutation(DRAWERS)[:6]]
        support, query = some[:, 0], some[:, 1:].reshape(ways * 5, -1)
        distance = (support**2).sum(axis=1) - 2 * query @ support.T
        hits.append(np.mean(distance.argmin(axis=1) == np.repeat(np.arange(ways), 5)))
    return float(np.mean(hits))


def test_the_task_is_neither_trivial_nor_hopeless() -> None:
    """Pixels alone name about 55% of five letters and 33% of twenty."""
    assert 0.45 < nearest_neighbour("validation", 5, 400) < 0.65
    assert 0.45 < nearest_neighbour("test", 5, 400) < 0.65
    assert 0.25 < nearest_neighbour("validation", 20, 100) < 0.45


def test_loss_and_score_are_those_of_a_classification() -> None:
    task = Glyphs(5, 1, 15)
    assert (task.metric, task.direction) == ("accuracy", "maximize")
    assert (task.input_shape, task.outputs, task.classes) == ((28, 28, 1), 5, CLASSES["train"])


WRONG: list[tuple[dict[str, Any], str]] = [
    (
        {"ways": 300},
        "task.ways=300: the validation split of glyphs has 91 classes; choose at most 91",
    ),
    (
        {"shots": 10, "queries": 11},
        (
            "task.shots=10 and task.queries=11: a class of glyphs has 20 examples; "
            "choose at most 20 together"
        ),
    ),
    ({"ways": 0}, "task.ways=0: expected an integer of at least 1"),
    ({"shots": -1}, "task.shots=-1: expected an integer of at least 1"),
    ({"queries": 1.5}, "task.queries=1.5: expected an integer of at least 1"),
    ({"root": "/data"}, "task.root=/data: glyphs come with the package; leave it null"),
]


@pytest.mark.parametrize(("wrong", "message"), WRONG)
def test_wrong_settings_are_named(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError) as raised:
        Glyphs(**{"ways": 5, "shots": 1, "queries": 15, **wrong})
    assert str(raised.value) == message


def test_the_widest_task_is_drawn() -> None:
    """All the classes of the smallest split, and all their drawers."""
    episode = draw(Glyphs(91, 1, 19), "validation", keys(1))
    assert episode.query.x.shape == (1, 91 * 19, SIDE, SIDE, 1)
