"""Every frame of a study as files for other programs."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import pandas as pd

from maml_sweep.analysis.columns import COLUMNS
from maml_sweep.analysis.frames import Frames
from maml_sweep.errors import InputError
from maml_sweep.files import write_atomic

FOLDER = "frames"  # in the study's


def export(frames: Frames, kind: str = "csv", output: Path | None = None) -> dict[Path, int]:
    """Writes a file a frame, each whole or not at all, and none if one cannot be made.

    Args:
      frames: the study's.
      kind: "csv" (times in ISO 8601, numbers with all digits, empty cells for what lacks) or
        "parquet" (with the types of `maml_sweep.analysis.columns`).
      output: the folder; None: `frames` in the study's.

    Returns:
      The files and how many rows each has.

    Raises:
      InputError: Parquet without pyarrow, or a folder that cannot be written.
    """
    folder = frames.folder / FOLDER if output is None else output
    tables: dict[str, pd.DataFrame] = {table: getattr(frames, table) for table in COLUMNS}
    contents = {table: WRITERS[kind](frame) for table, frame in tables.items()}
    written = {}
    for table, content in contents.items():
        path = folder / f"{table}.{kind}"
        try:
            write_atomic(path, content, durable=False)
        except OSError as error:
            raise InputError(f"--output: cannot write {path}: {error.strerror}") from None
        written[path] = len(tables[table])
    return written


def _csv(frame: pd.DataFrame) -> bytes:
    return frame.to_csv(index=False, lineterminator="\n").encode()


def _parquet(frame: pd.DataFrame) -> bytes:
    try:
        import pyarrow  # type: ignore[import-untyped, unused-ignore]  # noqa: F401
    except ImportError:
        raise InputError(
            "--format=parquet: needs pyarrow; pip install 'maml-sweep[parquet]', or take csv"
        ) from None
    buffer = io.BytesIO()
    frame.to_parquet(buffer, engine="pyarrow", index=False)
    return buffer.getvalue()


WRITERS: dict[str, Callable[[pd.DataFrame], bytes]] = {"csv": _csv, "parquet": _parquet}
