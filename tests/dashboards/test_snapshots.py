"""What studies look like to all who ask: summed up once, anew when something has changed, and never wrong for long."""

import datetime as dt
import json
import shutil
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from listed_studies import change_study, list_study, record_standings
from recorded_studies import record_study
from sqlalchemy import Engine

import dashboards.snapshots
from dashboards.snapshots import Snapshots
from study.errors import UnknownStudyError
from study.storage.engine import create_database, open_database
from study.storage.logs import log_event
from study.storage.progress import read_progress
from study.storage.records import find_study
from study.storage.tables import logs, runs, studies

DRIVER = "host#1:77:5"


@pytest.fixture
def engine(any_database_url: str) -> Iterator[Engine]:
    """An empty database of each supported kind."""
    with create_database(any_database_url) as engine:
        yield engine


@pytest.fixture
def statements(engine: Engine) -> list[str]:
    """Every statement that is sent to the database from now on."""
    found: list[str] = []

    def note(connection: object, cursor: object, statement: str, *rest: object) -> None:
        del connection, cursor, rest
        found.append(statement)

    sa.event.listen(engine, "before_cursor_execute", note)
    return found


def sums(statements: list[str]) -> int:
    """How often runs were summed up."""
    return sum("adai_runs" in statement and "GROUP BY" in statement for statement in statements)


def end_a_run(engine: Engine, study_id: int, **columns: Any) -> None:
    """One more, as a driver's transaction does."""
    with engine.begin() as connection:
        run = "SELECT MIN(r.id) FROM adai_runs r JOIN adai_trials t ON t.id = r.trial_id WHERE r.termination IS NULL"
        key = connection.execute(sa.text(f"{run} AND t.study_id = {study_id}")).scalar_one()
        connection.execute(sa.update(runs).where(runs.c.id == key).values(termination="COMPLETED", objective=0.5))
        change_study(connection, study_id, **columns)


def test_a_summary_is_what_the_counts_of_its_parts_give(engine: Engine, tmp_path: Path) -> None:
    record_standings(engine)
    with engine.connect() as connection:
        parts = read_progress(connection, "small")
    summary = Snapshots(engine, tmp_path).summary("small")
    assert (summary.trials, summary.runs) == (30, 60)
    assert summary.runs_ended == sum(part.ended for part in parts)
    assert summary.share == summary.runs_ended / 60
    assert (summary.diverged, summary.failed, summary.pruned) == (12, 12, 12)
    assert {(best.optimizer, best.objective) for best in summary.best} == {
        (part.optimizer, part.best_objective) for part in parts
    }
    assert (summary.rate, summary.seconds_left, summary.driver, summary.error) == (None, None, None, None)


def test_a_detail_has_its_spec_its_parts_and_where_it_was_made(engine: Engine, tmp_path: Path) -> None:
    record_study(engine)
    snapshots = Snapshots(engine, tmp_path)
    detail = snapshots.detail("small")
    with engine.connect() as connection:
        study = find_study(connection, "small")
    assert detail.spec == study.spec.model_dump(mode="json")
    assert detail.spec_hash == study.spec.hash
    assert detail.environment == study.environment
    assert (detail.design, detail.seeds, detail.workloads) == ("4 sobol points", 2, ["digits-logistic"])
    assert [optimizer.name for optimizer in detail.optimizers] == ["adai", "sgd"]
    axis = detail.optimizers[0].axes[0]
    assert (axis.name, axis.scale, axis.choices, axis.conditional) == ("lr", "log", [], False)
    assert [cell.optimizer for cell in detail.cells] == ["adai", "sgd"]
    assert detail.report is None
    assert dict(snapshots.summary("small")) == {
        name: getattr(detail, name) for name in dict(snapshots.summary("small"))
    }
    with pytest.raises(UnknownStudyError):
        snapshots.detail("none")


def test_a_study_that_rests_is_summed_up_once(engine: Engine, tmp_path: Path, statements: list[str]) -> None:
    study = record_study(engine)
    statements.clear()
    snapshots = Snapshots(engine, tmp_path)
    for _ in range(3):
        snapshots.summary("small")
        snapshots.detail("small")
        snapshots.page("", [], "name", None, 10)
    assert sums(statements) == 1
    with engine.begin() as connection:
        change_study(connection, study.id, state="cancelled")
    assert snapshots.summary("small").state == "cancelled"
    assert sums(statements) == 2


def test_a_study_that_runs_is_summed_up_about_once_a_second(
    engine: Engine, tmp_path: Path, statements: list[str]
) -> None:
    study = record_study(engine)
    with engine.begin() as connection:
        change_study(connection, study.id, state="running", driver=DRIVER)
    snapshots = Snapshots(engine, tmp_path)
    first = snapshots.summary("small")
    statements.clear()
    end_a_run(engine, study.id)
    assert snapshots.summary("small").runs_ended == first.runs_ended
    assert not snapshots.has(study.id, beat=2)
    deadline = time.monotonic() + 10
    while snapshots.summary("small").runs_ended == first.runs_ended:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert snapshots.summary("small").runs_ended == first.runs_ended + 1
    assert snapshots.has(study.id, beat=2)
    assert sums(statements) == 1


def test_what_is_told_of_the_end_is_never_old(engine: Engine, tmp_path: Path) -> None:
    study = record_study(engine)
    with engine.begin() as connection:
        change_study(connection, study.id, state="running", driver=DRIVER)
    snapshots = Snapshots(engine, tmp_path)
    before = snapshots.summary("small")
    end_a_run(engine, study.id, state="completed", driver=None)
    after = snapshots.summary("small")
    assert (after.state, after.runs_ended) == ("completed", before.runs_ended + 1)


