"""A task of one's own: straight lines to be fitted from a few points.

A task draws one episode a key; everything else (packs, lanes, seeds, rungs) comes with the
framework. conf/task/lines.yaml names this class, conf/search/lines.yaml what to search:

    python sweep.py --config-dir examples/conf task=lines
"""

from __future__ import annotations

from typing import Any

from maml_sweep import streams
from maml_sweep.backend import tf
from maml_sweep.checks import positive
from maml_sweep.tasks import Episode, Examples, Regression, Split


class Lines(Regression):
    """y = a x + b, one (a, b) in [-1, 1)² a task; the splits differ in their keys alone.

    Args:
      shots: points to learn from.
      queries: points to be asked.
    """

    input_shape = (1,)
    outputs = 1

    def __init__(self, shots: int, queries: int) -> None:
        self.shots = positive("task.shots", shots)
        self.queries = positive("task.queries", queries)

    def episodes(self, split: Split, keys: Any, dtype: Any) -> Episode:
        """Draws a, b and the points' x for each key."""
        draws = streams.uniform(keys, 2 + self.shots + self.queries, dtype, -1.0, 1.0)
        slope, offset, x = tf.split(draws[:, :, tf.newaxis], [1, 1, -1], axis=1)
        y = slope * x + offset  # [lane, example, 1]
        k = self.shots
        return Episode(Examples(x[:, :k], y[:, :k]), Examples(x[:, k:], y[:, k:]))
