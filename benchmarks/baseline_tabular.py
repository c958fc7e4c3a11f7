"""What task=tabular and task=tabular_regression can do without meta-learning.

Each learns from the support alone. Of classes: the nearest mean, and scikit-learn's logistic
regression at its default penalty. Of values: the support's mean, and ridge regression; the penalty
on its weights is the best of a few on tasks of the training split.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from maml_sweep import streams
from maml_sweep.backend import tf
from maml_sweep.tasks import TabularClasses, TabularValues
from maml_sweep.tasks.base import Split

PENALTIES = (0.1, 0.3, 1.0, 3.0, 10.0, 30.0)
TUNED = 2000  # tasks of the training split


def baseline(task: Any, tasks: int, seed: int) -> dict[str, float]:
    """The mean metric of each over the meta-test tasks of `maml-sweep train`.

    Args:
      task: of tables.
      tasks: how many meta-test tasks.
      seed: of the evaluation.
    """
    asked = drawn(task, "test", streams.key("evaluation", "test", seed), tasks)
    if isinstance(task, TabularClasses):
        return {
            "nearest centroid": float(np.mean(nearest_centroid(task.ways, *asked))),
            "logistic regression": float(np.mean(logistic_regression(*asked))),
        }
    assert isinstance(task, TabularValues)
    tuned = drawn(task, "train", streams.key("baseline tuning", seed), TUNED)
    penalty = min(PENALTIES, key=lambda penalty: np.mean(ridge(penalty, *tuned)))
    return {
        "mean of the support": float(np.mean(support_mean(asked[1], asked[3]))),
        f"ridge, penalty {penalty:g}": float(np.mean(ridge(penalty, *asked))),
    }


def drawn(task: Any, split: Split, key: Any, count: int) -> list[Any]:
    """X and y of the support, x and y of the queries of a stream's first tasks: [task, ...]."""
    keys = streams.fold_in(tf.constant(key), tf.range(count))
    episode = task.episodes(split, keys, tf.float64)
    return [array.numpy() for part in (episode.support, episode.query) for array in part[:2]]


def nearest_centroid(ways: int, x: Any, y: Any, asked: Any, answers: Any) -> Any:
    """Accuracy by the class with the nearest mean: [task]."""
    means = np.stack([x[y == way].reshape(len(x), -1, x.shape[2]).mean(1) for way in range(ways)])
    distances = np.square(asked[np.newaxis] - means[:, :, np.newaxis]).sum(3)
    return (distances.argmin(0) == answers).mean(1)


def logistic_regression(x: Any, y: Any, asked: Any, answers: Any) -> list[float]:
    """Accuracy by logistic regression: [task]."""
    from sklearn.linear_model import LogisticRegression

    return [
        float(LogisticRegression().fit(*learnt).score(*judged))
        for learnt, judged in zip(
            zip(x, y, strict=True), zip(asked, answers, strict=True), strict=True
        )
    ]


def support_mean(y: Any, answers: Any) -> Any:
    """Mean squared error by the support's mean: [task]."""
    return np.square(answers - y.mean(1, keepdims=True)).mean((1, 2))


def ridge(penalty: float, x: Any, y: Any, asked: Any, answers: Any) -> Any:
    """Mean squared error by ridge regression with a free intercept: [task]."""
    middle, level = x.mean(1, keepdims=True), y.mean(1, keepdims=True)
    centred = x - middle
    grams = centred.swapaxes(1, 2) @ centred + penalty * np.eye(x.shape[2])
    weights = np.linalg.solve(grams, centred.swapaxes(1, 2) @ (y - level))
    return np.square(answers - level - (asked - middle) @ weights).mean((1, 2))
