"""maml-sweep compare: studies side by side."""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from maml_sweep import commands

if TYPE_CHECKING:
    from maml_sweep.analysis.comparison import Column, Comparison, Pair
    from maml_sweep.analysis.contest import At, Best, Race
    from maml_sweep.analysis.contrast import Difference
    from maml_sweep.analysis.duel import Winner

HELP = "put studies side by side: what each found, at equal cost, and how they differ"
NOTHING = "–"
Row = list[str]


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    parser.add_argument(
        "studies", nargs="*", metavar="STUDY", help="two or more studies' names or folders"
    )
    commands.place_options(parser)


def run(arguments: argparse.Namespace) -> int:
    """Prints the comparison.

    Raises:
      InputError: no such study, or none that can be compared.
    """
    from maml_sweep.analysis import loading
    from maml_sweep.analysis.comparison import compare

    located = [
        loading.locate(study, arguments.root, arguments.storage) for study in arguments.studies
    ]
    comparison = compare([commands.frames_of(each) for each in located])
    if arguments.json:
        commands.print_json(asdict(comparison))
    else:
        _tell(comparison)
    return 0


def _tell(told: Comparison) -> None:
    labels = [study.label for study in told.studies]
    commands.print_table(["", *labels], [*_found(told), *_spent(told)])
    if told.pairs:
        print()
        heads = ("pair", "difference of the winners", "", *(f"equal {x}" for x in _costs(told)))
        commands.print_table(heads, [_pair(pair, _costs(told)) for pair in told.pairs])
    if told.differences:
        print()
        commands.print_table(["differs", *labels], [*_differences(told.differences)])


# -- what each found --------------------------------------------------------------------------


def _found(told: Comparison) -> Iterator[Row]:
    better = "lower" if told.direction == "minimize" else "higher"
    yield [f"best {told.metric} ({better} is better)", *map(_best, told.studies)]
    winners = [study.winner for study in told.studies]
    yield ["  95% interval over tasks", *map(_interval, winners)]
    drawn = [winner.parameters if winner else {} for winner in winners]
    for key in dict.fromkeys(key for each in drawn for key in each):
        yield [f"  {key}", *(_value(each[key]) if key in each else NOTHING for each in drawn)]
    yield ["slots", *map(_slots, told.studies)]


def _best(study: Column) -> str:
    if study.winner is None:
        return "no trial has come to its end" if study.states else "no trial yet"
    return f"{study.winner.value:.4g} (slot {study.winner.slot})"


def _interval(winner: Winner | None) -> str:
    if winner is None:
        return NOTHING
    if winner.interval is None:
        return "its evaluation is missing"
    if winner.interval.n < 2:
        return "one task tells none"
    return f"{_range(winner.interval.low, winner.interval.high)} ({winner.interval.n} tasks)"


def _slots(study: Column) -> str:
    states = ", ".join(f"{count} {state}" for state, count in study.states.items())
    return f"{study.n_trials}: {states}" if states else str(study.n_trials)


# -- what it cost -----------------------------------------------------------------------------


def _spent(told: Comparison) -> Iterator[Row]:
    for cost in ("tasks", "seconds"):
        yield [f"{cost} spent", *(_number(study.spent[cost]) for study in told.studies)]
    for at in told.equal_cost:
        cells = zip(told.studies, at.best, strict=True)
        yield [_head(at), *(_so_far(best) if study.winner else NOTHING for study, best in cells)]


def _head(at: At) -> str:
    return f"best after {_number(at.spent)} {at.cost} ({at.share:.0%})"


def _so_far(best: Best) -> str:
    """The value, and the 95% band where there is one."""
    value = _number(best.value, "none yet")
    if math.isnan(best.low) and math.isnan(best.high):
        return value
    return f"{value} ({_range(best.low, best.high)})"


# -- pairs ------------------------------------------------------------------------------------


def _costs(told: Comparison) -> list[str]:
    return list(dict.fromkeys(at.cost for at in told.equal_cost))


def _pair(pair: Pair, costs: Sequence[str]) -> Row:
    races = {race.cost: race for race in pair.races}
    cells = [_race(pair.first, races[cost]) if cost in races else NOTHING for cost in costs]
    return [f"{pair.first} - {pair.second}", _difference(pair), pair.winners.words, *cells]


def _race(first: str, race: Race) -> str:
    return f"{first} leads in {_share(race.leads)}, bands overlap along {_share(race.overlap)}"


def _difference(pair: Pair) -> str:
    if pair.winners.difference is None:
        return NOTHING
    interval, p = pair.winners.difference.interval, pair.winners.difference.p
    told = f"{interval.mean:+.3g}"
    if interval.n > 1:
        told += f" ({_range(interval.low, interval.high)}), p = {p:.2g}"
    return f"{told}: {_verdict(pair)}"


def _verdict(pair: Pair) -> str:
    if not pair.winners.better:
        return "cannot be told apart"
    return f"{(pair.first, pair.second)[pair.winners.better - 1]} is better"


# -- differences ------------------------------------------------------------------------------


def _differences(found: Sequence[Difference]) -> Iterator[Row]:
    """A row each, less what only the settings of another class are."""
    classes = {each.key.rpartition(".")[0] for each in found if each.key.endswith("._target_")}
    for each in found:
        own = len({value for value in each.values if value is not None}) == 1
        if own and each.key.partition(".")[0] in classes:
            continue  # one class has the setting, another has no such
        key = each.key.removesuffix("._target_")
        yield [key, *(NOTHING if value is None else value for value in each.values)]


# -- words ------------------------------------------------------------------------------------


def _number(value: float, none: str = "not known") -> str:
    if not math.isfinite(value):
        return none
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def _range(low: float, high: float) -> str:
    return f"{_number(low, 'none')} … {_number(high, 'none')}"


def _share(share: float) -> str:
    """Per cent, without rounding to never or always."""
    if 0 < share < 0.005:
        return "<1%"
    return ">99%" if 0.995 <= share < 1 else f"{share:.0%}"


def _value(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
