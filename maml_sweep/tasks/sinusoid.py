"""Sine waves of random amplitude and phase (Finn et al. 2017, section 5.1)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from maml_sweep import streams
from maml_sweep.backend import tf
from maml_sweep.checks import interval, positive
from maml_sweep.tasks.base import Episode, Examples, Regression, Split


class Sinusoid(Regression):
    """y = a sin(x - p), one (a, p) a task; the splits differ in their keys alone.

    Args:
      shots: support examples a task (the paper's K).
      queries: query examples a task.
      amplitude: bounds of a, uniform.
      phase: bounds of p in radians, uniform.
      domain: bounds of x, uniform.

    Raises:
      InputError: a count below one, or bounds that are not two increasing numbers.
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
    ) -> None:
        self.shots = positive("task.shots", shots)
        self.queries = positive("task.queries", queries)
        self.amplitude = interval("task.amplitude", amplitude)
        self.phase = interval("task.phase", phase)
        self.domain = interval("task.domain", domain)

    def episodes(self, split: Split, keys: Any, dtype: Any) -> Episode:
        """Draws (a, p) and shots + queries points of x for each key."""
        count = self.shots + self.queries
        # In double precision, whose rounding to `dtype` does not hang on how a sine was computed.
        unit = streams.uniform(keys, 2 + count, tf.float64)[:, :, tf.newaxis]

        def scaled(draws: Any, bounds: tuple[float, float]) -> Any:
            return bounds[0] + (bounds[1] - bounds[0]) * draws

        amplitude = scaled(unit[:, 0:1], self.amplitude)  # [lane, 1, 1]
        phase = scaled(unit[:, 1:2], self.phase)
        x = scaled(unit[:, 2:], self.domain)  # [lane, example, 1]
        x, y = tf.cast(x, dtype), tf.cast(amplitude * tf.sin(x - phase), dtype)
        k = self.shots
        return Episode(Examples(x[:, :k], y[:, :k]), Examples(x[:, k:], y[:, k:]))
