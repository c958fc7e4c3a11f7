"""How fast a pack trains as it grows, beside what the machine can do, and what its memory takes.

    python benchmarks/growth.py               # some fifteen minutes on two cores; leave it alone
    python benchmarks/growth.py --quick       # whether it works at all; its figures mean nothing

Prints Markdown tables of trial-steps per second (meta-iterations of one trial) as trials, tasks,
inner steps, filters and lanes grow, and draws them (docs/growth.png; needs the extra `figures`).
All settings train in one process at our threads, a short while each in turn, round after round;
medians over the rounds are shown. A GFLOP is 1e9 multiplications and additions in the products and
convolutions of a meta-step, counted by their shapes (benchmarks/operations.py), and stands beside
what NumPy reaches in a product of two large matrices in the same rounds.

Memory and time as inner steps grow, with training.recompute and without it, are of one trial on one
thread, the two side by side in processes of their own, medians over as many rounds; memory is what
TensorFlow's allocator counts (benchmarks/family.py).
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks import family, growth_report, operations, packing
from benchmarks.family import Case, Workload
from benchmarks.grown import AGAIN, KEPT, MEMORY, SERIES, Found, Point, Series, key

TASKS = {
    "sinusoid": ("task=sinusoid", "model=mlp"),
    "conv4": ("task=glyphs", "model=conv4"),
}
SLICE = 0.1  # seconds of one call, so that a short turn is short


def main(arguments: Sequence[str] | None = None) -> None:
    """Measures what the command line asks for, prints it and draws it."""
    args = _parser().parse_args(arguments)
    if args.measure:
        print(json.dumps(spent(*args.measure.split(","))))
        return
    found = Found(**json.loads(args.read.read_text())) if args.read else measured(args)
    if args.json:
        args.json.write_text(json.dumps(found._asdict(), indent=1))
    print("\n".join(growth_report.tables(found)), flush=True)
    if args.figure or not args.quick:
        growth_report.draw(found, args.figure or packing.ROOT / "docs" / "growth.png")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5, help="how often each setting is measured")
    parser.add_argument("--seconds", type=float, default=0.3, help="of training, each time")
    steps = [1, 2, 5, 10, 20]
    parser.add_argument("--memory", type=_numbers, default=steps, help="inner steps, as 1,5,10")
    parser.add_argument("--figure", type=Path, help="where to draw; docs/growth.png if not said")
    parser.add_argument("--json", type=Path, help="keep the figures in this file")
    parser.add_argument("--read", type=Path, help="draw those of such a file; measure nothing")
    parser.add_argument("--quick", action="store_true", help="tiny: two short rounds, few sizes")
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    return parser


def _numbers(text: str) -> list[int]:
    return sorted({int(number) for number in text.split(",")})


def measured(args: Any) -> Found:
    """Everything; memory comes first, while nothing else of this process runs."""
    series = SERIES
    if args.quick:
        args.rounds, args.seconds, args.memory = 2, 0.05, [1, 2]
        series = tuple(each._replace(values=each.values[:2]) for each in SERIES)
    memory = {each.name: _memory(each, args.memory, args.rounds) for each in MEMORY}
    trainers = Trainers()
    points = dict.fromkeys(each.point(value) for each in series for value in each.values)
    rates, product = timed(trainers, list(points), args.rounds, args.seconds)
    work = {point: point.tasks * trainers.work(point) / 1e9 for point in points}
    trials = {point: point.trials for point in points}
    rated, worked, counts = (_by_series(series, each) for each in (rates, work, trials))
    return Found(product, rated, worked, counts, memory)


def _by_series(series: Iterable[Series], of: Mapping[Point, Any]) -> dict[str, dict[str, Any]]:
    """What is known of points, by `key` and value."""
    return {
        key(each): {str(value): of[each.point(value)] for value in each.values} for each in series
    }


# -- time ----------------------------------------------------------------------------------------


class Trainers:
    """Every point's program, built once for all that share it."""

    def __init__(self) -> None:
        self._trainers: dict[tuple[str, ...], tuple[Any, Any]] = {}
        self._work: dict[tuple[str, ...], float] = {}

    def runs(self, point: Point) -> tuple[Any, list[Any]]:
        """The trainer of a point, and a pack of it."""
        from maml_sweep import build
        from maml_sweep.training import pack
        from maml_sweep.training.devices import configure

        chosen = _overrides(point)
        if chosen not in self._trainers:
            config = _composed(point)
            device = configure(config.device)
            parts = build.components(config)
            trainer = pack.Trainer(build.own_program(parts, config, device), slice_seconds=SLICE)
            self._trainers[chosen] = trainer, parts.settings
        trainer, settings = self._trainers[chosen]
        settings = replace(settings, meta_batch_size=point.tasks)
        return trainer, [
            pack.start(trainer.program, settings, seed) for seed in range(point.trials)
        ]

    def work(self, point: Point) -> float:
        """Operations of one task; every further inner step does what the second one does."""
        ends = [self._counted(point._replace(steps=steps)) for steps in (1, 2)[: point.steps]]
        return ends[0] + (point.steps - 1) * (ends[-1] - ends[0])

    def _counted(self, point: Point) -> float:
        chosen = _overrides(point)
        if chosen not in self._work:
            self._work[chosen] = operations.of_program(_composed(point))
        return self._work[chosen]


