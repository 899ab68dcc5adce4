"""What a study would cost, from what runs of the same workloads took in this database."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from sqlalchemy import Connection

from study.search_space import OptimizerSpec
from study.spec import StudySpec
from study.spec_checking import TrialCount, count_trials
from study.storage.run_times import RunTime, read_recent_specs, read_run_times
from study.storage.servers import read_living_servers
from study.training import TrainingSpec

#: So many runs of the same optimizer say more than those of all optimizers.
_ENOUGH_RUNS = 10
_LOW, _MIDDLE, _HIGH = 0.1, 0.5, 0.9


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a study would cost.

    Attributes:
        trials: How many it has.
        runs: How many are trained.
        run_epochs: Epochs of all runs, at most: those that diverge or are pruned take fewer.
        seconds: Of one worker, all runs together, at the median of what epochs took; None where nothing comparable ran.
        seconds_low: At their 10th percentile.
        seconds_high: At their 90th percentile.
        workers: Of the servers that live; None without one.
        wall_seconds: ``seconds`` shared by all workers.
        basis: What it rests on, for people.
    """

    trials: int
    runs: int
    run_epochs: int
    seconds: float | None
    seconds_low: float | None
    seconds_high: float | None
    workers: int | None
    wall_seconds: float | None
    basis: str


@dataclass(frozen=True, slots=True)
class _Sample:
    """Runs of a workload that a study may be compared with."""

    times: list[RunTime]
    same_training: bool

    def quantiles(self, optimizer: str) -> Any:
        """Seconds of an epoch: low, middle, high."""
        own = [time.seconds for time in self.times if time.optimizer == optimizer]
        chosen = own if len(own) >= _ENOUGH_RUNS else [time.seconds for time in self.times]
        return np.quantile(chosen, [_LOW, _MIDDLE, _HIGH])


def estimate(connection: Connection, spec: StudySpec) -> Estimate:
    """What the study of ``spec`` would cost; a few queries, which read a bounded number of rows.

    Raises:
        SpecError: It has too many runs, or its constraints leave too few points.
    """
    count = count_trials(spec)
    epochs = {
        (workload, optimizer.name): count.cells[workload, optimizer.name]
        * spec.seeds
        * _epochs_of(spec, workload, optimizer)
        for workload in spec.workloads
        for optimizer in spec.optimizers
    }
    samples = _read_samples(connection, spec)
    totals = np.zeros(3)
    for (workload, optimizer), run_epochs in epochs.items():
        if workload in samples:
            totals += run_epochs * samples[workload].quantiles(optimizer)
    low, middle, high = (float(total) for total in totals) if samples else (None, None, None)
    workers = sum(server.workers for server in read_living_servers(connection)) or None
    return Estimate(
        trials=count.trials,
        runs=count.trials * spec.seeds,
        run_epochs=sum(epochs.values()),
        seconds=middle,
        seconds_low=low,
        seconds_high=high,
        workers=workers,
        wall_seconds=None if middle is None or workers is None else middle / workers,
        basis=_describe(spec, samples, count),
    )


def _epochs_of(spec: StudySpec, workload: str, optimizer: OptimizerSpec) -> int:
    """The largest budget of a trial."""
    axis = optimizer.axes.get("epochs")
    varied = [] if axis is None else [int(value) for value in axis.choices or axis.ends]
    return max([spec.epochs_of(workload), *varied])


def _read_samples(connection: Connection, spec: StudySpec) -> dict[str, _Sample]:
    """Workload -> runs of it, with the same training options if there are such."""
    stored = read_recent_specs(connection)
    samples = {}
    for workload in spec.workloads:
        having = {study: content for study, content in stored.items() if workload in content.get("workloads", ())}
        alike = [study for study, content in having.items() if _trains_alike(spec.training, content)]
        for chosen in (alike, list(having)):
            times = read_run_times(connection, workload, chosen) if chosen else []
            if times:
                samples[workload] = _Sample(times, same_training=chosen is alike)
                break
    return samples


def _trains_alike(training: TrainingSpec, content: Mapping[str, Any]) -> bool:
    """Whether a stored spec trains in the same way, as far as the time of an epoch depends on it."""
    try:
        other = TrainingSpec.model_validate(content.get("training", {}))
    except ValueError:  # of another version
        return False
    return training.model_copy(update={"target_error": None}) == other.model_copy(update={"target_error": None})


def _describe(spec: StudySpec, samples: Mapping[str, _Sample], count: TrialCount) -> str:
    parts = [_describe_sample(name, samples[name]) for name in spec.workloads if name in samples]
    found = f"From {_join(parts)} in this database." if parts else ""
    missing = [name for name in spec.workloads if name not in samples]
    none = f"Nothing is known of {_join(missing)}: no run of it has ended in this database" if missing else ""
    if missing:
        none += ", so its time is not in the estimate." if parts else ", so there is no estimate of the time."
        none += " Whether the workers have its data shows when they start."
    limit = "" if count.is_exact else "Conditions or constraints may leave fewer trials than are counted here."
    return " ".join(part for part in (found, none, limit) if part)


def _describe_sample(workload: str, sample: _Sample) -> str:
    runs = f"{len(sample.times):,} runs" if len(sample.times) > 1 else "1 run"
    return f"{runs} of {workload}{'' if sample.same_training else ' with other training options'}"


def _join(parts: Sequence[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"
