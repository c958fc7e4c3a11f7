"""What few-shot images are worth without any learning: pixels compared with those of the support.

For glyphs and for every task of image files.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from maml_sweep import streams
from maml_sweep.backend import tf
from maml_sweep.tasks.base import Classification, Examples

LANES = 25  # tasks at a time: 80 colour images of 84x84 each are 170 MB


def baseline(task: Classification, tasks: int, seed: int) -> dict[str, float]:
    """Mean accuracies over the meta-test tasks that `maml-sweep train` judges a winner by.

    Args:
      task: as it was trained on.
      tasks: how many.
      seed: of the study.

    Returns:
      "pixel nearest neighbour" and "pixel nearest centroid", by Euclidean distance.
    """
    root = streams.key("evaluation", "test", seed)
    hits: dict[str, list[Any]] = {"pixel nearest neighbour": [], "pixel nearest centroid": []}
    for first in range(0, tasks, LANES):
        indices = tf.range(first, min(first + LANES, tasks))
        keys = streams.fold_in(tf.broadcast_to(root, [len(indices), 2]), indices)
        support, query, _ = task.episodes("test", keys, tf.float32)
        for name, answers in zip(hits, _answers(support, query, task.outputs), strict=True):
            hits[name].append(answers == query.y.numpy())
    return {name: float(np.mean(np.concatenate(each))) for name, each in hits.items()}


def _answers(support: Examples, query: Examples, ways: int) -> tuple[Any, Any]:
    """Labels of the nearest image and of the nearest class's mean: int [lane, example] each."""
    known, asked = (
        np.reshape(part.x, (*part.x.shape[:2], -1)).astype(np.float64) for part in (support, query)
    )
    labels = support.y.numpy()
    nearest = np.take_along_axis(labels, _distances(asked, known).argmin(axis=2), axis=1)
    chosen = np.eye(ways)[labels]  # [lane, example, way]
    means = chosen.transpose(0, 2, 1) @ known / chosen.sum(axis=1)[..., np.newaxis]
    return nearest, _distances(asked, means).argmin(axis=2)


def _distances(one: Any, other: Any) -> Any:
    """Squared distances but for |one|²: [lane, n, pixel], [lane, m, pixel] -> [lane, n, m]."""
    return (other**2).sum(axis=2)[:, np.newaxis] - 2 * one @ other.transpose(0, 2, 1)
