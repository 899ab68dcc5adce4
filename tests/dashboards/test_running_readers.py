"""A study on SQLite runs while many read it: nobody finds the database locked, and its results are those without them.

Driver and dashboard are processes of their own. Readers load pages, lists, landscapes, curves, exports, Optuna
Dashboard and event streams in a loop; one of them also writes: tokens, and with them entries of the audit log.
"""

import contextlib
import json
import os
import re
import socket
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from dashboard_server import PASSWORD
from tests_support import ADAI_STUDY, comparable_tables, count, run_words, wait_for

from study.accounts import Account, hash_password
from study.storage.accounts import add_account
from study.storage.engine import create_database

pytestmark = [pytest.mark.dashboards, pytest.mark.timeout(900)]

SPEC = """
name = "read"
workloads = ["digits-logistic", "digits-mlp"]
seeds = 2
study_seed = 11
epochs = 12

[design]
kind = "sobol"
points = 24

[[optimizers]]
name = "adai"

[[optimizers]]
name = "adam"

[[optimizers]]
name = "sgd"
"""
STUDY = "/v1/studies/read"
#: Each reader takes one after the other, beginning with another one.
PATHS = (
    "/",
    "/studies/read",
    "/studies/read/trials?sort=objective",
    "/studies/read/trials/digits-mlp/adam/0",
    "/studies/read/failures",
    "/v1/studies?sort=state",
    STUDY,
    f"{STUDY}/trials?limit=500",
    f"{STUDY}/runs?limit=1000",
    f"{STUDY}/epochs?limit=10000",
    f"{STUDY}/landscape?workload=digits-mlp&x=lr",
    f"{STUDY}/landscape?workload=digits-logistic&x=lr&y=beta0",
    f"{STUDY}/curves?workload=digits-mlp&choose=latest&count=5",
    f"{STUDY}/logs",
    f"{STUDY}/failures",
    f"{STUDY}/tables/runs.csv",
    "/dashboard",
    "/api/studies",
    "/api/studies/1",
    "/api/studies/1/param_importances",
    "/csv/1",
)
READERS = 6


@dataclass
class Reading:
    """What readers saw.

    Attributes:
        answers: How many of each status.
        wrong: What should not have been.
        ended: Runs that had ended, event by event, as one stream told.
        last: The last event of that stream.
    """

    answers: Counter[int] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    ended: list[int] = field(default_factory=list)
    last: dict[str, Any] = field(default_factory=dict)


def command(words: list[str | Path], log: Path) -> "subprocess.Popen[bytes]":
    """Start the command, with one thread, and what it says in a file."""
    with log.open("wb") as output:
        environment = os.environ | {"OMP_NUM_THREADS": "1"}
        return subprocess.Popen([ADAI_STUDY, *words], env=environment, stdout=output, stderr=output)


@contextlib.contextmanager
def dashboard(url: str, folder: Path) -> Iterator[str]:
    """A dashboard of a database: its address."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    words: list[str | Path] = ["dashboard", "--db", url, "--port", str(port), "--reports", folder / "reports"]
    with command(words, folder / "dashboard.log") as process:
        try:
            wait_for(lambda: process.poll() is not None or is_up(port))
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
        assert process.wait(30) == 0


def is_up(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/health").status_code == 200
    except httpx.TransportError:
        return False


def run_study(url: str, folder: Path) -> "subprocess.Popen[bytes]":
    folder.mkdir(exist_ok=True)
    (folder / "spec.toml").write_text(SPEC)
    return command(run_words(folder / "spec.toml", url), folder / "driver.log")


class Readers:
    """Threads that read, each as a user who has signed in, until the block ends.

    Args:
        address: Of the dashboard.
    """

    def __init__(self, address: str) -> None:
        self.address = address
        self.found = Reading()
        self._stop = threading.Event()
        self._lock = threading.Lock()
        jobs: list[Callable[[httpx.Client], None]] = [self._follow, self._make_tokens]
        jobs += [lambda client, place=place: self._read(client, place) for place in range(READERS)]  # type: ignore[misc]
        self._threads = [threading.Thread(target=self._work, args=(job,)) for job in jobs]

    def __enter__(self) -> "Readers":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(60)

    def _work(self, job: Callable[[httpx.Client], None]) -> None:
        try:
            with httpx.Client(base_url=self.address, timeout=60) as client:
                answer = client.post("/sign-in", data={"name": "otto", "password": PASSWORD})
                assert answer.status_code == 303, answer.text
                (token,) = re.findall(r'name="csrf-token" content="([^"]+)"', client.get("/account").text)
                client.headers["X-CSRF-Token"] = token
                job(client)
        except Exception as error:
            self.found.wrong.append(repr(error))

    def _note(self, answer: httpx.Response, expected: int = 200) -> None:
        with self._lock:
            self.found.answers[answer.status_code] += 1
            if answer.status_code != expected or "locked" in answer.text:
                self.found.wrong.append(f"{answer.request.url}: {answer.status_code} {answer.text[:500]}")

    def _read(self, client: httpx.Client, place: int) -> None:
        while not self._stop.is_set():
            self._note(client.get(PATHS[place % len(PATHS)]))
            place += 1

    def _make_tokens(self, client: httpx.Client) -> None:
        while not self._stop.is_set():
            made = client.post("/v1/tokens", json={"name": "reader"})
            self._note(made, 201)
            self._note(client.delete(f"/v1/tokens/{made.json()['id']}"), 204)
            self._stop.wait(0.05)

    def _follow(self, client: httpx.Client) -> None:
        with client.stream("GET", f"{STUDY}/events") as answer:
            for line in answer.iter_lines():
                if line.startswith("data: ") and "runs_ended" in line:
                    self.found.last = json.loads(line.removeprefix("data: "))
                    self.found.ended.append(self.found.last["runs_ended"])
                if self._stop.is_set() or self.found.last.get("state") == "completed":
                    return


def test_readers_neither_lock_a_running_study_nor_change_its_results(tmp_path: Path) -> None:
    alone, read = f"sqlite:///{tmp_path}/alone.db", f"sqlite:///{tmp_path}/read.db"
    with create_database(read) as engine:
        with engine.begin() as connection:
            add_account(connection, Account("otto", "operator", hash_password(PASSWORD)))
        with dashboard(read, tmp_path) as address, run_study(read, tmp_path / "read") as driver:
            wait_for(lambda: count(tmp_path / "read.db", "SELECT count(*) FROM adai_runs WHERE epochs IS NULL") > 0)
            with Readers(address) as readers:
                assert driver.wait(600) == 0
                # The end is told, too.
                wait_for(lambda: readers.found.last.get("state") == "completed" or bool(readers.found.wrong), 30)
            time.sleep(0.5)
        found = readers.found
        assert found.wrong == []
        assert found.answers.total() > 200
        assert found.ended == sorted(found.ended)
        assert len(set(found.ended)) > 3
        assert (found.last["runs_ended"], found.last["share"]) == (found.last["runs"], 1.0)
        for log in (tmp_path / "read" / "driver.log", tmp_path / "dashboard.log"):
            assert not re.search(r"locked|Traceback|database_away|unexpected_error", log.read_text()), log.read_text()
        with run_study(alone, tmp_path / "alone") as driver:
            assert driver.wait(600) == 0
        with create_database(alone) as undisturbed:
            assert comparable_tables(engine, "read") == comparable_tables(undisturbed, "read")
