"""The pool of Ray actors: one long-lived worker per slot, on this machine or on a cluster."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from types import TracebackType
from typing import Any, Self

from workers.messages import (
    BatchFailed,
    BatchFinished,
    EnginePlan,
    PoolEvent,
    Termination,
    TrialBatch,
    WorkloadReference,
)
from workers.planner import PlanRequest
from workers.pool import RefusedError, WorkerSettings, plan_or_refuse, train_and_report
from workers.workloads import MissingDataError, check_data

#: Ray's smallest object store; epoch metrics are a few kilobytes.
_OBJECT_STORE_BYTES = 80 * 2**20
_CONNECT_SECONDS = 5.0
_ANSWER_SECONDS = 30.0
_START_SECONDS = 120.0


class RayUnavailableError(Exception):
    """Ray is not installed, does not answer or has no free processors; the message says what to do."""


class _Worker:
    """The actor: trains batches on one processor or its share of a GPU."""

    def __init__(self, name: str, settings: WorkerSettings) -> None:
        settings.apply()
        self._name = name
        self._device = settings.device

    def check_workload(self, workload: WorkloadReference) -> str:
        """Load the workload's data; return what is missing, or an empty string."""
        try:
            check_data(workload)
        except MissingDataError as error:
            return str(error)
        return ""

    def plan(self, request: PlanRequest) -> EnginePlan | RefusedError | MissingDataError:
        """The plan, or why there is none."""
        try:
            return plan_or_refuse(request, self._device)
        except (RefusedError, MissingDataError) as error:
            # Only the sentence travels: what caused it may be of a class that the driver does not have.
            return type(error)(str(error))

    def train(self, batch: TrialBatch) -> Iterator[PoolEvent]:
        """Stream the events of ``batch``."""
        yield from train_and_report(batch, self._name, self._device)


class RayPool:
    """Runs batches on Ray actors.

    Args:
        workers: Number of actors; None for one per processor of the machine or cluster.
        address: Of a running cluster (``host:port``, ``ray://host:port`` or ``auto``); None starts a local Ray that
            ends with the pool.
        settings: What each worker uses.

    Raises:
        RayUnavailableError: Ray is not installed, the address does not answer, or there are too few processors.
    """

    def __init__(
        self, *, workers: int | None = None, address: str | None = None, settings: WorkerSettings | None = None
    ) -> None:
        self._ray = _import_ray()
        self._settings = settings or WorkerSettings()
        self.device = self._settings.device
        self._address = address
        self._requested = workers
        self.description = f"ray at {address}" if address else "local ray"

    def __enter__(self) -> Self:
        try:
            self._connect()
            self.slots = self._count_slots()
            actor_class = self._ray.remote(
                num_cpus=1, num_gpus=self._settings.gpu_share, max_restarts=0, max_task_retries=0
            )(_Worker)
            self._start_worker = lambda slot: actor_class.remote(f"ray-{slot}", self._settings)
            self._idle = [(slot, self._start_worker(slot)) for slot in range(self.slots)]
        except BaseException:
            self._ray.shutdown()
            raise
        self._waiting: list[TrialBatch] = []
        #: Stream of a batch -> the batch and its worker, in the order of their last event.
        self._streams: dict[Any, tuple[TrialBatch, int, Any]] = {}
        return self

    def _connect(self) -> None:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        # Ray would blank the variable for actors without GPUs, and warns that it will stop doing so.
        os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
        options: dict[str, Any] = {"logging_level": "ERROR", "log_to_driver": False}
        if self._address is None:
            processors = self._requested or os.cpu_count() or 1
            self._ray.init(
                address="local",
                num_cpus=processors,
                include_dashboard=False,
                object_store_memory=_OBJECT_STORE_BYTES,
                **options,
            )
            return
        _check_listens(self._address)
        _check_answers(self._address)
        self._ray.init(address=self._address, **options)

    def _count_slots(self) -> int:
        resources = self._ray.cluster_resources()
        processors = int(resources.get("CPU", 0))
        room, needed = processors, "as many processors"
        if self._settings.gpu_share:
            room = min(room, int(resources.get("GPU", 0) / self._settings.gpu_share))
            needed = f"as many processors and {self._settings.gpu_share:g} GPU each"
        slots = self._requested or room
        if slots < 1 or slots > room:
            raise RayUnavailableError(
                f"{slots} workers need {needed}, but {self.description} has {processors} processors and "
                f"{resources.get('GPU', 0):g} GPUs; ask for fewer with --workers, for less with --gpu-share, or add "
                "nodes"
            )
        return slots

    def plan(self, request: PlanRequest) -> EnginePlan:
        """See :class:`workers.pool.WorkerPool`."""
        answer = self._ray.get(self._idle[0][1].plan.remote(request))
        if isinstance(answer, Exception):
            raise answer
        return EnginePlan(answer.engine, answer.max_rows, answer.reason)

    def check_workload(self, workload: WorkloadReference) -> None:
        """See :class:`workers.pool.WorkerPool`."""
        questions = [worker.check_workload.remote(workload) for _, worker in self._idle]
        try:
            answers = self._ray.get(questions, timeout=_START_SECONDS)
        except self._ray.exceptions.RayError as error:
            free = self._ray.available_resources().get("CPU", 0)
            raise RayUnavailableError(
                f"the {self.slots} workers of {self.description} did not start within {_START_SECONDS:.0f} s "
                f"({type(error).__name__}), and {free:g} processors are free; ask for fewer with --workers, wait until "
                "the cluster has room, or look at its logs"
            ) from error
        missing = next(filter(None, answers), "")
        if missing:
            raise MissingDataError(missing)

    def submit(self, batch: TrialBatch) -> None:
        """See :class:`workers.pool.WorkerPool`."""
        self._waiting.append(batch)
        self._dispatch()

    def _dispatch(self) -> None:
        while self._waiting and self._idle:
            slot, worker = self._idle.pop(0)
            batch = self._waiting.pop(0)
            stream = worker.train.options(num_returns="streaming").remote(batch)
            self._streams[stream] = (batch, slot, worker)

    def next_event(self, timeout_seconds: float) -> PoolEvent | None:
        """See :class:`workers.pool.WorkerPool`."""
        if not self._streams:
            return None
        ready, _ = self._ray.wait(list(self._streams), num_returns=1, timeout=timeout_seconds)
        if not ready:
            return None
        stream = ready[0]
        batch, slot, worker = self._streams.pop(stream)
        try:
            event: PoolEvent = self._ray.get(next(stream))
        except self._ray.exceptions.RayError as error:
            # The workload's own exceptions arrive as BatchFailed: what Ray raises is the loss of the worker.
            self._ray.kill(worker)
            self._idle.append((slot, self._start_worker(slot)))
            self._dispatch()
            # Ray kills workers when a node's memory runs out, before the system does.
            starved = isinstance(error, self._ray.exceptions.OutOfMemoryError)
            termination = Termination.OUT_OF_MEMORY if starved else Termination.WORKER_LOST
            return BatchFailed(batch.batch_id, termination, f"{type(error).__name__}: {error}")
        if isinstance(event, BatchFinished | BatchFailed):
            self._idle.append((slot, worker))
            self._dispatch()
        else:
            self._streams[stream] = (batch, slot, worker)
        return event

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for _, _, worker in self._streams.values():
            self._ray.kill(worker)
        for _, worker in self._idle:
            self._ray.kill(worker)
        self._ray.shutdown()


