"""Files that appear whole or not at all."""

from __future__ import annotations

import logging
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

log = logging.getLogger(__name__)

STUDIES = "outputs"  # the folder of the studies' folders, unless another is named


def write_atomic(path: Path, content: bytes | str, *, durable: bool = True) -> None:
    """Writes a file so that every reader, at any moment, finds the old one or the new one.

    Its folder is made where it lacks. A kill may leave `.<name>.<random>.part` beside it, which
    nobody reads.

    Args:
      path: where to.
      content: bytes, or text to encode as UTF-8.
      durable: wait until the disk has it, so that a power cut cannot lose it either.

    Raises:
      OSError: the folder cannot be written; the old file is as it was.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{secrets.token_hex(6)}.part")
    try:
        with part.open("xb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        os.replace(part, path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


@contextmanager
def spared(what: str) -> Iterator[None]:
    """Lets the work go on where a file of it cannot be written: a warning says which, and why.

    For files that are no result: a full disk shall cost the files, not the trials.
    """
    try:
        yield
    except OSError as error:
        log.warning("%s cannot be written (%s); going on without", what, error.strerror or error)
