"""What task=text is worth without any learning beforehand, and at the most."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from maml_sweep import streams
from maml_sweep.backend import tf
from maml_sweep.tasks import Text, bags
from maml_sweep.tasks.made import topics
from maml_sweep.tasks.reading.corpus import KNOWN

Numbers = NDArray[np.float64]


def baseline(task: Text, tasks: int, seed: int) -> dict[str, float]:
    """Mean accuracies over the meta-test tasks that `maml-sweep train` judges a winner by.

    Args:
      task: as it was trained on.
      tasks: how many.
      seed: of the study.

    Returns:
      "naive Bayes" and "nearest centroid" on the support; of made-up topics seen as counts with
      all their words also "oracle", who knows how probable each word is in each class.
    """
    episode = drawn(task, tasks, seed)
    support, query = (counted(task, part.x) for part in (episode.support, episode.query))
    answers = {
        "naive Bayes": naive_bayes(support, episode.support.y, query, task.outputs),
        "nearest centroid": nearest_centroid(support, episode.support.y, query, task.outputs),
    }
    if task.source is None and task.layout.features == "counts" and task.width == topics.WORDS:
        known = np.log(topics.distributions("test"))[:, _order()][episode.classes]
        answers["oracle"] = query @ known.transpose(0, 2, 1)
    return {name: hits(logits, episode.query.y) for name, logits in answers.items()}


def drawn(task: Any, tasks: int, seed: int) -> Any:
    """The meta-test tasks, as NumPy's arrays."""
    return tf.nest.map_structure(
        lambda x: x.numpy(), task.episodes("test", keys(tasks, seed), tf.float32)
    )


def keys(tasks: int, seed: int) -> Any:
    """The keys of the meta-test tasks: uint32 [task, 2]."""
    return streams.fold_in(streams.key("evaluation", "test", seed), tf.range(tasks))


def counted(task: Any, x: Any) -> Numbers:
    """Counts of words [task, example, word], whichever way the task shows its texts."""
    if task.layout.features == "tokens":
        x = bags.counts(tf.cast(x, tf.int32) - KNOWN, task.width, tf.float32).numpy()
    numbers: Numbers = x.astype(np.float64)
    return numbers


def totals(support: Numbers, y: Any, ways: int) -> Numbers:
    """The sum of each class's support: [task, way, word]."""
    members = np.eye(ways)[y]  # [task, example, way]
    return np.asarray(members.transpose(0, 2, 1) @ support)


def naive_bayes(support: Numbers, y: Any, query: Numbers, ways: int) -> Numbers:
    """The logits of multinomial naive Bayes: [task, example, way].

    Every word is counted once more than it is there (Laplace). Counts of n-grams scaled to length
    one count as the fractions they are.
    """
    smoothed = totals(support, y, ways) + 1
    logits: Numbers = query @ np.log(smoothed / smoothed.sum(axis=2, keepdims=True)).transpose(
        0, 2, 1
    )
    return logits


def nearest_centroid(support: Numbers, y: Any, query: Numbers, ways: int) -> Numbers:
    """Minus the squared distance to each class's mean: [task, example, way]."""
    centres = totals(support, y, ways) * (ways / support.shape[1])
    products: Numbers = query @ centres.transpose(0, 2, 1)
    logits: Numbers = 2 * products - np.square(centres).sum(axis=2)[:, np.newaxis]
    return logits


def hits(logits: Numbers, y: Any) -> float:
    """Share of examples whose largest logit is their label."""
    return float((logits.argmax(axis=2) == y).mean())


def _order() -> NDArray[np.int64]:
    """The generator's number of each word of the vocabulary, which begins with the frequent."""
    training = topics.corpus().flat[: topics.CLASSES["train"] * topics.TEXTS * topics.LENGTH]
    return np.argsort(-np.bincount(training, minlength=topics.WORDS), kind="stable")
