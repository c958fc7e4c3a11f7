"""Tables and the figure of what benchmarks/growth.py found."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks import packing
from benchmarks.grown import AGAIN, KEPT, MEMORY, Found
from maml_sweep.analysis.drawing.palette import THEMES

AXES = {
    "trials": "trials in the pack",
    "tasks": "tasks a meta-step",
    "steps": "inner steps",
    "filters": "filters a layer",
    "lanes": "lanes (tasks of all trials)",
}
ROLES = THEMES["light"].roles
COLOURS = {"sinusoid": ROLES["series0"], "conv4": ROLES["series1"]}
WAYS = {KEPT: "kept", AGAIN: "recomputed"}
MEBIBYTES, MILLISECONDS = 0, 1  # places of the two in `Found.memory`


class Line(NamedTuple):
    """One series, ready to be shown."""

    axis: str
    title: str
    values: list[int]
    rates: list[float]  # trial-steps a second
    speeds: list[float]  # GFLOP/s
    sizes: list[float]  # GFLOP of a meta-step of the whole pack


def lines(found: Found) -> Iterator[Line]:
    """The series in their order."""
    for name, rates in found.rates.items():
        axis, _, title = name.partition(": ")
        work, trials = found.work[name], found.trials[name]
        speeds = [rate * work[value] for value, rate in rates.items()]
        sizes = [work[value] * trials[value] for value in rates]
        yield Line(axis, title, list(map(int, rates)), list(rates.values()), speeds, sizes)


# -- tables --------------------------------------------------------------------------------------


def tables(found: Found) -> list[str]:
    """Lines of Markdown: a table a series, then one a workload whose memory was looked at."""
    product = f"float32 product of 2048 x 2048 matrices: {found.product:.0f} GFLOP/s"
    written = [f"{packing.cores()} cores; {product}."]
    for line in lines(found):
        rows = {
            AXES[line.axis]: [str(value) for value in line.values],
            "trial-steps/s": [_short(rate) for rate in line.rates],
            "GFLOP/s": [_short(speed) for speed in line.speeds],
            "of the matrix product": [f"{share:.1f}%" for share in _shares(line, found)],
        }
        written += ["", f"**{line.title}**", "", *_markdown(rows)]
    for workload in MEMORY:
        kept, again = (found.memory[workload.name][way] for way in (KEPT, AGAIN))
        rows = {"inner steps": list(kept)}
        for place, unit in ((MEBIBYTES, "MiB"), (MILLISECONDS, "ms")):
            for way, costs in ((WAYS[KEPT], kept), (WAYS[AGAIN], again)):
                rows[f"{unit}, {way}"] = [_short(cost[place]) for cost in costs.values()]
        written += ["", f"**{workload.title}; one trial, one thread**", "", *_markdown(rows)]
    return written


def _short(value: float) -> str:
    """Three digits, or all before the point."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _shares(line: Line, found: Found) -> list[float]:
    """What a line reaches of the matrix product, in per cent."""
    return [100 * speed / found.product for speed in line.speeds]


def _markdown(rows: Mapping[str, Sequence[str]]) -> list[str]:
    """The first row is the head."""
    head, *rest = [[name, *cells] for name, cells in rows.items()]
    rule = ["---", *["---:"] * (len(head) - 1)]
    return [f"| {' | '.join(row)} |" for row in (head, rule, *rest)]


# -- the figure ----------------------------------------------------------------------------------


def draw(found: Found, path: Path) -> None:
    """Draws small panels on logarithmic axes: what grows, shares, memory, the price of saving it.

    Args:
      found: to be drawn.
      path: of the picture, whose ending says which format.
    """
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    style = {"font.size": 8.5, "axes.titlesize": 9, "legend.fontsize": 7.5, "lines.markersize": 4}
    with rc_context(style):
        figure = Figure(figsize=(9, 8), layout="constrained")
        panels = figure.subplots(3, 3).flat
        for axis, label in AXES.items():
            _rates(next(panels), [line for line in lines(found) if line.axis == axis], label)
        _all_shares(next(panels), found)
        for workload in MEMORY:
            _memory(next(panels), found.memory[workload.name], workload.title)
        _price(next(panels), found)
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(
            path, dpi=150, metadata={"Software": None} if path.suffix == ".png" else None
        )


