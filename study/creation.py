"""Plans a study and writes it down: its name, its trials, and how its workloads are trained."""

from collections.abc import Mapping

from sqlalchemy import Engine

from study.axis import format_value
from study.design import plan_trials
from study.errors import SpecError
from study.provenance import describe_environment
from study.spec import StudySpec
from study.storage import writes
from study.storage.records import StudyRecord, find_spec_hash, find_study
from study.training import SCHEDULE, TRAINING_AXES
from workers.messages import EnginePlan
from workers.planner import PlanRequest
from workers.pool import RefusedError, WorkerPool
from workers.preparation import prepare_workload
from workers.workloads.corruption import DataOptions


def check_name(engine: Engine, spec: StudySpec) -> bool:
    """Whether the database already has this study.

    Raises:
        SpecError: It has another one of that name.
    """
    with engine.connect() as connection:
        known = find_spec_hash(connection, spec.name)
    if known is not None and known != spec.hash:
        raise SpecError(
            f"the name {spec.name!r} is already used by a study with another spec; "
            "give this spec another name, or choose another database with --db"
        )
    return known is not None


def plan_engines(spec: StudySpec, pool: WorkerPool) -> dict[str, EnginePlan]:
    """For each workload, how it is trained on the workers of ``pool``.

    Raises:
        RefusedError: A workload cannot be trained as the spec wants it.
    """
    _check_training_axes(spec)
    runs = spec.trial_count * spec.seeds // len(spec.workloads)
    return {
        workload: pool.plan(
            PlanRequest(
                workload=spec.reference(workload),
                training=spec.training_of_trial({}),
                engine=spec.training.engine,
                row_epochs=-(-runs * spec.epochs_of(workload) // pool.slots),
                workers=pool.slots,
            )
        )
        for workload in spec.workloads
    }


def _check_training_axes(spec: StudySpec) -> None:
    """See that workloads can be trained at both ends, or all choices, of every axis of the training.

    Raises:
        RefusedError: One cannot; its trials would fail after the study was written.
    """
    for workload in spec.workloads:
        for optimizer in spec.optimizers:
            for name in (TRAINING_AXES.keys() | {SCHEDULE}) & optimizer.axes.keys():
                axis = optimizer.axes[name]
                for end in axis.choices or axis.ends:
                    try:
                        training = spec.training_of_trial({name: end})
                        prepare_workload(spec.reference(workload), training)
                        DataOptions(**training.data)  # type: ignore[arg-type]
                    except ValueError as error:
                        raise RefusedError(
                            f"axis {name} of {optimizer.name} at {format_value(end)}: {error}"
                        ) from error


def create_study(
    engine: Engine, spec: StudySpec, plans: Mapping[str, EnginePlan] | None = None, device: str = "cpu"
) -> StudyRecord:
    """Write the study of ``spec`` with all its trials, and the plans for ``device``; its driver makes missing ones.

    Raises:
        SpecError: Optuna already has a study of one of the names.
    """
    trials = plan_trials(spec)
    with engine.begin() as connection:
        study_id = writes.create_study(connection, spec, trials, describe_environment())
        for workload, plan in (plans or {}).items():
            writes.store_plan(connection, study_id, workload, plan, device)
        return find_study(connection, spec.name)
