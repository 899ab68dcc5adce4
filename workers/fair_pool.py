"""One pool for several studies: each has a share of its workers, and none waits until another one has ended."""

import contextlib
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from types import TracebackType
from typing import Any, Self

from workers.messages import BatchFailed, BatchFinished, EnginePlan, PoolEvent, TrialBatch, WorkloadReference
from workers.planner import PlanRequest
from workers.pool import PoolLostError, SharablePool, WorkerPool

#: The longest that a command to a pool that is not interrupted waits.
_LISTEN_SECONDS = 0.2
#: How often the pool is looked at without work.
_IDLE_SECONDS = 1.0


class Share:
    """What one study sees of the pool: a pool of its own. All methods are called by one thread, the study's.

    Args:
        name: Of the study.
        pool: The pool that is shared.
    """

    def __init__(self, name: str, pool: "FairPool") -> None:
        self.name = name
        self._pool = pool
        self.description = pool.inner.description
        self.device = pool.inner.device
        #: Batches that no worker has, with the time of their arrival; those that one has. The dispatcher's.
        self.waiting: deque[tuple[float, TrialBatch]] = deque()
        self.working: set[int] = set()
        #: When it was last given a worker.
        self.served_at = 0.0
        #: Events, errors, and None for an interruption.
        self._inbox: queue.SimpleQueue[PoolEvent | PoolLostError | None] = queue.SimpleQueue()
        self._cancelled: set[int] = set()

    @property
    def slots(self) -> int:
        """See :class:`workers.pool.WorkerPool`; of the whole pool."""
        return self._pool.inner.slots

    @property
    def waits_since(self) -> float:
        """When it was last given a worker, or its first waiting batch came."""
        return max(self.served_at, self.waiting[0][0])

    def check_workload(self, workload: WorkloadReference) -> None:
        """See :class:`workers.pool.WorkerPool`."""
        self.request_check(workload).result()

    def plan(self, request: PlanRequest) -> EnginePlan:
        """See :class:`workers.pool.WorkerPool`."""
        return self.request_plan(request).result()

    def request_check(self, workload: WorkloadReference) -> "Future[None]":
        """See :class:`workers.pool.WorkerPool`."""
        return self._pool.ask(lambda: self._pool.inner.request_check(workload))

    def request_plan(self, request: PlanRequest) -> "Future[EnginePlan]":
        """See :class:`workers.pool.WorkerPool`."""
        return self._pool.ask(lambda: self._pool.inner.request_plan(request))

    def submit(self, batch: TrialBatch) -> None:
        """See :class:`workers.pool.WorkerPool`."""
        self._pool.check_lives()
        self._pool.tell(lambda: self.waiting.append((time.monotonic(), batch)))

    def next_event(self, timeout_seconds: float) -> PoolEvent | None:
        """See :class:`workers.pool.WorkerPool`."""
        deadline = time.monotonic() + timeout_seconds
        while True:
            try:
                event = self._inbox.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                self._pool.check_lives()
                return None
            if isinstance(event, PoolLostError):
                raise PoolLostError(str(event)) from event
            if event is None or event.batch_id not in self._cancelled:
                return event

    def cancel(self, batch_id: int) -> None:
        """See :class:`workers.pool.WorkerPool`."""
        self._cancelled.add(batch_id)
        self._pool.tell(lambda: self._pool.give_up(self, batch_id), hurry=batch_id in self.working)

    def interrupt(self) -> None:
        """See :class:`workers.pool.WorkerPool`; may be called by any thread."""
        self._inbox.put(None)

    def deliver(self, event: PoolEvent | PoolLostError) -> None:
        """Called by the dispatcher."""
        self._inbox.put(event)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.tell(lambda: self._pool.leave(self), hurry=bool(self.working))


