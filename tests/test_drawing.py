"""Figures as JSON for plotly.js: strict, escaped, small, laid out as described."""

from __future__ import annotations

import base64
import itertools
import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
import pytest
from drawn import ESCAPED, LINEAR, LOG, MARKS, NASTY, STANDING, TIME, WORDS, figure, grid, parallel

from maml_sweep.analysis.drawing import encoding, marks, palette, plotly, scales
from maml_sweep.analysis.drawing.marks import Axis, Figure, Panel, Scale

ESCAPED_IN_TEMPLATE = ESCAPED.replace("%{", "%&#123;")


def strict(drawing: marks.Drawing) -> dict[str, Any]:
    """What a browser would read."""
    found = json.loads(json.dumps(plotly.render(drawing), allow_nan=False))
    assert isinstance(found, dict)
    return found


def decoded(values: Any) -> np.ndarray:
    """Numbers of a trace, as plotly.js reads them."""
    if isinstance(values, dict):
        flat = np.frombuffer(base64.b64decode(values["bdata"]), np.dtype(f"<{values['dtype']}"))
        return flat.reshape([int(part) for part in values.get("shape", str(len(flat))).split(",")])
    return np.array([np.nan if value is None else value for value in values], dtype=float)


def strings(tree: Any) -> Iterator[str]:
    if isinstance(tree, str):
        yield tree
    elif isinstance(tree, dict):
        yield from itertools.chain.from_iterable(strings(each) for each in tree.values())
    elif isinstance(tree, list):
        yield from itertools.chain.from_iterable(strings(each) for each in tree)


# -- every mark, both renderers ---------------------------------------------------------------


@pytest.mark.parametrize("name", MARKS)
def test_plotly_draws_every_mark(name: str) -> None:
    mark, x, y = MARKS[name]
    drawn = strict(figure(mark, x=x, y=y))
    assert drawn["layout"]["xaxis"]["type"] == {"time": "date"}.get(x.kind, x.kind)
    assert len(drawn["data"]) == (0 if "rule" in name else 2 if name == "faint" else 1)
    for trace in drawn["data"]:
        assert trace["xaxis"] == "x" and trace["yaxis"] == "y"
        assert name.endswith("heat") or len(trace["x"]) == len(trace["y"])


@pytest.mark.parametrize("name", MARKS)
def test_nothing_that_plotly_draws_is_markup(name: str) -> None:
    """Of tags only our own remain, and in a template no %{…} of a name's is replaced."""
    mark, x, y = MARKS[name]
    drawn = strict(figure(mark, x=Axis(NASTY, x.kind), y=Axis(NASTY, y.kind)))
    for text in strings(drawn):
        for ours in ("<br>", "<b>", "</b>", "<extra></extra>"):
            text = text.replace(ours, "")  # noqa: PLW2901
        assert "<" not in text
    for trace in drawn["data"]:
        template = trace.get("hovertemplate", ESCAPED_IN_TEMPLATE)
        assert ESCAPED not in template
        assert "spans" in name or ESCAPED_IN_TEMPLATE in template  # their axes need no name
    assert drawn["layout"]["xaxis"]["title"]["text"] == ESCAPED


def test_an_unknown_mark_is_an_error() -> None:
    odd: Any = object()
    with pytest.raises(TypeError, match="object"):
        plotly.render(figure(odd))


# -- numbers ----------------------------------------------------------------------------------


def test_short_arrays_are_lists_with_null_for_what_is_no_number() -> None:
    (trace,) = strict(figure(MARKS["points"][0]))["data"]
    assert trace["x"] == [1, 2, None] and trace["y"] == [1, None, 3]


