"""Implicit MAML: the meta-gradient from the inner problem's solution alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from maml_sweep.algorithms.base import Algorithm, Inner, Knobs
from maml_sweep.algorithms.conjugate import (
    Product,
    conjugate_gradients,
    hessian_product,
    moved,
)
from maml_sweep.algorithms.descent import added, descent, dot
from maml_sweep.algorithms.problem import Params, Problem
from maml_sweep.backend import tf
from maml_sweep.checks import number, positive


class IMAML(Algorithm):
    """Rajeswaran et al. 2019 (arXiv 1909.04630), algorithms 1 and 2.

    A lane descends L(φ) + λ/2 |φ - θ|², L its support loss (equation 3); at the minimum the
    meta-gradient is (I + H/λ)⁻¹ ∇L_query(φ), H the Hessian of L at φ (lemma 1), which a few steps
    of conjugate gradients approach by products with H (section 3.2). How φ was reached does not
    matter, so no step is stored: memory does not grow with `inner_steps`. It is only as right as φ
    is near the minimum, though: take more steps than MAML would, and keep
    inner_lr < 2 / (λ + the largest curvature).

    Away from a minimum I + H/λ need not be positive definite (with ReLU and batch norms it seldom
    is), and conjugate gradients then stop where they notice, lane by lane. So the authors' code
    (github.com/aravindr93/imaml_dev) solves with 2 I + H/(λ + 10) instead; here `damping` d makes
    it I + H/(λ + d), the first-order gradient where d is large. It also pulls towards θ once, after
    all steps; here, as in the paper, every step does.

    Args:
      inner_lr: the step length α, at least zero.
      inner_steps: gradient steps on the regularised support loss.
      regularization: the pull λ towards θ, above zero.
      cg_steps: products with the Hessian.
      damping: added to λ where the Hessian is divided by it, at least zero; the
        paper's is 0, its code's 10.

    Raises:
      InputError: a value out of range.
    """

    def __init__(
        self,
        inner_lr: float,
        inner_steps: int,
        regularization: float = 2.0,
        cg_steps: int = 5,
        damping: float = 10.0,
    ) -> None:
        self.inner_steps = positive("algorithm.inner_steps", inner_steps)
        self.cg_steps = positive("algorithm.cg_steps", cg_steps)
        self.knobs = {
            "inner_lr": number("algorithm.inner_lr", inner_lr, least=0.0),
            "regularization": number("algorithm.regularization", regularization, above=0.0),
            "damping": number("algorithm.damping", damping, least=0.0),
        }

    def start(
        self, problem: Problem, meta: Params, support: Any, knobs: Knobs, *, training: bool
    ) -> Inner:
        """See `Algorithm.start`: the context is θ, which the weights are pulled to."""
        return Inner(list(meta), support, list(meta))

    def step(self, problem: Problem, inner: Inner, knobs: Knobs, index: Any) -> Params:
        """φ - α (∇L(φ) + λ (φ - θ))."""

        def loss(fast: Params) -> Any:
            gaps = [value - centre for value, centre in zip(fast, inner.context, strict=True)]
            pull = 0.5 * knobs.values["regularization"] * dot(gaps, gaps)
            return problem.support_loss(fast, inner.support) + pull

        return added(inner.fast, descent(loss, inner.fast, knobs.rate(index)))

    def weights(self, problem: Problem, inner: Inner, knobs: Knobs) -> Params:
        """See `Algorithm.weights`."""
        fast: Params = inner.fast
        return fast

    def gradient(
        self,
        problem: Problem,
        meta: Params,
        episode: Any,
        knobs: Knobs,
        live: Sequence[Any],
        weight: Any,
    ) -> tuple[Params, Any]:
        """The implicit gradient, and the query loss at φ; see `Algorithm.gradient`."""
        inner = self.start(problem, meta, episode.support, knobs, training=True)
        inner = self.follow(problem, inner, knobs, live)
        with tf.GradientTape() as tape:
            tape.watch(inner.fast)
            loss = weight * self.query_loss(problem, inner, knobs, episode)
            total = tf.reduce_sum(loss)
        zero = tf.UnconnectedGradients.ZERO
        query = tape.gradient(total, inner.fast, unconnected_gradients=zero)
        return conjugate_gradients(_matrix(problem, inner, knobs), query, self.cg_steps), loss


def _matrix(problem: Problem, inner: Inner, knobs: Knobs) -> Product:
    """The product v -> (I + H/(λ + d)) v, H the support loss's Hessian at the adapted weights."""
    hessian = hessian_product(lambda fast: problem.support_loss(fast, inner.support), inner.fast)
    share = 1.0 / (knobs.values["regularization"] + knobs.values["damping"])
    return lambda vectors: moved(vectors, share, hessian(vectors))
