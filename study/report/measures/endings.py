"""How runs ended: every run of the plan is counted, also those that are in no other measure."""

from dataclasses import dataclass

import polars as pl

from study.report.observations import Observations

PENDING = "pending"


@dataclass(frozen=True, slots=True)
class CellEndings:
    """Runs of one optimizer on one workload.

    Attributes:
        workload: Name of the workload.
        optimizer: Name of the optimizer.
        endings: Termination, or ``pending`` -> number of runs; those that did not happen are missing.
        devices: Devices on which they ran.
        engines: How rows were trained.
    """

    workload: str
    optimizer: str
    endings: dict[str, int]
    devices: tuple[str, ...]
    engines: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Endings:
    """Runs of a study.

    Attributes:
        runs: All of the plan so far.
        ended: Those that ended, however.
        total: Termination, or ``pending`` -> number of runs.
        cells: The same by workload and optimizer, in the spec's order.
    """

    runs: int
    ended: int
    total: dict[str, int]
    cells: tuple[CellEndings, ...]


def count_endings(observations: Observations) -> Endings:
    """How the runs of a study ended."""
    cells = []
    for cell in observations.cells:
        own = observations.runs.filter((pl.col("workload") == cell.workload) & (pl.col("optimizer") == cell.optimizer))
        cells.append(
            CellEndings(cell.workload, cell.optimizer, _count(own), _distinct(own, "device"), _distinct(own, "engine"))
        )
    total = _count(observations.runs)
    runs = observations.runs.height
    return Endings(runs, runs - total.get(PENDING, 0), total, tuple(cells))


def _count(runs: pl.DataFrame) -> dict[str, int]:
    counts = runs.select(pl.col("termination").fill_null(PENDING)).group_by("termination").len().sort("termination")
    return {str(name): int(count) for name, count in counts.iter_rows()}


def _distinct(runs: pl.DataFrame, column: str) -> tuple[str, ...]:
    if column not in runs.columns:
        return ()
    return tuple(str(value) for value in runs[column].drop_nulls().unique().sort())