@pytest.mark.parametrize(
    ("values", "dtype"),
    [
        (np.arange(100), "i1"),
        (np.arange(128) + 1, "i2"),
        (np.arange(100) * 1000, "i4"),
        (np.arange(100) / 8, "f4"),
        (np.r_[np.arange(99), np.nan], "f4"),
        (np.arange(100) * 1e300 + 0.5, "f8"),
    ],
)
def test_long_arrays_are_typed_as_small_as_they_can_be(values: np.ndarray, dtype: str) -> None:
    spec = encoding.encoded(values.astype(float))
    assert spec["dtype"] == dtype
    np.testing.assert_array_equal(decoded(spec), values)


def test_a_long_matrix_keeps_its_shape() -> None:
    spec = encoding.encoded(np.arange(60.0).reshape(3, 20) / 8)
    assert spec["shape"] == "3, 20"
    assert decoded(spec)[1, 0] == 2.5


def test_times_are_milliseconds_of_utc_and_missing_ones_gaps() -> None:
    """1970-01-02 01:00 at +01:00 is one day after the epoch."""
    day = pd.Timestamp("1970-01-02 01:00", tz="Europe/Paris")
    assert encoding.on_axis(pd.Series([day, pd.NaT]), TIME) == [86_400_000, None]
    (trace,) = strict(figure(MARKS["spans"][0], x=TIME, y=WORDS))["data"]
    assert trace["x"] == [3_600_000, 3_600_000]  # an hour long each


def test_pandas_missing_numbers_and_what_a_log_axis_cannot_show_are_gaps() -> None:
    held = pd.Series([1, None, 0], dtype="Int64")
    assert encoding.on_axis(held, LINEAR) == [1, None, 0]
    assert encoding.on_axis(held, LOG) == [1, None, None]


def test_points_without_a_colour_are_left_out() -> None:
    """Of the values 0.1, NaN and -1 a logarithmic scale shows the first: log10 is -1."""
    (trace,) = strict(figure(MARKS["coloured"][0], x=LOG))["data"]
    assert trace["x"] == [1] and trace["marker"]["color"] == [-1] and trace["customdata"] == [0]


def test_error_bars_are_distances() -> None:
    (trace,) = strict(figure(marks.Points([1], [3], low=[2.5], high=[5])))["data"]
    assert trace["error_y"]["array"] == [2] and trace["error_y"]["arrayminus"] == [0.5]


def test_a_band_goes_out_and_back() -> None:
    (trace,) = strict(figure(MARKS["band"][0]))["data"]
    assert (trace["x"], trace["y"]) == ([1, 2, 2, 1], [0, 1, 3, 2])


# -- layout -----------------------------------------------------------------------------------


def boxes(layout: dict[str, Any], panels: int) -> list[tuple[float, ...]]:
    ends = ["" if index == 0 else str(index + 1) for index in range(panels)]
    return [(*layout[f"xaxis{end}"]["domain"], *layout[f"yaxis{end}"]["domain"]) for end in ends]


@pytest.mark.parametrize("columns", [1, 2, 3])
def test_panels_fill_the_grid_without_touching(columns: int) -> None:
    found = boxes(strict(grid(columns))["layout"], 3)
    for one, other in itertools.combinations(found, 2):
        apart_across = one[1] < other[0] or other[1] < one[0]
        apart_down = one[3] < other[2] or other[3] < one[2]
        assert apart_across or apart_down
    assert min(box[0] for box in found) == 0.0 and max(box[3] for box in found) == 1.0
    assert max(box[1] for box in found) == pytest.approx(1.0)
    assert min(box[2] for box in found) == pytest.approx(0.0, abs=1e-9)


def test_a_narrow_page_gets_one_panel_a_row() -> None:
    drawn = strict(grid(3))
    assert len({box[0] for box in boxes(drawn["layout"], 3)}) == 3
    assert {box[0] for box in boxes(drawn["narrow"], 3)} == {0.0}
    assert drawn["narrow"]["height"] > drawn["layout"]["height"]
    assert "narrow" not in strict(grid(1))


