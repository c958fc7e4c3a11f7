"""What the search itself costs as a study grows: recorded curves, simulated workers, no training.

    python benchmarks/search_scale.py           # SQLite, and PostgreSQL where initdb is found
    python benchmarks/search_scale.py --study outputs/NAME  # curves of a study of yours
    python benchmarks/search_scale.py --storage postgresql+psycopg://USER:PASSWORD@HOST/DATABASE
    python benchmarks/search_scale.py --quick   # whether it works at all

Slots are claimed, drawn, reported, judged and told by the code that real workers run; only training
is replaced, by the recorded curve of whoever is nearest in the space. Two tables come out:

*Cost a trial*: studies of 100, 1,000 and 10,000 slots, whose last 1,000 (`--played`) are played in
one process by workers with packs of 16 whose turns take ten simulated seconds; the others have
results already. `--stores` connections, each with a memory of its own, are shared out among the
workers: most of what one learns about was done by others, as on a cluster. CPU is that of this
process and of the search alone; the clock also counts the database and whatever else runs here.

*A server's load*: in real time, threads in place of workers; each reports a pack of 16 a turn,
prunes, tells and claims. CPU seconds are those of all the server's processes in /proc. So many
workers need more than a small machine has, as each reads what all the others report; `--turn` gives
them longer turns, in which each reads just as much, and the server's CPU seconds a turn say what it
would take at one every ten seconds. Here parameters are drawn at random, as 200 samplers would not
fit into this machine.
"""

from __future__ import annotations

import argparse
import heapq
import json
import logging
import multiprocessing
import os
import statistics
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import optuna

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from benchmarks.recorded_curves import Recording, fill, recorded, synthetic  # noqa: E402
from benchmarks.simulated_workers import PACK, Spent, Worker, make_plan  # noqa: E402
from maml_sweep.search import storage as storages  # noqa: E402
from maml_sweep.search import study as studies  # noqa: E402
from maml_sweep.search.mirror import Mirror  # noqa: E402
from maml_sweep.search.samplers import PerTrial  # noqa: E402

TURN = 10.0  # seconds from one report of a pack to the next, as a worker makes them
PROCESSES = 2  # of the load
SIZES = {100: 2, 1_000: 20, 10_000: 20}  # slots -> workers
TPE = {
    "_target_": "optuna.samplers.TPESampler",
    "n_startup_trials": 8,
    "multivariate": True,
    "group": True,
    "constant_liar": True,
}
RANDOM = {"_target_": "optuna.samplers.RandomSampler"}


# Cost a trial.


def play(
    url: str, folder: Path, recording: Recording, slots: int, workers: int, stores: int, played: int
) -> dict[str, Any]:
    """Plays a study through; returns its figures."""
    name = f"scale-{slots}-{time.time_ns()}"
    statements = count_statements()
    begin = time.perf_counter()
    studies.create(url, make_plan(recording, name, slots), folder)
    created = time.perf_counter() - begin
    written = max(0, slots - played)
    _write(url, name, recording, written)
    opened = [
        studies.open_study(url, name, PerTrial(TPE, seed=0)) for _ in range(min(stores, workers))
    ]
    spent = Spent()
    crew = [
        Worker(opened[index % len(opened)], recording, folder, f"w{index}", spent)
        for index in range(workers)
    ]
    statements.clear()
    last = 0.0, 0
    clock = [(0.01 * index, index) for index in range(workers)]
    while clock:
        now, index = heapq.heappop(clock)
        if crew[index].turn():
            heapq.heappush(clock, (now + TURN, index))
        done = sum(each.finished for each in crew)
        if not last[1] and done >= 0.9 * (slots - written):
            last = spent.total, done
    done = sum(each.finished for each in crew)
    assert done == slots - written, f"{done} of {slots - written} slots"
    return {
        "slots": slots,
        "workers": workers,
        "created": created,
        "trial": 1e3 * spent.total / done,
        "late": 1e3 * (spent.total - last[0]) / max(1, done - last[1]),
        "wall": 1e3 * sum(spent.wall.values()) / done,
        "statements": statements["all"] / done,
        **{what: 1e3 * seconds / done for what, seconds in spent.cpu.items()},
    }