class FairPool:
    """Shares a pool among the threads of several studies.

    A free worker takes the next batch of the share that has the fewest workers, then of the one that waits longest.
    One thread, the dispatcher, is the only one that calls the pool, but for ``interrupt``. It also calls it when
    there is nothing to do: Ray ends a process that does not leave a cluster that is gone.

    Args:
        inner: The pool, started; it is not ended here. The batch ids of all shares must differ.
    """

    def __init__(self, inner: SharablePool) -> None:
        self.inner = inner
        self._commands: queue.SimpleQueue[Callable[[], object]] = queue.SimpleQueue()
        self._shares: list[Share] = []
        self._owner: dict[int, Share] = {}
        self._lost: PoolLostError | None = None
        self._questions: set[Future[Any]] = set()
        self._stopped = False

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._dispatch, name="fair-pool", daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        def stop() -> None:
            self._stopped = True

        self.tell(stop, hurry=True)
        self._thread.join()

    @contextlib.contextmanager
    def share(self, name: str) -> Iterator[WorkerPool]:
        """A pool for one study; what is left of its batches at the end is cancelled."""
        with Share(name, self) as share:
            self.tell(lambda: self._shares.append(share))
            yield share

    def tell(self, command: Callable[[], object], *, hurry: bool = False) -> None:
        """Let the dispatcher call something; in a hurry, also in the middle of an epoch."""
        self._commands.put(command)
        if hurry:
            self.inner.interrupt()

    def ask(self, request: "Callable[[], Future[Any]]") -> "Future[Any]":
        """Let the dispatcher ask the pool; the answer may be the loss of it.

        Raises:
            PoolLostError: All workers are gone.
        """
        self.check_lives()
        result: Future[Any] = Future()

        def forward(answer: "Future[Any]") -> None:
            self._questions.discard(result)
            if error := answer.exception():
                result.set_exception(error)
            else:
                result.set_result(answer.result())

        def put() -> None:
            if self._lost is not None:
                result.set_exception(PoolLostError(str(self._lost)))
                return
            self._questions.add(result)
            request().add_done_callback(forward)

        self.tell(put)
        return result

    def check_lives(self) -> None:
        """Raise what ended the pool.

        Raises:
            PoolLostError: All workers are gone.
        """
        if self._lost is not None:
            raise PoolLostError(str(self._lost)) from self._lost

    def give_up(self, share: Share, batch_id: int) -> None:
        """Called by the dispatcher: the share wants no more of a batch."""
        share.waiting = deque(entry for entry in share.waiting if entry[1].batch_id != batch_id)
        if batch_id in share.working:
            share.working.discard(batch_id)
            self._owner.pop(batch_id, None)
            self.inner.cancel(batch_id)

    def leave(self, share: Share) -> None:
        """Called by the dispatcher: the share is of no more use."""
        share.waiting.clear()
        for batch_id in list(share.working):
            self.give_up(share, batch_id)
        self._shares = [other for other in self._shares if other is not share]

    def _dispatch(self) -> None:
        while not self._stopped:
            try:
                self._obey(wait=self._lost is not None or self._is_idle())
                if self._lost is None:
                    self._hand_out()
                    self._pass_on(self.inner.next_event(0.0 if self._is_idle() else _LISTEN_SECONDS))
            except PoolLostError as error:
                self._lose(error)
            # Whatever it is, nobody would call the pool any more, and all would wait.
            except Exception as error:
                self._lose(PoolLostError(f"the pool of workers failed ({type(error).__name__}: {error}); start again"))
        self._lose(PoolLostError("the pool of workers has ended; start again"))
        self._obey(wait=False)

    def _is_idle(self) -> bool:
        return not self._owner and not self._questions and not any(share.waiting for share in self._shares)

    def _obey(self, *, wait: bool) -> None:
        """Do what was told."""
        with contextlib.suppress(queue.Empty):
            self._commands.get(timeout=_IDLE_SECONDS if wait else 0.0)()
            while True:
                self._commands.get_nowait()()

    def _hand_out(self) -> None:
        """Give each free worker a batch."""
        while self.inner.free:
            shares = [share for share in self._shares if share.waiting]
            if not shares:
                return
            share = min(shares, key=lambda share: (len(share.working), share.waits_since))
            _, batch = share.waiting.popleft()
            share.served_at = time.monotonic()
            self.inner.submit(batch)
            share.working.add(batch.batch_id)
            self._owner[batch.batch_id] = share

    def _pass_on(self, event: PoolEvent | None) -> None:
        if event is None:
            return
        share = self._owner[event.batch_id]
        if isinstance(event, BatchFinished | BatchFailed):
            del self._owner[event.batch_id]
            share.working.discard(event.batch_id)
        share.deliver(event)

    def _lose(self, error: PoolLostError) -> None:
        """All who wait learn it."""
        self._lost = error
        for share in self._shares:
            share.deliver(error)
        for question in self._questions:
            question.set_exception(PoolLostError(str(error)))
        self._questions.clear()
