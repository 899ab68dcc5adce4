"""Faults of workers, really caused: they become events, and what was given up never speaks again."""

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from faulty_workloads import make_faulty_batch
from pool_events import collect, is_end, is_epoch, is_heartbeat, wait_for_event, wait_until_gone

from workers.messages import BatchFailed, BatchFinished, EpochMetrics, Heartbeat, Termination, TrialBatch
from workers.pool import WorkerPool
from workers.ray_pool import RayPool

pytestmark = pytest.mark.processes


@pytest.fixture(scope="module")
def pool() -> Iterator[RayPool]:
    """Two workers."""
    with RayPool(workers=2) as pool:
        yield pool


def heartbeat_of(pool: WorkerPool, batch_id: int) -> Heartbeat:
    event, _ = wait_for_event(pool, is_heartbeat(batch_id))
    assert isinstance(event, Heartbeat)
    return event


def start_faulty(pool: RayPool, batch: TrialBatch, path: Path) -> None:
    """Let the fault begin after an epoch."""
    pool.submit(batch)
    wait_for_event(pool, is_epoch(batch.batch_id))
    path.touch()


def test_a_slow_worker_tells_what_it_has_done(pool: RayPool, tmp_path: Path) -> None:
    """An epoch of digits-mlp takes some eighty steps: seconds here."""
    pool.submit(make_faulty_batch(1, tmp_path / "never", epochs=1, seconds=0.06))
    ended, before = wait_for_event(pool, is_end(1))
    assert isinstance(ended, BatchFinished)
    heartbeats = [event for event in before if isinstance(event, Heartbeat)]
    assert len(heartbeats) >= 3
    steps = [event.steps for event in heartbeats]
    assert steps == sorted(steps)
    assert steps[-1] > steps[0]
    assert {(event.host, event.pid, event.worker) for event in heartbeats} == {
        (ended.placement.host, ended.placement.pid, ended.placement.worker)
    }


def test_a_hanging_workload_beats_on_with_standing_steps_and_can_be_given_up(pool: RayPool, tmp_path: Path) -> None:
    start_faulty(pool, make_faulty_batch(2, tmp_path / "flag", "sleeps"), tmp_path / "flag")
    heartbeat_of(pool, 2)
    first, second, third = (heartbeat_of(pool, 2) for _ in range(3))
    assert first.steps == second.steps == third.steps > 0
    pool.cancel(2)
    wait_until_gone(third.pid)
    assert collect(pool, 2) == []
    assert_both_workers_work(pool, tmp_path)


def test_a_batch_is_known_to_have_a_worker_before_that_says_anything(pool: RayPool, tmp_path: Path) -> None:
    """Or the lease of one that hangs at once would never begin."""
    pool.submit(make_faulty_batch(12, tmp_path / "never", epochs=1))
    first = pool.next_event(0.0)
    assert isinstance(first, Heartbeat)
    ended, _ = wait_for_event(pool, is_end(12))
    assert isinstance(ended, BatchFinished)
    where = ended.placement
    assert first == Heartbeat(12, 0, where.worker, where.host, where.pid)


def test_a_worker_that_is_stopped_says_nothing_and_is_replaced(pool: RayPool, tmp_path: Path) -> None:
    pool.submit(make_faulty_batch(3, tmp_path / "never", seconds=0.2))
    pid = heartbeat_of(pool, 3).pid
    os.kill(pid, signal.SIGSTOP)
    collect(pool, 1.5)
    assert collect(pool, 3) == []
    pool.cancel(3)
    os.kill(pid, signal.SIGCONT)  # it may still have something to say
    wait_until_gone(pid)
    assert collect(pool, 2) == []
    assert_both_workers_work(pool, tmp_path)


@pytest.mark.faults
@pytest.mark.parametrize("fault", ["sleeps in C", "stopped"])
def test_a_worker_that_cannot_answer_is_ended_nevertheless(pool: RayPool, tmp_path: Path, fault: str) -> None:
    pool.submit(make_faulty_batch(4, tmp_path / "flag", "sleeps in C", seconds=0.2))
    pid = heartbeat_of(pool, 4).pid
    if fault == "stopped":
        os.kill(pid, signal.SIGSTOP)
    else:
        (tmp_path / "flag").touch()
    collect(pool, 2.5)
    assert collect(pool, 3) == []
    pool.cancel(4)
    wait_until_gone(pid)
    assert collect(pool, 2) == []
    assert_both_workers_work(pool, tmp_path)


def assert_both_workers_work(pool: RayPool, tmp_path: Path) -> None:
    """Two batches that only end together."""
    for batch_id in (100, 101):
        pool.submit(make_faulty_batch(batch_id, tmp_path / "never", epochs=1))
    placements = []
    for batch_id in (100, 101):
        ended, _ = wait_for_event(pool, lambda event: isinstance(event, BatchFinished | BatchFailed))
        assert isinstance(ended, BatchFinished), (batch_id, ended)
        placements.append(ended.placement.worker)
    assert set(placements) <= {"ray-0", "ray-1"}
    deadline = time.monotonic() + 30
    while pool.free < 2:
        assert time.monotonic() < deadline
        pool.next_event(0.2)


@pytest.mark.parametrize(
    ("fault", "termination", "words"),
    [
        ("raises", Termination.FAILED, "RuntimeError: out of order"),
        ("exits", Termination.FAILED, "SystemExit: 3"),
        ("allocates", Termination.OUT_OF_MEMORY, "alloc"),
        ("crashes", Termination.WORKER_LOST, "SIGABRT|exit code|connection error|died"),
    ],
)
def test_what_a_workload_does_wrong_is_told(
    pool: RayPool, tmp_path: Path, fault: str, termination: Termination, words: str
) -> None:
    start_faulty(pool, make_faulty_batch(5, tmp_path / "flag", fault), tmp_path / "flag")
    ended, _ = wait_for_event(pool, is_end(5))
    assert isinstance(ended, BatchFailed)
    assert ended.termination is termination
    assert any(word in ended.error for word in words.split("|")), ended.error


def test_a_killed_worker_is_told_and_replaced(pool: RayPool, tmp_path: Path) -> None:
    pool.submit(make_faulty_batch(6, tmp_path / "never", seconds=0.1))
    os.kill(heartbeat_of(pool, 6).pid, signal.SIGKILL)
    ended, _ = wait_for_event(pool, is_end(6))
    assert isinstance(ended, BatchFailed)
    assert ended.termination is Termination.WORKER_LOST
    assert ended.error.startswith("ActorDiedError: ")
    assert collect(pool, 2) == []
    assert_both_workers_work(pool, tmp_path)


def test_a_waiting_batch_is_forgotten_and_others_are_not(pool: RayPool, tmp_path: Path) -> None:
    for batch_id in (7, 8):
        pool.submit(make_faulty_batch(batch_id, tmp_path / "never", epochs=2, seconds=0.1))
    for batch_id in (9, 10):
        pool.submit(make_faulty_batch(batch_id, tmp_path / "never", epochs=1))
    pool.cancel(9)
    pool.cancel(12345)
    events = []
    for _ in range(3):
        ended, before = wait_for_event(pool, lambda event: isinstance(event, BatchFinished))
        events += [*before, ended]
    assert {event.batch_id for event in events} == {7, 8, 10}
    assert sorted(event.batch_id for event in events if isinstance(event, BatchFinished)) == [7, 8, 10]
    assert len([e for e in events if isinstance(e, EpochMetrics)]) == 5
