"""Tables as a task asks for them: read, dealt, and put on the device, each once."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any, NamedTuple

from maml_sweep.errors import InputError
from maml_sweep.tasks.base import SPLITS, Split
from maml_sweep.tasks.reading import bundled, tables
from maml_sweep.tasks.reading.roots import File
from maml_sweep.tasks.reading.sheets import Sheet
from maml_sweep.tasks.resident import resident
from maml_sweep.tasks.rows.dealing import by_classes, by_values
from maml_sweep.tasks.rows.groups import by_groups
from maml_sweep.tasks.rows.problems import Source, problems
from maml_sweep.tasks.rows.wish import Share, Shares, Wish


class Origin(NamedTuple):
    """Which tables: those of scikit-learn by name, or a file."""

    sets: tuple[str, ...]
    file: File | None
    layout: tables.Layout

    def sheets(self) -> list[Sheet]:
        """Reads them."""
        if self.file is not None:
            return [tables.read(self.file, self.layout)]
        return bundled.sheets(self.sets, classes=self.layout.classes)


class Part(NamedTuple):
    """One split of all tables."""

    sources: tuple[Source, ...]
    names: tuple[str, ...]  # of what no other split has
    width: int  # of an example
    most: int  # rows of the largest pool

    @property
    def problems(self) -> int:
        """How many tasks there are, rows and signs aside."""
        return sum(len(source.choices) * len(source.columns) for source in self.sources)


@functools.cache
def dealt(origin: Origin, wish: Wish) -> dict[Split, Part]:
    """The tables dealt to the splits."""
    every = [deal(sheet, wish) for sheet in origin.sheets()]
    return {split: _joined([shares[split] for shares in every], wish) for split in SPLITS}


def deal(sheet: Sheet, wish: Wish) -> Shares:
    """Deals a table, with groups or without, of classes or of values.

    Raises:
      InputError: it is too small for such tasks.
    """
    if sheet.groups is not None:
        return by_groups(sheet, sheet.groups, wish)
    if sheet.classes is not None:
        return by_classes(sheet, sheet.classes, wish)
    return by_values(sheet, wish)


def _joined(shares: Sequence[Share], wish: Wish) -> Part:
    """Tables side by side."""
    sources = tuple(source for share in shares for source in share.sources)
    widths = {source.columns.shape[1] for source in sources}
    if len(widths) > 1:
        seen = " or ".join(str(width - (0 if wish.ways else 1)) for width in sorted(widths))
        raise InputError(
            f"task.sets: a task would see {seen} columns; set task.columns to what all tables have"
        )
    names = [name for share in shares for name in share.names]
    most = max(len(rows) for source in sources for rows in source.pools)
    return Part(sources, tuple(names), widths.pop() - (0 if wish.ways else 1), most)


@functools.cache
def on_device(origin: Origin, wish: Wish, split: Split) -> Any:
    """What a split draws from, on the device."""
    return resident(problems(dealt(origin, wish)[split].sources))
