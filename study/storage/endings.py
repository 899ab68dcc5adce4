"""How trials and attempts end without all that was hoped for: pruned, tried again, failed, given back.

All functions are called inside a transaction of the study's :class:`study.storage.ledger.Ledger`.
"""

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from sqlalchemy import Connection, bindparam, exists, func, or_, select, update

from study.storage import optuna_rows
from study.storage.id_lists import among
from study.storage.logs import log_event
from study.storage.progress import FAILURES
from study.storage.records import TrialRecord
from study.storage.tables import attempts, runs, trials
from workers.messages import BatchFailed, Termination

#: Of an error, what a log shows; the attempt has it whole.
_SHOWN_CHARACTERS = 300


class TrialEndState(Enum):
    """How a trial ended."""

    COMPLETE = "all of its runs have results"
    PRUNED = "stopped early"
    FAILED = "a run has no result and never will"


@dataclass(frozen=True, slots=True)
class TrialEnd:
    """A trial none of whose runs is open any more.

    Attributes:
        optuna_trial_id: Its key in Optuna's tables.
        state: How it ended.
        values: The value for each objective; empty if it failed.
        attributes: What Optuna Dashboard shows beside them.
    """

    optuna_trial_id: int
    state: TrialEndState
    values: tuple[float, ...] = ()
    attributes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PrunedRun:
    """A run that is stopped where it stands.

    Attributes:
        run_id: The run.
        reason: Why, for people.
    """

    run_id: int
    reason: str


def prune_runs(
    connection: Connection, study_id: int, pruned: Sequence[PrunedRun], ends: Sequence[TrialEnd], details: str
) -> None:
    """Stop runs at the end of a stage: they keep their epochs, and the objective that they had there."""
    connection.execute(
        update(runs).where(runs.c.id == bindparam("run_id")),
        [{"run_id": run.run_id, "termination": Termination.PRUNED.name, "reason": run.reason} for run in pruned],
    )
    end_trials(connection, ends)
    log_event(connection, study_id, "trials_pruned", trials=len(ends), runs=len(pruned), of=details)


def abandon_attempt(
    connection: Connection,
    study_id: int,
    failed: BatchFailed,
    batch: Sequence[TrialRecord],
    *,
    tries: int,
    what_next: str,
) -> None:
    """An attempt brought nothing; its trials wait for another one."""
    _close_attempt(connection, study_id, failed, batch, tries=tries, what_next=what_next)
    optuna_rows.release_trials(connection, [trial.optuna_trial_id for trial in batch])


def fail_attempt(
    connection: Connection,
    study_id: int,
    failed: BatchFailed,
    batch: Sequence[TrialRecord],
    *,
    tries: int,
    what_next: str,
) -> None:
    """An attempt failed for good: the open runs of its trials end without results, its Optuna trials fail."""
    _close_attempt(connection, study_id, failed, batch, tries=tries, what_next=what_next)
    lines = _storable(failed.error).strip().splitlines()
    chosen = among(connection, runs.c.trial_id, [trial.id for trial in batch])
    connection.execute(
        update(runs)
        .where(chosen, runs.c.termination.is_(None))
        .values(
            termination=failed.termination.name,
            reason=lines[-1] if lines else "",
            objective=None,
            attempt_id=failed.batch_id,
        )
    )
    optuna_rows.fail_trials(connection, [trial.optuna_trial_id for trial in batch])


def reconcile_study(connection: Connection, study_id: int, pending: Iterable[int]) -> None:
    """After a driver that ended or died: close its open attempts, and let the trials ``pending`` in Optuna wait."""
    closed = connection.execute(
        update(attempts)
        .where(attempts.c.study_id == study_id, attempts.c.finished_at.is_(None))
        .values(
            finished_at=_now(),
            termination=Termination.CANCELLED.name,
            error="the driver ended before this attempt did",
        )
        .returning(attempts.c.id)
    ).scalars()
    cancelled = list(closed)
    if cancelled:
        log_event(connection, study_id, "attempts_cancelled", level="warning", attempts=cancelled)
    optuna_rows.release_trials(connection, list(pending))


def count_failed_trials(connection: Connection, study_id: int) -> int:
    """How many trials of a study have runs that ended without a result."""
    failed = runs.c.termination.in_([termination.name for termination in FAILURES])
    query = select(func.count(trials.c.id.distinct())).join(runs).where(trials.c.study_id == study_id, failed)
    return int(connection.execute(query).scalar_one())


def has_finished_trial(connection: Connection, study_id: int) -> bool:
    """Whether a trial of a study has a result, so that there is something to report."""
    failed = runs.c.termination.in_([termination.name for termination in FAILURES])
    lacking = exists().where(runs.c.trial_id == trials.c.id, or_(runs.c.termination.is_(None), failed))
    query = select(trials.c.id).where(trials.c.study_id == study_id, ~lacking).limit(1)
    return connection.execute(query).first() is not None


def reopen_failed_trials(connection: Connection, study_id: int) -> int:
    """Let trials that failed wait to be tried again; return how many there are."""
    failed = runs.c.termination.in_([termination.name for termination in FAILURES])
    chosen = (
        select(trials.c.id, trials.c.optuna_trial_id).join(runs).where(trials.c.study_id == study_id, failed).distinct()
    )
    found = connection.execute(chosen).all()
    if found:
        connection.execute(
            update(runs)
            .where(among(connection, runs.c.trial_id, [row.id for row in found]), failed)
            .values(termination=None, reason=None, attempt_id=None)
        )
        optuna_rows.release_trials(connection, [row.optuna_trial_id for row in found])
        log_event(connection, study_id, "failed_trials_reopened", trials=len(found))
    return len(found)


def end_trials(connection: Connection, ends: Sequence[TrialEnd]) -> None:
    """Say in Optuna's tables how trials ended."""
    complete = [end for end in ends if end.state is TrialEndState.COMPLETE]
    pruned = [end for end in ends if end.state is TrialEndState.PRUNED]
    failed = [end.optuna_trial_id for end in ends if end.state is TrialEndState.FAILED]
    optuna_rows.complete_trials(
        connection,
        {end.optuna_trial_id: end.values for end in complete},
        {end.optuna_trial_id: end.attributes for end in complete},
    )
    optuna_rows.prune_trials(
        connection,
        {end.optuna_trial_id: end.values[0] for end in pruned},
        {end.optuna_trial_id: end.attributes for end in pruned},
    )
    optuna_rows.fail_trials(connection, failed)


def _close_attempt(
    connection: Connection,
    study_id: int,
    failed: BatchFailed,
    batch: Sequence[TrialRecord],
    *,
    tries: int,
    what_next: str,
) -> None:
    connection.execute(
        update(attempts)
        .where(attempts.c.id == failed.batch_id)
        .values(finished_at=_now(), termination=failed.termination.name, error=_storable(failed.error))
    )
    lines = _storable(failed.error).strip().splitlines() or [""]
    log_event(
        connection,
        study_id,
        "attempt_failed",
        level="warning",
        attempt=failed.batch_id,
        termination=failed.termination.name.lower(),
        tries=tries,
        workload=batch[0].workload,
        optimizer=batch[0].optimizer,
        trials=[trial.number for trial in batch],
        error=lines[-1][:_SHOWN_CHARACTERS],
        next=what_next,
    )


def _storable(text: str) -> str:
    """What a workload raised may hold characters that databases refuse: lone surrogates, zeros."""
    return text.encode("utf-8", "backslashreplace").decode().replace("\0", "\\0")


def _now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)
