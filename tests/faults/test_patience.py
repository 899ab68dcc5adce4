"""Which failures of real databases are waited for, and for how long."""

import socket
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError, OperationalError

import study.storage.engine
from study.storage.engine import create_database
from study.storage.patience import Patience, is_passing


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """SQLite itself waits a moment only."""
    monkeypatch.setattr(study.storage.engine, "_BUSY_SECONDS", 0.1)


@pytest.fixture
def postgresql(postgresql_url: str) -> Iterator[Engine]:
    """An engine on an empty PostgreSQL database."""
    engine = sa.create_engine(postgresql_url, pool_pre_ping=True)
    yield engine
    engine.dispose()


def failure(engine: Engine, work: Callable[[Connection], object]) -> DBAPIError:
    with pytest.raises(DBAPIError) as caught, engine.begin() as connection:
        work(connection)
    return caught.value


def end_connection(connection: Connection) -> None:
    """As a server does that is shut down, or an administrator."""
    pid = connection.execute(sa.text("SELECT pg_backend_pid()")).scalar_one()
    with connection.engine.connect() as other:
        other.execute(sa.text(f"SELECT pg_terminate_backend({pid}, 10000)"))
    connection.execute(sa.text("SELECT 1"))


def test_a_connection_that_the_server_ends_passes(postgresql: Engine) -> None:
    assert is_passing(failure(postgresql, end_connection))


def test_a_server_that_cannot_be_reached_passes() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    engine = sa.create_engine(f"postgresql+psycopg://adai@127.0.0.1:{port}/none")
    assert is_passing(failure(engine, lambda _: None))


def test_a_transaction_that_is_rolled_back_for_others_passes(postgresql: Engine) -> None:
    with postgresql.begin() as connection:
        connection.execute(sa.text("CREATE TABLE counter (value INTEGER)"))
        connection.execute(sa.text("INSERT INTO counter VALUES (0)"))

    def count_beside_another(connection: Connection) -> None:
        connection.execute(sa.text("SET TRANSACTION ISOLATION LEVEL SERIALIZABLE"))
        connection.execute(sa.text("SELECT * FROM counter"))
        with postgresql.begin() as other:
            other.execute(sa.text("UPDATE counter SET value = value + 1"))
        connection.execute(sa.text("UPDATE counter SET value = value + 1"))

    assert is_passing(failure(postgresql, count_beside_another))


@pytest.mark.parametrize("code", ["53100", "53300"])
def test_a_server_that_lacks_room_or_connections_passes(postgresql: Engine, code: str) -> None:
    raised = sa.text(f"DO $$ BEGIN RAISE EXCEPTION 'as the server does' USING ERRCODE = '{code}'; END $$")
    assert is_passing(failure(postgresql, lambda connection: connection.execute(raised)))


def test_a_server_whose_shared_memory_is_too_small_does_not_pass(postgresql: Engine) -> None:
    said = 'could not resize shared memory segment "/PostgreSQL.1" to 8 bytes: No space left on device'
    raised = sa.text(f"DO $$ BEGIN RAISE EXCEPTION '{said}' USING ERRCODE = '53100'; END $$".replace(":", "\\:"))
    assert not is_passing(failure(postgresql, lambda connection: connection.execute(raised)))


@pytest.mark.parametrize(
    "statement",
    ["SELEC 1", "SELECT * FROM nothing", "INSERT INTO adai_trials (id) VALUES (1)", "DELETE FROM adai_environments"],
)
def test_a_mistake_does_not_pass(statement: str, any_database_url: str) -> None:
    with create_database(any_database_url) as engine:
        with engine.begin() as connection:
            connection.execute(sa.text("INSERT INTO adai_environments VALUES (1, 'x', '{}')"))
            connection.execute(
                sa.text(
                    "INSERT INTO adai_studies (id, name, spec, spec_hash, state, environment_id, created_at) "
                    "VALUES (1, 'x', '{}', '', '', 1, '2026-01-01')"
                )
            )
        assert not is_passing(failure(engine, lambda connection: connection.execute(sa.text(statement))))


def test_a_full_disk_of_a_file_does_not_pass(database_url: str) -> None:
    """SQLite gives the error of a full disk for a file that has as many pages as it may have, too."""

    def fill(connection: Connection) -> None:
        connection.execute(sa.text("PRAGMA max_page_count = 1"))
        connection.execute(sa.text("CREATE TABLE filler AS SELECT zeroblob(1000000)"))

    with create_database(database_url) as engine:
        error = failure(engine, fill)
    assert "full" in str(error.orig)
    assert not is_passing(error)


@pytest.mark.usefixtures("impatient")
def test_a_lock_that_another_process_holds_is_waited_for(database_url: str, tmp_path: Path) -> None:
    with create_database(database_url) as engine:
        holder = sqlite3.connect(tmp_path / "study.db", check_same_thread=False, isolation_level=None)
        holder.execute("BEGIN IMMEDIATE")
        tries: list[float] = []

        def release_after_three(seconds: float) -> None:
            tries.append(seconds)
            if len(tries) == 3:
                holder.execute("ROLLBACK")

        patience = Patience(engine, seconds=60, observe=release_after_three)
        patience.transact(lambda c: c.execute(sa.text("INSERT INTO adai_environments VALUES (1, 'x', '{}')")))
        holder.close()
        assert len(tries) == 4
        with engine.connect() as connection:
            assert connection.execute(sa.text("SELECT COUNT(*) FROM adai_environments")).scalar_one() == 1


@pytest.mark.usefixtures("impatient")
def test_a_lock_is_not_waited_for_longer_than_was_said_by_all_threads_together(
    database_url: str, tmp_path: Path
) -> None:
    tries: list[float] = []
    with create_database(database_url) as engine:
        with sqlite3.connect(tmp_path / "study.db", isolation_level=None) as holder:
            holder.execute("BEGIN IMMEDIATE")
            patience = Patience(engine, seconds=0.5, observe=tries.append)

            def write() -> None:
                patience.transact(lambda c: c.execute(sa.text("INSERT INTO adai_environments VALUES (1, 'x', '{}')")))

            with pytest.raises(OperationalError, match="locked"):
                write()
            assert len(tries) > 1
            tries.clear()
            with pytest.raises(OperationalError, match="locked"):
                write()
            assert len(tries) == 1
            holder.execute("ROLLBACK")
            write()
            with sqlite3.connect(tmp_path / "study.db") as reader:
                assert reader.execute("SELECT COUNT(*) FROM adai_environments").fetchone() == (1,)
            reader.close()
        holder.close()
