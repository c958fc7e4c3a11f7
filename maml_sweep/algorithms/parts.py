"""Which part of a model the inner loop moves: all of it, its head, or its body."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

from maml_sweep.algorithms.base import Inner
from maml_sweep.algorithms.problem import Params, Problem
from maml_sweep.models.lanes import dense


class Part(ABC):
    """A part of the model that adapts while the rest stays as it is."""

    @abstractmethod
    def start(self, problem: Problem, params: Params, support: Any) -> Inner:
        """A lane before its first step: `fast` is the part's parameters, each [lane, *shape]."""

    @abstractmethod
    def loss(self, problem: Problem, inner: Inner, fast: Params) -> Any:
        """The support loss with the part at `fast`: float [lane]."""

    @abstractmethod
    def weights(self, problem: Problem, inner: Inner) -> Params:
        """The whole model's parameters."""


class Whole(Part):
    """Every parameter adapts (MAML)."""

    def start(self, problem: Problem, params: Params, support: Any) -> Inner:
        """See `Part.start`."""
        return Inner(params, support)

    def loss(self, problem: Problem, inner: Inner, fast: Params) -> Any:
        """See `Part.loss`."""
        return problem.support_loss(fast, inner.support)

    def weights(self, problem: Problem, inner: Inner) -> Params:
        """See `Part.weights`."""
        fast: Params = inner.fast
        return fast


class Head(Part):
    """Only the last layer adapts (ANIL, Raghu et al. 2020): the support's features stay.

    So the body is run once an episode, however many steps there are.
    """

    def start(self, problem: Problem, params: Params, support: Any) -> Inner:
        """See `Part.start`; the context is the body and the support's features."""
        depth = len(problem.model.body)
        features, _ = problem.model.features(params[:depth], support.x)
        return Inner(params[depth:], support, (params[:depth], features))

    def loss(self, problem: Problem, inner: Inner, fast: Params) -> Any:
        """See `Part.loss`."""
        _, features = inner.context
        return problem.loss(dense(features, *fast), inner.support.y)

    def weights(self, problem: Problem, inner: Inner) -> Params:
        """See `Part.weights`."""
        return [*inner.context[0], *inner.fast]


class Body(Part):
    """All layers but the last adapt (BOIL, Oh et al. 2021)."""

    def start(self, problem: Problem, params: Params, support: Any) -> Inner:
        """See `Part.start`; the context is the head."""
        depth = len(problem.model.body)
        return Inner(params[:depth], support, params[depth:])

    def loss(self, problem: Problem, inner: Inner, fast: Params) -> Any:
        """See `Part.loss`."""
        return problem.support_loss([*fast, *inner.context], inner.support)

    def weights(self, problem: Problem, inner: Inner) -> Params:
        """See `Part.weights`."""
        return [*inner.fast, *inner.context]


PARTS: dict[str, type[Part]] = {"all": Whole, "head": Head, "body": Body}
