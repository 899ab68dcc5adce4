"""Starts a server: its log, its metrics, its database, its workers."""

import logging
import sys

import structlog
from prometheus_client import start_http_server

from study.errors import RequestError, SpecError
from study.launch import make_pool
from study.metrics import Metrics
from study.pool_options import PoolOptions
from study.report.folder import check_output
from study.service import Service, ServiceOptions
from study.settings import Settings
from study.spec import StudySpec
from study.spec_file import load_named_spec
from study.storage.engine import create_database
from study.storage.logs import process_log
from study.submission import submit_new_study

_HOST = "127.0.0.1"


def serve_database(
    settings: Settings, pool: PoolOptions, options: ServiceOptions, *, metrics_port: int | None, log_format: str
) -> None:
    """Run the queued studies of a database until told to stop.

    Args:
        settings: Which database, which Ray.
        pool: Which workers.
        options: How.
        metrics_port: Where Prometheus finds the metrics, on this machine; None does not serve them.
        log_format: ``json``, ``text``, or ``auto`` for text on a terminal.

    Raises:
        RequestError: The port is taken.
        OutputError: Reports cannot be written to their folder.
        SpecError: The study that the settings name cannot be submitted.
        RayUnavailableError: Ray cannot be used.
    """
    configure_log(log_format)
    if options.reports is not None:
        check_output(options.reports / "any")
    first_study = None if settings.study is None else _load_first_study(settings.study)
    metrics = Metrics()
    if metrics_port is not None:
        try:
            start_http_server(metrics_port, addr=_HOST, registry=metrics.registry)
        except OSError as error:
            raise RequestError(
                f"port {metrics_port} of {_HOST} cannot be used ({error.strerror}); choose another with --metrics-port"
            ) from error
    with create_database(settings.database_url) as engine:
        if first_study is not None:
            done = submit_new_study(engine, first_study, retry_seconds=settings.database_retry_seconds)
            process_log.info("first_study", study=first_study.name, done=done)
        Service(engine, lambda: make_pool(settings, pool), options, metrics).run()


def _load_first_study(name: str) -> StudySpec:
    try:
        return load_named_spec(name)
    except SpecError as error:
        message = f"ADAI_STUDY names a study that cannot be run: {error}; correct it, or unset it"
        raise SpecError(message, error.problems) from error


def configure_log(log_format: str) -> None:
    """Write the process's log to standard error, one event a line."""
    as_text = log_format == "text" or (log_format == "auto" and sys.stderr.isatty())
    renderer: structlog.typing.Processor = (
        structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty()) if as_text else structlog.processors.JSONRenderer()
    )
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[
            structlog.stdlib.ExtraAdder(),
            _drop_foreign_fields,
            structlog.stdlib.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
        ],
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            structlog.processors.format_exc_info,
            renderer,
        ],
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter)
    log = logging.getLogger("adai-study")
    log.handlers = [handler]
    log.setLevel(logging.INFO)
    log.propagate = False


def _drop_foreign_fields(
    logger: structlog.typing.WrappedLogger, method: str, event: structlog.typing.EventDict
) -> structlog.typing.EventDict:
    """Ray adds a field of its own to every record of the process."""
    del logger, method
    return {name: value for name, value in event.items() if not name.startswith("_ray")}
