"""Share of a study's time that its driver takes for everything that is not training.

The demo study is driven as the command does it, with all its transactions, in one process and with Ray. Time inside of
``next_event`` is training (one process) or waiting for workers (Ray); all other time of ``Driver.run`` is the driver's:
packing, transactions, decisions, progress. The start of Python and Ray, planning and the report are not in it.

Example: python benchmarks/driver_overhead.py --rounds 5
"""

import argparse
import datetime as dt
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from study.creation import create_study, plan_engines
from study.driver import Driver
from study.provenance import describe_environment
from study.spec import StudySpec
from study.spec_file import load_spec
from study.storage.engine import create_database
from workers.messages import PoolEvent
from workers.pool import InlinePool
from workers.ray_pool import RayPool

ROOT = Path(__file__).parent.parent
RESULTS = Path(__file__).parent / "results"


class TimedPool:
    """A pool that counts the time spent in ``next_event``; everything else is passed on."""

    def __init__(self, pool: Any) -> None:
        self._pool = pool
        self.seconds = 0.0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._pool, name)

    def next_event(self, timeout_seconds: float) -> PoolEvent | None:
        """As the pool's own."""
        started = time.perf_counter()
        try:
            event: PoolEvent | None = self._pool.next_event(timeout_seconds)
            return event
        finally:
            self.seconds += time.perf_counter() - started


def measure(spec: StudySpec, pool: Any) -> tuple[float, float]:
    """Seconds of the whole study, and of its driver, on a started pool and a new SQLite file."""
    timed = TimedPool(pool)
    with tempfile.TemporaryDirectory() as folder, create_database(f"sqlite:///{folder}/study.db") as engine:
        study = create_study(engine, spec, plan_engines(spec, pool), pool.device)
        started = time.perf_counter()
        Driver(engine, study, timed, lambda _: None).run()
        whole = time.perf_counter() - started
    return whole, whole - timed.seconds


def describe(name: str, results: list[tuple[float, float]]) -> str:
    """One row of the table."""
    wholes = [whole for whole, _ in results]
    shares = [100 * driver / whole for whole, driver in results]
    return (
        f"| {name} | {len(results)} | {statistics.median(wholes):.2f} ({min(wholes):.2f} to {max(wholes):.2f}) "
        f"| {statistics.median(driver for _, driver in results):.2f} "
        f"| {statistics.median(shares):.1f} % ({min(shares):.1f} to {max(shares):.1f}) |"
    )


HEAD = "| pool | n | whole, s | driver, s | driver's share |\n|---|--:|---|--:|---|"


def conditions(spec: StudySpec, rounds: int) -> str:
    """What was measured, where and with what."""
    environment = describe_environment()
    versions = ", ".join(f"{name} {environment['packages'][name]}" for name in ("torch", "sqlalchemy", "ray"))
    return (
        f"{environment['processor']}, {environment['processors']} processors; Python {environment['python']}, "
        f"{versions}; commit {environment['commit']}. The demo study ({spec.trial_count} trials x {spec.seeds} seeds, "
        f"`study/specs/digits.toml`) on a new SQLite file; {rounds} interleaved rounds; seconds of `Driver.run`: "
        "median (smallest to largest). The driver's time is all that is not spent in training or waiting for workers."
    )


def main() -> None:
    """Measure and write the results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    spec = load_spec(ROOT / "study" / "specs" / "digits.toml")
    results: dict[str, list[tuple[float, float]]] = {"one process": [], "Ray, one worker per processor": []}
    with RayPool() as ray_pool:
        for _ in range(rounds):
            with InlinePool() as inline_pool:
                results["one process"].append(measure(spec, inline_pool))
            results["Ray, one worker per processor"].append(measure(spec, ray_pool))
    today = dt.datetime.now(dt.UTC).date().isoformat()
    rows = "\n".join(describe(name, found) for name, found in results.items())
    text = f"# Time of the driver, {today}\n\n{conditions(spec, rounds)}\n\n{HEAD}\n{rows}"
    path = RESULTS / f"driver-overhead-{today}.md"
    path.write_text(text + "\n", encoding="utf-8")
    print(text)  # noqa: T201 - what was asked for


if __name__ == "__main__":
    main()
