"""What a pool of workers is, and the one that runs in the calling process."""

import contextlib
import os
import threading
import traceback
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Protocol, Self, TypeVar

import torch

from workers.checkpoints import read_interval
from workers.memory import is_out_of_memory
from workers.messages import (
    BatchFailed,
    EnginePlan,
    EpochMetrics,
    PoolEvent,
    Termination,
    TrialBatch,
    WorkloadReference,
)
from workers.planner import PlanRequest, plan_engine
from workers.trainer import train_batch
from workers.workloads import MissingDataError, check_data

_Value = TypeVar("_Value")


class RefusedError(ValueError):
    """A workload cannot be trained in the way that was asked for; the message says why and what to do."""

    exit_code = 2


class PoolLostError(Exception):
    """All workers are gone, and with them what they were doing; the message says what to do.

    The pool is of no more use. The process can leave it and make another one.
    """


@dataclass(frozen=True, slots=True)
class WorkerSettings:
    """What one worker uses.

    Attributes:
        gpu_share: Share of a GPU in (0, 1]; 0 trains on one processor.
        deterministic: Let torch use only operations that give the same bits every time, or refuse.
    """

    gpu_share: float = 0.0
    deterministic: bool = False

    @property
    def device(self) -> str:
        """The torch device."""
        return "cuda" if self.gpu_share else "cpu"

    def apply(self) -> None:
        """Set this process up as a worker: one thread, its share of the GPU's memory, determinism.

        Raises:
            RefusedError: A GPU is wanted, and torch sees none.
        """
        # Two threads are slower than two workers, and sums would depend on their number.
        torch.set_num_threads(1)
        if self.deterministic:
            os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
            torch.use_deterministic_algorithms(mode=True)
        if self.gpu_share:
            if not torch.cuda.is_available():
                raise RefusedError("a share of a GPU is wanted, but torch sees no GPU here; leave out --gpu-share")
            torch.cuda.set_per_process_memory_fraction(self.gpu_share)


class WorkerPool(Protocol):
    """Runs trial batches and reports events. A pool is a context manager that frees its workers at the end."""

    #: How it is called in the record of the environment.
    description: str
    #: What its workers train on, as torch calls it.
    device: str

    @property
    def slots(self) -> int:
        """How many batches it works on at once, 1 or more; may grow and shrink."""
        ...

    def check_workload(self, workload: WorkloadReference) -> None:
        """Load the workload's data where the workers are.

        Raises:
            MissingDataError: It is not there.
            PoolLostError: All workers are gone.
        """
        ...

    def plan(self, request: PlanRequest) -> EnginePlan:
        """Choose the engine and the size of batches where the workers are.

        Raises:
            RefusedError: The workload cannot be trained in this way.
            MissingDataError: Its data is not there.
            PoolLostError: All workers are gone.
        """
        ...

    def request_check(self, workload: WorkloadReference) -> "Future[None]":
        """As :meth:`check_workload`, answered while ``next_event`` is called."""
        ...

    def request_plan(self, request: PlanRequest) -> "Future[EnginePlan]":
        """As :meth:`plan`, answered while ``next_event`` is called."""
        ...

    def submit(self, batch: TrialBatch) -> None:
        """Start a batch, or keep it until a worker is free.

        Raises:
            PoolLostError: All workers are gone.
        """
        ...

    def next_event(self, timeout_seconds: float) -> PoolEvent | None:
        """What happened next to any batch; None if nothing did within the time.

        Raises:
            PoolLostError: All workers are gone.
        """
        ...

    def cancel(self, batch_id: int) -> None:
        """Give a batch up: there will be no more events of it. A worker that has it is ended and replaced.

        Batches that have ended, or never were, are ignored.
        """
        ...

    def interrupt(self) -> None:
        """Let ``next_event`` return soon, with an event or without; may be called by any thread."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class SharablePool(WorkerPool, Protocol):
    """A pool that several studies can share."""

    @property
    def free(self) -> int:
        """How many workers would start with a batch at once."""
        ...

    @property
    def capacity(self) -> int:
        """How many workers the machines that are there have room for; 0 while a cluster has none that trains."""
        ...


def train_and_report(
    batch: TrialBatch, worker: str, device: str, on_step: Callable[[], None] | None = None
) -> Iterator[PoolEvent]:
    """Train ``batch``; an exception of the workload becomes a :class:`BatchFailed` with its traceback."""
    try:
        yield from train_batch(batch, worker=worker, device=device, on_step=on_step)
    # A workload is a user's code and may raise anything; the failure is data of the study.
    except (Exception, SystemExit) as error:
        termination = Termination.OUT_OF_MEMORY if is_out_of_memory(error) else Termination.FAILED
        yield BatchFailed(batch.batch_id, termination, traceback.format_exc())


def plan_or_refuse(request: PlanRequest, device: str) -> EnginePlan:
    """The plan; whatever the workload raises while it is made would fail every trial.

    Raises:
        RefusedError: The workload cannot be trained in this way.
        MissingDataError: Its data is not there.
    """
    try:
        read_interval()
        return plan_engine(request, device=device)
    except MissingDataError:
        raise
    # A workload is a user's code and may raise anything.
    except (Exception, SystemExit) as error:
        raise RefusedError(_why_refused(request, error, device)) from error


def _why_refused(request: PlanRequest, error: BaseException, device: str) -> str:
    name, kind = request.workload.name, type(error).__name__
    phase = ", ".join(getattr(error, "__notes__", ()))
    if is_out_of_memory(error):
        return (
            f"not even one run of workload {name!r} fits into the memory of {device} "
            f"({f'{phase}: ' if phase else ''}{kind}: {error}); use a smaller batch_size, less data, a smaller model, "
            "or more memory"
        )
    if phase:
        return f"workload {name!r} cannot be trained like this: {phase}: {kind}: {error}; mend the workload"
    # Our own refusals are of these kinds, and say all.
    said = str(error) if isinstance(error, TypeError | ValueError | KeyError) else f"{kind}: {error}"
    return f"workload {name!r} cannot be trained like this: {said}"


class _InterruptedError(BaseException):
    """Ends an epoch from inside; no workload's code is on the way, and nothing catches it as a failure."""


