"""Optuna's own tests of a storage, over ours, on SQLite and on PostgreSQL."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from optuna.testing.pytest_storages import StorageTestCase
from postgresql_server import PostgresqlServer

from study.storage.batch_storage import BatchStorage


@pytest.fixture(scope="module")
def optuna_database(postgresql_server: PostgresqlServer) -> str:
    """One database for all tests: to make one takes longer than most of them."""
    return postgresql_server.create_database("optuna_storage_tests")


@contextlib.contextmanager
def opened(url: str) -> Iterator[BatchStorage]:
    """A storage whose connections end with the block, and those of the copy that Optuna's test of pickle makes."""
    engines: set[sa.Engine] = set()

    def remember(connection: sa.Connection) -> None:
        engines.add(connection.engine)

    sa.event.listen(sa.Engine, "engine_connect", remember)
    storage = BatchStorage(url)
    try:
        yield storage
    finally:
        sa.event.remove(sa.Engine, "engine_connect", remember)
        storage.remove_session()
        for engine in engines:
            engine.dispose()


class TestOnSqlite(StorageTestCase):
    """A file for each test."""

    @pytest.fixture
    def storage(self, tmp_path: Path) -> Iterator[BatchStorage]:
        """An empty storage."""
        with opened(f"sqlite:///{tmp_path}/optuna.db") as storage:
            yield storage


class TestOnPostgresql(StorageTestCase):
    """One database, emptied for each test."""

    @pytest.fixture
    def storage(self, optuna_database: str) -> Iterator[BatchStorage]:
        """An empty storage."""
        with opened(optuna_database) as storage:
            with storage.engine.begin() as connection:
                connection.exec_driver_sql("TRUNCATE studies RESTART IDENTITY CASCADE")
            yield storage
