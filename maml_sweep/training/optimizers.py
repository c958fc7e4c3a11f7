"""Meta-optimizers of many trials at once: every coefficient is a runtime array.

One update serves Adam (Kingma & Ba 2015, algorithm 1), AdamW (Loshchilov & Hutter 2019,
algorithm 2) and SGD with momentum (Sutskever et al. 2013; Nesterov's as PyTorch writes it), so
that trials of different optimizers share a program.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

from maml_sweep.backend import tf
from maml_sweep.checks import number, one_of
from maml_sweep.errors import InputError


@dataclass(frozen=True)
class Optimizer:
    """A trial's meta-optimizer, as numbers.

    Attributes:
      adaptive: 1 for Adam and AdamW, 0 for SGD.
      meta_lr: the meta rate β.
      beta1: decay of the first moment; SGD's momentum.
      beta2: decay of the second moment.
      epsilon: added to the root of the second moment.
      weight_decay: decoupled from the gradient, times the rate.
      nesterov: 1 to look ahead (SGD only).
      cosine: 1 to let the rate fall to zero along half a cosine (SGDR without restarts).
      clip: bound of the meta-gradient's norm; infinity: none.
    """

    adaptive: float
    meta_lr: float
    beta1: float
    beta2: float
    epsilon: float
    weight_decay: float
    nesterov: float
    cosine: float
    clip: float


class Coefficients(NamedTuple):
    """`Optimizer` of many trials: float [place, 1] each."""

    adaptive: Any
    meta_lr: Any
    beta1: Any
    beta2: Any
    epsilon: Any
    weight_decay: Any
    nesterov: Any
    cosine: Any
    clip: Any
    iterations: Any  # the whole training's, for the cosine


class State(NamedTuple):
    """What a trial carries from one iteration to the next."""

    theta: Any  # float [place, parameter]
    moment1: Any  # float [place, parameter]
    moment2: Any  # float [place, parameter]


def build(settings: Any, schedule: str = "constant") -> Optimizer:
    """Reads the `optimizer` group.

    Args:
      settings: the group.
      schedule: of the meta rate, where the group leaves it at null.

    Raises:
      InputError: a value out of range.
    """
    kind = one_of("optimizer.kind", settings.kind, ("adam", "adamw", "sgd"))
    adaptive = kind != "sgd"
    if settings.schedule is not None:
        schedule = one_of("optimizer.schedule", settings.schedule, ("constant", "cosine"))
    clip = settings.clip
    first = "beta1" if adaptive else "momentum"
    return Optimizer(
        adaptive=float(adaptive),
        meta_lr=number("optimizer.meta_lr", settings.meta_lr, least=0.0),
        beta1=_decay(first, settings[first]),
        beta2=_decay("beta2", settings.beta2) if adaptive else 0.0,
        epsilon=number("optimizer.epsilon", settings.epsilon, above=0.0) if adaptive else 1.0,
        weight_decay=(
            number("optimizer.weight_decay", settings.weight_decay, least=0.0)
            if kind == "adamw"
            else 0.0
        ),
        nesterov=0.0 if adaptive else float(settings.nesterov),
        cosine=float(schedule == "cosine"),
        clip=math.inf if clip is None else number("optimizer.clip", clip, above=0.0),
    )


def _decay(name: str, value: float) -> float:
    if not 0.0 <= value < 1.0:
        raise InputError(f"optimizer.{name}={value}: expected a number of at least 0, below 1")
    return float(value)


def update(
    state: State,
    gradient: Any,
    use: Coefficients,
    iteration: Any,
    decayed: Any = None,
    shares: Any = None,
) -> State:
    """One step of every trial.

    Args:
      state: before the step.
      gradient: float [place, parameter].
      use: coefficients, float [place, 1] each.
      iteration: completed iterations, float [place, 1].
      decayed: where the weight decay applies, float [parameter] of 0 and 1; None: everywhere.
      shares: of running averages, which move by this share of their gradient and not by the
        optimizer: float [parameter], 0 for everything else; None: there are none.
    """
    if shares is None:
        return _step(state, gradient, use, iteration, decayed)
    learnt = tf.where(shares > 0, tf.zeros_like(gradient), gradient)
    moved = _step(state, learnt, use, iteration, decayed)
    theta = tf.where(shares > 0, state.theta - shares * gradient, moved.theta)
    return moved._replace(theta=theta)


def _step(state: State, gradient: Any, use: Coefficients, iteration: Any, decayed: Any) -> State:
    """The meta-optimizer's own step."""
    gradient = gradient * _clip_scale(gradient, use.clip)
    fresh = tf.where(use.adaptive > 0, 1 - use.beta1, tf.ones_like(use.beta1))
    moment1 = use.beta1 * state.moment1 + fresh * gradient
    moment2 = use.beta2 * state.moment2 + (1 - use.beta2) * tf.square(gradient)
    scale = tf.sqrt(moment2 / _unbiased(use.beta2, iteration)) + use.epsilon
    adaptive = moment1 / (_unbiased(use.beta1, iteration) * scale)
    plain = tf.where(use.nesterov > 0, gradient + use.beta1 * moment1, moment1)
    decay = use.weight_decay if decayed is None else use.weight_decay * decayed
    direction = tf.where(use.adaptive > 0, adaptive, plain) + decay * state.theta
    theta = state.theta - _rate(use, iteration) * direction
    return State(theta, moment1, moment2)


def _unbiased(decay: Any, iteration: Any) -> Any:
    """1 - decay ** (iteration + 1), in double precision: it cancels while it is small."""
    decay, age = tf.cast(decay, tf.float64), tf.cast(iteration, tf.float64) + 1
    return tf.cast(1 - decay**age, iteration.dtype)


def _rate(use: Coefficients, iteration: Any) -> Any:
    """The meta rate at an iteration: float [place, 1]."""
    share = tf.cast(iteration, tf.float64) / tf.cast(use.iterations, tf.float64)
    falling = tf.cast(0.5 * (1 + tf.cos(math.pi * share)), iteration.dtype)
    return use.meta_lr * tf.where(use.cosine > 0, falling, tf.ones_like(falling))


def _clip_scale(gradient: Any, limit: Any) -> Any:
    """The factor that brings each trial's gradient norm down to `limit`: [place, 1]."""
    norm = tf.norm(gradient, axis=1, keepdims=True)
    return tf.where(norm > limit, limit / norm, tf.ones_like(norm))
