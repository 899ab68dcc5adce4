"""The clock jumps by an hour, forward and back, while a study runs: nobody is taken for dead, nothing changes."""

import datetime as dt
import itertools
import subprocess
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from moving_clock import MovingClock
from tests_support import ADAI_STUDY, SMALL_SPEC, Command, comparable_tables, count, fails, run_words, wait_for

from study.storage.engine import open_database

EPOCHS = 3000
#: Long enough for other commands to come and go meanwhile.
LONG_SPEC = SMALL_SPEC.replace("epochs = 2", f"epochs = {EPOCHS}").replace("points = 4", "points = 1")
HOUR = 3600
EPOCHS_OF_ALL_BATCHES = "SELECT COUNT(DISTINCT epoch) FROM adai_epochs"


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The tables of the long study when no clock jumps."""
    folder = tmp_path_factory.mktemp("undisturbed")
    (folder / "spec.toml").write_text(LONG_SPEC)
    url = f"sqlite:///{folder}/study.db"
    subprocess.run([ADAI_STUDY, *run_words(folder / "spec.toml", url)], check=True, capture_output=True)
    with open_database(url) as engine:
        return comparable_tables(engine)


@pytest.mark.faults
@pytest.mark.long
@pytest.mark.parametrize("pool", [["--pool", "inline"], ["--workers", "2"]], ids=["inline", "ray"])
def test_a_clock_that_jumps_by_an_hour_changes_nothing(
    pool: list[str], command: Command, undisturbed: dict[str, Any], database_url: str, tmp_path: Path
) -> None:
    (tmp_path / "spec.toml").write_text(LONG_SPEC)
    path = tmp_path / "study.db"
    clock = MovingClock(tmp_path)
    patience = {"ADAI_LEASE_SECONDS": "20", "ADAI_HEARTBEAT_SECONDS": "0.5"}
    words = [ADAI_STUDY, "run", tmp_path / "spec.toml", *pool, "--db", database_url, "--no-report"]
    study = subprocess.Popen(
        words, env=clock.environment | patience, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        wait_for(lambda: count(path, EPOCHS_OF_ALL_BATCHES) > 10)
        clock.move_to(HOUR)
        # A server that comes now leaves the study where it is, and a second driver is refused.
        serve = [ADAI_STUDY, "serve", "--until-idle", "--pool", "inline", "--db", database_url, "--no-reports"]
        subprocess.run(serve, check=True, capture_output=True)
        refused = command("resume", "small", "--pool", "inline", "--db", database_url, "--no-report")
        fails(refused, 1, "study 'small' is being run by process")
        clock.move_to(-HOUR)
        output, errors = study.communicate(timeout=120)
    finally:
        study.kill()
    assert study.returncode == 0, errors
    assert output == "no report written; write it with: adai-study report small\n"
    with open_database(database_url) as engine:
        assert comparable_tables(engine) == undisturbed
        with engine.connect() as connection:
            events = connection.execute(sa.text("SELECT event, at FROM adai_logs ORDER BY id")).all()
            ends = connection.execute(sa.text("SELECT DISTINCT termination FROM adai_attempts")).scalars().all()
    assert ends == ["COMPLETED"]
    assert {event for event, _ in events} == {
        "study_created",
        "study_started",
        "attempt_started",
        "attempt_finished",
        "study_completed",
    }
    # It has really jumped.
    moments = [dt.datetime.fromisoformat(at) for _, at in events]
    assert any(later < earlier for earlier, later in itertools.pairwise(moments))