def _write(url: str, name: str, recording: Recording, count: int) -> None:
    """Gives a study's first slots results that nobody found."""
    storage = storages.connect(url)
    assert isinstance(storage, Mirror)
    if count:
        study = storage.get_study_id_from_name(name)
        storage.run(fill, study, recording, count)
    storage.run(_analyze)


def count_statements() -> Counter[str]:
    """Counts every SQL statement of this process from now on."""
    from sqlalchemy import event
    from sqlalchemy.engine import Engine

    counted: Counter[str] = Counter()

    def count(*_: object) -> None:
        counted["all"] += 1

    event.listen(Engine, "before_cursor_execute", count)
    return counted


PARTS = ("claim", "draw", "report", "judge", "tell")


def cost_table(title: str, rows: Sequence[Mapping[str, Any]]) -> str:
    """Markdown."""
    head = ["slots", "workers", "CPU", "its last tenth", *PARTS, "on the clock", "SQL", "queued in"]
    lines = [
        f"{title}: the search's milliseconds a trial",
        "",
        _row(head),
        "|---" * len(head) + "|",
    ]
    for row in rows:
        figures = [row["trial"], row["late"], *(row.get(part, 0.0) for part in PARTS), row["wall"]]
        shown = [f"{figure:.1f}" for figure in figures]
        ends = [f"{row['statements']:.0f}", f"{row['created']:.1f} s"]
        lines.append(_row([f"{row['slots']:,}", str(row["workers"]), *shown, *ends]))
    first, last = rows[0], rows[-1]
    whole, late = last["trial"] / first["trial"], last["late"] / first["trial"]
    sizes = f"{last['slots']:,} against {first['slots']:,} slots"
    lines += ["", f"{sizes}: {whole:.1f}x the CPU a trial, its last tenth {late:.1f}x"]
    return "\n".join(lines)


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


# A server's load.


