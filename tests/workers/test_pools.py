"""Pools: the same events from this process and from Ray actors; faults become events."""

import dataclasses
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from faulty_workloads import make_faulty_batch
from tests_support import ray_workers

import workers.workloads.registry
from workers.messages import (
    BatchFailed,
    BatchFinished,
    EpochMetrics,
    Heartbeat,
    PoolEvent,
    Termination,
    Training,
    TrialBatch,
    WorkloadReference,
)
from workers.planner import PlanRequest
from workers.pool import InlinePool, RefusedError, WorkerPool
from workers.ray_pool import RayPool, RayUnavailableError
from workers.workloads import MissingDataError, get_workload

pytestmark = pytest.mark.processes


def make_batch(batch_id: int, *, epochs: int = 2, workload: str = "digits-mlp") -> TrialBatch:
    hyperparameters = {"lr": (0.1, 1e3), "momentum": (0.9, 0.9), "weight_decay": (0.0, 0.0)}
    reference = WorkloadReference(workload)
    return TrialBatch(batch_id, reference, "sgd", (0, 1), (batch_id, 0), hyperparameters, 5, (epochs,) * 2, "val_error")


def drain(pool: WorkerPool, batches: int, *, seconds: float = 60) -> list[PoolEvent]:
    """Events until ``batches`` batches have ended."""
    events: list[PoolEvent] = []
    deadline = time.monotonic() + seconds
    while sum(isinstance(event, BatchFinished | BatchFailed) for event in events) < batches:
        assert time.monotonic() < deadline, events
        event = pool.next_event(0.5)
        events += [event] if event and not isinstance(event, Heartbeat) else []
    return events


def comparable(events: list[PoolEvent]) -> list[str]:
    """Events by batch, without timing and placement."""
    kept = []
    for event in events:
        if isinstance(event, EpochMetrics):
            kept.append(dataclasses.replace(event, seconds=0.0))
        elif isinstance(event, BatchFinished):
            outcomes = tuple(dataclasses.replace(outcome, seconds=0.0, peak_memory=None) for outcome in event.outcomes)
            kept.append((event.batch_id, outcomes))
        else:
            kept.append(event)
    return sorted(map(repr, kept))


#: Its error is of a class that only the worker has.
UNBUILDABLE = PlanRequest(
    WorkloadReference(
        "unbuildable",
        """
import dataclasses
from workers.workloads import get_workload

class OutOfIdeas(Exception):
    def __init__(self, first, second):
        super().__init__(f"{first} and {second}")

def build(data):
    raise OutOfIdeas("no model", "no plan")

unbuildable = dataclasses.replace(get_workload("digits-mlp"), name="unbuildable", build_model=build)
""",
    ),
    Training(),
    "auto",
    1,
    1,
)


def test_ray_and_this_process_report_the_same_events_and_ray_recovers_from_a_killed_worker() -> None:
    batches = [make_batch(index) for index in range(5)]
    with InlinePool() as inline:
        for batch in batches:
            inline.submit(batch)
        expected = comparable(drain(inline, 5))
        with pytest.raises(RefusedError) as refused_inline:
            inline.plan(UNBUILDABLE)
    with RayPool(workers=2) as pool:
        assert pool.slots == 2
        pool.check_workload(WorkloadReference("digits-mlp"))
        with pytest.raises(MissingDataError, match="ADAI_DATA"):
            pool.check_workload(WorkloadReference("imagefolder-mlp"))
        with pytest.raises(MissingDataError, match=r"^ADAI_DATA|ADAI_DATA is not set"):
            pool.plan(PlanRequest(WorkloadReference("imagefolder-mlp"), Training(), "auto", 1, 2))
        assert pool.plan(PlanRequest(WorkloadReference("digits-mlp"), Training(), "looped", 1, 2)).engine == "looped"
        with pytest.raises(RefusedError) as refused_by_ray:
            pool.plan(UNBUILDABLE)
        for batch in batches:
            pool.submit(batch)
        assert comparable(drain(pool, 5)) == expected

        pool.submit(make_batch(10, epochs=100_000))
        while not isinstance(pool.next_event(0.5), EpochMetrics):
            pass
        training = [pid for pid, title in ray_workers().items() if "train" in title]
        assert len(training) == 1, ray_workers()
        os.kill(training[0], signal.SIGKILL)
        lost = [event for event in drain(pool, 1) if isinstance(event, BatchFailed)]
        assert [(event.batch_id, event.termination) for event in lost] == [(10, Termination.WORKER_LOST)]
        assert lost[0].error

        pool.submit(batches[0])  # both slots work again
        pool.submit(batches[1])
        again = comparable(drain(pool, 2))
        assert again == [event for event in expected if event in again]
        assert len(again) == 6
    assert ray_workers() == {}
    assert str(refused_by_ray.value) == str(refused_inline.value)
    assert str(refused_inline.value) == (
        "workload 'unbuildable' cannot be trained like this: build_model: OutOfIdeas: no model and no plan; mend the "
        "workload"
    )


