"""Live events over a real server: everybody hears of every change, and many who listen cost the database no more."""

import asyncio
import contextlib
import itertools
import json
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import sqlalchemy as sa
from httpx import AsyncClient
from listed_studies import change_study, list_study
from reading_app import make_context, served
from recorded_studies import record_study
from sqlalchemy import Engine

import dashboards.live
from dashboards.context import Context
from dashboards.live import Listener, Live
from dashboards.look import Looker
from study.storage.engine import create_database
from study.storage.tables import requests, studies

INTERVAL = 0.05
SECONDS = 20


@pytest.fixture
def engine(any_database_url: str) -> Iterator[Engine]:
    """A database of each supported kind with one study."""
    with create_database(any_database_url) as engine:
        record_study(engine)
        yield engine


@pytest.fixture
def context(engine: Engine, tmp_path: Path) -> Context:
    """Of a dashboard that looks often."""
    context = make_context(engine, tmp_path)
    context.parts["live"] = Live(context, interval=INTERVAL)
    return context


class Stream:
    """The events of one answer."""

    def __init__(self, answer: httpx.Response) -> None:
        self.answer = answer
        self._lines = answer.aiter_lines()

    async def next(self) -> dict[str, Any]:
        """The next event, comments left out: its name, id and data."""
        fields: dict[str, str] = {}
        async with asyncio.timeout(SECONDS):
            async for line in self._lines:
                name, _, value = line.partition(": ")
                if line == "" and "event" in fields:
                    return {**fields, "data": json.loads(fields["data"])}
                if name:
                    fields[name] = value
        raise EOFError

    async def until(self, holds: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """The next event for which something holds."""
        while True:
            event = await self.next()
            if holds(event):
                return event


def listen(context: Context, work: Callable[[AsyncClient], Awaitable[None]]) -> None:
    """Do ``work`` with a client of a server that runs."""

    async def run(address: str) -> None:
        async with AsyncClient(base_url=address, timeout=SECONDS) as client:
            await work(client)

    with served(context) as address:
        asyncio.run(run(address))


def change(engine: Engine, study_id: int = 1, **columns: Any) -> None:
    with engine.begin() as connection:
        change_study(connection, study_id, **columns)


def is_study(name: str, **fields: Any) -> Callable[[dict[str, Any]], bool]:
    return lambda event: event["event"] == "study" and {"name": name, **fields}.items() <= event["data"].items()


def test_a_change_is_told_to_all_who_listen_and_first_how_things_are(context: Context, engine: Engine) -> None:
    async def work(client: AsyncClient) -> None:
        async with client.stream("GET", "/v1/events") as all_, client.stream("GET", "/v1/studies/small/events") as one:
            assert all_.headers["content-type"].startswith("text/event-stream")
            both = Stream(all_), Stream(one)
            first = [await stream.next() for stream in both]
            assert [event["data"]["state"] for event in first] == ["planned", "planned"]
            assert "spec" not in first[0]["data"]
            assert first[1]["data"]["spec"]["name"] == "small"
            change(engine, state="running")
            for stream in both:
                await stream.until(is_study("small", state="running"))
            with engine.begin() as connection:
                list_study(connection, "new")
            await both[0].until(is_study("new"))
            change(engine, state="completed")
            assert is_study("small", state="completed")(await both[1].next())

    listen(context, work)


def test_requests_are_told_as_they_come_and_as_they_end(context: Context, engine: Engine) -> None:
    request = {"requested_by": "eve", "requested_at": sa.func.now()}

    def ask(kind: str, study: str, state: str) -> None:
        with engine.begin() as connection:
            row = request | {"kind": kind, "study": study, "state": state}
            connection.execute(sa.insert(requests).values(row))

    def is_request(kind: str, state: str) -> Callable[[dict[str, Any]], bool]:
        return lambda event: (
            event["event"] == "request"
            and (event["data"]["kind"], event["data"]["state"])
            == (
                kind,
                state,
            )
        )

    async def work(client: AsyncClient) -> None:
        ask("cancel", "small", "done")
        ask("report", "small", "waiting")
        async with client.stream("GET", "/v1/events") as all_, client.stream("GET", "/v1/studies/small/events") as one:
            both = Stream(all_), Stream(one)
            heard = [await stream.until(lambda event: event["event"] == "request") for stream in both]
            assert {event["data"]["kind"] for event in heard} == {"report"}
            with engine.begin() as connection:
                own = requests.c.kind == "report"
                connection.execute(sa.update(requests).where(own).values(state="done", message="well"))
            for stream in both:
                assert (await stream.until(is_request("report", "done")))["data"]["message"] == "well"
            ask("resume", "other", "waiting")
            ask("submit", "small", "refused")
            await both[0].until(is_request("resume", "waiting"))
            await both[0].until(is_request("submit", "refused"))
            # The stream of one study has nothing of another one.
            assert is_request("submit", "refused")(await both[1].next())

    listen(context, work)


def test_a_stream_that_was_lost_goes_on_with_what_has_changed_since(context: Context, engine: Engine) -> None:
    with engine.begin() as connection:
        other = list_study(connection, "other")

    async def work(client: AsyncClient) -> None:
        async with client.stream("GET", "/v1/events") as answer:
            stream = Stream(answer)
            await stream.until(is_study("small"))
            change(engine, other, state="running")
            last = (await stream.until(is_study("other", state="running")))["id"]
        change(engine, state="completed")
        await asyncio.sleep(10 * INTERVAL)
        async with client.stream("GET", "/v1/events", headers={"Last-Event-ID": last}) as answer:
            assert is_study("small", state="completed")(await Stream(answer).next())
        for unknown in ("nothing", "a.b", f"{'9' * 80}", "ab12.3", ""):
            async with client.stream("GET", "/v1/events", headers={"Last-Event-ID": unknown}) as answer:
                stream = Stream(answer)
                names = {(await stream.next())["data"]["name"] for _ in range(2)}
            assert names == {"small", "other"}

    listen(context, work)


def test_many_who_listen_cost_the_database_no_more_than_one(context: Context, engine: Engine) -> None:
    statements: list[str] = []
    sa.event.listen(engine, "before_cursor_execute", lambda *arguments: statements.append(arguments[2]))

    async def work(client: AsyncClient) -> None:
        async with asyncio.timeout(60), asyncio.TaskGroup() as group:
            ready, enough = asyncio.Semaphore(0), asyncio.Event()

            async def stay() -> None:
                async with client.stream("GET", "/v1/events") as answer:
                    await Stream(answer).next()
                    ready.release()
                    await enough.wait()

            for _ in range(60):
                group.create_task(stay())
            for _ in range(60):
                await ready.acquire()
            statements.clear()
            started = time.monotonic()
            await asyncio.sleep(1.0)
            seen, seconds = list(statements), time.monotonic() - started
            enough.set()
        looks = sum("adai_studies.beat" in statement for statement in seen)
        assert 0 < looks <= seconds / INTERVAL + 1
        assert len(seen) <= 2 * looks + 1

    listen(context, work)


def test_nobody_who_listens_costs_nothing(context: Context, engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dashboards.live, "_IDLE_SECONDS", 0.2)
    statements: list[float] = []
    sa.event.listen(engine, "before_cursor_execute", lambda *_: statements.append(time.monotonic()))

    async def work(client: AsyncClient) -> None:
        assert statements == []
        async with client.stream("GET", "/v1/events") as answer:
            await Stream(answer).next()
        await asyncio.sleep(1.0)
        statements.clear()
        await asyncio.sleep(0.5)
        assert statements == []
        # And it begins again.
        async with client.stream("GET", "/v1/events") as answer:
            stream = Stream(answer)
            await stream.next()
            change(engine, state="running")
            await stream.until(is_study("small", state="running"))

    listen(context, work)


def test_a_listener_that_is_slow_gets_the_newest_of_each_study_only() -> None:
    async def work() -> None:
        listener = Listener(None)
        for number in range(1000):
            for study in (1, 2, 3):
                event = dashboards.live.ServerSentEvent(raw_data=f"{study} {number}", event="study")
                listener.tell(("study", study), event, is_first=False)
        listener.tell(("study", 1), dashboards.live.ServerSentEvent(raw_data="old"), is_first=True)
        events = listener.events()
        found = [(await anext(events)).raw_data for _ in range(3)]
        assert found == ["1 999", "2 999", "3 999"]
        listener.end()
        assert [event async for event in events] == []

    asyncio.run(work())


def test_the_end_of_the_server_ends_all_streams_at_once(context: Context) -> None:
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(contextlib.ExitStack())
        address = server.enter_context(served(context))
        client = stack.enter_context(httpx.Client(base_url=address, timeout=SECONDS))
        paths = ("/v1/events", "/v1/studies/small/events")
        lines = [stack.enter_context(client.stream("GET", path)).iter_lines() for path in paths]
        for line in lines:
            assert next(line) == ": listening"
            assert "event: study" in itertools.islice(line, 10)
        server.close()  # which sees that it is quick
        assert [list(line)[-1] for line in lines] == ["", ""]


def test_a_database_that_goes_away_and_comes_back_ends_no_stream(tmp_path: Path) -> None:
    path = tmp_path / "study.db"
    with create_database(f"sqlite:///{path}") as engine:
        record_study(engine)
        context = make_context(engine, tmp_path)
        context.parts["live"] = Live(context, interval=INTERVAL)

        async def work(client: AsyncClient) -> None:
            async with client.stream("GET", "/v1/events") as answer:
                stream = Stream(answer)
                await stream.next()
                engine.dispose()
                with create_database(f"sqlite:///{path}") as other:
                    change(other, state="running")
                with create_database(f"sqlite:///{path}") as other, other.begin() as connection:
                    connection.execute(sa.text("ALTER TABLE adai_studies RENAME TO gone"))
                away = await stream.until(lambda event: event["event"] == "database")
                assert away["data"] == {"reachable": False}
                async with client.stream("GET", "/v1/events") as late:
                    assert (await Stream(late).next())["data"] == away["data"]
                with create_database(f"sqlite:///{path}") as other, other.begin() as connection:
                    connection.execute(sa.text("ALTER TABLE gone RENAME TO adai_studies"))
                    connection.execute(sa.update(studies).values(state="completed"))
                back = await stream.until(lambda event: event["event"] == "database")
                assert back["data"] == {"reachable": True}
                await stream.until(is_study("small", state="completed"))

        listen(context, work)


def test_a_study_of_another_version_keeps_nobody_from_hearing_of_the_others(context: Context, engine: Engine) -> None:
    with engine.begin() as connection:
        foreign = list_study(connection, "foreign")  # its spec has no optimizers

    async def work(client: AsyncClient) -> None:
        async with (
            client.stream("GET", "/v1/studies/foreign/events") as other,
            client.stream("GET", "/v1/studies/small/events") as own,
        ):
            assert other.status_code == 200
            stream = Stream(own)
            await stream.next()
            change(engine, foreign, state="running")
            change(engine, state="running")
            await stream.until(is_study("small", state="running"))

    listen(context, work)


def test_a_fault_in_one_look_does_not_end_the_others(context: Context, engine: Engine) -> None:
    with engine.begin() as connection:
        strange = list_study(connection, "strange")

    async def work(client: AsyncClient) -> None:
        async with client.stream("GET", "/v1/events") as answer:
            stream = Stream(answer)
            await stream.next()
            change(engine, strange, state="unheard-of")
            await asyncio.sleep(5 * INTERVAL)
            change(engine, strange, state="planned")
            change(engine, state="running")
            await stream.until(is_study("small", state="running"))

    listen(context, work)


def test_a_change_of_which_only_older_counts_are_kept_is_told_again(context: Context, engine: Engine) -> None:
    looker = Looker(context)
    change(engine, state="running")
    assert looker.look({None}).changed == []
    first = looker.look_at_active().summaries["small"]
    with engine.begin() as connection:
        connection.execute(sa.text("UPDATE adai_runs SET termination = 'COMPLETED', objective = 0.5"))
        change_study(connection, 1)
    young = looker.look({None}).summaries["small"]
    assert young.runs_ended == first.runs_ended
    deadline = time.monotonic() + SECONDS
    while not (found := looker.look({None}).summaries) or found["small"].runs_ended == first.runs_ended:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert found["small"].runs_ended == 20
    assert looker.look({None}).summaries == {}
