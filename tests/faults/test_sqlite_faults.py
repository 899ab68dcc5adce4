"""Faults of an SQLite file: a full disk, locks of others, lost tables, no permission."""

import os
import shutil
import sqlite3
import subprocess
import threading
import time
from pathlib import Path

import pytest
import sqlalchemy as sa
from small_disk import remount, small_disk
from tests_support import ADAI_STUDY, Command, comparable_tables, count, fails, run_words

import study.storage.engine
from study.storage.engine import open_database

#: Kilobytes of disks that fill at different moments, from the making of the tables to the end of the study.
SIZES = [24, 144, *range(264, 700, 40)]


def stage_of(output: str) -> str:
    """Where the message says that the disk was full."""
    if "the tables cannot be made in" in output:
        return "tables"
    return "running" if "failed while study 'small' ran" in output else "creation"


def assert_as_undisturbed(url: str, finished: tuple[str, Path]) -> None:
    with open_database(finished[0]) as engine:
        expected = comparable_tables(engine)
    with open_database(url) as engine:
        assert comparable_tables(engine) == expected
        with engine.connect() as connection:
            assert connection.execute(sa.text("PRAGMA integrity_check")).scalar_one() == "ok"
            assert connection.execute(sa.text("SELECT DISTINCT state FROM trials")).scalars().all() == ["COMPLETE"]
            open_attempts = "SELECT COUNT(*) FROM adai_attempts WHERE finished_at IS NULL"
            assert connection.execute(sa.text(open_attempts)).scalar_one() == 0


@pytest.mark.faults
def test_a_full_disk_ends_the_command_and_with_room_the_study_goes_on(
    command: Command, spec_file: Path, finished: tuple[str, Path], tmp_path: Path
) -> None:
    stages: dict[str, set[int]] = {}
    for kilobytes in SIZES:
        folder = tmp_path / f"disk-{kilobytes}"
        with small_disk(folder, kilobytes):
            url = f"sqlite:///{folder}/study.db"
            result = command(*run_words(spec_file, url))
            if result.exit_code == 0:
                break
            message = result.output[result.output.index("Error: ") :]
            assert result.exit_code == 1
            assert any(words in message for words in ("full", "disk I/O error", "unable to open database file"))
            assert "Traceback" not in result.output
            assert "fault of the program" not in message
            stage = stage_of(message)
            remount(folder, "size=8m")
            stages.setdefault(stage, set()).add(count(folder / "study.db", "SELECT COUNT(*) FROM adai_epochs"))
            if stage == "running":
                again = command("resume", "small", "--pool", "inline", "--db", url, "--no-report")
            else:
                assert count(folder / "study.db", "SELECT COUNT(*) FROM adai_studies") == 0
                again = command(*run_words(spec_file, url))
            assert again.exit_code == 0, again.output
            assert_as_undisturbed(url, finished)
    assert stages.keys() == {"tables", "creation", "running"}
    assert max(stages["running"]) > 0
    assert result.exit_code == 0


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """SQLite itself waits a moment only, and so does the driver."""
    monkeypatch.setattr(study.storage.engine, "_BUSY_SECONDS", 0.2)
    monkeypatch.setenv("ADAI_DATABASE_RETRY_SECONDS", "1")


class Locker(threading.Thread):
    """Holds the write lock of a database as soon as a study has written an epoch."""

    def __init__(self, path: Path, *, release: threading.Event) -> None:
        super().__init__()
        self._path, self._release = path, release
        self.held = threading.Event()

    def run(self) -> None:
        """Wait, lock, wait, unlock."""
        while count(self._path, "SELECT COUNT(*) FROM adai_epochs") == 0:
            time.sleep(0.01)
        connection = sqlite3.connect(self._path, isolation_level=None, timeout=30)
        connection.execute("BEGIN IMMEDIATE")
        self.held.set()
        self._release.wait(30)
        connection.execute("ROLLBACK")
        connection.close()


