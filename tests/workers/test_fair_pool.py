"""A shared pool: every study has its own events and its part of the workers, and can be given up alone."""

import dataclasses
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from faulty_workloads import make_faulty_batch
from pool_events import collect, is_end, is_epoch, wait_for_event

from workers.fair_pool import FairPool
from workers.messages import (
    BatchFailed,
    BatchFinished,
    EnginePlan,
    EpochMetrics,
    Heartbeat,
    PoolEvent,
    Termination,
    Training,
    TrialBatch,
    WorkloadReference,
)
from workers.planner import PlanRequest
from workers.pool import InlinePool, PoolLostError, RefusedError, WorkerPool
from workers.ray_pool import RayPool
from workers.workloads import MissingDataError

pytestmark = pytest.mark.processes

REQUEST = PlanRequest(WorkloadReference("digits-mlp"), Training(), "looped", 1, 2)


@pytest.fixture(scope="module")
def ray_pool() -> Iterator[RayPool]:
    """Two workers."""
    with RayPool(workers=2) as pool:
        yield pool


@pytest.fixture(params=["inline", "ray"])
def fair(request: pytest.FixtureRequest) -> Iterator[FairPool]:
    """A shared pool of each kind."""
    if request.param == "inline":
        with InlinePool() as inline, FairPool(inline) as pool:
            yield pool
    else:
        with FairPool(request.getfixturevalue("ray_pool")) as pool:
            yield pool


def batches(first: int, count: int, path: Path, **fields: float) -> list[TrialBatch]:
    return [make_faulty_batch(first + number, path / "never", epochs=2, **fields) for number in range(count)]  # type: ignore[arg-type]


def drain(pool: WorkerPool, count: int) -> list[PoolEvent]:
    """All events until so many batches have ended, without heartbeats."""
    events: list[PoolEvent] = []
    for _ in range(count):
        ended, before = wait_for_event(pool, lambda event: isinstance(event, BatchFinished | BatchFailed))
        events += [*before, ended]
    return [event for event in events if not isinstance(event, Heartbeat)]


def comparable(events: list[PoolEvent]) -> list[str]:
    kept: list[object] = []
    for event in events:
        if isinstance(event, EpochMetrics):
            kept.append(dataclasses.replace(event, seconds=0.0))
        elif isinstance(event, BatchFinished):
            outcomes = tuple(dataclasses.replace(o, seconds=0.0, peak_memory=None) for o in event.outcomes)
            kept.append((event.batch_id, outcomes))
        else:
            kept.append(event)
    return sorted(map(repr, kept))


def in_threads(*calls: Callable[[], None]) -> None:
    """Run all at once; what one raises is raised."""
    errors: list[BaseException] = []

    def run(call: Callable[[], None]) -> None:
        try:
            call()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(call,), daemon=True) for call in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
        assert not thread.is_alive()
    if errors:
        raise errors[0]


def test_a_small_study_is_not_last_beside_a_large_one_and_nobody_hears_of_others(
    fair: FairPool, tmp_path: Path
) -> None:
    with InlinePool() as alone:
        for batch in (*batches(1, 20, tmp_path), *batches(101, 2, tmp_path)):
            alone.submit(batch)
        expected = comparable(drain(alone, 22))
    ended: dict[str, float] = {}
    events: dict[str, list[PoolEvent]] = {}
    large_has_begun = threading.Event()

    def large() -> None:
        with fair.share("large") as share:
            for batch in batches(1, 20, tmp_path):
                share.submit(batch)
            first = drain(share, 1)
            large_has_begun.set()
            events["large"] = first + drain(share, 19)
            ended["large"] = time.monotonic()

    def small() -> None:
        assert large_has_begun.wait(60)
        with fair.share("small") as share:
            for batch in batches(101, 2, tmp_path):
                share.submit(batch)
            events["small"] = drain(share, 2)
            ended["small"] = time.monotonic()
            assert collect(share, 0.3) == []

    in_threads(large, small)
    assert ended["small"] < ended["large"]
    assert {event.batch_id for event in events["large"]} == set(range(1, 21))
    assert {event.batch_id for event in events["small"]} == {101, 102}
    assert comparable(events["large"] + events["small"]) == expected


def test_equal_studies_take_turns(tmp_path: Path) -> None:
    """With one worker: whoever has none is next, and of those the one whose batch came first."""
    order: list[int] = []
    with InlinePool() as inline, FairPool(inline) as fair, fair.share("a") as a, fair.share("b") as b:
        # Holds the worker until all have been submitted.
        a.submit(make_faulty_batch(1, tmp_path / "never", epochs=2, seconds=0.01))
        wait_for_event(a, is_epoch(1))
        for number in range(3):
            a.submit(make_faulty_batch(10 + number, tmp_path / "never", epochs=1))
            b.submit(make_faulty_batch(20 + number, tmp_path / "never", epochs=1))
        ends: list[tuple[float, int]] = []

        def note(share: WorkerPool, count: int) -> None:
            for _ in range(count):
                event, _ = wait_for_event(share, lambda event: isinstance(event, BatchFinished))
                ends.append((time.monotonic(), event.batch_id))

        in_threads(lambda: note(a, 4), lambda: note(b, 3))
        order = [batch_id for _, batch_id in sorted(ends)]
    assert order == [1, 10, 20, 11, 21, 12, 22]


