"""What a pool of workers is, and the one that runs in the calling process."""

import os
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol, Self

import torch

from workers.checkpoints import read_interval
from workers.memory import is_out_of_memory
from workers.messages import BatchFailed, EnginePlan, PoolEvent, Termination, TrialBatch, WorkloadReference
from workers.planner import PlanRequest, plan_engine
from workers.trainer import train_batch
from workers.workloads import MissingDataError, check_data


class RefusedError(ValueError):
    """A workload cannot be trained in the way that was asked for; the message says why and what to do."""

    exit_code = 2


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

    #: How many batches it works on at once.
    slots: int
    #: How it is called in the record of the environment.
    description: str
    #: What its workers train on, as torch calls it.
    device: str

    def check_workload(self, workload: WorkloadReference) -> None:
        """Load the workload's data where the workers are.

        Raises:
            MissingDataError: It is not there.
        """
        ...

    def plan(self, request: PlanRequest) -> EnginePlan:
        """Choose the engine and the size of batches where the workers are.

        Raises:
            RefusedError: The workload cannot be trained in this way.
            MissingDataError: Its data is not there.
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


def train_and_report(batch: TrialBatch, worker: str, device: str) -> Iterator[PoolEvent]:
    """Train ``batch``; an exception of the workload becomes a :class:`BatchFailed` with its traceback."""
    try:
        yield from train_batch(batch, worker=worker, device=device)
    # A workload is a user's code and may raise anything; the failure is data of the study.
    except Exception as error:
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


class InlinePool:
    """Runs batches one after the other in the calling process: no Ray, debugger-friendly, same results."""

    slots = 1
    description = "inline"

    def __init__(self, settings: WorkerSettings | None = None) -> None:
        self._settings = settings or WorkerSettings()
        self.device = self._settings.device
        self._queue: list[Iterator[PoolEvent]] = []
        self._before = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()

    def check_workload(self, workload: WorkloadReference) -> None:
        """See :class:`WorkerPool`."""
        check_data(workload)

    def plan(self, request: PlanRequest) -> EnginePlan:
        """See :class:`WorkerPool`."""
        return plan_or_refuse(request, self._settings.device)

    def submit(self, batch: TrialBatch) -> None:
        """See :class:`WorkerPool`."""
        self._queue.append(train_and_report(batch, "inline", self._settings.device))

    def next_event(self, timeout_seconds: float) -> PoolEvent | None:
        """See :class:`WorkerPool`; works until there is an event, however long that takes."""
        del timeout_seconds
        while self._queue:
            for event in self._queue[0]:
                return event
            self._queue.pop(0)
        return None

    def __enter__(self) -> Self:
        # Results are bitwise equal to those of a Ray worker only with its settings.
        self._settings.apply()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._queue.clear()
        threads, deterministic = self._before
        torch.set_num_threads(threads)
        if self._settings.deterministic:  # torch imports its compiler to say so: 1.5 s
            torch.use_deterministic_algorithms(mode=deterministic)
