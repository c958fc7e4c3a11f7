"""What becomes of a sweep when something breaks: one real sweep a fault, and what was left of it.

    python benchmarks/faults.py                  # all that can be run here; some ten minutes
    python benchmarks/faults.py killed_worker    # one of them; --list names them

Every sweep has the same 24 short trials. A row says how many slots came to their end, how many
trials count twice (there must be none), how many attempts were lost on the way, how many of the
iterations were trained again, and how long the whole took. The faults of schedulers (a Slurm node
or a Ray node that dies) are among the tests: `python -m pytest -m engines`.

`disk_full` mounts a small file system in memory, so it needs root; `server_restarted` and
`clock_skewed` start a PostgreSQL of their own, the latter a worker under libfaketime.
"""

from __future__ import annotations

import argparse
import csv
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import optuna
from optuna.trial import TrialState

ROOT = Path(__file__).resolve().parent.parent
sys.path += [str(ROOT), str(ROOT / "tests")]

from engines.postgres import Postgres  # noqa: E402
from engines.processes import Missing  # noqa: E402

from maml_sweep.search import study as studies  # noqa: E402
from maml_sweep.search.slots import by_slot  # noqa: E402

N_TRIALS = 24
RESULTS = (TrialState.COMPLETE, TrialState.PRUNED)
SWEEP = (
    "study.name=s",
    f"study.n_trials={N_TRIALS}",
    "pack.size=4",
    "task.shots=5",
    "task.queries=5",
    "model.widths=[8]",
    "training.iterations=3000",
    "training.report_every=100",
    "training.validation_tasks=16",
    "training.meta_batch_size=8",
    "algorithm.inner_steps=2",
    "pruner=none",  # so that the iterations to be trained are known
    "device.inter_op=1",
    "device.intra_op=1",
)
ITERATIONS = 3000 * N_TRIALS
FAKETIME = sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))


class Bench:
    """One sweep in a folder of its own, the processes that work on it, and what came of it."""

    def __init__(self, root: Path, server: Postgres | None, stack: ExitStack) -> None:
        self.root = root
        self.stack = stack
        self.folder = root / "outputs" / "s"
        self.server = server
        self.url = server.new_database() if server else f"sqlite:///{self.folder}/study.db"
        self._more = (f"study.storage={self.url}",) if server else ()
        self._processes: list[subprocess.Popen[str]] = []

    def start(self, *arguments: str, env: Mapping[str, str] | None = None) -> subprocess.Popen[str]:
        """The sweep's command, and more arguments; `env` comes on top of ours."""
        command = [sys.executable, str(ROOT / "sweep.py"), *SWEEP, *self._more, *arguments]
        log = (self.root / f"{len(self._processes)}.log").open("w")
        process = subprocess.Popen(
            command,
            cwd=self.root,
            env={**os.environ, "PYTHONPATH": str(ROOT), **(env or {})},
            stdout=log,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._processes.append(process)
        return process

    def log(self) -> str:
        """What all of the commands printed."""
        return "".join(path.read_text() for path in sorted(self.root.glob("*.log")))

    def trials(self) -> list[optuna.trial.FrozenTrial]:
        """The study's trials; none while it is being made."""
        with suppress(Exception):
            return studies.open_study(self.url, "s").get_trials(deepcopy=False)
        return []

    def values(self) -> int:
        """How many values were reported so far."""
        return sum(len(trial.intermediate_values) for trial in self.trials())

    def wait_for(self, values: int) -> None:
        """Waits until so many values were reported."""
        while self.values() < values:
            if all(process.poll() is not None for process in self._processes):
                raise RuntimeError(f"it ended before: {self.log()[-2000:]}")
            time.sleep(0.2)

    def finish(self, *arguments: str) -> None:
        """Types the command again, until its end."""
        self.end(self.start(*arguments))

    def end(self, *processes: subprocess.Popen[str]) -> None:
        """Waits for processes that must end well."""
        for process in processes:
            if process.wait(600) != 0:
                raise RuntimeError(f"exit code {process.returncode}: {self.log()[-2000:]}")

    def close(self) -> None:
        """Leaves no process behind."""
        for process in self._processes:
            process.kill()
            process.wait()

    def row(self) -> dict[str, int]:
        """What is left: slots, results twice, attempts lost, iterations trained again."""
        slots = by_slot(self.trials())
        results = [sum(t.state in RESULTS for t in attempts) for attempts in slots.values()]
        attempts = sum("worker" in t.user_attrs for each in slots.values() for t in each)
        return {
            "slots": sum(map(bool, results)),
            "twice": sum(count > 1 for count in results),
            "lost": attempts - N_TRIALS,
            "again": sum(self._trained()) - ITERATIONS,
        }

    def _trained(self) -> Iterator[int]:
        for path in self.folder.glob("turns/*.csv"):
            with path.open(newline="") as file:
                yield from (int(row["trial_iterations"]) for row in csv.DictReader(file))


def children(process: subprocess.Popen[str]) -> list[int]:
    """The process ids of the workers that a sweeper has started."""
    listed = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    return [pid for pid in map(int, listed) if b"spawn_main" in _command(pid)]


def _command(pid: int) -> bytes:
    return Path(f"/proc/{pid}/cmdline").read_bytes()


# -- the faults -----------------------------------------------------------------------------------


def nothing(bench: Bench) -> None:
    """Nothing breaks: what the others are to be held against."""
    bench.finish("workers=2")


def killed_worker(bench: Bench) -> None:
    """SIGKILL for one of two workers in the middle of a rung: it is started again."""
    sweeper = bench.start("workers=2")
    bench.wait_for(60)
    os.kill(children(sweeper)[0], signal.SIGKILL)
    bench.end(sweeper)


def killed_sweeper(bench: Bench) -> None:
    """SIGKILL for the sweeper: its workers hand their slots back; the command is typed again."""
    sweeper = bench.start("workers=2")
    bench.wait_for(60)
    sweeper.kill()
    bench.finish("workers=2")


def killed_all(bench: Bench) -> None:
    """SIGKILL for sweeper and workers at once, as when the power goes; the command again."""
    sweeper = bench.start("workers=2")
    bench.wait_for(60)
    for pid in [*children(sweeper), sweeper.pid]:
        os.kill(pid, signal.SIGKILL)
    bench.finish("workers=2")


def two_sweepers(bench: Bench) -> None:
    """Two sweepers started on one study at the same moment: one makes it, the other joins."""
    bench.end(bench.start(), bench.start())


def truncated_checkpoints(bench: Bench) -> None:
    """Interrupted, then every checkpoint cut to half its length: those trials start anew."""
    sweeper = bench.start()
    bench.wait_for(60)
    sweeper.send_signal(signal.SIGTERM)
    sweeper.wait(60)
    for path in bench.folder.glob("checkpoints/*.npz"):
        os.truncate(path, path.stat().st_size // 2)
    bench.finish()


def server_restarted(bench: Bench) -> None:
    """PostgreSQL is stopped for three seconds in the middle of the sweep."""
    assert bench.server is not None
    sweeper = bench.start("workers=2")
    bench.wait_for(60)
    bench.server.stop()
    time.sleep(3)
    bench.server.start()
    bench.end(sweeper)


def clock_skewed(bench: Bench) -> None:
    """Of two sweepers on one study the clock of one is an hour fast."""
    if not FAKETIME:
        raise Missing("libfaketime is not installed")
    first = bench.start()
    bench.wait_for(1)
    fast = bench.start(env={"LD_PRELOAD": str(FAKETIME[0]), "FAKETIME": "+1h"})
    bench.end(first, fast)


def disk_full(bench: Bench) -> None:
    """The disk with the study's folder is full for a while; the study itself is on a server."""
    disk = bench.stack.enter_context(_small_disk(bench.root / "outputs"))
    sweeper = bench.start()
    bench.wait_for(60)
    filler = disk / "filler"
    with suppress(OSError), filler.open("wb", buffering=0) as file:
        while file.write(b"\0" * 4096):
            pass
    bench.wait_for(bench.values() + 60)
    filler.unlink()
    bench.end(sweeper)
    if "going on without" not in bench.log():
        raise RuntimeError("no file met the full disk")


@contextmanager
def _small_disk(folder: Path) -> Iterator[Path]:
    """A file system of 8 MB."""
    if os.geteuid() != 0:
        raise Missing("only root may mount a file system")
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(folder)], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=False)


