"""What a report is computed from, read from Optuna studies that this service did not run."""

import datetime as dt
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

import polars as pl

from study.axis import Value
from study.errors import RequestError
from study.report.export import CURVATURE_TYPES
from study.report.foreign.cautions import tell_chance, tell_design, tell_endings, tell_objective, tell_seeds
from study.report.foreign.database import ForeignStudy
from study.report.foreign.outcomes import Scale
from study.report.foreign.parts import Part, check_comparable, make_parts
from study.report.foreign.sampler import SamplerKind, settle_sampler
from study.report.foreign.seeds import find_seed_name, plan_runs
from study.report.foreign.source import read_studies
from study.report.foreign.space import Space, name_columns, read_space
from study.report.foreign.table import TAKEN, make_table
from study.report.observations import AxisInfo, CellInfo, FailureInfo, StudyInfo, WorkloadInfo

#: Where ``optuna.Study.set_metric_names`` keeps the names.
_METRIC_NAMES = "study:metric_names"
#: Kinds of failure, and names of attributes, that are shown.
_FAILURES_SHOWN = 100
_NAMES_SHOWN = 20
_ORIGINS = {"qmc": "quasi-random", "adaptive": "proposed from earlier results", "unknown": "of unknown origin"}


def read_optuna(
    url: str,
    names: Sequence[str],
    *,
    chance: float | None = None,
    seed_name: str | None = None,
    sampler: SamplerKind = "unknown",
) -> tuple[StudyInfo, pl.DataFrame, pl.DataFrame]:
    """What is known of Optuna studies, a table of their runs, and an empty table of curvature.

    Each study is an optimizer. Names of the form ``PREFIX/WORKLOAD/OPTIMIZER`` say which and on what; other studies are
    called by their whole names, on the workload ``optuna``. Trials with equal parameters are runs of one setting, which
    the report calls a trial: its number is that of the first of them. Nothing is written where the studies are.

    Args:
        url: SQLAlchemy's URL of a database, ``journal:FILE``, or the path of a journal file or SQLite database.
        names: Of the studies; none means the only one that there is.
        chance: Value of a run that learned nothing, in the studies' own sign; None if unknown.
        seed_name: The parameter or user attribute that is the seed, the same for equal initial weights and data order;
            None takes one that is called ``seed`` or ``random_state``, but not for paired comparisons.
        sampler: What drew the points of the design, where Optuna does not store it.

    Raises:
        DatabaseUrlError: The URL is of no kind that Optuna writes.
        DatabaseError: Nothing can be read there.
        UnknownStudyError: There is no study of that name.
        RequestError: The studies cannot be compared, nothing varies in them, or no trial has the seed that was named.
    """
    if chance is not None and not math.isfinite(chance):
        raise RequestError(f"the chance level {chance} is no finite number")
    studies = read_studies(url, names)
    sign = check_comparable(studies)
    level = None if chance is None else sign * chance
    trials = [study.trials for study in studies]
    seed = find_seed_name(trials) if seed_name is None else _check_seed(studies, seed_name)
    columns = name_columns((name for some in trials for trial in some for name in trial.params if name != seed), TAKEN)
    spaces = [read_space(some, columns, seed=seed) for some in trials]
    _check_varies(studies, spaces)
    plan = plan_runs(trials, seed)
    parts, scales = make_parts(studies, spaces, plan, sign=sign, chance=level)
    kind, source = settle_sampler(studies, sampler)
    objective = _name_objective(studies, sign)
    cautions = (
        *tell_objective(parts, sign, objective, [_metric_names(study) for study in studies]),
        *([] if source is None else [source]),
        *tell_endings(parts, scales),
        *tell_seeds(parts, plan, seed, was_named=seed_name is not None),
        *tell_chance(chance),
        *tell_design(parts, columns),
    )
    uneven = sampler == "unknown" and any(space.is_uneven for space in spaces)
    is_sample = kind in ("random", "qmc", "grid") and not uneven and not any(part.count("pruned") for part in parts)
    failures = _list_failures(parts)
    info = StudyInfo(
        name=", ".join(study.name for study in studies),
        description="",
        source="optuna",
        state="completed" if all(trial.state.is_finished() for some in trials for trial in some) else "running",
        objective=objective,
        unit="",
        design=_describe_design(parts, kind),
        design_kind=kind,
        is_sample=is_sample,
        is_random=is_sample and kind != "grid",
        shared_points=False,
        paired_seeds=seed_name is not None and plan.are_shared,
        seeds=plan.seeds,
        study_seed=None,
        workloads=tuple(_describe_workload(name, scale) for name, scale in scales.items()),
        cells=tuple(_list_cells(parts, list(scales))),
        failures=failures[:_FAILURES_SHOWN],
        failures_more=len(failures[_FAILURES_SHOWN:]),
        cautions=cautions,
        spec=None,
        spec_hash="",
        created=_find_creation(studies),
        environment={},
    )
    return info, make_table(parts, level), pl.DataFrame(schema=CURVATURE_TYPES)


