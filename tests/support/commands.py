"""The real command in processes of its own: studies that run, servers, dashboards that are started again."""

import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dashboard_server import OPERATOR, PASSWORD, VIEWER
from sqlalchemy import Engine
from tests_support import ADAI_STUDY

from study.accounts import Account, hash_password
from study.storage.accounts import add_account


@contextmanager
def command_running(*words: str | Path, folder: Path) -> Iterator[subprocess.Popen[str]]:
    """``adai-study`` with these words, until the block ends; what it says on standard error goes to a file."""
    log = folder / f"{words[0]}.log"
    with log.open("ab") as said:
        process = subprocess.Popen(
            [ADAI_STUDY, *map(str, words)], cwd=folder, stdout=subprocess.PIPE, stderr=said, text=True
        )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)
        assert "Traceback" not in log.read_text()


class DashboardCommand:
    """``adai-study dashboard`` of a database, always on the same port and with the same secret.

    Args:
        url: The database.
        folder: For its secret, its log and the reports.
    """

    def __init__(self, url: str, folder: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self._port: int = probe.getsockname()[1]
        self._folder = folder
        (folder / "secret").write_text("the secret of a dashboard that is started again")
        (folder / "secret").chmod(0o600)
        self._words = ["--db", url, "--reports", folder / "reports", "--secret-file", folder / "secret"]
        self.address = f"http://127.0.0.1:{self._port}"

    @contextmanager
    def running(self) -> Iterator[None]:
        """From its first answer until the block ends."""
        words = ["dashboard", "--port", str(self._port), *self._words]
        with command_running(*words, folder=self._folder) as process:
            assert process.stdout is not None
            assert process.stdout.readline().startswith(f"Dashboard: {self.address}")
            yield


def add_users(engine: Engine) -> None:
    """A viewer and an operator, with the password of all users of tests."""
    with engine.begin() as connection:
        add_account(connection, Account(VIEWER, "viewer", hash_password(PASSWORD)))
        add_account(connection, Account(OPERATOR, "operator", hash_password(PASSWORD)))
