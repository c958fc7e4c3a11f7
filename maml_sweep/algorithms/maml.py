"""MAML: descend the query loss through the inner gradient steps (Finn et al. 2017)."""

from __future__ import annotations

from typing import Any

from maml_sweep.algorithms.base import Algorithm, Knobs, Learner, Params, clip_scale, per_lane
from maml_sweep.backend import tf
from maml_sweep.checks import number, positive


class MAML(Algorithm):
    """Model-agnostic meta-learning, algorithm 1 of arXiv 1703.03400.

    Losses are means over examples and tasks: the paper's sum over tasks is ours with the meta
    rate times the number of tasks.

    Args:
      inner_lr: the step length α, at least zero.
      inner_steps: gradient steps on the support set.
      first_order: take the inner gradient as a constant (FOMAML, section 5.2): the meta-gradient
        is then the plain query gradient at the adapted weights.
      inner_clip: bound of each lane's inner gradient norm; None: no bound.

    Raises:
      InputError: a value out of range.
    """

    def __init__(
        self,
        inner_lr: float,
        inner_steps: int,
        first_order: bool = False,
        inner_clip: float | None = None,
    ) -> None:
        self.inner_lr = number("algorithm.inner_lr", inner_lr, least=0.0)
        self.inner_steps = positive("algorithm.inner_steps", inner_steps)
        self.first_order = first_order
        self.inner_clip = inner_clip
        if inner_clip is not None:
            number("algorithm.inner_clip", inner_clip, above=0.0)

    def step(self, learner: Learner, params: Params, episode: object, knobs: Knobs) -> Params:
        """φ - α ∇L(φ), the gradient clipped where the trial says so."""
        with tf.GradientTape() as tape:
            tape.watch(params)
            # Lanes share nothing, so the gradient of the sum is every lane's own. Minus the rate
            # inside the loss makes that gradient the step itself: two passes over the parameters
            # less here, and four less on the way back.
            losses = learner.support_loss(params, episode)
            descent = -tf.reduce_sum(knobs.inner_lr * losses)
        steps = tape.gradient(descent, params)
        if self.first_order:
            steps = [tf.stop_gradient(step) for step in steps]
        if self.inner_clip is not None:
            steps = _clipped(steps, knobs.inner_lr * knobs.inner_clip)
        return [value + step for value, step in zip(params, steps, strict=True)]


def _clipped(steps: Params, limit: Any) -> Params:
    """Shortens each lane's step to a norm of at most `limit` [lane]."""
    squares = [tf.reduce_sum(tf.square(s), axis=list(range(1, len(s.shape)))) for s in steps]
    scale = clip_scale(tf.add_n(squares), limit)
    return [step * per_lane(scale, step) for step in steps]
