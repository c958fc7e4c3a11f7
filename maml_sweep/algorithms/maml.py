"""MAML: descend the query loss through the inner gradient steps (Finn et al. 2017)."""

from __future__ import annotations

import math
from typing import Any

from maml_sweep.algorithms.base import Algorithm, Inner, Knobs
from maml_sweep.algorithms.descent import added, clipped, descent, stopped
from maml_sweep.algorithms.parts import PARTS
from maml_sweep.algorithms.problem import Params, Problem
from maml_sweep.checks import number, one_of, positive
from maml_sweep.errors import InputError


class MAML(Algorithm):
    """Model-agnostic meta-learning, algorithm 1 of arXiv 1703.03400, and its nearest relatives.

    Losses are means over examples and tasks: the paper's sum over tasks is ours with the meta
    rate times the number of tasks.

    Args:
      inner_lr: the step length α, at least zero.
      inner_steps: gradient steps on the support set.
      first_order: take the inner gradient as a constant (FOMAML, section 5.2): the meta-gradient
        is then the plain query gradient at the adapted weights.
      inner_clip: bound of each lane's inner gradient norm; None: no bound.
      adapts: which part of the model the steps move: "all", "head" (ANIL, Raghu et al. 2020,
        arXiv 1909.09157) or "body" (BOIL, Oh et al. 2021, arXiv 2008.08882).

    Raises:
      InputError: a value out of range.
    """

    def __init__(
        self,
        inner_lr: float,
        inner_steps: int,
        first_order: bool = False,
        inner_clip: float | None = None,
        adapts: str = "all",
    ) -> None:
        self.inner_steps = positive("algorithm.inner_steps", inner_steps)
        self.first_order = first_order
        self.clips = inner_clip is not None
        clip = math.inf if inner_clip is None else inner_clip
        if self.clips:
            number("algorithm.inner_clip", clip, above=0.0)
        rate = number("algorithm.inner_lr", inner_lr, least=0.0)
        self.knobs = {"inner_lr": rate, "inner_clip": clip}
        self.adapts = one_of("algorithm.adapts", adapts, tuple(PARTS))
        self._part = PARTS[adapts]()

    def check(self, problem: Problem) -> None:
        """Refuses a body that has nothing to adapt, besides what `Algorithm.check` does."""
        super().check(problem)
        if self.adapts == "body" and problem.model.known and not problem.model.body:
            raise InputError(
                "algorithm.adapts=body: the model has a head alone, so nothing would adapt; "
                "choose algorithm.adapts=all or a model with hidden layers"
            )

    def start(
        self, problem: Problem, meta: Params, support: Any, knobs: Knobs, *, training: bool
    ) -> Inner:
        """See `Algorithm.start`: the meta-parameters are the initial weights."""
        return self._part.start(problem, meta, support)

    def step(self, problem: Problem, inner: Inner, knobs: Knobs, index: Any) -> Params:
        """φ - α ∇L(φ), the gradient clipped where the trial says so."""
        rate = knobs.rate(index)
        steps = descent(lambda fast: self._part.loss(problem, inner, fast), inner.fast, rate)
        if self.first_order:
            steps = stopped(steps)
        if self.clips:
            steps = clipped(steps, rate * knobs.values["inner_clip"])
        return added(inner.fast, steps)

    def weights(self, problem: Problem, inner: Inner, knobs: Knobs) -> Params:
        """See `Algorithm.weights`."""
        return self._part.weights(problem, inner)
