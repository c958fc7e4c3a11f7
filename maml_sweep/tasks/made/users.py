"""Users made on the spot, who rate a fixed table of items by tastes of their own.

r = 3.5 + b + x·p + noise·ε, where an item has its quality b and eight properties x and a user has
a taste p ~ N(m, Σ). The table is the same for all: qualities and the common taste m from N(0, 0.4²)
and N(0, 0.2²), properties from N(0, I), then turned so that their second moments over the table are
exactly I. Σ is diagonal, each variance half the one before, 0.81 in all: so knowing all items and
nothing of the user leaves a mean squared error of 0.81 + noise².

Who knows all but p (`Items`) predicts best by its posterior mean given the support (`posterior`).
Over 400 items and noise 0.6 the root of that error is 1.01, 0.84, 0.75 and 0.69 after 1, 5, 10 and
20 ratings, and 1.08 after none.
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from maml_sweep import streams
from maml_sweep.backend import tf
from maml_sweep.checks import number, positive
from maml_sweep.errors import InputError
from maml_sweep.tasks.base import Split
from maml_sweep.tasks.few_of_many import sample
from maml_sweep.tasks.resident import resident

CENTRE = 3.5  # stars
PROPERTIES = 8
SPREAD = 0.81 * 0.5 ** np.arange(1, 9) / (1 - 0.5**8)  # variances of a taste, Σ's diagonal

Array = NDArray[np.float64]


class Items(NamedTuple):
    """The table, and what all users have in common."""

    quality: Any  # float64 [item]
    properties: Any  # float64 [item, property]
    taste: Any  # float64 [property], the mean of all users' tastes


class MadeUsers:
    """Draws users and what they rate; the splits differ in their keys alone.

    Args:
      items: how many there are, no fewer than properties or than a task has ratings.
      noise: deviation of a rating around the user's opinion.
      count: ratings a task.

    Attributes:
      categories: of the one input column: the items.

    Raises:
      InputError: too few items, or a noise that is not above 0.
    """

    def __init__(self, items: int, noise: float, count: int) -> None:
        self.items = positive("task.items", items)
        self.noise = number("task.noise", noise, above=0)
        least = max(count, PROPERTIES)
        if items < least:
            raise InputError(
                f"task.items={items}: expected at least {least}, one for each of task.shots and "
                f"task.queries together, and {PROPERTIES} in any case"
            )
        self.categories = (items,)

    def groups(self, split: Split) -> list[str]:
        """No user has a name."""
        return []

    def draw(self, split: Split, keys: Any, count: int) -> tuple[Any, Any]:
        """A user a key, and what he or she says of `count` different items.

        Args:
          split: has no say in it.
          keys: uint32 [lane, 2].
          count: ratings a user.

        Returns:
          float64 [lane, count, 1], the items, and float64 [lane, count], their ratings.
        """
        table = _resident(self.items)
        rated = sample(streams.fold_in(keys, 0), tf.fill(tf.shape(keys)[:1], self.items), count)
        normal = streams.normal(streams.fold_in(keys, 1), PROPERTIES + count, tf.float64)
        tastes = table.taste + np.sqrt(SPREAD) * normal[:, :PROPERTIES]  # [lane, property]
        opinions = tf.linalg.matvec(tf.gather(table.properties, rated), tastes)
        ratings = CENTRE + tf.gather(table.quality, rated) + opinions
        ratings += self.noise * normal[:, PROPERTIES:]
        return tf.cast(rated, tf.float64)[..., tf.newaxis], ratings


@functools.cache
def table(items: int) -> Items:
    """The table of so many items, as NumPy's arrays."""
    with tf.init_scope():
        keys = np.stack([streams.key("ratings", word) for word in ("items", "taste")])
        drawn = streams.normal(tf.constant(keys[:1]), items * (1 + PROPERTIES), tf.float64)
        taste = streams.normal(tf.constant(keys[1:]), PROPERTIES, tf.float64)
    rows = np.array(drawn).reshape(items, 1 + PROPERTIES)
    moments = rows[:, 1:].T @ rows[:, 1:] / items
    # x L⁻ᵀ has the moments L⁻¹ (L Lᵀ) L⁻ᵀ = I.
    properties = np.linalg.solve(np.linalg.cholesky(moments), rows[:, 1:].T).T
    return Items(0.4 * rows[:, 0], np.ascontiguousarray(properties), 0.2 * np.array(taste)[0])


@functools.cache
def _resident(items: int) -> Items:
    arrays: Items = resident(table(items))
    return arrays


def posterior(items: Items, rated: Any, ratings: Any, asked: Any, noise: float) -> Any:
    """The best predictions there are: Bayesian regression by who knows all but the user's taste.

    Given K ratings of items X, a taste is N(m + S Xᵀ(r - 3.5 - b - X m) / noise², S) with
    S = (Σ⁻¹ + XᵀX / noise²)⁻¹ (Bishop 2006, equations 3.50 and 3.51), and a rating of item x has
    the variance noise² + xᵀ S x around its mean.

    Args:
      items: the table.
      rated: int [lane, K], the support's items.
      ratings: float [lane, K], of these.
      asked: int [lane, query], the items to predict.
      noise: deviation of a rating.

    Returns:
      The mean rating and the variance of each item asked: float64 [lane, query] each.
    """
    known, wanted = items.properties[rated], items.properties[asked]
    expected = CENTRE + items.quality + items.properties @ items.taste
    precision = np.diag(1 / SPREAD) + known.swapaxes(1, 2) @ known / noise**2
    covariance = np.linalg.inv(precision)  # [lane, property, property]
    surprise = np.einsum("lkp,lk->lp", known, ratings - expected[rated]) / noise**2
    shift = np.einsum("lpq,lq->lp", covariance, surprise)
    mean: Array = expected[asked] + np.einsum("lap,lp->la", wanted, shift)
    variance: Array = noise**2 + np.einsum("lap,lpq,laq->la", wanted, covariance, wanted)
    return mean, variance
