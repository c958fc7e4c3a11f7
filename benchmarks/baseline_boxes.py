"""What finds boxes without meta-learning, on the meta-test tasks of `maml-sweep train`."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from maml_sweep import streams
from maml_sweep.backend import tf
from maml_sweep.tasks import Boxes, Episode

BLOCK = 50  # tasks drawn at a time
SCALES = (0.7, 0.85, 1.0, 1.2, 1.4)  # of a template along each axis

Floats = NDArray[np.float32]


def baseline(task: Boxes, tasks: int, seed: int) -> dict[str, float]:
    """Mean overlap and mean `hit50` over the queries of `tasks` meta-test tasks.

    - mean box: the mean edges of the boxes in 1,000 meta-training tasks;
    - mean of the support: of the boxes shown;
    - pixel nearest neighbour: the box of the support image that is most alike as a whole;
    - template: every support box is cut out, and where a query image correlates best with one of
      the cuttings, scaled by `SCALES` along each axis alike, is the answer.
    """
    prior = _drawn(task, "train", streams.key("baseline"), range(1000)).support.y.mean(axis=(0, 1))
    key = streams.key("evaluation", "test", seed)
    names = ("mean box", "mean of the support", "pixel nearest neighbour", "template")
    found: dict[str, list[Floats]] = {name: [] for name in names}
    truth = []
    for first in range(0, tasks, BLOCK):
        episode = _drawn(task, "test", key, range(first, min(first + BLOCK, tasks)))
        truth.append(episode.query.y)
        found["mean box"].append(np.broadcast_to(prior, truth[-1].shape))
        middle = episode.support.y.mean(axis=1, keepdims=True)
        found["mean of the support"].append(np.broadcast_to(middle, truth[-1].shape))
        found["pixel nearest neighbour"].append(_each(_nearest, episode))
        found["template"].append(_each(_matched, episode))
    y = np.concatenate(truth)
    values = {}
    for name, parts in {**found, "oracle": truth}.items():
        boxes, true = (tf.constant(x, tf.float32) for x in (np.concatenate(parts), y))
        values[f"{name}, iou"] = float(np.mean(task.score(boxes, true)))
        for measure, of in task.measures.items():
            values[f"{name}, {measure}"] = float(np.mean(of(boxes, true)))
    return values


def _drawn(task: Boxes, split: Any, key: NDArray[np.uint32], indices: range) -> Episode:
    """Tasks of a stream as NumPy's arrays."""
    keys = streams.fold_in(tf.constant(np.tile(key, (len(indices), 1))), tf.constant([*indices]))
    episode = task.episodes(split, keys, tf.float32)
    return Episode(*tf.nest.map_structure(lambda x: x.numpy(), episode))


def _each(answer: Callable[[Floats, Floats, Floats], Floats], episode: Episode) -> Floats:
    """The answers to every task's queries: [task, query, 4]."""
    return np.stack(
        [
            answer(*arrays)
            for arrays in zip(episode.support.x, episode.support.y, episode.query.x, strict=True)
        ]
    )


def _matched(images: Floats, boxes: Floats, queries: Floats) -> Floats:
    """Answers to a task's queries [query, 4]: where any template correlates best."""
    spectra = np.fft.rfft2(queries, axes=(1, 2))
    squares = np.fft.rfft2(np.square(queries).sum(axis=-1))
    best = np.full(len(queries), -np.inf)
    answers = np.tile(boxes.mean(axis=0), (len(queries), 1))
    for (image, box), scale in itertools.product(zip(images, boxes, strict=True), SCALES):
        template = _cut(image, box, scale)
        values, places = _best_places(queries.shape[1:3], spectra, squares, template)
        answers[values > best] = places[values > best]
        best = np.maximum(best, values)
    return answers


def _nearest(images: Floats, boxes: Floats, queries: Floats) -> Floats:
    """The box of the support image whose pixels are nearest: [query, 4]."""
    a, b = (x.reshape(len(x), -1) for x in (queries, images))
    nearest: Floats = boxes[np.square(a[:, np.newaxis] - b).sum(axis=-1).argmin(axis=1)]
    return nearest


def _cut(image: Floats, box: Floats, scale: float) -> Floats:
    """The inside of a box, scaled: [height, width, channel]."""
    extent = np.array(image.shape[:2])
    low, high = (box[[1, 0]] * extent, box[[3, 2]] * extent)
    shape = np.clip(np.round((high - low) * scale), 3, extent).astype(int)
    axes = [
        a + (np.arange(n) + 0.5) / n * (b - a) - 0.5
        for a, b, n in zip(low, high, shape, strict=True)
    ]
    grid = np.meshgrid(*axes, indexing="ij")
    channels = [
        ndimage.map_coordinates(image[..., c], grid, order=1, mode="nearest")
        for c in range(image.shape[2])
    ]
    return np.stack(channels, axis=-1)


def _best_places(
    extent: tuple[int, int], spectra: Any, squares: Any, template: Floats
) -> tuple[Any, Any]:
    """Where a template correlates best with each image, by the convolution theorem.

    Args:
      extent: height and width of the images.
      spectra: of the images, [image, frequency, frequency, channel].
      squares: spectra of the sums over channels of the images' squares.
      template: [height, width, channel].

    Returns:
      the largest normalised correlation of each image [image], and its window's box [image, 4].
    """
    rows, columns, channels = template.shape
    valid = (slice(None), slice(extent[0] - rows + 1), slice(extent[1] - columns + 1))

    def correlated(spectrum: Any, weights: Any) -> Any:
        return np.fft.irfft2(spectrum * np.conj(np.fft.rfft2(weights, extent)), extent)[valid]

    centred = template - template.mean()
    flat = np.ones((rows, columns))
    sums = correlated(spectra.sum(axis=-1), flat)
    spread = correlated(squares, flat) - sums**2 / centred.size
    products = sum(correlated(spectra[..., c], centred[..., c]) for c in range(channels))
    length = max(float(np.linalg.norm(centred)), 1e-6)
    values = products / (np.sqrt(np.maximum(spread, 1e-2)) * length)
    top, left = np.unravel_index(values.reshape(len(values), -1).argmax(axis=1), values.shape[1:])
    corners = np.stack([left, top, left + columns, top + rows], axis=-1)
    return values.max(axis=(1, 2)), corners / np.array([*extent[::-1], *extent[::-1]])
