"""What the commands of `maml-sweep` share: the study they are about, tables, JSON.

A command is a module with HELP (one line), `configure(parser)` and `run(arguments) -> exit code`.
Its own imports are light: whatever takes time is imported where it is used.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from maml_sweep.files import STUDIES

if TYPE_CHECKING:
    from maml_sweep.analysis.frames import Frames
    from maml_sweep.analysis.loading import Located
    from maml_sweep.search.slots import Counts


def study_options(parser: argparse.ArgumentParser) -> None:
    """Adds STUDY, and where to look for it."""
    parser.add_argument(
        "study",
        nargs="?",
        metavar="STUDY",
        help="a study's name or folder (default: the newest)",
    )
    place_options(parser)


def place_options(parser: argparse.ArgumentParser) -> None:
    """Adds where studies lie, and --json."""
    parser.add_argument(
        "--root",
        default=STUDIES,
        metavar="DIR",
        help="folder of the studies (default: %(default)s)",
    )
    parser.add_argument(
        "--storage", metavar="URL", help="the server of studies made with study.storage"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")


def open_study(arguments: argparse.Namespace) -> Located:
    """The study that `study_options` names.

    Raises:
      InputError: there is none, or none of that name.
    """
    from maml_sweep.analysis import loading

    return loading.locate(arguments.study, arguments.root, arguments.storage)


def frames_of(located: Located) -> Frames:
    """Its frames; says so where only the storage can be read.

    Raises:
      InputError: it cannot be opened, or is no sweep of ours.
    """
    from maml_sweep.analysis import frames
    from maml_sweep.search.records import SWEEP

    found = frames.of(located)
    if not (located.folder / SWEEP).is_file():
        print(
            f"{located.name}: its folder is not here ({located.folder}), so nothing is known of "
            f"single tasks, adaptation and turns; copy it here, or name where it lies with --root",
            file=sys.stderr,
        )
    return found


def progress(n_trials: int, counts: Counts) -> dict[str, Any]:
    """How far a study is, as plain values: its budget, and slots by state in figures and words."""
    slots = asdict(counts)
    words = ", ".join(f"{count} {state}" for state, count in slots.items() if count)
    return {"n_trials": n_trials, "finished": counts.finished, "slots": slots, "words": words}


def print_json(value: Any) -> None:
    """Prints plain values, paths and times as JSON; what is not finite becomes null."""
    print(json.dumps(plain(value), indent=2, ensure_ascii=False, allow_nan=False))


def plain(value: Any) -> Any:
    """A value as JSON can hold it: numbers of NumPy, times and paths included."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if hasattr(value, "item"):  # NumPy's scalars
        return plain(value.item())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, datetime):
        return value.isoformat()
    return str(value) if isinstance(value, Path) else value


def print_table(heads: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Prints a table: fitted to a terminal, else as wide as it needs to be."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=10_000)
    table = Table(box=None, pad_edge=False, header_style="bold")
    for head in heads:
        table.add_column(Text(head), overflow="fold")
    for row in rows:
        table.add_row(*(Text(str(cell)) for cell in row))
    console.print(table)


def local(at: datetime) -> str:
    """A time as people here read it."""
    return at.astimezone().strftime("%Y-%m-%d %H:%M:%S")
