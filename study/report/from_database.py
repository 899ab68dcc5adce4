"""What a report is computed from, read from a study of this service."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl
from sqlalchemy import Connection

from study.axis import Value
from study.design_spec import DesignSpec
from study.report.export import curvature_frame, runs_frame
from study.report.observations import AxisInfo, CellInfo, FailureInfo, StudyInfo, WorkloadInfo
from study.search_space import OptimizerSpec
from study.spec import StudySpec
from study.storage.progress import read_failures
from study.storage.records import RunRecord, StudyRecord, find_study, read_runs, stream_curvature
from study.training import SCHEDULE, TRAINING_AXES
from workers.messages import Termination
from workers.workloads import MissingDataError, Workload, WorkloadSourceError

#: Kinds of failure that a report shows.
_FAILURES_SHOWN = 100
#: Designs of which any k points are k draws from the search space.
_RANDOM_KINDS = frozenset({"sobol", "halton", "latin_hypercube", "random"})
_UNITS = {"val_error": "share of examples", "val_loss": "nats"}


def read_study(connection: Connection, name: str) -> tuple[StudyInfo, pl.DataFrame, pl.DataFrame]:
    """What is known of a study, its table of runs and its table of curvature.

    Args:
        connection: To the database.
        name: Of the study.

    Raises:
        UnknownStudyError: There is no such study.
    """
    study = find_study(connection, name)
    runs = read_runs(connection, study.id)
    failures = read_failures(connection, study.id, limit=_FAILURES_SHOWN)
    curvature = curvature_frame(study, stream_curvature(connection, study.id))
    kinds = tuple(
        FailureInfo(k.workload, k.optimizer, k.termination.name.lower(), k.attempts, k.reason, k.error)
        for k in failures.kinds
    )
    return _describe(study, runs, kinds, failures.more), runs_frame(study, runs), curvature


def _describe(study: StudyRecord, runs: Sequence[RunRecord], failures: tuple[FailureInfo, ...], more: int) -> StudyInfo:
    spec = study.spec
    pruned = sum(run.termination is Termination.PRUNED for run in runs)
    return StudyInfo(
        **describe_spec(spec, pruned=pruned),
        source="service",
        state=study.state,
        workloads=tuple(_workload(spec, name, runs) for name in spec.workloads),
        cells=describe_cells(spec, _count_trials(runs)),
        failures=failures,
        failures_more=more,
        created=study.created_at.isoformat(timespec="seconds"),
        environment=study.environment,
    )


def describe_spec(spec: StudySpec, *, pruned: int) -> dict[str, Any]:
    """The fields of :class:`study.report.observations.StudyInfo` that follow from the spec.

    Args:
        spec: Of the study.
        pruned: Runs that were stopped early.
    """
    return {
        "name": spec.name,
        "description": spec.description,
        "objective": spec.objective,
        "unit": _UNITS.get(spec.objective, ""),
        "design": _describe_design(spec.design),
        "design_kind": spec.design.kind,
        "is_sample": spec.is_sample,
        "is_random": spec.is_sample and spec.design.kind in _RANDOM_KINDS,
        "shared_points": not spec.design.is_adaptive,
        "paired_seeds": True,
        "seeds": spec.seeds,
        "study_seed": spec.study_seed,
        "cautions": tuple(_list_cautions(spec, pruned)),
        "spec": spec.model_dump(mode="json"),
        "spec_hash": spec.hash,
    }


def describe_cells(spec: StudySpec, trials: Mapping[tuple[str, str], int]) -> tuple[CellInfo, ...]:
    """What was planned for each workload and optimizer.

    Args:
        spec: Of the study.
        trials: (workload, optimizer) -> trials that were written; an adaptive design finds its points as it runs, and
            has at most as many as the spec says.
    """
    return tuple(
        _cell(
            spec,
            workload,
            optimizer,
            spec.design.points + 1 if spec.design.is_adaptive else trials.get((workload, optimizer.name), 0),
        )
        for workload in spec.workloads
        for optimizer in spec.optimizers
    )


def _count_trials(runs: Sequence[RunRecord]) -> Counter[tuple[str, str]]:
    return Counter((w, o) for w, o, _ in {(r.trial.workload, r.trial.optimizer, r.trial.number) for r in runs})


def _cell(spec: StudySpec, workload: str, optimizer: OptimizerSpec, planned: int) -> CellInfo:
    defaults = _defaults(spec, workload, optimizer)
    return CellInfo(
        workload=workload,
        optimizer=optimizer.name,
        title=optimizer.title,
        citation=optimizer.citation,
        axes=tuple(
            AxisInfo(name, axis, defaults.get(name), conditional=name in optimizer.conditional_axes)
            for name, axis in optimizer.axes.items()
        ),
        fixed=dict(optimizer.fixed),
        constraints=tuple(optimizer.constraints),
        planned=planned,
    )


def _defaults(spec: StudySpec, workload: str, optimizer: OptimizerSpec) -> Mapping[str, Value]:
    """What trial 0 has; of the training only what can be told where the workload is not usable any more."""
    own = optimizer.defaults_of({})
    try:
        return own | spec.training_defaults(workload, optimizer)
    except (KeyError, WorkloadSourceError):
        return own


def _workload(spec: StudySpec, name: str, runs: Sequence[RunRecord]) -> WorkloadInfo:
    defined = _find_workload(spec, name)
    chance, source = _find_chance(spec, defined, [run for run in runs if run.trial.workload == name])
    return WorkloadInfo(
        name=name,
        title=defined.title if defined else name,
        citation=defined.citation if defined else "",
        training=_describe_training(spec, defined),
        chance=chance,
        chance_source=source,
        target=spec.training.target_error or (defined.target_error if defined else None),
    )


def _find_workload(spec: StudySpec, name: str) -> Workload | None:
    """The workload's definition; None where it came from a file or package that is not usable here any more."""
    try:
        return spec.workload(name)
    except (KeyError, WorkloadSourceError):
        return None


