"""Sine waves of random amplitude and phase (Finn et al. 2017, section 5.1)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from maml_sweep import streams
from maml_sweep.backend import tf
from maml_sweep.checks import interval, number, positive
from maml_sweep.tasks.base import Episode, Examples, Regression, Split


class Sinusoid(Regression):
    """y = a sin(w x - p), one (a, w, p) a task; the splits differ in their keys alone.

    The waves of Meta-SGD (Li et al. 2017, section 4.1) are a sin(w x + b) with w in [0.8, 1.2] and
    b where p is. Each is one of these turned half round the origin (-x for x and -y for y), and
    the domain and the initial weights of a network are as they were after such a turn: the two
    papers' tasks are equally hard.

    Args:
      shots: support examples a task (the paper's K).
      queries: query examples a task.
      amplitude: bounds of a, uniform.
      phase: bounds of p in radians, uniform.
      domain: bounds of x, uniform.
      frequency: bounds of w, uniform; None: w is 1. The rest of a task does not hang on it.
      noise: deviation of the Gaussian noise on the support's y. Queries ask for the wave itself.

    Raises:
      InputError: a count below one, bounds that are not two increasing numbers, or noise below 0.
    """

    input_shape = (1,)
    outputs = 1

    def __init__(
        self,
        shots: int,
        queries: int,
        amplitude: Sequence[float] = (0.1, 5.0),
        phase: Sequence[float] = (0.0, 3.141592653589793),
        domain: Sequence[float] = (-5.0, 5.0),
        frequency: Sequence[float] | None = None,
        noise: float = 0.0,
    ) -> None:
        self.shots = positive("task.shots", shots)
        self.queries = positive("task.queries", queries)
        self.amplitude = interval("task.amplitude", amplitude)
        self.phase = interval("task.phase", phase)
        self.domain = interval("task.domain", domain)
        self.frequency = None if frequency is None else interval("task.frequency", frequency)
        self.noise = number("task.noise", noise, least=0)

    def episodes(self, split: Split, keys: Any, dtype: Any) -> Episode:
        """Draws (a, w, p) and shots + queries points of x for each key."""
        count = self.shots + self.queries
        # In double precision, whose rounding to `dtype` does not hang on how a sine was computed.
        unit = streams.uniform(keys, 3 + count, tf.float64)[:, :, tf.newaxis]

        def scaled(draws: Any, bounds: tuple[float, float]) -> Any:
            return bounds[0] + (bounds[1] - bounds[0]) * draws

        amplitude = scaled(unit[:, 0:1], self.amplitude)  # [lane, 1, 1]
        phase = scaled(unit[:, 1:2], self.phase)
        x = scaled(unit[:, 2:-1], self.domain)  # [lane, example, 1]
        turned = x if self.frequency is None else scaled(unit[:, -1:], self.frequency) * x
        y = amplitude * tf.sin(turned - phase)
        k = self.shots
        observed = y[:, :k]
        if self.noise:
            errors = streams.normal(streams.fold_in(keys, 0), k, tf.float64)
            observed += self.noise * errors[:, :, tf.newaxis]
        x, y, observed = (tf.cast(some, dtype) for some in (x, y, observed))
        return Episode(Examples(x[:, :k], observed), Examples(x[:, k:], y[:, k:]))
