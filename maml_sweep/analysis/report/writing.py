"""The report and the figures as files, each whole or not at all."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from maml_sweep.analysis import figures
from maml_sweep.analysis.drawing import matplotlib
from maml_sweep.analysis.report.page import html
from maml_sweep.errors import InputError
from maml_sweep.files import write_atomic

if TYPE_CHECKING:
    from maml_sweep.analysis.answers import Answers

REPORT, FIGURES = "report.html", "figures"  # in the study's folder


def write_report(answers: Answers, output: Path | None = None) -> Path:
    """Writes the page.

    Args:
      answers: of the study.
      output: a file, or an existing folder; None: `report.html` in the study's folder.

    Raises:
      InputError: it cannot be written there.
    """
    path = answers.frames.folder / REPORT if output is None else output
    if path.is_dir():
        path = path / REPORT
    content = html(answers)
    with _writing(path):
        write_atomic(path, content, durable=False)
    return path


def write_figures(answers: Answers, form: str, output: Path | None = None) -> list[Path]:
    """Writes one file a figure, every figure of a choice among them; none for mere words.

    Args:
      answers: of the study.
      form: "png", "svg" or "pdf".
      output: the folder; None: `figures` in the study's.

    Returns:
      The files, in the order of the report.

    Raises:
      InputError: matplotlib lacks, or the folder cannot be written.
    """
    folder = answers.frames.folder / FIGURES if output is None else output
    written: list[Path] = []
    with _writing(folder):
        for drawing in figures.all_figures(answers):
            written += matplotlib.save(drawing, folder, form)
    return written


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise InputError(f"--output: cannot write {path}: {error.strerror}") from None