PLAIN = (
    nothing,
    killed_worker,
    killed_sweeper,
    killed_all,
    two_sweepers,
    truncated_checkpoints,
)
SERVED = (server_restarted, clock_skewed, disk_full)
FAULTS: dict[str, Callable[[Bench], None]] = {each.__name__: each for each in (*PLAIN, *SERVED)}


def survive(name: str) -> None:
    """Runs one fault and prints what was left of its sweep.

    Raises:
      SystemExit: not every slot has exactly one result.
    """
    fault = FAULTS[name]
    with ExitStack() as stack:
        root = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        server = stack.enter_context(Postgres()) if fault in SERVED else None
        bench = Bench(root, server, stack)
        stack.callback(bench.close)
        begin = time.monotonic()
        fault(bench)
        seconds, row = time.monotonic() - begin, bench.row()
    figures = f"{row['slots']:>3}/{N_TRIALS} {row['twice']:>6} {row['lost']:>6} {row['again']:>8}"
    print(f"{name:22} {figures} {seconds:>7.0f}", flush=True)
    if (row["slots"], row["twice"]) != (N_TRIALS, 0):
        raise SystemExit(f"{name}: not every slot has exactly one result")


def main(argv: Sequence[str] | None = None) -> None:
    """Runs the faults that were named, or all."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("faults", nargs="*", metavar="FAULT", choices=[[], *FAULTS], help="which")
    parser.add_argument("--list", action="store_true", help="name the faults")
    arguments = parser.parse_args(argv)
    if arguments.list:
        print("\n".join(FAULTS))
        return
    print(f"{'fault':22} {'slots':>6} {'twice':>6} {'lost':>6} {'again':>8} {'seconds':>7}")
    for name in arguments.faults or FAULTS:
        try:
            survive(name)
        except Missing as missing:
            print(f"{name:22} not run: {missing}")


if __name__ == "__main__":
    main()
