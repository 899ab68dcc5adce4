"""How far studies are and what failed in them, summed up by the database: a few queries, whatever a study's size.

Nothing here needs a study's spec or what runs it, so that `adai-study status` starts at once, without torch or Optuna.
"""

import datetime as dt
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Select, Subquery, case, func, select

from study.errors import UnknownStudyError
from study.storage.tables import attempts, plans, runs, studies, trials
from workers.messages import EnginePlan, Termination

#: A trial with a run that ended like this has no result and never will.
FAILURES = (Termination.FAILED, Termination.WORKER_LOST, Termination.OUT_OF_MEMORY, Termination.TIMED_OUT)
#: Characters at the end of an error that are looked at for its last line.
_END = 400


#: Designs with a known number of points, whose trials are written round by round.
_ASKED_IN_ROUNDS = ("tpe", "gp", "cmaes", "nsga2")


@dataclass(frozen=True, slots=True)
class StudySummary:
    """One study, less its spec.

    Attributes:
        id: Its key.
        name: Its name.
        state: As in :class:`study.storage.records.StudyRecord`.
        created_at: When it was written.
        objective: What its trials are judged by.
        driver: Which process drives it; None if nobody does.
        error: Why it failed; None if it did not.
    """

    id: int
    name: str
    state: str
    created_at: dt.datetime
    objective: str
    driver: str | None
    error: str | None


@dataclass(frozen=True, slots=True)
class StudyProgress:
    """How far one optimizer of a study is on one workload, counted by the database."""

    study: str
    state: str
    created_at: dt.datetime
    workload: str
    optimizer: str
    runs: int
    ended: int
    diverged: int
    failed: int
    best_objective: float | None
    pruned: int


@dataclass(frozen=True, slots=True)
class FailureKind:
    """Attempts of one optimizer on one workload that brought no result for the same reason.

    Attributes:
        workload: Name of the workload.
        optimizer: Name of the optimizer.
        termination: How the attempts ended: one of :data:`FAILURES`.
        reason: The last line of their errors.
        attempts: How many there are.
        error: The whole error of the newest one.
    """

    workload: str
    optimizer: str
    termination: Termination
    reason: str
    attempts: int
    error: str


@dataclass(frozen=True, slots=True)
class Failures:
    """What failed in a study.

    Attributes:
        kinds: The most frequent kinds of failure, the most frequent first.
        more: How many kinds are not in ``kinds``.
        attempts: How many attempts failed, of all kinds.
    """

    kinds: tuple[FailureKind, ...]
    more: int
    attempts: int


def unknown_study(connection: Connection, name: str) -> UnknownStudyError:
    """The error that says that there is no study called ``name``, and which there are."""
    names = connection.execute(select(studies.c.name).order_by(studies.c.id)).scalars().all()
    known = f"there are {', '.join(names)}" if names else "it holds none; run one with `adai-study run SPEC`"
    return UnknownStudyError(f"no study is called {name!r} in this database; {known}")


def find_summary(connection: Connection, name: str) -> StudySummary:
    """The study called ``name``.

    Raises:
        UnknownStudyError: There is none; the message lists those there are.
    """
    objective = studies.c.spec["objective"].as_string()
    known = (studies.c.id, studies.c.name, studies.c.state, studies.c.created_at)
    query = select(*known, objective, studies.c.driver, studies.c.error)
    row = connection.execute(query.where(studies.c.name == name)).one_or_none()
    if row is None:
        raise unknown_study(connection, name)
    return StudySummary(*row)


def read_progress(connection: Connection, name: str | None = None) -> list[StudyProgress]:
    """Progress of every study, or of one, by workload and optimizer, in their order of creation."""
    per_trial = _sum_by_trial(None if name is None else select(studies.c.id).where(studies.c.name == name))
    query = (
        select(
            studies.c.name,
            studies.c.state,
            studies.c.created_at,
            per_trial.c.workload,
            per_trial.c.optimizer,
            func.sum(per_trial.c.runs),
            func.sum(per_trial.c.ended),
            func.sum(per_trial.c.diverged),
            func.sum(per_trial.c.failed),
            func.min(per_trial.c.value),
            func.sum(per_trial.c.pruned),
            studies.c.spec["design"]["kind"].as_string(),
            studies.c.spec["design"]["points"].as_integer(),
            studies.c.spec["seeds"].as_integer(),
        )
        .select_from(studies.join(per_trial, per_trial.c.study_id == studies.c.id))
        .group_by(studies.c.id, per_trial.c.workload, per_trial.c.optimizer)
        .order_by(studies.c.id, func.min(per_trial.c.id))
    )
    return [
        StudyProgress(
            *row[:5],
            _count_planned(row.state, int(row[5]), *row[11:14]),
            int(row[6]),
            int(row[7]),
            int(row[8]),
            row[9],
            int(row[10]),
        )
        for row in connection.execute(query)
    ]


