"""Operators' requests over HTTP, the whole way: asked, handled by a server or the dashboard itself, done."""

import contextlib
import json
import os
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import sqlalchemy as sa
import uvicorn
from fastapi import FastAPI
from requesting import CONTENT, make_asker, wait_until
from tests_support import ADAI_STUDY, SMALL_SPEC

from dashboards.api import requests as routes
from dashboards.api.problems import install_handlers
from dashboards.context import Context, DashboardOptions
from dashboards.request_worker import request_worker
from dashboards.security.principals import Principal, require_operator, require_viewer
from study.creation import create_study
from study.spec_file import parse_spec
from study.storage.engine import create_database, open_database
from study.storage.servers import read_living_processes

pytestmark = pytest.mark.processes

LONG = SMALL_SPEC.replace("epochs = 2", "epochs = 20000")


@dataclass(frozen=True)
class Dashboard:
    """A dashboard that answers."""

    client: httpx.Client
    context: Context

    def post(self, path: str, **content: Any) -> httpx.Response:
        """The answer to a write."""
        return self.client.post(path, json=content)

    def get(self, path: str) -> Any:
        """The JSON of an answer that succeeded."""
        answer = self.client.get(path)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def asked(self, path: str, **content: Any) -> dict[str, Any]:
        """The request that a write made."""
        answer = self.post(path, **content)
        assert answer.status_code == 202, answer.text
        request: dict[str, Any] = answer.json()
        assert answer.headers["location"] == f"/v1/requests/{request['id']}"
        return request

    def end_of(self, request: dict[str, Any], seconds: float = 150) -> dict[str, Any]:
        """The request when it has been done or refused."""
        deadline = time.monotonic() + seconds
        while True:
            now: dict[str, Any] = self.get(f"/v1/requests/{request['id']}")
            if now["finished_at"] is not None:
                return now
            assert time.monotonic() < deadline, now
            time.sleep(0.2)

    def state(self, name: str = "small") -> str:
        """A study's state."""
        query = sa.text("SELECT state FROM adai_studies WHERE name = :name")
        with self.context.engine.connect() as connection:
            return str(connection.execute(query, {"name": name}).scalar_one())


@contextlib.contextmanager
def serving(url: str, reports: Path) -> Iterator[Dashboard]:
    """A real server on 127.0.0.1, where an operator is signed in; it does not handle requests itself."""
    with open_database(url) as engine:
        app = FastAPI()
        app.include_router(routes.router)
        app.state.context = context = Context(engine, DashboardOptions(url, url, reports))
        install_handlers(app)
        operator = Principal("olga", "operator", "token", None)
        app.dependency_overrides = {require_operator: lambda: operator, require_viewer: lambda: operator}
        server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="error"))
        thread = threading.Thread(target=server.run)
        thread.start()
        try:
            wait_until(lambda: server.started)
            port = server.servers[0].sockets[0].getsockname()[1]
            with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:
                yield Dashboard(client, context)
        finally:
            server.should_exit = True
            thread.join()


@pytest.fixture
def dashboard(any_database_url: str, tmp_path: Path) -> Iterator[Dashboard]:
    """A dashboard on an empty database."""
    with create_database(any_database_url), serving(any_database_url, tmp_path / "reports") as dashboard:
        yield dashboard


@contextlib.contextmanager
def server_of(url: str, *words: str) -> "Iterator[subprocess.Popen[str]]":
    """`adai-study serve`, ended at the end of the block."""
    command = [ADAI_STUDY, "serve", "--pool", "inline", "--db", url, "--drain-seconds", "0", *words]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    try:
        yield process
        process.terminate()
        _, log = process.communicate(timeout=60)
        assert process.returncode == 0, log
        assert "Traceback" not in log
    finally:
        process.kill()
        process.communicate()


