"""Waiting for events of pools."""

import os
import time
from collections.abc import Callable
from pathlib import Path

from workers.messages import BatchFailed, BatchFinished, EpochMetrics, Heartbeat, PoolEvent
from workers.pool import WorkerPool


def wait_for_event(
    pool: WorkerPool, wanted: Callable[[PoolEvent], bool], *, seconds: float = 60
) -> tuple[PoolEvent, list[PoolEvent]]:
    """The first event that is wanted, and those before it."""
    before: list[PoolEvent] = []
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        event = pool.next_event(0.5)
        if event is not None:
            if wanted(event):
                return event, before
            before.append(event)
    raise AssertionError(f"no such event, but {before}")


def collect(pool: WorkerPool, seconds: float) -> list[PoolEvent]:
    """What happens within the time."""
    deadline = time.monotonic() + seconds
    events = []
    while time.monotonic() < deadline:
        event = pool.next_event(0.2)
        events += [event] if event is not None else []
    return events


def is_epoch(batch_id: int) -> Callable[[PoolEvent], bool]:
    return lambda event: isinstance(event, EpochMetrics) and event.batch_id == batch_id


def is_end(batch_id: int) -> Callable[[PoolEvent], bool]:
    return lambda event: isinstance(event, BatchFinished | BatchFailed) and event.batch_id == batch_id


def is_heartbeat(batch_id: int) -> Callable[[PoolEvent], bool]:
    return lambda event: isinstance(event, Heartbeat) and event.batch_id == batch_id


def state_of(pid: int) -> str:
    """One letter as ``ps`` writes it: T is stopped; empty if there is no such process."""
    try:
        return (Path("/proc") / str(pid) / "stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return ""


def wait_until_gone(pid: int, seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while state_of(pid) not in ("", "Z"):
        assert time.monotonic() < deadline, f"process {pid} of this machine, seen by {os.getpid()}, does not end"
        time.sleep(0.1)
