"""Starts what one study needs, in the order in which a mistake leaves nothing half-written."""

import contextlib
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from study.creation import check_name, check_workloads, create_study, plan_engines
from study.drive_options import DriveOptions
from study.driver import Driver
from study.errors import DatabaseError, FailedTrialsError, OutputError, StudyError
from study.pool_options import PoolOptions
from study.progress import make_display
from study.report.analysis import Settings as ReportSettings
from study.report.folder import check_output
from study.report.part_cache import PartCache
from study.report.reporting import report_study
from study.report.steps import make_steps
from study.settings import Settings
from study.spec import StudySpec
from study.storage.endings import count_failed_trials
from study.storage.engine import create_database, database_exists, database_file, open_database, shown
from study.storage.records import StudyRecord, find_study
from workers.pool import InlinePool, PoolLostError, SharablePool, WorkerPool, WorkerSettings
from workers.ray_pool import RayPool


@dataclass(frozen=True, slots=True)
class LaunchOptions:
    """How a study is run on this occasion; nothing here changes a number of its runs.

    Attributes:
        pool: Which workers train.
        out: Folder of the report; None writes none.
        tolerance: Of the report: which settings are good, as :class:`study.report.analysis.Settings` says.
    """

    pool: PoolOptions
    out: Path | None
    tolerance: float


def run_study(spec: StudySpec, settings: Settings, options: LaunchOptions) -> Path | None:
    """Run ``spec`` to its end, or what is missing of it, and write its report; failed trials are not tried again.

    Returns:
        The path of the report's HTML page; None if no report was asked for.

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
            return _run_missing(spec.name, settings, options, drive_options(settings))
    with _start_pool(settings, options) as pool:
        check_workloads(spec, pool)
        plans = plan_engines(spec, pool)
        with create_database(settings.database_url) as engine:
            patience = settings.database_retry_seconds
            study = create_study(engine, spec, plans, pool.device, retry_seconds=patience)
            with _failures(spec.name, settings):
                _drive(engine, study, pool, drive_options(settings))
            return _finish(engine, spec.name, options)


def resume_study(name: str, settings: Settings, options: LaunchOptions) -> Path | None:
    """Run what is missing of a study, failed trials among it, and write its report; otherwise as run_study.

    Raises:
        UnknownStudyError: There is no such study.
    """
    _check_output(settings, options)
    return _run_missing(name, settings, options, drive_options(settings, retry_failed=True))


def drive_options(settings: Settings, **changes: Any) -> DriveOptions:
    """How studies are driven in this deployment; ``changes`` are further fields of the options."""
    return DriveOptions(
        lease_seconds=settings.lease_seconds,
        heartbeat_seconds=settings.heartbeat_seconds,
        database_retry_seconds=settings.database_retry_seconds,
        **changes,
    )


def describe_report(name: str, path: Path | None) -> str:
    """Where the report of a study is, or how to get one, for people."""
    return f"report: {path}" if path else f"no report written; write it with: adai-study report {name}"


def _run_missing(name: str, settings: Settings, options: LaunchOptions, drive: DriveOptions) -> Path | None:
    with open_database(settings.database_url) as engine:
        with engine.connect() as connection:
            study = find_study(connection, name)
            missing = study.state != "completed" or (
                drive.retry_failed and study.spec.can_retry_failed and count_failed_trials(connection, study.id) > 0
            )
        if missing:
            with _start_pool(settings, options) as pool, _failures(name, settings):
                _drive(engine, study, pool, drive)
        return _finish(engine, name, options)


def _check_output(settings: Settings, options: LaunchOptions) -> None:
    """See that the report can be written, and that replacing it later cannot take the database with it."""
    if options.out is None:
        return
    check_output(options.out)
    file = database_file(settings.database_url)
    if file is not None and file.resolve().is_relative_to(options.out.resolve()):
        raise OutputError(
            f"the database {file} lies in the report's folder {options.out}, which is replaced as a whole; "
            "name another folder with --out"
        )


@contextlib.contextmanager
def _start_pool(settings: Settings, options: LaunchOptions) -> Iterator[WorkerPool]:
    """The pool that was asked for."""
    with _terminating_like_ctrl_c(), make_pool(settings, options.pool) as pool:
        yield pool


def make_pool(settings: Settings, options: PoolOptions) -> SharablePool:
    """The pool that was asked for, not started yet.

    Raises:
        RayUnavailableError: Ray is not installed.
    """
    worker = WorkerSettings(gpu_share=options.gpu_share, deterministic=options.deterministic)
    if options.pool == "inline":
        return InlinePool(worker)
    return RayPool(workers=options.workers, address=settings.ray_address, settings=worker)


def _drive(engine: Engine, study: StudyRecord, pool: WorkerPool, options: DriveOptions) -> None:
    """Run what is missing."""
    # Ray's start replaces the handler of SIGTERM by one that aborts.
    with _terminating_like_ctrl_c(), make_display() as display:
        Driver(engine, study, pool, display.show, options=options).run()


def _finish(engine: Engine, name: str, options: LaunchOptions) -> Path | None:
    """Write the report of a completed study, if one was asked for.

    Raises:
        FailedTrialsError: Some of its trials have no result; the report says so too.
    """
    path = None if options.out is None else _write_report(engine, name, options.out, options.tolerance)
    with engine.connect() as connection:
        study = find_study(connection, name)
        failed = count_failed_trials(connection, study.id)
    if failed:
        again = (
            f"once the cause is gone, try them again with: adai-study resume {name}"
            if study.spec.can_retry_failed
            else "later trials depend on how these ended: once the cause is gone, run the spec under another name"
        )
        raise FailedTrialsError(
            f"{failed} trials of study {name!r} failed and have no result; see why with: adai-study status {name}\n"
            f"{again}\n"
            f"{describe_report(name, path) if path is None else f'the report of the others: {path}'}"
        )
    return path


def _write_report(engine: Engine, name: str, folder: Path, tolerance: float) -> Path:
    chosen = ReportSettings(tolerance=tolerance)
    with make_steps() as steps:
        return report_study(engine, name, folder, chosen, cache=PartCache.of_user(), steps=steps)


@contextlib.contextmanager
def _failures(name: str, settings: Settings) -> Iterator[None]:
    """Say what to do when database or workers are lost while a study runs."""
    try:
        yield
    except PoolLostError as error:
        raise StudyError(
            f"the workers were lost while study {name!r} ran: {error}\n"
            f"what was finished is kept; run the rest with: adai-study resume {name}"
        ) from error
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