def test_a_study_that_was_posted_is_run_by_a_server_and_reported(
    dashboard: Dashboard, any_database_url: str, tmp_path: Path
) -> None:
    request = dashboard.asked("/v1/studies", toml=SMALL_SPEC)
    assert (request["kind"], request["study"], request["state"]) == ("submit", "small", "waiting")
    assert request["requested_by"] == "olga"
    words = ["--until-idle", "--out", str(tmp_path / "reports")]
    with server_of(any_database_url, *words) as server:
        ended = dashboard.end_of(request)
        assert ended["state"] == "done"
        assert ended["message"].startswith("small: queued, 10 trials")
        server.wait(timeout=150)
    assert dashboard.state() == "completed"
    assert (tmp_path / "reports" / "small" / "report.html").is_file()
    assert dashboard.get("/v1/requests")["items"] == [ended]


def test_a_running_study_is_cancelled_and_resumed_over_http(dashboard: Dashboard, any_database_url: str) -> None:
    with server_of(any_database_url, "--no-reports"):
        dashboard.asked("/v1/studies", toml=LONG)
        count = sa.text("SELECT COUNT(*) FROM adai_epochs")

        def has_begun() -> bool:
            with dashboard.context.engine.connect() as connection:
                return connection.execute(count).scalar_one() > 0

        wait_until(has_begun, seconds=120)
        refused = dashboard.post("/v1/studies/small/resume")
        assert refused.status_code == 409
        assert (
            refused.json()["detail"] == "study 'small' is running, so there is nothing to resume; allowed now: cancel"
        )
        ended = dashboard.end_of(dashboard.asked("/v1/studies/small/cancel"))
        assert ended["state"] == "done"
        wait_until(lambda: dashboard.state() == "cancelled", seconds=60)
        assert dashboard.post("/v1/studies/small/cancel").status_code == 409
        resumed = dashboard.end_of(dashboard.asked("/v1/studies/small/resume"))
        assert resumed["message"] == "small: queued again; it was cancelled"
        wait_until(lambda: dashboard.state() == "running")
        dashboard.end_of(dashboard.asked("/v1/studies/small/cancel"))
        wait_until(lambda: dashboard.state() == "cancelled", seconds=60)


def test_the_dashboard_itself_handles_requests_where_it_may(dashboard: Dashboard, tmp_path: Path) -> None:
    with request_worker(dashboard.context):
        ended = dashboard.end_of(dashboard.asked("/v1/studies", spec=CONTENT))
        assert ended["state"] == "done"
        assert dashboard.state() == "queued"
        verdict = dashboard.post("/v1/specs/check", toml=SMALL_SPEC).json()
        assert (verdict["already"], verdict["estimate"]["workers"]) == ("queued", None)
    waiting = dashboard.asked("/v1/studies/small/cancel")
    time.sleep(2)
    assert dashboard.get(f"/v1/requests/{waiting['id']}")["state"] == "waiting"
    assert not (tmp_path / "reports").exists()


def test_a_role_that_may_only_ask_asks_and_a_server_does_it(postgresql_url: str, tmp_path: Path) -> None:
    with create_database(postgresql_url) as owner:
        asker = make_asker(postgresql_url)
        with serving(asker, tmp_path) as dashboard, request_worker(dashboard.context):
            request = dashboard.asked("/v1/studies", toml=SMALL_SPEC)
            assert dashboard.asked("/v1/studies", toml=SMALL_SPEC) == request
            time.sleep(3)
            assert dashboard.get(f"/v1/requests/{request['id']}") == request
            with owner.connect() as connection:
                assert read_living_processes(connection) == set()
            with server_of(postgresql_url, "--until-idle", "--no-reports") as server:
                assert dashboard.end_of(request)["state"] == "done"
                server.wait(timeout=120)
            assert dashboard.state() == "completed"


