"""Known attacks on the dashboard: spoofed names, forged writes, huge bodies, paths that lead elsewhere."""

import asyncio
import contextlib
import json
import re
import socket
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest
from dashboard_server import OPERATOR, PASSWORD, VIEWER, Served, copy_database, served
from fastapi.sse import EventSourceResponse
from sqlalchemy import text
from starlette.responses import JSONResponse, StreamingResponse

from dashboards.paths import local_path
from dashboards.security.body_limit import MAX_BODY
from dashboards.security.headers import CONTENT_SECURITY_POLICY
from dashboards.security.hosts import split_host
from study.errors import SpecError, StudyBusyError, UnknownStudyError


@pytest.fixture(scope="module")
def dashboard(finished: tuple[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("attacks")
    options = {"hosts": ("studies.example", "other.example:8443")}
    with served(copy_database(finished[0], folder), folder, **options) as running:
        add_routes(running)
        yield running


def add_routes(dashboard: Served) -> None:
    """Routes that fail in every way that a route can, as a route of the application does."""
    problems = {"unknown": UnknownStudyError("no x"), "spec": SpecError("bad"), "busy": StudyBusyError("busy")}
    faults: dict[str, Exception] = {"crash": ValueError("secret detail"), "overflow": OverflowError("too large")}

    def fail(kind: str) -> None:
        raise (problems | faults)[kind]

    def fail_in_sql() -> None:
        with dashboard.context.engine.connect() as connection:
            connection.execute(text("SELECT secret FROM nothing"))

    def tick() -> Iterator[bytes]:
        while True:
            yield b": tick\n\n"
            time.sleep(0.1)

    def hold() -> StreamingResponse:
        return StreamingResponse(tick(), media_type="text/event-stream")

    dashboard.app.add_api_route("/v1/test/fail/{kind}", fail)
    dashboard.app.add_api_route("/v1/test/sql", fail_in_sql)

    async def tick_in_tasks() -> AsyncIterator[str]:
        while True:
            yield "tick"
            await asyncio.sleep(0.1)

    dashboard.app.add_api_route("/v1/test/events", hold)
    dashboard.app.add_api_route("/v1/test/tasks", tick_in_tasks, response_class=EventSourceResponse)
    dashboard.app.add_api_route("/v1/test/long", lambda: JSONResponse(["words"] * 1000))


def raw(dashboard: Served, *lines: str) -> bytes:
    """The answer to lines that no library would send."""
    host, _, port = dashboard.address.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        connection.sendall(("\r\n".join(lines) + "\r\n\r\n").encode())
        return connection.recv(100_000)


@pytest.mark.parametrize("path", ["/", "/v1/me", "/health", "/sign-in", "/api/studies", "/v1/events", "/assets/x"])
@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "evil.example:8080", "other.example:1"])
def test_other_host_names_are_not_answered_even_with_a_session(host: str, path: str, dashboard: Served) -> None:
    with dashboard.session(OPERATOR) as client:
        answer = client.get(path, headers={"Host": host})
        assert answer.status_code == 421
        assert "--allow-host" in answer.json()["detail"]


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "localhost:99", "[::1]:8080", "STUDIES.example", "studies.example.:443", "other.example:8443"]
)
def test_names_that_are_allowed_are_answered(host: str, dashboard: Served) -> None:
    with dashboard.client() as client:
        assert client.get("/health", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    "host", ["", "a b", "user@localhost", "localhost:80:80", "localhost/", "[::1", "localhost:99999"]
)
def test_a_host_header_that_is_none_is_refused(host: str, dashboard: Served) -> None:
    assert b"HTTP/1.1 400 " in raw(dashboard, "GET /health HTTP/1.1", f"Host: {host}")


def test_a_request_without_or_with_two_host_headers_is_refused(dashboard: Served) -> None:
    assert b"HTTP/1.1 400 " in raw(dashboard, "GET /health HTTP/1.0")
    assert b"HTTP/1.1 400 " in raw(dashboard, "GET /health HTTP/1.1", "Host: localhost", "Host: localhost")


def test_hosts_are_split_into_name_and_port() -> None:
    assert split_host("A.b:80") == ("a.b", 80)
    assert split_host("[::1]:80") == ("::1", 80)
    assert split_host("::1") == ("::1", None)
    assert split_host("user@a") is None


