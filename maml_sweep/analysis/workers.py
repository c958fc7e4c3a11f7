"""Who worked on a study, and when: leases and turns as frames."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from optuna.trial import FrozenTrial

from maml_sweep.analysis.columns import TABLES, typed
from maml_sweep.search.lease import leases
from maml_sweep.search.timeline import TURNS


def worker_frame(
    attrs: Mapping[str, Any], trials: Sequence[FrozenTrial], now: float
) -> pd.DataFrame:
    """A row a worker that left a lease or began a trial, in the order of their first trials.

    Args:
      attrs: the study's user attributes.
      trials: Optuna's.
      now: by the study's clock, see `maml_sweep.search.storage.now`.
    """
    begun = Counter(
        trial.user_attrs["worker"] for trial in trials if trial.user_attrs.get("worker")
    )
    known = leases(attrs)
    rows = []
    for worker in dict.fromkeys([*begun, *known]):
        lease = known.get(worker)
        host, alive = (lease.host, not lease.lapsed(now)) if lease else ("", False)
        expires = lease.expires if lease and lease.expires else None
        rows.append((worker, host, alive, expires, begun[worker]))
    return typed("workers", rows)


def turn_frame(folder: Path) -> pd.DataFrame:
    """A row a turn of every worker, in the order of their beginnings.

    A last line that a kill has torn is passed over, as is a file that is none of these.
    """
    files = sorted((folder / TURNS).glob("*.csv"))
    rows = [row for file in files for row in _turns(file)]
    return typed("turns", sorted(rows, key=lambda row: row[1]))


def _turns(file: Path) -> Iterator[tuple[Any, ...]]:
    whole, _, _ = file.read_text(encoding="utf-8", errors="replace").rpartition("\n")
    kinds = {name: kind for name, (kind, _) in TABLES["turns"].items() if name != "worker"}
    for row in csv.DictReader(whole.splitlines()):
        try:
            values = [_value(row[name], kind) for name, kind in kinds.items()]
        except (KeyError, TypeError, ValueError):
            continue
        yield file.stem, *values


def _value(text: str, kind: str) -> Any:
    if kind == "str":
        return text
    return int(text) if kind == "int64" else float(text)
