"""One structure's compiled program: it trains and evaluates any number of its trials at once.

Everything that differs between trials of a structure (rates, steps, meta-batch sizes, seeds,
optimizers, how far each has come) is a runtime array, and the numbers of trials and lanes are
left open, so the program is traced once. It is a pure function: state in, state out.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from maml_sweep import streams
from maml_sweep.algorithms.base import Algorithm, Knobs, Learner, Params
from maml_sweep.backend import tf
from maml_sweep.models.base import Model
from maml_sweep.tasks.base import Episode, Split, Task
from maml_sweep.training import optimizers
from maml_sweep.training.lanes import Lanes
from maml_sweep.training.layout import Layout
from maml_sweep.training.optimizers import State
from maml_sweep.training.signatures import Progress, Signatures, Trials


class Program:
    """A task, a model and an algorithm as compiled functions over packs.

    Args:
      task: draws the episodes.
      model: the network.
      algorithm: its inner loop.
      bound: inner steps to unroll in training: no trial may take more.
      eval_bound: the same for evaluation; None: `bound`.
      precision: "float32" or "float64".
      max_loss: a query loss above it counts as divergence, like one that is not finite.
      shards: parts of a pack computed side by side (the inter-op threads of a CPU).
      compiled: by XLA. Every number of lanes is then compiled anew, so they come padded.
    """

    def __init__(
        self,
        task: Task,
        model: Model,
        algorithm: Algorithm,
        *,
        bound: int,
        eval_bound: int | None = None,
        precision: str = "float32",
        max_loss: float = float("inf"),
        shards: int = 1,
        compiled: bool = False,
    ) -> None:
        self.task, self.model, self.algorithm = task, model, algorithm
        self.bound = bound
        self.eval_bound = bound if eval_bound is None else eval_bound
        self.dtype = tf.as_dtype(precision)
        self.max_loss = max_loss
        self.shards = shards
        self.compiled = compiled
        self.layout = Layout(model.parameters)
        self.learner = Learner(self._support_loss, self._query_loss)
        self._signatures = signatures = Signatures(
            self.dtype, self.layout.size, bound, self.eval_bound, shards
        )
        self._shard_gradient = tf.function(
            self._lane_gradient, autograph=False, input_signature=signatures.shard()
        )
        self._train = tf.function(
            self._iterate,
            autograph=False,
            jit_compile=compiled,
            input_signature=signatures.train(),
        )
        self._scores: dict[tuple[Split, bool], Any] = {}

    # -- what callers use ---------------------------------------------------------------------

    @property
    def traces(self) -> int:
        """How often the training program was traced; it should stay at one."""
        return int(self._train.experimental_get_tracing_count())

    def init(self, keys: np.ndarray) -> np.ndarray:
        """Initial parameters: uint32 [place, 2] -> float [place, parameter]."""
        values = self.model.init(tf.constant(keys), self.dtype)
        return np.asarray(self.layout.join(values))

    def train(
        self, state: State, trials: Trials, lanes: Sequence[Lanes], count: int
    ) -> tuple[State, Progress]:
        """Runs `count` meta-iterations of every trial; arrays in, NumPy arrays out.

        A trial that diverges keeps the state it had before.
        """
        state, progress = self._train(*self._tensors(state, trials, lanes), np.int32(count))
        return State(*map(np.array, state)), Progress(*map(np.array, progress))

    def scores(
        self,
        theta: np.ndarray,
        trials: Trials,
        lanes: Sequence[Lanes],
        split: Split,
        *,
        curve: bool = False,
    ) -> list[np.ndarray]:
        """The task's metric of every lane after adaptation.

        Args:
          theta: float [place, parameter].
          trials: `key` is the stream of the evaluation tasks, `knobs.inner_steps` the steps of
            adaptation.
          lanes: which task of which place each lane of each shard is.
          split: where the tasks come from.
          curve: after each of 0 … 2 * eval_bound steps instead.

        Returns:
          For each shard float [lane], or [step, lane] for a curve.
        """
        if (split, curve) not in self._scores:
            self._scores[split, curve] = self._score_function(split, curve)
        shards = [(shard.owner, shard.task, shard.live) for shard in lanes]
        arguments = _nested((theta, trials.key, trials.knobs, shards))
        return [np.array(values) for values in self._scores[split, curve](*arguments)]

    def adapt(self, params: Params, episode: Episode, knobs: Knobs, steps: Any) -> Params:
        """Takes inner steps, as many as said at run time, so that one trace serves any number.

        Args:
          params: each [lane, *shape].
          episode: its support set is learnt from.
          knobs: one value a lane; their number of steps is not heeded.
          steps: int32 [], of every lane.
        """

        def advance(step: Any, params: Params) -> tuple[Any, Params]:
            return step + 1, list(self.algorithm.step(self.learner, params, episode, knobs))

        loop = (tf.constant(0), list(params))
        adapted: Params = tf.while_loop(lambda step, _: step < steps, advance, loop)[1]
        return adapted

    def outputs(self, params: Params, episode: Episode) -> Any:
        """The model's outputs on the query examples: [lane, example, outputs].

        A norm that goes by support statistics takes them from the support examples.
        """
        statistics = None
        if self.model.support_statistics:
            _, statistics = self.model.apply(params, episode.support.x)
        return self.model.apply(params, episode.query.x, statistics)[0]

    def stablehlo(self, state: State, trials: Trials, lanes: Sequence[Lanes], count: int) -> str:
        """The training program for these shapes as StableHLO text, for any XLA runtime.

        Raises:
          ValueError: the program is not `compiled`.
        """
        if not self.compiled:
            raise ValueError("only a compiled program can be lowered: build it with compiled=True")
        arguments = _nested((*self._tensors(state, trials, lanes), np.int32(count)))
        lower = self._train.experimental_get_compiler_ir(*arguments)
        return str(lower(stage="stablehlo"))

    # -- training -----------------------------------------------------------------------------

    def _iterate(
        self, state: State, trials: Trials, lanes: Sequence[Any], count: Any
    ) -> tuple[State, Progress]:
        places = tf.shape(trials.iteration)[0]
        loss = tf.zeros([places], self.dtype)
        diverged = tf.fill([places], -1)
        _, state, progress = tf.while_loop(
            lambda done, *_: done < count,
            self._body(trials, lanes),
            (tf.constant(0), state, Progress(loss, diverged)),
            parallel_iterations=1,
        )
        return state, progress

    def _body(self, trials: Trials, lanes: Sequence[Any]) -> Any:
        """The loop's body: one meta-iteration of every trial that has not diverged."""

        def iterate(done: Any, state: State, progress: Progress) -> tuple[Any, State, Progress]:
            iteration = trials.iteration + done
            gradient, loss = self._gradient(state.theta, trials, iteration, lanes)
            age = tf.cast(iteration, self.dtype)[:, tf.newaxis]
            updated = optimizers.update(state, gradient, trials.coefficients, age)
            # A meta-gradient, or its square, may overflow where the loss does not.
            sound = tf.math.is_finite(tf.reduce_sum(updated.theta + updated.moment2, axis=1))
            # Comparisons with NaN are false, so this is true of finite, small losses only.
            healthy = tf.logical_and(progress.diverged < 0, loss <= self.max_loss)
            healthy = tf.logical_and(healthy, sound)
            fell = tf.logical_and(progress.diverged < 0, tf.logical_not(healthy))
            diverged = tf.where(fell, iteration, progress.diverged)
            keep = healthy[:, tf.newaxis]
            state = State(
                *(tf.where(keep, new, old) for new, old in zip(updated, state, strict=True))
            )
            return done + 1, state, Progress(loss, diverged)

        return iterate

    def _gradient(
        self, theta: Any, trials: Trials, iteration: Any, lanes: Sequence[Any]
    ) -> tuple[Any, Any]:
        """The meta-gradient [place, parameter] and loss [place], summed over the shards."""
        keys = streams.fold_in(trials.key, iteration)
        parts = [self._shard_gradient(theta, keys, trials.knobs, shard) for shard in lanes]
        gradients, losses = zip(*parts, strict=True)
        return tf.add_n(gradients), tf.add_n(losses)

    def _lane_gradient(self, theta: Any, keys: Any, knobs: Knobs, lanes: Any) -> tuple[Any, Any]:
        """One shard's share of the meta-gradient and the loss of every place."""
        owner, task, weight, live = lanes
        places = tf.shape(theta)[0]
        episode = self.task.episodes("train", _task_keys(keys, owner, task), self.dtype)
        params = [tf.gather(value, owner) for value in self.layout.split(theta)]
        knobs = Knobs(*(tf.gather(value, owner) for value in knobs))
        with tf.GradientTape() as tape:
            tape.watch(params)
            loss = weight * self.algorithm.outer_loss(
                self.learner, params, episode, knobs, self._live(live)
            )
            total = tf.reduce_sum(loss)
        gradients = [
            tf.math.unsorted_segment_sum(gradient, owner, places)
            for gradient in tape.gradient(total, params)
        ]
        return self.layout.join(gradients), tf.math.unsorted_segment_sum(loss, owner, places)

    def _live(self, live: Any) -> list[Any]:
        """Lane counts of each step; XLA wants fixed shapes, hence masks instead of splits."""
        return [None] * live.shape[0] if self.compiled else tf.unstack(live)

    def _support_loss(self, params: Any, episode: Episode) -> Any:
        outputs, _ = self.model.apply(params, episode.support.x)
        return self.task.loss(outputs, episode.support.y)

    def _query_loss(self, params: Any, episode: Episode) -> Any:
        return self.task.loss(self.outputs(params, episode), episode.query.y)

    # -- evaluation ---------------------------------------------------------------------------

    def _score_function(self, split: Split, curve: bool) -> Any:
        def score(theta: Any, keys: Any, knobs: Knobs, lanes: Sequence[Any]) -> list[Any]:
            return [self._lane_scores(theta, keys, knobs, shard, split, curve) for shard in lanes]

        return tf.function(
            score,
            autograph=False,
            jit_compile=self.compiled,
            input_signature=self._signatures.score(),
        )

    def _lane_scores(
        self, theta: Any, keys: Any, knobs: Knobs, lanes: Any, split: Split, curve: bool
    ) -> Any:
        owner, task, live = lanes
        episode = self.task.episodes(split, _task_keys(keys, owner, task), self.dtype)
        params = [tf.gather(value, owner) for value in self.layout.split(theta)]
        knobs = Knobs(*(tf.gather(value, owner) for value in knobs))
        if curve:
            return self._curve(params, episode, knobs)
        adapted = self.algorithm.adapt(self.learner, params, episode, knobs, self._live(live))
        return self.task.score(self.outputs(adapted, episode), episode.query.y)

    def _curve(self, params: Any, episode: Episode, knobs: Knobs) -> Any:
        """The metric after 0 … 2 * eval_bound steps: [step, lane]."""
        steps = 2 * self.eval_bound

        def score(params: Any) -> Any:
            return self.task.score(self.outputs(params, episode), episode.query.y)

        def advance(step: Any, params: Any, curve: Any) -> tuple[Any, Any, Any]:
            params = list(self.algorithm.step(self.learner, params, episode, knobs))
            return step + 1, params, curve.write(step + 1, score(params))

        curve = tf.TensorArray(self.dtype, size=steps + 1, element_shape=[None])
        loop = (tf.constant(0), params, curve.write(0, score(params)))
        return tf.while_loop(lambda step, *_: step < steps, advance, loop)[2].stack()

    def _tensors(self, state: State, trials: Trials, lanes: Sequence[Lanes]) -> tuple[Any, ...]:
        """Arguments of `_train`, in its float type, short of the count."""
        floats = self.dtype.as_numpy_dtype
        arguments = [tuple(shard._replace(weight=shard.weight.astype(floats))) for shard in lanes]
        tensors: tuple[Any, ...] = _nested((state, trials, arguments))
        return tensors


def _task_keys(keys: Any, owner: Any, task: Any) -> Any:
    """Each lane's stream: the owner's key, and which of its tasks it is."""
    return streams.fold_in(tf.gather(keys, owner), task)


def _nested(arguments: Any) -> Any:
    return tf.nest.map_structure(tf.convert_to_tensor, arguments)
