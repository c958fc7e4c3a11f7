"""The outline of a study: its trials without their parameters and curves.

Optuna reads whole trials only, and that takes seconds where there are thousands of them. What
stands where can be told from their states and a few attributes, which two queries bring.
"""

from __future__ import annotations

from collections.abc import Sequence

import optuna
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial

from maml_sweep.search.mirror import Mirror
from maml_sweep.search.slots import Counts, tally
from maml_sweep.search.study import PLAN

SLOTS = ("slot", "diverged", "blame")  # what `maml_sweep.search.slots` looks at
HOLDERS = ("worker", "iterations")


def counts(study: optuna.Study, max_retries: int) -> Counts:
    """How many slots are in which state."""
    return tally(outline(study), max_retries)


def outline(study: optuna.Study, keys: Sequence[str] = SLOTS) -> list[FrozenTrial]:
    """Every trial in the order of the numbers, with number, state, times and some attributes.

    Args:
      study: the open study; one outside a database is read whole.
      keys: the user attributes to read.

    Returns:
      Trials without values, parameters and curves, unless they were to be had for nothing.
    """
    storage = study._storage
    if not isinstance(storage, Mirror):
        return study.get_trials(deepcopy=False)
    from maml_sweep.search import tables  # as slow to import as a database

    return storage.run(tables.outline, study._study_id, keys)


def whole(study: optuna.Study, trial: FrozenTrial) -> FrozenTrial:
    """All of one trial of an outline."""
    return study._storage.get_trial(trial._trial_id)


def names(storage: BaseStorage, *, ours: bool = False) -> list[str]:
    """The studies in a storage, or only the sweeps among them; the newest first."""
    found = sorted(storage.get_all_studies(), key=lambda study: -study._study_id)
    return [study.study_name for study in found if PLAN in study.user_attrs or not ours]
