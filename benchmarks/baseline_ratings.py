"""What task=ratings can do without meta-learning, and for made-up users the best there is.

All learn what items are like from training users, as many as a trial meets, and choose their one
number (how strongly to shrink) on others of them.

- item mean: the mean rating of an item by training users, drawn to the mean of all.
- item mean + offset: and how far the support's ratings are above it, shrunk.
- item mean + ridge: and a regression of what is left of the support's ratings on the items' true
  properties, which nobody outside the generator knows, or on what files say of the items.
- factors + ridge: the same on item vectors found from the training users' ratings by alternating
  least squares (Koren et al. 2009, "Matrix factorization techniques for recommender systems").
- oracle: the posterior mean of who knows the items and how tastes are spread (`made.users`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from maml_sweep import streams
from maml_sweep.backend import tf
from maml_sweep.tasks import Ratings
from maml_sweep.tasks.base import Split
from maml_sweep.tasks.made import users as made
from maml_sweep.tasks.made.users import MadeUsers

TRAINED = 60_000  # users whose items are learnt from
TUNED = 2_000  # others, to choose a penalty by
FACTORS = 8
ROUNDS = 15  # of alternating least squares
PENALTIES = (0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 1000.0)
SHRINKING = 5.0  # ratings at the mean of all that every item is given


class Users(NamedTuple):
    """Ratings of many users, support and query one behind the other."""

    x: Any  # float64 [user, rating, column]
    item: Any  # int [user, rating], the item's id
    y: Any  # float64 [user, rating]


Features = Callable[[Users], Any]  # what a regression goes by: float [user, rating, feature]


def baseline(task: Ratings, tasks: int, seed: int) -> dict[str, float]:
    """The mean squared error of each over the meta-test tasks of `maml-sweep train`.

    Args:
      task: made-up users or those of files.
      tasks: how many meta-test users.
      seed: of the evaluation.
    """
    return {name: float(np.mean(each)) for name, each in errors(task, tasks, seed).items()}


def errors(task: Ratings, tasks: int, seed: int) -> dict[str, Any]:
    """`baseline` before the mean: float64 [user] each."""
    trained = drawn(task, "train", streams.key("baseline", seed), TRAINED)
    tuned = drawn(task, "train", streams.key("baseline tuning", seed), TUNED)
    asked = drawn(task, "test", streams.key("evaluation", "test", seed), tasks)
    means = item_means(trained, task.categories[0])
    vectors = factors(trained, means)

    def judged(features: Features) -> Any:
        def mean(penalty: float) -> float:
            return float(np.mean(ridge(task.shots, tuned, means, features, penalty)))

        return ridge(task.shots, asked, means, features, min(PENALTIES, key=mean))

    found = {
        "item mean": np.mean((asked.y - means[asked.item])[:, task.shots :] ** 2, axis=1),
        "item mean + offset": judged(lambda users: np.ones((*users.item.shape, 1))),
        "item mean + ridge": judged(lambda users: properties(task, users)),
        "factors + ridge": judged(lambda users: vectors[users.item]),
    }
    return found | oracle(task, asked)


def drawn(task: Ratings, split: Split, key: Any, count: int) -> Users:
    """The first `count` users of a stream."""
    keys = streams.fold_in(tf.constant(key), tf.range(count))
    episode = task.episodes(split, keys, tf.float64)
    x = tf.concat([episode.support.x, episode.query.x], axis=1).numpy()
    y = tf.concat([episode.support.y, episode.query.y], axis=1).numpy()
    return Users(x, x[..., 0].astype(int), y[..., 0])


def item_means(users: Users, items: int) -> Any:
    """The mean rating of each item: float64 [item]."""
    counts = np.bincount(users.item.ravel(), minlength=items)
    sums = np.bincount(users.item.ravel(), users.y.ravel(), items)
    return (sums + SHRINKING * users.y.mean()) / (counts + SHRINKING)


def factors(users: Users, means: Any) -> Any:
    """Item vectors whose products with users' explain what the means leave: [item, factor].

    With standard normal priors on both and errors of variance one.
    """
    rest, unit = users.y - means[users.item], np.eye(FACTORS)
    vectors = np.random.default_rng(0).normal(0, 0.3, (len(means), FACTORS))
    order = np.argsort(users.item, axis=None)
    ends = np.cumsum(np.bincount(users.item.ravel(), minlength=len(means)))
    raters, left = order // users.item.shape[1], rest.ravel()[order]  # item after item
    for _ in range(ROUNDS):
        known = vectors[users.item]  # [user, rating, factor]
        grams = known.swapaxes(1, 2) @ known + unit
        tastes = np.linalg.solve(grams, np.einsum("urf,ur->uf", known, rest)[..., np.newaxis])
        for item, (start, end) in enumerate(zip([0, *ends[:-1]], ends, strict=True)):
            of = tastes[raters[start:end], :, 0]
            vectors[item] = np.linalg.solve(of.T @ of + unit, left[start:end] @ of)
    return vectors


def properties(task: Ratings, users: Users) -> Any:
    """What made-up items are like, or what files say of them: categories as zeros and ones."""
    if isinstance(task.source, MadeUsers):
        return made.table(task.source.items).properties[users.item]
    columns = task.source.arrangement.items.shape[1]
    parts = [np.ones((*users.item.shape, 1))]
    for column in range(1, columns):
        values, count = users.x[..., column], task.categories[column]
        parts.append(np.eye(count)[values.astype(int)] if count else values[..., np.newaxis])
    return np.concatenate(parts, axis=2)


def ridge(shots: int, users: Users, means: Any, features: Features, penalty: float) -> Any:
    """Each user's mean squared error of queries by a regression on the support: float [user]."""
    x, expected = features(users), means[users.item]
    known, asked = x[:, :shots], x[:, shots:]
    grams = known.swapaxes(1, 2) @ known + penalty * np.eye(x.shape[2])
    rest = np.einsum("ukf,uk->uf", known, (users.y - expected)[:, :shots])
    weights = np.linalg.solve(grams, rest[..., np.newaxis])
    predicted = expected[:, shots:] + (asked @ weights)[..., 0]
    return np.mean((users.y[:, shots:] - predicted) ** 2, axis=1)


def oracle(task: Ratings, users: Users) -> dict[str, Any]:
    """The best there is, where that is known."""
    if not isinstance(task.source, MadeUsers):
        return {}
    table, noise = made.table(task.source.items), task.source.noise
    k = task.shots
    rated, asked = users.item[:, :k], users.item[:, k:]
    mean, _ = made.posterior(table, rated, users.y[:, :k], asked, noise)
    return {"oracle": np.mean((users.y[:, k:] - mean) ** 2, axis=1)}
