"""Our application under hydra-optuna-sweeper 1.4.0rc3, in the environment `hydra`.

    python benchmarks/peers/hydra_optuna.py
    python benchmarks/peers/hydra_optuna.py --trials 3 --iterations 40 --report-every 20

The command is `python sweep.py hydra/sweeper=optuna search=none …` with our default space, which
that sweeper reads in the same words. It needs hydra-core 1.4.0rc3, under which the application runs
unchanged. Its trials run one after the other in one process, by Hydra's basic launcher, and are
never pruned, for a Hydra application returns its objective at the end.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parents[2])]

from benchmarks.peers import driven, searching  # noqa: E402


def main() -> None:
    """Searches and prints what was found."""
    begin = time.perf_counter()
    args = searching.parser(__doc__).parse_args()
    own = ["hydra/sweeper=optuna", f"hydra.sweeper.n_trials={args.trials}"]
    own += ["hydra.sweeper.direction=minimize", f"hydra.sweeper.sampler.seed={args.seed}"]
    command = driven.command([*own, *driven.SPACE], args.iterations, args.report_every, args.seed)
    trials = driven.follow(command, begin, args.iterations)
    versions = driven.versions("hydra-optuna-sweeper")
    searching.report("hydra_optuna", time.perf_counter() - begin, trials, versions)


if __name__ == "__main__":
    main()
