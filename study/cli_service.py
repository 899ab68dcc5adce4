"""The verbs of the service: submit, serve, cancel, watch, logs. Wiring only, as in :mod:`study.cli`."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from study.cli_options import common_options, pool_options, report_options
from study.settings import Settings

# Commands import what they need when they run, as in study.cli.
if TYPE_CHECKING:
    from study.pool_options import PoolOptions
    from study.storage.logs import LogEntry


@click.command()
@click.argument("spec", type=click.Path(path_type=Path))
@common_options
def submit(settings: Settings, spec: Path) -> None:
    """Put the study described by the file SPEC into the queue of a server.

    A study that is there already is not written again: one that was interrupted, cancelled or failed is queued again.

    Example: adai-study submit study/specs/digits.toml
    """
    from study.spec_file import load_spec
    from study.storage.engine import create_database
    from study.submission import submit_study

    loaded = load_spec(spec)
    with create_database(settings.database_url) as engine:
        click.echo(submit_study(engine, loaded, retry_seconds=settings.database_retry_seconds))


@click.command()
@click.option("--studies", type=click.IntRange(1, 100), default=4, show_default=True, help="Studies that run at once.")
@pool_options
@report_options
@click.option("--no-reports", is_flag=True, help="Write no reports; `adai-study report NAME` writes one later.")
@click.option("--metrics-port", type=click.IntRange(1, 65535), help="Serve Prometheus metrics on 127.0.0.1:PORT.")
@click.option(
    "--drain-seconds",
    type=click.FloatRange(min=0),
    default=30.0,
    show_default=True,
    help="After SIGTERM or Ctrl-C, batches that train may go on for so long.",
)
@click.option("--until-idle", is_flag=True, help="Stop when no study is queued, asked for or runs.")
@click.option(
    "--log-format",
    type=click.Choice(["auto", "json", "text"]),
    default="auto",
    show_default=True,
    help="Of the log on standard error; auto writes text to a terminal and JSON elsewhere.",
)
@common_options
def serve(
    settings: Settings,
    studies: int,
    pool: "PoolOptions",
    out: Path | None,
    tolerance: float,
    no_reports: bool,
    metrics_port: int | None,
    drain_seconds: float,
    until_idle: bool,
    log_format: str,
) -> None:
    """Run queued studies, several at once on one pool of workers, until SIGTERM or Ctrl-C.

    Each finished study gets its report in a folder of its own. What has not finished goes back to the queue.

    Example: adai-study serve --studies 2 --out reports --metrics-port 9464
    """
    if no_reports and out is not None:
        raise click.UsageError("--out names the folder of the reports, --no-reports writes none; leave one out")
    from study.launch import drive_options
    from study.service import ServiceOptions
    from study.serving import serve_database

    options = ServiceOptions(
        studies=studies,
        reports=None if no_reports else out or Path("reports"),
        tolerance=tolerance,
        until_idle=until_idle,
        drive=drive_options(settings, drain_seconds=drain_seconds),
    )
    serve_database(settings, pool, options, metrics_port=metrics_port, log_format=log_format)


@click.command()
@click.argument("name")
@common_options
def cancel(settings: Settings, name: str) -> None:
    """Stop study NAME, wherever it runs; what was finished is kept, and `resume` runs the rest.

    Example: adai-study cancel digits
    """
    from study.storage.engine import open_database
    from study.submission import cancel_study

    with open_database(settings.database_url) as engine:
        click.echo(cancel_study(engine, name))


@click.command()
@click.argument("name")
@click.option(
    "--interval", type=click.FloatRange(0.1, 3600), default=1.0, show_default=True, help="Seconds between looks."
)
@common_options
def watch(settings: Settings, name: str, interval: float) -> None:
    """Show the progress of study NAME until it ends, wherever it runs; Ctrl-C ends the watching only.

    Example: adai-study watch digits
    """
    from study.watching import watch_study

    state = watch_study(name, settings, interval=interval)
    click.echo(f"{name}: {state}")
    if state != "completed":
        sys.exit(1)


@click.command()
@click.argument("name")
@click.option("--follow", is_flag=True, help="Go on with what is written later, until the study ends.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
@common_options
def logs(settings: Settings, name: str, follow: bool, as_json: bool) -> None:
    """Show what happened to study NAME: attempts, losses, decisions, with their identifiers.

    Example: adai-study logs digits --follow
    """
    from study.watching import follow_logs

    for entry in follow_logs(name, settings, follow=follow):
        click.echo(_as_json(name, entry) if as_json else _as_text(entry))


def _as_json(study: str, entry: "LogEntry") -> str:
    known = {"at": entry.at.isoformat(), "level": entry.level, "event": entry.event, "study": study}
    return json.dumps(known | entry.details)


def _as_text(entry: "LogEntry") -> str:
    details = " ".join(f"{name}={value}" for name, value in entry.details.items())
    return f"{entry.at:%Y-%m-%d %H:%M:%S} {entry.level:7} {entry.event} {details}".rstrip()
