"""Options that several verbs of the command share: the database, the report, how a study is launched."""

import functools
import math
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from pydantic import ValidationError

from study.errors import RequestError
from study.pool_options import PoolKind, PoolOptions
from study.settings import Settings

# Importing torch takes seconds, and --help needs none of it.
if TYPE_CHECKING:
    from study.launch import LaunchOptions


def common_options(function: Callable[..., None]) -> Callable[..., None]:
    """``--db`` and ``--debug``, and the settings as first argument."""

    @click.option(
        "--db",
        metavar="URL",
        help="Database, such as sqlite:///FILE.  [default: ADAI_DATABASE_URL or sqlite:///adai-study.db]",
    )
    @click.option("--debug", is_flag=True, help="Show the traceback of an error.")
    @click.pass_context
    @functools.wraps(function)
    def wrapped(ctx: click.Context, /, *, db: str | None, debug: bool, **arguments: Any) -> None:
        ctx.find_root().meta["debug"] = debug or ctx.find_root().meta.get("debug", False)
        settings = _read_settings()
        if db is not None:
            settings = settings.model_copy(update={"database_url": db})
        function(_add_passwords(settings), **arguments)

    return wrapped


def _read_settings() -> Settings:
    try:
        return Settings()
    except ValidationError as error:
        problems = "; ".join(
            f"ADAI_{str(problem['loc'][0]).upper()} is {problem['input']!r}: {problem['msg']}"
            for problem in error.errors()
        )
        raise RequestError(f"the environment is wrong: {problems}; correct or unset it") from error


def _add_passwords(settings: Settings) -> Settings:
    """With the passwords of files, where there are any: SQLAlchemy is imported only then."""
    if settings.database_password_file is None and settings.reader_database_password_file is None:
        return settings
    from study.database_passwords import add_passwords

    return add_passwords(settings)


def require_finite(ctx: click.Context, parameter: click.Parameter, value: float) -> float:
    """Refuse NaN and infinity, which ranges let pass: a callback of options."""
    del ctx, parameter
    if not math.isfinite(value):
        raise click.BadParameter(f"{value} is not a finite number")
    return value


def debug_option(function: Callable[..., None]) -> Callable[..., None]:
    """``--debug`` of a verb that needs no database."""

    def remember(ctx: click.Context, parameter: click.Parameter, value: bool) -> None:
        del parameter
        ctx.find_root().meta["debug"] = value or ctx.find_root().meta.get("debug", False)

    return click.option("--debug", is_flag=True, hidden=True, expose_value=False, callback=remember)(function)


def report_options(function: Callable[..., None]) -> Callable[..., None]:
    """Where the report goes and what it counts."""
    tolerance = click.option(
        "--tolerance",
        type=click.FloatRange(min=0.0, max=1.0, min_open=True, max_open=True),
        default=0.05,
        show_default=True,
        callback=require_finite,
        help="A setting is good if it loses at most this share of the way from the best result to chance level.",
    )
    out = click.option("--out", type=click.Path(path_type=Path), help="Folder of the report.  [default: reports/NAME]")
    return out(tolerance(function))


def pool_options(function: Callable[..., None]) -> Callable[..., None]:
    """Which workers train, as one argument ``pool``."""

    @click.option(
        "--pool", type=click.Choice(["ray", "inline"]), default="ray", show_default=True, help="Ray, or this process."
    )
    @click.option("--workers", type=click.IntRange(min=1), help="Ray workers.  [default: one per processor]")
    @click.option(
        "--gpu-share",
        type=click.FloatRange(0.0, 1.0),
        default=0.0,
        show_default=True,
        help="Share of a GPU for each worker; 0 trains on processors.",
    )
    @click.option("--deterministic", is_flag=True, help="Only operations that give the same bits every time.")
    @functools.wraps(function)
    def wrapped(
        *arguments: Any,
        pool: PoolKind,
        workers: int | None,
        gpu_share: float,
        deterministic: bool,
        **others: Any,
    ) -> None:
        if workers is not None and pool == "inline":
            raise click.UsageError("--workers has no meaning with --pool inline, which is one process; leave one out")
        function(*arguments, pool=PoolOptions(pool, workers, gpu_share, deterministic), **others)

    return wrapped


def launch_options(function: Callable[..., None]) -> Callable[..., None]:
    """How and where a study runs, and its report, as one argument ``launch``."""

    @pool_options
    @report_options
    @click.option("--no-report", is_flag=True, help="Write no report; `adai-study report NAME` does it later.")
    @functools.wraps(function)
    def wrapped(
        settings: Settings, *, pool: PoolOptions, out: Path | None, tolerance: float, no_report: bool, **arguments: Any
    ) -> None:
        if no_report and out is not None:
            raise click.UsageError("--out names the folder of the report, --no-report writes none; leave one out")

        def launch(name: str) -> "LaunchOptions":
            from study.launch import LaunchOptions

            return LaunchOptions(pool, None if no_report else out or Path("reports") / name, tolerance)

        function(settings, launch=launch, **arguments)

    return wrapped
