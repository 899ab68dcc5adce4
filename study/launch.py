"""Starts what one study needs, in the order in which a mistake leaves nothing half-written."""

import signal
from pathlib import Path
from types import FrameType
from typing import Literal, NoReturn

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from study.driver import Driver, check_name, find_or_create_study
from study.errors import DatabaseError
from study.progress import make_display
from study.report.render import build_report, check_output, write_report
from study.settings import Settings
from study.spec import StudySpec
from study.storage.engine import create_database, database_exists, open_database, shown
from study.storage.records import StudyRecord, find_study
from workers.pool import InlinePool, WorkerPool
from workers.ray_pool import RayPool

PoolKind = Literal["ray", "inline"]


def run_study(spec: StudySpec, settings: Settings, *, pool: PoolKind, workers: int | None, out: Path) -> Path:
    """Run ``spec`` to its end, or what is missing of it, and write its report.

    Args:
        spec: The study.
        settings: Database and Ray address.
        pool: Ray actors, or this process.
        workers: Number of Ray actors; None for one per processor.
        out: Folder of the report.

    Returns:
        The path of the report's HTML page.

    Raises:
        StudyError: Something is wrong; unless the study had begun, nothing was written.
        MissingDataError: A workload's data is missing; nothing was written.
        RayUnavailableError: Ray cannot be used; nothing was written.
    """
    check_output(out)
    if database_exists(settings.database_url):
        check_name(open_database(settings.database_url), spec)
    with make_pool(pool, settings, workers) as started:
        for workload in spec.workloads:
            started.check_workload(workload)
        engine = create_database(settings.database_url)
        _drive(engine, find_or_create_study(engine, spec), started, settings)
    return write_report(build_report(engine, spec.name), out)


def resume_study(name: str, settings: Settings, *, pool: PoolKind, workers: int | None, out: Path) -> Path:
    """Run what is missing of a study that the database has, and write its report; arguments as in run_study."""
    check_output(out)
    engine = open_database(settings.database_url)
    with engine.connect() as connection:
        study = find_study(connection, name)
    with make_pool(pool, settings, workers) as started:
        for workload in study.spec.workloads:
            started.check_workload(workload)
        _drive(engine, study, started, settings)
    return write_report(build_report(engine, name), out)


def make_pool(kind: PoolKind, settings: Settings, workers: int | None) -> WorkerPool:
    """The pool that was asked for, not yet started."""
    if kind == "inline":
        return InlinePool()
    return RayPool(workers=workers, address=settings.ray_address)


def _drive(engine: Engine, study: StudyRecord, pool: WorkerPool, settings: Settings) -> None:
    # `docker stop` and `kill` are as clean as Ctrl-C.
    previous = signal.signal(signal.SIGTERM, _interrupt)
    try:
        with make_display() as display:
            Driver(engine, study, pool, display.show).run()
    except SQLAlchemyError as error:
        raise DatabaseError(
            f"the database {shown(settings.database_url)} failed while study {study.name!r} ran: "
            f"{getattr(error, 'orig', None) or error}\n"
            f"what was finished is kept; run the rest with: adai-study resume {study.name}"
        ) from error
    finally:
        signal.signal(signal.SIGTERM, previous)


def _interrupt(number: int, frame: FrameType | None) -> NoReturn:
    del number, frame
    raise KeyboardInterrupt