def _count_planned(state: str, written: int, kind: str, points: int | None, seeds: int) -> int:
    """Runs of a cell: those that a sampler has not asked for yet among them, unless the study is complete."""
    if state == "completed" or kind not in _ASKED_IN_ROUNDS or points is None:
        return written
    return max(written, (points + 1) * seeds)


def _sum_by_trial(study_ids: Select[tuple[int]] | None) -> Subquery:
    """For each trial of some studies, or of all: how many runs it has, how they ended, and its value."""
    # A trial's value is the mean over its seeds, and only counts when all of them have trained their whole budget.
    objective = case((runs.c.termination != Termination.PRUNED.name, runs.c.objective))
    query = (
        select(
            trials.c.id,
            trials.c.study_id,
            trials.c.workload,
            trials.c.optimizer,
            func.count().label("runs"),
            func.count(runs.c.termination).label("ended"),
            _count(Termination.DIVERGED).label("diverged"),
            _count(*FAILURES).label("failed"),
            _count(Termination.PRUNED).label("pruned"),
            case((func.count(objective) == func.count(), func.avg(objective))).label("value"),
        )
        .select_from(trials.join(runs))
        .group_by(trials.c.id)
    )
    # The index of trials by study and that of runs by trial lead to the rows: other studies cost nothing.
    return (query if study_ids is None else query.where(trials.c.study_id.in_(study_ids))).subquery()


def _count(*terminations: Termination) -> Any:
    return func.count(case((runs.c.termination.in_([termination.name for termination in terminations]), 1)))


def read_plans(connection: Connection, study_id: int) -> dict[str, EnginePlan]:
    """Workload -> how it was planned to be trained when the study was last driven."""
    query = select(plans).where(plans.c.study_id == study_id).order_by(plans.c.id)
    return {row.workload: EnginePlan(row.engine, row.max_rows, row.reason) for row in connection.execute(query)}


def read_failures(connection: Connection, study_id: int, *, limit: int) -> Failures:
    """What failed in a study, at most ``limit`` kinds of it; the whole errors of those are read, and no others."""
    # Few attempts fail, and finding the last line of a text is beyond what both databases can: ends of errors are read.
    length = func.length(attempts.c.error)
    end = case((length > _END, func.substr(attempts.c.error, length - _END + 1)), else_=attempts.c.error)
    query = (
        select(attempts.c.workload, attempts.c.optimizer, attempts.c.termination, end, attempts.c.id)
        .where(
            attempts.c.study_id == study_id,
            attempts.c.termination.in_([termination.name for termination in FAILURES]),
        )
        .order_by(attempts.c.id)
        .execution_options(yield_per=1000)
    )
    counts, newest = _count_kinds(connection.execute(query))
    chosen = [kind for kind, _ in counts.most_common(limit)]
    texts = select(attempts.c.id, attempts.c.error).where(attempts.c.id.in_([newest[kind] for kind in chosen]))
    error_of = {row.id: row.error or "" for row in connection.execute(texts)}
    return Failures(
        kinds=tuple(
            FailureKind(
                workload=kind[0],
                optimizer=kind[1],
                termination=Termination[kind[2]],
                reason=kind[3],
                attempts=counts[kind],
                error=error_of[newest[kind]],
            )
            for kind in chosen
        ),
        more=len(counts) - len(chosen),
        attempts=counts.total(),
    )


_Kind = tuple[str, str, str, str]


def _count_kinds(rows: Iterable[Any]) -> tuple[Counter[_Kind], dict[_Kind, int]]:
    """How many attempts there are of each kind, and the id of the newest; ``rows`` in the order of their ids."""
    counts: Counter[_Kind] = Counter()
    newest: dict[_Kind, int] = {}
    for row in rows:
        workload, optimizer, termination, end, attempt_id = row
        kind = (workload, optimizer, termination, ((end or "").strip().splitlines() or [""])[-1])
        counts[kind] += 1
        newest[kind] = attempt_id
    return counts, newest
