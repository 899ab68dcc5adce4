"""Opens whatever holds Optuna studies, a database or a journal file, and reads those that were asked for."""

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol

from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from sqlalchemy import URL
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError

from study.errors import DatabaseError, DatabaseUrlError, RequestError, UnknownStudyError
from study.report.foreign.database import ForeignStudy, open_database, sqlite_file
from study.report.foreign.files import SQLITE_MAGIC
from study.storage.engine import shown

#: Names of studies that a message lists.
_LISTED = 20


class Reader(Protocol):
    """What reads studies."""

    def list_names(self) -> list[str]:
        """All studies, in the order in which they were made."""
        ...

    def read(self, name: str) -> ForeignStudy:
        """A study that exists."""
        ...


class JournalReader:
    """Reads the studies of a journal file; Optuna locks it for writing only, so nobody waits for a reader.

    Args:
        file: It exists; Optuna would make it.
    """

    def __init__(self, file: Path) -> None:
        self._storage = JournalStorage(JournalFileBackend(str(file)))
        self._studies = {study.study_name: study for study in self._storage.get_all_studies()}

    def list_names(self) -> list[str]:
        """All studies, in the order in which they were made."""
        return list(self._studies)

    def read(self, name: str) -> ForeignStudy:
        """A study that exists."""
        study = self._studies[name]
        return ForeignStudy(
            name=name,
            directions=tuple(study.directions),
            user_attributes=study.user_attrs,
            system_attributes=study.system_attrs,
            trials=self._storage.get_all_trials(study._study_id, deepcopy=False),
        )


def read_studies(url: str, names: Sequence[str]) -> list[ForeignStudy]:
    """The studies called ``names``, in that order, or the only one that there is.

    Args:
        url: SQLAlchemy's URL of a database, ``journal:FILE``, or the path of a journal file or SQLite database.
        names: None means the only study.

    Raises:
        DatabaseUrlError: The URL is of no kind that Optuna writes.
        DatabaseError: Nothing can be read there.
        UnknownStudyError: There is no study of that name.
        RequestError: There are several studies, and none was named.
    """
    with _open(url) as (reader, place):
        chosen = _choose(reader.list_names(), list(dict.fromkeys(names)), place)
        return [reader.read(name) for name in chosen]


@contextlib.contextmanager
def _open(url: str) -> Iterator[tuple[Reader, str]]:
    """A reader, and how messages call what it reads."""
    parsed = _parse(url)
    if isinstance(parsed, Path):
        _check_file(parsed)
        with _told(parsed):
            yield JournalReader(parsed), str(parsed)
        return
    if parsed.get_backend_name() == "sqlite":
        _check_file(sqlite_file(parsed))
    with open_database(parsed) as reader:
        yield reader, shown(parsed)


def _parse(url: str) -> URL | Path:
    """Where the database or, as a path, the journal is."""
    if url.startswith("journal:"):
        return Path(url.removeprefix("journal:"))
    if "://" not in url:
        path = Path(url)
        _check_file(path)
        with path.open("rb") as file:
            is_sqlite = file.read(len(SQLITE_MAGIC)) == SQLITE_MAGIC
        return URL.create("sqlite", database=str(path)) if is_sqlite else path
    try:
        parsed = make_url(url)
        parsed.get_dialect()
    except (ArgumentError, NoSuchModuleError, ModuleNotFoundError, ValueError) as error:
        # Only the kind is shown: the rest may hold a password.
        raise DatabaseUrlError(
            f"{url.partition('://')[0]}://... is no URL that Optuna studies can be read from here; write "
            "sqlite:///FILE, postgresql+psycopg://USER:PASSWORD@HOST/NAME, mysql+pymysql://..., or journal:FILE"
        ) from error
    return parsed


def _check_file(path: Path) -> None:
    try:
        path.open("rb").close()
    except FileNotFoundError as error:
        raise DatabaseError(
            f"there is no file {path.absolute()}, and none was made; say where the studies are"
        ) from error
    except OSError as error:
        raise DatabaseError(f"{path.absolute()} cannot be read: {error.strerror}") from error


@contextlib.contextmanager
def _told(journal: Path) -> Iterator[None]:
    """What Optuna raises over a file that is no journal, or a damaged one."""
    try:
        yield
    except (ValueError, KeyError, TypeError, AttributeError, AssertionError, OSError) as error:
        raise DatabaseError(
            f"{journal.absolute()} cannot be read as a journal of Optuna: {type(error).__name__}: {error}"
        ) from error


def _choose(available: Sequence[str], names: Sequence[str], place: str) -> Sequence[str]:
    if not available:
        raise DatabaseError(f"{place} holds no Optuna studies")
    unknown = [name for name in names if name not in set(available)]
    if unknown:
        raise UnknownStudyError(f"{place} has no study called {_listed(unknown)}; there are: {_listed(available)}")
    if not names and len(available) > 1:
        raise RequestError(
            f"{place} holds {len(available)} studies; say with --study which of them to report, several to compare "
            f"them: {_listed(available)}"
        )
    return names or available


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return ", ".join(f"{name:.120}" for name in names[:_LISTED]) + more
