"""What a report costs: whole commands on 6 optimizers x 1,024 points x 3 seeds that nobody trained.

``adai-study report`` as a process of its own, from the start of Python to its end: with an empty cache of parts, again
with nothing changed, and with the results of one optimizer changed. Then ``adai-study verify``, which uses no cache.
The objective is a bowl with a cliff beyond which runs diverge, with noise of seeds.

Run: python benchmarks/report.py. Writes benchmarks/results/report-<date>.md.
"""

import argparse
import datetime as dt
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import sqlalchemy as sa
from sqlalchemy import Connection

from study.creation import create_study
from study.provenance import describe_environment
from study.spec_file import parse_spec
from study.specs import read_shipped_spec
from study.storage.engine import create_database
from study.storage.tables import attempts, runs, trials

HERE = Path(__file__).parent
COMMAND = Path(sys.executable).parent / "adai-study"
NAME = "report-benchmark"
CHANCE = 0.9
#: Ticks of the processor's clock in a second, as /proc counts them.
_TICKS = os.sysconf("SC_CLK_TCK")
_POLL_SECONDS = 0.1


def main() -> None:
    """Measure, print and write the table."""
    options = parse_options()
    environment = describe_environment()
    rows = []
    with tempfile.TemporaryDirectory(prefix="adai-report-") as scratch:
        url, out = f"sqlite:///{scratch}/study.db", Path(scratch) / "report"
        cache = {"XDG_CACHE_HOME": str(Path(scratch) / "cache")}
        count = make_study(url, options.points)
        report = ["report", NAME, "--db", url, "--out", str(out)]
        for name, words, before in (
            ("report, nothing kept", report, lambda: clear(Path(scratch) / "cache")),
            ("report, nothing changed", report, None),
            ("report, one optimizer changed", report, lambda: change_one(url)),
            ("verify", ["verify", str(out)], None),
        ):
            measured = []
            for _ in range(options.rounds):
                if before:
                    before()
                measured.append(measure(words, cache))
            rows.append(row(name, measured))
        size = (out / "report.html").stat().st_size
    lines = [
        f"# Reports on 6 optimizers x {options.points:,} points x 3 seeds, {dt.datetime.now(dt.UTC):%Y-%m-%d}",
        "",
        about(environment, count, size),
        "",
        "| command | n | seconds | CPU seconds | peak memory, MB |",
        "|---|--:|---|---|--:|",
        *rows,
    ]
    text = "\n".join(lines) + "\n"
    (HERE / "results" / f"report-{dt.datetime.now(dt.UTC):%Y-%m-%d}.md").write_text(text, encoding="utf-8")
    sys.stdout.write(text)


def about(environment: dict[str, Any], count: int, size: int) -> str:
    """Machine, versions, and what the columns mean."""
    return (
        f"{environment['processor']}, {environment['processors']} processors, load {os.getloadavg()[0]:.1f} at end; "
        f"Python {environment['python']}, {versions(environment)}; commit {environment['commit']}. {count:,} runs. "
        "Median (smallest to largest) of n whole commands. CPU seconds and memory are of the command and all processes "
        "that it starts, looked at ten times a second; what several share is counted once (PSS). report.html has "
        f"{size / 1e6:.1f} MB."
    )


def parse_options() -> argparse.Namespace:
    """The options of the command line."""
    parser = argparse.ArgumentParser(description="What a report costs.")
    parser.add_argument("--points", type=int, default=1024, help="per optimizer; default: %(default)s")
    parser.add_argument("--rounds", type=int, default=3, help="of each command; default: %(default)s")
    return parser.parse_args()


def make_study(url: str, points: int) -> int:
    """Write the study; the number of its runs."""
    text = (
        read_shipped_spec("digits")
        .replace('name = "digits"', f'name = "{NAME}"')
        .replace("points = 32", f"points = {points}")
    )
    text = text.replace('"digits-mlp", "digits-logistic"', '"digits-mlp"')
    with create_database(url) as engine:
        study = create_study(engine, parse_spec(text, source="benchmark"))
        with engine.begin() as connection:
            attempt = connection.execute(
                sa.insert(attempts).values(
                    study_id=study.id, workload="digits-mlp", optimizer="adai", runs=1, device="cpu", engine="stacked",
                    started_at=dt.datetime(2026, 1, 1, tzinfo=dt.UTC), termination="COMPLETED", worker="made-up",
                ).returning(attempts.c.id)
            ).scalar_one()  # fmt: skip
            return end_runs(connection, attempt)


