"""The verbs of reports: report, verify, compare. Wiring only, as in :mod:`study.cli`."""

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from study.cli_options import common_options, debug_option, report_options, require_finite
from study.errors import StudyError
from study.settings import Settings

# Commands import what they need when they run, as in study.cli.
if TYPE_CHECKING:
    from study.report.compare import Comparison
    from study.report.foreign.sampler import SamplerKind

#: Differences that are shown; the count says how many there are.
_SHOWN = 50


@click.command()
@click.argument("name", required=False)
@common_options
@report_options
@click.option(
    "--rope",
    type=click.FloatRange(min=0.0),
    default=0.01,
    show_default=True,
    callback=require_finite,
    help="Differences of test error, or of the objective, that are taken for equal.",
)
@click.option("--fresh", is_flag=True, help="Compute and draw everything anew, also what did not change.")
@click.option("--optuna", metavar="URL", help="Instead of NAME: any Optuna database or journal file, only read.")
@click.option("--study", "studies", metavar="NAME", multiple=True, help="With --optuna: study to compare; repeatable.")
@click.option("--chance", type=float, metavar="VALUE", help="With --optuna: value of a run that learned nothing.")
@click.option(
    "--seed", "seed_name", metavar="NAME", help="With --optuna: parameter or user attribute that is the seed."
)
@click.option(
    "--sampler",
    type=click.Choice(["unknown", "random", "qmc", "grid", "adaptive"]),
    default="unknown",
    show_default=True,
    help="With --optuna: what drew the points, where Optuna does not store it.",
)
def report(
    settings: Settings,
    name: str | None,
    out: Path | None,
    tolerance: float,
    rope: float,
    fresh: bool,
    optuna: str | None,
    studies: tuple[str, ...],
    chance: float | None,
    seed_name: str | None,
    sampler: "SamplerKind",
) -> None:
    """Write the report of study NAME, or of any Optuna studies: HTML, Markdown, PDF, figures, tables, JSON.

    Example: adai-study report digits --out reports/digits

    Example: adai-study report --optuna sqlite:///my.db --study resnet-adam --study resnet-sgd --out reports/resnet
    """
    from study.report.analysis import Settings as ReportSettings
    from study.report.folder import check_output
    from study.report.part_cache import PartCache
    from study.report.steps import make_steps

    chosen = ReportSettings(tolerance=tolerance, rope=rope)
    cache = PartCache.none() if fresh else PartCache.of_user()
    # Of other studies each has a folder of its own: a report replaces what is there.
    folder = out or Path("reports") / (name or re.sub(r"[^\w.-]+", "-", "-".join(["optuna", *studies]))[:100])
    if optuna is not None:
        if name is not None:
            raise click.UsageError(f"{name} names a study of this service, --optuna another database; leave one out")
        check_output(folder)
        from study.report.foreign.from_optuna import read_optuna
        from study.report.reporting import report_tables

        tables = read_optuna(optuna, studies, chance=chance, seed_name=seed_name, sampler=sampler)
        with make_steps() as steps:
            path = report_tables(*tables, folder, chosen, cache=cache, steps=steps)
    else:
        if name is None:
            raise click.UsageError("name a study of this service, or give --optuna URL for another Optuna database")
        if studies or chance is not None or seed_name is not None or sampler != "unknown":
            raise click.UsageError("--study, --chance, --seed and --sampler are for --optuna; leave them out")
        check_output(folder)
        from study.report.reporting import report_study
        from study.storage.engine import open_database

        with open_database(settings.database_url) as engine, make_steps() as steps:
            path = report_study(engine, name, folder, chosen, cache=cache, steps=steps)
    click.echo(f"report: {path}")


@click.command()
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@debug_option
def verify(folder: Path) -> None:
    """Compute every number of the report in DIR anew from its tables alone, and fail on a difference.

    Example: adai-study verify reports/digits
    """
    from study.report.steps import make_steps
    from study.report.verify import verify_report

    with make_steps() as steps:
        result = verify_report(folder, steps)
    for line in result.differences[:_SHOWN]:
        click.echo(f"differs: {line}", err=True)
    if result.unchecked:
        click.echo(
            f"{len(result.unchecked)} pictures were drawn by other versions of libraries than are installed here: "
            "only their SHA-256 was compared with the manifest"
        )
    if result.differences:
        raise StudyError(f"{len(result.differences)} differences; {folder} is not what its tables give")
    click.echo(f"{folder}: {result.numbers:,} values and {result.files} files are what its tables give")


@click.command()
@click.argument("first", metavar="REPORT_A", type=click.Path(path_type=Path))
@click.argument("second", metavar="REPORT_B", type=click.Path(path_type=Path))
@click.option("--all", "all_", is_flag=True, help="List every change, not only the first 50.")
@debug_option
def compare(first: Path, second: Path, all_: bool) -> None:
    """Show what changed from the report in REPORT_A to that in REPORT_B: study, settings, rows, numbers.

    Example: adai-study compare reports/before reports/after
    """
    from study.report.compare import compare_reports

    _show(compare_reports(first, second), None if all_ else _SHOWN)


def _show(found: "Comparison", limit: int | None) -> None:
    from rich.console import Console
    from rich.table import Table

    for line in found.study:
        click.echo(f"study: {line}")
    click.echo("runs: {} added, {} removed, {} with another result".format(*found.runs))
    for what, rows in (("added", found.added), ("removed", found.removed)):
        for line in rows[:limit]:
            click.echo(f"{what}: {line}")
    table = Table("table", "row", "column", "before", "after", "intervals", box=None)
    for change in found.changes[:limit]:
        apart = {None: "", True: "apart", False: "overlap"}[change.apart]
        table.add_row(change.table, change.row, change.column, change.before, change.after, apart)
    if found.changes:
        console = Console()
        (console if console.is_terminal else Console(width=200, file=sys.stdout)).print(table)
    more = sum(max(len(rows) - (limit or len(rows)), 0) for rows in (found.added, found.removed, found.changes))
    if more:
        click.echo(f"{more} more; --all lists them")
    click.echo(f"{len(found.changes)} values changed, {found.unchanged} did not")
