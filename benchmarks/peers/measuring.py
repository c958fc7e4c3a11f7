"""What the training loops of all peers share: their command line, the clock, the check.

A peer trains copies of one trial. It says how to begin and how to advance; here it is timed, and
its meta-gradient is compared with central differences.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

WORKLOADS = ("sinusoid", "conv4")
ROUNDS = 3  # of a pack, a step or more each: the median counts
CALL = 0.1  # seconds that a timed call should last
EPSILON = 1e-6  # of a central difference
TOLERANCE = 1e-6  # of the relative error of a directional derivative
DIRECTIONS = 5

Advance = Callable[[int], None]  # trains that many meta-iterations and waits for their end


class Rate(NamedTuple):
    """How fast a loop is.

    Attributes:
      first: seconds of its first meta-iteration.
      steps: meta-iterations of the whole pack a second.
    """

    first: float
    steps: float


def parser(description: str | None) -> argparse.ArgumentParser:
    """The command line of every training loop."""
    made = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    made.add_argument("--workload", choices=WORKLOADS, default="sinusoid")
    made.add_argument("--inner-steps", type=int, default=1)
    made.add_argument("--queries", type=int, default=15, help="of each class, of conv4")
    made.add_argument("--seconds", type=float, default=4.0, help="of timing, each figure")
    made.add_argument("--threads", type=int, help="left out: what is best, or the library's own")
    made.add_argument("--packs", type=packs, default=[1], help="trials at once, as 1,4,16")
    made.add_argument("--processes", type=int, default=1, help="side by side, rates added up")
    made.add_argument("--check", action="store_true", help="the meta-gradient, in float64")
    return made


def packs(text: str) -> list[int]:
    """Pack sizes of the command line."""
    return [int(each) for each in text.split(",")]


def rate(advance: Advance, seconds: float, ready: Callable[[], None] = lambda: None) -> Rate:
    """Times a loop for about some seconds, after a first call and a warm-up.

    Of steps that take longer than that, one is timed.

    Args:
      advance: trains; its first call may compile.
      seconds: of all timed calls together.
      ready: called when the warm-up is over; where several processes measure, it waits for them.
    """
    first = _seconds(advance, 1)
    count = 1
    for _ in range(3):  # the first of them settle; slow steps are not repeated for that
        once = _seconds(advance, count) / count
        count = max(1, round(min(CALL, seconds / ROUNDS) / once))
        if count == 1:
            break
    ready()
    found: list[float] = []
    for _ in range(ROUNDS if once < seconds else 1):
        steps, begin = 0, time.perf_counter()
        while not steps or time.perf_counter() - begin < seconds / ROUNDS:
            advance(count)
            steps += count
        found.append(steps / (time.perf_counter() - begin))
    return Rate(first, statistics.median(found))


def _seconds(advance: Advance, count: int) -> float:
    begin = time.perf_counter()
    advance(count)
    return time.perf_counter() - begin


def report(
    peer: str,
    args: argparse.Namespace,
    rates: Mapping[int, float],
    first: float,
    versions: Mapping[str, str],
    **more: Any,
) -> None:
    """Prints the line that a training loop ends with.

    Args:
      peer: its name.
      args: its command line.
      rates: trial-steps a second of each pack.
      first: seconds of the first meta-iteration of the first pack.
      versions: of what it runs on.
      **more: to be said besides, such as threads and a note.
    """
    said = {
        "peer": peer,
        "workload": args.workload,
        "inner_steps": args.inner_steps,
        "rates": {str(size): round(value, 3) for size, value in rates.items()},
        "first_call_seconds": round(first, 3),
        "versions": dict(versions),
        "note": "",
    }
    print(json.dumps({**said, **more}), flush=True)


class Numbers(NamedTuple):
    """A small problem, fixed, in float64, with its parameters in one array.

    Attributes:
      theta: float64 [parameter], where the gradient is looked at.
      loss: theta -> the meta-loss.
      gradient: theta -> what the peer takes for its gradient.
      first_order: theta -> the same without second derivatives, which must be told from it.
    """

    theta: np.ndarray
    loss: Callable[[np.ndarray], float]
    gradient: Callable[[np.ndarray], np.ndarray]
    first_order: Callable[[np.ndarray], np.ndarray]


def check(peer: str, problems: Mapping[str, Numbers]) -> None:
    """Prints the largest errors of meta-gradients against central differences.

    Raises:
      SystemExit: one is too large, or could not be told from first order's.
    """
    errors = {name: _error(each, each.gradient) for name, each in problems.items()}
    without = {name: _error(each, each.first_order) for name, each in problems.items()}
    print(json.dumps({"peer": peer, "error": errors, "error_of_first_order": without}), flush=True)
    if max(errors.values()) > TOLERANCE or min(without.values()) < 1000 * TOLERANCE:
        raise SystemExit(f"{peer}: the meta-gradient is not that of second order")


def _error(problem: Numbers, gradient: Callable[[np.ndarray], np.ndarray]) -> float:
    """Of derivatives in random directions, relative to the gradient's length."""
    rng = np.random.default_rng(0)
    found = gradient(problem.theta)
    errors = []
    for _ in range(DIRECTIONS):
        direction = rng.normal(size=problem.theta.shape)
        direction /= np.linalg.norm(direction)
        up, down = (problem.loss(problem.theta + sign * EPSILON * direction) for sign in (1, -1))
        errors.append(abs((up - down) / (2 * EPSILON) - found @ direction))
    scale = float(np.linalg.norm(found)) / float(np.sqrt(problem.theta.size))
    return float(max(errors)) / scale


def fail(message: str) -> None:
    """Ends with one line.

    Raises:
      SystemExit: always, with code 2.
    """
    print(message, file=sys.stderr)
    raise SystemExit(2)
