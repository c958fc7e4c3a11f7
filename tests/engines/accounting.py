"""What Slurm leans on: munge, which signs its messages, and MariaDB, which keeps its accounts."""

from __future__ import annotations

import secrets
from pathlib import Path

from engines.processes import HOST, Daemon, free_port, output, program

ENGINE = "Slurm"
DATABASE = "slurm_accounts"


class Munge:
    """munged with a key, a socket and a log of its own."""

    def __init__(self) -> None:
        self._munged = program(ENGINE, "munged")

    def start(self, folder: Path) -> None:
        """Makes the key and waits for the socket."""
        folder.mkdir(mode=0o755)
        self.socket = folder / "socket"
        key = folder / "key"
        key.write_bytes(secrets.token_bytes(1024))
        key.chmod(0o400)
        command = [
            self._munged,
            "--foreground",
            "--force",  # the folder of temporary files belongs to everybody
            f"--socket={self.socket}",
            f"--key-file={key}",
            f"--log-file={folder / 'munged.log'}",
            f"--pid-file={folder / 'pid'}",
            f"--seed-file={folder / 'seed'}",
        ]
        self._daemon = Daemon(command, folder / "log")
        self._daemon.wait_until(self.socket.exists)

    def stop(self) -> None:
        """Ends munged."""
        self._daemon.stop()


class MariaDB:
    """A MariaDB with an empty data folder, reached by TCP with a password."""

    def __init__(self) -> None:
        self.port = free_port()
        self.password = secrets.token_hex(12)
        self._install = program(ENGINE, "mariadb-install-db")
        self._server = program(ENGINE, "mariadbd")
        self._client = program(ENGINE, "mariadb")

    def start(self, folder: Path) -> None:
        """Makes the system's tables, the server and its user."""
        folder.mkdir(mode=0o755)
        self._socket = folder / "socket"
        me, data = "--user=root", f"--datadir={folder / 'data'}"  # as Slurm's own daemons
        output([self._install, "--no-defaults", me, data, "--skip-test-db"])
        command = [
            *(self._server, "--no-defaults", me, data),
            f"--socket={self._socket}",
            f"--port={self.port}",
            f"--bind-address={HOST}",
            f"--pid-file={folder / 'pid'}",
            "--innodb-buffer-pool-size=64M",
            "--innodb-flush-log-at-trx-commit=0",
            "--innodb-lock-wait-timeout=900",  # as slurmdbd wants it
        ]
        self._daemon = Daemon(command, folder / "log")
        self._daemon.wait_until(self._is_up)
        self._execute(f"CREATE USER slurm@'{HOST}' IDENTIFIED BY '{self.password}'")
        self._execute(f"GRANT ALL ON {DATABASE}.* TO slurm@'{HOST}'")

    def stop(self) -> None:
        """Ends the server; its data are no longer needed."""
        self._daemon.kill()

    def _is_up(self) -> bool:
        try:
            self._execute("SELECT 1")
        except RuntimeError:
            return False
        return True

    def _execute(self, statement: str) -> None:
        output([self._client, "--no-defaults", f"--socket={self._socket}", "-e", statement])
