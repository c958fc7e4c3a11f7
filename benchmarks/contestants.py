"""Who takes part in `compare.py`: programs of others in their own environments, and our sweeps.

A peer is a script below `benchmarks/peers` that knows nothing of ours and prints a line of JSON
last; `benchmarks.peers.environments` makes the environments.
"""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.rounds import SLOW, Contestant, Failed, Figure, Turn
from benchmarks.sweeps import ROOT, Sweep, swept

PEERS = ROOT / "benchmarks" / "peers"
HOURS = 4.0  # after which a peer is given up
WITHOUT = "without start-up"
OWN = ("maml-sweep", "tensorflow", "numpy", "optuna", "hydra-core")


class Peer(NamedTuple):
    """A program of others.

    Attributes:
      environment: of `benchmarks.peers.environments`.
      script: below `benchmarks/peers`, without its ending.
    """

    environment: str
    script: str

    def interpreter(self) -> Path:
        """Its environment's, which is made when it is first wanted.

        Raises:
          Failed: it cannot be made.
        """
        try:
            from benchmarks.peers import environments

            return Path(environments.python(self.environment))
        except (ImportError, OSError, subprocess.SubprocessError, RuntimeError) as error:
            raise Failed(f"no environment: {str(error).splitlines()[-1]}") from error

    def report(self, arguments: Sequence[str], wanted: str) -> dict[str, Any]:
        """Runs it and returns what it says last, in which something is `wanted`.

        Raises:
          Failed: it, or the making of its environment, ended badly.
        """
        script = PEERS / f"{self.script}.py"
        return said_by([str(self.interpreter()), str(script), *arguments], wanted)

    def timed(self, arguments: Sequence[str], wanted: str) -> tuple[float, dict[str, Any]]:
        """The seconds of a `report`, short of the making of an environment, and the report."""
        self.interpreter()
        begin = time.perf_counter()
        said = self.report(arguments, wanted)
        return time.perf_counter() - begin, said


def said_by(command: Sequence[str], wanted: str) -> dict[str, Any]:
    """The JSON object in the last line that a command prints; it has a key `wanted`.

    Raises:
      Failed: it ended badly, printed none, or took longer than `HOURS`.
    """
    try:
        done = subprocess.run(
            command,
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=3600 * HOURS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Failed(f"{Path(command[1]).name}: {error}") from error
    last = (done.stderr if done.returncode else done.stdout).strip().splitlines() or ["nothing"]
    try:
        said = json.loads(last[-1]) if not done.returncode else None
    except json.JSONDecodeError:
        said = None
    if not isinstance(said, dict) or not said.get(wanted):
        name = Path(command[1]).name
        raise Failed(f"{name} ended with {done.returncode}: {last[-1].strip()[:300]}")
    return said


def loop(name: str, peer: Peer, arguments: Sequence[str]) -> Contestant:
    """A training loop that reports trial-steps a second, by the size of its packs.

    One that takes longer than `SLOW` runs once; its rate stands for the other rounds.
    """

    def measure(turn: Turn) -> Figure:
        for figure in turn.earlier:
            if figure.detail.get("wall", 0.0) > SLOW:
                return replace(figure, estimated=True)
        seconds, said = peer.timed(arguments, "rates")
        return loop_figure({**said, "wall": seconds})

    return Contestant(name, measure)


def loop_figure(said: dict[str, Any]) -> Figure:
    """A training loop's best pack."""
    rates = {int(size): float(rate) for size, rate in said["rates"].items()}
    best = max(rates, key=lambda size: rates[size])
    beside = {"best pack": float(best)} if len(rates) > 1 else {}
    return Figure(rates[best], beside, said, said.get("versions", {}), said.get("note", ""))


def sweep(name: str, arguments: Sequence[str]) -> Contestant:
    """A whole sweep of ours: its trial-steps by the wall time of the command."""
    return Contestant(name, lambda turn: sweep_figure(swept([*arguments, f"seed={turn.index}"])))


def sweep_figure(done: Sweep) -> Figure:
    """Trial-steps a second of the whole command, and of what comes after start-up."""
    beside = {WITHOUT: done.steps / done.working, "command, s": done.wall}
    return Figure(done.steps / done.wall, beside, detail(done), own_versions())


def detail(done: Sweep) -> dict[str, Any]:
    """All of a sweep, for the journal."""
    return {
        "wall": done.wall,
        "first_report": done.first_report,
        "steps": done.steps,
        "workers": [each._asdict() for each in done.spent],
        "trials": [each._asdict() for each in done.ended],
    }


@cache
def own_versions() -> dict[str, str]:
    """Of what our sweeps run on."""
    return {name: version(name) for name in OWN}
