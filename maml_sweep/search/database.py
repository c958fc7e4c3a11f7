"""Optuna's database storage, patient with a server that restarts: its studies, and transactions."""

from __future__ import annotations

import sqlite3
import weakref
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from optuna.storages import BaseStorage, RDBStorage, _CachedStorage
from optuna.study import StudyDirection
from optuna.study._frozen import FrozenStudy

from maml_sweep.search.patience import Patience
from maml_sweep.search.refusals import masked, refusal

T = TypeVar("T")


class Database(BaseStorage):
    """Calls the backend with patience; `maml_sweep.search.mirror.Mirror` adds the trials.

    Args:
      backend: Optuna's storage, not wrapped.
      url: as the user wrote it.
    """

    def __init__(self, backend: RDBStorage, url: str) -> None:
        self._backend = backend
        self._url = url
        self.engine = backend.engine
        self.patience = Patience(masked(url))
        weakref.finalize(self, backend.engine.dispose)  # else it leaves connections open

    def do(self, call: Callable[..., T], *args: Any) -> T:
        """Calls with patience.

        Raises:
          StorageLost: the server did not come back.
          InputError: the database refused for a reason that lies outside: full, locked, ...
        """
        from optuna.exceptions import StorageInternalError
        from sqlalchemy.exc import OperationalError

        try:
            return self.patience(call, *args)
        except (OperationalError, StorageInternalError) as error:
            if isinstance(error.__cause__ or error, OperationalError | sqlite3.OperationalError):
                raise refusal(error, self._url) from None
            raise

    def run(self, work: Callable[..., T], *args: Any) -> T:
        """`work(connection, *args)` in one transaction; raises as `do`."""

        def transaction() -> T:
            with self.engine.begin() as connection:
                return work(connection, *args)

        return self.do(transaction)

    def create_new_study(
        self, directions: Sequence[StudyDirection], study_name: str | None = None
    ) -> int:
        """See `optuna.storages.BaseStorage`, here and below."""
        return self.do(self._backend.create_new_study, directions, study_name)

    def delete_study(self, study_id: int) -> None:
        """Deletes a study with its trials."""
        self.do(self._backend.delete_study, study_id)

    def set_study_user_attr(self, study_id: int, key: str, value: Any) -> None:
        """Writes a user attribute of a study."""
        self.do(self._backend.set_study_user_attr, study_id, key, value)

    def set_study_system_attr(self, study_id: int, key: str, value: Any) -> None:
        """Writes a system attribute of a study."""
        self.do(self._backend.set_study_system_attr, study_id, key, value)

    def get_study_id_from_name(self, study_name: str) -> int:
        """The id of a study; KeyError where there is none."""
        return self.do(self._backend.get_study_id_from_name, study_name)

    def get_study_name_from_id(self, study_id: int) -> str:
        """The name of a study."""
        return self.do(self._backend.get_study_name_from_id, study_id)

    def get_study_directions(self, study_id: int) -> list[StudyDirection]:
        """The directions of a study; ours have one."""
        return self.do(self._backend.get_study_directions, study_id)

    def get_study_user_attrs(self, study_id: int) -> dict[str, Any]:
        """The user attributes of a study."""
        return self.do(self._backend.get_study_user_attrs, study_id)

    def get_study_system_attrs(self, study_id: int) -> dict[str, Any]:
        """The system attributes of a study."""
        return self.do(self._backend.get_study_system_attrs, study_id)

    def get_all_studies(self) -> list[FrozenStudy]:
        """All studies of the database."""
        return self.do(self._backend.get_all_studies)

    def remove_session(self) -> None:
        """Closes this thread's session."""
        self._backend.remove_session()


def engine_of(storage: BaseStorage) -> Any | None:
    """SQLAlchemy's engine behind a storage, if there is one."""
    if isinstance(storage, _CachedStorage):
        storage = storage._backend
    return storage.engine if isinstance(storage, Database | RDBStorage) else None
