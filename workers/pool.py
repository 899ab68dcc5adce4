"""What a pool of workers is, and the one that runs in the calling process."""

import traceback
from collections.abc import Iterator
from types import TracebackType
from typing import Protocol, Self

import torch

from workers.messages import BatchFailed, PoolEvent, Termination, TrialBatch
from workers.trainer import train_batch
from workers.workloads import check_data


class WorkerPool(Protocol):
    """Runs trial batches and reports events. A pool is a context manager that frees its workers at the end."""

    #: How many batches it works on at once.
    slots: int
    #: How it is called in the record of the environment.
    description: str

    def check_workload(self, name: str) -> None:
        """Load the workload's data where the workers are.

        Raises:
            MissingDataError: It is not there.
        """
        ...

    def submit(self, batch: TrialBatch) -> None:
        """Start a batch, or keep it until a worker is free."""
        ...

    def next_event(self, timeout_seconds: float) -> PoolEvent | None:
        """What happened next to any batch; None if nothing did within the time."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


def train_and_report(batch: TrialBatch, worker: str) -> Iterator[PoolEvent]:
    """Train ``batch``; an exception of the workload becomes a :class:`BatchFailed` with its traceback."""
    try:
        yield from train_batch(batch, worker=worker)
    # A workload is a user's code and may raise anything; the failure is data of the study.
    except Exception:
        yield BatchFailed(batch.batch_id, Termination.FAILED, traceback.format_exc())


class InlinePool:
    """Runs batches one after the other in the calling process: no Ray, debugger-friendly, same results."""

    slots = 1
    description = "inline"

    def __init__(self) -> None:
        self._queue: list[Iterator[PoolEvent]] = []
        self._threads = torch.get_num_threads()

    def check_workload(self, name: str) -> None:
        """See :class:`WorkerPool`."""
        check_data(name)

    def submit(self, batch: TrialBatch) -> None:
        """See :class:`WorkerPool`."""
        self._queue.append(train_and_report(batch, worker="inline"))

    def next_event(self, timeout_seconds: float) -> PoolEvent | None:
        """See :class:`WorkerPool`; works until there is an event, however long that takes."""
        del timeout_seconds
        while self._queue:
            for event in self._queue[0]:
                return event
            self._queue.pop(0)
        return None

    def __enter__(self) -> Self:
        # Results are bitwise equal to those of a Ray worker only with its number of threads.
        torch.set_num_threads(1)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._queue.clear()
        torch.set_num_threads(self._threads)