def _rates(panel: Any, shown: Sequence[Line], label: str) -> None:
    """Trial-steps a second against what grows."""
    for line, style in zip(shown, ("-", "--", ":"), strict=False):
        colour = _colour(line)
        panel.plot(line.values, line.rates, style, marker="o", color=colour, label=line.title)
    panel.margins(y=0.35)  # for the legend
    ticks = sorted({value for line in shown for value in line.values})
    _finish(panel, label, "trial-steps/s", ticks, "what grows: " + label.partition(" (")[0])


def _colour(line: Line) -> str:
    return next(colour for task, colour in COLOURS.items() if line.title.startswith(task))


def _all_shares(panel: Any, found: Found) -> None:
    """Every point: the share of the matrix product against the size of the pack's step."""
    for task, colour in COLOURS.items():
        own = [line for line in lines(found) if _colour(line) == colour]
        sizes = [size for line in own for size in line.sizes]
        shares = [share for line in own for share in _shares(line, found)]
        panel.plot(sizes, shares, "o", color=colour, alpha=0.7, mew=0, label=task)
    panel.axhline(100, color=ROLES["muted"], linewidth=1)
    title = f"share of GEMM's {found.product:.0f} GFLOP/s"
    _finish(panel, "GFLOP of the pack's meta-step", "%", None, title)


def _memory(panel: Any, costs: Mapping[str, Mapping[str, Sequence[float]]], title: str) -> None:
    """Mebibytes against inner steps, kept and recomputed."""
    roles = {KEPT: "series2", AGAIN: "series3"}
    for way, by_steps in costs.items():
        steps, sizes = list(map(int, by_steps)), [cost[MEBIBYTES] for cost in by_steps.values()]
        panel.plot(steps, sizes, marker="o", color=ROLES[roles[way]], label=WAYS[way])
    task, _, rest = title.partition(", ")
    _finish(panel, "inner steps", "MiB", steps, f"memory: {task},\n{rest}")


def _price(panel: Any, found: Found) -> None:
    """Time of a meta-step recomputed to one kept, against inner steps."""
    for workload, colour in zip(MEMORY, COLOURS.values(), strict=True):
        kept, again = (found.memory[workload.name][way] for way in (KEPT, AGAIN))
        ratios = [again[count][MILLISECONDS] / kept[count][MILLISECONDS] for count in kept]
        steps = list(map(int, kept))
        panel.plot(steps, ratios, marker="o", color=colour, label=workload.name)
    panel.axhline(1, color=ROLES["muted"], linewidth=1)
    _finish(panel, "inner steps", "times the time", steps, "time recomputed / kept")
    panel.set_yscale("linear")
    panel.set_ylim(0, 1.25 * panel.get_ylim()[1])


def _finish(panel: Any, x: str, y: str, ticks: Sequence[int] | None, title: str) -> None:
    """Logarithmic axes, words and a legend."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    panel.set(xscale="log", yscale="log", xlabel=x, ylabel=y, title=title)
    plain = FuncFormatter(lambda value, _: f"{value:,.10g}")
    panel.yaxis.set_major_locator(LogLocator(subs=_digits(panel.get_ylim())))
    panel.yaxis.set(major_formatter=plain, minor_formatter=NullFormatter())
    if ticks is not None:
        panel.set_xticks(ticks, [str(tick) for tick in ticks])
    panel.minorticks_off()
    panel.grid(color=ROLES["grid"], linewidth=0.6)
    panel.set_axisbelow(True)
    panel.spines[["top", "right"]].set_visible(False)
    panel.legend(frameon=False)


def _digits(limits: tuple[float, float]) -> tuple[float, ...]:
    """The first digits worth a tick: few where an axis spans many powers of ten."""
    return (1.0,) if limits[1] / limits[0] > 300 else (1.0, 2.0, 5.0)