def test_an_error_of_a_workload_becomes_an_event_with_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def explode(_: object) -> torch.nn.Module:
        raise RuntimeError("no model today")

    broken = dataclasses.replace(get_workload("digits-mlp"), name="broken", build_model=explode)
    monkeypatch.setitem(workers.workloads.registry._SHIPPED, "broken", broken)
    with InlinePool() as pool:
        pool.submit(make_batch(3, workload="broken"))
        pool.submit(make_batch(4))
        events = drain(pool, 2)
    assert isinstance(events[0], BatchFailed)
    assert events[0].termination is Termination.FAILED
    assert "RuntimeError: no model today" in events[0].error
    assert "in explode" in events[0].error
    assert isinstance(events[-1], BatchFinished)


def test_a_pool_without_work_reports_nothing() -> None:
    with InlinePool() as pool:
        assert pool.next_event(0.1) is None


@pytest.mark.parametrize("checkpoints", ["0", "inf"])
def test_an_interrupted_epoch_is_trained_again_and_nothing_is_told_twice(
    checkpoints: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ADAI_CHECKPOINT_DIR", str(tmp_path / "checkpoints"))
    monkeypatch.setenv("ADAI_CHECKPOINT_SECONDS", checkpoints)
    batch = make_faulty_batch(1, tmp_path / "never", epochs=3, seconds=0.002)
    with InlinePool() as pool:
        pool.submit(batch)
        expected = comparable(drain(pool, 1))
        pool.submit(batch)
        pool.submit(make_batch(2))
        events: list[PoolEvent] = []
        interruptions = 0
        while not any(isinstance(event, BatchFinished) for event in events):
            if events and interruptions < 3:  # the first epoch has been told
                timer = threading.Timer(0.1, pool.interrupt)
                timer.start()
            started = time.monotonic()
            event = pool.next_event(60)
            if events:
                timer.join()
            if event is None:
                assert time.monotonic() - started < 30
                interruptions += 1
            else:
                events.append(event)
        assert interruptions >= 3
        assert comparable(events) == expected
        assert {event.batch_id for event in drain(pool, 1)} == {2}


def test_the_inline_pool_gives_batches_up_whether_they_wait_or_not() -> None:
    with InlinePool() as pool:
        for number in range(1, 5):
            pool.submit(make_batch(number))
        assert pool.next_event(1) is not None
        pool.cancel(1)
        pool.cancel(3)
        pool.cancel(3)
        assert {event.batch_id for event in drain(pool, 2)} == {2, 4}
        assert pool.next_event(1) is None
        pool.interrupt()
        pool.submit(make_batch(5))
        assert pool.next_event(1) is None
        assert {event.batch_id for event in drain(pool, 1)} == {5}


def test_a_workload_that_wants_to_end_the_process_fails(tmp_path: Path) -> None:
    (tmp_path / "flag").touch()
    with InlinePool() as pool:
        pool.submit(make_faulty_batch(1, tmp_path / "flag", "exits"))
        (event,) = drain(pool, 1)
    assert isinstance(event, BatchFailed)
    assert event.termination is Termination.FAILED
    assert event.error.endswith("SystemExit: 3\n")


def test_the_inline_pool_gives_back_the_number_of_threads() -> None:
    torch.set_num_threads(2)
    with InlinePool():
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == 2


@pytest.fixture
def closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.mark.parametrize("form", ["127.0.0.1:{}", "ray://127.0.0.1:{}"])
def test_an_address_without_ray_is_refused_within_seconds(form: str, closed_port: int) -> None:
    address = form.format(closed_port)
    started = time.monotonic()
    with pytest.raises(RayUnavailableError, match=f"no Ray cluster answers at '{address}'"), RayPool(address=address):
        pass
    assert time.monotonic() - started < 60


def test_an_address_that_accepts_but_never_answers_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workers.ray_connection._ANSWER_SECONDS", 8.0)
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        address = f"127.0.0.1:{listener.getsockname()[1]}"
        with pytest.raises(RayUnavailableError, match="silent for 8 s"), RayPool(address=address):
            pass


def test_a_running_cluster_is_used_and_left_running() -> None:
    import ray

    with RayPool(workers=1):
        address = ray.get_runtime_context().gcs_address
        program = (
            "import sys; from workers.ray_pool import RayPool\n"
            "with RayPool(address=sys.argv[1]) as pool: print(pool.slots, pool.description)"
        )
        first, second = (
            subprocess.run([sys.executable, "-c", program, form], capture_output=True, text=True, timeout=120)
            for form in (address, address)
        )
        for result in (first, second):
            assert "1 workers need as many processors, but" not in result.stderr
            assert result.stdout.split() == ["1", "ray", "at", address], result.stderr


@pytest.mark.parametrize("address", ["nonsense", "host:", ":6379", "host:port", "127.0.0.1:99999999"])
def test_an_address_that_is_none_is_refused(address: str, refused: Callable[[str], str]) -> None:
    assert "ADAI_RAY_ADDRESS" in refused(address)


@pytest.fixture
def refused() -> Callable[[str], str]:
    def connect(address: str) -> str:
        with pytest.raises(RayUnavailableError) as caught, RayPool(address=address):
            pass
        return str(caught.value)

    return connect


def test_more_workers_than_processors_start_on_this_machine() -> None:
    """A local Ray is told how many workers to expect; only a cluster has a limit of its own."""
    with RayPool(workers=3) as pool:
        assert pool.slots == 3
