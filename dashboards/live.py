"""What changes, told at once: one look at the database a second for everybody who listens, and none for nobody."""

import asyncio
import contextlib
import secrets
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Collection, Iterator
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus

import anyio.to_thread
from fastapi.sse import ServerSentEvent
from pydantic import BaseModel
from sqlalchemy.exc import SQLAlchemyError

from dashboards.api.problems import ProblemError
from dashboards.context import Context
from dashboards.look import Look, Looker
from study.errors import StudyError
from study.storage.logs import process_log

#: Between two looks, while the database answers; and at most, while it does not.
_INTERVAL_SECONDS, _LONGEST_PAUSE = 1.0, 10.0
#: For so long after the last listener has gone, changes are still noted: most come back.
_IDLE_SECONDS = 60.0
#: At the end, for so long a look at the database may still go on.
_END_SECONDS = 2.0
#: Browsers that lose the stream ask for it again after so long.
_RETRY_MILLISECONDS = 2000
#: Streams at once, of all and of one user: each has a connection, some 60 kB, and is asked about every few seconds.
_MOST_LISTENERS, _MOST_OF_USER = 1000, 200


class Listener:
    """One stream: what it has not been told yet, of every study and request the newest only.

    Args:
        study: The study that it listens to; None for all.
        who: Name of the user.
    """

    def __init__(self, study: str | None, who: str = "") -> None:
        self.study, self.who = study, who
        self._waiting: OrderedDict[tuple[str, int], ServerSentEvent] = OrderedDict()
        self._awake = asyncio.Event()
        self._ended = False

    def tell(self, key: tuple[str, int], event: ServerSentEvent, *, is_first: bool) -> None:
        """Something is as ``event`` says; what was said of it before and not yet sent is forgotten.

        Args:
            key: What.
            event: How it is.
            is_first: It was looked at for this listener alone: whatever all were told meanwhile is newer.
        """
        if is_first and key in self._waiting:
            return
        self._waiting.pop(key, None)
        self._waiting[key] = event
        self._awake.set()

    def end(self) -> None:
        """There is nothing more to come."""
        self._ended = True
        self._awake.set()

    async def events(self) -> AsyncIterator[ServerSentEvent]:
        """What it is told, until it ends."""
        while not self._ended:
            while self._waiting and not self._ended:
                yield self._waiting.popitem(last=False)[1]
            self._awake.clear()
            if not self._waiting and not self._ended:
                await self._awake.wait()


@dataclass(frozen=True, slots=True)
class _Place:
    """Of an event: which run of changes it belongs to, and where in it."""

    era: str
    number: int

    @classmethod
    def read(cls, text: str | None) -> "_Place | None":
        era, _, number = (text or "").partition(".")
        return cls(era, int(number)) if number.isascii() and number.isdigit() and len(number) < 20 else None

    def __str__(self) -> str:
        return f"{self.era}.{self.number}"


