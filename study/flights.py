"""Batches that workers have: what they reported, and whether they still move."""

import time
from dataclasses import dataclass, field

from study.objectives import seed_mean
from study.storage.attempts import BatchPlan
from study.storage.run_states import RunBook, RunState
from workers.messages import BatchFailed, EpochMetrics, Heartbeat, Termination, TrialBatch


@dataclass(slots=True)
class Flight:
    """One attempt at a batch.

    Attributes:
        plan: What it was planned as.
        batch: What was sent; its id is that of the attempt.
        last: For each run, the last metrics of it that came, and its place in them.
        steps: Training steps when it last moved; -1 while no worker has it.
        moved_at: When it last moved, by this process's own clock; None while no worker has it.
        heard_at: When its worker last gave a sign of life.
        worker: Where it is: (worker, host, process id); None while no worker has it.
    """

    plan: BatchPlan
    batch: TrialBatch
    last: dict[int, tuple[EpochMetrics, int]] = field(default_factory=dict)
    steps: int = -1
    moved_at: float | None = None
    heard_at: float | None = None
    worker: tuple[str, str, int] | None = None

    def note_heartbeat(self, heartbeat: Heartbeat) -> None:
        """Its worker lives; it moves if its steps do."""
        now = self.heard_at = time.monotonic()
        self.worker = (heartbeat.worker, heartbeat.host, heartbeat.pid)
        if heartbeat.steps != self.steps:
            self.steps, self.moved_at = heartbeat.steps, now

    def note_epoch(self, metrics: EpochMetrics) -> None:
        """It moves, and has results."""
        self.heard_at = self.moved_at = time.monotonic()
        for place, run_id in enumerate(metrics.run_ids):
            self.last[run_id] = metrics, place

    def trained(self) -> list[int]:
        """The runs that it trains."""
        dropped = set(self.batch.dropped)
        return [run_id for run_id in self.batch.run_ids if run_id not in dropped]

    def standing(self, run_id: int) -> tuple[int, float]:
        """Epochs and objective of a run that has reported."""
        metrics, place = self.last[run_id]
        return metrics.epoch, metrics.objective[place]

    def trial_values(self, metrics: EpochMetrics, book: RunBook) -> dict[int, float]:
        """Optuna trial id -> mean objective over the seeds after this epoch, which has been noted.

        A trial without a row any more has reported its last value: it must not depend on its batch's company.
        """
        training = set(metrics.run_ids)
        values = {}
        for trial in self.plan.trials:
            runs = book.of_trial(trial.id)
            if any(run.id in training for run in runs):
                values[trial.optuna_trial_id] = seed_mean([self._objective(run) for run in runs])
        return values

    def _objective(self, run: RunState) -> float:
        if run.id in self.last:
            metrics, place = self.last[run.id]
            return metrics.objective[place]
        if run.objective is None:
            raise ValueError(f"run {run.id} has neither trained nor ended; trials train with all their seeds")
        return run.objective

    def excuse(self, seconds: float) -> None:
        """This process did not listen for so long: its worker may have moved unheard."""
        if self.moved_at is not None:
            self.moved_at += seconds

    def expired(self, lease_seconds: float) -> BatchFailed | None:
        """The failure of a batch whose worker has not moved for as long as its lease; None while the lease runs.

        The time is this process's own: a clock that is set does not matter. Only workers that give signs of life have a
        lease: in one process, nobody else could take over.
        """
        now = time.monotonic()
        if self.worker is None or self.moved_at is None or now - self.moved_at <= lease_seconds:
            return None
        silent = now - (self.heard_at or self.moved_at)
        life = "its last sign of life came" if silent > lease_seconds / 2 else "it lives, its last sign of life came"
        return BatchFailed(
            self.batch.batch_id,
            Termination.TIMED_OUT,
            f"no training step for {now - self.moved_at:.0f} s, the lease is {lease_seconds:g} s "
            f"({life} {silent:.0f} s ago, after {max(self.steps, 0)} steps); a workload whose steps take longer "
            "needs a longer ADAI_LEASE_SECONDS",
        )
