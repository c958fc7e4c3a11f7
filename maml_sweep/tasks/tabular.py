"""Tasks from tables: classification and regression of rows of numbers and words.

scikit-learn's bundled sets, and a file without groups, are tables from which tasks are made up: a
few of a table's classes (or one of its columns as the target) and a random subset of its columns,
each with its sign turned or not, so that no task can be solved by heart. In a file with groups,
such as hospitals, patients or customers, a group is a task.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from maml_sweep import streams
from maml_sweep.backend import tf
from maml_sweep.checks import one_of, positive
from maml_sweep.errors import InputError
from maml_sweep.tasks.base import Classification, Episode, Examples, Regression, Split, Task
from maml_sweep.tasks.draws import distinct
from maml_sweep.tasks.reading import tables
from maml_sweep.tasks.reading.bad import POLICIES
from maml_sweep.tasks.reading.splits import SHARES
from maml_sweep.tasks.rows import parts
from maml_sweep.tasks.rows.parts import Origin
from maml_sweep.tasks.rows.problems import Problems
from maml_sweep.tasks.rows.wish import Wish

COLUMNS = 8  # that a made-up task sees, unless said otherwise
EXACT = 2048  # rows of a pool, up to which every set of them is equally likely


class _Tabular(Task):
    """What both tasks do with tables.

    What is decided from a table (which columns vary, medians, means, deviations, levels) is decided
    from the rows of the training split; see `reading.encoding`. What no two splits share is said in
    `rows.dealing`.

    Args:
      shots: support examples, of each class where there are classes.
      queries: query examples, likewise.
      root: a file; None: `sets`. See `reading.tables`.
      sets: of scikit-learn; a task takes one of them, all equally likely.
      target: the column of labels or values; None in a regression: any column, drawn by the task.
      group: the column that says which task a row belongs to; None: tasks are made up.
      features: the columns to learn from; None: all others.
      drop: columns to leave out.
      columns: how many columns a task sees, after words have become columns; None: all in a table
        of groups, else `COLUMNS`.
      flips: whether the signs of columns (and of a drawn or given target) are turned at random,
        anew in each task; None: not in a table of groups, else they are.
      categorical: columns to take for words though they look like numbers.
      levels: of a column of words that get a column of their own.
      separator: between the cells; None: a comma, in a .tsv a tab.
      decimal: the decimal mark.
      encoding: of the text.
      bad_records: "refuse" or "skip"; see `tables.read`.
      shares: of train, validation and test.

    Raises:
      InputError: a setting out of its range, tables that cannot be read, or too few rows, classes,
        columns or groups.
    """

    ways: int = 0  # classes a task

    def __init__(
        self,
        shots: int,
        queries: int,
        root: str | None = None,
        sets: Sequence[str] = ("digits",),
        target: str | None = None,
        group: str | None = None,
        features: Sequence[str] | None = None,
        drop: Sequence[str] = (),
        columns: int | None = None,
        flips: bool | None = None,
        categorical: Sequence[str] = (),
        levels: int = 10,
        separator: str | None = None,
        decimal: str = ".",
        encoding: str = "utf-8",
        bad_records: str = "refuse",
        shares: Sequence[float] = SHARES,
    ) -> None:
        self.shots = positive("task.shots", shots)
        self.queries = positive("task.queries", queries)
        if root is None and (target or group or features or drop or categorical):
            raise InputError(
                "task.root=null: task.target, group, features, drop and categorical name columns "
                "of a file, so name the file as well"
            )
        layout = tables.Layout(
            bool(self.ways),
            target,
            group,
            None if features is None else tuple(features),
            tuple(drop),
            tuple(categorical),
            separator,
            decimal,
            encoding,
            one_of("task.bad_records", bad_records, POLICIES),
        )
        file = None if root is None else tables.find(root)
        self.origin = Origin(() if file else tuple(sets), file, layout)
        self.made_up = group is None
        self.flips = self.made_up if flips is None else flips
        self.wish = Wish(
            self.ways,
            self.shots + self.queries,
            columns if columns is None else positive("task.columns", columns),
            None if group else COLUMNS,
            tuple(shares),
            positive("task.levels", levels),
        )
        part = parts.dealt(self.origin, self.wish)["train"]
        if self.made_up and not self.flips and part.problems == 1:
            raise InputError(
                "task.flips=false: all tasks would be one and the same problem; name task.group, "
                "or set task.columns below the number of columns"
            )
        self.input_shape = (part.width,)

    def groups(self, split: Split) -> Sequence[str]:
        """The groups; else the sets of classes or the targets, and sets of columns, where dealt."""
        return parts.dealt(self.origin, self.wish)[split].names

    def rows(self, split: Split, keys: Any, dtype: Any) -> tuple[Any, Any]:
        """Draws one task a key, a pure function of (split, key).

        Args:
          split: which meta-split.
          keys: uint32 [lane, 2].
          dtype: the float type.

        Returns:
          [lane, way * shots, column] and [lane, way * queries, column], class after class (one way
          in a regression, whose target is the first column).
        """
        held: Problems = parts.on_device(self.origin, self.wish, split)
        unit = streams.uniform(keys, 3, tf.float64)
        source = _below(unit[:, 0], tf.shape(held.strides)[0])
        pools = _one_of(held.choices, held.first_choice, held.choice_count, source, unit[:, 1])
        columns = _one_of(held.columns, held.first_subset, held.subset_count, source, unit[:, 2])
        if self.ways and self.made_up:
            order = distinct(streams.fold_in(keys, 0), self.ways, self.ways)
            pools = tf.gather(pools, order, batch_dims=1)
        ways = pools.shape[1]
        each = streams.fold_in(keys[:, tf.newaxis], tf.range(2, 2 + ways))  # [lane, way, 2]
        members = self._members(each, tf.gather(held.sizes, pools), split)
        stride = tf.gather(held.strides, source)[:, tf.newaxis, tf.newaxis]
        first = tf.gather(held.starts, pools)[:, :, tf.newaxis] + members * stride
        signs = self._signs(streams.fold_in(keys, 1), columns.shape[1], dtype)

        def looked_up(cells: Any, count: int) -> Any:
            flat = tf.reshape(cells, [-1, ways * count, 1]) + columns[:, tf.newaxis]
            return signs * tf.cast(tf.gather(held.cells, flat), dtype)

        support, query = tf.split(first, [self.shots, self.queries], axis=2)
        return looked_up(support, self.shots), looked_up(query, self.queries)

    def _members(self, keys: Any, sizes: Any, split: Split) -> Any:
        """Different rows of each pool: int32 [lane, way, shots + queries], in random order."""
        most = parts.dealt(self.origin, self.wish)[split].most
        count = self.shots + self.queries
        if most <= EXACT:
            return distinct(keys, most, count, sizes)
        return scattered(keys, count, sizes)

    def _signs(self, keys: Any, count: int, dtype: Any) -> Any:
        """1 or -1: [lane, 1, count]."""
        if not self.flips:
            return tf.ones([], dtype)
        heads = streams.uniform(keys, count, tf.float64)[:, tf.newaxis] < 0.5
        return tf.cast(tf.where(heads, -1, 1), dtype)


class TabularClasses(_Tabular, Classification):
    """Tell `ways` classes apart from `shots` rows of each; `_Tabular` has the other arguments.

    Where tasks are made up, labels are 0 … ways - 1 in random order; in a table of groups, whose
    labels mean the same everywhere, they stand in the order of the alphabet, and `ways` must be
    how many there are.

    Args:
      ways: classes a task.
      shots: support examples a class.
      queries: query examples a class.
      settings: see `_Tabular`.
    """

    def __init__(self, ways: int, shots: int, queries: int, **settings: Any) -> None:
        self.ways = positive("task.ways", ways)
        super().__init__(shots, queries, **settings)
        self.outputs = ways

    def episodes(self, split: Split, keys: Any, dtype: Any) -> Episode:
        """Draws classes, columns and rows for every key."""
        support, query = self.rows(split, keys, dtype)
        return Episode(self._labelled(support, self.shots), self._labelled(query, self.queries))

    def _labelled(self, x: Any, count: int) -> Examples:
        labels = tf.repeat(tf.range(self.ways), count)
        return Examples(x, tf.broadcast_to(labels, tf.shape(x)[:2]))


class TabularValues(_Tabular, Regression):
    """Predict a column from `shots` rows, scaled to mean 0 and deviation 1 in the training split.

    `_Tabular` has the arguments.
    """

    outputs = 1

    def episodes(self, split: Split, keys: Any, dtype: Any) -> Episode:
        """Draws a target, columns and rows for every key."""
        parts = self.rows(split, keys, dtype)
        return Episode(*(Examples(part[..., 1:], part[..., :1]) for part in parts))


def _below(unit: Any, count: Any) -> Any:
    """Integers below `count` from draws in [0, 1): int32."""
    return tf.cast(unit * tf.cast(count, tf.float64), tf.int32)


def _one_of(lists: Any, firsts: Any, counts: Any, source: Any, unit: Any) -> Any:
    """A row of each source's part of `lists`: [row, width] -> [lane, width]."""
    row = tf.gather(firsts, source) + _below(unit, tf.gather(counts, source))
    return tf.gather(lists, row)


def scattered(keys: Any, count: int, sizes: Any) -> Any:
    """Draws `count` of 0 … size - 1 without repetition, in random order, in time that is no size's.

    One from each of `count` strata, which start at a random place. Every number is equally likely,
    and two that are a stratum apart are independent, but neighbours seldom come together: so it is
    for many rows in an order without meaning, such as that of their hashes.

    Args:
      keys: uint32 [..., 2].
      count: how many.
      sizes: int32 [...], at least `count`.

    Returns:
      int32 [..., count].
    """
    unit = streams.uniform(keys, count + 1, tf.float64)
    real = tf.cast(sizes, tf.float64)[..., tf.newaxis]
    ends = tf.cast(tf.range(count + 1), tf.float64) * real / count
    low, high = tf.floor(ends[..., :-1]), tf.floor(ends[..., 1:])
    drawn = low + tf.floor(unit[..., 1:] * (high - low)) + tf.floor(unit[..., :1] * real)
    order = distinct(streams.fold_in(keys, 0), count, count)
    return tf.gather(tf.cast(drawn % real, tf.int32), order, batch_dims=len(keys.shape) - 1)
