"""What people wait for at the dashboard: pages and API of large studies, and of a study that runs beside 50 readers.

1. Every page and API call of a study of 10,000 trials x 3 seeds, on SQLite and PostgreSQL, and 100,000 on SQLite: time
   to the first byte and bytes, the first time in a new process, and again.
2. The landscape's answer against the number of trials: bytes, and seconds where nothing is kept of it.
3. 50 readers with a stream each while a study trains on the same processors: their times, and the study's with and
   without them, in turns.
4. The list of 3,000 studies, and what 50 listeners of them cost while nothing happens.

Studies of 1 and 2 are made up by ``scale_database.py``; that of 3 is trained.

Run: python benchmarks/dashboard.py. Writes benchmarks/results/dashboard-<date>.md. Needs 1.5 GB of disk.
"""

import argparse
import contextlib
import datetime as dt
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import sqlalchemy as sa
from dashboard_client import COMMAND, Answer, Dashboard, reading, serving
from postgresql_server import postgresql_server
from scale_database import NAME, fill_database

from study.creation import create_study
from study.provenance import describe_environment, installed_version
from study.spec_file import parse_spec
from study.specs import read_shipped_spec
from study.storage.engine import create_database, open_database
from study.storage.tables import studies

HERE = Path(__file__).parent
API, PAGE = f"/v1/studies/{NAME}", f"/studies/{NAME}"
PATHS = (
    PAGE,
    f"{PAGE}/landscape",
    f"{PAGE}/curves",
    f"{PAGE}/trials",
    f"{PAGE}/trials?sort=objective",
    f"{PAGE}/trials/digits-mlp/adai/5",
    f"{PAGE}/failures",
    f"{PAGE}/spec",
    API,
    f"{API}/landscape?x=lr",
    f"{API}/landscape?x=lr&y=beta0&optimizer=adai",
    f"{API}/curves",
    f"{API}/trials?sort=objective",
    f"{API}/runs?limit=1000",
    f"{API}/epochs?limit=10000",
    f"{API}/failures",
)
LANDSCAPE = f"{API}/landscape?x=lr"
STUDIES = 3000
_POOLS = {"inline": "one process", "ray": "Ray, one for each processor"}
_READERS = (
    "Each reader looks at the list, the study, its landscape, curves or trials, as a page or over the API, or opens an "
    "event stream in place of its last one, and waits for a second on average before the next look. The study is "
    "`study/specs/digits.toml` on SQLite; its seconds are those from its first to its last transaction."
)
LIST_PATHS = ("/", "/?q=number+77", "/?sort=name", "/v1/studies?limit=200")


def main() -> None:
    """Measure, print and write the tables."""
    options = parse_options()
    started = os.getloadavg()[0]
    with tempfile.TemporaryDirectory(dir=options.folder, prefix="adai-dashboard-") as scratch:
        folder = Path(scratch)
        folder.chmod(0o755)  # the server's user enters it
        parts = {
            "pages": lambda: measure_pages(folder, options),
            "landscapes": lambda: measure_landscapes(folder, options),
            "readers": lambda: measure_readers(folder, options),
            "list": lambda: measure_list(folder, options),
        }
        lines = [line for name in options.parts for line in parts[name]()]
    text = "\n".join([*header(started), *lines]).rstrip() + "\n"
    (HERE / "results" / f"dashboard-{dt.datetime.now(dt.UTC):%Y-%m-%d}.md").write_text(text, encoding="utf-8")
    sys.stdout.write(text)


def parse_options() -> argparse.Namespace:
    """The options of the command line."""
    parser = argparse.ArgumentParser(description="Pages, landscapes, readers and lists of the dashboard.")
    names = ["pages", "landscapes", "readers", "list"]
    parser.add_argument("--parts", nargs="+", choices=names, default=names, help="default: all")
    parser.add_argument("--processes", type=int, default=3, help="new ones, for the first times; default: %(default)s")
    parser.add_argument("--again", type=int, default=20, help="times of each path after; default: %(default)s")
    parser.add_argument("--rounds", type=int, default=3, help="with and without readers; default: %(default)s")
    parser.add_argument("--readers", type=int, default=50, help="at once; default: %(default)s")
    parser.add_argument("--pools", nargs="+", choices=_POOLS, default=[*_POOLS], help="of the study; default: both")
    parser.add_argument("--large", type=int, default=100_000, help="most trials, on SQLite; default: %(default)s")
    parser.add_argument("--folder", help="where databases go; default: the system's")
    return parser.parse_args()


def header(load: float) -> list[str]:
    """The title, and what is to be known of all tables."""
    return [f"# The dashboard, {dt.datetime.now(dt.UTC):%Y-%m-%d}", "", about(load), ""]


