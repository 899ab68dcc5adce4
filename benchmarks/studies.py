"""How fast a whole study is beside the yardstick: wall time of whole commands, measured side by side.

The yardstick (benchmarks/yardstick.py) with each number of threads, and ``adai-study run`` with each choice of options:
the same number of trials, seeds and epochs, each in processes of its own, from the start of Python to the end of the
last process, imports, Ray's start and the report included. The quickest yardstick of a round is what counts. Rounds are
interleaved, so that a drift of the machine's speed hits all alike.

Run: python benchmarks/studies.py --workloads digits-logistic digits-mlp --epochs 15 200.
Writes benchmarks/results/studies-<date>.md.
"""

import argparse
import contextlib
import datetime as dt
import json
import shlex
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from study.provenance import describe_environment
from workers.workloads import get_workload

HERE = Path(__file__).parent
COMMAND = Path(sys.executable).parent / "adai-study"


@dataclass(frozen=True, slots=True)
class Case:
    """What is run once by every way: one workload and one budget."""

    workload: str
    epochs: int
    trials: int
    seeds: int

    @property
    def spec(self) -> str:
        """The study spec: Adai over its default search space, its default setting being one of the trials."""
        objective = "val_loss" if get_workload(self.workload).error is None else "val_error"
        return (
            f'name = "{self.workload}-{self.epochs}"\nworkloads = ["{self.workload}"]\nseeds = {self.seeds}\n'
            f'epochs = {self.epochs}\nobjective = "{objective}"\n\n'
            f'[design]\nkind = "sobol"\npoints = {self.trials - 1}\n\n[[optimizers]]\nname = "adai"\n'
        )


@dataclass(frozen=True, slots=True)
class Measurement:
    """One command.

    Attributes:
        seconds: From its start to its end.
        without_report: The same up to the moment at which the study was complete; equal to ``seconds`` for a yardstick.
        best: The lowest trial value.
    """

    seconds: float
    without_report: float
    best: float


def main() -> None:
    """Measure, print and write the tables."""
    options = parse_options()
    sections: list[str] = []
    for workload in options.workloads:
        for epochs in options.epochs:
            case = Case(workload, epochs, options.trials, options.seeds)
            sections += describe(case, measure(case, options), options)
    text = "\n".join([*header(options), *sections]).rstrip() + "\n"
    folder = HERE / "results"
    folder.mkdir(exist_ok=True)
    (folder / f"{options.name}-{dt.datetime.now(dt.UTC):%Y-%m-%d}.md").write_text(text, encoding="utf-8")
    sys.stdout.write(text)


def parse_options() -> argparse.Namespace:
    """The options of the command line."""
    parser = argparse.ArgumentParser(description="Whole studies beside the yardstick.")
    parser.add_argument("--workloads", nargs="+", default=["digits-logistic", "digits-mlp"], metavar="NAME")
    parser.add_argument("--epochs", type=int, nargs="+", default=[15], help="budgets; default: 15")
    parser.add_argument("--name", default="studies", help="of the results file; default: %(default)s")
    parser.add_argument("--rounds", type=int, default=3, help="default: %(default)s")
    parser.add_argument("--trials", type=int, default=64, help="default: %(default)s")
    parser.add_argument("--seeds", type=int, default=3, help="runs per trial; default: %(default)s")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2], help="of the yardstick; default: 1 2")
    parser.add_argument(
        "--yardstick-trials",
        type=int,
        metavar="N",
        help="let the yardstick run N trials only, and multiply the time after its start; the table says so",
    )
    parser.add_argument(
        "--options",
        nargs="+",
        default=[""],
        metavar="'OPTIONS'",
        help="of adai-study run, each choice in quotes, as in --options=' --pool inline'; default: none",
    )
    options = parser.parse_args()
    if options.trials < 2 or options.rounds < 1 or not 1 <= (options.yardstick_trials or 1) <= options.trials:
        parser.error("at least 2 trials and 1 round are needed, and no more yardstick trials than trials")
    return options


def measure(case: Case, options: argparse.Namespace) -> dict[str, list[Measurement]]:
    """Every way in every round, after a short study by each that is not counted (it compiles what is cached later)."""
    short = Case(case.workload, 1, 2, 1)
    run_yardstick(short, options.threads[0], short.trials)
    for arguments in options.options:
        run_study(short, arguments)
    measured: dict[str, list[Measurement]] = {}
    for _ in range(options.rounds):
        for threads in options.threads:
            result = run_yardstick(case, threads, options.yardstick_trials or case.trials)
            measured.setdefault(yardstick_name(threads), []).append(result)
        for arguments in options.options:
            measured.setdefault(study_name(arguments), []).append(run_study(case, arguments))
    return measured


def yardstick_name(threads: int) -> str:
    """How a yardstick is called in the table."""
    return f"yardstick, {threads} thread{'s' * (threads > 1)}"


def study_name(arguments: str) -> str:
    """How a study is called in the table."""
    return " ".join(["`adai-study run SPEC", *shlex.split(arguments)]) + "`"


