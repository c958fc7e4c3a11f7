"""What a worker does to trials, in as few transactions as its storage allows.

In a database each of these is one transaction; in another storage of Optuna's, such as that in
memory, it is done call by call.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

import optuna
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import FrozenTrial, TrialState

from maml_sweep.search.mirror import Mirror


def expire(study: optuna.Study) -> None:
    """Has the next look at the trials see all that others have written."""
    if isinstance(study._storage, Mirror):
        study._storage.expire()


def queue_all(study: optuna.Study, templates: Sequence[FrozenTrial]) -> None:
    """Adds waiting trials that have nothing but attributes."""
    storage = study._storage
    if isinstance(storage, Mirror):
        storage.queue_all(study._study_id, templates)
    else:
        for each in templates:
            study.add_trial(each)


def pop(study: optuna.Study, marks: Mapping[str, Any]) -> optuna.Trial | None:
    """Takes the first waiting trial, exactly once among all workers of a database.

    As `Study.ask`, but it makes no trial where none waits, and marks the one it takes in the same
    transaction: there is no moment at which a running trial is nobody's.

    Args:
      study: the open study.
      marks: user attributes that no other call gives; one that the trial has stays.
    """
    storage = study._storage
    if isinstance(storage, Mirror):
        trial_id = storage.pop(study._study_id, marks)
        study._thread_local.cached_all_trials = None  # as `ask`: sample from what is known now
        return None if trial_id is None else optuna.Trial(study, trial_id)
    if not study.get_trials(deepcopy=False, states=(TrialState.WAITING,)):
        return None
    trial = study.ask()
    _note(trial, {key: mark for key, mark in marks.items() if key not in trial.user_attrs})
    return trial


def _note(trial: optuna.Trial, attrs: Mapping[str, Any]) -> None:
    for key, value in attrs.items():
        trial.set_user_attr(key, value)


@contextmanager
def at_once(trial: optuna.Trial) -> Iterator[None]:
    """Has the parameters that are suggested within written in one transaction, at its end."""
    storage = trial.study._storage
    with storage.at_once(trial._trial_id) if isinstance(storage, Mirror) else nullcontext():
        yield


@contextmanager
def noting(trial: optuna.Trial, attrs: Mapping[str, Any]) -> Iterator[None]:
    """Has a running trial that is told within get user attributes, too: in the same transaction.

    Raises:
      UpdateFinishedTrialError: it runs no longer.
    """
    storage = trial.study._storage
    if isinstance(storage, Mirror):
        with storage.noting(attrs):
            yield
        return
    _note(trial, attrs)
    yield


def report_all(study: optuna.Study, values: Sequence[tuple[int, int, float]]) -> set[int]:
    """Reports a whole pack: (trial number, step, value); a known step is passed over.

    Returns:
      Numbers of the trials that run no longer; nothing of theirs is written.
    """
    storage, gone = study._storage, set()
    if isinstance(storage, Mirror):
        return storage.report_all(study._study_id, values)
    for number, step, value in values:
        trial_id = storage.get_trial_id_from_study_id_trial_number(study._study_id, number)
        trial = storage.get_trial(trial_id)
        try:
            if trial.state.is_finished():
                gone.add(number)
            elif step not in trial.intermediate_values:
                storage.set_trial_intermediate_value(trial_id, step, float(value))
        except UpdateFinishedTrialError:
            gone.add(number)
    return gone
