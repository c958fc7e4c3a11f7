"""One structure's compiled program: it trains and evaluates any number of its trials at once.

Everything that differs between trials of a structure (rates, steps, meta-batch sizes, seeds,
optimizers, how far each has come) is a runtime array, and the numbers of trials and lanes are
left open, so the program is traced once. It is a pure function: state in, state out.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np

from maml_sweep import streams
from maml_sweep.algorithms import Algorithm, Inner, Knobs, Problem
from maml_sweep.backend import tf
from maml_sweep.kernels import Kernels, chosen
from maml_sweep.models import Traced
from maml_sweep.models.base import draw
from maml_sweep.models.lanes import Tracing
from maml_sweep.tasks.base import Examples, Measure, Split, Task
from maml_sweep.training import optimizers
from maml_sweep.training.lanes import Lanes
from maml_sweep.training.layout import Layout
from maml_sweep.training.optimizers import State
from maml_sweep.training.portions import in_portions, portion_size
from maml_sweep.training.settings import PRECISIONS
from maml_sweep.training.signatures import Progress, Signatures, Trials

_INNER = 0xFFFFFFFF  # tells a lane's own stream for its inner loop from those of its task


class Program:
    """A task, a model and an algorithm as compiled functions over packs.

    Args:
      task: draws the episodes.
      problem: what there is to learn: the model and the task's loss.
      algorithm: how it is learnt.
      bound: inner steps to unroll in training: no trial may take more.
      eval_bound: the same for evaluation; None: `bound`.
      precision: of `settings.PRECISIONS`.
      max_loss: a query loss above it counts as divergence, like one that is not finite.
      shards: parts of a pack computed side by side (the inter-op threads of a CPU).
      compiled: by XLA. Every number of lanes is then compiled anew, so they come padded.
      kernels: let kernels of our own compute what they can, in float32 and without XLA; None: the
        same, and nobody minds where they cannot be compiled.
    """

    def __init__(
        self,
        task: Task,
        problem: Problem,
        algorithm: Algorithm,
        *,
        bound: int,
        eval_bound: int | None = None,
        precision: str = "float32",
        max_loss: float = float("inf"),
        shards: int = 1,
        compiled: bool = False,
        kernels: bool | None = False,
    ) -> None:
        floats, products = PRECISIONS[precision]
        if products or compiled:
            model = Traced(problem.model, Tracing(products, compiled))
            problem = replace(problem, model=model)
        self.task, self.problem, self.algorithm = task, problem, algorithm
        self.bound = bound
        self.eval_bound = bound if eval_bound is None else eval_bound
        self.dtype = tf.as_dtype(floats)
        self.max_loss = max_loss
        self.shards = shards
        self.compiled = compiled
        self.layout = Layout(algorithm.parameters(problem, bound))
        own = kernels is not False and not compiled and precision == "float32"
        self.kernels = chosen(task, problem, algorithm, bool(kernels)) if own else Kernels()
        names = tuple(algorithm.knobs)
        self._signatures = signatures = Signatures(
            self.dtype, self.layout.size, names, bound, self.eval_bound, shards
        )
        self._shard_gradient = self._shard_function(
            self._kernel_gradient if self.kernels.mlp else self._lane_gradient,
            input_signature=signatures.shard(),
        )
        self._train = self._function(
            self._iterate, jit_compile=compiled, input_signature=signatures.train()
        )
        self._start = self._function(self._drawn, input_signature=signatures.start())
        self._scores: dict[tuple[Split, bool, str], Any] = {}
        self.starting = 0.0  # seconds spent drawing initial parameters

    # -- what callers use ---------------------------------------------------------------------

    @property
    def traces(self) -> int:
        """How often the training program was traced; it should stay at one."""
        return int(self._train.experimental_get_tracing_count())

    def init(
        self, keys: np.ndarray, knobs: Sequence[Mapping[str, float]] | None = None
    ) -> np.ndarray:
        """Draws initial parameters.

        Args:
          keys: uint32 [place, 2].
          knobs: each trial's runtime numbers; None: the algorithm's own for all.

        Returns:
          float [place, parameter].
        """
        begin = time.perf_counter()
        knobs = knobs or [self.algorithm.knobs] * len(keys)
        starts = {
            name: tf.constant([each[name] for each in knobs], self.dtype)
            for name in self.algorithm.knobs
        }
        drawn = np.array(self._start(tf.constant(keys), starts))
        self.starting += time.perf_counter() - begin
        return drawn

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
        knobs: Knobs,
        lanes: Sequence[Lanes],
        split: Split,
        *,
        curve: bool = False,
        measure: str = "",
    ) -> list[np.ndarray]:
        """The task's metric of every lane after adaptation.

        Args:
          theta: float [place, parameter].
          knobs: one row a place; the key is the stream of the evaluation tasks.
          lanes: which task of which place each lane of each shard is.
          split: where the tasks come from.
          curve: after each of 0 … 2 * eval_bound steps instead.
          measure: one of the task's further `measures` in place of its metric.

        Returns:
          For each shard float [lane], or [step, lane] for a curve.
        """
        kind = split, curve, measure
        if kind not in self._scores:
            self._scores[kind] = self._score_function(*kind)
        shards = [(shard.owner, shard.task, shard.live) for shard in lanes]
        arguments = _nested((theta, knobs, shards))
        return [np.array(values) for values in self._scores[kind](*arguments)]

    def adapt(self, theta: Any, support: Examples, knobs: Knobs, count: Any) -> Inner:
        """Adapts lanes by as many steps as said at run time, so that one trace serves any number.

        Args:
          theta: float [lane, parameter].
          support: what is learnt from, with a leading lane axis.
          knobs: one row a lane.
          count: inner steps of every lane, int32 [].
        """
        knobs = knobs._replace(steps=tf.fill(tf.shape(knobs.steps), count))
        meta = self.layout.split(theta)
        inner = self.algorithm.start(self.problem, meta, support, knobs, training=False)
        return self.algorithm.loop(self.problem, inner, knobs, count)

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

    def flat(
        self, state: State, trials: Trials, lanes: Sequence[Lanes], count: int
    ) -> list[np.ndarray]:
        """The arguments of that text in order; behind the count, tables that tasks draw from."""
        arguments = (*self._tensors(state, trials, lanes), np.int32(count))
        tables = self._train.get_concrete_function().captured_inputs
        return [np.asarray(value) for value in (*tf.nest.flatten(arguments), *tables)]

    def _shard_function(self, compute: Any, **options: Any) -> Any:
        """What is computed for a shard, traced once for all shards.

        It stays a function of its own: TensorFlow would put a copy for every shard into its caller,
        which takes longer to start, and one scheduler would hand out the operations of them all.
        XLA wants a whole.
        """
        apart = None if self.compiled else {"_noinline": True}
        return self._function(compute, experimental_attributes=apart, **options)

    def _function(self, compute: Any, **options: Any) -> Any:
        """What is computed, to be traced once; its streams by a kernel where there is one."""

        def traced(*arguments: Any) -> Any:
            with streams.kernels(self.kernels.operations):
                return compute(*arguments)

        return tf.function(traced, autograph=False, **options)

    # -- training -----------------------------------------------------------------------------

    def _drawn(self, keys: Any, knobs: Mapping[str, Any]) -> Any:
        """Initial parameters [place, parameter], of keys [place, 2] and knobs [place] each."""
        return self.layout.join(draw(self.layout.parameters, keys, self.dtype, knobs))

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
            kernel = self.kernels.operations and self.layout.shares is None
            step = self._kernel_step if kernel else self._step
            *values, diverged = step(state, gradient, loss, trials, iteration, progress.diverged)
            return done + 1, State(*values), Progress(loss, diverged)

        return iterate

    def _step(
        self, state: State, gradient: Any, loss: Any, trials: Trials, iteration: Any, before: Any
    ) -> tuple[Any, Any, Any, Any]:
        """Every trial's next state, if it is sound, and when each diverged.

        Args:
          state: of all trials.
          gradient: [place, parameter].
          loss: [place].
          trials: tell their optimizers.
          iteration: int32 [place].
          before: when each diverged as far as is known, int32 [place].
        """
        age = tf.cast(iteration, self.dtype)[:, tf.newaxis]
        updated = optimizers.update(state, gradient, trials.coefficients, age, *self._masks())
        # A meta-gradient, or its square, may overflow where the loss does not.
        sound = tf.math.is_finite(tf.reduce_sum(updated.theta + updated.moment2, axis=1))
        # Comparisons with NaN are false, so this is true of finite, small losses only.
        healthy = tf.logical_and(before < 0, loss <= self.max_loss)
        healthy = tf.logical_and(healthy, sound)
        fell = tf.logical_and(before < 0, tf.logical_not(healthy))
        keep = healthy[:, tf.newaxis]
        kept = [tf.where(keep, new, old) for new, old in zip(updated, state, strict=True)]
        return *kept, tf.where(fell, iteration, before)

    def _kernel_step(
        self, state: State, gradient: Any, loss: Any, trials: Trials, iteration: Any, before: Any
    ) -> tuple[Any, Any, Any, Any]:
        """The same by a kernel."""
        decayed = self.layout.decayed
        found: tuple[Any, Any, Any, Any] = self.kernels.operations.maml_sweep_update(
            **state._asdict(),
            gradient=gradient,
            decayed=np.ones(self.layout.size, np.float32) if decayed is None else decayed,
            **trials.coefficients._asdict(),
            loss=loss,
            max_loss=self.max_loss,
            iteration=iteration,
            diverged=before,
        )
        shapes = [*(each.shape for each in state), before.shape]
        return tuple(tf.ensure_shape(x, shape) for x, shape in zip(found, shapes, strict=True))

    def _gradient(
        self, theta: Any, trials: Trials, iteration: Any, lanes: Sequence[Any]
    ) -> tuple[Any, Any]:
        """The meta-gradient [place, parameter] and loss [place], summed over the shards."""
        progress = tf.cast(iteration, self.dtype) / trials.coefficients.iterations[:, 0]
        keys = streams.fold_in(trials.knobs.key, iteration)
        knobs = trials.knobs._replace(progress=progress, key=keys)
        parts = [self._shard_gradient(theta, knobs, shard) for shard in lanes]
        gradients, losses = zip(*parts, strict=True)
        return tf.add_n(gradients), tf.add_n(losses)

    def _masks(self) -> list[Any]:
        """The layout's `decayed` and `shares` as tensors."""
        masks = (self.layout.decayed, self.layout.shares)
        return [None if mask is None else tf.constant(mask, self.dtype) for mask in masks]

    def _lane_gradient(self, theta: Any, knobs: Knobs, lanes: Any) -> tuple[Any, Any]:
        """One shard's share of the meta-gradient and the loss of every place."""
        *columns, live = lanes
        places = tf.shape(theta)[0]

        def compute(owner: Any, task: Any, weight: Any, live: Any) -> Sequence[Any]:
            meta, keys, knobs_of = self._lanes(theta, knobs, owner, task)
            episode = self.task.episodes("train", keys, self.dtype)
            gradients, loss = self.algorithm.gradient(
                self.problem, meta, episode, knobs_of, self._going(live), weight
            )
            return *gradients, loss

        shapes = [*(parameter.shape for parameter in self.layout.parameters), ()]
        found = self._in_portions(compute, columns, live, shapes)
        sums = [self._sum(each, columns[0], places) for each in found]
        return self.layout.join(sums[:-1]), sums[-1]

    def _kernel_gradient(self, theta: Any, knobs: Knobs, lanes: Any) -> tuple[Any, Any]:
        """The same by a kernel."""
        assert self.kernels.mlp is not None
        owner, task, weight, _ = lanes
        keys, knobs = self._lane_knobs(knobs, owner, task)
        episode = self.task.episodes("train", keys, self.dtype)
        return self.kernels.mlp.gradient(theta, owner, weight, knobs, episode)

    @cached_property
    def portion(self) -> int | None:
        """The most lanes of a shard to compute at once; None: all, which is what GPUs want."""
        return None if self.compiled else portion_size(self.task, self.problem, self.dtype)

    def _in_portions(
        self, compute: Any, columns: Sequence[Any], live: Any, shapes: Sequence[Sequence[int]]
    ) -> Sequence[Any]:
        """`compute(*columns, live)`; its results are [lane, *shape] each."""
        if self.portion is None:
            return tuple(compute(*columns, live))
        results = [tf.TensorSpec([None, *shape], self.dtype) for shape in shapes]
        return in_portions(compute, columns, live, self.portion, results)

    def _sum(self, values: Any, owner: Any, places: Any) -> Any:
        """Sums lanes [lane, ...] to their places [place, ...]; owners ascend and leave none out.

        To know that makes it three times faster; XLA wants to know how many there are.
        """
        if self.compiled:
            return tf.math.unsorted_segment_sum(values, owner, places)
        return tf.math.segment_sum(values, owner)

    def _lanes(self, theta: Any, knobs: Knobs, owner: Any, task: Any) -> tuple[Any, Any, Knobs]:
        """Every lane's copy of its place's parameters, its task's stream, and its knobs."""
        meta = [tf.gather(value, owner) for value in self.layout.split(theta)]
        return meta, *self._lane_knobs(knobs, owner, task)

    def _lane_knobs(self, knobs: Knobs, owner: Any, task: Any) -> tuple[Any, Knobs]:
        """Every lane's task's stream, and its knobs."""
        knobs = tf.nest.map_structure(lambda value: tf.gather(value, owner), knobs)
        keys = streams.fold_in(knobs.key, task)
        return keys, knobs._replace(key=streams.fold_in(keys, _INNER))

    def _live(self, live: Any) -> list[Any]:
        """Lane counts of each step; XLA wants fixed shapes, hence masks instead of splits."""
        return [None] * live.shape[0] if self.compiled else tf.unstack(live)

    def _going(self, live: Any) -> list[Any]:
        """`_live` in training, where every lane takes the first step: nothing to split off yet."""
        return [None, *self._live(live)[1:]] if self.bound else []

    # -- evaluation ---------------------------------------------------------------------------

    def _score_function(self, split: Split, curve: bool, measure: str) -> Any:
        judged = self.task.measures[measure] if measure else self.task.score

        def shard_scores(theta: Any, knobs: Knobs, shard: Any) -> Any:
            return self._lane_scores(theta, knobs, shard, split, curve, judged)

        scores = self._shard_function(shard_scores)

        def score(theta: Any, knobs: Knobs, lanes: Sequence[Any]) -> list[Any]:
            return [scores(theta, knobs, shard) for shard in lanes]

        return self._function(
            score, jit_compile=self.compiled, input_signature=self._signatures.score()
        )

    def _lane_scores(
        self, theta: Any, knobs: Knobs, lanes: Any, split: Split, curve: bool, judged: Measure
    ) -> Any:
        *columns, live = lanes
        if self.kernels.mlp:
            return self._kernel_scores(theta, knobs, lanes, split, curve, judged)

        def compute(owner: Any, task: Any, live: Any) -> Sequence[Any]:
            meta, keys, knobs_of = self._lanes(theta, knobs, owner, task)
            support, query = self.task.episodes(split, keys, self.dtype)[:2]
            start = self.algorithm.start(self.problem, meta, support, knobs_of, training=False)
            if curve:
                return [tf.transpose(self._curve(start, query, knobs_of, judged))]
            inner = self.algorithm.follow(self.problem, start, knobs_of, self._live(live))
            return [self._score(inner, query, knobs_of, judged)]

        shape = [2 * self.eval_bound + 1] if curve else []
        (scores,) = self._in_portions(compute, columns, live, [shape])
        return tf.transpose(scores)

    def _kernel_scores(
        self, theta: Any, knobs: Knobs, lanes: Any, split: Split, curve: bool, judged: Measure
    ) -> Any:
        """The same by a kernel."""
        assert self.kernels.mlp is not None
        owner, task, _ = lanes
        keys, knobs = self._lane_knobs(knobs, owner, task)
        episode = self.task.episodes(split, keys, self.dtype)
        if curve:
            knobs = knobs._replace(steps=tf.fill(tf.shape(knobs.steps), 2 * self.eval_bound))
        answers = self.kernels.mlp.answers(theta, owner, knobs, episode, course=curve)
        steps = 2 * self.eval_bound + 1 if curve else 1
        # To a measure, a step more is a lane more.
        y = tf.repeat(episode.query.y, steps, axis=0)
        scores = judged(tf.reshape(answers, [-1, *answers.shape[2:]]), y)
        return tf.transpose(tf.reshape(scores, [-1, steps])) if curve else scores

    def _score(self, inner: Inner, query: Examples, knobs: Knobs, judged: Measure) -> Any:
        """The metric of every lane: float [lane]."""
        outputs = self.algorithm.predict(self.problem, inner, knobs, query.x)
        return judged(outputs, query.y)

    def _curve(self, start: Inner, query: Examples, knobs: Knobs, judged: Measure) -> Any:
        """The metric after 0 … 2 * eval_bound steps: [step, lane]."""
        steps = 2 * self.eval_bound
        knobs = knobs._replace(steps=tf.fill(tf.shape(knobs.steps), steps))

        def advance(index: Any, fast: Any, curve: Any) -> tuple[Any, Any, Any]:
            inner = start._replace(fast=fast)
            inner = inner._replace(fast=self.algorithm.step(self.problem, inner, knobs, index))
            scores = self._score(inner, query, knobs, judged)
            return index + 1, inner.fast, curve.write(index + 1, scores)

        curve = tf.TensorArray(self.dtype, size=steps + 1, element_shape=[None])
        curve = curve.write(0, self._score(start, query, knobs, judged))
        loop = (tf.constant(0), start.fast, curve)
        return tf.while_loop(lambda index, *_: index < steps, advance, loop)[2].stack()

    def _tensors(self, state: State, trials: Trials, lanes: Sequence[Lanes]) -> tuple[Any, ...]:
        """Arguments of `_train`, in its float type, short of the count."""
        floats = self.dtype.as_numpy_dtype
        arguments = [tuple(shard._replace(weight=shard.weight.astype(floats))) for shard in lanes]
        tensors: tuple[Any, ...] = _nested((state, trials, arguments))
        return tensors


def _nested(arguments: Any) -> Any:
    return tf.nest.map_structure(tf.convert_to_tensor, arguments)
