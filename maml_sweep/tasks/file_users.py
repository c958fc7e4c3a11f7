"""Users of a file of ratings, dealt to the meta-splits."""

from __future__ import annotations

import functools
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from maml_sweep import streams
from maml_sweep.backend import tf
from maml_sweep.checks import positive
from maml_sweep.errors import InputError
from maml_sweep.tasks.base import Split
from maml_sweep.tasks.few_of_many import below, sample
from maml_sweep.tasks.reading import movielens_side, rating_files
from maml_sweep.tasks.reading.movielens import Layout
from maml_sweep.tasks.reading.movielens_side import Side
from maml_sweep.tasks.reading.rating_files import Lines, Rated
from maml_sweep.tasks.reading.splits import SHARES, dealt
from maml_sweep.tasks.resident import resident

Stamp = tuple[int, int]  # when a file was modified, in nanoseconds, and its size in bytes

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)  # two of them are never the same, so they can be cached by
class Arrangement:
    """Who is in which split, and the input columns of items and users.

    Attributes:
      rated: the ratings.
      users: int32 [user] of each split, their numbers among all users.
      items: float32 [item, column]: the id, 0 if it has none of its own, and what is known of it.
      people: float32 [user, column], what is known of all users.
      categories: of both one behind the other.
    """

    rated: Rated
    users: Mapping[Split, Any]
    items: Any
    people: Any
    categories: tuple[int, ...]


class FileUsers:
    """Draws users of a file and some of their ratings.

    A user's split hangs on the hash of his or her name. Those with too few ratings for a task are
    left out, which a line of the log says. Items that too few meta-training users have rated share
    the id 0, whatever else is known of them.

    Args:
      layout: the files.
      count: ratings a task.
      side_features: whether the inputs say what is known of items and users.
      least: ratings by meta-training users that give an item an id of its own.
      shares: of users in train, validation and test.
      policy: `task.bad_records`.

    Attributes:
      categories: of the input columns: the item's id, what is known of it, and of the user.

    Raises:
      InputError: bad records that are to be refused, a wrong setting, or a split without users.
    """

    def __init__(
        self,
        layout: Layout,
        count: int,
        side_features: bool = True,
        least: int = 5,
        shares: Sequence[float] = SHARES,
        policy: str = "refuse",
    ) -> None:
        least = positive("task.min_item_ratings", least)
        if not side_features:
            layout = layout._replace(movies=None, people=None)
        stamps = (
            _looked_at(layout.ratings.path),
            _looked_at(layout.movies),
            _looked_at(layout.people),
        )
        self.arrangement = _arranged(layout, stamps, count, least, tuple(shares), policy)
        self.categories = self.arrangement.categories

    def groups(self, split: Split) -> Sequence[str]:
        """The users of a split by their names in the file."""
        names = self.arrangement.rated.users
        return [names[user] for user in self.arrangement.users[split]]

    def draw(self, split: Split, keys: Any, count: int) -> tuple[Any, Any]:
        """A user a key, and `count` of his or her ratings, no item twice.

        Args:
          split: whose users.
          keys: uint32 [lane, 2].
          count: ratings a user.

        Returns:
          float32 [lane, count, column] and float32 [lane, count], the ratings.
        """
        users, items, people = _resident(self.arrangement)
        starts, item, rating = _resident_ratings(self.arrangement.rated)
        words = streams.bits(streams.fold_in(keys, 0), 1)[:, 0]
        user = tf.gather(users[split], below(words, tf.shape(users[split])[0]))  # int32 [lane]
        first = tf.gather(starts, user)
        drawn = sample(streams.fold_in(keys, 1), tf.gather(starts, user + 1) - first, count)
        rows = first[:, tf.newaxis] + drawn
        person = tf.repeat(tf.gather(people, user)[:, tf.newaxis], count, axis=1)
        x = tf.concat([tf.gather(items, tf.gather(item, rows)), person], axis=2)
        return x, tf.gather(rating, rows)


def _looked_at(path: Path | None) -> Stamp | None:
    """What tells a file from another of its name, for caches."""
    if path is None:
        return None
    status = path.stat()
    return status.st_mtime_ns, status.st_size


@functools.cache
def _read(lines: Lines, _stamp: Stamp, policy: str) -> Rated:
    return rating_files.read(lines, policy)


@functools.cache
def _known(layout: Layout, _stamps: tuple[Stamp | None, ...], policy: str) -> tuple[Side, Side]:
    movies = movielens_side.movies(layout.movies, policy)
    return movies, movielens_side.people(layout.people, policy)


@functools.cache
def _arranged(
    layout: Layout,
    stamps: tuple[Stamp | None, ...],
    count: int,
    least: int,
    shares: tuple[float, ...],
    policy: str,
) -> Arrangement:
    """Reads and arranges the files; `stamps` tell files of one name apart."""
    assert stamps[0] is not None
    rated = _read(layout.ratings, stamps[0], policy)
    movies, people = _known(layout, stamps[1:], policy)
    users = _dealt(rated, count, shares, str(layout.ratings.path))
    ids = _ids(rated, users["train"], least)
    return Arrangement(
        rated,
        users,
        np.column_stack([ids, _table(movies, rated.items)]).astype(np.float32),
        _table(people, rated.users),
        (int(ids.max()) + 1, *movies.categories, *people.categories),
    )


def _dealt(rated: Rated, count: int, shares: tuple[float, ...], source: str) -> Mapping[Split, Any]:
    """The users of each split that have ratings enough: int32 [user] each, in order."""
    numbers = {name: number for number, name in enumerate(rated.users)}
    enough = np.diff(rated.starts) >= count
    found = {}
    for split, names in dealt(rated.users, shares).items():
        users = np.sort(np.array([numbers[name] for name in names], np.int32))
        found[split] = users[enough[users]]
        if not len(found[split]):
            raise InputError(
                f"{source}: none of {len(users):,} users of the {split} split has the {count} "
                "ratings of task.shots and task.queries together; choose fewer"
            )
    if not enough.all():
        log.info(
            "%s: %s of %s users have fewer than %d ratings and are left out",
            source,
            f"{np.sum(~enough):,}",
            f"{len(enough):,}",
            count,
        )
    return found


def _ids(rated: Rated, users: Any, least: int) -> Any:
    """An id for each item that is rated often enough, from 1, and 0 for the rest: int64 [item]."""
    trains = np.zeros(len(rated.users), bool)
    trains[users] = True
    seen = rated.item[np.repeat(trains, np.diff(rated.starts))]
    own = np.bincount(seen, minlength=len(rated.items)) >= least
    return np.where(own, np.cumsum(own), 0)


def _table(side: Side, names: Sequence[str]) -> Any:
    """What is known of each name: float32 [name, column]."""
    nothing = (0.0,) * len(side.categories)
    rows = [side.rows.get(name, nothing) for name in names]
    return np.array(rows, np.float32).reshape(len(names), len(side.categories))


@functools.cache
def _resident(arrangement: Arrangement) -> Any:
    return resident((dict(arrangement.users), arrangement.items, arrangement.people))


@functools.cache
def _resident_ratings(rated: Rated) -> Any:
    return resident((rated.starts.astype(np.int32), rated.item, rated.rating))
