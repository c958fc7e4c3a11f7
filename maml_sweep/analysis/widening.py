"""A range that reaches further on one side, as a sweep expression of Hydra's."""

from __future__ import annotations

import math
from decimal import Decimal

from optuna.distributions import FloatDistribution, IntDistribution

Numeric = FloatDistribution | IntDistribution

_SHARE = 0.75  # of its width, by which a linear range grows
_FRACTIONS = {"beta1", "beta2", "dropout", "momentum"}  # settings that end before 1


def widened(key: str, distribution: Numeric, side: str) -> str:
    """The expression; empty if there is nothing beyond that bound.

    A linear range grows by three quarters of its width, a logarithmic one by a quarter of its
    decades and threefold at least (integers: twofold). What is positive stays so: a batch or a
    number of steps begins at 1. Where a range begins at 0 nothing lies below, and momenta and the
    like end before 1.

    Args:
      key: the configuration's, which tells momenta from rates.
      distribution: the range so far.
      side: "low" or "high".
    """
    if isinstance(distribution, IntDistribution) and distribution.log:
        return _log_integers(distribution, side)
    if distribution.step is not None:
        return _stepped(distribution, side)
    return _continuous(key, distribution, side)


def _log_integers(old: IntDistribution, side: str) -> str:
    low, high = old.low, old.high
    if side == "high":
        high *= 2
    else:
        low = max(1, low // 2)
    if (low, high) == (old.low, old.high):
        return ""
    return f"tag(log, int(interval({low}, {high})))"


def _stepped(old: Numeric, side: str) -> str:
    """Decimals, as 0.1 + 0.2 would not be 0.3; the stop of a range is excluded."""
    low, high, step = (Decimal(str(each)) for each in (old.low, old.high, old.step))
    more = max(1, math.ceil(Decimal(_SHARE) * (high - low) / step))
    if side == "high":
        high += more * step
    elif low == 0:
        return ""
    else:
        room = math.ceil(low / step) - 1 if low > 0 else more
        low -= min(more, room) * step
    if low == Decimal(str(old.low)) and side == "low":
        return ""
    tail = "" if isinstance(old, IntDistribution) and step == 1 else f", {step}"
    return f"range({low}, {high + step}{tail})"


def _continuous(key: str, old: Numeric, side: str) -> str:
    low, high = float(old.low), float(old.high)
    if side == "low" and low == 0:
        return ""
    if side == "high" and key.rpartition(".")[2] in _FRACTIONS and high <= 1:
        high = _digits(1 - (1 - high) / 3, 4)
        if not old.high < high < 1:
            return ""
    elif old.log:
        factor = max(3.0, (high / low) ** 0.25)
        low, high = (_handy(low / factor), high) if side == "low" else (low, _handy(high * factor))
    elif side == "high":
        high = _digits(high + _SHARE * (high - low), 2)
    else:
        low = _handy(low / 3) if low > 0 else _digits(low - _SHARE * (high - low), 2)
    inner = f"interval({low}, {high})"
    return f"tag(log, {inner})" if old.log else inner


def _digits(value: float, digits: int) -> float:
    return float(f"{value:.{digits}g}")


def _handy(value: float) -> float:
    """The nearest of 1, 2, 3 and 5 times a power of ten, in proportion."""
    tens = 10.0 ** math.floor(math.log10(value))
    near = min((1, 2, 3, 5, 10), key=lambda each: abs(math.log(each * tens / value)))
    return _digits(near * tens, 1)
