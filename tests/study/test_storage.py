"""The database: made, checked and refused on SQLite and PostgreSQL."""

import datetime as dt
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from study.errors import DatabaseError, StudyError
from study.storage.engine import (
    create_database,
    database_exists,
    find_revision,
    head_revision,
    open_database,
    upgrade_database,
)
from study.storage.tables import VERSION_TABLE, metadata, studies


def enter(open_it: Callable[[str], Any], url: str) -> None:
    """Call a function that opens a database and, if it gives one to use, use it."""
    opened = open_it(url)
    if opened is not None:
        with opened:
            pass


def test_migrations_make_exactly_the_tables_that_the_code_uses(any_database_url: str) -> None:
    ours = {
        "compare_type": True,
        "version_table": VERSION_TABLE,
        "include_name": lambda name, kind, _: kind != "table" or (name or "").startswith("adai_"),
    }
    with create_database(any_database_url) as engine, engine.connect() as connection:
        differences = compare_metadata(MigrationContext.configure(connection, opts=ours), metadata)
    assert differences == []


def test_our_history_and_optunas_are_kept_apart(any_database_url: str) -> None:
    with create_database(any_database_url) as engine, engine.connect() as connection:
        tables = set(sa.inspect(connection).get_table_names())
        optunas = connection.execute(sa.text("SELECT version_num FROM alembic_version")).scalars().all()
    assert {table for table in tables if table.startswith("adai_")} == {*metadata.tables, VERSION_TABLE}
    assert {"studies", "trials", "trial_params", "trial_values", "trial_intermediate_values"} <= tables
    assert len(optunas) == 1
    assert find_revision(any_database_url) == head_revision()


def test_upgrading_twice_changes_nothing(any_database_url: str) -> None:
    upgrade_database(any_database_url)
    upgrade_database(any_database_url)
    assert find_revision(any_database_url) == head_revision()


def test_sqlite_files_are_in_wal_mode_so_that_dashboards_do_not_block_the_driver(database_url: str) -> None:
    with create_database(database_url) as engine, engine.connect() as connection:
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
        assert connection.exec_driver_sql("PRAGMA foreign_keys").scalar() == 1
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 1


def test_looking_for_a_database_does_not_make_one(tmp_path: Path) -> None:
    path = tmp_path / "none.db"
    assert not database_exists(f"sqlite:///{path}")
    with pytest.raises(DatabaseError, match=r"there is no database at .*none\.db; run a study first"):
        enter(open_database, f"sqlite:///{path}")
    assert not path.exists()


def test_an_empty_database_says_what_to_do(any_database_url: str) -> None:
    if any_database_url.startswith("sqlite"):
        Path(any_database_url.removeprefix("sqlite:///")).touch()
    with pytest.raises(DatabaseError, match="holds no studies yet; run one with"):
        enter(open_database, any_database_url)


def test_a_newer_database_is_refused_and_left_as_it_is(any_database_url: str) -> None:
    with create_database(any_database_url) as engine, engine.begin() as connection:
        connection.execute(sa.text("UPDATE adai_alembic_version SET version_num = '9999'"))
    for open_it in (open_database, create_database, upgrade_database):
        with pytest.raises(DatabaseError, match=r"written by a newer version of adai-study.*9999 is unknown here"):
            enter(open_it, any_database_url)
    assert find_revision(any_database_url) == "9999"


def test_a_crash_while_tables_are_made_leaves_a_database_that_can_be_made(database_url: str) -> None:
    program = """
import os, sys
from alembic import op
from study.storage.engine import upgrade_database
made = op.create_table
def create_table(name, *columns):
    if name == "adai_runs":
        os._exit(9)
    return made(name, *columns)
op.create_table = create_table
upgrade_database(sys.argv[1])
"""
    crashed = subprocess.run([sys.executable, "-c", program, database_url], capture_output=True, text=True)
    assert crashed.returncode == 9, crashed.stderr
    assert find_revision(database_url) is None
    upgrade_database(database_url)
    assert find_revision(database_url) == head_revision()


def test_two_processes_that_make_the_tables_at_once_both_succeed(any_database_url: str) -> None:
    program = "import sys; from study.storage.engine import create_database\nwith create_database(sys.argv[1]): pass"
    words = [sys.executable, "-c", program, any_database_url]
    both = [subprocess.Popen(words, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    assert [(process.communicate()[1], process.returncode) for process in both] == [("", 0), ("", 0)]


def test_a_failure_of_the_database_while_it_is_used_is_explained(database_url: str) -> None:
    with (
        pytest.raises(DatabaseError, match="failed: no such table: missing_table; what was committed before is kept"),
        create_database(database_url) as engine,
        engine.begin() as connection,
    ):
        connection.execute(sa.text("SELECT * FROM missing_table"))


def test_a_database_of_another_optuna_is_refused(database_url: str) -> None:
    with create_database(database_url) as engine, engine.begin() as connection:
        connection.execute(sa.text("DELETE FROM adai_alembic_version"))
        connection.execute(sa.text("UPDATE alembic_version SET version_num = 'v9.0.0.a'"))
    with pytest.raises(DatabaseError, match="the tables cannot be made"):
        upgrade_database(database_url)


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("nonsense:secret@host", "is not a database URL that can be used"),
        ("postgres://host/name", "is not a database URL that can be used"),
        ("mysql+pymysql://host/name", "is not a database URL that can be used|not supported"),
        ("sqlite://", "an SQLite database in memory would be gone at the end"),
        ("sqlite:///:memory:", "an SQLite database in memory would be gone at the end"),
        ("sqlite:////nonexistent/folder/file.db", "the folder /nonexistent/folder of the database does not exist"),
        ("sqlite:////usr", "/usr is a folder, not a database file"),
        ("postgresql+psycopg://user:secret@127.0.0.1:1/name", "cannot be reached"),
    ],
)
def test_a_url_that_cannot_be_used_says_why(url: str, words: str) -> None:
    for open_it in (open_database, create_database):
        with pytest.raises(StudyError, match=words) as caught:
            enter(open_it, url)
        assert "secret" not in str(caught.value)


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "text.db"
    path.write_text("this is a text, much longer than a header of a database file would be" * 50)
    with pytest.raises(DatabaseError, match="not a database"):
        enter(open_database, f"sqlite:///{path}")


def test_times_are_utc_whatever_the_zone_they_were_given_in(any_database_url: str) -> None:
    given = dt.datetime(2026, 1, 2, 3, 4, 5, tzinfo=dt.timezone(dt.timedelta(hours=5)))
    with create_database(any_database_url) as engine, engine.begin() as connection:
        environment = connection.execute(
            sa.insert(metadata.tables["adai_environments"]).values(hash="x", details={}).returning(sa.column("id"))
        ).scalar_one()
        row = {"name": "t", "spec": {}, "spec_hash": "", "state": "", "environment_id": environment}
        connection.execute(sa.insert(studies).values(created_at=given, **row))
        stored = connection.execute(sa.select(studies.c.created_at)).scalar_one()
    assert stored == given
    assert stored.tzinfo is dt.UTC
