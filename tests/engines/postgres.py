"""A private PostgreSQL: a cluster of its own in a temporary folder, with a password to be kept."""

from __future__ import annotations

import os
import pwd
import secrets
import shutil
import subprocess
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Any

from engines.processes import HOST, Missing, free_port, package, program

ENGINE = "PostgreSQL"
USER = "maml"
# Nothing here must outlive a power cut: a crash of the server alone keeps what it wrote.
_SETTINGS = {"fsync": "off", "listen_addresses": HOST, "unix_socket_directories": ""}


class Postgres:
    """A server on a free loopback port; every database made by it is deleted with it.

    Used as a context manager. The password is in every URL and nowhere else: what leaks it can be
    found by searching for it.

    Attributes:
      port: where it listens.
      password: of its only role, `USER`.
    """

    def __init__(self, **settings: str | int) -> None:
        """Starts nothing yet.

        Args:
          settings: of postgresql.conf, such as `max_connections=400`.

        Raises:
          Missing: it cannot run here.
        """
        package(ENGINE, "psycopg", "postgres")
        self._initdb = program(ENGINE, "initdb", _folders())
        self._pg_ctl = program(ENGINE, "pg_ctl", _folders())
        self._owner = _unprivileged()
        self._settings = {**_SETTINGS, **settings}
        self.port = free_port()
        self.password = secrets.token_hex(12)
        self._made = 0

    def __enter__(self) -> Postgres:
        self.folder = Path(tempfile.mkdtemp(prefix="maml-postgres-"))
        word = self.folder / "password"
        word.write_text(self.password)
        for path in (self.folder, word):
            os.chown(path, self._owner.pw_uid, self._owner.pw_gid)
        self._run(
            self._initdb,
            "--no-sync",
            f"--pgdata={self._data}",
            f"--username={USER}",
            f"--pwfile={word}",
            "--auth=scram-sha-256",
            "--encoding=UTF8",
        )
        word.unlink()
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop("immediate")
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def _data(self) -> Path:
        return self.folder / "data"

    @property
    def log(self) -> str:
        """What the server wrote to its log."""
        return (self.folder / "log").read_text()

    @property
    def pid(self) -> int:
        """The postmaster's process."""
        return int((self._data / "postmaster.pid").read_text().split()[0])

    def start(self) -> None:
        """Starts the server and waits until it answers."""
        options = " ".join(f"-c {key}='{value}'" for key, value in self._settings.items())
        self._control("start", "-l", str(self.folder / "log"), "-o", f"-p {self.port} {options}")

    def stop(self, mode: str = "fast") -> None:
        """Stops it: `fast` ends every connection, `immediate` is a crash."""
        if (self._data / "postmaster.pid").exists():
            self._control("stop", "-m", mode)

    def restart(self, mode: str = "fast") -> None:
        """Stops it and starts it again on the same port."""
        self.stop(mode)
        self.start()

    def url(self, database: str, password: str | None = None) -> str:
        """The SQLAlchemy URL of a database."""
        word = self.password if password is None else password
        return f"postgresql+psycopg://{USER}:{word}@{HOST}:{self.port}/{database}"

    def new_database(self) -> str:
        """Makes an empty database; returns its URL."""
        self._made += 1
        name = f"sweep_{self._made}"
        self.execute(f"CREATE DATABASE {name}")
        return self.url(name)

    def execute(self, statement: str, database: str = "postgres") -> list[tuple[object, ...]]:
        """Runs one statement outside any transaction; returns its rows."""
        import psycopg

        with psycopg.connect(
            host=HOST,
            port=self.port,
            user=USER,
            password=self.password,
            dbname=database,
            autocommit=True,
        ) as connection:
            cursor = connection.execute(statement)  # type: ignore[arg-type, unused-ignore]
            return cursor.fetchall() if cursor.description else []

    def _control(self, *arguments: str) -> None:
        self._run(self._pg_ctl, "-D", str(self._data), "-w", "-t", "60", "-s", *arguments)

    def _run(self, *command: str) -> None:
        """Runs a command as the server's owner."""
        words = self.folder / "control.log"
        with words.open("ab") as file:  # no pipe: the server would inherit it and never close it
            done = subprocess.run(
                command,
                cwd=self.folder,
                env={"PATH": os.defpath, "LC_ALL": "C.UTF-8"},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=file,
                timeout=120,
                check=False,
                **self._identity,
            )
        if done.returncode != 0:
            raise RuntimeError(f"{' '.join(command)}: {words.read_text()}")

    @property
    def _identity(self) -> dict[str, Any]:
        """Who runs it: root may not."""
        if os.getuid() != 0:
            return {}
        return {"user": self._owner.pw_uid, "group": self._owner.pw_gid, "extra_groups": []}


def _folders() -> list[str]:
    """Debian's folders of the server's programs, the newest version first."""
    found = Path("/usr/lib/postgresql").glob("[0-9]*/bin")
    return [str(path) for path in sorted(found, key=lambda path: -float(path.parent.name))]


def _unprivileged() -> pwd.struct_passwd:
    """Whom the server runs as: we, or one of the users who own nothing here.

    Raises:
      Missing: we are root and there is none.
    """
    if os.getuid() != 0:
        return pwd.getpwuid(os.getuid())
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    raise Missing(f"{ENGINE}: root may not run it, and there is no user postgres or nobody")
