"""Cold-start recommendation: a task is a user, a few of whose ratings are known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from maml_sweep.backend import tf
from maml_sweep.checks import interval, positive
from maml_sweep.tasks.base import Episode, Examples, Measure, Regression, Split
from maml_sweep.tasks.file_users import FileUsers
from maml_sweep.tasks.made.users import MadeUsers
from maml_sweep.tasks.reading import movielens
from maml_sweep.tasks.reading.splits import SHARES


class Ratings(Regression):
    """Predict `queries` ratings of a user from `shots` others (Lee et al. 2019, MeLU).

    The metric is the mean squared error, and it is the field's: every user is asked alike, so the
    root of its mean over users is the RMSE over all ratings. The mean of the users' own roots,
    `rmse` among the measures, is never above that.

    An example is a row of columns: the item's id, then what is known of the item and of the user
    (see `reading.movielens_side`). Ids stand for items that meta-training users have rated; all
    others share the id 0.

    Args:
      shots: ratings of a user to learn from.
      queries: ratings to predict.
      root: a folder of ratings (see `reading.movielens`); None: made-up users (`made.users`).
      file: a CSV in it instead of MovieLens's own files.
      user: the column of a CSV that names users; None: userId, as in MovieLens's.
      item: the same for items; None: movieId.
      rating: the same for ratings; None: rating.
      time: the same for a number that grows with time; None: timestamp, if there is one.
      scale: the least and the largest rating; None: MovieLens's 0.5 to 5, of another file any.
      side_features: whether the columns say what is known of items and users.
      min_item_ratings: ratings by meta-training users that give an item an id of its own.
      shares: of users in train, validation and test.
      bad_records: "refuse" or "skip".
      items: how many made-up items there are.
      noise: deviation of a made-up user's rating around his or her opinion.

    Attributes:
      source: who draws the users.

    Raises:
      InputError: no such files, bad records that are to be refused, a split without users, or a
        wrong setting.
    """

    outputs = 1

    def __init__(
        self,
        shots: int,
        queries: int,
        root: str | None = None,
        file: str | None = None,
        user: str | None = None,
        item: str | None = None,
        rating: str | None = None,
        time: str | None = None,
        scale: Sequence[float] | None = None,
        side_features: bool = True,
        min_item_ratings: int = 5,
        shares: Sequence[float] = SHARES,
        bad_records: str = "refuse",
        items: int = 400,
        noise: float = 0.6,
    ) -> None:
        self.shots = positive("task.shots", shots)
        self.queries = positive("task.queries", queries)
        count = shots + queries
        self.source: MadeUsers | FileUsers
        if root is None and file is None:
            self.source = MadeUsers(items, noise, count)
        else:
            bounds = None if scale is None else interval("task.scale", scale)
            columns = {"user": user, "item": item, "rating": rating, "time": time}
            self.source = FileUsers(
                movielens.find(root, file, columns, bounds),
                count,
                side_features,
                min_item_ratings,
                shares,
                bad_records,
            )
        self.categories = self.source.categories
        self.input_shape = (len(self.categories),)

    def episodes(self, split: Split, keys: Any, dtype: Any) -> Episode:
        """Draws a user, and different items, for each key."""
        x, y = self.source.draw(split, keys, self.shots + self.queries)
        x, y = tf.cast(x, dtype), tf.cast(y[..., tf.newaxis], dtype)
        k = self.shots
        return Episode(Examples(x[:, :k], y[:, :k]), Examples(x[:, k:], y[:, k:]))

    def groups(self, split: Split) -> Sequence[str]:
        """The users of a split; those made up have no names."""
        return self.source.groups(split)

    @property
    def measures(self) -> Mapping[str, Measure]:
        """The root of a user's mean squared error, and the mean absolute error."""
        return {"rmse": lambda outputs, y: tf.sqrt(self.loss(outputs, y)), "mae": _absolute}


def _absolute(outputs: Any, y: Any) -> Any:
    """Mean absolute error of each lane: two float [lane, example, 1] -> [lane]."""
    return tf.reduce_mean(tf.abs(outputs - y), axis=[1, 2])