def test_columns_leave_room_for_long_labels() -> None:
    """All but the first column's; a number needs less than 30 letters do."""
    bars = Panel((marks.Bars(["m" * 30], [1]),), LINEAR, WORDS)
    plain = Panel((), LINEAR, LINEAR)
    gaps = []
    for panels in ((plain, plain), (bars, plain), (plain, bars)):
        one, other = boxes(strict(Figure("k", "t", "c", panels, 2))["layout"], 2)
        gaps.append(other[0] - one[1])
    assert gaps[0] == gaps[1] < gaps[2] / 2


def test_rows_share_the_height_by_weight() -> None:
    panels = (Panel((), LINEAR, LINEAR, weight=3.0), Panel((), LINEAR, LINEAR))
    layout = strict(Figure("k", "t", "c", panels, height=600))["layout"]
    (_, _, low, high), (_, _, below, under) = boxes(layout, 2)
    assert layout["height"] == 600
    assert high - low == pytest.approx(3 * (under - below), abs=1e-4)


def test_a_name_stands_once_in_the_legend() -> None:
    drawn = strict(grid(1))
    assert [trace["showlegend"] for trace in drawn["data"]] == [True, False, False]
    assert len({trace["legendgroup"] for trace in drawn["data"]}) == 1


def test_a_faint_line_has_a_strong_legend_entry() -> None:
    faint, solid = strict(figure(MARKS["faint"][0]))["data"]
    assert not faint["showlegend"] and solid["showlegend"]
    assert faint["legendgroup"] == solid["legendgroup"] and solid["y"] == [None]
    assert (faint["line"]["color"], solid["line"]["color"]) == ("role:series0@0.1", "role:series0")


def test_ranges() -> None:
    layout = strict(figure(x=Axis("", "log", 0.01, 10), y=Axis("", "log", 0.1)))["layout"]
    assert layout["xaxis"]["range"] == [-2, 1]
    assert layout["yaxis"]["autorangeoptions"] == {"minallowed": -1}
    assert "range" not in layout["yaxis"]


def test_ticks_and_labels_are_as_given() -> None:
    y = Axis("", "category", labels=["b", "<a>"])
    layout = strict(figure(x=Axis("", ticks={1: "<one>", 2.5: "two"}), y=y))["layout"]
    assert layout["xaxis"]["tickvals"] == [1, 2.5]
    assert layout["xaxis"]["ticktext"] == ["&lt;one&gt;", "two"]
    assert layout["yaxis"]["categoryarray"] == ["b", "&lt;a&gt;"]
    assert layout["yaxis"]["autorange"] == "reversed"


def test_panels_over_time_zoom_together() -> None:
    panels = tuple(Panel((), axis, LINEAR) for axis in (LINEAR, TIME, TIME))
    layout = strict(Figure("k", "t", "c", panels))["layout"]
    matches = [layout[name].get("matches") for name in ("xaxis", "xaxis2", "xaxis3")]
    assert matches == [None, None, "x2"]


def test_rules_stand_at_their_values() -> None:
    """Plotly places shapes on a log axis by value, annotations by exponent."""
    drawn = strict(figure(marks.Rule(x=100, name="here"), x=LOG))["layout"]
    (shape,), (note,) = drawn["shapes"], drawn["annotations"]
    assert (shape["x0"], shape["x1"], shape["y0"], shape["y1"]) == (100, 100, 0, 1)
    assert (shape["xref"], shape["yref"]) == ("x", "y domain")
    assert note["x"] == 2 and note["text"] == "here"


def test_a_scale_has_one_colour_bar_for_all_panels() -> None:
    points = marks.Points([1, 2], [1, 2], values=[0.2, 0.4], scale=STANDING)
    panel = Panel((points, MARKS["heat"][0]), LINEAR, LINEAR)
    drawn = strict(Figure("k", "t", "c", (panel, panel)))
    first, second = drawn["layout"]["coloraxis"], drawn["layout"]["coloraxis2"]
    assert "coloraxis3" not in drawn["layout"]
    assert (first["cmin"], first["cmax"], first["colorscale"]) == (0, 1, "scale:standing")
    halved, doubled = second["cmin"], second["cmax"]  # 1 is the only value on a log scale
    assert (10**halved, 10**doubled) == (pytest.approx(0.5), pytest.approx(2))
    assert [trace.get("coloraxis") for trace in drawn["data"]][1::2] == ["coloraxis2"] * 2


