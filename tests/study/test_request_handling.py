"""Handlers: what is asked is done, once, by a process that may; what cannot be done is refused with the reason."""

import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from requesting import CONTENT, SPEC, ask, handling_process, kill_now, look, wait_for_end, wait_until
from sqlalchemy import Engine
from tests_support import Command

from study.creation import create_study
from study.driver import Driver
from study.request_handling import Presence, RequestHandler
from study.storage.claims import find_row
from study.storage.engine import create_database
from study.storage.records import find_study
from study.storage.servers import read_living_processes, read_living_servers
from workers.pool import InlinePool

pytestmark = pytest.mark.processes


@pytest.fixture
def engine(any_database_url: str) -> Iterator[Engine]:
    """A database without studies."""
    with create_database(any_database_url) as engine:
        yield engine


def state(engine: Engine, name: str = "small") -> str:
    with engine.connect() as connection:
        return str(find_row(connection, name).state)


def run(engine: Engine) -> None:
    with engine.connect() as connection:
        study = find_study(connection, "small")
    with InlinePool() as pool:
        Driver(engine, study, pool, lambda _: None).run()


def test_studies_are_submitted_cancelled_and_resumed_as_asked(
    engine: Engine, command: Command, any_database_url: str, tmp_path: Path
) -> None:
    with RequestHandler(engine, tmp_path):
        submitted = wait_for_end(engine, ask(engine, "submit"))
        assert submitted.state == "done"
        assert submitted.message == "small: queued, 10 trials; watch it with: adai-study watch small"
        assert state(engine) == "queued"
        again = wait_for_end(engine, ask(engine, "submit"))
        assert (again.state, again.message) == ("done", "small: queued already; nothing was done")
        cancelled = wait_for_end(engine, ask(engine, "cancel", by="bob"))
        assert cancelled.message == "small: cancelled; run the rest with: adai-study resume small"
        assert state(engine) == "cancelled"
        resumed = wait_for_end(engine, ask(engine, "resume"))
        assert resumed.message == "small: queued again; it was cancelled"
        assert state(engine) == "queued"
    with engine.connect() as connection:
        assert find_study(connection, "small").spec.hash == SPEC.hash
    logs = command("logs", "small", "--json", "--db", any_database_url).output
    told = [json.loads(line) for line in logs.splitlines()]
    asked = [(entry["kind"], entry["by"]) for entry in told if entry["event"] == "request_done"]
    assert asked == [("submit", "ann"), ("submit", "ann"), ("cancel", "bob"), ("resume", "ann")]


def test_what_cannot_be_done_is_refused_with_the_reason(engine: Engine, tmp_path: Path) -> None:
    witness = tmp_path / "ran"
    code = {"own.py": f"open({str(witness)!r}, 'w').close()"}
    with RequestHandler(engine, tmp_path / "reports"):
        for kind, spec, words in (
            ("cancel", None, "no study is called 'small'"),
            ("resume", None, "no study is called 'small'"),
            ("report", None, "no study is called 'small'"),
            ("submit", {}, "name: is missing"),
            ("submit", CONTENT | {"workload_files": code, "workloads": ["own"]}, "not taken over the web"),
            ("submit", CONTENT | {"name": "large"}, "the request is of study 'small', its spec of 'large'"),
            ("submit", CONTENT | {"workloads": ["nothing"]}, "unknown workload 'nothing'"),
        ):
            ended = wait_for_end(engine, ask(engine, kind, spec=spec))
            assert ended.state == "refused", ended
            assert words in str(ended.message), ended
        wait_for_end(engine, ask(engine, "submit"))
        other = wait_for_end(engine, ask(engine, "submit", spec=CONTENT | {"seeds": 7}))
        assert "the name 'small' is already used by a study with another spec" in str(other.message)
        early = wait_for_end(engine, ask(engine, "report"))
        assert early.state == "refused"
        assert str(early.message).startswith("no trial of study 'small' has finished, so there is nothing to report")
    assert not witness.exists()
    assert not (tmp_path / "reports").exists()


