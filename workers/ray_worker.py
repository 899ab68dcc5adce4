"""What runs in a Ray actor: trains batches in a thread of its own, so that the actor can tell that it lives."""

import os
import platform
import queue
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from typing import TypeVar

from workers.messages import EnginePlan, Heartbeat, PoolEvent, TrialBatch, WorkloadReference
from workers.planner import PlanRequest
from workers.pool import RefusedError, WorkerSettings, plan_or_refuse, train_and_report
from workers.workloads import MissingDataError, check_data

HEARTBEAT_SECONDS = 1.0
_Answer = TypeVar("_Answer")


class Worker:
    """The actor: trains batches on one processor or its share of a GPU.

    Args:
        name: For the record.
        settings: What it uses.
    """

    def __init__(self, name: str, settings: WorkerSettings) -> None:
        self._name = name
        self._device = settings.device
        self._thread = _Thread()
        # Threads of torch are counted for each thread that calls it.
        self._thread.submit(settings.apply).result()

    def ready(self) -> tuple[str, int]:
        """Host and process id."""
        return platform.node(), os.getpid()

    def check_workload(self, workload: WorkloadReference) -> MissingDataError | None:
        """Load the workload's data; return what is missing."""
        try:
            self._thread.submit(lambda: check_data(workload)).result()
        except MissingDataError as error:
            return MissingDataError(str(error))
        return None

    def plan(self, request: PlanRequest) -> EnginePlan | RefusedError | MissingDataError:
        """The plan, or why there is none."""
        try:
            return self._thread.submit(lambda: plan_or_refuse(request, self._device)).result()
        except (RefusedError, MissingDataError) as error:
            # Only the sentence travels: what caused it may be of a class that the driver does not have.
            return type(error)(str(error))

    def train(self, batch: TrialBatch) -> Iterator[PoolEvent]:
        """Stream the events of ``batch``, and heartbeats while there are none."""
        events: queue.SimpleQueue[PoolEvent | None] = queue.SimpleQueue()
        progress = _Progress()
        training = self._thread.submit(lambda: self._train(batch, events, progress))
        while True:
            try:
                event = events.get(timeout=HEARTBEAT_SECONDS)
            except queue.Empty:
                yield Heartbeat(batch.batch_id, progress.steps, self._name, platform.node(), os.getpid())
                continue
            if event is None:
                break
            yield event
        training.result()

    def _train(self, batch: TrialBatch, events: "queue.SimpleQueue[PoolEvent | None]", progress: "_Progress") -> None:
        try:
            for event in train_and_report(batch, self._name, self._device, progress.count):
                events.put(event)
        finally:
            events.put(None)


class _Progress:
    """Counts what was done; written by one thread and read by another."""

    def __init__(self) -> None:
        self.steps = 0

    def count(self) -> None:
        """Something was done."""
        self.steps += 1


class _Thread:
    """One thread for all that uses torch: compiled steps and their graphs belong to the thread that made them.

    A daemon, unlike the threads of an executor, because a worker must be able to end while its training hangs.
    """

    def __init__(self) -> None:
        self._calls: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        threading.Thread(target=self._run, name="training", daemon=True).start()

    def submit(self, call: Callable[[], _Answer]) -> "Future[_Answer]":
        """Call it after all that was submitted before."""
        future: Future[_Answer] = Future()

        def answer() -> None:
            try:
                future.set_result(call())
            # For the one who waits; SystemExit of a workload, too.
            except BaseException as error:
                future.set_exception(error)

        self._calls.put(answer)
        return future

    def _run(self) -> None:
        while True:
            self._calls.get()()