def load(
    url: str, folder: Path, server: int, workers: int, turn: float, seconds: float
) -> dict[str, float]:
    """CPU of a server, a process, while workers report, each once a turn of so many seconds."""
    name = f"load-{time.time_ns()}"
    studies.create(url, make_plan(synthetic(), name, 2 * PACK * workers), folder)
    context = multiprocessing.get_context("spawn")
    ready, out = context.Barrier(PROCESSES + 1), context.Queue()
    crews = [
        context.Process(
            target=_crew,
            args=(url, name, folder, index, workers // PROCESSES, ready, out, turn, seconds),
            daemon=True,
        )
        for index in range(PROCESSES)
    ]
    for crew in crews:
        crew.start()
    ready.wait()
    _write(url, name, synthetic(), 0)
    time.sleep(1.5 * turn)  # all have reported once
    before, begin = cpu_seconds(server), time.monotonic()
    time.sleep(seconds)
    used, wall = cpu_seconds(server) - before, time.monotonic() - begin
    done = [out.get(timeout=300) for _ in crews]
    return {
        "workers": workers,
        "turn": turn,
        "cores": used / wall,
        "reports": sum(each["reports"] for each in done),
        "trials": sum(each["trials"] for each in done),
        "late": statistics.median(each["late"] for each in done),
        "own": sum(each["cores"] for each in done),
    }


def load_lines(figures: Mapping[str, float]) -> str:
    """What came of it, in words."""
    return (
        f"{figures['workers']:.0f} workers, {figures['reports']:.1f} packs of {PACK} and "
        f"{figures['trials']:.1f} results a second (turns begin {figures['late']:.2f} s late): "
        f"PostgreSQL uses {figures['cores']:.2f} of a core, the workers {figures['own']:.2f}; "
        f"with turns of {TURN:g} s in place of {figures['turn']:g} s, PostgreSQL "
        f"{figures['cores'] * figures['turn'] / TURN:.2f}"
    )


def _analyze(connection: Any) -> None:
    """What the server does by itself every minute: has its planner see how large the tables are."""
    from sqlalchemy import text

    connection.execute(text("ANALYZE"))


def _crew(
    url: str, name: str, folder: Path, crew: int, workers: int, ready: Any, out: Any,
    turn: float, seconds: float,
) -> None:  # fmt: skip
    """A process of the load: its workers are threads."""
    quiet()
    recording = synthetic()
    made = []
    for index in range(workers):
        study = studies.open_study(url, name, PerTrial(RANDOM, seed=0))
        made.append(Worker(study, recording, folder, f"w{crew}-{index}", Spent()))
        made[-1].fill()
    ready.wait()
    begin, cpu = time.monotonic(), time.process_time()
    lates: list[float] = []
    threads = [
        threading.Thread(
            target=_in_time,
            args=(each, turn, begin + turn * index / workers, begin + 1.5 * turn + seconds, lates),
        )
        for index, each in enumerate(made)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    wall = time.monotonic() - begin
    out.put({
        "reports": sum(each.spent.calls["report"] for each in made) / wall,
        "trials": sum(each.spent.calls["tell"] for each in made) / wall,
        "late": statistics.median(lates),
        "cores": (time.process_time() - cpu) / wall,
    })  # fmt: skip


def _in_time(worker: Worker, turn: float, at: float, end: float, lates: list[float]) -> None:
    """A worker's turns, one every `turn` seconds."""
    while at < end:
        time.sleep(max(0.0, at - time.monotonic()))
        lates.append(time.monotonic() - at)
        worker.turn()
        at += turn


def cpu_seconds(postmaster: int) -> float:
    """Utime and stime of a server and its children, the ended ones included (proc(5))."""
    total = 0.0
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            name = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        parent, times = int(name[1]), [int(each) for each in name[11:15]]
        if int(path.parent.name) == postmaster:
            total += sum(times)  # own, and those of its ended children
        elif parent == postmaster:
            total += sum(times[:2])
    return total / os.sysconf("SC_CLK_TCK")


# The whole.


def quiet() -> None:
    """Leaves out what Optuna says about every study."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    logging.basicConfig(level=logging.WARNING)


def postgres() -> Any:
    """A private PostgreSQL as a context manager, or None and why."""
    from engines.postgres import Postgres
    from engines.processes import Missing

    try:
        return Postgres(max_connections=500)
    except Missing as error:
        print(f"no PostgreSQL: {error}\n", flush=True)
        return None


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--study", type=Path, help="a study's folder, for its curves")
    parser.add_argument("--storage", help="a database to use, left with the benchmark's studies")
    parser.add_argument("--only", choices=["sqlite", "postgres", "load"])
    parser.add_argument("--sizes", type=int, nargs="+", default=list(SIZES))
    parser.add_argument("--played", type=int, default=1000, help="slots; those before are written")
    parser.add_argument("--stores", type=int, default=10)
    parser.add_argument("--workers", type=int, default=200, help="of the load")
    parser.add_argument("--turn", type=float, default=3 * TURN, help="seconds, of the load")
    parser.add_argument("--seconds", type=float, default=60.0, help="of the load")
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args(argv)
    if options.quick:
        options.sizes, options.workers, options.turn, options.seconds = [20, 60], 4, TURN, 2.0
    return options


def costs(title: str, url: str, folder: Path, options: argparse.Namespace) -> None:
    """Prints the table of a storage."""
    recording = recorded(options.study) if options.study else synthetic()
    rows = []
    play(url, folder, recording, 20, 1, 1, 20)  # what is compiled once, SQL above all
    for slots in options.sizes:
        workers = SIZES.get(slots, max(1, slots // 50))
        rows.append(play(url, folder, recording, slots, workers, options.stores, options.played))
        print(json.dumps(rows[-1]), flush=True)
    print("\n" + cost_table(title, rows) + "\n", flush=True)


def main(argv: Sequence[str] | None = None) -> None:
    """Prints the tables."""
    options = arguments(argv)
    quiet()
    with tempfile.TemporaryDirectory(prefix="maml-scale-") as home:
        folder = Path(home)
        if options.only in {None, "sqlite"} and not options.storage:
            costs("SQLite", studies.storage_url(None, folder), folder, options)
        if options.storage:
            costs("Database", options.storage, folder, options)
        elif options.only != "sqlite" and (server := postgres()):
            with server:
                if options.only != "load":
                    costs("PostgreSQL", server.new_database(), folder, options)
                if options.only != "postgres":
                    chosen = options.workers, options.turn, options.seconds
                    figures = load(server.new_database(), folder, server.pid, *chosen)
                    print(load_lines(figures), flush=True)


if __name__ == "__main__":
    main()