def test_every_colour_is_known_to_all_themes() -> None:
    shown = tuple(mark for mark, x, y in MARKS.values() if (x, y) == (LINEAR, LINEAR))
    for text in strings(strict(figure(*shown))):
        kind, _, name = text.partition(":")
        if kind in {"role", "scale"} and " " not in text:
            for theme in palette.THEMES.values():
                assert name.partition("@")[0] in {**theme.roles, **theme.scales}
    with pytest.raises(KeyError):
        strict(figure(marks.Line([1], [1], colour="red")))


# -- the other drawings -----------------------------------------------------------------------


def test_parallel_coordinates() -> None:
    (trace,) = strict(parallel())["data"]
    rate, steps, kind, same = trace["dimensions"]
    assert rate["label"] == ESCAPED
    assert rate["values"] == [-2, 0] and rate["range"] == [-2, 0]
    assert dict(zip(rate["tickvals"], rate["ticktext"], strict=True)) == {
        -2: "0.01",
        -1: "0.1",
        0: "1",
    }
    assert steps["ticktext"] == ["1", "2", "3"]
    assert kind["ticktext"] == ["<a>", "b"]  # plotly takes these as they are
    assert same["range"] == [2, 3]


def test_the_best_lines_lie_on_top_in_the_colours_of_the_best() -> None:
    """Plotly draws greater numbers later: standing 0 must be the greatest, at the scale's start."""
    line = strict(parallel())["data"][0]["line"]
    assert line["color"] == [0, -1] and (line["cmin"], line["cmax"]) == (-1, 0)
    assert line["reversescale"] is True
    bar = line["colorbar"]
    assert dict(zip(bar["ticktext"], bar["tickvals"], strict=True))["worst"] == -1


def test_choices_hold_their_figures_and_words_their_text() -> None:
    one, other = grid(1), Figure("other", "t", "c", grid(1).panels)
    choice = marks.Choice("c", "t", "c", {NASTY: one, "b": other}, "b")
    drawn = strict(choice)
    assert list(drawn["options"]) == [NASTY, "b"] and drawn["chosen"] == "b"
    assert drawn["options"]["b"] == strict(other)
    words = marks.Words("w", "t", NASTY)
    assert strict(words) == {"words": NASTY}


# -- scales -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("low", "high", "labels"),
    [
        (0.001, 0.1, ["0.001", "0.01", "0.1"]),
        (0.0003, 0.01, ["0.0003", "0.001", "0.003", "0.01"]),
        (8, 64, ["10", "20", "50"]),
        (2.1, 2.9, ["2.1", "2.9"]),
        (7, 7, ["7"]),
        (1e-7, 1e7, ["1e-07", "0.0001", "0.1", "100", "100,000"]),
    ],
)
def test_ticks_of_a_logarithmic_axis(low: float, high: float, labels: list[str]) -> None:
    found = scales.decades(low, high)
    assert list(found.values()) == labels
    for position, label in found.items():
        assert float(label.replace(",", "")) == pytest.approx(10**position)


def test_ends_of_colour_scales() -> None:
    held = [np.array([2.0, np.nan]), np.array([5.0])]
    assert scales.span(Scale(""), held) == (2, 5)
    assert scales.span(Scale("", low=0), held) == (0, 5)
    assert scales.span(STANDING, held) == (0, 1)
    assert scales.span(Scale(""), []) == (0, 1)
    assert scales.span(Scale("", log=True), [np.array([4.0])]) == (2, 8)
    low, high = scales.span(Scale(""), [np.array([3.0])])
    assert low < 3 < high
