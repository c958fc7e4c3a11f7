"""The outline of a study: its trials without their parameters and curves.

Optuna reads whole trials only, and that takes seconds where there are thousands of them. What
stands where can be told from their states and a few attributes, which two queries bring.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import optuna
from optuna.storages import BaseStorage, RDBStorage, _CachedStorage
from optuna.trial import FrozenTrial

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
    engine = _engine(study._storage)
    if engine is None:
        return study.get_trials(deepcopy=False)
    from optuna.storages._rdb.models import TrialModel, TrialUserAttributeModel  # as slow as the
    from sqlalchemy import orm, select  # database itself: only where there is one

    mine = TrialModel.study_id == study._study_id
    attribute = TrialUserAttributeModel
    with orm.Session(engine) as session:
        attrs: dict[Any, dict[str, Any]] = {}
        wanted = select(attribute.trial_id, attribute.key, attribute.value_json)
        wanted = wanted.join(TrialModel).where(mine, attribute.key.in_(keys))
        for trial_id, key, text in session.execute(wanted):
            attrs.setdefault(trial_id, {})[key] = json.loads(text)
        trials = session.scalars(select(TrialModel).where(mine).order_by(TrialModel.trial_id))
        return [_bare(trial, attrs.get(trial.trial_id, {})) for trial in trials]


def whole(study: optuna.Study, trial: FrozenTrial) -> FrozenTrial:
    """All of one trial of an outline."""
    return study._storage.get_trial(trial._trial_id)


def names(storage: BaseStorage, *, ours: bool = False) -> list[str]:
    """The studies in a storage, or only the sweeps among them; the newest first."""
    found = sorted(storage.get_all_studies(), key=lambda study: -study._study_id)
    return [study.study_name for study in found if PLAN in study.user_attrs or not ours]


def _engine(storage: BaseStorage) -> Any | None:
    """SQLAlchemy's engine behind a storage, if there is one."""
    if isinstance(storage, _CachedStorage):
        storage = storage._backend
    return storage.engine if isinstance(storage, RDBStorage) else None


def _bare(row: Any, attrs: dict[str, Any]) -> FrozenTrial:
    return FrozenTrial(
        number=row.number,
        state=row.state,
        value=None,
        datetime_start=row.datetime_start,
        datetime_complete=row.datetime_complete,
        params={},
        distributions={},
        user_attrs=attrs,
        system_attrs={},
        intermediate_values={},
        trial_id=row.trial_id,
    )
