"""What an algorithm is: an inner step, repeated by each lane as often as its trial says."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from maml_sweep.backend import tf

Params = Sequence[Any]  # one tensor a parameter, each [lane, *shape]


class Learner(NamedTuple):
    """A model and a task's loss as functions of lane-wise parameters, each returning [lane]."""

    support_loss: Callable[[Params, Any], Any]  # (params, episode)
    query_loss: Callable[[Params, Any], Any]  # (params, episode)


class Knobs(NamedTuple):
    """What a trial's inner loop may be told without a new program, one value a lane."""

    inner_lr: Any  # float [lane]
    inner_steps: Any  # int32 [lane], in decreasing order
    inner_clip: Any  # float [lane]; infinity: no clipping

    def first(self, count: Any) -> Knobs:
        """The knobs of the first `count` lanes."""
        return Knobs(*(value[:count] for value in self))


class Algorithm(ABC):
    """Adapts lanes to their support sets; knows neither tasks nor the search.

    Knobs that never change the compiled program (`inner_lr`, `inner_steps`, `inner_clip`) are
    checked here and handed back as runtime arrays in `Knobs`.
    """

    inner_lr: float
    inner_steps: int
    inner_clip: float | None

    @abstractmethod
    def step(self, learner: Learner, params: Params, episode: Any, knobs: Knobs) -> Params:
        """One inner update of every lane: params [lane, *shape] -> the same shapes."""

    def adapt(
        self, learner: Learner, params: Params, episode: Any, knobs: Knobs, live: Sequence[Any]
    ) -> Params:
        """Adapts each lane for its own number of inner steps.

        Lanes come in decreasing order of steps, so those still adapting are always a prefix;
        the finished rest is split off for good.

        Args:
          learner: model and loss.
          params: each [lane, *shape].
          episode: tensors with a leading lane axis.
          knobs: one value a lane.
          live: how many lanes take step 0, 1, …: int32 scalars, each at least 1 (an empty
            convolution is an error; a lane that is done takes a step of length zero). None:
            all lanes, the finished ones with steps of length zero.

        Returns:
          adapted parameters, each [lane, *shape].
        """
        finished: list[Params] = []
        for index, count in enumerate(live):
            if count is not None:
                params, rest = _split(params, count)
                finished.append(rest)
                episode = tf.nest.map_structure(lambda x, n=count: x[:n], episode)
                knobs = knobs.first(count)
            rate = tf.where(
                knobs.inner_steps > index, knobs.inner_lr, tf.zeros_like(knobs.inner_lr)
            )
            params = self.step(learner, params, episode, knobs._replace(inner_lr=rate))
        if not finished:
            return params
        pieces = [params, *reversed(finished)]
        return [tf.concat(parts, axis=0) for parts in zip(*pieces, strict=True)]

    def outer_loss(
        self, learner: Learner, params: Params, episode: Any, knobs: Knobs, live: Sequence[Any]
    ) -> Any:
        """The loss the outer loop descends: the query loss after adaptation, float [lane]."""
        return learner.query_loss(self.adapt(learner, params, episode, knobs, live), episode)


def _split(params: Params, count: Any) -> tuple[Params, Params]:
    """The first `count` lanes and the rest; its gradient is one concatenation a parameter."""
    sizes = [count, tf.shape(params[0])[0] - count]
    pairs = [tf.split(value, sizes, axis=0) for value in params]
    return [first for first, _ in pairs], [rest for _, rest in pairs]


def per_lane(values: Any, like: Any) -> Any:
    """Reshapes [lane] to broadcast against [lane, *shape]."""
    return tf.reshape(values, [-1, *[1] * (len(like.shape) - 1)])


def clip_scale(squared_norm: Any, limit: Any) -> Any:
    """The factor that brings gradients of this squared norm down to `limit`, at most 1.

    The tiny floor keeps the square root's derivative finite where a gradient is zero.
    """
    norm = tf.sqrt(tf.maximum(squared_norm, tf.constant(1e-30, squared_norm.dtype)))
    return tf.minimum(tf.ones_like(norm), limit / norm)
