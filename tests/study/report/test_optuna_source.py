"""Foreign Optuna studies are read from databases and journals of every kind, and nothing is changed there."""

import contextlib
import logging
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest
import sqlalchemy as sa
from foreign_studies import add, fingerprint, made, optimize, two_axes
from optuna.trial import TrialState
from sqlalchemy.engine import make_url
from sqlalchemy.pool import NullPool

from study.errors import DatabaseError, DatabaseUrlError, RequestError, StudyError, UnknownStudyError
from study.report.export import trials_frame
from study.report.foreign import files as optuna_files
from study.report.foreign.database import open_database
from study.report.foreign.files import copy_sqlite
from study.report.foreign.from_optuna import read_optuna
from study.report.foreign.source import read_studies
from study.report.observations import observe
from study.storage import engine
from study.storage.records import find_study, read_runs

pytestmark = pytest.mark.reports


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "theirs").mkdir()
    return tmp_path / "theirs"


@pytest.fixture(params=["sqlite", "journal", "postgresql"])
def url(request: pytest.FixtureRequest, folder: Path) -> str:
    """Where somebody keeps studies, of each kind that is found here."""
    if request.param == "sqlite":
        return f"sqlite:///{folder}/their study.db"
    if request.param == "journal":
        return f"journal:{folder}/journal.log"
    address: str = request.getfixturevalue("postgresql_url")
    return address


@contextlib.contextmanager
def connected(path: Path) -> Iterator[sqlite3.Connection]:
    with contextlib.closing(sqlite3.connect(path)) as connection:
        yield connection


def count_trials(url: str, name: str = "mine") -> int:
    return sum(len(study.trials) for study in read_studies(url, [name]))


def test_all_kinds_say_the_same_and_are_not_changed(url: str, folder: Path) -> None:
    def objective(trial: object) -> float:
        value = two_axes(trial)  # type: ignore[arg-type]
        trial.set_user_attr("seed", 3)  # type: ignore[attr-defined]
        if trial.number == 4:  # type: ignore[attr-defined]
            raise ZeroDivisionError
        return value

    optimize(url, "mine", objective, trials=6)
    add(url, "other", [made(None, TrialState.WAITING), made(1.0, lr=0.1, beta=0.5)])
    before = fingerprint(folder)
    info, runs, curvature = read_optuna(url, ["mine", "other"])
    seen = observe(info, runs, curvature)
    assert fingerprint(folder) == before
    mine = seen.cell("optuna", "mine")
    assert mine.finished_N.tolist() == [True] * 4 + [False, True]
    assert mine.mean_N[0] == (runs["lr"][0] - 0.1) ** 2 + (runs["beta"][0] - 0.5) ** 2
    assert seen.cell("optuna", "other").finished_N.tolist() == [False, True]
    assert (mine.seconds_NS[mine.finished_N] > 0).all()


@pytest.mark.parametrize("form", ["{path}", "sqlite:///{path}", "sqlite:///file:{path}?mode=ro&uri=true"])
def test_an_sqlite_database_has_several_addresses(folder: Path, form: str) -> None:
    path = folder / "study.db"
    add(f"sqlite:///{path}", "mine", [made(1.0, lr=0.1, beta=0.5)])
    before = fingerprint(folder)
    assert count_trials(form.format(path=path)) == 1
    assert fingerprint(folder) == before


def test_a_journal_is_known_by_its_path(folder: Path) -> None:
    add(f"journal:{folder}/any.log", "mine", [made(1.0, lr=0.1, beta=0.5)])
    assert count_trials(f"{folder}/any.log") == 1


def test_a_path_may_have_characters_that_mean_something_in_urls(folder: Path) -> None:
    path = folder / "what? 100%#1.db"
    add(f"sqlite:///{folder}/plain.db", "mine", [made(1.0, lr=0.1, beta=0.5)])
    (folder / "plain.db").rename(path)
    before = fingerprint(folder)
    assert count_trials(str(path)) == 1
    assert fingerprint(folder) == before


@pytest.mark.parametrize("form", ["sqlite:///{path}", "journal:{path}", "{path}"])
def test_what_is_not_there_is_not_made(folder: Path, form: str) -> None:
    with pytest.raises(DatabaseError, match="there is no file"):
        read_studies(form.format(path=folder / "missing.db"), [])
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("form", ["sqlite:///{path}", "journal:{path}", "{path}"])
def test_a_folder_is_refused(folder: Path, form: str) -> None:
    with pytest.raises(DatabaseError, match="cannot be read: Is a directory"):
        read_studies(form.format(path=folder), [])


