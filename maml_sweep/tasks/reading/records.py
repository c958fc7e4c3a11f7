"""Files of records: lines of JSON and of Python literals, and CSV; each may be gzipped.

JSON lines: https://jsonlines.org. The Amazon reviews of McAuley et al. (https://jmcauley.ucsd.edu/
data/amazon/) are partly 'loose' ones: a line is the text of a Python dict, with single quotes.
Those are read as literals; nothing in them is run. CSV as Python's csv module has it: quotes,
line breaks and commas within them, a byte order mark or none; the first row names the columns.
"""

from __future__ import annotations

import ast
import csv
import gzip
import io
import json
import re
import warnings
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from maml_sweep.errors import InputError
from maml_sweep.tasks.reading.bad import BadRecords

SUFFIXES = (".jsonl", ".json", ".csv", ".tsv")
_UNDECODED = re.compile("[\udc80-\udcff]")  # where Python puts bytes that are no UTF-8

csv.field_size_limit(1 << 27)  # one text may be longer than the 128 KiB it allows by itself


class Record(NamedTuple):
    """One record."""

    where: str  # file:line, where it ends
    values: Mapping[str, Any]  # by the names of its columns


def kind(path: Path) -> str:
    """The suffix that says how a file is laid out, less `.gz`; or nothing if none of ours."""
    name = path.name.lower().removesuffix(".gz")
    return next((suffix for suffix in SUFFIXES if name.endswith(suffix)), "")


def stem(path: Path) -> str:
    """A file's name up to its first dot."""
    return path.name.split(".")[0]


def records(path: Path, bad: BadRecords) -> Iterator[Record]:
    """Reads a file's records one by one; blank lines are none.

    Args:
      path: a file with a suffix of `SUFFIXES`, and `.gz` or not.
      bad: is told of those that cannot be read.

    Raises:
      InputError: the file cannot be read.
    """
    read = _rows if kind(path) in (".csv", ".tsv") else _lines
    with opened(path) as file:
        yield from read(path, file, bad)


@contextmanager
def opened(path: Path) -> Iterator[BinaryIO]:
    """A file's bytes, less those of gzip."""
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            yield file  # type: ignore[misc]  # a GzipFile is one in all but name
    except (OSError, EOFError, zlib.error, csv.Error) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"{path}: cannot be read ({reason})") from None


def lines(path: Path, file: BinaryIO) -> Iterator[tuple[str, bytes]]:
    """The lines that are not blank, each with its place."""
    for number, line in enumerate(file, 1):
        text = line.removeprefix(b"\xef\xbb\xbf").strip() if number == 1 else line.strip()
        if text:
            yield f"{path.name}:{number}", text


def _lines(path: Path, file: BinaryIO, bad: BadRecords) -> Iterator[Record]:
    for where, line in lines(path, file):
        try:
            values = _parsed(line.decode())
        except UnicodeDecodeError:
            bad.add(where, "not UTF-8")
            continue
        if isinstance(values, dict):
            yield Record(where, values)
        else:
            bad.add(where, "not a record {…} of JSON")


def _parsed(line: str) -> Any:
    """A line of JSON or, failing that, of a Python literal; None if it is neither."""
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        pass
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of '\d' in what somebody wrote
            return ast.literal_eval(line)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return None


def _rows(path: Path, file: BinaryIO, bad: BadRecords) -> Iterator[Record]:
    with io.TextIOWrapper(file, "utf-8-sig", "surrogateescape", newline="") as text:
        reader = csv.reader(text, delimiter="\t" if kind(path) == ".tsv" else ",")
        columns = [name.strip() for name in next(reader, [])]
        for row in reader:
            where = f"{path.name}:{reader.line_num}"
            if row and len(row) != len(columns):
                bad.add(where, f"{len(row)} columns where {len(columns)} are named")
            elif any(map(_UNDECODED.search, row)):
                bad.add(where, "not UTF-8")
            elif row:
                yield Record(where, dict(zip(columns, row, strict=True)))
