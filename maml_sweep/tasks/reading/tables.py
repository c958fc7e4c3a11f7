"""Tables in CSV and Parquet files, with the roles of their columns named in the configuration.

CSV as RFC 4180 has it, with a line of names first; separator, decimal mark and encoding are
settings. A cell is missing if it is empty or one of the words that pandas takes for that (NA, N/A,
NaN, null, None …). Rows are counted from 1, without the line of names and blank lines.
"""

from __future__ import annotations

import csv
import functools
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from maml_sweep.errors import InputError
from maml_sweep.spelling import hint
from maml_sweep.tasks.reading import cells, roots
from maml_sweep.tasks.reading.bad import BadRecords
from maml_sweep.tasks.reading.roots import File, stamped
from maml_sweep.tasks.reading.sheets import Category, Sheet

if TYPE_CHECKING:
    import pandas as pd

EXPECTED = "expected a .csv, .tsv or .parquet file with named columns, or a folder with one"
SUFFIXES = (".csv", ".tsv", ".parquet")
SPARE = "\0spare"  # takes what a line has beyond the names
UNNAMED = "\0unnamed"  # columns such as an index that was saved along; no features


class Layout(NamedTuple):
    """What the configuration says of a file; see `tasks.tabular`."""

    classes: bool  # whether the target is a label
    target: str | None
    group: str | None
    features: tuple[str, ...] | None
    drop: tuple[str, ...]
    categorical: tuple[str, ...]
    separator: str | None
    decimal: str
    encoding: str
    bad_records: str


def find(root: str) -> File:
    """The file that `task.root` names, or the only table in its folder.

    Raises:
      InputError: there is none, or there are several.
    """
    path = Path(root).expanduser().absolute()
    if not path.is_file():
        path = _only_table(roots.folder(root, EXPECTED))
    if path.suffix.lower() not in SUFFIXES:
        raise InputError(f"task.root={root}: {path.name} is neither CSV nor Parquet; {EXPECTED}")
    return stamped(path)


def _only_table(folder: Path) -> Path:
    found = sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES)
    if not found:
        raise roots.lacking(folder, "table", EXPECTED)
    if len(found) > 1:
        raise InputError(f"task.root={folder}: has {len(found)} tables ({_few(found)}); name one")
    return found[0]


def _few(things: Sequence[Path] | Sequence[str]) -> str:
    names = [thing.name if isinstance(thing, Path) else thing for thing in things]
    names = [name for name in names if not name.startswith(UNNAMED)]
    return ", ".join([*names[:6], *(["…"] if len(names) > 6 else [])])


@functools.cache
def read(file: File, layout: Layout) -> Sheet:
    """Reads a file's target, groups and features.

    Raises:
      InputError: it cannot be read, has no such columns or one that makes no feature, or bad
        records that are to be refused: lines of too many cells; a row without a label, a value or
        a group; infinite numbers; words in a column whose other values are numbers.
    """
    path = file.path
    bad = BadRecords(str(path), layout.bad_records)
    frame = _parquet(path) if path.suffix.lower() == ".parquet" else _csv(path, layout, bad)
    lost = bad.count  # lines that made no row
    spare = frame.pop(SPARE).notna().to_numpy() if SPARE in frame else None
    chosen = _features(path, list(frame.columns), layout)
    wrong = _Wrong(len(frame), bad)
    if spare is not None:
        wrong.add(spare, "more cells than columns")
    value = None if layout.classes else layout.target
    parsed = {}
    for name in filter(None, (*chosen, value)):
        what, words = f"{path}: column '{name}'", name in layout.categorical
        parsed[name], mistaken = cells.parsed(what, frame[name], words)
        wrong.add(mistaken, f"{name}={{}}", frame[name])
    if value and parsed[value].dtype == object:
        raise InputError(f"task.target={value}: {path} has words in it; expected numbers")
    for role in filter(None, (layout.target, layout.group)):
        wrong.add(frame[role].isna().to_numpy(), f"no {role}")
    if not len(frame) + lost:
        raise InputError(f"{path}: has no rows")
    bad.settle(len(frame) + lost)
    return _sheet(frame, parsed, layout, ~wrong.rows)._replace(name=path.name)


def _sheet(
    frame: pd.DataFrame, parsed: dict[str, NDArray[Any]], layout: Layout, kept: NDArray[np.bool_]
) -> Sheet:
    """The rows that are kept, each column in its role."""
    columns = {name: values[kept] for name, values in parsed.items()}
    value = columns.pop(layout.target, None) if layout.target and not layout.classes else None

    def category(name: str | None) -> Category | None:
        return cells.category(cells.text(frame[name])[kept]) if name else None

    features = {
        name: cells.category(values) if values.dtype == object else values
        for name, values in columns.items()
    }
    classes = category(layout.target) if layout.classes else None
    return Sheet("", features, classes, value, category(layout.group))