def test_a_write_ahead_log_that_nobody_has_open_is_not_made_again(folder: Path) -> None:
    path = _write_ahead(folder)
    assert [file.name for file in folder.iterdir()] == ["study.db"]
    before = fingerprint(folder)
    assert count_trials(f"sqlite:///{path}") == 1
    assert fingerprint(folder) == before


def test_what_is_only_in_the_write_ahead_log_is_read(folder: Path, tmp_path: Path) -> None:
    path = _write_ahead(folder)
    with connected(path) as writer:
        _rename(writer, "newer")
        assert {file.name for file in folder.iterdir()} == {"study.db", "study.db-wal", "study.db-shm"}
        before = {name: stamp for name, stamp in fingerprint(folder).items() if not name.endswith("-shm")}
        assert count_trials(f"sqlite:///{path}", "newer") == 1
        after = {name: stamp for name, stamp in fingerprint(folder).items() if not name.endswith("-shm")}
        assert after == before
        # As a copy of a running study, or what a crash left on another machine.
        (tmp_path / "saved").mkdir()
        for ending in ("", "-wal"):
            shutil.copy(f"{path}{ending}", tmp_path / "saved")
    before = fingerprint(tmp_path / "saved")
    assert count_trials(f"sqlite:///{tmp_path}/saved/study.db", "newer") == 1
    assert fingerprint(tmp_path / "saved") == before


def test_what_a_crash_left_half_written_is_not_read_and_not_repaired(folder: Path) -> None:
    path = folder / "study.db"
    add(f"sqlite:///{path}", "mine", [made(1.0, lr=0.1, beta=0.5)])
    # It writes more than its cache holds into the file, and dies before the commit.
    crash = """
import os, sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("PRAGMA cache_size=1")
connection.execute("PRAGMA cache_spill=1")
connection.execute("BEGIN IMMEDIATE")
connection.execute("UPDATE studies SET study_name='half'")
connection.execute("CREATE TABLE big (x)")
for _ in range(300):
    connection.execute("INSERT INTO big VALUES (randomblob(4000))")
os._exit(1)
"""
    subprocess.run([sys.executable, "-c", crash, str(path)], check=False)
    assert (folder / "study.db-journal").exists()
    before = fingerprint(folder)
    assert count_trials(f"sqlite:///{path}", "mine") == 1
    assert fingerprint(folder) == before


def test_the_studys_own_writer_goes_on(folder: Path) -> None:
    path = folder / "study.db"
    add(f"sqlite:///{path}", "mine", [made(1.0, lr=0.1, beta=0.5)])
    with connected(path) as writer, open_database(make_url(f"sqlite:///{path}")) as reader:
        assert reader.list_names() == ["mine"]
        _rename(writer, "newer")
        assert reader.list_names() == ["mine"]


def test_a_transaction_that_has_not_ended_is_not_read(folder: Path) -> None:
    path = folder / "study.db"
    add(f"sqlite:///{path}", "mine", [made(1.0, lr=0.1, beta=0.5)])
    with connected(path) as writer:
        writer.execute("BEGIN IMMEDIATE")
        writer.execute("UPDATE studies SET study_name = 'newer'")
        assert count_trials(f"sqlite:///{path}", "mine") == 1
        writer.execute("ROLLBACK")


