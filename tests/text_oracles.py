"""How good the best possible answer to made-up texts is: by its own certainty, and by its hits."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.special import softmax

from maml_sweep import streams
from maml_sweep.backend import tf
from maml_sweep.tasks import Task
from maml_sweep.tasks.made import reviews, topics

LANES = 400


def keys(lanes: int = LANES) -> np.ndarray:
    return np.stack([streams.key("oracle", lane) for lane in range(lanes)])


def hits(logits: np.ndarray, y: np.ndarray) -> float:
    """Share of examples whose largest logit is their label."""
    return float((logits.argmax(axis=-1) == y).mean())


def certainty(log_distributions: np.ndarray, length: int, count: int = 40) -> float:
    """How sure the best answer is of fresh texts, drawn by NumPy: on average it is right as often.

    Args:
      log_distributions: [task, class, word].
      length: words of a text.
      count: texts of each class.
    """
    random = np.random.default_rng(0)
    sure = [
        softmax(random.multinomial(length, row, count) @ task.T, axis=1).max(axis=1).mean()
        for task in log_distributions
        for row in np.exp(task)
    ]
    return float(np.mean(sure))


def topic_logits(task: Any, episode: Any) -> tuple[np.ndarray, np.ndarray]:
    """The best answer's logits [lane, example, way], and log-probabilities [lane, way, word]."""
    known = np.log(topics.distributions("test"))[episode.classes.numpy()]
    order = words_in_order()
    return episode.query.x.numpy() @ known[:, :, order].transpose(0, 2, 1), known


def words_in_order() -> np.ndarray:
    """The generator's number of each word of the vocabulary, which begins with the frequent."""
    corpus = topics.corpus()
    training = corpus.flat[: topics.CLASSES["train"] * topics.TEXTS * topics.LENGTH]
    return np.argsort(-np.bincount(training, minlength=topics.WORDS), kind="stable")


def of_topics(task: Task) -> tuple[float, float, float]:
    """For task=text; 400 tasks of five classes that are themselves drawn from a hundred."""
    episode = task.episodes("test", tf.constant(keys()), tf.float64)
    logits, known = topic_logits(task, episode)
    return certainty(known, topics.LENGTH), hits(logits, episode.query.y.numpy()), 0.015


def of_reviews(task: Task) -> tuple[float, float, float]:
    """For task=sentiment."""
    chosen = tf.constant(keys())
    episode = task.episodes("test", chosen, tf.float64)
    known = reviews.log_distributions(chosen).numpy()
    logits = episode.query.x.numpy() @ known.transpose(0, 2, 1)
    return certainty(known, reviews.LENGTH), hits(logits, episode.query.y.numpy()), 0.01
