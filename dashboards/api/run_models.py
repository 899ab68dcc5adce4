"""Models of runs and epochs from rows of the database."""

from dataclasses import fields

from dashboards.api.models import Epoch, Run
from study.storage.run_pages import EpochRow, RunRow

#: What the database needs to find a run again, and nobody else.
_KEYS = ("trial_id", "attempt_id")


def to_run(row: RunRow) -> Run:
    """A run."""
    known = {field.name: getattr(row, field.name) for field in fields(row) if field.name not in _KEYS}
    return Run(**known | {"termination": None if row.termination is None else row.termination.lower()})


def to_epoch(row: EpochRow) -> Epoch:
    """An epoch of a run."""
    return Epoch(**{field.name: getattr(row, field.name) for field in fields(row) if field.name not in _KEYS})