def test_a_database_that_stays_locked_is_told(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(optuna_files, "_BUSY_SECONDS", 0)
    path = folder / "study.db"
    add(f"sqlite:///{path}", "mine", [made(1.0, lr=0.1, beta=0.5)])
    with connected(path) as writer:
        writer.execute("BEGIN EXCLUSIVE")
        with pytest.raises(DatabaseError, match="locked"):
            read_studies(f"sqlite:///{path}", [])


def test_a_database_in_a_folder_that_cannot_be_written_is_copied(tmp_path: Path) -> None:
    # Not in pytest's own folder, which nobody else may enter.
    with tempfile.TemporaryDirectory() as name, connected(_write_ahead(tmp_path)) as writer:
        _rename(writer, "newer")
        folder = Path(name) / "theirs"
        shutil.copytree(tmp_path, folder, ignore=shutil.ignore_patterns("*-shm"))
        for file in folder.iterdir():
            file.chmod(0o444)
        folder.chmod(0o555)
        Path(name).chmod(0o755)
        try:
            with _as_nobody(), tempfile.TemporaryDirectory() as other:
                copy_sqlite(folder / "study.db", Path(other) / "copy.db")
                with connected(Path(other) / "copy.db") as connection:
                    assert connection.execute("SELECT study_name FROM studies").fetchall() == [("newer",)]
        finally:
            folder.chmod(0o755)


@contextlib.contextmanager
def _as_nobody() -> Iterator[None]:
    """Root may write everywhere: its tests do without."""
    was = os.geteuid()
    if was == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(was)


@pytest.mark.parametrize("state", ["empty", "text", "other tables"])
def test_a_file_that_holds_no_studies_is_told(folder: Path, state: str) -> None:
    path = folder / "study.db"
    path.write_text("not a database, " * 100 if state == "text" else "")
    if state == "other tables":
        with connected(path) as connection:
            connection.execute("CREATE TABLE t (x)")
    before = fingerprint(folder)
    with pytest.raises(DatabaseError, match="not a database" if state == "text" else "holds no Optuna studies"):
        read_studies(f"sqlite:///{path}", [])
    with pytest.raises(DatabaseError):
        read_studies(f"journal:{path}", [])
    assert fingerprint(folder) == before


def test_a_damaged_journal_is_told(folder: Path) -> None:
    path = folder / "journal.log"
    add(f"journal:{path}", "mine", [made(1.0, lr=0.1, beta=0.5)])
    path.write_text('{"torn": \n' + path.read_text())
    with pytest.raises(DatabaseError, match="cannot be read as a journal"):
        read_studies(f"journal:{path}", [])


def test_a_journal_whose_last_line_is_being_written_is_read_up_to_it(folder: Path) -> None:
    path = folder / "journal.log"
    add(f"journal:{path}", "mine", [made(1.0, lr=0.1, beta=0.5)])
    with path.open("a") as file:
        file.write('{"op_code": 4, "study')
    assert count_trials(f"journal:{path}") == 1


def test_a_journal_that_its_writer_has_locked_is_read(folder: Path) -> None:
    path = folder / "journal.log"
    add(f"journal:{path}", "mine", [made(1.0, lr=0.1, beta=0.5)])
    Path(f"{path}.lock").symlink_to(path)
    assert count_trials(f"journal:{path}") == 1
    assert Path(f"{path}.lock").is_symlink()


def test_tables_of_an_older_optuna_are_read_from_an_upgraded_copy(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    path = folder / "study.db"
    add(f"sqlite:///{path}", "mine", [made(1.0, lr=0.1, beta=0.5)])
    with _changing(f"sqlite:///{path}") as connection:
        # What Optuna 3.1 had: its next version adds an index.
        connection.execute(sa.text("DROP INDEX ix_trials_study_id"))
        connection.execute(sa.text("UPDATE alembic_version SET version_num = 'v3.0.0.d'"))
    before = fingerprint(folder)
    # As in a program that has not set up logging.
    monkeypatch.setattr(logging.getLogger(), "handlers", [])
    assert count_trials(f"sqlite:///{path}") == 1
    assert logging.getLogger().handlers == []
    assert capfd.readouterr() == ("", "")
    assert fingerprint(folder) == before


def test_tables_of_an_older_optuna_on_a_server_are_left_alone(postgresql_url: str) -> None:
    add(postgresql_url, "mine", [made(1.0, lr=0.1, beta=0.5)])
    with _changing(postgresql_url) as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = 'v3.0.0.d'"))
    with pytest.raises(DatabaseError, match="optuna storage upgrade"):
        read_studies(postgresql_url, [])


def test_tables_of_a_newer_optuna_are_told(any_database_url: str) -> None:
    add(any_database_url, "mine", [made(1.0, lr=0.1, beta=0.5)])
    with _changing(any_database_url) as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = 'v9.0.0.a'"))
    with pytest.raises(DatabaseError, match="newer Optuna"):
        read_studies(any_database_url, [])


def test_a_server_is_read_in_a_transaction_that_cannot_write(postgresql_url: str) -> None:
    add(postgresql_url, "mine", [made(1.0, lr=0.1, beta=0.5)])
    with (
        pytest.raises(DatabaseError, match="read-only transaction"),
        open_database(make_url(postgresql_url)) as reader,
    ):
        reader.connection.execute(sa.text("UPDATE studies SET study_name = 'changed'"))


def test_a_server_is_seen_as_it_was_at_one_moment(postgresql_url: str) -> None:
    add(postgresql_url, "mine", [made(1.0, lr=0.1, beta=0.5)])
    with open_database(make_url(postgresql_url)) as reader:
        assert reader.list_names() == ["mine"]
        add(postgresql_url, "later", [])
        assert reader.list_names() == ["mine"]


def test_an_empty_database_on_a_server_stays_empty(postgresql_url: str) -> None:
    with pytest.raises(DatabaseError, match="holds no Optuna studies"):
        read_studies(postgresql_url, [])
    with _changing(postgresql_url) as connection:
        assert sa.inspect(connection).get_table_names() == []


def test_messages_do_not_tell_passwords() -> None:
    with pytest.raises(DatabaseError) as caught:
        read_studies("postgresql+psycopg://me:secret@127.0.0.1:1/x", [])
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("redis://me:secret@host", r"^redis://\.\.\. is no URL"),
        ("postgres://me:secret@host/x", "postgresql"),
        ("mysql+mysqldb://me:secret@host/x", "mysql"),
        ("oracle://me:secret@host/x", "oracle"),
        ("sqlite://", "in memory"),
        ("sqlite:///:memory:", "in memory"),
    ],
)
def test_addresses_that_cannot_be_read_are_refused(url: str, words: str) -> None:
    with pytest.raises(DatabaseUrlError, match=words) as caught:
        read_studies(url, [])
    assert "secret" not in str(caught.value)


