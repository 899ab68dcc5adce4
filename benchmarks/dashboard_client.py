"""The dashboard as a process of its own, and those who read it: as quick as can be, for they share its processors.

Run as a program it is many readers at once, until it is told to end; then it prints what they found:
python benchmarks/dashboard_client.py PORT TOKEN STUDY READERS THINK_SECONDS
"""

import asyncio
import contextlib
import json
import os
import random
import secrets
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from study.accounts import Account, hash_password, hash_token_secret, make_token_secret
from study.storage.accounts import add_account, add_token
from study.storage.engine import open_database

COMMAND = Path(sys.executable).parent / "adai-study"
_READY_SECONDS = 120
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back.

    Attributes:
        status: HTTP status.
        first: Seconds until its first byte came.
        whole: Seconds until its last one.
        size: Bytes of the body, compressed as browsers take it.
    """

    status: int
    first: float
    whole: float
    size: int


@dataclass(frozen=True, slots=True)
class Dashboard:
    """A dashboard that runs."""

    port: int
    token: str
    process: int

    def ask(self, path: str) -> Answer:
        """Ask for one thing on a new connection."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=120) as connection:
            started = time.perf_counter()
            connection.sendall(_request(path, self.token, "close"))
            received = connection.recv(2**16)
            first = time.perf_counter() - started
            while piece := connection.recv(2**16):
                received += piece
            whole = time.perf_counter() - started
        head, _, body = received.partition(b"\r\n\r\n")
        return Answer(int(head[9:12]), first, whole, len(body))

    def peak_memory(self) -> int:
        """Bytes of resident memory, at the most so far."""
        return _status(self.process, "VmHWM") * 1024

    def cpu_seconds(self) -> float:
        """Of its process so far."""
        after_name = Path(f"/proc/{self.process}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
        return (int(after_name[11]) + int(after_name[12])) / _TICKS


@contextlib.contextmanager
def serving(url: str, folder: Path) -> Iterator[Dashboard]:
    """Start the dashboard of a database, with a user and a token made for it, and end it."""
    token = _make_token(url)
    secret = folder / f"secret-{secrets.token_hex(4)}"
    secret.write_text(secrets.token_urlsafe(48), encoding="ascii")
    secret.chmod(0o600)
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = int(probe.getsockname()[1])
    words = ["dashboard", "--port", str(port), "--secret-file", secret, "--reports", folder / "reports"]
    environment = os.environ | {"ADAI_DATABASE_URL": url, "OMP_NUM_THREADS": "1"}
    with subprocess.Popen([COMMAND, *words], env=environment, stdout=subprocess.DEVNULL) as process:  # noqa: S603
        try:
            _wait(port)
            yield Dashboard(port, token, process.pid)
        finally:
            process.terminate()


@contextlib.contextmanager
def reading(dashboard: Dashboard, study: str, readers: int, think: float) -> Iterator[dict[str, list[float]]]:
    """Many readers within the block; after it, the seconds of every answer by kind, and ``failed`` ones."""
    words = [sys.executable, __file__, str(dashboard.port), dashboard.token, study, str(readers), str(think)]
    found: dict[str, list[float]] = {}
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:  # noqa: S603 - this program
        try:
            yield found
        finally:
            process.send_signal(signal.SIGTERM)
            found |= json.loads(process.communicate(timeout=60)[0])


def _make_token(url: str) -> str:
    secret, name = make_token_secret(), f"bench{secrets.token_hex(4)}"
    with open_database(url) as engine, engine.begin() as connection:
        add_account(connection, Account(name, "viewer", hash_password(secret)))
        add_token(connection, hash_token_secret(secret), user_name=name, name="b", role="viewer", lifetime=None)
    return secret


def _wait(port: int) -> None:
    deadline = time.monotonic() + _READY_SECONDS
    while True:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5):
                return
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)


def _status(process: int, name: str) -> int:
    lines = Path(f"/proc/{process}/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))


def _request(path: str, token: str, connection: str) -> bytes:
    lines = (
        f"GET {path} HTTP/1.1",
        "Host: localhost",
        f"Authorization: Bearer {token}",
        "Accept: text/html, application/json",
        "Accept-Encoding: gzip",
        f"Connection: {connection}",
    )
    return "\r\n".join([*lines, "", ""]).encode()


def _mix(study: str) -> dict[str, tuple[str, ...]]:
    """What a reader looks at, by kind; each kind is as likely as the others."""
    api, page = f"/v1/studies/{study}", f"/studies/{study}"
    return {
        "list": ("/", "/v1/studies"),
        "study": (page, api),
        "landscape": (f"{page}/landscape", f"{api}/landscape?x=lr", f"{api}/landscape?x=lr&y=beta0&optimizer=adai"),
        "curves": (f"{page}/curves", f"{api}/curves", f"{api}/curves?choose=latest"),
        "trials": (f"{page}/trials", f"{page}/trials?sort=objective", f"{api}/runs"),
        "events": ("/v1/events", f"{api}/events"),
    }


class _Readers:
    def __init__(self, port: int, token: str, study: str, think: float) -> None:
        self._port, self._token, self._think = port, token, think
        self._mix = _mix(study)
        self.found: dict[str, list[float]] = {kind: [] for kind in (*self._mix, "failed")}

    async def read(self, number: int) -> None:
        """One reader: a look, a pause, the next look."""
        chance = random.Random(number)  # noqa: S311 - no secret
        kept: asyncio.StreamWriter | None = None
        await asyncio.sleep(chance.random() * max(self._think, 0.1))
        while True:
            kind = chance.choice(list(self._mix))
            path = chance.choice(self._mix[kind])
            started = time.perf_counter()
            try:
                reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
                writer.write(_request(path, self._token, "close"))
                status = await (self._open_stream(reader) if kind == "events" else self._take(reader))
            except OSError:
                status = 0
            else:
                # As a browser's tab does, a reader keeps one stream open until it opens the next.
                kept, old = (writer, kept) if kind == "events" else (kept, writer)
                if old is not None:
                    old.close()
            if status == 200:
                self.found[kind].append(time.perf_counter() - started)
            else:
                self.found["failed"].append(status)
            await asyncio.sleep(chance.uniform(0.5, 1.5) * self._think)

    @staticmethod
    async def _take(reader: asyncio.StreamReader) -> int:
        answer = await reader.read()
        return int(answer[9:12] or 0)

    @staticmethod
    async def _open_stream(reader: asyncio.StreamReader) -> int:
        """Until the first event has come."""
        answer = b""
        while b"\ndata:" not in answer and (piece := await reader.read(2**16)):
            answer += piece
        return int(answer[9:12] or 0)


async def _read_until_told() -> None:
    port, token, study, readers, think = sys.argv[1:]
    told = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, told.set)
    many = _Readers(int(port), token, study, float(think))
    tasks = [asyncio.create_task(many.read(number)) for number in range(int(readers))]
    await told.wait()
    for task in tasks:
        task.cancel()
    sys.stdout.write(json.dumps(many.found))


if __name__ == "__main__":
    asyncio.run(_read_until_told())
