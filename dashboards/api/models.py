"""What the API says, as pydantic models: OpenAPI, the pages and the scripts of the pages are made from them.

Losses, errors and objectives are lower-is-better numbers; None stands for a number that is not there or not finite.
Times are UTC, durations seconds. Columns of points are lists of equal length, which is a third of the size of objects.
"""

import datetime as dt
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

Value = bool | int | float | str
State = Literal["planned", "queued", "running", "cancelling", "interrupted", "cancelled", "failed", "completed"]


class Model(BaseModel):
    """Frozen, and nothing beside its fields."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Best(Model):
    """The best finished trial of an optimizer on a workload."""

    workload: str
    optimizer: str
    objective: float


class StudySummary(Model):
    """A study in the list."""

    name: str
    description: str
    state: State
    created_at: dt.datetime
    finished_at: dt.datetime | None
    objective: str
    trials: int
    trials_ended: int
    runs: int
    runs_ended: int
    diverged: int
    failed: int
    pruned: int
    share: float
    """Of the runs that have ended, in [0, 1]."""
    rate: float | None
    """Trials per second lately; None unless it runs and some have ended."""
    seconds_left: float | None
    best: list[Best]
    driver: str | None
    """Which process drives it, for people; None if nobody does."""
    error: str | None


class Page(Model):
    """What every page of a list has beside its items."""

    next_cursor: str | None
    """To be given as ``cursor`` for the page after this one; None at the end."""


class StudyPage(Page):
    """Some studies."""

    items: list[StudySummary]
    total: int
    """How many there are on all pages."""


class CellProgress(Model):
    """How far one optimizer is on one workload."""

    workload: str
    optimizer: str
    trials: int
    trials_ended: int
    runs: int
    runs_ended: int
    diverged: int
    failed: int
    pruned: int
    best_objective: float | None


class Axis(Model):
    """One axis of an optimizer: a range, or choices."""

    name: str
    low: float | None
    high: float | None
    scale: str
    """``linear``, ``log``, ``log1m``; ``choices`` where it has choices."""
    integer: bool
    choices: list[Value]
    conditional: bool
    """Whether it varies in some trials only."""


class Optimizer(Model):
    """One optimizer of a study."""

    name: str
    title: str
    axes: list[Axis]


class Plan(Model):
    """How a workload is trained."""

    workload: str
    engine: str
    max_rows: int
    reason: str


class StudyDetail(StudySummary):
    """A study."""

    cells: list[CellProgress]
    workloads: list[str]
    optimizers: list[Optimizer]
    design: str
    """In words, such as ``32 sobol points``."""
    seeds: int
    plans: list[Plan]
    environment: dict[str, Any]
    spec: dict[str, Any]
    spec_hash: str
    report: "ReportInfo | None"


class ReportInfo(Model):
    """The report that was written of a study."""

    written_at: dt.datetime
    state: str
    """Of the study when it was written."""
    runs_ended: int
    is_current: bool
    """Whether no run has ended since."""
    files: int
    bytes: int


class TrialRow(Model):
    """A trial in a list."""

    workload: str
    optimizer: str
    number: int
    origin: str
    hyperparameters: dict[str, Value]
    state: Literal["waiting", "running", "complete", "pruned", "failed"]
    objective: float | None
    """Mean over its seeds, diverged runs at chance level; None until all have ended."""
    sd: float | None
    """Over its seeds; None with fewer than two."""
    runs: int
    runs_ended: int
    diverged: int
    failed: int


class TrialPage(Page):
    """Some trials of a study."""

    items: list[TrialRow]
    total: int


class Run(Model):
    """A trial trained with one seed."""

    workload: str
    optimizer: str
    trial: int
    seed: int
    termination: str | None
    """Lower case, such as ``completed`` or ``diverged``; None until it ended."""
    reason: str | None
    epochs: int | None
    objective: float | None
    at_chance: bool | None
    train_loss: float | None
    val_loss: float | None
    val_error: float | None
    test_loss: float | None
    test_error: float | None
    seconds: float | None
    steps_to_target: int | None
    seconds_to_target: float | None
    peak_memory: int | None
    """Bytes."""
    worker: str | None
    device: str | None
    engine: str | None


class RunPage(Page):
    """Some runs of a study."""

    items: list[Run]


class Epoch(Model):
    """An epoch of a run."""

    workload: str
    optimizer: str
    trial: int
    seed: int
    epoch: int
    train_loss: float | None
    val_loss: float | None
    val_error: float | None
    lr: float
    grad_norm: float | None
    seconds: float


class EpochPage(Page):
    """Some epochs of a study."""

    items: list[Epoch]


class Attempt(Model):
    """One try at a trial batch that had runs of this trial in it."""

    id: int
    started_at: dt.datetime
    finished_at: dt.datetime | None
    termination: str | None
    error: str | None
    worker: str | None
    host: str | None
    device: str | None
    engine: str | None
    tries: int | None
    runs: int
    """Of the batch, those of other trials among them."""


class Curvature(Model):
    """A measurement of the loss surface where a run stood."""

    seed: int
    epoch: int
    values: dict[str, Any]
    """Quantity -> number, or list of numbers for a slice."""


class TrialDetail(TrialRow):
    """A trial."""

    runs_of_it: list[Run]
    attempts: list[Attempt]
    curvature: list[Curvature]
    optuna_study_id: int
    """Of its page in Optuna Dashboard: ``/dashboard/studies/ID``."""


class Failure(Model):
    """Attempts that brought no result for the same reason."""

    workload: str
    optimizer: str
    termination: str
    reason: str
    attempts: int
    error: str


class Failures(Model):
    """What failed in a study, the most frequent first."""

    items: list[Failure]
    more: int
    """Kinds that are not listed."""
    attempts: int


class LogEntry(Model):
    """One event of a study."""

    id: int
    at: dt.datetime
    level: str
    event: str
    details: dict[str, Any]


class LogPage(Page):
    """Some events of a study, oldest first."""

    items: list[LogEntry]


class Problem(BaseModel):
    """An error, as RFC 9457 has it: ``application/problem+json``."""

    model_config = ConfigDict(frozen=True, extra="allow")

    type: str = "about:blank"
    title: str
    status: int
    detail: str
    problems: list[str] = []
    """Each mistake, where there are several."""
