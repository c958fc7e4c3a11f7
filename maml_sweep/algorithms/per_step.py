"""What is kept for each inner step: sets of norms, rates and running averages, by lane."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from maml_sweep.algorithms.base import Knobs
from maml_sweep.algorithms.descent import pulled
from maml_sweep.algorithms.problem import Params
from maml_sweep.backend import tf
from maml_sweep.models.base import Parameter, Statistics

SHARE = 0.1  # of a running average that one forward pass replaces, as PyTorch's momentum


def stacked(parameter: Parameter, bound: int) -> Parameter:
    """The same with a set for each of `bound` steps."""
    return parameter._replace(shape=(bound, *parameter.shape), per_step=True)


def running_averages(model: Sequence[Parameter], bound: int) -> list[Parameter]:
    """A running mean and variance for every norm, which is a scale and an offset, and step."""
    scales = [parameter for parameter in model if parameter.role == "norm"][::2]
    return [
        Parameter(
            f"{scale.name.rpartition('/')[0]}/{what}",
            (bound, *scale.shape),
            mean=mean,
            role="average",
            per_step=True,
            share=SHARE,
        )
        for scale in scales
        for what, mean in (("mean", 0.0), ("variance", 1.0))
    ]


def which(knobs: Knobs, index: Any) -> Any:
    """Whose set a lane goes by at a step: its last one's where it takes no more: int32 [lane]."""
    last = tf.maximum(tf.minimum(knobs.trained, knobs.steps) - 1, 0)
    return tf.minimum(index, last)


def rows(sets: Sequence[Any], which: Any) -> list[Any]:
    """One step's set of each: [lane, bound, ...], int32 [lane] -> [lane, ...]."""
    return [tf.gather(values, which, batch_dims=1) for values in sets]


def placed(params: Params, places: Sequence[int], values: Params) -> list[Any]:
    """`params` with `values` in some places."""
    whole = list(params)
    for place, value in zip(places, values, strict=True):
        whole[place] = value
    return whole


def pairs(averages: Sequence[Any]) -> Statistics | None:
    """mean, variance, mean, … as statistics; None where there are none."""
    return list(zip(averages[::2], averages[1::2], strict=True)) or None


def pull(counts: Any, known: Sequence[Any], seen: Statistics) -> Any:
    """Moves running averages towards the statistics of a pass, in the way of `pulled`.

    Args:
      counts: of which lanes the pass counts, bool [lane].
      known: mean, variance, mean, …, each [lane, channels]; none: nothing moves.
      seen: the pass's statistics.

    Returns:
      zeros, float [lane].
    """
    if not known:
        return 0.0
    new = [value for pair in seen for value in pair]
    zeros = tf.add_n([pulled(old, value) for old, value in zip(known, new, strict=True)])
    return tf.where(counts, zeros, tf.zeros_like(zeros))