def _find_chance(spec: StudySpec, workload: Workload | None, runs: Sequence[RunRecord]) -> tuple[float | None, str]:
    """What learning nothing reaches: the workers' own number in the runs that diverged, else from the data."""
    for run in runs:
        if run.termination is Termination.DIVERGED and run.objective is not None:
            return run.objective, "chance level of the workload, at which diverged runs are counted"
    if workload is not None:
        try:
            return workload.chance_level(spec.objective, workload.load_data()), "chance level of the workload"
        except (MissingDataError, ValueError, OSError):
            pass
    return None, (
        "unknown: no run diverged and the workload's data is not on this machine; the median of the finished points "
        "stands in"
    )


def _list_cautions(spec: StudySpec, pruned: int) -> list[str]:
    """What a reader must know before comparing optimizers of this study."""
    cautions = []
    if spec.seeds == 1:
        cautions.append("One seed only: nothing here says how much of a difference is chance.")
    if spec.design.is_adaptive:
        cautions.append(
            f"Points were proposed by {spec.design.kind} from the results of earlier ones: they are no draws from the "
            "search space, so nothing that speaks of the whole space is computed."
        )
    if spec.design.kind == "one_at_a_time":
        cautions.append(
            "Points lie on lines through the default setting: they are no draws from the search space, so nothing that "
            "speaks of the whole space is computed."
        )
    if spec.pruning.kind != "none":
        cautions.append(
            f"Trials were stopped early by {spec.pruning.kind} ({pruned} runs were): stopped trials are in no "
            "comparison, and the best is the best of the others."
        )
    if spec.design.second_objective is not None:
        cautions.append(
            f"The study has a second objective, {spec.design.second_objective}: what stands here is about the first "
            f"one, {spec.objective}, alone. Optuna's study has both."
        )
    return cautions


def _describe_training(spec: StudySpec, defined: Workload | None) -> str:
    """Epochs, batch size and everything else that is not the workload's own, and whose trials have their own."""
    epochs = spec.epochs or (defined.epochs if defined else None)
    batch_size = spec.training.batch_size or (defined.batch_size if defined else None)
    parts = {
        "epochs": "epochs unknown" if epochs is None else f"{epochs} epochs",
        "batch_size": "batch size unknown" if batch_size is None else f"batch size {batch_size}",
    }
    changed = spec.training.model_dump(exclude_defaults=True)
    parts |= {name: f"{name} = {_shown(value)}" for name, value in changed.items() if name != "batch_size"}
    for name in (*TRAINING_AXES, SCHEDULE):
        varied = [optimizer.title for optimizer in spec.optimizers if name in optimizer.axes]
        if varied:
            parts[name] = f"{parts.get(name, name)} (an axis of {', '.join(varied)})"
    return ", ".join(parts.values())


def _shown(value: object) -> str:
    """Such as ``0.1``, or ``(examples = 50, probes = 2)`` for settings of their own."""
    if isinstance(value, dict):
        return f"({', '.join(f'{name} = {_shown(one)}' for name, one in value.items())})"
    return str(value)


def _describe_design(design: DesignSpec) -> str:
    """Such as ``32 sobol points``."""
    if design.levels is not None:
        return f"{design.kind} points of {design.levels} levels"
    return f"{design.points} {design.kind} points"
