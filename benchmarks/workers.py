"""Whole sweeps by one worker and by two on the same machine: how much sooner are two done?

    python benchmarks/workers.py [--rounds 3] [--trials 48] [--iterations 3000]

Both train the same trials (pruner=none, a sampler that does not look back), in packs that use one
thread. The commands run in alternation, from their first import to their last line; so the start-up
and the tracing of every worker are in it, about 10 s each on a slow machine: hence sweeps of a
minute and more. What counts is the ratio of the medians; 0.5 would be perfect.

On a machine that others use, too, walls say little. So beside them stands the critical path: the
sweeper's own CPU seconds and those of its busiest worker, which is what single-threaded processes
would take on cores of their own (Linux only).
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parent.parent
SINGLE_THREADED = ["device.inter_op=1", "device.intra_op=1"]
TARGET = 0.65


def command(name: str, root: str, workers: int, trials: int, iterations: int) -> list[str]:
    """The sweep with so many workers."""
    return [
        sys.executable,
        str(ROOT / "sweep.py"),
        f"study.name={name}",
        f"workers={workers}",
        f"study.n_trials={trials}",
        f"training.iterations={iterations}",
        f"training.report_every={max(1, iterations // 5)}",
        "training.meta_batch_size=25",
        "algorithm.inner_steps=1",
        "pruner=none",
        "sampler=random",
        "pack.size=8",
        *SINGLE_THREADED,
        f"hydra.sweeper.root={root}",
    ]


def timed(name: str, root: str, workers: int, trials: int, iterations: int) -> tuple[float, float]:
    """Seconds on the wall, and CPU seconds on the critical path, of one sweep.

    Raises:
      SystemExit: it did not finish all of its trials.
    """
    begin, used = time.monotonic(), dict[int, float]()
    asked = command(name, root, workers, trials, iterations)
    with Path(root, f"{name}.log").open("w") as log:
        process = subprocess.Popen(asked, cwd=ROOT, stdout=log, stderr=log)
        while process.poll() is None:
            used |= cpu_seconds(process.pid)
            time.sleep(0.2)
    wall = time.monotonic() - begin
    table = Path(root, name, "trials.csv")
    done = table.read_text().count("COMPLETE") if not process.returncode else 0
    if done != trials:
        raise SystemExit(
            f"{name}: {done} of {trials} trials done: {process.returncode}; see {root}"
        )
    own = used.pop(process.pid, 0.0)
    return wall, own + max(used.values(), default=0.0)


def cpu_seconds(parent: int) -> dict[int, float]:
    """What a process and each of its children have used so far, by process id (proc(5))."""
    used = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:  # it ended
            continue
        pid, above = int(path.parent.name), int(fields[1])
        if parent in {pid, above}:
            used[pid] = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return used


def main() -> None:
    """Runs the rounds and prints a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--trials", type=int, default=48)
    parser.add_argument("--iterations", type=int, default=3000)
    asked = parser.parse_args()
    cores = len(os.sched_getaffinity(0))
    print(f"{asked.trials} trials of {asked.iterations} meta-iterations, {cores} cores, "
          f"load {os.getloadavg()[0]:.1f}\n")  # fmt: skip
    print("| round | workers | wall s | critical CPU s |\n|---|---|---|---|")
    walls: dict[int, list[float]] = {1: [], 2: []}
    paths: dict[int, list[float]] = {1: [], 2: []}
    with tempfile.TemporaryDirectory() as root:
        for index in range(asked.rounds):
            for workers, own in walls.items():
                name = f"round{index}-workers{workers}"
                wall, path = timed(name, root, workers, asked.trials, asked.iterations)
                own.append(wall)
                paths[workers].append(path)
                print(f"| {index} | {workers} | {wall:.1f} | {path:.1f} |", flush=True)
    print(f"\nmedians of 1 and 2 workers: wall {ratio(walls)}, critical CPU {ratio(paths)}; "
          f"target {TARGET}; load {os.getloadavg()[0]:.1f}")  # fmt: skip


def ratio(seconds: dict[int, list[float]]) -> str:
    """Both medians and what they make."""
    one, two = (statistics.median(each) for each in seconds.values())
    return f"{one:.1f} and {two:.1f} s = {two / one:.2f}"


if __name__ == "__main__":
    main()
