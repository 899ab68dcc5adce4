"""How far studies are and what failed in them, summed up by the database: a few queries, whatever a study's size.

Nothing here needs a study's spec or what runs it, so that `adai-study status` starts at once, without torch or Optuna.
"""

import datetime as dt
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, Select, Subquery, case, func, select

from study.errors import UnknownStudyError
from study.storage.id_lists import among
from study.storage.tables import attempts, plans, runs, studies, trials
from workers.messages import EnginePlan, Termination

#: A trial with a run that ended like this has no result and never will.
FAILURES = (Termination.FAILED, Termination.WORKER_LOST, Termination.OUT_OF_MEMORY, Termination.TIMED_OUT)
#: Characters at the end of an error that are looked at for its last line.
_END = 400
#: Of the studies that there are, how many are named to somebody who asks for another one.
_NAMED = 50
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
    """How far one optimizer of a study is on one workload, counted by the database.

    Those that a sampler has not asked for yet are among ``runs`` and ``trials``, unless the study is complete.
    """

    study_id: int
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
    trials: int
    trials_ended: int


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
    names = list(connection.execute(select(studies.c.name).order_by(studies.c.id).limit(_NAMED + 1)).scalars())
    listed = [*names[:_NAMED], "others"] if len(names) > _NAMED else names
    known = f"there are {', '.join(listed)}" if names else "it holds none; run one with `adai-study run SPEC`"
    return UnknownStudyError(f"no study is called {name!r:.200} in this database; {known}")


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


def read_progress(
    connection: Connection, name: str | None = None, *, study_ids: Iterable[int] | None = None
) -> list[StudyProgress]:
    """Progress of some studies by workload and optimizer, in their order of creation.

    Args:
        connection: To the database.
        name: Of one study; None for those that ``study_ids`` chooses.
        study_ids: Keys of studies; None for all.
    """
    chosen = None if name is None and study_ids is None else select(studies.c.id)
    if chosen is not None and name is not None:
        chosen = chosen.where(studies.c.name == name)
    if chosen is not None and study_ids is not None:
        chosen = chosen.where(among(connection, studies.c.id, study_ids))
    return [_to_progress(row) for row in connection.execute(_sum_by_cell(sum_by_trial(chosen)))]


def _sum_by_cell(per_trial: Subquery) -> Select[Any]:
    """Of each study, workload and optimizer: sums over its trials, and what its spec says of their number."""
    summed = {
        "runs": func.sum(per_trial.c.runs),
        "ended": func.sum(per_trial.c.ended),
        "diverged": func.sum(per_trial.c.diverged),
        "failed": func.sum(per_trial.c.failed),
        "pruned": func.sum(per_trial.c.pruned),
        "best": func.min(per_trial.c.value),
        "trials": func.count(),
        "trials_ended": func.count(case((per_trial.c.ended == per_trial.c.runs, 1))),
        "kind": studies.c.spec["design"]["kind"].as_string(),
        "points": studies.c.spec["design"]["points"].as_integer(),
        "seeds": studies.c.spec["seeds"].as_integer(),
    }
    known = (studies.c.id, studies.c.name, studies.c.state, studies.c.created_at)
    return (
        select(
            *known, per_trial.c.workload, per_trial.c.optimizer, *(value.label(name) for name, value in summed.items())
        )
        .select_from(studies.join(per_trial, per_trial.c.study_id == studies.c.id))
        .group_by(studies.c.id, per_trial.c.workload, per_trial.c.optimizer)
        .order_by(studies.c.id, func.min(per_trial.c.id))
    )


def _to_progress(row: Row[Any]) -> StudyProgress:
    planned = _count_planned(row)
    return StudyProgress(
        study_id=row.id,
        study=row.name,
        state=row.state,
        created_at=row.created_at,
        workload=row.workload,
        optimizer=row.optimizer,
        runs=max(int(row.runs), planned * row.seeds),
        ended=int(row.ended),
        diverged=int(row.diverged),
        failed=int(row.failed),
        best_objective=row.best,
        pruned=int(row.pruned),
        trials=max(int(row.trials), planned),
        trials_ended=int(row.trials_ended),
    )


def _count_planned(row: Row[Any]) -> int:
    """Trials of a cell that a sampler is going to ask for, those that it has asked for among them; 0 of other cells."""
    if row.state == "completed" or row.kind not in _ASKED_IN_ROUNDS or row.points is None:
        return 0
    return int(row.points) + 1


def sum_by_trial(study_ids: Select[tuple[int]] | None, *conditions: ColumnElement[bool]) -> Subquery:
    """For each trial of some studies, or of all: how many runs it has, how they ended, and its value.

    Args:
        study_ids: Which studies; None for all.
        conditions: What holds for the trials that count.
    """
    # A trial's value is the mean over its seeds, and only counts when all of them have trained their whole budget.
    objective = case((runs.c.termination != Termination.PRUNED.name, runs.c.objective))
    query = (
        select(
            trials.c.id,
            trials.c.study_id,
            trials.c.workload,
            trials.c.optimizer,
            trials.c.number,
            trials.c.optuna_trial_id,
            func.count().label("runs"),
            func.count(runs.c.termination).label("ended"),
            _count(Termination.DIVERGED).label("diverged"),
            _count(*FAILURES).label("failed"),
            _count(Termination.PRUNED).label("pruned"),
            case((func.count(objective) == func.count(), func.avg(objective))).label("value"),
        )
        .select_from(trials.join(runs))
        .where(*conditions)
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
