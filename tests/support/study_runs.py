"""Drives small studies in one process, with interruptions on command."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from sqlalchemy import Engine

from study.creation import create_study
from study.drive_options import DriveOptions
from study.driver import Driver
from study.errors import InterruptedStudyError
from study.progress import Progress
from study.spec import StudySpec
from study.spec_file import parse_spec
from study.storage.records import find_study
from workers.messages import EnginePlan
from workers.pool import InlinePool

BASE = """
name = "NAME"
workloads = ["digits-logistic"]
seeds = SEEDS
study_seed = 5
epochs = EPOCHS

[[optimizers]]
name = "adai"
[optimizers.axes]
lr = { low = 1e-3, high = 1e3, scale = "log" }
beta0 = { low = 1e-2, high = 1.0, scale = "log" }

[[optimizers]]
name = "sgd"
[optimizers.axes]
lr = { low = 1e-4, high = 1e3, scale = "log" }
momentum = { low = 0.0, high = 0.99, scale = "log1m" }
"""


def make_spec(name: str, *, seeds: int = 2, epochs: int = 2, **tables: Mapping[str, Any]) -> StudySpec:
    """Two optimizers on logistic regression, with further tables such as ``design``."""
    text = BASE.replace("NAME", name).replace("SEEDS", str(seeds)).replace("EPOCHS", str(epochs))
    return StudySpec.model_validate(parse_spec(text, source=name).model_dump() | tables)


def write_study(engine: Engine, spec: StudySpec, *, max_rows: int) -> None:
    """Write a study, to be trained in batches of at most ``max_rows`` runs."""
    create_study(engine, spec, {name: EnginePlan("stacked", max_rows, "for a test") for name in spec.workloads})


def drive(engine: Engine, name: str, *, show: Callable[[Progress], None] | None = None, **options: Any) -> None:
    """Run what is missing of a study in this process."""
    with engine.connect() as connection:
        study = find_study(connection, name)
    with InlinePool() as pool:
        Driver(engine, study, pool, show or (lambda _: None), options=DriveOptions(**options)).run()


def drive_with_interruptions(engine: Engine, name: str, *, every: int) -> int:
    """Run a study to its end, with Ctrl-C after ``every`` steps, then one more each time; returns how often."""
    interruptions = 0
    while True:
        # More each time, or a batch that needs more steps would never end.
        counter = _Countdown(every + interruptions)
        try:
            drive(engine, name, show=counter)
        except InterruptedStudyError:
            interruptions += 1
        else:
            return interruptions


@dataclasses.dataclass
class _Countdown:
    left: int

    def __call__(self, progress: Progress) -> None:
        del progress
        self.left -= 1
        if self.left == 0:
            raise KeyboardInterrupt