def _import_ray() -> Any:
    """Ray, imported here only: adai and workers also run where it is not installed."""
    try:
        import ray
        import ray.exceptions
    except ImportError as error:
        raise RayUnavailableError(
            f"Ray is not installed ({error}); do: pip install ray, or use --pool inline"
        ) from error
    return ray


def _check_listens(address: str) -> None:
    """Refuse an address on which nothing listens; Ray itself would try for a minute."""
    if address == "auto":
        return
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host or not port.isdecimal():
        raise RayUnavailableError(
            f"the Ray address {address!r} is not host:port, ray://host:port or auto; correct ADAI_RAY_ADDRESS"
        )
    try:
        socket.create_connection((host, int(port)), timeout=_CONNECT_SECONDS).close()
    except (OSError, OverflowError) as error:
        raise _unusable(address, str(error)) from error


def _check_answers(address: str) -> None:
    """Connect once from a child process, which can be ended: Ray's client waits for a silent peer without limit."""
    program = "import ray, sys; ray.init(address=sys.argv[1], logging_level='ERROR', log_to_driver=False)"
    try:
        subprocess.run(  # noqa: S603 - fixed words, and the address as an argument
            [sys.executable, "-c", program, address],
            check=True,
            capture_output=True,
            text=True,
            timeout=_ANSWER_SECONDS,
        )
    except subprocess.TimeoutExpired as error:
        raise _unusable(address, f"something listens there, but is silent for {_ANSWER_SECONDS:.0f} s") from error
    except subprocess.CalledProcessError as error:
        lines = error.stderr.strip().splitlines()
        raise _unusable(address, lines[-1] if lines else f"exit code {error.returncode}") from error


def _unusable(address: str, reason: str) -> RayUnavailableError:
    return RayUnavailableError(
        f"no Ray cluster answers at {address!r} ({reason}); start one with `ray start --head`, check that it runs the "
        "same Ray and Python versions, correct ADAI_RAY_ADDRESS, or unset it to use this machine"
    )
