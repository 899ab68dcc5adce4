"""What crosses the wire between the driver and its workers: plain frozen data, no tensors."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Literal

#: Which metric of the validation set a trial is judged by.
Objective = Literal["val_error", "val_loss"]


class Termination(Enum):
    """Why a run ended. The name is stored; the value is the sentence for people."""

    COMPLETED = "trained for its whole budget"
    DIVERGED = "loss became non-finite or exceeded the workload's ceiling; counted at chance level"
    FAILED = "the workload raised an error; its traceback is stored with the attempt"
    WORKER_LOST = "the worker died too often; look at its log and memory"
    CANCELLED = "interrupted; `adai-study resume` runs it again"


@dataclass(frozen=True, slots=True)
class TrialBatch:
    """Runs that are trained together as rows of the same tensors.

    Attributes:
        batch_id: Names the batch in messages and attempts.
        workload: Name of the workload.
        optimizer: Name of the update rule.
        run_ids: One per row; opaque to workers.
        seeds: Seed index of each row.
        hyperparameters: For each hyperparameter of the rule, one value per row.
        study_seed: Keys all randomness, with the seed index.
        epochs: Passes over the training set.
        objective: The metric that becomes the trial's value.
        options: Which variant of the update rule.
    """

    batch_id: int
    workload: str
    optimizer: str
    run_ids: tuple[int, ...]
    seeds: tuple[int, ...]
    hyperparameters: Mapping[str, tuple[float, ...]]
    study_seed: int
    epochs: int
    objective: Objective
    options: Mapping[str, bool | int | float | str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class EpochMetrics:
    """One epoch of one trial batch: for each row still training, what was measured.

    Attributes:
        batch_id: The batch.
        epoch: 1 for the first.
        run_ids: The rows; the following tuples are in this order.
        train_loss: Mean loss over the epoch, in nats per example, before each update.
        val_loss: Mean loss over the validation set after the epoch.
        val_error: Share of the validation set that is classified wrongly, in [0, 1].
        objective: The objective, capped at the workload's chance level.
        lr: Learning rate of the epoch's last step.
        seconds: Wall time of the epoch divided by the number of rows: an allocation, not a measurement of one run.
    """

    batch_id: int
    epoch: int
    run_ids: tuple[int, ...]
    train_loss: tuple[float, ...]
    val_loss: tuple[float, ...]
    val_error: tuple[float, ...]
    objective: tuple[float, ...]
    lr: tuple[float, ...]
    seconds: float


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
        test_error: At the end; None if it diverged.
        seconds: Wall time allotted to this run.
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
    """All runs of a batch ended: one outcome each, in the batch's order."""

    batch_id: int
    outcomes: tuple[RunOutcome, ...]
    placement: Placement


@dataclass(frozen=True, slots=True)
class BatchFailed:
    """A batch ended without outcomes.

    Attributes:
        batch_id: The batch.
        termination: ``FAILED`` (the workload raised) or ``WORKER_LOST``.
        error: Traceback, or what is known of the loss.
    """

    batch_id: int
    termination: Termination
    error: str


#: What a pool reports about a batch.
PoolEvent = EpochMetrics | BatchFinished | BatchFailed