def about(load: float) -> str:
    """Machine, versions, and what the columns mean."""
    environment = describe_environment()
    versions = ", ".join(f"{name} {installed_version(name)}" for name in ("fastapi", "uvicorn", "sqlalchemy", "torch"))
    return (
        f"{environment['processor']}, {environment['processors']} processors, load {load:.1f} before and "
        f"{os.getloadavg()[0]:.1f} after; Python {environment['python']}, {versions}; commit {environment['commit']}. "
        "Dashboard, readers and study are processes of their own on this machine. Times are median (smallest to "
        "largest) of n; bytes are those of the body, with gzip."
    )


def measure_pages(folder: Path, options: argparse.Namespace) -> list[str]:
    """The first part."""
    lines = []
    for kind, trials in (("sqlite", 10_000), ("postgresql", 10_000), ("sqlite", options.large)):
        with made_up(kind, trials, folder) as url:
            lines += [f"## Pages of {trials:,} trials x 3 seeds, {kind}", ""]
            first: defaultdict[str, list[Answer]] = defaultdict(list)
            again: defaultdict[str, list[Answer]] = defaultdict(list)
            for _ in range(options.processes):
                with serving(url, folder) as dashboard:
                    for path in PATHS:
                        first[path].append(dashboard.ask(path))
                    peak = dashboard.peak_memory()
                    for _ in range(options.again):
                        for path in PATHS:
                            again[path].append(dashboard.ask(path))
            lines += table_of_paths(first, again)
            lines += ["", f"The process took {peak / 1e6:.0f} MB at most, all imports among them.", ""]
    return lines


def table_of_paths(first: dict[str, list[Answer]], again: dict[str, list[Answer]]) -> list[str]:
    """A row for each path."""
    lines = ["| path | n | first byte of a new process, ms | n | again, ms | bytes |", "|---|--:|---|--:|---|--:|"]
    for path, answers in first.items():
        later = again[path]
        assert {answer.status for answer in (*answers, *later)} == {200}, path  # noqa: S101 - nothing else is measured
        lines.append(
            f"| `{path}` | {len(answers)} | {spread([one.first for one in answers])} | {len(later)} | "
            f"{spread([one.first for one in later])} | {answers[0].size:,} |"
        )
    return lines


