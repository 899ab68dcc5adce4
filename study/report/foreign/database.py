"""Reads Optuna studies of any database that Optuna writes, and changes nothing there."""

import contextlib
import json
import logging
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import optuna.storages._rdb
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from optuna.storages._rdb import models
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial
from sqlalchemy import URL, Connection, Engine, Table, create_engine, event, inspect, select, text
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import ConnectionPoolEntry, NullPool

from study.errors import DatabaseError, DatabaseUrlError
from study.report.foreign.files import copy_sqlite
from study.storage.engine import engine_arguments, shown
from study.storage.optuna_trials import read_frozen_trials

_FORMS = "write sqlite:///FILE, postgresql+psycopg://USER:PASSWORD@HOST/NAME, mysql+pymysql://..., or journal:FILE"
#: Where Optuna keeps the revision of its tables.
_VERSION_TABLE = "alembic_version"

_studies: Table = models.StudyModel.__table__
_directions: Table = models.StudyDirectionModel.__table__
_user_attributes: Table = models.StudyUserAttributeModel.__table__
_system_attributes: Table = models.StudySystemAttributeModel.__table__


@dataclass(frozen=True, eq=False)
class ForeignStudy:
    """An Optuna study as it is stored.

    Attributes:
        name: Its name.
        directions: One for each objective.
        user_attributes: What its author noted.
        system_attributes: What Optuna and its samplers noted.
        trials: In the order of their numbers, in any state.
    """

    name: str
    directions: tuple[StudyDirection, ...]
    user_attributes: dict[str, Any]
    system_attributes: dict[str, Any]
    trials: Sequence[FrozenTrial]


@dataclass(frozen=True)
class DatabaseReader:
    """Reads studies over one connection, which sees one moment of the database.

    Args:
        connection: In a transaction that cannot write.
    """

    connection: Connection

    def list_names(self) -> list[str]:
        """All studies, in the order in which they were made."""
        return list(self.connection.execute(select(_studies.c.study_name).order_by(_studies.c.study_id)).scalars())

    def read(self, name: str) -> ForeignStudy:
        """A study that exists; ten queries, however many trials it has."""
        found = select(_studies.c.study_id).where(_studies.c.study_name == name)
        study_id = int(self.connection.execute(found).scalar_one())
        directions = select(_directions.c.direction).where(_directions.c.study_id == study_id)
        return ForeignStudy(
            name=name,
            directions=tuple(self.connection.execute(directions.order_by(_directions.c.objective)).scalars()),
            user_attributes=self._attributes(_user_attributes, study_id),
            system_attributes=self._attributes(_system_attributes, study_id),
            trials=read_frozen_trials(self.connection, study_id),
        )

    def _attributes(self, table: Table, study_id: int) -> dict[str, Any]:
        rows = self.connection.execute(select(table.c.key, table.c.value_json).where(table.c.study_id == study_id))
        return {key: json.loads(value) for key, value in rows}


@contextlib.contextmanager
def open_database(url: URL) -> Iterator[DatabaseReader]:
    """A reader of the studies in a database.

    SQLite is read from a private copy, so that whoever writes it waits no longer than the copying takes, and nothing
    can be written; on a server, the transaction is one that cannot write.

    Raises:
        DatabaseUrlError: It is of no kind that Optuna writes, or its driver is not installed.
        DatabaseError: It cannot be reached, has no Optuna studies, or is of another version of Optuna.
    """
    try:
        with _connect(url) as connection:
            _check_version(connection, url)
            yield DatabaseReader(connection)
    except SQLAlchemyError as error:
        raise DatabaseError(f"the database {shown(url)} cannot be read: {_first_line(error)}") from error


def sqlite_file(url: URL) -> Path:
    """The file of an SQLite URL, with or without SQLite's own ``file:`` form.

    Raises:
        DatabaseUrlError: The database is in memory.
    """
    name = url.database or ""
    if name.startswith("file:"):
        name = unquote(name.removeprefix("file:").partition("?")[0])
    if name in ("", ":memory:"):
        raise DatabaseUrlError("an SQLite database in memory is nobody else's; write sqlite:///FILE")
    return Path(name)