def test_a_verdict_has_the_messages_of_the_command_line_and_writes_nothing(dashboard: Dashboard) -> None:
    valid = dashboard.post("/v1/specs/check", toml=SMALL_SPEC).json()
    assert (valid["valid"], valid["problems"], valid["name"], valid["already"]) == (True, [], "small", None)
    assert (valid["estimate"]["trials"], valid["estimate"]["runs"], valid["estimate"]["run_epochs"]) == (10, 20, 40)
    wrong = dashboard.post("/v1/specs/check", toml=SMALL_SPEC.replace("seeds", "sedes")).json()
    assert not wrong["valid"]
    assert wrong["problems"][0].startswith("sedes: unknown key; did you mean 'seeds'?")
    refused = dashboard.post("/v1/studies", toml=SMALL_SPEC.replace("seeds", "sedes"))
    assert refused.status_code == 422
    assert refused.headers["content-type"] == "application/problem+json"
    assert refused.json()["problems"] == wrong["problems"]
    files = dashboard.post("/v1/studies", toml=f'workload_files = ["/etc/passwd"]\n{SMALL_SPEC}')
    assert files.status_code == 422
    assert "not taken over the web" in files.json()["detail"]
    create_study(dashboard.context.engine, parse_spec(SMALL_SPEC, source="spec"))
    other = dashboard.post("/v1/specs/check", toml=SMALL_SPEC.replace("seeds = 2", "seeds = 3")).json()
    assert (other["valid"], other["name"]) == (False, "small")
    assert other["problems"][0].startswith("the name 'small' is already used by a study with another spec")
    assert dashboard.get("/v1/requests") == {"items": [], "next_cursor": None}


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'{"toml": 3}',
        b'{"toml": "", "code": "x"}',
        b'{"spec": []}',
        b'{"spec": {}}',
        b'{"spec": ' + b'{"a": ' * 5000 + b"1" + b"}" * 5000 + b"}",
        b'{"spec": {"seeds": ' + b"9" * 5000 + b"}}",
        b'{"spec": {"seeds": NaN, "name": 1e999}}',
        b'{"spec": {"name": "\\ud800"}}',
        b'{"toml": "\\ud800"}',
        b'{"toml": "\\u0000"}',
        b'{"toml": "' + b"[" * 90_000 + b'"}',
        b'{"toml": "' + b"a." * 40_000 + b'b = 1"}',
        b"\xff\xfe",
    ],
)
def test_hostile_bodies_are_refused_in_time(dashboard: Dashboard, body: bytes) -> None:
    for path in ("/v1/specs/check", "/v1/studies"):
        began = time.monotonic()
        answer = dashboard.client.post(path, content=body, headers={"Content-Type": "application/json"})
        assert time.monotonic() - began < 4
        refused = answer.status_code in (400, 422)
        assert refused or (path == "/v1/specs/check" and not answer.json()["valid"]), answer.text
    assert dashboard.get("/v1/requests")["items"] == []


def test_what_a_study_does_not_allow_is_refused_with_what_it_does(dashboard: Dashboard) -> None:
    spec = parse_spec(SMALL_SPEC, source="spec")
    study = create_study(dashboard.context.engine, spec)
    set_state = sa.text("UPDATE adai_studies SET state = :state")
    end = sa.text("UPDATE adai_runs SET termination = 'COMPLETED' WHERE trial_id = 1")
    allowed = {
        "planned": ["cancel", "resume"],
        "queued": ["cancel"],
        "running": ["cancel"],
        "cancelling": [],
        "interrupted": ["cancel", "resume"],
        "cancelled": ["resume"],
        "failed": ["cancel", "resume"],
        "completed": [],
    }
    del study
    for has_result in (False, True):
        for state, kinds in allowed.items():
            with dashboard.context.engine.begin() as connection:
                connection.execute(set_state, {"state": state})
                if has_result:
                    connection.execute(end)
            able = [*kinds, "report"] if has_result else kinds
            for kind in ("cancel", "resume", "report"):
                answer = dashboard.post(f"/v1/studies/small/{kind}")
                assert answer.status_code == (202 if kind in able else 409), (state, kind, answer.text)
                if kind not in able:
                    told = f"allowed now: {', '.join(able)}" if able else "nothing is allowed now"
                    assert answer.json()["detail"].endswith(told)
    # Each waits once, however often it was asked for.
    kinds = [request["kind"] for request in dashboard.get("/v1/requests")["items"]]
    assert sorted(kinds) == ["cancel", "report", "resume"]


