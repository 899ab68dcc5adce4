"""What crosses the wire between the driver and its workers: plain frozen data, no tensors."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Literal

#: Which metric of the validation set a trial is judged by.
Objective = Literal["val_error", "val_loss"]
#: How rows are trained; "auto" lets the worker take the stacked engine where it can.
EngineName = Literal["auto", "stacked", "looped", "looped-compiled"]
#: "bfloat16" is autocast: parameters, moments and losses stay float32.
Precision = Literal["float32", "bfloat16"]


class Termination(Enum):
    """Why a run ended. The name is stored; the value is the sentence for people."""

    COMPLETED = "trained for its whole budget"
    DIVERGED = "loss became non-finite or exceeded the workload's ceiling; counted at chance level"
    FAILED = "the workload raised an error; its traceback is stored with the attempt"
    WORKER_LOST = "the worker died too often; look at its log and memory"
    OUT_OF_MEMORY = "not even one trial fits into the worker's memory; use fewer seeds, a smaller batch or more memory"
    TIMED_OUT = "the worker made no progress for as long as its lease, in every attempt; look at its log"
    PRUNED = "stopped early because it was not promising"
    CANCELLED = "interrupted; `adai-study resume` runs it again"


@dataclass(frozen=True, slots=True)
class WorkloadReference:
    """Which workload, so that a worker on another machine can build it.

    Attributes:
        name: Its name.
        source: Text of the Python file that defines it; empty for those that are shipped or installed.
    """

    name: str
    source: str = ""


@dataclass(frozen=True, slots=True)
class CurvatureRequest:
    """When and on how much data the loss surface is measured.

    Attributes:
        every: Epochs between measurements; 0 measures after the last epoch only.
        examples: Training examples that are used, the same for all runs.
        slice_points: Points of a filter-normalised loss slice; 0 draws none.
    """

    every: int = 0
    examples: int = 500
    slice_points: int = 0


@dataclass(frozen=True, slots=True)
class Training:
    """How a workload is trained, the same for all rows of a batch. None means the workload's own.

    Attributes:
        batch_size: Examples in a step.
        schedule: Name of a learning rate schedule.
        label_smoothing: Share of the target spread over all classes, in [0, 1).
        data: Label noise, imbalance and limits: the fields of :class:`workers.workloads.corruption.DataOptions`.
        precision: Of forward and backward passes.
        target_error: Validation error that counts as reached in "time to target".
        curvature: Measure the loss surface; None does not.
    """

    batch_size: int | None = None
    schedule: str | None = None
    label_smoothing: float = 0.0
    data: Mapping[str, str | int | float] = field(default_factory=dict)
    precision: Precision = "float32"
    target_error: float | None = None
    curvature: CurvatureRequest | None = None


@dataclass(frozen=True, slots=True)
class TrialBatch:
    """Runs that are trained together as rows of the same tensors.

    Attributes:
        batch_id: Names the batch in messages and attempts.
        workload: Which workload.
        optimizer: Name of the update rule.
        run_ids: One per row; opaque to workers.
        seeds: Seed index of each row.
        hyperparameters: For each hyperparameter of the rule, one value per row.
        study_seed: Keys all randomness, with the seed index.
        epochs: For each row, passes over the training set.
        objective: The metric that becomes the trial's value.
        options: Which variant of the update rule.
        training: How the workload is trained.
        engine: How the rows are trained.
        dropped: Runs of the batch that ended in an earlier stage: they name the checkpoint, and are not trained.
        start_epoch: Epochs of an earlier stage: reported then, so not reported again, however they come back.
        stop_epoch: The stage ends after this epoch, and runs with a larger budget pause; None trains to the end.
    """

    batch_id: int
    workload: WorkloadReference
    optimizer: str
    run_ids: tuple[int, ...]
    seeds: tuple[int, ...]
    hyperparameters: Mapping[str, tuple[float, ...]]
    study_seed: int
    epochs: tuple[int, ...]
    objective: Objective
    options: Mapping[str, bool | int | float | str] = field(default_factory=dict)
    training: Training = field(default_factory=Training)
    engine: EngineName = "auto"
    dropped: tuple[int, ...] = ()
    start_epoch: int = 0
    stop_epoch: int | None = None


@dataclass(frozen=True, slots=True)
class EnginePlan:
    """How a workload is trained on a kind of device, and why.

    Attributes:
        engine: The engine.
        max_rows: Largest number of rows in a trial batch.
        reason: The measurement or rule that decided, for people.
    """

    engine: EngineName
    max_rows: int
    reason: str


@dataclass(frozen=True, slots=True)
class EpochMetrics:
    """One epoch of one trial batch: for each row still training, what was measured.

    Attributes:
        batch_id: The batch.
        epoch: 1 for the first.
        run_ids: The rows; the following tuples are in this order.
        train_loss: Mean loss over the epoch, in nats per example, before each update.
        val_loss: Mean loss over the validation set after the epoch.
        val_error: Share of the validation set that is classified wrongly, in [0, 1]; NaN where there are no classes.
        objective: The objective, capped at the workload's chance level.
        lr: Learning rate of the epoch's last step, the schedule's factor included.
        grad_norm: Mean over the epoch's steps of the Euclidean norm of the mini-batch gradient.
        seconds: Wall time of the epoch divided by the number of rows: an allocation, not a measurement of one run.
        curvature: For rows that were measured after this epoch: run id to quantity to value.
    """

    batch_id: int
    epoch: int
    run_ids: tuple[int, ...]
    train_loss: tuple[float, ...]
    val_loss: tuple[float, ...]
    val_error: tuple[float, ...]
    objective: tuple[float, ...]
    lr: tuple[float, ...]
    grad_norm: tuple[float, ...]
    seconds: float
    curvature: Mapping[int, Mapping[str, float | tuple[float, ...]]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RunOutcome:
    """How one run ended.

    Attributes:
        run_id: The run.
        termination: Why it ended.
        reason: More about it; empty for completed runs.
        epochs: Epochs trained, the last of them possibly the one in which it diverged.
        objective: Objective at the end, capped at chance level; chance level if it diverged.
        at_chance: Whether the validation loss is no lower than that of uniform guessing: the run learned nothing,
            diverged or not.
        train_loss: Of the last epoch; may be non-finite if it diverged.
        val_loss: Of the last epoch.
        val_error: Of the last epoch.
        test_loss: At the end; None if it diverged.
        test_error: At the end; None if it diverged, or where there are no classes.
        seconds: Wall time allotted to this run.
        steps_to_target: Steps until the end of the first epoch whose validation error reached the target; None if it
            never did, or there is no target.
        seconds_to_target: The time allotted to this run by then.
        peak_memory: Largest memory of the worker while the batch trained, in bytes, of its process on a CPU or its
            tensors on a GPU; None where the system does not tell. Of the batch, not of one run.
    """

    run_id: int
    termination: Termination
    reason: str
    epochs: int
    objective: float
    at_chance: bool
    train_loss: float
    val_loss: float
    val_error: float
    test_loss: float | None
    test_error: float | None
    seconds: float
    steps_to_target: int | None = None
    seconds_to_target: float | None = None
    peak_memory: int | None = None


@dataclass(frozen=True, slots=True)
class Placement:
    """Where and how an attempt ran: the only part of a result that may differ between two equal studies."""

    worker: str
    host: str
    pid: int
    device: str
    engine: str
    torch_version: str


@dataclass(frozen=True, slots=True)
class BatchFinished:
    """All runs of a batch that were trained ended or paused.

    Attributes:
        batch_id: The batch.
        outcomes: One for each run that ended, in the batch's order.
        placement: Where it ran.
        chance_loss: Loss of a model that learned nothing, as the workload has it for its data.
        paused: Runs that wait for the next stage, in the batch's order.
    """

    batch_id: int
    outcomes: tuple[RunOutcome, ...]
    placement: Placement
    chance_loss: float
    paused: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class BatchFailed:
    """A batch ended without outcomes.

    Attributes:
        batch_id: The batch.
        termination: ``FAILED`` (the workload raised), ``OUT_OF_MEMORY``, ``WORKER_LOST`` or ``TIMED_OUT``.
        error: Traceback, or what is known of the loss.
    """

    batch_id: int
    termination: Termination
    error: str


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """A worker lives and has a batch.

    Attributes:
        batch_id: The batch.
        steps: What was done of the batch until now (a step or a row of it trained, a row evaluated or measured): a
            worker whose steps stand still hangs.
        worker: Name of the worker.
        host: Its machine.
        pid: Its process.
    """

    batch_id: int
    steps: int
    worker: str
    host: str
    pid: int


#: What a pool reports about a batch.
PoolEvent = EpochMetrics | BatchFinished | BatchFailed | Heartbeat