def _check_seed(studies: Sequence[ForeignStudy], name: str) -> str:
    """The name of the seed that the user gave, if any trial has it."""
    trials = [trial for study in studies for trial in study.trials]
    if any(name in trial.params or name in trial.user_attrs for trial in trials):
        return name
    known = list(dict.fromkeys(key for trial in trials for key in (*trial.params, *trial.user_attrs)))
    told = ", ".join(known[:_NAMES_SHOWN]) + (" and more" if len(known) > _NAMES_SHOWN else "")
    raise RequestError(f"no trial has a parameter or user attribute called {name}; they have: {told or 'none at all'}")


def _check_varies(studies: Sequence[ForeignStudy], spaces: Sequence[Space]) -> None:
    if any(space.axes for space in spaces):
        return
    names = ", ".join(study.name for study in studies[:_NAMES_SHOWN])
    if not any(study.trials for study in studies):
        raise RequestError(f"{names} has no trials yet: there is nothing to report")
    held = list(dict.fromkeys(name for space in spaces for name in space.parameters))
    told = f"{', '.join(held)} always have the same value" if held else "no trial has any parameter that can be used"
    why = " ".join(caution for space in spaces for caution in space.cautions)
    raise RequestError(f"nothing varies in {names}: {told}, so there is no search space to report. {why}".rstrip())


def _metric_names(study: ForeignStudy) -> list[str]:
    """What its author calls the objectives; empty if it is not stored."""
    names = study.system_attributes.get(_METRIC_NAMES) or study.user_attributes.get("metric_names")
    if isinstance(names, list):
        return [str(name) for name in names]
    given = (study.user_attributes.get(key) for key in ("metric", "objective", "metric_name"))
    return [name for name in given if isinstance(name, str) and name][:1]


def _name_objective(studies: Sequence[ForeignStudy], sign: float) -> str:
    names = {tuple(_metric_names(study)[:1]) for study in studies}
    name = "".join(names.pop()) if len(names) == 1 else ""
    return f"{'-' if sign < 0 else ''}{name or 'value'}"


def _describe_design(parts: Sequence[Part], kind: SamplerKind) -> str:
    """Such as ``64 random settings``, of each optimizer if they differ."""
    counts = list(dict.fromkeys(len({placed.run.setting for placed in part.runs}) for part in parts))
    told = _ORIGINS.get(kind, kind)
    size = f"{counts[0]}" if len(counts) == 1 else f"{min(counts)} to {max(counts)}"
    return f"{size} settings {told}" if kind in ("unknown", "adaptive") else f"{size} {told} settings"


def _describe_workload(name: str, scale: Scale) -> WorkloadInfo:
    return WorkloadInfo(
        name=name,
        title=name,
        citation="",
        training="unknown: Optuna does not store what was trained",
        chance=scale.chance,
        chance_source="given with --chance" if scale.chance is not None else "unknown: give it with --chance",
        target=None,
    )


def _list_cells(parts: Sequence[Part], workloads: Sequence[str]) -> Iterator[CellInfo]:
    """Every optimizer on every workload; where there is no study, with the axes that it has elsewhere."""
    known = {(part.workload, part.optimizer): part for part in parts}
    anywhere = {part.optimizer: part for part in reversed(parts)}
    for workload in workloads:
        for optimizer in dict.fromkeys(part.optimizer for part in parts):
            part = known.get((workload, optimizer))
            yield _describe_cell(workload, part or anywhere[optimizer], planned=part is not None)


def _describe_cell(workload: str, part: Part, *, planned: bool) -> CellInfo:
    conditional = {p.column for p in part.space.parameters.values() if p.conditional}
    default = next((placed.values for placed in part.runs if placed.run.setting == part.default), {})
    return CellInfo(
        workload=workload,
        optimizer=part.optimizer,
        title=part.optimizer,
        citation="",
        axes=tuple(
            AxisInfo(column, axis, default.get(column), conditional=column in conditional)
            for column, axis in part.space.axes.items()
        ),
        fixed=_find_fixed(part),
        constraints=(),
        planned=len({placed.run.setting for placed in part.runs}) if planned else 0,
    )


def _find_fixed(part: Part) -> Mapping[str, Value]:
    """What parameters without an axis have."""
    held = {p.column for p in part.space.parameters.values() if p.axis is None}
    found = {name: value for placed in part.runs for name, value in placed.values.items() if name in held}
    return dict(sorted(found.items()))


def _list_failures(parts: Sequence[Part]) -> tuple[FailureInfo, ...]:
    """Kinds of failures, the most frequent first."""
    counts = Counter(
        (part.workload, part.optimizer, placed.outcome.reason or "")
        for part in parts
        for placed in part.runs
        if placed.outcome.termination == "failed"
    )
    for part in parts:
        if part.superseded:
            counts[part.workload, part.optimizer, "it was tried again"] += len(part.superseded)
    return tuple(
        FailureInfo(workload, optimizer, "failed", attempts, reason, "")
        for (workload, optimizer, reason), attempts in counts.most_common()
    )


def _find_creation(studies: Sequence[ForeignStudy]) -> str:
    """When the first trial began, in UTC; Optuna does not store when a study was made."""
    starts = [trial.datetime_start for study in studies for trial in study.trials if trial.datetime_start is not None]
    return min(starts).astimezone(dt.UTC).isoformat(timespec="seconds") if starts else ""