FORGED: list[dict[str, str | bytes]] = [
    {},
    {"X-CSRF-Token": ""},
    {"X-CSRF-Token": "x"},
    {"X-CSRF-Token": "é".encode()},
    {"X-CSRF-Token": "A" * 86 + "=="},
]


@pytest.mark.parametrize("headers", FORGED)
def test_a_write_by_cookie_without_the_right_token_is_refused(headers: dict[str, bytes], dashboard: Served) -> None:
    with dashboard.session(OPERATOR, with_csrf=False) as client:
        assert client.post("/v1/tokens", json={"name": "x"}, headers=headers).status_code == 403


def test_the_token_of_another_session_is_refused(dashboard: Served) -> None:
    with dashboard.session(OPERATOR) as mine, dashboard.session(OPERATOR) as other:
        mine.headers["X-CSRF-Token"] = dashboard.csrf_token(other)
        assert mine.post("/v1/tokens", json={"name": "x"}).status_code == 403


def test_the_token_of_a_page_is_another_text_each_time_and_all_of_them_are_taken(dashboard: Served) -> None:
    with dashboard.session(OPERATOR) as client:
        tokens = {dashboard.csrf_token(client) for _ in range(5)}
        assert len(tokens) == 5
        for token in tokens:
            answer = client.post("/v1/tokens", json={"name": "x"}, headers={"X-CSRF-Token": token})
            assert answer.status_code == 201


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:1"},
        {"Origin": "http://127.0.0.1.evil.example"},
        {"Origin": "http://[::1"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
def test_a_write_from_another_site_is_refused_even_with_the_right_token(
    headers: dict[str, str], dashboard: Served
) -> None:
    with dashboard.session(OPERATOR) as client:
        assert client.post("/v1/tokens", json={"name": "x"}, headers=headers).status_code == 403
        assert client.post("/sign-out", headers=headers).status_code == 403
        assert client.get("/v1/me", headers=headers).status_code == 200
    with dashboard.client() as client:
        answer = client.post("/sign-in", data={"name": OPERATOR, "password": PASSWORD}, headers=headers)
        assert answer.status_code == 403


def test_a_write_from_our_own_page_is_done(dashboard: Served) -> None:
    with dashboard.session(OPERATOR) as client:
        headers = {"Origin": dashboard.address, "Sec-Fetch-Site": "same-origin"}
        assert client.post("/v1/tokens", json={"name": "x"}, headers=headers).status_code == 201


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"])
def test_what_a_form_of_another_site_could_send_is_no_json(kind: str, dashboard: Served) -> None:
    body = json.dumps({"name": "x"})
    with dashboard.session(OPERATOR, with_csrf=False) as client:
        assert client.post("/v1/tokens", content=body, headers={"Content-Type": kind}).status_code in (400, 403)
    with dashboard.session(OPERATOR) as client:
        assert client.post("/v1/tokens", content=body, headers={"Content-Type": kind}).status_code == 422


def test_a_form_may_bring_the_token_as_a_field(dashboard: Served) -> None:
    with dashboard.session(OPERATOR, with_csrf=False) as client:
        assert client.post("/sign-out", data={"csrf_token": "x"}).status_code == 403
        token = dashboard.csrf_token(client)
        assert client.post("/sign-out", data={"csrf_token": token}).headers["location"] == "/sign-in"
        assert client.get("/v1/me").status_code == 401
    with dashboard.session(OPERATOR, with_csrf=False) as client:
        files = {"csrf_token": (None, dashboard.csrf_token(client))}
        assert client.post("/sign-out", files=files).headers["location"] == "/sign-in"


PATHS = ["/sign-in", "/v1/tokens", "/api/studies", "/sign-out", "/nothing"]


@pytest.mark.parametrize("path", PATHS)
def test_a_body_of_100_mb_is_refused_by_its_length_before_it_is_read(path: str, dashboard: Served) -> None:
    answer = raw(dashboard, f"POST {path} HTTP/1.1", "Host: localhost", "Content-Length: 100000000")
    assert b"HTTP/1.1 413 " in answer
    assert b"connection: close" in answer.lower()


def test_a_body_in_chunks_is_told_that_it_is_too_large(dashboard: Served) -> None:
    with dashboard.session(OPERATOR) as client:
        half = MAX_BODY // 2
        for size, status in ((half, 422), (MAX_BODY, 413)):
            content = iter([b"x" * half, b"x" * (size - half), b"xx" if size == MAX_BODY else b""])
            answer = client.post("/v1/tokens", content=content, headers={"Content-Type": "application/json"})
            assert answer.status_code == status
            assert answer.headers["content-type"] == "application/problem+json"


TRAVERSALS = [
    "/static/../../../../etc/passwd",
    "/static/%2e%2e/%2e%2e/%2e%2e/etc/passwd",
    "/static/..%2f..%2f..%2f..%2fetc/passwd",
    "/static//etc/passwd",
    "/static/%00",
    "/assets/../app.py",
    "/assets/..%2fapp.py",
    "/assets/%2e%2e%2fapp.py",
    "/assets/%00",
    "/artifacts/1/..%2f..%2fetc%2fpasswd",
    "/csv/..%2f..%2fetc%2fpasswd",
    "/dashboard/../static/../../__init__.py",
]


@pytest.mark.parametrize("path", TRAVERSALS)
def test_no_path_leads_to_other_files(path: str, dashboard: Served) -> None:
    with dashboard.session(VIEWER) as client:
        cookie = "; ".join(f"{name}={value}" for name, value in client.cookies.items())
        answer = raw(dashboard, f"GET {path} HTTP/1.1", "Host: localhost", f"Cookie: {cookie}", "Connection: close")
    assert b"root:" not in answer
    assert b"import" not in answer
    assert re.match(rb"HTTP/1.1 4\d\d", answer) or path.startswith("/dashboard"), answer[:200]


@pytest.mark.parametrize(
    "target",
    [
        "//evil.example",
        "///evil.example",
        "/\\evil.example",
        "\\\\evil.example",
        "https://evil.example",
        "javascript:alert(1)",
        "/\t/evil.example",
        "/\n/evil.example",
        "\t//evil.example",
        " //evil.example",
        "evil.example",
        "/sign-in",
        "/sign-in?next=/",
        "",
        "/" + "x" * 3000,
    ],
)
def test_a_sign_in_leads_to_our_own_pages_only(target: str, dashboard: Served) -> None:
    assert local_path(target) == "/"
    with dashboard.client() as client:
        data = {"name": VIEWER, "password": PASSWORD, "next": target}
        assert client.post("/sign-in", data=data).headers["location"] == "/"
        assert client.get("/sign-in", params={"next": target}).headers["location"] == "/"


def test_a_sign_in_leads_to_where_one_wanted_to_go(dashboard: Served) -> None:
    with dashboard.client() as client:
        location = client.get("/studies/small?metric=val_error&x=lr").headers["location"]
        assert location == "/sign-in?next=%2Fstudies%2Fsmall%3Fmetric%3Dval_error%26x%3Dlr"
        data = {"name": VIEWER, "password": PASSWORD, "next": httpx.URL(location).params["next"]}
        assert client.post("/sign-in", data=data).headers["location"] == "/studies/small?metric=val_error&x=lr"


def test_names_in_addresses_are_shown_as_text(dashboard: Served) -> None:
    with dashboard.session(VIEWER) as client:
        page = client.get("/studies/<script>alert(1)</script>", headers={"Accept": "text/html"})
        assert "<script>alert" not in page.text
    with dashboard.client() as client:
        page = client.get("/sign-in", params={"next": '/"><script>alert(1)</script>'})
        assert "<script>alert" not in page.text


@pytest.mark.parametrize(
    ("path", "status"),
    [("unknown", 404), ("spec", 422), ("busy", 409), ("overflow", 422), ("crash", 500), ("../sql", 503)],
)
def test_errors_are_problems_that_tell_nothing_of_the_program(path: str, status: int, dashboard: Served) -> None:
    with dashboard.session(VIEWER) as client:
        answer = client.get("/v1/test/sql" if "sql" in path else f"/v1/test/fail/{path}")
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert (problem["status"], problem["type"]) == (status, "about:blank")
    assert "Traceback" not in answer.text
    assert "secret" not in answer.text
    assert "SELECT" not in answer.text


def test_an_unexpected_error_is_in_the_log_under_the_id_that_is_told(
    dashboard: Served, caplog: pytest.LogCaptureFixture
) -> None:
    with dashboard.session(VIEWER) as client:
        answer = client.get("/v1/test/fail/crash", headers={"Accept": "text/html"})
    (error_id,) = re.findall(r"[0-9a-f]{12}", answer.text)
    records = [record for record in caplog.records if getattr(record, "error_id", None) == error_id]
    assert [record.exc_info[1].args for record in records if record.exc_info] == [("secret detail",)]  # type: ignore[union-attr]


def test_every_answer_has_the_headers(dashboard: Served) -> None:
    with dashboard.session(VIEWER) as client:
        cases = [
            client.get("/v1/me"),
            client.get("/v1/nothing"),
            client.get("/v1/test/fail/crash"),
            client.get("/v1/me", headers={"Host": "evil.example"}),
            client.post("/v1/tokens", content=b"x" * (MAX_BODY + 1)),
            client.get("/sign-in"),
            client.delete("/api/studies/1"),
            client.get("/api/studies"),
            client.get("/health"),
        ]
    for answer in cases:
        headers = answer.headers
        assert headers["content-security-policy"] == CONTENT_SECURITY_POLICY
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-frame-options"] == "DENY"
        assert headers["referrer-policy"] == "same-origin"
        assert headers["cross-origin-opener-policy"] == "same-origin"
        assert headers["cross-origin-resource-policy"] == "same-origin"
        assert "camera=()" in headers["permissions-policy"]
        assert headers["cache-control"] == "no-store"
        assert "access-control-allow-origin" not in headers
        assert "strict-transport-security" not in headers
        assert "server" not in headers or headers["server"] == "uvicorn"


def test_long_answers_are_compressed_for_those_who_want_it(dashboard: Served) -> None:
    with dashboard.session(VIEWER) as client:
        assert client.get("/v1/test/long").headers["content-encoding"] == "gzip"
        assert "content-encoding" not in client.get("/v1/test/long", headers={"Accept-Encoding": "identity"}).headers
        with client.stream("GET", "/v1/test/events") as answer:
            assert "content-encoding" not in answer.headers
            assert next(answer.iter_raw()) == b": tick\n\n"
        for path in ("/v1/test/events", "/v1/test/tasks"):
            assert client.head(path).headers["content-type"].startswith("text/event-stream")


@pytest.mark.parametrize("path", ["/v1/test/events", "/v1/test/tasks"])
def test_an_event_stream_ends_soon_after_the_sign_out(
    path: str, dashboard: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dashboards.security.gate._RECHECK_SECONDS", 0.2)
    with (
        dashboard.session(VIEWER) as client,
        dashboard.client(cookies=dict(client.cookies)) as other,
        other.stream("GET", path) as answer,
    ):
        chunks = answer.iter_raw()
        next(chunks)
        assert client.post("/sign-out").status_code == 303
        deadline = time.monotonic() + 20
        for _ in chunks:
            assert time.monotonic() < deadline


@contextlib.contextmanager
def without_sessions(dashboard: Served) -> Iterator[None]:
    """A database in which nobody can be looked up for a while."""
    with dashboard.context.engine.begin() as connection:
        connection.execute(text("ALTER TABLE adai_sessions RENAME TO away"))
    try:
        yield
    finally:
        with dashboard.context.engine.begin() as connection:
            connection.execute(text("ALTER TABLE away RENAME TO adai_sessions"))


@pytest.mark.parametrize("path", ["/v1/test/events", "/v1/test/tasks"])
def test_an_event_stream_ends_as_it_should_when_its_reader_cannot_be_looked_up(
    path: str, dashboard: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dashboards.security.gate._RECHECK_SECONDS", 0.2)
    with dashboard.session(VIEWER) as client, client.stream("GET", path) as answer:
        chunks = answer.iter_raw()
        next(chunks)
        with without_sessions(dashboard):
            deadline = time.monotonic() + 20
            for _ in chunks:  # a connection that is cut would raise
                assert time.monotonic() < deadline
        assert client.get("/v1/me").status_code == 200


def test_pages_have_their_style_also_while_nobody_can_be_looked_up(dashboard: Served) -> None:
    with dashboard.session(VIEWER) as client:
        style = re.search(r"/assets/\w+/style\.css", client.get("/").text)
        assert style is not None
        with without_sessions(dashboard):
            assert client.get("/v1/me").status_code in (500, 503)
            assert client.get(style.group()).status_code == 200
            assert client.get("/health").status_code == 200
