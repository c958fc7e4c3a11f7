"""The report's tables: plain cells of text, ready for the template."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pandas as pd

from maml_sweep.analysis import settings
from maml_sweep.analysis.columns import COLUMNS
from maml_sweep.analysis.frames import Frames

if TYPE_CHECKING:
    from maml_sweep.analysis.answers import Answers

_BEFORE = ("slot", "state", "value", "last")
_AFTER = (
    "step", "iterations", "tasks", "seconds", "best_value", "best_step", "diverged", "attempts",
    "worker", "reason",
)  # fmt: skip
_MINOR = {"last", *_AFTER} - {"iterations", "tasks", "seconds"}
_ALWAYS = ("slot", "state", "value")


@dataclass(frozen=True)
class Column:
    """A column's head."""

    label: str
    number: bool = False


@dataclass(frozen=True)
class Cell:
    """One cell.

    Attributes:
      text: what stands in it.
      css: its classes.
      exact: the whole number behind a shortened one; empty if nothing was left out.
      ticks: positions 0 … 1 on a small ruler drawn instead of the text, the chosen one last.
    """

    text: str
    css: str = ""
    exact: str = ""
    ticks: Sequence[float] | None = None


@dataclass(frozen=True)
class Row:
    """A row and what it is: "best", "tied", "warned" or nothing."""

    cells: Sequence[Cell]
    kind: str = ""


@dataclass(frozen=True)
class Table:
    """A table; `label` names it for those who do not see it."""

    label: str
    columns: Sequence[Column]
    rows: Sequence[Row]


def number(value: Any, digits: int = 4) -> Cell:
    """A number in a cell, shortened; empty where it is missing."""
    if value is None or pd.isna(value):
        return Cell("", "number")
    if float(value).is_integer() and abs(value) < 1e15:
        return Cell(str(int(value)), "number")
    short, exact = f"{value:.{digits}g}", repr(float(value))
    return Cell(short, "number", exact if exact != short else "")


def _cell(value: Any) -> Cell:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return number(value) if is_number else Cell("" if _missing(value) else str(value))


def _missing(value: Any) -> bool:
    return value is None or value is pd.NA or (isinstance(value, float) and math.isnan(value))


def winners(answers: Answers) -> Table:
    """The trials that cannot be told from the best, with what was searched."""
    found = answers.winners
    searched = _searched(answers.frames)
    trials = answers.frames.trials.set_index("slot")
    heads = ("slot", answers.frames.metric, "difference to the best", "95% interval", "p")
    columns = [Column(label, number=True) for label in heads]
    labels = settings.labels(searched.values())
    columns += [
        Column(labels[key], pd.api.types.is_numeric_dtype(trials[name]))
        for name, key in searched.items()
    ]
    rows = []
    for each in _each(found):
        span = "" if each.slot == answers.best else _span(each.low, each.high)
        cells = [number(each.slot), number(each.mean), number(each.difference, 3)]
        cells += [Cell(span, "number"), number(each.p, 2)]
        cells += [_cell(_item(trials.at[each.slot, name])) for name in searched]
        rows.append(Row(cells, "best" if each.slot == answers.best else ""))
    return Table("The winner set", columns, rows)


def _span(low: float, high: float) -> str:
    """Both ends of an interval, to three digits of its width."""
    if not high > low:
        return f"{low:.3g} … {high:.3g}"
    digits = min(max(2 - math.floor(math.log10(high - low)), 0), 15)
    return f"{low:.{digits}f} … {high:.{digits}f}"


def winners_words(answers: Answers) -> str:
    """How the winner set came about, and how large it is."""
    found, best = answers.winners, answers.best
    if best is None:
        return "No trial is complete, so there is no winner yet."
    if found.empty:
        return (
            f"Slot {best} is the best; without its evaluation it cannot be compared task by task."
        )
    trials = answers.frames.trials
    done = int((trials["state"] == "complete").sum())
    tasks = answers.frames.validation.loc[lambda each: each["slot"] == best, "task"].nunique()
    others = len(found) - 1
    if done == 1:
        return f"Slot {best} is the only complete trial."
    told = (
        "all others are worse"
        if not others
        else f"{others} {'other' if others == 1 else 'others'} cannot be told from it"
    )
    return (
        f"Of {done} complete trials slot {best} is the best; {told} at 95%, compared over the same "
        f"{tasks} validation tasks. What decides is p, which is corrected for choosing the best of "
        f"many; the intervals are those of each pair by itself."
    )


