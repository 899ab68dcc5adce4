"""Exports: every number as it stands in the database, in bounded memory, whole or not at all."""

import json
import signal
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterator
from io import StringIO
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import sqlalchemy as sa
from recorded_studies import record_study
from sqlalchemy import Engine
from tests_support import ADAI_STUDY, Command, wait_for

import study.report.table_export
from study.report.table_export import TableName, export_table, table_frames
from study.report.table_files import write_table
from study.storage.engine import create_database
from study.storage.records import StudyRecord

READERS: dict[str, Callable[[Path], pl.DataFrame]] = {
    "csv": pl.read_csv,
    "parquet": pl.read_parquet,
    "json": lambda path: pl.DataFrame(json.loads(path.read_text()), infer_schema_length=None),
}
TABLES: tuple[TableName, ...] = ("runs", "trials", "epochs", "curvature")


@pytest.fixture
def engine(any_database_url: str) -> Iterator[Engine]:
    """An empty database of each supported kind."""
    with create_database(any_database_url) as engine:
        yield engine


def parts_of(engine: Engine, study: StudyRecord, table: TableName, rows_at_once: int) -> list[pl.DataFrame]:
    with engine.connect() as connection:
        return list(table_frames(connection, study, table, rows_at_once=rows_at_once))


def query(engine: Engine, text: str, **values: Any) -> list[dict[str, Any]]:
    with engine.connect() as connection:
        return [dict(row) for row in connection.execute(sa.text(text), values).mappings()]


def naive_trials(engine: Engine, name: str) -> list[dict[str, Any]]:
    """The trials of a study in the plan's order, as they are stored."""
    text = "SELECT t.* FROM adai_trials t JOIN adai_studies s ON s.id = t.study_id WHERE s.name = :name ORDER BY t.id"
    return query(engine, text, name=name)


def naive_runs(engine: Engine, trial: dict[str, Any]) -> list[dict[str, Any]]:
    return query(engine, "SELECT * FROM adai_runs WHERE trial_id = :id ORDER BY seed", id=trial["id"])


def place(trial: dict[str, Any]) -> tuple[str, str, str, int]:
    return ("small", trial["workload"], trial["optimizer"], trial["number"])


def stored(value: Any) -> Any:
    """JSON as Python: PostgreSQL's driver has read it, SQLite's has not."""
    return json.loads(value) if isinstance(value, str) else value


@pytest.mark.parametrize("rows_at_once", [1, 3, 7, 1000])
def test_epochs_and_curvature_are_those_of_the_database_wherever_they_are_cut(
    engine: Engine, rows_at_once: int
) -> None:
    study = record_study(engine, points=6, epoch_count=3)
    record_study(engine, "other")
    epochs, curvature = [], []
    for trial in naive_trials(engine, "small"):
        for run in naive_runs(engine, trial):
            for row in query(engine, "SELECT * FROM adai_epochs WHERE run_id = :id ORDER BY epoch", id=run["id"]):
                names = ("train_loss", "val_loss", "val_error", "lr", "grad_norm", "seconds")
                epochs.append((*place(trial), run["seed"], row["epoch"], *(row[name] for name in names)))
            for row in query(engine, "SELECT * FROM adai_curvature WHERE run_id = :id", id=run["id"]):
                start = (*place(trial), run["seed"], row["epoch"])
                assert stored(row["values"]) == {"trace": 1.5, "slice_losses": [0.5, None], "examples": None}
                curvature += [(*start, "trace", None, 1.5), (*start, "slice_losses", 0, 0.5)]
                curvature += [(*start, "slice_losses", 1, None), (*start, "examples", None, None)]
    parts = parts_of(engine, study, "epochs", rows_at_once)
    assert [part.height for part in parts[:-1]] == [rows_at_once] * (len(parts) - 1)
    assert pl.concat(parts).rows() == epochs
    assert len(epochs) == 2 * 7 * 2 * 3
    assert pl.concat(parts_of(engine, study, "curvature", rows_at_once)).rows() == curvature