def test_failed_trials_of_a_completed_study_may_be_resumed(dashboard: Dashboard) -> None:
    create_study(dashboard.context.engine, parse_spec(SMALL_SPEC, source="spec"))
    with dashboard.context.engine.begin() as connection:
        connection.execute(sa.text("UPDATE adai_runs SET termination = 'COMPLETED'"))
        connection.execute(sa.text("UPDATE adai_studies SET state = 'completed'"))
    assert dashboard.post("/v1/studies/small/resume").status_code == 409
    with dashboard.context.engine.begin() as connection:
        connection.execute(sa.text("UPDATE adai_runs SET termination = 'FAILED' WHERE id = 1"))
    dashboard.asked("/v1/studies/small/resume")


def test_what_is_unknown_is_not_found(dashboard: Dashboard) -> None:
    for kind in ("cancel", "resume", "report"):
        answer = dashboard.post(f"/v1/studies/nobody/{kind}")
        assert (answer.status_code, answer.json()["detail"]) == (404, "no study is called 'nobody'")
    assert dashboard.client.get("/v1/requests/17").status_code == 404
    for path in ("/v1/requests/0", f"/v1/requests/{2**40}", "/v1/requests/x", "/v1/requests?cursor=x"):
        assert dashboard.client.get(path).status_code == 422
    assert dashboard.client.post("/v1/studies/..%2Fx/cancel").status_code in (404, 422)


def test_requests_are_paged(dashboard: Dashboard) -> None:
    for number in range(5):
        dashboard.asked("/v1/studies", spec=CONTENT | {"name": f"s{number}"})
    seen, cursor = [], ""
    while True:
        page = dashboard.get(f"/v1/requests?limit=2{cursor}")
        seen += [request["study"] for request in page["items"]]
        if page["next_cursor"] is None:
            break
        cursor = f"&cursor={page['next_cursor']}"
    assert seen == ["s4", "s3", "s2", "s1", "s0"]
    busy = dashboard.post("/v1/studies", spec=CONTENT | {"name": "s1", "seeds": 5})
    assert busy.status_code == 409
    assert "with another spec waits to be submitted" in busy.json()["detail"]


def test_the_command_of_a_report_does_not_show_the_databases_address(
    tmp_path: Path, finished: tuple[str, Path]
) -> None:
    """Everybody on the machine can read the words of a command, and the address may hold a password."""
    path = tmp_path / "study.db"
    path.write_bytes(Path(finished[0].removeprefix("sqlite:///")).read_bytes())
    with serving(f"sqlite:///{path}", tmp_path / "reports") as dashboard, request_worker(dashboard.context):
        request = dashboard.asked("/v1/studies/small/report")
        found: list[str] = []
        wait_until(lambda: found.extend(children_of(os.getpid())) or found)
        assert "report" in found[0]
        assert "study.db" not in found[0]
        ended = dashboard.end_of(request)
    assert ended["message"] == "small: its report is written"
    assert (tmp_path / "reports" / "small" / "report.html").is_file()
    assert json.loads((tmp_path / "reports" / "small" / "manifest.json").read_text())["kind"] == "adai-study report"


def children_of(pid: int) -> list[str]:
    """The command lines of processes that a process has started, those that write reports."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            words = (entry / "cmdline").read_text().replace("\0", " ")
        except OSError:
            continue
        if parent == pid and " report " in words:
            found.append(words)
    return found
