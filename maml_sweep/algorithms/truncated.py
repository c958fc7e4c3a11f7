"""Truncated back-propagation through the steps of a learnt optimizer.

Andrychowicz et al. 2016 (arXiv 1606.04474), sections 2.1 and 3: gradients that the optimizer reads
are constants (figure 2), so the derivative of a loss by the parameters is all that must be known of
the model; no gradient flows from one segment of steps to an earlier one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from maml_sweep.algorithms.base import Inner, Knobs
from maml_sweep.algorithms.problem import Params, Problem
from maml_sweep.backend import tf

# (weights, slope [lane, coordinate], state, knobs, index) -> what is added to each coordinate
# [lane, coordinate], and the optimizer's new state.
Move = Callable[[Params, Any, Any, Knobs, Any], tuple[Any, Any]]


class Fast(NamedTuple):
    """What a step of the learnt optimizer changes."""

    row: Any  # float [lane, coordinate], the model's parameters one behind another
    state: Any  # float [lane, coordinate, width], the optimizer's


class Kept(NamedTuple):
    """What the way back needs of each step: TensorArrays of a segment's."""

    slope: Any  # [lane, coordinate], the gradient that the optimizer read
    state: Any  # [lane, coordinate, width], its state before
    aim: Any  # [lane, coordinate], the meta-loss's own gradient where the step led


class TruncatedRun(NamedTuple):
    """One run of training.

    Both ways are loops of one step each, so the graph stays small, and only the states of one
    segment are kept: what lies between them is worked out again on the way back.
    """

    problem: Problem
    start: Inner  # of `Fast`; the context is the optimizer's weights, each [lane, *shape]
    query: Any  # the examples whose loss the meta-loss is; None: the support set
    knobs: Knobs
    share: Any  # float [lane], what the loss after one step counts
    move: Move
    span: int  # steps of a segment; a last one may be shorter

    def gradient(self) -> tuple[Params, Any]:
        """The segments' own gradients, added up: [lane, *shape] each; and the losses: [lane]."""
        longest = tf.reduce_max(self.knobs.steps)

        def advance(first: Any, fast: Fast, loss: Any, total: Params) -> tuple[Any, ...]:
            count = tf.minimum(self.span, longest - first)
            fast, part, kept = self._forward(fast, first, count)
            found = self._backward(fast, kept, first, count)
            return first + count, fast, loss + part, _sums(total, found)

        zeros = [tf.zeros_like(value) for value in self.start.context]
        loop = (tf.constant(0), self.start.fast, tf.zeros_like(self.share), zeros)
        _, _, loss, total = tf.while_loop(lambda first, *_: first < longest, advance, loop)
        return total, loss

    def _forward(self, fast: Fast, first: Any, count: Any) -> tuple[Fast, Any, Kept]:
        """Takes the steps of a segment.

        Args:
          fast: before it.
          first: index of its first step, int32 scalar.
          count: of its steps, int32 scalar.

        Returns:
          where it ends, the sum of its losses [lane], and what the way back needs.
        """

        def advance(
            index: Any, fast: Fast, slope: Any, loss: Any, kept: Kept
        ) -> tuple[Any, Fast, Any, Any, Kept]:
            step = first + index
            move, state = self.move(self.start.context, slope, fast.state, self.knobs, step)
            row = fast.row + move
            after, asked, aim = self._slopes(row)
            counts = tf.where(self.knobs.going(step), self.share, tf.zeros_like(self.share))
            values = Kept(slope, fast.state, counts[:, tf.newaxis] * aim)
            kept = Kept(*(array.write(index, v) for array, v in zip(kept, values, strict=True)))
            return index + 1, Fast(row, state), after, loss + counts * asked, kept

        slope, *_ = self._slopes(fast.row)
        kept = Kept(*(self._array(value) for value in (slope, fast.state, slope)))
        loop = (tf.constant(0), fast, slope, tf.zeros_like(self.share), kept)
        _, fast, _, loss, kept = tf.while_loop(lambda index, *_: index < count, advance, loop)
        return fast, loss, kept

    def _backward(self, end: Fast, kept: Kept, first: Any, count: Any) -> Params:
        """The gradient of a segment's losses, from its last step back: [lane, *shape] each.

        What a step adds to the parameters stays there, so its derivative is the sum of the
        meta-loss's own gradients at all points from there on.
        """
        weights = self.start.context

        def retreat(index: Any, aim: Any, later: Any, total: Params) -> tuple[Any, ...]:
            slope, state, part = (array.read(index) for array in kept)
            aim = aim + part
            sources = [*weights, state]
            with tf.GradientTape() as tape:
                tape.watch(sources)
                ends = self.move(weights, slope, state, self.knobs, first + index)
            *found, before = tape.gradient(ends, sources, output_gradients=(aim, later))
            return index - 1, aim, before, _sums(total, found)

        zeros = [tf.zeros_like(value) for value in weights]
        nothing = tf.nest.map_structure(tf.zeros_like, end)
        loop = (count - 1, nothing.row, nothing.state, zeros)
        total: Params = tf.while_loop(lambda index, *_: index >= 0, retreat, loop)[3]
        return total

    def _slopes(self, row: Any) -> tuple[Any, Any, Any]:
        """The support loss's gradient [lane, coordinate]; the meta-loss [lane] and its own."""
        loss, slope = slope_of(self.problem, row, self.start.support)
        if self.query is None:
            return slope, loss, slope
        return slope, *slope_of(self.problem, row, self.start.support, self.query)

    def _array(self, value: Any) -> Any:
        """Room for a value of each step."""
        return tf.TensorArray(value.dtype, size=self.span, element_shape=value.shape)


def slope_of(problem: Problem, row: Any, support: Any, query: Any = None) -> tuple[Any, Any]:
    """The loss on a support set, or on a query set that goes with it, and its gradient.

    Args:
      problem: model and loss.
      row: the model's parameters, [lane, coordinate].
      support: examples.
      query: examples whose loss is asked for instead.

    Returns:
      float [lane] and [lane, coordinate].
    """
    with tf.GradientTape() as tape:
        tape.watch(row)
        params = shaped(problem, row)
        if query is None:
            loss = problem.support_loss(params, support)
        else:
            loss = problem.loss(problem.outputs(params, support, query.x), query.y)
    return loss, tf.ensure_shape(tape.gradient(loss, row), row.shape)


def shaped(problem: Problem, row: Any) -> Params:
    """[lane, coordinate] as the model's parameters, each [lane, *shape]."""
    shapes = [parameter.shape for parameter in problem.model.parameters]
    pieces = tf.split(row, [math.prod(shape) for shape in shapes], axis=1)
    return [tf.reshape(piece, [-1, *shape]) for piece, shape in zip(pieces, shapes, strict=True)]


def _sums(values: Sequence[Any], others: Sequence[Any]) -> Params:
    return [value + other for value, other in zip(values, others, strict=True)]
