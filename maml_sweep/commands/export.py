"""maml-sweep export: a study's frames as CSV or Parquet."""

from __future__ import annotations

import argparse
from pathlib import Path

from maml_sweep import commands

HELP = "write a study's tables as CSV or Parquet"


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    commands.study_options(parser)
    parser.add_argument("--format", choices=("csv", "parquet"), default="csv", help="of the files")
    parser.add_argument(
        "--output", metavar="DIR", help="where to (default: frames/ in the study's folder)"
    )


def run(arguments: argparse.Namespace) -> int:
    """Writes them and prints where they lie."""
    from maml_sweep.analysis.export import export

    frames = commands.frames_of(commands.open_study(arguments))
    output = None if arguments.output is None else Path(arguments.output)
    written = export(frames, arguments.format, output)
    if arguments.json:
        files = [{"path": path, "rows": rows} for path, rows in written.items()]
        commands.print_json({"study": frames.name, "files": files})
    else:
        for path, rows in written.items():
            print(f"{path}: {rows} rows")
    return 0