def measure_landscapes(folder: Path, options: argparse.Namespace) -> list[str]:
    """The second part."""
    lines = [
        "## The landscape against the number of trials, SQLite",
        "",
        f"`{LANDSCAPE}`: all five optimizers, after the study has changed, so that nothing is kept of it.",
        "",
        "| trials | n | seconds | bytes |",
        "|--:|--:|---|--:|",
    ]
    for trials in (1_000, 3_000, 10_000, 30_000, options.large):
        with made_up("sqlite", trials, folder) as url, serving(url, folder) as dashboard:
            answers = []
            for _ in range(options.again // 2):
                answers.append(dashboard.ask(LANDSCAPE))
                with open_database(url) as engine, engine.begin() as connection:
                    connection.execute(sa.update(studies).values(beat=studies.c.beat + 1))
            seconds = [answer.whole for answer in answers]
            lines.append(f"| {trials:,} | {len(answers)} | {spread(seconds, 1, 2)} | {answers[-1].size:,} |")
    return [*lines, ""]


def measure_readers(folder: Path, options: argparse.Namespace) -> list[str]:
    """The third part."""
    lines = [
        f"## {options.readers} readers beside a study that trains",
        "",
        _READERS,
        "",
        "| workers | readers | n | seconds of the study |",
        "|---|--:|--:|---|",
    ]
    waits: list[str] = []
    for pool in options.pools:
        name = _POOLS[pool]
        alone, read, looks = [], [], defaultdict(list)
        for _ in range(options.rounds):
            with tempfile.TemporaryDirectory(dir=folder) as scratch:
                alone.append(run_study(f"sqlite:///{scratch}/alone.db", Path(scratch), pool))
                url = f"sqlite:///{scratch}/read.db"
                with create_database(url), serving(url, folder) as dashboard:
                    begun = dashboard.cpu_seconds()
                    seconds, found = run_beside_readers(url, Path(scratch), pool, dashboard, options.readers)
                    share = (dashboard.cpu_seconds() - begun) / seconds
                read.append(seconds)
                for kind, times in found.items():
                    looks[kind] += times
        lines += [
            f"| {name} | 0 | {len(alone)} | {spread(alone, 1, 1)} |",
            f"| {name} | {options.readers} | {len(read)} | {spread(read, 1, 1)} |",
        ]
        waits += [*table_of_waits(name, looks), "", f"The dashboard took {share:.2f} of a processor meanwhile.", ""]
    return [*lines, "", *waits]


def run_study(url: str, folder: Path, pool: str) -> float:
    """Train the study; its seconds."""
    spec = folder / "digits.toml"
    spec.write_text(read_shipped_spec("digits"), encoding="utf-8")
    words = ["run", str(spec), "--pool", pool, "--no-report", "--db", url]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    subprocess.run([COMMAND, *words], env=environment, check=True, capture_output=True)  # noqa: S603 - our own command
    with open_database(url) as engine, engine.connect() as connection:
        created, finished = connection.execute(sa.select(studies.c.created_at, studies.c.finished_at)).one()
    seconds: float = (finished - created).total_seconds()
    return seconds


def run_beside_readers(
    url: str, folder: Path, pool: str, dashboard: Dashboard, readers: int
) -> tuple[float, dict[str, list[float]]]:
    """Train the study while it is read, as soon as it is there: its seconds, and those of every look."""
    with ThreadPoolExecutor(1) as executor:
        study = executor.submit(run_study, url, folder, pool)
        with open_database(url) as engine:
            while not (study.done() or count_studies(engine)):
                time.sleep(0.1)
        with reading(dashboard, "digits", readers, 1.0) as found:
            seconds = study.result()
    return seconds, found


def count_studies(engine: sa.Engine) -> int:
    """How many there are."""
    with engine.connect() as connection:
        return int(connection.execute(sa.select(sa.func.count()).select_from(studies)).scalar_one())


def table_of_waits(name: str, looks: dict[str, list[float]]) -> list[str]:
    """How long readers waited, by what they looked at."""
    failed = looks.pop("failed", [])
    everything = [seconds for times in looks.values() for seconds in times]
    lines = [
        f"Looks beside {name}; {len(failed)} failed:",
        "",
        "| look | n | p50, ms | p95, ms | p99, ms | longest, ms |",
    ]
    lines.append("|---|--:|--:|--:|--:|--:|")
    for kind, times in (*looks.items(), ("all", everything)):
        cuts = statistics.quantiles(times, n=100)
        shown = (statistics.median(times), cuts[94], cuts[98], max(times))
        lines.append(f"| {kind} | {len(times):,} | " + " | ".join(f"{1000 * value:.0f}" for value in shown) + " |")
    return lines


def measure_list(folder: Path, options: argparse.Namespace) -> list[str]:
    """The fourth part."""
    url = f"sqlite:///{folder}/list.db"
    make_list(url)
    with serving(url, folder) as dashboard:
        first = {path: [dashboard.ask(path)] for path in LIST_PATHS}
        again = {path: [dashboard.ask(path) for _ in range(options.again)] for path in LIST_PATHS}
        with reading(dashboard, "study-0", options.readers, 1000.0):
            time.sleep(5)
            begun, started = dashboard.cpu_seconds(), time.monotonic()
            time.sleep(20)
            share = (dashboard.cpu_seconds() - begun) / (time.monotonic() - started)
    return [
        f"## The list of {STUDIES:,} studies, SQLite",
        "",
        *table_of_paths(first, again),
        "",
        f"While nothing happens, looking for changes once a second takes {share:.3f} of a processor.",
        "",
    ]


def make_list(url: str) -> None:
    """Studies of one trial each."""
    text = 'description = "number {0}"\nworkloads = ["digits-logistic"]\nseeds = 1\nepochs = 1\n'
    text += '[design]\npoints = 1\n[[optimizers]]\nname = "sgd"\n'
    with create_database(url) as engine:
        for number in range(STUDIES):
            create_study(engine, parse_spec(f'name = "study-{number}"\n' + text.format(number), source="benchmark"))


@contextlib.contextmanager
def made_up(kind: str, trials: int, folder: Path) -> Iterator[str]:
    """The URL of a database with a study of so many trials."""
    with contextlib.ExitStack() as stack:
        if kind == "sqlite":
            scratch = stack.enter_context(tempfile.TemporaryDirectory(dir=folder))
            url = f"sqlite:///{scratch}/study.db"
        else:
            server = stack.enter_context(postgresql_server(folder))
            with psycopg.connect(server.replace("+psycopg", "") + "/postgres", autocommit=True) as connection:
                connection.execute("CREATE DATABASE study")
            url = f"{server}/study"
        with create_database(url) as engine:
            fill_database(engine, trials)
        yield url


def spread(seconds: Sequence[float], unit: int = 1000, digits: int = 1) -> str:
    """Median (smallest to largest)."""
    low, middle, high = (unit * one for one in (min(seconds), statistics.median(seconds), max(seconds)))
    return f"{middle:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"


if __name__ == "__main__":
    main()
