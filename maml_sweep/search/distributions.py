"""What Optuna's distributions lack: their words, their values, what makes two of them one name."""

from __future__ import annotations

from typing import Any

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
    distribution_to_json,
)

from maml_sweep.errors import InputError


def fitting(key: str, value: Any, distribution: BaseDistribution) -> Any:
    """Returns the value as the distribution stores it, if it lies inside.

    Raises:
      InputError: it lies outside, or has the wrong type.
    """
    given = value
    if isinstance(distribution, FloatDistribution) and type(value) is int:
        value = float(value)
    fits = not (isinstance(distribution, IntDistribution) and type(value) is not int)
    try:
        fits = fits and distribution._contains(distribution.to_internal_repr(value))
    except (ValueError, TypeError):
        fits = False
    if not fits:
        raise InputError(f"{key}={given}: expected a value of {wording(distribution)}")
    return value


def wording(distribution: BaseDistribution) -> str:
    """A distribution as a user would write it."""
    if isinstance(distribution, CategoricalDistribution):
        return ", ".join(map(str, distribution.choices))
    assert isinstance(distribution, IntDistribution | FloatDistribution)
    bounds = f"{distribution.low:g} … {distribution.high:g}"
    if distribution.step not in {None, 1}:
        bounds += f" in steps of {distribution.step:g}"
    if distribution.log:
        bounds += " (log)"
    return f"integers {bounds}" if isinstance(distribution, IntDistribution) else bounds


def kind(distribution: BaseDistribution) -> str:
    """What must agree for two distributions to share a name."""
    if isinstance(distribution, CategoricalDistribution):
        return distribution_to_json(distribution)
    assert isinstance(distribution, IntDistribution | FloatDistribution)
    grid = distribution.low if distribution.step not in {None, 1} else None
    return f"{type(distribution).__name__} {distribution.log} {distribution.step} {grid}"


def suggest(trial: optuna.Trial, name: str, distribution: BaseDistribution) -> Any:
    """Draws one parameter of a trial."""
    if isinstance(distribution, CategoricalDistribution):
        return trial.suggest_categorical(name, distribution.choices)
    assert isinstance(distribution, IntDistribution | FloatDistribution)
    low, high, step, log = (getattr(distribution, x) for x in ("low", "high", "step", "log"))
    if isinstance(distribution, IntDistribution):
        return trial.suggest_int(name, low, high, step=step, log=log)
    return trial.suggest_float(name, low, high, step=step, log=log)


def every(key: str, distribution: BaseDistribution) -> list[Any]:
    """Every value of a finite distribution.

    Raises:
      InputError: it has infinitely many.
    """
    if isinstance(distribution, CategoricalDistribution):
        return list(distribution.choices)
    assert isinstance(distribution, IntDistribution | FloatDistribution)
    if distribution.step is None:
        raise InputError(
            f"{key}: a grid needs finitely many values, got {wording(distribution)}; list them, "
            f"or give range(start, stop, step), or choose another sampler"
        )
    count = round((distribution.high - distribution.low) / distribution.step) + 1
    values = (distribution.low + index * distribution.step for index in range(count))
    return [min(value, distribution.high) for value in values]


def widest(one: BaseDistribution, other: BaseDistribution) -> BaseDistribution:
    """The distribution that holds both, which share kind, scale and step."""
    if isinstance(one, IntDistribution) and isinstance(other, IntDistribution):
        low, high = min(one.low, other.low), max(one.high, other.high)
        return IntDistribution(low, high, log=one.log, step=one.step)
    if isinstance(one, FloatDistribution) and isinstance(other, FloatDistribution):
        bounds = min(one.low, other.low), max(one.high, other.high)
        return FloatDistribution(*bounds, log=one.log, step=one.step)
    return one
