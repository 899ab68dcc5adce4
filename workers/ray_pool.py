"""The pool of Ray actors: one long-lived worker per slot, on this machine or on a cluster."""

import contextlib
import itertools
import math
import time
from collections import deque
from concurrent.futures import Future
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from workers.messages import (
    BatchFailed,
    BatchFinished,
    EnginePlan,
    Heartbeat,
    PoolEvent,
    Termination,
    TrialBatch,
    WorkloadReference,
)
from workers.planner import PlanRequest
from workers.pool import PoolLostError, RefusedError, WorkerSettings
from workers.ray_connection import RayUnavailableError, connect, import_ray
from workers.ray_questions import Question, first_error
from workers.ray_watch import ClusterWatch
from workers.ray_worker import Worker

_START_SECONDS = 120.0
#: How long the first worker that is up waits for the others.
_COMPANY_SECONDS = 15.0
#: Between two attempts to start a worker that could not start.
_RESTART_SECONDS = 5.0
#: Between two looks at the size of the cluster, and at workers that have nothing to do.
_LOOK_SECONDS = 15.0
#: How long Ray is asked why a worker is not there.
_EXPLAIN_SECONDS = 5.0


@dataclass(eq=False, slots=True)
class _Slot:
    """A place for a worker: its actor may change."""

    name: str
    actor: Any
    work: TrialBatch | Question | None = None
    #: Host and process id of the actor, once it is up.
    place: tuple[str, int] = "", 0


