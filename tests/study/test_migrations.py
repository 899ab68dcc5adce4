"""Databases of earlier versions: upgraded in place, they keep every number and get exactly today's tables.

tests/assets/databases/0001.* were written by the version of that revision: one study that finished and one that was
interrupted after the trials of its first optimizer.
"""

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from tests_support import Command, comparable_tables

from study.errors import DatabaseError
from study.report.export import epochs_frame, runs_frame
from study.report.render import build_report, write_report
from study.storage.engine import (
    create_database,
    find_revision,
    head_revision,
    open_database,
    upgrade_database,
)
from study.storage.progress import read_plans, read_progress
from study.storage.records import (
    find_spec_hash,
    find_study,
    read_runs,
    stream_curvature,
    stream_epochs,
)
from study.storage.tables import VERSION_TABLE, metadata

DATABASES = Path(__file__).parent.parent / "assets" / "databases"
#: The tables of revision 0001 with its columns, in its order.
TABLES_0001 = {
    "adai_studies": "id, name, spec, spec_hash, state, driver, environment_id, created_at, finished_at",
    "adai_trials": "id, study_id, workload, optimizer, number, origin, hyperparameters, unit, optuna_trial_id",
    "adai_attempts": "id, study_id, workload, optimizer, runs, started_at, finished_at, termination, error, worker, "
    "host, pid, device, engine, torch_version",
    "adai_runs": "id, trial_id, seed, termination, reason, epochs, objective, at_chance, train_loss, val_loss, "
    "val_error, test_loss, test_error, seconds, attempt_id",
    "adai_epochs": "run_id, epoch, train_loss, val_loss, val_error, lr, seconds",
    "trials": "trial_id, number, study_id, state",
    "trial_values": "trial_id, objective, value",
}


@pytest.fixture
def old_url(any_database_url: str) -> str:
    """A copy of the database of revision 0001, of each supported kind."""
    if any_database_url.startswith("sqlite"):
        shutil.copy(DATABASES / "0001.sqlite", any_database_url.removeprefix("sqlite:///"))
        return any_database_url
    import psycopg

    with psycopg.connect(any_database_url.replace("+psycopg", "")) as connection:
        connection.execute((DATABASES / "0001.sql").read_bytes())
    return any_database_url


def read_tables(url: str) -> dict[str, list[tuple[Any, ...]]]:
    """Everything that revision 0001 stored, read without our code."""
    engine = sa.create_engine(url)
    with engine.connect() as connection:
        found = {
            name: [tuple(row) for row in connection.execute(sa.text(f"SELECT {columns} FROM {name} ORDER BY 1, 2"))]
            for name, columns in TABLES_0001.items()
        }
    engine.dispose()
    return found


def describe_schema(url: str) -> dict[str, Any]:
    """Columns in their order, keys, uniques and indexes of our tables, by table."""
    engine = sa.create_engine(url)
    inspector = sa.inspect(engine)
    found = {
        table: {
            "columns": [
                (column["name"], repr(column["type"]), column["nullable"]) for column in inspector.get_columns(table)
            ],
            "primary key": inspector.get_pk_constraint(table),
            "foreign keys": sorted(inspector.get_foreign_keys(table), key=repr),
            "unique": sorted(inspector.get_unique_constraints(table), key=repr),
            "indexes": sorted(inspector.get_indexes(table), key=repr),
        }
        for table in inspector.get_table_names()
        if table.startswith("adai_")
    }
    engine.dispose()
    return found


def test_a_database_of_an_earlier_version_is_refused_until_it_is_upgraded(old_url: str, command: Command) -> None:
    assert find_revision(old_url) == "0001"
    for open_it in (open_database, create_database):
        with (
            pytest.raises(
                DatabaseError, match=r"older version \(revision 0001\); back it up, then do: adai-study db up"
            ),
            open_it(old_url),
        ):
            pass
    result = command("db", "upgrade", "--db", old_url)
    assert result.exit_code == 0, result.output
    assert find_revision(old_url) == head_revision()


def test_upgrading_keeps_every_number(old_url: str) -> None:
    before = read_tables(old_url)
    assert len(before["adai_runs"]) == 40
    assert len(before["adai_epochs"]) > 50
    upgrade_database(old_url)
    assert read_tables(old_url) == before


