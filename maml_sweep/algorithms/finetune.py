"""Joint training and then fine-tuning: the baseline that learns to adapt from nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from maml_sweep.algorithms.base import Algorithm, Inner, Knobs
from maml_sweep.algorithms.descent import added, descent
from maml_sweep.algorithms.parts import PARTS, Part
from maml_sweep.algorithms.problem import Params, Problem, pooled
from maml_sweep.backend import tf
from maml_sweep.checks import number, one_of, positive
from maml_sweep.errors import InputError
from maml_sweep.models.base import Parameter, dense_parameters
from maml_sweep.models.lanes import dense


class FineTune(Algorithm):
    """Trains one model on all tasks at once, and adapts it by gradient steps when it is judged.

    In training nothing adapts: the loss is that of the model on the support and query examples of
    a task, together (its norms go by the statistics of both).

    Classification (Chen et al. 2019, arXiv 1904.04232, section 3.1, "Baseline"): one classifier
    tells all training classes apart, a dense head of its own on the model's body. A new task gets a
    fresh head of zeros for its ways, which takes the steps while the body stays. The authors'
    fresh head is random, and trained by SGD with momentum on mini-batches of four, a hundred times;
    ours takes plain steps on the whole support set.

    Regression, and other tasks without classes (Finn et al. 2017, section 5.1, "pretraining on all
    of the tasks"): one model for all tasks, of which everything takes the steps.

    Args:
      inner_lr: the step length α, at least zero.
      inner_steps: gradient steps on the support set when it is judged; training takes none.
      adapts: which part of the model takes them: "all" or "head"; None: the head where
        there are classes, else all.

    Raises:
      InputError: a value out of range.
    """

    def __init__(self, inner_lr: float, inner_steps: int, adapts: str | None = None) -> None:
        self.inner_steps = positive("algorithm.inner_steps", inner_steps)
        self.knobs = {"inner_lr": number("algorithm.inner_lr", inner_lr, least=0.0)}
        self.adapts = (
            None if adapts is None else one_of("algorithm.adapts", adapts, ("all", "head"))
        )

    def check(self, problem: Problem) -> None:
        """Refuses classes that are made up as they are needed: no classifier can know them all."""
        super().check(problem)
        if problem.kind == "classification" and problem.classes is None:
            raise InputError(
                "algorithm=finetune: it trains one classifier of all training classes, but the "
                "task has no fixed set of them; choose another algorithm, or a task that has "
                "(task=glyphs; a task of your own says so by `classes`)"
            )

    def parameters(self, problem: Problem, bound: int) -> Sequence[Parameter]:
        """The model's; where there are classes, a classifier of them all in its head's place."""
        if problem.classes is None:
            return problem.model.parameters
        wide = dense_parameters("classifier", problem.model.width, problem.classes)
        return [*problem.model.body, *wide]

    def start(
        self, problem: Problem, meta: Params, support: Any, knobs: Knobs, *, training: bool
    ) -> Inner:
        """See `Algorithm.start`: where there are classes, under a head of zeros."""
        params = meta
        if problem.classes is not None:
            lanes = tf.shape(meta[0])[0]
            shapes = [parameter.shape for parameter in problem.model.head]
            head = [tf.zeros([lanes, *shape], meta[0].dtype) for shape in shapes]
            params = [*meta[: len(problem.model.body)], *head]
        return self._part(problem).start(problem, params, support)

    def step(self, problem: Problem, inner: Inner, knobs: Knobs, index: Any) -> Params:
        """φ - α ∇L(φ)."""
        part, rate = self._part(problem), knobs.rate(index)
        steps = descent(lambda fast: part.loss(problem, inner, fast), inner.fast, rate)
        return added(inner.fast, steps)

    def weights(self, problem: Problem, inner: Inner, knobs: Knobs) -> Params:
        """See `Algorithm.weights`."""
        return self._part(problem).weights(problem, inner)

    def outer_loss(
        self, problem: Problem, meta: Params, episode: Any, knobs: Knobs, live: Sequence[Any]
    ) -> Any:
        """The loss on support and query together, of the model as it is: float [lane]."""
        x, y = pooled(episode)
        if problem.classes is None:
            return problem.loss(problem.model.apply(meta, x)[0], y)
        depth = len(problem.model.body)
        features, _ = problem.model.features(meta[:depth], x)
        labels = tf.gather(episode.classes, y, batch_dims=1)
        return problem.loss(dense(features, *meta[depth:]), labels)

    def _part(self, problem: Problem) -> Part:
        """What takes the steps."""
        default = "all" if problem.classes is None else "head"
        return PARTS[self.adapts or default]()
