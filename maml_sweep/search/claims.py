"""Which worker trains which slot: claimed once, handed back, taken back from the dead.

A slot's state is derived from its trials (`maml_sweep.search.slots`). `reconcile` queues the slots
that a kill lost and tells FAIL to surplus trials. Several of them at once (on a server, where no
lock is shared) may queue a slot twice; as the lowest number wins, whoever pops the other drops it.

A trial's user attributes: slot, trial_seed, attempt (failures before it), worker, asked_at,
known_results, resumed (how many reported values it began with); on a failed one reason and blame
(1 if it counts as a failure of the slot).
"""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import optuna
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import FrozenTrial, TrialState

from maml_sweep.search.lease import PREFIX, Lease, live_workers
from maml_sweep.search.lock import folder_lock
from maml_sweep.search.slots import (
    ACTIVE,
    RESULTS,
    Attempts,
    Counts,
    by_slot,
    failures,
    reported,
    slot_state,
    tally,
)
from maml_sweep.search.storage import lives_here
from maml_sweep.search.study import Plan, plan_of, queue, queue_missing


class Claims:
    """One worker's hold on the slots of a study."""

    def __init__(
        self,
        study: optuna.Study,
        plan: Plan,
        folder: Path,
        worker: str,
        *,
        lease_seconds: float = 60.0,
    ) -> None:
        """Makes the view; writes nothing.

        Args:
          study: the open study.
          plan: its plan.
          folder: the study's folder, where the lock lies.
          worker: this worker's identity, unique for ever: host, process id, something random.
          lease_seconds: how long a silent worker of another machine keeps its trials.
        """
        self.worker = worker
        self._study = study
        self._storage = study._storage  # waiting trials can be told FAIL through it alone
        self._max_retries = plan.max_retries
        self._folder = folder
        self._shares_lock = lives_here(study)
        self._lease_seconds = lease_seconds
        self._beat = 0
        self._renew_at = -math.inf

    @contextmanager
    def _locked(self) -> Iterator[None]:
        with folder_lock(self._folder if self._shares_lock else None):
            yield

    def _trials(self) -> list[FrozenTrial]:
        return self._study.get_trials(deepcopy=False)

    # The lease.

    def renew(self) -> None:
        """Renews this worker's lease; writes at most every quarter of its length."""
        if time.monotonic() >= self._renew_at:
            self._renew_at = time.monotonic() + self._lease_seconds / 4
            self._write_lease(time.time() + self._lease_seconds)

    def retire(self) -> None:
        """Says goodbye: whatever this worker still holds may be taken back at once."""
        self._renew_at = -math.inf
        self._write_lease(0.0)

    def _write_lease(self, expires: float) -> None:
        self._beat += 1
        lease = Lease.of_this_process(expires, self._beat)
        self._study.set_user_attr(PREFIX + self.worker, lease.to_json())

    # Taking a slot.

    def claim(self) -> optuna.Trial | None:
        """Pops one waiting slot, exactly once among all workers; None when none waits.

        Its parameters are still to be suggested; those of a retry, and those that the user
        enqueued, are fixed already.
        """
        self.renew()
        with self._locked():
            while any(trial.state == TrialState.WAITING for trial in self._trials()):
                trial = self._study.ask()
                if self._keep(trial):
                    return trial
        return None

    def _keep(self, trial: optuna.Trial) -> bool:
        """Marks a popped trial as ours, or drops one that stands for no open slot."""
        trials = self._trials()
        attrs = trial.user_attrs
        attempts = by_slot(trials).get(attrs.get("slot", -1), [])
        if not attempts or self._survivor(attempts) != trial.number:
            # Another worker emptied the queue before our ask, or queued this slot twice.
            self._drop(trials[trial.number], "surplus")
            return False
        marks = {"worker": self.worker, "asked_at": time.time()}
        if "known_results" not in attrs:
            marks["known_results"] = sum(trial.state in RESULTS for trial in trials)
        try:
            for key, value in marks.items():
                trial.set_user_attr(key, value)
        except UpdateFinishedTrialError:  # another worker's repair dropped it
            return False
        return True

    def _survivor(self, attempts: Attempts) -> int | None:
        """The number of the one unfinished trial that may stand for a slot."""
        if slot_state(attempts, self._max_retries) not in {"running", "waiting"}:
            return None
        return next((trial.number for trial in attempts if trial.state in ACTIVE), None)

    # Giving it back, finished or not.

    def report(self, trial: optuna.Trial, value: float, step: int) -> bool:
        """Reports a rung's value; False if the trial was taken from us meanwhile.

        A value that an earlier attempt reported at that step stands.
        """
        known = trial._cached_frozen_trial.intermediate_values
        try:
            if step not in known:
                trial.report(value, step)
        except UpdateFinishedTrialError:
            return False
        return True

    def finish(
        self,
        trial: optuna.Trial,
        *,
        value: float | None,
        state: TrialState,
        attrs: Mapping[str, Any],
    ) -> bool:
        """Tells a result; False if the trial was taken from us meanwhile (it then counts not).

        A diverged trial is told PRUNED with the attribute `diverged`, the iteration; it also
        violates a constraint, which is how samplers know it for worse than any finite trial.

        Raises:
          ValueError: a COMPLETE trial without a finite value.
        """
        if state == TrialState.COMPLETE and (value is None or not math.isfinite(value)):
            raise ValueError(f"trial {trial.number}: COMPLETE needs a finite value, got {value}")
        try:
            for key, attr in attrs.items():
                trial.set_user_attr(key, attr)
            if "diverged" in attrs:
                trial.set_constraint("diverged", 1.0 / (1.0 + float(attrs["diverged"])))
            return self._tell(trial.number, state, value if state == TrialState.COMPLETE else None)
        except UpdateFinishedTrialError:
            return False

    def _tell(self, number: int, state: TrialState, value: float | None = None) -> bool:
        """Tells unless somebody else has; whether it was we who did."""
        if self._trials()[number].state != TrialState.RUNNING:
            return False
        with warnings.catch_warnings():
            # CMA-ES leaves diverged trials out by itself: they are not COMPLETE.
            warnings.filterwarnings("ignore", message="Constraints have been set, but CmaEs")
            try:
                self._study.tell(number, value, state=state)
            except (UpdateFinishedTrialError, ValueError):
                if self._trials()[number].state == TrialState.RUNNING:
                    raise
                return False
        return True

    def release(self, trial: optuna.Trial) -> None:
        """Hands an unfinished trial back: same parameters, same seed, no failure."""
        with self._locked():
            self._hand_back(trial.number, "released", blame=0)

    def fail(self, trial: optuna.Trial, reason: str) -> None:
        """The trial crashed: its slot is tried again, up to `max_retries` times."""
        with self._locked():
            self._hand_back(trial.number, reason, blame=1)

    def lost(self, trial: optuna.Trial) -> bool:
        """Whether the trial was taken from us, because our lease lapsed."""
        return self._trials()[trial.number].state != TrialState.RUNNING

    def _hand_back(self, number: int, reason: str, blame: int) -> None:
        """Tells a running trial FAIL and queues its slot again, unless that was tried too often."""
        slot = self._trials()[number].user_attrs["slot"]
        if self._drop(self._trials()[number], reason, blame):
            self._requeue(by_slot(self._trials())[slot])

    def _drop(self, trial: FrozenTrial, reason: str, blame: int = 0) -> bool:
        """Tells an unfinished trial FAIL; False if somebody else finished it first."""
        try:
            self._storage.set_trial_user_attr(trial._trial_id, "reason", reason)
            self._storage.set_trial_user_attr(trial._trial_id, "blame", blame)
            if trial.state == TrialState.WAITING:
                return self._storage.set_trial_state_values(trial._trial_id, TrialState.FAIL)
        except UpdateFinishedTrialError:
            return False
        return self._tell(trial.number, TrialState.FAIL)

    def _requeue(self, attempts: Attempts) -> None:
        """Queues a slot that no trial stands for, with all that its attempts drew and reported."""
        if slot_state(attempts, self._max_retries) != "waiting":
            return
        if any(trial.state in ACTIVE for trial in attempts):
            return
        params: dict[str, Any] = {}
        curve = reported(attempts)
        carried: dict[str, Any] = {}
        for trial in attempts:
            params |= trial.system_attrs.get("fixed_params", {}) | trial.params
            if trial.params and "known_results" in trial.user_attrs:
                carried.setdefault("known_results", trial.user_attrs["known_results"])
        carried |= {key: attempts[-1].user_attrs[key] for key in ("slot", "trial_seed")}
        carried |= {"attempt": failures(attempts), "resumed": len(curve)}
        queue(self._study, params, carried, curve)

    # Repair.

    def reap(self) -> int:
        """Takes back the trials of workers that are dead or silent; returns how many."""
        with self._locked():
            return self._reap()

    def _reap(self) -> int:
        attrs = self._study.user_attrs
        live = live_workers(attrs) | {self.worker}
        taken = [
            trial
            for trial in self._trials()
            if trial.state == TrialState.RUNNING and self._abandoned(trial, live)
        ]
        for trial in taken:
            worker = trial.user_attrs.get("worker")
            lease = attrs.get(f"{PREFIX}{worker}", {})
            retired = worker is None or lease.get("expires") == 0.0
            self._take_back(trial, retired)
        return len(taken)

    def _abandoned(self, trial: FrozenTrial, live: set[str]) -> bool:
        worker = trial.user_attrs.get("worker")
        if worker is not None:
            return worker not in live
        # Killed between the pop and the mark. Where a lock is shared nobody can be there now.
        start = trial.datetime_start
        age = math.inf if start is None else time.time() - start.timestamp()
        return self._shares_lock or age > self._lease_seconds

    def _take_back(self, trial: FrozenTrial, retired: bool) -> None:
        """A lapse counts as a failure only if the attempt got no further than the one before.

        Nor does it count when the worker retired or was killed before it had marked the trial.

        So a machine that is taken away again and again loses no slot as long as it gets from one
        rung to the next, while a trial that kills its worker is not tried for ever.
        """
        if "slot" not in trial.user_attrs:
            self._drop(trial, "surplus")
            return
        idle = len(trial.intermediate_values) <= trial.user_attrs.get("resumed", 0)
        self._hand_back(trial.number, "lease lapsed", blame=int(idle and not retired))

    def reconcile(self) -> None:
        """Makes every slot of the budget finished, running under a live lease, or waiting once."""
        with self._locked():
            self._reap()
            plan = plan_of(self._study)
            queue_missing(self._study, plan)
            for slot, attempts in by_slot(self._trials()).items():
                survivor = self._survivor(attempts)
                for trial in attempts:
                    if trial.state in ACTIVE and trial.number != survivor:
                        self._drop(trial, "surplus")
                if survivor is None and slot < plan.n_trials:
                    self._requeue(attempts)

    def counts(self) -> Counts:
        """How many slots are in which state."""
        return tally(self._trials(), self._max_retries)
