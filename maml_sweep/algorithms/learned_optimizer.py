"""An optimizer that is learnt: an LSTM writes the updates (Andrychowicz et al. 2016)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from maml_sweep.algorithms.base import Algorithm, Inner, Knobs
from maml_sweep.algorithms.lstm import LSTM
from maml_sweep.algorithms.problem import Params, Problem
from maml_sweep.algorithms.truncated import Fast, TruncatedRun, shaped, slope_of
from maml_sweep.backend import tf
from maml_sweep.checks import number, one_of, positive
from maml_sweep.models.base import Parameter


class LearnedOptimizer(Algorithm):
    """Learning to learn by gradient descent by gradient descent, arXiv 1606.04474.

    A two-layer LSTM reads the gradient of each of the model's parameters and writes what is added
    to it; every coordinate has a state of its own, all share the weights, which are what the outer
    loop learns (section 2.1). The model itself starts at random in every task.

    The meta-loss is equation 3 with all weights 1, as a mean over the steps: of the loss *after*
    each step. (The authors' code also adds the loss before the first, which no weight of the LSTM
    moves.) Gradients that the LSTM reads count as constants (figure 2, the dashed edges).
    Back-propagation is truncated (section 3): no gradient flows from one segment of `unroll` steps
    to an earlier one. The paper updates the LSTM after every segment; here the segments of a whole
    run are added up into one update.

    Training keeps the states of one segment and works the rest out again: 4 * hidden + 2 numbers a
    lane, coordinate and step, in float32 12 MB a lane for the sinusoid's 1,761 parameters. Time
    grows with the coordinates as well, by some 50 * hidden² multiplications each a step: models of
    more than a few thousand parameters are too much for a CPU.

    Args:
      inner_lr: the factor on what the LSTM puts out, at least zero.
      inner_steps: steps of a training run.
      unroll: steps of a segment; a last one may be shorter.
      hidden: units of each layer.
      preprocess: p of appendix A: gradients below e^-p in size enter in proportion, larger ones as
        their logarithm and sign. None: all enter as they are (section 3.1).
      outer: whose loss the meta-loss is: "support", what the model itself is trained on, as in the
        paper; or "query", so that the optimizer learns to generalise from few examples. The LSTM
        reads gradients on the support set either way.

    Raises:
      InputError: a value out of range.
    """

    def __init__(
        self,
        inner_lr: float = 0.1,
        inner_steps: int = 100,
        unroll: int = 20,
        hidden: int = 20,
        preprocess: float | None = 10.0,
        outer: str = "support",
    ) -> None:
        self.inner_steps = positive("algorithm.inner_steps", inner_steps)
        self.unroll = positive("algorithm.unroll", unroll)
        self.outer = one_of("algorithm.outer", outer, ("support", "query"))
        self.preprocesses = preprocess is not None
        power = math.inf if preprocess is None else preprocess
        if self.preprocesses:
            number("algorithm.preprocess", power, above=0.0)
        rate = number("algorithm.inner_lr", inner_lr, least=0.0)
        self.knobs = {"inner_lr": rate, "preprocess": power}
        hidden = positive("algorithm.hidden", hidden)
        self._network = LSTM(2 if self.preprocesses else 1, hidden)

    def parameters(self, problem: Problem, bound: int) -> Sequence[Parameter]:
        """The LSTM's alone: the model's own are drawn anew in every task."""
        return self._network.parameters

    def start(
        self, problem: Problem, meta: Params, support: Any, knobs: Knobs, *, training: bool
    ) -> Inner:
        """See `Algorithm.start`; the context is the LSTM's weights."""
        dtype = meta[0].dtype
        drawn = problem.model.init(knobs.key, dtype)
        sizes = [math.prod(parameter.shape) for parameter in problem.model.parameters]
        flat = [tf.reshape(value, [-1, size]) for value, size in zip(drawn, sizes, strict=True)]
        row = tf.concat(flat, axis=1)
        state = tf.zeros([tf.shape(row)[0], sum(sizes), self._network.width], dtype)
        return Inner(Fast(row, state), support, meta)

    def step(self, problem: Problem, inner: Inner, knobs: Knobs, index: Any) -> Fast:
        """θ + α m, where m is what the LSTM makes of ∇f(θ)."""
        row, state = inner.fast
        _, slope = slope_of(problem, row, inner.support)
        move, state = self.move(inner.context, slope, state, knobs, index)
        return Fast(row + move, state)

    def weights(self, problem: Problem, inner: Inner, knobs: Knobs) -> Params:
        """See `Algorithm.weights`."""
        return shaped(problem, inner.fast.row)

    def outer_loss(
        self, problem: Problem, meta: Params, episode: Any, knobs: Knobs, live: Sequence[Any]
    ) -> Any:
        """The mean loss after 1, 2, … steps: float [lane]."""
        one = tf.ones_like(knobs.progress)
        return self.gradient(problem, meta, episode, knobs, live, one)[1]

    def gradient(
        self,
        problem: Problem,
        meta: Params,
        episode: Any,
        knobs: Knobs,
        live: Sequence[Any],
        weight: Any,
    ) -> tuple[Params, Any]:
        """See `Algorithm.gradient`: the segments' own gradients and losses, added up."""
        start = self.start(problem, meta, episode.support, knobs, training=True)
        query = None if self.outer == "support" else episode.query
        share = weight / tf.cast(knobs.steps, weight.dtype)
        span = min(self.unroll, len(live))
        return TruncatedRun(problem, start, query, knobs, share, self.move, span).gradient()

    def move(
        self, weights: Params, slope: Any, state: Any, knobs: Knobs, index: Any
    ) -> tuple[Any, Any]:
        """What is added to each coordinate [lane, coordinate], and the LSTM's new state."""
        if self.preprocesses:
            inputs = preprocessed(slope, knobs.values["preprocess"][:, tf.newaxis])
        else:
            inputs = slope[:, :, tf.newaxis]
        output, state = self._network(weights, inputs, state)
        return knobs.rate(index)[:, tf.newaxis] * output[:, :, 0], state


def preprocessed(slope: Any, power: Any) -> Any:
    """Appendix A: a gradient as (log|g| / p, sign g), or as (-1, e^p g) where |g| < e^-p.

    Args:
      slope: float [lane, coordinate].
      power: p, float [lane, 1].

    Returns:
      [lane, coordinate, 2].
    """
    least = tf.maximum(tf.exp(-power), np.finfo(slope.dtype.as_numpy_dtype).tiny)
    size = tf.math.log(tf.maximum(tf.abs(slope), least)) / power
    return tf.stack([size, tf.clip_by_value(slope / least, -1.0, 1.0)], axis=-1)
