"""From a study to its report folder: reads, computes, draws, writes."""

from pathlib import Path

import polars as pl
from sqlalchemy import Engine

from study.errors import FailedTrialsError, StudyError
from study.provenance import describe_environment
from study.publication import publish_report
from study.report.analysis import Settings
from study.report.folder import check_output
from study.report.from_database import read_study
from study.report.observations import Observations, StudyInfo, observe
from study.report.part_cache import PartCache
from study.report.report import make_report
from study.report.steps import Steps
from study.report.writing import write_report


def report_study(
    engine: Engine, name: str, folder: Path, settings: Settings, *, cache: PartCache, steps: Steps
) -> Path:
    """Write the report of a study of this service, and publish it into Optuna's study pages.

    Args:
        engine: The database.
        name: Of the study.
        folder: Where the report goes.
        settings: What the reader chose.
        cache: What was computed before.
        steps: Told of every part.

    Returns:
        The path of ``report.html``.

    Raises:
        UnknownStudyError: There is no such study.
        StudyError: No trial of it has finished.
        OutputError: The report cannot be written there.
    """
    check_output(folder)
    with engine.connect() as connection:
        tables = read_study(connection, name)
    observations = observe(*tables)
    if not any(cell.finished_N.any() for cell in observations.cells):
        raise _nothing_to_report(observations.info)
    report = make_report(observations, settings, describe_environment(), cache=cache, steps=steps)
    path = write_report(report, observations, folder, cache=cache, steps=steps)
    publish_report(engine, report)
    return path


def report_tables(
    info: StudyInfo,
    runs: pl.DataFrame,
    curvature: pl.DataFrame,
    folder: Path,
    settings: Settings,
    *,
    cache: PartCache,
    steps: Steps,
) -> Path:
    """Write the report of any study that was read, as :func:`study.report.foreign.from_optuna.read_optuna` does.

    Returns:
        The path of ``report.html``.

    Raises:
        StudyError: No trial of it has finished.
        OutputError: The report cannot be written there.
    """
    check_output(folder)
    observations = observe(info, runs, curvature)
    if not any(cell.finished_N.any() for cell in observations.cells):
        raise StudyError(f"no trial of {info.name} has finished with a finite value, so there is nothing to report")
    return write_observations(observations, folder, settings, cache=cache, steps=steps)


def write_observations(
    observations: Observations, folder: Path, settings: Settings, *, cache: PartCache, steps: Steps
) -> Path:
    """Compute and write the report of a study that has a finished trial; the path of ``report.html``."""
    report = make_report(observations, settings, describe_environment(), cache=cache, steps=steps)
    return write_report(report, observations, folder, cache=cache, steps=steps)


def _nothing_to_report(info: StudyInfo) -> StudyError:
    if info.failures:
        attempts = sum(failure.attempts for failure in info.failures)
        return FailedTrialsError(
            f"no trial of study {info.name!r} has a result, so there is nothing to report: {attempts} attempts "
            f"failed, most of them with: {info.failures[0].reason or 'unknown'}\n"
            f"see all with: adai-study status {info.name}"
        )
    return StudyError(
        f"no trial of study {info.name!r} has finished, so there is nothing to report; "
        f"run it with: adai-study resume {info.name}"
    )
