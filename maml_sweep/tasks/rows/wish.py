"""What a task is to be made of, what a split gets of a table, and what is said of too little."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from maml_sweep.tasks.base import Split
from maml_sweep.tasks.reading.sheets import Sheet
from maml_sweep.tasks.rows.problems import Source

NAMED = 3  # groups or columns that a message names

Rows = NDArray[np.int_]

log = logging.getLogger(__name__)


class Wish(NamedTuple):
    """What a task is to be made of.

    Attributes:
      ways: classes a task; 0 in a regression.
      rows: of each class, or of the one table or group.
      columns: that a task sees; None: `some`, or as many as there are.
      some: a number for want of one; None: all.
      shares: of the splits.
      levels: of a column of words that get a column of their own.
    """

    ways: int
    rows: int
    columns: int | None
    some: int | None
    shares: tuple[float, ...]
    levels: int

    def size(self, width: int) -> int:
        """How many of `width` columns a task sees."""
        if self.columns is not None:
            return self.columns
        return width if self.some is None else min(width, self.some)

    @property
    def needs(self) -> str:
        """For messages."""
        return f"{self.rows} rows{' of each class' if self.ways else ''}"


class Share(NamedTuple):
    """What one split gets of one table."""

    sources: list[Source]
    names: list[str]  # of what no other split has


Shares = Mapping[Split, Share]


def tell(sheet: Sheet, what: str, left: Sequence[str], needs: str) -> None:
    """Logs what was left out for want of rows."""
    if left:
        log.warning(
            "%s: %d %s have fewer than %s and are left out (%s)",
            sheet.name,
            len(left),
            what,
            needs,
            few(left),
        )


def few(names: Sequence[str]) -> str:
    """The first of some names."""
    return ", ".join([*names[:NAMED], *(["…"] if len(names) > NAMED else [])])


def too_small(sheet: Sheet, wish: Wish, kept: int, there: int) -> str:
    """Fewer than needed have rows enough."""
    if sheet.groups is not None:
        return (
            f"task.shots and task.queries: only {kept} of the {there} groups of {sheet.name} have "
            f"{wish.needs}, and three are needed; choose fewer shots or queries"
        )
    if not wish.ways:
        return (
            f"task.shots and task.queries: {sheet.name} has fewer than {wish.rows} different rows "
            "in one of the splits; choose fewer, or other task.shares"
        )
    return (
        f"task.ways={wish.ways}: only {kept} of the {there} classes of {sheet.name} have "
        f"{wish.rows} rows (task.shots and task.queries together) in every split; choose fewer"
    )
