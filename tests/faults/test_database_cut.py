"""The network to PostgreSQL fails at commits, the server is restarted, or stays away."""

import datetime as dt
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from cutting_proxy import Cut, CuttingProxy
from postgresql_server import Mode, PostgresqlServer
from tests_support import ADAI_STUDY, SMALL_SPEC, Command, comparable_tables, fails, run_words

from study.storage.engine import create_database, open_database

#: Enough epochs that a server can be restarted in the middle.
EPOCHS = 400
LONGER_SPEC = SMALL_SPEC.replace("epochs = 2", f"epochs = {EPOCHS}")


def write_spec(folder: Path, text: str) -> Path:
    path = folder / "spec.toml"
    path.write_text(text)
    return path


def tables_of(url: str) -> dict[str, Any]:
    with open_database(url) as engine:
        return comparable_tables(engine)


def look(url: str, query: str) -> list[tuple[Any, ...]]:
    with open_database(url) as engine, engine.connect() as connection:
        return [tuple(row) for row in connection.execute(sa.text(query))]


def assert_ended_once(url: str) -> None:
    """Every attempt ended by itself, nothing runs, nothing is there twice."""
    assert look(url, "SELECT state, driver FROM adai_studies") == [("completed", None)]
    assert look(url, "SELECT DISTINCT termination FROM adai_attempts") == [("COMPLETED",)]
    assert look(url, "SELECT DISTINCT state FROM trials") == [("COMPLETE",)]
    started = look(url, "SELECT COUNT(*) FROM adai_logs WHERE event = 'attempt_started'")
    finished = look(url, "SELECT COUNT(*) FROM adai_logs WHERE event = 'attempt_finished'")
    assert started == finished == look(url, "SELECT COUNT(*) FROM adai_attempts") == [(2,)]


@pytest.mark.parametrize("cut", Cut)
def test_a_study_all_of_whose_commits_are_cut_once_ends_by_itself(
    cut: Cut,
    command: Command,
    finished: tuple[str, Path],
    postgresql_server: PostgresqlServer,
    postgresql_url: str,
    spec_file: Path,
) -> None:
    with create_database(postgresql_url):
        pass
    with CuttingProxy(postgresql_server.port, lambda number: cut if number % 2 == 0 else None) as proxy:
        through = postgresql_url.replace(f":{postgresql_server.port}/", f":{proxy.port}/") + "?sslmode=disable"
        result = command(*run_words(spec_file, through))
    assert result.exit_code == 0, result.output
    # Of creation, claim, two attempts of two epochs each, and the end, at least.
    assert len(proxy.cuts) >= 10
    assert tables_of(postgresql_url) == tables_of(finished[0])
    assert_ended_once(postgresql_url)


@pytest.fixture
def own_server(postgresql_binaries: Path) -> Iterator[PostgresqlServer]:
    """A server that may be stopped, whose commits outlive a crash."""
    server = PostgresqlServer(postgresql_binaries, fsync=True)
    try:
        server.start()
        yield server
        server.stop("immediate")
    finally:
        server.remove()


