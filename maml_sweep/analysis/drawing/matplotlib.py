"""Drawings as figures for papers: PNG, SVG, PDF.

Fixed widths (one or two columns of a page), TrueType fonts in PDF and text as text in SVG, no
titles (a paper's caption says what is shown), the `print` theme of
`maml_sweep.analysis.drawing.palette`. Nothing of pyplot is used, so a notebook's own figures and
settings stay as they are. The same drawing gives the same file. matplotlib itself is the extra
`figures`.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from maml_sweep.analysis.drawing import marks
from maml_sweep.analysis.drawing.palette import PRINT
from maml_sweep.errors import InputError
from maml_sweep.files import write_atomic

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FORMATS = ("png", "svg", "pdf")
STYLE: dict[str, Any] = {
    "axes.axisbelow": True,
    "axes.edgecolor": PRINT.roles["text"],
    "axes.grid": True,
    "axes.labelsize": 8,
    "axes.linewidth": 0.6,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlesize": 8,
    "figure.constrained_layout.use": True,
    "figure.dpi": 200,
    "font.size": 8,
    "grid.color": PRINT.roles["grid"],
    "grid.linewidth": 0.4,
    "legend.fontsize": 7,
    "legend.frameon": False,
    "pdf.fonttype": 42,
    "savefig.bbox": None,
    "svg.fonttype": "none",
    "svg.hashsalt": "maml_sweep",
    "xtick.labelsize": 7,
    "xtick.major.width": 0.6,
    "ytick.labelsize": 7,
    "ytick.major.width": 0.6,
}


def render(drawing: marks.Figure | marks.Parallel, columns: int | None = None) -> Figure:
    """Draws one figure.

    Args:
      drawing: what is shown.
      columns: of the page, 1 or 2; None: two for panels side by side and parallel coordinates.

    Raises:
      InputError: matplotlib is not installed.
    """
    with _style():
        from maml_sweep.analysis.drawing import panels

        if isinstance(drawing, marks.Parallel):
            return panels.parallel(drawing, columns or 2)
        return panels.figure(drawing, columns or min(2, drawing.columns))


def pages(drawing: marks.Drawing) -> Iterator[marks.Figure | marks.Parallel]:
    """What of a drawing can be drawn: every figure of a choice, the chosen first; no words."""
    if isinstance(drawing, marks.Choice):
        yield drawing.options[drawing.chosen]
        yield from (each for name, each in drawing.options.items() if name != drawing.chosen)
    elif not isinstance(drawing, marks.Words):
        yield drawing


def save(drawing: marks.Drawing, folder: Path, form: str) -> list[Path]:
    """Writes `<key>.<form>` for every page of a drawing; none for words.

    Raises:
      InputError: no such format, or matplotlib is not installed.
    """
    if form not in FORMATS:
        raise InputError(f"--format: expected one of {', '.join(FORMATS)}, got {form!r}")
    paths = []
    for page in pages(drawing):
        figure, content = render(page), io.BytesIO()
        undated = {"svg": {"Date": None}, "pdf": {"CreationDate": None}, "png": {}}[form]
        with _style(), warnings.catch_warnings():
            # A name in letters that the font lacks gets boxes, which is no reason to stop.
            warnings.filterwarnings("ignore", "Glyph .* missing from", UserWarning)
            figure.savefig(content, format=form, metadata=undated)
        paths.append(folder / f"{page.key}.{form}")
        write_atomic(paths[-1], content.getvalue())
    return paths


@contextmanager
def _style() -> Iterator[None]:
    try:
        from matplotlib import rc_context, rcdefaults
    except ImportError:
        raise InputError(
            "--format: png, svg and pdf need matplotlib; install it by "
            "`python -m pip install 'maml-sweep[figures]'`, or write html"
        ) from None
    with rc_context():
        rcdefaults()
        with rc_context(STYLE):
            yield
