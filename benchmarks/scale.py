"""Whether a database with a large study stays usable: whole commands on 100,000 trials, 3 seeds and 20 epochs.

``adai-study status``, ``list`` and ``export`` of every table, each a process of its own, from the start of Python to
its end, on a study that ``scale_database.py`` makes up: on SQLite, and on a private PostgreSQL server as it comes. A
study of a tenth of the trials lies in a second database of the same kind, to see whether memory grows with it.

Run: python benchmarks/scale.py. Writes benchmarks/results/scale-<date>.md. Needs 3 GB of disk.
"""

import argparse
import contextlib
import datetime as dt
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psycopg
import sqlalchemy as sa
from postgresql_server import postgresql_server
from scale_database import EPOCHS, NAME, SEEDS, fill_database

from study.provenance import describe_environment
from study.storage.engine import create_database

HERE = Path(__file__).parent
COMMAND = Path(sys.executable).parent / "adai-study"
KINDS = ("sqlite", "postgresql")
TABLES = ("curvature", "trials", "runs", "epochs")
#: Starts a command and measures it. A process of its own, for a command's peak begins with that of what starts it.
_LAUNCH = """
import json, resource, subprocess, sys, time
started = time.perf_counter()
subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
seconds, used = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
print(json.dumps([seconds, used.ru_utime + used.ru_stime, used.ru_maxrss]))
"""


@dataclass(slots=True)
class Measured:
    """One command, in each round.

    Attributes:
        seconds: Wall time.
        cpu_seconds: Of the command's own process; a server's is not in it.
        peaks: Largest resident memory of the process, bytes.
        small_peak: The same on the study of a tenth of the trials.
    """

    seconds: list[float] = field(default_factory=list)
    cpu_seconds: list[float] = field(default_factory=list)
    peaks: list[int] = field(default_factory=list)
    small_peak: int = 0

    def add(self, words: list[str]) -> None:
        """Run the command once more."""
        said = subprocess.run(  # noqa: S603 - our own command
            [sys.executable, "-c", _LAUNCH, str(COMMAND), *words], capture_output=True, text=True, check=True
        )
        seconds, cpu_seconds, peak = json.loads(said.stdout)
        self.seconds.append(seconds)
        self.cpu_seconds.append(cpu_seconds)
        self.peaks.append(peak * 1024)


def main() -> None:
    """Measure, print and write the tables."""
    options = parse_options()
    folder = HERE / "results"
    folder.mkdir(exist_ok=True)
    lines = header(options)
    for kind in options.databases:
        with tempfile.TemporaryDirectory(dir=options.folder, prefix="adai-scale-") as scratch:
            Path(scratch).chmod(0o755)  # the server's user enters it
            with open_databases(kind, Path(scratch)) as urls:
                lines += section(kind, urls, Path(scratch), options)
    text = "\n".join(lines).rstrip() + "\n"
    (folder / f"scale-{dt.datetime.now(dt.UTC):%Y-%m-%d}.md").write_text(text, encoding="utf-8")
    sys.stdout.write(text)


def parse_options() -> argparse.Namespace:
    """The options of the command line."""
    parser = argparse.ArgumentParser(description="Status, list and export on a large study.")
    parser.add_argument("--trials", type=int, default=100_000, help="a multiple of 100; default: %(default)s")
    parser.add_argument("--rounds", type=int, default=3, help="of exports; default: %(default)s")
    parser.add_argument("--looks", type=int, default=9, help="rounds of status and list; default: %(default)s")
    parser.add_argument("--databases", nargs="+", choices=KINDS, default=KINDS, help="default: both")
    parser.add_argument("--folder", default=None, help="where databases and exports go; default: the system's")
    return parser.parse_args()


@contextlib.contextmanager
def open_databases(kind: str, scratch: Path) -> Iterator[tuple[str, str]]:
    """The URLs of two empty databases of one kind."""
    if kind == "sqlite":
        yield f"sqlite:///{scratch}/large.db", f"sqlite:///{scratch}/small.db"
        return
    with postgresql_server(scratch) as server:
        with psycopg.connect(server.replace("+psycopg", "") + "/postgres", autocommit=True) as connection:
            for name in ("large", "small"):
                connection.execute(f'CREATE DATABASE "{name}"')
        yield f"{server}/large", f"{server}/small"


