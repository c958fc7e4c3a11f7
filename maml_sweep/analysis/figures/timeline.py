"""Timeline: which place of which worker held which trial when, and how many trained at once."""

from __future__ import annotations

import heapq
from collections.abc import Iterator

import numpy as np
import pandas as pd

from maml_sweep.analysis.answers import Answers
from maml_sweep.analysis.drawing.marks import Axis, Drawing, Figure, Line, Panel, Spans, Words
from maml_sweep.analysis.drawing.palette import SERIES
from maml_sweep.analysis.figures.common import LOOKS, count, so
from maml_sweep.analysis.frames import Frames

KEY, TITLE = "timeline", "Timeline of workers and packs"
IDLE = 0.05  # of the busy time: longer stretches in which nothing ran are left out
_UNITS = (("hours", 3600.0, 3 * 3600.0), ("minutes", 60.0, 180.0), ("seconds", 1.0, 0.0))


def frame(study: Frames) -> pd.DataFrame:
    """The trials that began, each in a place of its worker that was free.

    A trial that still runs ends with the last that is known of the study.

    Returns:
      slot, state, worker (1 …, in the order of their beginning), place (1 …), started, finished
      (UTC), start, end (seconds of `clock`).
    """
    table = study.trials[study.trials["started"].notna()].copy()
    table["finished"] = table["finished"].fillna(_latest(study))
    table = table[table["finished"] >= table["started"]].sort_values(["started", "slot"])
    order = {name: index + 1 for index, name in enumerate(dict.fromkeys(table["worker"]))}
    table["worker"] = table["worker"].map(order).astype("int64")
    starts, ends = _seconds(table["started"]), _seconds(table["finished"])
    gaps, place = idle(starts, ends), np.zeros(len(table), dtype=np.int64)
    for worker in order.values():
        own = (table["worker"] == worker).to_numpy()
        place[own] = places(starts[own], ends[own])
    table["place"] = place
    table["start"], table["end"] = clock(starts, starts, gaps), clock(ends, starts, gaps)
    columns = ["slot", "state", "worker", "place", "started", "finished", "start", "end"]
    return table[columns].reset_index(drop=True)


def places(starts: np.ndarray, ends: np.ndarray) -> list[int]:
    """The lowest place that is free when a trial starts, from 1.

    Args:
      starts: float [n] ascending, of one worker's trials.
      ends: float [n].
    """
    free: list[int] = []
    busy: list[tuple[float, int]] = []  # until when, place
    found = []
    for start, end in zip(starts.tolist(), ends.tolist(), strict=True):
        while busy and busy[0][0] <= start:
            heapq.heappush(free, heapq.heappop(busy)[1])
        place = heapq.heappop(free) if free else len(busy) + 1
        heapq.heappush(busy, (end, place))
        found.append(place)
    return found


def idle(starts: np.ndarray, ends: np.ndarray) -> list[tuple[float, float]]:
    """The stretches [from, to) in which no trial ran, where they are long."""
    if not len(starts):
        return []
    order = np.argsort(starts)
    starts, reached = starts[order], np.maximum.accumulate(ends[order])
    pauses = np.maximum(starts[1:] - reached[:-1], 0.0)
    busy = reached[-1] - starts[0] - pauses.sum()
    long = pauses > max(IDLE * busy, 1.0)
    return [(reached[k], starts[k + 1]) for k in np.flatnonzero(long)]


def clock(times: np.ndarray, starts: np.ndarray, gaps: list[tuple[float, float]]) -> np.ndarray:
    """Seconds since the first start, stopped during the gaps."""
    elapsed = times - starts.min() if len(starts) else times
    for since, until in gaps:
        elapsed = elapsed - np.clip(times - since, 0.0, until - since)
    return elapsed


def packs(study: Frames, table: pd.DataFrame) -> pd.DataFrame:
    """The trials that each worker's program trained at once, turn by turn.

    Returns:
      worker (as in `frame`; their order of beginning), start (seconds of the same clock), trials.
    """
    turns = study.turns
    starts, ends = _seconds(table["started"]), _seconds(table["finished"])
    begun = study.trials[study.trials["started"].notna()].sort_values(["started", "slot"])
    order = {name: index + 1 for index, name in enumerate(dict.fromkeys(begun["worker"]))}
    found = pd.DataFrame({"worker": turns["worker"].map(order)})
    found["start"] = clock(_seconds(turns["started"]), starts, idle(starts, ends))
    found["trials"] = (turns["slots"].str.count(" ") + 1).astype("float64")
    found = found.dropna(subset=["worker"]).astype({"worker": "int64"})
    return found.sort_values(["worker", "start"]).reset_index(drop=True)


