"""What task=sentiment is worth without any learning beforehand, and at the most."""

from __future__ import annotations

import numpy as np

from benchmarks.baseline_text import counted, drawn, hits, keys, naive_bayes, nearest_centroid
from maml_sweep.tasks import Sentiment
from maml_sweep.tasks.made import reviews


def baseline(task: Sentiment, tasks: int, seed: int) -> dict[str, float]:
    """Mean accuracies over the meta-test tasks that `maml-sweep train` judges a winner by.

    Args:
      task: as it was trained on.
      tasks: how many.
      seed: of the study.

    Returns:
      "naive Bayes" and "nearest centroid" on the support; of made-up domains also "shared words",
      who knows what all domains have in common and adapts to none, and "oracle", who knows how
      probable each word is in each.
    """
    episode = drawn(task, tasks, seed)
    support, query = (counted(task, part.x) for part in (episode.support, episode.query))
    answers = {
        "naive Bayes": naive_bayes(support, episode.support.y, query, 2),
        "nearest centroid": nearest_centroid(support, episode.support.y, query, 2),
    }
    if task.source is None:
        known = reviews.language()
        shared = known.frequency + np.array([[-1.0], [1.0]]) * known.shared  # [polarity, word]
        shared -= np.log(np.exp(shared).sum(axis=1, keepdims=True))
        answers["shared words"] = query @ shared.T
        domains = reviews.log_distributions(keys(tasks, seed)).numpy()
        answers["oracle"] = query @ domains.transpose(0, 2, 1)
    return {name: hits(logits, episode.query.y) for name, logits in answers.items()}
