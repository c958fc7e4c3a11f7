"""What the figures of a contest come to: a table, and a sentence a target."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from benchmarks.rounds import Contestant, Failures, Figure, Found, Rounds


class Target(Protocol):
    """Something that was promised, or is worth a sentence."""

    def verdict(self, found: Found) -> str:
        """A line of Markdown."""


@dataclass(frozen=True)
class Contest:
    """Contestants and what is wanted of them.

    Attributes:
      name: in the journal.
      title: of its table.
      unit: of its figures.
      contestants: who takes part.
      targets: what is said of them.
      more: further lines of Markdown.
    """

    name: str
    title: str
    unit: str
    contestants: tuple[Contestant, ...]
    targets: tuple[Target, ...]
    more: Callable[[Found], list[str]] = lambda _: []


def rate_gain(ours: Figure, theirs: Figure) -> float:
    """How many times theirs ours is, where more is better."""
    return ours.value / theirs.value


def gain_beside(head: str) -> Callable[[Figure, Figure], float]:
    """The same with a number beside our figure in its place."""
    return lambda ours, theirs: ours.beside[head] / theirs.value


@dataclass(frozen=True)
class Ratio:
    """How many times somebody else's figure ours is: the median of the rounds' own ratios.

    Attributes:
      ours: contestants; the one with the best median counts.
      theirs: the same of the others, so neither side is helped by the luck of a round.
      said: behind the ratio, such as "learn2learn's loop".
      wanted: the least that was promised; None: nothing was.
      gain: our figure and theirs of one round -> the ratio.
    """

    ours: tuple[str, ...]
    theirs: tuple[str, ...]
    said: str
    wanted: float | None = None
    gain: Callable[[Figure, Figure], float] = rate_gain

    def ratios(self, found: Found) -> dict[int, float]:
        """By round; those in which both have a figure."""
        own, other = (found.get(best(found, names), {}) for names in (self.ours, self.theirs))
        return {index: self.gain(own[index], other[index]) for index in own.keys() & other.keys()}

    def verdict(self, found: Found) -> str:
        """Such as "ours: 41.3x learn2learn's loop, wanted 40x: yes (39.8 to 42.0 in 5 rounds)"."""
        ratios = list(self.ratios(found).values())
        wanted = "" if self.wanted is None else f", wanted {self.wanted:g}x"
        if not ratios:
            return f"{self.said}{wanted}: not measured"
        middle = statistics.median(ratios)
        answer = "" if self.wanted is None else f": {yes(middle >= self.wanted)}"
        own, other = (best(found, names) for names in (self.ours, self.theirs))
        against = f", which is {other}" if len(self.theirs) > 1 else ""
        guessed = estimated(found, (own, other))
        return (
            f"{own}: {number(middle)}x {self.said}{against}{guessed}{wanted}{answer} "
            f"({span(ratios)} in {counted(len(ratios))})"
        )


@dataclass(frozen=True)
class Limit:
    """A number of one contestant's that must not be exceeded.

    Attributes:
      name: whose.
      read: its figure -> the number.
      said: the number's unit and what it is, such as "% of the sweep outside programs".
      wanted: the most that was promised.
    """

    name: str
    read: Callable[[Figure], float]
    said: str
    wanted: float

    def verdict(self, found: Found) -> str:
        """Such as "7.2% outside programs, wanted at most 8: yes (6.9 to 7.4 in 5 rounds)"."""
        values = [self.read(figure) for figure in found.get(self.name, {}).values()]
        wanted = f"wanted at most {self.wanted:g}"
        if not values:
            return f"{self.said.strip()}, {wanted}: not measured"
        middle = statistics.median(values)
        return (
            f"{number(middle)}{self.said}, {wanted}: {yes(middle <= self.wanted)} "
            f"({span(values)} in {counted(len(values))})"
        )


def best(found: Found, names: Sequence[str]) -> str:
    """Whose median is the largest; the first one if nobody was measured."""
    return max(names, key=lambda name: _median(found.get(name, {})) if found.get(name) else -1.0)


def _median(rounds: Rounds) -> float:
    return statistics.median(figure.value for figure in rounds.values())


def yes(met: bool) -> str:
    """A verdict in a word."""
    return "yes" if met else "**no**"


def span(values: Sequence[float]) -> str:
    """From the least to the largest."""
    return f"{number(min(values))} to {number(max(values))}"


def number(value: float) -> str:
    """Three digits that count, all of a larger number's."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def counted(rounds: int) -> str:
    """So many rounds, in words."""
    return f"{rounds} round" + ("s" if rounds != 1 else "")


def estimated(found: Found, names: Sequence[str]) -> str:
    """A label if any of their figures was not measured as it stands."""
    figures = (figure for name in names for figure in found.get(name, {}).values())
    return " (estimated)" if any(figure.estimated for figure in figures) else ""


# -- tables --------------------------------------------------------------------------------------


def table(contest: Contest, found: Found, failures: Failures) -> list[str]:
    """Lines of Markdown: a row a contestant, medians over its rounds."""
    measured = [found.get(contestant.name, {}) for contestant in contest.contestants]
    heads = list(dict.fromkeys(
        head for rounds in measured for figure in rounds.values() for head in figure.beside
    ))  # fmt: skip
    rows = [
        ["", f"{contest.unit}, median", "lowest to highest", *heads, "rounds", "notes"],
        ["---", *["---:"] * (len(heads) + 3), "---"],
    ]
    for contestant, rounds in zip(contest.contestants, measured, strict=True):
        failed = failures.get(contestant.name, {})
        rows.append([contestant.name, *_cells(rounds, heads), _notes(rounds, failed)])
    return lines(rows)


def _cells(rounds: Rounds, heads: Sequence[str]) -> list[str]:
    figures = list(rounds.values())
    if not figures:
        return ["", "", *[""] * len(heads), "0"]
    values = [figure.value for figure in figures]
    beside = [
        [figure.beside[head] for figure in figures if head in figure.beside] for head in heads
    ]
    medians = [number(statistics.median(each)) if each else "" for each in beside]
    return [number(statistics.median(values)), span(values), *medians, str(len(figures))]


def _notes(rounds: Rounds, failed: Mapping[int, str]) -> str:
    notes = list(dict.fromkeys(figure.note for figure in rounds.values() if figure.note))
    guessed = [index + 1 for index, figure in rounds.items() if figure.estimated]
    if guessed:
        notes.append(f"rounds {', '.join(map(str, guessed))} (estimated)")
    reasons = dict.fromkeys(why.replace("|", "/") for why in failed.values())
    notes += [f"failed: {why}" for why in reasons]
    return "; ".join(notes)


def lines(rows: Sequence[Sequence[str]]) -> list[str]:
    """The rows of a Markdown table, its heads and rulers included."""
    return [f"| {' | '.join(row)} |" for row in rows]
