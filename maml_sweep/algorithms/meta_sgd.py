"""Meta-SGD: a learnt rate for every single parameter (Li et al. 2017)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from maml_sweep.algorithms.base import Algorithm, Inner, Knobs
from maml_sweep.algorithms.descent import added, descent, stopped
from maml_sweep.algorithms.problem import Params, Problem
from maml_sweep.backend import tf
from maml_sweep.checks import number, positive
from maml_sweep.models.base import Parameter


class MetaSGD(Algorithm):
    """Algorithm 1 of arXiv 1707.09835: φ ← φ - rate ∘ ∇L(φ), initial weights and rates learnt.

    A rate may change its sign while it is learnt, as in the paper. Two departures: the paper
    starts the rates at a value drawn from [0.005, 0.1], here all start at `inner_lr`, so that it
    can be searched; and the paper takes one step, here every step goes by the same rates.

    Args:
      inner_lr: what every rate starts from, at least zero.
      inner_steps: gradient steps on the support set.
      first_order: take the inner gradient as a constant; the rates are learnt all the same.
      learn_rates: whether the outer loop learns the rates; if not, they stay at `inner_lr`, and
        this is MAML.

    Raises:
      InputError: a value out of range.
    """

    def __init__(
        self,
        inner_lr: float,
        inner_steps: int,
        first_order: bool = False,
        learn_rates: bool = True,
    ) -> None:
        self.inner_steps = positive("algorithm.inner_steps", inner_steps)
        self.first_order = first_order
        self.learn_rates = learn_rates
        self.knobs = {"inner_lr": number("algorithm.inner_lr", inner_lr, least=0.0)}

    def parameters(self, problem: Problem, bound: int) -> Sequence[Parameter]:
        """The model's, then a rate for each of their entries."""
        model = problem.model.parameters
        rates = [Parameter(f"rate/{p.name}", p.shape, role="rate", knob="inner_lr") for p in model]
        return [*model, *rates]

    def start(
        self, problem: Problem, meta: Params, support: Any, knobs: Knobs, *, training: bool
    ) -> Inner:
        """See `Algorithm.start`; the context is the rates."""
        count = len(meta) // 2
        rates = meta[count:] if self.learn_rates else stopped(meta[count:])
        return Inner(meta[:count], support, rates)

    def step(self, problem: Problem, inner: Inner, knobs: Knobs, index: Any) -> Params:
        """φ - rate ∘ ∇L(φ) where a lane takes the step."""
        going = tf.cast(knobs.going(index), inner.fast[0].dtype)
        steps = descent(lambda fast: problem.support_loss(fast, inner.support), inner.fast, going)
        if self.first_order:
            steps = stopped(steps)
        return added(inner.fast, [r * s for r, s in zip(inner.context, steps, strict=True)])

    def weights(self, problem: Problem, inner: Inner, knobs: Knobs) -> Params:
        """See `Algorithm.weights`."""
        fast: Params = inner.fast
        return fast