def space(answers: Answers) -> Table:
    """What was searched, where the best trial lies in it, and which bounds to widen."""
    searched = answers.frames.space
    notes = [_bound_words(answers, each.parameter, each.branch) for each in _each(searched)]
    branched = bool(searched["branch"].any())
    columns = [Column("parameter"), *[Column("branch")] * branched, Column("values")]
    has_best = answers.best is not None
    columns += [Column("best", number=True), Column("where")] * has_best
    columns += [Column("to note")] * any(notes)
    rows = []
    for each, note in zip(_each(searched), notes, strict=True):
        cells = [Cell(each.parameter), *[Cell(each.branch or "all")] * branched, Cell(_range(each))]
        cells += _place(answers, each.parameter, each.branch) if has_best else ()
        cells += [Cell(note, "words warning")] * any(notes)
        rows.append(Row(cells, "warned" if note else ""))
    return Table("What was searched", columns, rows)


def _range(row: Any) -> str:
    """A parameter's values as people write them."""
    if row.kind == "categorical":
        return str(row.choices)
    words = f"{row.low:g} … {row.high:g}"
    if row.kind == "int":
        words = f"integers {words}"
    if not pd.isna(row.step) and not (row.kind == "int" and row.step == 1):
        words += f" in steps of {row.step:g}"
    return f"{words}, log scale" if row.log else words


def _bound_words(answers: Answers, parameter: str, branch: str) -> str:
    found = [
        f"the good trials lie at the {'upper' if each.side == 'high' else 'lower'} bound; "
        f"try {each.wider}"
        for each in answers.bounds
        if each.parameter == parameter and each.branch in {"", branch}
    ]
    return "; ".join(found)


def _place(answers: Answers, parameter: str, branch: str) -> tuple[Cell, Cell]:
    """The best trial's value, and where the winners lie in the range."""
    frames = answers.frames
    drawn = frames.parameters[frames.parameters["parameter"] == parameter]
    if branch:
        inside = frames.trials.loc[frames.trials["branch"] == branch, "slot"]
        drawn = drawn[drawn["slot"].isin(inside)]
    drawn = drawn.set_index("slot")
    if answers.best not in drawn.index:
        return Cell(""), Cell("")
    row: Any = drawn.loc[answers.best]
    best = Cell(row["value"]) if pd.isna(row["number"]) else number(row["number"])
    others = [slot for slot in answers.winners["slot"] if slot != answers.best]
    slots = [*(slot for slot in others if slot in drawn.index), answers.best]
    units = [float(unit) for unit in drawn.loc[slots, "unit"]]
    return best, Cell(f"at {units[-1]:.0%} of the range", ticks=units)


def workers(frames: Frames) -> Table:
    """Who took part."""
    columns = [Column("worker"), Column("host"), Column("trials", number=True), Column("lease")]
    rows = []
    for each in _each(frames.workers):
        if each.alive:
            lease = f"holds until {each.expires:%Y-%m-%d %H:%M:%S} UTC"
        else:
            lease = "said goodbye" if pd.isna(each.expires) else "lapsed"
        cells = [Cell(each.worker), Cell(each.host.partition("/")[0]), number(each.trials)]
        rows.append(Row([*cells, Cell(lease)]))
    return Table("Workers", columns, rows)


def trials(answers: Answers) -> dict[str, Any]:
    """The trial table as the page's script takes it, whole numbers and all.

    Returns:
      columns: each with key, label, about (for a hover), number and minor (bool: paper does
        without) and values [trial];
      kinds: [trial] "best", "tied" (in the winner set) or "".
    """
    frame = answers.frames.trials
    searched = _searched(answers.frames)
    labels = settings.labels(searched.values())
    columns = []
    for name in (*_BEFORE, *searched, *_AFTER):
        values = [_plain(value) for value in frame[name]]
        if name in _ALWAYS or any(value is not None for value in values):
            key = searched.get(name, name)
            column: dict[str, Any] = {"key": key, "label": labels.get(key, key.replace("_", " "))}
            column["about"] = key if name in searched else COLUMNS["trials"][name]
            column["number"] = pd.api.types.is_numeric_dtype(frame[name])
            columns.append(column | {"minor": name in _MINOR, "values": values})
    tied = set(answers.winners["slot"])
    kinds = [
        "best" if slot == answers.best else "tied" if slot in tied else "" for slot in frame["slot"]
    ]
    return {"columns": columns, "kinds": kinds}


def _searched(frames: Frames) -> dict[str, str]:
    """Column of the trials -> the group or key it holds, groups first."""
    return {settings.column(key): key for key in settings.keys(frames.searched)}


def _each(frame: pd.DataFrame) -> Iterator[Any]:
    """The rows, whose cells are attributes."""
    yield from frame.itertuples()


def _item(value: Any) -> Any:
    return value.item() if hasattr(value, "item") else value


def _plain(value: Any) -> Any:
    """A cell as JSON has it; None where there is nothing."""
    value = _item(value)
    return None if _missing(value) or value == "" else value
