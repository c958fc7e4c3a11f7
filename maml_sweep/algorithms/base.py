"""What an algorithm is: an inner step, repeated by each lane as often as its trial says.

A lane's adaptation is an `Inner`: `start` makes it out of the meta-parameters and a support set,
`step` moves its fast part, `weights` reads off the adapted model. The outer loop descends
`outer_loss`, or whatever `gradient` says in its place.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, ClassVar, NamedTuple

from maml_sweep.algorithms.problem import Params, Problem
from maml_sweep.algorithms.recompute import recomputed
from maml_sweep.backend import tf
from maml_sweep.errors import InputError
from maml_sweep.models.base import Parameter


class Knobs(NamedTuple):
    """What a trial's inner loop may be told without a new program, one row a lane."""

    steps: Any  # int32 [lane], inner steps to take, in decreasing order
    trained: Any  # int32 [lane], inner steps of its training
    progress: Any  # float [lane], share of its training that is over, from 0
    key: Any  # uint32 [lane, 2], a random stream of its own
    values: Mapping[str, Any]  # float [lane] each: the algorithm's own runtime numbers, by name

    def first(self, count: Any) -> Knobs:
        """The knobs of the first `count` lanes."""
        knobs: Knobs = first(self, count)
        return knobs

    def going(self, index: Any) -> Any:
        """Which lanes take the step of this index: bool [lane]."""
        return self.steps > index

    def rate(self, index: Any) -> Any:
        """The inner rate α where a lane takes the step of this index, else 0: float [lane]."""
        rate = self.values["inner_lr"]
        return tf.where(self.going(index), rate, tf.zeros_like(rate))


class Inner(NamedTuple):
    """A lane's adaptation: nests of tensors with a leading lane axis."""

    fast: Any  # what inner steps change
    support: Any  # the examples it goes by: x [lane, example, ...], y
    context: Any = ()  # what else stays as it is