def section(kind: str, urls: tuple[str, str], scratch: Path, options: argparse.Namespace) -> list[str]:
    """Fill the databases of one kind, and measure."""
    counts = [fill(url, trials) for url, trials in zip(urls, (options.trials, options.trials // 10), strict=True)]
    measured: dict[str, Measured] = {}
    for round_ in range(options.looks):
        for name, words in {"status": ["status", NAME], "list": ["list"]}.items():
            measured.setdefault(name, Measured()).add([*words, "--db", urls[0]])
        if round_ < options.rounds:
            for table in TABLES:
                measured.setdefault(f"export, {table}", Measured()).add(export_words(table, urls[0], scratch))
    for name, result in measured.items():
        on_small = Measured()
        table = name.removeprefix("export, ")
        looking = {"status": ["status", NAME, "--db", urls[1]], "list": ["list", "--db", urls[1]]}
        on_small.add(looking.get(name) or export_words(table, urls[1], scratch))
        result.small_peak = on_small.peaks[0]
    return describe(kind, counts[0], measured)


def export_words(table: str, url: str, scratch: Path) -> list[str]:
    """An export to Parquet; a file of an earlier round is replaced."""
    out = str(scratch / f"{table}.parquet")
    return ["export", NAME, "--table", table, "--format", "parquet", "--out", out, "--db", url]


def fill(url: str, trials: int) -> str:
    """Make the study up; how many rows it has, in words."""
    with create_database(url) as engine:
        fill_database(engine, trials)
        with engine.connect() as connection:
            rows = {
                table: connection.execute(sa.text(f"SELECT COUNT(*) FROM {table}")).scalar_one()  # noqa: S608
                for table in ("adai_trials", "adai_runs", "adai_epochs", "adai_attempts", "trial_intermediate_values")
            }
    return ", ".join(f"{count:,} in `{table}`" for table, count in rows.items())


def describe(kind: str, counts: str, measured: dict[str, Measured]) -> list[str]:
    """One kind of database as Markdown."""
    lines = [
        f"## {kind}",
        "",
        f"Rows: {counts}.",
        "",
        "| command | n | seconds | CPU seconds | peak memory, MB | of a tenth of the trials, MB |",
        "|---|--:|---|---|--:|--:|",
    ]
    for name, result in measured.items():
        peak, small = max(result.peaks) / 1e6, result.small_peak / 1e6
        lines.append(
            f"| {name} | {len(result.seconds)} | {spread(result.seconds)} | {spread(result.cpu_seconds)} "
            f"| {peak:.0f} | {small:.0f} |"
        )
    exports = [result.seconds for name, result in measured.items() if name.startswith("export")]
    if exports:
        totals = [sum(seconds) for seconds in zip(*exports, strict=True)]
        lines.append(f"| all four exports, one after the other | {len(totals)} | {spread(totals)} | | | |")
    return [*lines, ""]


def spread(values: list[float]) -> str:
    """Median, smallest and largest."""
    return f"{statistics.median(values):.2f} ({min(values):.2f} to {max(values):.2f})"


def header(options: argparse.Namespace) -> list[str]:
    """Where and how it was measured."""
    environment = describe_environment()
    packages = environment["packages"]
    versions = ", ".join(f"{name} {packages[name]}" for name in ("sqlalchemy", "polars", "torch"))
    load = os.getloadavg()[0]
    return [
        f"# A study of {options.trials:,} trials, {SEEDS} seeds, {EPOCHS} epochs, {dt.datetime.now(dt.UTC):%Y-%m-%d}",
        "",
        (
            f"{environment['processor']}, {environment['processors']} processors, load {load:.1f} at the start; Python "
            f"{environment['python']}, {versions}; commit {environment['commit']}. Median (smallest to largest) of n "
            "whole commands; exports are Parquet files. What is read is in the system's cache after the first round."
        ),
        "",
    ]


if __name__ == "__main__":
    main()
