"""Where a study is stored: the URL, and opening it with errors a user can act on.

SQLite keeps its default rollback journal: `study.db` stays one file that is whole after a kill or
a power cut, also on file systems where the faster write-ahead log is unsafe (NFS). Transactions
begin IMMEDIATE, as SQLite answers "database is locked" at once, without waiting, when two
processes both hold a read lock and want to write.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import optuna
from optuna.storages import BaseStorage, InMemoryStorage, RDBStorage, _CachedStorage

from maml_sweep.errors import InputError

DATABASE = "study.db"
_BUSY_SECONDS = 60.0  # how long a SQLite writer waits for the others
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


def masked(url: str) -> str:
    """The URL without its password, fit for messages."""
    return re.sub(r"(://[^:/@]*):[^@]*@", r"\1:***@", url)


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
    kwargs: dict[str, Any] = {"pool_pre_ping": True}
    try:
        if path is not None:
            if path.exists():
                _check_sqlite_file(path)
            path.parent.mkdir(parents=True, exist_ok=True)
            kwargs = {"connect_args": {"timeout": _BUSY_SECONDS, "isolation_level": "IMMEDIATE"}}
        # Optuna fills {SCHEMA_VERSION} into URLs: braces of our own must survive that.
        escaped = url.replace("{", "{{").replace("}", "}}")
        backend = RDBStorage(escaped, engine_kwargs=kwargs, skip_compatibility_check=True)
        _check_version(backend)
        return optuna.storages.get_storage(backend)
    except (SQLAlchemyError, optuna.exceptions.OptunaError, ImportError, OSError) as error:
        reason = str(error).strip().splitlines()[0]
    except (RuntimeError, ValueError) as error:  # another Optuna's tables; a malformed URL
        reason = str(error).strip().splitlines()[0]
    raise InputError(
        f"study.storage: cannot open {masked(url)} as an Optuna database: {masked(reason)}"
    )


def lives_here(study: optuna.Study) -> bool:
    """Whether all workers of a study share its folder's lock: in memory and SQLite, not servers."""
    storage = study._storage
    if isinstance(storage, _CachedStorage):
        storage = storage._backend
    if isinstance(storage, RDBStorage):
        return str(storage.engine.name) == "sqlite"
    return isinstance(storage, InMemoryStorage)
