"""The pool of Ray actors: one long-lived worker per slot, on this machine or on a cluster."""

import os
import socket
from collections.abc import Iterator
from types import TracebackType
from typing import Any, Self

import torch

from workers.messages import BatchFailed, BatchFinished, PoolEvent, Termination, TrialBatch
from workers.pool import train_and_report
from workers.workloads import MissingDataError, get_workload

#: Ray's smallest object store; epoch metrics are a few kilobytes.
_OBJECT_STORE_BYTES = 80 * 2**20
_CONNECT_SECONDS = 5.0


class RayUnavailableError(Exception):
    """Ray is not installed, does not answer or has no free processors; the message says what to do."""


class _Worker:
    """The actor: trains batches on one processor, one thread."""

    def __init__(self, name: str) -> None:
        torch.set_num_threads(1)
        self._name = name

    def check_workload(self, name: str) -> str:
        """Load the workload's data; return what is missing, or an empty string."""
        try:
            get_workload(name).load_data()
        except MissingDataError as error:
            return str(error)
        return ""

    def train(self, batch: TrialBatch) -> Iterator[PoolEvent]:
        """Stream the events of ``batch``."""
        yield from train_and_report(batch, self._name)


class RayPool:
    """Runs batches on Ray actors.

    Args:
        workers: Number of actors; None for one per processor of the machine or cluster.
        address: Of a running cluster (``host:port``, ``ray://host:port`` or ``auto``); None starts a local Ray that
            ends with the pool.

    Raises:
        RayUnavailableError: Ray is not installed, the address does not answer, or there are too few processors.
    """

    def __init__(self, *, workers: int | None = None, address: str | None = None) -> None:
        self._ray = _import_ray()
        self._address = address
        self._requested = workers
        self.description = f"ray at {address}" if address else "local ray"

    def __enter__(self) -> Self:
        try:
            self._connect()
            self.slots = self._count_slots()
            actor_class = self._ray.remote(num_cpus=1, max_restarts=0, max_task_retries=0)(_Worker)
            self._start_worker = lambda slot: actor_class.remote(f"ray-{slot}")
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
        _check_answers(self._address)
        try:
            self._ray.init(address=self._address, **options)
        except Exception as error:
            raise RayUnavailableError(
                f"no Ray cluster can be used at {self._address!r} ({error}); check the address and that the cluster "
                "runs the same Ray and Python versions, or unset ADAI_RAY_ADDRESS to use this machine"
            ) from error

    def _count_slots(self) -> int:
        processors = int(self._ray.cluster_resources().get("CPU", 0))
        slots = self._requested or processors
        if slots < 1 or slots > processors:
            raise RayUnavailableError(
                f"{slots} workers need as many processors, but {self.description} has {processors}; "
                "ask for fewer with --workers or add nodes"
            )
        return slots

    def check_workload(self, name: str) -> None:
        """See :class:`workers.pool.WorkerPool`."""
        answers = self._ray.get([worker.check_workload.remote(name) for _, worker in self._idle])
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
            return BatchFailed(batch.batch_id, Termination.WORKER_LOST, f"{type(error).__name__}: {error}")
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


def _check_answers(address: str) -> None:
    """Refuse an address on which nothing listens in seconds; Ray itself would try for a minute."""
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
        raise RayUnavailableError(
            f"no Ray cluster answers at {address!r} ({error}); start one with `ray start --head`, "
            "correct ADAI_RAY_ADDRESS, or unset it to use this machine"
        ) from error