def _overrides(point: Point) -> tuple[str, ...]:
    filters = (f"model.filters={point.filters}",) if point.filters else ()
    return (*TASKS[point.task], *filters, f"algorithm.inner_steps={point.steps}")


def _composed(point: Point) -> Any:
    return family.composed(Workload("", "", _overrides(point)), Case("maml", point.steps))


def timed(
    trainers: Trainers, points: Sequence[Point], rounds: int, seconds: float
) -> tuple[dict[Point, float], float]:
    """Medians over rounds: trial-steps a second of every point, and GFLOP/s of the product."""
    packs = {}
    for point in points:
        _say(f"{point}: tracing …")
        packs[point] = trainers.runs(point)
        packing.advance(*packs[point], 1)
    rates: dict[Point, list[float]] = {point: [] for point in points}
    products = []
    for index in range(rounds):
        _say(f"round {index + 1} of {rounds} …")
        products.append(packing.matrix_product())
        for point in points if index % 2 == 0 else points[::-1]:
            packing.advance(*packs[point], 3)  # so that its trainer knows how long this pack takes
            rates[point].append(packing.timed(*packs[point], seconds))
    medians = {point: statistics.median(found) for point, found in rates.items()}
    return medians, statistics.median(products)


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


# -- memory --------------------------------------------------------------------------------------


def _memory(
    workload: Workload, steps: Sequence[int], rounds: int
) -> dict[str, dict[str, list[float]]]:
    """Medians over rounds of `spent`, by way and inner steps: both ways run side by side."""
    found: dict[str, dict[str, list[float]]] = {KEPT: {}, AGAIN: {}}
    measure = partial(family.apart, "benchmarks.growth")
    with ThreadPoolExecutor(len(found)) as threads:
        for count in steps:
            _say(f"{workload.title}: memory of {count} inner steps …")
            asked = [f"{workload.name},{way},{count}" for way in found]
            costs = [list(threads.map(measure, asked)) for _ in range(rounds)]
            for way, own in zip(found, zip(*costs, strict=True), strict=True):
                found[way][str(count)] = [statistics.median(of) for of in zip(*own, strict=True)]
    return found


def spent(name: str, way: str, steps: str) -> tuple[float, float]:
    """The mebibytes that a meta-step takes at the most, and its milliseconds, in this process."""
    workload = next(each for each in MEMORY if each.name == name)
    chosen = [*family.ONE_THREAD, f"training.recompute={way == AGAIN}"]
    training = family.Training(workload, Case("maml", int(steps)), chosen)
    mebibytes = family.highest(training)
    count = max(1, round(0.2 / training.advance(2)))
    return mebibytes, 1000 * statistics.median(training.advance(count) for _ in range(5))


if __name__ == "__main__":
    main()
