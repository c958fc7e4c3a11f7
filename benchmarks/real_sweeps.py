"""Short sweeps that really train, one after the other in this process: TensorFlow starts once."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from optuna.trial import TrialState

SHORT = (
    "training.iterations=150",
    "training.report_every=15",
    "training.validation_tasks=100",
    "study.n_trials=32",
)


def played_for_real(seed: int, *arguments: str) -> dict[str, Any]:
    """Runs one sweep of the default space with a short schedule.

    Args:
      seed: of the trials, the sampler and the validation tasks.
      arguments: further ones of the command line.

    Returns:
      `best`, the least last value of a trial that came to its end; `steps`, its trial-steps;
      `trials` that came to their end.

    Raises:
      RuntimeError: the sweep failed.
    """
    import pytest
    from sweeping import reuse_programs, sweep

    with (
        tempfile.TemporaryDirectory(prefix="maml-real-") as root,
        pytest.MonkeyPatch.context() as p,
    ):
        reuse_programs(p)
        done = sweep(Path(root), *SHORT, f"seed={seed}", *arguments)
        if done.code:
            raise RuntimeError(f"the sweep ended with {done.code}: {done.errors[-500:]}")
        trials = done.study.get_trials(deepcopy=False)
    whole = [trial for trial in trials if trial.state == TrialState.COMPLETE]
    return {
        "best": min(float(trial.values[0]) for trial in whole),
        "steps": sum(int(trial.user_attrs["iterations"]) for trial in trials),
        "trials": len(whole),
    }
