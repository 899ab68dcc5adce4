"""Many commands and several servers at once on one database: nothing is lost, nothing is done twice."""

import threading
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from many_processes import run_together
from sqlalchemy import Engine
from tests_support import SMALL_SPEC, comparable_tables

from study.creation import create_study, plan_first_trials
from study.provenance import describe_environment
from study.spec_file import parse_spec
from study.storage import studies
from study.storage.engine import create_database, open_database

NAMES = [f"tiny-{number}" for number in range(8)]
RUNNING_SPEC = SMALL_SPEC.replace('"small"', '"running"').replace("epochs = 2", "epochs = 30")


def write_specs(folder: Path) -> list[Path]:
    """The small study under several names."""
    paths = []
    for name in NAMES:
        path = folder / f"{name}.toml"
        path.write_text(SMALL_SPEC.replace('"small"', f'"{name}"'))
        paths.append(path)
    return paths


def look(engine: Engine, query: str) -> list[tuple[Any, ...]]:
    with engine.connect() as connection:
        return [tuple(row) for row in connection.execute(sa.text(query))]


@pytest.mark.faults
def test_an_empty_database_is_made_once_by_many_submits_at_once(any_database_url: str, tmp_path: Path) -> None:
    specs = write_specs(tmp_path)[:5]
    submits: list[list[str | Path]] = [["submit", path, "--db", any_database_url] for path in specs * 2]
    for ended in run_together(submits, tmp_path):
        assert ended.code == 0, ended
    with open_database(any_database_url) as engine:
        assert look(engine, "SELECT name, state FROM adai_studies ORDER BY name") == [(n, "queued") for n in NAMES[:5]]
        assert look(engine, "SELECT COUNT(*) FROM adai_runs") == [(5 * 20,)]
        assert look(engine, "SELECT COUNT(*) FROM trials WHERE state = 'WAITING'") == [(5 * 10,)]
        assert look(engine, "SELECT COUNT(*) FROM adai_environments") == [(1,)]


@pytest.mark.faults
@pytest.mark.long
def test_commands_beside_a_running_study_and_three_servers_do_everything_once(
    any_database_url: str, finished: tuple[str, Path], tmp_path: Path
) -> None:
    db = ["--db", any_database_url]
    with create_database(any_database_url) as engine:
        create_study(engine, parse_spec(RUNNING_SPEC, source="running"))
    commands: list[list[str | Path]] = [["resume", "running", "--pool", "inline", *db, "--no-report"]]
    for path in write_specs(tmp_path):
        commands += [["submit", path, *db], ["list", *db], ["status", "running", *db], ["logs", "running", *db]]
    for ended in run_together(commands, tmp_path):
        assert ended.code == 0, ended
    serve: list[str | Path] = ["serve", "--until-idle", "--pool", "inline", "--studies", "2", *db, "--no-reports"]
    for ended in run_together([serve] * 3, tmp_path):
        assert ended.code == 0, ended
        assert not any(word in ended.output for word in ("database_away", "lost", "fault", "Traceback")), ended
    with open_database(finished[0]) as engine:
        expected = comparable_tables(engine)
    with open_database(any_database_url) as engine:
        assert look(engine, "SELECT DISTINCT state, driver FROM adai_studies") == [("completed", None)]
        assert look(engine, "SELECT DISTINCT termination FROM adai_attempts") == [("COMPLETED",)]
        # One for each of the two optimizers.
        assert {n for (n,) in look(engine, "SELECT COUNT(*) FROM adai_attempts GROUP BY study_id")} == {2}
        starts = "SELECT COUNT(*) FROM adai_logs WHERE event = 'study_started' GROUP BY study_id"
        assert look(engine, starts) == [(1,)] * (len(NAMES) + 1)
        for name in NAMES:
            assert comparable_tables(engine, study=name) == expected
        assert len(comparable_tables(engine, study="running")["adai_runs"]) == 20


def test_a_study_that_two_write_at_once_is_written_once(any_database_url: str) -> None:
    """The second has looked before the first commits: it finds the environment, then the study, of the first."""
    spec = parse_spec(SMALL_SPEC, source="small")
    written: list[str] = []
    with create_database(any_database_url) as engine:

        def write() -> None:
            written.append(create_study(engine, spec).name)

        second = threading.Thread(target=write)
        with engine.begin() as connection:
            studies.create_study(connection, spec, plan_first_trials(spec), describe_environment())
            second.start()
            second.join(0.5)
            assert second.is_alive()
        second.join()
        assert written == ["small"]
        assert look(engine, "SELECT COUNT(*) FROM adai_studies") == [(1,)]
        assert look(engine, "SELECT COUNT(*) FROM adai_trials") == [(10,)]
        with engine.begin() as connection:
            studies.store_environment(connection, {"another": 1})
            other = threading.Thread(target=write_environment, args=(engine, written))
            other.start()
            other.join(0.5)
            assert other.is_alive()
        other.join()
        assert written == ["small", "stored"]


def write_environment(engine: Engine, written: list[str]) -> None:
    with engine.begin() as connection:
        studies.store_environment(connection, {"another": 1})
    written.append("stored")
