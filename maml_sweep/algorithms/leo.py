"""LEO: descent on codes that decode to a classifier's weights (Rusu et al. 2019)."""

from __future__ import annotations

from enum import IntEnum
from typing import Any, NamedTuple

from maml_sweep import streams
from maml_sweep.algorithms import leo_nets
from maml_sweep.algorithms.base import Algorithm, Inner, Knobs
from maml_sweep.algorithms.descent import descent
from maml_sweep.algorithms.leo_nets import Gaussian, Nets
from maml_sweep.algorithms.problem import Params, Problem
from maml_sweep.backend import tf
from maml_sweep.checks import not_negative, number, positive
from maml_sweep.errors import InputError
from maml_sweep.models.base import Parameter
from maml_sweep.models.lanes import dense


class Draw(IntEnum):
    """What a lane draws while it trains, each from a stream of its own."""

    ENCODER_MASK = 0
    CODES = 1
    WEIGHTS = 2  # at every latent step
    STEP_MASK = 3  # at every latent step
    FINETUNE_MASK = 4  # at every step of the fine-tuning
    QUERY_MASK = 5


class Known(NamedTuple):
    """What stays while a lane adapts; tensors have a leading lane axis."""

    body: Params
    features: Any  # of the support set, [lane, example, width]
    nets: Nets
    latent_rate: Any  # [lane, latent]
    finetune_rate: Any  # [lane, width]
    codes: Gaussian  # that the first codes are drawn from
    keys: Any  # uint32 [lane, 2] of a lane that trains, or ()