class Live:
    """Looks for changes while somebody listens, and tells all listeners.

    All methods are called in the event loop of the application.

    Args:
        context: Of the dashboard.
        interval: Seconds between two looks.
    """

    def __init__(self, context: Context, *, interval: float = _INTERVAL_SECONDS) -> None:
        self._looker = Looker(context)
        self._interval = interval
        self._listeners: set[Listener] = set()
        self._wanted, self._ready, self._ending = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self._alone_since: float | None = None
        self._ended = False
        self._is_reachable = True
        self._begin_era()

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Looks for changes as long as the block lasts; streams end with it at the latest."""
        task = asyncio.create_task(self._look_on())
        try:
            yield
        finally:
            self.end()
            # A look that the database keeps waiting is left to itself.
            await asyncio.wait([task], timeout=_END_SECONDS)
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    def end(self) -> None:
        """All streams end now: a server that stops waits for them."""
        self._ended = True
        for event in (self._wanted, self._ready, self._ending):
            event.set()
        for listener in self._listeners:
            listener.end()

    @contextlib.contextmanager
    def listening(self, study: str | None, who: str = "") -> Iterator[Listener]:
        """Somebody listens as long as the block lasts.

        Args:
            study: Name of the study that is listened to; None for all.
            who: Name of the user.

        Raises:
            ProblemError: 503; too many listen, or that user listens too often.
        """
        of_user = sum(listener.who == who for listener in self._listeners)
        if of_user >= _MOST_OF_USER or len(self._listeners) >= _MOST_LISTENERS:
            raise _too_many(len(self._listeners), of_user)
        listener = Listener(study, who)
        self._listeners.add(listener)
        self._wanted.set()
        try:
            yield listener
        finally:
            self._listeners.discard(listener)

    async def events(self, listener: Listener, last_event_id: str | None = None) -> AsyncIterator[ServerSentEvent]:
        """How things are now, then every change, until this process is told to end.

        Args:
            listener: To whom.
            last_event_id: The last event that a listener who lost the stream has seen.
        """
        yield ServerSentEvent(comment="listening", retry=_RETRY_MILLISECONDS)
        if not self._is_reachable:
            yield self._database_event()
        # From here on changes are seen: what is read now and what is told later leave no gap.
        await self._ready.wait()
        self._tell([listener], await self._look_now(listener.study, _Place.read(last_event_id)), is_first=True)
        if self._ended:
            listener.end()
        async for event in listener.events():
            yield event

    async def _look_now(self, study: str | None, seen: _Place | None) -> Look:
        """How things are: of one study, or of all that the listener does not know."""
        since = seen.number if study is None and seen is not None and seen.era == self._era else None
        job: Callable[[], Look]
        if study is not None:
            job = partial(self._looker.look_at, study)
        elif since is not None:
            job = partial(self._looker.look_at_studies, [key for key, at in self._changed_at.items() if at > since])
        else:
            job = self._looker.look_at_active
        while not self._ended:
            try:
                return await anyio.to_thread.run_sync(job)
            except (SQLAlchemyError, StudyError):
                await self._pause(self._interval)
        return Look()

    async def _look_on(self) -> None:
        pause = self._interval
        while not self._ended:
            await self._wanted.wait()
            studies = {listener.study for listener in self._listeners}
            try:
                look = await anyio.to_thread.run_sync(self._looker.look, studies, abandon_on_cancel=True)
            except (SQLAlchemyError, StudyError) as error:
                if self._is_reachable:
                    self._tell_of_database(reachable=False)
                    process_log.warning("database_away", error=str(getattr(error, "orig", None) or error))
                pause = min(2 * pause, _LONGEST_PAUSE)
            # The task's own last line of defence: without it nobody would hear of anything any more.
            except Exception:
                process_log.exception("fault_of_the_program")
                pause = min(2 * pause, _LONGEST_PAUSE)
            else:
                pause = self._interval
                if not self._is_reachable:
                    self._tell_of_database(reachable=True)
                self._ready.set()
                self._number += 1
                self._changed_at |= dict.fromkeys(look.changed, self._number)
                self._tell(self._listeners, look, is_first=False)
                self._rest_if_alone()
            await self._pause(pause)

    async def _pause(self, seconds: float) -> None:
        """Wait, but not for longer than until the end."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._ending.wait(), seconds)

    def _tell(self, listeners: Collection[Listener], look: Look, *, is_first: bool) -> None:
        told: list[tuple[str | None, tuple[str, int], BaseModel]] = [
            *((None, ("study", look.ids[name]), summary) for name, summary in look.summaries.items()),
            *((name, ("study", look.ids[name]), detail) for name, detail in look.details.items()),
            *(
                (study, ("request", request.id), request)
                for request in look.requests
                for study in (None, request.study)
            ),
        ]
        for study, key, model in told:
            chosen = [listener for listener in listeners if listener.study == study]
            if chosen:
                # Their JSON is made once.
                event = ServerSentEvent(raw_data=model.model_dump_json(), event=key[0], id=self._next_id())
                for listener in chosen:
                    listener.tell(key, event, is_first=is_first)

    def _tell_of_database(self, *, reachable: bool) -> None:
        self._is_reachable = reachable
        for listener in self._listeners:
            listener.tell(("database", 0), self._database_event(), is_first=False)

    def _database_event(self) -> ServerSentEvent:
        return ServerSentEvent(data={"reachable": self._is_reachable}, event="database")

    def _next_id(self) -> str:
        self._number += 1
        return str(_Place(self._era, self._number))

    def _rest_if_alone(self) -> None:
        """Look no more, some time after the last listener has gone."""
        if self._listeners:
            self._alone_since = None
            return
        now = time.monotonic()
        self._alone_since = self._alone_since or now
        if now - self._alone_since >= _IDLE_SECONDS:
            self._wanted.clear()
            self._ready.clear()
            self._looker.forget()
            self._begin_era()

    def _begin_era(self) -> None:
        """Events from now on do not go on from earlier ones."""
        self._era, self._number = secrets.token_hex(4), 0
        self._changed_at: dict[int, int] = {}
        self._alone_since = None


def _too_many(total: int, of_user: int) -> ProblemError:
    return ProblemError(
        HTTPStatus.SERVICE_UNAVAILABLE,
        "Too many streams",
        f"{total} event streams are open, {of_user} of them yours, and there are no more; close some, or ask later",
        headers={"Retry-After": "30"},
    )


def live_of(context: Context) -> Live:
    """That of a process."""
    found: Live | None = context.parts.get("live")
    return found or context.parts.setdefault("live", Live(context))
