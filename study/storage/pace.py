"""How fast a study goes lately, by what its driver wrote: no clock of another machine is compared with it."""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, func, select

from study.storage.tables import attempts, logs

#: Attempts that ended so long before now are not lately, unless there are no others.
_WINDOW_SECONDS = 600.0
#: A pace is measured over at least so many attempts, where there are so many.
_LEAST_ATTEMPTS = 16
#: Of the newest events and attempts of a study, how many are looked at.
_LOOKED_AT = 1000
_NEWEST_ATTEMPTS = 100


@dataclass(frozen=True, slots=True)
class _Ending:
    """An attempt that ended: when, and how many trials ended with it."""

    at: dt.datetime
    trials: int


def measure_rate(connection: Connection, study_id: int) -> float | None:
    """Trials that end in a second, lately, of a study that is driven.

    Time counts from when its driver took it, up to the last sign of life of its workers.

    Args:
        connection: To the database.
        study_id: Of the study.

    Returns:
        The rate; None if no trial has ended since it was started.
    """
    events = (
        select(logs.c.event, logs.c.at, logs.c.details)
        .where(logs.c.study_id == study_id)
        .order_by(logs.c.id.desc())
        .limit(_LOOKED_AT)
    )
    endings: list[_Ending] = []
    started: dt.datetime | None = None
    for row in connection.execute(events):
        if row.event == "attempt_finished":
            endings.append(_Ending(row.at, int(row.details.get("trials_ended", 0))))
        elif row.event == "study_started":
            started = row.at
            break
    if started is None and endings:
        started = endings.pop().at
    if started is None or not endings:
        return None
    return _rate_of(endings, started, now=_read_last_sign(connection, study_id))


def _rate_of(endings: Sequence[_Ending], started: dt.datetime, now: dt.datetime | None) -> float | None:
    """Trials per second over the last of ``endings``, the newest first."""
    newest = endings[0].at
    recent = [ending for ending in endings if (newest - ending.at).total_seconds() < _WINDOW_SECONDS]
    count = max(len(recent), min(_LEAST_ATTEMPTS, len(endings)))
    begin = endings[count].at if count < len(endings) else started
    seconds = (newest - begin).total_seconds()
    # Between two attempts nothing ends. Only when the next one is overdue has the study become slower.
    if now is not None:
        seconds = max(seconds, (now - begin).total_seconds() - seconds / count)
    trials = sum(ending.trials for ending in endings[:count])
    return trials / seconds if trials and seconds > 0 else None


def _read_last_sign(connection: Connection, study_id: int) -> dt.datetime | None:
    """When a worker of the study was last seen, by its driver's clock."""
    newest = (
        select(attempts.c.heartbeat_at)
        .where(attempts.c.study_id == study_id)
        .order_by(attempts.c.id.desc())
        .limit(_NEWEST_ATTEMPTS)
        .subquery()
    )
    seen: dt.datetime | None = connection.execute(select(func.max(newest.c.heartbeat_at))).scalar_one()
    return seen
