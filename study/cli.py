"""The command ``adai-study``: one verb a function, wiring only."""

import gc
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from study import cli_accounts, cli_report, cli_service
from study.cli_dashboard import DashboardWords, dashboard_options
from study.cli_options import common_options, launch_options
from study.errors import OutputError
from study.provenance import installed_version
from study.settings import Settings

# Commands import what they need when they run: torch, Optuna and Matplotlib take seconds, and --help needs none.
if TYPE_CHECKING:
    from rich.table import Table

    from study.launch import LaunchOptions
    from study.report.table_export import TableName
    from study.report.table_files import TableFormat
    from study.storage.progress import Failures, StudyProgress


#: Kinds of failure that status shows.
_FAILURES_SHOWN = 10


class _Group(click.Group):
    """A group whose commands end in one clear message; with --debug the traceback comes before it."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except (click.exceptions.Exit, click.ClickException, click.Abort, BrokenPipeError):
            raise
        except KeyboardInterrupt:
            click.echo("interrupted", err=True)
            sys.exit(130)
        # The last line of defence: users get a message, developers the traceback with --debug.
        except Exception as error:
            self._explain(error, debug=ctx.find_root().meta.get("debug", False))

    @staticmethod
    def _explain(error: Exception, *, debug: bool) -> None:
        from study.errors import StudyError
        from workers.pool import RefusedError
        from workers.ray_pool import RayUnavailableError
        from workers.workloads import MissingDataError

        if debug:
            traceback.print_exception(error)
        if isinstance(error, StudyError | MissingDataError | RayUnavailableError | RefusedError):
            click.echo(f"Error: {error}", err=True)
        else:
            hint = "" if debug else "; run the command again with --debug to see where, and report it"
            click.echo(f"Error: this is a fault of the program: {type(error).__name__}: {error}{hint}", err=True)
        sys.exit(getattr(error, "exit_code", 1))


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(installed_version("adai-study"), prog_name="adai-study")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
@click.pass_context
def main(ctx: click.Context, debug: bool) -> None:
    """Run hyperparameter studies of Adai and its baselines, and report how robust they are.

    Example: adai-study run study/specs/digits.toml
    """
    ctx.meta["debug"] = debug


@main.command()
@click.argument("spec", type=click.Path(path_type=Path))
@click.option(
    "--limit-train",
    type=click.IntRange(min=1),
    metavar="N",
    help="Train on N examples only; such a study needs a name of its own in a database.",
)
@common_options
@launch_options
def run(settings: Settings, spec: Path, limit_train: int | None, launch: "Callable[[str], LaunchOptions]") -> None:
    """Run the study described by the file SPEC and write its report.

    If the database has the study already, only what is missing runs.

    Example: adai-study run study/specs/digits.toml --workers 2
    """
    from study.launch import run_study
    from study.spec_file import limit_train_of, load_spec

    loaded = load_spec(spec)
    if limit_train is not None:
        loaded = limit_train_of(loaded, limit_train)
    _tell_report(loaded.name, run_study(loaded, settings, launch(loaded.name)))


@main.command()
@click.argument("name")
@common_options
@launch_options
def resume(settings: Settings, name: str, launch: "Callable[[str], LaunchOptions]") -> None:
    """Run what is missing of study NAME and write its report.

    Example: adai-study resume digits
    """
    from study.launch import resume_study

    _tell_report(name, resume_study(name, settings, launch(name)))


@main.command("list")
@common_options
def list_studies(settings: Settings) -> None:
    """List the studies in the database.

    Example: adai-study list
    """
    from rich.table import Table

    from study.storage.engine import open_database
    from study.storage.progress import read_progress

    with open_database(settings.database_url) as engine, engine.connect() as connection:
        progress = read_progress(connection)
    table = Table("study", "state", "runs ended", "diverged", "failed", "created", box=None)
    for name in dict.fromkeys(part.study for part in progress):
        parts = [part for part in progress if part.study == name]
        counts = [sum(getattr(p, field) for p in parts) for field in ("ended", "runs", "diverged", "failed")]
        created = parts[0].created_at.strftime("%Y-%m-%d %H:%M UTC")
        table.add_row(name, parts[0].state, f"{counts[0]}/{counts[1]}", str(counts[2]), str(counts[3]), created)
    _print(table)


@main.command()
@click.argument("name")
@common_options
def status(settings: Settings, name: str) -> None:
    """Show how far study NAME is, by optimizer, how its workloads are trained, and what failed.

    Example: adai-study status digits
    """
    from study.storage.engine import open_database
    from study.storage.progress import find_summary, read_failures, read_plans, read_progress

    with open_database(settings.database_url) as engine, engine.connect() as connection:
        study = find_summary(connection, name)
        progress = read_progress(connection, name)
        failures = read_failures(connection, study.id, limit=_FAILURES_SHOWN)
        plans = read_plans(connection, study.id)
    click.echo(f"{study.name}: {study.state}, created {study.created_at:%Y-%m-%d %H:%M} UTC")
    if study.driver is not None:
        click.echo(_describe_driver(study.name, study.driver))
    if study.error is not None:
        click.echo(f"error: {study.error}")
    _print(_progress_table(progress, study.objective))
    for workload, plan in plans.items():
        click.echo(f"{workload}: engine {plan.engine}, up to {plan.max_rows} runs together ({plan.reason})")
    _print_failures(failures)


@main.command()
@click.argument("name")
@click.option("--format", "format_", type=click.Choice(["csv", "parquet", "json"]), required=True, help="File format.")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="File to write.")
@click.option(
    "--table",
    type=click.Choice(["runs", "trials", "epochs", "curvature"]),
    default="runs",
    show_default=True,
    help="One row per run, per finished trial, or per epoch of each run.",
)
@common_options
def export(settings: Settings, name: str, format_: "TableFormat", out: Path, table: "TableName") -> None:
    """Export a table of study NAME to a file.

    Example: adai-study export digits --format parquet --out digits.parquet
    """
    from study.report.table_export import export_table
    from study.storage.engine import open_database

    # What was imported stays: looking through it again and again took half the time of a long export.
    gc.freeze()
    with open_database(settings.database_url) as engine:
        rows = export_table(engine, name, table, path=out, format_=format_, log=sys.stderr)
    click.echo(f"{rows} rows: {out}")


@main.command()
@click.option("--show", metavar="NAME", help="Print this spec instead.")
@click.option("--debug", is_flag=True, hidden=True)
def specs(show: str | None, debug: bool) -> None:
    """List the shipped specs, or print one.

    Example: adai-study specs --show digits > my-study.toml
    """
    from study.specs import list_shipped_specs, read_shipped_spec

    del debug
    click.echo(read_shipped_spec(show) if show else "\n".join(list_shipped_specs()), nl=not show)


@main.command()
@click.option("--debug", is_flag=True, hidden=True)
def workloads(debug: bool) -> None:
    """List the workloads that a spec can name.

    Example: adai-study workloads
    """
    from rich.table import Table

    from workers.workloads import WorkloadSourceError, get_workload, list_workloads

    del debug
    table = Table("workload", "batch size", "epochs", "what it is", box=None)
    for name in list_workloads():
        try:
            workload = get_workload(name)
        except WorkloadSourceError as error:
            table.add_row(name, "-", "-", f"not usable: {error}")
        else:
            table.add_row(name, str(workload.batch_size), str(workload.epochs), workload.title)
    _print(table)


@main.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--debug", is_flag=True, hidden=True)
def init(file: Path, debug: bool) -> None:
    """Write a commented starter spec to FILE, which must not exist.

    Example: adai-study init my-study.toml
    """
    from study.specs import read_starter_spec

    del debug
    try:
        with file.open("x", encoding="utf-8") as stream:
            stream.write(read_starter_spec())
    except OSError as error:
        raise OutputError(f"{file} cannot be written ({error.strerror}); name another file") from error
    click.echo(f"{file} written; edit it, then: adai-study run {file}")


@main.command()
@common_options
@dashboard_options
def dashboard(settings: Settings, words: DashboardWords) -> None:
    """Serve the dashboard and Optuna Dashboard for this database, with a sign-in, until Ctrl-C.

    Without a secret it is for this machine only. Without users it prints a link that signs in once.

    Example: adai-study dashboard --port 8080
    """
    # Imports run adai <- workers <- study <- dashboards; this command is the one exception.
    from dashboards.serving import make_secret, serve_database

    if words.make_secret is None:
        serve_database(settings, words)
    else:
        make_secret(words.make_secret)
        click.echo(f"{words.make_secret} written; now: adai-study dashboard --secret-file {words.make_secret}")


@main.command()
@common_options
def doctor(settings: Settings) -> None:
    """Check versions, database, Ray, devices, disk and data: each line ok, or what to do.

    Example: adai-study doctor
    """
    from study.doctor import examine

    findings = []
    for finding in examine(settings):
        findings.append(finding)
        click.echo(f"{'ok  ' if finding.ok else 'FAIL'}  {finding.subject}: {finding.detail}")
    if not all(finding.ok for finding in findings):
        sys.exit(1)


for verb in (
    cli_report.report,
    cli_report.verify,
    cli_report.compare,
    cli_service.submit,
    cli_service.serve,
    cli_service.cancel,
    cli_service.watch,
    cli_service.logs,
    cli_accounts.users,
    cli_accounts.tokens,
):
    main.add_command(verb)


@main.group()
def db() -> None:
    """Look at and upgrade the database's tables, and who may use them.

    Example: adai-study db current
    """


db.add_command(cli_accounts.grant)


@db.command()
@common_options
def upgrade(settings: Settings) -> None:
    """Create the tables, or bring them to this version.

    Example: adai-study db upgrade
    """
    from study.storage.engine import head_revision, shown, upgrade_database

    upgrade_database(settings.database_url)
    click.echo(f"{shown(settings.database_url)}: revision {head_revision()}")


@db.command()
@common_options
def current(settings: Settings) -> None:
    """Show the revision of the tables and the one that this version needs.

    Example: adai-study db current
    """
    from study.storage.engine import find_revision, head_revision, shown

    url = settings.database_url
    click.echo(f"{shown(url)}: revision {find_revision(url) or 'none'}, this version needs {head_revision()}")


def _tell_report(name: str, path: Path | None) -> None:
    from study.launch import describe_report

    click.echo(describe_report(name, path))


def _describe_driver(name: str, claim: str) -> str:
    from study.claim import describe, is_alive, is_here

    if is_here(claim) and not is_alive(claim):
        return f"its driver, {describe(claim)}, has died; run the rest with: adai-study resume {name}"
    return f"driven by {describe(claim)}"


def _progress_table(progress: "list[StudyProgress]", objective: str) -> "Table":
    from rich.table import Table

    table = Table("workload", "optimizer", "runs ended", "diverged", "pruned", "failed", f"best {objective}", box=None)
    for part in progress:
        best = "-" if part.best_objective is None else f"{part.best_objective:.4g}"
        ended = f"{part.ended}/{part.runs}"
        table.add_row(
            part.workload, part.optimizer, ended, str(part.diverged), str(part.pruned), str(part.failed), best
        )
    return table


def _print_failures(failures: "Failures") -> None:
    for kind in failures.kinds:
        times = f" ({kind.attempts} attempts)" if kind.attempts > 1 else ""
        name = kind.termination.name.lower().replace("_", " ")
        click.echo(f"{kind.workload}, {kind.optimizer}: {name}{times}: {kind.reason}")
    if failures.more:
        click.echo(f"and {failures.more} more kinds of failure; {failures.attempts} attempts failed in all")


def _print(table: "Table") -> None:
    """Print ``table``; piped, it is as wide as it needs to be."""
    from rich.console import Console

    console = Console()
    (console if console.is_terminal else Console(width=200)).print(table)