class _Wrong:
    """Rows with something wrong in them, each counted once."""

    def __init__(self, count: int, bad: BadRecords) -> None:
        self.rows: NDArray[np.bool_] = np.zeros(count, bool)
        self.bad = bad

    def add(self, rows: NDArray[np.bool_], why: str, values: Any = None) -> None:
        """Notes rows; `{}` in the reason stands for the value."""
        for row in np.flatnonzero(rows & ~self.rows).tolist():
            value = "" if values is None else values.iloc[row]
            self.bad.add(f"row {row + 1}", why.format(value))
        self.rows |= rows


def _features(path: Path, names: list[str], layout: Layout) -> list[str]:
    """The columns that are features, after all names in the settings were found."""
    named: dict[str, Sequence[str]] = {
        "target": [layout.target] if layout.target else [],
        "group": [layout.group] if layout.group else [],
        "features": layout.features or (),
        "drop": layout.drop,
        "categorical": layout.categorical,
    }
    for setting, wanted in named.items():
        for name in wanted:
            if name not in names:
                single = "; is task.separator another?" if len(names) == 1 else ""
                raise InputError(
                    f"task.{setting}: {path} has no column '{name}'{hint(name, names)}; it has "
                    f"{_few(names)}{single}"
                )
    roles = {*named["target"], *named["group"]}
    if layout.features is not None and (both := roles & set(layout.features)):
        raise InputError(f"task.features: '{both.pop()}' is the target or the group already")
    if layout.target is None and (layout.classes or layout.group):
        raise InputError(
            f"task.target=null: name the column of {'labels' if layout.classes else 'values'}; "
            f"{path} has {_few(names)}"
        )
    some = names if layout.features is None else list(dict.fromkeys(layout.features))
    unnamed = [name for name in names if name.startswith(UNNAMED)]
    left = {*roles, *layout.drop, *(unnamed if layout.features is None else [])}
    if not (chosen := [name for name in some if name not in left]):
        raise InputError(f"task.features: no column of {path} is left; it has {_few(names)}")
    return chosen


def _csv(path: Path, layout: Layout, bad: BadRecords) -> pd.DataFrame:
    """A file as pandas reads it, with a column for what a line has beyond the names."""
    import pandas as pd

    try:
        try:
            return _cells(path, layout, low_memory=False)
        except pd.errors.ParserError as error:
            if "Expected" not in str(error):  # a quote without an end swallows all that follows
                raise
            # slower, but it tells which lines
            note = functools.partial(_note, bad)
            return _cells(path, layout, engine="python", on_bad_lines=note)
    except UnicodeDecodeError:
        raise InputError(
            f"{path}: is not {layout.encoding}; set task.encoding, such as latin-1"
        ) from None
    except LookupError:
        raise InputError(f"task.encoding={layout.encoding}: there is no such encoding") from None
    except (OSError, ValueError, TypeError, csv.Error) as error:
        raise InputError(f"{path}: cannot be read ({' '.join(str(error).split())})") from None


def _cells(path: Path, layout: Layout, **options: Any) -> pd.DataFrame:
    """All lines but that of the names, which is read here.

    Given a longer line than that of the names, pandas would take its first cell for an index.
    """
    import pandas as pd

    separator = layout.separator or ("\t" if path.suffix.lower() == ".tsv" else ",")
    plain = layout.encoding.lower() in ("utf-8", "utf8")
    with path.open(encoding="utf-8-sig" if plain else layout.encoding, newline="") as file:
        lines = csv.reader(iter(file.readline, ""), delimiter=separator, skipinitialspace=True)
        names = [name.strip() for name in next((line for line in lines if any(line)), [])]
        if not names:
            raise ValueError("it is empty")
        if twice := [name for name in names if name and names.count(name) > 1]:
            raise ValueError(f"two columns are called '{twice[0]}'")
        frame: pd.DataFrame = pd.read_csv(
            file,
            sep=separator,
            decimal=layout.decimal,
            header=None,
            names=[*(name or f"{UNNAMED}{place}" for place, name in enumerate(names)), SPARE],
            index_col=False,
            skipinitialspace=True,
            **options,
        )
    return frame


def _note(bad: BadRecords, line: list[str]) -> None:
    bad.add(f"a line that begins with '{line[0]}'", f"{len(line)} cells")


def _parquet(path: Path) -> pd.DataFrame:
    import pandas as pd

    try:
        import pyarrow  # type: ignore[import-untyped, unused-ignore]  # noqa: F401
    except ImportError:
        raise InputError(
            f"task.root={path}: needs pyarrow; pip install 'maml-sweep[parquet]', or save it as CSV"
        ) from None
    try:
        frame = pd.read_parquet(path, engine="pyarrow")
    except (OSError, ValueError, TypeError) as error:
        raise InputError(f"{path}: cannot be read ({' '.join(str(error).split())})") from None
    return frame.rename(columns=str).reset_index(drop=True)
