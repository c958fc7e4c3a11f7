"""Arrays and text as plotly.js takes them: strict JSON, small, and nothing in it is markup.

Plotly draws a subset of HTML in every text, so all text is escaped here. Long arrays become its
typed array specification, {"dtype", "bdata" (base64, little-endian), "shape"}, in single precision
(seven digits: more than a screen has pixels) but for times.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from maml_sweep.analysis.drawing.marks import Axis

SHORT = 50  # numbers up to which a plain list is smaller or as small
_SINGLE = 3e38  # beyond it single precision overflows
_INTEGERS = {"i1": 2**7, "i2": 2**15, "i4": 2**31}  # dtype -> one past its largest


def escape(text: object) -> str:
    """Text without markup; a line feed becomes a line break.

    Not `html.escape`: plotly.js knows `&amp;`, `&lt;` and `&gt;`, but would print `&quot;`.
    """
    plain = str(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return plain.replace("\n", "<br>")


def in_template(text: object) -> str:
    """Escaped text that may stand in a hover template, where %{…} is replaced."""
    return escape(text).replace("%{", "%&#123;")


def numbers(values: ArrayLike, *, log: bool = False) -> np.ndarray:
    """Float64 of the same shape; NaN for what is infinite and, if `log`, for what is not positive.

    None and pandas' NA are NaN too.
    """
    given = np.asarray(values)
    if given.dtype == object:
        given = np.where(pd.isna(given), np.nan, given)
    array = np.array(given, dtype=np.float64)  # a copy
    array[~np.isfinite(array)] = np.nan
    if log:
        array[~(array > 0)] = np.nan
    return array


def milliseconds(values: ArrayLike) -> np.ndarray:
    """Times as float64 milliseconds since 1970, UTC; NaN for NaT."""
    times = pd.DatetimeIndex(pd.to_datetime(np.asarray(values, dtype=object), utc=True))
    stamps = times.tz_localize(None).to_numpy().astype("datetime64[ms]")
    found: np.ndarray = stamps.astype(np.int64).astype(np.float64)
    found[np.isnat(stamps)] = np.nan
    return found


def coordinates(values: ArrayLike, axis: Axis) -> np.ndarray:
    """Values on an axis: float64, or an object array of strings on a category axis."""
    if axis.kind == "category":
        return np.array([str(label) for label in np.asarray(values, dtype=object)], dtype=object)
    if axis.kind == "time":
        return milliseconds(values)
    return numbers(values, log=axis.kind == "log")


def on_axis(values: ArrayLike, axis: Axis) -> Any:
    """Values on an axis, encoded."""
    found = coordinates(values, axis)
    if axis.kind == "category":
        return [escape(label) for label in found]
    return encoded(found, double=axis.kind == "time")


def encoded(array: np.ndarray, *, double: bool = False) -> Any:
    """Finite numbers and NaN [n] or [r, c] as a list (None for NaN) or a typed array."""
    if array.size <= SHORT:
        return _listed(array)
    dtype = _dtype(array, double)
    spec = {
        "dtype": dtype,
        "bdata": base64.b64encode(array.astype(f"<{dtype}").tobytes()).decode("ascii"),
    }
    return spec | ({"shape": ", ".join(map(str, array.shape))} if array.ndim > 1 else {})


def texts(values: Sequence[object] | Sequence[Sequence[object]]) -> list[Any]:
    """Escaped strings, nested as given."""
    return [escape(each) if isinstance(each, str) else texts(each) for each in values]  # type: ignore[arg-type]


def ticks(labels: Mapping[float, str], *, escaped: bool = True) -> dict[str, list[Any]]:
    """`tickvals` and `ticktext`."""
    return {
        "tickvals": [float(position) for position in labels],
        "ticktext": [escape(label) if escaped else str(label) for label in labels.values()],
    }


def whole(array: np.ndarray) -> bool:
    """Whether every number is an integer."""
    if array.dtype == object:
        return False
    finite = array[np.isfinite(array)]
    return bool(np.all(finite == np.round(finite)))


def _listed(array: np.ndarray) -> Any:
    if array.ndim > 1:
        return [_listed(row) for row in array]
    return [
        None if np.isnan(x) else int(x) if x == round(x) and abs(x) < 2**53 else float(x)
        for x in array
    ]


def _dtype(array: np.ndarray, double: bool) -> str:
    largest = np.nanmax(np.abs(array), initial=0.0)
    if whole(array) and not np.isnan(array).any():
        for dtype, bound in _INTEGERS.items():
            if largest < bound:
                return dtype
    return "f8" if double or largest > _SINGLE else "f4"
