"""Helpers that several test files import."""

import json
import os
import sqlite3
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from click.testing import Result
from sqlalchemy import Engine

ADAI_STUDY = str(Path(sys.executable).with_name("adai-study"))
Command = Callable[..., Result]

SMALL_SPEC = """
name = "small"
workloads = ["digits-logistic"]
seeds = 2
study_seed = 7
epochs = 2

[design]
kind = "sobol"
points = 4

[[optimizers]]
name = "adai"

[[optimizers]]
name = "sgd"
fixed = { weight_decay = 1e-4 }
"""

#: Axes of the training, a target that some runs reach, and curvature.
MEASURED_SPEC = """
name = "measured"
workloads = ["digits-logistic"]
seeds = 2
epochs = 2

[design]
points = 4

[training]
target_error = 0.3
curvature = { examples = 50, slice_points = 3 }

[[optimizers]]
name = "sgd"

[optimizers.axes]
lr = { low = 0.01, high = 0.5, scale = "log" }
epochs = { low = 1, high = 3 }
batch_size = { low = 16, high = 256, scale = "log" }
label_smoothing = { low = 0.0, high = 0.2 }
"""

#: Three optimizers, two of them with the same axes, and as many points as maps need.
EXPLORED_SPEC = """
name = "explored"
description = "Three optimizers on digits."
workloads = ["digits-logistic"]
seeds = 2
study_seed = 7
epochs = 3

[design]
points = 12

[[optimizers]]
name = "adai"

[[optimizers]]
name = "adaiw"

[[optimizers]]
name = "sgd"
"""

#: Columns that say when and where, in the tables that hold results.
_PLACEMENT = {
    "id",
    "attempt_id",
    "trial_id",
    "run_id",
    "optuna_trial_id",
    "seconds",
    "seconds_to_target",
    "peak_memory",
}


def comparable_tables(engine: Engine, study: str | None = None) -> dict[str, list[dict[str, Any]]]:
    """Trials, runs, epochs and Optuna's values, less keys, timing and placement, in a fixed order."""
    where = "WHERE s.name = :study" if study else ""
    order = "ORDER BY t.workload, t.optimizer, t.number"
    queries = {
        "adai_runs": (
            "SELECT t.workload, t.optimizer, t.number, t.origin, t.hyperparameters, t.unit, r.* FROM adai_runs r "
            f"JOIN adai_trials t ON t.id = r.trial_id JOIN adai_studies s ON s.id = t.study_id {where} "
            f"{order}, r.seed"
        ),
        "adai_epochs": (
            "SELECT t.workload, t.optimizer, t.number, r.seed, e.* FROM adai_epochs e "
            "JOIN adai_runs r ON r.id = e.run_id JOIN adai_trials t ON t.id = r.trial_id "
            f"JOIN adai_studies s ON s.id = t.study_id {where} {order}, r.seed, e.epoch"
        ),
        "optuna": (
            "SELECT t.workload, t.optimizer, t.number, o.state, v.value, i.step, i.intermediate_value "
            "FROM adai_trials t JOIN adai_studies s ON s.id = t.study_id "
            "JOIN trials o ON o.trial_id = t.optuna_trial_id "
            "LEFT JOIN trial_values v ON v.trial_id = o.trial_id "
            f"LEFT JOIN trial_intermediate_values i ON i.trial_id = o.trial_id {where} {order}, i.step"
        ),
    }
    with engine.connect() as connection:
        return {
            table: [
                {key: _decoded(key, value) for key, value in row.items() if key not in _PLACEMENT}
                for row in connection.execute(sa.text(query), {"study": study} if study else {}).mappings()
            ]
            for table, query in queries.items()
        }


def _decoded(column: str, value: Any) -> Any:
    """Queries in plain text give JSON as text on SQLite."""
    return json.loads(value) if column in ("hyperparameters", "unit") and isinstance(value, str) else value


def ray_workers() -> dict[int, str]:
    """Process id -> title of the Ray actors that descend from this process."""
    parents, titles = {}, {}
    for entry in Path("/proc").iterdir():
        try:
            pid = int(entry.name)
            parents[pid] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            titles[pid] = (entry / "cmdline").read_text().replace("\0", " ").strip()
        except (ValueError, OSError):
            continue

    def descends(pid: int) -> bool:
        while pid in parents:
            if pid == os.getpid():
                return True
            pid = parents[pid]
        return False

    return {pid: title for pid, title in titles.items() if title.startswith("ray::") and descends(pid)}


def fails(result: Result, code: int, *words: str) -> None:
    """The command ended with ``code``, one message with ``words``, and no traceback."""
    assert result.exit_code == code, result.output
    assert result.output.startswith("Error: ")
    assert "Traceback" not in result.output
    for word in words:
        assert word in result.output, result.output


def run_words(spec: Path, url: str, folder: Path | None = None) -> list[str | Path]:
    """The words that run a study in one process; its report goes to ``folder``, or is not written."""
    report: list[str | Path] = ["--no-report"] if folder is None else ["--out", folder / "report"]
    return ["run", spec, "--pool", "inline", "--db", url, *report]


def wait_for(condition: Callable[[], bool], seconds: float = 90) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def count(path: Path, query: str) -> int:
    """One number from a database that another process is writing; 0 while its tables are not there."""
    if not path.exists():
        return 0
    connection = sqlite3.connect(path)
    try:
        return int(connection.execute(query).fetchone()[0])
    except sqlite3.OperationalError:
        return 0
    finally:
        connection.close()
