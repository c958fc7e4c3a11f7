"""Where a study is stored: the URL, and opening it with errors a user can act on.

SQLite keeps its default rollback journal: `study.db` stays one file that is whole after a kill or
a power cut, also on file systems where the faster write-ahead log is unsafe (NFS). Transactions
begin IMMEDIATE, as SQLite answers "database is locked" at once, without waiting, when two
processes both hold a read lock and want to write.
"""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Any

import optuna
from optuna.storages import BaseStorage, RDBStorage

from maml_sweep.errors import InputError
from maml_sweep.search.bulk import at_once, expire, noting, pop, queue_all, report_all
from maml_sweep.search.mirror import Mirror
from maml_sweep.search.refusals import masked, refusal
from maml_sweep.search.sharing import exclusive, exclusive_for, is_exclusive, lives_here, now

__all__ = [
    "DATABASE",
    "at_once",
    "connect",
    "exclusive",
    "exclusive_for",
    "expire",
    "is_exclusive",
    "lives_here",
    "masked",
    "noting",
    "now",
    "pop",
    "queue_all",
    "report_all",
    "sqlite_path",
    "storage_url",
]

DATABASE = "study.db"
_BUSY_SECONDS = 60.0  # how long a SQLite writer waits for the others
_CONNECT_SECONDS = 10
_FITTING: set[str] = set()  # versions of the tables that this Optuna reads


def storage_url(cfg_storage: str | None, folder: Path) -> str:
    """The storage of a study: what `study.storage` says, else SQLite in the study's folder."""
    if cfg_storage is not None:
        return cfg_storage
    path = str(folder.resolve() / DATABASE)
    if "?" in path:
        raise InputError(f"study folder: SQLite cannot open a path with '?' in it, got {path!r}")
    return f"sqlite:///{path}"


def sqlite_path(url: str) -> Path | None:
    """The file behind a SQLite URL, None for a server or a database in memory."""
    path = url.partition("?")[0].partition(":///")[2]
    return Path(path) if url.startswith("sqlite") and path not in {"", ":memory:"} else None


def _check_sqlite_file(path: Path) -> None:
    with path.open("rb") as file:
        head = file.read(16)
    if head not in {b"", b"SQLite format 3\0"}:
        raise InputError(
            f"study.storage: {path} is no SQLite database; move it away or change study.name"
        )


def _check_version(storage: RDBStorage) -> None:
    """Refuses tables of another Optuna; what fits is kept, as finding out takes 50 ms a study.

    Raises:
      RuntimeError: they do not fit.
    """
    version = storage.get_current_version()
    if version not in _FITTING:
        storage._version_manager.check_table_schema_compatibility()
        _FITTING.add(version)


def connect(url: str) -> BaseStorage:
    """Opens the storage, creating its tables where they lack.

    Raises:
      InputError: no database there, no driver for it, or one of an unfit Optuna version.
    """
    from sqlalchemy.exc import SQLAlchemyError  # slow to import: only where a study is opened

    path = sqlite_path(url)
    try:
        if path is not None:
            if path.exists():
                _check_sqlite_file(path)
            path.parent.mkdir(parents=True, exist_ok=True)
        # Optuna fills {SCHEMA_VERSION} into URLs: braces of our own must survive that.
        escaped = url.replace("{", "{{").replace("}", "}}")
        options = _engine_options(url)
        backend = _with_tables(escaped, options)
        _check_version(backend)
        return Mirror(backend, url)
    except (SQLAlchemyError, optuna.exceptions.OptunaError, ImportError, OSError) as error:
        raise refusal(error, url) from None
    except (RuntimeError, ValueError) as error:  # another Optuna's tables; a malformed URL
        raise refusal(error, url) from None


def _with_tables(url: str, options: dict[str, Any]) -> RDBStorage:
    """Opens a database and makes Optuna's tables, unless they are there.

    Of two processes that do so at the same moment the slower one is refused; its tables are there
    when it looks again.
    """
    from sqlalchemy.exc import DBAPIError

    for pause in (0.1, 0.3, 1.0):
        try:
            return RDBStorage(url, engine_kwargs=options, skip_compatibility_check=True)
        except DBAPIError as error:
            if not re.search("already exists|UNIQUE constraint|duplicate key", str(error)):
                raise
        time.sleep(pause)
    return RDBStorage(url, engine_kwargs=options, skip_compatibility_check=True)


def _engine_options(url: str) -> dict[str, Any]:
    """SQLAlchemy's, for a kind of database."""
    if sqlite_path(url) is not None:
        return {"connect_args": {"timeout": _BUSY_SECONDS, "isolation_level": "IMMEDIATE"}}
    options: dict[str, Any] = {"pool_pre_ping": True}
    if url.startswith("postgresql"):
        options["connect_args"] = {"connect_timeout": _CONNECT_SECONDS}
    return options