class InlinePool:
    """Runs batches one after the other in the calling process: no Ray, debugger-friendly, same results."""

    slots = capacity = 1
    description = "inline"

    def __init__(self, settings: WorkerSettings | None = None) -> None:
        self._settings = settings or WorkerSettings()
        self.device = self._settings.device
        self._queue: deque[TrialBatch] = deque()
        #: Events of the first batch in the queue, once it has been started.
        self._events: Iterator[PoolEvent] | None = None
        self._interruption = threading.Event()
        self._before = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()

    @property
    def free(self) -> int:
        """See :class:`SharablePool`."""
        return 0 if self._queue else 1

    def check_workload(self, workload: WorkloadReference) -> None:
        """See :class:`WorkerPool`."""
        check_data(workload)

    def plan(self, request: PlanRequest) -> EnginePlan:
        """See :class:`WorkerPool`; may be called by a thread of its own, whose number of torch's threads is its own."""
        self._settings.apply()
        return plan_or_refuse(request, self._settings.device)

    def request_check(self, workload: WorkloadReference) -> "Future[None]":
        """See :class:`WorkerPool`; answered at once."""
        return _answer(lambda: self.check_workload(workload))

    def request_plan(self, request: PlanRequest) -> "Future[EnginePlan]":
        """See :class:`WorkerPool`; answered at once."""
        return _answer(lambda: self.plan(request))

    def submit(self, batch: TrialBatch) -> None:
        """See :class:`WorkerPool`."""
        self._queue.append(batch)

    def next_event(self, timeout_seconds: float) -> PoolEvent | None:
        """See :class:`WorkerPool`; works until there is an event or an interruption, however long that takes."""
        del timeout_seconds
        event = None
        with contextlib.suppress(_InterruptedError):
            while event is None and self._queue:
                event = self._work()
        self._interruption.clear()
        return event

    def _work(self) -> PoolEvent | None:
        """The next event of the first batch; None if it has ended."""
        self._look_for_interruption()
        if self._events is None:
            self._events = train_and_report(
                self._queue[0], "inline", self._settings.device, self._look_for_interruption
            )
        try:
            event = next(self._events, None)
        except BaseException:
            # The epoch is lost: it begins anew with the next call, and what was told is not told again.
            self._events = None
            raise
        if isinstance(event, EpochMetrics):
            self._queue[0] = replace(self._queue[0], start_epoch=event.epoch)
        elif event is None:
            self._queue.popleft()
            self._events = None
        return event

    def _look_for_interruption(self) -> None:
        if self._interruption.is_set():
            raise _InterruptedError

    def cancel(self, batch_id: int) -> None:
        """See :class:`WorkerPool`; between two calls of ``next_event``, by the same thread."""
        if self._queue and self._queue[0].batch_id == batch_id:
            self._events = None
        self._queue = deque(batch for batch in self._queue if batch.batch_id != batch_id)

    def interrupt(self) -> None:
        """See :class:`WorkerPool`; also from inside an epoch, which is trained again later."""
        self._interruption.set()

    def __enter__(self) -> Self:
        # Results are bitwise equal to those of a Ray worker only with its settings.
        self._settings.apply()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._queue.clear()
        self._events = None
        threads, deterministic = self._before
        torch.set_num_threads(threads)
        if self._settings.deterministic:  # torch imports its compiler to say so: 1.5 s
            torch.use_deterministic_algorithms(mode=deterministic)


def _answer(call: Callable[[], _Value]) -> "Future[_Value]":
    """What ``call`` returned or raised, as a future."""
    future: Future[_Value] = Future()
    try:
        future.set_result(call())
    # For the one who asked.
    except Exception as error:
        future.set_exception(error)
    return future