@pytest.fixture(scope="module")
def longer(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The tables of the longer study when nothing goes wrong."""
    folder = tmp_path_factory.mktemp("longer")
    url = f"sqlite:///{folder}/study.db"
    words = [ADAI_STUDY, *run_words(write_spec(folder, LONGER_SPEC), url)]
    subprocess.run(words, check=True, capture_output=True)
    return tables_of(url)


class Disturbance(threading.Thread):
    """Stops a server once a study has written some epochs, and perhaps starts it again."""

    def __init__(self, server: PostgresqlServer, url: str, mode: Mode, *, away: float | None, epochs: int = 3) -> None:
        super().__init__()
        self._server, self._url, self._mode, self._away, self._epochs = server, url, mode, away, epochs
        self.epochs_at_stop = -1
        self.back_at = dt.datetime.min

    def run(self) -> None:
        """Wait, stop, wait, start."""
        with create_database(self._url) as engine:
            while True:
                with engine.connect() as connection:
                    query = sa.text("SELECT COUNT(DISTINCT epoch) FROM adai_epochs")
                    self.epochs_at_stop = connection.execute(query).scalar_one()
                if self.epochs_at_stop >= self._epochs:
                    break
                time.sleep(0.01)
        self._server.stop(self._mode)
        if self._away is not None:
            time.sleep(self._away)
            self._server.start()
            self.back_at = dt.datetime.now(dt.UTC)


@pytest.mark.faults
@pytest.mark.parametrize("mode", ["fast", "immediate"])
def test_a_server_that_is_restarted_in_the_middle_costs_nothing(
    mode: Mode,
    command: Command,
    longer: dict[str, Any],
    own_server: PostgresqlServer,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    url = own_server.create_database("restarted")
    disturbance = Disturbance(own_server, url, mode, away=2.0)
    disturbance.start()
    result = command(*run_words(write_spec(tmp_path, LONGER_SPEC), url))
    disturbance.join()
    assert result.exit_code == 0, result.output
    assert 3 <= disturbance.epochs_at_stop < EPOCHS
    assert tables_of(url) == longer
    assert_ended_once(url)
    ((written,),) = look(url, "SELECT MIN(at) FROM adai_logs WHERE event = 'attempt_finished'")
    with capsys.disabled():
        seconds = (written - disturbance.back_at).total_seconds()
        sys.stdout.write(f"\n{mode}: an attempt ended {seconds:.1f} s after the server was back\n")


@pytest.mark.faults
def test_a_server_that_stays_away_ends_the_command_and_resume_does_the_rest(
    command: Command,
    longer: dict[str, Any],
    own_server: PostgresqlServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("ADAI_DATABASE_RETRY_SECONDS", "2")
    url = own_server.create_database("away")
    disturbance = Disturbance(own_server, url, "immediate", away=None)
    disturbance.start()
    spec = write_spec(tmp_path, LONGER_SPEC)
    result = command(*run_words(spec, url))
    disturbance.join()
    assert result.exit_code == 1
    message = result.output[result.output.index("Error: ") :]
    assert f"the database {url} failed while study 'small' ran: " in message
    assert "run the rest with: adai-study resume small" in message
    assert "Traceback" not in result.output
    fails(command("list", "--db", url), 1, "cannot be reached")
    own_server.start()
    kept = look(url, "SELECT COUNT(*) FROM adai_epochs")
    assert kept > [(0,)]
    # The driver could not say that it ended; being this very process, it seems to live.
    assert look(url, "SELECT state FROM adai_studies") == [("running",)]
    resumed = command("resume", "small", "--pool", "inline", "--db", url, "--no-report")
    assert resumed.exit_code == 0, resumed.output
    assert tables_of(url) == longer
    assert look(url, "SELECT DISTINCT state FROM trials") == [("COMPLETE",)]
    ends = look(url, "SELECT termination, error FROM adai_attempts ORDER BY id")
    assert ("CANCELLED", "the driver ended before this attempt did") in ends
    assert look(url, "SELECT COUNT(*) FROM adai_attempts WHERE finished_at IS NULL") == [(0,)]
    assert look(url, "SELECT COUNT(*) FROM adai_logs WHERE event = 'attempts_cancelled'") == [(1,)]


@pytest.mark.faults
@pytest.mark.parametrize("patience", ["60", "0.5"], ids=["waits", "gives up and takes it again"])
def test_a_server_of_studies_outlives_a_restart_of_its_database(
    patience: str,
    command: Command,
    longer: dict[str, Any],
    own_server: PostgresqlServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    url = own_server.create_database("served")
    submitted = command("submit", write_spec(tmp_path, LONGER_SPEC), "--db", url)
    assert submitted.exit_code == 0, submitted.output
    disturbance = Disturbance(own_server, url, "immediate", away=4.0)
    disturbance.start()
    monkeypatch.setenv("ADAI_DATABASE_RETRY_SECONDS", patience)
    words = ["serve", "--until-idle", "--pool", "inline", "--db", url, "--no-reports"]
    served = subprocess.run([ADAI_STUDY, *words], capture_output=True, text=True)
    disturbance.join()
    assert served.returncode == 0, served.stderr
    assert "Traceback" not in served.stderr
    assert '"event": "database_away"' in served.stderr
    assert tables_of(url) == longer
    assert look(url, "SELECT state, driver FROM adai_studies") == [("completed", None)]
    assert look(url, "SELECT DISTINCT state FROM trials") == [("COMPLETE",)]
    taken_again = look(url, "SELECT COUNT(*) FROM adai_logs WHERE event = 'driver_died'")
    if patience == "60":
        assert taken_again == [(0,)]
        assert_ended_once(url)
    else:
        assert taken_again == [(1,)]
        assert "study_lost_its_database" in served.stderr
        assert look(url, "SELECT COUNT(*) FROM adai_attempts WHERE termination = 'CANCELLED'") > [(0,)]
