"""What training would give anywhere in the default space of sinusoids, from trials trained once.

`benchmarks/data/sinusoid_curves.npz` holds real learning curves: of 39 quasi-random and 100 random
points, and of 12 points with 4 seeds each. The random ones were trained by the same program, fed
by a script, before there were sweeps; the others by sweeps without pruning, the first of which was
stopped early. To record them anew, all by sweeps:

    python sweep.py sampler=qmc pruner=none pack.size=16 study.n_trials=400 study.name=curves
    python sweep.py sampler=random pruner=none pack.size=10 study.n_trials=100 study.name=more
    python benchmarks/landscape.py --repeated    # prints the third
    python benchmarks/landscape.py outputs/curves outputs/more --repeats outputs/repeated

Between the points the logarithm of a curve is interpolated by thin plates (Duchon 1977), smoothed,
as a recorded value holds the luck of its own seed. Then the luck is put back: one of the nearest
recorded trials is drawn by the seed, and what it was off the smooth surface is added, its whole
curve; if it diverged, so does the new trial. So luck is small where training is steady, and a
factor of two or more near the edge of stability, as it is in truth: the repeated points tell
(`python benchmarks/landscape.py`).

What this is not: between two points the truth may be rougher, and all values are on one set of
validation tasks.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT)]

from benchmarks.recorded_curves import RUNGS, Recording, place_of, recorded, values_at  # noqa: E402
from maml_sweep.search.space import Space  # noqa: E402

DATA = ROOT / "benchmarks" / "data" / "sinusoid_curves.npz"
SMOOTHING = 0.03  # of thin plates: the least error on trials left out, see `held_out`
NEIGHBOURS = 4
GAIN = 3.17  # the spread of repeated points over that of the luck near them, see `gain_of`
REPEATED = 12  # points with several seeds
SEEDS = 4

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Landscape:
    """Curves at every point of a space.

    Attributes:
      recording: real trials.
      smoothing: of the surface; 0 goes through the recorded curves.
      neighbours: how many of the nearest trials lend their luck.
      gain: of the luck, as a surface takes some of it for truth.
    """

    recording: Recording
    smoothing: float = SMOOTHING
    neighbours: int = NEIGHBOURS
    gain: float = GAIN

    @property
    def space(self) -> Space:
        """What is searched."""
        return self.recording.space

    @cached_property
    def whole(self) -> NDArray[np.intp]:
        """Indices of the trials that did not diverge."""
        return np.flatnonzero([_whole(curve) for curve in self.recording.curves])

    @cached_property
    def surface(self) -> Any:
        """The smooth logarithms: points [point, parameter] -> [point, rung]."""
        from scipy.interpolate import RBFInterpolator

        logs = np.log([self.recording.curves[index] for index in self.whole])
        points = self.recording.points[self.whole]
        return RBFInterpolator(points, logs, smoothing=self.smoothing, kernel="thin_plate_spline")

    @cached_property
    def luck(self) -> dict[int, Array]:
        """What whole trials were off the surface: index -> [rung]."""
        smooth = self.surface(self.recording.points[self.whole])
        return {
            int(index): np.log(self.recording.curves[index]) - row
            for index, row in zip(self.whole, smooth, strict=True)
        }

    def curve(self, values: Mapping[str, Any], seed: int) -> list[float]:
        """What a trial of these values and this seed would report at its rungs."""
        point = place_of(self.space, values)
        distances = ((self.recording.points - point) ** 2).sum(axis=1)
        near = np.argsort(distances, kind="stable")[: self.neighbours]
        drawn = int(near[np.random.default_rng(seed).integers(near.size)])
        if drawn not in self.luck:
            return self.recording.curves[drawn]
        logs = self.surface(point[np.newaxis])[0] + self.gain * self.luck[drawn]
        return [float(value) for value in np.exp(logs)]


def _whole(curve: Sequence[float]) -> bool:
    return len(curve) == len(RUNGS) and bool(np.isfinite(curve).all())


def save(path: Path, recording: Recording, repeats: Recording) -> None:
    """Writes what `load` reads."""
    arrays: dict[str, NDArray[np.float64]] = {}
    for name, each in {"": recording, "repeated_": repeats}.items():
        curves = np.full((len(each.curves), len(RUNGS)), np.nan)
        for row, curve in zip(curves, each.curves, strict=True):
            row[: len(curve)] = curve
        arrays |= {f"{name}points": each.points, f"{name}curves": curves}
    space = np.array(json.dumps(recording.space.describe()))
    path.parent.mkdir(exist_ok=True)
    small = {name: array.astype(np.float32) for name, array in arrays.items()}
    np.savez_compressed(path, allow_pickle=False, space=space, **small)


def load(path: Path = DATA) -> tuple[Landscape, Recording]:
    """The landscape of a file, and the points that were trained with several seeds."""
    with np.load(path) as file:
        space = Space.from_description(json.loads(str(file["space"])))
        held = {name: file[name].astype(np.float64) for name in file.files if name != "space"}
    both = [
        Recording(space, held[f"{name}points"], [_cut(row) for row in held[f"{name}curves"]])
        for name in ("", "repeated_")
    ]
    return Landscape(both[0]), both[1]


def _cut(row: Array) -> list[float]:
    """A curve up to its first NaN."""
    gone = np.flatnonzero(~np.isfinite(row))
    return [float(value) for value in row[: gone[0] + 1 if gone.size else None]]


def held_out(landscape: Landscape, folds: int = 10) -> float:
    """The median error of the surface's last logarithm, at recorded points left out in turn."""
    recording, whole = landscape.recording, landscape.whole
    errors: list[float] = []
    for fold in range(folds):
        out = whole[fold::folds]
        kept = np.setdiff1d(whole, out)
        curves = [recording.curves[index] for index in kept]
        part = Recording(recording.space, recording.points[kept], curves)
        logs = Landscape(part, landscape.smoothing).surface(recording.points[out])
        truth = np.log([recording.curves[index][-1] for index in out])
        errors += np.abs(logs[:, -1] - truth).tolist()
    return float(np.median(errors))


