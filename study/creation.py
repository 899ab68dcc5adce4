"""Plans a study and writes it down: its name, its trials, and how its workloads are trained."""

from collections.abc import Mapping, Sequence

from optuna.trial import FrozenTrial
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import IntegrityError

from study.axis import format_value
from study.design import PlannedTrial, plan_trials
from study.errors import SpecError
from study.provenance import describe_environment
from study.sampling import ask_round
from study.search_space import OptimizerSpec
from study.spec import StudySpec
from study.storage import studies
from study.storage.optuna_rows import find_optuna_study, optuna_study_name
from study.storage.optuna_trials import read_frozen_trials
from study.storage.patience import Patience
from study.storage.records import StudyRecord, find_spec_hash, find_study
from study.training import SCHEDULE, TRAINING_AXES
from workers.messages import EnginePlan
from workers.planner import PlanRequest
from workers.pool import RefusedError, WorkerPool
from workers.preparation import prepare_workload
from workers.workloads.corruption import DataOptions

#: Of a study: their keys and states are held in memory by its driver.
MOST_RUNS = 2_000_000


def check_name(engine: Engine, spec: StudySpec) -> bool:
    """Whether the database already has this study.

    Raises:
        SpecError: It has another one of that name.
    """
    with engine.connect() as connection:
        return is_known(connection, spec)


def is_known(connection: Connection, spec: StudySpec) -> bool:
    """As :func:`check_name`, in a transaction."""
    known = find_spec_hash(connection, spec.name)
    if known is not None and known != spec.hash:
        raise SpecError(
            f"the name {spec.name!r} is already used by a study with another spec; "
            "give this spec another name, or choose another database with --db"
        )
    return known is not None


def check_workloads(spec: StudySpec, pool: WorkerPool) -> None:
    """See that the data of every workload is where the workers are.

    Raises:
        MissingDataError: One's is not.
    """
    for workload in spec.workloads:
        pool.check_workload(spec.reference(workload))


def plan_engines(spec: StudySpec, pool: WorkerPool) -> dict[str, EnginePlan]:
    """For each workload, how it is trained on the workers of ``pool``.

    Raises:
        RefusedError: A workload cannot be trained as the spec wants it.
    """
    return {workload: pool.plan(request) for workload, request in plan_requests(spec, pool).items()}


def plan_requests(spec: StudySpec, pool: WorkerPool) -> dict[str, PlanRequest]:
    """For each workload, what a worker of ``pool`` has to find out.

    Raises:
        RefusedError: A workload cannot be trained at an end of an axis.
    """
    _check_training_axes(spec)
    runs = spec.trial_count * spec.seeds // len(spec.workloads)
    return {
        workload: PlanRequest(
            workload=spec.reference(workload),
            training=spec.training_of_trial({}),
            engine=spec.training.engine,
            row_epochs=-(-runs * spec.epochs_of(workload) // pool.slots),
            workers=pool.slots,
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
    engine: Engine,
    spec: StudySpec,
    plans: Mapping[str, EnginePlan] | None = None,
    device: str = "cpu",
    *,
    queued: bool = False,
    retry_seconds: float = 0.0,
) -> StudyRecord:
    """Write the study of ``spec`` with its trials, and the plans for ``device``; its driver makes missing ones.

    A study that another process wrote meanwhile is left as it is.

    Args:
        engine: The database.
        spec: The study.
        plans: For each workload, how it is trained.
        device: On which device.
        queued: Whether a server is to run it.
        retry_seconds: How long a database that is away is waited for.

    Raises:
        SpecError: Optuna already has a study of one of the names, or another study has this one's; it has too many
            runs; or its constraints leave nothing to try.
    """
    trials = plan_first_trials(spec)
    environment = describe_environment()

    def write(connection: Connection) -> StudyRecord:
        # Also of an earlier try, whose commit was done although its answer was lost.
        if not is_known(connection, spec):
            study_id = studies.create_study(connection, spec, trials, environment, queued=queued)
            studies.store_plans(connection, study_id, plans or {}, device=device)
        return find_study(connection, spec.name)

    patience = Patience(engine, seconds=retry_seconds)
    try:
        return patience.transact(write)
    except IntegrityError:
        # Another process wrote it after we had looked: now it is there to be seen.
        return patience.transact(write)


def plan_first_trials(spec: StudySpec) -> list[PlannedTrial]:
    """All trials of a study; of an adaptive design, those of its first round."""
    runs = spec.trial_count * spec.seeds
    if runs > MOST_RUNS:
        raise SpecError(f"the study has {runs:,} runs, and {MOST_RUNS:,} are the most; use fewer points or seeds")
    if not spec.design.is_adaptive:
        return plan_trials(spec)
    return [
        trial
        for workload in spec.workloads
        for optimizer in spec.optimizers
        for trial in ask_next_round(spec, workload, optimizer, round_=0, history=[])
    ]


def ask_next_round(
    spec: StudySpec, workload: str, optimizer: OptimizerSpec, *, round_: int, history: Sequence[FrozenTrial]
) -> list[PlannedTrial]:
    """As :func:`study.sampling.ask_round`.

    Raises:
        SpecError: The constraints leave the sampler nothing that it could propose.
    """
    try:
        return ask_round(spec, workload, optimizer, round_=round_, history=history)
    except ValueError as error:
        raise SpecError(f"{workload}, {optimizer.name}, round {round_}: {error}") from error


def read_history(connection: Connection, spec: StudySpec, workload: str, optimizer: OptimizerSpec) -> list[FrozenTrial]:
    """The trials of one workload and optimizer, as Optuna's samplers see them."""
    name = optuna_study_name(spec.name, workload, optimizer.name)
    optuna_study_id = find_optuna_study(connection, name)
    if optuna_study_id is None:
        raise SpecError(f"the Optuna study {name!r} was deleted; run the spec under another name")
    return read_frozen_trials(connection, optuna_study_id)
