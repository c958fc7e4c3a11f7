"""Who works on a study: each worker's lease, and what it trains."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from optuna.trial import FrozenTrial, TrialState

from maml_sweep.search.latest import Stand
from maml_sweep.search.lease import Lease, leases

ALIVE, DEAD, LAPSED, RETIRED, UNKNOWN = "alive", "dead", "lapsed", "retired", "unknown"


@dataclass(frozen=True)
class Held:
    """A trial that somebody trains.

    Attributes:
      slot: its slot.
      since: when it was begun: local time without a zone, by its worker's clock.
      stand: its last rung.
    """

    slot: int | None
    since: datetime | None
    stand: Stand


@dataclass(frozen=True)
class Member:
    """A worker, as its last lease and the storage have it.

    Attributes:
      worker: its identity; "" of a trial whose worker was killed before it had signed.
      state: "alive"; "dead": its process has ended, seen from its own machine; "lapsed": silent for
        longer than its lease; "retired": it said goodbye; "unknown": it left no lease.
      expires: when its lease ends or ended, seconds since the epoch; None once it retired.
      left: seconds until then by the study's clock, negative when it has lapsed; likewise.
      host: its machine.
      pid: its process there.
      launcher: what started it; "" where it did not say.
      device: what it computes on; "" where it did not say.
      rate: its trial-steps a second, by its own account.
      trials: what it holds.
    """

    worker: str
    state: str = UNKNOWN
    expires: float | None = None
    left: float | None = None
    host: str = ""
    pid: int | None = None
    launcher: str = ""
    device: str = ""
    rate: float = 0.0
    trials: tuple[Held, ...] = ()


def roster(
    attrs: Mapping[str, Any],
    trials: Iterable[FrozenTrial],
    stands: Mapping[int, Stand],
    now: float,
) -> list[Member]:
    """Everybody who left a lease or holds a trial: the live ones first, then by name.

    Args:
      attrs: the study's user attributes.
      trials: its outline, with the attributes `slot` and `worker`.
      stands: of its running trials.
      now: by the study's clock, see `maml_sweep.search.storage.now`.
    """
    members = {worker: _member(worker, lease, now) for worker, lease in leases(attrs).items()}
    for worker, held in _held(trials, stands).items():
        member = members.get(worker, Member(worker))
        members[worker] = replace(member, trials=tuple(held))
    return sorted(members.values(), key=lambda each: (each.state != ALIVE, each.worker))


def _member(worker: str, lease: Lease, now: float) -> Member:
    expires = lease.expires or None
    return Member(
        worker=worker,
        state=_state(lease, now),
        expires=expires,
        left=expires and expires - now,
        host=lease.host.partition("/")[0],
        pid=lease.pid,
        launcher=lease.launcher,
        device=lease.device,
        rate=lease.rate,
    )


def _state(lease: Lease, now: float) -> str:
    if not lease.expires:
        return RETIRED
    if now >= lease.expires:
        return LAPSED
    return DEAD if lease.lapsed(now) else ALIVE


def _held(trials: Iterable[FrozenTrial], stands: Mapping[int, Stand]) -> dict[str, list[Held]]:
    """Worker -> its running trials."""
    found: dict[str, list[Held]] = {}
    for trial in trials:
        if trial.state == TrialState.RUNNING:
            attrs = trial.user_attrs
            held = Held(attrs.get("slot"), trial.datetime_start, stands[trial.number])
            found.setdefault(attrs.get("worker", ""), []).append(held)
    return found
