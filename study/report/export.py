"""Tidy tables of a study, one row per run, trial, epoch or measurement.

A frame is made of any part of a table's rows: parts, one below the other, are the frame of the whole.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import polars as pl

from study.axis import format_value
from study.storage.records import RunRecord, StudyRecord, TrialRecord
from workers.workloads import WorkloadSourceError

# A table has the same columns and types at any moment of a study, also without rows or while a column is empty.
TRIAL_TYPES: dict[str, type[pl.DataType]] = {
    "study": pl.String,
    "workload": pl.String,
    "optimizer": pl.String,
    "trial": pl.Int64,
    "origin": pl.String,
}
RUN_TYPES: dict[str, type[pl.DataType]] = {
    "seed": pl.Int64,
    "termination": pl.String,
    "reason": pl.String,
    "budget": pl.Int64,
    "epochs": pl.Int64,
    "objective": pl.Float64,
    "at_chance": pl.Boolean,
    **dict.fromkeys(("train_loss", "val_loss", "val_error", "test_loss", "test_error", "seconds"), pl.Float64),
    "steps_to_target": pl.Int64,
    "seconds_to_target": pl.Float64,
    "peak_memory": pl.Int64,
    **dict.fromkeys(("worker", "device", "engine"), pl.String),
}
_MEANS = ("objective_mean", "objective_sd", "test_error_mean", "test_error_sd")
_PLACE_TYPES: dict[str, type[pl.DataType]] = {
    **dict.fromkeys(("study", "workload", "optimizer"), pl.String),
    **dict.fromkeys(("trial", "seed", "epoch"), pl.Int64),
}
_EPOCH_TYPES: dict[str, type[pl.DataType]] = {
    **_PLACE_TYPES,
    **dict.fromkeys(("train_loss", "val_loss", "val_error", "lr", "grad_norm", "seconds"), pl.Float64),
}
CURVATURE_TYPES: dict[str, type[pl.DataType]] = {
    **_PLACE_TYPES,
    "quantity": pl.String,
    "position": pl.Int64,
    "value": pl.Float64,
}


def runs_frame(study: StudyRecord, runs: Iterable[RunRecord]) -> pl.DataFrame:
    """One row per run, ended or not; hyperparameters that an optimizer lacks are null."""
    # An axis of epochs is the budget; "epochs" says what was trained of it.
    types = {name: type_ for name, type_ in hyperparameter_types(study).items() if name != "epochs"}
    axes = _axes(study)
    rows = [
        {
            **_trial_columns(study, run.trial, types),
            **{f"unit_{axis}": run.trial.unit.get(axis) for axis in axes},
            "seed": run.seed,
            "termination": None if run.termination is None else run.termination.name.lower(),
            "reason": run.reason,
            "budget": _budget(study, run.trial),
            "epochs": run.epochs,
            "objective": run.objective,
            "at_chance": run.at_chance,
            "train_loss": run.train_loss,
            "val_loss": run.val_loss,
            "val_error": run.val_error,
            "test_loss": run.test_loss,
            "test_error": run.test_error,
            "seconds": run.seconds,
            "steps_to_target": run.steps_to_target,
            "seconds_to_target": run.seconds_to_target,
            "peak_memory": run.peak_memory,
            "worker": run.worker,
            "device": run.device,
            "engine": run.engine,
        }
        for run in runs
    ]
    return pl.DataFrame(rows, schema=TRIAL_TYPES | types | _unit_types(axes) | RUN_TYPES)


def _axes(study: StudyRecord) -> list[str]:
    """All axes of the study's optimizers, in the spec's order."""
    return list(dict.fromkeys(axis for optimizer in study.spec.optimizers for axis in optimizer.axes))


def _unit_types(axes: Iterable[str]) -> dict[str, type[pl.DataType]]:
    return dict.fromkeys((f"unit_{axis}" for axis in axes), pl.Float64)


def _budget(study: StudyRecord, trial: TrialRecord) -> int | None:
    """Epochs that a trial was given; None where only its workload said so, and that is not usable here any more."""
    try:
        return study.spec.epochs_of_trial(trial.workload, trial.hyperparameters)
    except (KeyError, WorkloadSourceError):
        return None


def trials_frame(study: StudyRecord, runs: Iterable[RunRecord]) -> pl.DataFrame:
    """One row per finished trial: its place in the unit cube and its mean and spread over seeds."""
    return summarize_runs(runs_frame(study, runs))


def summarize_runs(runs: pl.DataFrame) -> pl.DataFrame:
    """The table of trials of a table of runs: those of which every run has a result, and none was pruned.

    Args:
        runs: One row per run, those of a trial together.
    """
    names = runs.columns
    kept = list(names[: names.index("seed")])
    if "epochs" in {name.removeprefix("unit_") for name in kept}:
        kept.insert(kept.index("origin") + 1, "epochs")  # an axis: the budget of the trial
        runs = runs.with_columns(epochs=pl.col("budget").cast(pl.Float64))
    diverged = (pl.col("termination") == "diverged").fill_null(value=False)
    counted = diverged | (pl.col("termination") == "completed").fill_null(value=False)
    several = pl.len() > 1
    tested = pl.col("test_error").is_not_null().all()
    summary = runs.group_by("workload", "optimizer", "trial", maintain_order=True).agg(
        *(pl.col(name).first() for name in kept if name not in ("workload", "optimizer", "trial")),
        pl.len().cast(pl.Int64).alias("seeds"),
        diverged.sum().cast(pl.Int64).alias("diverged"),
        pl.col("at_chance").fill_null(value=False).sum().cast(pl.Int64).alias("at_chance_runs"),
        pl.col("objective").mean().alias("objective_mean"),
        pl.when(several).then(pl.col("objective").std()).alias("objective_sd"),
        pl.when(tested).then(pl.col("test_error").mean()).alias("test_error_mean"),
        pl.when(tested & several).then(pl.col("test_error").std()).alias("test_error_sd"),
        (counted & pl.col("objective").is_not_null()).all().alias("finished"),
    )
    return summary.filter("finished").select(
        *kept, "seeds", "diverged", pl.col("at_chance_runs").alias("at_chance"), *_MEANS
    )


def epochs_frame(study: StudyRecord, rows: Iterable[tuple[Any, ...]]) -> pl.DataFrame:
    """One row per epoch of each run; ``rows`` as :func:`study.storage.records.stream_epochs` gives them."""
    types = {name: kind for name, kind in _EPOCH_TYPES.items() if name != "study"}
    frame = pl.DataFrame(list(rows), schema=types, orient="row")
    return frame.select(pl.lit(study.name, pl.String).alias("study"), pl.all())


def curvature_frame(study: StudyRecord, rows: Iterable[tuple[Any, ...]]) -> pl.DataFrame:
    """One row per measured number: those of a slice have their position in it, from 0; single numbers have none.

    Args:
        study: The study.
        rows: As :func:`study.storage.records.stream_curvature` gives them.
    """
    long = [
        (study.name, *row[:-1], name, position, one)
        for row in rows
        for name, value in row[-1].items()
        for position, one in (enumerate(value) if isinstance(value, list) else [(None, value)])
    ]
    return pl.DataFrame(long, schema=CURVATURE_TYPES, orient="row")


def hyperparameter_types(study: StudyRecord) -> dict[str, type[pl.DataType]]:
    """All hyperparameters of the study's optimizers and what their columns hold, axes first, in the spec's order."""
    kinds: dict[str, set[type]] = {}
    for optimizer in study.spec.optimizers:
        for name, axis in optimizer.axes.items():
            kinds.setdefault(name, set()).add(type(axis.choices[0]) if axis.choices else float)
    for optimizer in study.spec.optimizers:
        for hyperparameter in optimizer.hyperparameters:
            kinds.setdefault(hyperparameter.name, set()).add(float)
    return {name: _COLUMN_TYPES[found.pop()] if len(found) == 1 else pl.String for name, found in kinds.items()}


#: Of a hyperparameter that has one kind of values.
_COLUMN_TYPES: dict[type, type[pl.DataType]] = {float: pl.Float64, bool: pl.Boolean, str: pl.String}


def _trial_columns(study: StudyRecord, trial: TrialRecord, types: Mapping[str, type[pl.DataType]]) -> dict[str, Any]:
    values = trial.hyperparameters
    return {
        "study": study.name,
        "workload": trial.workload,
        "optimizer": trial.optimizer,
        "trial": trial.number,
        "origin": trial.origin,
        **{
            name: format_value(values[name]) if type_ is pl.String and name in values else values.get(name)
            for name, type_ in types.items()
        },
    }
