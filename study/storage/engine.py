"""Opening the database: reach it, check its version, create or upgrade its tables."""

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import URL, Engine, create_engine, event, func, inspect, make_url, select, text
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, SQLAlchemyError
from sqlalchemy.pool import ConnectionPoolEntry, NullPool

from study.errors import DatabaseError, DatabaseUrlError
from study.storage.tables import HEAD_REVISION, VERSION_TABLE

# Alembic and Optuna (and torch with it) are imported where tables are made: commands that only look start without them.
if TYPE_CHECKING:
    from alembic.config import Config

_MIGRATIONS = Path(__file__).parent / "migrations"
#: How long a writer waits for another one's transaction on SQLite, and how long PostgreSQL may take to answer.
_BUSY_SECONDS = 30
_CONNECT_SECONDS = 5
#: Names our upgrade among PostgreSQL's advisory locks of one database: "adai" in ASCII.
_UPGRADE_LOCK = 0x61646169


@contextlib.contextmanager
def open_database(url: str) -> Iterator[Engine]:
    """An engine on a database that exists and has this version's tables; its connections end with the block.

    Raises:
        DatabaseError: It cannot be reached, is empty, or has an older or newer version.
    """
    with _connect(url) as engine:
        current = current_revision(engine)
        if current is None:
            raise DatabaseError(
                f"{shown(url)} holds no studies yet; run one with `adai-study run SPEC`, or choose another database "
                "with --db"
            )
        _check_revision(current, url)
        try:
            yield engine
        except SQLAlchemyError as error:
            raise DatabaseError(
                f"the database {shown(url)} failed: {_first_line(error)}; what was committed before is kept: "
                "look at the server or the disk, then run the command again"
            ) from error


@contextlib.contextmanager
def create_database(url: str) -> Iterator[Engine]:
    """As :func:`open_database`, but an empty or missing database is filled with our tables and Optuna's.

    Raises:
        DatabaseError: It cannot be reached or filled, or has an older or newer version.
    """
    if not database_exists(url):
        upgrade_database(url)
    with open_database(url) as engine:
        yield engine


def upgrade_database(url: str) -> None:
    """Bring our tables to this version's revision, and create Optuna's where they are missing.

    Of several processes that do so at once, one does it and the others wait for it.

    Raises:
        DatabaseError: It cannot be reached, or is newer than this version.
    """
    with _connect(url, create=True) as engine:
        from optuna.exceptions import StorageInternalError

        try:
            with _alone(engine, url):
                current = current_revision(engine)
                if current is not None and current not in _known_revisions():
                    raise DatabaseError(_newer(current, url))
                _upgrade(engine, url)
        except (SQLAlchemyError, RuntimeError, StorageInternalError) as error:
            raise DatabaseError(f"the tables cannot be made in {shown(url)}: {_first_line(error)}") from error


@contextlib.contextmanager
def _alone(engine: Engine, url: str) -> Iterator[None]:
    """No other process makes or upgrades tables in this database meanwhile; Optuna makes its own without a lock."""
    file = database_file(url)
    if engine.dialect.name == "postgresql":
        with engine.begin() as connection:
            connection.execute(select(func.pg_advisory_xact_lock(_UPGRADE_LOCK)))
            yield
    elif file is not None:
        folder = os.open(file.absolute().parent, os.O_RDONLY)
        try:
            # Of the folder: SQLite's own locks would go with any handle of the file that is closed. File systems that
            # have no locks are refused none of the rest.
            with contextlib.suppress(OSError):
                fcntl.flock(folder, fcntl.LOCK_EX)
            yield
        finally:
            os.close(folder)
    else:
        yield


def _upgrade(engine: Engine, url: str) -> None:
    import optuna
    from alembic import command

    if engine.dialect.name == "sqlite":
        with engine.connect() as connection:
            # Readers (dashboards) then never block the writer; the mode is kept in the file.
            connection.exec_driver_sql("PRAGMA journal_mode=WAL")
    # Its constructor makes Optuna's tables, or refuses those of another Optuna: then nobody could close a pool.
    arguments = engine_arguments(make_url(url)) | {"poolclass": NullPool}
    optuna.storages.RDBStorage(url, engine_kwargs=arguments).remove_session()
    with engine.begin() as connection:
        if engine.dialect.name == "sqlite":
            # Python's driver would commit each table by itself; a crash must leave all tables or none.
            connection.exec_driver_sql("BEGIN IMMEDIATE")
        config = _alembic_config()
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


def database_exists(url: str) -> bool:
    """Whether studies can be looked for in it: false for an SQLite file that is not there yet or has no tables.

    Raises:
        DatabaseError: It cannot be reached.
    """
    path = database_file(url)
    return (path is None or path.exists()) and find_revision(url) is not None


def database_file(url: str) -> Path | None:
    """The file of an SQLite database; None for other databases and for SQLite's own file: URIs.

    Raises:
        DatabaseError: The file is a folder, or its folder does not exist.
    """
    parsed = parse_url(url)
    if parsed.get_backend_name() != "sqlite" or parsed.database is None or parsed.database.startswith("file:"):
        return None
    path = Path(parsed.database)
    if path.is_dir():
        raise DatabaseError(f"{path} is a folder, not a database file; name a file in it with --db sqlite:///FILE")
    if not path.absolute().parent.is_dir():
        raise DatabaseError(f"the folder {path.absolute().parent} of the database does not exist; make it first")
    return path


