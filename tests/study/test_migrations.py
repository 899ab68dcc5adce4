"""Databases of earlier versions: upgraded in place, they keep every number and get exactly today's tables.

tests/assets/databases/000N.* were written by the version of that revision: one study that finished and one that was
interrupted after the trials of its first optimizer; from revision 0002 on with curvature.
"""

import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from study_reports import write_study_report
from tests_support import Command, comparable_tables

from study.errors import DatabaseError
from study.report.export import epochs_frame, runs_frame
from study.storage import migrations
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


@dataclass(frozen=True)
class Old:
    """A database of an earlier revision, and what is known of it."""

    url: str
    revision: str
    diverged: int

    @property
    def curvature(self) -> bool:
        """Whether its studies measured it."""
        return self.revision >= "0002"


REVISIONS = {"0001": 4, "0002": 0, "0003": 0}


def restore(revision: str, url: str) -> None:
    """Fill an empty database with what the version of ``revision`` wrote."""
    if url.startswith("sqlite"):
        shutil.copy(DATABASES / f"{revision}.sqlite", url.removeprefix("sqlite:///"))
        return
    with psycopg.connect(url.replace("+psycopg", "")) as connection:
        connection.execute((DATABASES / f"{revision}.sql").read_bytes())


@pytest.fixture(params=REVISIONS)
def old(request: pytest.FixtureRequest, any_database_url: str) -> Old:
    """A copy of the database of each earlier revision, of each supported kind."""
    restore(request.param, any_database_url)
    return Old(any_database_url, request.param, REVISIONS[request.param])


@pytest.fixture
def old_url(old: Old) -> str:
    """Its address."""
    return old.url


def stored_columns(url: str) -> dict[str, list[str]]:
    """The columns of every table, ours and Optuna's, less those that say which revision it is."""
    engine = sa.create_engine(url)
    inspector = sa.inspect(engine)
    found = {
        table: [column["name"] for column in inspector.get_columns(table)]
        for table in inspector.get_table_names()
        if not table.endswith("alembic_version")
    }
    engine.dispose()
    return found