def test_a_lock_that_is_held_for_a_while_costs_nothing_and_readers_read_on(
    command: Command, spec_file: Path, finished: tuple[str, Path], database_url: str, tmp_path: Path
) -> None:
    release = threading.Event()
    locker = Locker(tmp_path / "study.db", release=release)
    seen: list[str] = []

    def read_meanwhile() -> None:
        locker.held.wait(60)
        for words in (["list"], ["status", "small"], ["logs", "small"]):
            result = subprocess.run([ADAI_STUDY, *words, "--db", database_url], capture_output=True, text=True)
            seen.append(result.stdout if result.returncode == 0 else result.stderr)
        release.set()

    reader = threading.Thread(target=read_meanwhile)
    locker.start()
    reader.start()
    result = command(*run_words(spec_file, database_url))
    locker.join()
    reader.join()
    assert result.exit_code == 0, result.output
    assert "running" in seen[0]
    assert "small: running" in seen[1]
    assert "attempt_started" in seen[2]
    assert_as_undisturbed(database_url, finished)
    assert count(tmp_path / "study.db", "SELECT COUNT(*) FROM adai_attempts") == 2


@pytest.mark.usefixtures("impatient")
def test_a_lock_that_is_held_too_long_ends_the_command_and_resume_does_the_rest(
    command: Command, spec_file: Path, finished: tuple[str, Path], database_url: str, tmp_path: Path
) -> None:
    release = threading.Event()
    locker = Locker(tmp_path / "study.db", release=release)
    locker.start()
    result = command(*run_words(spec_file, database_url))
    release.set()
    locker.join()
    assert result.exit_code == 1
    message = result.output[result.output.index("Error: ") :]
    assert "failed while study 'small' ran: database is locked" in message
    assert "run the rest with: adai-study resume small" in message
    resumed = command("resume", "small", "--pool", "inline", "--db", database_url, "--no-report")
    assert resumed.exit_code == 0, resumed.output
    assert_as_undisturbed(database_url, finished)


@pytest.mark.parametrize("table", ["adai_runs", "adai_studies", "trials", "adai_alembic_version"])
def test_tables_that_were_deleted_behind_the_back_are_named(
    table: str, command: Command, finished: tuple[str, Path], tmp_path: Path
) -> None:
    path = tmp_path / "study.db"
    shutil.copy(finished[0].removeprefix("sqlite:///"), path)
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE adai_studies SET state = 'interrupted'")
        connection.execute("UPDATE adai_runs SET termination = NULL WHERE id = 1")
        connection.execute(f"DROP TABLE {table}")
    connection.close()
    words = ["resume", "small", "--pool", "inline", "--db", f"sqlite:///{path}", "--no-report"]
    named = "holds no studies yet" if table == "adai_alembic_version" else f"no such table: {table}"
    fails(command(*words), 1, named)


def obediently(*words: str | Path) -> subprocess.CompletedProcess[str]:
    """Run the command as a user to whom the permissions of files apply."""
    drop = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"] if os.geteuid() == 0 else []
    if drop and shutil.which("setpriv") is None:
        pytest.skip("root may do everything, and setpriv (util-linux) is not installed")
    return subprocess.run([*drop, ADAI_STUDY, *map(str, words)], capture_output=True, text=True)


@pytest.mark.faults
def test_a_file_or_folder_that_may_not_be_written_is_explained(
    spec_file: Path, finished: tuple[str, Path], tmp_path: Path
) -> None:
    folder = tmp_path / "locked"
    folder.mkdir()
    path = folder / "study.db"
    shutil.copy(finished[0].removeprefix("sqlite:///"), path)
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE adai_studies SET state = 'interrupted'")
        connection.execute("UPDATE adai_runs SET termination = NULL WHERE id = 1")
    connection.close()
    resume = ["resume", "small", "--pool", "inline", "--db", f"sqlite:///{path}", "--no-report"]
    path.chmod(0o444)
    for words, mode in (
        (resume, 0o755),
        (run_words(spec_file, f"sqlite:///{folder}/new.db"), 0o555),
        (["submit", spec_file, "--db", f"sqlite:///{folder}/new.db"], 0o555),
    ):
        folder.chmod(mode)
        result = obediently(*words)
        folder.chmod(0o755)
        assert result.returncode == 1, result.stderr
        assert "Traceback" not in result.stderr
        message = result.stderr[result.stderr.index("Error: ") :]
        assert "readonly database" in message or "unable to open database file" in message, message
        assert "fault of the program" not in message
    for file in folder.iterdir():  # those that SQLite makes beside the database have its permissions
        file.chmod(0o644)
    assert obediently(*resume).returncode == 0