def current_revision(engine: Engine) -> str | None:
    """The revision of our tables in the database; None if it has none."""
    try:
        with engine.connect() as connection:
            if not inspect(connection).has_table(VERSION_TABLE):
                return None
            return connection.execute(text(f"SELECT version_num FROM {VERSION_TABLE}")).scalar_one_or_none()  # noqa: S608
    except SQLAlchemyError as error:
        raise DatabaseError(f"{shown(engine.url)} cannot be read: {_first_line(error)}") from error


def find_revision(url: str) -> str | None:
    """The revision of our tables in the database at ``url``, whatever it is; None if it has none.

    Raises:
        DatabaseError: It cannot be reached.
    """
    with _connect(url) as engine:
        return current_revision(engine)


def head_revision() -> str:
    """The revision that this version of the program works with."""
    return HEAD_REVISION


def shown(url: str | URL) -> str:
    """The URL as messages show it: without its password."""
    return make_url(url).render_as_string(hide_password=True)


@contextlib.contextmanager
def _connect(url: str, *, create: bool = False) -> Iterator[Engine]:
    """An engine that has been seen to answer; only with ``create`` is a missing SQLite file made."""
    parsed = parse_url(url)
    path = database_file(url)
    if path is not None and not create and not path.exists():
        raise DatabaseError(
            f"there is no database at {path.resolve()}; run a study first (`adai-study run SPEC`), make an empty one "
            "(`adai-study db upgrade`), or say where it is with --db or ADAI_DATABASE_URL"
        )
    # A server has a thread for each study, and each of them a heart.
    engine = create_engine(parsed, max_overflow=-1, **engine_arguments(parsed))
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", configure_sqlite)
    try:
        _check_answers(engine)
        yield engine
    finally:
        engine.dispose()


def _check_answers(engine: Engine) -> None:
    try:
        with engine.connect() as connection:
            inspect(connection).get_table_names()
    except SQLAlchemyError as error:
        raise DatabaseError(
            f"the database {shown(engine.url)} cannot be reached: {_first_line(error)}\n"
            "check the address and that the server runs, or choose another with --db or ADAI_DATABASE_URL"
        ) from error


def parse_url(url: str) -> URL:
    """The parts of a URL of a supported kind.

    Raises:
        DatabaseUrlError: It is none, or a database in memory.
    """
    forms = "write sqlite:///FILE or postgresql+psycopg://USER:PASSWORD@HOST/NAME"
    kind, separator, _ = url.partition("://")
    try:
        parsed = make_url(url)
        parsed.get_dialect()
    except (ArgumentError, NoSuchModuleError, ModuleNotFoundError, ValueError) as error:
        # Only the kind is shown: the rest may hold a password.
        shown_kind = f"{kind}://..." if separator else "what was given"
        raise DatabaseUrlError(f"{shown_kind} is not a database URL that can be used; {forms}") from error
    if parsed.get_backend_name() not in ("sqlite", "postgresql"):
        raise DatabaseUrlError(f"{parsed.get_backend_name()} databases are not supported; {forms}")
    if parsed.get_backend_name() == "sqlite" and parsed.database in (None, "", ":memory:"):
        raise DatabaseUrlError("an SQLite database in memory would be gone at the end; write sqlite:///FILE")
    return parsed


def engine_arguments(url: URL) -> dict[str, object]:
    """What ``create_engine`` is told: how long to wait for a lock or an answer, and to look for dead connections."""
    if url.get_backend_name() == "sqlite":
        return {"connect_args": {"timeout": _BUSY_SECONDS}}
    return {"connect_args": {"connect_timeout": _CONNECT_SECONDS}, "pool_pre_ping": True}


def configure_sqlite(connection: DBAPIConnection, entry: ConnectionPoolEntry) -> None:
    """For SQLAlchemy's event of a new connection."""
    del entry
    cursor = connection.cursor()
    cursor.execute("PRAGMA foreign_keys=ON")
    # With WAL this can lose the last commits in a power cut, never the file; a resume runs them again.
    cursor.execute("PRAGMA synchronous=NORMAL")
    cursor.close()


def _alembic_config() -> "Config":
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config


def _known_revisions() -> set[str]:
    from alembic.script import ScriptDirectory

    return {script.revision for script in ScriptDirectory.from_config(_alembic_config()).walk_revisions()}


def _check_revision(current: str, url: str) -> None:
    if current == head_revision():
        return
    if current in _known_revisions():
        raise DatabaseError(
            f"{shown(url)} has tables of an older version (revision {current}); back it up, then do: "
            "adai-study db upgrade"
        )
    raise DatabaseError(_newer(current, url))


def _newer(current: str, url: str) -> str:
    return (
        f"{shown(url)} was written by a newer version of adai-study (its revision {current} is unknown here, "
        f"this version knows up to {head_revision()}); upgrade adai-study, or choose another database with --db"
    )


def _first_line(error: BaseException) -> str:
    """What the driver says, without SQLAlchemy's statement and link."""
    original = getattr(error, "orig", None) or error
    lines = str(original).strip().splitlines()
    return lines[0] if lines else type(original).__name__
