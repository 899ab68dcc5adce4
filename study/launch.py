"""Starts what one study needs, in the order in which a mistake leaves nothing half-written."""

import contextlib
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Literal, NoReturn

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from study.creation import check_name, create_study, plan_engines
from study.driver import Driver
from study.errors import DatabaseError, FailedTrialsError, OutputError
from study.progress import make_display
from study.report.render import build_report, check_output, write_report
from study.settings import Settings
from study.spec import StudySpec
from study.storage.engine import create_database, database_exists, database_file, open_database, shown
from study.storage.records import StudyRecord, find_study
from workers.pool import InlinePool, WorkerPool, WorkerSettings
from workers.ray_pool import RayPool

PoolKind = Literal["ray", "inline"]


@dataclass(frozen=True, slots=True)
class LaunchOptions:
    """How a study is run on this occasion; nothing here changes a number of its runs.

    Attributes:
        pool: Ray actors, or this process.
        workers: Number of Ray actors; None for one per processor.
        worker: What each of them uses.
        out: Folder of the report.
        tolerance: What the report counts as near the best.
    """

    pool: PoolKind
    workers: int | None
    worker: WorkerSettings
    out: Path
    tolerance: float


def run_study(spec: StudySpec, settings: Settings, options: LaunchOptions) -> Path:
    """Run ``spec`` to its end, or what is missing of it, and write its report.

    Returns:
        The path of the report's HTML page.

    Raises:
        StudyError: Something is wrong; unless the study had begun, nothing was written.
        MissingDataError: A workload's data is missing; nothing was written.
        RayUnavailableError: Ray cannot be used; nothing was written.
        RefusedError: A workload cannot be trained as the spec wants it; nothing was written.
    """
    _check_output(settings, options)
    if database_exists(settings.database_url):
        with open_database(settings.database_url) as engine:
            known = check_name(engine, spec)
        if known:
            return resume_study(spec.name, settings, options)
    with _start_pool(spec, settings, options) as pool:
        plans = plan_engines(spec, pool)
        with create_database(settings.database_url) as engine:
            study = create_study(engine, spec, plans, pool.device)
            with _database_failures(spec.name, settings):
                _drive(engine, study, pool)
            return _finish(engine, spec.name, options)


def resume_study(name: str, settings: Settings, options: LaunchOptions) -> Path:
    """Run what is missing of a study that the database has, and write its report; otherwise as run_study.

    Raises:
        UnknownStudyError: There is no such study.
    """
    _check_output(settings, options)
    with open_database(settings.database_url) as engine:
        with engine.connect() as connection:
            study = find_study(connection, name)
        if study.state != "completed":
            with _start_pool(study.spec, settings, options) as pool, _database_failures(name, settings):
                _drive(engine, study, pool)
        return _finish(engine, name, options)


def _check_output(settings: Settings, options: LaunchOptions) -> None:
    """See that the report can be written, and that replacing it later cannot take the database with it."""
    check_output(options.out)
    file = database_file(settings.database_url)
    if file is not None and file.resolve().is_relative_to(options.out.resolve()):
        raise OutputError(
            f"the database {file} lies in the report's folder {options.out}, which is replaced as a whole; "
            "name another folder with --out"
        )


@contextlib.contextmanager
def _start_pool(spec: StudySpec, settings: Settings, options: LaunchOptions) -> Iterator[WorkerPool]:
    """The pool that was asked for, with the data of every workload seen to be there."""
    pool: WorkerPool = (
        InlinePool(options.worker)
        if options.pool == "inline"
        else RayPool(workers=options.workers, address=settings.ray_address, settings=options.worker)
    )
    with _terminating_like_ctrl_c(), pool:
        for workload in spec.workloads:
            pool.check_workload(spec.reference(workload))
        yield pool


def _drive(engine: Engine, study: StudyRecord, pool: WorkerPool) -> None:
    """Run what is missing."""
    # Ray's start replaces the handler of SIGTERM by one that aborts.
    with _terminating_like_ctrl_c(), make_display() as display:
        Driver(engine, study, pool, display.show).run()


def _finish(engine: Engine, name: str, options: LaunchOptions) -> Path:
    """Write the report of a completed study.

    Raises:
        FailedTrialsError: Some of its trials have no result; the report says so too.
    """
    report = build_report(engine, name, tolerance=options.tolerance)
    path = write_report(report, options.out)
    failed = report.count_failed_trials()
    if failed:
        raise FailedTrialsError(
            f"{failed} trials of study {name!r} failed and have no result; see why with: adai-study status {name}\n"
            "they are not tried again: once the cause is gone, run the spec under another name\n"
            f"the report of the others: {path}"
        )
    return path


@contextlib.contextmanager
def _database_failures(name: str, settings: Settings) -> Iterator[None]:
    try:
        yield
    except SQLAlchemyError as error:
        raise DatabaseError(
            f"the database {shown(settings.database_url)} failed while study {name!r} ran: "
            f"{getattr(error, 'orig', None) or error}\n"
            f"what was finished is kept; run the rest with: adai-study resume {name}"
        ) from error


@contextlib.contextmanager
def _terminating_like_ctrl_c() -> Iterator[None]:
    """`docker stop` and `kill` end the block as cleanly as Ctrl-C."""
    previous = signal.signal(signal.SIGTERM, _interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)


def _interrupt(number: int, frame: FrameType | None) -> NoReturn:
    del number, frame
    raise KeyboardInterrupt
