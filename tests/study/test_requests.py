"""The table of requests: each is asked for once, taken by one, done by one."""

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from requesting import CONTENT, ask, handling_process, kill_now, look, make_asker, wait_for_end, wait_until
from sqlalchemy import Engine
from sqlalchemy.exc import ProgrammingError

from study.claim import this_process
from study.errors import StudyBusyError
from study.storage import requests
from study.storage.engine import create_database, open_database

pytestmark = pytest.mark.processes


@pytest.fixture
def engine(any_database_url: str) -> Iterator[Engine]:
    """A database without studies."""
    with create_database(any_database_url) as engine:
        yield engine


def take(engine: Engine, *kinds: requests.Kind) -> requests.Request | None:
    with engine.begin() as connection:
        taken = requests.take_request(connection, kinds or (*requests.QUICK, "report"))
    return None if taken is None else taken[0]


def test_what_waits_is_not_asked_for_twice(engine: Engine) -> None:
    first = ask(engine, "submit")
    assert (first.state, first.kind, first.study, first.requested_by) == ("waiting", "submit", "small", "ann")
    assert ask(engine, "submit", by="bob") == first
    assert ask(engine, "cancel").id != first.id
    assert ask(engine, "cancel", "other").id != first.id
    with pytest.raises(StudyBusyError, match="with another spec waits"):
        ask(engine, "submit", spec=CONTENT | {"seeds": 7})
    assert take(engine) == look(engine, first)
    again = ask(engine, "submit")
    assert again.id != first.id


def test_requests_are_listed_newest_first_and_page_by_page(engine: Engine) -> None:
    ids = [ask(engine, "cancel", f"study-{number}").id for number in range(5)]
    with engine.connect() as connection:
        newest = requests.read_requests(connection, before=None, limit=2)
        rest = requests.read_requests(connection, before=newest[-1].id, limit=10)
    assert [request.id for request in newest + rest] == ids[::-1]


def test_what_is_asked_of_one_study_is_done_in_order_but_nothing_waits_for_reports(engine: Engine) -> None:
    report, submit, cancel = ask(engine, "report"), ask(engine, "submit"), ask(engine, "cancel")
    other = ask(engine, "cancel", "other")
    assert [take(engine, "report"), take(engine, *requests.QUICK)] == [look(engine, report), look(engine, submit)]
    # The cancellation waits for what was asked before it, another study does not.
    assert take(engine, *requests.QUICK) == look(engine, other)
    assert take(engine) is None
    with engine.begin() as connection:
        assert requests.finish_request(connection, submit, "done", "queued")
    assert take(engine) == look(engine, cancel)


def test_only_its_handler_finishes_a_request_and_its_message_can_be_stored(engine: Engine) -> None:
    request = ask(engine, "cancel")
    with engine.begin() as connection:
        assert not requests.finish_request(connection, request, "done", "not taken yet")
    assert take(engine) is not None
    assert look(engine, request).handler == this_process()
    with engine.begin() as connection:
        assert requests.finish_request(connection, request, "refused", "odd \0 \ud800 " + "x" * 10_000)
        assert not requests.finish_request(connection, request, "done", "again")
    message = look(engine, request).message
    assert message is not None
    assert message.startswith("odd \\0 \\ud800 xxx")
    assert len(message) == 4000


_TAKE = """
import sys
from study.storage.engine import open_database
from study.storage.requests import take_request

with open_database(sys.argv[1]) as engine:
    print("ready", flush=True)
    sys.stdin.readline()
    while True:
        with engine.begin() as connection:
            taken = take_request(connection, ("cancel",))
        if taken is None:
            break
        print(taken[0].id, flush=True)
"""


def test_several_processes_take_each_request_once(any_database_url: str, engine: Engine) -> None:
    ids = [ask(engine, "cancel", f"study-{number}").id for number in range(60)]
    words = [sys.executable, "-c", _TAKE, any_database_url]
    takers = [subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    for taker in takers:
        assert taker.stdout is not None
        assert taker.stdout.readline() == "ready\n"
    for taker in takers:
        assert taker.stdin is not None
        taker.stdin.write("go\n")
        taker.stdin.flush()
    taken = [int(line) for taker in takers for line in taker.communicate(timeout=60)[0].split()]
    assert sorted(taken) == ids


def test_a_request_whose_handler_was_killed_is_done_by_another(
    any_database_url: str, engine: Engine, tmp_path: Path
) -> None:
    words = [sys.executable, "-c", _TAKE.replace("print(taken[0].id, flush=True)", "sys.stdin.readline()")]
    request = ask(engine, "cancel", "nobody")
    taker = subprocess.Popen([*words, any_database_url], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert taker.stdin is not None
    taker.stdin.write("go\n")
    taker.stdin.flush()
    wait_until(lambda: look(engine, request).state == "taken")
    with handling_process(any_database_url, tmp_path):
        time.sleep(2)
        handler = look(engine, request).handler
        assert handler is not None
        assert handler.split(":")[1] == str(taker.pid)
        kill_now(taker)
        ended = wait_for_end(engine, request)
    taker.communicate()
    assert ended.state == "refused"
    assert ended.handler != handler
    assert ended.message is not None
    assert ended.message.startswith("no study is called 'nobody'")


def test_requests_taken_elsewhere_are_given_back_when_no_sign_of_life_comes(engine: Engine) -> None:
    request = ask(engine, "cancel")
    claim = "elsewhere#1:17:4711"
    with engine.begin() as connection:
        connection.execute(sa.text("UPDATE adai_requests SET state = 'taken', handler = :claim"), {"claim": claim})
        now = sa.func.current_timestamp()
        row = {"process": claim, "started_at": now, "seen_at": now, "workers": 0, "studies": 0}
        table = requests.requests.metadata.tables["adai_servers"]
        connection.execute(sa.insert(table).values(row))
    with engine.begin() as connection:
        assert requests.give_back_of_the_dead(connection) == 0
        connection.execute(sa.text("UPDATE adai_servers SET seen_at = '2026-01-01 00:00:00+00'"))
    with engine.begin() as connection:
        assert requests.give_back_of_the_dead(connection) == 1
    assert (look(engine, request).state, look(engine, request).handler) == ("waiting", None)


def test_whoever_may_only_ask_may_not_handle(postgresql_url: str) -> None:
    with create_database(postgresql_url) as engine, engine.connect() as connection:
        assert requests.may_handle(connection)
    with open_database(make_asker(postgresql_url)) as asker:
        with asker.connect() as connection:
            assert not requests.may_handle(connection)
        request = ask(asker, "submit")
        assert ask(asker, "submit") == request
        with pytest.raises(ProgrammingError, match="permission denied"):
            take(asker)


def test_an_sqlite_file_that_may_not_be_written_is_only_read(database_url: str) -> None:
    with create_database(database_url) as engine, engine.connect() as connection:
        assert requests.may_handle(connection)
    path = database_url.removeprefix("sqlite:///")
    with open_database(f"sqlite:///file:{path}?mode=ro&uri=true") as engine, engine.connect() as connection:
        assert not requests.may_handle(connection)