class LEO(Algorithm):
    """Latent embedding optimization, algorithm 1 of arXiv 1807.05960.

    The support set is encoded as a distribution of codes, one a class. A code is decoded to its
    class's row of the classifier; inner steps descend the support loss in the codes, and
    `finetune_steps` more in the classifier that the last codes decode to. Both rates are learned,
    one for each number. The model's body makes the features and is learned through the same loss;
    on features in files, `model=mlp model.widths=[]` has none.

    As in the authors' code (https://github.com/deepmind/leo): while training, codes and weights
    are drawn, the weights anew at each latent step, and dropout masks the features anew wherever
    they are used; an evaluation takes means and masks nothing. All derivatives are of second order;
    the only one stopped is that of the adapted codes in the encoder's penalty.

    Departures from that code: a class has one code (algorithm 1), not one for each of its shots,
    which are averaged in the end; the KL term is exact, not an estimate at the draw; the inner loss
    is a mean over examples, not a sum over classes, so that their rate of 1 is one of `ways` here;
    their L2 term (1e-8 and less) is left to optimizer=adamw, and the clipping of the meta-gradient
    (there to a norm of 0.1, each array by itself) to optimizer.clip. Where a loss is no number,
    their code goes on with the gradient of that L2 term; here the trial has diverged, as it soon
    does where long latent steps meet a heavy KL term.

    Args:
      inner_lr: where the rates of the latent steps start.
      inner_steps: of them.
      finetune_lr: where the rates of the fine-tuning start.
      finetune_steps: of it; may be zero.
      latent: numbers in a code.
      kl_weight: of KL(codes || N(0, 1)), averaged over codes (β).
      encoder_penalty: of the mean squared way from first to adapted codes, to shorten it (γ).
      orthogonality_weight: of the cosines between the decoder's rows, squared (λ2).
      dropout: share of features masked.

    Raises:
      InputError: a value out of range.
    """

    serves = ("classification",)

    def __init__(
        self,
        inner_lr: float,
        inner_steps: int,
        finetune_lr: float = 0.001,
        finetune_steps: int = 5,
        latent: int = 64,
        kl_weight: float = 0.001,
        encoder_penalty: float = 1e-9,
        orthogonality_weight: float = 0.001,
        dropout: float = 0.5,
    ) -> None:
        self.inner_steps = positive("algorithm.inner_steps", inner_steps)
        self.finetune_steps = not_negative("algorithm.finetune_steps", finetune_steps)
        self.latent = positive("algorithm.latent", latent)
        numbers = {
            "inner_lr": inner_lr,
            "finetune_lr": finetune_lr,
            "kl_weight": kl_weight,
            "encoder_penalty": encoder_penalty,
            "orthogonality_weight": orthogonality_weight,
            "dropout": dropout,
        }
        self.knobs = {
            name: number(f"algorithm.{name}", value, least=0.0) for name, value in numbers.items()
        }
        if dropout >= 1:
            raise InputError(f"algorithm.dropout={dropout}: expected a number below 1")

    def parameters(self, problem: Problem, bound: int) -> list[Parameter]:
        """The body's, the networks', the rates; the model's own head is never used."""
        width = problem.model.width
        return [
            *problem.model.body,
            *leo_nets.parameters(width, self.latent),
            Parameter("rate/latent", (self.latent,), role="rate", knob="inner_lr"),
            Parameter("rate/finetune", (width,), role="rate", knob="finetune_lr"),
        ]

    def start(
        self, problem: Problem, meta: Params, support: Any, knobs: Knobs, *, training: bool
    ) -> Inner:
        """See `Algorithm.start`; `fast` is the codes, [lane, way, latent]."""
        depth = len(problem.model.body)
        body, nets = meta[:depth], Nets(*meta[depth:-2])
        features, _ = problem.model.features(body, support.x)
        keys = knobs.key if training else ()
        labels = tf.one_hot(support.y, problem.model.outputs, dtype=features.dtype)
        seen = _masked(features, knobs, keys, Draw.ENCODER_MASK)
        codes = leo_nets.encode(nets, seen, labels)
        known = Known(body, features, nets, meta[-2], meta[-1], codes, keys)
        return Inner(_drawn(codes, keys, Draw.CODES), support, known)

    def step(self, problem: Problem, inner: Inner, knobs: Knobs, index: Any) -> Any:
        """See `Algorithm.step`: down the loss of the classifier that the codes decode to."""
        known = inner.context
        seen = _masked(known.features, knobs, known.keys, Draw.STEP_MASK, index)

        def loss(codes: Params) -> Any:
            head = _decoded(known, codes[0], index)
            return problem.loss(dense(seen, head), inner.support.y)

        going = tf.cast(knobs.going(index), known.features.dtype)
        (move,) = descent(loss, [inner.fast], going)
        return inner.fast + known.latent_rate[:, tf.newaxis] * move

    def weights(self, problem: Problem, inner: Inner, knobs: Knobs) -> Params:
        """See `Algorithm.weights`: what the codes decode to, fine-tuned; the bias is zero."""
        head = self._tuned(problem, inner, knobs)
        _, *bias = problem.model.head
        zeros = [tf.zeros_like(head[:, 0]) for _ in bias]
        return [*inner.context.body, head, *zeros]

    def _tuned(self, problem: Problem, inner: Inner, knobs: Knobs) -> Any:
        """The adapted classifier, [lane, width, way]."""
        known = inner.context
        head = _decoded(known, inner.fast, knobs.steps)
        everyone = tf.ones_like(head[:, 0, 0])
        for index in range(self.finetune_steps):
            seen = _masked(known.features, knobs, known.keys, Draw.FINETUNE_MASK, index)

            def loss(params: Params, seen: Any = seen) -> Any:
                return problem.loss(dense(seen, *params), inner.support.y)

            (move,) = descent(loss, [head], everyone)
            head += known.finetune_rate[:, :, tf.newaxis] * move
        return head

    def outer_loss(
        self, problem: Problem, meta: Params, episode: Any, knobs: Knobs, live: Any
    ) -> Any:
        """Equation 6 with the terms of section 2.3.4, float [lane]."""
        first = self.start(problem, meta, episode.support, knobs, training=True)
        last = self.adapt(problem, first, knobs, live)
        way = tf.stop_gradient(last.fast) - first.fast
        terms = {
            "kl_weight": leo_nets.divergence(first.context.codes),
            "encoder_penalty": tf.reduce_mean(tf.square(way), axis=[1, 2]),
            "orthogonality_weight": leo_nets.orthogonality(first.context.nets.decoder),
        }
        penalties = [knobs.values[name] * term for name, term in terms.items()]
        return tf.add_n([self._query_loss(problem, last, episode, knobs), *penalties])

    def _query_loss(self, problem: Problem, inner: Inner, episode: Any, knobs: Knobs) -> Any:
        """The loss on masked features of the query set, float [lane]."""
        model, known = problem.model, inner.context
        statistics = None
        if model.support_statistics:
            _, statistics = model.features(known.body, episode.support.x)
        features, _ = model.features(known.body, episode.query.x, statistics)
        seen = _masked(features, knobs, known.keys, Draw.QUERY_MASK)
        return problem.loss(dense(seen, self._tuned(problem, inner, knobs)), episode.query.y)


def _stream(keys: Any, draw: Draw, index: Any) -> Any:
    """The keys of what is drawn at this index (an integer, or int32 [lane])."""
    return streams.fold_in(streams.fold_in(keys, draw), index)


def _drawn(of: Gaussian, keys: Any, draw: Draw, index: Any = 0) -> Any:
    """A draw where a lane trains, else the mean."""
    if isinstance(keys, tuple):
        return of.mean
    return leo_nets.sampled(of, _stream(keys, draw, index))


def _masked(features: Any, knobs: Knobs, keys: Any, draw: Draw, index: Any = 0) -> Any:
    """Features behind a dropout mask where a lane trains, else as they are."""
    if isinstance(keys, tuple):
        return features
    return leo_nets.dropped(features, knobs.values["dropout"], _stream(keys, draw, index))


def _decoded(known: Known, codes: Any, index: Any) -> Any:
    """The classifier [lane, width, way] of codes at a latent step."""
    weights = leo_nets.decode(known.nets, codes)
    return tf.linalg.matrix_transpose(_drawn(weights, known.keys, Draw.WEIGHTS, index))