def end_runs(connection: Connection, attempt: int) -> int:
    """A result for every run."""
    query = sa.select(runs.c.id, runs.c.seed, trials.c.optimizer, trials.c.unit).join(trials)
    updates = [ended(*row, attempt) for row in connection.execute(query)]
    by_key = runs.c.id == sa.bindparam("key")
    connection.execute(sa.update(runs).where(by_key), updates)
    connection.execute(sa.text("UPDATE adai_studies SET state = 'completed'"))
    return len(updates)


def ended(key: int, seed: int, optimizer: str, unit: dict[str, float | None], attempt: int) -> dict[str, object]:
    """The end of one run: a bowl in the unit cube, another for each optimizer, with a cliff."""
    place = np.array([0.5 if u is None else min(max(u, 0.0), 1.0) for u in unit.values()])
    optimum = 0.35 + 0.05 * (len(optimizer) % 4) + 0.1 * np.arange(len(place))
    noise = np.random.default_rng([key, seed]).normal(0.0, 0.01)
    value = 0.02 + float(np.sum(np.array([2.0, 0.5, 0.2])[: len(place)] * (place - optimum) ** 2)) + abs(noise)
    diverged = place[0] + 0.2 * place[1] > 1.0
    return {
        "key": key, "termination": "DIVERGED" if diverged else "COMPLETED", "reason": "", "epochs": 30,
        "objective": CHANCE if diverged else min(value, CHANCE), "at_chance": bool(diverged),
        "train_loss": None if diverged else value, "val_loss": None if diverged else value,
        "val_error": None if diverged else value, "test_loss": None if diverged else value,
        "test_error": None if diverged else min(value + 0.003, 1.0), "seconds": 0.5, "attempt_id": attempt,
        "steps_to_target": 500 if not diverged and value < 0.03 else None,
        "seconds_to_target": 0.3 if not diverged and value < 0.03 else None, "peak_memory": 10**8,
    }  # fmt: skip


def change_one(url: str) -> None:
    """Results of one optimizer that differ from all before."""
    with create_database(url) as engine, engine.begin() as connection:
        own = sa.select(trials.c.id).where(trials.c.optimizer == "adam")
        connection.execute(
            sa.update(runs)
            .where(runs.c.trial_id.in_(own), runs.c.objective < CHANCE)
            .values(objective=runs.c.objective * 0.999)
        )


def clear(folder: Path) -> None:
    """Nothing is kept."""
    for file in folder.rglob("*.json"):
        file.unlink()


def measure(words: list[str], environment: dict[str, str]) -> tuple[float, float, float]:
    """Wall seconds, CPU seconds and peak memory in MB of one command with all processes that it starts.

    Memory is the sum over its processes of what each has to itself and its part of what several share (PSS).
    """
    started = time.perf_counter()
    process = subprocess.Popen(  # noqa: S603 - our own command
        [str(COMMAND), *words],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=os.environ | environment,
        start_new_session=True,
    )
    peak, ticks = 0, {}
    while process.poll() is None:
        seen = [look(int(entry.name), process.pid) for entry in Path("/proc").iterdir() if entry.name.isdigit()]
        own = [found for found in seen if found is not None]
        peak = max(peak, sum(memory for _, memory, _ in own))
        ticks |= {pid: used for pid, _, used in own}
        time.sleep(_POLL_SECONDS)
    if process.returncode:
        raise RuntimeError(f"{' '.join(words)} ended with {process.returncode}")
    return time.perf_counter() - started, sum(ticks.values()) / _TICKS, peak / 1e3


def look(pid: int, session: int) -> tuple[int, int, int] | None:
    """Process, its memory in kB and its ticks; None if it is of another session, or gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
        if int(fields[3]) != session:
            return None
        sizes = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    memory = next((int(line.split()[1]) for line in sizes if line.startswith("Pss:")), 0)
    return pid, memory, int(fields[11]) + int(fields[12])


def row(name: str, measured: list[tuple[float, float, float]]) -> str:
    """One line of the table."""
    wall, cpu, peak = zip(*measured, strict=True)
    return f"| {name} | {len(measured)} | {spread(wall)} | {spread(cpu)} | {max(peak):.0f} |"


def spread(values: tuple[float, ...]) -> str:
    """Median (smallest to largest)."""
    return f"{statistics.median(values):.1f} ({min(values):.1f} to {max(values):.1f})"


def versions(environment: dict[str, Any]) -> str:
    """Those of what a report is made with."""
    packages = environment["packages"]
    return ", ".join(
        f"{name} {packages[name]}" for name in ("numpy", "scipy", "scikit-learn", "polars") if packages.get(name)
    )


if __name__ == "__main__":
    main()