class Algorithm(ABC):
    """Adapts lanes to their support sets; knows neither tasks nor the search.

    A constructor checks its settings (`InputError`) and reads no TensorFlow. Numbers that never
    change the compiled program are handed back in `knobs` and reach the program as arrays.

    Attributes:
      inner_steps: how often `step` is taken while training; 0: never.
      knobs: the runtime numbers by the names they have under `algorithm.`; a null is infinity.
      serves: the kinds of problem it can learn; empty: any.
      schedule: of the meta rate, where the optimizer leaves it open.
    """

    inner_steps: int
    knobs: Mapping[str, float]
    serves: ClassVar[tuple[str, ...]] = ()
    schedule: str = "constant"

    def check(self, problem: Problem) -> None:
        """Refuses a problem that it cannot learn, before anything trains.

        Raises:
          InputError: naming what it can.
        """
        if self.serves and problem.kind not in self.serves:
            kind = problem.kind or "of a kind of its own"
            raise InputError(
                f"algorithm: {type(self).__name__} serves {' and '.join(self.serves)} tasks, but "
                f"the task is {kind}; choose another task or another algorithm"
            )

    def parameters(self, problem: Problem, bound: int) -> Sequence[Parameter]:
        """What the outer loop learns; `bound` inner steps are the most a trial may take."""
        return problem.model.parameters

    @abstractmethod
    def start(
        self, problem: Problem, meta: Params, support: Any, knobs: Knobs, *, training: bool
    ) -> Inner:
        """A lane before its first inner step.

        Args:
          problem: model and loss.
          meta: the meta-parameters in the order of `parameters`, each [lane, *shape].
          support: examples with a leading lane axis.
          knobs: one row a lane.
          training: whether an outer gradient will be wanted (else the lane is evaluated).
        """

    @abstractmethod
    def step(self, problem: Problem, inner: Inner, knobs: Knobs, index: Any) -> Any:
        """One inner update of every lane: the new `inner.fast`.

        A lane that does not take this step (`knobs.going(index)`) must predict what it did before.

        Args:
          problem: model and loss.
          inner: where the lanes stand.
          knobs: one row a lane.
          index: of the step, from 0: an integer or an int32 scalar.
        """

    @abstractmethod
    def weights(self, problem: Problem, inner: Inner, knobs: Knobs) -> Params:
        """The adapted model: its parameters in their order, each [lane, *shape]."""

    def predict(self, problem: Problem, inner: Inner, knobs: Knobs, x: Any) -> Any:
        """What the adapted model answers: [lane, example, *input_shape] -> outputs."""
        return problem.outputs(self.weights(problem, inner, knobs), inner.support, x)

    def query_loss(self, problem: Problem, inner: Inner, knobs: Knobs, episode: Any) -> Any:
        """The loss of the adapted model's answers to the query set: float [lane]."""
        return problem.loss(self.predict(problem, inner, knobs, episode.query.x), episode.query.y)

    def adapt(self, problem: Problem, inner: Inner, knobs: Knobs, live: Sequence[Any]) -> Inner:
        """Adapts each lane for its own number of inner steps, one behind another in the graph.

        Lanes come in decreasing order of steps, so those still adapting are always a prefix;
        the finished rest is split off for good.

        Args:
          problem: model and loss.
          inner: before the first step.
          knobs: one row a lane.
          live: how many lanes take step 0, 1, …: int32 scalars, each at least 1 (an empty
            convolution is an error). None: all lanes, of which the finished ones stay in place.
        """
        going, finished = inner, []
        take = partial(self._again if problem.recompute else self.step, problem)
        if any(count is not None for count in live):
            # Traced once for all steps. XLA would take what such a function is given for constants.
            take = tf.function(take, autograph=False)
        for index, count in enumerate(live):
            if count is not None:
                going, rest = _parted(going, count)
                finished.append(rest)
                knobs = knobs.first(count)
            going = going._replace(fast=take(going, knobs, tf.constant(index)))
        return inner._replace(fast=_joined([going.fast, *reversed(finished)]))

    def _again(self, problem: Problem, inner: Inner, knobs: Knobs, index: Any) -> Any:
        """`step`, taken once more on the way back; no gradient goes through a support set."""

        def step(learnt: Any, given: Any) -> Any:
            (fast, context), (support, knobs) = learnt, given
            return self.step(problem, Inner(fast, support, context), knobs, index)

        return recomputed(step, (inner.fast, inner.context), (inner.support, knobs))

    def follow(self, problem: Problem, inner: Inner, knobs: Knobs, live: Sequence[Any]) -> Inner:
        """`adapt` where no gradient goes through it: a loop, traced once and flat in memory."""
        if not len(live) or live[0] is None:
            return self.loop(problem, inner, knobs, len(live))
        counts = tf.stack(live)

        def advance(index: Any, fast: Any) -> tuple[Any, Any]:
            going, rest = _parted(inner._replace(fast=fast), counts[index])
            moved = self.step(problem, going, knobs.first(counts[index]), index)
            return index + 1, _joined([moved, rest])

        loop = (tf.constant(0), inner.fast)
        return inner._replace(fast=tf.while_loop(lambda i, _: i < len(live), advance, loop)[1])

    def loop(self, problem: Problem, inner: Inner, knobs: Knobs, count: Any) -> Inner:
        """Takes `count` steps (int32 scalar), of which each lane heeds its own number."""

        def advance(index: Any, fast: Any) -> tuple[Any, Any]:
            return index + 1, self.step(problem, inner._replace(fast=fast), knobs, index)

        loop = (tf.constant(0), inner.fast)
        return inner._replace(fast=tf.while_loop(lambda index, _: index < count, advance, loop)[1])

    def outer_loss(
        self, problem: Problem, meta: Params, episode: Any, knobs: Knobs, live: Sequence[Any]
    ) -> Any:
        """The loss the outer loop descends: the query loss after adaptation, float [lane]."""
        inner = self.start(problem, meta, episode.support, knobs, training=True)
        return self.query_loss(problem, self.adapt(problem, inner, knobs, live), knobs, episode)

    def gradient(
        self,
        problem: Problem,
        meta: Params,
        episode: Any,
        knobs: Knobs,
        live: Sequence[Any],
        weight: Any,
    ) -> tuple[Params, Any]:
        """What the meta-optimizer is told, and the loss that says how training goes.

        Args:
          problem: model and loss.
          meta: each [lane, *shape].
          episode: support and query, with a leading lane axis.
          knobs: one row a lane.
          live: as for `adapt`.
          weight: float [lane], the lane's share of its trial's mean over tasks.

        Returns:
          each lane's share of the gradient, [lane, *shape] each, and of the loss, float [lane].
        """
        with tf.GradientTape() as tape:
            tape.watch(meta)
            loss = weight * self.outer_loss(problem, meta, episode, knobs, live)
            total = tf.reduce_sum(loss)
        zero = tf.UnconnectedGradients.ZERO
        return tape.gradient(total, meta, unconnected_gradients=zero), loss


def first(nest: Any, count: Any) -> Any:
    """The first `count` lanes of every tensor."""
    return tf.nest.map_structure(lambda x: x[:count], nest)


def per_lane(values: Any, like: Any) -> Any:
    """Reshapes [lane] to broadcast against [lane, *shape]."""
    return tf.reshape(values, [-1, *[1] * (len(like.shape) - 1)])


def _parted(inner: Inner, count: Any) -> tuple[Inner, Any]:
    """The first `count` lanes, and the fast part of the rest.

    The gradient of a split is one concatenation a tensor; what stays as it is, is only sliced.
    """
    leaves = tf.nest.flatten(inner.fast)
    sizes = [count, tf.shape(leaves[0])[0] - count]
    pairs = [tf.split(value, sizes, axis=0) for value in leaves]
    front, rest = (tf.nest.pack_sequence_as(inner.fast, list(x)) for x in zip(*pairs, strict=True))
    return Inner(front, first(inner.support, count), first(inner.context, count)), rest


def _joined(pieces: Sequence[Any]) -> Any:
    """The lanes of several pieces, one behind another."""
    if len(pieces) == 1:
        return pieces[0]
    return tf.nest.map_structure(lambda *parts: tf.concat(parts, axis=0), *pieces)