def read_columns(url: str, columns: dict[str, list[str]]) -> dict[str, list[tuple[Any, ...]]]:
    """What stands in those columns, by the first of them, read without our code."""
    engine = sa.create_engine(url)
    quote = engine.dialect.identifier_preparer.quote
    with engine.connect() as connection:
        found = {
            table: sorted(
                (
                    tuple(row)
                    for row in connection.execute(sa.text(f"SELECT {', '.join(map(quote, names))} FROM {table}"))
                ),
                key=lambda row: repr(row[:2]),
            )
            for table, names in columns.items()
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


def test_there_is_a_database_of_every_earlier_revision() -> None:
    versions = sorted(Path(migrations.__file__).parent.glob("versions/0*.py"))
    assert [path.name[:4] for path in versions] == [*REVISIONS, head_revision()]


def test_a_database_of_an_earlier_version_is_refused_until_it_is_upgraded(old: Old, command: Command) -> None:
    old_url = old.url
    assert find_revision(old_url) == old.revision
    for open_it in (open_database, create_database):
        with (
            pytest.raises(
                DatabaseError,
                match=rf"older version \(revision {old.revision}\); back it up, then do: adai-study db up",
            ),
            open_it(old_url),
        ):
            pass
    result = command("db", "upgrade", "--db", old_url)
    assert result.exit_code == 0, result.output
    assert find_revision(old_url) == head_revision()


def test_upgrading_keeps_every_number(old: Old) -> None:
    columns = stored_columns(old.url)
    before = read_columns(old.url, columns)
    assert len(before["adai_runs"]) == 40
    assert len(before["adai_epochs"]) > 50
    assert len(before.get("adai_curvature", ())) == (30 if old.curvature else 0)
    upgrade_database(old.url)
    assert read_columns(old.url, columns) == before


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


def test_what_an_earlier_version_measured_is_read_reported_and_exported(old: Old, tmp_path: Path) -> None:
    columns = {"adai_runs": ["id", "objective"], "adai_epochs": ["run_id", "epoch"]}
    stored = read_columns(old.url, columns)
    upgrade_database(old.url)
    with open_database(old.url) as engine:
        with engine.connect() as connection:
            study = find_study(connection, "finished")
            runs = read_runs(connection, study.id)
            epochs = list(stream_epochs(connection, study.id))
            assert find_spec_hash(connection, "finished") == study.spec.hash
            assert len(list(stream_curvature(connection, study.id))) == (20 if old.curvature else 0)
            assert len(read_plans(connection, study.id)) == old.curvature
            assert [part.ended for part in read_progress(connection, "interrupted")] == [10, 0]
        report = write_study_report(engine, "finished", tmp_path / "report")
    assert len(runs) == 20
    objective_of = dict(stored["adai_runs"])
    assert {run.id: run.objective for run in runs} == {run.id: objective_of[run.id] for run in runs}
    assert sum(run.termination is not None and run.termination.name == "DIVERGED" for run in runs) == old.diverged
    run_table = runs_frame(study, runs)
    for name in ("steps_to_target", "seconds_to_target"):
        assert run_table[name].null_count() == 20
    # What revision 0002 measures for the first time.
    assert run_table["peak_memory"].null_count() == (0 if old.curvature else 20)
    epoch_table = epochs_frame(study, epochs)
    run_ids = {run.id for run in runs}
    assert epoch_table.height == sum(run_id in run_ids for run_id, _ in stored["adai_epochs"])
    assert epoch_table["grad_norm"].null_count() == (0 if old.curvature else epoch_table.height)
    assert epoch_table["val_loss"].null_count() < epoch_table.height
    for workload in report.info.workloads:
        rows = report.analysis.robustness.on(workload.name)
        assert [row.best.mean for row in rows] == sorted(row.best.mean for row in rows)
    assert report.analysis.endings.runs == 20
    assert (tmp_path / "report" / "tables" / "curvature.csv").exists() == old.curvature


def test_an_interrupted_study_of_an_earlier_version_is_resumed(old_url: str, command: Command) -> None:
    upgrade_database(old_url)
    with open_database(old_url) as engine:
        before = comparable_tables(engine, "interrupted")
    result = command("resume", "interrupted", "--pool", "inline", "--db", old_url, "--no-report")
    assert result.exit_code == 0, result.output
    with open_database(old_url) as engine:
        after = comparable_tables(engine, "interrupted")
    finished = [row for row in before["adai_runs"] if row["termination"] is not None]
    assert len(finished) == 10
    assert [row for row in after["adai_runs"] if row["optimizer"] == "adai"] == finished
    assert all(row["termination"] is not None for row in after["adai_runs"])


@pytest.mark.parametrize("revision", REVISIONS)
def test_a_crash_while_tables_are_upgraded_leaves_the_earlier_version(database_url: str, revision: str) -> None:
    restore(revision, database_url)
    schema = describe_schema(database_url)
    program = """
import os, sys
from alembic import op
from study.storage.engine import upgrade_database
made = op.create_table
def create_table(name, *columns):
    if name == "adai_servers":
        os._exit(9)
    return made(name, *columns)
op.create_table = create_table
upgrade_database(sys.argv[1])
"""
    crashed = subprocess.run([sys.executable, "-c", program, database_url], capture_output=True, text=True)
    assert crashed.returncode == 9, crashed.stderr
    assert find_revision(database_url) == revision
    assert describe_schema(database_url) == schema
    upgrade_database(database_url)
    assert find_revision(database_url) == head_revision()


#: Upgrades each database whose address it reads, and says so.
UPGRADER = """
import sys
from study.storage.engine import create_database, upgrade_database
print("ready", flush=True)
for line in sys.stdin:
    verb, url = line.split()
    if verb == "upgrade":
        upgrade_database(url)
    else:
        with create_database(url):
            pass
    print("done", flush=True)
"""


def test_processes_that_upgrade_or_make_one_database_at_once_do_no_harm(any_database_url: str) -> None:
    rounds = []
    for number, revision in enumerate([None, *REVISIONS] * 2):
        url = sibling(any_database_url, f"at_once_{number}")
        before = {}
        if revision is not None:
            restore(revision, url)
            columns = stored_columns(url)
            before = {"columns": columns, "rows": read_columns(url, columns)}
        rounds.append(("upgrade" if revision else "create", url, before))
    words = [sys.executable, "-c", UPGRADER]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    upgraders = [subprocess.Popen(words, **pipes) for _ in range(4)]
    assert [process.stdout.readline() for process in upgraders] == ["ready\n"] * 4
    for verb, url, _ in rounds:
        for process in upgraders:
            process.stdin.write(f"{verb} {url}\n")
            process.stdin.flush()
        answers = [process.stdout.readline() for process in upgraders]
        if answers != ["done\n"] * 4:
            for process in upgraders:
                process.kill()
            pytest.fail("\n".join(process.communicate()[1] for process in upgraders))
    for process in upgraders:
        assert process.communicate()[1] == ""
        assert process.returncode == 0
    for _, url, before in rounds:
        assert find_revision(url) == head_revision()
        engine = sa.create_engine(url)
        with engine.connect() as connection:
            for table in (VERSION_TABLE, "alembic_version", "version_info"):
                assert connection.execute(sa.text(f"SELECT count(*) FROM {table}")).scalar() == 1
        engine.dispose()
        if before:
            assert read_columns(url, before["columns"]) == before["rows"]


def sibling(url: str, name: str) -> str:
    """The address of another empty database of the same kind."""
    if url.startswith("sqlite"):
        return f"{url}-{name}.db"
    server, _, own = url.rpartition("/")
    with psycopg.connect(url.replace("+psycopg", ""), autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{own[:40]}_{name}"')
    return f"{server}/{own[:40]}_{name}"
