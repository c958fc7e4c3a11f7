"""Tables in files: how they are read, and made numbers."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from maml_sweep.errors import InputError
from maml_sweep.tasks.reading import cells, tables
from maml_sweep.tasks.reading.encoding import encode
from maml_sweep.tasks.reading.sheets import Category, Sheet, row_keys

LAYOUT = tables.Layout(True, "y", None, None, (), (), None, ".", "utf-8", "refuse")


def read(folder: Path, content: str | bytes, **layout: Any) -> Sheet:
    """What is made of a CSV of this content."""
    path = folder / "table.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    tables.read.cache_clear()
    return tables.read(tables.find(str(path)), LAYOUT._replace(**layout))


def words(column: Any) -> list[str | None]:
    """A category as text."""
    return [None if code < 0 else column.levels[code] for code in column.codes]


# -- reading -------------------------------------------------------------------------------------

ODD = '\ufeffname;größe;ill ;"a ""b"""\n"x; y";1,5;TRUE;1\n\n;;false;2\n  Zoë ;NA;;3\n'


def test_a_file_with_everything_odd(tmp_path: Path) -> None:
    """A BOM, semicolons, decimal commas, quotes, a blank line, spaces before, missing cells."""
    sheet = read(tmp_path, ODD, target='a "b"', separator=";", decimal=",")
    assert list(sheet.features) == ["name", "größe", "ill"]
    assert words(sheet.features["name"]) == ["x; y", None, "Zoë "]
    np.testing.assert_array_equal(sheet.features["größe"], [1.5, np.nan, np.nan])
    np.testing.assert_array_equal(sheet.features["ill"], [1, 0, np.nan])
    assert sheet.rows == 3 and words(sheet.classes) == ["1", "2", "3"]


def test_roles_of_columns(tmp_path: Path) -> None:
    """Zip codes are words if one says so; a column without a name is no feature."""
    content = ",zip,age,g,y\n0,01069,5,1.0,a\n1,20095,6,,b\n2,20095,7,2.0,a\n"
    wishes: dict[str, Any] = {"categorical": ("zip",), "bad_records": "skip"}
    sheet = read(tmp_path, content, group="g", **wishes)
    assert list(sheet.features) == ["zip", "age"]
    assert words(sheet.features["zip"]) == ["1069", "20095"]
    assert words(sheet.groups) == ["1", "2"] and words(sheet.classes) == ["a", "a"]
    assert list(read(tmp_path, content, features=("age",)).features) == ["age"]
    assert list(read(tmp_path, content, drop=("age", "g")).features) == ["zip"]
    sheet = read(tmp_path, content, classes=False, target="age")
    assert sheet.classes is None and sheet.values is not None
    np.testing.assert_array_equal(sheet.values, [5, 6, 7])


