"""Our application under Hydra's basic sweeper: a grid, one point after the other.

    python benchmarks/peers/hydra_basic.py
    python benchmarks/peers/hydra_basic.py --trials 3 --iterations 40 --report-every 20

The command is `python sweep.py hydra/sweeper=basic search=none …`. A grid has no say in how many
trials it takes: of `--trials` 8 and more as many as 8 times a whole number are tried, of fewer only
the inner rate is.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parents[2])]

from benchmarks.peers import driven, searching  # noqa: E402

INNER_LR = (1e-3, 1e-1)
REST = (
    "algorithm.inner_steps=2,5",
    "optimizer.meta_lr=1e-3,3e-3",
    "training.meta_batch_size=16,40",
)
MIDDLE = ("algorithm.inner_steps=3", "optimizer.meta_lr=2e-3", "training.meta_batch_size=25")


def grid(trials: int) -> list[str]:
    """A grid of at most so many points, spread over our default space."""
    many = trials >= 8
    count = trials // 8 if many else trials
    low, high = INNER_LR
    # The middles of `count` equal parts, on a logarithmic scale.
    rates = [low * (high / low) ** ((place + 0.5) / count) for place in range(count)]
    return [
        f"algorithm.inner_lr={','.join(f'{rate:.3g}' for rate in rates)}",
        *(REST if many else MIDDLE),
    ]


def main() -> None:
    """Searches and prints what was found."""
    begin = time.perf_counter()
    args = searching.parser(__doc__).parse_args()
    arguments = ["hydra/sweeper=basic", *grid(args.trials)]
    command = driven.command(arguments, args.iterations, args.report_every, args.seed)
    trials = driven.follow(command, begin, args.iterations)
    searching.report("hydra_basic", time.perf_counter() - begin, trials, driven.versions())


if __name__ == "__main__":
    main()
