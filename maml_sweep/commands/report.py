"""maml-sweep report: one HTML file about a study, or its figures as files for a paper."""

from __future__ import annotations

import argparse
import webbrowser
from pathlib import Path

from maml_sweep import commands

HELP = "write one HTML file about a study, or its figures as files"
FORMATS = ("html", "png", "svg", "pdf")


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    commands.study_options(parser)
    parser.add_argument(
        "--format", choices=FORMATS, default="html", help="one page, or every figure as a file"
    )
    parser.add_argument(
        "--output",
        metavar="PATH",
        help="the page's file, or the folder (default: report.html or figures/ in the study's)",
    )
    parser.add_argument("--open", action="store_true", help="show the page in the browser")


def run(arguments: argparse.Namespace) -> int:
    """Writes it and prints where it lies."""
    from maml_sweep.analysis.answers import Answers
    from maml_sweep.analysis.report import writing

    frames = commands.frames_of(commands.open_study(arguments))
    answers = Answers(frames)
    output = None if arguments.output is None else Path(arguments.output)
    if arguments.format == "html":
        written = [writing.write_report(answers, output)]
    else:
        written = writing.write_figures(answers, arguments.format, output)
    if arguments.json:
        files = [{"path": path, "bytes": path.stat().st_size} for path in written]
        commands.print_json({"study": frames.name, "files": files})
    elif written:
        print("\n".join(map(str, written)))
    else:
        print(f"{frames.name}: there is nothing to draw yet")
    if arguments.open and written:
        webbrowser.open(written[0].resolve().as_uri())
    return 0