@pytest.mark.parametrize("rows_at_once", [1, 3, 1000])
def test_runs_and_trials_are_those_of_the_database_wherever_they_are_cut(engine: Engine, rows_at_once: int) -> None:
    study = record_study(engine, points=6)
    record_study(engine, "other")
    run_parts = parts_of(engine, study, "runs", rows_at_once)
    # All runs of a trial are in one part.
    assert [part.height for part in run_parts] == {1: [2] * 14, 3: [4] * 7, 1000: [28]}[rows_at_once]
    runs = iter(pl.concat(run_parts).rows(named=True))
    trials = iter(pl.concat(parts_of(engine, study, "trials", rows_at_once)).rows(named=True))
    for trial in naive_trials(engine, "small"):
        own = naive_runs(engine, trial)
        for run in own:
            check_run(next(runs), trial, run)
        if all(run["objective"] is not None and run["termination"] != "PRUNED" for run in own):
            check_trial(next(trials), trial, own)
    assert list(runs) == []
    assert list(trials) == []


def check_run(row: dict[str, Any], trial: dict[str, Any], run: dict[str, Any]) -> None:
    assert (row["study"], row["workload"], row["optimizer"], row["trial"]) == place(trial)
    for name, value in stored(trial["hyperparameters"]).items():
        assert row[name] == value
    ending = run["termination"]
    assert row["termination"] == (ending.lower() if ending else None)
    assert row["budget"] == 2
    assert row["at_chance"] == (None if run["at_chance"] is None else bool(run["at_chance"]))
    names = ("seed", "reason", "epochs", "objective", "train_loss", "val_loss", "val_error", "test_loss")
    names += ("test_error", "seconds", "steps_to_target", "seconds_to_target", "peak_memory")
    assert {name: row[name] for name in names} == {name: run[name] for name in names}
    assert (row["worker"], row["device"], row["engine"]) == (("inline", "cpu", "stacked") if ending else (None,) * 3)


def check_trial(row: dict[str, Any], trial: dict[str, Any], runs: list[dict[str, Any]]) -> None:
    assert (row["study"], row["workload"], row["optimizer"], row["trial"]) == place(trial)
    assert row["origin"] == trial["origin"]
    for axis, value in stored(trial["unit"]).items():
        assert row[f"unit_{axis}"] == value
    objectives = [run["objective"] for run in runs]
    assert row["seeds"] == len(runs) == 2
    assert row["diverged"] == sum(run["termination"] == "DIVERGED" for run in runs)
    assert row["objective_mean"] == pytest.approx(statistics.fmean(objectives), rel=1e-14)
    assert row["objective_sd"] == pytest.approx(statistics.stdev(objectives), rel=1e-14)
    tested = [run["test_error"] for run in runs if run["test_error"] is not None]
    assert row["test_error_mean"] == (pytest.approx(statistics.fmean(tested), rel=1e-14) if len(tested) == 2 else None)


@pytest.mark.parametrize("table", TABLES)
def test_a_table_has_the_same_columns_and_types_with_and_without_rows(engine: Engine, table: TableName) -> None:
    full = record_study(engine)
    empty = record_study(engine, "empty")
    with engine.begin() as connection:
        own = "(SELECT id FROM adai_runs WHERE trial_id IN (SELECT id FROM adai_trials WHERE study_id = :id))"
        for name in ("adai_epochs", "adai_curvature"):
            connection.execute(sa.text(f"DELETE FROM {name} WHERE run_id IN {own}"), {"id": empty.id})
        none = "UPDATE adai_runs SET termination = NULL, objective = NULL, attempt_id = NULL"
        connection.execute(sa.text(f"{none} WHERE id IN {own}"), {"id": empty.id})
    (part,) = parts_of(engine, empty, table, 1000)
    assert part.height == (20 if table == "runs" else 0)
    for rows_at_once in (1, 1000):
        assert {tuple(p.schema.items()) for p in parts_of(engine, full, table, rows_at_once)} == {
            tuple(part.schema.items())
        }


