"""Clients that hold connections, ask for ever, or go away: the dashboard serves the others all the same."""

import base64
import contextlib
import datetime as dt
import json
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from dashboard_server import OPERATOR, VIEWER, Served, copy_database, served
from sqlalchemy import insert
from study_pages import add_study

from dashboards.pages.assets import PLOTLY, assets_of
from study.storage.tables import tokens

PATIENCE = 1.0
GET = "GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"
POST = "POST /sign-in HTTP/1.1\r\nHost: localhost\r\n"
FORM = "Content-Type: application/x-www-form-urlencoded\r\n"


@pytest.fixture(scope="module")
def dashboard(finished: tuple[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("connections")
    with served(copy_database(finished[0], folder), folder) as running:
        # A stream that begins has much to tell.
        for number in range(60):
            add_study(running.context.engine, f"study-{number}")
        yield running


@pytest.fixture
def impatient(dashboard: Served, monkeypatch: pytest.MonkeyPatch) -> Served:
    """The dashboard, which waits a moment only."""
    monkeypatch.setattr("dashboards.server.PATIENCE_SECONDS", PATIENCE)
    return dashboard


@contextlib.contextmanager
def connected(dashboard: Served, sent: str, takes: int = 2**12) -> Iterator[socket.socket]:
    """A connection that has room for so many bytes, and on which something was sent."""
    host, _, port = dashboard.address.removeprefix("http://").partition(":")
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, takes)
        connection.settimeout(20)
        connection.connect((host, int(port)))
        connection.sendall(sent.encode())
        yield connection


def read_all(connection: socket.socket) -> bytes:
    """What comes until the other side closes."""
    found = b""
    with contextlib.suppress(ConnectionResetError):
        while piece := connection.recv(65536):
            found += piece
    return found


@pytest.mark.parametrize(
    "sent",
    [
        "",
        "GET /hea",
        "GET /health HTTP/1.1\r\nHost: localhost\r\nX-Header: ",
        f"{POST}{FORM}Content-Length: 1000\r\n\r\nname=",
        f"{POST}{FORM}Transfer-Encoding: chunked\r\n\r\n5\r\nname=\r\n",
        f"{GET}GET /hea",
    ],
)
def test_a_request_that_does_not_arrive_is_not_waited_for(sent: str, impatient: Served) -> None:
    started = time.monotonic()
    with connected(impatient, sent) as connection:
        answer = read_all(connection)
    # Sooner than the time that uvicorn has for connections between two requests.
    assert PATIENCE <= time.monotonic() - started < 4
    assert answer.count(b"HTTP/1.1") == (1 if sent.startswith(GET) else 0)


def test_a_request_that_arrives_in_pieces_is_answered(impatient: Served) -> None:
    with connected(impatient, "") as connection:
        for piece in ("GET /health HTTP/1.1\r\n", "Host: localhost\r\n", "Connection: close\r\n\r\n"):
            time.sleep(PATIENCE / 5)
            connection.sendall(piece.encode())
        assert b"200 OK" in read_all(connection)


def test_an_answer_that_nobody_takes_is_given_up_and_one_that_is_taken_slowly_is_not(impatient: Served) -> None:
    path = assets_of(impatient.context).url(PLOTLY)
    length = len(assets_of(impatient.context).files[PLOTLY].content)
    asked = f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    with connected(impatient, asked) as idle, connected(impatient, asked, 2**14) as slow:
        taken, started = 0, time.monotonic()
        while piece := slow.recv(2**18):
            taken += len(piece)
            if time.monotonic() - started < 3 * PATIENCE:
                time.sleep(PATIENCE / 8)
        assert taken > length
        assert time.monotonic() - started > 3 * PATIENCE
        assert len(read_all(idle)) < length


def test_a_stream_in_which_nothing_happens_goes_on(impatient: Served) -> None:
    with impatient.token(VIEWER, "viewer") as client:
        authorization = client.headers["authorization"]
    asked = f"GET /v1/studies/small/events HTTP/1.1\r\nHost: localhost\r\nAuthorization: {authorization}\r\n\r\n"
    with connected(impatient, asked) as connection:
        connection.settimeout(3 * PATIENCE)
        with pytest.raises(TimeoutError):
            read_all(connection)


def test_a_body_with_two_lengths_is_refused_and_what_follows_is_not_read(dashboard: Served) -> None:
    sent = f"{POST}{FORM}Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{GET}"
    with connected(dashboard, sent) as connection:
        answer = read_all(connection)
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert answer.count(b"HTTP/1.1") == 1


def test_one_user_has_so_many_streams_and_others_have_theirs(
    dashboard: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dashboards.live._MOST_OF_USER", 2)
    with dashboard.session(VIEWER) as client, dashboard.session(OPERATOR) as other, contextlib.ExitStack() as stack:
        for path in ("/v1/events", "/v1/studies/small/events"):
            assert stack.enter_context(client.stream("GET", path)).status_code == 200
        answer = client.get("/v1/events")
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "30")
        assert "2 of them yours" in answer.json()["detail"]
        assert stack.enter_context(other.stream("GET", "/v1/events")).status_code == 200
        monkeypatch.setattr("dashboards.live._MOST_LISTENERS", 3)
        assert other.get("/v1/events").status_code == 503


def test_readers_who_go_away_while_a_stream_begins_are_no_error(
    dashboard: Served, caplog: pytest.LogCaptureFixture
) -> None:
    with dashboard.token(VIEWER, "viewer") as client:
        authorization = client.headers["authorization"]
    asked = f"GET /v1/events HTTP/1.1\r\nHost: localhost\r\nAuthorization: {authorization}\r\n\r\n"
    for number in range(40):
        with connected(dashboard, asked) as connection:
            connection.recv(100)
            time.sleep(0.002 * (number % 10))
    with dashboard.client() as client:
        assert client.get("/health").status_code == 200
    time.sleep(0.5)
    assert [record for record in caplog.records if record.levelname == "ERROR"] == []


@pytest.mark.parametrize(
    ("sort", "key"),
    [
        ("-created", ["studies by time, falling", ["0001-01-01T00:00:00+14:00", 1]]),
        ("created", ["studies by time", ["9999-12-31T23:59:59-12:00", 1]]),
        ("-created", ["studies by time, falling", ["1e400", 1]]),
        ("-created", ["studies by time, falling", ["2026-01-01T00:00:00Z", 2**63]]),
        ("name", ["studies by name", ["\ud800"]]),
        ("name", ["studies by time", ["2026-01-01T00:00:00Z", 1]]),
        ("name", ["studies by name", []]),
        ("name", {}),
    ],
)
def test_a_cursor_that_was_made_up_is_refused(sort: str, key: Any, dashboard: Served) -> None:
    cursor = base64.urlsafe_b64encode(json.dumps(key).encode()).decode()
    with dashboard.session(VIEWER) as client:
        answer = client.get("/v1/studies", params={"sort": sort, "cursor": cursor})
    assert (answer.status_code, answer.json()["title"]) == (400, "Wrong cursor")


def test_tokens_that_are_worth_nothing_do_not_pile_up_in_the_list(dashboard: Served) -> None:
    now = dt.datetime.now(dt.UTC)
    known = {"user_name": VIEWER, "name": "old", "role": "viewer", "created_at": now}
    with dashboard.session(VIEWER) as client:
        assert client.post("/v1/tokens", json={"name": "first"}).status_code == 201
        usable = [token["name"] for token in client.get("/v1/tokens").json()]
        with dashboard.context.engine.begin() as connection:
            rows = [known | {"hash": f"{number:064}", "revoked_at": now} for number in range(300)]
            connection.execute(insert(tokens), rows)
        listed = client.get("/v1/tokens").json()
    assert [token["name"] for token in listed] == ["old"] * 100 + usable
