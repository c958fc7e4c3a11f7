"""Checks of single settings, each with the one line a user needs."""

from __future__ import annotations

import math
from collections.abc import Sequence

from maml_sweep.errors import InputError


def positive(setting: str, value: int) -> int:
    """Returns `value` if it is an integer of at least one."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise InputError(f"{setting}={value}: expected an integer of at least 1")
    return value


def not_negative(setting: str, value: int) -> int:
    """Returns `value` if it is an integer of at least zero."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise InputError(f"{setting}={value}: expected an integer of at least 0")
    return value


def interval(setting: str, bounds: Sequence[float]) -> tuple[float, float]:
    """Returns `bounds` as (low, high) if they are two finite numbers with low < high."""
    pair = tuple(bounds)
    if len(pair) != 2 or not all(math.isfinite(bound) for bound in pair) or pair[0] >= pair[1]:
        raise InputError(f"{setting}={list(bounds)}: expected [low, high] with low < high")
    return float(pair[0]), float(pair[1])


def number(
    setting: str, value: float, *, above: float | None = None, least: float | None = None
) -> float:
    """Returns `value` if it is finite and above / at least the bound given."""
    wanted = f"above {above:g}" if above is not None else f"of at least {least:g}"
    fits = isinstance(value, int | float) and math.isfinite(value)
    if fits and above is not None:
        fits = value > above
    if fits and least is not None:
        fits = value >= least
    if not fits:
        raise InputError(f"{setting}={value}: expected a finite number {wanted}")
    return float(value)


def one_of(setting: str, value: str, options: Sequence[str]) -> str:
    """Returns `value` if it is one of `options`."""
    if value not in options:
        raise InputError(f"{setting}={value}: expected one of {', '.join(options)}")
    return value
