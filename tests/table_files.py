"""Tables of the kinds that people have, written by hand."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

PATIENT = ("hospital", "id", "age", "sex", "smoker", "ward", "note", "ill")
HOSPITALS = (
    *("Åbo", "Bonn", "Caen", "Derry", "Essen", "Fürth"),
    *("Gent", "Hull", "Ivrea", "Jena", "Kiel", "Linz"),
)


def patients(hospital: str, of_each: int) -> list[tuple[object, ...]]:
    """Rows of a hospital, so many ill and as many well, of which no two look the same.

    An age is 20, the number of the row in its hospital, and 100 times the hospital's number.
    """
    number = 1 + (HOSPITALS.index(hospital) if hospital in HOSPITALS else len(HOSPITALS))
    rows: list[tuple[object, ...]] = []
    for i in range(2 * of_each):
        ill = i % 2
        age = 20 + i + 100 * number if i != 3 else ""
        ward = ("A, left", 'B "new"', "Ç")[i % 3]
        rows.append(
            (hospital, f"{hospital}-{i}", age, "fm"[i % 2], i % 4 < 2, ward, "", "yno"[1 - ill])
        )
    return rows


def write_patients(folder: Path, backwards: bool = False, name: str = "patients.csv") -> Path:
    """Twelve hospitals of six rows a class, and one that has too few; a file with a BOM."""
    rows = [row for hospital in HOSPITALS for row in patients(hospital, 6)]
    rows += patients("Zürs", 2)
    return write(folder / name, PATIENT, rows[::-1] if backwards else rows)


def write(
    path: Path,
    names: Sequence[str],
    rows: Sequence[Sequence[object]],
    separator: str = ",",
    encoding: str = "utf-8-sig",
) -> Path:
    """Writes a CSV with a blank line in its middle."""
    with path.open("w", encoding=encoding, newline="") as file:
        writer = csv.writer(file, delimiter=separator)
        writer.writerow(names)
        writer.writerows(rows[:5])
        file.write("\r\n")
        writer.writerows(rows[5:])
    return path


def write_flats(folder: Path, backwards: bool = False) -> Path:
    """60 flats: no groups, a value, three kinds, semicolons and decimal commas; latin-1."""
    rows = []
    for i in range(60):
        numbers = (i + 0.5, (i * 7) % 60 + 0.25, ((i * i) % 61) / 4)
        cells = [str(number).replace(".", ",") for number in numbers]
        rows.append((*cells, ("Höhe", "Tal", "See")[i % 3], f"{100 + 3 * i},5"))
    names = ("size", "year", "floor", "kind", "price")
    return write(folder / "flats.csv", names, rows[::-1] if backwards else rows, ";", "latin-1")
