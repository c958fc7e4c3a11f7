"""Figures for papers: every mark as PNG, SVG and PDF."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest
from drawn import MARKS, NASTY, figure, grid, parallel

from maml_sweep.analysis.drawing import marks, matplotlib
from maml_sweep.analysis.drawing.artists import curves, edges
from maml_sweep.analysis.drawing.marks import Figure
from maml_sweep.errors import InputError


@pytest.mark.parametrize("name", MARKS)
def test_every_mark_is_drawn(name: str, tmp_path: Path) -> None:
    mark, x, y = MARKS[name]
    (path,) = matplotlib.save(figure(mark, x=x, y=y), tmp_path, "svg")
    assert path == tmp_path / "key.svg"
    assert path.read_bytes().startswith(b"<?xml")


def test_pages_are_the_figures_of_a_choice_the_chosen_first(tmp_path: Path) -> None:
    one, other = grid(1), Figure("other", "t", "c", grid(1).panels)
    choice = marks.Choice("c", "t", "c", {NASTY: one, "b": other}, "b")
    assert [page.key for page in matplotlib.pages(choice)] == ["other", "key"]
    assert matplotlib.save(marks.Words("w", "t", NASTY), tmp_path, "png") == []


def test_a_line_s_parts_lie_between_its_gaps() -> None:
    parts = curves(np.arange(6.0), np.array([1, 2, np.nan, 3, np.nan, np.nan]))
    assert [part.tolist() for part in parts] == [[[0, 1], [1, 2]], [[3, 3]]]


def test_text_stays_text_and_is_not_read_as_tex(tmp_path: Path) -> None:
    (path,) = matplotlib.save(figure(MARKS["line"][0]), tmp_path, "svg")
    drawn = re.sub("<!--.*?-->", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)
    assert "$a_1$" in drawn


def test_pdf_fonts_are_truetype(tmp_path: Path) -> None:
    (path,) = matplotlib.save(figure(MARKS["line"][0]), tmp_path, "pdf")
    content = path.read_bytes()
    assert b"/Type3" not in content and b"/FontFile2" in content


@pytest.mark.parametrize("form", matplotlib.FORMATS)
def test_the_same_drawing_gives_the_same_file(form: str, tmp_path: Path) -> None:
    for folder in ("a", "b"):
        matplotlib.save(parallel(), tmp_path / folder, form)
    assert (tmp_path / f"a/p.{form}").read_bytes() == (tmp_path / f"b/p.{form}").read_bytes()


@pytest.mark.parametrize(("columns", "inches"), [(1, 3.5), (2, 7.16)])
def test_figures_are_as_wide_as_a_page_s_columns(columns: int, inches: float) -> None:
    assert matplotlib.render(grid(columns)).get_figwidth() == inches


def test_a_notebook_s_settings_stay_as_they_are() -> None:
    with mpl.rc_context({"font.size": 17}):
        before = {name: mpl.rcParams[name] for name in matplotlib.STYLE}
        made = matplotlib.render(figure(MARKS["line"][0]))
        assert {name: mpl.rcParams[name] for name in matplotlib.STYLE} == before
    assert made.axes[0].xaxis.label.get_fontsize() == 8


def test_cells_are_halfway_between_their_centres() -> None:
    np.testing.assert_allclose(edges(np.array([1.0, 2.0]), log=False), [0.5, 1.5, 2.5])
    np.testing.assert_allclose(edges(np.array([1.0, 100.0]), log=True), [0.1, 10.0, 1000.0])
    np.testing.assert_allclose(edges(np.array([3.0]), log=False), [2.5, 3.5])


def test_errors_say_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="expected one of png, svg, pdf, got 'gif'"):
        matplotlib.save(grid(1), tmp_path, "gif")
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(InputError, match=r"pip install 'maml-sweep\[figures\]'"):
        matplotlib.render(grid(1))