def figure(answers: Answers) -> Drawing:
    """Draws `frame` and `packs`."""
    study = answers.frames
    table = frame(study)
    if table.empty:
        return Words(KEY, TITLE, so(study, "there is no time to show"))
    total = float(table["end"].max())
    unit, per = next((name, size) for name, size, least in _UNITS if total >= least)
    x = Axis(
        f"{unit} since {table['started'].min():%Y-%m-%d %H:%M} UTC",
        low=0.0,
        high=1.02 * max(total, 1.0) / per,
    )
    rows = _rows(table)
    labels = _sorted(table, rows)
    y = Axis("", "category", labels=labels)
    panels = [Panel(tuple(_spans(table, rows, per)), x, y, weight=max(3, len(labels)))]
    turns = packs(study, table)
    if len(turns):
        panels.append(
            Panel(tuple(_lines(turns, total, per)), x, Axis("trials at once", low=0.0), weight=9)
        )
    caption = (
        "Each row is a place of a worker's packs, each bar a trial in it; a place that a pruned "
        "trial frees goes to the next one. Below: how many trials each worker's program trained "
        "at once."
    )
    height = 120 + 16 * max(3, len(labels)) + (84 + 16 * 9 if len(turns) else 0)
    return Figure(KEY, TITLE, caption, tuple(panels), height=height, note=_note(table))


def _rows(table: pd.DataFrame) -> list[str]:
    """Every trial's row."""
    several = table["worker"].nunique() > 1
    return [
        f"worker {row.worker} · {row.place}" if several else f"place {row.place}"
        for row in table.itertuples()
    ]


def _sorted(table: pd.DataFrame, rows: list[str]) -> list[str]:
    """Every row once, by worker and place."""
    named = table[["worker", "place"]].assign(row=rows).sort_values(["worker", "place"])
    return list(dict.fromkeys(named["row"]))


def _latest(study: Frames) -> pd.Timestamp:
    """The last moment that the study tells of."""
    turns, trials = study.turns, study.trials
    spent = pd.to_timedelta(turns["seconds"] + turns["judge_seconds"], unit="s")
    moments = pd.concat([turns["started"] + spent, trials["started"], trials["finished"]])
    return pd.Timestamp(moments.max())


def _seconds(times: pd.Series[pd.Timestamp]) -> np.ndarray:
    """Times as float64 seconds since 1970."""
    found: np.ndarray = times.astype("datetime64[us, UTC]").astype("int64").to_numpy() / 1e6
    return found


def _spans(table: pd.DataFrame, rows: list[str], per: float) -> Iterator[Spans]:
    labels = np.array(rows, dtype=object)
    for state in LOOKS:
        chosen = (table["state"] == state).to_numpy()
        if chosen.any():
            held = table[chosen]
            yield Spans(
                list(labels[chosen]),
                held["start"] / per,
                held["end"] / per,
                name=state,
                colour=LOOKS[state].colour,
                slots=held["slot"],
                text=[
                    f"{row.started:%H:%M:%S} to {row.finished:%H:%M:%S} UTC"
                    for row in held.itertuples()
                ],
            )


def _lines(turns: pd.DataFrame, total: float, per: float) -> Iterator[Line]:
    """A stepped line a worker; more workers than colours are drawn as one sum of all."""
    many, colours = turns["worker"].nunique(), SERIES[1:]  # the first is that of complete trials
    if many > len(colours):
        turns = _summed(turns)
    for index, (worker, rows) in enumerate(turns.groupby("worker")):
        x = np.append(rows["start"].to_numpy(), total) / per
        y = np.append(rows["trials"].to_numpy(), rows["trials"].to_numpy()[-1:])
        name = f"worker {worker}" if many > 1 else ""
        name = "all workers" if many > len(colours) else name
        yield Line(x, y, name, colours[index], stepped=True, width=1.5)


def _summed(turns: pd.DataFrame) -> pd.DataFrame:
    """The trials of all workers' latest turns."""
    table = turns.sort_values("start")
    before = table.groupby("worker")["trials"].shift(fill_value=0.0)
    total = (table["trials"] - before).cumsum()
    return pd.DataFrame({"worker": 0, "start": table["start"], "trials": total})


def _note(table: pd.DataFrame) -> str:
    gaps = idle(_seconds(table["started"]), _seconds(table["finished"]))
    if not gaps:
        return ""
    hours = sum(until - since for since, until in gaps) / 3600
    return f"{count(len(gaps), 'pause')} of {hours:.1f} h in all, in which nothing ran, cut out."
