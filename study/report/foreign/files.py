"""Takes a private copy of somebody's SQLite database, which is neither changed nor locked for longer than that."""

import contextlib
import shutil
import sqlite3
import time
import urllib.parse
from pathlib import Path

from study.errors import DatabaseError

#: What every SQLite database begins with.
SQLITE_MAGIC = b"SQLite format 3\x00"
#: How long another process may keep the database locked, in seconds.
_BUSY_SECONDS = 30
#: How often a database is copied that changes meanwhile.
_TRIES = 5


def copy_sqlite(source: Path, target: Path) -> None:
    """Copy the state after the last commit of ``source`` to ``target``, which does not exist.

    ``source`` may be written meanwhile, may be in a folder that cannot be written, and may have been left in the middle
    of a write: then the copy is what SQLite would make of it. No file beside ``source`` is left or taken away. No
    connection of this process may be writing ``source``: its locks go with any other handle of the file.

    Raises:
        DatabaseError: It is no SQLite database, cannot be read, or is written all the time.
    """
    try:
        if not _opens_unchanged(source) or not _back_up(source, target):
            _copy_files(source, target)
    except sqlite3.Error as error:
        raise DatabaseError(f"{source} cannot be read as an SQLite database: {error}") from error
    except OSError as error:
        raise DatabaseError(f"{source} cannot be copied to {target.parent}: {error.strerror}") from error


def _opens_unchanged(source: Path) -> bool:
    """Whether SQLite can open it without making files beside it.

    With a write-ahead log it needs two of them. They are there while any process has the database open.
    """
    if _beside(source, "-wal").exists() and _beside(source, "-shm").exists():
        return True
    with source.open("rb") as file:
        header = file.read(20)
    is_write_ahead = header.startswith(SQLITE_MAGIC) and header[18:20] == b"\x02\x02"
    return not is_write_ahead


def _back_up(source: Path, target: Path) -> bool:
    """Copy it under SQLite's own lock for readers; False where SQLite would first have to repair what a crash left."""
    deadline = time.monotonic() + _BUSY_SECONDS

    def give_up(status: int, remaining: int, total: int) -> None:
        del remaining, total
        if status in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED) and time.monotonic() > deadline:
            raise DatabaseError(f"{source} has been locked for {_BUSY_SECONDS} s; try again when its writer is done")

    address = f"file:{urllib.parse.quote(str(source.absolute()))}?mode=ro"
    try:
        with (
            contextlib.closing(sqlite3.connect(address, uri=True, timeout=1.0)) as theirs,
            contextlib.closing(sqlite3.connect(target)) as ours,
        ):
            theirs.backup(ours, progress=give_up)
    except sqlite3.OperationalError:
        target.unlink(missing_ok=True)
        return False
    return True


def _copy_files(source: Path, target: Path) -> None:
    """Copy the file with its logs, as they are at one moment; SQLite repairs the copy when it opens it."""
    for _ in range(_TRIES):
        before = _stamps(source)
        for ending in before:
            shutil.copyfile(_beside(source, ending), _beside(target, ending))
        if _stamps(source) == before:
            return
        for ending in before:
            _beside(target, ending).unlink()
        time.sleep(0.2)
    raise DatabaseError(f"{source} is written all the time; try again when its writer is done")


def _stamps(source: Path) -> dict[str, tuple[int, int, int]]:
    """What shows that a file was written: of the database, and of its logs, if there are any."""
    stamps = {}
    for ending in ("", "-wal", "-journal"):
        with contextlib.suppress(FileNotFoundError):
            found = _beside(source, ending).stat()
            stamps[ending] = (found.st_ino, found.st_size, found.st_mtime_ns)
    return stamps


def _beside(path: Path, ending: str) -> Path:
    return path.with_name(path.name + ending)
