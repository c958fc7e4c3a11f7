"""A figure's neutral description: what is shown, not how it looks.

Drawing
├── Figure      panels, each with marks on two axes
├── Parallel    parallel coordinates
├── Words       nothing to draw, and why
└── Choice      several figures, one of which the reader picks

All text is plain (no HTML, no TeX; a line feed ends a line): renderers escape it. Arrays are
anything `numpy.asarray` takes: numbers; strings on a category axis; datetime64 (UTC) on a time
axis. NaN, NaT and None are gaps: a point is left out, a line breaks. Colours are roles of
`maml_sweep.analysis.drawing.palette`. Descriptions are compared by identity, as arrays have no
single truth.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from numpy.typing import ArrayLike

AxisKind = Literal["linear", "log", "category", "time"]
ScaleKind = Literal["value", "standing", "probability"]
Symbol = Literal["circle", "cross", "diamond", "star", "x"]
Text = Sequence[str]


@dataclass(frozen=True, eq=False)
class Axis:
    """One axis of a panel.

    Attributes:
      title: what it shows, with its unit.
      kind: "log" shows positive numbers only; a "category" axis lists its labels in the order in
        which the marks name them, a vertical one from the top.
      low, high: ends of the range in data values; None: what the marks span. Numbers, also for a
        log axis; not for category and time axes.
      ticks: position -> label, in place of automatic ones; not for category axes.
      labels: of a category axis, in their order; None: as the marks name them.
    """

    title: str = ""
    kind: AxisKind = "linear"
    low: float | None = None
    high: float | None = None
    ticks: Mapping[float, str] | None = None
    labels: Text | None = None


@dataclass(frozen=True, eq=False)
class Scale:
    """A colour scale and its colour bar; one object may serve several marks and panels.

    Attributes:
      title: what the colours show.
      kind: "value" runs from low to high; "standing" from 0, the best, which stands out, to 1, the
        worst, which recedes; "probability" from 0, which recedes, to 1, a warning.
      log: whether colours follow the logarithm; what is not positive is then left out.
      low, high: its ends; None: 0 and 1 for standing and probability, else what the marks span.
    """

    title: str
    kind: ScaleKind = "value"
    log: bool = False
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, eq=False)
class Points:
    """A scatter of n points, with error bars where `low` and `high` are given.

    Attributes:
      x, y: [n].
      name: in the legend; empty: not there. Marks of one name and colour share an entry.
      colour: a role; not used where `values` colours them.
      values: [n] coloured by `scale`.
      scale: needed with `values`.
      size: diameter in pixels.
      symbol: "cross" is upright, "x" diagonal.
      text: [n] further lines of the hover label; x, y and `values` are in it anyway.
      low, high: [n] ends of a vertical error bar, in data values.
      slots: [n] each point's slot: named in the hover label, and lets a page link to its row.
      opacity: 0 … 1.
    """

    x: ArrayLike
    y: ArrayLike
    name: str = ""
    colour: str = "series0"
    values: ArrayLike | None = None
    scale: Scale | None = None
    size: float = 7
    symbol: Symbol = "circle"
    text: Text | None = None
    low: ArrayLike | None = None
    high: ArrayLike | None = None
    slots: ArrayLike | None = None
    opacity: float = 1.0


@dataclass(frozen=True, eq=False)
class Line:
    """A line through n points; NaN in y breaks it, so one mark may hold many curves.

    Attributes:
      x, y: [n].
      name, colour, opacity, text, slots: as for `Points`.
      dash: whether it is dashed.
      stepped: whether y holds until the next x.
      width: in pixels.
      markers: whether its points are marked too.
    """

    x: ArrayLike
    y: ArrayLike
    name: str = ""
    colour: str = "series0"
    dash: bool = False
    stepped: bool = False
    width: float = 2
    text: Text | None = None
    slots: ArrayLike | None = None
    opacity: float = 1.0
    markers: bool = False


@dataclass(frozen=True, eq=False)
class Band:
    """The region between two lines over x [n], without gaps; of a line's colour, but faint."""

    x: ArrayLike
    low: ArrayLike
    high: ArrayLike
    name: str = ""
    colour: str = "series0"