class RayPool:
    """Runs batches on Ray actors.

    Args:
        workers: Number of actors; None for one per processor of the machine or cluster, also when the cluster grows
            or shrinks.
        address: Of a running cluster (``host:port``, ``ray://host:port`` or ``auto``); None starts a local Ray that
            ends with the pool.
        settings: What each worker uses.

    Raises:
        RayUnavailableError: Ray is not installed, the address does not answer, or there are too few processors.
    """

    def __init__(
        self, *, workers: int | None = None, address: str | None = None, settings: WorkerSettings | None = None
    ) -> None:
        self._ray = import_ray()
        self._settings = settings or WorkerSettings()
        self.device = self._settings.device
        self._address = address
        self._requested = workers
        self.description = f"ray at {address}" if address else "local ray"

    def __enter__(self) -> Self:
        self._waiting: deque[TrialBatch] = deque()
        self._questions: deque[Question] = deque()
        self._events: deque[PoolEvent] = deque()
        self._idle: deque[_Slot] = deque()
        #: What Ray is waited for -> whose it is: workers that start, and those that work, in the order of their last
        #: event.
        self._starting: dict[Any, _Slot] = {}
        self._busy: dict[Any, _Slot] = {}
        #: Workers without work that are asked whether they live, for nothing else is heard of them. Until they answer
        #: they get none.
        self._probed: dict[Any, _Slot] = {}
        #: Workers that could not start, and when to try again.
        self._resting: deque[tuple[float, _Slot]] = deque()
        self._start_error = ""
        with contextlib.ExitStack() as undo:
            undo.callback(self._ray.shutdown)
            self._watch = ClusterWatch(connect(self._ray, self._address, self._requested))
            undo.callback(self._watch.close)
            self._actor_class = self._ray.remote(
                num_cpus=1, num_gpus=self._settings.gpu_share, max_restarts=0, max_task_retries=0
            )(Worker)
            self._names = (f"ray-{number}" for number in itertools.count())
            self.slots = 0
            self.capacity = self._count_slots()
            self._add_slots(self.capacity)
            undo.pop_all()
        self._started_at = self._last_up = self._last_look = time.monotonic()
        return self

    def _room(self) -> tuple[int, str]:
        """How many workers the whole cluster can hold, and why not more, for people."""
        resources = self._ray.cluster_resources()
        room, needed = int(resources.get("CPU", 0)), "as many processors"
        has = f"{room} processors and {resources.get('GPU', 0):g} GPUs"
        if self._settings.gpu_share:
            room = min(room, int(resources.get("GPU", 0) / self._settings.gpu_share))
            needed = f"as many processors and {self._settings.gpu_share:g} GPU each"
        return room, f"workers need {needed}, but {self.description} has {has}"

    def _count_slots(self) -> int:
        room, why = self._room()
        slots = self._requested or room
        if slots < 1 or slots > room:
            raise RayUnavailableError(
                f"{slots} {why}; ask for fewer with --workers, for less with --gpu-share, or add nodes"
            )
        return slots

    def _add_slots(self, count: int) -> None:
        for name in itertools.islice(self._names, count):
            self._start(_Slot(name, None))
        self.slots += count

    def _remove_slots(self, count: int) -> None:
        """Give up as many places whose worker is not up: in a cluster that shrank, Ray has no processor for it."""
        for awaited, slot in list(self._starting.items())[::-1][:count]:
            self._ray.kill(slot.actor)
            del self._starting[awaited]
            self.slots -= 1
            count -= 1
        while self._resting and count > 0:
            self._resting.pop()
            self.slots -= 1
            count -= 1

    def _follow_cluster(self) -> None:
        room, _ = self._room()
        self.capacity = room if self._requested is None else min(room, self._requested)
        if self._requested is None:
            # Where no processor is left, one is waited for.
            change = max(1, room) - self.slots
            if change > 0:
                self._add_slots(change)
            else:
                self._remove_slots(-change)

    def _probe_idle(self) -> None:
        while self._idle:
            slot = self._idle.popleft()
            self._probed[slot.actor.ready.remote()] = slot

    def _take_probes(self) -> None:
        """All answers there are, before anything else: workers that are busy always have something to say."""
        probed = list(self._probed)
        for answered in self._ray.wait(probed, num_returns=len(probed), timeout=0)[0] if probed else ():
            slot = self._probed.pop(answered)
            try:
                self._ray.get(answered)
            except self._ray.exceptions.RayError as error:
                self._ray.kill(slot.actor)
                self._rest(slot, error)
            else:
                self._idle.append(slot)

    def _rest(self, slot: _Slot, error: Exception) -> None:
        self._start_error = str(error).strip().splitlines()[-1]
        self._resting.append((time.monotonic() + _RESTART_SECONDS, slot))

    def _start(self, slot: _Slot) -> None:
        """Give the slot a new actor; it gets work when it is up, which may be never on a cluster that shrank."""
        slot.actor, slot.work = self._actor_class.remote(slot.name, self._settings), None
        self._starting[slot.actor.ready.remote()] = slot

    @property
    def free(self) -> int:
        """See :class:`workers.pool.WorkerPool`: workers that are up and have nothing to do."""
        return len(self._idle)

    def plan(self, request: PlanRequest) -> EnginePlan:
        """See :class:`workers.pool.WorkerPool`."""
        answer: EnginePlan = self._wait_for(self.request_plan(request))
        return answer

    def check_workload(self, workload: WorkloadReference) -> None:
        """See :class:`workers.pool.WorkerPool`; asks the workers that are free."""
        while self._starting and time.monotonic() - self._started_at < self._start_seconds():
            self._work(0.5)
        self._wait_for(self.request_check(workload))

    def _start_seconds(self) -> float:
        """How long after its start the pool waits for workers that are not up."""
        return _COMPANY_SECONDS if self._idle or self._busy else _START_SECONDS

    def request_plan(self, request: PlanRequest) -> "Future[EnginePlan]":
        """See :class:`workers.pool.WorkerPool`."""
        return self._ask(Question("plan", request))

    def request_check(self, workload: WorkloadReference) -> "Future[None]":
        """See :class:`workers.pool.WorkerPool`; asks the workers that are free, or the next one that is."""
        count = max(1, len(self._idle) + len(self._probed))
        return first_error([self._ask(Question("check_workload", workload)) for _ in range(count)])

    def _ask(self, question: Question) -> "Future[Any]":
        self._check_lives()
        self._questions.append(question)
        self._dispatch()
        return question.answer

    def _wait_for(self, answer: "Future[Any]") -> Any:
        while not answer.done():
            self._work(0.5)
        return answer.result()

    def submit(self, batch: TrialBatch) -> None:
        """See :class:`workers.pool.WorkerPool`."""
        self._check_lives()
        self._waiting.append(batch)
        self._dispatch()

    def _dispatch(self) -> None:
        while self._idle and (self._questions or self._waiting):
            slot = self._idle.popleft()
            if self._questions:
                slot.work = question = self._questions.popleft()
                awaited = getattr(slot.actor, question.method).remote(question.argument)
            else:
                slot.work = batch = self._waiting.popleft()
                awaited = slot.actor.train.options(num_returns="streaming").remote(batch)
                # A worker that hangs from now on says nothing itself: its lease has to begin nevertheless.
                self._events.append(Heartbeat(batch.batch_id, 0, slot.name, *slot.place))
            self._busy[awaited] = slot

    def next_event(self, timeout_seconds: float) -> PoolEvent | None:
        """See :class:`workers.pool.WorkerPool`."""
        if not self._events:
            self._work(timeout_seconds)
        return self._events.popleft() if self._events else None

    def _work(self, timeout_seconds: float) -> None:
        """Deal with the next thing that happens within the time."""
        self._check_lives()
        self._look_around()
        awaited = [*self._starting, *self._busy, *self._probed]
        if not awaited:
            time.sleep(min(timeout_seconds, 0.1) if self._resting else 0.0)
            return
        ready, _ = self._ray.wait(awaited, num_returns=1, timeout=timeout_seconds)
        # What Ray says of a cluster that is gone looks like lost workers.
        self._check_lives()
        self._take_probes()
        for event in ready:
            if event in self._starting:
                self._welcome(event)
            elif event in self._busy and isinstance(self._busy[event].work, Question):
                self._take_answer(event)
            elif event in self._busy:
                self._take_event(event)
        self._dispatch()

    def _check_lives(self) -> None:
        if self._watch.lost:
            kind = f"the Ray cluster at {self._address}" if self._address else "the local Ray of this process"
            todo = (
                "start it again, or unset ADAI_RAY_ADDRESS to use this machine"
                if self._address
                else "if the machine's memory ran out, use fewer workers"
            )
            raise PoolLostError(f"{kind} is gone ({self._watch.lost}); {todo}")

    def _look_around(self) -> None:
        """Start again what could not start, give up questions that nobody can answer, see what has changed."""
        now = time.monotonic()
        while self._resting and self._resting[0][0] <= now:
            self._start(self._resting.popleft()[1])
        if self._idle or self._busy:
            self._last_up = now
        elif now - self._last_up > _START_SECONDS:
            while self._questions:
                self._questions.popleft().answer.set_exception(self._no_workers())
        if now - self._last_look > _LOOK_SECONDS:
            self._last_look = now
            if self._address is not None:
                self._follow_cluster()
            self._probe_idle()

    def _no_workers(self) -> RayUnavailableError:
        free = self._ray.available_resources().get("CPU", 0)
        why = f" ({self._start_error})" if self._start_error else ""
        return RayUnavailableError(
            f"none of the {self.slots} workers of {self.description} started within {_START_SECONDS:.0f} s{why}, and "
            f"{free:g} processors are free; ask for fewer with --workers, wait until the cluster has room, or look at "
            "its logs"
        )

    def _welcome(self, ready: Any) -> None:
        """A worker is up, or could not start."""
        slot = self._starting.pop(ready)
        try:
            slot.place = self._ray.get(ready)
        except self._ray.exceptions.RayError as error:
            self._rest(slot, error)
        else:
            if not (self._idle or self._busy):
                # The first of a cluster that was away, perhaps: who it works for learns how many there will be.
                self._last_look = -math.inf
            self._idle.append(slot)

    def _take_answer(self, reference: Any) -> None:
        slot = self._busy.pop(reference)
        question = slot.work
        assert isinstance(question, Question)  # noqa: S101 - seen by the caller; tells the type checker
        try:
            answer = self._ray.get(reference)
        except self._ray.exceptions.RayError as error:
            why = str(self._replace(slot, error))
            if question.may_be_asked_again():
                self._questions.appendleft(question)
                return
            name = question.workload
            answer = RefusedError(
                f"workers died when they tried workload {name!r} ({why}); look at their memory and logs, or mend the "
                "workload"
            )
        else:
            self._idle.append(slot)
        if isinstance(answer, Exception):
            question.answer.set_exception(answer)
        else:
            question.answer.set_result(answer)

    def _take_event(self, stream: Any) -> None:
        slot = self._busy.pop(stream)
        batch = slot.work
        assert isinstance(batch, TrialBatch)  # noqa: S101 - seen by the caller; tells the type checker
        try:
            event: PoolEvent = self._ray.get(next(stream))
        except (self._ray.exceptions.RayError, StopIteration) as error:
            # The workload's own exceptions arrive as BatchFailed: what Ray raises is the loss of the worker.
            cause = self._replace(slot, error)
            self._check_lives()
            # Ray kills workers when a node's memory runs out, before the system does.
            starved = isinstance(cause, self._ray.exceptions.OutOfMemoryError)
            termination = Termination.OUT_OF_MEMORY if starved else Termination.WORKER_LOST
            event = BatchFailed(batch.batch_id, termination, f"{type(cause).__name__}: {cause}")
        else:
            if isinstance(event, BatchFinished | BatchFailed):
                self._idle.append(slot)
            else:
                self._busy[stream] = slot
        self._events.append(event)

    def _replace(self, slot: _Slot, error: BaseException) -> BaseException:
        """Give the slot of a lost worker a new one; returns what Ray knows of the loss."""
        exceptions = self._ray.exceptions
        if isinstance(error, exceptions.ActorUnavailableError | StopIteration):
            # At first Ray only sees that a connection ended; a moment later it knows why.
            try:
                self._ray.get(slot.actor.ready.remote(), timeout=_EXPLAIN_SECONDS)
            except (exceptions.ActorDiedError, exceptions.OutOfMemoryError) as known:
                error = known
            except (exceptions.ActorUnavailableError, exceptions.GetTimeoutError):
                pass
        self._ray.kill(slot.actor)
        self._start(slot)
        # If its node is gone, so are others.
        self._probe_idle()
        return error

    def cancel(self, batch_id: int) -> None:
        """See :class:`workers.pool.WorkerPool`; Ray ends a process that does not answer after some seconds."""
        self._waiting = deque(batch for batch in self._waiting if batch.batch_id != batch_id)
        self._events = deque(event for event in self._events if event.batch_id != batch_id)
        for stream, slot in list(self._busy.items()):
            if isinstance(slot.work, TrialBatch) and slot.work.batch_id == batch_id:
                del self._busy[stream]
                if not self._watch.lost:
                    self._ray.kill(slot.actor)
                    self._start(slot)

    def interrupt(self) -> None:
        """See :class:`workers.pool.WorkerPool`; ``next_event`` keeps to its time here."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._watch.lost:
            for slot in (*self._busy.values(), *self._starting.values(), *self._probed.values(), *self._idle):
                self._ray.kill(slot.actor)
        self._watch.close()
        # Of a cluster that is gone this takes five seconds; without it, Ray would end the process after a minute.
        self._ray.shutdown()


__all__ = ["RayPool", "RayUnavailableError"]
