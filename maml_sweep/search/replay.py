"""Replays recorded, unpruned learning curves under a pruner: what it saves, and whom it loses.

For tuning `pruner.*` on curves of your own: record them with `pruner=none`, read them out of the
study, and compare settings in seconds instead of sweeps.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from maml_sweep.search.rungs import RungPruner

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Outcome:
    """One replay.

    Attributes:
      lost: whether the trial with the best last value was pruned.
      saved: fraction of all iterations that were not spent.
      regret: last value of the best survivor less that of the best of all, times the direction.
    """

    lost: bool
    saved: float
    regret: float


def replay(
    curves: Array,
    pruner: RungPruner,
    order: Sequence[int],
    *,
    pack: int = 8,
    direction: float = 1.0,
) -> Outcome:
    """Lets trials ride in a pack, place by place, as a worker would.

    At every tick each place advances by one rung and the whole pack is judged; a place whose
    trial ended or was pruned goes to the next trial of `order` at once.

    Args:
      curves: [trials, rungs], not finite from a trial's divergence on; rung r is reported at
        step (r + 1) / rungs of `pruner.iterations`.
      pruner: the rule.
      order: in which the trials come.
      pack: places.
      direction: 1 if less is better, -1 if more is.

    Returns:
      What came of it.
    """
    rungs = curves.shape[1]
    steps = [round((rung + 1) * pruner.iterations / rungs) for rung in range(rungs)]
    known: dict[int, dict[int, float]] = {}
    ended: set[int] = set()
    queue, riding = list(order), list[int]()
    while queue or riding:
        while queue and len(riding) < pack:
            riding.append(queue.pop(0))
            known[riding[-1]] = {}
        for trial in riding:
            rung = len(known[trial])
            known[trial][steps[rung]] = float(curves[trial, rung])
        at = {(trial, steps[len(known[trial]) - 1]) for trial in riding}
        ended |= pruner.judge(known, ended, at, direction)
        riding = [t for t in riding if t not in ended and len(known[t]) < rungs]
    return _outcome(curves, known, ended, direction)


def _outcome(
    curves: Array, known: dict[int, dict[int, float]], ended: set[int], direction: float
) -> Outcome:
    final = np.where(np.isfinite(curves[:, -1]), direction * curves[:, -1], np.inf)
    best = int(np.argmin(final))
    survivors = [trial for trial in known if trial not in ended]
    reached = min((final[trial] for trial in survivors), default=np.inf)
    spent = sum(len(values) for values in known.values())
    return Outcome(best in ended, 1.0 - spent / curves.size, float(reached - final[best]))


def replays(
    curves: Array,
    pruner: RungPruner,
    count: int,
    *,
    pack: int = 8,
    direction: float = 1.0,
    seed: int = 0,
) -> list[Outcome]:
    """`count` replays in random orders, which also mixes the packs."""
    random = np.random.default_rng(seed)
    orders = [random.permutation(len(curves)).tolist() for _ in range(count)]
    return [replay(curves, pruner, order, pack=pack, direction=direction) for order in orders]
