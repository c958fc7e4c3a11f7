"""Where running trials stand, read in a few queries, however many there are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import optuna
from optuna.trial import FrozenTrial, TrialState

from maml_sweep.search.mirror import Mirror


@dataclass(frozen=True)
class Stand:
    """A trial's last rung.

    Attributes:
      step: meta-iterations behind it; 0 before its first rung.
      rungs: how many it has reported.
      value: the last of them; None before the first.
    """

    step: int = 0
    rungs: int = 0
    value: float | None = None


def stands(study: optuna.Study, trials: Sequence[FrozenTrial]) -> dict[int, Stand]:
    """Trial number -> where it stands, of the RUNNING ones of an outline."""
    running = [each for each in trials if each.state == TrialState.RUNNING]
    storage = study._storage
    if running and isinstance(storage, Mirror):
        from maml_sweep.search import tables  # as slow to import as a database

        known = {each.number: Stand() for each in running}  # one may be deleted meanwhile
        whole = storage.run(tables.whole, [each._trial_id for each in running])
        return known | {each.number: _stand(each) for each in whole}
    return {each.number: _stand(each) for each in running}


def _stand(trial: FrozenTrial) -> Stand:
    curve = trial.intermediate_values
    return Stand(max(curve), len(curve), curve[max(curve)]) if curve else Stand()