def test_many_who_ask_at_once_are_served_by_one_look(engine: Engine, tmp_path: Path, statements: list[str]) -> None:
    for name in ("small", "other"):
        record_study(engine, name)
    statements.clear()
    snapshots = Snapshots(engine, tmp_path)
    gate = threading.Barrier(16)

    def ask(number: int) -> int:
        gate.wait()
        if number % 2:
            return snapshots.summary("small").runs_ended
        return snapshots.page("", [], "-name", None, 10).items[0].runs_ended

    with ThreadPoolExecutor(16) as pool:
        assert len(set(pool.map(ask, range(16)))) == 1
    assert sums(statements) <= 2  # one for a study alone, one for the other


def test_a_look_that_fails_keeps_nobody_waiting(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record_study(engine)
    snapshots = Snapshots(engine, tmp_path)
    read, failing = dashboards.snapshots.read_progress, threading.Event()

    def fail_once(*arguments: Any, **named: Any) -> Any:
        if not failing.is_set():
            failing.set()
            time.sleep(0.2)
            raise sa.exc.OperationalError("look", {}, Exception("away"))
        return read(*arguments, **named)

    monkeypatch.setattr(dashboards.snapshots, "read_progress", fail_once)
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(snapshots.summary, "small")
        failing.wait()
        second = pool.submit(snapshots.summary, "small")
        assert second.result(timeout=20).trials == 10
        with pytest.raises(sa.exc.OperationalError):
            first.result(timeout=20)


def test_the_rate_of_a_running_study_says_how_long_it_takes(engine: Engine, tmp_path: Path) -> None:
    study = record_standings(engine)
    with engine.begin() as connection:
        change_study(connection, study.id, state="running", driver=DRIVER)
        log_event(connection, study.id, "study_started")
        log_event(connection, study.id, "attempt_finished", trials_ended=12)
        started = sa.select(sa.func.max(logs.c.id)).where(logs.c.event == "study_started").scalar_subquery()
        at = dt.datetime.now(dt.UTC) - dt.timedelta(seconds=24)
        connection.execute(sa.update(logs).where(logs.c.id == started).values(at=at))
    snapshots = Snapshots(engine, tmp_path)
    summary = snapshots.summary("small")
    assert summary.rate == pytest.approx(0.5, rel=0.05)
    assert summary.seconds_left == pytest.approx((summary.trials - summary.trials_ended) / summary.rate)
    assert summary.driver == "process 77 on host"
    with engine.begin() as connection:
        change_study(connection, study.id, state="interrupted", driver=None)
    stopped = snapshots.summary("small")
    assert (stopped.rate, stopped.seconds_left, stopped.driver) == (None, None, None)


def test_a_study_without_trials_and_numbers_that_are_not_finite_are_shown(engine: Engine, tmp_path: Path) -> None:
    study = record_study(engine)
    with engine.begin() as connection:
        list_study(connection, "empty", description="none yet")
        infinite = sa.update(runs).values(objective=float("inf"), termination="COMPLETED")
        connection.execute(infinite)
    snapshots = Snapshots(engine, tmp_path)
    empty = snapshots.summary("empty")
    assert (empty.trials, empty.runs, empty.share, empty.best, empty.description) == (0, 0, 0.0, [], "none yet")
    assert snapshots.summary("small").best == []
    assert json.loads(snapshots.detail("small").model_dump_json())["cells"][0]["best_objective"] is None
    assert study.name == "small"


def test_pages_know_only_what_they_show(engine: Engine, tmp_path: Path, statements: list[str]) -> None:
    with engine.begin() as connection:
        for number in range(30):
            list_study(connection, f"s{number:02}", state="completed" if number % 2 else "planned")
    snapshots = Snapshots(engine, tmp_path)
    statements.clear()
    names: list[str] = []
    cursor: str | None = None
    while True:
        page = snapshots.page("s", ["completed"], "-name", cursor, 4)
        names += [study.name for study in page.items]
        assert page.total == 15
        cursor = page.next_cursor
        if cursor is None:
            break
    assert names == [f"s{number:02}" for number in range(29, 0, -2)]
    assert len(statements) == 4 * 3


def test_the_report_says_of_when_it_is(finished: tuple[str, Path], tmp_path: Path) -> None:
    url, report = finished
    shutil.copytree(report, tmp_path / "small")
    copy = tmp_path / "study.db"
    shutil.copy(url.removeprefix("sqlite:///"), copy)
    with open_database(f"sqlite:///{copy}") as engine:
        snapshots = Snapshots(engine, tmp_path)
        info = snapshots.detail("small").report
        assert info is not None
        assert (info.state, info.runs_ended, info.is_current) == ("completed", 20, True)
        files = [path for path in (tmp_path / "small").rglob("*") if path.is_file()]
        assert (info.files, info.bytes) == (len(files), sum(path.stat().st_size for path in files))
        with engine.begin() as connection:
            last = sa.select(sa.func.max(runs.c.id)).scalar_subquery()
            connection.execute(sa.update(runs).where(runs.c.id == last).values(termination=None))
            change_study(connection, 1, state="running", driver=DRIVER)
        later = snapshots.detail("small").report
        assert later is not None
        assert not later.is_current
        with engine.begin() as connection:
            connection.execute(sa.update(studies).values(spec_hash="1" * 64))
        assert snapshots.detail("small").report is None
        with engine.begin() as connection:
            connection.execute(sa.update(studies).values(spec_hash=find_study(connection, "small").spec.hash))
        (tmp_path / "small" / "manifest.json").write_text('{"kind": "adai-study report", "files": {}}')
        assert snapshots.detail("small").report is None
        (tmp_path / "small" / "manifest.json").unlink()
        assert snapshots.detail("small").report is None
