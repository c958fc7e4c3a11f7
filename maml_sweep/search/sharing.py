"""What all workers of a study share: a clock, and a lock that lets one at a time in."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from hashlib import blake2b
from pathlib import Path
from typing import Any

import optuna
from optuna.storages import BaseStorage, InMemoryStorage

from maml_sweep.search.database import engine_of
from maml_sweep.search.lock import folder_lock
from maml_sweep.search.mirror import Mirror
from maml_sweep.search.patience import Patience

_LOCKS = {  # dialect -> take, free
    "postgresql": ("pg_advisory_lock(:key)", "pg_advisory_unlock(:key)"),
    "mysql": ("get_lock(:key, -1)", "release_lock(:key)"),
    "mariadb": ("get_lock(:key, -1)", "release_lock(:key)"),
}
_CLOCKS = {
    "postgresql": "SELECT extract(epoch FROM clock_timestamp())",
    "mysql": "SELECT unix_timestamp(now(6))",
    "mariadb": "SELECT unix_timestamp(now(6))",
}


def lives_here(study: optuna.Study) -> bool:
    """Whether all workers of a study share its folder's lock: in memory and SQLite, not servers."""
    return _lives_here(study._storage)


def _lives_here(storage: BaseStorage) -> bool:
    engine = engine_of(storage)
    return isinstance(storage, InMemoryStorage) if engine is None else engine.name == "sqlite"


def now(of: BaseStorage | optuna.Study) -> float:
    """Seconds since the epoch by the clock that all workers of a study share.

    That is the database server's where there is one: other machines' clocks may be hours off.
    """
    engine = engine_of(of._storage if isinstance(of, optuna.Study) else of)
    if engine is None or engine.name not in _CLOCKS:
        return time.time()
    return float(_patience(engine)(_scalar, engine, _CLOCKS[engine.name]))


def _scalar(engine: Any, statement: str) -> Any:
    from sqlalchemy import text

    with engine.connect() as connection:
        return connection.execute(text(statement)).scalar_one()


def _patience(engine: Any) -> Patience:
    return Patience(engine.url.render_as_string(hide_password=True))


@contextmanager
def exclusive(study: optuna.Study, folder: Path | None) -> Iterator[None]:
    """Lets one process at a time in, among all that share the study; not reentrant.

    By the folder's lock, or by one of the database server, which frees it when the connection
    ends: nothing is left of a holder that died.
    """
    with exclusive_for(study._storage, study.study_name, folder):
        yield


@contextmanager
def exclusive_for(storage: BaseStorage, name: str, folder: Path | None) -> Iterator[None]:
    """`exclusive` for a study that may not exist yet."""
    engine = engine_of(storage)
    if engine is not None and engine.name in _LOCKS:
        lock: AbstractContextManager[None] = _server_lock(engine, name)
    else:
        lock = folder_lock(folder if _lives_here(storage) else None)
    with lock:
        if isinstance(storage, Mirror):
            storage.expire()  # who comes in sees all that was done before
        yield


def is_exclusive(study: optuna.Study) -> bool:
    """Whether `exclusive` has a lock for this storage."""
    engine = engine_of(study._storage)
    return lives_here(study) or (engine is not None and engine.name in _LOCKS)


@contextmanager
def _server_lock(engine: Any, name: str) -> Iterator[None]:
    from sqlalchemy.exc import DBAPIError

    connection = _patience(engine)(_take_lock, engine, name)
    try:
        yield
    finally:
        try:
            connection.execute(*_lock_call(engine.name, name, take=False))
        except DBAPIError:  # the connection broke, and the lock went with it
            connection.invalidate()
        connection.close()


def _take_lock(engine: Any, name: str) -> Any:
    """A connection of its own that holds the lock."""
    connection = engine.connect().execution_options(isolation_level="AUTOCOMMIT")
    try:
        connection.execute(*_lock_call(engine.name, name, take=True))
    except BaseException:
        connection.invalidate()
        connection.close()
        raise
    return connection


def _lock_call(dialect: str, name: str, *, take: bool) -> tuple[Any, dict[str, Any]]:
    """The statement that takes or frees a study's lock, and its parameters."""
    from sqlalchemy import text

    digest = blake2b(f"maml_sweep:{name}".encode(), digest_size=8).digest()
    key = int.from_bytes(digest, signed=True) if dialect == "postgresql" else digest.hex()
    return text(f"SELECT {_LOCKS[dialect][not take]}"), {"key": key}
