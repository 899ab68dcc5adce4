"""Tidy tables of a study, one row per run, trial, epoch or measurement.

A frame is made of any part of a table's rows: parts, one below the other, are the frame of the whole.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import polars as pl

from study.axis import format_value
from study.report.robustness import RobustnessTable, Share
from study.report.trials import summarize_trials
from study.storage.records import RunRecord, StudyRecord, TrialRecord
from workers.workloads import WorkloadSourceError

# A table has the same columns and types at any moment of a study, also without rows or while a column is empty.
_TRIAL_TYPES: dict[str, type[pl.DataType]] = {
    "study": pl.String,
    "workload": pl.String,
    "optimizer": pl.String,
    "trial": pl.Int64,
    "origin": pl.String,
}
_RUN_TYPES: dict[str, type[pl.DataType]] = {
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
_SUMMARY_TYPES: dict[str, type[pl.DataType]] = {
    **dict.fromkeys(("seeds", "diverged", "at_chance"), pl.Int64),
    **dict.fromkeys(("objective_mean", "objective_sd", "test_error_mean", "test_error_sd"), pl.Float64),
}
_PLACE_TYPES: dict[str, type[pl.DataType]] = {
    **dict.fromkeys(("study", "workload", "optimizer"), pl.String),
    **dict.fromkeys(("trial", "seed", "epoch"), pl.Int64),
}
_EPOCH_TYPES: dict[str, type[pl.DataType]] = {
    **_PLACE_TYPES,
    **dict.fromkeys(("train_loss", "val_loss", "val_error", "lr", "grad_norm", "seconds"), pl.Float64),
}
_CURVATURE_TYPES: dict[str, type[pl.DataType]] = {
    **_PLACE_TYPES,
    "quantity": pl.String,
    "position": pl.Int64,
    "value": pl.Float64,
}


def runs_frame(study: StudyRecord, runs: Iterable[RunRecord]) -> pl.DataFrame:
    """One row per run, ended or not; hyperparameters that an optimizer lacks are null."""
    # An axis of epochs is the budget; "epochs" says what was trained of it.
    types = {name: type_ for name, type_ in hyperparameter_types(study).items() if name != "epochs"}
    rows = [
        {
            **_trial_columns(study, run.trial, types),
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
    return pl.DataFrame(rows, schema=_TRIAL_TYPES | types | _RUN_TYPES)


def _budget(study: StudyRecord, trial: TrialRecord) -> int | None:
    """Epochs that a trial was given; None where only its workload said so, and that is not usable here any more."""
    try:
        return study.spec.epochs_of_trial(trial.workload, trial.hyperparameters)
    except (KeyError, WorkloadSourceError):
        return None


def trials_frame(study: StudyRecord, runs: Iterable[RunRecord]) -> pl.DataFrame:
    """One row per finished trial: its place in the unit cube and its mean and spread over seeds."""
    types = hyperparameter_types(study)
    axes = list(dict.fromkeys(axis for optimizer in study.spec.optimizers for axis in optimizer.axes))
    rows = [
        {
            **_trial_columns(study, summary.trial, types),
            **{f"unit_{axis}": summary.trial.unit.get(axis) for axis in axes},
            "seeds": summary.seeds,
            "diverged": summary.diverged,
            "at_chance": summary.at_chance,
            "objective_mean": summary.mean,
            "objective_sd": summary.sd,
            "test_error_mean": summary.test_error,
            "test_error_sd": summary.test_sd,
        }
        for summary in summarize_trials(runs)
    ]
    places = dict.fromkeys((f"unit_{axis}" for axis in axes), pl.Float64)
    return pl.DataFrame(rows, schema=_TRIAL_TYPES | types | places | _SUMMARY_TYPES)


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
    return pl.DataFrame(long, schema=_CURVATURE_TYPES, orient="row")


def robustness_frame(table: RobustnessTable) -> pl.DataFrame:
    """One row per workload and optimizer."""
    rows = [
        {
            "workload": row.workload,
            "optimizer": row.optimizer,
            "objective": table.objective,
            "tolerance": table.tolerance,
            "trials_planned": row.trials_planned,
            "trials_finished": row.trials_finished,
            "trials_failed": row.trials_failed,
            "seeds": row.seeds,
            "runs": row.runs,
            "runs_diverged": row.runs_diverged,
            "runs_at_chance": row.runs_at_chance,
            "trials_diverged": row.trials_diverged,
            "best_trial": row.best.trial.number,
            "best_mean": row.best.mean,
            "best_sd": row.best.sd,
            "best_test_error": row.best.test_error,
            "best_test_sd": row.best.test_sd,
            "default_mean": row.default.mean if row.default else None,
            "default_sd": row.default.sd if row.default else None,
            "default_test_error": row.default.test_error if row.default else None,
            "median": row.median,
            **_share_columns("near_own_best", row.near_own_best),
            **_share_columns("near_study_best", row.near_study_best),
        }
        for row in table.rows
    ]
    return pl.DataFrame(rows, infer_schema_length=None)


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


def _share_columns(name: str, share: Share | None) -> dict[str, Any]:
    return {
        f"{name}_count": share.count if share else None,
        f"{name}_total": share.total if share else None,
        f"{name}_share": share.value if share else None,
        f"{name}_low": share.low if share else None,
        f"{name}_high": share.high if share else None,
    }