@pytest.mark.parametrize("format_", ["csv", "parquet", "json"])
def test_a_table_in_parts_is_written_as_one_file(format_: str, tmp_path: Path) -> None:
    text = ["a", 'with "quotes", commas\nand lines', None]
    frame = pl.DataFrame({"a": [1, 2, 3], "b": [0.1, None, 1 / 3], "c": text})
    for name, parts in {"one": [frame], "many": [frame[:0], frame[:1], frame[1:1], frame[1:]]}.items():
        path = tmp_path / f"{name}.{format_}"
        assert write_table(parts, path, format_) == 3
        assert READERS[format_](path).equals(frame), name
    assert write_table([frame[:0], frame[:0]], path, format_) == 0
    assert READERS[format_](path).height == 0
    assert {p.name for p in tmp_path.iterdir()} == {f"one.{format_}", f"many.{format_}"}


def test_a_long_export_says_how_far_it_is(engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    record_study(engine, points=6)
    quiet, log = StringIO(), StringIO()
    assert export_table(engine, "small", "runs", path=tmp_path / "a.csv", format_="csv", log=quiet) == 28
    monkeypatch.setattr(study.report.table_export, "_LINE_SECONDS", 0.0)
    export_table(engine, "small", "runs", path=tmp_path / "b.csv", format_="csv", log=log)
    assert quiet.getvalue() == ""
    assert log.getvalue() == "runs: 28 rows\n"


# What follows does it to the real command, which reads enough to be caught in the middle.


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """(URL of a database, of one with ten times the epochs): 60,000 and 600,000."""
    urls = []
    for epoch_count in (300, 3000):
        urls.append(f"sqlite:///{tmp_path_factory.mktemp('large')}/{epoch_count}.db")
        with create_database(urls[-1]) as engine:
            record_study(engine, points=49, epoch_count=epoch_count)
    return urls[0], urls[1]


#: A process of its own starts the command, for a command's peak begins with the memory of what starts it.
_LAUNCH = """
import resource, subprocess, sys
subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""


def export_words(url: str, out: Path) -> list[str]:
    return [ADAI_STUDY, "export", "small", "--table", "epochs", "--format", "parquet", "--db", url, "--out", str(out)]


def test_memory_does_not_grow_with_the_table(large: tuple[str, str], tmp_path: Path) -> None:
    peaks = []
    for number, url in enumerate(large):
        out = tmp_path / f"{number}.parquet"
        words = [sys.executable, "-c", _LAUNCH, *export_words(url, out)]
        peaks.append(int(subprocess.run(words, capture_output=True, check=True, timeout=100).stdout) * 1024)
        assert pl.read_parquet(out).height == 60_000 * 10**number
    # 540,000 rows more, as the tuples that they are read as, would be 250 MB more.
    assert peaks[1] - peaks[0] < 80_000_000


def test_an_export_that_is_interrupted_leaves_nothing(large: tuple[str, str], tmp_path: Path) -> None:
    (tmp_path / "epochs.parquet").write_text("an earlier export")
    process = subprocess.Popen(export_words(large[1], tmp_path / "epochs.parquet"), stderr=subprocess.PIPE, text=True)
    wait_for(lambda: any(tmp_path.glob(".epochs.parquet-*/part-*")))
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    # On a busy machine lines of progress come before it.
    assert (process.returncode, said.splitlines()[-1]) == (130, "interrupted")
    assert [path.name for path in tmp_path.iterdir()] == ["epochs.parquet"]
    assert (tmp_path / "epochs.parquet").read_text() == "an earlier export"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of one megabyte."""
    folder = tmp_path / "disk"
    folder.mkdir()
    words = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    if sys.platform != "linux" or subprocess.run(words, capture_output=True).returncode != 0:
        pytest.skip("only root can mount a small file system")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.parametrize("format_", ["csv", "parquet", "json"])
def test_a_full_disk_is_told_and_leaves_nothing(
    command: Command, large: tuple[str, str], small_disk: Path, format_: str
) -> None:
    words = ["export", "small", "--table", "epochs", "--db", large[1], "--format", format_, "--out"]
    result = command(*words, small_disk / "epochs")
    said = f"Error: {small_disk}/epochs cannot be written (No space left on device); choose another file with --out"
    assert (result.exit_code, result.output.splitlines()[-1]) == (2, said)
    assert list(small_disk.iterdir()) == []
