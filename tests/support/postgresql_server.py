"""A real PostgreSQL server of the machine's own binaries, which tests may stop and start again."""

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from pathlib import Path
from typing import Literal

Mode = Literal["fast", "immediate"]


def find_binaries() -> Path | None:
    """The folder of the newest PostgreSQL's programs; None if it is not installed."""
    programs = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))
    return programs[-1].parent if programs else None


class PostgresqlServer:
    """One server on a port of 127.0.0.1, with its data in a folder of its own.

    Args:
        binaries: The folder of its programs.
        fsync: Whether commits wait for the disk, so that they outlive a crash of the server.
    """

    def __init__(self, binaries: Path, *, fsync: bool = False) -> None:
        self._binaries = binaries
        # PostgreSQL refuses to run as root, and its user must be able to enter the folder.
        self._user = pwd.getpwnam("postgres") if os.getuid() == 0 else pwd.getpwuid(os.getuid())
        self._folder = Path(tempfile.mkdtemp(prefix="adai-postgresql-"))
        os.chown(self._folder, self._user.pw_uid, self._user.pw_gid)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]
        self._fsync = fsync
        self._run("initdb", "-U", "adai", "-A", "trust", "-E", "UTF8", "--no-sync")

    @property
    def url(self) -> str:
        """SQLAlchemy's URL up to the database's name."""
        return f"postgresql+psycopg://adai@127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it, and wait until it answers."""
        fsync = "on" if self._fsync else "off"
        options = (
            f"-p {self.port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={self._folder} -c fsync={fsync}"
        )
        self._run("pg_ctl", "-w", "-l", str(self._folder / "log"), "-o", options, "start")

    def stop(self, mode: Mode) -> None:
        """Stop it: ``fast`` ends its connections and writes everything down, ``immediate`` is a crash."""
        self._run("pg_ctl", "-m", mode, "-w", "stop")

    def create_database(self, name: str) -> str:
        """Make an empty database; returns its URL."""
        import psycopg

        with psycopg.connect(self.url.replace("+psycopg", "") + "/postgres", autocommit=True) as connection:
            connection.execute(f'CREATE DATABASE "{name}"')
        return f"{self.url}/{name}"

    def remove(self) -> None:
        """Delete its data; it must not run."""
        shutil.rmtree(self._folder)

    def _run(self, program: str, *words: str) -> None:
        environment = {
            "PATH": f"{self._binaries}:/usr/bin:/bin",
            "HOME": str(self._folder),
            "LC_ALL": "C.UTF-8",
            "PGDATA": str(self._folder / "data"),
        }
        owner = {"user": self._user.pw_uid, "group": self._user.pw_gid, "extra_groups": []} if os.getuid() == 0 else {}
        subprocess.run(
            [program, *words], check=True, cwd=self._folder, env=environment, stdout=subprocess.DEVNULL, **owner
        )
