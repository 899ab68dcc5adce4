"""What tests of requests need: real processes that handle them, and a small study that is there."""

import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
from sqlalchemy import Engine
from tests_support import SMALL_SPEC

from study.spec_file import parse_spec
from study.storage import requests
from study.storage.requests import Kind, Request

SPEC = parse_spec(SMALL_SPEC, source="small")
CONTENT = SPEC.model_dump(mode="json")

_HANDLER = """
import sys, time
from pathlib import Path
from study.request_handling import RequestHandler
from study.storage.engine import open_database

with open_database(sys.argv[1]) as engine, RequestHandler(engine, Path(sys.argv[2])):
    print("ready", flush=True)
    sys.stdin.readline()
"""


@contextmanager
def handling_process(url: str, reports: Path) -> "Iterator[subprocess.Popen[str]]":
    """A process that handles requests until the end of the block, or until it is killed."""
    process = subprocess.Popen(
        [sys.executable, "-c", _HANDLER, url, str(reports)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield process
        if process.poll() is None:
            process.communicate("end\n", timeout=60)
    finally:
        process.kill()
        process.communicate()


def kill_now(process: "subprocess.Popen[str]") -> None:
    """End a process without giving it a chance to tidy up."""
    process.send_signal(signal.SIGKILL)
    process.wait()


def ask(engine: Engine, kind: Kind, study: str = "small", by: str = "ann", spec: object = None) -> Request:
    """Ask in a transaction of its own."""
    content = CONTENT if kind == "submit" and spec is None else spec
    with engine.begin() as connection:
        return requests.ask(connection, kind, study, by, content)  # type: ignore[arg-type]


def look(engine: Engine, request: Request) -> Request:
    """A request as it is now."""
    with engine.connect() as connection:
        found = requests.find_request(connection, request.id)
    assert found is not None
    return found


def wait_for_end(engine: Engine, request: Request, *, seconds: float = 120) -> Request:
    """A request when it has been done or refused."""
    deadline = time.monotonic() + seconds
    while (now := look(engine, request)).finished_at is None:
        assert time.monotonic() < deadline, now
        time.sleep(0.1)
    return now


def wait_until(condition: Callable[[], object], *, seconds: float = 60) -> None:
    """Wait for something that another process does."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def make_asker(url: str) -> str:
    """The address for a role that reads everything, and writes requests only."""
    name = "asker_" + re.sub(r"\W", "_", url.rpartition("/")[2])[:40]
    with psycopg.connect(url.replace("+psycopg", ""), autocommit=True) as connection:
        connection.execute(f"CREATE ROLE {name} LOGIN")
        connection.execute(f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {name}")
        connection.execute(f"GRANT INSERT ON adai_requests TO {name}")
        connection.execute(f"GRANT USAGE ON SEQUENCE adai_requests_id_seq TO {name}")
    return re.sub(r"//[^@]*@", f"//{name}@", url)
