"""Hydra's sweep grammar, read as Optuna distributions, and values written back as overrides.

interval → Float, or Int where the schema says int or the interval was cast by `int(…)`; range →
Int or Float with its step, stop excluded; choice → Categorical, or Int and Float when its numbers
are evenly spaced; `tag(log, …)` → a logarithmic scale.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from decimal import Decimal
from itertools import pairwise
from typing import Any

from hydra.core.override_parser.types import (
    ChoiceSweep,
    IntervalSweep,
    Override,
    Quote,
    QuotedString,
    RangeSweep,
    Sweep,
)
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from maml_sweep.errors import InputError

_PLAIN = re.compile(r"[A-Za-z_][\w./-]*")
_WORDS = {"null", "true", "false", "nan", "inf"}  # what the grammar reads as something else
KIND_NAMES = {int: "an integer", float: "a number", bool: "true or false", str: "a word"}


def text(value: Any) -> str:
    """Writes a value so that Hydra's grammar reads it back as the same value."""
    if isinstance(value, str):
        plain = _PLAIN.fullmatch(value) and value.lower() not in _WORDS
        return value if plain else str(QuotedString(value, Quote.single).with_quotes())
    if isinstance(value, Sequence):
        return "[" + ",".join(map(text, value)) + "]"
    if isinstance(value, dict):
        return "{" + ",".join(f"{text(key)}:{text(item)}" for key, item in value.items()) + "}"
    return (
        "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
    )


def distribution(override: Override, kind: type | None) -> BaseDistribution:
    """The distribution that a sweep, or a fixed value, over one key stands for.

    Lists and dictionaries among the choices are kept as JSON text, since a storage holds none.

    Args:
      override: of a key that is no config group.
      kind: the type that the schema gives to the key; None where it leaves it open.

    Raises:
      InputError: an empty or reversed range, a wrong scale, an unknown tag, a shuffle.
    """
    key, sweep = override.key_or_group, override.value()
    if not isinstance(sweep, Sweep):
        return _categorical([sweep], kind)
    log = _log(key, sweep)
    numeric = not isinstance(sweep, ChoiceSweep)
    if numeric and kind not in {int, float, None}:
        expected = KIND_NAMES.get(kind, "a list") if kind else ""
        raise InputError(f"{_setting(override)}: expected {expected}, so list them: {key}=a,b")
    if isinstance(sweep, IntervalSweep):
        return _interval(override, sweep, kind, log)
    if isinstance(sweep, RangeSweep):
        return _range(override, sweep, kind, log)
    return _choice(override, choices(override), kind, log)


def choices(override: Override) -> list[Any]:
    """The values that a choice lists, or the one value of an override that sweeps nothing."""
    if not override.is_sweep_override():
        return [override.value()]
    return [Override._convert_value(value) for value in override.sweep_iterator()]


def _setting(override: Override) -> str:
    return f"{override.key_or_group}={override.get_value_string()}"


def _log(key: str, sweep: Sweep) -> bool:
    """Whether the sweep is tagged as logarithmic; refuses the other tags and shuffles."""
    if getattr(sweep, "shuffle", False):
        raise InputError(f"{key}: shuffle has no meaning here, the sampler decides; leave it out")
    unknown = sorted(sweep.tags - {"log"})
    if unknown:
        raise InputError(f"{key}: unknown tag {unknown[0]!r}; the only one is tag(log, …)")
    return bool(sweep.tags)


def _bounds(override: Override, low: float, high: float, log: bool) -> None:
    """Refuses an empty or reversed interval, and a logarithm from zero or below."""
    if not (math.isfinite(low) and math.isfinite(high)) or low > high:
        hint = f"; did you mean interval({high:g}, {low:g})?" if low > high else ""
        raise InputError(f"{_setting(override)}: expected finite bounds, low before high{hint}")
    if log and low <= 0:
        raise InputError(
            f"{_setting(override)}: a log scale starts above 0, got {low:g}; give a small "
            f"positive lower bound such as {high / 1000:g}"
        )


def _interval(
    override: Override, sweep: IntervalSweep, kind: type | None, log: bool
) -> BaseDistribution:
    low, high = sweep.start, sweep.end
    assert low is not None and high is not None
    _bounds(override, low, high, log)
    if low == high:
        raise InputError(f"{_setting(override)}: the interval is empty; widen it or fix the value")
    if kind is float or not (kind is int or isinstance(low, int)):
        return FloatDistribution(float(low), float(high), log=log)
    if int(low) != low or int(high) != high:
        raise InputError(f"{_setting(override)}: the setting is an integer, so are its bounds")
    return IntDistribution(int(low), int(high), log=log)


def _range(override: Override, sweep: RangeSweep, kind: type | None, log: bool) -> BaseDistribution:
    start, stop, step = (Decimal(str(x)) for x in (sweep.start, sweep.stop, sweep.step))
    count = math.ceil((stop - start) / step) if step else 0
    if count < 1:
        raise InputError(f"{_setting(override)}: the range is empty (stop is excluded)")
    low, high = sorted((start, start + (count - 1) * step))
    _bounds(override, float(low), float(high), log)
    whole = all(isinstance(x, int) for x in (sweep.start, sweep.stop, sweep.step))
    if kind is int and not whole:
        raise InputError(f"{_setting(override)}: expected integers, got a range of fractions")
    if log and not (whole and abs(step) == 1 and kind is not float):
        raise InputError(
            f"{_setting(override)}: a log scale has no step; use tag(log, interval(…))"
        )
    if whole and kind is not float:
        return IntDistribution(int(low), int(high), log=log, step=int(abs(step)))
    return FloatDistribution(float(low), float(high), step=float(abs(step)))


def _choice(
    override: Override, values: list[Any], kind: type | None, log: bool
) -> BaseDistribution:
    """Numbers evenly spaced keep their order; anything else becomes categories."""
    if kind is float:
        values = [float(value) if type(value) is int else value for value in values]
    if any(value in values[:index] for index, value in enumerate(values)):
        raise InputError(f"{_setting(override)}: a value is listed twice; list it once")
    even = _evenly_spaced(values)
    if not log:
        return even or _categorical(values, kind)
    if isinstance(even, IntDistribution) and even.step == 1:
        _bounds(override, even.low, even.high, log)
        return IntDistribution(even.low, even.high, log=True)
    raise InputError(f"{_setting(override)}: a log scale needs tag(log, interval(…)), not a list")


def _evenly_spaced(values: list[Any]) -> IntDistribution | FloatDistribution | None:
    """Two or more evenly spaced numbers as a stepped distribution that yields exactly them."""
    types = {type(value) for value in values}
    if len(values) < 2 or not types <= {int, float} or not all(map(math.isfinite, values)):
        return None
    exact = sorted(Decimal(str(value)) for value in values)
    step = exact[1] - exact[0]
    if any(after - before != step for before, after in pairwise(exact)):
        return None
    if types == {int}:
        return IntDistribution(int(exact[0]), int(exact[-1]), step=int(step))
    low, width = float(exact[0]), float(step)
    drawn = [min(index * width + low, float(exact[-1])) for index in range(len(exact))]
    if drawn != [float(value) for value in exact]:
        return None  # Optuna draws low + index * step: rounding must not change what was listed
    return FloatDistribution(low, float(exact[-1]), step=width)


def _categorical(values: list[Any], kind: type | None) -> CategoricalDistribution:
    if kind is float:
        values = [float(value) if type(value) is int else value for value in values]
    if any(isinstance(value, list | dict) for value in values):
        values = [json.dumps(value) for value in values]
    return CategoricalDistribution(values)