@dataclass(frozen=True, eq=False)
class Bars:
    """n horizontal bars, one a label; several in a panel stand side by side. y is a category axis.

    Attributes:
      labels, lengths: [n] names on the y axis, the first at the top; lengths from 0.
      low, high: [n] ends of an error bar, in data values.
    """

    labels: Text
    lengths: ArrayLike
    name: str = ""
    colour: str = "series0"
    low: ArrayLike | None = None
    high: ArrayLike | None = None
    text: Text | None = None


@dataclass(frozen=True, eq=False)
class Spans:
    """n horizontal bars from `start` to `end` [n], each in a row; y is a category axis.

    Attributes:
      rows: [n] the label of the row each lies in; rows come in the order of first mention.
      start, end: [n] numbers, or times if x is a time axis.
      values, scale, name, colour, text, slots: as for `Points`.
    """

    rows: Text
    start: ArrayLike
    end: ArrayLike
    values: ArrayLike | None = None
    scale: Scale | None = None
    name: str = ""
    colour: str = "series0"
    text: Text | None = None
    slots: ArrayLike | None = None


@dataclass(frozen=True, eq=False)
class Heat:
    """A rectangle of coloured cells.

    Attributes:
      x, y: [c], [r] the cells' centres, evenly spaced on the axis's scale, or labels.
      z: [r, c] values, coloured by `scale`; NaN leaves a cell empty.
      text: [r][c] further lines of the hover label.
      name: what a cell is, in the hover label.
    """

    x: ArrayLike
    y: ArrayLike
    z: ArrayLike
    scale: Scale
    text: Sequence[Text] | None = None
    name: str = ""


@dataclass(frozen=True, eq=False)
class Rule:
    """A straight line across the whole panel at an x or a y, with its name beside it."""

    x: float | None = None
    y: float | None = None
    name: str = ""
    colour: str = "muted"


Mark = Points | Line | Band | Bars | Spans | Heat | Rule


@dataclass(frozen=True, eq=False)
class Panel:
    """Marks, drawn in their order, on one pair of axes.

    Attributes:
      weight: its row's height relative to other rows; the largest in a row counts.
    """

    marks: tuple[Mark, ...]
    x: Axis
    y: Axis
    title: str = ""
    weight: float = 1.0


@dataclass(frozen=True, eq=False)
class Figure:
    """Panels in a grid.

    Attributes:
      key: names the figure in files and links: lower case, digits and hyphens.
      title: its heading; the page shows it, not the renderers.
      caption: one or two sentences on how to read it.
      panels: row by row.
      columns: panels in a row; a narrow page shows one.
      height: pixels in all; None: what the panels need.
      note: what was left out; may be empty.
    """

    key: str
    title: str
    caption: str
    panels: tuple[Panel, ...]
    columns: int = 1
    height: int | None = None
    note: str = ""


@dataclass(frozen=True, eq=False)
class Dimension:
    """One axis of parallel coordinates.

    Attributes:
      values: [n] numbers; positions of labels in `ticks` where it is categorical. No NaN.
      ticks: position -> label; None: automatic.
      log: whether it is logarithmic; automatic ticks are then decades.
    """

    label: str
    values: ArrayLike
    ticks: Mapping[float, str] | None = None
    log: bool = False


@dataclass(frozen=True, eq=False)
class Parallel:
    """n lines, each across all dimensions, coloured by `values` [n]; the last are drawn on top."""

    key: str
    title: str
    caption: str
    dimensions: tuple[Dimension, ...]
    values: ArrayLike
    scale: Scale
    note: str = ""


@dataclass(frozen=True, eq=False)
class Words:
    """What stands where a figure would show nothing."""

    key: str
    title: str
    text: str


@dataclass(frozen=True, eq=False)
class Choice:
    """Figures by their labels, each with its own key, of which `chosen` is shown at first."""

    key: str
    title: str
    caption: str
    options: Mapping[str, Figure]
    chosen: str
    note: str = ""


Drawing = Figure | Parallel | Words | Choice