def test_of_several_studies_the_user_chooses(url: str) -> None:
    for number in range(25):
        add(url, f"s{number}", [])
    with pytest.raises(RequestError, match=r"holds 25 studies; .*: s0, s1, .*s19 and 5 more$"):
        read_studies(url, [])
    with pytest.raises(UnknownStudyError, match=r"no study called nope; there are: s0, .* and 5 more$"):
        read_studies(url, ["s1", "nope"])
    assert [study.name for study in read_studies(url, ["s3", "s1", "s3"])] == ["s3", "s1"]


def test_exit_codes_tell_wrong_requests_from_failures(folder: Path) -> None:
    add(f"journal:{folder}/j", "mine", [])
    codes = []
    for url, names in ((f"journal:{folder}/j", ["x"]), ("redis://x", []), (f"journal:{folder}/missing", [])):
        with pytest.raises(StudyError) as caught:
            read_studies(url, names)
        codes.append(caught.value.exit_code)
    assert codes == [2, 2, 1]


def test_studies_of_this_service_can_be_read_as_anybodys(finished: tuple[str, Path]) -> None:
    url, _ = finished
    names = [f"small/digits-logistic/{optimizer}" for optimizer in ("adai", "sgd")]
    info, runs, curvature = read_optuna(url, names)
    seen = observe(info, runs, curvature)
    with engine.open_database(url) as opened, opened.connect() as connection:
        study = find_study(connection, "small")
        trials = trials_frame(study, read_runs(connection, study.id))
    for optimizer in ("adai", "sgd"):
        cell = seen.cell("digits-logistic", optimizer)
        theirs = trials.filter(pl.col("optimizer") == optimizer).sort("trial")
        assert cell.default == 0
        assert cell.mean_N == pytest.approx(theirs["objective_mean"].to_numpy())
        assert cell.unit_ND[1:, 0] == pytest.approx(theirs["unit_lr"].to_numpy()[1:])
    assert info.objective == "val_error"


def _write_ahead(folder: Path) -> Path:
    """A database in write-ahead mode that nobody has open."""
    path = folder / "study.db"
    add(f"sqlite:///{path}", "mine", [made(1.0, lr=0.1, beta=0.5)])
    with connected(path) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
    return path


def _rename(connection: sqlite3.Connection, name: str) -> None:
    connection.execute("UPDATE studies SET study_name = ?", (name,))
    connection.commit()


@contextlib.contextmanager
def _changing(url: str) -> Iterator[sa.Connection]:
    with sa.create_engine(url, poolclass=NullPool).begin() as connection:
        yield connection