def test_an_upgraded_database_has_exactly_the_tables_of_a_new_one(old_url: str, tmp_path: Path) -> None:
    upgrade_database(old_url)
    ours = {
        "compare_type": True,
        "version_table": VERSION_TABLE,
        "include_name": lambda name, kind, _: kind != "table" or (name or "").startswith("adai_"),
    }
    with open_database(old_url) as engine, engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection, opts=ours), metadata) == []
    columns = {table: [column[0] for column in found["columns"]] for table, found in describe_schema(old_url).items()}
    assert columns.pop(VERSION_TABLE) == ["version_num"]
    assert columns == {table.name: [column.name for column in table.columns] for table in metadata.tables.values()}
    if old_url.startswith("sqlite"):
        # Without migrations: keys, uniques and indexes, which compare_metadata does not look at.
        fresh = f"sqlite:///{tmp_path}/fresh.db"
        engine = sa.create_engine(fresh)
        metadata.create_all(engine)
        engine.dispose()
        upgraded = describe_schema(old_url)
        del upgraded[VERSION_TABLE]
        assert upgraded == describe_schema(fresh)


def test_what_an_earlier_version_measured_is_read_reported_and_exported(old_url: str, tmp_path: Path) -> None:
    stored = read_tables(old_url)
    upgrade_database(old_url)
    with open_database(old_url) as engine:
        with engine.connect() as connection:
            study = find_study(connection, "finished")
            runs = read_runs(connection, study.id)
            epochs = list(stream_epochs(connection, study.id))
            assert find_spec_hash(connection, "finished") == study.spec.hash
            assert list(stream_curvature(connection, study.id)) == []
            assert read_plans(connection, study.id) == {}
            assert [part.ended for part in read_progress(connection, "interrupted")] == [10, 0]
        report = build_report(engine, "finished", tolerance=1.5)
        write_report(report, tmp_path / "report")
    assert len(runs) == 20
    objective_of = {row[0]: row[6] for row in stored["adai_runs"]}
    assert {run.id: run.objective for run in runs} == {run.id: objective_of[run.id] for run in runs}
    assert sum(run.termination is not None and run.termination.name == "DIVERGED" for run in runs) == 4
    run_table = runs_frame(study, runs)
    for name in ("steps_to_target", "seconds_to_target", "peak_memory"):
        assert run_table[name].null_count() == 20
    epoch_table = epochs_frame(study, epochs)
    run_ids = {run.id for run in runs}
    assert epoch_table.height == sum(row[0] in run_ids for row in stored["adai_epochs"])
    assert epoch_table["grad_norm"].null_count() == epoch_table.height
    assert epoch_table["val_loss"].null_count() < epoch_table.height
    assert [row.best.mean for row in report.robustness.rows] == sorted(row.best.mean for row in report.robustness.rows)
    assert not (tmp_path / "report" / "tables" / "curvature.csv").exists()


def test_an_interrupted_study_of_an_earlier_version_is_resumed(old_url: str, command: Command, tmp_path: Path) -> None:
    upgrade_database(old_url)
    with open_database(old_url) as engine:
        before = comparable_tables(engine, "interrupted")
    result = command("resume", "interrupted", "--pool", "inline", "--db", old_url, "--out", tmp_path / "report")
    assert result.exit_code == 0, result.output
    with open_database(old_url) as engine:
        after = comparable_tables(engine, "interrupted")
    finished = [row for row in before["adai_runs"] if row["termination"] is not None]
    assert len(finished) == 10
    assert [row for row in after["adai_runs"] if row["optimizer"] == "adai"] == finished
    assert all(row["termination"] is not None for row in after["adai_runs"])


def test_a_crash_while_tables_are_upgraded_leaves_the_earlier_version(database_url: str) -> None:
    shutil.copy(DATABASES / "0001.sqlite", database_url.removeprefix("sqlite:///"))
    schema = describe_schema(database_url)
    program = """
import os, sys
from alembic import op
from study.storage.engine import upgrade_database
made = op.create_table
def create_table(name, *columns):
    if name == "adai_plans":
        os._exit(9)
    return made(name, *columns)
op.create_table = create_table
upgrade_database(sys.argv[1])
"""
    crashed = subprocess.run([sys.executable, "-c", program, database_url], capture_output=True, text=True)
    assert crashed.returncode == 9, crashed.stderr
    assert find_revision(database_url) == "0001"
    assert describe_schema(database_url) == schema
    upgrade_database(database_url)
    assert find_revision(database_url) == head_revision()
