"""MAML++: how to train your MAML (Antoniou et al. 2019), every part of it with a switch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from maml_sweep.algorithms.base import Algorithm, Inner, Knobs, per_lane
from maml_sweep.algorithms.descent import added, clipped, descent
from maml_sweep.algorithms.per_step import (
    pairs,
    placed,
    pull,
    rows,
    running_averages,
    stacked,
    which,
)
from maml_sweep.algorithms.problem import Params, Problem
from maml_sweep.backend import tf
from maml_sweep.checks import number, positive
from maml_sweep.models.base import Parameter, Statistics

FLOOR = 0.03  # times 1/steps: the least weight of an early query loss while annealing


class Fast(NamedTuple):
    """What an inner step of MAML++ changes."""

    params: Params  # the whole model's, each [lane, *shape]
    averages: Sequence[Any]  # what its norms go by, [lane, channels] each; none: their own batch
    total: Any  # float [lane], what the outer loop descends, as far as it is known


class Sets(NamedTuple):
    """What MAML++ has for each step, and what it asks after it."""

    norms: Sequence[Any]  # [lane, bound, channels] each: scale, offset of each norm; or none
    rates: Sequence[Any]  # [lane, bound] each: of each parameter that adapts; or none
    averages: Sequence[Any]  # [lane, bound, channels] each: mean, variance of each norm; or none
    query: Any = ()  # examples whose loss is taken after every step
    spared: Any = ()  # the same, left out after steps where it counts for no lane


class MAMLPlusPlus(Algorithm):
    """MAML with the improvements of arXiv 1810.09502, section 4; with all of them off it is MAML.

    A step's set of what is kept per step serves its support pass and the query pass after it;
    steps beyond those of the training go by the last one's. Taken from the authors' code where the
    paper leaves it open: norms with sets of their own do not adapt in the inner loop, and the
    weights of `multi_step_loss`, at a share t of the annealing that is over: max(1 - t, 0.03)/N
    for each of the first N - 1 steps and the rest for the last one, which is left alone at its
    end. The code moves t once an epoch, we at every iteration. Its cosine (section 4, "CA") ends
    at zero: `schedule`, unless the optimizer says otherwise.

    Args:
      inner_lr: the step length α that the rates start from, at least zero.
      inner_steps: gradient steps on the support set.
      inner_clip: bound of each lane's inner gradient norm; None: no bound.
      multi_step_loss: descend the query losses after all steps (MSL).
      multi_step_share: share of the training over which their weights go from equal to the last
        step's alone.
      step_rates: learn a rate for every step and parameter tensor (LSLR).
      step_norms: learn a scale and an offset of every norm for every step (BNWB).
      step_statistics: keep running means and variances of every norm for every step, and
        evaluate by them instead of by each batch's own (BNRS). Every forward pass moves them by a
        tenth towards the mean over tasks of what it saw. Off unless asked for: the authors' code
        collects them too but normalises by the batch even in evaluation, and so it should be where
        a batch is a task: on glyphs (5 ways, 1 shot, 16 filters, 800 iterations) running
        statistics took the accuracy from 76% down to 47%.
      second_order_from: share of the training before which the inner gradient is taken as a
        constant (derivative-order annealing); None: never.

    Raises:
      InputError: a value out of range.
    """

    schedule = "cosine"

    def __init__(
        self,
        inner_lr: float,
        inner_steps: int,
        inner_clip: float | None = None,
        multi_step_loss: bool = True,
        multi_step_share: float = 0.15,
        step_rates: bool = True,
        step_norms: bool = True,
        step_statistics: bool = False,
        second_order_from: float | None = None,
    ) -> None:
        self.inner_steps = positive("algorithm.inner_steps", inner_steps)
        self.multi_step_loss, self.step_rates = multi_step_loss, step_rates
        self.step_norms, self.step_statistics = step_norms, step_statistics
        self.clips, self.anneals = inner_clip is not None, second_order_from is not None
        share = number("algorithm.multi_step_share", multi_step_share, least=0.0)
        clip = begin = math.inf
        if inner_clip is not None:
            clip = number("algorithm.inner_clip", inner_clip, above=0.0)
        if second_order_from is not None:
            begin = number("algorithm.second_order_from", second_order_from, least=0.0)
        self.knobs = {
            "inner_lr": number("algorithm.inner_lr", inner_lr, least=0.0),
            "inner_clip": clip,
            "multi_step_share": share,
            "second_order_from": begin,
        }

    # -- what is learnt -----------------------------------------------------------------------

    def parameters(self, problem: Problem, bound: int) -> Sequence[Parameter]:
        """The model's, in sets where they are a norm's; then rates and running averages."""
        model = problem.model.parameters
        norms, moving = self._places(problem)
        own = [stacked(p, bound) if place in norms else p for place, p in enumerate(model)]
        rate = Parameter("", (bound,), role="rate", knob="inner_lr", per_step=True)
        rates = [rate._replace(name=f"rate/{model[place].name}") for place in moving]
        averages = running_averages(model, bound) if self.step_statistics else []
        return [*own, *(rates if self.step_rates else []), *averages]

    def _places(self, problem: Problem) -> tuple[list[int], list[int]]:
        """Which parameters of the model have a set a step, and which adapt."""
        roles = [parameter.role for parameter in problem.model.parameters]
        norms = [i for i, role in enumerate(roles) if self.step_norms and role == "norm"]
        return norms, [i for i in range(len(roles)) if i not in norms]

    def start(
        self, problem: Problem, meta: Params, support: Any, knobs: Knobs, *, training: bool
    ) -> Inner:
        """See `Algorithm.start`; the norms are those of the first step."""
        norms, moving = self._places(problem)
        depth = len(norms) + len(moving)
        middle = depth + (len(moving) if self.step_rates else 0)
        sets = Sets([meta[i] for i in norms], meta[depth:middle], meta[middle:])
        first = tf.zeros_like(knobs.steps)
        params = placed(meta[:depth], norms, rows(sets.norms, first))
        averages = [] if training else rows(sets.averages, first)
        return Inner(Fast(params, averages, tf.zeros_like(knobs.progress)), support, sets)

    # -- the inner loop -----------------------------------------------------------------------

    def step(self, problem: Problem, inner: Inner, knobs: Knobs, index: Any) -> Fast:
        """φ - α ∇L(φ) with this step's norms and rates; in training, what its passes add."""
        fast, sets = inner.fast, inner.context
        chosen = which(knobs, index)
        params = placed(fast.params, self._places(problem)[0], rows(sets.norms, chosen))
        known = rows(sets.averages, chosen)
        used = known if fast.averages else []
        inner = inner._replace(fast=params)
        moved, seen = self._descended(problem, inner, knobs, index, used)
        total = fast.total
        if not used:
            total += pull(knobs.going(index), known, seen)
        weight = tf.cast(knobs.going(index + 1), total.dtype) * self._early(knobs)
        if sets.query:
            total += self._asked(problem, moved, inner.support, sets.query, known, weight)
        if sets.spared:
            total += tf.cond(
                tf.reduce_any(weight > 0),
                lambda: self._asked(problem, moved, inner.support, sets.spared, known, weight),
                lambda: tf.zeros_like(weight),
            )
        return Fast(moved, used, total)

    def _descended(
        self, problem: Problem, inner: Inner, knobs: Knobs, index: Any, used: Sequence[Any]
    ) -> tuple[Params, Statistics]:
        """The parameters after a step, and the statistics of its support pass."""
        params, places = inner.fast, self._places(problem)[1]
        moving = [params[i] for i in places]
        seen: list[Any] = []

        def loss(values: Params) -> Any:
            whole = placed(params, places, values)
            outputs, found = problem.model.apply(whole, inner.support.x, pairs(used))
            seen.extend(found)
            return problem.loss(outputs, inner.support.y)

        steps = descent(loss, moving, tf.cast(knobs.going(index), moving[0].dtype))
        steps = self._sized(steps, inner.context.rates, knobs, index)
        return placed(params, places, added(moving, steps)), seen

    def _sized(
        self, steps: Params, rates: Sequence[Any], knobs: Knobs, index: Any
    ) -> Sequence[Any]:
        """Negative gradients made into steps: their order, their bound, their rates."""
        if self.anneals:
            second = knobs.progress >= knobs.values["second_order_from"]
            steps = [tf.where(per_lane(second, s), s, tf.stop_gradient(s)) for s in steps]
        if self.clips:
            steps = clipped(steps, knobs.values["inner_clip"])
        alpha = [knobs.values["inner_lr"]] * len(steps)
        chosen = rows(rates, which(knobs, index)) or alpha
        return [per_lane(rate, s) * s for rate, s in zip(chosen, steps, strict=True)]

    def weights(self, problem: Problem, inner: Inner, knobs: Knobs) -> Params:
        """See `Algorithm.weights`; the norms are those of the step taken last."""
        params: Params = inner.fast.params
        return params

    def predict(self, problem: Problem, inner: Inner, knobs: Knobs, x: Any) -> Any:
        """See `Algorithm.predict`."""
        fast = inner.fast
        return problem.outputs(fast.params, inner.support, x, pairs(fast.averages))

    # -- the outer loss -----------------------------------------------------------------------

    def outer_loss(
        self, problem: Problem, meta: Params, episode: Any, knobs: Knobs, live: Sequence[Any]
    ) -> Any:
        """The weighted query losses, float [lane]; running averages get their way through it."""
        inner = self.start(problem, meta, episode.support, knobs, training=True)
        if self.multi_step_loss:
            # A condition's gradient has open shapes, which XLA (masks: None) cannot export.
            asked = "query" if any(count is None for count in live) else "spared"
            inner = inner._replace(context=inner.context._replace(**{asked: episode.query}))
        fast = self.adapt(problem, inner, knobs, live).fast
        early = self._early(knobs)
        weight = 1 - tf.cast(knobs.steps - 1, early.dtype) * early
        known = rows(inner.context.averages, which(knobs, knobs.steps))
        return fast.total + self._asked(
            problem, fast.params, episode.support, episode.query, known, weight
        )

    def _early(self, knobs: Knobs) -> Any:
        """The weight of every query loss but the last: float [lane]."""
        if not self.multi_step_loss:
            return tf.zeros_like(knobs.progress)
        share = knobs.values["multi_step_share"]
        left = 1 - tf.math.divide_no_nan(knobs.progress, share)
        weight = tf.maximum(left, FLOOR) / tf.cast(knobs.steps, left.dtype)
        return tf.where(knobs.progress < share, weight, tf.zeros_like(weight))

    def _asked(
        self, problem: Problem, params: Params, support: Any, query: Any, known: Any, weight: Any
    ) -> Any:
        """The query loss times its weight [lane], and what its pass does to running averages."""
        outputs, seen = problem.answers(params, support, query.x)
        return weight * problem.loss(outputs, query.y) + pull(weight > 0, known, seen)