def test_a_share_that_is_left_is_given_up_and_the_other_goes_on(fair: FairPool, tmp_path: Path) -> None:
    with fair.share("stays") as stays:
        with fair.share("leaves") as leaves:
            for number in range(3):
                leaves.submit(make_faulty_batch(1 + number, tmp_path / "never", seconds=0.01))
            wait_for_event(leaves, is_epoch(1))
            for batch in batches(11, 2, tmp_path):
                stays.submit(batch)
        assert {event.batch_id for event in drain(stays, 2)} == {11, 12}


def test_a_cancelled_batch_is_silent_and_its_worker_free(fair: FairPool, tmp_path: Path) -> None:
    with fair.share("one") as one, fair.share("other") as other:
        for number in range(3):
            one.submit(make_faulty_batch(1 + number, tmp_path / "never"))
        wait_for_event(one, is_epoch(1))
        time.sleep(0.5)  # so that there are events that nobody has taken
        for number in range(3):
            one.cancel(1 + number)
        assert collect(one, 1.5) == []
        other.submit(batches(11, 1, tmp_path)[0])
        assert {event.batch_id for event in drain(other, 1)} == {11}
        assert collect(one, 0.5) == []


def test_an_interruption_is_heard_by_its_share_only(fair: FairPool, tmp_path: Path) -> None:
    with fair.share("one") as one, fair.share("other") as other:
        timer = threading.Timer(0.3, one.interrupt)
        timer.start()
        started = time.monotonic()
        assert one.next_event(60) is None
        assert time.monotonic() - started < 30
        other.submit(batches(11, 1, tmp_path)[0])
        other.interrupt()
        assert {event.batch_id for event in drain(other, 1)} == {11}


def test_questions_are_answered_beside_work(fair: FairPool, tmp_path: Path, data_folder: Path) -> None:
    del data_folder  # it is empty
    plans: list[EnginePlan] = []
    with fair.share("works") as works, fair.share("asks") as asks:
        for batch in batches(1, 3, tmp_path):
            works.submit(batch)

        def ask() -> None:
            asks.check_workload(WorkloadReference("digits-mlp"))
            plans.append(asks.plan(REQUEST))
            with pytest.raises(MissingDataError):
                asks.check_workload(WorkloadReference("imagefolder-mlp"))
            with pytest.raises(RefusedError, match="stacked"):
                asks.plan(dataclasses.replace(REQUEST, training=Training(precision="bfloat16"), engine="stacked"))

        def work() -> None:
            assert {event.batch_id for event in drain(works, 3)} == {1, 2, 3}

        in_threads(ask, work)
    assert plans[0].engine == "looped"
    assert asks.slots == fair.inner.slots


def test_a_workload_that_fails_is_the_affair_of_its_share(fair: FairPool, tmp_path: Path) -> None:
    (tmp_path / "flag").touch()
    with fair.share("fails") as fails, fair.share("works") as works:
        fails.submit(make_faulty_batch(1, tmp_path / "flag", "exits"))
        works.submit(batches(2, 1, tmp_path)[0])
        failed, _ = wait_for_event(fails, is_end(1))
        assert isinstance(failed, BatchFailed)
        assert failed.termination is Termination.FAILED
        assert {event.batch_id for event in drain(works, 1)} == {2}


class _Broken(InlinePool):
    """Stands for an error that nobody thought of."""

    def submit(self, batch: TrialBatch) -> None:
        raise ZeroDivisionError(batch.batch_id)


def test_an_error_of_the_pool_itself_reaches_every_share(tmp_path: Path) -> None:
    with _Broken() as inner, FairPool(inner) as fair, fair.share("one") as one, fair.share("other") as other:
        one.submit(batches(1, 1, tmp_path)[0])
        for share in (one, other):
            with pytest.raises(PoolLostError, match="ZeroDivisionError: 1"):
                share.next_event(30)
        with pytest.raises(PoolLostError):
            other.plan(REQUEST)


def test_shares_of_a_pool_that_has_ended_say_so() -> None:
    with InlinePool() as inner:
        with FairPool(inner) as fair, fair.share("late") as share:
            pass
        with pytest.raises(PoolLostError, match="has ended"):
            share.next_event(1)


def test_the_thread_that_trains_has_the_settings_of_a_worker(tmp_path: Path) -> None:
    torch.set_num_threads(2)
    expected = comparable(_trained_alone(tmp_path))
    with InlinePool() as inner, FairPool(inner) as fair, fair.share("one") as share:
        share.submit(batches(1, 1, tmp_path)[0])
        assert comparable(drain(share, 1)) == expected


def _trained_alone(tmp_path: Path) -> list[PoolEvent]:
    with InlinePool() as pool:
        pool.submit(batches(1, 1, tmp_path)[0])
        return drain(pool, 1)
