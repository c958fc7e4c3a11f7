"""What goes into a compiled program and comes out: types and shapes, open where packs differ."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

from maml_sweep.algorithms.base import Knobs
from maml_sweep.backend import tf
from maml_sweep.training.optimizers import Coefficients, State


class Trials(NamedTuple):
    """What a program must know of its trials besides their state, one row a place."""

    iteration: Any  # int32 [place], completed iterations
    knobs: Knobs  # [place] each; the key is the stream of the trial's tasks
    coefficients: Coefficients  # float [place, 1] each


class Progress(NamedTuple):
    """What `Program.train` hands back beside the state."""

    loss: Any  # float [place], mean query loss of the last iteration
    diverged: Any  # int32 [place], iterations completed before it went bad; -1: it did not


@dataclass(frozen=True)
class Signatures:
    """Input signatures of one structure's functions; None stands for an open extent.

    Attributes:
      dtype: the float type.
      size: parameters of one trial.
      knobs: names of the algorithm's runtime numbers.
      bound: inner steps unrolled in training.
      eval_bound: inner steps unrolled in evaluation.
      shards: parts of a pack.
    """

    dtype: Any
    size: int
    knobs: tuple[str, ...]
    bound: int
    eval_bound: int
    shards: int

    def start(self) -> list[Any]:
        """(keys, knobs) of the places whose parameters are drawn."""
        return [_words(None), self._values()]

    def shard(self) -> list[Any]:
        """(theta, knobs, lanes) of one shard's gradient."""
        return [self._float(None, self.size), self._knobs(), self._lanes()]

    def train(self) -> list[Any]:
        """(state, trials, lanes of each shard, count)."""
        state = State(*[self._float(None, self.size)] * 3)
        coefficients = Coefficients(*[self._float(None, 1)] * len(Coefficients._fields))
        trials = Trials(_integers(None), self._knobs(), coefficients)
        return [state, trials, [self._lanes()] * self.shards, _integers()]

    def score(self) -> list[Any]:
        """(theta, knobs, lanes of each shard without their weights)."""
        lanes = (_integers(None), _integers(None), _integers(self.eval_bound))
        theta = self._float(None, self.size)
        return [theta, self._knobs(), [lanes] * self.shards]

    def _knobs(self) -> Knobs:
        steps = _integers(None)
        return Knobs(steps, steps, self._float(None), _words(None), self._values())

    def _values(self) -> dict[str, Any]:
        return {name: self._float(None) for name in self.knobs}

    def _lanes(self) -> tuple[Any, ...]:
        return (_integers(None), _integers(None), self._float(None), _integers(self.bound))

    def _float(self, *shape: int | None) -> Any:
        return tf.TensorSpec(shape, self.dtype)


def _integers(*shape: int | None) -> Any:
    return tf.TensorSpec(shape, tf.int32)


def _words(*shape: int | None) -> Any:
    return tf.TensorSpec([*shape, 2], tf.uint32)