def run_yardstick(case: Case, threads: int, trials: int) -> Measurement:
    """The yardstick once; with fewer trials, the time from the first trial on counts as many times as are missing."""
    with tempfile.TemporaryDirectory() as folder:
        database = Path(folder) / "yardstick.db"
        numbers = {"trials": trials, "seeds": case.seeds, "epochs": case.epochs, "threads": threads}
        command = [sys.executable, str(HERE / "yardstick.py"), "--workload", case.workload, "--database", str(database)]
        started = time.perf_counter()
        output = run([*command, *(f"--{name}={number}" for name, number in numbers.items())])
        seconds = time.perf_counter() - started
        start: float = json.loads(output)["seconds_before_first_trial"]
        scaled = start + (seconds - start) * case.trials / trials
        return Measurement(scaled, scaled, query(database, "SELECT min(value) FROM trial_values"))


def run_study(case: Case, arguments: str) -> Measurement:
    """The study once, with its report."""
    with tempfile.TemporaryDirectory() as folder:
        spec, database = Path(folder) / "spec.toml", Path(folder) / "study.db"
        spec.write_text(case.spec, encoding="utf-8")
        command = [str(COMMAND), "run", str(spec), "--db", f"sqlite:///{database}", "--out", f"{folder}/report"]
        began = time.time()
        started = time.perf_counter()
        run([*command, *shlex.split(arguments)])
        seconds = time.perf_counter() - started
        # SQLite's julianday has milliseconds; 2440587.5 is 1970-01-01 00:00 UTC.
        complete = query(database, "SELECT (julianday(finished_at) - 2440587.5) * 86400 FROM adai_studies")
        return Measurement(seconds, complete - began, query(database, "SELECT min(value) FROM trial_values"))


def run(command: Sequence[str]) -> str:
    """The output of a command that must succeed."""
    result = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - our own programs
    if result.returncode:
        sys.exit(f"{shlex.join(command)} ended with {result.returncode}:\n{result.stderr}")
    return result.stdout


def query(database: Path, statement: str) -> float:
    """The one number that ``statement`` selects."""
    with contextlib.closing(sqlite3.connect(database)) as connection:
        return float(connection.execute(statement).fetchone()[0])


def header(options: argparse.Namespace) -> list[str]:
    """Where and how it was measured."""
    environment = describe_environment()
    packages = ", ".join(f"{name} {environment['packages'][name]}" for name in ("torch", "optuna", "ray", "sqlalchemy"))
    conditions = (
        f"{environment['processor']}, {environment['processors']} processors, CPU only; Python "
        f"{environment['python']}, {packages}; commit {environment['commit']}. {options.rounds} interleaved rounds; "
        "seconds of wall time of whole commands; ratios are taken round by round, the quickest yardstick of the round "
        "by the command: median (smallest to largest). Without report: until the study is complete in the database."
    )
    return [f"# Whole studies beside the yardstick, {dt.datetime.now(dt.UTC):%Y-%m-%d}", "", conditions, ""]


def describe(case: Case, measured: dict[str, list[Measurement]], options: argparse.Namespace) -> list[str]:
    """One case as Markdown."""
    yardsticks = [measured[yardstick_name(threads)] for threads in options.threads]
    base = [min(m.seconds for m in round_) for round_ in zip(*yardsticks, strict=True)]
    lines = [
        f"## {case.workload}, {case.epochs} epochs: {case.trials} trials x {case.seeds} seeds",
        "",
        *note_on_scaling(case, options),
        "| way | n | seconds | times the yardstick's speed | the same without report | best value |",
        "|---|--:|---|---|---|--:|",
    ]
    for way, own in measured.items():
        seconds = [m.seconds for m in own]
        whole, without = ratios(base, seconds), ratios(base, [m.without_report for m in own])
        best = min(m.best for m in own)
        lines.append(f"| {way} | {len(own)} | {spread(seconds)} | {whole} | {without} | {best:.4g} |")
    return [*lines, "", "```toml", case.spec.rstrip(), "```", ""]


def note_on_scaling(case: Case, options: argparse.Namespace) -> list[str]:
    """What the reader must know if the yardstick ran fewer trials."""
    fewer = options.yardstick_trials
    if fewer is None or fewer == case.trials:
        return []
    note = (
        f"The yardstick ran {fewer} of the {case.trials} trials: its time from the first trial on is multiplied by "
        f"{case.trials / fewer:g}, its start is not. Its best value is that of those trials."
    )
    return [note, ""]


def ratios(base: Sequence[float], own: Sequence[float]) -> str:
    """Ratios round by round: median (smallest to largest)."""
    return spread([b / o for b, o in zip(base, own, strict=True)])


def spread(values: Sequence[float]) -> str:
    """Median (smallest to largest)."""
    return f"{statistics.median(values):.2f} ({min(values):.2f} to {max(values):.2f})"


if __name__ == "__main__":
    main()