@contextlib.contextmanager
def _connect(url: URL) -> Iterator[Connection]:
    if url.get_backend_name() != "sqlite":
        engine = _open_server(url)
        # Snapshot: all queries see the same moment, and a trial that ends meanwhile is not half of each.
        options: dict[str, Any] = {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
        with engine.connect().execution_options(**options) as connection:
            yield connection
        return
    with tempfile.TemporaryDirectory(prefix="adai-optuna-") as folder:
        copy = Path(folder) / "copy.db"
        copy_sqlite(sqlite_file(url), copy)
        address = URL.create("sqlite", database=str(copy))
        engine = create_engine(address, poolclass=NullPool)
        with engine.connect() as connection:
            revision = _find_revision(connection)
        if revision != _head() and revision in _known_revisions():
            _upgrade(address)
        with engine.connect() as connection:
            yield connection


def _open_server(url: URL) -> Engine:
    if url.get_backend_name() not in ("postgresql", "mysql", "mariadb"):
        raise DatabaseUrlError(f"{url.get_backend_name()} databases are not supported; {_FORMS}")
    try:
        engine = create_engine(url, **engine_arguments(url) | {"poolclass": NullPool, "pool_pre_ping": False})
    except ModuleNotFoundError as error:
        raise DatabaseUrlError(
            f"the driver of {url.drivername}:// is not installed ({error.name}); {_FORMS}"
        ) from error
    if engine.dialect.name != "postgresql":
        event.listen(engine, "connect", _forbid_writing)
    return engine


def _forbid_writing(connection: DBAPIConnection, entry: ConnectionPoolEntry) -> None:
    """For SQLAlchemy's event of a new connection to MySQL or MariaDB."""
    del entry
    cursor = connection.cursor()
    cursor.execute("SET SESSION TRANSACTION READ ONLY")
    cursor.close()


def _check_version(connection: Connection, url: URL) -> None:
    revision = _find_revision(connection)
    if revision == _head():
        return
    if revision is None or not inspect(connection).has_table(_studies.name):
        raise DatabaseError(f"{shown(url)} holds no Optuna studies")
    if revision in _known_revisions():
        raise DatabaseError(
            f"{shown(url)} has the tables of an older Optuna (revision {revision}), and this command writes nothing; "
            "upgrade a copy of it with `optuna storage upgrade --storage URL`"
        )
    raise DatabaseError(
        f"{shown(url)} was written by a newer Optuna (its revision {revision} is unknown to {optuna.__version__}); "
        "copy its studies with `optuna.copy_study` into a journal file of this version"
    )


def _find_revision(connection: Connection) -> str | None:
    """The revision of Optuna's tables; None if there are none."""
    if not inspect(connection).has_table(_VERSION_TABLE):
        return None
    return connection.execute(text(f"SELECT version_num FROM {_VERSION_TABLE}")).scalar_one_or_none()  # noqa: S608


def _upgrade(copy: URL) -> None:
    """Bring the tables of a private copy to the installed Optuna's revision."""
    config = _alembic_config()
    config.set_main_option("sqlalchemy.url", copy.render_as_string(hide_password=False).replace("%", "%%"))
    # Where nobody has set up logging, Optuna's migrations do, and print what they do.
    silent = logging.NullHandler()
    logging.getLogger().addHandler(silent)
    try:
        with warnings.catch_warnings():
            # They read distributions that have other names today.
            warnings.simplefilter("ignore", FutureWarning)
            command.upgrade(config, "head")
    finally:
        logging.getLogger().removeHandler(silent)


def _alembic_config() -> Config:
    """Of Optuna's own migrations."""
    config = Config()
    folder = Path(optuna.storages._rdb.__file__ or "").parent / "alembic"
    config.set_main_option("script_location", str(folder).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config


def _scripts() -> ScriptDirectory:
    return ScriptDirectory.from_config(_alembic_config())


def _head() -> str | None:
    """The revision that the installed Optuna works with."""
    return _scripts().get_current_head()


def _known_revisions() -> set[str]:
    return {script.revision for script in _scripts().walk_revisions()}


def _first_line(error: SQLAlchemyError) -> str:
    """What the driver says, without SQLAlchemy's statement and link."""
    lines = str(getattr(error, "orig", None) or error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
