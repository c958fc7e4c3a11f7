"""Which worker trains which slot: claimed once, handed back, taken back from the dead.

A slot's state is derived from its trials (`maml_sweep.search.slots`). `reconcile` queues the slots
that a kill lost and tells FAIL to surplus trials. Whatever takes several storage calls is done by
one worker at a time (`maml_sweep.search.storage.exclusive`). Should a slot be queued twice all the
same, as when a server restarts after a call and before its answer, the lowest number wins, and
whoever pops the other drops it.

A trial's user attributes: slot, trial_seed, attempt (failures before it), worker, asked_at,
known_results, resumed (how many reported values it began with); on a failed one reason and blame
(1 if it counts as a failure of the slot).
"""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import Any

import optuna
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import FrozenTrial, TrialState

from maml_sweep.errors import InputError
from maml_sweep.search import storage
from maml_sweep.search.lease import PREFIX, Lease, leases, live_workers
from maml_sweep.search.slots import (
    ACTIVE,
    RESULTS,
    Attempts,
    Counts,
    Index,
    by_slot,
    failures,
    reported,
    slot_state,
    tally,
)
from maml_sweep.search.study import Plan, plan_of, queue, queue_missing

LAPSED = 1.0  # an expiry long ago; 0 says that the worker left in peace


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
        self._index = Index()
        self._max_retries = plan.max_retries
        self._folder = folder
        self._lease_seconds = lease_seconds
        self._lease = Lease.of_this_process()
        self._told: dict[str, Any] = {}
        self._renew_at = -math.inf
        self._beats: dict[str, int] = {}  # worker -> its beat when it was first asked about

    def _locked(self) -> AbstractContextManager[object]:
        return storage.exclusive(self._study, self._folder)

    def _trials(self) -> list[FrozenTrial]:
        return self._study.get_trials(deepcopy=False)

    def _running(self) -> list[FrozenTrial]:
        return [trial for trial in self._trials() if trial.state == TrialState.RUNNING]

    # The lease.

    @property
    def renewal_seconds(self) -> float:
        """How often the lease is to be renewed."""
        return self._lease_seconds / 4

    def tell(self, **told: Any) -> None:
        """What the lease is to say from the next renewal on: `Lease`'s further fields."""
        self._told |= told

    def renew(self) -> None:
        """Renews this worker's lease; writes at most every quarter of its length."""
        if time.monotonic() >= self._renew_at:
            self._renew_at = time.monotonic() + self.renewal_seconds
            self._write_lease(storage.now(self._study) + self._lease_seconds)

    def retire(self) -> None:
        """Says goodbye: whatever this worker still holds may be taken back at once."""
        self._renew_at = -math.inf
        self._write_lease(0.0)

    def abandon(self) -> None:
        """Lets the lease lapse now, as a dead worker's: others may take its trials back at once.

        A storage that cannot be reached is left to find out by itself.
        """
        with suppress(InputError):
            self._write_lease(LAPSED)

    def _write_lease(self, expires: float) -> None:
        self._lease = self._lease.renewed(expires, **self._told)
        self._study.set_user_attr(PREFIX + self.worker, self._lease.to_json())

    # Taking a slot.

    def claim(self) -> optuna.Trial | None:
        """Pops one waiting slot, exactly once among all workers; None when none waits.

        Its parameters are still to be suggested; those of a retry, and those that the user
        enqueued, are fixed already.
        """
        self.renew()
        while (trial := storage.pop(self._study, self._marks())) is not None:
            if self._stands(trial):
                return trial
        return None

    def _marks(self) -> dict[str, Any]:
        """What makes a trial ours; `known_results` stays as its slot's first attempt had it."""
        known = sum(trial.state in RESULTS for trial in self._trials())
        return {"worker": self.worker, "asked_at": time.time(), "known_results": known}

    def _stands(self, trial: optuna.Trial) -> bool:
        """Whether a popped trial stands for an open slot; drops it if not."""
        attempts = self._attempts(trial.user_attrs.get("slot", -1))
        if attempts and self._survivor(attempts) == trial.number:
            return True
        # No slot's, or a slot that was queued twice.
        self._drop(self._trials()[trial.number], "surplus")
        return False

    def _attempts(self, slot: int) -> Attempts:
        """A slot's trials; where others may be at it too, as they are this moment."""
        attempts = self._index.attempts(self._trials(), slot)
        if len(attempts) > 1:
            storage.expire(self._study)
            attempts = self._index.attempts(self._trials(), slot)
        return attempts

    def _survivor(self, attempts: Attempts) -> int | None:
        """The number of the one unfinished trial that may stand for a slot."""
        if slot_state(attempts, self._max_retries) not in {"running", "waiting"}:
            return None
        return next((trial.number for trial in attempts if trial.state in ACTIVE), None)

    # Giving it back, finished or not.

    def report(self, values: Sequence[tuple[optuna.Trial, int, float]]) -> set[int]:
        """Reports a pack's values at its rung, in one go.

        A value that an earlier attempt at the slot reported at that step stands.

        Args:
          values: trial, step, value.

        Returns:
          The numbers of the trials that were taken from us meanwhile.
        """
        rows = [(trial.number, step, value) for trial, step, value in values]
        return storage.report_all(self._study, rows)

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
            if "diverged" in attrs:
                trial.set_constraint("diverged", 1.0 / (1.0 + float(attrs["diverged"])))
            with storage.noting(trial, attrs):
                kept = value if state == TrialState.COMPLETE else None
                return self._tell(trial.number, state, kept)
        except UpdateFinishedTrialError:
            return False

    def _tell(self, number: int, state: TrialState, value: float | None = None) -> bool:
        """Tells unless somebody else has; whether it was we who did."""
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
        """Whether the trial was taken from us, because our lease lapsed; as of this moment."""
        storage.expire(self._study)
        return self._trials()[trial.number].state != TrialState.RUNNING

    def _hand_back(self, number: int, reason: str, blame: int) -> None:
        """Tells a running trial FAIL and queues its slot again, unless that was tried too often."""
        slot = self._trials()[number].user_attrs["slot"]
        if self._drop(self._trials()[number], reason, blame):
            self._requeue(self._index.attempts(self._trials(), slot))

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
        storage.expire(self._study)
        if not any(self._abandoned(trial, {self.worker}) for trial in self._running()):
            return 0  # all are ours: no need for the lock
        with self._locked():
            return self._reap()

    def _reap(self) -> int:
        now = storage.now(self._study)
        attrs = self._study.user_attrs
        known, live = leases(attrs), live_workers(attrs, now) | {self.worker}
        taken = [trial for trial in self._running() if self._abandoned(trial, live)]
        for trial in taken:
            worker = trial.user_attrs.get("worker")
            retired = worker is None or (worker in known and known[worker].expires == 0.0)
            self._take_back(trial, retired)
        return len(taken)

    @staticmethod
    def _abandoned(trial: FrozenTrial, live: set[str]) -> bool:
        """Whether nobody trains a running trial: whoever pops one marks it in the same breath."""
        return trial.user_attrs.get("worker") not in live

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

    def unproven(self) -> set[str]:
        """Workers elsewhere that hold trials, and may have died: their lease only seems to hold.

        A worker on this machine is seen to live; one elsewhere has proved it once it has renewed
        its lease after it was first asked about here.
        """
        known = leases(self._study.user_attrs)
        holders = {str(trial.user_attrs.get("worker")) for trial in self._running()} & set(known)
        far = {each: known[each].beat for each in holders if not known[each].is_near}
        return {each for each, beat in far.items() if self._beats.setdefault(each, beat) == beat}

    def share(self, *, busy: bool) -> int:
        """How many of the slots that wait this worker may take: its part among those that live.

        So the last ones are not trained by one worker while the others have nothing to do. At least
        one where none waits: who tries, finds out whether any can be taken back.

        Args:
          busy: whether it trains others; the part is rounded down then, else up.
        """
        waiting = sum(trial.state == TrialState.WAITING for trial in self._trials())
        if not waiting:
            return 1
        now = storage.now(self._study)
        live = len(live_workers(self._study.user_attrs, now) | {self.worker})
        return waiting // live if busy else -(-waiting // live)

    def counts(self) -> Counts:
        """How many slots are in which state."""
        return tally(self._trials(), self._max_retries)
