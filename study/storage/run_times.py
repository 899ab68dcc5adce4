"""What runs took in this database: a bounded sample of those of one workload."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, select

from study.storage.tables import runs, studies, trials
from workers.messages import Termination

#: The newest studies whose specs are looked at, and of those with the workload, how many are used.
_STUDIES_LOOKED_AT = 200
_STUDIES_USED = 8
#: Trials of each optimizer of a study that are used, and runs in all.
_TRIALS_USED = 24
_RUNS_USED = 5000
_TRAINED = (Termination.COMPLETED.name, Termination.DIVERGED.name, Termination.PRUNED.name)


@dataclass(frozen=True, slots=True)
class RunTime:
    """How long a run took.

    Attributes:
        study_id: Of its study.
        optimizer: Its optimizer.
        seconds: Of one worker, for an epoch of this run; the share of it where it trained together with others.
    """

    study_id: int
    optimizer: str
    seconds: float


def read_recent_specs(connection: Connection) -> dict[int, dict[str, Any]]:
    """Study id -> stored spec of the newest studies, the newest first."""
    query = select(studies.c.id, studies.c.spec).order_by(studies.c.id.desc()).limit(_STUDIES_LOOKED_AT)
    return {row.id: row.spec for row in connection.execute(query)}


def read_run_times(connection: Connection, workload: str, study_ids: Sequence[int]) -> list[RunTime]:
    """Runs of ``workload`` that trained, in the first few of ``study_ids``, of the first trials of each optimizer."""
    query = (
        select(trials.c.study_id, trials.c.optimizer, runs.c.seconds / runs.c.epochs)
        .join_from(trials, runs)
        .where(
            trials.c.study_id.in_(study_ids[:_STUDIES_USED]),
            trials.c.workload == workload,
            trials.c.number < _TRIALS_USED,
            runs.c.termination.in_(_TRAINED),
            runs.c.epochs > 0,
            runs.c.seconds > 0,
        )
        .limit(_RUNS_USED)
    )
    return [RunTime(*row) for row in connection.execute(query)]