def test_bad_rows_are_skipped_and_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A label that is missing, a cell too many, an infinite number, three cells too many."""
    content = "a,b,y\n1,2,3,4\n2,2,\n3,inf,1\n4,5,6,7,8,9\n5,2,1\n"
    sheet = read(tmp_path, content, bad_records="skip")
    np.testing.assert_array_equal(sheet.features["a"], [5])
    assert words(sheet.classes) == ["1"]
    (message,) = caplog.messages
    assert message == (
        f"{tmp_path}/table.csv: 4 of 5 records cannot be read: a line that begins with '4' (6 "
        "cells), row 1 (more cells than columns), row 3 (b=inf), …; they are left out"
    )


def test_a_word_among_numbers_is_a_mistake(tmp_path: Path) -> None:
    """One of ten or fewer; more make it a column of words."""
    numbers = "".join(f"{i},0\n" for i in range(18))
    with pytest.raises(InputError, match=r"1 of 19 records cannot be read: row 19 \(a=five\)"):
        read(tmp_path, f"a,y\n{numbers}five,0\n")
    assert isinstance(read(tmp_path, "a,y\n1,0\nfive,0\n").features["a"], Category)


REFUSED: list[tuple[str, dict[str, Any], str]] = [
    ("a,y\n", {}, "{path}: has no rows"),
    ("", {}, "{path}: cannot be read (it is empty)"),
    ("a,a,y\n1,2,3\n", {}, "{path}: cannot be read (two columns are called 'a')"),
    (
        'a,y\n1,"x\n2,3\n',
        {},
        (
            "{path}: cannot be read (Error tokenizing data. C error: EOF inside string starting at "
            "row 0)"
        ),
    ),
    (
        "a,y\n1,\n",
        {"bad_records": "skip"},
        "{path}: 1 of 1 records cannot be read: row 1 (no y)",
    ),
    (
        "a,y\n1,\n2,3\n",
        {},
        (
            "{path}: 1 of 2 records cannot be read: row 1 (no y); mend them, or leave them out by "
            "task.bad_records=skip"
        ),
    ),
    (
        "age,y\n1,2\n",
        {"drop": ("aeg",)},
        "task.drop: {path} has no column 'aeg' (did you mean 'age'?); it has age, y",
    ),
    (
        "a;y\n1;2\n",
        {},
        "task.target: {path} has no column 'y'; it has a;y; is task.separator another?",
    ),
    (
        "a,y\n1,2\n",
        {"target": None},
        "task.target=null: name the column of labels; {path} has a, y",
    ),
    (
        "a,y\n1,2\n",
        {"features": ("a", "y")},
        "task.features: 'y' is the target or the group already",
    ),
    ("a,y\n1,2\n", {"drop": ("a",)}, "task.features: no column of {path} is left; it has a, y"),
    (
        "a,y\n1,red\n",
        {"classes": False},
        "task.target=y: {path} has words in it; expected numbers",
    ),
    (
        "day,y\n2020-01-31,2\n",
        {},
        (
            "{path}: column 'day' holds dates; leave it out (task.drop), or turn it into a number, "
            "such as days since a day"
        ),
    ),
    (
        'a,y\n"1,5",2\n',
        {},
        (
            "{path}: column 'a' holds '1,5' and the like; set task.decimal=',' if these are "
            "numbers, or name it in task.categorical"
        ),
    ),
    (
        "a,y\n1,2\n",
        {"encoding": "latin-0"},
        "task.encoding=latin-0: there is no such encoding",
    ),
]


@pytest.mark.parametrize(("content", "layout", "message"), REFUSED)
def test_files_that_are_refused(
    tmp_path: Path, content: str, layout: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError) as raised:
        read(tmp_path, content, **layout)
    assert str(raised.value) == message.format(path=tmp_path / "table.csv")


def test_another_encoding_is_asked_for(tmp_path: Path) -> None:
    content = "größe,y\n1,2\n".encode("latin-1")
    with pytest.raises(InputError, match=r"is not utf-8; set task.encoding, such as latin-1"):
        read(tmp_path, content)
    assert list(read(tmp_path, content, encoding="latin-1").features) == ["größe"]


def test_parquet_is_read_like_csv(tmp_path: Path) -> None:
    """Missing numbers and words, booleans, categories; whole numbers are whole labels."""
    frame = pd.DataFrame(
        {
            "n": [1.5, None, 3.0],
            "w": pd.Categorical(["x", None, "z"]),
            "b": [True, False, None],
            "y": [1, 0, 1],
        }
    )
    frame.to_parquet(tmp_path / "table.parquet", index=False)
    found = tables.read(tables.find(str(tmp_path)), LAYOUT)
    wanted = read(tmp_path, "n,w,b,y\n1.5,x,True,1\n,,False,0\n3,z,,1\n")
    np.testing.assert_array_equal(row_keys(found), row_keys(wanted))
    assert words(found.classes) == words(wanted.classes) == ["1", "0", "1"]
    frame.assign(t=pd.Timestamp("2020-01-01")).to_parquet(tmp_path / "table.parquet")
    with pytest.raises(InputError, match="column 't' holds dates"):
        tables.read(tables.find(str(tmp_path / "table.parquet")), LAYOUT)
    pd.DataFrame({"l": [[1], [2]], "y": [0, 1]}).to_parquet(tmp_path / "table.parquet")
    with pytest.raises(InputError, match=r"column 'l' holds lists; leave it out"):
        tables.read(tables.find(str(tmp_path / "table.parquet")), LAYOUT)


def test_parquet_needs_pyarrow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "table.parquet"
    path.write_bytes(b"PAR1")
    with pytest.raises(InputError, match=r"table.parquet: cannot be read \("):
        tables.read(tables.find(str(path)), LAYOUT)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(InputError) as raised:
        tables.read(tables.find(str(path)), LAYOUT)
    assert str(raised.value) == (
        f"task.root={path}: needs pyarrow; pip install 'maml-sweep[parquet]', or save it as CSV"
    )


def test_which_file(tmp_path: Path) -> None:
    expected = "expected a .csv, .tsv or .parquet file with named columns, or a folder with one"

    def refusal(root: Path) -> str:
        with pytest.raises(InputError) as raised:
            tables.find(str(root))
        return str(raised.value)

    (tmp_path / "notes.txt").touch()
    assert refusal(tmp_path) == f"task.root={tmp_path}: has no table, but notes.txt; {expected}"
    none = tmp_path / "none.csv"
    assert refusal(none) == f"task.root={none}: there is no such folder; {expected}"
    text = tmp_path / "notes.txt"
    assert refusal(text) == f"task.root={text}: notes.txt is neither CSV nor Parquet; {expected}"
    for name in ("b.tsv", "a.csv"):
        (tmp_path / name).write_text("a\ty\n1\t2\n")
    assert refusal(tmp_path) == f"task.root={tmp_path}: has 2 tables (a.csv, b.tsv); name one"
    assert list(tables.read(tables.find(str(tmp_path / "b.tsv")), LAYOUT).features) == ["a"]


def test_rows_are_known_by_what_is_in_them() -> None:
    """Not by the order of rows or columns; 0 is -0; a missing cell is like another."""
    a, b = (
        np.array([0.0, 1.0, np.nan, 0.0]),
        Category(np.array([0, 1, -1, 0], np.int32), ("u", "v")),
    )
    found = row_keys(Sheet("", {"a": a, "b": b}))
    assert len(set(found.tolist())) == 3 and found[0] == found[3]
    turned = Category(b.codes[::-1], b.levels)
    np.testing.assert_array_equal(
        row_keys(Sheet("", {"b": turned, "a": np.where(a[::-1] == 0, -0.0, a[::-1])})), found[::-1]
    )
    further = Category(np.array([1, 2, -1, 1], np.int32), ("n", "u", "v"))
    np.testing.assert_array_equal(row_keys(Sheet("", {"a": a, "b": further})), found)
    assert (row_keys(Sheet("", {"a": a, "c": b})) != found).all()
    assert (row_keys(Sheet("", {"a": a, "b": b}, values=a)) != found).all()


# -- encoding ------------------------------------------------------------------------------------


def encoded(**columns: Any) -> dict[str, list[float]]:
    """Columns of six rows, the first four of the training split, with two levels each."""
    made = {
        name: cells.category(np.array(column, object))
        if isinstance(column[0], str)
        else np.array(column, np.float64)
        for name, column in columns.items()
    }
    found = encode(made, np.arange(6) < 4, 2)
    assert found.table.shape == (6, len(found.names)) and found.table.dtype == np.float32
    return dict(zip(found.names, found.table.T.round(4).tolist(), strict=True))


def test_numbers() -> None:
    """Training rows 1, 3, missing, 8: median 3, then mean 3.75, deviation √(26.75 / 4)."""
    found = encoded(n=[1, 3, np.nan, 8, np.nan, 100])
    scaled = (np.array([1, 3, 3, 8, 3, 100]) - 3.75) / np.sqrt(26.75 / 4)
    np.testing.assert_allclose(found["n"], scaled, atol=1e-4)
    assert found["n is missing"] == [0, 0, 1, 0, 1, 0] and len(found) == 2


def test_a_value_missing_outside_training_alone() -> None:
    """It is the median, and nothing is said of it: in training there is nothing to learn from."""
    found = encoded(n=[1, 3, 3, 5, np.nan, 3])
    assert list(found) == ["n"] and found["n"][4] == found["n"][1] == 0


def test_words() -> None:
    """b twice, a and c once: a goes before c; d was never seen in training."""
    found = encoded(w=["b", "c", "a", "b", "d", "a"])
    assert found == {
        "w=b": [1, 0, 0, 1, 0, 0],
        "w=a": [0, 0, 1, 0, 0, 1],
        "w is another": [0, 1, 0, 0, 1, 0],
    }


def test_missing_words() -> None:
    found = encoded(w=["b", None, "a", "b", None, "z"])
    assert found == {
        "w=b": [1, 0, 0, 1, 0, 0],
        "w=a": [0, 0, 1, 0, 0, 0],
        "w is missing": [0, 1, 0, 0, 1, 0],
    }


def test_booleans_stay_and_what_does_not_vary_goes() -> None:
    """A constant with missing values leaves only that they are."""
    columns = {
        "b": [0, 1, 1, 1, 0, 1],
        "c": [7, 7, 7, 7, 1, 2],
        "m": [np.nan] * 4 + [1, 2],
        "k": ["x", "x", "x", "x", "y", "y"],
        "n": [4, np.nan, 4, 4, 4, 4],
    }
    found = encoded(**columns)
    assert found == {"b": [0, 1, 1, 1, 0, 1], "n is missing": [0, 1, 0, 0, 0, 0]}
    empty = encode({name: np.array(columns[name], float) for name in "cm"}, np.arange(6) < 4, 2)
    assert empty.empty == ("c", "m") and empty.table.shape == (6, 0)


def test_only_training_rows_decide() -> None:
    a = encoded(n=[1, 2, 3, 5, 0, 0], w=["a", "b", "b", "c", "a", "a"])
    b = encoded(n=[1, 2, 3, 5, 1e9, np.nan], w=["a", "b", "b", "c", "z", "z"])
    assert list(a) == list(b)
    assert [values[:4] for values in a.values()] == [values[:4] for values in b.values()]
