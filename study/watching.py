"""Looks at a study that runs elsewhere, until it ends."""

import time
from collections.abc import Iterator

from study.claim import is_alive, is_here
from study.progress import Progress, make_display
from study.settings import Settings
from study.storage.claims import find_row
from study.storage.engine import open_database
from study.storage.logs import LogEntry, read_logs
from study.storage.progress import StudyProgress, read_progress

#: States in which nobody works on a study, nor is going to by itself.
_RESTING = ("completed", "interrupted", "cancelled", "failed")
_FOLLOW_SECONDS = 0.5


def watch_study(name: str, settings: Settings, *, interval: float) -> str:
    """Show a study's progress until it rests; returns its state then.

    Args:
        name: Of the study.
        settings: Where it is.
        interval: Seconds between two looks.

    Raises:
        UnknownStudyError: There is no such study.
    """
    started = time.monotonic()
    resumed_at: int | None = None
    with open_database(settings.database_url) as engine, make_display() as display:
        while True:
            with engine.connect() as connection:
                row = find_row(connection, name)
                parts = read_progress(connection, name)
            resumed_at = sum(part.ended for part in parts) if resumed_at is None else resumed_at
            seconds = time.monotonic() - started
            display.show(_to_progress(parts, seeds=row.spec["seeds"], resumed_at=resumed_at, seconds=seconds))
            if row.state in _RESTING and row.driver is None:
                return str(row.state)
            if row.driver is not None and is_here(row.driver) and not is_alive(row.driver):
                return f"{row.state}, but its driver has died; run the rest with: adai-study resume {name}"
            time.sleep(interval)


def _to_progress(parts: list[StudyProgress], *, seeds: int, resumed_at: int, seconds: float) -> Progress:
    """Whole runs are what the database counts quickly: they stand for epochs here."""
    runs, ended = (sum(getattr(part, field) for part in parts) for field in ("runs", "ended"))
    best = min(((p.best_objective, p.optimizer) for p in parts if p.best_objective is not None), default=None)
    return Progress(
        study=parts[0].study,
        trials=runs // seeds,
        trials_ended=ended // seeds,
        run_epochs=runs,
        run_epochs_ended=ended,
        resumed_at=resumed_at,
        diverged=sum(part.diverged for part in parts),
        failed=sum(part.failed for part in parts) // seeds,
        best=best[0] if best else None,
        best_optimizer=best[1] if best else "",
        seconds=seconds,
    )


def follow_logs(name: str, settings: Settings, *, follow: bool) -> Iterator[LogEntry]:
    """The events of a study; with ``follow``, also those of later, until it rests.

    Raises:
        UnknownStudyError: There is no such study.
    """
    last = 0
    with open_database(settings.database_url) as engine:
        while True:
            with engine.connect() as connection:
                row = find_row(connection, name)
                entries = list(read_logs(connection, name, after=last))
            yield from entries
            last = entries[-1].id if entries else last
            if not follow or (row.state in _RESTING and row.driver is None):
                return
            time.sleep(_FOLLOW_SECONDS)
