"""What the searches of all peers share: their command line, and the line that they end with."""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple


class Trial(NamedTuple):
    """A trial that ended.

    Attributes:
      seconds: since the command, when it ended.
      state: COMPLETE, or PRUNED (diverged ones, too).
      value: its last; None: it is not finite.
      iterations: meta-iterations that it trained.
      inner_steps: that it adapts by.
      meta_batch_size: tasks of a meta-iteration.
    """

    seconds: float
    state: str
    value: float | None
    iterations: int
    inner_steps: int
    meta_batch_size: int


def parser(description: str | None) -> argparse.ArgumentParser:
    """The command line of every search."""
    made = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    made.add_argument("--trials", type=int, default=32)
    made.add_argument("--iterations", type=int, default=2000, help="of a trial")
    made.add_argument("--report-every", type=int, default=100, help="iterations")
    made.add_argument("--seed", type=int, default=0)
    return made


def curve(trials: Sequence[Trial]) -> list[tuple[float, float]]:
    """(seconds, best so far) of completed trials, whenever the best improves."""
    best, found = math.inf, []
    for trial in sorted(trials):
        if trial.state == "COMPLETE" and trial.value is not None and trial.value < best:
            best = trial.value
            found.append((round(trial.seconds, 3), best))
    return found


def report(
    peer: str,
    seconds: float,
    trials: Sequence[Trial],
    versions: Mapping[str, str],
    note: str = "",
    estimated: bool = False,
) -> None:
    """Prints the line that a search ends with.

    Args:
      peer: its name.
      seconds: of the whole command.
      trials: those that ended.
      versions: of what it runs on.
      note: to be said besides.
      estimated: whether the seconds were not seen but worked out.
    """
    best = curve(trials)
    said = {
        "peer": peer,
        "best": best[-1][1] if best else None,
        "seconds": round(seconds, 3),
        "curve": best,
        "trial_steps": sum(trial.iterations for trial in trials),
        "trials": [trial._asdict() for trial in trials],
        "estimated": estimated,
        "versions": dict(versions),
        "note": note,
    }
    print(json.dumps(said), flush=True)
