"""Exports: one table of a study from the database to a file, by one query and in bounded memory."""

import itertools
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Literal, TextIO, TypeVar

import polars as pl
from sqlalchemy import Connection, Engine

from study.report.export import curvature_frame, epochs_frame, runs_frame, trials_frame
from study.report.table_files import TableFormat, write_table
from study.storage.records import (
    RunRecord,
    StudyRecord,
    find_study,
    stream_curvature,
    stream_epochs,
    stream_runs,
)

_Row = TypeVar("_Row")
TableName = Literal["runs", "trials", "epochs", "curvature"]
#: Rows of the database that one frame is made of. More do not make an export quicker.
ROWS_AT_ONCE = 50_000
_LINE_SECONDS = 5.0


def export_table(engine: Engine, name: str, table: TableName, *, path: Path, format_: TableFormat, log: TextIO) -> int:
    """Write ``table`` of the study called ``name`` to ``path``; a long export says how far it is.

    Args:
        engine: The database.
        name: Of the study.
        table: One of the tables of docs/reports.md.
        path: The file to write.
        format_: Its format.
        log: Where a line is written every few seconds.

    Returns:
        The number of rows.

    Raises:
        UnknownStudyError: There is no such study.
        OutputError: The file cannot be written.
    """
    with engine.connect() as connection:
        study = find_study(connection, name)
        frames = table_frames(connection, study, table)
        return write_table(_announced(frames, table, log), path, format_)


def table_frames(
    connection: Connection, study: StudyRecord, table: TableName, *, rows_at_once: int = ROWS_AT_ONCE
) -> Iterator[pl.DataFrame]:
    """The table in parts, in its order, from one query; one part without rows where there are none.

    Args:
        connection: To the study's database.
        study: The study.
        table: Which table.
        rows_at_once: Rows of the database that a part is made of; all runs of a trial are in one part.
    """
    if table == "epochs":
        return _frames(epochs_frame, study, _cut(stream_epochs(connection, study.id), rows_at_once))
    if table == "curvature":
        return _frames(curvature_frame, study, _cut(stream_curvature(connection, study.id), rows_at_once))
    make_frame = runs_frame if table == "runs" else trials_frame
    return _frames(make_frame, study, _cut_between_trials(stream_runs(connection, study.id), rows_at_once))


def _frames(
    make_frame: Callable[[StudyRecord, Iterable[_Row]], pl.DataFrame],
    study: StudyRecord,
    parts: Iterable[Sequence[_Row]],
) -> Iterator[pl.DataFrame]:
    empty = True
    for part in parts:
        yield make_frame(study, part)
        empty = False
    if empty:
        yield make_frame(study, [])


def _cut(rows: Iterator[_Row], size: int) -> Iterator[Sequence[_Row]]:
    """``rows`` in lists of ``size``, the last one of what is left."""
    while part := list(itertools.islice(rows, size)):
        yield part


def _cut_between_trials(runs: Iterable[RunRecord], size: int) -> Iterator[Sequence[RunRecord]]:
    """``runs`` in lists of at least ``size``, but for the last, and of whole trials."""
    part: list[RunRecord] = []
    for _, of_trial in itertools.groupby(runs, key=lambda run: run.trial.id):
        part.extend(of_trial)
        if len(part) >= size:
            yield part
            part = []
    if part:
        yield part


def _announced(frames: Iterable[pl.DataFrame], table: TableName, log: TextIO) -> Iterator[pl.DataFrame]:
    """``frames``, with a line every few seconds."""
    rows, shown = 0, time.monotonic()
    for frame in frames:
        yield frame
        rows += frame.height
        if time.monotonic() - shown >= _LINE_SECONDS:
            print(f"{table}: {rows:,} rows", file=log, flush=True)
            shown = time.monotonic()
