"""The searched settings as frames: the space, each trial's values, where they lie in it."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import pandas as pd
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from maml_sweep.analysis.columns import TABLES, typed
from maml_sweep.analysis.merging import Slot
from maml_sweep.search.grammar import text
from maml_sweep.search.space import Branch, Space

Numeric = FloatDistribution | IntDistribution

ALPHA, STEPS, BETA = "algorithm.inner_lr", "algorithm.inner_steps", "optimizer.meta_lr"


def word(value: Any) -> str:
    """A value as people write it: an override's text, without quotes around a word."""
    return value if isinstance(value, str) else text(value)


def column(key: str) -> str:
    """The column of the frame `trials` for a key: itself, unless the frame has such a column."""
    return f"{key}_" if key in TABLES["trials"] else key


def keys(space: Space) -> list[str]:
    """The swept groups, then every searched key, once each."""
    searched = (key for branch in space.branches for key in branch.distributions)
    return list(dict.fromkeys([*space.groups, *searched]))


def labels(keys: Iterable[str]) -> dict[str, str]:
    """Key -> its last part, or all of it where that is not unique."""
    last = {key: key.rpartition(".")[2] for key in keys}
    count = Counter(last.values())
    return {key: part if count[part] == 1 else key for key, part in last.items()}


def space_frame(space: Space) -> pd.DataFrame:
    """A row a swept group, then one a branch and key."""
    rows: list[tuple[Any, ...]] = [
        ("", group, "categorical", math.nan, math.nan, False, math.nan, " | ".join(options))
        for group, options in space.groups.items()
    ]
    for branch in space.branches:
        for key, distribution in branch.distributions.items():
            rows.append((branch.name, key, *_described(branch, key, distribution)))
    return typed("space", rows)


def _described(branch: Branch, key: str, distribution: BaseDistribution) -> tuple[Any, ...]:
    if isinstance(distribution, Numeric):
        kind = "float" if isinstance(distribution, FloatDistribution) else "int"
        step = math.nan if distribution.step is None else distribution.step
        return kind, distribution.low, distribution.high, distribution.log, step, ""
    choices = " | ".join(_choices(branch, key))
    return "categorical", math.nan, math.nan, False, math.nan, choices


def _choices(branch: Branch, key: str) -> list[str]:
    """The choices of a categorical key as words; of a numeric one none are listed."""
    distribution = branch.distributions[key]
    if not isinstance(distribution, CategoricalDistribution):
        return []
    return [word(branch.value(key, choice)) for choice in distribution.choices]


def parameter_columns(slots: Sequence[Slot], space: Space) -> dict[str, pd.Series[Any]]:
    """A column of the frame `trials` for every group and key.

    float64, or Int64 where only integers are searched, or categories in the order of the choices.
    """
    return {column(key): _column(key, slots, space) for key in keys(space)}


def _column(key: str, slots: Sequence[Slot], space: Space) -> pd.Series[Any]:
    found = [branch for branch in space.branches if key in branch.distributions]
    kinds = [branch.distributions[key] for branch in found]
    if key in space.groups or any(isinstance(kind, CategoricalDistribution) for kind in kinds):
        words = [word(slot.values[key]) if key in slot.values else None for slot in slots]
        known = [each for branch in found for each in _choices(branch, key)]
        seen = [each for each in words if each is not None]
        choices = dict.fromkeys([*space.groups.get(key, ()), *known, *seen])
        return pd.Series(words, dtype=pd.CategoricalDtype(list(choices)))
    whole = all(isinstance(kind, IntDistribution) for kind in kinds)
    values = [slot.values.get(key) for slot in slots]
    return pd.Series(values, dtype="Int64" if whole else "float64")


def parameter_frame(slots: Sequence[Slot], space: Space) -> pd.DataFrame:
    """A row a slot and parameter that it drew."""
    return typed("parameters", [row for slot in slots for row in _drawn(slot, space)])


def _drawn(slot: Slot, space: Space) -> Iterator[tuple[Any, ...]]:
    for key, value in slot.values.items():
        if key in space.groups:
            rank = _rank(word(value), space.groups[key])
            yield slot.slot, key, word(value), math.nan, rank
        elif slot.branch is not None and key in slot.branch.distributions:
            yield slot.slot, key, word(value), *_placed(slot.branch, key, value)


def _placed(branch: Branch, key: str, value: Any) -> tuple[float, float]:
    """A value as a number, and its place within its range."""
    distribution = branch.distributions[key]
    if isinstance(distribution, Numeric):
        return float(value), unit(float(value), distribution)
    return math.nan, _rank(word(value), _choices(branch, key))


def unit(value: float, distribution: Numeric) -> float:
    """Where a number lies in its range, on its scale: 0 … 1; the middle of an empty one."""
    low, high = float(distribution.low), float(distribution.high)
    if low == high:
        return 0.5
    if distribution.log:
        value, low, high = math.log(value), math.log(low), math.log(high)
    return min(max((value - low) / (high - low), 0.0), 1.0)


def _rank(choice: str, choices: Sequence[str]) -> float:
    """Where a choice lies among the others, 0 … 1."""
    if len(choices) < 2 or choice not in choices:
        return 0.5
    return choices.index(choice) / (len(choices) - 1)
