"""Contests in rounds: everybody runs once a round, in rotating order, and every figure is kept.

A machine is not equally fast all the time, so contestants take turns, and what is compared is what
two of them did in the same round. A journal holds a line of JSON a figure, written when the figure
is there; a run that was stopped goes on behind the last one.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from maml_sweep.errors import InputError

TRIES = 2  # failures in one run before a contestant is left out of its other rounds
SLOW = 300.0  # seconds; a contestant that takes longer runs in full once

Say = Callable[[str], None]


class Failed(RuntimeError):
    """A contestant could not be measured; the message is one line."""


@dataclass(frozen=True)
class Figure:
    """What a contestant did in a round.

    Attributes:
      value: what is compared, in the contest's unit.
      beside: further numbers to be shown, by the heads of their columns.
      detail: everything else, for the journal.
      versions: of what it runs on, by name.
      note: a word for the table.
      estimated: whether it was worked out from a measurement of another round.
    """

    value: float
    beside: Mapping[str, float] = field(default_factory=dict)
    detail: Mapping[str, Any] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    note: str = ""
    estimated: bool = False


@dataclass(frozen=True)
class Turn:
    """A contestant's turn.

    Attributes:
      index: of the round, from 0.
      earlier: its figures of other rounds, in their order.
    """

    index: int
    earlier: Sequence[Figure]


class Contestant(NamedTuple):
    """Somebody to be measured.

    Attributes:
      name: in tables and in the journal.
      measure: a turn -> its figure; raises `Failed`.
    """

    name: str
    measure: Callable[[Turn], Figure]


Rounds = dict[int, Figure]  # by round, from 0
Found = Mapping[str, Rounds]  # by contestant
Failures = Mapping[str, Mapping[int, str]]  # by contestant and round: why


class Journal:
    """Every figure of a comparison, in a file if one is given.

    Args:
      path: of the file, a line of JSON a figure; None keeps them in memory only.
      setting: what all of its figures share, such as the machine.

    Raises:
      InputError: the file was written under another setting, or is no journal.
    """

    def __init__(self, path: Path | None, setting: Mapping[str, Any]) -> None:
        self._path = path
        self._found: dict[str, dict[str, Rounds]] = {}
        self._failures: dict[str, dict[str, dict[int, str]]] = {}
        lines = _whole_lines(path) if path else []
        if lines:
            self._check(lines[0].get("setting"), dict(setting))
        else:
            self._append({"setting": dict(setting)})
        for line in lines[1:]:
            self._take(line)

    def _check(self, written: Any, setting: dict[str, Any]) -> None:
        if written != setting:
            raise InputError(
                f"--json: {self._path} holds figures of {written}, and these would be of "
                f"{setting}; name another file"
            )

    def _take(self, line: dict[str, Any]) -> None:
        contest, name, index = line["contest"], line["contestant"], line["round"]
        if "failed" in line:
            failures = self._failures.setdefault(contest, {}).setdefault(name, {})
            failures[index] = line["failed"]
            return
        self._found.setdefault(contest, {}).setdefault(name, {})[index] = Figure(**line["figure"])
        self._failures.get(contest, {}).get(name, {}).pop(index, None)  # it went well in the end

    def _append(self, line: dict[str, Any]) -> None:
        if self._path:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with self._path.open("a") as file:
                file.write(json.dumps(line) + "\n")

    def add(self, contest: str, name: str, index: int, outcome: Figure | str) -> None:
        """Keeps a figure, or why there is none."""
        line: dict[str, Any] = {"contest": contest, "contestant": name, "round": index}
        if isinstance(outcome, Figure):
            line["figure"] = asdict(outcome)
        else:
            line["failed"] = outcome
        self._append(line)
        self._take(line)

    def found(self, contest: str) -> dict[str, Rounds]:
        """The figures of a contest, each contestant's in the order of the rounds."""
        return {
            name: dict(sorted(rounds.items()))
            for name, rounds in self._found.get(contest, {}).items()
        }

    def failures(self, contest: str) -> Failures:
        """Of a contest's contestants: the rounds without a figure, and why."""
        return self._failures.get(contest, {})


def _whole_lines(path: Path) -> list[dict[str, Any]]:
    """The lines of a journal; a last one that was cut short is taken off the file.

    Raises:
      InputError: it is no journal.
    """
    text = path.read_text() if path.exists() else ""
    kept = text[: text.rfind("\n") + 1]
    try:
        lines = [json.loads(line) for line in kept.splitlines()]
    except json.JSONDecodeError:
        lines = [None]
    if not all(isinstance(line, dict) for line in lines) or (text and not lines):
        raise InputError(f"--json: {path} is no file of this command's; name another file")
    if kept != text:
        path.write_text(kept)
    return lines


def rotated(contestants: Sequence[Contestant], index: int) -> Iterator[Contestant]:
    """All of them, each round another one first."""
    for position in range(len(contestants)):
        yield contestants[(position + index) % len(contestants)]


def hold(
    contest: str,
    contestants: Sequence[Contestant],
    journal: Journal,
    rounds: int,
    say: Say,
    first: Contestant | None = None,
) -> None:
    """Measures what the journal lacks.

    Args:
      contest: its name in the journal.
      contestants: who takes part.
      journal: what is there, and where figures go.
      rounds: how many there are to be in all.
      say: told of every step, a line each.
      first: measured at the beginning of every round, such as the machine itself.
    """
    failed: dict[str, int] = {}
    for index in range(rounds):
        turns = [first] if first else []
        for contestant in [*turns, *rotated(contestants, index)]:
            name = contestant.name
            done = journal.found(contest).get(name, {})
            if index in done or failed.get(name, 0) >= TRIES:
                continue
            say(f"{contest}, round {index + 1} of {rounds}: {name} …")
            try:
                outcome: Figure | str = contestant.measure(Turn(index, list(done.values())))
            except Failed as error:
                outcome = str(error)
                failed[name] = failed.get(name, 0) + 1
                say(f"{contest}, round {index + 1} of {rounds}: {name} failed: {error}")
            journal.add(contest, name, index, outcome)