def beside(landscape: Landscape, repeats: Recording, seeds: int = 40) -> str:
    """Markdown: last values at repeated points, real and on the landscape."""
    lines = ["| point | real | quartiles on the landscape | diverged |", "|---|---|---|---|"]
    for point in np.unique(repeats.points.round(6), axis=0):
        same = np.flatnonzero(np.isclose(repeats.points, point, atol=1e-5).all(axis=1))
        real = sorted(repeats.curves[index][-1] for index in same)
        values = values_at(repeats.space, point)
        drawn = np.array([landscape.curve(values, seed)[-1] for seed in range(seeds)])
        middle = np.quantile(drawn[np.isfinite(drawn)], (0.25, 0.5, 0.75))
        cells = [f"{100 * np.isnan(drawn).mean():.0f}%"]
        cells = [
            ", ".join(f"{each:.2g}" for each in part) for part in (point, real, middle)
        ] + cells
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def gain_of(landscape: Landscape, repeats: Recording) -> float:
    """What luck has to be multiplied by to be as large as the repeated points' at their ends.

    Both are medians of absolute values; a mean of n curves takes 1/n of their variance away.
    """
    truth, lent = [], []
    for point in np.unique(repeats.points.round(6), axis=0):
        same = np.flatnonzero(np.isclose(repeats.points, point, atol=1e-5).all(axis=1))
        ends = [np.log(repeats.curves[k][-1]) for k in same if _whole(repeats.curves[k])]
        if len(ends) > 1:
            truth += list((ends - np.mean(ends)) * (len(ends) / (len(ends) - 1)) ** 0.5)
            distances = ((landscape.recording.points - point) ** 2).sum(axis=1)
            near = np.argsort(distances)[: landscape.neighbours]
            lent += [landscape.luck[int(k)][-1] for k in near if int(k) in landscape.luck]
    return float(np.median(np.abs(truth)) / np.median(np.abs(lent)))


def repeating(seed: int = 0) -> str:
    """The command line of a sweep of a few points, each with several seeds.

    The points are spread over the better half of the space, where a search spends its trials.
    """
    rng = np.random.default_rng(seed)
    points = [
        {
            "algorithm.inner_lr": round(float(np.exp(rng.uniform(np.log(1e-2), np.log(1e-1)))), 4),
            "algorithm.inner_steps": int(rng.integers(1, 6)),
            "optimizer.meta_lr": round(float(np.exp(rng.uniform(np.log(1e-3), np.log(1e-2)))), 5),
            "training.meta_batch_size": int(np.exp(rng.uniform(np.log(8), np.log(64)))),
        }
        for _ in range(REPEATED)
    ]
    listed = ",".join(
        "{" + ",".join(f"{key}:{value}" for key, value in point.items()) + "}"
        for point in points
        for _ in range(SEEDS)
    )
    fixed = f"sampler=random pruner=none pack.size=16 study.n_trials={REPEATED * SEEDS}"
    return f"python sweep.py {fixed} study.name=repeated 'study.enqueue=[{listed}]'"


def main(argv: Sequence[str] | None = None) -> None:
    """Writes the data file, or prints how to record what goes into it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("studies", nargs="*", type=Path, help="folders of points to write")
    parser.add_argument("--repeats", type=Path, help="folder of the repeated points, with them")
    parser.add_argument("--repeated", action="store_true", help="print that sweep's command")
    options = parser.parse_args(argv)
    if options.repeated:
        print(repeating())
        return
    if options.studies:
        save(DATA, joined([recorded(each) for each in options.studies]), recorded(options.repeats))
    landscape, repeats = load()
    trials, smooth = len(landscape.recording.curves), landscape.smoothing
    for landscape in (Landscape(landscape.recording, each * smooth) for each in (0.1, 1.0, 10.0)):
        error = held_out(landscape)
        print(
            f"{trials} trials, smoothing {landscape.smoothing:g}: left-out ones off by {error:.3f}"
        )
    print(f"luck is to be multiplied by {gain_of(load()[0], repeats):.2f}")
    print(beside(load()[0], repeats))


def joined(recordings: Sequence[Recording]) -> Recording:
    """Recordings of one space as one."""
    curves = [curve for each in recordings for curve in each.curves]
    points = np.concatenate([each.points for each in recordings])
    return Recording(recordings[0].space, points, curves)


if __name__ == "__main__":
    main()