def test_reports_are_written_one_after_the_other_and_nothing_waits_for_them(engine: Engine, tmp_path: Path) -> None:
    create_study(engine, SPEC)
    run(engine)
    with RequestHandler(engine, tmp_path / "reports"):
        report = ask(engine, "report")
        wait_until(lambda: look(engine, report).state == "taken")
        other = ask(engine, "submit", "other", spec=CONTENT | {"name": "other"})
        assert wait_for_end(engine, other).state == "done"
        assert look(engine, report).state == "taken"
        ended = wait_for_end(engine, report)
    assert ended.message == "small: its report is written"
    assert (tmp_path / "reports" / "small" / "report.html").is_file()


def test_a_report_is_given_up_when_its_handler_ends_and_written_by_the_next(
    engine: Engine, any_database_url: str, tmp_path: Path
) -> None:
    create_study(engine, SPEC)
    run(engine)
    report = ask(engine, "report")
    with RequestHandler(engine, tmp_path / "reports"):
        wait_until(lambda: look(engine, report).state == "taken")
        time.sleep(1)
        began = time.monotonic()
    assert time.monotonic() - began < 8
    assert (look(engine, report).state, look(engine, report).handler) == ("waiting", None)
    assert not (tmp_path / "reports" / "small").exists()
    with handling_process(any_database_url, tmp_path / "reports") as first:
        wait_until(lambda: look(engine, report).state == "taken")
        kill_now(first)
    with handling_process(any_database_url, tmp_path / "reports"):
        assert wait_for_end(engine, report).state == "done"
    assert (tmp_path / "reports" / "small" / "report.html").is_file()


def test_a_report_that_hangs_is_given_up_and_told(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    create_study(engine, SPEC)
    run(engine)
    monkeypatch.setattr("study.request_handling._REPORT_SECONDS", 0.2)
    with RequestHandler(engine, tmp_path / "reports"):
        ended = wait_for_end(engine, ask(engine, "report"))
    assert ended.state == "refused"
    assert str(ended.message).startswith("the report had not ended after")
    assert not (tmp_path / "reports" / "small").exists()


def test_without_a_folder_for_reports_they_are_left_to_others(engine: Engine) -> None:
    report, cancel = ask(engine, "report"), ask(engine, "cancel")
    with RequestHandler(engine, None) as handler:
        wait_for_end(engine, cancel)
        assert handler.count_open() == 0
        time.sleep(1)
    assert look(engine, report).state == "waiting"


def test_two_handlers_at_once_do_each_request_once(engine: Engine, any_database_url: str, tmp_path: Path) -> None:
    with handling_process(any_database_url, tmp_path), handling_process(any_database_url, tmp_path):
        asked = [ask(engine, "submit", f"s{number}", spec=CONTENT | {"name": f"s{number}"}) for number in range(12)]
        ended = [wait_for_end(engine, request) for request in asked]
    assert [request.message for request in ended] == [
        f"s{number}: queued, 10 trials; watch it with: adai-study watch s{number}" for number in range(12)
    ]
    with engine.connect() as connection:
        told = "SELECT COUNT(*) FROM adai_logs WHERE event IN ('study_created', 'request_done') GROUP BY study_id"
        assert connection.execute(sa.text(told)).scalars().all() == [2] * 12


def test_processes_that_handle_give_signs_of_life_and_those_with_workers_are_servers(
    engine: Engine, any_database_url: str, tmp_path: Path
) -> None:
    def living() -> set[str]:
        with engine.connect() as connection:
            return read_living_processes(connection)

    presence = Presence(workers=3, studies=1)
    with handling_process(any_database_url, tmp_path) as other:
        with RequestHandler(engine, None, presence=lambda: presence):
            wait_until(lambda: len(living()) == 2)
            with engine.connect() as connection:
                (server,) = read_living_servers(connection)
            assert (server.workers, server.studies) == (3, 1)
            assert abs((server.seen_at - server.started_at).total_seconds()) < 60
            kill_now(other)
            wait_until(lambda: len(living()) == 1)
        assert living() == set()
    with engine.connect() as connection:
        rows = connection.execute(sa.text("SELECT COUNT(*) FROM adai_servers")).scalar_one()
    assert rows <= 1  # of the killed one, until another process looks


def test_a_handler_ends_though_its_threads_wait(engine: Engine, tmp_path: Path) -> None:
    before = threading.active_count()
    with RequestHandler(engine, tmp_path):
        assert threading.active_count() == before + 3
    assert threading.active_count() == before
